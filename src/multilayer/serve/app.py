"""`Application`: the ASGI application of one model. Plain ASGI: a framework takes more time than a row."""

import asyncio
import logging
import time as clock
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from multilayer.errors import DataError, MultilayerError
from multilayer.serve.auth import bears
from multilayer.serve.errors import JSON, Problem
from multilayer.serve.limits import Limits
from multilayer.serve.metrics import CONTENT_TYPE, Metrics
from multilayer.serve.openapi import document, schema
from multilayer.serve.page import HTML
from multilayer.serve.request import Answer, Request
from multilayer.serve.routes import NO_ROUTE, ROUTES, STOPS_READY, Route, Router
from multilayer.serve.served import Served, Watched

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Bodies up to this many bytes are predicted where they come in, larger ones in a thread. It is some 150 rows
# of 14 columns, which take 5 ms: as long as a thread of Python keeps another one waiting, too.
INLINE_BYTES = 48 << 10
EVERY_S = 1.0  # that the model's file is looked at
CLOSE = ((b"connection", b"close"),)  # where a body was not read to its end

log = logging.getLogger("multilayer.serve")


class _Gone(Exception):
    """The client went away."""


class Application:
    """The ASGI application that `multilayer serve` runs, for a server of one's own.

    It watches the model's file: once that has changed, it reads the new one beside the old and then takes it,
    for all requests that come later. `/docs` and `/openapi.json` describe the routes.

    >>> import multilayer as ml
    >>> from multilayer.serve import Application
    >>> table = {"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": ["a", "a", "b", "b"] * 10}
    >>> ml.fit(table, target="y", epochs=2, members=2).save("model.mlp")
    >>> app = Application("model.mlp")  # uvicorn.run(app) serves it
    >>> app.model.name
    'model'

    Args:
        path: of the model's file.
        token: that requests must bear; None lets all in.
        limits: of requests.
        refuse_extra: whether columns that were not there at fit are an error.
        quiet_errors: keep values and names of columns out of errors.
        aliases: path -> the path here that is meant.
        n_workers: processes that share this application, forked after it was made.

    Raises:
        ModelFileError: the file cannot be read.
        MissingExtraError: msgspec is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        token: bytes | None = None,
        limits: Limits | None = None,
        refuse_extra: bool = False,
        quiet_errors: bool = False,
        aliases: Mapping[str, str] | None = None,
        n_workers: int = 1,
    ) -> None:
        self.limits = limits or Limits()
        self.watched = Watched(Served(Path(path), self.limits, refuse_extra=refuse_extra))
        self.token, self.quiet_errors = token, quiet_errors
        self.metrics = Metrics(
            [*(route.path for route in ROUTES), NO_ROUTE.path], self.model.rows.counts.counted, n_workers
        )
        self.is_stopping = False
        self._router = Router(aliases or {})
        self._encode = self.model.reader.msgspec.json.encode
        self._documents: dict[tuple[str, str], bytes] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._watching: asyncio.Task[None] | None = None
        self._look = asyncio.Event()

    @property
    def model(self) -> Served:
        """The model that requests get now."""
        return self.watched.served

    def reload_soon(self) -> None:
        """Read the model's file anew, whether it has changed or not; from the thread of the event loop."""
        self._look.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI 3 has it."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    # One request

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = clock.perf_counter()
        served, method = self.model, scope["method"]
        routes, parts = self._router.find(scope["path"].removeprefix(scope.get("root_path", "")))
        route = next(iter(routes.values()), NO_ROUTE)
        headers = dict(scope["headers"])
        try:
            asked = routes.get("GET" if method == "HEAD" else method)
            if asked is None:
                raise _no_route(routes, scope)
            route = asked
            self._check_token(route, headers)
            request = Request(headers, scope["query_string"], b"", parts)
            if route.has_body:
                found = await self._with_body(served, route, request, receive)
                answer = self._refusal(served, route, found) if isinstance(found, Problem) else found
            else:
                answer = self._of_get(served, route, request)
        except _Gone:
            return
        except Problem as problem:
            answer = self._refusal(served, route, problem)
        except Exception:  # one request must not end the server
            log.exception("a request to %s failed", route.path)
            answer = self._refusal(served, route, Problem(500, "The server could not answer: see its log."))
        # Counted before it is sent, so that whoever has the answer finds it counted.
        self.metrics.request(route.path, answer.status, clock.perf_counter() - began)
        if answer.n_rows or answer.n_bad:
            self.metrics.predicted(answer.n_rows, answer.n_bad, answer.counts)
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [
                    (b"content-type", answer.content_type.encode()),
                    (b"content-length", str(len(answer.body)).encode()),
                    (b"multilayer-model", served.version.encode()),
                    *answer.headers,
                ],
            }
        )
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})

    def _check_token(self, route: Route, headers: Mapping[bytes, bytes]) -> None:
        if self.token is None or route.is_open or bears(headers.get(b"authorization"), self.token):
            return
        close = CLOSE if route.has_body else ()
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "A request must bear the server's token, as Authorization: Bearer ... does.",
            headers=((b"www-authenticate", b"Bearer"), *close),
        )

    async def _with_body(
        self, served: Served, route: Route, request: Request, receive: Receive
    ) -> Answer | Problem:
        """The answer, or why there is none. What a thread raised would stay until garbage is collected."""
        if self.metrics.in_progress >= self.limits.concurrency:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"There may be {self.limits.concurrency} requests at once, and are. Try again in a second.",
                headers=((b"retry-after", b"1"), *CLOSE),
            )
        assert route.handler is not None
        self.metrics.begin()
        try:
            request = replace(request, body=await self._body(request, receive))
            if len(request.body) <= INLINE_BYTES:
                return _handled(route.handler, served, request)
            work = asyncio.get_running_loop().run_in_executor(
                self._worker_thread, _handled, route.handler, served, request
            )
            try:
                return await asyncio.wait_for(work, self.limits.time_s)
            except TimeoutError:
                raise Problem(
                    HTTPStatus.GATEWAY_TIMEOUT,
                    f"A prediction may take {self.limits.time_s:g} s; this one takes more. Send fewer rows.",
                ) from None
        finally:
            self.metrics.end()

    async def _body(self, request: Request, receive: Receive) -> bytes:
        most = self.limits.body_bytes
        encoding = request.headers.get(b"content-encoding", b"identity").lower()
        length = request.headers.get(b"content-length", b"0")
        if encoding != b"identity":
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"A body must come as it is; Content-Encoding is {encoding.decode('latin-1')!r}. Unpack it.",
                headers=CLOSE,
            )
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.time_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    part = message.get("body", b"")
                    size += len(part)
                    if size > most:
                        raise _too_large(most)
                    parts.append(part)
                    if not message.get("more_body", False):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError:
            raise Problem(
                HTTPStatus.REQUEST_TIMEOUT,
                f"A body must come within {self.limits.time_s:g} s; this one did not. Send it again.",
                headers=CLOSE,
            ) from None

    @property
    def _worker_thread(self) -> ThreadPoolExecutor:
        if self._thread is None:  # made by the process that uses it
            self._thread = ThreadPoolExecutor(1, "multilayer-predict")
        return self._thread

    def _of_get(self, served: Served, route: Route, request: Request) -> Answer:
        if self.is_stopping and route.path in STOPS_READY:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server is about to stop.")
        if route.handler is not None:
            return route.handler(served, request)
        return _OWN[route.path](self, served)

    def _refusal(self, served: Served, route: Route, problem: Problem) -> Answer:
        written = route.dialect.write(problem, self.quiet_errors)
        n_bad = len({error.row for error in problem.errors})
        return Answer(
            self._encode(written), route.dialect.content_type, problem.status, problem.headers, n_bad=n_bad
        )

    def _document(self, name: str, served: Served) -> Answer:
        key = (name, served.sha256)
        if key not in self._documents:
            made = schema(served) if name == "schema" else document(served, with_token=bool(self.token))
            self._documents = {each: text for each, text in self._documents.items() if each[1] == key[1]}
            self._documents[key] = self._encode(made)
        return Answer(self._documents[key])

    # From start to stop

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._watching = asyncio.create_task(self._watch())
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._watching is not None:
                    self._watching.cancel()
                if self._thread is not None:
                    self._thread.shutdown(wait=True)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _watch(self) -> None:
        """Look at the model's file now and then, or when asked."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), EVERY_S)
            asked = self._look.is_set()
            self._look.clear()
            if asked or self.watched.has_changed():
                try:
                    self.reloaded(await asyncio.to_thread(self.watched.reload))
                except MultilayerError:
                    log.exception("the model could not be read anew")

    def reloaded(self, done: bool | None) -> None:
        """Count a reload, and say how it went."""
        if done is None:
            return
        self.metrics.reloaded(done=done)
        if done:
            log.info("serving a new model, version %s", self.model.version)
        else:
            log.error("the model stays as it is: %s", self.watched.failure)


def _handled(
    handler: Callable[[Served, Request], Answer], served: Served, request: Request
) -> Answer | Problem:
    """What a handler answers, or what a user can put right, without the rows that its traceback holds."""
    try:
        return handler(served, request)
    except Problem as problem:
        return Problem(problem.status, problem.detail, problem.errors, problem.headers)
    except DataError as error:
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


def _too_large(most: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"A body may have {most:,} bytes; this one has more. Send several requests.",
        headers=CLOSE,
    )


def _no_route(routes: Mapping[str, Route], scope: Scope) -> Problem:
    if not routes:
        return Problem(HTTPStatus.NOT_FOUND, f"There is nothing at {scope['path']}. See /docs.")
    allowed = ", ".join([*routes, *(["HEAD"] if "GET" in routes else [])])
    return Problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"{scope['path']} takes {allowed}; got {scope['method']}.",
        headers=((b"allow", allowed.encode()), *CLOSE),
    )


_OWN: Mapping[str, Callable[[Application, Served], Answer]] = {
    "/schema": lambda app, served: app._document("schema", served),
    "/openapi.json": lambda app, served: app._document("openapi", served),
    "/docs": lambda app, served: Answer(HTML.encode(), "text/html; charset=utf-8"),
    "/health": lambda app, served: Answer(b'{"status":"alive"}', JSON),
    "/healthz": lambda app, served: Answer(b'{"status":"alive"}', JSON),
    "/ready": lambda app, served: Answer(b'{"status":"ready"}', JSON),
    "/metrics": lambda app, served: Answer(app.metrics.text(served.labels).encode(), CONTENT_TYPE),
}
