"""The first step's contracts: what the network can say, against what the loss expects and the targets are."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from multilayer.diagnosis.ending import Ending
from multilayer.diagnosis.finding import Finding, Patch, found
from multilayer.diagnosis.loss_core import ON_CLASSES, ON_NUMBERS, ON_TWO
from multilayer.diagnosis.patches import NOTHING, end_with, together, with_loss, with_outputs, with_target
from multilayer.diagnosis.scene import Scene, Targets

# Share of the possible gain that a bound may cost before it is a fault; see benchmarks/doctor_bench
LOST = 0.02
FLAT = 0.05  # share of ordinary numbers without a gradient, from which on an ending is rectified
IN_UNIT = 1e-3  # how far beyond 0 and 1 numbers may be and pass for probabilities


def swap(scene: Scene) -> Iterator[Finding]:
    """Inputs in the place of targets."""
    if scene.targets is not None:
        yield from _swapped_or(scene, None)


def labels(scene: Scene) -> Iterator[Finding]:
    """Labels that the loss does not know, and shapes that do not fit."""
    t, core = scene.targets, scene.core
    if t is None or core.input is None:
        return
    if core.name in ON_CLASSES:
        yield from _class_labels(scene, t)
    elif core.name in ON_TWO:
        yield from _two_labels(scene, t)
    elif core.name in ON_NUMBERS or core.name == "poisson":
        yield from _numbers(scene, t)


def _class_labels(scene: Scene, t: Targets) -> Iterator[Finding]:
    y, k = scene.y[0], scene.n_outputs
    if k == 1:
        yield _one_output(scene, t)
        return
    if t.n_columns > 1 or (y.is_floating_point() and y.ndim > 1 and y.shape[1] == k):
        if t.n_columns != k:
            yield _misfit(scene, f"Each row has {t.n_columns} targets and the network {k} outputs.", None)
        elif t.low < -IN_UNIT or t.high > 1 + IN_UNIT:
            yield from _swapped_or(scene, _unknown_labels(scene, t, None))
        return
    if y.is_floating_point() or y.ndim > 1:
        if not t.are_codes:
            yield from _swapped_or(scene, _unknown_labels(scene, t, _as_numbers(scene)))
            return
        patch = with_target("y = y.reshape(-1).long()", lambda y: y.reshape(-1).long())
        given = f"{_dtype(y)} {tuple(scene.setup.y.shape)}"  # type: ignore[union-attr]
        yield _misfit(
            scene, f"Cross-entropy takes class codes as int64 (n_rows,); the targets are {given}.", patch
        )
    ignored = -100
    low, high = int(t.low), int(t.high)
    if high >= k or (low < 0 and low != ignored):
        yield _unknown_labels(scene, t, _recoded(scene, t, k))
    elif t.distinct and low >= 0 and high + 1 < k:
        yield found(
            "surplus-outputs",
            f"The network has {k} outputs, and the classes are 0 to {high}.",
            outputs=k, classes=len(t.distinct),
        )  # fmt: skip


def _dtype(y: Tensor) -> str:
    return str(y.dtype).removeprefix("torch.")


def _one_output(scene: Scene, t: Targets) -> Finding:
    patch: Patch | None = None
    end = scene.own
    if t.is_binary and t.n_columns == 1:
        to_floats = with_target("y = y.float().reshape(-1, 1)", partial(_as_column, like=scene.out))
        patch = together(to_floats, with_loss(nn.BCEWithLogitsLoss(), scene.setup))
        if end is not None and end.constant:
            patch = together(
                end_with(scene.setup, end, nn.Sigmoid()), to_floats, with_loss(nn.BCELoss(), scene.setup)
            )
        elif end is not None and _in_unit(end):
            patch = together(to_floats, with_loss(nn.BCELoss(), scene.setup))
    elif t.are_codes and end is not None:
        patch = _many_outputs(scene, t)
    return found(
        "one-output-for-classes",
        f"Cross-entropy gets one output a row; the targets have {_classes(t)}.",
        outputs=1, patch=patch, layer=_layer(scene),
    )  # fmt: skip


def _as_column(y: Tensor, like: Tensor) -> Tensor:
    return y.to(like.dtype).reshape(len(y), *like.shape[1:])


def _many_outputs(scene: Scene, t: Targets) -> Patch:
    """One output a class, and cross-entropy of logits."""
    end = scene.own
    values = torch.tensor(t.distinct)
    k = len(t.distinct)
    if end is None:
        return Patch(f"# give the network {k} outputs, and take nn.CrossEntropyLoss()")
    is_plain = t.distinct == list(range(k))
    lines = "y = y.reshape(-1).long()" if is_plain else "y = y.reshape(-1).unique(return_inverse=True)[1]"
    return together(
        end_with(scene.setup, end),
        with_outputs(scene.setup, end.layer, k),
        with_target(
            lines, lambda y: torch.searchsorted(values.to(y.device).double(), y.reshape(-1).double())
        ),
        with_loss(nn.CrossEntropyLoss(), scene.setup),
    )


def _recoded(scene: Scene, t: Targets, k: int) -> Patch:
    low, n = int(t.low), len(t.distinct)
    if t.distinct and n <= k:
        values = torch.tensor(t.distinct)
        is_shifted = t.distinct == [low + i for i in range(n)]
        lines = f"y = y - {low}" if is_shifted else "y = y.unique(return_inverse=True)[1]"
        return with_target(lines, lambda y: torch.searchsorted(values.to(y.device).double(), y.double()))
    return _many_outputs(scene, t)


def _as_numbers(scene: Scene) -> Patch:
    end = scene.own
    parts = [] if end is None else [end_with(scene.setup, end)]
    shaped = with_target("", partial(_as_column, like=scene.out)) if _fits(scene) else Patch("")
    return together(*parts, *([shaped] if shaped.mend else []), with_loss(nn.MSELoss(), scene.setup))


def _fits(scene: Scene) -> bool:
    return bool(scene.out.numel() == scene.y[0].numel())


def _unknown_labels(scene: Scene, t: Targets, patch: Patch | None) -> Finding:
    expected = {
        "ce": f"class codes from 0 to {scene.n_outputs - 1}",
        "nll": f"class codes from 0 to {scene.n_outputs - 1}",
    }.get(scene.core.name, "0 and 1, or probabilities between them")
    return found(
        "labels-out-of-range",
        f"{_loss_name(scene)} expects {expected}; the targets are from {t.low:g} to {t.high:g}.",
        low=t.low, high=t.high, patch=patch,
    )  # fmt: skip


def _misfit(scene: Scene, message: str, patch: Patch | None) -> Finding:
    output, target = str(tuple(scene.out.shape)), str(tuple(scene.y[0].shape))
    return found("labels-do-not-fit-outputs", message, patch=patch, output=output, target=target)


def _two_labels(scene: Scene, t: Targets) -> Iterator[Finding]:
    y, k = scene.y[0], scene.n_outputs
    outside = t.low < -IN_UNIT or t.high > 1 + IN_UNIT
    if outside:
        patch: Patch | None = _as_numbers(scene)
        if len(t.distinct) == 2 and t.n_columns == 1:
            high = t.high
            patch = with_target(f"y = (y == {high:g}).float()", lambda y: (y == high).float())
        elif t.are_codes:
            patch = _many_outputs(scene, t)
        else:
            yield from _swapped_or(scene, None)
            return  # numbers, which the output cannot reach: `reach` says so
        yield from _swapped_or(scene, _unknown_labels(scene, t, patch))
    if scene.core.input is not None and scene.core.target is not None:
        if scene.core.input.shape != scene.core.target.shape:
            yield _two_shapes(scene, t, k, outside)
        elif not y.is_floating_point() and y.dtype == scene.core.target.dtype and not outside:
            patch = with_target("y = y.float()", partial(_as_column, like=scene.out))
            yield _misfit(scene, f"{_loss_name(scene)} takes floats; the targets are {_dtype(y)}.", patch)


def _two_shapes(scene: Scene, t: Targets, k: int, outside: bool) -> Finding:
    shapes = f"{tuple(scene.out.shape)} and {tuple(scene.y[0].shape)}"
    message = f"{_loss_name(scene)} compares number by number; outputs and targets are {shapes}."
    if _fits(scene):
        return _misfit(scene, message, None if outside else _reshaped(scene))
    if t.n_columns == 1 and k > 1 and t.are_codes and t.low >= 0 and t.high < k and scene.own is not None:
        patch = together(
            end_with(scene.setup, scene.own),
            with_target("y = y.reshape(-1).long()", lambda y: y.reshape(-1).long()),
            with_loss(nn.CrossEntropyLoss(), scene.setup),
        )
        return _misfit(scene, message, patch)
    return _misfit(scene, message, None)


def _reshaped(scene: Scene) -> Patch:
    lines = (
        "y = y[:, None]" if scene.out.ndim == 2 and scene.y[0].ndim == 1 else "y = y.reshape(net(x).shape)"
    )
    if scene.out.ndim == 1:
        lines = "y = y.reshape(-1)"
    if not scene.y[0].is_floating_point():
        lines += ".float()"
    return with_target(lines, partial(_as_column, like=scene.out))


def _numbers(scene: Scene, t: Targets) -> Iterator[Finding]:
    seen, target = scene.core.input, scene.core.target
    if seen is None or target is None or seen.shape == target.shape:
        yield from _swapped_or(scene, None)
        return
    shapes = f"{tuple(scene.out.shape)} and {tuple(scene.y[0].shape)}"
    if seen.numel() == target.numel() and scene.core.error is None and seen.numel() > 1:
        pairs = torch.broadcast_shapes(seen.shape, target.shape).numel()
        yield found(
            "target-broadcast",
            f"Outputs and targets are {shapes}, which broadcast to {pairs:,} differences instead of "
            f"{seen.numel():,}.",
            pairs=pairs, rows=len(seen), patch=_reshaped(scene),
        )  # fmt: skip
    elif scene.core.error is not None or seen.numel() != target.numel():
        patch = None
        if t.are_codes and scene.n_outputs > 1 and t.low >= 0 and t.high < scene.n_outputs and scene.own:
            patch = together(
                end_with(scene.setup, scene.own),
                with_target("y = y.reshape(-1).long()", lambda y: y.reshape(-1).long()),
                with_loss(nn.CrossEntropyLoss(), scene.setup),
            )
        yield _misfit(scene, f"Outputs and targets are {shapes}.", patch)


def _swapped_or(scene: Scene, otherwise: Finding | None) -> Iterator[Finding]:
    """Inputs and targets that look swapped: each would fit in the other's place, and only there."""
    x, y, seen = scene.setup.x, scene.setup.y, scene.core.input
    if isinstance(x, Tensor) and isinstance(y, Tensor) and seen is not None and _look_swapped(scene, x, y):
        width = x.reshape(len(x), -1).shape[1]
        yield found(
            "swapped-inputs",
            f"The inputs are {'labels' if width == 1 else 'one-hot labels'} and the targets measured numbers "
            f"from {y.min():g} to {y.max():g}.",
            patch=Patch("x, y = y, x  # and a network with as many inputs and outputs"),
        )  # fmt: skip
    elif otherwise is not None:
        yield otherwise


