"""Snapshots of one network become one network, unless their mean predicts worse than they do."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from multilayer import fit
from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.recipe.selection import merged_if_as_good
from multilayer.tasks.make import make_task
from multilayer.training.snapshots import Snapshot, mean_weights

CONFIG = NetworkConfig(n_num=3, cardinalities=(), periodic=(), hidden=(16,), d_out=1)
SHARE = np.array([0.5, 0.5])
RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = RNG.normal(size=50)
TASK = make_task(Y, None)
ROWS = EncodedRows(X, TASK.encode(Y))


def snapshot(net: nn.Module, member: int = 0) -> Snapshot:
    with torch.no_grad():
        essence = TASK.essence(net(torch.from_numpy(X)).numpy(), ROWS.code)
    return Snapshot(member, 1, 0.0, essence, net.state_dict())


def one_a_member(
    kept: list[Snapshot], share: np.ndarray, rows: EncodedRows = ROWS
) -> tuple[list[nn.Module], Any]:
    made = merged_if_as_good(kept, share, network(), TASK, rows, by_kernels=False)
    return made.networks, made.share


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return CONFIG.build().eval()


def nearby(net: nn.Module) -> nn.Module:
    twin = network()
    twin.load_state_dict({name: value * 1.001 for name, value in net.state_dict().items()})
    return twin


def with_units_in_another_order(net: nn.Module) -> nn.Module:
    """The same function of other weights: their mean is another function."""
    twin = network()
    order = torch.arange(16).flip(0)
    linear = [(name, value) for name, value in net.state_dict().items()]
    first, bias, last = (name for name, _ in linear if name.startswith(("1.", "3.")) and name != "3.bias")
    state = net.state_dict()
    twin.load_state_dict(
        state | {first: state[first][order], bias: state[bias][order], last: state[last][:, order]}
    )
    return twin


def test_neighbours_become_one_with_the_mean_of_their_weights() -> None:
    one, other = network(), nearby(network())

    (merged,), share = one_a_member([snapshot(one), snapshot(other)], SHARE)

    assert share.tolist() == [1.0]
    for value, before in zip(merged.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(value, 1.0005 * before)


def test_networks_whose_mean_predicts_worse_stay_apart() -> None:
    one = network()
    twin = with_units_in_another_order(one)
    with torch.no_grad():
        outputs = one(torch.from_numpy(X)).numpy()
        np.testing.assert_allclose(twin(torch.from_numpy(X)).numpy(), outputs, atol=1e-5)
    truth = TASK.link(outputs) + 0.001  # they predict well, so that spoiling it shows

    networks, share = one_a_member([snapshot(one), snapshot(twin)], SHARE, EncodedRows(X, truth))

    assert (len(networks), share.tolist()) == (2, [0.5, 0.5])


def test_members_are_never_mixed() -> None:
    one, other = network(0), network(1)
    kept = [snapshot(one, 0), snapshot(other, 1), snapshot(nearby(one), 0)]

    networks, share = one_a_member(kept, np.array([0.25, 0.5, 0.25]))

    assert share.tolist() == [0.5, 0.5]
    torch.testing.assert_close(networks[1].state_dict(), other.state_dict())


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_the_mean_keeps_types(dtype: torch.dtype) -> None:
    states = [{"a": torch.tensor([1, 3]).to(dtype)}, {"a": torch.tensor([3, 5]).to(dtype)}]

    mean = mean_weights(states, np.array([1.0, 1.0]))["a"]

    assert mean.dtype == dtype
    assert mean.tolist() == ([2.0, 4.0] if dtype.is_floating_point else [3, 5])


def test_a_fit_predicts_with_one_network_a_member() -> None:
    table = {"x": np.linspace(-2, 2, 160), "y": np.linspace(-2, 2, 160) ** 2}

    model = fit(table, target="y", hidden=8, epochs=12, members=3, lr=3e-3)

    assert len(model.networks) - (model.linear is not None) == 3
    (said,) = (words for words in model.summary["decisions"] if words.startswith("networks: "))
    assert "networks: 3 with hidden layers of 8 and 8 units; the model predicts with their mean" in said
