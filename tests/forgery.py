"""Model files that were changed: each loads as a model with finite answers, or is refused in our own words.

    python tests/forgery.py 100000 [seed]       # what `make nightly` runs

Files are cut, bits of them flipped, and their JSON and arrays edited and signed anew, so that the checksum
fits. What loads predicts with the compiled kernels. Ends with a line of counts, and with status 1 at the
first file that does something else; that file is kept as `forged.mlp`.
"""

import copy
import json
import random
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

import multilayer as ml
from multilayer.errors import MultilayerError
from multilayer.model.file import digest, unpack

N_ROWS = 60
MOST_SECONDS = 5.0  # of the processor, for one file: other processes have no say in it
MOST_MEMORY_MB = 400  # beyond what the first models took
PLAIN = [None, True, False, 0, 1, -1, 2, 7, 2**31, 2**62,
         -(2**63), 10**19, 0.0, -0.5, 0.5, 1e-320, 1e308, -1e308,
         "", "a", "number", "text", "date", "levels", "error", "object", "U9999999", "V9", "sigmoid", "batch",
         "%d%d", "+99:99", "../../etc/passwd", "\ud800", "\0", "x" * 3000, [], {}, [[]], [None], [0], [-1],
         [2**40], ["a", "a"], {"a": {}}, [0.5, 0.1], [1e308] * 3]  # fmt: skip


def table() -> dict[str, Any]:
    """A column of every kind."""
    rng = np.random.default_rng(0)
    words = np.array(
        [
            "the",
            "room",
            "was",
            "clean",
            "and",
            "quiet",
            "but",
            "small",
            "with",
            "a",
            "view",
            "of",
            "old",
            "trees",
        ]
    )
    number = rng.normal(size=N_ROWS)
    number[::7] = np.nan
    return {
        "number": number,
        "whole": rng.integers(0, 40, N_ROWS),
        "two": rng.choice([3.0, 8.0], N_ROWS),
        "constant": np.ones(N_ROWS),
        "flag": rng.random(N_ROWS) < 0.5,
        "letter": rng.choice(list("abc"), N_ROWS).astype(object),
        "many": rng.choice([f"level {i}" for i in range(14)], N_ROWS).astype(object),
        "size": rng.choice(["S", "M", "L"], N_ROWS).astype(object),
        "day": [f"2024-{1 + i % 12:02}-{1 + i % 28:02}T0{i % 9}:00+02:00" for i in range(N_ROWS)],
        "clock": [f"{i % 24:02}:{i % 60:02}" for i in range(N_ROWS)],
        "span": [f"{i} days 0{i % 9}:00:00" for i in range(N_ROWS)],
        "words": [" ".join(rng.choice(words, 6)) + f" {i}" for i in range(N_ROWS)],
    }


def models() -> Iterator[ml.Model]:
    """Of every kind of task and network, small."""
    x, rng = table(), np.random.default_rng(1)
    amount = np.nan_to_num(x["number"]) + x["whole"] / 10
    fast: dict[str, Any] = {"epochs": 2, "members": 2, "hidden": 8}
    kinds = {"size": ["S", "M", "L"]}

    def fit(y: Any, **settings: Any) -> ml.Model:
        targets = y if isinstance(y, dict) else {"y": y}
        names = list(targets) if len(targets) > 1 else next(iter(targets))
        return ml.fit(x | targets, target=names, kinds=kinds, **fast | settings)

    yield fit(np.where(amount > 1, "yes", "no").astype(object), threshold="f1")
    yield fit(amount, quantiles=(0.1, 0.5, 0.9))
    yield fit({"a": amount, "b": amount**2 + 1.5}, missing=("?", -999), thousands=",")
    yield fit({"a": amount > 1, "b": rng.random(N_ROWS) < 0.5})
    yield fit(rng.choice([3, 5, 9], N_ROWS), task="multiclass", network="tabm", members=1, hidden=(8, 8))
    yield fit(np.exp(amount), objective="log", monotone={"whole": "increasing"})
    yield fit(rng.poisson(2.0, N_ROWS), objective="poisson", exposure="two")
    yield fit(amount, network="resnet", hidden=(8, 8), members=1)
    yield fit(amount, network="realmlp", members=1)
    numbers = np.stack([amount, x["two"]], axis=1)
    yield ml.MLPRegressor(solver="sgd", hidden_layer_sizes=(4,), max_iter=5).fit(numbers, amount).model_


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in nested JSON."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def edit_json(rng: random.Random, meta: dict[str, Any]) -> None:
    """Change a value somewhere; histories, which are most of it, as seldom as any other part."""
    part = rng.choice(list(meta))
    path = (part, *rng.choice(list(places(meta[part]))))
    holder = meta
    for key in path[:-1]:
        holder = holder[key]
    old = holder[path[-1]]
    action = rng.randrange(6)
    if action == 0:
        del holder[path[-1]]
    elif action == 1 and isinstance(old, list) and old:
        old.append(copy.deepcopy(rng.choice(old)))
    elif action == 2 and isinstance(old, int | float):
        holder[path[-1]] = rng.choice([-old, old + 1, old - 1, old * 1000, old * 1e30, float(old)])
    elif action == 3 and isinstance(holder, dict):
        holder[rng.choice(["new", "kind", "levels"])] = old
    elif action == 4:
        other = rng.choice(list(places(meta)))
        value: Any = meta
        for key in other:
            value = value[key]
        holder[path[-1]] = copy.deepcopy(value)
    else:
        holder[path[-1]] = copy.deepcopy(rng.choice(PLAIN))


