"""Tasks with classes: one of two, one of several, or several labels that each hold or not."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, nearest
from multilayer.tasks.link_steps import BothClasses, First, LinkChain, Scale, Shift, Sigmoid, Softmax
from multilayer.tasks.metrics import accuracy, balanced_accuracy, f1, log_loss, precision, recall, roc_auc
from multilayer.tasks.task import Array, Floats, Label, Task, Weight, check_target

SMALLEST_PROB = 1e-12  # what the choice among networks takes a probability of 0 for
ROWS_AT_ONCE = 1024  # through a softmax
LARGEST_WHOLE = 2.0**53  # from here on not every whole float has an integer of its own


@dataclass(frozen=True)
class Classification(Task):
    """One of two or more classes; a prediction is the probability of each.

    labels: the labels in sorted order; code i stands for labels[i]
    dtype:  of the target that came: "object" (text), "bool", "int64", "float64", ...; predictions have it
    threshold: of two classes, the probability of labels[1] from which on it is predicted; None: the more
        probable one
    threshold_by: the metric of `THRESHOLD_METRICS` that chooses the threshold; None where it was given
    scale, shift: what outputs are multiplied with, and what is added to those of two classes, to calibrate

    >>> task = Classification.from_target(np.array(["no", "yes", "no"], dtype=object))
    >>> task.kind, task.classes, task.encode(np.array(["yes", "no"], dtype=object))
    ('binary', ('no', 'yes'), array([1, 0]))
    """

    labels: tuple[Label, ...]
    dtype: str
    threshold: float | None = None
    threshold_by: str | None = None
    scale: float = 1.0
    shift: float = 0.0

    @classmethod
    def from_target(cls, y: Array, kind: str | None = None) -> "Classification":
        """The classes that a target column holds.

        Raises:
            DataError: missing or infinite values, fewer than two classes.
            ConfigError: kind is "binary", and there are more than two classes.
        """
        check_target(y)
        labels = tuple(sorted(set(as_labels(y))))
        if len(labels) < 2:
            raise DataError(
                f"the target must have at least two classes; all {len(y)} rows hold {labels[0]!r}. "
                "There is nothing to learn."
            )
        if kind == "binary" and len(labels) != 2:
            raise ConfigError(
                f"task 'binary' needs two classes; the target has {len(labels)}. Use task 'multiclass'."
            )
        return cls(labels, y.dtype.name)

    @property
    def kind(self) -> Literal["binary", "multiclass"]:
        """Two classes are binary."""
        return "binary" if len(self.labels) == 2 else "multiclass"

    @property
    def classes(self) -> tuple[Label, ...]:
        """The labels in sorted order."""
        return self.labels

    @property
    def n_outputs(self) -> int:
        """One log-odds, or a logit for each class."""
        return 1 if self.kind == "binary" else len(self.labels)

    essence_width: ClassVar[int] = 1  # of each row the probability of its own label

    @property
    def loss(self) -> str:
        """Cross-entropy."""
        return "binary_cross_entropy" if self.kind == "binary" else "cross_entropy"

    metric: ClassVar[str] = "log_loss"  # a proper score

    def encode(self, y: Array) -> NDArray[np.int64]:
        """Labels to their codes."""
        check_target(y)
        return encode_labels(y, self.labels)

    def as_network_target(self, code: Array) -> Array:
        """Codes (n,) int64, or (n, 1) float32 of 0 and 1."""
        return code if self.kind == "multiclass" else code.astype(np.float32)[:, None]

    @cached_property
    def link_steps(self) -> LinkChain:
        """Probabilities (n_rows, n_classes)."""
        scaled = () if self.scale == 1.0 else (Scale(self.scale),)
        shifted = () if self.shift == 0.0 else (Shift(self.shift),)
        if self.kind == "binary":
            return (First(), *scaled, *shifted, Sigmoid(), BothClasses())
        return (*scaled, Softmax())

    def essence(self, output: NDArray[np.float32], code: Array) -> Floats:
        """Probability of each row's label (n_rows,)."""
        of_label = np.empty(len(code))
        for start in range(0, len(code), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            of_label[part] = self.essence_of(self.link(output[part]), code[part])
        return of_label

    def essence_of(self, prediction: Floats, code: Array) -> Floats:
        """Probability of each row's label (n_rows,)."""
        return prediction[np.arange(len(prediction)), code]

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Log loss."""
        return -np.log(np.maximum(essence, SMALLEST_PROB))

    def class_factors(
        self, class_weight: str | Mapping[Any, Any], code: Array, weight: Weight = None
    ) -> Floats:
        """What the rows of each class are to weigh beside their own weights (n_classes,).

        Args:
            class_weight: "balanced": all classes weigh alike, n / (n_classes * n_of_class), as scikit-learn
                has it; or label -> weight, 1 for those that are not there.
            code, weight: of the training rows.

        Raises:
            ConfigError: neither, a label that the target does not have, or a weight that is none.
        """
        if isinstance(class_weight, str):
            if class_weight != "balanced":
                raise ConfigError(
                    f"class_weight must be 'balanced' or map labels to weights; got {class_weight!r}."
                )
            n_of = np.bincount(code, weight, len(self.labels)).astype(np.float64)
            return np.where(n_of > 0, n_of.sum() / (len(n_of) * np.maximum(n_of, TINY)), 1.0)
        code_of = {str(label): i for i, label in enumerate(self.labels)}
        factors = np.ones(len(self.labels))
        for label, factor in class_weight.items():
            if str(label) not in code_of:
                known = ", ".join(repr(label) for label in self.labels[:10])
                raise ConfigError(
                    f"class_weight is for the labels of the target ({known}); got {label!r}. Correct it."
                )
            factors[code_of[str(label)]] = factor
        if not np.isfinite(factors).all() or (factors < 0).any() or not factors[code].any():
            raise ConfigError(
                f"class weights must be finite, none negative and not all zero; got {dict(class_weight)}."
            )
        return factors

    def with_threshold(self, threshold: str | float) -> "Classification":
        """The task with a threshold, or with the metric that is to choose one.

        Raises:
            ConfigError: more than two classes, an unknown metric, a number outside 0 to 1.
        """
        if self.kind != "binary":
            raise ConfigError(
                f"a threshold is for two classes; the target has {len(self.labels)}. Leave it out."
            )
        if isinstance(threshold, str):
            if threshold not in THRESHOLD_METRICS:
                raise ConfigError(
                    f"threshold must be one of {', '.join(THRESHOLD_METRICS)}, or a number between 0 and 1; "
                    f"got {threshold!r}.{nearest(threshold, THRESHOLD_METRICS)}"
                )
            return replace(self, threshold_by=threshold)
        if not 0 < threshold < 1:
            raise ConfigError(f"a threshold must be between 0 and 1; got {threshold!r}.")
        return replace(self, threshold=float(threshold))

    def settle(
        self, code: Array, prediction: Floats, weight: Weight = None
    ) -> tuple["Classification", Floats]:
        """With the threshold that is best for these predictions, where a metric is to choose it."""
        if self.threshold_by is None:
            return self, prediction
        threshold = best_threshold(code, prediction[:, 1], THRESHOLD_METRICS[self.threshold_by], weight)
        return replace(self, threshold=threshold), prediction

    def constant(self, code: Array, weight: Weight = None) -> Floats:
        """Share of each class."""
        count = np.bincount(code, weight, minlength=len(self.labels))
        return count / count.sum()

    def score(self, code: Array, prediction: Floats, weight: Weight = None) -> dict[str, float]:
        """Log loss, accuracy and, of two classes, area under the ROC curve; with a threshold more of it."""
        decided = self.decided(prediction)
        scores = {
            "log_loss": log_loss(code, prediction, weight),
            "accuracy": accuracy(code, decided, weight),
        }
        if self.kind == "binary":
            scores["roc_auc"] = roc_auc(code, prediction[:, 1], weight)
        if self.threshold is not None:
            for metric in (balanced_accuracy, f1, precision, recall):
                scores[metric.__name__] = metric(code, decided, weight)
        return scores

    def decided(self, prediction: Floats) -> NDArray[np.int64]:
        """The code of the class that a prediction decides for."""
        if self.threshold is None:
            return prediction.argmax(axis=1)
        return (prediction[:, 1] >= self.threshold).astype(np.int64)

    def decide(self, prediction: Floats) -> Array:
        """The label that a prediction decides for, as it came in."""
        return self.label_array()[self.decided(prediction)]

    def label_array(self) -> Array:
        """The labels as an array of the dtype that came."""
        return np.array(self.labels, dtype=self.dtype)

    def columns(self, prediction: Floats) -> dict[str, Array]:
        """The probability of each class, then the label."""
        probs = {f"probability_{label}": prediction[:, i] for i, label in enumerate(self.labels)}
        return {**probs, "prediction": self.decide(prediction)}

    def extent_in_words(self) -> str:
        """How many classes, where there are more than two."""
        return f"with {len(self.labels)} classes" if self.kind == "multiclass" else ""

    def aim_in_words(self) -> str:
        """The threshold."""
        if self.threshold is None:
            return ""
        why = f", the best for {self.threshold_by} on validation rows" if self.threshold_by else ""
        return (
            f"threshold: {self.labels[1]!r} is predicted from a probability of {self.threshold:.4g} on{why}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for a model file."""
        return {
            "kind": self.kind,
            "classes": list(self.labels),
            "dtype": self.dtype,
            "threshold": self.threshold,
            "threshold_by": self.threshold_by,
            **({} if self.scale == 1.0 and self.shift == 0.0 else {"scale": self.scale, "shift": self.shift}),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Classification":
        """The inverse of `to_json`; files without a dtype are read as they were made."""
        labels = tuple(values["classes"])
        text = any(isinstance(label, str) for label in labels)
        dtype = values.get("dtype") or ("object" if text else np.array(labels).dtype.name)
        calibration = values.get("scale", 1.0), values.get("shift", 0.0)
        return cls(labels, dtype, values.get("threshold"), values.get("threshold_by"), *calibration)


# Metrics of a threshold, from the weight of true and false positives, true and false negatives


def _accuracy(tp: Floats, fp: Floats, tn: Floats, fn: Floats) -> Floats:
    return (tp + tn) / (tp + fp + tn + fn)


def _balanced_accuracy(tp: Floats, fp: Floats, tn: Floats, fn: Floats) -> Floats:
    return (tp / np.maximum(tp + fn, TINY) + tn / np.maximum(tn + fp, TINY)) / 2


def _f1(tp: Floats, fp: Floats, tn: Floats, fn: Floats) -> Floats:
    return 2 * tp / np.maximum(2 * tp + fp + fn, TINY)


def _mcc(tp: Floats, fp: Floats, tn: Floats, fn: Floats) -> Floats:
    """Matthews' correlation coefficient."""
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / np.sqrt(np.maximum(spread, TINY))


TINY = float(np.finfo(np.float64).tiny)  # a share of nothing is 0, not 0 / 0
THRESHOLD_METRICS: Mapping[str, Callable[[Floats, Floats, Floats, Floats], Floats]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "mcc": _mcc,
}


def best_threshold(
    code: Array,
    positive: Floats,
    metric: Callable[[Floats, Floats, Floats, Floats], Floats],
    weight: Weight = None,
) -> float:
    """The threshold on the probability of class 1 at which a metric is highest; of equals the nearest to 0.5.

    It lies half-way between two probabilities that occur, so that rounding does not decide.

    >>> best_threshold(np.array([0, 0, 1]), np.array([0.1, 0.2, 0.4]), THRESHOLD_METRICS["f1"]).__round__(9)
    0.3
    """
    w = np.ones(len(code)) if weight is None else np.asarray(weight, np.float64)
    distinct, place = np.unique(positive, return_inverse=True)
    fn, tn = (  # below a threshold in front of each distinct probability, and behind the last
        np.concatenate([[0.0], np.cumsum(np.bincount(place, part, len(distinct)))])
        for part in (w * (code == 1), w * (code != 1))
    )
    edges = (np.concatenate([[0.0], distinct]) + np.concatenate([distinct, [1.0]])) / 2
    values = metric(np.sum(w * (code == 1)) - fn, np.sum(w * (code != 1)) - tn, tn, fn)
    values = np.where(edges < 1, values, -np.inf)  # a probability of 1 is above every threshold
    best = np.flatnonzero(values >= values.max() - 1e-12)
    return float(edges[best[np.abs(edges[best] - 0.5).argmin()]])


def as_labels(y: Array) -> list[Label]:
    """Python labels; whole floats (an integer column that once had gaps) become integers."""
    if y.dtype.kind == "f" and np.all(y == np.round(y)) and np.all(np.abs(y) < LARGEST_WHOLE):
        y = y.astype(np.int64)
    return y.tolist()


def encode_labels(y: Array, labels: tuple[Label, ...]) -> NDArray[np.int64]:
    """The place of each label among labels; True and "True", 1, "1" and 1.0 are the same label.

    Raises:
        DataError: a label that is not there.

    >>> encode_labels(np.array(["False", "true"], dtype=object), (False, True))
    array([0, 1])
    """
    wide = any(isinstance(label, int) and abs(label) > LARGEST_WHOLE for label in labels)
    if wide and y.dtype.kind == "f" and (np.abs(y) > LARGEST_WHOLE).any():
        raise DataError(
            "the labels were whole numbers beyond 2^53 at fit and are floats now, which have lost their "
            "last digits. Keep them whole: as Int64 (pandas), as text, or without missing values."
        )
    came = as_labels(y)
    codes = same_labels(came, labels)
    strange = sorted(str(label) for label, code in codes.items() if code is None)
    if strange:
        known = ", ".join(str(label) for label in labels[:10])
        raise DataError(
            f"every class of the target must be one that was there at fit ({known}); "
            f"got {', '.join(strange[:5])}. Remove these rows, or fit again with them."
        )
    return np.array([codes[label] for label in came], dtype=np.int64)


def same_labels(came: Iterable[Label], labels: Sequence[Label]) -> dict[Label, int | None]:
    """The place among labels of each distinct one that came; None where there is none.

    A label is the same as text, as a number and as a truth value, as files and frames have it, where no other
    label could be meant.

    >>> same_labels(["True", "0", "yes"], [False, True]), same_labels([1.0, "2.0"], ["1", "2"])
    ({'True': 1, '0': 0, 'yes': None}, {1.0: 0, '2.0': 1})
    """
    exact = {label: code for code, label in enumerate(labels)}
    loose: dict[str, int | None] = {}
    for code, label in enumerate(labels):
        text = _plain_text(label)
        loose[text] = None if text in loose else code
    return {label: exact.get(label, loose.get(_plain_text(label))) for label in dict.fromkeys(came)}


def _plain_text(label: Label) -> str:
    """One text for all ways to write a label: 1, 1.0, True, "1", "1.0" and "true" have one."""
    text = str(label).strip()
    if text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    if _NUMBER.fullmatch(text) is None:
        return text
    number = float(text)
    if not number.is_integer():
        return repr(number)
    if abs(number) < LARGEST_WHOLE:
        return str(int(number))
    exact = Decimal(text)  # every digit counts
    return str(int(exact)) if exact == exact.to_integral_value() else text


_TRUTH = {"false": "0", "true": "1"}
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def loss_weight(
    factors: Floats | None, code: Array, weight: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    """What rows weigh in the loss and in the choice of epochs; scores know nothing of class weights.

    factors: of each class, as `Classification.class_factors` has them; None weighs all alike
    """
    if factors is None:
        return weight
    return (factors[code] * (1.0 if weight is None else weight)).astype(np.float32)
