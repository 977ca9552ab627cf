"""Tasks with classes: one of two, one of several, or several labels that each hold or not."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError
from multilayer.training.metrics import accuracy, log_loss, roc_auc
from multilayer.training.task import Array, Floats, Label, Task, Weight, check_target

SMALLEST_PROB = 1e-12  # what the choice among networks takes a probability of 0 for
ROWS_AT_ONCE = 1024  # through a softmax in double precision
LARGEST_WHOLE = 2.0**53  # from here on not every whole float has an integer of its own


@dataclass(frozen=True)
class Classification(Task):
    """One of two or more classes; a prediction is the probability of each.

    labels: the labels in sorted order; code i stands for labels[i]
    dtype:  of the target that came: "object" (text), "bool", "int64", "float64", ...; predictions have it
    binary: whether one output, the log-odds of labels[1], tells two classes apart

    >>> task = Classification.from_target(np.array(["no", "yes", "no"], dtype=object))
    >>> task.kind, task.classes, task.encode(np.array(["yes", "no"], dtype=object))
    ('binary', ('no', 'yes'), array([1, 0]))
    """

    labels: tuple[Label, ...]
    dtype: str

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

    @property
    def essence_width(self) -> int:
        """Of each row the probability of its own label."""
        return 1

    @property
    def loss(self) -> str:
        """Cross-entropy."""
        return "binary_cross_entropy" if self.kind == "binary" else "cross_entropy"

    @property
    def metric(self) -> str:
        """A proper score."""
        return "log_loss"

    def encode(self, y: Array) -> NDArray[np.int64]:
        """Labels to their codes."""
        check_target(y)
        return encode_labels(y, self.labels)

    def as_network_target(self, code: Array) -> Array:
        """Codes (n,) int64, or (n, 1) float32 of 0 and 1."""
        return code if self.kind == "multiclass" else code.astype(np.float32)[:, None]

    def link(self, output: NDArray[np.float32]) -> Floats:
        """Probabilities (n_rows, n_classes)."""
        if self.kind == "binary":
            positive = sigmoid(output[:, 0])
            return np.stack([1 - positive, positive], axis=1)
        z = output.astype(np.float64)
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        return z

    def essence(self, output: NDArray[np.float32], code: Array) -> Floats:
        """Probability of each row's label (n_rows,)."""
        of_label = np.empty(len(code))
        for start in range(0, len(code), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            probs = self.link(output[part])
            of_label[part] = probs[np.arange(len(probs)), code[part]]
        return of_label

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Log loss."""
        return -np.log(np.maximum(essence, SMALLEST_PROB))

    def settle(
        self, code: Array, prediction: Floats, weight: Weight = None
    ) -> tuple["Classification", Floats]:
        """The task as it is."""
        return self, prediction

    def constant(self, code: Array, weight: Weight = None) -> Floats:
        """Share of each class."""
        count = np.bincount(code, weight, minlength=len(self.labels))
        return count / count.sum()

    def score(self, code: Array, prediction: Floats, weight: Weight = None) -> dict[str, float]:
        """Log loss, accuracy and, of two classes, area under the ROC curve."""
        scores = {
            "log_loss": log_loss(code, prediction, weight),
            "accuracy": accuracy(code, self.decided(prediction), weight),
        }
        if self.kind == "binary":
            scores["roc_auc"] = roc_auc(code, prediction[:, 1], weight)
        return scores

    def decided(self, prediction: Floats) -> NDArray[np.int64]:
        """The code of the class that a prediction decides for: the most probable one."""
        return prediction.argmax(axis=1)

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

    def in_words(self) -> str:
        """How many classes, where there are more than two."""
        return f"with {len(self.labels)} classes" if self.kind == "multiclass" else ""

    def to_json(self) -> dict[str, Any]:
        """Plain values for a model file."""
        return {"kind": self.kind, "classes": list(self.labels), "dtype": self.dtype}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Classification":
        """The inverse of `to_json`; files without a dtype are read as they were made."""
        labels = tuple(values["classes"])
        text = any(isinstance(label, str) for label in labels)
        return cls(labels, values.get("dtype") or ("object" if text else np.array(labels).dtype.name))


def sigmoid(logits: NDArray[np.float32]) -> Floats:
    """1 / (1 + e^-z), without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))


def as_labels(y: Array) -> list[Label]:
    """Python labels; whole floats (an integer column that once had gaps) become integers."""
    if y.dtype.kind == "f" and np.all(y == np.round(y)) and np.all(np.abs(y) < LARGEST_WHOLE):
        y = y.astype(np.int64)
    return y.tolist()


def encode_labels(y: Array, labels: tuple[Label, ...]) -> NDArray[np.int64]:
    """The place of each label among labels; text and numbers that look alike are the same label.

    Raises:
        DataError: a label that is not there.
    """
    codes = {label: code for code, label in enumerate(labels)}
    came = as_labels(y)
    if any(isinstance(label, str) for label in labels):
        came = [str(label) for label in came]
    strange = sorted({str(label) for label in came if label not in codes})
    if strange:
        known = ", ".join(str(label) for label in labels[:10])
        raise DataError(
            f"every class of the target must be one that was there at fit ({known}); "
            f"got {', '.join(strange[:5])}. Remove these rows, or fit again with them."
        )
    return np.array([codes[label] for label in came], dtype=np.int64)
