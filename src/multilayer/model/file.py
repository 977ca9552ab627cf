"""The bytes of a model file: one JSON text and arrays, in the format of safetensors, checked before use."""

import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ModelFileError, nearest
from multilayer.machine import total_memory

FORMAT = 1  # every format ever released stays readable
MOST_HEADER = 100_000_000  # bytes, as safetensors has it
DEEPEST = 32  # levels of nested JSON; ours has some six
# Lists and objects, each of which takes 20 times its two letters; ours has four a column
MOST_PARTS = 2_000_000
MOST_DIGITS = 20  # of a whole number
_TYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)

Arrays = dict[str, NDArray[Any]]


class _NoModel(ValueError):
    """Why bytes are no model file, in words."""


def digest(text: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """The checksum of a text and arrays."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return np.frombuffer(found.digest(), dtype=np.uint8)


def unpack(data: bytes, name: str, advice: str) -> tuple[dict[str, Any], Arrays]:
    """The JSON and the arrays, if they are a model's, and as they were saved. The arrays are views of data.

    name, advice: of where the bytes came from, for errors

    Raises:
        ModelFileError: no safetensors, no model, changed since it was saved, of a newer format.
    """
    try:
        text, arrays = _parts(data)
    except _NoModel as error:
        raise ModelFileError(
            f"{name} cannot be read as a model: truncated, damaged or no safetensors ({error}). {advice}"
        ) from None
    if text is None:
        raise ModelFileError(
            f"{name} is a safetensors file, but no multilayer model. Pass a file that Model.save wrote."
        )
    meta: Any = None
    try:
        meta = parse_json(text)
        problem = None if isinstance(meta, dict) else "its text is no JSON object"
    except ValueError as error:
        problem = f"its text cannot be read: {error}"
    newer = meta.get("format") if isinstance(meta, dict) else None
    if isinstance(newer, int) and newer > FORMAT:
        raise ModelFileError(
            f"{name} has format {newer}; this version reads up to {FORMAT}. Update multilayer: pip install "
            "-U multilayer"
        )
    if not _is_as_saved(text, arrays):
        raise ModelFileError(
            f"{name} has been changed since it was saved: its checksum does not fit. Save the model again."
        )
    if problem is None and (type(newer) is not int or newer < 1):
        problem = f"it has no format number, but {newer!r}"
    if problem is not None:
        raise ModelFileError(
            f"{name} has an intact checksum, but its parts do not make a model ({problem}). "
            "Save the model again."
        )
    return meta, arrays


def _is_as_saved(text: str, arrays: Arrays) -> bool:
    """Whether the checksum fits; it is taken out of the arrays."""
    signed = arrays.pop("sha256", None)
    try:
        return signed is not None and np.array_equal(signed, digest(text, arrays))
    except UnicodeEncodeError:  # half a letter: no file of ours
        return False


def _parts(data: bytes) -> tuple[str | None, Arrays]:
    """Metadata and arrays of safetensors; every place in the file is checked before it is looked at.

    Source: https://github.com/huggingface/safetensors (format)
    """
    n_header = int.from_bytes(data[:8], "little")
    if len(data) < 8 or n_header > min(MOST_HEADER, len(data) - 8):
        raise _NoModel(f"it has {len(data):,} bytes, and its header none or more than these")
    try:
        header = parse_json(data[8 : 8 + n_header].decode())
    except ValueError as error:
        raise _NoModel(f"its header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise _NoModel("its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _NoModel("its metadata are no texts")
    body = memoryview(data)[8 + n_header :]
    found = {name: (*_span(name, entry), entry) for name, entry in header.items()}
    end = 0
    for name, (start, stop, _) in sorted(found.items(), key=lambda pair: pair[1][:2]):
        if start != end:
            raise _NoModel(f"its array {name!r} does not begin where another ends")
        end = stop
    if end != len(body):
        raise _NoModel(f"its arrays take {end:,} bytes, and {len(body):,} are there")
    arrays = {name: _array(name, entry, body[start:stop]) for name, (start, stop, entry) in found.items()}
    return metadata.get("multilayer"), arrays


def _span(name: str, entry: Any) -> tuple[int, int]:
    offsets: Any = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _NoModel(f"its array {name!r} has no place")
    return offsets[0], offsets[1]


def _array(name: str, entry: dict[str, Any], data: memoryview) -> NDArray[Any]:
    kind: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise _NoModel(f"its array {name!r} is of the type {kind!r}")
    n, size = 1, _TYPES[kind].itemsize
    if not _are_sizes(shape) or len(shape) > 8:
        raise _NoModel(f"its array {name!r} has no shape")
    for length in shape:
        n *= length
    if n * size != len(data):
        raise _NoModel(f"its array {name!r} of shape {shape} takes {n * size:,} bytes, and has {len(data):,}")
    return np.frombuffer(data, _TYPES[kind]).reshape(shape)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**62 for n in values)


def parse_json(text: str) -> Any:
    """JSON of bounded depth and digits, with finite numbers and each key once.

    Raises:
        ValueError: it is something else; the message says what.

    >>> parse_json('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ...
    ValueError: the key 'a' stands there twice
    """
    depth = n_parts = 0
    for token in _TOKENS.finditer(text):
        step = {"[": 1, "{": 1, "]": -1, "}": -1}.get(text[token.start()], 0)
        depth, n_parts = depth + step, n_parts + (step > 0)
        if depth > DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")
        if n_parts > MOST_PARTS:
            raise ValueError(f"it has more than {MOST_PARTS:,} lists and objects")
    return json.loads(
        text,
        parse_int=_whole,
        parse_float=_finite,
        parse_constant=_no_constant,
        object_pairs_hook=_each_key_once,
    )


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number has {len(digits):,} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if number - number != 0.0:  # infinite
        raise ValueError("a number is too large")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return found


def read_bytes(path: Path) -> bytes:
    """All bytes of a model file, in memory of our own: what becomes of the file afterwards is the same to us.

    Raises:
        ModelFileError: there is none, it is no plain file, or it cannot be read.
    """
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > total_memory():
                raise MemoryError
            return file.read(size)
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it is larger than the memory"
        raise ModelFileError(
            f"{path} cannot be read as a model: {reason}. Check its name and its rights, or copy it again."
        ) from None


def _opened(path: Path) -> BinaryIO:
    """The file, open to read; never a pipe or a device, which might have no end."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise ModelFileError(
            f"a model file must exist; there is none at {path}.{_nearest_file(path)}"
        ) from None
    if stat.S_ISDIR(mode):
        raise ModelFileError(f"a model must be a file; {path} is a folder. Name a file inside it.")
    if not stat.S_ISREG(mode):
        raise ModelFileError(
            f"a model must be a plain file; {path} is a device or a pipe. Copy it to a file."
        )
    file = path.open("rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # another has taken its place meanwhile
        file.close()
        raise ModelFileError(f"a model must be a plain file; {path} has become another. Copy it to a file.")
    return file


def _nearest_file(path: Path) -> str:
    folder = path.parent
    try:
        names = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return f" The folder {folder} is absent, too."
    except OSError:
        return ""
    return nearest(path.name, names)
