"""Metrics that are reported, as plain NumPy functions with optional row weights."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError

Array = NDArray[Any]
Metric = Callable[..., float]


def average(values: Array, weight: Array | None = None) -> float:
    """The mean, of rows that may weigh differently.

    >>> average(np.array([1.0, 4.0]), np.array([2.0, 1.0]))
    2.0
    """
    return float(np.average(values, weights=weight))


def weighted_quantile(
    y: Array, quantiles: Sequence[float], weight: Array | None = None
) -> NDArray[np.float64]:
    """Quantiles of y: for each the smallest value that at least this share of the weight does not exceed.

    >>> weighted_quantile(np.array([5.0, 1.0, 9.0]), [0.5, 0.9]).tolist()
    [5.0, 9.0]
    """
    order = np.argsort(y, kind="stable")
    w = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)[order]
    share = np.cumsum(w) / w.sum()
    places = np.searchsorted(share, np.asarray(quantiles) - 1e-12)  # 0.1 + 0.2 is no more than 0.3
    return y[order][np.minimum(places, len(y) - 1)].astype(np.float64)


def accuracy(y: Array, prediction: Array, weight: Array | None = None) -> float:
    """Share of rows whose predicted class is the true one.

    >>> accuracy(np.array([0, 1, 1]), np.array([0, 1, 0])).__round__(3)
    0.667
    """
    return float(np.average(y == prediction, weights=weight))


def log_loss(y: Array, probs: Array, weight: Array | None = None) -> float:
    """Mean negative log probability of the true class, in nats.

    y: class codes; probs: (n_rows, n_classes)

    >>> log_loss(np.array([1]), np.array([[0.5, 0.5]])).__round__(4)
    0.6931
    """
    chosen = probs[np.arange(len(y)), y.astype(np.int64)].astype(np.float64)
    return float(np.average(-np.log(np.clip(chosen, np.finfo(np.float32).tiny, 1.0)), weights=weight))


def roc_auc(y: Array, score: Array, weight: Array | None = None) -> float:
    """Area under the ROC curve: how often a row of class 1 scores above one of class 0.

    A tie counts half; NaN where one of the two classes is absent. Equal to scikit-learn's `roc_auc_score`,
    without the two seconds that importing it takes.

    >>> roc_auc(np.array([0, 0, 1]), np.array([0.1, 0.4, 0.8]))
    1.0
    """
    w = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)
    is_positive = y == 1
    _, place = np.unique(score, return_inverse=True)
    positive = np.bincount(place, w * is_positive)  # weight at each distinct score, ascending
    negative = np.bincount(place, w * ~is_positive)
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below / pairs) if pairs > 0 else float("nan")


def rmse(y: Array, prediction: Array, weight: Array | None = None) -> float:
    """Root of the mean squared error, in the units of y.

    >>> rmse(np.array([0.0, 0.0]), np.array([3.0, 4.0])).__round__(4)
    3.5355
    """
    error = y.astype(np.float64) - prediction
    return float(np.sqrt(np.average(error**2, weights=weight)))


def log_rmse(y: Array, prediction: Array, weight: Array | None = None) -> float:
    """Root of the mean squared error of the logarithm; all are positive.

    >>> log_rmse(np.array([1.0]), np.array([np.e])).__round__(4)
    1.0
    """
    return rmse(np.log(y), np.log(prediction), weight)


def mae(y: Array, prediction: Array, weight: Array | None = None) -> float:
    """Mean absolute error, in the units of y.

    >>> mae(np.array([0.0, 0.0]), np.array([3.0, 4.0]))
    3.5
    """
    return float(np.average(np.abs(y.astype(np.float64) - prediction), weights=weight))


def r2(y: Array, prediction: Array, weight: Array | None = None) -> float:
    """Share of the variance of y that is explained: 1 is perfect, 0 is the mean; NaN where y is constant.

    >>> r2(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    0.0
    """
    y = y.astype(np.float64)
    spread = np.average((y - np.average(y, weights=weight)) ** 2, weights=weight)
    return (
        float(1 - np.average((y - prediction) ** 2, weights=weight) / spread) if spread > 0 else float("nan")
    )


def pinball_loss(
    y: Array, prediction: Array, weight: Array | None = None, *, quantiles: Sequence[float]
) -> float:
    """Quantile loss, mean over the quantiles, in the units of y.

    prediction: (n_rows, n_quantiles)

    >>> pinball_loss(np.array([3.0]), np.array([[1.0, 1.0]]), quantiles=[0.1, 0.9])
    1.0
    """
    return average(pinball_of_rows(y[:, None].astype(np.float64) - prediction, quantiles), weight)


def pinball_of_rows(short: Array, quantiles: Sequence[float]) -> Array:
    """Quantile loss of each row, mean over the quantiles, which are the last axis.

    short: by how much each quantile is below the target

    >>> pinball_of_rows(np.array([[2.0, 2.0], [-1.0, 0.0]]), [0.1, 0.9])
    array([1.  , 0.45])
    """
    q = np.asarray(quantiles)
    return np.maximum(q * short, (q - 1) * short).mean(axis=-1)


def coverage(y: Array, prediction: Array, weight: Array | None = None) -> float:
    """Share of rows between the first and the last of the predicted quantiles, ends included.

    >>> coverage(np.array([1.0, 5.0]), np.array([[0.0, 2.0], [0.0, 2.0]]))
    0.5
    """
    return average((prediction[:, 0] <= y) & (y <= prediction[:, -1]), weight)


def interval_width(y: Array, prediction: Array, weight: Array | None = None) -> float:
    """Mean distance of the first and the last of the predicted quantiles, in the units of y.

    >>> interval_width(np.array([1.0]), np.array([[0.0, 2.0]]))
    2.0
    """
    return average(prediction[:, -1] - prediction[:, 0], weight)


def poisson_deviance(y: Array, mean: Array, weight: Array | None = None) -> float:
    """Mean Poisson deviance, 0 where every mean is y. y is not negative, means are positive.

    Equal to scikit-learn's `mean_poisson_deviance`.

    >>> poisson_deviance(np.array([1.0]), np.array([np.e])).__round__(4)
    1.4366
    """
    y_log_ratio = y * np.log(np.where(y > 0, y, 1.0) / np.where(y > 0, mean, 1.0))
    return average(2 * (y_log_ratio - y + mean), weight)


def gamma_deviance(y: Array, mean: Array, weight: Array | None = None) -> float:
    """Mean gamma deviance, 0 where every mean is y. All are positive.

    Equal to scikit-learn's `mean_gamma_deviance`.

    >>> gamma_deviance(np.array([1.0]), np.array([np.e])).__round__(4)
    0.7358
    """
    return average(2 * (np.log(mean / y) + y / mean - 1), weight)


def tweedie_deviance(y: Array, mean: Array, weight: Array | None = None, *, power: float = 1.5) -> float:
    """Mean Tweedie deviance for a power between 1 and 2. y is not negative, means are positive.

    Equal to scikit-learn's `mean_tweedie_deviance`.

    >>> tweedie_deviance(np.array([0.0, 4.0]), np.array([4.0, 4.0]))
    4.0
    """
    p = power
    of_y = y ** (2 - p) / ((1 - p) * (2 - p))
    return average(2 * (of_y - y * mean ** (1 - p) / (1 - p) + mean ** (2 - p) / (2 - p)), weight)


def balanced_accuracy(y: Array, prediction: Array, weight: Array | None = None) -> float:
    """Mean over the classes of the share of their rows that are recognised.

    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    w = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)
    there = [c for c in np.unique(y) if w[y == c].sum() > 0]
    return float(np.mean([average(prediction[y == c] == c, w[y == c]) for c in there]))


