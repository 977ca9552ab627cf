"""A table encoded once, in which whole raw columns are swapped: what all explanations stand on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, nearest
from multilayer.model.model import Model
from multilayer.model.predictor import Predictor
from multilayer.table.encode import Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.sources.read import Table

CALL_ROWS = 65_536  # that go through the networks at a time: memory is bounded, kernels are worth loading

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class EncodedTable:
    """Rows as the networks of a model take them, and which encoded columns each raw column made.

    A column is encoded by itself, so exchanging all that it made is the same as exchanging it in the table.

    model:  whose it is
    table:  the rows as they came
    x:      float32 (n_rows, d_in)
    names:  raw columns that the networks look at, in the order of the schema
    places: for each of them the columns of x that it made
    code:   the target of each row, as the task has it; None where the table lacks it
    weight: of each row in scores; None weighs all alike
    """

    model: Model
    table: Table
    x: Rows
    names: tuple[str, ...]
    places: tuple[NDArray[np.int64], ...]
    code: NDArray[Any] | None
    weight: NDArray[Any] | None

    @classmethod
    def of(cls, model: Model, table: Any, *, query: str | None = None, extra: str = "warn") -> "EncodedTable":
        """Read and encode a table.

        Raises:
            SchemaError: as `Model.predict`.
            DataError: the table has no rows.
        """
        read = model._read(table, query, extra)
        if not read.n_rows:
            raise DataError("explaining needs at least one row; the table has none. Pass some rows.")
        x = model._inputs(read)
        has_target = all(name in read.names for name in model.targets)
        code, weight = model._codes_and_weights(read, None) if has_target else (None, None)
        names, places = columns_made(model.encoder)
        return cls(model, read, x, names, places, code, weight)

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: NDArray[np.int64]) -> "EncodedTable":
        """Only these rows."""
        return EncodedTable(
            self.model,
            self.table.take(rows),
            self.x[rows],
            self.names,
            self.places,
            None if self.code is None else self.code[rows],
            None if self.weight is None else self.weight[rows],
        )

    def place_of(self, name: str) -> int:
        """Which of `names` a column is.

        Raises:
            ConfigError: the networks do not look at it.
        """
        if name not in self.names:
            raise ConfigError(
                f"columns to explain must be among those that the model uses; got {name!r}."
                f"{nearest(name, self.names)}"
            )
        return self.names.index(name)

    def numbers(self, name: str) -> Floats | None:
        """A column as numbers (n_rows,), NaN where missing; None for categories and texts."""
        column = self.model.schema[name]
        read = kind_of(column).numbers
        return None if read is None else read(column, self.table[name])

    def codes(self, name: str) -> NDArray[np.int64] | None:
        """A category's codes (n_rows,): 0 missing, 1 rare or never seen, then its levels; else None."""
        if name not in self.model.encoder.cat_names:
            return None
        n_num = len(self.model.encoder.num_features)
        return self.x[:, n_num + self.model.encoder.cat_names.index(name)].astype(np.int64)

    def levels(self, name: str) -> tuple[str, ...]:
        """The levels of a category, in the order of its codes from 2 on."""
        coder = next(c for c in self.model.encoder.coders if c.column.name == name)
        levels: tuple[str, ...] = getattr(coder.code, "levels", ())
        return levels


def columns_made(encoder: Encoder) -> tuple[tuple[str, ...], tuple[NDArray[np.int64], ...]]:
    """Raw columns and the encoded columns that each made; without those that made none."""
    made: dict[str, list[int]] = {name: [] for name in encoder.schema.names}
    for i, feature in enumerate(encoder.num_features):
        made[feature.column].append(i)
    for i, name in enumerate(encoder.cat_names):
        made[name].append(len(encoder.num_features) + i)
    used = {name: np.array(places, np.int64) for name, places in made.items() if places}
    return tuple(used), tuple(used.values())


class Outputs:
    """The numbers that are explained, from encoded rows: (n_rows, n_outputs).

    Of two classes the probability of the second, of several that of each; of numbers the prediction, of
    quantiles and several targets each. An exposure is left out: per unit of it.

    Args:
        model: whose predictions they are.
        n_rows: that will be asked for in all: many make it worth while to load compiled kernels.
    """

    def __init__(self, model: Model, n_rows: int) -> None:
        self.model = model
        self.names = output_names(model)
        # Not the model's own: who predicts there is settled by its first prediction, not by an explanation.
        self.predictor = Predictor(model.networks, model.task.link, model.weights)
        self._warm = n_rows < CALL_ROWS

    def prediction(self, x: Rows) -> Floats:
        """As the task has it, (n_rows, ...)."""
        if not self._warm and len(x) < CALL_ROWS:
            self.predictor(np.resize(x, (CALL_ROWS, x.shape[1])) if len(x) else x)
        self._warm = True
        return self.predictor(x)

    def __call__(self, x: Rows) -> Floats:
        """What is explained, (n_rows, n_outputs)."""
        return explained(self.model, self.prediction(x))


def explained(model: Model, prediction: Floats) -> Floats:
    """What of a prediction is explained, (n_rows, n_outputs)."""
    if model.task.kind == "binary":
        return prediction[:, 1:]
    return prediction.reshape(len(prediction), -1)


def output_names(model: Model) -> tuple[str, ...]:
    """What each output is: a class, a target, a quantile."""
    task, targets = model.task, model.targets
    if task.kind == "binary":
        return (str(task.classes[1]),)
    if task.kind == "multiclass":
        return tuple(map(str, task.classes))
    levels = task.quantile_levels
    if levels is None:
        return tuple(targets)
    many = len(targets) > 1
    return tuple(f"{name}, quantile {q:g}" if many else f"quantile {q:g}" for name in targets for q in levels)


def in_calls(n_rows: int, rows_each: int) -> Iterator[slice]:
    """Pieces of n_rows, each of which makes about `CALL_ROWS` rows where every one makes so many."""
    step = max(1, CALL_ROWS // max(1, rows_each))
    yield from (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def drawn(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """So many of n row numbers at most, at random, in ascending order."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def checked_names(table: EncodedTable, columns: Sequence[str] | None) -> tuple[str, ...]:
    """The columns that were asked for, or all."""
    if columns is None:
        return table.names
    names = [columns] if isinstance(columns, str) else list(columns)
    for name in names:
        table.place_of(name)
    return tuple(names)
