"""Names of files, checked before anything heavy is loaded: no NumPy, no DuckDB, no PyTorch."""

import re
from pathlib import Path
from typing import Any

from multilayer.errors import DataError, nearest

WILDCARDS = "*?["
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/+[^/]", re.IGNORECASE)


def refuse_url(source: Any) -> None:
    """DataError for an address on the network, or one among several names.

    >>> refuse_url("https://example.org/t.csv")
    Traceback (most recent call last):
    ...
    multilayer.errors.DataError: A table is read from files of this machine, never from the network; ...
    """
    for name in source if isinstance(source, list | tuple) else [source]:
        if isinstance(name, str | Path) and _URL.match(str(name)):
            raise DataError(
                f"A table is read from files of this machine, never from the network; got {str(name)!r}. "
                "Download it first (curl -O, or a browser) and name the file."
            )


def path_of(name: str | Path) -> Path:
    """The path that a name means, if it is a name at all; the file need not be there.

    Raises:
        DataError: it is empty, or the system cannot look at it.

    >>> path_of("")
    Traceback (most recent call last):
    ...
    multilayer.errors.DataError: A table needs the name of a file or a folder; got ''. ...
    """
    if not str(name).strip():
        raise DataError(
            f"A table needs the name of a file or a folder; got {str(name)!r}. Name it; '*' is all files of "
            "this folder."
        )
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long; no right to look; ~ of nobody
        reason = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise DataError(f"{str(name)!r} cannot be read: {reason}. Check the name and its rights.") from None
    return path


def refuse_absent(path: Path) -> None:
    """DataError for a file that is not there, with the nearest name in its folder."""
    if not path.exists():
        raise DataError(f"There is no file {str(path)!r}.{_nearest_file(path)}")


def check_source(source: str) -> None:
    """DataError for a name that is an address, or a file that is not there; patterns are looked at later."""
    refuse_url(source)
    path = path_of(source)
    if not any(sign in source for sign in WILDCARDS):
        refuse_absent(path)


def _nearest_file(path: Path) -> str:
    try:
        return nearest(path.name, [entry.name for entry in path.parent.iterdir() if entry.name != path.name])
    except OSError:
        return ""
