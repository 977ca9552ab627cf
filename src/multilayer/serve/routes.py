"""The routes of a server: one line each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from multilayer.serve.errors import INFERENCE, MLFLOW, RFC_9457, Dialect
from multilayer.serve.protocols import mlflow, predict, v2
from multilayer.serve.request import Answer, Request
from multilayer.serve.served import Served

Handler = Callable[[Served, Request], Answer]


@dataclass(frozen=True)
class Route:
    """What is done for one path.

    path:    a name in braces stands for any part
    handler: None for what only the application knows, see `Application.own`
    dialect: of its errors
    is_open: whether it needs no token
    """

    method: str
    path: str
    handler: Handler | None
    dialect: Dialect = RFC_9457
    is_open: bool = False

    @property
    def has_body(self) -> bool:
        """Whether requests have a body, and are counted among those in progress."""
        return self.method == "POST"


_MODEL = "/v2/models/{model}"
ROUTES = (
    Route("POST", "/predict", predict.predict),
    Route("GET", "/schema", None),
    Route("GET", "/openapi.json", None),
    Route("GET", "/docs", None, is_open=True),
    Route("GET", "/health", None, is_open=True),
    Route("GET", "/healthz", None, is_open=True),
    Route("GET", "/ready", None, is_open=True),
    Route("GET", "/metrics", None),
    Route("POST", "/invocations", mlflow.invocations, MLFLOW),
    Route("GET", "/ping", mlflow.ping, MLFLOW, is_open=True),
    Route("GET", "/version", mlflow.version, MLFLOW),
    Route("GET", "/v2", v2.server, INFERENCE),
    Route("GET", "/v2/health/live", v2.live, INFERENCE, is_open=True),
    Route("GET", "/v2/health/ready", v2.ready, INFERENCE, is_open=True),
    Route("GET", _MODEL, v2.metadata, INFERENCE),
    Route("GET", f"{_MODEL}/ready", v2.model_ready, INFERENCE),
    Route("POST", f"{_MODEL}/infer", v2.infer, INFERENCE),
    Route("GET", f"{_MODEL}/versions/{{version}}", v2.metadata, INFERENCE),
    Route("GET", f"{_MODEL}/versions/{{version}}/ready", v2.model_ready, INFERENCE),
    Route("POST", f"{_MODEL}/versions/{{version}}/infer", v2.infer, INFERENCE),
)
NO_ROUTE = Route("GET", "none", None, is_open=True)  # of requests to other paths
STOPS_READY = ("/ready", "/ping", "/v2/health/ready")  # answer 503 while the server is about to stop


class Router:
    """Finds the route of a path.

    Args:
        aliases: path -> the path here that is meant.
    """

    def __init__(self, aliases: Mapping[str, str]) -> None:
        self._aliases = aliases
        self._exact: dict[str, dict[str, Route]] = {}
        self._with_names: dict[tuple[str | None, ...], dict[str, Route]] = {}
        for route in ROUTES:
            if "{" in route.path:
                parts = tuple(None if part[0] == "{" else part for part in route.path[1:].split("/"))
                self._with_names.setdefault(parts, {})[route.method] = route
            else:
                self._exact.setdefault(route.path, {})[route.method] = route

    def find(self, path: str) -> tuple[Mapping[str, Route], tuple[str, ...]]:
        """The routes of a path by method, none if there are none; and the parts that stand for names."""
        path = self._aliases.get(path, path)
        if found := self._exact.get(path):
            return found, ()
        parts = path[1:].split("/")
        for pattern, routes in self._with_names.items():
            if len(pattern) == len(parts):
                pairs = list(zip(pattern, parts, strict=True))
                if all(wanted is None or wanted == part for wanted, part in pairs):
                    return routes, tuple(part for wanted, part in pairs if wanted is None)
        return {}, ()
