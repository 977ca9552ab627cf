"""What a network can say: the function that follows its last layer with weights, found by trying it.

The names of layers are not asked: the last layer's output is replaced by numbers of all sizes, and what comes
out of the network, and reaches the loss, tells whether it is bounded, sums to one, or is always the same.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from multilayer.diagnosis.loss_core import see_core
from multilayer.training.autograd import REFUSALS, evaluating
from multilayer.training.user_arrays import Inputs, call, each

SPREADS = (0.1, 1.0, 10.0, 80.0)  # of the numbers put in place of the last layer's; e^80 is still a float32
N_PROBES = 64  # rows, at least
NEARLY = 1e-4


@dataclass(frozen=True)
class Call:
    """A module without children that ran: its name, itself, what it gave."""

    name: str
    module: nn.Module
    output: Any

    @property
    def has_weights(self) -> bool:
        """Whether it holds parameters itself."""
        return next(self.module.parameters(recurse=False), None) is not None


@dataclass(frozen=True)
class Ending:
    """The function from the last layer with weights to what the loss compares.

    layer:    name of that layer
    tail:     names of the modules without weights that run after it
    low, high: what each output can reach, float32 (n_outputs,); infinite where nothing bounds it
    sums:     "rows" if each row is a softmax, "columns" if each column is one, "log rows" of its logarithm
    constant: whether the outputs are the same whatever the layer gives
    flat:     share of ordinary numbers (of spread 1) at which the gradient is exactly zero
    is_identity: whether what the layer gives is what comes out
    """

    layer: str
    tail: tuple[str, ...]
    low: Tensor
    high: Tensor
    sums: str = ""
    constant: bool = False
    flat: float = 0.0
    is_identity: bool = False

    @property
    def width(self) -> float:
        """Distance of the highest from the lowest number that an output can reach."""
        return float((self.high - self.low).min())


def calls_of(net: nn.Module, x: Inputs) -> tuple[list[Call], Any]:
    """The modules without children in the order in which they run, and the network's output."""
    calls: list[Call] = []
    handles = [
        module.register_forward_hook(lambda m, _, out, name=name: calls.append(Call(name, m, out)))
        for name, module in net.named_modules()
        if not list(module.children())
    ]
    try:
        with torch.no_grad():
            out = call(net, x)
    finally:
        for handle in handles:
            handle.remove()
    return calls, out


def find_ending(
    net: nn.Module,
    x: Inputs,
    loss: Callable[..., Any] | None = None,
    targets: tuple[Tensor, ...] = (),
) -> Ending | None:
    """The ending of a network in `eval()`; with `loss`, up to what reaches the known loss within it.

    None where it cannot be told: no layer with weights, one that runs several times, a refusal.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid())
    >>> ending = find_ending(net, torch.zeros(4, 2))
    >>> ending.layer, ending.tail, ending.low.tolist(), ending.high.tolist()
    ('0', ('1',), [0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    """
    x, targets = many(x), tuple(map(many, targets))
    with evaluating(net):
        try:
            calls, out = calls_of(net, x)
        except REFUSALS:
            return None
        last = _last_with_weights(calls)
        if last is None or not isinstance(out, Tensor) or out.ndim not in (1, 2):
            return None
        tail = tuple(one.name for one in calls[calls.index(last) + 1 :])
        reach = _Reach(net, x, last, loss, targets)
        try:
            return _described(last.name, tail, reach)
        except REFUSALS:
            return None


