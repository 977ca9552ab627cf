"""`watch`: what goes wrong in a training loop of one's own, seen by hooks while it runs."""

import copy
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from multilayer.diagnosis import contracts, layers, parameters
from multilayer.diagnosis.codes import CODES, Severity
from multilayer.diagnosis.ending import Call
from multilayer.diagnosis.finding import Finding, Findings, Patch, check_codes, found
from multilayer.diagnosis.loop_signals import Measured, measure
from multilayer.diagnosis.loss_core import CORES
from multilayer.diagnosis.patches import with_all_parameters
from multilayer.diagnosis.refusals import is_norm
from multilayer.diagnosis.scene import Scene
from multilayer.diagnosis.setup import Setup
from multilayer.errors import ConfigError
from multilayer.training.autograd import REFUSALS
from multilayer.training.random_state import RandomState

logger = logging.getLogger("multilayer")

SPIED_STEPS = 2  # in which the calls of PyTorch's functions are looked at
SAMPLED = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # steps at which layers are measured, and then each 500th
EVERY = 500
# All of the first steps are looked at with care, and then some in a row of each so many; of the others only
# whether numbers are finite, and the network's mode: some hundredths of a small network's step.
LOOKS_AT_ALL, LOOKS, LOOKS_EACH = 64, 3, 48
TWICE = 2  # what might be meant is a fault when it happens so often in a row


def watch(
    net: Any,
    optimizer: Any,
    loss: Any = None,
    *,
    mend: bool = False,
    ignore: Iterable[str] = (),
) -> "Watch":
    """Watch a training loop of your own, unchanged: `with ml.watch(net, optimizer, loss):` around it.

    Hooks see each forward pass, backward pass and step: gradients that are not cleared, or cleared before
    they are used, steps in the wrong order, a forgotten train(), shapes that broadcast, layers without a
    gradient, units that die, gradients that fade or explode, updates too small or too large, and the layer,
    step and row in which the first NaN arose. Each is said once, by the logger "multilayer", when it happens;
    all are in `findings`. Layers are measured in some steps only. Nothing is changed, but for `mend`.

    Args:
        net: the network that the loop trains.
        optimizer: the optimiser that the loop steps.
        loss: the loss that the loop calls, if it is a module: its values then count as well.
        mend: also put right what can be while the loop runs: gradients are cleared for each update, and the
            optimiser gets the parameters that it lacks.
        ignore: codes of findings that are not to be looked for.

    Returns:
        a `Watch`, for the `with` statement.

    Raises:
        ConfigError: net is no module, optimizer no optimiser, or a code is unknown.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> x = torch.randn(32, 2)
    >>> with watch(net, optimizer) as watching:
    ...     for _ in range(3):
    ...         loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
    ...         loss.backward()
    ...         optimizer.step()
    >>> watching.findings.codes
    ['gradients-not-cleared']
    """
    if not isinstance(net, nn.Module):
        raise ConfigError(f"watch needs an nn.Module; got {type(net).__name__}.")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ConfigError(
            f"watch needs the torch.optim.Optimizer of the loop; got {type(optimizer).__name__}."
        )
    return Watch(net, optimizer, loss, mend=mend, ignore=check_codes(ignore))


@dataclass
class _Events:
    """What has happened since the last step, and how often something looked wrong in a row.

    forwards, backwards: passes in which gradients are taken
    last:      "forward" or "backward", whichever came later
    training:  whether the network was in train() at the first backward pass
    in_step:   whether the optimiser is stepping
    glances:   whether this step is only glanced at; looked: steps in a row that were looked at with care
    """

    steps: int = 0
    forwards: int = 0
    backwards: int = 0
    last: str = ""
    all_backwards: int = 0
    all_forwards: int = 0
    training: bool | None = None
    in_step: bool = False
    glances: bool = False
    looked: int = 0
    in_a_row: dict[str, int] = field(default_factory=dict)

    def again(self, what: str, *, wrong: bool) -> bool:
        """Whether it has been wrong often enough in a row."""
        self.in_a_row[what] = self.in_a_row.get(what, 0) + 1 if wrong else 0
        return self.in_a_row[what] >= TWICE


