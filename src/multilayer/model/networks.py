"""A trained network of PyTorch from what a model file holds of it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.model.check_network import check_state
from multilayer.nn.monotone import keep_signs
from multilayer.nn.networks import NetworkConfig
from multilayer.training.random_state import RandomState


def network_of(config: NetworkConfig, arrays: dict[str, NDArray[Any]]) -> nn.Module:
    """The network with these weights, in `eval()`.

    Raises:
        ValueError: arrays are absent, too many, or not those of such a network.
    """
    with RandomState(0, of_all=False).in_place():
        net: nn.Module = config.build()
    check_state(net.state_dict(), arrays, config)
    net.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    keep_signs(net)  # a monotone network is one whatever the file holds
    return net.eval()
