"""P: torch ports of the published study's dense-only programs, written from what each does wrong.

The name is the number of the post on Stack Overflow. Sizes, data and settings are of the same kind as there,
and smaller where a run would take long. A repair is what the accepted answer says, or what was measured to be
needed.
"""

import itertools
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits, load_iris, make_classification, make_regression
from torch import nn
from torch.optim import SGD, Adam, RMSprop

from benchmarks.doctor_bench.program import Program, case, column, made, one_hot

R = set[str]


def numbers(n: int, d: int, seed: int, k: int = 1) -> tuple[Any, Any]:
    x, y = make_regression(n, d, n_informative=min(d, 8), n_targets=k, random_state=seed)
    return x, y.reshape(n, -1)


def classes(n: int, d: int, seed: int, k: int = 2, **more: Any) -> tuple[Any, Any]:
    informative = more.pop("n_informative", min(d, 5))
    return make_classification(
        n, d, n_classes=k, n_informative=informative, n_redundant=0, random_state=seed, class_sep=1.5, **more
    )


def standard(data: tuple[Any, Any]) -> tuple[Any, Any]:
    x, y = data
    return (x - x.mean(0)) / (x.std(0) + 1e-9), (y - y.mean(0)) / y.std(0)


def drawn(net: nn.Module, weight: str, size: float) -> nn.Module:
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            draw = nn.init.normal_ if weight == "normal" else lambda t, _, s: nn.init.uniform_(t, -s, s)
            draw(layer.weight, 0.0, size)
            nn.init.zeros_(layer.bias)
    return net


def xor(n: int) -> tuple[Any, Any]:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * (n // 4), float)
    return x, (x[:, 0] != x[:, 1]).astype(int)


@case("P", "O1", "end", "SO 31880720")
def so_31880720(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    y = np.arange(2000) % 2
    x = np.repeat(y[:, None], 128, 1).astype(float)
    end = nn.Sigmoid() if "end" in fix else nn.Softmax(1)
    hidden = [nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 50), nn.ReLU(), nn.Dropout(0.2)]
    net = nn.Sequential(*hidden, nn.Linear(50, 1), end)
    return made(seed, (x, y), net, nn.BCELoss(), RMSprop, epochs=3, batch=24, code=column)


@case("P", "O1", "end", "SO 34311586")
def so_34311586(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    end = nn.Sigmoid() if "end" in fix else nn.Softmax(1)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1), end)
    optimizer = partial(SGD, lr=0.1, momentum=0.9)
    return made(seed, xor(4), net, nn.MSELoss(), optimizer, epochs=1000, batch=1, code=column, held=0.0)


