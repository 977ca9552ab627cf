"""What trains, what does not, and in which mode: parameters, optimiser, gradients of the first step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from multilayer.diagnosis.finding import Finding, Patch, found
from multilayer.diagnosis.patches import (
    inner,
    place,
    with_all_parameters,
    with_layers,
    with_rate,
    with_settings,
)
from multilayer.diagnosis.refusals import is_norm
from multilayer.diagnosis.scene import Scene
from multilayer.diagnosis.setup import Setup, hold
from multilayer.training.autograd import REFUSALS, is_torchs
from multilayer.training.random_state import RandomState
from multilayer.training.user_arrays import call, parts_of, taken

MOST_ZEROS = 0.02  # of the outputs, that training mode may set to zero beyond those of eval()


@dataclass(frozen=True)
class FirstStep:
    """Forward and backward of a first batch, on a copy in the network's own modes.

    out, loss:  what came; None where PyTorch refused
    gradients:  by name of the parameter; None where none came
    refusal:    of PyTorch
    """

    out: Any
    loss: Any
    gradients: dict[str, Tensor | None]
    refusal: Exception | None = None

    @classmethod
    def of(cls, setup: Setup) -> "FirstStep":
        """Of a batch of the setup."""
        copied = setup.copied()
        net = copied.net
        x, y = taken(setup.sample(256)[0], slice(0, setup.rows_a_step)), setup.sample(256)[1]
        y = taken(y, slice(0, setup.rows_a_step))
        net.zero_grad()
        device = parts_of(x)[0].device
        with RandomState(0, device, of_all=not is_torchs(net)).in_place(), torch.enable_grad():
            try:
                out = call(net, x)
                loss = copied.loss_of(out, y)
                if isinstance(loss, Tensor) and loss.requires_grad and loss.ndim == 0:
                    loss.backward()
            except REFUSALS as refusal:
                return cls(None, None, {}, refusal)
        return cls(out, loss, {name: p.grad for name, p in net.named_parameters() if p.requires_grad})

    @cached_property
    def norms(self) -> dict[str, float]:
        """Norm of each gradient that came."""
        return {name: float(g.norm()) for name, g in self.gradients.items() if g is not None}


def held_by_optimizer(scene: Scene) -> Iterator[Finding]:
    """Parameters that nobody trains."""
    yield from not_held(scene.setup)


def not_held(setup: Setup) -> Iterator[Finding]:
    """Parameters that nobody trains, and rates of zero."""
    yield from _hidden_layers(setup)
    named = dict(setup.net.named_parameters())
    training = {name: p for name, p in named.items() if p.requires_grad}
    if not training:
        names = list(named)
        yield found(
            "nothing-trains",
            f"None of the network's {len(names)} parameters requires a gradient.",
            patch=Patch("net.requires_grad_(True)", _unfreeze_all),
        )
        return
    held = {id(p) for group in setup.optimizer.param_groups for p in group["params"]}
    missing = [name for name, p in training.items() if id(p) not in held]
    if missing:
        strangers = len(held - {id(p) for p in named.values()})
        beside = f", and {strangers} tensors that are not the network's" if strangers else ""
        yield found(
            "parameters-not-in-optimizer",
            f"The optimiser holds {len(training) - len(missing)} of {len(training)} parameters{beside}; it "
            f"lacks {_listed(missing)}.",
            missing=len(missing), strangers=strangers, layer=missing[0].rpartition(".")[0],
            patch=with_all_parameters(setup),
        )  # fmt: skip
    for number, group in enumerate(setup.optimizer.param_groups):
        if group.get("lr", 1.0) <= 0:
            yield found(
                "rate-too-low", f"The learning rate of group {number} is {group['lr']:g}.",
                group=number, lr=group["lr"], patch=with_rate(1e-3),
            )  # fmt: skip


def _unfreeze_all(setup: Setup) -> Setup:
    setup.net.requires_grad_(True)
    hold(setup.optimizer, list(setup.net.parameters()), {id(p) for p in setup.net.parameters()})
    return setup


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _hidden_layers(setup: Setup) -> Iterator[Finding]:
    known = {id(module) for module in setup.net.modules()}
    for owner, module in setup.net.named_modules():
        for name, value in vars(module).items():
            parts = list(value.values()) if isinstance(value, dict) else value
            if name.startswith("_") or not isinstance(parts, list | tuple):
                continue
            hidden = [part for part in parts if isinstance(part, nn.Module) and id(part) not in known]
            n = sum(p.numel() for part in hidden for p in part.parameters())
            if n:
                full = f"{owner}.{name}" if owner else name
                kind = "ModuleDict" if isinstance(value, dict) else "ModuleList"
                yield found(
                    "hidden-layers",
                    f"{full} is a plain {type(value).__name__} of {len(hidden)} layers with {n:,} weights.",
                    layer=full, weights=n,
                    patch=Patch(
                        f"self.{name} = nn.{kind}(...)  # and make the optimiser after it",
                        partial(_registered, owner=owner, name=name),
                    ),
                )  # fmt: skip


def _registered(setup: Setup, owner: str, name: str) -> Setup:
    module = inner(setup.net).get_submodule(owner)
    value = vars(module).pop(name)
    before = {id(p) for p in setup.net.parameters()}
    setattr(module, name, nn.ModuleDict(value) if isinstance(value, dict) else nn.ModuleList(value))
    hold(setup.optimizer, [p for p in setup.net.parameters() if id(p) not in before], set())
    return setup


def frozen(scene: Scene) -> Iterator[Finding]:
    """A frozen last layer, while others train."""
    end, net = scene.own, scene.setup.net
    if end is None or not end.layer:
        return
    last = list(net.get_submodule(end.layer).parameters())
    others = [p for p in net.parameters() if p.requires_grad]
    if others and not any(p.requires_grad for p in last) and _is_matrix(last):
        n = sum(p.numel() for p in others)
        yield found(
            "frozen-end",
            f"Layer {end.layer!r}, the last, is frozen, while {n:,} weights before it train.",
            layer=end.layer,
            patch=Patch(
                f"{place(end.layer)}.requires_grad_(True)  # and give its parameters to the optimiser",
                partial(_unfrozen, layer=end.layer),
            ),
        )


def _is_matrix(parameters: Sequence[Tensor]) -> bool:
    return any(p.ndim > 1 for p in parameters)


def _unfrozen(setup: Setup, layer: str) -> Setup:
    module = inner(setup.net).get_submodule(layer).requires_grad_(True)
    held = {id(p) for group in setup.optimizer.param_groups for p in group["params"]}
    hold(setup.optimizer, [p for p in module.parameters() if id(p) not in held], set())
    return setup


def modes(scene: Scene) -> Iterator[Finding]:
    """eval() at the start, and BatchNorm with single rows."""
    setup = scene.setup
    norms = [(name, m) for name, m in setup.net.named_modules() if is_norm(m)]
    drops = [m for m in setup.net.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0]
    if not setup.net.training and (norms or drops):
        yield found(
            "eval-mode",
            f"The network is in eval(): {len(norms)} BatchNorm and {len(drops)} dropout layers are off.",
            severity="error" if has_fresh_statistics(setup.net) else "warning",
            patch=Patch("net.train()", _in_training),
        )
    if norms and setup.rows_a_step == 1 and any(m.training for _, m in norms) and setup.n_rows > 1:
        yield found(
            "one-row-batches",
            f"Layer {norms[0][0]!r} is a BatchNorm, and batches have 1 row.",
            layer=norms[0][0], batch_size=1, patch=with_settings(batch_size=min(32, setup.n_rows)),
        )  # fmt: skip


def has_fresh_statistics(net: nn.Module) -> bool:
    """Whether a BatchNorm has not seen a batch yet."""
    counts = (getattr(module, "num_batches_tracked", None) for module in net.modules() if is_norm(module))
    return any(count is not None and int(count) == 0 for count in counts)


def _in_training(setup: Setup) -> Setup:
    setup.net.train()
    return setup


def gradients(scene: Scene, step: FirstStep) -> Iterator[Finding]:
    """What the first backward pass did not reach."""
    if step.loss is None or not isinstance(step.loss, Tensor):
        return
    if step.loss.ndim:
        yield found(
            "cannot-run",
            f"The loss gives {step.loss.numel()} numbers for a batch, of shape {tuple(step.loss.shape)}.",
            patch=Patch("loss = loss.mean()"),
        )
        return
    if not step.loss.requires_grad:
        yield found(
            "detached", "The loss does not depend on any weight that trains.",
            patch=Patch("# leave out detach(), item(), argmax(), NumPy and torch.no_grad() before the loss"),
        )  # fmt: skip
        return
    ran = {one.name for one in scene.calls}
    without = [name for name, gradient in step.gradients.items() if gradient is None]
    cut = [name for name in without if name.rpartition(".")[0] in ran]
    if cut:
        yield found(
            "detached", f"No gradient reaches {_listed(cut)}, though the layer is run.",
            layer=cut[0].rpartition(".")[0], parameters=len(cut),
            patch=Patch("# leave out detach(), item(), argmax(), NumPy and torch.no_grad() after that layer"),
        )  # fmt: skip
    elif without:
        yield found(
            "no-gradient", f"{_listed(without)} get no gradient: forward() does not use them.",
            severity="warning", layer=without[0].rpartition(".")[0], parameters=len(without),
            patch=Patch("# use the layer in forward(), or take it out of the network"),
        )  # fmt: skip


def equal_units(scene: Scene, step: FirstStep) -> Iterator[Finding]:
    """Hidden layers whose units begin alike and get the same gradients."""
    alike = []
    end = scene.own
    for name, module in scene.setup.net.named_modules():
        weight = getattr(module, "weight", None)
        if not isinstance(module, nn.Linear) or len(weight) < 2 or (end is not None and name == end.layer):  # type: ignore[arg-type]
            continue
        gradient = step.gradients.get(f"{name}.weight" if name else "weight")
        if gradient is not None and _rows_equal(module.weight) and _rows_equal(gradient):
            alike.append((name, module))
    if alike:
        name, module = alike[0]
        yield found(
            "equal-weights",
            f"All {module.out_features} units of layer {name!r} have the same weights and the same "
            "gradients.",
            layer=name, units=module.out_features, layers=len(alike),
            patch=Patch(
                "for layer in net.modules():\n    if isinstance(layer, nn.Linear):\n        "
                "layer.reset_parameters()",
                drawn_anew,
            ),
        )  # fmt: skip


def drawn_anew(setup: Setup) -> Setup:
    """Every linear layer as a new one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in setup.net.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
    return setup


def _rows_equal(matrix: Tensor) -> bool:
    return bool(
        (matrix.detach() - matrix.detach()[:1]).abs().max() <= 1e-9 + 1e-6 * matrix.detach().abs().max()
    )


def dropped(scene: Scene, step: FirstStep) -> Iterator[Finding]:
    """Outputs that training mode sets to zero and eval() does not."""
    if not isinstance(step.out, Tensor) or not isinstance(scene.out, Tensor) or not scene.setup.net.training:
        return
    zeros = float((step.out.detach() == 0).double().mean()) - float((scene.out == 0).double().mean())
    after = scene.own.tail if scene.own is not None else ()
    drops = [name for name in after if isinstance(scene.modules.get(name), nn.modules.dropout._DropoutNd)]
    if zeros > MOST_ZEROS or (drops and zeros > 0):
        at = drops[-1] if drops else None
        patch = with_layers(f"{place(at)} = nn.Identity()", [at], lambda m: nn.Identity()) if at else None
        yield found(
            "dropped-output",
            f"In training mode {zeros:.0%} of the outputs are set to zero.",
            layer=at, zeros=zeros, patch=patch,
        )  # fmt: skip
