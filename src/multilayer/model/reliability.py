"""How far predicted probabilities may be taken at their word: reliability diagrams and calibration errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.model.statistics import Reliability

BINS = 15  # as Naeini et al. have it
GRID = 1000  # of the smooth calibration error: kernels narrower than a thousandth tell nothing more
MOST_CLASSES = 30  # with a diagram of their own
MOST_ROWS = 10_000  # that those of several classes look at
PREDICTED = "the predicted class"

Floats = NDArray[np.float64]
Weight = NDArray[np.floating[Any]] | None


def reliability_of_classes(
    labels: Sequence[Any], code: NDArray[np.integer[Any]], probs: Floats, weight: Weight = None
) -> tuple[Reliability, ...]:
    """Of the second of two classes; of more, of the predicted one, then of each, up to 30.

    Args:
        labels: of the classes.
        code: the class of each row (n_rows,).
        probs: (n_rows, n_classes).
    """
    if len(labels) == 2:
        return (reliability(str(labels[1]), probs[:, 1], code == 1, weight),)
    decided = probs.argmax(axis=1)
    top = reliability(PREDICTED, probs.max(axis=1), code == decided, weight)
    some = slice(None, None, -(-len(code) // MOST_ROWS))
    code, probs, weight = code[some], probs[some], None if weight is None else weight[some]
    each = [
        reliability(str(label), probs[:, i], code == i, weight)
        for i, label in enumerate(labels[:MOST_CLASSES])
    ]
    return (top, *each)


def reliability(of: str, prob: Floats, came: NDArray[np.bool_], weight: Weight = None) -> Reliability:
    """The diagram of one class: prob, came: its probability and whether it came, of each row (n_rows,).

    >>> found = reliability("yes", np.array([0.2, 0.2, 0.2, 0.2]), np.array([True, False, False, False]))
    >>> round(found.ece, 3), round(found.brier, 4)
    (0.05, 0.19)
    """
    prob = np.clip(np.asarray(prob, np.float64), 0.0, 1.0)
    w = np.full(len(prob), 1 / len(prob)) if weight is None else np.asarray(weight, np.float64)
    w, outcome = w / w.sum(), came.astype(np.float64)
    place = equal_bins(prob, w, BINS)
    share, predicted, observed = (
        np.bincount(place, part).astype(np.float64) for part in (w, w * prob, w * outcome)
    )
    there = share > 0
    share, predicted, observed = share[there], predicted[there], observed[there]
    return Reliability(
        of=of,
        predicted=np.minimum(predicted / share, 1.0),
        observed=np.minimum(observed / share, 1.0),
        share=share,
        ece=float(min(np.abs(predicted - observed).sum(), 1.0)),
        smooth_ece=smooth_ece(prob, outcome, w),
        brier=float(min(w @ (prob - outcome) ** 2, 1.0)),
    )


def equal_bins(values: Floats, weight: Floats, n_bins: int) -> NDArray[np.int64]:
    """The bin of each value, of which all hold about the same weight; equal values are in one.

    >>> equal_bins(np.array([3.0, 1.0, 1.0, 2.0]), np.ones(4), 2).tolist()
    [1, 0, 0, 1]
    """
    order = np.argsort(values, kind="stable")
    before = np.cumsum(weight[order]) - weight[order]
    bins = np.minimum(
        (before / before[-1] * n_bins if before[-1] > 0 else before).astype(np.int64), n_bins - 1
    )
    ordered = values[order]
    first = np.searchsorted(ordered, ordered, side="left")
    place = np.empty(len(values), np.int64)
    place[order] = bins[first]
    return np.unique(place, return_inverse=True)[1].astype(np.int64)


def smooth_ece(prob: Floats, outcome: Floats, weight: Floats) -> float:
    """The calibration error, smoothed by as much as it is large.

    smECE_s = integral |E[(y - p) K_s(t, p)]| dt,  K_s: Gauss' kernel of width s, reflected at 0 and 1;
    the result is the s with smECE_s = s

    Source:  Błasiok, Nakkiran 2023, arXiv:2309.12236, section 4
    Differs: on a grid of a thousandth
    """
    place = np.clip((prob * GRID).round().astype(np.int64), 0, GRID)
    error = np.bincount(place, weight * (outcome - prob), GRID + 1)
    # Reflected at both ends, the grid repeats itself after 2 GRID: a circular convolution.
    unrolled = np.concatenate([error, error[-2:0:-1]])
    unrolled[[0, GRID]] *= 2  # they are their own images
    spectrum = np.fft.rfft(unrolled)
    frequency = np.arange(len(spectrum)) / 2  # per unit of probability

    def smoothed(width: float) -> float:
        kernel = np.exp(-2 * (np.pi * frequency * width) ** 2)
        found = np.fft.irfft(spectrum * kernel, len(unrolled))[: GRID + 1]
        found[[0, GRID]] /= 2
        return float(np.abs(found).sum())

    low, high = 0.0, 1.0
    while high - low > 1 / GRID / 2:
        middle = (low + high) / 2
        low, high = (middle, high) if smoothed(middle) > middle else (low, middle)
    return high
