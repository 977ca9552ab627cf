"""Columns that moved are found, others hardly ever, and by the tests that scipy has."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import multilayer as ml
from multilayer.inspect.drift import adjusted_p_values

N = 2000


def table(seed: int, n: int = N) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "x": rng.normal(size=n),
        "zeros": np.where(rng.random(n) < 0.6, 0.0, rng.exponential(size=n)),
        "gaps": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
        "city": rng.choice(["a", "b", "c", "d"], n, p=[0.5, 0.3, 0.15, 0.05]).astype(object),
        "flag": rng.random(n) < 0.3,
        "day": (np.datetime64("2024-01-01") + rng.integers(0, 365, n)).astype("datetime64[us]"),
        "words": [f"room {i} was clean and quiet on day {i % 7}" for i in range(n)],
    }


@cache
def model() -> ml.Model:
    rows = table(0)
    return ml.fit(rows | {"y": rows["x"]}, target="y", members=2, epochs=1, hidden=4)


def of(changed: dict[str, Any], name: str) -> dict[str, Any]:
    found = ml.drift(model(), table(1) | changed)
    return next(row for row in found.rows if row["column"] == name)


def test_other_rows_of_the_same_kind_have_not_moved() -> None:
    alarms = [int(ml.drift(model(), table(seed, 300))["moved"].sum()) for seed in range(1, 21)]
    assert sum(alarms) <= 2  # 0.01 each, by Holm's correction


@pytest.mark.parametrize(
    ("name", "changed", "words"),
    [
        ("x", table(1)["x"] + 0.3, "median"),
        ("zeros", np.zeros(N), "median"),
        ("gaps", np.where(np.arange(N) % 2, np.nan, table(1)["gaps"]), "missing 59.2%, was 20.0%"),
        ("city", np.array(["a", "z"] * (N // 2), object), "rare or new levels 50"),
        ("city", np.array(["a", "b"] * (N // 2), object), "'b' 50.0%, was 29.1%"),
        ("flag", np.ones(N, bool), "median"),
        ("day", table(1)["day"] + np.timedelta64(200, "D"), "out of range"),
        ("words", np.array([None, "a room"] * (N // 2), object), "missing 50"),
    ],
)
def test_a_column_that_moved_is_named_first(name: str, changed: Any, words: str) -> None:
    found = ml.drift(model(), table(1) | {name: changed})
    assert found["column"][0] == name and found["moved"].tolist() == [True] + [False] * 6
    assert words in found["what"][0]
    assert "1 of 7 columns moved" in str(found)


def test_numbers_are_compared_as_scipy_does() -> None:
    from scipy.stats import ks_2samp

    moved = table(1)["x"] + 0.05
    found, reference = of({"x": moved}, "x"), ks_2samp(table(0)["x"], moved, method="asymp")
    assert found["distance"] == pytest.approx(reference.statistic, abs=0.011)  # of percentiles alone
    assert found["distance"] <= reference.statistic + 1e-9
    assert found["p"] >= reference.pvalue * 0.9


def test_categories_are_compared_as_scipy_does() -> None:
    from scipy.stats import chi2_contingency

    now = table(1)["city"]
    found = of({}, "city")
    counts = [[np.sum(rows == level) for level in "abcd"] for rows in (table(0)["city"], now)]
    assert found["p"] == pytest.approx(chi2_contingency(counts, correction=False).pvalue, rel=1e-6)
    shares = np.array(counts) / N
    assert found["distance"] == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)
    assert found["psi"] == pytest.approx(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def test_corrections_are_those_of_scipy() -> None:
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(0).random(30) ** 3
    np.testing.assert_allclose(adjusted_p_values(p, "benjamini-hochberg"), false_discovery_control(p))
    holm = adjusted_p_values(p, "holm")
    assert (holm >= p).all() and holm.min() == pytest.approx(30 * p.min())
    assert (adjusted_p_values(p, "none") == p).all()


def test_wrong_settings_are_refused_in_words() -> None:
    with pytest.raises(ml.ConfigError, match="Did you mean 'holm'"):
        ml.drift(model(), table(1), correction="hlom")
    with pytest.raises(ml.ConfigError, match="level"):
        ml.drift(model(), table(1), level=2.0)
    with pytest.raises(ml.SchemaError, match="no statistics"):
        ml.drift(replace(model(), statistics=None), table(1))
    with pytest.raises(ml.SchemaError, match="'x'"):
        ml.drift(model(), {"city": ["a"]})
