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
    B0,
    B0_AT,
    B1,
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
    int_at,
    kernel,
    matrix,
    matrix_at,
    product,
    row,
)
from multilayer.training.kernels.vector_math import (
    ONE,
    QUARTER,
    SELU_ALPHA,
    SELU_SCALE,
    TANH_CUBE,
    TANH_SCALE,
    TURNS,
    TWO,
    ZERO,
    expm1,
    f32,
    normal,
    random24,
    sin_turns,
    u32,
)
from multilayer.training.kernels.vector_math import sigmoid as _sigmoid
from multilayer.training.kernels.vector_math import softplus as _softplus
from multilayer.training.kernels.vector_math import tanh as _tanh


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
def _in_and_out(op, A, cap, rows):
    """Flat input and output of a layer that keeps the width."""
    op, A = carray(op, N_FIELDS), carray(A, ANY)
    return row(A, op[V_IN] * cap, rows * op[D_IN]), row(A, op[V_OUT] * cap, rows * op[D_IN])


def relu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = ZERO if x[i] <= ZERO else x[i]


def relu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        d[i] = ZERO if y[i] <= ZERO else d[i]


def leaky_relu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    alpha = real[0]
    for i in range(x.shape[0]):
        y[i] = x[i] if x[i] > ZERO else alpha * x[i]


def leaky_relu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = _in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    alpha = real[0]
    for i in range(x.shape[0]):
        d[i] = d[i] if x[i] > ZERO else alpha * d[i]


@kernel
def _prelu(x, y, slope):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] if x[i, j] > ZERO else slope[j] * x[i, j]


@kernel
def _prelu_back(x, d_y, slope, d_slope):
    fill(d_slope, ZERO)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            g = d_y[i, j]
            d_slope[j] += ZERO if x[i, j] > ZERO else g * x[i, j]
            d_y[i, j] = g if x[i, j] > ZERO else slope[j] * g


def prelu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """aux: 1 where each column has a slope of its own, 0 where one serves all; p0: the first."""
    x, y = _values(op, A, cap, rows)
    op = carray(op, N_FIELDS)
    if op[AUX] == 0:
        x, y = x.reshape((x.size, 1)), y.reshape((x.size, 1))
    _prelu(x, y, floats_at(op[P0_AT], x.shape[1]))


def prelu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = _values(op, A, cap, rows)
    op, G = carray(op, N_FIELDS), carray(G, ANY)
    d_y = matrix(carray(D, ANY), here, rows, x.shape[1])
    if op[AUX] == 0:
        x, d_y = x.reshape((x.size, 1)), d_y.reshape((x.size, 1))
    _prelu_back(x, d_y, floats_at(op[P0_AT], x.shape[1]), row(G, op[P0], x.shape[1]))


def elu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    alpha = real[0]
    for i in range(x.shape[0]):
        y[i] = x[i] if x[i] > ZERO else alpha * expm1(x[i])


def elu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    alpha = real[0]
    for i in range(x.shape[0]):
        d[i] = d[i] * (ONE if x[i] > ZERO else y[i] + alpha)


def selu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = SELU_SCALE * (x[i] if x[i] > ZERO else SELU_ALPHA * expm1(x[i]))


def selu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        d[i] = d[i] * (SELU_SCALE if x[i] > ZERO else y[i] + SELU_SCALE * SELU_ALPHA)


def gelu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = x[i] * normal(x[i])[0]


def gelu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = _in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        below, density = normal(x[i])
        d[i] = d[i] * (below + x[i] * density)


