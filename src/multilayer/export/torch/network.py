"""The steps of networks and links as PyTorch: a table of what each step is."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from multilayer.runtime import network_steps as steps
from multilayer.runtime.network_steps import NetworkStep, NetworkSteps
from multilayer.tasks import link_steps as links
from multilayer.tasks.link_steps import LinkChain, LinkStep
from multilayer.tasks.task import Task

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "gelu": F.gelu,
    "leaky_relu": lambda x: F.leaky_relu(x, steps.LEAK),
    "mish": F.mish,
    "relu": F.relu,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "tanh": torch.tanh,
}


class NetworkModule(nn.Module):
    """A network as its steps; every array of theirs is a buffer.

    Shape:   x: (rows, columns) -> (rows, d_out)
    """

    def __init__(self, network: NetworkSteps) -> None:
        super().__init__()
        self._nodes = network.nodes
        for i, node in enumerate(network.nodes):
            for name, value in vars(node.step).items():
                if isinstance(value, np.ndarray):
                    self.register_buffer(f"step_{i}_{name}", torch.from_numpy(np.array(value)))

    def forward(self, x: Tensor) -> Tensor:
        """Through all steps."""
        values = [x]
        for i, node in enumerate(self._nodes):
            taken = [values[place] for place in node.inputs]

            def of(name: str, i: int = i) -> Tensor:
                return self.get_buffer(f"step_{i}_{name}")

            values.append(NETWORK[type(node.step)](node.step, of, *taken))
        return values[-1]


Of = Callable[[str], Tensor]


def _linear(step: steps.Linear, of: Of, x: Tensor) -> Tensor:
    d_out, d_in = step.weight.shape
    y = F.linear(x.reshape(-1, d_in), of("weight"), of("bias"))
    return y.reshape(-1, step.groups * d_out)


def _linear_of_each(step: steps.LinearOfEach, of: Of, x: Tensor) -> Tensor:
    n_groups, d_out, d_in = step.weight.shape
    y = torch.einsum("ngi,goi->ngo", x.reshape(-1, n_groups, d_in), of("weight")) + of("bias")
    return y.reshape(-1, n_groups * d_out)


def _layer_norm(step: steps.LayerNorm, of: Of, x: Tensor) -> Tensor:
    return F.layer_norm(x, (x.shape[1],), of("scale"), of("shift"))


def _groups(x: Tensor, groups: int) -> Tensor:
    return x.reshape(-1, groups, x.shape[1] // groups)


def _log_mean_exp(step: steps.LogMeanExp, of: Of, x: Tensor) -> Tensor:
    parts = _groups(x, step.groups)
    return parts.logsumexp(1) - float(np.log(step.groups))


NETWORK: dict[type[NetworkStep], Callable[..., Tensor]] = {
    steps.Columns: lambda step, of, x: x[:, of("places")],
    steps.Lookup: lambda step, of, x: of("table")[x[:, step.place].long()],
    steps.Affine: lambda step, of, x: x * of("scale") + of("shift"),
    steps.Linear: _linear,
    steps.LinearOfEach: _linear_of_each,
    steps.Ramp: lambda step, of, x: torch.minimum(
        torch.maximum((x - of("start")) / of("width"), of("low")), of("high")
    ),
    steps.Activation: lambda step, of, x: ACTIVATIONS[step.name](x),
    steps.PReLU: lambda step, of, x: torch.where(x > 0, x, of("slope") * x),
    steps.Cosine: lambda step, of, x: torch.cos(x),
    steps.LayerNorm: _layer_norm,
    steps.Concatenate: lambda step, of, *x: torch.cat(x, dim=1),
    steps.Add: lambda step, of, a, b: a + b,
    steps.Mean: lambda step, of, x: _groups(x, step.groups).mean(1),
    steps.LogSoftmax: lambda step, of, x: _groups(x, step.groups).log_softmax(2).reshape(-1, x.shape[1]),
    steps.LogMeanExp: _log_mean_exp,
}


# Links


def _softmax(step: links.Softmax, x: Tensor) -> Tensor:
    z = (x - x.amax(1, keepdim=True)).clamp(min=float(links.SMALLEST_LOGIT))
    powers = z.exp().double()
    return powers / powers.sum(1, keepdim=True)


def _of_each(step: links.OfEach, x: Tensor) -> Tensor:
    parts = [x[:, i * step.width : (i + 1) * step.width] for i in range(len(step.steps))]
    return torch.stack([linked(chain, part) for chain, part in zip(step.steps, parts, strict=True)], dim=1)


LINK: dict[type[LinkStep], Callable[..., Tensor]] = {
    links.First: lambda step, x: x[:, 0].double(),
    links.Scale: lambda step, x: x.double() * step.factor,
    links.Shift: lambda step, x: x.double() + step.by,
    links.Clip: lambda step, x: x.double().clamp(step.low, step.high),
    links.Exp: lambda step, x: x.double().exp(),
    links.Sort: lambda step, x: x.double().sort(dim=1).values,
    links.Sigmoid: lambda step, x: x.double().sigmoid(),
    links.BothClasses: lambda step, x: torch.stack([1 - x, x], dim=1),
    links.Softmax: _softmax,
    links.OfEach: _of_each,
}


def linked(chain: LinkChain, x: Tensor) -> Tensor:
    """All steps of a chain."""
    for step in chain:
        x = LINK[type(step)](step, x)
    return x


class Ensemble(nn.Module):
    """The weighted mean of what the link makes of each network's outputs.

    Shape:   x: encoded rows (rows, columns) -> (rows, ...), float64
    """

    def __init__(self, networks: Sequence[NetworkSteps], task: Task, weights: NDArray[Any]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(map(NetworkModule, networks))
        self._chain, self._weights = task.link_steps, weights.tolist()

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities, numbers or quantiles."""
        said = [w * linked(self._chain, net(x)) for w, net in zip(self._weights, self.networks, strict=True)]
        return torch.stack(said).sum(0) / sum(self._weights)
