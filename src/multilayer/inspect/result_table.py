"""`ResultTable`: a small table of results that needs no pandas to be looked at."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from multilayer.errors import ConfigError, extra, nearest

MOST_SHOWN = 60  # rows of a printed table


class ResultTable(Mapping[str, Any]):
    """Columns of equal length by name; prints as text, shows as HTML, and becomes a frame of pandas.

    Args:
        columns: name -> values, a list or an array each.
        note: what the numbers are, in a sentence; stands below the table.

    >>> table = ResultTable({"column": ["size", "zone"], "mean": np.array([0.5, 0.25])}, "in meters")
    >>> print(table)
    column     mean
    size    0.50000
    zone    0.25000
    in meters
    >>> table["mean"].sum(), len(table.rows)
    (np.float64(0.75), 2)
    """

    def __init__(self, columns: Mapping[str, Any], note: str = "") -> None:
        self.columns, self.note = dict(columns), note

    def __getitem__(self, name: str) -> Any:
        if name not in self.columns:
            raise ConfigError(
                f"the columns of this table are {', '.join(self.columns)}; got {name!r}."
                f"{nearest(str(name), self.columns)}"
            )
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Each row by name, in plain Python types."""
        lists = {
            name: values.tolist() if isinstance(values, np.ndarray) else list(values)
            for name, values in self.columns.items()
        }
        return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]

    def to_frame(self) -> Any:
        """A pandas DataFrame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        pandas = extra("pandas", needed_by="to_frame", install="pandas")
        return pandas.DataFrame(self.columns)

    def __repr__(self) -> str:
        header, rows, more = self._cells()
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (header, *rows)
        ]
        return "\n".join([*lines, *filter(None, (more, self.note))])

    def _repr_html_(self) -> str:
        header, rows, more = self._cells()
        head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in header)
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:{'left' if i == 0 else 'right'}'>{escape(cell)}</td>"
                             for i, cell in enumerate(row)) + "</tr>"
            for row in rows
        )  # fmt: skip
        below = "".join(f"<p>{escape(line)}</p>" for line in (more, self.note) if line)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"

    def _cells(self) -> tuple[list[str], list[list[str]], str]:
        """Header, rows and what is left out, as text."""
        shown = self.rows[:MOST_SHOWN]
        left = self.n_rows - len(shown)
        cells = [[_text(value) for value in row.values()] for row in shown]
        return list(self.columns), cells, f"and {left:,} more" if left else ""


def _text(value: Any) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return "-"
        size = abs(value)
        return f"{value:.5f}" if 1e-4 <= size < 1 else f"{value:.5g}"
    return (
        ", ".join(map(str, value))
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )
