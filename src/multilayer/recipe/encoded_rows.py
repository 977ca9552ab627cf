"""Rows as networks take them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.merge_rows import by_content
from multilayer.tasks.classification import loss_weight


@dataclass(frozen=True)
class EncodedRows:
    """Rows as networks take them.

    x:      float32 (n_rows, d_in): numbers, then codes of categories
    code:   (n_rows,) or (n_rows, n_targets): the target as the task codes it
    weight: float32 (n_rows,); None weighs all alike
    """

    x: NDArray[np.float32]
    code: NDArray[np.generic]
    weight: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.code)

    def take(self, numbers: NDArray[np.int64]) -> "EncodedRows":
        """The rows with these numbers, in this order."""
        return EncodedRows(self.x[numbers], self.code[numbers], self.weights_of(numbers))

    def weights_of(self, numbers: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Weights of the rows with these numbers."""
        return None if self.weight is None else self.weight[numbers]

    def for_loss(self, factors: NDArray[np.float64] | None) -> "EncodedRows":
        """The same rows, weighed as the loss counts them; factors: of each class, from class weights."""
        return replace(self, weight=loss_weight(factors, self.code, self.weight))

    @classmethod
    def by_content(
        cls, x: NDArray[np.float32], code: NDArray[np.generic], weight: NDArray[np.floating[Any]] | None
    ) -> "EncodedRows":
        """The distinct rows with the weights of their repetitions, in an order that their content gives."""
        found = by_content([*x.T], [*(code.T if code.ndim == 2 else [code])], weight)
        merged = None if found.weight is None else found.weight.astype(np.float32)
        return cls(x[found.rows], code[found.rows], merged)
