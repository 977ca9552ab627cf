"""The optimisers' updates of one stretch of the flat buffer; C functions of one signature. t counts from 1;
scratch has `muon_scratch` floats where Muon asks for them.
"""

import numpy as np
from numba import carray  # type: ignore[attr-defined]

from multilayer.training.kernels.loop import (
    ANY,
    BETA1,
    BETA2,
    COLUMNS,
    DECOUPLED,
    EPS,
    MUON_GRAM_AT,
    MUON_PRODUCT_AT,
    N_HYPER,
    NESTEROV,
    NS_A,
    NS_B,
    NS_C,
    NS_STEPS,
    ROWS,
    SCALE,
    SIGNS_AT,
    UNBIAS1,
    UNBIAS2,
    WEIGHT_DECAY,
    floats_at,
    kernel,
    product,
    row,
)
from multilayer.training.kernels.vector_math import ONE, ZERO, f32

_VECTOR = 16  # floats that the widest processors compute at once
SIGN_FREE = f32(2.0)  # the sign of a weight that has none; `ANY` in nn/monotone.py


def adam(p, g, m, v, scratch, n, hyper, lr, t):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980); AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) where
    decoupled. Epsilon stands beside the uncorrected root where NESTEROV, which is SGD's, is set.
    """
    p, g, m, v = carray(p, n), carray(g, n), carray(m, n), carray(v, n)
    decay = f32(hyper[WEIGHT_DECAY])
    shrink = ONE
    if hyper[DECOUPLED] > 0:
        shrink = f32(1.0 - lr * hyper[WEIGHT_DECAY])
        decay = ZERO
    b1, b2 = f32(1.0 - hyper[BETA1]), f32(hyper[BETA2])
    eps = f32(hyper[EPS] * hyper[UNBIAS2] if hyper[NESTEROV] > 0 else hyper[EPS])
    rest2 = f32(1.0 - hyper[BETA2])
    size = f32(lr * hyper[UNBIAS1])
    inv_root = f32(hyper[UNBIAS2])
    whole = n - n % _VECTOR
    for start in range(0, whole, _VECTOR):  # left alone, only 64 entries and more would be computed so
        for j in range(_VECTOR):
            _adam_entry(p, g, m, v, start + j, shrink, decay, b1, b2, rest2, size, inv_root, eps)
    for i in range(whole, n):
        _adam_entry(p, g, m, v, i, shrink, decay, b1, b2, rest2, size, inv_root, eps)


@kernel
def _adam_entry(p, g, m, v, i, shrink, decay, b1, b2, rest2, size, inv_root, eps):
    q = p[i] * shrink
    gi = g[i] + decay * q
    mi = m[i] + b1 * (gi - m[i])
    vi = b2 * v[i] + rest2 * gi * gi
    m[i] = mi
    v[i] = vi
    p[i] = q - size * mi / (np.sqrt(vi) * inv_root + eps)


_adam = kernel(adam)


def signed_adam(p, g, m, v, scratch, n, hyper, lr, t):
    """Adam, and `SignedLinear.project`."""
    _adam(p, g, m, v, scratch, n, hyper, lr, t)
    p, signs = carray(p, n), floats_at(np.int64(hyper[SIGNS_AT]), n)
    for i in range(n):
        if signs[i] == ZERO or (signs[i] * p[i] < ZERO and signs[i] != SIGN_FREE):
            p[i] = ZERO


def sgd(p, g, m, v, scratch, n, hyper, lr, t):
    """beta1: momentum, beta2: dampening."""
    p, g, m = carray(p, n), carray(g, n), carray(m, n)
    decay, momentum, rest = f32(hyper[WEIGHT_DECAY]), f32(hyper[BETA1]), f32(1.0 - hyper[BETA2])
    size = f32(lr)
    if momentum == ZERO:
        for i in range(n):
            p[i] -= size * (g[i] + decay * p[i])
        return
    if t == 1:
        rest = ONE
    look, own = (momentum, ONE) if hyper[NESTEROV] > 0 else (ONE, ZERO)
    for i in range(n):
        gi = g[i] + decay * p[i]
        mi = momentum * m[i] + rest * gi
        m[i] = mi
        p[i] -= size * (look * mi + own * gi)


def muon_scratch(rows: int, columns: int) -> int:
    """Floats that `muon` needs beside the matrix: two of its shape, two of its smaller Gram matrix's."""
    return 2 * (rows * columns + min(rows, columns) ** 2)


