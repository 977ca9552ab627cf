"""Time and peak memory of fits against the number of rows, on Poker Hands made here and on a table of yours.

python -m benchmarks.scale [--rows 10000 100000 1000000 10000000] [--memory 1GiB]
                           [--table flights.parquet --target delay] [--out FILE]

Every fit is the command line in a process of its own. Held-out rows: 100,000 hands of another seed; of a
table of yours, one row in 30. Each is also fitted on some 300,000 of its rows, in memory if they fit: what
more rows are worth.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from benchmarks.report import Report

HELD_OUT_ROWS = 100_000
SUBSET_ROWS = 300_000
PART_ROWS = 200_000  # hands made at a time: memory of the benchmark itself
COLUMNS = ["table x rows", "streamed", "fit s", "us a row and pass", "peak MiB", "held out", "baseline"]


def deal(n_rows: int, seed: int) -> np.ndarray:
    """Poker hands, int8 (n_rows, 11): suit 1-4 and rank 1-13 (ace 1) of five cards, and their class.

    Source: UCI 158 (Cattral, Oppacher 2007); its rows are such hands. 0 nothing, 1 one pair, 2 two pairs,
    3 three of a kind, 4 straight, 5 flush, 6 full house, 7 four of a kind, 8 straight flush, 9 royal flush.
    """
    rng = np.random.default_rng(seed)
    cards = np.argsort(rng.random((n_rows, 52), dtype=np.float32), axis=1)[:, :5]
    suit, rank = cards // 13, np.sort(cards % 13, axis=1)
    counts = np.sort((cards[:, :, None] % 13 == np.arange(13)).sum(axis=1), axis=1)
    first, second = counts[:, -1], counts[:, -2]
    royal = (rank == [0, 9, 10, 11, 12]).all(axis=1)
    straight = (np.diff(rank, axis=1) == 1).all(axis=1) | royal
    flush = (suit == suit[:, :1]).all(axis=1)
    conditions = [flush & royal, flush & straight, first == 4, (first == 3) & (second == 2), flush, straight]
    conditions += [first == 3, (first == 2) & (second == 2), first == 2]
    label = np.select(conditions, [9, 8, 7, 6, 5, 4, 3, 2, 1], 0)
    columns = [part for i in range(5) for part in (cards[:, i] // 13 + 1, cards[:, i] % 13 + 1)]
    return np.stack([*columns, label], axis=1).astype(np.int8)


def write_hands(path: Path, n_rows: int, seed: int) -> None:
    """A Parquet file of so many hands, in bounded memory; a full house and all above it are one class, 6.

    Ten thousand hands need not hold a royal flush, and no model predicts a class that it has not seen.
    """
    names = [f"{kind}{i + 1}" for i in range(5) for kind in "SC"] + ["CLASS"]
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(f"{folder}/hands.duckdb") as connection:
        for part, start in enumerate(range(0, n_rows, PART_ROWS)):
            hands = deal(min(PART_ROWS, n_rows - start), seed + part)
            hands[:, -1] = np.minimum(hands[:, -1], 6)
            connection.register("part", {name: hands[:, i].copy() for i, name in enumerate(names)})
            connection.execute(f"{'INSERT INTO t' if part else 'CREATE TABLE t AS'} SELECT * FROM part")
        connection.execute(f"COPY t TO '{path}'")


def divide(table: str, folder: Path) -> dict[str, Path]:
    """Parquet files of a table's rows: to train on, to test on, and some 300,000 of the former."""
    paths = {name: folder / f"{name}.parquet" for name in ("train", "test", "subset")}
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW v AS SELECT *, hash(row_number() OVER ()) AS h FROM '{table}'")
        n_rows = connection.execute("SELECT count(*) FROM v").fetchone()
        assert n_rows is not None
        share = round(1e6 * SUBSET_ROWS / n_rows[0])
        where = {"train": "h % 30 > 0", "test": "h % 30 = 0"}
        where["subset"] = f"h % 30 > 0 AND h // 30 % 1000000 < {share}"
        for name, path in paths.items():
            connection.execute(f"COPY (SELECT * EXCLUDE h FROM v WHERE {where[name]}) TO '{path}'")
    return paths


