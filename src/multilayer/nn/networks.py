"""The tabular networks: an embedding of the columns, then one of the architectures of this folder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from multilayer.errors import ConfigError
from multilayer.nn.blocks import mlp
from multilayer.nn.config import NetworkFields
from multilayer.nn.embeddings import TableEmbedding
from multilayer.nn.monotone import FALLING, FREE, RISING, UNUSED, monotone_mlp
from multilayer.nn.realmlp import PBLDEmbedding, RealMLP
from multilayer.nn.resnet import ResNet
from multilayer.nn.tabm import TabM


@dataclass(frozen=True)
class NetworkConfig(NetworkFields):
    """All that it takes to build a tabular network again, without its weights.

    n_num:         encoded numbers in a row
    cardinalities: number of codes of each category column
    periodic:      which of the numbers get a periodic embedding
    n_frequencies, d_periodic: cosines of it, and outputs, for each number
    hidden:        widths of the hidden layers
    d_out:         outputs
    activation, norm, dropout: as in `mlp`
    rising, falling: which of the numbers the output must never fall, or never rise, with (`monotone_mlp`)
    unused:        which of the numbers have no influence, in such a network
    architecture:  a name of `ARCHITECTURES`, whose builder says what it reads of the rest
    keep:          which of the numbers also go through as they are; None is all
    piecewise:     which of the numbers get a piecewise-linear embedding
    n_bins, d_piecewise: bins of it, and outputs, for each number
    link:          of a network that averages predictions: what makes its output one

    Raises:
        ConfigError: `build` of an unknown architecture, or settings that it refuses.

    >>> NetworkConfig(n_num=2, cardinalities=(), periodic=(0,), hidden=(8,), d_out=1).build()[-1]
    Linear(in_features=8, out_features=1, bias=True)
    """

    def build(self) -> Any:
        """A new network with weights drawn from torch's generator."""
        if self.architecture not in ARCHITECTURES:
            known = ", ".join(sorted(ARCHITECTURES))
            raise ConfigError(f"architecture must be one of {known}; got {self.architecture!r}.")
        return ARCHITECTURES[self.architecture](self)

    def embedding(self, **settings: Any) -> TableEmbedding:
        """What turns a row of encoded columns into numbers; the settings are `TableEmbedding`'s."""
        return TableEmbedding(
            self.n_num,
            self.cardinalities,
            keep=self.keep,
            periodic=self.periodic,
            piecewise=self.piecewise,
            n_bins=self.n_bins,
            d_piecewise=self.d_piecewise,
            n_frequencies=self.n_frequencies,
            **{"d_periodic": self.d_periodic, **settings},
        )


def _mlp(config: NetworkConfig) -> nn.Sequential:
    embedding = config.embedding()
    if config.rising or config.falling:
        return nn.Sequential(embedding, *_monotone_backbone(config, embedding.d_out))
    backbone = mlp(
        embedding.d_out,
        config.hidden,
        config.d_out,
        activation=config.activation,
        norm=config.norm,
        dropout=config.dropout,
    )
    return nn.Sequential(embedding, *backbone)


def _monotone_backbone(config: NetworkConfig, d_in: int) -> nn.Sequential:
    kinds = [FREE] * d_in  # the numbers come first
    for places, kind in ((config.rising, RISING), (config.falling, FALLING), (config.unused, UNUSED)):
        for place in places:
            kinds[place] = kind
    if config.activation != "relu":
        raise ConfigError(f"a monotone network takes the activation 'relu'; got {config.activation!r}.")
    return monotone_mlp(kinds, config.hidden, config.d_out, norm=config.norm, dropout=config.dropout)


def _linear(config: NetworkConfig) -> nn.Sequential:
    """A linear model: y = b + W num[keep] + sum_c table_c[code_c], where a code has a row of all outputs.

    It is an embedding and one Linear, as every network here; whoever sets its weights makes those of the last
    layer for the tables' rows 1 where an output meets itself, and 0 elsewhere.
    """
    embedding = config.embedding(d_category=config.d_out, one_hot_up_to=0)
    return nn.Sequential(embedding, nn.Linear(embedding.d_out, config.d_out))


def _resnet(config: NetworkConfig) -> ResNet:
    """hidden: width between the blocks, then inside each of them."""
    if len(config.hidden) < 2:
        raise ConfigError(
            f"a ResNet needs its width, then one for each block, such as (192, 384); got {config.hidden}."
        )
    embedding, (d, *inside) = config.embedding(), config.hidden
    return ResNet(
        embedding.d_out, config.d_out, d=d, hidden=inside, dropout=config.dropout, embedding=embedding
    )


def _realmlp(config: NetworkConfig) -> RealMLP:
    embedding = config.embedding(d_periodic=3, make_periodic=PBLDEmbedding)
    return RealMLP(
        embedding.d_out,
        config.d_out,
        hidden=config.hidden,
        activation=config.activation,
        dropout=config.dropout,
        embedding=embedding,
    )


def _tabm(config: NetworkConfig) -> TabM:
    embedding = config.embedding(one_hot_up_to=max(config.cardinalities, default=0))
    return TabM(
        embedding.d_out,
        config.d_out,
        hidden=config.hidden,
        dropout=config.dropout,
        embedding=embedding,
        widths=embedding.widths,
        link=config.link,
    )


ARCHITECTURES: dict[str, Callable[[NetworkConfig], nn.Module]] = {
    "linear": _linear,
    "mlp": _mlp,
    "realmlp": _realmlp,
    "resnet": _resnet,
    "tabm": _tabm,
}
