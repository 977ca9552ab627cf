"""Tables larger than memory: copied once to disk, in random order or as they stand, then read in pieces."""

import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, OutputError
from multilayer.output import temporary_folder
from multilayer.signals import held_back
from multilayer.table.column import Column, Infinite
from multilayer.table.infer import IDENTIFIED, IDENTIFIER, ROW_NUMBERS
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.ordered import check_order
from multilayer.table.levels import as_levels, frequent_levels
from multilayer.table.odd_cells import without_texts
from multilayer.table.schema import Kinds, Schema, declared_schema, infer_schema
from multilayer.table.sources.database import connect, sql_column, sql_text
from multilayer.table.sources.delimited import Delimited, file_errors, literal_path, opened
from multilayer.table.sources.dtype_hints import Note, note_of_sql
from multilayer.table.sources.files import Files
from multilayer.table.sources.intact import reading
from multilayer.table.sources.names import column_names, require_columns
from multilayer.table.sources.notation import Notation, mark_date, mark_number
from multilayer.table.sources.read import Table
from multilayer.table.sources.values import MISSING_MARKS, from_numpy, merged
from multilayer.table.text_kind import SIGN_MARKS, are_few, sign_marks, unread_texts

COPY_FACTOR = 3  # disk that sorting takes at most, in sizes of the table: the copy, and what the sort puts by
PACK_FACTOR = 8  # text in a .gz or .zst file, in sizes of that file
PIECE_CELLS = 1_000_000  # of a table in memory, where one goes through all of it piece by piece
FEWEST_MB = 100  # that DuckDB works with
NEVER_MORE_LEVELS = 1_000_000  # counted exactly; beyond, only the number of them is an estimate
_FLOATS = ("FLOAT", "DOUBLE")
_SIGNS = "' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || chr(160)"  # white space around text


@dataclass(frozen=True)
class Source:
    """Files of one table that can be streamed: Parquet, or text with one header.

    notation: how they write missing values and numbers
    n_bytes: of the table, uncompressed: of text as it is, of Parquet as its columns are coded
    n_rows, n_columns: for text files of more than 1 MB the rows are an estimate from the first lines
    """

    files: Files
    notation: Notation
    n_bytes: int
    n_rows: int
    n_columns: int

    @classmethod
    def find(cls, source: Any, notation: Notation | None = None) -> "Source | None":
        """The files that a source names, as `Files.find` has it; None if it is something else to stream.

        Raises:
            DataError: a name, folder or pattern without table files, or with several kinds of them.
        """
        if not is_path(source):
            return None
        files, notation = Files.find(source), notation or Notation()
        if files.kind not in ("Parquet", "text"):
            return None
        with reading(files.paths), file_errors(files.paths[0], "a table"):
            is_parquet = files.kind == "Parquet"
            size = _parquet_size(files.paths) if is_parquet else _text_size(files.paths, notation)
        return cls(files, notation, *size)

    def relation(self, connection: Any) -> tuple[Any, list[str]]:
        """The table as a relation of DuckDB, and the names of its columns.

        Raises:
            DataError: files differ in their columns.
        """
        if self.files.kind == "Parquet":
            relation, names = self.files.parquet(connection)
            return relation, column_names(names)
        first, *others = (
            Delimited.open(
                path,
                self.notation.decimal,
                self.notation.missing,
                encoding=self.notation.encoding,
                has_names=self.notation.header,
            )
            for path in self.files.paths
        )
        if first.copy is not None or any(other.copy is not None for other in others):
            raise DataError(
                f"A table that is streamed must be UTF-8; {str(first.path)!r} is {first.encoding}. Save it "
                "again as UTF-8, or leave memory= out and give the table room."
            )
        for other in others:
            if set(other.names) != set(first.names) or len(other.names) != len(first.names):
                raise DataError(
                    "Text files of a table that is streamed must have the same columns; "
                    f"{str(other.path)!r} has others than {str(first.path)!r}. Make them alike."
                )
        if any(replace(other, path=first.path) != first for other in others):
            files = [first, *others]
            return _by_name(connection, files, self.notation.texts), list(first.names)
        text = replace(first, more=self.files.paths[1:])
        with text.errors():
            return text.relation(connection, self.notation.texts), list(text.names)

    @property
    def disk_bytes(self) -> int:
        """Disk that a copy of it takes at most, with what sorting puts by."""
        return COPY_FACTOR * max(self.n_bytes, 8 * self.n_rows * self.n_columns)


