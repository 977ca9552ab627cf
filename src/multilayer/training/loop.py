"""`train` and `train_pack`: networks, rows and settings become engines and members of a pack, which runs."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.errors import ConfigError, DataError
from multilayer.training.autograd import AutogradEngine
from multilayer.training.history import History
from multilayer.training.kernel_engine import KernelEngine, why_not
from multilayer.training.kernels import is_compiled
from multilayer.training.losses import LossLike
from multilayer.training.optim import Muon, Schedule, make_schedule
from multilayer.training.pack import (
    Callback,
    Clock,
    Engine,
    Member,
    NextRows,
    Progress,
    RunLength,
    check_whole,
    n_cores,
    pack_bytes,
    run_pack,
)
from multilayer.training.rows import Rows, hold_out

logger = logging.getLogger("multilayer")

__all__ = ["Callback", "Progress", "train", "train_pack"]

OptimizerLike = torch.optim.Optimizer | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
FEW_STEPS = 1_000  # with fewer, loading the kernels (some 0.2 s) would cost more than they save
FEW_STEPS_OF_MUON = 200  # each of which takes PyTorch some 5 ms
LOAD_BUDGET_S, COMPILE_BUDGET_S = 0.2, 60.0  # with less time, kernels are not loaded, or not compiled first


def train(
    net: nn.Module,
    x: Any,
    y: Any = None,
    *,
    loss: LossLike,
    optimizer: OptimizerLike | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    validation: float | Sequence[Any] | None = None,
    schedule: str | Schedule | None = None,
    clip_norm: float | None = None,
    accumulate: int | Literal["forever"] = 1,
    sample_weight: Any = None,
    patience: int | None = None,
    metrics: Mapping[str, Callable[..., float]] | None = None,
    time_budget: float | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    engine: str = "auto",
    threads: int | None = 1,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train any `nn.Module` in place, on any loss, with any `torch.optim` optimiser.

    Gradients are cleared for each update. With validation rows the weights of the best epoch are restored at
    the end. A last batch of a single row joins the one before it, so that BatchNorm never sees one row.
    Ctrl-C ends the run and leaves what was reached; so does a loss that is no longer finite, from before the
    epoch in which it happened. Nothing global changes: neither torch's seed nor its threads.

    Args:
        net: the module; its parameters and buffers are trained in place.
        x: inputs (n_rows, ...): NumPy, tensor, DataFrame. Cast to the type of the module's parameters.
        y: targets (n_rows, ...), or None for a loss of the output alone.
        loss: a name ("mse", "mae", "huber", "quantile" (the median), "poisson", "gamma", "tweedie" (these on
            the logarithm of the mean), "cross_entropy", "binary_cross_entropy" (on logits)), a torch.nn loss,
            or a callable of output, or of output and target, that gives a scalar.
        optimizer: an instance that holds the module's parameters, or a maker called with them; None is Adam
            at 1e-3.
        epochs: passes over the rows; 10 where neither `epochs` nor `steps` is given.
        steps: batches in all, instead of epochs.
        batch_size: rows a step; None is all rows up to 256.
        shuffle: draw a new order of rows each epoch.
        validation: (x, y) or, without y, (x,); or a share of the rows, drawn at random and held out.
        schedule: factor on the learning rate over the run: "cosine", "warmup_cosine", "linear", "constant",
            or a function of progress from 0 to 1.
        clip_norm: largest norm of all gradients together.
        accumulate: batches for one update; "forever" never clears gradients (the loop of someone who forgot
            `zero_grad`).
        sample_weight: (n_rows,), not negative; with a mean loss a batch's loss is sum(w l) / sum(w). A
            callable gets the weights as its last argument.
        patience: stop after so many epochs without a better validation loss.
        metrics: name -> function(output, y) on NumPy arrays of the validation rows, after each epoch.
        time_budget: seconds; the schedule is squeezed into them.
        seed: of shuffling, dropout and the validation share.
        device: where to train; the module is moved there. None is where it is.
        engine: "kernels", compiled loops for plain networks on the CPU, "autograd", or "auto": the kernels,
            where they know the network and the run has at least 1,000 steps. `History.engine` says which ran.
        threads: for PyTorch's operations on the CPU, and for a matrix product of the kernels. One is fastest
            up to some 500 units a layer, and on busy machines above it, where threads wait on each other
            more than they work, and gives the same bits whatever the number of cores. More multiply with
            PyTorch's or SciPy's library, whose last digits differ; None leaves PyTorch's setting.
        callbacks: called with a `Progress` after each epoch; one that returns True ends the run.

    Returns:
        the `History`.

    Raises:
        DataError: rows that do not match, values that are not finite, shapes that would broadcast, wrong
            label coding.
        ConfigError: a setting that is unknown or contradicts another.

    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> x = torch.randn(64, 3)
    >>> history = train(net, x, x.sum(1, keepdim=True), loss="mse", epochs=3)
    >>> len(history.train_loss), history.best_epoch
    (3, 3)
    """
    (history,) = train_pack(
        [net],
        x,
        y,
        loss=loss,
        optimizer=optimizer,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        shuffle=shuffle,
        validation=validation,
        schedule=schedule,
        clip_norm=clip_norm,
        accumulate=accumulate,
        sample_weight=sample_weight,
        patience=patience,
        metrics=metrics,
        time_budget=time_budget,
        seeds=[seed],
        device=device,
        engine=engine,
        threads=threads,
        callbacks=callbacks,
    )
    return history


