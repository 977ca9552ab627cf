import copy
import inspect
import logging
import math
import time
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler
from torch.testing import assert_close
from torch.utils.data import DataLoader, Subset, TensorDataset

import multilayer as ml
from multilayer.errors import ConfigError, DataError
from multilayer.nn.blocks import block, mlp
from multilayer.nn.embeddings import TableEmbedding
from multilayer.training import loop, pack, run_length
from multilayer.training.autograd import torch_threads
from multilayer.training.loop import train, train_pack
from multilayer.training.losses import make_loss
from tests.stopwatch import Stopwatch

N_ROWS = 21


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def problem(n_rows=N_ROWS, n_outputs=1):
    """A small network, inputs, and targets that depend on them."""
    x = torch.randn(n_rows, 3)
    return mlp(3, [6], n_outputs), x, (x.cumsum(1) ** 2)[:, :n_outputs]


def weights_of(net):
    return nn.utils.parameters_to_vector(net.parameters()).detach().clone()


def state_of(net):
    return copy.deepcopy(net.state_dict())


def assert_same_state(net, state):
    for name, value in net.state_dict().items():
        assert torch.equal(value, state[name]), name


def batches_of(net):
    """A list that fills with the batches that the network is trained on."""
    seen = []

    def remember(module, inputs):
        if module.training:
            seen.append(inputs[0])

    net.register_forward_pre_hook(remember)
    return seen


class Keeper(list):
    """A callback that keeps the state after each epoch."""

    def __call__(self, progress):
        self.append(state_of(progress.net))


def orders(seed, n_rows=N_ROWS):
    """The order of rows that each epoch draws."""
    rng = np.random.default_rng([seed, 0])
    while True:
        yield torch.from_numpy(rng.permutation(n_rows))


def by_hand(net, x, y, optimizer, *, loss, epochs, batch_size, seed=0, weight=None):
    """The loop as everyone writes it, on one thread as `train` is: PyTorch's BatchNorm1d sums by thread."""
    draws = orders(seed, len(x))
    losses = []
    net.train()
    with torch_threads(1):
        for _ in range(epochs):
            for rows in next(draws).split(batch_size):
                optimizer.zero_grad()
                value = loss(net(x[rows]), y[rows], *([] if weight is None else [weight[rows]]))
                value.backward()
                optimizer.step()
                losses.append(value.item())
    return losses


def distance_to_one(out):
    return (1 - out).abs().mean()


def weighted_mse(out, y, w):
    return ((out - y).square().mean(1) * w).sum() / w.sum()


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_equals_the_loop_by_hand_bit_for_bit(make, weighted):
    net, x, y = problem()
    twin = copy.deepcopy(net)
    weight = torch.rand(N_ROWS) if weighted else None
    history = train(
        net, x, y, loss="mse", optimizer=make, epochs=3, batch_size=6, seed=5, sample_weight=weight
    )
    loss = weighted_mse if weighted else nn.MSELoss()
    options = {"epochs": 3, "batch_size": 6, "seed": 5, "weight": weight}
    expected = by_hand(twin, x, y, make(twin.parameters()), loss=loss, **options)
    assert history.step_loss == expected
    assert_same_state(net, twin.state_dict())


def test_classification_with_norm_equals_the_loop_by_hand():
    net, x, y = mlp(3, [6], 3, norm="batch"), torch.randn(N_ROWS, 3), torch.arange(N_ROWS) % 3
    twin = copy.deepcopy(net)
    make = OPTIMIZERS["adam"]
    history = train(net, x, y, loss="cross_entropy", optimizer=make, epochs=2, batch_size=7)
    loss = nn.CrossEntropyLoss()
    assert history.step_loss == by_hand(
        twin, x, y, make(twin.parameters()), loss=loss, epochs=2, batch_size=7
    )
    assert_same_state(net, twin.state_dict())


def test_the_notes_loop_without_a_target():
    net, x = block(5, 1), torch.randn(100, 5) + 1
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-1)
    history = train(net, x, loss=distance_to_one, optimizer=optimizer, epochs=10, batch_size=100)
    assert len(history.train_loss) == 10
    assert history.train_loss[-1] < history.train_loss[0]


def test_gradients_that_are_never_cleared_give_the_notes_curve():
    net, x = mlp(5, [4], 2), torch.randn(100, 5) + 1
    twin = copy.deepcopy(net)

    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-1)
    optimizer.zero_grad()
    expected = []
    for _ in range(10):
        value = distance_to_one(twin(x))
        value.backward()
        optimizer.step()
        expected.append(value.item())

    make = partial(torch.optim.Adam, lr=1e-1)
    options = {"loss": distance_to_one, "optimizer": make, "epochs": 10, "batch_size": 100, "shuffle": False}
    cleared = copy.deepcopy(net)
    history = train(net, x, accumulate="forever", **options)
    assert history.engine == "autograd"
    assert history.engine_reason == "the kernels clear gradients for each update."
    assert history.train_loss == expected
    assert_same_state(net, twin.state_dict())
    assert train(cleared, x, **options).train_loss != expected


@pytest.mark.parametrize("weighted", [False, True])
def test_two_batches_accumulate_to_one_big_batch(weighted):
    net, x, y = problem()
    twin = copy.deepcopy(net)
    options = {"loss": "mse", "optimizer": OPTIMIZERS["sgd"], "epochs": 3}
    options["sample_weight"] = torch.rand(N_ROWS) if weighted else None
    train(net, x, y, batch_size=5, accumulate=2, **options)
    train(twin, x, y, batch_size=10, **options)
    assert_close(weights_of(net), weights_of(twin))


def test_accumulated_batches_survive_the_pieces_of_an_epoch():
    """An epoch runs in pieces (of eight steps at first), which must not cut a group of batches in two."""
    net, x, y = problem(n_rows=60)
    twin = copy.deepcopy(net)
    options = {"loss": "mse", "optimizer": OPTIMIZERS["sgd"], "epochs": 2}
    train(net, x, y, batch_size=2, accumulate=3, **options)
    train(twin, x, y, batch_size=6, **options)
    assert_close(weights_of(net), weights_of(twin))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=5, max_size=5).filter(any))
def test_a_weight_of_n_is_the_row_n_times(weight):
    net, x, y = problem(n_rows=5)
    twin = copy.deepcopy(net)
    options = {"loss": "mse", "optimizer": OPTIMIZERS["adam"], "epochs": 3, "shuffle": False}
    train(net, x, y, sample_weight=weight, **options)
    rows = np.repeat(np.arange(5), weight)
    train(twin, x[rows], y[rows], **options)
    assert_close(weights_of(net), weights_of(twin), atol=1e-5, rtol=1e-4)


def test_a_batch_without_weight_does_no_harm():
    net, x, y = problem(n_rows=8)
    weight = [0.0] * 4 + [1.0] * 4
    history = train(net, x, y, loss="mse", epochs=2, batch_size=4, shuffle=False, sample_weight=weight)
    assert history.step_loss[0] == 0
    assert history.stopped == "all epochs done"


def test_weights_reach_a_custom_loss():
    net, x, y = problem()
    twin = copy.deepcopy(net)
    weight = np.linspace(0.1, 2, N_ROWS)
    options = {"epochs": 2, "batch_size": 6, "sample_weight": weight, "validation": (x, y)}
    history = train(net, x, y, loss=weighted_mse, **options)
    assert history.val_loss == pytest.approx(train(twin, x, y, loss="mse", **options).val_loss)


# Optimisers


def test_optimizer_as_instance_class_maker_or_none():
    net, x, y = problem()
    start = state_of(net)
    results = []
    for make in [
        lambda: None,
        lambda: torch.optim.Adam,
        lambda: lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
        lambda: torch.optim.Adam(net.parameters(), lr=1e-3),
    ]:
        net.load_state_dict(start)
        train(net, x, y, loss="mse", optimizer=make(), epochs=2)
        results.append(weights_of(net))
    assert all(torch.equal(result, results[0]) for result in results)


def test_an_instance_keeps_its_state_and_rate_from_run_to_run():
    net, x, y = problem()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(2):
        train(net, x, y, loss="mse", optimizer=optimizer, epochs=3, schedule="cosine")
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert optimizer.state[net[0].weight]["step"] == 6


