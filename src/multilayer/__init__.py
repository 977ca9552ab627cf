"""Build, train, understand and ship multilayer perceptrons.

There are three ways in:

- for a network of your own: `block`, `mlp`, `train`, `train_pack`, `predict`, `trace`, and `multilayer.nn`;
- for a table: `fit`, `read_table`, `infer_schema`, `Schema`, `Model`;
- for scikit-learn: `MLPClassifier`, `MLPRegressor`.

Every name is loaded when it is first used, so that `import multilayer` takes no time and loads no PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multilayer.distillation.distill import distill
    from multilayer.errors import (
        ConfigError,
        DataError,
        MissingExtraError,
        ModelFileError,
        MultilayerError,
        OutputError,
        SchemaError,
        TableWarning,
    )
    from multilayer.estimators import MLPClassifier, MLPRegressor
    from multilayer.inspect.explanation import explain
    from multilayer.inspect.trace import trace
    from multilayer.model.model import Model
    from multilayer.nn.blocks import block, mlp
    from multilayer.recipe.fit import fit
    from multilayer.table.schema import Schema, infer_schema
    from multilayer.table.sources.read import read_table
    from multilayer.training.history import History
    from multilayer.training.loop import train, train_pack
    from multilayer.training.losses import GammaLoss, QuantileLoss, TweedieLoss
    from multilayer.training.optim import Muon
    from multilayer.training.outputs import predict

    __version__: str

__all__ = [
    "ConfigError",
    "DataError",
    "GammaLoss",
    "History",
    "MLPClassifier",
    "MLPRegressor",
    "MissingExtraError",
    "Model",
    "ModelFileError",
    "MultilayerError",
    "Muon",
    "OutputError",
    "QuantileLoss",
    "Schema",
    "SchemaError",
    "TableWarning",
    "TweedieLoss",
    "block",
    "distill",
    "explain",
    "fit",
    "infer_schema",
    "mlp",
    "predict",
    "read_table",
    "trace",
    "train",
    "train_pack",
]

# Where each public name lives. No module directly below multilayer may bear one of these names: importing it
# would bind the module here and hide the name (this is why the folder is training/, not train/).
_NAMES = {
    "ConfigError": "multilayer.errors",
    "DataError": "multilayer.errors",
    "GammaLoss": "multilayer.training.losses",
    "History": "multilayer.training.history",
    "MLPClassifier": "multilayer.estimators",
    "MLPRegressor": "multilayer.estimators",
    "MissingExtraError": "multilayer.errors",
    "Model": "multilayer.model.model",
    "ModelFileError": "multilayer.errors",
    "MultilayerError": "multilayer.errors",
    "Muon": "multilayer.training.optim",
    "OutputError": "multilayer.errors",
    "QuantileLoss": "multilayer.training.losses",
    "Schema": "multilayer.table.schema",
    "SchemaError": "multilayer.errors",
    "TableWarning": "multilayer.errors",
    "TweedieLoss": "multilayer.training.losses",
    "block": "multilayer.nn.blocks",
    "distill": "multilayer.distillation.distill",
    "explain": "multilayer.inspect.explanation",
    "fit": "multilayer.recipe.fit",
    "infer_schema": "multilayer.table.schema",
    "mlp": "multilayer.nn.blocks",
    "predict": "multilayer.training.outputs",
    "read_table": "multilayer.table.sources.read",
    "trace": "multilayer.inspect.trace",
    "train": "multilayer.training.loop",
    "train_pack": "multilayer.training.loop",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version  # takes longer to import than all of this file

        value: Any = version("multilayer")
    elif name == "nn":  # blocks, embeddings and networks, as `multilayer.nn.mlp` and so on
        value = import_module("multilayer.nn")
    elif name in _NAMES:
        from multilayer.signals import held_back

        with held_back():
            value = getattr(import_module(_NAMES[name]), name)
    else:
        from multilayer.errors import nearest

        raise AttributeError(f"multilayer has no attribute {name!r}.{nearest(name, __all__)}")
    globals()[name] = value  # from now on found without this function
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not, for completion in a terminal or notebook."""
    return sorted({*globals(), *__all__, "__version__", "nn"})
