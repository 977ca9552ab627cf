# ruff: noqa: E501  (a program a line reads as a table)
"""H: programs in which nothing is wrong, odd as some of them look."""

import itertools
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, RMSprop

import multilayer as ml
from benchmarks.doctor_bench.posts import R, classes, numbers, standard, xor
from benchmarks.doctor_bench.program import CASES, Case, Program, case, column, made, one_hot

H = partial(case, "H")


def mlp(*sizes: int, act: Any = nn.ReLU, end: tuple[nn.Module, ...] = ()) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1], *end)


def scaled(x: Any) -> Any:
    return (x - x.mean(0)) / (x.std(0) + 1e-9)


def simple(
    name: str, net: Any, data: Any, loss: Any, optimizer: Any, *, source: str = "", **more: Any
) -> None:
    """A healthy program in a line: makers of the net and of the data by seed."""

    def build(seed: int, fix: R) -> Program:
        torch.manual_seed(seed)
        return made(seed, data(seed), net(), loss(), optimizer, **more)

    CASES["H"][name] = Case(name, build, (), (), source)


adam, sgd = partial(Adam, lr=1e-2), partial(SGD, lr=0.1)
run = {"epochs": 30, "batch": 32}


def c2(s: int) -> Any:
    return classes(800, 8, s)


def c3(s: int) -> Any:
    return classes(900, 8, s, 3, n_clusters_per_class=1)


def reg(s: int) -> Any:
    return standard(numbers(800, 6, s))


def pair(data: Any) -> Any:
    x, y = data(return_X_y=True)
    return lambda s: (scaled(x), y)


ce, bce, bcel, mse = nn.CrossEntropyLoss, nn.BCELoss, nn.BCEWithLogitsLoss, nn.MSELoss

simple("logits_ce", lambda: mlp(8, 32, 3), c3, ce, adam, **run)
simple("log_softmax_ce", lambda: mlp(8, 32, 3, end=(nn.LogSoftmax(1),)), c3, ce, adam, **run)
simple("log_softmax_nll", lambda: mlp(8, 32, 3, end=(nn.LogSoftmax(1),)), c3, nn.NLLLoss, adam, **run)
simple("sigmoid_bce", lambda: mlp(8, 32, 1, end=(nn.Sigmoid(),)), c2, bce, adam, code=column, **run)
simple("logits_bce", lambda: mlp(8, 32, 1), c2, bcel, adam, code=column, **run)
simple(
    "flat_logits_bce",
    lambda: mlp(8, 32, 1, end=(nn.Flatten(0),)),
    c2,
    bcel,
    adam,
    code=lambda y: y.float(),
    **run,
)
simple("two_logits_ce", lambda: mlp(8, 32, 2), c2, ce, adam, **run)
simple(
    "softmax_one_hot_bce", lambda: mlp(8, 32, 2, end=(nn.Softmax(1),)), c2, bce, adam, code=one_hot(2), **run
)
simple("regression", lambda: mlp(6, 32, 1), reg, mse, adam, judge="r2", **run)
simple("regression_mae", lambda: mlp(6, 32, 1), reg, nn.L1Loss, adam, judge="r2", **run)
simple("regression_huber", lambda: mlp(6, 32, 1), reg, nn.HuberLoss, adam, judge="r2", **run)
simple("regression_flat", lambda: mlp(6, 32, 1, end=(nn.Flatten(0),)), reg, mse, adam, judge="r2",
       code=lambda y: y.reshape(-1), **run)  # fmt: skip
