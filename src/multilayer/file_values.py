"""Whether what came from a file that others made is what it is said to be, before anything is built of it."""

from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

_SCALARS: dict[Any, set[type]] = {
    float: {int, float},
    int: {int},
    str: {str},
    bool: {bool},
    NoneType: {NoneType},
}


def need(condition: Any, rule: str) -> None:
    """ValueError with the rule where the condition does not hold."""
    if not condition:
        raise ValueError(rule)


def fits(value: Any, hint: Any, *, gaps: bool = False) -> bool:
    """Whether a value that came of JSON is what an annotation says; gaps: None stands for a float, too.

    >>> fits([1, 2], tuple[int, ...]), fits([1, None], list[float]), fits(True, int)
    (True, False, False)
    """
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if hint in _SCALARS:
        return type(value) in _SCALARS[hint] or (gaps and hint is float and value is None)
    if origin in (Union, UnionType):
        return any(fits(value, arg, gaps=gaps) for arg in args)
    if origin is Literal:
        return type(value) is str and value in args
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return type(value) is str and value in set(hint)
    if origin in (tuple, list):
        if args[0] in _SCALARS and isinstance(value, list):  # levels and losses may be many
            found = set(map(type, value)) - ({NoneType} if gaps and args[0] is float else set())
            return found <= _SCALARS[args[0]]
        return isinstance(value, list) and all(fits(item, args[0], gaps=gaps) for item in value)
    return isinstance(value, dict) and all(fits(item, args[1], gaps=gaps) for item in value.values())


def is_count(value: Any) -> bool:
    """Whether a value is a whole number that may count something."""
    return type(value) is int and 0 <= value < 2**62


def are_finite(array: NDArray[Any], dtype: Any, shape: tuple[int, ...]) -> bool:
    """Whether an array has this type and shape, and finite numbers alone."""
    return array.dtype == dtype and array.shape == shape and bool(np.isfinite(array).all())
