"""How far a run is: nothing where it is quick or quiet, lines where there is no terminal."""

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from multilayer import progress as module
from multilayer.progress import Bar, Lines, progress


def state(epoch: int, elapsed_s: float = 10.0) -> Any:
    return SimpleNamespace(epoch=epoch, epochs=8, train_loss=0.5, val_loss=0.25, elapsed_s=elapsed_s)


class Clock:
    """Time that a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "clock", made)
    return made


def test_a_line_every_thirty_seconds_where_there_is_no_terminal(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("reading") as after_epoch:
        for epoch, now in enumerate([110.0, 131.0, 140.0, 162.0], start=1):
            clock.now = now
            after_epoch(state(epoch))

    assert capsys.readouterr().err.splitlines() == [
        "epoch 2 of 8: loss 0.5, validation 0.25; at most 0:30 left",
        "epoch 4 of 8: loss 0.5, validation 0.25; at most 0:10 left",
    ]


def test_quiet_shows_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", quiet=True) as after_epoch:
        clock.now += 1000
        after_epoch(state(1))

    assert capsys.readouterr().err == ""


def test_a_notebook_has_one_line_which_is_wiped(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown = Lines(0.0, 0.5, overwrites=True)
    for epoch in (1, 2):
        clock.now += 1
        shown.update(state(epoch))
    shown.close()

    text = capsys.readouterr().err
    assert "\n" not in text and text.count("\r") == 3
    assert text.split("\r")[2].strip() == ""


def test_a_bar_comes_only_after_its_seconds_and_goes(clock: Clock) -> None:
    from rich.console import Console

    screen = io.StringIO()
    bar = Bar("training", 2.0, Console(file=screen, force_terminal=True, width=100))
    bar.update(state(1))
    assert screen.getvalue() == ""
    clock.now += 3
    bar.update(state(2))
    bar.close()

    assert "epoch 2 of 8" in screen.getvalue()


def test_a_closed_stderr_is_no_error(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with progress("reading") as after_epoch:
        clock.now += 100
        after_epoch(state(1))
