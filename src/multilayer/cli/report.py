"""`multilayer report` and `multilayer compare`: a page on a model; several models on the same rows."""

from pathlib import Path
from typing import Annotated

import typer

from multilayer.cli.files import check_out, load_model, table_source
from multilayer.cli.options import JsonOption, ModelArgument, TableArgument
from multilayer.cli.printing import show, show_json
from multilayer.progress import progress
from multilayer.signals import held_back


def report(
    model: ModelArgument,
    table: TableArgument,
    out: Annotated[
        str, typer.Option(metavar="FILE.html", help="The page; its figures go into FILE.json beside it.")
    ] = "report.html",
    no_refits: Annotated[
        bool,
        typer.Option(
            "--no-refits", metavar="", help="Fit no smaller models to tell what would help: quicker."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a page on how good MODEL is on TABLE, why, and where it fails."""
    path = Path(out)
    check_out(path, sources=(model, table))
    with table_source(table, model) as source, progress(f"writing {path}"):
        found = load_model(model).report(path, source, refits=not no_refits)
    if as_json:
        show_json({"report": str(path), **found})
    else:
        show(found["verdict"])
        for warning in found["warnings"]["said"]:
            show(f"- {warning}")
        show(f"\nWritten: {path} and {path.with_suffix('.json')}")


def compare(
    files: Annotated[
        list[str], typer.Argument(metavar="MODEL... TABLE", help="Model files that `fit` saved, and a table.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Score several models on the same rows of TABLE, the best first."""
    *models, table = files
    with table_source(table, *models) as source, progress("comparing"):
        with held_back():
            from multilayer.report.leaderboard import leaderboard

        found = leaderboard({path: load_model(path) for path in models}, source)
    if as_json:
        show_json({"table": table, **found.to_dict()})
    else:
        show(str(found))
