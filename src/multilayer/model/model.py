"""`Model`: a trained network with all that it takes to predict from a raw table, in one safe file."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from multilayer.errors import DataError, ModelFileError, SchemaError, counted, nearest
from multilayer.file_values import need
from multilayer.model.check import may_overflow
from multilayer.model.file import read_bytes, unpack
from multilayer.model.format import file_of, nan_if_none, parts_of
from multilayer.model.intervals import Conformal
from multilayer.model.networks import network_of
from multilayer.model.predictor import Predictor
from multilayer.model.statistics import Statistics
from multilayer.model.sure_model import SureModel
from multilayer.model.table_model import check_finite
from multilayer.nn.networks import NetworkConfig
from multilayer.output import write_atomically
from multilayer.signals import held_back
from multilayer.table.encode import Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.number import CLIP
from multilayer.table.odd_cells import as_numbers_of_target
from multilayer.table.row_weights import check_weights
from multilayer.table.sketch import Sketch
from multilayer.table.sources.frames import tell_other_order
from multilayer.table.sources.names import listed
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.read import Table
from multilayer.tasks.multi_target import per_unit, side_by_side
from multilayer.tasks.task import Task
from multilayer.training.history import History

FEW_SEEN = 0.1  # share of rows that were trained on, beyond what repeats itself, up to which nothing is said


@dataclass(frozen=True, eq=False)
class Model(SureModel):
    """A fitted model: from a raw table to predictions.

    target:   name of the column that it predicts, or the names of several
    task:     classes or units of the target
    encoder:  turns raw columns into numbers and codes; `schema` is its part
    config:   the networks' architecture
    linear:   the architecture of the last network, where that is a linear one; None where all are alike
    networks: the trained networks (snapshots of members); their predictions are averaged
    histories: how each network trained; `history` is the first
    summary:  rows, scores on the validation rows, decisions made for the user, seed, versions, times
    dropped:  columns that were left out at fit; they may be there at prediction, or not
    weights:  of the networks in the average; None weighs all alike
    notation: marks of missing values and separators that were declared at fit; they hold at prediction, too
    exposure: column that predictions are multiplied with, as they are learnt per unit of it; None without one
    statistics: what it keeps of the rows that it was fitted on; None in files of before
    conformal: errors on rows that it was not fitted on, by `conformalize`; None without

    >>> import multilayer as ml
    >>> table = {"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": ["a", "a", "b", "b"] * 10}
    >>> model = ml.fit(table, target="y", epochs=2)
    >>> model.predict_proba({"x": [0.5]}).shape
    (1, 2)
    """

    target: str | tuple[str, ...]
    task: Task
    encoder: Encoder
    config: NetworkConfig
    networks: list[nn.Module]
    histories: list[History]
    summary: dict[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None
    notation: Notation = field(default_factory=Notation)
    exposure: str | None = None
    statistics: Statistics | None = None
    linear: NetworkConfig | None = None
    conformal: Conformal | None = None

    @property
    def configs(self) -> tuple[NetworkConfig, ...]:
        """The architecture of each network, in the order of `networks`."""
        n_linear = self.linear is not None
        each = (self.config,) * (len(self.networks) - n_linear)
        return each if self.linear is None else (*each, self.linear)

    @property
    def history(self) -> History:
        """How the first network trained."""
        return self.histories[0]

    @property
    def score(self) -> dict[str, float]:
        """Metrics on the validation rows; NaN where one is not defined, such as roc_auc of a single class."""
        return {name: nan_if_none(value) for name, value in self.summary.get("score", {}).items()}

    def evaluate(
        self, table: Any, *, query: str | None = None, sample_weight: Any = None, extra: str = "warn"
    ) -> dict[str, float]:
        """Metrics on a table that has the target, and the same for a baseline that knows no features.

        Returns:
            log_loss, accuracy, (binary) roc_auc; or rmse, mae, r2; with several targets the mean of each over
            the targets and, as in "rmse[price]", those of each target; and `baseline_` + each: class shares
            or mean (median, ...) of the rows that the model was trained on; and `trained_on`: the share of
            these rows that the model was trained on, as far as a sketch of their hashes tells.

        With an exposure the scores are per unit of it, and rows weigh as much as it, too. Rows that the model
        was trained on are scored, and a warning says so: `model.score` is of rows that were held out.

        Raises:
            SchemaError: the target column is absent; otherwise as `predict`.
            DataError: a missing target, a class that was not there at fit, unusable weights.
        """
        tell_other_order(table, {"sample_weight": sample_weight})
        raw = self._raw(table, query, extra)
        self._require_targets(raw)
        read = self._passed_over(raw, extra)
        code, weight = self._codes_and_weights(read, sample_weight)
        x = self._inputs(read)
        seen = self._count_seen(x, code, weight)
        return self._scores(code, self.from_inputs(x), weight) | self._told_seen(*seen)

    def evaluate_pieces(self, pieces: Iterable[Table], *, extra: str = "warn") -> dict[str, float]:
        """`evaluate` of a table that comes in pieces; predictions are kept, the table is not."""
        codes, predictions, weights, seen = [], [], [], []
        for piece in pieces:
            read = self._read(piece, None, extra)
            code, weight = self._codes_and_weights(read, None)
            x = self._inputs(read)
            codes.append(code)
            predictions.append(self.from_inputs(x))
            weights.append(weight)
            seen.append(self._count_seen(x, code, weight))
        known = [weight for weight in weights if weight is not None]
        scores = self._scores(
            np.concatenate(codes), np.concatenate(predictions), np.concatenate(known) if known else None
        )
        return scores | self._told_seen(*map(sum, zip(*seen, strict=True)))

    def _count_seen(
        self, x: NDArray[np.float32], code: NDArray[np.generic], weight: NDArray[Any] | None
    ) -> tuple[int, int, int]:
        """How many rows weigh something, can be looked up in the sketch, and were trained on."""
        if self._sketch is None:
            return len(code), 0, 0
        if weight is not None:
            x, code = x[weight > 0], code[weight > 0]
        return len(code), *self._sketch.among(marks(self.encoder, x, code))

    def _share_seen(self, x: NDArray[np.float32], code: NDArray[np.generic]) -> float:
        """The share of rows that were trained on; 0 where there are no more than repeat themselves."""
        if self._sketch is None:
            return 0.0
        share = self._sketch.share(*self._count_seen(x, code, None)[1:])
        return share if share > FEW_SEEN + self._sketch.repeats else 0.0

    def _told_seen(self, n_rows: int, asked: int, found: int) -> dict[str, float]:
        """The share of rows that were trained on; a warning where it is more than repeats itself."""
        if self._sketch is None:
            return {}
        share = self._sketch.share(asked, found)
        if share > FEW_SEEN + self._sketch.repeats:
            warnings.warn(
                f"Scores tell what a model is worth on rows that it was not trained on; of these {n_rows:,} "
                f"rows it was trained on some {share:.0%}, which it may know by heart. Evaluate on others; "
                "model.score is of rows that were held out.",
                stacklevel=3,
            )
        return {"trained_on": share}

    @cached_property
    def _sketch(self) -> Sketch | None:
        """Of the training rows; None in files of before."""
        return Sketch.from_json(self.summary.get("trained_on"))

    def _codes_and_weights(
        self, read: Table, sample_weight: Any
    ) -> tuple[NDArray[np.generic], NDArray[Any] | None]:
        """The target as the task codes it, and what rows weigh in scores."""
        y: NDArray[Any] = self._target_of(read)
        weight: NDArray[Any] | None = None
        if sample_weight is not None:
            weight = check_weights(sample_weight, read.n_rows)
        if self.exposure is not None:
            exposure = self._exposure_of(read)
            y, weight = per_unit(y, exposure), exposure if weight is None else exposure * weight
        return self.task.encode(y), weight

    def _scores(
        self, code: NDArray[np.generic], prediction: NDArray[np.float64], weight: NDArray[Any] | None
    ) -> dict[str, float]:
        scores = self.task.score(code, prediction, weight)
        baseline = self.task.score(code, np.broadcast_to(self._constant, prediction.shape), weight)
        return scores | {f"baseline_{name}": value for name, value in baseline.items()}

    def _target_of(self, table: Table) -> NDArray[Any]:
        """The target as tasks want it: several side by side."""
        self._require_targets(table)
        y = {name: self._in_own_type(name, table[name]) for name in self.targets}
        return y[self.target] if isinstance(self.target, str) else side_by_side(y)

    def _require_targets(self, table: Table) -> None:
        for name in self.targets:
            if name not in table.names:
                raise SchemaError(
                    f"evaluating needs the target column {name!r}; got columns {listed(table.names)}."
                    f"{nearest(name, table.names)}"
                )

    def _in_own_type(self, name: str, y: NDArray[Any]) -> NDArray[Any]:
        """A target that was numbers at fit and comes as text, as numbers."""
        found = as_numbers_of_target(y) if self.task.kind == "regression" else None
        if found is None:
            return y
        numbers, odd, column = found
        unit = self.summary.get("target_units", {}).get(name, "")
        if column.unit not in ("", unit):
            raise DataError(
                f"The target {name!r} was numbers {f'in {unit}' if unit else 'without a unit'} at fit, and "
                f"is in "
                f"{column.unit} now. Make it the same."
            )
        if odd is not None:
            raise DataError(
                f"The target {name!r} is numbers, and every row needs one; {odd.in_words}. Mend the cells, "
                f"or "
                "leave these rows out."
            )
        return numbers

    @property
    def _constant(self) -> NDArray[np.float64]:
        """What the baseline says of any row; in files of before, class shares or the mean."""
        constant = self.summary.get("constant", self.summary.get("class_shares"))
        return np.array(getattr(self.task, "center", 0.0) if constant is None else constant)

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.networks, self.task.link, self.weights)

    def as_estimator(self) -> Any:
        """A fitted `MLPClassifier` or `MLPRegressor` that predicts as this model does.

        What takes a fitted estimator of scikit-learn takes it: `permutation_importance`, the displays of
        `sklearn.metrics`, `sklearn.calibration` and `sklearn.inspection`, `shap.Explainer`; and
        `cross_val_score` fits it anew with the settings of this fit. See `MLPClassifier.from_model`.

        Raises:
            ConfigError: there is no estimator of it, as it has an exposure, or several targets of labels
                other than 0 and 1, or came of scikit-learn's own algorithm.

        >>> import multilayer as ml
        >>> table = {"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": ["a", "a", "b", "b"] * 10}
        >>> ml.fit(table, target="y", epochs=2, members=2).as_estimator().classes_
        array(['a', 'b'], dtype='<U1')
        """
        return stage_above("estimators").estimator_of(self)

    def save(self, path: str | Path) -> None:
        """Write the model to one file. A crash on the way leaves what stood there before.

        Raises:
            OutputError: the folder is absent or not writable, or the disk is full.
        """
        write_atomically(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The file that `save` writes: safetensors, one JSON text in its metadata, no pickle."""
        return file_of(**{each.name: getattr(self, each.name) for each in fields(self)})

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Read a model that `save` wrote. Nothing in the file is run.

        Raises:
            ModelFileError: absent, truncated, changed since it was written, of a newer format, not a
                multilayer model, or one whose parts do not make a model.
        """
        data = read_bytes(Path(path))
        return cls._checked(*unpack(data, str(path), "Copy it again, or save the model again."), str(path))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Model":
        """The inverse of `to_bytes`. Nothing in the bytes is run.

        Raises:
            ModelFileError: as `load`.
        """
        found = unpack(data, f"the data of {len(data):,} bytes", "Pass what Model.to_bytes gave.")
        return cls._checked(*found, "the data")

    @classmethod
    def _checked(cls, meta: dict[str, Any], arrays: dict[str, NDArray[Any]], name: str) -> "Model":
        try:
            model = cls(**parts_of(meta, arrays, NetworkConfig, network_of))
            example = model.task.link(np.zeros((1, model.config.d_out), np.float32))
            is_number = np.isfinite(np.broadcast_to(model._constant, example.shape)).all()
            need(is_number, "its baseline is no number")
            states = [net.state_dict() for net in model.networks]
            if may_overflow([{name: value.numpy() for name, value in state.items()} for state in states]):
                model._check_answers()
            model._warm_up()
        except Exception as error:  # made to harm, a file may break anything that reads it
            raise ModelFileError(
                f"{name} has an intact checksum, but its parts do not make a model ({error}). "
                "Save the model again."
            ) from error
        return model

    def _warm_up(self) -> None:
        """Predict a row without values, and with a word where text is read.

        Whatever a prediction loads or makes once, such as SciPy for text, is there before the first request.
        Who predicts stays to be settled.
        """
        row = {column.name: ["a" if kind_of(column).is_free_text else None] for column in self.schema.columns}
        x = self._inputs(self._raw(row, None, "ignore"))
        with np.errstate(all="ignore"):
            Predictor(self.networks, self.task.link, self.weights, kernels=False)(x)

    def _check_answers(self) -> None:
        """Refuse weights with which rows at the ends of what an encoder gives have no finite prediction."""
        n, codes = self.config.n_num, self.config.cardinalities
        ends = np.array([[0.0] * n, [CLIP] * n, [-CLIP] * n], np.float32)
        x = np.concatenate(
            [ends, np.array([[0] * len(codes), [c - 1 for c in codes], [1] * len(codes)])], axis=1
        )
        x = x.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            prediction = Predictor(self.networks, self.task.link, self.weights, kernels=False)(x)
        check_finite(prediction, x)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in self.score.items() if "[" not in name)
        n = sum(p.numel() for net in self.networks for p in net.parameters())
        n_columns = counted(len(self.schema.names), "column")
        return (
            f"Model({self.task.in_words} of {listed(self.targets)}, {n_columns}, "
            f"{n:,} parameters; validation: {scores})"
        )


def stage_above(name: str) -> Any:
    """A stage of the pipeline that stands on models, loaded when a method hands over to it.

    name: of its module, below multilayer
    """
    with held_back():
        return import_module(f"multilayer.{name}")


def marks(encoder: Encoder, x: NDArray[np.float32], code: NDArray[np.generic]) -> list[NDArray[Any]]:
    """Columns that tell rows apart, target included, whether they are trained on or predicted.

    Target statistics do not: a training row has those of other folds.
    """
    of_target = {i for i, feature in enumerate(encoder.num_features) if feature.channel == "target"}
    columns = [x[:, i] for i in range(x.shape[1]) if i not in of_target]
    return [*columns, *code.astype(np.float32).reshape(len(code), -1).T]
