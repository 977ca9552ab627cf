"""ResNet for tables: a linear layer, residual blocks with BatchNorm in front, a linear head."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from multilayer.nn.blocks import Residual


class ResNet(nn.Module):
    """Residual blocks between a linear layer and a linear head.

    y   = Linear(ReLU(BatchNorm(z^n)))
    z^i = z^i-1 + Dropout(Linear(Dropout(ReLU(Linear(BatchNorm(z^i-1))))))
    z^0 = Linear(embedding(x))

    Shape:   x: (batch, columns) -> (batch, d_out)
    Source:  Gorishniy et al. 2021, arXiv:2106.11959, Section 3.2; sizes as in the authors' package

    Args:
        d_in: outputs of the embedding; without one, numbers in a row.
        d_out: outputs.
        d: width between the blocks.
        hidden: width inside each block.
        dropout: share of a block's hidden outputs set to zero in training.
        residual_dropout: share of what a block adds that is set to zero in training.
        embedding: what rows go through first.

    >>> import torch
    >>> ResNet(6, 2)(torch.zeros(5, 6)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        d: int = 192,
        hidden: Sequence[int] = (384, 384),
        dropout: float = 0.15,
        residual_dropout: float = 0.0,
        embedding: nn.Module | None = None,
    ) -> None:
        super().__init__()
        blocks = [
            Residual(
                nn.Sequential(
                    nn.BatchNorm1d(d),
                    nn.Linear(d, d_hidden),
                    nn.ReLU(),
                    nn.Dropout(dropout),
                    nn.Linear(d_hidden, d),
                    nn.Dropout(residual_dropout),
                )
            )
            for d_hidden in hidden
        ]
        first = [] if embedding is None else [embedding]
        last = [nn.BatchNorm1d(d), nn.ReLU(), nn.Linear(d, d_out)]
        self.layers = nn.Sequential(*first, nn.Linear(d_in, d), *blocks, *last)

    def forward(self, x: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch d_out"]:
        """Through all layers."""
        return self.layers(x)
