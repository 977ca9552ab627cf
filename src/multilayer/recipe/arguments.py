"""The rule for each setting of `fit`: wrong values are refused before anything is read or trained."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np
import torch

from multilayer.errors import ConfigError, nearest
from multilayer.nn.blocks import ACTIVATIONS
from multilayer.recipe.choices import NetworkName, Quality
from multilayer.table.column import Infinite
from multilayer.table.schema import Schema
from multilayer.tasks.make import OBJECTIVES
from multilayer.tasks.task import KINDS
from multilayer.training.settings import why_no_device

_F = TypeVar("_F")

if TYPE_CHECKING:

    def no_type_check(function: _F) -> _F:
        """Let type checkers see what `typing.no_type_check` would hide from them."""
        return function
else:
    from typing import no_type_check

__all__ = ["RULES", "check_arguments", "checked_device", "no_type_check", "plain_numbers"]

LARGEST = 2**31 - 1  # whole number: what counts epochs and networks is no larger
LARGEST_SEED = 2**63 - 1  # of torch.manual_seed

Rule = tuple[Callable[[Any], bool], str, str]  # what is right, the rule, and what to do


def _is_whole(value: object, low: int = 1, high: int = LARGEST) -> bool:
    right = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return right and low <= int(value) <= high  # type: ignore[call-overload]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and bool(0 < value < math.inf)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)


def _are_widths(value: Any) -> bool:
    return _is_whole(value) or (_is_list(value) and all(map(_is_whole, value)))


def _is_share(value: Any) -> bool:
    return _is_number(value) and bool(0 < value < 1)


def _are_quantiles(value: Any) -> bool:
    return _is_share(value) or (_is_list(value) and all(map(_is_share, value)))


def _are_directions(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(way, str | int | np.integer) for way in value.values()
    )


def _is_name(value: object) -> bool:
    if not isinstance(value, Hashable):
        return False
    try:
        return bool(value == value)
    except TypeError:
        return False


def _are_names(value: Any) -> bool:
    if isinstance(value, str):
        return True
    right = isinstance(value, Iterable) and not isinstance(value, bytes | Mapping | Iterator)
    return right and all(map(_is_name, value))


def _are_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_number, value.values()))


def _is_path(value: object) -> bool:
    return isinstance(value, str | PathLike)


def _one_of(names: Iterable[str], advice: str = "Choose one of them.") -> Rule:
    known = tuple(names)
    return (lambda v: isinstance(v, str) and v in known), f"one of {', '.join(map(repr, known))}", advice


_WHOLE: Rule = (_is_whole, "a whole number of at least 1", "Pass for example 8, or leave it out.")
_POSITIVE: Rule = (_is_positive, "positive and finite", "Pass for example 0.01, or leave it out.")
_NAME: Rule = (_is_name, "the name of a column", "Put the values into the table, and name their column.")
_SWITCH: Rule = (lambda v: isinstance(v, bool | np.bool_), "True or False", "Pass one of them.")
_MAPPING: Callable[[Any], bool] = lambda v: isinstance(v, Mapping)  # noqa: E731 (a rule among rules)

RULES: Mapping[str, Rule] = {
    "target": (
        lambda v: _is_name(v) or (isinstance(v, list | tuple) and all(map(_is_name, v))),
        "the name of a column, or a list of names",
        "Pass values as y=.",
    ),
    "class_weight": (
        lambda v: v == "balanced" if isinstance(v, str) else _are_weights(v),
        "'balanced', or a mapping of labels to weights",
        "Pass for example {'yes': 2}.",
    ),
    "task": _one_of(KINDS, "Leave it out, and the target decides."),
    "objective": _one_of(OBJECTIVES),
    "quantiles": (
        _are_quantiles,
        "a number, or several, between 0 and 1",
        "Pass for example (0.1, 0.5, 0.9).",
    ),
    "threshold": (
        lambda v: isinstance(v, str) or _is_number(v),
        "a probability, or the name of a metric",
        "Pass for example 0.3 or 'f1'.",
    ),
    "drop": (_are_names, "the names of columns", "Pass for example ['id', 'note']."),
    "kinds": (_MAPPING, "a mapping of columns to kinds", "Pass for example {'zip': 'category'}."),
    "schema": (
        lambda v: isinstance(v, Schema) or _is_path(v),
        "a Schema, or the path of one",
        "Pass what ml.infer_schema gives.",
    ),
    "infinite": _one_of(get_args(Infinite)),
    "calibration": (
        lambda v: (bool(0 < v < 1) or _is_whole(v)) if _is_number(v) else not isinstance(v, bool),
        "a share of the rows, a whole number of them, or a table",
        "Pass for example 0.2.",
    ),
    "query": (lambda v: isinstance(v, str), "SQL in a text", "Pass for example 'select * from homes'."),
    "thousands": (lambda v: isinstance(v, str), "a character", "Pass for example ','."),
    "decimal": (lambda v: isinstance(v, str), "a character", "Pass for example ','."),
    "encoding": (lambda v: isinstance(v, str), "the name of an encoding", "Pass for example 'latin-1'."),
    "header": _SWITCH,
    "drop_missing_target": _SWITCH,
    "groups": _NAME,
    "time": _NAME,
    "monotone": (
        _are_directions,
        "a mapping of columns to 'increasing' or 'decreasing'",
        "Pass for example {'size': 'increasing'}.",
    ),
    "quality": _one_of(get_args(Quality)),
    "network": _one_of(get_args(NetworkName)),
    "members": _WHOLE,
    "hidden": (
        _are_widths,
        "a whole number of at least 1, or a sequence of such",
        "Pass for example 64 or [96, 64].",
    ),
    "epochs": _WHOLE,
    "batch_size": _WHOLE,
    "lr": _POSITIVE,
    "patience": _WHOLE,
    "activation": _one_of(sorted(ACTIVATIONS)),
    "weight_decay": (
        lambda v: _is_number(v) and bool(0 <= v < math.inf),
        "finite, and must not be negative",
        "Pass for example 0.1, or leave it out.",
    ),
    "time_budget": (
        lambda v: _is_number(v) and v > 0,
        "positive seconds",
        "Pass for example 60, or leave it out.",
    ),
    "seed": (
        lambda v: _is_whole(v, 0, LARGEST_SEED),
        "a whole number of at least 0",
        "Pass for example 0; the same seed gives the same model.",
    ),
    "n_threads": _WHOLE,
    "baselines": _SWITCH,
    "verbose": (_SWITCH[0], "True, False or None", "Pass False for no progress."),
    "callbacks": (
        lambda v: _is_list(v) and all(map(callable, v)),
        "a sequence of functions that take a Progress",
        "Pass for example [print].",
    ),
}
_NEEDED = frozenset(  # None has no meaning here
    {"infinite", "decimal", "header", "drop_missing_target", "quality", "network", "seed", "baselines"}
)


def check_arguments(settings: Mapping[str, Any]) -> None:
    """Refuse the first setting that is not what it may be; others, and None where that leaves one out, pass.

    Raises:
        ConfigError: its rule, what came, and what to do.

    >>> check_arguments({"lr": 0.1, "epochs": 2.5})
    Traceback (most recent call last):
    multilayer.errors.ConfigError: epochs must be a whole number of at least 1; got 2.5. ...
    """
    for name, value in settings.items():
        if name not in RULES or (value is None and name not in _NEEDED):
            continue
        is_right, rule, advice = RULES[name]
        if not is_right(value):
            near = nearest(value, rule.split("'")[1::2]) if isinstance(value, str) else ""
            raise ConfigError(f"{name} must be {rule}; got {_shown(value)}.{near or ' ' + advice}")


def plain_numbers(value: Any) -> Any:
    """Numbers of NumPy, alone or in an array, as those of Python, which a model file can hold."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def checked_device(device: Any) -> str | None:
    """The name of a device of PyTorch that is there.

    Raises:
        ConfigError: it is no device's name, or there is none.
    """
    if device is None:
        return None
    if not isinstance(device, str | torch.device):
        raise ConfigError(
            f"device must be a name such as 'cpu' or 'cuda'; got {_shown(device)}. Leave it out."
        )
    if (reason := why_no_device(device)) is not None:
        raise ConfigError(
            f"device must be one of PyTorch that this machine has; got {str(device)!r} ({reason}). "
            "Leave it out to train on the CPU."
        )
    return str(device)


def _shown(value: Any) -> str:
    """As much of a value as a sentence bears."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
