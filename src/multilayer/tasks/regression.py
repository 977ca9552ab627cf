"""Tasks with numbers: regressions that predict the mean, the median or several quantiles."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np

from multilayer.errors import ConfigError, DataError
from multilayer.tasks.link_steps import Clip, First, LinkChain, Scale, Shift, Sort
from multilayer.tasks.metrics import (
    average,
    coverage,
    interval_width,
    mae,
    pinball_loss,
    pinball_of_rows,
    r2,
    rmse,
    weighted_quantile,
)
from multilayer.tasks.task import Array, Floats, Loss, Task, Weight, check_target

IQR_OF_NORMAL = 1.349  # quartiles of a normal distribution are so many standard deviations apart
HUBER_DELTA = 1.345  # in standard deviations: 95 % as efficient as the mean on normal errors (Huber 1964)


@dataclass(frozen=True)
class Regression(Task):
    """A number whose mean is predicted, by squared error; the other objectives are subclasses.

    center, scale: what the network's target is made with: (y - center) / scale
    low, high:     range of the training target; predictions stay inside

    >>> task = Regression.from_target(np.array([1.0, 3.0]))
    >>> task.as_network_target(task.encode(np.array([3.0, 5.0]))).tolist()
    [[1.0], [3.0]]
    """

    center: float = 0.0
    scale: float = 1.0
    low: float = -np.inf
    high: float = np.inf

    objective: ClassVar[str] = "squared_error"

    @classmethod
    def from_target(cls, y: Array, weight: Weight = None, **settings: Any) -> "Regression":
        """The task that a target column asks for; settings: further fields, such as quantiles.

        Raises:
            DataError: missing or infinite values, text, numbers that do not vary or are out of range.
        """
        task = cls(**settings)
        values = task.encode(y)
        if values.min() == values.max():
            raise DataError(
                f"the target must vary; all {len(y)} rows hold {values[0]:g}. There is nothing to learn."
            )
        return task._in_units(values, weight)

    kind: ClassVar[Literal["regression"]] = "regression"

    @property
    def n_outputs(self) -> int:
        """One."""
        return 1

    @property
    def loss(self) -> Loss:
        """The objective's loss on standardised targets."""
        return "mse"

    metric: ClassVar[str] = "rmse"  # the objective's own

    def encode(self, y: Array) -> Floats:
        """The numbers themselves, in float64."""
        check_target(y)
        if y.dtype == object:
            raise DataError(
                f"regression needs a target of numbers; got text (first: {y[0]!r}). Pass a numeric target, "
                "or task 'multiclass'."
            )
        values = y.astype(np.float64)
        self._check_range(values)
        return values

    def _check_range(self, y: Floats) -> None:
        """Refuse numbers that the objective cannot be."""

    def in_units_of(self, y: Array, weight: Weight = None) -> "Regression":
        """Center, scale and range of these rows, where they vary at all."""
        values = self.encode(y)
        return self if np.ptp(values) == 0 else self._in_units(values, weight)

    def _in_units(self, y: Floats, weight: Weight) -> "Regression":
        center, scale = self._units(y, weight)
        return replace(self, center=center, scale=scale, low=float(y.min()), high=float(y.max()))

    def _units(self, y: Floats, weight: Weight) -> tuple[float, float]:
        """Mean and standard deviation."""
        center = average(y, weight)
        return center, float(np.sqrt(average((y - center) ** 2, weight)))

    def as_network_target(self, code: Array) -> Array:
        """Standardised, (n, 1) float32."""
        return ((code - self.center) / self.scale).astype(np.float32)[:, None]

    @cached_property
    def link_steps(self) -> LinkChain:
        """Numbers in the target's units, kept inside the range seen at fit."""
        return (First(), Scale(self.scale), Shift(self.center), Clip(self.low, self.high))

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Squared error in units of the target's spread."""
        return ((essence - code) / self.scale) ** 2

    def settle(self, code: Array, prediction: Floats, weight: Weight = None) -> tuple["Regression", Floats]:
        """The task as it is; an objective may correct its predictions by these."""
        return self, prediction

    def constant(self, code: Array, weight: Weight = None) -> Floats:
        """The mean."""
        return np.array(average(code, weight))

    def score(self, code: Array, prediction: Floats, weight: Weight = None) -> dict[str, float]:
        """Root mean squared error, mean absolute error and share of the variance explained."""
        return {
            "rmse": rmse(code, prediction, weight),
            "mae": mae(code, prediction, weight),
            "r2": r2(code, prediction, weight),
        }

    def columns(self, prediction: Floats) -> dict[str, Array]:
        """The number."""
        return {"prediction": prediction}

    def aim_in_words(self) -> str:
        """The objective, where it is not the mean."""
        return "" if self.objective == Regression.objective else f"objective: {self.objective}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a model file: open limits are None."""
        values = asdict(self)
        limits = {name: values[name] if np.isfinite(values[name]) else None for name in ("low", "high")}
        return {"kind": "regression", "objective": self.objective} | values | limits

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Regression":
        """The inverse of `to_json`."""
        low, high = values["low"], values["high"]
        limits = {"low": -np.inf if low is None else low, "high": np.inf if high is None else high}
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        known = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
        return cls(**known | limits)


