"""One plain network in NumPy, as scikit-learn's: settings, weights, outputs, loss and gradient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

Array = NDArray[Any]
Rows = Any  # a matrix (n_rows, d_in): dense, or scipy.sparse in rows


@dataclass(frozen=True)
class Textbook:
    """Settings under scikit-learn's names, with its defaults.

    batch_size: None is 200, or all rows of fewer
    loss:       "log_loss", "squared_error" or "poisson"
    classes:    whether the target is classes (of one, several or many labels)
    threads:    of a matrix product in the kernels
    """

    solver: str = "adam"
    hidden: tuple[int, ...] = (100,)
    activation: str = "relu"
    loss: str = "squared_error"
    alpha: float = 1e-4
    batch_size: int | None = None
    learning_rate: str = "constant"
    learning_rate_init: float = 1e-3
    power_t: float = 0.5
    max_iter: int = 200
    max_fun: int = 15_000
    shuffle: bool = True
    tol: float = 1e-4
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: int | float = 10
    time_budget: float | None = None
    threads: int = 1
    report: Callable[[str], Any] | None = field(default=None, compare=False)

    def say(self, line: str) -> None:
        """Hand a line to whoever asked for reports."""
        if self.report is not None:
            self.report(line)


@dataclass
class Weights:
    """Matrices (d_in, d_out) and intercepts (d_out,) of the layers, first to last."""

    coefs: list[Array]
    intercepts: list[Array]

    @property
    def all(self) -> list[Array]:
        """Matrices, then intercepts: the same arrays."""
        return self.coefs + self.intercepts

    @property
    def squares(self) -> float:
        """Sum of squares of the matrices: what L2 weighs."""
        return float(sum(np.dot(w.ravel(), w.ravel()) for w in self.coefs))

    def copy(self) -> "Weights":
        """The same numbers in arrays of their own."""
        return Weights([w.copy() for w in self.coefs], [b.copy() for b in self.intercepts])


def draw_weights(
    widths: Sequence[int], activation: str, rng: np.random.RandomState, dtype: Any = np.float64
) -> Weights:
    """Glorot's uniform weights for layers of these widths, input and output included.

    Source:  Glorot & Bengio 2010; half the variance for "logistic", as scikit-learn draws them

    >>> [w.shape for w in draw_weights([3, 4, 1], "relu", np.random.RandomState(0)).coefs]
    [(3, 4), (4, 1)]
    """
    weights = Weights([], [])
    for d_in, d_out in pairwise(widths):
        bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / (d_in + d_out))
        weights.coefs.append(rng.uniform(-bound, bound, (d_in, d_out)).astype(dtype, copy=False))
        weights.intercepts.append(rng.uniform(-bound, bound, d_out).astype(dtype, copy=False))
    return weights


def outputs(weights: Weights, x: Rows, activation: str, out_activation: str) -> Array:
    """What the network says of each row, (n_rows, d_out), behind its last activation.

    >>> weights = Weights([np.ones((2, 1))], [np.zeros(1)])
    >>> outputs(weights, np.array([[1.0, 2.0]]), "relu", "identity")
    array([[3.]])
    """
    return _values(weights, x, activation, out_activation)[-1]


def _values(weights: Weights, x: Rows, activation: str, out_activation: str) -> list[Rows]:
    """The rows, then every layer's output."""
    values = [x]
    last = len(weights.coefs) - 1
    for i, (w, b) in enumerate(zip(weights.coefs, weights.intercepts, strict=True)):
        z = np.asarray(values[-1] @ w)
        z += b
        ACTIVATIONS[out_activation if i == last else activation](z)
        values.append(z)
    return values


def loss_and_gradient(
    weights: Weights, x: Rows, y: Array, row_weight: Array | None, settings: Textbook, out_activation: str
) -> tuple[float, list[Array]]:
    """Loss with its L2 term, and its derivative by each array of `Weights.all`.

    loss = mean over rows of the row's loss + alpha / (2 n) sum of squares of the matrices; n is the number of
    rows, or the sum of their weights

    Source:  scikit-learn 1.9, `_backprop`: a row's loss is half the squared error (mean over outputs), half
             the Poisson deviance or the log loss (sum over outputs)
    Differs: nothing; the gradient of several squared errors is that of their sum, as there
    """
    values = _values(weights, x, settings.activation, out_activation)
    n = x.shape[0] if row_weight is None else row_weight.sum()
    loss = mean_loss(y, values[-1], row_weight, out_activation)
    loss += 0.5 * settings.alpha * weights.squares / n
    delta = values[-1] - y
    if row_weight is not None:
        delta *= row_weight[:, None]
    coef_grads: list[Array] = []
    intercept_grads: list[Array] = []
    for i in range(len(weights.coefs) - 1, -1, -1):
        gradient = np.asarray(values[i].T @ delta)
        gradient += settings.alpha * weights.coefs[i]
        coef_grads.insert(0, gradient / n)
        intercept_grads.insert(0, delta.sum(axis=0) / n)
        if i:
            delta = delta @ weights.coefs[i].T
            DERIVATIVES[settings.activation](values[i], delta)
    return float(loss), coef_grads + intercept_grads


def mean_loss(y: Array, out: Array, row_weight: Array | None, out_activation: str) -> float:
    """Mean over rows of what `loss_and_gradient` says, without L2; out is behind the last activation."""
    if out_activation == "identity":
        return float(0.5 * np.average((y - out) ** 2, weights=row_weight, axis=0).mean())
    if out_activation == "exp":
        rows = scipy.special.xlogy(y, y / out) - y + out
        return float(np.average(rows, weights=row_weight, axis=0).sum())
    eps = np.finfo(out.dtype).eps
    probs = np.clip(out, eps, 1 - eps)
    rows = scipy.special.xlogy(y, probs)
    if out_activation == "logistic":
        rows = rows + scipy.special.xlogy(1 - y, 1 - probs)
    return float(-np.average(rows, weights=row_weight, axis=0).sum())


def _softmax(z: Array) -> None:
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)


def _identity(z: Array) -> None:
    """Nothing to do."""


# In place, on a layer's sums
ACTIVATIONS: dict[str, Callable[[Array], Any]] = {
    "exp": lambda z: np.exp(z, out=z),
    "identity": _identity,
    "logistic": lambda z: scipy.special.expit(z, out=z),
    "relu": lambda z: np.maximum(z, 0, out=z),
    "softmax": _softmax,
    "tanh": lambda z: np.tanh(z, out=z),
}


def _logistic_slope(a: Array, delta: Array) -> None:
    delta *= a
    delta *= 1 - a


def _tanh_slope(a: Array, delta: Array) -> None:
    delta *= 1 - a**2


def _relu_slope(a: Array, delta: Array) -> None:
    delta[a == 0] = 0


# In place, on the gradient of a layer's outputs: (outputs, gradient)
DERIVATIVES: dict[str, Callable[[Array, Array], None]] = {
    "identity": lambda a, delta: None,
    "logistic": _logistic_slope,
    "relu": _relu_slope,
    "tanh": _tanh_slope,
}
