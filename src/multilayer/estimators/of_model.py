"""A `Model` behind scikit-learn's contract: what the estimator's settings are, and how it takes rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError
from multilayer.estimators.fitted import RecipeFit
from multilayer.estimators.input import is_frame, is_sparse, unmasked, without_odd_cells
from multilayer.model.model import Model
from multilayer.table.schema import Schema
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import Table, read_table
from multilayer.tasks.classification import same_labels

Settings = dict[str, Any]

# Settings of `fit` -> of the estimators, where one is the other by another name
_NAMES = {
    "activation": "activation",
    "weight_decay": "alpha",
    "batch_size": "batch_size",
    "lr": "learning_rate_init",
    "epochs": "max_iter",
    "patience": "n_iter_no_change",
    "validation": "validation_fraction",
    "threshold": "threshold",
    "objective": "objective",
    "quality": "quality",
    "network": "network",
    "members": "members",
    "time_budget": "time_budget",
    "infinite": "infinite",
}
_WHAT_ARRAYS_ARE_CALLED = re.compile(r"x?(\d+)")


@dataclass(frozen=True)
class ModelFit(RecipeFit):
    """A model of `ml.fit` or of a file: frames are taken by the names of their columns, arrays by place."""

    def table(self, estimator: Any, X: Any) -> Any:
        """Rows as the model takes them; other columns may be there, in any order.

        Raises:
            DataError: an array, and its columns could only be guessed.
        """
        if is_frame(X) or isinstance(X, Table | Mapping):
            return X
        X = unmasked(X)
        rows = X if is_sparse(X) else np.asarray(X)
        if rows.ndim != 2:
            raise DataError(f"X must have rows and columns; got {rows.ndim} axes. Reshape it to (1, -1).")
        names = columns_by_place(self.trained)
        if names is None:
            raise DataError(
                "This model tells columns by name, as it was fitted on a table of which it leaves some out; "
                f"X has no names. Pass a frame with the columns {listed(self.trained.schema.names)}."
            )
        if rows.shape[1] != len(names):
            raise DataError(
                f"X has {rows.shape[1]} features, but {type(estimator).__name__} is expecting {len(names)} "
                f"features as input: {listed(names)}."
            )
        return read_table(rows if is_sparse(rows) else without_odd_cells(rows)).rename(list(names))


def features_of(model: Model) -> tuple[str, ...]:
    """Names of the columns that a table had beside the target, as far as the model knows their order."""
    names = (*model.schema.names, *model.schema.ignored, *model.dropped)
    return tuple(name for name in dict.fromkeys(names) if name not in model.targets)


def columns_by_place(model: Model) -> tuple[str, ...] | None:
    """What the columns of an array are called; None where their order is not known."""
    names = features_of(model)
    places = [_WHAT_ARRAYS_ARE_CALLED.fullmatch(name) for name in names]
    if all(places):
        return tuple(sorted(names, key=lambda name: int(name.removeprefix("x"))))
    return names if names == model.schema.names else None


def has_names(model: Model) -> bool:
    """Whether it was fitted on columns with names, rather than on an array."""
    return not all(map(_WHAT_ARRAYS_ARE_CALLED.fullmatch, features_of(model)))


def classes_of(model: Model) -> NDArray[Any] | None:
    """`classes_` of the classifier; None for numbers.

    Raises:
        ConfigError: several labels that are not 0 and 1, or False and True.
    """
    if model.task.kind == "regression":
        return None
    if model.task.kind != "multilabel":
        labels = np.array(model.task.classes)
        return labels if labels.dtype.kind in "iufb" else np.array([str(label) for label in labels])
    parts = [part["classes"] for part in model.task.to_json()["parts"]]
    strange = next((labels for labels in parts if [bool(label) for label in labels] != [False, True]), None)
    if strange is not None or any(isinstance(label, str) for labels in parts for label in labels):
        raise ConfigError(
            "An estimator of several labels takes them as 0 and 1; this model has others: "
            f"{listed(list(map(str, strange or parts[0])))}. Fit with 0 and 1, or use Model.predict."
        )
    return np.arange(len(parts))


def settings_of(model: Model) -> Settings:
    """The settings with which an estimator fits as this model was fitted.

    Raises:
        ConfigError: no estimator has them: an exposure, or networks of scikit-learn's own algorithm.
    """
    summary = model.summary
    if model.exposure is not None:
        raise ConfigError(
            f"scikit-learn's estimators know no exposure, which this model takes from {model.exposure!r}. "
            "Use Model.predict and Model.evaluate."
        )
    if "config" not in summary:
        raise ConfigError(
            "as_estimator needs a model of ml.fit; this one came of an estimator whose settings it does "
            "not hold (scikit-learn's own algorithm, or a target that is the same in all rows). Keep the "
            "estimator."
        )
    asked: Mapping[str, Any] = summary["asked"] if "asked" in summary else _read_off(summary["config"])
    settings = {name: asked[ours] for ours, name in _NAMES.items() if asked.get(ours) is not None}
    if asked.get("hidden") is not None:
        hidden = asked["hidden"]
        settings["hidden_layer_sizes"] = (hidden, hidden) if isinstance(hidden, int) else tuple(hidden)
    if asked.get("monotone"):
        settings["monotone"] = {
            name: way for name, way in asked["monotone"].items() if name in model.schema.names
        }
    settings |= _of_task(model, asked)
    settings["schema"] = _schema_of(model)
    settings["random_state"] = int(summary.get("seed", 0)) % 2**32
    if model.notation.missing:
        settings["missing"] = model.notation.missing
    return settings


def _read_off(config: Mapping[str, Any]) -> Settings:
    """What a file of before, which does not hold what was asked, tells of it."""
    names = (
        "hidden",
        "activation",
        "weight_decay",
        "batch_size",
        "lr",
        "epochs",
        "patience",
        "members",
        "network",
    )
    settings = {name: config.get(name) for name in names}
    if settings["network"] not in (None, "default"):
        settings |= {"weight_decay": None, "lr": None}
    return settings


def _of_task(model: Model, asked: Mapping[str, Any]) -> Settings:
    """What the target's kind has: weights of classes, thresholds; quantiles, an objective."""
    if model.task.kind == "regression":
        objective = model.task.to_json().get("objective")
        quantiles = model.quantiles
        given = {} if objective in (None, "squared_error") else {"objective": objective}
        return given | ({} if quantiles is None else {"quantiles": tuple(quantiles)})
    settings: Settings = {}
    threshold = model.task.to_json().get("threshold")
    if threshold is not None and asked.get("threshold") is None:
        settings["threshold"] = threshold
    weights = asked.get("class_weight")
    if isinstance(weights, Mapping):  # JSON made text of the labels
        place = same_labels(list(weights), model.task.classes)
        labels = np.array(model.task.classes).tolist()
        weights = {labels[at]: weights[name] for name, at in place.items() if at is not None}
    return settings | ({} if weights is None else {"class_weight": weights})


def _schema_of(model: Model) -> Schema:
    """Columns as they were read, those left out named; of an array they are x0, x1, ..."""
    ignored = {**model.schema.ignored, **dict.fromkeys(model.dropped, "left out")}
    if has_names(model):
        return Schema(model.schema.columns, ignored)
    name_of = {name: f"x{place}" for place, name in enumerate(columns_by_place(model) or ())}
    columns = tuple(replace(column, name=name_of[column.name]) for column in model.schema.columns)
    return Schema(columns, {name_of[name]: why for name, why in ignored.items() if name in name_of})


def as_names(names: Sequence[str]) -> NDArray[Any]:
    """`feature_names_in_`."""
    array: NDArray[Any] = np.empty(len(names), dtype=object)
    array[:] = names
    return array
