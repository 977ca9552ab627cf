"""The kernels against PyTorch's autograd: outputs, gradients, trajectories, running statistics.

Tolerance of one pass, all against float64 on the same case: 8 times PyTorch's own float32 error, plus 16
times what the
result changes by when inputs and weights are rounded differently (relative 2^-24 at random: how
ill-conditioned the case
is), plus 64 units of rounding of the largest entry. Both engines add the same terms, in another order.
"""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from multilayer.errors import ConfigError, DataError
from multilayer.nn.blocks import Residual, mlp
from multilayer.nn.embeddings import TableEmbedding
from multilayer.training.autograd import AutogradEngine
from multilayer.training.kernels import compiler
from multilayer.training.kernels import loop as k
from multilayer.training.kernels.engine import KernelEngine, why_not
from multilayer.training.loop import train
from multilayer.training.losses import GammaLoss, Loss, QuantileLoss, TweedieLoss
from multilayer.training.optim import Muon
from tests.reference.muon import muon

EPS = float(np.finfo(np.float32).eps)

ACTIVATIONS: list[Callable[[], nn.Module]] = [
    nn.ReLU,
    lambda: nn.LeakyReLU(0.2),
    lambda: nn.PReLU(init=0.3),
    lambda: nn.ELU(0.7),
    nn.SELU,
    nn.GELU,
    lambda: nn.GELU(approximate="tanh"),
    nn.SiLU,
    nn.Mish,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
    lambda: nn.Softplus(beta=2.0, threshold=3.0),
    nn.Identity,
]


def make_engine(net: nn.Module, x: Tensor, y: Tensor | None, loss: object, **options: object) -> KernelEngine:
    settings: dict = {"weight": None, "clip_norm": None, "accumulate": 1, "seed": 0, **options}
    optimizer = settings.pop("optimizer", None) or torch.optim.SGD(net.parameters(), lr=0.0)
    weight = settings.pop("weight")
    return KernelEngine(net, x, y, weight, loss=loss, optimizer=optimizer, **settings)


