"""How long a run is: its epochs, steps and batches, and the time that it has."""

import math
import time
from dataclasses import dataclass
from threading import Event

import numpy as np
from numpy.typing import NDArray

from multilayer.training.settings import Training


@dataclass(frozen=True)
class RunLength:
    """How long a run is, and in which batches.

    n_rows, batch_size: of one member; epochs, steps: at most; patience: in epochs
    time_budget_s: of all members together
    steps_per_epoch: of the first epoch; a loader may give others
    """

    n_rows: int
    epochs: int
    steps: int | None
    batch_size: int
    patience: int | None
    time_budget_s: float
    steps_per_epoch: int

    @classmethod
    def make(cls, training: Training, n_rows: int, bounds: NDArray[np.int64] | None) -> "RunLength":
        """Fill in what was left open, for so many rows; bounds: of a loader's batches."""
        epochs, steps = training.epochs, training.steps
        size = min(training.batch_size or 256, n_rows) if bounds is None else int(np.diff(bounds).max())
        per_epoch = len(batch_bounds(n_rows, size) if bounds is None else bounds) - 1
        if epochs is None:
            epochs = 10 if steps is None else math.ceil(steps / per_epoch)
        budget_s = training.time_budget or math.inf
        return cls(n_rows, epochs, steps, size, training.patience, budget_s, per_epoch)

    @property
    def n_steps(self) -> int:
        """Steps of a run that is not stopped early."""
        return self.steps or self.epochs * self.steps_per_epoch


def batch_bounds(n_rows: int, batch_size: int) -> NDArray[np.int64]:
    """Where batches start, and the end; a last batch left with one row is joined to the one before it."""
    bounds = np.arange(0, n_rows, batch_size)
    if batch_size > 1 and len(bounds) > 1 and n_rows - bounds[-1] == 1:
        bounds = bounds[:-1]
    return np.append(bounds, n_rows).astype(np.int64)


class Clock:
    """Time of a whole pack: what has passed, and what its budget leaves."""

    def __init__(self, budget_s: float) -> None:
        self.budget_s = budget_s
        self.started = time.perf_counter()
        self.prepared_s = 0.0  # what passed before the first step
        self.stop = Event()  # set when the user interrupts: members end after the piece that they are in

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    @property
    def left_s(self) -> float:
        """Seconds that the budget leaves."""
        return self.budget_s - self.elapsed_s

    @property
    def is_over(self) -> bool:
        """Whether no further step may begin."""
        return self.stop.is_set() or self.left_s <= 0

    def epochs_left(self, planned: int, done: int) -> int:
        """Epochs still to come, fewer than planned where the budget does not reach."""
        left = planned - done
        if done and math.isfinite(self.budget_s):
            epoch_s = (self.elapsed_s - self.prepared_s) / done
            left = min(left, max(1, round(self.left_s / epoch_s)))
        return left

    def suffices_for(self, epochs: int, epoch_s: float, rounds: int) -> bool:
        """Whether so many epochs, of so many members one after another, end within the budget."""
        return self.left_s > 0 and self.prepared_s + epochs * rounds * epoch_s <= self.budget_s
