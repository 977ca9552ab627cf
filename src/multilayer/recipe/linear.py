"""The linear network of an ensemble: a ridge or penalised logistic regression on the encoded rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.data import N_FOLDS
from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.recipe.networks import NETWORKS
from multilayer.recipe.penalised import Problems, Rotated, as_weights
from multilayer.recipe.plan import Plan
from multilayer.tasks.task import Task
from multilayer.training.autograd import torch_threads
from multilayer.training.random_state import RandomState

PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4)
MOST_OUTPUTS = 20_000_000  # of all models for all rows
MOST_PRODUCTS = 30e9  # of numbers, for the principal components


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


@dataclass(frozen=True)
class Columns:
    """What the weights of a linear network are learnt on: standardised numbers, and a column for each code.

    x:     float32 (n_rows, n_columns), each with mean 0
    mean:  of each column before
    scale: what each was divided by; 1 for a code
    """

    x: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(cls, x: NDArray[np.float32], config: NetworkConfig, weight: NDArray[np.float64]) -> "Columns":
        """x: encoded rows; weight: of each, with sum 1."""
        numbers = torch.from_numpy(x[:, list(config.keep or ())])
        codes = torch.from_numpy(x[:, config.n_num :]).long()
        hot = [nn.functional.one_hot(codes[:, i], n).float() for i, n in enumerate(config.cardinalities)]
        columns = torch.cat([numbers, *hot], dim=1)
        of_rows = torch.from_numpy(weight).float()
        mean = of_rows @ columns
        columns = columns - mean
        scale = (of_rows @ columns**2).sqrt()
        scale[scale < 1e-6] = 1.0
        scale[numbers.shape[1] :] = 1.0
        return cls(columns / scale, mean, scale)


def fit_linear(plan: Plan, seed: int) -> Linear | None:
    """The linear network for a plan; None where it has no place."""
    recipe, task, rows = NETWORKS[plan.config.network], plan.task, plan.train
    if not recipe.has_linear or plan.monotone or plan.next_rows is not None:
        return None
    config = linear_config(plan.network)
    n_problems = (N_FOLDS + 1) * len(PENALTIES)
    n_columns = len(config.keep or ()) + sum(config.cardinalities)
    n_directions = min(len(rows), n_columns)
    if not n_columns or len(rows) * n_problems * task.n_outputs > MOST_OUTPUTS:
        return None
    if len(rows) * n_columns * n_directions + 20 * n_directions**3 > MOST_PRODUCTS:
        return None
    folds = plan.folds
    if folds is None:
        folds = np.random.default_rng(seed).permutation(len(rows)) % N_FOLDS
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight.astype(np.float64)
    with torch_threads(1), torch.inference_mode(False), torch.enable_grad():
        columns = Columns.of(rows.x, config, weight / weight.sum())
        rotated = Rotated.of(columns.x)
        left_in = folds[:, None] != np.arange(N_FOLDS + 1)  # no row is of the last "fold"
        problems = Problems(
            rotated,
            torch.from_numpy(np.ascontiguousarray(task.as_network_target(rows.code))),
            recipe.loss(task),
            task.n_outputs,
            as_weights(np.repeat(left_in * weight[:, None], len(PENALTIES), axis=1)),
            torch.tensor(PENALTIES).repeat(N_FOLDS + 1),
            curvature=0.2 if task.has_probabilities else 1.0,
        )
        w, b = problems.solve()
        shape = (len(w), N_FOLDS + 1, len(PENALTIES), task.n_outputs)
        w, b = w.view(shape), b.view(shape[1:])
        out = _left_out(rotated.z, w, b, folds)
        losses = [_loss(task, rows, each) for each in out]
        best = int(np.argmin(losses))
        network = _network(config, columns, rotated.axes @ w[:, -1, best], b[-1, best])
        if plan.folds is not None:
            prediction = task.link(out[best])
        else:
            with torch.no_grad():
                prediction = task.link(network(torch.from_numpy(plan.validation.x)).numpy())
    return Linear(config, network, prediction, PENALTIES[best])


def linear_config(network: NetworkConfig) -> NetworkConfig:
    """The architecture that goes with another, on the same encoded rows."""
    return NetworkConfig(
        n_num=network.n_num,
        cardinalities=network.cardinalities,
        periodic=(),
        hidden=(),
        d_out=network.d_out,
        architecture="linear",
        keep=tuple(range(network.n_num)),
    )


def _left_out(
    z: torch.Tensor, w: torch.Tensor, b: torch.Tensor, folds: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Outputs (n_penalties, n_rows, n_outputs) for each row of the models that left its fold out."""
    out = np.empty((w.shape[2], len(z), w.shape[3]), np.float32)
    for fold in range(N_FOLDS):
        rows = np.flatnonzero(folds == fold)
        of_fold = torch.einsum("nd,dpo->pno", z[rows], w[:, fold]) + b[fold][:, None]
        out[:, rows] = of_fold.numpy()
    return out


def _loss(task: Task, rows: EncodedRows, output: NDArray[np.float32]) -> float:
    losses = task.row_losses(task.essence(output, rows.code), rows.code)
    return float(np.average(losses, weights=rows.weight))


def _network(config: NetworkConfig, columns: Columns, w: torch.Tensor, b: torch.Tensor) -> Any:
    """The network with these weights (n_columns, n_outputs) of standardised columns."""
    with RandomState(0, of_all=False).in_place():
        net = config.build()
    w = w / columns.scale[:, None]
    n_numbers, d_out = len(config.keep or ()), config.d_out
    embedding, last = net[0], net[-1]
    with torch.no_grad():
        last.bias.copy_(b - columns.mean @ w)
        last.weight.copy_(
            torch.cat([w[:n_numbers].T, torch.eye(d_out).repeat(1, len(config.cardinalities))], 1)
        )
        start = n_numbers
        for table, n in zip(
            embedding.category.tables if embedding.category else (), config.cardinalities, strict=True
        ):
            table.weight.copy_(w[start : start + n])
            start += n
    return net.eval()
