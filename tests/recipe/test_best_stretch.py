"""The stretch of epochs over which networks are averaged, and where a greedy choice takes its place."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from multilayer import Model, fit
from multilayer.recipe import selection
from multilayer.recipe.best_stretch import Judged, are_complete, best_stretch, loss_of_all, stretch
from multilayer.recipe.config import Config
from multilayer.recipe.trained import most_snapshots
from multilayer.tasks.make import make_task
from multilayer.tasks.regression import Regression
from multilayer.training.history import History, Stop
from multilayer.training.snapshots import Snapshot

TASK = Regression.from_target(np.array([-1.0, 1.0]))


def snapshots(errors: list[float], n_rows: int = 4) -> list[Snapshot]:
    """Of a network that is off by so much, for each row of target 0, after each epoch."""
    return [
        Snapshot(0, epoch, error**2, np.full(n_rows, error), {"w": torch.tensor([float(epoch)])})
        for epoch, error in enumerate(errors, start=1)
    ]


def epochs(kept: list[Snapshot]) -> list[int]:
    return [snapshot.epoch for snapshot in kept]


class TestLossOfAll:
    def test_what_more_networks_take_off_is_read_from_two(self) -> None:
        """Twelve networks, of which one or two judge each fold, against the mean of all twelve."""
        rng, n = np.random.default_rng(0), 4_000
        noise, shared = rng.normal(size=(12, 1, 8, n)), rng.normal(size=(1, 8, n))
        said = noise + 0.5 * shared  # by network: all share an error that no mean takes off
        judged = [
            Judged([said[i][:, fold] for i in range(fold, 12, 8)], np.zeros(n), np.ones(n))
            for fold in range(8)
        ]

        expected = np.mean((said.mean(0) / TASK.scale) ** 2)
        single = np.mean((said[0] / TASK.scale) ** 2)

        assert loss_of_all(judged, TASK, 12)[0] == pytest.approx(expected, rel=0.05)
        assert single > 3 * expected

    def test_one_network_a_fold_is_judged_as_it_is(self) -> None:
        judged = [Judged([np.array([[float(fold)]])], np.zeros(1), np.ones(1)) for fold in (1, 3)]
        assert loss_of_all(judged, TASK, 2)[0] * TASK.scale**2 == pytest.approx(5)

    def test_weights_of_rows_count(self) -> None:
        judged = [Judged([np.array([[1.0, 3.0]])], np.zeros(2), np.array([3.0, 1.0]))]
        assert loss_of_all(judged, TASK, 1)[0] * TASK.scale**2 == pytest.approx(3)


class TestBestStretch:
    def test_all_networks_take_the_epochs_that_are_best_together(self) -> None:
        falling_then_rising = [abs(epoch - 15) + 1.0 for epoch in range(1, 21)]
        of = [snapshots(falling_then_rising), snapshots(falling_then_rising)]

        kept, loss = best_stretch(of, TASK, np.zeros(4), None, [np.arange(4)])

        assert [epochs(one) for one in kept] == [[13, 14, 15, 16, 17]] * 2
        assert loss * TASK.scale**2 == pytest.approx(2.2**2)  # of the mean over the five

    def test_errors_that_cancel_across_networks_do_not_count(self) -> None:
        """Alone each is best at epoch 10, together they get better to the end."""
        late = [0.1 * epoch for epoch in range(1, 21)]
        shared = [2.0 - 0.1 * epoch for epoch in range(1, 21)]
        of = [
            snapshots([common + sign * own for common, own in zip(shared, late, strict=True)])
            for sign in (1, -1)
        ]

        kept, _ = best_stretch(of, TASK, np.zeros(4), None, [np.arange(4)])

        assert epochs(kept[0]) == [16, 17, 18, 19, 20]

    def test_a_network_that_ended_before_takes_its_last_epochs(self) -> None:
        better = [1 / epoch for epoch in range(1, 21)]
        kept, _ = best_stretch(
            [snapshots(better), snapshots(better[:8])], TASK, np.zeros(4), None, [np.arange(4)]
        )
        assert [epochs(one) for one in kept] == [[16, 17, 18, 19, 20], [7, 8]]

    def test_an_epoch_of_a_short_run_stands_alone(self) -> None:
        assert [stretch(n, n) for n in (1, 2, 4, 8)] == [(0, 1), (1, 2), (3, 4), (6, 8)]

    def test_complete_are_networks_that_forgot_no_epoch(self) -> None:
        of = snapshots([1.0, 1.0, 1.0])
        three = History(val_loss=[1.0] * 3)
        assert are_complete([of, of], [three, three])
        assert not are_complete([of, of[:2]], [three, three])
        assert not are_complete([of, []], [three, History()])
        assert not are_complete([of], [History(val_loss=[1.0] * 3, stop=Stop.DIVERGED)])


def greedy_calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    greedily = selection.greedily
    monkeypatch.setattr(selection, "greedily", lambda *args: calls.append(args) or greedily(*args))
    return calls


def deep(model: Model) -> tuple[int, tuple[float, ...]]:
    """How many networks there are beside a linear one, and their weights."""
    assert model.weights is not None
    n = len(model.networks) - (model.linear is not None)
    return n, model.weights[:n]


class TestModels:
    x = np.random.default_rng(0).normal(size=(600, 4))

    def test_a_network_a_member_of_the_same_epochs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = greedy_calls(monkeypatch)
        model = fit(self.x, y=self.x[:, 0] * self.x[:, 1], epochs=20, members=4, patience=20)

        assert not calls
        assert deep(model) == (4, (1.0,) * 4)
        assert model.score["r2"] > 0.5

    @pytest.mark.parametrize("objective", ["poisson", "gamma", "tweedie", "absolute_error", "log"])
    def test_also_with_objectives_whose_losses_may_be_negative(self, objective: str) -> None:
        y = np.round(20 * np.exp(0.5 * self.x[:, 0]) + 1)
        model = fit(self.x, y=y, objective=objective, epochs=12, members=3)
        assert deep(model) == (3, (1.0,) * 3)

    def test_also_with_several_targets_quantiles_and_labels(self) -> None:
        y = np.column_stack([self.x[:, 0], self.x[:, 1] + 1])
        assert deep(fit(self.x, y=y, epochs=8, members=2))[0] == 2
        assert deep(fit(self.x, y=y[:, 0], quantiles=(0.1, 0.5, 0.9), epochs=8, members=2))[0] == 2
        labels = fit(self.x, y=(y > 0.5).astype(int), task="multilabel", epochs=20, members=2, lr=0.03)
        assert deep(labels)[0] == 2

    def test_ctrl_c_in_the_first_epoch_leaves_a_model(self) -> None:
        def interrupt(progress: Any) -> None:
            raise KeyboardInterrupt

        model = fit(self.x, y=self.x[:, 0], members=3, callbacks=[interrupt])
        assert np.isfinite(model.predict(self.x)).all()
        assert model.summary["interrupted"]
        assert "time was short" not in "\n".join(model.summary["decisions"])

    def test_noisy_classes_are_chosen_for_greedily(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = greedy_calls(monkeypatch)
        noise = np.random.default_rng(1).normal(size=600)
        fit(self.x, y=self.x[:, 0] + 2 * noise > 0, epochs=8, members=2)
        assert len(calls) == 1
        fit(self.x, y=self.x[:, 0] > 0, epochs=8, members=2)  # no noise
        assert len(calls) == 1

    def test_networks_worse_than_a_constant_are_chosen_for_greedily(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = greedy_calls(monkeypatch)
        noise = np.random.default_rng(1).normal(size=60)
        fit(self.x[:60], y=noise, epochs=20, members=1, lr=0.05)  # learnt by heart
        assert len(calls) == 1

    def test_published_networks_stay_their_papers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = greedy_calls(monkeypatch)
        fit(self.x, y=self.x[:, 0], network="mlp", epochs=2)
        assert len(calls) == 1


class TestMemory:
    def test_all_epochs_are_kept_where_there_is_room(self) -> None:
        net, many = nn.Linear(10, 10), make_task(np.arange(1000), "multiclass")
        assert many.essence(np.zeros((5, 1000), np.float32), np.arange(5)).shape == (5,)
        assert most_snapshots([net], Config(), many, 20_000, every_epoch=True) == Config().epochs

    def test_else_the_best(self) -> None:
        config, net = Config(), nn.Linear(10, 10)
        several = make_task(
            np.array([(*range(1000),), (*range(1, 1001),)], dtype=[(f"t{i}", float) for i in range(1000)])
        )
        assert 1 <= most_snapshots([net], config, several, 20_000, every_epoch=True) < config.snapshots
        number = make_task(np.array([0.0, 1.0]))
        assert most_snapshots([net], config, number, 100, every_epoch=False) == config.snapshots
        wide = nn.Linear(3_000, 3_000)
        assert most_snapshots([wide] * 3, config, number, 100, every_epoch=True) == config.snapshots
