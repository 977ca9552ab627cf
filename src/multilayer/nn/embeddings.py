"""Embeddings of numbers and of categories, between the encoded columns and the first Linear."""

import math
from collections.abc import Callable, Sequence
from functools import partial

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
        n_frequencies: int = 8,
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


class PiecewiseLinearEmbedding(nn.Module):
    """Give every number a learnt piecewise-linear curve in each of a few outputs, on top of a line.

    e_f = a_f x_f + b_f + sum_t W_ft r_t(x_f)      for each feature f
    r_t(x) = (x - edge_t) / (edge_t+1 - edge_t)    clipped to [0, 1]: the share of bin t that lies below x

    The first bin is not clipped below, nor the last one above, so that the curve goes on outside the edges.
    The curves W start at zero: at first each number is embedded by its line alone.

    Shape:   x: (batch, features) -> (batch, features * d_embedding)
    Units:   x as the edges; without edges, ranks in [-1, 1], of which equal bins hold equal shares of rows
    Source:  Gorishniy et al. 2022, arXiv:2203.05556, Equation 1
    Differs: beside a line, as in TabM, arXiv:2410.24210 (there "version B")

    Args:
        n_features: numbers to embed.
        d_embedding: outputs for each number.
        n_bins: bins of each number, all of one width from -1 to 1; other edges: `of_edges`.

    Raises:
        ConfigError: no bin, or edges that do not rise.

    >>> PiecewiseLinearEmbedding(3, d_embedding=4, n_bins=8)(torch.zeros(5, 3)).shape
    torch.Size([5, 12])
    """

    edges: Tensor

    def __init__(self, n_features: int, d_embedding: int = 16, n_bins: int = 48) -> None:
        super().__init__()
        if n_bins < 1:
            raise ConfigError(f"PiecewiseLinearEmbedding needs n_bins of at least 1; got {n_bins!r}.")
        self.register_buffer("edges", torch.linspace(-1.0, 1.0, n_bins + 1).repeat(n_features, 1))
        bound = 1 / math.sqrt(d_embedding)
        self.slope = nn.Parameter(torch.empty(n_features, d_embedding).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_features, d_embedding).uniform_(-bound, bound))
        self.weight = nn.Parameter(torch.zeros(n_features, n_bins, d_embedding))

    @classmethod
    def of_edges(
        cls, edges: Sequence[Tensor | Sequence[float | int]], d_embedding: int = 16
    ) -> "PiecewiseLinearEmbedding":
        """Make an embedding with other bins for each number, such as those that `quantile_edges` gives.

        Numbers may have different numbers of bins: shorter rows are filled up with bins of width 0.

        Args:
            edges: the bin edges of each number, rising.

        >>> PiecewiseLinearEmbedding.of_edges([[0.0, 1.0, 4.0], [0.0, 1.0]]).edges
        tensor([[0., 1., 4.],
                [0., 1., 1.]])
        """
        rows = [torch.as_tensor(row, dtype=torch.float32) for row in edges]
        if not rows or any(row.ndim != 1 or len(row) < 2 or (row.diff() <= 0).any() for row in rows):
            raise ConfigError("edges must be at least two rising numbers for each feature.")
        longest = max(map(len, rows))
        made = cls(len(rows), d_embedding, longest - 1)
        made.edges = torch.stack([torch.cat([row, row[-1:].expand(longest - len(row))]) for row in rows])
        return made

    def shares(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features bins"]:
        """The piecewise-linear encoding itself: how much of each bin lies below x."""
        width = self.edges.diff()
        exists = width > 0
        place = torch.arange(width.shape[1], device=x.device)
        low = torch.where(place == 0, -math.inf, 0.0)
        high = torch.where(place == exists.sum(1, keepdim=True) - 1, math.inf, 1.0)
        inside = (x[..., None] - self.edges[:, :-1]) / torch.where(exists, width, 1.0)
        return torch.minimum(torch.maximum(inside, low), high) * exists

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch d"]:
        """The embedded numbers of each row, feature by feature."""
        curves = torch.einsum("bft,ftd->bfd", self.shares(x), self.weight)
        return (x[..., None] * self.slope + self.bias + curves).flatten(1)

    def extra_repr(self) -> str:
        """Its sizes, for print."""
        return "n_features={}, n_bins={}, d_embedding={}".format(*self.weight.shape)


def quantile_edges(x: Float[Tensor, "rows features"], n_bins: int = 48) -> list[Tensor]:
    """Find bin edges for each number, so that bins hold equal shares of these rows; fewer if values repeat.

    Source:  Gorishniy et al. 2022, arXiv:2203.05556, Section 3.2.1

    Raises:
        DataError: a number that does not vary.

    >>> quantile_edges(torch.tensor([[0.0], [1.0], [2.0], [8.0]]), n_bins=3)
    [tensor([0., 1., 2., 8.])]
    """
    levels = torch.linspace(0.0, 1.0, n_bins + 1, dtype=torch.float64)
    edges = [torch.quantile(column.double(), levels).to(x.dtype).unique() for column in x.T]
    if any(len(row) < 2 for row in edges):
        raise DataError("a number that is to be cut into bins must vary; one is the same in all rows.")
    return edges


class CategoryEmbedding(nn.Module):
    """Turn category codes into numbers: a column of 0 and 1 for each of few levels, or a learnt vector.

    Shape:   codes: (batch, columns) -> (batch, d_out)
    Source:  Guo & Berkhahn 2016, arXiv:1604.06737; the switch at 9 levels is RealMLP's, arXiv:2407.04491
    Differs: both are looked up in one table, so the one-hot part is a fixed identity

    Args:
        cardinalities: number of codes of each column, the two for missing and unseen included.
        d_embedding: length of a learnt vector.
        one_hot_up_to: columns with at most so many codes are one-hot.

    Attributes:
        widths: outputs of each column.
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
        self.widths = [c if hot else d_embedding for c, hot in zip(cardinalities, self.one_hot, strict=True)]
        self.d_out = sum(self.widths)

    def forward(self, codes: Int[Tensor, "batch columns"]) -> Float[Tensor, "batch d"]:
        """One-hot columns and learnt vectors, in the order of the columns."""
        parts, tables = [], iter(self.tables)
        for column, (cardinality, hot) in enumerate(zip(self.cardinalities, self.one_hot, strict=True)):
            code = codes[:, column]
            parts.append(nn.functional.one_hot(code, cardinality).float() if hot else next(tables)(code))
        return torch.cat(parts, dim=1)


class TableEmbedding(nn.Module):
    """The first layer of a tabular network: one row of encoded numbers and codes becomes one row of numbers.

    y = [num[keep], periodic(num[periodic]), piecewise(num[piecewise]), category(codes)]

    Shape:   x: (batch, n_num + columns of codes) -> (batch, d_out); codes stand behind the numbers as float32
    Units:   num as `Encoder.transform` gives it; codes are whole, from 0 to cardinality - 1

    Args:
        n_num: encoded numbers, in front.
        cardinalities: number of codes of each category column, behind them.
        keep: which numbers go through as they are; None is all.
        periodic: which numbers get a `PeriodicEmbedding`.
        d_periodic, n_frequencies: outputs and cosines of it for each number.
        make_periodic: makes another embedding for them, from their number and `d_periodic`.
        piecewise: which numbers get a `PiecewiseLinearEmbedding`, with bins of one width from -1 to 1.
        d_piecewise, n_bins: outputs and bins of it for each number.
        d_category, one_hot_up_to: as in `CategoryEmbedding`.

    Attributes:
        widths: outputs that each part of a row becomes, number by number and column by column, in order.
        d_out: outputs in all.

    Raises:
        DataError: x has another number of columns.

    >>> TableEmbedding(2, [5], periodic=[0])(torch.zeros(4, 3)).shape
    torch.Size([4, 11])
    """

    kept_columns: Tensor
    periodic_columns: Tensor
    piecewise_columns: Tensor

    def __init__(
        self,
        n_num: int,
        cardinalities: Sequence[int] = (),
        *,
        keep: Sequence[int] | None = None,
        periodic: Sequence[int] = (),
        d_periodic: int = 4,
        n_frequencies: int = 8,
        make_periodic: Callable[[int, int], nn.Module] | None = None,
        piecewise: Sequence[int] = (),
        d_piecewise: int = 16,
        n_bins: int = 48,
        d_category: int = 8,
        one_hot_up_to: int = 10,
    ) -> None:
        super().__init__()
        self.n_num = n_num
        self.n_columns = n_num + len(cardinalities)
        kept = range(n_num) if keep is None else keep
        self.register_buffer("periodic_columns", _numbers(periodic))
        self.register_buffer("kept_columns", _numbers(kept), persistent=False)
        self.register_buffer("piecewise_columns", _numbers(piecewise), persistent=False)
        if make_periodic is None:
            make_periodic = partial(PeriodicEmbedding, n_frequencies=n_frequencies)
        self.periodic = make_periodic(len(periodic), d_periodic) if len(periodic) else None
        self.piecewise = (
            PiecewiseLinearEmbedding(len(piecewise), d_piecewise, n_bins) if len(piecewise) else None
        )
        self.category = (
            CategoryEmbedding(cardinalities, d_category, one_hot_up_to) if len(cardinalities) else None
        )
        self.widths = [1] * len(kept) + [d_periodic] * len(periodic) + [d_piecewise] * len(piecewise)
        self.widths += self.category.widths if self.category else []
        self.d_out = sum(self.widths)

    def forward(self, x: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch d"]:
        """Numbers as they are, then their waves, their curves, and the categories."""
        if x.shape[1] != self.n_columns:
            raise DataError(
                f"TableEmbedding expects {self.n_num} numbers and {self.n_columns - self.n_num} codes "
                f"in a row; got {x.shape[1]} columns. Pass what the encoder that it was built for gives."
            )
        num = x[:, : self.n_num]
        parts = [num[:, self.kept_columns]]
        if self.periodic is not None:
            parts.append(self.periodic(num[:, self.periodic_columns]))
        if self.piecewise is not None:
            parts.append(self.piecewise(num[:, self.piecewise_columns]))
        if self.category is not None:
            parts.append(self.category(x[:, self.n_num :].long()))
        return torch.cat(parts, dim=1)


def _numbers(places: Sequence[int]) -> Tensor:
    return torch.tensor(list(places), dtype=torch.int64)
