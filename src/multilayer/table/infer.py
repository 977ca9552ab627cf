"""The kind, range and levels of a column: inferred from its values, or measured for a declared kind."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, SchemaError
from multilayer.table.cells import distinct_texts, is_missing
from multilayer.table.column import AS_WRITTEN, Column, Infinite, check_kind
from multilayer.table.dates import time_zone
from multilayer.table.kinds import KINDS, kind_of
from multilayer.table.kinds.number import NUMBER
from multilayer.table.kinds.ordered import levels_in_order
from multilayer.table.levels import is_wide, shortest_text
from multilayer.table.sources.dtype_hints import Note
from multilayer.table.sources.names import is_index_name
from multilayer.table.sources.read import Table
from multilayer.table.text_kind import kind_of_texts, with_writing

IDENTIFIER = "an identifier: nearly every row has a different value"
ROW_NUMBERS = "row numbers, as pandas writes its index"
FEWEST_IDENTIFIED = 50  # rows that an identifier is known by
IDENTIFIED = 0.95  # of them differ
_WHOLE = re.compile(r"-?\d{1,400}", re.ASCII)
_ID_NAME = re.compile(r"(^|[\W_])[iI][dD]$|[a-z]I[dD]$")


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
    if kind_of(column).is_numeric and column.low is None:
        return "no finite value"
    if column.n_unique == 1 and n_missing == 0:
        return "constant"
    return column if declared is not None else _unless_identifier(column, values)


def _unless_identifier(column: Column, values: NDArray[Any]) -> Column | str:
    """Why a column that tells rows apart is left out; numbers that may do so stay, and are said to."""
    n_cells = len(values) - column.n_missing
    kind = kind_of(column)
    whole = kind.may_number_rows and column.n_unique == len(values) and _are_whole(values)
    if is_written_index(column.name, values):
        return ROW_NUMBERS
    if n_cells < FEWEST_IDENTIFIED or column.n_missing > len(values) - n_cells * IDENTIFIED:
        return column
    if kind.may_name_rows and column.n_unique >= IDENTIFIED * n_cells:
        return "; ".join(filter(None, (IDENTIFIER, column.reason)))  # it may be numbers of two units
    if not whole:
        return column
    consecutive = column.low is not None and column.high == column.low + len(values) - 1
    if not consecutive and not _ID_NAME.search(column.name):
        return column
    what = "consecutive numbers" if consecutive else "whole numbers, each of them once"
    said = f"{what}, like those of an identifier: if it is one, drop=[{column.name!r}] leaves it out"
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
    return Column(name, "ordered", levels=levels_in_order(name, list(kind)), reason="as declared")


def _inferred(name: str, values: NDArray[Any], note: Note | None) -> Column:
    """The column with its kind and what belongs to it; nothing is measured yet."""
    if note is not None and holds(note, values):
        return KINDS[note.kind].of_note(name, note)
    if values.dtype != object:
        found = (kind.name for kind in KINDS.values() if values.dtype.kind in kind.dtypes)
        column = Column(name, next(found))
    else:
        column = kind_of_texts(name, values).column
    if column.kind == NUMBER.name and floats_merge(values):
        return Column(name, "category", reason="whole numbers beyond 2^53, which floats would make equal")
    return column


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
    return KINDS[note.kind].fits_note(note, values)


def _completed(column: Column, values: NDArray[Any], note: Note | None) -> Column:
    """A declared column with what its values or its type say beside."""
    if values.dtype == object:
        column = with_writing(column, values)
    return kind_of(column).completed(column, values, note)


def _measured(column: Column, values: NDArray[Any]) -> Column:
    """The column with what was seen: range, number of distinct values, levels."""
    if column.zone not in (None, AS_WRITTEN):
        time_zone(str(column.zone))  # known, or an error now
    return kind_of(column).measure(column, values)
