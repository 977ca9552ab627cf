"""What stands on stdout, whole or with the reason why not; and messages and progress on stderr."""

import json
import math
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from typing import TYPE_CHECKING, Any, cast

import typer

from multilayer.errors import OutputError

if TYPE_CHECKING:  # written out in full in the hints below, so that a run-time check finds them too
    import rich.table

OF_SIGNALS = 128  # and its number: what a shell reports for a program that a signal ended
BROKEN_PIPE = OF_SIGNALS + 13


def show(shown: Any) -> None:
    """A text, or a table of rich, on stdout; never read as markup."""
    from rich.console import Console

    terminal = Console(highlight=False)
    width = terminal.width if terminal.is_terminal else 1000  # nothing is cut for a pipe or a file
    text = StringIO()  # rich would end the process itself where stdout is closed
    console = Console(
        file=text,
        highlight=False,
        force_terminal=terminal.is_terminal,
        color_system=cast(Any, terminal.color_system),
        legacy_windows=False,
        width=width,
    )
    console.print(shown, soft_wrap=isinstance(shown, str), markup=False, emoji=False)
    write_out([text.getvalue()])


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> "rich.table.Table":
    """Rows below a header: the first column to the left, numbers to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for i, name in enumerate(header):
        table.add_column(Text(name), justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def number(value: float | None) -> str:
    """Four decimals where they tell something, fewer for large numbers, a power of ten at the ends.

    >>> number(0.91234), number(54321.987), number(0.0000123), number(float("nan"))
    ('0.9123', '54,322.0', '1.23e-05', '-')
    """
    if value is None or math.isnan(value):  # a model file holds None for NaN
        return "-"
    if value and not 1e-3 <= abs(value) < 1e9:
        return f"{value:.3g}"
    return f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.1f}"


def show_json(data: Mapping[str, Any]) -> None:
    """One line of JSON on stdout; NaN and infinities become null."""
    from multilayer.output import finite

    write_out([json.dumps(finite(data), default=_plain, allow_nan=False) + "\n"])


def _plain(value: Any) -> Any:
    """What JSON does not know: of NumPy as plain numbers and lists, else as text."""
    from multilayer.output import finite

    return finite(value.tolist()) if hasattr(value, "tolist") else str(value)


def write_out(pieces: Iterable[str | bytes]) -> None:
    """All pieces on stdout, to the last letter.

    Raises:
        OutputError: it is closed, or its disk is full.
        Exit: its reader, `head` for one, has had enough; quietly, as other programs.
    """
    if sys.stdout is None:
        raise OutputError("standard output must be open; it is closed. Open it, or write to a file.")
    for piece in pieces:
        with whole_stdout():
            if isinstance(piece, bytes):
                typer.get_binary_stream("stdout").write(piece)
            else:
                sys.stdout.write(piece)
    with whole_stdout():
        sys.stdout.flush()


@contextmanager
def whole_stdout() -> Iterator[None]:
    """Say what is wrong with stdout; Python must not try again at its end."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(BROKEN_PIPE) from None
        raise OutputError(
            f"standard output could not be written: {error.strerror or error}. Make room, or write to a file."
        ) from None


def say(label: str, message: str = "") -> None:
    """One message on stderr, its label in red on a terminal; the message is never read as markup."""
    from rich.console import Console
    from rich.text import Text

    with suppress(OSError):  # there is no other place to say it
        shown = Text.assemble((label, "bold red"), " " if message else "", message)
        Console(stderr=True).print(shown, soft_wrap=True)


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """What was passed over in a table, and what to make of a score, each once, as one message on stderr."""
    shown: set[str] = set()
    show_other = warnings.showwarning

    def show_warning(message: Warning | str, category: type[Warning], *more: Any, **others: Any) -> None:
        if not issubclass(category, UserWarning):
            show_other(message, category, *more, **others)
        elif str(message) not in shown:
            shown.add(str(message))
            say("warning:", str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show_warning
        yield
