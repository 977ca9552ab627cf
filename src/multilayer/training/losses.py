"""Losses by name, and as training calls them: with targets, and with weights of rows."""

import copy
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeGuard

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from multilayer.errors import ConfigError, DataError, nearest
from multilayer.training.user_arrays import Batch, Target, n_rows_of

LossLike = str | nn.Module | Callable[..., Tensor]
WEIGHT_NAMES = (
    "sample_weight",
    "sample_weights",
    "weight",
    "weights",
)  # of a loss's argument for rows' weights


class QuantileLoss(nn.Module):
    """Quantile (pinball) loss. It is smallest if the output is the quantile of the target, given x.

    loss = q max(y - out, 0) + (1 - q) max(out - y, 0)

    Shape:   out: (batch, targets * quantiles), the quantiles of one target side by side; y: (batch, targets).
             Without columns, (batch,), y is one target, and out one quantile of it
    Source:  Koenker & Bassett 1978, doi:10.2307/1913643
    Differs: its slope where out is y is 0

    Args:
        quantiles: one or more, between 0 and 1; 0.5 is the median.
        reduction: "mean" or "sum" over rows and outputs, or "none".

    Raises:
        ConfigError: no quantile, one outside (0, 1), an unknown reduction.
        DataError: another number of outputs than targets times quantiles.

    >>> loss = QuantileLoss([0.1, 0.9], reduction="sum")
    >>> loss(torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0]]))
    tensor(2.)
    """

    def __init__(self, quantiles: float | Sequence[float] = 0.5, reduction: str = "mean") -> None:
        super().__init__()
        self.quantiles = (quantiles,) if isinstance(quantiles, int | float) else tuple(map(float, quantiles))
        self.reduction = _checked_reduction(reduction)
        if not self.quantiles or not all(0 < q < 1 for q in self.quantiles):
            raise ConfigError(f"quantiles must be between 0 and 1, at least one; got {quantiles!r}.")

    def forward(self, out: Float[Tensor, "batch ..."], y: Float[Tensor, "batch ..."]) -> Tensor:
        """The loss of a batch; of every output, in its shape, where reduction is "none"."""
        self.check_shapes(out, y)
        q = out.new_tensor(self.quantiles)
        targets = y.reshape(len(y), math.prod(y.shape[1:]), 1)
        short = targets - out.reshape(*targets.shape[:2], len(q))  # what out lacks to y
        loss = (q * short.relu() + (1 - q) * (-short).relu()).reshape(out.shape)
        return loss if self.reduction == "none" else loss.mean() if self.reduction == "mean" else loss.sum()

    def check_shapes(self, out: Tensor, y: Tensor) -> None:
        """Refuse another number of outputs than targets times quantiles."""
        n_outputs = math.prod(y.shape[1:]) * len(self.quantiles)
        if len(out) != len(y) or math.prod(out.shape[1:]) != n_outputs:
            raise DataError(
                f"output must have a column for each of {len(self.quantiles)} quantiles of each target; "
                f"got {shape_in_words(out)} and {shape_in_words(y)}. Give the network {n_outputs} outputs."
            )

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"quantiles={self.quantiles}, reduction={self.reduction!r}"


