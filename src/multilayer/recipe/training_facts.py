"""What a model keeps of its training rows, before networks train: columns one by one, and landmarks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.model.statistics import ColumnStatistics, Distribution, Landmarks, squared_distances
from multilayer.table.cells import is_missing
from multilayer.table.encode import Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.kind import Coder
from multilayer.table.sources.read import Table

MOST_ROWS = 10_000  # that are looked at in each column: shares are known to a percent
MOST_CELLS = 2_000_000  # in all columns
MOST_VALUES = 101  # that are kept of a column: percentiles
LANDMARKS = 64
LANDMARK_ROWS = 2048  # to find them
MOST_NUMBERS = 200_000  # that landmarks may take in a file, of 4 bytes each
FEWEST_IN_GROUP = 5  # a smaller group would tell too much of its rows
ROUNDS = 4  # of k-prototypes: which groups exactly does not matter

Floats = NDArray[np.float64]
Weight = NDArray[np.floating[Any]] | None


@dataclass(frozen=True, eq=False)
class TrainingFacts:
    """The part of `Statistics` that is known before networks train."""

    n_rows: int
    columns: tuple[ColumnStatistics, ...]
    landmarks: Landmarks | None


def training_facts(
    features: Table, encoder: Encoder, x: NDArray[np.float32], weight: Weight, n_rows: int
) -> TrainingFacts:
    """Of training rows, as they came and as they are encoded.

    Args:
        features, x: the rows; of a streamed table a sample, each of its own.
        weight: of the rows in `features`; None weighs all alike.
        n_rows: training rows, all of them.
    """
    at_most = max(1000, min(MOST_ROWS, MOST_CELLS // max(1, len(encoder.coders))))
    rows = evenly(features.n_rows, at_most)
    of_rows = None if weight is None else np.asarray(weight, np.float64)[rows]
    columns = tuple(_of_column(coder, features[coder.column.name][rows], of_rows) for coder in encoder.coders)
    return TrainingFacts(
        n_rows, columns, landmarks(encoder, x, weight if len(x) == features.n_rows else None)
    )


def evenly(n: int, most: int) -> NDArray[np.int64]:
    """So many of n row numbers at most, evenly spaced.

    >>> evenly(10, 4).tolist()
    [0, 2, 5, 7]
    """
    return np.arange(n) if n <= most else np.arange(most) * n // most


def _of_column(coder: Coder, values: NDArray[Any], weight: Floats | None) -> ColumnStatistics:
    kind, column, n = kind_of(coder.column), coder.column, len(values)
    w = np.ones(n) if weight is None else weight
    nothing = np.zeros(0)
    if coder.code is not None:
        counts = np.bincount(coder.codes(kind.cells(column, values)), w, coder.code.cardinality)
        there = counts.sum() - counts[0]
        return ColumnStatistics(float(counts[0] / w.sum()), nothing, counts[2:] / (there or 1.0), n)
    if kind.numbers is None:
        return ColumnStatistics(float(w[is_missing(values)].sum() / w.sum()), nothing, nothing, n)
    numbers = kind.numbers(column, values)
    there = ~np.isnan(numbers)
    missing = float(w[~there].sum() / w.sum())
    if not there.any():
        return ColumnStatistics(missing, nothing, nothing, n)
    distinct, place = np.unique(numbers[there], return_inverse=True)
    shares = np.cumsum(np.bincount(place, w[there]))
    shares = shares / shares[-1]
    kept = np.flatnonzero(np.diff(shares, prepend=0.0) > 0)
    if len(kept) > MOST_VALUES:
        wanted = np.linspace(0, 1, MOST_VALUES)
        kept = np.unique(np.minimum(np.searchsorted(shares, wanted), len(shares) - 1))
    return ColumnStatistics(missing, distinct[kept], shares[kept], n)


def landmarks(encoder: Encoder, x: NDArray[np.float32], weight: Weight = None) -> Landmarks | None:
    """Middles of groups of rows, found on half of a sample, and distances to them of the other half."""
    rows = evenly(len(x), LANDMARK_ROWS)
    n_groups = min(LANDMARKS, len(rows) // (4 * FEWEST_IN_GROUP), MOST_NUMBERS // max(1, x.shape[1]))
    if n_groups < 1:
        return None
    sample = np.ascontiguousarray(x[rows])
    w = np.ones(len(rows)) if weight is None else np.asarray(weight, np.float64)[rows]
    scale = _scale(encoder, sample, w)
    learn, judge = slice(0, None, 2), slice(1, None, 2)
    middles, shares = _groups(sample[learn], w[learn], scale, n_groups)
    found = Landmarks(middles, shares, scale, Distribution(np.zeros(1), np.ones(1), 1.0))
    return Landmarks(middles, shares, scale, Distribution.of(found.distances(sample[judge]), w[judge]))


def _scale(encoder: Encoder, x: NDArray[np.float32], weight: Floats) -> Floats:
    """What makes the numbers of a column vary by 1 together: how it is coded must not count."""
    features = encoder.num_features
    num = x[:, : len(features)].astype(np.float64)
    mean = np.average(num, axis=0, weights=weight)
    spread = np.sqrt(np.average((num - mean) ** 2, axis=0, weights=weight))
    names = [feature.column for feature in features]
    n_of = {name: names.count(name) for name in dict.fromkeys(names)} if len(names) < 2000 else {}
    share = np.array([1 / np.sqrt(n_of.get(name, 3)) for name in names])
    return np.where(spread > 1e-6, share / np.maximum(spread, 1e-6), 0.0)


def _groups(
    x: NDArray[np.float32], weight: Floats, scale: Floats, n_groups: int
) -> tuple[NDArray[np.float32], Floats]:
    """k-prototypes (Huang 1998): middles of groups of rows (k, d_in), and the share of each."""
    n_num = len(scale)
    middles = x[evenly(len(x), n_groups)]
    for _ in range(ROUNDS):
        nearest = squared_distances(x, middles, scale).argmin(axis=1)
        n_of = np.bincount(nearest, minlength=len(middles))
        kept = np.flatnonzero(n_of >= FEWEST_IN_GROUP)
        if not len(kept):
            kept, nearest = np.zeros(1, np.int64), np.zeros(len(x), np.int64)
        middles = np.stack([_middle(x[nearest == group], weight[nearest == group], n_num) for group in kept])
    shares = np.bincount(nearest, weight, int(nearest.max()) + 1)[kept]
    return middles, shares / shares.sum()


def _middle(x: NDArray[np.float32], weight: Floats, n_num: int) -> NDArray[np.float32]:
    """The mean of numbers and the most frequent code of each category."""
    codes = [np.bincount(column.astype(np.int64), weight).argmax() for column in x[:, n_num:].T]
    numbers = np.average(x[:, :n_num].astype(np.float64), axis=0, weights=weight)
    return np.concatenate([numbers, codes]).astype(np.float32)
