"""How the kernels run each loss: one row a class. What is in no row is differentiated by autograd.

To teach the kernels a loss of numbers, write its point in `losses.py` and enter it in `RULES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.errors import DataError
from multilayer.training.kernels import losses as loss_kernels
from multilayer.training.kernels.plain import foreign_to_module, foreign_to_process, foreign_to_tensor
from multilayer.training.losses import GammaLoss, Loss, QuantileLoss, TweedieLoss


@dataclass(frozen=True)
class LossSpec:
    """A loss as its kernel wants it.

    kernel:  of `losses.py`
    ints, real: options
    labels:  int64 (n_rows,), codes of classes
    target:  float32 (n_rows, columns), numbers
    columns: float32, positive weights of outputs, or quantiles
    factors: float32, weights of classes or outputs
    """

    kernel: Callable[..., Any]
    ints: tuple[int, ...]
    labels: NDArray[np.int64]
    target: NDArray[np.float32]
    columns: NDArray[np.float32]
    factors: NDArray[np.float32]
    real: float = 0.0


@dataclass(frozen=True)
class LossRows:
    """What a loss is asked for.

    d_out:        outputs of the network
    y:            the target of all rows
    is_weighted:  whether rows have weights
    sums_outputs: whether a row's loss is the sum over its outputs
    """

    d_out: int
    y: NDArray[Any]
    n_rows: int
    is_weighted: bool
    sums_outputs: bool


Rule = Callable[[Any, LossRows], LossSpec | None]  # of a module; None: autograd differentiates it


def loss_spec(
    loss: Loss, d_out: int, y: NDArray[Any] | None, n_rows: int, is_weighted: bool
) -> LossSpec | None:
    """A loss as the kernels run it; None: autograd differentiates it.

    Raises:
        DataError: the target does not fit the outputs.
    """
    module: Any = loss.module
    if module is None or y is None or not loss.takes_target or loss.takes_weight:
        return None
    rule = RULES.get(type(module))
    if rule is None or module.reduction not in ("mean", "sum"):
        return None
    if foreign_to_process() is not None or foreign_to_module(module) is not None:
        return None
    if any(tensor.requires_grad or foreign_to_tensor(tensor) for tensor in module.buffers()):
        return None
    return rule(module, LossRows(d_out, y, n_rows, is_weighted, loss.sums_outputs))


def _pointwise(
    code: int,
    real: Callable[[Any], float] = lambda module: 0.0,
    *,
    only_if: Callable[[Any], bool] = lambda module: True,
) -> Rule:
    """The rule of a loss of single outputs.

    code:    which, in `losses.py`
    real:    its option
    only_if: whether the kernel knows the module's options
    """

    def rule(module: Any, rows: LossRows) -> LossSpec | None:
        if not only_if(module):
            return None
        d_out, ones = rows.d_out, np.ones(rows.d_out, np.float32)
        target = np.ascontiguousarray(rows.y, np.float32)
        if target.size != rows.n_rows * d_out:
            raise DataError(
                f"output and target must have the same shape; got {d_out} outputs a row and y {rows.y.shape}."
            )
        columns = _per_column(getattr(module, "pos_weight", None), d_out)
        factors = _per_column(getattr(module, "weight", None), d_out)
        if columns is None or factors is None:
            return None
        target = target.reshape(rows.n_rows, d_out)
        if rows.sums_outputs:
            factors = factors * np.float32(d_out)
        return LossSpec(
            loss_kernels.pointwise, (code,), _NO_LABELS, target, columns * ones, factors * ones, real(module)
        )

    return rule


def _per_column(values: Tensor | None, d_out: int) -> NDArray[np.float32] | None:
    if values is None:
        return np.ones(1, np.float32)
    if values.numel() != 1 and tuple(values.shape) not in ((d_out,), (1, d_out)):
        return None
    return values.detach().reshape(-1).numpy().astype(np.float32)


def _cross_entropy(module: Any, rows: LossRows) -> LossSpec | None:
    d_out, y, is_weighted = rows.d_out, rows.y, rows.is_weighted
    factors = np.ones(d_out, np.float32) if module.weight is None else _per_column(module.weight, d_out)
    if factors is None or len(factors) != d_out:
        raise DataError(
            f"class weights must be one for each of the {d_out} outputs; got {module.weight.numel()}."
        )
    smoothing = float(module.label_smoothing)
    if y.dtype.kind == "f":
        if y.shape != (len(y), d_out):
            raise DataError(
                f"class probabilities must have one column for each of {d_out} outputs; got {y.shape}."
            )
        target = np.ascontiguousarray(y, np.float32)
        return LossSpec(
            loss_kernels.cross_entropy_of_probabilities,
            (-100, 0, is_weighted),
            _NO_LABELS,
            target,
            _NO_TARGET[0],
            factors,
            smoothing,
        )
    labels = np.ascontiguousarray(y, np.int64).reshape(-1)
    is_odd = bool(len(labels)) and (labels.min() < 0 or labels.max() >= d_out)
    counted = labels[labels != module.ignore_index] if is_odd else labels[:0]
    if len(counted) and (counted.min() < 0 or counted.max() >= d_out):
        raise DataError(
            f"class codes must be from 0 to {d_out - 1}, one for each of the network's {d_out} outputs; "
            f"got {counted.min()} to {counted.max()}. Code the classes 0, 1, 2, ..."
        )
    options = (int(module.ignore_index), 0, is_weighted)
    return LossSpec(
        loss_kernels.cross_entropy, options, labels, _NO_TARGET, _NO_TARGET[0], factors, smoothing
    )


def _quantile(module: Any, rows: LossRows) -> LossSpec | None:
    d_out, y, n_rows = rows.d_out, rows.y, rows.n_rows
    n_quantiles = len(module.quantiles)
    target = np.ascontiguousarray(y, np.float32)
    if target.size * n_quantiles != n_rows * d_out:
        raise DataError(
            f"output must have a column for each of {n_quantiles} quantiles of each target; "
            f"got {d_out} outputs a row and y {y.shape}."
        )
    target = target.reshape(n_rows, d_out // n_quantiles)
    quantiles = np.array(module.quantiles, np.float32)
    return LossSpec(loss_kernels.quantile, (n_quantiles,), _NO_LABELS, target, quantiles, _NO_TARGET[0])


RULES: Mapping[type[nn.Module], Rule] = {
    nn.BCEWithLogitsLoss: _pointwise(loss_kernels.BINARY),
    nn.CrossEntropyLoss: _cross_entropy,
    nn.HuberLoss: _pointwise(loss_kernels.HUBER, lambda module: float(module.delta)),
    nn.L1Loss: _pointwise(loss_kernels.L1),
    nn.MSELoss: _pointwise(loss_kernels.MSE),
    nn.PoissonNLLLoss: _pointwise(
        loss_kernels.POISSON, only_if=lambda module: module.log_input and not module.full
    ),
    nn.SmoothL1Loss: _pointwise(loss_kernels.SMOOTH_L1, lambda module: float(module.beta)),
    GammaLoss: _pointwise(loss_kernels.GAMMA),
    QuantileLoss: _quantile,
    TweedieLoss: _pointwise(loss_kernels.TWEEDIE, lambda module: module.power),
}

_NO_LABELS = np.zeros(1, np.int64)
_NO_TARGET = np.zeros((1, 1), np.float32)
NO_LOSS = LossSpec(
    loss_kernels.pointwise, (loss_kernels.MSE,), _NO_LABELS, _NO_TARGET, _NO_TARGET[0], _NO_TARGET[0]
)
