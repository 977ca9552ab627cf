"""The forms that a model can be written in, a file each, by name."""

from collections.abc import Mapping

from multilayer.export.c.target import C
from multilayer.export.html.target import HTML
from multilayer.export.onnx.target import ONNX
from multilayer.export.script.target import SCRIPT
from multilayer.export.sql.target import SQL
from multilayer.export.target import Target
from multilayer.export.torch.target import TORCH

TARGETS: Mapping[str, Target] = {target.name: target for target in (ONNX, TORCH, SCRIPT, C, HTML, SQL)}
