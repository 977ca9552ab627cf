"""The compiled loops: layers, losses and updates, each compiled when a network first needs it, and `run`,
which walks a plan.

Every kind of layer is a pair of C functions of one signature, `layer` (forward and backward); a plan's row
holds their addresses, and `run`, compiled once for all architectures, calls them. Nothing is compiled at
import; a step allocates nothing but a panel for a matrix product.

Parameters, running statistics and the optimiser's moments stay where PyTorch has them: the kernels are told
their addresses.

G:          float32, the gradients of all parameters in one row (see `plan.py`)
A:          float32, every layer's output for one batch; a matrix (cap, d) stands at offset * cap
D:          float32, two matrices for the gradient on its way back, at `here` and `there`, then one for each
            residual block; afterwards scratch of the update
S:          float32, what normalisation learnt from this batch, for the way back
op, real:   one row of the plan a layer, columns as named below
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from multilayer.training.kernels.compiler import c_function, jit
from multilayer.training.kernels.vector_math import ONE, ZERO, f32

# Columns of ops. What p0, p1, b0, b1, aux... hold depends on the layer: see plan.py, which writes them.
# SWAPS: its way back writes to the other gradient matrix. FORWARD_AT, BACKWARD_AT, PRODUCT_AT (of the matrix
# product), P0_AT to B1_AT (of the tensors whose gradients stand at p0 to b1): addresses, which forward.py
# writes.
SWAPS, D_IN, D_OUT, V_IN, V_OUT, P0, P1, B0, B1, STAT, NEEDS, AUX, AUX2, AUX3 = range(14)
FORWARD_AT, BACKWARD_AT, PRODUCT_AT = range(14, 17)
P0_AT, P1_AT, B0_AT, B1_AT = range(17, 21)
N_FIELDS = 21
N_REALS = 2
NEEDS_WEIGHT, NEEDS_INPUT = 1, 2  # bits of NEEDS: gradients that somebody asks for

# Columns of segments: one row a parameter that trains. START, STOP: its gradient in G; PARAMETER_AT,
# MOMENT1_AT, MOMENT2_AT: addresses; UPDATES: how often it was updated.
START, STOP, PARAMETER_AT, MOMENT1_AT, MOMENT2_AT, UPDATES = range(6)
N_PLACES = 6

# Columns of hyper: one row a segment. BETA1: momentum of SGD and Muon; ROWS to SCALE: Muon's
LR, WEIGHT_DECAY, BETA1, BETA2, EPS, NESTEROV, DECOUPLED, UPDATE_AT = range(8)
ROWS, COLUMNS, NS_A, NS_B, NS_C, NS_STEPS, SCALE = range(8, 15)
SIGNS_AT = 15  # of a weight that keeps signs: their address
MUON_PRODUCT_AT, MUON_GRAM_AT = 16, 17  # addresses of the matrix product, and of one that is symmetric
# What Adam divides its moments by in update t, as factors: 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t); `run`
# writes it
UNBIAS1, UNBIAS2 = 18, 19
N_HYPER = 20

# Places of sizes. CAP: rows of a buffer; WIDTH: its columns; OUTPUT_AT: the output's place among the values;
# BATCH_AT: the batch that is run; N_OUTPUTS: of the network; N_BATCHES: so far; LOSS_AT: the loss's address
CAP, WIDTH, OUTPUT_AT, BATCH_AT, ACCUMULATE, SEED, N_OUTPUTS, N_BATCHES, LOSS_AT = range(9)
N_SIZES = 9

# Modes of run
TRAIN, PREDICT, FORWARD, BACKWARD = range(4)

ANY = 1 << 40  # length of an array whose length nobody asks for

# Not nnan, not ninf: a diverged run must show NaN, as in PyTorch.
_FASTMATH = {"contract", "reassoc", "nsz"}

_int, _real = types.int64, types.float64
_ints, _floats, _reals = types.CPointer(_int), types.CPointer(types.float32), types.CPointer(_real)
_LAYER = types.void(_ints, _floats, _ints, *[_floats] * 4, *[_int] * 8)
_LOSS = types.float64(*[_floats] * 2, _ints, _int, _int, _ints, *[_floats] * 4, _ints, _reals)
_UPDATE = types.void(*[_floats] * 5, _int, _reals, _real, _int)
_PRODUCT = types.void(*[_int] * 3, *[_floats, _int, _int] * 2, _floats, _int)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on first call, into each function that calls it.

    As code of its own it would be shared by all kernels that call it, compiled as the first of them to be
    loaded has it: sums would then hang, in their last digits, on what a process has done before.
    """
    return jit(function, fastmath=_FASTMATH, forceinline=True)


