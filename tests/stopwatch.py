"""A clock for tests, of which time passes only when it is told to: no outcome depends on the machine."""

from types import ModuleType
from typing import Any

import pytest


class Stopwatch:
    """Stands for the module `time` in modules that look at the clock.

    tick_s: what passes at each look
    """

    def __init__(self, tick_s: float = 0.0) -> None:
        self.now_s, self.tick_s = 0.0, tick_s

    def perf_counter(self) -> float:
        """Seconds since the start."""
        self.now_s += self.tick_s
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now_s += seconds

    def replace(self, patch: pytest.MonkeyPatch, *modules: ModuleType) -> "Stopwatch":
        """Be the clock of these modules, under whichever name they know `time`."""
        for module in modules:
            for name in ("time", "clock"):
                if isinstance(known := vars(module).get(name), ModuleType) and known.__name__ == "time":
                    patch.setattr(module, name, self)
        return self

    def slow(self, loss: Any, seconds: float) -> Any:
        """The loss, for which so many seconds pass each time."""

        def run(out: Any, y: Any) -> Any:
            self.advance(seconds)
            return loss(out, y)

        return run
