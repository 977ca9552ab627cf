"""More rows for a student: rows with some cells of rows that are near them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from multilayer.table.encode import Encoder
from multilayer.table.sources.read import Table

NEIGHBOURS = 5  # of which one is drawn
SWAPPED = 0.3  # share of cells that come from it
FITTED_ROWS = 20_000  # among which neighbours are looked for
LEVELS_APART = 1.0  # distance of rows with different levels of a category


def near_rows(table: Table, encoder: Encoder, times: int, seed: int) -> Table:
    """`times` as many rows: each a row of the table with three tenths of its cells from one that is near it.

    Near is Euclidean, in encoded numbers, with 1 for each category that differs.

    Source:  Bucila et al. 2006, "Model compression" (MUNGE)
    Differs: cells are exchanged as they are, instead of drawn around the other's value, as in AutoGluon's
             "spunge"; one of five neighbours is drawn instead of the nearest
    """
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(seed)
    x = _places(table, encoder)
    known = rng.permutation(len(x))[:FITTED_ROWS]
    k = min(NEIGHBOURS + 1, len(known))
    near = known[NearestNeighbors(n_neighbors=k, n_jobs=1).fit(x[known]).kneighbors(x, return_distance=False)]
    rows = np.tile(np.arange(len(x)), times)
    others = near[rows, rng.integers(min(1, k - 1), k, len(rows))]
    columns = {}
    for name in table.names:
        values = table[name]
        columns[name] = np.where(rng.random(len(rows)) < SWAPPED, values[others], values[rows])
    return replace(table.take(rows), columns=columns)


def _places(table: Table, encoder: Encoder) -> NDArray[np.float32]:
    """Encoded rows (n_rows, numbers and one-hot categories of up to 50 codes)."""
    batch = encoder.transform(table)
    parts = [batch.num]
    for column, n_codes in zip(batch.cat.T, encoder.cardinalities, strict=True):
        codes = np.minimum(column, 50)
        parts.append(np.eye(min(n_codes, 51), dtype=np.float32)[np.minimum(codes, min(n_codes, 51) - 1)]
                     * np.float32(LEVELS_APART / np.sqrt(2)))  # fmt: skip
    return np.concatenate(parts, axis=1)
