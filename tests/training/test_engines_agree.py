"""Whatever a script does, the run that may take the kernels gives the network that autograd gives.

Hypothesis draws a network, an optimiser, a loss and some of the features below, which all stand in the table
of `docs/engines.md`. A script that the kernels cannot follow goes to autograd, from the start or in the
middle.
"""

import functools
import itertools
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim import lr_scheduler

import multilayer as ml
from multilayer.nn.blocks import Residual
from multilayer.training import loop
from multilayer.training.pack import Progress

ROWS, EPOCHS, BATCH, WIDTH = 24, 4, 8, 6
RUNS = 900
LEAST = 50  # runs in which each feature is drawn
PAGE = Path(__file__).parents[2] / "docs" / "engines.md"


@dataclass
class Script:
    """What a user's script holds, before it calls `train`."""

    net: nn.Sequential
    x: Tensor
    y: Tensor
    loss: Any
    optimizer: torch.optim.Optimizer
    options: dict[str, Any] = field(default_factory=dict)
    changes: list[Callable[[], None]] = field(default_factory=list)  # made after the second epoch
    watched: list[tuple[Tensor, Any]] = field(default_factory=list)  # a parameter, and who else looks at it
    within: list[Callable[[], AbstractContextManager[Any]]] = field(default_factory=list)

    @property
    def first(self) -> nn.Linear:
        return self.net[0]

    @property
    def norm(self) -> nn.BatchNorm1d:
        return next(module for module in self.net if isinstance(module, nn.BatchNorm1d))

    @property
    def group(self) -> dict[str, Any]:
        return self.optimizer.param_groups[0]

    def add_group(self, group: dict[str, Any]) -> None:
        """A further group; of Muon it is AdamW's, with an epsilon that gradients of rounding alone do not
        reach.
        """
        is_muon = isinstance(self.optimizer, ml.Muon)
        self.optimizer.add_param_group(group | ({"use_muon": False, "eps": 1e-3} if is_muon else {}))

    def wrap(self, add: Callable[[], Tensor]) -> None:
        """Add something to the loss."""
        before = self.loss
        self.loss = lambda out, target: before(out, target) + add()


ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky": lambda: nn.LeakyReLU(0.2),
    "prelu": nn.PReLU,
}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05),
    "nesterov": lambda p: torch.optim.SGD(p, 0.02, momentum=0.8, nesterov=True, weight_decay=0.01),
    "dampened": lambda p: torch.optim.SGD(p, 0.05, momentum=0.5, dampening=0.3),
    "adam": lambda p: torch.optim.Adam(p, 0.01, eps=1e-3, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, eps=1e-3),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.005, eps=1e-2),
    "muon": lambda p: _muon(list(p)),
    "maximize": lambda p: torch.optim.SGD(p, 0.001, maximize=True),
}


