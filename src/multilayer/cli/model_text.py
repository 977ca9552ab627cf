"""A model in words: its columns, its networks, its training and its score."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multilayer.cli.printing import number, show, text_table
from multilayer.errors import counted
from multilayer.signals import held_back

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


def show_model(model: "multilayer.model.model.Model", path: str, *, verbose: bool = False) -> None:
    """All that `multilayer inspect` shows of the model in a file."""
    show(f"{path} predicts {', '.join(model.targets)}\n\n{model.schema}\n")
    show_training(model, verbose=verbose)
    if verbose:
        n_parameters = sum(weights.numel() for net in model.networks for weights in net.parameters())
        show(
            f"\n{counted(len(model.networks), 'network')} with {n_parameters:,} parameters in all; the first:"
        )
        show(f"{model.networks[0]}\n\n{model.history}")
    show(f"\nseed: {model.summary.get('seed')}")
    if times := model.summary.get("times"):
        show(f"fitted: {times['fitted']}, in {times['fit_s']:.1f} s")
    versions = model.summary.get("versions", {})
    show(f"versions: {', '.join(f'{name} {version}' for name, version in versions.items())}")


def show_training(model: "multilayer.model.model.Model", *, verbose: bool = False) -> None:
    """What was decided for the user, and the score."""
    details = model.summary.get("details", ()) if verbose else ()
    for sentence in (*model.summary.get("decisions", ()), *details):
        show(sentence)
    with held_back():
        from multilayer.model.first_words import first_words

    show(f"\n{first_words(model)}")


def score_table(score: Mapping[str, Any]) -> "rich.table.Table":
    """One row a metric, the baseline beside the model; of very many targets their means alone."""
    metrics = [name for name in score if not name.startswith("baseline_")]
    if len(metrics) > MOST_METRICS:
        metrics = [name for name in metrics if "[" not in name]
    rows = [(name, number(score[name]), number(score.get(f"baseline_{name}", math.nan))) for name in metrics]
    return text_table(("metric", "model", "baseline"), rows)
