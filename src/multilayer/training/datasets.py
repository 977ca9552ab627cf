"""PyTorch's datasets and loaders as rows: arrays where they are no more than that, else a pass of the loader
an epoch.

A loader's batches are trained as they come: its order, sizes, collation and augmentation are its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
)

from multilayer.errors import ConfigError, DataError
from multilayer.training.random_state import RandomState
from multilayer.training.user_arrays import n_rows_of


@dataclass(frozen=True)
class DatasetRows:
    """What a dataset or loader holds.

    x: inputs; y: targets, or None
    bounds: where its batches start, and the end; None where any batches will do
    batch_size, shuffle: of a loader that is plain arrays; None leaves both to the run
    """

    x: Any
    y: Any
    bounds: NDArray[np.int64] | None = None
    batch_size: int | None = None
    shuffle: bool | None = None


def is_dataset(x: Any) -> bool:
    """Whether x is a Dataset or a DataLoader of PyTorch.

    >>> is_dataset(TensorDataset(torch.zeros(3, 2))), is_dataset(torch.zeros(3, 2))
    (True, False)
    """
    return isinstance(x, Dataset | DataLoader)


def as_arrays(data: Any) -> DatasetRows | None:
    """The arrays of a TensorDataset, of a Subset of one, or of a plain loader of these; else None.

    >>> as_arrays(TensorDataset(torch.zeros(3, 2), torch.ones(3))).y
    tensor([1., 1., 1.])
    """
    if isinstance(data, DataLoader):
        arrays = as_arrays(data.dataset) if _is_plain(data) else None
        if arrays is None:
            return None
        return DatasetRows(arrays.x, arrays.y, None, data.batch_size, isinstance(data.sampler, RandomSampler))
    rows: Any = slice(None)
    while type(data) is Subset:
        index = torch.as_tensor(data.indices)
        rows = index if isinstance(rows, slice) else index[rows]
        data = data.dataset
    if type(data) is not TensorDataset:
        return None
    return DatasetRows(*_inputs_and_target([tensor[rows] for tensor in data.tensors]))


class Passes:
    """A loader's passes, one an epoch, each collected as arrays.

    What a pass draws (its order, augmentation) follows from the seed; the caller's generators stay as they
    are.

    Args:
        data: a DataLoader, or a Dataset to make one of.
        batch_size, shuffle: for a Dataset.
        seed: of all passes.
        longest: batches of one pass at most, for datasets that never end.
        net: the network that trains on the batches, and that may not be asked for them.

    Raises:
        ConfigError: batch_size with a loader, which has its own.

    >>> passes = Passes(DataLoader(TensorDataset(torch.zeros(5, 2)), batch_size=2), None, True, seed=0)
    >>> passes().bounds
    array([0, 2, 4, 5])
    """

    def __init__(
        self,
        data: Any,
        batch_size: int | None,
        shuffle: bool,
        seed: int,
        longest: int | None = None,
        net: nn.Module | None = None,
    ) -> None:
        if isinstance(data, DataLoader):
            if batch_size is not None:
                raise ConfigError("a DataLoader makes its own batches; got batch_size as well. Leave it out.")
            self.loader = data
        else:
            draws = shuffle and not isinstance(data, torch.utils.data.IterableDataset)
            self.loader = DataLoader(data, batch_size or 256, shuffle=draws)
        self.random, self.longest, self.net = RandomState(seed), longest, net

    def __call__(self) -> DatasetRows:
        """The next pass.

        Raises:
            DataError: no batch, batches that are not (inputs, target), or that do not fit together.
            ConfigError: making them calls the network.
        """
        with self.random.in_place(), _refusing(self.net):
            batches = [_inputs_and_target(batch) for batch in islice(self.loader, self.longest)]
        if not batches:
            raise DataError("a DataLoader must give at least one batch; it gave none.")
        inputs, targets = zip(*batches, strict=True)
        sizes = [n_rows_of(x) for x in inputs]
        y = None if targets[0] is None else _joined(targets, "targets")
        return DatasetRows(_joined(inputs, "inputs"), y, np.cumsum([0, *sizes]).astype(np.int64))


@contextmanager
def _refusing(net: nn.Module | None) -> Iterator[None]:
    """Refuse calls of a network's parts that train: all batches of an epoch are made before its first step,
    and would come from the network of then.
    """

    def refuse(module: nn.Module, args: Any) -> None:
        if any(p.requires_grad for p in module.parameters()):
            raise ConfigError(
                "a dataset may not call the network that trains on it; it called its "
                f"{type(module).__name__}. All batches of an epoch are made before its first step, from the "
                "network of then. Call it in the loss, or pass one epoch's rows a run, as arrays."
            )

    parts = [] if net is None else [part for part in net.modules() if not isinstance(part, ScriptModule)]
    handles = [part.register_forward_pre_hook(refuse) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_plain(loader: Any) -> bool:
    """Whether a loader gives its dataset's rows in order, or shuffled, in batches of one size, and no
    more.
    """
    dataset: Any = loader.dataset
    sampler, size = loader.sampler, loader.batch_size
    if size is None or not hasattr(sampler, "data_source") or sampler.data_source is not dataset:
        return False
    n_rows = len(dataset)
    in_order = type(sampler) is SequentialSampler
    shuffled = (
        type(sampler) is RandomSampler
        and not sampler.replacement
        and sampler.generator is None
        and sampler.num_samples == n_rows
    )
    return (
        type(loader) is DataLoader
        and loader.collate_fn is default_collate
        and type(loader.batch_sampler) is BatchSampler
        and loader.batch_sampler.sampler is sampler
        and not loader.drop_last
        and (size == 1 or n_rows % size != 1)  # a last batch of one row is the loader's wish
        and (in_order or shuffled)
    )


def _inputs_and_target(batch: Any) -> tuple[Any, Any]:
    """The last part is the target, those before it are inputs; a single one is the input."""
    if isinstance(batch, Tensor):
        return batch, None
    if isinstance(batch, tuple | list) and batch:
        if len(batch) == 1:
            return _as_inputs(batch[0]), None
        inputs = batch[0] if len(batch) == 2 else tuple(batch[:-1])
        return _as_inputs(inputs), _as_inputs(batch[-1])
    raise DataError(
        "a dataset's items must be (input, target), (input, input, ..., target) or an input alone; got "
        f"{type(batch).__name__}. Give the loader a collate_fn that returns such a tuple."
    )


def inputs_of(batch: Any) -> Any:
    """The inputs of a loader's batch, without its target.

    >>> inputs_of([torch.ones(1), torch.zeros(1)])
    tensor([1.])
    """
    return _inputs_and_target(batch)[0]


def _as_inputs(values: Any) -> Any:
    return tuple(values) if isinstance(values, list) else values


def _joined(batches: Sequence[Any], name: str) -> Any:
    """The same parts of all batches, one behind the other."""
    first = batches[0]
    try:
        if isinstance(first, Tensor):
            return torch.cat(list(batches))
        if isinstance(first, dict):
            return {key: torch.cat([batch[key] for batch in batches]) for key in first}
        return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        raise DataError(
            f"all batches of a DataLoader must hold tensors of one shape a row; their {name} do not: {error}."
        ) from error