def gelu_tanh(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        z = x[i]
        y[i] = z * _sigmoid(TWO * TANH_SCALE * (z + TANH_CUBE * z * z * z))


def gelu_tanh_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = _in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        z = x[i]
        s = _sigmoid(TWO * TANH_SCALE * (z + TANH_CUBE * z * z * z))
        slope = TWO * TANH_SCALE * (ONE + f32(3) * TANH_CUBE * z * z)
        d[i] = d[i] * (s + z * s * (ONE - s) * slope)


def silu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = x[i] * _sigmoid(x[i])


def silu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = _in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        s = _sigmoid(x[i])
        d[i] = d[i] * s * (ONE + x[i] * (ONE - s))


def mish(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = x[i] * _tanh(_softplus(x[i]))


def mish_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = _in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        t = _tanh(_softplus(x[i]))
        d[i] = d[i] * (t + x[i] * (ONE - t * t) * _sigmoid(x[i]))


def tanh(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = _tanh(x[i])


def tanh_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        d[i] = d[i] * (ONE - y[i] * y[i])


def sigmoid(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = _sigmoid(x[i])


def sigmoid_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        d[i] = d[i] * y[i] * (ONE - y[i])


def softplus(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = _in_and_out(op, A, cap, rows)
    alpha, beta = real[0], real[1]
    for i in range(x.shape[0]):
        y[i] = x[i] if alpha * x[i] > beta else _softplus(alpha * x[i]) / alpha


def softplus_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = _in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    alpha, beta = real[0], real[1]
    for i in range(x.shape[0]):
        d[i] = d[i] if alpha * x[i] > beta else d[i] * _sigmoid(alpha * x[i])


@kernel
def _values(op, A, cap, rows):
    """Input and output of a layer, as matrices."""
    op, A = carray(op, N_FIELDS), carray(A, ANY)
    return matrix(A, op[V_IN] * cap, rows, op[D_IN]), matrix(A, op[V_OUT] * cap, rows, op[D_OUT])


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
    x, y = _in_and_out(op, A, cap, rows)
    copy(x, y)
    if training:
        _drop(y, real[0], seed, step, op)


def dropout_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = _in_and_out(op, A, cap, rows)
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
    x, y = _values(op, A, cap, rows)
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
    x, _y = _values(op, A, cap, rows)
    S, G, d = carray(S, ANY), carray(G, ANY), op[D_IN]
    mean, inv_std, weight = row(S, op[STAT], d), row(S, op[STAT] + d, d), floats_at(op[P0_AT], d)
    d_y = matrix(carray(D, ANY), here, rows, d)
    share = ZERO if op[AUX3] == 1 else ONE / f32(rows)
    _batch_norm_back(x, d_y, mean, inv_std, weight, row(G, op[P0], d), row(G, op[P1], d), share)


def layer_norm(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """Normalise each row. stat (rows, 2), among the values: mean and 1 / sqrt(var + eps) of each row."""
    x, y = _values(op, A, cap, rows)
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
    x, _y = _values(op, A, cap, rows)
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
    x, y = _in_and_out(op, A, cap, rows)
    copy(x, y)
    add(row(carray(A, ANY), op[AUX2] * cap, x.shape[0]), y)


def join_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """A copy of the gradient waits for the fork."""
    D, n = carray(D, ANY), rows * op[D_IN]
    copy(row(D, here, n), row(D, (2 * width + op[AUX]) * cap, n))


def nothing_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """Of a first layer without parameters."""


def select(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """aux columns as they are: the first ones, or those whose numbers stand among ints from aux2 on."""
    x, y = _values(op, A, cap, rows)
    if op[AUX2] < 0:
        for i in range(rows):
            for j in range(op[AUX]):
                y[i, j] = x[i, j]
        return
    columns = carray(ints, ANY)[op[AUX2] :]
    for i in range(rows):
        for j in range(op[AUX]):
            y[i, j] = x[i, columns[j]]


def one_hot(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """aux: column of codes, aux2: number of codes, stat: first column to write."""
    x, y = _values(op, A, cap, rows)
    for i in range(rows):
        for j in range(op[AUX2]):
            y[i, op[STAT] + j] = ZERO
        y[i, op[STAT] + np.int64(x[i, op[AUX]])] = ONE


def look_up(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """aux, aux2, stat as for `one_hot`; aux3: length of a vector, p0: the table."""
    x, y = _values(op, A, cap, rows)
    table = floats_at(op[P0_AT], op[AUX2] * op[AUX3]).reshape((op[AUX2], op[AUX3]))
    for i in range(rows):
        code = np.int64(x[i, op[AUX]])
        for j in range(op[AUX3]):
            y[i, op[STAT] + j] = table[code, j]


def look_up_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = _values(op, A, cap, rows)
    d_y = matrix(carray(D, ANY), here, rows, op[D_OUT])
    G = carray(G, ANY)
    fill(row(G, op[P0], op[AUX2] * op[AUX3]), ZERO)
    d_table = matrix(G, op[P0], op[AUX2], op[AUX3])
    for i in range(rows):
        code = np.int64(x[i, op[AUX]])
        for j in range(op[AUX3]):
            d_table[code, j] += d_y[i, op[STAT] + j]


@kernel
def _mix_four(mixed, cap, wave, weight):
    """Add a wave to four outputs, in one pass over the rows."""
    rows = len(wave)
    a0, a1, a2, a3 = weight[0], weight[1], weight[2], weight[3]
    y0, y1 = row(mixed, np.int64(0), rows), row(mixed, cap, rows)
    y2, y3 = row(mixed, 2 * cap, rows), row(mixed, 3 * cap, rows)
    for i in range(rows):
        y0[i] += a0 * wave[i]
        y1[i] += a1 * wave[i]
        y2[i] += a2 * wave[i]
        y3[i] += a3 * wave[i]


@kernel
def _mix_four_back(mixed, cap, wave, d_wave, weight, d_weight):
    """The wave's gradient, and those of its four weights, from the outputs' gradients in `mixed`."""
    rows = len(wave)
    a0, a1, a2, a3 = weight[0], weight[1], weight[2], weight[3]
    g0, g1 = row(mixed, np.int64(0), rows), row(mixed, cap, rows)
    g2, g3 = row(mixed, 2 * cap, rows), row(mixed, 3 * cap, rows)
    t0, t1, t2, t3 = ZERO, ZERO, ZERO, ZERO
    for i in range(rows):
        t0 += wave[i] * g0[i]
        t1 += wave[i] * g1[i]
        t2 += wave[i] * g2[i]
        t3 += wave[i] * g3[i]
        d_wave[i] = (a0 * g0[i] + a1 * g1[i]) + (a2 * g2[i] + a3 * g3[i])
    d_weight[0], d_weight[1], d_weight[2], d_weight[3] = t0, t1, t2, t3


def periodic(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """Cosines and their mix, feature by feature; the inner loops run over rows.

    aux: where features, frequencies, outputs a feature, first output column and the columns stand among ints.
    stat: scratch among the values: waves, x, gradient of a wave, outputs.
    """
    x, y = _values(op, A, cap, rows)
    scratch, spec = carray(A, ANY)[op[STAT] * cap :], carray(ints, ANY)[op[AUX] :]
    frequency, phase = floats_at(op[P0_AT], ANY), floats_at(op[P1_AT], ANY)
    weight = floats_at(op[B0_AT], ANY)
    n_features, n_frequencies, d = spec[0], spec[1], spec[2]
    xf = row(scratch, n_features * n_frequencies * cap, rows)
    mixed = scratch[(n_features * n_frequencies + 2) * cap :]
    for f in range(n_features):
        for i in range(rows):
            xf[i] = x[i, spec[4 + f]]
        fill(row(mixed, np.int64(0), d * cap), ZERO)
        for n in range(n_frequencies):
            wave = row(scratch, (f * n_frequencies + n) * cap, rows)
            w, shift = frequency[f * n_frequencies + n], phase[f * n_frequencies + n] + QUARTER
            for i in range(rows):
                wave[i] = sin_turns(xf[i] * w + shift)
            if d == 4:
                _mix_four(mixed, cap, wave, weight[(f * n_frequencies + n) * d :])
                continue
            for e in range(d):
                a = weight[(f * n_frequencies + n) * d + e]
                to = row(mixed, e * cap, rows)
                for i in range(rows):
                    to[i] += a * wave[i]
        for e in range(d):
            to = row(mixed, e * cap, rows)
            for i in range(rows):
                y[i, spec[3] + f * d + e] = to[i]


def periodic_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = _values(op, A, cap, rows)
    scratch, spec, G = carray(A, ANY)[op[STAT] * cap :], carray(ints, ANY)[op[AUX] :], carray(G, ANY)
    frequency, phase = floats_at(op[P0_AT], ANY), floats_at(op[P1_AT], ANY)
    weight = floats_at(op[B0_AT], ANY)
    d_frequency, d_phase, d_weight = G[op[P0] :], G[op[P1] :], G[op[B0] :]
    d_y = matrix(carray(D, ANY), here, rows, op[D_OUT])
    n_features, n_frequencies, d = spec[0], spec[1], spec[2]
    xf = row(scratch, n_features * n_frequencies * cap, rows)
    d_wave = row(scratch, (n_features * n_frequencies + 1) * cap, rows)
    mixed = scratch[(n_features * n_frequencies + 2) * cap :]
    for f in range(n_features):
        for i in range(rows):
            xf[i] = x[i, spec[4 + f]]
        for e in range(d):
            g = row(mixed, e * cap, rows)
            for i in range(rows):
                g[i] = d_y[i, spec[3] + f * d + e]
        for n in range(n_frequencies):
            at = f * n_frequencies + n
            wave = row(scratch, at * cap, rows)
            if d == 4:
                _mix_four_back(mixed, cap, wave, d_wave, weight[at * d :], d_weight[at * d :])
            else:
                fill(d_wave, ZERO)
                for e in range(d):
                    a = weight[at * d + e]
                    g = row(mixed, e * cap, rows)
                    total = ZERO
                    for i in range(rows):
                        total += wave[i] * g[i]
                        d_wave[i] += a * g[i]
                    d_weight[at * d + e] = total
            w, shift = frequency[at], phase[at]
            to_phase = ZERO
            to_frequency = ZERO
            for i in range(rows):
                slope = -TURNS * sin_turns(xf[i] * w + shift) * d_wave[i]
                to_phase += slope
                to_frequency += slope * xf[i]
            d_phase[at] = to_phase
            d_frequency[at] = to_frequency


@kernel
def _bins_with_width(edges):
    """Bins of no width may stand at the end, and hold no x."""
    n = edges.shape[0] - 1
    while n > 0 and edges[n - 1] >= edges[n]:
        n -= 1
    return n


@kernel
def _bins_a_unit(edges, n_bins):
    """Bins in a unit of x, where all are of about one width; else 0."""
    if n_bins == 0:
        return ZERO
    scale = f32(n_bins) / (edges[n_bins] - edges[0])
    for t in range(1, n_bins):
        if abs((edges[t] - edges[0]) * scale - f32(t)) > QUARTER:
            return ZERO
    return scale


@kernel
def _bin_of(edges, n_bins, bins_a_unit, x):
    """The bin of x, and how much of it lies below x; the first bin is open below, the last one above."""
    if n_bins == 0:
        return 0, ZERO
    low, high = 0, n_bins - 1
    if bins_a_unit > ZERO:  # a guess that is off by one at most, then a look
        low = np.int64(min(max((x - edges[0]) * bins_a_unit, ZERO), f32(high)))
        while low > 0 and x < edges[low]:
            low -= 1
        while low < high and edges[low + 1] <= x:
            low += 1
    else:
        while low < high:
            middle = (low + high + 1) // 2
            if edges[middle] <= x:
                low = middle
            else:
                high = middle - 1
    return low, (x - edges[low]) / (edges[low + 1] - edges[low])


def piecewise(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """Piecewise-linear embeddings, feature by feature: of all bins only the one that x is in costs anything.

    What the bins below it add is a running sum of weights. p0: edges, p1: slopes, b0: biases, b1: weights.
    aux: where features, bins, outputs a feature, first output column and the columns stand among ints.
    stat: scratch among the values: of each feature bin and share of each row, then the running sums.
    """
    x, y = _values(op, A, cap, rows)
    scratch, spec = carray(A, ANY)[op[STAT] * cap :], carray(ints, ANY)[op[AUX] :]
    n_features, n_bins, d = spec[0], spec[1], spec[2]
    all_edges = matrix_at(op[P0_AT], n_features, n_bins + 1)
    slopes, biases = matrix_at(op[P1_AT], n_features, d), matrix_at(op[B0_AT], n_features, d)
    weights = matrix_at(op[B1_AT], n_features * n_bins, d)
    below = matrix(scratch, 2 * n_features * cap, n_bins, d)
    for f in range(n_features):
        edges, slope, bias = all_edges[f], slopes[f], biases[f]
        weight = weights[f * n_bins : (f + 1) * n_bins]
        bins, shares = row(scratch, 2 * f * cap, rows), row(scratch, (2 * f + 1) * cap, rows)
        for e in range(d):
            below[0, e] = bias[e]
        for t in range(1, n_bins):
            for e in range(d):
                below[t, e] = below[t - 1, e] + weight[t - 1, e]
        column, first, n_wide = spec[4 + f], spec[3] + f * d, _bins_with_width(edges)
        bins_a_unit = _bins_a_unit(edges, n_wide)
        for i in range(rows):
            z = x[i, column]
            t, share = _bin_of(edges, n_wide, bins_a_unit, z)
            bins[i], shares[i] = t, share
            for e in range(d):
                y[i, first + e] = (below[t, e] + z * slope[e]) + share * weight[t, e]


def piecewise_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """Each row's gradient goes to its own bin, and from there, once for all rows, to the bins below it."""
    x, _y = _values(op, A, cap, rows)
    scratch, spec, G = carray(A, ANY)[op[STAT] * cap :], carray(ints, ANY)[op[AUX] :], carray(G, ANY)
    d_y = matrix(carray(D, ANY), here, rows, op[D_OUT])
    n_features, n_bins, d = spec[0], spec[1], spec[2]
    here_in_all = matrix(scratch, 2 * n_features * cap, n_bins, d)
    for f in range(n_features):
        d_slope, d_bias = row(G, op[P1] + f * d, d), row(G, op[B0] + f * d, d)
        d_weight = matrix(G, op[B1] + f * n_bins * d, n_bins, d)
        bins, shares = row(scratch, 2 * f * cap, rows), row(scratch, (2 * f + 1) * cap, rows)
        fill(d_slope, ZERO)
        fill(d_bias, ZERO)
        for t in range(n_bins):
            for e in range(d):
                d_weight[t, e] = ZERO
                here_in_all[t, e] = ZERO
        column, first = spec[4 + f], spec[3] + f * d
        for i in range(rows):
            z, t, share = x[i, column], np.int64(bins[i]), shares[i]
            for e in range(d):
                g = d_y[i, first + e]
                here_in_all[t, e] += g
                d_weight[t, e] += share * g
                d_slope[e] += z * g
        for t in range(n_bins - 1, -1, -1):
            for e in range(d):
                d_weight[t, e] += d_bias[e]
                d_bias[e] += here_in_all[t, e]


# Layers as pairs, for plan.py
LINEAR = (linear, linear_back)
BATCH_NORM = (batch_norm, batch_norm_back)
LAYER_NORM = (layer_norm, layer_norm_back)
DROPOUT = (dropout, dropout_back)
FORK = (fork, fork_back)
JOIN = (join, join_back)
PERIODIC = (periodic, periodic_back)
PIECEWISE = (piecewise, piecewise_back)
LOOK_UP = (look_up, look_up_back)
RELU = (relu, relu_back)
LEAKY_RELU = (leaky_relu, leaky_relu_back)
PRELU = (prelu, prelu_back)
ELU = (elu, elu_back)
SELU = (selu, selu_back)
GELU = (gelu, gelu_back)
GELU_TANH = (gelu_tanh, gelu_tanh_back)
SILU = (silu, silu_back)
MISH = (mish, mish_back)
TANH = (tanh, tanh_back)
SIGMOID = (sigmoid, sigmoid_back)
SOFTPLUS = (softplus, softplus_back)
SELECT = (select, nothing_back)
ONE_HOT = (one_hot, nothing_back)

LAYERS = (
    *(LINEAR, BATCH_NORM, LAYER_NORM, DROPOUT, FORK, JOIN, PERIODIC, PIECEWISE, LOOK_UP, SELECT, ONE_HOT),
    *(RELU, LEAKY_RELU, PRELU, ELU, SELU, GELU, GELU_TANH, SILU, MISH, TANH, SIGMOID, SOFTPLUS),
)
