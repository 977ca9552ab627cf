import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from multilayer.nn.realmlp import NTKLinear, ParametricActivation, PBLDEmbedding, RealMLP, ScalingLayer
from tests.reference import layers, networks


def array(tensor):
    return tensor.detach().double().numpy()


def drawn(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double()


def test_pbld_equals_the_paper():
    layer, x = drawn(PBLDEmbedding(3, d_embedding=2, n_frequencies=5)), torch.randn(7, 3, dtype=torch.float64)
    numbers = [array(parameter) for parameter in (layer.frequency, layer.phase, layer.weight, layer.bias)]
    assert_close(array(layer(x)), networks.pbld(array(x), *numbers))


def test_pbld_starts_as_the_paper_says():
    layer = PBLDEmbedding(200)
    assert 0.09 < layer.frequency.std() < 0.11
    assert layer.phase.min() < -3.1 and layer.phase.max() > 3.1 and layer.phase.abs().max() <= math.pi
    assert layer.weight.abs().max() <= 0.25 and layer.bias.abs().max() <= 0.25


def test_forward_equals_the_paper():
    """Scaling layer, then NTK linears and (1 - a) x + a sigma(x), then an NTK linear."""
    net, x = (
        drawn(RealMLP(4, 2, hidden=[6, 5], activation="mish", embedding=nn.Identity())),
        torch.randn(7, 4),
    )
    scale, first, act1, _, second, act2, _, head = net.eval().layers
    z = array(x) * array(scale.scale)
    for linear, activation in [(first, act1), (second, act2)]:
        W = array(linear.weight)
        z = layers.linear(z, W / math.sqrt(W.shape[1]), array(linear.bias))
        a = array(activation.share)
        z = (1 - a) * z + a * layers.mish(z)
    W = array(head.weight)
    assert_close(array(net(x.double())), layers.linear(z, W / math.sqrt(W.shape[1]), array(head.bias)))


@pytest.mark.parametrize("activation", ["selu", "mish"])
def test_starts_with_outputs_of_variance_one_and_kinks_among_the_rows(activation):
    torch.manual_seed(0)
    net, x = RealMLP(4, 3, activation=activation), torch.randn(3000, 4) * torch.tensor([1, 5, 0.1, 2]) + 3
    net.start_from(x)

    z = net.eval().embedding(x)
    for layer in net.layers:
        out = layer(z)
        if isinstance(layer, NTKLinear):
            assert_close(out.std(0, correction=0), torch.ones(out.shape[1]), rtol=1e-3, atol=1e-3)
            assert ((out.min(0).values < 0) & (out.max(0).values > 0)).float().mean() > 0.99
        z = out


def test_biases_are_minus_a_point_between_a_few_rows():
    torch.manual_seed(0)
    layer, x = NTKLinear(1, 4000), torch.tensor([[-1.0], [1.0]])
    layer.start_from(x)
    slope = layer.weight[:, 0]
    assert_close(slope.abs(), torch.ones(4000))
    assert layer.bias.abs().max() <= 1 + 1e-6
    # of five rows, each at -1 or 1: all alike in one of sixteen cases
    assert 0.04 < (layer.bias.abs() > 1 - 1e-6).float().mean() < 0.09


def test_a_column_that_does_not_vary_does_no_harm():
    net = RealMLP(2, 1, hidden=[8])
    net.start_from(torch.zeros(10, 2))
    assert all(torch.isfinite(parameter).all() for parameter in net.parameters())


def test_many_rows_are_thinned_out():
    net = RealMLP(1, 1, hidden=[2])
    torch.manual_seed(1)
    net.start_from(torch.arange(120_000.0)[:, None])
    kept = [parameter.clone() for parameter in net.layers.parameters()]
    torch.manual_seed(1)
    net.start_from(torch.arange(0, 120_000.0, 3)[:, None])
    assert all(map(torch.equal, kept, net.layers.parameters()))


def test_parts_learn_at_rates_of_their_own():
    net = RealMLP(3, 2, hidden=[4])
    rates = {
        id(p): (g["lr"], g["weight_decay"]) for g in net.parameter_groups(0.1, 0.02) for p in g["params"]
    }
    assert len(rates) == len(list(net.parameters()))
    scale, linear, activation, _, head = net.layers
    assert rates[id(scale.scale)] == pytest.approx((0.6, 0.12))
    assert rates[id(linear.weight)] == rates[id(head.weight)] == pytest.approx((0.1, 0.02))
    assert rates[id(linear.bias)] == pytest.approx((0.01, 0))
    assert rates[id(activation.share)] == pytest.approx((0.01, 0.002))
    assert all(rates[id(p)] == pytest.approx((0.01, 0.002)) for p in net.embedding.parameters())


def test_numbers_alone_get_cosines_beside_themselves():
    net, x = RealMLP(3, 2), torch.randn(5, 3)
    assert torch.equal(net.embedding(x), torch.cat([x, net.embedding.periodic(x)], dim=1))
    assert isinstance(net.layers[0], ScalingLayer) and net.layers[0].scale.shape == (12,)
    assert isinstance(net.layers[2], ParametricActivation)
