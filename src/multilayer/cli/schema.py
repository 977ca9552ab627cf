"""`multilayer schema`: how each column of a table is read."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from multilayer.cli.files import check_out, table_source
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
from multilayer.cli.words import kinds_of, marks_of
from multilayer.progress import progress
from multilayer.signals import held_back


def schema(
    table: TableArgument,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="A JSON file to write, to edit for `fit --schema`.")
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
    """Show how each column of TABLE is read."""
    path = Path(out) if out else None
    if path:
        check_out(path, sources=(table,))
    with table_source(table) as source, progress(f"reading {table}"):
        with held_back():
            from multilayer.table.schema import infer_schema
            from multilayer.table.sources.read import read_table

        read = read_table(
            source, query=query, missing=marks_of(missing or []), thousands=thousands, decimal=decimal,
            encoding=encoding, header=header,
        )  # fmt: skip
        found = infer_schema(read, kinds=kinds_of(kind or []))
    if path:
        from multilayer.output import write_atomically

        text = json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(path, text.encode("utf-8", "backslashreplace") + b"\n")
    if as_json:
        show_json(found.to_json())
        return
    show(str(found))
    if read.remarks:
        show(f"\nread: {'; '.join(read.remarks)}")
    if path:
        given = {
            "--query": query, "--thousands": thousands, "--decimal": decimal if decimal != "." else None,
            "--encoding": encoding,
        }  # fmt: skip
        options = [(name, value) for name, value in given.items() if value is not None]
        options += [("--missing", marks) for marks in missing or []]
        reading = [part for option in options for part in option] + ([] if header else ["--no-header"])
        command = shlex.join(["multilayer", "fit", table, "--target", "COL", "--schema", str(path), *reading])
        show(f"\nSaved in {path}. To use it: {command}")
