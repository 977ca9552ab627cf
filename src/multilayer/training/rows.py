"""The rows of a run, checked once: on the network's device, in the types that network and loss want."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import ConfigError, DataError
from multilayer.training.arrays import as_input, as_tensor, check_finite
from multilayer.training.autograd import forward_in_chunks
from multilayer.training.losses import (
    Loss,
    LossLike,
    as_loss_target,
    check_class_codes,
    check_shapes,
    make_loss,
)


@dataclass(frozen=True)
class Rows:
    """Inputs, targets and weights of the same rows, and the loss that they are for.

    x: (n_rows, ...); y: (n_rows, ...) or None; weight: (n_rows,) or None
    """

    x: Tensor
    y: Tensor | None
    weight: Tensor | None
    loss: Loss

    @property
    def n_rows(self) -> int:
        """Rows in all."""
        return len(self.x)

    @property
    def n_bytes(self) -> int:
        """Memory of all of it."""
        parts = [part for part in (self.x, self.y, self.weight) if part is not None]
        return sum(part.numel() * part.element_size() for part in parts)

    @classmethod
    def make(cls, net: nn.Module, x: Any, y: Any, weight: Any, loss: LossLike) -> "Rows":
        """Check and convert what the user passed, for this network.

        Raises:
            DataError, ConfigError: as `train` says.
        """
        made = make_loss(loss, has_target=y is not None, has_weight=weight is not None)
        x_all = as_input(net, x)
        check_finite(x_all, "x")
        out = _first_output(net, x_all)
        y_all = None if y is None else as_tensor(y, "y").to(x_all.device)
        if y_all is not None:
            check_finite(y_all, "y")
            _check_rows("y", y_all, x_all)
            y_all = as_loss_target(made, y_all, out.dtype)
            _check_output(made, out, y_all)
        w_all = None if weight is None else _weights(weight, x_all, out.dtype)
        return cls(x_all, y_all, w_all, made)

    def check(self, net: nn.Module) -> None:
        """Refuse a further network whose inputs or outputs do not fit these rows."""
        dtype = next(net.parameters(), self.x).dtype
        if self.x.is_floating_point() and dtype != self.x.dtype:
            raise ConfigError(f"all networks must have one type of numbers; got {self.x.dtype} and {dtype}.")
        out = _first_output(net, self.x)
        if self.y is not None:
            _check_output(self.loss, out, self.y)

    def take(self, rows: NDArray[np.int64]) -> "Rows":
        """The rows of these numbers."""
        index = torch.from_numpy(rows).to(self.x.device)
        return Rows(
            self.x[index],
            None if self.y is None else self.y[index],
            None if self.weight is None else self.weight[index],
            self.loss,
        )


def _check_output(loss: Loss, out: Tensor, y: Tensor) -> None:
    check_shapes(loss, out, y[:2])
    check_class_codes(loss, y, out.shape[-1])


def _first_output(net: nn.Module, x: Tensor) -> Tensor:
    """What the network makes of the first two rows."""
    try:
        return forward_in_chunks(net, x[:2])
    except DataError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        raise DataError(
            f"x must fit the network; it cannot take rows of shape {tuple(x.shape[1:])}: {error}. "
            "multilayer.trace(net, x) names the layer."
        ) from error


def _weights(weight: Any, x: Tensor, dtype: torch.dtype) -> Tensor:
    w = as_tensor(weight, "sample_weight").to(x.device, dtype)
    check_finite(w, "sample_weight")
    _check_rows("sample_weight", w, x)
    if w.ndim != 1 or bool((w < 0).any()) or not bool((w > 0).any()):
        raise DataError(
            "sample_weight must be one number a row, none negative and not all zero; "
            f"got shape {tuple(w.shape)}, from {w.min():g} to {w.max():g}."
        )
    return w


def _check_rows(name: str, values: Tensor, x: Tensor) -> None:
    if len(values) != len(x):
        raise DataError(f"{name} must have as many rows as x; got {len(values)} and {len(x)}.")


def hold_out(
    data: Rows, net: nn.Module, validation: float | Sequence[Any] | None, seed: int
) -> tuple[Rows, Rows | None]:
    """Training and validation rows: a share of data, drawn at random, or those given as (x, y)."""
    if validation is None:
        return data, None
    if isinstance(validation, int | float):
        if not 0 < validation < 1:
            raise ConfigError(f"validation must be (x, y), or a share between 0 and 1; got {validation!r}.")
        order = np.random.default_rng([seed, 1]).permutation(data.n_rows)
        n_held = max(1, round(validation * data.n_rows))
        if n_held >= data.n_rows:
            raise DataError(f"validation={validation} of {data.n_rows} rows leaves none to train on.")
        return data.take(np.sort(order[n_held:])), data.take(np.sort(order[:n_held]))
    parts = tuple(validation)
    expected = 1 if data.y is None else 2
    if len(parts) != expected and not (len(parts) == 3 and expected == 2):
        raise ConfigError(
            f"validation must be {'(x,)' if expected == 1 else '(x, y) or (x, y, sample_weight)'}; "
            f"got {len(parts)} parts."
        )
    x, y, weight = (*parts, None, None)[:3]
    if weight is None and data.weight is not None and data.loss.takes_weight:
        weight = np.ones(len(x))
    return data, Rows.make(net, x, y, weight, data.loss.function)
