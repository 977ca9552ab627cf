"""What would help more: rows, columns or time. From fits on shares of each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from multilayer.report import charts
from multilayer.report.refits import refitted
from multilayer.report.subject import Subject
from multilayer.report.words import items, number, paragraph, table

Facts = dict[str, Any]
CHANCE = 2.0  # standard errors
SMALL = 0.005  # of what is gained over a constant: less is not worth a word


def facts(subject: Subject, before: Mapping[str, Facts]) -> Facts:
    """The score by number of rows, and what half the rows, half the columns, half the time lose."""
    refits = refitted(subject)
    if refits is None:
        return {"why_not": _why_not(subject)}
    metric = subject.model.task.metric
    names = [name for name in refits.n_of if name.startswith("rows")]
    full = refits.losses["rows 1"]
    code = refits.held.code
    constant = np.broadcast_to(subject.model._constant, refits.held.prediction.shape)
    task = subject.model.task
    of_constant = np.asarray(task.row_losses(task.essence_of(np.array(constant), code), code), np.float64)
    gained = float(of_constant.mean() - full.mean())
    halves = {}
    for what, name in (("rows", "rows 0.5"), ("columns", "columns"), ("time", "time")):
        if name in refits.losses:
            lost = refits.losses[name] - full
            halves[what] = {
                "lost": float(lost.mean()),
                "error": float(lost.std() / np.sqrt(len(lost))),
                "share_of_gain": float(lost.mean() / gained) if gained > 0 else None,
            }
    return {
        "metric": metric,
        "judged_on": len(code),
        "curve": [{"rows": refits.n_of[name], "score": refits.scores[name].get(metric)} for name in names],
        "all": [{"rows": refits.n_of[name], **refits.scores[name]} for name in names],
        "halves": halves,
        "said": _said(halves, [float(refits.losses[name].mean()) for name in names]),
    }


def _why_not(subject: Subject) -> str:
    if not subject.refits:
        return "No smaller models were fitted, as was asked: refits=False."
    if subject.model.exposure is not None:
        return "Models with an exposure are not refitted here."
    return "The rows are too few to fit on shares of them."


def _said(halves: Mapping[str, Facts], losses: Sequence[float]) -> list[str]:
    """A sentence each on rows, time and columns.

    losses: by number of rows, each twice the one before
    """
    said = []
    if "rows" in halves:
        of = halves["rows"]
        if _tells(of) and len(losses) > 2 and losses[-3] > losses[-2] > losses[-1]:
            ratio = min(1.0, (losses[-2] - losses[-1]) / (losses[-3] - losses[-2]))
            more = 100 * ratio * (of["share_of_gain"] or 0.0)
            said.append(f"Twice the rows would gain some {more:.1f} % more, if the curve goes on as it does.")
        elif _tells(of):
            said.append("More rows would help: half of them lose what is beyond chance.")
        else:
            said.append("More rows of the same kind would hardly help.")
    if "time" in halves:
        longer = "Training longer would help" if _tells(halves["time"]) else "Training longer would not help"
        said.append(f"{longer}: half the epochs {_loses(halves['time'])}.")
    if "columns" in halves:
        of = halves["columns"]
        rows = halves.get("rows", {}).get("lost", 0.0)
        if _tells(of):
            beside = "more" if of["lost"] > rows else "less"
            said.append(
                f"Half the columns {_loses(of)}: new columns that tell as much as these would help {beside}"
                " than rows."
            )
        else:
            said.append("Half the columns do as well: more columns like these would not help.")
    return said


def _tells(of: Facts) -> bool:
    return of["lost"] > CHANCE * of["error"] and (of["share_of_gain"] or 0) > SMALL


def _loses(of: Facts) -> str:
    if not _tells(of):
        return "do as well"
    return f"lose {100 * (of['share_of_gain'] or 0.0):.1f} % of what is gained over a constant"


def html(found: Facts) -> str:
    """The curve and the halves."""
    if "why_not" in found:
        return paragraph(found["why_not"], "note")
    curve = [point for point in found["curve"] if point["score"] is not None]
    rows = [
        [
            {"rows": "half the rows", "columns": "half the columns", "time": "half the epochs"}[name],
            "–" if of["share_of_gain"] is None else f"{max(0.0, 100 * of['share_of_gain']):.1f} %",
            "yes" if of["lost"] > CHANCE * of["error"] else "no",
        ]
        for name, of in found["halves"].items()
    ]
    chart = charts.line_chart(
        f"{found['metric']} by number of rows fitted on",
        [charts.Line(found["metric"], [p["rows"] for p in curve], [p["score"] for p in curve], dots=True)],
        "rows fitted on",
        found["metric"],
    )
    return "".join(
        [
            items(found["said"]),
            chart,
            table(
                "What is lost without half of it",
                ["with only", "loses of what is gained over a constant", "beyond chance"],
                rows,
            ),
            paragraph(
                "Smaller models (quality “fast”, on up to 6,000 rows) were fitted on shares and scored on"
                f" {number(found['judged_on'])} rows that none of them saw. New columns may tell more, or"
                " less, than those that are there.",
                "note",
            ),
        ]
    )
