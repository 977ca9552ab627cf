"""One coder a column: learnt on the training rows, it turns the column's values into numbers and codes."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.table.column import DAY_S, Column
from multilayer.table.convert import (
    CONVERSIONS,
    as_booleans,
    as_dates,
    as_levels,
    as_local_dates,
    as_times,
    is_missing,
    level_finder,
)
from multilayer.table.dates import DATE_PARTS, days
from multilayer.table.infer import count_levels, frequent_levels
from multilayer.table.text import TextVectors

MISSING, RARE = 0, 1  # category codes; levels follow from 2
N_QUANTILES = 1024  # knots of the rank channel: RealMLP-like resolution without storing the training column
CLIP = 3.0  # largest scaled value, as in RealMLP
FEWEST_ROWS = 10  # a number that is the same in all but fewer rows tells too little to be learnt from

Channel = Literal[
    "scaled", "rank", "missing", "boolean", "date", "time", "order", "text", "target", "plain", "level"
]
Floats = NDArray[np.float64]
_Weight = NDArray[np.floating[Any]] | None


@dataclass(frozen=True)
class Feature:
    """One column of `Batch.num`: its name, such as "age (rank)", its table column, what it tells of it."""

    name: str
    column: str
    channel: Channel


@dataclass(frozen=True)
class Number:
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

    @property
    def features(self) -> tuple[Feature, ...]:
        """What `encode` yields, in its order."""
        name = self.column.name
        features = [Feature(name, name, "scaled")]
        if len(self.knots):
            features.append(Feature(f"{name} (rank)", name, "rank"))
        if self.has_missing:
            features.append(Feature(f"{name} (missing)", name, "missing"))
        return tuple(features)

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Columns of `Batch.num`, one array (n_rows,) for each feature."""
        yield from self.encode_numbers(CONVERSIONS[self.column.kind](self.column, values))

    def encode_numbers(self, numbers: Floats) -> Iterator[NDArray[Any]]:
        """As `encode`, of numbers with NaN where missing."""
        missing = np.isnan(numbers)
        numbers = np.where(missing, self.center, _tamed(numbers))
        yield _smooth_clip((numbers - self.center) / self.width) if self.width else np.zeros(len(numbers))
        if len(self.knots):
            yield np.where(missing, 0.0, np.interp(numbers, self.knots, self.places))
        if self.has_missing:
            yield missing

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
class Flag:
    """A boolean, or a number with two values: -1 for the low one, 1 for the high one, 0 where missing."""

    column: Column
    low: float
    high: float

    @property
    def features(self) -> tuple[Feature, ...]:
        """What `encode` yields, in its order."""
        return (Feature(self.column.name, self.column.name, "boolean"),)

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Columns of `Batch.num`, one array (n_rows,) for each feature."""
        if self.column.kind == "boolean":
            numbers = as_booleans(self.column, values)
        else:
            numbers = _tamed(CONVERSIONS[self.column.kind](self.column, values))
        between = np.clip((numbers - self.low) / (self.high - self.low), 0.0, 1.0)
        yield np.where(np.isnan(numbers), 0.0, 2 * between - 1)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "flag", "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Date:
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

    @property
    def features(self) -> tuple[Feature, ...]:
        """What `encode` yields, in its order."""
        name = self.column.name
        waves = [f"{part} {wave}" for part in self.parts for wave in ("sin", "cos")]
        return (*self.number.features, *(Feature(f"{name} ({wave})", name, "date") for wave in waves))

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Columns of `Batch.num`, one array (n_rows,) for each feature."""
        dates = as_dates(self.column, values)
        yield from self.number.encode_numbers(days(dates) - self.newest)
        if self.local and self.column.zone is not None:
            dates = as_local_dates(self.column, values)
        missing = np.isnat(dates)
        dates = np.where(missing, np.datetime64(0, "us"), dates)
        for name in self.parts:
            part, period = DATE_PARTS[name]
            yield from _waves(part(dates) * (2 * np.pi / period), missing)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return self.number.to_json() | {
            "coder": "date",
            "parts": list(self.parts),
            "newest": self.newest,
            "local": self.local,
        }


