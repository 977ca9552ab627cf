"""The tabular networks: an embedding of the columns, then a multilayer perceptron."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from multilayer.errors import ConfigError
from multilayer.nn.blocks import mlp
from multilayer.nn.embeddings import TableEmbedding
from multilayer.nn.monotone import FALLING, FREE, RISING, UNUSED, monotone_mlp


@dataclass(frozen=True)
class NetworkConfig:
    """All that it takes to build a tabular network again, without its weights.

    n_num:         encoded numbers in a row
    cardinalities: number of codes of each category column
    periodic:      which of the numbers get a periodic embedding
    hidden:        widths of the hidden layers
    d_out:         outputs
    activation, norm, dropout: as in `mlp`
    rising, falling: which of the numbers the output must never fall, or never rise, with (`monotone_mlp`)
    unused:        which of the numbers have no influence, in such a network

    >>> NetworkConfig(n_num=2, cardinalities=(), periodic=(0,), hidden=(8,), d_out=1).build()[-1]
    Linear(in_features=8, out_features=1, bias=True)
    """

    n_num: int
    cardinalities: tuple[int, ...]
    periodic: tuple[int, ...]
    hidden: tuple[int, ...]
    d_out: int
    activation: str = "relu"
    norm: str | None = None
    dropout: float = 0.0
    rising: tuple[int, ...] = ()
    falling: tuple[int, ...] = ()
    unused: tuple[int, ...] = ()

    def build(self) -> nn.Sequential:
        """A new network with weights drawn from torch's generator."""
        embedding = TableEmbedding(self.n_num, self.cardinalities, periodic=self.periodic)
        if self.rising or self.falling:
            return nn.Sequential(embedding, *self._monotone_backbone(embedding.d_out))
        backbone = mlp(
            embedding.d_out,
            self.hidden,
            self.d_out,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
        )
        return nn.Sequential(embedding, *backbone)

    def _monotone_backbone(self, d_in: int) -> nn.Sequential:
        kinds = [FREE] * d_in  # the numbers come first
        for places, kind in ((self.rising, RISING), (self.falling, FALLING), (self.unused, UNUSED)):
            for place in places:
                kinds[place] = kind
        if self.activation != "relu":
            raise ConfigError(f"a monotone network takes the activation 'relu'; got {self.activation!r}.")
        return monotone_mlp(kinds, self.hidden, self.d_out, norm=self.norm, dropout=self.dropout)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a model file; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "NetworkConfig":
        """The inverse of `to_json`."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list | tuple)}
        return cls(**{**values, **lists})
