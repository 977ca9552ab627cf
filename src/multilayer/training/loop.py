"""`train`: the one training loop. Engines run the steps; this decides on batches, rates, when to stop."""

import copy
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import ConfigError, DataError
from multilayer.training.arrays import as_input, as_tensor, check_finite
from multilayer.training.autograd import AutogradEngine, denormals_flushed, forward_in_chunks, torch_threads
from multilayer.training.history import History
from multilayer.training.losses import (
    Loss,
    LossLike,
    as_loss_target,
    check_class_codes,
    check_shapes,
    make_loss,
)
from multilayer.training.optim import Schedule, make_schedule

logger = logging.getLogger("multilayer")

OptimizerLike = torch.optim.Optimizer | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
PIECE_S = 0.25  # an epoch runs in pieces of about so long, between which Ctrl-C and the time budget are heard


@dataclass(frozen=True)
class Progress:
    """What a callback sees after each epoch (counted from 1); `epochs` is the number planned now."""

    epoch: int
    epochs: int
    train_loss: float
    val_loss: float | None
    lr: float
    elapsed_s: float
    net: nn.Module = field(repr=False)


Callback = Callable[[Progress], Any]


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
        loss: a name ("mse", "mae", "huber", "cross_entropy", "binary_cross_entropy" (on logits), "poisson"),
            a torch.nn loss, or a callable of output, or of output and target, that gives a scalar.
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
        threads: for PyTorch's operations on the CPU. One is fastest up to some 500 units a layer, where
            threads wait on each other more than they work, and gives the same bits on every machine; None
            leaves PyTorch's setting.
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
    if device is not None:
        net.to(device)
    data = _Rows.make(net, x, y, sample_weight, loss)
    data, held_out = _hold_out(data, net, validation, seed)
    plan = _Plan.make(
        data.n_rows, epochs, steps, batch_size, accumulate, clip_norm, patience, time_budget, held_out
    )
    engine = AutogradEngine(
        net,
        data.x,
        data.y,
        data.weight,
        loss=data.loss,
        optimizer=make_optimizer(optimizer, net),
        clip_norm=clip_norm,
        accumulate=accumulate,
    )
    run = _Run(engine, plan, make_schedule(schedule), held_out, metrics or {}, callbacks, seed, shuffle)
    cuda = [data.x.device] if data.x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), denormals_flushed(), torch_threads(threads):
        torch.manual_seed(seed)
        return run.go()


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


@dataclass(frozen=True)
class _Rows:
    """Rows on the module's device, in the types that module and loss want."""

    x: Tensor
    y: Tensor | None
    weight: Tensor | None
    loss: Loss

    @property
    def n_rows(self) -> int:
        return len(self.x)

    @classmethod
    def make(cls, net: nn.Module, x: Any, y: Any, weight: Any, loss: LossLike) -> "_Rows":
        made = make_loss(loss, has_target=y is not None, has_weight=weight is not None)
        x_all = as_input(net, x)
        check_finite(x_all, "x")
        out = _first_output(net, x_all)
        y_all = None if y is None else as_tensor(y, "y").to(x_all.device)
        if y_all is not None:
            check_finite(y_all, "y")
            _check_rows("y", y_all, x_all)
            y_all = as_loss_target(made, y_all, out.dtype)
            check_shapes(made, out, y_all[:2])
            check_class_codes(made, y_all, out.shape[-1])
        w_all = None if weight is None else _weights(weight, x_all, out.dtype)
        return cls(x_all, y_all, w_all, made)

    def take(self, rows: NDArray[np.int64]) -> "_Rows":
        index = torch.from_numpy(rows).to(self.x.device)
        return _Rows(
            self.x[index],
            None if self.y is None else self.y[index],
            None if self.weight is None else self.weight[index],
            self.loss,
        )


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


def _hold_out(
    data: _Rows, net: nn.Module, validation: float | Sequence[Any] | None, seed: int
) -> tuple[_Rows, _Rows | None]:
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
    return data, _Rows.make(net, x, y, weight, data.loss.function)