simple(
    "three_targets",
    lambda: mlp(6, 32, 3),
    lambda s: standard(numbers(800, 6, s, 3)),
    mse,
    adam,
    judge="r2",
    **run,
)
simple("sgd_01", lambda: mlp(8, 32, 3), c3, ce, sgd, **run)
simple("sgd_05", lambda: mlp(8, 64, 3), c3, ce, partial(SGD, lr=0.5), **run)
simple("sgd_momentum", lambda: mlp(8, 32, 3), c3, ce, partial(SGD, lr=0.05, momentum=0.9), **run)
simple("adamw_decay", lambda: mlp(8, 64, 3), c3, ce, partial(AdamW, lr=3e-3, weight_decay=0.1), **run)
simple("rmsprop", lambda: mlp(8, 32, 3), c3, ce, partial(RMSprop, lr=1e-3), **run)
simple("lbfgs", lambda: mlp(8, 16, 3), c3, ce, adam, epochs=30, batch=None)
simple("tiny_batches", lambda: mlp(8, 32, 3), c3, ce, partial(Adam, lr=1e-3), epochs=10, batch=2)
simple("batch_of_one", lambda: mlp(8, 32, 3), c3, ce, partial(SGD, lr=0.01), epochs=3, batch=1)
simple("full_batch", lambda: mlp(8, 32, 3), c3, ce, partial(Adam, lr=0.02), epochs=300, batch=None)
simple("tanh", lambda: mlp(8, 32, 32, 3, act=nn.Tanh), c3, ce, adam, **run)
simple("sigmoid_hidden", lambda: mlp(8, 32, 3, act=nn.Sigmoid), c3, ce, adam, **run)
simple("gelu", lambda: mlp(8, 32, 32, 3, act=nn.GELU), c3, ce, adam, **run)
simple("deep", lambda: mlp(8, 32, 32, 32, 32, 3), c3, ce, partial(Adam, lr=3e-3), **run)
simple("logistic_regression", lambda: nn.Sequential(nn.Linear(8, 3)), lambda s: linear(s), ce, adam, **run)
simple("single_layer", lambda: nn.Linear(6, 1), reg, mse, adam, judge="r2", **run)
simple(
    "softplus_end",
    lambda: mlp(6, 32, 1, end=(nn.Softplus(),)),
    lambda s: positive(s),
    mse,
    adam,
    judge="r2",
    **run,
)
simple("tanh_end", lambda: mlp(6, 32, 1, end=(nn.Tanh(),)), lambda s: within(s), mse, adam, judge="r2", **run)
simple(
    "sigmoid_end_shares",
    lambda: mlp(6, 32, 1, end=(nn.Sigmoid(),)),
    lambda s: share(s),
    mse,
    adam,
    judge="r2",
    **run,
)
simple(
    "counts_poisson", lambda: mlp(6, 32, 1), lambda s: counts(s), nn.PoissonNLLLoss, adam, judge="r2", **run
)
simple("noise_classes", lambda: mlp(8, 32, 2), lambda s: noise(s, 2), ce, partial(Adam, lr=1e-3), **run)
simple(
    "noise_numbers",
    lambda: mlp(8, 32, 1),
    lambda s: noise(s, 0),
    mse,
    partial(Adam, lr=1e-3),
    judge="r2",
    **run,
)
simple("weak_signal", lambda: mlp(8, 32, 2), lambda s: weak(s), ce, partial(Adam, lr=1e-3), **run)
simple(
    "imbalanced",
    lambda: mlp(8, 32, 1),
    lambda s: classes(1000, 8, s, weights=[0.95]),
    bcel,
    adam,
    code=column,
    **run,
)
simple(
    "label_smoothing",
    lambda: mlp(8, 32, 3),
    c3,
    partial(nn.CrossEntropyLoss, label_smoothing=0.1),
    adam,
    **run,
)
simple("class_weights", lambda: mlp(8, 32, 2), c2,
       lambda: nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0])), adam, **run)  # fmt: skip