def one_batch(n_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.arange(n_rows), np.array([0, n_rows]), np.ones(1)


def gradients_of(engine: KernelEngine) -> dict[str, np.ndarray]:
    place = {id(slot.tensor): slot for slot in engine.plan.slots}
    return {
        name: engine.grad[place[id(p)].start : place[id(p)].stop].reshape(p.shape)
        for name, p in engine.net.named_parameters()
        if p.requires_grad
    }


def by_autograd(
    net: nn.Module, x: Tensor, y: Tensor | None, loss: Loss, weight: Tensor | None
) -> tuple[float, dict[str, np.ndarray], np.ndarray]:
    net.zero_grad()
    net.train()
    out = net(x)
    value = loss(out, y, weight)
    value.backward()
    grads = {name: p.grad.numpy().copy() for name, p in net.named_parameters() if p.grad is not None}
    return float(value.detach()), grads, out.detach().numpy()


def double(values: Tensor | None) -> Tensor | None:
    return values.double() if values is not None and values.is_floating_point() else values


def sensitivity(
    net: nn.Module, x: Tensor, y: Tensor | None, loss: Loss, weight: Tensor | None
) -> dict[str, float]:
    """How far gradients (and "prediction", in evaluation mode) move when x and the weights are rounded
    differently."""
    base, moved = copy.deepcopy(net), {}
    _, exact, _ = by_autograd(base, x, y, loss, weight)
    exact["prediction"] = base.eval()(x).detach().numpy()
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        other = copy.deepcopy(net)
        with torch.no_grad():
            for p in other.parameters():
                p *= 1 + EPS * (torch.rand(p.shape, generator=generator, dtype=p.dtype) - 0.5)
        near = x * (1 + EPS * (torch.rand(x.shape, generator=generator, dtype=x.dtype) - 0.5))
        _, grads, _ = by_autograd(other, near, y, loss, weight)
        grads["prediction"] = other.eval()(near).detach().numpy()
        moved = {k: max(moved.get(k, 0.0), float(np.abs(grads[k] - exact[k]).max(initial=0))) for k in exact}
    return moved


def assert_as_exact_as_torch(
    ours: np.ndarray, torchs: np.ndarray, exact: np.ndarray, scale: float, moved: float, what: str
) -> None:
    allowed = 8 * np.abs(torchs - exact).max(initial=0) + 16 * moved + 64 * EPS * scale
    error = np.abs(ours - exact).max(initial=0)
    assert error <= allowed, (
        f"{what}: error {error:.3g}, PyTorch's {np.abs(torchs - exact).max(initial=0):.3g}"
    )


def check_one_pass(
    net: nn.Module, x: Tensor, y: Tensor | None, loss: object, weight: Tensor | None = None
) -> None:
    """Loss, gradients and outputs of one batch, against autograd in float32 and in float64."""
    loss = loss if isinstance(loss, Loss) else Loss(loss, y is not None)
    plain, exact = copy.deepcopy(net), copy.deepcopy(net).double()
    exact_loss = Loss(
        copy.deepcopy(loss.function).double() if loss.module else loss.function, loss.takes_target
    )
    engine = make_engine(net, x, y, loss, weight=weight)
    (value,) = engine.run_epoch(*one_batch(len(x)))

    value32, grads32, _ = by_autograd(plain, x, y, loss, weight)
    moved = sensitivity(exact, x.double(), double(y), exact_loss, double(weight))
    value64, grads64, _ = by_autograd(exact, x.double(), double(y), exact_loss, double(weight))
    assert abs(value - value64) <= 8 * abs(value32 - value64) + 64 * EPS * max(1.0, abs(value64))
    scale = max(np.abs(g).max(initial=0) for g in grads64.values())
    ours = gradients_of(engine)
    assert ours.keys() == grads64.keys()
    for name, gradient in ours.items():
        assert_as_exact_as_torch(gradient, grads32[name], grads64[name], scale, max(moved.values()), name)
    for (name, mine), (_, theirs) in zip(net.named_buffers(), plain.named_buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6, msg=name)
    with torch.no_grad():
        out32, out64 = plain.eval()(x).numpy(), exact.eval()(x.double()).numpy()
    assert_as_exact_as_torch(
        engine.predict(x), out32, out64, float(np.abs(out64).max()), moved["prediction"], "prediction"
    )


@st.composite
def networks(draw: st.DrawFn) -> nn.Sequential:
    """A random plain network without dropout."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    d = draw(st.integers(1, 9))
    layers: list[nn.Module] = [nn.Flatten()] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 3))):
        width = draw(st.sampled_from([1, 2, 3, 8, 17, 33]))
        part: list[nn.Module] = [
            nn.Linear(d, width, bias=draw(st.booleans())),
            draw(st.sampled_from(ACTIVATIONS))(),
        ]
        norm = draw(
            st.sampled_from(
                [
                    None,
                    lambda w: nn.BatchNorm1d(w),
                    lambda w: nn.BatchNorm1d(w, momentum=None, eps=1e-3),
                    lambda w: nn.BatchNorm1d(w, affine=False, momentum=0.3),
                    lambda w: nn.BatchNorm1d(w, track_running_stats=False),
                    lambda w: nn.LayerNorm(w),
                    lambda w: nn.LayerNorm(w, elementwise_affine=False, eps=1e-3),
                    lambda w: nn.LayerNorm(w, bias=False),
                ]
            )
        )
        if norm is not None and width > 1:
            part.insert(draw(st.integers(1, 2)), norm(width))
        if draw(st.booleans()):
            part.append(Residual(nn.Sequential(nn.Linear(width, 5), nn.ReLU(), nn.Linear(5, width))))
        layers.append(nn.Sequential(*part) if draw(st.booleans()) else part[0])
        layers += [] if isinstance(layers[-1], nn.Sequential) else part[1:]
        d = width
    layers.append(nn.Linear(d, draw(st.integers(1, 4))))
    net = nn.Sequential(*layers)
    for parameter in net.parameters():
        if parameter.ndim == 1:  # else all norm weights are 1 and biases 0
            nn.init.uniform_(parameter, -0.5, 1.5)
    if draw(st.booleans()):
        draw(st.sampled_from(list(net.parameters())[:-1] or [torch.zeros(0)])).requires_grad_(False)
    return net


def input_width(net: nn.Sequential) -> int:
    return next(m for m in net.modules() if isinstance(m, nn.Linear)).in_features


def output_width(net: nn.Sequential) -> int:
    return [m for m in net.modules() if isinstance(m, nn.Linear)][-1].out_features


@settings(max_examples=60, deadline=None, derandomize=True)
@given(networks(), st.integers(3, 70))
def test_a_pass_through_any_network_equals_autograd(net: nn.Sequential, n_rows: int) -> None:
    x, y = torch.randn(n_rows, input_width(net)), torch.randn(n_rows, output_width(net))

    check_one_pass(net, x, y, nn.MSELoss())


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda make: str(make()))
def test_activation_equals_autograd_far_from_zero_too(activation: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Identity(), activation(), nn.Linear(1, 1), activation(), nn.Linear(1, 1))
    first = nn.Linear(1, 1)
    net = nn.Sequential(first, nn.BatchNorm1d(1), activation(), nn.Linear(1, 1))
    nn.init.constant_(net[1].weight, 30.0)
    x = torch.linspace(-4, 4, 1001)[:, None]

    check_one_pass(net, x, torch.randn(1001, 1), nn.MSELoss())


def losses() -> list[tuple[str, nn.Module, str]]:
    found: list[tuple[str, nn.Module, str]] = []
    for reduction in ("mean", "sum"):
        for smoothing in (0.0, 0.1):
            for class_weight in (None, torch.tensor([0.5, 2.0, 1.0])):
                made = nn.CrossEntropyLoss(class_weight, label_smoothing=smoothing, reduction=reduction)
                found += [("cross_entropy", made, "labels"), ("cross_entropy", made, "probs")]
        found += [
            ("ignored", nn.CrossEntropyLoss(ignore_index=1, reduction=reduction), "labels"),
            (
                "ignored",
                nn.CrossEntropyLoss(torch.tensor([0.5, 2.0, 1.0]), ignore_index=-100, reduction=reduction),
                "some_labels",
            ),
            ("binary", nn.BCEWithLogitsLoss(reduction=reduction), "unit"),
            (
                "binary",
                nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 3.0, 0.2]), reduction=reduction),
                "unit",
            ),
            ("binary", nn.BCEWithLogitsLoss(torch.tensor([1.0, 3.0, 0.2]), reduction=reduction), "unit"),
            ("mse", nn.MSELoss(reduction=reduction), "real"),
            ("mae", nn.L1Loss(reduction=reduction), "real"),
            ("huber", nn.HuberLoss(delta=0.6, reduction=reduction), "real"),
            ("smooth", nn.SmoothL1Loss(beta=0.6, reduction=reduction), "real"),
            ("quantile", QuantileLoss(0.3, reduction), "real"),
            ("quantile", QuantileLoss([0.1, 0.5, 0.95], reduction), "one"),
            ("poisson", nn.PoissonNLLLoss(reduction=reduction), "count"),
            ("gamma", GammaLoss(reduction), "positive"),
            ("tweedie", TweedieLoss(1.3, reduction), "count"),
            ("poisson", nn.PoissonNLLLoss(full=True, reduction=reduction), "count"),
        ]
    return found


def target_of(kind: str, n: int) -> Tensor:
    if kind == "labels":
        return torch.randint(0, 3, (n,))
    if kind == "some_labels":
        return torch.randint(0, 3, (n,)).where(torch.rand(n) > 0.3, -100)
    if kind == "one":
        return torch.randn(n, 1)
    if kind == "probs":
        return torch.softmax(torch.randn(n, 3), 1)
    if kind == "unit":
        return torch.rand(n, 3).round(decimals=1)
    if kind == "positive":
        return torch.rand(n, 3) + 0.1
    return torch.randn(n, 3) if kind == "real" else torch.poisson(torch.full((n, 3), 2.0))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "loss", "kind"), losses())
def test_loss_equals_autograd(name: str, loss: nn.Module, kind: str, weighted: bool) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    target = target_of(kind, 40)
    weight = torch.rand(40) * (torch.rand(40) > 0.2) if weighted else None

    check_one_pass(net, torch.randn(40, 4), target, loss, weight)


def test_custom_loss_goes_through_autograd_by_the_output_only() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(5, 2), nn.ReLU(), nn.BatchNorm1d(2))

    check_one_pass(
        copy.deepcopy(net), torch.randn(30, 5), None, Loss(lambda out: (1 - out).abs().mean(), False)
    )
    check_one_pass(
        net, torch.randn(30, 5), torch.randn(30, 2), Loss(lambda out, y: ((y - out) ** 4).mean(), True)
    )


def test_custom_loss_trains_as_the_built_in_one() -> None:
    x, y = torch.randn(90, 4), torch.randn(90, 2)
    nets = [trained(nn.MSELoss(), x, y), trained(lambda out, target: ((out - target) ** 2).mean(), x, y)]

    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_custom_loss_of_weights_in_double_without_columns() -> None:
    x, y, weight = torch.randn(90, 4), torch.randn(90, dtype=torch.float64), torch.rand(90)
    bounds, nets = np.array([0, 32, 64, 90]), []
    own = Loss(lambda out, target, w: (w * (out - target) ** 2).sum() / w.sum(), True, True)
    for loss, target in ((Loss(nn.MSELoss(), True), y.float()), (own, y)):
        torch.manual_seed(5)
        nets.append(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1), nn.Flatten(0)))
        optimizer = torch.optim.Adam(nets[-1].parameters(), lr=0.01)
        engine = make_engine(
            nets[-1], x, target, loss, weight=weight, optimizer=optimizer, accumulate=2, clip_norm=1.0
        )
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(90)
            engine.run_epoch(order, bounds, np.ones(3))

    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "came"), [(lambda out: out.abs(), r"shape \(8, 3\)"), (lambda out: 1.0, "float")]
)
def test_refuses_a_custom_loss_that_gives_no_single_number(loss: Callable[..., object], came: str) -> None:
    engine = make_engine(nn.Linear(2, 3), torch.randn(8, 2), None, Loss(loss, False))

    with pytest.raises(DataError, match=f"one number for a batch; got {came}"):
        engine.run_epoch(*one_batch(8))


def test_a_wide_network_may_use_threads_in_a_matrix_product() -> None:
    from threadpoolctl import threadpool_info

    before = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
    x, y, nets = torch.randn(256, 40), torch.randn(256, 1), []
    for threads in (1, 2):
        torch.manual_seed(0)
        nets.append(nn.Sequential(nn.Linear(40, 300), nn.ReLU(), nn.Linear(300, 1)))
        optimizer = torch.optim.SGD(nets[-1].parameters(), lr=0.01)
        engine = make_engine(nets[-1], x, y, nn.MSELoss(), threads=threads, optimizer=optimizer)
        for _ in range(5):
            engine.run_epoch(np.arange(256), np.array([0, 128, 256]), np.ones(2))

    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()] == before


def trained(loss: object, x: Tensor, y: Tensor, **options: object) -> nn.Module:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.3), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    engine = make_engine(net, x, y, loss, optimizer=optimizer, **options)
    for _ in range(3):
        engine.run_epoch(np.arange(90), np.array([0, 30, 60, 90]), np.ones(3))
    return net


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=0.01),
    "dampened": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, dampening=0.3),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.003),
    "adam_decayed": lambda p: torch.optim.Adam(p, lr=0.003, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.003, weight_decay=0.1),
    "groups": lambda p: torch.optim.AdamW(
        [{"params": p[::2], "lr": 0.01, "weight_decay": 0.0}, {"params": p[1::2], "betas": (0.5, 0.9)}],
        lr=0.003,
    ),
    "some": lambda p: torch.optim.Adam(p[:3], lr=0.003),
    "muon": lambda p: Muon(
        [{"params": p[:1]}, {"params": p[1:], "use_muon": False, "lr": 0.003}], lr=0.02, weight_decay=0.1
    ),
    "muon_of_both": lambda p: Muon(
        [
            {"params": [p[0], p[4]], "ns_coefficients": (2.0, -1.5, 0.5), "ns_steps": 4},
            {"params": [*p[1:4], p[5]], "use_muon": False, "betas": (0.8, 0.95), "weight_decay": 0.1},
        ],
        *(0.01, 0.0, 0.8, False),
        adjust_lr_fn="match_rms_adamw",
    ),
}


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}, {"accumulate": 3}], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_steps_stay_on_torchs_trajectory(name: str, options: dict) -> None:
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(6, 16), nn.SiLU(), nn.BatchNorm1d(16), nn.Linear(16, 3))
    x, y = torch.randn(200, 6), torch.randint(0, 3, (200,))
    twin, loss = copy.deepcopy(net), Loss(nn.CrossEntropyLoss(), True)
    base = {"clip_norm": None, "accumulate": 1, **options}
    ours = make_engine(net, x, y, loss, optimizer=OPTIMIZERS[name](list(net.parameters())), **base)
    theirs = AutogradEngine(
        twin, x, y, None, loss=loss, optimizer=OPTIMIZERS[name](list(twin.parameters())), **base
    )
    rng, bounds = np.random.default_rng(0), np.append(np.arange(0, 200, 18), 200)[:11]

    for _ in range(5):
        order, factors = rng.permutation(200), np.linspace(1, 0.3, 10)
        np.testing.assert_allclose(
            ours.run_epoch(order, bounds, factors), theirs.run_epoch(order, bounds, factors), rtol=2e-4
        )

    for (key, a), (_, b) in zip(net.state_dict().items(), twin.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-4, msg=lambda text, key=key: f"{key}: {text}")


def test_torchs_muon_runs_in_the_kernels_but_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(6, 16, bias=False), nn.SiLU(), nn.Linear(16, 3, bias=False))
    x, y = torch.randn(60, 6), torch.randn(60, 3)
    twin, loss = copy.deepcopy(net), Loss(nn.MSELoss(), True)
    batches, options = (np.arange(60), np.array([0, 20, 40, 60]), np.ones(3)), {"accumulate": 1}
    ours = make_engine(net, x, y, loss, optimizer=torch.optim.Muon(net.parameters(), lr=0.02))
    optimizer = torch.optim.Muon(twin.parameters(), lr=0.02)
    theirs = AutogradEngine(twin, x, y, None, loss=loss, optimizer=optimizer, clip_norm=None, **options)
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)

    for _ in range(17):
        np.testing.assert_allclose(ours.run_epoch(*batches), theirs.run_epoch(*batches), rtol=1e-4)
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(("d_in", "d_out"), [(70, 70), (70, 140), (140, 70), (7, 40), (1, 5)])
def test_the_kernels_muon_equals_the_published_algorithm(d_in: int, d_out: int, nesterov: bool) -> None:
    """Two rows a step, so that the matrix needs more scratch than the way back does; the loss is linear."""
    torch.manual_seed(9)
    net, x, y = nn.Linear(d_in, d_out, bias=False), torch.randn(40, d_in), torch.randn(40, d_out)
    start = net.weight.detach().double().numpy().copy()
    loss = Loss(lambda out, target: (out * target).sum(), True)
    optimizer = Muon(net.parameters(), lr=0.02, weight_decay=0.0, momentum=0.9, nesterov=nesterov)
    engine = make_engine(net, x, y, loss, optimizer=optimizer)
    X, Y = x.double().numpy(), y.double().numpy()
    gradients = [Y[s : s + 2].T @ X[s : s + 2] for s in range(0, 40, 2)]
    expected = muon(start, gradients, eta=0.02, mu=0.9, nesterov=nesterov)

    engine.run_epoch(np.arange(40), np.arange(0, 41, 2), np.ones(20))

    # A singular value of rounding's size grows by up to 3.4445^5 = 485 in five Newton-Schulz steps.
    allowed = 20 * 0.02 * np.sqrt(max(1, d_out / d_in)) * 485 * EPS
    assert np.abs(net.weight.detach().numpy() - expected[-1]).max() < allowed


def test_train_runs_muon_and_quantiles_in_the_kernels() -> None:
    torch.manual_seed(10)
    net, x = mlp(1, [16, 16], 3), torch.rand(2000, 1)
    y = x + torch.rand(2000, 1) * x
    loss = QuantileLoss([0.1, 0.5, 0.9])

    history = train(
        net, x, y, loss=loss, optimizer=Muon.for_network(net), epochs=40, schedule="cosine", engine="kernels"
    )

    assert history.engine == "kernels"
    below = (y <= net(x)).float().mean(0)
    torch.testing.assert_close(below, torch.tensor([0.1, 0.5, 0.9]), rtol=0, atol=0.05)


def test_the_optimizer_shows_the_kernels_state_whatever_became_of_the_last_one() -> None:
    net, x, y = nn.Linear(3, 1), torch.randn(9, 3), torch.randn(9, 1)
    adam = torch.optim.Adam(net.parameters())
    engine = make_engine(net, x, y, nn.MSELoss(), optimizer=adam)
    engine.run_epoch(*one_batch(9))
    adam.state[net.weight]["exp_avg"] = torch.zeros(1, 3)
    adam.state[net.bias] = {}
    engine.refresh()
    engine.run_epoch(*one_batch(9))

    assert adam.state[net.weight]["exp_avg"].abs().sum() > 0
    assert adam.state[net.weight]["step"] == 2
    assert adam.state[net.bias]["step"] == 1  # its state was cleared: it starts anew, as in PyTorch

    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    engine = make_engine(net, x, y, nn.MSELoss(), optimizer=sgd)
    engine.run_epoch(*one_batch(9))
    assert not sgd.state
    sgd.param_groups[0]["momentum"] = 0.9
    engine.refresh()
    engine.run_epoch(*one_batch(9))
    assert sgd.state[net.weight]["momentum_buffer"].abs().sum() > 0


def test_muons_state_goes_on_in_another_engine() -> None:
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    x, y = torch.randn(60, 4), torch.randn(60, 1)
    twin, loss = copy.deepcopy(net), Loss(nn.MSELoss(), True)
    mine, other = Muon.for_network(net), Muon.for_network(twin)
    batches, options = (np.arange(60), np.array([0, 20, 40, 60]), np.ones(3)), {"accumulate": 1}

    make_engine(net, x, y, loss, optimizer=mine).run_epoch(*batches)
    make_engine(net, x, y, loss, optimizer=mine).run_epoch(*batches)
    AutogradEngine(net, x, y, None, loss=loss, optimizer=mine, clip_norm=None, **options).run_epoch(*batches)
    alone = AutogradEngine(twin, x, y, None, loss=loss, optimizer=other, clip_norm=None, **options)
    for _ in range(3):
        alone.run_epoch(*batches)

    assert mine.state[net[0].weight].keys() == {"momentum_buffer"}
    assert mine.state[net[0].bias]["step"] == 9
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_the_optimizers_state_goes_on_in_another_engine_or_in_torch() -> None:
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    x, y = torch.randn(60, 4), torch.randn(60, 1)
    twin, loss = copy.deepcopy(net), Loss(nn.MSELoss(), True)
    mine, other = torch.optim.Adam(net.parameters(), lr=0.01), torch.optim.Adam(twin.parameters(), lr=0.01)
    batches = np.arange(60), np.array([0, 20, 40, 60]), np.ones(3)
    options = {"clip_norm": None, "accumulate": 1}

    make_engine(net, x, y, loss, optimizer=mine).run_epoch(*batches)
    make_engine(net, x, y, loss, optimizer=mine).run_epoch(*batches)
    AutogradEngine(net, x, y, None, loss=loss, optimizer=mine, **options).run_epoch(*batches)
    torchs = AutogradEngine(twin, x, y, None, loss=loss, optimizer=other, **options)
    for _ in range(3):
        torchs.run_epoch(*batches)

    assert mine.state[net[0].weight]["step"] == 9
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_dropout_zeroes_its_share_and_its_way_back_is_the_same_mask() -> None:
    p, n = 0.3, 4000
    net = nn.Sequential(nn.Linear(1, 8, bias=False), nn.Dropout(p), nn.Identity())
    nn.init.ones_(net[0].weight)
    engine = make_engine(net, torch.ones(n, 1), None, Loss(lambda out: out.sum(), False))
    (total,) = engine.run_epoch(*one_batch(n))
    out = engine.values[engine.plan.v_out * engine.cap :][: n * 8].reshape(n, 8).copy()

    assert set(np.unique(out)) == {np.float32(0), np.float32(1) / (np.float32(1) - np.float32(p))}
    assert abs((out == 0).mean() - p) < 4 * np.sqrt(p * (1 - p) / out.size)
    assert np.abs(np.corrcoef((out == 0).T.astype(float)) - np.eye(8)).max() < 5 / np.sqrt(n)
    np.testing.assert_allclose(gradients_of(engine)["0.weight"][:, 0], out.sum(0, np.float64), rtol=1e-5)
    (again,) = engine.run_epoch(*one_batch(n))
    assert total != again  # another mask in the next step


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_same_seed_gives_the_same_bits_on_any_number_of_threads(n_threads: int) -> None:
    x, y = torch.randn(90, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(90, dtype=torch.int64)
    y[::3] = 1
    alone = [p.detach().clone() for p in trained(nn.CrossEntropyLoss(), x, y, seed=7).parameters()]
    other = trained(nn.CrossEntropyLoss(), x, y, seed=8)

    with ThreadPoolExecutor(n_threads) as pool:
        engines = [fresh_engine(x, y) for _ in range(5)]
        list(
            pool.map(
                lambda e: [e.run_epoch(np.arange(90), np.array([0, 30, 60, 90]), np.ones(3)) for _ in "123"],
                engines,
            )
        )

    for engine in engines:
        assert all(torch.equal(a, b) for a, b in zip(alone, engine.net.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(alone, other.parameters(), strict=True))


def test_loading_leaves_weights_and_optimizer_alone() -> None:
    net, x = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), torch.randn(8, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    make_engine(net, x, torch.randn(8, 2), nn.MSELoss(), optimizer=optimizer).load()
    assert not optimizer.state
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def fresh_engine(x: Tensor, y: Tensor) -> KernelEngine:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.3), nn.Linear(8, 2))
    return make_engine(
        net, x, y, nn.CrossEntropyLoss(), optimizer=torch.optim.Adam(net.parameters(), lr=0.01), seed=7
    )


def test_table_embedding_equals_autograd() -> None:
    torch.manual_seed(6)
    embedding = TableEmbedding(5, [3, 40, 4], periodic=[0, 3, 4], d_periodic=3, d_category=6)
    net = nn.Sequential(embedding, nn.Linear(embedding.d_out, 9), nn.ReLU(), nn.Linear(9, 2))
    codes = torch.stack([torch.randint(0, c, (50,)) for c in (3, 40, 4)], 1)
    x = torch.cat([torch.randn(50, 5), codes.float()], 1)

    check_one_pass(net, x, torch.randn(50, 2), nn.MSELoss())
    with pytest.raises(
        DataError, match="column 6 holds category codes, whole numbers from 0 to 39; got 0 to 40"
    ):
        make_engine(
            net,
            torch.cat([x[:, :6], torch.tensor([[0.0], [40.0]]).repeat(25, 1), x[:, 7:]], 1),
            x[:, :2],
            nn.MSELoss(),
        )


def test_frozen_parameters_stay_and_the_module_holds_the_trained_weights() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    net[0].requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    x, y = torch.randn(20, 3), torch.randn(20, 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.5)
    engine = make_engine(net, x, y, nn.MSELoss(), optimizer=optimizer)
    engine.run_epoch(*one_batch(20))

    assert torch.equal(net[0].weight, before["0.weight"])
    assert not torch.equal(net[2].weight, before["2.weight"])
    net.load_state_dict(before)
    np.testing.assert_allclose(engine.predict(x), net(x).detach(), rtol=1e-5, atol=1e-6)
    net[2].weight.data = torch.zeros(1, 4)  # taken out of the flat buffer: taken in again
    assert np.ptp(engine.predict(x)) == 0


def test_input_of_several_axes_and_output_without_columns() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 1), nn.Flatten(0))

    check_one_pass(net, torch.randn(20, 2, 3), torch.randn(20), nn.MSELoss())


def test_predicts_many_chunks_and_one_row_alike() -> None:
    net = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Linear(64, 2))
    x = torch.randn(9001, 3)
    engine = make_engine(net, x, torch.randn(9001, 2), nn.MSELoss())

    expected = net.eval()(x).detach().numpy()
    np.testing.assert_allclose(engine.predict(x), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(engine.predict(x[7:8]), expected[7:8], rtol=1e-4, atol=1e-6)
    assert engine.predict(x[:0]).shape == (0, 2)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("loss", [nn.MSELoss(), lambda out, y: ((out - y) ** 2).mean()], ids=["known", "own"])
def test_flush_to_zero_and_blas_threads_are_as_before(threads: int, loss: object) -> None:
    from threadpoolctl import threadpool_info

    before = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
    net = nn.Linear(4, 2)
    make_engine(net, torch.randn(9, 4), torch.randn(9, 2), loss, threads=threads).run_epoch(*one_batch(9))

    assert torch.tensor(1e-39).mul(0.5) != 0
    assert [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()] == before


def test_several_threads_give_what_one_gives_within_rounding() -> None:
    x, y = torch.randn(300, 70), torch.randn(300, 1)
    nets = [nn.Sequential(nn.Linear(70, 90), nn.ReLU(), nn.Linear(90, 1)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    for threads, net in enumerate(nets, 1):
        optimizer = Muon.for_network(net)
        make_engine(net, x, y, nn.MSELoss(), optimizer=optimizer, threads=threads).run_epoch(*one_batch(300))

    for one, two in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.PReLU(4, init=0.2), nn.Linear(4, 1)),
        lambda: nn.Sequential(
            nn.Linear(4, 4), Residual(nn.Sequential(nn.Linear(4, 4), nn.PReLU(4))), nn.Linear(4, 1)
        ),
        lambda: nn.Sequential(nn.Linear(4, 6), nn.PReLU(6).requires_grad_(False), nn.Linear(6, 1)),
        lambda: nn.Sequential(nn.Linear(4, 6), nn.PReLU(), nn.BatchNorm1d(6), nn.PReLU(6), nn.Linear(6, 1)),
    ],
    ids=["first", "in a residual block", "frozen", "one slope, then many"],
)
def test_prelu_trains_as_in_pytorch(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(3)
    net, x, y = make(), torch.randn(30, 4), torch.randn(30, 1)
    twin = copy.deepcopy(net)
    settings = {"loss": "mse", "epochs": 5, "batch_size": 10, "seed": 0, "shuffle": False}
    for one, engine in ((net, "kernels"), (twin, "autograd")):
        trainable = [p for p in one.parameters() if p.requires_grad]
        train(
            one, x, y, optimizer=torch.optim.SGD(trainable, lr=0.05, momentum=0.9), engine=engine, **settings
        )

    for ours, torchs in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-6)


def test_only_weights_count_for_finite_and_a_loss_that_is_not_shows_in_them() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    engine = make_engine(net, 1e20 * torch.randn(8, 2), torch.randn(8, 3), nn.MSELoss())
    engine.run_epoch(*one_batch(8))

    assert not torch.isfinite(net[1].running_var).all()
    assert engine.is_finite
    net[0].weight.data[1, 1] = float("nan")
    assert not engine.is_finite


def test_a_loss_that_is_not_finite_shows() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    x = torch.full((8, 2), float("nan"))

    assert np.isnan(make_engine(net, x, torch.zeros(8, 1), nn.MSELoss()).run_epoch(*one_batch(8))).all()


def test_refuses_one_row_with_batch_norm_and_codes_outside_the_outputs() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    engine = make_engine(net, torch.randn(5, 2), torch.zeros(5, 3), nn.MSELoss())

    with pytest.raises(DataError, match="at least 2 rows in a batch"):
        engine.run_epoch(np.arange(5), np.array([0, 4, 5]), np.ones(2))
    with pytest.raises(DataError, match="class codes must be from 0 to 2"):
        make_engine(net, torch.randn(2, 2), torch.tensor([0, 3]), nn.CrossEntropyLoss())
    with pytest.raises(DataError, match="column for each of 2 quantiles of each target; got 3 outputs"):
        make_engine(net, torch.randn(2, 2), torch.zeros(2, 2), QuantileLoss([0.1, 0.9]))
    with pytest.raises(ConfigError, match=r"do not know the layer Sequential.1 \(Softmax\)"):
        make_engine(nn.Sequential(nn.Linear(2, 2), nn.Softmax(1)), torch.randn(2, 2), None, nn.MSELoss())


def test_says_why_not_for_optimisers() -> None:
    net = nn.Sequential(nn.Linear(2, 2))

    assert why_not(net, nn.MSELoss(), torch.optim.Adam(net.parameters())) is None
    assert why_not(net, nn.MSELoss(), Muon.for_network(net)) is None
    assert why_not(net, nn.MSELoss(), torch.optim.Muon([net[0].weight])) is None
    assert (
        why_not(net, nn.MSELoss(), torch.optim.RMSprop(net.parameters()))
        == "the kernels do not know the optimiser RMSprop."
    )
    assert "amsgrad" in str(why_not(net, nn.MSELoss(), torch.optim.Adam(net.parameters(), amsgrad=True)))
    assert "not the network's" in str(
        why_not(net, nn.MSELoss(), torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0))
    )
    assert "x has shape" in str(
        why_not(net, nn.MSELoss(), torch.optim.SGD(net.parameters(), lr=1.0), torch.zeros(3, 4, 2))
    )


STARTS = """
import logging, sys
import numpy as np, torch
from torch import nn
from numba.core import caching
if sys.argv[1] == "unwritable":
    caching.CacheImpl._locator_classes = []
from multilayer.training.kernels.engine import KernelEngine
net = nn.Linear(2, 1)
KernelEngine(net, np.ones((4, 2), np.float32), np.ones((4, 1), np.float32), None, loss=nn.MSELoss(),
    optimizer=torch.optim.SGD(net.parameters(), lr=0.1), clip_norm=None, accumulate=1, seed=0,
).run_epoch(np.arange(4), np.array([0, 4]), np.ones(1))
print("trained")
"""


DIGEST = """
import hashlib, sys
import numpy as np, torch
from torch import nn
from multilayer.training.kernels.engine import KernelEngine
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(8, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 2))
KernelEngine(net, torch.randn(512, 8).numpy(), np.arange(512) % 2, None, loss=nn.CrossEntropyLoss(),
    optimizer=torch.optim.Adam(net.parameters()), clip_norm=1e-3, accumulate=1, seed=0,
).run_epoch(np.arange(512), np.arange(0, 513, 32), np.ones(16))
print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
print("numba.typed.typedlist" in sys.modules)
"""
COMPILES = "Compiling the training loops, about 10 seconds; this happens once on each machine.\n"


def start(
    cache: Path, kind: str = "writable", script: str = STARTS, **environment: str
) -> subprocess.Popen[str]:
    """A process of its own that trains a network, with a cache folder of its own."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), **environment}
    command = [sys.executable, "-c", script, kind]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.slow
