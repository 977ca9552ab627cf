"""`multilayer doctor`: what is wrong with a table, before a model is fitted to it."""

from typing import Annotated

import typer

from multilayer.cli.files import table_source
from multilayer.cli.options import (
    KIND_HELP,
    DecimalOption,
    EncodingOption,
    HeaderOption,
    JsonOption,
    MissingOption,
    QueryOption,
    TableArgument,
    ThousandsOption,
)
from multilayer.cli.printing import show, show_json
from multilayer.cli.words import kinds_of, marks_of, names_of
from multilayer.progress import progress
from multilayer.signals import held_back


def doctor(
    table: TableArgument,
    target: Annotated[str, typer.Option(metavar="COL", help="The column that is to be predicted.")],
    time: Annotated[
        str | None, typer.Option(metavar="COL", help="The column that `fit` will split by.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="COL", help="Rows of one group will stay on one side of the split.")
    ] = None,
    fits: Annotated[
        bool,
        typer.Option("--fits/--no-fits", metavar="", help="Fit small models to judge labels, some seconds."),
    ] = True,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="CODE,CODE", help="Findings not to look for. Repeatable.")
    ] = None,
    kind: Annotated[list[str] | None, typer.Option(metavar="COL=KIND", help=KIND_HELP)] = None,
    query: QueryOption = None,
    missing: MissingOption = None,
    thousands: ThousandsOption = None,
    decimal: DecimalOption = ".",
    encoding: EncodingOption = None,
    header: HeaderOption = True,
    as_json: JsonOption = False,
) -> None:
    """Show what is wrong with TABLE for predicting a column of it."""
    with table_source(table) as source, progress(f"looking at {table}"):
        with held_back():
            from multilayer.diagnosis.tables import doctor_table
            from multilayer.table.sources.read import read_table

        read = read_table(
            source, query=query, missing=marks_of(missing or []), thousands=thousands, decimal=decimal,
            encoding=encoding, header=header,
        )  # fmt: skip
        findings = doctor_table(
            read, target=target, kinds=kinds_of(kind or []) or None, time=time, groups=group, fits=fits,
            ignore=names_of(ignore or []),
        )  # fmt: skip
    if as_json:
        show_json({"findings": findings.to_json()})
        return
    show(str(findings))
