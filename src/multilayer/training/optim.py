"""Optimisers: which one trains a network; Muon, and AdamW, SGD and Adam as training wants them."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multilayer.errors import ConfigError

logger = logging.getLogger("multilayer")


# What a group of `Muon` that is AdamW's starts from: the defaults of torch.optim.AdamW
ADAMW: dict[str, Any] = {
    "use_muon": False,
    "lr": 1e-3,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.01,
}


# PyTorch wraps this method only to keep its compiler from tracing it, and imports the compiler for that.
_add_param_group = getattr(
    torch.optim.Optimizer.add_param_group, "__wrapped__", torch.optim.Optimizer.add_param_group
)


def hidden_matrices(net: nn.Module) -> list[Tensor]:
    """The matrix of every `nn.Linear` but the last, which is the output's.

    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> hidden_matrices(net)[0] is net[0].weight
    True
    """
    return [module.weight for module in net.modules() if isinstance(module, nn.Linear)][:-1]


class Muon(torch.optim.Optimizer):
    """Muon for weight matrices and AdamW for everything else, in one optimiser.

    B = momentum B + (1 - momentum) G                       G: gradient of the matrix W (d_out, d_in)
    O = orthogonalise(momentum B + (1 - momentum) G)        Nesterov; else of B
    W = (1 - lr weight_decay) W - lr scale O

    scale is sqrt(max(1, d_out / d_in)) where adjust_lr_fn is "original" or None; for "match_rms_adamw" it is
    0.2 sqrt(max(d_out, d_in)), so that learning rates tuned for AdamW can be kept. `for_network` sorts the
    parameters of a network. To sort them by hand, pass groups: Muon trains a group of matrices, AdamW a group
    that says `"use_muon": False`. The latter has lr, betas, eps and weight_decay of its own, by default those
    of `torch.optim.AdamW`.

    Units:   lr of a matrix is in spectral norm for each update ("original", d_out <= d_in): at 0.02, the
    output
             for an input of length 1 moves by at most about 0.02
    Source:  Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; "match_rms_adamw": Liu et al.
             2025, arXiv:2502.16982; AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101
    Differs: Newton-Schulz in the type of the parameters, where `torch.optim.Muon` rounds to bfloat16

    Args:
        params: matrices, or groups of parameters.
        lr: learning rate of matrices.
        weight_decay: decoupled weight decay of matrices.
        momentum: share of the old momentum in the new.
        nesterov: look ahead along the momentum.
        ns_coefficients: a, b, c of the Newton-Schulz step.
        eps: least norm that a gradient is divided by.
        ns_steps: Newton-Schulz steps.
        adjust_lr_fn: scale of the update by the matrix's shape: "original", "match_rms_adamw" or None.

    Raises:
        ConfigError: a setting is out of range, or a parameter for Muon is no matrix.

    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> hidden, rest = [net[0].weight], [net[0].bias, *net[2].parameters()]
    >>> optimizer = Muon([{"params": hidden}, {"params": rest, "use_muon": False, "lr": 1e-3}], lr=0.02)
    >>> [group["lr"] for group in optimizer.param_groups]
    [0.02, 0.001]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        defaults = {
            "use_muon": True,
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    @classmethod
    def for_network(
        cls,
        net: nn.Module,
        *,
        lr: float = 0.02,
        weight_decay: float = 0.0,
        adjust_lr_fn: str | None = None,
        adamw_lr: float = 1e-3,
        adamw_weight_decay: float = 0.0,
        first_layer: bool = True,
    ) -> "Muon":
        """Make a Muon that trains the matrix of every `nn.Linear` except the last.

        AdamW trains everything else: biases, norms, embeddings and the output layer.

        Source:  which parameters, lr and weight_decay: Jordan et al. 2024

        Args:
            net: the network; frozen parameters are left out.
            lr, weight_decay, adjust_lr_fn: settings for the matrices.
            adamw_lr, adamw_weight_decay: settings for the rest.
            first_layer: whether Muon trains the matrix of the first Linear, too.

        >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> [len(group["params"]) for group in Muon.for_network(net, lr=0.05).param_groups]
        [2, 4]
        """
        matrices = set(map(id, hidden_matrices(net)[0 if first_layer else 1 :]))
        trained = [p for p in net.parameters() if p.requires_grad]
        hidden = {"params": [p for p in trained if id(p) in matrices]}
        rest = {
            "params": [p for p in trained if id(p) not in matrices],
            "use_muon": False,
            "lr": adamw_lr,
            "weight_decay": adamw_weight_decay,
        }
        groups = [group for group in (hidden, rest) if group["params"]]
        return cls(groups, lr, weight_decay, adjust_lr_fn=adjust_lr_fn)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; those left out are the optimiser's, or AdamW's."""
        uses_muon = param_group.get("use_muon", True)
        _add_param_group(self, param_group if uses_muon else {**ADAMW, **param_group})
        group = self.param_groups[-1]
        if uses_muon:
            _check_muon(group)
        else:
            for name in self.defaults.keys() - ADAMW.keys():
                del group[name]
        _check_not_negative(group, "lr", "weight_decay", "eps")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As of every optimiser, but without importing PyTorch's compiler: 2 s of a small run."""
        parameters = (p for group in self.param_groups for p in group["params"] if p.grad is not None)
        for parameter in parameters:
            if set_to_none:
                parameter.grad = None
            else:
                parameter.grad = torch.zeros_like(parameter.grad)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = _muon_step if group["use_muon"] else _adamw_step
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, parameter.grad, self.state[parameter], group)
        return loss


