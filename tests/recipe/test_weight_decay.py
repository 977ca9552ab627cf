"""Weight decay follows the noise in classes: the rule, when it applies, and what it is good for."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from multilayer import Model, fit
from multilayer.recipe.config import Config
from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.recipe.weight_decay import LEAST, MOST, NoiseDecay, constant_loss, decay_for, follows_noise
from multilayer.tasks.make import make_task
from multilayer.tasks.regression import Regression
from multilayer.tasks.task import Task
from multilayer.training.pack import Progress

X = np.zeros((6, 1), np.float32)


def task_of(labels: Any) -> Task:
    return make_task(np.array(labels, dtype=object))


def after(epoch: int, train_loss: float, val_loss: float | None) -> Progress:
    return Progress(epoch, 20, train_loss, val_loss, lr=0.01, elapsed_s=0.0, nets=())


def test_decay_is_noise_over_signal_within_its_range() -> None:
    shares = np.linspace(0.01, 1.2, 200)
    decays = np.array([decay_for(share) for share in shares])
    assert (np.diff(decays) >= 0).all()
    assert (decays.min(), decays.max()) == (LEAST, MOST)
    inside = (decays > LEAST) & (decays < MOST)
    np.testing.assert_allclose(decays[inside], 0.4 * shares[inside] / (1 - shares[inside]))
    assert decay_for(float("inf")) == MOST


@pytest.mark.parametrize(
    ("labels", "weight"), [(list("aaabbc"), None), (list("aabbcc"), [3, 1, 1, 0.5, 0.25, 0.25])]
)
def test_a_constant_loses_the_entropy_of_the_classes(labels: list[str], weight: list[float] | None) -> None:
    task = task_of(labels)
    weights = None if weight is None else np.array(weight, np.float32)
    code = task.encode(np.array(labels, dtype=object))
    share = np.bincount(code, weights) / np.bincount(code, weights).sum()
    assert constant_loss(task, EncodedRows(X, code, weights)) == pytest.approx(
        -(share * np.log(share)).sum(), rel=1e-6
    )


def test_rows_of_one_class_take_the_most_decay() -> None:
    loss = constant_loss(task_of(["a", "b"]), EncodedRows(X, np.zeros(6, np.int64)))
    follow = NoiseDecay([torch.optim.AdamW(nn.Linear(2, 1).parameters())], loss)
    assert decay_for(0.01 / follow.constant_loss) == MOST


def decays(losses: list[tuple[float, float | None]]) -> list[float]:
    """After each epoch of these training and validation losses, of two networks' weights alike."""
    net = nn.Linear(2, 1)
    groups: list[dict[str, Any]] = [
        {"params": [net.weight], "weight_decay": LEAST},
        {"params": [net.bias], "weight_decay": 0.0},
    ]
    optimizers = [torch.optim.AdamW(groups) for _ in range(2)]
    follow = NoiseDecay(optimizers, constant_loss=1.0)
    seen = []
    for epoch, (train_loss, val_loss) in enumerate(losses, start=1):
        follow(after(epoch, train_loss, val_loss))
        of_weight, of_bias = zip(
            *([g["weight_decay"] for g in o.param_groups] for o in optimizers), strict=True
        )
        assert len(set(of_weight)) == 1
        assert set(of_bias) == {0.0}
        seen.append(of_weight[0])
    return seen


def test_what_is_learnt_by_heart_is_decayed_by_the_lowest_loss_so_far() -> None:
    seen = decays([(0.9, 0.8), (0.6, 0.6), (0.5, 0.7), (0.4, 0.65), (0.4, None), (0.5, 0.5), (0.4, 0.1)])
    assert seen == pytest.approx([LEAST, LEAST, LEAST, 0.6, 0.6, 0.4, LEAST])


def test_what_is_hard_to_learn_is_not_taken_for_noise() -> None:
    stuck = [(0.99, 1.0), (0.98, 1.01), (0.98, 1.01), (0.97, 1.0)]  # nothing is learnt, nor learnt by heart
    falling = [(0.9 - 0.1 * i, 1 - 0.1 * i) for i in range(5)]  # a gap, but there is more to learn
    assert set(decays(stuck)) == set(decays(falling)) == {LEAST}


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
    wide_and_long: dict[str, Any] = {"members": 4, "hidden": 96, "epochs": 20}  # learns noise by heart
    model = fit(train, target="y", seed=0, **{**wide_and_long, **settings})
    return model, {name: values[800:] for name, values in table.items()}, signal[800:]


def test_noisy_classes_are_decayed_more_and_predicted_better_for_it() -> None:
    noisy, rows, signal = learnt(noise=4.0)
    clean, _, _ = learnt(noise=0.0)
    fixed, _, _ = learnt(noise=4.0, weight_decay=0.1)
    assert noisy.history.weight_decay[0] == clean.history.weight_decay[0] == LEAST
    assert noisy.history.weight_decay[-1] > 1 > 0.4 > clean.history.weight_decay[-1]
    assert set(fixed.history.weight_decay) == {0.1}

    follows, does_not = (
        spearmanr(model.predict_proba(rows)[:, 1], signal).statistic for model in (noisy, fixed)
    )
    assert follows > does_not + 0.02


def test_a_pattern_that_takes_many_steps_is_learnt() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-2, 2, size=(2, 2_400))
    black = np.where((np.floor(x) + np.floor(y)) % 2 == 0, "black", "white").astype(object)
    model = fit({"x": x, "y": y, "colour": black}, target="colour", seed=0)
    assert model.score["accuracy"] > 0.95


def test_the_summary_says_how_much() -> None:
    noisy, _, _ = learnt(noise=3.0, epochs=8)
    fixed, _, _ = learnt(noise=3.0, epochs=8, weight_decay=0.25)
    of_noise, given = ("\n".join(model.summary["details"]) for model in (noisy, fixed))
    decay = noisy.history.weight_decay[-1]
    assert f"weight decay {decay:.2g} (more, the more a row's class depends on chance)\n" in of_noise
    assert "weight decay 0.25\n" in given