def _muon(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    matrices = [p for p in parameters if p.ndim == 2]
    rest = {"params": [p for p in parameters if p.ndim != 2], "use_muon": False, "lr": 0.01, "eps": 1e-3}
    return ml.Muon([{"params": matrices}, rest], lr=0.01)


LOSSES: dict[str, Callable[[], Any]] = {
    "mse": nn.MSELoss,
    "huber": lambda: nn.HuberLoss(delta=0.5),
    "poisson": nn.PoissonNLLLoss,
    "own": lambda: lambda out, target: (out - target).abs().pow(1.5).mean(),
    "functional": lambda: F.smooth_l1_loss,
    "classes": lambda: nn.CrossEntropyLoss(torch.tensor([0.5, 1.0, 2.0])),
    "ignoring": lambda: nn.CrossEntropyLoss(ignore_index=1, label_smoothing=0.1),
}


def write(seed: int, activation: str, optimizer: str, loss: str, *, residual: bool) -> Script:
    torch.manual_seed(seed)
    act = ACTIVATIONS[activation]
    middle = [nn.Linear(WIDTH, WIDTH), act()]
    net = nn.Sequential(
        nn.Linear(4, WIDTH),
        act(),
        nn.BatchNorm1d(WIDTH),
        *([Residual(nn.Sequential(*middle))] if residual else middle),
        nn.LayerNorm(WIDTH),
        nn.Linear(WIDTH, 3),
    )
    x = torch.randn(ROWS, 4)
    y = torch.randint(0, 3, (ROWS,)) if loss in ("classes", "ignoring") else torch.rand(ROWS, 3)
    return Script(net, x, y, LOSSES[loss](), OPTIMIZERS[optimizer](net.parameters()))


# ---- features: each a change of the script, made before it runs or by its callback after the second epoch


def shared_activation(script: Script) -> None:
    shared = nn.Softplus()
    script.net.insert(1, shared)
    script.net.insert(4, shared)


def shared_dropout_in_eval(script: Script) -> None:
    shared = nn.Dropout(0.5).eval()
    script.net.insert(2, shared)
    script.net.insert(5, shared)


def shared_layer(script: Script) -> None:
    square = nn.Linear(WIDTH, WIDTH)
    script.add_group({"params": list(square.parameters())})
    script.net.insert(3, square)
    script.net.insert(4, square)


def norm_in_eval(script: Script) -> None:
    script.norm.running_mean.normal_()
    script.norm.eval()


def all_in_eval(script: Script) -> None:
    script.net.eval()


def frozen_layer(script: Script) -> None:
    script.first.requires_grad_(False)


def penalty_on_weights(script: Script) -> None:
    """Which the loss names, or finds where no name of it leads."""
    weight = script.first.weight
    held = OrderedDict(weight=weight)

    def read() -> Tensor:
        return read.weight  # type: ignore[attr-defined, no-any-return]

    vars(read)["weight"] = weight
    ways: list[Callable[[], Tensor]] = [
        lambda: script.first.weight,
        functools.cache(lambda: weight),
        functools.partial(next, itertools.repeat(weight)),
        lambda: held["weight"],
        read,
    ]
    way = ways[int(script.x.abs().sum() * 100) % len(ways)]
    script.wrap(lambda: 0.01 * way().abs().sum())


def second_call_in_the_loss(script: Script) -> None:
    more = script.x[:4].float() * 0.5
    script.wrap(lambda: 0.1 * script.net[3:](more[:, :1].expand(-1, WIDTH)).square().mean())


def value_of_a_parameter_in_the_loss(script: Script) -> None:
    script.wrap(lambda: script.first.weight.detach().abs().mean() * script.net[-1].bias.square().sum())


def parameter_of_the_loss(script: Script) -> None:
    scale = nn.Parameter(torch.zeros(()))
    script.add_group({"params": [scale]})
    before = script.loss
    script.loss = lambda out, target: before(out, target) * (-scale).exp() + scale


def loss_in_place(script: Script) -> None:
    before = script.loss

    def loss(out: Tensor, target: Tensor) -> Tensor:
        out.mul_(0.5)
        return before(out, target).double()

    script.loss = loss


def rate_set_in_the_loss(script: Script) -> None:
    def decay() -> float:
        script.group["lr"] *= 0.9
        return 0.0

    script.wrap(decay)


def tensor_hook(script: Script) -> None:
    script.first.weight.register_hook(lambda gradient: gradient * 0.5)


def hook_after_accumulation(script: Script) -> None:
    def halve(p: Tensor) -> None:
        p.grad.mul_(0.5)

    script.first.weight.register_post_accumulate_grad_hook(halve)


def module_hook(script: Script) -> None:
    script.first.register_forward_hook(lambda module, args, out: out * 0.5)


def optimizer_hook(script: Script) -> None:
    def halve(optimizer: Any, args: Any, kwargs: Any) -> None:
        for p in optimizer.param_groups[0]["params"]:
            if p.grad is not None:
                p.grad *= 0.5

    script.optimizer.register_step_pre_hook(halve)


def patched_step(script: Script) -> None:
    before = script.optimizer.step

    def step(self: Any, closure: Any = None) -> Any:
        result = before(closure)
        with torch.no_grad():
            script.first.weight.clamp_(-0.3, 0.3)
        return result

    script.optimizer.step = MethodType(step, script.optimizer)  # as schedulers want it


def patched_forward(script: Script) -> None:
    before = script.first.forward
    script.first.forward = lambda x: before(x) * 0.5


def patched_loss(script: Script) -> None:
    if not isinstance(script.loss, nn.Module):
        script.loss = nn.SmoothL1Loss() if script.y.is_floating_point() else nn.CrossEntropyLoss()
    before = script.loss.forward
    script.loss.forward = lambda out, target: before(out, target) * 0.5


def parametrised(script: Script) -> None:
    parametrizations.weight_norm(script.first)
    script.add_group({"params": list(script.first.parametrizations.parameters())})


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x)


