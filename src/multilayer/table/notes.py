"""What the type of a column says and a NumPy array cannot hold: time zones, orders, what seconds mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Note:
    """What the source of a column declared about it.

    kind:   "category" and "ordered" of a categorical or an enum, "time" and "duration" of what a `Table`
            holds as seconds, "date" of a date and time with a zone
    zone:   of a date: an IANA name such as "Europe/Oslo", or an offset such as "+02:00"
    levels: of "ordered": all of them as they came, lowest first
    """

    kind: Literal["category", "ordered", "time", "duration", "date"]
    zone: str | None = None
    levels: tuple[Any, ...] = ()


def note_of_series(series: Any) -> Note | None:
    """The note of a narwhals Series.

    A pandas Categorical is an enum if it is ordered.
    """
    import narwhals as nw

    dtype = series.dtype
    if isinstance(dtype, nw.Enum):
        return Note("ordered", levels=tuple(dtype.categories))
    if isinstance(dtype, nw.Categorical):
        return Note("category")
    if isinstance(dtype, nw.Datetime):
        return None if dtype.time_zone is None else Note("date", zone=str(dtype.time_zone))
    if isinstance(dtype, nw.Duration):
        return Note("duration")
    if isinstance(dtype, nw.Time):
        return Note("time")
    return note_of_objects(series.to_list()) if isinstance(dtype, nw.Object) else None


def note_of_sql(sql_type: str) -> Note | None:
    """The note of a DuckDB type.

    >>> note_of_sql("TIME").kind, note_of_sql("TIMESTAMP")
    ('time', None)
    """
    if sql_type == "INTERVAL":
        return Note("duration")
    is_time = sql_type.startswith("TIME") and not sql_type.startswith("TIMESTAMP")
    return Note("time") if is_time else None


def note_of_objects(values: Sequence[Any]) -> Note | None:
    """The note of Python objects: times of day or durations, where all that are not missing are.

    >>> note_of_objects([timedelta(hours=1), None]).kind, note_of_objects([1, 2])
    ('duration', None)
    """
    types = set(map(type, values)) - {type(None), float}  # a float may be NaN for missing; read_table judges
    types = {kind for kind in types if kind.__name__ not in ("NAType", "NaTType")}
    if types and all(issubclass(kind, time) for kind in types):
        return Note("time")
    if types and all(issubclass(kind, timedelta | np.timedelta64) for kind in types):
        return Note("duration")
    return None


def note_of_any(values: Any) -> Note | None:
    """The note of a list, an array or a Series of whatever library."""
    import narwhals as nw

    if isinstance(values, np.ndarray):
        if values.dtype.kind == "m":
            return Note("duration")
        return note_of_objects(values.tolist()) if values.dtype == object and values.ndim == 1 else None
    series = nw.from_native(values, series_only=True, pass_through=True)
    if isinstance(series, nw.Series):
        return note_of_series(series)
    return note_of_objects(values) if isinstance(values, list | tuple) else None
