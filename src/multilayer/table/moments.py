"""The time of each row as something that can be sorted; text is never sorted by its letters."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError
from multilayer.table.cells import is_missing
from multilayer.table.column import Column
from multilayer.table.kinds import kind_of
from multilayer.table.sources.dtype_hints import Note
from multilayer.table.split import check_complete
from multilayer.table.text_kind import kind_of_texts, unread_texts, with_writing


def moments(
    name: str, values: NDArray[Any], note: Note | None = None, declared: Column | None = None
) -> tuple[NDArray[Any], str]:
    """What sorts the rows by time, and how text was read, in words.

    note:     an ordered category is sorted by its order
    declared: what the user said of the column, such as the format of its dates

    Raises:
        DataError: a row without a time, or text that is not wholly dates, times, durations or numbers.

    >>> moments("day", np.array(["12/31/2023", "1/1/2024"], dtype=object))[1]
    'dates as %m/%d/%Y'
    """
    if values.dtype != object:
        check_complete("time", values)
        return values, ""
    check_complete("time", values)
    if note is not None and note.kind == "ordered" and len(note.levels) > 1:
        place = {str(level).strip(): i for i, level in enumerate(note.levels)}
        places = np.array([place[text] for text in values.tolist()], dtype=np.int64)
        return places, "in the order of its levels"
    column, odd = _read(name, values, declared)
    if not kind_of(column).is_quantity or odd:
        text = min(odd, key=values.tolist().index) if odd else values[0]
        raise DataError(
            f"time must hold dates, times, durations or numbers in every row, to sort the rows; row "
            f"{values.tolist().index(text) + 1} of {name!r} holds {text!r}. Mend it, write dates as "
            f"2024-05-31, or say how they are written: schema=ml.infer_schema(table).replace({name!r}, "
            "kind='date', date_format='%b-%y')."
        )
    moment = kind_of(column).read(column, values)
    assert not is_missing(moment).any()
    return moment, f"dates as {column.date_format}" if column.date_format else ""


def _read(name: str, values: NDArray[np.object_], declared: Column | None) -> tuple[Column, frozenset[str]]:
    """The kind of the text, and texts that are not of it; signs such as - are none of it, too."""
    if declared is None or not kind_of(declared).is_quantity:
        found = kind_of_texts(name, values)
        column = found.column
    else:
        column = with_writing(replace(declared, infinite="error"), values)
    signs = frozenset(text for text in values.tolist() if not any(map(str.isalnum, text)))
    return column, unread_texts(column, values) | signs
