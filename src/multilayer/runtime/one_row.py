"""A row of plain values, encoded without making a table of it: what it does not surely know, it leaves.

Numbers of all columns go through the steps of their coders together. What a cell of another kind becomes is
remembered, as it was encoded by itself once.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from multilayer.table.encode import Encoder
from multilayer.table.kinds import is_as_written
from multilayer.table.kinds.kind import Coder
from multilayer.table.kinds.number import CLIP, NUMBER, Number
from multilayer.table.sources.values import LARGEST_EXACT
from multilayer.table.steps import LARGEST, LARGEST_SCALED, SMALLEST
from multilayer.table.target_encoding import Statistic

MOST_REMEMBERED = 10_000  # cells of a column
LONGEST_REMEMBERED = 200  # letters: what anybody sends must not fill the memory
PLAIN = frozenset((str, int, float, bool, type(None)))

Floats = NDArray[np.float64]
OneCell = Callable[[int, Any], Floats | None]


class RowEncoder:
    """Encodes rows that hold one plain value for each column, as `Encoder` does, to the last bit.

    Args:
        encoder: of tables.
        passed_over: names of columns that may be there beside the schema's, and are not looked at.
        not_as_they_are: names of columns of numbers in which some numbers stand for something else.
        one_cell: what a cell of the column at a place becomes, numbers and codes, by itself; None where that
            gives cause for a warning or an error.
    """

    def __init__(
        self,
        encoder: Encoder,
        passed_over: Sequence[str],
        not_as_they_are: Sequence[str],
        one_cell: OneCell,
    ) -> None:
        self._names = encoder.schema.names
        self._known = frozenset((*self._names, *passed_over))
        self._beside = frozenset(passed_over)
        self._one_cell = one_cell
        statistics = encoder.target_encoding.statistics if encoder.target_encoding else ()
        n_coded = sum(len(coder.features) for coder in encoder.coders)
        n_numbers = n_coded + len(statistics)
        self._width = n_numbers + len(encoder.cat_names)
        self._statistics = [(n_coded + i, _look_up(each, n_numbers)) for i, each in enumerate(statistics)]
        numbers: list[tuple[Number, int]] = []
        self._others: list[_Remembered] = []
        place, code_place = 0, n_numbers
        for i, coder in enumerate(encoder.coders):
            stop, code_stop = place + len(coder.features), code_place + (coder.code is not None)
            if _is_plain_number(coder) and coder.column.name not in not_as_they_are:
                numbers.append((coder, place))
            else:
                places = [*range(place, stop), *range(code_place, code_stop)]
                self._others.append(_Remembered(coder.column.name, places, partial(one_cell, i)))
            place, code_place = stop, code_stop
        self._numbers = _Numbers(numbers)

    def encode(self, row: Mapping[Any, Any]) -> NDArray[np.float32] | None:
        """The row as networks take it, (1, numbers and then codes); None for what is not surely known."""
        if not self._known.issuperset(row):
            return None
        if len(row) > len(self._names) and not self._are_plain_beside(row):
            return None
        x = np.empty(self._width, np.float32)
        try:
            if not self._numbers.encode(row, x):
                return None
            for other in self._others:
                found = other.look_up(row[other.name])
                if found is None:
                    return None
                x[other.places] = found
        except KeyError:
            return None  # a column is absent
        for place, look_up in self._statistics:
            x[place] = look_up(x)
        return x[None]

    def _are_plain_beside(self, row: Mapping[Any, Any]) -> bool:
        return all(type(row[name]) in PLAIN for name in self._beside if name in row)


class _Remembered:
    """Cells of one column, and what each became."""

    def __init__(self, name: str, places: Sequence[int], encode: Callable[[Any], Floats | None]) -> None:
        self.name, self.places, self._encode = name, np.array(places, np.int64), encode
        self._found: dict[tuple[type, Any], Floats] = {}

    def look_up(self, value: Any) -> Floats | None:
        """Numbers and codes of a cell; None where they are not surely known."""
        kind = type(value)
        if kind not in PLAIN:
            return None
        if kind is float:
            if value != value:
                kind, value = type(None), None  # NaN is missing
            elif value == 0:
                value = repr(value)  # 0.0 and -0.0 are equal, and not the same text
        found = self._found.get((kind, value))
        if found is None:
            found = self._encode(float(value) if kind is float else value)
            is_short = kind is not str or len(value) <= LONGEST_REMEMBERED
            if found is not None and is_short and len(self._found) < MOST_REMEMBERED:
                self._found[kind, value] = found
        return found


class _Numbers:
    """The columns of numbers, together: their sizes, their places among the training values, absence."""

    def __init__(self, coders: Sequence[tuple[Number, int]]) -> None:
        self._names = [coder.column.name for coder, _ in coders]
        self._center = np.array([coder.center for coder, _ in coders])
        self._constant = np.array([coder.width == 0 for coder, _ in coders], bool)
        self._width = np.array([coder.width or 1.0 for coder, _ in coders])
        self._scaled = np.array([start for _, start in coders], np.int64)
        with_rank = [i for i, (coder, _) in enumerate(coders) if len(coder.knots)]
        self._with_rank = np.array(with_rank, np.int64)
        self._ranks = np.array([coders[i][1] + 1 for i in with_rank], np.int64)
        self._lines = _Lines([coders[i][0] for i in with_rank])
        tells = [i for i, (coder, _) in enumerate(coders) if coder.has_missing]
        self._tells = np.array(tells, np.int64)
        self._absences = np.array([coders[i][1] + 1 + (i in set(with_rank)) for i in tells], np.int64)

    def encode(self, row: Mapping[Any, Any], x: NDArray[np.float32]) -> bool:
        """Write what the row's numbers become into x; whether they are plain numbers."""
        if not self._names:
            return True
        numbers = []
        for name in self._names:
            value = row[name]
            if value is None:
                value = math.nan
            elif type(value) is not float and (type(value) is not int or abs(value) > LARGEST_EXACT):
                return False
            numbers.append(value)
        found = np.array(numbers, np.float64)
        size = np.abs(found)
        if (size == math.inf).any():
            return False
        missing = found != found
        tame = np.where(size < SMALLEST, 0.0, np.minimum(np.maximum(found, -LARGEST), LARGEST))
        filled = np.where(missing, self._center, tame)
        z = (filled - self._center) / self._width
        z = np.minimum(np.maximum(z, -LARGEST_SCALED), LARGEST_SCALED)
        z = z / np.sqrt(1 + (z / CLIP) ** 2)
        z[self._constant] = 0.0
        x[self._scaled] = z
        if len(self._with_rank):
            places = self._lines.at(filled[self._with_rank])
            places[missing[self._with_rank]] = 0.0
            x[self._ranks] = places
        if len(self._tells):
            x[self._absences] = missing[self._tells]
        return True


