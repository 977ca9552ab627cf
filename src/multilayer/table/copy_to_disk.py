"""Tables larger than memory: copied once to disk, in random order or as they stand, to be read in pieces."""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal

from multilayer.errors import DataError, OutputError
from multilayer.output import temporary_folder
from multilayer.signals import held_back
from multilayer.table.on_disk import FEWEST_MB, FLOATS, Copied, StoredTable, is_nested
from multilayer.table.sources.database import sql_column, sql_text
from multilayer.table.sources.delimited import file_errors
from multilayer.table.sources.dtype_hints import Note, note_of_sql
from multilayer.table.sources.intact import reading
from multilayer.table.sources.names import require_columns
from multilayer.table.sources.notation import mark_date, mark_number
from multilayer.table.sources.streamable import Source
from multilayer.table.sources.values import MISSING_MARKS

_SIGNS = "' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || chr(160)"  # white space around text


@dataclass(frozen=True)
class Aside:
    """Which rows are kept aside as validation rows: whole groups, or the latest.

    share: of all rows; column: of the groups, or the time; by: which of them
    """

    by: Literal["groups", "time"]
    column: str
    share: float


@contextmanager
def store(
    source: Any,
    *,
    memory_mb: float | int,
    leave_out: Collection[str] = (),
    need: Sequence[str] = (),
    shuffle_seed: int | None = None,
    aside: Aside | None = None,
    weight: str | None = None,
    threads: int = 1,
) -> Iterator[StoredTable]:
    r"""Copy a table to a temporary folder, which is gone when the block ends, also by an error or Ctrl-C.

    source: files, as `Source.find` takes them.
    memory_mb: for DuckDB.
    leave_out: columns not to copy, where they are there.
    need: columns that must be there.
    shuffle_seed: draw an order of the rows from this seed, the same whatever the number of threads; None
        keeps the order of the source.
    aside: which rows come first.
    weight: column of weights; rows in which it is 0 are left out.
    threads: for DuckDB.

    Raises:
        DataError: it cannot be read as a table, or not in so little memory; a column is absent.
        OutputError: the disk of temporary files has too little room.

    >>> Path("t.csv").write_text("x,y\n1,a\n2,b\n3,c\n")
    16
    >>> with store("t.csv", memory_mb=200) as table:
    ...     table.n_rows, table.rows(1, 3)["y"].tolist()
    (3, ['b', 'c'])
    """
    found = source if isinstance(source, Source) else Source.find(source)
    if found is None:
        raise DataError(
            f"A table to stream must be CSV or Parquet files; got {source!r}. Pass a path, a pattern or a "
            "folder."
        )
    _check_disk(found.disk_bytes)
    with _database(memory_mb, threads) as (connection, folder):
        with _errors_of_copying(found, memory_mb):
            view = _View.of(connection, found)
            require_columns(
                [*need, *([aside.column] if aside else []), *([weight] if weight else [])], view.names
            )
            found.notation.check_names(view.names)
            wanted = tuple(name for name in view.names if name not in leave_out)
            _copy(view, wanted, shuffle_seed, aside, weight)
            copied = Copied(
                wanted,
                tuple(name for name in view.names if name in leave_out),
                view.notes(wanted),
                0 if aside is None else _n_aside(connection, aside),
            )
        yield StoredTable(connection, copied, folder)


@contextmanager
def _database(memory_mb: float | int, threads: int) -> Iterator[tuple[Any, Path]]:
    """A connection to DuckDB with an empty database "d" in a temporary folder, and the folder."""
    with held_back():
        import duckdb

    config: dict[str, Any] = {
        "memory_limit": f"{max(FEWEST_MB, int(memory_mb))}MB",
        "threads": str(threads),
        "preserve_insertion_order": "true",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
    }
    with (
        temporary_folder(Path(gettempdir())) as folder,
        duckdb.connect(config=config | {"temp_directory": f"{folder}/spill"}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"ATTACH {sql_text(f'{folder}/rows.duckdb')} AS d")
        try:
            yield connection, folder
        finally:
            connection.execute("USE memory; DETACH d")


@contextmanager
def _errors_of_copying(source: Source, memory_mb: float | int) -> Iterator[None]:
    """Say in words what cannot be read, or not in so little memory; pass Ctrl-C on."""
    import duckdb

    with reading(source.files.paths), file_errors(source.files.paths[0], "a table"):
        try:
            yield
        except duckdb.OutOfMemoryException:
            raise DataError(
                f"Shuffling this table takes more than the {memory_mb:.0f} MB that are left for it; "
                f"it has {source.n_columns} columns. Give more memory, or leave out columns."
            ) from None
        except RuntimeError as error:
            if "INTERRUPT" in str(error).upper():
                raise KeyboardInterrupt from None
            raise


def _check_disk(needed: int) -> None:
    free = shutil.disk_usage(gettempdir()).free
    if needed > free:
        raise OutputError(
            f"streaming may need {needed / 1e9:.1f} GB of temporary disk for a shuffled copy of the table; "
            f"{gettempdir()} has {free / 1e9:.1f} GB free. Make room, or name another folder in TMPDIR."
        )


@dataclass(frozen=True)
class _View:
    """A source as DuckDB's view "source".

    names:   of its columns
    columns: name -> what DuckDB calls it, and its type there
    """

    connection: Any
    source: Source
    names: Sequence[str]
    columns: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, connection: Any, source: Source) -> "_View":
        """Make the view."""
        relation, names = source.relation(connection)
        relation.create_view("source")
        types = map(str, relation.types)
        columns = {name: (own, sql) for name, own, sql in zip(names, relation.columns, types, strict=True)}
        return cls(connection, source, names, columns)

    def cell(self, name: str) -> str:
        """SQL of a column as a Table has it."""
        return _cell(*self.columns[name], name, self.source.notation.marks_in(name))

    def notes(self, names: Collection[str]) -> dict[str, Note]:
        """What the types of these columns say, and what Parquet files say of them."""
        notes = {name: note for name in names if (note := note_of_sql(self.columns[name][1])) is not None}
        if self.source.files.kind == "Parquet":
            said = self.source.files.parquet_notes(self.connection)
            notes |= {name: note for name, note in said.items() if name in names}
        return notes


