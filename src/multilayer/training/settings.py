"""How networks are trained: the settings of `train` and `train_pack`, checked."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from multilayer.errors import ConfigError

MOST_THREADS = 1_024  # for one product: of some ten thousand OpenMP ends the process


@dataclass(frozen=True)
class Training:
    """What all networks of a pack share, as `train` and `train_pack` document it."""

    epochs: int | None
    steps: int | None
    batch_size: int | None
    shuffle: bool
    schedule_every: str | None
    clip_norm: float | None
    clip_value: float | None
    accumulate: int | Literal["forever"]
    patience: int | None
    metrics: Mapping[str, Callable[..., float]]
    time_budget: float | None
    min_epochs: int | None
    engine: str
    threads: int | None
    n_threads: int | None
    callbacks: list[Callable[[Any], Any]]

    @classmethod
    def make(cls, *, metrics: Any, callbacks: Any, **given: Any) -> "Training":
        """From the arguments of `train_pack`.

        Raises:
            ConfigError: one of them is not what it may be, or two do not go together.
        """
        accumulate = given["accumulate"]
        if isinstance(accumulate, str) and accumulate != "forever":
            raise ConfigError(
                f"accumulate must be a whole number of at least 1, or 'forever'; got {accumulate!r}."
            )
        for name in ("min_epochs", "n_threads"):
            check_whole(name, given[name])
        check_whole("threads", given["threads"], most=MOST_THREADS)
        made = cls(metrics=_as_metrics(metrics), callbacks=_as_callbacks(callbacks), **given)
        if made.engine not in ("auto", "kernels", "autograd"):
            raise ConfigError(f"engine must be 'auto', 'kernels' or 'autograd'; got {made.engine!r}.")
        return made

    def check_length(self, *, has_validation: bool) -> None:
        """Refuse numbers that are not positive, and settings that exclude each other.

        Raises:
            ConfigError: the first of them.
        """
        if self.epochs is not None and self.steps is not None:
            raise ConfigError("give epochs or steps, not both.")
        for name in ("epochs", "steps", "batch_size", "patience"):
            check_whole(name, getattr(self, name))
        if self.accumulate != "forever":
            check_whole("accumulate", self.accumulate)
        for name in ("clip_norm", "clip_value", "time_budget"):
            check_positive(name, getattr(self, name))
        if self.clip_norm is not None and self.clip_value is not None:
            raise ConfigError("give clip_norm or clip_value, not both.")
        if self.patience is not None and not has_validation:
            raise ConfigError("patience watches the validation loss; pass validation as well.")


def why_no_device(device: Any) -> str | None:
    """Why PyTorch computes nothing on a device here, in a few words; None where it does.

    >>> why_no_device("cpu"), why_no_device("meta")
    (None, 'nothing is computed there')
    """
    try:
        is_meta = torch.zeros(1, device=device).is_meta
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError, ImportError) as error:
        return (str(error).splitlines() or [""])[0].rstrip(".")
    return "nothing is computed there" if is_meta else None


def check_whole(name: str, value: Any, least: int = 1, most: int | None = None) -> None:
    """Refuse a setting that is given and is no whole number of at least so much, and at most."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if value is not None and (not is_whole or value < least):
        raise ConfigError(f"{name} must be a whole number of at least {least}; got {value!r}.")
    if value is not None and most is not None and value > most:
        raise ConfigError(f"{name} must be at most {most:,}; got {value!r}. Leave it out, or pass fewer.")


def check_positive(name: str, value: Any) -> None:
    """Refuse a setting that is given and is no positive number."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if value is not None and (not is_number or not value > 0):
        raise ConfigError(f"{name} must be positive; got {value!r}.")


def _as_callbacks(callbacks: Any) -> list[Callable[[Any], Any]]:
    given = [callbacks] if callable(callbacks) else callbacks
    if given is None or isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigError(f"callbacks must be functions of a Progress, in a list; got {callbacks!r}.")
    made = list(given)
    for one in made:
        if not callable(one):
            raise ConfigError(f"callbacks must be functions of a Progress; got {one!r} among them.")
    return made


def _as_metrics(metrics: Any) -> Mapping[str, Callable[..., float]]:
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping) or not all(map(callable, metrics.values())):
        raise ConfigError(
            f"metrics must be a dict from names to functions of output and target; got {metrics!r}."
        )
    return metrics