def _look_swapped(scene: Scene, x: Tensor, y: Tensor) -> bool:
    as_labels, as_inputs = Targets.of(x), Targets.of(y)
    labels = (as_labels.are_shares and as_labels.is_binary) or (
        as_labels.are_codes and not as_inputs.are_codes
    )
    measured = not as_inputs.distinct or len(as_inputs.distinct) > max(20, len(as_labels.distinct))
    bounded = scene.ending is not None and (scene.ending.sums == "rows" or _in_unit(scene.ending))
    out_of_unit = as_inputs.low < -IN_UNIT or as_inputs.high > 1 + IN_UNIT
    return labels and measured and out_of_unit and bounded and len(as_labels.distinct) <= 20


# What the ending can reach


def reach(scene: Scene) -> Iterator[Finding]:
    """Endings that cannot say what the loss wants to hear."""
    end, core, t = scene.ending, scene.core, scene.targets
    if end is None:
        return
    if end.constant:
        yield _constant(scene, end, t)
        if t is not None and core.name in ON_NUMBERS and not t.is_binary:
            yield _softmax_on_numbers(scene, end, t)
        return
    if end.sums == "columns":
        yield _over_rows(scene, end)
        return
    rule = REACH.get(core.name)
    if rule is not None and t is not None and scene.n_outputs == len(end.low):
        yield from rule(scene, end, t)


