"""Processes that were forked from one that had loaded PyTorch.

A fork copies the memory of a process, but of its threads only the one that forks. Those of OpenMP, which
PyTorch and MKL share a product among, are gone in the copy, and waiting on them never ends
(pytorch/pytorch#17199). One thread waits on none, and gives the same bits. A lock that one of them held at
that moment is held in the copy, too, and nobody is there to let go of it: ours are made anew.
"""

import os
import threading
import weakref
from dataclasses import dataclass
from types import TracebackType

import torch

from multilayer.errors import ConfigError


@dataclass
class _Process:
    """What is known of this process."""

    is_forked: bool = False


_process = _Process()


def is_forked() -> bool:
    """Whether this process was forked after this module was loaded."""
    return _process.is_forked


def check_threads(n: int) -> None:
    """Refuse several threads for one product in a forked process, which would wait on them for ever.

    Raises:
        ConfigError: so many threads are more than one, and the process was forked.
    """
    if n > 1 and is_forked():
        raise ConfigError(
            "A process that was forked after PyTorch was loaded has one thread for each product, as those of "
            f"OpenMP do not survive a fork; got threads={n}. Leave threads out, or start processes with "
            "multiprocessing.get_context('spawn')."
        )


class Lock:
    """A lock for `with`, which nobody holds in a process that was just forked.

    >>> lock = Lock()
    >>> with lock:
    ...     lock.is_held
    True
    >>> lock.is_held
    False
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    @property
    def is_held(self) -> bool:
        """Whether a thread is within its block."""
        return self._lock.locked()

    def renew(self) -> None:
        """Let whoever holds it go."""
        self._lock = threading.Lock()


_locks: "weakref.WeakSet[Lock]" = weakref.WeakSet()


def _after_fork() -> None:
    _process.is_forked = True
    torch.set_num_threads(1)
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
