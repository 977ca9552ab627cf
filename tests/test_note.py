"""The deterministic facts of the note that docs/note.md follows; the page shows what its blocks print."""

import contextlib
import copy
import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import multilayer as ml
from multilayer.training.autograd import torch_threads
from multilayer.training.history import History

PAGE = Path(__file__).parents[1] / "docs" / "note.md"
AFTER_RELU = torch.tensor([[0.0, 0.3189], [0.0, 0.6577], [0.1315, 0.0]])
SEEDS = range(8)


def distance_from_one(out: Tensor) -> Tensor:
    return (1 - out).abs().mean()


def note_start(seed: int) -> tuple[nn.Sequential, Tensor]:
    """The network and the 100 rows that the ten iterations begin with."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 2), nn.ReLU(), nn.BatchNorm1d(2)), torch.randn(100, 5) + 1


def note_loop(net: nn.Module, x: Tensor, *, clear_each_step: bool = False) -> list[float]:
    """The loop by hand, on one thread as `train` is; the note calls zero_grad once, before it."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-1)
    optimizer.zero_grad()
    losses = []
    with torch_threads(1):
        for _ in range(10):
            if clear_each_step:
                optimizer.zero_grad()
            loss = distance_from_one(net(x))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def our_loop(net: nn.Module, x: Tensor, **settings: Any) -> History:
    adam = torch.optim.Adam(net.parameters(), lr=1e-1)
    return ml.train(net, x, loss=distance_from_one, optimizer=adam, epochs=10, **settings)


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_linear_is_a_x_plus_b() -> None:
    linear, x = nn.Linear(10, 2), torch.randn(3, 10)

    layer = ml.trace(linear, x)["Linear"]

    assert layer.shape == (3, 2)
    by_hand = torch.stack([linear.weight @ row + linear.bias for row in x])
    torch.testing.assert_close(layer.output, by_hand.detach())


def test_relu_makes_negatives_zero_and_keeps_the_rest() -> None:
    x = torch.tensor([[-0.1, 0.3189], [-2.0, 0.6577], [0.1315, -0.0001]])

    assert torch.equal(ml.trace(nn.ReLU(), x).output, AFTER_RELU)


def test_batchnorm_gives_the_pair_of_the_note() -> None:
    printed = torch.tensor([[-0.7062, -0.0247], [-0.7062, 1.2368], [1.4124, -1.2121]])
    norm = ml.block(5, 2)[2]

    assert torch.equal(norm(AFTER_RELU).round(decimals=4), printed)


def test_the_pair_needs_eps_and_the_biased_variance() -> None:
    deviation, printed = AFTER_RELU - AFTER_RELU.mean(0), [[-0.7062], [-0.7062], [1.4124]]

    def first_unit(eps: float, correction: int) -> list[list[float]]:
        y = deviation / (AFTER_RELU.var(0, correction=correction) + eps).sqrt()
        return [[round(value, 4)] for value in y[:, 0].tolist()]

    assert first_unit(eps=1e-5, correction=0) == printed
    assert first_unit(eps=0.0, correction=0) != printed
    assert first_unit(eps=1e-5, correction=1) != printed


def test_block_is_the_sequential_of_the_note() -> None:
    net, x = note_start(0)
    ours = ml.block(5, 2)
    ours.load_state_dict(net.state_dict())

    assert str(ours) == str(net)
    assert torch.equal(ours(x[:5]), net(x[:5]))


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_that_relu_made_zero_share_one_value(seed: int) -> None:
    torch.manual_seed(seed)
    trace = ml.trace(ml.block(5, 2), torch.randn(5, 5))

    for zero, out in zip((trace["1"].output == 0).T, trace.output.T, strict=True):
        assert len(out[zero].unique()) <= 1
        assert bool((out[~zero] > out[zero].max()).all()) if zero.any() and not zero.all() else True


@pytest.mark.parametrize("n_rows", [3, 5, 10])
def test_a_unit_positive_in_one_row_gives_one_over_root_n_minus_one(n_rows: int) -> None:
    x = torch.zeros(n_rows, 1)
    x[-1] = 0.9

    out = nn.BatchNorm1d(1)(x).flatten()

    assert out[:-1].tolist() == pytest.approx([-1 / (n_rows - 1) ** 0.5] * (n_rows - 1), abs=1e-4)


def test_first_step_of_adam_is_the_learning_rate() -> None:
    net, x = note_start(0)
    bias = net[2].bias.detach().clone()

    ml.train(
        net, x, loss=lambda out: (1 - out).mean(), optimizer=torch.optim.Adam(net.parameters(), 1e-1), steps=1
    )

    assert (net[2].bias - bias).tolist() == pytest.approx([0.1, 0.1], abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_never_cleared_equal_the_loop_by_hand_bit_for_bit(seed: int) -> None:
    net, x = note_start(seed)
    ours = copy.deepcopy(net)

    losses = note_loop(net, x)
    history = our_loop(ours, x, accumulate="forever", shuffle=False)

    assert history.train_loss == history.step_loss == losses
    assert same_bits(ours, net)


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_cleared_each_step_give_another_curve(seed: int) -> None:
    net, x = note_start(seed)
    cleared, ours = copy.deepcopy(net), copy.deepcopy(net)

    never_cleared = note_loop(net, x)
    losses = note_loop(cleared, x, clear_each_step=True)
    history = our_loop(ours, x, shuffle=False)

    assert history.train_loss == losses
    assert same_bits(ours, cleared)
    assert losses[:2] == never_cleared[:2]
    assert losses[2:] != never_cleared[2:]


def test_row_order_of_a_full_batch_matters_only_by_rounding() -> None:
    net, x = note_start(0)
    shuffled = copy.deepcopy(net)

    in_order = our_loop(net, x, shuffle=False)

    assert our_loop(shuffled, x).train_loss == pytest.approx(in_order.train_loss, abs=1e-4)


def test_ten_iterations_bring_the_output_to_one() -> None:
    for seed in SEEDS:
        losses = note_loop(*note_start(seed))
        assert losses[-1] < 0.3 < 0.8 < losses[0]


PRINTING = re.compile(r"```python\n(?P<code>.*?)```\n(\n```text\n(?P<printed>.*?)```\n)?", re.S)
NUMBER = re.compile(r"-?\d+\.\d+")


def test_page_shows_what_its_blocks_print() -> None:
    """Words exactly; numbers nearly, as other processors round differently."""
    names: dict[str, Any] = {}
    for block in PRINTING.finditer(PAGE.read_text()):
        caught = io.StringIO()
        with contextlib.redirect_stdout(caught):
            exec(block["code"], names)
        shown, came = block["printed"] or "", caught.getvalue()
        assert NUMBER.sub("#", shown).split() == NUMBER.sub("#", came).split()
        numbers = [[float(number) for number in NUMBER.findall(text)] for text in (shown, came)]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.005)