@dataclass(frozen=True)
class _Plan:
    """How many epochs of which batches."""

    n_rows: int
    epochs: int
    steps: int | None
    batch_size: int
    patience: int | None
    time_budget_s: float

    @classmethod
    def make(
        cls,
        n_rows: int,
        epochs: int | None,
        steps: int | None,
        batch_size: int | None,
        accumulate: int | str,
        clip_norm: float | None,
        patience: int | None,
        time_budget: float | None,
        held_out: _Rows | None,
    ) -> "_Plan":
        if epochs is not None and steps is not None:
            raise ConfigError("give epochs or steps, not both.")
        sizes = {"epochs": epochs, "steps": steps, "batch_size": batch_size, "patience": patience}
        if accumulate != "forever":
            sizes["accumulate"] = accumulate  # type: ignore[assignment]
        for name, value in sizes.items():
            if value is not None and (not isinstance(value, int | np.integer) or value < 1):
                raise ConfigError(f"{name} must be a whole number of at least 1; got {value!r}.")
        for name, limit in {"clip_norm": clip_norm, "time_budget": time_budget}.items():
            if limit is not None and not limit > 0:
                raise ConfigError(f"{name} must be positive; got {limit!r}.")
        if patience is not None and held_out is None:
            raise ConfigError("patience watches the validation loss; pass validation as well.")
        size = min(batch_size or 256, n_rows)
        per_epoch = len(_bounds(n_rows, size)) - 1
        if epochs is None:
            epochs = 10 if steps is None else math.ceil(steps / per_epoch)
        return cls(n_rows, epochs, steps, size, patience, time_budget or math.inf)


def _bounds(n_rows: int, batch_size: int) -> NDArray[np.int64]:
    """Where batches start, and the end; a last batch left with one row is joined to the one before it."""
    bounds = np.arange(0, n_rows, batch_size)
    if batch_size > 1 and len(bounds) > 1 and n_rows - bounds[-1] == 1:
        bounds = bounds[:-1]
    return np.append(bounds, n_rows).astype(np.int64)