def test_refuses_an_optimizer_that_does_not_fit():
    net, x, y = problem()
    other = torch.optim.Adam(problem()[0].parameters())
    for optimizer, message in [
        (other, "must hold the network's parameters; it holds none of them. Make it from this network"),
        (lambda parameters: "adam", "a maker of one such as torch.optim.Adam; got 'adam'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            train(net, x, y, loss="mse", optimizer=optimizer)


def test_refuses_a_network_with_nothing_to_train():
    net, x, y = problem()
    with pytest.raises(ConfigError, match="needs a network with trainable parameters"):
        train(net.requires_grad_(False), x, y, loss="mse")


def test_frozen_parameters_stay():
    net, x, y = problem()
    net[0].requires_grad_(False)
    frozen, free = net[0].weight.clone(), net[2].weight.detach().clone()
    train(net, x, y, loss="mse", epochs=2)
    assert torch.equal(net[0].weight, frozen)
    assert not torch.equal(net[2].weight, free)


def test_clip_norm_bounds_an_update():
    net, x, y = problem()
    before = weights_of(net)
    train(
        net,
        x,
        100 * y,
        loss="mse",
        optimizer=torch.optim.SGD(net.parameters(), lr=1.0),
        steps=1,
        clip_norm=0.1,
    )
    assert (weights_of(net) - before).norm().item() == pytest.approx(0.1, rel=1e-3)


# Epochs, steps, batches


def test_epochs_steps_and_the_default():
    net, x, y = problem()
    options = {"loss": "mse", "batch_size": 6}
    assert len(train(net, x, y, epochs=2, **options).step_loss) == 8
    history = train(net, x, y, steps=6, **options)
    assert (len(history.step_loss), len(history.train_loss)) == (6, 2)
    assert len(train(net, x, y, **options).train_loss) == 10


def test_train_loss_is_the_mean_over_the_epochs_rows():
    net, x, y = problem()
    history = train(net, x, y, loss="mse", epochs=1, batch_size=6)
    assert history.train_loss[0] == pytest.approx(np.average(history.step_loss, weights=[6, 6, 6, 3]))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_each_row_is_seen_once_an_epoch_and_none_is_left_alone(n_rows, batch_size):
    net, x, y = problem(n_rows)
    seen = batches_of(net)
    train(net, x, y, loss="mse", epochs=1, batch_size=batch_size)
    assert sorted(torch.cat(seen).tolist()) == sorted(x.tolist())
    sizes = [len(batch) for batch in seen]
    if batch_size == 1:
        assert set(sizes) == {1}
    elif n_rows > 1:
        assert min(sizes) > 1
        assert max(sizes) <= batch_size + 1


def test_batchnorm_meets_no_batch_of_one():
    x = torch.randn(9, 3)
    history = train(mlp(3, [4], 1, norm="batch"), x, x[:, :1], loss="mse", epochs=1, batch_size=4)
    assert len(history.step_loss) == 2


def test_without_shuffle_rows_keep_their_order():
    net, x, y = problem()
    seen = batches_of(net)
    train(net, x, y, loss="mse", epochs=2, batch_size=6, shuffle=False)
    assert torch.equal(torch.cat(seen), torch.cat([x, x]))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"epochs": 2, "steps": 3}, "give epochs or steps, not both"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1; got 0"),
        ({"steps": -1}, "steps must be a whole number of at least 1; got -1"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"accumulate": 0}, "accumulate must be"),
        ({"patience": 0}, "patience must be"),
        ({"patience": 3}, "patience watches the validation loss; pass validation"),
        ({"clip_norm": 0.0}, r"clip_norm must be positive; got 0\.0"),
        ({"time_budget": -1.0}, r"time_budget must be positive; got -1\.0"),
        ({"validation": 1.5}, r"a share between 0 and 1; got 1\.5"),
        ({"validation": (1, 2, 3, 4)}, r"must be \(x, y\) or \(x, y, sample_weight\); got 4 parts"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'"),
        ({"loss": "mes"}, "unknown loss 'mes'"),
    ],
)
def test_refuses_a_setting(settings_, message):
    net, x, y = problem()
    before = weights_of(net)
    with pytest.raises(ConfigError, match=message):
        train(net, x, y, **{"loss": "mse", **settings_})
    assert torch.equal(weights_of(net), before)


# Schedules


def test_schedule_runs_over_all_steps():
    net, x, y = problem()
    asked = []

    def schedule(progress):
        asked.append(progress)
        return 1 - progress / 2

    history = train(
        net, x, y, loss="mse", optimizer=OPTIMIZERS["sgd"], epochs=3, batch_size=6, schedule=schedule
    )
    np.testing.assert_allclose(asked, np.arange(12) / 12)
    assert history.lr == pytest.approx([0.05 * (1 - s / 24) for s in (3, 7, 11)])


def test_schedule_reaches_its_end_when_steps_end_within_an_epoch():
    net, x, y = problem()
    asked = []
    train(net, x, y, loss="mse", steps=6, batch_size=6, schedule=lambda p: asked.append(p) or 1.0)
    np.testing.assert_allclose(asked, np.arange(6) / 6)


def test_schedule_sets_the_rate_of_each_step_and_group():
    net, x, y = problem()
    optimizer = torch.optim.SGD(
        [{"params": net[0].parameters(), "lr": 0.1}, {"params": net[2].parameters(), "lr": 0.01}]
    )
    rates = []
    optimizer.register_step_pre_hook(lambda o, *_: rates.append([g["lr"] for g in o.param_groups]))
    train(net, x, y, loss="mse", optimizer=optimizer, steps=4, schedule="linear")
    np.testing.assert_allclose(rates, np.outer([1, 0.75, 0.5, 0.25], [0.1, 0.01]))


# Validation


def test_weights_of_the_best_epoch_come_back():
    """The validation target is the negative of the training target: every epoch makes it worse."""
    net, x, y = problem()
    states = Keeper()
    options = {"optimizer": OPTIMIZERS["sgd"], "epochs": 6, "validation": (x, -y), "callbacks": [states]}
    history = train(net, x, y, loss="mse", **options)
    assert history.best_epoch == 1 + int(np.argmin(history.val_loss)) < 6
    assert_same_state(net, states[history.best_epoch - 1])
    with torch.no_grad():
        assert nn.MSELoss()(net(x), -y).item() == pytest.approx(min(history.val_loss))


def test_running_statistics_come_back_with_the_weights():
    x = torch.randn(20, 3)
    net = mlp(3, [4], 1, norm="batch")
    states, y = Keeper(), x[:, :1]
    options = {"optimizer": OPTIMIZERS["sgd"], "epochs": 5, "validation": (x, -y), "callbacks": [states]}
    history = train(net, x, y, loss="mse", **options)
    assert history.best_epoch < 5
    assert_same_state(net, states[history.best_epoch - 1])
    assert net[2].num_batches_tracked == history.best_epoch


def test_patience_ends_the_run():
    net, x, y = problem()
    history = train(
        net, x, y, loss="mse", optimizer=OPTIMIZERS["sgd"], epochs=50, validation=(x, -y), patience=2
    )
    assert history.epochs == history.best_epoch + 2
    assert history.stopped == "no better validation loss in 2 epochs"


def test_a_share_is_held_out_and_not_trained_on():
    net, x, y = problem()
    seen = {True: [], False: []}
    net.register_forward_pre_hook(lambda module, inputs: seen[module.training].append(inputs[0]))
    train(net, x, y, loss="mse", epochs=1, validation=0.25)
    trained, held = torch.cat(seen[True]).tolist(), seen[False][-1].tolist()
    assert len(held) == 5
    assert sorted(trained + held) == sorted(x.tolist())


def test_a_share_that_leaves_no_rows_is_refused():
    net, x, y = problem(n_rows=2)
    with pytest.raises(DataError, match=r"validation=0\.9 of 2 rows leaves none to train on"):
        train(net, x, y, loss="mse", validation=0.9)


def test_validation_without_a_target():
    net, x, _ = problem()
    history = train(net, x, loss=lambda out: out.square().mean(), epochs=2, validation=(x,))
    assert len(history.val_loss) == 2
    with pytest.raises(ConfigError, match=r"validation must be \(x,\); got 2 parts"):
        train(net, x, loss=lambda out: out.square().mean(), validation=(x, x))


def test_validation_rows_may_have_weights():
    net, x, y = problem()
    history = train(net, x, y, loss="mse", epochs=1, validation=(x, y, [1.0] + [0.0] * (N_ROWS - 1)))
    assert history.val_loss[0] == pytest.approx((net(x[:1]) - y[:1]).square().item(), rel=1e-4)


def test_validation_falls_into_no_shape_trap_either():
    net, x, y = problem()
    with pytest.raises(DataError, match="must have the same shape"):
        train(net, x, y, loss="mse", validation=(x, y[:, 0]))


def test_metrics_are_measured_on_the_validation_rows():
    net, x, y = problem()
    history = train(
        net,
        x,
        y,
        loss="mse",
        epochs=3,
        validation=(x, y),
        metrics={"mse": lambda out, y: ((out - y) ** 2).mean()},
    )
    assert history.metrics["mse"] == pytest.approx(history.val_loss)


# Shapes, labels, values


@pytest.mark.parametrize(
    "loss", ["mse", "mae", "huber", "binary_cross_entropy", lambda out, y: (out - y).square().mean()]
)
def test_a_column_against_a_row_is_refused_before_training(loss):
    net, x, y = problem()
    before = weights_of(net)
    with pytest.raises(DataError, match=r"Pass y\[:, None\], or end the network with nn.Flatten\(0\)"):
        train(net, x, y[:, 0].sigmoid(), loss=loss)
    with pytest.raises(DataError, match=r"Pass y\[:, 0\]"):
        train(nn.Sequential(*net, nn.Flatten(0)), x, y.sigmoid(), loss=loss)
    assert torch.equal(weights_of(net), before)