@kernel
def _normalise(x, least):
    """Divide by the root of the sum of squares, if that is not below least."""
    squares = 0.0
    for i in range(x.shape[0]):
        squares += np.float64(x[i]) * np.float64(x[i])
    norm = np.sqrt(squares)
    inverse = f32(1.0 / (least if norm < least else norm))
    for i in range(x.shape[0]):
        x[i] *= inverse


@kernel
def _step_matrix(gram, square, d, a, b, c):
    """square = a I + b gram + c square: what a Newton-Schulz step multiplies by."""
    for i in range(d * d):
        square[i] = b * gram[i] + c * square[i]
    for i in range(d):
        square[i * d + i] += a


@kernel
def _orthogonalise(buffer, rows, columns, hyper):
    """Newton-Schulz steps X = (a I + b A + c A A) X, A = X X^T, of the matrix at 0; where the last X stands.

    A tall X is multiplied from the right, with A = X^T X. Both ways A is the smaller of the two.
    """
    n, d = rows * columns, min(rows, columns)
    gram, square, one = 2 * n, 2 * n + d * d, np.int64(1)
    multiply, symmetric = np.int64(hyper[MUON_PRODUCT_AT]), np.int64(hyper[MUON_GRAM_AT])
    a, b, c = f32(hyper[NS_A]), f32(hyper[NS_B]), f32(hyper[NS_C])
    x, y = np.int64(0), n
    _normalise(row(buffer, x, n), hyper[EPS])
    for _ in range(np.int64(hyper[NS_STEPS])):
        step, along, depth = (columns, one, columns) if rows <= columns else (one, columns, rows)
        product(symmetric, (d, d, depth, buffer, x, step, along, buffer, x, along, step, buffer, gram, d))
        product(symmetric, (d, d, d, buffer, gram, d, one, buffer, gram, d, one, buffer, square, d))
        _step_matrix(row(buffer, gram, d * d), row(buffer, square, d * d), d, a, b, c)
        left, right = (square, x) if rows <= columns else (x, square)
        steps = (d, columns) if rows <= columns else (columns, d)
        product(
            multiply,
            (rows, columns, d, buffer, left, steps[0], one, buffer, right, steps[1], one, buffer, y, columns),
        )
        x, y = y, x
    return x


def muon(p, g, m, v, scratch, n, hyper, lr, t):
    """Muon (Jordan et al. 2024): momentum, orthogonalised; see `multilayer.Muon`. beta1: momentum."""
    p, g, m, buffer, hyper = (
        carray(p, n),
        carray(g, n),
        carray(m, n),
        carray(scratch, ANY),
        carray(hyper, N_HYPER),
    )
    rest = f32(1.0 - hyper[BETA1])
    look = f32(hyper[BETA1]) if hyper[NESTEROV] > 0 else ONE
    for i in range(n):
        mi = m[i] + rest * (g[i] - m[i])
        m[i] = mi
        buffer[i] = g[i] + look * (mi - g[i])
    at = _orthogonalise(buffer, np.int64(hyper[ROWS]), np.int64(hyper[COLUMNS]), hyper)
    update = row(buffer, at, n)
    shrink, size = f32(1.0 - lr * hyper[WEIGHT_DECAY]), f32(lr * hyper[SCALE])
    for i in range(n):
        p[i] = shrink * p[i] - size * update[i]


UPDATES = (adam, signed_adam, sgd, muon)
