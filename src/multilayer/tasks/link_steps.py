"""The primitive steps from a network's outputs to a prediction. `Task.link` runs them, and others may.

Each works row by row, in float64 but for `Softmax`, which takes float32 first; all are arithmetic.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMALLEST_LOGIT = np.float32(-87.0)  # below the largest: e^-87 is the smallest number that is not denormal


class LinkStep(ABC):
    """One step: from what came before, (n_rows, ...), to what comes next. Frozen: all is in its fields."""

    @abstractmethod
    def run(self, x: NDArray[np.floating[Any]]) -> Floats:
        """Take the step."""


LinkChain = tuple[LinkStep, ...]


@dataclass(frozen=True)
class First(LinkStep):
    """y = x_0: the only output, (n_rows, 1), as numbers (n_rows,)."""

    def run(self, x: NDArray[np.floating[Any]]) -> Floats:
        """(n_rows,)."""
        return _double(x[:, 0])


@dataclass(frozen=True)
class Scale(LinkStep):
    """y = x factor."""

    factor: float

    def run(self, x: NDArray[np.floating[Any]]) -> Floats:
        """As x."""
        return _double(x) * self.factor


@dataclass(frozen=True)
class Shift(LinkStep):
    """y = x + by, in the target's units or their logarithm."""

    by: float

    def run(self, x: NDArray[np.floating[Any]]) -> Floats:
        """As x."""
        return _double(x) + self.by


@dataclass(frozen=True)
class Clip(LinkStep):
    """y = min(max(x, low), high); a limit may be infinite."""

    low: float
    high: float

    def run(self, x: NDArray[np.floating[Any]]) -> Floats:
        """As x; NaN stays."""
        return np.clip(_double(x), self.low, self.high)


@dataclass(frozen=True)
class Exp(LinkStep):
    """y = e^x."""

    def run(self, x: NDArray[np.floating[Any]]) -> Floats:
        """As x."""
        return np.exp(_double(x))


@dataclass(frozen=True)
class Sort(LinkStep):
    """y = x in ascending order, row by row."""

    def run(self, x: NDArray[np.floating[Any]]) -> Floats:
        """As x, (n_rows, n_quantiles)."""
        return np.sort(_double(x), axis=1)


@dataclass(frozen=True)
class Sigmoid(LinkStep):
    """y = 1 / (1 + e^-x), without overflow: e^-log(1 + e^-x)."""

    def run(self, x: NDArray[np.floating[Any]]) -> Floats:
        """Probabilities, as x."""
        with np.errstate(invalid="ignore"):  # of weights that have left the finite, NaN stays NaN
            return np.exp(-np.logaddexp(0.0, -_double(x)))


@dataclass(frozen=True)
class BothClasses(LinkStep):
    """y = (1 - p, p): of the probability of the second class, (n_rows,), those of both."""

    def run(self, x: NDArray[np.floating[Any]]) -> Floats:
        """Probabilities (n_rows, 2)."""
        positive = _double(x)
        return np.stack([1 - positive, positive], axis=1)


@dataclass(frozen=True)
class Softmax(LinkStep):
    """y_i = e_i / sum_k e_k,   e_i = e^max(x_i - max_k x_k, -87).

    Differences and powers are float32, as of 1,000 classes they are the work; sum and quotient are float64.
    """

    def run(self, x: NDArray[np.floating[Any]]) -> Floats:
        """Probabilities (n_rows, n_classes)."""
        z = x - x.max(axis=1, keepdims=True)
        probs = np.exp(np.maximum(z, SMALLEST_LOGIT, out=z), out=z).astype(np.float64)
        probs /= probs.sum(axis=1, keepdims=True)
        return probs


@dataclass(frozen=True)
class OfEach(LinkStep):
    """y = (steps_0(x_0), steps_1(x_1), ...): of several targets, each with outputs of its own.

    width: outputs of each; x_i are columns i width to (i + 1) width - 1
    steps: of each target
    """

    width: int
    steps: tuple[LinkChain, ...]

    def run(self, x: NDArray[np.floating[Any]]) -> Floats:
        """What each gives, side by side on axis 1: (n_rows, n_targets, ...)."""
        outputs = (x[:, i * self.width : (i + 1) * self.width] for i in range(len(self.steps)))
        return np.stack([run_link(*each) for each in zip(self.steps, outputs, strict=True)], axis=1)


def run_link(steps: LinkChain, output: NDArray[np.float32]) -> Floats:
    """A network's outputs (n_rows, n_outputs) after all steps.

    >>> run_link((First(), Scale(2.0), Shift(1.0)), np.array([[3.0]], np.float32))
    array([7.])
    """
    x: NDArray[Any] = output
    for step in steps:
        x = step.run(x)
    return x


def _double(x: NDArray[np.floating[Any]]) -> Floats:
    return np.asarray(x, dtype=np.float64)
