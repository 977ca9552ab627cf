"""Files that are written whole or not at all, what a killed process left of them, and numbers in JSON."""

import contextlib
import math
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from multilayer.errors import OutputError

_BINARY = getattr(os, "O_BINARY", 0)  # of Windows
LOCK = "in use"  # the file of a temporary folder that its process has locked
_TEMPORARY = re.compile(r"\.multilayer-[0-9a-f]{32}\.tmp")


def check_writable(path: str | Path) -> Path:
    """The path, if a file could be written there.

    Raises:
        OutputError: it is a folder, its folder is absent, or it may not be written.
    """
    try:
        return _checked(Path(path).resolve())  # the file behind a link is replaced, not the link
    except (OSError, ValueError, RuntimeError) as error:  # of Python: no right to look, links in a circle
        if isinstance(error, OutputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path} may not be written: {reason}. Choose another place.") from None


def _checked(path: Path) -> Path:
    if path.is_dir():
        raise OutputError(f"an output must be a file; {path} is a folder. Add a file name.")
    if path.exists() and not path.is_file():
        raise OutputError(f"an output must be a plain file; {path} is a device or a pipe. Choose another.")
    if not path.parent.is_dir():
        raise OutputError(f"the folder of an output must exist; {path.parent} does not. Make it first.")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise OutputError(f"{path} may not be written: permission denied. Choose another place.")
    return path


def write_atomically(path: str | Path, data: bytes | Iterable[bytes]) -> None:
    """Write to a temporary name beside it, flush to disk, then rename: readers see the old file or the new.

    A file that stood there hands its rights on; a new one has those that the umask leaves. What processes
    that were killed left beside it is removed.

    data: the content, or its pieces in their order.

    Raises:
        OutputError: as `check_writable`; or the disk is full. What stood there is untouched.
    """
    path = check_writable(path)
    sweep(path.parent)
    temporary = path  # until there is one
    try:
        file, temporary = _created(path)
        with file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # which renames no open file, and knows no locks that might be lost
                file.close()
            temporary.replace(path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{path} could not be written: {error.strerror or error}. What stood there is untouched."
        ) from error
    finally:
        if temporary != path:
            temporary.unlink(missing_ok=True)


def _created(path: Path) -> tuple[BinaryIO, Path]:
    """A temporary file, locked, with the rights that the file at the path is to have."""
    old = path.stat() if path.exists() else None
    while True:
        temporary = path.with_name(f".multilayer-{uuid4().hex}.tmp")  # no longer than a file system allows
        rights = 0o666 if old is None else 0o600  # of the former the umask takes its part
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, rights)
        file = os.fdopen(descriptor, "wb")
        if lock(descriptor) is not False and os.fstat(descriptor).st_nlink:
            break
        file.close()  # another process that sweeps was quicker
    if old is not None:
        _hand_on(old, file)
    return file, temporary


def _hand_on(old: os.stat_result, file: BinaryIO) -> None:
    """Give a new file owner, group and rights of an old one, as far as that is allowed."""
    if not hasattr(os, "fchown"):
        return
    new, mode = os.fstat(file.fileno()), stat.S_IMODE(old.st_mode)
    if new.st_uid != old.st_uid:
        with contextlib.suppress(OSError):
            os.fchown(file.fileno(), old.st_uid, -1)
    if new.st_gid != old.st_gid:
        try:
            os.fchown(file.fileno(), -1, old.st_gid)
        except OSError:
            mode &= ~0o070  # another group must not get what the old one had
    os.fchmod(file.fileno(), mode)


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder that is gone when the block ends, or else when the next one is made there.

    Raises:
        OutputError: it cannot be made.
    """
    sweep(parent)
    try:
        while True:
            folder = parent / f".multilayer-{uuid4().hex}.tmp"
            folder.mkdir(mode=0o700)
            file = (folder / LOCK).open("xb")
            if lock(file.fileno()) is not False and os.fstat(file.fileno()).st_nlink:
                break
            file.close()  # another process that sweeps was quicker
    except OSError as error:
        raise OutputError(
            f"a temporary folder could not be made in {parent}: {error.strerror}. Make room, or name another "
            "place."
        ) from None
    try:
        with file:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove temporary files and folders that killed processes left there; never those of a living one."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if not _TEMPORARY.fullmatch(entry.name):
                continue
            is_folder = entry.is_dir(follow_symlinks=False)
            with unused(Path(entry.path, LOCK if is_folder else "")) as is_unused:
                if is_unused and is_folder:
                    shutil.rmtree(entry.path, ignore_errors=True)
                elif is_unused:
                    Path(entry.path).unlink(missing_ok=True)


def lock(descriptor: int) -> bool | None:
    """Lock an open file while it is open; False if another process has, None where there are no locks.

    The system lets go of a lock when a process ends, however that comes about.
    """
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


@contextlib.contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Whether a file is our own and no living process has locked it; while the block runs, none will."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        yield False
        return
    try:
        found = os.fstat(descriptor)
        is_own = stat.S_ISREG(found.st_mode) and (not hasattr(os, "geteuid") or found.st_uid == os.geteuid())
        yield is_own and lock(descriptor) is True
    finally:
        os.close(descriptor)


def finite(value: Any) -> Any:
    """The same plain values with None for NaN and infinities, which JSON does not have.

    >>> finite({"loss": [0.5, float("nan")]})
    {'loss': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
