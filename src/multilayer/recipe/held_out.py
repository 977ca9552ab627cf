"""What a model keeps of its predictions of rows that networks did not train on."""

import numpy as np
from numpy.typing import NDArray

from multilayer.model.conformal import errors_of
from multilayer.model.evidence import Evidence, evenly_spaced
from multilayer.model.members import member_predictions, spread_by_target
from multilayer.model.statistics import HeldOut, Statistics
from multilayer.recipe.plan import Plan
from multilayer.recipe.selection import Selected
from multilayer.recipe.training_facts import evenly
from multilayer.tasks.task import Task

PARTS = 8  # of rows that all networks held out
FEWEST_IN_PART = 10  # rows
SPREAD_ROWS = 1024  # of which the networks' disagreement is looked at


def statistics(plan: Plan, selected: Selected, task: Task, *, by_kernels: bool) -> Statistics:
    """All that a model keeps of its rows; task: as the model has it."""
    known = plan.known
    return Statistics(
        known.n_rows, known.columns, known.landmarks, _held_out(plan, selected, task, by_kernels=by_kernels)
    )


def _held_out(plan: Plan, selected: Selected, task: Task, *, by_kernels: bool) -> HeldOut | None:
    """How predictions of held-out rows went; None where training diverged, and they are no numbers."""
    if not np.isfinite(selected.prediction).all():
        return None
    rows, prediction = selected.rows, selected.prediction
    code, weight = plan.to_score.code[rows], plan.to_score.weights_of(rows)
    parts = [np.flatnonzero(part) for part in _parts(plan, rows)]
    scores = tuple(
        task.score(code[part], prediction[part], None if weight is None else weight[part]) for part in parts
    )
    some = evenly(len(rows), SPREAD_ROWS)
    by_member = member_predictions(
        selected.networks, task.link, plan.validation.x[rows[some]], by_kernels=by_kernels
    )
    spread = spread_by_target(task, by_member, selected.weights)
    return HeldOut(
        n_rows=len(rows),
        folds=plan.folds is not None,
        scores=scores,
        errors=errors_of(task, code, prediction, weight, spread),
    )


def _parts(plan: Plan, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the rows are in each part (n_parts, n_rows): folds, or as good as drawn."""
    if plan.folds is not None:
        folds = plan.folds[rows]
        return np.unique(folds)[:, None] == folds
    n_parts = min(PARTS, len(rows) // FEWEST_IN_PART)
    place = np.random.default_rng(0).permutation(len(rows)) % max(1, n_parts)
    return np.arange(n_parts if n_parts > 1 else 0)[:, None] == place


def evidence_of(plan: Plan, selected: Selected, task: Task) -> Evidence | None:
    """Rows held out and their predictions, for a report; None of a streamed table."""
    held = plan.held
    if held is None:
        return None
    has_folds = plan.folds is not None
    n = len(selected.rows) if has_folds else held.n_rows
    some = evenly_spaced(n, len(held.features.names))
    rows = held.take(selected.rows[some] if has_folds else some)
    weight = None if rows.weight is None else rows.weight.astype(np.float64)
    prediction = selected.prediction[some] if has_folds else None
    return Evidence(rows.features, task.encode(rows.y), weight, prediction, n)
