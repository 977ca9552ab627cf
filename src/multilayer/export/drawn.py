"""Rows drawn at random for a model's columns: ordinary values, and the ends of everything."""

import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import SchemaError
from multilayer.table.column import AS_WRITTEN, DAY_S, Column
from multilayer.table.encode import Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.kind import Coder
from multilayer.table.sources.read import Table

MISSING_SHARE = 0.08
_ENDS = [0.0, -0.0, 1.0, -1.0, 5e-324, 1e-151, -1e-160, 1e300, -1e300, 0.5, 1e-9, DAY_S / 2, DAY_S - 1e-6]
_YEARS = ["0001-01-01", "1600-02-29", "1899-12-31T23:59:59.999999", "1900-02-28",
          "1969-12-31T23:59:59.999999", "1970-01-01",
          "2000-02-29T12:00", "2023-12-31T06:00", "2024-03-31T01:00", "2024-10-27T01:30",
          "2100-02-28T18:00", "9999-12-31"]  # fmt: skip
_LETTERS = [
    *string.ascii_letters,
    *string.digits,
    *" .,;-!?'\"\n\t",
    *"éüßøñÇİıŁ",
    *"жДπΣς",
    *"日本語한국어",
    "😀",
    "…",
    "½",
]

Random = np.random.Generator


def drawn_table(encoder: Encoder, exposure: str | None, n_rows: int, seed: int) -> Table:
    """Rows that a model of these columns can be asked about, missing and unseen values among them.

    Numbers are within the range of the fit, at its knots and the floats beside them, and far beyond; dates
    are of all years; texts are put together of letters and words.
    """
    rng = np.random.default_rng(seed)
    columns: dict[str, NDArray[Any]] = {}
    for coder in encoder.coders:
        columns[coder.column.name] = _column(coder, n_rows, rng)
    if exposure is not None and exposure not in columns:
        columns[exposure] = np.round(rng.uniform(0.1, 3.0, n_rows), 2)
    elif exposure is not None:
        columns[exposure] = np.abs(np.nan_to_num(columns[exposure], nan=1.0)) + 0.5
    return Table(columns)


def _column(coder: Coder, n_rows: int, rng: Random) -> NDArray[Any]:
    column, kind = coder.column, kind_of(coder.column)
    if kind.is_free_text:
        return _with_gaps(_texts(column, n_rows, rng), None, rng)
    if kind.has_levels:
        return _with_gaps(
            _of(_levels(column, getattr(coder, "levels", column.levels)), n_rows, rng), None, rng
        )
    if "M" in kind.dtypes:
        return _dates(column, n_rows, rng)
    return _with_gaps(_numbers(coder, n_rows, rng), np.nan, rng)


def _of(pool: Sequence[Any], n: int, rng: Random) -> NDArray[np.object_]:
    found = np.empty(n, object)
    found[:] = [pool[i] for i in rng.integers(0, len(pool), n)]
    return found


def _with_gaps(values: NDArray[Any], gap: Any, rng: Random) -> NDArray[Any]:
    values[rng.random(len(values)) < MISSING_SHARE] = gap
    return values


def _levels(column: Column, levels: Sequence[str]) -> list[str]:
    known = [*dict.fromkeys((*levels, *column.levels))]
    others = [level.upper() for level in known[:20]] + [f"{level} " for level in known[:5]]
    written = [f"{level}.0" for level in known[:20]] + [f"{level}00" for level in known[:20] if "." in level]
    pool = [
        *known * (1 + 60 // max(1, len(known))),
        *others,
        *written,
        "True",
        "FALSE",
        "never seen",
        "1.50",
        "π",
    ]
    return [level for level in pool if _is_whole(level)]


def _is_whole(text: str) -> bool:
    return bool(text) and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _numbers(coder: Coder, n: int, rng: Random) -> NDArray[np.float64]:
    column, arrays = coder.column, coder.arrays()
    knots = np.asarray(arrays.get("knots", np.zeros(0)))
    low, high = column.low or 0.0, 1.0 if column.high is None else column.high
    width = min(max(high - low, 1e-3), 1e300)
    around = np.concatenate([knots, [low, high, (low + high) / 2]])
    with np.errstate(over="ignore"):
        pools = [
            rng.uniform(low - width / 20, low - width / 20 + min(1.1 * width, 1e300), 200),
            np.round(rng.uniform(low, low + width, 100)),
            around,
            np.nextafter(around, np.inf),
            np.nextafter(around, -np.inf),
            np.array(_ENDS),
            np.array([low - 10 * width, high + 10 * width]),
        ]
    pools = [_allowed(column, pool[np.isfinite(pool)]) for pool in pools]
    pools = [pool for pool in pools if len(pool)]
    which = rng.integers(0, len(pools), n)
    return np.array([pools[i][rng.integers(0, len(pools[i]))] for i in which], np.float64)


def _allowed(column: Column, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those that may stand in the column."""
    read: Callable[[Column, NDArray[Any]], NDArray[Any]] = kind_of(column).read

    def is_allowed(part: NDArray[np.float64]) -> bool:
        try:
            read(column, part)
        except SchemaError:
            return False
        return True

    if is_allowed(values):
        return values
    return np.array([value for value in values if is_allowed(np.array([value]))], np.float64)


def _dates(column: Column, n: int, rng: Random) -> NDArray[Any]:
    low, high = column.low or 0.0, 20_000.0 if column.high is None else column.high
    moments = (rng.uniform(low - 400, high + 400, n) * DAY_S * 1e6).astype(np.int64)
    days = (moments // (DAY_S * 10**6)) * DAY_S * 10**6
    hours = moments // 3_600_000_000 * 3_600_000_000
    ends = np.array(_YEARS, "datetime64[us]").astype(np.int64)[rng.integers(0, len(_YEARS), n)]
    anywhere = rng.integers(-62_135_510_400, 253_402_214_400, n) * 1_000_000 + rng.integers(0, 10**6, n)
    pools = np.stack([moments, days, hours, hours - 1, ends, anywhere])
    dates = pools[rng.integers(0, len(pools), n), np.arange(n)].astype("datetime64[us]")
    gaps = rng.random(n) < MISSING_SHARE
    if column.zone != AS_WRITTEN:
        dates[gaps] = "NaT"
        return dates
    texts = np.empty(n, object)
    years = (dates.astype("datetime64[Y]").astype(np.int64) + 1970).tolist()
    for i, (moment, year) in enumerate(zip(dates, years, strict=True)):
        offset = f"{rng.integers(-11, 12):+03d}:{rng.choice([0, 30]):02d}"
        texts[i] = f"{moment}{offset}" if 1 < year < 9999 and not gaps[i] else None
    return texts


def _texts(column: Column, n: int, rng: Random) -> NDArray[np.object_]:
    words = [word for word in (column.example or "").split() if _is_whole(word)] + [
        "the",
        "and",
        "red",
        "house",
    ]
    found = np.empty(n, object)
    for i in range(n):
        size = int(rng.integers(0, 25))
        taken = [
            words[rng.integers(0, len(words))]
            if rng.random() < 0.4
            else "".join(_LETTERS[k] for k in rng.integers(0, len(_LETTERS), rng.integers(1, 9)))
            for _ in range(size)
        ]
        found[i] = " ".join(taken) or None
    return found
