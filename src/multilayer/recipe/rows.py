"""A table's rows, in memory or streamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from multilayer.recipe.chunks import budget_for
from multilayer.recipe.plan import Rows
from multilayer.recipe.rows_in_memory import InMemory
from multilayer.recipe.rows_streamed import streamed
from multilayer.recipe.wanted import Wanted


@contextmanager
def read_rows(table: Any, wanted: Wanted) -> Iterator[Rows]:
    """The rows of a table, for the length of the block; streamed from a disk where they have no room.

    Raises:
        DataError: the table cannot be read.
        ConfigError: settings that do not go with the table.
    """
    notation = replace(wanted.notation, texts=wanted.declared.as_written)
    budget = budget_for(table, wanted.memory, notation, wanted.query)
    if budget is None:
        yield InMemory(table, wanted)
        return
    with streamed(budget, wanted) as rows:
        yield rows
