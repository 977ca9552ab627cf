"""RealMLP with the defaults that its authors tuned on many tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.config import Config
from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.recipe.networks.network import PublishedRecipe, places_without
from multilayer.table.steps import Feature
from multilayer.tasks.task import Task
from multilayer.training.optim import LeanAdamW
from multilayer.training.pack import Callback, Progress
from multilayer.training.schedules import flat_cos
from multilayer.training.snapshots import Keep, LastBest, Snapshots


class RealMLPRecipe(PublishedRecipe):
    """RealMLP-TD: 256 epochs of four waves of the learning rate; the last epoch with the least error counts.

    Source:  Holzmüller et al. 2024, arXiv:2407.04491; pytabkit 1.7.3, `RealMLP_TD`
    Differs: one-hot columns are 0 and 1, not scaled again; a missing number is the median, and a column says
             so; two classes have one logit instead of two; dropout and weight decay fall from epoch to epoch,
             not from step to step; the last, smaller batch of an epoch is not left out. As in the authors'
             code, and not in the paper, a factor on a parameter's learning rate is one on its decay, too
    """

    name = "realmlp"
    schedule = "coslog4"
    label_smoothing = 0.1

    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        """As published for classes, and for numbers."""
        regression = task.kind == "regression"
        return {
            "hidden": (256, 256, 256),
            "activation": "mish" if regression else "selu",
            "dropout": 0.15,
            "epochs": 256,
            "batch_size": 256,
            "lr": 0.2 if regression else 0.04,
            "weight_decay": 0.02,
            "patience": 256,  # never
        }

    def places(self, features: Sequence[Feature], task: Task) -> dict[str, Any]:
        """Cosines beside each robust-scaled number."""
        scaled = tuple(i for i, feature in enumerate(features) if feature.channel == "scaled")
        return {"keep": places_without(features, ("rank",)), "periodic": scaled}

    def start(self, net: Any, x: torch.Tensor) -> None:
        """Weights that give variance 1, biases that put kinks among the rows."""
        net.start_from(x)

    def optimizers(
        self, nets: Sequence[Any], network: NetworkConfig, lr: float, weight_decay: float
    ) -> list[Any]:
        """AdamW with beta2 0.95; parts of the network have rates of their own."""
        return [
            LeanAdamW(net.parameter_groups(lr, weight_decay), betas=(0.9, 0.95), fused=True) for net in nets
        ]

    def target(self, y: NDArray[Any], task: Task) -> NDArray[Any]:
        """Classes are smoothed: 0.9 for the label, 0.1 spread over all."""
        if task.kind == "regression":
            return y
        if task.kind == "binary":
            return ((1 - self.label_smoothing) * y + self.label_smoothing / 2).astype(np.float32)
        sure = np.eye(len(task.classes), dtype=np.float32)[y]
        return (1 - self.label_smoothing) * sure + np.float32(self.label_smoothing / len(task.classes))

    def keeper(
        self, task: Task, y: NDArray[Any], weight: NDArray[np.float32] | None, keep: Keep, most: int
    ) -> Snapshots | LastBest:
        """The last epoch with the fewest wrong classes, or the least squared error."""

        def error(output: NDArray[np.float32]) -> float:
            if task.kind == "regression":
                errors = (output - y) ** 2
            elif task.kind == "binary":
                errors = (output > 0) != (y > 0.5)
            else:
                errors = output.argmax(axis=1) != y
            return float(np.average(errors.reshape(len(y), -1).mean(axis=1), weights=weight))

        return LastBest(error, keep)

    def callbacks(
        self, nets: Sequence[Any], optimizers: Sequence[Any], config: Config, task: Task, rows: EncodedRows
    ) -> list[Callback]:
        """Dropout and weight decay fall to zero in the second half."""
        return [_Fading(nets, optimizers)]


class _Fading:
    """A callback: `flat_cos` on the dropout and the weight decay of each network."""

    def __init__(self, nets: Sequence[nn.Module], optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.dropouts = [(m, m.p) for net in nets for m in net.modules() if isinstance(m, nn.Dropout)]
        self.groups = [(g, g["weight_decay"]) for optimizer in optimizers for g in optimizer.param_groups]

    def __call__(self, progress: Progress) -> None:
        """Set both for the epoch to come."""
        factor = flat_cos(min(1.0, progress.epoch / progress.epochs))
        for module, p in self.dropouts:
            module.p = factor * p
        for group, weight_decay in self.groups:
            group["weight_decay"] = factor * weight_decay
