"""`train` and `train_pack`: they make the members of a pack from networks, rows and settings, and run it."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Subset, TensorDataset

from multilayer.errors import ConfigError, DataError, counted
from multilayer.machine import n_cores
from multilayer.nn.blocks import one_each
from multilayer.training.autograd import AutogradEngine
from multilayer.training.datasets import Passes, as_arrays, is_dataset
from multilayer.training.first_look import first_look
from multilayer.training.history import History
from multilayer.training.kernels.engine import KernelEngine, read_run
from multilayer.training.kernels.loop import is_compiled
from multilayer.training.kernels.plan import UnknownToKernels
from multilayer.training.losses import LossLike
from multilayer.training.optim import Muon, make_optimizer
from multilayer.training.pack import (
    Callback,
    Engine,
    Member,
    NextRows,
    Progress,
    pack_bytes,
    run_pack,
)
from multilayer.training.random_state import is_drawing
from multilayer.training.rows import Rows, hold_out
from multilayer.training.run_length import Clock, RunLength
from multilayer.training.schedules import ask, check_schedule, make_schedule, make_stepped
from multilayer.training.settings import Training, check_whole, why_no_device

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
    validation: Any = None,
    schedule: Any = None,
    schedule_every: str | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    accumulate: Any = 1,
    sample_weight: Any = None,
    patience: int | None = None,
    metrics: Any = None,
    time_budget: float | None = None,
    seed: Any = 0,
    device: str | torch.device | None = None,
    engine: str = "auto",
    threads: int | None = 1,
    callbacks: Any = (),
) -> History:
    """Train any `nn.Module` in place, on any loss, with any `torch.optim` optimiser.

    Gradients are cleared before each update. With validation rows, the weights of the best epoch are restored
    at the end. A last batch of a single row joins the batch before it, so that BatchNorm never sees one row.
    Ctrl-C ends the run, and the weights reached so far are kept; if a loss is no longer finite, the run ends
    with the weights from before that epoch. Nothing global changes: neither the generators of PyTorch, NumPy
    and Python, nor the number of PyTorch's threads. Every module trains in the mode that it is in, and is in
    that mode afterwards: a BatchNorm in `eval()` keeps its statistics, and dropout in `eval()` drops nothing.
    Whatever a callback changes between epochs (learning rate, frozen parameters, modes, groups of the
    optimiser, numbers in the arrays that are trained on) counts from then on.

    Args:
        net: the module; its parameters and buffers are trained in place, in the memory that they have.
        x: inputs (n_rows, ...): NumPy, tensor, DataFrame. Cast to the type of the module's parameters; whole
            numbers stay whole where an `nn.Embedding` takes them. A tuple of arrays is called as `net(*x)`, a
            dict as `net(**x)`. Or a Dataset or DataLoader of PyTorch, which holds the targets, too.
        y: targets (n_rows, ...), or None for a loss of the output alone; a tuple for a loss of several.
        loss: a name ("mse", "mae", "huber", "quantile" (the median), "poisson", "gamma", "tweedie" (these on
            the logarithm of the mean), "cross_entropy", "binary_cross_entropy" (on logits)), a torch.nn loss,
            or a callable of output, or of output and target, that gives a scalar.
        optimizer: an instance that holds the module's parameters, or a function that makes one from the
            parameters that are not frozen; None is Adam with learning rate 1e-3.
        epochs: passes over the rows; 10 if neither `epochs` nor `steps` is given.
        steps: number of batches in all, instead of epochs.
        batch_size: rows in a step; None is all rows, but at most 256.
        shuffle: draw a new order of rows for each epoch.
        validation: (x, y) or, without y, (x,); a Dataset or DataLoader; or a share of the rows, drawn at
            random and held out.
        schedule: factor on the learning rate over the run: "cosine", "warmup_cosine", "linear", "constant",
            or a function of progress from 0 to 1. Or a scheduler of `torch.optim.lr_scheduler`, made from the
            optimizer, or a function that makes one from it: `lambda optimizer: StepLR(optimizer, 10)`.
            ReduceLROnPlateau follows the validation loss.
        schedule_every: when a scheduler steps: after each "step" (update) or "epoch"; None is "step" for
            OneCycleLR and CyclicLR, "epoch" for the others.
        clip_norm: largest norm of all gradients together.
        clip_value: largest gradient of any one number; `clip_norm` and `clip_value` exclude each other.
        accumulate: number of batches for one update; "forever" never clears gradients (as a loop in which
            `zero_grad` was forgotten).
        sample_weight: (n_rows,), not negative; with a mean loss a batch's loss is sum(w l) / sum(w). A
            callable gets the weights in its argument named sample_weight, sample_weights, weight or weights,
            or else in its last argument, which then has no default.
        patience: stop after so many epochs without a better validation loss.
        metrics: name -> function(output, y) on NumPy arrays of the validation rows, after each epoch.
        time_budget: seconds for the run; the schedule is shortened to fit into them.
        seed: for shuffling, dropout, the validation share, and whatever a loss, module or loader draws.
        device: where to train; the module is moved there. None leaves it where it is.
        engine: "kernels" (compiled loops for plain networks on the CPU), "autograd", or "auto": the kernels
            if they know the network and the run has at least 1,000 steps. `History.engine` says which ran.
        threads: number of threads for PyTorch's operations on the CPU, and for a matrix product of the
            kernels. One is fastest up to about 500 units in a layer, and on busy machines also above that;
            it gives the same result whatever the number of cores. With more, the library of PyTorch or SciPy
            multiplies, and its last digits differ. None leaves PyTorch's setting.
        callbacks: one or more, called with a `Progress` after each epoch; one that returns True ends the run.

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
    given = dict(locals())
    shared = {name: value for name, value in given.items() if name not in ("net", "x", "y", "loss", "seed")}
    (history,) = train_pack([net], x, y, loss=loss, seeds=[seed], **shared)
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
    validation: Any = None,
    schedule: Any = None,
    schedule_every: str | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    accumulate: Any = 1,
    sample_weight: Any = None,
    patience: int | None = None,
    metrics: Any = None,
    time_budget: float | None = None,
    min_epochs: int | None = None,
    seeds: Sequence[Any] | None = None,
    rows: Sequence[Any] | None = None,
    validation_rows: Sequence[Any] | None = None,
    more_rows: Callable[[], Sequence[Any]] | None = None,
    device: str | torch.device | None = None,
    engine: str = "auto",
    threads: int | None = 1,
    n_threads: int | None = None,
    callbacks: Any = (),
) -> list[History]:
    """Train many networks at once on the same rows, each in its own thread.

    As many networks train at a time as there are cores. They may differ in architecture, optimiser, seed and
    rows. Each gets, to the last bit, the weights that `train` would give it alone, whatever the number of
    threads. After each epoch all wait for one another, and callbacks are called once. Beside the rows, a
    waiting network takes five times the memory of its parameters, and a running network its buffers as well;
    the sum is logged at the start (logger "multilayer", INFO).

    Args:
        nets: the modules, each trained in place.
        optimizer: a function that makes an optimiser for each network, or a list with one optimiser or such a
            function for each.
        min_epochs: if the time budget does not suffice to train all networks for so many epochs, leave some
            out, the last first; they stay as they are, and their `History` says so. None trains all, each for
            at least some steps.
        seeds: one seed for each network, for shuffling and dropout; None is 0, 1, 2, ... The first one draws
            the validation share.
        rows: one array of row numbers for each network, to train on those alone; counted after a validation
            share is taken out.
        validation_rows: one array of row numbers of x for each network, to validate it on, instead of
            `validation`: with `rows`, the folds of a cross-validation.
        more_rows: a function that returns (x, y, sample_weight) for the next epoch, as many rows as before.
            It is for tables that do not fit into memory: x and y are then their first piece, an epoch is a
                pass
            over one piece, the schedule spans all epochs, and optimisers go on where they were. Validation
            needs rows of its own.
        n_threads: number of networks to train at a time; None is the number of cores that the process may
            use. Networks on the autograd engine run one at a time.
        x, y, ...: everything else as in `train`.

    Returns:
        a `History` for each network.

    Raises:
        DataError, ConfigError: as in `train`; or there is not one optimiser, seed or array of rows for each
            network.

    >>> nets = [nn.Sequential(nn.Linear(3, d), nn.ReLU(), nn.Linear(d, 1)) for d in (4, 8)]
    >>> x = torch.randn(64, 3)
    >>> [h.epochs for h in train_pack(nets, x, x.sum(1, keepdim=True), loss="mse", epochs=3)]
    [3, 3]
    """
    training = Training.make(
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        shuffle=shuffle,
        schedule_every=schedule_every,
        clip_norm=clip_norm,
        clip_value=clip_value,
        accumulate=accumulate,
        patience=patience,
        metrics=metrics,
        time_budget=time_budget,
        min_epochs=min_epochs,
        engine=engine,
        threads=threads,
        n_threads=n_threads,
        callbacks=callbacks,
    )
    nets = _checked_nets(nets, device)
    optimizers = _one_each("optimizer", optimizer, len(nets))
    schedules = _one_each("schedule", schedule, len(nets))
    seeds = _checked_seeds(seeds, len(nets))
    given = _Given.make(nets, x, y, sample_weight, loss, more_rows, training, seeds[0])
    training = given.training
    data, held_out = hold_out(given.rows, nets[0], validation, seeds[0])
    if given.next_rows is not None and (
        rows is not None or validation_rows is not None or isinstance(validation, float)
    ):
        raise ConfigError(
            "more_rows, or a DataLoader, replaces the rows that rows, validation_rows or a share count in; "
            "got both. Pass validation=(x, y)."
        )
    next_rows = None if given.next_rows is None else given.next_rows(data)
    subsets = [None] * len(nets) if rows is None else _row_numbers_of("rows", rows, data, len(nets))
    held_out_of = _held_out_of(held_out, validation_rows, data, len(nets))
    clock = Clock(math.inf if time_budget is None else time_budget)
    each = zip(nets, optimizers, schedules, seeds, subsets, held_out_of, strict=True)
    members = [_make_member(training, given, data, len(nets), *own) for own in each]
    members[0].history.findings = first_look(nets[0], data, members[0].length.n_steps)
    if any(isinstance(member.engine, AutogradEngine) for member in members) or is_drawing():
        n_threads = 1  # PyTorch's random state and threads belong to the whole process
    n_threads = n_threads or (n_cores() if len(nets) > 1 else 1)
    megabytes = pack_bytes(members, data, n_threads) / 1e6
    logger.info("Training %d networks, %d at a time, in about %.0f MB.", len(nets), n_threads, megabytes)
    try:
        return run_pack(
            members,
            clock,
            training.callbacks,
            n_threads=n_threads,
            next_rows=next_rows,
            min_epochs=min_epochs,
            rows=[data] if next_rows is None else [],
        )
    finally:
        for member in members:
            member.engine.close()


