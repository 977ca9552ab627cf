"""Simple models on the same rows: fitted on none that score them, alike whatever else runs, harmless."""

from typing import Any

import numpy as np
import pytest
import torch

import multilayer as ml
from multilayer.recipe import baselines

SMALL: dict[str, Any] = {"members": 8, "epochs": 3, "hidden": 4, "seed": 0}
RNG = np.random.default_rng(0)
N = 160
LINEAR = {"a": RNG.normal(size=N), "b": RNG.normal(size=N), "city": RNG.choice(["Oslo", "Rome"], N)}
LINEAR["y"] = 3 * LINEAR["a"] + (LINEAR["city"] == "Rome") + RNG.normal(0, 0.1, N)


def fitted(**settings: Any) -> ml.Model:
    return ml.fit(LINEAR, target="y", baselines=True, **{**SMALL, **settings})


def test_a_linear_model_is_alike_where_the_target_is_linear() -> None:
    model = fitted()  # which has a linear network of its own
    found = model.summary["comparison"]

    assert list(found["scores"]) == ["this model", "constant", "linear model", "boosted trees"]
    assert found["scores"]["linear model"]["rmse"] < 0.4
    assert model.linear is not None
    assert found["verdict"]["linear model"] == "alike"
    assert found["scored"] == N // 2  # four folds of eight
    assert found["fitted_on"] == N - N // 8


def test_it_wins_where_neither_a_line_nor_few_rows_for_trees_will_do() -> None:
    x = RNG.normal(size=(600, 2))
    table = {"a": x[:, 0], "b": x[:, 1], "y": np.sin(2 * x[:, 0]) * 2 + x[:, 1] ** 2}
    model = ml.fit(table, target="y", baselines=True, members=8, hidden=32, seed=0)

    assert model.summary["comparison"]["verdict"]["linear model"] == "better"


@pytest.mark.parametrize(
    ("y", "more"),
    [
        (np.where(LINEAR["a"] > 0, "yes", "no"), {}),
        (np.digitize(LINEAR["a"], [-0.5, 0.5]), {"task": "multiclass"}),
        (np.exp(LINEAR["a"]), {"objective": "log"}),
        (np.exp(LINEAR["a"]), {"objective": "gamma"}),
        (RNG.poisson(np.exp(LINEAR["a"])).astype(float), {"objective": "poisson"}),
        (RNG.poisson(np.exp(LINEAR["a"])).astype(float), {"objective": "tweedie"}),
        (LINEAR["a"] * 2, {"objective": "absolute_error"}),
    ],
)
def test_every_task_has_its_own_linear_model_and_trees(y: Any, more: Any) -> None:
    found = ml.fit({**LINEAR, "y": y}, target="y", baselines=True, **SMALL, **more).summary["comparison"]
    scores, metric = found["scores"], found["metric"]

    for name in ("linear model", "boosted trees"):
        assert scores[name][metric] < scores["constant"][metric], name


def test_quantiles_have_trees_and_no_line() -> None:
    found = fitted(quantiles=(0.1, 0.9)).summary["comparison"]

    assert list(found["scores"]) == ["this model", "constant", "boosted trees"]
    assert found["scores"]["boosted trees"]["pinball_loss"] < found["scores"]["constant"]["pinball_loss"]


def test_many_classes_have_no_trees() -> None:
    y = [str(i % 11) for i in range(N)]
    found = ml.fit({**LINEAR, "y": y}, target="y", baselines=True, **SMALL).summary["comparison"]

    assert list(found["scores"]) == ["this model", "constant", "linear model"]


def test_validation_rows_of_all_networks_score_all() -> None:
    found = fitted(validation=0.25).summary["comparison"]

    assert found["scored"] == 40 and found["fitted_on"] == 120


def test_nothing_of_the_model_nor_of_the_process_changes() -> None:
    state = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()

    with_them, without = fitted(), ml.fit(LINEAR, target="y", **SMALL)

    assert (with_them.predict(LINEAR) == without.predict(LINEAR)).all()
    assert with_them.score == without.score
    assert torch.equal(state[0], torch.get_rng_state()) and (state[1] == np.random.get_state()[1]).all()
    assert state[2] == torch.get_num_threads()


def test_the_same_seed_gives_the_same_comparison() -> None:
    first, second = (
        {k: v for k, v in fitted().summary["comparison"].items() if k != "seconds"} for _ in range(2)
    )
    assert first == second


def test_a_time_budget_and_several_targets_leave_them_out() -> None:
    assert "comparison" not in fitted(time_budget=60).summary
    several = ml.fit({**LINEAR, "z": LINEAR["y"] * 2}, target=["y", "z"], baselines=True, **SMALL)
    assert several.summary["comparison"] == {}
    assert "rmse" in str(several)


def test_baselines_are_fitted_on_no_more_rows_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MOST_ROWS", 50)
    monkeypatch.setattr(baselines, "MOST_SCORED", 10)

    found = fitted().summary["comparison"]

    assert found["fitted_on"] == 50 and found["scored"] == 40


def test_a_file_keeps_the_comparison() -> None:
    model = fitted()

    assert str(ml.Model.from_bytes(model.to_bytes())) == str(model)
