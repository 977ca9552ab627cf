"""How often intervals and sets hold the truth, on many tables and splits: what was promised, and no more.

    python -m benchmarks.coverage FOLDER... [--out FILE] [--fits 2] [--splits 50]

Of each table half the rows are fitted on (`quality="fast"`), `fits` times with other halves. The other half
is parted `splits` times at random into rows to conformalize on and rows to test on. For exact methods the
number of test rows inside is beta-binomial: k = ceil((n + 1) c) of n + 1, whatever table and model are. The
mean over all splits must lie within 2.6 standard errors of k / (n + 1) (99 %); ties of scores can only make
it larger. Approximate methods have no such theorem, and are printed as they are.
"""

import argparse
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import multilayer as ml
from benchmarks.suite import Entry, read_suite
from multilayer.model.intervals import conformalized, interval, label_set, methods_of
from multilayer.tasks.classification import Classification

COVERAGE = 0.9
MOST_ROWS = 8000  # of a table, drawn at random
Z = 2.58  # 99 % of a normal distribution
FEWEST_ROWS = 200


class Held:
    """A fitted model and all that it says of rows that it never saw."""

    def __init__(self, model: ml.Model, rows: pd.DataFrame) -> None:
        self.model, self.task = model, model.task
        read = model._read(rows, None, "ignore")
        x = model._inputs(read)
        self.code, self.prediction = model._codes_and_weights(read, None)[0], model.from_inputs(x)
        self.spread = model._spread(x)
        held_out = None if model.statistics is None else model.statistics.held_out
        self.known = None if held_out is None else held_out.errors

    def inside(self, fitted: NDArray[Any] | None, tested: NDArray[Any], method: str) -> tuple[float, float]:
        """Share of tested rows that are covered, and how wide intervals or how large sets are."""
        made = None
        if fitted is not None:
            made = conformalized(
                self.task,
                self.code[fitted],
                self.prediction[fitted],
                self.spread[fitted],
                self.known,
                method=method,
            )
        of_rows = self.prediction[tested], self.spread[tested, 0]
        known = None if self.known is None else self.known[0]
        if isinstance(self.task, Classification):
            sets = label_set(self.task, 0, of_rows[0], COVERAGE, made, known, None)
            code = self.code[tested].astype(np.int64)
            return float(sets[np.arange(len(code)), code].mean()), float(sets.sum(axis=1).mean())
        bounds = interval(self.task, 0, *of_rows, COVERAGE, made, known, None)
        y = self.code[tested].astype(float)
        covered = (bounds[:, 0] <= y) & (y <= bounds[:, 1])
        return float(covered.mean()), float((bounds[:, 1] - bounds[:, 0]).mean() / y.std())


def measured(entry: Entry, fits: int, splits: int) -> Iterator[dict[str, Any]]:
    """A record a method."""
    table = entry.read().drop(columns=list(entry.drop)).dropna(subset=[entry.target])
    if entry.task != "regression":  # a class of a few rows may be in one half only
        of_class = table[entry.target].map(table[entry.target].value_counts())
        table = table[of_class >= 10]
    if len(table) < FEWEST_ROWS:
        return
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    n = m = 0
    for seed in range(fits):
        rng = np.random.default_rng(seed)
        rows = table.sample(min(len(table), MOST_ROWS), random_state=seed)
        half = len(rows) // 2
        settings = [{}] if entry.task != "regression" else [{}, {"quantiles": (0.05, 0.5, 0.95)}]
        for setting in settings:
            model = ml.fit(rows[:half], target=entry.target, quality="fast", seed=seed, **setting,
                           **({} if entry.task == "regression" else {"task": entry.task}))  # fmt: skip
            held = Held(model, rows[half:])
            n, m = len(held.code) // 2, len(held.code) - len(held.code) // 2
            every = np.arange(len(held.code))
            usual = methods_of(model.task)
            found.setdefault(("approximate", usual[0]), []).append(held.inside(None, every, usual[0]))
            for _ in range(splits):
                order = rng.permutation(len(held.code))
                for method in usual:
                    if method == "raps" and model.task.kind == "binary":
                        continue
                    found.setdefault(("exact", method), []).append(held.inside(order[:n], order[n:], method))
    for (kind, method), results in found.items():
        yield record(entry.name, kind, method, np.array(results), n, m)


