"""The random state of a run: of PyTorch, NumPy and Python, each of which has one for the whole process.

What a run draws (dropout, noise in a loss, new weights) follows from its seed, and the caller's generators
are as before afterwards, also after an error. Two runs in two threads take turns.
"""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class _Turn:
    """A lock that one thread may take several times, and that knows whether others wait for it."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """A lock that nobody holds: in a forked process, where the threads that held it do not exist."""
        self.lock, self.counting, self.n_waiting = threading.RLock(), threading.Lock(), 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and give it back afterwards."""
        if not self.lock.acquire(blocking=False):
            self._count(1)
            try:
                self.lock.acquire()
            finally:
                self._count(-1)
        try:
            yield
        finally:
            self.lock.release()

    def _count(self, by: int) -> None:
        with self.counting:
            self.n_waiting += by


_TURN = _Turn()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_TURN.renew)


class RandomState:
    """A run's own random state, which stands in place of the process's while the run draws.

    Args:
        seed: a whole number, not negative.
        device: where networks compute, with a generator of its own if it is a GPU.
        of_all: NumPy's and Python's generators as well, for code of a user's (0.1 ms a block); else
            PyTorch's.

    >>> before = torch.get_rng_state()
    >>> with RandomState(0).in_place():
    ...     drawn = torch.rand(1).item()
    >>> with RandomState(0).in_place():
    ...     drawn == torch.rand(1).item()
    True
    >>> torch.equal(before, torch.get_rng_state())
    True
    """

    def __init__(self, seed: int, device: torch.device | None = None, *, of_all: bool = True) -> None:
        self.seed, self.of_all, self.turn = seed, of_all, _TURN
        self.device = device if device is not None and device.type == "cuda" else None
        self._own: tuple[Any, ...] | None = None
        self._caller: tuple[Any, ...] | None = None

    @contextmanager
    def in_place(self) -> Iterator["RandomState"]:
        """Draw from this state within the block; other threads that want their own wait."""
        with _TURN.taken():
            self._enter()
            try:
                yield self
            finally:
                self._leave()

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Within `in_place`: let others have their turn while the block draws nothing."""
        self._leave()
        _TURN.lock.release()
        try:
            yield
        finally:
            _TURN.lock.acquire()
            self._enter()

    def _enter(self) -> None:
        self._caller = self._states()
        if self._own is None:
            torch.default_generator.manual_seed(self.seed)
            if self.device is not None:
                with torch.cuda.device(self.device):
                    torch.cuda.manual_seed(self.seed)
            if self.of_all:
                np.random.seed(self.seed % 2**32)
                random.seed(self.seed)
        else:
            self._set(self._own)

    def _leave(self) -> None:
        self._own = self._states()
        if self._caller is not None:
            self._set(self._caller)

    def _states(self) -> tuple[Any, ...]:
        on_device = None if self.device is None else torch.cuda.get_rng_state(self.device)
        others = (np.random.get_state(), random.getstate()) if self.of_all else None
        return torch.default_generator.get_state(), on_device, others

    def _set(self, states: tuple[Any, ...]) -> None:
        of_torch, on_device, others = states
        torch.default_generator.set_state(of_torch)
        if self.device is not None and on_device is not None:
            torch.cuda.set_rng_state(on_device, self.device)
        if others is not None:
            np.random.set_state(others[0])
            random.setstate(others[1])


@contextmanager
def taking_turn() -> Iterator[None]:
    """Wait until no other thread has its random state in place, or networks in a mode of its own."""
    with _TURN.taken():
        yield


def is_drawing() -> bool:
    """Whether the calling thread is within a run's random state: threads that it starts and waits for may not
    wait for theirs.
    """
    return bool(_TURN.lock._is_owned())  # type: ignore[attr-defined]
