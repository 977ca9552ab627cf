"""`Setup`: a network with its data, loss, optimiser and settings, as the doctor examines and mends it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from multilayer.errors import ConfigError
from multilayer.training.user_arrays import Inputs, Target, n_rows_of, parts_of, taken


@dataclass(frozen=True)
class Setup:
    """All that a run of training is made of. A `Finding` mends a copy of it.

    net, loss, optimizer: as they train; `loss` is a callable of output and target, or of the output alone
    x, y:                 tensors (n_rows, ...); y is None for a loss of the output alone
    epochs:               passes over the rows; None if it was not said
    batch_size:           rows a step; None is all rows

    >>> net = nn.Linear(1, 1)
    >>> setup = Setup(net, torch.ones(3, 1), torch.ones(3, 1), nn.MSELoss(),
    ...               torch.optim.SGD(net.parameters()))
    >>> setup.n_steps, setup.copied().net is net
    (None, False)
    """

    net: nn.Module
    x: Inputs
    y: Target
    loss: Callable[..., Any]
    optimizer: torch.optim.Optimizer
    epochs: int | None = None
    batch_size: int | None = None

    @property
    def n_rows(self) -> int:
        """Rows of the data."""
        return n_rows_of(self.x)

    @property
    def rows_a_step(self) -> int:
        """Rows of a batch."""
        return min(self.batch_size or self.n_rows, self.n_rows)

    @property
    def n_steps(self) -> int | None:
        """Updates in all; None if the epochs are not known."""
        return None if self.epochs is None else self.epochs * -(-self.n_rows // self.rows_a_step)

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments: `ml.train(**setup.arguments())` trains it in place."""
        named = {"epochs": self.epochs, "batch_size": self.batch_size}
        given = {name: value for name, value in named.items() if value is not None}
        own = {"net": self.net, "x": self.x, "y": self.y, "loss": self.loss, "optimizer": self.optimizer}
        return own | given

    def copied(self) -> "Setup":
        """The same with a network, loss and optimiser of its own, which hold the same numbers.

        Raises:
            ConfigError: a part of them cannot be copied, such as a lock.
        """
        try:
            net, loss, optimizer = copy.deepcopy((self.net, self.loss, self.optimizer))
        except (RuntimeError, TypeError, AttributeError, copy.Error) as error:
            raise ConfigError(
                f"network, loss and optimiser must be such as can be copied; {error}. Use "
                "apply(in_place=True), or keep what cannot be copied outside of them."
            ) from error
        return replace(self, net=net, loss=loss, optimizer=optimizer)

    def sample(self, n: int) -> tuple[Inputs, Target]:
        """So many rows, evenly spread over all, or all of them."""
        if self.n_rows <= n:
            return self.x, self.y
        rows = torch.linspace(0, self.n_rows - 1, n).round().long().to(parts_of(self.x)[0].device)
        return taken(self.x, rows), taken(self.y, rows)

    def loss_of(self, out: Tensor, y: Target) -> Any:
        """The loss as the user's loop computes it."""
        return self.loss(out) if y is None else self.loss(out, *parts_of(y))

    def with_net(self, net: nn.Module) -> "Setup":
        """With another network, whose parameters the optimiser holds in place of those that are gone."""
        gone = {id(p) for p in self.net.parameters()} - {id(p) for p in net.parameters()}
        known = {id(p) for p in self.net.parameters()}
        new = [p for p in net.parameters() if id(p) not in known]
        hold(self.optimizer, new, gone)
        return replace(self, net=net)


def hold(optimizer: torch.optim.Optimizer, new: list[nn.Parameter], gone: set[int]) -> None:
    """Let an optimiser hold these parameters in its last group, and no longer those of these ids."""
    groups = optimizer.param_groups
    for group in groups:
        for parameter in group["params"]:
            if id(parameter) in gone:
                optimizer.state.pop(parameter, None)
        group["params"] = [p for p in group["params"] if id(p) not in gone]
    groups[-1]["params"] += [p for p in new if p.requires_grad]
