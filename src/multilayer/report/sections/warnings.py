"""What a reader should be warned of: each rule looks at what the other sections found."""

from collections.abc import Callable, Mapping
from typing import Any

from multilayer.report.subject import Subject
from multilayer.report.words import items, number, paragraph, percent
from multilayer.table.sources.names import listed

Facts = dict[str, Any]
Before = Mapping[str, Facts]

LEAK = 0.9  # of all that columns tell, by one, where nearly all is told
NEARLY_ALL = 0.98  # of the variance, or of the ranking
FEW_ROWS = 500
RARE = 0.05  # share of a class
SPREADS = 0.1  # a standard error of so much of the gain over a constant
OFF = 0.05  # expected calibration error


def facts(subject: Subject, before: Before) -> Facts:
    """One sentence a warning."""
    return {"said": [said for rule in RULES if (said := rule(subject, before))]}


def html(found: Facts) -> str:
    """A list."""
    return items(found["said"]) if found["said"] else paragraph("None: no rule of this report found a fault.")


def _seen(subject: Subject, before: Before) -> str:
    if not subject.is_seen:
        return ""
    return (
        f"The model was trained on about {subject.trained_on:.0%} of the rows of this report. Figures on them"
        " are better than on new rows; pass a table that it was not trained on."
    )


def _simple(subject: Subject, before: Before) -> str:
    comparison = before["scores"]["comparison"]
    verdicts = (comparison or {}).get("verdict", {})
    better = [name for name, said in verdicts.items() if said == "worse"]
    if better:
        return f"Better on these rows: {', '.join(better)}."
    return "A linear model does about as well." if verdicts.get("linear model") == "alike" else ""


def _no_comparison(subject: Subject, before: Before) -> str:
    if before["scores"]["comparison"]:
        return ""
    return (
        "Nothing but a constant stands beside the score: fit with baselines=True for a linear model and"
        " boosted trees."
    )


def _constant(subject: Subject, before: Before) -> str:
    return before["scores"]["verdict"] if "no better than a constant" in before["scores"]["verdict"] else ""


def _leak(subject: Subject, before: Before) -> str:
    importance = {name: max(0.0, of["mean"]) for name, of in before["columns"]["importance"].items()}
    total, score = sum(importance.values()), subject.score
    if not importance or total <= 0 or max(score.get("roc_auc", 0.0), score.get("r2", 0.0)) < NEARLY_ALL:
        return ""
    name = max(importance, key=lambda one: importance[one])
    if importance[name] < LEAK * total or len(importance) < 2:
        return ""
    return (
        f"{name!r} alone tells nearly all of the target. Is it known before the target is? If it was written"
        " down after it, leave it out."
    )


def _few_rows(subject: Subject, before: Before) -> str:
    n = subject.model.summary.get("rows", {}).get("train") or FEW_ROWS
    return (
        f"The fit had {n:,} rows: its score may be off by more than its spread says." if n < FEW_ROWS else ""
    )


def _rare(subject: Subject, before: Before) -> str:
    shape = before["data"]["distribution"] or {}
    if not shape.get("shares") or "classes" not in shape or len(shape["classes"]) != 2:
        return ""
    name, share = min(zip(shape["classes"], shape["shares"], strict=True), key=lambda pair: pair[1])
    if share >= RARE:
        return ""
    return (
        f"{name} is rare ({percent(share)} of the rows): accuracy says little here; look at roc_auc, log_loss"
        " and recall."
    )


def _unsure(subject: Subject, before: Before) -> str:
    metric = before["scores"]["metric"]
    of, constant = before["scores"]["held_out"].get(metric), before["scores"]["baseline"].get(metric)
    if not of or constant is None or not of["spread"] > SPREADS * abs(of["score"] - constant):
        return ""
    return (
        "The score differs much between parts of the rows: more rows would tell better how good the model is."
    )


def _calibration(subject: Subject, before: Before) -> str:
    ece = before["calibration"].get("ece")
    if ece is None or ece <= OFF:
        return ""
    return f"Its probabilities are off by {ece:.2f} on average: do not take them at their word."


def _slices(subject: Subject, before: Before) -> str:
    metric, lower = before["slices"]["metric"], before["scores"]["lower_is_better"]
    for of in before["slices"]["worst"]:
        score, constant = of["score"], of["constant_there"]
        if score is not None and constant is not None and (score >= constant if lower else score <= constant):
            return (
                f"Where {of['slice']} ({of['rows']:,} rows) the model does no better than a constant would"
                f" there: {metric} {number(score)} beside {number(constant)}."
            )
    return ""


def _useless(subject: Subject, before: Before) -> str:
    if before["columns"]["in_sample"]:
        return ""
    importance = before["columns"]["importance"]
    none = [name for name, of in importance.items() if of["mean"] <= 2 * of["spread"] and of["mean"] < 1e-3]
    if len(none) < 2 or len(none) == len(importance):
        return ""
    return f"{len(none)} columns tell nothing that others do not: {listed(none, 6)}."


def _ignored(subject: Subject, before: Before) -> str:
    ignored = [name for name, why in subject.model.schema.ignored.items() if why != "left out"]
    return (
        f"Columns that were not used, see the end of “All columns”: {listed(ignored, 6)}." if ignored else ""
    )


def _interrupted(subject: Subject, before: Before) -> str:
    return "The fit was interrupted before it was done." if subject.model.summary.get("interrupted") else ""


RULES: tuple[Callable[[Subject, Before], str], ...] = (
    _seen, _interrupted, _constant, _simple, _leak, _unsure, _few_rows, _rare, _calibration, _slices,
    _useless, _ignored, _no_comparison,
)  # fmt: skip
