"""Rows of a table become the arrays a network reads. Learnt on training rows only; NumPy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError
from multilayer.table.column import AS_WRITTEN
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.category import Category
from multilayer.table.kinds.date import Date
from multilayer.table.kinds.kind import Coder, Learning
from multilayer.table.kinds.number import Nothing
from multilayer.table.schema import Schema
from multilayer.table.sources.read import Table
from multilayer.table.target_encoding import TargetStatistics
from multilayer.table.text import WIDTH

MOST_STATISTICS = 64  # numbers with target statistics: those with the most distinct values
FEWEST_ROWS = 10  # a number that is the same in all but fewer rows tells too little to be learnt from
SHARED = ("knots", "places")  # arrays of coders that a model file has one behind the other
MOST_DIRECTIONS = 192  # that all columns of text share; each has at least 8

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Batch:
    """Encoded rows; the only thing that passes from table/ to nn/ and train/.

    num: float32 (n_rows, n_num)  numbers, booleans, parts of dates and texts, all within [-3, 3], no NaN
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


class Encoder:
    """Encodes tables of one schema as `Batch`es.

    number     "scaled": robust-scaled by median and interquartile range, then smoothly clipped to (-3, 3);
               "rank": place among the training values, from -1 to 1; "missing": 1 where there is no value.
               With two distinct values: as a boolean. The same in all but a few rows: not at all
    boolean    -1, 1, and 0 where missing
    date       days since the newest training date as a number; sine and cosine of month, day of the month and
               of the year, weekday and hour, as the column's time zone has them
    time       seconds since midnight as a number, and sine and cosine of the place in the day
    duration   seconds as a number
    category   a code: 0 missing, 1 rare or never seen, then the frequent levels
    ordered    a code, and "order": the place in the order, from -1 to 1
    text       up to 48 numbers of its words and their pieces, and its number of words: see `TextVectors`
    and, after `learn_target`, of categories and numbers "target": see `TargetStatistics`

    Source:  RealMLP, Holzmüller et al. 2024, arXiv:2407.04491 (robust scaling, smooth clipping)
    Differs: a rank channel stands beside the scaled one

    Attributes:
        schema: the schema it was fitted with.
        coders: one for each column of the schema; their `outputs` and `code` say by which steps.
        target_encoding: what `learn_target` learnt; None without it.
        num_features: one `Feature` for each column of `Batch.num`: the coders', then target statistics.
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
        self, schema: Schema, coders: Sequence[Coder], target_encoding: TargetStatistics | None = None
    ) -> None:
        self.schema = schema
        self.coders = tuple(coders)
        self.target_encoding = target_encoding
        self._coded = tuple(feature for coder in self.coders for feature in coder.features)
        statistics = target_encoding.statistics if target_encoding else ()
        self.num_features = self._coded + tuple(statistic.feature for statistic in statistics)
        codes = [(coder.column.name, coder.code) for coder in self.coders]
        self.cat_names = tuple(name for name, code in codes if code is not None)
        self.cardinalities = tuple(code.cardinality for _, code in codes if code is not None)

    @classmethod
    def fit(cls, table: Table, schema: Schema, weight: NDArray[np.floating[Any]] | None = None) -> "Encoder":
        """Learn scales, quantiles and levels from these rows.

        weight: of each row, positive; medians, quantiles and counts of levels are of the weighted rows. None
            weighs all alike.

        Raises:
            DataError: the table has no rows, or (as SchemaError) does not match the schema.
        """
        if table.n_rows == 0:
            raise DataError("An encoder learns from at least one row; got none.")
        n_texts = sum(kind_of(column).is_free_text for column in schema.columns)
        width = min(WIDTH, max(8, MOST_DIRECTIONS // max(1, n_texts)))
        columns = [(column, table[column.name]) for column in schema.columns]
        for fewest_rows in (FEWEST_ROWS, 0):
            learning = Learning(weight, fewest_rows, width)
            coders = [kind_of(column).fit(column, values, learning) for column, values in columns]
            if not all(isinstance(coder, Nothing) for coder in coders):
                break
        return cls(schema, coders)

    @classmethod
    def plain(cls, schema: Schema, fills: Mapping[str, float]) -> "Encoder":
        """An encoder that scales nothing: numbers as they come, dates in days, booleans as 0 and 1, and a
        column of 0 and 1 for each level of a category (none is 1 where it is missing, rare or new).

        fills: column name -> what stands for a missing number, boolean or date; 0 where it is not named

        >>> from multilayer.table.schema import infer_schema
        >>> city = np.array(["Rome", "Rome", None], object)
        >>> table = Table({"age": np.array([20.0, 30.0, np.nan]), "city": city})
        >>> encoder = Encoder.plain(infer_schema(table), {"age": 25.0})
        >>> [feature.name for feature in encoder.num_features], encoder.transform(table).num[2]
        (['age', 'city = Rome'], array([25.,  0.], dtype=float32))
        """
        coders = []
        for column in schema.columns:
            kind, plan = kind_of(column), {"fill": float(fills.get(column.name, 0.0))}
            coders.append(kind.coders["levels" if kind.has_levels else "plain"].make(column, plan, {}))
        return cls(schema, coders)

    @property
    def unused(self) -> tuple[str, ...]:
        """Columns that varied in too few of the rows it was fitted on to be learnt from."""
        return tuple(coder.column.name for coder in self.coders if isinstance(coder, Nothing))

    def with_levels(self, levels: Mapping[str, tuple[str, ...]]) -> "Encoder":
        """The same encoder with these levels of categories, by column name, instead of those it saw."""
        coders = [
            replace(coder, levels=levels[coder.column.name])
            if isinstance(coder, Category) and coder.column.name in levels
            else coder
            for coder in self.coders
        ]
        return Encoder(self.schema, coders, self.target_encoding)

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
        return Encoder(self.schema, self.coders, target), Batch(np.hstack([batch.num, columns]), batch.cat)

    def transform(self, table: Table) -> Batch:
        """Encode rows; SchemaError if a value is not of its column's kind, DataError for an absent column."""
        n_rows = table.n_rows
        num = np.empty((n_rows, len(self._coded)), dtype=np.float32)
        cat = np.empty((n_rows, len(self.cat_names)), dtype=np.int64)
        num_place = cat_place = 0
        for coder in self.coders:
            coder = _in_zone_of(table, coder)
            cells = kind_of(coder.column).cells(coder.column, table[coder.column.name])
            for encoded in coder.encode(cells):
                width = 1 if encoded.ndim == 1 else encoded.shape[1]
                num[:, num_place : num_place + width] = encoded.reshape(n_rows, width)
                num_place += width
            if coder.code is not None:
                cat[:, cat_place] = coder.codes(cells)
                cat_place += 1
        if self.target_encoding is not None:
            num = np.hstack([num, self.target_encoding.transform(num, cat)])
        return Batch(num, cat)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What `from_state` needs: arrays for a tensor file, and the rest as JSON-able values."""
        shared: dict[str, list[NDArray[Any]]] = {name: [np.zeros(0)] for name in SHARED}
        own: dict[str, NDArray[Any]] = {}
        plans = [coder.to_json() for coder in self.coders]
        for i, (coder, plan) in enumerate(zip(self.coders, plans, strict=True)):
            for name, array in coder.arrays().items():
                if name in SHARED:
                    shared[name].append(array)
                else:
                    own[f"{plan['coder']}.{i}.{name}"] = array
        arrays = {name: np.concatenate(parts) for name, parts in shared.items()} | own
        rest: dict[str, Any] = {"schema": self.schema.to_json(), "coders": plans}
        if self.target_encoding is not None:
            target_arrays, rest["target"] = self.target_encoding.state()
            arrays |= target_arrays
        return arrays, rest

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], rest: Mapping[str, Any]) -> "Encoder":
        """The encoder that `state` described; it transforms to the same bits."""
        schema = Schema.from_json(rest["schema"])
        coders: list[Coder] = []
        start = 0
        for i, (column, plan) in enumerate(zip(schema.columns, rest["coders"], strict=True)):
            stop = start + plan.get("n_knots", 0)
            of_coder = {name: np.array(arrays[name][start:stop], np.float64) for name in SHARED}
            prefix = f"{plan['coder']}.{i}."
            of_coder |= {n.removeprefix(prefix): arrays[n] for n in arrays if n.startswith(prefix)}
            coders.append(kind_of(column).coders[plan["coder"]].make(column, plan, of_coder))
            start = stop
        target = TargetStatistics.from_state(arrays, rest["target"]) if "target" in rest else None
        return cls(schema, coders, target)


def _in_zone_of(table: Table, coder: Coder) -> Coder:
    """Dates that came as text with an offset each are read by the zone of a table that has one for them."""
    note = table.notes.get(coder.column.name)
    if isinstance(coder, Date) and coder.column.zone == AS_WRITTEN and note is not None and note.zone:
        return replace(coder, column=replace(coder.column, zone=note.zone))
    return coder


def most_varied(
    num: NDArray[np.float32], places: list[tuple[int, str]], most: int, *, fewest_values: int = 0
) -> list[tuple[int, str]]:
    """Of these columns of `num` (place, name), those with the most distinct values, in their order.

    fewest_values: columns with fewer distinct values are left out, even if none remains
    """
    if len(places) <= most and not fewest_values:
        return places
    n_distinct = np.array([len(np.unique(num[:, place])) for place, _ in places], np.int64)
    kept = np.sort(np.argsort(n_distinct, kind="stable")[::-1][:most])
    return [places[i] for i in kept if n_distinct[i] >= fewest_values]
