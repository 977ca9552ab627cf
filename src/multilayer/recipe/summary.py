"""What was decided for the user, in words, and how well it went."""

import datetime
import importlib.metadata
import platform
import time as clock
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.model.model import Model
from multilayer.recipe.config import Config
from multilayer.recipe.members import uses_muon
from multilayer.recipe.rows_in_memory import N_FOLDS, Data, Parts, Rows, weight_of
from multilayer.recipe.selection import Chosen
from multilayer.recipe.weight_decay import first_decay, follows_noise
from multilayer.table.schema import Schema
from multilayer.table.sources.read import listed
from multilayer.tasks.make import guess_kind
from multilayer.tasks.task import Task

LATE = 0.1  # of a time budget; a fit that takes longer says by how much
MOST_NAMED = 12  # columns in a sentence


def summarise(
    model: Model,
    data: Data,
    parts: Parts,
    config: Config,
    chosen: Chosen,
    code: NDArray[np.generic],
    held: Rows,
    factors: NDArray[np.float64] | None,
    guessed: bool,
    directions: Mapping[str, int],
) -> dict[str, Any]:
    """`Model.summary`.

    code, held: of the training rows, and the rows that networks were validated on, as they are scored
    factors:    of each class, from class weights
    guessed:    whether the task was decided for the user
    directions: of columns with a monotone constraint
    """
    task = model.task
    valid_code = held[1][chosen.rows]
    valid_weight = weight_of(held, chosen.rows)
    scores = task.score(valid_code, chosen.prediction, valid_weight)
    constant = task.constant(code, parts.train.weight)
    baseline = task.score(valid_code, np.broadcast_to(constant, chosen.prediction.shape), valid_weight)
    reading = [f"read: {'; '.join(data.remarks)}"] if data.remarks else []
    decisions = [
        *reading,
        _task_sentence(data, task, guessed),
        *_aim_sentences(data, task, factors),
        _split_sentence(parts, len(model.histories)),
        _columns_sentence(model, data),
        _network_sentence(model, config, chosen),
        *_kind_sentences(model.schema),
        *([_monotone_sentence(directions)] if directions else []),
    ]
    return {
        "rows": {"train": parts.train.n_rows, "validation": len(valid_code)},
        "score": scores,
        "baseline": baseline,
        "constant": constant.tolist(),
        "class_shares": constant.tolist() if task.classes else None,
        "decisions": decisions,
        "config": asdict(config) | {"hidden": list(config.hidden)},  # as it comes back from JSON
        "interrupted": any(history.stopped == "interrupted" for history in model.histories),
        "versions": {name: _version(name) for name in ("multilayer", "torch", "numpy")}
        | {"python": platform.python_version()},
    }


def _network_sentence(model: Model, config: Config, chosen: Chosen) -> str:
    n, first, last = len(chosen.networks), min(chosen.epochs), max(chosen.epochs)
    epochs = f"epoch {last}" if first == last else f"epochs {first} to {last}"
    trained = max(history.epochs for history in model.histories)
    name = "" if config.network == "default" else f" {config.network}"
    n_trained = len(model.histories)
    interrupted = any(history.stopped == "interrupted" for history in model.histories)
    reason = "training was interrupted" if interrupted else "time was short"
    left_out = "" if n_trained == config.members else f" (of {config.members}, as {reason})"
    norm = f", {config.norm} norm" if config.norm else ""
    drop = f", dropout {config.dropout}" if config.dropout else ""
    optimizer = "Muon and AdamW" if uses_muon(model.config, config) else "AdamW"
    last_decay = [first_decay(config, model.task), *model.history.weight_decay][-1]
    decay = f"{last_decay:.2g}{', by the noise in the classes' if follows_noise(config, model.task) else ''}"
    return (
        f"networks: {n_trained}{left_out}{name} of {' x '.join(map(str, config.hidden))}, "
        f"{config.activation}{norm}{drop}; {optimizer}, lr {config.lr}, weight decay {decay}; "
        f"batches of {config.batch_size}, {trained} of at most {config.epochs} epochs; "
        f"predicts with {n} network{'s' * (n > 1)}, of {epochs}; engine {model.history.engine}"
    )


def _monotone_sentence(directions: Mapping[str, int]) -> str:
    rising = [name for name, way in directions.items() if way > 0]
    falling = [name for name, way in directions.items() if way < 0]
    ways = [f"never falls with {listed(rising)}"] if rising else []
    ways += [f"never rises with {listed(falling)}"] if falling else []
    return f"monotone: the prediction {' and '.join(ways)}"


