"""`doctor`: what is wrong with a network, its loss, data and optimiser before it is trained."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from multilayer.diagnosis import contracts, layers, parameters, refusals, rehearsal
from multilayer.diagnosis.finding import Finding, Findings, Patch, check_codes, found, with_subject
from multilayer.diagnosis.parameters import FirstStep
from multilayer.diagnosis.scene import Scene
from multilayer.diagnosis.setup import Setup
from multilayer.errors import ConfigError, DataError
from multilayer.training.autograd import is_torchs
from multilayer.training.losses import LossLike, make_loss
from multilayer.training.random_state import RandomState
from multilayer.training.settings import check_whole
from multilayer.training.user_arrays import Inputs, as_inputs, as_parts, each, parts_of

MOST_CAUSES = 6
Check = Callable[[Scene], Iterator[Finding]]
# Of the first step, in this order: what stands earlier is the likelier cause of what stands later.
CONTRACTS: tuple[Check, ...] = (
    refusals.values,
    contracts.swap,
    contracts.reach,
    contracts.labels,
    parameters.held_by_optimizer,
    parameters.modes,
    parameters.frozen,
)
AFTER_A_STEP: tuple[Callable[[Scene, FirstStep], Iterator[Finding]], ...] = (
    parameters.gradients,
    parameters.equal_units,
    parameters.dropped,
    layers.dead_units,
    layers.fading_gradients,
)
WITHOUT_COPIES = (*CONTRACTS, layers.relu_before_norm)  # what changes nothing
OF_LAYERS: tuple[Check, ...] = (layers.relu_before_norm, layers.straight_lines)


def doctor(
    net: Any,
    x: Any,
    y: Any = None,
    *,
    loss: LossLike,
    optimizer: Any = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    rehearse: bool = True,
    verify: bool = False,
    ignore: Iterable[str] = (),
) -> Findings:
    """Say what is wrong with a training run before it begins: cause, numbers, and the change that mends it.

    First the contracts of the first step: what the network can say at all against what the loss expects and
    the targets are, shapes, which parameters train, modes, the first gradients. Then short rehearsals on
    copies: as it is, and with inputs scaled, another rate, other activations or more steps; a fault of these
    is named only if the changed twin learns visibly more on rows that neither has seen. Nothing of yours
    changes, neither weights nor modes nor any generator.

    Args:
        net: the network, in the mode in which it is to train.
        x: inputs (n_rows, ...): an array, a tensor, a frame; a tuple or dict of several, as in `train`.
            Tensors are used as they are, as your own loop would use them; others are cast to the type of the
            network's weights.
        y: targets (n_rows, ...), or None for a loss of the output alone.
        loss: as in `train`: a name, a torch.nn loss, or a callable of output and target.
        optimizer: an optimiser of the network, or a maker of one; None is Adam at 1e-3.
        epochs: passes over the rows that you mean to train; without them, nothing is said of their number.
        batch_size: rows a step; None is all rows.
        rehearse: train copies for up to some hundred steps each (seconds, for small networks).
        verify: train the mended twin of each finding as well; `Finding.gain` says what it came to.
        ignore: codes that are not to be looked for.

    Returns:
        `Findings`, worst first: each with its evidence, and a patch that `apply` makes on a copy.

    Raises:
        ConfigError: a setting, code or loss is unknown.
        DataError: x or y hold text, no rows, or different numbers of rows.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(dim=1))
    >>> x, y = torch.randn(90, 4), torch.arange(90) % 3
    >>> findings = doctor(net, x, y, loss=nn.CrossEntropyLoss(), rehearse=False)
    >>> print(findings[0])
    error: probabilities where the loss expects logits [probabilities-into-logits]
      Cross-entropy takes logits and gets a softmax: of probabilities, its least value is 0.551 (a guess
      has 1.1). The loss squashes them a second time: it cannot come near its minimum, and gradients
      shrink.
      Change:
          net[3] = nn.Identity()  # was Softmax(dim=1)
    >>> mended = findings.apply()
    >>> doctor(mended.net, x, y, loss=mended.loss, rehearse=False)
    Nothing found.
    """
    codes = check_codes(ignore)
    setup = make_setup(net, x, y, loss, optimizer, epochs, batch_size)
    findings = [one for one in examine(setup, rehearses=rehearse) if one.code not in codes]
    made = Findings(with_subject(findings, setup), setup)
    return verified(made) if verify else made


def make_setup(
    net: Any, x: Any, y: Any, loss: LossLike, optimizer: Any, epochs: int | None, batch_size: int | None
) -> Setup:
    """What was given to `doctor`, checked.

    Raises:
        ConfigError, DataError: as `doctor` says.
    """
    if not isinstance(net, nn.Module):
        raise ConfigError(f"doctor needs an nn.Module; got {type(net).__name__}.")
    for name, value, least in (("epochs", epochs, 0), ("batch_size", batch_size, 1)):
        if value is not None:
            check_whole(name, value, least=least)
    inputs = _as_they_are(x) if _all_tensors(x) else as_inputs(net, x)[0]
    target: Any = None if y is None else _as_they_are(y) if _all_tensors(y) else _target(y)
    n_rows = {len(part) for part in [*parts_of(inputs), *parts_of(target)]}
    if len(n_rows) != 1:
        raise DataError(f"x and y must have as many rows; got {', '.join(map(str, sorted(n_rows)))}.")
    made = make_loss(loss, has_target=target is not None, has_weight=False, n_targets=len(parts_of(target)))
    return Setup(net, inputs, target, made.function, _optimizer(optimizer, net), epochs, batch_size)


def _all_tensors(values: Any) -> bool:
    parts = values.values() if isinstance(values, dict) else values if isinstance(values, tuple) else [values]
    return bool(parts) and all(isinstance(part, Tensor) for part in parts)


def _as_they_are(values: Any) -> Inputs:
    given: Inputs = each(lambda part: part.detach(), values)
    if any(part.ndim == 0 or not len(part) for part in parts_of(given)):
        raise DataError("x and y must have at least one row.")
    return given


def _target(y: Any) -> Any:
    """Whole numbers as int64, others in PyTorch's type of floats."""
    dtype = torch.get_default_dtype()
    return each(lambda part: part.to(dtype) if part.is_floating_point() else part.long(), as_parts(y, "y"))


