"""Intervals and sets: coverage, MAPIE's numbers, groups, files."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import multilayer as ml
from multilayer.model.intervals import METHODS

SMALL: dict[str, Any] = {"members": 2, "epochs": 8, "hidden": 6}


def numbers(n: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x, city = rng.random(n), rng.choice(["a", "b"], n).astype(object)
    noise = rng.normal(size=n) * np.where(city == "a", 0.1, 1.0)
    return {"x": x, "city": city, "y": 3 * x + noise}


def classes(n: int, seed: int, n_classes: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    edges = np.linspace(-1, 1, n_classes - 1)
    label = np.digitize(x + rng.normal(size=n) / 2, edges)
    return {"x": x, "z": rng.normal(size=n), "y": np.array([f"c{i:02}" for i in range(n_classes)])[label]}


@cache
def fitted(what: str) -> ml.Model:
    if what == "quantiles":
        return ml.fit(numbers(400, 0), target="y", quantiles=(0.05, 0.5, 0.95), **SMALL)
    if what == "numbers":
        return ml.fit(numbers(400, 0), target="y", **SMALL)
    return ml.fit(classes(400, 0, 12 if what == "many" else 3), target="y", **SMALL)


def inside(model: ml.Model, table: dict[str, Any], coverage: float) -> np.ndarray:
    if model.task.kind == "regression":
        _, bounds = model.predict_interval(table, coverage)
        return (bounds[:, 0] <= table["y"]) & (table["y"] <= bounds[:, 1])
    _, sets = model.predict_set(table, coverage)
    code = model.task.encode(np.asarray(table["y"], object))
    return sets[np.arange(len(code)), code]


CASES = [
    *(("numbers", method) for method in METHODS["number"]),
    ("quantiles", "quantile"),
    *((what, method) for what in ("classes", "many") for method in METHODS["classes"]),
]


@pytest.mark.parametrize(("what", "method"), CASES)
def test_exact_methods_cover_as_often_as_they_say(what: str, method: str) -> None:
    """Over 200 splits of rows never seen, coverage is c to (n + 1) c / n; means within four errors of it."""
    model, n_classes = fitted(what), 12 if what == "many" else 3
    table = numbers(1200, 7) if what in ("numbers", "quantiles") else classes(1200, 7, n_classes)
    made = model.conformalize({name: column[:600] for name, column in table.items()}, method=method)
    rest = {name: column[600:] for name, column in table.items()}

    for coverage in (0.7, 0.9):
        # One split: the share inside is Beta(k, n + 1 - k) with k = ceil((n + 1) c), tested on m rows.
        found = inside(made, rest, coverage).mean()
        deviation = np.sqrt(coverage * (1 - coverage) * (1 / 600 + 1 / 600))
        assert abs(found - coverage) < 4 * deviation + 0.005, (found, coverage)


def test_coverage_holds_within_groups() -> None:
    model, table = fitted("numbers"), numbers(4000, 3)
    half = {name: column[:2000] for name, column in table.items()}
    rest = {name: column[2000:] for name, column in table.items()}

    marginal = inside(model.conformalize(half, method="absolute"), rest, 0.8)
    grouped = inside(model.conformalize(half, method="absolute", by="city"), rest, 0.8)

    hard = rest["city"] == "b"
    assert marginal[hard].mean() < 0.7 and marginal[~hard].mean() > 0.9
    assert abs(grouped[hard].mean() - 0.8) < 0.05 and abs(grouped[~hard].mean() - 0.8) < 0.05
    made = model.conformalize(half, by="city")
    new = {"x": [0.5, 0.5], "city": np.array(["new", None], object)}
    assert made.predict_interval(new)[1].shape == (2, 2)


def test_intervals_are_mapies() -> None:
    mapie = pytest.importorskip("mapie.regression")
    model, calibration, rest = fitted("numbers"), numbers(300, 8), numbers(50, 9)
    estimator = model.as_estimator()
    frames = [_frame(table) for table in (calibration, rest)]

    reference = mapie.SplitConformalRegressor(estimator, confidence_level=0.9, prefit=True)
    reference.conformalize(frames[0], calibration["y"])
    point, expected = reference.predict_interval(frames[1])
    prediction, bounds = model.conformalize(calibration, method="absolute").predict_interval(rest, 0.9)

    np.testing.assert_allclose(prediction, point, rtol=1e-5)
    np.testing.assert_allclose(bounds, expected[:, :, 0], rtol=1e-5, atol=1e-5)


def test_sets_are_mapies() -> None:
    mapie = pytest.importorskip("mapie.classification")
    model, calibration, rest = fitted("classes"), classes(300, 8), classes(200, 9)
    estimator = model.as_estimator()
    frames = [_frame(table) for table in (calibration, rest)]

    reference = mapie.SplitConformalClassifier(
        estimator, confidence_level=0.8, prefit=True, conformity_score="lac"
    )
    reference.conformalize(frames[0], calibration["y"])
    _, expected = reference.predict_set(frames[1])
    _, sets = model.conformalize(calibration, method="lac").predict_set(rest, 0.8)

    np.testing.assert_array_equal(sets, expected[:, :, 0])


def _frame(table: dict[str, Any]) -> Any:
    import pandas as pd

    return pd.DataFrame({name: column for name, column in table.items() if name != "y"})


def test_without_other_rows_intervals_are_approximate_and_near() -> None:
    for what, table in (("numbers", numbers(2000, 4)), ("quantiles", numbers(2000, 4)),
                        ("classes", classes(2000, 4)), ("many", classes(2000, 4, 12))):  # fmt: skip
        model = fitted(what)
        assert model.interval_basis.startswith("approximate")
        assert abs(inside(model, table, 0.9).mean() - 0.9) < 0.08, what
    exact = fitted("numbers").conformalize(numbers(100, 5))
    assert exact.interval_basis.startswith("exact: split conformal on 100 rows")


def test_a_wider_promise_makes_wider_intervals_around_the_prediction() -> None:
    model, table = fitted("numbers"), numbers(50, 2)
    prediction, narrow = model.predict_interval(table, 0.5)
    _, wide = model.predict_interval(table, 0.95)
    assert (wide[:, 0] < narrow[:, 0]).all() and (narrow[:, 1] < wide[:, 1]).all()
    np.testing.assert_allclose(narrow.mean(axis=1), prediction)
    np.testing.assert_allclose(prediction, model.predict(table))


def test_scores_are_saved_and_rows_are_not() -> None:
    table = numbers(300, 5)
    made = fitted("numbers").conformalize(table, by="city", method="spread")
    again = ml.Model.from_bytes(made.to_bytes())
    rows = numbers(20, 6)
    np.testing.assert_array_equal(again.predict_interval(rows)[1], made.predict_interval(rows)[1])
    assert again.to_bytes() == made.to_bytes()
    assert made.conformal is not None and made.conformal.groups == ("a", "b")


def test_several_targets_have_bounds_each() -> None:
    table = numbers(300, 0)
    model = ml.fit(table | {"z": -table["y"]}, target=["y", "z"], **SMALL)
    prediction, bounds = model.predict_interval(table, 0.8)
    assert prediction.shape == (300, 2) and bounds.shape == (300, 2, 2)
    other = numbers(200, 1)
    made = model.conformalize(other | {"z": -other["y"]})
    assert made.predict_interval(table)[1].shape == (300, 2, 2)


def test_several_labels_have_sets_each() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    model = ml.fit({"x": x, "a": x > 0, "b": x > 1}, target=["a", "b"], **SMALL)
    labels, sets = model.predict_set({"x": x}, 0.9)
    assert labels.shape == (300, 2) and sets.shape == (300, 2, 2)


def test_bounds_go_with_the_exposure_and_stay_positive() -> None:
    rng = np.random.default_rng(0)
    x, years = rng.random(400), rng.choice([1.0, 2.0], 400)
    table = {"x": x, "years": years, "y": rng.poisson(years * (1 + x))}
    model = ml.fit(table, target="y", objective="poisson", exposure="years", **SMALL)
    one, two = ({"x": [0.5], "years": [amount]} for amount in (1.0, 2.0))
    np.testing.assert_allclose(2 * model.predict_interval(one)[1], model.predict_interval(two)[1])
    assert model.predict_interval(one, 0.98)[1][0, 0] >= 0


@pytest.mark.parametrize("coverage", [0, 1, 1.5, -0.1, "0.9", True, None, np.nan])
def test_what_is_no_coverage_is_refused(coverage: Any) -> None:
    with pytest.raises(ml.ConfigError, match="between 0 and 1"):
        fitted("numbers").predict_interval(numbers(3, 0), coverage)


def test_what_cannot_be_told_is_refused_in_words() -> None:
    model, table = fitted("numbers"), numbers(50, 5)
    made = model.conformalize(table)
    with pytest.raises(ml.ConfigError, match="needs 999 rows to tell from; there are 50"):
        made.predict_interval(table, 0.999)
    with pytest.raises(ml.SchemaError, match="Use predict_set"):
        fitted("classes").predict_interval(classes(5, 0))
    with pytest.raises(ml.SchemaError, match="Use predict_interval"):
        model.predict_set(table)
    with pytest.raises(ml.DataError, match="at least 10 rows"):
        model.conformalize(numbers(9, 5))
    with pytest.raises(ml.DataError, match="not trained on"):
        model.conformalize(numbers(400, 0))
    with pytest.raises(ml.ConfigError, match="'relative' or 'absolute' or 'spread'"):
        model.conformalize(table, method="lac")
    with pytest.raises(ml.ConfigError, match="Did you mean 'city'"):
        model.conformalize(table, by="ciyt")
    bare = replace(model, statistics=None)
    assert bare.interval_basis.startswith("none")
    with pytest.raises(ml.SchemaError, match=r"model\.conformalize"):
        bare.predict_interval(table)
    assert bare.conformalize(table).conformal.method == "absolute"
    with pytest.raises(ml.ConfigError, match="Take 'absolute'"):
        bare.conformalize(table, method="relative")
