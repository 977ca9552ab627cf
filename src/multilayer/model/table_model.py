"""What models share, whatever computes their networks: from a raw table to predictions. NumPy alone."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ModelFileError, SchemaError
from multilayer.file_values import need
from multilayer.model.check_network import may_overflow
from multilayer.model.file import read_bytes, unpack
from multilayer.model.format import Arrays, parts_of, states_of
from multilayer.model.table_reader import TableReader
from multilayer.model.verification import Verification, Verified
from multilayer.nn.config import NetworkFields
from multilayer.table.encode import Batch, Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.number import CLIP
from multilayer.table.schema import Schema
from multilayer.table.sources.read import Table
from multilayer.tasks.task import Label

Predict = Callable[[NDArray[np.float32]], NDArray[np.float64]]
Loaded = TypeVar("Loaded", bound="TableModel")


class TableModel(TableReader):
    """A fitted model without its networks: it reads tables as those of the fit, and encodes them.

    encoder, summary, verification: as `Model` has them
    """

    encoder: Encoder
    summary: dict[str, Any]
    verification: Verification | None

    _config_class: ClassVar[type[NetworkFields]]

    @staticmethod
    @abstractmethod
    def _network_of(config: Any, arrays: Arrays) -> Any:
        """A network of a configuration and its arrays; ValueError where these do not make one."""

    @property
    @abstractmethod
    def _predictor(self) -> Predict:
        """What turns encoded rows into the mean of all networks' predictions."""

    @property
    def _first_predictor(self) -> Predict:
        """The same, before anything is settled by who asks first."""
        return self._predictor

    @classmethod
    def load(cls: type[Loaded], path: str | Path) -> Loaded:
        """Read a model that `save` wrote. Nothing in the file is run.

        Raises:
            ModelFileError: absent, truncated, changed since it was written, of a newer format, not a
                multilayer model, or one whose parts do not make a model.
        """
        data = read_bytes(Path(path))
        return cls._checked(*unpack(data, str(path), "Copy it again, or save the model again."), str(path))

    @classmethod
    def from_bytes(cls: type[Loaded], data: bytes) -> Loaded:
        """The inverse of `to_bytes`. Nothing in the bytes is run.

        Raises:
            ModelFileError: as `load`.
        """
        found = unpack(data, f"the data of {len(data):,} bytes", "Pass what Model.to_bytes gave.")
        return cls._checked(*found, "the data")

    @classmethod
    def _checked(cls: type[Loaded], meta: dict[str, Any], arrays: Arrays, name: str) -> Loaded:
        try:
            parts = parts_of(meta, arrays, cls._config_class, cls._network_of)
            own = {each.name for each in fields(cls)}  # type: ignore[arg-type]
            model = cls(**{part: value for part, value in parts.items() if part in own})
            config: NetworkFields = parts["config"]
            example = model.task.link(np.zeros((1, config.d_out), np.float32))
            is_number = np.isfinite(np.broadcast_to(model._constant, example.shape)).all()
            need(is_number, "its baseline is no number")
            if may_overflow(states_of(meta, arrays)):
                model._check_answers(config)
            model._warm_up()
        except Exception as error:  # made to harm, a file may break anything that reads it
            raise ModelFileError(
                f"{name} has an intact checksum, but its parts do not make a model ({error}). "
                "Save the model again."
            ) from error
        return model

    def verify(self) -> Verified:
        """Predict the rows that stand in the model's file, and compare with the predictions beside them.

        Raises:
            ModelFileError: predictions differ by more than rounding, or the model was not read from a file
                that holds such rows.
        """
        if self.verification is None:
            raise ModelFileError(
                "a model is verified by rows that stand in the file that it was read from; there are none. "
                "Save it with this version, and load that file."
            )
        found = self.verification.run(self.encoder, self._inputs, self._first_predictor)
        if not found.is_same:
            raise ModelFileError(
                f"a model must predict on every machine what stands in its file; of {found.in_words}. Do not "
                "use it here: update multilayer and NumPy, and report this if it stays."
            )
        return found

    def _warm_up(self) -> None:
        """Predict a row without values, and with a word where text is read.

        Whatever a prediction loads or makes once is there before the first request. Who predicts stays to be
        settled.
        """
        row = {column.name: ["a" if kind_of(column).is_free_text else None] for column in self.schema.columns}
        x = self._inputs(self._raw(row, None, "ignore"))
        with np.errstate(all="ignore"):
            self._first_predictor(x)

    def _check_answers(self, config: NetworkFields) -> None:
        """Refuse weights with which rows at the ends of what an encoder gives have no finite prediction."""
        n, codes = config.n_num, config.cardinalities
        ends = np.array([[0.0] * n, [CLIP] * n, [-CLIP] * n], np.float32)
        x = np.concatenate(
            [ends, np.array([[0] * len(codes), [c - 1 for c in codes], [1] * len(codes)])], axis=1
        )
        x = x.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            prediction = self._first_predictor(x)
        check_finite(prediction, x)

    @property
    def _constant(self) -> NDArray[np.float64]:
        """What the baseline says of any row; in files of before, class shares or the mean."""
        constant = self.summary.get("constant", self.summary.get("class_shares"))
        return np.array(getattr(self.task, "center", 0.0) if constant is None else constant)

    @property
    def schema(self) -> Schema:
        """Kinds, ranges and levels of the columns."""
        return self.encoder.schema

    @property
    def classes(self) -> tuple[Label, ...] | None:
        """The labels, in the order of `predict_proba`'s columns; None for numbers or several targets."""
        return self.task.classes or None

    def predict(self, table: Any, *, query: str | None = None, extra: str = "warn") -> NDArray[Any]:
        """Predict the label or the number of each row; (n_rows,), or (n_rows, n_targets) for several targets.

        Of classes, the most probable one is predicted, unless the model has a threshold. Of numbers, the
        objective decides: the mean, the median, or of several quantiles the one that is nearest to the
        median.

        The first call settles what computes the predictions: compiled loops, if they are loaded already or
        if there are at least 50,000 rows, otherwise PyTorch. The two may differ in the last digit of float32,
        so all later calls use the same one.

        Args:
            table: anything that `read_table` takes, with the columns of the fit, in any order; the target is
                optional.
            query: the rows to predict, where the table is a database, a connection or a file to query.
            extra: what becomes of columns that were not there at fit: "warn" leaves them out with a warning,
                "ignore" without one, "error" refuses the table.

        A few cells that are not of their column's kind count as missing; a `TableWarning` names them.

        Raises:
            SchemaError: missing columns, or values that are not of their column's kind.
        """
        return self.task.decide(self._predicted(table, query, extra, amounts=True))

    def predict_proba(
        self, table: Any, *, query: str | None = None, extra: str = "warn"
    ) -> NDArray[np.float64]:
        """Probability of each class; (n_rows, n_classes), with columns in the order of `classes`.

        For several labels, it is the probability that each label holds (is 1, True, or the second of two
        texts in sorted order); (n_rows, n_labels), with columns in the order of `targets`.

        Raises:
            SchemaError: as `predict`; or the model is a regression.
        """
        if not self.task.has_probabilities:
            raise SchemaError(
                f"predict_proba needs classes; this model predicts {self._in_words}. Use predict."
            )
        return self._predicted(table, query, extra, amounts=False)

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
        return self._predicted(table, query, extra, amounts=False)

    def predict_columns(
        self, table: Any, *, query: str | None = None, extra: str = "warn"
    ) -> dict[str, NDArray[Any]]:
        """The columns of a file of predictions, by name: probabilities or quantiles, then the prediction.

        Raises:
            SchemaError: as `predict`.
        """
        return self.task.columns(self._predicted(table, query, extra, amounts=True))

    @property
    def quantiles(self) -> tuple[float, ...] | None:
        """The quantiles that `predict_quantiles` gives; None for a model without quantiles."""
        return self.task.quantile_levels

    def _predicted(self, table: Any, query: str | None, extra: str, *, amounts: bool) -> NDArray[np.float64]:
        """Predictions for a table as it came; amounts: for the exposure of each row, where there is one."""
        read = self._read(table, query, extra)
        return self._amounts(read) if amounts else self._predictions(read)

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
        self._check(table)
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
