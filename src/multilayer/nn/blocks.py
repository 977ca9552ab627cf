"""The building blocks of a multilayer perceptron, all of them plain `torch.nn` modules."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from multilayer.errors import ConfigError, nearest

Activation = str | nn.Module | Callable[[], nn.Module]


class Residual(nn.Module):
    """Add a block's input to its output, so that a deep network starts out as a shallow one.

    y = x + inner(x)

    Shape:   x, y: (*batch, d), the same d in and out
    Source:  He et al. 2015, arXiv:1512.03385

    Args:
        inner: the layers to go around.

    >>> import torch
    >>> Residual(torch.nn.Identity())(torch.ones(1, 2))
    tensor([[2., 2.]])
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Add the output of the inner layers to the input."""
        return x + self.inner(x)


def block(
    d_in: int,
    d_out: int,
    *,
    activation: Activation = "relu",
    norm: str | None = "batch",
    dropout: float = 0.0,
    bias: bool = True,
) -> nn.Sequential:
    """Build one layer of a multilayer perceptron: Linear, then activation, then norm, then dropout.

    Args:
        d_in: features that come in.
        d_out: features that go out.
        activation: a name of `ACTIVATIONS`, or anything that makes a module when called.
        norm: "batch" (BatchNorm1d), "layer" (LayerNorm) or None.
        dropout: share of outputs set to zero in training, 0 to less than 1.
        bias: whether the Linear has one.

    Raises:
        ConfigError: a width below 1, an unknown name, a dropout outside [0, 1).

    >>> block(5, 2, norm="layer")
    Sequential(
      (0): Linear(in_features=5, out_features=2, bias=True)
      (1): ReLU()
      (2): LayerNorm((2,), eps=1e-05, elementwise_affine=True, bias=True)
    )
    """
    _check_width("d_in", d_in)
    _check_width("d_out", d_out)
    return nn.Sequential(nn.Linear(d_in, d_out, bias=bias), *_after_linear(d_out, activation, norm, dropout))


def mlp(
    d_in: int,
    hidden: int | Sequence[int],
    d_out: int,
    *,
    activation: Activation | Sequence[Activation] = "relu",
    norm: str | None = None,
    dropout: float | Sequence[float] = 0.0,
    residual: bool = False,
) -> nn.Sequential:
    """Build a multilayer perceptron as a plain `nn.Sequential`: the hidden layers, then a last Linear.

    Args:
        d_in: features that come in.
        hidden: width of each hidden layer; () makes a linear model.
        d_out: outputs: 1 for one number, the number of classes for logits.
        activation: one for all hidden layers, or one for each (names of `ACTIVATIONS`, makers of modules,
            or modules, of which each layer gets a copy).
        norm: "batch", "layer" or None, after each activation.
        dropout: share of outputs set to zero in training; one for all hidden layers, or one for each.
        residual: go around each hidden layer whose width equals its input's (`Residual`).

    Raises:
        ConfigError: a width below 1, an unknown name, lists of unequal length, a dropout outside [0, 1).

    >>> mlp(8, [16, 16], 1, activation=["relu", "tanh"])
    Sequential(
      (0): Linear(in_features=8, out_features=16, bias=True)
      (1): ReLU()
      (2): Linear(in_features=16, out_features=16, bias=True)
      (3): Tanh()
      (4): Linear(in_features=16, out_features=1, bias=True)
    )
    """
    widths = [hidden] if isinstance(hidden, int) else list(hidden)
    for name, width in [("d_in", d_in), *(("hidden", width) for width in widths), ("d_out", d_out)]:
        _check_width(name, width)
    activations = one_each("activation", activation, len(widths), "hidden layers")
    dropouts = one_each("dropout", dropout, len(widths), "hidden layers")
    layers: list[nn.Module] = []
    width = d_in
    for d_hidden, act, drop in zip(widths, activations, dropouts, strict=True):
        layer = block(width, d_hidden, activation=act, norm=norm, dropout=drop)
        layers += [Residual(layer)] if residual and d_hidden == width else list(layer)
        width = d_hidden
    return nn.Sequential(*layers, nn.Linear(width, d_out))


def _after_linear(d: int, activation: Activation, norm: str | None, dropout: float) -> list[nn.Module]:
    check_norm(norm)
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout must be at least 0 and below 1; got {dropout!r}.")
    layers = [make_activation(activation, d), NORMS[norm](d), nn.Dropout(dropout) if dropout else None]
    return [layer for layer in layers if layer is not None]


def check_norm(norm: str | None) -> None:
    """Refuse what is no name of `NORMS`."""
    if norm not in NORMS:
        raise ConfigError(f"norm must be 'batch', 'layer' or None; got {norm!r}.")


def make_activation(activation: Activation, d: int = 1) -> nn.Module:
    """Make an activation from a name in `ACTIVATIONS`, a function such as `nn.ReLU`, or a module to copy.

    "prelu" has a learnt slope below 0 for each of d units; all start at 0, so that it begins as a ReLU.

    >>> make_activation("gelu")
    GELU(approximate='none')
    """
    if isinstance(activation, nn.Module):
        return copy.deepcopy(activation)
    if not isinstance(activation, str):
        return activation()
    if activation not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise ConfigError(
            f"unknown activation {activation!r}; known: {known}.{nearest(activation, ACTIVATIONS)}"
        )
    return ACTIVATIONS[activation](d)


def one_each(name: str, value: Any, n: int, things: str) -> list[Any]:
    """A setting for each of n things: one value for all of them, or a sequence with one for each.

    Raises:
        ConfigError: the sequence has another length.

    >>> one_each("dropout", 0.1, 2, "hidden layers"), one_each("dropout", [0.1, 0.2], 2, "hidden layers")
    ([0.1, 0.1], [0.1, 0.2])
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * n
    if len(value) != n:
        raise ConfigError(f"{name} must have length {n}, one for each of the {things}; got {len(value)}.")
    return list(value)


def _check_width(name: str, width: int) -> None:
    if width < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1; got {width!r}.")


ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {  # makers; d: units
    "elu": lambda d=1: nn.ELU(),
    "gelu": lambda d=1: nn.GELU(),
    "identity": lambda d=1: nn.Identity(),
    "leaky_relu": lambda d=1: nn.LeakyReLU(),
    "mish": lambda d=1: nn.Mish(),
    "prelu": lambda d=1: nn.PReLU(d, init=0.0),
    "relu": lambda d=1: nn.ReLU(),
    "selu": lambda d=1: nn.SELU(),
    "sigmoid": lambda d=1: nn.Sigmoid(),
    "silu": lambda d=1: nn.SiLU(),
    "softplus": lambda d=1: nn.Softplus(),
    "tanh": lambda d=1: nn.Tanh(),
}

NORMS: dict[str | None, Callable[[int], nn.Module | None]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    None: lambda d: None,
}