@pytest.mark.parametrize(
    ("labels", "loss", "n_outputs", "message"),
    [
        ([1, 2, 3] * 7, "cross_entropy", 3, "got 1 to 3. Subtract 1: codes start at 0"),
        ([0.0, 1.0, 2.0] * 7, "cross_entropy", 3, r"class codes as whole numbers .* got torch.float64"),
        (["a", "b", "c"] * 7, "cross_entropy", 3, "y must hold numbers; got an array of type <U1"),
        ([[0], [1], [2]] * 7, "cross_entropy", 3, r"got \(rows, 3\) and \(rows, 1\)\. Pass y.reshape"),
        (
            [0, 1, 1] * 7,
            "cross_entropy",
            1,
            "0 to 0, .* network's 1 outputs; got 0 to 1. .* an output for each",
        ),
        ([[-1], [1], [1]] * 7, "binary_cross_entropy", 1, "from 0 to 1; got values from -1 to 1"),
        ([[1.0], [np.nan], [1]] * 7, "mse", 1, "y must be finite; got nan in row 1, column 0"),
        ([[1.0]] * 20, "mse", 1, "y must have as many rows as x; got 20 and 21"),
    ],
)
def test_wrong_targets_are_refused(labels, loss, n_outputs, message):
    net, x, _ = problem(n_outputs=n_outputs)
    with pytest.raises(DataError, match=message):
        train(net, x, labels, loss=loss)


def test_nan_in_x_is_named():
    net, x, y = problem()
    x[4, 2] = math.nan
    with pytest.raises(DataError, match=r"x must be finite; got nan in row 4, column 2 \(counted from 0\)"):
        train(net, x, y, loss="mse")


def test_x_of_another_width_is_refused():
    net, x, y = problem()
    with pytest.raises(DataError, match=r"cannot take rows of shape \(2,\): .* multilayer.trace"):
        train(net, x[:, :2], y, loss="mse")


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0], r"sample_weight must be 21 finite numbers, .* got shape \(1,\)"),
        ([-1.0] * N_ROWS, "none negative and not all zero"),
        ([0.0] * N_ROWS, "none negative and not all zero"),
        ([[1.0]] * N_ROWS, r"must be 21 finite numbers, .* got shape \(21, 1\)"),
        ([math.inf] * N_ROWS, "sample_weight must be 21 finite numbers"),
    ],
)
def test_wrong_weights_are_refused(weight, message):
    net, x, y = problem()
    with pytest.raises(DataError, match=message):
        train(net, x, y, loss="mse", sample_weight=weight)


def test_every_kind_of_table_trains_alike():
    net, x, y = problem()
    start, results = state_of(net), []
    x64, y64 = x.double().numpy(), y.double().numpy()
    names = ["a", "b", "c"]
    for inputs, target in [
        (x, y),
        (x64, y64),
        (x64.tolist(), y64.tolist()),
        (pd.DataFrame(x64, columns=names), pd.DataFrame(y64)),
        (pl.DataFrame(x64, schema=names), pl.DataFrame(y64, schema=["y"])),
    ]:
        net.load_state_dict(start)
        train(net, inputs, target, loss="mse", epochs=2)
        results.append(weights_of(net))
    assert all(torch.equal(result, results[0]) for result in results)


def test_the_users_arrays_stay_as_they_are():
    net, x, y = problem()
    before = x.clone(), y.clone()
    train(net, x, y, loss="mse", epochs=1)
    assert torch.equal(x, before[0]) and torch.equal(y, before[1])


def test_codes_go_to_an_embedding_and_whole_numbers_to_a_linear():
    codes = np.arange(12).reshape(6, 2) % 4
    net = nn.Sequential(nn.Embedding(4, 3), nn.Flatten(), nn.Linear(6, 1))
    assert train(net, codes, np.ones((6, 1)), loss="mse", epochs=1).epochs == 1
    assert train(nn.Linear(2, 1), codes, np.ones((6, 1)), loss="mse", epochs=1).epochs == 1


def test_double_networks_train_in_double():
    net, x, y = problem()
    train(net.double(), x, y, loss="mse", epochs=1)
    assert net[0].weight.dtype == torch.float64


# What must not change, and what must be the same


def test_same_seed_same_bits_and_another_seed_other_bits():
    def trained(seed):
        torch.manual_seed(0)
        x = torch.randn(40, 3)
        net = mlp(3, [8], 1, dropout=0.3, norm="batch")
        torch.manual_seed(time.perf_counter_ns())  # what the user drew before does not matter
        train(net, x, x[:, :1], loss="mse", epochs=2, batch_size=8, validation=0.2, seed=seed)
        return weights_of(net)

    assert torch.equal(trained(3), trained(3))
    assert not torch.equal(trained(3), trained(4))


def test_nothing_global_changes():
    net, x, y = problem()
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    inside = []

    def looking_mse(out, target):
        inside.append(torch.get_num_threads())
        return ((out - target) ** 2).mean()

    train(net, x, y, loss=looking_mse, epochs=1, threads=before[2] + 1)
    assert set(inside) == {before[2] + 1}
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.get_num_threads() == before[2]
    assert torch.tensor(1e-39).mul(0.5) != 0


def test_nothing_global_changes_when_a_callback_fails():
    net, x, y = problem()
    before = torch.get_rng_state(), torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        train(net, x, y, loss="mse", callbacks=[lambda progress: 1 / 0], threads=before[1] + 1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert torch.tensor(1e-39).mul(0.5) != 0


# How a run ends


def test_callbacks_see_the_progress_and_can_stop():
    net, x, y = problem()
    seen = []

    def stop_at_3(progress):
        seen.append(progress)
        return progress.epoch == 3

    history = train(net, x, y, loss="mse", epochs=9, validation=(x, y), callbacks=[stop_at_3])
    assert [p.epoch for p in seen] == [1, 2, 3]
    assert {p.epochs for p in seen} == {9}
    assert [p.train_loss for p in seen] == history.train_loss
    assert [p.val_loss for p in seen] == history.val_loss
    assert seen[-1].net is net and seen[-1].elapsed_s > 0
    assert history.stopped == "a callback asked to stop"


def interrupt_at(epoch):
    def callback(progress):
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    return callback


def test_an_interrupted_run_keeps_the_best_so_far(caplog):
    net, x, y = problem()
    states = Keeper()
    options = {"optimizer": OPTIMIZERS["sgd"], "epochs": 9, "validation": (x, -y)}
    with caplog.at_level(logging.WARNING, "multilayer"):
        history = train(net, x, y, loss="mse", callbacks=[states, interrupt_at(4)], **options)
    assert history.stopped == "interrupted"
    assert (history.epochs, len(history.val_loss)) == (4, 4)
    assert history.best_epoch < 4
    assert_same_state(net, states[history.best_epoch - 1])
    assert "interrupted; the weights reached so far are kept" in caplog.text


@pytest.mark.parametrize("call", [8, 10])
def test_an_interrupt_within_an_epoch_goes_back_to_the_best_weights(call):
    net, x, y = problem()
    states, calls = Keeper(), []

    def loss(out, y):
        calls.append(1)
        if len(calls) == call:  # an epoch is four batches and a validation
            raise KeyboardInterrupt
        return (out - y).square().mean()

    history = train(net, x, y, loss=loss, batch_size=6, validation=(x, y), callbacks=[states])
    assert (history.stopped, history.best_epoch, len(history.val_loss)) == ("interrupted", 1, 1)
    assert_same_state(net, states[0])


def test_an_interrupted_run_without_validation_keeps_the_last_weights():
    net, x, y = problem()
    history = train(net, x, y, loss="mse", epochs=9, callbacks=[interrupt_at(2)])
    assert (history.stopped, history.best_epoch, history.epochs) == ("interrupted", 2, 2)


@pytest.mark.parametrize("validate", [False, True])
def test_a_run_that_diverges_goes_back_to_finite_weights_and_says_so(validate, caplog):
    net, x, y = problem()
    states = Keeper([state_of(net)])
    history = train(
        net,
        x,
        1e3 * y,
        loss="mse",
        optimizer=torch.optim.SGD(net.parameters(), lr=10.0),
        epochs=30,
        validation=(x, 1e3 * y) if validate else None,
        callbacks=[states],
    )
    assert history.stopped.startswith("diverged: ")
    assert 0 <= history.best_epoch < history.epochs
    assert torch.isfinite(weights_of(net)).all()
    assert_same_state(net, states[history.best_epoch])
    assert "Lower the learning rate, pass clip_norm=1.0, or scale the inputs" in caplog.text
    assert len(history.to_frame()) == history.epochs


def test_weights_that_break_in_the_last_step_count_as_diverged():
    net, x, y = problem()
    before = weights_of(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e38)
    history = train(net, x, 1e6 * y, loss="mse", optimizer=optimizer, epochs=1)
    assert history.stopped == "diverged: the weights are no longer finite after epoch 1"
    assert history.best_epoch == 0
    assert torch.equal(weights_of(net), before)


def test_the_time_budget_is_roughly_kept(monkeypatch):
    clock = Stopwatch().replace(monkeypatch, pack, run_length)
    slow_mse = clock.slow(nn.functional.mse_loss, 0.01)
    net, x, y = problem()
    history = train(net, x, y, loss=slow_mse, epochs=10_000, batch_size=6, schedule="linear", time_budget=0.4)
    assert clock.now_s == pytest.approx(0.4, abs=0.1)
    assert history.stopped == "the time budget was used up"
    assert history.lr[-1] < 0.4 * history.lr[0]  # the schedule was squeezed into the budget


def test_a_budget_shorter_than_an_epoch_ends_within_it(monkeypatch):
    slow_mse = Stopwatch().replace(monkeypatch, pack, run_length).slow(nn.functional.mse_loss, 0.01)
    net, x, y = problem(n_rows=400)
    history = train(net, x, y, loss=slow_mse, epochs=2, batch_size=2, time_budget=0.2)
    assert 0 < len(history.step_loss) < 200
    assert history.stopped == "the time budget was used up"


def test_history_says_what_ran():
    net, x, y = problem()
    history = train(net, x, y, loss="mse", epochs=2, batch_size=6)
    assert history.engine == "autograd"
    assert history.stopped == "all epochs done"
    assert len(history.epoch_time_s) == len(history.lr) == history.epochs == history.best_epoch == 2
    assert all(seconds > 0 for seconds in history.epoch_time_s)
    frame = history.to_frame()
    assert frame["train_loss"].tolist() == history.train_loss


def test_a_named_loss_is_the_module_of_that_name():
    net, x, y = problem()
    twin = copy.deepcopy(net)
    named = train(net, x, y, loss="mse", epochs=2)
    module = train(twin, x, y, loss=make_loss("mse", has_target=True, has_weight=False).module, epochs=2)
    assert named.step_loss == module.step_loss


def test_every_setting_is_described():
    text = inspect.getdoc(train)
    assert [name for name in inspect.signature(train).parameters if f"{name}:" not in text] == []


# Which engine runs


def test_a_short_run_stays_on_autograd_and_says_why():
    net, x, y = problem()
    history = train(net, x, y, loss="mse", steps=999, batch_size=16)
    assert history.engine == "autograd"
    assert history.engine_reason == "a run of 999 steps is too short to gain from the kernels."


def test_a_long_run_of_a_plain_network_goes_to_the_kernels_and_gives_the_same_losses():
    net, x, y = problem()
    twin = copy.deepcopy(net)
    how = {"loss": "mse", "steps": 1000, "batch_size": 16, "schedule": "cosine", "clip_norm": 1.0}
    history = train(net, x, y, **how)
    expected = train(twin, x, y, engine="autograd", **how)

    assert history.engine == "kernels"
    assert expected.engine == "autograd"
    assert expected.engine_reason == "as asked"
    np.testing.assert_allclose(history.step_loss[:100], expected.step_loss[:100], rtol=1e-3)
    assert history.lr == expected.lr


def test_a_layer_that_the_kernels_do_not_know_is_named():
    net = nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=1), nn.Linear(4, 1))
    x = torch.randn(64, 3)
    history = train(net, x, x[:, :1], loss="mse", steps=1000, batch_size=64)
    assert history.engine == "autograd"
    assert history.engine_reason == "the kernels do not know the layer Sequential.1 (Softmax)."
    with pytest.raises(ConfigError, match=r"engine='kernels' cannot run this: .*Softmax.*engine='auto'"):
        train(net, x, x[:, :1], loss="mse", engine="kernels")