simple(
    "sum_loss",
    lambda: mlp(8, 32, 3),
    c3,
    partial(nn.CrossEntropyLoss, reduction="sum"),
    partial(Adam, lr=3e-3),
    **run,
)
simple("digits", lambda: mlp(64, 64, 10), lambda s: digits(), ce, partial(Adam, lr=1e-3), **run)
simple("wine", lambda: mlp(13, 16, 3), pair(load_wine), ce, adam, **run)
simple("iris", lambda: mlp(4, 16, 3), pair(load_iris), ce, adam, epochs=60, batch=16)
simple("iris_raw", lambda: mlp(4, 16, 3), lambda s: load_iris(return_X_y=True), ce, adam, epochs=60, batch=16)
simple(
    "breast_cancer",
    lambda: mlp(30, 32, 1),
    pair(load_breast_cancer),
    bcel,
    partial(Adam, lr=3e-3),
    code=column,
    **run,
)
simple("diabetes", lambda: mlp(10, 32, 1), lambda s: standard(column_y(load_diabetes(return_X_y=True))), mse,
       partial(Adam, lr=3e-3), judge="r2", **run)  # fmt: skip
simple(
    "dropout",
    lambda: nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3)),
    c3,
    ce,
    adam,
    **run,
)
simple("batchnorm", lambda: nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3)), c3, ce,
       adam, **run)  # fmt: skip
simple("layernorm", lambda: nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 3)), c3, ce,
       adam, **run)  # fmt: skip
simple("linear_loss", lambda: mlp(8, 32, 3), c3, lambda: lambda out, y: F.cross_entropy(out, y), adam, **run)
simple("sigmoid_in_the_loss", lambda: mlp(8, 32, 1), c2, lambda: lambda out, y: F.binary_cross_entropy(out.sigmoid(), y),
       adam, code=column, **run)  # fmt: skip
simple("softmax_in_the_loss", lambda: mlp(8, 32, 3), c3,
       lambda: lambda out, y: F.nll_loss((out.softmax(1) + 1e-9).log(), y), adam, **run)  # fmt: skip
simple("zero_head", lambda: zero_head(), c3, ce, adam, **run)
simple("surplus_outputs", lambda: mlp(8, 32, 5), c3, ce, adam, **run)
simple(
    "inputs_0_to_10",
    lambda: mlp(8, 32, 3),
    lambda s: (c3(s)[0] * 2 + 4, c3(s)[1]),
    ce,
    partial(Adam, lr=1e-2),
    **run,
)
simple("xor", lambda: mlp(2, 16, 1, act=nn.Tanh, end=(nn.Sigmoid(),)), lambda s: xor(4), bce, partial(Adam, lr=0.02),
       code=column, held=0.0, epochs=400, batch=4)  # fmt: skip
simple("product", lambda: ml.mlp(5, [64, 64], 1, activation="gelu", dropout=0.1), lambda s: product(s), mse,
       partial(Adam, lr=1e-3), judge="r2", source="README", epochs=60, batch=32)  # fmt: skip
simple("realistic_width", lambda: mlp(20, 256, 256, 4), lambda s: classes(1500, 20, s, 4, n_informative=8), ce,
       partial(Adam, lr=1e-3), epochs=20, batch=64)  # fmt: skip


def linear(s: int) -> Any:
    x = np.random.default_rng(s).normal(size=(800, 8))
    return x, (x[:, :3] + 0.1 * np.random.default_rng(s + 1).normal(size=(800, 3))).argmax(1)


def positive(s: int) -> Any:
    x = np.random.default_rng(s).normal(size=(800, 6))
    return x, np.exp(0.4 * x[:, :1]) + 0.1 * np.abs(x[:, 1:2])


def within(s: int) -> Any:
    x = np.random.default_rng(s).normal(size=(800, 6))
    return x, 0.9 * np.tanh(x[:, :1] - x[:, 1:2])


def share(s: int) -> Any:
    x = np.random.default_rng(s).normal(size=(800, 6))
    return x, 1 / (1 + np.exp(-x[:, :1] + x[:, 1:2]))


def counts(s: int) -> Any:
    rng = np.random.default_rng(s)
    x = rng.normal(size=(1500, 6))
    return x, rng.poisson(np.exp(0.7 * x[:, :1])).astype(float)


