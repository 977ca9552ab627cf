"""Ctrl-C is held back while modules are imported, and heard after it; so are other calls to end."""

import signal
import subprocess
import sys
import threading

import pytest

from multilayer.signals import ENDING, Ended, hear_endings, held_back


def test_an_interruption_comes_when_the_block_is_done() -> None:
    done = []

    def work() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()

    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_comes_although_the_block_fails() -> None:
    def work() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("broken")

    with pytest.raises(KeyboardInterrupt):
        work()


def test_other_threads_hold_nothing_back() -> None:
    seen = []

    def work() -> None:
        with held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize("number", ENDING)
def test_an_end_that_is_asked_for_is_an_interruption(number: int) -> None:
    before = signal.getsignal(number)
    try:
        came: list[int] = []
        hear_endings(came)
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)

    assert isinstance(caught.value, Ended)
    assert (caught.value.number, came) == (number, [number])


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        hear_endings([])
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_an_import_that_is_interrupted_can_be_done_again() -> None:
    """PyTorch, half imported, says of itself that it is there already."""
    code = """
import os, signal, sys
import multilayer as ml

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch.nn", "numba.core.types"):
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
try:
    ml.train
    print("swallowed")
except KeyboardInterrupt:
    print("heard")
sys.meta_path.pop(0)
print(ml.train.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("heard\ntrain\n", "")
