"""`Target`: a form that a model can be written in, for machines that do not have the library."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from multilayer.export.parity import FLOAT32_ERROR, Run
from multilayer.export.typed import Input
from multilayer.model.model import Model
from multilayer.table.sources.read import Table

InputsLike = Literal["columns", "packed"]


@dataclass(frozen=True)
class Settings:
    """What may be said about an export; each target says which of these it takes.

    inputs: "columns": an input for each column; "packed": a matrix for each type
    int8:   whether weights are rounded to 8 bits
    train_on: the table of the fit, so that the form can train, too
    author, license: what the file says of itself, in its metadata
    """

    inputs: InputsLike = "columns"
    int8: bool = False
    train_on: Any = None
    author: str | None = None
    license: str | None = None


@dataclass(frozen=True)
class Artefact:
    """What a target makes of a model, before it is written.

    data:   content of the file
    inputs: what it takes
    run:    asks it about rows; None where nothing here can, and it checks itself where it runs
    files:  content of more files that stand beside it, by ending
    most_encoder, most_output: the largest differences from the library that are right
    notes:  what is to be said of it, in words
    """

    data: bytes
    inputs: tuple[Input, ...]
    run: Run | None
    files: Mapping[str, bytes] = field(default_factory=dict)
    most_encoder: float = 0.0
    most_output: float = FLOAT32_ERROR
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """A form of a model.

    name:    what users call it
    ending:  of its file
    what:    it is, in a few words
    takes:   names of the `Settings` that it has a use for
    make:    writes a model; the rows are those that it keeps to be checked by
    checked_by: how the file is checked where `verify` does not run it, in words; nothing where it does
    """

    name: str
    ending: str
    what: str
    takes: frozenset[str]
    make: Callable[[Model, Settings, Table], Artefact]
    checked_by: str = "It holds no rows: export it again with rows, which compares it with the model."
