import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multilayer.errors import ConfigError
from multilayer.training.schedules import (
    SCHEDULES,
    constant,
    cosine,
    coslog4,
    flat_cos,
    make_schedule,
    warmup_cosine,
)

progress = st.floats(0, 1)


@pytest.mark.parametrize("name", SCHEDULES)
@given(progress)
def test_every_factor_lies_between_0_and_1(name, at):
    assert 0 <= make_schedule(name)(at) <= 1


@given(progress, progress)
def test_cosine_falls_and_linear_falls(a, b):
    low, high = sorted((a, b))
    for name in ("cosine", "linear"):
        assert make_schedule(name)(low) >= make_schedule(name)(high)


@given(progress)
def test_cosine_is_the_papers(at):
    assert math.isclose(cosine(at), (1 + math.cos(math.pi * at)) / 2)


def test_warmup_rises_then_falls_to_zero():
    rising = [warmup_cosine(at) for at in (0.0, 0.01, 0.03, 0.05)]
    assert rising == sorted(rising)
    assert rising[0] > 0  # a first step at rate zero would be wasted
    assert warmup_cosine(0.05) == 1.0
    assert warmup_cosine(1.0) == pytest.approx(0)


def test_coslog4_has_four_waves_each_twice_as_long_as_the_one_before():
    assert [coslog4(at / 15) for at in (0, 1, 3, 7, 15)] == pytest.approx([0] * 5)
    assert [coslog4((2 ** (n + 0.5) - 1) / 15) for n in range(4)] == pytest.approx([1] * 4)


@given(progress)
def test_flat_cos_is_the_papers(at):
    assert math.isclose(flat_cos(at), (1 + math.cos(math.pi * (max(1, 2 * at) - 1))) / 2, abs_tol=1e-12)


def test_none_is_constant_and_a_function_passes_through():
    assert make_schedule(None) is constant
    assert make_schedule(math.exp) is math.exp


def test_refuses_what_is_no_schedule():
    with pytest.raises(
        ConfigError, match=r"unknown schedule 'cosin'; known: constant, cosine.*mean 'cosine'"
    ):
        make_schedule("cosin")
    with pytest.raises(ConfigError, match=r"a name or a function of progress .* got float"):
        make_schedule(0.5)