class _Lines:
    """`np.interp` of one number for each column."""

    def __init__(self, coders: Sequence[Number]) -> None:
        self._coders = coders
        self._knots = [coder.knots.tolist() for coder in coders]
        sizes = [len(knots) + 1 for knots in self._knots]
        self._starts = np.cumsum([0, *sizes])[:-1]
        no = np.zeros(0)
        self._from = np.concatenate([no, *(np.append(coder.knots[:1], coder.knots) for coder in coders)])
        self._to = np.concatenate([no, *(np.append(coder.places[:1], coder.places) for coder in coders)])
        slopes = (np.diff(coder.places) / np.diff(coder.knots) for coder in coders)
        self._slopes = np.concatenate([no, *(np.concatenate([[0.0], each, [0.0]]) for each in slopes)])

    def at(self, x: Floats) -> Floats:
        """The place of each number on its column's line."""
        if not adds_up_as_interp():
            lines = zip(x, self._coders, strict=True)
            return np.array([np.interp(each, coder.knots, coder.places) for each, coder in lines])
        at = self._starts + [bisect_right(*each) for each in zip(self._knots, x.tolist(), strict=True)]
        return self._slopes[at] * (x - self._from[at]) + self._to[at]


@cache
def adds_up_as_interp() -> bool:
    """Whether `np.interp` rounds both product and sum; on some processors it rounds once."""
    knots, places = np.sqrt(np.arange(1.0, 200.0)), np.log(np.arange(1.0, 200.0))
    x = np.sqrt(np.linspace(1.0, 198.9, 500))
    at = np.searchsorted(knots, x, side="right") - 1
    slopes = np.diff(places) / np.diff(knots)
    return bool((slopes[at] * (x - knots[at]) + places[at] == np.interp(x, knots, places)).all())


def _is_plain_number(coder: Coder) -> TypeGuard[Number]:
    column = coder.column
    return type(coder) is Number and column.kind == NUMBER.name and not is_as_written(column)


def _look_up(statistic: Statistic, n_numbers: int) -> Callable[[NDArray[np.float32]], float]:
    """What finds the statistic of an encoded row."""
    values, last, place = statistic.values.tolist(), len(statistic.values) - 1, statistic.place
    if statistic.edges is None:
        return lambda x: values[min(int(x[n_numbers + place]), last)]
    edges = statistic.edges.tolist()
    return lambda x: values[min(bisect_left(edges, float(x[place])), last)]
