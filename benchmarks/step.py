"""Time of a training step: our kernels, the matrix products alone, PyTorch, and whoever else is installed.

python -m benchmarks.step [--rounds N] [--quick] [--compile-all] [--out FILE]

Contestants take turns within one process; figures are medians over the rounds, in microseconds a step, and
ratios are medians of the ratios within a round. Numbers too small for full precision count as zero for all.
"one" thread, then "all": the kernels and the matrix products alone stay on one thread in both. JAX takes
its threads once a process: it runs on one core.
"""

import math
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks import peers
from benchmarks.peers import Case, Run
from benchmarks.report import Report, alternate, parser_of, ratio, spread, timed
from multilayer.machine import n_cores

SIZES = (  # batch, d_in, width, depth, d_out
    (32, 16, 32, 2, 2),
    (200, 16, 100, 1, 2),
    (32, 64, 128, 2, 10),
    (256, 64, 128, 2, 10),
    (1024, 64, 128, 2, 10),
    (256, 64, 256, 3, 10),
    (256, 128, 512, 3, 10),
)
NOTE = Case(100, 5, 2, 1, 2, batch_norm=True, head=False)
CASES = (NOTE, *(Case(*size, batch_norm=batch_norm) for size in SIZES for batch_norm in (True, False)))
QUICK = (NOTE, Case(200, 16, 100, 1, 2, True), Case(256, 64, 128, 2, 10, True))
COMPILED = (
    Case(256, 64, 128, 2, 10, True),
    Case(256, 64, 256, 3, 10, True),
)  # a compilation is half a minute

GEMM, OURS, CUSTOM = "matrix products alone", "ours", "ours, custom loss"
EAGER, FUSED, COMPILE = "torch eager", "torch eager, fused Adam", "torch.compile"
ONE_THREAD = (GEMM, OURS, CUSTOM)
OWN: dict[str, Callable[[Case], Run]] = {
    GEMM: peers.gemm_floor,
    OURS: peers.kernels,
    CUSTOM: partial(peers.kernels, custom_loss=True),
    EAGER: peers.torch_eager,
    FUSED: partial(peers.torch_eager, fused=True),
}
OTHERS: dict[str, tuple[str, Callable[[Case], Run]]] = {  # what to import for it
    "JAX jit + scan": ("jax", peers.jax_scan),
    "scikit-learn": ("sklearn", peers.scikit_learn),
    "skorch": ("skorch", peers.skorch),
    "Lightning": ("lightning", peers.lightning),
}
TURN_S = 0.04  # a turn is as many steps as take so long, and one epoch at least


def contestants(case: Case, *, all_threads: bool, compile_all: bool) -> dict[str, Callable[[Case], Run]]:
    """Makers of all that can run this case here."""
    makers = dict(OWN)
    for name, (module, make) in OTHERS.items():
        if find_spec(module) is not None:
            makers[name] = make
    if case.batch_norm or not case.head:
        makers.pop("scikit-learn", None)
    if all_threads:
        makers.pop("JAX jit + scan", None)
    if _compiler() and (compile_all or case in COMPILED):
        makers[COMPILE] = partial(peers.torch_eager, compiled=True)
    return makers


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", "g++"), "clang++", "cl"))), None)


def absent() -> list[str]:
    """A sentence for each contestant that is not here."""
    missing = [name for name, (module, _) in OTHERS.items() if find_spec(module) is None]
    said = [f"{name} is not installed and did not run." for name in missing]
    return said if _compiler() else [*said, "There is no C++ compiler, so torch.compile did not run."]


