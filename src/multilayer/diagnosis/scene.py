"""What the checks of the first step look at: rows on their way through network and loss, and targets."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from multilayer.diagnosis.ending import Call, Ending, calls_of, find_ending
from multilayer.diagnosis.loss_core import Core, see_core
from multilayer.diagnosis.setup import Setup
from multilayer.training.autograd import REFUSALS, evaluating
from multilayer.training.user_arrays import Inputs, parts_of, taken

N_SAMPLE = 512  # rows
MOST_CLASSES = 200


@dataclass(frozen=True)
class Targets:
    """What the targets of all rows are.

    values: (n_rows, columns) in float64
    """

    values: Tensor
    is_flat: bool

    @classmethod
    def of(cls, y: Tensor) -> "Targets":
        """Of a tensor of targets."""
        return cls(y.detach().double().reshape(len(y), -1), y.ndim == 1)

    @property
    def n_columns(self) -> int:
        """Numbers a row."""
        return self.values.shape[1]

    @cached_property
    def low(self) -> float:
        """Least number."""
        return float(self.values.min())

    @cached_property
    def high(self) -> float:
        """Largest number."""
        return float(self.values.max())

    @cached_property
    def distinct(self) -> list[float]:
        """The different numbers, ascending; empty if they are very many."""
        found = torch.unique(self.values[:200_000])
        return found.tolist() if len(found) <= MOST_CLASSES else []

    @cached_property
    def is_binary(self) -> bool:
        """Only zeros and ones."""
        return bool(self.distinct) and set(self.distinct) <= {0.0, 1.0}

    @cached_property
    def are_codes(self) -> bool:
        """One whole number a row, of which each stands for several rows."""
        whole = all(value == int(value) for value in self.distinct)
        return (
            self.n_columns == 1
            and bool(self.distinct)
            and whole
            and 2 * len(self.distinct) <= len(self.values)
        )

    @cached_property
    def are_shares(self) -> bool:
        """Rows of numbers from 0 to 1 that sum to one: one-hot codes, or probabilities."""
        totals = self.values.sum(1)
        return self.n_columns > 1 and self.low >= 0 and bool(((totals - 1).abs() < 1e-3).all())


@dataclass(frozen=True)
class Scene:
    """A sample of rows on its way through network and loss, in `eval()`.

    setup:  what is examined
    x, y:   the sample; y as the loss gets it
    calls:  the modules that ran
    out:    what the network gave; None where it refused
    refusal: with which error
    """

    setup: Setup
    x: Inputs
    y: tuple[Tensor, ...]
    calls: list[Call]
    out: Any
    refusal: Exception | None

    @classmethod
    def of(cls, setup: Setup) -> "Scene":
        """Send a sample of the rows through."""
        x, y = setup.sample(N_SAMPLE)
        targets = tuple(parts_of(y))
        try:
            with evaluating(setup.net):
                calls, out = calls_of(setup.net, x)
        except REFUSALS as refusal:
            return cls(setup, x, targets, [], None, refusal)
        return cls(setup, x, targets, calls, out, None)

    @cached_property
    def core(self) -> Core:
        """The known loss within the loss."""
        return see_core(self.setup.loss, self.out, self.y)

    @cached_property
    def own(self) -> Ending | None:
        """The network's ending."""
        return find_ending(self.setup.net, self._few)

    @cached_property
    def ending(self) -> Ending | None:
        """The ending up to what the known loss gets."""
        if self.core.name == "other":
            return self.own
        return find_ending(self.setup.net, self._few, self.setup.loss, tuple(y[:64] for y in self.y))

    @cached_property
    def targets(self) -> Targets | None:
        """Of all rows, as they reach the loss: None without a target, or with several."""
        if len(self.y) != 1 or self.setup.y is None:
            return None
        seen = self.core.target
        raw = self.y[0]
        if seen is not None and seen.shape == raw.shape and torch.equal(seen.double(), raw.double()):
            return Targets.of(self.setup.y)  # type: ignore[arg-type]
        return None if seen is None else Targets.of(seen)

    @cached_property
    def n_outputs(self) -> int:
        """Numbers that the loss gets for each row."""
        seen = self.core.input
        return 1 if seen is None or seen.ndim < 2 else int(seen.shape[1:].numel())

    @property
    def modules(self) -> Mapping[str, Any]:
        """Modules by name."""
        return dict(self.setup.net.named_modules())

    @property
    def _few(self) -> Inputs:
        few: Inputs = taken(self.x, slice(0, 64))
        return few
