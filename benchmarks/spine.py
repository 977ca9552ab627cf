"""`multilayer fit` with nothing but --target and --drop, against HistGradientBoosting's defaults.

python -m benchmarks.spine FOLDER [--only NAME,NAME] [--seed N] [--out FILE]

FOLDER holds suite.json and its tables. Each contestant fits on the same 80 % and is tested on the same
20 %; the baseline knows no features: class shares, or the mean. Ours runs as a user runs it: a fresh process
of the command line, start-up and file reading included in its time.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from benchmarks.suite import Entry, read_suite


def run_ours(entry: Entry, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """Fit and predict through the command line, on files."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        train.to_parquet(here / "train.parquet", index=False)
        test.drop(columns=entry.target).to_parquet(here / "test.parquet", index=False)
        model, out = here / "model.mlp", here / "predictions.csv"
        drop = ["--drop", ",".join(entry.drop)] if entry.drop else []
        fit = _multilayer("fit", here / "train.parquet", "--target", entry.target, *drop, "--out", model)
        predict = _multilayer("predict", model, here / "test.parquet", "--out", out)
        predicted = pd.read_csv(out, keep_default_na=False)
    probs = predicted.filter(regex="^probability_").rename(columns=lambda c: c.removeprefix("probability_"))
    labels = predicted["prediction"].to_numpy()
    score = entry.score(test[entry.target], labels, probs if len(probs.columns) else None)
    return {"score": score, "fit_s": fit["s"], "predict_s": predict["s"], "memory_mb": fit["memory_mb"]}


def _multilayer(*arguments: object) -> dict[str, float]:
    """Run the command line in a process of its own; seconds and peak memory."""
    command = [sys.executable, "-m", "multilayer", *map(str, arguments)]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen did not see it end
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said.read()}")
    return {"s": time.perf_counter() - started, "memory_mb": usage.ru_maxrss / 1024}


def run_trees(entry: Entry, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """HistGradientBoosting at its defaults, categories as such, dates as numbers."""
    x, x_test = _tree_features(entry, train, test)
    y = train[entry.target].astype(str) if entry.task != "regression" else train[entry.target].to_numpy(float)
    make = HistGradientBoostingRegressor if entry.task == "regression" else HistGradientBoostingClassifier
    model = make(categorical_features="from_dtype", random_state=0)
    started = time.perf_counter()
    model.fit(x, y)
    fit_s = time.perf_counter() - started
    started = time.perf_counter()
    labels = model.predict(x_test)
    predict_s = time.perf_counter() - started
    probs = None
    if entry.task != "regression":
        probs = pd.DataFrame(model.predict_proba(x_test), columns=[str(c) for c in model.classes_])
    return {"score": entry.score(test[entry.target], labels, probs), "fit_s": fit_s, "predict_s": predict_s}


def _tree_features(
    entry: Entry, train: pd.DataFrame, test: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    parts = [part.drop(columns=[entry.target, *entry.drop]) for part in (train, test)]
    for name in parts[0].columns:
        column = parts[0][name]
        if column.isna().all():
            for part in parts:
                del part[name]
        elif pd.api.types.is_datetime64_any_dtype(column):
            for part in parts:
                part[name] = part[name].astype("int64") / 86_400e9
        elif not pd.api.types.is_numeric_dtype(column):
            levels = column.dropna().astype(str).value_counts().index[:250]  # the most that it takes
            codes = {level: float(code) for code, level in enumerate(levels)}
            for part in parts:
                coded = part[name].astype(object).map(codes)
                part[name] = pd.Categorical(coded, categories=list(codes.values()))
    return parts[0], parts[1]


def baseline(entry: Entry, train: pd.DataFrame, test: pd.DataFrame) -> float:
    """Class shares, or the mean."""
    y, n = train[entry.target], len(test)
    if entry.task == "regression":
        return entry.score(test[entry.target], np.full(n, y.mean()), None)
    shares = y.astype(str).value_counts(normalize=True)
    probs = pd.DataFrame({name: np.full(n, share) for name, share in shares.items()})
    return entry.score(test[entry.target], np.full(n, shares.index[0]), probs)


def measure(entry: Entry, seed: int) -> dict[str, object]:
    """All three on one table."""
    train, test = entry.split(entry.read(), seed)
    ours, trees = run_ours(entry, train, test), run_trees(entry, train, test)
    nothing = baseline(entry, train, test)
    return {
        "name": entry.name,
        "metric": entry.metric,
        "seed": seed,
        "rows": len(train) + len(test),
        "ours": ours,
        "hist_gradient_boosting": trees,
        "baseline": nothing,
        "relative_error": entry.error(ours["score"]) / entry.error(trees["score"]) - 1,
        "beats_baseline": entry.error(ours["score"]) < entry.error(nothing),
        "versions": {"python": platform.python_version(), "scikit-learn": sklearn.__version__},
        "machine": f"{platform.machine()}, {resource.getpagesize()} B pages",
    }


def as_row(result: dict) -> str:  # type: ignore[type-arg]
    """One line of the Markdown table."""
    ours, trees = result["ours"], result["hist_gradient_boosting"]
    return (
        f"| {result['name']} | {result['metric']} | {result['baseline']:.4f} | {trees['score']:.4f} "
        f"| {ours['score']:.4f} | {result['relative_error']:+.1%} | {trees['fit_s']:.1f} "
        f"| {ours['fit_s']:.1f} | {ours['memory_mb']:.0f} |"
    )


HEADER = (
    "| table | metric | baseline | HGB | ours | relative error | HGB fit s | our fit s | our peak MB |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|"
)


def main() -> None:
    """Measure, append each result to the JSON lines, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/spine.jsonl"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    print(HEADER)
    for entry in read_suite(options.folder, [name for name in options.only.split(",") if name]):
        result = measure(entry, options.seed)
        with options.out.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(as_row(result), flush=True)


if __name__ == "__main__":
    main()
