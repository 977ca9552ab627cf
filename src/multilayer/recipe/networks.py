"""Published networks by name, each with the training that its paper or its authors' code gives it.

`fit(network="tabm")` builds and trains one of them on the same table, rows and encoder as the default, so
that they can be compared and used like it. To add one: its module in a file of its own in `nn/`, a builder in
`nn/networks.py`, a class here, an entry in `PUBLISHED`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.nn.tabm import Link, MemberLoss
from multilayer.table.encode import Feature
from multilayer.tasks.task import Task
from multilayer.training.losses import LOSSES, LossLike
from multilayer.training.optim import LeanAdamW, flat_cos
from multilayer.training.pack import Callback, Progress
from multilayer.training.snapshots import Keep, LastBest, Snapshots

NO_LIMIT = 1_000  # epochs at most where only patience ends a run


class MLP:
    """Linear, ReLU and dropout, twice; then a Linear. AdamW at a constant rate, the best of epochs.

    Source:  Gorishniy et al. 2021, arXiv:2106.11959, Section 3.1; sizes as in the README of the authors'
             package, batches and patience as in their experiments
    Differs: numbers are ranks from -1 to 1 instead of normal quantiles; categories of many levels get a
             vector of 8; the best epoch is that of the least validation loss; the paper tunes
             everything for each table, this does nothing of it (learning rate 1e-3, weight decay 1e-5)
    """

    schedule = "constant"
    clip_norm: float | None = None
    threads: int | None = 1  # of PyTorch's operations

    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        """Fields of `Config` that the network asks for."""
        return {
            "members": 1,
            "hidden": (384, 384),
            "dropout": 0.1,
            "epochs": NO_LIMIT,
            "batch_size": rtdl_batch_size(n_rows),
            "lr": 1e-3,
            "weight_decay": 1e-5,
            "patience": 16,
            "snapshots": 1,
        }

    def columns(self, features: Sequence[Feature], task: Task) -> dict[str, Any]:
        """Fields of `NetworkConfig`: which encoded numbers go where."""
        return {"keep": _places(features, without=("scaled",)), "periodic": ()}

    def start(self, net: Any, x: torch.Tensor) -> None:
        """Set a new network's weights by the training rows, where it wants that."""

    def optimizer(self, net: Any, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """AdamW on all parameters."""
        return LeanAdamW(net.parameters(), lr=lr, weight_decay=weight_decay)

    def loss(self, task: Task) -> LossLike:
        """What training minimises."""
        return task.loss

    def target(self, y: NDArray[Any], task: Task) -> NDArray[Any]:
        """What training rows are taught, from what the loss would want."""
        return y

    def keeper(
        self, task: Task, y: NDArray[Any], weight: NDArray[np.float32] | None, keep: Keep
    ) -> Snapshots | LastBest:
        """What chooses each network's epoch, and keeps what `keep` says of its outputs for validation rows.

        y, weight: of these rows, y as the loss wants it
        """
        return Snapshots(1, keep)

    def callbacks(self, nets: Sequence[Any], optimizers: Sequence[torch.optim.Optimizer]) -> list[Callback]:
        """What else changes from epoch to epoch."""
        return []


class ResNet(MLP):
    """Two residual blocks with BatchNorm in front; everything else as `MLP`.

    Source:  Gorishniy et al. 2021, arXiv:2106.11959, Section 3.2; sizes as in the README of the authors'
             package
    Differs: as `MLP`
    """

    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        """Width 192, hidden layers of 384 inside both blocks, dropout 0.15 there."""
        return super().settings(n_rows, task) | {"hidden": (192, 384, 384), "dropout": 0.15}


class RealMLP(MLP):
    """RealMLP-TD: 256 epochs of four waves of the learning rate; the last epoch with the least error counts.

    Source:  Holzmüller et al. 2024, arXiv:2407.04491; pytabkit 1.7.3, `RealMLP_TD`
    Differs: one-hot columns are 0 and 1, not scaled again; a missing number is the median, and a column says
             so; two classes have one logit instead of two; dropout and weight decay fall from epoch to epoch,
             not from step to step; the last, smaller batch of an epoch is not left out. As in the authors'
             code, and not in the paper, a factor on a parameter's learning rate is one on its decay, too
    """

    schedule = "coslog4"
    label_smoothing = 0.1

    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        """As published for classes, and for numbers."""
        regression = task.kind == "regression"
        return super().settings(n_rows, task) | {
            "hidden": (256, 256, 256),
            "activation": "mish" if regression else "selu",
            "dropout": 0.15,
            "epochs": 256,
            "batch_size": 256,
            "lr": 0.2 if regression else 0.04,
            "weight_decay": 0.02,
            "patience": 256,  # never
        }

    def columns(self, features: Sequence[Feature], task: Task) -> dict[str, Any]:
        """Cosines beside each robust-scaled number."""
        scaled = tuple(i for i, feature in enumerate(features) if feature.channel == "scaled")
        return {"keep": _places(features, without=("rank",)), "periodic": scaled}

    def start(self, net: Any, x: torch.Tensor) -> None:
        """Weights that give variance 1, biases that put kinks among the rows."""
        net.start_from(x)

    def optimizer(self, net: Any, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """AdamW with beta2 0.95; parts of the network have rates of their own."""
        return LeanAdamW(net.parameter_groups(lr, weight_decay), betas=(0.9, 0.95), fused=True)

    def target(self, y: NDArray[Any], task: Task) -> NDArray[Any]:
        """Classes are smoothed: 0.9 for the label, 0.1 spread over all."""
        if task.kind == "regression":
            return y
        if task.kind == "binary":
            return ((1 - self.label_smoothing) * y + self.label_smoothing / 2).astype(np.float32)
        sure = np.eye(len(task.classes), dtype=np.float32)[y]
        return (1 - self.label_smoothing) * sure + np.float32(self.label_smoothing / len(task.classes))

    def keeper(
        self, task: Task, y: NDArray[Any], weight: NDArray[np.float32] | None, keep: Keep
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

    def callbacks(self, nets: Sequence[Any], optimizers: Sequence[torch.optim.Optimizer]) -> list[Callback]:
        """Dropout and weight decay fall to zero in the second half."""
        return [_Fading(nets, optimizers)]


class TabM(MLP):
    """TabM with piecewise-linear embeddings: 32 networks in one, trained until 16 epochs bring nothing.

    Source:  Gorishniy et al. 2025, arXiv:2410.24210; the packages tabm 0.0.3 and rtdl_num_embeddings 0.0.12
             with the settings of the authors' example (batch 256, AdamW, gradients clipped to norm 1)
    Differs: numbers are ranks from -1 to 1 instead of normal quantiles; 48 bins also where values repeat; a
             column says where a number is missing; all members see the same batches; epochs are judged by the
             log loss of the mean prediction, not by its accuracy
    """

    clip_norm = 1.0
    threads = None  # its matrix products are wide

    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        """As the package has it with embeddings of numbers."""
        return super().settings(n_rows, task) | {
            "hidden": (512, 512),
            "batch_size": 256,
            "lr": 2e-3,
            "weight_decay": 3e-4,
        }

    def columns(self, features: Sequence[Feature], task: Task) -> dict[str, Any]:
        """Ranks are embedded; what has no rank (booleans, parts of dates) goes through as it is."""
        ranks = tuple(i for i, feature in enumerate(features) if feature.channel == "rank")
        links: dict[str, Link] = {"binary": "sigmoid", "multiclass": "softmax"}
        return {
            "keep": _places(features, without=("rank", "scaled")),
            "periodic": (),
            "piecewise": ranks,
            "link": links.get(task.kind, "identity"),
        }

    def optimizer(self, net: Any, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """AdamW on all parameters."""
        return LeanAdamW(net.parameters(), lr=lr, weight_decay=weight_decay, fused=True)

    def loss(self, task: Task) -> LossLike:
        """The mean of the members' losses."""
        return MemberLoss(LOSSES[str(task.loss)]())


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


PUBLISHED: dict[str, MLP] = {"mlp": MLP(), "realmlp": RealMLP(), "resnet": ResNet(), "tabm": TabM()}


def rtdl_batch_size(n_rows: int) -> int:
    """Batches that grow with the table, as in the experiments of arXiv:2106.11959.

    >>> rtdl_batch_size(20_000), rtdl_batch_size(100_000)
    (256, 512)
    """
    return 128 if n_rows < 10_000 else 256 if n_rows < 60_000 else 512 if n_rows < 200_000 else 1024


def _places(features: Sequence[Feature], without: Sequence[str]) -> tuple[int, ...]:
    return tuple(i for i, feature in enumerate(features) if feature.channel not in without)
