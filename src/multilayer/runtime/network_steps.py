"""The primitive steps by which a trained network turns an encoded row into its outputs. NumPy alone.

A network is data: a list of these steps, each with the values that it takes. Whoever can do the steps can do
all that a network does, so each is some arithmetic or a look-up in what it holds, and works row by row. Every
value is float32 and of two axes, (n_rows, width): what has several groups of numbers in a row, such as the
members of TabM, has them side by side.

What a network does in training alone, such as dropout, is gone, and what is affine at prediction, such as
BatchNorm, is in the weights behind it wherever that can be.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

ActivationName = Literal[
    "elu", "gelu", "leaky_relu", "mish", "relu", "selu", "sigmoid", "silu", "softplus", "tanh"
]
ELU_OF_SELU = (1.6732632423543772, 1.0507009873554805)  # alpha and scale, arXiv:1706.02515
LEAK = 0.01  # slope of leaky_relu below 0


class NetworkStep(ABC):
    """One step: from one value or several, (n_rows, width) each, to the next. All of it is in its fields."""

    @abstractmethod
    def run(self, *x: Values) -> Values:
        """Take the step."""


@dataclass(frozen=True, eq=False)
class Columns(NetworkStep):
    """y_i = x_(places_i): some columns, in any order, some of them several times.

    places: (width,) whole numbers
    """

    places: NDArray[np.int64]

    def run(self, *x: Values) -> Values:
        """(n_rows, width)."""
        return np.take(x[0], self.places, axis=-1)


@dataclass(frozen=True, eq=False)
class Lookup(NetworkStep):
    """y = table_c, the row of a table for the category code c = x_place, a whole number.

    table: (n_codes, width); of one-hot columns the identity
    """

    place: int
    table: Values

    def run(self, *x: Values) -> Values:
        """(n_rows, width)."""
        return self.table[x[0][:, self.place].astype(np.int64)]


@dataclass(frozen=True, eq=False)
class Affine(NetworkStep):
    """y_i = scale_i x_i + shift_i, rounded to float32 after each of the two.

    scale, shift: (width,)
    """

    scale: Values
    shift: Values

    def run(self, *x: Values) -> Values:
        """As x."""
        return x[0] * self.scale + self.shift


@dataclass(frozen=True, eq=False)
class Linear(NetworkStep):
    """y_g = W x_g + b, for each of the groups g of neighbouring columns: one matrix for all of them.

    weight: (d_out, d_in)
    bias:   (d_out,)
    groups: of x, each d_in wide; mostly one
    """

    weight: Values
    bias: Values
    groups: int = 1

    def run(self, *x: Values) -> Values:
        """(n_rows, groups d_out)."""
        rows = x[0].reshape(-1, self.weight.shape[1])
        return (rows @ self.weight.T + self.bias).reshape(len(x[0]), -1)


@dataclass(frozen=True, eq=False)
class LinearOfEach(NetworkStep):
    """y_g = W_g x_g + b_g, for each of the groups g of neighbouring columns: a matrix of its own for each.

    weight: (groups, d_out, d_in)
    bias:   (groups, d_out)
    """

    weight: Values
    bias: Values

    def run(self, *x: Values) -> Values:
        """(n_rows, groups d_out)."""
        n_groups, _, d_in = self.weight.shape
        parts = x[0].reshape(len(x[0]), n_groups, d_in).transpose(1, 0, 2)
        y = parts @ self.weight.transpose(0, 2, 1)
        return y.transpose(1, 0, 2).reshape(len(x[0]), -1) + self.bias.reshape(-1)


@dataclass(frozen=True, eq=False)
class Ramp(NetworkStep):
    """y_i = min(max((x_i - start_i) / width_i, low_i), high_i).

    start, width, low, high: (width,); width is above 0, low and high may be infinite
    """

    start: Values
    width: Values
    low: Values
    high: Values

    def run(self, *x: Values) -> Values:
        """As x."""
        return np.minimum(np.maximum((x[0] - self.start) / self.width, self.low), self.high)


@dataclass(frozen=True)
class Activation(NetworkStep):
    """y = f(x), number by number.

    relu:       max(x, 0)
    leaky_relu: x above 0, else 0.01 x
    elu:        x above 0, else e^x - 1
    selu:       l x above 0, else l a (e^x - 1);   l = 1.0507009873554805, a = 1.6732632423543772
    gelu:       x (1 + erf(x / sqrt(2))) / 2
    sigmoid:    1 / (1 + e^-x)
    silu:       x sigmoid(x)
    softplus:   log(1 + e^x)
    mish:       x tanh(softplus(x))
    tanh:       tanh(x)
    """

    name: ActivationName

    def run(self, *x: Values) -> Values:
        """As x."""
        return ACTIVATIONS[self.name](x[0])


@dataclass(frozen=True, eq=False)
class PReLU(NetworkStep):
    """y_i = x_i above 0, else slope_i x_i.

    slope: (width,)
    """

    slope: Values

    def run(self, *x: Values) -> Values:
        """As x."""
        return np.where(x[0] > 0, x[0], self.slope * x[0])


@dataclass(frozen=True)
class Cosine(NetworkStep):
    """y = cos(x), x in radians."""

    def run(self, *x: Values) -> Values:
        """Numbers within -1 and 1, as x."""
        return np.cos(x[0])


@dataclass(frozen=True, eq=False)
class LayerNorm(NetworkStep):
    """y_i = scale_i (x_i - m) / sqrt(v + 1e-5) + shift_i,   m = mean_i x_i,   v = mean_i (x_i - m)^2.

    scale, shift: (width,)
    """

    scale: Values
    shift: Values

    def run(self, *x: Values) -> Values:
        """As x."""
        centred = x[0] - x[0].mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(1e-5))
        return centred / spread * self.scale + self.shift


@dataclass(frozen=True)
class Concatenate(NetworkStep):
    """y = (x_0, x_1, ...), side by side."""

    def run(self, *x: Values) -> Values:
        """(n_rows, all widths together)."""
        return np.concatenate(x, axis=-1)


@dataclass(frozen=True)
class Add(NetworkStep):
    """y = x_0 + x_1, two values of one width."""

    def run(self, *x: Values) -> Values:
        """As each of them."""
        return x[0] + x[1]


@dataclass(frozen=True)
class Mean(NetworkStep):
    """y_i = mean_g x_gi, over so many groups of neighbouring columns."""

    groups: int

    def run(self, *x: Values) -> Values:
        """(n_rows, width / groups)."""
        return in_groups(x[0], self.groups).mean(axis=-2)


@dataclass(frozen=True)
class LogSoftmax(NetworkStep):
    """y_gi = x_gi - log sum_k e^x_gk, within each of so many groups of neighbouring columns."""

    groups: int

    def run(self, *x: Values) -> Values:
        """As x: logarithms of probabilities."""
        parts = in_groups(x[0], self.groups)
        z = parts - parts.max(axis=-1, keepdims=True)
        return (z - np.log(np.exp(z).sum(axis=-1, keepdims=True))).reshape(x[0].shape)


@dataclass(frozen=True)
class LogMeanExp(NetworkStep):
    """y_i = log mean_g e^x_gi, over so many groups of neighbouring columns."""

    groups: int

    def run(self, *x: Values) -> Values:
        """(n_rows, width / groups)."""
        parts = in_groups(x[0], self.groups)
        most = parts.max(axis=-2, keepdims=True)
        return most[..., 0, :] + np.log(np.exp(parts - most).mean(axis=-2))


@dataclass(frozen=True, eq=False)
class Node:
    """A step, and which values it takes: 0 is the encoded row, i + 1 what node i gives."""

    step: NetworkStep
    inputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class NetworkSteps:
    """A network as steps, in the order in which they are taken; the last gives the outputs.

    >>> net = NetworkSteps((Node(Columns(np.array([1])), (0,)), Node(Activation("relu"), (1,))))
    >>> net.run(np.array([[3.0, -2.0], [3.0, 4.0]], np.float32)).tolist()
    [[0.0], [4.0]]
    """

    nodes: tuple[Node, ...]

    def run(self, x: Values) -> Values:
        """Outputs (n_rows, d_out) of encoded rows (n_rows, numbers and then codes)."""
        values: list[Values | None] = [x]
        last_use = {place: i for i, node in enumerate(self.nodes) for place in node.inputs}
        for i, node in enumerate(self.nodes):
            taken = [values[place] for place in node.inputs]
            for place in node.inputs:
                if last_use[place] == i:
                    values[place] = None  # memory of what nobody takes any more
            values.append(node.step.run(*(value for value in taken if value is not None)))
        (*_, output) = values
        assert output is not None
        return output


class NetworkBuilder:
    """Puts nodes one behind the other; each call gives the place of its value."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []

    def add(self, step: NetworkStep, *inputs: int) -> int:
        """The place of what the step gives."""
        self._nodes.append(Node(step, inputs))
        return len(self._nodes)

    def build(self) -> NetworkSteps:
        """The network, whose outputs are what was added last."""
        return NetworkSteps(tuple(self._nodes))


