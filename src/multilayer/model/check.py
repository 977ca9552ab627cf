"""What a model file may hold: all of it is checked before anything is built of it, or taken for what it says.

The checksum tells a file that broke, not one that was made to harm: indices become addresses in the kernels,
sizes become memory, and a number that is none spreads into every prediction.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Any, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray

from multilayer.file_values import are_finite, fits, is_count, need
from multilayer.nn.blocks import ACTIVATIONS, NORMS
from multilayer.nn.networks import ARCHITECTURES, NetworkConfig
from multilayer.table.column import AS_WRITTEN, Column
from multilayer.table.dates import ISO, time_zone
from multilayer.table.encode import Encoder
from multilayer.table.kinds import KINDS
from multilayer.table.sources.notation import Notation
from multilayer.table.steps import RARE
from multilayer.table.target_encoding import LARGEST
from multilayer.tasks.classification import THRESHOLD_METRICS
from multilayer.tasks.make import OBJECTIVES
from multilayer.tasks.positive import LogLink, LogTarget
from multilayer.tasks.regression import Quantiles
from multilayer.training.history import History, upgraded

Arrays = Mapping[str, NDArray[Any]]

_DTYPES = ("object", "bool", *(f"{kind}{n}" for kind in ("int", "uint") for n in (8, 16, 32, 64)),
           "float16", "float32", "float64")  # fmt: skip
MEMBERS = 32  # of a TabM
MOST_DAYS = 1e8  # from 1970, that datetime64[us] can be
LARGEST_NUMBER = 1e300  # of targets: an exposure must not lead beyond float64
LARGEST_WEIGHT = 1e15  # of a network: two in a row of unscaled inputs stay within float32
LARGEST_LOG = 30  # of outputs: float32 goes to 3e38
_ABSENT = np.zeros((0, 0), bool)


@contextmanager
def _of(what: str) -> Iterator[None]:
    """Add to an error which part of the file it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def check_fields(cls: type[Any], values: Any, *, optional: Collection[str] = (), gaps: bool = False) -> None:
    """ValueError unless these are the fields of a dataclass by name, each as annotated.

    optional: fields that may be absent, beside those with a default
    """
    need(isinstance(values, dict), "an object is needed")
    hints: dict[str, Any] = _hints(cls)  # type: ignore[arg-type]
    known = {each.name: each for each in fields(cls)}
    for name, each in known.items():
        has_default = each.default is not MISSING or each.default_factory is not MISSING
        need(name in values or has_default or name in optional, f"{name!r} is absent")
    for name, value in values.items():
        need(name in known, f"{name!r} is not known")
        if not fits(value, hints[name], gaps=gaps):
            raise ValueError(f"{name!r} cannot be {_short(value)}")


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def check_meta(meta: dict[str, Any]) -> None:
    """ValueError unless the JSON of a model file is a whole model's, and its parts fit each other."""
    for name in (
        "target",
        "dropped",
        "task",
        "encoder",
        "network",
        "n_networks",
        "histories",
        "summary",
    ):
        need(name in meta, f"{name!r} is absent")
    target, n_networks = meta["target"], meta["n_networks"]
    several = isinstance(target, list)
    need(fits(target, str | list[str]), "'target' must be a name, or several")
    need(fits(meta["dropped"], list[str]), "'dropped' must be names")
    need(fits(meta.get("exposure"), str | None), "'exposure' must be a name")
    need(type(n_networks) is int and n_networks >= 1, "a model has at least one network")
    with _of("task"):
        n_outputs = check_task(meta["task"], target)
    with _of("encoder"):
        n_num, cardinalities = check_encoder(meta["encoder"])
    names = [column["name"] for column in meta["encoder"]["schema"]["columns"]]
    targets = target if several else [target]
    need(not {*names}.intersection(targets), "the target is among the columns")
    need(
        not {*names}.intersection(meta["dropped"]),
        "a column that is used is dropped, too",
    )
    left_out = {
        *meta["dropped"],
        *meta["encoder"]["schema"].get("ignored", {}),
        *targets,
    }
    need(meta.get("exposure") not in left_out, "the exposure is left out, or the target")
    with _of("network"):
        check_network(meta["network"], n_num, cardinalities, n_outputs, meta["task"]["kind"])
    _check_weights(meta.get("weights"), n_networks)
    with _of("notation"):
        _check_notation(meta.get("notation", {}))
    need(
        isinstance(meta["histories"], list) and meta["histories"],
        "a model has a history",
    )
    for values in meta["histories"]:
        with _of("history"):
            check_fields(History, upgraded(values) if isinstance(values, dict) else values, gaps=True)
    with _of("summary"):
        _check_summary(meta["summary"])