def _constant(scene: Scene, end: Ending, t: Targets | None) -> Finding:
    own = scene.own or end
    value = float(end.low[0])
    two = t is not None and t.is_binary
    if scene.core.name in ("bce", "ce", "nll") or (two and scene.core.name in ON_NUMBERS):
        patch = end_with(scene.setup, own, nn.Sigmoid())
    else:
        patch = end_with(scene.setup, own)
    if scene.core.name in ON_CLASSES and t is not None:
        patch = _one_output(scene, t).patch or patch
    return found(
        "constant-output",
        f"Whatever layer {end.layer!r} gives, the output is {value:g}.",
        layer=end.layer, output=value, flat=end.flat, patch=patch,
    )  # fmt: skip


def _softmax_on_numbers(scene: Scene, end: Ending, t: Targets) -> Finding:
    return found(
        "softmax-on-numbers",
        f"Outputs are shares of 1 in each row; targets are from {t.low:g} to {t.high:g}"
        + ("" if t.n_columns == 1 else f" and sum to {float(t.values.sum(1).mean()):g} on average")
        + ".",
        layer=end.layer, low=t.low, high=t.high, patch=_plain_end(scene, end, t),
    )  # fmt: skip


def _plain_end(scene: Scene, end: Ending, t: Targets) -> Patch:
    """Nothing after the last layer, which has as many outputs as there are targets."""
    own = scene.own or end
    parts = [end_with(scene.setup, own)]
    if t.n_columns != scene.n_outputs:
        parts.append(with_outputs(scene.setup, own.layer, t.n_columns))
        if t.is_flat and scene.out.ndim == 2:
            parts.append(with_target("y = y[:, None]", lambda y: y.reshape(len(y), -1)))
    if scene.core.name == "poisson" or (scene.core.name in ON_TWO and not t.is_binary):
        parts.append(with_loss(nn.MSELoss(), scene.setup))
    return together(*parts)