def _checked_nets(nets: Iterable[nn.Module], device: Any) -> list[nn.Module]:
    """Networks that can train beside each other, on the device."""
    found = list(nets)
    if not found:
        raise ConfigError("a pack needs at least one network; got none.")
    _check_apart(found)
    for net in found:
        _check_net(net)
        if device is not None:
            _move(net, device)
    return found


def _checked_seeds(seeds: Sequence[Any] | None, n: int) -> list[Any]:
    found = list(range(n)) if seeds is None else _one_each("seeds", list(seeds), n)
    for seed in found:
        check_whole("seed", -1 if seed is None else seed, least=0)
        if seed >= 2**63:
            raise ConfigError(f"seed must be below 2**63; got {seed}.")
    return found


@dataclass(frozen=True)
class _Given:
    """The rows that a pack was given.

    rows:      of the first epoch
    next_rows: from the rows that are trained on, what gives those of a later epoch; None if they stay
    x, y, weight: as they came
    training:  the settings, with the batches of a loader
    """

    rows: Rows
    next_rows: Callable[[Rows], NextRows] | None
    x: Any
    y: Any
    weight: Any
    training: Training

    @classmethod
    def make(
        cls,
        nets: Sequence[nn.Module],
        x: Any,
        y: Any,
        weight: Any,
        loss: LossLike,
        more_rows: Callable[[], Sequence[Any]] | None,
        training: Training,
        seed: int,
    ) -> "_Given":
        """Arrays, or what a dataset holds, checked against each network."""
        passes: Passes | None = None
        bounds, again, first = None, None, x
        if is_dataset(x):
            if y is not None or weight is not None or more_rows is not None:
                raise ConfigError(
                    "a Dataset or DataLoader holds its targets, and gives its rows anew each epoch; got y, "
                    "sample_weight or more_rows as well. Leave them out, or pass arrays."
                )
            found = as_arrays(x)
            if found is None:
                passes = Passes(x, training.batch_size, training.shuffle, seed, training.steps, nets[0])
                found = passes()
            elif found.batch_size is not None and training.batch_size is not None:
                raise ConfigError("a DataLoader makes its own batches; got batch_size as well. Leave it out.")
            else:
                again = partial(_of_dataset, x)
            first, y, bounds = found.x, found.y, found.bounds
            training = replace(
                training,
                batch_size=training.batch_size if found.batch_size is None else found.batch_size,
                shuffle=training.shuffle if found.shuffle is None else found.shuffle,
            )
        rows = Rows.make(nets[0], first, y, weight, loss, bounds, again)
        for net in nets[1:]:
            rows.check(net)
        next_rows = None
        if passes is not None:
            next_rows = partial(_passes_maker, passes, nets[0])
        elif more_rows is not None:
            next_rows = partial(_rows_maker, more_rows, nets[0])
        return cls(rows, next_rows, x, y, weight, training)