def _check_weights(weights: Any, n_networks: int) -> None:
    if weights is None:
        return
    need(
        fits(weights, list[float]) and len(weights) == n_networks,
        "each network needs a weight",
    )
    need(
        min(weights) >= 0 and sum(weights) > 0,
        "networks' weights must not be negative, or all 0",
    )
    need(1e-100 < sum(weights) < 1e100, "networks' weights are too large or too small")


def _check_notation(values: Any) -> None:
    need(isinstance(values, dict), "an object is needed")
    check_fields(Notation, values)
    Notation.declare(
        (),
        values.get("thousands"),
        values.get("decimal", "."),
        values.get("encoding"),
        values.get("header", True),
    )


def _check_summary(summary: Any) -> None:
    need(isinstance(summary, dict), "an object is needed")
    for name in ("score", "baseline"):
        need(
            fits(summary.get(name, {}), dict[str, float], gaps=True),
            f"{name!r} must be numbers by name",
        )
    need(fits(summary.get("decisions", []), list[str]), "'decisions' must be texts")
    need(fits(summary.get("findings", []), list[dict[str, Any]]), "'findings' must be objects")
    need(fits(summary.get("target_units", {}), dict[str, str]), "'target_units' must be texts by name")
    for name in ("constant", "class_shares"):
        values = summary.get(name)
        if values is not None:
            need(np.array(values).dtype.kind in "iuf", f"{name!r} must be numbers")


# Tasks


def check_task(values: Any, target: Any) -> int:
    """ValueError unless `task_from_json` makes a task of these, for this target. How many outputs it has."""
    need(isinstance(values, dict), "an object is needed")
    kind = values.get("kind")
    need(
        fits(kind, str) and kind in ("binary", "multiclass", "multilabel", "regression"),
        f"kind is {kind!r}",
    )
    if "parts" not in values:
        need(isinstance(target, str), "several targets need a task each")
        need(kind != "multilabel", "several labels need a task each")
        return _check_regression(values) if kind == "regression" else _check_classes(values)
    names, parts = values.get("names"), values["parts"]
    need(kind in ("multilabel", "regression"), "only numbers or labels can be several")
    need(fits(names, list[str]) and names == target, "names must be those of the targets")
    need(
        isinstance(parts, list) and 0 < len(parts) == len(names),
        "each target needs a task",
    )
    need(len(set(names)) == len(names), "a target stands there twice")
    if kind == "multilabel":
        need(all(_check_classes(part) == 1 for part in parts), "a label has two classes")
        return len(parts)
    n_outputs = [_check_regression(part) for part in parts]
    need(
        len({part.get("objective") for part in parts}) == 1,
        "all targets need one objective",
    )
    need(
        all(part.get("quantiles") == parts[0].get("quantiles") for part in parts),
        "quantiles must be alike",
    )
    return sum(n_outputs)


