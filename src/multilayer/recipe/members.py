"""Networks trained side by side, and the snapshots of their epochs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.architecture import build
from multilayer.recipe.config import Config, Whole
from multilayer.recipe.networks import PUBLISHED
from multilayer.recipe.rows_in_memory import N_FOLDS, Rows
from multilayer.recipe.weight_decay import NoiseDecay, constant_loss, first_decay, follows_noise
from multilayer.tasks.task import Task
from multilayer.training.history import History
from multilayer.training.loop import Callback, train_pack
from multilayer.training.optim import LeanAdamW, Muon, hidden_matrices
from multilayer.training.snapshots import Snapshot, Snapshots

MUON_RATE = 20  # learning rate of hidden matrices, in Muon's units, as a multiple of AdamW's
NS_STEPS = 3  # of Newton-Schulz, which are most of what Muon costs
ENOUGH = 0.75  # where time is short, fewer networks train, rather than for less than this share of epochs
ENOUGH_EPOCHS = 15  # or than for so many, however many the user allows
SNAPSHOTS_MB = 512  # weights of all epochs, and what is remembered of validation rows, all networks together


def train_members(
    network: NetworkConfig,
    config: Config,
    task: Task,
    rows: Rows,
    held: Rows,
    fold: NDArray[np.int64] | None,
    *,
    time_budget: float | None,
    seed: int,
    device: str | None,
    n_threads: Whole | None,
    callbacks: Sequence[Callback],
    more_rows: Callable[[], Sequence[Any]] | None = None,
) -> tuple[list[nn.Sequential], list[History], list[list[Snapshot]]]:
    """Networks, how they trained, and the snapshots of each; network i holds out fold i % N_FOLDS.

    Fewer than `config.members` where the time budget, or Ctrl-C, leaves some without a step.

    more_rows: gives the rows of the next epoch, as `train_pack` wants them
    """
    seeds = _seeds(seed, config.members)
    nets = [build(network, member_seed) for member_seed in seeds]
    x, code, weight = rows
    held_code = [
        held[1] if fold is None else held[1][fold == number % N_FOLDS] for number in range(config.members)
    ]
    snapshots = Snapshots(
        _most_snapshots(nets, config, task, sum(map(len, held_code)), streams=more_rows is not None),
        keep=lambda member, output: task.essence(output, held_code[member]),
    )
    validating: dict[str, Any] = {"validation": (held[0], task.as_network_target(held[1]), held[2])}
    if fold is not None:
        numbers = [number % N_FOLDS for number in range(config.members)]
        validating = {
            "rows": [np.flatnonzero(fold != number) for number in numbers],
            "validation_rows": [np.flatnonzero(fold == number) for number in numbers],
        }
    with_muon, weight_decay = uses_muon(network, config), first_decay(config, task)
    optimizers = [_optimizer(net, config.lr, weight_decay, with_muon=with_muon) for net in nets]
    decay = []
    if follows_noise(config, task):
        decay.append(NoiseDecay(optimizers, constant_loss(task, rows)))
    enough = round(ENOUGH * config.epochs)
    histories = train_pack(
        nets,
        x,
        task.as_network_target(code),
        loss=task.loss,
        optimizer=optimizers,
        epochs=config.epochs,
        batch_size=config.batch_size,
        **validating,
        more_rows=more_rows,
        schedule="warmup_cosine",
        clip_norm=1.0,
        sample_weight=weight,
        patience=config.patience,
        time_budget=time_budget,
        min_epochs=max(1, enough if more_rows is not None else min(enough, ENOUGH_EPOCHS)),
        seeds=seeds,
        device=device,
        n_threads=None if n_threads is None else int(n_threads),
        callbacks=[snapshots, *decay, *callbacks],
    )
    n = max(1, next((i for i, history in enumerate(histories) if not history.step_loss), len(nets)))
    return [net.cpu() for net in nets[:n]], histories[:n], snapshots.of[:n] or [[] for _ in nets[:n]]


def train_published(
    network: NetworkConfig,
    config: Config,
    task: Task,
    rows: Rows,
    held: Rows,
    fold: NDArray[np.int64] | None,
    *,
    time_budget: float | None,
    seed: int,
    device: str | None,
    n_threads: Whole | None,
    callbacks: Sequence[Callback],
) -> tuple[list[nn.Module], list[History], list[list[Snapshot]]]:
    """As `train_members`, but as the network's paper has it: all validate on the same rows."""
    published = PUBLISHED[config.network]
    x, code, weight = rows
    seeds = _seeds(seed, config.members)
    nets = [build(network, one, lambda net: published.start(net, torch.from_numpy(x))) for one in seeds]
    optimizers = [published.optimizer(net, config.lr, first_decay(config, task)) for net in nets]
    y_held = task.as_network_target(held[1])
    keeper = published.keeper(task, y_held, held[2], lambda _, output: task.essence(output, held[1]))
    histories = train_pack(
        nets,
        x,
        published.target(task.as_network_target(code), task),
        loss=published.loss(task),
        optimizer=optimizers,
        epochs=config.epochs,
        batch_size=config.batch_size,
        validation=(held[0], y_held, held[2]),
        schedule=published.schedule,
        clip_norm=published.clip_norm,
        sample_weight=weight,
        patience=config.patience,
        time_budget=time_budget,
        seeds=seeds,
        device=device,
        threads=published.threads,
        n_threads=None if n_threads is None else int(n_threads),
        callbacks=[keeper, *published.callbacks(nets, optimizers), *callbacks],
    )
    return [net.cpu() for net in nets], histories, keeper.of or [[] for _ in nets]


