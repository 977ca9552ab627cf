"""A model in words: its columns, its networks, its training and its score."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multilayer.cli.printing import number, show, text_table

if TYPE_CHECKING:  # written out in full in the hints below, so that a run-time check finds them too
    import rich.table

    import multilayer.model.model

MOST_METRICS = 60  # that are printed; --json always gives all


def facts(model: "multilayer.model.model.Model") -> dict[str, Any]:
    """What `--json` gives of a model."""
    return {
        "target": model.target,
        "task": model.task.kind,
        "classes": model.classes,
        "score": model.score,
        "summary": {name: value for name, value in model.summary.items() if name != "trained_on"},  # hashes
    }


def show_model(model: "multilayer.model.model.Model", path: str) -> None:
    """All that `multilayer inspect` shows of the model in a file."""
    n_parameters = sum(weights.numel() for net in model.networks for weights in net.parameters())
    show(f"{path} predicts {', '.join(model.targets)}\n\n{model.schema}\n")
    show(f"networks: {len(model.networks)}, parameters: {n_parameters:,}\n{model.networks[0]}\n")
    show_training(model)
    show(f"\n{model.history}")
    for name in ("seed", "times", "versions"):
        show(f"{name}: {_in_words(model.summary.get(name))}")


def show_training(model: "multilayer.model.model.Model") -> None:
    """What was decided for the user, and the score."""
    for decision in model.summary.get("decisions", ()):
        show(decision)
    baseline = {f"baseline_{name}": value for name, value in model.summary.get("baseline", {}).items()}
    show(f"\n{', '.join(model.targets)} on the validation rows")
    show(score_table(model.score | baseline))


def _in_words(value: Any) -> str:
    """A setting, or several by name, on one line.

    >>> _in_words({"fit_s": 1.5, "fitted": "2026-11-24"}), _in_words(7)
    ('fit_s 1.5, fitted 2026-11-24', '7')
    """
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return str(value)


def score_table(score: Mapping[str, Any]) -> "rich.table.Table":
    """One row a metric, the baseline beside the model; of very many targets their means alone."""
    metrics = [name for name in score if not name.startswith("baseline_")]
    if len(metrics) > MOST_METRICS:
        metrics = [name for name in metrics if "[" not in name]
    rows = [(name, number(score[name]), number(score.get(f"baseline_{name}", math.nan))) for name in metrics]
    return text_table(("metric", "model", "baseline"), rows)
