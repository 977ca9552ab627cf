"""Columns as a table has them become arrays of one kind: numbers, dates, levels; or an error with the row."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import SchemaError
from multilayer.table.column import AS_WRITTEN, DAY_S, Column
from multilayer.table.dates import (
    COMPACT,
    ISO,
    Dates,
    date_format,
    date_parser,
    in_zone,
    parse_duration,
    parse_time,
)
from multilayer.table.writing import Writing

Parse = Callable[[str], float | datetime | None]

BOOLEAN_PAIRS = (("false", "true"), ("f", "t"), ("no", "yes"), ("n", "y"))
_POINTED = re.compile(r"-?(0|[1-9]\d*)\.\d+", re.ASCII)
_ZERO_AND_ONE = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
_TRUTH = _ZERO_AND_ONE | {text: float(i) for pair in BOOLEAN_PAIRS for i, text in enumerate(pair)}
_WANTED = {
    "number": "a number",
    "boolean": "true or false",
    "date": "a date",
    "time": "a time of day such as 08:15",
    "duration": "a duration, in seconds or such as 1 days 02:00:00",
}
MOST_DIGITS = 4_000  # that Python makes a number of


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """True where a column of a Table has no value."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "M":
        return np.isnat(values)
    if values.dtype == object:
        return np.array([value is None for value in values.tolist()], dtype=bool)
    return np.zeros(len(values), dtype=bool)


def distinct_texts(values: NDArray[np.object_]) -> list[str]:
    """Each text once, in the order of the rows."""
    return [text for text in dict.fromkeys(values.tolist()) if text is not None]


