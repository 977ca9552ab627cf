"""How a fitted model, or what was exported from it, reads tables: as those of the fit. NumPy alone."""

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, SchemaError, nearest, warn
from multilayer.table.kinds import is_as_written, kind_of
from multilayer.table.list_columns import as_at_fit
from multilayer.table.odd_cells import as_learnt
from multilayer.table.row_weights import check_exposure
from multilayer.table.schema import Schema, check, extra_columns, strange_columns
from multilayer.table.sources.names import listed
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.read import Table, read_source
from multilayer.tasks.task import Task

EXTRA = ("warn", "ignore", "error")


class TableReader(ABC):
    """Reads and checks tables by what a fit learnt of its own.

    target, task, dropped, notation, exposure: as `Model` has them
    """

    target: str | tuple[str, ...]
    task: Task
    dropped: tuple[str, ...]
    notation: Notation
    exposure: str | None

    @property
    @abstractmethod
    def schema(self) -> Schema:
        """Kinds, ranges and levels of the columns."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of all columns that it predicts."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def _in_words(self) -> str:
        what = "the number" if self.task.kind == "regression" else "the label"
        return f"{what if len(self.targets) == 1 else what + 's'} {listed(self.targets)}"

    def _read(self, table: Any, query: str | None, extra: str = "warn") -> Table:
        return self._passed_over(self._raw(table, query, extra), extra)

    def _raw(self, table: Any, query: str | None, extra: str) -> Table:
        """A table in the notation of the fit; columns that were not used there may hold anything."""
        if extra not in EXTRA:
            near = nearest(str(extra), EXTRA)
            raise ConfigError(f"extra must be 'warn', 'ignore' or 'error'; got {extra!r}.{near}")
        unread = (*self.dropped, *self.schema.ignored)
        read = read_source(table, self.reading, query=query, unread=unread, numbers=self._numbers)
        return as_at_fit(read, self._known)

    def _passed_over(self, read: Table, extra: str) -> Table:
        """The table without what is passed over in it, which one warning tells."""
        more = extra_columns(read, self.schema, tuple(self._known))
        if any(name not in read.columns for name in self.schema.names) or (more and extra == "error"):
            return read  # for `check` to refuse; what is there beside may be what is absent
        read, said = as_learnt(read, self.schema.columns)
        if more:
            read = read.drop(more)
            if extra == "warn":
                said.append(f"columns that were not there at fit are not used: {listed(more)}")
        said += strange_columns(read, self.schema)
        if said:
            text = "; ".join(said)
            warn(f"{text[0].upper()}{text[1:]}.")
        return read

    @cached_property
    def _known(self) -> dict[str, None]:
        """Names of all columns at fit, in order."""
        exposure = () if self.exposure is None else (self.exposure,)
        names = (*self.schema.names, *self.schema.ignored, *self.dropped, *self.targets, *exposure)
        return dict.fromkeys(names)

    @cached_property
    def reading(self) -> Notation:
        """How tables to predict are read: in the notation of the fit, columns of text as they are written.

        What a row becomes must not depend on the others of its file: 12E3 is text beside A7, and alone, too.
        """
        labels = self.targets if any(isinstance(label, str) for label in self.task.classes) else ()
        texts = (column.name for column in self.schema.columns if is_as_written(column))
        return replace(self.notation, texts=frozenset((*texts, *labels)))

    @cached_property
    def _numbers(self) -> frozenset[str]:
        """Columns whose text is read as numbers."""
        names = {column.name for column in self.schema.columns if kind_of(column).is_numeric}
        of_numbers = not any(isinstance(label, str) for label in self.task.classes)
        return frozenset({*names, *self.targets} if of_numbers else names)

    def _exposure_of(self, table: Table) -> NDArray[np.float64]:
        if self.exposure not in table.names:
            raise SchemaError(
                f"this model predicts {self._in_words} for an exposure, in the column {self.exposure!r}; got "
                f"columns {listed(table.names)}. Add it; 1 in every row gives predictions per unit."
            )
        return check_exposure(table[self.exposure], table.n_rows)

    def _check(self, table: Table) -> None:
        """Refuse a table that lacks columns of the fit, or has values that are not of their column's kind."""
        known = (*self.targets, *self.dropped, *([self.exposure] if self.exposure else []))
        check(table, self.schema, allowed_extra=known)
