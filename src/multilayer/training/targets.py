"""Targets as a loss wants them, and the checks that catch a wrong shape or coding before training starts."""

from typing import Any

import torch
from torch import Tensor

from multilayer.errors import DataError
from multilayer.training.losses import (
    BINARY,
    CLASSES,
    ELEMENTWISE,
    GammaLoss,
    Loss,
    QuantileLoss,
    TweedieLoss,
    are_codes,
    shape_in_words,
)
from multilayer.training.user_arrays import Target, each


def as_loss_target(loss: Loss, y: Any, dtype: torch.dtype) -> Any:
    """The target in the type that the loss wants; wrong label coding is an error that says the coding.

    Of several targets, those of fractions get the output's type, and whole numbers stay whole.

    Raises:
        DataError: class labels that are not whole, negative; binary targets outside 0 to 1; targets of a
            gamma or Tweedie loss that are not positive, or negative.
    """
    if not isinstance(y, Tensor):
        return each(lambda part: part.to(dtype) if part.is_floating_point() else part, y)
    module = loss.module
    if isinstance(module, CLASSES):
        return _class_target(y, dtype, int(module.ignore_index))  # type: ignore[arg-type]
    if isinstance(module, BINARY):
        y = y.to(dtype)
        if len(y) and (y.min() < 0 or y.max() > 1):
            raise DataError(
                f"{type(module).__name__} expects targets from 0 to 1; got values from {y.min():g} to "
                f"{y.max():g}. Code the two classes as 0 and 1."
            )
        return y
    if isinstance(module, GammaLoss | TweedieLoss):
        module.check_target(y)
    if isinstance(module, (*ELEMENTWISE, QuantileLoss)) or y.is_floating_point():
        return y.to(dtype)
    return y.long() if y.dtype != torch.bool else y


def _class_target(y: Tensor, dtype: torch.dtype, ignored: int) -> Tensor:
    if y.is_floating_point() and y.ndim > 1:
        if ignored >= 0:
            raise DataError(
                f"class probabilities have no class to ignore; got ignore_index={ignored}. Leave it out, or "
                "pass class codes."
            )
        return y.to(dtype)  # class probabilities
    if y.is_floating_point():
        raise DataError(
            f"cross-entropy expects class codes as whole numbers (int64), from 0 up; got {y.dtype}. "
            "Pass y.astype('int64'), or choose a regression loss such as 'mse'."
        )
    return y.long()


def check_shapes(loss: Loss, out: Tensor, target: Target) -> None:
    """Refuse shapes of output and target that would broadcast into something nobody meant.

    Raises:
        DataError: (n, 1) against (n,) in either order; other shapes that a known loss would broadcast;
            target rows that differ from output rows.
    """
    if not isinstance(target, Tensor):
        return
    if out.ndim == 0 or len(out) != len(target):
        raise DataError(
            f"the network must give as many rows as it gets; {len(target)} rows gave an output of shape "
            f"{tuple(out.shape)}. Keep the first axis in every layer."
        )
    module = loss.module
    if isinstance(module, CLASSES):
        _check_classes(out, target)
        return
    trap = {out.ndim, target.ndim} == {1, 2} and (out.shape[-1] == 1 or target.shape[-1] == 1)
    trap = trap and (target.is_floating_point() or out.numel() == target.numel())
    if isinstance(module, QuantileLoss) and not trap:
        module.check_shapes(out, target)
    if trap or (isinstance(module, ELEMENTWISE) and out.shape != target.shape):
        raise DataError(
            f"output and target must have the same shape; got {shape_in_words(out)} and "
            f"{shape_in_words(target)}, which broadcast to every output against every target. "
            f"{_shape_advice(out, target)}"
        )


def _check_classes(out: Tensor, target: Tensor) -> None:
    if target.is_floating_point():
        if out.shape != target.shape:
            raise DataError(
                f"class probabilities must have the output's shape {shape_in_words(out)}; "
                f"got {shape_in_words(target)}."
            )
        return
    if target.ndim != 1 or out.ndim != 2:
        raise DataError(
            f"cross-entropy expects output (rows, classes) and target (rows,); got {shape_in_words(out)} and "
            f"{shape_in_words(target)}. Pass y.reshape(-1), and a network with one output for each class."
        )


def check_class_codes(loss: Loss, y: Target, n_outputs: int) -> None:
    """Refuse class codes that the network has no output for (looks at all rows, once)."""
    module = loss.module
    if not isinstance(module, CLASSES) or not are_codes(y):
        return
    if _are_between(y, n_outputs):  # most targets, in a third of the time
        return
    counted = y[y != module.ignore_index]
    if not len(counted):
        return
    low, high = int(counted.min()), int(counted.max())
    if low < 0 or high >= n_outputs:
        advice = "Code the classes 0, 1, 2, ... and give the network an output for each."
        if low == 1 and high == n_outputs:
            advice = "Subtract 1: codes start at 0."
        raise DataError(
            f"class codes must be from 0 to {n_outputs - 1}, one for each of the network's {n_outputs} "
            f"outputs; got {low} to {high}. {advice}"
        )


def _are_between(codes: Tensor, n: int) -> bool:
    """Whether all codes are from 0 to n - 1."""
    if not codes.numel():
        return True
    low, high = codes.aminmax()
    return int(low) >= 0 and int(high) < n


def _shape_advice(out: Tensor, target: Tensor) -> str:
    if out.ndim == 2 and target.ndim == 1:
        return (
            "Pass y[:, None], or end the network with nn.Flatten(0)."
            if out.shape[1] == 1
            else "Pass y with one column for each output."
        )
    return (
        "Pass y[:, 0]."
        if out.ndim == 1 and target.ndim == 2
        else "Make the network's outputs fit the target's columns."
    )
