"""The rows of a run, checked once: on the network's device, in the types that network and loss want."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import ConfigError, DataError
from multilayer.table.row_weights import check_weights
from multilayer.training.autograd import REFUSALS, first_that_fits, unfit
from multilayer.training.datasets import Passes, as_arrays, is_dataset
from multilayer.training.losses import Loss, LossLike, make_loss
from multilayer.training.targets import as_loss_target, check_class_codes, check_shapes
from multilayer.training.user_arrays import (
    Inputs,
    Target,
    as_inputs,
    as_numpy,
    as_parts,
    as_tensor,
    check_finite,
    each,
    n_rows_of,
    parts_of,
    taken,
)


@dataclass(frozen=True)
class Rows:
    """Inputs, targets and weights of the same rows, and the loss that they are for.

    x: (n_rows, ...), or several such; y: likewise, or None; weight: (n_rows,) or None
    bounds: where batches start, and the end, if a loader made them: int64 (n_batches + 1,)
    source: what they were made of, if the caller may still change that; index: which rows of it they are
    """

    x: Inputs
    y: Target
    weight: Tensor | None
    loss: Loss
    bounds: NDArray[np.int64] | None = None
    source: "Source | None" = None
    index: Tensor | None = None

    @property
    def n_rows(self) -> int:
        """Rows in all."""
        return n_rows_of(self.x)

    @property
    def n_bytes(self) -> int:
        """Memory of all of it."""
        parts = [*parts_of(self.x), *parts_of(self.y), *parts_of(self.weight)]
        return sum(part.numel() * part.element_size() for part in parts)

    @classmethod
    def make(
        cls,
        net: nn.Module,
        x: Any,
        y: Any,
        weight: Any,
        loss: LossLike,
        bounds: NDArray[np.int64] | None = None,
        again: Callable[[], Sequence[Any]] | None = None,
    ) -> "Rows":
        """Check and convert what the user passed, for this network.

        again: gives x, y and weight once more, where they may be others later on

        Raises:
            DataError, ConfigError: as `train` says.
        """
        given = None if y is None else as_parts(y, "y")
        made = make_loss(
            loss, has_target=y is not None, has_weight=weight is not None, n_targets=len(parts_of(given))
        )
        candidates = as_inputs(net, x)
        for part in parts_of(candidates[0]):
            check_finite(part, "x")
        x_all, out = _first_that_fits(net, candidates)
        device = parts_of(x_all)[0].device
        y_all: Any = each(lambda part: part.to(device), given)
        for part in parts_of(y_all):
            check_finite(part, "y")
            _check_rows("y", part, x_all)
        if y_all is not None:
            y_all = as_loss_target(made, y_all, out.dtype)
            _check_output(made, out, y_all)
        w_all = None if weight is None else _weights(weight, x_all, out.dtype)
        source = Source(again or (lambda: (x, y, weight)), n_rows_of(x_all))
        return cls(x_all, y_all, w_all, made, bounds, source)

    def check(self, net: nn.Module) -> None:
        """Refuse a further network whose inputs or outputs do not fit these rows."""
        floats = next((part for part in parts_of(self.x) if part.is_floating_point()), None)
        dtype = next(net.parameters(), torch.zeros(0)).dtype
        if floats is not None and dtype != floats.dtype:
            raise ConfigError(f"all networks must have one type of numbers; got {floats.dtype} and {dtype}.")
        _, out = _first_that_fits(net, [self.x])
        if self.y is not None:
            _check_output(self.loss, out, self.y)

    def take(self, rows: NDArray[np.int64]) -> "Rows":
        """The rows of these numbers."""
        index = torch.from_numpy(rows).to(parts_of(self.x)[0].device)
        of_source = index if self.index is None else self.index[index]
        parts = (taken(self.x, index), taken(self.y, index), taken(self.weight, index))
        return Rows(*parts, self.loss, None, self.source, of_source)

    def look_again(self) -> None:
        """Copy anew what was copied of the caller's arrays, as code of a user's may have changed these.

        Raises:
            DataError: they have other shapes now.
        """
        if self.source is None:
            return
        own = {"x": self.x, "y": self.y, "sample_weight": self.weight}
        for (name, values), given in zip(own.items(), self.source.again(), strict=True):
            for place, (part, raw) in enumerate(zip(parts_of(values), _parts_given(given), strict=False)):
                self.source.follow(f"{name}[{place}]" if place else name, raw, part, self.index)


class Source:
    """What rows were made of: the caller's arrays, or a dataset's.

    again: gives x, y and weight
    n_rows: of each
    """

    def __init__(self, again: Callable[[], Sequence[Any]], n_rows: int) -> None:
        self.again, self.n_rows = again, n_rows
        self._seen: dict[tuple[str, int], tuple[Any, int]] = {}

    def follow(self, name: str, raw: Any, part: Tensor, index: Tensor | None) -> None:
        """Let a part of the rows be what the array is now, unless it is in its memory, or as before."""
        version = raw._version if isinstance(raw, Tensor) and not raw.is_inference() else None
        key = (name, id(part))
        before = self._seen.get(key)
        if before is not None and version is not None and before[0] is raw and before[1] == version:
            return
        values = as_tensor(raw, name)
        if index is None and values.data_ptr() == part.data_ptr():
            return
        if len(values) != self.n_rows or values.shape[1:] != part.shape[1:]:
            raise DataError(
                f"a callback may change the numbers of {name}, and not how many they are; it had "
                f"{self.n_rows} rows of shape {tuple(part.shape[1:])}, and has {len(values)} of "
                f"{tuple(values.shape[1:])} now. Pass a DataLoader whose batches are made anew each epoch."
            )
        chosen = values if index is None else values[index.to(values.device)]
        part.data = chosen.to(part.device, part.dtype)  # other memory: what part had may be the caller's
        if version is not None:
            self._seen[key] = (raw, version)


def _parts_given(values: Any) -> list[Any]:
    """The arrays in what someone passed; of nested lists none, which would take long to read again."""
    if isinstance(values, dict):
        return list(values.values())
    if isinstance(values, tuple) and any(hasattr(part, "shape") for part in values):
        return list(values)
    return [values] if hasattr(values, "shape") else []


def _check_output(loss: Loss, out: Tensor, y: Target) -> None:
    check_shapes(loss, out, taken(y, slice(0, 2)))
    check_class_codes(loss, y, out.shape[-1])


def _first_that_fits(net: nn.Module, candidates: Sequence[Inputs]) -> tuple[Inputs, Tensor]:
    """As `first_that_fits`, with our error."""
    try:
        return first_that_fits(net, candidates)
    except DataError:
        raise
    except REFUSALS as problem:
        raise unfit(candidates[0], problem) from problem


def _weights(weight: Any, x: Inputs, dtype: torch.dtype) -> Tensor:
    w = as_tensor(weight, "sample_weight").to(parts_of(x)[0].device, dtype)
    check_weights(as_numpy(w), n_rows_of(x))
    return w


def _check_rows(name: str, values: Tensor, x: Inputs) -> None:
    if len(values) != n_rows_of(x):
        raise DataError(f"{name} must have as many rows as x; got {len(values)} and {n_rows_of(x)}.")


def hold_out(data: Rows, net: nn.Module, validation: Any, seed: int) -> tuple[Rows, Rows | None]:
    """Training and validation rows: a share of data, drawn at random, or those given as (x, y) or a
    dataset.
    """
    if validation is None:
        return data, None
    if is_dataset(validation):
        found = as_arrays(validation) or Passes(validation, None, False, seed)()
        validation = (found.x,) if found.y is None else (found.x, found.y)
    if isinstance(validation, int | float):
        if data.bounds is not None:
            raise ConfigError(
                "a share of the rows cannot be held out of a DataLoader's passes; got validation="
                f"{validation!r}. Pass validation=(x, y), or a dataset of its own."
            )
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
        weight = np.ones(n_rows_of(as_parts(x, "x")))
    return data, Rows.make(net, x, y, weight, data.loss.function)
