"""What the doctor's contracts of the first step say of a network, its loss and its targets; for `train`."""

import logging
from typing import Any

import torch
from torch import Tensor, nn

from multilayer.diagnosis import contracts
from multilayer.diagnosis.scene import Scene
from multilayer.diagnosis.setup import Setup
from multilayer.training.autograd import REFUSALS, is_torchs
from multilayer.training.rows import Rows
from multilayer.training.user_arrays import taken

logger = logging.getLogger("multilayer")

FEW_STEPS = 100  # a run of fewer would take visibly longer
N_ROWS = 64


def first_look(net: nn.Module, rows: Rows, n_steps: int) -> list[dict[str, Any]]:
    """Endings that cannot say what the loss wants to hear; each is said once, by the logger.

    Only networks of PyTorch's or our modules with one input and one target are looked at, by a few forward
    passes of some rows. Shapes, labels and the optimiser are refused elsewhere where they are wrong.
    """
    y = rows.y
    if n_steps < FEW_STEPS or not is_torchs(net, rows.loss.module) or not isinstance(y, Tensor):
        return []
    if not isinstance(rows.x, Tensor) or rows.loss.sums_outputs or _ends_plainly(net):
        return []
    step = max(1, rows.n_rows // N_ROWS)
    few = slice(0, step * N_ROWS, step)
    unused = torch.optim.SGD([nn.Parameter(torch.zeros(0))])
    setup = Setup(net, taken(rows.x, few), taken(y, few), rows.loss.function, unused)
    try:
        with torch.inference_mode(False):
            found = list(contracts.reach(Scene.of(setup)))
    except REFUSALS:
        return []
    for finding in found:
        if finding.severity != "note":
            change = "; ".join(line for line in finding.fix.splitlines() if line)
            logger.warning("%s: %s Change: %s (%s)", finding.title, finding.message, change, finding.code)
    return [finding.to_json() for finding in found]


def _ends_plainly(net: nn.Module) -> bool:
    """Whether nothing follows a last linear layer, so that every output can be any number."""
    return type(net) is nn.Sequential and len(net) > 0 and type(net[-1]) is nn.Linear
