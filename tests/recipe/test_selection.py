"""Which epochs of which networks make the model."""

from dataclasses import replace
from typing import Any

import numpy as np

from multilayer.recipe.plan import make_plan
from multilayer.recipe.rows import read_rows
from multilayer.recipe.selection import by_stretch, greedily, select
from multilayer.recipe.split_rows import N_FOLDS
from multilayer.recipe.trained import train_networks
from multilayer.training.history import Stop
from tests.recipe.asked import wanted

RNG = np.random.default_rng(0)
X = RNG.normal(size=200)
TABLE = {"x": X, "y": 3 * X}


def trained(**given: Any) -> tuple[Any, Any]:
    asked = wanted(target="y", members=8, hidden=8, epochs=4, **given)
    with read_rows(TABLE, asked) as rows:
        plan = make_plan(rows, asked)
        how: dict[str, Any] = {"time_budget": None, "device": None, "n_threads": 1, "callbacks": ()}
        return plan, train_networks(plan, seed=0, **how)


def test_a_stretch_gives_each_network_the_same_say() -> None:
    plan, nets = trained()
    choice = by_stretch(plan, nets)

    assert choice is not None and choice.close
    assert len(choice.picks) == N_FOLDS == len(choice.groups)
    assert all(np.isclose(share.sum(), 1) for _, share in choice.picks)
    rows = np.sort(np.concatenate(choice.groups))
    assert np.array_equal(rows, np.arange(len(plan.validation)))


def test_without_all_epochs_there_is_no_stretch() -> None:
    plan, nets = trained()
    for history in nets.histories[:1]:
        history.stop = Stop.DIVERGED
    assert by_stretch(plan, nets) is None
    assert not greedily(plan, nets).close


def test_published_networks_are_chosen_greedily() -> None:
    plan, nets = trained()
    published = replace(plan, config=replace(plan.config, network="mlp"))
    assert by_stretch(published, nets) is None


def test_every_row_is_predicted_once_by_those_that_did_not_train_on_it() -> None:
    plan, nets = trained()
    selected = select(plan, nets)

    assert np.array_equal(np.sort(selected.rows), np.arange(len(plan.validation)))
    assert selected.prediction.shape == (len(plan.validation),)
    assert len(selected.networks) == len(selected.weights) == 8


def test_with_rows_to_validate_on_all_networks_predict_them() -> None:
    plan, nets = trained(validation=0.2)
    selected = select(plan, nets)
    assert np.array_equal(selected.rows, np.arange(len(plan.validation)))
