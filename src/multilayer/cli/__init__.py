"""The command line: parses, calls, prints; the work is done by `recipe.fit` and `Model`.

Results go to stdout, progress and errors to stderr. Exit status: 0 done; 1 a bug of ours, with its traceback;
2 something the user can put right, one message and no traceback; 128 + n ended by the signal n, as by Ctrl-C
(130) or by a reader of stdout that has had enough (141).

Only typer is imported at module level, so that `multilayer --help` answers at once.
"""

import csv
import json
import math
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from typer.core import TyperGroup

from multilayer.cli.words import (
    class_weight_of,
    directions_of,
    kinds_of,
    marks_of,
    names_of,
    numbers_of,
    threshold_of,
)
from multilayer.errors import ConfigError, DataError, MultilayerError, OutputError
from multilayer.signals import hear_endings, held_back

if TYPE_CHECKING:  # written out in full in the hints below, so that a run-time check finds them too
    import numpy
    import rich.table

    import multilayer.model.model

MOST_METRICS = 60  # that are printed; --json always gives all
OF_SIGNALS = 128  # and its number: what a shell reports for a program that a signal ended
BROKEN_PIPE = OF_SIGNALS + 13

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
            with _warnings_in_one_line():
                return super().invoke(ctx)
        except MultilayerError as error:
            _say("error:", str(error))
            raise typer.Exit(2) from None
        except typer.Exit:
            raise
        except (Exception, KeyboardInterrupt) as error:
            if _is_interruption(error):
                _say(f"stopped by {_ending()}.")
                raise typer.Exit(_status()) from None
            if isinstance(error, OSError) and error.filename is not None:
                name = str(error.filename)
                _say("error:", f"{name!r} cannot be used: {error.strerror}. Name another file.")
                raise typer.Exit(2) from None
            raise


