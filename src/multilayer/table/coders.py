"""One coder a column: learnt on the training rows, it turns the column's values into numbers and codes."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.column import AS_WRITTEN, DAY_S, Column
from multilayer.table.convert import (
    CONVERSIONS,
    as_booleans,
    as_dates,
    as_levels,
    as_local_dates,
    distinct_texts,
    is_missing,
)
from multilayer.table.dates import DATE_PARTS, days
from multilayer.table.infer import count_levels, frequent_levels
from multilayer.table.steps import (
    RARE,
    Cells,
    Chain,
    Clip,
    Code,
    Constant,
    Cosine,
    Days,
    Divide,
    Equals,
    Feature,
    Fill,
    FillDate,
    Interpolate,
    InZone,
    IsMissing,
    Multiply,
    Outputs,
    Part,
    Pick,
    Program,
    Sine,
    SmoothClip,
    Step,
    Subtract,
    Take,
    Tame,
    Vectors,
    codes_of_texts,
)
from multilayer.table.text import TextVectors

N_QUANTILES = 1024  # knots of the rank channel: RealMLP-like resolution without storing the training column
CLIP = 3.0  # largest scaled value, as in RealMLP
FEWEST_ROWS = 10  # a number that is the same in all but fewer rows tells too little to be learnt from

Floats = NDArray[np.float64]
_Weight = NDArray[np.floating[Any]] | None


class Coder(ABC):
    """What turns the cells of one column into encoded numbers, and of a category into a code; frozen."""

    column: Column

    @property
    @abstractmethod
    def outputs(self) -> Outputs:
        """Each number that it gives, a column of `Batch.num`, and the steps that make it of the cells."""

    @property
    def code(self) -> Code | None:
        """Of categories: the step that makes the column of `Batch.cat`."""
        return None

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """What it gives, in order."""
        return tuple(feature for feature, _ in self.outputs)

    @cached_property
    def _program(self) -> Program:
        return Program([chain for _, chain in self.outputs])

    def encode(self, cells: Cells) -> Iterator[NDArray[Any]]:
        """The numbers of each row by these steps: (n_rows,), or several of them (n_rows, width)."""
        return self._program.run(cells)

    def codes(self, cells: Cells) -> NDArray[np.int64]:
        """Of categories: the code of each row (n_rows,)."""
        assert self.code is not None and cells.rows is not None
        return self.code.run(cells.values, cells)[cells.rows]

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""


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
    def fit(cls, column: Column, numbers: Floats, weight: _Weight = None) -> "Number":
        """Learn center, width and quantiles of these numbers (n_rows,), NaN where missing."""
        present, weight = _sorted(numbers, weight)
        has_missing = len(present) < len(numbers)
        if len(present) == 0:
            return cls(column, 0.0, 0.0, has_missing, np.zeros(0), np.zeros(0))
        low, center, high = _quartiles(present, weight)
        width = high - low if high > low else (present[-1] - present[0]) / 2
        knots, places = _quantiles(present, weight)
        return cls(column, float(center), float(width), has_missing, knots, places)

    @property
    def number(self) -> "Number":
        """Itself, as other coders have a number within."""
        return self

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


@dataclass(frozen=True)
class Flag(Coder):
    """A boolean, or a number with two values: -1 for the low one, 1 for the high one, 0 where missing."""

    column: Column
    low: float
    high: float

    @cached_property
    def outputs(self) -> Outputs:
        """One number."""
        tame = () if self.column.kind == "boolean" else (Tame(),)
        between = (Subtract(self.low), Divide(self.high - self.low), Clip(0.0, 1.0))
        chain: Chain = (*tame, *between, Multiply(2.0), Subtract(1.0), Fill(0.0))
        return ((Feature(self.column.name, self.column.name, "boolean"), chain),)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "flag", "low": self.low, "high": self.high}


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
    def fit(cls, column: Column, values: NDArray[Any], weight: _Weight = None) -> "Date":
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
        waves: list[tuple[Feature, Chain]] = []
        for part in self.parts:
            angle: Chain = (*dates, Part(part), Multiply(2 * np.pi / DATE_PARTS[part][1]))
            waves += [
                (Feature(f"{name} ({part} {wave})", name, "date"), chain) for wave, chain in _waves(angle)
            ]
        return self.number.outputs_after(Days(), Subtract(self.newest)) + tuple(waves)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return self.number.to_json() | {
            "coder": "date",
            "parts": list(self.parts),
            "newest": self.newest,
            "local": self.local,
        }


@dataclass(frozen=True)
class Time(Coder):
    """A time of day as seconds since midnight, and the sine and cosine of its place in the day."""

    column: Column
    number: Number

    @cached_property
    def outputs(self) -> Outputs:
        """Those of the number of seconds, then sine and cosine."""
        name = self.column.name
        waves = _waves((Fill(0.0), Multiply(2 * np.pi / DAY_S)))
        return self.number.outputs + tuple(
            (Feature(f"{name} (day {wave})", name, "time"), chain) for wave, chain in waves
        )

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return self.number.to_json() | {"coder": "time"}


@dataclass(frozen=True)
class Category(Coder):
    """A category as a code: 0 missing, 1 rare or never seen, then the levels."""

    column: Column
    levels: tuple[str, ...]

    @classmethod
    def fit(cls, column: Column, values: NDArray[Any], weight: _Weight = None) -> "Category":
        """Learn from the values of training rows which levels are frequent."""
        levels = as_levels(column, values)
        if weight is None:
            return cls(column, frequent_levels(count_levels(levels), len(values)))
        return cls(column, frequent_levels(*_weighed_levels(levels, weight)))

    @property
    def outputs(self) -> Outputs:
        """None."""
        return ()

    @cached_property
    def code(self) -> Code:
        """The code."""
        return Code(self.levels)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "category", "levels": list(self.levels)}


@dataclass(frozen=True)
class Ordered(Coder):
    """An ordered category: its place in the order, from -1 to 1, beside the code of a category.

    A level that is not in the order is as one never seen: place 0, code 1. One that is in the order and was
    not seen often enough has its place.
    """

    column: Column
    category: Category

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels with a code of their own."""
        return self.category.levels

    @cached_property
    def outputs(self) -> Outputs:
        """The place in the order; 0 where missing or not in it."""
        name, levels = self.column.name, self.column.levels
        places = np.concatenate([np.zeros(RARE + 1), np.linspace(-1.0, 1.0, len(levels))])
        return ((Feature(f"{name} (order)", name, "order"), (Code(levels), Pick(places))),)

    @property
    def code(self) -> Code:
        """The code of the category."""
        return self.category.code

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return self.category.to_json() | {"coder": "ordered"}