def test_an_unknown_engine_is_refused():
    net, x, y = problem()
    with pytest.raises(ConfigError, match="engine must be 'auto', 'kernels' or 'autograd'; got 'fast'"):
        train(net, x, y, loss="mse", engine="fast")


def test_after_the_kernels_every_tensor_owns_its_memory():
    net, x, y = problem()
    optimizer = torch.optim.Adam(net.parameters())
    train(net, x, y, loss="mse", optimizer=optimizer, epochs=2, engine="kernels")

    tensors = [*net.parameters(), *(v for state in optimizer.state.values() for v in state.values())]
    assert all(t.untyped_storage().nbytes() == t.numel() * t.element_size() for t in tensors)


def test_kernels_see_a_callback_stop_and_an_early_stop():
    net, x, y = problem()
    stopped = train(net, x, y, loss="mse", epochs=9, engine="kernels", callbacks=[lambda p: p.epoch == 2])
    assert (stopped.epochs, stopped.stopped) == (2, "a callback asked to stop")
    patient = train(
        net, x, y, loss="mse", epochs=99, engine="kernels", patience=2, validation=(x, -y),
        optimizer=lambda p: torch.optim.SGD(p, lr=1e-3),
    )  # fmt: skip
    assert patient.stopped == "no better validation loss in 2 epochs"
    assert patient.epochs == patient.best_epoch + 2


def test_a_budget_of_half_a_second_is_worth_loading_the_kernels_for():
    net, x, y = problem()
    train(net, x, y, loss="mse", epochs=1, engine="kernels")  # compiled from here on
    how = {"epochs": 500, "batch_size": 6, "patience": 1, "validation": (x, y), "time_budget": 0.5}
    history = train(net, x, y, loss="mse", **how)
    assert history.engine == "kernels"


def test_a_budget_of_nothing_still_takes_a_first_piece():
    net, x, y = problem()
    history = train(net, x, y, loss="mse", epochs=9, time_budget=1e-9, validation=(x, y))
    assert (history.epochs, history.best_epoch) == (1, 1)
    assert history.stopped == "the time budget was used up"


@pytest.mark.parametrize("make", [lambda out: (out, out), lambda out: {"y": out}], ids=["tuple", "dict"])
def test_a_network_that_gives_no_tensor_is_refused(make):
    net, x, y = problem()
    net.register_forward_hook(lambda module, inputs, out: make(out))
    with pytest.raises(DataError, match=r"must give one tensor.*; got (tuple|dict)\. Wrap it in a module"):
        train(net, x, y, loss="mse")


def test_threads_of_the_kernels_change_rounding_only():
    net, x, y = problem(200)
    twin = copy.deepcopy(net)
    for one, threads in ((net, 1), (twin, 2)):
        train(one, x, y, loss="mse", engine="kernels", threads=threads, epochs=3, batch_size=64)
    assert_close(weights_of(net), weights_of(twin), rtol=1e-4, atol=1e-6)


def test_rows_that_come_a_piece_at_a_time_train_as_if_they_were_there() -> None:
    x, y = torch.randn(60, 3), torch.randn(60, 1)
    whole, in_pieces = nn.Linear(3, 1), nn.Linear(3, 1)
    in_pieces.load_state_dict(whole.state_dict())
    more = iter([(x[20:40], y[20:40], None), (x[40:], y[40:], None)])
    shared: dict[str, Any] = {"loss": "mse", "batch_size": 20, "shuffle": False, "schedule": "cosine"}

    train(whole, x, y, epochs=1, **shared)
    (history,) = train_pack([in_pieces], x[:20], y[:20], epochs=3, more_rows=lambda: next(more), **shared)

    assert history.epochs == 3
    for a, b in zip(whole.parameters(), in_pieces.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_pieces_carry_their_own_targets_and_weights(engine: str) -> None:
    x = np.ones((8, 1), np.float32)
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    y = np.array([[5.0]] * 4 + [[100.0]] * 4, np.float32)
    pieces = iter([(x, y, np.array([1.0] * 4 + [0.0] * 4)), (x, x * 5, np.ones(8))])
    train_pack(
        [net], x, x, loss="mse", optimizer=lambda p: torch.optim.SGD(p, lr=0.5), sample_weight=np.ones(8),
        epochs=3, batch_size=8, engine=engine, more_rows=lambda: next(pieces),
    )  # fmt: skip
    assert net.weight.item() == pytest.approx(5)


def test_pieces_must_be_alike_and_stand_alone() -> None:
    x = torch.randn(8, 1)
    with pytest.raises(DataError, match="as many rows each time"):
        train_pack([nn.Linear(1, 1)], x, x, loss="mse", epochs=2, more_rows=lambda: (x[:4], x[:4], None))
    with pytest.raises(ConfigError, match="more_rows"):
        train_pack([nn.Linear(1, 1)], x, x, loss="mse", validation=0.5, more_rows=lambda: (x, x, None))


# ---- what users do around a run


def trained(engine, *, epochs=4, **options):
    """A net of one hidden layer after a run that is the same for both engines, and its history."""
    torch.manual_seed(2)
    net, x = ml.mlp(3, [6], 1), torch.randn(48, 3)
    options = {"loss": "mse", "optimizer": OPTIMIZERS["sgd"], "batch_size": 12, **options}
    history = train(net, x, x.sum(1, keepdim=True), epochs=epochs, engine=engine, **options)
    return net, history


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
@pytest.mark.parametrize(
    ("schedule", "options", "expected"),
    [
        (lambda o: lr_scheduler.StepLR(o, 2, 0.1), {}, [0.05, 0.05, 0.005, 0.005]),
        (partial(lr_scheduler.ExponentialLR, gamma=0.5), {}, [0.05, 0.025, 0.0125, 0.00625]),
        (
            lambda o: lr_scheduler.StepLR(o, 4, 0.5),
            {"schedule_every": "step"},
            [0.05, 0.025, 0.0125, 0.00625],
        ),
        (
            lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=1e9, factor=0.5),
            {"validation": 0.25, "batch_size": 9},
            [0.05, 0.025, 0.0125, 0.00625],
        ),
        (lambda progress: 1 - progress, {}, [0.05 * (1 - s / 16) for s in (3, 7, 11, 15)]),
    ],
    ids=["a maker", "a class and its options", "each step", "by the validation loss", "by progress"],
)
def test_schedules_as_pytorch_documents_them(engine, schedule, options, expected):
    _, history = trained(engine, schedule=schedule, **options)
    assert history.lr == pytest.approx(expected)


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_one_cycle_steps_with_every_update_as_in_a_loop_by_hand(engine):
    def made(optimizer, steps=16):
        return lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)

    seen = []
    net, history = trained(
        engine,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        schedule=made,
        callbacks=[lambda progress: seen.append(progress.lr)],
    )
    by_hand = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    scheduler, rates = made(by_hand), []
    for _ in range(16):
        rates.append(by_hand.param_groups[0]["lr"])
        by_hand.step()
        scheduler.step()
    assert history.lr == pytest.approx(rates[3::4])
    assert seen == history.lr
    with pytest.raises(ConfigError, match="OneCycleLR was made for 8 steps; this run takes 16"):
        trained(engine, optimizer=lambda p: torch.optim.SGD(p, 0.1, 0.9), schedule=partial(made, steps=8))


