"""X as the textbook's network reads it: a matrix of floats, as they come."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from multilayer.errors import DataError, counted, warn
from multilayer.estimators.input import as_numbers, holds_numbers, is_frame, is_sparse, table_of, unmasked
from multilayer.table.column import Column
from multilayer.table.encode import Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.category import CATEGORY
from multilayer.table.levels import as_levels
from multilayer.table.odd_cells import as_learnt
from multilayer.table.schema import Schema, infer_schema
from multilayer.table.sources.read import Table

DTYPES = (np.float64, np.float32)


@dataclass(frozen=True)
class PlainRows:
    """How rows become numbers, learnt at the first call.

    encoder: of columns that are not all numbers; None where they are
    fills:   (n_columns,) what stands for the missing numbers of an array; None for 0
    """

    encoder: Encoder | None = None
    fills: NDArray[np.float64] | None = None

    @classmethod
    def learn(cls, estimator: Any, X: Any) -> "tuple[PlainRows, Any]":
        """What a first X teaches, and its rows."""
        X = unmasked(X)
        if not holds_numbers(X) or getattr(estimator, "kinds", None):
            table = table_of(estimator, X, reset=True)
            encoder = plain_encoder(table, estimator.kinds)
            return cls(encoder), _encoded(encoder, table)
        x = _matrix(estimator, X, reset=True)
        rows = cls(fills=None if is_sparse(x) else medians(x))
        return rows, rows._filled(x)

    def read(self, estimator: Any, X: Any, *, learns: bool = False) -> Any:
        """The rows of a later X, a matrix of floats, sparse if X is.

        learns: a network is to be trained on them
        """
        X = unmasked(X)
        if self.encoder is None:
            return self._filled(_matrix(estimator, X, reset=False))
        table = table_of(estimator, X, reset=False)
        if learns:
            tell_new_levels(self.encoder, table)
        return _encoded(self.encoder, table)

    def _filled(self, x: Any) -> Any:
        if is_sparse(x) or not np.isnan(x).any():
            return x
        fills = np.zeros(x.shape[1]) if self.fills is None else self.fills
        return np.where(np.isnan(x), fills, x).astype(x.dtype)

    def encoder_of(self, names: list[str]) -> Encoder:
        """The encoder; of an array of numbers, whose columns have these names, one that does the same."""
        if self.encoder is not None:
            return self.encoder
        return encoder_of_numbers(names, np.zeros(len(names)) if self.fills is None else self.fills)

    def __getstate__(self) -> dict[str, Any]:
        """Plain values, which are safe to read."""
        return {"encoder": self.encoder and self.encoder.state(), "fills": self.fills}

    def __setstate__(self, state: dict[str, Any]) -> None:
        encoder = state["encoder"]
        object.__setattr__(self, "encoder", encoder and Encoder.from_state(*encoder))
        object.__setattr__(self, "fills", state["fills"])


def _matrix(estimator: Any, X: Any, *, reset: bool) -> Any:
    if is_sparse(X):
        return validate_data(estimator, X, reset=reset, accept_sparse=["csr", "csc"], dtype=DTYPES).tocsr()
    if is_frame(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return check_array(as_numbers(X), dtype=DTYPES, ensure_all_finite="allow-nan", estimator=estimator)
    return validate_data(estimator, X, reset=reset, dtype=DTYPES, ensure_all_finite="allow-nan")


def _encoded(encoder: Encoder, table: Table) -> NDArray[np.float64]:
    """The rows as numbers; a few cells that are not of their column's kind are missing."""
    clean, odd = as_learnt(table, encoder.schema.columns)
    if odd:
        warn(f"In X, {'; '.join(odd)}.")
    return encoder.transform(clean).num.astype(np.float64)


def tell_new_levels(encoder: Encoder, table: Table) -> None:
    """Warn of levels that came after the first call, by which the columns were encoded for good."""
    for column in encoder.schema.columns:
        if not kind_of(column).finds_levels:
            continue
        levels = as_levels(table[column.name])
        new = [level for level in dict.fromkeys(levels.tolist()) if level not in {*column.levels, None}]
        if new:
            n_rows = int(np.isin(levels, np.array(new, dtype=object)).sum())
            warn(
                f"The levels of a column are those of the first call; {column.name!r} holds new levels now, "
                f"in {counted(n_rows, 'row')} (first: {new[0]!r}), which count as unknown. Begin with rows "
                "of all levels.",
                UserWarning,
            )


def plain_encoder(table: Table, kinds: Any) -> Encoder:
    """An encoder that scales nothing; the median of each column stands for its missing values.

    Raises:
        DataError: no column is left, or none gives a number.
    """
    schema = infer_schema(table, kinds=kinds)
    texts = [column.name for column in schema.columns if kind_of(column).is_free_text]
    if texts:
        schema = infer_schema(table, kinds={**(kinds or {}), **dict.fromkeys(texts, CATEGORY.name)})
    table = as_learnt(table, schema.columns)[0]
    fills = {}
    for column in schema.columns:
        if (numbers := kind_of(column).numbers) is not None:
            values = numbers(column, table[column.name])
            fills[column.name] = float(np.median(values[~np.isnan(values)]))
    encoder = Encoder.plain(schema, fills)
    if not encoder.num_features:
        raise DataError("X must have a number or a category with levels seen often enough; all are rare.")
    return encoder


def encoder_of_numbers(names: Iterable[str], fills: NDArray[np.float64]) -> Encoder:
    """The same for an array of numbers: every column stays, and one that was missing has its fill."""
    columns = tuple(Column(name, "number") for name in names)
    return Encoder.plain(
        Schema(columns, {}), dict(zip((c.name for c in columns), fills.tolist(), strict=True))
    )


def medians(X: NDArray[Any]) -> NDArray[np.float64]:
    """Of each column the median of what is there; 0 where nothing is, or nothing is missing."""
    fills = np.zeros(X.shape[1])
    for i in np.flatnonzero(np.isnan(X).any(axis=0)):
        present = X[~np.isnan(X[:, i]), i]
        fills[i] = np.median(present) if len(present) else 0.0
    return fills