@dataclass(frozen=True)
class Text(Coder):
    """Free text as its place along a few directions of `TextVectors`, its length, its absence."""

    column: Column
    vectors: TextVectors
    has_missing: bool  # among the training rows

    @classmethod
    def fit(cls, column: Column, values: NDArray[Any], width: int) -> "Text":
        """Learn from the values of training rows; width: directions, at most."""
        texts = as_levels(column, values)
        distinct = distinct_texts(texts)
        return cls(column, TextVectors.fit(distinct, width), bool(is_missing(texts).any()))

    @cached_property
    def outputs(self) -> Outputs:
        """A number for each direction, the number of words, and absence."""
        name = self.column.name
        tells = [*(f"text {i + 1}" for i in range(self.vectors.width)), "words"]
        vectors: Chain = (Vectors(self.vectors), SmoothClip(CLIP))
        outputs: list[tuple[Feature, Chain]] = [
            (Feature(f"{name} ({tell})", name, "text"), (*vectors, Take(i))) for i, tell in enumerate(tells)
        ]
        if self.has_missing:
            outputs.append((Feature(f"{name} (missing)", name, "missing"), (IsMissing(),)))
        return tuple(outputs)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {
            "coder": "text",
            "has_missing": self.has_missing,
            "n_word_terms": self.vectors.n_word_terms,
        }


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


@dataclass(frozen=True)
class Plain(Coder):
    """A number, boolean, date, time or duration as one number, unscaled."""

    column: Column
    fill: float  # for missing values

    @cached_property
    def outputs(self) -> Outputs:
        """One number."""
        days = (Days(),) if self.column.kind == "date" else ()
        return ((Feature(self.column.name, self.column.name, "plain"), (*days, Fill(self.fill))),)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "plain", "fill": self.fill}


@dataclass(frozen=True)
class Levels(Coder):
    """A category as a column of 0 and 1 for each of its levels."""

    column: Column

    @cached_property
    def outputs(self) -> Outputs:
        """One for each level."""
        name, code = self.column.name, Code(self.column.levels)
        return tuple(
            (Feature(f"{name} = {level}", name, "level"), (code, Equals(RARE + 1 + i)))
            for i, level in enumerate(self.column.levels)
        )

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "levels"}


