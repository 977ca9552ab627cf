"""The page of a model: a form made of its columns, and JavaScript that predicts."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from multilayer.errors import counted
from multilayer.export.html.document import document
from multilayer.export.outputs import names_of_outputs
from multilayer.export.parity import said_by_model
from multilayer.export.typed import Input, Values, typed
from multilayer.model.model import Model
from multilayer.output import finite
from multilayer.table.column import AS_WRITTEN, Column
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.kind import Coder
from multilayer.table.kinds.number import Number
from multilayer.table.kinds.time import TIME
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import Table

MOST_LISTED = 200  # levels of a list; of more, a text is typed
N_VERIFIED = 12  # rows that stand in the page
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
DESCRIPTION = "Change the values and see the prediction, and how it changes along each column."


def panel_html(model: Model, drawn: Table) -> str:
    """A panel that predicts, for a page of one's own: one element with its style and script in it.

    It takes colours from `--ground`, `--panel`, `--text`, `--soft`, `--line` and `--link`, where the page has
    them. Several panels may stand in one page.

    drawn: rows of the model's columns, of which some stand in the panel, so that it can check itself
    """
    about, letters, inputs = document(model)
    parts = {
        "steps": about,
        "form": _form(model, inputs),
        "verification": _verification(model, inputs, drawn.take(np.arange(min(N_VERIFIED, drawn.n_rows)))),
    }
    data = "\n".join(
        f'<script type="application/json" data-part="{name}">{in_script(value)}</script>'
        for name, value in parts.items()
    )
    return f"""\
<section class="ml-panel" id="ml-panel" aria-label="What if">
<style>{text_of("panel.css")}</style>
<div class="ml-answer" aria-live="polite"><div class="ml-values"></div></div>
<div class="ml-tools"><button type="button" class="ml-reset">Start again</button>
<span class="ml-state">This page needs JavaScript.</span></div>
<div class="ml-columns"></div>
{data}
<script type="text/plain" data-part="arrays">{letters}</script>
<script>{text_of("reader.js")}</script>
<script>{text_of("panel.js")}</script>
</section>
"""


def page_html(model: Model, drawn: Table) -> str:
    """A whole page, which needs no network."""
    title = f"What if: {listed(model.targets)}"
    n_columns = counted(len(model.schema.names), "column")
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{text_of("page.css")}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="about">{escape(f"A model of {n_columns}. {DESCRIPTION}")}</p>
{panel_html(model, drawn)}
</body>
</html>
"""


def text_of(name: str) -> str:
    """A file beside this one."""
    return files("multilayer.export.html").joinpath(name).read_text("utf-8")


def in_script(value: Any) -> str:
    r"""JSON that may stand in an element `script`, whatever texts are in it.

    >>> in_script({"a": "</script>"})
    '{"a":"\\u003c/script>"}'
    """
    text = json.dumps(finite(value), ensure_ascii=True, separators=(",", ":"), default=_plain)
    return text.replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    return value.item()


def plain_values(inputs: Sequence[Input], values: Values) -> list[dict[str, Any]]:
    """What is fed, in JSON: numbers, texts, and dates as texts of their microseconds; None is missing."""
    return [
        {"name": each.name, "role": each.role, "values": [_cell(each, x) for x in values[each.name].tolist()]}
        for each in inputs
    ]


def _cell(each: Input, x: Any) -> Any:
    if each.role in ("date", "written"):
        return None if x == -(2**63) else str(x)
    if each.role == "text":
        return x or None
    return None if np.isnan(x) else x


def _verification(model: Model, inputs: Sequence[Input], rows: Table) -> dict[str, Any]:
    said = said_by_model(model, rows)
    unit = np.ones(1)
    if not model.task.has_probabilities:
        ends = (np.full((1, model.task.n_outputs), end, np.float32) for end in (0.0, 1.0))
        low, high = map(model.task.link, ends)
        unit = np.abs(high - low).ravel()
    expected = said.prediction.reshape(rows.n_rows, -1)
    return {
        "columns": plain_values(inputs, typed(inputs, model.schema, rows)),
        "expected": expected.tolist(),
        "unit": np.broadcast_to(unit, expected.shape[1]).tolist(),
    }


def _form(model: Model, inputs: Sequence[Input]) -> dict[str, Any]:
    coders = {coder.column.name: coder for coder in model.encoder.coders}
    written = {each.column: each.name for each in inputs if each.role == "written"}
    columns = []
    for each in inputs:
        if each.role == "exposure":
            columns.append(_exposure(each))
        elif each.role != "written":
            columns.append(
                {
                    "name": each.column,
                    "input": each.name,
                    "role": each.role,
                    "written": written.get(each.column),
                    **_control(coders[each.column]),
                }
            )
    names, task = names_of_outputs(model), model.task
    two_classes = task.has_probabilities and len(names) == 2 and task.kind == "binary"
    ends = (np.full((1, task.n_outputs), end, np.float32) for end in (0.0, 1.0))
    low, high = map(task.link, ends)
    return {
        "columns": columns,
        "outputs": names,
        "probabilities": task.has_probabilities,
        "shown": 1 if two_classes else len(names) // 2 if model.quantiles and len(model.targets) == 1 else 0,
        "unit": float(np.abs(high - low).max()),
    }


def _exposure(each: Input) -> dict[str, Any]:
    shown = {"control": "number", "low": 0.0, "high": 2.0, "start": 1.0, "whole": False}
    return {"name": each.column, "input": each.name, "role": "exposure", "written": None, **shown}


def _control(coder: Coder) -> Mapping[str, Any]:
    """What a value is chosen with, and the one to begin with."""
    column, kind = coder.column, kind_of(coder.column)
    low, high = column.low or 0.0, 1.0 if column.high is None else column.high
    if not kind.has_numbers:
        return _texts(coder)
    if kind.is_closed:
        return {"control": "list", "levels": [[1.0, "true"], [0.0, "false"]], "start": 0.0}
    if "M" in kind.dtypes:
        note = (
            "as the clock of the place shows it"
            if column.zone == AS_WRITTEN
            else "in UTC"
            if column.zone
            else ""
        )
        return {"control": "date", "low": low, "high": high, "start": round((low + high) / 2), "note": note}
    if kind is TIME:
        return {"control": "time", "start": 43_200.0}
    center = (
        coder.center if isinstance(coder, Number) else getattr(getattr(coder, "number", None), "center", low)
    )
    return {"control": "number", "low": low, "high": high, "start": center, "whole": _is_whole(coder, column)}


def _is_whole(coder: Coder, column: Column) -> bool:
    """Whether a number's knots say that it is whole."""
    knots = np.asarray(coder.arrays().get("knots", np.zeros(0)))
    ends = [each for each in (column.low, column.high) if each is not None]
    return bool(
        len(knots) and (knots == np.round(knots)).all() and all(float(end).is_integer() for end in ends)
    )


def _texts(coder: Coder) -> Mapping[str, Any]:
    column = coder.column
    if kind_of(column).is_free_text:
        return {"control": "text", "kind": "text", "levels": [], "start": column.example or ""}
    levels = [str(level) for level in dict.fromkeys((*getattr(coder, "levels", ()), *column.levels)) if level]
    if kind_of(column).has_order:
        levels.sort(key=[*column.levels, *levels].index)
    options = [[level, level] for level in levels]
    start = levels[0] if levels else None
    if 0 < len(levels) <= MOST_LISTED:
        return {"control": "list", "levels": options, "start": start}
    return {"control": "text", "kind": "level", "levels": options, "start": start}