def edit_arrays(rng: random.Random, arrays: dict[str, np.ndarray]) -> None:
    """Change values, type, shape, name or presence of an array."""
    name = rng.choice(list(arrays))
    array = arrays[name].copy()
    numbers: list[float] = [0, 1, -1, 2**30, -(2**40), 1e300, -1e300, np.nan, np.inf, 3e38, 1e-40]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = np.array(rng.choice(numbers)).astype(array.dtype)
        other = rng.choice([np.float64, np.float32, np.int64, np.int32, np.uint8, np.bool_])
        action = rng.randrange(8)
        if action == 0 and array.size:
            array.reshape(-1)[rng.randrange(array.size)] = value
        elif action == 1:
            array[...] = value
        elif action == 2:
            array = array.astype(other)
        elif action == 3:
            array = array.reshape(-1)
        elif action == 4:
            array = np.concatenate([array.reshape(-1)] * 2)[: rng.randrange(2 * array.size + 1)]
        elif action == 5:
            array = array[..., None] if rng.random() < 0.5 else array.T.copy()
        elif action == 6:
            arrays[rng.choice(["encoder.more", "network.99.weight", "other", name + "x"])] = array
        else:
            del arrays[name]
            return
    arrays[name] = array


def forged(rng: random.Random, original: bytes, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """The file with something else in it."""
    if rng.random() < 0.25:
        data = bytearray(original)
        if rng.random() < 0.3:
            return bytes(data[: rng.randrange(len(data))])
        end = len(data) if rng.random() < 0.5 else 8 + int.from_bytes(data[:8], "little")
        for _ in range(rng.choice([1, 1, 1, 5])):
            data[rng.randrange(end)] ^= 1 << rng.randrange(8)
        return bytes(data)
    arrays, meta = dict(arrays), copy.deepcopy(meta)
    is_of_arrays = rng.random() < 0.35
    for _ in range(rng.choice([1, 1, 2])):
        edit_arrays(rng, arrays) if is_of_arrays else edit_json(rng, meta)
    text = json.dumps(meta)
    if not is_of_arrays and rng.random() < 0.1:
        start = rng.randrange(len(text))
        insert = rng.choice(["[" * 9000, "9" * 6000, "1e999", "NaN", '"format": 99,', '"', "{", "\\u"])
        text = text[:start] + insert + text[start + rng.choice([0, 1, len(insert)]) :]
    try:
        return bytes(save(arrays | {"sha256": digest(text, arrays)}, {"multilayer": text}))
    except UnicodeEncodeError:
        return original


def outcome(data: bytes, rows: dict[str, Any]) -> str:
    """What becomes of a file, in a few words; an exception if it is what must not be."""
    try:
        model = ml.Model.from_bytes(data)
    except ml.ModelFileError as error:
        cause = type(error.__cause__).__name__  # anything else is a check that is lacking
        of_ours = ("NoneType", "ValueError", "ConfigError", "ModelFileError")
        return "refused" if cause in of_ours else f"refused by {cause}"
    try:
        columns = model.predict_columns(rows)
    except MultilayerError as error:  # a table of other columns or kinds than the model now asks for
        return "the model refuses the table" if not isinstance(error, ml.ModelFileError) else "not finite"
    for name, values in columns.items():
        assert len(values) == N_ROWS, name
        assert values.dtype.kind != "f" or np.isfinite(values).all(), name
    repr(model), str(model.schema), model.score, repr(model.history)
    return "loads"


def memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(n_files: int, seed: int = 0, say: Callable[[str], None] = print) -> Counter[str]:
    """Forge so many files.

    Raises:
        AssertionError, or whatever a file brought about.
    """
    rng, counts = random.Random(seed), Counter[str]()
    originals = [model.to_bytes() for model in models()]
    parts = [unpack(data, "a model", "") for data in originals]
    warnings.simplefilter("ignore")
    tables = [table() for _ in originals]
    tables[-1] = {"x0": tables[0]["whole"], "x1": tables[0]["two"]}  # of the estimator
    for data, rows in zip(originals, tables, strict=True):
        assert (found := outcome(data, rows)) == "loads", found
    used, started = memory_mb(), time.monotonic()
    for i in range(n_files):
        which = rng.randrange(len(originals))
        data = forged(rng, originals[which], *parts[which])
        began = time.process_time()
        try:
            counts[outcome(data, tables[which])] += 1
            assert time.process_time() - began < MOST_SECONDS, f"took {time.process_time() - began:.1f} s"
            assert memory_mb() - used < MOST_MEMORY_MB, f"took {memory_mb() - used:.0f} MB"
        except BaseException:
            Path("forged.mlp").write_bytes(data)
            say(f"file {i} of seed {seed}, in forged.mlp:")
            raise
    each = ", ".join(f"{count:,} {what}" for what, count in counts.most_common())
    took, more = time.monotonic() - started, memory_mb() - used
    say(f"{n_files:,} forged model files: {each}; {took:.0f} s, {more:.0f} MB more")
    return counts


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
