"""The interface of the networks of `fit`: their settings, architecture and training."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from multilayer.errors import ConfigError
from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.config import Config, Quality
from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.table.encode import Batch, Encoder
from multilayer.table.steps import Feature
from multilayer.tasks.task import Task
from multilayer.training.losses import LossLike
from multilayer.training.optim import LeanAdamW
from multilayer.training.pack import Callback
from multilayer.training.snapshots import Keep, LastBest, Snapshots

NO_LIMIT = 1_000  # epochs at most where only patience ends a run


@dataclass(frozen=True)
class Shape:
    """What the settings may depend on.

    n_rows:    all rows of the table, of a stream those to train on
    n_columns: columns of the schema
    monotone:  column name -> 1 or -1, of columns with a constraint
    """

    n_rows: int
    n_columns: int
    task: Task
    monotone: Mapping[str, int]


class NetworkRecipe(ABC):
    """A network of `fit`: which settings it takes, which inputs it has, and how it is trained.

    Attributes:
        schedule, clip_norm, threads: as `train_pack` takes them.
        has_folds: whether each network validates on a fold of its own and trains on the other rows; if not,
            all validate on the same share of the rows.
        averages_epochs: whether a network may become the mean of its late epochs.
        may_train_fewer: whether fewer networks train where time is short.
        is_streamed: whether it trains on tables that are larger than memory.
        has_linear: whether a linear network may have a share in the model.
    """

    schedule: ClassVar[str] = "constant"
    clip_norm: ClassVar[float | None] = None
    threads: ClassVar[int | None] = 1  # of PyTorch's operations
    has_folds: ClassVar[bool] = False
    averages_epochs: ClassVar[bool] = False
    may_train_fewer: ClassVar[bool] = False
    is_streamed: ClassVar[bool] = False
    has_linear: ClassVar[bool] = False

    @abstractmethod
    def config(self, shape: Shape, quality: Quality) -> Config:
        """The settings for a table.

        Raises:
            ConfigError: the network cannot do what is asked.
        """

    @abstractmethod
    def inputs(
        self, encoder: Encoder, batch: Batch, task: Task, monotone: Mapping[str, int]
    ) -> dict[str, Any]:
        """Fields of `NetworkConfig`: which encoded numbers go where. batch: the encoded training rows."""

    @abstractmethod
    def optimizers(
        self, nets: Sequence[Any], network: NetworkConfig, lr: float, weight_decay: float
    ) -> list[Any]:
        """An optimiser for each network."""

    def optimizer_in_words(self, network: NetworkConfig) -> str:
        """What `optimizers` gives, for the summary."""
        return "AdamW"

    def start(self, net: Any, x: torch.Tensor) -> None:  # noqa: B027 - most networks want nothing
        """Set a new network's weights by the training rows, where it wants that."""

    def loss(self, task: Task) -> LossLike:
        """What training minimises."""
        return task.loss

    def target(self, y: NDArray[Any], task: Task) -> NDArray[Any]:
        """What training rows are taught, from what the loss would want."""
        return y

    def keeper(
        self, task: Task, y: NDArray[Any], weight: NDArray[np.float32] | None, keep: Keep, most: int
    ) -> Snapshots | LastBest:
        """What keeps epochs of each network, and what `keep` says of its outputs for validation rows.

        y, weight: of these rows, y as the loss wants it
        most:      epochs of each network that may be kept
        """
        return Snapshots(most, keep)

    def callbacks(
        self, nets: Sequence[Any], optimizers: Sequence[Any], config: Config, task: Task, rows: EncodedRows
    ) -> list[Callback]:
        """What else changes from epoch to epoch. rows: to train on."""
        return []


class PublishedRecipe(NetworkRecipe):
    """A published network, trained as its paper says; the best of its epochs is kept.

    Source:  where nothing else is said Gorishniy et al. 2021, arXiv:2106.11959: batches and patience as in
             their experiments
    """

    name: ClassVar[str]

    @abstractmethod
    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        """Fields of `Config` that differ from those that all published networks share."""

    @abstractmethod
    def places(self, features: Sequence[Feature], task: Task) -> dict[str, Any]:
        """Fields of `NetworkConfig`: which of the encoded numbers go where."""

    def config(self, shape: Shape, quality: Quality) -> Config:
        """As published.

        Raises:
            ConfigError: a quality other than the default, constraints, quantiles and the like.
        """
        if quality != "default":
            raise ConfigError(
                f"quality={quality!r} is for the default network; {self.name!r} is trained as its paper "
                "says. Leave it out, or set epochs and members."
            )
        task, monotone = shape.task, shape.monotone
        if monotone or (task.kind == "regression" and task.loss != "mse") or task.kind == "multilabel":
            asked = (
                f"monotone={dict(monotone)!r}" if monotone else task.aim_in_words() or f"the task {task.kind}"
            )
            raise ConfigError(
                f"network={self.name!r} predicts classes or means, without constraints; got {asked}. "
                "Leave out network, as the default network can do all of this, or leave out that."
            )
        shared = {
            "members": 1,
            "dropout": 0.1,
            "epochs": NO_LIMIT,
            "batch_size": rtdl_batch_size(shape.n_rows),
            "lr": 1e-3,
            "weight_decay": 1e-5,
            "patience": 16,
            "snapshots": 1,
        }
        return Config(network=self.name, **(shared | self.settings(shape.n_rows, task)))

    def inputs(
        self, encoder: Encoder, batch: Batch, task: Task, monotone: Mapping[str, int]
    ) -> dict[str, Any]:
        """The architecture bears the network's name."""
        return {"architecture": self.name, **self.places(encoder.num_features, task)}

    def optimizers(
        self, nets: Sequence[Any], network: NetworkConfig, lr: float, weight_decay: float
    ) -> list[Any]:
        """AdamW on all parameters."""
        return [LeanAdamW(net.parameters(), lr=lr, weight_decay=weight_decay) for net in nets]


def rtdl_batch_size(n_rows: int) -> int:
    """Batches that grow with the table, as in the experiments of arXiv:2106.11959.

    >>> rtdl_batch_size(20_000), rtdl_batch_size(100_000)
    (256, 512)
    """
    return 128 if n_rows < 10_000 else 256 if n_rows < 60_000 else 512 if n_rows < 200_000 else 1024


def ranks_alone(features: Sequence[Feature]) -> dict[str, Any]:
    """Fields of `NetworkConfig`: numbers enter as their ranks, whatever has none as it is."""
    return {"keep": places_without(features, ("scaled",)), "periodic": ()}


def places_without(features: Sequence[Feature], channels: Sequence[str]) -> tuple[int, ...]:
    """Places of the encoded numbers that are of none of these channels."""
    return tuple(i for i, feature in enumerate(features) if feature.channel not in channels)
