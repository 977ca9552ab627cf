"""`Statistics`: what a model keeps of the rows that it was fitted on, without keeping a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multilayer.file_values import need
from multilayer.model.record import Arrays, from_record, to_record
from multilayer.table.encode import Encoder
from multilayer.tasks.metrics import Array

Floats = NDArray[np.float64]

MOST_VALUES = 1000  # of a distribution: what is between two kept values is a thousandth of the rows


@dataclass(frozen=True, eq=False)
class Distribution:
    """Numbers in ascending order, thinned: values[i] is the ranks[i]-th smallest of n.

    values: (k,) ascending
    ranks:  (k,) ascending, above 0; the last is n
    n:      how many there were; of weighted rows, how many that weigh alike tell as much

    >>> Distribution.of(np.arange(100.0)).quantile(0.5)
    50.0
    """

    values: Floats
    ranks: Floats
    n: float

    @classmethod
    def of(cls, values: Array, weight: Array | None = None, *, most: int = MOST_VALUES) -> "Distribution":
        """Of these numbers (n_rows,), finite.

        weight: of each; what n is follows Kish 1965, "Survey Sampling": (sum w)^2 / sum w^2
        most:   values that are kept; half of them at the ends, where coverage is decided
        """
        order = np.argsort(values, kind="stable")
        sorted_values = values[order].astype(np.float64)
        if weight is None:
            n = float(len(values))
            ranks = np.arange(1, len(values) + 1, dtype=np.float64)
        else:
            w = np.asarray(weight, np.float64)[order]
            n = float(w.sum() ** 2 / (w @ w))
            ranks = np.cumsum(w) / w.sum() * n
            ranks[-1] = n
            kept = np.diff(ranks, prepend=0.0) > 0  # a weight may be lost beside much larger ones
            sorted_values, ranks = sorted_values[kept], ranks[kept]
        kept_places = _places(len(ranks), most)
        return cls(sorted_values[kept_places], ranks[kept_places], n)

    def quantile(self, share: float) -> float:
        """The smallest kept number that at least (n + 1) share of the n numbers do not exceed.

        It is what split conformal prediction asks for; infinite where n numbers are too few to tell.

        Source:  Vovk, Gammerman, Shafer 2005; Lei et al. 2018, arXiv:1604.04173
        """
        rank = np.ceil((self.n + 1) * share - 1e-9) if self.n == round(self.n) else (self.n + 1) * share
        if rank > self.n:
            return np.inf
        return float(self.values[np.searchsorted(self.ranks, rank - 1e-9)])

    def at(self, shares: Sequence[float]) -> Floats:
        """The numbers that so large shares of all do not exceed (k,), finite."""
        return self.values[np.minimum(np.searchsorted(self.ranks, np.asarray(shares) * self.n - 1e-9),
                                      len(self.values) - 1)]  # fmt: skip

    def share_below(self, values: Array) -> Floats:
        """Which share of the numbers is below each of these values, up to what was thinned (n_values,)."""
        ranks = np.concatenate([[0.0], self.ranks])
        return ranks[np.searchsorted(self.values, values, side="left")] / self.n

    def check(self) -> None:
        """ValueError unless it is what `of` makes."""
        k = len(self.values)
        need(self.values.shape == (k,) and self.ranks.shape == (k,) and k > 0, "a distribution has no values")
        need((np.diff(self.values) >= 0).all() and (np.diff(self.ranks) > 0).all(), "values must rise")
        need(self.ranks[0] > 0 and self.ranks[-1] == self.n and self.n < 2**53, "ranks must end with n")


def _places(n: int, most: int) -> NDArray[np.int64]:
    """Which of n sorted numbers to keep: evenly, and twice as densely within a twentieth of either end."""
    if n <= most:
        return np.arange(n)
    inner = np.linspace(0, n - 1, most // 2)
    end = np.linspace(0, (n - 1) / 20, most // 4)
    return np.unique(np.concatenate([inner, end, n - 1 - end]).round().astype(np.int64))


@dataclass(frozen=True, eq=False)
class ColumnStatistics:
    """What the training rows held in one column.

    missing: share of the rows without a value
    values:  of numbers, dates, times, durations and booleans (as `Column` counts ranges): (k,) distinct
             values that occurred, ascending, from the smallest to the largest of the rows looked at
    shares:  beside values: (k,) which share of the rows with a value is at or below each. Of categories:
             (n_codes - 2,) which share has each of the encoder's levels; the rest were rarer ones. Else empty
    n:       rows that were looked at
    """

    missing: float
    values: Floats
    shares: Floats
    n: int

    @property
    def is_quantity(self) -> bool:
        """Whether its values have an order and distances."""
        return bool(len(self.values))

    def check(self) -> None:
        """ValueError unless it may be of a column."""
        need(0 <= self.missing <= 1 and self.n > 0, "a share must be within 0 and 1")
        need(self.values.ndim == 1 and self.shares.ndim == 1, "values must be a list")
        need(len(self.values) in (0, len(self.shares)), "each value needs a share")
        need((self.shares >= 0).all() and (self.shares <= 1 + 1e-9).all(), "a share must be within 0 and 1")
        if self.is_quantity:
            rise = (np.diff(self.values) > 0).all() and (np.diff(self.shares) > 0).all()
            need(rise and self.shares[-1] == 1, "values must rise")
        else:
            need(self.shares.sum() <= 1 + 1e-6, "shares of levels are more than all")


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Typical rows, each the middle of a group of at least five: where the training rows are.

    rows:     float32 (k, d_in): numbers averaged over the group, and its most frequent code of each category,
              encoded as a network takes them
    weight:   (k,) share of the training rows in each group
    scale:    (n_num,) what numbers are multiplied with before distances are taken
    distance: of rows that were not used to find the groups, to the nearest landmark

    The squared distance is the sum of squared differences of scaled numbers, and 1 for each category that
    differs.

    Source:  k-prototypes, Huang 1998, doi:10.1023/A:1009769707641
    """

    rows: NDArray[np.float32]
    weight: Floats
    scale: Floats
    distance: Distribution

    def distances(self, x: NDArray[np.float32]) -> Floats:
        """From encoded rows to the nearest landmark (n_rows,)."""
        n = 4096
        parts = [self._squared(x[start : start + n]).min(axis=1) for start in range(0, len(x), n)]
        return np.sqrt(np.concatenate([np.zeros(0), *parts]))

    def _squared(self, x: NDArray[np.float32]) -> Floats:
        return squared_distances(x, self.rows, self.scale)

    def check(self) -> None:
        """ValueError unless its parts fit each other."""
        need(self.rows.ndim == 2 and len(self.rows) > 0, "there are no landmarks")
        need(
            self.weight.shape == (len(self.rows),) and (self.weight > 0).all(), "each landmark needs a weight"
        )
        need(self.scale.ndim == 1 and len(self.scale) <= self.rows.shape[1], "numbers need a scale each")
        need(
            (self.scale >= 0).all() and (self.scale < 1e9).all(), "a scale must not be negative, or too large"
        )


