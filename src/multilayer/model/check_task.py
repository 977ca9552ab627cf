"""What of a model file becomes its task: checked before anything is built from it."""

import math
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np

from multilayer.file_values import fits, need
from multilayer.model.check_fields import hints_of, short
from multilayer.tasks.classification import THRESHOLD_METRICS
from multilayer.tasks.make import OBJECTIVES
from multilayer.tasks.positive import LogLink, LogTarget
from multilayer.tasks.regression import Quantiles

_DTYPES = ("object", "bool", *(f"{kind}{n}" for kind in ("int", "uint") for n in (8, 16, 32, 64)),
           "float16", "float32", "float64")  # fmt: skip


LARGEST_NUMBER = 1e300  # of targets: an exposure must not lead beyond float64


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
            f"labels {short(labels)} are not of type {dtype}",
        )
        try:
            as_they_came = np.array(labels, dtype=dtype).tolist()
        except (OverflowError, TypeError) as error:
            raise ValueError(f"labels are not of type {dtype}") from error
        need(as_they_came == labels, f"labels are not of type {dtype}")
    scale, shift = values.get("scale", 1.0), values.get("shift", 0.0)
    need(fits([scale, shift], list[float]), "'scale' and 'shift' must be numbers")
    need(1e-3 < scale < 1e3 and abs(shift) < 1e3, "'scale' or 'shift' is too large or too small")
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
    hints = hints_of(cls) | {"low": float | None, "high": float | None}
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
