import torch
from torch import nn
from torch.testing import assert_close

from multilayer.nn.embeddings import TableEmbedding
from multilayer.nn.resnet import ResNet
from multilayer.training.kernels.readers import read_plan
from tests.reference import networks


def pair(layer):
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def test_forward_equals_the_paper():
    net = ResNet(4, 2, d=6, hidden=[5, 7], dropout=0.0).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    first, *blocks, norm, _, head = net.layers
    parts = [[pair(layer) for layer in block.inner if hasattr(layer, "bias")] for block in blocks]
    x = torch.randn(9, 4, dtype=torch.float64)

    expected = networks.resnet(x.numpy(), pair(first), parts, [pair(norm), pair(head)])
    assert_close(net(x).detach().numpy(), expected)


def test_sizes_and_dropout_as_in_the_authors_readme():
    net = ResNet(4, 2)
    shapes = [tuple(m.weight.shape) for m in net.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(192, 4), (384, 192), (192, 384), (384, 192), (192, 384), (2, 192)]
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.15, 0.0] * 2


def test_kernels_know_it_with_an_embedding_in_front():
    embedding = TableEmbedding(3, [12], keep=[2])
    plan = read_plan(ResNet(embedding.d_out, 2, embedding=embedding))
    names = [forward.__name__ for forward, _ in plan.kernels]
    assert names[:3] == ["select", "look_up", "linear"] and names.count("join") == 2
