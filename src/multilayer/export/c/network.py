"""The steps of networks in C: a table of what each is; networks that are built alike share a function."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.export.c.source import Constants
from multilayer.runtime import network_steps as steps
from multilayer.runtime.network_steps import NetworkStep, NetworkSteps

ACTIVATIONS: Mapping[str, str] = {
    **{name: name for name in ("elu", "gelu", "leaky_relu", "mish", "relu", "selu", "sigmoid", "silu")},
    "softplus": "softplus",
    "tanh": "hyperbolic_tangent",
}


class _Weights:
    """The arrays of a network one behind the other."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float32]] = []
        self._n = 0

    def __call__(self, values: NDArray[np.float32]) -> str:
        """Where an array is, in C."""
        place = f"w + {self._n}"
        self._parts.append(values.ravel())
        self._n += values.size
        return place

    def array(self) -> NDArray[np.float32]:
        """All of them."""
        return np.concatenate([np.zeros(0, np.float32), *self._parts])


@dataclass(frozen=True)
class _Call:
    """Lines of C that take a step, and the width of what it gives."""

    lines: list[str]
    width: int


def _linear(s: steps.Linear, w: _Weights, c: Constants, y: str, x: str, width: int) -> _Call:
    d_out, d_in = s.weight.shape
    arrays = f"{w(s.weight)}, {w(s.bias)}"
    lines = [
        f"linear({x} + {i * d_in}, {arrays}, {d_in}, {d_out}, {y} + {i * d_out});" for i in range(s.groups)
    ]
    return _Call(lines, s.groups * d_out)


def _linear_of_each(s: steps.LinearOfEach, w: _Weights, c: Constants, y: str, x: str, width: int) -> _Call:
    n_groups, d_out, d_in = s.weight.shape
    weight, bias = w(s.weight), w(s.bias)
    line = (
        f"for (i = 0; i < {n_groups}; i++) linear({x} + i * {d_in}, {weight} + i * {d_out * d_in}, "
        f"{bias} + i * {d_out}, {d_in}, {d_out}, {y} + i * {d_out});"
    )
    return _Call([line], n_groups * d_out)


def _ramp(s: steps.Ramp, w: _Weights, c: Constants, y: str, x: str, width: int) -> _Call:
    arrays = ", ".join(w(each) for each in (s.start, s.width, s.low, s.high))
    return _Call([f"ramp({x}, {arrays}, {width}, {y});"], width)


def _columns(s: steps.Columns, w: _Weights, c: Constants, y: str, x: str, width: int) -> _Call:
    n = len(s.places)
    return _Call([f"columns({x}, {c.whole('uint16_t', s.places)}, {n}, {y});"], n)


def _lookup(s: steps.Lookup, w: _Weights, c: Constants, y: str, x: str, width: int) -> _Call:
    n = s.table.shape[1]
    return _Call([f"look_up({x}, {s.place}, {w(s.table)}, {n}, {y});"], n)


def _affine(s: steps.Affine, w: _Weights, c: Constants, y: str, x: str, width: int) -> _Call:
    return _Call([f"affine({x}, {w(s.scale)}, {w(s.shift)}, {width}, {y});"], width)


def _layer_norm(s: steps.LayerNorm, w: _Weights, c: Constants, y: str, x: str, width: int) -> _Call:
    return _Call([f"layer_norm({x}, {w(s.scale)}, {w(s.shift)}, {width}, {y});"], width)


def _activation(s: steps.Activation, w: _Weights, c: Constants, y: str, x: str, width: int) -> _Call:
    return _Call([f"{ACTIVATIONS[s.name]}({x}, {width}, {y});"], width)


def _prelu(s: steps.PReLU, w: _Weights, c: Constants, y: str, x: str, width: int) -> _Call:
    return _Call([f"prelu({x}, {w(s.slope)}, {width}, {y});"], width)


def _of_groups(name: str, *, keeps_width: bool = False) -> Callable[..., _Call]:
    def call(s: Any, w: _Weights, c: Constants, y: str, x: str, width: int) -> _Call:
        each = width // s.groups
        return _Call([f"{name}({x}, {s.groups}, {each}, {y});"], width if keeps_width else each)

    return call


