"""Files as columns: text, Parquet, JSON, Arrow, databases; one, several, a folder of them, a pattern."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from multilayer.errors import ConfigError, DataError, extra
from multilayer.machine import total_memory
from multilayer.table.sources.arrow_schema import ArrowField, arrow_fields
from multilayer.table.sources.database import (
    DATABASE_EXTENSIONS,
    connect,
    of_connection,
    of_database,
    of_relation,
    sql_name,
)
from multilayer.table.sources.delimited import (
    CSV_EXTENSIONS,
    Delimited,
    file_errors,
    head_of,
    literal_path,
    not_text,
    opened,
)
from multilayer.table.sources.dtype_hints import Note, Odd
from multilayer.table.sources.frames import of_frame, of_mapping, of_records
from multilayer.table.sources.intact import check_plain, reading
from multilayer.table.sources.names import column_name, listed
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.paths import path_of, refuse_absent, refuse_url
from multilayer.table.sources.plain_text import Copy, unzipped
from multilayer.table.sources.spreadsheet import SPREADSHEET_EXTENSIONS, of_spreadsheet
from multilayer.table.sources.values import Columns

PARQUET_EXTENSIONS = (".parquet", ".pq")
JSON_EXTENSIONS = tuple(
    f"{kind}{gz}" for kind in (".jsonl", ".ndjson", ".json") for gz in ("", ".gz", ".zst")
)
ARROW_EXTENSIONS = (".arrow", ".feather", ".ipc")
MOST_LETTERS = 1 << 28  # of JSON that is taken apart at once: some gigabytes as Python's objects
_INTERVALS = {  # SQL of a duration from a whole number
    "s": "to_seconds({})",
    "ms": "to_microseconds({} * 1000)",
    "us": "to_microseconds({})",
    "ns": "to_microseconds({} // 1000)",
}
_KINDS = {
    "text": CSV_EXTENSIONS,
    "Parquet": PARQUET_EXTENSIONS,
    "JSON": JSON_EXTENSIONS,
    "Arrow": ARROW_EXTENSIONS,
    "spreadsheet": SPREADSHEET_EXTENSIONS,
    "database": DATABASE_EXTENSIONS,
}


@dataclass(frozen=True)
class Files:
    """The files that a source names, all of one kind.

    kind: "text", "Parquet", "JSON", "Arrow", "spreadsheet" or "database"
    root: the folder below which names of folders such as year=2024 are columns; None where they are not
    """

    paths: tuple[Path, ...]
    kind: str
    root: Path | None = None
    unpacked: Copy | None = field(default=None, compare=False)  # of a .zip file; there as long as this object

    @classmethod
    def find(cls, source: str | Path | Sequence[str | Path]) -> "Files":
        """The files behind a name, a pattern with *, ? or [...], a folder, or several names.

        Raises:
            DataError: there are none, they are of several kinds, or of a kind that cannot be read.
        """
        refuse_url(source)
        if not isinstance(source, str | Path):
            paths = [path_of(name) for name in source]
            return cls(tuple(paths), _one_kind(paths, "the list"))
        path = path_of(source)
        if path.is_dir():
            paths = _below(path)
            return cls(tuple(paths), _one_kind(paths, f"the folder {str(path)!r}"), path)
        if (not path.exists() and any(sign in str(path) for sign in "*?[")) or "**" in path.parts:
            root = _without_wildcards(path)
            pattern = str(path.relative_to(root))
            paths = sorted(found for found in root.glob(pattern) if found.is_file())
            if not paths:
                raise DataError(
                    f"No file fits the pattern {str(path)!r}. Mend the pattern, or name the file."
                )
            return cls(tuple(paths), _one_kind(paths, f"the pattern {str(path)!r}"), root)
        if path.name.lower().endswith(".zip") and path.is_file():
            unpacked = unzipped(path)
            return cls((unpacked.path,), _kind(unpacked.path), unpacked=unpacked)
        return cls((path,), _kind(path))

    def read(
        self, notation: Notation, query: str | None = None, unread: Collection[str] = ()
    ) -> tuple[Columns, list[str]]:
        """The columns of all files, one after the other, and what was done for the user, in words.

        query: rows to take: in a database of its tables, else of `self`, which is the file or the files

        Raises:
            DataError: a file cannot be read, or files differ in their columns.
        """
        with reading(self.paths, may_change=self.kind == "database"):
            return self._read(notation, query, unread)

    def _read(
        self, notation: Notation, query: str | None, unread: Collection[str]
    ) -> tuple[Columns, list[str]]:
        if self.kind == "database":
            if len(self.paths) > 1:
                raise DataError(
                    f"One database can be read at a time; got {listed(list(map(str, self.paths)))}."
                )
            return of_database(self.paths[0], query, unread), []
        notes = [f"{len(self.paths)} files read as one table"] if len(self.paths) > 1 else []
        if query is not None:
            return self._query(notation, query, unread), notes
        if self.kind == "Parquet":
            with connect() as connection, file_errors(self.paths[0], "a Parquet file"):
                relation, names = self.parquet(connection)
                _refuse_endless_columns(connection, self.paths, len({*names} - {*unread}))
                columns = of_relation(relation, unread, names)
                for name, note in self.parquet_notes(connection).items():
                    columns = columns.noted(name, note)
                return columns, notes + self._lost_orders(connection)
        if self.kind == "JSON":
            return self._json(unread), notes
        if self.kind == "text":
            notes += list(dict.fromkeys(self._text(self.paths[0], notation).remarks))
        if self.kind == "spreadsheet":
            read = [of_spreadsheet(path, has_names=notation.header) for path in self.paths]
            notes += [remark for _, remarks in read for remark in remarks]
            return _concatenated([columns for columns, _ in read], self.paths), notes
        tables = [self._one(path, notation, unread, notation.texts) for path in self.paths]
        if len(tables) > 1 and self.kind == "text" and (mixed := _mixed_columns(tables)):
            as_text = {*mixed, *notation.texts}
            tables = [self._one(path, notation, unread, as_text) for path in self.paths]
        return _concatenated(tables, self.paths), notes

    def _one(
        self, path: Path, notation: Notation, unread: Collection[str], as_text: Collection[str]
    ) -> Columns:
        if self.kind == "Arrow":
            return of_frame(_arrow_table(path), unread)[0]
        return self._text(path, notation).read(unread, as_text)

    def _text(self, path: Path, notation: Notation) -> Delimited:
        return Delimited.open(
            path,
            notation.decimal,
            notation.missing,
            encoding=notation.encoding,
            has_names=notation.header,
        )

    def _query(self, notation: Notation, query: str, unread: Collection[str]) -> Columns:
        """The rows of a query over the file or files, which it calls `self`."""
        with connect() as connection:
            if self.kind == "Parquet":
                with file_errors(self.paths[0], "a Parquet file"):
                    relation, names = self.parquet(connection)
            elif self.kind == "text" and len(self.paths) == 1:
                file = self._text(self.paths[0], notation)
                with file.errors():
                    relation, names = file.relation(connection), list(file.names)
            else:
                raise ConfigError(
                    "query= reads from a database, from one CSV file, or from Parquet files; got "
                    f"{len(self.paths)} file(s) of {self.kind}. Read them without a query, or pass "
                    "table=None and name the files in the query."
                )
            renamed = zip(relation.columns, names, strict=True)
            selected = ", ".join(f"{sql_name(source)} AS {sql_name(name)}" for source, name in renamed)
            relation.project(selected).create_view("self")
            return of_connection(connection, query, unread)

    def parquet(self, connection: Any) -> tuple[Any, list[str]]:
        """The files as a relation, and the names of its columns as they stand in the files.

        Raises:
            DataError: they differ in their columns.
        """
        names = [_parquet_names(connection, path) for path in self.paths]
        _refuse_other_names(names, self.paths)
        paths = "[" + ", ".join(map(literal_path, self.paths)) + "]"
        folders = self._partitions()
        options = f"union_by_name = {len(self.paths) > 1}, hive_partitioning = {bool(folders)}"
        relation = connection.sql(f"SELECT * FROM read_parquet({paths}, {options})")
        relation = _with_durations(relation, names[0], self._arrow_fields(connection))
        if not folders:
            return relation, names[0]
        added = [name for name in folders if name not in names[0]]  # and none of folders above the root
        kept = [*relation.columns[: len(names[0])], *added]
        return relation.project(", ".join(map(sql_name, kept))), [*names[0], *added]

    def _arrow_fields(self, connection: Any) -> dict[str, ArrowField]:
        """What the Arrow schema of the files says of columns; an error if units differ."""
        of_files = [_arrow_fields(connection, path) for path in self.paths]
        for path, fields in zip(self.paths, of_files, strict=True):
            units = {name: told.unit for name, told in fields.items() if told.unit}
            if units != {name: told.unit for name, told in of_files[0].items() if told.unit}:
                raise DataError(
                    "Files that make up a table must have durations in the same units; "
                    f"{str(self.paths[0])!r} and {str(path)!r} differ. Write one of them anew, or read them "
                    f"apart."
                )
        return of_files[0]

    def parquet_notes(self, connection: Any) -> dict[str, Note]:
        """Notes of columns of which the Arrow schema tells more than Parquet: zones, categories, orders."""
        notes = {}
        for name, told in self._arrow_fields(connection).items():
            if told.is_dictionary:
                levels = self._levels(name, told) if told.is_ordered else None
                notes[column_name(name)] = Note("ordered", levels=levels) if levels else Note("category")
            elif told.zone is not None:
                notes[column_name(name)] = Note("date", zone=told.zone)
        return notes

    def _lost_orders(self, connection: Any) -> list[str]:
        fields = self._arrow_fields(connection).items()
        lost = [name for name, told in fields if told.is_ordered and not self._levels(name, told)]
        return [f"the order of {listed(lost)} is not known without PyArrow"] if lost else []

    def _levels(self, name: str, told: ArrowField) -> tuple[Any, ...] | None:
        """The levels of an ordered category, in their order."""
        if told.levels is not None:
            return told.levels
        try:
            arrow: Any = import_module("pyarrow")
            parquet: Any = import_module("pyarrow.parquet")
        except ImportError:
            return None
        try:
            file = parquet.ParquetFile(self.paths[0])
            if not file.num_row_groups:
                return None
            chunk = file.read_row_group(0, columns=[name]).column(0).chunk(0)
        except (arrow.ArrowException, OSError, LookupError):  # what DuckDB reads, PyArrow need not
            return None
        return tuple(chunk.dictionary.to_pylist()) if hasattr(chunk, "dictionary") else None

    def _partitions(self) -> list[str]:
        """Names of columns in names of folders, as `year` in year=2024, below the root."""
        if self.root is None:
            return []
        folders = [path.parent.relative_to(self.root).parts for path in self.paths]
        names = [[part.partition("=")[0] for part in parts if "=" in part] for parts in folders]
        if any(other != names[0] for other in names):
            odd = next(path for path, other in zip(self.paths, names, strict=True) if other != names[0])
            raise DataError(
                f"Folders named like year=2024 must be the same on the way to every file; {str(odd)!r} lies "
                f"otherwise than {str(self.paths[0])!r}. Read one part of the folder."
            )
        return names[0]

    def _json(self, unread: Collection[str]) -> Columns:
        rows: list[Any] = []
        for path in self.paths:
            name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
            content = _json_document(path) if name.endswith(".json") else list(_json_lines(path))
            if isinstance(content, dict):
                return of_mapping(content, unread)
            rows += content
        return of_records(rows, unread)


def _kind(path: Path) -> str:
    name = path.name.lower()
    refuse_absent(path)
    kind = next((kind for kind, endings in _KINDS.items() if name.endswith(endings)), None)
    if kind is None:
        read = "pandas.read_excel" if name.endswith((".xls", ".xlsb", ".ods")) else "pandas or polars"
        endings = [*(ending for known in _KINDS.values() for ending in known), ".zip (of one such file)"]
        raise DataError(
            f"A table file must end in {', '.join(endings)}; got {str(path)!r}. Rename it, or read it with "
            f"{read} and pass the frame."
        )
    check_plain(path)
    if path.stat().st_size == 0:
        raise DataError(f"A table needs a header and rows; the file {str(path)!r} is empty.")
    return kind


def _one_kind(paths: Sequence[Path], where: str) -> str:
    if not paths:
        raise DataError(f"A table needs files; {where} has none that is a table.")
    kinds = {_kind(path): path for path in paths}
    if len(kinds) > 1:
        (one, first), (other, second), *_ = kinds.items()
        raise DataError(
            f"Files that make up a table must be of one kind; {where} has {first.name!r} ({one}) and "
            f"{second.name!r} ({other}). Name a file, or give a pattern such as '*{first.suffix}'."
        )
    return next(iter(kinds))


def _below(folder: Path) -> list[Path]:
    """The table files in a folder and in those in it; names that begin with . or _ are no tables."""
    endings = tuple(ending for kind, known in _KINDS.items() if kind != "database" for ending in known)
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name.lower().endswith(endings)
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )


def _without_wildcards(path: Path) -> Path:
    """The folder that a pattern starts from."""
    while any(sign in str(path) for sign in "*?["):
        path = path.parent
    return path


def _refuse_endless_columns(connection: Any, paths: Sequence[Path], n_columns: int) -> None:
    """A few kilobytes of Parquet may say that a value stands in billions of rows."""
    files = ", ".join(map(literal_path, paths))
    query = f"SELECT sum(num_rows) FROM parquet_file_metadata([{files}])"
    ((found,),) = connection.sql(query).fetchall()
    n_rows = int(found or 0)
    if 8 * n_rows * n_columns > total_memory():
        raise DataError(
            f"A table must fit into memory; {str(paths[0])!r} is said to have {n_rows:,} rows, which do not. "
            "Check the file, read a part of it with a query, or stream it (memory=)."
        )


def _parquet_names(connection: Any, path: Path) -> list[str]:
    """Names of the columns as the file has them; DuckDB would call a column "a" beside "A" "a_1"."""
    with file_errors(path, "a Parquet file"):
        query = f"SELECT name, coalesce(num_children, 0) FROM parquet_schema({literal_path(path)})"
        rows = iter(connection.sql(query).fetchall())
    _, n_columns = next(rows)
    names = []
    for _ in range(n_columns):
        name, to_skip = next(rows)
        names.append(name)
        while to_skip:  # what a list or a struct consists of
            to_skip += next(rows)[1] - 1
    return names


def _arrow_fields(connection: Any, path: Path) -> dict[str, ArrowField]:
    with file_errors(path, "a Parquet file"):
        metadata = f"parquet_kv_metadata({literal_path(path)})"
        query = f"SELECT value FROM {metadata} WHERE key = 'ARROW:schema'::BLOB"
        found = connection.sql(query).fetchall()
    return arrow_fields(bytes(found[0][0])) if found else {}


def _with_durations(relation: Any, names: Sequence[str], fields: Mapping[str, ArrowField]) -> Any:
    """The relation with durations, which Parquet holds as whole numbers, as such."""
    if not any(told.unit for told in fields.values()):
        return relation
    columns = [sql_name(name) for name in relation.columns]
    for i, name in enumerate(names):
        if name in fields and fields[name].unit and str(relation.types[i]) == "BIGINT":
            columns[i] = f"{_INTERVALS[str(fields[name].unit)].format(columns[i])} AS {columns[i]}"
    return relation.project(", ".join(columns))


def _json_lines(path: Path) -> Iterator[Any]:
    try:
        with opened(path) as file:
            lines = iter(partial(file.readline, MOST_LETTERS), "")
            for number, line in enumerate(lines, start=1):
                _refuse_endless(path, line)
                if line.strip():
                    yield _parsed(path, line, f"line {number}")
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise DataError(not_text(path, error)) from None


def _json_document(path: Path) -> Any:
    """What a .json file holds: a list of dicts, a dict of lists or of dicts of rows, or a dict a line."""
    head = head_of(path).lstrip()
    try:
        with opened(path) as file:
            text = file.read(MOST_LETTERS)
        _refuse_endless(path, text)
        content = json.loads(text)
    except (OSError, EOFError) as error:
        raise DataError(not_text(path, error)) from None
    except ValueError as error:
        if head.startswith("{"):
            return list(_json_lines(path))
        raise DataError(f"{str(path)!r} cannot be read as JSON: {error}. Mend the file.") from None
    if not isinstance(content, dict) or any(isinstance(value, list) for value in content.values()):
        return content
    if _is_of_rows(content):
        return {name: list(cells.values()) for name, cells in content.items()}
    return [content]


def _is_of_rows(content: Mapping[str, Any]) -> bool:
    """Whether it is columns as pandas writes them by default: a dict of numbered rows for each, all alike."""
    columns = list(content.values())
    if not columns or not all(isinstance(cells, dict) for cells in columns):
        return False
    rows = list(columns[0])
    return bool(rows) and all(map(str.isdecimal, rows)) and all(list(cells) == rows for cells in columns)


def _refuse_endless(path: Path, text: str) -> None:
    """A few kilobytes that are packed may become any number of letters."""
    if len(text) >= MOST_LETTERS:
        raise DataError(
            f"A line or document of JSON must be shorter than {MOST_LETTERS:,} letters; {str(path)!r} has a "
            "longer one. Write an object a line, or a Parquet file."
        )


def _parsed(path: Path, line: str, where: str) -> Any:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} of {str(path)!r} is no JSON: {error}. Mend it.") from None
    if not isinstance(row, dict):
        raise DataError(
            f"Each line of a JSON table must be an object; {where} of {str(path)!r} is of type "
            f"{type(row).__name__}. Write an object a line."
        )
    return row


def _arrow_table(path: Path) -> Any:
    arrow = extra("pyarrow", needed_by=f"reading {path.name}", install="pyarrow")
    ipc = extra("pyarrow.ipc", needed_by=f"reading {path.name}", install="pyarrow")
    try:
        with arrow.OSFile(
            str(path), "rb"
        ) as file:  # not mapped: a mapped file that gets shorter ends the process
            try:
                table = ipc.open_file(file).read_all()
            except arrow.ArrowInvalid:
                file.seek(0)
                table = ipc.open_stream(file).read_all()
        table.validate(full=True)  # offsets and places that lie outside would read foreign memory
    except (arrow.ArrowException, OSError, MemoryError, LookupError) as error:
        reason = str(error).rstrip(". ") or "there is too little memory for it"
        raise DataError(
            f"{str(path)!r} cannot be read as an Arrow file: {reason}. Check the file, or write it again."
        ) from None
    return table


def _mixed_columns(tables: Sequence[Columns]) -> list[str]:
    """Columns that are text in one file and numbers in another."""
    mixed = []
    for name in tables[0]:
        kinds = {
            _values(table[name]).dtype == object
            for table in tables
            if name in table and not _is_empty(table[name])
        }
        if len(kinds) > 1:
            mixed.append(name)
    return mixed


def _values(column: Any) -> Any:
    return column.dense() if hasattr(column, "dense") else column


def _is_empty(column: Any) -> bool:
    values = _values(column)
    return values.dtype.kind == "f" and bool(np.isnan(values).all())


def _refuse_other_names(names: Sequence[Collection[str]], paths: Sequence[Path]) -> None:
    for path, other in zip(paths, names, strict=True):
        odd = sorted(set(names[0]) ^ set(other))
        if odd:
            raise DataError(
                f"Files that make up a table must have the same columns; {str(paths[0])!r} and {str(path)!r} "
                f"differ in {listed(odd)}. Read them apart, or give them the same columns."
            )


def _concatenated(tables: Sequence[Columns], paths: Sequence[Path]) -> Columns:
    """The tables one below the other, by the names of their columns; of notes, those that hold for all."""
    if len(tables) == 1:
        return tables[0]
    _refuse_other_names([list(table) for table in tables], paths)
    columns = {name: _stacked(name, [_values(table[name]) for table in tables], paths) for name in tables[0]}
    notes = {name: _common_note(name, tables) for name in dict.fromkeys(n for t in tables for n in t.notes)}
    kept = {name: note for name, note in notes.items() if note is not None}
    return Columns(columns, kept, _odd_of_all(tables))


def _odd_of_all(tables: Sequence[Columns]) -> dict[str, Odd]:
    """Odd cells, their rows counted through all files."""
    odd: dict[str, Odd] = {}
    n_before = 0
    for table in tables:
        for name, cells in table.odd.items():
            odd[name] = cells.moved(n_before) + odd.get(name)
        n_before += len(next(iter(table.values())))
    return odd


def _common_note(name: str, tables: Sequence[Columns]) -> Note | None:
    """What the files that have a value in a column say of it alike: of categoricals, at least that."""
    said = [table.notes.get(name) for table in tables if not _is_empty(table[name])]
    if said and all(note == said[0] for note in said):
        return said[0]
    categorical = bool(said) and all(note and note.kind in ("category", "ordered") for note in said)
    return Note("category") if categorical else None


def _stacked(name: str, parts: list[Any], paths: Sequence[Path]) -> Any:
    """The parts of a column as one; a part without any value takes the type of the others."""
    target = next((part.dtype for part in parts if part.dtype.kind not in "biuf"), None)
    if target is None:
        return np.concatenate(parts)
    for part, path in zip(parts, paths, strict=True):
        if part.dtype != target and not _is_empty(part):
            raise DataError(
                f"A column must hold the same in all files; {name!r} holds {part.dtype} in {str(path)!r} and "
                f"{target} elsewhere. Give it one type in all files."
            )
    empty = np.datetime64("NaT") if target.kind == "M" else None
    return np.concatenate(
        [part if part.dtype == target else np.full(len(part), empty, dtype=target) for part in parts]
    )
