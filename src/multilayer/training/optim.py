"""Schedules (functions from the progress of training to a factor on the learning rate), and optimisers."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from multilayer.errors import ConfigError, nearest

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Always the full learning rate.

    >>> constant(0.7)
    1.0
    """
    return 1.0


def linear(progress: float) -> float:
    """From the full rate to zero along a line.

    >>> linear(0.25)
    0.75
    """
    return 1.0 - progress


def cosine(progress: float) -> float:
    """From the full rate to zero along half a cosine.

    Source:  Loshchilov & Hutter 2017, arXiv:1608.03983
    Differs: no restarts

    >>> cosine(0.5)
    0.5
    """
    return 0.5 * (1 + math.cos(math.pi * progress))


def warmup_cosine(progress: float, *, warmup: float = 0.05) -> float:
    """Up to the full rate over the first 5 % of training, then `cosine` over the rest.

    >>> warmup_cosine(0.05), warmup_cosine(1.0)
    (1.0, 0.0)
    """
    return max(progress, 1e-3) / warmup if progress < warmup else cosine((progress - warmup) / (1 - warmup))


def coslog4(progress: float) -> float:
    """Four waves from zero to the full rate and back, each twice as long as the one before.

    Source:  Holzmüller et al. 2024, arXiv:2407.04491

    >>> coslog4(0.0), round(coslog4((2**3.5 - 1) / 15), 6)
    (0.0, 1.0)
    """
    return 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * progress)))


def flat_cos(progress: float) -> float:
    """In full for the first half of training, then to zero along half a cosine.

    Source:  Holzmüller et al. 2024, arXiv:2407.04491

    >>> flat_cos(0.5), flat_cos(0.75), flat_cos(1.0)
    (1.0, 0.5, 0.0)
    """
    return cosine(max(0.0, 2 * progress - 1))


@dataclass(frozen=True)
class Stepped:
    """A scheduler of `torch.optim.lr_scheduler`, and when it steps: after every update, or every epoch."""

    scheduler: LRScheduler
    every: str

    @property
    def wants_loss(self) -> bool:
        """Whether it steps by the validation loss."""
        return isinstance(self.scheduler, ReduceLROnPlateau)


def make_stepped(schedule: Any, optimizer: torch.optim.Optimizer, every: str | None = None) -> Stepped | None:
    """A scheduler of PyTorch, from an instance of this optimiser, or from what makes one of it; else None.

    every: "step" or "epoch"; None is "step" for OneCycleLR and CyclicLR, as PyTorch documents them, and
        "epoch" for all others

    Raises:
        ConfigError: a scheduler of another optimiser; `every` is unknown, or given without a scheduler.

    >>> sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    >>> make_stepped(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10), sgd).every
    'epoch'
    >>> make_stepped("cosine", sgd) is None
    True
    """
    if every not in (None, "step", "epoch"):
        raise ConfigError(f"schedule_every must be 'step' or 'epoch'; got {every!r}.")
    scheduler = _scheduler(schedule, optimizer)
    if scheduler is None:
        if every is not None:
            raise ConfigError(
                "schedule_every says when a scheduler of torch.optim.lr_scheduler steps; schedule is none. "
                "Leave it out: a schedule by name or function goes by progress, from step to step."
            )
        return None
    if scheduler.optimizer is not optimizer:
        raise ConfigError(
            "schedule must be a scheduler of this run's optimizer; it was made for another one. Pass the "
            "optimizer itself as optimizer=, or as schedule= what makes the scheduler: lambda optimizer: "
            "StepLR(optimizer, 10)."
        )
    by_step = isinstance(scheduler, lr_scheduler.OneCycleLR | lr_scheduler.CyclicLR)
    return Stepped(scheduler, every or ("step" if by_step else "epoch"))


def _scheduler(schedule: Any, optimizer: torch.optim.Optimizer) -> LRScheduler | None:
    if isinstance(schedule, LRScheduler):
        return schedule
    if isinstance(schedule, str | Asked) or not callable(schedule):
        return None
    try:
        made = schedule(optimizer)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            "schedule must be a function of progress (0 to 1), or make a scheduler of the optimizer; "
            f"calling it with the optimizer failed: {error}"
        ) from error
    if not isinstance(made, LRScheduler):
        raise ConfigError(
            "schedule must be a function of progress (0 to 1) that gives a factor, or make a scheduler of "
            f"the optimizer; it made {type(made).__name__}."
        )
    return made


