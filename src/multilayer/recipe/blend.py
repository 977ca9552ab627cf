"""What share a linear network gets in a model's predictions, by what all say of rows held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multilayer.recipe.best_stretch import Judged, loss_of_all
from multilayer.tasks.task import Task

Floats = NDArray[np.float64]

SHARES = np.linspace(0.0, 0.95, 20)
CAUTION = 0.5  # standard errors by which a share must be better than none


@dataclass(frozen=True)
class Share:
    """The share of a linear network, and the losses of held-out rows that it follows from.

    value:    from 0 to below 1
    alone:    loss of the linear network
    others:   of the other networks, as many as there are
    together: with the share
    """

    value: float
    alone: float
    others: float
    together: float


@dataclass(frozen=True)
class HeldOut:
    """What networks say of rows that they did not train on, as `Task.essence_of` has it.

    linear: (n_rows, ...)
    others: the same of each of the other networks
    code:   of the rows
    weight: of the rows (n_rows,)
    """

    linear: Floats
    others: list[Floats]
    code: NDArray[np.generic]
    weight: Floats

    def blended(self, others: Floats) -> Floats:
        """By share, (n_shares, n_rows, ...)."""
        return np.stack([share * self.linear + (1 - share) * others for share in SHARES])


def best_share(task: Task, groups: Sequence[HeldOut], n_networks: int) -> Share:
    """The share with the least loss, where that is surely below the loss without a linear network.

    L(s) = L_n(s) + caution se(s),   se(s): standard error of the mean of loss_i(s) - loss_i(0) over the rows

    L_n is what all other networks together should lose with the linear one's share (`loss_of_all`): a row is
    held out by few of them, whose mean errs more, and would leave too large a share to the linear one.

    Args:
        groups: of rows that the same networks hold out.
        n_networks: the others, in all.
    """
    judged = [Judged([each.blended(said) for said in each.others], each.code, each.weight) for each in groups]
    losses = loss_of_all(judged, task, n_networks)
    mass = np.concatenate([each.weight for each in groups])
    mass = mass / mass.sum()
    rows = np.concatenate(
        [task.row_losses(each.blended(np.mean(each.others, axis=0)), each.code) for each in groups], axis=1
    )
    gain = rows - rows[0]
    error = np.sqrt(np.maximum((gain**2) @ mass - (gain @ mass) ** 2, 0) * (mass**2).sum())
    best = int(np.argmin(losses + CAUTION * error))
    alone = np.concatenate([task.row_losses(each.linear[None], each.code)[0] for each in groups])
    return Share(float(SHARES[best]), float(alone @ mass), float(losses[0]), float(losses[best]))
