"""Processes that were forked from one that had loaded PyTorch.

A fork copies the memory of a process, but of its threads only the one that forks. Those of OpenMP, which
PyTorch and MKL share a product among, are gone in the copy, and waiting on them never ends
(pytorch/pytorch#17199). One thread waits on none, and gives the same bits.
"""

import os
from dataclasses import dataclass

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


def _after_fork() -> None:
    _process.is_forked = True
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
