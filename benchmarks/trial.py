"""One contestant on one table, in a process of its own: python -m benchmarks.trial SETTINGS

SETTINGS is a `Trial` as JSON. The last line of the output is the result as JSON. Importing comes before the
clock starts; what else a first call does, such as loading compiled kernels, is timed. Preparing features for
those who do not take raw tables is timed apart and is in nobody's fit or predict time.
"""

import gc
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import psutil
from numpy.typing import NDArray

from benchmarks.contestants import CONTESTANTS, Fitted, Part, Problem
from benchmarks.preparation import Preparation
from benchmarks.suite import Entry, read_suite

T = TypeVar("T")
Learn = Callable[[pd.DataFrame], Preparation]
LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB")
METRICS = {"binary": ("roc_auc", "log_loss", "accuracy"), "multiclass": ("log_loss", "accuracy")}


@dataclass(frozen=True)
class Trial:
    """folder: of the suite; table, contestant: names; seed: of split and fit; threads: to fit and predict."""

    folder: str
    table: str
    contestant: str
    seed: int
    threads: int

    def environment(self) -> dict[str, str]:
        """For its process: libraries read their number of threads when they are imported."""
        return {**os.environ, **{f"{name}_NUM_THREADS": str(self.threads) for name in LIBRARIES}}

    def as_json(self) -> str:
        """What its process takes as argument."""
        return json.dumps(asdict(self))


def split(entry: Entry, seed: int) -> tuple[Entry, list[pd.DataFrame]]:
    """64 % to fit on, 16 % to validate on, 20 % to test on; by class where there are classes. Of a draw of
    rows 80 % and 20 % to fit and validate on, others to test on.

    A target that is scored on log1p becomes log1p(target), for everyone; it is then scored as it stands.
    """
    table = entry.read()
    if entry.log_target:
        table[entry.target] = np.log1p(table[entry.target])
        entry = replace(entry, log_target=False)
    rest, test = entry.held_out(table, seed)
    return entry, [*entry.split(rest, seed), test]


class Features:
    """Parts of a table as a contestant gets them, learnt from the rows that it is fitted on."""

    def __init__(self, entry: Entry, table: pd.DataFrame, learn: Learn | None) -> None:
        self.entry = entry
        self.classes: tuple[str, ...] | None = None
        if entry.task != "regression":
            self.classes = tuple(sorted(table[entry.target].astype(str).unique()))
        self.prepare = None if learn is None else learn(self._bare(table))

    def part(self, table: pd.DataFrame) -> Part:
        """Rows to fit on."""
        y = table[self.entry.target]
        if self.classes is None:
            values = y.to_numpy(float)
        else:
            values = pd.Categorical(y.astype(str), categories=self.classes).codes.astype(np.int64)
        return Part(table if self.prepare is None else self.prepare(table), values)

    def x(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows to predict, without the target."""
        if self.prepare is None:
            return table.drop(columns=self.entry.target)
        return self.prepare(table)

    def _bare(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.drop(columns=[self.entry.target, *self.entry.drop])


def run(trial: Trial) -> dict[str, Any]:
    """Fit, predict, score."""
    _use_cores(trial.threads)
    (entry,) = read_suite(Path(trial.folder), [trial.table])
    entry, (train, valid, test) = split(entry, trial.seed)
    contestant = CONTESTANTS[trial.contestant]
    to_fit = [pd.concat([train, valid]), valid.iloc[:0]] if contestant.both else [train, valid]
    features, learn_s = timed(lambda: Features(entry, to_fit[0], contestant.prepare))
    parts, parts_s = timed(lambda: [features.part(table) for table in to_fit])
    x_test, x_s = timed(lambda: features.x(test))
    classes = features.classes
    fit = contestant.load(Problem(entry.target, entry.drop, classes, trial.threads, trial.seed))
    before_mb = _restart_peak()
    model, fit_s = timed(lambda: fit(*parts))
    predicted, predict_s = timed(lambda: predict(model, x_test, classes))
    peak_mb = max(before_mb, _memory_mb("VmHWM"))  # the system counts the two at different moments
    result = {
        "metric": entry.metric,
        **scores(entry, test[entry.target], predicted, classes),
        "rows": [len(train), len(valid), len(test)],
        "prepare_s": learn_s + parts_s + x_s,
        "fit_s": fit_s,
        "predict_s": predict_s,
        "before_mb": before_mb,
        "peak_mb": peak_mb,
    }
    if not contestant.both:  # rows that it was not fitted on, though it may have chosen by them
        on_valid = predict(model, features.x(valid), classes)
        result["validation"] = scores(entry, valid[entry.target], on_valid, classes)
    return result


def predict(model: Fitted, x: pd.DataFrame, classes: tuple[str, ...] | None) -> NDArray[Any]:
    """Expected values, or probabilities in float64 whose rows sum to one."""
    if classes is None:
        return np.asarray(model.predict(x), float)
    probs = np.asarray(model.predict_proba(x), float)
    return probs / probs.sum(axis=1, keepdims=True)


def scores(
    entry: Entry, y: pd.Series, predicted: NDArray[Any], classes: tuple[str, ...] | None
) -> dict[str, float]:
    """The suite's metric as "score", and what else can be said."""
    labels, probs = predicted, None
    if classes is not None:
        labels = np.array(classes)[predicted.argmax(axis=1)]
        probs = pd.DataFrame(predicted, columns=list(classes))
    found = {
        metric: replace(entry, metric=metric).score(y, labels, probs)
        for metric in METRICS.get(entry.task, ("rmse",))
    }
    return {"score": found[entry.metric], **found}


def timed(run: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and seconds."""
    started = time.perf_counter()
    result = run()
    return result, time.perf_counter() - started


def _use_cores(n: int) -> None:
    """No more cores than threads, the idlest: those who count cores by themselves keep to it, too."""
    if hasattr(os, "sched_setaffinity") and n < len(allowed := os.sched_getaffinity(0)):
        busy = psutil.cpu_percent(interval=0.3, percpu=True)
        os.sched_setaffinity(0, sorted(allowed, key=busy.__getitem__)[:n])


def _restart_peak() -> float:
    """Forget the peak of reading and preparing, where the system can; MB in use now."""
    gc.collect()
    with suppress(OSError):  # the peak is then that of the whole process
        Path("/proc/self/clear_refs").write_text("5")
    return _memory_mb("VmRSS")


def _memory_mb(field: str) -> float:
    """VmRSS or VmHWM of Linux; elsewhere the peak. Linux hands `ru_maxrss` down from the parent process."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(rf"{field}:\s+(\d+) kB", status.read_text())
        assert found is not None
        return int(found[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    print(json.dumps(run(Trial(**json.loads(sys.argv[1])))))