app = typer.Typer(
    cls=ErrorsInOneLine,
    help="Train a multilayer perceptron on a table, look into it, and predict with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TableArgument = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="A .csv, .tsv, .parquet, .jsonl, .arrow, .xlsx or .duckdb file, a .zip of one, a folder, "
        "a quoted pattern, or - for standard input.",
    ),
]
QueryOption = Annotated[
    str | None,
    typer.Option(metavar="SQL", help="The rows to read; TABLE is a database, or the table `self`."),
]
MissingOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MARK,MARK", help="What stands for a missing value; COL=MARK in one column. Repeatable."
    ),
]
ThousandsOption = Annotated[
    str | None, typer.Option(metavar="SIGN", help="What separates thousands: , of 1,234.5.")
]
DecimalOption = Annotated[str, typer.Option(metavar="SIGN", help="The decimal sign: , of 2,5.")]
EncodingOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of text files that are not UTF-8, such as latin-1.")
]
HeaderOption = Annotated[
    bool, typer.Option("--header/--no-header", metavar="", help="Whether text files begin with column names.")
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A model file that `fit` saved.")]
KIND_HELP = (
    "Read a column as number, boolean, category, ordered, date, time, duration or text, or as an ordered "
    "category with these levels: size=small<medium<large. Repeatable."
)
JsonOption = Annotated[
    bool, typer.Option("--json", metavar="", help="Print one JSON object instead of text.")
]

ExtraOption = Annotated[
    Literal["warn", "ignore", "error"],
    typer.Option(help="Columns that were not there at fit: leave out with a warning or without, or refuse."),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Stream a table that takes more than this, such as 2GiB."),
]


def main() -> None:
    """Run the command line on `sys.argv`; the entry point of the `multilayer` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a console that lacks a letter shows its code, and goes on
            stream.reconfigure(errors="backslashreplace")
    ErrorsInOneLine.hears = True
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until a command runs, there is nothing to clean up
    try:
        with _stdout():  # of --help and --version; commands see to their own
            app(prog_name="multilayer")
    except SystemExit as done:
        _leave_at_once(done.code)
        if isinstance(done.__context__, BrokenPipeError):  # of --help, which rich writes
            sys.exit(BROKEN_PIPE)
        raise
    except OutputError as error:
        _say("error:", str(error))
        sys.exit(2)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from multilayer import __version__

        _print(f"multilayer {__version__}")
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


@app.command()
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
        typer.Option(help="What to predict; without it, read off the target column."),
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
            min=0.0, metavar="SECONDS", help="Seconds for the fit; short ones train fewer networks."
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
        Literal["fast", "default", "best"],
        typer.Option(help="How long to train: fast takes some two fifths of the default, best three times."),
    ] = "default",
    network: Annotated[
        Literal["default", "mlp", "resnet", "realmlp", "tabm"],
        typer.Option(help="The default, or a network of the literature, trained as its paper says."),
    ] = "default",
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on TABLE and save it."""
    path = Path(out) if out else Path(_stem(table) + ".mlp")
    drops, kinds = names_of(drop or []), kinds_of(kind or [])
    others = [schema] if schema else []
    with _source(table, *others) as source, _progress(f"reading {table}") as after_epoch:
        with held_back():
            from multilayer.recipe import fit as recipe

        _check_out(path, sources=(table,))
        model = recipe.fit(
            source, query=query, target=target if len(target) > 1 else target[0], task=task,
            objective=objective, quantiles=numbers_of("--quantiles", quantiles),
            class_weight=class_weight_of(class_weight), exposure=exposure, threshold=threshold_of(threshold),
            drop=drops, kinds=kinds, schema=schema, infinite=infinite, missing=marks_of(missing or []),
            thousands=thousands, decimal=decimal, encoding=encoding, header=header,
            drop_missing_target=drop_missing_target,
            groups=group, time=time,
            monotone=directions_of(monotone or []), quality=quality, network=network, members=members,
            epochs=epochs, time_budget=time_budget, memory=memory, seed=seed,
            callbacks=(after_epoch,),
        )  # fmt: skip
        model.save(path)
    if as_json:
        _print_json({"model": str(path), **_facts(model)})
    else:
        _print_training(model)
        _print(f"\nSaved in {path}. To predict: multilayer predict {shlex.quote(str(path))} TABLE")
    if model.summary.get("interrupted"):
        _say(f"stopped by {_ending()}:", f"the best model so far is saved in {path}.")
        raise typer.Exit(_status())


@app.command()
def predict(
    model: ModelArgument,
    table: TableArgument,
    query: QueryOption = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="A .csv or .parquet file; without it, CSV on stdout.")
    ] = None,
    extra: ExtraOption = "warn",
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the rows of TABLE: the probability of each class, then the prediction."""
    path = Path(out) if out else None
    if path:
        _check_ending(path)
        _check_out(path, sources=(model, table))
    written: dict[str, Any] = {"out": out, "n_rows": 0, "columns": []}
    with (
        _source(table, model) as source,
        _progress(f"predicting {table}"),
        closing(_predicted(_load(model), source, query, extra, memory, written)) as parts,
    ):
        if path:
            _write_predictions(parts, path)
        elif as_json:
            written["values"] = _joined(parts)
        else:
            _print_csv(parts)
    if as_json:
        _print_json(written)
    elif path:
        _print(f"{written['n_rows']:,} predictions saved in {path}")


@app.command()
def evaluate(
    model: ModelArgument,
    table: TableArgument,
    query: QueryOption = None,
    extra: ExtraOption = "warn",
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a model on TABLE, which must hold the target column."""
    with _source(table, model) as source, _progress(f"evaluating {table}"):
        with held_back():
            from multilayer.recipe import chunks as streaming

        loaded = _load(model)
        with streaming.in_order(loaded, source, memory, query) as pieces:
            if pieces is None:
                score = loaded.evaluate(source, query=query, extra=extra)
            else:
                score = loaded.evaluate_pieces(pieces, extra=extra)
    if as_json:
        _print_json({"model": model, "table": table, "target": loaded.target, "score": score})
    else:
        _print(f"{', '.join(loaded.targets)} in {table}")
        _print(_score_table(score))


