"""Sixteen networks of width 128: a pack on one thread and on all, and one after the other in PyTorch.

python -m benchmarks.pack [--rounds N] [--quick] [--out FILE]

Times are of whole runs, from networks and rows to trained networks, setting up included.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.peers import Case
from benchmarks.report import Report, alternate, parser_of, ratio, spread
from multilayer.machine import n_cores
from multilayer.training.loop import train_pack

CASE = Case(256, 64, 128, 2, 10, batch_norm=True)
STEPS = 32  # an epoch
PACK, EAGER, FUSED = "pack", "torch eager", "torch eager, fused Adam"


def run_pack(members: int, epochs: int, n_threads: int) -> None:
    """Ours."""
    x, y = CASE.rows(STEPS)
    nets = [CASE.network() for _ in range(members)]
    train_pack(
        nets,
        x,
        y,
        loss=nn.CrossEntropyLoss(),
        epochs=epochs,
        batch_size=CASE.batch,
        engine="kernels",
        n_threads=n_threads,
    )


def run_eager(members: int, epochs: int, fused: bool) -> None:
    """One network after the other, by the loop that everyone writes."""
    x, y = CASE.rows(STEPS)
    loss = nn.CrossEntropyLoss()
    for _ in range(members):
        net = CASE.network()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(CASE.batch):
                optimizer.zero_grad()
                loss(net(x[rows]), y[rows]).backward()
                optimizer.step()


def measure(members: int, epochs: int, rounds: int) -> dict[str, Any]:
    """Everyone in turn."""
    runs: dict[str, Callable[[], None]] = {}
    may_use: dict[str, int] = {}
    for threads in sorted({1, 2, n_cores()}):
        name = f"{PACK}, {_threads(threads)}"
        runs[name] = partial(run_pack, members, epochs, threads)
        may_use[name] = 1  # to the libraries; the pack's own threads are its setting
    for threads in sorted({1, n_cores()}):
        for kind in (EAGER, FUSED):
            name = f"{kind}, {_threads(threads)}"
            runs[name] = partial(run_eager, members, epochs, kind == FUSED)
            may_use[name] = threads
    run_pack(1, 1, 1)  # loads the kernels
    run_eager(1, 1, False)
    seconds = alternate(runs, rounds, may_use)
    one, two = seconds[f"{PACK}, 1 thread"], seconds[f"{PACK}, 2 threads"]
    best = seconds[f"{PACK}, {_threads(n_cores())}"]
    return {
        "case": str(CASE),
        "batch_norm": CASE.batch_norm,
        "members": members,
        "steps": epochs * STEPS,
        "rounds": rounds,
        "s": {name: spread(values) for name, values in seconds.items()},
        "one_over_two_threads": ratio(one, two),
        "over_pack": {name: ratio(values, best) for name, values in seconds.items()},
    }


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def as_rows(result: dict[str, Any]) -> list[list[str]]:
    """A line of the Markdown table for each contestant."""
    return [
        [name, *(f"{s[key]:.2f}" for key in ("median", "min", "max")), f"{result['over_pack'][name]:.2f}"]
        for name, s in result["s"].items()
    ]


def draw(figure: Any, results: list[dict[str, Any]]) -> None:
    """A bar each."""
    (result,) = results
    figure.set_size_inches(8, 3.5)
    axes = figure.subplots()
    names = list(result["s"])
    axes.barh(names, [result["s"][name]["median"] for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.set_title(f"{result['members']} networks, {result['case']}, {result['steps']} steps each")


def main() -> None:
    """Measure, keep, show."""
    parser = parser_of(__doc__, "pack", rounds=7, quick="four members, one epoch")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    members, epochs = (4, 1) if options.quick else (16, 4)
    notes = [f"{members} networks, {CASE} with BatchNorm, {epochs * STEPS} steps each."]
    report = Report(options.out, ["", "median s", "least", "most", "over the pack on all cores"], notes)
    result = measure(members, epochs, options.rounds)
    report.add(result, *as_rows(result))
    report.plot(draw)
    print(f"One thread over two: {result['one_over_two_threads']:.2f}.")


if __name__ == "__main__":
    main()
