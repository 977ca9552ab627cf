"""The rows of a request, and what the model makes of them: a row's answer does not depend on the others."""

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError, counted
from multilayer.runtime.model import RuntimeModel
from multilayer.serve.column_counts import ColumnCounts
from multilayer.serve.errors import MOST_LISTED, Problem, RowError
from multilayer.serve.row_schema import ISO_DATE
from multilayer.table.column import Column
from multilayer.table.kinds import kind_of
from multilayer.table.levels import shortest_text
from multilayer.table.odd_cells import as_learnt
from multilayer.table.schema import Schema, check, extra_columns
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import Table

MOST_SAID = 3  # columns of one row
MOST_BAD = 1000  # rows that are looked for one by one, where they are to be left out

Cells = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """The rows of a request.

    columns: name -> cells, one for each row that could be read
    n_rows:  of the request
    errors:  of rows that could not be read
    places:  of those that could, in the request, from 0; None is all of them
    """

    columns: Mapping[str, Cells]
    n_rows: int
    errors: tuple[RowError, ...] = ()
    places: Sequence[int] | None = None

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Rows":
        """One row of plain values."""
        return cls({name: [value] for name, value in row.items()}, 1)


@dataclass(frozen=True)
class Predicted:
    """What a model makes of the rows of a request.

    columns: name -> values, one for each row without errors
    places:  of these rows in the request, from 0
    counts:  what the column counters count of them
    """

    columns: dict[str, list[Any]]
    n_rows: int
    places: Sequence[int]
    errors: tuple[RowError, ...]
    counts: Mapping[int, int] = field(default_factory=dict)

    def filled(self) -> dict[str, list[Any]]:
        """The columns with None for rows with errors, one value for each row of the request."""
        if len(self.places) == self.n_rows:
            return self.columns
        filled: dict[str, list[Any]] = {name: [None] * self.n_rows for name in self.columns}
        for name, values in self.columns.items():
            for place, value in zip(self.places, values, strict=True):
                filled[name][place] = value
        return filled

    def errors_of_rows(self) -> list[list[dict[str, Any]] | None]:
        """For each row of the request what is wrong with it, or None."""
        of_rows: list[list[dict[str, Any]] | None] = [None] * self.n_rows
        for error in self.errors:
            of_row = of_rows[error.row - 1]
            if of_row is None:
                of_row = of_rows[error.row - 1] = []
            of_row.append(error.to_json())
        return of_rows


class RowPredictor:
    """Predicts rows of requests.

    Args:
        model: by NumPy.
        refuse_extra: whether columns that were not there at fit are an error.
    """

    def __init__(self, model: RuntimeModel, *, refuse_extra: bool = False) -> None:
        self.model, self.refuse_extra = model, refuse_extra
        self.counts = ColumnCounts(model.schema)
        self._iso = [
            column.name for column in model.schema.columns if column.kind == "date" and not column.date_format
        ]
        self._levels = [column.name for column in model.schema.columns if kind_of(column).has_levels]
        self._row_encoder = model._row_encoder

    def predict_row(self, row: Mapping[str, Any], *, report: bool = False) -> Predicted:
        """As `predict` of one row of plain values, without making a table of it where it can be."""
        x = self._row_encoder.encode(row) if self._row_encoder is not None else None
        if x is None:
            return self.predict(Rows.of_row(row), report=report)
        prediction = self.model.from_inputs(x)
        return Predicted(self._columns(prediction), 1, (0,), (), self.counts.of_row(row))

    def predict(self, rows: Rows, *, report: bool = False) -> Predicted:
        """Predictions of all rows; what is wrong with a row is an error for all, unless it is to be reported.

        Raises:
            Problem: columns are absent; or, unless `report`, a row is wrong.
        """
        if not report and rows.errors:
            raise wrong_rows(rows.errors, rows.n_rows)
        self._check_names(rows)
        places = list(range(rows.n_rows)) if rows.places is None else list(rows.places)
        found, errors = self._divided(rows.columns, places, most=MOST_BAD if report else 1)
        if errors and not report:
            raise wrong_rows(tuple(errors), rows.n_rows)
        counts: dict[int, int] = {}
        for _, _, of_part in found:
            for place, n in of_part.items():
                counts[place] = counts.get(place, 0) + n
        columns: dict[str, list[Any]] = {name: [] for name in self.outputs}
        if found:
            columns = self._columns(np.concatenate([prediction for _, prediction, _ in found]))
        good = [place for part, _, _ in found for place in part]
        return Predicted(columns, rows.n_rows, good, (*rows.errors, *errors), counts)

    @cached_property
    def outputs(self) -> dict[str, NDArray[Any]]:
        """Names of what is predicted, and an example of each."""
        row: dict[str, Any] = {name: [None] for name in self.model.schema.names}
        read = self.model._raw(row, None, "ignore")
        return self.model.task.columns(self.model._predictions(read))

    def _columns(self, prediction: NDArray[np.float64]) -> dict[str, list[Any]]:
        return {name: values.tolist() for name, values in self.model.task.columns(prediction).items()}

    def _check_names(self, rows: Rows) -> None:
        names = [_PART.split(name, maxsplit=1)[0] for name in rows.columns]
        known = {_PART.split(name, maxsplit=1)[0] for name in self._wanted}
        absent = [name for name in self._wanted if name not in rows.columns]
        absent = [name for name in absent if _PART.split(name, maxsplit=1)[0] not in names]
        if absent:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"A request must have all columns that the model uses; {listed(absent, 30)} "
                f"{'is' if len(absent) == 1 else 'are'} absent. Add {'it' if len(absent) == 1 else 'them'}, "
                "with null where a value is missing.",
            )
        beside = {*known, *self.model._known}
        extra = [name for name in rows.columns if name not in beside] if self.refuse_extra else []
        if extra:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"A request must have no columns that the model does not know; got {listed(extra, 30)}. "
                "Leave them out.",
            )

    @property
    def _wanted(self) -> tuple[str, ...]:
        exposure = self.model.exposure
        return (*self.model.schema.names, *([] if exposure is None else [exposure]))

    def _divided(
        self, columns: Mapping[str, Cells], places: list[int], *, most: int
    ) -> tuple[list[tuple[list[int], NDArray[np.float64], dict[int, int]]], list[RowError]]:
        """Predictions of all rows that are right, in halves until no part holds a wrong one beside others."""
        found: list[tuple[list[int], NDArray[np.float64], dict[int, int]]] = []
        errors: list[RowError] = []
        parts = [(0, len(places))] if places else []
        n_bad = 0
        while parts:
            start, stop = parts.pop()
            part = columns if stop - start == len(places) else _slice(columns, start, stop)
            try:
                prediction, read = self._of_table(part)
            except DataError as error:
                if stop - start == 1:
                    errors += self._errors_of(part, places[start] + 1, error)
                    n_bad += 1
                    if n_bad >= most:
                        if most > 1:
                            raise wrong_rows(tuple(errors), len(places), stopped=bool(parts)) from None
                        return found, errors
                else:
                    middle = (start + stop) // 2
                    parts += [(middle, stop), (start, middle)]
                continue
            found.append((places[start:stop], prediction, self.counts.of_table(read)))
        return found, errors

    def _of_table(self, columns: Mapping[str, Cells]) -> tuple[NDArray[np.float64], Table]:
        """Predictions of a table that is taken without a word.

        Raises:
            DataError: it is not, or not at all.
        """
        for name in self._iso:
            _check_iso(name, columns.get(name, ()))
        model = self.model
        texts = {name: _as_texts(columns[name]) for name in self._levels if name in columns}
        read = model._raw({**columns, **texts}, None, "ignore")
        if more := extra_columns(read, model.schema, tuple(model._known)):
            read = read.drop(more)
        read, said = as_learnt(read, model.schema.columns)
        if said:
            raise DataError("; ".join(said))
        return model._amounts(read), read

    def _errors_of(self, columns: Mapping[str, Cells], row: int, error: DataError) -> list[RowError]:
        """What is wrong with the only row of some columns."""
        errors = []
        for column in self.model.schema.columns:
            if column.name not in columns:
                continue
            cell = columns[column.name][0]
            if not self._is_read(column, cell):
                errors.append(RowError(row, wrong_cell(column, cell), column.name))
        return errors or [RowError(row, str(error))]

    def _is_read(self, column: Column, cell: Any) -> bool:
        alone = Schema((column,), {})
        try:
            if column.name in self._iso:
                _check_iso(column.name, [cell])
            read = self.model._raw({column.name: [cell]}, None, "ignore")
            read, said = as_learnt(read, alone.columns)
            check(read, alone)
        except DataError:
            return False
        return not said


