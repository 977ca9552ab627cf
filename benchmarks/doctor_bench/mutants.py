"""Mutants: seeded faults in healthy programs, to set thresholds on. None is a program of P, R or S."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

import benchmarks.doctor_bench.healthy  # noqa: F401  registers them
from benchmarks.doctor_bench.program import CASES, Program

BASES = (
    "logits_ce",
    "logits_bce",
    "sigmoid_bce",
    "regression",
    "sgd_01",
    "tanh",
    "digits",
    "deep",
    "wine",
    "two_logits_ce",
)


@dataclass(frozen=True)
class Mutation:
    """An operator: which faults it plants, and which programs it can be used on."""

    change: Callable[[Program], Program]
    faults: tuple[str, ...]
    fits: Callable[[Program], bool] = lambda program: True


def rated(factor: float) -> Callable[[Program], Program]:
    def change(program: Program) -> Program:
        for group in program.optimizer.param_groups:
            group["lr"] *= factor
        return program

    return change


def append(module: Callable[[], nn.Module]) -> Callable[[Program], Program]:
    def change(program: Program) -> Program:
        program.net.append(module())  # type: ignore[operator]
        return program

    return change


def scaled(by: float, shift: float = 0.0) -> Callable[[Program], Program]:
    def change(program: Program) -> Program:
        net = program.net
        test = program.test[0] * by + shift, program.test[1]
        return replace(program, x=program.x * by + shift, net=net, test=test)

    return change


def drawn(size: float) -> Callable[[Program], Program]:
    def change(program: Program) -> Program:
        with torch.no_grad():
            for layer in program.net.modules():
                if isinstance(layer, nn.Linear):
                    layer.weight *= size
        return program

    return change


def straightened(program: Program) -> Program:
    for name, module in list(program.net.named_children()):
        if isinstance(module, nn.ReLU | nn.Tanh | nn.GELU):
            setattr(program.net, name, nn.Identity())
    return program


def settings(**values: Any) -> Callable[[Program], Program]:
    return lambda program: replace(program, **values)


def is_ce(program: Program) -> bool:
    return isinstance(program.loss, nn.CrossEntropyLoss)


def is_mse(program: Program) -> bool:
    return isinstance(program.loss, nn.MSELoss)


def is_bcel(program: Program) -> bool:
    return isinstance(program.loss, nn.BCEWithLogitsLoss)


MUTATIONS: dict[str, Mutation] = {
    "rate times 100": Mutation(rated(100), ("T1",)),
    "rate over 100": Mutation(rated(0.01), ("T1",)),
    "rate over 10000": Mutation(rated(1e-4), ("T1",)),
    "one epoch": Mutation(settings(epochs=1), ("T1",)),
    "one step": Mutation(settings(epochs=1, batch_size=None), ("T1",)),
    "softmax before cross-entropy": Mutation(append(lambda: nn.Softmax(1)), ("O10",), is_ce),
    "sigmoid before cross-entropy": Mutation(append(nn.Sigmoid), ("O4",), is_ce),
    "relu before cross-entropy": Mutation(append(nn.ReLU), ("O5",), is_ce),
    "sigmoid before logits": Mutation(append(nn.Sigmoid), ("O10",), is_bcel),
    "relu before logits": Mutation(append(nn.ReLU), ("O5",), is_bcel),
    "softmax on one number": Mutation(append(lambda: nn.Softmax(1)), ("O1", "O2"), is_mse),
    "sigmoid on numbers": Mutation(append(nn.Sigmoid), ("O3",), is_mse),
    "relu on numbers": Mutation(append(nn.ReLU), ("O3",), is_mse),
    "inputs times 1000": Mutation(scaled(1000.0, 300.0), ("D1",)),
    "inputs over 1000": Mutation(scaled(0.001), ("D1",)),
    "weights times 30": Mutation(drawn(30.0), ("A4",)),
    "no activation": Mutation(straightened, ("A1",)),
    "flat target": Mutation(lambda program: replace(program, y=program.y.reshape(-1)), ("O11",), is_mse),  # type: ignore[union-attr]
}


def mutants() -> list[tuple[str, str, Mutation]]:
    """Pairs of a healthy program and a mutation that it can have."""
    found = []
    for base in BASES:
        program = CASES["H"][base].build(0, set())
        found += [(base, name, mutation) for name, mutation in MUTATIONS.items() if mutation.fits(program)]
    return found