def _make_member(
    training: Training,
    given: _Given,
    data: Rows,
    n_nets: int,
    net: nn.Module,
    optimizer: Any,
    schedule: Any,
    seed: int,
    subset: NDArray[np.int64] | None,
    held_out: Rows | None,
) -> Member:
    """A network with its engine, optimiser, schedule and rows; subset: numbers of the rows to train on."""
    training.check_length(has_validation=held_out is not None)
    length = RunLength.make(training, data.n_rows if subset is None else len(subset), data.bounds)
    made = make_optimizer(optimizer, net, may_be_given_more=bool(training.callbacks))
    _check_data(made, x=given.x, y=given.y, sample_weight=given.weight)
    _tell_of_idle_loss(data.loss.module, made, net)
    schedule = ask(schedule)
    stepped = make_stepped(schedule, made, training.schedule_every)
    made_schedule = make_schedule(schedule if stepped is None else None)
    check_schedule(
        made_schedule, stepped, made, length, training.accumulate, has_validation=held_out is not None
    )
    engine, reason = make_engine(training, net, data, made, length, int(seed), n_nets)
    member = Member(
        engine,
        length,
        made_schedule,
        held_out,
        training.metrics,
        rows=subset,
        seed=int(seed),
        shuffle=training.shuffle,
        stepped=stepped,
        bounds=data.bounds,
        insists=training.engine == "kernels",
    )
    member.history.engine, member.history.engine_reason = engine.name, reason
    return member


