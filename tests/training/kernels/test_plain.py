"""What stands between a class and what it computes; that both engines heed it is in
`test_engines_agree.py`.
"""

import collections
import functools
import inspect
import itertools
import logging
import re
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler, sgd
from torch.optim.optimizer import register_optimizer_step_post_hook

from multilayer.training.kernels import plain
from multilayer.training.kernels.loss_rules import RULES as LOSS_RULES
from multilayer.training.kernels.plain import (
    foreign_to_function,
    foreign_to_module,
    foreign_to_optimizer,
    foreign_to_process,
    foreign_to_tensor,
)
from multilayer.training.kernels.readers import READERS
from multilayer.training.kernels.update_rules import RULES as UPDATE_RULES
from multilayer.training.optim import LeanAdamW, LeanSGD, Muon

OPTIMIZERS = [
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Muon,
    LeanAdamW,
    LeanSGD,
    Muon,
]


def optimizer(kind: type[torch.optim.Optimizer] = torch.optim.SGD) -> torch.optim.Optimizer:
    return kind([nn.Parameter(torch.zeros(2, 2))], lr=0.1)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_optimisers_are_plain_whatever_pytorch_wraps_around_their_step(kind):
    made = optimizer(kind)
    assert foreign_to_optimizer(made) is None
    lr_scheduler.StepLR(made, 10)
    assert foreign_to_optimizer(made) is None
    assert foreign_to_optimizer(optimizer(kind)) is None


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("first", ["patch", "scheduler"])
def test_a_patched_step_is_seen_through_wrappers(kind, first):
    made = optimizer(kind)
    if first == "scheduler":
        lr_scheduler.StepLR(made, 10)
    before = made.step

    @functools.wraps(before)
    def step(self, *args, **options):
        return before(*args, **options)

    made.step = step.__get__(made)
    if first == "patch":
        lr_scheduler.StepLR(made, 10)
    assert "step is replaced" in foreign_to_optimizer(made)


def test_a_step_patched_on_the_class_is_seen(monkeypatch):
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, closure=None: None)
    assert "step is replaced" in foreign_to_optimizer(optimizer())


def test_gradients_that_a_class_is_told_to_keep_are_seen(monkeypatch):
    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", lambda self, set_to_none=True: None)
    assert "zero_grad is replaced" in foreign_to_optimizer(optimizer())


def test_other_changes_of_an_optimiser_are_seen():
    made = optimizer()
    made.zero_grad = lambda set_to_none=True: None
    assert "a method that is not its class's own" in foreign_to_optimizer(made)
    for hook in ("register_step_pre_hook", "register_step_post_hook"):
        made = optimizer()
        getattr(made, hook)(lambda *_: None)
        assert "step hooks" in foreign_to_optimizer(made)


def test_changes_of_a_module_are_seen(monkeypatch):
    assert foreign_to_module(nn.Linear(2, 1)) is None
    assert foreign_to_module(nn.Sequential(nn.ReLU())) is None
    layer = nn.Linear(2, 1)
    layer.note, layer.activation = "mine", torch.tanh  # nothing of the class's is overridden
    assert foreign_to_module(layer) is None
    layer.forward = functools.partial(nn.Linear.forward, layer)
    assert "a method that is not its class's own" in foreign_to_module(layer)
    layer = nn.Linear(2, 1)
    del layer.weight
    layer.weight = torch.zeros(1, 2)
    assert "neither parameter nor buffer" in foreign_to_module(layer)
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: x)
    assert "a method that is not its class's own" in foreign_to_module(nn.Linear(2, 1))


def test_what_is_on_for_all_is_seen(monkeypatch):
    assert foreign_to_process() is None
    for register in ("forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"):
        handle = getattr(nn.modules.module, f"register_module_{register}")(lambda *_: None)
        assert "hooks on all modules" in foreign_to_process()
        handle.remove()
    handle = register_optimizer_step_post_hook(lambda *_: None)
    assert "hooks on all optimisers" in foreign_to_process()
    handle.remove()
    with torch.autocast("cpu"):
        assert "autocast" in foreign_to_process()
    with torch.autograd.set_detect_anomaly(True):
        assert "anomaly" in foreign_to_process()
    with torch.overrides.BaseTorchFunctionMode():
        assert "overrides PyTorch's functions" in foreign_to_process()
    monkeypatch.setattr(nn.functional, "linear", lambda *args: None)
    assert "torch.nn.functional.linear is replaced" in foreign_to_process()
    monkeypatch.undo()
    assert foreign_to_process() is None


def test_changes_of_a_tensor_are_seen():
    assert foreign_to_tensor(torch.zeros(2)) is None
    for change in (
        lambda p: p.register_hook(lambda g: g),
        lambda p: p.register_post_accumulate_grad_hook(lambda p: None),
    ):
        parameter = nn.Parameter(torch.zeros(2))
        change(parameter)
        assert "hooks" in foreign_to_tensor(parameter)
    assert "float64" in foreign_to_tensor(nn.Parameter(torch.zeros(2).double()))
    assert "view with gaps" in foreign_to_tensor(torch.zeros(2, 3).T)
    assert "wants a gradient" in foreign_to_tensor(torch.zeros(2, requires_grad=True))
    assert "computed from" in foreign_to_tensor(nn.Parameter(torch.zeros(2)) * 2)
    with torch.inference_mode():
        assert "inference mode" in foreign_to_tensor(torch.zeros(2))

    class Own(torch.Tensor):
        pass

    assert "is a Own" in foreign_to_tensor(torch.zeros(2).as_subclass(Own))


