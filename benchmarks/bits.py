"""Whether results stay the same to the bit: a digest of each model, to compare two states of the project.

    python -m benchmarks.bits > before.txt      # at one commit
    python -m benchmarks.bits > after.txt       # at another, on the same machine
    diff before.txt after.txt

Each line is a name and the start of a SHA-256 of all weights and of predictions; for a model of a table then
that of the words in its file, times left out. Tables are drawn here from fixed seeds. Processors of other
kinds round differently.
"""

import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch import nn

import multilayer as ml

N_ROWS = 600
TIMES = ("times", "epoch_time_s")  # keys of a model's text that hold what the clock said


def frame(n_rows: int = N_ROWS, seed: int = 0) -> pd.DataFrame:
    """A table with a column of each kind, and missing values."""
    rng = np.random.default_rng(seed)
    number = rng.normal(size=n_rows)
    city = rng.choice(["Rome", "Oslo", "Lima", "Cairo", "Quito"], n_rows)
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, n_rows), unit="D")
    table = pd.DataFrame(
        {
            "number": np.where(rng.random(n_rows) < 0.05, np.nan, number),
            "count": rng.poisson(3, n_rows),
            "skewed": np.exp(2 * rng.normal(size=n_rows)),
            "flag": rng.random(n_rows) < 0.3,
            "city": pd.Series(city).mask(rng.random(n_rows) < 0.05),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n_rows), ["S", "M", "L"], ordered=True),
            "day": day,
            "wait": pd.to_timedelta(rng.integers(1, 5000, n_rows), unit="s"),
            "clock": [f"{h:02d}:{m:02d}" for h, m in rng.integers(0, [24, 60], (n_rows, 2))],
            "words": [" ".join(rng.choice(WORDS, 6)) for _ in range(n_rows)],
            "weight": rng.uniform(0.5, 2.0, n_rows),
        }
    )
    signal = number + (city == "Rome") - 0.3 * table["count"] + 0.2 * rng.normal(size=n_rows)
    table["price"] = 10 + 3 * signal
    table["amount"] = np.exp(signal / 2)
    table["bought"] = np.where(signal > -0.5, "yes", "no")
    table["class"] = np.select([signal < -1.5, signal < 0], ["low", "mid"], "high")
    return table


WORDS = "blue red old new large small house garden street river quiet sunny far near good fair".split()  # noqa: SIM905
TARGETS = ("price", "amount", "bought", "class")


def model_digest(model: Any, table: Any, folder: Path) -> str:
    """Of the arrays of the model's file and its predictions; then of the file's text without times."""
    path = folder / "model.mlp"
    model.save(path)
    data = path.read_bytes()
    n_header = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n_header])
    meta = header.pop("__metadata__", {})
    numbers, text = hashlib.sha256(), hashlib.sha256()
    for name in sorted(meta):
        text.update(json.dumps(without_times(json.loads(meta[name])), sort_keys=True).encode())
    for name in sorted(header):
        if name != "sha256" and not name.endswith(TIMES):  # the checksum covers the times
            start, end = header[name]["data_offsets"]
            numbers.update(f"{name} {header[name]['dtype']} {header[name]['shape']}".encode())
            numbers.update(data[8 + n_header + start : 8 + n_header + end])
    prediction = np.asarray(model.predict(table))
    numbers.update((prediction.astype(str) if prediction.dtype == object else prediction).tobytes())
    return f"{numbers.hexdigest()[:16]} {text.hexdigest()[:8]}"


