"""MLPClassifier and MLPRegressor: the recipe as scikit-learn estimators.

This file alone speaks scikit-learn (`X`, `random_state`, `classes_`); it translates at the door and calls
`recipe.fit`. Names follow `sklearn.neural_network` where the idea is the same. A setting that would do
nothing is not offered.
"""

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from multilayer.errors import ConfigError, DataError
from multilayer.model import Model
from multilayer.recipe import QUALITIES
from multilayer.recipe import fit as fit_recipe
from multilayer.table.names import column_name
from multilayer.table.read import Table, read_table
from multilayer.table.schema import Kind as ColumnKind
from multilayer.training.loop import Progress
from multilayer.training.task import Kind as TaskKind

_F = TypeVar("_F")

if TYPE_CHECKING:

    def no_type_check(function: _F) -> _F:
        """Let type checkers see what `typing.no_type_check` would hide from them."""
        return function
else:
    from typing import no_type_check

__all__ = ["MLPClassifier", "MLPRegressor"]


def _is_count(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 1)


def _is_positive(value: object) -> bool:
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        return False
    return bool(0 < value < np.inf)


def _is_widths(value: object) -> bool:
    return _is_count(value) or (isinstance(value, Sequence | np.ndarray) and all(_is_count(v) for v in value))


# setting -> (what it may be besides None, the rule in words); worded as scikit-learn words its own.
_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "hidden_layer_sizes": (_is_widths, "None, an int of at least 1 or a sequence of such"),
    "batch_size": (lambda v: _is_count(v) or str(v) == "auto", "'auto' or an int of at least 1"),
    "learning_rate_init": (_is_positive, "None or a float in the range (0, inf)"),
    "max_iter": (_is_count, "None or an int of at least 1"),
    "n_iter_no_change": (_is_count, "None or an int of at least 1"),
    "validation_fraction": (lambda v: _is_positive(v) and v < 1, "None or a float in the range (0, 1)"),
    "quality": (lambda v: str(v) in QUALITIES, "'fast', 'default' or 'best'"),
    "members": (_is_count, "None or an int of at least 1"),
    "time_budget_s": (_is_positive, "None or a float in the range (0, inf)"),
    "kinds": (lambda v: isinstance(v, Mapping), "None or a mapping of column names to kinds"),
}
_NEEDED = frozenset({"batch_size", "quality"})  # None has no meaning here


class _TableEstimator(BaseEstimator):
    """What the classifier and the regressor share: settings, and checking of X, y and sample_weight."""

    @no_type_check  # scikit-learn's contract: storing never raises, whatever comes; `fit` is the judge
    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | None = None,
        *,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate_init: float | None = None,
        max_iter: int | None = None,
        n_iter_no_change: int | None = None,
        validation_fraction: float | None = None,
        quality: Literal["fast", "default", "best"] = "default",
        members: int | None = None,
        time_budget_s: float | None = None,
        kinds: Mapping[str, ColumnKind] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        """Store the settings; nothing is checked or done before `fit`. None leaves a choice to the recipe.

        Args:
            hidden_layer_sizes: width of each hidden layer, first to last; an int means one layer.
            batch_size: rows in one optimiser step.
            learning_rate_init: the highest learning rate that the schedule reaches.
            max_iter: most epochs to train.
            n_iter_no_change: epochs without a better validation loss before training stops.
            validation_fraction: share of the rows held out to stop early and to choose the best epochs; None:
                each network holds out its own share.
            quality: "fast" takes about a third of the time of "default", "best" some four times as much.
            members: networks to train side by side.
            time_budget_s: seconds after which training stops and keeps the best weights so far.
            kinds: column name -> "number", "boolean", "category" or "date", where the guess would be wrong.
                The columns of a NumPy array are called x0, x1, ...
            random_state: an int gives the same model at every fit, and the one that `fit(seed=...)` gives.
                A RandomState, or None for NumPy's global one, is drawn from at each fit.
            verbose: write a line an epoch to standard output.
        """
        self.hidden_layer_sizes = hidden_layer_sizes
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.quality = quality
        self.members = members
        self.time_budget_s = time_budget_s
        self.kinds = kinds
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def _fit(self, table: Table, y: NDArray[Any], weight: NDArray[np.float64] | None, task: TaskKind) -> None:
        """Fit the recipe on checked data and set the attributes that both estimators have."""
        widths = self.hidden_layer_sizes
        self.model_: Model = fit_recipe(
            table,
            y=_column(y),
            task=task,
            kinds=self.kinds,
            validation=None if self.validation_fraction is None else float(self.validation_fraction),
            sample_weight=weight,
            quality=self.quality,
            members=self.members,
            epochs=self.max_iter,
            batch_size=None if self.batch_size == "auto" else int(self.batch_size),
            hidden=None if widths is None else _widths(widths),
            lr=self.learning_rate_init,
            patience=self.n_iter_no_change,
            time_budget=self.time_budget_s,
            seed=_seed(self.random_state),
            callbacks=[_report] if self.verbose else (),
        )
        self.loss_curve_: list[float] = [float(loss) for loss in self.model_.history.train_loss]
        self.loss_: float = self.loss_curve_[-1]
        self.n_iter_: int = len(self.loss_curve_)

    def _check_settings(self) -> None:
        for name, (is_right, rule) in _RULES.items():
            value = getattr(self, name)
            if not (is_right(value) or (value is None and name not in _NEEDED)):
                raise ConfigError(
                    f"The {name!r} parameter of {type(self).__name__} must be {rule}. Got {value!r} instead."
                )

    def _check_rows(
        self, X: Any, y: NDArray[Any], sample_weight: Any
    ) -> tuple[Table, NDArray[Any], NDArray[np.float64] | None]:
        """Table, y and weights of the rows to fit; a weight of 0 is a row that is not there."""
        table = self._check_table(X, reset=True)
        if len(y) != table.n_rows:
            raise DataError(
                f"Found input variables with inconsistent numbers of samples: [{table.n_rows}, {len(y)}]. "
                "X and y need a row each for every sample."
            )
        if sample_weight is None:
            return table, y, None
        weight = _check_weight(sample_weight, table.n_rows)
        rows = np.flatnonzero(weight)
        if len(rows) == len(weight):
            return table, y, weight
        return table.take(rows), y[rows], weight[rows]

    def _check_table(self, X: Any, *, reset: bool) -> Table:
        """X as a Table named like the one at fit, or x0, x1, ... when that had no names."""
        if nw.dependencies.is_into_dataframe(X):
            table = read_table(X)
            validate_data(self, X, reset=reset, skip_check_array=True)
            _check_size(table, min_rows=2 if reset else 1)
        else:
            rules: dict[str, Any] = {"dtype": None, "ensure_all_finite": "allow-nan"}
            X = validate_data(self, X, reset=reset, ensure_min_samples=2 if reset else 1, **rules)
            table = read_table(_plain(X))
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            return table.rename([f"x{i}" for i in range(len(table.names))])
        # Lists in a frame are columns with names of their own.
        return table.rename([*map(column_name, names)]) if len(names) == len(table.names) else table

    def _predict_table(self, X: Any) -> Table:
        check_is_fitted(self)
        return self._check_table(X, reset=False)


