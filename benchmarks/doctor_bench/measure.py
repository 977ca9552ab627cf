"""Is a case a case? Faulty, fixed, and each repair alone, over five seeds; and does the patch mend it?"""

import statistics
import time
import warnings
from typing import Any

import multilayer as ml
from benchmarks.doctor_bench.program import Case, baseline, result

SEEDS = list(range(5))  # `--seeds` makes it fewer


def spread_of(values: list[float]) -> float:
    return statistics.pstdev(values)


def truth(case: Case) -> dict[str, Any]:
    """Scores of the faulty program, of the fixed twin, and of each repair alone."""
    scores: dict[str, list[float]] = {"faulty": [], "fixed": []}
    guesses = []
    for seed in SEEDS:
        faulty = case.build(seed, set())
        guess = baseline(faulty)
        guesses.append(guess)
        variants = {"faulty": set(), "fixed": set(case.repairs)}
        if len(case.repairs) > 1:
            variants |= {name: {name} for name in case.repairs}
        for name, repairs in variants.items():
            program = case.build(seed, repairs)
            value = result(program, program.test, program.judge, seed)
            scores.setdefault(name, []).append(max(value, guess - 0.05) if value == -float("inf") else value)
    gap = statistics.mean(scores["fixed"]) - statistics.mean(scores["faulty"])
    spread = max(spread_of(scores["fixed"]), spread_of(scores["faulty"]))
    return {
        "guess": guesses,
        "scores": scores,
        "gap": gap,
        "spread": spread,
        "counts": gap > 2 * spread and gap > 0.02,
    }


def examined(case: Case, seed: int) -> tuple[Any, float]:
    """What the doctor finds in the faulty program, and the seconds it took."""
    program = case.build(seed, set())
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        findings = ml.doctor(**program.arguments())
    return findings, time.process_time() - start


def mends(case: Case, findings: Any, seed: int, guess: float, fixed: float) -> dict[str, float]:
    """The score after each patch alone and after all of them."""
    program = case.build(seed, set())
    reached = {}
    for name, one in [("all", findings), *((one.code, one) for one in findings)]:
        if name != "all" and (one.patch is None or one.patch.mend is None or one.severity == "note"):
            continue
        mended = one.apply()
        reached[name] = result(mended, program.test, program.judge, seed)
    return reached
