"""Looking up in sorted tables: a binary search of all columns at once, unrolled into nodes."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multilayer.export.onnx.graph import Graph

Side = Literal["left", "right"]


def padded(rows: Sequence[NDArray[Any]], width: int, fill: Any = None) -> NDArray[Any]:
    """Rows of several lengths as one matrix; shorter ones end in `fill`, or repeat their last value."""
    return np.stack(
        [np.append(row, np.repeat(row[-1:] if fill is None else fill, width - len(row))) for row in rows]
    )


def count_below(graph: Graph, x: str, tables: Sequence[NDArray[Any]], side: Side) -> tuple[str, int]:
    """Of each column of x, how many values of its ascending table are below it: `np.searchsorted`.

    Gives int64 (rows, columns), and a power of two above all of these counts.

    x:    (rows, columns), of the type of the tables
    side: "left" counts values < x, "right" values <= x
    """
    n_levels = max(len(table) for table in tables).bit_length()
    size = 1 << n_levels
    top = np.inf if tables[0].dtype.kind == "f" else np.iinfo(tables[0].dtype).max
    table = graph.constant(padded(tables, size, np.array([top], tables[0].dtype)).ravel())
    start = np.arange(len(tables), dtype=np.int64)[None] * size
    place = graph.constant(start)
    compare = "Less" if side == "left" else "LessOrEqual"
    zero = graph.constant(0, np.int64)
    for level in reversed(range(n_levels)):
        step = 1 << level
        tried = graph.add("Gather", table, graph.add("Add", place, graph.constant(step - 1, np.int64)))
        is_below = graph.add(compare, tried, x)
        place = graph.add("Add", place, graph.add("Where", is_below, graph.constant(step, np.int64), zero))
    return graph.add("Sub", place, graph.constant(start)), size


def pick(graph: Graph, index: str, tables: Sequence[NDArray[Any]]) -> str:
    """Of each column of an index, the value of its table there; of an index beyond, the last value."""
    width = max(map(len, tables))
    last = np.array([[len(table) - 1 for table in tables]], np.int64)
    start = np.arange(len(tables), dtype=np.int64)[None] * width
    within = graph.add("Min", index, graph.constant(last))
    flat = graph.constant(padded(tables, width).ravel())
    return graph.add("Gather", flat, graph.add("Add", within, graph.constant(start)))
