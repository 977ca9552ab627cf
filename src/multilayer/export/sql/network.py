"""The steps of networks and links in SQL: tables of what each step is."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from multilayer.errors import ConfigError
from multilayer.export.sql.stages import Stages, number
from multilayer.runtime import network_steps as steps
from multilayer.runtime.network_steps import NetworkStep, NetworkSteps
from multilayer.tasks import link_steps as links
from multilayer.tasks.link_steps import LinkChain, LinkStep

MOST_WEIGHTS = 100_000


def _exp(v: str) -> str:
    """Within what databases take without an error."""
    return f"exp(CASE WHEN {v} < -700 THEN -700.0 WHEN {v} > 700 THEN 700.0 ELSE {v} END)"


def _softplus(v: str) -> str:
    return f"CASE WHEN {v} > 30 THEN {v} ELSE ln(1 + {_exp(v)}) END"


ACTIVATIONS: Mapping[str, Callable[[str], str]] = {
    "elu": lambda v: f"CASE WHEN {v} > 0 THEN {v} ELSE {_exp(v)} - 1 END",
    "leaky_relu": lambda v: f"CASE WHEN {v} > 0 THEN {v} ELSE 0.01 * {v} END",
    "mish": lambda v: (
        f"CASE WHEN {v} > 20 THEN {v} ELSE {v} * (1 - 2 / ((1 + {_exp(v)}) * (1 + {_exp(v)}) + 1)) END"
    ),
    "relu": lambda v: f"CASE WHEN {v} > 0 THEN {v} ELSE 0.0 END",
    "selu": lambda v: (
        f"1.0507009873554805 * CASE WHEN {v} > 0 THEN {v} ELSE 1.6732632423543772 * ({_exp(v)} - 1) END"
    ),
    "sigmoid": lambda v: f"1 / (1 + {_exp(f'(-{v})')})",
    "silu": lambda v: f"{v} / (1 + {_exp(f'(-{v})')})",
    "softplus": _softplus,
    "tanh": lambda v: f"1 - 2 / (1 + {_exp(f'(2 * {v})')})",
}


def _sum(weights: Any, columns: Sequence[str], bias: float) -> str:
    parts = [f"{number(w)} * {x}" for w, x in zip(weights, columns, strict=True) if w]
    return " + ".join([*parts, number(bias)])


def _linear(s: steps.Linear, x: Sequence[str]) -> list[str]:
    d_in = s.weight.shape[1]
    return [
        _sum(w, x[g * d_in : (g + 1) * d_in], b)
        for g in range(s.groups)
        for w, b in zip(s.weight.tolist(), s.bias.tolist(), strict=True)
    ]


def _linear_of_each(s: steps.LinearOfEach, x: Sequence[str]) -> list[str]:
    d_in = s.weight.shape[2]
    return [
        _sum(w, x[g * d_in : (g + 1) * d_in], b)
        for g in range(len(s.weight))
        for w, b in zip(s.weight[g].tolist(), s.bias[g].tolist(), strict=True)
    ]


def _lookup(s: steps.Lookup, x: Sequence[str]) -> list[str]:
    code, found = x[s.place], []
    for column in s.table.T.tolist():
        cases = " ".join(f"WHEN {i} THEN {number(value)}" for i, value in enumerate(column) if value)
        found.append(f"CASE {code} {cases} ELSE 0.0 END" if cases else "0.0")
    return found


def _ramp(s: steps.Ramp, x: Sequence[str]) -> list[str]:
    found = []
    for v, start, width, low, high in zip(
        x, *(each.tolist() for each in (s.start, s.width, s.low, s.high)), strict=True
    ):
        share = f"(({v} - {number(start)}) / {number(width)})"
        cases = [f"WHEN {share} < {number(low)} THEN {number(low)}"] * math.isfinite(low)
        cases += [f"WHEN {share} > {number(high)} THEN {number(high)}"] * math.isfinite(high)
        found.append(f"CASE {' '.join(cases)} ELSE {share} END" if cases else share)
    return found


def _affine(s: steps.Affine, x: Sequence[str]) -> list[str]:
    pairs = zip(x, s.scale.tolist(), s.shift.tolist(), strict=True)
    return [f"{v} * {number(scale)} + {number(shift)}" for v, scale, shift in pairs]


NETWORK: Mapping[type[NetworkStep], Callable[..., list[str]]] = {
    steps.Columns: lambda s, x: [x[place] for place in s.places.tolist()],
    steps.Lookup: _lookup,
    steps.Affine: _affine,
    steps.Linear: _linear,
    steps.LinearOfEach: _linear_of_each,
    steps.Ramp: _ramp,
    steps.Activation: lambda s, x: [ACTIVATIONS[s.name](v) for v in x],
    steps.PReLU: lambda s, x: [
        f"CASE WHEN {v} > 0 THEN {v} ELSE {number(slope)} * {v} END"
        for v, slope in zip(x, s.slope.tolist(), strict=True)
    ],
    steps.Cosine: lambda s, x: [f"cos({v})" for v in x],
    steps.Concatenate: lambda s, *x: [v for part in x for v in part],
    steps.Add: lambda s, a, b: [f"{v} + {w}" for v, w in zip(a, b, strict=True)],
}
_AS_THEY_ARE = (steps.Columns, steps.Concatenate)  # columns by other places: no stage of their own


def refuse(networks: Sequence[NetworkSteps]) -> None:
    """Refuse networks that are too large for a query, or have steps that databases do not.

    Raises:
        ConfigError: both said in words.
    """
    n, unknown = 0, set()
    for network in networks:
        for node in network.nodes:
            n += sum(v.size for v in vars(node.step).values() if isinstance(v, np.ndarray))
            if type(node.step) not in NETWORK:
                unknown.add(type(node.step).__name__)
            elif isinstance(node.step, steps.Activation) and node.step.name not in ACTIVATIONS:
                unknown.add(node.step.name)
    if n > MOST_WEIGHTS:
        raise ConfigError(
            f"a query is for small networks, of up to {MOST_WEIGHTS:,} weights; this model has {n:,}. Distil "
            "it first (ml.distill), and export the student."
        )
    if unknown:
        raise ConfigError(
            f"a query cannot do {', '.join(sorted(unknown))}. Fit a student with the activation 'relu', or "
            "export to onnx or c."
        )


def outputs(
    network: NetworkSteps, x: Sequence[str], stages: Stages, carried: Sequence[str], mark: str
) -> list[str]:
    """Stages that end in the outputs of a network; mark: of the names of its columns."""
    last_use = {place: i for i, node in enumerate(network.nodes) for place in node.inputs}
    values: list[list[str]] = [list(x)]
    for i, node in enumerate(network.nodes):
        made = NETWORK[type(node.step)](node.step, *(values[place] for place in node.inputs))
        if isinstance(node.step, _AS_THEY_ARE):
            values.append(made)
            continue
        columns = {f"{mark}{i}_{k}": text for k, text in enumerate(made)}
        live = [
            v for place, value in enumerate(values) if _needed(network, place, i, last_use) for v in value
        ]
        stages.add(columns, [*carried, *live])
        values.append(list(columns))
    return values[-1]


def _needed(network: NetworkSteps, place: int, after: int, last_use: Mapping[int, int]) -> bool:
    """Whether a value, or one that is made of its columns as they are, is taken after a node."""
    if last_use.get(place, -1) > after:
        return True
    return any(
        place in node.inputs and isinstance(node.step, _AS_THEY_ARE) and i < after
        and _needed(network, i + 1, after, last_use)
        for i, node in enumerate(network.nodes)
    )  # fmt: skip


def _sigmoid(s: links.Sigmoid, x: list[str]) -> list[str]:
    return [f"1 / (1 + {_exp(f'(-{v})')})" for v in x]


def _softmax(s: links.Softmax, x: list[str]) -> list[str]:
    most = f"greatest({', '.join(x)})"
    powers = [f"exp(greatest({v} - {most}, -87.0))" for v in x]
    return [f"{power} / ({' + '.join(powers)})" for power in powers]


def _clip(s: links.Clip, x: list[str]) -> list[str]:
    found = []
    for v in x:
        v = f"least({v}, {number(s.high)})" if np.isfinite(s.high) else v
        found.append(f"greatest({v}, {number(s.low)})" if np.isfinite(s.low) else v)
    return found


LINK: Mapping[type[LinkStep], Callable[[Any, list[str]], list[str]]] = {
    links.First: lambda s, x: x[:1],
    links.Scale: lambda s, x: [f"{v} * {number(s.factor)}" for v in x],
    links.Shift: lambda s, x: [f"{v} + {number(s.by)}" for v in x],
    links.Clip: _clip,
    links.Exp: lambda s, x: [_exp(v) for v in x],
    links.Sigmoid: _sigmoid,
    links.BothClasses: lambda s, x: [f"1 - {x[0]}", x[0]],
    links.Softmax: _softmax,
}


def linked(chain: LinkChain, x: list[str], stages: Stages, carried: Sequence[str], mark: str) -> list[str]:
    """Stages that end in what becomes of outputs.

    Raises:
        ConfigError: of several targets or quantiles.
    """
    for i, step in enumerate(chain):
        if type(step) not in LINK:
            raise ConfigError(
                "a query predicts one target, of classes or numbers; this model has several, or quantiles. "
                "Export to onnx or c."
            )
        x = stages.add({f"{mark}{i}_{k}": text for k, text in enumerate(LINK[type(step)](step, x))}, carried)
    return x