@case("P", "O1 O7", "end", "SO 56218256")
def so_56218256(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    fixed = "end" in fix
    hidden = [nn.Linear(400, 100), nn.ReLU(), nn.Linear(100, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()]
    net = nn.Sequential(*hidden, nn.Linear(32, 1), nn.Sigmoid() if fixed else nn.Softmax(1))
    loss = nn.BCELoss() if fixed else nn.CrossEntropyLoss()
    return made(seed, classes(1000, 400, seed), net, loss, Adam, epochs=40, batch=200, code=column)


@case("P", "O1", "end", "SO 58055105")
def so_58055105(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    end = nn.Sigmoid() if "end" in fix else nn.Softmax(1)
    net = nn.Sequential(nn.Linear(22, 48), nn.ReLU(), nn.Dropout(0.5), nn.Linear(48, 1), end)
    optimizer = partial(Adam, lr=1e-4)
    return made(seed, classes(1000, 22, seed), net, nn.BCELoss(), optimizer, epochs=20, batch=5, code=column)


@case("P", "O1", "end", "SO 66407123")
def so_66407123(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    end = nn.Sigmoid() if "end" in fix else nn.Softmax(1)
    net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1), end)
    optimizer = partial(SGD, lr=0.01)
    return made(seed, classes(1000, 5, seed), net, nn.BCELoss(), optimizer, epochs=100, batch=64, code=column)


@case("P", "O2", "end scale", "SO 45442843")
def so_45442843(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    fixed = "end" in fix
    end = [nn.Linear(1, 1)] if fixed else [nn.Linear(1, 2), nn.Softmax(1)]
    net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), *end)
    data = numbers(200, 1, seed)
    data = standard(data) if "scale" in fix else data
    optimizer = partial(RMSprop, lr=0.01 if "scale" in fix else 1e-3)
    return made(
        seed, data, net, nn.L1Loss(), optimizer, epochs=400 if "scale" in fix else 10, batch=200, judge="r2"
    )


@case("P", "O2", "end scale", "SO 56774954")
def so_56774954(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    fixed = "end" in fix
    hidden = [nn.Linear(10, 100), nn.Sigmoid(), nn.Linear(100, 80), nn.Sigmoid(), nn.Linear(80, 3)]
    net = nn.Sequential(*hidden, *([] if fixed else [nn.Softmax(1)]))
    data = numbers(1000, 10, seed, 3)
    data = standard(data) if "scale" in fix else data
    return made(seed, data, net, nn.MSELoss(), Adam, epochs=60, batch=32, judge="r2")


@case("P", "O2", "end scale", "SO 60766775")
def so_60766775(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    act = nn.ReLU if "end" in fix else nn.Sigmoid
    hidden = [nn.Linear(8, 32), act(), nn.Linear(32, 20), act(), nn.Linear(20, 15), act(), nn.Linear(15, 4)]
    net = nn.Sequential(*hidden, *([] if "end" in fix else [nn.Softmax(1)]))
    x, y = numbers(1000, 8, seed, 4)
    data = standard((x, y)) if "scale" in fix else (standard((x, y))[0], y)
    optimizer = partial(SGD, lr=0.01, momentum=0.87, nesterov=True)
    return made(seed, data, net, nn.MSELoss(), optimizer, epochs=40, batch=16, judge="r2")


@case("P", "O3 O8", "end", "SO 46869312")
def so_46869312(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    fixed = "end" in fix
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    net = net if fixed else net.append(nn.Sigmoid())
    x, y = numbers(6000, 64, seed)
    y = 2 * (y - y.min()) / (y.max() - y.min()) - 1
    loss = nn.MSELoss() if fixed else nn.BCELoss()
    return made(seed, (x, y), net, loss, Adam, epochs=15, batch=50, judge="r2")


@case("P", "O3", "end", "SO 50555434")
def so_50555434(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(28, 20), nn.ReLU(), nn.Linear(20, 15), nn.ReLU(), nn.Linear(15, 6))
    if "end" not in fix:
        net = nn.Sequential(*net, nn.ReLU(), nn.Linear(6, 6), nn.Sigmoid())
    x, y = numbers(1000, 28, seed, 6)
    y = y / np.abs(y).sum(1, keepdims=True)
    return made(seed, (x, y), net, nn.L1Loss(), Adam, epochs=60, batch=32, judge="r2")


@case("P", "O3", "end", "SO 56317174")
def so_56317174(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    net.append(nn.Tanh() if "end" in fix else nn.Sigmoid())
    x, y = classes(2000, 4, seed, n_informative=4)
    y = 2.0 * y - 1
    return made(seed, (x, y), net, nn.MSELoss(), RMSprop, epochs=20, batch=64, code=column, judge="r2")


@case("P", "O3", "end", "SO 62313327")
def so_62313327(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    x = np.random.default_rng(seed).uniform(-1, 1, (3000, 30))
    fixed = "end" in fix
    net = nn.Sequential(nn.Linear(30, 1), nn.Identity() if fixed else nn.ReLU(), nn.Linear(1, 1))
    net = net if fixed else net.append(nn.Sigmoid())
    return made(
        seed, (x, x[:, 1:2]), net, nn.MSELoss(), partial(Adam, lr=0.01), epochs=10, batch=32, judge="r2"
    )


@case("P", "O3 A3", "end", "SO 48251943")
def so_48251943(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (300, 2))
    y = x[:, :1] - 0.5 * x[:, 1:] - 0.2
    end = [nn.Linear(16, 1)] if "end" in fix else [nn.Linear(16, 1), nn.ReLU()]
    net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), *end)
    return made(seed, (x, y), net, nn.MSELoss(), partial(SGD, lr=0.01), epochs=100, batch=10, judge="r2")


@case("P", "O3", "end length", "SO 59758722")
def so_59758722(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 1))
    net = net if "end" in fix else net.append(nn.ReLU())
    epochs = 250 if "length" in fix else 13
    return made(seed, numbers(1000, 4, seed), net, nn.MSELoss(), RMSprop, epochs=epochs, batch=64, judge="r2")


@case("P", "O4", "end", "SO 41823068")
def so_41823068(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(10, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 5))
    net = net if "end" in fix else net.append(nn.Sigmoid())
    x, y = classes(1000, 10, seed, 5)
    data = x.reshape(-1, 10, 1), y
    return made(seed, data, net, nn.CrossEntropyLoss(), RMSprop, epochs=20, batch=32, code=one_hot(5))


@case("P", "O4", "end", "SO 42472447")
def so_42472447(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    layers = [layer for d in (50, 33, 33) for layer in (nn.Linear(d, 33), nn.ReLU())]
    net = nn.Sequential(nn.Linear(33, 50), nn.ReLU(), *layers, nn.Linear(33, 30))
    net = net if "end" in fix else net.append(nn.Sigmoid())
    data = classes(1500, 33, seed, 30, n_informative=20, n_clusters_per_class=1)
    return made(seed, data, net, nn.CrossEntropyLoss(), Adam, epochs=35, batch=20, code=one_hot(30))


@case("P", "O4 D1", "end scale", "SO 55328966")
def so_55328966(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10))
    net = net if "end" in fix else net.append(nn.Sigmoid())
    x, y = load_digits(return_X_y=True)
    x = x / 16 if "scale" in fix else x * 16
    optimizer = partial(SGD, lr=0.1 if "scale" in fix else 1e-4)
    return made(seed, (x, y), net, nn.CrossEntropyLoss(), optimizer, epochs=15, batch=32, code=one_hot(10))


@case("P", "O5", "end length", "SO 44758894")
def so_44758894(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    fixed = "end" in fix
    net = nn.Sequential(
        nn.Linear(7, 16), nn.ReLU(), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid() if fixed else nn.ReLU()
    )
    loss = nn.BCELoss() if fixed else nn.MSELoss()
    epochs = 50 if "length" in fix else 5
    return made(
        seed, classes(1000, 7, seed), net, loss, partial(SGD, lr=0.05), epochs=epochs, batch=32, code=column
    )


@case("P", "O5", "end length", "SO 58572274")
def so_58572274(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    width = 8 if "length" in fix else 2
    net = nn.Sequential(
        nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )
    net.append(nn.Sigmoid() if "end" in fix else nn.ReLU())
    x, y = xor(4)
    epochs, lr = (600, 0.02) if "length" in fix else (10, 1e-3)
    optimizer = partial(Adam, lr=lr)
    return made(seed, (x, 1 - y), net, nn.BCELoss(), optimizer, epochs=epochs, batch=4, code=column, held=0.0)


@case("P", "O6", "end chain", "SO 57407973")
def so_57407973(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    act = nn.ReLU if "chain" in fix else nn.Sigmoid
    sizes = (28, 28, 100, 150, 80)
    layers = [
        part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), act(), nn.Dropout(0.3))
    ]
    net = nn.Sequential(*layers, nn.Linear(80, 1))
    if "chain" not in fix:
        drawn(net, "normal", 0.05)
    net = net.append(nn.Sigmoid()) if "end" in fix else net
    return made(seed, classes(1000, 28, seed), net, nn.BCELoss(), Adam, epochs=34, batch=32, code=column)


@case("P", "O6", "end", "SO 64395424")
def so_64395424(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    x = np.array([[1.0, 1], [1, 0], [0, 1], [0, 0]])
    net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 1))
    net = net.append(nn.Sigmoid()) if "end" in fix else net
    y = np.array([1, 0, 0, 0])
    return made(seed, (x, y), net, nn.BCELoss(), Adam, epochs=300, batch=4, code=column, held=0.0)


@case("P", "O7", "end", "SO 66602662")
def so_66602662(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    k = 5 if "end" in fix else 1
    hidden = [nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Dropout(0.1)]
    net = nn.Sequential(*hidden, nn.Linear(16, k))
    net = net if "end" in fix else net.append(nn.Sigmoid())
    code = None if "end" in fix else column
    data = classes(1000, 5, seed, 5, n_informative=4, n_clusters_per_class=1)
    return made(seed, data, net, nn.CrossEntropyLoss(), Adam, epochs=30, batch=24, code=code)


@case("P", "O7", "end", "SO 70650848")
def so_70650848(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    k = 3 if "end" in fix else 1
    hidden = [nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4)]
    net = nn.Sequential(*hidden, nn.Linear(4, k))
    net = net if "end" in fix else net.append(nn.Sigmoid())
    code = None if "end" in fix else column
    data = load_iris(return_X_y=True)
    return made(
        seed, data, net, nn.CrossEntropyLoss(), partial(SGD, lr=0.05), epochs=100, batch=16, code=code
    )


@case("P", "O8", "end", "SO 41596619")
def so_41596619(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    fixed = "end" in fix
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, 240)
    x = np.stack(
        [rng.uniform(0, 1, 240), y % 2 + 0.1 * rng.normal(size=240), y + 0.3 * rng.normal(size=240)], 1
    )
    net = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 4 if fixed else 1))
    net = net if fixed else net.append(nn.Sigmoid())
    loss = nn.CrossEntropyLoss() if fixed else nn.BCELoss()
    code = None if fixed else column
    return made(seed, (x, y), net, loss, partial(SGD, lr=0.1), epochs=100, batch=16, code=code)


@case("P", "O9", "end", "SO 57326611")
def so_57326611(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    fixed = "end" in fix
    net = nn.Sequential(nn.Linear(5, 50), nn.ReLU(), nn.Linear(50, 2))
    net = net if fixed else net.append(nn.Softmax(1))
    loss = nn.CrossEntropyLoss() if fixed else nn.BCELoss()
    code = None if fixed else torch.Tensor.float
    return made(seed, classes(2000, 5, seed), net, loss, Adam, epochs=20, batch=32, code=code)


@case("P", "L1", "loss", "SO 34673164")
def so_34673164(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    fixed = "loss" in fix
    hidden = [nn.Linear(14, 64), nn.Tanh(), nn.Dropout(0.5), nn.Linear(64, 64), nn.Tanh(), nn.Dropout(0.5)]
    net = drawn(nn.Sequential(*hidden, nn.Linear(64, 10)), "uniform", 0.05)
    net = net if fixed else net.append(nn.Softmax(1))
    loss = nn.CrossEntropyLoss() if fixed else nn.MSELoss()
    data = classes(1000, 14, seed, 10, n_informative=10, n_clusters_per_class=1)
    optimizer = partial(SGD, lr=0.1, momentum=0.9, nesterov=True)
    return made(seed, data, net, loss, optimizer, epochs=10, batch=16, code=one_hot(10))


@case("P", "T1 A1 A4 L1", "rate start bend", "SO 48385830")
def so_48385830(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    bend = [nn.ReLU()] if "bend" in fix else []
    net = nn.Sequential(nn.Linear(64, 30), *bend, nn.Linear(30, 10))
    net = net if "start" in fix else drawn(net, "normal", 1.0)
    x, y = load_digits(return_X_y=True)
    optimizer = partial(SGD, lr=0.1 if "rate" in fix else 3.0)
    return made(seed, (x / 16, y), net, nn.MSELoss(), optimizer, epochs=10, batch=10, code=one_hot(10))


@case("P", "A1", "bend", "SO 56888491")
def so_56888491(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    bend = "bend" in fix
    layers: list[nn.Module] = []
    for a, b in ((5, 15), (15, 15), (15, 15)):
        layers += [nn.Linear(a, b), *([nn.ReLU()] if bend else [])]
    net = nn.Sequential(*layers, nn.Linear(15, 2))
    x = np.random.default_rng(seed).normal(size=(2000, 5))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    return made(seed, (x, y), net, nn.CrossEntropyLoss(), Adam, epochs=40, batch=32)


@case("P", "A2", "chain length", "SO 49583466")
def so_49583466(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    act = nn.ReLU if "chain" in fix else nn.Sigmoid
    net = nn.Sequential(
        nn.Linear(1, 20), act(), nn.Linear(20, 20), act(), nn.Linear(20, 20), act(), nn.Linear(20, 1)
    )
    if "chain" not in fix:
        drawn(net, "uniform", 0.05)
    x = np.sort(np.random.default_rng(seed).uniform(-1, 1, 2000))[:, None]
    y = (np.sin(5 * x) + 1) / 2
    epochs, rate = (60, 0.05) if "length" in fix else (5, 0.01)
    optimizer = partial(SGD, lr=rate, momentum=0.9 if "length" in fix else 0.0)
    return made(seed, (x, y), net, nn.MSELoss(), optimizer, epochs=epochs, batch=32, judge="r2")


@case("P", "T1", "length", "SO 44164749")
def so_44164749(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(10, 300), nn.ReLU(), nn.Linear(300, 60), nn.ReLU(), nn.Linear(60, 2))
    epochs, batch = (50, 16) if "length" in fix else (5, 2000)
    optimizer = partial(SGD, lr=0.01, momentum=0.9, nesterov=True)
    return made(
        seed, classes(400, 10, seed), net, nn.CrossEntropyLoss(), optimizer, epochs=epochs, batch=batch
    )


@case("P", "T1", "rate", "SO 50306988")
def so_50306988(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    y = np.arange(200) % 2
    x = np.where(y[:, None] == 0, rng.uniform(0.2, 0.4, (200, 2)), rng.uniform(0.5, 0.7, (200, 2)))
    net = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 2))
    optimizer = partial(Adam, lr=0.05 if "rate" in fix else 1e-3)
    return made(seed, (x, y), net, nn.CrossEntropyLoss(), optimizer, epochs=40, batch=32)


@case("P", "T1", "length", "SO 61234347")
def so_61234347(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    sizes = (4, 200, 100, 64, 32, 9)
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.Tanh())]
    net = nn.Sequential(*layers, nn.Linear(9, 3))
    epochs = 60 if "length" in fix else 1
    data = load_iris(return_X_y=True)
    return made(seed, data, net, nn.CrossEntropyLoss(), Adam, epochs=epochs, batch=32, code=one_hot(3))


@case("P", "D1", "scale", "SO 66840108")
def so_66840108(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x = np.stack([rng.uniform(2000, 9000, 600), rng.uniform(0, 1, 600)], 1)
    y = ((x[:, 1] > 0.5) ^ (x[:, 0] > 5500)).astype(int)
    x = (x - x.mean(0)) / x.std(0) if "scale" in fix else x
    net = nn.Sequential(
        nn.Linear(2, 196), nn.ReLU(), nn.Linear(196, 128), nn.ReLU(), nn.Linear(128, 1), nn.Sigmoid()
    )
    return made(seed, (x, y), net, nn.BCELoss(), Adam, epochs=40, batch=10, code=column)


@case("P", "N1", "length", "SO 68701979")
def so_68701979(seed: int, fix: R) -> Program:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(5, 32), nn.Sigmoid(), nn.Linear(32, 2))
    epochs = 30 if "length" in fix else 0
    return made(
        seed,
        classes(2000, 5, seed),
        net,
        nn.CrossEntropyLoss(),
        partial(SGD, lr=0.1),
        epochs=epochs,
        batch=32,
    )
