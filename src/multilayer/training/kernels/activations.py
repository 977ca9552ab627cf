"""Activations, forward and backward, each a C function like those of `layers.py`, whose head says what the
arguments are.
"""

from numba import carray  # type: ignore[attr-defined]

from multilayer.training.kernels.loop import (
    ANY,
    AUX,
    N_FIELDS,
    P0,
    P0_AT,
    fill,
    floats_at,
    in_and_out,
    kernel,
    matrices_in_and_out,
    matrix,
    row,
)
from multilayer.training.kernels.vector_math import (
    ONE,
    SELU_ALPHA,
    SELU_SCALE,
    TANH_CUBE,
    TANH_SCALE,
    TWO,
    ZERO,
    expm1,
    f32,
    normal,
)
from multilayer.training.kernels.vector_math import sigmoid as _sigmoid
from multilayer.training.kernels.vector_math import softplus as _softplus
from multilayer.training.kernels.vector_math import tanh as _tanh


def relu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = ZERO if x[i] <= ZERO else x[i]


def relu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        d[i] = ZERO if y[i] <= ZERO else d[i]


def leaky_relu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    alpha = real[0]
    for i in range(x.shape[0]):
        y[i] = x[i] if x[i] > ZERO else alpha * x[i]


def leaky_relu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = in_and_out(op, A, cap, rows)
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
    x, y = matrices_in_and_out(op, A, cap, rows)
    op = carray(op, N_FIELDS)
    if op[AUX] == 0:
        x, y = x.reshape((x.size, 1)), y.reshape((x.size, 1))
    _prelu(x, y, floats_at(op[P0_AT], x.shape[1]))


def prelu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = matrices_in_and_out(op, A, cap, rows)
    op, G = carray(op, N_FIELDS), carray(G, ANY)
    d_y = matrix(carray(D, ANY), here, rows, x.shape[1])
    if op[AUX] == 0:
        x, d_y = x.reshape((x.size, 1)), d_y.reshape((x.size, 1))
    _prelu_back(x, d_y, floats_at(op[P0_AT], x.shape[1]), row(G, op[P0], x.shape[1]))


def elu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    alpha = real[0]
    for i in range(x.shape[0]):
        y[i] = x[i] if x[i] > ZERO else alpha * expm1(x[i])


def elu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    alpha = real[0]
    for i in range(x.shape[0]):
        d[i] = d[i] * (ONE if x[i] > ZERO else y[i] + alpha)


def selu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = SELU_SCALE * (x[i] if x[i] > ZERO else SELU_ALPHA * expm1(x[i]))


def selu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        d[i] = d[i] * (SELU_SCALE if x[i] > ZERO else y[i] + SELU_SCALE * SELU_ALPHA)


def gelu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = x[i] * normal(x[i])[0]


def gelu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        below, density = normal(x[i])
        d[i] = d[i] * (below + x[i] * density)


def gelu_tanh(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        z = x[i]
        y[i] = z * _sigmoid(TWO * TANH_SCALE * (z + TANH_CUBE * z * z * z))


def gelu_tanh_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        z = x[i]
        s = _sigmoid(TWO * TANH_SCALE * (z + TANH_CUBE * z * z * z))
        slope = TWO * TANH_SCALE * (ONE + f32(3) * TANH_CUBE * z * z)
        d[i] = d[i] * (s + z * s * (ONE - s) * slope)


def silu(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = x[i] * _sigmoid(x[i])


def silu_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        s = _sigmoid(x[i])
        d[i] = d[i] * s * (ONE + x[i] * (ONE - s))


def mish(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = x[i] * _tanh(_softplus(x[i]))


def mish_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        t = _tanh(_softplus(x[i]))
        d[i] = d[i] * (t + x[i] * (ONE - t * t) * _sigmoid(x[i]))


def tanh(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = _tanh(x[i])


def tanh_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        d[i] = d[i] * (ONE - y[i] * y[i])


def sigmoid(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    for i in range(x.shape[0]):
        y[i] = _sigmoid(x[i])


def sigmoid_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    for i in range(x.shape[0]):
        d[i] = d[i] * y[i] * (ONE - y[i])


def softplus(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, y = in_and_out(op, A, cap, rows)
    alpha, beta = real[0], real[1]
    for i in range(x.shape[0]):
        y[i] = x[i] if alpha * x[i] > beta else _softplus(alpha * x[i]) / alpha


def softplus_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = in_and_out(op, A, cap, rows)
    d = row(carray(D, ANY), here, x.shape[0])
    alpha, beta = real[0], real[1]
    for i in range(x.shape[0]):
        d[i] = d[i] if alpha * x[i] > beta else d[i] * _sigmoid(alpha * x[i])


# As pairs, for readers.py
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
ACTIVATIONS = (RELU, LEAKY_RELU, PRELU, ELU, SELU, GELU, GELU_TANH, SILU, MISH, TANH, SIGMOID, SOFTPLUS)
