"""`Model.evaluate` says of rows that the model was trained on them."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from multilayer import Model, fit
from multilayer.cli import app

FAST = {"members": 2, "hidden": 8, "epochs": 2}
WORDS = r"It was trained on some (\d+)% of these .* rows.*model.score"


def flats(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"size": rng.normal(size=n), "zone": rng.choice(["old", "new"], n)})
    return table.assign(rent=table["size"] + rng.normal(size=n), sold=rng.choice(["yes", "no"], n))


@pytest.mark.parametrize("target", ["rent", "sold", ["rent", "size"]])
def test_rows_that_it_was_trained_on_are_said(target: str | list[str]) -> None:
    model = fit(flats(300), target=target, **FAST)
    with pytest.warns(UserWarning, match=WORDS):
        assert model.evaluate(flats(300))["trained_on"] == 1
    half = pd.concat([flats(300)[:150], flats(300, seed=1)[:150]])
    with pytest.warns(UserWarning, match="some 50%"):
        assert model.evaluate(half)["trained_on"] == pytest.approx(0.5)


def test_others_are_not() -> None:
    model = fit(flats(300), target="rent", **FAST)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.evaluate(flats(300, seed=1))["trained_on"] == 0


def test_validation_rows_of_their_own_are_others() -> None:
    model = fit(flats(300), target="rent", validation=flats(100, seed=1), **FAST)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.evaluate(flats(100, seed=1))["trained_on"] == 0


def test_a_file_says_it_too_of_whichever_source(tmp_path: Path) -> None:
    flats(300).to_csv("flats.csv", index=False)
    fit("flats.csv", target="sold", **FAST).save("flats.mlp")
    model = Model.load("flats.mlp")
    with pytest.warns(UserWarning, match=WORDS):
        model.evaluate(flats(300))


def test_rows_that_repeat_themselves_are_expected() -> None:
    table = {"c": ["A", "B", "C"] * 30, "y": [1, 2, 3] * 30}
    model = fit(table, target="y", **FAST)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.evaluate(table)["trained_on"] == 1


def test_a_file_of_before_says_nothing() -> None:
    model = fit(flats(300), target="rent", **FAST)
    del model.summary["trained_on"]

    assert "trained_on" not in model.evaluate(flats(300))


def test_the_command_line_says_it_on_standard_error() -> None:

    flats(300).to_csv("flats.csv", index=False)
    fit("flats.csv", target="sold", **FAST).save("flats.mlp")
    done = CliRunner().invoke(app, ["evaluate", "flats.mlp", "flats.csv", "--json"])

    assert done.exit_code == 0
    assert '"trained_on": 1.0' in done.stdout
    assert done.stderr.startswith("warning: A model must be scored on rows")