class _Run:
    """One run of the loop: its clock, its random order, the best weights so far."""

    def __init__(
        self,
        engine: AutogradEngine,
        plan: _Plan,
        schedule: Schedule,
        held_out: _Rows | None,
        metrics: Mapping[str, Callable[..., float]],
        callbacks: Sequence[Callback],
        seed: int,
        shuffle: bool,
    ) -> None:
        self.engine, self.plan, self.schedule, self.held_out = engine, plan, schedule, held_out
        self.metrics, self.callbacks, self.shuffle = metrics, callbacks, shuffle
        self.rng = np.random.default_rng([seed, 0])
        self.history = History(engine=engine.name, metrics={name: [] for name in metrics})
        self.started = time.perf_counter()
        self.progress = 0.0  # of the whole run, 0 to 1
        self.step_s = 0.0  # seconds a step, measured
        self.kept = copy.deepcopy(engine.net.state_dict())
        self.best = math.inf

    def go(self) -> History:
        history = self.history
        try:
            while not history.stopped:
                history.stopped = self._epoch()
        except KeyboardInterrupt:
            history.stopped = "interrupted"
            logger.warning("Training was interrupted; the weights reached so far are kept.")
        if self.held_out is not None and history.val_loss:
            self.engine.net.load_state_dict(self.kept)
        elif not history.stopped.startswith("diverged"):
            history.best_epoch = history.epochs
        return history

    def _epoch(self) -> str:
        """Run one epoch; the reason to stop after it, or nothing."""
        history, started = self.history, time.perf_counter()
        planned = self._epochs_left()
        bounds = self._epoch_bounds()
        share = (1 - self.progress) * (len(bounds) - 1) / self._steps_left(planned)
        losses, weights, lr_factor = self._steps(share, self._order(), bounds)
        if not losses:
            return "the time budget was used up"
        history.step_loss += losses
        history.train_loss.append(float(np.average(losses, weights=weights)))
        history.lr.append(self.engine.base_lrs[0] * lr_factor)
        if not all(map(math.isfinite, losses)) or not self._weights_finite():
            return self._diverged(losses)
        self._validate()
        history.epoch_time_s.append(time.perf_counter() - started)
        return self._after_epoch(history.epochs + planned - 1)

    def _steps(
        self, share: float, order: NDArray[np.int64], bounds: NDArray[np.int64]
    ) -> tuple[list[float], NDArray[np.int64], float]:
        """The epoch's steps, piece by piece. share: of the whole run's progress that this epoch is worth."""
        n_steps, done, start = len(bounds) - 1, 0, self.progress
        losses: list[float] = []
        lr_factor = 1.0
        while done < n_steps and self._time_left() > 0:
            piece = min(n_steps - done, max(1, int(PIECE_S / self.step_s)) if self.step_s else 8)
            piece = _whole_updates(piece, n_steps - done, self.engine.accumulate)
            at = start + share * np.arange(done, done + piece) / n_steps
            factors = np.array([self.schedule(float(p)) for p in at])
            begun = time.perf_counter()
            losses += self.engine.run_epoch(order, bounds[done : done + piece + 1], factors).tolist()
            self.step_s = (time.perf_counter() - begun) / piece
            done += piece
            lr_factor = float(factors[-1])
            self.progress = start + share * done / n_steps
        return losses, np.diff(bounds)[:done], lr_factor

    def _order(self) -> NDArray[np.int64]:
        return self.rng.permutation(self.plan.n_rows) if self.shuffle else np.arange(self.plan.n_rows)

    def _epoch_bounds(self) -> NDArray[np.int64]:
        bounds = _bounds(self.plan.n_rows, self.plan.batch_size)
        if self.plan.steps is not None:
            bounds = bounds[: self.plan.steps - len(self.history.step_loss) + 1]
        return bounds

    def _epochs_left(self) -> int:
        """Epochs still to come, fewer than planned where the time budget does not reach."""
        left = self.plan.epochs - self.history.epochs
        times = self.history.epoch_time_s
        if times and math.isfinite(self.plan.time_budget_s):
            left = min(left, max(1, round(self._time_left() / float(np.mean(times)))))
        return left

    def _steps_left(self, epochs: int) -> int:
        """Steps in the epochs still to come, this one included."""
        per_epoch = len(_bounds(self.plan.n_rows, self.plan.batch_size)) - 1
        limit = self.plan.steps - len(self.history.step_loss) if self.plan.steps is not None else None
        return epochs * per_epoch if limit is None else min(epochs * per_epoch, limit)

    def _time_left(self) -> float:
        return self.plan.time_budget_s - (time.perf_counter() - self.started)

    def _validate(self) -> None:
        history, held_out = self.history, self.held_out
        if held_out is None:
            self.kept = copy.deepcopy(self.engine.net.state_dict())
            return
        out = forward_in_chunks(self.engine.net, held_out.x)
        with torch.no_grad():
            loss = float(held_out.loss(out, held_out.y, held_out.weight))
        history.val_loss.append(loss)
        y = None if held_out.y is None else held_out.y.cpu().numpy()
        for name, metric in self.metrics.items():
            history.metrics[name].append(float(metric(out.cpu().numpy(), y)))
        if loss < self.best:
            self.best, history.best_epoch = loss, history.epochs
            self.kept = copy.deepcopy(self.engine.net.state_dict())

    def _after_epoch(self, planned: int) -> str:
        history, plan = self.history, self.plan
        progress = Progress(
            history.epochs,
            planned,
            history.train_loss[-1],
            history.val_loss[-1] if history.val_loss else None,
            history.lr[-1],
            time.perf_counter() - self.started,
            self.engine.net,
        )
        wants_stop = [callback(progress) is True for callback in self.callbacks]
        if any(wants_stop):
            return "a callback asked to stop"
        if plan.patience is not None and history.epochs - history.best_epoch >= plan.patience:
            return f"no better validation loss in {plan.patience} epochs"
        if self._time_left() <= 0 or (self.progress >= 1 - 1e-9 and history.epochs < plan.epochs):
            return "the time budget was used up"
        return "all epochs done" if history.epochs >= plan.epochs else ""

    def _weights_finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.engine.parameters)

    def _diverged(self, losses: list[float]) -> str:
        self.engine.net.load_state_dict(self.kept)
        epoch = self.history.epochs
        if self.held_out is None:
            self.history.best_epoch = epoch - 1
        where = f"diverged: the weights are no longer finite after epoch {epoch}"
        step = next((i for i, value in enumerate(losses) if not math.isfinite(value)), None)
        if step is not None:
            where = f"diverged: the loss became {losses[step]} in epoch {epoch}, step {step + 1}"
        advice = "Lower the learning rate, pass clip_norm=1.0, or scale the inputs."
        logger.warning("Training %s. The weights from before are kept. %s", where, advice)
        return where


def _whole_updates(piece: int, left: int, accumulate: int | str) -> int:
    """Round a piece up so that it ends where an update ends."""
    if accumulate == "forever" or accumulate == 1:
        return piece
    return min(left, math.ceil(piece / int(accumulate)) * int(accumulate))