def measure(case: Case, threads: int, rounds: int, compile_all: bool) -> dict[str, Any]:
    """All contestants on one case."""
    turns: dict[str, Callable[[], None]] = {}
    steps: dict[str, int] = {}
    first_s: dict[str, float] = {}
    may_use: dict[str, int] = {}
    for name, make in contestants(case, all_threads=threads > 1, compile_all=compile_all).items():
        may_use[name] = 1 if name in ONE_THREAD else threads
        run, first_s[name] = _prepare(make, case, may_use[name])
        steps[name] = _steps_a_turn(run, may_use[name])
        turns[name] = partial(run, steps[name])
        turns[name]()  # JAX compiles for each number of steps
    seconds = alternate(turns, rounds, may_use)
    us = {name: [s / steps[name] * 1e6 for s in values] for name, values in seconds.items()}
    torch_name = min((EAGER, FUSED), key=lambda name: spread(us[name])["median"])
    others = {name: ratio(us[name], us[OURS]) for name in us if name not in OWN}
    return {
        "case": str(case),
        "batch": case.batch,
        "width": case.width,
        "batch_norm": case.batch_norm,
        "threads": threads,
        "rounds": rounds,
        "us_per_step": {name: spread(values) for name, values in us.items()},
        "ours_over_products": ratio(us[OURS], us[GEMM]),
        "fastest_eager": torch_name,
        "eager_over_ours": ratio(us[torch_name], us[OURS]),
        "custom_over_ours": ratio(us[CUSTOM], us[OURS]),
        "others_over_ours": others,
        "compile_s": first_s.get(COMPILE),
    }


def _prepare(make: Callable[[Case], Run], case: Case, threads: int) -> tuple[Run, float]:
    """A contestant's run, and the seconds of its first epoch, compilation included."""
    torch.set_num_threads(threads)
    run = make(case)
    return run, timed(partial(run, peers.STEPS_PER_EPOCH), threads)


def _steps_a_turn(run: Run, threads: int) -> int:
    one_s = min(timed(partial(run, peers.STEPS_PER_EPOCH), threads) for _ in range(2))
    return max(1, math.ceil(TURN_S / one_s)) * peers.STEPS_PER_EPOCH


COLUMNS = (
    "batch x network",
    "BatchNorm",
    "threads",
    *OWN,
    "others",
    "ours / products",
    "eager / ours",
    "custom / ours",
)


def as_row(result: dict[str, Any]) -> list[str]:
    """One line of the Markdown table."""
    us = {name: values["median"] for name, values in result["us_per_step"].items()}
    others = [f"{name} {us[name]:,.0f} ({over:.1f}x)" for name, over in result["others_over_ours"].items()]
    if result["compile_s"] is not None:
        others.append(f"compiled in {result['compile_s']:.0f} s")
    return [
        result["case"],
        "yes" if result["batch_norm"] else "no",
        str(result["threads"]),
        *(f"{us[name]:,.0f}" for name in OWN),
        ", ".join(others),
        f"{result['ours_over_products']:.2f}",
        f"{result['eager_over_ours']:.2f}",
        f"{result['custom_over_ours']:.2f}",
    ]


def draw(figure: Any, results: list[dict[str, Any]]) -> None:
    """Time of a step over that of its matrix products, a panel for each number of threads."""
    numbers = sorted({result["threads"] for result in results})
    figure.set_size_inches(11, 4.5 * len(numbers))
    for axes, threads in zip(figure.subplots(len(numbers), squeeze=False)[:, 0], numbers, strict=True):
        part = [result for result in results if result["threads"] == threads]
        for name in dict.fromkeys(name for result in part for name in result["us_per_step"]):
            found = [(i, r["us_per_step"]) for i, r in enumerate(part) if name in r["us_per_step"]]
            over = [us[name]["median"] / us[GEMM]["median"] for _, us in found]
            axes.plot([i for i, _ in found], over, "-o" if name in OWN else "o", label=name)
        axes.set_yscale("log")
        axes.set_ylabel("step / its matrix products alone")
        labels = [f"{r['case']}\n{'BatchNorm' if r['batch_norm'] else 'without'}" for r in part]
        axes.set_xticks(range(len(part)), labels, rotation=35, ha="right", fontsize=7)
        axes.set_title(f"{threads} thread{'s' * (threads > 1)}")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)


def main() -> None:
    """Measure every case with one thread, then with all."""
    parser = parser_of(__doc__, "step", rounds=7, quick="three cases")
    parser.add_argument("--compile-all", action="store_true", help="torch.compile in every case")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    started = time.perf_counter()
    report = Report(options.out, COLUMNS, ["Microseconds a step.", *absent()])
    try:
        for threads in sorted({1, n_cores()}):
            for case in QUICK if options.quick else CASES:
                result = measure(case, threads, options.rounds, options.compile_all)
                report.add(result, as_row(result))
    except KeyboardInterrupt:
        print("Interrupted; the plot shows what was measured.")
    report.plot(draw)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