class Asked:
    """A function of progress that was asked for its factor at 0 already, and is not asked a second time."""

    def __init__(self, function: Schedule, at_0: float) -> None:
        self.function, self.at_0 = function, [at_0]

    def __call__(self, progress: float) -> float:
        """The factor."""
        return self.at_0.pop() if progress == 0 and self.at_0 else self.function(progress)


def ask(schedule: Any) -> Any:
    """A function of progress that someone passed, once it has answered at 0; what makes schedulers does not.

    >>> ask(lambda progress: 1 - progress)(0.0), ask(lr_scheduler.StepLR) is lr_scheduler.StepLR
    (1.0, True)
    """
    kind = schedule.func if isinstance(schedule, partial) else schedule
    if not callable(schedule) or schedule in SCHEDULES.values() or isinstance(schedule, LRScheduler):
        return schedule
    if isinstance(kind, type) and issubclass(kind, LRScheduler):
        return schedule
    try:
        value = schedule(0.0)
    except (TypeError, AttributeError):  # as of makers: 0.0 is no optimiser
        return schedule
    is_factor = isinstance(value, int | float | np.number) or (isinstance(value, Tensor) and value.ndim == 0)
    return Asked(schedule, float(value)) if is_factor else schedule


def make_schedule(schedule: Any) -> Schedule:
    """The schedule of that name in `SCHEDULES`; a function of progress passes through; None is constant.

    Raises:
        ConfigError: the name is unknown, or what came can not be called.

    >>> make_schedule("cosine")(1.0)
    0.0
    """
    if schedule is None:
        return constant
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            known = ", ".join(sorted(SCHEDULES))
            raise ConfigError(f"unknown schedule {schedule!r}; known: {known}.{nearest(schedule, SCHEDULES)}")
        return SCHEDULES[schedule]
    if not callable(schedule):
        raise ConfigError(
            "schedule must be a name or a function of progress (0 to 1) that gives a factor; "
            f"got {type(schedule).__name__}."
        )
    return schedule


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "coslog4": coslog4,
    "flat_cos": flat_cos,
    "linear": linear,
    "warmup_cosine": warmup_cosine,
}


# What a group of `Muon` that is AdamW's starts from: the defaults of torch.optim.AdamW
ADAMW: dict[str, Any] = {
    "use_muon": False,
    "lr": 1e-3,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.01,
}


# PyTorch wraps this method only to keep its compiler from tracing it, and imports the compiler for that.
_add_param_group = getattr(
    torch.optim.Optimizer.add_param_group, "__wrapped__", torch.optim.Optimizer.add_param_group
)


def hidden_matrices(net: nn.Module) -> list[Tensor]:
    """The matrix of every `nn.Linear` but the last, which is the output's.

    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> hidden_matrices(net)[0] is net[0].weight
    True
    """
    return [module.weight for module in net.modules() if isinstance(module, nn.Linear)][:-1]


