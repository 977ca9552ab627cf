"""Tasks with several targets at once: numbers, or labels that each hold or not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError
from multilayer.tasks.classification import SMALLEST_PROB, Classification
from multilayer.tasks.link_steps import LinkChain, OfEach, Sigmoid
from multilayer.tasks.metrics import average
from multilayer.tasks.regression import Regression
from multilayer.tasks.task import Array, Floats, Label, Loss, Task, Weight, of_target


def side_by_side(columns: Mapping[str, Array]) -> Array:
    """Several targets as one array: structured, a field for each, so that all keep their types.

    >>> side_by_side({"a": np.array([1, 2]), "b": np.array([True, False])})[0].item()
    (1, True)
    """
    n_rows = len(next(iter(columns.values())))
    y = np.empty(n_rows, [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        y[name] = column
    return y


def per_unit(y: Array, exposure: Floats) -> Array:
    """Targets over their exposure; labels stay as they are, for the task to refuse."""
    if y.dtype.names is not None:
        return side_by_side({name: per_unit(y[name], exposure) for name in y.dtype.names})
    return y / exposure if y.dtype.kind in "fiu" else y


def _fields(y: Array, names: Sequence[str]) -> list[Array]:
    """The columns of several targets, by name."""
    absent = [name for name in names if name not in (y.dtype.names or ())]
    if absent:
        raise DataError(f"the targets {', '.join(names)} are needed; {', '.join(absent)} is absent.")
    return [y[name] for name in names]


def _with_each(
    names: Sequence[str], scores: Sequence[dict[str, float]], means: Sequence[str] | None = None
) -> dict[str, float]:
    """The mean of each metric over the targets that have it, then the metrics of each target."""
    mean = {metric: _mean_of_numbers([s[metric] for s in scores]) for metric in scores[0]}
    each = {
        f"{metric}[{name}]": value
        for name, score in zip(names, scores, strict=True)
        for metric, value in score.items()
    }
    return mean | each


def _mean_of_numbers(values: Sequence[float]) -> float:
    there = [value for value in values if not np.isnan(value)]
    return float(np.mean(there)) if there else float("nan")


class _Several(Task):
    """What tasks of several targets share: one task for each, by name, of one class."""

    noun: ClassVar[str]
    names: tuple[str, ...]
    parts: tuple[Any, ...]

    @property
    def parts_of_targets(self) -> tuple[Task, ...]:
        """The task of each target."""
        return self.parts

    def extent_in_words(self) -> str:
        """How many targets or labels."""
        return f"with {len(self.parts)} {self.noun}"

    def aim_in_words(self) -> str:
        """The aim of the first: objective, or threshold."""
        words = self.parts[0].aim_in_words()
        return f"{words} (of {self.names[0]!r}, the others alike)" if words else ""

    def to_json(self) -> dict[str, Any]:
        """Plain values for a model file."""
        return {
            "kind": self.kind,
            "names": list(self.names),
            "parts": [part.to_json() for part in self.parts],
        }


@dataclass(frozen=True)
class SeveralNumbers(_Several):
    """Several numbers with one objective; a prediction has a column for each.

    names: of the targets
    parts: the task of each, of one class and with the same settings

    >>> y = side_by_side({"a": np.array([0.0, 2.0]), "b": np.array([5.0, 9.0])})
    >>> task = SeveralNumbers(("a", "b"), (Regression.from_target(y["a"]), Regression.from_target(y["b"])))
    >>> task.link(np.array([[0.0, 1.0]], dtype=np.float32)).tolist()
    [[1.0, 9.0]]
    """

    names: tuple[str, ...]
    parts: tuple[Regression, ...]

    noun: ClassVar[str] = "targets"

    @classmethod
    def from_target(cls, y: Array, one: Callable[[Array], Regression]) -> "SeveralNumbers":
        """The task of several targets; one: from a column to its task.

        Raises:
            DataError: as `Regression.from_target`, with the target's name.
        """
        parts = []
        for name in y.dtype.names or ():
            with of_target(name):
                parts.append(one(y[name]))
        return cls(tuple(y.dtype.names or ()), tuple(parts))

    kind: ClassVar[Literal["regression"]] = "regression"

    @property
    def n_outputs(self) -> int:
        """Those of all targets, side by side."""
        return sum(part.n_outputs for part in self.parts)

    @property
    def loss(self) -> Loss:
        """The mean over targets of what one of them is trained with."""
        return self.parts[0].loss

    @property
    def metric(self) -> str:
        """The mean over targets of the objective's own."""
        return self.parts[0].metric

    def encode(self, y: Array) -> Floats:
        """Numbers (n_rows, n_targets)."""
        columns = []
        for name, part, column in zip(self.names, self.parts, _fields(y, self.names), strict=True):
            with of_target(name):
                columns.append(part.encode(column))
        return np.stack(columns, axis=1)

    def as_network_target(self, code: Array) -> Array:
        """Standardised each by itself, (n_rows, n_targets) float32."""
        return np.concatenate(
            [part.as_network_target(code[:, i]) for i, part in enumerate(self.parts)], axis=1
        )

    @cached_property
    def link_steps(self) -> LinkChain:
        """Numbers (n_rows, n_targets), or quantiles (n_rows, n_targets, n_quantiles)."""
        return (OfEach(self.parts[0].n_outputs, tuple(part.link_steps for part in self.parts)),)

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Mean over the targets of the loss of each, in units of its spread."""
        axis = -1 if self.quantile_levels is None else -2
        of_target = np.moveaxis(essence, axis, 0)
        losses = [
            part.row_losses(e, code[:, i])
            for i, (part, e) in enumerate(zip(self.parts, of_target, strict=True))
        ]
        return np.mean(losses, axis=0)

    def constant(self, code: Array, weight: Weight = None) -> Floats:
        """What each target's task would say without features."""
        return np.stack([part.constant(code[:, i], weight) for i, part in enumerate(self.parts)])

    def score(self, code: Array, prediction: Floats, weight: Weight = None) -> dict[str, float]:
        """Each metric as the mean over the targets, then of each target, as in "rmse[price]"."""
        scores = [part.score(code[:, i], prediction[:, i], weight) for i, part in enumerate(self.parts)]
        return _with_each(self.names, scores)

    def decide(self, prediction: Floats) -> Array:
        """Numbers (n_rows, n_targets)."""
        return np.stack([part.decide(prediction[:, i]) for i, part in enumerate(self.parts)], axis=1)

    def columns(self, prediction: Floats) -> dict[str, Array]:
        """The columns of each target, with its name behind."""
        return {
            f"{column}_{name}": values
            for i, (name, part) in enumerate(zip(self.names, self.parts, strict=True))
            for column, values in part.columns(prediction[:, i]).items()
        }

    def by_target(self, prediction: Floats) -> list[Floats]:
        """Each target's number, or quantiles."""
        return [prediction[:, i] for i in range(len(self.parts))]

    @property
    def quantile_levels(self) -> tuple[float, ...] | None:
        """As one target's task."""
        return self.parts[0].quantile_levels

    @property
    def takes_exposure(self) -> bool:
        """As one target's task."""
        return self.parts[0].takes_exposure

    def in_units_of(self, y: Array, weight: Weight = None) -> "SeveralNumbers":
        """Units of each target."""
        columns = _fields(y, self.names)
        parts = [part.in_units_of(column, weight) for part, column in zip(self.parts, columns, strict=True)]
        return replace(self, parts=tuple(parts))

    def settle(self, code: Array, prediction: Floats, weight: Weight = None) -> tuple[Task, Floats]:
        """Each target by itself."""
        settled = [part.settle(code[:, i], prediction[:, i], weight) for i, part in enumerate(self.parts)]
        parts = tuple(part for part, _ in settled)
        return replace(self, parts=parts), np.stack([values for _, values in settled], axis=1)


