"""One stretch of epochs for all networks, over which the weights of each are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multilayer.tasks.task import Task
from multilayer.training.history import History, Stop
from multilayer.training.snapshots import Snapshot

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """The predictions of networks for rows that they validate on, after each of some epochs.

    said:   for each network, (n_epochs, n_rows, ...), the part of its predictions that `Task.essence` keeps
    code:   target of the rows, as the task codes it
    weight: weight of the rows (n_rows,)
    """

    said: list[Floats]
    code: NDArray[np.generic]
    weight: Floats

    def losses(self, task: Task) -> tuple[Floats, Floats]:
        """Summed over the rows, by epoch: of one network, on average, and of the networks' mean."""
        alone = np.mean([task.row_losses(said, self.code) @ self.weight for said in self.said], axis=0)
        mean = sum(self.said[1:], self.said[0]) / len(self.said)
        return alone, task.row_losses(mean, self.code) @ self.weight


def are_complete(snapshots: Sequence[Sequence[Snapshot]], histories: Sequence[History]) -> bool:
    """Whether each network came to an end, and its epochs are all there."""
    return all(
        len(of) == len(history.val_loss) > 0 and history.stop is not Stop.DIVERGED
        for of, history in zip(snapshots, histories, strict=True)
    )


def best_stretch(
    snapshots: Sequence[Sequence[Snapshot]],
    task: Task,
    code: NDArray[np.generic],
    weight: NDArray[np.floating] | None,
    numbers: Sequence[NDArray[np.int64]],
    *,
    latest: bool = False,
) -> tuple[list[list[Snapshot]], float]:
    """The snapshots of each network in the stretch with which all together lose least, and that loss.

    A stretch ends in the later half of the run, and is a quarter of it, or of a network's own run where that
    ended before. There are few to choose from, and all rows to choose by: what is best by chance is seldom
    taken. The loss is of the mean prediction over the epochs, close to that of the mean weights at their end.

    Source:  Izmailov et al. 2018, arXiv:1803.05407, for the mean of weights over late epochs

    Args:
        snapshots: of each network, of all its epochs (`are_complete`).
        code, weight: of all validation rows, as the loss counts them.
        numbers: groups of those rows; network i validates on group i % n_groups.
        latest: whether there is nothing to choose: the stretch ends with the run.
    """
    last = max(map(len, snapshots))
    ends = range(last if latest else (last + 1) // 2, last + 1)
    judged = []
    for group, rows in enumerate(numbers):
        of_group = snapshots[group :: len(numbers)]
        row_weight = np.ones(len(rows)) if weight is None else weight[rows].astype(float)
        judged.append(Judged([_said(of, ends) for of in of_group], code[rows], row_weight))
    losses = loss_of_all(judged, task, len(snapshots))
    best = int(losses.argmin())
    return [list(of[slice(*stretch(len(of), ends[best]))]) for of in snapshots], float(losses[best])


def stretch(n_epochs: int, end: int) -> tuple[int, int]:
    """Of a network's epochs, counted from 0, the first of the stretch, and the one after its last.

    >>> stretch(20, 18), stretch(8, 18)
    ((13, 18), (6, 8))
    """
    end = min(end, n_epochs)
    return max(0, end - -(-n_epochs // 4)), end


def _said(of: Sequence[Snapshot], ends: Sequence[int]) -> Floats:
    """Of the rows, on average over the stretch that ends with each of these epochs."""
    sums = np.cumsum([np.zeros_like(of[0].essence), *(snapshot.essence for snapshot in of)], axis=0)
    places = [stretch(len(of), end) for end in ends]
    return np.stack([(sums[after] - sums[first]) / (after - first) for first, after in places])


def loss_of_all(judged: Sequence[Judged], task: Task, n_networks: int) -> Floats:
    """By epoch, the loss that the mean of all networks should have, by groups of rows that only some judge.

    L(n) = a + b / n    for the mean of n networks: exact for squared error, if they err independently

    With folds a row is judged by a network or two, and what more of them take off is read from those two:
    alone, networks are best after fewer epochs than together.

    >>> from multilayer.tasks.regression import Regression
    >>> task = Regression.from_target(np.array([-1.0, 1.0]))
    >>> pair = [np.array([[1.0]]), np.array([[-1.0]])]  # two networks, one epoch, one row, whose target is 0
    >>> losses = [loss_of_all([Judged(pair, np.zeros(1), np.ones(1))], task, n) for n in (1, 2, 4)]
    >>> (np.concatenate(losses) * task.scale**2).tolist()
    [1.0, 0.0, -0.5]
    """
    total = sum(float(group.weight.sum()) for group in judged)
    inverse = sum(float(group.weight.sum()) / len(group.said) for group in judged) / total
    together, drop, span = np.zeros(()), np.zeros(()), 0.0
    for group in judged:
        alone, mean = group.losses(task)
        together = together + mean
        drop = drop + (alone - mean)
        span += float(group.weight.sum()) * (1 - 1 / len(group.said))
    slope = drop / span if span else 0.0  # b
    return together / total - slope * (inverse - 1 / n_networks)
