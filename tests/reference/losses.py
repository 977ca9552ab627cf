"""The losses, each from its definition, in float64.

Pointwise: (rows, columns) of outputs and of targets to as many losses; `mean` and `total` make one of them.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def mse(out: Array, y: Array) -> Array:
    return (out - y) ** 2


def l1(out: Array, y: Array) -> Array:
    return np.abs(out - y)


def huber(out: Array, y: Array, delta: float) -> Array:
    """Huber 1964: z^2 / 2 up to delta, then delta (|z| - delta / 2)."""
    z = np.abs(out - y)
    return np.where(z <= delta, z**2 / 2, delta * (z - delta / 2))


def smooth_l1(out: Array, y: Array, beta: float) -> Array:
    """Girshick 2015, arXiv:1504.08083: Huber's over beta."""
    return huber(out, y, beta) / beta


def poisson(out: Array, y: Array) -> Array:
    """-ln of the Poisson probability of y at rate e^out, without its part that out has no say in."""
    return np.exp(out) - y * out


def gamma(out: Array, y: Array) -> Array:
    """-ln of e^(-y / m) / m, the gamma density of y at mean m = e^out and shape 1."""
    mean = np.exp(out)
    return y / mean + np.log(mean)


def tweedie(out: Array, y: Array, power: float) -> Array:
    """Half the Tweedie deviance of y at mean m = e^out, without its part that out has no say in: the integral
    from y to m of (t - y) / t^power, by Jørgensen 1987.
    """
    mean = np.exp(out)
    return mean ** (2 - power) / (2 - power) - y * mean ** (1 - power) / (1 - power)


def binary_cross_entropy(out: Array, y: Array, pos_weight: Array | float = 1.0) -> Array:
    """-(w y ln p + (1 - y) ln(1 - p)), p = sigmoid(out)."""
    p = 1 / (1 + np.exp(-out))
    return -(pos_weight * y * np.log(p) + (1 - y) * np.log(1 - p))


def quantile(out: Array, y: Array, quantiles: list[float]) -> Array:
    """Koenker & Bassett 1978: q |z| where the target is above, (1 - q) |z| below; y: (rows, targets)."""
    y = np.repeat(y, len(quantiles), axis=1)
    q = np.tile(quantiles, out.shape[1] // len(quantiles))
    return np.where(y > out, q, 1 - q) * np.abs(y - out)


def mean(losses: Array, weight: Array, column_weight: Array | float = 1.0) -> float:
    """sum(w l) / sum(w) over rows, each row's loss a mean over its columns."""
    return float((weight * (column_weight * losses).mean(axis=1)).sum() / weight.sum())


def total(losses: Array, weight: Array, column_weight: Array | float = 1.0) -> float:
    """sum(w l) over rows and columns."""
    return float((weight * (column_weight * losses).sum(axis=1)).sum())


def cross_entropy(
    out: Array,
    y: NDArray[np.int64] | Array,
    weight: Array,
    *,
    class_weight: Array,
    smoothing: float,
    ignored: int,
    is_mean: bool,
) -> float:
    """-sum of c_k t_k ln p_k over K classes; p = softmax(out), t = (1 - smoothing) target + smoothing / K.

    y: class codes (rows,), or probabilities (rows, K). A mean is over w c_y of the rows that are not ignored,
    or with probabilities over w.
    """
    value, norm = 0.0, 0.0
    n_classes = out.shape[1]
    for i in range(len(out)):
        if y.ndim == 1 and y[i] == ignored:
            continue
        target = np.eye(n_classes)[int(y[i])] if y.ndim == 1 else y[i]
        t = (1 - smoothing) * target + smoothing / n_classes
        log_p = out[i] - math.log(np.exp(out[i]).sum())
        value += weight[i] * -(class_weight * t * log_p).sum()
        norm += weight[i] * (class_weight[int(y[i])] if y.ndim == 1 else 1.0)
    return float(value / norm if is_mean else value)