def _copy(
    view: _View, names: Sequence[str], seed: int | None, aside: Aside | None, weight: str | None
) -> None:
    """Make d.rows of these columns, called c0, c1, ..., in their order."""
    selected = [f"{view.cell(name)} AS c{i}" for i, name in enumerate(names)]
    order = []
    if aside is not None:
        weighs = "TRUE" if weight is None else f"{view.columns[weight][0]} IS DISTINCT FROM 0"
        is_aside = _is_aside(view.connection, view.cell(aside.column), aside, seed or 0, weighs)
        selected.append(f"{is_aside} AS aside")
        order.append("aside DESC")
    query = f"SELECT {', '.join(selected)} FROM source"
    if seed is not None:
        order.append(f"hash(place, {int(seed)}), place")
        query = f"SELECT *, row_number() OVER () AS place FROM ({query})"
    kept = ", ".join([f"c{i}" for i in range(len(names))] + ["aside"] * (aside is not None))
    with_weight = f" WHERE c{names.index(weight)} IS DISTINCT FROM 0" if weight else ""
    by = f" ORDER BY {', '.join(order)}" if order else ""
    view.connection.execute(f"CREATE TABLE d.rows AS SELECT {kept} FROM ({query}){with_weight}{by}")


def _n_aside(connection: Any, aside: Aside) -> int:
    n_aside, n_rows = connection.execute("SELECT count(*) FILTER (aside), count(*) FROM d.rows").fetchone()
    if not 0 < n_aside < n_rows:
        raise DataError(
            f"A split by {aside.by} needs values of {aside.column!r} for both sides; with a share of "
            f"{aside.share:g} all rows fall on one. Split by another column, or at random."
        )
    return int(n_aside)


def _cell(source: str, sql_type: str, name: str, marks: Sequence[str]) -> str:
    """SQL of a column as one of Table's types, with NULL for NaN, blank text and marks of missing values."""
    cell = sql_column(source, sql_type, name)
    tests = [f"isnan({cell})"] if sql_type in FLOATS else []
    numbers = ", ".join(repr(number) for number in map(mark_number, marks) if number is not None)
    if sql_type in ("VARCHAR", "UUID") or sql_type.startswith("ENUM"):
        text = f"trim({cell}, {_SIGNS})"
        tests.append(f"{text} IN ({', '.join(map(sql_text, (*MISSING_MARKS, *marks)))})")
        tests += [f"TRY_CAST({text} AS DOUBLE) IN ({numbers})"] if numbers else []
        cell = text
    elif sql_type == "DATE" or sql_type.startswith("TIMESTAMP"):
        dates = [f"TIMESTAMP '{moment}'" for moment in map(mark_date, marks) if moment is not None]
        tests += [f"{cell} IN ({', '.join(dates)})"] if dates else []
    elif numbers and sql_type != "BOOLEAN" and not is_nested(sql_type):
        tests.append(f"{cell} IN ({numbers})")
    return f"CASE WHEN {' OR '.join(tests)} THEN NULL ELSE {cell} END" if tests else cell


def _is_aside(connection: Any, cell: str, aside: Aside, seed: int, weighs: str) -> str:
    """SQL that is true for the rows to keep aside. weighs: SQL that is true for rows that count at all."""
    moment, read = cell, "all"
    kind = connection.execute(f"SELECT typeof({cell}) FROM source LIMIT 1").fetchone()[0]
    if aside.by == "time" and kind == "VARCHAR":
        moment, read = f"TRY_CAST({cell} AS TIMESTAMP)", "readable"
    missing, strange = connection.execute(
        f"SELECT count(*) FILTER ({cell} IS NULL), min({cell}) FILTER ({moment} IS NULL) FROM source"
    ).fetchone()
    if missing:
        raise DataError(
            f"{aside.by} must have no missing values; {aside.column!r} is missing in {missing:,} rows. "
            "Fill them, or leave the rows out."
        )
    if read == "readable" and strange is not None:
        raise DataError(
            "The time of a table that is streamed must be numbers, dates, or text like 2024-05-31 12:00; "
            f"{aside.column!r} holds {strange!r}. Rewrite the column so."
        )
    if aside.by == "groups":
        return f"hash({cell}, {seed}) % 1000000 < {round(aside.share * 1e6)}"
    first = connection.execute(_first_aside(moment, aside.share, weighs)).fetchone()
    return f"{moment} >= '{first[0]}'" if first else "FALSE"


def _first_aside(moment: str, share: float, weighs: str) -> str:
    """SQL for the first moment to keep aside: the change of time nearest to the share, as `split` has it."""
    n_aside = f"greatest(1, least(round_even(n_rows * {share!r}, 0), n_rows - 1))"
    return (
        f"WITH times AS (SELECT {moment} AS moment, count(*) AS n FROM source WHERE {weighs} GROUP BY 1), "
        "counted AS (SELECT moment, sum(n) OVER (ORDER BY moment) - n AS before, sum(n) OVER () AS n_rows "
        "FROM times) SELECT CAST(moment AS VARCHAR) FROM counted WHERE before > 0 ORDER BY abs(before - "
        f"(n_rows - {n_aside})), moment LIMIT 1"
    )
