"""What a column is and what was seen in it: read off its values, or measured for a declared kind."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, SchemaError
from multilayer.table.column import AS_WRITTEN, NUMERIC, Column, Infinite, check_kind
from multilayer.table.convert import (
    CONVERSIONS,
    as_levels,
    distinct_texts,
    has_lost_digits,
    is_missing,
    is_wide,
    shortest_text,
)
from multilayer.table.dates import days, time_zone
from multilayer.table.sources.dtype_hints import Note
from multilayer.table.sources.names import is_index_name
from multilayer.table.sources.read import Table, listed, read_table
from multilayer.table.sources.values import is_mark
from multilayer.table.text import n_words
from multilayer.table.text_kind import kind_of_texts, with_writing

IDENTIFIER = "an identifier: nearly every row has a value of its own"
ROW_NUMBERS = "row numbers, as pandas writes its index"
FEWEST_IDENTIFIED = 50  # rows that an identifier is known by
IDENTIFIED = 0.95  # of them differ
_WHOLE = re.compile(r"-?\d{1,400}", re.ASCII)
_ID_NAME = re.compile(r"(^|[\W_])[iI][dD]$|[a-z]I[dD]$")
MAX_LEVELS = 10_000  # of a category; the rest is pooled as rare


def describe(table: Table, name: str, declared: Column | None, infinite: Infinite | None) -> Column | str:
    """A column of a table; or, for one that is left out, why: "constant", "all missing", "no finite value",
    or that it is an identifier.

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
    odd = table.odd.get(name)
    column = replace(
        column,
        reason="; ".join(filter(None, (column.reason, odd.in_words if odd else None))) or None,
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
    if column.n_unique == 1 and n_missing == 0:
        return "constant"
    return column if declared is not None else _unless_identifier(column, values)


def _unless_identifier(column: Column, values: NDArray[Any]) -> Column | str:
    """Why a column that tells rows apart is left out; numbers that may do so stay, and are said to."""
    n_cells = len(values) - column.n_missing
    whole = column.kind == "number" and column.n_unique == len(values) and _are_whole(values)
    if is_written_index(column.name, values):
        return ROW_NUMBERS
    if n_cells < FEWEST_IDENTIFIED or column.n_missing > len(values) - n_cells * IDENTIFIED:
        return column
    if column.kind == "category" and column.n_unique >= IDENTIFIED * n_cells:
        return "; ".join(filter(None, (IDENTIFIER, column.reason)))  # it may be numbers of two units
    if not whole:
        return column
    consecutive = column.low is not None and column.high == column.low + len(values) - 1
    if not consecutive and not _ID_NAME.search(column.name):
        return column
    what = "consecutive numbers" if consecutive else "whole numbers, each of them once"
    said = f"{what}, as an identifier's: if it is one, drop=[{column.name!r}] leaves it out"
    return replace(column, reason="; ".join(filter(None, (column.reason, said))))


def is_written_index(name: str, values: NDArray[Any]) -> bool:
    """Whether a column is an index that pandas wrote into a file: by its name, and as all rows differ."""
    if not is_index_name(name) or values.dtype.kind != "i":
        return False
    return bool(values.min() >= 0) and len(np.unique(values)) == len(values)


def _are_whole(values: NDArray[Any]) -> bool:
    return values.dtype.kind == "i" or (values.dtype.kind == "f" and bool((values == np.round(values)).all()))


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
    if note is not None and holds(note, values):
        if note.kind == "ordered":
            return Column(
                name, "ordered", levels=_levels_of(name, note), reason="an ordered categorical or enum"
            )
        if note.kind == "category":
            return Column(name, "category", reason="a categorical")
        return Column(name, note.kind, zone=note.zone)
    if values.dtype != object:
        kinds = {"b": "boolean", "M": "date"}
        column = Column(name, check_kind(name, kinds.get(values.dtype.kind, "number")))
    else:
        column = kind_of_texts(name, values).column
    if column.kind == "number" and floats_merge(values):
        return Column(name, "category", reason="whole numbers beyond 2^53, which as floats would be the same")
    return column


def _levels_of(name: str, note: Note) -> tuple[str, ...]:
    """The order that a column's type declares, without levels that stand for a missing value."""
    return _as_levels(name, [level for level in note.levels if not is_mark(level)])


def floats_merge(values: NDArray[Any]) -> bool:
    """Whether whole numbers are so large that many of them would be the same as floats.

    >>> floats_merge(np.array([2**60, 2**60 + 1])), floats_merge(np.array([2**60, 2**61, 3]))
    (True, False)
    """
    if values.dtype.kind == "i":
        distinct: list[int] = np.unique(values).tolist() if np.abs(values).max() > 2**53 else []
    elif values.dtype == object:
        texts = distinct_texts(values)
        wide = any(map(is_wide, texts)) and all(map(_WHOLE.fullmatch, texts))
        distinct = list(map(int, texts)) if wide else []
    else:
        return False
    return len(set(map(float, distinct))) < IDENTIFIED * len(set(distinct))


def holds(note: Note, values: NDArray[Any]) -> bool:
    """Whether the values are what the note says: times among other objects were read as text, for one."""
    if note.kind == "ordered":
        return len(note.levels) > 1
    wanted = {"time": "f", "duration": "f", "date": "M"}.get(note.kind)
    return wanted is None or values.dtype.kind == wanted


def _completed(column: Column, values: NDArray[Any], note: Note | None) -> Column:
    """A declared column with what its values or its type say beside."""
    if column.kind == "date":
        if values.dtype == object:
            column = with_writing(column, values)
        if column.zone is None and note is not None:
            column = replace(column, zone=note.zone)
    elif column.kind == "number" and values.dtype == object:
        column = with_writing(column, values)
    elif column.kind == "ordered" and not column.levels:
        column = replace(column, levels=_natural_order(column, values, note))
    return column


def _natural_order(column: Column, values: NDArray[Any], note: Note | None) -> tuple[str, ...]:
    """The order of an ordered category that was declared without its levels."""
    if note is not None and note.kind == "ordered":
        return _levels_of(column.name, note)
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
            check_order(column, counts, values)
            return replace(column, n_unique=len(counts))
        if has_lost_digits(values):
            lost = "the last digits of its numbers beyond 2^53 were lost, as they came as floats"
            column = replace(column, reason="; ".join(filter(None, (column.reason, lost))))
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


def check_order(column: Column, levels: Iterable[str], values: NDArray[Any] | None = None) -> None:
    """Refuse levels that an ordered column's declared order lacks.

    values: of all rows, to say in which one the first such level stands

    Raises:
        ConfigError: there is one.
    """
    known = set(column.levels)
    strange = next((level for level in levels if level not in known), None)
    if strange is None:
        return
    row = "" if values is None else f" in row {as_levels(column, values).tolist().index(strange) + 1}"
    raise ConfigError(
        f"A declared order must name every level; column {column.name!r} holds {strange!r}{row}, and the "
        f"order is {listed(column.levels)}. Add the level, or mend the value."
    )


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
