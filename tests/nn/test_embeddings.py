import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from multilayer.errors import ConfigError, DataError
from multilayer.nn.embeddings import (
    CategoryEmbedding,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    TableEmbedding,
    quantile_edges,
)
from tests.reference import embeddings


def periodic_reference(layer, x):
    """One number at a time: e_f = W_f cos(2 pi (w_f x_f + b_f))."""
    rows = []
    for row in x:
        embedded = []
        for f, x_f in enumerate(row):
            w, b, W = layer.frequency[f], layer.phase[f], layer.weight[f].T
            embedded.append(W @ torch.cos(2 * math.pi * (w * x_f + b)))
        rows.append(torch.cat(embedded))
    return torch.stack(rows)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(1, 5))
def test_periodic_embedding_equals_the_paper(n_features, d_embedding, n_frequencies, n_rows):
    layer = PeriodicEmbedding(n_features, d_embedding, n_frequencies).double()
    x = torch.randn(n_rows, n_features, dtype=torch.float64)
    assert_close(layer(x), periodic_reference(layer, x))


def test_periodic_embedding_keeps_features_apart():
    layer = PeriodicEmbedding(3, d_embedding=2)
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x[None])[0], torch.randn(3))
    own = torch.block_diag(*[torch.ones(2, 1)] * 3).bool()
    assert (jacobian[~own] == 0).all()
    assert (jacobian[own] != 0).all()


def test_frequencies_start_between_low_and_high_with_both_signs():
    frequency = PeriodicEmbedding(20, n_frequencies=50, low=0.1, high=2.0).frequency.detach()
    assert frequency.abs().min() >= 0.1 - 1e-6
    assert frequency.abs().max() <= 2.0 + 1e-6
    assert (frequency > 0).any() and (frequency < 0).any()
    below_middle = (frequency.abs() < math.sqrt(0.1 * 2.0)).float().mean()
    assert 0.4 < below_middle < 0.6  # log-uniform


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_refuses_frequencies_in_the_wrong_order(low, high):
    with pytest.raises(ConfigError, match="needs 0 < low <= high; got low="):
        PeriodicEmbedding(2, low=low, high=high)


def drawn(layer):
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(st.integers(-20, 20), min_size=2, max_size=6, unique=True).map(sorted),
        min_size=1,
        max_size=3,
    ),
    st.lists(st.integers(-100, 100), min_size=1, max_size=8),
)
def test_piecewise_linear_embedding_equals_the_paper(edges, values):
    layer = drawn(PiecewiseLinearEmbedding.of_edges(edges, d_embedding=3)).double()
    x = torch.tensor(values, dtype=torch.float64)[:, None].repeat(1, len(edges)) / 4
    exact = [np.array(row, np.float64) for row in edges]
    numbers = [parameter.detach().numpy() for parameter in (layer.slope, layer.bias, layer.weight)]

    assert_close(layer(x).detach().numpy(), embeddings.piecewise_linear(x.numpy(), exact, *numbers))


def test_piecewise_linear_embedding_starts_as_a_line():
    layer = PiecewiseLinearEmbedding(2, d_embedding=5)
    x = torch.randn(6, 2)
    line = x[..., None] * layer.slope + layer.bias
    assert torch.equal(layer(x), line.flatten(1))
    assert layer.slope.abs().max() <= 1 / math.sqrt(5)


def test_bins_without_edges_are_of_one_width():
    shares = PiecewiseLinearEmbedding(1, n_bins=4).shares(torch.tensor([[-2.0], [-0.25], [1.0], [1.5]]))
    assert shares[:, 0].tolist() == [[-2, 0, 0, 0], [1, 0.5, 0, 0], [1, 1, 1, 1], [1, 1, 1, 2]]


def test_quantile_edges_hold_equal_shares_of_the_rows():
    x = torch.stack([torch.randn(4000).exp(), (torch.arange(4000) % 3).float()], dim=1)
    spread, few = quantile_edges(x, n_bins=8)
    counts = torch.histogram(x[:, 0], spread).hist
    assert counts.min() == counts.max() == 500
    assert few.tolist() == [0, 1, 2]


