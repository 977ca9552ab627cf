"""The networks of a model as steps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from multilayer.model.model import Model
from multilayer.runtime.network_steps import NetworkSteps
from multilayer.runtime.networks import network_steps


def steps_of_networks(model: Model) -> list[NetworkSteps]:
    """One for each network; they need not be built alike."""
    pairs = zip(model.configs, model.networks, strict=True)
    return [network_steps(config.to_json(), arrays_of(net)) for config, net in pairs]


def arrays_of(net: nn.Module) -> dict[str, NDArray[Any]]:
    """A network's weights by name, as a model file has them: single numbers are of one axis."""
    return {name: np.ascontiguousarray(value.cpu().numpy()) for name, value in net.state_dict().items()}