def subclass_of_a_layer(script: Script) -> None:
    layer = Doubled(WIDTH, WIDTH)
    script.net.insert(3, layer)
    script.add_group({"params": list(layer.parameters())})


def clip_by_norm(script: Script) -> None:
    script.options.pop("clip_value", None)
    script.options["clip_norm"] = 0.1


def clip_by_value(script: Script) -> None:
    script.options.pop("clip_norm", None)
    script.options["clip_value"] = 0.01


def accumulated_batches(script: Script) -> None:
    script.options.pop("schedule", None)
    script.options["accumulate"] = 2


def weights_of_rows(script: Script) -> None:
    if isinstance(script.loss, nn.Module) or script.loss in (F.smooth_l1_loss,):
        script.options["sample_weight"] = torch.linspace(0, 2, ROWS)


def schedule_by_progress(script: Script) -> None:
    script.options["schedule"] = "warmup_cosine"


def scheduler_by_epoch(script: Script) -> None:
    script.options["schedule"] = lambda optimizer: lr_scheduler.StepLR(optimizer, 2, 0.3)


def scheduler_by_step(script: Script) -> None:
    updates = EPOCHS * ROWS // BATCH
    script.options.pop("accumulate", None)
    script.options["schedule"] = lambda optimizer: lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.02, total_steps=updates, cycle_momentum=_has_momentum(optimizer)
    )


def scheduler_by_validation_loss(script: Script) -> None:
    script.options["validation"] = (script.x, script.y)
    script.options["schedule"] = lr_scheduler.ReduceLROnPlateau(
        script.optimizer, patience=0, threshold=1e9, factor=0.3
    )


def _has_momentum(optimizer: torch.optim.Optimizer) -> bool:
    return all(group.get("momentum") or "betas" in group for group in optimizer.param_groups)


def validation_rows(script: Script) -> None:
    script.options["validation"] = (script.x[:10], script.y[:10])


def flat_vector_behind_the_parameters(script: Script) -> None:
    parameters = [p for p in script.net.parameters() if p.is_leaf]
    flat = torch.cat([p.detach().reshape(-1) for p in parameters])
    start = 0
    for p in parameters:
        view = flat[start : start + p.numel()].view(p.shape)
        p.data = view
        script.watched.append((p, view))
        start += p.numel()


def numpy_view(script: Script) -> None:
    weight = script.net[-1].weight
    script.watched.append((weight, weight.detach().numpy()))


def shared_memory(script: Script) -> None:
    script.net.share_memory()


def tied_through_data(script: Script) -> None:
    twin = nn.Linear(WIDTH, WIDTH)
    other = nn.Linear(WIDTH, WIDTH)
    other.weight.data = twin.weight.data
    script.net.insert(3, twin)
    script.net.insert(4, other)
    script.add_group({"params": [*twin.parameters(), *other.parameters()]})


def changes_freeze(script: Script) -> None:
    script.changes.append(lambda: script.first.requires_grad_(False) and None)


