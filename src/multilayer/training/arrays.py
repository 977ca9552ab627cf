"""What users pass as x, y and weights (arrays, tensors, DataFrames, lists) becomes tensors."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import DataError


def as_tensor(values: Any, name: str) -> Tensor:
    """A tensor from a NumPy array, a tensor, a DataFrame or Series (pandas, polars), or nested lists.

    Raises:
        DataError: it holds text or other objects, or no rows.

    >>> as_tensor([[1.0, 2.0]], "x")
    tensor([[1., 2.]], dtype=torch.float64)
    """
    if isinstance(values, Tensor):
        tensor = values.detach()
    else:
        array = _as_array(values)
        if array.dtype.kind not in "fiub":
            raise DataError(
                f"{name} must hold numbers; got {_culprit(values, array)}. "
                "Encode text and dates first, or train from the raw table with multilayer.fit."
            )
        native = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable)
        tensor = torch.from_numpy(np.ascontiguousarray(native))
    if tensor.ndim == 0 or len(tensor) == 0:
        raise DataError(f"{name} must have at least one row; got shape {tuple(tensor.shape)}.")
    return tensor


def as_input(net: nn.Module, x: Any) -> Tensor:
    """The batch on the network's device and in the type of its parameters.

    Whole numbers stay whole (int64) where the first layer looks them up, and become floats everywhere else.

    Raises:
        DataError: x holds text or other objects, or no rows.

    >>> as_input(nn.Linear(2, 1), np.array([[1, 2]]))
    tensor([[1., 2.]])
    """
    parameter = next(net.parameters(), torch.zeros(0))
    batch = as_tensor(x, "x").to(parameter.device)
    leaves = (module for module in net.modules() if not list(module.children()))
    looks_up = isinstance(next(leaves), nn.Embedding | nn.EmbeddingBag)
    return batch.long() if looks_up and not batch.is_floating_point() else batch.to(parameter.dtype)


def check_finite(values: Tensor, name: str) -> None:
    """Refuse NaN and infinities, naming the first row and column."""
    if not values.is_floating_point() or bool(torch.isfinite(values).all()):
        return
    where = (~torch.isfinite(values)).nonzero()[0].tolist()
    column = f", column {where[1]}" if len(where) > 1 else ""
    value = values[tuple(where)].item()
    raise DataError(
        f"{name} must be finite; got {value} in row {where[0]}{column} (counted from 0). "
        "Fill or remove it, or train from the raw table with multilayer.fit, which handles missing values."
    )


def _as_array(values: Any) -> NDArray[Any]:
    to_numpy = getattr(values, "to_numpy", None)
    array = np.asarray(to_numpy() if to_numpy is not None else values)
    if array.dtype == object and hasattr(values, "columns"):  # such as floats beside booleans in pandas
        columns = [_as_array(values[name]) for name in values.columns]
        if all(column.dtype.kind in "fiub" for column in columns):
            return np.stack(columns, axis=1)
    return array


def _culprit(values: Any, array: NDArray[Any]) -> str:
    """Which column is not a number, where that can be told."""
    for column in getattr(values, "columns", []):
        kind = _as_array(values[column]).dtype.kind
        if kind not in "fiub":
            return f"column {str(column)!r} of type {values[column].dtype}"
    return f"an array of type {array.dtype}"
