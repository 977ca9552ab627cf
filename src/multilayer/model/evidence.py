"""Rows that a fit held out, and their predictions: beside a model in memory, never in its file."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.sources.read import Table

MOST_ROWS = 10_000
MOST_CELLS = 2_000_000


@dataclass(frozen=True, eq=False)
class Evidence:
    """Up to 10,000 rows of a fit, evenly spaced among those that were held out.

    rows:       their columns to learn from, as they were read
    code:       the target as the task codes it (n_rows,) or (n_rows, n_targets)
    weight:     of rows; None weighs all alike
    prediction: of networks that did not train on the row; None: no network did, and the model may predict it
    n_rows:     rows that were held out, these among them
    """

    rows: Table
    code: NDArray[Any]
    weight: NDArray[Any] | None
    prediction: NDArray[np.float64] | None
    n_rows: int


def evenly_spaced(n: int, n_columns: int) -> NDArray[np.int64]:
    """Numbers of the rows that are kept of n.

    >>> len(evenly_spaced(50_000, 10)), len(evenly_spaced(50_000, 1000)), len(evenly_spaced(30, 5))
    (10000, 2000, 30)
    """
    most = max(200, min(MOST_ROWS, MOST_CELLS // max(1, n_columns)))
    return np.arange(n) if n <= most else np.arange(most) * n // most
