"""Models for machines without this library: ONNX, PyTorch, plain scripts.

`Model.export` and `multilayer export` write them; `TARGETS` lists the forms.
"""

from multilayer.export.targets import TARGETS
from multilayer.export.write import Exported, write

__all__ = ["TARGETS", "Exported", "write"]
