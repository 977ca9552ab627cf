"""Predictions from a model file with NumPy alone: no PyTorch, nothing compiled, no other package.

Every name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from multilayer.errors import nearest

if TYPE_CHECKING:
    from multilayer.runtime.model import RuntimeModel, load

__all__ = ["RuntimeModel", "load"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"multilayer.runtime has no attribute {name!r}.{nearest(name, __all__)}")
    value = getattr(import_module("multilayer.runtime.model"), name)
    globals()[name] = value  # from now on found without this function
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
