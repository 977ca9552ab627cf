"""What share a linear network gets in a model's predictions, by what all say of rows held out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multilayer.recipe.best_stretch import Judged, loss_of_all
from multilayer.tasks.task import Kind, Task

Floats = NDArray[np.float64]

SHARES = np.linspace(0.0, 0.95, 20)
CAUTION = 0.75  # standard errors by which a share must be better than none
# Of what the mean of all networks should take off the loss of few, by `loss_of_all`
BELIEVED: Mapping[Kind, float] = {"regression": 0.5, "multiclass": 0.5, "binary": 0.0, "multilabel": 0.0}
DRAWS = 100
SMALLEST = 0.01  # share; a linear network with less is left out


@dataclass(frozen=True)
class Share:
    """The share of a linear network, and the losses of held-out rows that it follows from.

    value:    from 0 to below 1
    alone:    loss of the linear network
    others:   of those of the other networks that held a row out
    together: of these with the share
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


def best_share(task: Task, groups: Sequence[HeldOut], n_networks: int, *, is_too_low: bool = False) -> Share:
    """The mean of the shares that lose least on rows drawn at random from those held out.

    s = mean_b argmin_s  sum_i m_bi (loss_i(s) - loss_i(0)) + off(s) + caution se(s)

    m_b:  weights of the rows in draw b, Dirichlet
    se:   standard error of the mean of loss_i(s) - loss_i(0); evidence of few rows must be clear
    off:  a row is held out by one network or two, and the mean of all errs less: half of that difference,
          with the linear network's share, as `loss_of_all` has it; for two classes none, as epochs that were
          chosen by these rows lose too little on them, by about as much

    Source:  Rubin 1981, doi:10.1214/aos/1176345338 (Bayesian bootstrap); the constants: docs/log.md

    Args:
        groups: of rows that the same networks hold out.
        n_networks: the others, in all.
    """
    mass = np.concatenate([each.weight for each in groups])
    mass = mass / mass.sum()
    losses = np.concatenate(
        [task.row_losses(each.blended(np.mean(each.others, axis=0)), each.code) for each in groups], axis=1
    )
    judged = [Judged([each.blended(said) for said in each.others], each.code, each.weight) for each in groups]
    off = BELIEVED[task.kind] * (loss_of_all(judged, task, n_networks) - losses @ mass)
    gain = losses - losses[0]
    error = np.sqrt(np.maximum((gain**2) @ mass - (gain @ mass) ** 2, 0) * (mass**2).sum())
    drawn = mass[:, None] * np.random.default_rng(0).exponential(size=(len(mass), DRAWS))
    each_draw = gain @ (drawn / drawn.sum(axis=0)) + (off + CAUTION * error)[:, None]
    share = float(SHARES[each_draw.argmin(axis=0)].mean())
    together, alone = (
        float(np.concatenate([task.row_losses(said[None], each.code)[0] for said, each in pairs]) @ mass)
        for pairs in (
            [(share * each.linear + (1 - share) * np.mean(each.others, axis=0), each) for each in groups],
            [(each.linear, each) for each in groups],
        )
    )
    return Share(share if share >= SMALLEST else 0.0, alone, float(losses[0] @ mass), together)
