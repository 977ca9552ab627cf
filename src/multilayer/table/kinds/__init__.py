"""Kinds of columns, a file each. `KINDS` is all of them, by name."""

from collections.abc import Mapping

from multilayer.table.column import Column
from multilayer.table.kinds.boolean import BOOLEAN
from multilayer.table.kinds.category import CATEGORY
from multilayer.table.kinds.date import DATE
from multilayer.table.kinds.duration import DURATION
from multilayer.table.kinds.kind import Kind
from multilayer.table.kinds.number import NUMBER
from multilayer.table.kinds.ordered import ORDERED
from multilayer.table.kinds.text import TEXT
from multilayer.table.kinds.time import TIME

# In the order in which they are named, and tried on a column of text.
KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (NUMBER, BOOLEAN, CATEGORY, ORDERED, DATE, TIME, DURATION, TEXT)
}


def is_as_written(column: Column) -> bool:
    """Whether cells of text files are to stay as they are written: levels, text, numbers with a unit.

    >>> is_as_written(Column("version", "category")), is_as_written(Column("n", "number"))
    (True, False)
    """
    kind, plain = kind_of(column), not column.unit and not column.thousands and column.decimal == "."
    return not kind.has_numbers or (kind is NUMBER and not plain)


def kind_of(column: Column) -> Kind:
    """The kind of a column.

    >>> kind_of(Column("zip", "category")).has_levels
    True
    """
    return KINDS[column.kind]
