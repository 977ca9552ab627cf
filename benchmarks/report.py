"""What a benchmark leaves behind: JSON lines, a Markdown table and a plot, and on what machine."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from multilayer.machine import n_cores
from multilayer.training.kernels.matmul import LANES

PACKAGES = (
    "multilayer",
    "torch",
    "numpy",
    "numba",
    "scipy",
    "scikit-learn",
    "jax",
    "skorch",
    "lightning",
    "catboost",
    "lightgbm",
    "xgboost",
    "pytabkit",
    "tabm",
    "rtdl_num_embeddings",
)


def machine() -> dict[str, Any]:
    """Processor, cores and releases: what a figure depends on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "processor": _processor(), "cores": n_cores(), "kernel_lanes": LANES}


def _processor() -> str:
    """Its name, with family and model: a virtual machine often gives no more than the maker as a name."""
    fields = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            fields[name.strip()] = value.strip()
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    return f"{fields['model name']}, family {fields.get('cpu family')}, model {fields.get('model')}"


def alternate(
    runs: Mapping[str, Callable[[], None]], rounds: int, threads: Mapping[str, int]
) -> dict[str, list[float]]:
    """Seconds of each run in each round. In every round each has a turn; who is first changes.

    threads: how many PyTorch and the BLAS libraries may use in a run.
    """
    names, seconds = list(runs), {name: [] for name in runs}
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            seconds[name].append(timed(runs[name], threads[name]))
    return seconds


def timed(run: Callable[[], None], threads: int) -> float:
    """Seconds of one run, with so many threads for PyTorch and the BLAS libraries."""
    torch.set_num_threads(threads)
    with threadpool_limits(threads, user_api="blas"):
        started = time.perf_counter()
        run()
        return time.perf_counter() - started


def spread(values: Sequence[float], scale: float = 1.0) -> dict[str, float]:
    """Median, least and most."""
    return {
        "median": statistics.median(values) * scale,
        "min": min(values) * scale,
        "max": max(values) * scale,
    }


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median over the rounds of one time over another: what disturbs a whole round cancels out."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def parser_of(doc: str, name: str, *, rounds: int, quick: str) -> argparse.ArgumentParser:
    """The options of a benchmark of speed. quick: what `--quick` leaves of it."""
    parser = argparse.ArgumentParser(description=doc.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--out", type=Path, default=Path(f"benchmarks/results/{name}.jsonl"))
    return parser


class Report:
    """Results as they come: a JSON line each into `path`, a row each of a Markdown table beside it.

    A file of an earlier run is replaced.
    """

    def __init__(self, path: Path, columns: Sequence[str], notes: Sequence[str] = ()) -> None:
        self.path = path
        self.results: list[dict[str, Any]] = []
        self.rows = [f"| {' | '.join(columns)} |", "|---" + "|---:" * (len(columns) - 1) + "|"]
        self.notes = [*notes, _about()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        print("\n".join([*self.notes, *self.rows]), flush=True)

    def add(self, result: dict[str, Any], *rows: Sequence[str]) -> None:
        """Keep and show one result. rows: its lines of the table."""
        self.results.append(result)
        with self.path.open("a") as file:
            file.write(json.dumps(result | {"machine": machine()}) + "\n")
        lines = [f"| {' | '.join(row)} |" for row in rows]
        self.rows += lines
        print("\n".join(lines), flush=True)
        self.path.with_suffix(".md").write_text("\n".join([*self.notes, "", *self.rows]) + "\n")

    def plot(self, draw: Callable[[Any, list[dict[str, Any]]], None]) -> None:
        """A picture beside the table, if matplotlib is there. draw: gets a figure and all results."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            print("No plot: matplotlib is not installed.")
            return
        figure = Figure(layout="constrained")
        draw(figure, self.results)
        figure.savefig(self.path.with_suffix(".png"), dpi=120)


def _about() -> str:
    about = machine()
    releases = ", ".join(f"{name} {release}" for name, release in about["versions"].items())
    load = f"; load when it began {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{time.strftime('%Y-%m-%d')}, {about['processor']}, {about['cores']} cores, "
        f"matrix products of the kernels in vectors of {about['kernel_lanes']}, {releases}{load}."
    )