@dataclass(frozen=True)
class Time:
    """A time of day as seconds since midnight, and the sine and cosine of its place in the day."""

    column: Column
    number: Number

    @property
    def features(self) -> tuple[Feature, ...]:
        """What `encode` yields, in its order."""
        name = self.column.name
        waves = (Feature(f"{name} (day {wave})", name, "time") for wave in ("sin", "cos"))
        return (*self.number.features, *waves)

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Columns of `Batch.num`, one array (n_rows,) for each feature."""
        seconds = as_times(self.column, values)
        yield from self.number.encode_numbers(seconds)
        missing = np.isnan(seconds)
        yield from _waves(np.where(missing, 0.0, seconds) * (2 * np.pi / DAY_S), missing)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return self.number.to_json() | {"coder": "time"}


@dataclass(frozen=True)
class Category:
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
    def features(self) -> tuple[Feature, ...]:
        """What `encode` yields: nothing."""
        return ()

    @cached_property
    def _code_of(self) -> dict[str | None, int]:
        codes: dict[str | None, int] = {level: code for code, level in enumerate(self.levels, start=RARE + 1)}
        return codes | {None: MISSING}

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Columns of `Batch.num`: none."""
        yield from ()

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """A column of `Batch.cat` (n_rows,)."""
        levels = as_levels(self.column, values).tolist()
        code_of = self._code_of
        new = {level for level in levels if level not in code_of}
        if new:  # they may be known in another writing
            code_of = code_of | {level: code_of.get(self._find(level), RARE) for level in new}
        return np.fromiter(map(code_of.__getitem__, levels), dtype=np.int64, count=len(levels))

    @cached_property
    def _find(self) -> Callable[[str], str | None]:
        find = level_finder(self.levels)
        return lambda level: find(level) or ""

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "category", "levels": list(self.levels)}


@dataclass(frozen=True)
class Ordered:
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

    @property
    def features(self) -> tuple[Feature, ...]:
        """What `encode` yields, in its order."""
        return (Feature(f"{self.column.name} (order)", self.column.name, "order"),)

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Columns of `Batch.num`, one array (n_rows,) for each feature."""
        places = np.linspace(-1.0, 1.0, len(self.column.levels))
        place_of: dict[str | None, float] = dict(zip(self.column.levels, places.tolist(), strict=True))
        find = level_finder(self.column.levels)
        levels = as_levels(self.column, values).tolist()
        place_of |= {
            each: place_of.get(find(each), 0.0) for each in {*levels} if each not in place_of and each
        }
        yield np.fromiter(map(place_of.get, levels, repeat(0.0)), dtype=np.float64, count=len(levels))

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """A column of `Batch.cat` (n_rows,)."""
        return self.category.codes(values)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return self.category.to_json() | {"coder": "ordered"}


@dataclass(frozen=True)
class Text:
    """Free text as its place along a few directions of `TextVectors`, its length, its absence."""

    column: Column
    vectors: TextVectors
    has_missing: bool  # among the training rows

    @classmethod
    def fit(cls, column: Column, values: NDArray[Any], width: int) -> "Text":
        """Learn from the values of training rows; width: directions, at most."""
        texts = as_levels(column, values).tolist()
        distinct = list(dict.fromkeys(text for text in texts if text is not None))
        return cls(column, TextVectors.fit(distinct, width), None in texts)

    @property
    def features(self) -> tuple[Feature, ...]:
        """What `encode` yields, in its order."""
        name = self.column.name
        tells = [*(f"text {i + 1}" for i in range(self.vectors.width)), "words"]
        features = [Feature(f"{name} ({tell})", name, "text") for tell in tells]
        return (*features, *(Feature(f"{name} (missing)", name, "missing") for _ in range(self.has_missing)))

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Columns of `Batch.num`: the vectors as one array (n_rows, n_features), then what is missing."""
        texts = as_levels(self.column, values).tolist()
        place: dict[str | None, int] = {text: 0 for text in texts if text is not None}
        place = {text: i for i, text in enumerate(place)} | {None: len(place)}
        vectors = _smooth_clip(self.vectors.transform([text for text in place if text is not None]))
        vectors = np.vstack([vectors, np.zeros(self.vectors.width + 1)])
        yield vectors[[place[text] for text in texts]]
        if self.has_missing:
            yield is_missing(values)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {
            "coder": "text",
            "has_missing": self.has_missing,
            "n_word_terms": self.vectors.n_word_terms,
        }


