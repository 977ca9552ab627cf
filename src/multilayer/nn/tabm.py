"""TabM: k multilayer perceptrons in one network, which share their weight matrices."""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multilayer.errors import ConfigError, DataError
from multilayer.nn.config import Link

LINKS: tuple[Link, ...] = get_args(Link)


class BatchEnsembleLinear(nn.Module):
    """k linear maps that share one matrix; each has its own scales for inputs and outputs.

    y_i = s_i * W (r_i * x_i) + b_i                for each member i

    Shape:   x: (batch, k, d_in), or (batch, 1, d_in) for the same input to all -> (batch, k, d_out)
    Source:  Wen et al. 2020, arXiv:2002.06715, Equation 5
    Differs: scales start at one and all members from the same biases, as in TabM, arXiv:2410.24210

    Args:
        d_in: features that come in.
        d_out: features that go out.
        k: members.

    >>> BatchEnsembleLinear(4, 3, k=8)(torch.zeros(5, 1, 4)).shape
    torch.Size([5, 8, 3])
    """

    def __init__(self, d_in: int, d_out: int, k: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(d_in)
        self.weight = nn.Parameter(torch.empty(d_out, d_in).uniform_(-bound, bound))
        self.r = nn.Parameter(torch.ones(k, d_in))
        self.s = nn.Parameter(torch.ones(k, d_out))
        self.bias = nn.Parameter(torch.empty(d_out).uniform_(-bound, bound).repeat(k, 1))

    def forward(self, x: Float[Tensor, "batch members d_in"]) -> Float[Tensor, "batch k d_out"]:
        """What each member makes of its input."""
        return torch.addcmul(self.bias, nn.functional.linear(x * self.r, self.weight), self.s)

    def extra_repr(self) -> str:
        """Its sizes, for print."""
        return f"d_in={self.weight.shape[1]}, d_out={self.weight.shape[0]}, k={len(self.r)}"


class MemberLinear(nn.Module):
    """k linear maps that share nothing.

    y_i = W_i x_i + b_i                            for each member i

    Shape:   x: (batch, k, d_in) -> (batch, k, d_out)

    Args:
        d_in: features that come in.
        d_out: features that go out.
        k: members.

    >>> MemberLinear(4, 3, k=8)(torch.zeros(5, 8, 4)).shape
    torch.Size([5, 8, 3])
    """

    def __init__(self, d_in: int, d_out: int, k: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(d_in)
        self.weight = nn.Parameter(torch.empty(k, d_in, d_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(k, d_out).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "batch k d_in"]) -> Float[Tensor, "batch k d_out"]:
        """What each member makes of its input."""
        return torch.einsum("bki,kio->bko", x, self.weight) + self.bias

    def extra_repr(self) -> str:
        """Its sizes, for print."""
        return f"d_in={self.weight.shape[1]}, d_out={self.weight.shape[2]}, k={len(self.weight)}"


class TabM(nn.Module):
    """k multilayer perceptrons that share their weight matrices, and predict with the mean of all.

    z^0_i = embedding(x)
    z^l_i = dropout(relu(s^l_i * W^l (r^l_i * z^l-1_i) + b^l_i))
    out_i = W_i z^L_i + b_i                        for each member i

    In training the loss is the mean of the members' losses (`MemberLoss`), never the loss of their mean. In
    evaluation mode there is one output, which `link` turns into the mean of the members' predictions.
    Members differ by the first scales r^1, drawn at random; all other scales start at one.

    Shape:   x: (batch, columns) -> (batch, k, d_out) in training, (batch, d_out) in evaluation mode
    Source:  Gorishniy et al. 2025, arXiv:2410.24210, Section 3.3
    Differs: all members see the same batch, as the authors' package has it by default; the paper shuffles for
             each of them

    Args:
        d_in: outputs of the embedding; without one, numbers in a row.
        d_out: outputs of each member.
        k: members.
        hidden: widths of the hidden layers; None is 512 twice behind an embedding, else 512 three times.
        dropout: share of each hidden layer's outputs set to zero in training.
        embedding: what rows go through first, once for all members.
        widths: how d_in divides into features, each of which starts from one scale; None: one by one.
        link: what turns an output into a prediction: "identity", "sigmoid" (one logit) or "softmax".

    Raises:
        ConfigError: an unknown link, or widths that do not sum to d_in.

    >>> net = TabM(6, 1, k=4, hidden=[8])
    >>> net(torch.zeros(5, 6)).shape, net.eval()(torch.zeros(5, 6)).shape
    (torch.Size([5, 4, 1]), torch.Size([5, 1]))
    """

    rows_at_once = 512  # rows of a prediction: each is k rows wide in the hidden layers

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        k: int = 32,
        hidden: Sequence[int] | None = None,
        dropout: float = 0.1,
        embedding: nn.Module | None = None,
        widths: Sequence[int] | None = None,
        link: Link = "identity",
    ) -> None:
        super().__init__()
        if link not in LINKS:
            raise ConfigError(f"link must be 'identity', 'sigmoid' or 'softmax'; got {link!r}.")
        parts = [1] * d_in if widths is None else list(widths)
        if sum(parts) != d_in:
            raise ConfigError(f"widths must sum to d_in={d_in}; got {sum(parts)}.")
        if hidden is None:
            hidden = (512,) * (3 if embedding is None else 2)
        self.link = link
        self.embedding = nn.Identity() if embedding is None else embedding
        sizes = [d_in, *hidden]
        self.hidden = nn.ModuleList(BatchEnsembleLinear(a, b, k) for a, b in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)
        self.head = MemberLinear(sizes[-1], d_out, k)
        if len(self.hidden):
            draws = torch.randn(k, len(parts)) if embedding is not None else _signs(k, len(parts))
            self.hidden[0].r = nn.Parameter(draws.repeat_interleave(torch.tensor(parts), dim=1))
        self.k = k

    def members(self, x: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch k d_out"]:
        """The output of each member."""
        z = self.embedding(x)[:, None]
        for layer in self.hidden:
            z = self.dropout(torch.relu(layer(z)))
        return self.head(z.expand(-1, self.k, -1))

    def forward(self, x: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch ..."]:
        """Each member's output in training; in evaluation mode that of all together."""
        out = self.members(x)
        if self.training:
            return out
        if self.link == "identity":
            return out.mean(1)
        if self.link == "softmax":
            return out.log_softmax(-1).logsumexp(1) - math.log(self.k)
        log_sigmoid = nn.functional.logsigmoid
        return log_sigmoid(out).logsumexp(1) - log_sigmoid(-out).logsumexp(1)


class MemberLoss(nn.Module):
    """The mean of the losses of all members; for a plain output (batch, d_out), the loss itself.

    Shape:   out: (batch, k, d_out) or (batch, d_out); target: as the loss wants it for (batch, d_out)

    Args:
        loss: a torch.nn loss with a reduction.

    Raises:
        DataError: an output that has no axis of members and is not (batch, d_out) either.

    >>> MemberLoss(nn.MSELoss())(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[1.0]]))
    tensor(2.)
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        each: Any = copy.copy(loss)
        each.reduction = "none"
        self.each = each

    def forward(self, out: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of a batch; with weights of its rows, sum(w l) / sum(w)."""
        if out.ndim not in (2, 3):
            raise DataError(f"MemberLoss takes (batch, k, d_out) or (batch, d_out); got {tuple(out.shape)}.")
        k = out.shape[1] if out.ndim == 3 else 1
        losses = self.each(out.reshape(-1, out.shape[-1]), target.repeat_interleave(k, 0))
        losses = losses.reshape(len(target), -1).mean(1)
        if weight is None:
            return losses.mean()
        return (losses * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


def _signs(*shape: int) -> Tensor:
    return torch.randint(0, 2, shape) * 2.0 - 1.0