def _check_classes(values: Any) -> int:
    need(isinstance(values, dict), "an object is needed")
    labels, dtype = values.get("classes"), values.get("dtype")
    need(
        isinstance(labels, list) and len(labels) > 1,
        "there must be at least two classes",
    )
    need(
        len(set(map(type, labels))) == 1 and type(labels[0]) in (str, int, float, bool),
        "labels are odd",
    )
    need(all(a < b for a, b in pairwise(labels)), "labels must be sorted, each once")
    is_text = isinstance(labels[0], str)
    need(
        dtype is None or (type(dtype) is str and dtype in _DTYPES),
        f"labels cannot be of type {dtype!r}",
    )
    if dtype is not None:
        need(
            is_text <= (dtype == "object"),
            f"labels {_short(labels)} are not of type {dtype}",
        )
        try:
            as_they_came = np.array(labels, dtype=dtype).tolist()
        except (OverflowError, TypeError) as error:
            raise ValueError(f"labels are not of type {dtype}") from error
        need(as_they_came == labels, f"labels are not of type {dtype}")
    kind = "binary" if len(labels) == 2 else "multiclass"
    need(values.get("kind") == kind, f"{len(labels)} classes are {kind}")
    threshold, by = values.get("threshold"), values.get("threshold_by")
    need(fits(threshold, float | None), "a threshold must be a number")
    need(
        threshold is None or (kind == "binary" and 0 <= threshold <= 1),
        "a threshold must be within 0 and 1",
    )
    need(
        by is None or (type(by) is str and by in THRESHOLD_METRICS),
        f"there is no metric {by!r}",
    )
    return 1 if kind == "binary" else len(labels)


def _check_regression(values: Any) -> int:
    need(
        isinstance(values, dict) and values.get("kind") == "regression",
        "a number is needed",
    )
    objective = values.get("objective", "squared_error")
    need(
        type(objective) is str and objective in OBJECTIVES,
        f"there is no objective {objective!r}",
    )
    cls = OBJECTIVES[objective]
    hints = _hints(cls) | {"low": float | None, "high": float | None}
    for name in ("center", "scale", "low", "high"):
        need(name in values, f"{name!r} is absent")
    for each in fields(cls):
        value = values.get(each.name)
        need(
            each.name not in values or fits(value, hints[each.name]),
            f"{each.name!r} cannot be {value!r}",
        )
    low = -math.inf if values["low"] is None else values["low"]
    high = math.inf if values["high"] is None else values["high"]
    need(values["scale"] > 0, "'scale' must be above 0")
    need(low <= high, "'low' is above 'high'")
    limits = [abs(value) for value in (values["center"], values["scale"], low, high) if abs(value) < math.inf]
    need(max(limits) < LARGEST_NUMBER, "numbers are too large")
    need(
        not issubclass(cls, LogLink | LogTarget) or high > 0,
        "predictions must be able to be above 0",
    )
    need(values.get("factor", 1.0) > 0, "'factor' must be above 0")
    quantiles = values.get("quantiles", [0.5] * 3)
    need(isinstance(quantiles, list), "'quantiles' must be numbers")
    return len(quantiles) if cls is Quantiles else 1


# Encoder


def check_encoder(values: Any) -> tuple[int, list[int]]:
    """ValueError unless a schema and coders are whole; numbers without those of texts and the target, and
    the number of codes of each category.
    """
    need(isinstance(values, dict), "an object is needed")
    schema, coders = values.get("schema"), values.get("coders")
    need(
        isinstance(schema, dict) and isinstance(coders, list),
        "schema and coders are needed",
    )
    columns, ignored = schema.get("columns"), schema.get("ignored", {})
    need(
        isinstance(columns, list) and len(columns) == len(coders) > 0,
        "each column needs a coder",
    )
    need(fits(ignored, dict[str, str]), "'ignored' must be texts by name")
    for column, coder in zip(columns, coders, strict=True):
        need(
            isinstance(column, dict) and fits(column.get("name"), str),
            "each column needs a name",
        )
        with _of(f"column {column['name']!r}"):
            check_column(column)
            _check_coder(coder, column)
    names = [column["name"] for column in columns]
    need(
        len({*names, *ignored}) == len(names) + len(ignored),
        "a column stands there twice",
    )
    stored = [
        KINDS[column["kind"]].coders[coder["coder"]] for column, coder in zip(columns, coders, strict=True)
    ]
    cardinalities = [
        len(coder["levels"]) + RARE + 1 for coder, each in zip(coders, stored, strict=True) if each.has_code
    ]
    statistics = values.get("target", [])
    need(isinstance(statistics, list), "'target' must be a list")
    for statistic in statistics:
        need(isinstance(statistic, dict), "a target statistic must be an object")
        need(fits(statistic.get("column"), str), "a target statistic needs its column")
        for name in ("place", "n_values"):
            need(
                is_count(statistic.get(name)),
                f"a target statistic's {name!r} must be a whole number",
            )
        need("n_edges" in statistic, "a target statistic's 'n_edges' is absent")
        n_edges = statistic["n_edges"]
        need(
            n_edges is None or is_count(n_edges),
            "a target statistic's 'n_edges' must be a whole number",
        )
        need(
            statistic["n_values"] > (n_edges or 0),
            "a target statistic needs a value for each bin",
        )
        need(
            n_edges is not None or statistic["place"] < len(cardinalities),
            "there is no such category",
        )
    n_levels = (len(_levels_of(column)) for column in columns)
    n_numbers = sum(each.n_numbers(*rest) for each, *rest in zip(stored, coders, n_levels, strict=True))
    return len(statistics) + n_numbers, cardinalities


