"""What stands between encoded columns and the first Linear: embeddings of numbers and of categories."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from multilayer.errors import ConfigError, DataError


class PeriodicEmbedding(nn.Module):
    """Give every number its own few learnt cosines, so that a Linear can follow a curve in it.

    e_f = W_f cos(2 pi (w_f x_f + b_f))            for each feature f

    Shape:   x: (batch, features) -> (batch, features * d_embedding)
    Units:   x in robust-scaled units or ranks in [-1, 1]; w in turns per unit of x
    Source:  Gorishniy et al. 2022, arXiv:2203.05556; RealMLP's "PBLD", arXiv:2407.04491
    Differs: frequencies start log-uniform in [low, high] turns, with either sign, instead of at one scale

    Args:
        n_features: numbers to embed.
        d_embedding: outputs for each number.
        n_frequencies: cosines for each number.
        low: lowest frequency at the start, in turns per unit of x.
        high: highest frequency at the start.

    Raises:
        ConfigError: low is not positive, or high is below low.

    >>> PeriodicEmbedding(3, d_embedding=4)(torch.zeros(5, 3)).shape
    torch.Size([5, 12])
    """

    def __init__(
        self,
        n_features: int,
        d_embedding: int = 4,
        n_frequencies: int = 16,
        low: float = 0.1,
        high: float = 6.0,
    ) -> None:
        super().__init__()
        if not 0 < low <= high:
            raise ConfigError(f"PeriodicEmbedding needs 0 < low <= high; got low={low!r}, high={high!r}.")
        scale = torch.empty(n_features, n_frequencies).uniform_(math.log(low), math.log(high)).exp()
        sign = torch.randint(0, 2, scale.shape) * 2.0 - 1.0
        self.frequency = nn.Parameter(scale * sign)
        self.phase = nn.Parameter(torch.empty(n_features, n_frequencies).uniform_(-0.5, 0.5))
        bound = 1 / math.sqrt(n_frequencies)
        self.weight = nn.Parameter(
            torch.empty(n_features, n_frequencies, d_embedding).uniform_(-bound, bound)
        )

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch d"]:
        """The embedded numbers of each row, feature by feature."""
        turns = x[..., None] * self.frequency + self.phase
        waves = torch.cos(2 * math.pi * turns)  # (batch, f, n), in [-1, 1]
        return torch.einsum("bfn,fnd->bfd", waves, self.weight).flatten(1)


class CategoryEmbedding(nn.Module):
    """Turn category codes into numbers: one column a level where levels are few, a learnt vector where many.

    Shape:   codes: (batch, columns) -> (batch, d_out)
    Source:  Guo & Berkhahn 2016, arXiv:1604.06737; the switch at 9 levels is RealMLP's, arXiv:2407.04491
    Differs: both are looked up in one table, so the one-hot part is a fixed identity

    Args:
        cardinalities: number of codes of each column, the two for missing and unseen included.
        d_embedding: length of a learnt vector.
        one_hot_up_to: columns with at most so many codes are one-hot.

    Attributes:
        d_out: outputs in all.

    >>> CategoryEmbedding([3, 50], d_embedding=8)(torch.tensor([[2, 40]])).shape
    torch.Size([1, 11])
    """

    def __init__(self, cardinalities: Sequence[int], d_embedding: int = 8, one_hot_up_to: int = 10) -> None:
        super().__init__()
        self.cardinalities = tuple(cardinalities)
        self.one_hot = [c <= one_hot_up_to for c in cardinalities]
        self.tables = nn.ModuleList(
            nn.Embedding(c, d_embedding)
            for c, hot in zip(cardinalities, self.one_hot, strict=True)
            if not hot
        )
        self.d_out = sum(
            c if hot else d_embedding for c, hot in zip(cardinalities, self.one_hot, strict=True)
        )

    def forward(self, codes: Int[Tensor, "batch columns"]) -> Float[Tensor, "batch d"]:
        """One-hot columns and learnt vectors, in the order of the columns."""
        parts, tables = [], iter(self.tables)
        for column, (cardinality, hot) in enumerate(zip(self.cardinalities, self.one_hot, strict=True)):
            code = codes[:, column]
            parts.append(nn.functional.one_hot(code, cardinality).float() if hot else next(tables)(code))
        return torch.cat(parts, dim=1)


class TableEmbedding(nn.Module):
    """The first layer of a tabular network: one row of encoded numbers and codes becomes one row of numbers.

    y = [num, periodic(num[periodic columns]), category(codes)]

    Shape:   x: (batch, n_num + columns of codes) -> (batch, d_out); codes stand behind the numbers as float32
    Units:   num as `Encoder.transform` gives it; codes are whole, from 0 to cardinality - 1

    Args:
        n_num: encoded numbers, in front.
        cardinalities: number of codes of each category column, behind them.
        periodic: which numbers get a `PeriodicEmbedding` beside themselves.
        d_periodic: outputs of it for each number.
        d_category: length of a category's vector.

    Attributes:
        d_out: outputs in all.

    Raises:
        DataError: x has another number of columns.

    >>> TableEmbedding(2, [5], periodic=[0])(torch.zeros(4, 3)).shape
    torch.Size([4, 11])
    """

    periodic_columns: Tensor

    def __init__(
        self,
        n_num: int,
        cardinalities: Sequence[int] = (),
        *,
        periodic: Sequence[int] = (),
        d_periodic: int = 4,
        d_category: int = 8,
    ) -> None:
        super().__init__()
        self.n_num = n_num
        self.n_columns = n_num + len(cardinalities)
        self.register_buffer("periodic_columns", torch.tensor(list(periodic), dtype=torch.int64))
        self.periodic = PeriodicEmbedding(len(periodic), d_periodic) if len(periodic) else None
        self.category = CategoryEmbedding(cardinalities, d_category) if len(cardinalities) else None
        self.d_out = n_num + len(periodic) * d_periodic + (self.category.d_out if self.category else 0)

    def forward(self, x: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch d"]:
        """Numbers as they are, then their waves, then the categories."""
        if x.shape[1] != self.n_columns:
            raise DataError(
                f"TableEmbedding expects {self.n_num} numbers and {self.n_columns - self.n_num} codes "
                f"in a row; got {x.shape[1]} columns. Pass what the encoder that it was built for gives."
            )
        num = x[:, : self.n_num]
        parts = [num]
        if self.periodic is not None:
            parts.append(self.periodic(num[:, self.periodic_columns]))
        if self.category is not None:
            parts.append(self.category(x[:, self.n_num :].long()))
        return torch.cat(parts, dim=1)