def changes_unfreeze(script: Script) -> None:
    script.first.requires_grad_(False)
    script.changes.append(lambda: script.first.requires_grad_(True) and None)


def changes_rate(script: Script) -> None:
    script.changes.append(lambda: script.group.update(lr=script.group["lr"] * 0.3))


def changes_momentum(script: Script) -> None:
    def change() -> None:
        if "betas" in script.group:
            script.group["betas"] = (0.5, 0.9)
        elif script.group.get("momentum"):
            script.group["momentum"] = 0.3

    script.changes.append(change)


def changes_weight_decay(script: Script) -> None:
    script.changes.append(lambda: script.group.update(weight_decay=0.1))


def changes_norm_momentum(script: Script) -> None:
    script.changes.append(lambda: setattr(script.norm, "momentum", 0.5))


def changes_norm_mode(script: Script) -> None:
    script.changes.append(lambda: script.norm.eval() and None)


def changes_dropout(script: Script) -> None:
    dropout = nn.Dropout(0.0)
    script.net.insert(2, dropout)
    script.changes.append(lambda: setattr(dropout, "p", 1.0))


def changes_loss(script: Script) -> None:
    def change() -> None:
        if isinstance(script.loss, nn.HuberLoss):
            script.loss.delta = 0.01
        elif isinstance(script.loss, nn.CrossEntropyLoss) and script.loss.weight is not None:
            script.loss.weight.mul_(torch.tensor([3.0, 1.0, 0.2]))

    script.changes.append(change)


def changes_state_cleared(script: Script) -> None:
    script.changes.append(lambda: script.optimizer.state.clear())


def changes_state_loaded(script: Script) -> None:
    saved: list[Any] = []

    def keep(progress: Progress) -> None:
        if progress.epoch == 1:
            state = script.optimizer.state_dict()
            saved.append(
                torch.utils._pytree.tree_map(lambda v: v.clone() if isinstance(v, Tensor) else v, state)
            )

    script.options.setdefault("callbacks", []).append(keep)
    script.changes.append(lambda: script.optimizer.load_state_dict(saved[0]))


def changes_group_added(script: Script) -> None:
    late = nn.Linear(WIDTH, WIDTH)
    script.net.insert(3, late)
    script.changes.append(lambda: script.add_group({"params": list(late.parameters())}))


def changes_data_replaced(script: Script) -> None:
    def change() -> None:
        script.first.weight.data = script.first.weight.data.clone() * 0.5

    script.changes.append(change)


def changes_rows(script: Script) -> None:
    x, y = script.x.double(), script.y
    script.x = x

    def change() -> None:
        x.mul_(0.5)
        y[:5] = y[:5].roll(1, 0)

    script.changes.append(change)


def changes_hook_added(script: Script) -> None:
    script.changes.append(
        lambda: script.net[-1].weight.register_hook(lambda gradient: gradient * 0.5) and None
    )


def hooks_on_all_modules(script: Script) -> None:
    @contextmanager
    def hooked() -> Iterator[None]:
        handle = nn.modules.module.register_module_forward_hook(
            lambda module, args, out: out * 0.9 if isinstance(module, nn.LayerNorm) else None
        )
        try:
            yield
        finally:
            handle.remove()

    script.within.append(hooked)


def within_no_grad(script: Script) -> None:
    script.within.append(torch.no_grad)


def own_rate_of_a_layer(script: Script) -> None:
    last = list(script.net[-1].parameters())
    for group in script.optimizer.param_groups:
        group["params"] = [p for p in group["params"] if all(p is not other for other in last)]
    script.add_group({"params": last, "lr": 0.003, "name": "head"})


