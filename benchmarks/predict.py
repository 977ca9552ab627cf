"""Prediction of a 64-128-128-1 network: one row, and 100,000 rows.

python -m benchmarks.predict [--rounds N] [--quick] [--out FILE]
"""

import math
import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.report import Report, alternate, parser_of, ratio, spread, timed
from multilayer.machine import n_cores
from multilayer.training.kernels.engine import KernelEngine
from multilayer.training.losses import Loss

SIZES = (64, 128, 128, 1)
CHUNK = 1024  # rows at once, of the products alone
TURN_S = 0.04
OURS, GEMM = "ours", "matrix products alone"


def network() -> nn.Sequential:
    """Two hidden layers with ReLU and BatchNorm1d."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for d_in, d_out in pairwise(SIZES[:-1]):
        layers += [nn.Linear(d_in, d_out), nn.ReLU(), nn.BatchNorm1d(d_out)]
    return nn.Sequential(*layers, nn.Linear(SIZES[-2], SIZES[-1]))


def engine(net: nn.Module) -> KernelEngine:
    """Over rows that nobody trains on."""
    x, y = np.zeros((2, SIZES[0]), np.float32), np.zeros((2, SIZES[-1]), np.float32)
    return KernelEngine(
        net,
        x,
        y,
        None,
        loss=Loss(nn.MSELoss(), True),
        optimizer=torch.optim.Adam(net.parameters()),
        clip_norm=None,
        accumulate=1,
        seed=0,
    )


def products(x: Tensor) -> Callable[[], None]:
    """Makes what does the matrix products of a prediction and nothing else."""
    weights = [torch.ones(d_out, d_in) for d_in, d_out in pairwise(SIZES)]
    outs = [torch.empty(min(len(x), CHUNK), weight.shape[0]) for weight in weights]

    def run() -> None:
        for start in range(0, len(x), CHUNK):
            h = x[start : start + CHUNK]
            for weight, out in zip(weights, outs, strict=True):
                h = torch.mm(h, weight.T, out=out[: len(h)])

    return run


def contestants(n_rows: int) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """What predicts so many rows once, and the threads of each."""
    x = torch.randn(n_rows, SIZES[0], generator=torch.Generator().manual_seed(0))
    net = network().eval()
    kernels, rows = engine(network()), x.numpy()

    def eager() -> Tensor:
        with torch.inference_mode():
            return net(x)

    np.testing.assert_allclose(kernels.predict(rows), eager().numpy(), rtol=1e-3, atol=1e-5)
    once: dict[str, Callable[[], object]] = {GEMM: products(x), OURS: lambda: kernels.predict(rows)}
    may_use = {GEMM: 1, OURS: 1}
    for threads in sorted({1, n_cores()}):
        name = f"torch eager, {threads} thread{'s' * (threads > 1)}"
        once[name], may_use[name] = eager, threads
    return once, may_use


def measure(n_rows: int, rounds: int) -> dict[str, Any]:
    """Everyone in turn."""
    once, may_use = contestants(n_rows)
    turns, times = {}, {}
    for name, run in once.items():
        one_s = min(timed(run, may_use[name]) for _ in range(3))
        times[name] = max(1, math.ceil(TURN_S / one_s))
        turns[name] = partial(_repeat, run, times[name])
    seconds = alternate(turns, rounds, may_use)
    us = {name: [s / times[name] * 1e6 for s in values] for name, values in seconds.items()}
    return {
        "rows": n_rows,
        "network": "-".join(map(str, SIZES)),
        "rounds": rounds,
        "us": {name: spread(values) for name, values in us.items()},
        "over_ours": {name: ratio(values, us[OURS]) for name, values in us.items()},
        "our_peak_mb": _peak_mb(once[OURS]),
    }


def _repeat(run: Callable[[], object], times: int) -> None:
    for _ in range(times):
        run()


def _peak_mb(run: Callable[[], object]) -> float:
    """Memory that a call takes at most, its result included, as NumPy tells it."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def as_rows(result: dict[str, Any]) -> list[list[str]]:
    """A line of the Markdown table for each contestant."""
    return [
        [
            f"{result['rows']:,} x {name}",
            *(f"{us[key]:,.0f}" for key in ("median", "min", "max")),
            f"{result['over_ours'][name]:.2f}",
            f"{result['our_peak_mb']:.1f}" if name == OURS else "",
        ]
        for name, us in result["us"].items()
    ]


def draw(figure: Any, results: list[dict[str, Any]]) -> None:
    """A panel for each number of rows."""
    figure.set_size_inches(9, 3)
    for axes, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        names = list(result["us"])
        axes.barh(names, [result["us"][name]["median"] for name in names])
        axes.invert_yaxis()
        axes.set_xlabel("microseconds")
        axes.set_title(f"{result['rows']:,} row{'s' * (result['rows'] > 1)}")


def main() -> None:
    """Measure, keep, show."""
    parser = parser_of(__doc__, "predict", rounds=11, quick="10,000 rows instead of 100,000")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    columns = ["rows x contestant", "median us", "least", "most", "over ours", "peak MB"]
    report = Report(options.out, columns, ["Microseconds a call."])
    for n_rows in (1, 10_000 if options.quick else 100_000):
        result = measure(n_rows, options.rounds)
        report.add(result, *as_rows(result))
    report.plot(draw)


if __name__ == "__main__":
    main()
