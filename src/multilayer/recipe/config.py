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
    """How to train on a table: the defaults for its size, or what the user set.

    members:      number of networks, which are trained side by side from different seeds
    hidden:       widths of the hidden layers
    activation, norm, dropout: as in `mlp`
    epochs:       largest number of passes over the training rows; the cosine schedule ends there
    batch_size:   rows in a step
    lr:           highest learning rate of AdamW; Muon, which trains the matrices of hidden layers, takes
    twenty
                  times that
    weight_decay: decay of weight matrices; None is 0.1, for classes 0.2 and more if chance decides much of a
                  row's class
    patience:     epochs without a better validation loss before training stops
    snapshots:    for noisy classes: epochs of each network, those of lowest validation loss, to choose from
    entries:      for noisy classes: largest number of epochs that are chosen, repetitions counted
    target_statistics: whether each value of a column is also encoded by the mean of the target at that value
    network:      "default", "mlp", "resnet", "realmlp" or "tabm"
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