STAYS = [  # with these the kernels train to the end
    within_no_grad,
    own_rate_of_a_layer,
    shared_activation,
    shared_dropout_in_eval,
    norm_in_eval,
    all_in_eval,
    frozen_layer,
    loss_in_place,
    clip_by_norm,
    clip_by_value,
    accumulated_batches,
    weights_of_rows,
    schedule_by_progress,
    scheduler_by_epoch,
    scheduler_by_step,
    scheduler_by_validation_loss,
    validation_rows,
    flat_vector_behind_the_parameters,
    numpy_view,
    shared_memory,
    changes_freeze,
    changes_unfreeze,
    changes_rate,
    changes_momentum,
    changes_weight_decay,
    changes_norm_momentum,
    changes_norm_mode,
    changes_dropout,
    changes_loss,
    changes_state_cleared,
    changes_state_loaded,
    changes_group_added,
    changes_data_replaced,
    changes_rows,
]
LEAVES = [  # with these autograd trains, from the start or from some epoch on
    hooks_on_all_modules,
    shared_layer,
    penalty_on_weights,
    second_call_in_the_loss,
    value_of_a_parameter_in_the_loss,
    parameter_of_the_loss,
    rate_set_in_the_loss,
    tensor_hook,
    hook_after_accumulation,
    module_hook,
    optimizer_hook,
    patched_step,
    patched_forward,
    patched_loss,
    parametrised,
    subclass_of_a_layer,
    tied_through_data,
    changes_hook_added,
]
FEATURES = STAYS + LEAVES
# The last one drawn of each set counts: they set the same option, or one takes away what another needs.
EXCLUSIVE = [
    {schedule_by_progress, scheduler_by_epoch, scheduler_by_step, scheduler_by_validation_loss},
    {scheduler_by_step, accumulated_batches, changes_group_added},  # PyTorch's knows no later groups
    {parameter_of_the_loss, changes_group_added, parametrised},
    {clip_by_norm, clip_by_value},
    {flat_vector_behind_the_parameters, parametrised, changes_data_replaced},
    {flat_vector_behind_the_parameters, tied_through_data},
    {flat_vector_behind_the_parameters, shared_memory},
    {numpy_view, changes_data_replaced, shared_memory, flat_vector_behind_the_parameters},
    {parametrised, penalty_on_weights},
    {parametrised, value_of_a_parameter_in_the_loss},
    {parametrised, frozen_layer, changes_freeze, changes_unfreeze},
    {parametrised, tensor_hook, hook_after_accumulation},
    {parametrised, patched_step},
    {tensor_hook, frozen_layer, changes_unfreeze},
    {hook_after_accumulation, frozen_layer, changes_unfreeze},
    {changes_state_loaded, changes_state_cleared, changes_group_added},
    {weights_of_rows, patched_loss},
    {weights_of_rows, penalty_on_weights, second_call_in_the_loss, parameter_of_the_loss},
    {weights_of_rows, value_of_a_parameter_in_the_loss},
    {changes_loss, patched_loss},
    {weights_of_rows, loss_in_place, rate_set_in_the_loss},
    {rate_set_in_the_loss, validation_rows, scheduler_by_validation_loss},  # it would set it there, too
    {changes_dropout, changes_group_added},  # equal rows before a norm: its gradient is rounding
    {second_call_in_the_loss, shared_layer, tied_through_data},
    {second_call_in_the_loss, subclass_of_a_layer, changes_group_added},
]


def compatible(drawn: list[Callable[[Script], None]]) -> list[Callable[[Script], None]]:
    kept: list[Callable[[Script], None]] = []
    for feature in dict.fromkeys(drawn):
        clashes = {other for group in EXCLUSIVE if feature in group for other in group}
        if not clashes & set(kept):
            kept.append(feature)
    return kept


