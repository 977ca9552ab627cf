"""Fields of a dataclass as they stand in a model file, each as annotated."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, get_type_hints

from numpy.typing import NDArray

from multilayer.file_values import fits, need

Arrays = Mapping[str, NDArray[Any]]


@contextmanager
def about(what: str) -> Iterator[None]:
    """Add to an error which part of the file it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def check_fields(cls: type[Any], values: Any, *, optional: Collection[str] = (), gaps: bool = False) -> None:
    """ValueError unless these are the fields of a dataclass by name, each as annotated.

    optional: fields that may be absent, beside those with a default
    """
    need(isinstance(values, dict), "an object is needed")
    hints: dict[str, Any] = hints_of(cls)  # type: ignore[arg-type]
    known = {each.name: each for each in fields(cls)}
    for name, each in known.items():
        has_default = each.default is not MISSING or each.default_factory is not MISSING
        need(name in values or has_default or name in optional, f"{name!r} is absent")
    for name, value in values.items():
        need(name in known, f"{name!r} is not known")
        if not fits(value, hints[name], gaps=gaps):
            raise ValueError(f"{name!r} cannot be {short(value)}")


@cache
def hints_of(cls: Any) -> dict[str, Any]:
    """Name of each field -> its type."""
    return get_type_hints(cls)


def short(value: Any) -> str:
    """As in an error message: at most 60 letters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
