"""Columns that matter: how much the score falls without them, and what the prediction does along them."""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from multilayer.inspect.effects import effect_of
from multilayer.inspect.encoded_table import EncodedTable, columns_made, explained, output_names
from multilayer.inspect.importance import CORRELATED, correlated_groups, importance, rank_correlations
from multilayer.model.model import Model
from multilayer.model.table_model import network_inputs
from multilayer.report import charts
from multilayer.report.refits import refitted
from multilayer.report.subject import Subject, numbers_of
from multilayer.report.words import floats, fold, paragraph, table
from multilayer.tasks.classification import same_labels

Facts = dict[str, Any]
ROWS = 2_000  # for importance
REPEATS = 3
MOST_COLUMNS = 200  # that are shuffled
MOST_CORRELATED = 300  # columns whose correlations are looked at
SHOWN = 12
CURVES = 6
MOST_LEVELS = 12
MOST_OUTPUTS = 3


def facts(subject: Subject, before: Mapping[str, Facts]) -> Facts:
    """Permutation importance, of correlated columns together too, and accumulated local effects of the first.

    Importance is a share of the mean loss. It is of a smaller model and rows that this did not see, where one
    was fitted.

    Source:  Breiman 2001 (permutation), Apley, Zhu 2020, arXiv:1612.08468 (effects)
    """
    refits = refitted(subject)
    model, judge = (subject.model, subject) if refits is None else (refits.full, refits.held)
    rows = encoded(model, judge.some(ROWS))
    task, code = model.task, rows.code
    assert code is not None
    losses = task.row_losses(task.essence_of(model.from_inputs(rows.x), code), code)
    total = abs(float(np.average(losses, weights=rows.weight))) or 1.0
    names = rows.names[:MOST_COLUMNS]
    single = importance(rows, [(name,) for name in names], repeats=REPEATS, seed=0)
    ranked = {
        str(name): {"mean": float(mean) / total, "spread": float(spread) / total}
        for name, mean, spread in zip(single["column"], single["mean"], single["spread"], strict=True)
    }
    ranked |= {
        column.name: {"mean": 0.0, "spread": 0.0}
        for column in subject.columns
        if column.name not in rows.names
    }
    own = encoded(subject.model, subject)
    tells = [name for name in ranked if ranked[name]["mean"] > 0 and name in own.names][:CURVES]
    curves = {name: curve for name in tells if (curve := _curve(own, name)) is not None}
    return {
        "judged_by": "model" if refits is None else "refit",
        "in_sample": refits is None and (subject.is_seen or subject.source == "held out"),
        "rows": len(rows),
        "metric": subject.model.task.metric,
        "importance": ranked,
        "groups": _groups(rows, total),
        "not_looked_at": max(0, len(rows.names) - MOST_COLUMNS),
        "curves": curves,
    }


def encoded(model: Model, subject: Subject) -> EncodedTable:
    """The rows of a subject as a model takes them, without rows of classes that it does not know."""
    rows, code, weight = subject.rows, subject.code, subject.weight
    classes, known = subject.model.task.classes, model.task.classes
    if classes and known != classes:
        place = same_labels(list(classes), list(known))
        codes = np.array([-1 if place[label] is None else place[label] for label in classes])[code]
        kept = np.flatnonzero(codes >= 0)
        rows, code = rows.take(kept), codes[kept]
        weight = None if weight is None else weight[kept]
    x = network_inputs(model.encoder.transform(rows))
    names, places = columns_made(model.encoder)
    return EncodedTable(model, rows, x, names, places, code, weight)


def _groups(rows: EncodedTable, total: float) -> list[Facts]:
    """Columns that correlate, and what shuffling them together does."""
    if len(rows.names) > MOST_CORRELATED:
        return []
    groups = [
        group
        for group in correlated_groups(rows.names, rank_correlations(rows), CORRELATED)
        if len(group) > 1
    ]
    if not groups:
        return []
    found = importance(rows, groups, repeats=REPEATS, seed=0)
    return [
        {"columns": list(group), "mean": float(mean) / total, "spread": float(spread) / total}
        for group, mean, spread in zip(found["column"], found["mean"], found["spread"], strict=True)
    ]


def _curve(rows: EncodedTable, name: str) -> Facts | None:
    """The effect of a column around the mean prediction; None of a text."""
    effect = effect_of(rows, name, "ale", 0)
    if effect is None:
        return None
    model = rows.model
    mean = np.average(explained(model, model.from_inputs(rows.x)), axis=0, weights=rows.weight)
    column = model.schema[name]
    numbers = numbers_of(column, effect.values) if rows.codes(name) is None else None
    shown = np.flatnonzero(~effect.sparse)
    if numbers is None and len(shown) > MOST_LEVELS:
        shown = np.sort(np.argsort(-effect.share, kind="stable")[:MOST_LEVELS])
    if len(shown) < 2:
        return None
    outputs = {
        words: {"mean": floats(effect.effect[shown, i] + mean[i]), "spread": floats(effect.spread[shown, i])}
        for i, words in _shown_outputs(model)
    }
    if numbers is None:
        return {"levels": [str(level)[:60] for level in effect.values[shown]], "outputs": outputs}
    own = numbers_of(column, rows.table[name])
    assert own is not None
    low, high = np.nanquantile(own, [0.01, 0.99])
    inside = np.flatnonzero((numbers[shown] >= low) & (numbers[shown] <= high))
    if len(inside) >= 2:  # a single far value would take all the room
        shown = shown[inside]
        outputs = {words: {key: [of[key][i] for i in inside] for key in of} for words, of in outputs.items()}
    deciles = np.nanquantile(own, np.linspace(0.05, 0.95, 10))
    return {"x": floats(numbers[shown]), "deciles": floats(deciles), "kind": column.kind, "outputs": outputs}


def _shown_outputs(model: Model) -> list[tuple[int, str]]:
    """Which outputs are drawn, and what they are: frequent classes, the middle quantile."""
    names, task = output_names(model), model.task
    if task.kind == "multiclass":
        most = np.argsort(-np.asarray(model._constant), kind="stable")[:MOST_OUTPUTS]
        return [(int(i), f"probability of {names[i]}") for i in most]
    levels = task.quantile_levels
    if levels is not None:
        middle = int(np.abs(np.array(levels) - 0.5).argmin())
        places = [i * len(levels) + middle for i in range(len(model.targets))][:MOST_OUTPUTS]
        return [(i, names[i]) for i in places]
    prefix = "probability of " if task.has_probabilities else ""
    return [(i, f"{prefix}{name}") for i, name in enumerate(names[:MOST_OUTPUTS])]


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
    if found["groups"]:
        rows = [
            [", ".join(of["columns"]), f"{100 * of['mean']:.1f} % ± {100 * of['spread']:.1f}"]
            for of in found["groups"][:SHOWN]
        ]
        parts.append(
            table("Columns that correlate, shuffled together", ["columns", "rise of the loss"], rows)
        )
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
                "How the mean prediction changes with this column alone, among rows that are near in it"
                " (accumulated local effects); the band is the spread of the networks. Ticks mark tenths of"
                " the rows. The ends, with 1 % of the rows each, are not drawn.",
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
        shown = [charts.short(value) for value in first["mean"]]
        return charts.bars(title, curve["levels"], first["mean"], shown=shown, width=charts.CARD)
    lines = [
        charts.Line(
            key,
            curve["x"],
            of["mean"],
            low=[m - s for m, s in zip(of["mean"], of["spread"], strict=True)],
            high=[m + s for m, s in zip(of["mean"], of["spread"], strict=True)],
        )
        for key, of in outputs.items()
    ]
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
