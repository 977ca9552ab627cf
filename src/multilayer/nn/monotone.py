"""Multilayer perceptrons whose output never falls, or never rises, with chosen inputs: signs of weights."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multilayer.errors import ConfigError
from multilayer.nn.blocks import check_norm

RISING, FALLING, FREE, UNUSED = 1, -1, 0, 2  # how the output may depend on an input
ANY = 2.0  # as a sign: the weight is free
FREE_SHARE = 0.5  # of the units that depend on free inputs alone, where there are free inputs


class SignedLinear(nn.Linear):
    """A Linear whose weights keep their signs: `project`, called after each update, sets all others to 0.

    y = W x + b,    sign_ij W_ij >= 0

    Both engines do so, or the same in a kernel: the weights are within their signs after every step.

    Shape:   x: (*batch, d_in), y: (*batch, d_out)
    Source:  non-negative weights, Archer & Wang 1993, doi:10.1111/j.1540-5915.1993.tb00462.x

    Args:
        sign: (d_out, d_in) of each weight: 1 not negative, -1 not positive, 0 zero, 2 free.

    >>> layer = SignedLinear(torch.tensor([[1.0, -1.0, 0.0]]))
    >>> bool(layer.weight[0, 0] >= 0), bool(layer.weight[0, 1] <= 0), layer.weight[0, 2].item()
    (True, True, 0.0)
    """

    sign: Tensor

    def __init__(self, sign: Float[Tensor, "d_out d_in"]) -> None:
        super().__init__(sign.shape[1], sign.shape[0])
        self.register_buffer("sign", sign.clone(), persistent=False)
        with torch.no_grad():  # half of the weights would start at zero otherwise
            self.weight.copy_(torch.where(sign.abs() == 1, self.weight.abs() * sign, self.weight))
        self.project()

    @torch.no_grad()
    def project(self) -> None:
        """Set weights of the wrong sign to 0."""
        across = (self.weight * self.sign < 0) & (self.sign != ANY)
        self.weight.masked_fill_(across | (self.sign == 0), 0.0)


def keep_signs(net: nn.Module) -> None:
    """`project` every `SignedLinear` of a network."""
    for module in net.modules():
        if isinstance(module, SignedLinear):
            module.project()


def monotone_mlp(
    inputs: Sequence[int],
    hidden: Sequence[int],
    d_out: int,
    *,
    norm: str | None = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    """A ReLU network whose outputs rise with some inputs and fall with others, whatever its weights learn.

    Hidden units are of three kinds: rising, falling, and free ones, which see free inputs alone and so
    follow any curve in them. A weight from a unit or input to a unit has the sign that keeps the latter's
    kind; ReLUs of rising units bend upwards, negative weights from falling ones bend downwards.

    Source:  Runje & Shankaranarayana 2023, arXiv:2205.11775 (convex and concave units, free inputs apart)
    Differs: a concave unit is a falling ReLU behind a negative weight, so that layers are Linear and ReLU, as
             everywhere; free inputs also reach the rising and falling units; signs are kept by projection

    Args:
        inputs: of each input RISING (1), FALLING (-1), FREE (0), or UNUSED (2): has no influence.
        hidden: widths of the hidden layers.
        d_out: outputs.
        norm: "batch" or None, after each activation; without a scale of its own, which might be negative.
        dropout: share of hidden outputs set to zero in training.

    Raises:
        ConfigError: another norm, which mixes inputs.

    >>> net = monotone_mlp([RISING, FREE], [16, 16], 1).eval()
    >>> low, high = net(torch.tensor([[0.0, 5.0], [1.0, 5.0]])).squeeze().tolist()
    >>> low <= high
    True
    """
    check_norm(norm)
    if norm == "layer":
        raise ConfigError("a monotone network takes norm 'batch' or None; 'layer' mixes the inputs of a row.")
    layers: list[nn.Module] = []
    below = torch.tensor(list(inputs))
    for width in hidden:
        units = _unit_kinds(width, has_free=bool((below == FREE).any()))
        layers += [SignedLinear(_signs(units, below)), nn.ReLU()]
        layers += [nn.BatchNorm1d(width, affine=False)] if norm == "batch" else []
        layers += [nn.Dropout(dropout)] if dropout else []
        below = units
    return nn.Sequential(*layers, SignedLinear(_signs(torch.full((d_out,), RISING), below)))


def _unit_kinds(width: int, *, has_free: bool) -> Tensor:
    """Free units first, then rising and falling ones in equal numbers."""
    n_free = min(round(width * FREE_SHARE), width - 1) if has_free else 0
    kinds = torch.full((width,), FREE)
    kinds[n_free::2], kinds[n_free + 1 :: 2] = RISING, FALLING
    return kinds


def _signs(units: Tensor, inputs: Tensor) -> Float[Tensor, "d_out d_in"]:
    """What each weight may be, so that a unit depends on its inputs as its kind says."""
    signs = (units[:, None] * inputs[None, :]).float()  # 0 where a free unit meets a rising or falling input
    signs[:, inputs == FREE] = ANY
    signs[:, inputs == UNUSED] = 0.0
    return signs
