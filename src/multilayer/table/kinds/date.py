"""Dates, with or without a time of day: as moments in UTC, and by what clock and calendar of a zone show."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.file_values import fits, need
from multilayer.table.cells import Cells, distinct_texts
from multilayer.table.column import AS_WRITTEN, DAY_S, Column
from multilayer.table.dates import (
    COMPACT,
    DATE_FORMATS,
    DATE_PARTS,
    ISO,
    Dates,
    date_format,
    date_parser,
    days,
    has_offset,
    in_zone,
    other_format,
)
from multilayer.table.kinds.kind import (
    Arrays,
    Candidate,
    Coder,
    Floats,
    Kind,
    Learning,
    Parse,
    Stored,
    Weight,
    as_everywhere,
    converted,
    joined,
    measured,
    mismatch,
    no_codes,
    note_of_kind,
    range_text,
    reads,
    waves,
)
from multilayer.table.kinds.number import Number, check_number, n_numbers
from multilayer.table.kinds.unscaled import Plain, check_plain, one_number
from multilayer.table.levels import as_levels
from multilayer.table.sources.dtype_hints import Note
from multilayer.table.steps import Chain, Days, Feature, FillDate, InZone, Multiply, Outputs, Part, Subtract

WANTED = "a date"

_DATE_SHAPE = re.compile(r"\d{1,4}[-/. ]\w{1,9}[-/. ]\d{1,4}|[^\W\d]{3,9}\.?[- ]\d{1,4}|\d{4}-\d\d|\d{8}T")
_MANY = 200  # cells that are looked at for offsets from UTC
_SOME = 20


def as_dates(column: Column, values: NDArray[Any]) -> Dates:
    """The column in UTC as datetime64[us] (n_rows,), NaT where missing.

    Text is read in the column's date_format or, so that a file written elsewhere also works, as ISO 8601;
    numbers are read as YYYYMMDD.
    """
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]")
    return _parsed_dates(column, values, local=False)


def as_local_dates(column: Column, values: NDArray[Any]) -> Dates:
    """As `as_dates`, but what clock and calendar of the column's zone show.

    Of a zone "as written", dates with no offset of their own count as UTC.
    """
    if column.zone is None or (column.zone == AS_WRITTEN and values.dtype != object):
        return as_dates(column, values)
    if column.zone == AS_WRITTEN:
        return _parsed_dates(column, values, local=True)
    return in_zone(as_dates(column, values), column.zone)


def _parsed_dates(column: Column, values: NDArray[Any], *, local: bool) -> Dates:
    if values.dtype == bool:
        raise mismatch(WANTED, column, values, 0)
    if values.dtype != object:
        values, formats = as_levels(values), [COMPACT]
    elif column.date_format:
        formats = [column.date_format, ISO]
    else:
        formats = [date_format(distinct_texts(values)) or ISO]
    parse = date_parser(*formats, local=local)
    return converted(WANTED, column, values, parse, np.array(["NaT"], dtype="datetime64[us]"))


def as_days(column: Column, values: NDArray[Any]) -> Floats:
    """The column in days since 1970-01-01, float64 (n_rows,), NaN where missing."""
    return days(as_dates(column, values))


def _cells(column: Column, values: NDArray[Any]) -> Cells:
    is_written = column.zone == AS_WRITTEN and values.dtype == object
    return Cells.of(
        as_dates(column, values), (lambda: as_local_dates(column, values)) if is_written else None
    )


def _parser(column: Column, texts: Sequence[str]) -> Parse:
    return date_parser(column.date_format or date_format(texts) or ISO, ISO)


def _of_texts(name: str, texts: Sequence[str]) -> Column | None:
    found = date_format(texts)
    if found is None:
        return None
    return _in_format(Column(name, "date", zone=_zone_of_texts(texts, found)), texts, found)


def _in_format(column: Column, texts: Sequence[str], found: str) -> Column:
    """Dates in a format; where another one fits as well, the reason says so."""
    said = column.reason
    if (other := other_format(texts, found)) is not None:
        doubt = (
            f"dates are read as {found}, though {other} fits as well: if that is meant, use schema.replace("
            f"{column.name!r}, date_format={other!r})"
        )
        said = "; ".join(filter(None, (said, doubt)))
    return replace(column, date_format=found, reason=said)


def _candidates(name: str, sample: Sequence[str], texts: Sequence[str]) -> Sequence[Candidate]:
    return [
        Candidate(
            Column(name, "date", date_format=each, zone=_zone_of_texts(sample, each)),
            reads(date_parser(each, ISO)),
        )
        for each in _date_formats(sample)
    ]


def _date_formats(sample: Sequence[str]) -> list[str]:
    """Formats of dates that most of a sample are in."""
    if 2 * sum(_DATE_SHAPE.match(text) is not None for text in sample) <= len(sample):
        return []
    step = max(1, len(sample) // _SOME)
    formats = [each for each in DATE_FORMATS if _share(each, sample[::step]) > 0.5]
    return [each for each in formats if _share(each, sample) > 0.5]


def _share(date_format: str, texts: Sequence[str]) -> float:
    return sum(map(reads(date_parser(date_format)), texts)) / len(texts)


def _zone_of_texts(texts: Sequence[str], found: str) -> str | None:
    """`AS_WRITTEN` for dates in a format that name their distance from UTC."""
    return AS_WRITTEN if any(has_offset(text, found, ISO) for text in texts[:_MANY]) else None


def _written(column: Column, texts: Sequence[str], most: Callable[[], Column]) -> Column:
    if column.date_format is not None:
        return column
    found = date_format(texts) or most().date_format
    zone = column.zone or (_zone_of_texts(texts, found) if found else None)
    column = replace(column, zone=zone)
    return column if found is None else _in_format(column, texts, found)


def _completed(column: Column, values: NDArray[Any], note: Note | None) -> Column:
    return replace(column, zone=note.zone) if column.zone is None and note is not None else column


def _fits_note(note: Note, values: NDArray[Any]) -> bool:
    return values.dtype.kind == "M"


def _day_text(days: float) -> str:
    moment = np.datetime64(round(days * DAY_S * 1_000_000), "us")
    return str(moment.astype("datetime64[D]" if days == int(days) else "datetime64[m]")).replace("T", " ")


def _show(column: Column) -> str:
    zone = f"zone {column.zone}" if column.zone is not None else ""
    return joined(range_text(column, _day_text), zone)


@dataclass(frozen=True)
class Date(Coder):
    """A date as a number of days since the newest one, and the sine and cosine of its cyclic parts.

    The number is of UTC, so that equal distances in time are equal; the parts are of the column's zone, whose
    clock and calendar people live by. A date beyond the training rows' has their highest rank and a scaled
    number below 3.
    """

    column: Column
    number: Number
    parts: tuple[str, ...]  # those that varied among the training rows
    newest: float  # training date, in days since 1970-01-01
    local: bool  # whether the parts are of the column's zone, or of UTC

    @classmethod
    def fit(cls, column: Column, values: NDArray[Any], weight: Weight = None) -> "Date":
        """Learn from the values of training rows."""
        numbers = days(as_dates(column, values))
        present = ~np.isnan(numbers)
        newest = float(numbers[present].max(initial=-np.inf)) if present.any() else 0.0
        local = as_local_dates(column, values)[present]
        parts = tuple(name for name, (part, _) in DATE_PARTS.items() if len(np.unique(part(local))) > 1)
        return cls(column, Number.fit(column, numbers - newest, weight), parts, newest, True)

    @cached_property
    def outputs(self) -> Outputs:
        """Those of the number of days, then sine and cosine of each part."""
        name, zone = self.column.name, self.column.zone
        dates: Chain = (InZone(zone), FillDate()) if self.local and zone is not None else (FillDate(),)
        cyclic: list[tuple[Feature, Chain]] = []
        for part in self.parts:
            angle: Chain = (*dates, Part(part), Multiply(2 * np.pi / DATE_PARTS[part][1]))
            cyclic += [
                (Feature(f"{name} ({part} {wave})", name, "date"), chain) for wave, chain in waves(angle)
            ]
        return self.number.outputs_after(Days(), Subtract(self.newest)) + tuple(cyclic)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return self.number.to_json() | {
            "coder": "date",
            "parts": list(self.parts),
            "newest": self.newest,
            "local": self.local,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Those of the number."""
        return self.number.arrays()

    @classmethod
    def from_json(cls, column: Column, plan: Mapping[str, Any], arrays: Arrays) -> "Date":
        """The inverse of `to_json` and `arrays`."""
        number = Number.from_json(column, plan, arrays)
        # models of 0.1.0 counted days since 1970, and took the parts in UTC
        return cls(column, number, tuple(plan["parts"]), plan.get("newest", 0.0), plan.get("local", False))


