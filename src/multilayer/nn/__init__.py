"""Blocks, embeddings and tabular networks: plain `torch.nn` modules that know nothing of columns.

Every name is loaded when it is first used: a model file is read without PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from multilayer.errors import nearest

if TYPE_CHECKING:
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

_NAMES = {
    "ACTIVATIONS": "multilayer.nn.blocks",
    "BatchEnsembleLinear": "multilayer.nn.tabm",
    "CategoryEmbedding": "multilayer.nn.embeddings",
    "MemberLinear": "multilayer.nn.tabm",
    "MemberLoss": "multilayer.nn.tabm",
    "NTKLinear": "multilayer.nn.realmlp",
    "NetworkConfig": "multilayer.nn.networks",
    "PBLDEmbedding": "multilayer.nn.realmlp",
    "ParametricActivation": "multilayer.nn.realmlp",
    "PeriodicEmbedding": "multilayer.nn.embeddings",
    "PiecewiseLinearEmbedding": "multilayer.nn.embeddings",
    "RealMLP": "multilayer.nn.realmlp",
    "ResNet": "multilayer.nn.resnet",
    "Residual": "multilayer.nn.blocks",
    "ScalingLayer": "multilayer.nn.realmlp",
    "TabM": "multilayer.nn.tabm",
    "TableEmbedding": "multilayer.nn.embeddings",
    "block": "multilayer.nn.blocks",
    "make_activation": "multilayer.nn.blocks",
    "mlp": "multilayer.nn.blocks",
    "quantile_edges": "multilayer.nn.embeddings",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in _NAMES:
        raise AttributeError(f"multilayer.nn has no attribute {name!r}.{nearest(name, __all__)}")
    value = getattr(import_module(_NAMES[name]), name)
    globals()[name] = value  # from now on found without this function
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