def cells_of(column: Column, values: NDArray[Any]) -> Cells:
    """A column as steps take it; SchemaError if a value is not of its kind."""
    read = CONVERSIONS[column.kind](column, values)
    if read.dtype == object:
        return Cells.of_texts(read)
    if column.kind != "date" or column.zone != AS_WRITTEN or values.dtype != object:
        return Cells.of(read)
    return Cells.of(read, lambda: as_local_dates(column, values))


def plain_numbers(column: Column, values: NDArray[Any]) -> Floats:
    """A column as numbers: booleans as 0 and 1, dates in days since 1970-01-01; NaN where missing."""
    if column.kind == "boolean":
        return as_booleans(column, values)
    if column.kind == "date":
        return days(as_dates(column, values))
    return CONVERSIONS[column.kind](column, values)


def fit_coder(
    column: Column, values: NDArray[Any], weight: _Weight, fewest_rows: int, text_width: int
) -> Coder:
    """The coder of a column, learnt on the values of training rows.

    weight:      of each row; None weighs all alike
    fewest_rows: a number that is the same in all but fewer is left out
    text_width:  directions of a column of text
    """
    if column.kind == "category":
        return Category.fit(column, values, weight)
    if column.kind == "ordered":
        return Ordered(column, Category.fit(column, values, weight))
    if column.kind == "text":
        return Text.fit(column, values, text_width)
    if column.kind == "date":
        return Date.fit(column, values, weight)
    if column.kind == "boolean":
        return Flag(column, 0.0, 1.0)
    numbers = CONVERSIONS[column.kind](column, values)
    if _rows_that_differ(numbers) < min(fewest_rows, len(numbers) // 100):
        return Nothing(column)
    coder = Number.fit(column, numbers, weight)
    present = _tamed(numbers[~np.isnan(numbers)])
    if column.kind == "time":
        return Time(column, coder)
    if not len(coder.knots) and coder.width:  # two distinct values
        return Flag(column, float(present.min()), float(present.max()))
    return coder


def has_knots(coder: Coder) -> Number | None:
    """The number in a coder whose knots and places a model file keeps, if there is one."""
    return coder.number if isinstance(coder, Number | Date | Time) else None


def coder_from_json(
    column: Column, plan: Mapping[str, Any], knots: Floats, places: Floats, text: Mapping[str, NDArray[Any]]
) -> Coder:
    """The coder that `to_json` described, with its arrays: those of a number, and those of a text."""
    kind = plan["coder"]
    if kind in ("category", "ordered"):
        category = Category(column, tuple(plan["levels"]))
        return Ordered(column, category) if kind == "ordered" else category
    if kind == "text":
        return Text(column, TextVectors.from_arrays(plan["n_word_terms"], text), plan["has_missing"])
    if kind == "nothing":
        return Nothing(column)
    if kind == "plain":
        return Plain(column, plan["fill"])
    if kind == "levels":
        return Levels(column)
    if kind == "flag":
        return Flag(column, plan["low"], plan["high"])
    number = Number(column, plan["center"], plan["width"], plan["has_missing"], knots, places)
    if kind == "date":  # models of 0.1.0 counted days since 1970, and took the parts in UTC
        return Date(column, number, tuple(plan["parts"]), plan.get("newest", 0.0), plan.get("local", False))
    return Time(column, number) if kind == "time" else number


def _rows_that_differ(numbers: Floats) -> int:
    """Rows without the most frequent value; all missing values count as one."""
    return len(numbers) - int(np.unique(numbers, return_counts=True)[1].max())


def _waves(angle: Chain) -> Iterator[tuple[str, Chain]]:
    """Sine and cosine of an angle, 0 where missing; by name."""
    yield "sin", (*angle, Sine(), Fill(0.0))
    yield "cos", (*angle, Cosine(), Fill(0.0))


def _tamed(numbers: Floats) -> Floats:
    return Tame().run(numbers, Cells.of(numbers))


def _sorted(numbers: Floats, weight: _Weight) -> tuple[Floats, Floats | None]:
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


def _weighed_levels(
    levels: NDArray[np.object_], weight: NDArray[np.floating[Any]]
) -> tuple[Counter[str], int]:
    """How often each level occurs, and the number of rows, in units of the lightest row's weight."""
    place, codes = codes_of_texts(levels)
    units = weight.astype(np.float64) / float(weight.min())
    counts = np.bincount(codes, units, len(place)).round().astype(np.int64).tolist()
    counted = {level: count for level, count in zip(place, counts, strict=True) if level is not None}
    return Counter(counted), int(units.sum())
