"""A column's cells: which are missing, which texts they are, and what steps and kinds begin with."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.dates import Dates


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """True where a column of a Table has no value."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "M":
        return np.isnat(values)
    if values.dtype == object:
        return np.array([value is None for value in values.tolist()], dtype=bool)
    return np.zeros(len(values), dtype=bool)


def distinct_texts(values: NDArray[np.object_]) -> list[str]:
    """Each text once, in the order of the rows."""
    return [text for text in dict.fromkeys(values.tolist()) if text is not None]


@dataclass(frozen=True, eq=False)
class Cells:
    """A column, read as its kind: what steps begin with. `of` and `of_texts` make it.

    values:  float64 with NaN; datetime64[us] in UTC with NaT; or distinct texts, None if one is missing
    missing: where there is no value
    has_gaps: whether any is missing
    rows:    of texts, which of `values` each row holds, int64 (n_rows,); None: each row has its own
    written: of dates, what gives clock and calendar as the text of each shows them; None where none does

    >>> cells = Cells.of_texts(np.array(["b", "a", None, "b"], object))
    >>> cells.values.tolist(), cells.rows.tolist(), cells.missing.tolist()
    (['b', 'a', None], [0, 1, 2, 0], [False, False, True])
    """

    values: NDArray[Any]
    missing: NDArray[np.bool_]
    has_gaps: bool
    rows: NDArray[np.int64] | None = None
    written: Callable[[], Dates] | None = None

    @classmethod
    def of(cls, values: NDArray[Any], written: Callable[[], Dates] | None = None) -> "Cells":
        """Each row its own."""
        missing = is_missing(values)
        return cls(values, missing, bool(missing.any()), None, written)

    @classmethod
    def of_texts(cls, texts: NDArray[np.object_]) -> "Cells":
        """Each text once, in the order of the rows."""
        place, rows = codes_of(texts)
        values = np.empty(len(place), object)
        values[:] = list(place)
        missing = np.zeros(len(place), bool)
        if None in place:
            missing[place[None]] = True
        return cls(values, missing, None in place, rows)


def codes_of(values: NDArray[np.object_]) -> tuple[Mapping[Any, int], NDArray[np.int64]]:
    """The place of each distinct text (or other object) in the order of the rows, and each row's (n_rows,).

    >>> place, rows = codes_of(np.array(["b", "a", "b"], object))
    >>> list(place), rows.tolist()
    (['b', 'a'], [0, 1, 0])
    """
    place: defaultdict[Any, int] = defaultdict()
    place.default_factory = place.__len__  # a value that was not there yet takes the next place
    rows = np.fromiter(map(place.__getitem__, values.tolist()), dtype=np.int64, count=len(values))
    place.default_factory = None
    return place, rows
