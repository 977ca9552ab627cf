import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from multilayer.errors import DataError
from multilayer.nn.blocks import mlp
from multilayer.training.autograd import AutogradEngine, denormals_flushed, forward_in_chunks, torch_threads
from multilayer.training.losses import make_loss


def engine_for(net, x, y, loss="mse", weight=None, lr=0.1, clip_norm=None, accumulate=1):
    return AutogradEngine(
        net,
        x,
        y,
        weight,
        loss=make_loss(loss, has_target=y is not None, has_weight=weight is not None),
        optimizer=torch.optim.SGD(net.parameters(), lr=lr),
        clip_norm=clip_norm,
        accumulate=accumulate,
    )


def linear_problem(n_rows=8):
    x = torch.randn(n_rows, 3)
    return nn.Linear(3, 1), x, x.sum(1, keepdim=True)


def step(engine, *ends):
    """An epoch on the rows in order, in batches that end there."""
    return engine.run_epoch(np.arange(ends[-1]), np.array([0, *ends]), np.ones(len(ends)))


def test_an_epoch_trains_on_the_rows_of_its_order():
    net, x, y = linear_problem()
    seen = []
    net.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0]))
    order = np.array([5, 0, 3, 7, 1, 2, 6, 4])
    losses = engine_for(net, x, y).run_epoch(order, np.array([0, 3, 6, 8]), np.ones(3))
    assert losses.dtype == np.float64 and losses.shape == (3,)
    assert torch.equal(torch.cat(seen), x[order])
    assert [len(batch) for batch in seen] == [3, 3, 2]


def test_bounds_may_begin_anywhere_in_the_order():
    net, x, y = linear_problem()
    seen = []
    net.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0]))
    engine_for(net, x, y).run_epoch(np.arange(8), np.array([4, 6]), np.ones(1))
    assert torch.equal(seen[0], x[4:6])


def test_lr_factor_scales_each_groups_rate_and_leaves_it_as_it_was():
    net, x, y = linear_problem()
    engine = engine_for(net, x, y)
    before = net.weight.detach().clone()
    engine.run_epoch(np.arange(8), np.array([0, 8]), np.array([0.0]))
    assert torch.equal(net.weight, before)
    assert engine.optimizer.param_groups[0]["lr"] == 0.1


def test_clip_norm_bounds_the_update():
    net, x, y = linear_problem()
    before = nn.utils.parameters_to_vector(net.parameters()).detach().clone()
    step(engine_for(net, x, 1000 * y, clip_norm=0.5, lr=1.0), 8)
    moved = nn.utils.parameters_to_vector(net.parameters()) - before
    assert moved.norm().item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_unequal_batches_accumulate_to_one_big_batch(weighted):
    net, x, y = linear_problem(7)
    weight = torch.tensor([1.0, 0, 2, 1, 3, 0, 0]) if weighted else None
    twin = nn.Linear(3, 1)
    twin.load_state_dict(net.state_dict())
    engine_for(net, x, y, weight=weight, accumulate=2).run_epoch(
        np.arange(7), np.array([0, 5, 7]), np.ones(2)
    )
    step(engine_for(twin, x, y, weight=weight), 7)
    assert_close(net.weight, twin.weight)


def test_sums_accumulate_as_sums():
    net, x, y = linear_problem()
    twin = nn.Linear(3, 1)
    twin.load_state_dict(net.state_dict())
    loss = nn.MSELoss(reduction="sum")
    engine_for(net, x, y, loss, lr=0.01, accumulate=2).run_epoch(
        np.arange(8), np.array([0, 5, 8]), np.ones(2)
    )
    step(engine_for(twin, x, y, loss, lr=0.01), 8)
    assert_close(net.weight, twin.weight)


def test_a_loss_that_gives_no_single_number_is_refused():
    net, x, y = linear_problem()
    for loss, message in [
        (lambda out, y: (out - y).square(), r"one number for a batch; got shape \(8, 1\)\. Take its mean"),
        (lambda out, y: (out - y).square().mean().item(), "a tensor of one number for a batch; got float"),
    ]:
        with pytest.raises(DataError, match=message):
            step(engine_for(net, x, y, loss), 8)


def test_chunks_give_what_the_whole_gives_in_evaluation_mode():
    net = mlp(3, 4, 2, norm="batch", dropout=0.5)
    net[1].eval()
    modes = [module.training for module in net.modules()]
    x = torch.randn(10, 3)
    out = forward_in_chunks(net, x, chunk=4)
    assert [module.training for module in net.modules()] == modes
    assert not out.requires_grad
    assert_close(out, net.eval()(x))


def test_mode_comes_back_after_an_error():
    net = nn.Sequential(nn.Linear(3, 1))
    with pytest.raises(RuntimeError):
        forward_in_chunks(net, torch.zeros(2, 4))
    assert net.training and net[0].training


def flushes():
    return bool(torch.tensor(1e-39).mul(0.5) == 0)


@pytest.mark.parametrize("before", [False, True])
def test_denormals_are_flushed_inside_only(before):
    torch.set_flush_denormal(before)
    try:
        with denormals_flushed():
            assert flushes()
        assert flushes() == before
    finally:
        torch.set_flush_denormal(False)


def test_threads_come_back():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with torch_threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("rows_at_once", "sizes"), [(None, [20]), (8, [8, 8, 4])])
def test_a_module_may_say_how_many_rows_it_takes_at_once(rows_at_once, sizes):
    net, x, _ = linear_problem(20)
    seen = []
    net.register_forward_hook(lambda module, inputs, out: seen.append(len(inputs[0])))
    if rows_at_once is not None:
        net.rows_at_once = rows_at_once
    assert forward_in_chunks(net, x).shape == (20, 1)
    assert seen == sizes
    assert len(forward_in_chunks(net, x, chunk=10)) == 20
    assert seen == [*sizes, 10, 10]
