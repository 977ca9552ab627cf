"""What models share, whatever computes their networks: from a raw table to predictions. NumPy alone."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, ModelFileError, SchemaError, nearest, warn
from multilayer.table.encode import Batch, Encoder
from multilayer.table.kinds import is_as_written, kind_of
from multilayer.table.list_columns import as_at_fit
from multilayer.table.odd_cells import as_learnt
from multilayer.table.row_weights import check_exposure
from multilayer.table.schema import Schema, check, extra_columns, strange_columns
from multilayer.table.sources.names import listed
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.read import Table, read_source
from multilayer.tasks.task import Label, Task

_EXTRA = ("warn", "ignore", "error")


class TableModel(ABC):
    """A fitted model without its networks: it reads tables as those of the fit, checks and encodes them.

    target, task, encoder, dropped, notation, exposure: as `Model` has them
    """

    target: str | tuple[str, ...]
    task: Task
    encoder: Encoder
    dropped: tuple[str, ...]
    notation: Notation
    exposure: str | None

    @property
    @abstractmethod
    def _predictor(self) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
        """What turns encoded rows into the mean of all networks' predictions."""

    @property
    def schema(self) -> Schema:
        """Kinds, ranges and levels of the columns."""
        return self.encoder.schema

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of all columns that it predicts."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def classes(self) -> tuple[Label, ...] | None:
        """The labels, in the order of `predict_proba`'s columns; None for numbers and for several targets."""
        return self.task.classes or None

    def predict(self, table: Any, *, query: str | None = None, extra: str = "warn") -> NDArray[Any]:
        """The most probable label, or the expected value, of each row; (n_rows,).

        With several targets (n_rows, n_targets). What a number is depends on the objective: the mean, the
        median, or of several quantiles the one that is nearest to the median.

        A model's first prediction settles whether compiled kernels predict (where they are loaded already, as
        by training, or for 50,000 rows) or PyTorch: the last digit may differ between the two, within the
        rounding of float32, and does not change later.

        Args:
            table: anything that `read_table` takes, with the columns of the fit, in any order; the target is
                optional.
            query: the rows to predict, where the table is a database, a connection or a file to query.
            extra: what becomes of columns that were not there at fit: "warn" and "ignore" leave them out,
            with a
                warning or without, "error" refuses the table.

        A few cells that are not of their column's kind count as missing; a `TableWarning` names them.

        Raises:
            SchemaError: missing columns, or values that are not of their column's kind.
        """
        return self.task.decide(self._amounts(self._read(table, query, extra)))

    def predict_proba(
        self, table: Any, *, query: str | None = None, extra: str = "warn"
    ) -> NDArray[np.float64]:
        """Probability of each class; shape (n_rows, n_classes), columns in the order of `classes`.

        With several labels the probability of each, (n_rows, n_labels), in the order of `targets`: of 1 or
        True, or of the second of two texts in sorted order.

        Raises:
            SchemaError: as `predict`; or the model is a regression.
        """
        if not self.task.has_probabilities:
            raise SchemaError(
                f"predict_proba needs classes; this model predicts {self._in_words}. Use predict."
            )
        return self._predictions(self._read(table, query, extra))

    def predict_quantiles(
        self, table: Any, *, query: str | None = None, extra: str = "warn"
    ) -> NDArray[np.float64]:
        """Quantiles of each row, ascending; (n_rows, n_quantiles), or (n_rows, n_targets, n_quantiles).

        Raises:
            SchemaError: as `predict`; or the model was fitted without quantiles.
        """
        if self.quantiles is None:
            raise SchemaError(
                f"predict_quantiles needs a model of quantiles; this one predicts {self._in_words}. "
                "Fit with quantiles=(0.1, 0.5, 0.9)."
            )
        return self._predictions(self._read(table, query, extra))

    def predict_columns(
        self, table: Any, *, query: str | None = None, extra: str = "warn"
    ) -> dict[str, NDArray[Any]]:
        """All that there is to say of each row, by name: probabilities or quantiles, then the prediction.

        Raises:
            SchemaError: as `predict`.
        """
        return self.task.columns(self._amounts(self._read(table, query, extra)))

    @property
    def quantiles(self) -> tuple[float, ...] | None:
        """What `predict_quantiles` gives a column for; None without quantiles."""
        return self.task.quantile_levels

    @property
    def _in_words(self) -> str:
        what = "the number" if self.task.kind == "regression" else "the label"
        return f"{what if len(self.targets) == 1 else what + 's'} {listed(self.targets)}"

    def _read(self, table: Any, query: str | None, extra: str = "warn") -> Table:
        return self._passed_over(self._raw(table, query, extra), extra)

    def _raw(self, table: Any, query: str | None, extra: str) -> Table:
        """A table in the notation of the fit; columns that were not used there may hold anything."""
        if extra not in _EXTRA:
            near = nearest(str(extra), _EXTRA)
            raise ConfigError(f"extra must be 'warn', 'ignore' or 'error'; got {extra!r}.{near}")
        unread = (*self.dropped, *self.schema.ignored)
        read = read_source(table, self.reading, query=query, unread=unread, numbers=self._numbers)
        return as_at_fit(read, self._known)

    def _passed_over(self, read: Table, extra: str) -> Table:
        """The table without what is passed over in it, which one warning tells."""
        more = extra_columns(read, self.schema, tuple(self._known))
        if any(name not in read.columns for name in self.schema.names) or (more and extra == "error"):
            return read  # for `check` to refuse; what is there beside may be what is absent
        read, said = as_learnt(read, self.schema.columns)
        if more:
            read = read.drop(more)
            if extra == "warn":
                said.append(f"columns that were not there at fit are not used: {listed(more)}")
        said += strange_columns(read, self.schema)
        if said:
            text = "; ".join(said)
            warn(f"{text[0].upper()}{text[1:]}.")
        return read

    @cached_property
    def _known(self) -> dict[str, None]:
        """Names of all columns at fit, in order."""
        exposure = () if self.exposure is None else (self.exposure,)
        names = (*self.schema.names, *self.schema.ignored, *self.dropped, *self.targets, *exposure)
        return dict.fromkeys(names)

    @cached_property
    def reading(self) -> Notation:
        """How tables to predict are read: in the notation of the fit, columns of text as they are written.

        What a row becomes must not depend on the others of its file: 12E3 is text beside A7, and alone, too.
        """
        labels = self.targets if any(isinstance(label, str) for label in self.task.classes) else ()
        texts = (column.name for column in self.schema.columns if is_as_written(column))
        return replace(self.notation, texts=frozenset((*texts, *labels)))

    @cached_property
    def _numbers(self) -> frozenset[str]:
        """Columns whose text is read as numbers."""
        names = {column.name for column in self.schema.columns if kind_of(column).is_numeric}
        of_numbers = not any(isinstance(label, str) for label in self.task.classes)
        return frozenset({*names, *self.targets} if of_numbers else names)

    def _exposure_of(self, table: Table) -> NDArray[np.float64]:
        if self.exposure not in table.names:
            raise SchemaError(
                f"this model predicts {self._in_words} for an exposure, in the column {self.exposure!r}; got "
                f"columns {listed(table.names)}. Add it; 1 in every row gives predictions per unit."
            )
        return check_exposure(table[self.exposure], table.n_rows)

    def _amounts(self, table: Table) -> NDArray[np.float64]:
        """Predictions for the exposure of each row, where the model has one."""
        prediction = self._predictions(table)
        if self.exposure is None:
            return prediction
        exposure = self._exposure_of(table)
        return prediction * exposure.reshape(len(exposure), *[1] * (prediction.ndim - 1))

    def _predictions(self, table: Table) -> NDArray[np.float64]:
        return self.from_inputs(self._inputs(table))

    def _inputs(self, table: Table) -> NDArray[np.float32]:
        known = (*self.targets, *self.dropped, *([self.exposure] if self.exposure else []))
        check(table, self.schema, allowed_extra=known)
        return network_inputs(self.encoder.transform(table))

    def from_inputs(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities or values from encoded rows, averaged over the networks.

        Raises:
            ModelFileError: they are not finite, as weights are too large for float32.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # said in words, just below
            prediction = self._predictor(x)
        check_finite(prediction, x)
        return prediction


def check_finite(prediction: NDArray[np.float64], x: NDArray[np.float32]) -> None:
    """Refuse predictions that are not finite, of rows that are.

    Raises:
        ModelFileError: weights are so large that they make them so.
    """
    if not np.isfinite(prediction).all() and np.isfinite(x).all():
        raise ModelFileError(
            "a model must predict finite numbers; this one's weights are so large that it does not. "
            "Load another copy of it, or fit again."
        )


def network_inputs(batch: Batch) -> NDArray[np.float32]:
    """Encoded rows as one matrix for a network: numbers, then codes (whole, exact in float32 below 2^24)."""
    if not batch.cat.shape[1]:
        return batch.num  # of a wide table a copy would be gigabytes
    return np.concatenate([batch.num, batch.cat.astype(np.float32)], axis=1)
