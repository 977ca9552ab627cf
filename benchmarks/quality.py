"""Ours and others on every table of a suite: scores, times and memory, as JSON lines.

python -m benchmarks.quality FOLDER [--out FILE] [--contestants a,b] [--tables x,y] [--seeds 0,1,2]
                             [--threads N] [--timeout SECONDS] [--again] [--together]
python -m benchmarks.quality_report FILE

FOLDER holds suite.json and its tables. For each seed everyone gets the same rows: 64 % to fit on, 16 % to
validate on, 20 % to test on. Each fit has a process, and two threads, of its own (`benchmarks.trial`).
Contestants take turns on each table; who is first changes with the seed. A line that is there already is not
measured again, so a run that was stopped goes on; lines of ours count as the same only for the same sources.

Where published scores are on log1p(target), everyone learns log1p(target) and is scored on it.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.contestants import CONTESTANTS
from benchmarks.report import machine
from benchmarks.suite import read_suite
from benchmarks.trial import Trial

ROOT = Path(__file__).parents[1]
KEY = ("table", "contestant", "seed", "threads", "commit")


@cache
def commit() -> str:
    """The commit of our sources, with a digest of them where they differ from it."""
    name = _git("rev-parse", "--short", "HEAD") or "unknown"
    if not _git("status", "--porcelain", "--", "src/multilayer"):
        return name
    digest = hashlib.sha256()
    for path in sorted((ROOT / "src" / "multilayer").rglob("*.py")):
        digest.update(path.read_bytes())
    return f"{name}+{digest.hexdigest()[:8]}"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def is_ours(contestant: str) -> bool:
    """Whether it changes with our sources."""
    return CONTESTANTS[contestant].packages == ("multilayer",)


def key(trial: Trial) -> dict[str, Any]:
    """What makes two lines measurements of the same."""
    return {
        "table": trial.table,
        "contestant": trial.contestant,
        "seed": trial.seed,
        "threads": trial.threads,
        "commit": commit() if is_ours(trial.contestant) else None,
    }


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; none if it is not there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def trials(
    folder: Path, tables: Sequence[str], contestants: Sequence[str], seeds: Sequence[int], threads: int
) -> Iterator[Trial]:
    """Table by table, seed by seed. tables: in this order; none means all."""
    found = {entry.name: entry for entry in read_suite(folder)}
    for table in tables or found:
        for seed in seeds:
            shift = seed % len(contestants)
            for contestant in [*contestants[shift:], *contestants[:shift]]:
                yield Trial(str(folder), found[table].name, contestant, seed, threads)


def measure(trial: Trial, timeout_s: float | None) -> dict[str, Any]:
    """The result of a process of its own, or the reason why there is none."""
    command = [sys.executable, "-m", "benchmarks.trial", trial.as_json()]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=trial.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that what it starts ends with it
    )
    try:
        said, complaint = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {timeout_s:.0f} s"}
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        lines = complaint.strip().splitlines()
        return {"error": lines[-1] if lines else f"ended with {process.returncode}"}
    return json.loads(said.splitlines()[-1])


def measure_together(trial: Trial) -> dict[str, Any]:
    """The result of this process, where scores count and times do not."""
    from benchmarks.trial import run

    try:
        return run(trial)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are to be measured
        return {"error": f"{type(error).__name__}: {error}"}


def installed(names: Sequence[str]) -> list[str]:
    """Those that can run; a line is printed for the others."""
    for name in names:
        if missing := CONTESTANTS[name].missing():
            print(f"{name} does not run: {', '.join(missing)} is not installed.")
    return [name for name in names if not CONTESTANTS[name].missing()]


def as_line(row: dict[str, Any]) -> str:
    """A result in a few words."""
    head = f"{row['table']:20} seed {row['seed']} {row['contestant']:14}"
    if "error" in row:
        return f"{head} {row['error']}"
    return (
        f"{head} {row['metric']:8} {row['score']:<9.4f} fit {row['fit_s']:.1f} s, "
        f"predict {row['predict_s']:.2f} s, {row['peak_mb']:.0f} MB"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/quality.jsonl"))
    parser.add_argument("--contestants", type=_names, default=list(CONTESTANTS))
    parser.add_argument("--tables", type=_names, default=[])
    parser.add_argument("--seeds", type=_numbers, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=float, help="seconds that a fit may take, with all around it")
    parser.add_argument("--again", action="store_true", help="measure also what was measured before")
    parser.add_argument("--together", action="store_true", help="all in this process: times mean nothing")
    options = parser.parse_args(arguments)
    if unknown := set(options.contestants) - set(CONTESTANTS):
        parser.error(f"unknown contestants {', '.join(sorted(unknown))}; known: {', '.join(CONTESTANTS)}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    done = [] if options.again else [{name: row[name] for name in KEY} for row in read_rows(options.out)]
    about = machine()
    names = installed(options.contestants)
    for trial in trials(options.folder.resolve(), options.tables, names, options.seeds, options.threads):
        if key(trial) in done:
            continue
        found = measure_together(trial) if options.together else measure(trial, options.timeout)
        row = key(trial) | found
        print(as_line(row), flush=True)
        row |= {"commit_at": commit(), "date": time.strftime("%Y-%m-%d"), "machine": about}
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in _names(text)]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that `measure` ends what it started
    main()