def _task_sentence(data: Data, task: Task, guessed: bool) -> str:
    words = f" {task.extent_in_words()}" if task.extent_in_words() else ""
    targets = repr(data.target) if isinstance(data.target, str) else listed(data.target)
    reason = f" ({guess_kind(data.y)[1]}; pass task= to choose another)" if guessed else " (as asked)"
    return f"task: {task.kind}{words} of {targets}{reason}"


def _aim_sentences(data: Data, task: Task, factors: NDArray[np.float64] | None) -> list[str]:
    """Objective, exposure, threshold and class weights, where there are any."""
    sentences = [task.aim_in_words()] if task.aim_in_words() else []
    if data.is_rate:
        of = "exposure" if data.exposure is None else repr(data.exposure)
        sentences.append(f"exposure: learnt and scored per unit of {of}, each row weighted by it")
    if factors is not None:
        each = [f"{label!r} {factor:.4g}" for label, factor in zip(task.classes, factors, strict=True)]
        more = f" and {len(each) - 10} more" if len(each) > 10 else ""
        sentences.append(
            f"class weights: {', '.join(each[:10])}{more}; in the loss and the choice of epochs, so that "
            "probabilities lean with them, not in scores"
        )
    return sentences


def _split_sentence(parts: Parts, n_networks: int) -> str:
    n_rows, repeats = parts.train.n_rows, parts.train.repeats
    if parts.valid is None:
        who = "the network" if n_networks == 1 else f"each of {n_networks} networks"
        return (
            f"rows: {n_rows:,}; {who} validates on a share of "
            f"1/{N_FOLDS}, {parts.how}, and trains on the others{repeats}"
        )
    return f"rows: {n_rows:,} to train on, {parts.valid.n_rows:,} to validate on, {parts.how}{repeats}"


def _columns_sentence(model: Model, data: Data) -> str:
    schema = model.schema
    kinds = [column.kind for column in schema.columns]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    left_out = [f"{name} ({why})" for name, why in list(schema.ignored.items())[:MOST_NAMED]]
    if len(schema.ignored) > MOST_NAMED:
        left_out.append(f"{len(schema.ignored) - MOST_NAMED} more (constant or missing)")
    left_out += [f"{name} (asked)" for name in data.dropped]
    if unused := model.encoder.unused:
        left_out.append(f"{listed(unused)} (the same in nearly all rows)")
    by_target = sum(feature.channel == "target" for feature in model.encoder.num_features)
    statistics = f"; target statistics of {by_target}" if by_target else ""
    return f"columns: {counts}{statistics}" + (f"; left out: {', '.join(left_out)}" if left_out else "")


def _kind_sentences(schema: Schema) -> list[str]:
    """What was decided of single columns, where it is not plain."""
    told = [(column, column.reason) for column in schema.columns if column.reason]
    kinds = [f"{column.name!r} is {column.kind} ({reason})" for column, reason in told[:MOST_NAMED]]
    if len(told) > MOST_NAMED:
        kinds.append(f"{len(told) - MOST_NAMED} more: print(model.schema)")
    clipped = [column.name for column in schema.columns if column.infinite == "clip"]
    zones = [f"{column.name!r} ({column.zone})" for column in schema.columns if column.zone is not None]
    sentences = {
        "kinds": ", ".join(kinds),
        "infinities": f"clipped to the range of {listed(clipped)}" if clipped else "",
        "time zones, by whose clocks parts of dates are told": ", ".join(zones[:MOST_NAMED]),
    }
    return [f"{what}: {said}" for what, said in sentences.items() if said]


def time_sentences(started: float, budget: float | None) -> list[str]:
    """By how much a fit took longer than its budget, if by more than a tenth."""
    took = clock.perf_counter() - started
    if budget is None or took <= (1 + LATE) * budget:
        return []
    return [
        f"time: {took:.1f} s, {took - budget:.1f} s more than the budget of {budget:g} s: a first step of "
        "each network, what is said of validation rows, and the choice among epochs took so long"
    ]


def fit_times(started: float) -> dict[str, Any]:
    """When a fit ended, and how long it took; started: as `time.perf_counter` had it."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"fitted": now, "fit_s": round(clock.perf_counter() - started, 3)}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
