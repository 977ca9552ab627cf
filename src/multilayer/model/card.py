"""The card of a model: Markdown with the metadata of Hugging Face, from what the model's file holds."""

import json
import math
from typing import Any

from multilayer.errors import counted
from multilayer.model.model import Model
from multilayer.table.kinds import kind_of
from multilayer.table.sources.names import listed

MOST_COLUMNS = 200  # in the table
_NAMES = {"roc_auc": "ROC AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²", "log_loss": "log loss"}


def card(model: Model) -> str:
    """Markdown that says what the model predicts, from what, how well, and how it was made.

    Its head is the YAML that the Hugging Face Hub reads: task, library, and scores on the rows that were held
    out. It names no licence, and no rows: add what only you know, such as where the rows come from.

    >>> import multilayer as ml
    >>> table = {"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": ["a", "a", "b", "b"] * 10}
    >>> text = card(ml.fit(table, target="y", epochs=2))
    >>> text.splitlines()[:3]
    ['---', 'library_name: multilayer', 'pipeline_tag: tabular-classification']
    """
    parts = [_metadata(model), f"# Model of {_safe(listed(model.targets))}", _lead(model)]
    parts += ["## Scores", _scores(model), "## Columns", _columns(model), "## How it was made", _made(model)]
    parts += ["## Use", _use(model), "## Limits", _limits(model)]
    return "\n\n".join(parts) + "\n"


def _plain_score(model: Model) -> dict[str, float]:
    return {name: value for name, value in model.score.items() if "[" not in name and math.isfinite(value)}


def _metadata(model: Model) -> str:
    """The head; texts as JSON writes them are texts of YAML."""
    task = "tabular-regression" if model.task.kind == "regression" else "tabular-classification"
    lines = ["---", "library_name: multilayer", f"pipeline_tag: {task}"]
    lines += ["tags:", "- multilayer", "- tabular", f"- {task}", "- multilayer-perceptron"]
    metrics = _plain_score(model)
    if metrics:
        lines += ["metrics:", *(f"- {name}" for name in metrics), "model-index:"]
        lines += [f"- name: {json.dumps(f'Model of {listed(model.targets)}')}", "  results:", "  - task:"]
        lines += [f"      type: {task}", "    dataset:", "      type: tabular"]
        lines += ['      name: "rows of the training table that were held out"', "    metrics:"]
        for name, value in metrics.items():
            lines += [f"    - type: {name}", f"      name: {json.dumps(_NAMES.get(name, name))}"]
            lines.append(f"      value: {value:.6g}")
    return "\n".join([*lines, "---"])


def _lead(model: Model) -> str:
    n_columns = counted(len(model.schema.names), "column")
    words = f"Predicts {_safe(listed(model.targets))} ({model.task.in_words}) from {n_columns} of a table. "
    if model.classes:
        shown = listed([str(label) for label in model.classes[:12]])
        more = f" and {len(model.classes) - 12} more" if len(model.classes) > 12 else ""
        words += f"Classes: {_safe(shown)}{more}. "
    return words + "The file holds the preparation of the columns, too: it takes them raw."


def _scores(model: Model) -> str:
    baseline = model.summary.get("baseline", {})
    if not _plain_score(model):
        return "There is none: no row was held out, or scores are not defined."
    rows = ["| metric | model | always the same answer |", "|---|---:|---:|"]
    for name, value in _plain_score(model).items():
        beside = baseline.get(name)
        known = isinstance(beside, int | float) and math.isfinite(beside)
        rows.append(f"| {_NAMES.get(name, name)} | {value:.4g} | {f'{beside:.4g}' if known else ''} |")
    return "\n".join([*rows, "", "On rows that the networks concerned were not trained on."])


def _columns(model: Model) -> str:
    rows = ["| column | kind | values at fit |", "|---|---|---|"]
    for column in model.schema.columns[:MOST_COLUMNS]:
        rows.append(f"| {_safe(column.name)} | {column.kind} | {_safe(kind_of(column).show(column))} |")
    n_more = len(model.schema.columns) - MOST_COLUMNS
    return "\n".join([*rows, *([f"| and {n_more} more | | |"] if n_more > 0 else [])])


def _made(model: Model) -> str:
    summary: dict[str, Any] = model.summary
    lines = [f"- {_safe(each)}" for each in (*summary.get("decisions", ()), *summary.get("details", ()))]
    n = sum(weights.numel() for net in model.networks for weights in net.parameters())
    lines.append(f"- {counted(len(model.networks), 'network')} with {n:,} parameters in all")
    if times := summary.get("times"):
        lines.append(
            f"- fitted on {times['fitted'][:10]} in {times['fit_s']:.1f} s; seed {summary.get('seed')}"
        )
    versions = summary.get("versions", {})
    if versions:
        lines.append(f"- versions: {', '.join(f'{name} {version}' for name, version in versions.items())}")
    return "\n".join(lines)


def _use(model: Model) -> str:
    method = "predict_proba" if model.task.has_probabilities else "predict"
    return (
        "```python\nimport multilayer as ml\n\n"
        'model = ml.Model.load("model.mlp")  # no pickle: nothing in the file is run\n'
        f"model.{method}(table)\n```"
    )


def _limits(model: Model) -> str:
    lines = [
        "- It knows what its rows held; of values far from them its answers are guesses.",
        "- That columns go together with the target does not say that they cause it.",
    ]
    if model.summary.get("interrupted"):
        lines.append("- Its training was interrupted.")
    if model.exposure is not None:
        lines.append(f"- Predictions are for the exposure in the column {_safe(repr(model.exposure))}.")
    return "\n".join(lines)


def _safe(text: str) -> str:
    r"""A text within a line, or a cell, of Markdown, in which nothing of it is markup.

    >>> _safe("a|b <i>")
    'a\\|b &lt;i>'
    """
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "|*_`[]" else letter for letter in text)
