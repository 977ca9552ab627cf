"""`RuntimeModel`: a model file that predicts with NumPy alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import MissingExtraError, MultilayerError
from multilayer.model.format import nan_if_none
from multilayer.model.table_model import TableModel
from multilayer.model.table_reader import EXTRA
from multilayer.model.verification import Verification
from multilayer.nn.config import NetworkFields
from multilayer.runtime.forward import Forward
from multilayer.runtime.network_steps import NetworkSteps
from multilayer.runtime.networks import network_steps
from multilayer.runtime.one_row import RowEncoder
from multilayer.table.encode import Encoder
from multilayer.table.odd_cells import as_learnt
from multilayer.table.schema import Schema, check, strange_columns
from multilayer.table.sources.notation import Notation, mark_number
from multilayer.table.sources.read import Table
from multilayer.tasks.task import Task


def load(path: str | Path) -> "RuntimeModel":
    """Read a model file, to predict with NumPy alone. Nothing in the file is run.

    Raises:
        ModelFileError: absent, truncated, changed since it was written, of a newer format, not a multilayer
            model, or one whose parts do not make a model.

    >>> import multilayer as ml
    >>> from multilayer import runtime
    >>> table = {"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": ["a", "a", "b", "b"] * 10}
    >>> ml.fit(table, target="y", epochs=2, members=2).save("model.mlp")
    >>> runtime.load("model.mlp").predict_proba({"x": 0.5}).shape
    (1, 2)
    """
    return RuntimeModel.load(path)


@dataclass(frozen=True, eq=False)
class RuntimeModel(TableModel):
    """A fitted model that predicts with NumPy alone: no PyTorch, nothing compiled.

    It reads, checks and encodes tables as `Model` does, by the same code, so that encoded rows are the same
    to the last bit, and so are errors and warnings. Predictions agree within 1e-6, as sums are rounded in
    another order; a row's are the same to the last bit whatever rows are beside it. A row may come as a dict
    of its values. Threads may use one model at the same time.

    target:   name of the column that it predicts, or the names of several
    task:     classes or units of the target
    encoder:  turns raw columns into numbers and codes; `schema` is its part
    networks: as steps; their predictions are averaged
    summary:  rows, scores on the validation rows, decisions made for the user, seed, versions, times
    dropped:  columns that were left out at fit; they may be there at prediction, or not
    weights:  of the networks in the average; None weighs all alike
    notation: marks of missing values and separators that were declared at fit; they hold at prediction, too
    exposure: column that predictions are multiplied with, as they are learnt per unit of it; None without one
    verification: rows that stand in the file, and their predictions; None in files of before
    """

    target: str | tuple[str, ...]
    task: Task
    encoder: Encoder
    networks: Sequence[NetworkSteps]
    summary: dict[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None
    notation: Notation = field(default_factory=Notation)
    exposure: str | None = None
    verification: Verification | None = None

    _config_class = NetworkFields

    @staticmethod
    def _network_of(config: NetworkFields, arrays: dict[str, NDArray[Any]]) -> NetworkSteps:
        return network_steps(config.to_json(), arrays)

    @property
    def score(self) -> dict[str, float]:
        """Metrics on the validation rows; NaN where one is not defined, such as roc_auc of a single class."""
        return {name: nan_if_none(value) for name, value in self.summary.get("score", {}).items()}

    def _raw(self, table: Any, query: str | None, extra: str) -> Table:
        """As of `Model`; a dict of plain values is a row."""
        if isinstance(table, Mapping) and table and not any(_are_several(value) for value in table.values()):
            table = {name: [value] for name, value in table.items()}
        try:
            return super()._raw(table, query, extra)
        except ModuleNotFoundError as error:  # of a package that reads such tables
            package = (error.name or "").partition(".")[0]
            raise MissingExtraError(
                f"this table needs {package} to be read, which is not installed: pip install {package}. "
                "Without it, pass a dict of values, a list of dicts, or a dict of columns."
            ) from error

    def _predicted(self, table: Any, query: str | None, extra: str, *, amounts: bool) -> NDArray[np.float64]:
        """As of `Model`; a row of plain values without making a table of it, where it can be."""
        row = _only_row(table)
        if row is not None and query is None and extra in EXTRA and self._row_encoder is not None:
            x = self._row_encoder.encode(row)
            if x is not None:
                return self.from_inputs(x)
        return super()._predicted(table, query, extra, amounts=amounts)

    @cached_property
    def _row_encoder(self) -> RowEncoder | None:
        """None where predictions are for an exposure."""
        if self.exposure is not None:
            return None
        notation, names = self.notation, self.schema.names
        stand_for_missing = [
            name for name in names if any(mark_number(mark) is not None for mark in notation.marks_in(name))
        ]
        passed_over = (*self.dropped, *self.schema.ignored, *self.targets)
        return RowEncoder(self.encoder, passed_over, stand_for_missing, self._one_cell)

    def _one_cell(self, i: int, value: Any) -> NDArray[np.float64] | None:
        """Numbers and codes of a cell of a column; None where a table of it is not taken without a word."""
        column, coder = self.schema.columns[i], self.encoder.coders[i]
        alone = Schema((column,), {})
        try:
            read = self._raw({column.name: [value]}, None, "ignore")
            if read.names != (column.name,):
                return None
            read, said = as_learnt(read, alone.columns)
            if said or strange_columns(read, alone):
                return None
            check(read, alone)
            batch = Encoder(alone, [coder]).transform(read)
        except MultilayerError:  # whoever asked for the row is told
            return None
        return np.concatenate([batch.num[0].astype(np.float64), batch.cat[0]])

    @cached_property
    def _predictor(self) -> Forward:
        return Forward(self.networks, self.task.link, self.weights)


def _only_row(table: Any) -> Mapping[Any, Any] | None:
    """The row of a table in memory that has one; None for any other."""
    if isinstance(table, list) and len(table) == 1:
        (table,) = table
    return table if type(table) is dict else None


def _are_several(value: Any) -> bool:
    """Whether a value of a dict is a column of values, and not one of them."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)
