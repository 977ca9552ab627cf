"""Cores and memory of the machine that this process may use: its own limits, and those of its container."""

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def n_cores() -> int:
    """Cores that this process may use: its affinity, and the limit of its container (cgroup), rounded up.

    >>> n_cores() >= 1
    True
    """
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cores()
    return max(1, n if quota is None else min(n, -(-quota[0] // quota[1])))


def _cgroup_cores() -> tuple[int, int] | None:
    """CPU time that the container may use, over the period it is counted in; None without a limit."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()  # version 2
        return None if quota == "max" else (int(quota), int(period))
    except (OSError, ValueError):
        pass
    try:
        folder = _CGROUP / "cpu"  # version 1
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota_us < 0 else (quota_us, int((folder / "cpu.cfs_period_us").read_text()))
    except (OSError, ValueError):
        return None


def total_memory() -> int:
    """Bytes of memory of this machine: what takes more need not be tried.

    >>> total_memory() > 2**20
    True
    """
    if not hasattr(os, "sysconf"):
        return 1 << 40
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def free_memory() -> int | None:
    """Bytes that this process may still take: of the machine, and of its container (cgroup) if less."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except (OSError, ValueError):
        pass
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            found.append(int((_CGROUP / most).read_text()) - int((_CGROUP / used).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return max(0, min(found)) if found else None