class _LogMeanLoss(nn.Module, ABC):
    """What `GammaLoss` and `TweedieLoss` share: the output is the logarithm of the mean."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = _checked_reduction(reduction)

    def forward(self, out: Float[Tensor, "batch ..."], y: Float[Tensor, "batch ..."]) -> Tensor:
        """The loss of a batch; of every output, in its shape, where reduction is "none"."""
        loss = self._of_each(out, y)
        return loss if self.reduction == "none" else loss.mean() if self.reduction == "mean" else loss.sum()

    @abstractmethod
    def _of_each(self, out: Tensor, y: Tensor) -> Tensor:
        """The loss of every output, in its shape."""

    @abstractmethod
    def check_target(self, y: Tensor) -> None:
        """Refuse what no such distribution has."""

    def _refuse(self, y: Tensor, rule: str, advice: str) -> DataError:
        return DataError(f"{type(self).__name__} expects targets {rule}; got {y.min():g}. {advice}")


class GammaLoss(_LogMeanLoss):
    """Gamma deviance of positive numbers; the output is the logarithm of their mean.

    loss = out + y e^-out

    This is -ln of the gamma density of shape 1, without the terms that do not depend on out. For other shapes
    it differs by a factor.

    Shape:   out, y: (batch, ...)
    Source:  McCullagh & Nelder 1989, "Generalized linear models", chapter 8

    Args:
        reduction: "mean" or "sum" over rows and outputs, or "none".

    Raises:
        ConfigError: an unknown reduction.

    >>> GammaLoss()(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]]))
    tensor(2.)
    """

    def _of_each(self, out: Tensor, y: Tensor) -> Tensor:
        return out + y * (-out).exp()

    def check_target(self, y: Tensor) -> None:
        """Refuse targets that are not positive."""
        if len(y) and y.min() <= 0:
            raise self._refuse(y, "above 0", "Leave these rows out, or take TweedieLoss.")


class TweedieLoss(_LogMeanLoss):
    """Tweedie deviance of numbers that are often 0, else positive; the output is the logarithm of their mean.

    loss = y e^((1 - p) out) / (p - 1) + e^((2 - p) out) / (2 - p)

    The variance is proportional to mean^p: p near 1 is nearly Poisson, near 2 nearly gamma, between them the
    sum of a Poisson number of gamma amounts, such as what an insurance pays in a year.

    Shape:   out, y: (batch, ...)
    Source:  Jørgensen 1987, "Exponential dispersion models"

    Args:
        power: p, between 1 and 2.
        reduction: "mean" or "sum" over rows and outputs, or "none".

    Raises:
        ConfigError: a power outside (1, 2), an unknown reduction.

    >>> TweedieLoss()(torch.zeros(2, 1), torch.tensor([[0.0], [3.0]]))
    tensor(5.)
    """

    def __init__(self, power: float = 1.5, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if not 1 < power < 2:
            raise ConfigError(
                f"power must be between 1 and 2; got {power!r}. For 1 take 'poisson', for 2 GammaLoss."
            )
        self.power = float(power)

    def _of_each(self, out: Tensor, y: Tensor) -> Tensor:
        p = self.power
        return y * ((1 - p) * out).exp() / (p - 1) + ((2 - p) * out).exp() / (2 - p)

    def check_target(self, y: Tensor) -> None:
        """Refuse negative targets."""
        if len(y) and y.min() < 0:
            raise self._refuse(y, "of 0 or above", "Leave these rows out, or take another loss.")

    def extra_repr(self) -> str:
        """The settings, for print."""
        return f"power={self.power:g}, reduction={self.reduction!r}"


def _checked_reduction(reduction: str) -> str:
    if reduction not in ("mean", "sum", "none"):
        raise ConfigError(f"reduction must be 'mean', 'sum' or 'none'; got {reduction!r}.")
    return reduction


@dataclass(frozen=True)
class LossKind:
    """What is known of a class of losses; `LOSS_KINDS` has a row for each.

    compares: what the output is compared with: "numbers" of its own shape; "probabilities", which are numbers
        from 0 to 1; "classes", one label or several probabilities a row; "quantiles", a number for several
        outputs; or "else"
    name:     by which `loss=` takes it, if it does
    function: of `torch.nn.functional`, which is the same
    """

    compares: Literal["numbers", "probabilities", "classes", "quantiles", "else"]
    name: str | None = None
    function: Callable[..., Any] | None = None


# A loss by name is a line here. For the kernels to run it: a row in kernels/loss_rules.py. For `ml.fit` to
# aim at it: a task with it in tasks/.
LOSS_KINDS: dict[type[nn.Module], LossKind] = {
    nn.BCELoss: LossKind("probabilities", None, F.binary_cross_entropy),
    nn.BCEWithLogitsLoss: LossKind(
        "probabilities", "binary_cross_entropy", F.binary_cross_entropy_with_logits
    ),
    nn.CrossEntropyLoss: LossKind("classes", "cross_entropy", F.cross_entropy),
    nn.HingeEmbeddingLoss: LossKind("else", None, F.hinge_embedding_loss),
    nn.HuberLoss: LossKind("numbers", "huber", F.huber_loss),
    nn.KLDivLoss: LossKind("else", None, F.kl_div),
    nn.L1Loss: LossKind("numbers", "mae", F.l1_loss),
    nn.MSELoss: LossKind("numbers", "mse", F.mse_loss),
    nn.MultiLabelMarginLoss: LossKind("else", None, F.multilabel_margin_loss),
    nn.MultiLabelSoftMarginLoss: LossKind("else", None, F.multilabel_soft_margin_loss),
    nn.MultiMarginLoss: LossKind("else", None, F.multi_margin_loss),
    nn.NLLLoss: LossKind("classes", None, F.nll_loss),
    nn.PoissonNLLLoss: LossKind("numbers", "poisson", F.poisson_nll_loss),
    nn.SmoothL1Loss: LossKind("numbers", None, F.smooth_l1_loss),
    nn.SoftMarginLoss: LossKind("else", None, F.soft_margin_loss),
    GammaLoss: LossKind("numbers", "gamma"),
    QuantileLoss: LossKind("quantiles", "quantile"),
    TweedieLoss: LossKind("numbers", "tweedie"),
}
LOSSES: dict[str, Callable[[], nn.Module]] = {
    rule.name: kind
    for kind, rule in sorted(LOSS_KINDS.items(), key=lambda row: row[1].name or "")
    if rule.name
}


def _comparing(*what: str) -> tuple[type[nn.Module], ...]:
    return tuple(kind for kind, rule in LOSS_KINDS.items() if rule.compares in what)


ELEMENTWISE = _comparing("numbers", "probabilities")
BINARY = _comparing("probabilities")
CLASSES = _comparing("classes")
OURS = tuple(
    kind for kind in LOSS_KINDS if kind.__module__ == __name__
)  # which take and give what PyTorch's do


@dataclass(frozen=True)
class Loss:
    """A loss ready for training.

    function:     what the user passed, or the module of the name
    takes_target: called as function(out, target), or function(out, *target) with several, else function(out)
    takes_weight: called with a further argument, the rows' weights
    weight_name:  the name of that argument; None passes it as the last one
    sums_outputs: a row's loss is the sum over its outputs, where the function takes their mean
    """

    function: Callable[..., Tensor]
    takes_target: bool
    takes_weight: bool = False
    weight_name: str | None = None
    sums_outputs: bool = False

    @property
    def module(self) -> nn.Module | None:
        """The torch.nn module, where the loss is one."""
        return self.function if isinstance(self.function, nn.Module) else None

    @property
    def is_mean(self) -> bool:
        """Whether a batch's loss is a mean over its rows (as opposed to a sum)."""
        return getattr(self.function, "reduction", "mean") != "sum"

    def __call__(self, out: Tensor, target: Target, weight: Tensor | None = None) -> Any:
        """The loss of one batch: a scalar, unless the user's function gives something else.

        With weights and mean reduction: sum(w l) / sum(w).
        """
        if weight is not None:
            value = self._weighted(out, target, weight)
        elif (
            self.takes_target and type(target) is Tensor
        ):  # a step of small networks takes as long as ten calls
            value = self.function(out, target)
        else:
            value = self.function(out, *self._targets(target))
        return value * out[0].numel() if self.sums_outputs else value

    def mass(self, target: Target, weight: Tensor | None) -> Tensor | None:
        """What each row counts in the mean that the loss is; None where all count alike.

        Of classes with weights, a row counts as its class weighs, and an ignored one nothing.
        """
        module, counts = self.module, weight
        if isinstance(module, CLASSES) and _takes_their_mean(module) and are_codes(target):
            of_class = _class_weight(module, target)
            counts = of_class if weight is None else weight * of_class
        return counts

    def shares(self, batches: Sequence[Batch], k: int) -> list[float]:
        """Each batch's share in its update, of k batches: what its rows count among all of the update's."""
        if k == 1 or not self.is_mean:
            return [1.0] * len(batches)
        sizes = []
        for x, target, weight in batches:
            mass = self.mass(target, weight)
            sizes.append(float(n_rows_of(x) if mass is None else mass.double().sum()))
        totals = [sum(sizes[first : first + k]) for first in range(0, len(sizes), k)]
        return [size / totals[step // k] if totals[step // k] else 1.0 for step, size in enumerate(sizes)]

    def _targets(self, target: Target) -> tuple[Tensor, ...]:
        if not self.takes_target or target is None:
            return ()
        return target if isinstance(target, tuple) else (target,)

    def _weighted(self, out: Tensor, target: Target, weight: Tensor) -> Any:
        targets = self._targets(target)
        if self.takes_weight:
            if self.weight_name is not None:
                return self.function(out, *targets, **{self.weight_name: weight})
            return self.function(out, *targets, weight)
        module = self.module
        if module is None:  # make_loss refuses this
            raise ConfigError(_NO_WEIGHTS)
        per_row = _without_reduction(module)(out, *targets)
        if per_row.ndim == 0 or len(per_row) != len(weight):
            raise ConfigError(
                f"sample_weight needs a loss of every row; {type(module).__name__} gives none. Leave the "
                "weights out, or pass a function loss(out, target, sample_weight) -> scalar."
            )
        if per_row.ndim > 1:
            sums = not self.is_mean or getattr(module, "reduction", "mean") == "batchmean"
            per_row = per_row.flatten(1).sum(1) if sums else per_row.flatten(1).mean(1)
        total = (per_row * weight).sum()
        if not self.is_mean:
            return total
        mass = self.mass(target, weight)
        return total / mass.sum().clamp(min=torch.finfo(weight.dtype).tiny)  # type: ignore[union-attr]


_NO_WEIGHTS = (
    "sample_weight reaches a loss of your own as an argument of that name, or as its last one, without a "
    "default: loss(out, target, sample_weight) -> scalar."
)


def make_loss(loss: Any, *, has_target: bool, has_weight: bool, n_targets: int = 1) -> Loss:
    """A `Loss` from a name in `LOSSES`, a torch.nn module or function, or a callable of output and targets.

    Raises:
        ConfigError: the name is unknown; a known loss without a target; a callable that does not take so many
            targets; weights that the loss cannot take.

    >>> make_loss("mse", has_target=True, has_weight=False).module
    MSELoss()
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ConfigError(
                f"unknown loss {loss!r}; known: {', '.join(sorted(LOSSES))}.{nearest(loss, LOSSES)}"
            )
        loss = LOSSES[loss]()
    if isinstance(loss, type) or not callable(loss):
        came = f"the class {loss.__name__}" if isinstance(loss, type) else type(loss).__name__
        raise ConfigError(
            f"loss must be a name, a torch.nn loss such as nn.MSELoss(), or a function; got {came}."
        )
    loss = _as_module(loss)
    known = type(loss).__module__ == "torch.nn.modules.loss" or isinstance(loss, OURS)
    if known and not has_target:
        raise ConfigError(f"loss {type(loss).__name__} compares output with target; got no target. Pass y.")
    means = ("mean", "sum", "batchmean") if isinstance(loss, nn.KLDivLoss) else ("mean", "sum")
    if known and getattr(loss, "reduction", "mean") not in means:
        raise ConfigError(
            f"a loss must give one number for a batch; {type(loss).__name__} has "
            f"reduction={loss.reduction!r}. Make it with reduction='mean' or 'sum'."
        )
    n_given = 1 + n_targets * has_target
    takes_weight = has_weight and not known
    name = _weight_name(loss, n_given) if takes_weight else None
    if not _accepts(loss, n_given, name, takes_weight):
        raise ConfigError(_unaccepted(loss, n_given))
    return Loss(loss, has_target, takes_weight, name)


def _as_module(loss: Any) -> Any:
    """The module of a function of torch.nn.functional, also where options are filled in by `partial`."""
    function, options = (loss.func, loss.keywords) if isinstance(loss, partial) else (loss, {})
    kind = next((kind for kind, rule in LOSS_KINDS.items() if rule.function is function), None)
    if kind is None or (isinstance(loss, partial) and loss.args):
        return loss
    taken = inspect.signature(kind).parameters
    return kind(**options) if options.keys() <= taken.keys() else loss


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """What a loss takes; None where it does not say, as of built-in functions."""
    try:
        target = function.forward if isinstance(function, nn.Module) else function
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return None


def _weight_name(loss: Callable[..., Any], n_given: int) -> str | None:
    """The name of a loss's argument for weights of rows; None for a third one without a default.

    Raises:
        ConfigError: there is neither; an argument with a default is an option of the loss.
    """
    if getattr(loss, "__module__", None) in ("torch.nn.functional", "torch._C._nn"):
        raise ConfigError(
            f"sample_weight cannot be used with torch.nn.functional.{loss.__name__}, which has no module in "
            f"torch.nn that would give a loss of every row. {_NO_WEIGHTS}"
        )
    parameters = _parameters(loss)
    if parameters is None:
        raise ConfigError(_NO_WEIGHTS)
    for parameter in parameters:
        if parameter.name in WEIGHT_NAMES and parameter.kind in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        ):
            return parameter.name
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(by_position) <= n_given or by_position[n_given].default is not inspect.Parameter.empty:
        raise ConfigError(_NO_WEIGHTS)
    return None


def _accepts(loss: Callable[..., Any], n_given: int, weight_name: str | None, takes_weight: bool) -> bool:
    """Whether a loss can be called as it will be."""
    try:
        signature = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss)
    except (TypeError, ValueError):
        return True  # it does not say
    by_name = {} if weight_name is None else {weight_name: None}
    by_position = n_given + (takes_weight and weight_name is None)
    try:
        signature.bind(*[None] * by_position, **by_name)
    except TypeError:
        return False
    return True


def _unaccepted(loss: Any, n_given: int) -> str:
    name = getattr(loss, "__name__", type(loss).__name__)
    names = ", ".join(parameter.name for parameter in _parameters(loss) or [])
    given = (
        ["the output", "the output and y"][n_given - 1]
        if n_given < 3
        else f"the output and {n_given - 1} targets"
    )
    return (
        f"a loss is called with the output and with what y holds; {name}({names}) cannot be called with "
        f"{given}. Pass several targets as a tuple, y=(a, b), for loss(output, a, b); and no y for a loss "
        "of the output alone."
    )


def _takes_their_mean(module: nn.Module) -> bool:
    """Whether a loss of classes takes PyTorch's mean; a subclass may take another one, such as over rows."""
    return type(module).forward in {kind.forward for kind in CLASSES}


def are_codes(target: Target) -> TypeGuard[Tensor]:
    """Whether a target holds class codes, one a row."""
    return isinstance(target, Tensor) and target.ndim == 1 and not target.is_floating_point()


def _class_weight(module: Any, codes: Tensor) -> Tensor:
    """What a row of each class counts in a mean; an ignored row counts nothing."""
    counted = codes != module.ignore_index
    return counted if module.weight is None else counted * module.weight[codes.where(counted, 0)]


def _without_reduction(module: nn.Module) -> nn.Module:
    twin = copy.copy(module)
    twin.reduction = "none"  # type: ignore[assignment]
    return twin


def shape_in_words(x: Tensor) -> str:
    """Such as (rows, 3)."""
    return "(rows" + "".join(f", {d}" for d in x.shape[1:]) + ("," if x.ndim == 1 else "") + ")"
