"""Several models on the same rows: the best first, and told from chance."""

from typing import Any

import numpy as np
import pytest

import multilayer as ml
from multilayer import ConfigError
from multilayer.report.leaderboard import leaderboard

RNG = np.random.default_rng(0)
X = RNG.normal(size=300)
TABLE = {"x": X, "noise": RNG.normal(size=300), "y": 3 * X + RNG.normal(0, 0.1, 300)}
NEW_X = RNG.normal(size=100)
NEW = {"x": NEW_X, "noise": RNG.normal(size=100), "y": 3 * NEW_X}


@pytest.fixture(scope="module")
def models() -> dict[str, ml.Model]:
    short: dict[str, Any] = {"members": 2, "epochs": 2, "hidden": 4}
    return {
        "blind": ml.fit(TABLE, target="y", drop=["x"], **short),
        "good": ml.fit(TABLE, target="y", members=2, epochs=20),
    }


def test_the_best_is_first_and_the_other_is_beaten(models: dict[str, ml.Model]) -> None:
    found = leaderboard(models, NEW)

    assert [row["model"] for row in found.rows] == ["good", "blind"]
    assert [row["is_beaten"] for row in found.rows] == [False, True]
    assert found.rows[0]["scores"]["rmse"] == pytest.approx(models["good"].evaluate(NEW)["rmse"])
    assert found.to_dict()["n_rows"] == 100
    assert str(found).splitlines()[1].startswith("good")
    assert "constant" in str(found) and "<table" in found._repr_html_()


def test_the_same_model_twice_is_within_chance(models: dict[str, ml.Model]) -> None:
    found = leaderboard({"a": models["good"], "b": models["good"]}, NEW)

    assert [row["is_beaten"] for row in found.rows] == [False, False]
    assert "within chance" in str(found)


def test_rows_that_were_trained_on_are_told(models: dict[str, ml.Model]) -> None:
    assert "was trained on about" in str(leaderboard(models, TABLE))


def test_what_cannot_be_compared_is_refused(models: dict[str, ml.Model]) -> None:
    other = ml.fit({**TABLE, "z": X}, target="z", members=2, epochs=2)

    with pytest.raises(ConfigError, match="must predict the same thing"):
        leaderboard({"a": models["good"], "b": other}, NEW)
    with pytest.raises(ConfigError, match="at least one model"):
        leaderboard({}, NEW)
