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


IN_THE_MIDDLE = """
import os, signal, sys, threading
import numpy as np, torch
from multilayer.model.predictor import Predictor

predictor = Predictor([torch.nn.Linear(3, 1)], lambda out: out[:, 0].astype(np.float64))
x = np.ones((5, 3), np.float32)
here = predictor(x)
is_held, may_go = threading.Event(), threading.Event()

def hold():
    with predictor._lock:
        is_held.set()
        may_go.wait()

threading.Thread(target=hold).start()
is_held.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)  # ends the process that waits for a thread which it does not have
    os._exit(0 if (predictor(x) == here).all() else 1)
_, status = os.waitpid(child, 0)
may_go.set()
print(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_process_forked_while_another_thread_predicts_does_not_wait_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", IN_THE_MIDDLE], capture_output=True, text=True, timeout=600)

    assert (done.stdout, done.stderr) == ("0\n", "")


def test_all_our_locks_are_let_go_in_a_forked_process() -> None:
    from multilayer.model.predictor import Predictor
    from multilayer.training.forked import Lock
    from multilayer.training.kernels import blas
    from multilayer.training.kernels import predict as forward

    locks = (blas._LOOKING, forward._COMPILING, Predictor([], lambda out: out)._lock)

    assert all(isinstance(lock, Lock) for lock in locks)


WHILE_COMPILING = """
import os, signal, threading
import multilayer.training.kernels.compiler  # which has forks wait
from numba import njit
from numba.core.compiler_lock import global_compiler_lock

is_held, is_forking = threading.Event(), threading.Event()
os.register_at_fork(before=is_forking.set)  # the last to be registered is asked first

def compile_something():
    with global_compiler_lock:
        is_held.set()
        is_forking.wait()

threading.Thread(target=compile_something).start()
is_held.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if njit(lambda: 3)() == 3 else 1)
print(os.waitpid(child, 0)[1], njit(lambda: 3)())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_waits_for_what_another_thread_compiles() -> None:
    command = [sys.executable, "-c", WHILE_COMPILING]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)

    assert (done.stdout, done.stderr) == ("0 3\n", "")
