"""Weight decay that follows from how much of a target is noise."""

from collections.abc import Sequence

import numpy as np
import torch

from multilayer.recipe.config import Config
from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.tasks.classification import Classification
from multilayer.tasks.task import Task
from multilayer.training.pack import Progress

OF_NUMBERS = 0.1  # weight decay where the target is no class
FIRST = LEAST = 0.2
MOST = 3.0
AT_HALF = 0.4  # where half of what there is to tell classes by is noise
PATIENCE = 2  # epochs without a lower validation loss
MARGIN = 0.95  # training loss below so much of validation loss is learnt by heart
LEAST_ENTROPY = 1e-9  # of rows that are all of one class, as a first chunk may be


class NoiseDecay:
    """A callback of `train_pack`: the noisier the classes, the stronger the weight decay of all networks.

    weight_decay = 0.4 q / (1 - q)      between 0.2 and 3
    q:           lowest validation loss so far, mean of all networks, as a share of what a constant loses

    Classes that hardly depend on the columns have q close to 1, those that follow from them q close to 0. But
    q is close to 1 as well where there is much still to be learnt. So decay stays at 0.2 until networks learn
    by heart: validation loss no longer falls, and training loss is well below it.

    Source:  ridge regression, whose best penalty is the variance of the noise over that of the coefficients:
             Hoerl & Kennard 1970, "Ridge regression: biased estimation for nonorthogonal problems"
    Differs: losses for variances; the factor and the ends of the range are from experiments (docs/log.md)

    Args:
        optimizers: of all networks; groups without weight decay stay so.
        constant_loss: validation loss of the best constant.
    """

    _multilayer_changes = "settings"  # of the optimisers, and nothing else; see training/pack.py

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer], constant_loss: float) -> None:
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self.groups = [group for group in groups if group["weight_decay"]]
        self.constant_loss = max(constant_loss, LEAST_ENTROPY)
        self.lowest_loss = np.inf
        self.n_since = 0  # epochs since then
        self.by_heart = False

    def __call__(self, progress: Progress) -> None:
        """Set the decay of the epoch to come."""
        if progress.val_loss is None:
            return
        self.n_since = 0 if progress.val_loss < self.lowest_loss else self.n_since + 1
        self.lowest_loss = min(self.lowest_loss, progress.val_loss)
        has_gap = progress.train_loss < MARGIN * progress.val_loss
        self.by_heart = self.by_heart or (has_gap and self.n_since >= PATIENCE)
        if self.by_heart:
            for group in self.groups:
                group["weight_decay"] = decay_for(self.lowest_loss / self.constant_loss)


def first_decay(config: Config, task: Task) -> float:
    """Weight decay at the start."""
    if config.weight_decay is not None:
        return config.weight_decay
    return FIRST if follows_noise(config, task) else OF_NUMBERS


def follows_noise(config: Config, task: Task) -> bool:
    """Whether `NoiseDecay` sets the decay: for one target of classes, unless the user did."""
    return config.weight_decay is None and isinstance(task, Classification)


def decay_for(noise_share: float) -> float:
    """Weight decay for classes of which that share is noise.

    >>> [round(decay_for(share), 2) for share in (0.1, 0.5, 0.8, 1.02)]
    [0.2, 0.4, 1.6, 3.0]
    """
    if noise_share >= 1:
        return MOST
    return float(np.clip(AT_HALF * noise_share / (1 - noise_share), LEAST, MOST))


def constant_loss(task: Task, rows: EncodedRows) -> float:
    """What the best constant loses on rows; of classes their entropy.

    >>> task = Classification.from_target(np.array(["no", "yes"]))
    >>> round(constant_loss(task, EncodedRows(np.zeros((4, 1), np.float32), np.array([0, 1, 0, 1]))), 4)
    0.6931
    """
    code, weight = rows.code, rows.weight
    constant = task.constant(code, weight)
    essence = task.essence_of(np.broadcast_to(constant, (len(code), *constant.shape)), code)
    return float(np.average(task.row_losses(essence, code), weights=weight))
