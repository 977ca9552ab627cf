"""`Column`: what is known about one column of a table."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from multilayer.errors import ConfigError, nearest

KindName = Literal["number", "boolean", "category", "ordered", "date", "time", "duration", "text"]
Infinite = Literal["error", "clip"]

KIND_NAMES: tuple[str, ...] = get_args(KindName)
AS_WRITTEN = "as written"  # the zone of date texts that each give an offset of their own
DAY_S = 86_400


@dataclass(frozen=True)
class Column:
    """One column of the table that a model is fitted on.

    low, high: smallest and largest finite value: of dates in days since 1970-01-01, of times and durations
               in seconds, of text in words; None for other kinds
    levels:    of a category, the values that were seen often enough to be told apart, most frequent first;
               of an ordered category, all values, lowest first
    date_format: format of dates that came as text: "ISO 8601" or a pattern of strptime
    example:   the first value, as text
    zone:      time zone whose clock and calendar count for dates: an IANA name, an offset such as "+02:00",
               or "as written" if each text has its own offset; None is UTC
    unit, thousands, decimal: how numbers are written that came as text; see `Writing`
    infinite:  "error" refuses infinite numbers, "clip" replaces them by `low` and `high`
    reason:    why the column is of its kind, if that is not plain
    """

    name: str
    kind: KindName
    n_missing: int = 0
    n_unique: int = 0
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] = ()
    date_format: str | None = None
    example: str | None = None
    zone: str | None = None
    infinite: Infinite = "error"
    reason: str | None = None
    unit: str = ""
    thousands: str = ""
    decimal: str = "."


def check_kind(name: str, kind: Any) -> KindName:
    """The kind, if it is one.

    Raises:
        ConfigError: it is none.

    >>> check_kind("zip", "category")
    'category'
    """
    if kind not in KIND_NAMES:
        raise ConfigError(
            f"A kind must be one of {', '.join(KIND_NAMES)}, or a list of levels in their order; got "
            f"{kind!r} for column {name!r}.{nearest(str(kind), KIND_NAMES)}"
        )
    return kind
