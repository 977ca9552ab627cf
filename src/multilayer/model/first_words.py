"""What a newcomer asks of a fit: how good it is, beside what, how long it took, what to do next.

model: a `Model` throughout, which stands on this.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from multilayer import notebook
from multilayer.errors import counted
from multilayer.table.sources.names import listed
from multilayer.tasks.metrics import lower_is_better

MOST_METRICS = 8  # in a table of first words; `model.score` has all
THIS_MODEL = "this model"


def first_words(model: Any) -> str:
    """Several lines: what it predicts, its score with its spread, simple models beside it."""
    summary = model.summary
    parts = [_what(model)]
    comparison = summary.get("comparison") or {}
    if comparison:
        said = [f"{name} {with_spread(value, spread)}" for name, value, spread in scores_with_spread(model)]
        parts.append(f"On rows that were held out: {', '.join(said)}.")
        n, fitted = comparison["scored"], comparison["fitted_on"]
        of = f"On {n:,} of them" if n < summary.get("rows", {}).get("validation", 0) else "On the same rows"
        parts.append(
            f"{of}, beside simple models fitted on {fitted:,} rows:\n{text_of(*comparison_table(model))}"
        )
        parts.append(verdict(model))
    elif model.score:
        parts.append(f"On rows that were held out:\n{text_of(*score_rows(model))}")
    if summary.get("interrupted"):
        parts.append("The fit was interrupted: this is the best model until then.")
    return "\n\n".join(parts)


def next_steps() -> str:
    """What to do with a model in Python."""
    return (
        'Next: model.predict(table), model.evaluate(table) on new rows, model.save("model.mlp"), '
        'model.report("report.html").'
    )


def _what(model: Any) -> str:
    summary = model.summary
    n = summary.get("rows", {}).get("train")
    rows = "" if not n else f", learnt from {counted(n, 'row')}"
    seconds = summary.get("times", {}).get("fit_s")
    took = "" if seconds is None else f" in {seconds:.1f} s"
    columns = counted(len(model.schema.names), "column")
    extent = f" {model.task.extent_in_words()}" if model.task.extent_in_words() else ""
    return f"Predicts {listed(model.targets, 5)}{extent} from {columns}{rows}{took}."


def shown_metrics(model: Any) -> list[str]:
    """Metrics to show: the deciding one first; of several targets their means."""
    names = [name for name in model.score if "[" not in name]
    first = model.task.metric
    return sorted(names, key=lambda name: name != first)[:MOST_METRICS]


def spread_of(model: Any, metric: str) -> float:
    """By how much chance in the rows may move a score: the standard error of its mean over parts of them."""
    held_out = None if model.statistics is None else model.statistics.held_out
    if held_out is None:
        return math.nan
    return held_out.spread(metric)


def scores_with_spread(model: Any) -> list[tuple[str, float, float]]:
    """Metric, score on held-out rows, its spread (NaN where there is none)."""
    return [(name, model.score[name], spread_of(model, name)) for name in shown_metrics(model)]


def with_spread(value: float, spread: float) -> str:
    """A score with as many decimals as its spread bears.

    >>> with_spread(60.5512, 2.1234), with_spread(0.93311, 0.0021), with_spread(3.0, float("nan"))
    ('60.6 ± 2.1', '0.9331 ± 0.0021', '3')
    """
    if not math.isfinite(value):
        return "-"
    if not math.isfinite(spread) or spread <= 0:
        return f"{value:,.4g}"
    digits = min(10, max(0, 1 - math.floor(math.log10(spread))))
    return f"{value:,.{digits}f} ± {spread:,.{digits}f}"


def score_rows(model: Any) -> tuple[list[str], list[list[str]]]:
    """Header and rows: each metric of the model with its spread, and of the constant."""
    baseline = model.summary.get("baseline", {})
    rows = [
        [name, with_spread(value, spread), short(baseline.get(name, math.nan))]
        for name, value, spread in scores_with_spread(model)
    ]
    return ["metric", THIS_MODEL, "constant"], rows


def comparison_table(model: Any) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a model a row, a metric a column; all scored on the same rows."""
    scores: Mapping[str, Mapping[str, float]] = model.summary["comparison"]["scores"]
    metrics = [name for name in shown_metrics(model) if name in scores[THIS_MODEL]]
    rows = [[name, *(short(of.get(metric, math.nan)) for metric in metrics)] for name, of in scores.items()]
    return ["", *metrics], rows