def squared_distances(x: NDArray[np.float32], to: NDArray[np.float32], scale: Floats) -> Floats:
    """Of encoded rows (n_rows, d_in) to others (k, d_in): (n_rows, k); scale: of the first columns."""
    n_num = len(scale)
    a, b = x[:, :n_num] * scale, to[:, :n_num] * scale
    squared = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T), 0.0)
    for place in range(n_num, x.shape[1]):
        squared += x[:, place, None] != to[:, place]
    return squared


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted probabilities of one class beside how often it came: a reliability diagram.

    of:        the class; "the predicted class" for whichever was the most probable
    predicted: (k,) mean probability in each bin, ascending; bins have equally many rows
    observed:  (k,) how often it came there
    share:     (k,) of the rows
    ece:       expected calibration error: sum of share |predicted - observed|
    smooth_ece: the same smoothed by a kernel instead of bins
    brier:     Brier score: mean squared difference of probability and outcome

    Source:  Naeini et al. 2015 (expected calibration error); Błasiok, Nakkiran 2023, arXiv:2309.12236
    """

    of: str
    predicted: Floats
    observed: Floats
    share: Floats
    ece: float
    smooth_ece: float
    brier: float

    def check(self) -> None:
        """ValueError unless its parts fit each other."""
        arrays = (self.predicted, self.observed, self.share)
        need(all(a.shape == (len(self.share),) for a in arrays), "a diagram needs as many of each")
        need(all(((a >= 0) & (a <= 1 + 1e-9)).all() for a in arrays), "shares must be within 0 and 1")
        need(
            all(0 <= e <= 1 for e in (self.ece, self.smooth_ece, self.brier)), "errors must be within 0 and 1"
        )


@dataclass(frozen=True, eq=False)
class NumberErrors:
    """By how much predictions of held-out rows missed a number, in its units (of a rate, per exposure).

    residuals: target minus prediction
    absolute:  their sizes
    predicted: (k,) predictions, ascending, and
    typical:   (k,) the typical size of an error at each; between them it is interpolated
    relative:  sizes of errors over what is typical at their predictions
    spread:    by how much the networks disagree about a row, in units of the number
    """

    residuals: Distribution
    absolute: Distribution
    predicted: Floats
    typical: Floats
    relative: Distribution
    spread: Distribution | None

    in_union: ClassVar[bool] = True

    def typical_at(self, prediction: Array) -> Floats:
        """The typical size of an error where this is predicted."""
        return np.interp(prediction, self.predicted, self.typical)

    def check(self) -> None:
        """ValueError unless its parts fit each other."""
        need(self.predicted.ndim == 1 and len(self.predicted) > 0, "there are no predictions")
        need(self.typical.shape == self.predicted.shape, "each prediction needs a typical error")
        need((np.diff(self.predicted) > 0).all() and (self.typical > 0).all(), "predictions must rise")


@dataclass(frozen=True, eq=False)
class QuantileErrors:
    """By how much a number was outside of two predicted quantiles; negative where it was inside.

    outside: for each pair of quantiles, the outermost first: max(lower - y, y - upper)
    spread:  by how much the networks disagree about a row, in units of the number

    Source:  conformalized quantile regression, Romano et al. 2019, arXiv:1905.03222
    """

    outside: tuple[Distribution, ...]
    spread: Distribution | None

    in_union: ClassVar[bool] = True

    def check(self) -> None:
        """Nothing beyond its parts."""


@dataclass(frozen=True, eq=False)
class ClassErrors:
    """How far predicted probabilities of held-out rows were from their classes.

    lac:     1 minus the probability of the row's class
    raps:    sum of the probabilities of all classes down to the row's own, with a penalty; None for two
    penalty: of each class beyond the first `free` ones, in such a sum
    free:    classes without a penalty
    reliability: of the second of two classes; else of the predicted class, then of up to 30 classes
    spread:  by how much the networks disagree about the probabilities of a row

    Source:  Sadinle et al. 2019, arXiv:1609.00451 (LAC); Angelopoulos et al. 2021, arXiv:2009.14193 (RAPS)
    """

    lac: Distribution
    raps: Distribution | None
    penalty: float
    free: int
    reliability: tuple[Reliability, ...]
    spread: Distribution | None

    in_union: ClassVar[bool] = True

    def check(self) -> None:
        """ValueError unless its settings are possible."""
        need(self.penalty >= 0 and self.free >= 0, "a penalty must not be negative")


@dataclass(frozen=True, eq=False)
class HeldOut:
    """How predictions of rows went by networks that did not train on them.

    n_rows: distinct rows
    folds:  whether each network held out a fold of its own, so that these are all rows; else all networks
            held out the same rows
    scores: the metrics on each fold; without folds, on up to eight parts of the rows. Their spread tells how
            much a score depends on the rows it is of
    errors: of each target
    """

    n_rows: int
    folds: bool
    scores: tuple[dict[str, float], ...]
    errors: tuple[NumberErrors | QuantileErrors | ClassErrors, ...]

    def spread(self, metric: str) -> float:
        """Standard error of a metric, from its deviation over the folds; NaN where that is not known."""
        values = np.array([scores.get(metric, np.nan) for scores in self.scores])
        values = values[np.isfinite(values)]
        return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")

    def check(self) -> None:
        """ValueError unless there are rows."""
        need(self.n_rows > 0, "there must be rows")


@dataclass(frozen=True, eq=False)
class Statistics:
    """What a model keeps of the rows that it was fitted on: for explanations, intervals, flags and drift.

    No row is kept: distributions of single columns, middles of groups of rows, distributions of errors.

    n_rows:    training rows
    columns:   one for each column of the schema
    landmarks: where training rows are; None for fewer than ten rows, or so many columns that they took
               megabytes
    held_out:  how predictions of held-out rows went; None of models that `fit` did not make
    """

    n_rows: int
    columns: tuple[ColumnStatistics, ...]
    landmarks: Landmarks | None
    held_out: HeldOut | None

    def __repr__(self) -> str:
        where = "none" if self.landmarks is None else str(len(self.landmarks.rows))
        held_out = "none" if self.held_out is None else f"{self.held_out.n_rows:,} rows"
        return (
            f"Statistics(of {self.n_rows:,} rows, {len(self.columns)} columns; landmarks: {where}; held out: "
            f"{held_out})"
        )

    def check(self) -> None:
        """ValueError unless there are rows."""
        need(self.n_rows > 0, "there must be rows")

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """What `from_state` needs: arrays, and JSON-able values."""
        arrays: Arrays = {}
        # A wide table has thousands of columns: their arrays stand one behind the other.
        plan = to_record(self, "", arrays)
        n = len(self.columns)
        joined = {
            name: np.concatenate([np.zeros(0), *(arrays.pop(f".columns.{i}.{name}") for i in range(n))])
            for name in ("values", "shares")
        }
        for record, column in zip(plan["columns"], self.columns, strict=True):
            record |= {"n_values": len(column.values), "n_shares": len(column.shares)}
        arrays |= {f".columns.{name}": array for name, array in joined.items()}
        return {name[1:]: array for name, array in arrays.items()}, plan

    @classmethod
    def from_state(cls, arrays: Arrays, plan: Any, encoder: Encoder) -> "Statistics":
        """The inverse of `state`; arrays that are used are taken out.

        Raises:
            ValueError: they are not what it gives, or not of rows as the encoder makes them.
        """
        need(isinstance(plan, dict) and isinstance(plan.get("columns"), list), "an object is needed")
        found = {f".{name}": array for name, array in arrays.items()}
        records = []
        start = {"values": 0, "shares": 0}
        joined = {name: found.pop(f".columns.{name}", np.zeros(0)) for name in start}
        for i, record in enumerate(plan["columns"]):
            need(isinstance(record, dict), "a column must be an object")
            record = dict(record)
            for name, begin in start.items():
                n = record.pop(f"n_{name}", None)
                need(type(n) is int and 0 <= n <= len(joined[name]) - begin, "a column has no place")
                found[f".columns.{i}.{name}"] = joined[name][begin : begin + n]
                start[name] += n
            records.append(record)
        need(all(start[name] == len(joined[name]) for name in start), "arrays of columns are too long")
        made: Statistics = from_record(cls, {**plan, "columns": records}, "", found)
        need(not found, f"there is no statistic {next(iter(found), None)!r}")
        made.check_fits(encoder)
        return made

    def check_fits(self, encoder: Encoder) -> None:
        """ValueError unless it is of rows as this encoder makes them."""
        need(len(self.columns) == len(encoder.coders), "each column needs its statistics")
        for coder, column in zip(encoder.coders, self.columns, strict=True):
            n = None if coder.code is None else coder.code.cardinality - 2
            need(
                n is None or (len(column.shares) == n and not column.is_quantity), "each level needs a share"
            )
        if self.landmarks is not None:
            rows, n_num = self.landmarks.rows, len(encoder.num_features)
            need(len(self.landmarks.scale) == n_num, "landmarks have other numbers than rows")
            need(
                rows.shape[1] == n_num + len(encoder.cardinalities), "landmarks have other columns than rows"
            )
            codes = rows[:, n_num:]
            fit = (codes >= 0) & (codes < np.array(encoder.cardinalities)) & (codes == codes.round())
            need(fit.all() and (np.abs(rows[:, :n_num]) < 1e6).all(), "landmarks are no rows")
