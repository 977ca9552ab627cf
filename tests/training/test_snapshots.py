"""Snapshots are kept in bounded number, and the greedy choice is the best that one step can do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from multilayer.training.loop import train_pack
from multilayer.training.snapshots import LastBest, Snapshots, select_greedily


def squared_to_one(mean: np.ndarray) -> np.ndarray:
    return (mean - 1.0) ** 2


def trained(most: int, epochs: int = 6) -> tuple[Snapshots, list]:
    torch.manual_seed(0)
    nets, x = [nn.Linear(2, 1) for _ in range(2)], torch.randn(60, 2)
    kept = Snapshots(most)
    histories = train_pack(
        nets, x, x.sum(1, keepdim=True), loss="mse", epochs=epochs, validation=0.5, callbacks=[kept]
    )
    return kept, histories


def test_the_best_epochs_of_each_network_are_kept() -> None:
    kept, histories = trained(most=3)

    for snapshots, history in zip(kept.of, histories, strict=True):
        best = np.sort(np.argsort(history.val_loss)[:3]) + 1
        assert [snapshot.epoch for snapshot in snapshots] == best.tolist()
        assert [snapshot.loss for snapshot in snapshots] == [history.val_loss[i - 1] for i in best]


def test_snapshots_hold_the_weights_that_gave_their_outputs() -> None:
    torch.manual_seed(0)
    net, x, x_valid = nn.Linear(2, 1), torch.randn(60, 2), torch.randn(9, 2)
    kept = Snapshots(4)
    y, y_valid = x.sum(1, keepdim=True), x_valid.sum(1, keepdim=True)
    train_pack([net], x, y, loss="mse", epochs=5, validation=(x_valid, y_valid), callbacks=[kept])

    for snapshot in kept.of[0]:
        copy = nn.Linear(2, 1)
        copy.load_state_dict(snapshot.weights)
        np.testing.assert_allclose(copy(x_valid).detach().numpy(), snapshot.essence, rtol=1e-5, atol=1e-6)


def test_each_network_can_validate_on_rows_of_its_own() -> None:
    x = torch.randn(40, 2)
    kept = Snapshots(1)
    halves = [np.arange(20), np.arange(20, 40)]
    train_pack(
        [nn.Linear(2, 1), nn.Linear(2, 1)],
        x,
        x.sum(1, keepdim=True),
        loss="mse",
        epochs=2,
        rows=halves,
        validation_rows=halves[::-1],
        callbacks=[kept],
    )

    for (snapshot,), rows in zip(kept.of, halves[::-1], strict=True):
        net = nn.Linear(2, 1)
        net.load_state_dict(snapshot.weights)
        np.testing.assert_allclose(net(x[rows]).detach().numpy(), snapshot.essence, rtol=1e-5, atol=1e-6)


def test_of_epochs_with_the_least_error_the_last_is_kept() -> None:
    torch.manual_seed(0)
    nets, x = [nn.Linear(2, 1) for _ in range(2)], torch.randn(60, 2)
    errors = iter([3.0, 9.0, 1.0, 9.0, float("nan"), 5.0, 1.0, 5.0, 2.0, 6.0])  # of both networks, in turn
    kept = LastBest(lambda output: next(errors))
    train_pack(nets, x, x.sum(1, keepdim=True), loss="mse", epochs=5, validation=0.5, callbacks=[kept])

    assert [[snapshot.epoch for snapshot in of_one] for of_one in kept.of] == [[4], [4]]
    assert kept.of[1][0].weights["weight"].data_ptr() != nets[1].weight.data_ptr()
    assert kept.least == [1.0, 5.0]


@given(st.lists(st.lists(st.floats(-3, 3), min_size=3, max_size=3), min_size=1, max_size=6))
def test_the_mean_is_never_worse_than_the_best_candidate(rows: list[list[float]]) -> None:
    candidates = np.array(rows)
    counts = select_greedily(candidates, squared_to_one, None, most=5)

    mean = np.average(candidates, axis=0, weights=counts)
    assert 1 <= counts.sum() <= 5
    assert squared_to_one(mean).mean() <= squared_to_one(candidates).mean(axis=1).min() + 1e-12


def test_each_step_takes_the_candidate_that_helps_most() -> None:
    candidates = np.random.default_rng(0).normal(size=(5, 8))
    counts = select_greedily(candidates, squared_to_one, None, most=2)

    first = int(squared_to_one(candidates).mean(axis=1).argmin())
    pairs = {i: squared_to_one((candidates[first] + candidates[i]) / 2).mean() for i in range(5)}
    second = min(pairs, key=lambda i: pairs[i])
    expected = np.bincount([first, second], minlength=5)
    assert counts.tolist() == expected.tolist()


def test_repetition_gives_weight() -> None:
    counts = select_greedily(np.array([[0.875], [1.0625]]), squared_to_one, None, most=8)

    assert counts.tolist() == [1, 2]  # (0.875 + 2 x 1.0625) / 3 = 1


def test_rows_of_weight_zero_do_not_choose() -> None:
    candidates = np.array([[1.0, 50.0], [0.0, 1.0]])

    assert select_greedily(candidates, squared_to_one, np.array([1.0, 0.0]), most=1).tolist() == [1, 0]


@pytest.mark.parametrize("most", [1, 3])
def test_where_no_loss_is_a_number_the_first_is_taken(most: int) -> None:
    counts = select_greedily(np.full((2, 3), np.nan), squared_to_one, None, most)

    assert counts.tolist() == [1, 0]