def _over_rows(scene: Scene, end: Ending) -> Finding:
    own = scene.own or end
    wants_logits = scene.core.name in ("ce", "bce_logits")
    return found(
        "softmax-over-rows",
        "Each output's column sums to 1 over the rows of the batch; a softmax over classes has dim=1.",
        layer=end.layer,
        patch=end_with(scene.setup, own, None if wants_logits else nn.Softmax(dim=1)),
    )


def _of_numbers(scene: Scene, end: Ending, t: Targets) -> Iterator[Finding]:
    """Squared and absolute error, and others on numbers."""
    if end.sums == "rows":
        if t.are_codes and t.low >= 0 and t.high < len(end.low):
            return  # classes, of another shape: `labels` says so
        if t.are_shares:
            if scene.core.name == "squared":
                yield _squared_on_classes(scene, end)
        else:
            yield _softmax_on_numbers(scene, end, t)
        return
    if t.n_columns != len(end.low):
        return
    low, high = end.low.double(), end.high.double()
    values = t.values.cpu()
    outside = (values < low - IN_UNIT * (1 + low.abs())) | (values > high + IN_UNIT * (1 + high.abs()))
    share = float(outside.any(1).double().mean())
    lost = _lost(values, values.clamp(low, high))
    if share > 0 and lost > LOST:
        bound = f"from {_bound(end.low.min())} to {_bound(end.high.max())}"
        yield found(
            "output-out-of-reach",
            f"The output reaches {bound}, and {share:.0%} of the rows have targets outside (from {t.low:g} "
            f"to {t.high:g}): at best {lost:.0%} of their variance stays unexplained.",
            layer=end.layer, low=float(end.low.min()), high=float(end.high.max()), share=share, lost=lost,
            patch=_plain_end(scene, end, t),
        )  # fmt: skip
    elif t.is_binary and _is_rectified(end):
        yield _rectified(scene, end, _as_probability(scene, end))
    elif t.is_binary and scene.core.name == "squared" and _in_unit(end):
        yield _squared_on_classes(scene, end)


def _as_probability(scene: Scene, end: Ending) -> Patch:
    """A sigmoid at the end, and the likelihood of two classes as the loss."""
    ended = end_with(scene.setup, scene.own or end, nn.Sigmoid())
    return together(ended, with_loss(nn.BCELoss(), scene.setup))


def _lost(values: Tensor, nearest: Tensor) -> float:
    """Share of the variance that stays, of targets whose nearest reachable numbers are these."""
    variance = float((values - values.mean(0)).square().sum())
    missed = float((values - nearest).square().sum())
    return min(missed / variance, 99.0) if variance > 0 else (0.0 if missed == 0 else 1.0)


