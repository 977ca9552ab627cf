"""`multilayer demo`: the other commands on a real table."""

import csv
import shlex
from pathlib import Path
from typing import Annotated

import typer

from multilayer.cli.app import app
from multilayer.cli.printing import number, show, text_table
from multilayer.errors import OutputError
from multilayer.signals import held_back


def demo(
    folder: Annotated[
        str, typer.Option("--dir", metavar="DIR", help="Where to write; made if it is missing.")
    ] = "demo",
) -> None:
    """Show the commands on a real table: is a breast tumour malignant, by 30 measurements of its cells?"""
    known, new = Path(folder, "tumours.csv"), Path(folder, "new_tumours.csv")
    model, predictions = Path(folder, "tumours.mlp"), Path(folder, "predictions.csv")
    _write_demo_tables(known, new)
    show(f"Wrote {known} and {new}: 569 tumours, every fifth one kept back as new.")
    _run("fit", known, "--target", "diagnosis", "--out", model)
    _run("evaluate", model, new)
    _run("predict", model, new, "--out", predictions)
    with predictions.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    shown = [[*(number(float(prob)) for prob in probs), label] for *probs, label in rows[:5]]
    show(f"\nThe first rows of {predictions}")
    show(text_table(header, shown))


def _write_demo_tables(known: Path, new: Path) -> None:
    """The breast cancer table of Wisconsin (Street, Wolberg, Mangasarian 1993), which scikit-learn has."""
    with held_back():
        from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    header = [*bunch.feature_names.tolist(), "diagnosis"]
    labels = bunch.target_names[bunch.target]
    rows = [[*row, label] for row, label in zip(bunch.data.tolist(), labels, strict=True)]
    try:
        known.parent.mkdir(parents=True, exist_ok=True)
        for path, part in ((known, [row for i, row in enumerate(rows) if i % 5]), (new, rows[::5])):
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([header, *part])
    except OSError as error:
        raise OutputError(f"cannot write in {known.parent}: {error.strerror}. Change --dir.") from error


def _run(*words: str | Path) -> None:
    """Print a command as the user would type it, and run it."""
    command = [str(word) for word in words]
    show(f"\n$ multilayer {shlex.join(command)}")
    status = app(command, prog_name="multilayer", standalone_mode=False)
    if status:
        raise typer.Exit(status)