def in_groups(x: Values, n_groups: int) -> Values:
    """The groups of neighbouring columns on an axis of their own, (..., n_groups, width of each)."""
    return x.reshape(*x.shape[:-1], n_groups, x.shape[-1] // n_groups)


def float32(values: NDArray[np.floating] | Sequence[float]) -> Values:
    """Numbers rounded once, next to each other in memory."""
    return np.ascontiguousarray(values, dtype=np.float32)


def _softplus(x: Values) -> Values:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _sigmoid(x: Values) -> Values:
    with np.errstate(over="ignore"):  # e^-x is infinite where 1 / (1 + e^-x) is 0
        return np.reciprocal(1 + np.exp(-x))


def _elu(x: Values) -> Values:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _selu(x: Values) -> Values:
    alpha, scale = map(np.float32, ELU_OF_SELU)
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


_erf = np.frompyfunc(math.erf, 1, 1)


def _gelu(x: Values) -> Values:
    erf = _erf(x * math.sqrt(0.5)).astype(np.float32)
    return x * np.float32(0.5) * (1 + erf)


ACTIVATIONS: Mapping[ActivationName, Callable[[Values], Values]] = {
    "elu": _elu,
    "gelu": _gelu,
    "leaky_relu": lambda x: np.where(x > 0, x, np.float32(LEAK) * x),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "relu": lambda x: np.maximum(x, 0),
    "selu": _selu,
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "softplus": _softplus,
    "tanh": np.tanh,
}
