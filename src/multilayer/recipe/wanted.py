"""The arguments of `fit`, checked."""

import time as clock
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multilayer.recipe.arguments import check_arguments, checked_device, plain_numbers
from multilayer.recipe.asked import asked_of
from multilayer.recipe.choices import NetworkName, Quality
from multilayer.recipe.config import Overrides
from multilayer.recipe.declared import Declared
from multilayer.table.sources.names import column_name
from multilayer.table.sources.notation import Notation
from multilayer.training.loop import Callback

TO_TRAIN = 0.95  # of a time budget; the rest is for the choice among epochs


@dataclass(frozen=True)
class Wanted:
    """The arguments of `fit`, checked and in plain types.

    aims:      objective, quantiles and threshold, as `make_task` takes them
    drop:      names of columns to leave out
    overrides: settings of the training that the user set
    notation, declared: how the table is written, and what is known of its columns
    started:   as `time.perf_counter` had it when `fit` was called
    asked:     the settings that were set, as a model file keeps them
    All other fields are as `fit` documents them.
    """

    target: Any
    y: Any
    task: str | None
    aims: Mapping[str, Any]
    drop: tuple[str, ...]
    groups: str | None
    time: str | None
    validation: Any
    calibration: Any
    sample_weight: Any
    exposure: Any
    class_weight: Any
    drop_missing_target: bool
    monotone: Mapping[str, Any]
    quality: Quality
    network: NetworkName
    overrides: Overrides
    notation: Notation
    declared: Declared
    query: str | None
    memory: Any
    time_budget: float | None
    seed: int
    device: str | None
    n_threads: int | None
    callbacks: Sequence[Callback]
    baselines: bool
    verbose: bool | None
    started: float
    asked: Mapping[str, Any]

    @classmethod
    def make(cls, given: Mapping[str, Any]) -> "Wanted":
        """From the arguments of `fit` by name.

        Raises:
            ConfigError: one of them is not what it may be.
        """
        started = clock.perf_counter()
        drop = list(given["drop"]) if isinstance(given["drop"], Iterator) else given["drop"]
        check_arguments({**given, "drop": drop})
        drop = () if drop is None else [drop] if isinstance(drop, str) else drop
        number = {
            name: plain_numbers(given[name]) for name in ("members", "epochs", "batch_size", "patience")
        }
        rate = {name: _as_float(given[name]) for name in ("lr", "weight_decay")}
        threshold = given["threshold"]
        return cls(
            aims={
                "objective": given["objective"],
                "quantiles": plain_numbers(given["quantiles"]),
                "threshold": threshold if isinstance(threshold, str) else _as_float(threshold),
            },
            drop=tuple(map(column_name, drop)),
            groups=_name(given["groups"]),
            time=_name(given["time"]),
            drop_missing_target=bool(given["drop_missing_target"]),
            monotone=given["monotone"] or {},
            overrides=Overrides.make(
                hidden=plain_numbers(given["hidden"]), activation=given["activation"], **number, **rate
            ),
            notation=Notation.declare(
                *(given[name] for name in ("missing", "thousands", "decimal", "encoding", "header"))
            ),
            declared=Declared.of(given["kinds"], given["schema"], given["infinite"]),
            time_budget=_as_float(given["time_budget"]),
            seed=int(given["seed"]),
            device=checked_device(given["device"]),
            n_threads=plain_numbers(given["n_threads"]),
            callbacks=given["callbacks"] or (),
            baselines=bool(given["baselines"]),
            verbose=None if given["verbose"] is None else bool(given["verbose"]),
            started=started,
            asked=asked_of({**given, "drop": drop}),
            **{name: given[name] for name in _AS_GIVEN},
        )

    @property
    def guesses_task(self) -> bool:
        """Whether the target decides what the task is."""
        return self.task is None and not self.aims_at_numbers

    @property
    def aims_at_numbers(self) -> bool:
        """Whether an objective says that the target is a number."""
        return self.aims["objective"] is not None or self.aims["quantiles"] is not None

    def seconds_to_train(self) -> float | None:
        """What is left of the time budget for training; None without one."""
        if self.time_budget is None:
            return None
        return max(TO_TRAIN * self.time_budget - (clock.perf_counter() - self.started), 0.01)


_AS_GIVEN = (
    "target", "y", "task", "validation", "calibration", "sample_weight", "exposure", "class_weight",
    "quality", "network", "query", "memory",
)  # fmt: skip


def _as_float(value: Any) -> float | None:
    return None if value is None else float(value)


def _name(value: Any) -> str | None:
    return None if value is None else column_name(value)
