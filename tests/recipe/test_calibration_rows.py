"""Rows set aside before a fit are no part of it, and are those that were asked for."""

from typing import Any

import numpy as np
import pytest

import multilayer as ml

SMALL: dict[str, Any] = {"members": 2, "epochs": 2, "hidden": 4}
N = 200


def table() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=N)
    return {
        "x": x,
        "house": np.repeat(np.arange(N // 4), 4),
        "day": (np.datetime64("2024-01-01") + np.arange(N)).astype("datetime64[us]"),
        "weight": rng.random(N) + 1,
        "y": x + rng.normal(size=N) / 10,
    }


@pytest.mark.parametrize(("calibration", "n"), [(0.25, 50), (40, 40)])
def test_so_many_rows_are_set_aside(calibration: Any, n: int) -> None:
    model = ml.fit(table(), target="y", calibration=calibration, **SMALL)
    assert model.conformal is not None and model.conformal.scores[0].n == n
    assert model.statistics is not None and model.statistics.n_rows <= N - n
    assert model.interval_basis.startswith("exact")
    again = ml.fit(table(), target="y", calibration=calibration, **SMALL)
    assert again.conformal is not None
    np.testing.assert_array_equal(again.conformal.scores[0].values, model.conformal.scores[0].values)


def test_a_table_of_its_own_is_taken() -> None:
    rows = table()
    first = {name: values[:150] for name, values in rows.items()}
    rest = {name: values[150:] for name, values in rows.items()}
    model = ml.fit(first, target="y", calibration=rest, **SMALL)
    assert model.conformal is not None and model.conformal.scores[0].n == 50


@pytest.mark.parametrize("settings", [{"groups": "house"}, {"time": "day"}, {"sample_weight": "weight"}])
def test_it_goes_with_other_roles(settings: Any) -> None:
    model = ml.fit(table(), target="y", calibration=0.2, **settings, **SMALL)
    assert model.conformal is not None and 30 <= model.conformal.scores[0].n <= 50


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibration": 5}, "at least 10"),
        ({"calibration": 500}, "fewer than there are"),
        ({"calibration": -1}, "a share of the rows"),
        ({"calibration": 0.2, "sample_weight": np.ones(N)}, "sample_weight is not in it"),
    ],
)
def test_what_cannot_be_set_aside_is_refused(settings: Any, message: str) -> None:
    with pytest.raises(ml.MultilayerError, match=message):
        ml.fit(table(), target="y", **settings, **SMALL)


def test_values_beside_the_table_are_refused() -> None:
    rows = table()
    with pytest.raises(ml.ConfigError, match="y is not in it"):
        ml.fit({"x": rows["x"]}, y=rows["y"], calibration=0.2, **SMALL)
