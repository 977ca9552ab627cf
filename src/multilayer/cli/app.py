"""The program before it has commands: its name, its help, its version."""

from typing import Annotated

import typer

from multilayer.cli.ending import ErrorsInOneLine
from multilayer.cli.printing import show

app = typer.Typer(
    cls=ErrorsInOneLine,
    help="Train a multilayer perceptron on a table, look into it, and predict with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from multilayer import __version__

        show(f"multilayer {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass
