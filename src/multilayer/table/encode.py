"""Rows of a table become the arrays a network reads. Learnt on training rows only; NumPy only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError
from multilayer.table.read import Table
from multilayer.table.schema import (
    Column,
    Dates,
    Schema,
    as_booleans,
    as_dates,
    as_levels,
    as_numbers,
    count_levels,
    days,
    frequent_levels,
)
from multilayer.table.target import TargetStatistics

MISSING, RARE = 0, 1  # category codes; levels follow from 2
N_QUANTILES = 1024  # knots of the rank channel: RealMLP-like resolution without storing the training column
CLIP = 3.0  # largest scaled value, as in RealMLP
FEWEST_ROWS = 10  # a number that is the same in all but fewer rows tells too little to be learnt from
MOST_STATISTICS = 64  # numbers with target statistics: those with the most distinct values

Channel = Literal["scaled", "rank", "missing", "boolean", "date", "target"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Batch:
    """Encoded rows; the only thing that passes from table/ to nn/ and train/.

    num: float32 (n_rows, n_num)  numbers, booleans and date parts, all within [-3, 3], no NaN
    cat: int64   (n_rows, n_cat)  category codes; 0 is missing, 1 is rare or never seen

    >>> batch = Batch(np.zeros((3, 2), dtype=np.float32), np.zeros((3, 1), dtype=np.int64))
    >>> batch.take([0, 2]).n_rows
    2
    """

    num: NDArray[np.float32]
    cat: NDArray[np.int64]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.num)

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> "Batch":
        """Only these rows, in this order."""
        index = np.asarray(rows, dtype=np.int64)
        return Batch(self.num[index], self.cat[index])


@dataclass(frozen=True)
class Feature:
    """One column of `Batch.num`: its name, such as "age (rank)", its table column, what it tells of it."""

    name: str
    column: str
    channel: Channel


class Encoder:
    """Encodes tables of one schema as `Batch`es.

    number     "scaled": robust-scaled by median and interquartile range, then smoothly clipped to (-3, 3);
               "rank": place among the training values, from -1 to 1; "missing": 1 where there is no value.
               With two distinct values: as a boolean. The same in all but a few rows: not at all
    boolean    -1, 1, and 0 where missing
    date       days since 1970 as a number, and sine and cosine of month, weekday and hour
    category   a code: 0 missing, 1 rare or never seen, then the frequent levels
    and, after `learn_target`, of categories and numbers "target": see `TargetStatistics`

    Source:  RealMLP, Holzmüller et al. 2024, arXiv:2407.04491 (robust scaling, smooth clipping)
    Differs: a rank channel stands beside the scaled one

    Attributes:
        schema: the schema it was fitted with.
        num_features: one `Feature` for each column of `Batch.num`.
        cat_names: one column name for each column of `Batch.cat`.
        cardinalities: number of codes of each column of `Batch.cat`.

    >>> from multilayer.table.schema import infer_schema
    >>> table = Table({"age": np.array([20.0, 30.0, 40.0, np.nan]),
    ...                "city": np.array(["Rome", "Rome", "Oslo", None], dtype=object)})
    >>> encoder = Encoder.fit(table, infer_schema(table))
    >>> [feature.name for feature in encoder.num_features], encoder.cat_names, encoder.cardinalities
    (['age', 'age (rank)', 'age (missing)'], ('city',), (3,))
    >>> encoder.transform(table).cat.ravel()
    array([2, 2, 1, 0])
    """

    def __init__(
        self, schema: Schema, coders: Sequence["_Coder"], target: TargetStatistics | None = None
    ) -> None:
        self.schema = schema
        self._coders = tuple(coders)
        self._target = target
        self._coded = tuple(feature for coder in self._coders for feature in coder.features)
        self.num_features = self._coded + tuple(
            Feature(f"{statistic.column} (target)", statistic.column, "target")
            for statistic in (target.statistics if target else ())
        )
        categories = [coder for coder in self._coders if isinstance(coder, _Category)]
        self.cat_names = tuple(coder.column.name for coder in categories)
        self.cardinalities = tuple(len(coder.levels) + 2 for coder in categories)

    @classmethod
    def fit(cls, table: Table, schema: Schema) -> "Encoder":
        """Learn scales, quantiles and levels from these rows.

        Raises:
            DataError: the table has no rows, or (as SchemaError) does not match the schema.
        """
        if table.n_rows == 0:
            raise DataError("An encoder learns from at least one row; got none.")
        coders = [_fit_coder(column, table[column.name], FEWEST_ROWS) for column in schema.columns]
        if all(isinstance(coder, _Nothing) for coder in coders):
            coders = [_fit_coder(column, table[column.name], 0) for column in schema.columns]
        return cls(schema, coders)

    @property
    def unused(self) -> tuple[str, ...]:
        """Columns that varied in too few of the rows it was fitted on to be learnt from."""
        return tuple(coder.column.name for coder in self._coders if isinstance(coder, _Nothing))

    def with_levels(self, levels: Mapping[str, tuple[str, ...]]) -> "Encoder":
        """The same encoder with these levels of categories, by column name, instead of those it saw."""
        coders = [
            _Category(coder.column, levels[coder.column.name])
            if isinstance(coder, _Category) and coder.column.name in levels
            else coder
            for coder in self._coders
        ]
        return Encoder(self.schema, coders, self._target)

    def learn_target(
        self,
        batch: Batch,
        positive: NDArray[np.floating[Any]],
        weight: NDArray[np.floating[Any]] | None,
        folds: NDArray[np.int64],
    ) -> tuple["Encoder", Batch]:
        """An encoder with target statistics, and the training rows encoded by it, each row out of its fold.

        Args:
            batch: what `transform` makes of the training rows.
            positive: 1 for rows of the positive class, 0 for others (n_rows,).
            weight: of each row; None weighs all alike.
            folds: fold of each row (n_rows,); a row's own fold does not enter its statistics.
        """
        ranks = [(i, f.column) for i, f in enumerate(self._coded) if f.channel == "rank"]
        ranks = most_varied(batch.num, ranks, MOST_STATISTICS)
        target, columns = TargetStatistics.fit(
            batch.num, batch.cat, ranks, self.cat_names, positive.astype(np.float64), weight, folds
        )
        return Encoder(self.schema, self._coders, target), Batch(np.hstack([batch.num, columns]), batch.cat)

    def transform(self, table: Table) -> Batch:
        """Encode rows; SchemaError if a value is not of its column's kind, DataError for an absent column."""
        num = np.empty((table.n_rows, len(self._coded)), dtype=np.float32)
        cat = np.empty((table.n_rows, len(self.cat_names)), dtype=np.int64)
        num_place, cat_place = iter(range(num.shape[1])), iter(range(cat.shape[1]))
        for coder in self._coders:
            for encoded in coder.encode(table[coder.column.name]):
                if isinstance(coder, _Category):
                    cat[:, next(cat_place)] = encoded
                else:
                    num[:, next(num_place)] = encoded
        if self._target is not None:
            num = np.hstack([num, self._target.transform(num, cat)])
        return Batch(num, cat)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What `from_state` needs: arrays for a tensor file, and the rest as JSON-able values."""
        numbers = [coder.number for coder in self._coders if isinstance(coder, _Number | _Date)]
        arrays = {
            name: np.concatenate([np.zeros(0), *(getattr(number, name) for number in numbers)])
            for name in ("knots", "places")
        }
        rest: dict[str, Any] = {
            "schema": self.schema.to_json(),
            "coders": [coder.to_json() for coder in self._coders],
        }
        if self._target is not None:
            target_arrays, rest["target"] = self._target.state()
            arrays |= target_arrays
        return arrays, rest

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], rest: Mapping[str, Any]) -> "Encoder":
        """The encoder that `state` described; it transforms to the same bits."""
        schema = Schema.from_json(rest["schema"])
        coders: list[_Coder] = []
        start = 0
        for column, plan in zip(schema.columns, rest["coders"], strict=True):
            stop = start + plan.get("n_knots", 0)
            knots, places = (np.array(arrays[name][start:stop], np.float64) for name in ("knots", "places"))
            coders.append(_coder_from_json(column, plan, knots, places))
            start = stop
        target = TargetStatistics.from_state(arrays, rest["target"]) if "target" in rest else None
        return cls(schema, coders, target)


@dataclass(frozen=True)
class _Number:
    """A number: its size ("scaled"), its place among the training values ("rank"), its absence."""

    column: Column
    center: float  # median
    width: float  # interquartile range, or else half the range; 0 for a constant
    has_missing: bool  # among the training rows
    knots: Floats  # (n_knots,) distinct training quantiles, ascending; none: no rank channel
    places: Floats  # (n_knots,) their places, in [-1, 1]

    @classmethod
    def fit(cls, column: Column, numbers: Floats) -> "_Number":
        present = np.sort(_tamed(numbers[~np.isnan(numbers)]))
        has_missing = len(present) < len(numbers)
        if len(present) == 0:
            return cls(column, 0.0, 0.0, has_missing, np.zeros(0), np.zeros(0))
        low, center, high = np.percentile(present, [25, 50, 75])
        width = high - low if high > low else (present[-1] - present[0]) / 2
        knots, places = _quantiles(present)
        return cls(column, float(center), float(width), has_missing, knots, places)

    @property
    def number(self) -> "_Number":
        return self

    @property
    def features(self) -> tuple[Feature, ...]:
        name = self.column.name
        features = [Feature(name, name, "scaled")]
        if len(self.knots):
            features.append(Feature(f"{name} (rank)", name, "rank"))
        if self.has_missing:
            features.append(Feature(f"{name} (missing)", name, "missing"))
        return tuple(features)

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        yield from self.encode_numbers(as_numbers(self.column, values))

    def encode_numbers(self, numbers: Floats) -> Iterator[NDArray[Any]]:
        missing = np.isnan(numbers)
        numbers = np.where(missing, self.center, _tamed(numbers))
        yield _smooth_clip((numbers - self.center) / self.width) if self.width else np.zeros(len(numbers))
        if len(self.knots):
            yield np.where(missing, 0.0, np.interp(numbers, self.knots, self.places))
        if self.has_missing:
            yield missing

    def to_json(self) -> dict[str, Any]:
        return {
            "coder": "number",
            "center": self.center,
            "width": self.width,
            "has_missing": self.has_missing,
            "n_knots": len(self.knots),
        }


@dataclass(frozen=True)
class _Flag:
    """A boolean, or a number with two values: -1 for the low one, 1 for the high one, 0 where missing."""

    column: Column
    low: float
    high: float

    @property
    def features(self) -> tuple[Feature, ...]:
        return (Feature(self.column.name, self.column.name, "boolean"),)

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        if self.column.kind == "boolean":
            numbers = as_booleans(self.column, values)
        else:
            numbers = _tamed(as_numbers(self.column, values))
        between = np.clip((numbers - self.low) / (self.high - self.low), 0.0, 1.0)
        yield np.where(np.isnan(numbers), 0.0, 2 * between - 1)

    def to_json(self) -> dict[str, Any]:
        return {"coder": "flag", "low": self.low, "high": self.high}


@dataclass(frozen=True)
class _Date:
    """A date as a number of days, and the sine and cosine of its cyclic parts."""

    column: Column
    number: _Number
    parts: tuple[str, ...]  # those that varied among the training rows

    @classmethod
    def fit(cls, column: Column, values: NDArray[Any]) -> "_Date":
        dates = as_dates(column, values)
        present = dates[~np.isnat(dates)]
        parts = tuple(name for name, (part, _) in DATE_PARTS.items() if len(np.unique(part(present))) > 1)
        return cls(column, _Number.fit(column, days(dates)), parts)

    @property
    def features(self) -> tuple[Feature, ...]:
        name = self.column.name
        waves = [f"{part} {wave}" for part in self.parts for wave in ("sin", "cos")]
        return (*self.number.features, *(Feature(f"{name} ({wave})", name, "date") for wave in waves))

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        dates = as_dates(self.column, values)
        yield from self.number.encode_numbers(days(dates))
        missing = np.isnat(dates)
        dates = np.where(missing, np.datetime64(0, "us"), dates)
        for name in self.parts:
            part, period = DATE_PARTS[name]
            angle = part(dates) * (2 * np.pi / period)
            yield np.where(missing, 0.0, np.sin(angle))
            yield np.where(missing, 0.0, np.cos(angle))

    def to_json(self) -> dict[str, Any]:
        return self.number.to_json() | {"coder": "date", "parts": list(self.parts)}


@dataclass(frozen=True)
class _Category:
    """A category as a code; see the codes at the head of the file."""

    column: Column
    levels: tuple[str, ...]

    @classmethod
    def fit(cls, column: Column, values: NDArray[Any]) -> "_Category":
        return cls(column, frequent_levels(count_levels(as_levels(column, values)), len(values)))

    @property
    def features(self) -> tuple[Feature, ...]:
        return ()

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        codes: dict[str | None, int] = {level: code for code, level in enumerate(self.levels, start=RARE + 1)}
        codes[None] = MISSING
        levels = as_levels(self.column, values).tolist()
        yield np.fromiter(map(codes.get, levels, repeat(RARE)), dtype=np.int64, count=len(levels))

    def to_json(self) -> dict[str, Any]:
        return {"coder": "category", "levels": list(self.levels)}


@dataclass(frozen=True)
class _Nothing:
    """A number that is the same in nearly all rows; it is read and checked, and not used."""

    column: Column

    @property
    def features(self) -> tuple[Feature, ...]:
        return ()

    def encode(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        as_numbers(self.column, values)
        yield from ()

    def to_json(self) -> dict[str, Any]:
        return {"coder": "nothing"}


_Coder = _Number | _Flag | _Date | _Category | _Nothing


def _fit_coder(column: Column, values: NDArray[Any], fewest_rows: int) -> _Coder:
    if column.kind == "category":
        return _Category.fit(column, values)
    if column.kind == "date":
        return _Date.fit(column, values)
    if column.kind == "boolean":
        return _Flag(column, 0.0, 1.0)
    numbers = as_numbers(column, values)
    if _rows_that_differ(numbers) < min(fewest_rows, len(numbers) // 100):
        return _Nothing(column)
    coder = _Number.fit(column, numbers)
    present = _tamed(numbers[~np.isnan(numbers)])
    if not len(coder.knots) and coder.width:  # two distinct values
        return _Flag(column, float(present.min()), float(present.max()))
    return coder


def _rows_that_differ(numbers: Floats) -> int:
    """Rows without the most frequent value; all missing values count as one."""
    return len(numbers) - int(np.unique(numbers, return_counts=True)[1].max())


def most_varied(
    num: NDArray[np.float32], places: list[tuple[int, str]], most: int, *, fewest_values: int = 0
) -> list[tuple[int, str]]:
    """Of these columns of `num` (place, name), those with the most distinct values, in their order.

    fewest_values: columns with fewer are left out, however few there are
    """
    if len(places) <= most and not fewest_values:
        return places
    n_distinct = np.array([len(np.unique(num[:, place])) for place, _ in places], np.int64)
    kept = np.sort(np.argsort(n_distinct, kind="stable")[::-1][:most])
    return [places[i] for i in kept if n_distinct[i] >= fewest_values]


def _coder_from_json(column: Column, plan: Mapping[str, Any], knots: Floats, places: Floats) -> _Coder:
    if plan["coder"] == "category":
        return _Category(column, tuple(plan["levels"]))
    if plan["coder"] == "nothing":
        return _Nothing(column)
    if plan["coder"] == "flag":
        return _Flag(column, plan["low"], plan["high"])
    number = _Number(column, plan["center"], plan["width"], plan["has_missing"], knots, places)
    return _Date(column, number, tuple(plan["parts"])) if plan["coder"] == "date" else number


def _month(dates: Dates) -> NDArray[Any]:
    return dates.astype("datetime64[M]").astype(np.int64) % 12


def _weekday(dates: Dates) -> NDArray[Any]:
    return (dates.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0


def _hour(dates: Dates) -> NDArray[Any]:
    return (dates - dates.astype("datetime64[D]")) / np.timedelta64(1, "h")


# name -> (the part of a date, its period in the same unit)
DATE_PARTS: dict[str, tuple[Callable[[Dates], NDArray[Any]], int]] = {
    "month": (_month, 12),
    "weekday": (_weekday, 7),
    "hour": (_hour, 24),
}


def _tamed(numbers: Floats) -> Floats:
    """Numbers whose differences and ratios fit into float64: cut off at 1e150, 0 if smaller than 1e-150."""
    return np.where(np.abs(numbers) < 1e-150, 0.0, np.clip(numbers, -1e150, 1e150))


def _smooth_clip(x: Floats) -> Floats:
    """Squash as x / sqrt(1 + (x / 3)^2): the identity near 0, bounded by 3 (RealMLP, arXiv:2407.04491)."""
    x = np.clip(x, -1e8, 1e8)  # its square must not overflow
    return x / np.sqrt(1 + (x / CLIP) ** 2)


def _quantiles(present: Floats) -> tuple[Floats, Floats]:
    """Distinct quantiles of sorted values, and their places in [-1, 1]; equal ones share their mean place.

    None for fewer than 3 distinct values: their ranks say no more than the values.
    """
    if np.count_nonzero(np.diff(present)) < 2:
        return np.zeros(0), np.zeros(0)
    picked = np.linspace(0, len(present) - 1, min(len(present), N_QUANTILES)).round().astype(np.int64)
    knots, first, counts = np.unique(present[picked], return_index=True, return_counts=True)
    places = (first + (counts - 1) / 2) / (len(picked) - 1)
    return knots, 2 * places - 1