def entry(function: Callable[..., Any]) -> Any:
    """As `kernel`, but code of its own."""
    return jit(function, fastmath=_FASTMATH)


_COMPILED: dict[Callable[..., Any], Any] = {}  # what was compiled stays, and its address good, to the end


def _address(function: Callable[..., Any], signature: Any) -> int:
    """Of a C function, compiled or loaded from the cache on disk when first asked for."""
    if function not in _COMPILED:
        _COMPILED[function] = c_function(function, signature, fastmath=_FASTMATH)
    return int(_COMPILED[function].address)


def layer_address(function: Callable[..., Any]) -> int:
    """Compile a layer's kernel, or load it from the cache on disk; its address stays good for the process."""
    return _address(function, _LAYER)


def loss_address(function: Callable[..., Any]) -> int:
    """As `layer_address`, for a loss."""
    return _address(function, _LOSS)


def update_address(function: Callable[..., Any]) -> int:
    """As `layer_address`, for an optimiser's update."""
    return _address(function, _UPDATE)


def product_address(function: Callable[..., Any]) -> int:
    """As `layer_address`, for a matrix product: `matmul.tiles` or `blas.blas`."""
    return _address(function, _PRODUCT)


def _caller(kinds: str, returns: Any) -> Any:
    """An intrinsic that calls an address.

    kinds, a letter an argument: a array (its first element), o array and offset, p address of a float32,
    i int64, d float64.
    """
    width = {"a": 1, "o": 2, "p": 1, "i": 1, "d": 1}

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values, at = [], 0
        items = [builder.extract_value(args[1], i) for i in range(len(signature.args[1]))]
        for kind in kinds:
            value = items[at]
            if kind in "ao":
                value = context.make_array(signature.args[1][at])(context, builder, value).data
                if kind == "o":
                    value = builder.gep(value, [items[at + 1]])
            elif kind == "p":
                value = builder.inttoptr(value, ir.FloatType().as_pointer())
            values.append(value)
            at += width[kind]
        function = ir.FunctionType(returns, [value.type for value in values])
        return builder.call(builder.inttoptr(args[0], function.as_pointer()), values)

    return generate


def _procedure(kinds: str) -> Any:
    """As `_caller`, of what returns nothing, for kernels to call with an address and a tuple of arguments."""
    call = _caller(kinds, ir.VoidType())

    @intrinsic
    def procedure(typing_context, address, args):
        def generate(context, builder, signature, values):
            call(context, builder, signature, values)
            return context.get_dummy_value()

        return types.void(types.int64, args), generate

    return procedure


_call_layer = _procedure("ooaaaaaiiiiiiii")
_call_update = _procedure("poppaiodi")
# out = left right, of (rows, depth) and (depth, columns): rows, columns, depth; of left and right: array,
# place, step from row to row, from column to column; of out: array, place, step from row to row
product = _procedure("iiioiioiioi")
_call_loss_at = _caller("ooaiiaaaaaaa", ir.DoubleType())


@intrinsic
def _call_loss(typing_context, address, args):
    return types.float64(types.int64, args), _call_loss_at


def _pointer_to(kind: Any, element: Any) -> Any:
    """An intrinsic that makes an address a pointer."""

    @intrinsic
    def pointer(typing_context, address):
        def generate(context, builder, signature, args):
            return builder.inttoptr(args[0], element.as_pointer())

        return types.CPointer(kind)(types.int64), generate

    return pointer


_float_pointer = _pointer_to(types.float32, ir.FloatType())
_int_pointer = _pointer_to(types.int64, ir.IntType(64))


@kernel
def floats_at(address, n):
    """float32 (n,), at an address."""
    return carray(_float_pointer(address), n)


@kernel
def matrix_at(address, rows, columns):
    """float32 (rows, columns), at an address."""
    return floats_at(address, rows * columns).reshape((rows, columns))


@kernel
def int_at(address):
    """int64 (1,), at an address."""
    return carray(_int_pointer(address), 1)