class Watch:
    """A loop that is being watched. `multilayer.watch` makes it; `findings` holds what was seen so far."""

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Any,
        *,
        mend: bool,
        ignore: tuple[str, ...],
    ) -> None:
        self.net, self.optimizer, self.loss, self.mend = net, optimizer, loss, mend
        self.ignore = set(ignore)
        self._found: dict[tuple[str, str | None], Finding] = {}
        self._events = _Events()
        self._handles: list[Any] = []
        self._leaf_handles: list[Any] = []
        self._spy: _Spy | None = None
        self._calls: list[Call] = []
        self._inputs: tuple[Any, ...] = ()
        self._after_step: list[tuple[Tensor, Tensor, int]] = []
        self._losses: list[Tensor] = []
        self._measured: list[Measured] = []
        self._before: dict[str, Tensor] = {}
        self._sampled = False
        self._bounded: list[nn.Module] = []

    @property
    def findings(self) -> Findings:
        """What was seen so far, worst first."""
        return Findings(self._found.values())

    def __repr__(self) -> str:
        return repr(self.findings)

    def __enter__(self) -> "Watch":
        if self._handles:
            raise ConfigError("this Watch is in use already; make one for each loop.")
        setup = Setup(self.net, torch.zeros(1, 1), None, torch.mean, self.optimizer)
        for one in parameters.not_held(setup):
            self._say(one)
            if self.mend and one.code == "parameters-not-in-optimizer":
                change = with_all_parameters(setup).mend
                assert change is not None
                change(setup)
        self._handles = [
            self.net.register_forward_pre_hook(self._before_forward),
            self.net.register_forward_hook(self._after_forward),
            self.optimizer.register_step_pre_hook(self._before_step),
            self.optimizer.register_step_post_hook(self._behind_step),
        ]
        if isinstance(self.loss, nn.Module):
            self._handles.append(self.loss.register_forward_hook(self._after_loss))
        self._sample(True)
        self._spy = _Spy(self)
        self._spy.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._stop_spying()
        for handle in [*self._handles, *self._leaf_handles]:
            handle.remove()
        self._handles, self._leaf_handles = [], []
        if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
            self._say(found("one-row-batches", "BatchNorm got a batch of a single row.", patch=DROP_LAST))
        if kind is None:
            self._at_end()

    # Passes and steps, in the order of a loop

    def _before_forward(self, net: nn.Module, args: tuple[Any, ...]) -> None:
        self._inputs = args

    def _after_forward(self, net: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        events = self._events
        if events.glances and type(out) is Tensor:
            if out.requires_grad:
                out.register_hook(self._glance)
            return
        first = next((part for part in _tensors(out)), None)
        if first is None or not torch.is_grad_enabled():
            return
        if not first.requires_grad:
            if self.net.training and events.steps == 0:
                self._say(found("detached", "The network's output has no gradient.", patch=NO_DETACH))
            return
        events.forwards += 1
        events.all_forwards += 1
        events.last = "forward"
        first.register_hook(self._at_backward)
        if self._sampled:
            self._look_at_layers()

    def _glance(self, gradient: Tensor) -> None:
        """Of most steps, later on: is it finite, and is the network in its mode?"""
        if not math.isfinite(float(gradient.sum())) and not bool(torch.isfinite(gradient).all()):
            self._trace_not_finite()
        if self.net.training != self._events.training:
            self._look_at_modes()

    def _after_loss(self, loss: nn.Module, args: tuple[Any, ...], value: Any) -> None:
        if self._events.glances:
            return
        if not isinstance(value, Tensor) or value.numel() != 1 or not torch.is_grad_enabled():
            return
        if not value.requires_grad and self.net.training:
            self._say(
                found("detached", "The loss does not depend on the network's weights.", patch=NO_DETACH)
            )
            return
        self._losses.append(value.detach())
        if len(self._losses) == WINDOW:
            self._look_at_losses()

    def _at_backward(self, gradient: Tensor) -> None:
        events = self._events
        if events.all_backwards == 0:
            events.training = self.net.training
        self._look_at_modes()
        self._look_at_clearing()
        events.backwards += 1
        events.all_backwards += 1
        events.last = "backward"
        if not math.isfinite(float(gradient.sum())) and not bool(torch.isfinite(gradient).all()):
            self._trace_not_finite()

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        events = self._events
        if events.glances:
            return
        events.in_step = True
        self._look_at_order()
        if events.steps < SPIED_STEPS:
            self._look_at_gradients()
        if self._sampled:
            self._before = {
                name: p.detach().clone() for name, p in self.net.named_parameters() if p.requires_grad
            }

    def _behind_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        events = self._events
        events.steps += 1
        if events.glances:
            if (
                events.steps % LOOKS_EACH == 0
                or events.steps + 1 in SAMPLED
                or (events.steps + 1) % EVERY == 0
            ):
                self._look_again()
            return
        events.in_step = False
        if self._sampled:
            self._look_at_updates()
        events.forwards = events.backwards = 0
        events.last = ""
        self._after_step = [(p, p.grad, p.grad._version) for p in self._sentinels()]  # type: ignore[misc, union-attr]
        step = events.steps
        if step == SPIED_STEPS:
            self._stop_spying()
        self._sample(step + 1 in SAMPLED or (step + 1) % EVERY == 0)
        events.looked += 1
        events.glances = step >= LOOKS_AT_ALL and events.looked >= LOOKS and not self._sampled

    def _look_again(self) -> None:
        """Look at the next steps with care."""
        events = self._events
        events.glances, events.looked = False, 0
        events.forwards = events.backwards = 0
        events.last, self._after_step = "", []
        step = events.steps
        self._sample(step + 1 in SAMPLED or (step + 1) % EVERY == 0)

    def _sentinels(self) -> Iterator[nn.Parameter]:
        """A first and a last parameter with a gradient: what is done to gradients is done to all."""
        with_gradient = [
            p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        yield from dict.fromkeys([*with_gradient[:1], *with_gradient[-1:]])

    # What is looked at

    def _look_at_modes(self) -> None:
        events = self._events
        if self.net.training or not self._has_modes():
            return
        if events.training:
            message = f"The network is in eval() in step {events.steps + 1}, and was in train() at first."
            self._say(found("eval-not-restored", message, step=events.steps + 1, patch=Patch("net.train()")))
        elif events.all_backwards == 0:
            fresh = parameters.has_fresh_statistics(self.net)
            message = "The network is in eval()" + (
                ", with statistics that it never learnt." if fresh else "."
            )
            severity: Severity = "error" if fresh else "warning"
            self._say(found("eval-mode", message, severity=severity, patch=Patch("net.train()")))

    def _has_modes(self) -> bool:
        drops = nn.modules.dropout._DropoutNd
        return any(is_norm(m) or (isinstance(m, drops) and m.p > 0) for m in self.net.modules())

    def _look_at_clearing(self) -> None:
        """Before gradients of a backward pass are added to what is there."""
        events = self._events
        if events.in_step:
            return  # a closure, which clears them itself
        if events.backwards == 0:
            stale = [
                (p, kept)
                for p, kept, version in self._after_step
                if p.grad is kept and kept._version == version
            ]
            if stale and any(bool(kept.any()) for _, kept in stale):
                step = events.steps + 1
                message = (
                    f"At the backward pass of step {step} the gradients of step {step - 1} are still there."
                )
                self._say(found("gradients-not-cleared", message, step=step, patch=CLEAR))
                if self.mend:
                    self._clear()
            return
        cleared = all(p.grad is None or not bool(p.grad.any()) for p, _, _ in self._after_step[:1])
        if self._after_step and events.again("cleared", wrong=cleared):
            message = (
                f"Gradients of {events.backwards} backward passes were cleared before the optimiser stepped "
                f"(step {events.steps + 1})."
            )
            self._say(found("gradients-cleared-early", message, step=events.steps + 1, patch=CLEAR_ONCE))

    def _clear(self) -> None:
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _look_at_order(self) -> None:
        """Before a step."""
        events = self._events
        step = events.steps + 1
        if any(code in UNHELD for code, _ in self._found):
            return  # what is not held has no gradients to speak of
        held = [p for group in self.optimizer.param_groups for p in group["params"] if p.requires_grad]
        if events.all_backwards == 0 and not any(p.grad is not None for p in held):
            if events.all_forwards:
                message = "The optimiser stepped before the first backward pass."
                self._say(found("step-before-backward", message, step=step, patch=ORDER))
            return
        early = events.last == "forward"
        if events.again("early", wrong=early) and early:
            message = (
                f"In step {step} the optimiser stepped after the forward pass and before its backward pass."
            )
            self._say(found("step-before-backward", message, step=step, patch=ORDER))
        elif events.last == "backward" and step <= SAMPLED[5]:
            empty = all(p.grad is None or not bool(p.grad.any()) for p in held[:1] + held[-1:])
            empty = empty and all(p.grad is None or not bool(p.grad.any()) for p in held)
            if empty and (all(p.grad is None for p in held) or events.again("empty", wrong=True)):
                message = f"In step {step} all gradients are empty, though a backward pass came before."
                self._say(found("gradients-cleared-early", message, step=step, patch=ORDER))

    def _look_at_gradients(self) -> None:
        """Which parameters the first backward passes did not reach."""
        if self._events.all_backwards == 0:
            return
        named = [(name, p) for name, p in self.net.named_parameters() if p.requires_grad]
        without = [name for name, p in named if p.grad is None]
        if not without or len(without) == len(named):
            return
        if not self._events.again("no gradient", wrong=True):
            return
        layer = without[0].rpartition(".")[0]
        ran = any(one.name == layer for one in self._calls)
        self._say(
            found(
                "no-gradient",
                f"{len(without)} of {len(named)} parameters get no gradient, the first {without[0]}"
                + (", though the layer ran." if ran else ": the layer did not run."),
                severity="error" if ran else "warning",
                layer=layer,
                patch=NO_DETACH
                if ran
                else Patch("# use the layer in forward(), or take it out of the network"),
            )
        )

    def _look_at_layers(self) -> None:
        """After the forward pass of a step in which layers are measured."""
        if self._events.steps == 0:
            for one in layers.norm_after_relu(self._calls):
                self._say(one)
        for one in measure(self._calls):
            if one is not None and self._events.again(f"{one.code} {one.layer}", wrong=True):
                self._say(one)

    def _look_at_updates(self) -> None:
        """After a step: how far each matrix of weights moved, and how large its gradient was."""
        if any(code in UNHELD for code, _ in self._found):
            return
        measured = Measured.of(self._events.steps, dict(self.net.named_parameters()), self._before)
        self._before = {}
        if measured is None:
            return
        self._measured.append(measured)
        for one in measured.findings(self._measured):
            if self._events.again(one.code, wrong=True):
                self._say(one)

    def _look_at_losses(self) -> None:
        """After so many losses: whether they rise."""
        values = torch.stack([torch.as_tensor(loss) for loss in self._losses]).double()
        self._losses = list(values[:FIRST])
        first, last = values[:FIRST].median(), values[-FIRST * 2 :].median()
        rises = bool(torch.isfinite(values).all()) and first > 0 and last > 2 * first
        if rises and not any(code.startswith("gradients") for code, _ in self._found):
            lr = self.optimizer.param_groups[0].get("lr", math.nan)
            message = (
                f"The loss rose from {float(first):.3g} to {float(last):.3g} at a learning rate of {lr:g}."
            )
            self._say(found("rate-too-high", message, severity="warning", lr=lr, patch=SMALLER))

    def _trace_not_finite(self) -> None:
        """Find the layer and the row in which the first NaN or infinity arose."""
        step = self._events.steps + 1
        if any(code == "became-not-finite" for code, _ in self._found):
            return
        for name, parameter in self.net.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                layer = name.rpartition(".")[0]
                message = f"Since the update before step {step}, {name} is not finite."
                self._say(found("became-not-finite", message, layer=layer, step=step, patch=CLIP))
                return
        for place_, part in enumerate(_tensors(self._inputs)):
            row = _first_row(part)
            if row is not None:
                message = (
                    f"Input {place_} of the batch of step {step} is not finite in row {row} of the batch."
                )
                self._say(found("became-not-finite", message, step=step, row=row, patch=FINITE))
                return
        where, row = self._where_not_finite()
        at = "the loss or its gradient" if where is None else f"the output of layer {where!r}"
        of_row = "" if row is None else f", in row {row} of the batch"
        message = f"In step {step}, {at} is the first that is not finite{of_row}."
        self._say(found("became-not-finite", message, layer=where, step=step, row=row, patch=CLIP))

    def _where_not_finite(self) -> tuple[str | None, int | None]:
        """By the batch of this step once more, through a copy."""
        bad: list[tuple[str, int | None]] = []

        def note(name: str, out: Any) -> None:
            for part in _tensors(out):
                row = _first_row(part)
                if row is not None:
                    bad.append((name, row))

        try:
            net = copy.deepcopy(self.net)  # what the user's backward pass still needs must not change
            for name, module in net.named_modules():
                module._forward_hooks.clear()
                module._forward_pre_hooks.clear()
                if not list(module.children()):
                    module.register_forward_hook(lambda m, _, out, name=name: note(name, out))
            with torch.no_grad(), RandomState(0).in_place():
                net(*self._inputs)
        except (*REFUSALS, AttributeError):
            return None, None
        return bad[0] if bad else (None, None)

    def _at_end(self) -> None:
        events = self._events
        if events.steps == 0 and events.all_backwards >= 1:
            n = events.all_backwards
            self._say(found("no-step", f"{n} backward passes, and no step.", patch=Patch("optimizer.step()")))
        elif events.steps == 0 and events.all_forwards >= 1:
            message = f"{events.all_forwards} forward passes, no backward pass and no step."
            self._say(found("never-trained", message, patch=ORDER))
        elif events.steps >= 1 and events.all_backwards == 0 and events.all_forwards:
            self._say(
                found(
                    "detached", f"{events.steps} steps, and no gradient reached the network.", patch=NO_DETACH
                )
            )

    # Sampling and saying

    def _sample(self, wanted: bool) -> None:
        """See the layers' outputs in the next step, or no longer."""
        if wanted == self._sampled and not wanted:
            return
        for handle in self._leaf_handles:
            handle.remove()
        self._leaf_handles, self._calls, self._sampled = [], [], wanted
        if wanted:
            calls = self._calls
            self._leaf_handles = [
                module.register_forward_hook(
                    lambda m, _, out, name=name: (
                        calls.append(Call(name, m, _detached(out))) if m.training else None
                    )
                )
                for name, module in self.net.named_modules()
                if not list(module.children())
            ]

    def _stop_spying(self) -> None:
        spy, self._spy = self._spy, None
        if spy is None:
            return
        spy.stop()
        if spy.seen is not None:
            self._look_at_contracts(spy.seen)

    def _look_at_contracts(self, seen: tuple[Any, Any, Tensor]) -> None:
        """The loss, outputs and targets of the first step, by the same checks as `doctor`'s."""
        function, inputs, target = seen
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or len(inputs[0]) != len(target):
            return
        setup = Setup(self.net, inputs[0].detach(), target.detach(), function, self.optimizer)
        try:
            with RandomState(0).in_place(), torch.inference_mode(False):
                scene = Scene.of(setup.copied())
                if scene.refusal is not None:
                    return
                for check in (contracts.reach, contracts.labels, parameters.frozen):
                    for one in check(scene):
                        if one.code != "surplus-outputs":  # a batch need not have all classes
                            self._say(one)
        except (*REFUSALS, AttributeError):  # what cannot be copied is not examined
            return

    def _say(self, finding: Finding) -> None:
        """Keep a finding, and say it the first time."""
        key = (finding.code, finding.layer)
        if finding.code in self.ignore or key in self._found:
            return
        if any(code == finding.code for code, _ in self._found) and finding.severity != "error":
            return
        self._found[key] = finding
        if finding.severity != "note":
            logger.warning("%s: %s %s", CODES[finding.code].title, finding.message, _advice(finding))


class _Spy(TorchFunctionMode):
    """Sees which loss the loop calls, with what, and whether two shapes broadcast, in the first steps."""

    def __init__(self, watching: Watch) -> None:
        super().__init__()
        self.watching = watching
        self.seen: tuple[Any, Any, Tensor] | None = None
        self.is_on = True
        self.squashed: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.is_on:
            return func(*args, **kwargs)
        if func in CORES and self.seen is None and torch.is_grad_enabled():
            given = [*args, *(kwargs[key] for key in ("input", "target") if key in kwargs)][:2]
            if len(given) == 2 and all(isinstance(part, Tensor) for part in given):
                options = {key: value for key, value in kwargs.items() if key not in ("input", "target")}
                function = _Function(func, args[2:], options)
                self.seen = (function, self.watching._inputs, given[1])
            if given and id(given[0]) in self.squashed and CORES[func] in ("ce", "bce_logits"):
                self.watching._say(found("probabilities-into-logits", SQUASHED, patch=Patch(UNSQUASHED)))
        result = func(*args, **kwargs)
        if getattr(func, "__name__", "") in ("sigmoid", "softmax") and isinstance(result, Tensor):
            self.squashed[id(result)] = result  # kept, so that its number stays its own
        if func not in CORES and isinstance(result, Tensor) and result.ndim == 2 and len(args) == 2:
            self._look_at_shapes(args, result)
        return result

    def _look_at_shapes(self, args: Any, result: Tensor) -> None:
        a, b = args
        if not (isinstance(a, Tensor) and isinstance(b, Tensor)) or {a.ndim, b.ndim} != {1, 2}:
            return
        n = a.numel()
        pairs = n > 1 and b.numel() == n and result.numel() == n * n and (a.requires_grad or b.requires_grad)
        if pairs:
            shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
            message = f"Two tensors of shapes {shapes} are combined into {n * n:,} numbers instead of {n:,}."
            self.watching._say(
                found(
                    "target-broadcast",
                    message,
                    pairs=n * n,
                    rows=n,
                    patch=Patch("y = y.reshape(net(x).shape)"),
                )
            )

    def stop(self) -> None:
        """Leave, if nobody else's mode lies above."""
        self.is_on = False
        self.squashed.clear()
        stack = torch.overrides._get_current_function_mode_stack()
        if stack and stack[-1] is self:
            self.__exit__(None, None, None)


@dataclass(frozen=True)
class _Function:
    """A function of PyTorch with its further arguments."""

    function: Callable[..., Any]
    more: tuple[Any, ...]
    options: dict[str, Any]

    def __call__(self, out: Tensor, y: Tensor) -> Any:
        """The loss of outputs and targets."""
        return self.function(out, y, *self.more, **self.options)


UNHELD = ("parameters-not-in-optimizer", "hidden-layers")  # findings that explain the others
WINDOW, FIRST = 64, 8  # losses that are judged at a time, and how many of them stand for the beginning
SQUASHED = "The loss takes logits, and gets what a sigmoid or softmax gave in the loop."
UNSQUASHED = "loss = loss_function(net(x), y)  # without sigmoid or softmax before it"
CLEAR = Patch("optimizer.zero_grad()  # in the loop, before loss.backward()")
CLEAR_ONCE = Patch("optimizer.zero_grad()  # once for each optimizer.step(), not for each batch")
ORDER = Patch("optimizer.zero_grad()\nloss.backward()\noptimizer.step()  # in this order, for each update")
NO_DETACH = Patch("# leave out detach(), item(), argmax(), NumPy and torch.no_grad() on the way to the loss")
DROP_LAST = Patch("DataLoader(..., drop_last=True)  # or batches of at least 2 rows")
SMALLER = Patch("for group in optimizer.param_groups:\n    group['lr'] /= 10")
CLIP = Patch(
    "torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)  # before optimizer.step(), or a lower rate"
)
FINITE = Patch("keep = torch.isfinite(x).all(1)\nx, y = x[keep], y[keep]")


def _advice(finding: Finding) -> str:
    lines = [line for line in finding.fix.splitlines() if line]
    return f"Change: {'; '.join(lines)}" if lines else ""


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        for part in values.values():
            yield from _tensors(part)
    elif isinstance(values, list | tuple):
        for part in values:
            yield from _tensors(part)


def _detached(out: Any) -> Any:
    return out.detach() if isinstance(out, Tensor) else out


def _first_row(values: Tensor) -> int | None:
    """The first row that is not finite."""
    if not values.is_floating_point() or values.ndim == 0:
        return None
    bad = ~torch.isfinite(values.detach().reshape(len(values), -1)).all(1)
    return int(bad.nonzero()[0]) if bool(bad.any()) else None