def run(make: Callable[[], Script], engine: str) -> tuple[Script, Any]:
    script = make()
    modes = [(module, module.training) for module in script.net.modules()]
    state = torch.get_rng_state()

    def change(progress: Progress) -> None:
        if progress.epoch == 2:
            for one in script.changes:
                one()

    callbacks = [*script.options.pop("callbacks", []), change]
    with ExitStack() as stack:
        for context in script.within:
            stack.enter_context(context())
        history = ml.train(
            script.net,
            script.x,
            script.y,
            loss=script.loss,
            optimizer=script.optimizer,
            epochs=EPOCHS,
            batch_size=BATCH,
            engine=engine,
            callbacks=callbacks,
            **script.options,
        )
    assert torch.equal(state, torch.get_rng_state())
    if changes_norm_mode not in getattr(make, "features", []):
        assert all(module.training == mode for module, mode in modes)
    for parameter, view in script.watched:
        np.testing.assert_array_equal(parameter.detach().numpy(), np.asarray(view))
    return script, history


def check_alike(make: Callable[[], Script]) -> str:
    (ours, history), (theirs, expected) = run(make, "auto"), run(make, "autograd")
    np.testing.assert_allclose(history.step_loss, expected.step_loss, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(history.val_loss, expected.val_loss, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(history.lr, expected.lr, rtol=1e-6)
    assert history.best_epoch == expected.best_epoch or np.ptp(expected.val_loss) < 1e-3
    if history.best_epoch == expected.best_epoch:
        for (name, a), b in zip(ours.net.state_dict().items(), theirs.net.state_dict().values(), strict=True):
            torch.testing.assert_close(
                a, b, rtol=2e-3, atol=2e-4, msg=lambda text, name=name: f"{name}: {text}"
            )
    for a, b in zip(ours.optimizer.param_groups, theirs.optimizer.param_groups, strict=True):
        for p, q in zip(a["params"], b["params"], strict=True):
            mine, other = ours.optimizer.state.get(p, {}), theirs.optimizer.state.get(q, {})
            assert {k for k, v in mine.items() if v is not None} == {
                k for k, v in other.items() if v is not None
            }
            assert float(mine.get("step", 0)) == float(other.get("step", 0))
    return str(history.engine)


KNOWN = sorted(set(OPTIMIZERS) - {"rmsprop", "maximize"})


@pytest.mark.parametrize("stays", [True, False], ids=["on the kernels", "of any kind"])
def test_the_engines_agree_on_any_script(stays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "FEW_STEPS", 0)
    monkeypatch.setattr(loop, "FEW_STEPS_OF_MUON", 0)
    asked = STAYS if stays else LEAVES
    drawn: Counter[str] = Counter()

    @settings(
        max_examples=RUNS,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(
        seed=st.integers(0, 10_000),
        activation=st.sampled_from(sorted(ACTIVATIONS)),
        optimizer=st.sampled_from(KNOWN if stays else sorted(OPTIMIZERS)),
        loss=st.sampled_from(sorted(LOSSES)),
        residual=st.booleans(),
        first=st.sampled_from(asked),
        order=st.permutations(asked),
        others=st.permutations(STAYS),
    )
    def agree(
        seed: int,
        activation: str,
        optimizer: str,
        loss: str,
        residual: bool,
        first: Callable[[Script], None],
        order: list[Callable[[Script], None]],
        others: list[Callable[[Script], None]],
    ) -> None:
        features = compatible([first, *(order[:5] if stays else [*order[:5], *others[:2]])])

        def make() -> Script:
            script = write(seed, activation, optimizer, loss, residual=residual)
            for feature in features:
                feature(script)
            return script

        make.features = features  # type: ignore[attr-defined]
        drawn.update(feature.__name__ for feature in features)
        engine = check_alike(make)
        assert engine == "kernels" if stays else engine == "autograd"

    agree()
    assert {name: drawn[name] for name in (f.__name__ for f in asked) if drawn[name] < LEAST} == {}


def test_every_feature_stands_in_the_page_and_every_test_that_the_page_names_is_here() -> None:
    named = set(re.findall(r"\| `(\w+)` \|$", PAGE.read_text(), re.M))
    assert named == {feature.__name__ for feature in FEATURES}
