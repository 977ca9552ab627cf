"""Learning-rate schedules, as plain functions from progress in training to a factor on the learning rate."""

import math
from collections.abc import Callable
from typing import Any

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
    "linear": linear,
    "warmup_cosine": warmup_cosine,
}