@dataclass(frozen=True)
class Nothing:
    """A number that is the same in nearly all rows; it is read and checked, and not used."""

    column: Column

    @property
    def features(self) -> tuple[Feature, ...]:
        """What `encode` yields: nothing."""
        return ()

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Columns of `Batch.num`: none."""
        CONVERSIONS[self.column.kind](self.column, values)
        yield from ()

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "nothing"}


@dataclass(frozen=True)
class Plain:
    """A number, boolean, date, time or duration as one number, unscaled."""

    column: Column
    fill: float  # for missing values

    @property
    def features(self) -> tuple[Feature, ...]:
        """What `encode` yields, in its order."""
        return (Feature(self.column.name, self.column.name, "plain"),)

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Columns of `Batch.num`, one array (n_rows,) for each feature."""
        numbers = plain_numbers(self.column, values)
        yield np.where(np.isnan(numbers), self.fill, numbers)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "plain", "fill": self.fill}


@dataclass(frozen=True)
class Levels:
    """A category as a column of 0 and 1 for each of its levels."""

    column: Column

    @property
    def features(self) -> tuple[Feature, ...]:
        """What `encode` yields, in its order."""
        name = self.column.name
        return tuple(Feature(f"{name} = {level}", name, "level") for level in self.column.levels)

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Columns of `Batch.num`, one array (n_rows,) for each feature."""
        find, levels = level_finder(self.column.levels), as_levels(self.column, values).tolist()
        known = {level: find(level) for level in {*levels} if level is not None}
        present = np.array([known.get(level) for level in levels], dtype=object)
        for level in self.column.levels:
            yield present == level

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        return {"coder": "levels"}


Coder = Number | Flag | Date | Time | Category | Ordered | Text | Nothing | Plain | Levels


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


def _waves(angle: NDArray[Any], missing: NDArray[np.bool_]) -> Iterator[Floats]:
    """Sine and cosine of an angle, 0 where missing."""
    yield np.where(missing, 0.0, np.sin(angle))
    yield np.where(missing, 0.0, np.cos(angle))


def _tamed(numbers: Floats) -> Floats:
    """Numbers whose differences and ratios fit into float64: cut off at 1e150, 0 if smaller than 1e-150."""
    return np.where(np.abs(numbers) < 1e-150, 0.0, np.clip(numbers, -1e150, 1e150))


def _smooth_clip(x: Floats) -> Floats:
    """Squash as x / sqrt(1 + (x / 3)^2): the identity near 0, bounded by 3 (RealMLP, arXiv:2407.04491)."""
    x = np.clip(x, -1e8, 1e8)  # its square must not overflow
    return x / np.sqrt(1 + (x / CLIP) ** 2)


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
    values = levels.tolist()
    place = {level: i for i, level in enumerate(dict.fromkeys(values))}
    codes = np.fromiter(map(place.__getitem__, values), np.int64, count=len(values))
    units = weight.astype(np.float64) / float(weight.min())
    counts = np.bincount(codes, units, len(place)).round().astype(np.int64).tolist()
    counted = Counter(dict(zip(place, counts, strict=True)))
    counted.pop(None, None)
    return counted, int(units.sum())
