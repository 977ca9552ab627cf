"""Linear models with a ridge penalty, many of them side by side: for each fold left out, and each penalty."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from multilayer.training.losses import LOSSES, LossLike

MEMORY = 8  # steps that L-BFGS remembers
MOST_STEPS = 20
SMALLEST_STEP = 1e-3
SUFFICIENT = 1e-4  # share of the decrease that a slope promises
SETTLED = 1e-4  # a step that takes off less than this share of the loss is the last one
NEGLIGIBLE = 1e-6  # of the largest eigenvalue: directions in which rows hardly differ


@dataclass(frozen=True)
class Rotated:
    """Columns as their principal components: a ridge penalty is the same there, and steps need no scale.

    z:      (n_rows, n_directions), the columns times `axes`
    axes:   (n_columns, n_directions), orthonormal
    spread: (n_directions,) mean square of z
    """

    z: Tensor
    axes: Tensor
    spread: Tensor

    @classmethod
    def of(cls, x: Float[Tensor, "rows columns"]) -> "Rotated":
        """x: centred columns; as many directions as it has rows or columns, the fewer."""
        n_rows, n_columns = x.shape
        if n_columns <= n_rows:
            values, axes = torch.linalg.eigh((x.T @ x).double() / n_rows)
        else:
            values, sides = torch.linalg.eigh((x @ x.T).double() / n_rows)
            axes = x.T.double() @ sides / (values * n_rows).clamp_min(1e-30).sqrt()
        there = values > NEGLIGIBLE * values[-1].clamp_min(1e-30)
        axes = axes[:, there].float()
        return cls(x @ axes, axes, values[there].float())


def row_losses(loss: LossLike) -> Callable[[Tensor, Tensor], Tensor]:
    """From outputs and targets to the loss of each row (n_rows,), the mean over its outputs."""
    module = copy.copy(LOSSES[loss]() if isinstance(loss, str) else loss)
    module.reduction = "none"  # type: ignore[union-attr]

    def of_rows(output: Tensor, target: Tensor) -> Tensor:
        each: Tensor = module(output, target)
        return each.reshape(len(each), -1).mean(1)

    return of_rows


class Problems:
    """So many linear models on the same rows, each with weights of its own for them, and a penalty.

    minimise  sum_i weight_ik loss(z_i w_k + b_k, y_i) + penalty_k / 2 ||w_k||^2     for each k

    Args:
        rows: the columns.
        target: of the rows, as the loss wants it.
        loss: of each row.
        n_outputs: of a model.
        weight: (n_rows, n_problems); the sum over the rows is 1.
        penalty: (n_problems,).
        curvature: about the second derivative of the loss.
    """

    def __init__(
        self,
        rows: Rotated,
        target: Tensor,
        loss: LossLike,
        n_outputs: int,
        weight: Float[Tensor, "rows problems"],
        penalty: Float[Tensor, " problems"],
        curvature: float,
    ) -> None:
        self.z, self.n_outputs, self.weight, self.penalty = rows.z, n_outputs, weight, penalty
        self.n = len(penalty)
        self.target = target.repeat_interleave(self.n, 0)
        self.loss = row_losses(loss)
        # In units in which every direction has about the same curvature.
        self.scale = (curvature * rows.spread[:, None] + penalty[None]).rsqrt()  # (directions, problems)
        self.intercept_scale = curvature**-0.5

    def outputs(self, u: Float[Tensor, "size problems outputs"]) -> Tensor:
        """(n_rows, n_problems, n_outputs); the last row of u is the intercept."""
        w = (u[:-1] * self.scale[..., None]).flatten(1)
        return (self.z @ w).view(len(self.z), self.n, self.n_outputs) + u[-1] * self.intercept_scale

    def value_and_slope(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """(n_problems,), and as u."""
        out = self.outputs(u).requires_grad_()
        rows = self.loss(out.view(-1, self.n_outputs), self.target).view(-1, self.n)
        value = (rows * self.weight).sum(0)
        (slope,) = torch.autograd.grad(value.sum(), out)
        w = u[:-1] * self.scale[..., None]
        of_w = (self.z.T @ slope.flatten(1)).view(w.shape) + self.penalty[:, None] * w
        value = value.detach() + self.penalty / 2 * (w**2).sum((0, 2))
        of_u = torch.cat([of_w * self.scale[..., None], slope.sum(0, keepdim=True) * self.intercept_scale])
        return value, of_u

    def solve(self) -> tuple[Tensor, Tensor]:
        """Weights (n_directions, n_problems, n_outputs) and intercepts (n_problems, n_outputs), by L-BFGS.

        Source:  Nocedal 1980, doi:10.2307/2006193; steps are halved until they take off enough (Armijo)
        """
        u = torch.zeros(len(self.scale) + 1, self.n, self.n_outputs)
        value, slope = self.value_and_slope(u)
        moves: list[tuple[Tensor, Tensor]] = []
        open_ = torch.ones(self.n, dtype=torch.bool)  # problems that are not settled
        for _ in range(MOST_STEPS):
            way = _direction(slope, moves)
            promised = (way * slope).sum((0, 2))
            step = torch.ones(self.n)
            while True:
                new = u + step[:, None] * way
                new_value, new_slope = self.value_and_slope(new)
                short = open_ & ~(new_value <= value + SUFFICIENT * step * promised)
                if not (short & (step > SMALLEST_STEP)).any():
                    break
                step = torch.where(short, step / 4, step)
            better = open_ & (new_value < value)
            moved = torch.where(better[:, None], new - u, 0.0)
            turned = torch.where(better[:, None], new_slope - slope, 0.0)
            gained = torch.where(better, value - new_value, 0.0)
            u, slope, value = u + moved, slope + turned, value - gained
            moves = [*moves[1 - MEMORY :], (moved, turned)]
            open_ &= gained > SETTLED * value.abs()
            if not open_.any():
                break
        return u[:-1] * self.scale[..., None], u[-1] * self.intercept_scale


def _direction(slope: Tensor, moves: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Down, by the curvature that the last moves met, problem by problem: L-BFGS's two loops."""

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((0, 2))

    way, factors = slope, []
    for moved, turned in reversed(moves):
        bend = dot(moved, turned)
        inverse = torch.where(bend > 1e-20, 1 / bend.clamp_min(1e-20), 0.0)
        factor = inverse * dot(moved, way)
        factors.append((inverse, factor))
        way = way - factor[:, None] * turned
    if moves:
        moved, turned = moves[-1]
        length = dot(turned, turned)
        way = way * torch.where(length > 1e-20, dot(moved, turned) / length.clamp_min(1e-20), 1.0)[:, None]
    for (moved, turned), (inverse, factor) in zip(moves, reversed(factors), strict=True):
        way = way + (factor - inverse * dot(turned, way))[:, None] * moved
    return -way
