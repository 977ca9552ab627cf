"""Cores and memory: of the machine, and of the container where that has less."""

import os
from pathlib import Path

import pytest

from multilayer import machine


def container(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


CORES = {
    "no limit": ({"cpu.max": "max 100000"}, 8),
    "a part of a core counts as one": ({"cpu.max": "150000 100000"}, 2),
    "more than there are": ({"cpu.max": "6400000 100000"}, 8),
    "version 1": ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
    "version 1 without a limit": ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    "no container": ({}, 8),
}


@pytest.mark.parametrize("files, expected", CORES.values(), ids=CORES.keys())
def test_cores_are_those_of_the_process_and_its_container(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_CGROUP", container(tmp_path, files))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert machine.n_cores() == expected


@pytest.mark.parametrize(
    "files",
    [
        {"memory.max": "5000", "memory.current": "2000"},
        {"memory/memory.limit_in_bytes": "5000", "memory/memory.usage_in_bytes": "2000"},
    ],
    ids=["version 2", "version 1"],
)
def test_free_memory_is_what_the_container_leaves(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_CGROUP", container(tmp_path, files))
    assert machine.free_memory() == 3000


def test_a_container_that_has_taken_too_much_has_nothing_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"memory.max": "2000", "memory.current": "5000"}
    monkeypatch.setattr(machine, "_CGROUP", container(tmp_path, files))
    assert machine.free_memory() == 0


def test_free_memory_is_less_than_all_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", container(tmp_path, {"memory.max": "max", "memory.current": "1"}))
    free = machine.free_memory()
    assert free is None or 10**7 < free <= machine.total_memory()
