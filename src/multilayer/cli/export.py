"""`multilayer export`: a model in a form for machines without the library."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multilayer.cli.files import check_files, check_out, load_model, table_source
from multilayer.cli.options import JsonOption, ModelArgument
from multilayer.cli.printing import show, show_json
from multilayer.signals import held_back

if TYPE_CHECKING:  # written out in full in the hints below, so that a run-time check finds them too
    import multilayer.export.exported


def export(
    model: ModelArgument,
    to: Annotated[str, typer.Option(metavar="FORM", help="onnx, torch, script, c, html or sql.")],
    out: Annotated[str, typer.Option(metavar="FILE", help="The file to write.")],
    rows: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Compare with the library on the rows of this table, too."),
    ] = None,
    inputs: Annotated[
        str,
        typer.Option(metavar="HOW", help="Of onnx: columns, an input each; packed, one for each type."),
    ] = "columns",
    int8: Annotated[
        bool,
        typer.Option("--int8", metavar="", help="Of onnx: weights of 8 bits, and what that costs."),
    ] = False,
    train_on: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Of script: the table of the fit, so that it trains, too."),
    ] = None,
    author: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of onnx: who made the model, for its metadata.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--license", metavar="NAME", help="Of onnx: its licence, as BSD-3-Clause."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model for machines without this library, once it says the same there."""
    check_files(model, *([train_on] if train_on else []))
    path = Path(out)
    check_out(path, sources=[model, *(each for each in (rows, train_on) if each)])
    settings = {
        "inputs": inputs, "int8": int8, "train_on": train_on, "author": author, "license": licence
    }  # fmt: skip
    if rows is None:
        done = _write(model, to, path, settings)
    else:
        with table_source(rows, model) as source:
            done = _write(model, to, path, settings | {"rows": source})
    if as_json:
        show_json({"model": model, "to": to, **done.to_json()})
    else:
        show(str(done))


def _write(
    model: str, to: str, path: Path, settings: dict[str, Any]
) -> "multilayer.export.exported.Exported":
    with held_back():
        from multilayer.export.exported import write
    return write(load_model(model), to, path, **settings)
