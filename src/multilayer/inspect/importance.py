"""How much worse a model predicts when a column says nothing: permutation importance.

Source:  Breiman 2001, doi:10.1023/A:1010933404324; Fisher, Rudin, Dominici 2019, arXiv:1801.01489
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError
from multilayer.inspect.encoded_table import EncodedTable, Outputs, explained
from multilayer.inspect.result_table import ResultTable

CORRELATED = 0.7  # columns whose rank correlation is at least this are looked at together, too

Floats = NDArray[np.float64]


def importance(
    table: EncodedTable, groups: Sequence[Sequence[str]], *, repeats: int, seed: int
) -> ResultTable:
    """How much each group of columns matters: a row a group, the most important first.

    With the target: by how much the mean loss grows when the group's columns are shuffled among the rows, all
    together. Without: by how much predictions change then.

    Args:
        table: rows, better such as were held out.
        groups: names of columns; one for each column to look at each by itself.
        repeats: shuffles of each group; the mean is reported.
        seed: of the shuffles.
    """
    outputs = Outputs(table.model, len(table) * len(groups) * repeats)
    base = outputs.prediction(table.x)
    rows = np.zeros((len(groups), len(table)))
    rng = np.random.default_rng(seed)
    for _ in range(repeats):
        order = rng.permutation(len(table))  # one for all groups: they differ by what was shuffled, not how
        for i, group in enumerate(groups):
            places = np.concatenate([table.places[table.place_of(name)] for name in group])
            x = table.x.copy()
            x[:, places] = table.x[np.ix_(order, places)]
            rows[i] += _harm(table, base, outputs.prediction(x)) / repeats
    mean, error = _mean_and_error(rows, table.weight)
    best = np.argsort(-mean, kind="stable")
    names: list[Any] = [list(groups[i]) if len(groups[i]) > 1 else groups[i][0] for i in best]
    return ResultTable({"column": names, "mean": mean[best], "spread": error[best]}, _note(table))


def _harm(table: EncodedTable, base: Floats, shuffled: Floats) -> Floats:
    """Row by row, what shuffling did."""
    task, code = table.model.task, table.code
    if code is None:
        change = np.abs(explained(table.model, shuffled) - explained(table.model, base))
        return change.mean(axis=1)
    before, after = (task.row_losses(task.essence_of(said, code), code) for said in (base, shuffled))
    return np.asarray(after - before)


def _mean_and_error(rows: Floats, weight: NDArray[Any] | None) -> tuple[Floats, Floats]:
    """Mean over the rows, and its standard error as rows are a sample of all there might be."""
    w = np.full(rows.shape[1], 1 / rows.shape[1]) if weight is None else weight / weight.sum()
    mean = rows @ w
    variance = ((rows - mean[:, None]) ** 2) @ w**2
    return mean, np.sqrt(variance)


def _note(table: EncodedTable) -> str:
    task = table.model.task
    how = "mean: of several shuffles; spread: standard error over the rows"
    if table.code is None:
        what = "the probability" if task.has_probabilities else "the prediction"
        return (
            f"By how much {what} changes when a column is shuffled (the table lacks the target: not by how "
            f"much worse it gets); {how}"
        )
    unit = {
        "log_loss": "log loss (nats)",
        "rmse": "squared error (as a share of the target's variance)",
        "mae": "absolute error (in typical spreads of the target)",
    }.get(task.metric, f"the loss behind {task.metric}")
    return f"By how much the {unit} grows when a column is shuffled; {how}"


# Groups of columns that say the same


def rank_correlations(table: EncodedTable) -> Floats:
    """Spearman's rank correlation of each pair of columns, its size (n_columns, n_columns).

    A category's levels are ranked by the mean prediction of their rows; of a text, the first of its numbers
    is looked at; missing numbers count as the middle one.
    """
    said = Outputs(table.model, len(table))(table.x).mean(axis=1)
    ranks = np.stack([_ranked(_as_numbers(table, name, said)) for name in table.names])
    ranks -= ranks.mean(axis=1, keepdims=True)
    size = np.sqrt((ranks**2).sum(axis=1))
    ranks /= np.where(size > 0, size, 1.0)[:, None]
    found = np.abs(ranks @ ranks.T)
    np.fill_diagonal(found, 1.0)
    return np.minimum(found, 1.0)


def _as_numbers(table: EncodedTable, name: str, said: Floats) -> Floats:
    numbers, codes = table.numbers(name), table.codes(name)
    if codes is not None:
        n_of = np.bincount(codes)
        return np.asarray((np.bincount(codes, said) / np.maximum(n_of, 1))[codes])
    if numbers is None:  # text: its first direction
        return table.x[:, table.places[table.place_of(name)][0]].astype(np.float64)
    middle = np.nanmedian(numbers) if np.isfinite(numbers).any() else 0.0
    return np.where(np.isnan(numbers), middle, numbers)


def _ranked(values: Floats) -> Floats:
    """Ranks, equal values in the middle of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], np.float64)


def correlated_groups(
    names: Sequence[str], correlation: Floats, threshold: float
) -> tuple[tuple[str, ...], ...]:
    """Columns that go together: clusters by average linkage, in which pairs correlate so much on average.

    >>> found = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
    >>> correlated_groups(["a", "b", "c"], found, 0.7)
    (('a', 'b'), ('c',))
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold is a rank correlation, above 0 and at most 1; got {threshold}.")
    if len(names) < 2:
        return tuple((name,) for name in names)
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distance = squareform(1 - correlation, checks=False)
    cluster = fcluster(linkage(np.maximum(distance, 0.0), "average"), 1 - threshold + 1e-12, "distance")
    groups: dict[int, list[str]] = {}
    for name, number in zip(names, cluster.tolist(), strict=True):
        groups.setdefault(number, []).append(name)
    return tuple(tuple(group) for group in groups.values())