def _optimizer(optimizer: Any, net: nn.Module) -> torch.optim.Optimizer:
    trainable = [p for p in net.parameters() if p.requires_grad] or [nn.Parameter(torch.zeros(0))]
    made = torch.optim.Adam(trainable, lr=1e-3) if optimizer is None else optimizer
    if callable(made) and not isinstance(made, torch.optim.Optimizer):
        made = made(trainable)
    if not isinstance(made, torch.optim.Optimizer):
        raise ConfigError(
            "optimizer must be a torch.optim.Optimizer, or a maker of one such as torch.optim.Adam; "
            f"got {type(made).__name__}."
        )
    return made


def examine(setup: Setup, *, rehearses: bool) -> list[Finding]:
    """All findings about a setup, in the order in which they were made."""
    copied = _copy_of(setup)
    device = parts_of(setup.x)[0].device
    with RandomState(0, device, of_all=not is_torchs(setup.net)).in_place(), torch.inference_mode(False):
        if copied is None:
            return [one for check in WITHOUT_COPIES for one in check(Scene.of(setup))]
        return _examined(copied, rehearses=rehearses)


def _examined(setup: Setup, *, rehearses: bool) -> list[Finding]:
    if setup.epochs == 0:
        return [
            found(
                "never-trained", "The run has 0 epochs.", epochs=0, patch=Patch("epochs = 10", _with_epochs)
            ),
            *first_step(setup),
        ]
    findings, mended = root_causes(setup)
    if rehearses and mended is not None:
        known = {one.code for one in findings if one.severity == "error"}
        more = [one for one in rehearsal.rehearse(Scene.of(mended)) if one.code not in known]
        shown = {one.code for one in more}
        findings = [one for one in findings if one.code not in shown] + more
    return findings


def root_causes(setup: Setup) -> tuple[list[Finding], Setup | None]:
    """What the first step says, without what is gone once the error before it is mended.

    Also gives the setup with the errors mended; None where one of them cannot be.
    """
    errors: list[Finding] = []
    findings = first_step(setup)
    for _ in range(MOST_CAUSES):
        known = {(one.code, one.layer, one.group) for one in errors}
        fresh = [one for one in findings if (one.code, one.layer, one.group) not in known]
        error = next((one for one in fresh if one.severity == "error"), None)
        if error is None:
            return [*errors, *fresh], setup
        errors.append(error)
        if error.patch is None or error.patch.mend is None:
            return [*errors, *(one for one in fresh if one is not error)], None
        setup = error.patch.mend(setup.copied())
        findings = first_step(setup)
    return [*errors, *findings], None


def _with_epochs(setup: Setup) -> Setup:
    """So many that a small network gets some thousand updates."""
    a_pass = -(-setup.n_rows // setup.rows_a_step)
    return replace(setup, epochs=max(10, min(1000, 2000 // a_pass)))


def _copy_of(setup: Setup) -> Setup | None:
    """A copy, so that nothing of the user's is touched; None where a part cannot be copied."""
    try:
        return setup.copied()
    except ConfigError:
        return None


def first_step(setup: Setup) -> list[Finding]:
    """What the contracts of the first step say."""
    scene = Scene.of(setup)
    refused = list(refusals.network_refuses(scene))
    if refused:
        values = list(refusals.values(scene))
        return [*values, *refused, *parameters.held_by_optimizer(scene), *parameters.modes(scene)]
    findings = [one for check in CONTRACTS for one in check(scene)]
    if not any(one.severity == "error" for one in findings):
        findings += refusals.loss_refuses(scene)
    if not any(one.severity == "error" for one in findings):
        step = FirstStep.of(setup)
        findings += [one for check_step in AFTER_A_STEP for one in check_step(scene, step)]
    return _once([*findings, *(one for check in OF_LAYERS for one in check(scene))])


def _once(findings: Iterable[Finding]) -> list[Finding]:
    """The first of each code and place."""
    seen: dict[tuple[str, str | None, int | None], Finding] = {}
    for one in findings:
        seen.setdefault((one.code, one.layer, one.group), one)
    return list(seen.values())


def verified(findings: Findings) -> Findings:
    """The findings, with what their mended twins came to in at most 4,000 steps."""
    setup = findings.subject
    judged = []
    for one in findings:
        if one.patch is None or one.patch.mend is None or one.severity == "note":
            judged.append(one)
            continue
        pair = rehearsal.compare(setup, one.patch.mend(setup.copied()))
        judged.append(one if pair is None else replace(one, gain=pair))
    return Findings(judged, setup)
