"""Values of a column as text: levels of a category, and which of them are worth a code of their own."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.cells import codes_of, is_missing

MAX_LEVELS = 10_000  # of a category; the rest is pooled as rare
LARGEST_EXACT = 2.0**53  # beyond it, a float may stand for several whole numbers
MOST_DIGITS = 4_000  # that Python makes a number of
_POINTED = re.compile(r"-?(0|[1-9]\d*)\.\d+", re.ASCII)


def shortest_text(value: Any) -> str:
    """A value of a column as text.

    >>> shortest_text(3.0), shortest_text(np.bool_(True)), shortest_text(np.datetime64("2024-05-01", "us"))
    ('3', 'true', '2024-05-01')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, np.datetime64):
        return str(value).removesuffix(".000000").removesuffix("T00:00:00")
    number = float(value)
    if isinstance(value, np.integer) or (number.is_integer() and abs(number) < 1e16):
        return str(int(value))
    return repr(number)


def as_levels(values: NDArray[Any]) -> NDArray[np.object_]:
    """The column as text, object (n_rows,), None where missing; a number as its shortest text: 3, not 3.0."""
    if values.dtype == object:
        return values
    present = ~is_missing(values)
    levels = np.full(len(values), None, dtype=object)
    distinct, codes = np.unique(values[present], return_inverse=True)
    levels[present] = np.array([shortest_text(value) for value in distinct], dtype=object)[codes]
    return levels


def has_lost_digits(values: NDArray[Any]) -> bool:
    """Whether it is whole numbers so large that their last digits were lost when they became floats.

    >>> has_lost_digits(np.array([2.0**60, np.nan])), has_lost_digits(np.array([2**60]))
    (True, False)
    """
    if values.dtype.kind != "f":
        return False
    present = values[np.isfinite(values)]
    return bool((np.abs(present) > LARGEST_EXACT).any() and (present == np.round(present)).all())


def is_wide(level: str) -> bool:
    """Whether a level is a whole number of which a float would lose digits."""
    digits = level.removeprefix("-")
    return digits.isdecimal() and (len(digits) > MOST_DIGITS or int(digits) > LARGEST_EXACT)


def level_finder(levels: Sequence[str]) -> Callable[[str], str | None]:
    """What finds a level by a text: the same, or one of the same value, as True for true, 1.0 for 1.

    >>> find = level_finder(["true", "1", "01"])
    >>> find("True"), find("1.0"), find("01"), find("x")
    ('true', '1', '01', None)
    """
    exact = set(levels)
    alike: dict[str, str] = {}
    for level in levels:
        alike.setdefault(value_text(level), level)
    return partial(_level, exact, alike)  # which a pickle can hold, as the steps that keep it


def _level(exact: Set[str], alike: Mapping[str, str], text: str) -> str | None:
    return text if text in exact else alike.get(value_text(text))


def value_text(text: str) -> str:
    """One text for texts of the same truth value or decimal number.

    >>> value_text("TRUE"), value_text("3.0"), value_text("1.50"), value_text("1e3"), value_text("007")
    ('true', '3', '1.5', '1e3', '007')
    """
    if text.lower() in ("true", "false"):
        return text.lower()
    return text.rstrip("0").rstrip(".") if _POINTED.fullmatch(text) else text


def count_levels(levels: NDArray[np.object_]) -> Counter[str]:
    """How often each level occurs; missing ones are not counted."""
    counts = Counter(levels.tolist())
    counts.pop(None, None)
    return counts


def frequent_levels(counts: Mapping[str, int], n_rows: int) -> tuple[str, ...]:
    """The levels worth a code of their own: most frequent first, equally frequent ones by name.

    A level must occur twice, and once in 10,000 rows; at most 10,000 are kept.
    """
    floor = max(2, n_rows // 10_000)
    kept = sorted((-count, level) for level, count in counts.items() if count >= floor)
    return tuple(level for _, level in kept[:MAX_LEVELS])


def weighed_levels(
    levels: NDArray[np.object_], weight: NDArray[np.floating[Any]]
) -> tuple[Counter[str], int]:
    """How often each level occurs, and the number of rows, in units of the lightest row's weight."""
    place, codes = codes_of(levels)
    units = weight.astype(np.float64) / float(weight.min())
    counts = np.bincount(codes, units, len(place)).round().astype(np.int64).tolist()
    counted = {level: count for level, count in zip(place, counts, strict=True) if level is not None}
    return Counter(counted), int(units.sum())
