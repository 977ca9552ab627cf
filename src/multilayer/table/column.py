"""`Column`: what is known of one column of a table, and how that reads."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from multilayer.errors import ConfigError, nearest

Kind = Literal["number", "boolean", "category", "ordered", "date", "time", "duration", "text"]
Infinite = Literal["error", "clip"]

KINDS: tuple[str, ...] = get_args(Kind)
OF_TEXT = ("category", "ordered", "text")  # kinds whose values are text
NUMERIC = ("number", "duration")  # kinds that may hold infinities
AS_WRITTEN = "as written"  # the zone of date texts that each give an offset of their own
DAY_S = 86_400
_UNITS = (("d", DAY_S), ("h", 3_600), ("min", 60))


@dataclass(frozen=True)
class Column:
    """One column of the table that a model is fitted on.

    low, high: smallest and largest finite value of a number; of a date, in days since 1970-01-01; of a time
        of day or a duration, in seconds; of text, in words; else None
    levels:    of a category, the values seen often enough to tell apart, most frequent first;
               of an ordered category, all values, lowest first
    date_format: of dates that came as text: "ISO 8601" or a strptime pattern
    example:   the first value, as text
    zone:      of dates: the time zone whose clock and calendar count: an IANA name, an offset such as
               "+02:00", or "as written" for texts with an offset each; None is UTC
    unit, thousands, decimal: how text writes a number: see `Writing`
    infinite:  of a number: "error" refuses infinities, "clip" takes them for `low` and `high`
    reason:    why it is of its kind, where that is not plain
    """

    name: str
    kind: Kind
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

    @property
    def is_as_written(self) -> bool:
        """Whether cells of text files are to stay as they are written: levels, text, numbers with a unit.

        >>> Column("version", "category").is_as_written, Column("n", "number").is_as_written
        (True, False)
        """
        plain = not self.unit and not self.thousands and self.decimal == "."
        return self.kind in OF_TEXT or (self.kind == "number" and not plain)

    @property
    def values_text(self) -> str:
        """Its range or its levels, in words, as a printed schema shows it."""
        parts = [_range_or_levels(self)]
        if self.zone is not None and self.kind == "date":
            parts.append(f"zone {self.zone}")
        if self.infinite == "clip" and self.kind in NUMERIC:
            parts.append("infinities clipped")
        if self.reason:
            parts.append(self.reason)
        return "; ".join(part for part in parts if part)


def check_kind(name: str, kind: Any) -> Kind:
    """The kind, if it is one.

    Raises:
        ConfigError: it is none.

    >>> check_kind("zip", "category")
    'category'
    """
    if kind not in KINDS:
        raise ConfigError(
            f"A kind must be one of {', '.join(KINDS)}, or a list of levels in their order; got {kind!r} for "
            f"column {name!r}.{nearest(str(kind), KINDS)}"
        )
    return kind


def _range_or_levels(column: Column) -> str:
    if column.kind in ("category", "ordered"):
        mark = " < " if column.kind == "ordered" else ", "
        shown = mark.join(level if len(level) <= 20 else level[:19] + "…" for level in column.levels[:4])
        return shown + (f"{mark}… ({len(column.levels)} levels)" if len(column.levels) > 4 else "")
    if column.kind == "boolean" or column.low is None or column.high is None:
        return ""
    if column.kind == "text":
        return f"{column.low:.0f} to {column.high:.0f} words"
    shown_as = {"date": _day_text, "time": _clock_text, "duration": _duration_text}
    as_text = shown_as.get(column.kind, "{:.6g}".format)
    return " to ".join(map(as_text, (column.low, column.high)))


def _day_text(days: float) -> str:
    moment = np.datetime64(round(days * DAY_S * 1_000_000), "us")
    return str(moment.astype("datetime64[D]" if days == int(days) else "datetime64[m]")).replace("T", " ")


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    clock = f"{int(minutes) // 60:02}:{int(minutes) % 60:02}"
    return f"{clock}:{rest:02.0f}" if rest else clock


def _duration_text(seconds: float) -> str:
    unit, size = next(((unit, size) for unit, size in _UNITS if abs(seconds) >= size), ("s", 1))
    return f"{seconds / size:.4g} {unit}"