@kernel
def matrix(buffer, start, rows, columns):
    return buffer[start : start + rows * columns].reshape((rows, columns))


@kernel
def row(buffer, start, n):
    return buffer[start : start + n]


@kernel
def fill(y, value):
    for i in range(y.shape[0]):
        y[i] = value


@kernel
def copy(x, y):
    """A loop: numba's slice assignment brings its error messages along, seconds of compilation."""
    for i in range(y.shape[0]):
        y[i] = x[i]


@kernel
def add(x, y):
    for i in range(y.shape[0]):
        y[i] += x[i]


@kernel
def in_and_out(op, A, cap, rows):
    """Flat input and output of a layer that keeps the width."""
    op, A = carray(op, N_FIELDS), carray(A, ANY)
    return row(A, op[V_IN] * cap, rows * op[D_IN]), row(A, op[V_OUT] * cap, rows * op[D_IN])


@kernel
def matrices_in_and_out(op, A, cap, rows):
    """Input and output of a layer, as matrices."""
    op, A = carray(op, N_FIELDS), carray(A, ANY)
    return matrix(A, op[V_IN] * cap, rows, op[D_IN]), matrix(A, op[V_OUT] * cap, rows, op[D_OUT])


@kernel
def _clip_values(G, segments, limit):
    """Hold every gradient between -limit and limit."""
    limit = f32(limit)
    for s in range(segments.shape[0]):
        g = G[segments[s, START] : segments[s, STOP]]
        for i in range(g.shape[0]):
            if g[i] > limit:
                g[i] = limit
            elif g[i] < -limit:
                g[i] = -limit


@kernel
def _clip_norm(G, segments, limit):
    """Scale all gradients so that their norm is at most limit."""
    squares = 0.0
    for s in range(segments.shape[0]):
        g = G[segments[s, START] : segments[s, STOP]]
        part = ZERO
        for i in range(g.shape[0]):
            part += g[i] * g[i]
        squares += part
    scale = f32(limit / (np.sqrt(squares) + 1e-6))
    scale = ONE if scale > ONE else scale
    if scale != ONE:
        for s in range(segments.shape[0]):
            g = G[segments[s, START] : segments[s, STOP]]
            for i in range(g.shape[0]):
                g[i] *= scale


@kernel
def _accumulate(total, G, share, first):
    share = f32(share)
    if first:
        for i in range(G.shape[0]):
            total[i] = share * G[i]
    else:
        for i in range(G.shape[0]):
            total[i] += share * G[i]


@kernel
def _share(order, mass, bounds, s, accumulate, mean):
    """A batch's share in its update, for a mean loss: what its rows count among all of the update's."""
    if accumulate <= 1 or not mean:
        return 1.0
    first = s - s % accumulate
    last = min(first + accumulate, bounds.shape[0] - 1)
    own, total = 0.0, 0.0
    for i in range(bounds[first], bounds[last]):
        w = mass[order[i]]
        total += w
        if bounds[s] <= i < bounds[s + 1]:
            own += w
    return own / total if own > 0 else 0.0


@kernel
def _set_unbias(segments, hyper, i):
    """That of the segment before is taken where it is the same, as it mostly is: a power takes 20 ns."""
    if (
        i > 0
        and segments[i, UPDATES] == segments[i - 1, UPDATES]
        and hyper[i, BETA1] == hyper[i - 1, BETA1]
        and hyper[i, BETA2] == hyper[i - 1, BETA2]
    ):
        hyper[i, UNBIAS1] = hyper[i - 1, UNBIAS1]
        hyper[i, UNBIAS2] = hyper[i - 1, UNBIAS2]
    else:
        hyper[i, UNBIAS1] = 1.0 / (1.0 - hyper[i, BETA1] ** segments[i, UPDATES])
        hyper[i, UNBIAS2] = 1.0 / np.sqrt(1.0 - hyper[i, BETA2] ** segments[i, UPDATES])


@kernel
def _gather(x, rows, A):
    d = x.shape[1]
    to = matrix(A, np.int64(0), rows.shape[0], d)
    for i in range(rows.shape[0]):
        r = rows[i]
        for j in range(d):
            to[i, j] = x[r, j]


