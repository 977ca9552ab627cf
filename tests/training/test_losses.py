import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from multilayer.errors import ConfigError, DataError
from multilayer.training.losses import (
    LOSSES,
    GammaLoss,
    QuantileLoss,
    TweedieLoss,
    make_loss,
)
from multilayer.training.targets import as_loss_target, check_shapes


def made(loss, has_target=True, has_weight=False):
    return make_loss(loss, has_target=has_target, has_weight=has_weight)


def batch_for(name):
    out = torch.randn(6, 3)
    if name == "cross_entropy":
        return out, torch.randint(0, 3, (6,))
    return out, torch.rand(6, 3).round() if name == "binary_cross_entropy" else torch.rand(6, 3)


@pytest.mark.parametrize("name", LOSSES)
def test_a_name_is_the_torch_loss(name):
    out, target = batch_for(name)
    assert torch.equal(made(name)(out, target), LOSSES[name]()(out, target))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(LOSSES)),
    st.sampled_from(["mean", "sum"]),
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_a_weight_of_n_is_the_row_n_times(name, reduction, weight):
    weight = torch.tensor(weight)
    if not weight.sum():
        return
    out, target = batch_for(name)
    loss = LOSSES[name]()
    loss.reduction = reduction
    rows = torch.arange(6).repeat_interleave(weight)
    assert_close(made(loss, has_weight=True)(out, target, weight.float()), loss(out[rows], target[rows]))


def test_class_weights_and_row_weights_go_together():
    out, target = batch_for("cross_entropy")
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]))
    assert_close(made(loss, has_weight=True)(out, target, torch.ones(6)), loss(out, target))


@pytest.mark.parametrize("kind", [nn.CrossEntropyLoss, nn.NLLLoss])
@pytest.mark.parametrize("class_weight", [None, torch.tensor([1.0, 2.0, 5.0])])
@pytest.mark.parametrize("ignored", [1, -100])
def test_ignored_rows_count_nothing_beside_row_weights(kind, class_weight, ignored):
    out, target = torch.randn(8, 3).log_softmax(1), torch.tensor([0, 1, 2, 1, 0, 2, 2, 1])
    loss = kind(class_weight, ignore_index=ignored)
    target[target == 1] = ignored
    weight = torch.rand(8)
    kept = target != ignored

    weighted = made(loss, has_weight=True)
    assert_close(weighted(out, target, torch.ones(8)), loss(out, target))
    assert_close(weighted(out, target, weight), weighted(out[kept], target[kept], weight[kept]))
    assert weighted(out, torch.full((8,), ignored), weight) == 0


def test_a_batch_that_weighs_nothing_costs_nothing():
    out, target = batch_for("mse")
    assert made("mse", has_weight=True)(out, target, torch.zeros(6)) == 0


def test_callables_of_output_of_target_and_of_weight():
    out, y, w = torch.ones(4, 1), torch.zeros(4, 1), torch.full((4,), 0.5)
    assert made(lambda out: out.sum(), has_target=False)(out, None) == 4
    assert made(lambda out, y: (out - y).sum())(out, y) == 4
    assert made(lambda out, y, w: (out[:, 0] * w).sum(), has_weight=True)(out, y, w) == 2
    assert made(lambda out, w: (out[:, 0] * w).sum(), has_target=False, has_weight=True)(out, None, w) == 2


def test_a_module_of_ones_own_may_take_weights():
    class Weighted(nn.Module):
        def forward(self, out, y, w):
            return ((out - y)[:, 0] * w).sum()

    assert made(Weighted(), has_weight=True)(torch.ones(2, 1), torch.zeros(2, 1), torch.ones(2)) == 2


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        ("mes", {}, r"unknown loss 'mes'; known: binary_cross_entropy, .*Did you mean 'mse'\?"),
        (3, {}, "loss must be a name, a torch.nn loss such as nn.MSELoss\\(\\), or a function; got int"),
        ("mse", {"has_target": False}, "MSELoss compares output with target; got no target. Pass y"),
        (nn.MSELoss(reduction="none"), {}, "one number for a batch; MSELoss has reduction='none'"),
        (
            lambda out, y: out.sum(),
            {"has_weight": True},
            r"as its last one, without a default: loss\(out, target, sample_weight\) -> scalar",
        ),
        (
            lambda out: out.sum(),
            {"has_weight": True, "has_target": False},
            "reaches a loss of your own as an argument of that name",
        ),
    ],
)
def test_refuses_a_loss(loss, options, message):
    with pytest.raises(ConfigError, match=message):
        made(loss, **options)