def test_a_method_of_another_class_is_seen(monkeypatch):
    monkeypatch.setattr(nn.ReLU, "forward", nn.SiLU.forward)  # of the same file
    assert "a method that is not its class's own" in foreign_to_module(nn.ReLU())
    monkeypatch.setattr(nn.Linear, "__call__", lambda self, x: x, raising=False)
    assert "a method that is not its class's own" in foreign_to_module(nn.Linear(2, 1))
    monkeypatch.setattr(torch.optim.SGD, "_init_group", lambda *_: None)
    assert "step is replaced" in foreign_to_optimizer(optimizer())
    monkeypatch.undo()
    monkeypatch.setattr(sgd, "sgd", lambda *_: None)
    assert "torch.optim.sgd.sgd is replaced" in foreign_to_process()
    monkeypatch.undo()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        assert "autograd saves" in foreign_to_process()


NET, WEIGHTS, SEEN = nn.Linear(2, 1), torch.ones(3), []
SGD = torch.optim.SGD(NET.parameters(), lr=0.1)


def scaled(out):
    return out.abs().mean() * 2


def penalty():
    return NET.weight.square().sum()


class Own(nn.Module):
    def __init__(self, inner=None):
        super().__init__()
        self.scale, self.inner = 2.0, inner or nn.MSELoss()

    def forward(self, out, target):
        return self.inner(out, target) * self.scale


class Callable:
    def __init__(self, held):
        self.held = held

    def __call__(self, out, target):
        return out.mean()


class Indirect(nn.Module):
    def penalty(self):
        return NET.weight.square().sum()

    def forward(self, out, target):
        return out.mean() + self.penalty()


class Held:
    net = NET

    def __call__(self, out, target):
        return out.mean() + self.net.weight.sum()


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held

    def __call__(self, out, target):
        return out.mean()


class Named(dict):
    def __call__(self, out, target):
        return out.mean() + self["net"].weight.sum()


class Cached:
    @functools.cached_property
    def weight(self):
        return NET.weight

    def __call__(self, out, target):
        return out.mean() + self.weight.sum()


class Number(float):
    pass


@functools.cache
def cached_penalty():
    return NET.weight.square().sum()


@functools.cache
def cached_constant():
    return torch.ones(3)


def annotated(out, target):
    return out.mean() + annotated.net.weight.sum()


def with_buffer():
    loss = Own()
    loss.register_buffer("held", NET.weight)
    return loss


def with_distance():
    return nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: (NET(a) - NET(b)).norm(dim=1))


annotated.net = NET
OBJECTS = np.array([NET, None], dtype=object)
HUNG, NUMBER = torch.ones(3), Number(2.0)
HUNG.net = NUMBER.net = NET
OVER_ROWS, JACOBIAN = torch.vmap(NET), torch.vmap(torch.func.jacrev(NET))
TRIPLET, LOGGER, DRAWS = with_distance(), logging.getLogger("multilayer.tests"), np.random.default_rng(0)

