"""What the layers make of the rows before any training: straight lines, dead units, fading gradients."""

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from multilayer.diagnosis.ending import Call, calls_of
from multilayer.diagnosis.finding import Finding, Patch, found
from multilayer.diagnosis.parameters import FirstStep, drawn_anew
from multilayer.diagnosis.patches import inner, place, together, with_layers
from multilayer.diagnosis.refusals import is_norm
from multilayer.diagnosis.scene import Scene
from multilayer.diagnosis.setup import Setup
from multilayer.training.autograd import REFUSALS, evaluating

STRAIGHT = 1e-4  # of the spread: departure from a straight line that rounding explains
DEAD = 0.5  # share of a layer's units that may be zero on all rows
# The first layer's gradient over the last one's, each relative to its weights; AutoTrainer's bound
FADED = 1e-3
DRAWN_ANEW = Patch(
    "for layer in net.modules():\n    if isinstance(layer, nn.Linear):\n        layer.reset_parameters()",
    drawn_anew,
)


def straight_lines(scene: Scene) -> Iterator[Finding]:
    """Several layers that together are one linear layer; a rehearsal shows whether it matters."""
    chain = linear_chain(scene)
    if chain:
        yield found(
            "no-nonlinearity",
            f"Layers {', '.join(map(repr, chain))} with nothing but straight lines between them are one "
            "linear layer.",
            severity="note", layer=chain[0], layers=len(chain), patch=bent(scene.setup.net, chain[:-1]),
        )  # fmt: skip


def linear_chain(scene: Scene) -> list[str]:
    """The linear layers of a network that is affine in its inputs up to the last of them, or none."""
    x, end = scene.x, scene.own
    linear = [one.name for one in scene.calls if isinstance(one.module, nn.Linear)]
    if end is None or not isinstance(x, Tensor) or not x.is_floating_point() or len(linear) < 2:
        return []
    if end.layer != linear[-1]:
        return []
    generator = torch.Generator().manual_seed(0)
    tried = scene.setup.copied()
    drawn_anew(tried)  # layers that begin at zero would look straight
    wide = 5 * float(x.std()) + 1e-3 if x.numel() > 1 else 1.0
    a, b = (torch.randn(x[:64].shape, generator=generator).to(x) * wide for _ in range(2))
    try:
        with evaluating(tried.net):
            at = [_given(tried, point, end.layer) for point in (a, b, (a + b) / 2)]
    except REFUSALS:
        return []
    bend = (at[0] + at[1]) / 2 - at[2]
    spread = float(torch.cat(at).std()) or 1.0
    return linear if float(bend.abs().max()) < STRAIGHT * spread * 10 else []


def _given(setup: Setup, x: Tensor, layer: str) -> Tensor:
    calls, _ = calls_of(setup.net, x)
    output: Tensor = next(one.output for one in reversed(calls) if one.name == layer)
    return output.double()


def bent(net: nn.Module, names: Sequence[str]) -> Patch:
    """A ReLU after each of these layers."""
    lines = "\n".join(f"{place(name)} = nn.Sequential({place(name)}, nn.ReLU())" for name in names)
    return with_layers(lines, names, lambda layer: nn.Sequential(layer, nn.ReLU()))


def bounded_activations(scene: Scene) -> list[str]:
    """Hidden modules without weights whose outputs have a largest and a smallest value, such as a sigmoid."""
    end = scene.own
    tail = set(end.tail) if end is not None else set()
    return list(dict.fromkeys(one.name for one in scene.calls if one.name not in tail and _is_bounded(one)))


def _is_bounded(one: Call) -> bool:
    if one.has_weights or is_norm(one.module) or not isinstance(one.output, Tensor):
        return False
    probe = torch.tensor([[-80.0, -40.0, 0.0, 40.0, 80.0]] * 2)
    try:
        with torch.no_grad(), evaluating(one.module):
            given = one.module(probe)
    except REFUSALS:
        return False
    if not isinstance(given, Tensor) or given.shape != probe.shape or torch.equal(given, probe):
        return False
    flat = (given[:, 0] - given[:, 1]).abs().max() + (given[:, 3] - given[:, 4]).abs().max()
    return bool(flat < 1e-3 and (given.max() - given.min()) > 0.1)


