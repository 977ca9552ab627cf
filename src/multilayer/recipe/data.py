"""What is learnt from: features, target and weights of the same rows."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, counted, warn
from multilayer.recipe.declared import Declared
from multilayer.recipe.wanted import Wanted
from multilayer.table.cells import is_missing
from multilayer.table.infer import is_written_index
from multilayer.table.levels import has_lost_digits
from multilayer.table.merge_rows import ByContent, by_content
from multilayer.table.moments import moments
from multilayer.table.odd_cells import as_learnt, as_numbers_of_target, without_odd_cells, without_signs
from multilayer.table.row_weights import check_exposure, check_weights
from multilayer.table.schema import Schema
from multilayer.table.sources.dtype_hints import Odd
from multilayer.table.sources.frames import tell_other_order
from multilayer.table.sources.names import column_name, listed, require_columns
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.read import Table, read_source, read_table
from multilayer.table.split import check_complete
from multilayer.table.writing import Writing
from multilayer.tasks.make import guess_kind
from multilayer.tasks.multi_target import per_unit, side_by_side

FEWEST_OF_OWN = 50  # rows of which one can say that each has a label of its own
OWN_CLASSES = 0.8  # labels a row, at most
MOST_WRITTEN_OUT = 2**24  # values of a sparse table


@dataclass(frozen=True)
class Data:
    """Features, target and weights of the same rows.

    y:      (n_rows,); structured, with a field for each, where there are several targets
    target: name of the target, or of each
    beside: whether the targets came beside the table, as `y`
    time_in_words: how text was read as time
    is_rate: whether y and weight are per unit of exposure already
    exposure: the exposure's column, where it is one
    remarks: what was done in reading for the user, in words
    repeats: what became of equal rows, in words
    share_repeated: share of the rows given that are there again
    is_sure: whether the rows say all that there is to learn (`ByContent`)
    odd: name of a target -> cells of it that are missing, as they hold a mark of that or are no numbers
    units: name of a target of text -> the unit of its numbers, where they have one
    """

    features: Table
    y: NDArray[np.generic]
    weight: NDArray[np.floating[Any]] | None
    target: str | tuple[str, ...]
    beside: bool = False
    groups: NDArray[np.generic] | None = None
    time: NDArray[np.generic] | None = None
    time_in_words: str = ""
    is_rate: bool = False
    exposure: str | None = None
    dropped: tuple[str, ...] = ()
    notation: Notation = field(default_factory=Notation)
    weight_column: str | None = None
    declared: Declared = field(default_factory=Declared)
    remarks: tuple[str, ...] = ()
    repeats: str = ""
    share_repeated: float = 0.0
    is_sure: bool = False
    odd: Mapping[str, Odd] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows."""
        return len(self.y)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, also of a single one."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @classmethod
    def read(cls, source: Any, wanted: Wanted) -> "Data":
        """Read features, targets, weights and groups from a table, as `fit` was asked to.

        Raises:
            DataError: no such columns, too few rows or columns.
            ConfigError: no target, or a column with two roles.
        """
        target, y, groups, time = wanted.target, wanted.y, wanted.groups, wanted.time
        sample_weight, exposure, dropped = wanted.sample_weight, wanted.exposure, wanted.drop
        notation, declared = wanted.notation, wanted.declared
        if (target is None) == (y is None):
            raise ConfigError("fit needs either the name of the target column (target=) or its values (y=).")
        weight_column = column_name(sample_weight) if isinstance(sample_weight, str) else None
        exposure_column = column_name(exposure) if isinstance(exposure, str) else None
        roles = (groups, weight_column, exposure_column)
        names = _target_names(target)
        declared.check_targets(names)
        unread = {*dropped, *declared.left_out} - {*names, *roles, time}
        tell_other_order(source, {"y": y, "sample_weight": sample_weight, "exposure": exposure})
        reading = replace(notation, texts=declared.as_written)
        table = read_source(source, reading, query=wanted.query, unread=unread, others=declared.not_numbers)
        not_features = [*dropped, *(name for name in roles if name is not None)]
        require(table, [*not_features, *([time] if time is not None else []), *names])
        for name in names:
            if name in not_features:
                raise ConfigError(
                    f"the target {name!r} cannot be dropped, or be groups, weights or exposure."
                )
        targets = {name: table[name] for name in names} if y is None else target_columns(y, table.n_rows)
        if table.n_rows < 2:
            raise DataError(f"fit needs at least 2 rows; got n_samples = {table.n_rows}. Add rows.")
        if not set(table.names) - {*not_features, *names}:
            raise DataError("fit needs at least one column beside the target; got none. Add or keep columns.")
        weight = table[weight_column] if weight_column else sample_weight
        if groups is not None:
            check_complete("groups", table[groups])
        moment, time_in_words = None, ""
        if time is not None:
            moment, time_in_words = moments(
                time, table[time], table.notes.get(time), declared.columns.get(time)
            )
        features = table.drop(dict.fromkeys([*not_features, *names]))
        data = cls(
            features=without_odd_cells(features, declared.columns),
            y=next(iter(targets.values())) if len(targets) == 1 else side_by_side(targets),
            weight=None if weight is None else check_weights(weight, table.n_rows),
            target=next(iter(targets)) if len(targets) == 1 else tuple(targets),
            beside=y is not None,
            groups=None if groups is None else table[groups],
            time=moment,
            time_in_words=time_in_words,
            exposure=exposure_column,
            dropped=tuple(dict.fromkeys(name for name in not_features if name != exposure_column)),
            notation=notation,
            weight_column=weight_column,
            declared=declared,
            remarks=table.remarks,
            odd={name: table.odd[name] for name in names if name in table.odd},
        )
        if exposure is None:
            return data
        of_rows = table[exposure] if exposure_column else exposure
        return data.with_numbers_read("regression").per_unit_of(of_rows)

    def per_unit_of(self, exposure: Any) -> "Data":
        """Targets per unit of exposure, weighted by it as well."""
        of_rows = check_exposure(exposure, self.n_rows)
        weight = of_rows if self.weight is None else self.weight * of_rows
        return replace(self, y=per_unit(self.y, of_rows), weight=weight, is_rate=True)

    def with_numbers(self, task: str | None, *, drop_missing: bool) -> "Data":
        """Targets of text that is numbers as numbers, if the task is, or would be, a regression.

        task:         as it was asked for; None guesses
        drop_missing: leave rows without a target out

        Raises:
            DataError: a few cells of such a target are no numbers; it names them.
        """
        data = self.with_numbers_read(task)
        if data.odd and not drop_missing:
            name, cells = next(iter(data.odd.items()))
            raise DataError(
                f"Every row needs a target; in {name!r}, {cells.in_words}. Mend the cells, or leave these "
                "rows out: drop_missing_target=True (--drop-missing-target)."
            )
        for name, y in data.by_target.items():
            refuse_a_class_a_row(name, y)
        odd = tuple(f"in the target {name!r}, {cells.in_words}" for name, cells in data.odd.items())
        data = replace(data, remarks=(*data.remarks, *odd))
        return data.without_missing_targets() if drop_missing else data

    def with_numbers_read(self, task: str | None) -> "Data":
        """Targets of text that is numbers as numbers, NaN where it is odd."""
        read = {name: read_target(y, task, beside=self.beside) for name, y in self.by_target.items()}
        columns = {name: one.values for name, one in read.items()}
        odd = {name: one.odd + self.odd.get(name) for name, one in read.items() if one.odd is not None}
        remarks = tuple(f"the target {name!r} holds {one.holds}" for name, one in read.items() if one.holds)
        return replace(
            self,
            y=side_by_side(columns) if self.y.dtype.names else next(iter(columns.values())),
            odd={**self.odd, **odd},
            units={**self.units, **{name: one.unit for name, one in read.items() if one.unit}},
            remarks=(*self.remarks, *remarks),
        )

    @property
    def by_target(self) -> dict[str, NDArray[Any]]:
        """The values of each target."""
        y: NDArray[Any] = self.y
        return {name: y[name] if y.dtype.names else y for name in self.targets}

    def without_missing_targets(self) -> "Data":
        """Only rows that have every target."""
        missing = np.any([is_missing(y) for y in self.by_target.values()], axis=0)
        if not missing.any():
            return self
        n = int(missing.sum())
        remark = f"{counted(n, 'row')} without a target left out"
        return replace(self.take(np.flatnonzero(~missing)), remarks=(*self.remarks, remark))

    def as_learnt(self, schema: Schema) -> "Data":
        """The rows with cells missing that are not of their column's kind; a warning names them."""
        features, said = as_learnt(self.features, schema.columns)
        if said:
            warn(f"In the rows to validate on, {'; '.join(said)}.")
        return replace(self, features=features)

    def take(self, rows: NDArray[np.int64]) -> "Data":
        """Only these rows, in this order."""
        return replace(
            self,
            features=self.features.take(rows),
            y=self.y[rows],
            weight=None if self.weight is None else self.weight[rows],
            groups=None if self.groups is None else self.groups[rows],
            time=None if self.time is None else self.time[rows],
        )

    def by_content(self) -> "Data":
        """The distinct rows, with the weights of their repetitions, in an order of their own.

        Rows of large sparse tables stay as they are: to compare them, they would have to be written out.
        """
        if self.features.is_sparse and self.n_rows * len(self.features.names) > MOST_WRITTEN_OUT:
            return self
        names = [name for name in self.features.names if name not in self.declared.asked_out]
        names = [name for name in names if not is_written_index(name, self.features[name])] or names
        features = [self.features[name] for name in names]
        y: NDArray[Any] = self.y
        targets = [y] if y.dtype.names is None else [y[name] for name in y.dtype.names]
        more = [values for values in (self.groups, self.time) if values is not None]
        levels = [i for i, name in enumerate(names) if name in self.declared.levels]
        merged = by_content(features, [*targets, *more], self.weight, levels=levels)
        distinct = replace(self.take(merged.rows), weight=_as_float32(merged.weight))
        n_given = self.n_rows if self.weight is None else int((self.weight > 0).sum())
        return replace(
            distinct,
            repeats=_repeats_in_words(self, distinct, merged),
            is_sure=merged.is_sure,
            share_repeated=1.0 if merged.will_repeat else 1 - merged.n_distinct / n_given,
        )


