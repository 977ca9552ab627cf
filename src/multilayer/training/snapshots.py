"""Snapshots: networks as they were after each epoch, and the choice of those that predict best together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.training.pack import Progress

Floats = NDArray[np.float64]
Keep = Callable[[int, NDArray[np.float32]], NDArray[Any]]  # of a member's outputs what a snapshot keeps


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A network after an epoch.

    member, epoch: which network, and after which epoch, counted from 1
    loss:          on its validation rows
    essence:       what `keep` kept of its outputs for them
    weights:       its `state_dict`, copied
    """

    member: int
    epoch: int
    loss: float
    essence: NDArray[Any]
    weights: dict[str, torch.Tensor]


class Snapshots:
    """A callback of `train_pack` that keeps each network's best epochs, at most so many: memory is bounded.

    Args:
        most: snapshots kept of each network, those with the lowest validation loss.
        keep: from a member's number and its outputs to what is kept of them, which may be much less; None
            keeps them as they are.

    Attributes:
        of: of each network its snapshots, in the order of their epochs.

    >>> from multilayer.training.loop import train_pack
    >>> nets, x = [nn.Linear(1, 1), nn.Linear(1, 1)], torch.randn(40, 1)
    >>> kept = Snapshots(most=3)
    >>> histories = train_pack(nets, x, x, loss="mse", epochs=5, validation=0.5, callbacks=[kept])
    >>> [len(snapshots) for snapshots in kept.of]
    [3, 3]
    """

    _multilayer_changes = "nothing"  # of what the kernels have read; see pack.py

    def __init__(self, most: int, keep: Keep | None = None) -> None:
        self.most = most
        self.keep = keep or _as_they_are
        self.of: list[list[Snapshot]] = []

    def __call__(self, progress: Progress) -> None:
        """Keep what is among the best of its network."""
        self.of = self.of or [[] for _ in progress.nets]
        parts = zip(self.of, progress.nets, progress.val_outputs, progress.val_losses, strict=True)
        for member, (kept, net, output, loss) in enumerate(parts):
            if output is None or loss is None or not np.isfinite(loss):
                continue
            worst = max(kept, key=lambda snapshot: snapshot.loss, default=None)
            if worst is not None and len(kept) >= self.most:
                if worst.loss <= loss:
                    continue
                kept.remove(worst)
            kept.append(Snapshot(member, progress.epoch, loss, self.keep(member, output), _copy_of(net)))


class LastBest:
    """A callback of `train_pack` that keeps an epoch of each network: the last of those with the least error.

    Among epochs of equal error the loss need not be the least: counts of wrong rows tie often.

    Source:  Holzmüller et al. 2024, arXiv:2407.04491

    Args:
        error: of outputs on the validation rows.
        keep: as of `Snapshots`.

    Attributes:
        of: of each network its one snapshot, in a list as in `Snapshots`.

    >>> from multilayer.training.loop import train_pack
    >>> kept, x = LastBest(lambda output: 0.0), torch.randn(40, 1)
    >>> nets = [nn.Linear(1, 1)]
    >>> histories = train_pack(nets, x, x, loss="mse", epochs=5, validation=0.5, callbacks=[kept])
    >>> kept.of[0][0].epoch
    5
    """

    _multilayer_changes = "nothing"

    def __init__(self, error: Callable[[NDArray[np.float32]], float], keep: Keep | None = None) -> None:
        self.error = error
        self.keep = keep or _as_they_are
        self.least: list[float] = []
        self.of: list[list[Snapshot]] = []

    def __call__(self, progress: Progress) -> None:
        """Keep what is at least as good as what is kept."""
        self.of = self.of or [[] for _ in progress.nets]
        self.least = self.least or [np.inf] * len(progress.nets)
        parts = zip(progress.nets, progress.val_outputs, progress.val_losses, strict=True)
        for member, (net, output, loss) in enumerate(parts):
            if output is None or loss is None or not (error := self.error(output)) <= self.least[member]:
                continue
            self.least[member] = error
            self.of[member] = [
                Snapshot(member, progress.epoch, loss, self.keep(member, output), _copy_of(net))
            ]


def _as_they_are(member: int, output: NDArray[np.float32]) -> NDArray[np.float32]:
    return output.copy()


def _copy_of(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}


def mean_weights(states: Sequence[Mapping[str, torch.Tensor]], share: Floats) -> dict[str, torch.Tensor]:
    """The weighted mean of state dicts, summed in float64; whole numbers, such as counters, are the last's.

    share: of each state dict (n,); they need not sum to one

    >>> mean_weights([{"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}], np.array([3.0, 1.0]))
    {'w': tensor([1.])}
    """
    total = float(share.sum())
    return {
        name: sum(
            (weight * state[name].double() for weight, state in zip(share.tolist(), states, strict=True)),
            start=torch.zeros_like(last, dtype=torch.float64),
        )
        .div(total)
        .to(last.dtype)
        if last.is_floating_point()
        else last.clone()
        for name, last in states[-1].items()
    }


def select_greedily(
    predictions: Floats, loss: Callable[[Floats], Floats], weight: NDArray[np.floating[Any]] | None, most: int
) -> NDArray[np.int64]:
    """How often each candidate enters the mean that scores best: forward selection with repetition.

    Starts from the best candidate, then adds the one with which the mean's loss falls most, until none helps.

    Source:  Caruana et al. 2004, "Ensemble selection from libraries of models"

    Args:
        predictions: (n_candidates, n_rows, ...): what each says of each row, such as the probability of its
            label.
        loss: of mean predictions, row by row: (n_candidates, n_rows, ...) to (n_candidates, n_rows).
        weight: of each row; None weighs all alike.
        most: entries at most, repetitions counted.

    Returns:
        counts (n_candidates,), at least one of them positive.

    >>> truth, candidates = 1.0, np.array([[0.0, 0.0], [2.0, 2.0], [9.0, 9.0]])
    >>> select_greedily(candidates, lambda mean: (mean - truth) ** 2, None, most=4)
    array([1, 1, 0])
    """
    counts = np.zeros(len(predictions), np.int64)
    total = np.zeros(predictions.shape[1:])
    best = np.inf
    for n in range(most):
        losses = np.average(loss((total + predictions) / (n + 1)), axis=1, weights=weight)
        chosen = int(losses.argmin())
        if not losses[chosen] < best:
            break
        best = float(losses[chosen])
        counts[chosen] += 1
        total += predictions[chosen]
    if not counts.any():
        counts[0] = 1  # no loss is a number: the first candidate
    return counts
