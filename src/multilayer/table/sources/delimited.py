"""Text files of delimited fields (CSV, TSV): separator, header and types are found, DuckDB reads the rows."""

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

from multilayer.errors import DataError
from multilayer.table.sources.database import connect, of_relation, reason_of, sql_text
from multilayer.table.sources.header import Header, find_header, start_of_line
from multilayer.table.sources.intact import check_packed, unpacked
from multilayer.table.sources.names import column_names
from multilayer.table.sources.plain_rows import SMALL, plain_columns
from multilayer.table.sources.plain_text import UTF8, Copy, encoding_of, has_mixed_line_ends
from multilayer.table.sources.values import COMMON_MARKS, Columns

_CODE_BYTES = re.compile(rb"0[xXbB]")
_HAS_CODES = "bool_or(regexp_full_match({c}, '[+-]?0[xXbB].*'))"
_MAY_HAVE_POINTS = re.compile(r"[+-]?([1-9]\d{0,2}(\.\d{3})+|\d{1,3})|\D*", re.ASCII)
_HAS_POINTS = (  # what `have_points_of_thousands`, which is asked later, can be true of
    r"bool_and(regexp_full_match({c}, '[+-]?([1-9]\d{{0,2}}(\.\d{{3}})+|\d{{1,3}})')) "
    r"AND bool_or(regexp_full_match({c}, '.*\.\d\d0'))"
)
HEAD_LETTERS = 1 << 20
MOST_LETTERS = 2_000_000  # of one line, as DuckDB has it
MOST_REASON = 200  # letters of what DuckDB says
COMPRESSIONS = ("", ".gz", ".zst")
CSV_EXTENSIONS = tuple(
    f"{kind}{compression}" for compression in COMPRESSIONS for kind in (".csv", ".tsv", ".txt")
)


