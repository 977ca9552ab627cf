"""How sure a prediction is: intervals of numbers and sets of classes that hold the truth so often.

Exact: split conformal prediction on rows that the fit never saw (`conformalized`). Approximate: the same on
the predictions of held-out rows that every fit has. By those rows epochs were chosen, and each was predicted
by the networks that held it out alone, so that no theorem holds; coverage has to be measured.

Source:  Vovk, Gammerman, Shafer 2005; Lei et al. 2018, arXiv:1604.04173 (split conformal); Romano et al.
         2019, arXiv:1905.03222 (quantiles); Angelopoulos et al. 2021, arXiv:2009.14193 (RAPS); Vovk et al.
         2003 (Mondrian)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, SchemaError, counted, nearest
from multilayer.file_values import need
from multilayer.model.conformal import Errors, quantile_pairs, raps_scores
from multilayer.model.statistics import ClassErrors, Distribution, NumberErrors, QuantileErrors
from multilayer.tasks.classification import Classification
from multilayer.tasks.positive import LogLink, LogTarget
from multilayer.tasks.task import Task

FEWEST_ROWS = 10  # with fewer no coverage worth asking for can be told
MOST_GROUPS = 1000
MOST_SCORES = 10_000  # that are kept: all, for most tables
MANY_CLASSES = 10  # with more, sets by RAPS, whose coverage differs less between easy and hard rows
PENALTY, FREE = 0.01, 5  # of RAPS, where no held-out rows tell better

Floats = NDArray[np.float64]

METHODS: Mapping[str, tuple[str, ...]] = {
    "number": ("relative", "absolute", "spread"),
    "quantiles": ("quantile",),
    "classes": ("lac", "raps"),
}


@dataclass(frozen=True, eq=False)
class Conformal:
    """Conformity scores of rows that the fit never saw.

    method:  how rows are scored: "relative" (error over what is typical at such a prediction), "absolute",
             "spread" (error over the networks' disagreement), "quantile" (CQR), "lac", "raps"
    by:      the column that groups rows, each with scores of its own (Mondrian); None without
    groups:  its values
    scores:  for each target, of all rows
    group_scores: for each target one behind the other, of the rows of each group
    floor:   of each target, what is added to the networks' disagreement: it may be 0
    penalty, free: of RAPS
    """

    method: str
    by: str | None
    groups: tuple[str, ...]
    scores: tuple[Distribution, ...]
    group_scores: tuple[Distribution, ...]
    floor: tuple[float, ...]
    penalty: float
    free: int

    def check(self) -> None:
        """ValueError unless its parts fit each other."""
        need(any(self.method in of for of in METHODS.values()), f"there is no method {self.method!r}")
        need(len(self.floor) == len(self.scores) > 0, "each target needs scores")
        need(len(set(self.groups)) == len(self.groups), "a group stands there twice")
        need(len(self.group_scores) == len(self.groups) * len(self.scores), "each group needs scores")
        need(bool(self.groups) == (self.by is not None), "groups need a column")
        need(min(self.floor) >= 0 and self.penalty >= 0 and self.free >= 0, "settings must not be negative")

    def check_fits(self, task: Task) -> None:
        """ValueError unless a model of this task can use it."""
        need(len(self.scores) == len(task.parts_of_targets), "each target needs scores")
        need(all(self.method in methods_of(part) for part in task.parts_of_targets), "it has another task")

    def limits(self, target: int, coverage: float, groups: NDArray[np.object_] | None, n: int) -> Floats:
        """The largest score that belongs to a row, (n,). Of groups that were not there, of all rows.

        Raises:
            ConfigError: there were too few rows, or too few of a group, for such a coverage.
        """
        whole = limit_of(self.scores[target], coverage, "")
        if groups is None or self.by is None:
            return np.full(n, whole)
        found = dict.fromkeys(groups.tolist(), whole)
        for i, group in enumerate(self.groups):
            if group in found:
                scores = self.group_scores[target * len(self.groups) + i]
                found[group] = limit_of(scores, coverage, f" of {self.by!r} = {group!r}")
        return np.array([found[group] for group in groups.tolist()])


def methods_of(task: Task) -> tuple[str, ...]:
    """Names of the ways to score a target's rows, the usual one first."""
    if isinstance(task, Classification):
        return METHODS["classes"]
    return METHODS["number" if task.quantile_levels is None else "quantiles"]


def limit_of(scores: Distribution, coverage: float, which: str) -> float:
    """The conformal quantile.

    Raises:
        ConfigError: it is infinite.
    """
    limit = scores.quantile(coverage)
    if np.isinf(limit):
        rows = int(np.ceil(coverage / (1 - coverage) - 1e-9))
        raise ConfigError(
            f"a coverage of {coverage:g} needs {rows:,} rows to tell from; there are {scores.n:,.0f}{which}. "
            "Ask for less, or give more."
        )
    return limit


def check_coverage(coverage: Any) -> float:
    """A share above 0 and below 1.

    Raises:
        ConfigError: it is none.

    >>> check_coverage(0.9)
    0.9
    """
    is_number = isinstance(coverage, int | float | np.number) and not isinstance(coverage, bool)
    if not is_number or not 0 < coverage < 1:
        raise ConfigError(
            f"coverage is the share of rows whose truth is to lie inside, between 0 and 1; got {coverage!r}. "
            "Try 0.9."
        )
    return float(coverage)


def conformalized(
    task: Task,
    code: NDArray[np.generic],
    prediction: Floats,
    spread: Floats,
    known: Sequence[Errors] | None,
    *,
    method: str | None = None,
    by: str | None = None,
    groups: NDArray[np.object_] | None = None,
) -> Conformal:
    """Scores of rows that the fit never saw.

    Args:
        task: what is predicted.
        code, prediction: of the rows, as the task has them.
        spread: by how much the networks disagree about each target (n_rows, n_targets).
        known: errors of held-out rows of the fit, by target; None where they are not known.
        method: of `METHODS`; None chooses.
        by, groups: name and values (n_rows,) of the column that groups rows.

    Raises:
        DataError: too few rows.
        ConfigError: an unknown method.
    """
    if len(code) < FEWEST_ROWS:
        raise DataError(f"conformal prediction needs at least {FEWEST_ROWS} rows; got {len(code)}. Add some.")
    parts = task.parts_of_targets
    method = _method(parts[0], method, known)
    penalty, free = PENALTY, FREE
    if method == "raps" and known and isinstance(known[0], ClassErrors) and known[0].raps is not None:
        penalty, free = known[0].penalty, known[0].free
    floor = tuple(float(0.1 * spread[:, i].mean()) for i in range(len(parts)))
    made = Conformal(method, None, (), (), (), floor, penalty, free)
    scores, by_group = [], []
    names, place = (
        (np.zeros(0), None) if groups is None else np.unique(groups.astype(str), return_inverse=True)
    )
    if len(names) > MOST_GROUPS:
        raise ConfigError(
            f"by groups rows by a column of few values; {by!r} has {len(names):,}. Take another, or none."
        )
    for i, of_target in enumerate(task.by_target(prediction)):
        codes = code.reshape(len(code), -1)[:, i]
        error = None if known is None else known[i]
        found = scores_of(made, i, of_target, codes, spread[:, i], error)
        scores.append(Distribution.of(found, most=MOST_SCORES))
        by_group += [Distribution.of(found[place == g], most=MOST_SCORES) for g in range(len(names))]
    return Conformal(method, by, tuple(map(str, names)), tuple(scores), tuple(by_group), floor, penalty, free)


def _method(task: Task, method: str | None, known: Sequence[Errors] | None) -> str:
    usual = methods_of(task)
    if method is not None and method not in usual:
        raise ConfigError(
            f"method must be {' or '.join(map(repr, usual))} for what this model predicts; got {method!r}."
            f"{nearest(str(method), usual)}"
        )
    if method == "relative" and known is None:
        raise ConfigError(
            "method 'relative' needs the statistics of the fit, which this model lacks. Take 'absolute'."
        )
    if method is not None:
        return method
    if isinstance(task, Classification):
        return "raps" if len(task.labels) > MANY_CLASSES else "lac"
    return "absolute" if usual[0] == "relative" and known is None else usual[0]


def scores_of(
    conformal: Conformal,
    target: int,
    prediction: Floats,
    code: NDArray[Any],
    spread: Floats,
    known: Errors | None,
) -> Floats:
    """By how much each row's target does not conform (n_rows,)."""
    rows = np.arange(len(code))
    if conformal.method == "lac":
        return 1 - prediction[rows, code.astype(np.int64)]
    if conformal.method == "raps":
        return raps_scores(prediction, conformal.penalty, conformal.free)[rows, code.astype(np.int64)]
    y = code.astype(np.float64)
    if conformal.method == "quantile":
        return np.asarray(np.maximum(prediction[:, 0] - y, y - prediction[:, -1]))
    return np.abs(y - prediction) / _scale(conformal, target, prediction, spread, known)


def _scale(
    conformal: Conformal, target: int, prediction: Floats, spread: Floats, known: Errors | None
) -> Floats:
    """What an error of 1 is, row by row."""
    if conformal.method == "spread":
        return spread + conformal.floor[target] + float(np.finfo(np.float32).tiny)
    if conformal.method == "relative" and isinstance(known, NumberErrors):
        return known.typical_at(prediction)
    return np.ones(len(prediction))


# Intervals


def interval(
    task: Task,
    target: int,
    prediction: Floats,
    spread: Floats,
    coverage: float,
    conformal: Conformal | None,
    known: Errors | None,
    groups: NDArray[np.object_] | None,
) -> Floats:
    """Lower and upper bound of each row (n_rows, 2), of one target.

    Raises:
        SchemaError: the model has nothing to tell them from.
        ConfigError: too few rows for the coverage.
    """
    n = len(prediction)
    if conformal is not None:
        limit = conformal.limits(target, coverage, groups, n)
        if conformal.method == "quantile":
            bounds = np.stack([prediction[:, 0] - limit, prediction[:, -1] + limit], axis=1)
            crossed = (
                bounds[:, 0] > bounds[:, 1]
            )  # by scores below 0: the two quantiles were much too far apart
            bounds[crossed] = bounds[crossed].mean(axis=1, keepdims=True)
        else:
            half = limit * _scale(conformal, target, prediction, spread, known)
            bounds = np.stack([prediction - half, prediction + half], axis=1)
    elif isinstance(known, QuantileErrors):
        bounds = _approximate_of_quantiles(task, prediction, coverage, known)
    elif isinstance(known, NumberErrors):
        half = limit_of(known.relative, coverage, "") * known.typical_at(prediction)
        bounds = np.stack([prediction - half, prediction + half], axis=1)
    else:
        raise nothing_known()
    if isinstance(task, LogLink | LogTarget):
        bounds = np.maximum(bounds, 0.0)  # such a target is never negative
    return bounds


def _approximate_of_quantiles(
    task: Task, prediction: Floats, coverage: float, known: QuantileErrors
) -> Floats:
    """By the pair of quantiles that promises the least above this coverage, or else the outermost."""
    levels = task.quantile_levels or ()
    pairs = quantile_pairs(len(levels))
    enough = [i for i, (low, high) in enumerate(pairs) if levels[high] - levels[low] >= coverage - 1e-9]
    i = enough[-1] if enough else 0
    low, high = pairs[i]
    limit = limit_of(known.outside[i], coverage, "")
    bounds = np.stack([prediction[:, low] - limit, prediction[:, high] + limit], axis=1)
    crossed = bounds[:, 0] > bounds[:, 1]
    bounds[crossed] = bounds[crossed].mean(axis=1, keepdims=True)
    return bounds


# Sets


def label_set(
    task: Classification,
    target: int,
    probs: Floats,
    coverage: float,
    conformal: Conformal | None,
    known: Errors | None,
    groups: NDArray[np.object_] | None,
) -> NDArray[np.bool_]:
    """Which classes belong to the set of each row (n_rows, n_classes), of one target.

    Raises:
        SchemaError: the model has nothing to tell them from.
        ConfigError: too few rows for the coverage.
    """
    if conformal is not None:
        limit = conformal.limits(target, coverage, groups, len(probs))[:, None]
        if conformal.method == "lac":
            return 1 - probs <= limit
        return raps_scores(probs, conformal.penalty, conformal.free) <= limit
    if not isinstance(known, ClassErrors):
        raise nothing_known()
    if known.raps is not None and len(task.labels) > MANY_CLASSES:
        return raps_scores(probs, known.penalty, known.free) <= limit_of(known.raps, coverage, "")
    return 1 - probs <= limit_of(known.lac, coverage, "")


def nothing_known() -> SchemaError:
    """The error of a model without statistics."""
    return SchemaError(
        "this model does not know how far its predictions are off, as its file has no statistics of held-out "
        "rows. Give it rows that it was not trained on: model.conformalize(table); or fit again."
    )


def basis_in_words(conformal: Conformal | None, n_held_out: int | None) -> str:
    """What intervals and sets are told from, in a sentence."""
    if conformal is not None:
        n = int(conformal.scores[0].n)
        by = f", by {conformal.by!r}" if conformal.by is not None else ""
        return (
            f"exact: split conformal on {counted(n, 'row')} that the fit never saw ({conformal.method}{by}); "
            "holds for rows drawn as these were"
        )
    if n_held_out is None:
        return "none: the model has no statistics of held-out rows"
    return (
        f"approximate: from predictions of {counted(n_held_out, 'row')} by the networks that held them out, "
        "by which epochs were chosen, too; exact with model.conformalize(table)"
    )
