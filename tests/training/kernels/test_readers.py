"""What the reader of modules takes, what it refuses, and in which words."""

import copy
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from multilayer.nn.blocks import Residual
from multilayer.nn.embeddings import PeriodicEmbedding, TableEmbedding
from multilayer.training.kernels import loop as k
from multilayer.training.kernels.engine import KernelEngine
from multilayer.training.kernels.plan import UnknownToKernels
from multilayer.training.kernels.readers import read_plan


def names(net: nn.Module) -> list[str]:
    return [forward.__name__ for forward, _ in read_plan(net).kernels]


def test_reads_nested_modules_in_order_and_joins_a_relu_to_its_linear() -> None:
    net = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(4, 6), nn.Identity(), nn.ReLU(), nn.ReLU(), nn.BatchNorm1d(6)),
        Residual(nn.Sequential(nn.ReLU(), nn.Linear(6, 6, bias=False), nn.ReLU(), nn.Dropout(0.5))),
        nn.Dropout(0.0),
        nn.Linear(6, 1),
        nn.Flatten(0),
    )
    plan = read_plan(net)

    assert names(net) == [
        "linear",
        "relu",
        "batch_norm",
        "fork",
        "relu",
        "linear",
        "dropout",
        "join",
        "linear",
    ]
    assert plan.ops[[0, 5, 8], k.AUX].tolist() == [1, 1, 0]
    assert (plan.d_in, plan.d_out, plan.flattens, plan.mixes_rows) == (4, 1, True, "training")


def test_every_tensor_has_its_own_place_on_a_cache_line() -> None:
    net = nn.Sequential(
        nn.Linear(3, 5), nn.BatchNorm1d(5), nn.LayerNorm(5, bias=False), nn.Linear(5, 2, bias=False)
    )
    plan = read_plan(net)

    floats = [t for t in [*net.parameters(), *net.buffers()] if t.is_floating_point()]
    assert {id(slot.tensor) for slot in plan.slots} == {id(t) for t in floats}
    assert all(slot.start % 16 == 0 for slot in plan.slots)
    ends = [slot.stop for slot in plan.slots]
    assert all(slot.start >= end for slot, end in zip(plan.slots[1:], ends, strict=False))
    assert plan.slots[0].start >= 2 * plan.ones


def test_gradients_stop_where_nothing_below_trains() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    net[0].requires_grad_(False)
    net[2].bias.requires_grad_(False)

    needs = read_plan(net).ops[:, k.NEEDS].tolist()
    assert needs == [0, k.NEEDS_WEIGHT, k.NEEDS_INPUT, k.NEEDS_WEIGHT | k.NEEDS_INPUT]


def test_reading_changes_nothing_in_the_module() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before, places = copy.deepcopy(net.state_dict()), [p.data_ptr() for p in net.parameters()]

    read_plan(net)

    assert [p.data_ptr() for p in net.parameters()] == places
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_the_engine_leaves_the_modules_tensors_where_they_are() -> None:
    # Without a bias in front of the norm, whose gradient is 0 but for rounding
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 1))
    before, places = copy.deepcopy(net.state_dict()), [t.data_ptr() for t in net.state_dict().values()]
    views = [p.detach().numpy() for p in net.parameters()]
    engine = KernelEngine(
        net,
        torch.randn(8, 3),
        torch.randn(8, 1),
        None,
        loss=nn.MSELoss(),
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        clip_norm=None,
        accumulate=1,
        seed=0,
    )

    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    engine.run_epoch(np.arange(8), np.array([0, 4, 8]), np.ones(2))
    assert [t.data_ptr() for t in net.state_dict().values()] == places
    assert all(not torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(np.array_equal(view, p.detach()) for view, p in zip(views, net.parameters(), strict=True))


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(2 * x)


def shared() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.ReLU(), layer)


def hooked() -> nn.Module:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    net[1].register_forward_hook(lambda *_: None)
    return net


def frozen() -> nn.Module:
    return nn.Linear(2, 2).requires_grad_(False)


def empty(d_in: int, d_out: int) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is nothing to initialise
        return nn.Linear(d_in, d_out)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "softmax": (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.Softmax(1)),
        r"do not know the layer Sequential.1 \(Softmax\)",
    ),
    "subclass": (lambda: nn.Sequential(nn.Linear(2, 2), Doubled(2, 2)), r"layer Sequential.1 \(Doubled\)"),
    "shared": (shared, "parameter 2.weight is shared with 0.weight"),
    "hooks": (hooked, r"layer Sequential.1 \(ReLU\) has hooks"),
    "double": (lambda: nn.Linear(2, 2).double(), "weight is float64; the kernels work in float32"),
    "frozen": (frozen, "every parameter is frozen"),
    "widths": (
        lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 1)),
        "Sequential.1 expects 4 inputs and gets 3",
    ),
    "no width": (lambda: nn.Sequential(nn.ReLU()), "no layer of the network says how many inputs"),
    "slopes": (
        lambda: nn.Sequential(nn.Linear(2, 3), nn.PReLU(2)),
        "has 2 slopes for 3 columns",
    ),
    "no inputs": (lambda: empty(0, 2), "Linear without inputs or outputs"),
    "no outputs": (lambda: empty(2, 0), "Linear without inputs or outputs"),
    "flatten": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Flatten(0)), "flattens other axes"),
    "behind flatten": (
        lambda: nn.Sequential(nn.Linear(2, 1), nn.Flatten(0), nn.ReLU()),
        "as last layer only",
    ),
    "layer norm": (lambda: nn.Sequential(nn.Linear(2, 3), nn.LayerNorm((2, 3))), "normalises over 2 axes"),
    "residual": (lambda: nn.Sequential(Residual(nn.Linear(2, 3))), "adds 2 inputs to 3 outputs"),
    "late embedding": (
        lambda: nn.Sequential(nn.Linear(2, 2), PeriodicEmbedding(2)),
        "the kernels know it as first layer only",
    ),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_says_what_it_does_not_know(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(UnknownToKernels, match=words):
        read_plan(make())


def test_table_embedding_writes_each_output_column_once() -> None:
    embedding = TableEmbedding(4, [3, 30], periodic=[1, 3], d_periodic=3, d_category=5)
    plan = read_plan(nn.Sequential(embedding, nn.Linear(embedding.d_out, 1)))

    assert [forward.__name__ for forward, _ in plan.kernels] == [
        "select",
        "one_hot",
        "periodic",
        "look_up",
        "linear",
    ]
    assert plan.code_ranges == {4: 3, 5: 30}
    assert plan.d_in == 6
    periodic = plan.ops[2]
    np.testing.assert_array_equal(plan.ints[periodic[k.AUX] :][:6], [2, 8, 3, 4, 1, 3])
    assert len({int(op[k.V_OUT]) for op in plan.ops[:4]}) == 1


@pytest.mark.parametrize("option", [{"padding_idx": 0}, {"max_norm": 1.0}, {"sparse": True}])
def test_options_of_an_embedding_of_categories_are_refused(option: dict[str, object]) -> None:
    embedding = TableEmbedding(1, (50,), one_hot_up_to=4)
    assert read_plan(embedding).d_out == embedding.d_out
    (table,) = embedding.category.tables
    for name, value in option.items():
        setattr(table, name, value)

    with pytest.raises(UnknownToKernels, match="options that the kernels do not know"):
        read_plan(embedding)
