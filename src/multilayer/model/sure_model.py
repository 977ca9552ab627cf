"""What a model says of its own predictions: intervals, sets of labels, flags."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from multilayer.errors import ConfigError, DataError, SchemaError, nearest
from multilayer.model.calibration import calibrated
from multilayer.model.conformal import Errors, errors_of
from multilayer.model.flags import Flags, flags_of
from multilayer.model.intervals import (
    Conformal,
    basis_in_words,
    check_coverage,
    conformalized,
    interval,
    label_set,
)
from multilayer.model.members import member_predictions, spread_by_target
from multilayer.model.statistics import Statistics
from multilayer.model.table_model import TableModel
from multilayer.table.levels import as_levels
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import Table
from multilayer.tasks.classification import Classification

MISSING = "(missing)"  # the group of rows without a value
FEWEST_TO_CALIBRATE = 50  # rows


def as_they_are(output: NDArray[np.float32]) -> NDArray[np.float64]:
    """Outputs of a network, without a link."""
    return output.astype(np.float64)


class SureModel(TableModel):
    """A model that knows by how much it is off.

    networks, weights, statistics, conformal: as `Model` has them
    """

    networks: list[nn.Module]
    weights: tuple[float, ...] | None
    statistics: Statistics | None
    conformal: Conformal | None

    @abstractmethod
    def _codes_and_weights(
        self, read: Table, sample_weight: Any
    ) -> tuple[NDArray[np.generic], NDArray[Any] | None]:
        """The target as the task codes it, and what rows weigh."""

    @abstractmethod
    def _share_seen(self, x: NDArray[np.float32], code: NDArray[np.generic]) -> float:
        """The share of rows that were trained on, beyond what repeats itself."""

    def predict(
        self, table: Any, *, query: str | None = None, extra: str = "warn", flags: bool = False
    ) -> Any:
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
                with a warning or without, "error" refuses the table.
            flags: also say what is unusual about each row: a pair of predictions and `Flags` comes back.

        A few cells that are not of their column's kind count as missing; a `TableWarning` names them.

        Raises:
            SchemaError: missing columns, or values that are not of their column's kind.
        """
        if not flags:
            return super().predict(table, query=query, extra=extra)
        read = self._read(table, query, extra)
        x = self._inputs(read)
        prediction = self.from_inputs(x)
        if self.exposure is not None:
            prediction = (prediction.T * self._exposure_of(read)).T
        return self.task.decide(prediction), self._flags_of(read, x)

    def predict_interval(
        self, table: Any, coverage: Any = 0.9, *, query: str | None = None, extra: str = "warn"
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The prediction of each row, and an interval that holds the truth in so large a share of rows.

        After `conformalize` the share holds exactly, on average over rows that are drawn as those were (split
        conformal prediction). Without, intervals are approximate: from the fit's own predictions of held-out
        rows, by which epochs were chosen, too. `interval_basis` says which. Bounds are at least 0 where the
        target must be.

        Shape:   prediction (n_rows,), bounds (n_rows, 2): lower, upper; with several targets (n_rows,
                 n_targets) and (n_rows, n_targets, 2), each with its own coverage
        Source:  Lei et al. 2018, arXiv:1604.04173; of quantiles Romano et al. 2019, arXiv:1905.03222

        Args:
            table: anything that `read_table` takes, with the columns of the fit.
            coverage: above 0 and below 1.
            query, extra: as `predict` has them.

        Raises:
            SchemaError: as `predict`; the model predicts classes; it knows nothing of its errors.
            ConfigError: no coverage, or one that takes more rows to tell than there were.

        >>> import multilayer as ml
        >>> x = np.arange(200.0)
        >>> model = ml.fit({"x": x, "y": x % 7 + x}, target="y", epochs=5, members=2)
        >>> prediction, bounds = model.predict_interval({"x": [50.0, 60.0]}, coverage=0.8)
        >>> bounds.shape, bool((bounds[:, 0] < prediction).all())
        ((2, 2), True)
        """
        coverage = check_coverage(coverage)
        if self.task.kind != "regression":
            raise SchemaError(f"predict_interval is for numbers; this model predicts {self._in_words}. "
                              "Use predict_set.")  # fmt: skip
        read = self._read(table, query, extra)
        x = self._inputs(read)
        prediction = self.from_inputs(x)
        spread, groups = self._spread_if_needed(x), self._groups(read)
        bounds = [
            interval(part, i, said, spread[:, i], coverage, self.conformal, self._errors(i), groups)
            for i, (part, said) in enumerate(
                zip(self.task.parts_of_targets, self.task.by_target(prediction), strict=True)
            )
        ]
        found = bounds[0] if len(self.targets) == 1 else np.stack(bounds, axis=1)
        decided = self.task.decide(prediction)
        if self.exposure is None:
            return decided, found
        amount = self._exposure_of(read)
        return (decided.T * amount).T, (found.T * amount).T

    def predict_set(
        self, table: Any, coverage: Any = 0.9, *, query: str | None = None, extra: str = "warn"
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The label of each row, and a set of labels that holds the true one in so large a share of rows.

        What coverage means is as in `predict_interval`. The harder a row, the larger its set. A set may be
        empty, where the model is right more often than was asked: no label is probable enough then.

        Shape:   labels (n_rows,), sets (n_rows, n_classes) in the order of `classes`; with several labels
                 (n_rows, n_labels) and (n_rows, n_labels, 2), each with its own coverage
        Source:  Sadinle et al. 2019, arXiv:1609.00451 (least ambiguous sets); of more than 10 classes
                 Angelopoulos et al. 2021, arXiv:2009.14193 (RAPS)

        Args:
            table: anything that `read_table` takes, with the columns of the fit.
            coverage: above 0 and below 1.
            query, extra: as `predict` has them.

        Raises:
            SchemaError: as `predict`; the model predicts numbers; it knows nothing of its errors.
            ConfigError: no coverage, or one that takes more rows to tell than there were.

        >>> import multilayer as ml
        >>> x = np.arange(200.0)
        >>> model = ml.fit({"x": x, "y": np.where(x < 100, "low", "high")}, target="y", epochs=5, members=2)
        >>> labels, sets = model.predict_set({"x": [5.0, 100.0]}, coverage=0.95)
        >>> sets.shape
        (2, 2)
        """
        coverage = check_coverage(coverage)
        if not self.task.has_probabilities:
            raise SchemaError(f"predict_set is for classes; this model predicts {self._in_words}. "
                              "Use predict_interval.")  # fmt: skip
        read = self._read(table, query, extra)
        prediction, groups = self.from_inputs(self._inputs(read)), self._groups(read)
        sets = []
        for i, (part, said) in enumerate(
            zip(self.task.parts_of_targets, self.task.by_target(prediction), strict=True)
        ):
            assert isinstance(part, Classification)
            sets.append(label_set(part, i, said, coverage, self.conformal, self._errors(i), groups))
        found = sets[0] if len(self.targets) == 1 else np.stack(sets, axis=1)
        return self.task.decide(prediction), found

    @property
    def interval_basis(self) -> str:
        """What `predict_interval` and `predict_set` tell from, and whether it is exact, in a sentence."""
        held_out = None if self.statistics is None else self.statistics.held_out
        return basis_in_words(self.conformal, None if held_out is None else held_out.n_rows)

    def conformalize(
        self,
        table: Any,
        *,
        method: str | None = None,
        by: str | None = None,
        query: str | None = None,
        extra: str = "warn",
    ) -> Any:
        """The same model with exact intervals and sets, from rows that it was not trained on.

        Split conformal prediction: coverage c holds on average over calibration rows and new ones, if both
        are drawn alike, whatever the model is like. A thousand rows fix it to about a percent. The scores are
        saved in the model's file, the rows are not.

        Args:
            table: rows with the target, none of which the model was trained on.
            method: how a row's error is measured. Numbers: "relative" to what is typical at such a prediction
                (the default), "absolute", or "spread": relative to the networks' disagreement. Quantiles:
                "quantile" (conformalized quantile regression). Classes: "lac", the smallest sets, or "raps",
                the default of more than 10 classes, whose coverage differs less between easy and hard rows.
            by: a column of the model; coverage holds within each of its values (Mondrian), each of which
                needs rows of its own. New values get what holds for all.
            query, extra: as `predict` has them.

        Raises:
            SchemaError: as `predict`; the target is absent.
            DataError: too few rows; or the model was trained on some of them.
            ConfigError: an unknown method or column.
        """
        read = self._read(table, query, extra)
        code, _ = self._codes_and_weights(read, None)
        x = self._inputs(read)
        if (share := self._share_seen(x, code)) > 0:
            raise DataError(
                f"conformal prediction needs rows that the model was not trained on; of these {len(code):,} "
                f"rows it was trained on some {share:.0%}. Set rows aside before the fit "
                "(ml.fit(calibration=0.2)), or pass others."
            )
        prediction = self.from_inputs(x)
        needs_spread = method == "spread"
        spread = self._spread(x) if needs_spread else np.zeros((len(x), len(self.targets)))
        held_out = None if self.statistics is None else self.statistics.held_out
        made = conformalized(
            self.task,
            code,
            prediction,
            spread,
            None if held_out is None else held_out.errors,
            method=method,
            by=by,
            groups=self._values(read, by),
        )
        model: Any = replace(self, conformal=made)  # type: ignore[type-var]
        if "evidence" in vars(self):  # of this process, for `Model.report`
            vars(model)["evidence"] = vars(self)["evidence"]
        return model

    def calibrate(self, table: Any, *, query: str | None = None, extra: str = "warn") -> Any:
        """The same model with probabilities corrected by rows that it was not trained on, if that helps.

        Of two classes the networks' log-odds are scaled and shifted (Platt), of more scaled (a temperature),
        so that the log loss of these rows is least; but only if that lowers the loss by more than a standard
        error in cross-validation. The last of `summary["decisions"]` says what was done. After a correction
        the model has to be conformalized again.

        Source:  Platt 1999; Guo et al. 2017, arXiv:1706.04599

        Args:
            table: rows with the target, none of which the model was trained on.
            query, extra: as `predict` has them.

        Raises:
            SchemaError: as `predict`; the target is absent; the model does not predict one target of classes.
            DataError: too few rows; or the model was trained on some of them.
        """
        task = self.task
        if not isinstance(task, Classification):
            raise SchemaError(
                f"calibrate is for one target of classes; this model predicts {self._in_words}. Of numbers, "
                "conformalize corrects the intervals."
            )
        read = self._read(table, query, extra)
        code, _ = self._codes_and_weights(read, None)
        x = self._inputs(read)
        if len(x) < FEWEST_TO_CALIBRATE:
            raise DataError(f"calibration needs at least {FEWEST_TO_CALIBRATE} rows; got {len(x)}. Add some.")
        if (share := self._share_seen(x, code)) > 0:
            raise DataError(
                f"calibration needs rows that the model was not trained on; of these {len(code):,} rows it "
                f"was trained on some {share:.0%}. Pass others."
            )
        outputs = member_predictions(self.networks, as_they_are, x)
        weights = np.ones(len(outputs)) if self.weights is None else np.asarray(self.weights, np.float64)
        codes = code.astype(np.int64)
        found, said = calibrated(task, outputs, weights / weights.sum(), codes)
        summary = vars(self)["summary"]
        changes: dict[str, Any] = {"summary": {**summary, "decisions": [*summary.get("decisions", ()), said]}}
        if found is not task:
            each = np.stack([found.link(one.astype(np.float32)) for one in outputs])
            probs = np.tensordot(weights / weights.sum(), each, 1)
            settled, _ = found.settle(codes, probs)
            changes |= {"task": settled, "conformal": None}
            changes["statistics"] = self._statistics_of(
                found, codes, probs, spread_by_target(found, each, self.weights)
            )
        return replace(self, **changes)  # type: ignore[type-var]

    def _statistics_of(
        self,
        task: Classification,
        code: NDArray[np.int64],
        probs: NDArray[np.float64],
        spread: NDArray[np.float64],
    ) -> Statistics | None:
        """What is known of errors, from other rows than those of the fit."""
        if self.statistics is None or self.statistics.held_out is None:
            return self.statistics
        errors = errors_of(task, code, probs, None, spread)
        return replace(
            self.statistics,
            held_out=replace(self.statistics.held_out, n_rows=len(code), folds=False, errors=errors),
        )

    def flags(self, table: Any, *, query: str | None = None, extra: str = "warn") -> Flags:
        """What is unusual about each row: see `Flags`.

        Raises:
            SchemaError: as `predict`.

        >>> import multilayer as ml
        >>> x = np.arange(200.0)
        >>> model = ml.fit({"x": x, "y": x}, target="y", epochs=2, members=2)
        >>> found = model.flags({"x": [50.0, 1000.0, None]})
        >>> found.words(1), found.words(2)
        ("'x': out of range; far from all training rows", "'x': missing, which it never was")
        """
        read = self._read(table, query, extra)
        return self._flags_of(read, self._inputs(read))

    def _flags_of(self, read: Table, x: NDArray[np.float32]) -> Flags:
        return flags_of(read, x, self.encoder, self.statistics, self._spread(x))

    def _spread(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """By how much the networks disagree about each target (n_rows, n_targets)."""
        by_member = member_predictions(self.networks, self.task.link, x)
        return spread_by_target(self.task, by_member, self.weights)

    def _spread_if_needed(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        if self.conformal is not None and self.conformal.method == "spread":
            return self._spread(x)
        return np.zeros((len(x), len(self.targets)))

    def _errors(self, target: int) -> Errors | None:
        held_out = None if self.statistics is None else self.statistics.held_out
        return None if held_out is None else held_out.errors[target]

    def _groups(self, read: Table) -> NDArray[np.object_] | None:
        return None if self.conformal is None else self._values(read, self.conformal.by)

    def _values(self, read: Table, by: str | None) -> NDArray[np.object_] | None:
        """A column's values as text, by which rows are grouped."""
        if by is None:
            return None
        if by not in self.schema.names:
            raise ConfigError(
                f"by must be a column that the model uses, one of {listed(self.schema.names)}; got {by!r}."
                f"{nearest(str(by), self.schema.names)}"
            )
        levels = as_levels(read[by])
        return np.array([MISSING if level is None else level for level in levels.tolist()], object)
