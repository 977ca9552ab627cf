"""`Task`: what is predicted. Classes, numbers and several targets share this interface."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError
from multilayer.tasks.link_steps import LinkChain, run_link

Kind = Literal["binary", "multiclass", "multilabel", "regression"]
KINDS: tuple[Kind, ...] = ("binary", "multiclass", "multilabel", "regression")
Label = str | int | float | bool
Loss = str | Callable[..., Any]  # a name, or a module: `LossLike`, without loading PyTorch
Array = NDArray[Any]
Floats = NDArray[np.float64]
Weight = NDArray[np.floating[Any]] | None


class Task(ABC):
    """Target coding, loss, link and metrics of one kind of target. Frozen: every change is a new task.

    A target has three forms: `y`, the column as it came; `code`, class codes or numbers in the target's
    units, for metrics; and the form that the loss of the network needs (`as_network_target`). On the way back
    `link` turns the outputs of a network into a prediction, the predictions of all networks are averaged, and
    `decide` turns their mean into what the user sees.

    Shape:   y: (n_rows,), a structured array with a field for each target where there are several
             code: (n_rows,) or (n_rows, n_targets)
             prediction: (n_rows, ...): probabilities (n_rows, n_classes), numbers (n_rows,), quantiles
             (n_rows, n_quantiles); with several targets (n_rows, n_targets), (n_rows, n_targets, n_quantiles)
    """

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """One of `KINDS`."""

    @property
    def classes(self) -> tuple[Label, ...]:
        """The labels in sorted order; code i stands for classes[i]; () where there are none, or several."""
        return ()

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Outputs that a network needs."""

    @property
    @abstractmethod
    def loss(self) -> Loss:
        """The loss to train with: a name, or a module."""

    @property
    @abstractmethod
    def metric(self) -> str:
        """The reported metric that decides between models."""

    @property
    def essence_width(self) -> int:
        """Numbers a row that `essence` keeps."""
        return self.n_outputs

    @property
    def has_probabilities(self) -> bool:
        """Whether a prediction is made of probabilities."""
        return self.kind != "regression"

    @property
    def quantile_levels(self) -> tuple[float, ...] | None:
        """Of which quantiles a prediction is made, on its last axis; None where it is not."""
        return None

    @property
    def takes_exposure(self) -> bool:
        """Whether predictions may be rates, per unit of an exposure."""
        return False

    @abstractmethod
    def encode(self, y: Array) -> Array:
        """The code of a target.

        Raises:
            DataError: missing values, labels that were not there at fit, numbers out of range.
        """

    @abstractmethod
    def as_network_target(self, code: Array) -> Array:
        """Codes in the shape and type that the loss wants: (n,) int64, or (n, columns) float32."""

    @property
    @abstractmethod
    def link_steps(self) -> LinkChain:
        """What `link` does, step by step."""

    def link(self, output: NDArray[np.float32]) -> Floats:
        """Network outputs (n_rows, n_outputs) to what a model averages and predicts with."""
        return run_link(self.link_steps, output)

    def essence(self, output: NDArray[np.float32], code: Array) -> Floats:
        """What the choice among networks keeps of outputs: `essence_of` their prediction."""
        return self.essence_of(self.link(output), code)

    def essence_of(self, prediction: Floats, code: Array) -> Floats:
        """The part of a prediction that the loss looks at, linear in the prediction."""
        return prediction

    @abstractmethod
    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """The loss of (mean) essences, row by row: (..., n_rows, ...) to (..., n_rows)."""

    @abstractmethod
    def constant(self, code: Array, weight: Weight = None) -> Floats:
        """What a model without features would predict for any row, in the shape of one row's prediction."""

    @abstractmethod
    def score(self, code: Array, prediction: Floats, weight: Weight = None) -> dict[str, float]:
        """All metrics of the task; prediction as `link` gives it."""

    def decide(self, prediction: Floats) -> Array:
        """What `Model.predict` gives: labels or numbers."""
        return prediction

    @abstractmethod
    def columns(self, prediction: Floats) -> dict[str, Array]:
        """What a file of predictions holds: name -> (n_rows,)."""

    @property
    def parts_of_targets(self) -> tuple["Task", ...]:
        """The task of each target; the task itself where there is one."""
        return (self,)

    def by_target(self, prediction: Floats) -> list[Floats]:
        """A prediction (n_rows, ...) as the task of each target has it."""
        return [prediction]

    def in_units_of(self, y: Array, weight: Weight = None) -> "Task":
        """The task with units and range of these rows, as far as it has any."""
        return self

    def settle(self, code: Array, prediction: Floats, weight: Weight = None) -> tuple["Task", Floats]:
        """The task with what it reads off predictions of validation rows, and these predictions by it."""
        return self, prediction

    @property
    def in_words(self) -> str:
        """The kind, as a sentence says it: "regression", "binary classification"."""
        return self.kind if self.kind == "regression" else f"{self.kind} classification"

    def extent_in_words(self) -> str:
        """How many classes, labels or targets, where that is not clear from the kind; may be empty."""
        return ""

    def aim_in_words(self) -> str:
        """Objective or threshold, where there is one; may be empty."""
        return ""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain values for a model file; "kind" says how to read them."""

    def _no_setting(self, what: str, advice: str) -> ConfigError:
        return ConfigError(f"{what}; this task is {self.kind}. {advice}")


def check_target(y: Array) -> None:
    """Refuse missing and infinite targets, naming how many and where the first stands."""
    if y.dtype.kind == "M":
        raise DataError(
            "the target must be labels or numbers; got dates. Turn them into numbers (such as days) first."
        )
    if y.dtype == object:
        missing = np.array([value is None for value in y.tolist()], dtype=bool)
    else:
        missing = np.isnan(y) if y.dtype.kind == "f" else np.zeros(len(y), dtype=bool)
    if missing.any():
        raise DataError(
            f"every row needs a target; {int(missing.sum())} of {len(y)} have none (first: row "
            f"{int(missing.argmax()) + 1}). Remove these rows; ml.fit leaves them out with "
            "drop_missing_target=True (--drop-missing-target)."
        )
    if y.dtype.kind == "f" and np.isinf(y).any():
        row = int(np.isinf(y).argmax())
        raise DataError(f"the target must be finite; got {y[row]} in row {row + 1}. Remove or repair it.")


@contextmanager
def of_target(name: str) -> Iterator[None]:
    """Add to an error which of several targets it is about."""
    try:
        yield
    except (DataError, ConfigError) as error:
        raise type(error)(f"target {name!r}: {error}") from None