class MLPClassifier(ClassifierMixin, _TableEstimator):
    """A multilayer perceptron that tells classes apart, as a scikit-learn estimator.

    Shape:   X: (n_rows, n_columns) array, or pandas, polars or Arrow frame; numbers, booleans, categories,
             text, dates and missing values as they are.
             y: (n_rows,) labels: text, integers or booleans; `predict` gives them back.
    Source:  names and contract of `sklearn.neural_network.MLPClassifier`
    Differs: scales and encodes the columns itself; always validates and stops early;
             the settings that it does not have (solver, alpha, momentum, ...) are the recipe's business.

    Attributes, after `fit`:
        classes_: labels in sorted order; the columns of `predict_proba`.
        model_: the fitted Model: `model_.save(path)` writes one safe file.
        loss_curve_, loss_: training loss of each epoch, and of the last one.
        n_iter_: epochs that ran.
        n_features_in_, feature_names_in_: columns seen in `fit`; names only if all are text.

    Raises:
        ConfigError: a setting is out of its range.
        DataError: y is missing somewhere or has one class only; X cannot be read.
        SchemaError: X at prediction does not hold what X held in `fit`.

    >>> X = [[0.0, "red"], [0.1, "red"], [0.9, "blue"], [1.0, "blue"]] * 10
    >>> y = ["no", "no", "yes", "yes"] * 10
    >>> classifier = MLPClassifier(max_iter=20, random_state=0).fit(X, y)
    >>> classifier.predict([[0.05, "red"], [0.95, "blue"]])
    array(['no', 'yes'], dtype='<U3')
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPClassifier":
        """Fit on a table and its labels; a weight of 2 counts twice in the loss, a weight of 0 not at all."""
        self._check_settings()
        labels = validate_data(self, X="no_validation", y=_as_array(y))
        _check_labels(labels)
        table, labels, weight = self._check_rows(X, labels, sample_weight)
        classes = np.unique(labels)
        if len(classes) < 2:
            raise DataError(
                f"{type(self).__name__} needs rows of at least 2 classes; y holds 1 class with a weight "
                f"above 0: {classes.tolist()[0]!r}. Add rows of another class."
            )
        self.classes_: NDArray[Any] = classes
        self._fit(table, labels, weight, "binary" if len(classes) == 2 else "multiclass")
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable label of each row, of the dtype that y had: (n_rows,)."""
        probs = self.predict_proba(X)
        return self.classes_[probs.argmax(axis=1)]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each class, columns as in `classes_`: (n_rows, n_classes)."""
        table = self._predict_table(X)
        probs = np.asarray(self.model_.predict_proba(table), dtype=np.float64)
        column = {label: i for i, label in enumerate(self.model_.task.classes)}
        return probs[:, [column[label] for label in self.classes_.tolist()]]

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Natural logarithm of `predict_proba`; -inf where that is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


class MLPRegressor(RegressorMixin, _TableEstimator):
    """A multilayer perceptron that predicts a number, as a scikit-learn estimator.

    Shape:   X: (n_rows, n_columns) array, or pandas, polars or Arrow frame; numbers, booleans, categories,
             text, dates and missing values as they are.
             y: (n_rows,) numbers.
    Source:  names and contract of `sklearn.neural_network.MLPRegressor`
    Differs: as `MLPClassifier` does; y is standardised inside and comes back in its own units.

    Attributes after `fit`, and errors: as `MLPClassifier`, without `classes_`.

    >>> X = np.linspace(0, 1, 100)[:, None]
    >>> regressor = MLPRegressor(max_iter=30, random_state=0).fit(X, 3 * X[:, 0])
    >>> regressor.predict(X).shape
    (100,)
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPRegressor":
        """Fit on a table and its target; a weight of 2 counts twice in the loss, a weight of 0 not at all."""
        self._check_settings()
        target = validate_data(self, X="no_validation", y=y, y_numeric=True)
        table, target, weight = self._check_rows(X, target, sample_weight)
        self._fit(table, target.astype(np.float64), weight, "regression")
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predicted number of each row, in the units of y: (n_rows,)."""
        table = self._predict_table(X)
        return np.asarray(self.model_.predict(table), dtype=np.float64)


def _check_size(table: Table, *, min_rows: int) -> None:
    """What `check_array` demands of an array, in its words."""
    if table.n_rows < min_rows:
        raise DataError(
            f"Found array with {table.n_rows} sample(s) (shape=({table.n_rows}, {len(table.names)})) "
            f"while a minimum of {min_rows} is required."
        )


def _check_weight(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    weight = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, ensure_min_samples=0, input_name="sample_weight"
    )
    if weight.shape != (n_rows,):
        raise DataError(f"sample_weight.shape == {weight.shape}, expected {(n_rows,)}: one weight a row.")
    if (weight < 0).any():
        raise DataError(f"Negative values in data passed to `sample_weight`: first {weight[weight < 0][0]}.")
    if not weight.any():
        raise DataError("Sample weights must contain at least one non-zero number.")
    return weight


def _as_array(y: Any) -> Any:
    """A Series as an array of its own dtype; scikit-learn would make nullable booleans floats."""
    if not nw.dependencies.is_into_series(y):
        return y
    series = nw.from_native(y, series_only=True)
    _refuse_missing(series.is_null())
    return series.to_numpy()


def _check_labels(labels: NDArray[Any]) -> None:
    _refuse_missing(label is None for label in labels)  # scikit-learn lets None among text pass
    try:
        check_classification_targets(labels)
    except TypeError as error:  # in sorting them
        kinds = ", ".join(sorted({type(label).__name__ for label in labels}))
        raise DataError(f"labels must all be text or all be numbers; got {kinds}. Make them text.") from error


def _refuse_missing(is_missing: Iterable[bool]) -> None:
    rows = [row for row, missing in enumerate(is_missing) if missing]
    if rows:
        raise DataError(
            f"y must have a label in every row; it has none in {len(rows)} rows (first: row {rows[0]}, "
            "counted from 0). Drop these rows or give the missing label a name."
        )


def _plain(X: NDArray[Any]) -> NDArray[Any]:
    """Object cells that are neither text nor numbers become their text, with a warning."""
    if X.dtype != object or not any(_is_odd(kind) for kind in set(map(type, X.flat))):
        return X
    odd = [at for at, cell in np.ndenumerate(X) if _is_odd(type(cell))]
    first = X[odd[0]]
    warnings.warn(
        f"X holds {len(odd)} cells that are neither text nor numbers (first: row {odd[0][0]}, column "
        f"{odd[0][1]}, a {type(first).__name__}). They become their text, the columns categories.",
        DataConversionWarning,
        stacklevel=5,
    )
    X = X.copy()
    for at in odd:
        X[at] = str(X[at])
    return X


def _is_odd(kind: type) -> bool:
    return issubclass(kind, Iterable) and not issubclass(kind, str)


def _column(y: NDArray[Any]) -> NDArray[Any]:
    """The target in one of the dtypes that a Table column has."""
    wanted = {"U": object, "i": np.int64, "u": np.int64, "f": np.float64}.get(y.dtype.kind, y.dtype)
    return y.astype(wanted, copy=False)


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """An int is the seed; anything else that scikit-learn takes is drawn from."""
    drawn = check_random_state(random_state)
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(drawn.randint(np.iinfo(np.int32).max))


def _widths(sizes: int | Sequence[int]) -> tuple[int, ...]:
    return (int(sizes),) if isinstance(sizes, int | np.integer) else tuple(int(size) for size in sizes)


def _report(progress: Progress) -> None:
    """A line an epoch on standard output, as scikit-learn's own `verbose` writes."""
    held_out = "" if progress.val_loss is None else f", validation loss = {progress.val_loss:.6f}"
    sys.stdout.write(f"Iteration {progress.epoch}, loss = {progress.train_loss:.6f}{held_out}\n")
