"""Conformity: how far targets are from predictions, and the intervals and sets that follow from it.

A score is large where a target does not conform to its prediction. What is at most as large as (n + 1) c of n
scores of rows that are alike to the new ones belongs to an interval, or a set, of coverage c.

Source:  Vovk, Gammerman, Shafer 2005; Angelopoulos, Bates 2021, arXiv:2107.07511
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.model.reliability import equal_bins, reliability_of_classes
from multilayer.model.statistics import ClassErrors, Distribution, NumberErrors, QuantileErrors
from multilayer.tasks.classification import Classification
from multilayer.tasks.task import Task

BINS = 20  # of predictions, each with its typical error
FEWEST_IN_BIN = 50  # rows
SMALLEST_TYPICAL = 0.05  # of the mean error: a bin of errors that are 0 must not make intervals of no width
PENALTIES = (0.001, 0.01, 0.1, 0.2, 0.5)  # of RAPS, as its authors try
PENALTY_COVERAGE = 0.9  # at which sets are to be small
PENALTY_SCORES = 50_000  # that choosing it looks at
RAPS_SCORES = 200_000  # of classes of rows that are looked at

Floats = NDArray[np.float64]
Weight = NDArray[np.floating[Any]] | None
Errors = NumberErrors | QuantileErrors | ClassErrors


def errors_of(
    task: Task, code: NDArray[np.generic], prediction: Floats, weight: Weight, spread: Floats | None
) -> tuple[Errors, ...]:
    """How predictions of held-out rows went, of each target.

    Args:
        task: what is predicted.
        code, prediction: of the rows, as the task has them.
        weight: of the rows; None weighs all alike.
        spread: by how much the networks disagree about each target of some rows (n_rows, n_targets).
    """
    found: list[Errors] = []
    codes = code.reshape(len(code), -1).T
    for i, (part, of_code, of_part) in enumerate(
        zip(task.parts_of_targets, codes, task.by_target(prediction), strict=True)
    ):
        disagreement = None if spread is None else Distribution.of(spread[:, i])
        if isinstance(part, Classification):
            found.append(class_errors(part, of_code.astype(np.int64), of_part, weight, disagreement))
        elif part.quantile_levels is not None:
            found.append(quantile_errors(of_code.astype(np.float64), of_part, weight, disagreement))
        else:
            found.append(number_errors(of_code.astype(np.float64), of_part, weight, disagreement))
    return tuple(found)


# Numbers


def number_errors(y: Floats, prediction: Floats, weight: Weight, spread: Distribution | None) -> NumberErrors:
    """Of targets and predictions (n_rows,)."""
    residual = y - prediction
    predicted, typical = _typical_errors(np.abs(residual), prediction, weight)
    relative = np.abs(residual) / np.interp(prediction, predicted, typical)
    return NumberErrors(
        residuals=Distribution.of(residual, weight),
        absolute=Distribution.of(np.abs(residual), weight),
        predicted=predicted,
        typical=typical,
        relative=Distribution.of(relative, weight),
        spread=spread,
    )


def _typical_errors(error: Floats, prediction: Floats, weight: Weight) -> tuple[Floats, Floats]:
    """The mean error in bins of predictions: mean prediction and mean error of each."""
    w = np.ones(len(error)) if weight is None else np.asarray(weight, np.float64)
    place = equal_bins(prediction, w, max(1, min(BINS, len(error) // FEWEST_IN_BIN)))
    n_of = np.bincount(place, w)
    predicted = np.bincount(place, w * prediction) / n_of
    typical = np.bincount(place, w * error) / n_of
    rises = np.diff(predicted, prepend=-np.inf) > 0
    mean = float(np.average(error, weights=w))
    least = max(SMALLEST_TYPICAL * mean, float(np.finfo(np.float32).tiny))
    return predicted[rises], np.maximum(typical[rises], least)


def quantile_errors(
    y: Floats, quantiles: Floats, weight: Weight, spread: Distribution | None
) -> QuantileErrors:
    """Of targets (n_rows,) and their predicted quantiles (n_rows, n_quantiles)."""
    pairs = quantile_pairs(quantiles.shape[1])
    outside = (np.maximum(quantiles[:, low] - y, y - quantiles[:, high]) for low, high in pairs)
    return QuantileErrors(tuple(Distribution.of(each, weight) for each in outside), spread)


def quantile_pairs(n_quantiles: int) -> list[tuple[int, int]]:
    """Places of quantiles that make an interval, the outermost first; of an odd number the middle one, too.

    >>> quantile_pairs(3), quantile_pairs(2)
    ([(0, 2), (1, 1)], [(0, 1)])
    """
    return [(i, n_quantiles - 1 - i) for i in range((n_quantiles + 1) // 2)]


# Classes


def class_errors(
    task: Classification,
    code: NDArray[np.int64],
    probs: Floats,
    weight: Weight,
    spread: Distribution | None,
) -> ClassErrors:
    """Of codes (n_rows,) and predicted probabilities (n_rows, n_classes)."""
    lac = Distribution.of(1 - probs[np.arange(len(code)), code], weight)
    diagrams = reliability_of_classes(task.labels, code, probs, weight)
    if len(task.labels) == 2:
        return ClassErrors(lac, None, 0.0, 0, diagrams, spread)
    some = slice(0, max(1000, RAPS_SCORES // len(task.labels)))
    of_some = None if weight is None else np.asarray(weight)[some]
    penalty, free = _raps_settings(code, probs)
    raps = raps_scores(probs[some], penalty, free)[np.arange(len(code[some])), code[some]]
    return ClassErrors(lac, Distribution.of(raps, of_some), penalty, free, diagrams, spread)


def raps_scores(probs: Floats, penalty: float, free: int) -> Floats:
    """The score of each class (n_rows, n_classes).

    E(x, c) = sum of p_j over classes more probable than c + u p_c + penalty max(0, place of c - free)

    u is uniform in [0, 1), and a function of the probabilities alone, so that a row always has one set.

    Source:  Angelopoulos et al. 2021, arXiv:2009.14193, equation (4)
    """
    order = np.argsort(-probs, axis=1, kind="stable")
    ordered = np.take_along_axis(probs, order, axis=1)
    place = np.arange(1, probs.shape[1] + 1)
    scores = np.cumsum(ordered, axis=1) - (1 - _uniform(ordered[:, :1])) * ordered
    scores += penalty * np.maximum(0, place - free)
    found = np.empty_like(scores)
    np.put_along_axis(found, order, scores, axis=1)
    return found


def _uniform(largest: Floats) -> Floats:
    """Numbers that look uniform in [0, 1), of probabilities to the sixth digit."""
    bits = (largest * 1e6).round().astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64's mixing
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return (bits >> np.uint64(11)).astype(np.float64) / 2.0**53


def _raps_settings(code: NDArray[np.int64], probs: Floats) -> tuple[float, int]:
    """Penalty and number of free classes that make sets small."""
    some = slice(0, max(50, PENALTY_SCORES // probs.shape[1]))
    code, probs = code[some], probs[some]
    rows = np.arange(len(code))
    own = probs[rows, code]
    place = 1 + (probs > own[:, None]).sum(axis=1)
    free = int(Distribution.of(place.astype(np.float64)).at([PENALTY_COVERAGE])[0])
    sizes = []
    for penalty in PENALTIES:
        scores = raps_scores(probs, penalty, free)
        limit = Distribution.of(scores[rows, code]).quantile(PENALTY_COVERAGE)
        sizes.append(float((scores <= limit).sum(axis=1).mean()))
    return PENALTIES[int(np.argmin(sizes))], free
