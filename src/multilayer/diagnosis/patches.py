"""Changes that mend a `Setup`: of the network's end, its loss, its targets, its optimiser, its scale."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from multilayer.diagnosis.ending import Ending, calls_of, find_ending
from multilayer.diagnosis.finding import Patch
from multilayer.diagnosis.setup import Setup, hold
from multilayer.errors import ConfigError
from multilayer.training.autograd import evaluating
from multilayer.training.user_arrays import each, taken

Change = Callable[[Setup], Setup]


class EndsAt(nn.Module):
    """A network that gives what one of its layers gives, in place of what follows it, and an end of its own.

    For networks whose last operations are written out in `forward`, where no module could be replaced.

    >>> net = EndsAt(nn.Sequential(nn.Linear(2, 3), nn.Softmax(1)), "0", nn.Identity())
    >>> net(torch.zeros(1, 2)).shape
    torch.Size([1, 3])
    """

    def __init__(self, net: nn.Module, layer: str, end: nn.Module) -> None:
        super().__init__()
        self.net, self.layer, self.end = net, layer, end

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """What the layer gave, through the end, in the shape of the network's output."""
        given: list[Tensor] = []
        layer = self.net.get_submodule(self.layer)
        handle = layer.register_forward_hook(lambda m, _, out: given.append(out))
        try:
            out = self.net(*args, **kwargs)
        finally:
            handle.remove()
        ended = self.end(given[-1])
        return ended.reshape(out.shape) if ended.numel() == out.numel() else ended


