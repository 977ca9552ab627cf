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


@kernel
def _softmax(out, at, c, exps):
    """Of c logits from `at` on: exponentials, over the largest, go to exps; ln of the sum, and the sum."""
    top = out[at + 0]
    for j in range(1, c):
        top = out[at + j] if out[at + j] > top else top
    z = ZERO
    for j in range(c):
        e = exp(out[at + j] - top)
        exps[at + j] = e
        z += e
    return f32(np.log(np.float64(z))) + top, z


@kernel
def _mean(total, norm, ints):
    """The loss of a batch. ints[3]: rows have weights; without, the mean over no row is NaN."""
    return np.nan if norm == 0.0 and ints[3] == 0 else total / max(norm, _TINY)


def cross_entropy(out, d_out, rows, n, c, labels, target, weight, columns, factors, ints, reals):
    """Softmax cross-entropy of labels; the mean is over sum of w * class weight, as PyTorch.

    ints: mean, ignored label, nothing, rows have weights. factors: class weights
    """
    ignored, smoothing, class_weight = ints[1], f32(reals[0]), factors
    norm = 1.0
    if ints[0] == 1:
        norm = 0.0
        for i in range(n):
            if labels[rows[i]] != ignored:
                norm += weight[rows[i]] * class_weight[labels[rows[i]]]
    total, spread, weighted = 0.0, smoothing / f32(c), ZERO
    for j in range(c):
        weighted += class_weight[j]
    for i in range(n):
        r, at = rows[i], i * c
        label = labels[r]
        if label == ignored:
            for j in range(c):
                d_out[at + j] = ZERO
            continue
        log_z, z = _softmax(out, at, c, d_out)
        w = f32(weight[r] / max(norm, _TINY))
        own = (ONE - smoothing) * class_weight[label]
        row_loss = own * (log_z - out[at + label])
        mass = own
        if smoothing > ZERO:
            mass += spread * weighted
            for j in range(c):
                row_loss += spread * class_weight[j] * (log_z - out[at + j])
        scale = w * mass / z
        for j in range(c):
            d_out[at + j] *= scale
        if smoothing > ZERO:
            for j in range(c):
                d_out[at + j] -= w * spread * class_weight[j]
        d_out[at + label] -= w * own
        total += np.float64(weight[r]) * np.float64(row_loss)
    return _mean(total, norm, ints)


def cross_entropy_of_probabilities(
    out, d_out, rows, n, c, labels, target, weight, columns, factors, ints, reals
):
    """Softmax cross-entropy of probabilities of classes; the mean is over sum of w, as PyTorch.

    ints, factors: as for `cross_entropy`
    """
    smoothing, class_weight = f32(reals[0]), factors
    norm = 1.0
    if ints[0] == 1:
        norm = 0.0
        for i in range(n):
            norm += weight[rows[i]]
    total, spread = 0.0, smoothing / f32(c)
    for i in range(n):
        r, at = rows[i], i * c
        log_z, z = _softmax(out, at, c, d_out)
        w = f32(weight[r] / max(norm, _TINY))
        row_loss = ZERO
        mass = ZERO
        for j in range(c):
            t = class_weight[j] * (target[r * c + j] * (ONE - smoothing) + spread)
            mass += t
            row_loss += t * (log_z - out[at + j])
        for j in range(c):
            t = class_weight[j] * (target[r * c + j] * (ONE - smoothing) + spread)
            d_out[at + j] = w * (mass * d_out[at + j] / z - t)
        total += np.float64(weight[r]) * np.float64(row_loss)
    return _mean(total, norm, ints)


LOSSES = (pointwise, quantile, cross_entropy, cross_entropy_of_probabilities)
