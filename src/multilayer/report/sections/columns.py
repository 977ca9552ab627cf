"""Columns that matter: how much the score falls without them, and what the prediction does as they move."""

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np

from multilayer.model.model import Model
from multilayer.report import charts
from multilayer.report.refits import predicted_as
from multilayer.report.subject import Subject, levels_of, numbers_of
from multilayer.report.words import floats, fold, outputs_of, paragraph

Facts = dict[str, Any]
ROWS = 1_000  # for importance
REPEATS = 3
MOST_COLUMNS = 200  # that are permuted
SHOWN = 12
CURVES = 6
CURVE_ROWS = 300
POINTS = 17
MOST_LEVELS = 12


def facts(subject: Subject, before: Mapping[str, Facts]) -> Facts:
    """Permutation importance with its spread, and partial dependence of the first six columns.

    Source:  Breiman 2001 (permutation), Friedman 2001 (partial dependence)
    """
    refits = subject.refitted
    model, judge = (subject.model, subject) if refits is None else (refits.full, refits.held)
    importance = _importance(model, judge.some(ROWS))
    ranked = sorted(importance, key=lambda name: -importance[name]["mean"])
    tells = [name for name in ranked if importance[name]["mean"] > 0][:CURVES]
    rows = subject.some(CURVE_ROWS)
    return {
        "judged_by": "model" if refits is None else "refit",
        "in_sample": refits is None and (subject.is_seen or subject.source == "held out"),
        "rows": len(judge.some(ROWS).code),
        "metric": subject.model.task.metric,
        "importance": {name: importance[name] for name in ranked},
        "not_looked_at": max(0, len(subject.columns) - MOST_COLUMNS),
        "curves": {name: _curve(rows, name) for name in tells},
    }


def _importance(model: Model, judge: Subject) -> dict[str, Facts]:
    """Rise of the mean loss when a column's cells are dealt to other rows, as a share of the loss."""
    random = np.random.default_rng(0)
    base = replace(judge, prediction=predicted_as(model, judge, [c.name for c in judge.columns])).losses
    w, found = judge.weights, {}
    for column in judge.columns[:MOST_COLUMNS]:
        values = judge.rows[column.name]
        rises = []
        for _ in range(REPEATS):
            order = random.permutation(len(values))
            rows = judge.with_column(column.name, values[order])
            dealt = replace(judge, rows=rows)
            prediction = predicted_as(model, dealt, [c.name for c in judge.columns])
            rises.append(float(np.average(replace(judge, prediction=prediction).losses - base, weights=w)))
        found[column.name] = {"mean": float(np.mean(rises)), "spread": float(np.std(rises, ddof=1))}
    total = abs(float(np.average(base, weights=w))) or 1.0
    return {name: {key: value / total for key, value in of.items()} for name, of in found.items()}


def _curve(subject: Subject, name: str) -> Facts:
    """Mean prediction with one value in all rows, at values that occur."""
    column = subject.model.schema[name]
    values = subject.rows[name]
    numbers = numbers_of(column, values)
    if numbers is None:
        levels = levels_of(values)
        distinct, counts = np.unique(levels.astype(str), return_counts=True)
        most = distinct[np.argsort(-counts, kind="stable")][:MOST_LEVELS]
        places = [int(np.flatnonzero(levels == level)[0]) for level in most]
        at: Facts = {
            "levels": [str(level)[:60] for level in most],
            "counts": np.sort(counts)[::-1][:MOST_LEVELS].tolist(),
        }
    else:
        there = np.flatnonzero(~np.isnan(numbers))
        order = there[np.argsort(numbers[there], kind="stable")]
        wanted = np.unique(np.round(np.linspace(0.01, 0.99, POINTS) * (len(order) - 1)).astype(int))
        places = order[wanted].tolist()
        xs = numbers[places]
        first = np.unique(xs, return_index=True)[1]
        places = [places[i] for i in first]
        shown = numbers[there]
        at = {
            "x": floats(xs[first]),
            "deciles": floats(np.quantile(shown, np.linspace(0.05, 0.95, 10))),
            "kind": column.kind,
        }
    outputs: dict[str, list[float]] = {}
    for place in places:
        same = np.repeat(values[place : place + 1], len(values))
        prediction = subject.predicted(subject.with_column(name, same))
        for key, of_rows in outputs_of(subject.model, prediction).items():
            outputs.setdefault(key, []).append(float(np.average(of_rows, weights=subject.weights)))
    return at | {"outputs": outputs}


def html(found: Facts) -> str:
    """Bars and curves."""
    importance = found["importance"]
    names = list(importance)[:SHOWN]
    if not names:
        return paragraph("There is no column to look at.", "note")
    bars = charts.bars(
        "Rise of the loss when a column is shuffled",
        names,
        [importance[name]["mean"] for name in names],
        spread=[importance[name]["spread"] for name in names],
        shown=[f"{100 * importance[name]['mean']:.1f} %" for name in names],
    )
    how = "a smaller model that did not see these rows" if found["judged_by"] == "refit" else "the model"
    note = (
        "By how much the loss rises, as a share of it, when the cells of one column are dealt to other rows;"
        f" by {how}, on {found['rows']:,} rows. Columns that tell the same share this: each alone may seem of"
        " little use."
    )
    if found["in_sample"]:
        note += " The model was trained on these rows, so that columns without use may seem to have some."
    parts = [bars, paragraph(note, "note")]
    if len(importance) > SHOWN:
        rest = ", ".join(
            f"{name} {100 * importance[name]['mean']:.1f} %" for name in list(importance)[SHOWN:]
        )
        parts.append(fold(f"{len(importance) - SHOWN} more columns", paragraph(rest)))
    if found["curves"]:
        parts.append("<h3>What the prediction does as one column moves</h3>")
        parts.append('<div class="cards">')
        parts += [
            f'<figure class="card"><figcaption>{escape(name)}</figcaption>{_drawn(name, curve)}</figure>'
            for name, curve in found["curves"].items()
        ]
        parts.append("</div>")
        parts.append(
            paragraph(
                "Mean prediction of 300 rows, were this column the same in all of them (partial dependence)."
                " Ticks mark tenths of the rows: beyond them there are few.",
                "note",
            )
        )
    return "".join(parts)


def _drawn(name: str, curve: Facts) -> str:
    outputs = curve["outputs"]
    label = next(iter(outputs)) if len(outputs) == 1 else "prediction"
    title = f"{label} as {name} moves"
    if "levels" in curve:
        first = next(iter(outputs.values()))
        return charts.bars(title, curve["levels"], first, width=charts.CARD)
    lines = [charts.Line(key, curve["x"], values) for key, values in outputs.items()]
    names = _names_of_dates(curve) if curve["kind"] in ("date",) else None
    return charts.line_chart(
        title,
        lines,
        name,
        label,
        rug=[v for v in curve["deciles"] if curve["x"][0] <= v <= curve["x"][-1]],
        x_names=names,
        width=charts.CARD,
        height=230,
    )


def _names_of_dates(curve: Facts) -> list[tuple[float, str]]:
    """First, middle and last date; numbers of dates are days."""
    xs = curve["x"]
    places = sorted({0, len(xs) // 2, len(xs) - 1})
    return [(xs[i], str(np.datetime64(int(xs[i]), "D"))) for i in places]
