"""Labels are the same in every dtype, and names of columns stay through partial_fit and warm_start."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

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
    with pytest.warns(UserWarning, match=r"'c' holds new ones now, in 2 rows \(first: 'z'\)"):
        net.partial_fit(pd.DataFrame({"c": ["x", "z", "z"], "n": [1.0, 2.0, 3.0]}), [0, 1, 1])