def run(*words: str) -> tuple[dict[str, Any], float, float]:
    """What a command of `multilayer` printed as JSON, its seconds, and its peak of memory in MiB."""
    code = "from multilayer.cli import main; main()"
    started = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, "-c", code, *words, "--json"], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"multilayer {' '.join(words)} ended with {process.returncode}")
        out.seek(0)
        return json.loads(out.read()), seconds, usage.ru_maxrss / 1024


def measure(name: str, train: Path, test: Path, target: str, memory: str, *more: str) -> dict[str, Any]:
    """A fit and its score on held-out rows. more: options of the command."""
    model = train.with_suffix(".mlp")
    words = ("fit", str(train), "--target", target, "--memory", memory, "--out", str(model), *more)
    fitted, fit_s, peak_mib = run(*words)
    scored, evaluate_s, _ = run("evaluate", str(model), str(test))
    decisions = fitted["summary"]["decisions"]
    rows = fitted["summary"]["rows"]
    steps_rows = fitted["summary"]["config"]["epochs"]
    chunk = next((d for d in decisions if "chunks of" in d), None)
    visits = steps_rows * (
        rows["train"] if chunk is None else int(chunk.split("chunks of ")[1].split(" ")[0].replace(",", ""))
    )
    return {
        "table": name,
        "rows": duckdb.sql(f"SELECT count(*) FROM '{train}'").fetchall()[0][0],
        "streamed": chunk is not None,
        "memory": memory,
        "fit_s": fit_s,
        "row_visits": visits,
        "peak_mib": peak_mib,
        "evaluate_s": evaluate_s,
        "score": scored["score"],
        "decisions": decisions,
    }


def as_row(result: dict[str, Any]) -> list[str]:
    """A line of the Markdown table."""
    score = result["score"]
    metric = "accuracy" if "accuracy" in score else "rmse"
    return [
        f"{result['table']} x {result['rows']:,}",
        "yes" if result["streamed"] else "no",
        f"{result['fit_s']:,.0f}",
        f"{result['fit_s'] / result['row_visits'] * 1e6:.1f}",
        f"{result['peak_mib']:,.0f}",
        f"{metric} {score[metric]:.4f}",
        f"{score['baseline_' + metric]:.4f}",
    ]


def draw(figure: Any, results: list[dict[str, Any]]) -> None:
    """Seconds and peak memory against rows, with a line of equal time a row."""
    figure.set_size_inches(9, 3.5)
    time_axes, memory_axes = figure.subplots(1, 2)
    for name in dict.fromkeys(result["table"] for result in results):
        part = sorted((r for r in results if r["table"] == name), key=lambda r: r["rows"])
        rows = [r["rows"] for r in part]
        time_axes.plot(rows, [r["fit_s"] for r in part], "-o", label=name)
        memory_axes.plot(rows, [r["peak_mib"] for r in part], "-o", label=name)
    last = max(results, key=lambda r: r["rows"])
    ends = np.array([min(r["rows"] for r in results), last["rows"]])
    time_axes.plot(ends, last["fit_s"] * ends / last["rows"], "k:", label="in proportion to rows")
    for axes, label in ((time_axes, "seconds of the fit"), (memory_axes, "peak memory, MiB")):
        axes.set(xscale="log", xlabel="rows", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    time_axes.set_yscale("log")
    memory_axes.set_ylim(bottom=0)


def main() -> None:
    """Fit, score, keep, show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[10**n for n in (4, 5, 6, 7)])
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--table", help="a Parquet or CSV file")
    parser.add_argument("--target")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scale.jsonl"))
    options = parser.parse_args()
    report = Report(options.out, COLUMNS, [f"Default fits with --memory {options.memory}."])
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        write_hands(folder / "test.parquet", HELD_OUT_ROWS, seed=10**6)
        for n_rows in sorted({*options.rows, *([SUBSET_ROWS] if options.rows else [])}):
            train = folder / f"hands{n_rows}.parquet"
            write_hands(train, n_rows, seed=0)
            of_hands = (train, folder / "test.parquet", "CLASS", options.memory, "--task", "multiclass")
            result = measure("poker hands", *of_hands)
            report.add(result, as_row(result))
        if options.table:
            paths = divide(options.table, folder)
            for part in ("subset", "train"):
                stem = Path(options.table).stem
                result = measure(stem, paths[part], paths["test"], options.target, options.memory)
                report.add(result, as_row(result))
    report.plot(draw)


if __name__ == "__main__":
    main()
