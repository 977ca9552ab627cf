"""The three matrix products of a Linear: ours, and those of the libraries that PyTorch and NumPy bring along.

python -m benchmarks.matmul [--rounds N] [--quick] [--out FILE]

One thread, matrices in the cache. Floating-point operations a second, 10^9, medians over the rounds.
"""

import ctypes
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Report, alternate, parser_of, ratio, spread, timed
from multilayer.training.kernels import loop as k
from multilayer.training.kernels.blas import blas, library
from multilayer.training.kernels.matmul import tiles

SIZES = (  # batch, d_in, d_out
    *((512, 59, 96), (512, 96, 64), (128, 80, 64), (512, 112, 64), (256, 96, 96)),  # of the default on tables
    *((64, 64, 64), (256, 128, 128), (256, 256, 256), (256, 512, 512), (256, 1024, 1024)),
)
TURN_S = 0.02
OURS, LIBRARY, NUMPY = "ours", f"{library().name}'s library", "NumPy's library"
Matrix = NDArray[np.float32]


def by_address(product: Callable[..., None], left: Matrix, right: Matrix, out: Matrix) -> Callable[[], None]:
    """What calls a product as the kernels do."""
    whole, pointer = ctypes.c_int64, ctypes.c_void_p
    signature = ctypes.CFUNCTYPE(None, *[whole] * 3, *[pointer, whole, whole] * 2, pointer, whole)
    matrices = left, right, out
    steps = [[stride // x.itemsize for stride in x.strides] for x in matrices]
    places = [x.ctypes.data for x in matrices]
    arguments = (
        *(len(left), right.shape[1], len(right)),
        *(places[0], *steps[0], places[1], *steps[1]),
        *(places[2], steps[2][0]),
    )
    return partial(_call, signature(k.product_address(product)), arguments, matrices)


def _call(function: Callable[..., None], arguments: tuple[int, ...], matrices: tuple[Matrix, ...]) -> None:
    """matrices: kept for as long as they can be called for."""
    function(*arguments)


def products(batch: int, d_in: int, d_out: int) -> dict[str, tuple[Matrix, Matrix, Matrix]]:
    """Left, right and place of the result: of the outputs, and of the gradients of weights and inputs."""
    rng = np.random.default_rng(0)
    x, weight, y = (
        rng.normal(size=shape).astype(np.float32) for shape in ((batch, d_in), (d_out, d_in), (batch, d_out))
    )
    return {
        "outputs": (x, weight.T, np.empty_like(y)),
        "weights": (y.T, x, np.empty_like(weight)),
        "inputs": (y, weight, np.empty_like(x)),
    }


def measure(size: tuple[int, int, int], rounds: int) -> dict[str, Any]:
    """Everyone in turn, on all three products."""
    made = products(*size).values()
    runs = {
        OURS: [by_address(tiles, *matrices) for matrices in made],
        LIBRARY: [by_address(blas, *matrices) for matrices in made],
        NUMPY: [partial(np.matmul, left, right, out=out) for left, right, out in made],
    }
    turns, times = {}, {}
    for name, calls in runs.items():
        one_s = min(timed(partial(_repeat, calls, 1), 1) for _ in range(5))
        times[name] = max(1, math.ceil(TURN_S / one_s))
        turns[name] = partial(_repeat, calls, times[name])
    seconds = alternate(turns, rounds, dict.fromkeys(turns, 1))
    each = {name: [s / times[name] for s in values] for name, values in seconds.items()}
    operations = 6 * math.prod(size) / 1e9
    return {
        "size": size,
        "rounds": rounds,
        "gflops": {name: spread([operations / s for s in values]) for name, values in each.items()},
        "over_ours": {name: ratio(values, each[OURS]) for name, values in each.items()},
    }


def _repeat(calls: list[Callable[[], object]], times: int) -> None:
    for _ in range(times):
        for call in calls:
            call()


def as_row(result: dict[str, Any]) -> list[str]:
    """Its line of the Markdown table."""
    speeds = (f"{result['gflops'][name]['median']:.0f}" for name in (OURS, LIBRARY, NUMPY))
    ratios = (f"{result['over_ours'][name]:.2f}" for name in (LIBRARY, NUMPY))
    return [" x ".join(map(str, result["size"])), *speeds, *ratios]


def main() -> None:
    """Measure, keep, show."""
    parser = parser_of(__doc__, "matmul", rounds=21, quick="three sizes")
    options = parser.parse_args()
    columns = ["batch x inputs x outputs", OURS, LIBRARY, NUMPY, f"{LIBRARY}: time", f"{NUMPY}: time"]
    notes = ["10^9 operations a second, all three products together; times over ours. One thread."]
    report = Report(options.out, columns, notes)
    for size in SIZES[:3] if options.quick else SIZES:
        report.add(result := measure(size, options.rounds), as_row(result))


if __name__ == "__main__":
    main()
