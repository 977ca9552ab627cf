"""The arguments of `fit` in plain types, or refused."""

import dataclasses
import inspect

import numpy as np
import pytest

from multilayer import ConfigError, fit
from multilayer.recipe import wanted as module
from tests.recipe.asked import wanted
from tests.stopwatch import Stopwatch


def test_numbers_of_numpy_become_plain_ones() -> None:
    asked = wanted(
        target="y", members=np.int64(3), lr=np.float32(0.5), hidden=np.array([8, 4]), seed=np.int32(7)
    )

    overrides = asked.overrides
    assert (overrides.members, overrides.lr, overrides.hidden, asked.seed) == (3, 0.5, (8, 4), 7)
    assert all(type(value) is int for value in (overrides.members, *overrides.hidden, asked.seed))


def test_one_width_is_that_of_two_layers() -> None:
    assert wanted(target="y", hidden=16).overrides.hidden == (16, 16)


@pytest.mark.parametrize("drop", ["a", ["a"], ("a",), iter(["a"])])
def test_names_to_drop_come_in_any_form(drop: object) -> None:
    assert wanted(target="y", drop=drop).drop == ("a",)


def test_it_is_frozen_and_holds_every_argument() -> None:
    asked = wanted(target="y")
    with pytest.raises(dataclasses.FrozenInstanceError):
        asked.seed = 1  # type: ignore[misc]
    gathered = {"objective", "quantiles", "threshold", "kinds", "schema", "infinite", "missing", "thousands"}
    gathered |= {"decimal", "encoding", "header", *vars(asked.overrides)}
    assert set(inspect.signature(fit).parameters) - {"table"} - gathered <= set(vars(asked))


@pytest.mark.parametrize(
    ("given", "guesses"),
    [({}, True), ({"task": "binary"}, False), ({"objective": "huber"}, False), ({"quantiles": 0.5}, False)],
)
def test_says_whether_the_target_decides(given: dict[str, object], guesses: bool) -> None:
    assert wanted(target="y", **given).guesses_task is guesses


def test_a_wrong_value_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ConfigError, match="epochs must be a whole number of at least 1; got 0"):
        wanted(target="y", epochs=0)


def test_time_to_train_is_what_the_budget_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Stopwatch().replace(monkeypatch, module)
    asked = wanted(target="y", time_budget=100)
    clock.advance(20)

    assert asked.seconds_to_train() == pytest.approx(75)  # 95 for training, of which 20 have passed
    clock.advance(1_000)
    assert asked.seconds_to_train() == 0.01
    assert wanted(target="y").seconds_to_train() is None
