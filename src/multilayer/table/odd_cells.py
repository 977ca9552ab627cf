"""Odd cells: those that do not fit the rest of their column are made missing, and named."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.cells import distinct_texts
from multilayer.table.column import Column
from multilayer.table.infer import holds
from multilayer.table.kinds import is_as_written, kind_of
from multilayer.table.kinds.number import NUMBER, as_numbers
from multilayer.table.sources.dtype_hints import Odd
from multilayer.table.sources.read import Table
from multilayer.table.sources.sparse import SparseColumn
from multilayer.table.text_kind import (
    FEW,
    SIGN_MARKS,
    are_few,
    kind_of_texts,
    sign_marks,
    unread_texts,
    with_writing,
)
from multilayer.table.writing import have_points_of_thousands


def without_odd_cells(table: Table, declared: Mapping[str, Column]) -> Table:
    """A table to learn from: marks such as ? are missing, and so are a few cells that are no number (no date,
    ...) in a column of which all others are; `Table.odd` says which.

    declared: columns of which the user said the kind

    >>> cells = np.array([str(k) for k in range(20)] + ["x"], dtype=object)
    >>> clean = without_odd_cells(Table({"n": cells}), {})
    >>> clean["n"][-1] is None, clean.odd["n"].in_words
    (True, "1 odd cell is missing: row 21 holds 'x'")
    """
    columns, odd = dict(table.columns), dict(table.odd)
    for name, values in _texts_of(table).items():
        kind, unread = _kind_and_odd(table, name, values, declared.get(name))
        marks = _marks(kind, values)
        named = unread | marks if kind_of(kind).has_numbers else unread
        if (found := Odd.of(values.tolist(), named)) is not None:
            odd[name] = found + odd.get(name)
        columns[name] = without_texts(values, unread | marks)
    return replace(table, columns=columns, odd=odd)


def _texts_of(table: Table) -> dict[str, NDArray[np.object_]]:
    return {
        name: values
        for name, values in table.columns.items()
        if not isinstance(values, SparseColumn) and values.dtype == object
    }


def _kind_and_odd(
    table: Table, name: str, values: NDArray[np.object_], declared: Column | None
) -> tuple[Column, frozenset[str]]:
    note = table.notes.get(name)
    if declared is None and note is not None and holds(note, values):
        return Column(name, note.kind, levels=tuple(map(str, note.levels))), frozenset()
    if declared is None:
        found = kind_of_texts(name, values)
        return found.column, found.odd
    unread = unread_texts(with_writing(declared, values), values)
    few = are_few(_count(values, unread), _n_cells(values))
    return declared, unread if few else frozenset()  # of many, an error tells


def _marks(column: Column, values: NDArray[np.object_]) -> frozenset[str]:
    """Signs that stand for a missing value."""
    is_open = kind_of(column).finds_levels and not column.levels
    return sign_marks(values, None if is_open else column.levels)


def _count(values: NDArray[np.object_], texts: Collection[str]) -> int:
    return sum(value in texts for value in values.tolist()) if texts else 0


def _n_cells(values: NDArray[np.object_]) -> int:
    return sum(value is not None and value not in SIGN_MARKS for value in values.tolist())


def without_texts(values: NDArray[np.object_], texts: Collection[str]) -> NDArray[Any]:
    """The column with None for these texts."""
    if not texts:
        return values
    cleared = values.copy()
    cleared[[value in texts for value in values.tolist()]] = None
    return cleared


def as_learnt(table: Table, columns: Collection[Column]) -> tuple[Table, list[str]]:
    """A table to predict, as `without_odd_cells` had that of the fit; and what was made missing, in words.

    A column of which most cells are not what it was at fit stays as it is, for `check` to refuse.
    """
    texts, cleared, said = _texts_of(table), {}, []
    for column in columns:
        values = texts.get(column.name)
        if values is None:
            continue
        if (
            column.kind == NUMBER.name
            and not is_as_written(column)
            and (found := _with_points(values)) is not None
        ):
            values = cleared[column.name] = found[0]
            said.append(
                f"column {column.name!r} has points between thousands, as in {found[1]!r}, which it did not "
                "have at fit"
            )
        unread = unread_texts(column, values)
        odd = Odd.of(values.tolist(), unread)
        if odd is not None and (odd.n > max(1, int(FEW * len(values))) or 2 * odd.n >= _n_cells(values)):
            unread = frozenset()
        elif odd is not None:
            in_words = odd.moved(table.n_before).in_words
            said.append(f"column {column.name!r} was read as {column.kind} at fit, and {in_words}")
        marks = sign_marks(values, column.levels if kind_of(column).has_levels else ())
        if unread or marks:
            cleared[column.name] = without_texts(values, unread | marks)
    if not cleared:
        return table, said
    return replace(table, columns={**table.columns, **cleared}), said


def _with_points(values: NDArray[np.object_]) -> tuple[NDArray[np.object_], str] | None:
    """Text of numbers without the points between their thousands, and the first such; None without these."""
    texts = [text for text in distinct_texts(values) if text not in SIGN_MARKS]
    if not have_points_of_thousands(texts):
        return None
    plain: NDArray[np.object_] = np.empty(len(values), dtype=object)
    plain[:] = [None if text is None else text.replace(".", "") for text in values.tolist()]
    return plain, next(text for text in texts if "." in text)


def without_signs(values: NDArray[Any]) -> NDArray[Any]:
    """A target of text with signs such as ? missing, unless they are its labels."""
    return without_texts(values, sign_marks(values, None)) if values.dtype == object else values


def as_numbers_of_target(values: NDArray[Any]) -> tuple[NDArray[np.float64], Odd | None, Column] | None:
    """A target of text that is numbers, all but for a few cells; None for any other.

    Gives the numbers, NaN where it has none; which cells are odd; how the numbers are written.

    >>> numbers, odd, _ = as_numbers_of_target(np.array(["1.5", "2"] * 20 + ["x"], dtype=object))
    >>> numbers[:2].tolist(), odd.first
    ([1.5, 2.0], ((41, 'x'),))
    """
    if values.dtype != object:
        return None
    found = kind_of_texts("target", values)
    if found.column.kind != NUMBER.name:
        return None
    cleared = without_texts(values, found.odd | SIGN_MARKS)
    return as_numbers(found.column, cleared), Odd.of(values.tolist(), found.odd | SIGN_MARKS), found.column
