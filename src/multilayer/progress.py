"""How far a run is, on stderr: a bar in a terminal, one line in a notebook, a line every 30 s elsewhere."""

import sys
import time as clock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

EVERY_S = 30.0  # between lines, where there is no terminal
IN_NOTEBOOK_S = 0.5


@contextmanager
def progress(what: str, *, after_s: float = 0.0, quiet: bool = False) -> Iterator[Callable[[Any], None]]:
    """Yields the callback of `train`, `train_pack` or `fit` that moves it on after each epoch.

    Args:
        what: is done before the first epoch.
        after_s: seconds before anything is shown.
        quiet: show nothing.
    """
    shown = Nothing() if quiet else _display(what, after_s)

    def after_epoch(state: Any) -> None:
        shown.update(state)

    vars(after_epoch)["_multilayer_changes"] = "nothing"  # see training/pack.py
    try:
        yield after_epoch
    finally:
        shown.close()


class Nothing:
    """Shows nothing."""

    def update(self, state: Any) -> None:
        """After each epoch."""

    def close(self) -> None:
        """At the end."""


class Bar(Nothing):
    """A bar of rich with the time left; it is gone at the end."""

    def __init__(self, what: str, after_s: float, console: Any) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left at most"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=console, transient=True)
        self.row = self.bar.add_task(what, total=None)
        self.starts_at = clock.perf_counter() + after_s
        if not after_s:
            self.bar.start()

    def update(self, state: Any) -> None:
        """Move on, once it is to be seen."""
        self.bar.update(self.row, description=in_words(state), completed=state.epoch, total=state.epochs)
        if not self.bar.live.is_started and clock.perf_counter() >= self.starts_at:
            self.bar.start()

    def close(self) -> None:
        """Take it off the screen."""
        self.bar.stop()


class Lines(Nothing):
    """A line every so many seconds; in a notebook, over the line before."""

    def __init__(self, after_s: float, every_s: float, *, overwrites: bool) -> None:
        self.next_at = clock.perf_counter() + max(after_s, every_s)
        self.every_s, self.overwrites, self.width = every_s, overwrites, 0

    def update(self, state: Any) -> None:
        """Write, where it is time to."""
        now = clock.perf_counter()
        if now < self.next_at or sys.stderr is None:
            return
        self.next_at = now + self.every_s
        text = f"{in_words(state)}{time_left(state)}"
        end = "\r" if self.overwrites else "\n"
        sys.stderr.write(text.ljust(self.width) + end)
        sys.stderr.flush()
        self.width = len(text)

    def close(self) -> None:
        """Wipe the line of a notebook."""
        if self.overwrites and self.width and sys.stderr is not None:
            sys.stderr.write(" " * self.width + "\r")
            sys.stderr.flush()


def _display(what: str, after_s: float) -> Nothing:
    if _is_notebook():
        return Lines(after_s, IN_NOTEBOOK_S, overwrites=True)
    if sys.stderr is None or not sys.stderr.isatty():
        return Lines(after_s, EVERY_S, overwrites=False)
    from rich.console import Console

    console = Console(stderr=True)
    return Bar(what, after_s, console) if console.is_terminal else Lines(after_s, EVERY_S, overwrites=False)


def _is_notebook() -> bool:
    """Whether a Jupyter kernel runs this; its stderr is no terminal, but a line may be overwritten."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")


def in_words(state: Any) -> str:
    """Epoch and losses.

    >>> from types import SimpleNamespace as Seen
    >>> in_words(Seen(epoch=2, epochs=8, train_loss=0.51234, val_loss=None, elapsed_s=1.0))
    'epoch 2 of 8: loss 0.5123'
    """
    validation = "" if state.val_loss is None else f", validation {state.val_loss:.4g}"
    return f"epoch {state.epoch} of {state.epochs}: loss {state.train_loss:.4g}{validation}"


def time_left(state: Any) -> str:
    """How long all remaining epochs would take; early stopping may end sooner.

    >>> from types import SimpleNamespace as Seen
    >>> time_left(Seen(epoch=2, epochs=8, train_loss=0.5, val_loss=None, elapsed_s=20.0))
    '; at most 1:00 left'
    """
    seconds = round(state.elapsed_s / max(1, state.epoch) * (state.epochs - state.epoch))
    return f"; at most {seconds // 60}:{seconds % 60:02d} left"