@dataclass(frozen=True)
class Delimited:
    """A file of delimited text and what its head tells: how to read it, and the names of its columns.

    n_skipped: lines before the table: blank ones, comments, titles
    delimiter: of , ; tab and | the one that cuts the header most often
    decimals:  decimal signs that its numbers may have
    marks:     what stands for missing values, beside `COMMON_MARKS`
    has_names: whether the first line holds the names; else columns are called 0, 1, 2, ...
    remarks:   what was done in reading for the user, in words
    more:      further files like it, which follow
    encoding:  of the file
    copy:      in UTF-8, where the file is in another encoding
    """

    path: Path
    n_skipped: int
    delimiter: str
    names: tuple[str, ...]
    decimals: str
    marks: tuple[str, ...] = ()
    has_names: bool = True
    remarks: tuple[str, ...] = ()
    more: tuple[Path, ...] = ()
    encoding: str = UTF8
    copy: Copy | None = field(default=None, compare=False)
    _copies: list[Copy] = field(default_factory=list, compare=False)

    @classmethod
    def open(
        cls,
        path: Path,
        decimal: str = ".",
        marks: tuple[str, ...] = (),
        *,
        encoding: str | None = None,
        has_names: bool = True,
    ) -> "Delimited":
        """Read the head of a file.

        Raises:
            DataError: it is no text in its encoding, or two columns have one name.
        """
        encoding = encoding_of(path, encoding)
        copy = None if encoding == UTF8 else Copy.of_text(path, encoding)
        header = _read_header(path if copy is None else copy.path, path, has_names=has_names)
        delimiter = header.delimiter
        decimals = ".," if delimiter == ";" and decimal == "." else decimal  # beside ; a number may be 2,5
        names = column_names(header.fields if has_names else range(len(header.fields)))
        return cls(
            path, header.n_skipped, delimiter, tuple(names), decimals, marks, has_names, header.remarks,
            encoding=encoding, copy=copy,
        )  # fmt: skip

    @property
    def _readable(self) -> Path:
        return self.path if self.copy is None else self.copy.path

    def read(self, unread: Collection[str] = (), as_text: Collection[str] = ()) -> Columns:
        """All rows. Types hold for the whole file; columns in `as_text` stay text."""
        if (plain := self._plain(unread, as_text)) is not None:
            return plain
        with connect() as connection, self.errors():
            return of_relation(self.relation(connection, as_text), unread, self.names)

    def _plain(self, unread: Collection[str], as_text: Collection[str]) -> Columns | None:
        """The columns of a small file of plain cells; None for any other, which is DuckDB's."""
        is_packed = self.path.suffix.lower() in COMPRESSIONS
        if self.copy is not None or self.more or is_packed or "." not in self.decimals:
            return None
        try:
            if self.path.stat().st_size > SMALL:
                return None
            text = self.path.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return None
        n_before = self.n_skipped + self.has_names
        shared = {"marks": self.marks, "unread": unread, "as_text": as_text}
        return plain_columns(text, self.names, self.delimiter, n_before=n_before, **shared)

    def relation(self, connection: Any, as_text: Collection[str] = ()) -> Any:
        """The file as a relation of DuckDB, with columns c0, c1, ... of numbers and text."""
        import duckdb

        check_packed((self._readable, *self.more))
        try:
            return self._relation(connection, as_text)
        except duckdb.Error:
            if self.more or self.copy is not None or not has_mixed_line_ends(self.path):
                raise
            self._copies.append(Copy.of_text(self.path, self.encoding))  # there as long as this object
            return replace(self, copy=self._copies[0])._relation(connection, as_text)

    def _relation(self, connection: Any, as_text: Collection[str]) -> Any:
        sniffing = {
            "names": "[" + ", ".join(f"'c{i}'" for i in range(len(self.names))) + "]",
            "auto_type_candidates": "['BIGINT', 'HUGEINT', 'DOUBLE', 'VARCHAR']",  # others stay text
            "sample_size": "-1",  # types hold for the whole file
        }
        found = [(mark, self._source(connection, mark, sniffing).types) for mark in self.decimals]
        decimal, types = min(found, key=lambda pair: sum(str(kind) == "VARCHAR" for kind in pair[1]))
        kinds = [
            "VARCHAR" if name in as_text else str(kind) for name, kind in zip(self.names, types, strict=True)
        ]
        for place in self._to_keep(connection, decimal, kinds):
            kinds[place] = "VARCHAR"
        return self._typed(connection, decimal, kinds)

    def _typed(self, connection: Any, decimal: str, kinds: Sequence[str]) -> Any:
        columns = "{" + ", ".join(f"'c{i}': '{kind}'" for i, kind in enumerate(kinds)) + "}"
        return self._source(connection, decimal, {"columns": columns, "auto_detect": "false"})

    def _to_keep(self, connection: Any, decimal: str, kinds: Sequence[str]) -> list[int]:
        """Columns that DuckDB takes for numbers and that may not be what it reads: to be looked at as text.

        0x1F and 0b11 are codes here as in a frame, and in 900, 1.100 the point stands between thousands.
        """
        points = [i for i, kind in enumerate(kinds) if kind == "DOUBLE" and decimal == "."]
        whole = [i for i, kind in enumerate(kinds) if kind in ("BIGINT", "HUGEINT")]
        whole = whole if whole and self._may_hold_codes() else []
        points = self._still_likely(points)
        if not points and not whole:
            return []
        texts = self._typed(connection, decimal, ["VARCHAR"] * len(kinds))
        return [*_where(texts, points, _HAS_POINTS), *_where(texts, whole, _HAS_CODES)]

    def _still_likely(self, places: Sequence[int]) -> list[int]:
        """Columns of which the first million letters hold nothing but numbers as in 900, 1.100.

        Of most columns of decimals the first row tells that they are others.
        """
        if not places:
            return []
        text = head_of(self._readable)
        whole_lines = text[: text.rfind("\n")] if len(text) >= HEAD_LETTERS else text
        rows = StringIO(whole_lines[start_of_line(text, self.n_skipped + self.has_names) :], newline="")
        likely = list(places)
        for fields in _readable(csv.reader(rows, delimiter=self.delimiter, skipinitialspace=True)):
            if len(fields) == len(self.names):
                likely = [i for i in likely if _MAY_HAVE_POINTS.fullmatch(fields[i].strip())]
            if not likely:
                break
        return likely

    def _may_hold_codes(self) -> bool:
        """Whether 0x, or 0b, is somewhere in the files."""
        for path in (self._readable, *self.more):
            with unpacked(path) as file:
                last = b""
                while block := file.read(1 << 20):
                    if _CODE_BYTES.search(last + block):
                        return True
                    last = block[-1:]
        return False

    def _source(self, connection: Any, decimal: str, more: dict[str, str]) -> Any:
        options = {
            "header": str(self.has_names).lower(),
            "skip": str(self.n_skipped),
            "comment": "''",
            "delim": sql_text(self.delimiter),
            "quote": "'\"'",
            "escape": "'\"'",
            "nullstr": "[" + ", ".join(map(sql_text, dict.fromkeys((*COMMON_MARKS, *self.marks)))) + "]",
            "hive_partitioning": "false",
            "decimal_separator": sql_text(decimal),
        } | more
        arguments = ", ".join(f"{key} = {value}" for key, value in options.items())
        files = ", ".join(map(literal_path, (self._readable, *self.more)))
        return connection.sql(f"SELECT * FROM read_csv([{files}], {arguments})")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn an error of duckdb into one short sentence about the file."""
        import duckdb

        with file_errors(self.path, f"text with fields separated by {self.delimiter!r}"):
            try:
                yield
            except duckdb.Error:
                self._refuse_ragged()
                raise

    def _refuse_ragged(self) -> None:
        """Find the line that has too many or too few fields; only called when reading has failed."""
        for path in (self.path, *self.more):
            with opened(self._readable if path == self.path else path, errors="replace") as file:
                reader = csv.reader(_lines(file), delimiter=self.delimiter, skipinitialspace=True)
                for fields in _readable(reader):
                    if fields and len(fields) != len(self.names) and reader.line_num > self.n_skipped:
                        raise DataError(
                            "Every line of a table needs as many fields as its header; line "
                            f"{reader.line_num} of {str(path)!r} has {len(fields)} and the header "
                            f"{len(self.names)}, separated by {self.delimiter!r}. Mend that line: a field "
                            "that contains the separator must stand in double quotes."
                        )


def _where(texts: Any, places: Sequence[int], condition: str) -> list[int]:
    """Columns of which an aggregate in SQL is true; {} stands for the column."""
    if not places:
        return []
    tests = ", ".join(condition.format(c=f"trim(c{place})") for place in places)
    (found,) = texts.aggregate(tests).fetchall()
    return [place for place, is_so in zip(places, found, strict=True) if is_so]


def _lines(file: TextIOWrapper) -> Iterator[str]:
    """Lines up to the first that is too long: some packed kilobytes may unpack to gigabytes of one."""
    while (line := file.readline(MOST_LETTERS)) and len(line) < MOST_LETTERS:
        yield line


def _readable(reader: Any) -> Iterator[list[str]]:
    """Lines up to the first with a field that is too long for Python's reader: a quote may have no end."""
    try:
        yield from reader
    except csv.Error:
        return