def without_times(value: Any) -> Any:
    """The same JSON without what the clock said, also in sentences."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [
            without_times(item) for item in value if not (isinstance(item, str) and item.startswith("time"))
        ]
    return value


def fits() -> Iterator[tuple[str, Callable[[Path], str]]]:
    """A name, and what gives the digest, for each of the fits."""
    table = frame()

    def of(target: Any, columns: pd.DataFrame = table, **settings: Any) -> Callable[[Path], str]:
        kept = [name for name in columns if name not in TARGETS or name in np.atleast_1d(target)]
        kept = [name for name in kept if name != "weight" or settings.get("sample_weight") == "weight"]
        settings = {"epochs": 3, "seed": 1} | settings
        return lambda folder: model_digest(
            ml.fit(columns[kept], target=target, **settings), columns[kept].head(100), folder
        )

    yield "regression", of("price")
    yield "binary", of("bought")
    yield "multiclass", of("class")
    yield "several numbers", of(["price", "amount"])
    yield "several, mixed", of(["bought", "flag"])
    yield "quantiles", of("price", quantiles=(0.1, 0.5, 0.9))
    for objective in ("absolute_error", "huber", "poisson", "gamma", "tweedie", "log"):
        yield objective, of("amount", objective=objective)
    yield "exposure", of("count", objective="poisson", exposure="skewed", members=2)
    yield "monotone", of("price", monotone={"number": "increasing", "count": -1})
    yield "weighted", of("bought", sample_weight="weight", class_weight="balanced", threshold="f1")
    yield "groups", of("class", groups="count", members=2)
    yield "by time", of("price", time="day", members=2)
    yield "validation share", of("price", validation=0.2, members=2, quality="fast")
    yield "few rows", of("bought", table.head(60))
    yield "noisy", of("flag", epochs=8)
    for network in ("mlp", "resnet", "realmlp", "tabm"):
        for target in ("price", "class", "bought"):
            yield f"{network} {target}", of(target, network=network, epochs=2)
    yield "streamed", streamed("price")
    yield "streamed classes", streamed("class")
    yield "streamed by groups", streamed("bought", groups="count", class_weight="balanced")


def streamed(target: str, **settings: Any) -> Callable[[Path], str]:
    """A fit of a file that has no room in memory."""

    def run(folder: Path) -> str:
        table = frame(20_000, seed=3)[["number", "count", "skewed", "city", "day", "words", target]]
        table.to_csv(folder / "rows.csv", index=False)
        ml.read_table(folder / "rows.csv")  # loads the modules that are looked for below
        # a cell is said to take a megabyte, and a chunk few rows, so that a small table is streamed
        with contextlib.ExitStack() as stack:
            for name, value in {"CELL_BYTES": 1_000_000, "MOST_PACKED": 10**9, "CHUNK_ROWS": 6_000}.items():
                for module in [m for n, m in sys.modules.items() if n.startswith("multilayer")]:
                    if name in vars(module):
                        stack.enter_context(mock.patch.object(module, name, value))
            model = ml.fit(folder / "rows.csv", target=target, memory="1GiB", epochs=2, seed=1, **settings)
        assert any("streamed" in decision for decision in model.summary["decisions"])
        return model_digest(model, table.head(100), folder)

    return run


def estimators() -> Iterator[tuple[str, Callable[[Path], str]]]:
    """The digest of an estimator's predictions."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 5))
    y = x[:, 0] - x[:, 1] ** 2
    labels = np.where(y > -1, "b", "a")

    def of(estimator: Any, target: Any) -> Callable[[Path], str]:
        return lambda folder: digest(estimator.fit(x, target).predict(x).astype(str))

    for name, settings in {
        "default": {"max_iter": 3},
        "own layers": {"hidden_layer_sizes": (16, 8), "max_iter": 5},
        "sgd": {"hidden_layer_sizes": (16,), "solver": "sgd", "max_iter": 5},
        "lbfgs": {"hidden_layer_sizes": (16,), "solver": "lbfgs", "max_iter": 5},
    }.items():
        yield f"regressor {name}", of(ml.MLPRegressor(random_state=1, **settings), y)
        yield f"classifier {name}", of(ml.MLPClassifier(random_state=1, **settings), labels)


def digest(*arrays: Any) -> str:
    """Of the bytes of arrays."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def networks() -> Iterator[tuple[str, Callable[[Path], str]]]:
    """Networks of one's own, trained by kernels and by autograd."""
    makers: dict[str, Callable[[], tuple[nn.Module, str, str]]] = {
        "relu, batchnorm": lambda: (
            nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 1)), "mse", "number"
        ),
        "gelu, layernorm, dropout": lambda: (
            nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Dropout(0.2), nn.Linear(16, 3)),
            "cross_entropy", "class",
        ),
        "tanh, prelu": lambda: (
            nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 8), nn.PReLU(), nn.Linear(8, 1)),
            "huber", "number",
        ),
    }  # fmt: skip
    optimizers: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
        "adam": lambda p: torch.optim.Adam(p, lr=1e-2),
        "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
        "sgd": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True),
        "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    }
    rng = np.random.default_rng(7)
    x = rng.normal(size=(800, 6)).astype(np.float32)
    numbers, classes = (x[:, :1] * x[:, 1:2]).astype(np.float32), (x[:, 0] > 0).astype(np.int64)

    def of(make: Any, optimizer: Any, **settings: Any) -> Callable[[Path], str]:
        def run(folder: Path) -> str:
            torch.manual_seed(0)
            net, loss, kind = make()
            ml.train(
                net, x, numbers if kind == "number" else classes, loss=loss,
                optimizer=optimizer(net.parameters()), epochs=20, batch_size=32, seed=3, **settings,
            )  # fmt: skip
            return digest(*(tensor.numpy() for tensor in net.state_dict().values()))

        return run

    for name, make in makers.items():
        for which, optimizer in optimizers.items():
            yield f"{name}, {which}", of(make, optimizer)
        yield f"{name}, clipped", of(make, optimizers["adam"], clip_norm=0.5, schedule="warmup_cosine")


def main() -> None:
    """Print a line for each result; arguments choose those whose names hold one of them."""
    wanted = sys.argv[1:]
    for name, run in (*networks(), *estimators(), *fits()):
        if wanted and not any(word in name for word in wanted):
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = run(Path(folder))
            except ml.MultilayerError as error:
                found = f"{type(error).__name__}: {error}"
        print(f"{name:32} {found}", flush=True)


if __name__ == "__main__":
    main()
