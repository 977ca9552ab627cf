"""Frozen dataclasses of numbers and arrays as JSON and arrays of a model file, and back, checked."""

import math
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from multilayer.file_values import fits, need
from multilayer.output import finite

Arrays = dict[str, NDArray[Any]]


def to_record(value: Any, name: str, arrays: Arrays) -> Any:
    """The JSON of a dataclass; its arrays go into `arrays`, under its name and theirs.

    >>> from multilayer.model.statistics import Distribution
    >>> arrays = {}
    >>> to_record(Distribution(np.array([1.0, 3.0]), np.array([1.0, 2.0]), 2.0), "errors", arrays)
    {'n': 2.0}
    >>> sorted(arrays)
    ['errors.ranks', 'errors.values']
    """
    if isinstance(value, np.ndarray):
        arrays[name] = np.ascontiguousarray(value)
        return None
    if is_dataclass(value):
        found = {f.name: getattr(value, f.name) for f in fields(value)}
        records = {key: to_record(each, f"{name}.{key}", arrays) for key, each in found.items()}
        plain = {key: record for key, record in records.items() if not isinstance(found[key], np.ndarray)}
        return {"kind": type(value).__name__, **plain} if hasattr(type(value), "in_union") else plain
    if isinstance(value, tuple):
        return [to_record(each, f"{name}.{i}", arrays) for i, each in enumerate(value)]
    return finite(value)


def from_record(hint: Any, value: Any, name: str, arrays: Arrays) -> Any:
    """The inverse of `to_record`; arrays that are used are taken out.

    hint: the dataclass, or the annotation of a field of one

    Raises:
        ValueError: it is not what the annotations say, or its own `check` refuses it.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is np.ndarray:
        return _array(hint, name, arrays)
    if origin in (Union, UnionType):
        if value is None and NoneType in args:
            return None
        return from_record(_chosen(args, value), value, name, arrays)
    if is_dataclass(hint):
        return _dataclass(hint, value, name, arrays)
    if origin is tuple and (is_dataclass(args[0]) or get_origin(args[0]) in (Union, UnionType, dict)):
        need(isinstance(value, list), f"{name!r} must be a list")
        return tuple(from_record(args[0], each, f"{name}.{i}", arrays) for i, each in enumerate(value))
    need(fits(value, hint, gaps=True), f"{name!r} is not what it must be")
    if origin is dict and args[1] is float:
        return {key: math.nan if each is None else each for key, each in value.items()}
    need(value is not None or hint is NoneType, f"{name!r} is absent")
    return tuple(value) if origin is tuple else value


def _dataclass(cls: Any, value: Any, name: str, arrays: Arrays) -> Any:
    need(isinstance(value, dict), f"{name!r} must be an object")
    hints = _hints(cls)
    of_json = {key: each for key, each in value.items() if key != "kind"}
    wanted = {key for key, hint in hints.items() if get_origin(hint) is not np.ndarray}
    absent = {key for key in wanted - of_json.keys() if NoneType not in get_args(hints[key])}
    strange = absent | (of_json.keys() - wanted)  # what may be None is absent in files of before
    need(not strange, f"{name!r} has other fields: {sorted(strange)[:3]}")
    made = cls(
        **{key: from_record(hint, value.get(key), f"{name}.{key}", arrays) for key, hint in hints.items()}
    )
    try:
        made.check()
    except ValueError as error:
        raise ValueError(f"{name!r}: {error}") from None
    return made


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def _chosen(args: tuple[Any, ...], value: Any) -> Any:
    """Which of several annotations a value is of: of dataclasses, that of its "kind"."""
    classes: dict[str, Any] = {
        arg.__name__: arg for arg in args if isinstance(arg, type) and is_dataclass(arg)
    }
    if not classes:
        return next(arg for arg in args if arg is not NoneType)
    if len(classes) == 1:
        return next(iter(classes.values()))
    kind: Any = value.get("kind") if isinstance(value, dict) else None
    need(isinstance(kind, str) and kind in classes, f"there is no kind {kind!r}")
    return classes[kind]


def _array(hint: Any, name: str, arrays: Arrays) -> NDArray[Any]:
    need(name in arrays, f"the array {name!r} is absent")
    array, (wanted,) = np.array(arrays.pop(name)), get_args(get_args(hint)[1])
    need(
        array.dtype == wanted and bool(np.isfinite(array).all()), f"{name!r} must be finite {wanted.__name__}"
    )
    return array
