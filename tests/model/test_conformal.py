"""Conformity scores against their definitions."""

import numpy as np
import pytest

from multilayer.model.conformal import class_errors, number_errors, quantile_errors, raps_scores
from multilayer.tasks.classification import Classification


def test_errors_that_grow_with_the_prediction_are_alike_once_divided() -> None:
    rng = np.random.default_rng(0)
    prediction = rng.random(5000) * 10 + 1
    y = prediction * (1 + rng.normal(size=5000) / 10)
    found = number_errors(y, prediction, None, None)

    relative = np.abs(y - prediction) / found.typical_at(prediction)
    few, many = relative[prediction < 3], relative[prediction > 9]
    assert np.quantile(few, 0.9) == pytest.approx(np.quantile(many, 0.9), rel=0.1)
    assert found.relative.n == 5000 and found.typical_at(np.array([-5.0]))[0] == found.typical[0]


def test_errors_of_nothing_still_have_a_typical_size() -> None:
    y = np.r_[np.zeros(500), np.arange(500.0)]
    found = number_errors(y, np.r_[np.zeros(500), np.arange(500.0) + 1], None, None)
    assert (found.typical > 0).all()


def test_quantile_scores_are_those_of_the_paper() -> None:
    quantiles = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    found = quantile_errors(np.array([0.0, 3.0]), quantiles, None, None)
    assert found.outside[0].values.tolist() == [-1.0, 1.0]  # inside by 1, below by 1
    assert found.outside[1].values.tolist() == [1.0, 2.0]  # distance to the median


def test_raps_scores_sum_what_is_more_probable_and_penalise_long_sets() -> None:
    probs = np.array([[0.5, 0.3, 0.2]])
    plain, penalised = raps_scores(probs, 0.0, 0)[0], raps_scores(probs, 1.0, 1)[0]

    u = plain[0] / 0.5
    assert 0 <= u < 1
    assert plain == pytest.approx([0.5 * u, 0.5 + 0.3 * u, 0.8 + 0.2 * u])
    assert penalised - plain == pytest.approx([0, 1, 2])


def test_the_tie_breaker_looks_uniform_and_belongs_to_the_row() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet([1, 1, 1], 4000)
    u = raps_scores(probs, 0.0, 0).min(axis=1) / probs.max(axis=1)
    assert np.abs(np.quantile(u, [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < 0.03
    assert (raps_scores(probs[::-1], 0.0, 0)[::-1] == raps_scores(probs, 0.0, 0)).all()


def test_classes_score_by_the_probability_of_their_own() -> None:
    task = Classification(("a", "b"), "object")
    found = class_errors(task, np.array([0, 1]), np.array([[0.8, 0.2], [0.9, 0.1]]), None, None)
    assert found.lac.values == pytest.approx([0.2, 0.9])
    assert found.raps is None
