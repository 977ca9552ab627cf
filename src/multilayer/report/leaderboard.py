"""Several models on the same rows, the best first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from multilayer import notebook
from multilayer.errors import ConfigError
from multilayer.model.first_words import short, shown_metrics, text_of
from multilayer.model.model import Model
from multilayer.report.subject import Subject, subject_of
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import read_source
from multilayer.tasks.metrics import lower_is_better

CHANCE = 2.0  # standard errors of the mean difference of losses


@dataclass(frozen=True)
class Leaderboard:
    """What `leaderboard` found.

    metric:   that decides
    rows:     of each model, the best first: name, scores, whether it is beaten by the best beyond chance,
              share of the rows that it was trained on, seconds that its fit took
    n_rows:   that all were scored on
    constant: scores of a constant on them
    """

    metric: str
    rows: tuple[Mapping[str, Any], ...]
    n_rows: int
    constant: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "metric": self.metric,
            "n_rows": self.n_rows,
            "models": [dict(row) for row in self.rows],
            "constant": dict(self.constant),
        }

    def __str__(self) -> str:
        return "\n".join([text_of(*self._table()), "", *self._notes()])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        notes = map(notebook.paragraph, self._notes())
        return notebook.panel("Models on the same rows", notebook.table(*self._table()), *notes)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        names = list(self.rows[0]["scores"])
        header = ["model", *names, "beside the best", "fit s"]
        rows = [
            [
                row["model"],
                *(short(row["scores"].get(name)) for name in names),
                "best" if i == 0 else "worse" if row["is_beaten"] else "within chance",
                short(row["fit_s"]),
            ]
            for i, row in enumerate(self.rows)
        ]
        return header, [*rows, ["constant", *(short(self.constant.get(name)) for name in names), "", ""]]

    def _notes(self) -> list[str]:
        seen = [row for row in self.rows if row["is_seen"]]
        notes = [f"{self.n_rows:,} rows; {self.metric} decides."]
        notes += [
            f"{row['model']} was trained on about {row['trained_on']:.0%} of these rows: its score is better"
            " than on new ones."
            for row in seen
        ]
        return notes


def leaderboard(models: Mapping[str, Model], table: Any) -> Leaderboard:
    """Score models of the same target on a table, the best first by the task's own metric.

    A model is worse than the best beyond chance where the mean difference of the rows' losses is more than
    two of its standard errors.

    Args:
        models: name -> model.
        table: rows with the target; anything that `read_table` takes.

    Raises:
        ConfigError: no model, or they predict different things.
        SchemaError, DataError: as `Model.evaluate`.

    >>> import multilayer as ml
    >>> table = {"x": [0.0, 1.0, 2.0, 3.0] * 20, "y": ["a", "a", "b", "b"] * 20}
    >>> models = {"short": ml.fit(table, target="y", epochs=1, members=2)}
    >>> leaderboard(models, {"x": [0.5, 2.5], "y": ["a", "b"]}).n_rows
    2
    """
    if not models:
        raise ConfigError("compare needs at least one model and a table; got none. Name a model file first.")
    _check_alike(models)
    subjects: dict[str, Subject] = {}
    for name, model in models.items():
        read = read_source(table, model.reading) if not isinstance(table, str) else table
        subjects[name] = subject_of(model, read, refits=False)
    first = next(iter(models.values()))
    metric = first.task.metric
    sign = 1 if lower_is_better(metric) else -1
    order = sorted(subjects, key=lambda name: sign * subjects[name].score.get(metric, np.inf))
    best = subjects[order[0]]
    rows = []
    for name in order:
        subject = subjects[name]
        lost = subject.losses - best.losses
        error = float(lost.std() / np.sqrt(len(lost)))
        metrics = [each for each in shown_metrics(models[name]) if each in subject.score] or list(
            subject.score
        )
        rows.append(
            {
                "model": name,
                "scores": {each: subject.score[each] for each in metrics},
                "is_beaten": bool(name != order[0] and float(lost.mean()) > CHANCE * error),
                "trained_on": subject.trained_on,
                "is_seen": subject.is_seen,
                "fit_s": models[name].summary.get("times", {}).get("fit_s"),
            }
        )
    return Leaderboard(metric, tuple(rows), best.n_rows, best.constant_score)


def _check_alike(models: Mapping[str, Model]) -> None:
    (name, first), *others = models.items()
    for other, model in others:
        alike = model.targets == first.targets and model.task.kind == first.task.kind
        if not (
            alike and model.task.classes == first.task.classes and model.task.metric == first.task.metric
        ):
            raise ConfigError(
                f"Models on a leaderboard must predict the same thing in the same units; {name} predicts"
                f" {listed(first.targets)} ({first.task.in_words}, {first.task.metric}) and {other}"
                f" {listed(model.targets)} ({model.task.in_words}, {model.task.metric}). Compare like with"
                " like."
            )
