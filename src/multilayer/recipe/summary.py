"""What was decided for the user, in words, and how well it went."""

import datetime
import importlib.metadata
import platform
import time as clock
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from multilayer.errors import counted
from multilayer.recipe.config import hidden_in_words
from multilayer.recipe.networks import NETWORKS
from multilayer.recipe.plan import Facts, Plan
from multilayer.recipe.selection import Selected
from multilayer.recipe.split_rows import N_FOLDS
from multilayer.recipe.trained import Trained
from multilayer.recipe.wanted import Wanted
from multilayer.recipe.weight_decay import first_decay, follows_noise
from multilayer.table.kinds import KINDS
from multilayer.table.schema import Schema
from multilayer.table.sources.names import listed
from multilayer.tasks.task import Task
from multilayer.training.history import History, Stop

LATE = 0.1  # of a time budget; a fit that takes longer says by how much
MOST_NAMED = 12  # columns in a sentence


def summarise(wanted: Wanted, plan: Plan, trained: Trained, selected: Selected, task: Task) -> dict[str, Any]:
    """`Model.summary`: what was decided, and how well it went. task: as the model has it."""
    code, weight = plan.to_score.code[selected.rows], plan.to_score.weights_of(selected.rows)
    constant = task.constant(*plan.all_rows)
    config, facts = plan.config, plan.facts
    return {
        "rows": {"train": facts.n_train, "validation": len(selected.rows)},
        "score": task.score(code, selected.prediction, weight),
        "baseline": task.score(code, np.broadcast_to(constant, selected.prediction.shape), weight),
        "constant": constant.tolist(),
        "class_shares": constant.tolist() if task.classes else None,
        "decisions": [
            *([f"read: {'; '.join(facts.remarks)}"] if facts.remarks else []),
            _task_sentence(facts, task),
            *_aim_sentences(plan, task),
            _split_sentence(facts, len(trained.nets)),
            *([f"memory: {facts.memory}"] if facts.memory else []),
            _columns_sentence(plan),
            _network_sentence(plan, trained, selected),
            *_linear_sentences(selected),
            *_kind_sentences(plan.encoder.schema),
            *([_monotone_sentence(plan.monotone)] if plan.monotone else []),
            *_time_sentences(wanted),
        ],
        "details": _details(plan, trained, selected),
        "config": asdict(config) | {"hidden": list(config.hidden)},  # as it comes back from JSON
        "interrupted": any(history.stop is Stop.INTERRUPTED for history in trained.histories),
        "versions": {name: _version(name) for name in ("multilayer", "torch", "numpy")}
        | {"python": platform.python_version()},
        "seed": wanted.seed,
        "asked": dict(wanted.asked),
        "trained_on": plan.seen.to_json(),
        "times": _times(wanted),
        "target_units": dict(facts.units or {}),
    }


def _network_sentence(plan: Plan, trained: Trained, selected: Selected) -> str:
    """What a newcomer needs to know of the networks; `_details` says the rest."""
    config, histories = plan.config, trained.histories
    n = len(selected.networks) - (selected.linear is not None)
    interrupted = any(history.stop is Stop.INTERRUPTED for history in histories)
    reason = "training was interrupted" if interrupted else "time was short"
    left_out = "" if len(histories) == config.members else f" (of {config.members}, as {reason})"
    name = "" if config.network == "default" else f" {config.network}"
    mean = "their mean" if n == len(histories) else f"the mean of {counted(n, 'network')}"
    together = "" if n == 1 else f"; the model predicts with {mean}"
    return f"networks: {len(histories)}{left_out}{name} with {hidden_in_words(config.hidden)}{together}"


def _details(plan: Plan, trained: Trained, selected: Selected) -> list[str]:
    """How the networks were built and trained, for those who know such things."""
    config, histories = plan.config, trained.histories
    first, last = min(selected.epochs), max(selected.epochs)
    epochs = f"epoch {last}" if first == last else f"epochs {first} to {last}"
    most = max(history.epochs for history in histories)
    norm = f", {config.norm} norm" if config.norm else ""
    drop = f", dropout {config.dropout}" if config.dropout else ""
    last_decay = [first_decay(config, plan.task), *histories[0].weight_decay][-1]
    more = " (more, the more a row's class depends on chance)" if follows_noise(config, plan.task) else ""
    return [
        f"layers: activation {config.activation}{norm}{drop}",
        f"optimiser: {NETWORKS[config.network].optimizer_in_words(plan.network)}, learning rate {config.lr}, "
        f"weight decay {last_decay:.2g}{more}",
        f"training: batches of {counted(config.batch_size, 'row')}; {most} of at most "
        f"{counted(config.epochs, 'epoch')}",
        f"epochs: the model predicts with the weights of {epochs}",
        f"engine: {_engine(histories[0])}",
        *_target_encoding(plan),
    ]


def _linear_sentences(selected: Selected) -> list[str]:
    """The share of the linear network, and why it has it."""
    share = selected.share
    if share is None:
        return []
    alone = f"the loss on held-out rows is {share.alone:.4g} for it and {share.others:.4g} for the others"
    if not share.value:
        return [f"linear network: none, as it would not help: {alone}"]
    few = selected.linear.n_columns if selected.linear else None
    by = "" if few is None else f", by the {few} encoded columns that tell most"
    return [
        f"linear network: it has a share of {share.value:.0%} in each prediction{by}: {alone}, and "
        f"{share.together:.4g} together"
    ]


