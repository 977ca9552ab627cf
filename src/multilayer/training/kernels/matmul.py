"""Matrix products, a tile of the result at a time, which stays in the processor's registers.

Faster on one thread than the libraries that PyTorch and SciPy bring along, on an AMD Zen 5 at least
(`python -m benchmarks.matmul`): these copy both matrices into panels first, which does not pay where they are
small, and some use short vectors on processors that have long ones.

Source:  Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34 (3);
         HEIGHT, WIDTH and DEPTH are m_r, n_r and k_c there
Differs: the left matrix is never copied, the right one only where its columns do not stand side by side;
         there are no blocks of rows or columns, for matrices of some thousand at most
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from multilayer.training.kernels.loop import ANY, kernel, row
from multilayer.training.kernels.vector_math import ZERO

_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2]
HAS_VECTORS = "+avx2" in _FEATURES or "+avx512f" in _FEATURES  # masked ones, too; elsewhere `blas` is better
LANES = 16 if "+avx512f" in _FEATURES else 8  # numbers in a vector
HEIGHT = 8 if LANES == 16 else 6  # rows of a tile: with its two vectors a row it fills the registers
WIDTH = 2 * LANES
DEPTH = 512  # terms of each sum at a time: so many rows of a panel stay in the cache

_int, _float, _lane = ir.IntType(64), ir.FloatType(), ir.IntType(32)
_vector, _lane_numbers = ir.VectorType(_float, LANES), ir.VectorType(_int, LANES)
_mask = ir.VectorType(ir.IntType(1), LANES)
_ZEROS = _vector([0.0] * LANES)


def _spread(builder: Any, value: Any, kind: ir.VectorType) -> Any:
    """A vector with the value in every lane."""
    nowhere, first = ir.Constant(kind, ir.Undefined), ir.Constant(_lane, 0)
    everywhere = ir.Constant(ir.VectorType(_lane, LANES), [0] * LANES)
    return builder.shuffle_vector(builder.insert_element(nowhere, value, first), nowhere, everywhere)


def _masked(builder: Any) -> tuple[Any, Any]:
    """Functions of LLVM that read and write some lanes of a vector in memory."""
    pointer, name = _vector.as_pointer(), f"v{LANES}f32.p0"
    load = ir.FunctionType(_vector, [pointer, _lane, _mask, _vector])
    store = ir.FunctionType(ir.VoidType(), [_vector, pointer, _lane, _mask])
    return tuple(
        cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.{what}.{name}")
        for kind, what in ((load, "load"), (store, "store"))
    )


def _vectors_at(builder: Any, start: Any, n: int) -> list[Any]:
    """Places of vectors that follow one another."""
    return [builder.bitcast(builder.gep(start, [_int(v * LANES)]), _vector.as_pointer()) for v in range(n)]


def _sums(
    builder: Any, masks: Sequence[Any], depth: Any, lefts: list[Any], left_k: Any, right: Any, right_k: Any
) -> Any:
    """A loop over depth, which is at least 1, that adds left times right to each vector of a tile.

    masks: of each vector the lanes that exist in the right matrix; None for all

    Returns:
        the sums, by row and vector.
    """
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_vector, [_vector] * 3), f"llvm.fmuladd.v{LANES}f32"
    )
    load, _ = _masked(builder)
    before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(_int)
    sums = [[builder.phi(_vector) for _ in masks] for _ in lefts]
    places = _vectors_at(builder, builder.gep(right, [builder.mul(step, right_k)]), len(masks))
    vectors = [
        builder.load(place, align=4) if mask is None else builder.call(load, [place, _lane(4), mask, _ZEROS])
        for place, mask in zip(places, masks, strict=True)
    ]
    column = builder.mul(step, left_k)
    for of_row, left in zip(sums, lefts, strict=True):
        value = _spread(builder, builder.load(builder.gep(left, [column])), _vector)
        for total, vector in zip(of_row, vectors, strict=True):
            total.add_incoming(_ZEROS, before)
            total.add_incoming(builder.call(multiply_add, [value, vector, total]), loop)
    step.add_incoming(_int(0), before)
    step.add_incoming(builder.add(step, _int(1)), loop)
    builder.cbranch(builder.icmp_signed("<", step.incomings[1][0], depth), loop, after)
    builder.position_at_end(after)
    return [[total.incomings[1][0] for total in of_row] for of_row in sums]


def _store(builder: Any, masks: Sequence[Any], sums: Any, outs: Sequence[Any], add: Any) -> None:
    """Write a tile, added to what stands there where asked."""
    load, store = _masked(builder)

    def write(*, adds: bool) -> None:
        for of_row, out in zip(sums, outs, strict=True):
            for total, place, mask in zip(of_row, _vectors_at(builder, out, len(masks)), masks, strict=True):
                if mask is None:
                    value = builder.fadd(total, builder.load(place, align=4)) if adds else total
                    builder.store(value, place, align=4)
                else:
                    old = [place, _lane(4), mask, _ZEROS]
                    value = builder.fadd(total, builder.call(load, old)) if adds else total
                    builder.call(store, [value, place, _lane(4), mask])

    with builder.if_else(add) as (adding, writing):
        with adding:
            write(adds=True)
        with writing:
            write(adds=False)


def _operand(context: Any, builder: Any, kind: Any, value: Any) -> tuple[Any, ...]:
    """Of a tuple (array, place, steps ...): a pointer to the element there, and the steps."""
    array, place, *steps = (builder.extract_value(value, at) for at in range(len(kind)))
    return builder.gep(context.make_array(kind[0])(context, builder, array).data, [place]), *steps


def _tile(height: int) -> Any:
    """An intrinsic that computes the tile of rows i to i + height, for kernels to call.

    left:    array, place of its first element, steps from row to row and from term to term
    right:   array, place of the tile's first column, step from term to term
    out:     array, place of the tile's first column, step from row to row
    columns: of the tile that exist
    add:     1 to add to what stands there
    """

    @intrinsic
    def tile(typing_context, i, depth, left, right, out, columns, add):
        whole = types.int64
        signature = types.void(whole, whole, left, right, out, whole, whole)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            i, depth, _, _, _, columns, add = args
            (left, left_row, left_k), (right, right_k), (out, ld) = (
                _operand(context, builder, signature.args[k], args[k]) for k in (2, 3, 4)
            )
            rows = [builder.add(i, _int(r)) for r in range(height)]
            lefts = [builder.gep(left, [builder.mul(row, left_row)]) for row in rows]
            outs = [builder.gep(out, [builder.mul(row, ld)]) for row in rows]

            def compute(*masks: Any) -> None:
                sums = _sums(builder, masks, depth, lefts, left_k, right, right_k)
                _store(builder, masks, sums, outs, builder.icmp_signed("!=", add, _int(0)))

            def first_lanes(n: Any) -> Any:
                lanes = _lane_numbers(list(range(LANES)))
                return builder.icmp_signed("<", lanes, _spread(builder, n, _lane_numbers))

            with builder.if_else(builder.icmp_signed("<=", columns, _int(LANES))) as (narrow, wide):
                with narrow:
                    compute(first_lanes(columns))
                with wide:
                    full = builder.icmp_signed("==", columns, _int(WIDTH))
                    with builder.if_else(full) as (all_lanes, some_lanes):
                        with all_lanes:
                            compute(None, None)
                        with some_lanes:
                            compute(None, first_lanes(builder.sub(columns, _int(LANES))))
            return context.get_dummy_value()

        return signature, generate

    return tile


_full, _four, _two, _one = _tile(HEIGHT), _tile(4), _tile(2), _tile(1)


@kernel
def _strip(rows, depth, left, right, out, columns, add):
    """All rows of a few columns; left, right, out as for `_tile`."""
    i = np.int64(0)
    while i + HEIGHT <= rows:
        _full(i, depth, left, right, out, columns, add)
        i += HEIGHT
    if i + 4 <= rows:
        _four(i, depth, left, right, out, columns, add)
        i += 4
    if i + 2 <= rows:
        _two(i, depth, left, right, out, columns, add)
        i += 2
    if i < rows:
        _one(i, depth, left, right, out, columns, add)


@intrinsic
def _transpose_block(typing_context, x, panel):
    """LANES rows of as many numbers become columns of the panel.

    x, panel: array, place, step from row to row

    Halves are swapped between rows 1, 2, 4, ... apart, which takes a vector instruction or two a row.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (x, step), (panel, panel_step) = (
            _operand(context, builder, signature.args[k], args[k]) for k in (0, 1)
        )
        starts = [builder.gep(x, [builder.mul(step, _int(i))]) for i in range(LANES)]
        block = [builder.load(_vectors_at(builder, start, 1)[0], align=4) for start in starts]
        apart = 1
        while apart < LANES:
            stay = [lane & apart == 0 for lane in range(LANES)]
            upper = [lane if own else LANES + lane - apart for lane, own in enumerate(stay)]
            lower = [lane + apart if own else LANES + lane for lane, own in enumerate(stay)]
            for i in (i for i in range(LANES) if i & apart == 0):
                pair = block[i], block[i + apart]
                block[i], block[i + apart] = (
                    builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(_lane, LANES), lanes))
                    for lanes in (upper, lower)
                )
            apart *= 2
        for i, vector in enumerate(block):
            place = _vectors_at(builder, builder.gep(panel, [builder.mul(panel_step, _int(i))]), 1)[0]
            builder.store(vector, place, align=4)
        return context.get_dummy_value()

    return types.void(x, panel), generate


