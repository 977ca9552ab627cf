"""Makes the task of a target, as asked or as guessed; and reads a task from a model file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from multilayer.errors import ConfigError, DataError, nearest
from multilayer.tasks.classification import Classification
from multilayer.tasks.multi_target import Multilabel, SeveralNumbers
from multilayer.tasks.positive import Gamma, LogTarget, Poisson, Tweedie
from multilayer.tasks.regression import AbsoluteError, Huber, Quantiles, Regression, checked_quantiles
from multilayer.tasks.task import KINDS, Array, Kind, Task, Weight, check_target, of_target

MOST_CLASS_CODES = 50

OBJECTIVES: Mapping[str, type[Regression]] = {
    task.objective: task
    for task in (Regression, AbsoluteError, Huber, Quantiles, Poisson, Gamma, Tweedie, LogTarget)
}


def make_task(
    y: Array,
    kind: str | None = None,
    *,
    objective: str | None = None,
    quantiles: Sequence[float] | float | None = None,
    threshold: str | float | None = None,
    weight: Weight = None,
) -> Task:
    """The task that a target asks for, or several of them in a structured array.

    Args:
        kind: one of `KINDS`; None decides by `guess_kind`, and by an objective for regression.
        objective: one of `OBJECTIVES`; None is "quantile" where there are quantiles, else "squared_error".
        quantiles: of the objective "quantile".
        threshold: of two classes, or of each of several labels: a probability, or one of
            `THRESHOLD_METRICS`.
        weight: of the rows, for the units of a regression.

    Raises:
        DataError: missing or infinite values, fewer than two classes, text where numbers are needed, numbers
            that the objective cannot be.
        ConfigError: an unknown kind or objective, or one that does not fit the target or each other.

    >>> make_task(np.array(["no", "yes", "no"], dtype=object)).kind
    'binary'
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"task must be one of {', '.join(KINDS)}; got {kind!r}.{nearest(kind, KINDS)}")
    task = _make_task(y, kind, objective, quantiles, weight)
    if threshold is None:
        return task
    if not isinstance(task, Classification | Multilabel):
        raise ConfigError(f"a threshold is for classes; the task is {task.kind}. Leave it out.")
    return task.with_threshold(threshold)


def _make_task(
    y: Array,
    kind: str | None,
    objective: str | None,
    quantiles: Sequence[float] | float | None,
    weight: Weight,
) -> Task:
    settings: dict[str, Any] = {}
    if quantiles is not None:
        objective = objective or Quantiles.objective
        settings = {"quantiles": checked_quantiles(quantiles)}
    if objective is not None:
        _check_objective(objective, kind, settings)
        kind = "regression"
    kind = kind or guess_kind(y)[0]
    chosen = OBJECTIVES[objective or Regression.objective]
    if y.dtype.names is None:
        if kind == "multilabel":
            raise ConfigError(
                "task 'multilabel' needs several targets, one for each label; got one. "
                "Pass target=[...] or y of shape (n_rows, n_labels), or task 'binary'."
            )
        if kind == "regression":
            return chosen.from_target(y, weight, **settings)
        return Classification.from_target(y, kind)
    if kind in ("binary", "multiclass"):
        raise ConfigError(
            f"task {kind!r} has one target; got {len(y.dtype.names)}. Use task 'multilabel', or fit a model "
            "for each."
        )
    if kind == "multilabel":
        return Multilabel.from_target(y)
    return SeveralNumbers.from_target(y, lambda column: chosen.from_target(column, weight, **settings))


def _check_objective(objective: str, kind: str | None, settings: Mapping[str, Any]) -> None:
    if objective not in OBJECTIVES:
        raise ConfigError(
            f"objective must be one of {', '.join(OBJECTIVES)}; got {objective!r}."
            f"{nearest(objective, OBJECTIVES)}"
        )
    if kind not in (None, "regression"):
        raise ConfigError(
            f"an objective is for numbers; got objective {objective!r} with task {kind!r}. "
            "Leave one of them out."
        )
    if "quantiles" in settings and objective != Quantiles.objective:
        raise ConfigError(
            f"quantiles are for the objective 'quantile'; got objective {objective!r}. Leave one of them out."
        )


def guess_kind(y: Array) -> tuple[Kind, str]:
    """Guess the kind of task from a target, and say why in words.

    Text and booleans are classes. Two distinct values are classes. Whole numbers that count up from 0 or 1
    without gaps, at most 50 of them, are class codes. All other numbers are quantities. Several targets are
    labels if each has two values, and quantities if all are numbers.

    Raises:
        DataError: several targets that are neither all labels nor all numbers.

    >>> guess_kind(np.array([3.0, 4.0, 5.0, 7.0]))
    ('regression', 'numbers that do not count up from 0 or 1')
    >>> guess_kind(np.array([1, 2, 3]))
    ('multiclass', 'whole numbers that count up from 1 to 3')
    """
    if y.dtype.names is not None:
        return _guess_several(y)
    check_target(y)
    if y.dtype == object or y.dtype == bool:
        n = len(set(y.tolist()))
        return ("binary" if n == 2 else "multiclass"), f"{n} distinct labels"
    distinct = np.unique(y)
    if len(distinct) == 2:
        return "binary", "two distinct values"
    first = distinct[0]
    counts_up = first in (0, 1) and np.array_equal(distinct, np.arange(len(distinct)) + first)
    if counts_up and len(distinct) <= MOST_CLASS_CODES:
        return "multiclass", f"whole numbers that count up from {int(first)} to {int(distinct[-1])}"
    return "regression", "numbers that do not count up from 0 or 1"


def _guess_several(y: Array) -> tuple[Kind, str]:
    names = y.dtype.names or ()
    for name in names:
        with of_target(name):
            check_target(y[name])
    if all(_is_label(y[name]) for name in names):
        return "multilabel", "two distinct values in each"
    text = [name for name in names if y[name].dtype.kind in "Ob"]
    if text:
        others = [name for name in names if not _is_label(y[name])]
        raise DataError(
            f"several targets must be all numbers, or all of two values each; {text[0]!r} holds labels and "
            f"{others[0]!r} {len(set(y[others[0]].tolist()))} distinct values. Fit a model for each."
        )
    return "regression", "numbers"


def _is_label(y: Array) -> bool:
    distinct = set(y.tolist())
    return len(distinct) == 2 or y.dtype == bool or distinct <= {0, 1}


def task_from_json(values: dict[str, Any]) -> Task:
    """The inverse of `Task.to_json`; reads what every version wrote.

    >>> task = make_task(np.array([0.5, 2.0, 7.0]))
    >>> task_from_json(task.to_json()) == task
    True
    """
    kind = values["kind"]
    if kind == "multilabel":
        return Multilabel(tuple(values["names"]), tuple(map(Classification.from_json, values["parts"])))
    if kind in ("binary", "multiclass"):
        return Classification.from_json(values)
    if "parts" in values:
        return SeveralNumbers(tuple(values["names"]), tuple(map(_regression_from_json, values["parts"])))
    return _regression_from_json(values)


def _regression_from_json(values: dict[str, Any]) -> Regression:
    return OBJECTIVES[values.get("objective", Regression.objective)].from_json(values)
