"""What a column is and what was seen in it: read off its values, or measured for a declared kind."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, SchemaError
from multilayer.table.column import AS_WRITTEN, NUMERIC, Column, Infinite, check_kind
from multilayer.table.convert import (
    BOOLEAN_PAIRS,
    CONVERSIONS,
    as_levels,
    distinct_texts,
    is_missing,
    shortest_text,
)
from multilayer.table.dates import ISO, date_format, days, has_offset, parse_duration, parse_time, time_zone
from multilayer.table.notes import Note
from multilayer.table.read import Table, listed, read_table
from multilayer.table.text import n_words, why_text

MAX_LEVELS = 10_000  # of a category; the rest is pooled as rare

_NUMBER_SHAPE = re.compile(r"\s*[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_FEW = 100  # texts that are looked at to see whether dates have offsets


def describe(table: Table, name: str, declared: Column | None, infinite: Infinite | None) -> Column | str:
    """A column of a table; or, for one that tells nothing, why: "constant", "all missing", "no finite value".

    Args:
        table: holds the column.
        name: of the column.
        declared: its kind, and what else the user said of it: levels of an ordered category, date_format,
            zone, infinite. What is measured is measured anew. None infers the kind.
        infinite: what becomes of infinities; None leaves that to `declared`.

    Raises:
        ConfigError: the column does not hold what was declared.
        DataError: an infinite number, if these are refused.
    """
    values, note = table[name], table.notes.get(name)
    missing = is_missing(values)
    n_missing = int(missing.sum())
    if n_missing == len(values):
        return "all missing"
    column = _inferred(name, values, note) if declared is None else _completed(declared, values, note)
    column = replace(
        column,
        n_missing=n_missing,
        infinite=infinite or column.infinite,
        example=shortest_text(values[np.argmin(missing)]),
    )
    try:
        column = _measured(column, values)
    except SchemaError as error:
        if declared is None or column.kind == _inferred(name, values, note).kind:
            raise DataError(str(error)) from None
        raise ConfigError(f"kinds declares column {name!r} as {column.kind}. {error}") from None
    if column.kind in NUMERIC and column.low is None:
        return "no finite value"
    return "constant" if column.n_unique == 1 and n_missing == 0 else column


def declare(name: str, kind: Any) -> Column:
    """A column of which the user said the kind, or the levels of an ordered category, lowest first.

    Raises:
        ConfigError: there is no such kind; or fewer than two levels, or one twice.

    >>> declare("size", ["small", "large"]).levels
    ('small', 'large')
    """
    if isinstance(kind, str):
        return Column(name, check_kind(name, kind), reason="as declared")
    if isinstance(kind, Mapping) or not isinstance(kind, Sequence | np.ndarray):
        check_kind(name, kind)
    return Column(name, "ordered", levels=_as_levels(name, list(kind)), reason="as declared")


def _as_levels(name: str, values: Sequence[Any]) -> tuple[str, ...]:
    """Levels as the text that they are in a column."""
    read = as_levels(Column(name, "ordered"), read_table({"level": values})["level"]) if len(values) else ()
    texts = tuple(level for level in read if level is not None)
    if len(texts) < 2 or len(texts) < len(values) or len(set(texts)) < len(texts):
        raise ConfigError(
            f"An order needs at least 2 levels, each once and none missing; got {list(values)!r} for column "
            f"{name!r}. List its levels, lowest first."
        )
    return texts


def _inferred(name: str, values: NDArray[Any], note: Note | None) -> Column:
    """The column with its kind and what belongs to it; nothing is measured yet."""
    if note is not None and _holds(note, values):
        if note.kind == "ordered":
            levels = _as_levels(name, note.levels)
            return Column(name, "ordered", levels=levels, reason="an ordered categorical or enum")
        if note.kind == "category":
            return Column(name, "category", reason="a categorical")
        return Column(name, note.kind, zone=note.zone)
    if values.dtype != object:
        kinds = {"b": "boolean", "M": "date"}
        return Column(name, check_kind(name, kinds.get(values.dtype.kind, "number")))
    texts = distinct_texts(values)
    if len(texts) <= 6 and {text.strip().lower() for text in texts} in map(set, BOOLEAN_PAIRS):
        return Column(name, "boolean")
    if all(map(_NUMBER_SHAPE.fullmatch, texts)):
        return Column(name, "number")
    found = date_format(texts)
    if found:
        return Column(name, "date", date_format=found, zone=_zone_of_texts(texts, found))
    if all(parse_time(text) is not None for text in texts):
        return Column(name, "time")
    if all(parse_duration(text) is not None for text in texts):
        return Column(name, "duration")
    why = why_text(texts, int((~is_missing(values)).sum()))
    return Column(name, "text", reason=why) if why else Column(name, "category")


def _holds(note: Note, values: NDArray[Any]) -> bool:
    """Whether the values are what the note says: times among other objects were read as text, for one."""
    if note.kind == "ordered":
        return len(note.levels) > 1
    wanted = {"time": "f", "duration": "f", "date": "M"}.get(note.kind)
    return wanted is None or values.dtype.kind == wanted


def _zone_of_texts(texts: Sequence[str], found: str) -> str | None:
    return AS_WRITTEN if any(has_offset(text, found, ISO) for text in texts[:_FEW]) else None


def _completed(column: Column, values: NDArray[Any], note: Note | None) -> Column:
    """A declared column with what its values or its type say beside."""
    if column.kind == "date":
        if values.dtype == object and column.date_format is None:
            texts = distinct_texts(values)
            found = date_format(texts)
            zone = column.zone or (_zone_of_texts(texts, found) if found else None)
            column = replace(column, date_format=found, zone=zone)
        if column.zone is None and note is not None:
            column = replace(column, zone=note.zone)
    elif column.kind == "ordered" and not column.levels:
        column = replace(column, levels=_natural_order(column, values, note))
    return column


def _natural_order(column: Column, values: NDArray[Any], note: Note | None) -> tuple[str, ...]:
    """The order of an ordered category that was declared without its levels."""
    if note is not None and note.kind == "ordered":
        return _as_levels(column.name, note.levels)
    if values.dtype == object:
        raise ConfigError(
            f"Levels of text have no order of their own; column {column.name!r} was declared as ordered. "
            f"Give them, lowest first, such as kinds={{{column.name!r}: ['low', 'middle', 'high']}}."
        )
    return tuple(shortest_text(value) for value in np.unique(values[~is_missing(values)]))


def _measured(column: Column, values: NDArray[Any]) -> Column:
    """The column with what was seen: range, number of distinct values, levels."""
    if column.zone not in (None, AS_WRITTEN):
        time_zone(str(column.zone))  # known, or an error now
    if column.kind in ("category", "ordered"):
        counts = count_levels(as_levels(column, values))
        if column.kind == "ordered":
            return _within_order(replace(column, n_unique=len(counts)), values, counts)
        return replace(column, n_unique=len(counts), levels=frequent_levels(counts, len(values)))
    if column.kind == "text":
        texts = distinct_texts(as_levels(column, values))
        sizes = [n_words(text) for text in texts]
        return replace(column, n_unique=len(texts), low=float(min(sizes)), high=float(max(sizes)))
    # What is declared says nothing of the range yet: infinities stay as they are for now.
    column = replace(column, low=None, high=None, levels=())
    numbers = CONVERSIONS[column.kind](column, values)
    if column.kind == "date":
        numbers = days(numbers)
    present = numbers[~np.isnan(numbers)]
    if column.kind == "boolean":
        return replace(column, n_unique=len(np.unique(present)))
    finite = present[np.isfinite(present)]
    if not len(finite):
        return column
    distinct = np.unique(np.clip(present, finite.min(), finite.max()))
    return replace(column, n_unique=len(distinct), low=float(distinct[0]), high=float(distinct[-1]))


def _within_order(column: Column, values: NDArray[Any], counts: Mapping[str, int]) -> Column:
    strange = [level for level in counts if level not in set(column.levels)]
    if strange:
        row = as_levels(column, values).tolist().index(strange[0])
        raise ConfigError(
            f"A declared order must name every level; column {column.name!r} holds {strange[0]!r} in row "
            f"{row + 1}, and the order is {listed(column.levels)}. Add the level, or mend the value."
        )
    return column


def count_levels(levels: NDArray[np.object_]) -> Counter[str]:
    """How often each level occurs; missing ones are not counted."""
    counts = Counter(levels.tolist())
    counts.pop(None, None)
    return counts


def frequent_levels(counts: Mapping[str, int], n_rows: int) -> tuple[str, ...]:
    """The levels worth a code of their own: most frequent first, equally frequent ones by name.

    A level must occur twice, and once in 10,000 rows; at most 10,000 are kept.
    """
    floor = max(2, n_rows // 10_000)
    kept = sorted((-count, level) for level, count in counts.items() if count >= floor)
    return tuple(level for _, level in kept[:MAX_LEVELS])
