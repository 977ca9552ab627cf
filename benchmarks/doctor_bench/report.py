# ruff: noqa: E501  (rows of a table)
"""Write benchmarks/results/doctor.md from what the bench left: `python -m benchmarks.doctor_bench.report`."""

import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
Row = dict[str, Any]
IN_FOUR_OF_FIVE = 0.8


def rows_of(name: str) -> list[Row]:
    path = RESULTS / f"doctor_{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def is_right(row: Row, found: list[list[Any]], n: int) -> bool:
    """Whether one of the first n findings names the cause: by its class, or its code."""
    wanted = row.get("faults") or row.get("codes") or []
    return any(one[0] in wanted or one[1] in wanted for one in found[:n])


def share(rows: list[Row], rule: Any) -> str:
    """Of all seeds of all rows, how many a rule holds for, and as a share."""
    held = [bool(rule(row, found)) for row in rows for found in row["found"]]
    return f"{statistics.mean(held):.0%}" if held else "-"


def cause(row: Row) -> bool:
    return statistics.mean(is_right(row, found, 1) for found in row["found"]) >= IN_FOUR_OF_FIVE


def table_of(name: str, rows: list[Row], counted: list[Row]) -> list[str]:
    seeds = len(rows[0]["found"]) if rows else 0
    named = sum(map(cause, counted))
    first, third = (share(counted, lambda row, found, n=n: is_right(row, found, n)) for n in (1, 3))
    found = share(
        counted, lambda row, found: any(one[2] != "note" for one in found) or is_right(row, found, 9)
    )
    mended = [row for row in counted if row.get("mended")]
    mends = sum(statistics.mean(row["mended"]) >= IN_FOUR_OF_FIVE for row in mended)
    fix = f"{mends} of {len(mended)}" if mended else "-"
    return [
        f"| {name} | {len(rows)} | {len(counted)} | {seeds} | {found} | {named} of {len(counted)} | {first} | {third} | {fix} |"
    ]


def misses(rows: list[Row]) -> list[str]:
    lines = []
    for row in rows:
        wrong = [found for found in row["found"] if not is_right(row, found, 1)]
        if wrong:
            said = ", ".join(one[0] for one in wrong[0]) or "nothing"
            wanted = " or ".join(row.get("faults") or row.get("codes") or [])
            lines.append(
                f"- {row['set']} {row['case']} ({wanted}), {len(wrong)} of {len(row['found'])} seeds: {said}"
            )
    return lines


def false_alarms(rows: list[Row]) -> tuple[list[str], int, int, int]:
    lines, runs, errors, anything = [], 0, 0, 0
    for row in rows:
        for found in row["found"]:
            runs += 1
            bad = [one for one in found if one[2] != "note"]
            errors += any(one[2] == "error" for one in bad)
            anything += bool(bad)
            if bad:
                lines.append(f"- {row['case']}: {', '.join(f'{one[0]} ({one[2]})' for one in bad)}")
    return sorted(set(lines)), runs, errors, anything


def main() -> None:
    sets = {name: rows_of(name) for name in "PRSHM"}
    healthy = [row for rows in sets.values() for row in rows if row["set"] == "H"]
    names = {
        "P": "P: programs of the published study",
        "R": "R: training loops",
        "S": "S: tables",
        "M": "M: mutants of healthy programs",
    }
    lines = [
        "# doctor-bench",
        "",
        "Written by `python -m benchmarks.doctor_bench.report`; how to run it: benchmarks/README.md.",
        "",
    ]
    lines += [
        "A case counts if its fixed twin is better by more than two standard deviations over the seeds.",
        "",
    ]
    lines += [
        "| set | cases | that count | seeds | detected | cause first in 4 of 5 seeds | first | among three | fix works |"
    ]
    lines += ["|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    wrong: list[str] = []
    for name, title in names.items():
        rows = [row for row in sets[name] if row["set"] == name]
        counted = [row for row in rows if row.get("counts", True)]
        if rows:
            lines += table_of(title, rows, counted)
            wrong += misses(counted)
            left_out = [row["case"] for row in rows if row not in counted]
            wrong += [f"- {name}: these do not count: {', '.join(left_out)}"] if left_out else []
    alarms, runs, errors, anything = false_alarms(healthy)
    if runs:
        lines += ["", f"Healthy: {len(healthy)} programs, loops and tables, {runs} runs: {errors} with an error "
                  f"({errors / runs:.1%}), {anything} with any warning ({anything / runs:.1%})."]  # fmt: skip
    seconds = [row["seconds"] for rows in sets.values() for row in rows if "seconds" in row]
    if seconds:
        lines += [
            "",
            f"Processor time of `ml.doctor`: median {statistics.median(seconds):.1f} s, at most {max(seconds):.1f} s.",
        ]
    lines += ["", "## Misses, and what does not count", "", *(wrong or ["None."])]
    lines += ["", "## False alarms", "", *(alarms or ["None."])]
    lines += [
        "", "## What to compare with", "",
        "Published tools on the 62 dense-only programs of that study, on their Keras originals and scored by location: "
        "UMLAUT 9, NeuraLint 14, DeepLocalize 17, DeepDiagnosis 21, deepmufl 33 (53 %). Ours are ports, scored by the "
        "class of the cause.", "",
    ]  # fmt: skip
    dates = sorted({row["date"] for rows in sets.values() for row in rows})
    versions = sorted({row["torch"] for rows in sets.values() for row in rows})
    lines += [f"{', '.join(dates)}; PyTorch {', '.join(versions)}."]
    (RESULTS / "doctor.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
