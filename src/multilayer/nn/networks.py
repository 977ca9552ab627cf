"""The tabular networks: an embedding of the columns, then a multilayer perceptron."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from multilayer.nn.blocks import mlp
from multilayer.nn.embeddings import TableEmbedding


@dataclass(frozen=True)
class NetworkConfig:
    """All that it takes to build a tabular network again, without its weights.

    n_num:         encoded numbers in a row
    cardinalities: number of codes of each category column
    periodic:      which of the numbers get a periodic embedding
    hidden:        widths of the hidden layers
    d_out:         outputs
    activation, norm, dropout: as in `mlp`

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

    def build(self) -> nn.Sequential:
        """A new network with weights drawn from torch's generator."""
        embedding = TableEmbedding(self.n_num, self.cardinalities, periodic=self.periodic)
        backbone = mlp(
            embedding.d_out,
            self.hidden,
            self.d_out,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
        )
        return nn.Sequential(embedding, *backbone)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a model file; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "NetworkConfig":
        """The inverse of `to_json`."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list | tuple)}
        return cls(**{**values, **lists})
