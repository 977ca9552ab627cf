"""Whether something is exactly what its class says: nothing patched over it, hooked onto it, or switched on
around it.

The kernels compute what the known classes compute. Whatever PyTorch would run beside that, or instead of it,
they would leave out without a word. So what is not known to be plain is not plain.
"""

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler, optimizer
from torch.utils import _contextlib

_LAYERS = "linear batch_norm layer_norm dropout embedding"
_ACTIVATIONS = "relu elu gelu leaky_relu mish prelu selu silu softplus"
_LOSSES = "mse_loss l1_loss huber_loss smooth_l1_loss cross_entropy nll_loss poisson_nll_loss"
# What the forward passes of known layers and losses call, as it was when this file was imported
_FUNCTIONS = [
    (holder, name, vars(holder)[name])
    for holder, names in (
        (nn.functional, f"{_LAYERS} {_ACTIVATIONS} {_LOSSES} binary_cross_entropy_with_logits"),
        (torch, "relu sigmoid tanh cos cat"),
        (nn.Module, "__call__ _call_impl _wrapped_call_impl __getattr__"),
    )
    for name in names.split()
]
_MODULE_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def foreign_to_process() -> str | None:
    """What is switched on for all modules or all of PyTorch, in a sentence; None if nothing is.

    >>> foreign_to_process() is None
    True
    """
    if any(getattr(nn.modules.module, f"_global{name}") for name in _MODULE_HOOKS):
        return "there are hooks on all modules, which the kernels would not call."
    if optimizer._global_optimizer_pre_hooks or optimizer._global_optimizer_post_hooks:
        return "there are hooks on all optimisers, which the kernels would not call."
    for holder, name, function in _FUNCTIONS:
        if vars(holder)[name] is not function:
            where = getattr(holder, "__name__", str(holder))
            return f"{where}.{name} is replaced by another function, which the kernels would not call."
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on, which the kernels do not follow."
    if torch.is_anomaly_enabled():
        return "anomaly detection is on, which looks at autograd."
    if torch._C._len_torch_function_stack() or torch._C._len_torch_dispatch_stack():
        return "a mode that overrides PyTorch's functions is on, which the kernels would pass by."
    return None


def foreign_to_module(module: nn.Module) -> str | None:
    """What stands between a module of a known class and what the class computes; None if nothing does.

    The answer is a sentence without its subject, the layer.

    >>> layer = nn.Linear(2, 1)
    >>> foreign_to_module(layer) is None
    True
    >>> handle = layer.register_forward_hook(lambda *_: None)
    >>> foreign_to_module(layer)
    'has hooks, which the kernels would not call.'
    """
    own, kind = vars(module), type(module)
    for name in _MODULE_HOOKS:
        if own[name]:
            return "has hooks, which the kernels would not call."
    if not _has_own(kind, "forward"):
        return "has a method that is not its class's own, which the kernels would not call."
    for name, value in own.items():
        if callable(value) and hasattr(kind, name):
            return "has a method that is not its class's own, which the kernels would not call."
        if isinstance(value, Tensor):
            return "holds a tensor that is neither parameter nor buffer, which the kernels would not find."
    return None


def foreign_to_tensor(tensor: Tensor) -> str | None:
    """What makes a parameter or buffer more than numbers side by side in memory; None if nothing does.

    The answer is a sentence without its subject, the tensor.

    >>> foreign_to_tensor(nn.Parameter(torch.zeros(2))) is None
    True
    """
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"is a {type(tensor).__name__}, whose operations may be its own."
    if tensor.device.type != "cpu" or tensor.layout != torch.strided:
        return f"lies on {tensor.device} as {tensor.layout}; the kernels work on dense tensors on the CPU."
    if tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype != torch.float32):
        return f"is {str(tensor.dtype).removeprefix('torch.')}; the kernels work in float32."
    if tensor.requires_grad and not (tensor.is_leaf and isinstance(tensor, nn.Parameter)):
        return "is computed from other tensors, or a buffer that wants a gradient."
    if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
        return "has hooks, which the kernels would not call."
    if not tensor.is_contiguous() or tensor.data_ptr() % tensor.element_size() or tensor.is_inference():
        return "is a view with gaps, or made in inference mode; the kernels work on numbers side by side."
    return None


def foreign_to_optimizer(of: torch.optim.Optimizer) -> str | None:
    """What stands between an optimiser of a known class and its `step`, in a sentence; None if nothing does.

    A learning-rate scheduler wraps `step` to know that it was called; that changes nothing.

    >>> sgd = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
    >>> schedule = lr_scheduler.StepLR(sgd, 10)
    >>> foreign_to_optimizer(sgd) is None
    True
    """
    if of._optimizer_step_pre_hooks or of._optimizer_step_post_hooks:
        return "the optimiser has step hooks, which the kernels would not call."
    given = dict(vars(of))
    if not _has_own(type(of), "step", given.pop("step", None)):
        return "the optimiser's step is replaced by another function, which the kernels would not call."
    if any(callable(value) and hasattr(type(of), name) for name, value in given.items()):
        return "the optimiser has a method that is not its class's own, which the kernels would not call."
    return None


_verified: dict[tuple[type, str], Any] = {}


def _has_own(kind: type, name: str, method: Any = None) -> bool:
    """Whether a method comes from the file of the class, or of one that it inherits from.

    method: found under that name, if not the class's
    """
    method = getattr(kind, name) if method is None else method
    if _verified.get((kind, name)) is method:
        return True
    files = {file for base in kind.__mro__[:-1] for file in _files_of(base)}
    is_own = _file_of(_peeled(method)) in files
    if is_own:
        _verified[kind, name] = method
    return is_own


def _files_of(kind: type) -> tuple[str, str]:
    """Where a class is defined: its module's file, and its `__init__`'s, as a class may name another one."""
    module = str(getattr(sys.modules.get(kind.__module__), "__file__", ""))
    return module, _file_of(_peeled(vars(kind).get("__init__"))) or module


def _peeled(method: Any) -> Any:
    """A method without the wrappers that PyTorch puts around it (to profile, for schedulers, `no_grad`), and
    without the run-time type check of our tests.
    """
    method = getattr(method, "__func__", method)
    while hasattr(method, "__wrapped__") and _is_harmless(_file_of(method)):
        method = method.__wrapped__
    return method


def _is_harmless(file: str) -> bool:
    return file in (lr_scheduler.__file__, optimizer.__file__, _contextlib.__file__) or any(
        checker in file for checker in ("jaxtyping", "beartype")
    )


def _file_of(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return "" if code is None else str(code.co_filename)