def _check_apart(nets: Sequence[nn.Module]) -> None:
    """Refuse networks of a pack that would train each other's parameters."""
    held = [id(p) for net in nets for p in net.parameters()]
    if len(held) != len(set(held)):
        raise ConfigError(
            "networks of a pack must have parameters of their own; two of them share some. Copy one of them: "
            "copy.deepcopy(net)."
        )


def _check_data(optimizer: torch.optim.Optimizer, **given: Any) -> None:
    """Refuse rows that the optimiser holds: they are copied, batch by batch, and would stay as they are."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, values in given.items():
        while isinstance(values, DataLoader | Subset):
            values = values.dataset
        if isinstance(values, TensorDataset):
            values = values.tensors
        parts = values.values() if isinstance(values, dict) else values
        if any(id(part) in held for part in (parts if isinstance(values, tuple | dict) else (values,))):
            raise ConfigError(
                f"{name} is data, and does not train; the optimizer holds it. Make it a parameter of the "
                "network, such as an nn.Embedding that looks up a row's own numbers."
            )


def _tell_of_idle_loss(loss: nn.Module | None, optimizer: torch.optim.Optimizer, net: nn.Module) -> None:
    """Warn of what a loss has to train, and nobody trains."""
    if loss is None or not any(p.requires_grad for p in loss.parameters()):
        return
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    known = held | {id(p) for p in net.parameters()}
    idle = [name for name, p in loss.named_parameters() if p.requires_grad and id(p) not in known]
    if idle:
        logger.warning(
            "The loss has parameters that the optimizer does not hold, which stay as they are: %s. To train "
            "them, make the optimizer of [*net.parameters(), *loss.parameters()]; else freeze them: "
            "loss.requires_grad_(False).",
            ", ".join(idle[:3]) + (f" and {len(idle) - 3} more" if len(idle) > 3 else ""),
        )


def _check_net(net: Any) -> None:
    if not isinstance(net, nn.Module):
        raise ConfigError(
            "train needs an nn.Module, such as nn.Sequential or multilayer.mlp(...); got "
            f"{type(net).__name__}."
        )
    dropping = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
    if not net.training and any(isinstance(module, dropping) for module in net.modules()):
        logger.warning(
            "The network is in eval() and trains so: dropout drops nothing, and BatchNorm keeps its "
            "statistics. Call net.train() first if that is not meant."
        )


def _move(net: nn.Module, device: Any) -> None:
    is_name = isinstance(device, str | int | torch.device)
    reason = why_no_device(device) if is_name else "nothing is computed there"
    if reason is not None:
        raise ConfigError(
            f"device must be one that PyTorch can use here, such as 'cpu'; got {device!r}: {reason}"
        )
    net.to(device)


def _of_dataset(data: Any) -> tuple[Any, Any, None]:
    """x, y and no weights of a dataset or loader that is plain arrays, as it is now.

    Raises:
        DataError: it is something else now.
    """
    found = as_arrays(data)
    if found is None:
        raise DataError(
            "a callback made a dataset of plain arrays into something else. Make it so before the run, or "
            "pass a DataLoader with a dataset of your own."
        )
    return found.x, found.y, None


def _passes_maker(passes: Passes, net: nn.Module, first: Rows) -> NextRows:
    """What gives the rows of a loader's next pass, checked as those of the first were."""

    def next_rows() -> Rows:
        found = passes()
        return Rows.make(net, found.x, found.y, None, first.loss.function, found.bounds)

    return next_rows


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
    if isinstance(value, torch.optim.Optimizer | LRScheduler) and n > 1:
        raise ConfigError(f"one {name} cannot serve {n} networks; pass a maker, or a list with one for each.")
    return one_each(name, value, n, "networks")


