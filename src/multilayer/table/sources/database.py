"""Rows of databases: a query of DuckDB, SQLite or any DB-API connection; and what DuckDB makes of a file."""

import re
import sqlite3
import sys
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from multilayer.errors import DataError
from multilayer.machine import total_memory
from multilayer.signals import held_back
from multilayer.table.sources.dtype_hints import note_of_sql
from multilayer.table.sources.names import column_names, listed, unusable
from multilayer.table.sources.sparse import SparseColumn
from multilayer.table.sources.values import Columns, from_numpy, from_objects, merged

DATABASE_EXTENSIONS = (".duckdb", ".ddb", ".db", ".sqlite", ".sqlite3")
_READING = ("select", "with", "from", "values", "table", "pivot", "unpivot", "show", "describe", "explain")
_UNSAFE_FUNCTIONS = ("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer")
MOST_BYTES = 1 << 26  # of one value of a SQLite file: a view of a few letters may ask for a billion
_ROWS_AT_ONCE = 10_000
_HARMLESS_PRAGMAS = ("data_version", "table_info", "table_xinfo", "table_list")  # of full-text and listings
_INTEGERS = [f"{sign}{size}" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")]
_AS_THEY_ARE = {*_INTEGERS, "BOOLEAN", "DOUBLE", "VARCHAR"}
_TOO_WIDE = re.compile(r"(FLOAT|HUGEINT|UHUGEINT|BIGNUM|DECIMAL(\(\d+,\d+\))?)((\[\d*\])*)")
_WIDE_WHOLE = re.compile(r"HUGEINT|UHUGEINT|BIGNUM|DECIMAL\((1[6-9]|[23]\d),0\)")  # floats lack their digits


def connect(path: str | Path = ":memory:") -> Any:
    """A DuckDB connection that reads only, loads no extension, and sees no variable of the program.

    In a database file, which may be a stranger's, views and macros would read other files with our rights:
    there nothing but the file itself is read.
    """
    with held_back():
        import duckdb

    config: dict[str, Any] = {
        "autoinstall_known_extensions": False,  # both would reach for the network
        "autoload_known_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
        "preserve_insertion_order": True,
    }
    is_file = str(path) != ":memory:"
    if is_file:
        config["enable_external_access"] = False
    connection = duckdb.connect(str(path), read_only=is_file, config=config)
    connection.execute("SET enable_progress_bar = false")  # DuckDB draws it on standard output
    if is_file:
        connection.execute("SET lock_configuration = true")
    return connection


def of_database(path: Path, query: str | None, unread: Collection[str] = ()) -> Columns:
    """The rows of a query in a database file, which is opened to read only.

    Raises:
        DataError: there is no query (the message lists the tables), it fails, or the file is no database.
    """
    connection, names = _opened(path)
    with closing(connection):
        if query is None:
            example = f'"{names[0]}"' if names else "..."
            held = f"its tables: {listed(names)}" if names else "it has no tables"
            raise DataError(
                f"{str(path)!r} is a database: say which rows to read; {held}. Pass for example "
                f"query='SELECT * FROM {example}' (--query on the command line)."
            )
        return of_connection(connection, query, unread)


def _opened(path: Path) -> tuple[Any, list[str]]:
    """A connection to a database file, and the names of its tables."""
    with held_back():
        import duckdb

    with path.open("rb") as file:
        is_sqlite = file.read(15) == b"SQLite format 3"
    tables = "SELECT table_name FROM information_schema.tables ORDER BY 1"
    if is_sqlite:
        tables = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY 1"
    try:
        connection: Any = _sqlite(path) if is_sqlite else connect(path)
        return connection, [row[0] for row in connection.execute(tables).fetchall()]
    except (duckdb.Error, sqlite3.Error) as error:
        raise DataError(
            f"{str(path)!r} cannot be opened as a database of DuckDB or SQLite: {reason_of(error)}. "
            "Close the program that has it open for writing, or check the file."
        ) from None


def _sqlite(path: Path) -> sqlite3.Connection:
    """A connection to a SQLite file that can do nothing but read it, whatever a query or a view asks for."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    for setting in ("query_only = on", "trusted_schema = off", "mmap_size = 0", "cell_size_check = on"):
        connection.execute(f"PRAGMA {setting}")
    connection.set_authorizer(_only_reading)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    return connection


def _only_reading(action: int, one: str | None, other: str | None, *_: str | None) -> int:
    """What SQLite asks for each thing that a query is to do. The file is open to read only; other files and
    settings are not to be touched either (VACUUM attaches one, too).
    """
    is_denied = {
        sqlite3.SQLITE_ATTACH: True,
        sqlite3.SQLITE_DETACH: True,
        sqlite3.SQLITE_PRAGMA: one not in _HARMLESS_PRAGMAS,
        sqlite3.SQLITE_FUNCTION: other in _UNSAFE_FUNCTIONS,
    }
    return sqlite3.SQLITE_DENY if is_denied.get(action, False) else sqlite3.SQLITE_OK


def of_connection(connection: Any, query: str | None, unread: Collection[str] = ()) -> Columns:
    """The rows of a query over an open connection of DuckDB, or of any driver that follows DB-API 2.0.

    Raises:
        DataError: there is no query, it fails, or it gives no rows and columns.
    """
    if not query:
        raise DataError(
            "A connection needs a query that says which rows to read. Pass query='SELECT ... FROM ...'."
        )
    if _is_duckdb(connection):
        with _reading(query):
            _refuse_writing(connection, query)
            return of_relation(connection.sql(query), unread)
    if _first_word(query) not in _READING:
        raise _no_rows(query)
    header, rows = _fetched(connection, query)
    if not header:
        raise _no_rows(query)
    names = column_names(column[0] for column in header)
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return merged(
        Columns.missing(name, len(rows)) if name in unread else from_objects(name, list(values))
        for name, values in zip(names, columns, strict=True)
    )


def _fetched(connection: Any, query: str) -> tuple[Any, list[Any]]:
    """Description and rows of a query over a DB-API connection; one of SQLite writes nothing meanwhile."""
    cursor = connection.cursor()
    try:
        with _query_only(connection):
            cursor.execute(query)
            return cursor.description, _all_rows(cursor, query) if cursor.description else []
    except (DataError, MemoryError):
        raise
    except Exception as error:
        if str(error) in ("not authorized", "attempt to write a readonly database"):
            raise _no_rows(query) from None
        raise DataError(f"The query {_short(query)} failed: {error}. Mend the query.") from error
    finally:
        cursor.close()


def _all_rows(cursor: Any, query: str) -> list[Any]:
    """The rows of a query, as long as they fit into memory: a view may have rows without end."""
    rows: list[Any] = []
    n_bytes = 0
    while batch := cursor.fetchmany(_ROWS_AT_ONCE):
        rows += batch
        sample = batch[::16]
        n_sample = sum(sys.getsizeof(row) + sum(map(sys.getsizeof, row)) for row in sample)
        n_bytes += n_sample * len(batch) // len(sample)
        if 2 * n_bytes > total_memory():  # they are taken apart into columns, too
            raise DataError(
                f"A table must fit into memory; the query {_short(query)} has given {len(rows):,} rows, "
                "which hardly do, and goes on. Add a LIMIT, or write them to Parquet and stream (memory=)."
            )
    return rows


@contextmanager
def _query_only(connection: Any) -> Iterator[None]:
    """Have SQLite refuse to write, on a connection of the user's: a WITH may end in a DELETE."""
    if not isinstance(connection, sqlite3.Connection):
        yield
        return
    try:
        (before,) = connection.execute("PRAGMA query_only").fetchone()
        connection.execute("PRAGMA query_only = on")
    except (sqlite3.DatabaseError, TypeError):  # it has an authorizer, ours or the user's, that says no
        yield
        return
    try:
        yield
    finally:
        connection.execute(f"PRAGMA query_only = {before}")


def _first_word(query: str) -> str:
    """The word that a query begins with, in small letters, behind comments and brackets.

    >>> _first_word("/* all of it */ ((Select 1))")
    'select'
    """
    found = re.match(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*+([A-Za-z]*)", query, re.DOTALL)
    return found[1].lower() if found else ""


def of_query(query: str, unread: Collection[str] = ()) -> Columns:
    """The rows of a query that names its own files, as in SELECT * FROM 'sales.parquet'."""
    with connect() as connection:
        return of_connection(connection, query, unread)


def is_connection(source: Any) -> bool:
    """Whether it is a connection of DuckDB or of a driver that follows DB-API 2.0, such as sqlite3."""
    return all(callable(getattr(source, name, None)) for name in ("cursor", "commit", "close"))


def is_relation(source: Any) -> bool:
    """Whether it is what `duckdb.sql` gives."""
    return type(source).__name__ == "DuckDBPyRelation"


def _is_duckdb(connection: Any) -> bool:
    return type(connection).__name__ == "DuckDBPyConnection"


def _refuse_writing(connection: Any, query: str) -> None:
    """DataError for anything but one SELECT: DuckDB would also drop tables and write files."""
    kinds = [str(statement.type).rpartition(".")[2] for statement in connection.extract_statements(query)]
    if kinds == ["MULTI"] and _first_word(query) in _READING:  # a PIVOT; a COPY of one would write
        return
    if kinds != ["SELECT"]:
        raise _no_rows(query)


def _no_rows(query: str) -> DataError:
    return DataError(
        f"A query must give rows and change nothing, as one SELECT does; {_short(query)} gives none. "
        "Write a SELECT."
    )


@contextmanager
def _reading(query: str) -> Iterator[None]:
    """Turn an error of DuckDB into one sentence about the query."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise DataError(f"The query {_short(query)} failed: {reason_of(error)}. Mend the query.") from None


def reason_of(error: Exception) -> str:
    """What DuckDB says is wrong, without the kind of error, the piece of SQL and the final stop."""
    text = re.sub(r"^[\w ]+ Error: ", "", str(error)).split("\nLINE ")[0]
    return " ".join(text.split()).rstrip(". ")


def _short(query: str) -> str:
    query = " ".join(query.split())
    return repr(query if len(query) <= 80 else query[:79] + "…")


def of_relation(relation: Any, unread: Collection[str] = (), names: Collection[str] | None = None) -> Columns:
    """The columns of a DuckDB relation, in types that NumPy has, with notes of those it has not.

    unread: columns to leave out: missing values stand in their place
    names:  what to call the columns; None takes the relation's own names

    >>> import duckdb
    >>> of_relation(duckdb.sql("SELECT 3::HUGEINT AS rooms, [1, 2] AS size"))
    {'rooms': array([3]), 'size[0]': array([1]), 'size[1]': array([2])}
    """
    names, types = column_names(relation.columns if names is None else names), relation.types
    unique = [name.casefold() for name in relation.columns]
    if len(set(unique)) < len(unique):  # SQL knows no capitals: "A" and "a" would both be the first
        numbered = ", ".join(f"n{i}" for i in range(len(names)))
        relation = relation.query("source", f"SELECT * FROM source AS t({numbered})")
    selected = [
        "CAST(NULL AS DOUBLE)" if name in unread else _exact_column(source, str(sql_type), name)
        for source, sql_type, name in zip(relation.columns, types, names, strict=True)
    ]
    numbered = relation.project(", ".join(f"{sql} AS c{i}" for i, sql in enumerate(selected)))
    arrays: dict[str, Any] = numbered.fetchnumpy()
    return merged(
        Columns.missing(name, len(arrays["c0"]))
        if name in unread
        else _of_array(name, arrays[f"c{i}"], str(sql_type)).noted(name, note_of_sql(str(sql_type)))
        for i, (name, sql_type) in enumerate(zip(names, types, strict=True))
    )


def _exact_column(source: str, sql_type: str, name: str) -> str:
    """As `sql_column`, with whole numbers that may be too wide for a float as text."""
    if _WIDE_WHOLE.fullmatch(sql_type):
        return f"CAST({sql_name(source)} AS VARCHAR)"
    return sql_column(source, sql_type, name)


def _of_array(name: str, values: Any, sql_type: str) -> Columns:
    columns = from_numpy(name, values)
    if not _WIDE_WHOLE.fullmatch(sql_type):
        return columns
    texts = columns[name]
    cells = texts.dense() if isinstance(texts, SparseColumn) else texts
    if cells.dtype != object:
        return columns
    return from_objects(name, [None if text is None else int(text) for text in cells.tolist()])


def sql_name(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def sql_text(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def sql_column(source: str, sql_type: str, name: str) -> str:
    """SQL that gives a column as a type which arrives in NumPy as one of Table's."""
    column = sql_name(source)
    if sql_type in _AS_THEY_ARE:
        return column
    if wide := _TOO_WIDE.fullmatch(sql_type):
        return f"CAST({column} AS DOUBLE{wide[3]})"
    if sql_type == "UUID" or sql_type.startswith("ENUM"):
        return f"CAST({column} AS VARCHAR)"
    if sql_type == "BLOB":
        return column  # arrives as bytes
    if sql_type == "DATE" or sql_type.startswith("TIMESTAMP"):
        return f"make_timestamp(epoch_us({column}))"  # of a time with zone: UTC
    if sql_type.startswith("TIME") or sql_type == "INTERVAL":
        return f"CAST(epoch({column}) AS DOUBLE)"
    if sql_type in ('"NULL"', "NULL"):
        return "CAST(NULL AS DOUBLE)"
    if sql_type.endswith("]") or sql_type.startswith(("STRUCT", "MAP")):
        return column  # arrives as lists and dicts
    raise unusable(name, f"values of type {sql_type}")
