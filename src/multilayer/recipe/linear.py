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
from multilayer.recipe.penalised import Problems, Rotated
from multilayer.recipe.plan import Plan
from multilayer.recipe.split_rows import N_FOLDS
from multilayer.table.kinds.number import CLIP
from multilayer.table.steps import Feature
from multilayer.training.autograd import torch_threads
from multilayer.training.random_state import RandomState

PENALTIES = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4)
CHOICE_ROWS = 1_000  # rows that are left out to choose among penalties, at the least
KNOTS = (1.0, 2.0, 3.0, 4.5, 6.0, 9.0, 12.0, 18.0, 25.0)  # sizes between which straight lines unbend
WIDE = 1.0  # columns for each row from which on few of them may be better than all
SIZES = (3, 10, 30, 100)  # of those few
MOST_OUTPUTS = 20_000  # for all rows; the other networks learn from more whatever a line says
MOST_PRODUCTS = 20e9  # of numbers, for the principal components


@dataclass(frozen=True)
class Linear:
    """A linear network, and what it says of rows that it was not trained on.

    config:     its architecture
    network:    trained on all training rows, by the penalty that lost least on folds left out
    prediction: of validation rows (n_rows, ...), as `Task.link` gives it; in a fold, by one that left it out
    penalty:    of the squares of its weights
    n_columns:  that it was learnt on; None for all
    """

    config: NetworkConfig
    network: nn.Module
    prediction: NDArray[np.float64]
    penalty: float
    n_columns: int | None = None


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


@dataclass(frozen=True)
class Tried:
    """Linear models of one kind, at the penalty that loses least.

    loss:   of rows left out
    output: (n_rows, n_outputs) for each row, of the model that left its fold out
    w, b:   of all columns and outputs, and (n_outputs,), of the model that left none out
    n_columns: that have weights; None: all
    """

    loss: float
    output: NDArray[np.float32]
    w: Tensor
    b: Tensor
    penalty: float
    n_columns: int | None = None