@dataclass(frozen=True)
class _TargetRead:
    """A target's values, its cells that are no numbers, its unit, and what it holds, in words."""

    values: NDArray[Any]
    odd: Odd | None = None
    unit: str = ""
    holds: str = ""


def read_target(y: NDArray[Any], task: str | None, *, beside: bool) -> _TargetRead:
    """Text as numbers, if it is, and these are a regression's."""
    found = as_numbers_of_target(y) if task in (None, "regression") else None
    if found is not None:
        numbers, odd, column = found
        present = numbers[~np.isnan(numbers)]
        if task == "regression" or (len(present) and guess_kind(present)[0] == "regression"):
            writing = Writing(column.unit, column.thousands, column.decimal).in_words
            return _TargetRead(numbers, odd, column.unit, f"numbers {writing}" if writing else "")
    if task not in (None, "regression") and has_lost_digits(y):
        return _TargetRead(y, holds="numbers beyond 2^53 that came as floats: their last digits were lost")
    return _TargetRead(y if beside else without_signs(y))


def refuse_a_class_a_row(name: str, y: NDArray[Any]) -> None:
    """DataError for a target of text of which nearly every row is a class of its own."""
    labels = Counter(y.tolist()) if y.dtype == object else Counter()
    labels.pop(None, None)
    n_rows = labels.total()
    if n_rows < FEWEST_OF_OWN or len(labels) <= OWN_CLASSES * n_rows:
        return
    once = next(label for label, count in labels.items() if count == 1)
    raise DataError(
        f"A class is learnt from several rows; in the target {name!r}, nearly each of the {n_rows:,} rows "
        f"has a label of its own ({len(labels):,} labels, such as {once!r}). Choose another target, pool the "
        "labels, or, if they are numbers or dates, turn them into numbers."
    )


