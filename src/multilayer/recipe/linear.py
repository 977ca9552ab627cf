"""The linear network of an ensemble: a ridge or penalised logistic regression on the encoded rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.networks import NETWORKS
from multilayer.recipe.penalised import Problems, Rotated, as_weights
from multilayer.recipe.plan import Plan
from multilayer.recipe.split_rows import N_FOLDS
from multilayer.table.kinds.number import CLIP
from multilayer.table.steps import Feature
from multilayer.training.autograd import torch_threads
from multilayer.training.random_state import RandomState

PENALTIES = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4)
CHOICE_ROWS = 1_000  # rows that are left out to choose among penalties, at the least
KNOTS = (1.0, 2.0, 3.0, 4.5, 6.0, 9.0, 12.0, 18.0, 25.0)  # sizes between which straight lines unbend
MOST_OUTPUTS = 20_000  # for all rows; the other networks learn from more whatever a line says
MOST_PRODUCTS = 20e9  # of numbers, for the principal components


@dataclass(frozen=True)
class Linear:
    """A linear network, and what it says of rows that it was not trained on.

    config:     its architecture
    network:    trained on all training rows, by the penalty that lost least on folds left out
    prediction: of validation rows (n_rows, ...), as `Task.link` gives it; in a fold, by one that left it out
    penalty:    of the squares of its weights
    """

    config: NetworkConfig
    network: nn.Module
    prediction: NDArray[np.float64]
    penalty: float


def linear_config(network: NetworkConfig, features: Sequence[Feature]) -> NetworkConfig:
    """The architecture that goes with another, on the same encoded rows.

    Sizes of numbers, which the encoder bends, are there as they are and unbent by straight pieces. What is
    encoded of the target is left out: it says little of a level of few rows, and a line cannot know that.
    """
    channels = [feature.channel for feature in features]
    return NetworkConfig(
        n_num=network.n_num,
        cardinalities=network.cardinalities,
        periodic=(),
        hidden=(),
        d_out=network.d_out,
        architecture="linear",
        keep=tuple(i for i, channel in enumerate(channels) if channel != "target"),
        piecewise=tuple(i for i, channel in enumerate(channels) if channel == "scaled"),
        n_bins=2 * len(KNOTS),
        d_piecewise=1,
    )


@torch.no_grad()
def unbend(embedding: Any) -> None:
    """Set straight pieces such that bent sizes of numbers come out as they were, up to 25 quartile distances.

    x / sqrt(1 + (x / 3)^2) -> x    at the knots, and along straight lines between them and beyond
    """
    sizes = torch.tensor([-x for x in reversed(KNOTS)] + [0.0, *KNOTS])
    curves = embedding.piecewise
    curves.edges.copy_((sizes / (1 + (sizes / CLIP) ** 2).sqrt()).expand_as(curves.edges))
    curves.slope.zero_()
    curves.bias.fill_(sizes[0])
    curves.weight.copy_(sizes.diff()[:, None].expand_as(curves.weight))


@dataclass(frozen=True)
class Columns:
    """What the weights of a linear network are learnt on: standardised numbers, and a column for each code.

    x:     (n_rows, n_columns), each with mean 0
    mean:  of each column before
    scale: what each was divided by; 1 for a code
    """

    x: Tensor
    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, x: Tensor, config: NetworkConfig, net: Any, weight: Tensor) -> "Columns":
        """x: encoded rows; weight: of each, with sum 1."""
        with torch.no_grad():
            numbers = net[0](x)[:, : _n_numbers(config)]
        codes = x[:, config.n_num :].long()
        hot = [nn.functional.one_hot(codes[:, i], n).float() for i, n in enumerate(config.cardinalities)]
        columns = torch.cat([numbers, *hot], dim=1)
        mean = weight @ columns
        columns = columns - mean
        scale = (weight @ columns**2).sqrt()
        scale[scale < 1e-6] = 1.0
        scale[numbers.shape[1] :] = 1.0
        return cls(columns / scale, mean, scale)


class Fits:
    """Linear models on the rows of a plan, each without a fold, or without none.

    Args:
        folds: of each row.
    """

    def __init__(self, plan: Plan, rotated: Rotated, weight: Tensor, folds: NDArray[np.int64]) -> None:
        task, recipe = plan.task, NETWORKS[plan.config.network]
        self.task, self.code, self.rotated, self.weight, self.folds = (
            task,
            plan.train.code,
            rotated,
            weight.double().numpy(),
            folds,
        )
        self.target = torch.from_numpy(np.ascontiguousarray(task.as_network_target(plan.train.code)))
        self.loss = recipe.loss(task)

    def solve(self, left_out: Sequence[int], penalties: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Weights (n_directions, n_folds, n_penalties, n_outputs), and intercepts without the first axis."""
        left_in = self.folds[:, None] != np.array(left_out)
        problems = Problems(
            self.rotated,
            self.target,
            self.loss,
            self.task.n_outputs,
            as_weights(np.repeat(left_in * self.weight[:, None], len(penalties), axis=1)),
            torch.tensor(penalties).repeat(len(left_out)),
            curvature=0.2 if self.task.has_probabilities else 1.0,
        )
        w, b = problems.solve()
        shape = (len(left_out), len(penalties), self.task.n_outputs)
        return w.view(len(w), *shape), b.view(shape)

    def outputs(
        self, left_out: Sequence[int], w: Tensor, b: Tensor
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows left out, and the outputs (n_penalties, n_rows, n_outputs) of the models that did so."""
        rows = [np.flatnonzero(self.folds == fold) for fold in left_out]
        out = [
            torch.einsum("nd,dpo->pno", self.rotated.z[of_fold], w[:, i]) + b[i][:, None]
            for i, of_fold in enumerate(rows)
        ]
        return np.concatenate(rows), torch.cat(out, 1).numpy()

    def best_penalty(self) -> float:
        """The one that loses least on rows left out, between those that were tried."""
        n = min(N_FOLDS, max(2, -(-CHOICE_ROWS * N_FOLDS // len(self.folds))))
        rows, out = self.outputs(range(n), *self.solve(range(n), PENALTIES))
        code = self.code[rows]
        losses = [
            float(
                np.average(
                    self.task.row_losses(self.task.essence(each, code), code), weights=self.weight[rows]
                )
            )
            for each in out
        ]
        return between(PENALTIES, losses)


def between(penalties: Sequence[float], losses: Sequence[float]) -> float:
    """The penalty at the lowest point of the parabola through the least of these losses and its neighbours.

    >>> between((100.0, 10.0, 1.0), (2.0, 1.0, 2.0)), between((100.0, 10.0, 1.0), (1.0, 2.0, 3.0))
    (10.0, 100.0)
    """
    best = int(np.argmin(losses))
    if not 0 < best < len(penalties) - 1:
        return penalties[best]
    before, least, after = losses[best - 1 : best + 2]
    bend = before - 2 * least + after
    if bend <= 0:
        return penalties[best]
    shift = float(np.clip((before - after) / (2 * bend), -0.5, 0.5))  # in steps towards `after`
    logs = np.log(penalties)
    step = logs[best + 1] - logs[best] if shift > 0 else logs[best] - logs[best - 1]
    return float(np.exp(logs[best] + shift * step))


def fit_linear(plan: Plan, seed: int) -> Linear | None:
    """The linear network for a plan; None where it has no place.

    seed: of folds to choose the penalty by, where the plan has none
    """
    recipe, task, rows = NETWORKS[plan.config.network], plan.task, plan.train
    if not recipe.has_linear or plan.monotone or plan.next_rows is not None:
        return None
    config = linear_config(plan.network, plan.encoder.num_features)
    if _is_too_large(config, len(rows)):
        return None
    folds = plan.folds
    if folds is None:
        folds = np.random.default_rng(seed).permutation(len(rows)) % N_FOLDS
    weight = torch.ones(len(rows)) if rows.weight is None else torch.from_numpy(rows.weight)
    with torch_threads(1), torch.inference_mode(False), torch.enable_grad():
        net = _blank(config)
        columns = Columns.of(torch.from_numpy(rows.x), config, net, weight / weight.sum())
        fits = Fits(plan, Rotated.of(columns.x), weight, folds)
        penalty = fits.best_penalty()
        left_out = (
            [*range(N_FOLDS), N_FOLDS] if plan.folds is not None else [N_FOLDS]
        )  # no row is of the last
        w, b = fits.solve(left_out, [penalty])
        _set_weights(net, config, columns, fits.rotated.axes @ w[:, -1, 0], b[-1, 0])
        if plan.folds is None:
            with torch.no_grad():
                out = net(torch.from_numpy(plan.validation.x)).numpy()
        else:
            places, found = fits.outputs(left_out[:-1], w, b)
            out = np.empty_like(found[0])
            out[places] = found[0]
    return Linear(config, net, task.link(out), penalty)


def _is_too_large(config: NetworkConfig, n_rows: int) -> bool:
    n_columns = _n_numbers(config) + sum(config.cardinalities)
    n_directions = min(n_rows, n_columns)
    n_products = n_rows * n_columns * n_directions + 20 * n_directions**3
    return not n_columns or n_rows * config.d_out > MOST_OUTPUTS or n_products > MOST_PRODUCTS


def _n_numbers(config: NetworkConfig) -> int:
    return len(config.keep or ()) + len(config.piecewise)


def _blank(config: NetworkConfig) -> Any:
    """The network before its weights are known."""
    with RandomState(0, of_all=False).in_place():
        net = config.build()
    if config.piecewise:
        unbend(net[0])
    return net.eval()


@torch.no_grad()
def _set_weights(net: Any, config: NetworkConfig, columns: Columns, w: Tensor, b: Tensor) -> None:
    """Those (n_columns, n_outputs) of the standardised columns, as weights of the columns as they are."""
    w = w / columns.scale[:, None]
    embedding, last, n_numbers = net[0], net[1], _n_numbers(config)
    of_codes = torch.eye(config.d_out).repeat(1, len(config.cardinalities))
    last.bias.copy_(b - columns.mean @ w)
    last.weight.copy_(torch.cat([w[:n_numbers].T, of_codes], dim=1))
    if embedding.category is not None:
        parts = torch.split(w[n_numbers:], list(config.cardinalities))
        for table, rows in zip(embedding.category.tables, parts, strict=True):
            table.weight.copy_(rows)
