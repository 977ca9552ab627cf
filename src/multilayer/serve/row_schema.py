"""What a row of the model may hold: as types that msgspec checks, and as JSON Schema, which say the same."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from types import GenericAlias
from typing import Annotated, Any, Literal

from multilayer.errors import extra
from multilayer.model.table_model import TableModel
from multilayer.table.column import Column
from multilayer.table.kinds import kind_of

DRAFT = "https://json-schema.org/draft/2020-12/schema"
ISO = "ISO 8601"
# Enough of ISO 8601 that no other way of writing dates fits as well.
ISO_DATE = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?![^T ])"
TRUTHS = tuple(
    write(text)
    for text in ("true", "false", "t", "f", "yes", "no", "y", "n")
    for write in (str.lower, str.upper, str.capitalize)
)
TRUTHS = tuple(dict.fromkeys(TRUTHS))
MOST_EXAMPLES = 10
_PART = re.compile(r".*\[\d+\]|.*\..*", re.DOTALL)  # of a list or a dict that became columns


def install(needed_by: str = "serving a model") -> Any:
    """The module msgspec."""
    return extra("msgspec", needed_by=needed_by, install="'multilayer[serve]'")


def _as_json(example: str) -> float | str:
    """The example of a column of numbers as a number, if it is written as one."""
    try:
        number = float(example)
    except ValueError:
        return example
    return number if isfinite(number) else example


def list_of(kind: Any) -> Any:
    """The type of a list of a type that is made here."""
    return GenericAlias(list, (kind,))


@dataclass(frozen=True)
class CellRule:
    """What a cell of a kind of column may hold.

    kind:   a type for msgspec
    schema: the same as JSON Schema
    """

    kind: Any
    schema: dict[str, Any]


def _number(column: Column, plain: bool) -> CellRule:
    written = column.unit or column.thousands or column.decimal != "."
    if plain and not written:
        return CellRule(float | None, {"type": ["number", "null"]})
    return CellRule(float | str | None, {"type": ["number", "string", "null"]})


def _boolean(column: Column, plain: bool) -> CellRule:
    texts: Any = Literal[(*TRUTHS, 0, 1)]
    return CellRule(bool | texts | None, {"enum": [True, False, None, 0, 1, *TRUTHS]})


def _category(column: Column, plain: bool) -> CellRule:
    return CellRule(str | int | float | bool | None, {"type": ["string", "number", "boolean", "null"]})


def _date(column: Column, plain: bool) -> CellRule:
    if (column.date_format or ISO) != ISO:
        return CellRule(str | None, {"type": ["string", "null"]})
    meta = install().Meta(pattern=ISO_DATE)
    forms = [{"type": "string", "format": each} for each in ("date", "date-time")]
    return CellRule(Annotated[str, meta] | None, {"anyOf": [*forms, {"type": "null"}]})


def _number_or_text(column: Column, plain: bool) -> CellRule:
    return CellRule(str | float | None, {"type": ["string", "number", "null"]})


def _text(column: Column, plain: bool) -> CellRule:
    return CellRule(str | None, {"type": ["string", "null"]})


# What JSON has a form of its own for; other kinds with numbers are numbers, or as texts write them.
RULES: Mapping[str, Callable[[Column, bool], CellRule]] = {
    "number": _number,
    "boolean": _boolean,
    "date": _date,
}


def cell_rule(column: Column, plain: bool) -> CellRule:
    """What a cell of a column may hold. plain: whether numbers are written as everywhere.

    >>> cell_rule(Column("waited", "duration"), True).schema
    {'type': ['string', 'number', 'null']}
    """
    kind = kind_of(column)
    if kind.has_levels:
        return _category(column, plain)
    if kind.is_free_text:
        return _text(column, plain)
    return RULES.get(kind.name, _number_or_text)(column, plain)


class RowSchema:
    """The columns that a row must have and what each may hold.

    names:   of the columns that the model uses, and of its exposure
    is_flat: whether no column is a part of a list or dict; only then can types be checked cell by cell
    """

    def __init__(self, model: TableModel, *, refuse_extra: bool = False) -> None:
        self._msgspec = install()
        exposure = () if model.exposure is None else (model.exposure,)
        self.columns = tuple(column for column in model.schema.columns if column.name not in exposure)
        self.names = (*(column.name for column in self.columns), *exposure)
        self.is_flat = not any(_PART.fullmatch(name) for name in self.names)
        self.targets = model.targets
        plain = model.notation.thousands is None and model.notation.decimal == "."
        self.rules = {column.name: cell_rule(column, plain) for column in self.columns}
        if exposure:
            self.rules[exposure[0]] = CellRule(float, {"type": "number", "exclusiveMinimum": 0})
        beside = (*model.targets, *model.dropped, *model.schema.ignored)
        self.beside = tuple(name for name in beside if name not in self.rules)
        self.refuse_extra = refuse_extra

    def _struct(self, name: str, kinds: Mapping[str, Any]) -> Any:
        """A type of msgspec with these fields, whatever their names."""
        fields: list[Any] = [(f"c{i}", kind) for i, kind in enumerate(kinds.values())]
        names = {f"c{i}": each for i, each in enumerate(kinds)}
        if self.refuse_extra:
            fields += [(f"d{i}", Any, None) for i in range(len(self.beside))]
            names |= {f"d{i}": each for i, each in enumerate(self.beside)}
        return self._msgspec.defstruct(
            name, fields, rename=names, forbid_unknown_fields=self.refuse_extra, gc=False
        )

    @cached_property
    def row(self) -> Any:
        """The type of a row."""
        if not self.is_flat:
            return dict[str, Any]
        return self._struct("Row", {name: rule.kind for name, rule in self.rules.items()})

    @cached_property
    def table(self) -> Any:
        """The type of columns, each a list of cells."""
        return self._struct("Columns", {name: list_of(rule.kind) for name, rule in self.rules.items()})

    def values(self, struct: Any) -> tuple[Any, ...]:
        """What a struct of `row` or `table` holds, in the order of `names`."""
        return self._msgspec.structs.astuple(struct)[: len(self.names)]

    def to_json(self) -> dict[str, Any]:
        """JSON Schema of a row."""
        properties = {name: rule.schema | self._said(name) for name, rule in self.rules.items()}
        required = {"required": list(self.names)} if self.is_flat else {}
        closed = self.refuse_extra and self.is_flat
        if closed:
            properties |= {name: {"description": "Not used."} for name in self.beside}
        return {
            "type": "object",
            "title": "Row",
            "description": f"What the model predicts {', '.join(self.targets)} from; null is missing.",
            "properties": properties,
            **required,
            "additionalProperties": not closed,
        }

    def _said(self, name: str) -> dict[str, Any]:
        """Range, levels and ways of writing of a column, which bind nobody."""
        found = next((column for column in self.columns if column.name == name), None)
        if found is None:
            return {"description": "The exposure: predictions are multiplied with it."}
        said: list[str] = [found.kind]
        if found.kind == "number" and found.low is not None:
            said.append(f"{found.low:g} to {found.high:g} in the training rows")
        if found.date_format:
            said.append(f"written as {found.date_format}")
        if found.unit:
            said.append(f"written with {found.unit!r}")
        examples: list[Any] = list(found.levels[:MOST_EXAMPLES])
        if not examples and found.example is not None:
            examples = [_as_json(found.example) if found.kind == "number" else found.example]
        if len(found.levels) > MOST_EXAMPLES:
            said.append(f"{len(found.levels)} levels are told apart, others count as unseen")
        return {"description": "; ".join(said)} | ({"examples": examples} if examples else {})