def noise(s: int, k: int) -> Any:
    rng = np.random.default_rng(s)
    return rng.normal(size=(600, 8)), rng.integers(0, k, 600) if k else rng.normal(size=(600, 1))


def weak(s: int) -> Any:
    rng = np.random.default_rng(s)
    x = rng.normal(size=(1500, 8))
    return x, (x[:, 0] + 2.5 * rng.normal(size=1500) > 0).astype(int)


def digits() -> Any:
    x, y = load_digits(return_X_y=True)
    return x / 16, y


def column_y(data: Any) -> Any:
    return data[0], data[1][:, None]


def product(s: int) -> Any:
    x = np.random.default_rng(s).normal(size=(1000, 5)) * 0.8
    return x, x[:, :1] * x[:, 1:2]


def zero_head() -> nn.Module:
    net = mlp(8, 32, 3)
    nn.init.zeros_(net[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(net[-1].bias)  # type: ignore[arg-type]
    return net


@H()
def frozen_first_layer(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    net = mlp(8, 256, 3)
    net[0].requires_grad_(False)
    return made(
        seed, c3(seed), net, nn.CrossEntropyLoss(), lambda p: adam([q for q in p if q.requires_grad]), **run
    )


@H()
def muon_002(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    net = mlp(8, 32, 32, 3)
    return made(
        seed, c3(seed), net, nn.CrossEntropyLoss(), lambda p: ml.Muon.for_network(net, lr=0.02), **run
    )


@H()
def two_groups(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    net = mlp(8, 32, 3)
    groups = [{"params": net[0].parameters(), "lr": 1e-3}, {"params": net[2].parameters(), "lr": 1e-2}]
    return made(seed, c3(seed), net, nn.CrossEntropyLoss(), lambda p: Adam(groups), **run)


@H()
def residual(seed: int, fix: R) -> Program:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(16, 16), nn.Linear(16, 16)
            nn.init.zeros_(self.last.weight)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.last(torch.relu(self.first(x)))

    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(8, 16), Block(), Block(), nn.Linear(16, 3))
    return made(seed, c3(seed), net, nn.CrossEntropyLoss(), adam, **run)


@H()
def functional_forward(seed: int, fix: R) -> Program:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 32), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.b(F.relu(self.a(x)))).squeeze(1)

    torch.manual_seed(seed)
    return made(seed, c2(seed), Net(), nn.BCELoss(), adam, code=lambda y: y.float(), **run)


@H()
def autoencoder(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(800, 2)) @ rng.normal(size=(2, 8)) / 2
    return made(seed, (x, x), mlp(8, 16, 2, 16, 8, act=nn.Tanh), nn.MSELoss(), adam, judge="r2", **run)


@H()
def linear_autoencoder(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(800, 2)) @ rng.normal(size=(2, 8)) / 2
    net = nn.Sequential(nn.Linear(8, 2), nn.Linear(2, 8))
    return made(seed, (x, x), net, nn.MSELoss(), adam, judge="r2", **run)


@H()
def notes_loss(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    net = ml.block(5, 2)
    program = made(seed, (np.random.default_rng(seed).normal(size=(100, 5)) + 1, np.zeros(100)), net,
                   lambda out: (1 - out).abs().mean(), partial(Adam, lr=0.1), epochs=10, batch=None)  # fmt: skip
    from dataclasses import replace

    return replace(program, y=None)


@H()
def multi_label(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    x = np.random.default_rng(seed).normal(size=(800, 8))
    y = (x[:, :3] + x[:, 3:6] > 0).astype(float)
    return made(seed, (x, y), mlp(8, 32, 3), nn.BCEWithLogitsLoss(), adam, judge="r2", **run)


@H()
def few_epochs_of_much(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    return made(seed, classes(6000, 8, seed), mlp(8, 32, 2), nn.CrossEntropyLoss(), adam, epochs=2, batch=32)