@pytest.mark.parametrize("edges", [[], [[1.0]], [[0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
def test_refuses_edges_that_do_not_rise(edges):
    with pytest.raises(ConfigError, match="edges must be at least two rising numbers for each feature"):
        PiecewiseLinearEmbedding.of_edges(edges)


def test_refuses_no_bins_and_numbers_that_do_not_vary():
    with pytest.raises(ConfigError, match="n_bins of at least 1; got 0"):
        PiecewiseLinearEmbedding(2, n_bins=0)
    with pytest.raises(DataError, match="must vary; one is the same in all rows"):
        quantile_edges(torch.ones(5, 1))


def test_edges_travel_in_the_state():
    layer = drawn(PiecewiseLinearEmbedding.of_edges([[0.0, 1.0, 3.0]]))
    other = PiecewiseLinearEmbedding(1, n_bins=2)
    other.load_state_dict(layer.state_dict())
    x = torch.linspace(-1, 4, 9)[:, None]
    assert torch.equal(layer(x), other(x))


def test_few_levels_are_one_hot_and_many_a_vector():
    layer = CategoryEmbedding([3, 50, 10], d_embedding=4)
    codes = torch.tensor([[2, 40, 0], [0, 7, 9]])
    out = layer(codes)
    assert layer.d_out == out.shape[1] == 3 + 4 + 10
    assert torch.equal(out[:, :3], torch.eye(3)[codes[:, 0]])
    assert torch.equal(out[:, 3:7], layer.tables[0].weight[codes[:, 1]])
    assert torch.equal(out[:, 7:], torch.eye(10)[codes[:, 2]])


def test_one_hot_has_nothing_to_learn():
    assert list(CategoryEmbedding([3, 10]).parameters()) == []
    assert len(list(CategoryEmbedding([3, 10], one_hot_up_to=2).parameters())) == 2


def table_embedding():
    return TableEmbedding(3, [4, 20], periodic=[0, 2], d_periodic=2, d_category=5)


def encoded_rows(n_rows=6):
    codes = torch.stack([torch.arange(n_rows) % 4, torch.arange(n_rows) * 3], dim=1)
    return torch.cat([torch.randn(n_rows, 3), codes.float()], dim=1)


def test_table_embedding_is_numbers_then_waves_then_categories():
    layer, x = table_embedding(), encoded_rows()
    parts = [x[:, :3], layer.periodic(x[:, [0, 2]]), layer.category(x[:, 3:].long())]
    assert torch.equal(layer(x), torch.cat(parts, dim=1))
    assert layer(x).shape == (6, layer.d_out)


def test_table_embedding_keeps_what_it_is_told_and_names_its_widths():
    layer = drawn(TableEmbedding(3, [4, 20], keep=[2], piecewise=[0, 1], d_piecewise=2, one_hot_up_to=99))
    x = encoded_rows()
    parts = [x[:, [2]], layer.piecewise(x[:, [0, 1]]), layer.category(x[:, 3:].long())]
    assert torch.equal(layer(x), torch.cat(parts, dim=1))
    assert layer.widths == [1, 2, 2, 4, 20] and layer.d_out == 29


def test_table_embedding_of_plain_numbers_is_the_identity():
    layer, x = TableEmbedding(3), torch.randn(5, 3)
    assert torch.equal(layer(x), x)
    assert list(layer.parameters()) == []


def test_table_embedding_of_codes_alone():
    layer = TableEmbedding(0, [3])
    assert torch.equal(layer(torch.tensor([[1.0], [2.0]])), torch.eye(3)[[1, 2]])


def test_gradients_reach_every_parameter():
    layer = table_embedding()
    net = nn.Sequential(layer, nn.Linear(layer.d_out, 1))
    net(encoded_rows()).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_refuses_another_number_of_columns():
    with pytest.raises(DataError, match=r"expects 3 numbers and 2 codes in a row; got 4 columns\. Pass what"):
        table_embedding()(torch.zeros(2, 4))


def test_export_agrees():
    layer, x = table_embedding().eval(), encoded_rows()
    assert_close(torch.export.export(layer, (x,)).module()(x), layer(x))


def test_weights_and_periodic_columns_travel_in_the_state():
    layer, other, x = table_embedding(), table_embedding(), encoded_rows()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), other(x))