def train_pack(
    nets: Sequence[nn.Module],
    x: Any,
    y: Any = None,
    *,
    loss: LossLike,
    optimizer: OptimizerLike | Sequence[OptimizerLike] | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    validation: float | Sequence[Any] | None = None,
    schedule: str | Schedule | None = None,
    clip_norm: float | None = None,
    accumulate: int | Literal["forever"] = 1,
    sample_weight: Any = None,
    patience: int | None = None,
    metrics: Mapping[str, Callable[..., float]] | None = None,
    time_budget: float | None = None,
    min_epochs: int | None = None,
    seeds: Sequence[int] | None = None,
    rows: Sequence[Any] | None = None,
    validation_rows: Sequence[Any] | None = None,
    more_rows: Callable[[], Sequence[Any]] | None = None,
    device: str | torch.device | None = None,
    engine: str = "auto",
    threads: int | None = 1,
    n_threads: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> list[History]:
    """Train many networks at once on the same rows: a thread each, as many at a time as there are cores.

    Networks may differ in architecture, optimiser, seed and rows. Each comes out to the last bit as `train`
    would make it alone, whatever the number of threads. After each epoch all wait for one another, and
    callbacks are called once. Beside the rows a waiting network takes five times the memory of its
    parameters, a running one its buffers as well; the sum is logged at the start (logger "multilayer", INFO).

    Args:
        nets: the modules, each trained in place.
        optimizer: a maker for all, or one optimiser or maker for each network.
        min_epochs: leave networks out, the last first, where the time budget does not suffice for so many
            epochs of all: they stay as they are, and their `History` says so. None trains all, each for some
            steps however short the budget is.
        seeds: one for each network, of shuffling and dropout; None is 0, 1, 2, ... The first draws a
            validation share.
        rows: one array of row numbers for each network, to train on those alone; counted after a validation
            share is taken out.
        validation_rows: one array of row numbers of x for each network, to validate it on, instead of
            `validation`: with `rows`, the folds of a cross-validation.
        more_rows: gives (x, y, sample_weight) of the next epoch, as many rows as before: for tables that do
            not fit into memory, of which x and y are the first piece. An epoch is then a pass over one piece;
            the schedule spans all epochs, and optimisers go on where they were. Validation needs rows of its
            own.
        n_threads: networks at a time; None is the number of cores that the process may use. Networks on the
            autograd engine run one at a time.
        x, y, ...: everything else as in `train`.

    Returns:
        a `History` for each network.

    Raises:
        DataError, ConfigError: as `train`; or not one optimiser, seed or array of rows for each network.

    >>> nets = [nn.Sequential(nn.Linear(3, d), nn.ReLU(), nn.Linear(d, 1)) for d in (4, 8)]
    >>> x = torch.randn(64, 3)
    >>> [h.epochs for h in train_pack(nets, x, x.sum(1, keepdim=True), loss="mse", epochs=3)]
    [3, 3]
    """
    nets = list(nets)
    if not nets:
        raise ConfigError("a pack needs at least one network; got none.")
    check_whole("min_epochs", min_epochs)
    if device is not None:
        for net in nets:
            net.to(device)
    optimizers = _one_each("optimizer", optimizer, len(nets))
    seeds = list(range(len(nets))) if seeds is None else _one_each("seeds", list(seeds), len(nets))
    data = Rows.make(nets[0], x, y, sample_weight, loss)
    for net in nets[1:]:
        data.check(net)
    data, held_out = hold_out(data, nets[0], validation, seeds[0])
    next_rows = None
    if more_rows is not None:
        if rows is not None or validation_rows is not None or isinstance(validation, float):
            raise ConfigError(
                "more_rows replaces the rows that rows, validation_rows or a share count in; got both. "
                "Pass validation=(x, y)."
            )
        next_rows = _rows_maker(more_rows, nets[0], data)
    subsets = (
        [None] * len(nets)
        if rows is None
        else [_row_numbers(r, data) for r in _one_each("rows", list(rows), len(nets))]
    )
    held_out_of = _held_out_of(held_out, validation_rows, data, len(nets))
    clock = Clock(math.inf if time_budget is None else time_budget)
    made_schedule = make_schedule(schedule)
    members = []
    for net, one, seed, subset, held_out in zip(nets, optimizers, seeds, subsets, held_out_of, strict=True):
        n_rows = data.n_rows if subset is None else len(subset)
        length = RunLength.make(
            n_rows, epochs, steps, batch_size, accumulate, clip_norm, patience, time_budget, held_out
        )
        made = make_optimizer(one, net)
        chosen, reason = make_engine(
            engine, net, data, made, length, clip_norm, accumulate, seed, threads, len(nets)
        )
        member = Member(
            chosen, length, made_schedule, held_out, metrics or {}, rows=subset, seed=seed, shuffle=shuffle
        )
        member.history.engine = f"{chosen.name}: {reason}" if reason else chosen.name
        members.append(member)
    if any(isinstance(member.engine, AutogradEngine) for member in members):
        n_threads = 1  # PyTorch's random state and threads belong to the whole process
    n_threads = n_threads or n_cores()
    megabytes = pack_bytes(members, data, n_threads) / 1e6
    logger.info("Training %d networks, %d at a time, in about %.0f MB.", len(nets), n_threads, megabytes)
    try:
        return run_pack(
            members, clock, callbacks, n_threads=n_threads, next_rows=next_rows, min_epochs=min_epochs
        )
    finally:
        for member in members:
            member.engine.close()


def _rows_maker(more_rows: Callable[[], Sequence[Any]], net: nn.Module, first: Rows) -> NextRows:
    """What gives the rows of the next epoch, checked as those of the first were."""

    def next_rows() -> Rows:
        x, y, weight = more_rows()
        made = Rows.make(net, x, y, weight, first.loss.function)
        if made.n_rows != first.n_rows or (made.weight is None) != (first.weight is None):
            raise DataError(
                "more_rows must give as many rows each time, and weights as at first; "
                f"got {made.n_rows} rows after {first.n_rows}."
            )
        return made

    return next_rows


def _one_each(name: str, value: Any, n: int) -> list[Any]:
    if not isinstance(value, list | tuple):
        if isinstance(value, torch.optim.Optimizer) and n > 1:
            raise ConfigError(
                f"one optimizer cannot serve {n} networks; pass a maker, or a list with one for each."
            )
        return [value] * n
    if len(value) != n:
        raise ConfigError(f"{name} must be one for each of the {n} networks; got {len(value)}.")
    return list(value)


def _held_out_of(
    held_out: Rows | None, validation_rows: Sequence[Any] | None, data: Rows, n: int
) -> Sequence[Rows | None]:
    """The validation rows of each network; the same object where they are the same."""
    if validation_rows is None:
        return [held_out] * n
    if held_out is not None:
        raise ConfigError("give validation or validation_rows, not both.")
    return [data.take(_row_numbers(r, data)) for r in _one_each("validation_rows", list(validation_rows), n)]


def _row_numbers(rows: Any, data: Rows) -> NDArray[np.int64]:
    numbers = np.asarray(rows)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not len(numbers):
        raise DataError(
            f"rows must be row numbers (n,), whole and at least one; got {numbers.dtype} {numbers.shape}."
        )
    if numbers.min() < 0 or numbers.max() >= data.n_rows:
        raise DataError(
            f"rows must be from 0 to {data.n_rows - 1}; got {int(numbers.min())} to {int(numbers.max())}."
        )
    return numbers.astype(np.int64)


def make_engine(
    wanted: str,
    net: nn.Module,
    data: Rows,
    optimizer: torch.optim.Optimizer,
    length: RunLength,
    clip_norm: float | None,
    accumulate: int | Literal["forever"],
    seed: int,
    threads: int | None,
    n_nets: int,
) -> tuple[Engine, str]:
    """The engine for a run of so many networks, and in words why it is not the kernels, where it is not.

    Raises:
        ConfigError: the engine is unknown, or the kernels are wanted and cannot train this.
    """
    if wanted not in ("auto", "kernels", "autograd"):
        raise ConfigError(f"engine must be 'auto', 'kernels' or 'autograd'; got {wanted!r}.")
    rows = (net, data.x, data.y, data.weight)
    reason: str | None = "as asked"
    if wanted != "autograd":
        reason = why_not(net, data.loss, optimizer, data.x)
        if data.weight is not None and accumulate not in (1, "forever"):
            reason = "the kernels do not accumulate batches with sample weights."
        if reason is None and wanted == "auto":
            reason = _why_not_worth_it(length, n_nets, optimizer)
        if reason is not None and wanted == "kernels":
            raise ConfigError(f"engine='kernels' cannot run this: {reason} Use engine='auto'.")
    if reason is None:
        kernels = KernelEngine(
            *rows,
            loss=data.loss,
            optimizer=optimizer,
            clip_norm=clip_norm,
            accumulate=accumulate,
            seed=seed,
            threads=threads or torch.get_num_threads(),
        )
        return kernels, ""
    autograd = AutogradEngine(
        *rows,
        loss=data.loss,
        optimizer=optimizer,
        clip_norm=clip_norm,
        accumulate=accumulate,
        seed=seed,
        threads=threads,
    )
    return autograd, reason


def _why_not_worth_it(length: RunLength, n_nets: int, optimizer: torch.optim.Optimizer) -> str | None:
    n_steps = n_nets * length.n_steps
    if n_steps < (FEW_STEPS_OF_MUON if isinstance(optimizer, Muon | torch.optim.Muon) else FEW_STEPS):
        return f"a run of {n_steps} steps ends before the kernels are loaded."
    if length.time_budget_s < (LOAD_BUDGET_S if is_compiled() else COMPILE_BUDGET_S):
        return f"a budget of {length.time_budget_s:g} s is too short to load or compile the kernels first."
    return None


def make_optimizer(optimizer: Any, net: nn.Module) -> torch.optim.Optimizer:
    """The instance itself, or what the maker makes of the module's trainable parameters.

    Raises:
        ConfigError: it holds none of the module's parameters (often: it was made for another copy of the
            network); there are none to train; it needs a closure, as LBFGS does.
    """
    parameters = [p for p in net.parameters() if p.requires_grad]
    if not parameters:
        raise ConfigError(
            "train needs a network with trainable parameters; all are frozen, or there are none."
        )
    if optimizer is None:
        optimizer = torch.optim.Adam(parameters, lr=1e-3)
    if callable(optimizer) and not isinstance(optimizer, torch.optim.Optimizer):
        optimizer = optimizer(parameters)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ConfigError(
            "optimizer must be a torch.optim.Optimizer, or a maker of one such as torch.optim.Adam; "
            f"got {optimizer if isinstance(optimizer, str) else type(optimizer).__name__!r}."
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigError("optimizer must update from one gradient; LBFGS asks for several. Use Adam or SGD.")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not held & {id(p) for p in parameters}:
        raise ConfigError(
            "optimizer must hold the network's parameters; it holds none of them. Make it from this network: "
            "torch.optim.Adam(net.parameters())."
        )
    return optimizer
