"""One interface for what the recipe, scikit-learn's own algorithm and a constant target leave behind."""

import pickle
from typing import Any

import numpy as np
import pytest

from multilayer import MLPClassifier, MLPRegressor
from multilayer.estimators.fitted import Fitted, RecipeFit, TextbookFit

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RECIPE = {"max_iter": 2, "members": 1, "hidden_layer_sizes": 4, "random_state": 0}
TEXTBOOK = {"max_iter": 2, "solver": "adam", "hidden_layer_sizes": 4, "random_state": 0}
BOTH = pytest.mark.parametrize(
    ("settings", "kind"), [(RECIPE, RecipeFit), (TEXTBOOK, TextbookFit)], ids=["recipe", "textbook"]
)


def rows() -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(60, 3))
    return X, X[:, 0] - X[:, 1]


def fitted(estimator: Any) -> Fitted:
    return vars(estimator)["_fitted"]


@BOTH
def test_a_regressor_asks_it_for_numbers(settings: dict[str, Any], kind: type) -> None:
    X, y = rows()
    regressor = MLPRegressor(**settings).fit(X, y)

    assert type(fitted(regressor)) is kind
    np.testing.assert_array_equal(fitted(regressor).numbers(regressor, X), regressor.predict(X))
    assert fitted(regressor).model(regressor).task.kind == "regression"


@BOTH
def test_a_classifier_asks_it_for_labels_and_probabilities(settings: dict[str, Any], kind: type) -> None:
    X, y = rows()
    classifier = MLPClassifier(**settings).fit(X, np.select([y < -1, y < 1], ["a", "b"], "c"))
    probs = fitted(classifier).probabilities(classifier, X)

    assert type(fitted(classifier)) is kind
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(
        fitted(classifier).labels(classifier, X), classifier.classes_[probs.argmax(axis=1)]
    )


def test_a_target_that_is_the_same_in_all_rows_is_each_quantile() -> None:
    X, _ = rows()
    regressor = MLPRegressor(quantiles=(0.1, 0.9)).fit(X, np.full(60, 2.5))

    assert type(fitted(regressor)) is RecipeFit
    np.testing.assert_array_equal(regressor.predict_quantiles(X), np.full((60, 2), 2.5))


@BOTH
def test_a_copy_from_bytes_answers_the_same(settings: dict[str, Any], kind: type) -> None:
    X, y = rows()
    X[3, 1] = np.nan
    regressor = MLPRegressor(**settings).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted(regressor)))

    np.testing.assert_array_equal(again.numbers(regressor, X), regressor.predict(X))


def test_the_recipe_is_kept_as_the_bytes_of_a_model_file() -> None:
    X, y = rows()
    left = fitted(MLPRegressor(**RECIPE).fit(X, y))
    assert isinstance(left, RecipeFit)
    assert left.__getstate__() == {"trained": left.trained.to_bytes()}


def test_only_the_textbook_can_go_on() -> None:
    assert TextbookFit.goes_on and not RecipeFit.goes_on
