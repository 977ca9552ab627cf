"""Networks made anew: built from a seed, or from weights that were kept."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from multilayer.nn.networks import NetworkConfig
from multilayer.training.random_state import RandomState


def build(network: NetworkConfig, seed: int, start: Callable[[Any], None] | None = None) -> Any:
    """A new network whose weights follow from the seed; start: what sets them further."""
    with RandomState(seed, of_all=False).in_place():
        net = network.build()
        if start is not None:
            start(net)
        return net


def restored(net: nn.Module, weights: dict[str, torch.Tensor]) -> nn.Module:
    """A network of the same layers with these weights, ready to predict."""
    net = copy.deepcopy(net).eval()
    net.zero_grad()
    net.load_state_dict(weights)
    return net
