"""All columns: kind, gaps, range, shape."""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from multilayer.report import charts
from multilayer.report.subject import Subject, levels_of, numbers_of
from multilayer.report.words import fold, number, paragraph, percent, table
from multilayer.table.cells import is_missing
from multilayer.table.kinds import kind_of

Facts = dict[str, Any]
BINS = 16
SHOWN = 60  # columns that are not folded away
MOST = 1_000


def facts(subject: Subject, before: Mapping[str, Facts]) -> Facts:
    """A row a column."""
    schema = subject.model.schema
    importance = before.get("columns", {}).get("importance", {})
    columns = {}
    for column in subject.columns[:MOST]:
        values = subject.rows[column.name]
        numbers = numbers_of(column, values)
        columns[column.name] = {
            "kind": column.kind,
            "missing": float(is_missing(values).mean()),
            "distinct": column.n_unique,
            "shows": kind_of(column).show(column)[:120],
            "shape": _shape(values, numbers),
            "importance": importance.get(column.name, {}).get("mean"),
        }
    return {
        "columns": columns,
        "more": max(0, len(subject.columns) - MOST),
        "ignored": {**schema.ignored, **dict.fromkeys(subject.model.dropped, "left out")},
    }


def _shape(values: Any, numbers: Any) -> list[float]:
    """Heights of a small histogram."""
    if numbers is None:
        levels = levels_of(values).astype(str)
        counts = np.sort(np.unique(levels, return_counts=True)[1])[::-1][:BINS]
        return [float(count) for count in counts]
    there = numbers[~np.isnan(numbers)]
    if not len(there):
        return []
    low, high = np.quantile(there, [0.01, 0.99])
    counts, _ = np.histogram(np.clip(there, low, high), bins=BINS)
    return [float(count) for count in counts]


def html(found: Facts) -> str:
    """One table, sortable; many columns fold away."""
    rows = [
        [
            escape(name),
            escape(of["kind"]),
            percent(of["missing"]),
            number(of["distinct"]),
            charts.spark(of["shape"]),
            escape(of["shows"]),
        ]
        for name, of in found["columns"].items()
    ]
    header = ["column", "kind", "missing", "distinct", "shape", "range or levels"]
    parts = [
        table("Columns that the model uses", header, rows[:SHOWN], raw=True, sortable=True, words=(1, 5))
    ]
    if len(rows) > SHOWN:
        more = table("Further columns", header, rows[SHOWN:], raw=True, sortable=True, words=(1, 5))
        parts.append(fold(f"{len(rows) - SHOWN} more columns", more))
    if found["more"]:
        parts.append(paragraph(f"And {found['more']:,} more.", "note"))
    if found["ignored"]:
        left_out = [[name, why] for name, why in list(found["ignored"].items())[:MOST]]
        parts.append(table("Columns that it does not use", ["column", "why"], left_out, words=(1,)))
    return "".join(parts)