def check_column(values: Any) -> None:
    """ValueError unless these are the fields of a `Column` that a table can be read by."""
    by_frequency = values.get("levels_by_frequency", [])
    need(fits(by_frequency, list[str]), "levels must be texts")
    need(not by_frequency or values.get("kind") == "category", "a category alone has levels by frequency")
    need("levels_by_frequency" not in values or "levels" not in values, "levels are there in two ways")
    check_fields(Column, {name: value for name, value in values.items() if name != "levels_by_frequency"})
    levels = _levels_of(values)
    need(len(set(levels)) == len(levels), "a level stands there twice")
    _check_writing(values.get("thousands", ""), values.get("decimal", "."))
    need(
        min(values.get("n_missing", 0), values.get("n_unique", 0)) >= 0,
        "counts must not be negative",
    )
    low, high = values.get("low"), values.get("high")
    need(
        (low is None) == (high is None) and (low is None or low <= high),
        "'low' is above 'high'",
    )
    is_day = low is None or values["kind"] != "date" or max(abs(low), abs(high)) < MOST_DAYS
    need(is_day, "'low' and 'high' are no dates")
    zone, pattern = values.get("zone"), values.get("date_format")
    if zone not in (None, AS_WRITTEN):
        time_zone(zone)
    if pattern not in (None, ISO):
        _check_pattern(pattern)


def _levels_of(column: dict[str, Any]) -> list[str]:
    """Of a column in JSON; in files of before, those of a category are `levels`, too."""
    levels: list[str] = column.get("levels_by_frequency", column.get("levels", []))
    return levels


def _check_writing(thousands: str, decimal: str) -> None:
    need(len(decimal) == 1 and len(thousands) <= 1, "separators must be a sign")
    need(thousands != decimal, "decimals and thousands must be separated otherwise")


def _check_pattern(pattern: str) -> None:
    """ValueError for what strptime cannot read by."""
    moment = datetime(2003, 2, 1, 14, 5, 6, tzinfo=UTC)
    try:
        datetime.strptime(moment.strftime(pattern), pattern)
    except (ValueError, re.error, LookupError, TypeError) as error:
        raise ValueError(f"dates cannot be written as {_short(pattern)}") from error


def _check_coder(values: Any, column: dict[str, Any]) -> None:
    need(isinstance(values, dict), "a coder must be an object")
    name = values.get("coder")
    need(type(name) is str, f"there is no coder {name!r}")
    need(any(name in kind.coders for kind in KINDS.values()), f"there is no coder {name!r}")
    coders = KINDS[column["kind"]].coders
    need(name in coders, f"a column of kind {column['kind']} has no coder {name!r}")
    coders[name].check(values)


