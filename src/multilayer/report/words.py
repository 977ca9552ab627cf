"""Pieces of a page: tables, numbers, chosen outputs."""

import math
from collections.abc import Collection, Sequence
from html import escape
from typing import Any

import numpy as np

from multilayer.model.model import Model
from multilayer.report.subject import Floats

MOST_OUTPUTS = 3  # classes that curves are drawn for


def number(value: Any) -> str:
    """Four digits, with separators of thousands; "–" where there is none.

    >>> number(12345.678), number(0.12345), number(-0.000243), number(None)
    ('12,346', '0.1235', '-0.0002', '–')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, str | bool):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 0.001 else f"{value:.1g}"


def percent(share: float | None) -> str:
    """A share in percent.

    >>> percent(0.0312), percent(0.5)
    ('3.1 %', '50 %')
    """
    if share is None or not math.isfinite(share):
        return "–"
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    raw: bool = False,
    sortable: bool = False,
    words: Collection[int] = (),
) -> str:
    """A table with a caption, in a region that scrolls by itself on a narrow screen.

    raw:   cells are HTML already
    words: columns of words, which stand to the left as the first does; others to the right
    """
    left = dict.fromkeys(words, ' class="words"')

    def cell(said: str) -> str:
        return said if raw else escape(said)

    head = "".join(
        f'<th scope="col"{left.get(i, "")}>{escape(name)}</th>' if name else "<td></td>"
        for i, name in enumerate(header)
    )
    lines = []
    for row in rows:
        cells = "".join(f"<td{left.get(i, '')}>{cell(one)}</td>" for i, one in enumerate(row) if i)
        lines.append(f'<tr><th scope="row">{cell(row[0])}</th>{cells}</tr>')
    marked = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption, quote=True)}">'
        f"<table{marked}><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def paragraph(words: str, kind: str = "") -> str:
    """A sentence or several; kind: a class of the page, such as "note"."""
    return f'<p class="{kind}">{escape(words)}</p>' if kind else f"<p>{escape(words)}</p>"


def items(lines: Sequence[str]) -> str:
    """A list."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def fold(summary: str, body: str) -> str:
    """What opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def outputs_of(model: Model, prediction: Floats) -> dict[str, Floats]:
    """What curves show of predictions, by name (n_rows,): a number, or the probability of some classes."""
    task = model.task
    if task.kind == "binary":
        return {f"probability of {task.classes[1]}": prediction[:, 1]}
    if task.kind == "multiclass":
        most = np.argsort(-np.asarray(model._constant))[:MOST_OUTPUTS]
        return {f"probability of {task.classes[i]}": prediction[:, i] for i in most.tolist()}
    if task.kind == "multilabel":
        names = model.targets[:MOST_OUTPUTS]
        return {f"probability of {name}": prediction[:, i] for i, name in enumerate(names)}
    levels = task.quantile_levels
    several = len(model.targets) > 1
    if levels is not None:
        place = int(np.abs(np.array(levels) - 0.5).argmin())
        prediction = prediction[..., place]
        suffix = f" (quantile {levels[place]:g})"
    else:
        suffix = ""
    if several:
        return {f"{name}{suffix}": prediction[:, i] for i, name in enumerate(model.targets[:MOST_OUTPUTS])}
    return {f"{model.targets[0]}{suffix}": prediction}


def floats(values: Any) -> list[float | None]:
    """Plain numbers for JSON, None where not finite."""
    return [float(v) if math.isfinite(v) else None for v in np.asarray(values, np.float64).tolist()]
