"""Which snapshots make up the model, and what share a linear network has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.model.predictor import Predictor
from multilayer.recipe.architecture import restored
from multilayer.recipe.best_stretch import are_complete, best_stretch
from multilayer.recipe.blend import HeldOut, Share, best_share
from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.recipe.linear import Linear
from multilayer.recipe.networks import NETWORKS
from multilayer.recipe.plan import Plan
from multilayer.recipe.split_rows import N_FOLDS
from multilayer.recipe.trained import Trained
from multilayer.recipe.weight_decay import constant_loss
from multilayer.tasks.task import Task
from multilayer.training.autograd import forward_in_chunks
from multilayer.training.snapshots import Snapshot, mean_weights, select_greedily

FEWEST_OF_A_CLASS = 100  # with fewer validation rows of one, each network's epochs are chosen by themselves
MERGED_LOSS = 0.005  # a mean of weights may lose this share more than the mean of predictions
NOISY = 0.5  # of what a constant loses: classes of which late epochs lose more are noisy
NO_BETTER = 1.0  # of the same: numbers of which late epochs lose more are not predicted at all

Pick = tuple[list[Snapshot], NDArray[np.float64]]  # snapshots, and the share of each


@dataclass(frozen=True)
class Choice:
    """Snapshots that are to make up the model, for each group of validation rows.

    groups: numbers of the rows of each group; networks i, i + n_groups, ... validate on group i
    picks:  for each group, of the networks that validate on it
    close:  whether the epochs of a network lie so close together that the mean of their weights predicts as
            the mean of their predictions
    """

    groups: list[NDArray[np.int64]]
    picks: list[Pick]
    close: bool


@dataclass(frozen=True)
class Selected:
    """The snapshots that make up the model, their weights, and their predictions of validation rows.

    networks:   as they were then, after these epochs; a linear one comes last
    rows:       numbers of those rows; in a fold, the networks that did not train on it predict it
    prediction: (n_rows, ...), as `Task.link` gives it
    linear:     the linear network, if it has a share
    share:      of the linear network, if there is one to have a share
    """

    networks: list[nn.Module]
    epochs: list[int]
    weights: tuple[float, ...]
    rows: NDArray[np.int64]
    prediction: NDArray[np.float64]
    linear: Linear | None = None
    share: Share | None = None


def select(plan: Plan, trained: Trained, linear: Linear | None = None) -> Selected:
    """All networks, each the mean of the same epochs, or, where that is worse, a greedy choice of epochs;
    and the linear network, if there is one, where it takes something off the loss.
    """
    choice = by_stretch(plan, trained) or greedily(plan, trained)
    selected = _assembled(choice, plan, trained)
    return selected if linear is None else _blended(selected, linear, choice, plan, len(trained.nets))


def _blended(selected: Selected, linear: Linear, choice: Choice, plan: Plan, n_networks: int) -> Selected:
    """With the linear network, and its share in the weights, if it has any."""
    share = best_share(plan.task, _held_out(linear, choice, plan), n_networks)
    if not share.value:
        return replace(selected, share=share)
    said = linear.prediction[selected.rows]
    return replace(
        selected,
        networks=[*selected.networks, linear.network],
        weights=(*selected.weights, sum(selected.weights) * share.value / (1 - share.value)),
        prediction=share.value * said + (1 - share.value) * selected.prediction,
        linear=linear,
        share=share,
    )


def _held_out(linear: Linear, choice: Choice, plan: Plan) -> list[HeldOut]:
    """What all say of each group of rows that they did not train on."""
    groups, picks = choice.groups, choice.picks
    if plan.folds is None:  # all groups are the same rows, by other networks
        groups, picks = groups[:1], [_joined(picks)]
    found = []
    for numbers, (kept, share) in zip(groups, picks, strict=True):
        rows = plan.validation.take(numbers)
        members = np.array([snapshot.member for snapshot in kept])
        others = [
            np.average(
                np.stack([kept[i].essence for i in np.flatnonzero(members == member)]),
                axis=0,
                weights=share[members == member],
            )
            for member in dict.fromkeys(members.tolist())
        ]
        said = plan.task.essence_of(linear.prediction[numbers], rows.code)
        weight = np.ones(len(rows)) if rows.weight is None else rows.weight.astype(np.float64)
        found.append(HeldOut(said, others, rows.code, weight))
    return found


def _joined(picks: Sequence[Pick]) -> Pick:
    return [snapshot for kept, _ in picks for snapshot in kept], np.concatenate([share for _, share in picks])


def by_stretch(plan: Plan, trained: Trained) -> Choice | None:
    """For each group of rows the networks that validate on it, over the best stretch of epochs.

    None where that is not to be had: the network does not average epochs, epochs are missing, classes are so
    noisy that a mixture of early and late epochs is better, or all late epochs are worse than a constant.
    """
    recipe, task, rows, snapshots = (
        NETWORKS[plan.config.network],
        plan.task,
        plan.validation,
        trained.snapshots,
    )
    if not recipe.averages_epochs or not are_complete(snapshots, trained.histories):
        return None
    groups = _groups(plan, len(trained.nets))
    stretches, loss = best_stretch(snapshots, task, rows.code, rows.weight, groups, latest=plan.is_sure)
    if loss > (NOISY if task.has_probabilities else NO_BETTER) * constant_loss(task, rows):
        return None
    picks = []
    for number in range(len(groups)):
        of_group = stretches[number :: len(groups)]
        share = [np.full(len(kept), 1 / (len(of_group) * len(kept))) for kept in of_group]
        picks.append(([snapshot for kept in of_group for snapshot in kept], np.concatenate(share)))
    return Choice(groups, picks, close=True)


def greedily(plan: Plan, trained: Trained) -> Choice:
    """For each group of rows a choice among the best epochs of the networks that validate on it."""
    config, task, nets = plan.config, plan.task, trained.nets
    groups = _groups(plan, len(nets))
    averages = NETWORKS[config.network].averages_epochs
    if plan.folds is None and (not averages or _has_few_of_a_class(task, plan.validation.code)):
        groups = groups * len(nets)  # a choice among all by a few rows would be a matter of chance
    most = max(1, config.entries // len(groups))
    picks = []
    for number, numbers in enumerate(groups):
        rows = plan.validation.take(numbers)
        of_group = [_best(kept, config.snapshots) for kept in trained.snapshots[number :: len(groups)]]
        candidates = [snapshot for kept in of_group for snapshot in kept] or [
            _as_it_is(net, task, rows) for net in nets[number :: len(groups)]
        ]
        counts = _select(candidates, task, rows, most)
        chosen = [candidate for candidate, count in zip(candidates, counts, strict=True) if count]
        picks.append((chosen, counts[counts > 0] / counts.sum()))
    return Choice(groups, picks, close=False)


def _assembled(choice: Choice, plan: Plan, trained: Trained) -> Selected:
    """The networks of a choice, and what they predict of validation rows."""
    groups, has_folds = choice.groups, plan.folds is not None
    networks: list[nn.Module] = []
    epochs: list[int] = []
    weights: list[float] = []
    # Without folds all groups were validated on the same rows, and are of one size: their mean.
    rows, shared = (np.concatenate(groups), 1) if has_folds else (groups[0], len(groups))
    prediction, start = np.zeros(0), 0
    for i, (numbers, (kept, share)) in enumerate(zip(groups, choice.picks, strict=True)):
        of_rows = plan.validation.take(numbers)
        merge = merged if choice.close else merged_if_as_good
        made = merge(kept, share, trained.nets[0], plan.task, of_rows, by_kernels=trained.by_kernels)
        if not i:
            prediction = np.zeros((len(rows), *made.prediction.shape[1:]))
        prediction[start : start + len(numbers)] += made.prediction / shared
        start += len(numbers) if has_folds else 0
        networks += made.networks
        epochs += [snapshot.epoch for snapshot in kept]
        weights += (made.share * len(trained.nets[i :: len(groups)])).tolist()
    return Selected(networks, epochs, tuple(weights), rows, prediction)


def _groups(plan: Plan, n_networks: int) -> list[NDArray[np.int64]]:
    """The rows of each fold that networks validate on, or all of them."""
    if plan.folds is None:
        return [np.arange(len(plan.validation))]
    return [np.flatnonzero(plan.folds == number) for number in range(min(n_networks, N_FOLDS))]


def _best(snapshots: Sequence[Snapshot], n: int) -> list[Snapshot]:
    """So many snapshots of a network, those of the lowest loss, in the order of their epochs."""
    best = sorted(snapshots, key=lambda snapshot: (snapshot.loss, snapshot.epoch))[:n]
    return sorted(best, key=lambda snapshot: snapshot.epoch)


class _Ensemble:
    """Networks, the share of each, and their common prediction of rows."""

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


def merged(
    kept: list[Snapshot],
    share: NDArray[np.float64],
    net: nn.Module,
    task: Task,
    rows: EncodedRows,
    *,
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
    return _Ensemble(net, states, of_each, task, rows.x, by_kernels)


def merged_if_as_good(
    kept: list[Snapshot],
    share: NDArray[np.float64],
    net: nn.Module,
    task: Task,
    rows: EncodedRows,
    *,
    by_kernels: bool,
) -> _Ensemble:
    """As `merged`, unless epochs that lie far apart predict worse so: then snapshots stay as they are."""
    code, weight = rows.code, rows.weight

    def loss(essence: NDArray[np.float64]) -> float:
        return float(np.average(task.row_losses(essence[None], code)[0], weights=weight))

    mean = merged(kept, share, net, task, rows, by_kernels=by_kernels)
    apart = loss(np.einsum("n,n...->...", share, np.stack([snapshot.essence for snapshot in kept])))
    if loss(task.essence_of(mean.prediction, code)) <= apart + MERGED_LOSS * abs(apart):
        return mean
    return _Ensemble(net, [snapshot.weights for snapshot in kept], share, task, rows.x, by_kernels)


def _has_few_of_a_class(task: Task, code: NDArray[np.generic]) -> bool:
    if not task.classes:
        return False
    return int(np.bincount(code.astype(np.int64), minlength=len(task.classes)).min()) < FEWEST_OF_A_CLASS


def _select(candidates: list[Snapshot], task: Task, rows: EncodedRows, most: int) -> NDArray[np.int64]:
    """How often each enters, by the loss of the mean prediction."""
    essences = np.stack([candidate.essence for candidate in candidates])
    return select_greedily(essences, lambda means: task.row_losses(means, rows.code), rows.weight, most)


def _as_it_is(net: nn.Module, task: Task, rows: EncodedRows) -> Snapshot:
    """A network that was stopped before its first epoch ended."""
    output = forward_in_chunks(net.eval(), torch.from_numpy(rows.x)).numpy()
    return Snapshot(0, 0, np.inf, task.essence(output, rows.code), net.state_dict())
