"""The files that commands read and write, checked before any time is spent on them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from multilayer.errors import DataError, OutputError
from multilayer.signals import held_back

if TYPE_CHECKING:  # written out in full in the hints below, so that a run-time check finds them too
    import multilayer.model.model


def check_files(*names: str) -> None:
    """Refuse names of files that are not there, while that takes no time: before PyTorch is loaded."""
    if "torch" in sys.modules:  # nothing is gained, and whoever reads them says what is wrong
        return
    from multilayer.table.sources.paths import check_source

    for name in names:
        check_source(name)


@contextmanager
def table_source(table: str, *others: str) -> Iterator[str]:
    """The name of a table, checked before PyTorch is loaded; of standard input, that of a copy.

    others: further files that are to be read
    """
    check_files(*others, *([] if table == "-" else [table]))
    if table != "-":
        yield table
        return
    if sys.stdin is None:
        raise DataError("standard input must be open to read a table from it; it is closed. Pipe a table in.")
    with held_back():
        from multilayer.table.sources.plain_text import of_stream

    copy = of_stream(typer.get_binary_stream("stdin"))
    try:
        yield str(copy.path)
    finally:
        copy.remove()


def load_model(path: str) -> "multilayer.model.model.Model":
    """The model in a file."""
    with held_back():
        from multilayer.model.model import Model

    return Model.load(path)


def check_out(path: Path, *, sources: Sequence[str]) -> None:
    """Refuse an output that cannot be written, or is an input too, before any work is done for it."""
    from multilayer.output import check_writable

    if any(path.exists() and Path(source).exists() and path.samefile(source) for source in sources):
        raise OutputError(f"{path} is an input of this command and would be lost. Change --out.")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OutputError(f"the output must be a file; {path} is a device or a pipe. Change --out.")
    check_writable(path)
