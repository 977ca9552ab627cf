"""Small tables as a suite for `benchmarks.quality`: whole ones, and draws of a few rows from larger ones.

python -m benchmarks.small_tables FOLDER [--more MORE] [--development DEVELOPMENT] [--rows 200,700,2000]
python -m benchmarks.quality FOLDER --out FILE --together --threads 1 --contestants SMALL
python -m benchmarks.learning_curves FILE --out PICTURE

SMALL: ours-80,linear-80,forest-80,catboost-80,lightgbm-80. MORE is what `benchmarks.more_tables` wrote, of
which tables below 1,500 rows are taken; DEVELOPMENT a folder with a suite of larger tables, of which rows are
drawn at random, anew for each seed, and tested on up to 5,000 others. The tables of scikit-learn are always
there. Classes are scored by log loss.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

FEW = 1_500  # rows of a small table


def of_scikit_learn(folder: Path) -> Iterator[dict[str, Any]]:
    """The entries of its small tables, which are written to the folder."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

    for load in (load_diabetes, load_iris, load_breast_cancer, load_wine):
        name = load.__name__.removeprefix("load_")
        data = load(as_frame=True)
        table = data.frame
        entry = {"name": name, "file": f"{name}.csv.gz", "target": "target"}
        if name == "diabetes":
            entry |= {"task": "regression", "metric": "rmse"}
        else:
            table["target"] = pd.Categorical.from_codes(table["target"], data.target_names).astype(str)
            kind = "binary" if len(data.target_names) == 2 else "multiclass"
            entry |= {"task": kind, "metric": "log_loss", "positive": str(data.target_names[0])}
        table.to_csv(folder / entry["file"], index=False)
        yield entry


def whole(suite: Path) -> Iterator[dict[str, Any]]:
    """The entries of a suite's small tables."""
    for entry in json.loads((suite / "suite.json").read_text()):
        if len(_read(suite / entry["file"])) < FEW:
            yield _by_log_loss(entry, suite)


def drawn(suite: Path, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Entries of so many rows of each table of a suite that has enough."""
    for entry in json.loads((suite / "suite.json").read_text()):
        n_rows = len(_read(suite / entry["file"]))
        for n in rows:
            if n <= n_rows / 1.5:
                yield _by_log_loss(entry, suite) | {"name": f"{entry['name']}-{n}", "rows": n}


def _read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def _by_log_loss(entry: dict[str, Any], suite: Path) -> dict[str, Any]:
    kept = {name: value for name, value in entry.items() if name not in ("reference", "split", "hints")}
    metric = "rmse" if entry["task"] == "regression" else "log_loss"
    return kept | {"file": str((suite / entry["file"]).resolve()), "metric": metric}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write suite.json and the tables that are nowhere else."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--more", type=Path)
    parser.add_argument("--development", type=Path)
    parser.add_argument("--rows", default="200,700,2000")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    entries = [*of_scikit_learn(options.folder)]
    entries += whole(options.more) if options.more else []
    rows = [int(n) for n in options.rows.split(",") if n]
    entries += drawn(options.development, rows) if options.development else []
    (options.folder / "suite.json").write_text(json.dumps(entries, indent=1))
    print(f"{len(entries)} tables: {', '.join(entry['name'] for entry in entries)}")


if __name__ == "__main__":
    main()
