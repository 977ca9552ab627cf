"""The networks of a model, all at once: those that are built alike share each call of NumPy."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.runtime.network_steps import (
    Affine,
    Concatenate,
    LayerNorm,
    Linear,
    LinearOfEach,
    Lookup,
    NetworkStep,
    NetworkSteps,
    PReLU,
    Ramp,
    Values,
    in_groups,
)

ROWS_AT_ONCE = 16  # so that what the networks make of them stays in the processor's cache
# Rows of each matrix product: always so many, as libraries sum up other numbers in other orders
ROWS_ALIKE = 4
FEW_WEIGHTS = 16  # inputs of a group up to which it is summed up input by input

Link = Callable[[NDArray[np.float32]], NDArray[np.float64]]
Function = Callable[..., Values]


class Forward:
    """The weighted mean of what several networks make of encoded rows. Threads may call it at the same time.

    y = sum_i w_i link(net_i(x)) / sum_i w_i

    To the last bit, a row's prediction is the same whatever rows are beside it, however many, and on however
    many threads.

    Shape:   x: (n_rows, columns) -> whatever link gives, (n_rows, ...)

    Args:
        networks: as steps; they may differ in architecture.
        link: from outputs (n_rows, d_out) to what is averaged, such as probabilities; row by row.
        weights: one for each network; None weighs all alike.
    """

    def __init__(
        self, networks: Sequence[NetworkSteps], link: Link, weights: Sequence[float] | None = None
    ) -> None:
        self.link = link
        self._stacks = [(_Stack.of([networks[i] for i in alike]), alike) for alike in _alike(networks)]
        self._order = np.argsort([i for _, alike in self._stacks for i in alike])
        self._weights = np.array([1.0] * len(networks) if weights is None else weights)
        self._total = sum([1.0] * len(networks) if weights is None else weights)

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The mean for rows that are encoded as the networks want them."""
        if len(x) <= ROWS_AT_ONCE:
            return self._mean(x)
        starts = range(0, len(x), ROWS_AT_ONCE)
        return np.concatenate([self._mean(x[start : start + ROWS_AT_ONCE]) for start in starts])

    def _mean(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        outputs = [stack.run(x) for stack, _ in self._stacks]
        each = outputs[0] if len(outputs) == 1 else np.concatenate(outputs)[self._order]
        said = self.link(each.reshape(-1, each.shape[-1]))  # row by row, of all networks
        weights = self._weights.reshape(-1, *[1] * said.ndim)
        weighted = weights * said.reshape(len(each), len(x), *said.shape[1:])
        return np.add.accumulate(weighted, axis=0)[-1] / self._total  # one by one, as a sum need not be


@dataclass(frozen=True, eq=False)
class _Stack:
    """Networks of the same steps, their weights on an axis in front: (n_networks, ...)."""

    n_networks: int
    program: tuple[tuple[Function, tuple[int, ...]], ...]

    @classmethod
    def of(cls, networks: Sequence[NetworkSteps]) -> "_Stack":
        program = []
        for nodes in zip(*(net.nodes for net in networks), strict=True):
            program.append((_stacked([node.step for node in nodes]), nodes[0].inputs))
        return cls(len(networks), tuple(program))

    def run(self, x: Values) -> Values:
        """Outputs (n_networks, n_rows, d_out)."""
        values = [x]  # (n_rows, width) while all networks have the same, then (n_networks, n_rows, width)
        for function, inputs in self.program:
            values.append(function(*[values[place] for place in inputs]))
        (*_, y) = values
        return y if y.ndim == 3 else np.broadcast_to(y, (self.n_networks, *y.shape))


def _alike(networks: Sequence[NetworkSteps]) -> Iterable[list[int]]:
    """Places of networks that are built alike: the same steps on the same inputs, arrays of one shape."""
    found: dict[Any, list[int]] = {}
    for i, net in enumerate(networks):
        found.setdefault(tuple((_form(node.step), node.inputs) for node in net.nodes), []).append(i)
    return found.values()


def _form(step: NetworkStep) -> tuple[Any, ...]:
    """All of a step but its numbers; which columns it takes is a part of it."""
    form: list[Any] = [type(step)]
    for each in fields(step):  # type: ignore[arg-type]
        value = getattr(step, each.name)
        if isinstance(value, np.ndarray):
            value = value.tobytes() if value.dtype.kind == "i" else value.shape
        form.append(value)
    return tuple(form)


def _stacked(steps: Sequence[NetworkStep]) -> Function:
    """One step for several networks."""
    make = STACKED.get(type(steps[0]))
    return steps[0].run if make is None else make(steps)


def _by_columns(steps: Sequence[Any]) -> Function:
    """A step that does something to each column by numbers of its own."""
    arrays = {each.name: _in_front(steps, each.name)[:, None] for each in fields(steps[0])}
    return replace(steps[0], **arrays).run


def _in_front(steps: Sequence[Any], name: str) -> NDArray[Any]:
    return np.stack([getattr(step, name) for step in steps])


def _affine(steps: Sequence[Affine]) -> Function:
    scale, shift = _in_front(steps, "scale")[:, None], _in_front(steps, "shift")[:, None]
    factor: Any = scale.flat[0] if (scale == scale.flat[0]).all() else scale
    return (lambda x: x * factor) if not shift.any() else (lambda x: x * factor + shift)


def _lookup(steps: Sequence[Lookup]) -> Function:
    place, tables = steps[0].place, _in_front(steps, "table")
    if (tables == tables[0]).all():
        return steps[0].run
    return lambda x: np.take(tables, x[:, place].astype(np.int64), axis=1)


def _concatenate(steps: Sequence[Concatenate]) -> Function:
    def run(*x: Values) -> Values:
        shape = max((part.shape[:-1] for part in x), key=len)
        y = np.empty((*shape, sum(part.shape[-1] for part in x)), np.float32)
        start = 0
        for part in x:
            y[..., start : start + part.shape[-1]] = part
            start += part.shape[-1]
        return y

    return run


def _linear(steps: Sequence[Linear]) -> Function:
    weight = np.ascontiguousarray(_in_front(steps, "weight").transpose(0, 2, 1))
    groups, bias = steps[0].groups, _in_front(steps, "bias")[:, None]
    d_in, d_out = weight.shape[1:]

    def run(x: Values) -> Values:
        n = x.shape[-2]
        rows = x.reshape(*x.shape[:-2], n * groups, d_in)
        y = _products(rows, weight) + bias
        return y.reshape(len(weight), n, groups * d_out)

    return run


def _linear_of_each(steps: Sequence[LinearOfEach]) -> Function:
    weight, bias = _in_front(steps, "weight"), _in_front(steps, "bias")
    k, n_groups, d_out, d_in = weight.shape
    flat_bias = bias.reshape(k, 1, n_groups * d_out)
    has_bias = bool(bias.any())
    if d_in <= FEW_WEIGHTS:
        by_input = np.ascontiguousarray(weight.transpose(0, 3, 2, 1))[:, None]  # (k, 1, d_in, d_out, groups)

        def sums(parts: Values) -> Values:
            by_group = np.ascontiguousarray(parts.swapaxes(-1, -2))
            return _sum_of_inputs(by_group[..., :, None, :] * by_input).swapaxes(-1, -2)

    else:
        matrices = np.ascontiguousarray(weight.transpose(0, 1, 3, 2))

        def sums(parts: Values) -> Values:
            return _products(parts.transpose(0, 2, 1, 3), matrices).transpose(0, 2, 1, 3)

    def run(x: Values) -> Values:
        parts = in_groups(x, n_groups)
        y = sums(parts if x.ndim == 3 else parts[None]).reshape(k, x.shape[-2], n_groups * d_out)
        return y + flat_bias if has_bias else y

    return run


def _sum_of_inputs(parts: Values) -> Values:
    """The sum over inputs (..., inputs, d_out, groups), one by one, as NumPy adds up several side by side."""
    if parts.shape[-1] * parts.shape[-2] == 1:
        return np.add.accumulate(parts, axis=-3)[..., -1, :, :]
    return np.add.reduce(parts, axis=-3)


def _products(x: Values, weight: Values) -> Values:
    """X W for (..., n, d_in) and (..., d_in, d_out), in products of `ROWS_ALIKE` rows each."""
    n, d_in = x.shape[-2:]
    if more := -n % ROWS_ALIKE:
        filled = np.zeros((*x.shape[:-2], n + more, d_in), np.float32)
        filled[..., :n, :] = x
        x = filled
    blocks = x.reshape(*x.shape[:-2], -1, ROWS_ALIKE, d_in)
    y = blocks @ weight[..., None, :, :]
    return y.reshape(*y.shape[:-3], n + more, y.shape[-1])[..., :n, :]


STACKED: Mapping[type[NetworkStep], Callable[[Any], Function]] = {
    Affine: _affine,
    Concatenate: _concatenate,
    LayerNorm: _by_columns,
    Linear: _linear,
    LinearOfEach: _linear_of_each,
    Lookup: _lookup,
    PReLU: _by_columns,
    Ramp: _by_columns,
}