def precision(y: Array, prediction: Array, weight: Array | None = None) -> float:
    """Share of the rows predicted as class 1 that are; 0 where none is predicted.

    >>> precision(np.array([0, 1]), np.array([1, 1]))
    0.5
    """
    w = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)
    predicted = float(w @ (prediction == 1))
    return float(w @ ((prediction == 1) & (y == 1))) / predicted if predicted > 0 else 0.0


def recall(y: Array, prediction: Array, weight: Array | None = None) -> float:
    """Share of the rows of class 1 that are predicted as such; 0 where there is none.

    >>> recall(np.array([1, 1]), np.array([1, 0]))
    0.5
    """
    return precision(prediction, y, weight)


def f1(y: Array, prediction: Array, weight: Array | None = None) -> float:
    """Harmonic mean of precision and recall of class 1.

    >>> f1(np.array([0, 1]), np.array([1, 1])).__round__(4)
    0.6667
    """
    p, r = precision(y, prediction, weight), recall(y, prediction, weight)
    return 2 * p * r / (p + r) if p + r > 0 else 0.0


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of the named metric is the better one.

    >>> lower_is_better("rmse"), lower_is_better("roc_auc")
    (True, False)
    """
    if metric not in METRICS:
        raise DataError(f"unknown metric {metric!r}; known: {', '.join(sorted(METRICS))}.")
    return metric.endswith("_deviance") or metric in LOWER_IS_BETTER


LOWER_IS_BETTER = {"interval_width", "log_loss", "log_rmse", "mae", "pinball_loss", "rmse"}
METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "coverage": coverage,
    "f1": f1,
    "gamma_deviance": gamma_deviance,
    "interval_width": interval_width,
    "log_loss": log_loss,
    "log_rmse": log_rmse,
    "mae": mae,
    "pinball_loss": pinball_loss,
    "poisson_deviance": poisson_deviance,
    "precision": precision,
    "r2": r2,
    "recall": recall,
    "rmse": rmse,
    "roc_auc": roc_auc,
    "tweedie_deviance": tweedie_deviance,
}