def check_encoder_arrays(values: dict[str, Any], arrays: Arrays) -> None:
    """ValueError unless the encoder's arrays are those that its JSON, already checked, speaks of."""
    arrays = dict(arrays)
    coders, statistics = values["coders"], values.get("target")
    n_knots = sum(coder.get("n_knots", 0) for coder in coders)
    knots, places = (_floats(arrays, name, n_knots) for name in ("knots", "places"))
    start = 0
    for n in (coder.get("n_knots", 0) for coder in coders):
        part = slice(start, start + n)
        need((np.diff(knots[part]) > 0).all(), "knots must rise")
        need(
            (np.diff(places[part]) >= 0).all() and (np.abs(places[part]) <= 1).all(),
            "places must rise",
        )
        start += n
    for i, (coder, column) in enumerate(zip(coders, values["schema"]["columns"], strict=True)):
        name = coder["coder"]
        stored = KINDS[column["kind"]].coders[name]
        own = {each: arrays.pop(f"{name}.{i}.{each}", _ABSENT) for each in stored.own_arrays}
        with _of(f"{name} {i}"):
            stored.check_arrays(coder, own)
    if statistics is not None:
        edges = _floats(arrays, "target_edges", sum(plan["n_edges"] or 0 for plan in statistics))
        found = _floats(arrays, "target_values", sum(plan["n_values"] for plan in statistics))
        need((np.abs(found) <= LARGEST).all(), "target statistics are too large")
        start = 0
        for plan in statistics:
            n = plan["n_edges"] or 0
            need((np.diff(edges[start : start + n]) >= 0).all(), "edges must rise")
            start += n
    need(not arrays, f"the encoder has no array {next(iter(arrays), None)!r}")


def _floats(arrays: dict[str, NDArray[Any]], name: str, n: int) -> NDArray[np.float64]:
    """Take so many finite float64 out of the arrays."""
    array = arrays.pop(name, _ABSENT)
    need(are_finite(array, np.float64, (n,)), f"{name!r} must be {n:,} finite float64")
    return np.asarray(array)


def check_statistics(encoder: Encoder) -> None:
    """ValueError unless target statistics of numbers are of numbers that are there."""
    n_coded = sum(feature.channel != "target" for feature in encoder.num_features)
    for statistic in encoder.target_encoding.statistics if encoder.target_encoding else ():
        need(
            statistic.edges is None or statistic.place < n_coded,
            "a target statistic has no column",
        )


# Networks


def check_network(values: Any, n_num: int, cardinalities: Sequence[int], n_outputs: int, kind: str) -> None:
    """ValueError unless a `NetworkConfig` is whole, and fits what comes in (n_num without texts') and out."""
    check_fields(NetworkConfig, values)
    architecture = values.get("architecture", "mlp")
    need(architecture in ARCHITECTURES, f"there is no architecture {architecture!r}")
    need(
        values.get("activation", "relu") in ACTIVATIONS,
        f"there is no activation {values.get('activation')!r}",
    )
    need(values.get("norm") in NORMS, f"there is no norm {values.get('norm')!r}")
    need(0 <= values.get("dropout", 0.0) < 1, "'dropout' must be at least 0 and below 1")
    need(
        values["n_num"] >= n_num,
        f"it takes {values['n_num']} numbers, and rows have {n_num}",
    )
    need(
        values["cardinalities"] == list(cardinalities),
        "it takes other categories than rows have",
    )
    need(
        values["d_out"] == n_outputs,
        f"it has {values['d_out']} outputs, and its task {n_outputs}",
    )
    need(
        all(1 <= width < 2**31 for width in values["hidden"]),
        "widths must be at least 1",
    )
    for name in ("n_bins", "n_frequencies", "d_periodic", "d_piecewise"):
        need(1 <= values.get(name, 1) < 2**31, f"{name!r} must be at least 1")
    for name in ("periodic", "piecewise", "keep", "rising", "falling", "unused"):
        places = values.get(name) or []
        need(
            all(0 <= place < values["n_num"] for place in places),
            f"{name!r} must be places of numbers",
        )
        need(len(set(places)) == len(places), f"{name!r} has a place twice")
    if architecture == "tabm":
        link = {"binary": "sigmoid", "multiclass": "softmax"}.get(kind, "identity")
        need(values.get("link", "identity") == link, f"its link must be {link!r}")


