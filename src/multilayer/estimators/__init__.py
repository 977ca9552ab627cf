"""MLPClassifier and MLPRegressor: a drop-in for `sklearn.neural_network`, by the recipe or its own algorithm.

This file and `estimator_*.py` alone speak scikit-learn (`X`, `random_state`, `classes_`); they translate at
the door and call `recipe.fit` or `textbook.solver.fit`.
"""

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_array, check_random_state, column_or_1d, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from multilayer.errors import ConfigError, DataError, warn
from multilayer.estimators.attributes import (
    constant_model,
    missing_attribute,
    recipe_attribute,
    textbook_model,
)
from multilayer.estimators.input import (
    as_column,
    as_labels,
    as_numbers,
    check_same_rows,
    check_size,
    check_weight,
    checked_labels,
    holds_numbers,
    is_frame,
    is_sparse,
    medians,
    plain_encoder,
    refuse_masked,
    tell_new_levels,
    unmasked,
    without_odd_cells,
)
from multilayer.estimators.settings import check_settings, recipe_settings, textbook_settings, why_textbook
from multilayer.machine import n_cores
from multilayer.model.model import Model
from multilayer.recipe.fit import fit as fit_recipe
from multilayer.table.encode import Encoder
from multilayer.table.odd_cells import as_learnt
from multilayer.table.schema import Kind as ColumnKind
from multilayer.table.schema import Schema
from multilayer.table.sources.frames import tell_other_order
from multilayer.table.sources.names import column_names
from multilayer.table.sources.read import Table, read_table
from multilayer.tasks.classification import same_labels
from multilayer.tasks.task import Kind as TaskKind
from multilayer.textbook import solver
from multilayer.textbook.network import Textbook, Weights, draw_weights, outputs
from multilayer.training.loop import Progress

_F = TypeVar("_F")

if TYPE_CHECKING:

    def no_type_check(function: _F) -> _F:
        """Let type checkers see what `typing.no_type_check` would hide from them."""
        return function
else:
    from typing import no_type_check

__all__ = ["MLPClassifier", "MLPRegressor"]

logger = logging.getLogger("multilayer")

Weight = NDArray[np.float64] | None


