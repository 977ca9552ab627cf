import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import multilayer as ml
from multilayer.errors import ConfigError, DataError


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.layer = nn.Embedding(5, 3), nn.Linear(3, 2)

    def forward(self, codes, numbers):
        hidden = self.layer(self.table(codes) + numbers)
        return {"mean": hidden, "both": (hidden, hidden[:, 0])}


class Broken(nn.Module):
    def forward(self, x):
        raise KeyError("broken")


def test_predicts_in_batches_in_evaluation_mode_and_puts_modes_back():
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    net[1].eval()
    x = torch.randn(50, 3)
    got = ml.predict(net, x, batch_size=7)
    assert [module.training for module in net] == [True, False, True, True]
    assert not got.requires_grad
    torch.testing.assert_close(got, net.eval()(x).detach())


def test_modes_are_put_back_after_an_error():
    net = nn.Sequential(nn.Linear(3, 3), Broken())
    with pytest.raises(KeyError):
        ml.predict(net, torch.zeros(2, 3))
    assert all(module.training for module in net.modules())


@pytest.mark.parametrize("make", [np.asarray, pd.DataFrame, torch.as_tensor, TensorDataset])
def test_takes_what_train_takes(make):
    net, x = nn.Linear(3, 1), torch.randn(9, 3)
    rows = make(x) if make in (TensorDataset, torch.as_tensor) else make(x.numpy())
    torch.testing.assert_close(ml.predict(net, rows), net(x).detach())
    loader = DataLoader(TensorDataset(x, torch.zeros(9)), batch_size=4)
    torch.testing.assert_close(ml.predict(net, loader), net(x).detach())


def test_several_inputs_and_outputs():
    net, codes, numbers = Two(), np.arange(10) % 5, np.ones((10, 3))
    got = ml.predict(net, (codes, numbers), batch_size=4)
    assert got["mean"].shape == (10, 2)
    assert got["both"][1].shape == (10,)
    named = ml.predict(net, {"numbers": numbers, "codes": codes})
    torch.testing.assert_close(named["mean"], got["mean"])


def test_gives_the_type_of_the_network():
    assert ml.predict(nn.Linear(2, 1).bfloat16(), [[1.0, 2.0]]).dtype == torch.bfloat16
    assert ml.predict(nn.Linear(2, 1).double(), [[1, 2]]).dtype == torch.float64


@pytest.mark.parametrize(
    ("net", "x", "options", "error", "message"),
    [
        (
            nn.Linear(3, 1),
            torch.zeros(2, 3),
            {"batch_size": 0},
            ConfigError,
            "batch_size must be a whole number",
        ),
        (nn.Linear(3, 1), torch.zeros(0, 3), {}, DataError, "at least one row"),
        (nn.Linear(3, 1), torch.zeros(2, 4), {}, DataError, r"cannot take rows of shape \(4,\)"),
        (
            nn.Linear(3, 1),
            DataLoader([torch.zeros(4), torch.zeros(4)]),
            {},
            DataError,
            r"cannot take rows of shape \(4,\)",
        ),
        (nn.Flatten(0), torch.zeros(2, 3), {}, DataError, r"2 rows gave an output of shape \(6,\)"),
        (
            nn.Linear(3, 1),
            DataLoader(TensorDataset(torch.zeros(4, 3)), shuffle=True),
            {},
            DataError,
            "gives rows in their order, and this DataLoader draws them with a RandomSampler",
        ),
    ],
)
def test_refuses(net, x, options, error, message):
    with pytest.raises(error, match=message):
        ml.predict(net, x, **options)
