"""Regressions whose mean is positive: the network's output is a logarithm."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError
from multilayer.tasks.link_steps import Clip, Exp, First, LinkChain, Scale, Shift
from multilayer.tasks.metrics import average, gamma_deviance, poisson_deviance, rmse, tweedie_deviance
from multilayer.tasks.regression import Regression
from multilayer.tasks.task import Array, Floats, Loss, Weight

LARGEST_LOG = 30.0  # outputs are cut off there: e^30 times the mean is beyond any range seen
POWER = 1.5  # of Tweedie's variance, as LightGBM and CatBoost have it


def _refusal(objective: str, y: Floats, is_wrong: NDArray[np.bool_], rule: str, advice: str) -> DataError:
    """The error for a target that is outside of what an objective can be."""
    row = int(is_wrong.argmax())
    return DataError(
        f"objective {objective!r} needs a target {rule}; got {y[row]:g} in row {row + 1}, and "
        f"{int(is_wrong.sum())} such in all. {advice}"
    )


@dataclass(frozen=True)
class LogLink(Regression):
    """The mean is e^output times the mean of the training target (`scale`)."""

    takes_exposure: ClassVar[bool] = True  # rates can be predicted: the mean of y per unit of exposure

    def _units(self, y: Floats, weight: Weight) -> tuple[float, float]:
        """0, and the mean."""
        return 0.0, average(y, weight) or 1.0

    @cached_property
    def link_steps(self) -> LinkChain:
        """Positive numbers in the target's units, inside the range seen at fit."""
        cut = Clip(-LARGEST_LOG, LARGEST_LOG)
        return (First(), cut, Exp(), Scale(self.scale), Clip(self.low, self.high))


