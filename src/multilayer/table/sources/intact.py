"""Files as they should be while they are read: plain, whole, and the same at the end as at the start."""

import csv
import gzip
import stat
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from multilayer.errors import DataError, MultilayerError, extra

CHUNK = 1 << 20  # bytes of a packed file that are looked at together


@contextmanager
def reading(paths: Sequence[Path], *, may_change: bool = False) -> Iterator[None]:
    """While these files are read: whatever goes wrong with them is one error, and they must not change.

    may_change: they are a database, which sees to that itself

    Raises:
        DataError: one is no plain file, cannot be read, is cut short, or changed while it was read.
    """
    before = [] if may_change else [_state(path) for path in paths]
    try:
        yield
    except MultilayerError:
        _refuse_changed(paths, before)
        raise
    except RecursionError:
        raise DataError(
            f"A table must not be nested as deeply as {_named(paths)} is. Write a row as one flat object."
        ) from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error, MemoryError) as error:
        _refuse_changed(paths, before)
        reason = getattr(error, "strerror", None) or str(error) or "there is too little memory for it"
        raise DataError(
            f"{_named(paths)} cannot be read: {reason.rstrip('. ')}. Check the file, or copy it again."
        ) from None
    except RuntimeError as error:
        if "INTERRUPT" in str(error).upper():  # so DuckDB hears Ctrl-C
            raise KeyboardInterrupt from None
        raise
    _refuse_changed(paths, before)


def check_plain(path: Path) -> None:
    """DataError for a pipe or a device: a table is looked at more than once, and must have an end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DataError(
            f"{str(path)!r} cannot be read: {error.strerror}. Check its name and rights."
        ) from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError(
            f"A table must be a plain file; {str(path)!r} is a device or a pipe. Write it to a file first."
        )


def check_packed(paths: Collection[Path]) -> None:
    """Unpack .gz and .zst files once to their end: DuckDB does not look at checksums, nor always at the end.

    Raises:
        OSError, EOFError, zlib.error: one is cut short or damaged.
    """
    for path in paths:
        if path.name.lower().endswith((".gz", ".zst")):
            with unpacked(path) as file:
                while file.read(CHUNK):
                    pass


def unpacked(path: Path) -> Any:
    """The bytes of a file, plain, .gz or .zst, as an open binary file."""
    name = path.name.lower()
    if name.endswith(".gz"):
        return gzip.GzipFile(path)
    if name.endswith(".zst"):
        pyarrow = extra("pyarrow", needed_by="reading a .zst file", install="pyarrow")
        return pyarrow.input_stream(str(path), compression="zstd")
    return path.open("rb")


def _state(path: Path) -> tuple[int, ...]:
    check_plain(path)
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _refuse_changed(paths: Sequence[Path], before: Sequence[tuple[int, ...]]) -> None:
    for path, old in zip(paths, before, strict=False):
        try:
            is_same = _state(path) == old
        except DataError:
            is_same = False
        if not is_same:
            raise DataError(
                f"A file must stay as it is while it is read; {str(path)!r} was changed or removed "
                "meanwhile. Read it again when it is written."
            ) from None


def _named(paths: Sequence[Path]) -> str:
    more = f" (or one of {len(paths) - 1} further files)" if len(paths) > 1 else ""
    return f"{str(paths[0])!r}{more}"
