"""Matrix products in tiles, and the library's, against float64."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multilayer.training.kernels import loop as k
from multilayer.training.kernels import matmul
from multilayer.training.kernels.blas import blas, product_for
from multilayer.training.kernels.matmul import DEPTH, HEIGHT, LANES, WIDTH, symmetric_tiles, tiles

WHOLE, POINTER = ctypes.c_int64, ctypes.c_void_p
EPS = float(np.finfo(np.float32).eps)


def multiply(product: Callable[..., None], left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    product_for(2)  # finds the library that `blas` calls
    call = ctypes.CFUNCTYPE(None, *[WHOLE] * 3, *[POINTER, WHOLE, WHOLE] * 2, POINTER, WHOLE)(
        k.product_address(product)
    )
    steps = [[stride // 4 for stride in x.strides] for x in (left, right, out)]
    call(
        *(len(left), right.shape[1], len(right)),
        *(left.ctypes.data, *steps[0], right.ctypes.data, *steps[1]),
        *(out.ctypes.data, steps[2][0]),
    )


def matrix(rows: int, columns: int, transposed: bool, seed: int) -> np.ndarray:
    shape = (columns, rows) if transposed else (rows, columns)
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return values.T if transposed else values


SIZES = st.one_of(st.integers(1, 3 * WIDTH), st.sampled_from([HEIGHT, LANES, WIDTH, 2 * WIDTH, DEPTH]))


@pytest.mark.parametrize("product", [tiles, blas], ids=["tiles", "blas"])
@given(
    rows=SIZES,
    columns=SIZES,
    depth=st.one_of(SIZES, st.integers(DEPTH - 1, 2 * DEPTH + 1)),
    left_transposed=st.booleans(),
    right_transposed=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_products_are_as_exact_as_float32_allows_and_write_nothing_else(
    product: Callable[..., None],
    rows: int,
    columns: int,
    depth: int,
    left_transposed: bool,
    right_transposed: bool,
) -> None:
    left, right = matrix(rows, depth, left_transposed, 0), matrix(depth, columns, right_transposed, 1)
    buffer = np.full((rows + 1, columns + 5), np.nan, np.float32)

    multiply(product, left, right, buffer[:rows, :columns])

    exact = left.astype(np.float64) @ right.astype(np.float64)
    allowed = (np.abs(left).astype(np.float64) @ np.abs(right)) * EPS * np.sqrt(depth + 8)
    assert np.all(np.abs(buffer[:rows, :columns] - exact) <= allowed)
    assert np.isnan(buffer[:rows, columns:]).all()
    assert np.isnan(buffer[rows]).all()


def test_an_infinite_or_missing_number_stays_in_its_row() -> None:
    left, right = matrix(2 * HEIGHT + 1, 40, False, 0), matrix(40, WIDTH + 3, True, 1)
    left[3, 7], left[5, 0] = np.inf, np.nan
    out = np.empty((len(left), right.shape[1]), np.float32)

    multiply(tiles, left, right, out)

    assert np.isinf(out[3]).all()
    assert np.isnan(out[5]).all()
    assert np.isfinite(np.delete(out, [3, 5], axis=0)).all()


def test_an_element_does_not_hang_on_the_shape_of_the_rest() -> None:
    left, right = matrix(50, 70, False, 0), matrix(70, 90, True, 1)
    whole, part = np.empty((50, 90), np.float32), np.empty((3, 5), np.float32)

    multiply(tiles, left, right, whole)
    multiply(tiles, left[7:10], right[:, 40:45], part)

    np.testing.assert_array_equal(part, whole[7:10, 40:45])


@given(size=SIZES.filter(lambda size: size > 1), depth=SIZES, tall=st.booleans())
@settings(max_examples=150, deadline=None)
def test_symmetric_products_have_the_bits_of_whole_ones(size: int, depth: int, tall: bool) -> None:
    x = matrix(size, depth, tall, 0)
    whole = np.empty((size, size), np.float32)
    buffer = np.full((size + 1, size + 5), np.nan, np.float32)

    multiply(tiles, x, x.T, whole)
    multiply(symmetric_tiles, x, x.T, buffer[:size, :size])

    np.testing.assert_array_equal(buffer[:size, :size], whole)
    assert np.isnan(buffer[:size, size:]).all()
    assert np.isnan(buffer[size]).all()


def test_other_products_are_blas_own() -> None:
    assert product_for(1) is (tiles if matmul.HAS_VECTORS else blas)
    assert product_for(1, symmetric=True) is (symmetric_tiles if matmul.HAS_VECTORS else blas)
    assert product_for(2) is product_for(2, symmetric=True) is blas


@pytest.mark.slow
@pytest.mark.skipif(not matmul.HAS_VECTORS, reason="for processors with AVX2")
def test_short_vectors_give_the_same_bits_as_long_ones() -> None:
    """Where the processor has long ones; with others this runs the same code twice."""
    script = (
        "import sys, numpy as np; from tests.training.kernels.test_matmul import *\n"
        "out = np.empty((37, 51), np.float32)\n"
        "multiply(tiles, matrix(37, 600, True, 0), matrix(600, 51, True, 1), out)\n"
        "print(LANES, hash(out.tobytes()))"
    )
    features = [
        name for name in k.run.targetctx.codegen().magic_tuple()[2].split(",") if "avx512" not in name
    ]
    environments = {}, {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ",".join(features)}
    said = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONHASHSEED": "0", **environment},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.split()
        for environment in environments
    ]

    assert [lanes for lanes, _ in said] == [str(LANES), "8"]
    assert said[0][1] == said[1][1]