class _Estimator(BaseEstimator, ABC):
    """What the classifier and the regressor share: tags, X, both algorithms, attributes, pickling."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.sparse = True
        return tags

    def __getattr__(self, name: str) -> Any:
        """Fitted attributes that are read off the model, or the model off them; called for absent names."""
        fitted = self.__dict__
        if name == "model_" and "coefs_" in fitted:
            return textbook_model(self)
        if "model_" in fitted and (value := recipe_attribute(fitted["model_"], name)) is not None:
            return value
        raise AttributeError(missing_attribute(type(self).__name__, name, fitted))

    def __getstate__(self) -> dict[str, Any]:
        """Settings and attributes, the model as the bytes of a model file: safe to read, and small."""
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = state["model_"].to_bytes()
        if state.get("_encoder") is not None:
            state["_encoder"] = state["_encoder"].state()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "model_" in state:
            state["model_"] = Model.from_bytes(bytes(state["model_"]))
        if state.get("_encoder") is not None:
            state["_encoder"] = Encoder.from_state(*state["_encoder"])
        super().__setstate__(state)

    # ---- X

    def _check_table(self, X: Any, *, reset: bool) -> Table:
        """X as a Table named like the one at fit, or x0, x1, ... when that had no names."""
        X = unmasked(X)
        if is_frame(X):
            table = read_table(X)
            validate_data(self, X, reset=reset, skip_check_array=True)
            check_size(table, min_rows=2 if reset else 1)
        else:
            finite = "allow-nan" if self.infinite == "error" else False
            rules: dict[str, Any] = {"dtype": None, "ensure_all_finite": finite}
            X = validate_data(self, X, reset=reset, ensure_min_samples=2 if reset else 1, **rules)
            table = read_table(without_odd_cells(X))
        names = self._column_names(len(table.names))
        # Lists in a frame are columns with names of their own.
        return table.rename(names) if len(names) == len(table.names) else table

    def _checked_y(self, y: Any, **rules: Any) -> NDArray[Any]:
        """The target as scikit-learn checks it, which takes X for nameless and forgets its names."""
        refuse_masked(y)
        names = vars(self).get("feature_names_in_")
        checked: NDArray[Any] = validate_data(self, X="no_validation", y=y, **rules)
        if names is not None:
            self.feature_names_in_: NDArray[Any] = names
        return checked

    def _column_names(self, n: int) -> list[str]:
        names = getattr(self, "feature_names_in_", None)
        return [f"x{i}" for i in range(n)] if names is None else list(column_names(names))

    def _plain_rows(self, X: Any, *, reset: bool, learns: bool = False) -> Any:
        """X as the textbook's network reads it: a matrix of floats, sparse if X is."""
        X = unmasked(X)
        if reset:
            self._encoder: Encoder | None = None
            if not holds_numbers(X) or getattr(self, "kinds", None):
                table = self._check_table(X, reset=True)
                self._encoder = plain_encoder(table, self.kinds)
                return _plain_numbers(self._encoder, table)
        elif vars(self).get("_encoder") is not None:
            encoder: Encoder = vars(self)["_encoder"]
            table = self._check_table(X, reset=False)
            if learns:
                tell_new_levels(encoder, table)
            return _plain_numbers(encoder, table)
        dtypes = (np.float64, np.float32)
        if is_sparse(X):
            return validate_data(self, X, reset=reset, accept_sparse=["csr", "csc"], dtype=dtypes).tocsr()
        if is_frame(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            X = check_array(as_numbers(X), dtype=dtypes, ensure_all_finite="allow-nan", estimator=self)
        else:
            X = validate_data(self, X, reset=reset, dtype=dtypes, ensure_all_finite="allow-nan")
        if reset:
            self._fills = medians(X)
        fills = vars(self).get("_fills", np.zeros(X.shape[1]))
        return np.where(np.isnan(X), fills, X).astype(X.dtype) if np.isnan(X).any() else X

    # ---- fitting

    def _textbook_reason(self, X: Any) -> str | None:
        """Why scikit-learn's own algorithm is to run; None for the recipe."""
        reason = why_textbook(self.get_params(deep=False))
        return reason if reason or not is_sparse(X) else "a sparse X"

    def _fit_recipe(self, X: Any, y: NDArray[Any], weight: Weight, task: TaskKind) -> None:
        """Fit the recipe on checked targets; a weight of 0 is a row that is not there."""
        table = self._check_table(X, reset=True)
        check_same_rows(table.n_rows, len(y))
        if weight is not None and not weight.all():
            rows = np.flatnonzero(weight)
            table, y, weight = table.take(rows), y[rows], weight[rows]
        if task == "regression" and (y == y[:1]).all():
            self._set_model(constant_model(table, y))
            return
        params = self.get_params(deep=False)
        self._set_model(
            fit_recipe(
                table,
                y=y if y.ndim == 2 else as_column(y),
                task=task,
                sample_weight=weight,
                seed=_seed(params["random_state"]),
                n_threads=_threads(params["n_jobs"]),
                callbacks=[_report] if params["verbose"] else (),
                **recipe_settings(params),
            )
        )

    def _set_model(self, model: Model) -> None:
        model.summary["decisions"] = [
            *model.summary["decisions"],
            "algorithm: the recipe, as no setting asks for scikit-learn's own (solver='adam' would)",
        ]
        self.model_: Model = model
        self.loss_curve_: list[float] = [float(loss) for loss in model.history.train_loss]
        self.loss_: float = self.loss_curve_[-1] if self.loss_curve_ else 0.0
        self.n_iter_: int = len(self.loss_curve_)

    def _forget(self) -> None:
        """Drop what an earlier fit left, but for what scikit-learn's checks of X keep."""
        kept = ("n_features_in_", "feature_names_in_")
        for name in [name for name in vars(self) if name.endswith("_") and name not in kept]:
            delattr(self, name)
        for name in ("_encoder", "_fills", "_optimizer", "_best_weights", "_steps", "_reason"):
            self.__dict__.pop(name, None)

    def _fit_textbook(
        self, x: Any, y: NDArray[Any], weight: Weight, loss: str, reason: str, *, one_epoch: bool
    ) -> None:
        """Train on checked rows from `coefs_`, or from new weights; y is (n_rows, n_outputs)."""
        params = self.get_params(deep=False)
        settings = textbook_settings(params, loss, type(self).__name__, reason)
        if one_epoch and settings.early_stopping:
            raise ConfigError("partial_fit does not support early_stopping=True")
        if params["verbose"]:
            settings = replace(settings, report=_write)
        rng = check_random_state(params["random_state"])
        if "coefs_" not in vars(self):
            self._start(settings, x, y, rng)
        if self.n_outputs_ != y.shape[1]:
            raise DataError(f"y must have {self.n_outputs_} columns as before; got {y.shape[1]}.")
        self._reason = reason
        run = self._run(settings)
        try:
            solver.fit(run, settings, x, y, weight, self.out_activation_, rng, one_epoch=one_epoch)
        finally:
            self._publish(run, settings)

    def _start(self, settings: Textbook, x: Any, y: NDArray[Any], rng: np.random.RandomState) -> None:
        sizes = [x.shape[1], *settings.hidden, y.shape[1]]
        weights = draw_weights(sizes, settings.activation, rng, x.dtype)
        self.coefs_: list[NDArray[Any]] = weights.coefs
        self.intercepts_: list[NDArray[Any]] = weights.intercepts
        self.n_layers_, self.n_outputs_ = len(sizes), y.shape[1]
        self.out_activation_ = self._link(settings, y.shape[1])
        self._publish(solver.Run.start(settings, weights), settings)

    @abstractmethod
    def _link(self, settings: Textbook, n_outputs: int) -> str:
        """What the textbook's outputs go through: scikit-learn's `out_activation_`."""

    def _run(self, settings: Textbook) -> solver.Run:
        """Where training stands, from the attributes, which may be set by hand."""
        fitted = vars(self)
        run = solver.Run.start(settings, Weights(list(self.coefs_), list(self.intercepts_)))
        run.optimizer, run.steps = fitted.get("_optimizer"), fitted.get("_steps", 0)
        run.t, run.best_loss = fitted.get("t_", 0), fitted.get("best_loss_", run.best_loss)
        run.loss_curve = fitted.get("loss_curve_", run.loss_curve)
        run.no_improvement_count = fitted.get("_no_improvement_count", 0)
        if settings.early_stopping and fitted.get("validation_scores_"):
            run.validation_scores = fitted["validation_scores_"]
            run.best_validation_score = fitted["best_validation_score_"]
            run.best_weights = fitted["_best_weights"]
        return run

    def _publish(self, run: solver.Run, settings: Textbook) -> None:
        self.coefs_, self.intercepts_ = run.weights.coefs, run.weights.intercepts
        self.t_, self.n_iter_, self._steps = run.t, run.epochs, run.steps
        self._engine = run.engine
        if np.isfinite(run.loss) or run.epochs:
            self.loss_ = run.loss
        if settings.solver == "lbfgs":
            return
        self.loss_curve_, self.best_loss_ = run.loss_curve, run.best_loss
        self.validation_scores_: list[float] | None = run.validation_scores
        self.best_validation_score_: float | None = run.best_validation_score
        self._no_improvement_count = run.no_improvement_count
        self._optimizer, self._best_weights = run.optimizer, run.best_weights

    def _has_partial_fit(self) -> bool:
        if getattr(self, "solver", None) != "lbfgs":
            return True
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )

    def _leave_recipe(self) -> None:
        """Start a new network where the recipe was fitted: its several networks cannot go on as one."""
        if "model_" not in vars(self):
            return
        logger.warning(
            "partial_fit starts a new network of scikit-learn's own algorithm: this %s was fitted by the "
            "recipe, which it cannot go on from. Fit with solver='adam' to go on.",
            type(self).__name__,
        )
        classes = vars(self).get("classes_")
        self._forget()
        if classes is not None:
            self.classes_ = classes

    # ---- predicting

    def _outputs(self, X: Any) -> NDArray[Any]:
        """The textbook's outputs, (n_rows, n_outputs)."""
        activation = getattr(self, "activation", None) or "relu"
        weights = Weights(self.coefs_, self.intercepts_)
        return outputs(weights, self._plain_rows(X, reset=False), activation, self.out_activation_)

    @property
    def _is_textbook(self) -> bool:
        return "coefs_" in vars(self)


