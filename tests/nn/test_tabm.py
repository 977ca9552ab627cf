import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from multilayer.errors import ConfigError, DataError
from multilayer.nn.embeddings import TableEmbedding
from multilayer.nn.tabm import BatchEnsembleLinear, MemberLinear, MemberLoss, TabM
from tests.reference import networks


def drawn(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double()


def array(tensor):
    return tensor.detach().numpy()


def test_batch_ensemble_is_k_networks_with_scaled_weights():
    layer, x = drawn(BatchEnsembleLinear(4, 3, k=5)), torch.randn(7, 5, 4, dtype=torch.float64)
    numbers = [array(getattr(layer, name)) for name in ("weight", "r", "s", "bias")]
    assert_close(array(layer(x)), networks.batch_ensemble(array(x), *numbers))


def test_batch_ensemble_gives_one_input_to_all_members():
    layer, x = drawn(BatchEnsembleLinear(4, 3, k=5)), torch.randn(7, 1, 4, dtype=torch.float64)
    assert_close(layer(x), layer(x.expand(-1, 5, -1)))


def test_batch_ensemble_starts_with_equal_members():
    out = BatchEnsembleLinear(4, 3, k=5)(torch.randn(7, 1, 4))
    assert torch.equal(out, out[:, :1].expand(-1, 5, -1))


def test_member_linear_is_k_linears():
    layer, x = drawn(MemberLinear(4, 3, k=5)), torch.randn(7, 5, 4, dtype=torch.float64)
    each = [x[:, i] @ layer.weight[i] + layer.bias[i] for i in range(5)]
    assert_close(layer(x), torch.stack(each, dim=1))


def test_members_equal_the_paper():
    net, x = drawn(TabM(4, 2, k=3, hidden=[6, 5])), torch.randn(7, 4, dtype=torch.float64)
    hidden = [tuple(array(getattr(layer, n)) for n in ("weight", "r", "s", "bias")) for layer in net.hidden]
    heads = [(array(net.head.weight[i]).T, array(net.head.bias[i])) for i in range(3)]
    assert_close(array(net.eval().members(x)), networks.tabm(array(x), hidden, heads))


def test_training_shows_each_member_and_dropout_is_off_in_evaluation():
    net, x = TabM(4, 2, k=3, hidden=[64], dropout=0.5), torch.randn(7, 4)
    assert net(x).shape == (7, 3, 2)
    assert not torch.equal(net(x), net(x))
    assert net.eval()(x).shape == (7, 2)
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize(
    ("link", "predict"),
    [
        ("identity", lambda out: out),
        ("sigmoid", torch.sigmoid),
        ("softmax", lambda out: out.softmax(-1)),
    ],
)
def test_together_they_say_the_mean_prediction(link, predict):
    net, x = drawn(TabM(4, 3, k=5, hidden=[6], link=link)).eval(), torch.randn(7, 4, dtype=torch.float64)
    assert_close(predict(net(x)), predict(net.members(x)).mean(1))


def test_first_scales_are_one_draw_a_feature_and_member_and_all_others_one():
    embedding = TableEmbedding(2, [4], keep=[], piecewise=[0, 1], d_piecewise=3)
    net = TabM(10, 1, k=50, hidden=[8, 8], embedding=embedding, widths=embedding.widths)
    first = net.hidden[0].r
    for start, stop in [(0, 3), (3, 6), (6, 10)]:
        assert (first[:, start:stop] == first[:, start : start + 1]).all()
    assert len(first.unique()) == 3 * 50 and 0.8 < first.std() < 1.2
    others = [net.hidden[0].s, net.hidden[1].r, net.hidden[1].s]
    assert all((scale == 1).all() for scale in others)


def test_first_scales_of_plain_numbers_are_signs():
    net = TabM(6, 1, k=32)
    assert sorted(net.hidden[0].r.unique().tolist()) == [-1, 1]
    assert [layer.s.shape[1] for layer in net.hidden] == [512] * 3
    assert len(TabM(6, 1, k=2, embedding=nn.Identity()).hidden) == 2


def test_refuses_what_does_not_fit():
    with pytest.raises(ConfigError, match="widths must sum to d_in=4; got 3"):
        TabM(4, 1, widths=[1, 2])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss()], ids=str)
def test_member_loss_is_the_mean_of_their_losses(loss, weighted):
    out, weight = torch.randn(6, 4, 3), torch.rand(6) if weighted else None
    target = torch.randint(0, 3, (6,)) if isinstance(loss, nn.CrossEntropyLoss) else torch.rand(6, 3)
    each = copy.copy(loss)
    each.reduction = "none"
    w = torch.ones(6) if weight is None else weight
    losses = [each(out[:, i], target).reshape(6, -1).mean(1) for i in range(4)]
    expected = torch.stack([(values * w).sum() / w.sum() for values in losses]).mean()

    assert_close(MemberLoss(loss)(out, target, weight), expected)
    assert_close(MemberLoss(loss)(out[:, 0], target, weight), (losses[0] * w).sum() / w.sum())
    assert loss.reduction == "mean"


def test_member_loss_refuses_other_shapes():
    with pytest.raises(DataError, match=r"takes \(batch, k, d_out\) or \(batch, d_out\); got \(5,\)"):
        MemberLoss(nn.MSELoss())(torch.zeros(5), torch.zeros(5))


def test_export_agrees():
    net, x = TabM(4, 2, k=3, hidden=[6], link="softmax").eval(), torch.randn(5, 4)
    assert_close(torch.export.export(net, (x,)).module()(x), net(x))
    assert math.isclose(float(net(x).detach().exp().sum(1).mean()), 1, rel_tol=1e-5)
    assert np.isfinite(array(net(x))).all()
