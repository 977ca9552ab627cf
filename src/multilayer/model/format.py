"""The parts of a model as one JSON text and arrays, and back."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from multilayer.file_values import need
from multilayer.model.check import check_meta, unknown_keys
from multilayer.model.check_encoder import check_encoder_arrays, check_statistics
from multilayer.model.check_fields import about
from multilayer.model.check_network import check_sizes
from multilayer.model.file import FORMAT, digest
from multilayer.model.intervals import Conformal
from multilayer.model.record import from_record, to_record
from multilayer.model.statistics import Statistics
from multilayer.model.verification import Verification
from multilayer.nn.config import NetworkFields
from multilayer.output import finite
from multilayer.table.encode import Encoder
from multilayer.table.sources.notation import Notation
from multilayer.tasks.make import task_from_json
from multilayer.tasks.task import Task
from multilayer.training.history import History

Arrays = dict[str, NDArray[Any]]
Fields = TypeVar("Fields", bound=NetworkFields)


def file_of(
    *,
    target: str | tuple[str, ...],
    task: Task,
    encoder: Encoder,
    config: NetworkFields,
    networks: Sequence[Any],
    histories: Sequence[History],
    summary: dict[str, Any],
    dropped: Sequence[str],
    weights: Sequence[float] | None,
    notation: Notation,
    exposure: str | None,
    statistics: Statistics | None = None,
    conformal: Conformal | None = None,
    linear: NetworkFields | None = None,
    verification: Verification | None = None,
) -> bytes:
    """The file of a model with these fields: safetensors with one JSON text in its metadata."""
    from safetensors.numpy import save as to_safetensors

    tensors, plan = encoder.state()
    arrays = {f"encoder.{name}": np.ascontiguousarray(array) for name, array in tensors.items()}
    for i, net in enumerate(networks):
        for name, value in net.state_dict().items():
            arrays[f"network.{i}.{name}"] = np.ascontiguousarray(value.cpu().numpy())
    kept, of_rows = ({}, None) if statistics is None else statistics.state()
    arrays |= {f"statistics.{name}": array for name, array in kept.items()}
    scores = {} if conformal is None else {"conformal": to_record(conformal, "conformal", arrays)}
    checked, of_rows_to_check = ({}, None) if verification is None else verification.state()
    arrays |= {f"verification.{name}": array for name, array in checked.items()}
    more = {
        **({} if of_rows is None else {"statistics": of_rows}),
        **scores,
        **({} if of_rows_to_check is None else {"verification": of_rows_to_check}),
    }
    text = json.dumps(
        {
            "format": FORMAT,
            "optional": sorted(more),
            "target": target,
            "dropped": list(dropped),
            "task": task.to_json(),
            "encoder": plan,
            "network": config.to_json(),
            "linear": None if linear is None else linear.to_json(),
            "n_networks": len(networks),
            "weights": weights,
            "notation": notation.to_json(),
            "exposure": exposure,
            "histories": [finite(history.to_dict()) for history in histories],
            "summary": finite(summary),
            **more,
        },
        allow_nan=False,
    )
    # One entry of metadata only, as safetensors writes several in random order; the checksum is a tensor.
    return bytes(to_safetensors(arrays | {"sha256": digest(text, arrays)}, {"multilayer": text}))


def parts_of(
    meta: dict[str, Any],
    arrays: Arrays,
    config_class: type[NetworkFields],
    make_network: Callable[[Any, Arrays], Any],
) -> dict[str, Any]:
    """The fields of the model that `file_of` was given, every value checked.

    config_class: of networks' configurations
    make_network: what makes a network of its configuration and its arrays

    Raises:
        ValueError: they do not make a model; other errors may come of what is made to harm.
    """
    check_meta(meta)
    encoder_arrays, states = _below("encoder.", arrays), states_of(meta, arrays)
    check_encoder_arrays(meta["encoder"], encoder_arrays)
    encoder = Encoder.from_state(encoder_arrays, meta["encoder"])
    check_statistics(encoder)
    config = config_class.from_json(meta["network"])
    linear = None if meta.get("linear") is None else config_class.from_json(meta["linear"])
    configs = configs_of(config, linear, meta["n_networks"])
    for i, (each, state) in enumerate(zip(configs, states, strict=True)):
        need(each.n_num == len(encoder.num_features), "networks take other numbers than rows have")
        need(state, f"network {i} is absent")
    check_sizes(configs, states)
    kept = _below("statistics.", arrays)
    scores = {name: array for name, array in arrays.items() if name.startswith("conformal.")}
    checked = _below("verification.", arrays)
    n_arrays = len(encoder_arrays) + sum(map(len, states)) + len(kept) + len(scores) + len(checked)
    passed_over = tuple(f"{name}." for name in unknown_keys(meta))
    n_arrays += sum(name.startswith(passed_over) for name in arrays) if passed_over else 0
    need(n_arrays == len(arrays), "it holds arrays that are not a model's")
    task = task_from_json(meta["task"])
    return {
        "target": meta["target"] if isinstance(meta["target"], str) else tuple(meta["target"]),
        "task": task,
        "encoder": encoder,
        "config": config,
        "networks": [make_network(*each) for each in zip(configs, states, strict=True)],
        "histories": [_history(values) for values in meta["histories"]],
        "summary": meta["summary"],
        "dropped": tuple(meta["dropped"]),
        "weights": None if meta.get("weights") is None else tuple(meta["weights"]),
        "notation": Notation.from_json(meta.get("notation", {})),
        "exposure": meta.get("exposure"),
        "statistics": _statistics(meta.get("statistics"), kept, encoder),
        "conformal": _conformal(meta.get("conformal"), scores, meta["task"]),
        "linear": linear,
        "verification": _verification(meta.get("verification"), checked, encoder, task),
    }


def configs_of(config: Fields, linear: Fields | None, n_networks: int) -> tuple[Fields, ...]:
    """The architecture of each network, of which a linear one is the last."""
    return (config,) * n_networks if linear is None else (*(config,) * (n_networks - 1), linear)


def states_of(meta: dict[str, Any], arrays: Arrays) -> list[Arrays]:
    """The arrays of each network, of a model whose JSON is already checked."""
    return [_below(f"network.{i}.", arrays) for i in range(meta["n_networks"])]


def _verification(plan: Any, arrays: Arrays, encoder: Encoder, task: Task) -> Verification | None:
    """None in files of before."""
    if plan is None:
        need(not arrays, "it holds rows to verify by that its text does not speak of")
        return None
    shape = task.link(np.zeros((1, task.n_outputs), np.float32)).shape[1:]
    with about("verification"):
        return Verification.from_state(arrays, plan, encoder, shape)


def _conformal(plan: Any, arrays: Arrays, task: dict[str, Any]) -> Conformal | None:
    """None of models that were not conformalized."""
    if plan is None:
        need(not arrays, "it holds conformal scores that its text does not speak of")
        return None
    found: Conformal = from_record(Conformal, plan, "conformal", arrays)
    need(not arrays, "it holds more conformal scores than its text speaks of")
    found.check_fits(task_from_json(task))
    return found


def _statistics(plan: Any, arrays: Arrays, encoder: Encoder) -> Statistics | None:
    """None in files of before."""
    if plan is None:
        need(not arrays, "it holds statistics that its text does not speak of")
        return None
    return Statistics.from_state(arrays, plan, encoder)


def _history(values: dict[str, Any]) -> History:
    stop = values.get("stop")  # None, where there is none
    return History.from_dict({name: nan_if_none(value) for name, value in values.items()} | {"stop": stop})


def _below(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def nan_if_none(value: Any) -> Any:
    """Undo `finite`, as far as it can be: numbers that were not finite are NaN again."""
    if isinstance(value, dict):
        return {k: nan_if_none(v) for k, v in value.items()}
    if isinstance(value, list):
        return [nan_if_none(v) for v in value]
    return math.nan if value is None else value
