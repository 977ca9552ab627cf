"""PyTorch's own errors at the first step, as a cause and the line to change."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from multilayer.diagnosis.finding import Finding, Patch, found
from multilayer.diagnosis.scene import Scene
from multilayer.diagnosis.setup import Setup
from multilayer.training.autograd import REFUSALS, evaluating
from multilayer.training.user_arrays import call, each, parts_of


@dataclass(frozen=True)
class Refusal:
    """What PyTorch says, what it means, and what to change, with the pattern's words filled in."""

    pattern: str
    cause: str
    lines: str
    mend: Callable[[Setup], Setup] | None = None


def _in_network_type(setup: Setup) -> Setup:
    dtype = next((p.dtype for p in setup.net.parameters()), torch.get_default_dtype())
    return replace(setup, x=each(lambda part: part.to(dtype), setup.x))


def _target_in_floats(setup: Setup) -> Setup:
    return replace(setup, y=each(lambda part: part.to(torch.get_default_dtype()), setup.y))


OF_NETWORK = (
    Refusal(
        r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)",
        "It takes rows of {2} numbers and gets {1}.",
        "# layer {layer}: nn.Linear({1}, {3}) in place of nn.Linear({2}, {3})",
    ),
    Refusal(
        r"must have the same dtype, but got (\w+) and (\w+)|expected scalar type (\w+) but found (\w+)"
        r"|expected m1 and m2 to have the same dtype",
        "Inputs and weights are of different types.",
        "x = x.float()  # the type of the network's weights",
        _in_network_type,
    ),
    Refusal(
        r"more than 1 value per channel",
        "BatchNorm got a single row.",
        "# make batches of at least 2 rows, or take nn.LayerNorm in place of BatchNorm",
    ),
    Refusal(
        r"on the same device|same device|Expected all tensors",
        "Inputs and weights are on different devices.",
        "net.to(x.device)",
    ),
    Refusal(
        r"index out of range",
        "An embedding got a code that it has no row for.",
        "# nn.Embedding(largest code + 1, ...)",
    ),
    Refusal(
        r"expected 2D or 3D input|running_mean should contain",
        "BatchNorm is made for another number of columns.",
        "# give BatchNorm as many features as the layer before it has outputs",
    ),
)
OF_LOSS = (
    Refusal(
        r"Found dtype (\w+) but expected (\w+)|expected scalar type (\w+) but found (\w+)|result type",
        "Outputs and targets are of different types.",
        "y = y.float()",
        _target_in_floats,
    ),
    Refusal(
        r"element 0 of tensors does not require grad|does not require grad",
        "The loss does not depend on the weights.",
        "# leave out detach(), item(), argmax(), NumPy and torch.no_grad() between net(x) and the loss",
    ),
    Refusal(r"missing \d+ required positional", "The loss takes other arguments.", "# loss(net(x), y)"),
)
OTHER = Refusal("", "PyTorch says: {error}", "")


def network_refuses(scene: Scene) -> Iterator[Finding]:
    """The network cannot take the rows."""
    if scene.refusal is not None:
        layer = failing_layer(scene)
        at = f"Layer {layer!r}" if layer else "The network"
        yield _in_words(scene.refusal, OF_NETWORK, f"{at} refuses the rows.", layer)


def loss_refuses(scene: Scene) -> Iterator[Finding]:
    """The loss cannot take outputs and targets, for a reason that no other check names."""
    error = scene.core.error
    if error is not None:
        yield _in_words(error, OF_LOSS, "The loss refuses outputs and targets.", None)


def _in_words(error: Exception, rules: tuple[Refusal, ...], at: str, layer: str | None) -> Finding:
    text = str(error).split("\n")[0]
    rule = next((rule for rule in rules if re.search(rule.pattern, text)), OTHER)
    words = re.search(rule.pattern, text)
    given = (words.group(0), *words.groups()) if words else ("",)
    values: dict[str, Any] = {"error": text, "layer": layer}

    def filled(template: str) -> str:
        return template.format(*([*given, *[""] * 4]), **values) if rule is OTHER or words else template

    if rule.pattern.startswith("mat1"):
        given = (given[0], *given[2:])
    lines = filled(rule.lines)
    code = "one-row-batches" if "more than 1 value" in text else "cannot-run"
    return found(
        code,
        f"{at} {filled(rule.cause)}",
        layer=layer,
        patch=Patch(lines, rule.mend) if lines else None,
        error=text,
    )


def failing_layer(scene: Scene) -> str | None:
    """The layer without children in which the network stops; None if it is none of them."""
    running: list[str] = []
    net = scene.setup.net
    handles = []
    for name, module in net.named_modules():
        if not list(module.children()):
            handles.append(module.register_forward_pre_hook(lambda m, _, name=name: running.append(name)))
            handles.append(module.register_forward_hook(lambda m, _, out: running.pop() and None))
    try:
        with torch.no_grad(), evaluating(net):
            call(net, scene.x)
    except REFUSALS:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return running[-1] if running else None


def values(scene: Scene) -> Iterator[Finding]:
    """NaN and infinities in inputs and targets."""
    for name, given in (("x", scene.setup.x), ("y", scene.setup.y)):
        for part in parts_of(given):
            if not part.is_floating_point():
                continue
            bad = ~torch.isfinite(part.reshape(len(part), -1))
            if not bool(bad.any()):
                continue
            row, column = bad.nonzero()[0].tolist()
            n_rows = int(bad.any(1).sum())
            keep = "keep = torch.isfinite(x).all(1) & torch.isfinite(y.reshape(len(y), -1)).all(1)"
            yield found(
                "not-finite",
                f"{name} has {int(bad.sum()):,} NaN or infinite values in {n_rows:,} rows; the first is in "
                f"row {row}, column {column} (counted from 0).",
                rows=n_rows, row=row, column=str(column),
                patch=Patch(f"{keep}\nx, y = x[keep], y[keep]", _finite_rows),
            )  # fmt: skip


def _finite_rows(setup: Setup) -> Setup:
    parts = [*parts_of(setup.x), *parts_of(setup.y)]
    finite = [torch.isfinite(part.reshape(len(part), -1).float()).all(1) for part in parts]
    keep = torch.stack(finite).all(0)
    return replace(setup, x=each(lambda part: part[keep], setup.x), y=each(lambda part: part[keep], setup.y))


def is_norm(module: nn.Module) -> bool:
    """Whether it normalises by the rows of a batch."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm)
