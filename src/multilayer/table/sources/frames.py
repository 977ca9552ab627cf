"""Tables in memory: frames of pandas, polars and Arrow, mappings, records, arrays, sparse matrices."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError, extra, warn
from multilayer.table.sources.names import column_names
from multilayer.table.sources.sparse import SparseColumn, sparse_columns
from multilayer.table.sources.values import Columns, from_any, from_series, merged, records

SOURCES = (
    "a file name, a DataFrame (pandas, polars, Arrow), a DuckDB relation, a mapping of columns, "
    "a list of dicts, a 2-D array or a sparse matrix"
)


def of_mapping(source: Mapping[Any, Any], unread: Collection[str] = ()) -> Columns:
    """The columns of a mapping: name -> list, array or Series."""
    first = next((values for values in source.values() if _index(values) is not None), None)
    tell_other_order(
        first, {f"the column {name!r}": values for name, values in source.items()}, "another column"
    )
    pairs = zip(column_names(source), source.values(), strict=True)
    return merged(
        Columns.missing(name, len(values)) if name in unread else from_any(name, values)
        for name, values in pairs
    )


def tell_other_order(table: Any, beside: Mapping[str, Any], what: str = "the table") -> None:
    """Warn of values of pandas whose index is the table's in another order: rows are taken by their places.

    beside: what the values are -> the values
    """
    index = _index(table)
    if index is None:
        return
    for name, values in beside.items():
        own = _index(values)
        if own is None or len(own) != len(index) or own.equals(index) or set(own) != set(index):
            continue
        warn(
            f"Rows are matched by their position, not by index, and {name} has the index of {what} in "
            "another order. Bring them into the same order, as y.loc[table.index] does, or pass "
            ".to_numpy() if their positions are right."
        )


def _index(values: Any) -> Any:
    """The index of a frame or Series of pandas; None of anything else."""
    is_of_pandas = type(values).__module__.partition(".")[0] == "pandas" and hasattr(values, "iloc")
    return values.index if is_of_pandas else None


def of_records(source: Sequence[Any], unread: Collection[str] = ()) -> Columns:
    """The columns of a list of dicts, one a row.

    Raises:
        DataError: it is empty, or holds something else.
    """
    if not source:
        raise DataError("A table needs at least one row; got an empty list.")
    for place, row in enumerate(source):
        if not isinstance(row, Mapping):
            raise DataError(
                f"A table must be {SOURCES}; got a {type(source).__name__} with a value of type "
                f"{type(row).__name__} in place {place}. Convert it to one of these: for rows without names, "
                "numpy.array(rows, dtype=object)."
            )
    return of_mapping(records(source), unread)


def of_array(source: NDArray[Any], unread: Collection[str] = ()) -> Columns:
    """The columns of a 2-D array as x0, x1, ...; of a structured or record array, its fields.

    Raises:
        DataError: it has another number of axes.
    """
    if source.dtype.names:
        return of_mapping({name: source[name] for name in source.dtype.names}, unread)
    if source.ndim != 2:
        raise DataError(
            f"An array must have 2 axes (rows, columns) to be a table; got shape {source.shape}. "
            "For one column use array.reshape(-1, 1)."
        )
    if isinstance(source, np.matrix):  # a column of a matrix has two axes
        source = np.asarray(source)
    return of_mapping({f"x{i}": source[:, i] for i in range(source.shape[1])}, unread)


def is_sparse(source: Any) -> bool:
    """Whether it is a sparse matrix or array of SciPy."""
    return type(source).__module__.startswith("scipy.sparse")


def of_sparse(source: Any, unread: Collection[str] = ()) -> Columns:
    """The columns of a sparse matrix as x0, x1, ...; each is written out only when it is asked for."""
    columns = ((f"x{i}", column) for i, column in enumerate(sparse_columns(source)))
    return Columns({name: SparseColumn.missing(len(c)) if name in unread else c for name, c in columns})


def of_frame(source: Any, unread: Collection[str] = ()) -> tuple[Columns, list[str]]:
    """The columns of a frame that narwhals or Arrow knows, and what was done for the user, in words.

    Raises:
        DataError: it is no such frame, or its columns cannot be used.
    """
    import narwhals as nw

    frame, notes = _native_frame(source), []
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
        notes.append("a lazy frame was collected into memory")
    if not isinstance(frame, nw.DataFrame):
        raise DataError(
            f"A table must be {SOURCES}; got {type(source).__module__}.{type(source).__qualname__}."
            f"{_advice(source)}"
        )
    pairs = zip(column_names(frame.columns), frame.iter_columns(), strict=True)
    return merged(
        Columns.missing(name, len(series)) if name in unread else from_series(name, series)
        for name, series in pairs
    ), notes


def _native_frame(source: Any) -> Any:
    import narwhals as nw

    if type(source).__module__.startswith("pyarrow."):
        source = _arrow_table(source)
    elif type(source).__module__.startswith("narwhals.stable"):
        source = source.to_native()
    try:
        return nw.from_native(source)
    except nw.exceptions.DuplicateError:
        column_names(getattr(source, "column_names", None) or source.columns)  # says which
        raise
    except TypeError:
        has_stream = hasattr(source, "__arrow_c_stream__") and hasattr(source, "schema")
        return nw.from_native(_arrow_stream(source)) if has_stream else None


def _arrow_table(source: Any) -> Any:
    """A Table of pyarrow, from a RecordBatch, a reader of them, or a Dataset; anything else as it is."""
    import pyarrow as pa

    if isinstance(source, pa.RecordBatch):
        return pa.Table.from_batches([source])
    if isinstance(source, pa.RecordBatchReader):
        return source.read_all()
    return source.to_table() if hasattr(source, "to_table") else source


def _arrow_stream(source: Any) -> Any:
    """A frame of any library that hands its rows over as an Arrow stream."""
    pyarrow = extra("pyarrow", needed_by=f"reading a {type(source).__qualname__}", install="pyarrow")
    return pyarrow.table(source)


def _advice(source: Any) -> str:
    if type(source).__module__.startswith("sqlalchemy"):
        return " Read it with pandas.read_sql(query, engine) and pass the frame."
    if isinstance(source, Iterable):
        return " Convert it to one of these: a Series with .to_frame(), a generator with list()."
    return " Convert it to one of these."
