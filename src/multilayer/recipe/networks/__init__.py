"""The networks of `fit`, by the names that `network=` takes.

`fit(network="tabm")` builds and trains one of them on the same table, rows and encoder as the default, so
that they can be compared and used like it. To add one: its module in a file of its own in `nn/` with a
builder in `nn/networks.py`, its recipe in a file of its own here, and a line below.
"""

from collections.abc import Mapping
from typing import Any

from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.config import Config
from multilayer.recipe.networks.default import DefaultRecipe
from multilayer.recipe.networks.mlp import MLPRecipe
from multilayer.recipe.networks.network import NetworkRecipe
from multilayer.recipe.networks.realmlp import RealMLPRecipe
from multilayer.recipe.networks.resnet import ResNetRecipe
from multilayer.recipe.networks.tabm import TabMRecipe
from multilayer.table.encode import Batch, Encoder
from multilayer.tasks.task import Task

NETWORKS: dict[str, NetworkRecipe] = {
    "default": DefaultRecipe(),
    "mlp": MLPRecipe(),
    "realmlp": RealMLPRecipe(),
    "resnet": ResNetRecipe(),
    "tabm": TabMRecipe(),
}


def network_config(
    encoder: Encoder, batch: Batch, task: Task, config: Config, monotone: Mapping[str, int]
) -> NetworkConfig:
    """The architecture for encoded rows.

    batch:    the encoded training rows
    monotone: column name -> 1 or -1, of columns with a constraint
    """
    inputs: dict[str, Any] = NETWORKS[config.network].inputs(encoder, batch, task, monotone)
    return NetworkConfig(
        n_num=len(encoder.num_features),
        cardinalities=tuple(encoder.cardinalities),
        hidden=tuple(config.hidden),
        d_out=task.n_outputs,
        activation=config.activation,
        norm=config.norm,
        dropout=config.dropout,
        **inputs,
    )