def test_trains_without_a_cache_and_says_that_it_compiles(tmp_path: Path) -> None:
    assert start(tmp_path, "unwritable").communicate() == ("trained\n", COMPILES)


@pytest.mark.slow
def test_two_processes_compile_at_once_and_another_processor_has_code_of_its_own(tmp_path: Path) -> None:
    for process in [start(tmp_path), start(tmp_path)]:
        assert process.communicate() == ("trained\n", COMPILES)
    assert start(tmp_path).communicate() == ("trained\n", "")

    plain = {"NUMBA_CPU_NAME": "generic"}  # what numba takes for a processor of another kind
    assert start(tmp_path, **plain).communicate() == ("trained\n", COMPILES)
    assert start(tmp_path, **plain).communicate() == ("trained\n", "")
    assert start(tmp_path).communicate() == ("trained\n", "")


@pytest.mark.slow
def test_kernels_that_were_just_compiled_give_the_bits_of_those_from_the_cache(tmp_path: Path) -> None:
    (compiled, said), (loaded, nothing) = (start(tmp_path, script=DIGEST).communicate() for _ in range(2))

    assert (said, nothing) == (COMPILES, "")
    (bits, declared), (same_bits, declared_again) = compiled.split(), loaded.split()
    assert bits == same_bits
    assert (declared, declared_again) == ("True", "False")  # numba's declarations are for its compiler alone


