"""What the estimators accept as X, y and sample_weight, checked in scikit-learn's words where it has some."""

import numbers
from collections.abc import Iterable
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import validate_data

from multilayer.errors import DataError, counted, warn
from multilayer.table.row_weights import check_weights
from multilayer.table.sources.names import column_names
from multilayer.table.sources.read import Table, read_table


def is_frame(X: Any) -> bool:
    """Whether it is a pandas, polars or Arrow table."""
    return bool(nw.dependencies.is_into_dataframe(X))


def is_sparse(X: Any) -> bool:
    """Whether it is a matrix or array of scipy.sparse."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def holds_numbers(X: Any) -> bool:
    """Whether every cell is a number, so that X can be an array of floats as it stands."""
    if is_sparse(X):
        return True
    if is_frame(X):
        dtypes = nw.from_native(X, eager_only=True).schema.values()
        return all(dtype.is_numeric() or dtype == nw.Boolean for dtype in dtypes)
    array = X if isinstance(X, np.ndarray) else _as_object_if_mixed(X)
    if array.dtype != object:
        return array.dtype.kind in "fiub"
    return all(issubclass(kind, numbers.Real) for kind in set(map(type, array.flat)))


def _as_object_if_mixed(X: Any) -> NDArray[Any]:
    try:
        return np.asarray(X)
    except ValueError:  # rows of unequal length: scikit-learn's own check says so
        return np.zeros(0)


def as_numbers(X: Any) -> Any:
    """A frame of numbers as `check_array` takes it: pandas as it is, for its nullable types, else NumPy."""
    return X if not is_frame(X) or nw.dependencies.is_pandas_dataframe(X) else nw.from_native(X).to_numpy()


def table_of(estimator: Any, X: Any, *, reset: bool) -> Table:
    """X as a Table named like the one at fit, or x0, x1, ... when that had no names.

    reset: whether this is the X that the estimator learns its columns from
    """
    X = unmasked(X)
    if is_frame(X):
        table = read_table(X)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        check_size(table, min_rows=2 if reset else 1)
    else:
        finite = "allow-nan" if estimator.infinite == "error" else False
        rules: dict[str, Any] = {"dtype": None, "ensure_all_finite": finite}
        X = validate_data(estimator, X, reset=reset, ensure_min_samples=2 if reset else 1, **rules)
        table = read_table(without_odd_cells(X))
    names = names_of_columns(estimator, len(table.names))
    # Lists in a frame are columns with names of their own.
    return table.rename(names) if len(names) == len(table.names) else table


def names_of_columns(estimator: Any, n: int) -> list[str]:
    """The names of X at fit, or x0, x1, ... when it had none."""
    names = vars(estimator).get("feature_names_in_")
    return [f"x{i}" for i in range(n)] if names is None else list(column_names(names))


def checked_y(estimator: Any, y: Any, **rules: Any) -> NDArray[Any]:
    """The target as scikit-learn checks it, which takes X for nameless and forgets its names."""
    refuse_masked(y)
    names = vars(estimator).get("feature_names_in_")
    checked: NDArray[Any] = validate_data(estimator, X="no_validation", y=y, **rules)
    if names is not None:
        estimator.feature_names_in_ = names
    return checked


def check_size(table: Table, *, min_rows: int) -> None:
    """What `check_array` demands of an array, in its words."""
    if table.n_rows < min_rows:
        raise DataError(
            f"Found array with {table.n_rows} sample(s) (shape=({table.n_rows}, {len(table.names)})) "
            f"while a minimum of {min_rows} is required."
        )


def check_same_rows(n_rows: int, n_targets: int) -> None:
    """Refuse X and y of different lengths."""
    if n_rows != n_targets:
        raise DataError(
            f"Found input variables with inconsistent numbers of samples: [{n_rows}, {n_targets}]. "
            "X and y need a row each for every sample."
        )


def check_weight(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    """Weights of rows, or one for all of them, in whatever scikit-learn takes them; by the rule for all."""
    if isinstance(sample_weight, numbers.Number):
        return check_weights(np.full(n_rows, sample_weight), n_rows)
    weight = check_array(
        sample_weight,
        ensure_2d=False,
        dtype=np.float64,
        ensure_all_finite=False,
        ensure_min_samples=0,
        input_name="sample_weight",
    )
    return check_weights(weight, n_rows)


def as_labels(y: Any) -> Any:
    """A Series or a frame of labels as an array of its own dtype; scikit-learn makes booleans floats."""
    if is_sparse(y):
        return y.toarray()
    if is_frame(y):
        return nw.from_native(y, eager_only=True).to_numpy()
    if not nw.dependencies.is_into_series(y):
        return y
    series = nw.from_native(y, series_only=True)
    _refuse_missing(series.is_null())
    return series.to_numpy()


def refuse_masked(y: Any) -> None:
    """Refuse masked places in a target, which scikit-learn's checks would fill with what lies under them."""
    if np.ma.is_masked(y):
        raise DataError(
            f"Input y contains NaN: every row needs a target, and {int(np.ma.count_masked(y))} are masked. "
            "Leave these rows out."
        )


