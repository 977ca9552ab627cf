"""Blocks, embeddings and tabular networks: plain `torch.nn` modules that know nothing of columns."""

from multilayer.nn.blocks import ACTIVATIONS, Residual, block, make_activation, mlp
from multilayer.nn.embeddings import CategoryEmbedding, PeriodicEmbedding, TableEmbedding
from multilayer.nn.networks import NetworkConfig

__all__ = [
    "ACTIVATIONS",
    "CategoryEmbedding",
    "NetworkConfig",
    "PeriodicEmbedding",
    "Residual",
    "TableEmbedding",
    "block",
    "make_activation",
    "mlp",
]
