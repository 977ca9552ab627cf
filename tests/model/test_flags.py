"""Flags of rows that a model has seen nothing like."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import multilayer as ml

SMALL: dict[str, Any] = {"members": 2, "epochs": 2, "hidden": 4}


def table(n: int = 400) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    return {
        "x": x,
        "near": x + rng.normal(size=n) / 50,
        "gaps": np.where(rng.random(n) < 0.3, np.nan, x),
        "city": rng.choice(["Oslo", "Rome"], n).astype(object),
        "day": (np.datetime64("2024-01-01") + np.arange(n)).astype("datetime64[us]"),
    }


@pytest.fixture(scope="module")
def model() -> ml.Model:
    return ml.fit(table() | {"y": table()["x"]}, target="y", **SMALL)


def test_each_flag_says_what_is_unusual(model: ml.Model) -> None:
    usual = {name: np.repeat(values[:1], 6) for name, values in table().items()}
    usual["x"], usual["near"] = np.zeros(6), np.zeros(6)
    usual["x"][1] = 99.0
    usual["city"][2] = "Bergen"
    usual["x"][3] = np.nan
    usual["day"][4] = np.datetime64("2031-01-01")

    prediction, found = model.predict(usual, flags=True)

    np.testing.assert_array_equal(prediction, model.predict(usual))
    assert found.words(0) == ""
    assert "'x': out of range" in found.words(1)
    assert "'city': rare or unseen level" in found.words(2)
    assert "'x': missing, which it never was" in found.words(3)
    assert "'day': out of range" in found.words(4)
    assert found.any.tolist() == [False, True, True, True, True, False]
    assert found.to_frame().shape == (6, 6)
    assert len(found) == 6 and "4 of 6 rows" in repr(found)


def test_what_is_within_all_ranges_but_like_no_row_is_far(model: ml.Model) -> None:
    rows = {name: np.repeat(values[:1], 2) for name, values in table().items()}
    rows["x"], rows["near"], rows["gaps"] = np.array([0.0, 2.0]), np.array([0.0, -2.0]), np.array([0.0, 0.0])
    found = model.flags(rows)
    assert not found.out_of_range and not found.unseen_level
    assert found.far.tolist() == [False, True]


def test_rows_of_the_fit_have_hardly_a_flag(model: ml.Model) -> None:
    assert model.flags(table()).any.mean() < 0.03


def test_a_gap_that_was_there_at_fit_is_none(model: ml.Model) -> None:
    rows = {name: values[:5] for name, values in table().items()}
    rows["gaps"] = np.full(5, np.nan)
    assert "gaps" not in model.flags(rows).missing


def test_without_statistics_it_says_what_it_cannot_tell(model: ml.Model) -> None:
    found = replace(model, statistics=None).flags({**table(3), "x": [99.0, 0.0, 0.0]})
    assert found.out_of_range["x"].tolist() == [True, False, False]
    assert len(found.not_told) == 2 and "not told" in repr(found)