@dataclass(frozen=True)
class _Robust(Regression):
    """Units that outliers hardly move: the median, and the distance between the quartiles."""

    def _units(self, y: Floats, weight: Weight) -> tuple[float, float]:
        quartiles = weighted_quantile(y, [0.25, 0.5, 0.75], weight)
        spread = float(quartiles[2] - quartiles[0]) / IQR_OF_NORMAL
        return float(quartiles[1]), spread or super()._units(y, weight)[1] or 1.0


@dataclass(frozen=True)
class AbsoluteError(_Robust):
    """The median, by absolute error."""

    objective: ClassVar[str] = "absolute_error"

    @property
    def loss(self) -> Loss:
        """Absolute error."""
        return "mae"

    metric: ClassVar[str] = "mae"

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Absolute error in units of the target's spread."""
        return np.abs(essence - code) / self.scale

    def constant(self, code: Array, weight: Weight = None) -> Floats:
        """The median."""
        return np.array(weighted_quantile(code, [0.5], weight)[0])


@dataclass(frozen=True)
class Huber(_Robust):
    """The mean without outliers: squared error up to 1.345 robust standard deviations, then absolute error.

    Source:  Huber 1964, doi:10.1214/aoms/1177703732
    """

    objective: ClassVar[str] = "huber"

    @property
    def loss(self) -> Loss:
        """Huber's."""
        from torch import nn

        return nn.HuberLoss(delta=HUBER_DELTA)

    metric: ClassVar[str] = "mae"  # not rmse: outliers must not decide

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Huber's loss in units of the target's spread."""
        z = np.abs(essence - code) / self.scale
        return np.where(z <= HUBER_DELTA, z**2 / 2, HUBER_DELTA * (z - HUBER_DELTA / 2))

    def constant(self, code: Array, weight: Weight = None) -> Floats:
        """The median."""
        return np.array(weighted_quantile(code, [0.5], weight)[0])


@dataclass(frozen=True)
class Quantiles(_Robust):
    """Several quantiles at once, by pinball loss; a prediction is in ascending order, so they never cross.

    quantiles: ascending, between 0 and 1

    Differs: outputs that cross are sorted, which never makes the loss worse (Chernozhukov et al. 2010,
             doi:10.3982/ECTA7880)
    """

    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)

    objective: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantiles", tuple(map(float, self.quantiles)))
        q = self.quantiles
        if not q or not all(0 < x < 1 for x in q) or any(a >= b for a, b in pairwise(q)):
            raise ConfigError(
                f"quantiles must be between 0 and 1, ascending, at least one; got {q}. "
                "Write for example quantiles=(0.1, 0.5, 0.9)."
            )

    @property
    def n_outputs(self) -> int:
        """One for each quantile."""
        return len(self.quantiles)

    @property
    def loss(self) -> Loss:
        """Pinball loss."""
        from multilayer.training.losses import QuantileLoss

        return QuantileLoss(self.quantiles)

    metric: ClassVar[str] = "pinball_loss"

    @property
    def quantile_levels(self) -> tuple[float, ...]:
        """The quantiles."""
        return self.quantiles

    @property
    def middle(self) -> int:
        """Place of the quantile that is nearest to the median: what `predict` gives."""
        return int(np.abs(np.array(self.quantiles) - 0.5).argmin())

    @cached_property
    def link_steps(self) -> LinkChain:
        """Quantiles (n_rows, n_quantiles) in the target's units, ascending."""
        return (Sort(), Scale(self.scale), Shift(self.center), Clip(self.low, self.high))

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Pinball loss in units of the target's spread, mean over quantiles."""
        return pinball_of_rows((code[..., None] - essence) / self.scale, self.quantiles)

    def constant(self, code: Array, weight: Weight = None) -> Floats:
        """The quantiles of all rows."""
        return weighted_quantile(code, self.quantiles, weight)

    def score(self, code: Array, prediction: Floats, weight: Weight = None) -> dict[str, float]:
        """Pinball loss; of the outermost quantiles coverage and width; mean absolute error of `predict`."""
        scores = {"pinball_loss": pinball_loss(code, prediction, weight, quantiles=self.quantiles)}
        if len(self.quantiles) > 1:
            scores["coverage"] = coverage(code, prediction, weight)
            scores["interval_width"] = interval_width(code, prediction, weight)
        return scores | {"mae": mae(code, self.decide(prediction), weight)}

    def decide(self, prediction: Floats) -> Array:
        """The quantile nearest to the median."""
        return prediction[..., self.middle]

    def columns(self, prediction: Floats) -> dict[str, Array]:
        """Each quantile, then what `predict` gives."""
        each = {f"quantile_{q:g}": prediction[:, i] for i, q in enumerate(self.quantiles)}
        return {**each, "prediction": self.decide(prediction)}

    def aim_in_words(self) -> str:
        """Which quantiles, and which of them `predict` gives."""
        each = ", ".join(f"{q:g}" for q in self.quantiles)
        return (
            f"objective: the quantiles {each}, sorted so that they never cross; predict gives the quantile "
            f"{self.quantiles[self.middle]:g}"
        )


def checked_quantiles(quantiles: Sequence[float] | float) -> tuple[float, ...]:
    """Quantiles as a tuple; a single number is one of them."""
    return (float(quantiles),) if isinstance(quantiles, int | float) else tuple(map(float, quantiles))
