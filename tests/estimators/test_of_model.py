"""What `ml.fit` or a file gave works in scikit-learn's and shap's tools, as a fitted estimator."""

import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibrationDisplay
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay
from sklearn.model_selection import cross_val_score
from sklearn.utils.validation import check_is_fitted

import multilayer as ml
from multilayer import ConfigError, DataError, MLPClassifier, MLPRegressor, Model

with warnings.catch_warnings():  # of matplotlib, in shap's own colours
    warnings.simplefilter("ignore")
    import shap

SMALL: dict[str, Any] = {"members": 2, "epochs": 2, "hidden": 4, "seed": 3}
matplotlib.use("agg")


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """96 rows: a number, a category, an identifier, a constant, and two classes of text."""
    random = np.random.default_rng(0)
    age, city = random.normal(40, 12, 96), random.choice(["Oslo", "Rome"], 96)
    buys = np.where(age + 20 * (city == "Rome") + random.normal(0, 5, 96) > 50, "yes", "no")
    return pd.DataFrame({"id": np.arange(96), "age": age, "planet": "Earth", "city": city, "buys": buys})


@pytest.fixture(scope="module")
def buyers(people: pd.DataFrame) -> Model:
    return ml.fit(people, target="buys", drop=["id"], **SMALL)


@pytest.fixture(scope="module")
def x(people: pd.DataFrame) -> pd.DataFrame:
    return people.drop(columns="buys")


@pytest.fixture(scope="module")
def numbers() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    x = random.normal(size=(80, 3))
    return x, 2 * x[:, 0] + random.normal(0, 0.1, 80)


@pytest.fixture(scope="module")
def of_numbers(numbers: tuple[np.ndarray, np.ndarray]) -> Model:
    return ml.fit(numbers[0], y=numbers[1], **SMALL)


def test_predicts_as_the_model(people: pd.DataFrame, x: pd.DataFrame, buyers: Model) -> None:
    estimator = buyers.as_estimator()
    check_is_fitted(estimator)

    assert is_classifier(estimator) and isinstance(estimator, MLPClassifier)
    assert estimator.classes_.tolist() == ["no", "yes"]
    assert estimator.predict(x).tolist() == buyers.predict(people).tolist()
    assert (estimator.predict_proba(x) == buyers.predict_proba(people)).all()
    assert estimator.score(x, people["buys"]) == pytest.approx(
        np.mean(buyers.predict(people) == people["buys"].to_numpy())
    )


def test_takes_columns_in_any_order_and_other_frames(people: pd.DataFrame, buyers: Model) -> None:
    estimator = buyers.as_estimator()
    expected = buyers.predict(people)

    assert (estimator.predict(people[["city", "age"]]) == expected).all()
    assert (estimator.predict(pl.from_pandas(people[["city", "age"]])) == expected).all()


def test_arrays_are_taken_by_place(of_numbers: Model, numbers: tuple[np.ndarray, np.ndarray]) -> None:
    estimator = of_numbers.as_estimator()

    assert (estimator.predict(numbers[0]) == of_numbers.predict(numbers[0])).all()
    assert (estimator.predict(numbers[0].tolist()) == of_numbers.predict(numbers[0])).all()
    with pytest.raises(DataError, match="X has 2 features, but MLPRegressor is expecting 3"):
        estimator.predict(numbers[0][:, :2])
    with pytest.raises(DataError, match=r"must have rows and columns; got 1 axes"):
        estimator.predict(numbers[0][0])


def test_more_than_ten_columns_of_an_array_keep_their_places() -> None:
    x = np.random.default_rng(0).normal(size=(70, 12))
    x[:, 1] = 5  # constant, and ignored
    model = ml.fit(x, y=x[:, 10], **SMALL)

    assert (model.as_estimator().predict(x) == model.predict(x)).all()


def test_an_array_without_names_is_refused_where_columns_would_be_guessed(
    x: pd.DataFrame, buyers: Model
) -> None:
    with pytest.raises(DataError, match=r"X has no names. Pass a frame with the columns 'age', 'city'"):
        buyers.as_estimator().predict(x.to_numpy())


