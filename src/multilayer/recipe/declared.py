"""What the user declared about columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from multilayer.errors import ConfigError, nearest
from multilayer.table.column import Column, Infinite
from multilayer.table.infer import declare
from multilayer.table.kinds import KINDS, is_as_written, kind_of
from multilayer.table.kinds.kind import Kind
from multilayer.table.kinds.ordered import ORDERED
from multilayer.table.schema import LEFT_OUT, Kinds, Schema, declared_schema, infer_schema
from multilayer.table.sources.names import column_name
from multilayer.table.sources.read import Table


@dataclass(frozen=True)
class Declared:
    """What the user declared about columns: kinds by name, an edited schema, how infinities are treated."""

    kinds: Kinds = field(default_factory=dict)
    schema: Schema | None = None
    infinite: Infinite = "error"

    @classmethod
    def of(cls, kinds: Kinds | None, schema: Schema | str | Path | None, infinite: str) -> "Declared":
        """From the arguments of `fit`, checked."""
        known: tuple[Infinite, ...] = get_args(Infinite)
        if infinite not in known:
            raise ConfigError(
                f"infinite must be 'error' or 'clip'; got {infinite!r}.{nearest(infinite, known)}"
            )
        kinds = {column_name(name): kind for name, kind in (kinds or {}).items()}
        if schema is not None:
            schema = schema if isinstance(schema, Schema) else Schema.load(schema)
            for name, kind in kinds.items():
                schema = schema.replace(name, kind=kind)
        return cls(kinds, schema, infinite)

    @property
    def columns(self) -> dict[str, Column]:
        """Columns whose kind is known."""
        if self.schema is not None:
            return {column.name: column for column in self.schema.columns}
        return {name: declare(name, kind) for name, kind in self.kinds.items()}

    def check_targets(self, names: Iterable[str], task: str | None = None) -> None:
        """Refuse kinds of a target, which its task says, and a schema that makes a category of numbers.

        task: that was guessed; None before, or where it was asked for

        Raises:
            ConfigError: a target's kind was declared, and is not what is learnt.
        """
        for name in names:
            column = None if self.schema is None else self.columns.get(name)
            is_number = task == "regression" and column is not None and not kind_of(column).is_quantity
            if (self.schema is None and name in self.kinds) or is_number:
                what = self.kinds.get(name) if column is None else column.kind
                raise ConfigError(
                    f"Kinds are for columns to learn from, and the target {name!r} was declared as {what!r}. "
                    "Choose its task instead: task='multiclass' or 'binary' for classes, 'regression' for "
                    "numbers (--task)."
                )

    @property
    def left_out(self) -> tuple[str, ...]:
        """Columns that the schema ignores."""
        return () if self.schema is None else tuple(self.schema.ignored)

    @property
    def asked_out(self) -> set[str]:
        """Of these the columns that the user left out: rows may differ in them, and be equal."""
        ignored = {} if self.schema is None else self.schema.ignored
        return {name for name, why in ignored.items() if why == LEFT_OUT}

    @property
    def not_numbers(self) -> set[str]:
        """Columns that are known not to be numbers."""
        return {name for name, kind in self._known.items() if kind is None or not kind.is_numeric}

    @property
    def as_written(self) -> frozenset[str]:
        """Columns whose cells are to stay as a text file writes them."""
        return frozenset(name for name, column in self.columns.items() if is_as_written(column))

    @property
    def levels(self) -> set[str]:
        """Columns that were declared to hold levels, or true and false."""
        return {name for name, kind in self._known.items() if kind is not None and kind.is_closed}

    @property
    def _known(self) -> dict[str, Kind | None]:
        """Kinds of columns, that of levels too; None for a word that is no kind, which others refuse."""
        columns = () if self.schema is None else self.schema.columns
        said = {**self.kinds, **{column.name: column.kind for column in columns}}
        return {name: KINDS.get(kind) if isinstance(kind, str) else ORDERED for name, kind in said.items()}

    def schema_of(self, features: Table, beside: Sequence[str]) -> Schema:
        """The schema of the features: inferred, or as given. beside: other columns that it may name."""
        if self.schema is None:
            return infer_schema(features, kinds=self.kinds, infinite=self.infinite)
        infinite = self.infinite if self.infinite != "error" else None
        return declared_schema(features, self.schema, infinite=infinite, allowed=beside)