def _held_out_of(
    held_out: Rows | None, validation_rows: Sequence[Any] | None, data: Rows, n: int
) -> Sequence[Rows | None]:
    """The validation rows of each network; the same object where they are the same."""
    if validation_rows is None:
        return [held_out] * n
    if held_out is not None:
        raise ConfigError("give validation or validation_rows, not both.")
    return [data.take(numbers) for numbers in _row_numbers_of("validation_rows", validation_rows, data, n)]


def _row_numbers_of(name: str, given: Sequence[Any], data: Rows, n: int) -> list[NDArray[np.int64]]:
    return [_row_numbers(numbers, data) for numbers in _one_each(name, list(given), n)]


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
    training: Training,
    net: nn.Module,
    data: Rows,
    optimizer: torch.optim.Optimizer,
    length: RunLength,
    seed: int,
    n_nets: int,
) -> tuple[Engine, str]:
    """The engine for a run of so many networks, and in words why it is not the kernels, where it is not.

    Raises:
        ConfigError: the kernels are wanted and cannot train this.
    """
    wanted, accumulate, threads = training.engine, training.accumulate, training.threads
    reason: str | None = "as asked"
    plan = None
    if wanted != "autograd":
        try:
            plan, reason = read_run(net, data.loss, optimizer, data.x, data.y, accumulate), None
        except UnknownToKernels as unknown:
            reason = str(unknown)
        if reason is None and wanted == "auto":
            reason = _why_not_worth_it(length, n_nets, optimizer)
        if reason is not None and wanted == "kernels":
            raise ConfigError(f"engine='kernels' cannot run this: {reason} Use engine='auto'.")
    shared: dict[str, Any] = {"loss": data.loss, "optimizer": optimizer, "seed": seed}
    shared |= {"clip_norm": training.clip_norm, "clip_value": training.clip_value}
    rows = (net, data.x, data.y, data.weight)
    if reason is None:
        threads = threads or torch.get_num_threads()
        return KernelEngine(*rows, **shared, accumulate=int(accumulate), threads=threads, plan=plan), ""
    return AutogradEngine(*rows, **shared, accumulate=accumulate, threads=threads), reason


def _why_not_worth_it(length: RunLength, n_nets: int, optimizer: torch.optim.Optimizer) -> str | None:
    n_steps = n_nets * length.n_steps
    if n_steps < (FEW_STEPS_OF_MUON if isinstance(optimizer, Muon | torch.optim.Muon) else FEW_STEPS):
        return f"a run of {counted(n_steps, 'step')} is too short to gain from the kernels."
    if length.time_budget_s < (LOAD_BUDGET_S if is_compiled() else COMPILE_BUDGET_S):
        return f"a budget of {length.time_budget_s:g} s is too short to load or compile the kernels first."
    return None