def _by_name(connection: Any, files: Sequence[Delimited], texts: Collection[str]) -> Any:
    """Files one below the other, the columns of each in the order of the first: their headers may differ."""
    found = []
    for file in files:
        with file.errors():
            found.append(dict(zip(file.names, map(str, file.relation(connection).types), strict=True)))
    as_text = {name for types in found for name, sql_type in types.items() if sql_type == "VARCHAR"}
    as_text.update(texts)
    together = None
    for file in files:
        with file.errors():
            part = file.relation(connection, as_text)
        own = {name: f"c{i}" for i, name in enumerate(file.names)}
        part = part.project(", ".join(f"{own[name]} AS c{i}" for i, name in enumerate(files[0].names)))
        together = part if together is None else together.union(part)
    return together


def is_path(source: Any) -> bool:
    """Whether it is a path, or several."""
    several = isinstance(source, list | tuple) and bool(source)
    return isinstance(source, str | Path) or (several and all(isinstance(one, str | Path) for one in source))


def _parquet_size(paths: Sequence[Path]) -> tuple[int, int, int]:
    files = f"[{', '.join(map(literal_path, paths))}]"
    with connect() as connection:
        n_rows = connection.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata({files})").fetchone()
        sizes = connection.execute(
            "SELECT sum(total_uncompressed_size), count(DISTINCT path_in_schema) "
            f"FROM parquet_metadata({files})"
        ).fetchone()
    assert n_rows is not None and sizes is not None
    return int(sizes[0] or 0), int(n_rows[0] or 0), int(sizes[1])


def _text_size(paths: Sequence[Path], notation: Notation) -> tuple[int, int, int]:
    n_bytes = sum(p.stat().st_size * (PACK_FACTOR if is_packed(p) else 1) for p in paths)
    with opened(paths[0], errors="replace") as file:
        text = file.read(1 << 20)
    lines = max(text.count("\n"), 1)
    n_columns = len(Delimited.open(paths[0], encoding=notation.encoding).names)
    return n_bytes, round(n_bytes * lines / max(len(text.encode()), 1)), n_columns


def is_packed(path: Path) -> bool:
    """Whether a text file is compressed."""
    return path.name.lower().endswith((".gz", ".zst"))


@dataclass(frozen=True)
class Aside:
    """Which rows are kept aside as validation rows: whole groups, or the latest.

    share: of all rows; column: of the groups, or the time; by: which of them
    """

    by: Literal["groups", "time"]
    column: str
    share: float


