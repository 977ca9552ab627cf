"""Whether its numbers can be taken at their word: probabilities, quantiles, means."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from multilayer.model.reliability import reliability_of_classes
from multilayer.report import charts
from multilayer.report.subject import Subject
from multilayer.report.words import floats, number, paragraph, percent, table
from multilayer.tasks.classification import Classification

Facts = dict[str, Any]
BINS = 10
FEWEST = 100  # rows


def facts(subject: Subject, before: Mapping[str, Facts]) -> Facts:
    """A reliability diagram of classes, shares below each quantile, or means beside predictions."""
    task, code = subject.model.task, subject.code
    if len(code) < FEWEST:
        return {"kind": "few rows", "rows": len(code)}
    if isinstance(task, Classification):
        diagram = reliability_of_classes(
            task.labels, code.astype(np.int64), subject.prediction, subject.weight
        )[0]
        return {
            "kind": "classes",
            "of": diagram.of,
            "predicted": floats(diagram.predicted),
            "observed": floats(diagram.observed),
            "share": floats(diagram.share),
            "ece": diagram.ece,
            "brier": diagram.brier,
        }
    levels = task.quantile_levels
    if levels is not None and code.ndim == 1:
        below = (code[:, None] <= subject.prediction) * subject.weights[:, None]
        return {
            "kind": "quantiles",
            "levels": list(levels),
            "below": floats(below.sum(axis=0) / subject.weights.sum()),
            "coverage": subject.score.get("coverage"),
            "width": subject.score.get("interval_width"),
        }
    if code.ndim == 1 and levels is None:
        return {"kind": "numbers", "target": subject.model.targets[0], **_means(subject)}
    return {"kind": "several"}


def _means(subject: Subject) -> Facts:
    order = np.argsort(subject.prediction, kind="stable")
    parts = np.array_split(order, BINS)
    w, y = subject.weights, np.asarray(subject.code, np.float64)
    means = [(np.average(subject.prediction[p], weights=w[p]), np.average(y[p], weights=w[p])) for p in parts]
    error = [float(np.std(y[p]) / np.sqrt(len(p))) for p in parts]
    return {
        "predicted": floats([a for a, _ in means]),
        "observed": floats([b for _, b in means]),
        "error": error,
    }


def html(found: Facts) -> str:
    """A diagram and what it says."""
    kind = found["kind"]
    if kind == "few rows":
        return paragraph(f"{found['rows']} rows are too few to tell.", "note")
    if kind == "several":
        return paragraph("Of several targets, see `model.predict_interval` and `model.predict_set`.", "note")
    if kind == "classes":
        lines = [
            charts.Line("observed", found["predicted"], found["observed"], dots=True),
            charts.Line("if they were exact", [0.0, 1.0], [0.0, 1.0], dashed=True),
        ]
        return charts.line_chart(
            f"How often {found['of']} came, beside its predicted probability",
            lines,
            "predicted probability",
            "share of rows",
            x_range=(0, 1),
            y_range=(0, 1),
        ) + paragraph(
            f"Of rows with a predicted probability of p, a share of p should be {found['of']}. On average "
            f"they differ by {found['ece']:.3f} (expected calibration error); Brier score "
            f"{found['brier']:.4f}."
        )
    if kind == "quantiles":
        rows = [
            [f"{level:g}", percent(below)]
            for level, below in zip(found["levels"], found["below"], strict=True)
        ]
        return table("Rows below each predicted quantile", ["quantile", "rows below it"], rows) + paragraph(
            f"Between the outermost quantiles lie {percent(found['coverage'])} of the rows; mean width "
            f"{number(found['width'])}."
        )
    low, high = min(found["predicted"]), max(found["predicted"])
    error = found["error"]
    lines = [
        charts.Line(
            "mean of the target",
            found["predicted"],
            found["observed"],
            low=[y - 2 * e for y, e in zip(found["observed"], error, strict=True)],
            high=[y + 2 * e for y, e in zip(found["observed"], error, strict=True)],
            dots=True,
        ),
        charts.Line("if predictions were exact means", [low, high], [low, high], dashed=True),
    ]
    return charts.line_chart(
        f"Mean of {found['target']} in tenths of the rows, by prediction",
        lines,
        "prediction",
        found["target"],
    ) + paragraph("The band is two standard errors of each mean.", "note")
