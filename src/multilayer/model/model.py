"""`Model`: trained networks with everything that is needed to predict from a raw table, in one safe file."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from multilayer.errors import DataError, SchemaError, counted, nearest
from multilayer.model.evidence import Evidence
from multilayer.model.first_words import first_words, html_words, next_steps
from multilayer.model.format import configs_of, file_of, nan_if_none
from multilayer.model.intervals import Conformal
from multilayer.model.networks import network_of
from multilayer.model.predictor import Predictor
from multilayer.model.statistics import Statistics
from multilayer.model.sure_model import SureModel
from multilayer.model.verification import Verification, synthetic_rows
from multilayer.nn.networks import NetworkConfig
from multilayer.output import write_atomically
from multilayer.signals import held_back
from multilayer.table.encode import Encoder
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
    """A fitted model, which makes predictions from a raw table.

    target:   name of the column that it predicts, or the names of several
    task:     what is predicted: the classes, or the units of the target
    encoder:  turns raw columns into numbers and codes; holds the `schema`
    config:   the architecture of the networks
    linear:   the architecture of the last network, if that is a linear one; None if all are alike
    networks: the trained networks, whose predictions are averaged
    histories: how each network trained; `history` is the first
    summary:  scores on the validation rows, decisions made for the user, details of the training, numbers of
              rows, seed, versions, times
    dropped:  columns that were left out at fit; tables to predict may have them or not
    weights:  weight of each network in the average; None weighs all alike
    notation: marks of missing values and separators that were declared at fit; they also apply to tables to
              predict
    exposure: column by which predictions are multiplied, as the target is learnt per unit of it; or None
    statistics: what the model keeps of the rows that it was fitted on; None in files of before
    conformal: errors on rows that it was not fitted on, from `conformalize`; None without
    verification: rows of the file that it was read from, and their predictions; None if there are none

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
    verification: Verification | None = None

    evidence: ClassVar[Evidence | None] = None  # rows that the fit held out, on a model that `fit` just gave

    @property
    def configs(self) -> tuple[NetworkConfig, ...]:
        """The architecture of each network, in the order of `networks`."""
        return configs_of(self.config, self.linear, len(self.networks))

    _config_class = NetworkConfig
    _network_of = staticmethod(network_of)

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
        """Score the model on a table that has the target, beside a baseline that uses no other column.

        Returns:
            log_loss, accuracy and, for two classes, roc_auc; or rmse, mae and r2. With several targets, the
            mean of each metric over the targets, and the metrics of each target, such as "rmse[price]". Each
            metric comes again with `baseline_` before its name: the score of always predicting the class
            shares, or the mean (median, ...), of the training rows. `trained_on` is the share of these rows
            that the model was trained on, estimated by a sample of hashes.

        With an exposure, scores are per unit of it, and rows are weighted by it, too. Rows that the model was
        trained on are scored with a warning; `model.score` comes from rows that were held out.

        Raises:
            SchemaError: the target column is absent, or as `predict`.
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
                "A model must be scored on rows that it was not trained on. It was trained on some "
                f"{share:.0%} of these {n_rows:,} rows, and may know them by heart. Evaluate it on other "
                "rows; model.score comes from rows that were held out.",
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
                f"The target {name!r} held numbers {f'in {unit}' if unit else 'without a unit'} at fit, and "
                f"is in {column.unit} now. Use the same unit."
            )
        if odd is not None:
            raise DataError(
                f"The target {name!r} holds numbers, and every row needs one; {odd.in_words}. Mend the "
                "cells, or leave these rows out."
            )
        return numbers

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.networks, self.task.link, self.weights)

    @property
    def _first_predictor(self) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
        return Predictor(self.networks, self.task.link, self.weights, kernels=False)

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

    def report(self, path: str | Path, table: Any = None, *, refits: bool = True) -> dict[str, Any]:
        """Write a page on how good the model is, why, and where it fails; one HTML file without a network.

        Scores with their spread beside simple models, calibration, the columns that matter and their curves,
        the rows and groups of rows that go worst, what more rows or columns would help, what was decided, and
        the code that fits it again. Beside `report.html` stands `report.json` with the same figures.

        Args:
            path: of the page; an `.html` file.
            table: rows to show the model on, with the target; best rows that it was not trained on. None, of
                a model that `fit` just gave, are up to 10,000 of the rows that its fit held out.
            refits: fit smaller models on shares of the rows and columns, to tell what would help; some three
                to ten times as long as the rest.

        Returns:
            What stands in `report.json`.

        Raises:
            ConfigError: no table, and the model came of a file or of a streamed table.
            OutputError: the file cannot be written.
            SchemaError, DataError: as `evaluate`.

        >>> import multilayer as ml
        >>> table = {"size": list(range(80)), "price": [2.5 * size for size in range(80)]}
        >>> model = ml.fit(table, target="price", epochs=2, members=2, validation=0.5)
        >>> found = model.report("report.html", refits=False)
        >>> sorted(found)[:4]
        ['calibration', 'columns', 'data', 'errors']
        """
        return stage_above("report.page").write_report(self, path, table, refits=refits)

    def save(self, path: str | Path, *, verify_on: Any = None) -> None:
        """Write the model to one file. If the program crashes meanwhile, a file that was there before is
        kept.

        Args:
            path: of the file.
            verify_on: a table of which the first dozen rows stand in the file with their predictions, for
                `verify` to check; None makes up rows from ranges and levels, so that none of yours is in it.

        Raises:
            OutputError: the folder is absent or not writable, or the disk is full.
            SchemaError: as `predict`, of the rows to verify on.
        """
        write_atomically(path, self.to_bytes(verify_on=verify_on))

    def export(
        self,
        to: str,
        out: str | Path,
        *,
        rows: Any = None,
        inputs: str = "columns",
        int8: bool = False,
        train_on: Any = None,
        author: str | None = None,
        license: str | None = None,
    ) -> Any:
        """Write the model for machines without this library: see `multilayer.export.write`."""
        return stage_above("export").write(
            self,
            to,
            out,
            rows=rows,
            inputs=inputs,
            int8=int8,
            train_on=train_on,
            author=author,
            license=license,
        )

    def to_bytes(self, *, verify_on: Any = None) -> bytes:
        """The file that `save` writes: safetensors, one JSON text in its metadata, no pickle."""
        rows = synthetic_rows(self.encoder)
        if verify_on is not None:
            rows = self._read(verify_on, None)
            self._inputs(rows)  # refuses what it cannot predict
        verification = Verification.of(rows, self.encoder, self._inputs, self._first_predictor)
        parts = {each.name: getattr(self, each.name) for each in fields(self)}
        return file_of(**parts | {"verification": verification})

    def __str__(self) -> str:
        return f"{first_words(self)}\n\n{next_steps()}"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html_words(self)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in self.score.items() if "[" not in name)
        n = sum(p.numel() for net in self.networks for p in net.parameters())
        n_columns = counted(len(self.schema.names), "column")
        return (
            f"Model({self.task.in_words} of {listed(self.targets)}, {n_columns}, {n:,} parameters; "
            f"validation: {scores})"
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
