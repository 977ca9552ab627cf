"""Which of PyTorch's losses a loss comes down to, and what reaches it: seen by calling it."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from multilayer.training.autograd import REFUSALS

CoreName = Literal["squared", "absolute", "bce", "bce_logits", "ce", "nll", "poisson", "other"]

CORES: dict[Any, CoreName] = {
    F.mse_loss: "squared",
    F.l1_loss: "absolute",
    F.smooth_l1_loss: "absolute",
    F.huber_loss: "absolute",
    F.binary_cross_entropy: "bce",
    F.binary_cross_entropy_with_logits: "bce_logits",
    F.cross_entropy: "ce",
    F.nll_loss: "nll",
    F.poisson_nll_loss: "poisson",
}
ON_NUMBERS: tuple[CoreName, ...] = ("squared", "absolute")
ON_CLASSES: tuple[CoreName, ...] = ("ce", "nll")
ON_TWO: tuple[CoreName, ...] = ("bce", "bce_logits")


@dataclass(frozen=True)
class Core:
    """The known loss at the heart of a loss, and what came to it.

    input, target: as they reached it, after whatever the loss did with them before
    error:         with which PyTorch refused, or None
    value:         what the whole loss gave, or None
    """

    name: CoreName
    input: Tensor | None = None
    target: Tensor | None = None
    error: Exception | None = None
    value: Any = None


@dataclass
class _Spy(TorchFunctionMode):
    """Notes the first known loss that is called within the block, with its input and target."""

    name: CoreName = "other"
    given: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        core = CORES.get(func)
        if core is not None and not self.given:
            self.name = core
            self.given = [*args, *(kwargs[key] for key in ("input", "target") if key in kwargs)][:2]
        return func(*args, **kwargs)


def see_core(loss: Callable[..., Any], out: Tensor, targets: tuple[Tensor, ...]) -> Core:
    """Call a loss once, and see what it comes down to.

    A loss that is written out by hand is recognised by its value.

    >>> see_core(lambda out, y: F.mse_loss(out.exp(), y), torch.zeros(2, 1), (torch.ones(2, 1),)).name
    'squared'
    >>> see_core(lambda out, y: ((out - y) ** 2).mean(), torch.zeros(2, 1), (torch.ones(2, 1),)).name
    'squared'
    """
    spy, error, value = _Spy(), None, None
    with torch.no_grad(), _quiet(), spy:
        try:
            value = loss(out, *targets)
        except REFUSALS as refusal:
            error = refusal
    given = [part for part in spy.given if isinstance(part, Tensor)]
    if spy.name != "other" and len(given) == 2:
        return Core(spy.name, given[0].detach(), given[1].detach(), error, value)
    if error is None and len(targets) == 1:
        return Core(_by_value(loss, out, targets[0]), out.detach(), targets[0].detach(), None, value)
    return Core("other", out.detach(), targets[0].detach() if targets else None, error, value)


def _by_value(loss: Callable[..., Any], out: Tensor, y: Tensor) -> CoreName:
    """Of a loss written out by hand: the known one that gives the same on two sets of outputs."""
    generator = torch.Generator().manual_seed(0)
    draws = [torch.rand(out.shape, generator=generator, dtype=out.dtype) * 0.9 + 0.05 for _ in range(2)]
    draws = [draw.to(out.device) for draw in draws]
    rules: dict[CoreName, Callable[..., Any]] = {
        "squared": lambda a, b: (a - b).square().mean(),
        "absolute": lambda a, b: (a - b).abs().mean(),
        "bce": lambda a, b: -(b * a.log() + (1 - b) * (1 - a).log()).mean(),
    }
    for name, rule in rules.items():
        if all(_same(loss, rule, draw, y) for draw in draws):
            return name
    return "other"


def _same(loss: Callable[..., Any], rule: Callable[..., Any], out: Tensor, y: Tensor) -> bool:
    try:
        with torch.no_grad(), _quiet():
            a, b = float(loss(out, y)), float(rule(out, y))
    except (*REFUSALS, OverflowError):
        return False
    return math.isfinite(b) and math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-12)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's warning of shapes that broadcast: the doctor says it better."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
