"""`drift`: which columns of a table are not distributed as they were at fit."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, SchemaError, nearest
from multilayer.inspect.result_table import ResultTable
from multilayer.model.model import Model
from multilayer.model.statistics import ColumnStatistics
from multilayer.table.cells import is_missing
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.kind import Coder
from multilayer.table.sources.read import Table

BINS = 10  # of the population stability index, as is the custom
LEAST_SHARE = 1e-4  # of a bin: the logarithm of nothing
FEWEST_EXPECTED = 5.0  # rows of a level, for chi-squared; rarer ones are put together
CORRECTIONS = ("holm", "benjamini-hochberg", "none")

Floats = NDArray[np.float64]


class Moved(NamedTuple):
    """How one column differs from the fit.

    psi:      population stability index: sum over bins of (p - q) ln(p / q); below 0.1 is usual, above 0.25
              much
    distance: the largest difference of cumulative shares (Kolmogorov, Smirnov) of numbers; half the sum of
              all differences of shares (total variation) of categories
    p:        of a difference as large by chance, of its values or of its gaps
    what:     in words
    """

    psi: float
    distance: float
    p: float
    what: str


def drift(
    model: Model,
    table: Any,
    *,
    query: str | None = None,
    extra: str = "warn",
    correction: str = "holm",
    level: Any = 0.01,
) -> ResultTable:
    """Which columns of a table are distributed otherwise than the training rows were, the surest first.

    Numbers and dates are compared by the test of Kolmogorov and Smirnov, categories by chi-squared, gaps by
    the test of two shares. Of many columns some differ by chance: p-values are corrected for their number.

    Columns of the result: column; psi (population stability index) and distance (Kolmogorov-Smirnov or total
    variation), which say how much; p and p_adjusted, which say how surely; moved: whether p_adjusted is below
    `level`; what: in words. Of many rows the smallest difference is sure: look at psi, too. Texts are
    compared by their gaps alone.

    Source:  Holm 1979; Benjamini, Hochberg 1995

    Args:
        model: what `fit` or `Model.load` gave; files of before `statistics` cannot be compared with.
        table: anything that `read_table` takes, with the columns of the fit.
        query: the rows, where the table is a database, a connection or a file to query.
        extra: what becomes of columns that were not there at fit, as in `Model.predict`.
        correction: "holm" (the chance of any false alarm stays below `level`), "benjamini-hochberg" (that
            share of all alarms is false, on average) or "none".
        level: above 0 and below 1.

    Raises:
        SchemaError: as `Model.predict`; or the model has no statistics.
        DataError: the table has no rows.

    >>> import multilayer as ml
    >>> x = np.linspace(0, 1, 300)
    >>> model = ml.fit({"x": x, "c": ["a", "b", "c"] * 100, "y": x}, target="y", epochs=1, members=2)
    >>> found = drift(model, {"x": x + 0.5, "c": ["a", "b", "c"] * 100})
    >>> found["column"], found["moved"].tolist()
    (['x', 'c'], [True, False])
    """
    if not isinstance(model, Model):
        raise ConfigError(f"drift takes a model of ml.fit or Model.load; got {type(model).__name__}.")
    if correction not in CORRECTIONS:
        raise ConfigError(
            f"correction must be one of {', '.join(CORRECTIONS)}; got {correction!r}."
            f"{nearest(str(correction), CORRECTIONS)}"
        )
    if not 0 < level < 1:
        raise ConfigError(f"level is a share of false alarms, between 0 and 1; got {level!r}. Try 0.01.")
    if model.statistics is None:
        raise SchemaError(
            "this model does not know how its columns were distributed, as its file has no "
            "statistics. Fit again."
        )
    read = model._read(table, query, extra)
    if not read.n_rows:
        raise DataError("drift needs rows to compare; the table has none.")
    model._inputs(read)  # refuses what is not of the fit's kinds
    coders = model.encoder.coders
    each = [_moved(*pair, read) for pair in zip(coders, model.statistics.columns, strict=True)]
    p = np.array([moved.p for moved in each])
    adjusted = adjusted_p_values(p, correction)
    order = np.lexsort((-np.array([moved.psi for moved in each]), adjusted))
    return ResultTable(
        {
            "column": [coders[i].column.name for i in order],
            "psi": np.array([each[i].psi for i in order]),
            "distance": np.array([each[i].distance for i in order]),
            "p": p[order],
            "p_adjusted": adjusted[order],
            "moved": adjusted[order] < level,
            "what": [each[i].what for i in order],
        },
        f"{int((adjusted < level).sum())} of {len(p)} columns moved (p_adjusted below {level:g}, "
        f"{correction}); {read.n_rows:,} rows against {model.statistics.n_rows:,} of the fit",
    )


def _moved(coder: Coder, then: ColumnStatistics, table: Table) -> Moved:
    kind, column, values = kind_of(coder.column), coder.column, table[coder.column.name]
    n, gaps = len(values), float(is_missing(values).mean())
    p_gaps = _two_shares(then.missing, float(then.n), gaps, float(n))
    psi, distance, p, what = 0.0, 0.0, 1.0, ""
    n_then, n_now = then.n * (1 - then.missing), n * (1 - gaps)
    if min(n_then, n_now) >= 1:
        if coder.code is not None:
            counts = np.bincount(coder.codes(kind.cells(column, values)), minlength=coder.code.cardinality)
            psi, distance, p, what = _levels(then.shares, n_then, counts[1:], coder.code.levels)
        elif then.is_quantity and kind.numbers is not None:
            numbers = kind.numbers(column, values)
            there = np.sort(numbers[~np.isnan(numbers)])
            psi, distance, p, what = _quantity(then, n_then, there, is_date=kind.name == "date")
    if p_gaps < p:
        what = "; ".join(filter(None, (f"missing {gaps:.1%}, was {then.missing:.1%}", what)))
        distance, psi = max(distance, abs(gaps - then.missing)), max(psi, _psi([then.missing], [gaps]))
    both = p_gaps < 1 and p < 1  # the smaller of two
    return Moved(psi, distance, min(1.0, min(p, p_gaps) * (2 if both else 1)), what)


def _quantity(then: ColumnStatistics, n_then: float, now: Floats, *, is_date: bool) -> Moved:
    """Cumulative shares at the values that are known of the fit: the distance is that or larger."""
    from scipy.stats import kstwobign

    below = np.searchsorted(now, then.values, side="right") / len(now)
    distance = float(np.abs(below - then.shares).max())
    p = float(kstwobign.sf(distance * np.sqrt(n_then * len(now) / (n_then + len(now)))))
    ends = np.unique(np.searchsorted(then.shares, np.linspace(0, 1, BINS + 1)[1:-1]))
    psi = _psi(_bins(then.shares[ends]), _bins(below[ends]))
    outside = float(((now < then.values[0]) | (now > then.values[-1])).mean())
    middles = [float(np.median(now)), float(then.values[np.searchsorted(then.shares, 0.5)])]
    is_now, was = (str(np.datetime64(int(day), "D")) if is_date else f"{day:.4g}" for day in middles)
    what = f"median {is_now}, was {was}"
    return Moved(psi, distance, p, what + (f"; {outside:.1%} out of range" if outside > 0.001 else ""))


def _bins(cumulative: Floats) -> Floats:
    return np.diff(np.concatenate([[0.0], cumulative, [1.0]]))


def _levels(shares: Floats, n_then: float, counts: NDArray[np.int64], levels: tuple[str, ...]) -> Moved:
    """Shares of each level and, first, of rare or new ones."""
    from scipy.stats import chi2

    then = np.concatenate([[max(0.0, 1 - shares.sum())], shares])
    n_now = counts.sum()
    now = counts / n_now
    psi, distance = _psi(then, now), float(np.abs(then - now).sum() / 2)
    pooled = (then * n_then + counts) / (n_then + n_now)
    often = pooled * min(n_then, n_now) >= FEWEST_EXPECTED
    groups = [(then[often], now[often], pooled[often]), *(
        [(then[~often].sum(keepdims=True), now[~often].sum(keepdims=True), pooled[~often].sum(keepdims=True))]
        if pooled[~often].sum() > 0 else [])]  # fmt: skip
    a, b, expected = (np.concatenate([group[i] for group in groups]) for i in range(3))
    statistic = (((a - expected) ** 2) * n_then / expected + ((b - expected) ** 2) * n_now / expected).sum()
    p = float(chi2.sf(statistic, len(expected) - 1)) if len(expected) > 1 else 1.0
    most = int(np.abs(now - then).argmax())
    name = "rare or new levels" if most == 0 else repr(levels[most - 1])
    return Moved(psi, distance, p, f"{name} {now[most]:.1%}, was {then[most]:.1%}")


def _psi(then: Any, now: Any) -> float:
    p, q = (np.maximum(np.asarray(shares, float), LEAST_SHARE) for shares in (then, now))
    return float(((q - p) * np.log(q / p)).sum())


def _two_shares(then: float, n_then: float, now: float, n_now: float) -> float:
    """p-value that two shares are alike: by Fisher's exact test of few rows, else by chi-squared."""
    if then == now:
        return 1.0
    from scipy.stats import fisher_exact, norm

    pooled = (then * n_then + now * n_now) / (n_then + n_now)
    if pooled * (1 - pooled) * min(n_then, n_now) < 2 * FEWEST_EXPECTED:
        table = [[round(share * n), round((1 - share) * n)] for share, n in ((then, n_then), (now, n_now))]
        return float(fisher_exact(table).pvalue)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n_then + 1 / n_now))
    return float(2 * norm.sf(abs(then - now) / error))


def adjusted_p_values(p: Floats, correction: str) -> Floats:
    """p-values that account for how many there are.

    >>> adjusted_p_values(np.array([0.01, 0.04, 0.03]), "holm").round(3).tolist()
    [0.03, 0.06, 0.06]
    >>> adjusted_p_values(np.array([0.01, 0.04, 0.03]), "benjamini-hochberg").round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    if correction == "none":
        return p
    n, order = len(p), np.argsort(p, kind="stable")
    adjusted = np.empty(n)
    if correction == "holm":
        adjusted[order] = np.maximum.accumulate(p[order] * (n - np.arange(n)))
    else:
        rising = p[order] * n / np.arange(1, n + 1)
        adjusted[order] = np.minimum.accumulate(rising[::-1])[::-1]
    return np.minimum(adjusted, 1.0)
