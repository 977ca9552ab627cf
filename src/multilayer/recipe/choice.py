"""Which snapshots make up the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.config import Config
from multilayer.recipe.data import N_FOLDS, Rows
from multilayer.recipe.design import restored
from multilayer.training.autograd import forward_in_chunks
from multilayer.training.ensemble import Snapshot, mean_weights, select_greedily
from multilayer.training.predictor import Predictor
from multilayer.training.task import Task

FEWEST_OF_A_CLASS = 100  # with fewer validation rows of one, each network's epochs are chosen by themselves
MERGED_LOSS = 1.005  # a mean of weights may predict this much worse than the mean of predictions


@dataclass(frozen=True)
class Chosen:
    """The snapshots that make up the model, their weights, and what they say of validation rows.

    networks: as they were then, after these epochs
    rows: numbers of those rows; in a fold, the networks that did not train on it say it
    """

    networks: list[nn.Module]
    epochs: list[int]
    weights: tuple[float, ...]
    rows: NDArray[np.int64]
    prediction: NDArray[np.float64]


def choose(
    nets: Sequence[nn.Module],
    snapshots: list[list[Snapshot]],
    network: NetworkConfig,
    config: Config,
    task: Task,
    held: Rows,
    fold: NDArray[np.int64] | None,
    *,
    by_kernels: bool,
) -> Chosen:
    """Greedy choice among snapshots that were validated on the same rows; each network weighs alike.

    by_kernels: whether kernels, which trained the networks, predict the rows: what is said of them must not
        depend on whether something else has loaded kernels
    """
    if fold is not None:
        numbers = _fold_rows(fold, config.members)
    else:
        # A choice among all networks by a few rows of a class would be a matter of chance.
        by_itself = config.network != "default" or _has_few_of_a_class(task, held[1])
        numbers = [np.arange(len(held[1]))] * (config.members if by_itself else 1)
    most = max(1, config.entries // len(numbers))
    networks: list[nn.Module] = []
    epochs: list[int] = []
    weights: list[float] = []
    # Without folds all groups were validated on the same rows, and are of one size: their mean.
    all_rows, shared = (np.concatenate(numbers), 1) if fold is not None else (numbers[0], len(numbers))
    prediction, start = np.zeros(0), 0
    for i, rows in enumerate(numbers):
        candidates = [snapshot for of_one in snapshots[i :: len(numbers)] for snapshot in of_one]
        members = nets[i :: len(numbers)]
        candidates = candidates or [_as_it_is(net, task, held[0][rows], held[1][rows]) for net in members]
        counts = _select(candidates, task, held[1][rows], None if held[2] is None else held[2][rows], most)
        share = counts[counts > 0] / counts.sum()
        kept = [candidate for candidate, count in zip(candidates, counts, strict=True) if count]
        of_rows = (held[0][rows], held[1][rows], None if held[2] is None else held[2][rows])
        merged, merged_share = _one_a_member(kept, share, network, task, of_rows)
        said = Predictor(merged, task.link, merged_share.tolist(), kernels=by_kernels)(held[0][rows])
        if not i:
            prediction = np.zeros((len(all_rows), *said.shape[1:]))
        prediction[start : start + len(rows)] += said / shared
        start += len(rows) if fold is not None else 0
        networks += merged
        epochs += [snapshot.epoch for snapshot in kept]
        weights += (merged_share * len(members)).tolist()
    return Chosen(networks, epochs, tuple(weights), all_rows, prediction)


def _one_a_member(
    kept: list[Snapshot], share: NDArray[np.float64], network: NetworkConfig, task: Task, rows: Rows
) -> tuple[list[nn.Module], NDArray[np.float64]]:
    """One network for all snapshots of a member, the mean of their weights, and the share of each.

    Its epochs lie close together as the learning rate falls, so the mean predicts as the snapshots' mean
    does, in a fraction of the time. Where it does not, the snapshots stay apart.

    Source:  Wortsman et al. 2022, "Model soups", arXiv:2203.05482
    """
    separate: list[nn.Module] = [restored(network, snapshot.weights) for snapshot in kept]
    members = np.array([snapshot.member for snapshot in kept])
    of_member = [np.flatnonzero(members == member) for member in dict.fromkeys(members.tolist())]
    if len(of_member) == len(kept):
        return separate, share
    merged: list[nn.Module] = [
        restored(network, mean_weights([kept[i].weights for i in places], share[places]))
        for places in of_member
    ]
    merged_share = np.array([share[places].sum() for places in of_member])
    loss, merged_loss = (
        _loss_of_mean(nets, shares, task, rows)
        for nets, shares in ((separate, share), (merged, merged_share))
    )
    return (merged, merged_share) if merged_loss <= MERGED_LOSS * loss else (separate, share)


def _loss_of_mean(nets: list[nn.Module], share: NDArray[np.float64], task: Task, rows: Rows) -> float:
    """Of the mean prediction of the networks, over rows."""
    x, code, weight = rows
    outputs = [forward_in_chunks(net, torch.from_numpy(x)).numpy() for net in nets]
    essences = np.stack([task.essence(output, code) for output in outputs])
    mean = np.einsum("n,n...->...", share, essences)
    return float(np.average(task.row_losses(mean[None], code)[0], weights=weight))


def _has_few_of_a_class(task: Task, code: NDArray[np.generic]) -> bool:
    if not task.classes:
        return False
    return int(np.bincount(code.astype(np.int64), minlength=len(task.classes)).min()) < FEWEST_OF_A_CLASS


def _fold_rows(fold: NDArray[np.int64], n_networks: int) -> list[NDArray[np.int64]]:
    """The rows of each fold that networks validate on: network i on fold i, and again from the first."""
    return [np.flatnonzero(fold == number) for number in range(min(n_networks, N_FOLDS))]


def _select(
    candidates: list[Snapshot],
    task: Task,
    code: NDArray[np.generic],
    weight: NDArray[np.float32] | None,
    most: int,
) -> NDArray[np.int64]:
    """How often each enters, by the loss of the mean prediction."""
    essences = np.stack([candidate.essence for candidate in candidates])
    return select_greedily(essences, lambda means: task.row_losses(means, code), weight, most)


def _as_it_is(net: nn.Module, task: Task, x: NDArray[np.float32], code: NDArray[np.generic]) -> Snapshot:
    """A network that was stopped before its first epoch ended."""
    output = forward_in_chunks(net.eval(), torch.from_numpy(x)).numpy()
    return Snapshot(0, 0, np.inf, task.essence(output, code), net.state_dict())