def _bound(value: Tensor) -> str:
    number = float(value)
    return "minus infinity" if number == -math.inf else "infinity" if number == math.inf else f"{number:.3g}"


def _squared_on_classes(scene: Scene, end: Ending) -> Finding:
    own = scene.own or end
    many = end.sums == "rows"
    loss: nn.Module = nn.CrossEntropyLoss() if many else nn.BCELoss()
    parts = [end_with(scene.setup, own)] if many else []
    return found(
        "squared-error-on-classes",
        "The loss is a squared error of " + ("softmax outputs" if many else "an output from 0 to 1")
        + " against " + ("one-hot classes." if many else "labels 0 and 1."),
        layer=end.layer,
        severity="warning" if many else "note",
        patch=together(*parts, with_loss(loss, scene.setup)),
    )  # fmt: skip


def _of_classes(scene: Scene, end: Ending, t: Targets) -> Iterator[Finding]:
    """Cross-entropy, which takes logits."""
    k = len(end.low)
    if k < 2:
        return
    own = scene.own or end
    patch = end_with(scene.setup, own) if own.sums or not own.is_identity else NOTHING
    if not own.is_identity or end is not own:
        patch = together(patch, *_plain_loss(scene, nn.CrossEntropyLoss()))
    floor = math.log(1 + (k - 1) * math.exp(-end.width)) if math.isfinite(end.width) else 0.0
    share = floor / math.log(k)
    if end.sums == "rows" and share > LOST:
        yield found(
            "probabilities-into-logits",
            "Cross-entropy takes logits and gets a softmax: of probabilities, its least value is "
            f"{floor:.3g} (a guess has {math.log(k):.3g}).",
            layer=end.layer, floor=floor, guess=math.log(k), patch=patch,
        )  # fmt: skip
    elif share > LOST:
        yield found(
            "bounded-logits",
            f"Outputs are between {_bound(end.low.min())} and {_bound(end.high.max())}; of such, "
            f"cross-entropy over {k} classes is at least {floor:.3g} (a guess has {math.log(k):.3g}).",
            layer=end.layer, floor=floor, guess=math.log(k), patch=patch,
        )  # fmt: skip
    elif _is_rectified(end):
        yield _rectified(scene, end, patch)


def _plain_loss(scene: Scene, loss: nn.Module) -> list[Patch]:
    """The known loss itself, where the user's does something with the output before it."""
    own, end = scene.own, scene.ending
    if own is None or end is None or isinstance(scene.setup.loss, nn.Module):
        return []
    return (
        [with_loss(loss, scene.setup)] if not (own.sums == end.sums and torch.equal(own.low, end.low)) else []
    )


def _of_log_probabilities(scene: Scene, end: Ending, t: Targets) -> Iterator[Finding]:
    """The negative log-likelihood, which takes logarithms of probabilities."""
    if end.sums == "log rows" or len(end.low) < 2:
        return
    own = scene.own or end
    what = "probabilities" if end.sums == "rows" else "numbers whose exponentials do not sum to 1"
    patch = together(end_with(scene.setup, own), with_loss(nn.CrossEntropyLoss(), scene.setup))
    yield found(
        "logits-for-probabilities",
        f"NLLLoss takes logarithms of probabilities, and gets {what}: it can fall without end, or not "
        "at all.",
        layer=end.layer, high=float(end.high.max()), patch=patch,
    )  # fmt: skip


def _of_probabilities(scene: Scene, end: Ending, t: Targets) -> Iterator[Finding]:
    """Binary cross-entropy of probabilities."""
    own = scene.own or end
    if _are_numbers(t):
        yield from _of_numbers(scene, _within_unit(end), t)
        return
    if _in_unit(end):
        return
    patch = end_with(scene.setup, own, nn.Sigmoid())
    if _is_rectified(end) and float(end.high.max()) > 1 + IN_UNIT:
        yield _rectified(scene, end, patch)
        return
    yield found(
        "logits-for-probabilities",
        f"Binary cross-entropy takes probabilities; the output reaches from {_bound(end.low.min())} to "
        f"{_bound(end.high.max())}.",
        layer=end.layer, low=float(end.low.min()), high=float(end.high.max()), patch=patch,
    )  # fmt: skip


