"""What an optimiser trains and keeps, as the kernels see it: parameters, moments, counts and settings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multilayer.training.kernels import loop as k
from multilayer.training.kernels.blas import product_for
from multilayer.training.kernels.plain import (
    foreign_to_optimizer,
    foreign_to_tensor,
)
from multilayer.training.kernels.plan import Plan, Slot, UnknownToKernels
from multilayer.training.kernels.update_rules import UpdateRule, rule_of


def check_optimizer(optimizer: torch.optim.Optimizer, plan: Plan) -> None:
    """Refuse an optimiser that the kernels cannot run as it is.

    Raises:
        UnknownToKernels: its class, an option or its state.
    """
    for group in optimizer.param_groups:
        rule = rule_of(optimizer, group)
        if isinstance(rule, str):
            raise UnknownToKernels(rule)
        for parameter in group["params"]:
            for name in rule.moments:
                moment = optimizer.state.get(parameter, {}).get(name)
                if moment is not None and not _is_like(moment, parameter):
                    raise UnknownToKernels(
                        f"the optimiser's {name} of a parameter is not like the parameter."
                    )
        if plan.signs and rule.keeps_signs is None:
            raise UnknownToKernels(
                f"the kernels keep signs of weights with Adam and AdamW, not with {type(optimizer).__name__}."
            )
    if (reason := foreign_to_optimizer(optimizer)) is not None:
        raise UnknownToKernels(reason)
    known = {id(slot.tensor) for slot in plan.slots}
    if any(id(parameter) not in known for group in optimizer.param_groups for parameter in group["params"]):
        raise UnknownToKernels("the optimiser holds parameters that are not the network's.")


def _is_like(moment: Any, parameter: Tensor) -> bool:
    """Whether the kernels can work on it beside the parameter."""
    is_tensor = isinstance(moment, Tensor) and moment.dtype == parameter.dtype
    return is_tensor and moment.shape == parameter.shape and foreign_to_tensor(moment) is None


@dataclass(frozen=True)
class Moments:
    """What an optimiser keeps of one parameter.

    tensors: by their names in `optimizer.state`; row: the parameter's among segments
    """

    parameter: Tensor
    tensors: dict[str, Tensor]
    counts: bool
    row: int


@dataclass(frozen=True)
class Trained:
    """The parameters that an optimiser trains, as the kernels see them.

    segments: int64 (n, N_PLACES); hyper: float64 (n, N_HYPER); scratch: floats that an update needs at most
    """

    segments: NDArray[np.int64]
    hyper: NDArray[np.float64]
    moments: tuple[Moments, ...]
    scratch: int

    @classmethod
    def read(cls, optimizer: torch.optim.Optimizer, plan: Plan, threads: int) -> "Trained":
        """From the optimiser's groups and its state of now."""
        group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        segments: list[list[int]] = []
        hyper: list[NDArray[np.float64]] = []
        moments: list[Moments] = []
        scratch = 0
        for slot in plan.slots:
            if not slot.trainable or id(slot.tensor) not in group_of:
                continue
            group = group_of[id(slot.tensor)]
            rule = rule_of(optimizer, group)
            assert isinstance(rule, UpdateRule)  # check_optimizer has seen to that
            kept = _moments_of(optimizer, rule, group, slot.tensor, len(segments))
            at = [tensor.data_ptr() for tensor in kept.tensors.values()]
            updates = _updates_of(optimizer, kept)
            segments.append([slot.start, slot.stop, slot.tensor.data_ptr(), *[*at, 0, 0][:2], updates])
            hyper.append(_hyper(rule, group, slot, plan, threads))
            moments.append(kept)
            scratch = max(scratch, rule.scratch(tuple(slot.tensor.shape)))
        return cls(
            np.array(segments, np.int64).reshape(-1, k.N_PLACES),
            np.array(hyper).reshape(-1, k.N_HYPER),
            tuple(moments),
            scratch,
        )

    def publish(self, optimizer: torch.optim.Optimizer) -> None:
        """Put moments and counts where PyTorch has them, and say that the optimiser has stepped."""
        for kept, updates in zip(self.moments, self.segments[:, k.UPDATES].tolist(), strict=True):
            if not updates or not kept.tensors:
                continue
            state = optimizer.state[kept.parameter]
            for name, tensor in kept.tensors.items():
                state[name] = tensor
            if kept.counts and isinstance(state.get("step"), Tensor):
                state["step"].fill_(updates)
            elif kept.counts:
                state["step"] = torch.tensor(float(updates))
        vars(optimizer)["_opt_called"] = True  # what a scheduler of PyTorch asks for


def _moments_of(
    optimizer: torch.optim.Optimizer, rule: UpdateRule, group: dict[str, Any], parameter: Tensor, row: int
) -> Moments:
    """The moments that the optimiser has already, where the kernels can work on them; else new ones."""
    state = optimizer.state.get(parameter, {})
    names = [name for name in rule.moments if name is not None] if rule.has_moments(group) else []
    tensors = {}
    for name in names:
        given = state.get(name)
        tensors[name] = torch.zeros_like(parameter) if given is None else given
    return Moments(parameter, tensors, rule.counts, row)


def _updates_of(optimizer: torch.optim.Optimizer, kept: Moments) -> int:
    """How often a parameter was updated; for SGD, whether."""
    state = optimizer.state.get(kept.parameter, {})
    if kept.counts:
        return int(state.get("step", 0))
    return int(any(state.get(name) is not None for name in kept.tensors))


def _hyper(
    rule: UpdateRule, group: dict[str, Any], slot: Slot, plan: Plan, threads: int
) -> NDArray[np.float64]:
    """A group's settings as the kernels want them, for one parameter."""
    row = np.zeros(k.N_HYPER)
    row[k.LR] = float(group["lr"])
    for column, value in rule.hyper(group, slot.tensor).items():
        row[column] = float(value)
    row[k.UPDATE_AT] = k.update_address(rule.kernel)
    if row[k.ROWS]:
        row[k.MUON_PRODUCT_AT] = k.product_address(product_for(threads))
        row[k.MUON_GRAM_AT] = k.product_address(product_for(threads, symmetric=True))
    if slot.start in plan.signs and rule.keeps_signs is not None:
        row[k.UPDATE_AT] = k.update_address(rule.keeps_signs)
        row[k.SIGNS_AT] = plan.signs[slot.start].data_ptr()
    return row