def test_permutation_importance(people: pd.DataFrame, x: pd.DataFrame, buyers: Model) -> None:
    found = permutation_importance(buyers.as_estimator(), x, people["buys"], n_repeats=2, random_state=0)

    assert found.importances.shape == (4, 2)
    assert found.importances[[0, 2]].tolist() == [[0, 0], [0, 0]]  # not used by the model


def test_permutation_importance_of_arrays(of_numbers: Model, numbers: tuple[np.ndarray, np.ndarray]) -> None:
    found = permutation_importance(of_numbers.as_estimator(), *numbers, n_repeats=2, random_state=0)

    assert found.importances_mean.argmax() == 0


def test_confusion_matrix(people: pd.DataFrame, x: pd.DataFrame, buyers: Model) -> None:
    display = ConfusionMatrixDisplay.from_estimator(buyers.as_estimator(), x, people["buys"])

    assert display.confusion_matrix.sum() == 96
    assert np.trace(display.confusion_matrix) == (buyers.predict(people) == people["buys"].to_numpy()).sum()


def test_roc_curve(people: pd.DataFrame, x: pd.DataFrame, buyers: Model) -> None:
    display = RocCurveDisplay.from_estimator(buyers.as_estimator(), x, people["buys"])

    with pytest.warns(UserWarning, match="may know them by heart"):
        assert np.asarray(display.roc_auc).item() == pytest.approx(buyers.evaluate(people)["roc_auc"])


def test_calibration_curve(people: pd.DataFrame, x: pd.DataFrame, buyers: Model) -> None:
    display = CalibrationDisplay.from_estimator(buyers.as_estimator(), x, people["buys"], n_bins=3)

    assert (display.y_prob == buyers.predict_proba(people)[:, 1]).all()


def test_partial_dependence(x: pd.DataFrame, buyers: Model) -> None:
    display = PartialDependenceDisplay.from_estimator(
        buyers.as_estimator(), x, ["age", "city"], categorical_features=["city"], grid_resolution=4
    )

    assert [curve["average"].shape for curve in display.pd_results] == [(1, 4), (1, 2)]


def test_partial_dependence_of_arrays(of_numbers: Model, numbers: tuple[np.ndarray, np.ndarray]) -> None:
    display = PartialDependenceDisplay.from_estimator(
        of_numbers.as_estimator(), numbers[0], [0, 2], grid_resolution=4
    )

    assert len(display.pd_results) == 2


def test_a_clone_fits_the_same_model_again(people: pd.DataFrame, x: pd.DataFrame, buyers: Model) -> None:
    again = clone(buyers.as_estimator())
    assert not hasattr(again, "classes_")

    again.fit(x, people["buys"])

    assert (again.predict_proba(x) == buyers.predict_proba(people)).all()
    assert again.model_.summary["config"] == buyers.summary["config"]
    assert again.model_.schema.names == buyers.schema.names


def test_a_clone_of_arrays_fits_the_same_model_again(
    of_numbers: Model, numbers: tuple[np.ndarray, np.ndarray]
) -> None:
    again = clone(of_numbers.as_estimator()).fit(*numbers)

    assert (again.predict(numbers[0]) == of_numbers.predict(numbers[0])).all()


def test_cross_validation(people: pd.DataFrame, x: pd.DataFrame, buyers: Model) -> None:
    assert cross_val_score(buyers.as_estimator(), x, people["buys"], cv=2).shape == (2,)


def test_shap_of_a_frame() -> None:
    random = np.random.default_rng(2)
    table = pd.DataFrame(random.normal(size=(80, 3)), columns=["a", "b", "c"])
    table["y"] = np.where(table["a"] > 0, "high", "low")
    estimator, rows = ml.fit(table, target="y", **SMALL).as_estimator(), table[["a", "b", "c"]]

    explainer = shap.Explainer(estimator.predict_proba, shap.maskers.Independent(rows[:10], max_samples=10))
    found = explainer(rows[:3])

    assert found.values.shape == (3, 3, 2) and found.feature_names == ["a", "b", "c"]
    expected = estimator.predict_proba(rows[:3]) - estimator.predict_proba(rows[:10]).mean(axis=0)
    assert found.values.sum(axis=1) == pytest.approx(expected, abs=1e-6)


