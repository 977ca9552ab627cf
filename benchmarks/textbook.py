"""The textbook algorithm of the estimators against scikit-learn's own: the same draws, the same steps.

    python -m benchmarks.textbook

Alternates the two in one process and prints the median of five fits of each, in seconds of processor time and
of the clock. The kernels are loaded before the first fit.
"""

import time
import warnings
from typing import Any

import numpy as np
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning

import multilayer
from multilayer.training.kernels.engine import warm_up

# rows, columns, hidden layers, epochs; at batches of 200 some 1,000 steps each
SIZES = [(5_000, 20, (100,), 40), (20_000, 50, (128, 128), 10)]
REPEATS = 5


def timed(estimator: Any, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Seconds of processor time and of the clock that a fit takes."""
    processor, clock = time.process_time(), time.perf_counter()
    estimator.fit(X, y)
    return time.process_time() - processor, time.perf_counter() - clock


def main() -> None:
    """Print a line for each size."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    warm_up()
    for n_rows, n_columns, hidden, epochs in SIZES:
        random = np.random.default_rng(0)
        X = random.normal(size=(n_rows, n_columns))
        y = (X[:, 0] + np.sin(X[:, 1]) + random.normal(size=n_rows) > 0).astype(int)
        settings = {"max_iter": epochs, "n_iter_no_change": np.inf, "random_state": 0}
        times: dict[str, list[tuple[float, float]]] = {"ours": [], "scikit-learn": []}
        fitted: dict[str, Any] = {}
        for _ in range(REPEATS):
            for name, package in (("ours", multilayer), ("scikit-learn", sklearn.neural_network)):
                fitted[name] = package.MLPClassifier(hidden, solver="adam", **settings)
                times[name].append(timed(fitted[name], X, y))
        medians = {name: np.median(values, axis=0) for name, values in times.items()}
        apart = np.abs(fitted["ours"].predict_proba(X) - fitted["scikit-learn"].predict_proba(X)).max()
        shown = ", ".join(f"{name} {cpu:.2f} s (clock {clock:.2f})" for name, (cpu, clock) in medians.items())
        print(f"{n_rows} x {n_columns}, {hidden}, {epochs} epochs: {shown}; largest difference {apart:.1e}")


if __name__ == "__main__":
    main()
