"""Students beside their teachers and beside themselves without one.

python -m benchmarks.distill FOLDER [--only NAME ...] [--rows N] [--teacher pack|trees] [--out FILE]

FOLDER holds tables and a `suite.json`, as for `benchmarks.quality`. A teacher is a pack of the default
recipe, fitted fast, or boosted trees of scikit-learn. A line of JSON a table: scores of all three, the share
of the teacher's gain that the student keeps, sizes.
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

import multilayer as ml
from benchmarks.suite import Entry, read_suite
from multilayer.tasks.make import make_task


def main() -> None:
    """Distil on all tables, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--rows", type=int, default=5_000, help="of a table, at most")
    parser.add_argument("--teacher", choices=["pack", "trees"], default="pack")
    parser.add_argument("--out", type=Path, default=None, help="a file of lines of JSON")
    asked = parser.parse_args()
    for entry in read_suite(asked.folder, asked.only):
        found = measure(entry, asked.rows, asked.teacher)
        line = json.dumps(found)
        print(line, flush=True)
        if asked.out is not None:
            with asked.out.open("a") as file:
                file.write(line + "\n")


def measure(entry: Entry, n_rows: int, kind: str) -> dict[str, Any]:
    """One table."""
    table = entry.read().drop(columns=list(entry.drop)).dropna(subset=[entry.target])
    table = table.sample(n=min(len(table), n_rows), random_state=0).reset_index(drop=True)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        teacher = pack(table, entry.target) if kind == "pack" else trees(table, entry.target)
        found = ml.distill(teacher, table, target=entry.target, seed=0)
    return {
        "table": entry.name,
        "teacher": kind,
        "rows": len(table),
        "loss": found.loss,
        **{name.replace(" ", "_"): round(each.score[found.loss], 5) for name, each in found.judged.items()},
        "gain_kept": None if found.gain_kept != found.gain_kept else round(found.gain_kept, 3),
        "agreement": round(found.judged["student"].agreement, 4),
        "bytes": {name: each.n_bytes for name, each in found.judged.items()},
        "row_ms": {name: round(each.row_ms, 2) for name, each in found.judged.items()},
        "cpu_s": round(time.process_time() - start, 1),
    }


def pack(table: pd.DataFrame, target: str) -> ml.Model:
    """A pack of the default recipe; it is fitted anew by the distillation, so one epoch will do here."""
    model = ml.fit(table, target=target, quality="fast", epochs=1, seed=0, verbose=False)
    del model.summary["asked"]["epochs"]
    return model


def trees(table: pd.DataFrame, target: str) -> Any:
    """Boosted trees behind an encoder of categories."""
    of_numbers = make_task(ml.read_table(table[[target]])[target]).kind == "regression"
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=200)
    columns = make_column_transformer(
        (encoder, make_column_selector(dtype_exclude="number")), remainder="passthrough"
    )
    boosted = HistGradientBoostingRegressor if of_numbers else HistGradientBoostingClassifier
    return make_pipeline(columns, boosted(random_state=0))


if __name__ == "__main__":
    main()
