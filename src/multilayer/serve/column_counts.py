"""How many cells of each column are missing, are unseen levels, or lie out of the range of the fit."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from multilayer.table.column import Column
from multilayer.table.kinds import kind_of
from multilayer.table.levels import as_levels, level_finder
from multilayer.table.schema import Schema
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.read import Table, read_source

MISSING, UNSEEN, OUT_OF_RANGE = range(3)
WHAT = ("missing", "unseen_level", "out_of_range")
_MOST_REMEMBERED = 10_000  # cells of a column
_LONGEST_REMEMBERED = 200  # letters


class ColumnCounts:
    """Counts cells of requests, column by column; the count of column i and thing k has the place 3 i + k.

    A level is unseen if the model does not tell it apart: it was not there at fit, or too rare. A number is
    out of range if it lies beyond the smallest or largest of the training rows.

    Args:
        schema: of the model.
    """

    def __init__(self, schema: Schema) -> None:
        self.columns = schema.columns
        self._numbers = []
        self._others: list[tuple[str, int, Column, dict[Any, tuple[int, ...]]]] = []
        self._finders = {c.name: level_finder(c.levels) for c in schema.columns if kind_of(c).has_levels}
        for i, column in enumerate(schema.columns):
            if column.kind == "number":
                low = -np.inf if column.low is None else column.low
                high = np.inf if column.high is None else column.high
                self._numbers.append((column.name, len(WHAT) * i, low, high))
            else:
                self._others.append((column.name, len(WHAT) * i, column, {}))

    @property
    def counted(self) -> dict[str, tuple[str, ...]]:
        """What is counted of each column: unseen levels where it has levels, a range where it has one."""
        found = {}
        for column in self.columns:
            has = (True, kind_of(column).has_levels, column.low is not None and kind_of(column).has_numbers)
            found[column.name] = tuple(what for what, is_counted in zip(WHAT, has, strict=True) if is_counted)
        return found

    def of_row(self, row: Mapping[str, Any]) -> dict[int, int]:
        """Place -> count, of one row of plain values that the model took."""
        found = {}
        for name, place, low, high in self._numbers:
            value = row[name]
            if value is None or value != value:
                found[place + MISSING] = 1
            elif not low <= value <= high:
                found[place + OUT_OF_RANGE] = 1
        for name, place, column, known in self._others:
            value = row[name]
            key = (type(value), value)
            kinds = known.get(key)
            if kinds is None:
                kinds = tuple(self._of_cells(column, read_source({name: [value]}, Notation())))
                is_short = not isinstance(value, str) or len(value) <= _LONGEST_REMEMBERED
                if is_short and len(known) < _MOST_REMEMBERED:
                    known[key] = kinds
            for kind in kinds:
                found[place + kind] = 1
        return found

    def of_table(self, table: Table) -> dict[int, int]:
        """Place -> count, of a table that the model took."""
        found = {}
        for i, column in enumerate(self.columns):
            for kind, n in self._of_cells(column, table).items():
                found[len(WHAT) * i + kind] = n
        return found

    def _of_cells(self, column: Column, table: Table) -> dict[int, int]:
        """Kind of count -> cells, where there are any."""
        values, kind = table[column.name], kind_of(column)
        counts = {}
        if kind.numbers is not None:
            numbers = kind.numbers(column, values)
            counts[MISSING] = int(np.isnan(numbers).sum())
            if column.low is not None and column.high is not None:
                counts[OUT_OF_RANGE] = int(((numbers < column.low) | (numbers > column.high)).sum())
        else:
            texts = as_levels(values).tolist()
            counts[MISSING] = texts.count(None)
            if kind.has_levels:
                finder, known = self._finders[column.name], {}
                for text in set(texts) - {None}:
                    known[text] = finder(text) is not None
                counts[UNSEEN] = sum(not known[text] for text in texts if text is not None)
        return {kind: n for kind, n in counts.items() if n}