def rectified(names: Sequence[str]) -> Patch:
    """ReLU in place of each of these activations, and linear layers drawn anew."""
    lines = "\n".join(f"{place(name)} = nn.ReLU()" for name in names)
    return together(with_layers(lines, names, lambda module: nn.ReLU()), DRAWN_ANEW)


def dead_units(scene: Scene, step: FirstStep) -> Iterator[Finding]:
    """Units of hidden activations that are zero on every row of the sample."""
    end = scene.own
    tail = set(end.tail) if end is not None else set()
    for one in scene.calls:
        if one.has_weights or not isinstance(one.output, Tensor) or one.output.ndim != 2:
            continue
        if len(one.output) < 16 or isinstance(one.module, nn.modules.dropout._DropoutNd):
            continue
        share = float((one.output == 0).all(0).double().mean())
        if share > DEAD or (one.name in tail and share == 1.0):
            yield found(
                "dead-units",
                f"{share:.0%} of the units of {one.name!r} ({one.module}) are zero for all "
                f"{len(one.output)} rows.",
                severity="error" if share == 1.0 else "warning",
                layer=one.name, share=share,
                patch=DRAWN_ANEW,
            )  # fmt: skip
            return


def fading_gradients(scene: Scene, step: FirstStep) -> Iterator[Finding]:
    """The first layer's gradient far below the last one's."""
    named = dict(scene.setup.net.named_parameters())
    sizes = [
        (name, norm / max(float(named[name].detach().norm()), 1e-12))
        for name, norm in step.norms.items()
        if named[name].ndim > 1
    ]
    if len(sizes) < 3:
        return
    (first, of_first), (_, of_last) = sizes[0], sizes[-1]
    if of_last > 0 and of_first < FADED * of_last:
        names = bounded_activations(scene)
        yield found(
            "saturated-units",
            f"Relative to its weights, the gradient of {first} is {of_first / of_last:.2g} of the "
            "last layer's.",
            layer=first.rpartition(".")[0], ratio=of_first / of_last,
            patch=rectified(names) if names else None,
        )  # fmt: skip


def relu_before_norm(scene: Scene) -> Iterator[Finding]:
    """A rectified output straight into BatchNorm."""
    yield from norm_after_relu(scene.calls)


def norm_after_relu(calls: Sequence[Call]) -> Iterator[Finding]:
    """Of modules in the order in which they ran."""
    for before, after in itertools.pairwise(calls):
        if is_norm(after.module) and not before.has_weights and _cuts_off(before):
            zeros = float((before.output == 0).double().mean())
            yield found(
                "relu-before-batchnorm",
                f"{before.name!r} ({before.module}) sets {zeros:.0%} of its numbers to zero, and "
                f"{after.name!r} gives them all one value.",
                layer=after.name, zeros=zeros,
                patch=Patch(
                    f"{place(before.name)}, {place(after.name)} = {place(after.name)}, {place(before.name)}",
                    partial(_exchanged, first=before.name, second=after.name),
                ),
            )  # fmt: skip
            return


def _cuts_off(one: Call) -> bool:
    """Whether all negative numbers become zero."""
    try:
        with torch.no_grad(), evaluating(one.module):
            given: Any = one.module(torch.tensor([[-80.0, -1.0, 1.0, 80.0]]))
    except REFUSALS:
        return False
    return isinstance(given, Tensor) and given.flatten().tolist()[:2] == [0.0, 0.0] and bool(given.max() > 0)


def _exchanged(setup: Setup, first: str, second: str) -> Setup:
    net = inner(setup.net)
    a, b = net.get_submodule(first), net.get_submodule(second)
    for name, module in ((first, b), (second, a)):
        above, _, own = name.rpartition(".")
        setattr(net.get_submodule(above), own, module)
    return setup