def test_a_schedulers_instance_belongs_to_the_runs_optimizer():
    net, x, y = problem()
    sgd = OPTIMIZERS["sgd"](net.parameters())
    history = train(net, x, y, loss="mse", optimizer=sgd, schedule=lr_scheduler.StepLR(sgd, 1, 0.1), epochs=2)
    assert history.lr == pytest.approx([0.05, 0.005])
    other = lr_scheduler.StepLR(OPTIMIZERS["sgd"](problem()[0].parameters()), 1)
    for schedule, options, message in [
        (other, {}, "a scheduler of this run's optimizer; it was made for another one"),
        (
            lr_scheduler.ReduceLROnPlateau(sgd),
            {},
            "goes by the validation loss of each epoch; pass validation",
        ),
        ("cosine", {"schedule_every": "step"}, "schedule_every says when a scheduler"),
        ("cosine", {"schedule_every": "batch"}, "must be 'step' or 'epoch'; got 'batch'"),
        (lambda a: a.nothing, {}, "calling it with the optimizer failed: .*nothing"),
        (lambda a: "cosine", {}, "it made str"),
    ]:
        with pytest.raises(ConfigError, match=message):
            train(net, x, y, loss="mse", optimizer=sgd, schedule=schedule, **options)


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_clip_value_bounds_each_gradient(engine):
    net, x, y = problem()
    before = net[0].weight.detach().clone()
    one = {"optimizer": lambda p: torch.optim.SGD(p, lr=1.0), "epochs": 1, "batch_size": len(x)}
    train(net, x, 1e4 * y, loss="mse", clip_value=0.25, engine=engine, **one)
    assert (net[0].weight - before).abs().max().item() == pytest.approx(0.25, rel=1e-5)
    with pytest.raises(ConfigError, match="give clip_norm or clip_value, not both"):
        train(net, x, y, loss="mse", clip_value=1.0, clip_norm=1.0)


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_each_module_stays_in_its_mode(engine, caplog):
    net = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.Dropout(0.9), nn.Linear(4, 1)
    )
    net[1].eval()
    net[3].eval()
    x = torch.randn(40, 3)
    train(net, x, x[:, :1], loss="mse", epochs=2, batch_size=8, engine=engine)
    assert [module.training for module in net.modules()] == [True, True, False, True, False, True]
    assert int(net[1].num_batches_tracked) == 0
    assert int(net[2].num_batches_tracked) == 10
    assert not caplog.records
    net.eval()
    train(net, x, x[:, :1], loss="mse", epochs=2, batch_size=8, engine=engine)
    assert int(net[2].num_batches_tracked) == 10
    assert not any(module.training for module in net.modules())
    assert "The network is in eval() and trains so" in caplog.text


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_parameters_keep_their_memory(engine):
    net, x, y = problem()
    net.share_memory()
    vector = torch.zeros(sum(p.numel() for p in net.parameters()))
    flat, start, views = vector, 0, []
    for p in list(net.parameters())[2:]:
        flat[start : start + p.numel()] = p.detach().reshape(-1)
        p.data = flat[start : start + p.numel()].view(p.shape)
        start += p.numel()
    views = [(p, p.detach().numpy()) for p in net.parameters()]
    seen = []

    def look(progress):
        seen.append(vector.clone())
        vector[:2] = 7.0  # written through a view: the next epoch starts from it

    train(net, x, y, loss="mse", optimizer=OPTIMIZERS["sgd"], epochs=2, engine=engine, callbacks=look)
    assert net[0].weight.is_shared()
    assert all(np.array_equal(p.detach().numpy(), view) for p, view in views)
    assert torch.equal(vector[: net[2].weight.numel()].view_as(net[2].weight), net[2].weight)
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
@pytest.mark.parametrize(
    ("loss", "weighted"),
    [
        (nn.CrossEntropyLoss(), False),
        (nn.CrossEntropyLoss(), True),
        (nn.CrossEntropyLoss(torch.tensor([0.1, 1.0, 3.0])), False),
        (nn.CrossEntropyLoss(torch.tensor([0.1, 1.0, 3.0]), ignore_index=255), True),
        (nn.CrossEntropyLoss(ignore_index=2), False),
        (nn.CrossEntropyLoss(ignore_index=255, reduction="sum"), False),
        (partial(nn.functional.cross_entropy, ignore_index=255), False),
    ],
)
def test_accumulated_batches_are_the_large_batch(engine, loss, weighted):
    torch.manual_seed(0)
    x, y = torch.randn(64, 5), torch.randint(0, 3, (64,))
    if getattr(loss, "ignore_index", 255) == 255:
        y[::7], y[16:32] = 255, 255  # all of one batch
    weight = torch.rand(64) if weighted else None

    def run(k):
        torch.manual_seed(0)
        net = ml.mlp(5, [16], 3)
        train(
            net,
            x,
            y,
            loss=loss,
            optimizer=lambda p: torch.optim.SGD(p, 0.1),
            epochs=1,
            batch_size=64 // k,
            accumulate=k,
            shuffle=False,
            sample_weight=weight,
            engine=engine,
        )
        return net[0].weight.detach()

    torch.testing.assert_close(run(4), run(1), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_a_batch_of_ignored_rows_has_no_loss_and_changes_nothing_as_in_pytorch(engine):
    torch.manual_seed(0)
    net, x, y = ml.mlp(5, [8], 3), torch.randn(32, 5), torch.randint(0, 3, (32,))
    y[8:16] = -100
    options = {"loss": "cross_entropy", "shuffle": False, "batch_size": 8, "engine": engine}
    history = train(net, x, y, optimizer=OPTIMIZERS["sgd"], epochs=3, **options)
    assert np.isnan(history.step_loss).tolist() == [False, True, False, False] * 3
    assert np.isfinite(history.train_loss).all()
    assert history.stopped == "all epochs done"
    assert all(torch.isfinite(p).all() for p in net.parameters())
    with pytest.raises(DataError, match="class codes must be from 0 to 2"):
        train(net, x, y.clamp(min=3), **options)


@pytest.mark.parametrize("answer", [True, np.True_, torch.tensor(True)])
def test_any_true_stops(answer):
    _, history = trained("autograd", callbacks=lambda progress: answer)
    assert (history.epochs, history.stopped) == (1, "a callback asked to stop")


@pytest.mark.parametrize(
    "answer", [None, 1, 0.5, np.float64(1), torch.tensor(1.0), torch.ones(2) > 0, "yes", False]
)
def test_anything_else_does_not_stop(answer):
    assert trained("autograd", callbacks=[lambda progress: answer])[1].epochs == 4


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_a_validation_loss_that_is_never_finite_is_told_and_the_last_weights_stay(engine, caplog):
    def fails_on_validation(out, target):
        return (out - target).square().mean() * (1 if len(out) <= 12 else float("nan"))

    x = torch.randn(20, 3)
    net, history = trained(engine, loss=fails_on_validation, validation=(x, x[:, :1]))
    untrained, _ = trained(engine, epochs=1, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
    assert not torch.equal(net[0].weight, untrained[0].weight)
    assert history.best_epoch == 4
    assert history.stopped == (
        "all epochs done; no epoch had a finite validation loss, so the last weights are kept"
    )
    assert "no epoch had a finite validation loss" in caplog.text


def test_an_optimizer_holds_all_that_trains():
    net, x, y = problem()
    adam = torch.optim.Adam(net.parameters())
    net.append(nn.Linear(1, 1))
    with pytest.raises(ConfigError, match=r"does not hold 3.weight, 3.bias\. Was a layer added or replaced"):
        train(net, x, y, loss="mse", optimizer=adam)
    net[3] = nn.Identity()
    net[2] = nn.Linear(net[2].in_features, 1)
    with pytest.raises(
        ConfigError, match=r"2.weight, 2.bias, and holds parameters that are not the network's"
    ):
        train(net, x, y, loss="mse", optimizer=adam)
    net[2].requires_grad_(False)
    train(net, x, y, loss="mse", optimizer=adam, epochs=1)


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_a_callback_may_add_what_the_optimizer_does_not_hold(engine, caplog):
    net, x, y = problem()
    sgd = OPTIMIZERS["sgd"](net[2].parameters())
    before, at = net[0].weight.detach().clone(), {}

    def add(progress):
        at[progress.epoch] = net[0].weight.detach().clone()
        if progress.epoch == 2:
            sgd.add_param_group({"params": list(net[0].parameters())})

    train(net, x, y, loss="mse", optimizer=sgd, epochs=4, callbacks=add, engine=engine)
    assert torch.equal(at[2], before)
    assert not torch.equal(at[3], before)
    assert "does not hold 0.weight, 0.bias: these parameters stay" in caplog.text


def test_what_the_kernels_cannot_go_on_with_goes_on_with_autograd(monkeypatch):
    monkeypatch.setattr(loop, "FEW_STEPS", 0)
    net, x, y = problem()

    def hook(progress):
        if progress.epoch == 2:
            net[0].register_forward_hook(lambda module, args, out: out * 0.5)

    history = train(net, x, y, loss="mse", epochs=4, callbacks=hook)
    assert history.engine == "autograd"
    assert history.engine_reason == (
        "from epoch 3 on, the kernels before: "
        "layer Sequential.0 (Linear) has hooks, which the kernels would not call."
    )
    net[0]._forward_hooks.clear()
    with pytest.raises(ConfigError, match=r"engine='kernels' cannot go on in epoch 3: layer Sequential\.0"):
        train(net, x, y, loss="mse", epochs=4, callbacks=hook, engine="kernels")


class Stateful(nn.Linear):
    """Counts calls in what is neither parameter nor buffer, and keeps a buffer out of `state_dict`."""

    def __init__(self, d_in, d_out):
        super().__init__(d_in, d_out)
        self.calls = 0
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x):
        if self.training:
            self.calls += 1
            self.seen += 1
        return super().forward(x)

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]