@entry
def run(
    mode,
    ops,
    reals,
    ints,
    G,
    total,
    A,
    D,
    S,
    segments,
    hyper,
    x,
    labels,
    target,
    weight,
    mass,
    order,
    bounds,
    lr_factors,
    loss_ints,
    loss_reals,
    columns,
    factors,
    sizes,
    losses,
):
    """Everything, chosen by mode, so that one compilation serves all.

    TRAIN:    steps over all of bounds, losses filled in.
    PREDICT:  forward of batch sizes[BATCH_AT] of bounds, in evaluation mode.
    FORWARD:  the same in training mode.
    BACKWARD: from the gradient in D through the update, for batch sizes[BATCH_AT] of bounds; then FORWARD of
              the next, if there is one.

    mass:       of each row, what it counts in the mean that the loss is
    sizes:      N_SIZES numbers, at the places above
    loss_reals: option of the loss, norm to clip at or 0, value to clip at or 0
    """
    cap, width, accumulate, seed, c = (
        sizes[CAP],
        sizes[WIDTH],
        sizes[ACCUMULATE],
        sizes[SEED],
        sizes[N_OUTPUTS],
    )
    zero, n_ops = np.int64(0), ops.shape[0]
    first = zero if mode == TRAIN else sizes[BATCH_AT]
    for s in range(first, bounds.shape[0] - 1):
        begin = bounds[s]
        rows = order[begin : bounds[s + 1]]
        n = rows.shape[0]
        if mode != BACKWARD or s > first:
            sizes[N_BATCHES] += 1
            _gather(x, rows, A)
            training = zero if mode == PREDICT else np.int64(1)
            for k in range(n_ops):
                _call_layer(
                    ops[k, FORWARD_AT],
                    (
                        ops,
                        k * N_FIELDS,
                        reals,
                        k * N_REALS,
                        ints,
                        G,
                        A,
                        D,
                        S,
                        cap,
                        n,
                        zero,
                        zero,
                        width,
                        training,
                        seed,
                        sizes[N_BATCHES],
                    ),
                )
            if mode != TRAIN:
                return
            losses[s] = _call_loss(
                sizes[LOSS_AT],
                (
                    A,
                    sizes[OUTPUT_AT] * cap,
                    D,
                    zero,
                    rows,
                    n,
                    c,
                    labels,
                    target,
                    weight,
                    columns,
                    factors,
                    loss_ints,
                    loss_reals,
                ),
            )
        here, there = zero, width * cap
        for k in range(n_ops - 1, -1, -1):
            if ops[k, NEEDS] == 0:
                break  # nobody below wants a gradient
            _call_layer(
                ops[k, BACKWARD_AT],
                (
                    ops,
                    k * N_FIELDS,
                    reals,
                    k * N_REALS,
                    ints,
                    G,
                    A,
                    D,
                    S,
                    cap,
                    n,
                    here,
                    there,
                    width,
                    np.int64(1),
                    seed,
                    sizes[N_BATCHES],
                ),
            )
            if ops[k, SWAPS] == 1 and ops[k, NEEDS] & NEEDS_INPUT:
                here, there = there, here
        g = G
        if accumulate != 1:
            _accumulate(
                total,
                G,
                _share(order, mass, bounds, s, accumulate, loss_ints[0] == 1),
                s % accumulate == 0,
            )
            g = total
            if (s + 1) % accumulate != 0 and s + 2 < bounds.shape[0]:
                continue
        if loss_reals[2] > 0:
            _clip_values(g, segments, loss_reals[2])
        if loss_reals[1] > 0:
            _clip_norm(g, segments, loss_reals[1])
        for i in range(segments.shape[0]):
            segments[i, UPDATES] += 1
            _set_unbias(segments, hyper, i)
            _call_update(
                np.int64(hyper[i, UPDATE_AT]),
                (
                    segments[i, PARAMETER_AT],
                    g,
                    segments[i, START],
                    segments[i, MOMENT1_AT],
                    segments[i, MOMENT2_AT],
                    D,
                    segments[i, STOP] - segments[i, START],
                    hyper,
                    i * N_HYPER,
                    hyper[i, LR] * lr_factors[s],
                    segments[i, UPDATES],
                ),
            )


def is_compiled() -> bool:
    """Whether `run` is compiled for this processor, in this process or on disk."""
    file = getattr(run._cache, "_cache_file", None)  # None where no folder can be written
    if run.overloads or file is None:
        return bool(run.overloads)
    processor = run.targetctx.codegen().magic_tuple()
    return any(key[1] == processor for key in file._load_index())
