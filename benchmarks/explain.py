"""Errors of sampled Shapley values against exact ones, and processor time of explanations.

    python -m benchmarks.explain FOLDER [--tables adult,bank_marketing] [--out FILE]

Exact values come of all coalitions of the columns, which tests hold equal to `shap.explainers.Exact`. Kernel
SHAP is that of the package shap, on the same game: the same rows, the same background, as many coalitions.
Error: root of the summed squares of differences over that of the exact values, mean over rows. Processor time
counts all threads; on two quiet cores the clock shows about half of it.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import multilayer as ml
from benchmarks.suite import Entry, read_suite
from multilayer.inspect.encoded_table import EncodedTable, Outputs
from multilayer.inspect.shapley import coalition_values, shapley_values

ROWS = 3
BACKGROUND = 20
BUDGETS = (5, 10, 20, 50)  # coalitions a column
SEEDS = 3


def measured(entry: Entry) -> Iterator[dict[str, Any]]:
    """Errors by budget, then times."""
    table = entry.read().drop(columns=list(entry.drop))
    train, test = entry.split(table, 0)
    model = ml.fit(train, target=entry.target, quality="fast")
    encoded = EncodedTable.of(model, test[:2000])
    n = len(encoded.names)
    yield from _times(entry.name, model, test[:10_000], n)
    if 8 < n <= 14:
        yield from _errors(entry.name, encoded, n)


def _times(name: str, model: ml.Model, test: Any, n: int) -> Iterator[dict[str, Any]]:
    why = ml.explain(model, test)
    what: dict[str, Callable[[], Any]] = {
        "importance": lambda: why.importance,
        "effects of all columns": lambda: list(why.effects.values()),
        "Shapley values of 100 rows": lambda: why.row_values,
        "interactions": lambda: why.interactions,
    }
    for part, run in what.items():
        began = time.process_time()
        run()
        yield {"table": name, "columns": n, "rows": len(test), "what": part,
               "cpu_s": round(time.process_time() - began, 2)}  # fmt: skip


def _errors(name: str, encoded: EncodedTable, n: int) -> Iterator[dict[str, Any]]:
    background, weight = encoded.x[-BACKGROUND:], np.full(BACKGROUND, 1 / BACKGROUND)
    outputs = Outputs(encoded.model, 10**7)
    for row in range(ROWS):
        game = coalition_values(outputs, encoded.x[row : row + 1], background, weight, encoded.places)

        def worth(masks: NDArray[Any], game: Any = game) -> NDArray[np.float64]:
            return game(masks.astype(bool))[:, 0, -1]

        exact = shapley_values(worth, n, 2**n)
        size = float(np.sqrt((exact**2).sum()))
        for budget in BUDGETS:
            for seed in range(SEEDS):
                ours = shapley_values(worth, n, budget * n, seed)
                theirs = _kernel_shap(worth, n, budget * n, seed)
                for method, found in (("leverage", ours), ("Kernel SHAP", theirs)):
                    error = float(np.sqrt(((found - exact) ** 2).sum())) / size
                    yield {"table": name, "columns": n, "row": row, "coalitions": budget * n, "seed": seed,
                           "method": method, "error": error}  # fmt: skip


def _kernel_shap(worth: Callable[[Any], Any], n: int, coalitions: int, seed: int) -> NDArray[np.float64]:
    import shap

    state = np.random.get_state()
    np.random.seed(seed)  # shap draws from NumPy's global generator
    try:
        explainer = shap.KernelExplainer(worth, np.zeros((1, n)), silent=True)
        return np.asarray(explainer.shap_values(np.ones((1, n)), nsamples=coalitions, silent=True))[0]
    finally:
        np.random.set_state(state)


def report(records: list[dict[str, Any]]) -> str:
    """The records as a page."""
    lines = [
        f"# Explanations\n\nWritten by `python -m benchmarks.explain`, multilayer {ml.__version__}.\n",
        "## Errors of sampled Shapley values\n",
        "Against all coalitions; error relative to the size of the values, mean over rows and draws.\n",
        "| table | columns | coalitions | leverage sampling | Kernel SHAP of shap |",
        "|---|---:|---:|---:|---:|",
    ]
    errors = [r for r in records if "error" in r]
    for table, n, coalitions in dict.fromkeys((r["table"], r["columns"], r["coalitions"]) for r in errors):
        mean = {
            method: np.mean([r["error"] for r in errors if (r["table"], r["coalitions"], r["method"])
                             == (table, coalitions, method)])
            for method in ("leverage", "Kernel SHAP")
        }  # fmt: skip
        lines.append(f"| {table} | {n} | {coalitions} | {mean['leverage']:.3f} | {mean['Kernel SHAP']:.3f} |")
    lines += ["\n## Processor time\n", "| table | columns | rows | what | s |\n|---|---:|---:|---|---:|"]
    for r in records:
        if "cpu_s" in r:
            lines.append(
                f"| {r['table']} | {r['columns']} | {r['rows']:,} | {r['what']} | {r['cpu_s']:.2f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", type=lambda text: text.split(","), default=None)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/explain.jsonl"))
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    records: list[dict[str, Any]] = []
    for entry in read_suite(asked.folder, asked.tables):
        for made in measured(entry):
            records.append(made)
            if "cpu_s" in made:
                print(made, flush=True)
        asked.out.write_text("".join(json.dumps(r) + "\n" for r in records))
    asked.out.with_suffix(".md").write_text(report(records))


if __name__ == "__main__":
    main()