def _check_muon(group: dict[str, Any]) -> None:
    for parameter in group["params"]:
        if parameter.ndim != 2:
            raise ConfigError(
                f"Muon trains matrices; got a parameter of shape {tuple(parameter.shape)}. Put it into a "
                'group with "use_muon": False, for AdamW, or let Muon.for_network(net) sort the parameters.'
            )
    _check_not_negative(group, "momentum", "ns_steps")
    lr_scale((1, 1), group["adjust_lr_fn"])


def _check_not_negative(group: dict[str, Any], *names: str) -> None:
    for name in names:
        if not group[name] >= 0:
            raise ConfigError(f"{name} must not be negative; got {group[name]!r}.")


def lr_scale(shape: tuple[int, int], adjust_lr_fn: str | None) -> float:
    """Muon's factor on the learning rate of a matrix of that shape (d_out, d_in).

    Raises:
        ConfigError: adjust_lr_fn is unknown.

    >>> lr_scale((256, 64), "original")
    2.0
    """
    d_out, d_in = shape
    if adjust_lr_fn in (None, "original"):
        return math.sqrt(max(1.0, d_out / d_in))
    if adjust_lr_fn == "match_rms_adamw":
        return 0.2 * math.sqrt(max(d_out, d_in))
    raise ConfigError(f"adjust_lr_fn must be 'original', 'match_rms_adamw' or None; got {adjust_lr_fn!r}.")


def orthogonalise(
    G: Float[Tensor, "rows columns"],
    coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    steps: int = 5,
    eps: float = 1e-7,
) -> Float[Tensor, "rows columns"]:
    """U S V^T becomes nearly U V^T: singular values come out between about 0.7 and 1.2, in any order.

    Source:  Jordan et al. 2024 (NewtonSchulz5)

    >>> orthogonalise(torch.diag(torch.tensor([3.0, 1.0]))).diag()
    tensor([0.7530, 1.1337])
    """
    a, b, c = coefficients
    X = G / G.norm().clamp(min=eps)
    if X.shape[0] > X.shape[1]:  # the smaller of the two Gram matrices
        X = X.T
    for _ in range(steps):
        A = X @ X.T
        B = b * A + c * A @ A
        X = a * X + B @ X
    return X.T if G.shape[0] > G.shape[1] else X


