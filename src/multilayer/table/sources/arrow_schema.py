"""What the Arrow schema in a Parquet file says beyond its own types: units of durations, categories, orders.

Writers of Arrow, pandas and polars put the schema, as a flatbuffer, into the entry ARROW:schema of the file's
metadata. It is read here, since DuckDB does not, and PyArrow need not be there.

Source:  https://github.com/apache/arrow/blob/main/format/Schema.fbs, Message.fbs;
https://flatbuffers.dev/internals
"""

import base64
import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Unit = Literal["s", "ms", "us", "ns"]

_UNITS: tuple[Unit, ...] = ("s", "ms", "us", "ns")
_TIMESTAMP, _DURATION = 10, 18  # in the enumeration of types
_CONTINUATION = b"\xff\xff\xff\xff"


@dataclass(frozen=True)
class ArrowField:
    """What a column is, where Parquet has no type for it.

    unit:          of a duration; None for anything else
    zone:          of a date and time: its time zone; None for UTC and for none
    is_dictionary: whether it is a categorical, or an enum
    is_ordered:    whether the order of its levels means something
    levels:        of an enum of polars, in their order; None where the schema does not hold them
    """

    unit: Unit | None = None
    zone: str | None = None
    is_dictionary: bool = False
    is_ordered: bool = False
    levels: tuple[str, ...] | None = None


def arrow_fields(encoded: bytes) -> dict[str, ArrowField]:
    """Columns of which the schema tells more than Parquet, by name; none if it cannot be read."""
    try:
        return dict(_fields(base64.b64decode(encoded, validate=True)))
    except (struct.error, UnicodeDecodeError, binascii.Error, ValueError, IndexError):
        return {}


@dataclass(frozen=True)
class _Table:
    """A table of a flatbuffer: its fields are found through a vtable, by their number."""

    data: bytes
    at: int

    def place(self, field: int) -> int | None:
        """Where a field stands; None if it has its default."""
        vtable = self.at - _int(self.data, self.at, "<i")
        offset = 4 + 2 * field
        if offset >= _int(self.data, vtable, "<H"):
            return None
        relative = _int(self.data, vtable + offset, "<H")
        return self.at + relative if relative else None

    def number(self, field: int, form: str, default: int) -> int:
        place = self.place(field)
        return default if place is None else _int(self.data, place, form)

    def table(self, field: int) -> "_Table | None":
        place = self.place(field)
        return None if place is None else _Table(self.data, place + _int(self.data, place, "<I"))

    def tables(self, field: int) -> "Iterator[_Table]":
        place = self.place(field)
        if place is None:
            return
        start = place + _int(self.data, place, "<I")
        for at in range(start + 4, start + 4 + 4 * _int(self.data, start, "<I"), 4):
            yield _Table(self.data, at + _int(self.data, at, "<I"))

    def text(self, field: int) -> str:
        place = self.place(field)
        if place is None:
            return ""
        start = place + _int(self.data, place, "<I")
        length = _int(self.data, start, "<I")
        return self.data[start + 4 : start + 4 + length].decode()


def _int(data: bytes, at: int, form: str) -> int:
    if at < 0:
        raise IndexError(at)
    return int(struct.unpack_from(form, data, at)[0])


def _fields(message: bytes) -> Iterator[tuple[str, ArrowField]]:
    """Message: 2 header. Schema: 1 fields. Field: 0 name, 2 and 3 type, 4 dictionary, 6 metadata."""
    start = 8 if message.startswith(_CONTINUATION) else 4
    schema = _Table(message, start + _int(message, start, "<I")).table(2)
    if schema is None:
        return
    for field in schema.tables(1):
        of_type, dictionary = field.table(3), field.table(4)
        if dictionary is not None:  # DictionaryEncoding: 2 is_ordered
            is_ordered = bool(dictionary.number(2, "<B", 0))
            yield field.text(0), ArrowField(None, None, True, is_ordered, _enum_levels(field))
        elif of_type is not None and field.number(2, "<B", 0) == _DURATION:  # 0 unit
            yield field.text(0), ArrowField(_UNITS[of_type.number(0, "<h", 1)])
        elif of_type is not None and field.number(2, "<B", 0) == _TIMESTAMP and of_type.text(1):  # 1 zone
            yield field.text(0), ArrowField(None, of_type.text(1))


def _enum_levels(field: _Table) -> tuple[str, ...] | None:
    """Levels of an enum as polars writes them: length, semicolon, text; one after the other."""
    metadata = {pair.text(0): pair.text(1) for pair in field.tables(6)}
    written = next((value for key, value in metadata.items() if key.startswith("_PL_ENUM_VALUES")), None)
    if written is None:
        return None
    data, levels, at = written.encode(), [], 0
    while at < len(data):
        start = data.index(b";", at) + 1
        stop = start + int(data[at : start - 1])
        if stop < start:
            raise ValueError(stop)
        levels.append(data[start:stop].decode())
        at = stop
    return tuple(levels)
