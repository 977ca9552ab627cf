"""The sections of a report: each finds its facts, and writes them as HTML from these alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from multilayer.report.sections import (
    calibration,
    columns,
    data,
    errors,
    learning,
    made,
    network,
    scores,
    slices,
    summary,
    warnings,
)
from multilayer.report.subject import Subject

Facts = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """facts: of a subject and what sections before found; html: of these facts."""

    title: str
    facts: Callable[[Subject, Mapping[str, Facts]], Facts]
    html: Callable[[Facts], str]


# In the order in which they are made, as some look at those before; `ORDER` is that of the page
SECTIONS: Mapping[str, Section] = {
    "scores": Section("How good it is", scores.facts, scores.html),
    "data": Section("Data", data.facts, data.html),
    "calibration": Section("Can its numbers be taken at their word", calibration.facts, calibration.html),
    "learning": Section("What would help", learning.facts, learning.html),
    "columns": Section("Columns that matter", columns.facts, columns.html),
    "errors": Section("Where it errs", errors.facts, errors.html),
    "slices": Section("Where it is worst", slices.facts, slices.html),
    "summary": Section("All columns", summary.facts, summary.html),
    "network": Section("The model", network.facts, network.html),
    "made": Section("How it was made", made.facts, made.html),
    "warnings": Section("Warnings", warnings.facts, warnings.html),
}
ORDER = (
    "scores", "warnings", "columns", "errors", "calibration", "slices", "learning", "data", "summary",
    "network", "made",
)  # fmt: skip
