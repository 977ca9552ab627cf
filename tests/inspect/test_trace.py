import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from multilayer.errors import DataError
from multilayer.inspect.trace import trace
from multilayer.nn.blocks import block, mlp
from multilayer.nn.embeddings import TableEmbedding


def test_values_are_those_of_a_pass_by_hand():
    net, x = mlp(3, [5, 4], 2, norm="batch"), torch.randn(6, 3)
    layers = trace(net, x)
    assert [layer.name for layer in layers] == ["input", *(str(i) for i in range(len(net)))]
    value = x
    for layer, module in zip(layers, [nn.Identity(), *net], strict=True):
        value = module(value)
        assert torch.equal(layer.output, value)
        assert layer.shape == tuple(value.shape)
        assert layer.mean == pytest.approx(value.mean().item(), abs=1e-6)
        assert layer.std == pytest.approx(value.std(correction=0).item(), rel=1e-5)
        assert layer.zeros == pytest.approx((value == 0).float().mean().item())
    assert torch.equal(layers.output, value)
    assert sum(layer.n_parameters for layer in layers) == sum(p.numel() for p in net.parameters())


def test_network_buffers_mode_and_random_state_stay():
    net = block(3, 4, dropout=0.5)
    net(torch.randn(5, 3))
    buffers = [buffer.clone() for buffer in net.buffers()]
    x = torch.randn(5, 3) + 10
    random_state = torch.get_rng_state()
    layers = trace(net, x)
    assert layers["3"].zeros > 0  # dropout was at work
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), buffers, strict=True))
    assert net.training and net[3].training
    assert all(p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_record_keeps_its_values_when_a_later_layer_works_in_place():
    layers = trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)), torch.randn(9, 2))
    assert (layers["0"].output < 0).any()


def test_evaluation_mode_is_said():
    assert "evaluation mode" in repr(trace(nn.Linear(2, 1).eval(), torch.zeros(3, 2)))


def test_layers_by_name_number_and_iteration():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
            self.head = nn.Linear(3, 1)

        def forward(self, x):
            return self.head(self.encoder(x))

    layers = trace(Net(), torch.randn(4, 2))
    assert [layer.name for layer in layers] == ["input", "encoder.0", "encoder.1", "head"]
    assert layers["encoder.1"] is layers[2]
    assert len(layers) == 4
    with pytest.raises(KeyError, match=r"no layer 'haed'; layers: input, encoder.0, .*Did you mean 'head'\?"):
        layers["haed"]


def test_a_layer_used_twice_is_recorded_twice_and_counted_once():
    shared = nn.Linear(2, 2)
    layers = trace(nn.Sequential(shared, nn.ReLU(), shared), torch.randn(3, 2))
    assert [layer.n_parameters for layer in layers] == [0, 6, 0, 0]


def test_parameters_outside_of_layers_count_in_the_total():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.inner = nn.Linear(2, 1)

        def forward(self, x):
            return self.scale * self.inner(x)

    assert trace(Scaled(), torch.zeros(3, 2)).n_parameters == 4


def test_a_network_of_one_layer():
    assert [layer.name for layer in trace(nn.Linear(2, 1), torch.zeros(3, 2))] == ["input", "Linear"]


def test_repr_is_a_table():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    nn.init.constant_(net[0].weight, 1.0)
    nn.init.constant_(net[0].bias, -1.0)
    assert repr(trace(net, [[1.0, 1.0], [0.0, 0.0]])).splitlines() == [
        "layer  what it is                                        output  parameters    mean     std  zeros",
        "input  batch                                             2 x 2               0.5000  0.5000    50%",
        "0      Linear(in_features=2, out_features=3, bias=True)  2 x 3            9  0.0000  1.0000     0%",
        "1      ReLU()                                            2 x 3               0.5000  0.5000    50%",
        "9 trainable parameters; network in training mode",
    ]


def test_html_is_a_table_with_escaped_names():
    class Odd(nn.Identity):
        def extra_repr(self):
            return "<b>&"

    page = trace(nn.Sequential(Odd(), nn.Linear(2, 1)), torch.zeros(3, 2))._repr_html_()
    assert page.startswith("<table>") and page.count("<tr>") == 4
    assert "Odd(&lt;b&gt;&amp;)" in page
    assert "<td>3 x 1</td>" in page


def test_frame_has_a_row_a_layer():
    frame = trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.randn(4, 2)).to_frame()
    assert frame.index.tolist() == ["input", "0", "1"]
    assert list(frame.columns) == ["kind", "shape", "n_parameters", "mean", "std", "zeros"]


@pytest.mark.parametrize(
    "x",
    [np.ones((3, 2)), [[1, 2], [3, 4]], pd.DataFrame({"a": [1, 2], "b": [True, False]})],
    ids=lambda x: type(x).__name__,
)
def test_batches_of_any_kind(x):
    assert trace(nn.Linear(2, 1), x).output.dtype == torch.float32


def test_whole_numbers_go_to_an_embedding():
    net = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 1))
    layers = trace(net, np.array([[0, 4], [2, 2]], dtype=np.int32))
    assert layers["input"].output.dtype == torch.int64
    assert torch.equal(layers["0"].output, net[0](torch.tensor([[0, 4], [2, 2]])))


def test_a_table_embedding_takes_float64_rows():
    net = nn.Sequential(TableEmbedding(1, [20]), nn.Linear(9, 1))
    x = np.array([[0.5, 3], [1.5, 19]])
    assert_close(trace(net, x).output, net(torch.tensor(x).float()))


@pytest.mark.parametrize(
    ("net", "x", "message"),
    [
        (
            mlp(3, [5], 2),
            torch.zeros(4, 7),
            r"layer 0 \(Linear\(in_features=3.* cannot take .* shape \(4, 7\)",
        ),
        (
            nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(4, 1)),
            torch.zeros(4, 3),
            r"layer 2 \(Linear\(in_fea",
        ),
        (nn.Sequential(nn.Embedding(3, 2)), [[0, 7]], r"layer 0 \(Embedding\(3, 2\)\) cannot take"),
        (block(2, 3), torch.zeros(1, 2), r"layer 2 \(BatchNorm1d.* more than 1 value per channel"),
        (nn.Sequential(TableEmbedding(2)), torch.zeros(4, 3), "TableEmbedding expects 2 numbers"),
        (nn.Linear(2, 1), [["a", "b"]], "x must hold numbers"),
    ],
)
def test_what_does_not_fit_names_the_layer(net, x, message):
    with pytest.raises(DataError, match=message):
        trace(net, x)
    assert not any(module._forward_hooks for module in net.modules())