def unmasked(X: Any) -> Any:
    """A masked array as one with missing values in its masked places."""
    if not np.ma.is_masked(X):
        return X
    if X.dtype.kind == "O":
        return X.filled(None)
    return X.astype(np.float64).filled(np.nan) if X.dtype.kind in "biuf" else X


def checked_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels (n_rows,), or 0 and 1 for each of several labels (n_rows, n_labels)."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = column_or_1d(labels, warn=True)
    if labels.dtype.kind in "mM":
        raise DataError(
            f"labels must be text, whole numbers or booleans; got {labels.dtype}. Make them text, or numbers "
            "such as days."
        )
    if labels.ndim == 1:
        _refuse_missing(label is None for label in labels)  # scikit-learn lets None among text pass
    try:
        check_classification_targets(labels)
    except TypeError as error:  # in sorting them
        kinds = ", ".join(sorted({type(label).__name__ for label in labels}))
        raise DataError(f"labels must all be text or all be numbers; got {kinds}. Make them text.") from error
    if labels.ndim > 1 and not is_multilabel(labels):
        raise DataError(
            "Multioutput target data is not supported with several classes in a column. "
            "Pass 0 and 1 for each label, or use sklearn.multioutput.MultiOutputClassifier."
        )
    return labels


def is_multilabel(labels: NDArray[Any]) -> bool:
    """Whether there are several columns of 0 and 1."""
    return labels.ndim == 2 and type_of_target(labels) == "multilabel-indicator"


def _refuse_missing(is_missing: Iterable[bool]) -> None:
    rows = [row for row, missing in enumerate(is_missing) if missing]
    if rows:
        raise DataError(
            f"y must have a label in every row; it has none in {counted(len(rows), 'row')} (first: row "
            f"{rows[0]}, counted from 0). Drop these rows or give the missing label a name."
        )


def without_odd_cells(X: NDArray[Any]) -> NDArray[Any]:
    """Object cells that are neither text nor numbers become their text, with a warning."""
    if X.dtype != object or not any(_is_odd(kind) for kind in set(map(type, X.flat))):
        return X
    odd = [at for at, cell in np.ndenumerate(X) if _is_odd(type(cell))]
    first = X[odd[0]]
    warn(
        f"X holds {counted(len(odd), 'cell')} of other types than text and numbers (first: row {odd[0][0]}, "
        f"column {odd[0][1]}, a {type(first).__name__}). Cells become their text, and columns categories.",
        DataConversionWarning,
    )
    X = X.copy()
    for at in odd:
        X[at] = str(X[at])
    return X


def _is_odd(kind: type) -> bool:
    return issubclass(kind, Iterable) and not issubclass(kind, str)


def as_column(y: NDArray[Any]) -> NDArray[Any]:
    """The target in one of the dtypes that a Table column has; what int64 cannot hold as text."""
    if y.dtype.kind == "u" and y.max(initial=0) >= 2**63:
        return y.astype(str).astype(object)
    wanted = {"U": object, "i": np.int64, "u": np.int64, "f": np.float64}.get(y.dtype.kind, y.dtype)
    return y.astype(wanted, copy=False)
