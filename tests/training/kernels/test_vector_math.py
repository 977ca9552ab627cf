"""The vectorised functions against float64."""

import math

import numpy as np
import pytest
from numba import njit

from multilayer.training.kernels import vector_math as vm

EPS = np.finfo(np.float32).eps
WIDE = np.concatenate([np.linspace(-80, 80, 40001), np.linspace(-1, 1, 20001), [0.0, 1e-30, -1e-30]]).astype(
    np.float32
)


def apply(function: object, x: np.ndarray) -> np.ndarray:
    @njit
    def loop(x):  # type: ignore[no-untyped-def]
        y = np.empty_like(x)
        for i in range(x.shape[0]):
            y[i] = function(x[i])
        return y

    return loop(x)


EXACT = {
    "exp": (vm.exp, np.exp),
    "expm1": (vm.expm1, np.expm1),
    "sigmoid": (vm.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (vm.tanh, np.tanh),
    "softplus": (vm.softplus, lambda x: np.logaddexp(0, x)),
}


@pytest.mark.parametrize(("ours", "exact"), EXACT.values(), ids=EXACT.keys())
def test_relative_error_is_a_few_roundings_everywhere(ours: object, exact: object) -> None:
    expected = exact(WIDE.astype(np.float64))

    assert np.all(np.abs(apply(ours, WIDE) - expected) <= 8 * EPS * np.abs(expected) + 1e-37)


def test_normal_distribution_and_its_density() -> None:
    @njit
    def both(x):  # type: ignore[no-untyped-def]
        y = np.empty((2, x.shape[0]), np.float32)
        for i in range(x.shape[0]):
            y[0, i], y[1, i] = vm.normal(x[i])
        return y

    x = np.linspace(-6, 6, 20001).astype(np.float32)
    below, density = both(x)
    exact = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.astype(float)])

    assert np.all(
        np.abs(below - exact) <= 8 * EPS * exact * (1 + np.abs(x) ** 2)
    )  # e^-a^2 magnifies a's rounding
    np.testing.assert_allclose(
        density, np.exp(-(x.astype(float) ** 2) / 2) / math.sqrt(2 * math.pi), rtol=8e-6
    )


def test_sine_in_turns() -> None:
    u = np.concatenate([np.linspace(-3, 3, 30001), np.linspace(-1000, 1000, 30001)]).astype(np.float32)

    assert np.abs(apply(vm.sin_turns, u) - np.sin(2 * np.pi * u.astype(float))).max() < 4 * EPS


def test_not_a_number_stays_and_the_ends_are_finite() -> None:
    ends = np.array([np.nan, np.inf, -np.inf], np.float32)

    for function in (vm.exp, vm.sigmoid, vm.tanh, vm.softplus):
        assert np.isnan(apply(function, ends)[0])
    np.testing.assert_array_equal(apply(vm.sigmoid, ends)[1:], [1, apply(vm.sigmoid, ends)[2]])
    assert apply(vm.exp, ends)[2] < 1e-37