CRITERION = nn.CrossEntropyLoss(WEIGHTS)
PLAIN = {
    "a function of PyTorch": nn.functional.mse_loss,
    "its options": functools.partial(nn.functional.huber_loss, delta=2.0),
    "a lambda": lambda out, target: (out - target).abs().mean(),
    "constants": lambda out, target: (out * WEIGHTS).mean(),
    "a list to look at later": lambda out, target: (SEEN.append(1), out.mean())[1],
    "functions that it calls": lambda out, target: scaled(out),
    "a loss of PyTorch": lambda out, target: CRITERION(out, target),
    "NumPy": lambda out, target: out.mean() * float(np.random.rand()),
    "a module of one's own": Own(),
    "an object that is called": Callable(3.0),
    "a method": Callable(3.0).__call__,
    "a default": lambda out, target, beta=2.0: out.mean() * beta,
    "a function that keeps what it gave": lambda out, target: (out * cached_constant()).mean(),
    "a logger": lambda out, target: (LOGGER.debug("step"), out.mean())[1],
    "a generator": lambda out, target: out.mean() * DRAWS.random(),
    "a function over rows": lambda out, target: torch.vmap(scaled)(out).mean(),
    "an OrderedDict": functools.partial(lambda h, out, target: out.mean(), collections.OrderedDict(a=1)),
    "derivatives by the output": lambda out, target: torch.autograd.grad(out.sum(), out)[0].sum(),
}
FOREIGN = {
    "a global": (lambda out, target: out.mean() + NET.weight.sum(), "'NET' \\(Linear\\)"),
    "through a function": (lambda out, target: scaled(out) + penalty(), "'NET' \\(Linear\\)"),
    "an optimiser": (lambda out, target: (SGD.zero_grad(), out.mean())[1], "'SGD' \\(SGD\\)"),
    "an attribute": (Callable(NET), "'held' \\(Linear\\)"),
    "another method": (Indirect(), "'NET' \\(Linear\\)"),
    "a class attribute": (Held(), "'net' \\(Linear\\)"),
    "in a list": (functools.partial(lambda held, out, target: out.mean(), [[NET]]), "\\(Linear\\)"),
    "a default": (lambda out, target, net=NET: out.mean(), "\\(Linear\\)"),
    "a module within": (Own(nn.Linear(1, 1)), "\\(Own\\)"),
    "a parameter": (lambda out, target, w=NET.weight: out.mean(), "\\(Parameter\\)"),
    "a function that is cached": (lambda out, target: out.mean() + cached_penalty(), "'NET' \\(Linear\\)"),
    "an attribute of a function": (annotated, "'net' \\(Linear\\)"),
    "an array of objects": (lambda out, target: OBJECTS[0](out), "'OBJECTS' \\(Linear\\)"),
    "an attribute of a tensor": (lambda out, target: HUNG.net(out), "'net' \\(Linear\\)"),
    "an attribute of a number": (lambda out, target: NUMBER.net(out), "'net' \\(Linear\\)"),
    "a network over rows": (lambda out, target: OVER_ROWS(out).mean(), "\\(Linear\\)"),
    "derivatives of a network": (lambda out, target: JACOBIAN(out).mean(), "\\(Linear\\)"),
    "slots": (Slotted(NET), "\\(Linear\\)"),
    "items of an object that is called": (Named(net=NET), "\\(Linear\\)"),
    "a cached property": (Cached(), "'NET' \\(Linear\\)"),
    "a buffer of the loss": (with_buffer(), "'held' \\(Parameter\\)"),
    "what a loss of PyTorch calls": (lambda out, target: TRIPLET(out, out, out), "'NET' \\(Linear\\)"),
    "a module of unknown insides": (lambda out, target: plain.foreign_to_process(), "'plain' \\(module\\)"),
}


for kind in (collections.OrderedDict, collections.UserDict, collections.defaultdict):
    held = kind(None, a=NET) if kind is collections.defaultdict else kind(a=NET)
    FOREIGN[kind.__name__] = (functools.partial(lambda h, out, target: h["a"](out), held), "\\(Linear\\)")
FOREIGN["keys of a dict"] = (functools.partial(lambda h, out, target: out.mean(), {NET: 1}), "\\(Linear\\)")
FOREIGN["an iterator"] = (
    functools.partial(lambda h, out, target: next(h)(out), itertools.repeat(NET)),
    "\\(Linear\\)",
)


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, target: globals()["NET"](out),
        lambda out, target: out.grad_fn.next_functions[0][0].variable.sum(),
        lambda out, target: (out.mean().backward(), out.mean())[1],
        lambda out, target: (torch.autograd.backward(out.mean()), out.mean())[1],
        lambda out, target: scaled.__globals__["NET"](out),
    ],
)
def test_a_loss_that_goes_where_no_name_of_it_leads_is_not_plain(loss):
    assert "may reach more than it names" in foreign_to_function(loss)


@pytest.mark.parametrize("name", PLAIN)
def test_a_loss_of_arguments_and_constants_is_plain(name):
    assert foreign_to_function(PLAIN[name]) is None


@pytest.mark.parametrize("name", FOREIGN)
def test_a_loss_that_reaches_more_is_not(name):
    function, words = FOREIGN[name]
    assert re.search(f"reaches .*{words}.* beside the output", foreign_to_function(function))


def test_a_closure_is_read_as_it_is_now():
    held = [1.0]
    loss = lambda out, target: out.mean() * held[0]  # noqa: E731
    assert foreign_to_function(loss) is None
    held.append(NET)
    assert foreign_to_function(loss) is not None


def test_functions_that_are_watched_are_those_of_pytorch():
    assert all(callable(function) for _, _, function in plain._FUNCTIONS)


@pytest.mark.parametrize("kind", [*READERS, *LOSS_RULES])
def test_functions_that_a_known_module_calls_are_watched(kind: type[nn.Module]) -> None:
    """Else one that somebody has replaced would go unnoticed."""
    watched = {name for holder, name, _ in plain._FUNCTIONS if holder is nn.functional}
    if kind.__module__.startswith("torch."):
        assert set(re.findall(r"\bF\.(\w+)", inspect.getsource(kind.forward))) <= watched


@pytest.mark.parametrize("kind", [kind for kind in UPDATE_RULES if kind.__module__.startswith("torch.")])
def test_the_function_of_a_known_optimiser_is_watched(kind: type[torch.optim.Optimizer]) -> None:
    step = inspect.unwrap(kind.step)
    holder = inspect.getmodule(step)
    assert isinstance(holder, ModuleType)
    name = holder.__name__.rpartition(".")[2].lstrip("_")
    assert name in step.__code__.co_names
    assert (holder, name) in [watched[:2] for watched in plain._FUNCTIONS]
