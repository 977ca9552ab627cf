"""Networks as their papers write them, in float64, a row and a member at a time."""

import numpy as np
from numpy.typing import NDArray

from tests.reference.layers import batch_norm, linear, relu

Array = NDArray[np.float64]


def batch_ensemble(x: Array, W: Array, R: Array, S: Array, B: Array) -> Array:
    """Wen et al. 2020, arXiv:2002.06715: member i has the matrix W o (s_i r_i^T), here with rows as outputs.

    x: (batch, k, d_in); W: (d_out, d_in); R: (k, d_in); S, B: (k, d_out)
    """
    members = [linear(x[:, i], W * np.outer(S[i], R[i]), B[i]) for i in range(len(R))]
    return np.stack(members, axis=1)


def tabm(
    x: Array, hidden: list[tuple[Array, Array, Array, Array]], heads: list[tuple[Array, Array]]
) -> Array:
    """Gorishniy et al. 2025, arXiv:2410.24210, Section 3.3, without dropout: k networks that share each W.

    x: (batch, d), the same for all members; hidden: (W, R, S, B) of each layer; heads: (W, b) of each member
    """
    members = []
    for i, (head, b) in enumerate(heads):
        z = x
        for W, R, S, B in hidden:
            z = relu(linear(z * R[i], W) * S[i] + B[i])
        members.append(linear(z, head, b))
    return np.stack(members, axis=1)


def pbld(x: Array, w1: Array, b1: Array, W2: Array, b2: Array) -> Array:
    """Holzmüller et al. 2024, arXiv:2407.04491, Section 3: W2 cos(2 pi w1 x + b1) + b2.

    x: (batch, features); w1, b1: (features, n); W2: (features, n, d); b2: (features, d)
    """
    rows = []
    for x_i in x:
        rows.append(
            np.concatenate(
                [np.cos(2 * np.pi * w1[j] * x_i[j] + b1[j]) @ W2[j] + b2[j] for j in range(len(x_i))]
            )
        )
    return np.stack(rows)


def resnet(
    x: Array, first: tuple[Array, Array], blocks: list[list[tuple[Array, Array]]], last: list
) -> Array:
    """Gorishniy et al. 2021, arXiv:2106.11959, Section 3.2, in training, without dropout.

    blocks: (gamma, beta), (W, b), (W, b) of each; last: (gamma, beta), (W, b)
    """
    z = linear(x, *first)
    for norm, inner, outer in blocks:
        z = z + linear(relu(linear(batch_norm(z, *norm, eps=1e-5), *inner)), *outer)
    return linear(relu(batch_norm(z, *last[0], eps=1e-5)), *last[1])
