"""Rows with their predictions that stand in a model file, by which whoever reads it can check its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import SchemaError
from multilayer.file_values import are_finite, fits, need
from multilayer.table.cells import is_missing
from multilayer.table.column import Column
from multilayer.table.encode import Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.kind import Coder
from multilayer.table.sources.read import Table

N_ROWS = 12
MOST_CELLS = 20_000  # of all rows; a table of more columns gets fewer rows, and two at least
# Between predictions of other machines, as a share of the largest; most is rounding
LARGEST_DIFFERENCE = 1e-5
DAY_US = 86_400_000_000
NEVER_SEEN = "(never seen)"
N_TEXTS = 5  # beside those below
TEXTS = ("a few plain words", "The 2nd text, of 7 words in all.", "x", NEVER_SEEN)
SHARES = (0.5, 0.0, 1.0, 0.1, 0.81, -1.0, 2.0, 0.37)  # of the way from the lowest to the highest value

Arrays = dict[str, NDArray[Any]]
Inputs = Callable[[Table], NDArray[np.float32]]
Predict = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Verification:
    """Rows of a model's columns, and what becomes of them.

    rows:       column name -> a cell for each row: a number, a text, or None where it is missing. Dates are
                microseconds since 1970-01-01 in UTC, times and durations seconds, booleans 0 and 1
    encoded:    what networks take, float32 (n_rows, numbers and then codes)
    prediction: probabilities, numbers or quantiles, per unit of an exposure, float64 (n_rows, ...)
    """

    rows: Mapping[str, list[Any]]
    encoded: NDArray[np.float32]
    prediction: NDArray[np.float64]

    @classmethod
    def of(cls, table: Table, encoder: Encoder, inputs: Inputs, predict: Predict) -> "Verification":
        """The first rows of a table that is read and checked."""
        n_rows = min(table.n_rows, _most_rows(encoder))
        columns = encoder.schema.columns
        rows = {column.name: _cells(column, table[column.name][:n_rows]) for column in columns}
        x = inputs(_table(rows, encoder))
        return cls(rows, x, predict(x))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """What `from_state` needs: arrays, and plain values."""
        return {"encoded": self.encoded, "prediction": self.prediction}, {"rows": dict(self.rows)}

    @classmethod
    def from_state(
        cls, arrays: Arrays, plan: Any, encoder: Encoder, shape: tuple[int, ...]
    ) -> "Verification":
        """The inverse of `state`; shape: of the prediction of a row.

        Raises:
            ValueError: they are not rows of these columns, or not as many predictions.
        """
        need(isinstance(plan, dict) and plan.keys() == {"rows"}, "its rows are absent, or more is there")
        rows, names = plan["rows"], encoder.schema.names
        need(fits(rows, dict[str, list[float | str | None]]), "its rows must be lists of numbers and texts")
        need(set(rows) == set(names), "its rows have other columns than the model")
        need(arrays.keys() == {"encoded", "prediction"}, "its arrays are absent, or more are there")
        n_rows = len(rows[names[0]])
        need(
            0 < n_rows <= MOST_CELLS and all(len(cells) == n_rows for cells in rows.values()),
            "its rows are odd",
        )
        width = len(encoder.num_features) + len(encoder.cat_names)
        encoded, prediction = arrays["encoded"], arrays["prediction"]
        need(are_finite(encoded, np.float32, (n_rows, width)), "'encoded' must be finite float32")
        need(are_finite(prediction, np.float64, (n_rows, *shape)), "'prediction' must be finite float64")
        return cls(rows, encoded, prediction)

    def table(self, encoder: Encoder) -> Table:
        """The rows, in the types that steps begin with."""
        return _table(self.rows, encoder)

    def run(self, encoder: Encoder, inputs: Inputs, predict: Predict) -> "Verified":
        """Encode and predict the rows anew, and compare."""
        x = inputs(self.table(encoder))
        found = predict(x)
        size = max(float(np.abs(self.prediction).max()), 1e-300)
        return Verified(
            len(x),
            float(np.abs(x - self.encoded).max(initial=0.0)),
            float(np.abs(found - self.prediction).max()) / size,
        )


@dataclass(frozen=True)
class Verified:
    """How far this machine's predictions are from those that stand in a model file.

    n_rows:     rows that were predicted
    encoded:    largest difference of an encoded number; 0 where machines agree to the last bit
    prediction: largest difference of a prediction, as a share of the largest prediction
    """

    n_rows: int
    encoded: float
    prediction: float

    @property
    def is_same(self) -> bool:
        """Whether both differences are no more than rounding."""
        return max(self.encoded, self.prediction) <= LARGEST_DIFFERENCE

    @property
    def in_words(self) -> str:
        """One line."""
        return (
            f"{self.n_rows} rows: the largest difference of an encoded number is {self.encoded:.2g}, of a "
            f"prediction {self.prediction:.2g} of the largest"
        )


def synthetic_rows(encoder: Encoder) -> Table:
    """Rows that touch what a column may hold: its range, beyond it, each of some levels, a new one, none.

    They are made of ranges and levels alone, so that no row that was trained on is among them.
    """
    columns = {}
    for place, (column, coder) in enumerate(zip(encoder.schema.columns, encoder.coders, strict=True)):
        cells = _candidates(column, coder)
        turns = range(1, _most_rows(encoder) - 1)
        columns[column.name] = [cells[0], None, *(cells[(turn + place) % len(cells)] for turn in turns)]
    return _table(columns, encoder)


def _most_rows(encoder: Encoder) -> int:
    return max(2, min(N_ROWS, MOST_CELLS // len(encoder.schema.columns)))


def _candidates(column: Column, coder: Coder) -> list[Any]:
    """Cells that a column may hold, a usual one first, then missing."""
    kind = kind_of(column)
    if kind.has_levels:
        found: list[Any] = [*column.levels[:4], *column.levels[-1:]]
        found += [] if kind.has_order else [NEVER_SEEN]
    elif kind.is_free_text:
        found = [*TEXTS, *_telling_texts(column, coder)]
    else:
        low, high = column.low or 0.0, 1.0 if column.high is None else column.high
        unit = DAY_US if "M" in kind.dtypes else 1.0
        found = [unit * (low + share * (high - low)) for share in SHARES] + [0.0, unit]
        found = [float(round(each)) for each in found] if "M" in kind.dtypes else found
    found = [each for each in dict.fromkeys(found) if _is_allowed(column, each)]
    return [*found[:1], None, *found[1:]]


def _telling_texts(column: Column, coder: Coder) -> list[str]:
    """Of texts of all words of three letters from a to z, some that become the most different numbers.

    Words of the fit are not kept, but as hashes; some of them begin as one of these.
    """
    texts = [" ".join(a + b + c for c in ascii_lowercase) for a in ascii_lowercase for b in ascii_lowercase]
    parts = coder.encode(kind_of(column).cells(column, _array(column, ["x", *texts])))
    numbers = np.column_stack([np.asarray(part, np.float64) for part in parts])
    places = {int(np.abs(each - each[0]).argmax()) for each in numbers.T}
    most = sorted(places, key=lambda place: -float(((numbers[place] - numbers[0]) ** 2).sum()))
    return [texts[place - 1] for place in most if place][:N_TEXTS]


def _is_allowed(column: Column, cell: Any) -> bool:
    try:
        kind_of(column).read(column, _array(column, [cell]))
    except SchemaError:
        return False
    return True


def _table(rows: Mapping[str, list[Any]], encoder: Encoder) -> Table:
    return Table({column.name: _array(column, rows[column.name]) for column in encoder.schema.columns})


def _array(column: Column, cells: list[Any]) -> NDArray[Any]:
    """Cells in the type that steps begin with."""
    kind = kind_of(column)
    if not kind.has_numbers:
        texts = np.empty(len(cells), object)
        texts[:] = [None if cell is None else str(cell) for cell in cells]
        return texts
    if any(isinstance(cell, str) for cell in cells):
        raise ValueError(f"column {column.name!r} holds text in rows to verify by")
    numbers = np.array([np.nan if cell is None else cell for cell in cells], np.float64)
    if "M" not in kind.dtypes:
        return numbers
    missing = np.isnan(numbers)
    moments = np.where(missing, 0.0, numbers).astype(np.int64).astype("datetime64[us]")
    moments[missing] = np.datetime64("NaT")
    return moments


def _cells(column: Column, values: NDArray[Any]) -> list[Any]:
    """The column as its kind reads it, in plain values."""
    found = kind_of(column).read(column, values)
    missing = is_missing(found).tolist()
    plain = (found.astype(np.int64) if found.dtype.kind == "M" else found).tolist()
    return [None if gap else cell for cell, gap in zip(plain, missing, strict=True)]
