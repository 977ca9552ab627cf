"""What is answered to a request that cannot be served: RFC 9457, or as other protocols have it."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

PROBLEM = "application/problem+json"
JSON = "application/json"
MOST_LISTED = 100  # rows with errors in one answer


@dataclass(frozen=True)
class RowError:
    """What is wrong with one row of a request.

    row:     its place in the request; 1 is the first
    message: the rule, what came, what to do
    column:  name of the column; None where it is not about one
    """

    row: int
    message: str
    column: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The row, its column if there is one, and the reason."""
        column = {} if self.column is None else {"column": self.column}
        return {"row": self.row, **column, "message": self.message}


class Problem(Exception):
    """A request that is refused.

    status:  of HTTP
    detail:  what is wrong, and what to do
    errors:  of single rows
    headers: that the answer must have beside
    """

    def __init__(
        self,
        status: int,
        detail: str,
        errors: tuple[RowError, ...] = (),
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, headers

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def shown(self, *, quiet: bool) -> str:
        """The detail; where values and names are to be hidden, which rows are meant and no more."""
        if not quiet or self.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            return self.detail
        if not self.errors:
            return "The request does not fit the model."
        places = ", ".join(str(error.row) for error in self.errors[:MOST_LISTED])
        return f"Rows that do not fit the model: {places}."


@dataclass(frozen=True)
class Dialect:
    """How a protocol words its errors.

    content_type: of an error
    write:        the error as plain values, from the problem and whether it must hide values and names
    """

    content_type: str
    write: Any = field(repr=False)


def _as_problem(problem: Problem, quiet: bool) -> dict[str, Any]:
    written: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.shown(quiet=quiet),
    }
    if problem.errors:
        listed = problem.errors[:MOST_LISTED]
        written["errors"] = [{"row": e.row} if quiet else e.to_json() for e in listed]
    return written


def _as_inference_error(problem: Problem, quiet: bool) -> dict[str, Any]:
    return {"error": problem.shown(quiet=quiet)}


_MLFLOW_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    404: "ENDPOINT_NOT_FOUND",
    422: "INVALID_PARAMETER_VALUE",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "TEMPORARILY_UNAVAILABLE",
}


def _as_mlflow_error(problem: Problem, quiet: bool) -> dict[str, Any]:
    code = _MLFLOW_CODES.get(problem.status, "BAD_REQUEST")
    return {"error_code": code, "message": problem.shown(quiet=quiet)}


RFC_9457 = Dialect(PROBLEM, _as_problem)
INFERENCE = Dialect(JSON, _as_inference_error)
MLFLOW = Dialect(JSON, _as_mlflow_error)
