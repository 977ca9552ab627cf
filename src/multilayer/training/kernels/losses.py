"""The losses: each fills in the gradient of the output and returns the loss; C functions of one signature."""

import numpy as np

from multilayer.training.kernels.loop import kernel
from multilayer.training.kernels.vector_math import HALF, ONE, TWO, ZERO, exp, f32

_TINY = 1.1754944e-38  # a batch may weigh nothing: its loss is 0, not 0 / 0

# Kinds of pointwise losses
BINARY, MSE, L1, HUBER, SMOOTH_L1, POISSON, GAMMA, TWEEDIE = range(8)


@kernel
def _point_loss(code, o, t, a, column):
    """Loss of one output and its derivative; a: delta, beta, power; column: positive weight."""
    z = o - t
    if code == MSE:
        return z * z, TWO * z
    if code == L1:
        return abs(z), (ONE if z > ZERO else (-ONE if z < ZERO else z))
    if code == HUBER:
        if abs(z) <= a:
            return HALF * z * z, z
        return a * (abs(z) - HALF * a), (a if z > ZERO else -a)
    if code == SMOOTH_L1:
        if abs(z) < a:
            return HALF * z * z / a, z / a
        return abs(z) - HALF * a, (ONE if z > ZERO else (-ONE if z < ZERO else z))
    if code == POISSON:
        e = f32(np.exp(np.float64(o)))
        return e - t * o, e - t
    if code == GAMMA:
        e = t * f32(np.exp(-np.float64(o)))
        return o + e, ONE - e
    if code == TWEEDIE:
        below = t * f32(np.exp((1.0 - np.float64(a)) * np.float64(o)))
        above = f32(np.exp((2.0 - np.float64(a)) * np.float64(o)))
        return below / (a - ONE) + above / (TWO - a), above - below
    factor = ONE + (column - ONE) * t  # binary cross-entropy of a logit
    e = f32(np.exp(-abs(np.float64(o))))
    loss = (ONE - t) * o + factor * (f32(np.log1p(np.float64(e))) + (-o if o < ZERO else ZERO))
    sigmoid = (e if o >= ZERO else ONE) / (ONE + e)  # of -o
    return loss, (ONE - t) - factor * sigmoid


@kernel
def _norm(mean, weight, rows, n, c):
    """What a batch's sum over rows and c outputs is divided by."""
    if not mean:
        return 1.0
    norm = 0.0
    for i in range(n):
        norm += weight[rows[i]]
    return max(norm * c, _TINY)


def pointwise(out, d_out, rows, n, c, labels, target, weight, columns, factors, ints, reals):
    """ints: mean, kind of loss. columns: positive weights; factors: weights of columns."""
    code, a = ints[1], f32(reals[0])
    total = 0.0
    norm = _norm(ints[0] == 1, weight, rows, n, c)
    for i in range(n):
        r = rows[i]
        for j in range(c):
            loss, g = _point_loss(code, out[i * c + j], target[r * c + j], a, columns[j])
            w = weight[r] * factors[j]
            total += w * loss
            d_out[i * c + j] = f32(w / norm) * g
    return total / norm


def quantile(out, d_out, rows, n, c, labels, target, weight, columns, factors, ints, reals):
    """Pinball loss of output t * m + q: quantile columns[q] of target t. ints: mean, m."""
    m = ints[1]
    n_targets = c // m
    total = 0.0
    norm = _norm(ints[0] == 1, weight, rows, n, c)
    for i in range(n):
        r = rows[i]
        w = np.float64(weight[r])
        for t in range(n_targets):
            for q in range(m):
                at = i * c + t * m + q
                z = out[at] - target[r * n_targets + t]
                slope = ONE - columns[q] if z > ZERO else (-columns[q] if z < ZERO else z)
                total += w * np.float64(slope * z)
                d_out[at] = f32(w / norm) * slope
    return total / norm


def cross_entropy(out, d_out, rows, n, c, labels, target, weight, columns, factors, ints, reals):
    """Softmax cross-entropy. Mean: over sum of w * class weight (labels), over sum of w (probabilities), as
    PyTorch.

    ints: mean, ignored label, uses probabilities, rows have weights. factors: class weights. Without weights
    of rows, the mean over no row is NaN, as PyTorch's.
    """
    mean, ignored, uses_probs, smoothing, class_weight = (
        ints[0] == 1,
        ints[1],
        ints[2] == 1,
        f32(reals[0]),
        factors,
    )
    norm = 1.0
    if mean:
        norm = 0.0
        for i in range(n):
            r = rows[i]
            if uses_probs:
                norm += weight[r]
            elif labels[r] != ignored:
                norm += weight[r] * class_weight[labels[r]]
    nothing_counts = norm == 0.0
    norm = max(norm, _TINY)
    total = 0.0
    spread = smoothing / f32(c)
    weighted = ZERO
    for j in range(c):
        weighted += class_weight[j]
    for i in range(n):
        r = rows[i]
        label = np.int64(0) if uses_probs else labels[r]
        if not uses_probs and label == ignored:
            for j in range(c):
                d_out[i * c + j] = ZERO
            continue
        top = out[i * c + 0]
        for j in range(1, c):
            top = out[i * c + j] if out[i * c + j] > top else top
        z = ZERO
        for j in range(c):
            e = exp(out[i * c + j] - top)
            d_out[i * c + j] = e
            z += e
        log_z = f32(np.log(np.float64(z))) + top
        w = f32(weight[r] / norm)
        row_loss = ZERO
        if uses_probs:
            mass = ZERO
            for j in range(c):
                t = class_weight[j] * (target[r * c + j] * (ONE - smoothing) + spread)
                mass += t
                row_loss += t * (log_z - out[i * c + j])
            for j in range(c):
                t = class_weight[j] * (target[r * c + j] * (ONE - smoothing) + spread)
                d_out[i * c + j] = w * (mass * d_out[i * c + j] / z - t)
        else:
            own = (ONE - smoothing) * class_weight[label]
            row_loss = own * (log_z - out[i * c + label])
            mass = own
            if smoothing > ZERO:
                mass += spread * weighted
                for j in range(c):
                    row_loss += spread * class_weight[j] * (log_z - out[i * c + j])
            scale = w * mass / z
            for j in range(c):
                d_out[i * c + j] *= scale
            if smoothing > ZERO:
                for j in range(c):
                    d_out[i * c + j] -= w * spread * class_weight[j]
            d_out[i * c + label] -= w * own
        total += np.float64(weight[r]) * np.float64(row_loss)
    return np.nan if nothing_counts and ints[3] == 0 else total / norm