@app.command()
def inspect(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Show what a model file holds: columns, network, training, score."""
    _check_files(model)
    loaded = _load(model)
    if as_json:
        _print_json({"model": model, **_facts(loaded), "schema": loaded.schema.to_json()})
    else:
        _print_model(loaded, model)


@app.command()
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
    """Show what each column of TABLE is taken for."""
    path = Path(out) if out else None
    if path:
        _check_out(path, sources=(table,))
    with _source(table) as source, _progress(f"reading {table}"):
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
        _print_json(found.to_json())
        return
    _print(str(found))
    if read.remarks:
        _print(f"\nread: {'; '.join(read.remarks)}")
    if path:
        given = {
            "--query": query, "--thousands": thousands, "--decimal": decimal if decimal != "." else None,
            "--encoding": encoding,
        }  # fmt: skip
        options = [(name, value) for name, value in given.items() if value is not None]
        options += [("--missing", marks) for marks in missing or []]
        reading = [part for option in options for part in option] + ([] if header else ["--no-header"])
        command = shlex.join(["multilayer", "fit", table, "--schema", str(path), *reading])
        _print(f"\nSaved in {path}. To use it: {command}")


@app.command()
def warmup() -> None:
    """Compile the training kernels ahead, for images: later runs only load them."""
    with _progress("compiling the training kernels"):
        with held_back():
            from multilayer.training.kernels.engine import warm_up

        warm_up()
    _print("The training kernels are compiled.")


@app.command()
def demo(
    folder: Annotated[
        str, typer.Option("--dir", metavar="DIR", help="Where to write; made if it is missing.")
    ] = "demo",
) -> None:
    """Show all of it on a real table: is a breast tumour malignant, from 30 measurements of its cells?"""
    known, new = Path(folder, "tumours.csv"), Path(folder, "new_tumours.csv")
    model, predictions = Path(folder, "tumours.mlp"), Path(folder, "predictions.csv")
    _write_demo_tables(known, new)
    _print(f"Wrote {known} and {new}: 569 tumours, every fifth one kept back as new.")
    _run("fit", known, "--target", "diagnosis", "--out", model)
    _run("evaluate", model, new)
    _run("predict", model, new, "--out", predictions)
    with predictions.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    shown = [[*(_number(float(prob)) for prob in probs), label] for *probs, label in rows[:5]]
    _print(f"\nThe first rows of {predictions}")
    _print(_text_table(header, shown))


def _stem(table: str) -> str:
    """The table's file name without its endings.

    >>> _stem("data/houses.csv.gz"), _stem("sales.2024.parquet"), _stem("sales/*.csv")
    ('houses', 'sales.2024', 'sales')
    """
    path = Path("model" if table == "-" else table)
    while any(sign in path.name for sign in "*?["):
        path = path.parent
    return Path(path.name.removesuffix(".gz").removesuffix(".zst")).stem or "model"


def _check_files(*names: str) -> None:
    """Refuse names of files that are not there, while that takes no time: before PyTorch is loaded."""
    if "torch" in sys.modules:  # nothing is gained, and whoever reads them says what is wrong
        return
    from multilayer.table.sources.paths import check_source

    for name in names:
        check_source(name)


@contextmanager
def _source(table: str, *others: str) -> Iterator[str]:
    """The name of a table, checked before PyTorch is loaded; of standard input, that of a copy.

    others: further files that are to be read
    """
    _check_files(*others, *([] if table == "-" else [table]))
    if table != "-":
        yield table
        return
    if sys.stdin is None:
        raise DataError("standard input must be open to read a table from it; it is closed. Pipe a table in.")
    with held_back():
        from multilayer.table.sources.plain_text import of_stream

    copy = of_stream(typer.get_binary_stream("stdin"))
    try:
        yield str(copy.path)
    finally:
        copy.remove()


def _load(path: str) -> "multilayer.model.model.Model":
    with held_back():
        from multilayer.model.model import Model

    return Model.load(path)


def _predicted(
    model: "multilayer.model.model.Model",
    table: str,
    query: str | None,
    extra: str,
    memory: str | None,
    written: dict[str, Any],
) -> Generator[dict[str, "numpy.ndarray"], None, None]:
    """The columns that `predict` writes, of all rows or, of a table larger than memory, piece by piece.

    written: gets their names and the number of rows.
    """
    with held_back():
        from multilayer.recipe import chunks as streaming

    with streaming.in_order(model, table, memory, query) as pieces:
        parts, query = ([table], query) if pieces is None else (pieces, None)
        for piece in parts:
            columns = model.predict_columns(piece, query=query, extra=extra)
            written["n_rows"] += len(next(iter(columns.values())))
            written["columns"] = list(columns)
            yield columns


def _joined(parts: Iterator[dict[str, "numpy.ndarray"]]) -> dict[str, list[Any]]:
    """The columns of all parts, as lists."""
    values: dict[str, list[Any]] = {}
    for columns in parts:
        for name, column in columns.items():
            values.setdefault(name, []).extend(column.tolist())
    return values


def _check_out(path: Path, *, sources: Sequence[str]) -> None:
    """Refuse an output that cannot be written, or is an input too, before any work is done for it."""
    from multilayer.output import check_writable

    if any(path.exists() and Path(source).exists() and path.samefile(source) for source in sources):
        raise OutputError(f"{path} is an input of this command and would be lost. Change --out.")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OutputError(f"the output must be a file; {path} is a device or a pipe. Change --out.")
    check_writable(path)


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"predictions are written as .csv or .parquet; got {path.name!r}. Change --out.")


def _write_predictions(parts: Iterator[dict[str, "numpy.ndarray"]], path: Path) -> None:
    from multilayer.output import write_atomically

    write_atomically(path, (_to_parquet if path.suffix.lower() == ".parquet" else _to_csv)(parts, path))


def _to_csv(parts: Iterator[dict[str, "numpy.ndarray"]], path: Path | None = None) -> Iterator[bytes]:
    """The CSV text of the parts, one after the other, under one header."""
    for i, columns in enumerate(parts):
        file = StringIO(newline="")
        writer = csv.writer(file, lineterminator="\n")
        if i == 0:
            writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        yield file.getvalue().encode()


def _to_parquet(parts: Iterator[dict[str, "numpy.ndarray"]], path: Path) -> Iterator[bytes]:
    """The Parquet file that is to stand at path, made in a folder beside it: DuckDB writes to files only."""
    with held_back():
        import duckdb

    from multilayer.output import temporary_folder

    try:
        with (
            temporary_folder(path.parent) as folder,
            duckdb.connect(f"{folder}/predictions.duckdb") as connection,
        ):
            connection.execute("SET memory_limit = '500MB'; SET enable_progress_bar = false")
            for i, columns in enumerate(parts):
                connection.register("part", dict(columns))
                into = "INSERT INTO predictions" if i else "CREATE TABLE predictions AS"
                connection.execute(f"{into} SELECT * FROM part")
            connection.table("predictions").write_parquet(f"{folder}/predictions.parquet")
            with Path(folder, "predictions.parquet").open("rb") as file:
                yield from iter(lambda: file.read(1 << 24), b"")
    except (OSError, duckdb.Error) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{path} could not be written: is the disk full? What stood there is untouched."
        ) from error


def _write_demo_tables(known: Path, new: Path) -> None:
    """The breast cancer table of Wisconsin (Street, Wolberg, Mangasarian 1993) that scikit-learn brings."""
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
    _print(f"\n$ multilayer {shlex.join(command)}")
    status = app(command, prog_name="multilayer", standalone_mode=False)
    if status:
        raise typer.Exit(status)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[Any], None]]:
    """A bar on stderr, drawn only on a terminal; yields the callback that moves it on after each epoch."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task(what, total=None)

        def after_epoch(state: Any) -> None:
            losses = f"loss {_number(state.train_loss)}"
            if state.val_loss is not None:
                losses += f", validation {_number(state.val_loss)}"
            text = f"epoch {state.epoch} of {state.epochs}: {losses}"
            bar.update(row, description=text, completed=state.epoch, total=state.epochs)

        vars(after_epoch)["_multilayer_changes"] = "nothing"  # see training/pack.py
        yield after_epoch


def _say(label: str, message: str = "") -> None:
    """One message on stderr, its label in red on a terminal; the message is never read as markup."""
    from rich.console import Console
    from rich.text import Text

    with suppress(OSError):  # there is no other place to say it
        shown = Text.assemble((label, "bold red"), " " if message else "", message)
        Console(stderr=True).print(shown, soft_wrap=True)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """What was passed over in a table, and what to make of a score, each once, as one message on stderr."""
    said: set[str] = set()
    show = warnings.showwarning

    def say(message: Warning | str, category: type[Warning], *more: Any, **others: Any) -> None:
        if not issubclass(category, UserWarning):
            show(message, category, *more, **others)
        elif str(message) not in said:
            said.add(str(message))
            _say("warning:", str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = say
        yield


def _print(shown: Any) -> None:
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
    _write([text.getvalue()])


def _print_json(data: Mapping[str, Any]) -> None:
    _write([json.dumps(_plain(data), allow_nan=False) + "\n"])


def _write(pieces: Iterable[str | bytes]) -> None:
    """All pieces on stdout, to the last letter.

    Raises:
        OutputError: it is closed, or its disk is full.
        Exit: its reader, `head` for one, has had enough; quietly, as other programs.
    """
    if sys.stdout is None:
        raise OutputError("standard output must be open; it is closed. Open it, or write to a file.")
    for piece in pieces:
        with _stdout():
            if isinstance(piece, bytes):
                typer.get_binary_stream("stdout").write(piece)
            else:
                sys.stdout.write(piece)
    with _stdout():
        sys.stdout.flush()


@contextmanager
def _stdout() -> Iterator[None]:
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


def _ending() -> str:
    """What ended the command, in a word."""
    return signal.Signals(_ended[0]).name if _ended else "Ctrl-C"


def _is_interruption(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C or its like, or what became of it in code that was interrupted."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None or bool(_ended)


def _status() -> int:
    """Exit status of a command that a signal ended."""
    return OF_SIGNALS + (_ended[0] if _ended else signal.SIGINT)


def _leave_at_once(status: Any) -> None:
    """Do not wait for what is still being compiled when the command was stopped."""
    compiler = sys.modules.get("multilayer.training.kernels.compiler")
    if compiler is not None and compiler.is_compiling():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status if isinstance(status, int) else 1)


def _plain(value: Any) -> Any:
    """The value as JSON knows it; NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # a NumPy array or number
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _print_csv(parts: Iterator[dict[str, "numpy.ndarray"]]) -> None:
    """CSV on stdout: UTF-8 and bare line feeds on every system, as in a file."""
    _write(_to_csv(parts))


def _facts(model: "multilayer.model.model.Model") -> dict[str, Any]:
    return {
        "target": model.target,
        "task": model.task.kind,
        "classes": model.classes,
        "score": model.score,
        "summary": {name: value for name, value in model.summary.items() if name != "trained_on"},  # hashes
    }


def _print_model(model: "multilayer.model.model.Model", path: str) -> None:
    n_parameters = sum(weights.numel() for net in model.networks for weights in net.parameters())
    _print(f"{path} predicts {', '.join(model.targets)}\n\n{model.schema}\n")
    _print(f"networks: {len(model.networks)}, parameters: {n_parameters:,}\n{model.networks[0]}\n")
    _print_training(model)
    _print(f"\n{model.history}")
    for name in ("seed", "times", "versions"):
        _print(f"{name}: {_in_words(model.summary.get(name))}")


def _print_training(model: "multilayer.model.model.Model") -> None:
    for decision in model.summary.get("decisions", ()):
        _print(decision)
    baseline = {f"baseline_{name}": value for name, value in model.summary.get("baseline", {}).items()}
    _print(f"\n{', '.join(model.targets)} on the validation rows")
    _print(_score_table(model.score | baseline))


def _in_words(value: Any) -> str:
    """A setting, or several by name, on one line.

    >>> _in_words({"fit_s": 1.5, "fitted": "2026-11-24"}), _in_words(7)
    ('fit_s 1.5, fitted 2026-11-24', '7')
    """
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return str(value)


def _score_table(score: Mapping[str, Any]) -> "rich.table.Table":
    """One row a metric, the baseline beside the model; of very many targets their means alone."""
    metrics = [name for name in score if not name.startswith("baseline_")]
    if len(metrics) > MOST_METRICS:
        metrics = [name for name in metrics if "[" not in name]
    rows = [
        (name, _number(score[name]), _number(score.get(f"baseline_{name}", math.nan))) for name in metrics
    ]
    return _text_table(("metric", "model", "baseline"), rows)


def _text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> "rich.table.Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for i, name in enumerate(header):
        table.add_column(Text(name), justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _number(value: float | None) -> str:
    """Four decimals where they tell something, fewer for large numbers, a power of ten at the ends.

    >>> _number(0.91234), _number(54321.987), _number(0.0000123), _number(float("nan"))
    ('0.9123', '54,322.0', '1.23e-05', '-')
    """
    if value is None or math.isnan(value):  # a model file holds None for NaN
        return "-"
    if value and not 1e-3 <= abs(value) < 1e9:
        return f"{value:.3g}"
    return f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.1f}"
