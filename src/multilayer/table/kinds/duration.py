"""Durations: lengths of time in seconds, encoded as numbers are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.column import DAY_S, Column
from multilayer.table.dates import parse_duration
from multilayer.table.kinds.kind import (
    Candidate,
    Kind,
    Parse,
    as_declared,
    as_everywhere,
    as_it_is,
    cells_of,
    clipped_text,
    converted,
    joined,
    measured,
    mismatch,
    no_codes,
    note_of_kind,
    range_text,
    reads,
    seconds_of_note,
)
from multilayer.table.kinds.number import CODERS, as_numbers, fitted, parse_number, without_infinities

WANTED = "a duration, in seconds or such as 1 days 02:00:00"
_UNITS = (("d", DAY_S), ("h", 3_600), ("min", 60))


def as_durations(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The column as seconds, float64 (n_rows,), NaN where missing; numbers are seconds."""
    if values.dtype.kind == "M":
        raise mismatch(WANTED, column, values, 0)
    if values.dtype != object:
        return as_numbers(column, values)
    numbers = converted(WANTED, column, values, _parse, np.array([np.nan]))
    return without_infinities(column, values, numbers)


def _parse(text: str) -> float | None:
    seconds = parse_duration(text)
    return parse_number(text) if seconds is None else seconds


def _parser(column: Column, texts: Sequence[str]) -> Parse:
    return _parse


def _of_texts(name: str, texts: Sequence[str]) -> Column | None:
    return Column(name, "duration") if all(map(reads(parse_duration), texts)) else None


def _candidates(name: str, sample: Sequence[str], texts: Sequence[str]) -> Sequence[Candidate]:
    return (Candidate(Column(name, "duration"), reads(parse_duration)),)


def _duration_text(seconds: float) -> str:
    unit, size = next(((unit, size) for unit, size in _UNITS if abs(seconds) >= size), ("s", 1))
    return f"{seconds / size:.4g} {unit}"


def _show(column: Column) -> str:
    return joined(range_text(column, _duration_text), clipped_text(column))


DURATION = Kind(
    name="duration",
    plural="durations",
    wanted=WANTED,
    settings=frozenset({"infinite"}),
    dtypes="",
    is_numeric=True,
    is_closed=False,
    has_levels=False,
    has_order=False,
    may_number_rows=False,
    may_name_rows=False,
    read=as_durations,
    cells=cells_of(as_durations),
    numbers=as_durations,
    parser=_parser,
    of_texts=_of_texts,
    candidates=_candidates,
    are_codes=no_codes,
    in_own_writing=as_everywhere,
    written=as_declared,
    completed=as_it_is,
    fits_note=seconds_of_note,
    of_note=note_of_kind,
    measure=measured(as_durations),
    show=_show,
    fit=fitted(as_durations),
    coders=CODERS,
)
