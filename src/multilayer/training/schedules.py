"""Learning-rate schedules: functions from progress to a factor on the learning rate; PyTorch's schedulers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from multilayer.errors import ConfigError, nearest
from multilayer.training.run_length import RunLength

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

    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
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


def check_schedule(
    schedule: Schedule,
    stepped: Stepped | None,
    optimizer: torch.optim.Optimizer,
    length: RunLength,
    accumulate: int | Literal["forever"],
    *,
    has_validation: bool,
) -> None:
    """Refuse a schedule that the optimiser or the run cannot follow.

    Raises:
        ConfigError: so.
    """
    if schedule is not constant and any("lr" not in group for group in optimizer.param_groups):
        raise ConfigError(
            f"schedule changes the learning rate, and {type(optimizer).__name__} has no option lr. Leave it "
            "out."
        )
    if stepped is None:
        return
    if stepped.wants_loss and (not has_validation or stepped.every == "step"):
        raise ConfigError(
            "ReduceLROnPlateau goes by the validation loss of each epoch; pass validation, and leave "
            "schedule_every at None or 'epoch'."
        )
    if stepped.wants_loss and getattr(stepped.scheduler, "mode", "min") != "min":
        raise ConfigError(
            "ReduceLROnPlateau goes by the validation loss, which is to fall; it was made with mode='max'. "
            "Make it with mode='min', or step it by a score of your own in a callback."
        )
    total = getattr(stepped.scheduler, "total_steps", None)
    updates = length.n_steps if accumulate == "forever" else math.ceil(length.n_steps / accumulate)
    asked = updates if stepped.every == "step" else length.epochs
    if isinstance(total, int) and asked > total - stepped.scheduler.last_epoch:
        raise ConfigError(
            f"{type(stepped.scheduler).__name__} was made for {total} steps; this run takes {asked}. "
            f"Make it with total_steps={asked}."
        )
