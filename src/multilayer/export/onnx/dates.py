"""Dates in a graph: int64 microseconds since 1970; calendar by whole-number arithmetic, zones as tables."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from multilayer.export.onnx.graph import Graph
from multilayer.export.onnx.search import count_below, pick
from multilayer.table.dates import in_zone, time_zone

MISSING_DATE = -(2**63)  # NaT
MICROSECONDS_A_DAY = 86_400_000_000
DAYS_A_CYCLE = 146_097  # of 400 years, in which the calendar repeats itself, and the rules of zones with it
CYCLES_BEFORE = 731  # that make the first day of datetime64[us] positive
QUARTER = 900_000_000  # microseconds: zones change their clocks at whole quarters of an hour
QUARTERS_A_CYCLE = DAYS_A_CYCLE * 96
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = -62_135_510_400, 253_402_214_400  # seconds that Python knows the offsets of

Ints = NDArray[np.int64]


# Zones


@lru_cache(maxsize=64)
def transitions(zone: str) -> tuple[Ints, Ints]:
    """Quarter-hours since 1970 from which on a zone has another offset, and its offsets in microseconds.

    There is one offset more than transitions. They end in 2500: the 400 years before then repeat for ever.

    >>> quarters, offsets = transitions("+02:00")
    >>> len(quarters), offsets.tolist()
    (0, [7200000000])
    """
    of = time_zone(zone)
    starts = [_day(1600), _day(1900), _day(2100), _day(2500)]
    samples = np.concatenate([
        np.arange(starts[0], starts[1], 48),  # steps in quarter-hours: no law was so short
        np.arange(starts[1], starts[2], 24),
        np.arange(starts[2], starts[3] + 96, 48),
    ])  # fmt: skip
    moments = (EPOCH + quarter * timedelta(minutes=15) for quarter in samples.tolist())
    found = np.array([moment.astimezone(of).utcoffset() or timedelta() for moment in moments], "m8[us]")
    changes = np.flatnonzero(found[1:] != found[:-1])
    quarters = [_first(of, int(samples[i]), int(samples[i + 1])) for i in changes]
    table = np.array(quarters, np.int64), found[np.append(0, changes + 1)].astype(np.int64)
    for array in table:
        array.flags.writeable = False  # all that ask for the zone share them
    return table


def _day(year: int) -> int:
    """New Year's Day in quarter-hours since 1970."""
    return int(np.datetime64(f"{year}-01-01").astype(np.int64)) * 96


def _offset(zone: tzinfo, quarter: int) -> int:
    offset = (EPOCH + quarter * timedelta(minutes=15)).astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds()) * 1_000_000


