"""What a report is about: a model, and rows with their predictions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError
from multilayer.model.evidence import evenly_spaced
from multilayer.model.model import FEW_SEEN, Model
from multilayer.table.cells import is_missing
from multilayer.table.column import Column
from multilayer.table.kinds import kind_of
from multilayer.table.levels import as_levels
from multilayer.table.sources.read import Table

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and rows.

    rows:       columns of the model, of up to 10,000 rows
    code, weight, prediction: of these rows, as the task has them
    n_rows:     rows in all, of which these are
    source:     "held out" (by the fit) or "table"
    trained_on: share of the rows that the model was trained on; 0 where they were held out
    is_seen:    whether so many were trained on that scores on them say little
    refits:     whether smaller models may be fitted
    """

    model: Model
    rows: Table
    code: NDArray[Any]
    weight: NDArray[Any] | None
    prediction: Floats
    n_rows: int
    source: str
    trained_on: float
    is_seen: bool
    refits: bool

    @cached_property
    def losses(self) -> Floats:
        """Of each row."""
        task = self.model.task
        losses = task.row_losses(task.essence_of(self.prediction, self.code), self.code)
        return np.asarray(losses, np.float64).reshape(len(self.code), -1).mean(axis=1)

    @cached_property
    def weights(self) -> Floats:
        """Of the rows, 1 where all weigh alike."""
        return np.ones(len(self.code)) if self.weight is None else np.asarray(self.weight, np.float64)

    @cached_property
    def score(self) -> dict[str, float]:
        """Metrics on the rows."""
        return self.model.task.score(self.code, self.prediction, self.weight)

    @cached_property
    def constant_score(self) -> dict[str, float]:
        """The same of the constant."""
        constant = np.broadcast_to(self.model._constant, self.prediction.shape)
        return self.model.task.score(self.code, constant, self.weight)

    def some(self, most: int) -> "Subject":
        """The same with fewer rows, evenly spaced."""
        n = len(self.code)
        if n <= most:
            return self
        at = np.arange(most) * n // most
        weight = None if self.weight is None else self.weight[at]
        return replace(
            self, rows=self.rows.take(at), code=self.code[at], weight=weight, prediction=self.prediction[at]
        )

    def predicted(self, rows: Table) -> Floats:
        """What the model says of other rows, as the task has it."""
        return self.model.from_inputs(self.model._inputs(rows))

    def with_column(self, name: str, values: NDArray[Any]) -> Table:
        """The rows with other values in one column."""
        return replace(self.rows, columns={**self.rows.columns, name: values})

    @property
    def columns(self) -> Sequence[Column]:
        """Columns that the model uses."""
        return self.model.schema.columns


def numbers_of(column: Column, values: NDArray[Any]) -> Floats | None:
    """Cells as numbers, NaN where missing; None where the column has no order of numbers."""
    kind = kind_of(column)
    return None if kind.numbers is None else np.asarray(kind.numbers(column, values), np.float64)


def levels_of(values: NDArray[Any]) -> NDArray[Any]:
    """Cells as text; "(missing)" where there is none."""
    levels = as_levels(values).copy()
    levels[is_missing(values)] = "(missing)"
    return levels


def subject_of(model: Model, table: Any, *, refits: bool) -> Subject:
    """Of a table with the target, or of what the fit held out.

    Raises:
        ConfigError: there is neither.
    """
    if table is None:
        return _of_evidence(model, refits=refits)
    read = model._passed_over(model._raw(table, None, "warn"), "warn")
    code, weight = model._codes_and_weights(read, None)
    some = evenly_spaced(len(code), len(read.names))
    n_rows = len(code)
    rows, code = read.take(some), code[some]
    weight = None if weight is None else weight[some]
    x = model._inputs(rows)
    _, asked, found = model._count_seen(x, code, weight)
    share = 0.0 if model._sketch is None else model._sketch.share(asked, found)
    repeats = 0.0 if model._sketch is None else model._sketch.repeats
    prediction = model.from_inputs(x)
    is_seen = share > FEW_SEEN + repeats
    return Subject(model, rows, code, weight, prediction, n_rows, "table", share, is_seen, refits)


def _of_evidence(model: Model, *, refits: bool) -> Subject:
    evidence = model.evidence
    if evidence is None:
        raise ConfigError(
            "A report needs rows with the target; a model from a file, or of a streamed table, holds none. "
            'Pass a table: model.report("report.html", table), best of rows that it was not trained on.'
        )
    rows, prediction = evidence.rows, evidence.prediction
    if prediction is None:
        prediction = model.from_inputs(model._inputs(rows))
    return Subject(
        model,
        rows,
        evidence.code,
        evidence.weight,
        prediction,
        evidence.n_rows,
        "held out",
        0.0,
        False,
        refits,
    )
