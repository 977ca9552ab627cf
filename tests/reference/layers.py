"""What each layer computes, in float64, from its definition. x: (batch, d); the result too, unless said."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_normal_cdf = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)), otypes=[np.float64])


def relu(x: Array) -> Array:
    return np.where(x > 0, x, 0)


def leaky_relu(x: Array, slope: float) -> Array:
    return np.where(x > 0, x, slope * x)


def prelu(x: Array, slope: Array) -> Array:
    return np.where(x > 0, x, slope * x)


def elu(x: Array, alpha: float) -> Array:
    """Clevert et al. 2016, arXiv:1511.07289."""
    return np.where(x > 0, x, alpha * (np.exp(x) - 1))


def selu(x: Array) -> Array:
    """Klambauer et al. 2017, arXiv:1706.02515: lambda elu_alpha(x) with the constants of its Section 2."""
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def gelu(x: Array) -> Array:
    """Hendrycks & Gimpel 2016, arXiv:1606.08415: x Phi(x)."""
    return x * _normal_cdf(x)


def gelu_tanh(x: Array) -> Array:
    """The same paper's approximation."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def softplus(x: Array, beta: float, threshold: float) -> Array:
    """ln(1 + e^(beta x)) / beta; the identity where beta x is above the threshold, as in PyTorch."""
    return np.where(beta * x > threshold, x, np.log(1 + np.exp(beta * x)) / beta)


def mish(x: Array) -> Array:
    """Misra 2019, arXiv:1908.08681: x tanh(softplus(x))."""
    return x * np.tanh(np.log(1 + np.exp(x)))


def tanh(x: Array) -> Array:
    return np.tanh(x)


def linear(x: Array, W: Array, b: Array | float = 0.0) -> Array:
    """y = x W^T + b, with W (d_out, d_in): (batch, d_out)."""
    return x @ W.T + b


def batch_norm(x: Array, gamma: Array | float = 1.0, beta: Array | float = 0.0, *, eps: float) -> Array:
    """Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 1."""
    mu = x.mean(axis=0)
    sigma2 = ((x - mu) ** 2).mean(axis=0)
    x_hat = (x - mu) / np.sqrt(sigma2 + eps)
    return gamma * x_hat + beta


def layer_norm(x: Array, g: Array | float = 1.0, b: Array | float = 0.0, *, eps: float) -> Array:
    """Ba et al. 2016, arXiv:1607.06450: as `batch_norm`, over the features of a row."""
    mu = x.mean(axis=1, keepdims=True)
    sigma2 = ((x - mu) ** 2).mean(axis=1, keepdims=True)
    return g * (x - mu) / np.sqrt(sigma2 + eps) + b


def dropout(x: Array, kept: NDArray[np.bool_], p: float) -> Array:
    """Srivastava et al. 2014, scaled in training ("inverted"): the kept ones over 1 - p."""
    return np.where(kept, x / (1 - p), 0)


def residual(x: Array, inner: Callable[[Array], Array]) -> Array:
    """He et al. 2015, arXiv:1512.03385: F(x) + x."""
    return inner(x) + x
