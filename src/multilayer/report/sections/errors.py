"""Where it errs: which classes are taken for which; by how much numbers are missed."""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from multilayer.report import charts
from multilayer.report.subject import Subject
from multilayer.report.words import floats, number, paragraph, table
from multilayer.tasks.classification import Classification

Facts = dict[str, Any]
MOST_CLASSES = 12
MOST_WITH_SHARES = 6  # classes of a matrix that has shares, too
MOST_POINTS = 600
BINS = 30


def facts(subject: Subject, before: Mapping[str, Facts]) -> Facts:
    """A confusion matrix, or residuals."""
    task, code = subject.model.task, subject.code
    if isinstance(task, Classification):
        return _confusion(task, subject)
    parts = list(
        zip(
            task.parts_of_targets,
            code.reshape(len(code), -1).T,
            task.by_target(subject.prediction),
            strict=True,
        )
    )
    if task.kind == "regression" and parts:
        part, y, prediction = parts[0]
        if part.quantile_levels is not None:
            middle = int(np.abs(np.array(part.quantile_levels) - 0.5).argmin())
            prediction = prediction[:, middle]
        return _residuals(subject.model.targets[0], np.asarray(y, np.float64), prediction)
    return {
        "kind": "labels",
        "labels": {
            name: {
                "share": float(np.average(y, weights=subject.weights)),
                "accuracy": float(np.average(p.argmax(axis=1) == y, weights=subject.weights)),
            }
            for name, (_, y, p) in zip(subject.model.targets, parts, strict=True)
        },
    }


def _confusion(task: Classification, subject: Subject) -> Facts:
    code, decided = subject.code.astype(np.int64), task.decided(subject.prediction)
    n = len(task.labels)
    matrix = np.zeros((n, n))
    np.add.at(matrix, (code, decided), subject.weights)
    order = np.argsort(-matrix.sum(axis=1), kind="stable")
    shown = np.sort(order[:MOST_CLASSES])
    pairs = [(matrix[i, j], i, j) for i in range(n) for j in range(n) if i != j and matrix[i, j] > 0]
    return {
        "kind": "classes",
        "labels": [str(task.labels[i]) for i in shown],
        "matrix": matrix[np.ix_(shown, shown)].tolist(),
        "n_classes": n,
        "recognised": {
            str(task.labels[i]): float(matrix[i, i] / matrix[i].sum()) for i in order if matrix[i].sum() > 0
        },
        "most_confused": [
            {"is": str(task.labels[i]), "taken_for": str(task.labels[j]), "rows": float(count)}
            for count, i, j in sorted(pairs, reverse=True)[:8]
        ],
    }


def _residuals(target: str, y: Any, prediction: Any) -> Facts:
    residual = y - prediction
    low, high = np.quantile(residual, [0.005, 0.995])
    counts, edges = np.histogram(np.clip(residual, low, high), bins=BINS)
    some = np.arange(min(len(y), MOST_POINTS)) * len(y) // min(len(y), MOST_POINTS)
    size = np.abs(residual)
    return {
        "kind": "numbers",
        "target": target,
        "edges": floats(edges),
        "counts": floats(counts),
        "actual": [float(f"{v:.5g}") for v in y[some]],
        "predicted": [float(f"{v:.5g}") for v in prediction[some]],
        "half_within": float(np.quantile(size, 0.5)),
        "nine_tenths_within": float(np.quantile(size, 0.9)),
        "mean_residual": float(residual.mean()),
    }


def html(found: Facts) -> str:
    """A matrix, or charts of residuals."""
    if found["kind"] == "classes":
        return _matrix(found)
    if found["kind"] == "labels":
        rows = [[name, f"{of['share']:.1%}", f"{of['accuracy']:.1%}"] for name, of in found["labels"].items()]
        return table("Each label", ["label", "holds in", "told right"], rows, sortable=True)
    target = found["target"]
    said = (
        f"Half of the predictions are within {number(found['half_within'])} of {target}, nine in ten within "
        f"{number(found['nine_tenths_within'])}; on average they are "
        f"{'below' if found['mean_residual'] > 0 else 'above'} by {number(abs(found['mean_residual']))}."
    )
    return "".join(
        [
            paragraph(said),
            charts.points(
                f"Predicted beside actual {target}",
                found["predicted"],
                found["actual"],
                "predicted",
                "actual",
                diagonal=True,
            ),
            charts.columns(
                f"Errors: actual {target} minus predicted", found["edges"], found["counts"], "error"
            ),
        ]
    )


def _matrix(found: Facts) -> str:
    labels, matrix = found["labels"], found["matrix"]
    rows = []
    for label, counts in zip(labels, matrix, strict=True):
        total = sum(counts) or 1.0
        few = len(labels) <= MOST_WITH_SHARES
        cells = [
            f'<span class="heat" style="--heat:{100 * count / total:.0f}%">{number(count) if count else "·"}'
            + (f"<small> {100 * count / total:.0f} %</small>" if few else "")
            + "</span>"
            for count in counts
        ]
        rows.append([escape(label), *cells])
    more = found["n_classes"] - len(labels)
    caption = "Rows of each class (down) by predicted class (across)" + (
        f"; the {len(labels)} most frequent of {found['n_classes']}" if more > 0 else ""
    )
    said = [
        f"{pair['is']} taken for {pair['taken_for']} in {number(pair['rows'])} rows"
        for pair in found["most_confused"][:4]
    ]
    return table(caption, ["actual", *labels], rows, raw=True) + (
        paragraph(f"Most often confused: {'; '.join(said)}.") if said else paragraph("No row was confused.")
    )
