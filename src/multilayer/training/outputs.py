"""`predict`: the outputs of a network for many rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler

from multilayer.errors import ConfigError, DataError
from multilayer.training.autograd import (
    REFUSALS,
    call_without_graph,
    evaluating,
    first_that_fits,
    is_torchs,
    mixes_rows,
    unfit,
)
from multilayer.training.datasets import as_arrays, inputs_of, is_dataset
from multilayer.training.random_state import RandomState
from multilayer.training.settings import check_whole
from multilayer.training.user_arrays import Inputs, as_inputs, n_rows_of, taken


def predict(net: nn.Module, x: Any, *, batch_size: int = 8192) -> Any:
    """Give the outputs of a network for many rows, in batches, in `eval()` mode, without gradients.

    Afterwards every module is in the mode that it was in before, also after an error.

    Shape:   x: (n_rows, ...) -> what `net(x)` gives, with all rows

    Args:
        net: any module.
        x: rows: NumPy, tensor, DataFrame; a tuple for `net(*x)`, a dict for `net(**x)`; or a Dataset or
            DataLoader of PyTorch, whose targets are left out.
        batch_size: number of rows in a batch, which bounds the memory.

    Returns:
        a tensor on the network's device; or a tuple or dict of them, if the network gives one.

    Raises:
        DataError: x does not fit the network, holds text, or comes shuffled.
        ConfigError: batch_size is no whole number of at least 1.

    >>> net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    >>> predict(net, torch.zeros(5, 3)).shape, net.training
    (torch.Size([5, 2]), True)
    """
    if not isinstance(net, nn.Module):
        raise ConfigError(f"predict needs an nn.Module; got {type(net).__name__}.")
    check_whole("batch_size", batch_size)
    device = next(net.parameters(), torch.zeros(0)).device
    state = RandomState(0, device, of_all=not is_torchs(net) or is_dataset(x))
    with state.in_place(), evaluating(net), torch.no_grad():
        outputs = [_checked(_called(net, batch), batch) for batch in _batches(net, x, batch_size)]
    if not outputs:
        raise DataError("predict needs at least one row; got none.")
    return _joined(outputs)


def _batches(net: nn.Module, x: Any, batch_size: int) -> Iterator[Inputs]:
    if is_dataset(x):
        arrays = as_arrays(x)
        if arrays is not None and not arrays.shuffle:
            x = arrays.x
        else:
            yield from _of_loader(net, x, batch_size)
            return
    candidates = as_inputs(net, x)
    rows = _fitting(net, candidates) if len(candidates) > 1 else candidates[0]
    size = max(1, n_rows_of(rows)) if mixes_rows(net) else batch_size
    for start in range(0, n_rows_of(rows), size):
        yield taken(rows, slice(start, start + size))


def _of_loader(net: nn.Module, data: Any, batch_size: int) -> Iterator[Inputs]:
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size)
    sampler = loader.sampler
    if not isinstance(sampler, SequentialSampler) and not isinstance(
        loader.dataset, torch.utils.data.IterableDataset
    ):
        raise DataError(
            "predict gives rows in their order, and this DataLoader draws them with a "
            f"{type(sampler).__name__}. Pass its dataset, or make the loader with shuffle=False."
        )
    for batch in loader:
        candidates = as_inputs(net, inputs_of(batch))
        yield _fitting(net, candidates) if len(candidates) > 1 else candidates[0]


def _fitting(net: nn.Module, candidates: Sequence[Inputs]) -> Inputs:
    try:
        return first_that_fits(net, candidates)[0]
    except REFUSALS:
        return candidates[0]  # the network says what it cannot take


def _called(net: nn.Module, batch: Inputs) -> Any:
    try:
        return call_without_graph(net, batch)
    except DataError:
        raise
    except REFUSALS as problem:
        raise unfit(batch, problem) from problem


def _checked(output: Any, batch: Inputs) -> Any:
    for part in parts_of_output(output):
        if part.ndim == 0 or len(part) != n_rows_of(batch):
            raise DataError(
                f"a network must give a row for each row of x; {n_rows_of(batch)} rows gave an output of "
                f"shape {tuple(part.shape)}."
            )
    return output


def parts_of_output(output: Any) -> list[Tensor]:
    """The tensors in what a network gave.

    Raises:
        DataError: something in it is no tensor.
    """
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict | tuple | list):
        values = output.values() if isinstance(output, dict) else output
        return [part for value in values for part in parts_of_output(value)]
    raise DataError(f"a network must give tensors; got {type(output).__name__}.")


def _joined(outputs: Sequence[Any]) -> Any:
    """The outputs of all batches, one behind the other, in the form that the network gives them."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return torch.cat(list(outputs))
    if isinstance(first, dict):
        return {key: _joined([output[key] for output in outputs]) for key in first}
    return tuple(_joined(parts) for parts in zip(*outputs, strict=True))
