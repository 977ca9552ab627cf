"""What artefacts take: the columns of a table in a few plain types, read as the library reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError
from multilayer.table.column import AS_WRITTEN, Column
from multilayer.table.dates import in_zone
from multilayer.table.encode import Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.schema import Schema
from multilayer.table.sources.read import Table

Role = Literal["number", "date", "written", "text", "exposure"]
MISSING_DATE = -(2**63)  # NaT
MISSING_TEXT = ""

Values = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Input:
    """One column that an artefact takes.

    column: of the table
    role:   number    float64, NaN is missing; booleans are 0 and 1, times of day and durations seconds
            date      int64, microseconds since 1970 in UTC; -2^63 is missing
            written   int64, what clock and calendar of a date's text show, where each has its own offset
            text      strings, "" is missing
            exposure  float64, what the prediction is multiplied with
    name:   of the input; the column's, but for "written"
    """

    column: str
    role: Role
    name: str

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)


def inputs_of(encoder: Encoder, exposure: str | None) -> tuple[Input, ...]:
    """What the artefact of a model takes: columns that tell something, in their order."""
    found = []
    names = {coder.column.name for coder in encoder.coders}
    for coder in encoder.coders:
        if not coder.outputs and coder.code is None:
            continue  # the same in nearly all rows
        column = coder.column
        found.append(Input(column.name, _role(column), column.name))
        if column.zone == AS_WRITTEN:
            found.append(Input(column.name, "written", _free(f"{column.name} (as written)", names)))
    if exposure is not None:
        found.append(Input(exposure, "exposure", _free(exposure, names)))
    return tuple(found)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _role(column: Column) -> Role:
    kind = kind_of(column)
    if not kind.has_numbers:
        return "text"
    return "date" if "M" in kind.dtypes else "number"


def typed(inputs: Sequence[Input], schema: Schema, table: Table) -> dict[str, NDArray[Any]]:
    """The values of each input, (n_rows,), of a table that was read and checked.

    Raises:
        DataError: a text that no artefact can take, as it holds half a letter.
        SchemaError: a value that is not of its column's kind.
    """
    columns = {column.name: column for column in schema.columns}
    found: dict[str, NDArray[Any]] = {}
    for each in inputs:
        if each.role == "exposure":
            found[each.name] = np.asarray(table[each.column], np.float64)
            continue
        column = _in_zone_of(table, columns[each.column])
        cells = kind_of(column).cells(column, table[each.column])
        values = cells.values if cells.rows is None else cells.values[cells.rows]
        if each.role == "text":
            values = _texts(each.column, values)
        elif each.role == "written":
            values = _written(column, table[each.column], values, cells.written)
        found[each.name] = values.astype(np.int64) if values.dtype.kind == "M" else values
    return found


def _in_zone_of(table: Table, column: Column) -> Column:
    """Dates that came as text with an offset each are of the zone of a table that has one for them."""
    note = table.notes.get(column.name)
    if column.zone == AS_WRITTEN and note is not None and note.zone:
        return replace(column, zone=note.zone)
    return column


def _texts(name: str, values: NDArray[Any]) -> NDArray[np.object_]:
    texts = np.empty(len(values), object)
    texts[:] = [MISSING_TEXT if value is None else value for value in values.tolist()]
    for row, text in enumerate(texts.tolist()):
        if not text.isascii() and _has_half_a_letter(text):
            raise DataError(
                f"text must be of whole letters; column {name!r} holds half of one (a lone surrogate) in row "
                f"{row + 1}. Mend the text."
            )
    return texts


def _has_half_a_letter(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _written(column: Column, raw: NDArray[Any], moments: NDArray[Any], written: Any) -> NDArray[Any]:
    if written is not None:
        return written()
    return moments if column.zone in (None, AS_WRITTEN) else in_zone(moments, column.zone)
