"""Numbers: their size, their place among the training values, their absence."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import SchemaError
from multilayer.file_values import fits, is_count, need
from multilayer.table.cells import Cells
from multilayer.table.column import Column
from multilayer.table.kinds.boolean import Flag, check_flag
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
    any_values,
    as_it_is,
    cells_of,
    clipped_text,
    converted,
    joined,
    measured,
    mismatch,
    no_check,
    note_of_kind,
    range_text,
    reads,
)
from multilayer.table.kinds.unscaled import PLAIN, one_number
from multilayer.table.steps import (
    Chain,
    Constant,
    Divide,
    Feature,
    Fill,
    Interpolate,
    IsMissing,
    Outputs,
    SmoothClip,
    Step,
    Subtract,
    Tame,
)
from multilayer.table.writing import Writing, find_writing, have_points_of_thousands

N_QUANTILES = 1024  # knots of the rank channel: RealMLP-like resolution without storing the training column
CLIP = 3.0  # largest scaled value, as in RealMLP
WANTED = "a number"

_NUMBER_SHAPE = re.compile(
    r"\s*[+-]?(((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf(inity)?)\s*", re.ASCII | re.IGNORECASE
)
_CODE_SHAPE = re.compile(r"[+-]?0\d+", re.ASCII)


def as_numbers(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The column as float64 (n_rows,), NaN where missing; SchemaError for what is no finite number.

    With `column.infinite` "clip", infinities become its `low` and `high`, or stay while these are not known.
    """
    if values.dtype == object:
        numbers = converted(WANTED, column, values, number_parser(column), np.array([np.nan]))
    elif values.dtype.kind == "M":
        raise mismatch(WANTED, column, values, 0)
    else:
        numbers = values.astype(np.float64)
    return without_infinities(column, values, numbers)