def test_the_best_constant_is_the_logarithm_of_the_mean():
    y = torch.tensor([[0.5], [1.0], [6.0]])
    for loss in (GammaLoss(), TweedieLoss(1.2), TweedieLoss(1.9)):
        out = y.mean().log().expand(3, 1).clone().requires_grad_()
        loss(out, y).backward()
        assert abs(out.grad.sum()) < 1e-6
        assert all(loss(out + d, y) > loss(out, y) for d in (-0.1, 0.1))


def test_tweedie_of_a_power_near_1_and_2_is_poisson_and_gamma():
    out, y = torch.randn(6, 3).double(), torch.rand(6, 3).double() + 0.1
    poisson, gamma = nn.PoissonNLLLoss(reduction="none"), GammaLoss("none")
    for power, limit in ((1 + 1e-7, poisson), (2 - 1e-7, gamma)):
        loss = TweedieLoss(power, "none")
        difference = loss(out, y) - loss(0 * out, y)  # a part that out has no say in grows without bounds
        assert_close(difference, limit(out, y) - limit(0 * out, y), rtol=1e-5, atol=1e-5)


def test_refuses_powers_that_have_losses_of_their_own():
    for power in (1.0, 2.0, float("nan")):
        with pytest.raises(ConfigError, match="power must be between 1 and 2; got"):
            TweedieLoss(power)
    with pytest.raises(ConfigError, match="reduction must be"):
        GammaLoss("median")


def test_the_median_is_half_the_absolute_error():
    out, y = torch.randn(6, 3), torch.randn(6, 3)
    for reduction in ("mean", "sum", "none"):
        assert_close(QuantileLoss(0.5, reduction)(out, y), nn.L1Loss(reduction=reduction)(out, y) / 2)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.83])
def test_the_best_constant_is_the_quantile(q):
    y = torch.arange(101.0)
    costs = [QuantileLoss(q)(torch.full((101,), float(c)), y) for c in range(101)]
    assert min(range(101), key=lambda c: float(costs[c])) == round(100 * q)


def test_quantiles_of_one_target_stand_side_by_side():
    out, y = torch.randn(5, 4), torch.randn(5, 2)
    loss = QuantileLoss([0.2, 0.7], "none")(out, y)
    for column, (q, target) in enumerate([(0.2, 0), (0.7, 0), (0.2, 1), (0.7, 1)]):
        assert_close(loss[:, column], QuantileLoss(q, "none")(out[:, column], y[:, target]))


def test_quantiles_of_a_target_without_columns_and_of_no_rows():
    out, y = torch.randn(5, 3), torch.randn(5)
    loss = made(QuantileLoss((0.2, 0.5, 0.7)))
    check_shapes(loss, out, y)
    assert loss(out, y) == loss(out, y[:, None])
    assert QuantileLoss([0.2, 0.7], "sum")(torch.zeros(0, 2), torch.zeros(0, 1)) == 0


def test_where_the_output_is_the_target_the_quantile_loss_is_flat():
    out = torch.zeros(1, 2, requires_grad=True)
    QuantileLoss([0.2, 0.7])(out, torch.zeros(1, 1)).backward()
    assert torch.equal(out.grad, torch.zeros(1, 2))


def test_quantiles_need_an_output_each():
    loss = made(QuantileLoss([0.1, 0.5, 0.9]))
    with pytest.raises(
        DataError,
        match=r"each of 3 quantiles of each target; got \(rows, 4\) and \(rows, 2\)\. .* 6 outputs",
    ):
        check_shapes(loss, torch.zeros(2, 4), torch.zeros(2, 2))
    with pytest.raises(DataError, match=r"same shape; got \(rows, 1\) and \(rows,\), which broadcast"):
        check_shapes(made("quantile"), torch.zeros(2, 1), torch.zeros(2))
    assert as_loss_target(loss, torch.tensor([1, 2]), torch.float32).dtype == torch.float32
    with pytest.raises(ConfigError, match="QuantileLoss compares output with target; got no target"):
        made("quantile", has_target=False)
    with pytest.raises(ConfigError, match="QuantileLoss has reduction='none'"):
        made(QuantileLoss(0.5, "none"))


def test_refuses_quantiles_outside_0_to_1_and_unknown_reductions():
    for quantiles in ([], [0.5, 1.0], 0.0, [float("nan")]):
        with pytest.raises(ConfigError, match=r"quantiles must be between 0 and 1, at least one; got"):
            QuantileLoss(quantiles)
    with pytest.raises(ConfigError, match="reduction must be 'mean', 'sum' or 'none'; got 'median'"):
        QuantileLoss(0.5, "median")
