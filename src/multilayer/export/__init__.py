"""Models for machines without this library: ONNX, PyTorch, plain scripts.

`Model.export` and `multilayer export` write them; `TARGETS` lists the forms.
"""

from multilayer.export.exported import Exported, write
from multilayer.export.feeds import feeds
from multilayer.export.targets import TARGETS

__all__ = ["TARGETS", "Exported", "feeds", "write"]