class StoredTable:
    r"""A table on disk, of which any stretch of rows can be read as a `Table`. Made by `store`.

    names:   of the columns, in the order of the source
    left_out: names of the columns that were not copied
    n_rows:  in all
    n_aside: the first so many rows are those kept aside
    n_bytes: on disk

    >>> Path("t.csv").write_text("x,y\n1,a\n2,b\n3,c\n")
    16
    >>> with store("t.csv", memory_mb=200) as table:
    ...     table.n_rows, table.rows(1, 3)["y"].tolist()
    (3, ['b', 'c'])
    """

    def __init__(self, connection: Any, copied: "_Copied", folder: Path) -> None:
        self.connection, self.folder = connection, folder
        self.names, self.left_out, self.n_aside = copied.names, copied.left_out, copied.n_aside
        self.notes = copied.notes
        self.n_rows = int(self._one("SELECT count(*) FROM d.rows")[0])
        self._places = {name: f"c{i}" for i, name in enumerate(self.names)}
        types = connection.execute("DESCRIBE d.rows").fetchall()
        self._types = {name: str(types[i][1]) for i, name in enumerate(self.names)}

    @property
    def n_bytes(self) -> int:
        """Bytes of its files on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def rows(self, start: int, stop: int, names: Sequence[str] | None = None) -> Table:
        """Rows start to stop - 1, of these columns or all."""
        names = self.names if names is None else names
        places = ", ".join(self._places[name] for name in names)
        arrays = self.connection.execute(
            f"SELECT {places} FROM d.rows WHERE rowid >= {int(start)} AND rowid < {int(stop)}"
        ).fetchnumpy()
        columns = merged(from_numpy(name, arrays[self._places[name]]) for name in names)
        return Table(dict(columns), self.notes)

    def pieces(self, size: int, names: Sequence[str] | None = None) -> Iterator[Table]:
        """All rows in their order, at most so many at a time."""
        for start in range(0, self.n_rows, size):
            yield self.rows(start, min(start + size, self.n_rows), names)

    def limit_memory(self, memory_mb: float | int) -> None:
        """Let DuckDB use at most so much memory from now on."""
        self.connection.execute(f"SET memory_limit = '{max(FEWEST_MB, int(memory_mb))}MB'")

    def is_text(self, name: str) -> bool:
        """Whether a column holds text."""
        return self._types[name] == "VARCHAR"

    @property
    def nested(self) -> list[str]:
        """Names of columns of lists or dicts, which become several columns of a `Table`."""
        return [name for name, kind in self._types.items() if _is_nested(kind)]

    def distinct(self, name: str, most: int) -> NDArray[Any]:
        """The smallest distinct values of a column, at most so many; missing ones are not among them."""
        c = self._places[name]
        arrays = self.connection.execute(
            f"SELECT DISTINCT {c} FROM d.rows WHERE {c} IS NOT NULL ORDER BY {c} LIMIT {most}"
        ).fetchnumpy()
        return _column(name, arrays[c])

    def counts(self, name: str, weight: str | None) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The distinct values of a column, and how many rows have each, or what these weigh."""
        c = self._places[name]
        n = "count(*)" if weight is None else f"sum({self._places[weight]})"
        arrays = self.connection.execute(
            f"SELECT {c}, CAST({n} AS DOUBLE) AS n FROM d.rows WHERE {c} IS NOT NULL "
            f"GROUP BY {c} ORDER BY {c}"
        ).fetchnumpy()
        return _column(name, arrays[c]), np.asarray(arrays["n"], np.float64)

    def facts(self, name: str) -> "Facts":
        """What is seen of a column in all rows."""
        c, is_number = self._places[name], self._types[name] in _FLOATS
        infinite = f"count(*) FILTER (isinf({c}))" if is_number else "0"
        finite = f" FILTER (NOT isinf({c}))" if is_number else ""
        n, low, high, distinct, n_infinite = self._one(
            f"SELECT count({c}), min({c}){finite}, max({c}){finite}, approx_count_distinct({c}), {infinite} "
            "FROM d.rows"
        )
        return Facts(self.n_rows - int(n), low, high, int(distinct), int(n_infinite))

    def levels(self, column: Column) -> tuple[int, tuple[str, ...]]:
        """How many values a category has, and which of them are worth a code of their own."""
        c = self._places[column.name]
        floor = max(2, self.n_rows // 10_000)
        n_levels = int(self._one(f"SELECT count(DISTINCT {c}) FROM d.rows")[0])
        arrays = self.connection.execute(
            f"SELECT {c}, count(*) AS n FROM d.rows WHERE {c} IS NOT NULL GROUP BY {c} HAVING n >= {floor} "
            f"ORDER BY n DESC, {c} LIMIT {NEVER_MORE_LEVELS}"
        ).fetchnumpy()
        levels = as_levels(_column(column.name, arrays[c]))
        counts = Counter(dict(zip(levels.tolist(), arrays["n"].tolist(), strict=True)))
        return n_levels, frequent_levels(counts, self.n_rows)

    def read_texts(self, column: Column) -> "Texts":
        """Read every distinct text of a column as its kind."""
        c = self._places[column.name]
        self.connection.execute(f"CREATE OR REPLACE TABLE d.texts AS SELECT DISTINCT {c} FROM d.rows")
        n = int(self._one("SELECT count(*) FROM d.texts")[0])
        low, high, odd = np.inf, -np.inf, frozenset[str]()
        for start in range(0, n, PIECE_CELLS):
            found = self.connection.execute(
                f"SELECT {c} FROM d.texts WHERE rowid >= {start} AND rowid < {start + PIECE_CELLS}"
            ).fetchnumpy()
            values = _column(column.name, found[c])
            if values.dtype != object:  # all are missing
                continue
            unread = unread_texts(column, values)
            odd |= unread
            numbers = _numbers(column, without_texts(values, unread | SIGN_MARKS))
            finite = numbers[np.isfinite(numbers)]
            low, high = min([low, *finite]), max([high, *finite])
        self.connection.execute("DROP TABLE d.texts")
        signs = ", ".join(map(sql_text, sorted(SIGN_MARKS)))
        n_odd = self._count(column.name, odd)
        n_cells = int(self._one(f"SELECT count(*) FILTER ({c} NOT IN ({signs})) FROM d.rows")[0])
        return Texts(float(low), float(high), odd, n_odd, n_cells)

    def _count(self, name: str, texts: Collection[str]) -> int:
        if not texts:
            return 0
        listed_ = ", ".join(map(sql_text, sorted(texts)))
        return int(self._one(f"SELECT count(*) FROM d.rows WHERE {self._places[name]} IN ({listed_})")[0])

    def clear(self, name: str, texts: Collection[str]) -> None:
        """Make these texts of a column missing."""
        if texts:
            c, listed_ = self._places[name], ", ".join(map(sql_text, sorted(texts)))
            self.connection.execute(f"UPDATE d.rows SET {c} = NULL WHERE {c} IN ({listed_})")

    def signs(self, name: str) -> frozenset[str]:
        """Signs such as ? among the texts of a category that stand for a missing value."""
        c, signs = self._places[name], ", ".join(map(sql_text, sorted(SIGN_MARKS)))
        found = self.connection.execute(f"SELECT DISTINCT {c} FROM d.rows WHERE {c} IN ({signs})").fetchall()
        others = self.connection.execute(
            f"SELECT DISTINCT {c} FROM d.rows WHERE {c} NOT IN ({signs}) LIMIT 2"
        )
        texts = [row[0] for row in (*found, *others.fetchall())]
        return sign_marks(np.array(texts, dtype=object), None) if found else frozenset()

    def _one(self, query: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self.connection.execute(query).fetchone()
        return row


@dataclass(frozen=True)
class Facts:
    """What is seen of a column in all rows: missing cells, range of finite values (None without any), about
    how many distinct values, infinite ones.
    """

    n_missing: int
    low: Any
    high: Any
    n_unique: int
    n_infinite: int


@dataclass(frozen=True)
class Texts:
    """What a column's texts are as numbers (of a date: days): least, largest; those that are none; how many
    rows have such, and how many have any text.
    """

    low: float
    high: float
    odd: frozenset[str]
    n_odd: int
    n_cells: int


def _column(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """A column of DuckDB's as a Table has it."""
    return Table(dict(from_numpy(name, values)))[name]


def _numbers(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The values as the schema's range counts them."""
    numbers = kind_of(column).numbers
    assert numbers is not None
    return numbers(column, values)


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
    """Copy a table to a temporary folder, which is gone when the block ends, also by an error or Ctrl-C.

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
    """
    found = source if isinstance(source, Source) else Source.find(source)
    if found is None:
        raise DataError(
            f"A table to stream must be CSV or Parquet files; got {source!r}. "
            "Pass a path, a pattern or a folder."
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
            copied = _Copied(
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
class _Copied:
    """Names of the columns of d.rows and of those left out, notes on them, and how many rows are aside."""

    names: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: dict[str, Note]
    n_aside: int


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
    tests = [f"isnan({cell})"] if sql_type in _FLOATS else []
    numbers = ", ".join(repr(number) for number in map(mark_number, marks) if number is not None)
    if sql_type in ("VARCHAR", "UUID") or sql_type.startswith("ENUM"):
        text = f"trim({cell}, {_SIGNS})"
        tests.append(f"{text} IN ({', '.join(map(sql_text, (*MISSING_MARKS, *marks)))})")
        tests += [f"TRY_CAST({text} AS DOUBLE) IN ({numbers})"] if numbers else []
        cell = text
    elif sql_type == "DATE" or sql_type.startswith("TIMESTAMP"):
        dates = [f"TIMESTAMP '{moment}'" for moment in map(mark_date, marks) if moment is not None]
        tests += [f"{cell} IN ({', '.join(dates)})"] if dates else []
    elif numbers and sql_type != "BOOLEAN" and not _is_nested(sql_type):
        tests.append(f"{cell} IN ({numbers})")
    return f"CASE WHEN {' OR '.join(tests)} THEN NULL ELSE {cell} END" if tests else cell


def _is_nested(sql_type: str) -> bool:
    return sql_type.endswith("]") or sql_type.startswith(("STRUCT", "MAP"))


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
        "FROM times) SELECT CAST(moment AS VARCHAR) FROM counted WHERE before > 0 "
        f"ORDER BY abs(before - (n_rows - {n_aside})), moment LIMIT 1"
    )


def describe(
    table: StoredTable,
    names: Sequence[str],
    sample: Table,
    kinds: Kinds | None = None,
    declared: Schema | None = None,
    infinite: Infinite = "error",
    allowed: Collection[str] = (),
) -> Schema:
    """The schema of all rows: kinds from the sample, checked against every text; the rest counted exactly.

    Only the number of distinct values of numbers and dates is an estimate, within some per cent, and the
    number of words of text, which is that of the sample.

    declared: goes before `kinds`; what it ignores is not in the table.
    allowed: names that it may have beside, such as the target's.

    Raises:
        DataError, ConfigError: as `infer_schema`.
    """
    features = sample.select(names)
    if declared is not None:
        over = None if infinite == "error" else infinite
        schema = declared_schema(features, declared, infinite=over, allowed=allowed)
        given = set(declared.names)
    else:
        schema = infer_schema(features, kinds=kinds, infinite=infinite)
        given = set(kinds or {})
    texts, strange, odd = {}, {}, {}
    for column in schema.columns:
        if not table.is_text(column.name):
            continue
        kind = kind_of(column)
        if not kind.has_numbers:
            table.clear(column.name, table.signs(column.name) if kind.finds_levels else frozenset())
            continue
        read = texts[column.name] = table.read_texts(replace(column, low=None, high=None))
        if are_few(read.n_odd, read.n_cells):
            table.clear(column.name, read.odd | SIGN_MARKS)
            odd[column.name] = _odd_in_words(read)
        elif column.name in given:
            raise ConfigError(
                f"kinds declares column {column.name!r} as {column.kind}; it also holds "
                f"{min(read.odd)!r}. Mend the values or leave them empty, or declare another kind."
            )
        else:
            strange[column.name] = (
                f"{column.kind}s but for {read.n_odd:,} of its cells, such as {min(read.odd)!r}"
            )
    told_apart = [name for name, why in schema.ignored.items() if why.startswith(IDENTIFIER)]
    levels = [name for name in told_apart if _repeats(table, name)]
    strange |= dict.fromkeys(levels, "")
    if strange:
        categories = {**(kinds or {}), **dict.fromkeys(strange, "category")}
        schema = infer_schema(features, kinds=categories, infinite=infinite)
    schema = Schema(tuple(_with_reasons(column, strange, odd) for column in schema.columns), schema.ignored)
    ignored = {}
    for name, reason in schema.ignored.items():
        facts = table.facts(name)
        is_so = facts.n_missing == table.n_rows or (facts.low == facts.high and facts.n_missing == 0)
        is_so = is_so or reason.startswith((IDENTIFIER, ROW_NUMBERS))
        ignored[name] = reason if is_so else f"{reason} in nearly all rows"
    columns = (_counted(table, column, texts.get(column.name)) for column in schema.columns)
    return Schema(tuple(columns), ignored)


def _repeats(table: StoredTable, name: str) -> bool:
    """Whether values that all differ in the sample occur again in all rows; the count is an estimate."""
    facts = table.facts(name)
    return facts.n_unique < 0.9 * IDENTIFIED * (table.n_rows - facts.n_missing)


def _odd_in_words(read: Texts) -> str:
    if not read.n_odd:
        return ""
    cells = "1 odd cell is" if read.n_odd == 1 else f"{read.n_odd:,} odd cells are"
    return f"{cells} missing, such as {min(read.odd)!r}"


def _with_reasons(column: Column, strange: Mapping[str, str], odd: Mapping[str, str]) -> Column:
    """The column with what was seen of all rows, instead of those of the sample."""
    if column.name in strange:
        return replace(column, reason=strange[column.name] or None)
    if column.name not in odd:
        return column
    parts = [part for part in (column.reason or "").split("; ") if part and " odd cell" not in part]
    return replace(column, reason="; ".join([*parts, *filter(None, [odd[column.name]])]) or None)


def _counted(table: StoredTable, column: Column, texts: Texts | None) -> Column:
    facts = table.facts(column.name)
    if facts.n_infinite and column.infinite == "error":
        raise DataError(
            f"A number must be finite; column {column.name!r} holds {facts.n_infinite:,} infinite values. "
            "Replace infinities by missing values or by a limit, or fit with infinite='clip'."
        )
    column = replace(column, n_missing=facts.n_missing)
    kind = kind_of(column)
    if kind.has_order:
        found = as_levels(table.distinct(column.name, len(column.levels) + 1)).tolist()
        check_order(column, found)
        return replace(column, n_unique=len(found))
    if kind.has_levels:
        n_unique, levels = table.levels(column)
        return replace(column, n_unique=n_unique, levels=levels)
    if column.low is None or column.high is None:
        return column
    column = replace(column, n_unique=max(column.n_unique, facts.n_unique))
    if not kind.has_numbers:
        return column
    if texts is not None:
        return replace(column, low=texts.low, high=texts.high)
    numbers = _numbers(column, _column(column.name, np.array([facts.low, facts.high])))
    return replace(column, low=float(numbers[0]), high=float(numbers[1]))
