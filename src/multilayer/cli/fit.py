"""`multilayer fit`: a model of a table."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from multilayer.cli.ending import exit_status, what_ended
from multilayer.cli.files import check_out, table_source
from multilayer.cli.model_text import facts, show_training
from multilayer.cli.options import (
    KIND_HELP,
    DecimalOption,
    EncodingOption,
    HeaderOption,
    JsonOption,
    MemoryOption,
    MissingOption,
    QueryOption,
    TableArgument,
    ThousandsOption,
    VerboseOption,
)
from multilayer.cli.printing import say, show, show_json
from multilayer.cli.words import (
    class_weight_of,
    directions_of,
    kinds_of,
    marks_of,
    names_of,
    numbers_of,
    threshold_of,
)
from multilayer.progress import progress
from multilayer.recipe.choices import NetworkName, Quality
from multilayer.signals import held_back


def fit(
    table: TableArgument,
    target: Annotated[
        list[str], typer.Option(metavar="COL", help="The column to predict; repeat it for several at once.")
    ],
    drop: Annotated[
        list[str] | None, typer.Option(metavar="COL,COL", help="Columns to leave out. Repeatable.")
    ] = None,
    task: Annotated[
        Literal["binary", "multiclass", "multilabel", "regression"] | None,
        typer.Option(help="What to predict; without it, the target column decides."),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What a regression aims at: squared_error (the mean), absolute_error (the median), huber, "
            "quantile, poisson (counts), gamma (amounts), tweedie (amounts, many 0), log (a long tail).",
        ),
    ] = None,
    quantiles: Annotated[
        str | None, typer.Option(metavar="Q,Q", help="Predict these quantiles, such as 0.1,0.5,0.9.")
    ] = None,
    class_weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="balanced|LABEL=WEIGHT",
            help="Let all classes weigh alike in training, or each as much as you say. Repeatable.",
        ),
    ] = None,
    exposure: Annotated[
        str | None,
        typer.Option(
            metavar="COL", help="Learn the target per unit of this column (poisson, gamma, tweedie)."
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="P|METRIC",
            help="Predict the second of two classes from this probability on, or from the one that is best "
            "for f1, balanced_accuracy, accuracy or mcc.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="MODEL.mlp", help="Where to save; without it, the table's name in this folder."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Same seed, same model.")] = 0,
    time_budget: Annotated[
        float | None,
        typer.Option(
            min=0.0, metavar="SECONDS", help="Seconds for the fit; if they are few, so are the networks."
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="COL=KIND", help=KIND_HELP),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What `multilayer schema --out` wrote and you edited."),
    ] = None,
    infinite: Annotated[
        Literal["error", "clip"],
        typer.Option(help="Refuse infinite numbers, or clip them to the largest and smallest."),
    ] = "error",
    query: QueryOption = None,
    missing: MissingOption = None,
    thousands: ThousandsOption = None,
    decimal: DecimalOption = ".",
    encoding: EncodingOption = None,
    header: HeaderOption = True,
    drop_missing_target: Annotated[
        bool, typer.Option("--drop-missing-target", metavar="", help="Leave out rows that have no target.")
    ] = False,
    group: Annotated[
        str | None, typer.Option(metavar="COL", help="Rows of one group stay on one side of the split.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COL", help="Validate on the latest rows by this column.")
    ] = None,
    monotone: Annotated[
        list[str] | None,
        typer.Option(metavar="COL=DIRECTION", help="The prediction is increasing or decreasing in a column."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Passes over the table, at most.")
    ] = None,
    members: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Networks to train side by side and average.")
    ] = None,
    quality: Annotated[
        Quality,
        typer.Option(
            help="How long to train: fast takes two fifths of the default's time, best three times."
        ),
    ] = "default",
    network: Annotated[
        NetworkName,
        typer.Option(help="The default, or a published network, trained as its paper says."),
    ] = "default",
    calibration_rows: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="N",
            help="Set so many rows aside (or a share, such as 0.2) so that intervals and sets are exact.",
        ),
    ] = None,
    memory: MemoryOption = None,
    no_baselines: Annotated[
        bool,
        typer.Option(
            "--no-baselines", metavar="", help="Do not fit a linear model and boosted trees for comparison."
        ),
    ] = False,
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE.html", help="Write a page on how good the model is, why, where it fails."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", metavar="", help="Print warnings and errors only.")
    ] = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a model on TABLE and save it."""
    path = Path(out) if out else Path(stem(table) + ".mlp")
    drops, kinds = names_of(drop or []), kinds_of(kind or [])
    others = [schema] if schema else []
    with table_source(table, *others) as source, progress(f"reading {table}", quiet=quiet) as after_epoch:
        with held_back():
            from multilayer.recipe.fit import fit as fit_recipe

        check_out(path, sources=(table,))
        if report:
            check_out(Path(report), sources=(table,))
        model = fit_recipe(
            source, query=query, target=target if len(target) > 1 else target[0], task=task,
            objective=objective, quantiles=numbers_of("--quantiles", quantiles),
            class_weight=class_weight_of(class_weight), exposure=exposure, threshold=threshold_of(threshold),
            drop=drops, kinds=kinds, schema=schema, infinite=infinite, missing=marks_of(missing or []),
            thousands=thousands, decimal=decimal, encoding=encoding, header=header,
            drop_missing_target=drop_missing_target,
            groups=group, time=time, calibration=_rows_or_share(calibration_rows),
            monotone=directions_of(monotone or []), quality=quality, network=network, members=members,
            epochs=epochs, time_budget=time_budget, memory=memory, seed=seed,
            callbacks=(after_epoch,), baselines=not no_baselines, verbose=False,
        )  # fmt: skip
        model.save(path)
        if report:
            model.report(report)
    if as_json:
        show_json({"model": str(path), **facts(model)})
    elif not quiet:
        show_training(model, verbose=verbose)
        name = shlex.quote(str(path))
        show(f"\nSaved in {path}. To predict: multilayer predict {name} TABLE")
        page = (
            f"Report: {report}"
            if report
            else f"To see why, and where it fails: multilayer report {name} TABLE"
        )
        show(page)
    if model.summary.get("interrupted"):
        say(f"stopped by {what_ended()}:", f"the best model so far is saved in {path}.")
        raise typer.Exit(exit_status())


def _rows_or_share(value: float | None) -> float | int | None:
    """A number of rows is whole."""
    return int(value) if value is not None and value >= 1 and value == int(value) else value


def stem(table: str) -> str:
    """The table's file name without its endings.

    >>> stem("data/houses.csv.gz"), stem("sales.2024.parquet"), stem("sales/*.csv")
    ('houses', 'sales.2024', 'sales')
    """
    path = Path("model" if table == "-" else table)
    while any(sign in path.name for sign in "*?["):
        path = path.parent
    return Path(path.name.removesuffix(".gz").removesuffix(".zst")).stem or "model"