class Muon(torch.optim.Optimizer):
    """Muon for weight matrices and AdamW for everything else, in one optimiser.

    B = momentum B + (1 - momentum) G                       G: gradient of the matrix W (d_out, d_in)
    O = orthogonalise(momentum B + (1 - momentum) G)        Nesterov; else of B
    W = (1 - lr weight_decay) W - lr scale O

    scale is sqrt(max(1, d_out / d_in)) where adjust_lr_fn is "original" or None; for "match_rms_adamw" it is
    0.2 sqrt(max(d_out, d_in)), so that learning rates tuned for AdamW can be kept. `for_network` sorts the
    parameters of a network. To sort them by hand, pass groups: Muon trains a group of matrices, AdamW a group
    that says `"use_muon": False`. The latter has lr, betas, eps and weight_decay of its own, by default those
    of `torch.optim.AdamW`.

    Units:   lr of a matrix is in spectral norm for each update ("original", d_out <= d_in): at 0.02, the
    output
             for an input of length 1 moves by at most about 0.02
    Source:  Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; "match_rms_adamw": Liu et al.
             2025, arXiv:2502.16982; AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101
    Differs: Newton-Schulz in the type of the parameters, where `torch.optim.Muon` rounds to bfloat16

    Args:
        params: matrices, or groups of parameters.
        lr: learning rate of matrices.
        weight_decay: decoupled weight decay of matrices.
        momentum: share of the old momentum in the new.
        nesterov: look ahead along the momentum.
        ns_coefficients: a, b, c of the Newton-Schulz step.
        eps: least norm that a gradient is divided by.
        ns_steps: Newton-Schulz steps.
        adjust_lr_fn: scale of the update by the matrix's shape: "original", "match_rms_adamw" or None.

    Raises:
        ConfigError: a setting is out of range, or a parameter for Muon is no matrix.

    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> hidden, rest = [net[0].weight], [net[0].bias, *net[2].parameters()]
    >>> optimizer = Muon([{"params": hidden}, {"params": rest, "use_muon": False, "lr": 1e-3}], lr=0.02)
    >>> [group["lr"] for group in optimizer.param_groups]
    [0.02, 0.001]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        defaults = {
            "use_muon": True,
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    @classmethod
    def for_network(
        cls,
        net: nn.Module,
        *,
        lr: float = 0.02,
        weight_decay: float = 0.0,
        adjust_lr_fn: str | None = None,
        adamw_lr: float = 1e-3,
        adamw_weight_decay: float = 0.0,
        first_layer: bool = True,
    ) -> "Muon":
        """Make a Muon that trains the matrix of every `nn.Linear` except the last.

        AdamW trains everything else: biases, norms, embeddings and the output layer.

        Source:  which parameters, lr and weight_decay: Jordan et al. 2024

        Args:
            net: the network; frozen parameters are left out.
            lr, weight_decay, adjust_lr_fn: settings for the matrices.
            adamw_lr, adamw_weight_decay: settings for the rest.
            first_layer: whether Muon trains the matrix of the first Linear, too.

        >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> [len(group["params"]) for group in Muon.for_network(net, lr=0.05).param_groups]
        [2, 4]
        """
        matrices = set(map(id, hidden_matrices(net)[0 if first_layer else 1 :]))
        trained = [p for p in net.parameters() if p.requires_grad]
        hidden = {"params": [p for p in trained if id(p) in matrices]}
        rest = {
            "params": [p for p in trained if id(p) not in matrices],
            "use_muon": False,
            "lr": adamw_lr,
            "weight_decay": adamw_weight_decay,
        }
        groups = [group for group in (hidden, rest) if group["params"]]
        return cls(groups, lr, weight_decay, adjust_lr_fn=adjust_lr_fn)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; those left out are the optimiser's, or AdamW's."""
        uses_muon = param_group.get("use_muon", True)
        _add_param_group(self, param_group if uses_muon else {**ADAMW, **param_group})
        group = self.param_groups[-1]
        if uses_muon:
            _check_muon(group)
        else:
            for name in self.defaults.keys() - ADAMW.keys():
                del group[name]
        _check_not_negative(group, "lr", "weight_decay", "eps")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As of every optimiser, but without importing PyTorch's compiler: 2 s of a small run."""
        parameters = (p for group in self.param_groups for p in group["params"] if p.grad is not None)
        for parameter in parameters:
            if set_to_none:
                parameter.grad = None
            else:
                parameter.grad = torch.zeros_like(parameter.grad)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = _muon_step if group["use_muon"] else _adamw_step
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, parameter.grad, self.state[parameter], group)
        return loss


def _check_muon(group: dict[str, Any]) -> None:
    for parameter in group["params"]:
        if parameter.ndim != 2:
            raise ConfigError(
                f"Muon trains matrices; got a parameter of shape {tuple(parameter.shape)}. Put it into a "
                'group with "use_muon": False, for AdamW, or let Muon.for_network(net) sort the parameters.'
            )
    _check_not_negative(group, "momentum", "ns_steps")
    lr_scale((1, 1), group["adjust_lr_fn"])


def _check_not_negative(group: dict[str, Any], *names: str) -> None:
    for name in names:
        if not group[name] >= 0:
            raise ConfigError(f"{name} must not be negative; got {group[name]!r}.")


