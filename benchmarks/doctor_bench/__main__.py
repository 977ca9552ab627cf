"""Run the bench: `python -m benchmarks.doctor_bench [P|R|S|H|M ...]`."""

import contextlib
import json
import logging
import math
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import benchmarks.doctor_bench.healthy
import benchmarks.doctor_bench.posts  # noqa: F401  registers them
import multilayer as ml
from benchmarks.doctor_bench import loops, table_faults
from benchmarks.doctor_bench.measure import SEEDS, examined, mends, truth
from benchmarks.doctor_bench.mutants import mutants
from benchmarks.doctor_bench.program import CASES, Case, baseline, result

RESULTS = Path(__file__).parents[1] / "results"
ENOUGH = 0.95  # of the fixed twin's gain


def posts() -> Iterator[dict[str, Any]]:
    """P: truth, what was found, and whether the patch mends it."""
    for case in CASES["P"].values():
        row = {"set": "P", "case": case.name, "source": case.source, "faults": case.faults, **truth(case)}
        yield row | judged(case, row)


def judged(case: Case, row: dict[str, Any]) -> dict[str, Any]:
    found, seconds, mended = [], [], []
    for i, seed in enumerate(SEEDS):
        findings, took = examined(case, seed)
        found.append([(one.code, one.fault, one.severity, one.layer) for one in findings])
        seconds.append(took)
        guess, fixed = row["guess"][i], row["scores"]["fixed"][i]
        reached = mends(case, findings, seed, guess, fixed) if findings else {}
        best = max(reached.values(), default=-math.inf)
        mended.append(bool(best - guess >= ENOUGH * (fixed - guess)))
    return {"found": found, "seconds": statistics.mean(seconds), "mended": mended}


def of_loops() -> Iterator[dict[str, Any]]:
    """R: loops that are watched; those of H among them."""
    for kind, cases in (("R", loops.LOOPS), ("H", loops.HEALTHY)):
        for case in cases.values():
            row: dict[str, Any] = {
                "set": kind,
                "case": f"loop {case.name}",
                "source": case.source,
                "codes": case.codes,
            }
            row["found"] = [watched(case, seed, fixed=False) for seed in SEEDS]
            if kind == "R":
                faulty = [unwatched(case, seed, fixed=False) for seed in SEEDS]
                fixed = [unwatched(case, seed, fixed=True) for seed in SEEDS]
                gap = statistics.mean(fixed) - statistics.mean(faulty)
                spread = max(statistics.pstdev(fixed), statistics.pstdev(faulty))
                row |= {
                    "scores": {"faulty": faulty, "fixed": fixed},
                    "counts": gap > 2 * spread and gap > 0.02,
                }
                yield row
                row = {"set": "H", "case": f"fixed loop {case.name}"}
                row["found"] = [watched(case, seed, fixed=True) for seed in SEEDS]
            yield row


def watched(case: loops.Loop, seed: int, *, fixed: bool) -> list[Any]:
    seen: list[Any] = []

    def watching(*given: Any) -> Any:
        seen.append(ml.watch(*given))
        return seen[0]

    with contextlib.suppress(RuntimeError, ValueError):
        case.run(seed, fixed, watching)
    return [(one.code, one.fault, one.severity, one.layer) for one in seen[0].findings]


def unwatched(case: loops.Loop, seed: int, *, fixed: bool) -> float:
    try:
        return case.run(seed, fixed, lambda *given: contextlib.nullcontext())
    except (RuntimeError, ValueError):
        return 0.0


def tables() -> Iterator[dict[str, Any]]:
    """S, and the healthy tables."""
    for kind, cases in (("S", table_faults.FAULTY), ("H", table_faults.HEALTHY)):
        for case in cases:
            seeds = SEEDS if kind == "S" else SEEDS[:2]
            found = [ml.doctor_table(case.make(seed), target=case.target) for seed in seeds]
            rows = [
                [(one.code, one.fault, one.severity, one.column) for one in findings] for findings in found
            ]
            yield {
                "set": kind,
                "case": f"table {case.name}",
                "codes": case.codes,
                "column": case.column,
                "found": rows,
            }


def healthy() -> Iterator[dict[str, Any]]:
    """H: programs, and the fixed twins of P."""
    for kind in ("H", "P"):
        for case in CASES[kind].values():
            found, seconds = [], []
            for seed in SEEDS[:2]:
                program = case.build(seed, set(case.repairs))
                start = time.process_time()
                findings = ml.doctor(**program.arguments())
                seconds.append(time.process_time() - start)
                found.append([(one.code, one.fault, one.severity, one.layer) for one in findings])
            name = case.name if kind == "H" else f"fixed {case.name}"
            yield {"set": "H", "case": name, "found": found, "seconds": statistics.mean(seconds)}


def of_mutants() -> Iterator[dict[str, Any]]:
    """M: mutants, to set thresholds on; those count that are worse than their healthy twin."""
    for base, name, mutation in mutants():
        case = CASES["H"][base]
        scores: dict[str, list[float]] = {"faulty": [], "fixed": []}
        for seed in SEEDS[:3]:
            twin = case.build(seed, set())
            guess = baseline(twin)
            scores["fixed"].append(result(twin, twin.test, twin.judge, seed))
            mutant = mutation.change(case.build(seed, set()))
            scores["faulty"].append(max(result(mutant, mutant.test, mutant.judge, seed), guess - 0.1))
        gap = statistics.mean(scores["fixed"]) - statistics.mean(scores["faulty"])
        spread = max(map(statistics.pstdev, scores.values()))
        found = []
        for seed in SEEDS[:2]:
            findings = ml.doctor(**mutation.change(case.build(seed, set())).arguments())
            found.append([(one.code, one.fault, one.severity, one.layer) for one in findings])
        counts = gap > 2 * spread and gap > 0.05
        row = {"set": "M", "case": f"{base}, {name}", "faults": mutation.faults}
        yield row | {"scores": scores, "counts": counts, "found": found}


SETS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "P": posts, "R": of_loops, "S": tables, "H": healthy, "M": of_mutants,
}  # fmt: skip


def main(wanted: list[str]) -> None:
    if "--seeds" in wanted:
        at = wanted.index("--seeds")
        del SEEDS[int(wanted[at + 1]) :]
        wanted = wanted[:at] + wanted[at + 2 :]
    warnings.simplefilter("ignore")
    logging.getLogger("multilayer").setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    for name in wanted or list(SETS):
        path = RESULTS / f"doctor_{name}.jsonl"
        with path.open("w") as file:
            for row in SETS[name]():
                row |= {
                    "machine": platform.machine(),
                    "torch": torch.__version__,
                    "date": time.strftime("%Y-%m-%d"),
                }
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(row["set"], row["case"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