def without_infinities(
    column: Column, values: NDArray[Any], numbers: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The numbers with infinities as `Column.infinite` says; SchemaError where it refuses them."""
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


def parse_number(text: str) -> float | None:
    """The number that a text is, as Python writes numbers; None for what is none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def number_parser(column: Column) -> Parse:
    """Numbers as everywhere, and as the column writes them; where the two differ, as the column does."""
    writing = _writing_of(column)
    if column.decimal != ".":
        return writing.read

    def parse(text: str) -> float | None:
        number = parse_number(text)
        return writing.read(text) if number is None else number

    return parse


def _parser(column: Column, texts: Sequence[str]) -> Parse:
    return number_parser(column)


def _is_plain(text: str) -> bool:
    """Whether it is a number as everywhere, and no code such as 007."""
    return _NUMBER_SHAPE.fullmatch(text) is not None


def _of_texts(name: str, texts: Sequence[str]) -> Column | None:
    return _numbers(name, texts) if all(map(_is_plain, texts)) else None


def _numbers(name: str, texts: Sequence[str]) -> Column:
    """Numbers as everywhere, or with points between thousands."""
    if not have_points_of_thousands(texts):
        return Column(name, "number")
    column = _written_so(name, Writing("", ".", ","))
    return replace(column, reason="thousands are separated by '.', as all points stand before three digits")


def _writing_of(column: Column) -> Writing:
    return Writing(column.unit, column.thousands, column.decimal)


def _candidates(name: str, sample: Sequence[str], texts: Sequence[str]) -> Sequence[Candidate]:
    plain = _numbers(name, [text for text in texts if _is_plain(text)])
    found = [Candidate(plain, reads(_writing_of(plain).read) if plain.thousands else _is_plain)]
    if (writing := find_writing(sample)) is not None:
        found.append(Candidate(_written_so(name, writing), reads(writing.read), is_plain=False))
    return found


def _are_codes(odd: Sequence[str]) -> bool:
    return any(map(_CODE_SHAPE.fullmatch, odd))


def _written_so(name: str, writing: Writing) -> Column:
    return Column(name, "number", unit=writing.unit, thousands=writing.thousands, decimal=writing.decimal)


def _in_own_writing(column: Column, texts: Sequence[str]) -> Column:
    if all(map(_is_plain, texts)):
        return column
    writing = _writing_of(column)
    words = [writing.in_words] if writing.in_words else ["with signs of its own for minus"]
    bare = [text for text in texts if writing.unit not in text]
    if bare:
        words.append(f"so are cells without a unit, such as {bare[0]!r}")
    return replace(column, reason=", ".join(words))


def _written(column: Column, texts: Sequence[str], most: Callable[[], Column]) -> Column:
    is_plain = all(map(_is_plain, texts)) and not have_points_of_thousands(texts)
    if is_plain or _writing_of(column).in_words:
        return column
    writing = find_writing(texts)
    if writing is None:
        return column
    reason = "; ".join(filter(None, (column.reason, writing.in_words)))
    return replace(_written_so(column.name, writing), infinite=column.infinite, reason=reason or None)


@dataclass(frozen=True)
class Number(Coder):
    """A number: its size ("scaled"), its place among the training values ("rank"), its absence."""

    column: Column
    center: float  # median
    width: float  # interquartile range, or else half the range; 0 for a constant
    has_missing: bool  # among the training rows
    knots: Floats  # (n_knots,) distinct training quantiles, ascending; none: no rank channel
    places: Floats  # (n_knots,) their places, in [-1, 1]

    @classmethod
    def fit(cls, column: Column, numbers: Floats, weight: Weight = None) -> "Number":
        """Learn center, width and quantiles of these numbers (n_rows,), NaN where missing."""
        present, weight = _sorted(numbers, weight)
        has_missing = len(present) < len(numbers)
        if len(present) == 0:
            return cls(column, 0.0, 0.0, has_missing, np.zeros(0), np.zeros(0))
        low, center, high = _quartiles(present, weight)
        width = high - low if high > low else (present[-1] - present[0]) / 2
        knots, places = _quantiles(present, weight)
        return cls(column, float(center), float(width), has_missing, knots, places)

    @cached_property
    def outputs(self) -> Outputs:
        """Size, place and absence."""
        return self.outputs_after()

    def outputs_after(self, *before: Step) -> Outputs:
        """As `outputs`, where other steps come first."""
        name = self.column.name
        filled: Chain = (*before, Tame(), Fill(self.center))
        scaled = (
            (Subtract(self.center), Divide(self.width), SmoothClip(CLIP)) if self.width else (Constant(0.0),)
        )
        outputs: list[tuple[Feature, Chain]] = [(Feature(name, name, "scaled"), (*filled, *scaled))]
        if len(self.knots):
            rank = (*filled, Interpolate(self.knots, self.places), Fill(0.0))
            outputs.append((Feature(f"{name} (rank)", name, "rank"), rank))
        if self.has_missing:
            outputs.append((Feature(f"{name} (missing)", name, "missing"), (IsMissing(),)))
        return tuple(outputs)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {
            "coder": "number",
            "center": self.center,
            "width": self.width,
            "has_missing": self.has_missing,
            "n_knots": len(self.knots),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Knots and places."""
        return {"knots": self.knots, "places": self.places}

    @classmethod
    def from_json(cls, column: Column, plan: Mapping[str, Any], arrays: Arrays) -> "Number":
        """The inverse of `to_json` and `arrays`."""
        shared = arrays["knots"], arrays["places"]
        return cls(column, plan["center"], plan["width"], plan["has_missing"], *shared)


@dataclass(frozen=True)
class Nothing(Coder):
    """A number that is the same in nearly all rows; it is read and checked, and not used."""

    column: Column

    @property
    def outputs(self) -> Outputs:
        """None."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "nothing"}

    @classmethod
    def from_json(cls, column: Column, plan: Mapping[str, Any], arrays: Arrays) -> "Nothing":
        """The inverse of `to_json`."""
        return cls(column)


def fitted(
    read: Callable[[Column, NDArray[Any]], Floats],
) -> Callable[[Column, NDArray[Any], Learning], Coder]:
    """What learns the coder of kinds that `read` numbers."""

    def fit(column: Column, values: NDArray[Any], learning: Learning) -> Coder:
        numbers = read(column, values)
        if tells_too_little(numbers, learning):
            return Nothing(column)
        coder = Number.fit(column, numbers, learning.weight)
        if len(coder.knots) or not coder.width:
            return coder
        present = _tamed(numbers[~np.isnan(numbers)])  # of two distinct values
        return Flag(column, float(present.min()), float(present.max()), (Tame(),))

    return fit


def tells_too_little(numbers: Floats, learning: Learning) -> bool:
    """Whether it is the same in nearly all rows."""
    return _rows_that_differ(numbers) < min(learning.fewest_rows, len(numbers) // 100)


def _rows_that_differ(numbers: Floats) -> int:
    """Rows without the most frequent value; all missing values count as one."""
    return len(numbers) - int(np.unique(numbers, return_counts=True)[1].max())


def _tamed(numbers: Floats) -> Floats:
    return Tame().run(numbers, Cells.of(numbers))


def _sorted(numbers: Floats, weight: Weight) -> tuple[Floats, Floats | None]:
    """The numbers that are there, ascending, and their weights."""
    there = ~np.isnan(numbers)
    present = _tamed(numbers[there])
    if weight is None:
        return np.sort(present), None
    order = np.argsort(present, kind="stable")
    return present[order], weight[there][order].astype(np.float64)


def _quartiles(present: Floats, weight: Floats | None) -> Floats:
    """Of sorted values."""
    if weight is None:
        return np.asarray(np.percentile(present, [25, 50, 75]))
    return present[_rows_at(np.array([0.25, 0.5, 0.75]), weight)]


def _rows_at(shares: Floats, weight: Floats) -> NDArray[np.int64]:
    """The first rows by which these shares of the weight are reached."""
    reached = np.cumsum(weight)
    return np.searchsorted(reached / reached[-1], shares)


def _quantiles(present: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    """Distinct quantiles of sorted values, and their places in [-1, 1]; equal ones share their mean place.

    None for fewer than 3 distinct values: their ranks say no more than the values.
    """
    if np.count_nonzero(np.diff(present)) < 2:
        return np.zeros(0), np.zeros(0)
    shares = np.linspace(0, 1, min(len(present), N_QUANTILES))
    if weight is None:
        picked = np.linspace(0, len(present) - 1, len(shares)).round().astype(np.int64)
    else:
        picked = _rows_at(shares, weight)
    knots, first, counts = np.unique(present[picked], return_index=True, return_counts=True)
    places = (first + (counts - 1) / 2) / (len(picked) - 1)
    return knots, 2 * places - 1


def flag_of_numbers(column: Column, plan: Mapping[str, Any], arrays: Arrays) -> Flag:
    """A number with two values, from its JSON."""
    return Flag(column, plan["low"], plan["high"], (Tame(),))


def check_number(plan: Mapping[str, Any]) -> None:
    """ValueError unless the JSON of a `Number` is whole."""
    for key in ("center", "width"):
        need(fits(plan.get(key), float), f"{key!r} must be a number")
    need(plan["width"] >= 0, "'width' must not be negative")
    need(is_count(plan.get("n_knots", 0)), "'n_knots' must be a whole number")
    need(type(plan.get("has_missing")) is bool, "'has_missing' must be true or false")


def n_numbers(plan: Mapping[str, Any], n_levels: int) -> int:
    """Size, place and absence."""
    return 1 + (plan.get("n_knots", 0) > 0) + plan["has_missing"]


NOTHING = Stored(Nothing.from_json, lambda plan, n_levels: 0, no_check)
CODERS = {
    "number": Stored(Number.from_json, n_numbers, check_number),
    "flag": Stored(flag_of_numbers, one_number, check_flag),
    "nothing": NOTHING,
    "plain": PLAIN,
}


def _show(column: Column) -> str:
    return joined(range_text(column, "{:.6g}".format), clipped_text(column))


NUMBER = Kind(
    name="number",
    plural="numbers",
    wanted=WANTED,
    settings=frozenset({"infinite"}),
    dtypes="iufc",
    is_numeric=True,
    is_closed=False,
    has_levels=False,
    has_order=False,
    may_number_rows=True,
    may_name_rows=False,
    read=as_numbers,
    cells=cells_of(as_numbers),
    numbers=as_numbers,
    parser=_parser,
    of_texts=_of_texts,
    candidates=_candidates,
    are_codes=_are_codes,
    in_own_writing=_in_own_writing,
    written=_written,
    completed=as_it_is,
    fits_note=any_values,
    of_note=note_of_kind,
    measure=measured(as_numbers),
    show=_show,
    fit=fitted(as_numbers),
    coders=CODERS,
)
