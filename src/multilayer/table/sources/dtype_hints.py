"""What the type of a column says and a NumPy array cannot hold: time zones, orders, what seconds mean."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Note:
    """What the source of a column declared about it.

    kind:   "category" and "ordered" of a categorical or an enum, "time" and "duration" of what a `Table`
            holds as seconds, "date" of a date and time with a zone
    zone:   of a date: an IANA name such as "Europe/Oslo", or an offset such as "+02:00"
    levels: of "ordered": all of them as they came, lowest first
    """

    kind: Literal["category", "ordered", "time", "duration", "date"]
    zone: str | None = None
    levels: tuple[Any, ...] = ()


MOST_SHOWN = 3  # odd cells of a column that are named


@dataclass(frozen=True)
class Odd:
    """Cells of a column that are not what the others are, and count as missing.

    n:     how many
    first: of some of them the row, from 1, and the text
    """

    n: int
    first: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, cells: Sequence[Any], texts: Collection[str]) -> "Odd | None":
        """The cells of a column that hold one of these texts, if there are any.

        >>> Odd.of(["a", "?", None], {"?"})
        Odd(n=1, first=((2, '?'),))
        """
        if not texts:
            return None
        rows = [row for row, cell in enumerate(cells, start=1) if isinstance(cell, str) and cell in texts]
        shown = tuple((row, str(cells[row - 1])) for row in rows[:MOST_SHOWN])
        return cls(len(rows), shown) if rows else None

    def __add__(self, other: "Odd | None") -> "Odd":
        if other is None:
            return self
        return Odd(self.n + other.n, tuple(sorted(self.first + other.first)[:MOST_SHOWN]))

    def moved(self, n_before: int) -> "Odd":
        """The same cells, after so many other rows."""
        return Odd(self.n, tuple((n_before + row, text) for row, text in self.first))

    @property
    def in_words(self) -> str:
        """How many, and what stands where."""
        cells = [f"row {row} holds {text!r}" for row, text in self.first]
        more = f", and {self.n - len(cells):,} more" if self.n > len(cells) else ""
        cell = "1 odd cell is" if self.n == 1 else f"{self.n:,} odd cells are"
        return f"{cell} missing: {', '.join(cells)}{more}"


def note_of_dtype(dtype: Any) -> Note | None:
    """The note of a narwhals dtype whose values do not tell it: a categorical, or dates with a zone.

    A pandas Categorical is an enum if it is ordered.
    """
    import narwhals as nw

    if isinstance(dtype, nw.Enum):
        return Note("ordered", levels=tuple(dtype.categories))
    if isinstance(dtype, nw.Categorical):
        return Note("category")
    if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
        return Note("date", zone=str(dtype.time_zone))
    return None


def note_of_sql(sql_type: str) -> Note | None:
    """The note of a DuckDB type. An ENUM has an order only because it must be written down in one.

    >>> note_of_sql("TIME").kind, note_of_sql("ENUM('b', 'a')").kind, note_of_sql("TIMESTAMP")
    ('time', 'category', None)
    """
    if sql_type == "INTERVAL":
        return Note("duration")
    if sql_type.startswith("ENUM"):
        return Note("category")
    is_time = sql_type.startswith("TIME") and not sql_type.startswith("TIMESTAMP")
    return Note("time") if is_time else None


def note_of_objects(types: Collection[type], values: Iterable[Any]) -> Note | None:
    """The note of Python objects: all times of day, all durations, or all dates with one zone.

    types:  of the values that are not missing
    values: None where missing

    >>> note_of_objects({timedelta}, [timedelta(hours=1), None]).kind, note_of_objects({int}, [1, 2])
    ('duration', None)
    """
    if all(issubclass(kind, time) for kind in types):
        return Note("time")
    if all(issubclass(kind, timedelta | np.timedelta64) for kind in types):
        return Note("duration")
    if all(issubclass(kind, datetime) for kind in types):
        zones = {value.tzinfo for value in values if value is not None}
        names = set(map(_zone_name, zones))
        name = names.pop() if len(names) == 1 else None
        return None if name is None else Note("date", zone=name)
    return None


def _zone_name(zone: tzinfo | None) -> str | None:
    """The name by which a zone can be found again; None for one that has none."""
    if zone is UTC:
        return "UTC"
    if isinstance(zone, timezone):
        text = datetime(2000, 1, 1, tzinfo=zone).isoformat().removeprefix("2000-01-01T00:00:00")
        return text if len(text) == len("+02:00") else None
    return getattr(zone, "key", None) or getattr(zone, "zone", None)  # of zoneinfo, and of pytz