def test_extra_state_and_all_buffers_come_back_with_the_best_epoch():
    net, x = nn.Sequential(Stateful(3, 1)), torch.randn(40, 3)
    rate = iter([0.05, 1.0, 1.0])  # the first epoch is the best one
    history = train(
        net,
        x,
        x[:, :1],
        loss="mse",
        optimizer=lambda p: torch.optim.SGD(p, lr=1.0),
        schedule=lambda progress: next(rate, 1.0) if progress else 0.05,
        epochs=3,
        validation=0.2,
        batch_size=32,
    )
    assert history.best_epoch == net[0].calls == int(net[0].seen)


def test_lbfgs_trains_by_its_closure():
    net, x, y = problem()
    linear = nn.Linear(x.shape[1], 1)
    solution = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), y).solution
    history = train(
        linear,
        x,
        y,
        loss="mse",
        optimizer=lambda p: torch.optim.LBFGS(p, max_iter=50),
        epochs=3,
        batch_size=len(x),
    )
    torch.testing.assert_close(linear.weight.detach().T, solution[:-1], rtol=1e-3, atol=1e-4)
    assert history.engine == "autograd"
    assert history.engine_reason == "the kernels do not know the optimiser LBFGS."
    assert history.train_loss[0] > history.train_loss[-1]
    accumulated = nn.Linear(x.shape[1], 1)
    train(
        accumulated,
        x,
        y,
        loss="mse",
        optimizer=lambda p: torch.optim.LBFGS(p, max_iter=50),
        epochs=3,
        batch_size=len(x) // 4,
        accumulate=4,
    )
    torch.testing.assert_close(accumulated.weight, linear.weight, rtol=1e-3, atol=1e-4)
    with pytest.raises(ConfigError, match="computes them several times for an update"):
        train(net, x, y, loss="mse", optimizer=torch.optim.LBFGS, accumulate="forever")


def test_an_optimizer_without_a_rate():
    class Fixed(torch.optim.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, {"eta": 0.1})

        def step(self, closure=None):
            with torch.no_grad():
                for p in self.param_groups[0]["params"]:
                    p -= 0.1 * p.grad

    _, history = trained("autograd", optimizer=Fixed)
    assert history.train_loss[-1] < history.train_loss[0]
    assert np.isnan(history.lr).all()
    with pytest.raises(ConfigError, match="Fixed has no option lr"):
        trained("autograd", optimizer=Fixed, schedule="cosine")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_networks_of_other_types_train_and_validate(dtype):
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    net, seen = ml.mlp(5, [8], 1).to(dtype), []
    history = train(
        net,
        x,
        x[:, :1],
        loss="mse",
        optimizer=lambda p: torch.optim.SGD(p, lr=0.05),
        epochs=3,
        validation=0.2,
        metrics={"mae": lambda out, y: float(np.abs(out - y).mean())},
        callbacks=lambda progress: seen.append(progress.val_outputs[0].dtype) and None,
    )
    assert history.train_loss[-1] < history.train_loss[0]
    assert len(history.metrics["mae"]) == 3
    assert set(seen) == {np.dtype(np.float64 if dtype == torch.float64 else np.float32)}


class Lookup(nn.Module):
    """An embedding that is not the first layer of the module, beside numbers."""

    def __init__(self):
        super().__init__()
        self.head, self.table = nn.Linear(6, 1), nn.Embedding(10, 4)

    def forward(self, codes, numbers):
        return self.head(torch.cat([self.table(codes), numbers], 1))


@pytest.mark.parametrize("as_dict", [False, True])
def test_several_inputs_and_an_embedding_anywhere(as_dict):
    torch.manual_seed(0)
    codes, numbers = torch.randint(0, 10, (80,)), torch.randn(80, 2)
    y = (codes.float() / 5 + numbers[:, 0])[:, None]
    inputs = {"numbers": numbers, "codes": codes} if as_dict else (codes, numbers.numpy())
    history = train(
        Lookup(),
        inputs,
        y,
        loss="mse",
        optimizer=lambda p: torch.optim.Adam(p, 0.05),
        epochs=30,
        validation=0.25,
    )
    assert min(history.val_loss) < 0.1
    assert history.engine == "autograd"
    with pytest.raises(DataError, match=r"it cannot take rows of shape \(5,\), \(2,\)"):
        train(nn.Linear(5, 1), (torch.zeros(8, 5), torch.zeros(8, 2)), y[:8], loss="mse")


def test_a_loss_of_several_targets():
    x, near, far = torch.randn(40, 3), torch.randn(40, 2), torch.randn(40, 2) + 5
    history = train(nn.Linear(3, 2), x, (near, far), loss=nn.TripletMarginLoss(), epochs=3, validation=0.2)
    assert len(history.val_loss) == 3
    gaussian = train(nn.Linear(3, 2), x, (near, torch.ones(40, 2)), loss=nn.GaussianNLLLoss(), epochs=2)
    assert gaussian.engine == "autograd"
    with pytest.raises(
        ConfigError, match=r"TripletMarginLoss\(anchor, positive, negative\) cannot be called"
    ):
        train(nn.Linear(3, 2), x, near, loss=nn.TripletMarginLoss())


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_weights_reach_a_loss_by_name_or_as_its_last_argument_and_no_option(engine):
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    y = x[:, :1].clone()
    y[:32] += 100  # rows of weight 0 are rubbish
    weight = torch.cat([torch.zeros(32), torch.ones(32)])

    def by_name(out, target, beta=1.0, *, sample_weight=None):
        return (
            sample_weight * nn.functional.smooth_l1_loss(out, target, beta=beta, reduction="none")[:, 0]
        ).mean()

    def last(out, target, w):
        return (w * (out - target)[:, 0].square()).mean()

    options = {
        "optimizer": lambda p: torch.optim.Adam(p, 0.05),
        "epochs": 60,
        "batch_size": 64,
        "engine": engine,
    }
    for loss in (
        by_name,
        last,
        nn.functional.huber_loss,
        partial(nn.functional.huber_loss, delta=2.0),
        "huber",
    ):
        net = nn.Linear(3, 1)
        train(net, x, y, loss=loss, sample_weight=weight, **options)
        assert net(x).mean().abs() < 1
    for loss in (
        lambda out, target, beta=1.0: (out - target).square().mean(),
        lambda *parts: parts[0].mean(),
        lambda out, target, **options: out.mean(),
        nn.functional.cosine_embedding_loss,
    ):
        with pytest.raises(ConfigError, match="sample_weight"):
            train(nn.Linear(3, 1), x, y, loss=loss, sample_weight=weight, **options)


