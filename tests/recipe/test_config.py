"""Settings of the training, and what the user sets of them."""

from multilayer.recipe.config import Config, Overrides


def test_what_is_not_set_stays() -> None:
    config = Config(members=4, lr=0.1)
    assert Overrides().of(config) == config


def test_what_is_set_replaces() -> None:
    found = Overrides.make(hidden=(5,), members=2, weight_decay=0.0).of(Config())
    assert (found.hidden, found.members, found.weight_decay) == ((5,), 2, 0.0)
    assert found.epochs == Config().epochs
