"""Requests to an application in this process."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from multilayer.serve import Application

ROW = {
    "size": 50.5,
    "rooms": 3,
    "zone": "port",
    "sold": "2024-01-03",
    "garden": True,
    "note": "a small dark room",
}


@dataclass(frozen=True)
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: Application, method: str, path: str, body: Any = b"", query: str = "", **headers: str
) -> Answered:
    """One request; anything but bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent: list[Any] = []
    coming = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive() -> Any:
        return coming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": named}
    asyncio.run(app(scope, receive, send))
    got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert int(got["content-length"]) == len(sent[1]["body"]) or method == "HEAD"
    return Answered(sent[0]["status"], got, sent[1]["body"])


def predict(app: Application, body: Any, query: str = "", **headers: str) -> Answered:
    return ask(app, "POST", "/predict", body, query, **headers)


def counter(app: Application, name: str, /, **labels: str) -> float:
    """A value of /metrics."""
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    line = f"multilayer_{name}{{{inside}}} " if inside else f"multilayer_{name} "
    text = ask(app, "GET", "/metrics").body.decode()
    return next((float(each.removeprefix(line)) for each in text.splitlines() if each.startswith(line)), 0.0)
