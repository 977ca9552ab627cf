"""How the kernels run each optimiser: one row a class. What is in no row trains on autograd.

To teach the kernels an optimiser, write its update in `update_kernels.py` and enter it in `RULES`.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from multilayer.training.kernels import loop as k
from multilayer.training.kernels import updates as update_kernels
from multilayer.training.optim import EarlyEpsilonAdam, LeanAdamW, LeanSGD, Muon, lr_scale

Group = Mapping[str, Any]


@dataclass(frozen=True)
class UpdateRule:
    """How the kernels run one optimiser.

    kernel:      the update of one parameter
    hyper:       from a group and a parameter of it to columns of `hyper` (see `kernels.py`)
    moments:     their names in `optimizer.state`; None where there is no such moment
    options:     what it honours; any other option that is not at its default sends the run to autograd
    has_moments: whether a group keeps any
    counts:      whether the state says how often a parameter was updated, as "step"
    keeps_signs: the update of a weight whose entries keep signs (`SignedLinear`); None if there is none
    scratch:     floats that it needs for a parameter of that shape
    """

    kernel: Callable[..., Any]
    hyper: Callable[[Group, Tensor], dict[int, Any]]
    moments: tuple[str, str | None]
    options: frozenset[str]
    has_moments: Callable[[Group], bool] = lambda group: True
    counts: bool = False
    keeps_signs: Callable[..., Any] | None = None
    scratch: Callable[[tuple[int, ...]], int] = lambda shape: 0


def _adam_hyper(
    *, decoupled: bool = False, early_epsilon: bool = False
) -> Callable[[Group, Tensor], dict[int, Any]]:
    def hyper(group: Group, parameter: Tensor) -> dict[int, Any]:
        beta1, beta2 = group["betas"]
        return {
            k.WEIGHT_DECAY: group["weight_decay"],
            k.BETA1: beta1,
            k.BETA2: beta2,
            k.EPS: group["eps"],
            k.DECOUPLED: group.get("decoupled_weight_decay", decoupled),
            k.NESTEROV: early_epsilon,
        }

    return hyper


def _adam(*, decoupled: bool = False, early_epsilon: bool = False) -> UpdateRule:
    return UpdateRule(
        update_kernels.adam,
        _adam_hyper(decoupled=decoupled, early_epsilon=early_epsilon),
        ("exp_avg", "exp_avg_sq"),
        frozenset({"lr", "betas", "eps", "weight_decay", "decoupled_weight_decay"}),
        counts=True,
        keeps_signs=update_kernels.signed_adam,
    )


def _sgd_hyper(group: Group, parameter: Tensor) -> dict[int, Any]:
    return {
        k.WEIGHT_DECAY: group["weight_decay"],
        k.BETA1: group["momentum"],
        k.BETA2: group["dampening"],
        k.NESTEROV: group["nesterov"],
    }


def _muon_hyper(group: Group, parameter: Tensor) -> dict[int, Any]:
    d_out, d_in = parameter.shape
    a, b, c = group["ns_coefficients"]
    return {
        k.WEIGHT_DECAY: group["weight_decay"],
        k.BETA1: group["momentum"],
        k.EPS: group["eps"],
        k.NESTEROV: group["nesterov"],
        k.NS_A: a,
        k.NS_B: b,
        k.NS_C: c,
        k.NS_STEPS: group["ns_steps"],
        k.ROWS: d_out,
        k.COLUMNS: d_in,
        k.SCALE: lr_scale((d_out, d_in), group["adjust_lr_fn"]),
    }


ADAM, ADAMW, EARLY_EPSILON = _adam(), _adam(decoupled=True), _adam(early_epsilon=True)
SGD = UpdateRule(
    update_kernels.sgd,
    _sgd_hyper,
    ("momentum_buffer", None),
    frozenset({"lr", "momentum", "dampening", "weight_decay", "nesterov"}),
    has_moments=lambda group: bool(group["momentum"]),
)
MUON = UpdateRule(
    update_kernels.muon,
    _muon_hyper,
    ("momentum_buffer", None),
    frozenset(
        {"lr", "weight_decay", "momentum", "nesterov", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn"}
    ),
    scratch=lambda shape: update_kernels.muon_scratch(*shape),
)


ADAMW_OF_MUON = replace(ADAMW, options=ADAMW.options | MUON.options | {"use_muon"})  # these it does not read


def _of_muon(group: Group) -> UpdateRule:
    return MUON if group["use_muon"] else ADAMW_OF_MUON


# A class and its rule, or what gives the rule of a group
RULES: dict[type[torch.optim.Optimizer], UpdateRule | Callable[[Group], UpdateRule]] = {
    torch.optim.Adam: ADAM,
    torch.optim.AdamW: ADAMW,
    torch.optim.Muon: MUON,
    torch.optim.SGD: SGD,
    EarlyEpsilonAdam: EARLY_EPSILON,
    LeanAdamW: ADAMW,
    LeanSGD: SGD,
    Muon: _of_muon,
}
# Options that choose how PyTorch computes, not what
_HOW = {"foreach", "fused"}


def rule_of(optimizer: torch.optim.Optimizer, group: Group) -> UpdateRule | str:
    """The rule for a group; or, in a sentence, why there is none.

    >>> p = torch.nn.Parameter(torch.zeros(2))
    >>> sgd = torch.optim.SGD([p], lr=0.1, maximize=True)
    >>> rule_of(sgd, sgd.param_groups[0])
    'the kernels do not know maximize=True of SGD.'
    """
    kind = type(optimizer)
    if kind not in RULES:
        return f"the kernels do not know the optimiser {kind.__name__}."
    entry = RULES[kind]
    rule = entry if isinstance(entry, UpdateRule) else entry(group)
    for name, default in _options_of(kind).items():  # type: ignore[arg-type]
        if name in group and name not in rule.options | _HOW and group[name] != default:
            return f"the kernels do not know {name}={group[name]!r} of {kind.__name__}."
    return rule


@cache
def _options_of(kind: type[torch.optim.Optimizer]) -> dict[str, Any]:
    """Names and defaults of what an optimiser can be told; any other key of a group is the user's own."""
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.name != "params"}
