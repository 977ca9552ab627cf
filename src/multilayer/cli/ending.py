"""How a command ends: its exit status, and the one message where it is an error or a signal."""

import os
import signal
import sys
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from multilayer.cli.printing import OF_SIGNALS, say, warnings_in_one_line
from multilayer.errors import MultilayerError
from multilayer.signals import hear_endings

_ended: list[int] = []  # numbers of the signals that asked this process to end


class ErrorsInOneLine(TyperGroup):
    """Commands whose `MultilayerError`s end in one message on stderr and exit status 2.

    hears: whether signals are ours to hear, as the process is the program's
    """

    hears = False

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the context names."""
        if self.hears:
            hear_endings(_ended)
        try:
            with warnings_in_one_line():
                return super().invoke(ctx)
        except MultilayerError as error:
            say("error:", str(error))
            raise typer.Exit(2) from None
        except typer.Exit:
            raise
        except (Exception, KeyboardInterrupt) as error:
            if is_interruption(error):
                say(f"stopped by {what_ended()}.")
                raise typer.Exit(exit_status()) from None
            if isinstance(error, OSError) and error.filename is not None:
                name = str(error.filename)
                say("error:", f"{name!r} cannot be used: {error.strerror}. Name another file.")
                raise typer.Exit(2) from None
            raise


def what_ended() -> str:
    """What ended the command, in a word."""
    return signal.Signals(_ended[0]).name if _ended else "Ctrl-C"


def is_interruption(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C or its like, or what became of it in code that was interrupted."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None or bool(_ended)


def exit_status() -> int:
    """Exit status of a command that a signal ended."""
    return OF_SIGNALS + (_ended[0] if _ended else signal.SIGINT)


def leave_at_once(status: Any) -> None:
    """Do not wait for what is still being compiled when the command was stopped."""
    compiler = sys.modules.get("multilayer.training.kernels.compiler")
    if compiler is not None and compiler.is_compiling():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status if isinstance(status, int) else 1)
