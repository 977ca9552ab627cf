"""The layers, forward and backward, each a C function of the one signature that `kernels.run` calls (see
there).

p0_at, p1_at, b0_at, b1_at: where a layer's tensors are; their gradients go to G at p0, p1, b0, b1.
Backward: the gradient of the output stands in D at `here` and becomes that of the input, in place (`linear`:
at `there`).
"""

import numpy as np
from numba import carray  # type: ignore[attr-defined]

from multilayer.training.kernels.loop import (
    ANY,
    AUX,
    AUX2,
    AUX3,
    B0_AT,
    B1_AT,
    D_IN,
    D_OUT,
    N_FIELDS,
    NEEDS,
    NEEDS_INPUT,
    NEEDS_WEIGHT,
    P0,
    P0_AT,
    P1,
    P1_AT,
    PRODUCT_AT,
    STAT,
    V_IN,
    V_OUT,
    add,
    copy,
    fill,
    floats_at,
    in_and_out,
    int_at,
    kernel,
    matrices_in_and_out,
    matrix,
    product,
    row,
)
from multilayer.training.kernels.vector_math import (
    ONE,
    ZERO,
    f32,
    random24,
    u32,
)


@kernel
def _keys(seed, step, layer):
    """Two 32-bit keys of one layer in one step (splitmix64)."""
    x = np.uint64(seed) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(step) * np.uint64(0x94D049BB133111EB)
    x = x + np.uint64(layer + 1) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return u32(x & np.uint64(0xFFFFFFFF)), u32(x >> np.uint64(32))


@kernel
def _weights(op):
    """A layer's weight and bias; each as long as its output."""
    op = carray(op, N_FIELDS)
    return floats_at(op[P0_AT], op[D_OUT]), floats_at(op[P1_AT], op[D_OUT])


@kernel
def _weight_gradients(op, G):
    """Where the gradients of `_weights` go."""
    op, G = carray(op, N_FIELDS), carray(G, ANY)
    return row(G, op[P0], op[D_OUT]), row(G, op[P1], op[D_OUT])


@kernel
def _add_bias(y, bias, relu):
    rows, d = y.shape
    if relu:
        for i in range(rows):
            for j in range(d):
                z = y[i, j] + bias[j]
                y[i, j] = ZERO if z <= ZERO else z
    else:
        for i in range(rows):
            for j in range(d):
                y[i, j] += bias[j]


@kernel
def _add_bias_back(y, d_y, d_bias, relu):
    """Gradient through the ReLU, in place, and its sum over rows."""
    rows, d = y.shape
    fill(d_bias, ZERO)
    if relu:
        for i in range(rows):
            for j in range(d):
                g = ZERO if y[i, j] <= ZERO else d_y[i, j]
                d_y[i, j] = g
                d_bias[j] += g
    else:
        for i in range(rows):
            for j in range(d):
                d_bias[j] += d_y[i, j]


