"""Whether something is exactly what its class says: nothing patched over it, hooked onto it, or switched on
around it.

The kernels compute what the known classes compute. Whatever PyTorch would run beside that, or instead of it,
they would leave out without a word. So what is not known to be plain is not plain.
"""

import dis
import gc
import logging
import random
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import lru_cache, partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import activation, batchnorm, dropout, linear, loss, normalization, sparse
from torch.optim import _muon, adam, lr_scheduler, optimizer, sgd
from torch.utils import _contextlib

# Where PyTorch has layers, activations and losses such as the kernels know
_FILES = (activation, batchnorm, dropout, linear, loss, normalization, sparse)


def _functions_called() -> Iterator[str]:
    """Names of the functions of `torch.nn.functional` that the forward passes of these files call."""
    found = [kind for file in _FILES for kind in vars(file).values() if isinstance(kind, type)]
    passes = [kind.forward.__code__ for kind in found if issubclass(kind, nn.Module)]
    called = {name for code in passes for name in code.co_names}
    return (name for name in sorted(called) if callable(vars(nn.functional).get(name)))


# What forward passes and optimisers call, as it was when this file was imported
_FUNCTIONS = [
    (holder, name, vars(holder)[name])
    for holder, names in (
        (nn.functional, " ".join(_functions_called())),
        (torch, "relu sigmoid tanh cos cat"),
        (nn.Module, "__call__ _call_impl _wrapped_call_impl __getattr__"),
        (sgd, "sgd"),
        (adam, "adam"),
        (_muon, "muon"),
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
    if torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
        return "there are hooks on the tensors that autograd saves, which the kernels would not call."
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
    if not all(_has_own(kind, method) for method in ("forward", "__call__", "_call_impl")):
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
    if not _has_own(type(of), "step", given.pop("step", None)) or not _has_own(type(of), "_init_group"):
        return "the optimiser's step is replaced by another function, which the kernels would not call."
    if any(callable(value) and hasattr(type(of), name) for name, value in given.items()):
        return "the optimiser has a method that is not its class's own, which the kernels would not call."
    if not _has_own(type(of), "zero_grad"):
        return "the optimiser's zero_grad is replaced by another function, which the kernels would not call."
    return None


_verified: dict[tuple[type, str], Any] = {}


def _has_own(kind: type, name: str, method: Any = None) -> bool:
    """Whether a class has the method that stands in its source, or in that of a class it inherits from.

    method: found under that name, if not the class's
    """
    method = getattr(kind, name, None) if method is None else method
    if method is None or _verified.get((kind, name)) is method:
        return True
    own = _peeled(method)
    is_own = any(
        _file_of(own) in _files_of(base)
        and own.__qualname__ in (f"{base.__name__}.{name}", _ALIASES.get(name))
        for base in kind.__mro__[:-1]
    )
    if is_own:
        _verified[kind, name] = method
    return is_own


_ALIASES = {"__call__": "Module._wrapped_call_impl", "forward": "_forward_unimplemented"}  # in nn.Module


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


_WRAPPERS = (lr_scheduler.__file__, optimizer.__file__, _contextlib.__file__, torch._compile.__file__)


def _is_harmless(file: str) -> bool:
    return file in _WRAPPERS or any(checker in file for checker in ("jaxtyping", "beartype"))


def _file_of(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return "" if code is None else str(code.co_filename)


# ---- functions of the user's own

_LIBRARIES = {
    *("torch", "numpy", "scipy", "math", "cmath", "operator", "functools", "itertools", "collections"),
    *("random", "time", "typing", "warnings", "logging", "copy", "einops", "jaxtyping", "beartype"),
}
_CONSTANTS = (
    *(type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis)),
    *(np.generic, np.ndarray, torch.dtype, torch.device, torch.Generator),
    *(np.random.Generator, np.random.RandomState, random.Random, logging.Logger, Tensor),
)
_CONTAINERS = (list, tuple, set, frozenset, dict, deque)
_UNSURE = {
    "globals",
    "locals",
    "vars",
    "eval",
    "exec",
    "compile",
    "getattr",
    "setattr",
    "__import__",
    "open",
    "input",
}
# Attributes through which code reaches what no name of it holds: the graph behind a tensor, a function's
# globals
_UNSURE_ATTRIBUTES = {
    *("backward", "grad_fn", "get_gradient_edge", "next_functions"),
    *("__globals__", "__closure__", "__self__", "__subclasses__", "__builtins__", "__dict__"),
}


def foreign_to_function(function: Any) -> str | None:
    """What a function can reach beside its arguments and constants, as a sentence without its subject, the
    loss; None if nothing.

    A loss that can reach a network may penalise its weights, call it again, freeze it; one that can reach an
    optimiser may change its rate. Its code is read, and that of the functions that it calls, up to libraries.

    >>> foreign_to_function(lambda out, target: (out - target).abs().mean()) is None
    True
    >>> net = nn.Linear(1, 1)
    >>> foreign_to_function(lambda out, target: (out - target).abs().mean() + net.weight.abs().sum())
    "reaches 'net' (Linear) beside the output, and may depend on it, or change it."
    """
    found = _reached("the loss", function, set())
    if found is None:
        return None
    name, value = found
    if isinstance(value, FunctionType):
        return (
            f"runs {name!r}, whose code may reach more than it names: it calls backward(), getattr() or the "
            "like, or imports something."
        )
    return f"reaches {name!r} ({type(value).__name__}) beside the output, and may depend on it, or change it."


def _reached(name: str, value: Any, seen: set[int]) -> tuple[str, Any] | None:
    """The first thing that is no constant, by its name; None if there is none."""
    if id(value) in seen:
        return None
    seen.add(id(value))
    if isinstance(value, Tensor) and (value.requires_grad or type(value) is not Tensor):
        return name, value
    inner = _inside(value)
    if inner is None:
        return name, value
    return next(filter(None, (_reached(part or name, one, seen) for part, one in inner)), None)


def _inside(value: Any) -> Iterable[tuple[str, Any]] | None:
    """What a value holds or calls, with names; None where that cannot be told."""
    if isinstance(value, _CONSTANTS):
        return _of_constant(value)
    if type(value) in _CONTAINERS:
        keys = value if isinstance(value, dict) else ()
        return [("", part) for part in (*keys, *(value.values() if isinstance(value, dict) else value))]
    if type(value) is object:
        return []  # a mark, such as functools has in its caches
    if isinstance(value, ModuleType):
        return [] if _root(value.__name__) in _LIBRARIES else None
    if isinstance(value, partial):
        return [("", value.func), *(("", part) for part in value.args), *value.keywords.items()]
    if isinstance(value, MethodType):
        return [("", value.__self__), ("", value.__func__)]
    if isinstance(value, BuiltinFunctionType):
        owner = value.__self__
        return [] if owner is None or isinstance(owner, ModuleType | type) else [("", owner)]
    if isinstance(value, FunctionType):
        return _of_function(value)
    if isinstance(value, type):
        return _of_class(value)
    if isinstance(value, nn.Module):
        return _of_module(value)
    if hasattr(type(value), "__call__") and isinstance(vars(type(value)).get("__call__"), FunctionType):  # noqa: B004
        return [*getattr(value, "__dict__", {}).items(), *_referents(value), *_of_class(type(value))]
    if _root(type(value).__module__) in _LIBRARIES - {"torch"}:  # no optimiser
        return _referents(value)  # such as an OrderedDict, or what `functools.cache` has made of a function
    return None


def _root(module: str | None) -> str:
    return (module or "").split(".")[0]


def _referents(value: Any) -> list[tuple[str, Any]]:
    """What an object holds, wherever it keeps it: attributes, slots, items, or in C."""
    return [("", one) for one in gc.get_referents(value) if one is not type(value)]


def _of_constant(value: Any) -> list[tuple[str, Any]]:
    """What someone has hung on a constant, which few have, and what an array of objects holds."""
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return _referents(value.tolist())
    if isinstance(value, Enum | logging.Logger | np.random.Generator | np.random.RandomState):
        return []
    return list(getattr(value, "__dict__", {}).items())


_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def _of_module(module: nn.Module) -> list[tuple[str, Any]] | None:
    """Of a loss as a module: what it holds beside PyTorch's own attributes, and its forward pass."""
    if any(True for _ in module.parameters()):
        return None
    parts: list[tuple[str, Any]] = []
    for part in module.modules():
        parts += [(name, one) for name, one in vars(part).items() if name not in _OF_EVERY_MODULE]
        parts += part.named_buffers(recurse=False)
        if type(part).__module__.startswith(("torch.nn.", "multilayer.")):
            if foreign_to_module(part) is not None:
                return None
        else:
            if any(vars(part).get(hook) for hook in _MODULE_HOOKS):
                return None
            parts += _of_class(type(part))
    return parts


def _of_class(kind: type) -> list[tuple[str, Any]]:
    """Methods, properties and class attributes of a class and of those that it inherits from, up to
    libraries.
    """
    found: list[tuple[str, Any]] = []
    for base in kind.__mro__:
        if _root(base.__module__) in _LIBRARIES | {"builtins", "multilayer"}:
            continue
        for name, value in vars(base).items():
            if isinstance(value, staticmethod | classmethod):
                found.append(("", value.__func__))
            elif isinstance(value, property):
                found.append(("", value.fget))
            elif isinstance(value, FunctionType) or not name.startswith("__"):
                found.append((name, value))
    return found


def _of_function(function: FunctionType) -> list[tuple[str, Any]] | None:
    """The globals, closure and defaults that a function's code names, and what is hung on it.

    Of a library's function the closure alone: `torch.vmap(net)` is one.
    """
    found: list[tuple[str, Any]] = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found.append((name, cell.cell_contents))
        except ValueError:
            continue  # not bound yet
    if _root(function.__module__) in _LIBRARIES:
        return found
    names, is_sure = _names_in(function.__code__)
    if not is_sure:
        return None
    for name in names:
        if name in function.__globals__:
            found.append((name, function.__globals__[name]))
        elif name in _UNSURE:
            return None
    found += [("", default) for default in function.__defaults__ or ()]
    return [*found, *(function.__kwdefaults__ or {}).items(), *vars(function).items()]


@lru_cache(maxsize=256)
def _names_in(code: CodeType) -> tuple[tuple[str, ...], bool]:
    """The globals that code names, and whether it imports nothing but libraries, and asks nothing for what it
    cannot be seen to hold.
    """
    names, is_sure = [], True
    for instruction in _instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"):
            names.append(str(instruction.argval))
        elif instruction.opname == "IMPORT_NAME":
            is_sure = is_sure and _root(str(instruction.argval)) in _LIBRARIES
        elif instruction.argval in _UNSURE_ATTRIBUTES:
            is_sure = False
    return tuple(dict.fromkeys(names)), is_sure


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)