def test_shap_of_arrays(of_numbers: Model, numbers: tuple[np.ndarray, np.ndarray]) -> None:
    found = shap.Explainer(of_numbers.as_estimator().predict, numbers[0][:10])(numbers[0][:2])

    assert np.abs(found.values).argmax(axis=1).tolist() == [0, 0]


def test_a_file_and_a_pickle_become_the_same_estimator(x: pd.DataFrame, buyers: Model) -> None:
    buyers.save("buyers.mlp")
    expected = buyers.predict(x)

    assert (MLPClassifier.from_model("buyers.mlp").predict(x) == expected).all()
    assert (MLPClassifier.from_model(Path("buyers.mlp")).predict(x) == expected).all()
    assert (pickle.loads(pickle.dumps(buyers.as_estimator())).predict(x) == expected).all()


def test_settings_of_the_fit_are_the_estimators() -> None:
    table = {"a": list(range(100)), "y": [0, 1] * 50}
    model = ml.fit(
        table,
        target="y",
        class_weight={0: 2, 1: 1},
        threshold="f1",
        quality="fast",
        monotone={"a": 1},
        **SMALL,
    )

    params = model.as_estimator().get_params()

    assert params["class_weight"] == {0: 2, 1: 1} and params["threshold"] == "f1"
    assert params["quality"] == "fast" and params["monotone"] == {"a": 1}
    assert params["hidden_layer_sizes"] == (4, 4) and params["random_state"] == 3


def test_quantiles_and_objectives_go_along() -> None:
    table = {"a": list(range(100)), "y": [float(i % 7) for i in range(100)]}
    ranges = ml.fit(table, target="y", quantiles=(0.1, 0.9), **SMALL).as_estimator()
    medians = ml.fit(table, target="y", objective="absolute_error", **SMALL).as_estimator()

    assert ranges.predict_quantiles(pd.DataFrame({"a": [1, 2]})).shape == (2, 2)
    assert clone(ranges).quantiles == (0.1, 0.9)
    assert medians.objective == "absolute_error"


def test_several_labels_of_0_and_1() -> None:
    table = pd.DataFrame({"a": range(80), "b": [0, 1] * 40, "c": [1, 0, 0, 1] * 20})
    model = ml.fit(table, target=["b", "c"], **SMALL)
    estimator = model.as_estimator()

    assert (estimator.predict(table[["a"]]) == model.predict(table)).all()
    again = clone(estimator).fit(table[["a"]], table[["b", "c"]])
    assert (again.predict_proba(table[["a"]]) == model.predict_proba(table)).all()
    named = ml.fit(table.assign(b=np.where(table["b"] == 1, "x", "y")), target=["b", "c"], **SMALL)
    with pytest.raises(ConfigError, match="takes them as 0 and 1; this model has others: 'x', 'y'"):
        named.as_estimator()


def test_files_of_before_are_read_off_their_configuration(buyers: Model) -> None:
    before = replace(buyers, summary={k: v for k, v in buyers.summary.items() if k != "asked"})

    params = before.as_estimator().get_params()

    assert params["members"] == 2 and params["max_iter"] == 2 and params["hidden_layer_sizes"] == (4, 4)


def test_what_no_estimator_can_hold_is_refused(buyers: Model, of_numbers: Model) -> None:
    table = {"a": list(range(80)), "km": [1.0, 2.0] * 40, "n": [0, 1, 2, 3] * 20}
    rates = ml.fit(table, target="n", objective="poisson", exposure="km", **SMALL)
    textbook = MLPRegressor(4, solver="adam", max_iter=20, tol=1e9, random_state=0).fit(
        np.eye(40), np.arange(40.0)
    )

    with pytest.raises(ConfigError, match="know no exposure, which this model takes from 'km'"):
        rates.as_estimator()
    with pytest.raises(ConfigError, match="this one came of an estimator"):
        textbook.model_.as_estimator()
    with pytest.raises(ConfigError, match=r"this model is a binary. Take the other"):
        MLPRegressor.from_model(buyers)
    with pytest.raises(ConfigError, match=r"this model is a regression. Take the other"):
        MLPClassifier.from_model(of_numbers)
