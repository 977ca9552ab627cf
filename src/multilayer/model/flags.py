"""Rows that a model should not be trusted on: what they hold, or where they lie, it has not seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import extra
from multilayer.model.statistics import Statistics
from multilayer.table.cells import is_missing
from multilayer.table.encode import Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import Table

FAR = 0.999  # farther from the landmarks than this share of training rows
DISAGREE = 0.995  # networks disagree more than about this share of held-out rows
OTHER = 1  # the code of levels that were rare, or not there

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Flags:
    """What is unusual about each row, as far as the training rows tell.

    out_of_range: column -> rows (n_rows,) with a number or date below or above all of the fit
    unseen_level: column -> rows with a level that was rare at fit, or not there
    missing:      column -> rows without a value, where at fit every row had one
    far:          rows farther from the groups of training rows than 99.9 % of these
    disagree:     rows about which the networks disagree more than about 99.5 % of held-out rows
    not_told:     what the model's file does not tell, in words
    """

    out_of_range: Mapping[str, Mask]
    unseen_level: Mapping[str, Mask]
    missing: Mapping[str, Mask]
    far: Mask
    disagree: Mask
    not_told: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, Mask]:
        """Each flag by name, (n_rows,): whether any column of the row has it."""
        by_column = {name: getattr(self, name) for name in ("out_of_range", "unseen_level", "missing")}
        nothing = np.zeros(len(self.far), bool)
        either = {
            name: np.any(list(masks.values()), axis=0) if masks else nothing
            for name, masks in by_column.items()
        }
        return {**either, "far": self.far, "disagree": self.disagree}

    @property
    def any(self) -> Mask:
        """Rows with a flag (n_rows,)."""
        return np.asarray(np.any(list(self.columns.values()), axis=0))

    def words(self, row: int) -> str:
        """What is unusual about a row, in words; empty if nothing is."""
        by_column = {
            "out of range": self.out_of_range,
            "rare or unseen level": self.unseen_level,
            "missing, which it never was": self.missing,
        }
        said = [
            f"{listed([name for name, mask in masks.items() if mask[row]])}: {what}"
            for what, masks in by_column.items()
            if any(mask[row] for mask in masks.values())
        ]
        said += ["far from all training rows"] if self.far[row] else []
        said += ["networks disagree"] if self.disagree[row] else []
        return "; ".join(said)

    def to_frame(self) -> Any:
        """A pandas DataFrame: a column a flag, and the words.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        pandas = extra("pandas", needed_by="to_frame", install="pandas")
        return pandas.DataFrame({**self.columns, "words": list(map(self.words, range(len(self.far))))})

    def __len__(self) -> int:
        return len(self.far)

    def __repr__(self) -> str:
        each = ", ".join(f"{name} {int(mask.sum()):,}" for name, mask in self.columns.items())
        more = f"; not told: {'; '.join(self.not_told)}" if self.not_told else ""
        return f"Flags({int(self.any.sum()):,} of {len(self):,} rows: {each}{more})"


def flags_of(
    table: Table,
    x: NDArray[np.float32],
    encoder: Encoder,
    statistics: Statistics | None,
    spread: NDArray[np.float64] | None,
) -> Flags:
    """The flags of rows.

    Args:
        table: the rows as they came.
        x: as they are encoded.
        encoder: what encoded them.
        statistics: of the fit; None where the file has none.
        spread: by how much the networks disagree about each target (n_rows, n_targets).
    """
    out, unseen, missing = {}, {}, {}
    n_num, place = len(encoder.num_features), 0
    for i, coder in enumerate(encoder.coders):
        column, values = coder.column, table[coder.column.name]
        kind = kind_of(column)
        if coder.code is not None:
            unseen[column.name] = x[:, n_num + place] == OTHER
            place += 1
        elif kind.numbers is not None and column.low is not None and column.high is not None:
            numbers = kind.numbers(column, values)
            out[column.name] = (numbers < column.low) | (numbers > column.high)
        was_there = column.n_missing == 0 and (statistics is None or statistics.columns[i].missing == 0)
        if was_there:
            missing[column.name] = is_missing(values)
    not_told = []
    far: Mask = np.zeros(len(x), bool)
    disagree: Mask = far
    landmarks = None if statistics is None else statistics.landmarks
    if landmarks is None:
        not_told.append("whether rows are far from those of the fit")
    else:
        far = landmarks.distances(x) > landmarks.distance.at([FAR])[0]
    errors = () if statistics is None or statistics.held_out is None else statistics.held_out.errors
    usual = [error.spread for error in errors]
    if spread is None or not usual or any(each is None for each in usual):
        not_told.append("whether networks disagree more than usual")
    else:
        limits = [each.at([DISAGREE])[0] for each in usual if each is not None]
        disagree = np.any(spread > np.array(limits), axis=1)
    return Flags(_there(out), _there(unseen), _there(missing), far, disagree, tuple(not_told))


def _there(masks: Mapping[str, Mask]) -> dict[str, Mask]:
    """Those columns that have the flag in a row."""
    return {name: mask for name, mask in masks.items() if mask.any()}
