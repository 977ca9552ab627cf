"""What the two classes share: settings of one meaning, and the contract around `_fitted`."""

import copy
import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from multilayer import ConfigError, DataError, MLPClassifier, MLPRegressor
from multilayer.estimators.settings import RULES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

OWN = {MLPClassifier: {"class_weight", "threshold"}, MLPRegressor: {"loss", "objective", "quantiles"}}
TEXTBOOK = {"hidden_layer_sizes": 4, "solver": "adam", "max_iter": 3, "random_state": 0}


def settings(kind: type) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(kind).parameters)


def shared(kind: type) -> list[inspect.Parameter]:
    return [parameter for name, parameter in settings(kind).items() if name not in OWN[kind]]


def test_settings_of_both_classes_have_one_order_one_default_and_one_type() -> None:
    assert shared(MLPClassifier) == shared(MLPRegressor)
    for kind, own in OWN.items():
        assert own <= settings(kind).keys()


@pytest.mark.parametrize("kind", OWN)
def test_every_setting_has_a_rule(kind: type) -> None:
    assert settings(kind).keys() - RULES.keys() == {"missing"}  # which reading the table judges


@pytest.mark.parametrize("kind", OWN)
def test_storing_settings_copies_and_checks_nothing(kind: type) -> None:
    given = {name: object() for name in settings(kind)}
    estimator = kind(**given)
    assert vars(estimator) == given
    assert estimator.get_params(deep=False) == given


def numbers() -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(60, 3))
    return X, X[:, 0] - X[:, 1]


def test_a_copy_goes_on_by_itself() -> None:
    X, y = numbers()
    first = MLPRegressor(**TEXTBOOK).partial_fit(X, y)
    second = copy.copy(first)
    before = vars(first)["_fitted"]
    second.partial_fit(X, y)

    assert vars(first)["_fitted"] is before
    assert before.steps == 1
    assert vars(second)["_fitted"].steps == 2


@pytest.mark.parametrize("own", [{}, TEXTBOOK], ids=["recipe", "textbook"])
def test_the_model_is_there_once_there_is_one(own: dict[str, Any]) -> None:
    X, y = numbers()
    regressor = MLPRegressor(**{"max_iter": 1, "random_state": 0} | own)
    assert "model_" not in dir(regressor) and not hasattr(regressor, "model_")
    with pytest.raises(NotFittedError):
        regressor.predict(X)

    regressor.fit(X, y)
    assert "model_" in dir(regressor)
    assert regressor.model_.task.kind == "regression"
    with pytest.raises(AttributeError, match=r"no attribute 'los_'.*Did you mean 'loss_'"):
        regressor.los_  # noqa: B018


def test_weights_set_by_hand_are_a_network_to_predict_with() -> None:
    regressor = MLPRegressor(**TEXTBOOK)
    regressor.coefs_, regressor.intercepts_ = [np.array([[2.0], [1.0]])], [np.array([1.0])]
    regressor.out_activation_, regressor.n_features_in_ = "identity", 2

    np.testing.assert_array_equal(regressor.predict([[1.0, 1.0], [0.0, 3.0]]), [4.0, 4.0])


@pytest.mark.parametrize("solver", [None, "adam"])
@pytest.mark.parametrize(
    ("weight", "got"), [(-2.0, "-2.0 in row 0"), (0, "zeros alone"), (float("nan"), "nan in row 0")]
)
def test_one_weight_for_all_rows_must_be_a_right_one(solver: str | None, weight: float, got: str) -> None:
    X, y = numbers()
    with pytest.raises(DataError, match=f"sample_weight must be 60 finite numbers, .*; got {got}"):
        MLPRegressor(solver=solver, max_iter=1).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("solver", [None, "adam"])
@pytest.mark.parametrize("weights", [{0: -1.0, 1: 1.0}, {0: 0.0, 1: 0.0}, {0: float("inf"), 1: 1.0}])
def test_weights_of_classes_must_be_right_ones(solver: str | None, weights: dict[int, float]) -> None:
    X, y = numbers()
    with pytest.raises(ConfigError, match="class_weight must be finite numbers, none negative"):
        MLPClassifier(solver=solver, max_iter=1, class_weight=weights).fit(X, (y > 0).astype(int))


@pytest.mark.parametrize("solver", [None, "adam"])
def test_some_row_must_weigh_something(solver: str | None) -> None:
    X, y = numbers()
    is_up = (y > 0).astype(int)
    with pytest.raises(DataError, match="got zeros alone"):
        MLPClassifier(solver=solver, class_weight={0: 0.0, 1: 1.0}).fit(X, is_up, sample_weight=1.0 - is_up)


WARNED = """
import warnings
import numpy as np
import multilayer as ml
X = np.array([[1.0, "a"], [2.0, "b"], [3.0, "a"], [4.0, {"a": 1}]] * 10, dtype=object)
classifier = ml.MLPClassifier(max_iter=1, members=1, quality="fast", random_state=0)
with warnings.catch_warnings(record=True) as caught:
    classifier.fit(X, [0, 1] * 20)
    classifier.predict(X)
print(*(f"{warning.category.__name__} {warning.filename} {warning.lineno}" for warning in caught), sep="\\n")
"""


def test_a_warning_names_the_line_of_the_caller_at_fit_and_at_prediction() -> None:
    # in a process of its own: the run-time check of types puts its own lines between ours
    done = subprocess.run([sys.executable, "-c", WARNED], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"DataConversionWarning <string> {line}" for line in (8, 9)]
