import json

import pytest
import torch
from torch import nn

from multilayer.errors import ConfigError
from multilayer.nn.embeddings import TableEmbedding
from multilayer.nn.networks import NetworkConfig

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