def _of_logits(scene: Scene, end: Ending, t: Targets) -> Iterator[Finding]:
    """Binary cross-entropy of logits."""
    own = scene.own or end
    if _are_numbers(t):
        yield from _of_numbers(scene, _within_unit(end), t)
        return
    if end.sums == "rows" or _in_unit(end):
        own_unit = own.sums == "rows" or _in_unit(own)
        patch = (
            with_loss(nn.BCELoss(), scene.setup)
            if own_unit
            else with_loss(nn.BCEWithLogitsLoss(), scene.setup)
        )
        floor = float(_binary_floor(t.values.cpu().clamp(0, 1), end).mean())
        yield found(
            "probabilities-into-logits",
            "The loss takes logits and gets numbers from 0 to 1, of which it makes a sigmoid again: it "
            f"cannot fall below {floor:.3g} (a guess has about 0.693).",
            layer=end.layer, floor=floor, patch=patch,
        )  # fmt: skip
        return
    if t.n_columns != len(end.low):
        return
    values = t.values.cpu().clamp(0, 1)
    base = values.mean(0).clamp(1e-6, 1 - 1e-6)
    guess = float(-(base * base.log() + (1 - base) * (1 - base).log()).mean())
    floor = float(_binary_floor(values, end).mean())
    if floor <= LOST * max(guess, 1e-9):
        return
    patch = end_with(scene.setup, own)
    if _is_rectified(end):
        yield _rectified(scene, end, patch)
    else:
        yield found(
            "bounded-logits",
            f"Outputs are between {_bound(end.low.min())} and {_bound(end.high.max())}; of such, the loss "
            f"is at least {floor:.3g} (a guess has {guess:.3g}).",
            layer=end.layer, floor=floor, guess=guess, patch=patch,
        )  # fmt: skip


def _are_numbers(t: Targets) -> bool:
    """Targets that are measured numbers, beyond what a probability can be."""
    is_code = t.are_codes or (t.n_columns == 1 and len(t.distinct) == 2)
    return (t.low < -IN_UNIT or t.high > 1 + IN_UNIT) and not is_code


def _within_unit(end: Ending) -> Ending:
    """The ending as the likelihood of two classes takes it: as a probability."""
    return replace(end, low=end.low.clamp(0, 1), high=end.high.clamp(0, 1)) if end.sums != "rows" else end


def _binary_floor(values: Tensor, end: Ending) -> Tensor:
    """The least binary cross-entropy of logits within the ending's bounds, less that without bounds."""
    best = torch.logit(values, eps=1e-9).clamp(end.low.double(), end.high.double())
    free = torch.logit(values, eps=1e-9)
    loss = nn.functional.binary_cross_entropy_with_logits
    return loss(best, values, reduction="none") - loss(free, values, reduction="none")


def _rectified(scene: Scene, end: Ending, patch: Patch) -> Finding:
    return found(
        "rectified-logits",
        f"The output of layer {end.layer!r} is cut off below {_bound(end.low.min())}: there it has no "
        f"gradient ({end.flat:.0%} of ordinary numbers), and {_loss_name(scene)} needs both signs.",
        layer=end.layer, flat=end.flat, low=float(end.low.min()), patch=patch,
    )  # fmt: skip


def _is_rectified(end: Ending) -> bool:
    one_sided = math.isfinite(float(end.low.min())) and float(end.high.max()) == math.inf
    return one_sided and (end.flat > FLAT or float(end.low.min()) >= -IN_UNIT)


def _in_unit(end: Ending) -> bool:
    return float(end.low.min()) >= -IN_UNIT and float(end.high.max()) <= 1 + IN_UNIT


def _classes(t: Targets) -> str:
    n = len(t.distinct)
    return f"{n} classes" if n > 1 else "several columns" if t.n_columns > 1 else "numbers"


def _layer(scene: Scene) -> str | None:
    return None if scene.own is None else scene.own.layer


def _loss_name(scene: Scene) -> str:
    loss = scene.setup.loss
    name = type(loss).__name__ if isinstance(loss, nn.Module) else getattr(loss, "__name__", "the loss")
    return "The loss" if name in ("<lambda>", "the loss") else name


REACH: dict[str, Callable[[Scene, Ending, Targets], Iterator[Finding]]] = {
    "squared": _of_numbers,
    "absolute": _of_numbers,
    "poisson": _of_numbers,
    "ce": _of_classes,
    "nll": _of_log_probabilities,
    "bce": _of_probabilities,
    "bce_logits": _of_logits,
}