def _fit(column: Column, values: NDArray[Any], learning: Learning) -> Date:
    return Date.fit(column, values, learning.weight)


def _plain(column: Column, plan: Mapping[str, Any], arrays: Arrays) -> Plain:
    return Plain(column, plan["fill"], (Days(),))


def _check(plan: Mapping[str, Any]) -> None:
    check_number(plan)
    parts: Any = plan.get("parts")
    need(fits(parts, list[str]) and {*parts} <= DATE_PARTS.keys(), "'parts' must be of a date")
    need(len(set(parts)) == len(parts), "a part of a date stands there twice")
    need(fits(plan.get("newest", 0.0), float), "'newest' must be a number")
    need(type(plan.get("local", False)) is bool, "'local' must be true or false")


def _n_numbers(plan: Mapping[str, Any], n_levels: int) -> int:
    return n_numbers(plan, n_levels) + 2 * len(plan["parts"])


DATE = Kind(
    name="date",
    plural="dates",
    wanted=WANTED,
    settings=frozenset({"date_format", "zone"}),
    dtypes="M",
    is_numeric=False,
    is_closed=False,
    has_levels=False,
    has_order=False,
    may_number_rows=False,
    may_name_rows=False,
    read=as_dates,
    cells=_cells,
    numbers=as_days,
    parser=_parser,
    of_texts=_of_texts,
    candidates=_candidates,
    are_codes=no_codes,
    in_own_writing=as_everywhere,
    written=_written,
    completed=_completed,
    fits_note=_fits_note,
    of_note=note_of_kind,
    measure=measured(as_days),
    show=_show,
    fit=_fit,
    coders={
        "date": Stored(Date.from_json, _n_numbers, _check),
        "plain": Stored(_plain, one_number, check_plain),
    },
)