def record(table: str, kind: str, method: str, results: NDArray[Any], n: int, m: int) -> dict[str, Any]:
    """Mean coverage and width, and whether the coverage is what the theorem says."""
    k = math.ceil((n + 1) * COVERAGE)
    a, b = k, n + 1 - k
    expected = a / (a + b)
    variance = expected * (1 - expected) / m * (a + b + m) / (a + b + 1)  # of a beta-binomial share
    error = math.sqrt(variance / len(results))
    mean = float(results[:, 0].mean())
    return {
        "table": table,
        "kind": kind,
        "method": method,
        "splits": len(results),
        "calibration_rows": n,
        "test_rows": m,
        "coverage": mean,
        "expected": expected,
        "errors": (mean - expected) / error,
        "inside_band": abs(mean - expected) <= Z * error if kind == "exact" else None,
        "size": float(results[:, 1].mean()),
    }


def report(records: list[dict[str, Any]]) -> str:
    """The records as a page."""
    tables = list(dict.fromkeys(r["table"] for r in records))
    exact = [r for r in records if r["kind"] == "exact"]
    rough = [r for r in records if r["kind"] == "approximate"]
    off = np.array([r["coverage"] - COVERAGE for r in rough])
    head = (
        f"# Coverage\n\nWritten by `python -m benchmarks.coverage`, multilayer {ml.__version__}. Asked for: "
        f"{COVERAGE:.0%} of the rows. {len(tables)} tables; of each, halves were fitted on, and the rest was "
        "parted many times into rows to conformalize on and rows to test on (`splits` in all).\n\n"
        f"- Exact (`model.conformalize`): {sum(bool(r['inside_band']) for r in exact)} of {len(exact)} means "
        "lie within the 99 % band of the theorem.\n"
        f"- Approximate (from the fit alone): from {COVERAGE + off.min():.1%} to {COVERAGE + off.max():.1%}, "
        f"mean {COVERAGE + off.mean():.1%}; {int((np.abs(off) <= 0.02).sum())} of {len(rough)} within two "
        "percent of what was asked.\n\n"
        "Size: of intervals in standard deviations of the target, of sets in labels. Errors: how many "
        "standard errors the mean is from the theorem's.\n\n"
        "| table | method | splits | rows: conformalize, test | coverage | theorem | errors | size |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|\n"
    )
    lines = []
    for r in records:
        is_exact = r["kind"] == "exact"
        theorem = f"{r['expected']:.4f} | {r['errors']:+.1f}{'' if r['inside_band'] else ' (outside)'}"
        rows = f"{r['calibration_rows']:,}, {r['test_rows']:,}" if is_exact else "0, all"
        lines.append(
            f"| {r['table']} | {r['kind']}, {r['method']} | {r['splits']} | {rows} | {r['coverage']:.4f} | "
            f"{theorem if is_exact else ' | '} | {r['size']:.2f} |"
        )
    return head + "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/coverage.jsonl"))
    parser.add_argument("--fits", type=int, default=2)
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument("--tables", type=lambda text: text.split(","), default=None)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    records: list[dict[str, Any]] = []
    for folder in asked.folders:
        for entry in read_suite(folder, asked.tables):
            for made in measured(entry, asked.fits, asked.splits):
                records.append(made)
                print(f"{made['table']:22} {made['kind']:12} {made['method']:9} {made['coverage']:.4f} "
                      f"{made['errors']:+.1f} {made['size']:.2f}", flush=True)  # fmt: skip
            asked.out.write_text("".join(json.dumps(r) + "\n" for r in records))
    asked.out.with_suffix(".md").write_text(report(records))


if __name__ == "__main__":
    main()
