"""The command line: parses, calls, prints; the work is done by `recipe.fit` and `Model`.

Results go to stdout, progress and errors to stderr. The exit status is 0 when all went well; 1 after a bug of
ours, with its traceback; 2 after something that the user can put right, with one message and no traceback;
and 128 + n if signal n ended the command, such as Ctrl-C (130) or a reader of stdout that has had enough
(141).

A file here holds one command, or a few that belong together. Only typer is imported at module level, so that
`multilayer --help` answers at once: what is heavy is imported in the command, under `held_back()`.
"""

import signal
import sys
from importlib import import_module
from io import TextIOWrapper

from multilayer.cli.app import app
from multilayer.cli.ending import ErrorsInOneLine, leave_at_once
from multilayer.cli.printing import BROKEN_PIPE, say, whole_stdout
from multilayer.errors import OutputError

# Each command, in the order of `multilayer --help` -> the file here that holds it, as a function of that name
COMMANDS = {
    "fit": "fit",
    "predict": "predict",
    "evaluate": "predict",
    "report": "report",
    "compare": "report",
    "explain": "explain",
    "drift": "explain",
    "inspect": "inspect",
    "export": "export",
    "card": "card",
    "verify": "verify",
    "schema": "schema",
    "doctor": "doctor",
    "serve": "serve",
    "warmup": "warmup",
    "demo": "demo",
}

for command, file in COMMANDS.items():
    app.command()(getattr(import_module(f"multilayer.cli.{file}"), command))


def main() -> None:
    """Run the command line on `sys.argv`; the entry point of the `multilayer` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a console that lacks a letter shows its code, and goes on
            stream.reconfigure(errors="backslashreplace")
    ErrorsInOneLine.hears = True
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until a command runs, there is nothing to clean up
    try:
        with whole_stdout():  # of --help and --version; commands see to their own
            app(prog_name="multilayer")
    except SystemExit as done:
        leave_at_once(done.code)
        if isinstance(done.__context__, BrokenPipeError):  # of --help, which rich writes
            sys.exit(BROKEN_PIPE)
        raise
    except OutputError as error:
        say("error:", str(error))
        sys.exit(2)
