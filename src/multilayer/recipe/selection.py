"""Which snapshots make up the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.model.predictor import Predictor
from multilayer.recipe.architecture import restored
from multilayer.recipe.best_stretch import are_complete, best_stretch
from multilayer.recipe.config import Config
from multilayer.recipe.rows_in_memory import N_FOLDS, Rows
from multilayer.recipe.weight_decay import constant_loss
from multilayer.tasks.task import Task
from multilayer.training.autograd import forward_in_chunks
from multilayer.training.history import History
from multilayer.training.snapshots import Snapshot, mean_weights, select_greedily

FEWEST_OF_A_CLASS = 100  # with fewer validation rows of one, each network's epochs are chosen by themselves
MERGED_LOSS = 0.005  # a mean of weights may lose this share more than the mean of predictions
NOISY = 0.5  # of what a constant loses: classes of which late epochs lose more are noisy
NO_BETTER = 1.0  # of the same: numbers of which late epochs lose more are not predicted at all

Pick = tuple[list[Snapshot], NDArray[np.float64]]  # snapshots, and the share of each


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
    histories: Sequence[History],
    snapshots: list[list[Snapshot]],
    config: Config,
    task: Task,
    held: Rows,
    fold: NDArray[np.int64] | None,
    *,
    by_kernels: bool,
    is_sure: bool = False,
) -> Chosen:
    """All networks, each the mean of the same epochs, or (`_of_one_stretch`) a greedy choice of snapshots.

    by_kernels: whether kernels, which trained the networks, predict the rows: what is said of them must not
        depend on whether something else has loaded kernels
    is_sure: whether the rows say all that there is to learn: then no network has learnt too much at the end
    """
    every_row = np.arange(len(held[1]))
    numbers = [every_row] if fold is None else _fold_rows(fold, len(nets))
    picks = _of_one_stretch(histories, snapshots, config, task, held, numbers, is_sure)
    if is_greedy := picks is None:
        if fold is None and (config.network != "default" or _has_few_of_a_class(task, held[1])):
            numbers = [every_row] * len(nets)  # a choice among all by a few rows would be a matter of chance
        picks = _greedily(nets, snapshots, config, task, held, numbers)
    networks: list[nn.Module] = []
    epochs: list[int] = []
    weights: list[float] = []
    # Without folds all groups were validated on the same rows, and are of one size: their mean.
    all_rows, shared = (np.concatenate(numbers), 1) if fold is not None else (every_row, len(numbers))
    prediction, start = np.zeros(0), 0
    for i, (rows, (kept, share)) in enumerate(zip(numbers, picks, strict=True)):
        of_rows = _taken(held, rows)
        if is_greedy:
            made = _merged_if_as_good(kept, share, nets[0], task, of_rows, by_kernels)
        else:
            made = _merged(kept, share, nets[0], task, of_rows[0], by_kernels)
        if not i:
            prediction = np.zeros((len(all_rows), *made.prediction.shape[1:]))
        prediction[start : start + len(rows)] += made.prediction / shared
        start += len(rows) if fold is not None else 0
        networks += made.networks
        epochs += [snapshot.epoch for snapshot in kept]
        weights += (made.share * len(nets[i :: len(numbers)])).tolist()
    return Chosen(networks, epochs, tuple(weights), all_rows, prediction)


def _of_one_stretch(
    histories: Sequence[History],
    snapshots: list[list[Snapshot]],
    config: Config,
    task: Task,
    held: Rows,
    numbers: Sequence[NDArray[np.int64]],
    is_sure: bool,
) -> list[Pick] | None:
    """For each group of rows the networks that validate on it, over the best stretch of epochs.

    None where that is not to be had: the network is a published one, epochs are missing, classes are so noisy
    that a mixture of early and late epochs is better, or all late epochs are worse than a constant.
    """
    if config.network != "default" or not are_complete(snapshots, histories):
        return None
    stretches, loss = best_stretch(snapshots, task, *held[1:], numbers, latest=is_sure)
    if loss > (NOISY if task.has_probabilities else NO_BETTER) * constant_loss(task, held):
        return None
    picks = []
    for group in range(len(numbers)):
        of_group = stretches[group :: len(numbers)]
        share = [np.full(len(of), 1 / (len(of_group) * len(of))) for of in of_group]
        picks.append(([snapshot for of in of_group for snapshot in of], np.concatenate(share)))
    return picks


def _greedily(
    nets: Sequence[nn.Module],
    snapshots: list[list[Snapshot]],
    config: Config,
    task: Task,
    held: Rows,
    numbers: Sequence[NDArray[np.int64]],
) -> list[Pick]:
    """For each group of rows a choice among the best epochs of the networks that validate on it."""
    most = max(1, config.entries // len(numbers))
    picks = []
    for group, rows in enumerate(numbers):
        of_rows = _taken(held, rows)
        of_group = [_best(of, config.snapshots) for of in snapshots[group :: len(numbers)]]
        candidates = [snapshot for of in of_group for snapshot in of] or [
            _as_it_is(net, task, *of_rows[:2]) for net in nets[group :: len(numbers)]
        ]
        counts = _select(candidates, task, *of_rows[1:], most)
        kept = [candidate for candidate, count in zip(candidates, counts, strict=True) if count]
        picks.append((kept, counts[counts > 0] / counts.sum()))
    return picks


def _best(of: Sequence[Snapshot], n: int) -> list[Snapshot]:
    """So many snapshots of a network, those of the lowest loss, in the order of their epochs."""
    best = sorted(of, key=lambda snapshot: (snapshot.loss, snapshot.epoch))[:n]
    return sorted(best, key=lambda snapshot: snapshot.epoch)


def _taken(rows: Rows, numbers: NDArray[np.int64]) -> Rows:
    x, code, weight = rows
    return x[numbers], code[numbers], None if weight is None else weight[numbers]


class _Ensemble:
    """Networks, the share of each, and what they say of rows together."""

    def __init__(
        self,
        net: nn.Module,
        states: list[dict[str, torch.Tensor]],
        share: NDArray[np.float64],
        task: Task,
        x: NDArray[np.float32],
        by_kernels: bool,
    ) -> None:
        self.networks, self.share = [restored(net, state) for state in states], share
        self.prediction = Predictor(self.networks, task.link, share.tolist(), kernels=by_kernels)(x)


def _merged(
    kept: list[Snapshot],
    share: NDArray[np.float64],
    net: nn.Module,
    task: Task,
    x: NDArray[np.float32],
    by_kernels: bool,
) -> _Ensemble:
    """One network for all snapshots of a member, the mean of their weights.

    Its epochs lie close together as the learning rate falls, so the mean predicts as the snapshots' mean
    does, in a fraction of the time.

    Source:  Wortsman et al. 2022, "Model soups", arXiv:2203.05482
    """
    members = np.array([snapshot.member for snapshot in kept])
    of_member = [np.flatnonzero(members == member) for member in dict.fromkeys(members.tolist())]
    states = [mean_weights([kept[i].weights for i in places], share[places]) for places in of_member]
    of_each = np.array([share[places].sum() for places in of_member])
    return _Ensemble(net, states, of_each, task, x, by_kernels)


def _merged_if_as_good(
    kept: list[Snapshot],
    share: NDArray[np.float64],
    net: nn.Module,
    task: Task,
    rows: Rows,
    by_kernels: bool,
) -> _Ensemble:
    """As `_merged`, unless epochs that lie far apart predict worse so: then snapshots stay as they are."""
    x, code, weight = rows

    def loss(essence: NDArray[np.float64]) -> float:
        return float(np.average(task.row_losses(essence[None], code)[0], weights=weight))

    merged = _merged(kept, share, net, task, x, by_kernels)
    apart = loss(np.einsum("n,n...->...", share, np.stack([snapshot.essence for snapshot in kept])))
    if loss(task.essence_of(merged.prediction, code)) <= apart + MERGED_LOSS * abs(apart):
        return merged
    return _Ensemble(net, [snapshot.weights for snapshot in kept], share, task, x, by_kernels)


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
