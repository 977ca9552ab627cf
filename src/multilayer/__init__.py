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
    from multilayer.diagnosis.doctor import doctor
    from multilayer.diagnosis.tables import doctor_table
    from multilayer.diagnosis.watch import watch
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
    from multilayer.inspect.drift import drift
    from multilayer.inspect.explanation import explain
    from multilayer.inspect.trace import trace
    from multilayer.model.model import Model
    from multilayer.nn.blocks import block, mlp
    from multilayer.recipe.fit import fit
    from multilayer.table.schema import Schema, infer_schema
    from multilayer.table.sources.read import read_table
    from multilayer.training.history import History
    from multilayer.training.loggers import CSVLogger, MLflowLogger, TensorBoardLogger
    from multilayer.training.loop import train, train_pack
    from multilayer.training.losses import GammaLoss, QuantileLoss, TweedieLoss
    from multilayer.training.optim import Muon
    from multilayer.training.outputs import predict

    __version__: str

__all__ = [
    "CSVLogger",
    "ConfigError",
    "DataError",
    "GammaLoss",
    "History",
    "MLPClassifier",
    "MLPRegressor",
    "MLflowLogger",
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
    "TensorBoardLogger",
    "TweedieLoss",
    "block",
    "distill",
    "doctor",
    "doctor_table",
    "drift",
    "explain",
    "fit",
    "infer_schema",
    "mlp",
    "predict",
    "read_table",
    "trace",
    "train",
    "train_pack",
    "watch",
]

# Where each public name lives. No module directly below multilayer may bear one of these names: importing it
# would bind the module here and hide the name (this is why the folder is training/, not train/).
_NAMES = {
    "CSVLogger": "multilayer.training.loggers",
    "ConfigError": "multilayer.errors",
    "DataError": "multilayer.errors",
    "GammaLoss": "multilayer.training.losses",
    "History": "multilayer.training.history",
    "MLPClassifier": "multilayer.estimators",
    "MLPRegressor": "multilayer.estimators",
    "MLflowLogger": "multilayer.training.loggers",
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
    "TensorBoardLogger": "multilayer.training.loggers",
    "TweedieLoss": "multilayer.training.losses",
    "block": "multilayer.nn.blocks",
    "distill": "multilayer.distillation.distill",
    "doctor": "multilayer.diagnosis.doctor",
    "doctor_table": "multilayer.diagnosis.tables",
    "drift": "multilayer.inspect.drift",
    "explain": "multilayer.inspect.explanation",
    "fit": "multilayer.recipe.fit",
    "infer_schema": "multilayer.table.schema",
    "mlp": "multilayer.nn.blocks",
    "predict": "multilayer.training.outputs",
    "read_table": "multilayer.table.sources.read",
    "trace": "multilayer.inspect.trace",
    "train": "multilayer.training.loop",
    "train_pack": "multilayer.training.loop",
    "watch": "multilayer.diagnosis.watch",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name == "__version__":
        value: Any = _version()
    elif name == "nn":  # blocks, embeddings and networks, as `multilayer.nn.mlp` and so on
        value = import_module("multilayer.nn")
    elif name in _NAMES:
        from multilayer.signals import held_back

        with held_back():
            value = getattr(_module(_NAMES[name], name), name)
    else:
        from multilayer.errors import nearest

        raise AttributeError(f"multilayer has no attribute {name!r}.{nearest(name, __all__)}")
    globals()[name] = value  # from now on found without this function
    return value


def _version() -> str:
    """Of the distribution that this is: multilayer, or the part of it that predicts alone."""
    from importlib.metadata import (  # takes longer to import than all of this file
        PackageNotFoundError,
        version,
    )

    try:
        return version("multilayer")
    except PackageNotFoundError:
        return version("multilayer-runtime")


def _module(module: str, name: str) -> Any:
    """The module of a public name; MissingExtraError if multilayer-runtime, which lacks it, is installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("multilayer."):
            raise
        from multilayer.errors import MissingExtraError

        raise MissingExtraError(
            f"multilayer.{name} needs multilayer; multilayer-runtime is installed, which predicts with "
            "multilayer.runtime and does nothing else. Replace it: pip uninstall multilayer-runtime, "
            "then pip install multilayer"
        ) from None


def __dir__() -> list[str]:
    """The public names, loaded or not, for completion in a terminal or notebook."""
    return sorted({*globals(), *__all__, "__version__", "nn"})
