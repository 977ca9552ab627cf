import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from multilayer.errors import ConfigError
from multilayer.nn.blocks import ACTIVATIONS, Residual, block, make_activation, mlp

# The pair that the note printed: what ReLU gave, and what BatchNorm made of it.
RELU_OUTPUT = torch.tensor([[0.0, 0.3189], [0.0, 0.6577], [0.1315, 0.0]])
NORM_OUTPUT = torch.tensor([[-0.7062, -0.0247], [-0.7062, 1.2368], [1.4124, -1.2121]])


def kinds(net):
    return [type(layer).__name__ for layer in net]


def test_block_is_the_notes_linear_relu_batchnorm():
    net = block(5, 2)
    assert type(net) is nn.Sequential
    assert kinds(net) == ["Linear", "ReLU", "BatchNorm1d"]
    assert net(torch.randn(5, 5)).shape == (5, 2)


def test_block_gives_what_the_note_printed():
    net = block(2, 2)
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(2))
        net[0].bias.zero_()
    assert_close(net(RELU_OUTPUT), NORM_OUTPUT, atol=5e-4, rtol=0)  # both were printed to four decimals


def test_linear_block_is_a_x_plus_b():
    net = block(10, 2, activation="identity", norm=None)
    x = torch.randn(3, 10)
    assert_close(net(x), x @ net[0].weight.T + net[0].bias)


def test_block_options():
    assert kinds(block(3, 4, norm=None)) == ["Linear", "ReLU"]
    assert kinds(block(3, 4, norm="layer", dropout=0.5)) == ["Linear", "ReLU", "LayerNorm", "Dropout"]
    assert block(3, 4, dropout=0.25)[-1].p == 0.25
    assert block(3, 4, bias=False)[0].bias is None
    assert isinstance(block(3, 4, activation=nn.Hardtanh)[1], nn.Hardtanh)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_by_name_lets_gradients_through(name):
    net = block(3, 4, activation=name, norm="layer")
    net(torch.randn(8, 3)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    assert make_activation(name) is not make_activation(name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: block(0, 2), r"d_in must be a whole number of at least 1; got 0\."),
        (lambda: block(2, -1), r"d_out must be a whole number of at least 1; got -1\."),
        (lambda: block(2, 2, norm="bach"), r"norm must be 'batch', 'layer' or None; got 'bach'\."),
        (lambda: block(2, 2, dropout=1.0), r"dropout must be at least 0 and below 1; got 1\.0\."),
        (
            lambda: block(2, 2, activation="rleu"),
            r"unknown activation 'rleu'; known: elu, .*Did you mean 'relu'",
        ),
        (lambda: mlp(0, 4, 1), "d_in must be"),
        (lambda: mlp(0, (), 1), "d_in must be"),
        (lambda: mlp(2, [4, 0], 1), "hidden must be .* got 0"),
        (lambda: mlp(2, 4, 0), "d_out must be"),
        (
            lambda: mlp(2, [4, 4], 1, activation=["relu"]),
            "activation .* length 2, one for each of the hidden layers; got 1",
        ),
        (
            lambda: mlp(2, 4, 1, dropout=[0.1, 0.2]),
            "dropout .* length 1, one for each of the hidden layers; got 2",
        ),
        (lambda: mlp(2, 4, 1, norm="group"), "norm must be"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@settings(max_examples=30)
@given(st.integers(1, 6), st.lists(st.integers(1, 6), max_size=4), st.integers(1, 4), st.booleans())
def test_mlp_has_the_widths_asked_for(d_in, hidden, d_out, residual):
    net = mlp(d_in, hidden, d_out, residual=residual)
    assert type(net) is nn.Sequential
    linears = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert [m.in_features for m in linears] == [d_in, *hidden]
    assert [m.out_features for m in linears] == [*hidden, d_out]
    assert net(torch.randn(3, d_in)).shape == (3, d_out)


def test_mlp_without_hidden_layers_is_linear_regression():
    assert kinds(mlp(3, (), 2)) == ["Linear"]


def test_one_hidden_width_may_be_a_number():
    assert [m.weight.shape for m in (mlp(3, 5, 2)[0], mlp(3, [5], 2)[0])] == [(5, 3), (5, 3)]


def test_activation_and_dropout_can_be_chosen_for_each_layer():
    net = mlp(3, [4, 5], 2, activation=["gelu", nn.Tanh], norm="batch", dropout=[0.0, 0.5])
    assert kinds(net) == [
        "Linear",
        "GELU",
        "BatchNorm1d",
        "Linear",
        "Tanh",
        "BatchNorm1d",
        "Dropout",
        "Linear",
    ]


def test_mlp_takes_batches_of_any_rank():
    net = mlp(3, [4, 4], 2, norm="layer", residual=True)
    assert [net(torch.randn(*batch, 3)).shape for batch in [(), (5,), (5, 6)]] == [(2,), (5, 2), (5, 6, 2)]


def test_residual_goes_around_layers_of_equal_width_only():
    net = mlp(4, [4, 6, 6], 1, residual=True)
    assert kinds(net) == ["Residual", "Linear", "ReLU", "Residual", "Linear"]


def test_residual_adds_its_input():
    inner = nn.Linear(3, 3)
    x = torch.randn(5, 3)
    assert_close(Residual(inner)(x), x + inner(x))


def test_residual_around_nothing_is_the_identity():
    layer = Residual(nn.Linear(3, 3))
    nn.init.zeros_(layer.inner.weight)
    nn.init.zeros_(layer.inner.bias)
    x = torch.randn(5, 3)
    assert torch.equal(layer(x), x)


def test_same_seed_same_bits():
    def weights():
        torch.manual_seed(7)
        return nn.utils.parameters_to_vector(mlp(3, [4, 4], 1, norm="batch", residual=True).parameters())

    assert torch.equal(weights(), weights())


def test_export_agrees():
    net = mlp(3, [4, 4], 1, norm="batch", residual=True).eval()
    x = torch.randn(5, 3)
    assert_close(torch.export.export(net, (x,)).module()(x), net(x))