def test_kl_divergence_is_a_mean_over_the_batch():
    torch.manual_seed(0)
    x, p = torch.randn(60, 4), torch.softmax(torch.randn(60, 3), 1)

    def run(k, weight=None):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1))
        loss = nn.KLDivLoss(reduction="batchmean")
        options = {"optimizer": OPTIMIZERS["sgd"], "shuffle": False, "sample_weight": weight}
        history = train(net, x, p, loss=loss, epochs=1, batch_size=60 // k, accumulate=k, **options)
        return net[0].weight.detach(), history.train_loss[0]

    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1))
    assert run(1)[1] == pytest.approx(nn.functional.kl_div(net(x), p, reduction="batchmean").item(), rel=1e-5)
    torch.testing.assert_close(run(3)[0], run(1)[0])
    torch.testing.assert_close(run(1, torch.ones(60))[0], run(1)[0])


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_a_loss_must_depend_on_the_output(engine):
    with pytest.raises(DataError, match="a loss must depend on the network's output"):
        trained(engine, loss=lambda out, target: (out.detach() - target).square().mean())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_trains_within_a_block_without_gradients(context):
    net, x, y = problem()
    with context():
        history = train(net, x, y, loss="mse", epochs=2)
    assert history.train_loss[1] < history.train_loss[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ({"seed": 1.5}, "seed must be a whole number of at least 0; got 1.5"),
        ({"seed": None}, "seed must be a whole number"),
        ({"seed": 2**63}, r"seed must be below 2\*\*63"),
        ({"epochs": True}, "epochs must be a whole number of at least 1; got True"),
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
        ({"time_budget": float("nan")}, "time_budget must be positive; got nan"),
        ({"clip_value": 0.0}, "clip_value must be positive; got 0.0"),
        ({"callbacks": [None]}, "callbacks must be functions of a Progress; got None among them"),
        ({"callbacks": 3}, "callbacks must be functions of a Progress, in a list; got 3"),
        ({"metrics": [len]}, "metrics must be a dict from names to functions"),
        ({"device": "cuda:99"}, "device must be one that PyTorch can use here"),
        ({"device": "meta"}, "device must be one that PyTorch can use here"),
        ({"device": "hpu"}, "device must be one that PyTorch can use here"),
        ({"threads": 10**6}, "threads must be at most 1,024; got 1000000"),
        ({"device": "nowhere"}, "device must be one that PyTorch can use here, such as 'cpu'; got 'nowhere'"),
        ({"threads": 0}, "threads must be a whole number of at least 1"),
        ({"loss": nn.MSELoss}, "a torch.nn loss such as .*, or a function; got the class MSELoss"),
        (
            {"accumulate": "always"},
            "accumulate must be a whole number of at least 1, or 'forever'; got 'always'",
        ),
    ],
)
def test_refuses_a_wrong_value_in_words(options, message):
    net, x, y = problem()
    with pytest.raises(ConfigError, match=message):
        train(net, x, y, **{"loss": "mse", **options})


class Merging(nn.Linear):
    """Adds what it has learnt to its weight in `eval()`, and takes it out again in training, as LoRA does."""

    def __init__(self, d_in, d_out):
        super().__init__(d_in, d_out)
        self.delta, self.merged = nn.Parameter(torch.ones(d_out, d_in)), False

    def train(self, mode=True):
        if self.merged == mode:
            self.weight.data += -self.delta.data if mode else self.delta.data
            self.merged = not mode
        return super().train(mode)

    def forward(self, x):
        weight = self.weight if self.merged else self.weight + self.delta
        return nn.functional.linear(x, weight, self.bias)


def test_modules_whose_train_does_something_come_back_to_training():
    net, x = nn.Sequential(Merging(3, 1)), torch.randn(40, 3)
    start = net[0].delta.detach().clone()
    ml.predict(net, x)
    assert not net[0].merged
    train(net, x, x[:, :1], loss="mse", epochs=2, validation=0.2)
    assert not net[0].merged
    assert net[0].training
    assert not torch.equal(net[0].delta, start)


