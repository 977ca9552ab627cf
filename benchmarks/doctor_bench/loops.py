"""R: training loops of one's own with a fault each, from threads of PyTorch users; `ml.watch` looks on.

A loop gets what is to be fixed as a set of names: nothing is the faulty loop, {"fix"} its mended twin.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam

from benchmarks.doctor_bench.posts import classes, numbers, standard


@dataclass(frozen=True)
class Loop:
    """A loop: run(seed, fixed, watching) trains and gives the score on rows kept aside.

    watching: a maker of a context from (net, optimizer, loss), which stands around the loop
    codes:    of which any names the fault
    """

    name: str
    run: Callable[..., float]
    codes: tuple[str, ...]
    source: str


LOOPS: dict[str, Loop] = {}
HEALTHY: dict[str, Loop] = {}


def loop(codes: str, source: str = "") -> Callable[[Callable[..., float]], Callable[..., float]]:
    def register(run: Callable[..., float]) -> Callable[..., float]:
        (LOOPS if codes else HEALTHY)[run.__name__] = Loop(run.__name__, run, tuple(codes.split()), source)
        return run

    return register


def tensors(data: Any, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, y = (torch.as_tensor(np.asarray(part)) for part in data)
    x, y = x.float(), y.float() if y.is_floating_point() else y.long()
    n = len(x) * 3 // 4
    return x[:n], y[:n], x[n:], y[n:]


def three(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return tensors(classes(800, 8, seed, 3, n_clusters_per_class=1), seed)


def regression(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return tensors(standard(numbers(800, 6, seed)), seed)


def mlp(*sizes: int, norm: bool = False, drop: float = 0.0) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if norm else []), nn.ReLU()]
        layers += [nn.Dropout(drop)] if drop else []
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:]))


def batches(n: int, size: int, epochs: int, seed: int) -> Any:
    rng = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        yield from torch.randperm(n, generator=rng).split(size)


def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    net.eval()
    with torch.no_grad():
        return float((net(x).argmax(1) == y).float().mean())


def r2(net: nn.Module, x: Tensor, y: Tensor) -> float:
    net.eval()
    with torch.no_grad():
        rest = (net(x).reshape(-1) - y.reshape(-1)).square().sum()
    value = 1 - float(rest / (y - y.mean()).square().sum())
    return max(value, -1.0) if value == value else -1.0


@loop("gradients-not-cleared", "SO 60335387")
def zero_grad_missing(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = regression(seed)
    net, loss = mlp(6, 32, 1), nn.MSELoss()
    optimizer = SGD(net.parameters(), lr=0.05)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 15, seed):
            if fix:
                optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return r2(net, xt, yt)


@loop("gradients-not-cleared", "the note")
def zero_grad_before_the_loop(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = regression(seed)
    net = mlp(6, 32, 1)
    optimizer = Adam(net.parameters(), lr=0.05)
    optimizer.zero_grad()
    with watching(net, optimizer, None):
        for rows in batches(len(x), 32, 10, seed):
            loss = (net(x[rows]) - y[rows]).square().mean()
            loss.backward()
            optimizer.step()
            if fix:
                optimizer.zero_grad()
    return r2(net, xt, yt)


@loop("gradients-not-cleared")
def zero_grad_each_epoch(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 32, 3), nn.CrossEntropyLoss()
    optimizer = SGD(net.parameters(), lr=0.5)
    with watching(net, optimizer, loss):
        for i, rows in enumerate(batches(len(x), 16, 15, seed)):
            if fix or i % 38 == 0:
                optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("gradients-cleared-early", "bytetriper/RAE#67")
def zero_grad_each_micro_batch(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = regression(seed)
    y = y + 4 * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    net, loss = mlp(6, 32, 1), nn.MSELoss()
    optimizer = SGD(net.parameters(), lr=0.02)
    with watching(net, optimizer, loss):
        for i, rows in enumerate(batches(len(x), 2, 4, seed)):
            if not fix:
                optimizer.zero_grad()
            (loss(net(x[rows]), y[rows]) / 16).backward()
            if i % 16 == 15:
                optimizer.step()
                optimizer.zero_grad()
    return r2(net, xt, yt)


@loop("gradients-cleared-early step-before-backward")
def zero_grad_after_backward(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 32, 3), nn.CrossEntropyLoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            if fix:
                optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            if not fix:
                optimizer.zero_grad()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("step-before-backward")
def step_before_backward(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 32, 3), nn.CrossEntropyLoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            value = loss(net(x[rows]), y[rows])
            if not fix:
                optimizer.step()
            value.backward()
            if fix:
                optimizer.step()
    return accuracy(net, xt, yt)


@loop("no-step")
def step_forgotten(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 32, 3), nn.CrossEntropyLoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            if fix:
                optimizer.step()
    return accuracy(net, xt, yt)


@loop("eval-not-restored", "clevr-iep#22, vsepp#4")
def train_not_restored(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = tensors(classes(160, 30, seed, 3, n_informative=6), seed)
    net, loss = mlp(30, 128, 128, 3, drop=0.6), nn.CrossEntropyLoss()
    optimizer = Adam(net.parameters(), lr=0.003)
    with watching(net, optimizer, loss):
        for epoch in range(60):
            if fix:
                net.train()
            for rows in batches(len(x), 16, 1, seed + epoch):
                optimizer.zero_grad()
                loss(net(x[rows]), y[rows]).backward()
                optimizer.step()
            accuracy(net, xt, yt)
    return accuracy(net, xt, yt)


@loop("eval-mode")
def eval_from_the_start(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    x, xt = 30 * x + 100, 30 * xt + 100
    net, loss = nn.Sequential(nn.BatchNorm1d(8), *mlp(8, 32, 3, norm=True)), nn.CrossEntropyLoss()
    net.train(fix)
    optimizer = SGD(net.parameters(), lr=0.05)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 8, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("one-row-batches", "pytorch-3dunet#53")
def batchnorm_with_one_row(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 32, 3, norm=True), nn.CrossEntropyLoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    try:
        with watching(net, optimizer, loss):
            for rows in batches(len(x), 32 if fix else 1, 10, seed):
                if len(rows) < 2 and fix:
                    continue
                optimizer.zero_grad()
                loss(net(x[rows]), y[rows]).backward()
                optimizer.step()
    except ValueError:
        pass
    return accuracy(net, xt, yt)


@loop("parameters-not-in-optimizer")
def layer_replaced_after_optimizer(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 4, 10), nn.CrossEntropyLoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    net[-1] = nn.Linear(4, 3)
    if fix:
        optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 4, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("parameters-not-in-optimizer")
def optimizer_of_a_copy(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 32, 3), nn.CrossEntropyLoss()
    optimizer = Adam((net if fix else copy.deepcopy(net)).parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("hidden-layers parameters-not-in-optimizer")
def layers_in_a_list(seed: int, fix: bool, watching: Any) -> float:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.Linear(8, 3)] if False else [nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3)]
            self.layers = nn.ModuleList(layers) if fix else layers
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x)
            return x * self.scale

    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = Net(), nn.CrossEntropyLoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("target-broadcast", "pytorch#16045, #16413, #19699")
def broadcast_in_mse(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = regression(seed)
    y = y if fix else y[:, 0]
    net, loss = mlp(6, 32, 1), nn.MSELoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return r2(net, xt, yt)


@loop("target-broadcast", "TALENT PR 92")
def broadcast_by_hand(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = regression(seed)
    y = y if fix else y[:, 0]
    net = mlp(6, 32, 1)
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, None):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            (net(x[rows]) - y[rows]).abs().mean().backward()
            optimizer.step()
    return r2(net, xt, yt)


@loop("probabilities-into-logits", "federated-learning#9, lightning-bolts#654")
def softmax_before_cross_entropy(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = tensors(classes(1200, 20, seed, 12, n_informative=10, n_clusters_per_class=1), seed)
    net = mlp(20, 64, 12)
    net = net if fix else net.append(nn.Softmax(1))
    loss, optimizer = nn.CrossEntropyLoss(), SGD(net.parameters(), lr=0.1)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 12, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("probabilities-into-logits")
def sigmoid_before_bce_logits(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = tensors(classes(1000, 8, seed), seed)
    net = mlp(8, 32, 1)
    optimizer = SGD(net.parameters(), lr=0.05)
    with watching(net, optimizer, None):
        for rows in batches(len(x), 32, 4, seed):
            optimizer.zero_grad()
            out = net(x[rows])
            out = out if fix else out.sigmoid().sigmoid()
            F.binary_cross_entropy_with_logits(out, y[rows, None].float()).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        return float(((net(xt)[:, 0] > 0).long() == yt).float().mean())


@loop("detached no-gradient")
def loss_detached(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 32, 3), nn.CrossEntropyLoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            out = net(x[rows])
            value = loss(out if fix else out.detach(), y[rows]).requires_grad_()
            value.backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("no-gradient detached")
def layer_detached(seed: int, fix: bool, watching: Any) -> float:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(8, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.relu(self.first(x))
            return self.last(hidden if fix else hidden.detach())

    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = Net(), nn.CrossEntropyLoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("became-not-finite rate-too-high exploding-gradients")
def rate_explodes(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = regression(seed)
    net, loss = mlp(6, 32, 1), nn.MSELoss()
    optimizer = SGD(net.parameters(), lr=0.05 if fix else 3.0)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return r2(net, xt, yt)


@loop("became-not-finite not-finite")
def nan_in_a_row(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = regression(seed)
    x[77, 3] = float("nan")
    keep = torch.isfinite(x).all(1)
    x, y = (x[keep], y[keep]) if fix else (x, y)
    net, loss = mlp(6, 32, 1), nn.MSELoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return r2(net, xt, yt)


@loop("became-not-finite")
def logarithm_of_zero(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    x, xt = 100 * x, 100 * xt
    net = mlp(8, 32, 3)
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, None):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            out = net(x[rows])
            logs = out.log_softmax(1) if fix else out.softmax(1).log()
            (-logs[torch.arange(len(rows)), y[rows]]).mean().backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("updates-too-small rate-too-low")
def rate_tiny(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 32, 3), nn.CrossEntropyLoss()
    optimizer = SGD(net.parameters(), lr=0.1 if fix else 1e-7)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("dead-units")
def units_die(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 32, 3), nn.CrossEntropyLoss()
    nn.init.constant_(net[0].bias, 0.0 if fix else -20.0)  # type: ignore[arg-type]
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("vanishing-gradients saturated-units")
def sigmoid_chain(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    act = nn.ReLU if fix else nn.Sigmoid
    layers = [part for _ in range(6) for part in (nn.Linear(32, 32), act())]
    net = nn.Sequential(nn.Linear(8, 32), act(), *layers, nn.Linear(32, 3))
    loss, optimizer = nn.CrossEntropyLoss(), SGD(net.parameters(), lr=0.05)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 30, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("all_frozen frozen-end", "discuss.pytorch.org/t/84911")
def only_norms_train(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 16, 16, 3, norm=True), nn.CrossEntropyLoss()
    for module in net:
        if isinstance(module, nn.Linear) and not fix:
            module.requires_grad_(False)
    optimizer = Adam([p for p in net.parameters() if p.requires_grad], lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 6, seed):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


# Loops in which nothing is wrong


@loop("")
def accumulation(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 32, 3), nn.CrossEntropyLoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for i, rows in enumerate(batches(len(x), 8, 10, seed)):
            (loss(net(x[rows]), y[rows]) / 4).backward()
            if i % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
    return accuracy(net, xt, yt)


@loop("")
def evaluation_between(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 32, 3, norm=True, drop=0.2), nn.CrossEntropyLoss()
    optimizer = Adam(net.parameters(), lr=0.01)
    with watching(net, optimizer, loss):
        for epoch in range(8):
            net.train()
            for rows in batches(len(x), 32, 1, epoch):
                out = net(x[rows])
                optimizer.zero_grad()
                loss(out, y[rows]).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
            net.eval()
            with torch.no_grad():
                loss(net(xt), yt)
    return accuracy(net, xt, yt)


@loop("")
def frozen_backbone(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 128, 3), nn.CrossEntropyLoss()
    net[0].requires_grad_(False)
    optimizer = Adam([p for p in net.parameters() if p.requires_grad], lr=0.01)
    with watching(net, optimizer, loss):
        for rows in batches(len(x), 32, 10, seed):
            optimizer.zero_grad(set_to_none=False)
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return accuracy(net, xt, yt)


@loop("")
def closure(seed: int, fix: bool, watching: Any) -> float:
    torch.manual_seed(seed)
    x, y, xt, yt = three(seed)
    net, loss = mlp(8, 16, 3), nn.CrossEntropyLoss()
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=5)

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        value = loss(net(x), y)
        value.backward()
        return value

    with watching(net, optimizer, loss):
        for _ in range(10):
            optimizer.step(evaluate)
    return accuracy(net, xt, yt)


def plain(name: str, make: Callable[[], Any], size: int = 32, data: Any = three, **more: Any) -> None:
    """A healthy loop of the textbook with this optimiser."""

    def run(seed: int, fix: bool, watching: Any) -> float:
        torch.manual_seed(seed)
        x, y, xt, yt = data(seed)
        is_classes = not y.is_floating_point()
        net = mlp(x.shape[1], 32, 3 if is_classes else 1, **more)
        loss: Any = nn.CrossEntropyLoss() if is_classes else nn.MSELoss()
        optimizer = make()(net.parameters())
        with watching(net, optimizer, loss):
            for rows in batches(len(x), size, 8, seed):
                optimizer.zero_grad()
                loss(net(x[rows]), y[rows]).backward()
                optimizer.step()
        return accuracy(net, xt, yt) if is_classes else r2(net, xt, yt)

    HEALTHY[name] = Loop(name, run, (), "")


def noise(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return tensors((rng.normal(size=(600, 6)), rng.normal(size=(600, 1))), seed)


plain("adam", lambda: partial(Adam, lr=0.01))
plain("sgd_01", lambda: partial(SGD, lr=0.1))
plain("sgd_05", lambda: partial(SGD, lr=0.5))
plain("sgd_momentum", lambda: partial(SGD, lr=0.05, momentum=0.9))
plain("adam_01", lambda: partial(Adam, lr=0.1))
plain("rmsprop", lambda: partial(torch.optim.RMSprop, lr=1e-3))
plain("regression", lambda: partial(Adam, lr=0.01), data=regression)
plain("noise", lambda: partial(Adam, lr=0.01), data=noise)
plain("tiny_batches", lambda: partial(Adam, lr=1e-3), size=2)
plain("batch_of_one", lambda: partial(SGD, lr=0.01), size=1)
plain("norm", lambda: partial(Adam, lr=0.01), norm=True)
plain("dropout", lambda: partial(Adam, lr=0.01), drop=0.5)
