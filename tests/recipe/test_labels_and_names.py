"""Labels are the same in every dtype, and names of columns stay through partial_fit and warm_start."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from multilayer import DataError, MLPClassifier, MLPRegressor, fit
from multilayer.tasks.classification import encode_labels, same_labels

FAST = {"members": 1, "hidden": 8, "epochs": 2}
FRAME = pd.DataFrame({"a": [0.0, 1.0] * 50, "b": [1.0, 0.0] * 50})
Y = [0, 1] * 50


@pytest.mark.parametrize(
    ("at_fit", "came"),
    [
        ([False, True], ["False", "True"]),
        ([False, True], ["false", "TRUE "]),
        ([False, True], [0, 1]),
        ([False, True], ["0", "1"]),
        ([0, 1], ["0", "1"]),
        ([0, 1], ["0.0", "1.0"]),
        ([0, 1], [False, True]),
        (["0", "1"], [0.0, 1.0]),
        (["False", "True"], [False, True]),
        ([0.5, 1.5, 2.5], ["0.5", "1.50", "2.5"]),
        (["no", "yes"], [" no", "yes "]),
    ],
)
def test_labels_evaluate_in_every_dtype(at_fit: list[Any], came: list[Any]) -> None:
    n = len(at_fit)
    x = list(range(20 * n))
    task = "binary" if n == 2 else "multiclass"
    model = fit({"x": x, "y": [label for label in at_fit for _ in range(20)]}, target="y", task=task, **FAST)
    rows = list(range(10, 20 * n, 20))
    expected = model.evaluate({"x": rows, "y": at_fit})

    assert model.evaluate({"x": rows, "y": came}) == expected
    assert model.evaluate(pd.DataFrame({"x": rows, "y": pd.Series(came, dtype=object)})) == expected


def test_a_label_that_could_be_two_is_none() -> None:
    assert same_labels([1, "1.0"], ["1", "1.0"]) == {1: None, "1.0": 1}
    assert same_labels(["007", "7"], [7]) == {"007": None, "7": 0}
    assert same_labels([str(2**63 + 1)], [2**63 + 1, 2**63]) == {str(2**63 + 1): 0}
    assert same_labels([f"{2**53 + 1}.0", "9007199254740993e0"], [2**53, 2**53 + 1]) == {
        f"{2**53 + 1}.0": 1,
        "9007199254740993e0": 1,
    }


def test_floats_for_labels_beyond_those_that_floats_tell_apart_are_refused() -> None:
    labels = (2**53 + 1, 2**53 + 2)
    assert encode_labels(np.array([str(label) for label in labels], dtype=object), labels).tolist() == [0, 1]
    with pytest.raises(DataError, match="beyond 2\\^53 at fit and are floats now"):
        encode_labels(np.array(labels, dtype=np.float64), labels)


def test_an_unknown_label_is_still_refused() -> None:
    model = fit({"x": list(range(40)), "y": [k > 19 for k in range(40)]}, target="y", **FAST)
    with pytest.raises(DataError, match=r"must be one that was there at fit .*; got maybe"):
        model.evaluate({"x": [1, 30], "y": ["maybe", "True"]})


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("solver", [None, "adam"])
def test_scores_of_estimators_match_labels_too(solver: str | None) -> None:
    net = MLPClassifier(solver=solver, random_state=0, max_iter=60).fit(FRAME, Y)

    assert net.score(FRAME, Y) > 0.9
    assert net.score(FRAME, np.array(Y).astype(str)) == net.score(FRAME, Y)
    assert net.score(FRAME, np.array(Y, bool)) == net.score(FRAME, Y)


@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
def test_partial_fit_keeps_names_and_checks_them(make: Any) -> None:
    net = make(random_state=0)
    classes = {"classes": [0, 1]} if make is MLPClassifier else {}
    for _ in range(3):
        net.partial_fit(FRAME, Y, **classes)

    assert net.feature_names_in_.tolist() == ["a", "b"]
    net.score(FRAME, Y)
    for swapped in (FRAME[["b", "a"]], FRAME.rename(columns={"a": "c"})):
        with pytest.raises(ValueError, match="feature names should match"):
            net.partial_fit(swapped, Y)
        with pytest.raises(ValueError, match="feature names should match"):
            net.predict(swapped)


@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
def test_warm_start_keeps_names_and_checks_them(make: Any) -> None:
    net = make(random_state=0, warm_start=True, max_iter=2, early_stopping=False, tol=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(FRAME, Y).fit(FRAME, Y)
        assert net.feature_names_in_.tolist() == ["a", "b"]
        with pytest.raises(ValueError, match="feature names should match"):
            net.fit(FRAME[["b", "a"]], Y)


@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
def test_partial_fit_learns_text(make: Any) -> None:
    text = pd.DataFrame({"c": ["x", "y"] * 50, "n": [1.0, 2.0, 3.0, 4.0] * 25})
    net = make(random_state=0, learning_rate_init=0.02)
    for _ in range(60):
        net.partial_fit(text, Y, **({"classes": [0, 1]} if make is MLPClassifier else {}))

    assert net.score(text, Y) > 0.9
    with pytest.warns(UserWarning, match=r"'c' holds new levels now, in 2 rows \(first: 'z'\)"):
        net.partial_fit(pd.DataFrame({"c": ["x", "z", "z"], "n": [1.0, 2.0, 3.0]}), [0, 1, 1])


def test_a_set_has_no_rows_in_an_order() -> None:
    x = list(range(40))
    for table, y in [({"x": x}, set(x)), ({"x": frozenset(x)}, x)]:
        with pytest.raises(DataError, match="must be a list, an array or a Series"):
            fit(table, y=y, **FAST)


def test_masked_places_of_targets_and_weights_are_missing() -> None:
    x = np.arange(40.0)
    masked = np.ma.masked_array(x, mask=x == 3)
    with pytest.raises(DataError, match=r"every row needs a target; 1 of 40 have none \(first: row 4\)"):
        fit({"x": x}, y=masked, **FAST)
    with pytest.raises(DataError, match="sample_weight must be 40 finite numbers"):
        fit({"x": x, "y": x}, target="y", sample_weight=masked, **FAST)
    with pytest.raises(DataError, match="exposure must be 40 finite numbers above 0"):
        fit({"x": x, "y": x}, target="y", objective="poisson", exposure=masked + 1, **FAST)


@pytest.mark.parametrize("solver", ["auto", "adam"])
def test_estimators_take_masked_cells_for_missing_and_refuse_masked_targets(solver: str) -> None:
    x = np.arange(40.0)
    rows = np.ma.masked_array(np.stack([x, x**2], axis=1), mask=False)
    rows[3, 0] = np.ma.masked
    y = (x > 20).astype(int)
    settings = {"max_iter": 1, "random_state": 0} | ({"solver": solver} if solver == "adam" else {})
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        for make in (MLPClassifier, MLPRegressor):
            as_nan = make(**settings).fit(rows.filled(np.nan), y).predict(rows.filled(np.nan))
            assert_array_equal(make(**settings).fit(rows, y).predict(rows), as_nan)
            with pytest.raises(DataError, match="1 are masked"):
                make(**settings).fit(rows, np.ma.masked_array(y, mask=x == 2))


def test_labels_beyond_int64_go_back_as_they_came() -> None:
    labels = np.array([2**63 + 1, 2**63 + 2], np.uint64)[np.arange(40) % 2]
    model = MLPClassifier(max_iter=1, random_state=0).fit(np.arange(80.0).reshape(40, 2), labels)
    assert model.classes_.dtype == np.uint64 and set(model.classes_) == set(labels)
    assert set(model.predict(np.arange(80.0).reshape(40, 2))) <= set(labels)


def test_durations_are_no_labels() -> None:
    with pytest.raises(DataError, match="labels must be text, whole numbers or booleans; got timedelta64"):
        MLPClassifier().fit(np.arange(80.0).reshape(40, 2), (np.arange(40) % 2).astype("timedelta64[h]"))
