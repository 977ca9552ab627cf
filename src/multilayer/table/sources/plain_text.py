"""Text files as DuckDB reads them: UTF-8, with one kind of line ends; of others, a copy that is."""

import codecs
import shutil
import tempfile
import weakref
import zipfile
import zlib
from contextlib import ExitStack
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from multilayer.errors import ConfigError, DataError
from multilayer.output import temporary_folder
from multilayer.table.sources.intact import reading, unpacked

_BLOCK = 1 << 20
_MARKS = (  # byte-order marks; those of UTF-32 begin like those of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
UTF8 = "utf-8-sig"
_STARTS = (  # of files that are no text, and of JSON
    (b"PAR1", ".parquet"),
    (b"ARROW1", ".arrow"),
    (b"\x1f\x8b", ".csv.gz"),
    (b"\x28\xb5\x2f\xfd", ".csv.zst"),
    (b"PK\x03\x04", ".zip"),
    (b"{", ".jsonl"),
    (b"[", ".json"),
)


class Copy:
    """A copy of a file in a temporary folder, which is gone with this object, or swept by the next one."""

    def __init__(self, name: str) -> None:
        folder = ExitStack()
        self.path = folder.enter_context(temporary_folder(Path(tempfile.gettempdir()))) / name
        self.remove = weakref.finalize(self, folder.close)

    @classmethod
    def of_text(cls, path: Path, encoding: str) -> "Copy":
        """A text file in UTF-8 with bare line feeds.

        Raises:
            DataError: it is not of this encoding, or cannot be read.
        """
        copy = cls(path.name.removesuffix(".gz").removesuffix(".zst"))
        try:
            with (
                TextIOWrapper(unpacked(path), encoding=encoding, newline=None) as source,
                copy.path.open("w", encoding="utf-8", newline="\n") as target,
            ):
                shutil.copyfileobj(source, target, _BLOCK)
        except UnicodeError as error:
            raise DataError(
                f"{str(path)!r} cannot be read as {encoding}: {error}. Name another encoding (encoding=, or "
                "--encoding on the command line), or save the file again as UTF-8."
            ) from None
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{str(path)!r} cannot be read as {encoding}: {error}. Check the file, or copy it again."
            ) from None
        return copy


def unzipped(path: Path) -> Copy:
    """The one file in a .zip file.

    Raises:
        DataError: it holds none or several, or cannot be unpacked.
    """
    try:
        with reading((path,)), zipfile.ZipFile(path) as archive:
            files = (each for each in archive.infolist() if not each.is_dir())
            entries = [each for each in files if _is_content(each.filename)]
            if len(entries) != 1:
                held = ", ".join(repr(each.filename) for each in entries[:6]) or "none"
                raise DataError(
                    f"A .zip file must hold one table; {str(path)!r} holds {len(entries)} files ({held}). "
                    "Unpack it, and name the file, or the folder for all of them as one table."
                )
            _check_room(path, entries[0].file_size)
            copy = Copy(Path(entries[0].filename).name)
            with archive.open(entries[0]) as source, copy.path.open("wb") as target:
                shutil.copyfileobj(source, target, _BLOCK)
            return copy
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        raise DataError(
            f"{str(path)!r} cannot be unpacked: {error}. Check the file, or unpack it yourself and name "
            f"what it held."
        ) from None


def _is_content(name: str) -> bool:
    """Whether an entry is a file of the user's, and none that a system put beside it."""
    return not any(part.startswith((".", "__MACOSX")) for part in Path(name).parts)


def _check_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free:
        raise DataError(
            f"{str(path)!r} takes {needed / 1e9:.1f} GB unpacked; {tempfile.gettempdir()} has "
            f"{free / 1e9:.1f} GB free. Make room, or name another folder in TMPDIR."
        )


def of_stream(stream: Any) -> Copy:
    """A copy of what a stream of bytes holds, under the ending of what it looks like: CSV, if nothing else.

    Raises:
        DataError: it is empty.
    """
    first = stream.read(_BLOCK)
    if not first.strip():
        raise DataError("A table needs a header and rows; standard input is empty. Pipe a table into it.")
    ending = next((ending for start, ending in _STARTS if first.startswith(start)), ".csv")
    copy = Copy(f"stdin{ending}")
    with copy.path.open("wb") as target:
        target.write(first)
        shutil.copyfileobj(stream, target, _BLOCK)
    return copy


def check_encoding(encoding: Any) -> str | None:
    """The encoding, if Python knows it.

    Raises:
        ConfigError: it does not, or it is none of text.
    """
    if encoding is None:
        return None
    try:
        name = codecs.lookup(encoding).name
        "a".encode(name).decode(name)
    except (LookupError, TypeError, ValueError):
        raise ConfigError(
            "encoding must be one that Python knows, such as 'latin-1', 'cp1252' or 'utf-16'; got "
            f"{encoding!r}. Correct it, or leave it out: UTF-8 is read, and files that begin with a "
            "byte-order mark."
        ) from None
    return name


def encoding_of(path: Path, declared: str | None) -> str:
    """The encoding of a text file: by its byte-order mark, as declared, or UTF-8."""
    try:
        with unpacked(path) as file:
            start: bytes = file.read(64)
    except (OSError, EOFError, zlib.error):  # whoever reads it next says what is wrong
        return UTF8
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if declared is not None:
        return UTF8 if declared == "utf-8" else declared
    odd, even = start[1::2], start[::2]
    if len(start) >= 4 and odd.count(0) > len(odd) // 2 and not even.count(0):
        return "utf-16-le"
    if len(start) >= 4 and even.count(0) > len(even) // 2 and not odd.count(0):
        return "utf-16-be"
    return UTF8


def has_mixed_line_ends(path: Path) -> bool:
    """Whether lines end in more than one way: with carriage returns or without."""
    n_feeds = n_both = n_returns = 0
    last = b""
    with unpacked(path) as file:
        while block := file.read(_BLOCK):
            n_feeds += block.count(b"\n")
            n_returns += block.count(b"\r")
            n_both += block.count(b"\r\n") + (last == b"\r" and block.startswith(b"\n"))
            last = block[-1:]
    return sum(n > 0 for n in (n_both, n_feeds - n_both, n_returns - n_both)) > 1
