"""What stands in front of a network, forward and backward: columns as they are, codes as columns of 0 and 1
or looked up, periodic and piecewise-linear embeddings. Each is a C function like those of `layers.py`, whose
head says what the arguments are.
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
    D_OUT,
    P0,
    P0_AT,
    P1,
    P1_AT,
    STAT,
    fill,
    floats_at,
    kernel,
    matrices_in_and_out,
    matrix,
    matrix_at,
    row,
)
from multilayer.training.kernels.vector_math import (
    ONE,
    QUARTER,
    TURNS,
    ZERO,
    f32,
    sin_turns,
)


def nothing_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """Of a first layer without parameters."""


def select(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """Aux columns as they are: the first ones, or those whose numbers stand among ints from aux2 on."""
    x, y = matrices_in_and_out(op, A, cap, rows)
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
    x, y = matrices_in_and_out(op, A, cap, rows)
    for i in range(rows):
        for j in range(op[AUX2]):
            y[i, op[STAT] + j] = ZERO
        y[i, op[STAT] + np.int64(x[i, op[AUX]])] = ONE


def look_up(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    """aux, aux2, stat as for `one_hot`; aux3: length of a vector, p0: the table."""
    x, y = matrices_in_and_out(op, A, cap, rows)
    table = floats_at(op[P0_AT], op[AUX2] * op[AUX3]).reshape((op[AUX2], op[AUX3]))
    for i in range(rows):
        code = np.int64(x[i, op[AUX]])
        for j in range(op[AUX3]):
            y[i, op[STAT] + j] = table[code, j]


def look_up_back(op, real, ints, G, A, D, S, cap, rows, here, there, width, training, seed, step):
    x, _y = matrices_in_and_out(op, A, cap, rows)
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
    x, y = matrices_in_and_out(op, A, cap, rows)
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
    x, _y = matrices_in_and_out(op, A, cap, rows)
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
    x, y = matrices_in_and_out(op, A, cap, rows)
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
    x, _y = matrices_in_and_out(op, A, cap, rows)
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


# As pairs, for readers.py
SELECT = (select, nothing_back)
ONE_HOT = (one_hot, nothing_back)
LOOK_UP = (look_up, look_up_back)
PERIODIC = (periodic, periodic_back)
PIECEWISE = (piecewise, piecewise_back)
EMBEDDINGS = (SELECT, ONE_HOT, LOOK_UP, PERIODIC, PIECEWISE)