class MLPClassifier(ClassifierMixin, _Estimator):
    """A multilayer perceptron that tells classes apart: a drop-in for `sklearn.neural_network.MLPClassifier`.

    By default the recipe of `multilayer.fit`: tables as they are, several networks, epochs chosen on
    validation rows. A setting that only scikit-learn's own algorithm has (`solver`, `learning_rate`, `tol`,
    `warm_start`, ..., also `partial_fit` and a sparse X) selects that algorithm, the textbook: one plain
    network on numbers as they come, the same weights drawn and the same rows shuffled as by scikit-learn.
    What ran, and why, stands in `model_.summary["decisions"]`.

    Shape:   X: (n_rows, n_columns) array, pandas, polars or Arrow frame, or sparse matrix; numbers, booleans,
             categories, text, dates and missing values as they are.
             y: (n_rows,) labels: text, integers or booleans; `predict` gives them back; or (n_rows, n_labels)
             of 0 and 1, for several labels at once.
    Source:  names, contract and textbook algorithm of `sklearn.neural_network.MLPClassifier` (1.9)
    Differs: what None means, see docs/compatibility.md; float32 on networks of more than some 1,000 steps

    Args:
        hidden_layer_sizes: width of each hidden layer, first to last; an int means one layer.
        activation: "relu", "tanh", "logistic" or "identity"; for the recipe any name of `mlp`.
        solver: "adam", "sgd" or "lbfgs" select the textbook.
        alpha: L2 of the textbook; for the recipe the decoupled weight decay of its optimisers.
        batch_size: rows in one optimiser step; "auto" is up to 200 rows, or what the recipe chooses.
        learning_rate: "constant", "invscaling" or "adaptive" (textbook, solver="sgd").
        learning_rate_init: the learning rate; of the recipe, the highest that its schedule reaches (AdamW's;
            matrices of hidden layers take twenty times that, by Muon).
        power_t: exponent of "invscaling" (textbook).
        max_iter: most epochs.
        shuffle: False keeps the order of the rows (textbook).
        random_state: an int gives the same model at every fit. A RandomState, or None for NumPy's global one,
            is drawn from at each fit.
        tol, n_iter_no_change: the textbook stops after so many epochs without a training loss (or validation
            score) better by tol; the recipe after so many without a better validation loss.
        verbose: write a line an epoch to standard output.
        warm_start: True goes on from the last fit (textbook).
        momentum, nesterovs_momentum: of solver="sgd". beta_1, beta_2, epsilon: of solver="adam".
        early_stopping: False trains on all rows (textbook); True, without a setting of the textbook's, is
            what the recipe does in any case.
        validation_fraction: share of the rows held out; None: 0.1, or of the recipe each network's own.
        max_fun: most evaluations of solver="lbfgs".
        class_weight: "balanced", or label -> weight; multiplied into the weights of the rows.
        quality: "fast" takes some two fifths of the time of "default", "best" three times as much.
        members: networks that the recipe trains side by side.
        time_budget: seconds for the fit; where they are short, the recipe trains fewer networks.
        kinds: column name -> "number", "boolean", "category" or "date", where the guess would be wrong. The
            columns of a NumPy array are called x0, x1, ...
        schema: what `infer_schema` gave for X and you edited, or a JSON file of it (recipe).
        missing: marks of missing values, such as ("?", -999), or column name -> marks (recipe).
        infinite: "error" refuses infinite numbers in X; "clip" takes them for the largest and smallest finite
            number of their column, at prediction too (recipe).
        threshold: of two classes or several labels: the probability from which on `predict` says the second,
            or the metric by which validation rows choose it: "f1", "balanced_accuracy", "accuracy" or "mcc"
            (recipe).
        monotone: column name -> "increasing" or "decreasing": the prediction, or the probability of the
            second of two classes, never falls (rises) with that column (recipe).
        network: a network of the literature, as its paper trains it, in place of the recipe's own.
        n_jobs: networks that the recipe trains at a time; None is all cores. Of the textbook, threads of a
            matrix product; None is one.

    Attributes, after `fit` (docs/compatibility.md says which of scikit-learn's others are there):
        classes_: labels in sorted order; the columns of `predict_proba`.
        model_: the fitted Model: `model_.save(path)` writes one safe file.
        loss_curve_, loss_: training loss of each epoch, and of the last one.
        n_iter_: epochs that ran.
        coefs_, intercepts_: matrices and intercepts of the layers; of the recipe's first network, the first
            matrix acting on encoded columns.
        n_features_in_, feature_names_in_: columns seen in `fit`; names only if all are text.

    Raises:
        ConfigError: a setting is out of its range, or settings contradict each other.
        DataError: y is missing somewhere or has one class only; X cannot be read.
        SchemaError: X at prediction does not hold what X held in `fit`.

    >>> X = [[0.0, "red"], [0.1, "red"], [0.9, "blue"], [1.0, "blue"]] * 10
    >>> y = ["no", "no", "yes", "yes"] * 10
    >>> classifier = MLPClassifier(max_iter=20, random_state=0).fit(X, y)
    >>> classifier.predict([[0.05, "red"], [0.95, "blue"]])
    array(['no', 'yes'], dtype='<U3')
    """

    @no_type_check  # scikit-learn's contract: storing never raises, whatever comes; `fit` is the judge
    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | None = None,
        activation: str | None = None,
        *,
        solver: Literal["adam", "sgd", "lbfgs"] | None = None,
        alpha: float | None = None,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] | None = None,
        learning_rate_init: float | None = None,
        power_t: float | None = None,
        max_iter: int | None = None,
        shuffle: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
        tol: float | None = None,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float | None = None,
        nesterovs_momentum: bool | None = None,
        early_stopping: bool | None = None,
        validation_fraction: float | None = None,
        beta_1: float | None = None,
        beta_2: float | None = None,
        epsilon: float | None = None,
        n_iter_no_change: float | None = None,
        max_fun: int | None = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        threshold: float | str | None = None,
        quality: Literal["fast", "default", "best"] = "default",
        members: int | None = None,
        time_budget: float | None = None,
        kinds: Mapping[str, ColumnKind] | None = None,
        schema: Schema | str | PathLike[str] | None = None,
        missing: Any = (),
        infinite: Literal["error", "clip"] = "error",
        monotone: Mapping[str, str | int] | None = None,
        network: Literal["default", "mlp", "resnet", "realmlp", "tabm"] = "default",
        n_jobs: int | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.class_weight = class_weight
        self.threshold = threshold
        self.quality = quality
        self.members = members
        self.time_budget = time_budget
        self.kinds = kinds
        self.schema = schema
        self.missing = missing
        self.infinite = infinite
        self.monotone = monotone
        self.network = network
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPClassifier":
        """Fit on a table and its labels; a weight of 2 counts twice in the loss, a weight of 0 not at all."""
        check_settings(self.get_params(deep=False), type(self).__name__)
        tell_other_order(X, {"y": y, "sample_weight": sample_weight}, "X")
        labels = self._labels(y)
        if reason := self._textbook_reason(X):
            self._fit_classes(X, labels, sample_weight, reason)
            return self
        self._forget()
        weight = self._row_weights(labels, sample_weight)
        counted = labels if weight is None else labels[weight > 0]
        classes = np.arange(labels.shape[1]) if labels.ndim == 2 else np.unique(counted)
        if len(classes) < 2:
            raise DataError(
                f"{type(self).__name__} needs rows of at least 2 classes; y holds 1 class with a weight "
                f"above 0: {classes.tolist()[0]!r}. Add rows of another class."
            )
        self.classes_: NDArray[Any] = classes
        if labels.ndim == 2:
            self._fit_recipe(X, (labels != 0).astype(np.int64), weight, "multilabel")
        else:
            self._fit_recipe(X, labels, weight, "binary" if len(classes) == 2 else "multiclass")
        return self

    @available_if(lambda estimator: estimator._has_partial_fit())
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> "MLPClassifier":
        """Go through the rows once, by scikit-learn's own algorithm.

        Args:
            classes: all labels that will ever come; needed at the first call, and the same at any later one.

        Raises:
            ConfigError: the estimator stops early.
        """
        check_settings(self.get_params(deep=False), type(self).__name__)
        tell_other_order(X, {"y": y, "sample_weight": sample_weight}, "X")
        self._leave_recipe()
        if "classes_" not in vars(self):
            if classes is None:
                raise DataError("classes must be passed on the first call to partial_fit.")
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise DataError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}"
            )
        if isinstance(self.class_weight, str):
            raise ConfigError(
                "class_weight='balanced' needs all rows at once, which partial_fit does not see. Pass a "
                "mapping of labels to weights."
            )
        reason = why_textbook(self.get_params(deep=False)) or "partial_fit"
        self._fit_classes(X, self._labels(y), sample_weight, reason, one_epoch=True)
        return self

    def _labels(self, y: Any) -> NDArray[Any]:
        return checked_labels(self._checked_y(as_labels(y), multi_output=True))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of rows whose label is predicted; labels may be of another type than at fit, as "1" for 1."""
        check_is_fitted(self)
        labels = np.asarray(as_labels(y))
        if labels.ndim == 1 and labels.dtype.kind != self.classes_.dtype.kind:
            place_of = same_labels(labels.tolist(), self.classes_.tolist())
            places = [place_of[label] for label in labels.tolist()]
            if None not in places:
                labels = self.classes_[np.array(places, np.int64)]
        return float(super().score(X, labels, sample_weight))

    def _row_weights(self, labels: NDArray[Any], sample_weight: Any) -> Weight:
        weight = None if sample_weight is None else check_weight(sample_weight, len(labels))
        if self.class_weight is None:
            return weight
        try:
            of_class = compute_sample_weight(self.class_weight, labels)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                "class_weight must be 'balanced', a mapping of labels to weights, or a list of such, one for "
                f"each label; got {self.class_weight!r} ({error}). Name each class that y holds."
            ) from None
        return of_class if weight is None else of_class * weight

    def _fit_classes(
        self, X: Any, labels: NDArray[Any], sample_weight: Any, reason: str, *, one_epoch: bool = False
    ) -> None:
        """The textbook on labels: new, warm, or one further epoch."""
        goes_on = "coefs_" in vars(self) and (one_epoch or self.warm_start)
        if goes_on or (one_epoch and "classes_" in vars(self)):
            self._check_classes(labels, all_of_them=self.warm_start and not one_epoch)
        else:
            self._forget()
            self.classes_ = np.arange(labels.shape[1]) if labels.ndim == 2 else np.unique(labels)
        x = self._plain_rows(X, reset=not goes_on, learns=True)
        check_same_rows(x.shape[0], len(labels))
        weight = self._row_weights(labels, sample_weight)
        self._is_multilabel = labels.ndim == 2
        y = _coded(labels, self.classes_)
        self._fit_textbook(x, y, weight, "log_loss", reason, one_epoch=one_epoch)

    def _check_classes(self, labels: NDArray[Any], *, all_of_them: bool) -> None:
        classes = np.arange(labels.shape[1]) if labels.ndim == 2 else np.unique(labels)
        if all_of_them and set(classes.tolist()) != set(self.classes_.tolist()):
            raise DataError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        if len(np.setdiff1d(classes, self.classes_)):
            raise DataError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {classes}."
            )

    def _link(self, settings: Textbook, n_outputs: int) -> str:
        return "softmax" if n_outputs > 1 and not self._is_multilabel else "logistic"

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable label of each row, of the dtype that y had: (n_rows,); or 0 and 1 for each label."""
        check_is_fitted(self)
        if self._is_textbook and self.n_outputs_ == 1:  # of one class, or two
            return self.classes_[(self._outputs(X)[:, 0] > 0.5).astype(int) * (len(self.classes_) > 1)]
        if not self._is_textbook and self.threshold is not None:
            said = np.asarray(self.model_.predict(self._check_table(X, reset=False)))
            return said.astype(self.classes_.dtype, copy=False)
        probs = self.predict_proba(X)
        if self._has_several_labels:
            return (probs > 0.5).astype(np.int64)
        return self.classes_[probs.argmax(axis=1)]

    @property
    def _has_several_labels(self) -> bool:
        return self._is_multilabel if self._is_textbook else self.model_.task.kind == "multilabel"

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Probability of each class, columns as in `classes_`: (n_rows, n_classes); or of each label."""
        check_is_fitted(self)
        if self._is_textbook:
            out = self._outputs(X)
            return out if out.shape[1] > 1 else np.hstack([1 - out, out])
        probs = np.asarray(self.model_.predict_proba(self._check_table(X, reset=False)), dtype=np.float64)
        if self._has_several_labels:
            return probs
        labels = self.classes_.tolist()
        place = same_labels(labels, self.model_.task.classes)  # which may hold them as text
        return probs[:, np.array([place[label] for label in labels], np.int64)]

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Natural logarithm of `predict_proba`; -inf where that is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


class MLPRegressor(RegressorMixin, _Estimator):
    """A multilayer perceptron that predicts numbers: a drop-in for `sklearn.neural_network.MLPRegressor`.

    Shape:   X: as `MLPClassifier`. y: (n_rows,) numbers, or (n_rows, n_targets).
    Source:  names, contract and textbook algorithm of `sklearn.neural_network.MLPRegressor` (1.9)
    Differs: as `MLPClassifier` does; the recipe standardises y inside and gives it back in its own units, and
             keeps predictions inside the range of y. If y is the same in all rows, that is what is predicted

    Args:
        loss: "squared_error" or, by the textbook alone, "poisson".
        objective: what the recipe aims at, as of `multilayer.fit`: "squared_error", "absolute_error",
            "huber", "quantile", "poisson", "gamma", "tweedie" or "log".
        quantiles: of y, ascending, such as (0.1, 0.5, 0.9), for `predict_quantiles`; `predict` gives the one
            nearest to the median (recipe).

    The other settings, attributes after `fit`, and errors: as `MLPClassifier`, without `classes_` and
    `class_weight` and `threshold`.

    >>> X = np.linspace(0, 1, 100)[:, None]
    >>> regressor = MLPRegressor(max_iter=30, random_state=0).fit(X, 3 * X[:, 0])
    >>> regressor.predict(X).shape
    (100,)
    """

    @no_type_check  # as above
    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | None = None,
        activation: str | None = None,
        *,
        loss: Literal["squared_error", "poisson"] | None = None,
        solver: Literal["adam", "sgd", "lbfgs"] | None = None,
        alpha: float | None = None,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] | None = None,
        learning_rate_init: float | None = None,
        power_t: float | None = None,
        max_iter: int | None = None,
        shuffle: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
        tol: float | None = None,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float | None = None,
        nesterovs_momentum: bool | None = None,
        early_stopping: bool | None = None,
        validation_fraction: float | None = None,
        beta_1: float | None = None,
        beta_2: float | None = None,
        epsilon: float | None = None,
        n_iter_no_change: float | None = None,
        max_fun: int | None = None,
        objective: str | None = None,
        quantiles: Sequence[float] | float | None = None,
        quality: Literal["fast", "default", "best"] = "default",
        members: int | None = None,
        time_budget: float | None = None,
        kinds: Mapping[str, ColumnKind] | None = None,
        schema: Schema | str | PathLike[str] | None = None,
        missing: Any = (),
        infinite: Literal["error", "clip"] = "error",
        monotone: Mapping[str, str | int] | None = None,
        network: Literal["default", "mlp", "resnet", "realmlp", "tabm"] = "default",
        n_jobs: int | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.objective = objective
        self.quantiles = quantiles
        self.quality = quality
        self.members = members
        self.time_budget = time_budget
        self.kinds = kinds
        self.schema = schema
        self.missing = missing
        self.infinite = infinite
        self.monotone = monotone
        self.network = network
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPRegressor":
        """Fit on a table and its target; a weight of 2 counts twice in the loss, a weight of 0 not at all."""
        check_settings(self.get_params(deep=False), type(self).__name__)
        tell_other_order(X, {"y": y, "sample_weight": sample_weight}, "X")
        target = self._target(y)
        if reason := self._textbook_reason(X):
            self._fit_numbers(X, target, sample_weight, reason)
            return self
        self._forget()
        weight = None if sample_weight is None else check_weight(sample_weight, len(target))
        self._fit_recipe(X, target.astype(np.float64), weight, "regression")
        return self

    @available_if(lambda estimator: estimator._has_partial_fit())
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPRegressor":
        """Go through the rows once, by scikit-learn's own algorithm.

        Raises:
            ConfigError: the estimator stops early.
        """
        check_settings(self.get_params(deep=False), type(self).__name__)
        tell_other_order(X, {"y": y, "sample_weight": sample_weight}, "X")
        self._leave_recipe()
        reason = why_textbook(self.get_params(deep=False)) or "partial_fit"
        self._fit_numbers(X, self._target(y), sample_weight, reason, one_epoch=True)
        return self

    def _target(self, y: Any) -> NDArray[Any]:
        target = self._checked_y(y, y_numeric=True, multi_output=True)
        return column_or_1d(target, warn=True) if target.ndim == 2 and target.shape[1] == 1 else target

    def _fit_numbers(
        self, X: Any, target: NDArray[Any], sample_weight: Any, reason: str, *, one_epoch: bool = False
    ) -> None:
        """The textbook on numbers: new, warm, or one further epoch."""
        goes_on = "coefs_" in vars(self) and (one_epoch or self.warm_start)
        if not goes_on:
            self._forget()
        x = self._plain_rows(X, reset=not goes_on, learns=True)
        check_same_rows(x.shape[0], len(target))
        weight = None if sample_weight is None else check_weight(sample_weight, len(target))
        loss = self.loss or "squared_error"
        if loss == "poisson" and (target < 0).any():
            raise DataError(f"loss='poisson' needs y of at least 0; got {target.min():g}.")
        y = target if target.ndim == 2 else target[:, None]
        self._fit_textbook(x, y, weight, loss, reason, one_epoch=one_epoch)

    def _link(self, settings: Textbook, n_outputs: int) -> str:
        return "exp" if settings.loss == "poisson" else "identity"

    def predict(self, X: Any) -> NDArray[Any]:
        """Predicted number of each row, in the units of y: (n_rows,), or (n_rows, n_targets)."""
        check_is_fitted(self)
        if self._is_textbook:
            out = self._outputs(X)
            return out[:, 0] if out.shape[1] == 1 else out
        return np.asarray(self.model_.predict(self._check_table(X, reset=False)), dtype=np.float64)

    @available_if(lambda estimator: estimator.quantiles is not None)
    def predict_quantiles(self, X: Any) -> NDArray[np.float64]:
        """Quantiles of each row, ascending; (n_rows, n_quantiles), or (n_rows, n_targets, n_quantiles)."""
        check_is_fitted(self)
        if self.model_.quantiles is None:  # y was the same in all rows
            return np.repeat(self.predict(X)[..., None], np.asarray(self.quantiles, float).size, axis=-1)
        return self.model_.predict_quantiles(self._check_table(X, reset=False))


def _plain_numbers(encoder: Encoder, table: Table) -> NDArray[np.float64]:
    """The rows as the textbook takes them; a few cells that are not of their column's kind are missing."""
    clean, said = as_learnt(table, encoder.schema.columns)
    if said:
        warn(f"In X, {'; '.join(said)}.")
    return encoder.transform(clean).num.astype(np.float64)


def _coded(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.bool_]:
    """A column for each class or label; one column, of the second class, for two, and for one."""
    if labels.ndim == 2:
        return labels != 0
    if len(classes) <= 2:
        return (labels == classes[-1])[:, None] & (len(classes) == 2)
    return labels[:, None] == classes


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """An int is the seed; anything else that scikit-learn takes is drawn from."""
    drawn = check_random_state(random_state)
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(drawn.randint(np.iinfo(np.int32).max))


def _threads(n_jobs: int | None) -> int | None:
    """Networks at a time; -1 is all cores, -2 all but one."""
    return n_jobs if n_jobs is None or n_jobs > 0 else max(1, n_cores() + 1 + n_jobs)


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")


def _report(progress: Progress) -> None:
    """A line an epoch on standard output, as scikit-learn's own `verbose` writes."""
    held_out = "" if progress.val_loss is None else f", validation loss = {progress.val_loss:.6f}"
    _write(f"Iteration {progress.epoch}, loss = {progress.train_loss:.6f}{held_out}")
