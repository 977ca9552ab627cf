"""Expected gradients: what each column adds to a prediction, by the networks' derivatives.

phi_i = E over background rows b and a in (0, 1) of (x_i - b_i) df/dx_i at b + a (x - b)

Source:  Erion et al. 2021, arXiv:1906.10670
Differs: a category has no derivative. It changes from the background's level to the row's at a random place
         of the path, and what the prediction does there is its share; numbers move on a straight line
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multilayer.inspect.encoded_table import EncodedTable
from multilayer.tasks import link_steps
from multilayer.tasks.link_steps import LinkChain
from multilayer.training.autograd import torch_threads

SAMPLES = 200  # of background and place for each row

Floats = NDArray[np.float64]

# What `multilayer.tasks.link_steps` does, for PyTorch to differentiate.
_STEPS: dict[type, Callable[[Any, Tensor], Tensor]] = {
    link_steps.First: lambda step, x: x[:, 0],
    link_steps.Scale: lambda step, x: x * step.factor,
    link_steps.Shift: lambda step, x: x + step.by,
    link_steps.Clip: lambda step, x: torch.clamp(x, step.low, step.high),
    link_steps.Exp: lambda step, x: torch.exp(x),
    link_steps.Sort: lambda step, x: torch.sort(x, dim=1).values,
    link_steps.Sigmoid: lambda step, x: torch.sigmoid(x),
    link_steps.BothClasses: lambda step, x: torch.stack([1 - x, x], dim=1),
    link_steps.Softmax: lambda step, x: torch.softmax(x, dim=1),
    link_steps.OfEach: lambda step, x: torch.stack(
        [linked(each, x[:, i * step.width : (i + 1) * step.width]) for i, each in enumerate(step.steps)],
        dim=1,
    ),
}


def linked(steps: LinkChain, output: Tensor) -> Tensor:
    """A network's outputs after all steps, in float64."""
    x = output.double()
    for step in steps:
        x = _STEPS[type(step)](step, x)
    return x


def expected_gradients(
    table: EncodedTable,
    background: NDArray[np.float32],
    weight: Floats,
    output: Callable[[NDArray[np.float32]], Floats],
    seed: int,
    n_samples: int = SAMPLES,
) -> Floats:
    """Of each row of the table (n_rows, n_columns, n_outputs).

    Args:
        table: the rows.
        background: encoded rows they are compared with.
        weight: of these; they sum to 1.
        output: from encoded rows to what is explained (n_rows, n_outputs).
        n_samples: for each row.
    """
    rng = np.random.default_rng(seed)
    n_num = len(table.model.encoder.num_features)
    n_cat = table.x.shape[1] - n_num
    player = np.zeros(table.x.shape[1], np.int64)
    for i, made in enumerate(table.places):
        player[made] = i
    found = []
    for row in table.x:
        base = background[rng.choice(len(background), n_samples, p=weight)]
        # Evenly over the path, each in its stretch: the mean along it is known better than by free draws.
        at = (np.arange(n_samples) + rng.random(n_samples)) / n_samples
        jump = rng.random((n_samples, n_cat))
        x = (base + at[:, None].astype(np.float32) * (row - base)).astype(np.float32)
        x[:, n_num:] = np.where(jump < at[:, None], row[n_num:], base[:, n_num:])
        slope = _gradients(table, x)[:, :, :n_num]  # (n_outputs, n_samples, n_num)
        moved = (slope * (row - base)[None, :, :n_num]).mean(axis=1)
        shares = np.zeros((len(table.names), len(slope)))
        np.add.at(shares, player[:n_num], moved.T)
        for c in range(n_cat):
            place = n_num + c
            here = (base + jump[:, c : c + 1].astype(np.float32) * (row - base)).astype(np.float32)
            here[:, n_num:] = np.where(jump < jump[:, c : c + 1], row[n_num:], base[:, n_num:])
            before, after = here, here.copy()
            before[:, place], after[:, place] = base[:, place], row[place]
            shares[player[place]] += (output(after) - output(before)).mean(axis=0)
        found.append(shares)
    return np.stack(found)


def _gradients(table: EncodedTable, x: NDArray[np.float32]) -> Floats:
    """Derivatives of each output by each encoded column, (n_outputs, n_rows, d_in)."""
    model = table.model
    weights = model.weights or (1.0,) * len(model.networks)
    total: Any = 0.0
    with torch_threads(1), torch.enable_grad():
        for net, weight in zip(model.networks, weights, strict=True):
            at = torch.from_numpy(x).to(next(net.parameters()).device).requires_grad_()
            said = linked(model.task.link_steps, net(at))
            said = said[:, 1:] if model.task.kind == "binary" else said.reshape(len(x), -1)
            each = [
                torch.autograd.grad(said[:, i].sum(), at, retain_graph=i + 1 < said.shape[1])[0]
                for i in range(said.shape[1])
            ]
            total = total + weight / sum(weights) * torch.stack(each).double().cpu().numpy()
    return np.asarray(total)
