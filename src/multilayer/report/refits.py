"""Smaller models, fitted on shares of rows and columns, and judged by rows that none of them saw."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.model.model import Model
from multilayer.recipe.fit import fit
from multilayer.report.subject import Floats, Subject
from multilayer.table.schema import Schema
from multilayer.tasks.classification import same_labels

MOST_ROWS = 6_000  # that refits work on
FEWEST_ROWS = 160
SHARES = (0.125, 0.25, 0.5, 1.0)  # of the rows to fit on
FEWEST_FITTED = 40
HELD = 4  # one row in so many judges
MEMBERS = 8


@dataclass(frozen=True, eq=False)
class Refits:
    """What the smaller models say of the rows that judge them.

    held:    those rows
    full:    the model of all rows to fit on, and its prediction of `held`
    losses:  name -> loss of each row of `held`: "rows 0.5" and so on, "columns", "time"
    n_of:    name -> rows fitted on
    """

    held: Subject
    full: Model
    losses: Mapping[str, Floats]
    scores: Mapping[str, dict[str, float]]
    n_of: Mapping[str, int]


def refitted(subject: Subject) -> Refits | None:
    """Of this subject, fitted when first asked for."""
    if "refits_made" not in vars(subject):
        vars(subject)["refits_made"] = refit(subject)
    made: Refits | None = vars(subject)["refits_made"]
    return made


def refit(subject: Subject) -> Refits | None:
    """Fit anew, quickly, on three quarters of the rows; None of too few, or where it was not asked for."""
    subject = subject.some(MOST_ROWS)
    n = len(subject.code)
    if not subject.refits or n < FEWEST_ROWS or subject.model.exposure is not None:
        return None
    order = np.random.default_rng(0).permutation(n)
    held, rest = order[: n // HELD], order[n // HELD :]
    judge = _taken(subject, held)
    used = [column.name for column in subject.columns]
    half = sorted(np.random.default_rng(1).permutation(len(used))[: len(used) // 2].tolist())
    halves = [[used[i] for i in half], [name for i, name in enumerate(used) if i not in half]]
    epochs = max(1, int(subject.model.summary.get("config", {}).get("epochs", 20)) // 2)
    losses: dict[str, Floats] = {}
    scores: dict[str, dict[str, float]] = {}
    n_of: dict[str, int] = {}
    full: Model | None = None
    for share in SHARES:
        rows = rest[: round(share * len(rest))]
        if len(rows) < FEWEST_FITTED:
            continue
        model = _fitted(subject, rows, used)
        if model is not None:
            name = f"rows {share:g}"
            losses[name], scores[name], n_of[name] = *_judged(model, judge, used), len(rows)
            full = model
    if full is None or "rows 1" not in losses:
        return None
    if len(used) > 1:
        found = [_judged(model, judge, names) for names in halves if (model := _fitted(subject, rest, names))]
        if found:
            losses["columns"] = np.mean([of for of, _ in found], axis=0)
    shorter = _fitted(subject, rest, used, epochs=epochs)
    if shorter is not None:
        losses["time"] = _judged(shorter, judge, used)[0]
    return Refits(judge, full, losses, scores, n_of)


def _taken(subject: Subject, rows: NDArray[np.int64]) -> Subject:
    weight = None if subject.weight is None else subject.weight[rows]
    return replace(
        subject,
        rows=subject.rows.take(rows),
        code=subject.code[rows],
        weight=weight,
        prediction=subject.prediction[rows],
    )


def _fitted(
    subject: Subject, rows: NDArray[np.int64], names: list[str], epochs: int | None = None
) -> Model | None:
    """A model of some rows and columns with the settings of the fit; None where these rows make none."""
    model, asked = subject.model, subject.model.summary.get("asked", {})
    part = _taken(subject, rows)
    columns = tuple(column for column in subject.columns if column.name in names)
    kept = {name: asked[name] for name in ("lr", "batch_size", "activation", "network") if asked.get(name)}
    task = model.task
    try:
        return fit(
            part.rows.select(names),
            y=_target(model, part.code),
            task=task.kind,
            schema=Schema(columns, {}),
            objective=(
                getattr(task, "objective", None)
                if task.kind == "regression" and part.code.ndim == 1
                else None
            ),
            quantiles=task.quantile_levels,
            sample_weight=None if part.weight is None else part.weight,
            quality="fast",
            members=MEMBERS,
            epochs=epochs or asked.get("epochs"),
            hidden=asked.get("hidden"),
            seed=int(model.summary.get("seed", 0)),
            verbose=False,
            **kept,
        )
    except ValueError:  # of a share of rows: one class alone, a column without values
        return None


def _target(model: Model, code: NDArray[Any]) -> NDArray[Any]:
    """Labels or numbers."""
    if model.task.classes:
        return (
            np.array(model.task.classes, dtype=object)[code]
            if isinstance(model.task.classes[0], str)
            else (np.array(model.task.classes)[code])
        )
    return code


def _judged(model: Model, judge: Subject, names: list[str]) -> tuple[Floats, dict[str, float]]:
    """Loss of each row, and the scores."""
    prediction = predicted_as(model, judge, names)
    task = judge.model.task
    losses = task.row_losses(task.essence_of(prediction, judge.code), judge.code)
    of_rows = np.asarray(losses, np.float64).reshape(len(judge.code), -1).mean(axis=1)
    return of_rows, task.score(judge.code, prediction, judge.weight)


def predicted_as(model: Model, judge: Subject, names: list[str] | None = None) -> Floats:
    """Predictions of a smaller model in the form of the large one: classes it did not see have none."""
    rows = judge.rows if names is None else judge.rows.select(names)
    prediction = model.from_inputs(model._inputs(rows))
    classes = judge.model.task.classes
    if not classes or model.task.classes == classes:
        return prediction
    place = same_labels(list(model.task.classes), list(classes))
    aligned = np.zeros((len(prediction), len(classes)))
    for i, label in enumerate(model.task.classes):
        at = place[label]
        if at is not None:
            aligned[:, at] = prediction[:, i]
    return aligned
