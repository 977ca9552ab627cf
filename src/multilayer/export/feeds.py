"""From a table as people have it to what an exported ONNX file takes."""

import json
import os
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ModelFileError
from multilayer.export.onnx.feed import feed_of
from multilayer.export.typed import Input, typed
from multilayer.model.table_reader import TableReader
from multilayer.table.kinds import kind_of
from multilayer.table.schema import Schema
from multilayer.table.sources.notation import Notation
from multilayer.table.text import MOST_CHARACTERS
from multilayer.tasks.make import task_from_json

METADATA = 14  # field of an ONNX model that holds pairs of texts
_LENGTHS = {1: 8, 5: 4}  # of wire types of protobuf that have one


class _Reader(TableReader):
    """Reads tables as the model did, by what an exported file says of it."""

    def __init__(self, about: dict[str, Any], schema: dict[str, Any]) -> None:
        self._schema = Schema.from_json(schema)
        target = about["target"]
        self.target = target if isinstance(target, str) else tuple(target)
        self.task = task_from_json(about["task"])
        self.dropped = tuple(about["dropped"])
        self.notation = Notation.from_json(about["notation"])
        self.exposure = about["exposure"]
        self.inputs = tuple(Input(**each) for each in about["inputs"])
        self.is_packed = bool(about["packed"])

    @property
    def schema(self) -> Schema:
        """Kinds, ranges and levels of the columns."""
        return self._schema

    def feed(self, table: Any, query: str | None, extra: str) -> dict[str, NDArray[Any]]:
        """The tensors of a table."""
        read = self._read(table, query, extra)
        self._check(read)
        if self.exposure is not None:
            self._exposure_of(read)
        values = typed(self.inputs, self.schema, read)
        for column in self.schema.columns:
            if kind_of(column).is_free_text and column.name in values:
                values[column.name] = _composed(values[column.name])
        return feed_of(self.inputs, values, packed=self.is_packed)


def feeds(
    path: str | Path, table: Any, *, query: str | None = None, extra: str = "warn"
) -> dict[str, NDArray[Any]]:
    """What an exported ONNX file takes for the rows of a table; a session of ONNX Runtime runs it.

    The table is read, checked and warned about as `Model.predict` does. Missing text becomes "", a date its
    microseconds since 1970, and free text is put into Unicode's NFKC, of which a graph knows nearly all.

    Args:
        path: an ONNX file that `Model.export` wrote.
        table: anything that `read_table` takes.
        query, extra: as in `Model.predict`.

    Raises:
        ModelFileError: the file is absent, or none of ours.
        SchemaError: missing columns, or values that are not of their column's kind.

    >>> import multilayer as ml
    >>> table = {"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": ["a", "a", "b", "b"] * 10}
    >>> ml.fit(table, target="y", epochs=2).export("onnx", "ab.onnx").parity.encoder
    0.0
    >>> feeds("ab.onnx", {"x": [0.5, None]})
    {'x': array([[0.5],
           [nan]])}
    """
    return reader_of(path).feed(table, query, extra)


def reader_of(path: str | Path) -> _Reader:
    """What reads tables as the model in an exported file did."""
    path = Path(path)
    try:
        found = path.stat()
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read: {error.strerror}. Name a file that was exported."
        ) from None
    return _reader(os.fspath(path), found.st_mtime_ns, found.st_size)


def _composed(texts: NDArray[np.object_]) -> NDArray[np.object_]:
    """Texts in NFKC, where that is not longer than what is read of a text; what a model makes of them is the
    same.
    """
    found = texts.copy()
    for row, text in enumerate(texts.tolist()):
        if not text.isascii():
            composed = unicodedata.normalize("NFKC", text[:MOST_CHARACTERS])
            found[row] = composed if len(composed) <= MOST_CHARACTERS else text
    return found


@lru_cache(maxsize=16)
def _reader(path: str, changed_ns: int, size: int) -> _Reader:
    """The reader of a file, as long as the file stays the same."""
    try:
        metadata = dict(metadata_of(Path(path).read_bytes()))
        return _Reader(json.loads(metadata["multilayer"]), json.loads(metadata["schema"]))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelFileError(
            f"{path} must be an ONNX file that multilayer wrote; it is not ({error}). Export the model again."
        ) from None


def metadata_of(data: bytes) -> Iterator[tuple[str, str]]:
    """The pairs of texts of an ONNX model: fields of protobuf, of which the others are passed over."""
    for field, value in _fields(memoryview(data)):
        if field == METADATA:
            pair = {number: bytes(text).decode() for number, text in _fields(value)}
            yield pair.get(1, ""), pair.get(2, "")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of each field that has a length.

    Source:  https://protobuf.dev/programming-guides/encoding
    """
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            _, place = _varint(data, place)
        elif kind == 2:
            length, place = _varint(data, place)
            if place + length > len(data):
                raise ValueError("it is cut off")
            yield key >> 3, data[place : place + length]
            place += length
        elif kind in _LENGTHS:
            place += _LENGTHS[kind]
        else:
            raise ValueError("it is no protobuf")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
    raise ValueError("it is no protobuf")
