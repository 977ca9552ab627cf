"""`Limits`: how much a server takes of anybody."""

from dataclasses import dataclass, fields

from multilayer.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """How large a request may be, and how many there may be at once; what is beyond is refused in words.

    >>> Limits(rows=1000).rows
    1000

    Args:
        body_bytes: of a request's body.
        rows: of one request.
        depth: lists and objects within each other, in JSON.
        time_s: seconds in which a request must have come, and in which its answer must be there.
        concurrency: requests with a body at once, in each worker; there may be as many bodies in memory.

    Raises:
        ConfigError: a limit is not positive.
    """

    body_bytes: int = 8 << 20  # some 50,000 rows of 20 columns; with 64 at once half a gigabyte
    rows: int = 100_000
    depth: int = 32
    time_s: float = 60.0  # SageMaker's own limit
    concurrency: int = 64

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not value > 0:
                raise ConfigError(f"{each.name} must be positive; got {value!r}. Raise it.")
