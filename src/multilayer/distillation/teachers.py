"""Teachers: what is imitated, and how it is fitted again on some of the rows."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, extra
from multilayer.model.model import Model
from multilayer.recipe.fit import fit
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import Table
from multilayer.tasks.task import Label

Floats = NDArray[np.float64]
# Settings of a fit that hold for its rows alone, or that the folds of distillation cannot keep to
_NOT_KEPT = ("target", "y", "drop", "schema", "kinds", "validation", "sample_weight")
_REFUSED = ("groups", "time", "exposure", "class_weight", "monotone")


class Teacher(ABC):
    """A model that predicts, and may be fitted again.

    classes: in the order of its probabilities; none of numbers
    n_bytes: of its file; None where it has none of ours
    """

    classes: tuple[Label, ...] = ()
    n_bytes: int | None = None

    @abstractmethod
    def predict(self, table: Table) -> Floats:
        """Probabilities (n_rows, n_classes), or numbers (n_rows,)."""

    @abstractmethod
    def refitted(self, table: Table, y: NDArray[Any]) -> "Teacher | None":
        """The same kind of model, fitted on these rows; None where it cannot be fitted."""


class OfModel(Teacher):
    """A `Model`; fitted again with the settings of its fit."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.classes = tuple(model.task.classes)
        self.n_bytes = len(model.to_bytes())

    def predict(self, table: Table) -> Floats:
        """Probabilities or numbers."""
        if self.classes:
            return self._model.predict_proba(table, extra="ignore")
        return np.asarray(self._model.predict(table, extra="ignore"), np.float64)

    def refitted(self, table: Table, y: NDArray[Any]) -> Teacher | None:
        """A model of these rows; None of one whose file does not keep all settings."""
        model = self._model
        asked = dict(model.summary.get("asked", {}))
        if refused := [name for name in _REFUSED if name in asked]:
            raise ConfigError(
                f"the rows of a model that was fitted with {listed(refused)} cannot be divided at random. "
                "Distil another one, or pass refit=False and rows that the model was not fitted on."
            )
        kept = {name: value for name, value in asked.items() if name not in _NOT_KEPT}
        if any(value is None for value in kept.values()):
            return None
        settings = {"task": model.task.kind, "verbose": False, "seed": model.summary.get("seed", 0)} | kept
        return OfModel(fit(table.select(model.schema.names), y=y, schema=model.schema, **settings))


class OfEstimator(Teacher):
    """An estimator of scikit-learn, or anything with `predict_proba` or `predict`, asked with a frame."""

    def __init__(self, estimator: Any, classes: tuple[Label, ...] = ()) -> None:
        if not hasattr(estimator, "predict_proba" if classes else "predict"):
            raise ConfigError(
                "a teacher must have predict_proba, or predict where the target is a number; got "
                f"{type(estimator).__name__}. Pass a Model, an estimator, or an object with that method."
            )
        self._estimator, self._all = estimator, tuple(classes)
        found = getattr(estimator, "classes_", None)
        own = list(classes if found is None else np.asarray(found).tolist())
        own, wanted = list(map(str, own)), list(map(str, classes))
        if classes and sorted(own) != sorted(wanted):
            raise ConfigError(
                f"the teacher's classes must be those of the target, {listed(wanted)}; they are "
                f"{listed(own)}. Pass a teacher of this target."
            )
        self._order = [own.index(label) for label in wanted]
        self.classes = tuple(classes)

    def predict(self, table: Table) -> Floats:
        """Probabilities in the order of `classes`, or numbers."""
        frame = as_frame(table)
        if not self.classes:
            return np.asarray(self._estimator.predict(frame), np.float64).reshape(table.n_rows)
        probabilities = np.asarray(self._estimator.predict_proba(frame), np.float64)
        if probabilities.shape != (table.n_rows, len(self.classes)):
            raise ConfigError(
                f"predict_proba must give a number for each of {len(self.classes)} classes and "
                f"{table.n_rows} rows; got the shape {probabilities.shape}. Mend the teacher."
            )
        return probabilities[:, self._order]

    def refitted(self, table: Table, y: NDArray[Any]) -> Teacher | None:
        """A clone, fitted on these rows; None of what is no estimator."""
        from sklearn.base import clone

        if not (hasattr(self._estimator, "fit") and hasattr(self._estimator, "get_params")):
            return None
        return OfEstimator(clone(self._estimator).fit(as_frame(table), y), self._all)


def as_frame(table: Table) -> Any:
    """A frame of pandas; texts are objects, as estimators' own preparation expects."""
    pandas: Any = extra("pandas", needed_by="a teacher that takes frames", install="'multilayer[frames]'")
    return pandas.DataFrame({name: table[name] for name in table.names})