_PART = re.compile(r"\[|\.")


def _slice(columns: Mapping[str, Cells], start: int, stop: int) -> dict[str, Cells]:
    return {name: cells[start:stop] for name, cells in columns.items()}


def _check_iso(name: str, cells: Cells) -> None:
    """Refuse texts that are dates in a form that only their neighbours could tell."""
    if isinstance(cells, np.ndarray) and cells.dtype != object:
        return
    for cell in cells:
        if isinstance(cell, str) and cell.strip() and not re.match(ISO_DATE, cell.strip()):
            raise DataError(f"Column {name!r} must hold dates as ISO 8601 writes them; got {cell!r}.")


def _as_texts(cells: Cells) -> Cells:
    """Cells of several types each as the level that it is by itself: true beside 1 is not 1."""
    if isinstance(cells, np.ndarray) or len(set(map(type, cells)) - {type(None)}) < 2:
        return cells
    return [_as_text(cell) if isinstance(cell, bool | int | float) else cell for cell in cells]


def _as_text(cell: int | float) -> str | None:
    if isinstance(cell, int):
        return str(cell).lower()
    return None if cell != cell else shortest_text(cell)


def wrong_cell(column: Column, cell: Any) -> str:
    """The rule, what came, and what to do."""
    wanted = kind_of(column).wanted
    like = f" like {column.example!r}" if column.example and column.kind != "number" else ""
    return (
        f"Column {column.name!r} must hold {wanted}{like}, or null where it is missing; got "
        f"{shown(cell)}. Mend it."
    )


def shown(cell: Any) -> str:
    """A cell as a message shows it, in the words of JSON."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if cell is None:
        return "null"
    return str(cell).lower() if isinstance(cell, bool) else reprlib.repr(cell)


def wrong_rows(errors: Sequence[RowError], n_rows: int, *, stopped: bool = False) -> Problem:
    """The refusal of a request for the errors of its rows."""
    first, n_bad = errors[0], len({error.row for error in errors})
    if n_rows == 1:
        more = f" {len(errors) - MOST_SAID:,} more columns are wrong." if len(errors) > MOST_SAID else ""
        detail = " ".join(error.message for error in errors[:MOST_SAID]) + more
    else:
        more = f" (and {counted(n_bad - 1, 'more row')})" if n_bad > 1 else ""
        detail = f"Row {first.row} of {n_rows:,}{more}: {first.message}"
    if stopped:
        detail += " So many rows are wrong that the others were not looked at."
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, tuple(errors[:MOST_LISTED]))
