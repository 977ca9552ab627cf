"""Times of day: seconds since midnight, and the place in the day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.column import DAY_S, Column
from multilayer.table.dates import parse_time
from multilayer.table.kinds.kind import (
    Arrays,
    Candidate,
    Coder,
    Kind,
    Learning,
    Parse,
    Stored,
    allowed,
    as_declared,
    as_everywhere,
    as_it_is,
    cells_of,
    converted,
    measured,
    mismatch,
    no_codes,
    note_of_kind,
    range_text,
    reads,
    seconds_of_note,
    waves,
)
from multilayer.table.kinds.number import NOTHING, Nothing, Number, check_number, n_numbers, tells_too_little
from multilayer.table.kinds.unscaled import PLAIN
from multilayer.table.steps import Chain, Feature, Fill, Multiply, Outputs

WANTED = "a time of day such as 08:15"


def as_times(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The column as seconds since midnight, float64 (n_rows,), NaN where missing; numbers are taken so."""
    if values.dtype == object:
        return converted(WANTED, column, values, parse_time, np.array([np.nan]))
    if values.dtype.kind in "Mb":
        raise mismatch(WANTED, column, values, 0)
    return allowed(WANTED, column, values, lambda seconds: (seconds >= 0) & (seconds < DAY_S))


def _parser(column: Column, texts: Sequence[str]) -> Parse:
    return parse_time


def _of_texts(name: str, texts: Sequence[str]) -> Column | None:
    return Column(name, "time") if all(map(reads(parse_time), texts)) else None


def _candidates(name: str, sample: Sequence[str], texts: Sequence[str]) -> Sequence[Candidate]:
    return (Candidate(Column(name, "time"), reads(parse_time)),)


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    clock = f"{int(minutes) // 60:02}:{int(minutes) % 60:02}"
    return f"{clock}:{rest:02.0f}" if rest else clock


def _show(column: Column) -> str:
    return range_text(column, _clock_text)


@dataclass(frozen=True)
class Time(Coder):
    """A time of day as seconds since midnight, and the sine and cosine of its place in the day."""

    column: Column
    number: Number

    @cached_property
    def outputs(self) -> Outputs:
        """Those of the number of seconds, then sine and cosine."""
        name = self.column.name
        angle: Chain = (Fill(0.0), Multiply(2 * np.pi / DAY_S))
        return self.number.outputs + tuple(
            (Feature(f"{name} (day {wave})", name, "time"), chain) for wave, chain in waves(angle)
        )

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return self.number.to_json() | {"coder": "time"}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Those of the number."""
        return self.number.arrays()

    @classmethod
    def from_json(cls, column: Column, plan: Mapping[str, Any], arrays: Arrays) -> "Time":
        """The inverse of `to_json` and `arrays`."""
        return cls(column, Number.from_json(column, plan, arrays))


def _fit(column: Column, values: NDArray[Any], learning: Learning) -> Coder:
    seconds = as_times(column, values)
    if tells_too_little(seconds, learning):
        return Nothing(column)
    return Time(column, Number.fit(column, seconds, learning.weight))


def _n_numbers(plan: Mapping[str, Any], n_levels: int) -> int:
    return n_numbers(plan, n_levels) + 2


TIME = Kind(
    name="time",
    plural="times",
    wanted=WANTED,
    settings=frozenset(),
    dtypes="",
    is_numeric=False,
    is_closed=False,
    has_levels=False,
    has_order=False,
    may_number_rows=False,
    may_name_rows=False,
    read=as_times,
    cells=cells_of(as_times),
    numbers=as_times,
    parser=_parser,
    of_texts=_of_texts,
    candidates=_candidates,
    are_codes=no_codes,
    in_own_writing=as_everywhere,
    written=as_declared,
    completed=as_it_is,
    fits_note=seconds_of_note,
    of_note=note_of_kind,
    measure=measured(as_times),
    show=_show,
    fit=_fit,
    coders={"time": Stored(Time.from_json, _n_numbers, check_number), "nothing": NOTHING, "plain": PLAIN},
)