def test_the_cache_forgets_a_kernel_when_any_kernels_source_changes() -> None:
    assert k.run._cache._cache_file._source_stamp == compiler._all_sources()


def test_other_peoples_functions_are_cached_as_numba_wants() -> None:
    assert compiler._CacheLocator.from_function(start, __file__) is None


def test_accumulated_batches_count_by_their_weight_and_one_that_weighs_nothing_counts_for_nothing() -> None:
    torch.manual_seed(8)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    twin = copy.deepcopy(net)
    x, y, weight = torch.randn(30, 3), torch.randint(0, 2, (30,)), torch.rand(30)
    weight[10:20] = 0
    loss, order = Loss(nn.CrossEntropyLoss(), True), np.arange(30)
    bounds = np.array([0, 10, 20, 30])
    in_parts = make_engine(
        net, x, y, loss, weight=weight, accumulate=3, optimizer=torch.optim.SGD(net.parameters(), lr=1.0)
    )
    at_once = make_engine(
        twin, x, y, loss, weight=weight, optimizer=torch.optim.SGD(twin.parameters(), lr=1.0)
    )

    losses = in_parts.run_epoch(order, bounds, np.ones(3))
    at_once.run_epoch(order, bounds[[0, 3]], np.ones(1))

    assert losses[1] == 0
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
