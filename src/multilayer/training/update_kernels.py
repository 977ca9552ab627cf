"""The optimisers' updates of one stretch of the flat buffer; C functions of one signature. t counts from
1.
"""

import numpy as np
from numba import carray  # type: ignore[attr-defined]

from multilayer.training.kernels import BETA1, BETA2, DECOUPLED, EPS, NESTEROV, WEIGHT_DECAY
from multilayer.training.vector_math import ONE, ZERO, f32


def adam(p, g, m, v, n, hyper, lr, t):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980); AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) where
    decoupled.
    """
    p, g, m, v = carray(p, n), carray(g, n), carray(m, n), carray(v, n)
    decay = f32(hyper[WEIGHT_DECAY])
    shrink = ONE
    if hyper[DECOUPLED] > 0:
        shrink = f32(1.0 - lr * hyper[WEIGHT_DECAY])
        decay = ZERO
    b1, b2, eps = f32(1.0 - hyper[BETA1]), f32(hyper[BETA2]), f32(hyper[EPS])
    rest2 = f32(1.0 - hyper[BETA2])
    size = f32(lr / (1.0 - hyper[BETA1] ** t))
    inv_root = f32(1.0 / np.sqrt(1.0 - hyper[BETA2] ** t))
    for i in range(n):
        q = p[i] * shrink
        gi = g[i] + decay * q
        mi = m[i] + b1 * (gi - m[i])
        vi = b2 * v[i] + rest2 * gi * gi
        m[i] = mi
        v[i] = vi
        p[i] = q - size * mi / (np.sqrt(vi) * inv_root + eps)


def sgd(p, g, m, v, n, hyper, lr, t):
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