def check_sizes(config: NetworkConfig, networks: Sequence[Arrays]) -> None:
    """ValueError unless each of these holds enough numbers for a network of this configuration.

    So a network that is built takes no more memory than the file is large, give or take.
    """
    needed = least_size(config)
    for arrays in networks:
        n = sum(array.size for array in arrays.values())
        need(n >= needed, f"layers of {needed:,} weights are said, and {n:,} are there")


def least_size(config: NetworkConfig) -> int:
    """Weights that a network has at the least: those of its matrices, and of what embeds numbers."""
    n_periodic, n_piecewise = len(config.periodic), len(config.piecewise)
    kept = config.n_num if config.keep is None else len(config.keep)
    embedded = kept + n_periodic * config.d_periodic + n_piecewise * config.d_piecewise
    if config.architecture == "realmlp":
        embedded = kept + 3 * n_periodic + n_piecewise * config.d_piecewise
    widths = [embedded, *config.hidden, config.d_out]
    if config.architecture == "resnet":
        d, inside = (config.hidden or (0,))[0], config.hidden[1:]
        matrices = embedded * d + 2 * d * sum(inside) + d * config.d_out
    else:
        matrices = sum(a * b for a, b in pairwise(widths))
    if config.architecture == "tabm":  # of the members: scales, and a head for each
        matrices += MEMBERS * (sum(widths[1:-1]) + (widths[-2] - 1) * config.d_out)
    embedding = n_periodic * config.n_frequencies + n_piecewise * config.n_bins * config.d_piecewise
    return matrices + embedding


def check_state(wanted: Mapping[str, torch.Tensor], arrays: Arrays, config: NetworkConfig) -> None:
    """ValueError unless these are the weights of a network that has tensors like `wanted`."""
    need(
        wanted.keys() == arrays.keys(),
        f"weights are absent, or too many: {_odd(wanted, arrays)}",
    )
    for name, array in arrays.items():
        found = array.dtype.name, array.shape
        shape = tuple(wanted[name].shape) or (1,)  # a file has no arrays without an axis
        of_net = str(wanted[name].dtype).removeprefix("torch."), shape
        need(
            found == of_net,
            f"size mismatch for {name}: {found} in the file, {of_net} needed",
        )
        _check_values(name, array, config)


def may_overflow(networks: Sequence[Arrays]) -> bool:
    """Whether these weights are so large that outputs might be beyond float32; most are far below.

    No output is above the product of what each array multiplies by at most.
    """
    return any(sum(_log_factor(*pair) for pair in arrays.items()) > LARGEST_LOG for arrays in networks)


def _log_factor(name: str, array: NDArray[Any]) -> float:
    """The decimal logarithm of 1 + what an array multiplies by, or adds, at most."""
    if array.dtype.kind != "f" or not array.size:
        return 0.0
    if name.endswith("running_var"):
        return math.log10(1 + 1 / math.sqrt(float(array.min()) + 1e-5))
    sizes = np.abs(array.astype(np.float64))
    adds_up = array.ndim > 1 and not name.endswith((".r", ".s"))  # the latter scale one by one
    return math.log10(1 + float(sizes.reshape(len(sizes), -1).sum(axis=1).max() if adds_up else sizes.max()))


def _check_values(name: str, array: NDArray[Any], config: NetworkConfig) -> None:
    need(np.isfinite(array).all(), f"{name} is not finite")
    is_learnt = array.dtype.kind == "f" and "running_" not in name  # the others are what inputs were
    need(not is_learnt or (np.abs(array) < LARGEST_WEIGHT).all(), f"{name} is too large")
    need(
        not name.endswith("running_var") or (array >= 0).all(),
        f"{name} must not be negative",
    )
    if name.endswith("periodic_columns"):
        need(
            array.tolist() == list(config.periodic),
            f"{name} are others than in the text",
        )
    if name.endswith("piecewise.edges"):
        rises = np.diff(array)
        need((rises >= 0).all() and (rises[:, :1] > 0).all(), f"{name} must rise")


def _odd(wanted: Mapping[str, Any], arrays: Arrays) -> str:
    return ", ".join(sorted(wanted.keys() ^ arrays.keys())[:3])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
