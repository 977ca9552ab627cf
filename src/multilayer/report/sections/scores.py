"""How good it is: scores with their spread, beside simple models."""

from collections.abc import Mapping
from typing import Any

from multilayer.model.first_words import THIS_MODEL, shown_metrics, spread_of, verdict, with_spread
from multilayer.report import charts
from multilayer.report.subject import Subject
from multilayer.report.words import number, paragraph, table
from multilayer.tasks.metrics import lower_is_better

Facts = dict[str, Any]


def facts(subject: Subject, before: Mapping[str, Facts]) -> Facts:
    """Scores on held-out rows, on the table's, and the comparison of the fit."""
    model = subject.model
    names = shown_metrics(model)
    held_out = {
        name: {"score": model.score[name], "spread": spread_of(model, name)}
        for name in names
        if name in model.score
    }
    on_table = subject.score if subject.source == "table" else None
    return {
        "metric": model.task.metric,
        "lower_is_better": lower_is_better(model.task.metric) if names else True,
        "held_out": held_out,
        "baseline": {name: model.summary.get("baseline", {}).get(name) for name in names},
        "table": None if on_table is None else {name: on_table.get(name) for name in names},
        "table_constant": None if on_table is None else {n: subject.constant_score.get(n) for n in names},
        "trained_on": subject.trained_on,
        "is_seen": subject.is_seen,
        "comparison": model.summary.get("comparison") or None,
        "verdict": verdict(model),
    }


def html(found: Facts) -> str:
    """Tables, and bars of the deciding metric."""
    parts = []
    header, rows = ["metric", THIS_MODEL, "constant"], []
    for name, of in found["held_out"].items():
        rows.append([name, with_spread(of["score"], of["spread"]), number(found["baseline"].get(name))])
    if rows:
        parts.append(table("On the rows that the fit held out", header, rows))
        parts.append(
            paragraph("± is the standard error: by how much chance in the rows may move the score.", "note")
        )
    if found["table"] is not None:
        of_table = [
            [name, number(value), number(found["table_constant"].get(name))]
            for name, value in found["table"].items()
        ]
        parts.append(table("On the table of this report", header, of_table))
        if found["is_seen"]:
            parts.append(
                paragraph(
                    f"The model was trained on about {found['trained_on']:.0%} of these rows: the scores on "
                    "them say little, and the figures below are better than they are on new rows.",
                    "warning",
                )
            )
    comparison = found["comparison"]
    if comparison:
        parts.append(_comparison(found, comparison))
    return "".join(parts)


def _comparison(found: Facts, comparison: Facts) -> str:
    scores, metric = comparison["scores"], comparison["metric"]
    names = [name for name in found["held_out"] if name in scores[THIS_MODEL]]
    rows = [[name, *(number(of.get(one)) for one in names)] for name, of in scores.items()]
    direction = "less is better" if found["lower_is_better"] else "more is better"
    return "".join(
        [
            f"<h3>Beside simple models</h3>{paragraph(found['verdict'])}",
            charts.bars(
                f"{metric} of each model; {direction}",
                list(scores),
                [float(of.get(metric) or 0.0) for of in scores.values()],
                highlight=0,
            ),
            paragraph(
                f"{metric}, {direction}: on {comparison['scored']:,} rows that none of them was fitted on;"
                f" the simple models were fitted on {comparison['fitted_on']:,} rows.",
                "note",
            ),
            table("The same rows, all metrics", ["model", *names], rows),
        ]
    )
