"""How networks are trained on a table: chosen by the network's recipe, or set by the user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from multilayer.errors import counted
from multilayer.recipe.choices import Quality

Whole = int | np.integer[Any]
Real = float | Whole
__all__ = ["Config", "Overrides", "Quality", "Real", "Whole", "hidden_in_words"]


def hidden_in_words(hidden: Sequence[int]) -> str:
    """The hidden layers, as a sentence says them.

    >>> hidden_in_words((96, 64)), hidden_in_words((8,)), hidden_in_words(())
    ('hidden layers of 96 and 64 units', 'a hidden layer of 8 units', 'no hidden layer')
    """
    if len(hidden) < 2:
        return f"a hidden layer of {counted(hidden[0], 'unit')}" if hidden else "no hidden layer"
    *others, last = map(str, hidden)
    return f"hidden layers of {', '.join(others)} and {last} units"


@dataclass(frozen=True)
class Config:
    """How to train on a table; `NetworkRecipe.config` chooses it.

    members:      networks, trained side by side from different seeds
    hidden:       widths of the hidden layers
    activation, norm, dropout: as in `mlp`
    epochs:       most passes over the training rows; the cosine schedule ends there
    batch_size:   rows a step
    lr:           peak learning rate of AdamW; matrices of hidden layers take twenty times that, by Muon
    weight_decay: of both, on weight matrices; None: 0.1, for classes 0.2 and more (`NoiseDecay`)
    patience:     epochs without a better validation loss before training stops
    snapshots:    epochs of each network that may be chosen for noisy classes: those of lowest validation loss
    entries:      snapshots that are chosen then, at most, repetitions counted
    target_statistics: whether columns are also encoded by the target's mean (`TargetStatistics`)
    network:      a name of `NETWORKS`
    """

    members: int = 12
    hidden: tuple[int, ...] = (96, 64)
    activation: str = "relu"
    norm: str | None = None
    dropout: float = 0.0
    epochs: int = 20
    batch_size: int = 256
    lr: float = 1e-2
    weight_decay: float | None = None
    patience: int = 8
    snapshots: int = 6
    entries: int = 24
    target_statistics: bool = False
    network: str = "default"


@dataclass(frozen=True)
class Overrides:
    """Fields of `Config` that the user set; None leaves one as it is."""

    members: int | None = None
    hidden: tuple[int, ...] | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    patience: int | None = None
    activation: str | None = None
    weight_decay: float | None = None

    @classmethod
    def make(cls, hidden: int | Sequence[int] | None, **given: Any) -> "Overrides":
        """From the arguments of `fit`, checked; one width is that of two layers."""
        widths = None if hidden is None else (hidden, hidden) if isinstance(hidden, int) else tuple(hidden)
        return cls(hidden=widths, **given)

    def of(self, config: Config) -> Config:
        """The config with what the user set."""
        given: Mapping[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(config, **{name: value for name, value in given.items() if value is not None})
