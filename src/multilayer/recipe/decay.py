"""Weight decay that follows from how much of a target is noise."""

from collections.abc import Sequence

import numpy as np
import torch

from multilayer.recipe.config import Config
from multilayer.recipe.data import Rows
from multilayer.training.classification import Classification
from multilayer.training.pack import Progress
from multilayer.training.task import Task

UNKNOWN = 0.1  # of all epochs: so long are validation rows not asked
AT_HALF = 0.4  # weight decay where half of the target is noise, with at most so many rows:
MANY_ROWS = 50_000
LEAST, MOST = 0.2, 3.0
LEAST_ENTROPY = 1e-9  # of rows that are all of one class, as a first chunk may be


class NoiseDecay:
    """A callback of `train_pack`: the noisier the classes, the stronger the weight decay of all networks.

    weight_decay = 0.4 q / (1 - q) min(1, 50,000 / n)      between 0.2 and 3
    q:           lowest validation loss so far, mean of all networks, as a share of what a constant loses
    n:           training rows: noise averages out over many

    Classes that hardly depend on the columns have q close to 1, those that follow from them q close to 0.
    The first tenth of the epochs is trained with the decay that the optimisers came with.

    Source:  ridge regression, whose best penalty is the variance of the noise over that of the coefficients:
             Hoerl & Kennard 1970, "Ridge regression: biased estimation for nonorthogonal problems"
    Differs: losses for variances; the factor and the ends of the range are from experiments (docs/log.md)

    Args:
        optimizers: of all networks; groups without weight decay stay so.
        constant_loss: validation loss of the best constant.
        n_rows: training rows.
    """

    def __init__(
        self, optimizers: Sequence[torch.optim.Optimizer], constant_loss: float, n_rows: int
    ) -> None:
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self.groups = [group for group in groups if group["weight_decay"]]
        self.constant_loss, self.n_rows = constant_loss, n_rows
        self.lowest_loss = np.inf

    def __call__(self, progress: Progress) -> None:
        """Set the decay of the epoch to come."""
        if progress.val_loss is None:
            return
        self.lowest_loss = min(self.lowest_loss, progress.val_loss)
        if progress.epoch <= UNKNOWN * progress.epochs:
            return
        for group in self.groups:
            group["weight_decay"] = decay_for(self.lowest_loss / self.constant_loss, self.n_rows)


def follows_noise(config: Config, task: Task) -> bool:
    """Whether `NoiseDecay` sets the decay: for one target of classes, unless the user did."""
    return config.weight_decay is None and isinstance(task, Classification)


def decay_for(noise_share: float, n_rows: int) -> float:
    """Weight decay for so many rows with a target of which that share is noise.

    >>> [round(decay_for(share, n_rows=1_000), 2) for share in (0.1, 0.5, 0.8, 1.02)]
    [0.2, 0.4, 1.6, 3.0]
    """
    if noise_share >= 1:
        return MOST
    decay = AT_HALF * noise_share / (1 - noise_share) * min(1, MANY_ROWS / n_rows)
    return float(np.clip(decay, LEAST, MOST))


def constant_loss(task: Task, rows: Rows) -> float:
    """What the best constant loses on rows of classes: their entropy.

    >>> task = Classification.from_target(np.array(["no", "yes"]))
    >>> round(constant_loss(task, (np.zeros((4, 1), np.float32), np.array([0, 1, 0, 1]), None)), 4)
    0.6931
    """
    _, code, weight = rows
    of_label = task.constant(code, weight)[code.astype(np.int64)]
    return max(float(np.average(task.row_losses(of_label, code), weights=weight)), LEAST_ENTROPY)
