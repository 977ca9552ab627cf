"""Ctrl-C and the signals that ask a process to end: held back for a moment, or heard as an interruption."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Ended(KeyboardInterrupt):
    """The process was asked to end: whatever cleans up after Ctrl-C cleans up after this, too.

    number: of the signal
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def held_back() -> Iterator[None]:
    """Hear Ctrl-C and its like only when the block is done, for what must not be left half-way.

    A module that is interrupted while it is imported stays half-made in those that it has imported, and
    cannot be imported again: PyTorch and numba are of this kind.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    replaced = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in replaced:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def hear_endings(came: list[int]) -> None:
    """Have SIGTERM and SIGHUP raise `Ended`, unless they are ignored, as by nohup; for the main thread.
    Ctrl-C raises KeyboardInterrupt, as it does in Python.

    came: gets the numbers of those that come
    """

    def end(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:  # the next ones must not break off what the first has cleaned up
            raise Ended(number)

    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
