"""A column in a schema's JSON, which people edit: written, and read with all that may be wrong in it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, get_args

from multilayer.errors import ConfigError, nearest
from multilayer.table.column import AS_WRITTEN, Column, Infinite, check_kind
from multilayer.table.dates import ISO, time_zone
from multilayer.table.infer import declare
from multilayer.table.kinds import KINDS, kind_of

_FOUND = "levels_by_frequency"  # of a category, instead of "levels": they are in no order
_NAMES = tuple(field.name for field in fields(Column))
_TEXTS = ("date_format", "example", "zone", "reason")  # or null
_PLAIN_TEXTS = ("unit", "thousands", "decimal")


def column_to_json(column: Column) -> dict[str, Any]:
    """A column in lists, texts and numbers.

    >>> column_from_json(column_to_json(Column("size", "category", levels=("M", "S")))).levels
    ('M', 'S')
    """
    values = asdict(column)
    del values["levels"]
    return values | {_FOUND if kind_of(column).finds_levels else "levels": list(column.levels)}


def column_from_json(values: Mapping[str, Any]) -> Column:
    """The column that `column_to_json` wrote, edited or not.

    Raises:
        ConfigError: it says what `kinds` would refuse: an unknown kind, an order that is none, unknown
        entries.
    """
    if not isinstance(values, Mapping) or not isinstance(values.get("name"), str):
        raise ConfigError(f"Each column of a schema must be an object with a name; got {values!r}. Mend it.")
    name, kind = values["name"], check_kind(values["name"], values.get("kind"))
    for key in values:
        if key not in (*_NAMES, _FOUND):
            raise ConfigError(
                f"A column of a schema has {', '.join(_NAMES)}; {name!r} has {key!r}.{nearest(key, _NAMES)} "
                f"Mend it."
            )
    _check_texts(name, values)
    _check_numbers(name, values)
    levels = _levels(name, kind, values)
    kept = {key: value for key, value in values.items() if key != _FOUND}
    return Column(**{**kept, "levels": levels})


def _levels(name: str, kind: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """The levels; of an ordered column, in an order that somebody gave."""
    found = values.get(_FOUND, ()) if KINDS[kind].finds_levels else ()
    levels = values.get("levels", found)
    if isinstance(levels, str) or not isinstance(levels, Sequence):
        raise ConfigError(f"Levels must be a list; those of {name!r} are {levels!r}. Write them as a list.")
    if not KINDS[kind].has_order:
        return tuple(map(str, levels))
    if not levels and _FOUND in values:
        raise ConfigError(
            f"An ordered category needs its levels in their order, lowest first; {name!r} has {_FOUND!r} "
            f"alone. "
            'Add the entry "levels", such as "levels": ["low", "middle", "high"].'
        )
    return declare(name, list(levels)).levels if levels else ()


def _check_texts(name: str, values: Mapping[str, Any]) -> None:
    for key in (*_TEXTS, *_PLAIN_TEXTS):
        value = values.get(key, "")
        if not isinstance(value, str) and not (value is None and key in _TEXTS):
            raise ConfigError(f"{key} must be text; that of {name!r} is {value!r}. Put it into quotes.")
    thousands, decimal = values.get("thousands", ""), values.get("decimal", ".")
    if len(decimal) != 1 or len(thousands) > 1 or thousands == decimal:
        raise ConfigError(
            f"decimal must be a sign, and thousands another one or empty; those of {name!r} are {decimal!r} "
            f"and {thousands!r}. Mend them."
        )
    date_format, zone = values.get("date_format"), values.get("zone")
    if date_format is not None and date_format != ISO and "%" not in date_format:
        raise ConfigError(
            f"date_format must be {ISO!r} or a pattern of strptime such as '%d/%m/%Y'; that of {name!r} is "
            f"{date_format!r}. Mend it."
        )
    if zone not in (None, AS_WRITTEN):
        time_zone(str(zone))  # known, or an error now
    infinite = values.get("infinite", "error")
    if infinite not in get_args(Infinite):
        raise ConfigError(f"infinite must be 'error' or 'clip'; that of {name!r} is {infinite!r}. Mend it.")


def _check_numbers(name: str, values: Mapping[str, Any]) -> None:
    for key in ("low", "high", "n_missing", "n_unique"):
        value = values.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number and not (value is None and (key in ("low", "high") or key not in values)):
            raise ConfigError(f"{key} must be a number; that of {name!r} is {value!r}. Leave it out.")
