"""What the networks of a model say one by one, and by how much they disagree."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from multilayer.model.predictor import Predictor
from multilayer.tasks.task import Task

Floats = NDArray[np.float64]


def member_predictions(
    networks: Sequence[nn.Module],
    link: Callable[[NDArray[np.float32]], Floats],
    x: NDArray[np.float32],
    *,
    by_kernels: bool | None = None,
) -> Floats:
    """The prediction of each network for encoded rows: (n_networks, n_rows, ...).

    by_kernels: as `Predictor` has it
    """
    return np.stack([Predictor([net], link, kernels=by_kernels)(x) for net in networks])


def spread_by_target(task: Task, by_member: Floats, weights: Sequence[float] | None) -> Floats:
    """By how much the networks disagree about each target: (n_rows, n_targets), in its units.

    The standard deviation over the networks; of several numbers (probabilities of classes, quantiles) the
    root of the mean of their variances.

    Args:
        by_member: what `member_predictions` gives.
        weights: of the networks; None weighs all alike.
    """
    w = np.ones(len(by_member)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    each = [task.by_target(said) for said in by_member]
    spreads = []
    for of_target in zip(*each, strict=True):
        said = np.stack(of_target)
        variance = np.tensordot(w, (said - np.tensordot(w, said, 1)) ** 2, 1)
        spreads.append(np.sqrt(variance.reshape(len(variance), -1).mean(axis=1)))
    return np.stack(spreads, axis=1)