def many(x: Any) -> Any:
    """The rows so often that there are enough of them to try numbers of all sizes in."""
    return each(lambda part: part.repeat(-(-N_PROBES // len(part)), *[1] * (part.ndim - 1)), x)


def _last_with_weights(calls: Sequence[Call]) -> Call | None:
    last = next((one for one in reversed(calls) if one.has_weights), None)
    if last is None or not isinstance(last.output, Tensor) or not last.output.is_floating_point():
        return None
    return last if sum(one.module is last.module for one in calls) == 1 else None


@dataclass(frozen=True)
class _Reach:
    """What comes out, or reaches the loss, for numbers in place of the last layer's output."""

    net: nn.Module
    x: Inputs
    last: Call
    loss: Callable[..., Any] | None
    targets: tuple[Tensor, ...]

    def __call__(self, z: Tensor) -> Tensor:
        with _replaced(self.last.module, z):
            out = call(self.net, self.x)
        if self.loss is None or not self.targets:
            return out
        core = see_core(self.loss, out, self.targets)
        return out if core.input is None or z.requires_grad else core.input

    @property
    def shape(self) -> torch.Size:
        """Of what is replaced."""
        return self.last.output.shape

    def draw(self, spread: float) -> Tensor:
        """Numbers of this spread."""
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(self.shape, generator=generator) * spread
        return drawn.to(self.last.output)

    def filled(self, value: float) -> Tensor:
        """The same number everywhere."""
        return torch.full_like(self.last.output, value)


@contextmanager
def _replaced(module: nn.Module, z: Tensor) -> Iterator[None]:
    handle = module.register_forward_hook(lambda m, _, out: z)
    try:
        yield
    finally:
        handle.remove()


def _described(layer: str, tail: tuple[str, ...], reach: _Reach) -> Ending:
    with torch.no_grad():
        of_spread = [_columns(reach(reach.draw(spread))) for spread in SPREADS]
        large, extremes = ([_columns(reach(reach.filled(v))) for v in (-size, size)] for size in SPREADS[2:])
        ones = reach.draw(1.0)
        is_identity = _equal(reach(ones), ones)
    everything = torch.cat([*of_spread, *extremes])
    low, high = everything.amin(0), everything.amax(0)
    before = torch.cat([of_spread[-2], *large])
    room = 0.05 * (before.amax(0) - before.amin(0)) + NEARLY
    low = low.where(low >= before.amin(0) - room, -torch.inf).round(decimals=6)
    high = high.where(high <= before.amax(0) + room, torch.inf).round(decimals=6)
    constant = bool((everything.amax(0) - everything.amin(0) <= NEARLY * 0.01).all())
    sums = "" if constant else _sums(of_spread[:3])
    return Ending(layer, tail, low.float(), high.float(), sums, constant, _flat(reach, ones), is_identity)


def _columns(out: Tensor) -> Tensor:
    return out.detach().reshape(len(out), -1)


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.numel() == b.numel() and torch.allclose(a.reshape(-1), b.reshape(-1), atol=1e-6)


def _sums(outputs: Sequence[Tensor]) -> str:
    """Along what the outputs are shares that sum to one."""
    n_rows, n_columns = outputs[0].shape

    def all_one(totals: Sequence[Tensor]) -> bool:
        return all(bool((total - 1).abs().max() < 1e-3) for total in totals)

    positive = all(bool((out >= 0).all()) for out in outputs)
    if n_columns > 1 and positive and all_one([out.sum(1) for out in outputs]):
        return "rows"
    if n_rows > 1 and positive and all_one([out.sum(0) for out in outputs]):
        return "columns"
    if n_columns > 1 and all_one([out.exp().sum(1) for out in outputs]):
        return "log rows"
    return ""


def _flat(reach: _Reach, z: Tensor) -> float:
    """Share of numbers at which the gradient is exactly zero; 0 where it cannot be told."""
    z = z.clone().requires_grad_()
    with torch.enable_grad():
        out = _Reach(reach.net, reach.x, reach.last, None, ())(z)
        if not out.requires_grad:
            return 0.0
        generator = torch.Generator().manual_seed(1)
        weights = torch.rand(out.shape, generator=generator).to(out) + 0.5
        (gradient,) = torch.autograd.grad((out * weights).sum(), z, allow_unused=True)
    return 1.0 if gradient is None else float((gradient == 0).double().mean())