class Wrapped(nn.Module):
    """A network between a module for its inputs and one for its outputs.

    >>> Wrapped(nn.Identity(), nn.Linear(2, 1), nn.Sigmoid())(torch.zeros(3, 2)).shape
    torch.Size([3, 1])
    """

    def __init__(self, before: nn.Module, net: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before, self.net, self.after = before, net, after

    def forward(self, x: Tensor) -> Tensor:
        """The inputs through all three."""
        return self.after(self.net(self.before(x)))


def inner(net: nn.Module) -> nn.Module:
    """The network itself, without what patches put around it."""
    while isinstance(net, Wrapped | EndsAt):
        net = net.net
    return net


class _Units(nn.Module):
    """A mean and a spread of columns, neither of which is trained."""

    mean: Tensor
    spread: Tensor

    def __init__(self, mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)


class Standardise(_Units):
    """Columns less their mean, over their spread.

    >>> Standardise(torch.tensor([1.0]), torch.tensor([2.0]))(torch.tensor([[5.0]]))
    tensor([[2.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """The columns, scaled."""
        return (x - self.mean) / self.spread


class InUnits(_Units):
    """Outputs of a network that is trained in units of the targets' spread, in the targets' own units."""

    def forward(self, out: Tensor) -> Tensor:
        """The outputs in the targets' units."""
        return out * self.spread + self.mean


class LossInUnits(nn.Module):
    """A loss of outputs and targets, both in units of the targets' spread."""

    def __init__(self, loss: Callable[..., Any], mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.loss, self.mean, self.spread = loss, mean, spread

    def forward(self, out: Tensor, y: Tensor) -> Any:
        """The loss of a batch."""
        return self.loss((out - self.mean) / self.spread, (y - self.mean) / self.spread)


def together(*patches: Patch) -> Patch:
    """One patch of several, made in order; it cannot be applied if one of them cannot."""
    lines = "\n".join(patch.lines for patch in patches if patch.lines)
    changes = [patch.mend for patch in patches]
    if any(change is None for change in changes):
        return Patch(lines)

    def mend(setup: Setup) -> Setup:
        for change in changes:
            setup = change(setup)  # type: ignore[misc]
        return setup

    return Patch(lines, mend)


NOTHING = Patch("", lambda setup: setup)


# The end of the network


def end_with(setup: Setup, ending: Ending, end: nn.Module | None = None) -> Patch:
    """What follows the last layer with weights is replaced by `end`, or left out."""
    wanted = nn.Identity() if end is None else end
    names = _replaceable(setup, ending)
    if names is None:
        what = "nothing" if end is None else f"nn.{end}"
        lines = f"# in forward: after layer {ending.layer!r} apply {what}, in place of what follows it"
        return Patch(lines, partial(_ended, layer=ending.layer, end=wanted))
    if not names:
        return _appended(setup, wanted)
    was = setup.net.get_submodule(names[-1])
    changes = [f"{place(name)} = nn.Identity()" for name in names[:-1]]
    changes.append(f"{place(names[-1])} = nn.{wanted}  # was {was}")
    return Patch("\n".join(changes), partial(_replaced, names=tuple(names), end=wanted))


def place(name: str) -> str:
    """How a submodule is written in Python.

    >>> place("layers.2.act")
    'net.layers[2].act'
    """
    return "net" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in name.split(".") if part)


def _replaceable(setup: Setup, ending: Ending) -> list[str] | None:
    """Modules of the tail whose removal leaves nothing behind the last layer; None if there are none such."""
    if ending.is_identity:
        return []
    few = taken(setup.x, slice(0, 8))
    with evaluating(setup.net):
        calls, _ = calls_of(setup.net, few)
    names = [one.name for one in calls]
    after = calls[names.index(ending.layer) + 1 :]
    before = calls[names.index(ending.layer)].output
    keep_shape = [
        one.name for one in after if _shape(one.output) == _shape(before) or _is_softmax(one.module)
    ]
    if not keep_shape or any(names.count(name) > 1 for name in keep_shape):
        return None
    try:
        tried = _replaced(setup.copied(), tuple(keep_shape), nn.Identity())
    except ConfigError:
        return None
    found = find_ending(tried.net, few)
    return keep_shape if found is not None and found.is_identity else None


def _shape(output: Any) -> Any:
    return getattr(output, "shape", None)


def _is_softmax(module: nn.Module) -> bool:
    return isinstance(module, nn.Softmax | nn.LogSoftmax)


def _replaced(setup: Setup, names: tuple[str, ...], end: nn.Module) -> Setup:
    for name in names:
        above, _, own = name.rpartition(".")
        last = end if name == names[-1] else nn.Identity()
        setattr(inner(setup.net).get_submodule(above), own, last)
    return setup


def _appended(setup: Setup, end: nn.Module) -> Patch:
    if isinstance(end, nn.Identity):
        return NOTHING
    lines = f"net = nn.Sequential(net, nn.{end})"
    if type(setup.net) is nn.Sequential:
        lines = f"net.append(nn.{end})"
    return Patch(lines, partial(_with_end, end=end))


def _with_end(setup: Setup, end: nn.Module) -> Setup:
    if type(setup.net) is nn.Sequential:
        setup.net.append(end)
        return setup
    return setup.with_net(Wrapped(nn.Identity(), setup.net, end))


def _ended(setup: Setup, layer: str, end: nn.Module) -> Setup:
    return setup.with_net(EndsAt(setup.net, layer, end))


def with_outputs(setup: Setup, layer: str, n: int) -> Patch:
    """The last layer, if it is linear, with another number of outputs."""
    old = setup.net.get_submodule(layer)
    if not isinstance(old, nn.Linear) or not layer:
        return Patch(f"# give layer {layer!r} {n} outputs")
    new = f"nn.Linear({old.in_features}, {n})"
    return Patch(
        f"{place(layer)} = {new}  # was {old.out_features} outputs", partial(_widened, layer=layer, n=n)
    )


def _widened(setup: Setup, layer: str, n: int) -> Setup:
    above, _, own = layer.rpartition(".")
    net = inner(setup.net)
    old: Any = net.get_submodule(layer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        new = nn.Linear(old.in_features, n).to(old.weight)
    before = {id(p) for p in setup.net.parameters()}
    setattr(net.get_submodule(above), own, new)
    return _held_anew(setup, before)


def _held_anew(setup: Setup, before: set[int]) -> Setup:
    """The optimiser holds what the network has now, in place of what it had before."""
    now = {id(p) for p in setup.net.parameters()}
    hold(setup.optimizer, [p for p in setup.net.parameters() if id(p) not in before], before - now)
    return setup


# Loss and targets


def with_loss(loss: nn.Module, setup: Setup) -> Patch:
    """Another loss, with the reduction of the one before."""
    if getattr(setup.loss, "reduction", "mean") == "sum":
        vars(loss)["reduction"] = "sum"
        return Patch(f"loss = nn.{type(loss).__name__}(reduction='sum')", partial(_with_loss, loss=loss))
    return Patch(f"loss = nn.{type(loss).__name__}()", partial(_with_loss, loss=loss))


def _with_loss(setup: Setup, loss: nn.Module) -> Setup:
    return replace(setup, loss=loss)


def with_target(lines: str, change: Callable[[Tensor], Tensor]) -> Patch:
    """Other targets."""
    return Patch(lines, lambda setup: replace(setup, y=each(change, setup.y)))


def with_settings(**settings: Any) -> Patch:
    """Other settings of the run."""
    lines = "\n".join(f"{name} = {value}" for name, value in settings.items())
    return Patch(lines, lambda setup: replace(setup, **settings))


# Scale


def with_scaled_inputs(mean: Tensor, spread: Tensor) -> Patch:
    """The network standardises its inputs, so that new rows are scaled alike."""
    lines = (
        "mean, spread = x.mean(0), x.std(0).clamp(min=1e-12)\n"
        "x = (x - mean) / spread  # and the same mean and spread for every new row"
    )
    return Patch(
        lines, lambda setup: setup.with_net(Wrapped(Standardise(mean, spread), setup.net, nn.Identity()))
    )


def with_scaled_target(mean: Tensor, spread: Tensor) -> Patch:
    """The network is trained in units of the targets' spread, and gives the targets' own."""
    lines = (
        "mean, spread = y.mean(0), y.std(0)\n"
        "y = (y - mean) / spread  # a prediction is net(x) * spread + mean"
    )

    def mend(setup: Setup) -> Setup:
        scaled = setup.with_net(Wrapped(nn.Identity(), setup.net, InUnits(mean, spread)))
        return replace(scaled, loss=LossInUnits(setup.loss, mean, spread))

    return Patch(lines, mend)


# The optimiser


def with_rate(lr: float) -> Patch:
    """Every group with this learning rate."""

    def mend(setup: Setup) -> Setup:
        for group in setup.optimizer.param_groups:
            group["lr"] = lr
            group.pop("initial_lr", None)
        return setup

    return Patch(f"for group in optimizer.param_groups:\n    group['lr'] = {lr:g}", mend)


def with_adam(lr: float = 1e-3) -> Patch:
    """Adam in place of the optimiser."""

    def mend(setup: Setup) -> Setup:
        held = [p for group in setup.optimizer.param_groups for p in group["params"]]
        return replace(setup, optimizer=torch.optim.Adam(held, lr=lr))

    return Patch(f"optimizer = torch.optim.Adam(net.parameters(), lr={lr:g})", mend)


def with_all_parameters(setup: Setup) -> Patch:
    """The optimiser holds every parameter of the network, and nothing else."""

    def mend(setup: Setup) -> Setup:
        own = list(setup.net.parameters())
        held = {id(p) for group in setup.optimizer.param_groups for p in group["params"]}
        strangers = held - {id(p) for p in own}

        hold(setup.optimizer, [p for p in own if id(p) not in held], strangers)
        return setup

    kind, group = type(setup.optimizer).__name__, setup.optimizer.param_groups[0]
    rate = f", lr={group['lr']:g}" if "lr" in group else ""
    return Patch(f"optimizer = torch.optim.{kind}(net.parameters(){rate})", mend)


# Layers


def with_layers(lines: str, names: Sequence[str], make: Callable[[nn.Module], nn.Module]) -> Patch:
    """Each of these submodules replaced by what `make` makes of it."""

    def mend(setup: Setup) -> Setup:
        before = {id(p) for p in setup.net.parameters()}
        for name in names:
            above, _, own = name.rpartition(".")
            net = inner(setup.net)
            setattr(net.get_submodule(above), own, make(net.get_submodule(name)))
        return _held_anew(setup, before)

    return Patch(lines, mend)
