"""What a network looks like for a table: which encoded columns enter it, and how."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from multilayer.errors import ConfigError, nearest
from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.config import Config, Whole
from multilayer.recipe.networks import PUBLISHED
from multilayer.recipe.rows_in_memory import Data, require
from multilayer.table.encode import Batch, Encoder, most_varied
from multilayer.table.schema import Schema
from multilayer.tasks.task import Task
from multilayer.training.random_state import RandomState

MOST_PERIODIC = 128  # numbers with a periodic embedding: those with the most distinct values
FEWEST_VALUES = 8  # a number with fewer distinct values has no curve to follow
DIRECTIONS: Mapping[str, int] = {"increasing": 1, "1": 1, "+1": 1, "decreasing": -1, "-1": -1}
ORDERED = ("scaled", "rank", "boolean")  # channels that rise with their column


def monotone_directions(
    monotone: Mapping[str, str | Whole], data: Data, schema: Schema, task: Task
) -> dict[str, int]:
    """Column name -> 1 or -1, of the columns that the model uses."""
    require(data.features, list(monotone))
    if monotone and task.kind == "multiclass":
        raise ConfigError(
            f"monotone needs a number or two classes to predict; the target has {len(task.classes)} classes, "
            "which have no order. Leave monotone out, or predict one class against the others."
        )
    for name, direction in monotone.items():
        if str(direction) not in DIRECTIONS:
            raise ConfigError(
                f"monotone takes 'increasing' (1) or 'decreasing' (-1); got {direction!r} for {name!r}."
                f"{nearest(str(direction), ('increasing', 'decreasing'))}"
            )
        if name in schema.names and (kind := schema[name].kind) in ("category", "ordered", "text"):
            raise ConfigError(
                f"monotone needs values with an order: numbers, booleans, dates; {name!r} is of kind {kind}. "
                "Leave it out, or give its levels as numbers."
            )
    return {name: DIRECTIONS[str(way)] for name, way in monotone.items() if name in schema.names}


def network_config(
    encoder: Encoder, batch: Batch, task: Task, config: Config, directions: Mapping[str, int]
) -> NetworkConfig:
    """The architecture for encoded rows. directions: of columns with a constraint, 1 or -1."""
    if config.network != "default":
        return NetworkConfig(
            n_num=len(encoder.num_features),
            cardinalities=tuple(encoder.cardinalities),
            hidden=tuple(config.hidden),
            d_out=task.n_outputs,
            activation=config.activation,
            norm=config.norm,
            dropout=config.dropout,
            architecture=config.network,
            **PUBLISHED[config.network].columns(encoder.num_features, task),
        )
    curved = [
        (i, feature.column)
        for i, feature in enumerate(encoder.num_features)
        if feature.channel in ("scaled", "rank") and feature.column not in directions
    ]
    curved = most_varied(batch.num, curved, MOST_PERIODIC, fewest_values=FEWEST_VALUES)
    return NetworkConfig(
        n_num=len(encoder.num_features),
        cardinalities=tuple(encoder.cardinalities),
        periodic=tuple(place for place, _ in curved),
        hidden=tuple(config.hidden),
        d_out=task.n_outputs,
        activation=config.activation,
        norm=config.norm,
        dropout=config.dropout,
        **_monotone_inputs(encoder, directions),
    )


def _monotone_inputs(encoder: Encoder, directions: Mapping[str, int]) -> dict[str, Any]:
    """Which encoded numbers the output rises and falls with, and which would undo that and stay unused."""
    of_constrained = [
        (place, feature.channel in ORDERED, directions[feature.column])
        for place, feature in enumerate(encoder.num_features)
        if feature.column in directions and feature.channel != "missing"
    ]
    return {
        "rising": tuple(place for place, ordered, way in of_constrained if ordered and way > 0),
        "falling": tuple(place for place, ordered, way in of_constrained if ordered and way < 0),
        "unused": tuple(place for place, ordered, _ in of_constrained if not ordered),
    }


def build(network: NetworkConfig, seed: int, start: Callable[[Any], None] | None = None) -> Any:
    """A new network whose weights follow from the seed; start: what sets them further."""
    with RandomState(seed, of_all=False).in_place():
        net = network.build()
        if start is not None:
            start(net)
        return net


def restored(net: nn.Module, weights: dict[str, torch.Tensor]) -> nn.Module:
    """A network of the same layers with these weights, ready to predict."""
    net = copy.deepcopy(net).eval()
    net.zero_grad()
    net.load_state_dict(weights)
    return net
