"""The steps of networks as nodes, in float32: a table of what each step is."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.export.onnx.graph import Graph
from multilayer.runtime import network_steps as steps
from multilayer.runtime.network_steps import NetworkStep, NetworkSteps


def outputs_of(graph: Graph, networks: Sequence[NetworkSteps], x: str) -> str:
    """Outputs of all networks side by side, (rows, networks d_out); x: encoded rows."""
    found = []
    for i, network in enumerate(networks):
        with graph.part(f"network {i}"):
            values = [x]
            for node in network.nodes:
                taken = [values[place] for place in node.inputs]
                values.append(EMITTED[type(node.step)](graph, node.step, *taken))
            found.append(values[-1])
    return graph.concat(found)


def _columns(graph: Graph, step: steps.Columns, x: str) -> str:
    return graph.add("Gather", x, graph.constant(step.places.astype(np.int64)), axis=1)


def _lookup(graph: Graph, step: steps.Lookup, x: str) -> str:
    code = graph.add("Gather", x, graph.constant(step.place, np.int64), axis=1)
    return graph.add("Gather", graph.constant(step.table), graph.cast(code, np.int64), axis=0)


def _affine(graph: Graph, step: steps.Affine, x: str) -> str:
    if (step.scale != 1).any():
        x = graph.add("Mul", x, _row(graph, step.scale))
    return graph.add("Add", x, _row(graph, step.shift)) if step.shift.any() else x


def _linear(graph: Graph, step: steps.Linear, x: str) -> str:
    d_out, d_in = step.weight.shape
    if step.groups > 1:
        x = _reshaped(graph, x, -1, d_in)
    weight, bias = graph.constant(step.weight), graph.constant(step.bias)
    y = graph.add("Gemm", x, weight, bias, transB=1)
    return _reshaped(graph, y, -1, step.groups * d_out) if step.groups > 1 else y


def _linear_of_each(graph: Graph, step: steps.LinearOfEach, x: str) -> str:
    n_groups, d_out, d_in = step.weight.shape
    parts = graph.add("Transpose", _reshaped(graph, x, -1, n_groups, d_in), perm=[1, 0, 2])
    y = graph.add("MatMul", parts, graph.constant(step.weight.transpose(0, 2, 1)))
    y = _reshaped(graph, graph.add("Transpose", y, perm=[1, 0, 2]), -1, n_groups * d_out)
    return graph.add("Add", y, _row(graph, step.bias))


def _ramp(graph: Graph, step: steps.Ramp, x: str) -> str:
    share = graph.add("Div", graph.add("Sub", x, _row(graph, step.start)), _row(graph, step.width))
    return graph.add("Min", graph.add("Max", share, _row(graph, step.low)), _row(graph, step.high))


def _activation(graph: Graph, step: steps.Activation, x: str) -> str:
    return ACTIVATIONS[step.name](graph, x)


def _gelu(graph: Graph, x: str) -> str:
    erf = graph.add("Erf", graph.add("Mul", x, _number(graph, np.sqrt(0.5))))
    half = graph.add("Mul", x, _number(graph, 0.5))
    return graph.add("Mul", half, graph.add("Add", erf, _number(graph, 1.0)))


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "elu": lambda graph, x: graph.add("Elu", x),
    "gelu": _gelu,
    "leaky_relu": lambda graph, x: graph.add("LeakyRelu", x, alpha=steps.LEAK),
    "mish": lambda graph, x: graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x))),
    "relu": lambda graph, x: graph.add("Relu", x),
    "selu": lambda graph, x: graph.add("Selu", x, alpha=steps.ELU_OF_SELU[0], gamma=steps.ELU_OF_SELU[1]),
    "sigmoid": lambda graph, x: graph.add("Sigmoid", x),
    "silu": lambda graph, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
    "softplus": lambda graph, x: graph.add("Softplus", x),
    "tanh": lambda graph, x: graph.add("Tanh", x),
}


def _layer_norm(graph: Graph, step: steps.LayerNorm, x: str) -> str:
    axis = graph.constant([1], np.int64)
    centred = graph.add("Sub", x, graph.add("ReduceMean", x, axis))
    spread = graph.add("ReduceMean", graph.add("Mul", centred, centred), axis)
    spread = graph.add("Sqrt", graph.add("Add", spread, _number(graph, 1e-5)))
    y = graph.add("Mul", graph.add("Div", centred, spread), _row(graph, step.scale))
    return graph.add("Add", y, _row(graph, step.shift))


def _mean(graph: Graph, step: steps.Mean, x: str) -> str:
    return _over_groups(graph, "ReduceMean", _groups(graph, x, step.groups))


def _log_softmax(graph: Graph, step: steps.LogSoftmax, x: str) -> str:
    y = graph.add("LogSoftmax", _groups(graph, x, step.groups), axis=2)
    return graph.add("Reshape", y, graph.add("Shape", x))


def _log_mean_exp(graph: Graph, step: steps.LogMeanExp, x: str) -> str:
    parts = _groups(graph, x, step.groups)
    most = graph.add("ReduceMax", parts, graph.constant([1], np.int64))
    mean = graph.add(
        "ReduceMean", graph.add("Exp", graph.add("Sub", parts, most)), graph.constant([1], np.int64)
    )
    y = graph.add("Add", most, graph.add("Log", mean))
    return graph.add("Squeeze", y, graph.constant([1], np.int64))


# What each step is. A test holds that none is absent.
EMITTED: dict[type[NetworkStep], Callable[..., str]] = {
    steps.Columns: _columns,
    steps.Lookup: _lookup,
    steps.Affine: _affine,
    steps.Linear: _linear,
    steps.LinearOfEach: _linear_of_each,
    steps.Ramp: _ramp,
    steps.Activation: _activation,
    steps.PReLU: lambda graph, step, x: graph.add("PRelu", x, _row(graph, step.slope)),
    steps.Cosine: lambda graph, step, x: graph.add("Cos", x),
    steps.LayerNorm: _layer_norm,
    steps.Concatenate: lambda graph, step, *x: graph.concat(x),
    steps.Add: lambda graph, step, a, b: graph.add("Add", a, b),
    steps.Mean: _mean,
    steps.LogSoftmax: _log_softmax,
    steps.LogMeanExp: _log_mean_exp,
}


def _groups(graph: Graph, x: str, groups: int) -> str:
    return graph.add("Reshape", x, graph.constant([0, groups, -1], np.int64))


def _over_groups(graph: Graph, op: str, x: str) -> str:
    return graph.add(op, x, graph.constant([1], np.int64), keepdims=0)


def _reshaped(graph: Graph, x: str, *shape: int) -> str:
    return graph.add("Reshape", x, graph.constant(list(shape), np.int64))


def _row(graph: Graph, values: NDArray[Any]) -> str:
    return graph.constant(values.reshape(1, -1))


def _number(graph: Graph, value: float) -> str:
    return graph.constant(value, np.float32)