class Rows:
    """Rows of a plan that linear models are learnt on, each without a fold, or without none.

    Args:
        x: the columns, standardised.
        weight: of the rows.
        folds: of each row, from 0 to 7.
    """

    def __init__(self, plan: Plan, x: Tensor, weight: Tensor, folds: NDArray[np.int64]) -> None:
        self.task, self.code, self.x, self.folds = plan.task, plan.train.code, x, folds
        self.weight = weight.double().numpy()
        self.target = torch.from_numpy(np.ascontiguousarray(plan.task.as_network_target(self.code)))
        self.loss = NETWORKS[plan.config.network].loss(plan.task)

    def ridge(self) -> Tried:
        """Models on all columns."""
        rotated = Rotated.of(self.x)
        n = min(N_FOLDS, max(2, -(-CHOICE_ROWS * N_FOLDS // len(self.folds))))
        some = self._left_out(range(n), rotated, *self._solve(range(n), rotated, PENALTIES))
        penalty = between(PENALTIES, [self._mean_loss(each, self.folds < n) for each in some])
        w, b = self._solve(range(N_FOLDS + 1), rotated, [penalty])  # no row is of the last fold
        output = self._left_out(range(N_FOLDS), rotated, w, b)[0]
        return Tried(self._mean_loss(output), output, rotated.axes @ w[:, -1, 0], b[-1, 0], penalty)

    def screened(self, size: int) -> Tried:
        """Models on so many columns, those that go most with the target by themselves in the rows left in.

        Source:  Fan & Lv 2008, doi:10.1111/j.1467-9868.2008.00674.x ("sure independence screening")
        """
        outputs = np.empty((len(PENALTIES), len(self.folds), self.task.n_outputs), np.float32)
        for fold, places in enumerate(self._strongest(size)):
            rotated = Rotated.of(self.x[:, places])
            w, b = self._solve([fold], rotated, PENALTIES)
            rows = self.folds == fold
            outputs[:, rows] = self._left_out([fold], rotated, w, b)[:, rows]
        losses = [self._mean_loss(each) for each in outputs]
        best = int(np.argmin(losses))
        whole = torch.zeros(self.x.shape[1], self.task.n_outputs)
        whole[places] = rotated.axes @ w[:, 0, best]
        return Tried(losses[best], outputs[best], whole, b[0, best], PENALTIES[best], size)

    def _strongest(self, size: int) -> list[Tensor]:
        """Places of the columns of the largest covariance with an output, without each fold and with all."""
        target = self.target.float()
        if target.ndim == 1:
            target = nn.functional.one_hot(self.target, self.task.n_outputs).float()
        weight = torch.from_numpy(self._weights(range(N_FOLDS + 1))).float()
        centred = target[:, None] - torch.einsum("nf,no->fo", weight, target)
        by_fold = (centred * weight[..., None]).flatten(1)
        strength = (self.x.T @ by_fold).abs().view(self.x.shape[1], N_FOLDS + 1, -1).amax(2)
        return list(strength.topk(min(size, len(strength)), dim=0).indices.T)

    def _weights(self, left_out: Sequence[int]) -> NDArray[np.float64]:
        """(n_rows, n_folds), each fold's summing to 1."""
        weight = (self.folds[:, None] != np.array(left_out)) * self.weight[:, None]
        return np.asarray(weight / weight.sum(axis=0))

    def _solve(
        self, left_out: Sequence[int], rotated: Rotated, penalties: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Weights (n_directions, n_folds, n_penalties, n_outputs), and intercepts without the first axis."""
        problems = Problems(
            rotated,
            self.target,
            self.loss,
            self.task.n_outputs,
            torch.from_numpy(np.repeat(self._weights(left_out), len(penalties), axis=1)).float(),
            torch.tensor(penalties).repeat(len(left_out)),
            curvature=0.2 if self.task.has_probabilities else 1.0,
        )
        w, b = problems.solve()
        shape = (len(left_out), len(penalties), self.task.n_outputs)
        return w.view(len(w), *shape), b.view(shape)

    def _left_out(
        self, left_out: Sequence[int], rotated: Rotated, w: Tensor, b: Tensor
    ) -> NDArray[np.float32]:
        """Outputs (n_penalties, n_rows, n_outputs) for rows of these folds, of the models without them."""
        out = torch.zeros(w.shape[2], len(self.folds), w.shape[3])
        for i, fold in enumerate(left_out):
            rows = torch.from_numpy(np.flatnonzero(self.folds == fold))
            out[:, rows] = torch.einsum("nd,dpo->pno", rotated.z[rows], w[:, i]) + b[i][:, None]
        return out.numpy()

    def _mean_loss(self, output: NDArray[np.float32], among: NDArray[np.bool_] | None = None) -> float:
        rows = slice(None) if among is None else among
        essence = self.task.essence(output[rows], self.code[rows])
        losses = self.task.row_losses(essence, self.code[rows])
        return float(np.average(losses, weights=self.weight[rows]))


def between(penalties: Sequence[float], losses: Sequence[float]) -> float:
    """The penalty at the lowest point of the parabola through the least of these losses and its neighbours.

    >>> round(between((100.0, 10.0, 1.0), (2.0, 1.0, 2.0)), 9), between((100.0, 10.0), (1.0, 2.0))
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
    return float(penalties[best] * np.exp(shift * step))


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
        to_learn = Rows(plan, columns.x, weight, folds)
        tried = [to_learn.ridge()]
        if columns.x.shape[1] > WIDE * len(rows):
            tried += [to_learn.screened(size) for size in SIZES]
        best = min(tried, key=lambda each: each.loss)
        _set_weights(net, config, columns, best.w, best.b)
        output = best.output
        if plan.folds is None:
            with torch.no_grad():
                output = net(torch.from_numpy(plan.validation.x)).numpy()
    return Linear(config, net, task.link(output), best.penalty, best.n_columns)


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
