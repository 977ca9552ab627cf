"""Weight decay follows the noise in classes: the rule, when it applies, and what it is good for."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from multilayer import Model, fit
from multilayer.recipe.config import Config
from multilayer.recipe.decay import LEAST, MOST, NoiseDecay, constant_loss, decay_for, follows_noise
from multilayer.training.pack import Progress
from multilayer.training.regression import Regression
from multilayer.training.targets import make_task
from multilayer.training.task import Task

X = np.zeros((6, 1), np.float32)


def task_of(labels: Any) -> Task:
    return make_task(np.array(labels, dtype=object))


def after(epoch: int, val_loss: float | None, epochs: int = 20) -> Progress:
    return Progress(epoch, epochs, 0.5, val_loss, lr=0.01, elapsed_s=0.0, nets=())


def test_decay_is_noise_over_signal_within_its_range() -> None:
    shares = np.linspace(0.01, 1.2, 200)
    decays = np.array([decay_for(share, 1_000) for share in shares])
    assert (np.diff(decays) >= 0).all()
    assert (decays.min(), decays.max()) == (LEAST, MOST)
    inside = (decays > LEAST) & (decays < MOST)
    np.testing.assert_allclose(decays[inside], 0.4 * shares[inside] / (1 - shares[inside]))
    assert decay_for(float("inf"), 1_000) == MOST


def test_many_rows_are_decayed_less() -> None:
    few, many, more = (decay_for(0.6, n_rows) for n_rows in (50_000, 100_000, 10_000_000))
    assert few == decay_for(0.6, 100) == pytest.approx(0.6)
    assert many == pytest.approx(0.3)
    assert more == LEAST


@pytest.mark.parametrize(
    ("labels", "weight"), [(list("aaabbc"), None), (list("aabbcc"), [3, 1, 1, 0.5, 0.25, 0.25])]
)
def test_a_constant_loses_the_entropy_of_the_classes(labels: list[str], weight: list[float] | None) -> None:
    task = task_of(labels)
    weights = None if weight is None else np.array(weight, np.float32)
    code = task.encode(np.array(labels, dtype=object))
    share = np.bincount(code, weights) / np.bincount(code, weights).sum()
    assert constant_loss(task, (X, code, weights)) == pytest.approx(-(share * np.log(share)).sum(), rel=1e-6)


def test_rows_of_one_class_take_the_most_decay() -> None:
    loss = constant_loss(task_of(["a", "b"]), (X, np.zeros(6, np.int64), None))
    assert decay_for(0.01 / loss, 6) == MOST


def test_the_lowest_loss_so_far_decides_after_the_first_tenth() -> None:
    net = nn.Linear(2, 1)
    groups: list[dict[str, Any]] = [
        {"params": [net.weight], "weight_decay": 0.1},
        {"params": [net.bias], "weight_decay": 0.0},
    ]
    optimizers = [torch.optim.AdamW(groups) for _ in range(2)]
    follow = NoiseDecay(optimizers, constant_loss=1.0, n_rows=100)
    seen = []
    for epoch, loss in enumerate([0.5, 0.8, 0.9, None, 0.75, 0.2], start=1):
        follow(after(epoch, loss))
        seen.append([group["weight_decay"] for group in optimizers[1].param_groups])
        assert optimizers[0].param_groups[0]["weight_decay"] == seen[-1][0]
    assert [decay for decay, _ in seen] == pytest.approx([0.1, 0.1, 0.4, 0.4, 0.4, LEAST])
    assert {of_bias for _, of_bias in seen} == {0.0}


def test_only_classes_follow_their_noise_and_only_where_the_user_set_nothing() -> None:
    classes, numbers = task_of(["a", "b"]), Regression.from_target(np.array([1.0, 2.0]))
    assert follows_noise(Config(), classes)
    assert not follows_noise(Config(weight_decay=0.1), classes)
    assert not follows_noise(Config(), numbers)


def learnt(noise: float, **settings: Any) -> tuple[Model, dict[str, Any], np.ndarray]:
    """A model of which of two classes the sign of a sum is, seen through noise; new rows and their signs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1_600, 6))
    signal = x @ np.array([1.0, -1.0, 0.5, 0.0, 0.0, 0.0])
    y = np.where(signal + noise * rng.normal(size=1_600) > 0, "yes", "no").astype(object)
    table = {f"x{i}": x[:, i] for i in range(6)}
    train = {name: values[:800] for name, values in table.items()} | {"y": y[:800]}
    model = fit(train, target="y", seed=0, members=4, **settings)
    return model, {name: values[800:] for name, values in table.items()}, signal[800:]


def test_noisy_classes_are_decayed_more_and_predicted_better_for_it() -> None:
    noisy, rows, signal = learnt(noise=3.0)
    clean, _, _ = learnt(noise=0.0)
    fixed, _, _ = learnt(noise=3.0, weight_decay=0.1)
    assert noisy.history.weight_decay[0] == clean.history.weight_decay[0] == 0.1
    assert noisy.history.weight_decay[-1] > 1 > 0.4 > clean.history.weight_decay[-1]
    assert set(fixed.history.weight_decay) == {0.1}

    truth = signal > 0
    follows, does_not = (np.mean((model.predict(rows) == "yes") == truth) for model in (noisy, fixed))
    assert follows > does_not + 0.02


def test_the_summary_says_how_much() -> None:
    noisy, _, _ = learnt(noise=3.0, epochs=4)
    fixed, _, _ = learnt(noise=3.0, epochs=4, weight_decay=0.25)
    of_noise, given = (model.summary["decisions"][-1] for model in (noisy, fixed))
    decay = noisy.history.weight_decay[-1]
    assert f"weight decay {decay:.2g}, by the noise in the classes;" in of_noise
    assert "weight decay 0.25;" in given
