"""`multilayer predict` and `multilayer evaluate`: a model on the rows of a table."""

import csv
from collections.abc import Generator, Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multilayer.cli.files import check_out, load_model, table_source
from multilayer.cli.model_text import score_table
from multilayer.cli.options import (
    ExtraOption,
    JsonOption,
    MemoryOption,
    ModelArgument,
    QueryOption,
    TableArgument,
)
from multilayer.cli.printing import show, show_json, write_out
from multilayer.errors import ConfigError, OutputError, counted
from multilayer.progress import progress
from multilayer.signals import held_back

if TYPE_CHECKING:  # written out in full in the hints below, so that a run-time check finds them too
    import numpy

    import multilayer.model.model

SMALL = 1 << 20  # bytes of a file; some ten thousand rows, which NumPy predicts while PyTorch would load
PLAIN_TEXT = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")


def predict(
    model: ModelArgument,
    table: TableArgument,
    query: QueryOption = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="A .csv or .parquet file; without it, CSV on stdout.")
    ] = None,
    extra: ExtraOption = "warn",
    memory: MemoryOption = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            metavar="C",
            help="Also write an interval of each number, or the labels that are possible, which hold the "
            "truth in this share of rows, such as 0.9.",
        ),
    ] = None,
    flags: Annotated[
        bool, typer.Option("--flags", metavar="", help="Also write what is unusual about each row.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict the rows of TABLE: the probability of each class, then the prediction."""
    path = Path(out) if out else None
    if path:
        _check_ending(path)
        check_out(path, sources=(model, table))
    written: dict[str, Any] = {"out": out, "n_rows": 0, "columns": []}
    with (
        table_source(table, model) as source,
        progress(f"predicting {table}"),
        closing(_predicted(model, source, query, extra, memory, written, coverage, flags)) as parts,
    ):
        if path:
            _write_predictions(parts, path)
        elif as_json:
            written["values"] = _joined(parts)
        else:
            write_out(_to_csv(parts))
    if as_json:
        show_json(written)
    elif path:
        show(f"{counted(written['n_rows'], 'prediction')} saved in {path}")


def evaluate(
    model: ModelArgument,
    table: TableArgument,
    query: QueryOption = None,
    extra: ExtraOption = "warn",
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a model on TABLE, which must hold the target column."""
    with table_source(table, model) as source, progress(f"evaluating {table}"):
        with held_back():
            from multilayer.recipe.chunks import in_order

        loaded = load_model(model)
        with in_order(loaded, source, memory, query) as pieces:
            if pieces is None:
                score = loaded.evaluate(source, query=query, extra=extra)
            else:
                score = loaded.evaluate_pieces(pieces, extra=extra)
    if as_json:
        show_json({"model": model, "table": table, "target": loaded.target, "score": score})
    else:
        show(f"{', '.join(loaded.targets)} in {table}")
        show(score_table(score))


def _predicted(
    model: str,
    table: str,
    query: str | None,
    extra: str,
    memory: str | None,
    written: dict[str, Any],
    coverage: float | None,
    flags: bool,
) -> Generator[dict[str, "numpy.ndarray"], None, None]:
    """The columns that `predict` writes, of all rows or, of a table larger than memory, piece by piece.

    written: gets their names and the number of rows.
    """
    for columns in _of_pieces(model, table, query, extra, memory, coverage, flags):
        written["n_rows"] += len(next(iter(columns.values())))
        written["columns"] = list(columns)
        yield columns


def _of_pieces(
    model: str,
    table: str,
    query: str | None,
    extra: str,
    memory: str | None,
    coverage: float | None,
    flags: bool,
) -> Iterator[dict[str, "numpy.ndarray"]]:
    """Predictions of a small file by NumPy alone, as loading PyTorch would take longer than they do."""
    is_plain = coverage is None and not flags
    if is_plain and query is None and memory is None and _is_small(Path(table)):
        with held_back():
            from multilayer.runtime.model import load

        yield load(model).predict_columns(table, extra=extra)
        return
    with held_back():
        from multilayer.recipe.chunks import in_order

    loaded = load_model(model)
    with in_order(loaded, table, memory, query) as pieces:
        parts, query = ([table], query) if pieces is None else (pieces, None)
        for piece in parts:
            columns = loaded.predict_columns(piece, query=query, extra=extra)
            if coverage is not None:
                columns |= _sure(loaded, piece, coverage, query)
            if flags:
                found = loaded.flags(piece, query=query, extra="ignore")
                columns["flags"] = numpy_texts([found.words(row) for row in range(len(found))])
            yield columns


def _sure(
    model: "multilayer.model.model.Model", table: Any, coverage: float, query: str | None
) -> dict[str, "numpy.ndarray"]:
    """Bounds of each target, or the labels of each set, separated by spaces."""
    many = len(model.targets) > 1
    ends = [f"_{name}" if many else "" for name in model.targets]
    if model.task.kind == "regression":
        bounds = model.predict_interval(table, coverage, query=query, extra="ignore")[1]
        bounds = bounds.reshape(len(bounds), -1, 2)
        return {
            f"{name}{end}": bounds[:, i, j]
            for i, end in enumerate(ends)
            for j, name in enumerate(("lower", "upper"))
        }
    sets = model.predict_set(table, coverage, query=query, extra="ignore")[1]
    sets = sets.reshape(len(sets), len(ends), -1)
    parts = model.task.parts_of_targets
    return {
        f"set{end}": numpy_texts(
            [" ".join(str(label) for label, is_in in zip(parts[i].classes, row, strict=True) if is_in)
             for row in sets[:, i]])
        for i, end in enumerate(ends)
    }  # fmt: skip


def numpy_texts(texts: list[str]) -> "numpy.ndarray":
    """Texts as a column of predictions."""
    import numpy as np

    return np.array(texts, object)


def _is_small(path: Path) -> bool:
    """Whether it is a file of text that is not packed, and of few rows."""
    return path.suffix.lower() in PLAIN_TEXT and path.is_file() and path.stat().st_size <= SMALL


def _joined(parts: Iterator[dict[str, "numpy.ndarray"]]) -> dict[str, list[Any]]:
    """The columns of all parts, as lists."""
    values: dict[str, list[Any]] = {}
    for columns in parts:
        for name, column in columns.items():
            values.setdefault(name, []).extend(column.tolist())
    return values


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
