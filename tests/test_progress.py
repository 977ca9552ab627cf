"""How far a run is: nothing where it is quick or quiet, lines where there is no terminal."""

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from multilayer import progress as module
from multilayer.progress import Bar, Lines, progress
from tests.stopwatch import Stopwatch


def state(epoch: int, elapsed_s: float = 10.0) -> Any:
    return SimpleNamespace(epoch=epoch, epochs=8, train_loss=0.5, val_loss=0.25, elapsed_s=elapsed_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    return Stopwatch().replace(monkeypatch, module)


def test_a_line_every_thirty_seconds_where_there_is_no_terminal(
    clock: Stopwatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("reading") as after_epoch:
        for epoch, now in enumerate([10.0, 31.0, 40.0, 62.0], start=1):
            clock.now_s = now
            after_epoch(state(epoch))

    assert capsys.readouterr().err.splitlines() == [
        "epoch 2 of 8: loss 0.5, validation 0.25; at most 0:30 left",
        "epoch 4 of 8: loss 0.5, validation 0.25; at most 0:10 left",
    ]


def test_quiet_shows_nothing(clock: Stopwatch, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", quiet=True) as after_epoch:
        clock.advance(1000)
        after_epoch(state(1))

    assert capsys.readouterr().err == ""


def test_a_notebook_has_one_line_which_is_wiped(clock: Stopwatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown = Lines(0.0, 0.5, overwrites=True)
    for epoch in (1, 2):
        clock.advance(1)
        shown.update(state(epoch))
    shown.close()

    text = capsys.readouterr().err
    assert "\n" not in text and text.count("\r") == 3
    assert text.split("\r")[2].strip() == ""


def test_a_bar_comes_only_after_its_seconds_and_goes(clock: Stopwatch) -> None:
    from rich.console import Console

    screen = io.StringIO()
    bar = Bar("training", 2.0, Console(file=screen, force_terminal=True, width=100))
    bar.update(state(1))
    assert screen.getvalue() == ""
    clock.advance(3)
    bar.update(state(2))
    bar.close()

    assert "epoch 2 of 8" in screen.getvalue()


def test_a_closed_stderr_is_no_error(clock: Stopwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with progress("reading") as after_epoch:
        clock.advance(100)
        after_epoch(state(1))
