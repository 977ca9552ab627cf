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
from multilayer.nn.realmlp import NTKLinear, ParametricActivation, PBLDEmbedding, RealMLP, ScalingLayer
from multilayer.nn.resnet import ResNet
from multilayer.nn.tabm import BatchEnsembleLinear, MemberLinear, MemberLoss, TabM

__all__ = [
    "ACTIVATIONS",
    "BatchEnsembleLinear",
    "CategoryEmbedding",
    "MemberLinear",
    "MemberLoss",
    "NTKLinear",
    "NetworkConfig",
    "PBLDEmbedding",
    "ParametricActivation",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "RealMLP",
    "ResNet",
    "Residual",
    "ScalingLayer",
    "TabM",
    "TableEmbedding",
    "block",
    "make_activation",
    "mlp",
    "quantile_edges",
]
