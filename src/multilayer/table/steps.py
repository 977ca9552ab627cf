"""The primitive steps by which cells become encoded numbers and codes. `Encoder` runs them, and others may.

A coder is data: a chain of these steps for each number that it gives. Whoever can do the steps can do all
that an encoder does, so each is some arithmetic, or a look-up in what it holds, and works row by row.

Numbers are float64 from the first step to the last; what the last one gives becomes float32.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.table.cells import Cells
from multilayer.table.column import AS_WRITTEN
from multilayer.table.dates import DATE_PARTS, Dates, days, in_zone
from multilayer.table.levels import level_finder
from multilayer.table.text import TextVectors

MISSING, RARE = 0, 1  # category codes; levels follow from 2
EPOCH = np.datetime64(0, "us")
LARGEST, SMALLEST = 1e150, 1e-150  # numbers whose differences and ratios fit into float64
LARGEST_SCALED = 1e8  # whose square does not overflow

Floats = NDArray[np.float64]


class Step(ABC):
    """One step of a chain: from what came before, (n_cells,) or (n_cells, width), to what comes next.

    Frozen: what it does is all in its fields.
    """

    @abstractmethod
    def run(self, x: Any, cells: Cells) -> Any:
        """Take the step; cells: those that the chain began with, as some steps ask which are missing."""


@dataclass(frozen=True)
class IsMissing(Step):
    """y = 1 where the cell is missing, else 0."""

    def run(self, x: Any, cells: Cells) -> NDArray[np.bool_]:
        """Booleans (n_cells,)."""
        return cells.missing


@dataclass(frozen=True)
class Fill(Step):
    """y = value where the cell is missing, else x."""

    value: float

    def run(self, x: Floats, cells: Cells) -> Floats:
        """Numbers, without NaN if value is none."""
        return np.where(cells.missing, self.value, x) if cells.has_gaps else x


@dataclass(frozen=True)
class FillDate(Step):
    """y = 1970-01-01 where the cell is missing, else x: any date, so that its parts can be told."""

    def run(self, x: Dates, cells: Cells) -> Dates:
        """Dates without NaT."""
        return np.where(cells.missing, EPOCH, x) if cells.has_gaps else x


@dataclass(frozen=True)
class Tame(Step):
    """y = 0 where |x| < 1e-150, else x cut off at -1e150 and 1e150, so that ratios fit into float64."""

    def run(self, x: Floats, cells: Cells) -> Floats:
        """Numbers; NaN stays."""
        return np.where(np.abs(x) < SMALLEST, 0.0, np.clip(x, -LARGEST, LARGEST))


@dataclass(frozen=True)
class Constant(Step):
    """y = value, whatever x is."""

    value: float

    def run(self, x: Any, cells: Cells) -> Floats:
        """Numbers (n_cells,)."""
        return np.full(len(x), self.value)


@dataclass(frozen=True)
class Subtract(Step):
    """y = x - value, in the units of x."""

    value: float

    def run(self, x: Floats, cells: Cells) -> Floats:
        """Numbers."""
        return x - self.value


@dataclass(frozen=True)
class Multiply(Step):
    """y = x value."""

    value: float

    def run(self, x: Any, cells: Cells) -> Floats:
        """Numbers, from whole ones, too."""
        return x * self.value


@dataclass(frozen=True)
class Divide(Step):
    """y = x / value. To multiply by 1 / value would round otherwise."""

    value: float

    def run(self, x: Floats, cells: Cells) -> Floats:
        """Numbers."""
        return x / self.value


@dataclass(frozen=True)
class Clip(Step):
    """y = min(max(x, low), high)."""

    low: float
    high: float

    def run(self, x: Floats, cells: Cells) -> Floats:
        """Numbers within the two; NaN stays."""
        return np.clip(x, self.low, self.high)


@dataclass(frozen=True)
class SmoothClip(Step):
    """y = x / sqrt(1 + (x / bound)^2), of x cut off at -1e8 and 1e8: the identity near 0, within the bound.

    Source:  RealMLP, Holzmüller et al. 2024, arXiv:2407.04491
    """

    bound: float

    def run(self, x: Floats, cells: Cells) -> Floats:
        """Numbers."""
        x = np.clip(x, -LARGEST_SCALED, LARGEST_SCALED)
        return x / np.sqrt(1 + (x / self.bound) ** 2)


@dataclass(frozen=True, eq=False)
class Interpolate(Step):
    """y on the line through the points (knots, places), and on the first and last place beyond them.

    With i the number of inner knots that are <= x:
    y = (places_i+1 - places_i) / (knots_i+1 - knots_i) (x - knots_i) + places_i

    knots:  (n_knots,) ascending, in the units of x
    places: (n_knots,) never falling, within -1 and 1
    """

    knots: Floats
    places: Floats

    def run(self, x: Floats, cells: Cells) -> Floats:
        """Numbers."""
        return np.interp(x, self.knots, self.places)


@dataclass(frozen=True)
class Days(Step):
    """y = days since 1970-01-01, with the time of day as a fraction: microseconds / 86,400,000,000."""

    def run(self, x: Dates, cells: Cells) -> Floats:
        """Numbers, NaN for NaT."""
        return days(x)


@dataclass(frozen=True)
class InZone(Step):
    """y = what clock and calendar of the zone show at the moment x.

    zone: an IANA name, an offset such as "+02:00", or "as written": what the text of each date shows
    """

    zone: str

    def run(self, x: Dates, cells: Cells) -> Dates:
        """Dates, NaT where NaT."""
        if self.zone != AS_WRITTEN:
            return in_zone(x, self.zone)
        return x if cells.written is None else cells.written()


@dataclass(frozen=True)
class Part(Step):
    """y = the part of a date that repeats, from 0.

    month, of 12; monthday, of 31; yearday, of 366; weekday, of 7, Monday 0; hour, of 24, with a fraction
    """

    name: str

    def run(self, x: Dates, cells: Cells) -> NDArray[Any]:
        """Whole numbers, or hours in float64."""
        return DATE_PARTS[self.name][0](x)


@dataclass(frozen=True)
class Sine(Step):
    """y = sin(x), x in radians."""

    def run(self, x: Floats, cells: Cells) -> Floats:
        """Numbers within -1 and 1."""
        return np.sin(x)


@dataclass(frozen=True)
class Cosine(Step):
    """y = cos(x), x in radians."""

    def run(self, x: Floats, cells: Cells) -> Floats:
        """Numbers within -1 and 1."""
        return np.cos(x)


@dataclass(frozen=True)
class Code(Step):
    """y = 0 where the cell is missing, 2 + i for the text levels[i], 1 for any other text.

    A text that is no level counts as the first level of the same value, if there is one, as True for true and
    1.0 for 1: see `level_finder`.
    """

    levels: tuple[str, ...]

    @property
    def cardinality(self) -> int:
        """Number of codes."""
        return RARE + 1 + len(self.levels)

    @cached_property
    def _code_of(self) -> dict[str | None, int]:
        codes: dict[str | None, int] = {level: code for code, level in enumerate(self.levels, start=RARE + 1)}
        return codes | {None: MISSING}

    @cached_property
    def _find(self) -> Callable[[str], str | None]:
        return level_finder(self.levels)

    def run(self, x: NDArray[np.object_], cells: Cells) -> NDArray[np.int64]:
        """Whole numbers."""
        return np.fromiter(map(self._code, x.tolist()), dtype=np.int64, count=len(x))

    def _code(self, text: str | None) -> int:
        code = self._code_of.get(text)
        if code is not None or text is None:
            return code or MISSING
        known = self._find(text)
        return RARE if known is None else self._code_of[known]


@dataclass(frozen=True)
class Equals(Step):
    """y = 1 where x is the code, else 0."""

    code: int

    def run(self, x: NDArray[np.int64], cells: Cells) -> NDArray[np.bool_]:
        """Booleans."""
        return x == self.code


@dataclass(frozen=True, eq=False)
class Pick(Step):
    """y = values[x], of a code or bin x; the last value for those beyond.

    values: (n_values,)
    """

    values: Floats

    def run(self, x: NDArray[np.integer[Any]], cells: Cells) -> Floats:
        """Numbers."""
        return self.values[np.minimum(x, len(self.values) - 1)]


@dataclass(frozen=True, eq=False)
class Bin(Step):
    """y = how many edges are below x, compared in float64.

    edges: (n_edges,) ascending
    """

    edges: Floats

    def run(self, x: NDArray[np.floating[Any]], cells: Cells) -> NDArray[np.integer[Any]]:
        """Whole numbers from 0."""
        return np.searchsorted(self.edges, x)


@dataclass(frozen=True, eq=False)
class Vectors(Step):
    """y = the numbers of a text, as `TextVectors` says, and 0 where the cell is missing."""

    vectors: TextVectors

    def run(self, x: NDArray[np.object_], cells: Cells) -> Floats:
        """Numbers (n_cells, width)."""
        y = np.zeros((len(x), self.vectors.width + 1))
        y[~cells.missing] = self.vectors.transform([text for text in x.tolist() if text is not None])
        return y


@dataclass(frozen=True)
class Take(Step):
    """y = column `place` of x."""

    place: int

    def run(self, x: NDArray[Any], cells: Cells) -> NDArray[Any]:
        """(n_cells,)."""
        return x[:, self.place]


Chain = tuple[Step, ...]
Channel = Literal[
    "scaled", "rank", "missing", "boolean", "date", "time", "order", "text", "target", "plain", "level"
]


@dataclass(frozen=True)
class Feature:
    """One column of `Batch.num`: its name, such as "age (rank)", its table column, what it tells of it."""

    name: str
    column: str
    channel: Channel


Outputs = tuple[tuple[Feature, Chain], ...]


class Program:
    """Chains of steps, put together so that what several of them begin with is done once.

    >>> program = Program([(Fill(1.0), Multiply(2.0)), (IsMissing(),)])
    >>> [y.tolist() for y in program.run(Cells.of(np.array([3.0, np.nan])))]
    [[6.0, 2.0], [False, True]]
    """

    def __init__(self, chains: Sequence[Chain]) -> None:
        self._parts: list[tuple[int, Chain, slice | None]] = []
        last: Chain = ()
        for chain, columns in _blocks(chains):
            n_shared = 0
            while n_shared < min(len(chain), len(last)) and chain[n_shared] is last[n_shared]:
                n_shared += 1
            self._parts.append((n_shared, chain[n_shared:], columns))
            last = chain

    def run(self, cells: Cells) -> Iterator[NDArray[Any]]:
        """What the chains make of a column, in turn: (n_rows,), or several of them as (n_rows, width)."""
        done = [cells.values]
        for n_shared, steps, columns in self._parts:
            del done[n_shared + 1 :]
            x = done[n_shared]
            for step in steps:
                x = step.run(x, cells)
                done.append(x)
            of_rows = x if cells.rows is None else x[cells.rows]
            yield of_rows if columns is None else of_rows[:, columns]


def _blocks(chains: Sequence[Chain]) -> Iterator[tuple[Chain, slice | None]]:
    """The chains; of those that take neighbouring columns of one array, what they share, and which."""
    at = 0
    while at < len(chains):
        chain, stop = chains[at], at + 1
        last = chain[-1] if chain else None
        if not isinstance(last, Take):
            yield chain, None
        else:
            while stop < len(chains) and _takes(chains[stop], chain[:-1], last.place + stop - at):
                stop += 1
            yield chain[:-1], slice(last.place, last.place + stop - at)
        at = stop


def _takes(chain: Chain, before: Chain, place: int) -> bool:
    """Whether a chain takes this column of what other steps make."""
    same = len(chain) == len(before) + 1 and all(a is b for a, b in zip(chain, before, strict=False))
    return same and chain[-1] == Take(place)
