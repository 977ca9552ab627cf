"""Loops that are watched: what goes wrong is named, what is right is left alone."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import multilayer as ml
from multilayer.errors import ConfigError

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)
LOSS = nn.CrossEntropyLoss()
Step = Callable[[nn.Module, torch.optim.Optimizer, int], None]


def net(*more: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), *more, nn.Linear(16, 3))


def right(network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    optimizer.zero_grad()
    LOSS(network(X), Y).backward()
    optimizer.step()


def not_cleared(network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    LOSS(network(X), Y).backward()
    optimizer.step()


def cleared_early(network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    optimizer.zero_grad()
    LOSS(network(X), Y).backward()
    if step % 4 == 3:
        optimizer.step()


def step_first(network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    optimizer.zero_grad()
    loss = LOSS(network(X), Y)
    optimizer.step()
    loss.backward()


def no_step(network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    LOSS(network(X), Y).backward()


def not_restored(network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    right(network, optimizer, step)
    network.eval()


def accumulated(network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    (LOSS(network(X), Y) / 4).backward()
    if step % 4 == 3:
        optimizer.step()
        optimizer.zero_grad()


def evaluated(network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    network.train()
    right(network, optimizer, step)
    network.eval()
    with torch.no_grad():
        LOSS(network(X), Y)


def broadcast(network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    optimizer.zero_grad()
    (network(X)[:, :1] - X[:, 0]).square().mean().backward()
    optimizer.step()


def squashed(network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    optimizer.zero_grad()
    F.cross_entropy(network(X).softmax(1), Y).backward()
    optimizer.step()


def watched(step: Step, network: nn.Module, n: int = 20, loss: object = LOSS, **given: object) -> ml.watch:  # type: ignore[valid-type]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with ml.watch(network, optimizer, loss, **given) as watching:  # type: ignore[arg-type]
        for i in range(n):
            step(network, optimizer, i)
    return watching


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (not_cleared, "gradients-not-cleared"),
        (cleared_early, "gradients-cleared-early"),
        (step_first, "step-before-backward"),
        (no_step, "no-step"),
        (not_restored, "eval-not-restored"),
        (broadcast, "target-broadcast"),
        (squashed, "probabilities-into-logits"),
    ],
)
def test_a_wrong_loop_is_named(step: Step, code: str) -> None:
    assert watched(step, net(nn.Dropout(0.1))).findings[0].code == code


@pytest.mark.parametrize("step", [right, accumulated, evaluated])
def test_a_right_loop_is_left_alone(step: Step) -> None:
    assert watched(step, net(nn.BatchNorm1d(16), nn.Dropout(0.1)), n=120).findings.errors == []
    assert watched(step, net(), n=120).findings.codes == []


def test_watching_changes_no_number() -> None:
    alone, seen = net(nn.Dropout(0.2)), net(nn.Dropout(0.2))
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
    for i in range(150):
        right(alone, optimizer, i)
    torch.manual_seed(1)
    watched(right, seen, n=150)

    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), seen.parameters(), strict=True))
    assert not seen._forward_hooks and not seen[0]._forward_hooks and not LOSS._forward_hooks


def test_the_loop_of_the_note_is_named_and_mended() -> None:
    torch.manual_seed(0)
    start, x = ml.block(5, 2), torch.randn(100, 5) + 1

    def run(clears: bool, watching: Callable[..., object] | None) -> tuple[list[float], list[str]]:
        network = copy.deepcopy(start)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-1)
        optimizer.zero_grad()
        losses = []
        seen = None if watching is None else watching(network, optimizer).__enter__()  # type: ignore[attr-defined]
        for _ in range(10):
            if clears:
                optimizer.zero_grad()
            loss = (1 - network(x)).abs().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if seen is not None:
            seen.__exit__(None, None, None)
        return losses, [] if seen is None else seen.findings.codes

    by_hand, wrong = run(True, None)[0], run(False, None)[0]
    named, codes = run(False, ml.watch)
    mended, _ = run(False, lambda *given: ml.watch(*given, mend=True))

    assert codes == ["gradients-not-cleared", "relu-before-batchnorm"]
    assert named == wrong != by_hand
    assert mended == by_hand


def test_a_nan_is_traced_to_layer_step_and_row() -> None:
    class Logarithm(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.log()

    x = X.abs() + 1
    network = nn.Sequential(nn.Identity(), Logarithm(), nn.Linear(4, 3))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    with ml.watch(network, optimizer, LOSS) as watching:
        for step in range(100):
            batch = x.clone()
            if step == 80:
                batch[11, 2] = -1.0
            optimizer.zero_grad()
            LOSS(network(batch), Y).backward()
            optimizer.step()

    finding = watching.findings["became-not-finite"]
    assert (finding.layer, finding.evidence["step"], finding.evidence["row"]) == ("1", 81, 11)


def test_parameters_that_the_optimiser_lacks_are_named_and_given_to_it() -> None:
    network = net()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network[2] = nn.Linear(16, 3)
    before = network[2].weight.detach().clone()  # type: ignore[union-attr]

    with ml.watch(network, optimizer, LOSS, mend=True) as watching:
        right(network, optimizer, 0)

    assert watching.findings.codes == ["parameters-not-in-optimizer"]
    assert not torch.equal(before, network[2].weight)  # type: ignore[arg-type]


def test_what_cannot_be_watched_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"watch needs the torch.optim.Optimizer of the loop; got str"):
        ml.watch(net(), "adam")