def _engine(history: History) -> str:
    engine = "compiled loops" if history.engine == "kernels" else "PyTorch's autograd"
    reason = f" ({history.engine_reason.rstrip('.')})" if history.engine_reason else ""
    return f"{engine}{reason}"


def _target_encoding(plan: Plan) -> list[str]:
    """For how many columns the networks are told how often the second class came with a row's value."""
    n = sum(feature.channel == "target" for feature in plan.encoder.num_features)
    if not n:
        return []
    return [
        f"target: for {counted(n, 'column')}, the networks are also told how often {plan.task.classes[1]!r} "
        "occurs in other training rows with such a value"
    ]


def _monotone_sentence(directions: Mapping[str, int]) -> str:
    rising = [name for name, way in directions.items() if way > 0]
    falling = [name for name, way in directions.items() if way < 0]
    ways = [f"never falls with {listed(rising)}"] if rising else []
    ways += [f"never rises with {listed(falling)}"] if falling else []
    return f"monotone: the prediction {' and '.join(ways)}"


def _task_sentence(facts: Facts, task: Task) -> str:
    words = f" {task.extent_in_words()}" if task.extent_in_words() else ""
    targets = repr(facts.target) if isinstance(facts.target, str) else listed(facts.target)
    reason = f" ({facts.guess}; pass task= to choose another)" if facts.guess else " (as asked)"
    return f"task: {task.in_words}{words} of {targets}{reason}"


def _aim_sentences(plan: Plan, task: Task) -> list[str]:
    """Objective, exposure, threshold and class weights, where there are any."""
    sentences = [task.aim_in_words()] if task.aim_in_words() else []
    facts, factors = plan.facts, plan.class_factors
    if facts.is_rate:
        unit = "exposure" if facts.exposure is None else repr(facts.exposure)
        sentences.append(
            f"exposure: the target is learnt and scored per unit of {unit}, and rows are weighted by it"
        )
    if factors is not None:
        each = [f"{label!r} {factor:.4g}" for label, factor in zip(task.classes, factors, strict=True)]
        more = f" and {len(each) - 10} more" if len(each) > 10 else ""
        sentences.append(
            f"class weights: {', '.join(each[:10])}{more}; they count in training and in the choice of "
            "epochs, and so shift the probabilities, but not in scores"
        )
    return sentences


def _split_sentence(facts: Facts, n_networks: int) -> str:
    if facts.n_valid is not None:
        parts = f"{facts.n_train:,} to train on, {facts.n_valid:,} to validate on, {facts.split}"
        return f"rows: {parts}{facts.repeats}"
    who = "the network" if n_networks == 1 else f"each of {n_networks} networks"
    return (
        f"rows: {facts.n_train:,}; {who} validates on 1/{N_FOLDS} of them, {facts.split}, and trains on "
        f"the others{facts.repeats}"
    )


def _columns_sentence(plan: Plan) -> str:
    schema, encoder = plan.encoder.schema, plan.encoder
    kinds = Counter(column.kind for column in schema.columns)
    counts = ", ".join(f"{n} {KINDS[kind].plural if n > 1 else kind}" for kind, n in kinds.items())
    left_out = [f"{name} ({why})" for name, why in list(schema.ignored.items())[:MOST_NAMED]]
    if len(schema.ignored) > MOST_NAMED:
        left_out.append(f"{len(schema.ignored) - MOST_NAMED} more (constant or missing)")
    left_out += [f"{name} (asked)" for name in plan.facts.dropped]
    if unused := encoder.unused:
        left_out.append(f"{listed(unused)} (the same in nearly all rows)")
    return f"columns: {counts}" + (f"; left out: {', '.join(left_out)}" if left_out else "")


def _kind_sentences(schema: Schema) -> list[str]:
    """How single columns are read, where that is not plain."""
    explained = [(column, column.reason) for column in schema.columns if column.reason]
    kinds = [f"{column.name!r} is read as {column.kind} ({why})" for column, why in explained[:MOST_NAMED]]
    if len(explained) > MOST_NAMED:
        kinds.append(f"and {len(explained) - MOST_NAMED} more, which print(model.schema) shows")
    clipped = [column.name for column in schema.columns if column.infinite == "clip"]
    zones = [f"{column.name!r} ({column.zone})" for column in schema.columns if column.zone is not None]
    sentences = {
        "kinds": ", ".join(kinds),
        "infinities": f"clipped to the range of {listed(clipped)}" if clipped else "",
        "time zones, whose clocks give the hours and days of dates": ", ".join(zones[:MOST_NAMED]),
    }
    return [f"{what}: {words}" for what, words in sentences.items() if words]


def _time_sentences(wanted: Wanted) -> list[str]:
    """By how much a fit took longer than its budget, if by more than a tenth."""
    took, budget = clock.perf_counter() - wanted.started, wanted.time_budget
    if budget is None or took <= (1 + LATE) * budget:
        return []
    return [
        f"time: {took:.1f} s, {took - budget:.1f} s more than the budget of {budget:g} s, because every "
        "network takes at least one step, predicts the validation rows, and has epochs to choose from"
    ]


def _times(wanted: Wanted) -> dict[str, Any]:
    """When a fit ended, and how long it took."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"fitted": now, "fit_s": round(clock.perf_counter() - wanted.started, 3)}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