def short(value: float | None) -> str:
    """Four digits; "-" for what is not defined."""
    return "-" if value is None or not math.isfinite(value) else f"{value:,.4g}"


def verdict(model: Any) -> str:
    """One or two sentences: whether a simple model would do as well."""
    verdicts: Mapping[str, str] = (model.summary.get("comparison") or {}).get("verdict", {})
    if not verdicts:
        return _beside_constant(model)
    of = {
        name: [each for each, said in verdicts.items() if said == name]
        for name in ("better", "alike", "worse")
    }
    if of["worse"]:
        return (
            f"{_a(of['worse'])} predict{_s(of['worse'])} better here: use that, or give the "
            "fit more rows or time."
        )
    if "linear model" in of["alike"]:
        return "A linear model predicts about as well: where a simple model is wanted, take one."
    if of["alike"]:
        return f"It predicts about as well as {_a(of['alike'], lower=True)}" + (
            f", and better than {_a(of['better'], lower=True)}." if of["better"] else "."
        )
    return f"It predicts better than {_a(of['better'], lower=True)}."


def _beside_constant(model: Any) -> str:
    metric = model.task.metric
    own, constant = model.score.get(metric, math.nan), model.summary.get("baseline", {}).get(metric)
    if constant is None or not math.isfinite(own):
        return "There is no score to tell how good it is."
    gain = constant - own if lower_is_better(metric) else own - constant
    spread = spread_of(model, metric)
    if gain <= (2 * spread if math.isfinite(spread) else 0):
        return (
            "It predicts no better than a constant: these columns tell nothing of the target that it "
            "could learn."
        )
    return "It predicts better than a constant."


def _a(names: Sequence[str], *, lower: bool = False) -> str:
    """Names of baselines as a sentence has them.

    >>> _a(["linear model", "boosted trees"]), _a(["boosted trees"], lower=True)
    ('A linear model and boosted trees', 'boosted trees')
    """
    words = [name if name.endswith("s") else f"a {name}" for name in names]
    text = " and ".join(words)
    return text if lower else text[:1].upper() + text[1:]


def _s(names: Sequence[str]) -> str:
    return "" if len(names) > 1 or names[0].endswith("s") else "s"


def text_of(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as text: the first column to the left, others to the right.

    >>> print(text_of(["", "rmse"], [["this model", "1.5"], ["constant", "12"]]))
                rmse
    this model   1.5
    constant      12
    """
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def html_words(model: Any) -> str:
    """The same for a notebook, with what was decided folded away."""
    summary = model.summary
    parts = [notebook.paragraph(_what(model))]
    if summary.get("comparison"):
        said = [f"{name} {with_spread(value, spread)}" for name, value, spread in scores_with_spread(model)]
        parts.append(notebook.paragraph(f"On rows that were held out: {', '.join(said)}."))
        parts.append(notebook.table(*comparison_table(model)))
        parts.append(notebook.paragraph(verdict(model)))
    elif model.score:
        parts.append(notebook.table(*score_rows(model)))
    parts += [
        notebook.details("columns", notebook.plain(str(model.schema))),
        notebook.details("what was decided", *map(notebook.paragraph, summary.get("decisions", ()))),
        notebook.details("how it trained", model.history._repr_html_()),
    ]
    return notebook.panel(f"Model of {listed(model.targets, 5)}", *parts)
