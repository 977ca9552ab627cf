"""A server in a process of its own, and plain connections to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

WAIT_S = 120.0  # that something happens which must; as long as a loaded machine may take


class Server:
    """`multilayer serve`, once it answers."""

    def __init__(self, *words: object, **variables: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-c", "from multilayer.cli import main; main()", "serve"]
        self.log: list[str] = []
        self.process = subprocess.Popen(
            [*command, *map(str, words), "--port", str(self.port)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(self.answers)

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return self.ask("GET", "/ready")[0] == 200
        except OSError:
            return False

    def connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        connection = self.connection()
        try:
            return ask(connection, method, path, body, **headers)
        finally:
            connection.close()

    def raw(self, data: bytes) -> socket.socket:
        """A connection on which these bytes were sent."""
        found = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
        found.sendall(data)
        return found

    def workers(self) -> list[int]:
        """Process numbers of the workers that are there."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(WAIT_S)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(WAIT_S)
            assert self.process.stderr is not None
            self.process.stderr.close()


@contextmanager
def serving(*words: object, **variables: str) -> Iterator[Server]:
    server = Server(*words, **variables)
    try:
        yield server
    finally:
        server.stop()


def ask(
    connection: HTTPConnection, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, data, named)
    answered = connection.getresponse()
    return answered.status, answered.read()


def until(happens: Any) -> None:
    """Wait for something that must happen, however long the machine takes."""
    end = time.monotonic() + WAIT_S
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]