def linear(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """Linear map y = x W^T + b, and max(y, 0) where aux is 1; without bias and ReLU aux is -1."""
    op, A = carray(op, N_FIELDS), carray(A, ANY)
    d_in, d_out, x_at, y_at = op[D_IN], op[D_OUT], op[V_IN] * cap, op[V_OUT] * cap
    zero, one, weight = np.int64(0), np.int64(1), floats_at(op[P0_AT], ANY)
    product(op[PRODUCT_AT], (rows, d_out, d_in, A, x_at, d_in, one, weight, zero, one, d_in, A, y_at, d_out))
    if op[AUX] >= 0:
        _add_bias(matrix(A, y_at, rows, d_out), floats_at(op[P1_AT], d_out), op[AUX] == 1)


def linear_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    op, A, G, D = carray(op, N_FIELDS), carray(A, ANY), carray(G, ANY), carray(D, ANY)
    d_in, d_out, x_at, one = op[D_IN], op[D_OUT], op[V_IN] * cap, np.int64(1)
    if op[AUX] >= 0:
        y, d_y = matrix(A, op[V_OUT] * cap, rows, d_out), matrix(D, here, rows, d_out)
        _add_bias_back(y, d_y, row(G, op[P1], d_out), op[AUX] == 1)
    if op[NEEDS] & NEEDS_WEIGHT:
        product(op[PRODUCT_AT], (d_out, d_in, rows, D, here, one, d_out, A, x_at, d_in, one, G, op[P0], d_in))
    if op[NEEDS] & NEEDS_INPUT:
        zero, weight = np.int64(0), floats_at(op[P0_AT], ANY)
        product(
            op[PRODUCT_AT], (rows, d_in, d_out, D, here, d_out, one, weight, zero, d_in, one, D, there, d_in)
        )


@kernel
def _drop(y, p, seed, step, op):
    """Zero with probability p, scaled up to keep the mean. Its own way back: the mask hangs on seed, step
    and layer only.
    """
    key0, key1 = _keys(seed, step, op[V_OUT])
    limit = u32(min(p * f32(16777216), f32(16777216)))
    scale = ONE / (ONE - p) if p < ONE else ZERO
    for i in range(y.shape[0]):
        y[i] = y[i] * scale if random24(i, key0, key1) >= limit else ZERO


def dropout(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    copy(x, y)
    if training:
        _drop(y, real[0], seed, step, op)


def dropout_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = in_and_out(op, A, cap, rows)
    _drop(row(carray(D, ANY), here, x.shape[0]), real[0], seed, step, op)


@kernel
def _batch_statistics(x, mean, var):
    """Mean and (biased) variance of each column."""
    rows, d = x.shape
    fill(mean, ZERO)
    fill(var, ZERO)
    for i in range(rows):
        for j in range(d):
            mean[j] += x[i, j]
    share = ONE / f32(rows)
    for j in range(d):
        mean[j] *= share
    for i in range(rows):
        for j in range(d):
            c = x[i, j] - mean[j]
            var[j] += c * c
    for j in range(d):
        var[j] *= share


@kernel
def _track(running_mean, running_var, mean, var, rows, momentum):
    unbiased = f32(rows) / f32(rows - 1)
    for j in range(mean.shape[0]):
        running_mean[j] += momentum * (mean[j] - running_mean[j])
        running_var[j] += momentum * (var[j] * unbiased - running_var[j])


@kernel
def _batch_norm(x, y, mean, var, eps, weight, bias):
    """Normalise: y = (x - mean) / sqrt(var + eps) * weight + bias.

    var becomes 1 / sqrt(var + eps), for the way back.
    """
    rows, d = x.shape
    inv_std = var
    for j in range(d):
        inv_std[j] = ONE / np.sqrt(var[j] + eps)
    for i in range(rows):
        for j in range(d):
            y[i, j] = (x[i, j] - mean[j]) * inv_std[j] * weight[j] + bias[j]


@kernel
def _batch_norm_back(x, d_y, mean, inv_std, weight, d_weight, d_bias, share):
    """share: of each row in the mean and the variance; 0 where these are frozen."""
    rows, d = x.shape
    fill(d_weight, ZERO)
    fill(d_bias, ZERO)
    for i in range(rows):
        for j in range(d):
            d_bias[j] += d_y[i, j]
            d_weight[j] += d_y[i, j] * ((x[i, j] - mean[j]) * inv_std[j])
    for i in range(rows):
        for j in range(d):
            hat = (x[i, j] - mean[j]) * inv_std[j]
            d_y[i, j] = weight[j] * inv_std[j] * (d_y[i, j] - share * (d_bias[j] + hat * d_weight[j]))


def batch_norm(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """aux: 1 with running statistics, and aux2: address of the count of batches; aux3: 1 where they are
    frozen (`eval()`). real: eps, momentum (-1: a plain mean).
    """
    x, y = matrices_in_and_out(op, A, cap, rows)
    S, d, has_running = carray(S, ANY), op[D_IN], op[AUX] == 1
    mean, var = row(S, op[STAT], d), row(S, op[STAT] + d, d)
    learns = training == 1 and op[AUX3] == 0
    if learns or not has_running:
        _batch_statistics(x, mean, var)
    else:
        copy(floats_at(op[B0_AT], d), mean)
        copy(floats_at(op[B1_AT], d), var)
    if learns and has_running:
        counter = int_at(op[AUX2])
        counter[0] += 1
        momentum = real[1] if real[1] >= ZERO else f32(1.0 / counter[0])
        _track(floats_at(op[B0_AT], d), floats_at(op[B1_AT], d), mean, var, rows, momentum)
    _batch_norm(x, y, mean, var, real[0], floats_at(op[P0_AT], d), floats_at(op[P1_AT], d))


def batch_norm_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = matrices_in_and_out(op, A, cap, rows)
    S, G, d = carray(S, ANY), carray(G, ANY), op[D_IN]
    mean, inv_std, weight = row(S, op[STAT], d), row(S, op[STAT] + d, d), floats_at(op[P0_AT], d)
    d_y = matrix(carray(D, ANY), here, rows, d)
    share = ZERO if op[AUX3] == 1 else ONE / f32(rows)
    _batch_norm_back(x, d_y, mean, inv_std, weight, row(G, op[P0], d), row(G, op[P1], d), share)


def layer_norm(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """Normalise each row. stat (rows, 2), among the values: mean and 1 / sqrt(var + eps) of each row."""
    x, y = matrices_in_and_out(op, A, cap, rows)
    weight, bias = _weights(op)
    stat, eps = matrix(carray(A, ANY), op[STAT] * cap, rows, np.int64(2)), real[0]
    rows, d = x.shape
    share = ONE / f32(d)
    for i in range(rows):
        total = ZERO
        for j in range(d):
            total += x[i, j]
        mean = total * share
        squares = ZERO
        for j in range(d):
            squares += (x[i, j] - mean) * (x[i, j] - mean)
        inv_std = ONE / np.sqrt(squares * share + eps)
        stat[i, 0] = mean
        stat[i, 1] = inv_std
        for j in range(d):
            y[i, j] = (x[i, j] - mean) * inv_std * weight[j] + bias[j]


def layer_norm_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = matrices_in_and_out(op, A, cap, rows)
    weight, _bias = _weights(op)
    d_weight, d_bias = _weight_gradients(op, G)
    stat = matrix(carray(A, ANY), op[STAT] * cap, rows, np.int64(2))
    d_y = matrix(carray(D, ANY), here, rows, op[D_IN])
    rows, d = x.shape
    fill(d_weight, ZERO)
    fill(d_bias, ZERO)
    share = ONE / f32(d)
    for i in range(rows):
        mean, inv_std = stat[i, 0], stat[i, 1]
        for j in range(d):
            d_bias[j] += d_y[i, j]
            d_weight[j] += d_y[i, j] * ((x[i, j] - mean) * inv_std)
        total = ZERO
        along = ZERO
        for j in range(d):
            g = d_y[i, j] * weight[j]
            total += g
            along += g * ((x[i, j] - mean) * inv_std)
        for j in range(d):
            hat = (x[i, j] - mean) * inv_std
            d_y[i, j] = inv_std * (d_y[i, j] * weight[j] - share * (total + hat * along))


def fork(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """In front of a residual block; its input stays where it is."""


def fork_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    D, n = carray(D, ANY), rows * op[D_IN]
    add(row(D, (2 * width + op[AUX]) * cap, n), row(D, here, n))


def join(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """Behind a residual block: its output plus its input, which stands at aux2."""
    x, y = in_and_out(op, A, cap, rows)
    copy(x, y)
    add(row(carray(A, ANY), op[AUX2] * cap, x.shape[0]), y)


def join_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """A copy of the gradient waits for the fork."""
    D, n = carray(D, ANY), rows * op[D_IN]
    copy(row(D, here, n), row(D, (2 * width + op[AUX]) * cap, n))


# As pairs, for readers.py
LINEAR = (linear, linear_back)
BATCH_NORM = (batch_norm, batch_norm_back)
LAYER_NORM = (layer_norm, layer_norm_back)
DROPOUT = (dropout, dropout_back)
FORK = (fork, fork_back)
JOIN = (join, join_back)
LAYERS = (LINEAR, BATCH_NORM, LAYER_NORM, DROPOUT, FORK, JOIN)