def _first(zone: tzinfo, low: int, high: int) -> int:
    """The first quarter-hour with the offset of `high`, between the two."""
    after = _offset(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == after:
            high = middle
        else:
            low = middle
    return high


def to_zones(graph: Graph, x: str, zones: Sequence[str]) -> str:
    """Of each column of moments what clocks of its zone show; (rows, columns), int64 microseconds."""
    tables = [transitions(zone) for zone in zones]
    for zone, table in zip(zones, tables, strict=True):
        _check(zone, table)
    quarter = graph.floor_divide(x, QUARTER)
    low, high = (graph.constant(second // 900, np.int64) for second in (FIRST, LAST))
    quarter = graph.add("Min", graph.add("Max", quarter, low), high)
    start = graph.constant(_day(2100), np.int64)
    later = graph.add("Sub", quarter, start)
    within = graph.add("Add", graph.add("Mod", later, graph.constant(QUARTERS_A_CYCLE, np.int64)), start)
    quarter = graph.add("Where", graph.add("Less", later, graph.constant(0, np.int64)), quarter, within)
    place, _ = count_below(graph, quarter, [quarters for quarters, _ in tables], "right")
    return graph.add("Add", x, pick(graph, place, [offsets for _, offsets in tables]))


def _check(zone: str, table: tuple[Ints, Ints]) -> None:
    """That the table says what the library does, around each transition and at dates of all years."""
    quarters, offsets = table
    tried = np.concatenate([quarters - 1, quarters, np.linspace(FIRST, LAST, 5_000) // 900]).astype(np.int64)
    moments = (tried * QUARTER).astype("datetime64[us]")
    ours = offsets[np.searchsorted(quarters, _repeated(tried), side="right")]
    assert np.array_equal((in_zone(moments, zone) - moments).astype(np.int64), ours), zone


def _repeated(quarters: Ints) -> Ints:
    start = _day(2100)
    return np.where(quarters < start, quarters, (quarters - start) % QUARTERS_A_CYCLE + start)


# The calendar


class Calendar:
    """Parts of dates (rows, columns); what several of them need is computed once.

    Source:  Hinnant 2013, "chrono-compatible low-level date algorithms" (civil_from_days)
    Differs: days are moved by whole cycles of 400 years first, so that all divisions are of positive numbers
    """

    def __init__(self, graph: Graph, dates: str) -> None:
        self._graph, self._dates = graph, dates
        self._done: dict[str, str] = {}

    def part(self, name: str) -> str:
        """A part as `DATE_PARTS` has it, in float64."""
        return self._once(name, lambda: self._graph.cast(_PARTS[name](self), np.float64))

    def _once(self, name: str, make: Callable[[], str]) -> str:
        if name not in self._done:
            self._done[name] = make()
        return self._done[name]

    def _int(self, op: str, x: str, value: int) -> str:
        return self._graph.add(op, x, self._graph.constant(value, np.int64))

    def _add(self, x: str, y: str) -> str:
        return self._graph.add("Add", x, y)

    def _sub(self, x: str, y: str) -> str:
        return self._graph.add("Sub", x, y)

    @property
    def _day(self) -> str:
        return self._once("day", lambda: self._graph.floor_divide(self._dates, MICROSECONDS_A_DAY))

    @property
    def _day_of_cycle(self) -> str:
        """Days since the last 1 March of a year that 400 divides."""
        moved = 719_468 + CYCLES_BEFORE * DAYS_A_CYCLE
        return self._once("cycle", lambda: self._int("Mod", self._int("Add", self._day, moved), DAYS_A_CYCLE))

    @property
    def _year_of_cycle(self) -> str:
        """Years since then, which begin in March."""

        def make() -> str:
            day = self._day_of_cycle
            leap_days = self._sub(self._int("Div", day, 1_460), self._int("Div", day, 36_524))
            leap_days = self._add(leap_days, self._int("Div", day, 146_096))
            return self._int("Div", self._sub(day, leap_days), 365)

        return self._once("year", make)

    @property
    def _day_of_year(self) -> str:
        """Days since 1 March."""

        def make() -> str:
            year = self._year_of_cycle
            before = self._add(self._int("Mul", year, 365), self._int("Div", year, 4))
            return self._sub(self._day_of_cycle, self._sub(before, self._int("Div", year, 100)))

        return self._once("march", make)

    @property
    def _month_of_year(self) -> str:
        """Months since March."""
        day = self._day_of_year
        return self._once(
            "months", lambda: self._int("Div", self._int("Add", self._int("Mul", day, 5), 2), 153)
        )

    def _month(self) -> str:
        return self._int("Mod", self._int("Add", self._month_of_year, 2), 12)

    def _monthday(self) -> str:
        days = self._int("Div", self._int("Add", self._int("Mul", self._month_of_year, 153), 2), 5)
        return self._sub(self._day_of_year, days)

    def _yearday(self) -> str:
        graph, year = self._graph, self._year_of_cycle
        zero = graph.constant(0, np.int64)
        is_fourth = graph.add("Equal", self._int("Mod", year, 4), zero)
        is_hundredth = graph.add("Equal", self._int("Mod", year, 100), zero)
        is_leap = graph.add("And", is_fourth, graph.add("Not", is_hundredth))
        is_leap = graph.add("Or", is_leap, graph.add("Equal", year, zero))
        since_march = self._int("Add", self._day_of_year, 59)
        since_march = self._add(since_march, graph.cast(is_leap, np.int64))
        before_march = self._int("Sub", self._day_of_year, 306)
        is_before = graph.add("Less", before_march, zero)
        return graph.add("Where", is_before, since_march, before_march)

    def _weekday(self) -> str:
        return self._int("Mod", self._int("Add", self._day, 3), 7)

    def _hour(self) -> str:
        graph = self._graph
        time = self._sub(self._dates, self._int("Mul", self._day, MICROSECONDS_A_DAY))
        return graph.add("Div", graph.cast(time, np.float64), graph.constant(3_600_000_000.0))


_PARTS: dict[str, Callable[[Calendar], str]] = {
    "month": Calendar._month,
    "monthday": Calendar._monthday,
    "yearday": Calendar._yearday,
    "weekday": Calendar._weekday,
    "hour": Calendar._hour,
}
