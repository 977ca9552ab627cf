"""What a user asked of `fit`, as a model file can keep it: for the code that fits the same again."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# What leaves a setting unset; those that are not here are so with None, or with nothing in them
UNSET: Mapping[str, Any] = {
    "infinite": "error",
    "decimal": ".",
    "header": True,
    "drop_missing_target": False,
    "quality": "default",
    "network": "default",
}
# These change nothing of the model, but for how long it takes, or belong to the machine or the caller
_OF_THE_CALL = ("query", "memory", "device", "n_threads", "callbacks", "baselines", "verbose")
MOST_KEPT = 1000  # characters of a setting


def asked_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were set, in JSON's types; None for one that a file does not keep, such as arrays.

    given: the arguments of `fit` by name

    >>> asked_of({"target": "price", "seed": np.int64(3), "quality": "default", "y": None, "kinds": {}})
    {'target': 'price', 'seed': 3}
    >>> asked_of({"y": [1, 2], "quantiles": (0.1, 0.9)})
    {'y': None, 'quantiles': [0.1, 0.9]}
    """
    settings = {name: value for name, value in given.items() if name not in _OF_THE_CALL}
    return {name: _kept(name, value) for name, value in settings.items() if not _is_unset(name, value)}


def _is_unset(name: str, value: Any) -> bool:
    if value is None or (isinstance(value, Mapping | list | tuple | str) and not len(value)):
        return True
    return name in UNSET and type(value) is type(UNSET[name]) and bool(value == UNSET[name])


def _kept(name: str, value: Any) -> Any:
    """What a file keeps of a setting: no values of rows, no schema (the model has one), no path."""
    if name in ("y", "schema"):
        return None
    try:
        plain = _plain(value)
    except TypeError:
        return None
    return plain if len(repr(plain)) <= MOST_KEPT else None


def _plain(value: Any) -> Any:
    """In JSON's types.

    Raises:
        TypeError: it has none.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    raise TypeError
