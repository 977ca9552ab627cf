"""Calibration errors against their definitions and against what is known of them."""

import numpy as np
import pytest

from multilayer.model.reliability import equal_bins, reliability, reliability_of_classes, smooth_ece


def test_a_calibrated_forecast_has_hardly_an_error_and_a_shifted_one_has_its_shift() -> None:
    rng = np.random.default_rng(0)
    prob = rng.random(50_000)
    came = rng.random(50_000) < prob

    honest = reliability("yes", prob, came)
    sure = reliability("yes", np.clip(prob + 0.2 * (prob > 0.5), 0, 1), came)

    assert honest.ece < 0.015 and honest.smooth_ece < 0.015
    assert sure.ece == pytest.approx(np.mean(np.clip(prob + 0.2 * (prob > 0.5), 0, 1) - prob), abs=0.01)
    assert honest.brier == pytest.approx(1 / 6, abs=0.005)


def test_smooth_error_of_one_probability_is_its_distance() -> None:
    """All mass at one place: |E[y - p]| whatever the width, as the reflected kernel integrates to 1."""
    prob, outcome = np.full(1000, 0.3), (np.arange(1000) < 700).astype(float)
    assert smooth_ece(prob, outcome, np.full(1000, 1e-3)) == pytest.approx(0.4, abs=0.002)


@pytest.mark.parametrize("at", [0.0, 1.0])
def test_reflection_loses_nothing_at_the_ends(at: float) -> None:
    prob, outcome = np.full(100, at), np.full(100, 0.5)
    assert smooth_ece(prob, outcome, np.full(100, 0.01)) == pytest.approx(0.5, abs=0.002)


def test_smooth_error_equals_the_papers_double_sum() -> None:
    rng = np.random.default_rng(1)
    prob = rng.random(200).round(2)
    outcome = (rng.random(200) < prob**2).astype(float)
    found = smooth_ece(prob, outcome, np.full(200, 1 / 200))

    t = np.linspace(0, 1, 2001)  # E[(y - p) K(t, p)] at the found width, images at -p and 2 - p, integrated
    kernel = sum(
        np.exp(-((t[:, None] - image) ** 2) / (2 * found**2)) / (found * np.sqrt(2 * np.pi))
        for image in (prob, -prob, 2 - prob)
    )
    at_width = np.trapezoid(np.abs((kernel * (outcome - prob)).mean(axis=1)), t)
    assert at_width == pytest.approx(found, abs=0.003)


def test_weights_are_rows_repeated() -> None:
    rng = np.random.default_rng(2)
    prob, came, times = rng.random(60), rng.random(60) < 0.5, rng.integers(1, 4, 60) * 1.0
    weighed = reliability("yes", prob, came, times)
    repeated = reliability("yes", np.repeat(prob, times.astype(int)), np.repeat(came, times.astype(int)))
    assert weighed.brier == pytest.approx(repeated.brier)
    assert weighed.smooth_ece == pytest.approx(repeated.smooth_ece)


def test_bins_hold_as_many_rows_and_part_no_equals() -> None:
    values = np.r_[np.zeros(50), np.linspace(1, 2, 50)]
    found = equal_bins(values, np.ones(100), 10)
    assert set(found[:50]) == {0}
    assert np.bincount(found)[1:].tolist() == [10] * 5


def test_every_class_has_a_diagram() -> None:
    probs = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    top, *each = reliability_of_classes(["a", "b", "c"], np.array([0, 1, 0]), probs)
    assert top.brier == pytest.approx(np.mean([0.3**2, 0.2**2, 0.4**2]))
    assert [diagram.of for diagram in each] == ["a", "b", "c"]
