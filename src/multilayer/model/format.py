"""The parts of a model as one JSON text and arrays, and back."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save as to_safetensors
from torch import nn

from multilayer.file_values import need
from multilayer.model.check import check_meta
from multilayer.model.check_encoder import check_encoder_arrays, check_statistics
from multilayer.model.check_network import check_sizes, check_state
from multilayer.model.file import FORMAT, digest
from multilayer.nn.monotone import keep_signs
from multilayer.nn.networks import NetworkConfig
from multilayer.output import finite
from multilayer.table.encode import Encoder
from multilayer.table.sources.notation import Notation
from multilayer.tasks.make import task_from_json
from multilayer.tasks.task import Task
from multilayer.training.history import History
from multilayer.training.random_state import RandomState

Arrays = dict[str, NDArray[Any]]


def file_of(
    *,
    target: str | tuple[str, ...],
    task: Task,
    encoder: Encoder,
    config: NetworkConfig,
    networks: Sequence[nn.Module],
    histories: Sequence[History],
    summary: dict[str, Any],
    dropped: Sequence[str],
    weights: Sequence[float] | None,
    notation: Notation,
    exposure: str | None,
) -> bytes:
    """The file of a model with these fields: safetensors with one JSON text in its metadata."""
    tensors, plan = encoder.state()
    arrays = {f"encoder.{name}": np.ascontiguousarray(array) for name, array in tensors.items()}
    for i, net in enumerate(networks):
        for name, value in net.state_dict().items():
            arrays[f"network.{i}.{name}"] = np.ascontiguousarray(value.cpu().numpy())
    text = json.dumps(
        {
            "format": FORMAT,
            "target": target,
            "dropped": list(dropped),
            "task": task.to_json(),
            "encoder": plan,
            "network": config.to_json(),
            "n_networks": len(networks),
            "weights": weights,
            "notation": notation.to_json(),
            "exposure": exposure,
            "histories": [finite(history.to_dict()) for history in histories],
            "summary": finite(summary),
        },
        allow_nan=False,
    )
    # One entry of metadata only, as safetensors writes several in random order; the checksum is a tensor.
    return bytes(to_safetensors(arrays | {"sha256": digest(text, arrays)}, {"multilayer": text}))


def parts_of(meta: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    """The fields of the model that `file_of` was given, every value checked.

    Raises:
        ValueError: they do not make a model; other errors may come of what is made to harm.
    """
    check_meta(meta)
    encoder_arrays, states = _below("encoder.", arrays), []
    check_encoder_arrays(meta["encoder"], encoder_arrays)
    encoder = Encoder.from_state(encoder_arrays, meta["encoder"])
    check_statistics(encoder)
    config = NetworkConfig.from_json(meta["network"])
    need(config.n_num == len(encoder.num_features), "networks take other numbers than rows have")
    for i in range(meta["n_networks"]):
        states.append(_below(f"network.{i}.", arrays))
        need(states[-1], f"network {i} is absent")
    check_sizes(config, states)
    n_arrays = len(encoder_arrays) + sum(map(len, states))
    need(n_arrays == len(arrays), "it holds arrays that are not a model's")
    return {
        "target": meta["target"] if isinstance(meta["target"], str) else tuple(meta["target"]),
        "task": task_from_json(meta["task"]),
        "encoder": encoder,
        "config": config,
        "networks": [_network(config, state) for state in states],
        "histories": [_history(values) for values in meta["histories"]],
        "summary": meta["summary"],
        "dropped": tuple(meta["dropped"]),
        "weights": None if meta.get("weights") is None else tuple(meta["weights"]),
        "notation": Notation.from_json(meta.get("notation", {})),
        "exposure": meta.get("exposure"),
    }


def _history(values: dict[str, Any]) -> History:
    stop = values.get("stop")  # None, where there is none
    return History.from_dict({name: nan_if_none(value) for name, value in values.items()} | {"stop": stop})


def _network(config: NetworkConfig, arrays: dict[str, NDArray[Any]]) -> nn.Module:
    with RandomState(0, of_all=False).in_place():
        net = config.build()
    check_state(net.state_dict(), arrays, config)
    net.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    keep_signs(net)  # a monotone network is one whatever the file holds
    return net.eval()


def _below(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def nan_if_none(value: Any) -> Any:
    """Undo `finite`, as far as it can be: numbers that were not finite are NaN again."""
    if isinstance(value, dict):
        return {k: nan_if_none(v) for k, v in value.items()}
    if isinstance(value, list):
        return [nan_if_none(v) for v in value]
    return math.nan if value is None else value