def as_numbers(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The column as float64 (n_rows,), NaN where missing; SchemaError for what is no finite number.

    With `column.infinite` "clip", infinities become its `low` and `high`, or stay while these are not known.
    """
    if values.dtype == object:
        numbers = _convert_texts(column, values, _number_parser(column), np.array([np.nan]))
    elif values.dtype.kind == "M":
        raise mismatch(column, values, 0)
    else:
        numbers = values.astype(np.float64)
    return _without_infinities(column, values, numbers)


def as_durations(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The column as seconds, float64 (n_rows,), NaN where missing; numbers are seconds."""
    if values.dtype != object:
        return as_numbers(column, values)
    numbers = _convert_texts(column, values, _parse_duration_or_number, np.array([np.nan]))
    return _without_infinities(column, values, numbers)


def _without_infinities(
    column: Column, values: NDArray[Any], numbers: NDArray[np.float64]
) -> NDArray[np.float64]:
    infinite = np.isinf(numbers)
    if not infinite.any():
        return numbers
    if column.infinite == "error":
        row = int(infinite.argmax())
        raise SchemaError(
            f"A number must be finite; column {column.name!r} holds {values[row]} in row "
            f"{row + 1}. Replace infinities by missing values or by a limit, or fit with infinite='clip'."
        )
    if column.low is None or column.high is None:
        return numbers
    return np.where(infinite, np.where(numbers > 0, column.high, column.low), numbers)


def as_times(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The column as seconds since midnight, float64 (n_rows,), NaN where missing; numbers are taken so."""
    if values.dtype == object:
        return _convert_texts(column, values, parse_time, np.array([np.nan]))
    if values.dtype.kind in "Mb":
        raise mismatch(column, values, 0)
    seconds = values.astype(np.float64)
    strange = ~(np.isnan(seconds) | ((seconds >= 0) & (seconds < DAY_S)))
    if strange.any():
        raise mismatch(column, values, int(strange.argmax()))
    return seconds


def as_booleans(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The column as 0 and 1 in float64 (n_rows,), NaN where missing.

    Reads bool, 0 and 1, and true/false, t/f, yes/no, y/n in any case.
    """
    if values.dtype == object:
        return _convert_texts(column, values, _parse_boolean, np.array([np.nan]))
    if values.dtype.kind == "M":
        raise mismatch(column, values, 0)
    truths = values.astype(np.float64)
    strange = ~(np.isnan(truths) | (truths == 0) | (truths == 1))
    if strange.any():
        raise mismatch(column, values, int(strange.argmax()))
    return truths


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
        raise mismatch(column, values, 0)
    if values.dtype != object:
        values, formats = as_levels(column, values), [COMPACT]
    elif column.date_format:
        formats = [column.date_format, ISO]
    else:
        formats = [date_format(distinct_texts(values)) or ISO]
    parse = date_parser(*formats, local=local)
    return _convert_texts(column, values, parse, np.array(["NaT"], dtype="datetime64[us]"))


def as_levels(column: Column, values: NDArray[Any]) -> NDArray[np.object_]:
    """The column as text, object (n_rows,), None where missing; a number as its shortest text: 3, not 3.0."""
    if values.dtype == object:
        return values
    present = ~is_missing(values)
    levels = np.full(len(values), None, dtype=object)
    distinct, codes = np.unique(values[present], return_inverse=True)
    levels[present] = np.array([shortest_text(value) for value in distinct], dtype=object)[codes]
    return levels


LARGEST_EXACT = 2.0**53  # beyond it, a float may stand for several whole numbers


def has_lost_digits(values: NDArray[Any]) -> bool:
    """Whether it is whole numbers so large that their last digits were lost when they became floats.

    >>> has_lost_digits(np.array([2.0**60, np.nan])), has_lost_digits(np.array([2**60]))
    (True, False)
    """
    if values.dtype.kind != "f":
        return False
    present = values[np.isfinite(values)]
    return bool((np.abs(present) > LARGEST_EXACT).any() and (present == np.round(present)).all())


def is_wide(level: str) -> bool:
    """Whether a level is a whole number of which a float would lose digits."""
    digits = level.removeprefix("-")
    return digits.isdecimal() and (len(digits) > MOST_DIGITS or int(digits) > LARGEST_EXACT)


def level_finder(levels: Sequence[str]) -> Callable[[str], str | None]:
    """What finds a level by a text: the same, or one of the same value, as True for true, 1.0 for 1.

    >>> find = level_finder(["true", "1", "01"])
    >>> find("True"), find("1.0"), find("01"), find("x")
    ('true', '1', '01', None)
    """
    exact = set(levels)
    alike: dict[str, str] = {}
    for level in levels:
        alike.setdefault(value_text(level), level)
    return lambda text: text if text in exact else alike.get(value_text(text))


def value_text(text: str) -> str:
    """One text for texts of the same truth value or decimal number.

    >>> value_text("TRUE"), value_text("3.0"), value_text("1.50"), value_text("1e3"), value_text("007")
    ('true', '3', '1.5', '1e3', '007')
    """
    if text.lower() in ("true", "false"):
        return text.lower()
    return text.rstrip("0").rstrip(".") if _POINTED.fullmatch(text) else text


CONVERSIONS: dict[str, Callable[[Column, NDArray[Any]], NDArray[Any]]] = {
    "number": as_numbers,
    "boolean": as_booleans,
    "date": as_dates,
    "time": as_times,
    "duration": as_durations,
    "category": as_levels,
    "ordered": as_levels,
    "text": as_levels,
}


def shortest_text(value: Any) -> str:
    """A value of a column as text.

    >>> shortest_text(3.0), shortest_text(np.bool_(True)), shortest_text(np.datetime64("2024-05-01", "us"))
    ('3', 'true', '2024-05-01')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, np.datetime64):
        return str(value).removesuffix(".000000").removesuffix("T00:00:00")
    number = float(value)
    if isinstance(value, np.integer) or (number.is_integer() and abs(number) < 1e16):
        return str(int(value))
    return repr(number)


def _parse_number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _number_parser(column: Column) -> Parse:
    """Numbers as everywhere, and as the column writes them; where the two differ, as the column does."""
    writing = Writing(column.unit, column.thousands, column.decimal)
    if column.decimal != ".":
        return writing.read

    def parse(text: str) -> float | None:
        number = _parse_number(text)
        return writing.read(text) if number is None else number

    return parse


def _parse_boolean(text: str) -> float | None:
    return _TRUTH.get(text.strip().lower())


def _parse_duration_or_number(text: str) -> float | None:
    seconds = parse_duration(text)
    return _parse_number(text) if seconds is None else seconds


_PARSERS: dict[str, Parse] = {
    "boolean": _parse_boolean,
    "time": parse_time,
    "duration": _parse_duration_or_number,
}


def text_parser(column: Column, texts: list[str] | None = None) -> Parse | None:
    """What reads a text of the column; it gives None for what is not of its kind. None: any text is.

    texts: of a date without a format: those that say which it is
    """
    if column.kind == "number":
        return _number_parser(column)
    if column.kind == "date":
        own = column.date_format or date_format(texts or []) or ISO
        return date_parser(own, ISO)
    return _PARSERS.get(column.kind)


def _convert_texts(
    column: Column,
    values: NDArray[np.object_],
    parse: Parse,
    missing: NDArray[Any],
) -> NDArray[Any]:
    """Parse each distinct text once; SchemaError with the first row that `parse` refuses (gives None for).

    missing: (1,) array of what stands for None; it also sets the dtype of the result.
    """
    texts = distinct_texts(values)
    parsed = list(map(parse, texts))
    if None in parsed:
        raise mismatch(column, values, values.tolist().index(texts[parsed.index(None)]))
    lookup = np.concatenate([np.array(parsed, dtype=missing.dtype), missing])
    place: dict[str | None, int] = {text: i for i, text in enumerate(texts)}
    place[None] = len(texts)
    return lookup[np.fromiter(map(place.__getitem__, values.tolist()), dtype=np.int64, count=len(values))]


def mismatch(column: Column, values: NDArray[Any], row: int) -> SchemaError:
    """The error for a row (from 0) whose value is not of the column's kind."""
    value = shortest_text(values[row])
    wanted = _WANTED.get(column.kind, "text")
    wanted += f" like {column.example!r}" if column.date_format else ""
    return SchemaError(
        f"Column {column.name!r} must hold {wanted} in every row; row {row + 1} holds "
        f"{value!r}. Mend the value, leave it empty or name it as a mark of missing values (missing=), or "
        f"fit again "
        f"with {column.name!r} as a category."
    )
