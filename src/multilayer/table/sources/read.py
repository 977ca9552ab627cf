"""Tables as people have them (files, frames, arrays, mappings, databases) become a Table of NumPy columns."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError
from multilayer.table.sources.database import is_connection, is_relation, of_connection, of_query, of_relation
from multilayer.table.sources.dtype_hints import Note, Odd
from multilayer.table.sources.files import Files
from multilayer.table.sources.frames import is_sparse, of_array, of_frame, of_mapping, of_records, of_sparse
from multilayer.table.sources.names import require_columns
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.sparse import SparseColumn
from multilayer.table.sources.values import Columns


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length; what `read_table` makes of every source.

    columns: name -> array (n_rows,), of one of these dtypes only:
        float64         numbers; NaN is missing (durations and times of day are seconds)
        int64           whole numbers, none missing
        bool            none missing
        datetime64[us]  dates and times (UTC where a time zone was given); NaT is missing
        object          text; None is missing. Whole numbers of which a float would lose digits are text, too
        or a `SparseColumn`, which `table[name]` writes out as one of the above
    notes: name -> what the type of the column says beside its values: zone of dates, order of levels, meaning
        of seconds; a name that is no column has no effect
    odd: name -> cells that were made missing, as they do not fit the rest of their column
    remarks: what was done while the table was read, in words
    n_before: number of rows before these, if they are a piece of a table; messages count from there

    Raises:
        DataError: there are no columns, or they are of unequal length.

    >>> table = Table({"rooms": np.array([3, 4]), "city": np.array(["Oslo", None], dtype=object)})
    >>> table.n_rows, table.names
    (2, ('rooms', 'city'))
    >>> table.take([1])["rooms"]
    array([4])
    """

    columns: Mapping[str, NDArray[Any] | SparseColumn]
    notes: Mapping[str, Note] = field(default_factory=dict)
    odd: Mapping[str, Odd] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    n_before: int = 0

    def __post_init__(self) -> None:
        if not self.columns:
            raise DataError("A table needs at least one column; this one has none.")
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            first = next(iter(lengths))
            other = next(name for name in lengths if lengths[name] != lengths[first])
            raise DataError(
                f"All columns of a table must have the same length; {first!r} has {lengths[first]} rows "
                f"and {other!r} has {lengths[other]}. Give every column one value for each row."
            )

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in the order of the source."""
        return tuple(self.columns)

    def __getitem__(self, name: str) -> NDArray[Any]:
        self._require([name])
        column = self.columns[name]
        return column.dense() if isinstance(column, SparseColumn) else column

    def select(self, names: Iterable[str]) -> "Table":
        """The table with only these columns, in this order; DataError if one is absent."""
        names = self._require(names)
        return replace(self, columns={name: self.columns[name] for name in names})

    def drop(self, names: Iterable[str]) -> "Table":
        """The table without these columns; DataError if one is absent or none is left."""
        dropped = set(self._require(names))
        kept = {name: values for name, values in self.columns.items() if name not in dropped}
        return replace(self, columns=kept)

    def rename(self, names: Sequence[str]) -> "Table":
        """The table with these names for its columns, one for each."""
        new = dict(zip(self.names, names, strict=True))
        notes = {new[name]: note for name, note in self.notes.items() if name in new}
        odd = {new[name]: cells for name, cells in self.odd.items() if name in new}
        columns = {new[name]: self.columns[name] for name in self.names}
        return replace(self, columns=columns, notes=notes, odd=odd)

    @property
    def is_sparse(self) -> bool:
        """Whether columns are kept without their most frequent value."""
        return any(isinstance(values, SparseColumn) for values in self.columns.values())

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> "Table":
        """The table with only these rows, in this order."""
        index = np.asarray(rows, dtype=np.int64)
        taken = {
            name: values.take(index) if isinstance(values, SparseColumn) else values[index]
            for name, values in self.columns.items()
        }
        return replace(self, columns=taken)

    def _require(self, names: Iterable[str]) -> list[str]:
        names = [names] if isinstance(names, str) else list(names)
        require_columns(names, self.columns)
        return names


def read_table(
    source: Any,
    *,
    query: str | None = None,
    missing: Any = (),
    thousands: str | None = None,
    decimal: str = ".",
    encoding: str | None = None,
    header: bool = True,
) -> Table:
    """Read a table from a file, a frame, an array, a mapping or a database; row and column order is kept.

    A column of lists of numbers becomes a column for each place (`e[0]`, `e[1]`, ...), a column of dicts one
    for each key (`size.width`). Empty text and NaN, None, NA, NaT of any library are missing values. Column
    names are text without blanks around them; two columns of the same name are refused.

    Args:
        source: one of
            str or Path   .csv, .tsv, .txt (each also .gz or .zst), .parquet, .jsonl, .json, .arrow, .feather;
                          a folder of such files; a pattern such as "sales/*.csv"; a list of files. Lines
                          before the header that are blank, begin with # or are a title are left out. In a
                          folder or pattern of Parquet files, folders named like year=2024 become columns
            database      a file of DuckDB or SQLite (opened to read only), an open DB-API connection, each
                          with `query`; a DuckDB relation
            frame         pandas, polars (a LazyFrame is collected), pyarrow (Table, RecordBatch, Dataset)
            mapping       name -> list, array or Series; or a list of dicts, one a row
            array         2-D: its columns are named x0, x1, ...; structured: its fields are the columns. A
                          sparse matrix of SciPy is read likewise, and stays sparse
            None          `query` names its own files
            Table         a table that was read already
        query: SQL that gives the rows. A CSV or Parquet file is called `self` in it.
        missing: marks of missing values, such as ("?", -999), for all columns; or a mapping of columns to
            marks.
        thousands, decimal: separators of numbers in text: "," and "." in 1,234.5. A column of text is read
            as numbers if all of it is written so.
        encoding: encoding of text files, such as "latin-1"; those that begin with a byte-order mark need
            none.
        header: False for text files without column names; the columns are then called 0, 1, 2, ...

    Text stays text: "true" or "2024-05-01" in a file becomes a boolean or a date only in `infer_schema`.

    Raises:
        DataError: the source cannot be read as a table, or has no rows; the message says why and what to do.
        ConfigError: a separator or mark cannot be one, or a query is given for a source without queries.

    >>> read_table({"rooms": [3, None], "city": ["Oslo", "Rome"]})["rooms"]
    array([ 3., nan])
    >>> read_table([{"price": "1,200", "rooms": 3}, {"price": "?"}], missing="?", thousands=",")["price"]
    array([1200.,   nan])
    """
    return read_source(source, Notation.declare(missing, thousands, decimal, encoding, header), query=query)


def read_source(
    source: Any,
    notation: Notation,
    *,
    query: str | None = None,
    unread: Collection[str] = (),
    numbers: Collection[str] | None = None,
    others: Collection[str] = (),
) -> Table:
    """`read_table` for a model: with its notation, and without what it does not use.

    unread: columns that may hold anything: they are there by name, all missing
    numbers, others: columns known to hold numbers, or something else, as `Notation.read` has it
    """
    found, remarks = _columns(source, notation, query, unread)
    columns, more = notation.read(found, numbers, others)
    if isinstance(source, Table) and not more:
        return source
    n_before = source.n_before if isinstance(source, Table) else 0
    table = Table(dict(columns), columns.notes, columns.odd, (*remarks, *more), n_before)
    if table.n_rows == 0:
        where = f" {str(source)!r}" if isinstance(source, str | Path) else ""
        raise DataError(f"A table needs at least one row; the table{where} has column names and no rows.")
    return table


def _columns(
    source: Any, notation: Notation, query: str | None, unread: Collection[str]
) -> tuple[Columns, list[str]]:
    if isinstance(source, str | Path) or _are_paths(source):
        return Files.find(source).read(notation, query, unread)
    if source is None and query is not None:
        return of_query(query, unread), []
    if is_connection(source) and not is_relation(source):
        return of_connection(source, query, unread), []
    if query is not None:
        raise ConfigError(
            f"query= reads from a database, a connection or files; got {type(source).__name__}. Pass "
            "duckdb.sql(query), which knows frames by the names of their variables."
        )
    return _in_memory(source, unread)


def _in_memory(source: Any, unread: Collection[str]) -> tuple[Columns, list[str]]:
    if isinstance(source, Table):
        return Columns(source.columns, source.notes, source.odd), list(source.remarks)
    if is_relation(source):
        return of_relation(source, unread), []
    if isinstance(source, Mapping):
        return of_mapping(source, unread), []
    if isinstance(source, np.ndarray):
        return of_array(source, unread), []
    if is_sparse(source):
        return of_sparse(source, unread), []
    if isinstance(source, list | tuple):
        return of_records(source, unread), []
    return of_frame(source, unread)


def _are_paths(source: Any) -> bool:
    return isinstance(source, list | tuple) and bool(source) and isinstance(source[0], str | Path)
