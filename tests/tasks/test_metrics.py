import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from multilayer.errors import DataError
from multilayer.tasks.metrics import METRICS, accuracy, log_loss, lower_is_better, mae, r2, rmse, roc_auc

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(seeds, st.booleans())
def test_metrics_of_numbers_equal_scikit_learn(seed, weighted):
    rng = np.random.default_rng(seed)
    y, prediction = rng.normal(size=(2, 20))
    weight = rng.uniform(0.1, 2, 20) if weighted else None
    assert rmse(y, prediction, weight) == pytest.approx(
        reference.root_mean_squared_error(y, prediction, sample_weight=weight)
    )
    assert mae(y, prediction, weight) == pytest.approx(
        reference.mean_absolute_error(y, prediction, sample_weight=weight)
    )
    assert r2(y, prediction, weight) == pytest.approx(reference.r2_score(y, prediction, sample_weight=weight))


@settings(max_examples=30, deadline=None)
@given(seeds, st.booleans())
def test_metrics_of_classes_equal_scikit_learn(seed, weighted):
    rng = np.random.default_rng(seed)
    y = np.r_[0, 1, rng.integers(0, 2, 18)]
    probs = rng.dirichlet([1, 1], 20)
    weight = rng.uniform(0.1, 2, 20) if weighted else None
    assert log_loss(y, probs, weight) == pytest.approx(reference.log_loss(y, probs, sample_weight=weight))
    assert roc_auc(y, probs[:, 1], weight) == pytest.approx(
        reference.roc_auc_score(y, probs[:, 1], sample_weight=weight)
    )
    assert accuracy(y, probs.argmax(1), weight) == pytest.approx(
        reference.accuracy_score(y, probs.argmax(1), sample_weight=weight)
    )


def test_log_loss_of_a_class_held_impossible_is_large_but_finite():
    loss = log_loss(np.array([1]), np.array([[1.0, 0.0]]))
    assert 80 < loss < 100


def test_what_is_undefined_is_nan():
    assert np.isnan(roc_auc(np.array([1, 1]), np.array([0.2, 0.3])))
    assert np.isnan(r2(np.array([2.0, 2.0]), np.array([1.0, 2.0])))


def test_direction_of_every_metric():
    assert {name for name in METRICS if lower_is_better(name)} == {
        "gamma_deviance",
        "interval_width",
        "log_loss",
        "log_rmse",
        "mae",
        "pinball_loss",
        "poisson_deviance",
        "rmse",
        "tweedie_deviance",
    }
    with pytest.raises(DataError, match="unknown metric 'f2'; known: accuracy, balanced"):
        lower_is_better("f2")


def test_ties_count_half_as_in_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y, score, weight = rng.integers(0, 2, 500), rng.integers(0, 7, 500) / 7, rng.uniform(0, 2, 500)

    assert roc_auc(y, score, weight) == pytest.approx(
        reference.roc_auc_score(y, score, sample_weight=weight), abs=1e-12
    )
