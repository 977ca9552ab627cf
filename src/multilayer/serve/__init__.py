"""A model file behind HTTP, by NumPy alone: `multilayer serve` runs it, `Application` is for other servers.

Every name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from multilayer.errors import nearest

if TYPE_CHECKING:
    from multilayer.serve.app import Application
    from multilayer.serve.limits import Limits
    from multilayer.serve.mlflow_model import save_mlflow

__all__ = ["Application", "Limits", "save_mlflow"]

_FILES = {"Application": "app", "Limits": "limits", "save_mlflow": "mlflow_model"}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"multilayer.serve has no attribute {name!r}.{nearest(name, __all__)}")
    value = getattr(import_module(f"multilayer.serve.{_FILES[name]}"), name)
    globals()[name] = value  # from now on found without this function
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
