"""Columns that lists and dicts became, as they were when the model was fitted."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from multilayer.errors import SchemaError
from multilayer.table.cells import is_missing
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import Table
from multilayer.table.sources.sparse import SparseColumn

_PLACE = re.compile(r"(.*)\[\d+\]", re.DOTALL)


def as_at_fit(table: Table, known: Collection[str]) -> Table:
    """The table with the columns that lists or dicts became at fit, where none of them is there now.

    known: names of the columns at fit

    Raises:
        SchemaError: lists are of another length than at fit, or are lists no more.

    >>> import numpy as np
    >>> as_at_fit(Table({"e": np.array([np.nan])}), ["e[0]", "e[1]"]).names
    ('e[0]', 'e[1]')
    """
    _refuse_other_lengths(table.names, known)
    empty = {}
    for name in set(table.names).difference(known):
        parts = [part for part in known if part.startswith((f"{name}[", f"{name}."))]
        if parts and not is_missing(table[name]).all():
            raise SchemaError(
                f"Column {name!r} held lists or dicts when the model was fitted, which became "
                f"{listed(parts)}; it holds neither in this table. Make it as it was at fit, or fit again."
            )
        if parts:
            empty[name] = parts
    if not empty:
        return table
    columns = {name: values for name, values in table.columns.items() if name not in empty}
    for parts in empty.values():
        columns |= {name: SparseColumn.missing(table.n_rows) for name in parts if name not in columns}
    return replace(table, columns=columns)


def _refuse_other_lengths(names: Collection[str], known: Collection[str]) -> None:
    of_lists = [match[1] for match in map(_PLACE.fullmatch, known) if match]
    if not of_lists:
        return
    length = Counter(of_lists)
    length_now = Counter(match[1] for match in map(_PLACE.fullmatch, names) if match)
    for name, n_numbers in length.items():
        if length_now[name] not in (0, n_numbers):
            raise SchemaError(
                f"Column {name!r} held lists of {n_numbers} numbers when the model was fitted; they have "
                f"{length_now[name]} numbers in this table. Make them as those of the fit were made."
            )
