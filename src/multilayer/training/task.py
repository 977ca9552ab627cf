"""What is to be predicted: classes or a number, how a network sees it, how outputs turn back into it."""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError
from multilayer.training.metrics import accuracy, log_loss, mae, r2, rmse, roc_auc

Kind = Literal["binary", "multiclass", "regression"]
KINDS: tuple[Kind, ...] = ("binary", "multiclass", "regression")
Label = str | int | float | bool
MOST_CLASS_CODES = 50


@dataclass(frozen=True)
class Task:
    """Target coding, link and metrics.

    kind:    "binary", "multiclass" or "regression"
    classes: the labels in sorted order; code i stands for classes[i]; () for regression
    center, scale: mean and standard deviation of the training target, in its units (regression)
    low, high: range of the training target; predictions stay inside (regression)

    >>> task = Task.from_target(np.array(["no", "yes", "no"], dtype=object), kind="binary")
    >>> task.classes, task.encode(np.array(["yes", "no"], dtype=object))
    (('no', 'yes'), array([1, 0]))
    """

    kind: Kind
    classes: tuple[Label, ...] = ()
    center: float = 0.0
    scale: float = 1.0
    low: float = -np.inf
    high: float = np.inf

    @classmethod
    def from_target(cls, y: NDArray[np.generic], kind: str | None = None) -> "Task":
        """The task that a target column asks for; kind=None decides by `guess_kind`.

        Raises:
            DataError: missing or infinite values, fewer than two classes, text where numbers are needed.
            ConfigError: kind is unknown, or "binary" with another number of classes than two.
        """
        check_target(y)
        if kind is None:
            kind = guess_kind(y)[0]
        if kind not in KINDS:
            raise ConfigError(f"task must be one of {', '.join(KINDS)}; got {kind!r}.")
        return _regression(y) if kind == "regression" else _classification(y, kind)

    @property
    def n_outputs(self) -> int:
        """Outputs that a network needs: one logit, one logit for each class, or one number."""
        return len(self.classes) if self.kind == "multiclass" else 1

    @property
    def loss(self) -> str:
        """Name of the loss to train with."""
        return {"binary": "binary_cross_entropy", "multiclass": "cross_entropy", "regression": "mse"}[
            self.kind
        ]

    @property
    def metric(self) -> str:
        """The proper score that decides between models: log_loss or rmse."""
        return "rmse" if self.kind == "regression" else "log_loss"

    def encode(self, y: NDArray[np.generic]) -> NDArray[np.generic]:
        """Labels to int64 codes, or numbers to float64 in standard deviations from the mean.

        Raises:
            DataError: a missing value, or a label that was not there at fit.
        """
        check_target(y)
        if self.kind == "regression":
            return (_numbers(y) - self.center) / self.scale
        codes = {label: code for code, label in enumerate(self.classes)}
        labels = _labels(y)
        if any(isinstance(label, str) for label in self.classes):
            labels = [str(label) for label in labels]
        strange = sorted({str(label) for label in labels if label not in codes})
        if strange:
            known = ", ".join(str(c) for c in self.classes[:10])
            raise DataError(
                f"every class of the target must be one that was there at fit ({known}); "
                f"got {', '.join(strange[:5])}. Remove these rows, or fit again with them."
            )
        return np.array([codes[label] for label in labels], dtype=np.int64)

    def as_network_target(self, code: NDArray[np.generic]) -> NDArray[np.generic]:
        """Codes in the shape and type that the loss wants: (n,) int64, or (n, 1) float32."""
        return code if self.kind == "multiclass" else code.astype(np.float32)[:, None]

    def probs(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Network outputs (n_rows, n_outputs) to probabilities (n_rows, n_classes)."""
        z = logits.astype(np.float64)
        if self.kind == "binary":
            positive = np.exp(-np.logaddexp(0.0, -z[:, 0]))
            return np.stack([1 - positive, positive], axis=1)
        z = np.exp(z - z.max(axis=1, keepdims=True))
        return z / z.sum(axis=1, keepdims=True)

    def values(self, output: NDArray[np.float32]) -> NDArray[np.float64]:
        """Network outputs (n_rows, 1) to numbers in the target's units, kept inside the range seen at fit."""
        return np.clip(output[:, 0].astype(np.float64) * self.scale + self.center, self.low, self.high)

    def link(self, output: NDArray[np.float32]) -> NDArray[np.float64]:
        """Network outputs to what a model averages and predicts with: probabilities, or values."""
        return self.values(output) if self.kind == "regression" else self.probs(output)

    def labels(self, probs: NDArray[np.float64]) -> NDArray[np.generic]:
        """The most probable class of each row, as the label that came in."""
        return self.label_array()[probs.argmax(axis=1)]

    def label_array(self) -> NDArray[np.generic]:
        """The classes as an array: object for text, else bool, int64 or float64."""
        text = any(isinstance(label, str) for label in self.classes)
        return np.array(self.classes, dtype=object if text else None)

    def score(
        self,
        code: NDArray[np.generic],
        prediction: NDArray[np.float64],
        weight: NDArray[np.generic] | None = None,
    ) -> dict[str, float]:
        """All metrics of the task.

        code:       from `encode`
        prediction: probabilities, or numbers in the target's units
        """
        if self.kind == "regression":
            y = code * self.scale + self.center  # type: ignore[operator]
            return {
                "rmse": rmse(y, prediction, weight),
                "mae": mae(y, prediction, weight),
                "r2": r2(y, prediction, weight),
            }
        scores = {
            "log_loss": log_loss(code, prediction, weight),
            "accuracy": accuracy(code, prediction.argmax(axis=1), weight),
        }
        if self.kind == "binary":
            scores["roc_auc"] = roc_auc(code, prediction[:, 1], weight)
        return scores

    def baseline(
        self, code: NDArray[np.generic], n_rows: int, weight: NDArray[np.generic] | None = None
    ) -> NDArray[np.float64]:
        """What a model without features would say for n_rows rows: class shares, or the mean, of code."""
        if self.kind == "regression":
            w = None if weight is None else weight.astype(np.float64)
            mean = float(np.average(code.astype(np.float64), weights=w))
            return np.full(n_rows, mean * self.scale + self.center)
        return np.tile(self.shares(code, weight), (n_rows, 1))

    def shares(
        self, code: NDArray[np.generic], weight: NDArray[np.generic] | None = None
    ) -> NDArray[np.float64]:
        """Share of each class (n_classes,), of rows or of their weights."""
        w = None if weight is None else weight.astype(np.float64)
        counts = np.bincount(code.astype(np.int64), w, minlength=len(self.classes))
        return counts / counts.sum()

    def to_json(self) -> dict[str, object]:
        """Plain values for a model file."""
        limits = {
            name: value if np.isfinite(value) else None
            for name, value in [("low", self.low), ("high", self.high)]
        }
        return asdict(self) | limits

    @classmethod
    def from_json(cls, values: dict[str, object]) -> "Task":
        """The inverse of `to_json`."""
        low, high = values["low"], values["high"]
        limits = {"low": -np.inf if low is None else low, "high": np.inf if high is None else high}
        return cls(**{**values, **limits, "classes": tuple(values["classes"])})  # type: ignore[arg-type]


def guess_kind(y: NDArray[np.generic]) -> tuple[Kind, str]:
    """What a target column asks for, and the reason in words.

    Text and booleans are classes. Two distinct values are classes. Whole numbers that count up from 0 or 1
    without gaps, at most 50 of them, are class codes. All other numbers are quantities.

    >>> guess_kind(np.array([3.0, 4.0, 5.0, 7.0]))
    ('regression', 'numbers that do not count up from 0 or 1')
    >>> guess_kind(np.array([1, 2, 3]))
    ('multiclass', 'whole numbers that count up from 1 to 3')
    """
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


def check_target(y: NDArray[np.generic]) -> None:
    """Refuse missing and infinite targets, naming how many and where the first stands."""
    if y.dtype.kind == "M":
        raise DataError(
            "the target must be labels or numbers; got dates. Turn them into numbers (such as days) first."
        )
    if y.dtype == object:
        missing = np.array([value is None for value in y.tolist()], dtype=bool)
    else:
        missing = np.isnan(y) if y.dtype.kind == "f" else np.zeros(len(y), dtype=bool)
    if missing.any():
        raise DataError(
            f"every row needs a target; {int(missing.sum())} of {len(y)} have none "
            f"(first: row {int(missing.argmax()) + 1}). Remove these rows."
        )
    if y.dtype.kind == "f" and np.isinf(y).any():
        row = int(np.isinf(y).argmax())
        raise DataError(f"the target must be finite; got {y[row]} in row {row + 1}. Remove or repair it.")


def _regression(y: NDArray[np.generic]) -> Task:
    values = _numbers(y)
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise DataError(f"the target must vary; all {len(y)} rows hold {low:g}. There is nothing to learn.")
    return Task("regression", (), float(values.mean()), float(values.std()), low, high)


def _classification(y: NDArray[np.generic], kind: str) -> Task:
    classes = tuple(sorted(set(_labels(y))))
    if len(classes) < 2:
        raise DataError(
            f"the target must have at least two classes; all {len(y)} rows hold {classes[0]!r}. "
            "There is nothing to learn."
        )
    if kind == "binary" and len(classes) != 2:
        raise ConfigError(
            f"task 'binary' needs two classes; the target has {len(classes)}. Use task 'multiclass'."
        )
    return Task("binary" if len(classes) == 2 else "multiclass", classes)


def _labels(y: NDArray[np.generic]) -> list[Label]:
    """Python labels; whole floats (an integer column that once had gaps) become integers."""
    if y.dtype.kind == "f" and np.all(y == np.round(y.astype(np.float64))):
        y = y.astype(np.int64)
    return y.tolist()


def _numbers(y: NDArray[np.generic]) -> NDArray[np.float64]:
    if y.dtype == object:
        raise DataError(
            f"regression needs a target of numbers; got text (first: {y[0]!r}). "
            "Pass a numeric target, or task 'multiclass'."
        )
    return y.astype(np.float64)