@kernel
def _pack(right, at, step, depth, columns, panel, start):
    """Columns of the right matrix that stand in memory as rows, beside one another."""
    c, k = np.int64(0), np.int64(0)
    while c + LANES <= columns:
        k = 0
        while k + LANES <= depth:
            _transpose_block(
                (right, at + c * step + k, step), (panel, start + k * WIDTH + c, np.int64(WIDTH))
            )
            k += LANES
        _pack_by_one(right, at + c * step, step, k, depth, LANES, panel, start + c)
        c += LANES
    _pack_by_one(right, at + c * step, step, 0, depth, columns - c, panel, start + c)


@kernel
def _pack_by_one(right, at, step, first, depth, columns, panel, start):
    """What no block takes: the terms from first on."""
    for c in range(columns):
        column, to = row(right, at + c * step, depth), row(panel, start + c, depth * WIDTH)
        for k in range(first, depth):
            to[k * WIDTH] = column[k]


@kernel
def _times_column(rows, depth, left, left_row, right, out, ld):
    column = row(right, np.int64(0), depth)
    for i in range(rows):
        values, total = row(left, i * left_row, depth), ZERO
        for k in range(depth):
            total += values[k] * column[k]
        out[i * ld] = total


@kernel
def _product(triangle, rows, columns, depth, left, left_row, left_k, right, right_k, right_column, out, ld):
    """As `tiles`, of arrays. triangle: 1 for the rows from a strip's first column on alone."""
    # 16 longer, to start on a cache line, and a row longer, as `_pack_by_one` takes columns from any place
    panel = np.empty((DEPTH + 1) * WIDTH + 16 if right_column != 1 else 1, np.float32)
    start = np.int64((-panel.ctypes.data % 64) // 4)
    for k in range(0, depth, DEPTH):
        n_terms, add = min(DEPTH, depth - k), np.int64(k > 0)
        for j in range(0, columns, WIDTH):
            n, i = min(WIDTH, columns - j), triangle * j
            of_left = left, i * left_row + k * left_k, left_row, left_k
            at, of_out = k * right_k + j * right_column, (out, i * ld + j, ld)
            if right_column == 1:
                _strip(rows - i, n_terms, of_left, (right, at, right_k), of_out, n, add)
            else:
                _pack(right, at, right_column, n_terms, n, panel, start)
                _strip(rows - i, n_terms, of_left, (panel, start, np.int64(WIDTH)), of_out, n, add)


def tiles(rows, columns, depth, left, left_row, left_k, right, right_k, right_column, out, ld):
    """Write left right, of (rows, depth) and (depth, columns), to out, which overlaps neither.

    left, right, out: pointers to their first elements
    left_row, left_k, right_k, right_column, ld: steps from one element to the next along each axis, in
        elements. One of right's two is 1, and out's along its columns.
    depth: at least 1
    """
    left, right, out = carray(left, ANY), carray(right, ANY), carray(out, ANY)
    if columns == 1 and left_k == 1 and right_k == 1:
        _times_column(rows, depth, left, left_row, right, out, ld)
        return
    whole = np.int64(0)
    _product(whole, rows, columns, depth, left, left_row, left_k, right, right_k, right_column, out, ld)


def symmetric_tiles(rows, columns, depth, left, left_row, left_k, right, right_k, right_column, out, ld):
    """As `tiles`, of a symmetric product: what is above the diagonal is mirrored, with the same bits.

    rows and columns: the same number; element (i, j) must be the sum of the terms of (j, i)
    """
    left, right, out = carray(left, ANY), carray(right, ANY), carray(out, ANY)
    below = np.int64(1)
    _product(below, rows, columns, depth, left, left_row, left_k, right, right_k, right_column, out, ld)
    for j in range(WIDTH, columns, WIDTH):
        c, end = np.int64(j), min(j + WIDTH, columns)
        while c + LANES <= end:
            for i in range(0, j, LANES):
                _transpose_block((out, c * ld + i, ld), (out, i * ld + c, ld))
            c += LANES
        for last in range(c, end):
            for i in range(j):
                out[i * ld + last] = out[last * ld + i]
