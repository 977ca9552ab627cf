"""Target statistics: out of the fold, smoothed, and the same after a round trip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multilayer.table.target_encoding import SMOOTHING, TargetStatistics, bin_edges

NO_NUMBERS = np.zeros((60, 0), np.float32)


def fit(codes: np.ndarray, positive: np.ndarray, weight: np.ndarray | None = None) -> tuple:
    folds = np.arange(len(codes)) % 5
    num = np.zeros((len(codes), 0), np.float32)
    return TargetStatistics.fit(num, codes[:, None], [], ["city"], positive, weight, folds), folds


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def test_a_row_is_encoded_from_the_other_folds_by_the_formula() -> None:
    rng = np.random.default_rng(0)
    codes, positive = rng.integers(2, 5, 60), rng.integers(0, 2, 60).astype(float)
    (statistics, columns), folds = fit(codes, positive)
    share = positive.mean()

    expected = []
    for code, fold in zip(codes, folds, strict=True):
        others = (codes == code) & (folds != fold)
        p = (positive[others].sum() + SMOOTHING * share) / (others.sum() + SMOOTHING)
        expected.append(logit(p) - logit(share))

    scale = np.std(expected)
    np.testing.assert_allclose(columns[:, 0], np.array(expected) / scale, rtol=1e-5)
    whole = positive[codes == 2]
    p = (whole.sum() + SMOOTHING * share) / (len(whole) + SMOOTHING)
    new = statistics.transform(np.zeros((1, 0), np.float32), np.array([[2]]))
    assert new[0, 0] == pytest.approx((logit(p) - logit(share)) / scale, rel=1e-5)


def test_a_row_s_own_label_does_not_enter() -> None:
    rng = np.random.default_rng(1)
    codes, positive = rng.integers(2, 5, 60), rng.integers(0, 2, 60).astype(float)
    changed = positive.copy()
    pair = np.flatnonzero((np.arange(60) % 5 == 0) & (codes == 3))[:2]
    changed[pair] = 1 - changed[pair]
    changed[pair[0]] = 1 - changed[pair[1]]  # one of each, so that the overall share may stay
    positive[pair] = 1 - changed[pair]
    (_, before), _ = fit(codes, positive)
    (_, after), _ = fit(codes, changed)

    ratio = before[pair, 0] / after[pair, 0]  # only the common scale may have moved
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-6)
    assert before[pair[0], 0] == before[pair[1], 0]


def test_a_weight_of_two_is_the_row_twice() -> None:
    rng = np.random.default_rng(2)
    codes, positive = rng.integers(2, 6, 60), rng.integers(0, 2, 60).astype(float)
    weight = rng.integers(1, 3, 60)
    twice, folds = np.repeat(np.arange(60), weight), np.arange(60) % 5
    weighted, _ = TargetStatistics.fit(
        NO_NUMBERS, codes[:, None], [], ["c"], positive, weight.astype(float), folds
    )
    repeated, _ = TargetStatistics.fit(
        NO_NUMBERS[:0].repeat(len(twice), 0).reshape(len(twice), 0),
        codes[twice][:, None],
        [],
        ["c"],
        positive[twice],
        None,
        folds[twice],
    )

    np.testing.assert_allclose(weighted.statistics[0].values, repeated.statistics[0].values)


def test_numbers_are_encoded_in_bins_and_come_back_from_their_state() -> None:
    rng = np.random.default_rng(3)
    num = rng.normal(size=(2_000, 1)).astype(np.float32)
    positive = (np.abs(num[:, 0]) > 1).astype(float)
    no_categories = np.zeros((2_000, 0), np.int64)
    statistics, columns = TargetStatistics.fit(
        num, no_categories, [(0, "x")], [], positive, None, np.arange(2_000) % 5
    )

    assert np.corrcoef(columns[:, 0], positive)[0, 1] > 0.9  # what a straight line in x would miss
    again = TargetStatistics.from_state(*statistics.state())
    assert np.array_equal(again.transform(num, no_categories), statistics.transform(num, no_categories))


def test_a_code_that_was_never_seen_says_nothing() -> None:
    (statistics, _), _ = fit(np.repeat([2, 3], 30), np.tile([0.0, 1.0], 30))

    assert statistics.transform(np.zeros((1, 0), np.float32), np.array([[1]]))[0, 0] == 0


@given(st.lists(st.integers(-5, 600), min_size=1, max_size=400))
def test_edges_ascend_between_values_that_were_there(values: list[int]) -> None:
    edges = bin_edges(np.array(values, float))

    assert np.all(np.diff(edges) > 0)
    assert all(min(values) <= edge <= max(values) for edge in edges)


def test_a_frequent_value_has_a_bin_of_its_own() -> None:
    values = np.concatenate([np.linspace(0, 1, 1_000), np.full(100, 0.12345)])
    edges = bin_edges(values)

    place = np.searchsorted(edges, 0.12345)
    inside = np.unique(values[(values > edges[place - 1]) & (values <= edges[place])])
    assert inside.tolist() == [0.12345]