def _seeds(seed: int, n: int) -> list[int]:
    """One for each network; the first is the user's."""
    return [seed, *map(int, np.random.SeedSequence(seed).generate_state(n - 1))]


def _most_snapshots(
    nets: Sequence[nn.Module], config: Config, task: Task, n_rows: int, *, streams: bool
) -> int:
    """All epochs, or, where these would take too much memory or are pieces of a table, the best as set."""
    weights = sum(value.numel() * value.element_size() for value in nets[0].state_dict().values())
    essences, room = n_rows * task.essence_width * 8, SNAPSHOTS_MB * 1_000_000
    if config.epochs * (essences + len(nets) * weights) <= room and not streams:
        return config.epochs
    return int(np.clip(room // max(1, essences), 1, config.snapshots))


def uses_muon(network: NetworkConfig, config: Config) -> bool:
    """Whether Muon trains hidden matrices: where there are some, in the default network.

    A monotone network is AdamW's as a whole: an orthogonal step would take many weights across their signs.
    """
    is_monotone = bool(network.rising or network.falling)
    return config.network == "default" and bool(network.hidden) and not is_monotone


def _optimizer(net: nn.Module, lr: float, weight_decay: float, *, with_muon: bool) -> torch.optim.Optimizer:
    """Muon for the matrices of hidden layers, AdamW for all else; weight decay on matrices alone.

    Source:  Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/ (here with three steps of
             Newton-Schulz for five); beta2 of AdamW: Holzmüller et al. 2024, arXiv:2407.04491
    """
    hidden = hidden_matrices(net) if with_muon else []
    rest = [p for p in net.parameters() if all(p is not matrix for matrix in hidden)]
    adamw = {"lr": lr, "betas": (0.9, 0.95)}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if p.ndim == 2], "weight_decay": weight_decay, **adamw},
        {"params": [p for p in rest if p.ndim != 2], "weight_decay": 0.0, **adamw},
    ]
    groups = [group for group in groups if group["params"]]
    if not hidden:
        return LeanAdamW(groups, fused=True)
    groups = [*({"use_muon": False, **group} for group in groups), {"params": hidden}]
    return Muon(groups, lr=MUON_RATE * lr, weight_decay=weight_decay, ns_steps=NS_STEPS)
