"""Names that settings of `fit` take, for editors, type checkers and the command line; loads nothing."""

from typing import Literal

Quality = Literal["fast", "default", "best"]
NetworkName = Literal["default", "mlp", "realmlp", "resnet", "tabm"]