@dataclass(frozen=True)
class Poisson(LogLink):
    """Counts, or other numbers from 0 up whose variance grows with the mean."""

    objective: ClassVar[str] = "poisson"

    @property
    def loss(self) -> Loss:
        """Poisson's negative log-likelihood."""
        return "poisson"

    metric: ClassVar[str] = "poisson_deviance"

    def _check_range(self, y: Floats) -> None:
        if (y < 0).any():
            raise _refusal(
                self.objective, y, y < 0, "of 0 or above", "Leave such rows out, or take another objective."
            )

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Half the deviance, in units of the mean, without its part that the prediction has no say in."""
        return (essence - code * np.log(essence)) / self.scale

    def score(self, code: Array, prediction: Floats, weight: Weight = None) -> dict[str, float]:
        """Mean deviance, and the metrics of every regression."""
        return {"poisson_deviance": poisson_deviance(code, prediction, weight)} | super().score(
            code, prediction, weight
        )


@dataclass(frozen=True)
class Gamma(LogLink):
    """Positive amounts whose spread grows in proportion to the mean, such as what a claim costs."""

    objective: ClassVar[str] = "gamma"

    @property
    def loss(self) -> Loss:
        """The gamma distribution's negative log-likelihood."""
        return "gamma"

    metric: ClassVar[str] = "gamma_deviance"

    def _check_range(self, y: Floats) -> None:
        if (y <= 0).any():
            raise _refusal(
                self.objective, y, y <= 0, "above 0", "Leave such rows out, or take objective 'tweedie'."
            )

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Half the deviance, without its part that the prediction has no say in."""
        return code / essence + np.log(essence / self.scale)

    def score(self, code: Array, prediction: Floats, weight: Weight = None) -> dict[str, float]:
        """Mean deviance, and the metrics of every regression."""
        return {"gamma_deviance": gamma_deviance(code, prediction, weight)} | super().score(
            code, prediction, weight
        )


@dataclass(frozen=True)
class Tweedie(LogLink):
    """Numbers that are often 0, else positive, such as what an insurance pays in a year.

    power: the variance grows with this power of the mean
    """

    power: float = POWER

    objective: ClassVar[str] = "tweedie"

    @property
    def loss(self) -> Loss:
        """Tweedie's."""
        from multilayer.training.losses import TweedieLoss

        return TweedieLoss(self.power)

    metric: ClassVar[str] = "tweedie_deviance"

    def _check_range(self, y: Floats) -> None:
        if (y < 0).any():
            raise _refusal(
                self.objective, y, y < 0, "of 0 or above", "Leave such rows out, or take another objective."
            )

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Half the deviance, in units of the mean, without its part that the prediction has no say in."""
        p, mean, y = self.power, essence / self.scale, code / self.scale
        return mean ** (2 - p) / (2 - p) - y * mean ** (1 - p) / (1 - p)

    def score(self, code: Array, prediction: Floats, weight: Weight = None) -> dict[str, float]:
        """Mean deviance, and the metrics of every regression."""
        deviance = tweedie_deviance(code, prediction, weight, power=self.power)
        return {"tweedie_deviance": deviance} | super().score(code, prediction, weight)

    def aim_in_words(self) -> str:
        """The objective and its power."""
        return f"{super().aim_in_words()} of power {self.power:g}"


@dataclass(frozen=True)
class LogTarget(Regression):
    """Positive numbers with a long tail: their logarithm by squared error, corrected to predict the mean.

    y^ = factor e^(scale output + center),   factor = sum(w y) / sum(w e^(scale output + center))

    The factor is taken on predictions of rows that were not trained on: e^(mean of a logarithm) alone is a
    median, and too small as a mean.

    Source:  ratio estimator of Snowdon 1991, doi:10.1139/x91-101
    Differs: from the smearing of Duan 1983 (mean of y / y^), where single small predictions decide; here the
             sum of predictions is that of the target

    factor: what the back-transformed logarithm is multiplied with
    """

    factor: float = 1.0

    objective: ClassVar[str] = "log"

    metric: ClassVar[str] = "log_rmse"  # root mean squared error of the logarithm

    def _check_range(self, y: Floats) -> None:
        if (y <= 0).any():
            raise _refusal(
                self.objective, y, y <= 0, "above 0", "Leave such rows out, or take objective 'tweedie'."
            )

    def _units(self, y: Floats, weight: Weight) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm."""
        return super()._units(np.log(y), weight)

    def as_network_target(self, code: Array) -> Array:
        """The standardised logarithm, (n, 1) float32."""
        return super().as_network_target(np.log(code))

    @cached_property
    def link_steps(self) -> LinkChain:
        """Positive numbers in the target's units, inside the range seen at fit."""
        low, high = map(float, np.log([max(self.low, np.finfo(float).tiny), self.high]))
        logarithm = (First(), Scale(self.scale), Shift(self.center), Clip(low, high))
        return (*logarithm, Exp(), Scale(self.factor), Clip(self.low, self.high))

    def row_losses(self, essence: Floats, code: Array) -> Floats:
        """Squared error of the logarithm, in units of its spread."""
        return (np.log(essence / code) / self.scale) ** 2

    def settle(self, code: Array, prediction: Floats, weight: Weight = None) -> tuple["LogTarget", Floats]:
        """With the factor that makes the mean of these predictions that of the target."""
        factor = average(code, weight) / average(prediction, weight)
        settled = replace(self, factor=self.factor * factor)
        return settled, np.clip(prediction * factor, self.low, self.high)

    def score(self, code: Array, prediction: Floats, weight: Weight = None) -> dict[str, float]:
        """Root mean squared error of the logarithm, and the metrics of every regression."""
        return {"log_rmse": rmse(np.log(code), np.log(prediction), weight)} | super().score(
            code, prediction, weight
        )

    def aim_in_words(self) -> str:
        """The objective and the factor."""
        return (
            "objective: the logarithm of the target is learnt, and predictions are multiplied by "
            f"{self.factor:.4g}, so that their sum over the validation rows is that of the target"
        )
