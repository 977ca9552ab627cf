"""What it was fitted on: rows, columns, target, split."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from multilayer.report import charts
from multilayer.report.subject import Subject
from multilayer.report.words import floats, items, number, table

Facts = dict[str, Any]
MOST_CLASSES = 15
BINS = 24


def facts(subject: Subject, before: Mapping[str, Facts]) -> Facts:
    """Counts, the target's distribution, and the sentences on rows and columns."""
    model, summary = subject.model, subject.model.summary
    decisions = summary.get("decisions", [])
    return {
        "target": list(model.targets),
        "task": model.task.in_words,
        "rows_trained_on": summary.get("rows", {}).get("train"),
        "rows_held_out": summary.get("rows", {}).get("validation"),
        "rows_shown": len(subject.code),
        "rows_of_source": subject.n_rows,
        "source": subject.source,
        "columns_used": len(model.schema.names),
        "columns_ignored": {**model.schema.ignored, **dict.fromkeys(model.dropped, "left out")},
        "said": [line for line in decisions if line.split(":")[0] in ("read", "task", "rows", "memory")],
        "distribution": _distribution(subject),
    }


def _distribution(subject: Subject) -> Facts | None:
    task, code = subject.model.task, subject.code
    if code.ndim > 1:
        return None
    if task.classes:
        counts = np.bincount(code.astype(np.int64), subject.weights, len(task.classes))
        order = np.argsort(-counts)[:MOST_CLASSES]
        return {
            "classes": [str(task.classes[i]) for i in order],
            "shares": floats(counts[order] / counts.sum()),
            "n_classes": len(task.classes),
        }
    values = np.asarray(code, np.float64)
    low, high = np.quantile(values, [0.005, 0.995])
    inside = values[(values >= low) & (values <= high)]
    counts, edges = np.histogram(inside, bins=min(BINS, max(4, len(np.unique(inside)))))
    return {"edges": floats(edges), "counts": floats(counts), "shown": "the middle 99 % of the rows"}


def html(found: Facts) -> str:
    """A table of counts, and the target."""
    where = "rows that the fit held out" if found["source"] == "held out" else "rows of a table"
    rows = [
        ["target", ", ".join(found["target"][:12])],
        ["task", found["task"]],
        ["rows trained on", number(found["rows_trained_on"])],
        ["rows held out by the fit", number(found["rows_held_out"])],
        ["rows shown in this report", f"{found['rows_shown']:,} of {found['rows_of_source']:,} {where}"],
        ["columns used", number(found["columns_used"])],
        ["columns left out", number(len(found["columns_ignored"]))],
    ]
    parts = [table("Rows and columns", ["", "value"], rows)]
    shape = found["distribution"]
    if shape and "classes" in shape:
        more = shape["n_classes"] - len(shape["classes"])
        parts.append("<h3>The target</h3>")
        parts.append(
            charts.bars(
                "Share of each class" + (f", without {more} rarer ones" if more > 0 else ""),
                shape["classes"],
                shape["shares"],
                shown=[f"{share:.1%}" for share in shape["shares"]],
            )
        )
    elif shape:
        parts.append("<h3>The target</h3>")
        title = f"Distribution of {found['target'][0]}, {shape['shown']}"
        parts.append(charts.columns(title, shape["edges"], shape["counts"], found["target"][0]))
    return "".join([*parts, items(found["said"])])
