"""What some steps of a run tell about layers: dead and saturated units, gradients, how far weights move."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multilayer.diagnosis.ending import Call
from multilayer.diagnosis.finding import Finding, Patch, found

# Chosen beforehand; benchmarks/doctor_bench tries them on healthy programs and on mutants of these.
DEAD = 0.7  # share of a layer's units without any signal
SATURATED = 0.9  # share of a bounded activation's numbers within 1 % of its bounds
FADED = 1e-4  # the first matrix's gradient over the last one's, each relative to its weights
GROWN = 1e4  # a gradient over its median so far
MOVES = (1e-6, 1.0)  # of a matrix in a step, relative to its size
EARLY = 64  # later on, weights may hardly move because all is learnt
FROM_STEP = 4  # what the first steps do is no sign


@dataclass(frozen=True)
class Measured:
    """One step's sizes, of each matrix of weights in the order of the network.

    gradients: norm over the norm of the weights
    moves:     norm of the change over the norm of the weights
    """

    step: int
    names: tuple[str, ...]
    gradients: tuple[float, ...]
    moves: tuple[float, ...]
    lr: float = float("nan")

    @classmethod
    def of(cls, step: int, now: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> "Measured | None":
        """From the weights before and after a step; None where nothing has a gradient."""
        names, gradients, moves = [], [], []
        for name, old in before.items():
            new = now.get(name)
            if new is None or old.ndim < 2 or new.grad is None or new.shape != old.shape:
                continue
            size = max(float(old.norm()), 1e-12)
            names.append(name)
            gradients.append(float(new.grad.norm()) / size)
            moves.append(float((new.detach() - old).norm()) / size)
        return cls(step, tuple(names), tuple(gradients), tuple(moves)) if names else None

    def findings(self, so_far: Sequence["Measured"]) -> Iterator[Finding]:
        """What these sizes, and those of the steps before, are signs of."""
        if self.step < FROM_STEP:
            return
        first, last = self.gradients[0], self.gradients[-1]
        if len(self.names) > 2 and last > 0 and first < FADED * last:
            yield found(
                "vanishing-gradients",
                f"In step {self.step}, relative to its weights, the gradient of {self.names[0]} is "
                f"{first / last:.2g} of the last layer's.",
                layer=_layer(self.names[0]), ratio=first / last, step=self.step,
                patch=Patch("# nn.ReLU() in place of sigmoid or tanh, or a normalisation between the layers"),
            )  # fmt: skip
        usual = sorted(max(one.gradients) for one in so_far)[len(so_far) // 2]
        if usual > 0 and max(self.gradients) > GROWN * usual:
            yield found(
                "exploding-gradients",
                f"In step {self.step} the largest gradient is {max(self.gradients) / usual:.2g} times its "
                "median so far.",
                step=self.step,
                patch=Patch("nn.utils.clip_grad_norm_(net.parameters(), 1.0)  # before optimizer.step()"),
            )  # fmt: skip
        yield from self._of_moves()

    def _of_moves(self) -> Iterator[Finding]:
        most = max(self.moves)
        if most == 0 and max(self.gradients) > 0:
            yield found(
                "weights-do-not-move", f"In step {self.step} no weight changed, though there are gradients.",
                step=self.step, patch=Patch("optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)"),
            )  # fmt: skip
        elif 0 < most < MOVES[0] and self.step <= EARLY:
            yield found(
                "updates-too-small",
                f"In step {self.step} weights change by {most:.2g} of their size; about 1e-3 is usual.",
                step=self.step, move=most,
                patch=Patch("for group in optimizer.param_groups:\n    group['lr'] *= 100"),
            )  # fmt: skip
        elif min(self.moves) > MOVES[1]:
            yield found(
                "rate-too-high",
                f"In step {self.step} every matrix of weights changes by more than its own size "
                f"({min(self.moves):.2g} times at least).",
                severity="warning", step=self.step, move=min(self.moves),
                patch=Patch("for group in optimizer.param_groups:\n    group['lr'] /= 10"),
            )  # fmt: skip


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def measure(calls: Sequence[Call]) -> Iterator[Finding]:
    """Dead and saturated units of the activations that ran."""
    last = next((i for i in range(len(calls) - 1, -1, -1) if calls[i].has_weights), len(calls))
    for one in calls[:last]:
        out = one.output
        if one.has_weights or not isinstance(out, Tensor) or out.ndim != 2 or len(out) < 16:
            continue
        if isinstance(one.module, nn.modules.dropout._DropoutNd) or not out.is_floating_point():
            continue
        dead = float((out == 0).all(0).double().mean())
        if dead > DEAD:
            yield found(
                "dead-units",
                f"{dead:.0%} of the units of {one.name!r} ({one.module}) are zero for all {len(out)} "
                "rows of a batch.",
                layer=one.name, share=dead,
                patch=Patch("# a lower learning rate, nn.LeakyReLU(), or scaled inputs"),
            )  # fmt: skip
        bounds = _bounds(one)
        if bounds is not None:
            edge = 0.01 * (bounds[1] - bounds[0])
            share = float(((out < bounds[0] + edge) | (out > bounds[1] - edge)).double().mean())
            if share > SATURATED:
                yield found(
                    "saturated-units",
                    f"{share:.0%} of the numbers of {one.name!r} ({one.module}) are at its bounds, where "
                    "there is no gradient.",
                    layer=one.name, share=share,
                    patch=Patch("# scale the inputs, lower the learning rate, or take nn.ReLU()"),
                )  # fmt: skip


def _bounds(one: Call) -> tuple[float, float] | None:
    """Lowest and highest value of a bounded activation; None for others."""
    if not isinstance(one.module, nn.Sigmoid | nn.Tanh | nn.Hardsigmoid | nn.Hardtanh | nn.Softsign):
        return None
    with torch.no_grad():
        low, high = one.module(torch.tensor([-80.0, 80.0])).tolist()
    return low, high
