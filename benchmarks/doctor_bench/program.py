"""A training program of the bench: what it trains on what, how it is judged, and how it is run."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Build = Callable[..., "Program"]


@dataclass(frozen=True)
class Program:
    """One seed of a program.

    test:  inputs and targets that it is judged on, the targets as codes or numbers
    judge: "accuracy" or "r2"
    """

    net: nn.Module
    x: Tensor
    y: Tensor | None
    loss: Any
    optimizer: torch.optim.Optimizer
    epochs: int
    batch_size: int | None
    test: tuple[Tensor, Tensor]
    judge: str = "accuracy"

    def arguments(self) -> dict[str, Any]:
        names = ("net", "x", "y", "loss", "optimizer", "epochs", "batch_size")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Case:
    """A program with its fault.

    build:   (seed, repairs) -> Program; without repairs it is faulty, with all it is the fixed twin
    repairs: names of the repairs, each of which can be made alone
    faults:  classes of which any is a right answer, the main one first
    source:  the post or thread that the fault is from
    """

    name: str
    build: Build
    faults: tuple[str, ...]
    repairs: tuple[str, ...]
    source: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, dict[str, Case]] = {"P": {}, "R": {}, "H": {}}


def case(
    kind: str, faults: str = "", repairs: str = "", source: str = "", **extra: Any
) -> Callable[[Build], Build]:
    """Register a program in a set."""

    def register(build: Build) -> Build:
        name = build.__name__
        CASES[kind][name] = Case(name, build, tuple(faults.split()), tuple(repairs.split()), source, extra)
        return build

    return register


def made(
    seed: int,
    data: tuple[Any, Any],
    net: nn.Module,
    loss: Any,
    optimizer: Callable[[Any], torch.optim.Optimizer],
    *,
    epochs: int,
    batch: int | None,
    judge: str = "accuracy",
    code: Callable[[Tensor], Tensor] | None = None,
    held: float = 0.25,
) -> Program:
    """A program from arrays: some rows kept for judging, targets coded as the program codes them.

    The net is drawn anew from the seed, so that building it is free of the order of calls.
    """
    x = torch.as_tensor(np.asarray(data[0]), dtype=torch.float32)
    y = torch.as_tensor(np.asarray(data[1]))
    y = y.float() if y.is_floating_point() else y.long()
    rng = torch.Generator().manual_seed(1000 + seed)
    order = torch.randperm(len(x), generator=rng)
    n_test = int(len(x) * held)
    test, train = (order[:n_test], order[n_test:]) if n_test else (order, order)
    target = y[train] if code is None else code(y[train])
    return Program(
        net, x[train], target, loss, optimizer(net.parameters()), epochs, batch, (x[test], y[test]), judge
    )


def column(y: Tensor) -> Tensor:
    return y.float().reshape(-1, 1)


def one_hot(k: int) -> Callable[[Tensor], Tensor]:
    return lambda y: torch.eye(k)[y.long()]


def train(program: Any, seed: int, most_steps: int = 4000) -> None:
    """The textbook's loop, in place, on anything with the fields of a Program."""
    batch, n = min(program.batch_size or len(program.x), len(program.x)), len(program.x)
    rng = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    program.net.train(program.net.training)
    steps = 0
    for _ in range(program.epochs or 0):
        order = torch.randperm(n, generator=rng)
        for start in range(0, n, batch):
            rows = order[start : start + batch]
            if len(rows) < 2 and batch > 1 and start:
                continue
            program.optimizer.zero_grad()
            out = program.net(program.x[rows])
            loss = program.loss(out) if program.y is None else program.loss(out, program.y[rows])
            loss.backward()
            program.optimizer.step()
            steps += 1
            if steps >= most_steps:
                return


def score(program: Any, test: tuple[Tensor, Tensor], judge: str) -> float:
    """Accuracy, or R2 (not below -1), on rows kept aside."""
    x, y = test
    was = program.net.training
    program.net.eval()
    with torch.no_grad():
        out = program.net(x)
    program.net.train(was)
    if judge == "r2":
        target = y.float().reshape(len(y), -1)
        given = out.reshape(len(out), -1)
        if given.shape != target.shape:
            given = given[:, : target.shape[1]].expand_as(target)
        if not bool(torch.isfinite(given).all()):
            return -1.0
        rest = (given - target).square().sum() / (target - target.mean(0)).square().sum()
        return max(-1.0, 1 - float(rest))
    out = out.reshape(len(out), -1)
    if out.shape[1] == 1:
        middle = 0.0 if isinstance(program.loss, nn.BCEWithLogitsLoss) else 0.5
        predicted = (out[:, 0] > middle).long()
    else:
        predicted = out.argmax(1)
    return float((predicted == y.reshape(-1).long()).float().mean())


def baseline(program: Program) -> float:
    """The score of the best constant."""
    if program.judge == "r2":
        return 0.0
    _, counts = program.test[1].reshape(-1).unique(return_counts=True)
    return float(counts.max() / counts.sum())


def result(program: Any, test: tuple[Tensor, Tensor], judge: str, seed: int) -> float:
    """Train and judge; a program that cannot run, or ends without numbers, is worth nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            train(program, seed)
            value = score(program, test, judge)
        except (RuntimeError, ValueError, IndexError, TypeError):
            return -math.inf
    return value if math.isfinite(value) else -math.inf


def with_epochs(program: Program, epochs: int) -> Program:
    return replace(program, epochs=epochs)
