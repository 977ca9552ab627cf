"""All that is decided before networks train."""

from typing import Any

import numpy as np
import pytest

from multilayer import ConfigError
from multilayer.recipe.plan import Plan, make_plan
from multilayer.recipe.rows import read_rows
from multilayer.recipe.split_rows import N_FOLDS
from tests.recipe.asked import wanted

N = 160
RNG = np.random.default_rng(0)
TABLE: dict[str, Any] = {
    "size": RNG.normal(size=N),
    "city": RNG.choice(["Rome", "Oslo"], N),
    "price": RNG.normal(size=N),
    "sold": RNG.choice(["no", "yes"], N),
}


def plan(target: str, **given: Any) -> Plan:
    asked = wanted(target=target, drop=[name for name in ("price", "sold") if name != target], **given)
    with read_rows(TABLE, asked) as rows:
        return make_plan(rows, asked)


def test_a_table_is_planned_without_training() -> None:
    found = plan("price")
    assert found.task.kind == "regression" and found.facts.target == "price"
    assert found.encoder.schema.names == ("size", "city")
    assert found.train.x.shape == (N, found.network.n_num + len(found.network.cardinalities))
    assert found.folds is not None and sorted(set(found.folds.tolist())) == list(range(N_FOLDS))
    assert found.validation.x is found.train.x


def test_a_share_to_validate_on_takes_the_place_of_folds() -> None:
    found = plan("price", validation=0.25)
    assert found.folds is None and found.facts.n_valid == len(found.validation) == N // 4
    assert len(found.train) == N - N // 4


def test_class_weights_are_in_the_loss_and_not_in_scores() -> None:
    found = plan("sold", class_weight={"yes": 3})
    assert found.class_factors is not None and found.class_factors.tolist() == [1.0, 3.0]
    assert found.to_score.weight is None
    assert found.validation.weight is not None
    assert found.validation.weight.tolist() == np.where(found.validation.code == 1, 3.0, 1.0).tolist()


def test_what_the_user_set_goes_before_the_recipe() -> None:
    assert plan("price", members=3, hidden=8, epochs=2).config.members == 3
    assert plan("price", network="mlp", lr=0.5).config.lr == 0.5


def test_the_same_seed_gives_the_same_plan() -> None:
    one, other = plan("sold", seed=4), plan("sold", seed=4)
    assert np.array_equal(one.train.x, other.train.x) and one.config == other.config
    assert one.folds is not None and other.folds is not None and np.array_equal(one.folds, other.folds)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"class_weight": "balanced"}, "class_weight is for one target of classes"),
        ({"exposure": "size"}, "exposure"),
        ({"monotone": {"city": 1}}, "monotone needs values with an order"),
        ({"monotone": {"size": "up"}}, "monotone takes 'increasing'"),
    ],
)
def test_settings_that_do_not_go_with_the_table_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=message):
        plan("price", **given)
