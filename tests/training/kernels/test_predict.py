"""The compiled forward pass on its own: arguments, buffers, checks of rows."""

import inspect
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from multilayer.errors import DataError
from multilayer.nn.embeddings import TableEmbedding
from multilayer.training.kernels import loop as k
from multilayer.training.kernels.predict import arguments, as_rows, forward_of
from multilayer.training.kernels.readers import read_plan


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(5, 24), nn.ReLU(), nn.BatchNorm1d(24), nn.Dropout(0.5), nn.Linear(24, 3))
    with torch.no_grad():
        net[2].running_mean.uniform_(-1, 1)
        net[2].running_var.uniform_(0.5, 2)
    return net.eval()


def by_torch(net: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return net(torch.from_numpy(x)).numpy()


def test_arguments_stand_in_the_order_of_the_kernel() -> None:
    assert ["mode", *arguments()] == list(inspect.signature(k.run.py_func).parameters)


def test_equals_the_module_whatever_the_number_of_rows() -> None:
    net = network()
    forward = forward_of(read_plan(net))

    for n_rows in (1, 0, 17, 9001, 2):
        x = np.random.default_rng(n_rows).normal(size=(n_rows, 5)).astype(np.float32)
        np.testing.assert_allclose(forward(x), by_torch(net, x), rtol=1e-5, atol=1e-6)


def test_threads_share_a_pass_and_get_the_bits_that_one_gets() -> None:
    forward = forward_of(read_plan(network()))
    tables = [np.random.default_rng(i).normal(size=(500 + i, 5)).astype(np.float32) for i in range(24)]
    expected = [forward(x) for x in tables]

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(forward, tables))

    assert all(map(np.array_equal, got, expected))
    assert len(forward._free) <= 4


def test_weights_are_read_where_they_stand() -> None:
    net = network()
    forward = forward_of(read_plan(net))
    x = np.ones((2, 5), np.float32)

    net[4].bias.data += 1
    assert forward.located.is_current
    np.testing.assert_allclose(forward(x), by_torch(net, x), rtol=1e-5)

    net[4].weight.data = torch.zeros(3, 24)
    assert not forward.located.is_current
    np.testing.assert_allclose(forward_of(read_plan(net))(x), by_torch(net, x), rtol=1e-5)


def test_rows_are_checked_before_a_kernel_reads_them() -> None:
    plan = read_plan(nn.Sequential(TableEmbedding(1, (4, 12)), nn.Linear(13, 1)))
    rows = np.array([[0.5, 3, 11]], np.float32)

    assert np.array_equal(as_rows(rows, plan), rows)
    with pytest.raises(DataError, match=r"takes 3 inputs a row; got \(2,\)"):
        as_rows(rows[:, :2], plan)
    for bad in (12.0, -1.0, np.nan):
        with pytest.raises(DataError, match="column 2 holds category codes, whole numbers from 0 to 11"):
            as_rows(np.array([[0.5, 3, bad]], np.float32), plan)


def test_a_read_only_table_is_copied_as_its_type_would_be_compiled_anew() -> None:
    rows = np.ones((3, 5), np.float32)
    rows.flags.writeable = False

    assert as_rows(rows, read_plan(network())).flags.writeable
