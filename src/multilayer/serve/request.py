"""A request, whole; and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from multilayer.serve.errors import Problem

JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """A request whose body has come.

    headers: by lower-case name
    query:   as it came
    parts:   what stands in the path where the route has a name in braces
    """

    headers: Mapping[bytes, bytes]
    query: bytes = b""
    body: bytes = b""
    parts: tuple[str, ...] = ()

    @property
    def content_type(self) -> str:
        """The type of the body, without parameters; JSON where none is said.

        Raises:
            Problem: its letters are not of UTF-8.
        """
        kind, _, parameters = self.headers.get(b"content-type", b"application/json").partition(b";")
        for each in parameters.lower().split(b";"):
            key, _, value = each.strip().partition(b"=")
            if key == b"charset" and value.strip(b'" ') not in (b"utf-8", b"utf8", b"us-ascii"):
                raise Problem(
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                    f"A body must be in UTF-8; Content-Type says {value.decode('latin-1')}. Convert it.",
                )
        return kind.strip().lower().decode("latin-1")

    def option(self, name: str, choices: tuple[str, ...]) -> str:
        """What the query says of its only option; the first choice if nothing.

        Raises:
            Problem: it is none of the choices, or there are other options.
        """
        if not self.query:
            return choices[0]
        options = parse_qs(self.query.decode("latin-1"), keep_blank_values=True)
        if others := options.keys() - {name}:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                f"The only option is {name}; got {', '.join(sorted(others))}. Mend it.",
            )
        given = options[name]
        if len(given) != 1 or given[0] not in choices:
            raise Problem(
                HTTPStatus.BAD_REQUEST, f"{name} must be {' or '.join(choices)}; got {', '.join(given)!r}."
            )
        return given[0]

    def accepted(self, known: Mapping[str, Any], otherwise: str) -> str:
        """The type of the answer: the first that the Accept header names and we know.

        Raises:
            Problem: it names others only.
        """
        header = self.headers.get(b"accept")
        if header is None or header == b"*/*":
            return otherwise
        wanted = []
        for place, each in enumerate(header.decode("latin-1").lower().split(",")):
            kind, *parameters = (part.strip() for part in each.split(";"))
            wanted.append((-_quality(parameters), place, kind))
        for quality, _, kind in sorted(wanted):
            if not quality:
                continue
            if kind in known:
                return kind
            if kind == "*/*" or kind == f"{otherwise.partition('/')[0]}/*":
                return otherwise
        raise Problem(
            HTTPStatus.NOT_ACCEPTABLE,
            f"Accept must name {', '.join(known)}; got {header.decode('latin-1')!r}. Name one.",
        )


def _quality(parameters: list[str]) -> float:
    for each in parameters:
        key, _, value = each.partition("=")
        if key.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 1.0
    return 1.0


@dataclass(frozen=True)
class Answer:
    """What is sent back.

    n_rows, n_bad, counts: of predicted rows, for the metrics
    """

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    n_rows: int = 0
    n_bad: int = 0
    counts: Mapping[int, int] = field(default_factory=dict)
