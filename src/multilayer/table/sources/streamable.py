"""Files of one table that can be streamed: how large they are, and as a relation of DuckDB."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multilayer.errors import DataError
from multilayer.table.sources.database import connect
from multilayer.table.sources.delimited import Delimited, file_errors, literal_path, opened
from multilayer.table.sources.files import Files
from multilayer.table.sources.intact import reading
from multilayer.table.sources.names import column_names
from multilayer.table.sources.notation import Notation

COPY_FACTOR = 3  # disk that sorting takes at most, in sizes of the table: the copy, and what the sort puts by
PACK_FACTOR = 8  # text in a .gz or .zst file, in sizes of that file


@dataclass(frozen=True)
class Source:
    """Files of one table that can be streamed: Parquet, or text with one header.

    notation: how they write missing values and numbers
    n_bytes: of the table, uncompressed: of text as it is, of Parquet as its columns are coded
    n_rows, n_columns: for text files of more than 1 MB the rows are an estimate from the first lines
    """

    files: Files
    notation: Notation
    n_bytes: int
    n_rows: int
    n_columns: int

    @classmethod
    def find(cls, source: Any, notation: Notation | None = None) -> "Source | None":
        """The files that a source names, as `Files.find` has it; None if it is something else to stream.

        Raises:
            DataError: a name, folder or pattern without table files, or with several kinds of them.
        """
        if not is_path(source):
            return None
        files, notation = Files.find(source), notation or Notation()
        if files.kind not in ("Parquet", "text"):
            return None
        with reading(files.paths), file_errors(files.paths[0], "a table"):
            is_parquet = files.kind == "Parquet"
            size = _parquet_size(files.paths) if is_parquet else _text_size(files.paths, notation)
        return cls(files, notation, *size)

    def relation(self, connection: Any) -> tuple[Any, list[str]]:
        """The table as a relation of DuckDB, and the names of its columns.

        Raises:
            DataError: files differ in their columns.
        """
        if self.files.kind == "Parquet":
            relation, names = self.files.parquet(connection)
            return relation, column_names(names)
        first, *others = (
            Delimited.open(
                path,
                self.notation.decimal,
                self.notation.missing,
                encoding=self.notation.encoding,
                has_names=self.notation.header,
            )
            for path in self.files.paths
        )
        if first.copy is not None or any(other.copy is not None for other in others):
            raise DataError(
                f"A table that is streamed must be UTF-8; {str(first.path)!r} is {first.encoding}. Save it "
                "again as UTF-8, or leave memory= out and give the table room."
            )
        for other in others:
            if set(other.names) != set(first.names) or len(other.names) != len(first.names):
                raise DataError(
                    "Text files of a table that is streamed must have the same columns; "
                    f"{str(other.path)!r} has others than {str(first.path)!r}. Make them alike."
                )
        if any(replace(other, path=first.path) != first for other in others):
            files = [first, *others]
            return _by_name(connection, files, self.notation.texts), list(first.names)
        text = replace(first, more=self.files.paths[1:])
        with text.errors():
            return text.relation(connection, self.notation.texts), list(text.names)

    @property
    def disk_bytes(self) -> int:
        """Disk that a copy of it takes at most, with what sorting puts by."""
        return COPY_FACTOR * max(self.n_bytes, 8 * self.n_rows * self.n_columns)


def _by_name(connection: Any, files: Sequence[Delimited], texts: Collection[str]) -> Any:
    """Files one below the other, the columns of each in the order of the first: their headers may differ."""
    found = []
    for file in files:
        with file.errors():
            found.append(dict(zip(file.names, map(str, file.relation(connection).types), strict=True)))
    as_text = {name for types in found for name, sql_type in types.items() if sql_type == "VARCHAR"}
    as_text.update(texts)
    together = None
    for file in files:
        with file.errors():
            part = file.relation(connection, as_text)
        own = {name: f"c{i}" for i, name in enumerate(file.names)}
        part = part.project(", ".join(f"{own[name]} AS c{i}" for i, name in enumerate(files[0].names)))
        together = part if together is None else together.union(part)
    return together


def is_path(source: Any) -> bool:
    """Whether it is a path, or several."""
    several = isinstance(source, list | tuple) and bool(source)
    return isinstance(source, str | Path) or (several and all(isinstance(one, str | Path) for one in source))


def _parquet_size(paths: Sequence[Path]) -> tuple[int, int, int]:
    files = f"[{', '.join(map(literal_path, paths))}]"
    with connect() as connection:
        n_rows = connection.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata({files})").fetchone()
        sizes = connection.execute(
            "SELECT sum(total_uncompressed_size), count(DISTINCT path_in_schema) FROM "
            f"parquet_metadata({files})"
        ).fetchone()
    assert n_rows is not None and sizes is not None
    return int(sizes[0] or 0), int(n_rows[0] or 0), int(sizes[1])


def _text_size(paths: Sequence[Path], notation: Notation) -> tuple[int, int, int]:
    n_bytes = sum(p.stat().st_size * (PACK_FACTOR if is_packed(p) else 1) for p in paths)
    with opened(paths[0], errors="replace") as file:
        text = file.read(1 << 20)
    lines = max(text.count("\n"), 1)
    n_columns = len(Delimited.open(paths[0], encoding=notation.encoding).names)
    return n_bytes, round(n_bytes * lines / max(len(text.encode()), 1)), n_columns


def is_packed(path: Path) -> bool:
    """Whether a text file is compressed."""
    return path.name.lower().endswith((".gz", ".zst"))
