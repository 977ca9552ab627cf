"""Target statistics: what the target was, on average, where a column had this value. NumPy only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.cells import Cells
from multilayer.table.steps import Bin, Chain, Feature, Pick

N_BINS = 64  # quantile bins of a number with many values
MOST_VALUES = 256  # numbers with no more distinct values get a bin for each
SPIKE = 200  # a value that every 200th row has gets a bin of its own
FEWEST_ROWS = 8  # neighbouring values share a bin until it holds so many rows
# Codes with fewer rows share one statistic: of few rows, those of other folds tell the own label
RARE_ROWS = 20
SMOOTHING = 10.0  # rows' worth of the overall mean that each bin's mean is mixed with
LARGEST = 4.0  # statistics are cut off at so many standard deviations

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistic:
    """One encoded column as log-odds of the positive class: a value for each code, or for each bin.

    column: name of the table's column
    place:  which column of `Batch.cat`, or of `Batch.num` where there are edges
    edges:  between the bins of a number, ascending; None for a category
    values: one for each code or bin, in standard deviations over the training rows
    """

    column: str
    place: int
    edges: Floats | None
    values: Floats

    @cached_property
    def steps(self) -> Chain:
        """From the column at `place` to the number; a code that was not there at fit counts as the last."""
        pick = Pick(self.values)
        return (pick,) if self.edges is None else (Bin(self.edges), pick)

    @property
    def feature(self) -> Feature:
        """The column of `Batch.num` that it makes."""
        return Feature(f"{self.column} (target)", self.column, "target")

    def source(self, num: NDArray[np.float32], cat: NDArray[np.int64]) -> NDArray[Any]:
        """The column that its steps begin with."""
        return (cat if self.edges is None else num)[:, self.place]

    def codes(self, num: NDArray[np.float32], cat: NDArray[np.int64]) -> NDArray[np.int64]:
        """The code or bin of each row."""
        return _run(self.steps[:-1], self.source(num, cat))


class TargetStatistics:
    """Encodes categories, and numbers cut into bins, by how often the positive class came with them.

    s(row) = logit((n_pos + m p) / (n + m)) - logit(p)    over the rows of its code or bin; p overall, m = 10

    A row of the training part is encoded from the other folds alone, so that its own label never tells.

    Source:  Micci-Barreca 2001, "A preprocessing scheme for high-cardinality categorical attributes";
             out-of-fold as scikit-learn's `TargetEncoder`
    Differs: numbers are encoded too, in bins of their quantiles and of their frequent values; log-odds

    >>> num, cat = np.zeros((40, 0), np.float32), np.tile([[2], [3]], (20, 1))
    >>> statistics, columns = TargetStatistics.fit(
    ...     num, cat, [], ["city"], np.tile([0.0, 1.0], 20), None, np.arange(40) % 5)
    >>> columns.shape, bool(statistics.transform(num, cat)[1, 0] > 0)
    ((40, 1), True)
    """

    def __init__(self, statistics: Sequence[Statistic]) -> None:
        self.statistics = tuple(statistics)

    @classmethod
    def fit(
        cls,
        num: NDArray[np.float32],
        cat: NDArray[np.int64],
        ranks: Sequence[tuple[int, str]],
        categories: Sequence[str],
        positive: Floats,
        weight: NDArray[np.floating[Any]] | None,
        folds: NDArray[np.int64],
    ) -> tuple["TargetStatistics", NDArray[np.float32]]:
        """The statistics, and the training rows' columns (n_rows, n_statistics), each row out of its fold.

        Args:
            num, cat: the encoded training rows.
            ranks: place in `num` and column name of each number to encode.
            categories: column name of each category.
            positive: 1 for rows of the positive class, 0 for others (n_rows,).
            weight: of each row; None weighs all alike.
            folds: fold of each row, 0, 1, 2, ... (n_rows,).
        """
        w = np.ones(len(positive)) if weight is None else weight.astype(np.float64)
        sources: list[tuple[str, int, Floats | None]] = [
            (name, place, None) for place, name in enumerate(categories)
        ]
        for place, name in ranks:
            found = bin_edges(num[:, place])
            if len(found):
                sources.append((name, place, found))
        statistics, columns = [], []
        for name, place, edges in sources:
            bare = Statistic(name, place, edges, np.zeros(0))
            codes = bare.codes(num, cat)
            values, column = _log_odds(codes, positive, w, folds)
            mean = np.average(column, weights=w)
            scale = float(np.sqrt(np.average((column - mean) ** 2, weights=w))) or 1.0
            statistics.append(Statistic(name, place, edges, _cut(values / scale)))
            columns.append(_cut(column / scale))
        stacked = np.stack(columns, axis=1) if columns else np.zeros((len(num), 0))
        return cls(statistics), stacked.astype(np.float32)

    def transform(self, num: NDArray[np.float32], cat: NDArray[np.int64]) -> NDArray[np.float32]:
        """The columns of rows that were not trained on (n_rows, n_statistics)."""
        columns = np.empty((len(num), len(self.statistics)), np.float32)
        for i, statistic in enumerate(self.statistics):
            columns[:, i] = _run(statistic.steps, statistic.source(num, cat))
        return columns

    def state(self) -> tuple[dict[str, NDArray[Any]], list[dict[str, Any]]]:
        """What `from_state` needs: arrays, and JSON-able values."""
        edges = [s.edges for s in self.statistics if s.edges is not None]
        arrays = {
            "target_edges": np.concatenate([np.zeros(0), *edges]),
            "target_values": np.concatenate([np.zeros(0), *(s.values for s in self.statistics)]),
        }
        rest = [
            {
                "column": s.column,
                "place": s.place,
                "n_edges": None if s.edges is None else len(s.edges),
                "n_values": len(s.values),
            }
            for s in self.statistics
        ]
        return arrays, rest

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], rest: list[dict[str, Any]]) -> "TargetStatistics":
        """The inverse of `state`."""
        take_edges, take_values = _taker(arrays["target_edges"]), _taker(arrays["target_values"])
        return cls(
            [
                Statistic(
                    plan["column"],
                    plan["place"],
                    None if plan["n_edges"] is None else take_edges(plan["n_edges"]),
                    take_values(plan["n_values"]),
                )
                for plan in rest
            ]
        )


def bin_edges(values: NDArray[np.floating[Any]]) -> Floats:
    """Edges between bins of a number: a bin for each of few values, else quantiles and frequent values.

    >>> bin_edges(np.repeat([0.0, 1.0, 5.0], 10))
    array([0.5, 3. ])
    """
    distinct, counts = np.unique(values.astype(np.float64), return_counts=True)
    middles = (distinct[1:] + distinct[:-1]) / 2
    if len(distinct) <= MOST_VALUES:
        return middles[list(_full_bins(counts))]
    quantiles = np.quantile(values, np.linspace(0, 1, N_BINS + 1)[1:-1])
    spikes = np.flatnonzero(counts >= max(FEWEST_ROWS, len(values) // SPIKE))
    around = np.unique([spikes - 1, spikes])
    around = around[(around >= 0) & (around < len(middles))]
    return np.unique([*quantiles, *middles[around]])


def _full_bins(counts: NDArray[np.int64]) -> Iterator[int]:
    """Where a bin may end: after the values that fill it."""
    held = 0
    for i, count in enumerate(counts[:-1]):
        held += count
        if held >= FEWEST_ROWS:
            yield i
            held = 0


def _log_odds(
    codes: NDArray[np.int64], positive: Floats, weight: Floats, folds: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Of each code over all rows, and of each row over the rows of other folds."""
    n_codes, n_folds = int(codes.max()) + 2, int(folds.max()) + 1  # one code more, which stays empty
    is_rare = np.bincount(codes, weight, n_codes) < RARE_ROWS
    pooled = np.where(is_rare, codes[is_rare[codes]].min(initial=n_codes - 1), np.arange(n_codes))
    codes = pooled[codes]
    cells = folds * n_codes + codes
    rows = np.bincount(cells, weight, n_folds * n_codes).reshape(n_folds, n_codes)
    hits = np.bincount(cells, weight * positive, n_folds * n_codes).reshape(n_folds, n_codes)
    share = float(np.average(positive, weights=weight))
    others_rows, others_hits = rows.sum(0) - rows, hits.sum(0) - hits
    of_code = _smoothed(hits.sum(0), rows.sum(0), share)
    out_of_fold = _smoothed(others_hits, others_rows, share)
    return of_code[pooled], out_of_fold[folds, codes]


def _smoothed(hits: Floats, rows: Floats, share: float) -> Floats:
    p = np.clip((hits + SMOOTHING * share) / (rows + SMOOTHING), 1e-4, 1 - 1e-4)
    p0 = np.clip(share, 1e-4, 1 - 1e-4)
    return np.log(p / (1 - p)) - np.log(p0 / (1 - p0))


def _run(steps: Chain, column: NDArray[Any]) -> NDArray[Any]:
    cells = Cells(column, np.zeros(0, bool), has_gaps=False)
    for step in steps:
        column = step.run(column, cells)
    return column


def _cut(values: Floats) -> Floats:
    return np.clip(values, -LARGEST, LARGEST)


def _taker(array: NDArray[Any]) -> Callable[[int], Floats]:
    """Hands out an array piece by piece."""
    start = 0

    def take(n: int) -> Floats:
        nonlocal start
        start += n
        return np.array(array[start - n : start], np.float64)

    return take
