"""What a fit left behind: the same questions, whether the recipe ran or scikit-learn's own algorithm.

Attributes that scikit-learn has, such as `coefs_`, stand on the estimator, where they may be set by hand;
here is the rest.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multilayer.estimators.attributes import recipe_attribute, textbook_model
from multilayer.estimators.input import names_of_columns, table_of
from multilayer.estimators.plain_rows import PlainRows
from multilayer.model.model import Model
from multilayer.tasks.classification import same_labels
from multilayer.textbook.network import Weights, outputs
from multilayer.training.history import EngineName


class Fitted(ABC):
    """What there is to predict with. `estimator` is the one that was fitted; X must have its columns.

    goes_on: whether `partial_fit` and `warm_start` can go on from it
    absent:  attributes of scikit-learn that have no honest value here -> why, and what there is instead
    """

    goes_on: ClassVar[bool]
    absent: ClassVar[Mapping[str, str]]

    @abstractmethod
    def model(self, estimator: Any) -> Model:
        """As a `Model`.

        Raises:
            AttributeError: a Model cannot hold it.
        """

    @abstractmethod
    def attribute(self, name: str) -> Any:
        """One of scikit-learn's fitted attributes that does not stand on the estimator; None for no such."""

    @abstractmethod
    def numbers(self, estimator: Any, X: Any) -> NDArray[Any]:
        """What a regressor predicts: (n_rows,), or (n_rows, n_targets)."""

    @abstractmethod
    def quantiles(self, estimator: Any, X: Any) -> NDArray[np.float64]:
        """Ascending, in a last axis."""

    @abstractmethod
    def probabilities(self, estimator: Any, X: Any) -> NDArray[Any]:
        """Of each class, columns as in `classes_`: (n_rows, n_classes); or of each label."""

    @abstractmethod
    def labels(self, estimator: Any, X: Any) -> NDArray[Any]:
        """What a classifier predicts: (n_rows,); or 0 and 1 for each label, (n_rows, n_labels)."""


@dataclass(frozen=True)
class RecipeFit(Fitted):
    """Networks of the recipe, or a target that is the same in all rows: a `Model` in either case."""

    trained: Model

    goes_on: ClassVar[bool] = False
    absent: ClassVar[Mapping[str, str]] = {
        "validation_scores_": "the recipe records validation losses, in model_.history.val_loss. "
        "solver='adam' has it as scikit-learn does.",
        "t_": "each network of the recipe sees rows of its own; model_.summary['rows'] counts them. "
        "solver='adam' has it as scikit-learn does.",
    }

    def table(self, estimator: Any, X: Any) -> Any:
        """Rows as the model takes them."""
        return table_of(estimator, X, reset=False)

    def model(self, estimator: Any) -> Model:
        """The model that was trained."""
        return self.trained

    def attribute(self, name: str) -> Any:
        """Read off the model."""
        return recipe_attribute(self.trained, name)

    def numbers(self, estimator: Any, X: Any) -> NDArray[Any]:
        """In the units of y."""
        return np.asarray(self.trained.predict(self.table(estimator, X)), dtype=np.float64)

    def quantiles(self, estimator: Any, X: Any) -> NDArray[np.float64]:
        """Those of the model; of a target that is the same in all rows, that."""
        if self.trained.quantiles is None:
            return _as_each_quantile(estimator, self.numbers(estimator, X))
        return self.trained.predict_quantiles(self.table(estimator, X))

    def probabilities(self, estimator: Any, X: Any) -> NDArray[Any]:
        """The mean over the networks."""
        probs = np.asarray(self.trained.predict_proba(self.table(estimator, X)), dtype=np.float64)
        if self._has_several_labels:
            return probs
        labels = estimator.classes_.tolist()
        place = same_labels(labels, self.trained.task.classes)  # which may hold them as text
        return probs[:, np.array([place[label] for label in labels], np.int64)]

    def labels(self, estimator: Any, X: Any) -> NDArray[Any]:
        """By the threshold, where the estimator has one."""
        if estimator.threshold is None:
            return _likeliest(estimator, self.probabilities(estimator, X), self._has_several_labels)
        labels = np.asarray(self.trained.predict(self.table(estimator, X)))
        return labels.astype(estimator.classes_.dtype, copy=False)

    @property
    def _has_several_labels(self) -> bool:
        return self.trained.task.kind == "multilabel"

    def __getstate__(self) -> dict[str, Any]:
        """The model as the bytes of a model file: safe to read, and small."""
        return {"trained": self.trained.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "trained", Model.from_bytes(bytes(state["trained"])))


@dataclass(frozen=True)
class TextbookFit(Fitted):
    """One plain network of scikit-learn's own algorithm, whose weights are the estimator's `coefs_`.

    rows:         how X becomes numbers
    reason:       the setting that asked for this algorithm
    is_multilabel: whether y held several labels
    engine:       what ran
    steps:        of the optimiser, in all calls together
    best_weights: of early stopping
    """

    rows: PlainRows
    reason: str = ""
    is_multilabel: bool = False
    engine: EngineName = "NumPy"
    steps: int = 0
    best_weights: Weights | None = None

    goes_on: ClassVar[bool] = True
    absent: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"),
        "solver='lbfgs' keeps no record of its iterations",
    )

    def model(self, estimator: Any) -> Model:
        """Made anew at each call."""
        encoder = self.rows.encoder_of(names_of_columns(estimator, estimator.n_features_in_))
        return textbook_model(
            estimator, encoder, is_multilabel=self.is_multilabel, reason=self.reason, engine=self.engine
        )

    def attribute(self, name: str) -> Any:
        """None: all stand on the estimator."""
        return None

    def numbers(self, estimator: Any, X: Any) -> NDArray[Any]:
        """In the units of y."""
        out = self._outputs(estimator, X)
        return out[:, 0] if out.shape[1] == 1 else out

    def quantiles(self, estimator: Any, X: Any) -> NDArray[np.float64]:
        """Each of them what is predicted, as this algorithm has none."""
        return _as_each_quantile(estimator, self.numbers(estimator, X))

    def probabilities(self, estimator: Any, X: Any) -> NDArray[Any]:
        """Of one output, those of both classes."""
        out = self._outputs(estimator, X)
        return out if out.shape[1] > 1 else np.hstack([1 - out, out])

    def labels(self, estimator: Any, X: Any) -> NDArray[Any]:
        """The likeliest."""
        if estimator.n_outputs_ > 1:
            return _likeliest(estimator, self.probabilities(estimator, X), self.is_multilabel)
        is_second = self._outputs(estimator, X)[:, 0] > 0.5  # of one class, or two
        return estimator.classes_[is_second.astype(int) * (len(estimator.classes_) > 1)]

    def _outputs(self, estimator: Any, X: Any) -> NDArray[Any]:
        """(n_rows, n_outputs), behind the last activation."""
        weights = Weights(estimator.coefs_, estimator.intercepts_)
        x = self.rows.read(estimator, X)
        return outputs(weights, x, estimator.activation or "relu", estimator.out_activation_)


def _likeliest(estimator: Any, probs: NDArray[Any], has_several_labels: bool) -> NDArray[Any]:
    if has_several_labels:
        return (probs > 0.5).astype(np.int64)
    return estimator.classes_[probs.argmax(axis=1)]


def _as_each_quantile(estimator: Any, numbers: NDArray[Any]) -> NDArray[np.float64]:
    return np.repeat(numbers[..., None], np.asarray(estimator.quantiles, float).size, axis=-1)
