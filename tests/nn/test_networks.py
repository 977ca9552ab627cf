import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from multilayer.errors import ConfigError
from multilayer.nn.embeddings import TableEmbedding
from multilayer.nn.networks import NetworkConfig
from multilayer.nn.realmlp import RealMLP
from multilayer.nn.resnet import ResNet
from multilayer.nn.tabm import TabM

CONFIG = NetworkConfig(
    n_num=2,
    cardinalities=(3, 30),
    periodic=(0,),
    hidden=(8, 4),
    d_out=2,
    activation="silu",
    norm="batch",
    dropout=0.1,
)


def test_builds_embedding_hidden_layers_and_output():
    net = CONFIG.build()
    assert type(net) is nn.Sequential
    assert isinstance(net[0], TableEmbedding)
    assert [m.out_features for m in net.modules() if isinstance(m, nn.Linear)] == [8, 4, 2]
    assert {type(m).__name__ for m in net} >= {"SiLU", "BatchNorm1d", "Dropout"}
    assert net(torch.zeros(5, 4)).shape == (5, 2)


def test_json_round_trip_builds_the_same_network():
    again = NetworkConfig.from_json(json.loads(json.dumps(CONFIG.to_json())))
    assert again == CONFIG
    net, other = CONFIG.build().eval(), again.build().eval()
    other.load_state_dict(net.state_dict())
    x = torch.rand(5, 4)
    assert torch.equal(net(x), other(x))


def test_same_seed_same_bits():
    def weights():
        torch.manual_seed(3)
        return nn.utils.parameters_to_vector(CONFIG.build().parameters())

    assert torch.equal(weights(), weights())


def test_a_wrong_setting_is_named_when_it_builds():
    with pytest.raises(ConfigError, match="norm must be"):
        NetworkConfig(n_num=1, cardinalities=(), periodic=(), hidden=(2,), d_out=1, norm="no").build()


def test_a_file_from_before_there_were_other_architectures_is_the_same_network():
    names = ("n_num", "cardinalities", "periodic", "hidden", "d_out", "activation", "norm", "dropout")
    old = {name: value for name, value in CONFIG.to_json().items() if name in names}
    assert NetworkConfig.from_json(json.loads(json.dumps(old))) == replace(
        CONFIG, n_frequencies=16, d_periodic=4
    )
    keys = [
        "periodic_columns",
        "periodic.frequency",
        "periodic.phase",
        "periodic.weight",
        "category.tables.0.weight",
    ]
    assert [name.removeprefix("0.") for name in CONFIG.build().state_dict() if name.startswith("0.")] == keys


@pytest.mark.parametrize(("name", "kind"), [("resnet", ResNet), ("realmlp", RealMLP), ("tabm", TabM)])
def test_builds_the_architecture_that_it_names(name, kind):
    config = replace(
        CONFIG, architecture=name, norm=None, keep=(1,), piecewise=(0, 1), n_bins=4, hidden=(8, 6)
    )
    config = replace(config, piecewise=() if name == "realmlp" else (0, 1))
    net = NetworkConfig.from_json(json.loads(json.dumps(config.to_json()))).build()
    assert type(net) is kind
    assert net.eval()(torch.zeros(5, 4)).shape == (5, 2)


def test_a_resnet_without_blocks_is_refused():
    with pytest.raises(ConfigError, match=r"a ResNet needs its width, then one for each block.* got \(8,\)"):
        replace(CONFIG, architecture="resnet", hidden=(8,)).build()


def test_an_unknown_architecture_is_named():
    with pytest.raises(
        ConfigError, match="architecture must be one of linear, mlp, realmlp, resnet, tabm; got 'cnn'"
    ):
        replace(CONFIG, architecture="cnn").build()
