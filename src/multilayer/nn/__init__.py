"""Blocks, embeddings and tabular networks: plain `torch.nn` modules that know nothing of columns."""

from multilayer.nn.blocks import ACTIVATIONS, Residual, block, make_activation, mlp
from multilayer.nn.embeddings import (
    CategoryEmbedding,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    TableEmbedding,
    quantile_edges,
)
from multilayer.nn.networks import NetworkConfig

__all__ = [
    "ACTIVATIONS",
    "CategoryEmbedding",
    "NetworkConfig",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "Residual",
    "TableEmbedding",
    "block",
    "make_activation",
    "mlp",
    "quantile_edges",
]
