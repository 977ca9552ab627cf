"""Columns that are mostly one value: the others are stored; a column is written out when asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError


@dataclass(frozen=True, eq=False)
class SparseColumn:
    """A column of numbers or booleans that is `fill` in all rows but a few.

    rows:   places of the stored values (n_stored,), each once
    values: the stored values (n_stored,)
    fill:   what stands in all other rows
    n_rows: length of the column

    >>> column = SparseColumn(np.array([2]), np.array([1.5]), 0.0, 4)
    >>> column.dense(), column.take(np.array([2, 2, 0])).dense()
    (array([0. , 0. , 1.5, 0. ]), array([1.5, 1.5, 0. ]))
    """

    rows: NDArray[np.integer[Any]]
    values: NDArray[Any]
    fill: Any
    n_rows: int

    @classmethod
    def missing(cls, n_rows: int) -> "SparseColumn":
        """A column without any value, which takes no memory."""
        return cls(np.zeros(0, np.int64), np.zeros(0), np.nan, n_rows)

    def __len__(self) -> int:
        return self.n_rows

    def dense(self) -> NDArray[Any]:
        """The column as int64, float64 or bool (n_rows,)."""
        kind = np.result_type(self.values.dtype, np.asarray(self.fill).dtype).kind
        dtype = {"b": np.bool_, "i": np.int64, "u": np.int64}.get(kind, np.float64)
        column: NDArray[Any] = np.full(self.n_rows, self.fill, dtype=dtype)
        column[self.rows] = self.values
        return column

    def take(self, index: NDArray[np.int64]) -> "SparseColumn":
        """Only these rows, in this order."""
        place = np.full(self.n_rows, -1, dtype=np.int64)
        place[self.rows] = np.arange(len(self.rows))
        taken = place[index]
        rows = np.flatnonzero(taken >= 0)
        return SparseColumn(rows, self.values[taken[rows]], self.fill, len(index))


def sparse_columns(matrix: Any) -> Iterator[SparseColumn]:
    """The columns of a SciPy sparse matrix or array; they share its memory where it is compressed by column.

    Raises:
        DataError: not of two axes, or of complex numbers.
    """
    if matrix.ndim != 2:
        raise DataError(
            f"A sparse array must have 2 axes (rows, columns) to be a table; got shape {matrix.shape}. "
            "For one column use array.reshape(-1, 1)."
        )
    if matrix.dtype.kind not in "biuf":
        raise DataError(
            f"A sparse table must hold real numbers or booleans; got {matrix.dtype}. "
            "Make the real and the imaginary part a matrix each."
        )
    columns = matrix.tocsc()
    if not columns.has_canonical_format:  # entries that occur twice are to be summed, in a copy
        columns = columns.copy()
        columns.sum_duplicates()
    n_rows = int(columns.shape[0])
    for start, stop in zip(columns.indptr[:-1], columns.indptr[1:], strict=True):
        yield SparseColumn(
            columns.indices[start:stop], columns.data[start:stop], columns.dtype.type(0), n_rows
        )


def of_pandas(series: Any) -> SparseColumn | None:
    """A Series of pandas with a sparse dtype of numbers or booleans as a SparseColumn; None for any other."""
    dtype: Any = getattr(series, "dtype", None)
    if type(dtype).__name__ != "SparseDtype" or dtype.subtype.kind not in "biuf":
        return None
    array = series.array
    rows = array.sp_index.to_int_index().indices
    return SparseColumn(rows, array.sp_values, dtype.subtype.type(dtype.fill_value), len(series))
