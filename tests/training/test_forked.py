"""A process that was forked after training trains and predicts the same, or says why not; it never hangs."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import copy, multiprocessing as mp
import numpy as np, torch
import multilayer as ml

rng = np.random.default_rng(0)
x = rng.normal(size=(600, 3)).astype("float32")
table = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": x[:, 0] * x[:, 1]}
few = {"x": list(range(40)), "y": [2.0 * k for k in range(40)]}
start = torch.nn.Sequential(torch.nn.Linear(3, 600), torch.nn.ReLU(), torch.nn.Linear(600, 1))

def fit(table, **how):
    return ml.fit(table, target="y", **how).score["r2"]

def train(threads):
    return ml.train(copy.deepcopy(start), x, x[:, :1], loss="mse", epochs=2, threads=threads).train_loss

WORK = {
    "short": lambda: fit(few, epochs=2),
    "kernels": lambda: fit(table, quality="fast", epochs=10),
    "published": lambda: fit(few, network="realmlp", epochs=2),
    "predict": lambda: model.predict(table).tolist(),
    "train": lambda: train(1),
    "all threads": lambda: train(None),
}

def two_threads():
    try:
        train(2)
    except ml.ConfigError as error:
        return str(error)

def run(name):
    return two_threads() if name == "two threads" else WORK[name]()

model = ml.fit(table, target="y", quality="fast", epochs=10)
here = {name: work() for name, work in WORK.items()}
with mp.get_context("fork").Pool(2) as pool:
    there = dict(zip(WORK, pool.map(run, WORK)))
    for name in WORK:
        print(name, there[name] == here[name])
    print(pool.map(run, ["two threads"])[0])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_works_as_its_parent_does() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=600)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    names = ["short", "kernels", "published", "predict", "train", "all threads"]
    assert lines[:-1] == [f"{name} True" for name in names]
    assert lines[-1].startswith("A process that was forked after PyTorch was loaded has one thread")
    assert lines[-1].endswith("multiprocessing.get_context('spawn').")