# Of one value; Concatenate and Add take several
NETWORK: Mapping[type[NetworkStep], Callable[..., _Call]] = {
    steps.Columns: _columns,
    steps.Lookup: _lookup,
    steps.Affine: _affine,
    steps.Linear: _linear,
    steps.LinearOfEach: _linear_of_each,
    steps.Ramp: _ramp,
    steps.Activation: _activation,
    steps.PReLU: _prelu,
    steps.Cosine: lambda s, w, c, y, x, width: _Call([f"cosine({x}, {width}, {y});"], width),
    steps.LayerNorm: _layer_norm,
    steps.Mean: _of_groups("mean_of_groups"),
    steps.LogSoftmax: _of_groups("log_softmax", keeps_width=True),
    steps.LogMeanExp: _of_groups("log_mean_exp"),
}


class Room:
    """Places in one array of floats for values, each free again after its last use.

    >>> room = Room()
    >>> first, second = room.take(3), room.take(2)
    >>> room.give_back(first, 3)
    >>> room.take(2), room.size
    (0, 5)
    """

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []
        self.size = 0

    def take(self, width: int) -> int:
        """The first place that is wide enough."""
        for i, (start, length) in enumerate(self._free):
            if length >= width:
                self._free[i : i + 1] = [(start + width, length - width)] if length > width else []
                return start
        if self._free and sum(self._free[-1]) == self.size:
            start, _ = self._free.pop()
        else:
            start = self.size
        self.size = start + width
        return start

    def give_back(self, start: int, width: int) -> None:
        """Its value is not needed any more."""
        joined: list[tuple[int, int]] = []
        for place, length in sorted([*self._free, (start, width)]):
            if joined and sum(joined[-1]) == place:
                joined[-1] = joined[-1][0], joined[-1][1] + length
            else:
                joined.append((place, length))
        self._free = joined


class NetworkSource:
    """Functions for all networks of a model.

    functions: of C, one for each way in which networks are built
    calls:     for each network, what writes its outputs to y
    n_floats:  of the array s that they work in
    n_weights: of all networks
    """

    def __init__(self, networks: Sequence[NetworkSteps], n_columns: int, constants: Constants) -> None:
        self.functions: list[str] = []
        self.calls: list[str] = []
        self.n_floats = self.n_weights = 1
        names: dict[str, str] = {}
        for network in networks:
            weights = _Weights()
            body = self._body(network, n_columns, weights, constants)
            if body not in names:
                names[body] = f"network_{len(names)}"
                self.functions.append(
                    f"static void {names[body]}(const float *x, const uint32_t *w, float *s, float *y)\n"
                    f"{{\n{body}\n}}"
                )
            array = constants.words(weights.array())
            self.n_weights += len(weights.array())
            self.calls.append(f"{names[body]}(x, {array}, s, y);")

    def _body(self, network: NetworkSteps, n_columns: int, weights: _Weights, constants: Constants) -> str:
        last_use = {place: i for i, node in enumerate(network.nodes) for place in node.inputs}
        room = Room()
        values = [("x", n_columns)]
        lines: list[str] = []
        for i, node in enumerate(network.nodes):
            taken = [values[place] for place in node.inputs]
            is_last = i == len(network.nodes) - 1
            width = _width(node.step, [each for _, each in taken])
            start = 0 if is_last else room.take(width)
            y = "y" if is_last else f"s + {start}"
            lines += self._lines(node.step, taken, y, weights, constants)
            values.append((y, width))
            for place in {*node.inputs}:
                if place and last_use[place] == i:
                    name, each = values[place]
                    room.give_back(int(name.removeprefix("s + ")), each)
        self.n_floats = max(self.n_floats, room.size)
        text = "\n".join(f"    {line}" for line in lines)
        if "for (i" in text:
            text = f"    uint32_t i;\n{text}"
        return (
            text + ("" if "s + " in text else "\n    (void)s;") + ("" if "w + " in text else "\n    (void)w;")
        )

    @staticmethod
    def _lines(
        step: NetworkStep, taken: Sequence[tuple[str, int]], y: str, weights: _Weights, constants: Constants
    ) -> list[str]:
        if isinstance(step, steps.Add):
            (a, width), (b, _) = taken
            return [f"add({a}, {b}, {width}, {y});"]
        if isinstance(step, steps.Concatenate):
            places = np.cumsum([0, *(width for _, width in taken)]).tolist()
            return [
                f"memcpy({y} + {place}, {x}, {width} * sizeof(float));"
                for (x, width), place in zip(taken, places, strict=False)
            ]
        ((x, width),) = taken
        return NETWORK[type(step)](step, weights, constants, y, x, width).lines


def _width(step: NetworkStep, widths: Sequence[int]) -> int:
    if isinstance(step, steps.Concatenate):
        return sum(widths)
    if isinstance(step, steps.Add):
        return widths[0]
    return NETWORK[type(step)](step, _Weights(), Constants(), "y", "x", widths[0]).width
