"""MLPClassifier and MLPRegressor: a drop-in for `sklearn.neural_network`, by the recipe or its own algorithm.

This folder alone speaks scikit-learn (`X`, `random_state`, `classes_`); it translates at the door and calls
`recipe.fit` or `textbook.solver.fit`. Here are the two classes, and what they do not share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, column_or_1d, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from multilayer.errors import ConfigError, DataError
from multilayer.estimators.estimator import Estimator, Weight
from multilayer.estimators.fitted import TextbookFit
from multilayer.estimators.input import as_labels, check_same_rows, check_weight, checked_labels, checked_y
from multilayer.estimators.settings import check_settings, why_textbook
from multilayer.model.model import Model
from multilayer.recipe.choices import NetworkName, Quality
from multilayer.table.column import Infinite, KindName
from multilayer.table.schema import Schema
from multilayer.table.sources.frames import tell_other_order
from multilayer.tasks.classification import same_labels
from multilayer.textbook.network import Textbook

_F = TypeVar("_F")

if TYPE_CHECKING:

    def no_type_check(function: _F) -> _F:
        """Let type checkers see what `typing.no_type_check` would hide from them."""
        return function
else:
    from typing import no_type_check

__all__ = ["MLPClassifier", "MLPRegressor"]


class MLPClassifier(ClassifierMixin, Estimator):
    """A multilayer perceptron that tells classes apart: a drop-in for `sklearn.neural_network.MLPClassifier`.

    By default the recipe of `multilayer.fit` runs: it takes tables as they are, trains several networks, and
    chooses epochs on validation rows. A setting that only scikit-learn's own algorithm has (`solver`,
    `learning_rate`, `tol`, `warm_start`, ..., also `partial_fit` and a sparse X) selects that algorithm,
    which
    is called the textbook here: one plain network on numbers as they come, with the weights and the order of
    rows that scikit-learn would draw. `model_.summary["decisions"]` says which of the two ran, and why.

    Shape:   X: (n_rows, n_columns) array, pandas, polars or Arrow frame, or sparse matrix; numbers, booleans,
             categories, text, dates and missing values as they are.
             y: (n_rows,) labels: text, integers or booleans, which `predict` returns; or (n_rows, n_labels)
             of 0 and 1, for several labels at once.
    Source:  names, contract and textbook algorithm of `sklearn.neural_network.MLPClassifier` (1.9)
    Differs: in what None means (docs/compatibility.md); runs of more than 1,000 steps compute in float32

    Args:
        hidden_layer_sizes: width of each hidden layer, first to last; an int means one layer.
        activation: "relu", "tanh", "logistic" or "identity"; for the recipe any name of `mlp`.
        solver: "adam", "sgd" or "lbfgs" select the textbook.
        alpha: L2 penalty of the textbook; in the recipe, the decoupled weight decay.
        batch_size: rows in one optimiser step; "auto" is up to 200 rows, or what the recipe chooses.
        learning_rate: "constant", "invscaling" or "adaptive" (textbook, solver="sgd").
        learning_rate_init: the learning rate; in the recipe, the highest learning rate of AdamW (Muon, which
            trains the matrices of hidden layers, takes twenty times that).
        power_t: exponent of "invscaling" (textbook).
        max_iter: largest number of epochs.
        shuffle: False keeps the order of the rows (textbook).
        random_state: an int gives the same model at every fit. A RandomState, or None for NumPy's global one,
            is drawn from at each fit.
        tol, n_iter_no_change: the textbook stops after so many epochs without a training loss (or validation
            score) better by tol; the recipe after so many without a better validation loss.
        verbose: write a line for each epoch to standard output.
        warm_start: True goes on from the last fit (textbook).
        momentum, nesterovs_momentum: settings of solver="sgd".
        beta_1, beta_2, epsilon: settings of solver="adam".
        early_stopping: False trains on all rows (textbook); the recipe always stops early, as True says.
        validation_fraction: share of the rows held out; None is 0.1, or in the recipe an eighth for each
            network.
        max_fun: largest number of evaluations of solver="lbfgs".
        class_weight: "balanced", or label -> weight, by which the weights of the rows are multiplied.
        quality: "fast" takes about two fifths of the time of "default", "best" about three times as long.
        members: number of networks that the recipe trains side by side.
        time_budget: seconds for the fit; if they are few, the recipe trains fewer networks.
        kinds: column name -> "number", "boolean", "category" or "date", for columns that would be read as
            another kind. The columns of a NumPy array are called x0, x1, ...
        schema: what `infer_schema` gave for X and you edited, or a JSON file of it (recipe).
        missing: marks of missing values, such as ("?", -999), or column name -> marks (recipe).
        infinite: "error" refuses infinite numbers in X; "clip" replaces them by the largest and smallest
            finite number of their column, also at prediction (recipe).
        threshold: for two classes or several labels: the probability from which on `predict` gives the second
            class, or the metric by which validation rows choose it: "f1", "balanced_accuracy", "accuracy" or
            "mcc" (recipe).
        monotone: column name -> "increasing" or "decreasing": the prediction, or the probability of the
            second of two classes, never falls (rises) with that column (recipe).
        network: a published network, trained as its paper describes, in place of the recipe's own.
        n_jobs: number of networks that the recipe trains at a time; None is the number of cores. In the
            textbook, number of threads of a matrix product; None is one.

    Attributes, after `fit` (docs/compatibility.md says which of scikit-learn's others are there):
        classes_: labels in sorted order; the columns of `predict_proba`.
        model_: the fitted Model: `model_.save(path)` writes one safe file.
        loss_curve_, loss_: training loss of each epoch, and of the last one.
        n_iter_: epochs that ran.
        coefs_, intercepts_: matrices and intercepts of the layers; in the recipe, those of its first network,
            whose first matrix acts on encoded columns.
        n_features_in_, feature_names_in_: columns seen in `fit`; names only if all are text.

    Raises:
        ConfigError: a setting is out of its range, or settings contradict each other.
        DataError: y has missing values or only one class, or X cannot be read.
        SchemaError: X at prediction does not have the columns of X in `fit`, or other kinds of values.

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
        quality: Quality = "default",
        members: int | None = None,
        time_budget: float | None = None,
        kinds: Mapping[str, KindName] | None = None,
        schema: Schema | str | PathLike[str] | None = None,
        missing: Any = (),
        infinite: Infinite = "error",
        monotone: Mapping[str, str | int] | None = None,
        network: NetworkName = "default",
        n_jobs: int | None = None,
    ) -> None:
        self._store(locals())

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
        return checked_labels(checked_y(self, as_labels(y), multi_output=True))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose label is predicted; "1" in y also counts as the label 1."""
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
        if not np.isfinite(of_class).all() or (of_class < 0).any() or not of_class.any():
            raise ConfigError(
                "class_weight must be finite numbers, none negative and not all zero; got "
                f"{self.class_weight!r}. Give each class one, 0 to leave its rows out."
            )
        return of_class if weight is None else check_weight(of_class * weight, len(labels))

    def _fit_classes(
        self, X: Any, labels: NDArray[Any], sample_weight: Any, reason: str, *, one_epoch: bool = False
    ) -> None:
        """The textbook on labels: new, warm, or one further epoch."""
        network = self._network_to_train(one_epoch=one_epoch)
        if network is not None or (one_epoch and "classes_" in vars(self)):
            self._check_classes(labels, all_of_them=self.warm_start and not one_epoch)
        else:
            self._forget()
            self.classes_ = np.arange(labels.shape[1]) if labels.ndim == 2 else np.unique(labels)
        rows, x = self._plain_rows(X, network)
        check_same_rows(x.shape[0], len(labels))
        weight = self._row_weights(labels, sample_weight)
        self._fit_textbook(
            replace(network or TextbookFit(rows), reason=reason, is_multilabel=labels.ndim == 2),
            x,
            _coded(labels, self.classes_),
            weight,
            "log_loss",
            is_new=network is None,
            one_epoch=one_epoch,
        )

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

    def _link(self, network: TextbookFit, settings: Textbook, n_outputs: int) -> str:
        return "softmax" if n_outputs > 1 and not network.is_multilabel else "logistic"

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each row, in the dtype of y: (n_rows,); or 0 and 1 for each label."""
        return self._checked_fit().labels(self, X)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """The probability of each class, columns as in `classes_`: (n_rows, n_classes); or of each label."""
        return self._checked_fit().probabilities(self, X)

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """The natural logarithm of `predict_proba`; -inf where that is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


class MLPRegressor(RegressorMixin, Estimator):
    """A multilayer perceptron that predicts numbers: a drop-in for `sklearn.neural_network.MLPRegressor`.

    Shape:   X: as `MLPClassifier`. y: (n_rows,) numbers, or (n_rows, n_targets).
    Source:  names, contract and textbook algorithm of `sklearn.neural_network.MLPRegressor` (1.9)
    Differs: as `MLPClassifier` does. The recipe standardises y, but predicts in the units of y, and keeps
             predictions inside the range of y. If y is the same in all rows, that value is predicted

    Args:
        loss: "squared_error" or, by the textbook alone, "poisson".
        objective: what the recipe predicts, as in `multilayer.fit`: "squared_error", "absolute_error",
            "huber", "quantile", "poisson", "gamma", "tweedie" or "log".
        quantiles: quantiles of y, ascending, such as (0.1, 0.5, 0.9), for `predict_quantiles`; `predict`
            gives the one nearest to the median (recipe).

    The other settings, the attributes after `fit` and the errors are those of `MLPClassifier`, without
    `classes_`, `class_weight` and `threshold`.

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
        quality: Quality = "default",
        members: int | None = None,
        time_budget: float | None = None,
        kinds: Mapping[str, KindName] | None = None,
        schema: Schema | str | PathLike[str] | None = None,
        missing: Any = (),
        infinite: Infinite = "error",
        monotone: Mapping[str, str | int] | None = None,
        network: NetworkName = "default",
        n_jobs: int | None = None,
    ) -> None:
        self._store(locals())

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
        target = checked_y(self, y, y_numeric=True, multi_output=True)
        return column_or_1d(target, warn=True) if target.ndim == 2 and target.shape[1] == 1 else target

    def _fit_numbers(
        self, X: Any, target: NDArray[Any], sample_weight: Any, reason: str, *, one_epoch: bool = False
    ) -> None:
        """The textbook on numbers: new, warm, or one further epoch."""
        network = self._network_to_train(one_epoch=one_epoch)
        if network is None:
            self._forget()
        rows, x = self._plain_rows(X, network)
        check_same_rows(x.shape[0], len(target))
        weight = None if sample_weight is None else check_weight(sample_weight, len(target))
        loss = self.loss or "squared_error"
        if loss == "poisson" and (target < 0).any():
            raise DataError(f"loss='poisson' needs y of at least 0; got {target.min():g}.")
        self._fit_textbook(
            replace(network or TextbookFit(rows), reason=reason),
            x,
            target if target.ndim == 2 else target[:, None],
            weight,
            loss,
            is_new=network is None,
            one_epoch=one_epoch,
        )

    def _link(self, network: TextbookFit, settings: Textbook, n_outputs: int) -> str:
        return "exp" if settings.loss == "poisson" else "identity"

    def predict(self, X: Any) -> NDArray[Any]:
        """The predicted number of each row, in the units of y: (n_rows,), or (n_rows, n_targets)."""
        return self._checked_fit().numbers(self, X)

    @available_if(lambda estimator: estimator.quantiles is not None)
    def predict_quantiles(self, X: Any) -> NDArray[np.float64]:
        """The quantiles of each row, ascending: (n_rows, n_quantiles) or (n_rows, n_targets, n_quantiles)."""
        return self._checked_fit().quantiles(self, X)


def estimator_of(model: Model) -> MLPClassifier | MLPRegressor:
    """The fitted estimator over a model: `Model.as_estimator`."""
    kind = MLPRegressor if model.task.kind == "regression" else MLPClassifier
    return kind.from_model(model)


def _coded(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.bool_]:
    """A column for each class or label; one column, of the second class, for two, and for one."""
    if labels.ndim == 2:
        return labels != 0
    if len(classes) <= 2:
        return (labels == classes[-1])[:, None] & (len(classes) == 2)
    return labels[:, None] == classes
