"""What users pass as x, y and weights (arrays, tensors, DataFrames, lists) becomes tensors.

A network may take several inputs: a tuple of arrays, called as `net(*x)`, or a dict of arrays by the names of
its arguments, called as `net(**x)`. A loss may take several targets: a tuple, called as `loss(out, *y)`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import DataError

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
Target = Tensor | tuple[Tensor, ...] | None
Batch = tuple[Inputs, Target, Tensor | None]  # x, y and weights of some rows


def as_tensor(values: Any, name: str) -> Tensor:
    """A tensor from a NumPy array, a tensor, a DataFrame or Series (pandas, polars), or nested lists.

    Raises:
        DataError: it holds text or other objects, or no rows.

    >>> as_tensor([[1.0, 2.0]], "x")
    tensor([[1., 2.]], dtype=torch.float64)
    """
    if isinstance(values, Tensor):
        tensor = values.detach()
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_nested:
            raise DataError(
                f"{name} must be a dense tensor of real numbers; got one of layout {tensor.layout} and type "
                f"{tensor.dtype}. Call to_dense() on a sparse one, and pass real and imaginary parts as "
                "columns."
            )
    else:
        array = _as_array(values)
        if array.dtype.kind not in "fiub":
            raise DataError(
                f"{name} must hold numbers; got {_culprit(values, array)}. Encode text and dates first, or "
                "train from the raw table with multilayer.fit."
            )
        native = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable)
        tensor = torch.from_numpy(np.ascontiguousarray(native))
    if tensor.ndim == 0 or len(tensor) == 0:
        raise DataError(f"{name} must have at least one row; got shape {tuple(tensor.shape)}.")
    return tensor


def as_inputs(net: nn.Module, x: Any) -> list[Inputs]:
    """The inputs on the network's device and in the type of its parameters, as they may be meant.

    Whole numbers are looked up in an `nn.Embedding`, and numbers like others everywhere else. A network that
    holds embeddings may want either: both are given, whole numbers first.

    Raises:
        DataError: x holds text or other objects, or no rows, or parts of unequal length.

    >>> as_inputs(nn.Linear(2, 1), np.array([[1, 2]]))
    [tensor([[1., 2.]])]
    >>> len(as_inputs(nn.Embedding(3, 1), np.array([[1, 2]])))
    2
    """
    parameter = next(net.parameters(), torch.zeros(0))
    dtype = parameter.dtype if parameter.is_floating_point() else torch.get_default_dtype()
    given = as_parts(x, "x")
    parts = [part.to(parameter.device) for part in parts_of(given)]
    as_floats = like(given, [part.to(dtype) for part in parts])
    is_whole = [not part.is_floating_point() for part in parts]
    if not any(is_whole) or not any(isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in net.modules()):
        return [as_floats]
    kept = [part.long() if whole else part.to(dtype) for part, whole in zip(parts, is_whole, strict=True)]
    return [like(given, kept), as_floats]


def as_parts(values: Any, name: str) -> Inputs:
    """One tensor; or several, from a tuple of arrays or a dict of them.

    Raises:
        DataError: as `as_tensor`; parts of unequal length.
    """
    if isinstance(values, dict):
        made: Inputs = {str(key): as_tensor(part, f"{name}[{key!r}]") for key, part in values.items()}
    elif isinstance(values, tuple) and any(hasattr(part, "shape") for part in values):
        made = tuple(as_tensor(part, f"{name}[{i}]") for i, part in enumerate(values))
    else:
        return as_tensor(values, name)
    lengths = [len(part) for part in parts_of(made)]
    if len(set(lengths)) != 1:
        raise DataError(f"all parts of {name} must have as many rows; got {', '.join(map(str, lengths))}.")
    return made


def parts_of(values: Target | Inputs) -> list[Tensor]:
    """The tensors of inputs or targets, in order.

    >>> parts_of({"a": torch.ones(2), "b": torch.zeros(2)})
    [tensor([1., 1.]), tensor([0., 0.])]
    """
    if values is None:
        return []
    if isinstance(values, Tensor):
        return [values]
    return list(values.values()) if isinstance(values, dict) else list(values)


def like(values: Inputs, parts: Sequence[Tensor]) -> Inputs:
    """Other tensors in the same order and under the same names."""
    if isinstance(values, Tensor):
        return parts[0]
    return dict(zip(values, parts, strict=True)) if isinstance(values, dict) else tuple(parts)


def each(function: Callable[[Tensor], Tensor], values: Any) -> Any:
    """The same of every tensor of inputs or targets; None stays."""
    return None if values is None else like(values, [function(part) for part in parts_of(values)])


def n_rows_of(x: Inputs) -> int:
    """Rows of inputs."""
    return len(parts_of(x)[0])


def taken(values: Any, rows: Any) -> Any:
    """Some rows of inputs or targets: their numbers, or a slice."""
    return each(lambda part: part[rows], values)


def call(net: nn.Module, x: Inputs) -> Any:
    """What a network makes of its inputs."""
    if isinstance(x, Tensor):
        return net(x)
    return net(**x) if isinstance(x, dict) else net(*x)


def batches_of(
    x: Inputs, y: Target, weight: Tensor | None, rows: Tensor, sizes: Sequence[int]
) -> list[Batch]:
    """These rows in batches of these sizes; taken once for all."""
    parts = parts_of(x)
    rows = rows.to(parts[0].device)

    def split(values: Any) -> list[Any]:
        if values is None:
            return [None] * len(sizes)
        pieces = [part[rows].split(list(sizes)) for part in parts_of(values)]
        return [like(values, of_batch) for of_batch in zip(*pieces, strict=True)]

    return list(zip(split(x), split(y), split(weight), strict=True))


def as_numpy(values: Tensor) -> NDArray[Any]:
    """A tensor as NumPy has it; what it has no type for (bfloat16, half) as float32."""
    values = values.detach().cpu()
    return (values.float() if values.dtype in (torch.bfloat16, torch.float16) else values).numpy()


def check_finite(values: Tensor, name: str) -> None:
    """Refuse NaN and infinities, naming the first row and column."""
    if not values.is_floating_point() or bool(torch.isfinite(values.sum())):
        return  # one pass; where a sum of finite numbers overflows, each is looked at
    if bool(torch.isfinite(values).all()):
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
