"""Trains the networks of a plan side by side, and keeps some of their epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.recipe.architecture import build
from multilayer.recipe.config import Config
from multilayer.recipe.networks import NETWORKS
from multilayer.recipe.plan import Plan
from multilayer.recipe.split_rows import N_FOLDS
from multilayer.recipe.weight_decay import first_decay
from multilayer.tasks.task import Task
from multilayer.training.history import History
from multilayer.training.loop import Callback, train_pack
from multilayer.training.snapshots import Snapshot

ENOUGH = 0.75  # where time is short, fewer networks train, rather than for less than this share of epochs
ENOUGH_EPOCHS = 15  # or than for so many, however many the user allows
SNAPSHOTS_MB = 512  # weights of all epochs, and what is remembered of validation rows, all networks together


@dataclass(frozen=True)
class Trained:
    """Networks after training.

    nets:      on the CPU
    histories: how each trained
    snapshots: of each network its kept epochs, in their order
    """

    nets: list[nn.Module]
    histories: list[History]
    snapshots: list[list[Snapshot]]

    @property
    def by_kernels(self) -> bool:
        """Whether compiled kernels trained them."""
        return self.histories[0].engine == "kernels"


def train_networks(
    plan: Plan,
    *,
    time_budget: float | None,
    seed: int,
    device: str | None,
    n_threads: int | None,
    callbacks: Sequence[Callback],
) -> Trained:
    """Build the networks of a plan, and train them as their recipe has it.

    With folds network i holds out fold i % N_FOLDS. Fewer than `config.members` come back where the time
    budget, or Ctrl-C, leaves some without a step.

    time_budget: seconds for this alone
    """
    config, task, recipe = plan.config, plan.task, NETWORKS[plan.config.network]
    rows, held, fold = plan.train, plan.validation, plan.folds
    seeds = network_seeds(seed, config.members)
    nets = [
        build(plan.network, one, lambda net: recipe.start(net, torch.from_numpy(rows.x))) for one in seeds
    ]
    optimizers = recipe.optimizers(nets, plan.network, config.lr, first_decay(config, task))
    held_target = task.as_network_target(held.code)
    held_code = [
        held.code if fold is None else held.code[fold == number % N_FOLDS] for number in range(config.members)
    ]
    is_stream = plan.next_rows is not None
    keeper = recipe.keeper(
        task,
        held_target,
        held.weight,
        keep=lambda member, output: task.essence(output, held_code[member]),
        most=most_snapshots(
            nets, config, task, sum(map(len, held_code)), every_epoch=recipe.averages_epochs and not is_stream
        ),
    )
    histories = train_pack(
        nets,
        rows.x,
        recipe.target(task.as_network_target(rows.code), task),
        loss=recipe.loss(task),
        optimizer=optimizers,
        epochs=config.epochs,
        batch_size=config.batch_size,
        **_validating(plan, held_target),
        more_rows=plan.next_rows,
        schedule=recipe.schedule,
        clip_norm=recipe.clip_norm,
        sample_weight=rows.weight,
        patience=config.patience,
        time_budget=time_budget,
        min_epochs=_enough_epochs(config, is_stream) if recipe.may_train_fewer else None,
        seeds=seeds,
        device=device,
        threads=recipe.threads,
        n_threads=n_threads,
        callbacks=[keeper, *recipe.callbacks(nets, optimizers, config, task, rows), *callbacks],
    )
    n = len(nets)
    if recipe.may_train_fewer:
        n = max(1, next((i for i, history in enumerate(histories) if not history.step_loss), n))
    return Trained([net.cpu() for net in nets[:n]], histories[:n], keeper.of[:n] or [[] for _ in nets[:n]])


def _validating(plan: Plan, target: NDArray[Any]) -> dict[str, Any]:
    """What `train_pack` is told of rows to validate on."""
    held, fold = plan.validation, plan.folds
    if fold is None:
        return {"validation": (held.x, target, held.weight)}
    numbers = [number % N_FOLDS for number in range(plan.config.members)]
    return {
        "rows": [np.flatnonzero(fold != number) for number in numbers],
        "validation_rows": [np.flatnonzero(fold == number) for number in numbers],
    }


def _enough_epochs(config: Config, is_stream: bool) -> int:
    enough = round(ENOUGH * config.epochs)
    return max(1, enough if is_stream else min(enough, ENOUGH_EPOCHS))


def network_seeds(seed: int, n: int) -> list[int]:
    """One for each network; the first is the user's."""
    return [seed, *map(int, np.random.SeedSequence(seed).generate_state(n - 1))]


def most_snapshots(
    nets: Sequence[nn.Module], config: Config, task: Task, n_rows: int, *, every_epoch: bool
) -> int:
    """How many epochs of each network are kept: all, or, where these would take too much memory, the best.

    n_rows:      that networks validate on, of all together
    every_epoch: whether all are wanted
    """
    weights = sum(value.numel() * value.element_size() for value in nets[0].state_dict().values())
    essences, room = n_rows * task.essence_width * 8, SNAPSHOTS_MB * 1_000_000
    if every_epoch and config.epochs * (essences + len(nets) * weights) <= room:
        return config.epochs
    return int(np.clip(room // max(1, essences), 1, config.snapshots))