def _repeats_in_words(given: Data, data: Data, merged: ByContent) -> str:
    """What became of rows that are there several times, or weigh nothing."""
    if given.n_rows == data.n_rows and not merged.will_repeat:
        return ""
    n_empty = 0 if given.weight is None else int((given.weight == 0).sum())
    how = "weight" if data.weight is not None else "number"
    left_out = f", {n_empty:,} of weight 0 left out" if n_empty else ""
    merging = f"; {given.n_rows:,} were given{left_out}; equal rows are merged and count by their {how}"
    if not merged.will_repeat:
        return merging
    return (
        f"{merging}; only {merged.n_distinct:,} are different, and they repeat so often that new rows will "
        "repeat them, too: the score is that of repeated rows"
    )


def require(table: Table, names: list[str]) -> None:
    """Refuse a table without one of these columns."""
    of_header = (remark for remark in table.remarks if "header=" in remark)
    require_columns(names, table.names, *(f"{remark[0].upper()}{remark[1:]}." for remark in of_header))


def _target_names(target: Hashable | Sequence[Hashable]) -> tuple[str, ...]:
    """Names of the targets in the table; none where they come as y."""
    given = () if target is None else target if isinstance(target, list | tuple) else (target,)
    names = tuple(map(column_name, given))
    if target is not None and (not names or len(set(names)) < len(names)):
        raise ConfigError(f"target must be a column, or several different ones; got {list(names)}.")
    return names