def _muon_step(W: Tensor, G: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(W)
    momentum, lr = group["momentum"], float(group["lr"])
    B = state["momentum_buffer"].lerp_(G, 1 - momentum)
    look = G.lerp(B, momentum) if group["nesterov"] else B
    O = orthogonalise(look, group["ns_coefficients"], group["ns_steps"], group["eps"])  # noqa: E741
    scale = lr_scale((W.shape[0], W.shape[1]), group["adjust_lr_fn"])
    W.mul_(1 - lr * group["weight_decay"]).add_(O, alpha=-lr * scale)


def _adamw_step(p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if "step" not in state:
        state.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
    state["step"] += 1
    (beta1, beta2), t, lr = group["betas"], float(state["step"]), float(group["lr"])
    m = state["exp_avg"].lerp_(g, 1 - beta1)
    v = state["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
    root = v.sqrt() / math.sqrt(1 - beta2**t) + group["eps"]
    p.mul_(1 - lr * group["weight_decay"]).addcdiv_(m, root, value=-lr / (1 - beta1**t))


class LeanAdamW(torch.optim.AdamW):
    """AdamW that does not import PyTorch's compiler when it is made: 2.5 s of the start of a program.

    >>> LeanAdamW([torch.nn.Parameter(torch.zeros(2))], lr=1e-2).defaults["lr"]
    0.01
    """

    add_param_group = _add_param_group


class LeanSGD(torch.optim.SGD):
    """SGD that does not import PyTorch's compiler when it is made.

    >>> LeanSGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1).defaults["momentum"]
    0
    """

    add_param_group = _add_param_group


class EarlyEpsilonAdam(torch.optim.Adam):
    """Adam with epsilon beside the root that is not corrected yet; it is made without PyTorch's compiler.

    p -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)

    Source:  Kingma & Ba 2015, arXiv:1412.6980, end of section 2; scikit-learn's Adam
    Differs: from `torch.optim.Adam`, whose epsilon stands beside the corrected root

    >>> p = torch.nn.Parameter(torch.zeros(1))
    >>> p.grad = torch.ones(1)
    >>> EarlyEpsilonAdam([p], lr=1.0, eps=0.01).step()
    >>> p.data  # -sqrt(0.001) / 0.1 * 0.1 / (sqrt(0.001) + 0.01)
    tensor([-0.7597])
    """

    add_param_group = _add_param_group

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        given = [group["eps"] for group in self.param_groups]
        for group in self.param_groups:
            done = max((int(self.state[p]["step"]) for p in group["params"] if self.state[p]), default=0)
            group["eps"] /= math.sqrt(1 - group["betas"][1] ** (done + 1))
        loss = super().step(closure)
        for group, eps in zip(self.param_groups, given, strict=True):
            group["eps"] = eps
        return loss


def make_optimizer(
    optimizer: Any, net: nn.Module, *, may_be_given_more: bool = False
) -> torch.optim.Optimizer:
    """The instance itself, or what the maker makes of the module's trainable parameters.

    may_be_given_more: whether a callback may add groups; parameters that are not held then are named in a
        warning instead of an error

    Raises:
        ConfigError: it does not hold all of the module's trainable parameters (often: it was made before a
            layer was added or replaced, or for another copy of the network); there are none to train.
    """
    parameters = [p for p in net.parameters() if p.requires_grad]
    if not parameters:
        raise ConfigError(
            "train needs a network with trainable parameters; all are frozen, or there are none."
        )
    if optimizer is None:
        optimizer = torch.optim.Adam(parameters, lr=1e-3)
    if callable(optimizer) and not isinstance(optimizer, torch.optim.Optimizer):
        optimizer = optimizer(parameters)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ConfigError(
            "optimizer must be a torch.optim.Optimizer, or a maker of one such as torch.optim.Adam; "
            f"got {optimizer if isinstance(optimizer, str) else type(optimizer).__name__!r}."
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not held & {id(p) for p in parameters}:
        raise ConfigError(
            "optimizer must hold the network's parameters; it holds none of them. Make it from this network: "
            "torch.optim.Adam(net.parameters())."
        )
    missing = [name for name, p in net.named_parameters() if p.requires_grad and id(p) not in held]
    strangers = held - {id(p) for p in net.parameters()}
    if missing:
        _say_missing(missing, bool(strangers), may_be_given_more=may_be_given_more and not strangers)
    return optimizer


def _say_missing(missing: list[str], has_strangers: bool, *, may_be_given_more: bool) -> None:
    names = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    verb = "trains" if len(missing) == 1 else "train"
    if may_be_given_more:
        logger.warning(
            "The optimizer does not hold %s: these parameters stay as they are until a callback adds them.",
            names,
        )
        return
    others = ", and holds parameters that are not the network's" if has_strangers else ""
    raise ConfigError(
        f"optimizer must hold every parameter that {verb}; it does not hold {names}{others}. Was a layer "
        "added or replaced after it was made? Make it anew: torch.optim.Adam(net.parameters()). What is to "
        "stay as it is, freeze: layer.requires_grad_(False)."
    )
