"""Tables larger than memory: copied once to disk, in random order or as they stand, then read in pieces."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, OutputError, SchemaError, nearest
from multilayer.table.read import (
    CSV_EXTENSIONS,
    PARQUET_EXTENSIONS,
    Table,
    _from_numpy,
    _quoted,
    _read_header,
    _reading,
    _refuse_duplicates,
    _sql_column,
    csv_relation,
    listed,
)
from multilayer.table.schema import (
    CONVERSIONS,
    Column,
    Schema,
    as_levels,
    days,
    frequent_levels,
    infer_schema,
)

COPY_FACTOR = 3  # disk that sorting takes at most, in sizes of the table: the copy, and what the sort puts by
GZ_FACTOR = 8  # text in a .gz file, in sizes of that file
PIECE_CELLS = 1_000_000  # of a table in memory, where one goes through all of it piece by piece
FEWEST_MB = 100  # that DuckDB works with
NEVER_MORE_LEVELS = 1_000_000  # counted exactly; beyond, only the number of them is an estimate
_NUMBERS = ("FLOAT", "DOUBLE")


@dataclass(frozen=True)
class Source:
    """The files of one table: Parquet, or text with one header.

    paths: in the order of their names
    n_bytes: of the table, uncompressed: of text as it is, of Parquet as its columns are coded
    n_rows, n_columns: for text files of more than 1 MB the rows are an estimate from the first lines
    """

    paths: tuple[Path, ...]
    is_parquet: bool
    n_bytes: int
    n_rows: int
    n_columns: int

    @classmethod
    def find(cls, source: Any) -> "Source | None":
        """The files that a name, a pattern (`*`, `?`, `[...]`) or a folder stands for; None if it is no such.

        Raises:
            DataError: a folder or a pattern without table files, or with several kinds of them.
        """
        if not isinstance(source, str | Path):
            return None
        path = Path(source).expanduser()
        paths = _files(path)
        if not paths:
            return None
        is_parquet = paths[0].name.lower().endswith(PARQUET_EXTENSIONS)
        with _reading(path, "a table"):
            n_bytes, n_rows, n_columns = _parquet_size(paths) if is_parquet else _text_size(paths)
        return cls(paths, is_parquet, n_bytes, n_rows, n_columns)

    def relation(self, connection: Any) -> tuple[str, list[str], dict[str, tuple[str, str]]]:
        """SQL that reads it, the names of its columns, and of each its name and type in that SQL."""
        if self.is_parquet:
            files = ", ".join(map(_quoted, self.paths))
            sql, names = f"read_parquet([{files}], hive_partitioning = false)", None
        else:
            sql, names = self._text_relation()
        described = connection.execute(f"DESCRIBE SELECT * FROM {sql}").fetchall()
        if names is not None:  # finding out the types of text takes a look at all of it: once is enough
            sql = self._text_relation([str(row[1]) for row in described])[0]
        names = [row[0] for row in described] if names is None else names
        _refuse_duplicates(names)
        return sql, names, {n: (row[0], str(row[1])) for n, row in zip(names, described, strict=True)}

    def _text_relation(self, types: list[str] | None = None) -> tuple[str, list[str]]:
        n_blank, delimiter, names = _read_header(self.paths[0])
        for path in self.paths[1:]:
            if _read_header(path)[2] != names:
                raise DataError(
                    f"All text files of a table must have the same header; {str(path)!r} has another than "
                    f"{str(self.paths[0])!r}. Make them alike."
                )
        return csv_relation(self.paths, n_blank, delimiter, len(names), types), names

    @property
    def disk_bytes(self) -> int:
        """Disk that a copy of it takes at most, with what sorting puts by."""
        return COPY_FACTOR * max(self.n_bytes, 8 * self.n_rows * self.n_columns)


def _files(path: Path) -> tuple[Path, ...]:
    """The files behind a name; none if it is a single file that is absent or of no kind that is read."""
    endings = CSV_EXTENSIONS + PARQUET_EXTENSIONS
    if path.is_file():
        return (path,) if path.name.lower().endswith(endings) and path.stat().st_size else ()
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith((".", "_")))
    elif re.search(r"[*?\[]", path.name):
        found = sorted(p for p in path.parent.glob(path.name) if p.is_file())
    else:
        return ()
    tables = [p for p in found if p.name.lower().endswith(endings)]
    kinds = {p.name.lower().endswith(PARQUET_EXTENSIONS) for p in tables}
    if len(kinds) != 1:
        held = "Parquet and text files" if kinds else "no table file"
        raise DataError(
            f"A folder or pattern must stand for files of one table, all Parquet or all text; "
            f"{str(path)!r} holds {held}. Name the files by a pattern such as '{path.name}/*.parquet'."
        )
    return tuple(tables)


def _parquet_size(paths: Sequence[Path]) -> tuple[int, int, int]:
    import duckdb

    files = f"[{', '.join(map(_quoted, paths))}]"
    with duckdb.connect() as connection:
        n_rows = connection.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata({files})").fetchone()
        sizes = connection.execute(
            "SELECT sum(total_uncompressed_size), count(DISTINCT path_in_schema) "
            f"FROM parquet_metadata({files})"
        ).fetchone()
    assert n_rows is not None and sizes is not None
    return int(sizes[0] or 0), int(n_rows[0] or 0), int(sizes[1])


def _text_size(paths: Sequence[Path]) -> tuple[int, int, int]:
    from multilayer.table.read import _opened

    packed = {p: p.name.lower().endswith(".gz") for p in paths}
    n_bytes = sum(p.stat().st_size * (GZ_FACTOR if packed[p] else 1) for p in paths)
    with _opened(paths[0], errors="replace") as file:
        text = file.read(1 << 20)
    lines = max(text.count("\n"), 1)
    return n_bytes, round(n_bytes * lines / max(len(text.encode()), 1)), len(_read_header(paths[0])[2])


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
    n_rows:  in all
    n_aside: the first so many rows are those kept aside
    n_bytes: on disk

    >>> Path("t.csv").write_text("x,y\n1,a\n2,b\n3,c\n")
    16
    >>> with store("t.csv", memory_mb=200) as table:
    ...     table.n_rows, table.rows(1, 3)["y"].tolist()
    (3, ['b', 'c'])
    """

    def __init__(self, connection: Any, names: Sequence[str], n_aside: int, folder: Path) -> None:
        self.connection, self.names, self.n_aside, self.folder = connection, tuple(names), n_aside, folder
        self.n_rows = int(self._one("SELECT count(*) FROM d.rows")[0])
        self._places = {name: f"c{i}" for i, name in enumerate(names)}
        types = connection.execute("DESCRIBE d.rows").fetchall()
        self._types = {name: str(types[i][1]) for i, name in enumerate(names)}

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
        return Table({name: _from_numpy(name, arrays[self._places[name]]) for name in names})

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

    def distinct(self, name: str, most: int) -> NDArray[Any]:
        """The smallest distinct values of a column, at most so many; missing ones are not among them."""
        c = self._places[name]
        arrays = self.connection.execute(
            f"SELECT DISTINCT {c} FROM d.rows WHERE {c} IS NOT NULL ORDER BY {c} LIMIT {most}"
        ).fetchnumpy()
        return _from_numpy(name, arrays[c])

    def facts(self, name: str) -> "Facts":
        """What is seen of a column in all rows."""
        c, is_number = self._places[name], self._types[name] in _NUMBERS
        infinite = f"count(*) FILTER (isinf({c}))" if is_number else "0"
        n, low, high, distinct, n_infinite = self._one(
            f"SELECT count({c}), min({c}), max({c}), approx_count_distinct({c}), {infinite} FROM d.rows"
        )
        if n_infinite:
            raise DataError(
                f"A number must be finite; column {name!r} holds {n_infinite:,} infinite values. "
                "Replace infinities by missing values or by a limit."
            )
        return Facts(self.n_rows - int(n), low, high, int(distinct))

    def levels(self, column: Column) -> tuple[int, tuple[str, ...]]:
        """How many values a category has, and which of them are worth a code of their own."""
        c = self._places[column.name]
        floor = max(2, self.n_rows // 10_000)
        n_levels = int(self._one(f"SELECT count(DISTINCT {c}) FROM d.rows")[0])
        arrays = self.connection.execute(
            f"SELECT {c}, count(*) AS n FROM d.rows WHERE {c} IS NOT NULL GROUP BY {c} HAVING n >= {floor} "
            f"ORDER BY n DESC, {c} LIMIT {NEVER_MORE_LEVELS}"
        ).fetchnumpy()
        levels = as_levels(column, _from_numpy(column.name, arrays[c]))
        counts = Counter(dict(zip(levels.tolist(), arrays["n"].tolist(), strict=True)))
        return n_levels, frequent_levels(counts, self.n_rows)

    def read_texts(self, column: Column) -> "Texts":
        """Read every distinct text of a column as its kind."""
        c = self._places[column.name]
        self.connection.execute(f"CREATE OR REPLACE TABLE d.texts AS SELECT DISTINCT {c} FROM d.rows")
        n = int(self._one("SELECT count(*) FROM d.texts")[0])
        low, high = np.inf, -np.inf
        for start in range(0, n, PIECE_CELLS):
            found = self.connection.execute(
                f"SELECT {c} FROM d.texts WHERE rowid >= {start} AND rowid < {start + PIECE_CELLS}"
            ).fetchnumpy()
            values = _from_numpy(column.name, found[c])
            numbers = _numbers(column, values)
            if numbers is None:
                singles = (values[i : i + 1] for i in range(len(values)))
                return Texts(0.0, 0.0, next(str(one[0]) for one in singles if _numbers(column, one) is None))
            low, high = np.nanmin([low, *numbers]), np.nanmax([high, *numbers])
        self.connection.execute("DROP TABLE d.texts")
        return Texts(float(low), float(high), None)

    def _one(self, query: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self.connection.execute(query).fetchone()
        return row


@dataclass(frozen=True)
class Facts:
    """What is seen of a column in all rows: missing cells, range (None without values), about how many
    distinct values.
    """

    n_missing: int
    low: Any
    high: Any
    n_unique: int


@dataclass(frozen=True)
class Texts:
    """What a column's texts are as numbers (of a date: days): least, largest; and one that is none."""

    low: float
    high: float
    strange: str | None


def _numbers(column: Column, values: NDArray[Any]) -> NDArray[np.float64] | None:
    """The values as the schema's range counts them; None if one of them is not of the kind."""
    try:
        numbers = CONVERSIONS[column.kind](column, values)
    except SchemaError:
        return None
    return days(numbers) if column.kind == "date" else numbers


@contextmanager
def store(
    source: Any,
    *,
    memory_mb: float | int,
    leave_out: Sequence[str] = (),
    need: Sequence[str] = (),
    shuffle_seed: int | None = None,
    aside: Aside | None = None,
    threads: int = 1,
) -> Iterator[StoredTable]:
    """Copy a table to a temporary folder, which is gone when the block ends, also by an error or Ctrl-C.

    source: files, as `Source.find` takes them.
    memory_mb: for DuckDB.
    leave_out: columns not to copy.
    need: columns that must be there.
    shuffle_seed: draw an order of the rows from this seed, the same whatever the number of threads; None
        keeps the order of the source.
    aside: which rows come first.
    threads: for DuckDB.

    Raises:
        DataError: it cannot be read as a table, or not in so little memory; a column is absent.
        OutputError: the disk of temporary files has too little room.
    """
    import duckdb

    found = source if isinstance(source, Source) else Source.find(source)
    if found is None:
        raise DataError(
            f"A table to stream must be CSV or Parquet files; got {source!r}. "
            "Pass a path, a pattern or a folder."
        )
    _check_disk(found.disk_bytes)
    config: dict[str, Any] = {
        "memory_limit": f"{max(FEWEST_MB, int(memory_mb))}MB",
        "threads": str(threads),
        "preserve_insertion_order": "true",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    with (
        TemporaryDirectory(prefix="multilayer-") as folder,
        duckdb.connect(config=config | {"temp_directory": f"{folder}/spill"}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"ATTACH {_quoted(Path(folder, 'rows.duckdb'))} AS d")
        try:
            with _reading(found.paths[0], "a table"):
                try:
                    names, n_aside = _copy(connection, found, leave_out, need, shuffle_seed, aside)
                except duckdb.OutOfMemoryException:
                    raise DataError(
                        f"Shuffling this table takes more than the {memory_mb:.0f} MB that are left for it; "
                        f"it has {found.n_columns} columns. Give more memory, or leave out columns."
                    ) from None
                except RuntimeError as error:
                    if "INTERRUPT" in str(error).upper():
                        raise KeyboardInterrupt from None
                    raise
            yield StoredTable(connection, names, n_aside, Path(folder))
        finally:
            connection.execute("USE memory; DETACH d")


def _check_disk(needed: int) -> None:
    free = shutil.disk_usage(gettempdir()).free
    if needed > free:
        raise OutputError(
            f"streaming may need {needed / 1e9:.1f} GB of temporary disk for a shuffled copy of the table; "
            f"{gettempdir()} has {free / 1e9:.1f} GB free. Make room, or name another folder in TMPDIR."
        )


def _copy(
    connection: Any,
    source: Source,
    leave_out: Sequence[str],
    need: Sequence[str],
    seed: int | None,
    aside: Aside | None,
) -> tuple[list[str], int]:
    """Make d.rows, its columns c0, c1, ...; their names, and how many rows are aside."""
    relation, names, described = source.relation(connection)
    for name in [*need, *leave_out, *([aside.column] if aside else [])]:
        if name not in names:
            raise DataError(
                f"the table has no column {name!r}; its columns: {listed(names)}.{nearest(name, names)}"
            )
    wanted = [name for name in names if name not in leave_out]
    selected = [f"{_cell(*described[name], name)} AS c{i}" for i, name in enumerate(wanted)]
    order = []
    if aside is not None:
        cell = _cell(*described[aside.column], aside.column)
        selected.append(f"{_is_aside(connection, relation, cell, aside, seed or 0)} AS aside")
        order.append("aside DESC")
    query = f"SELECT {', '.join(selected)} FROM {relation}"
    if seed is not None:
        order.append(f"hash(place, {int(seed)}), place")
        query = f"SELECT *, row_number() OVER () AS place FROM ({query})"
    kept = ", ".join([f"c{i}" for i in range(len(wanted))] + ["aside"] * (aside is not None))
    by = f" ORDER BY {', '.join(order)}" if order else ""
    connection.execute(f"CREATE TABLE d.rows AS SELECT {kept} FROM ({query}){by}")
    if aside is None:
        return wanted, 0
    n_aside, n_rows = connection.execute("SELECT count(*) FILTER (aside), count(*) FROM d.rows").fetchone()
    if not 0 < n_aside < n_rows:
        raise DataError(
            f"A split by {aside.by} needs values of {aside.column!r} for both sides; with a share of "
            f"{aside.share:g} all rows fall on one. Split by another column, or at random."
        )
    return wanted, int(n_aside)


def _cell(source: str, sql_type: str, name: str) -> str:
    """SQL of a column as one of Table's types, with NULL for NaN."""
    cell = _sql_column(source, sql_type, name)
    return f"CASE WHEN isnan({cell}) THEN NULL ELSE {cell} END" if sql_type in _NUMBERS else cell


def _is_aside(connection: Any, relation: str, cell: str, aside: Aside, seed: int) -> str:
    """SQL that is true for the rows to keep aside."""
    moment, read = cell, "all"
    kind = connection.execute(f"SELECT typeof({cell}) FROM {relation} LIMIT 1").fetchone()[0]
    if aside.by == "time" and kind == "VARCHAR":
        moment, read = f"TRY_CAST({cell} AS TIMESTAMP)", "readable"
    cut = f"CAST(quantile_disc({moment}, {1 - aside.share}) AS VARCHAR)" if aside.by == "time" else "NULL"
    missing, strange, found = connection.execute(
        f"SELECT count(*) FILTER ({cell} IS NULL), min({cell}) FILTER ({moment} IS NULL), {cut} "
        f"FROM {relation}"
    ).fetchone()
    if missing:
        raise DataError(
            f"{aside.by} must have no missing values; {missing:,} rows of {aside.column!r} have none. "
            "Fill them, or leave the rows out."
        )
    if read == "readable" and strange is not None:
        raise DataError(
            "The time of a table that is streamed must be numbers, dates, or text like 2024-05-31 12:00; "
            f"{aside.column!r} holds {strange!r}. Rewrite the column so."
        )
    if aside.by == "groups":
        return f"hash({cell}, {seed}) % 1000000 < {round(aside.share * 1e6)}"
    return f"{moment} > '{found}'"


def describe(
    table: StoredTable, names: Sequence[str], sample: Table, kinds: Mapping[str, Any] | None
) -> Schema:
    """The schema of all rows: kinds from the sample, checked against every text; the rest counted exactly.

    Only the number of distinct values of numbers and dates is an estimate, within some per cent.

    Raises:
        DataError, ConfigError: as `infer_schema`.
    """
    kinds = dict(kinds or {})
    schema, texts = infer_schema(sample.select(names), kinds=kinds), {}
    for column in schema.columns:
        if column.kind == "category" or not table.is_text(column.name):
            continue
        read = texts[column.name] = table.read_texts(column)
        if read.strange is not None:
            if column.name in kinds:
                raise ConfigError(
                    f"kinds declares column {column.name!r} as {column.kind}; it also holds "
                    f"{read.strange!r}. Mend the values or leave them empty, or declare another kind."
                )
            kinds[column.name] = "category"
    if "category" in kinds.values():
        schema = infer_schema(sample.select(names), kinds=kinds)
    ignored = {}
    for name, reason in schema.ignored.items():
        facts = table.facts(name)
        is_so = facts.n_missing == table.n_rows or (facts.low == facts.high and facts.n_missing == 0)
        ignored[name] = reason if is_so else f"{reason} in nearly all rows"
    columns = (_counted(table, column, texts.get(column.name)) for column in schema.columns)
    return Schema(tuple(columns), ignored)


def _counted(table: StoredTable, column: Column, texts: Texts | None) -> Column:
    facts = table.facts(column.name)
    column = replace(column, n_missing=facts.n_missing)
    if column.kind == "category":
        n_unique, levels = table.levels(column)
        return replace(column, n_unique=n_unique, levels=levels)
    if column.low is None or column.high is None:
        return column
    column = replace(column, n_unique=max(column.n_unique, facts.n_unique))
    if texts is not None:
        return replace(column, low=texts.low, high=texts.high)
    numbers = _numbers(column, _from_numpy(column.name, np.array([facts.low, facts.high])))
    return column if numbers is None else replace(column, low=float(numbers[0]), high=float(numbers[1]))
