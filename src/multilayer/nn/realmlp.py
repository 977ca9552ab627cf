"""RealMLP: a multilayer perceptron whose parts were chosen together for tables, and its start from data."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multilayer.nn.blocks import make_activation
from multilayer.nn.embeddings import TableEmbedding

MOST_START_ROWS = 50_000  # that the first weights are scaled by


class ScalingLayer(nn.Module):
    """A learnt factor for each feature: which of them count.

    y = s * x

    Shape:   x: (batch, d) -> (batch, d)
    Source:  Holzmüller et al. 2024, arXiv:2407.04491, Section 3

    Args:
        d: features.

    >>> ScalingLayer(2)(torch.ones(1, 2))
    tensor([[1., 1.]], grad_fn=<MulBackward0>)
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(d))

    def forward(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """Multiply each feature by its factor."""
        return x * self.scale

    def extra_repr(self) -> str:
        """Its sizes, for print."""
        return f"d={len(self.scale)}"


class NTKLinear(nn.Module):
    """A linear map whose weights are of size one: the factor that keeps its outputs small is not learnt.

    y = W x / sqrt(d_in) + b

    Shape:   x: (batch, d_in) -> (batch, d_out)
    Source:  Jacot et al. 2018, arXiv:1806.07572; its start from data ("he+5"): Holzmüller et al. 2024,
             arXiv:2407.04491, Section 3

    Args:
        d_in: features that come in.
        d_out: features that go out.

    >>> NTKLinear(4, 3)(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d_out, d_in))
        self.bias = nn.Parameter(torch.randn(d_out))

    def forward(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_out"]:
        """The map."""
        return nn.functional.linear(x / math.sqrt(self.weight.shape[1]), self.weight, self.bias)

    @torch.no_grad()
    def start_from(self, x: Float[Tensor, "rows d_in"], n_anchors: int = 5) -> None:
        """Draw weights that give each output variance 1 on these rows, and biases that put kinks among them.

        The bias of an output is minus a random point between its values on a few random rows, so that an
        activation's kink at zero lies where there is data.

        Args:
            x: what goes in.
            n_anchors: random rows for each output.
        """
        d_out, d_in = self.weight.shape
        weight = torch.randn(d_out, d_in)
        raw = x @ weight.T / math.sqrt(d_in)
        spread = raw.std(dim=0, correction=0)
        spread = torch.where(spread > 0, spread, 1.0)
        rows = torch.randint(0, len(x), (n_anchors, d_out))
        shares = torch.empty(n_anchors, d_out).exponential_()
        anchors = (raw / spread).gather(0, rows)
        self.weight.copy_(weight / spread[:, None])
        self.bias.copy_(-(anchors * shares / shares.sum(0)).sum(0))

    def extra_repr(self) -> str:
        """Its sizes, for print."""
        return f"d_in={self.weight.shape[1]}, d_out={self.weight.shape[0]}"


class ParametricActivation(nn.Module):
    """An activation that each neuron mixes with the identity.

    y = (1 - a) x + a activation(x)

    Shape:   x: (batch, d) -> (batch, d)
    Source:  Holzmüller et al. 2024, arXiv:2407.04491, Section 3

    Args:
        activation: a name of `ACTIVATIONS`.
        d: neurons; each has its own a, 1 at the start.

    >>> ParametricActivation("selu", 3)(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """

    def __init__(self, activation: str, d: int) -> None:
        super().__init__()
        self.activation = make_activation(activation, d)
        self.share = nn.Parameter(torch.ones(d))

    def forward(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """The mix."""
        return x + self.share * (self.activation(x) - x)

    def extra_repr(self) -> str:
        """Its sizes, for print."""
        return f"d={len(self.share)}"


class PBLDEmbedding(nn.Module):
    """Learnt cosines of each number, mixed; the number itself is to stand beside them ("densely connected").

    e_f = W_f cos(2 pi w_f x_f + b_f) + c_f        for each feature f

    Shape:   x: (batch, features) -> (batch, features * d_embedding)
    Units:   x robust-scaled; w in turns per unit of x; b in radians
    Source:  Holzmüller et al. 2024, arXiv:2407.04491, Section 3 (periodic, bias, linear, DenseNet)

    Args:
        n_features: numbers to embed.
        d_embedding: outputs for each number.
        n_frequencies: cosines for each number.
        sigma: standard deviation of the frequencies at the start.

    >>> PBLDEmbedding(3)(torch.zeros(5, 3)).shape
    torch.Size([5, 9])
    """

    def __init__(
        self, n_features: int, d_embedding: int = 3, n_frequencies: int = 16, sigma: float = 0.1
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_frequencies)
        shape = (n_features, n_frequencies)
        self.frequency = nn.Parameter(sigma * torch.randn(shape))
        self.phase = nn.Parameter(torch.empty(shape).uniform_(-math.pi, math.pi))
        self.weight = nn.Parameter(torch.empty(*shape, d_embedding).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_features, d_embedding).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch d"]:
        """The embedded numbers of each row, feature by feature."""
        waves = torch.cos(2 * math.pi * x[..., None] * self.frequency + self.phase)
        return (torch.einsum("bfn,fnd->bfd", waves, self.weight) + self.bias).flatten(1)

    def extra_repr(self) -> str:
        """Its sizes, for print."""
        return "n_features={}, n_frequencies={}, d_embedding={}".format(*self.weight.shape)


class RealMLP(nn.Module):
    """A multilayer perceptron with a scaling layer, weights of size one and activations that are learnt.

    y   = NTKLinear(z^L)
    z^l = Dropout(ParametricActivation(NTKLinear(z^l-1)))
    z^0 = ScalingLayer(embedding(x))

    Its parts learn at rates of their own: `parameter_groups`. Call `start_from` with training rows before
    training; without it weights and biases are drawn from N(0, 1).

    Shape:   x: (batch, columns) -> (batch, d_out)
    Source:  Holzmüller et al. 2024, arXiv:2407.04491 (RealMLP-TD)

    Args:
        d_in: outputs of the embedding; without one, numbers in a row, which then get a `PBLDEmbedding` each.
        d_out: outputs.
        hidden: widths of the hidden layers.
        activation: "selu" for classes, "mish" for numbers.
        dropout: share of each hidden layer's outputs set to zero in training.
        embedding: what rows go through first.

    >>> net = RealMLP(6, 2)
    >>> net.start_from(torch.randn(100, 6))
    >>> net(torch.zeros(5, 6)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        hidden: Sequence[int] = (256, 256, 256),
        activation: str = "selu",
        dropout: float = 0.15,
        embedding: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if embedding is None:
            embedding = TableEmbedding(d_in, periodic=range(d_in), d_periodic=3, make_periodic=PBLDEmbedding)
            d_in = embedding.d_out
        self.embedding = embedding
        layers: list[nn.Module] = [ScalingLayer(d_in)]
        for d in hidden:
            layers += [NTKLinear(d_in, d), ParametricActivation(activation, d), nn.Dropout(dropout)]
            d_in = d
        self.layers = nn.Sequential(*layers, NTKLinear(d_in, d_out))

    def forward(self, x: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch d_out"]:
        """Through the embedding and all layers."""
        return self.layers(self.embedding(x))

    @torch.no_grad()
    def start_from(self, x: Float[Tensor, "rows columns"]) -> None:
        """Draw each layer's weights so that they suit what these rows become on their way there.

        Args:
            x: training rows; beyond 50,000, every other or third and so on is looked at.
        """
        z = self.embedding(x[:: -(-len(x) // MOST_START_ROWS)])
        for layer in self.layers:
            if isinstance(layer, NTKLinear):
                layer.start_from(z)
            if not isinstance(layer, nn.Dropout):
                z = layer(z)

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for AdamW: scales learn six times as fast as weights, and activations, biases and waves
        a tenth as fast.

        The decay of a group is `weight_decay` times its factor, and 0 for biases, as in the authors' code.
        """
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for module in self.modules():
            for name, parameter in module.named_parameters(recurse=False):
                groups.setdefault(_factors(module, name), []).append(parameter)
        return [
            {"params": parameters, "lr": lr * rate, "weight_decay": weight_decay * decay}
            for (rate, decay), parameters in groups.items()
        ]


def _factors(module: nn.Module, name: str) -> tuple[float, float]:
    """On the learning rate and on the weight decay."""
    if isinstance(module, ScalingLayer):
        return 6.0, 6.0
    if isinstance(module, ParametricActivation | PBLDEmbedding):
        return 0.1, 0.1
    if isinstance(module, NTKLinear) and name == "bias":
        return 0.1, 0.0
    return 1.0, 1.0