def lr_scale(shape: tuple[int, int], adjust_lr_fn: str | None) -> float:
    """Muon's factor on the learning rate of a matrix of that shape (d_out, d_in).

    Raises:
        ConfigError: adjust_lr_fn is unknown.

    >>> lr_scale((256, 64), "original")
    2.0
    """
    d_out, d_in = shape
    if adjust_lr_fn in (None, "original"):
        return math.sqrt(max(1.0, d_out / d_in))
    if adjust_lr_fn == "match_rms_adamw":
        return 0.2 * math.sqrt(max(d_out, d_in))
    raise ConfigError(f"adjust_lr_fn must be 'original', 'match_rms_adamw' or None; got {adjust_lr_fn!r}.")


def orthogonalise(
    G: Float[Tensor, "rows columns"],
    coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    steps: int = 5,
    eps: float = 1e-7,
) -> Float[Tensor, "rows columns"]:
    """U S V^T becomes nearly U V^T: singular values come out between about 0.7 and 1.2, in any order.

    Source:  Jordan et al. 2024 (NewtonSchulz5)

    >>> orthogonalise(torch.diag(torch.tensor([3.0, 1.0]))).diag()
    tensor([0.7530, 1.1337])
    """
    a, b, c = coefficients
    X = G / G.norm().clamp(min=eps)
    if X.shape[0] > X.shape[1]:  # the smaller of the two Gram matrices
        X = X.T
    for _ in range(steps):
        A = X @ X.T
        B = b * A + c * A @ A
        X = a * X + B @ X
    return X.T if G.shape[0] > G.shape[1] else X


def _muon_step(W: Tensor, G: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(W)
    momentum, lr = group["momentum"], float(group["lr"])
    B = state["momentum_buffer"].lerp_(G, 1 - momentum)
    look = G.lerp(B, momentum) if group["nesterov"] else B
    O = orthogonalise(look, group["ns_coefficients"], group["ns_steps"], group["eps"])  # noqa: E741
    scale = lr_scale((W.shape[0], W.shape[1]), group["adjust_lr_fn"])
    W.mul_(1 - lr * group["weight_decay"]).add_(O, alpha=-lr * scale)


def _adamw_step(p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if "step" not in state:
        state.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
    state["step"] += 1
    (beta1, beta2), t, lr = group["betas"], float(state["step"]), float(group["lr"])
    m = state["exp_avg"].lerp_(g, 1 - beta1)
    v = state["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
    root = v.sqrt() / math.sqrt(1 - beta2**t) + group["eps"]
    p.mul_(1 - lr * group["weight_decay"]).addcdiv_(m, root, value=-lr / (1 - beta1**t))


class LeanAdamW(torch.optim.AdamW):
    """AdamW that does not import PyTorch's compiler when it is made: 2.5 s of the start of a program.

    >>> LeanAdamW([torch.nn.Parameter(torch.zeros(2))], lr=1e-2).defaults["lr"]
    0.01
    """

    add_param_group = _add_param_group


class LeanSGD(torch.optim.SGD):
    """SGD that does not import PyTorch's compiler when it is made.

    >>> LeanSGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1).defaults["momentum"]
    0
    """

    add_param_group = _add_param_group


class EarlyEpsilonAdam(torch.optim.Adam):
    """Adam with epsilon beside the root that is not corrected yet; it is made without PyTorch's compiler.

    p -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)

    Source:  Kingma & Ba 2015, arXiv:1412.6980, end of section 2; scikit-learn's Adam
    Differs: from `torch.optim.Adam`, whose epsilon stands beside the corrected root

    >>> p = torch.nn.Parameter(torch.zeros(1))
    >>> p.grad = torch.ones(1)
    >>> EarlyEpsilonAdam([p], lr=1.0, eps=0.01).step()
    >>> p.data  # -sqrt(0.001) / 0.1 * 0.1 / (sqrt(0.001) + 0.01)
    tensor([-0.7597])
    """

    add_param_group = _add_param_group

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        given = [group["eps"] for group in self.param_groups]
        for group in self.param_groups:
            done = max((int(self.state[p]["step"]) for p in group["params"] if self.state[p]), default=0)
            group["eps"] /= math.sqrt(1 - group["betas"][1] ** (done + 1))
        loss = super().step(closure)
        for group, eps in zip(self.param_groups, given, strict=True):
            group["eps"] = eps
        return loss
