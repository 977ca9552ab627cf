"""Ordered categories: levels with an order, which the user or the column's type says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError
from multilayer.table.cells import is_missing
from multilayer.table.column import Column
from multilayer.table.kinds.category import Category, check_levels, shown_levels
from multilayer.table.kinds.kind import (
    Arrays,
    Coder,
    Kind,
    Learning,
    Stored,
    as_declared,
    as_everywhere,
    as_texts,
    cells_of_texts,
    no_candidates,
    no_codes,
    of_no_texts,
)
from multilayer.table.kinds.unscaled import LEVELS, one_number
from multilayer.table.levels import as_levels, count_levels, shortest_text
from multilayer.table.sources.dtype_hints import Note
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import read_table
from multilayer.table.sources.values import is_mark
from multilayer.table.steps import RARE, Code, Feature, Outputs, Pick


def levels_in_order(name: str, values: Sequence[Any]) -> tuple[str, ...]:
    """Levels as the text that they are in a column."""
    read = as_levels(read_table({"level": values})["level"]) if len(values) else ()
    texts = tuple(level for level in read if level is not None)
    if len(texts) < 2 or len(texts) < len(values) or len(set(texts)) < len(texts):
        raise ConfigError(
            f"An order needs at least 2 levels, each once and none missing; got {list(values)!r} for column "
            f"{name!r}. List its levels, lowest first."
        )
    return texts


def _levels_of(name: str, note: Note) -> tuple[str, ...]:
    """The order that a column's type declares, without levels that stand for a missing value."""
    return levels_in_order(name, [level for level in note.levels if not is_mark(level)])


def _fits_note(note: Note, values: NDArray[Any]) -> bool:
    return len(note.levels) > 1


def _of_note(name: str, note: Note) -> Column:
    return Column(name, "ordered", levels=_levels_of(name, note), reason="an ordered categorical or enum")


def _completed(column: Column, values: NDArray[Any], note: Note | None) -> Column:
    return column if column.levels else replace(column, levels=_natural_order(column, values, note))


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


def _measure(column: Column, values: NDArray[Any]) -> Column:
    counts = count_levels(as_levels(values))
    check_order(column, counts, values)
    return replace(column, n_unique=len(counts))


def check_order(column: Column, levels: Iterable[str], values: NDArray[Any] | None = None) -> None:
    """Refuse levels that the declared order of a column lacks.

    values: of all rows, to say in which one the first such level stands

    Raises:
        ConfigError: there is one.
    """
    known = set(column.levels)
    strange = next((level for level in levels if level not in known), None)
    if strange is None:
        return
    row = "" if values is None else f" in row {as_levels(values).tolist().index(strange) + 1}"
    raise ConfigError(
        f"A declared order must name every level; column {column.name!r} holds {strange!r}{row}, and the "
        f"order is {listed(column.levels)}. Add the level, or mend the value."
    )


def _show(column: Column) -> str:
    return shown_levels(column, " < ")


@dataclass(frozen=True)
class Ordered(Coder):
    """An ordered category: its place in the order, from -1 to 1, beside the code of a category.

    A level that is not in the order is as one never seen: place 0, code 1. One that is in the order and was
    not seen often enough has its place.
    """

    column: Column
    category: Category

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels with a code of their own."""
        return self.category.levels

    @cached_property
    def outputs(self) -> Outputs:
        """The place in the order; 0 where missing or not in it."""
        name, levels = self.column.name, self.column.levels
        places = np.concatenate([np.zeros(RARE + 1), np.linspace(-1.0, 1.0, len(levels))])
        return ((Feature(f"{name} (order)", name, "order"), (Code(levels), Pick(places))),)

    @property
    def code(self) -> Code:
        """The code of the category."""
        return self.category.code

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return self.category.to_json() | {"coder": "ordered"}

    @classmethod
    def from_json(cls, column: Column, plan: Mapping[str, Any], arrays: Arrays) -> "Ordered":
        """The inverse of `to_json`."""
        return cls(column, Category.from_json(column, plan, arrays))


def _fit(column: Column, values: NDArray[Any], learning: Learning) -> Ordered:
    return Ordered(column, Category.fit(column, values, learning.weight))


ORDERED = Kind(
    name="ordered",
    plural="ordered categories",
    wanted="text",
    settings=frozenset(),
    dtypes="",
    is_numeric=False,
    is_closed=True,
    has_levels=True,
    has_order=True,
    may_number_rows=False,
    may_name_rows=False,
    read=as_texts,
    cells=cells_of_texts,
    numbers=None,
    parser=None,
    of_texts=of_no_texts,
    candidates=no_candidates,
    are_codes=no_codes,
    in_own_writing=as_everywhere,
    written=as_declared,
    completed=_completed,
    fits_note=_fits_note,
    of_note=_of_note,
    measure=_measure,
    show=_show,
    fit=_fit,
    coders={
        "ordered": Stored(Ordered.from_json, one_number, check_levels, has_code=True),
        "levels": LEVELS,
    },
)
