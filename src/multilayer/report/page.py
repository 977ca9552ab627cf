"""The page: the answer first, then the sections; one HTML file, and a JSON file with the same figures."""

import json
import time as clock
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from multilayer.errors import ConfigError
from multilayer.export.drawn import drawn_table
from multilayer.export.html.panel import panel_html
from multilayer.model.first_words import verdict, with_spread
from multilayer.model.model import Model
from multilayer.output import finite, write_atomically
from multilayer.report.sections import ORDER, SECTIONS, Facts
from multilayer.report.subject import Subject, subject_of
from multilayer.report.words import number
from multilayer.table.sources.names import listed

FORMAT = 1  # of report.json
_DRAWN = 100  # rows, of which the panel that predicts in the page checks itself on some
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def write_report(model: Model, path: str | Path, table: Any = None, *, refits: bool = True) -> dict[str, Any]:
    """Write the page and its twin; see `Model.report`.

    Raises:
        ConfigError: the name does not end in .html; there are no rows to show the model on.
        OutputError: a file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"a report is a page, and its name ends in .html; got {path.name!r}. Change it.")
    found = findings(subject_of(model, table, refits=refits))
    drawn = drawn_table(model.encoder, model.exposure, _DRAWN, 0)
    write_atomically(path, page(found, panel_html(model, drawn)).encode())
    text = json.dumps(finite(found), indent=1, allow_nan=False)
    write_atomically(path.with_suffix(".json"), text.encode())
    return found


def findings(subject: Subject) -> dict[str, Any]:
    """All figures of a report, in JSON's types."""
    started = clock.perf_counter()
    found: dict[str, Facts] = {}
    for name, section in SECTIONS.items():
        found[name] = section.facts(subject, found)
    return {"format": FORMAT, "title": _title(subject.model), "verdict": sentence(subject.model), **found} | {
        "report_s": round(clock.perf_counter() - started, 2)
    }


def sentence(model: Model) -> str:
    """The verdict in a sentence or two: how good it is, beside what."""
    return f"{_score_in_words(model)} {verdict(model)}".strip()


def _title(model: Model) -> str:
    return f"Model of {', '.join(model.targets[:3])}{' and more' if len(model.targets) > 3 else ''}"


def _score_in_words(model: Model) -> str:
    score = model.score
    if "r2" in score and score["r2"] == score["r2"]:
        mae = score.get("mae")
        missed = "" if mae is None or len(model.targets) > 1 else f"; it misses by {number(mae)} on average"
        return (
            f"It explains {max(0.0, score['r2']):.0%} of what varies in {listed(model.targets, 3)}{missed}."
        )
    if "coverage" in score:
        return f"{score['coverage']:.0%} of the rows lie between its outermost quantiles."
    if "accuracy" in score:
        constant = model.summary.get("baseline", {}).get("accuracy")
        beside = (
            "" if constant is None else f"; always saying the most frequent would be right in {constant:.1%}"
        )
        return f"It is right in {score['accuracy']:.1%} of the rows{beside}."
    return ""


def page(found: Mapping[str, Any], panel: str = "") -> str:
    """The HTML of these findings; panel: what predicts in the page, if anything does."""
    here = files("multilayer.report")
    style, script = (here.joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    sections = "".join(
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">'
        f"{escape(SECTIONS[name].title)}</h2>{SECTIONS[name].html(found[name])}</section>"
        for name in ORDER
    )
    links = "".join(f'<li><a href="#{name}">{escape(SECTIONS[name].title)}</a></li>' for name in ORDER)
    links += '<li><a href="#what-if">What if</a></li>' * bool(panel)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        ' content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy"'
        f' content="{_POLICY}"><title>{escape(found["title"])}</title><link rel="icon"'
        f' href="data:,"><style>{style}</style></head><body><a class="skip" href="#content">To the'
        f' content</a><header>{_head(found)}<nav aria-label="Sections"><ul>{links}</ul></nav></header><main'
        f' id="content">{sections}{_what_if(panel)}</main><footer><p>Written by multilayer'
        f" {escape(str(found['made']['versions'].get('multilayer', '')))} in {found['report_s']:.1f} s. The"
        " same figures stand in the JSON file beside this"
        f" page.</p></footer><script>{script}</script></body></html>"
    )


def _what_if(panel: str) -> str:
    if not panel:
        return ""
    return (
        '<div id="what-if" data-slot="what-if"><h2>What if</h2><p>Change the values and see the prediction, '
        f"and how it changes along each column. It is computed in this page.</p>{panel}</div>"
    )


def _head(found: Mapping[str, Any]) -> str:
    scores, data, made = found["scores"], found["data"], found["made"]
    figures = [
        (with_spread(of["score"], of["spread"]), name) for name, of in list(scores["held_out"].items())[:3]
    ]
    if data["rows_trained_on"]:
        figures.append((f"{data['rows_trained_on']:,}", "rows trained on"))
    figures.append((f"{data['columns_used']:,}", "columns"))
    if made["fit_s"] is not None:
        figures.append((f"{made['fit_s']:.1f} s", "to fit"))
    listed_figures = "".join(
        f"<li><strong>{escape(value)}</strong><span>{escape(name)}</span></li>" for value, name in figures
    )
    return (
        '<div class="tools"><button type="button" data-theme-button hidden>Dark</button></div>'
        f'<h1>{escape(found["title"])}</h1><p class="lead">{escape(found["verdict"])}</p>'
        f'<ul class="figures">{listed_figures}</ul>'
    )
