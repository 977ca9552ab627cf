"""Probabilities corrected by rows that were not trained on, where that lowers the loss in cross-validation.

z' = a z + b,   p = mean of the networks' link(z')

Two classes: Platt's scale and shift of the log-odds; more classes: a temperature 1 / a. Both are steps of the
task's link, so whatever runs the model runs them.

Source:  Platt 1999; Guo et al. 2017, arXiv:1706.04599 (temperature)
Differs: applied to each network before their mean, not to the mean
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import counted
from multilayer.tasks.classification import SMALLEST_PROB, Classification

FOLDS = 5
LARGEST = 20.0  # of a scale, and of one over it: beyond, probabilities are 0 and 1

Floats = NDArray[np.float64]


def calibrated(
    task: Classification, outputs: Floats, weights: Floats, code: NDArray[np.int64]
) -> tuple[Classification, str]:
    """The task with scale and shift where they help, else as it is; and what was done, in a sentence.

    Args:
        task: of one target.
        outputs: of each network, for rows that none was trained on (n_networks, n_rows, n_outputs).
        weights: of the networks; they sum to 1.
        code: the class of each row (n_rows,).
    """
    plain = replace(task, scale=1.0, shift=0.0)
    fold = np.random.default_rng(0).permutation(len(code)) % FOLDS
    gain = np.zeros(len(code))
    for held in range(FOLDS):
        inside, outside = fold != held, fold == held
        found = _fitted(plain, outputs[:, inside], weights, code[inside])
        before, after = (_losses(each, outputs[:, outside], weights, code[outside]) for each in (task, found))
        gain[outside] = before - after
    mean, error = float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))
    rows = counted(len(code), "row")
    if mean <= error:
        return task, (
            f"calibration: none, as it would not help: the log loss changes by {-mean:+.4f} ± {error:.4f} in "
            f"cross-validation on {rows}"
        )
    found = _fitted(plain, outputs, weights, code)
    how = f"scaled by {found.scale:.3g}" + (f", shifted by {found.shift:+.3g}" if found.shift else "")
    return found, (
        f"calibration: outputs {how}; the log loss changes by {-mean:+.4f} ± {error:.4f} in cross-validation "
        f"on {rows} that were not trained on"
    )


def _fitted(
    task: Classification, outputs: Floats, weights: Floats, code: NDArray[np.int64]
) -> Classification:
    """Scale and shift of the least log loss."""
    from scipy.optimize import minimize

    is_binary = task.kind == "binary"
    bound = float(np.log(LARGEST))

    def of(values: Floats) -> Classification:
        return replace(task, scale=float(np.exp(values[0])), shift=float(values[1]) if is_binary else 0.0)

    def loss(values: Floats) -> float:
        return float(_losses(of(values), outputs, weights, code).mean())

    bounds = [(-bound, bound), (-LARGEST, LARGEST)][: 1 + is_binary]
    found = minimize(loss, np.zeros(len(bounds)), method="L-BFGS-B", bounds=bounds)
    return of(found.x)


def _losses(task: Classification, outputs: Floats, weights: Floats, code: NDArray[np.int64]) -> Floats:
    """Log loss of each row."""
    probs = sum(w * task.link(said.astype(np.float32)) for w, said in zip(weights, outputs, strict=True))
    own = np.asarray(probs)[np.arange(len(code)), code]
    return -np.log(np.maximum(own, SMALLEST_PROB))