def _read_header(path: Path, shown: Path, *, has_names: bool) -> Header:
    """The header of a file in UTF-8; shown: what it is called."""
    text = head_of(path)
    if "\0" in text or not text.strip():
        held = "binary data" if text.strip() else "no text"
        raise DataError(f"{str(shown)!r} is not a table: it holds {held}. Save it as CSV or Parquet.")
    delimiters = "\t" if re.search(r"\.tsv(\.gz|\.zst)?$", shown.name.lower()) else ",;\t|"
    try:
        return find_header(text, delimiters, has_names=has_names)
    except csv.Error:
        raise DataError(
            f"A name of a column must be shorter than {csv.field_size_limit():,} letters; the header of "
            f"{str(shown)!r} has a longer one. A quote in it may have no end: mend that line."
        ) from None


def head_of(path: Path) -> str:
    """The first million letters of a text file in UTF-8, and the rest of the line that they end in.

    Raises:
        DataError: it is of another encoding, cannot be decompressed, or has a line without an end.
    """
    try:
        with opened(path) as file:
            text = file.read(HEAD_LETTERS)
            if len(text) < HEAD_LETTERS:
                return text
            begun = len(text) - 1 - max(text.rfind("\n"), text.rfind("\r"))
            rest = file.readline(MOST_LETTERS - begun)
            if begun + len(rest) == MOST_LETTERS:
                raise DataError(
                    f"A line of a table must be shorter than {MOST_LETTERS:,} letters; {str(path)!r} has a "
                    "longer one. Check that it is a table of text, and that every quote has an end."
                )
            return text + rest
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise DataError(not_text(path, error)) from None


def opened(path: Path, errors: str = "strict") -> TextIOWrapper:
    """A text file in UTF-8, with or without a byte order mark, plain, .gz or .zst."""
    return TextIOWrapper(unpacked(path), encoding="utf-8-sig", errors=errors, newline="")


def not_text(path: Path, error: Exception) -> str:
    """Why a file is no text in UTF-8, and what to do."""
    if not isinstance(error, UnicodeDecodeError):
        return f"{str(path)!r} cannot be read: {error}. Check the file, or copy it again."
    byte = f"0x{error.object[error.start]:02x}"
    return (
        f"A text table must be UTF-8; {str(path)!r} holds the byte {byte}, which is not. Name its encoding, "
        "such as encoding='latin-1' (--encoding latin-1), or save it again as CSV UTF-8."
    )


@contextmanager
def file_errors(path: Path, what: str) -> Iterator[None]:
    """Turn an error of duckdb into one short sentence about the file."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        lines = re.sub(r"^[\w ]+ Error: ", "", str(error)).splitlines()
        at_line = re.match(r"CSV Error on Line: (\d+)", lines[0])
        if at_line:
            reason = f"line {at_line[1]}: {lines[1]}"
        elif lines[0].startswith("Error when sniffing"):
            reason = "its lines do not form a table"
        else:
            reason = reason_of(error) if len(lines) == 1 else lines[0]
        if len(reason) > MOST_REASON:  # it may hold a line of the file
            reason = reason[:MOST_REASON] + "…"
        raise DataError(
            f"{str(path)!r} cannot be read as {what}: {reason.rstrip('. ')}. Mend the file, or read it with "
            "pandas or polars and pass the frame."
        ) from None


def literal_path(path: Path) -> str:
    """The path as SQL text, with what duckdb would take for a pattern of file names escaped."""
    return sql_text(re.sub(r"([*?\[])", r"[\1]", str(path)))