@dataclass(frozen=True)
class Multilabel(_Several):
    """Several labels, each of which holds for a row or not; a prediction is the probability of each.

    names: of the targets
    parts: the two classes of each; the second is what its probability is of

    >>> y = side_by_side({"a": np.array([0, 1]), "b": np.array(["no", "yes"], dtype=object)})
    >>> task = Multilabel.from_target(y)
    >>> task.encode(y).tolist(), task.decide(np.array([[0.9, 0.2]])).tolist()
    ([[0, 0], [1, 1]], [[1, 'no']])
    """

    names: tuple[str, ...]
    parts: tuple[Classification, ...]

    noun: ClassVar[str] = "labels"

    @classmethod
    def from_target(cls, y: Array) -> "Multilabel":
        """Two classes of each target; of a target of 0 and 1, or of booleans, one of them may be absent.

        Raises:
            DataError: missing values; another number of classes; no label that varies.
        """
        parts = []
        for name in y.dtype.names or ():
            with of_target(name):
                parts.append(_two_classes(y[name]))
        if all(len(np.unique(y[name])) == 1 for name in y.dtype.names or ()):
            raise DataError(
                "at least one label must vary over the rows; none does. There is nothing to learn."
            )
        return cls(tuple(y.dtype.names or ()), tuple(parts))

    kind: ClassVar[Literal["multilabel"]] = "multilabel"  # labels need not exclude each other

    @property
    def n_outputs(self) -> int:
        """A log-odds for each label."""
        return len(self.parts)

    @property
    def loss(self) -> Loss:
        """Binary cross-entropy, mean over the labels."""
        return "binary_cross_entropy"

    metric: ClassVar[str] = "log_loss"  # a proper score

    def encode(self, y: Array) -> NDArray[np.int64]:
        """0 and 1 (n_rows, n_labels)."""
        columns = []
        for name, part, column in zip(self.names, self.parts, _fields(y, self.names), strict=True):
            with of_target(name):
                columns.append(part.encode(column))
        return np.stack(columns, axis=1)

    def as_network_target(self, code: Array) -> Array:
        """0 and 1 in float32."""
        return code.astype(np.float32)

    @property
    def link_steps(self) -> LinkChain:
        """Probability of each label (n_rows, n_labels)."""
        return (Sigmoid(),)

    def essence_of(self, prediction: Floats, code: Array) -> Floats:
        """Probability of what is the case with each label."""
        return np.where(code == 1, prediction, 1 - prediction)

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Log loss, mean over the labels."""
        return -np.log(np.maximum(essence, SMALLEST_PROB)).mean(axis=-1)

    def constant(self, code: Array, weight: Weight = None) -> Floats:
        """How often each label holds."""
        return np.average(code, axis=0, weights=weight)

    def score(self, code: Array, prediction: Floats, weight: Weight = None) -> dict[str, float]:
        """Log loss, accuracy and area under the ROC curve as means over the labels; exact_match, the share of
        rows with all labels right; then the metrics of each label, as in "accuracy[spam]".
        """
        scores = [
            part.score(code[:, i], _both(prediction[:, i]), weight) for i, part in enumerate(self.parts)
        ]
        exact = (self._decided(prediction) == code).all(axis=1)
        scores_and_means = _with_each(self.names, scores)
        means = {name: scores_and_means[name] for name in scores[0]}
        return means | {"exact_match": average(exact, weight)} | scores_and_means

    def by_target(self, prediction: Floats) -> list[Floats]:
        """Probabilities of both classes of each label."""
        return [_both(prediction[:, i]) for i in range(len(self.parts))]

    def _decided(self, prediction: Floats) -> NDArray[np.int64]:
        decided = [part.decided(_both(prediction[:, i])) for i, part in enumerate(self.parts)]
        return np.stack(decided, axis=1)

    def decide(self, prediction: Floats) -> Array:
        """The labels that came in (n_rows, n_labels); of type object where they are of several types."""
        codes = self._decided(prediction)
        columns = [part.label_array()[codes[:, i]] for i, part in enumerate(self.parts)]
        if len({column.dtype for column in columns}) > 1:
            columns = [column.astype(object) for column in columns]
        return np.stack(columns, axis=1)

    def columns(self, prediction: Floats) -> dict[str, Array]:
        """Probability and prediction of each label."""
        decided = self.decide(prediction)
        probs = {f"probability_{name}": prediction[:, i] for i, name in enumerate(self.names)}
        return probs | {f"prediction_{name}": decided[:, i] for i, name in enumerate(self.names)}

    def with_threshold(self, threshold: str | float) -> "Multilabel":
        """The task with a threshold for each label, or with the metric that is to choose one for each.

        Raises:
            ConfigError: an unknown metric, a number outside 0 to 1.
        """
        return replace(self, parts=tuple(part.with_threshold(threshold) for part in self.parts))

    def settle(self, code: Array, prediction: Floats, weight: Weight = None) -> tuple[Task, Floats]:
        """Each label by itself."""
        parts = [
            part.settle(code[:, i], _both(prediction[:, i]), weight)[0] for i, part in enumerate(self.parts)
        ]
        return replace(self, parts=tuple(parts)), prediction


def _both(positive: Floats) -> Floats:
    """Probabilities of both classes (n_rows, 2), from that of the second."""
    return np.stack([1 - positive, positive], axis=1)


def _two_classes(y: Array) -> Classification:
    labels: tuple[Label, ...] = {"b": (False, True)}.get(y.dtype.kind, (0, 1))
    if y.dtype != object and len(np.unique(y)) == 1 and y[0] in labels:
        return Classification(labels, y.dtype.name)
    return Classification.from_target(y, "binary")
