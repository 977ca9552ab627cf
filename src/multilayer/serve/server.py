"""The server: uvicorn in this process, or in several that are forked from it and replaced when they die."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time as clock
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from multilayer.errors import ConfigError, extra
from multilayer.serve.app import Application
from multilayer.serve.connections import protocol

BACKLOG = 2048
KEEP_ALIVE_S = 75  # longer than the 60 s of usual load balancers, which else send into a closed connection
STOP_S = 25  # SageMaker and Docker kill after 30 s and 10 s; a request that takes longer is broken off
HEADERS_S = 20.0
EVERY_S = 1.0
_SHORT_LIFE_S = 5.0
_LONGEST_PAUSE_S = 10.0

log = logging.getLogger("multilayer.serve")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes any that is free.

    Raises:
        ConfigError: it cannot.
    """
    try:
        family, kind, number, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, number)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
        found.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"The server must be able to listen on {host} port {port}; it cannot ({error}). Choose another "
            "--port, or stop what listens there."
        ) from None
    found.setblocking(False)
    return found


def address_of(listening: socket.socket) -> str:
    """Its URL."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: Application, listening: socket.socket, n_workers: int = 1) -> None:
    """Serve until a signal ends it: SIGTERM and Ctrl-C once requests in progress are answered.

    SIGHUP reads the model's file anew.

    Raises:
        ConfigError: several workers are wanted on a system that cannot fork.
        MissingExtraError: uvicorn is not installed.
    """
    extra("uvicorn", needed_by="multilayer serve", install="'multilayer[serve]'")
    if n_workers == 1:
        _serve(app, listening)
    elif hasattr(os, "fork"):
        _Workers(app, listening, n_workers).run()
    else:
        raise ConfigError("Several workers need a system that can fork; this one cannot. Use --workers 1.")


def _serve(app: Application, listening: socket.socket, parent: int | None = None) -> None:
    """One server in this process; it ends with its parent, where it has one."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.reload_soon)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.is_stopping = True
            super().handle_exit(sig, frame)

        async def on_tick(self, counter: int) -> bool:
            if parent is not None and counter % 10 == 0 and os.getppid() != parent:
                self.should_exit = app.is_stopping = True
            return await super().on_tick(counter)

    config = uvicorn.Config(
        app,
        http=protocol(HEADERS_S),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
    )
    Server(config).run([listening])


class _Workers:
    """Processes that serve one socket, each started anew when it dies.

    They are forked once the model is loaded, so that they share its memory and start at once.
    """

    def __init__(self, app: Application, listening: socket.socket, n_workers: int) -> None:
        self.app, self.listening, self.n_workers = app, listening, n_workers
        self._workers: dict[int, tuple[int, float]] = {}  # pid -> its number, when it began
        self._waiting: dict[int, float] = {}  # number of a worker -> when it may start
        self._pauses: dict[int, float] = {}
        self._something = threading.Event()
        self._ending: list[int] = []

    def run(self) -> None:
        handlers = self._hear()
        try:
            for number in range(self.n_workers):
                self._start(number)
            while not self._ending:
                self._something.wait(0.1 if self._waiting else EVERY_S)
                self._something.clear()
                self._bury()
                self._keep_up()
            self._stop()
        finally:
            for pid in self._workers:
                _send(pid, signal.SIGKILL)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        signal.raise_signal(self._ending[0])  # to whoever started us

    def _hear(self) -> dict[int, Any]:
        def end(number: int, frame: FrameType | None) -> None:
            self._ending.append(number)
            self._something.set()

        def reload(number: int, frame: FrameType | None) -> None:
            for pid in self._workers:
                _send(pid, signal.SIGHUP)

        def wake(number: int, frame: FrameType | None) -> None:
            self._something.set()

        new: dict[int, Callable[[int, FrameType | None], None]] = {
            signal.SIGTERM: end,
            signal.SIGINT: end,
            signal.SIGHUP: reload,
            signal.SIGCHLD: wake,
        }
        return {number: signal.signal(number, handler) for number, handler in new.items()}

    def _start(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._workers[pid] = number, clock.monotonic()
            return
        status = 1
        try:
            for each in (signal.SIGTERM, signal.SIGINT):  # uvicorn hears them, and hands them on at its end
                signal.signal(each, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.app.metrics.count_for(number)
            _serve(self.app, self.listening, parent)
            status = 0
        except BaseException:
            log.exception("worker %s failed", number)
        finally:
            os._exit(status)

    def _bury(self) -> None:
        """Notice which workers died; those that died young wait longer each time."""
        for pid, (number, began) in list(self._workers.items()):
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                found, status = pid, 0
            if not found:
                continue
            del self._workers[pid]
            lived = clock.monotonic() - began
            pause = min(2 * self._pauses.get(number, 0.05), _LONGEST_PAUSE_S) if lived < _SHORT_LIFE_S else 0
            self._pauses[number] = pause
            self._waiting[number] = clock.monotonic() + pause
            code = os.waitstatus_to_exitcode(status)
            log.error("worker %s (process %s) ended with %s; another one starts", number, pid, code)

    def _keep_up(self) -> None:
        """Start workers that are due, with the newest model."""
        if self.app.watched.has_changed():
            self.app.watched.reload()  # each worker counts and reports its own
        now = clock.monotonic()
        for number in [number for number, due in self._waiting.items() if due <= now]:
            del self._waiting[number]
            self._start(number)

    def _stop(self) -> None:
        """Let workers finish; a second signal, or too long a wait, ends them."""
        for pid in self._workers:
            _send(pid, signal.SIGTERM)
        until = clock.monotonic() + STOP_S + 2
        while self._workers and clock.monotonic() < until and len(self._ending) == 1:
            self._something.wait(0.1)
            self._something.clear()
            for pid in list(self._workers):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    del self._workers[pid]


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