class Writing(nn.Module):
    """Counts its calls, starts from its first batch, and writes to its input."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls, self.first = nn.Linear(3, 1), 0, None

    def forward(self, x):
        self.calls += 1
        self.first = x.mean().item() if self.first is None else self.first
        x[:, 0] *= 2
        return self.layer(x)


def test_trying_a_network_changes_neither_it_nor_the_rows():
    net, x = Writing(), torch.randn(40, 3)
    before = x.clone()
    seen = []
    train(
        net, x, x[:, :1], loss="mse", epochs=1, batch_size=40, validation=(x, x[:, :1]), callbacks=seen.append
    )
    assert net.calls == 2  # one step, and the validation rows
    assert net.first == pytest.approx(before.mean().item(), abs=1e-6)
    assert torch.equal(x, before)
    ml.predict(net, x)
    assert torch.equal(x, before)
    clipped = nn.Sequential(nn.LeakyReLU(0.5, inplace=True), nn.Linear(3, 1))
    train(clipped, x, x[:, :1], loss="mse", epochs=2, validation=(x, x[:, :1]), engine="autograd")
    assert torch.equal(x, before)


@pytest.mark.parametrize("engine", ["auto", "autograd"])
def test_the_loss_of_validation_rows_sees_the_network_in_evaluation_mode_and_may_differentiate(engine):
    net, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), torch.randn(40, 3)
    modes = []

    def loss(out, target):
        modes.append(net.training)
        point = torch.zeros(2, 3, requires_grad=True)
        (slope,) = torch.autograd.grad(net(point).sum(), point, create_graph=True)
        return (out - target).square().mean() + slope.square().mean()

    options = {"epochs": 2, "batch_size": 20, "engine": engine}
    train(net, x, x[:, :1], loss=loss, validation=(x, x[:, :1]), **options)
    assert modes == [True, True, False] * 2
    assert all(p.grad is None for p in net.parameters())


def test_a_network_that_has_got_other_parts_keeps_its_last_weights(caplog):
    net, x = nn.Sequential(nn.Linear(3, 3)), torch.randn(40, 3)

    def grow(progress):
        if progress.epoch == 1:
            net.append(nn.Linear(3, 3)).requires_grad_(True)[1].requires_grad_(False)

    history = train(
        net,
        x,
        x,
        loss="mse",
        optimizer=lambda p: torch.optim.SGD(p, lr=1.0),
        schedule=lambda progress: 100.0 if progress > 0.4 else 0.01,
        epochs=2,
        batch_size=32,
        validation=0.2,
        callbacks=grow,
    )
    assert history.best_epoch == 2
    assert history.stopped.endswith(
        "the network has got other parts since its best epoch, and stays as it is"
    )


def test_targets_keep_their_digits_under_autocast():
    x, y = torch.randn(40, 3), torch.randn(40, 1) + 100.3
    with torch.autocast("cpu", torch.bfloat16):
        seen = []
        train(
            nn.Linear(3, 1),
            x,
            y,
            loss=lambda out, target: (seen.append(target.dtype), (out - target).square().mean())[1],
            epochs=1,
        )
    assert set(seen) == {torch.float32}


def test_networks_of_a_pack_share_nothing():
    layer, x = nn.Linear(3, 1), torch.randn(8, 3)
    for nets in ([layer, layer], [nn.Sequential(layer), nn.Sequential(layer)]):
        with pytest.raises(ConfigError, match="must have parameters of their own; two of them share some"):
            train_pack(nets, x, x[:, :1], loss="mse", epochs=1)


def test_codes_that_a_callback_changes_are_checked_again():
    embedding = TableEmbedding(2, [20])
    net, x = nn.Sequential(embedding, nn.Linear(embedding.d_out, 1)), torch.randn(40, 3)
    x[:, 2] = 3.0

    def spoil(progress):
        x[:, 2] = 5000.0

    with pytest.raises(
        DataError, match="column 2 holds category codes, whole numbers from 0 to 19; got 5000"
    ):
        train(net, x, x[:, :1], loss="mse", epochs=3, batch_size=16, engine="kernels", callbacks=spoil)


def test_norms_that_mix_rows_see_all_validation_rows_at_once():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 1))
    x = torch.linspace(-1, 1, 9_000)[:, None].repeat(1, 3)
    assert torch.equal(ml.predict(net, x, batch_size=100), net.eval()(x).detach())
    history = [
        train(
            copy.deepcopy(net),
            x,
            x[:, :1],
            loss="mse",
            epochs=1,
            batch_size=3_000,
            validation=(x, x[:, :1]),
            engine=e,
        )
        for e in ("kernels", "autograd")
    ]
    assert history[0].val_loss == pytest.approx(history[1].val_loss, rel=1e-4)


def test_weights_of_a_binary_loss_weigh_as_pytorch_broadcasts_them():
    x, y = torch.randn(12, 4), (torch.rand(12, 3) > 0.5).float()
    for shape in ((3,), (1, 3), (3, 1), (1,)):
        loss = nn.BCEWithLogitsLoss(weight=torch.arange(1.0, math.prod(shape) + 1).reshape(shape))
        trained = []
        for engine in ("kernels", "autograd"):
            torch.manual_seed(1)
            net = nn.Linear(4, 3)
            train(net, x, y, loss=loss, epochs=3, batch_size=3, engine=engine, optimizer=OPTIMIZERS["sgd"])
            trained.append(net.weight.detach())
        torch.testing.assert_close(*trained)


class Masked(nn.Module):
    """Its last column never counts: a frozen parameter says so."""

    def __init__(self):
        super().__init__()
        self.scores, self.out = nn.Linear(3, 3), nn.Linear(3, 1)
        self.mask = nn.Parameter(torch.tensor([0.0, 0.0, -math.inf]), requires_grad=False)

    def forward(self, x):
        return self.out(torch.softmax(self.scores(x) + self.mask, dim=1))


def test_a_frozen_parameter_may_hold_infinities():
    _, x, y = problem()
    net = Masked()
    before = weights_of(net)
    history = train(net, x, y, loss="mse", epochs=3)
    assert history.stopped == "all epochs done"
    moved = (weights_of(net) != before) & weights_of(net).isfinite()
    assert moved.any() and torch.equal(net.mask, torch.tensor([0.0, 0.0, -math.inf]))


@pytest.mark.parametrize("engine", ["autograd", "kernels"])
def test_a_trained_parameter_that_leaves_the_finite_ends_the_run(engine):
    net, x, y = problem()

    def spoil(progress):
        with torch.no_grad():
            net[0].weight[0, 0] = math.nan

    history = train(net, x, y, loss="mse", epochs=3, engine=engine, callbacks=spoil)
    assert history.epochs == 2 and history.stopped.startswith("diverged")


@pytest.mark.parametrize("name", ["x", "y", "dataset", "subset"])
def test_rows_that_are_to_train_are_refused(name):
    net, x, y = problem()
    codes = nn.Parameter(y.clone() if name == "y" else x.clone())
    rows = {
        "x": (codes, y),
        "y": (x, codes),
        "dataset": (TensorDataset(codes, y),),
        "subset": (DataLoader(Subset(TensorDataset(codes, y), range(9))),),
    }[name]
    sgd = torch.optim.SGD([*net.parameters(), codes], lr=0.1)
    with pytest.raises(ConfigError, match="is data, and does not train; the optimizer holds it"):
        train(net, *rows, loss="mse", optimizer=sgd, epochs=1)


def test_rows_that_want_a_gradient_that_nobody_asks_for_are_rows():
    net, x, y = problem()
    assert train(net, x.requires_grad_(), y, loss="mse", epochs=1).epochs == 1
    assert x.grad is None


def test_parameters_that_no_gradient_reaches_are_told_once(caplog):
    net, x, y = problem()
    other, scale = nn.Linear(2, 2), nn.Parameter(torch.ones(()))
    sgd = torch.optim.SGD([*net.parameters(), *other.parameters(), scale], lr=0.1)
    with caplog.at_level(logging.WARNING, "multilayer"):
        train(net, x, y, loss=lambda out, y: (out * scale - y).square().mean(), optimizer=sgd, epochs=3)
    assert caplog.text.count("the first loss does not reach them (2 in all)") == 1
    assert scale.item() != 1


def test_a_plateau_of_a_score_that_is_to_rise_is_refused():
    net, x, y = problem()
    plateau = partial(lr_scheduler.ReduceLROnPlateau, mode="max")
    with pytest.raises(ConfigError, match="validation loss, which is to fall"):
        train(net, x, y, loss="mse", validation=0.2, schedule=plateau, epochs=2)


@pytest.mark.parametrize("engine", ["autograd", "kernels"])
def test_a_subclass_of_cross_entropy_accumulates_by_its_own_mean(engine):
    class Focal(nn.CrossEntropyLoss):
        def forward(self, out, y):
            ce = nn.functional.cross_entropy(out, y, weight=self.weight, reduction="none")
            return ((1 - (-ce).exp()) ** 2 * ce).mean()

    x, y = torch.randn(64, 3), torch.randint(0, 3, (64,))
    weights = []
    for batches in (1, 4):
        torch.manual_seed(0)
        net = mlp(3, [6], 3)
        train(
            net,
            x,
            y,
            loss=Focal(torch.tensor([0.1, 1.0, 3.0])),
            optimizer=lambda p: torch.optim.SGD(p, lr=0.5),
            batch_size=32 // batches,
            accumulate=batches,
            shuffle=False,
            epochs=3,
            engine=engine,
        )
        weights.append(weights_of(net))
    assert_close(*weights, atol=1e-6, rtol=0)


def as_given(kind, values):
    """Rows in a form that a callback can change in place."""
    if kind == "float64 of NumPy":
        return values.double().numpy().copy()
    if kind == "float64":
        return values.double()
    if kind == "DataFrame":
        return pd.DataFrame(values.double().numpy().copy())
    gaps = torch.zeros(len(values), 2 * values.shape[1])
    gaps[:, ::2] = values
    return gaps[:, ::2] if kind == "a view with gaps" else values.clone()


@pytest.mark.parametrize("engine", ["autograd", "kernels"])
@pytest.mark.parametrize("kind", ["float32", "float64", "float64 of NumPy", "DataFrame", "a view with gaps"])
def test_rows_that_a_callback_changes_count_from_then_on(kind, engine):
    _, x, y = problem()
    outputs = {}
    for way in ("in place", "new runs"):
        torch.manual_seed(0)
        net = mlp(3, [6], 1)
        sgd = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        options = {"loss": "mse", "optimizer": sgd, "batch_size": 8, "shuffle": False, "engine": engine}
        given_x, given_y = as_given(kind, x), as_given(kind, y)

        def change(progress, given_x=given_x, given_y=given_y):
            given_x[:] = given_x * 0.5
            given_y[:] = given_y * 2

        if way == "in place":
            train(net, given_x, given_y, epochs=3, callbacks=change, **options)
        else:
            for epoch in range(3):
                train(net, x * 0.5**epoch, y * 2**epoch, epochs=1, **options)
        outputs[way] = ml.predict(net, x)
    assert_close(outputs["in place"], outputs["new runs"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("engine", ["autograd", "kernels"])
def test_held_out_rows_and_weights_that_a_callback_changes_count_from_then_on(engine):
    net, x, y = problem()
    weight, shared = np.ones(len(x)), x.clone()
    frozen = torch.optim.SGD(net.parameters(), lr=0.0)

    def change(progress):
        shared.zero_()
        weight[:] = [0, 2] * 10 + [0]

    seen = []

    def loss(out, y, sample_weight):
        seen.append(sample_weight.sum().item())
        return (sample_weight * (out - y).square().flatten()).mean()

    options = {"loss": loss, "optimizer": frozen, "epochs": 2, "engine": engine, "callbacks": change}
    held_out = train(net, shared, y, sample_weight=weight, validation=(shared, y), **options).val_loss
    assert seen[0] == 21 and seen[-2] == 20
    assert_close(held_out[1], (net(torch.zeros(1, 3)) - y).square().mean().item(), atol=1e-4, rtol=0)
    assert abs(held_out[0] - held_out[1]) > 1e-3
    history = train(net, shared.copy_(x), y, **{**options, "loss": "mse", "validation": 0.5})
    assert abs(history.val_loss[0] - history.val_loss[1]) > 1e-3


@pytest.mark.parametrize("engine", ["autograd", "kernels"])
@pytest.mark.parametrize("schedule", ["cosine", lambda progress: 1 - progress / 2])
def test_accumulated_batches_have_the_rate_of_the_large_batch(schedule, engine):
    _, x, y = problem(72)
    weights = []
    for batches in (1, 4):
        torch.manual_seed(0)
        net = mlp(3, [6], 1)
        train(
            net,
            x,
            y,
            loss="mse",
            optimizer=lambda p: torch.optim.SGD(p, lr=0.2),
            schedule=schedule,
            batch_size=32 // batches,
            accumulate=batches,
            shuffle=False,
            epochs=3,
            engine=engine,
        )
        weights.append(weights_of(net))
    assert_close(*weights, atol=1e-6, rtol=0)


@pytest.mark.parametrize("engine", ["autograd", "kernels"])
def test_a_complex_loss_is_refused(engine):
    net, x, y = problem()
    with pytest.raises(DataError, match="must give a real number for a batch; got a complex one"):
        train(net, x, y, loss=lambda out, y: torch.fft.fft((out - y).flatten()).sum(), engine=engine)


class Weighted(nn.Module):
    """A loss that learns its own weight."""

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, out, y):
        return (out - y).square().mean() * (-self.log_scale).exp() + self.log_scale


@pytest.mark.parametrize(("holds", "frozen", "is_told"), [(0, 0, True), (1, 0, False), (0, 1, False)])
def test_parameters_of_a_loss_that_nobody_trains_are_told(holds, frozen, is_told, caplog):
    net, x, y = problem()
    loss = Weighted().requires_grad_(not frozen)
    sgd = torch.optim.SGD([*net.parameters(), *(loss.parameters() if holds else ())], lr=0.1)
    with caplog.at_level(logging.WARNING, "multilayer"):
        train(net, x, y, loss=loss, optimizer=sgd, epochs=2)
    assert ("does not hold, which stay as they are: log_scale" in caplog.text) == is_told
    assert (loss.log_scale.item() != 0) == bool(holds)


class Force(nn.Module):
    """The gradient of an energy, which a network gives."""

    def __init__(self):
        super().__init__()
        self.energy = mlp(3, [6], 1, activation="tanh")

    def forward(self, x):
        x = x.requires_grad_()
        (force,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)
        return force


def test_a_network_that_differentiates_within_its_forward_pass_trains():
    _, x, _ = problem()
    net = Force()
    by_hand = copy.deepcopy(net)
    sgd = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for _ in range(3):
        sgd.zero_grad()
        (by_hand(x.clone()) - 2 * x).square().mean().backward()
        sgd.step()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    options = {"loss": "mse", "optimizer": optimizer, "epochs": 3, "shuffle": False}
    history = train(net, x, 2 * x, validation=(x, 2 * x), **options)
    assert_same_state(net, by_hand.state_dict())
    assert_close(history.val_loss[-1], (net(x.clone()) - 2 * x).square().mean().item())
    with torch.inference_mode():
        outputs = ml.predict(net, x, batch_size=4)
    assert not outputs.requires_grad and not x.requires_grad
    assert_close(outputs, net(x.clone()).detach())
