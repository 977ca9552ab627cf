"""Embeddings as their papers write them, in float64, a row and a feature at a time."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def periodic(x: Array, c: Array, b: Array, W: Array) -> Array:
    """Gorishniy et al. 2022, arXiv:2203.05556, in the form of RealMLP's "PBLD", arXiv:2407.04491: cosines
    with a shift, then a linear map for each feature.

    x: (batch, features); c, b: (features, n), frequencies and phases in turns; W: (features, n, d)
    """
    rows = []
    for x_i in x:
        embedded = []
        for j in range(len(x_i)):
            v = 2 * np.pi * (c[j] * x_i[j] + b[j])
            embedded.append(np.cos(v) @ W[j])
        rows.append(np.concatenate(embedded))
    return np.stack(rows)


def piecewise_linear(x: Array, edges: list[Array], a: Array, b: Array, W: Array) -> Array:
    """Gorishniy et al. 2022, arXiv:2203.05556, Equation 1, then a linear map for each feature; and the line
    a x + b beside it, as in TabM, arXiv:2410.24210.

    x: (batch, features); edges: b_0, ..., b_T of each feature; a, b: (features, d); W: (features, T, d)
    """
    rows = []
    for x_i in x:
        embedded = []
        for j in range(len(x_i)):
            T = len(edges[j]) - 1
            e = np.zeros(W.shape[1])
            for t in range(1, T + 1):
                if x_i[j] < edges[j][t - 1] and t > 1:
                    e[t - 1] = 0
                elif x_i[j] >= edges[j][t] and t < T:
                    e[t - 1] = 1
                else:
                    e[t - 1] = (x_i[j] - edges[j][t - 1]) / (edges[j][t] - edges[j][t - 1])
            embedded.append(a[j] * x_i[j] + b[j] + e @ W[j])
        rows.append(np.concatenate(embedded))
    return np.stack(rows)


def category(codes: NDArray[np.int64], tables: list[Array]) -> Array:
    """Guo & Berkhahn 2016, arXiv:1604.06737: x_i = sum over alpha of w_alpha,beta delta(code_i, alpha).

    codes: (batch, columns); tables: (cardinality, d), one a column; the identity is a one-hot column
    """
    rows = []
    for row in codes:
        embedded = []
        for code, w in zip(row, tables, strict=True):
            delta = (np.arange(len(w)) == code).astype(np.float64)
            embedded.append(delta @ w)
        rows.append(np.concatenate(embedded))
    return np.stack(rows)
