"""A table larger than memory, on disk: read in pieces, and asked what its columns hold."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.column import Column
from multilayer.table.kinds import kind_of
from multilayer.table.levels import as_levels, frequent_levels
from multilayer.table.odd_cells import without_texts
from multilayer.table.sources.database import sql_text
from multilayer.table.sources.dtype_hints import Note
from multilayer.table.sources.read import Table
from multilayer.table.sources.values import from_numpy, merged
from multilayer.table.text_kind import SIGN_MARKS, sign_marks, unread_texts

PIECE_CELLS = 1_000_000  # of a table in memory, where one goes through all of it piece by piece
FEWEST_MB = 100  # that DuckDB works with
NEVER_MORE_LEVELS = 1_000_000  # counted exactly; beyond, only the number of them is an estimate
FLOATS = ("FLOAT", "DOUBLE")


@dataclass(frozen=True)
class Copied:
    """Names of the columns of d.rows and of those left out, notes on them, and how many rows are aside."""

    names: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: dict[str, Note]
    n_aside: int


class StoredTable:
    """A table on disk, of which any stretch of rows can be read as a `Table`. Made by `store`
    (`copy_to_disk.py`).

    names:   of the columns, in the order of the source
    left_out: names of the columns that were not copied
    n_rows:  in all
    n_aside: the first so many rows are those kept aside
    n_bytes: on disk
    """

    def __init__(self, connection: Any, copied: Copied, folder: Path) -> None:
        self.connection, self.folder = connection, folder
        self.names, self.left_out, self.n_aside = copied.names, copied.left_out, copied.n_aside
        self.notes = copied.notes
        self.n_rows = int(self._one("SELECT count(*) FROM d.rows")[0])
        self._places = {name: f"c{i}" for i, name in enumerate(self.names)}
        types = connection.execute("DESCRIBE d.rows").fetchall()
        self._types = {name: str(types[i][1]) for i, name in enumerate(self.names)}

    @property
    def n_bytes(self) -> int:
        """Bytes of its files on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def rows(self, start: int, stop: int, names: Sequence[str] | None = None) -> Table:
        """Rows start to stop - 1, of these columns or all."""
        names = self.names if names is None else names
        places = ", ".join(self._places[name] for name in names)
        arrays = self.connection.execute(
            f"SELECT {places} FROM d.rows WHERE rowid >= {int(start)} AND rowid < {int(stop)}"
        ).fetchnumpy()
        columns = merged(from_numpy(name, arrays[self._places[name]]) for name in names)
        return Table(dict(columns), self.notes)

    def pieces(self, size: int, names: Sequence[str] | None = None) -> Iterator[Table]:
        """All rows in their order, at most so many at a time."""
        for start in range(0, self.n_rows, size):
            yield self.rows(start, min(start + size, self.n_rows), names)

    def limit_memory(self, memory_mb: float | int) -> None:
        """Let DuckDB use at most so much memory from now on."""
        self.connection.execute(f"SET memory_limit = '{max(FEWEST_MB, int(memory_mb))}MB'")

    def is_text(self, name: str) -> bool:
        """Whether a column holds text."""
        return self._types[name] == "VARCHAR"

    @property
    def nested(self) -> list[str]:
        """Names of columns of lists or dicts, which become several columns of a `Table`."""
        return [name for name, kind in self._types.items() if is_nested(kind)]

    def distinct(self, name: str, most: int) -> NDArray[Any]:
        """The smallest distinct values of a column, at most so many; missing ones are not among them."""
        c = self._places[name]
        arrays = self.connection.execute(
            f"SELECT DISTINCT {c} FROM d.rows WHERE {c} IS NOT NULL ORDER BY {c} LIMIT {most}"
        ).fetchnumpy()
        return as_in_table(name, arrays[c])

    def counts(self, name: str, weight: str | None) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The distinct values of a column, and how many rows have each, or what these weigh."""
        c = self._places[name]
        n = "count(*)" if weight is None else f"sum({self._places[weight]})"
        arrays = self.connection.execute(
            f"SELECT {c}, CAST({n} AS DOUBLE) AS n FROM d.rows WHERE {c} IS NOT NULL "
            f"GROUP BY {c} ORDER BY {c}"
        ).fetchnumpy()
        return as_in_table(name, arrays[c]), np.asarray(arrays["n"], np.float64)

    def facts(self, name: str) -> "Facts":
        """What is seen of a column in all rows."""
        c, is_number = self._places[name], self._types[name] in FLOATS
        infinite = f"count(*) FILTER (isinf({c}))" if is_number else "0"
        finite = f" FILTER (NOT isinf({c}))" if is_number else ""
        n, low, high, distinct, n_infinite = self._one(
            f"SELECT count({c}), min({c}){finite}, max({c}){finite}, approx_count_distinct({c}), {infinite} "
            "FROM d.rows"
        )
        return Facts(self.n_rows - int(n), low, high, int(distinct), int(n_infinite))

    def levels(self, column: Column) -> tuple[int, tuple[str, ...]]:
        """How many values a category has, and which of them are worth a code of their own."""
        c = self._places[column.name]
        floor = max(2, self.n_rows // 10_000)
        n_levels = int(self._one(f"SELECT count(DISTINCT {c}) FROM d.rows")[0])
        arrays = self.connection.execute(
            f"SELECT {c}, count(*) AS n FROM d.rows WHERE {c} IS NOT NULL GROUP BY {c} HAVING n >= {floor} "
            f"ORDER BY n DESC, {c} LIMIT {NEVER_MORE_LEVELS}"
        ).fetchnumpy()
        levels = as_levels(as_in_table(column.name, arrays[c]))
        counts = Counter(dict(zip(levels.tolist(), arrays["n"].tolist(), strict=True)))
        return n_levels, frequent_levels(counts, self.n_rows)

    def read_texts(self, column: Column) -> "Texts":
        """Read every distinct text of a column as its kind."""
        c = self._places[column.name]
        self.connection.execute(f"CREATE OR REPLACE TABLE d.texts AS SELECT DISTINCT {c} FROM d.rows")
        n = int(self._one("SELECT count(*) FROM d.texts")[0])
        low, high, odd = np.inf, -np.inf, frozenset[str]()
        for start in range(0, n, PIECE_CELLS):
            found = self.connection.execute(
                f"SELECT {c} FROM d.texts WHERE rowid >= {start} AND rowid < {start + PIECE_CELLS}"
            ).fetchnumpy()
            values = as_in_table(column.name, found[c])
            if values.dtype != object:  # all are missing
                continue
            unread = unread_texts(column, values)
            odd |= unread
            numbers = numbers_of(column, without_texts(values, unread | SIGN_MARKS))
            finite = numbers[np.isfinite(numbers)]
            low, high = min([low, *finite]), max([high, *finite])
        self.connection.execute("DROP TABLE d.texts")
        signs = ", ".join(map(sql_text, sorted(SIGN_MARKS)))
        n_odd = self._count(column.name, odd)
        n_cells = int(self._one(f"SELECT count(*) FILTER ({c} NOT IN ({signs})) FROM d.rows")[0])
        return Texts(float(low), float(high), odd, n_odd, n_cells)

    def _count(self, name: str, texts: Collection[str]) -> int:
        if not texts:
            return 0
        listed_ = ", ".join(map(sql_text, sorted(texts)))
        return int(self._one(f"SELECT count(*) FROM d.rows WHERE {self._places[name]} IN ({listed_})")[0])

    def clear(self, name: str, texts: Collection[str]) -> None:
        """Make these texts of a column missing."""
        if texts:
            c, listed_ = self._places[name], ", ".join(map(sql_text, sorted(texts)))
            self.connection.execute(f"UPDATE d.rows SET {c} = NULL WHERE {c} IN ({listed_})")

    def signs(self, name: str) -> frozenset[str]:
        """Signs such as ? among the texts of a category that stand for a missing value."""
        c, signs = self._places[name], ", ".join(map(sql_text, sorted(SIGN_MARKS)))
        found = self.connection.execute(f"SELECT DISTINCT {c} FROM d.rows WHERE {c} IN ({signs})").fetchall()
        others = self.connection.execute(
            f"SELECT DISTINCT {c} FROM d.rows WHERE {c} NOT IN ({signs}) LIMIT 2"
        )
        texts = [row[0] for row in (*found, *others.fetchall())]
        return sign_marks(np.array(texts, dtype=object), None) if found else frozenset()

    def _one(self, query: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self.connection.execute(query).fetchone()
        return row


@dataclass(frozen=True)
class Facts:
    """What is seen of a column in all rows: missing cells, range of finite values (None without any), about
    how many distinct values, infinite ones.
    """

    n_missing: int
    low: Any
    high: Any
    n_unique: int
    n_infinite: int


@dataclass(frozen=True)
class Texts:
    """What a column's texts are as numbers (of a date: days): least, largest; those that are none; how many
    rows have such, and how many have any text.
    """

    low: float
    high: float
    odd: frozenset[str]
    n_odd: int
    n_cells: int


def as_in_table(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """A column of DuckDB's as a Table has it."""
    return Table(dict(from_numpy(name, values)))[name]


def numbers_of(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The values as the schema's range counts them."""
    numbers = kind_of(column).numbers
    assert numbers is not None
    return numbers(column, values)


def is_nested(sql_type: str) -> bool:
    """Whether a type of DuckDB's is one of lists or dicts."""
    return sql_type.endswith("]") or sql_type.startswith(("STRUCT", "MAP"))
