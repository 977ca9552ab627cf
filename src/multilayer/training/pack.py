"""Packs: many networks trained side by side, a thread each, none waiting on another inside an epoch.

One network is a pack of one: this is the one training loop. Engines run the steps; members draw batches and
rates; the pack keeps the clock, tells the callbacks and stops.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from multilayer.errors import ConfigError, counted
from multilayer.training.autograd import AutogradEngine, evaluating
from multilayer.training.history import History, Stop
from multilayer.training.kept import Kept
from multilayer.training.kernels.engine import KernelEngine
from multilayer.training.rows import Rows
from multilayer.training.run_length import Clock, RunLength, batch_bounds
from multilayer.training.schedules import SCHEDULES, Schedule, Stepped, constant
from multilayer.training.user_arrays import as_numpy, parts_of

logger = logging.getLogger("multilayer")

Engine = AutogradEngine | KernelEngine
PIECE_S = 0.25  # an epoch runs in pieces of about so long, between which Ctrl-C and the time budget are heard


@dataclass(frozen=True)
class Progress:
    """What a callback gets after each epoch. Epochs count from 1; `epochs` is the number that is planned now.

    Losses and learning rate are means over the networks that ran. `nets` holds all networks, `net` is the
    first. `val_outputs` and `val_losses` hold the outputs and the loss of each network for its validation
    rows, or None if it did not run.
    """

    epoch: int
    epochs: int
    train_loss: float
    val_loss: float | None
    lr: float
    elapsed_s: float
    nets: tuple[nn.Module, ...] = field(repr=False)
    val_outputs: tuple[NDArray[Any] | None, ...] = field(repr=False, default=())
    val_losses: tuple[float | None, ...] = field(repr=False, default=())

    @property
    def net(self) -> nn.Module:
        """The first member's network."""
        return self.nets[0]


# A callback of ours may have an attribute `_multilayer_changes`, so that networks and optimisers need not be
# read anew after each epoch: "nothing", or "settings" of optimisers that their rules know. Without it:
# "anything".
Callback = Callable[[Progress], Any]
NextRows = Callable[[], Rows]  # gives the rows of the next epoch


class Member:
    """One network in a pack: its random order, its place in the schedule, its best weights so far."""

    def __init__(
        self,
        engine: Engine,
        length: RunLength,
        schedule: Schedule,
        held_out: Rows | None,
        metrics: Mapping[str, Callable[..., float]],
        *,
        rows: NDArray[np.int64] | None,
        seed: int,
        shuffle: bool,
        stepped: Stepped | None = None,
        bounds: NDArray[np.int64] | None = None,
        insists: bool = False,
    ) -> None:
        """stepped: PyTorch's scheduler; bounds: of a loader's batches; insists: on the engine that it has."""
        self.engine, self.length, self.schedule, self.held_out = engine, length, schedule, held_out
        self.metrics, self.rows, self.shuffle = metrics, rows, shuffle
        self.stepped, self.bounds, self.insists = stepped, bounds, insists
        self.own_bounds = batch_bounds(length.n_rows, length.batch_size)
        self.rng = np.random.default_rng([seed, 0])
        self.history = History(metrics={name: [] for name in metrics})
        self.progress = 0.0  # of the whole run, 0 to 1
        self.step_s = 0.0  # seconds a step, measured
        self.kept = Kept(engine.net)
        self.best = math.inf
        self.losses: list[float] = []  # of the newest epoch's steps
        self.batches = (np.zeros(0, np.int64), np.zeros(1, np.int64))  # their rows, and where each starts
        self.out: Tensor | None = None  # of the validation rows, after the newest epoch

    @property
    def kept_bytes(self) -> int:
        """Memory for as long as the pack runs: of weights, gradient, moments and the best weights so far."""
        return self.engine.kept_bytes + self.kept.n_bytes

    @property
    def running_bytes(self) -> int:
        """Memory in addition during its own epochs: of a batch's buffers and the order of the rows."""
        return self.engine.running_bytes(self.length.batch_size) + 16 * self.length.n_rows

    @property
    def runs_foreign_code(self) -> bool:
        """Whether code of a user's runs in an epoch or after it, which may change network or optimiser."""
        known = self.engine.loss.module is not None and self.schedule in SCHEDULES.values()
        return not known or bool(self.metrics) or self.stepped is not None

    @property
    def is_running(self) -> bool:
        """Whether another epoch is to come."""
        return self.history.stop is None

    def use(self, rows: Rows) -> None:
        """Train on these rows from now on."""
        self.engine.use(rows.x, rows.y, rows.weight)
        if rows.bounds is not None:
            self.bounds = rows.bounds

    def look_again(self) -> None:
        """See what code of a user's has changed; where the kernels cannot go on, autograd does.

        Raises:
            ConfigError: the kernels were insisted on.
        """
        self.kept.look_again()
        self._go_on(self.engine.refresh())

    def _go_on(self, reason: str | None) -> None:
        """With autograd, if there is a reason why the kernels cannot."""
        if reason is None or isinstance(self.engine, AutogradEngine):
            return
        epoch = self.history.epochs + 1
        if self.insists:
            raise ConfigError(f"engine='kernels' cannot go on in epoch {epoch}: {reason} Use engine='auto'.")
        self.engine = self.engine.hand_over()
        self.history.engine = "autograd"
        self.history.engine_reason = f"from epoch {epoch} on, the kernels before: {reason}"

    def train_epoch(self, clock: Clock, epochs_left: int) -> None:
        """One epoch and the outputs on the validation rows: the long work, in the member's own thread."""
        history, started = self.history, time.perf_counter()
        bounds = self._bounds()
        share = (1 - self.progress) * (len(bounds) - 1) / self._steps_left(epochs_left)
        order = self._order()
        losses, sizes, lr = self._steps(clock, share, order, bounds)
        self.engine.release()
        if not losses:
            if clock.stop.is_set():
                history.end(Stop.INTERRUPTED, "interrupted")
            else:
                history.end(Stop.OUT_OF_TIME, "the time budget was used up")
            return
        self.losses, self.batches = losses, (order, bounds)
        history.step_loss += losses
        history.train_loss.append(_mean(np.array(losses), sizes))
        history.lr.append(lr)
        history.weight_decay.append(float(self.engine.optimizer.param_groups[0].get("weight_decay", 0.0)))
        if clock.stop.is_set():
            history.end(Stop.INTERRUPTED, "interrupted")
        elif self.held_out is not None:
            self.out = torch.as_tensor(self.engine.predict(self.held_out.x))
        history.epoch_time_s.append(time.perf_counter() - started)

    @property
    def lr(self) -> float:
        """Learning rate of the first group, without the schedule's factor."""
        return float(self.engine.optimizer.param_groups[0].get("lr", math.nan))

    def _steps(
        self, clock: Clock, share: float, order: NDArray[np.int64], bounds: NDArray[np.int64]
    ) -> tuple[list[float], NDArray[np.int64], float]:
        """The epoch's steps, piece by piece: losses, sizes of batches, the last rate.

        share: of the whole run's progress that this epoch is worth
        """
        n_steps, done, start = len(bounds) - 1, 0, self.progress
        k = 1 if self.engine.accumulate == "forever" else int(self.engine.accumulate)
        losses: list[float] = []
        lr = self.lr
        is_first = not self.history.step_loss  # however small the budget, something is learnt
        by_step = self.stepped if self.stepped is not None and self.stepped.every == "step" else None
        while done < n_steps and (not clock.is_over or (is_first and not done and not clock.stop.is_set())):
            piece_s = min(PIECE_S, clock.left_s)
            piece = min(n_steps - done, max(1, int(piece_s / self.step_s)) if self.step_s else 8)
            piece = piece if by_step is None else 1
            piece = _whole_updates(piece, n_steps - done, self.engine.accumulate)
            updates = np.arange(done, done + piece) // k  # whose batches have the rate of the large one
            at = start + share * updates / math.ceil(n_steps / k)
            factors = self._factors(at)
            begun = time.perf_counter()
            losses += self.engine.run_epoch(order, bounds[done : done + piece + 1], factors).tolist()
            self.step_s = (time.perf_counter() - begun) / piece
            done += piece
            lr = self.lr * float(factors[-1])
            if by_step is not None:
                by_step.scheduler.step()
                is_torchs = type(by_step.scheduler).__module__ == LRScheduler.__module__
                self._go_on(self.engine.read_optimizer() if is_torchs else self.engine.refresh())
            self.progress = start + share * done / n_steps
        return losses, np.diff(bounds)[:done], lr

    def _factors(self, progress: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.schedule is constant:
            return np.ones(len(progress))
        return np.array([self.schedule(float(p)) for p in progress])

    def _order(self) -> NDArray[np.int64]:
        if self.bounds is not None:
            return np.arange(self.bounds[-1])
        order = self.rng.permutation(self.length.n_rows) if self.shuffle else np.arange(self.length.n_rows)
        return order if self.rows is None else self.rows[order]

    def _bounds(self) -> NDArray[np.int64]:
        bounds = self.own_bounds if self.bounds is None else self.bounds
        if self.length.steps is not None:
            bounds = bounds[: self.length.steps - len(self.history.step_loss) + 1]
        return bounds

    def _steps_left(self, epochs: int) -> int:
        """Steps in the epochs still to come, this one included."""
        per_epoch = self.length.steps_per_epoch if self.bounds is None else len(self.bounds) - 1
        steps = self.length.steps
        left = epochs * per_epoch
        return left if steps is None else min(left, steps - len(self.history.step_loss))

    def close_epoch(self, clock: Clock) -> None:
        """Judge the epoch that has run: keep its weights or not, go on or stop."""
        history = self.history
        if history.stop is not None:
            return
        if not self._is_healthy():
            history.end(Stop.DIVERGED, self._diverged())
            return
        self._validate()
        if self.stepped is not None and self.stepped.every == "epoch":
            self._step_schedule(self.stepped)
        self._stop_if_due(clock)

    def _step_schedule(self, stepped: Stepped) -> None:
        """A scheduler's step after an epoch."""
        if stepped.wants_loss:
            stepped.scheduler.step(self.history.val_loss[-1])  # type: ignore[arg-type]
        else:
            stepped.scheduler.step()

    def _is_healthy(self) -> bool:
        """Whether all losses and parameters are finite, but for the loss of a batch of which no row
        counts.
        """
        bad = np.flatnonzero(~np.isfinite(self.losses)).tolist()
        if bad:
            masses, (order, bounds) = self.engine.masses(), self.batches
            if any(masses[order[bounds[step] : bounds[step + 1]]].any() for step in bad):
                return False
        return self.engine.is_finite

    def _validate(self) -> None:
        history, held_out, out = self.history, self.held_out, self.out
        if held_out is None or out is None:
            self.kept.take()
            return
        loss = self._validation_loss(held_out, out)
        history.val_loss.append(loss)
        for name, metric in self.metrics.items():
            y = tuple(map(as_numpy, parts_of(held_out.y)))
            history.metrics[name].append(float(metric(as_numpy(out), *(y or (None,)))))
        if math.isfinite(loss) and loss < self.best:
            self.best, history.best_epoch = loss, history.epochs
            self.kept.take()

    def _validation_loss(self, held_out: Rows, out: Tensor) -> float:
        """A loss of the user's own may call the network, and differentiate what it gives."""
        net = self.engine.net
        gradients = torch.no_grad() if held_out.loss.module is not None else torch.enable_grad()
        with self.engine.random.in_place(), torch.inference_mode(False), evaluating(net), gradients:
            value = held_out.loss(out, held_out.y, held_out.weight)
        return float(value.detach() if isinstance(value, Tensor) else value)

    def _stop_if_due(self, clock: Clock) -> None:
        history, length = self.history, self.length
        if length.patience is not None and history.epochs - history.best_epoch >= length.patience:
            history.end(Stop.NO_BETTER, f"no better validation loss in {counted(length.patience, 'epoch')}")
        elif clock.is_over or (self.progress >= 1 - 1e-9 and history.epochs < length.epochs):
            history.end(Stop.OUT_OF_TIME, "the time budget was used up")
        elif history.epochs >= length.epochs:
            history.end(Stop.FINISHED, "all epochs done")

    def _diverged(self) -> str:
        history = self.history
        self.kept.put_back()
        epoch = history.epochs
        if self.held_out is None:
            history.best_epoch = epoch - 1
        where = f"diverged: the weights are no longer finite after epoch {epoch}"
        step = next((i for i, value in enumerate(self.losses) if not math.isfinite(value)), None)
        if step is not None:
            where = f"diverged: the loss became {self.losses[step]} in epoch {epoch}, step {step + 1}"
        advice = "Lower the learning rate, pass clip_norm=1.0, or scale the inputs."
        logger.warning("Training %s. The weights from before are kept. %s", where, advice)
        return where

    def finish(self) -> History:
        """Put the best weights back; the record of the run."""
        history = self.history
        if math.isfinite(self.best):
            if not self.kept.put_back():
                history.best_epoch = history.epochs
                history.stopped += (
                    "; the network has got other parts since its best epoch, and stays as it is"
                )
                logger.warning("Training ended with %s.", history.stopped)
        elif history.stop is not Stop.DIVERGED:
            history.best_epoch = history.epochs
            if history.val_loss:
                history.stopped += "; no epoch had a finite validation loss, so the last weights are kept"
                logger.warning("Training ended with %s. Look at validation rows and loss.", history.stopped)
        return history


def pack_bytes(members: Sequence[Member], data: Rows, n_threads: int) -> int:
    """Memory that a pack takes at most: its rows, all members, and what those that run at a time add.

    Outputs on the validation rows count for little and are left out, and so is what a loss of one's own or
    PyTorch's autograd keeps during a batch.
    """
    held_out = {id(member.held_out): member.held_out for member in members if member.held_out is not None}
    rows = data.n_bytes + sum(part.n_bytes for part in held_out.values())
    running = sorted((member.running_bytes for member in members), reverse=True)[:n_threads]
    return rows + sum(member.kept_bytes for member in members) + sum(running)


def thread_pool(n_threads: int) -> AbstractContextManager[ThreadPoolExecutor | None]:
    """What `run_together` needs for so many threads; None for one, which is the caller's.

    One pool serves many calls: a new thread is often put on the core of another one at first.
    """
    return nullcontext() if n_threads == 1 else ThreadPoolExecutor(n_threads, thread_name_prefix="pack")


def run_together(tasks: Sequence[Callable[[], None]], pool: ThreadPoolExecutor | None, stop: Event) -> None:
    """Run all tasks in the pool; an error or Ctrl-C sets `stop` and is raised when all have ended.

    >>> done = []
    >>> with thread_pool(2) as pool:
    ...     run_together([lambda: done.append(1), lambda: done.append(2)], pool, Event())
    >>> sorted(done)
    [1, 2]
    """
    if pool is None or len(tasks) == 1:
        for task in tasks:
            task()
        return
    futures: list[Future[None]] = []
    try:
        for task in tasks:
            futures.append(pool.submit(task))
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            if future.done():
                future.result()
    except BaseException:
        stop.set()
        for future in futures:
            future.cancel()
        wait(futures)
        raise


def run_pack(
    members: Sequence[Member],
    clock: Clock,
    callbacks: Sequence[Callback],
    *,
    n_threads: int,
    next_rows: NextRows | None = None,
    min_epochs: int | None = None,
    rows: Sequence[Rows] = (),
) -> list[History]:
    """Train all members to their ends, an epoch at a time; Ctrl-C ends all and keeps what was reached.

    next_rows: asked for the rows of each epoch but the first; None stays with those that the engines have.
    rows: those that members train on, to be looked at again where a callback may have changed them.
    min_epochs: as of `train_pack`
    """
    try:
        members[0].engine.load()
        clock.prepared_s = clock.elapsed_s
        with thread_pool(n_threads) as pool:
            _run_epochs(members, clock, callbacks, pool, next_rows, n_threads, min_epochs, rows)
    except KeyboardInterrupt:
        for member in members:
            if member.history.stop is None:
                member.history.end(Stop.INTERRUPTED, "interrupted")
    if any(member.history.stop is Stop.INTERRUPTED for member in members):
        logger.warning("Training was interrupted; the weights reached so far are kept.")
    return [member.finish() for member in members]


def _run_epochs(
    members: Sequence[Member],
    clock: Clock,
    callbacks: Sequence[Callback],
    pool: ThreadPoolExecutor | None,
    next_rows: NextRows | None,
    n_threads: int,
    min_epochs: int | None,
    rows: Sequence[Rows],
) -> None:
    changes = {getattr(callback, "_multilayer_changes", "anything") for callback in callbacks}
    held_out = {id(member.held_out): member.held_out for member in members if member.held_out is not None}
    watched = [*rows, *held_out.values()] if "anything" in changes else []
    if next_rows is not None or any(member.runs_foreign_code for member in members):
        changes.add("anything")
    while running := [member for member in members if member.is_running]:
        done = max(member.history.epochs for member in running)
        left = clock.epochs_left(running[0].length.epochs, done)
        if done and next_rows is not None:
            new = next_rows()
            for member in running:
                member.use(new)
        for given in watched if done else ():
            given.look_again()
        if done and "anything" in changes:
            for member in running:
                member.look_again()
        elif done and "settings" in changes:
            for member in running:
                member.engine.read_optimizer()
        tasks = [_task(member, clock, left) for member in running]
        if not done and min_epochs is not None:
            for place in range(n_threads, len(members)):
                tasks[place] = _unless_late(tasks[place], members, place, clock, n_threads, min_epochs)
        before = [member.history.epochs for member in running]
        run_together(tasks, pool, clock.stop)
        for member in running:
            member.close_epoch(clock)
        ran = [
            member for member, epochs in zip(running, before, strict=True) if member.history.epochs > epochs
        ]
        _tell(members, ran, clock, done + left, callbacks)


def _task(member: Member, clock: Clock, epochs_left: int) -> Callable[[], None]:
    return lambda: member.train_epoch(clock, epochs_left)


def _unless_late(
    task: Callable[[], None],
    members: Sequence[Member],
    place: int,
    clock: Clock,
    n_threads: int,
    min_epochs: int,
) -> Callable[[], None]:
    """The first epoch of the member at a place, if the budget suffices for min_epochs of all up to it."""
    member, before = members[place], members[:place]
    epochs, rounds = min(min_epochs, member.length.epochs), math.ceil((place + 1) / n_threads)

    def run() -> None:
        known = [one.history.epoch_time_s[0] for one in before if one.history.epoch_time_s]
        suffices = not known or clock.suffices_for(epochs, float(np.mean(known)), rounds)
        if clock.stop.is_set() or (suffices and not any(one.history.stop is Stop.LEFT_OUT for one in before)):
            task()
        else:
            words = "left out: the time budget does not suffice for all networks"
            member.history.end(Stop.LEFT_OUT, words)

    return run


def _tell(
    members: Sequence[Member],
    ran: Sequence[Member],
    clock: Clock,
    planned: int,
    callbacks: Sequence[Callback],
) -> None:
    """Call the callbacks; one that returns True ends the run."""
    if not callbacks:
        return
    healthy = [m for m in ran if m.history.train_loss and m.history.stop is not Stop.DIVERGED]
    histories = [member.history for member in healthy]
    if not healthy:
        return
    epoch = max(history.epochs for history in histories)
    validated = [member for member in healthy if len(member.history.val_loss) == epoch]  # in this epoch
    val_losses = [member.history.val_loss[-1] for member in validated]
    progress = Progress(
        epoch=epoch,
        epochs=planned,
        train_loss=float(np.mean([history.train_loss[-1] for history in histories])),
        val_loss=float(np.mean(val_losses)) if val_losses else None,
        lr=float(np.mean([history.lr[-1] for history in histories])),
        elapsed_s=clock.elapsed_s,
        nets=tuple(member.engine.net for member in members),
        val_outputs=tuple(as_numpy(m.out) if m in validated and m.out is not None else None for m in members),
        val_losses=tuple(m.history.val_loss[-1] if m in validated else None for m in members),
    )
    wants_stop = [_is_true(callback(progress)) for callback in callbacks]
    if any(wants_stop):
        for member in members:
            if member.is_running or member in healthy:
                member.history.end(Stop.CALLBACK, "a callback asked to stop")


def _is_true(answer: Any) -> bool:
    """Whether a callback says stop: with True, also of NumPy or PyTorch; a number, such as a loss, is no
    answer.
    """
    if isinstance(answer, Tensor):
        return answer.dtype == torch.bool and answer.numel() == 1 and bool(answer)
    return isinstance(answer, bool | np.bool_) and bool(answer)


def _mean(losses: NDArray[np.float64], sizes: NDArray[np.int64]) -> float:
    """Of an epoch's batches, each by its rows. A batch of which no row counts has no loss, and is left
    out.
    """
    mean = float((losses * sizes).sum() / sizes.sum())
    if math.isnan(mean) and not np.isnan(losses).all():
        counted = ~np.isnan(losses)
        return _mean(losses[counted], sizes[counted])
    return mean


def _whole_updates(piece: int, left: int, accumulate: int | str) -> int:
    """Round a piece up so that it ends where an update ends."""
    if accumulate == "forever" or accumulate == 1:
        return piece
    return min(left, math.ceil(piece / int(accumulate)) * int(accumulate))