def target_columns(y: Any, n_rows: int) -> dict[str, NDArray[np.generic]]:
    """The targets that come beside the table: a column, or one for each column of a matrix or frame."""
    if isinstance(y, list | tuple) and y and isinstance(y[0], list | tuple | np.ndarray):
        try:
            y = np.asarray(y)
        except ValueError:
            raise DataError(
                "y must have as many values in each row; its rows are of several lengths. Repair them."
            ) from None
    if len(getattr(y, "shape", ())) > 2:
        raise DataError(f"y must have one axis, or two for several targets; got shape {tuple(y.shape)}.")
    if isinstance(y, Table | Mapping) or len(getattr(y, "shape", ())) == 2:
        table = read_table(y)
        columns = {name: table[name] for name in table.names}
        if isinstance(y, np.ndarray) and y.dtype.names is None:
            columns = {f"target{i}": column for i, column in enumerate(columns.values())}
    else:
        read = read_table({"target": y})
        if read.names != ("target",):
            raise DataError(
                f"y must hold one value in each row; it holds {len(read.names)}, as {listed(read.names)}. "
                "Pass one of them, or for several targets a matrix or a frame."
            )
        columns = {"target": _in_own_type(y, read["target"])}
    n = len(next(iter(columns.values())))
    if n != n_rows:
        raise DataError(f"y must have as many rows as the table; got {n} and {n_rows}.")
    return columns if len(columns) > 1 or not isinstance(y, np.ndarray) else {"target": columns.popitem()[1]}


def _in_own_type(y: Any, column: NDArray[np.generic]) -> NDArray[np.generic]:
    """The column that a table makes of y; numbers in an array, and text, as they came: labels go back so."""
    is_number = isinstance(y, np.ndarray) and (y.dtype.kind in "iu" or y.dtype in (np.float32, np.float64))
    is_number = is_number and column.dtype != object and not np.ma.is_masked(y)
    if is_number or column.dtype != object:
        return y if is_number else column
    given = [y_ if isinstance(y_, str) and y_.strip() else read for y_, read in zip(y, column, strict=True)]
    as_given: NDArray[Any] = np.empty(len(given), dtype=object)
    as_given[:] = given
    return as_given


def _as_float32(weight: NDArray[np.float64] | None) -> NDArray[np.float32] | None:
    return None if weight is None else weight.astype(np.float32)
