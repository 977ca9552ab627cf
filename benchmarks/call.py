"""Time of a whole call of `train`: 400 steps at the size of docs/note.md, against the loop that everyone
writes.

python -m benchmarks.call [--rounds N] [--quick] [--out FILE]

Contestants take turns within one process, on one thread; figures are medians over the rounds, in
milliseconds, and ratios are medians of the ratios within a round. The kernels are loaded. What the steps
alone take is told apart,
so that the rest is the fixed cost of a call, and of its epochs: 1, 10 or 100 of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import multilayer as ml
from benchmarks import peers
from benchmarks.peers import Case
from benchmarks.report import Report, alternate, parser_of, ratio, spread
from multilayer.training.pack import Progress

NOTE = Case(100, 5, 2, 1, 2, batch_norm=True, head=False)
STEPS = 400
EPOCHS = (1, 10, 100)
STEPS_ALONE, OURS, WATCHED = "the steps alone", "ours", "ours, with a callback"
EAGER, FUSED = "torch eager", "torch eager, fused Adam"
COLUMNS = ("epochs", STEPS_ALONE, OURS, WATCHED, EAGER, FUSED, "eager / ours", "eager / with a callback")


def made(**options: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network and its optimiser, which train on from turn to turn."""
    net = NOTE.network()
    return net, torch.optim.Adam(net.parameters(), lr=1e-3, **options)


def by_hand(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, epochs: int) -> None:
    """The loop that everyone writes."""
    loss = nn.CrossEntropyLoss()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), NOTE.batch):
            rows = order[start : start + NOTE.batch]
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()


def look(progress: Progress) -> None:
    """A callback that does nothing, and may have done anything."""


def by_train(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    epochs: int,
    callbacks: tuple[Callable[[Progress], None], ...],
) -> None:
    """The same, by a call of ours."""
    ml.train(
        net,
        x,
        y,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        epochs=epochs,
        batch_size=NOTE.batch,
        engine="kernels",
        callbacks=callbacks,
    )


def measure(epochs: int, rounds: int) -> dict[str, Any]:
    """All contestants on so many epochs."""
    x, y = NOTE.rows(STEPS // epochs)
    turns: dict[str, Callable[[], None]] = {
        STEPS_ALONE: partial(peers.kernels(NOTE), STEPS),
        OURS: partial(by_train, *made(), x, y, epochs, ()),
        WATCHED: partial(by_train, *made(), x, y, epochs, (look,)),
        EAGER: partial(by_hand, *made(), x, y, epochs),
        FUSED: partial(by_hand, *made(fused=True), x, y, epochs),
    }
    for turn in turns.values():
        turn()
    seconds = alternate(turns, rounds, dict.fromkeys(turns, 1))
    fastest = min((EAGER, FUSED), key=lambda name: spread(seconds[name])["median"])
    return {
        "epochs": epochs,
        "rounds": rounds,
        "ms": {name: spread(values, 1e3) for name, values in seconds.items()},
        "fastest_eager": fastest,
        "eager_over_ours": ratio(seconds[fastest], seconds[OURS]),
        "eager_over_watched": ratio(seconds[fastest], seconds[WATCHED]),
    }


def as_row(result: dict[str, Any]) -> list[str]:
    """Its line of the Markdown table."""
    times = (f"{result['ms'][name]['median']:.1f}" for name in (STEPS_ALONE, OURS, WATCHED, EAGER, FUSED))
    ratios = (f"{result[name]:.1f}" for name in ("eager_over_ours", "eager_over_watched"))
    return [str(result["epochs"]), *times, *ratios]


def main() -> None:
    """Measure, keep, show."""
    options = parser_of(__doc__, "call", rounds=15, quick="10 epochs alone").parse_args()
    torch.set_flush_denormal(True)
    report = Report(options.out, COLUMNS, [f"Milliseconds a call of {STEPS} steps, {NOTE}, one thread."])
    for epochs in EPOCHS[1:2] if options.quick else EPOCHS:
        report.add(result := measure(epochs, options.rounds), as_row(result))


if __name__ == "__main__":
    main()
