"""Tables as people have them (files, DataFrames, arrays, mappings) become a Table of plain NumPy columns."""

import csv
import gzip
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError, nearest

MISSING_MARKERS = ("", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null")  # in text files only
CSV_EXTENSIONS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET_EXTENSIONS = (".parquet", ".pq")


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length; what `read_table` makes of every source.

    columns: name -> array (n_rows,), of one of these dtypes only:
        float64         numbers; NaN is missing (durations and times of day are seconds)
        int64           whole numbers, none missing
        bool            none missing
        datetime64[us]  dates and times (UTC where a time zone was given); NaT is missing
        object          text; None is missing

    Raises:
        DataError: no columns, or columns of unequal length.

    >>> table = Table({"rooms": np.array([3, 4]), "city": np.array(["Oslo", None], dtype=object)})
    >>> table.n_rows, table.names
    (2, ('rooms', 'city'))
    >>> table.take([1])["rooms"]
    array([4])
    """

    columns: dict[str, NDArray[Any]]

    def __post_init__(self) -> None:
        if not self.columns:
            raise DataError("A table needs at least one column; this one has none.")
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            first = next(iter(lengths))
            other = next(name for name in lengths if lengths[name] != lengths[first])
            raise DataError(
                f"All columns of a table must have the same length; {first!r} has {lengths[first]} rows "
                f"and {other!r} has {lengths[other]}. Give every column one value for each row."
            )

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in the order of the source."""
        return tuple(self.columns)

    def __getitem__(self, name: str) -> NDArray[Any]:
        self._require([name])
        return self.columns[name]

    def select(self, names: Iterable[str]) -> "Table":
        """Only these columns, in this order; DataError if one is absent."""
        names = self._require(names)
        return Table({name: self.columns[name] for name in names})

    def drop(self, names: Iterable[str]) -> "Table":
        """All columns but these; DataError if one is absent or none is left."""
        dropped = set(self._require(names))
        return Table({name: values for name, values in self.columns.items() if name not in dropped})

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> "Table":
        """Only these rows, in this order."""
        index = np.asarray(rows, dtype=np.int64)
        return Table({name: values[index] for name, values in self.columns.items()})

    def _require(self, names: Iterable[str]) -> list[str]:
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            if name not in self.columns:
                raise DataError(
                    f"The table has no column {name!r}.{nearest(name, self.columns)} "
                    f"Its columns: {listed(self.columns)}."
                )
        return names


def listed(names: Collection[str], limit: int = 12) -> str:
    """Names for an error message, cut short when there are many.

    >>> listed(["a", "b", "c"], limit=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(name) for name in list(names)[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def read_table(source: Any) -> Table:
    """Read a table from a file, a DataFrame, an array or a mapping of columns; row and column order is kept.

    source: one of
        str or Path   .csv, .tsv, .txt (each also with .gz) or .parquet. Text files need a header line and
                      UTF-8; an empty field and NA, N/A, #N/A, NaN, nan, NULL, null are missing values
        DataFrame     pandas, polars, or an Arrow table
        mapping       name -> list, array or Series
        NumPy array   2-D: columns are named x0, x1, ...; structured: columns are its fields
        Table         returned as it is

    Text stays text: "true" or "2024-05-01" in a file becomes a boolean or a date only in `infer_schema`.

    Raises:
        DataError: the source cannot be read as a table, or has no rows; the message says why and what to do.

    >>> read_table({"rooms": [3, None], "city": ["Oslo", "Rome"]})["rooms"]
    array([ 3., nan])
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, str | Path):
        table = _read_file(Path(source).expanduser())
    elif isinstance(source, Mapping):
        table = _read_mapping(source)
    elif isinstance(source, np.ndarray):
        table = _read_array(source)
    else:
        table = _read_frame(source)
    if table.n_rows == 0:
        where = f" {str(source)!r}" if isinstance(source, str | Path) else ""
        raise DataError(f"A table needs at least one row; the table{where} has column names and no rows.")
    return table


def _read_file(path: Path) -> Table:
    name = path.name.lower()
    if path.is_dir():
        raise DataError(f"A table must be a file; {str(path)!r} is a folder. Name a file inside it.")
    if not path.exists():
        raise DataError(f"There is no file {str(path)!r}.{_nearest_file(path)}")
    if not name.endswith(CSV_EXTENSIONS + PARQUET_EXTENSIONS):
        raise DataError(
            f"A table file must end in {', '.join(CSV_EXTENSIONS + PARQUET_EXTENSIONS)}; "
            f"got {str(path)!r}. Rename it, or read it with pandas and pass the frame."
        )
    if path.stat().st_size == 0:
        raise DataError(f"A table needs a header and rows; the file {str(path)!r} is empty.")
    return _read_parquet(path) if name.endswith(PARQUET_EXTENSIONS) else _read_csv(path)


def _nearest_file(path: Path) -> str:
    try:
        return nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""


def _read_parquet(path: Path) -> Table:
    with _reading(path, "a Parquet file"):
        # Hive partitioning would turn a folder called year=2024 into a column.
        return _query(f"read_parquet({_quoted(path)}, hive_partitioning = false)", names=None)


def _read_csv(path: Path) -> Table:
    import duckdb

    n_blank, delimiter, names = _read_header(path)
    with _reading(path, f"text with fields separated by {delimiter!r}"):
        try:
            return _query(csv_relation([path], n_blank, delimiter, len(names)), names)
        except duckdb.Error:
            _refuse_ragged(path, delimiter, len(names))
            raise


def csv_relation(
    paths: Sequence[Path], n_blank: int, delimiter: str, n_names: int, types: Sequence[str] | None = None
) -> str:
    """SQL that reads text files of one header as one table, its columns c0, c1, ...

    types: of the columns; None finds them out from all rows, each time that the SQL runs.
    """
    options = {
        "header": "true",
        "skip": str(n_blank),
        "comment": "''",
        "delim": _sql_text(delimiter),
        "quote": "'\"'",
        "escape": "'\"'",
        "names": "[" + ", ".join(f"'c{i}'" for i in range(n_names)) + "]",
        "nullstr": "[" + ", ".join(_sql_text(marker) for marker in MISSING_MARKERS) + "]",
        "auto_type_candidates": "['BIGINT', 'DOUBLE', 'VARCHAR']",  # booleans and dates stay text
        "sample_size": "-1",  # types hold for the whole file
        "hive_partitioning": "false",
    }
    if types is not None:
        for name in ("names", "auto_type_candidates", "sample_size"):
            del options[name]
        options["columns"] = "{" + ", ".join(f"'c{i}': '{name}'" for i, name in enumerate(types)) + "}"
    arguments = ", ".join(f"{key} = {value}" for key, value in options.items())
    files = _quoted(paths[0]) if len(paths) == 1 else f"[{', '.join(map(_quoted, paths))}]"
    relations = [
        f"read_csv({files}, {arguments}, decimal_separator = '{mark}')"
        for mark in (".," if delimiter == ";" else ".")
    ]  # beside ; a number may be 2,5
    return min(relations, key=_n_text_columns) if len(relations) > 1 else relations[0]


def _n_text_columns(relation: str) -> int:
    import duckdb

    with duckdb.connect() as connection:
        columns = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
        return sum(column[1] == "VARCHAR" for column in columns)


def _refuse_ragged(path: Path, delimiter: str, n_names: int) -> None:
    """Find the line that has too many or too few fields; only called when reading has failed."""
    with _opened(path, errors="replace") as file:
        reader = csv.reader(file, delimiter=delimiter)
        for fields in reader:
            if fields and len(fields) != n_names:
                raise DataError(
                    f"Every line of a table needs as many fields as its header; line {reader.line_num} of "
                    f"{str(path)!r} has {len(fields)} and the header {n_names}, separated by {delimiter!r}. "
                    "Mend that line: a field that contains the separator must stand in double quotes."
                )


def _opened(path: Path, errors: str = "strict") -> TextIOWrapper:
    raw = gzip.GzipFile(path) if path.name.lower().endswith(".gz") else path.open("rb")
    return TextIOWrapper(raw, encoding="utf-8-sig", errors=errors, newline="")


def _read_header(path: Path) -> tuple[int, str, list[str]]:
    """Blank lines before the header, the delimiter (which cuts the header most often), the column names."""
    try:
        with _opened(path) as file:
            text = file.read(1 << 20)
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise DataError(_not_text(path, error)) from None
    if "\0" in text or not text.strip():
        held = "binary data" if text.strip() else "no text"
        raise DataError(f"{str(path)!r} is not a table: it holds {held}. Save it as CSV or Parquet.")
    delimiters = "\t" if ".tsv" in path.name.lower()[-7:] else ",;\t|"
    start = len(text) - len(text.lstrip("\r\n"))
    headers = {
        delimiter: next(csv.reader(StringIO(text[start:], newline=""), delimiter=delimiter))
        for delimiter in delimiters
    }
    delimiter = max(headers, key=lambda key: len(headers[key]))
    names = [name.strip() or f"column{i}" for i, name in enumerate(headers[delimiter])]
    _refuse_duplicates(names)
    return len(text[:start].splitlines()), delimiter, names


def _not_text(path: Path, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return (
            f"A text table must be UTF-8; {str(path)!r} holds the byte 0x{byte:02x}, which is not. "
            "Save it again as CSV UTF-8, or read it with pandas and pass the frame."
        )
    return f"{str(path)!r} cannot be read: {error}. Check the file, or copy it again."


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
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
            reason = lines[0]
        raise DataError(
            f"{str(path)!r} cannot be read as {what}: {reason.rstrip('. ')}. "
            "Mend the file, or read it with pandas or polars and pass the frame."
        ) from None


def _query(relation: str, names: list[str] | None) -> Table:
    import duckdb

    with duckdb.connect(config={"preserve_insertion_order": True}) as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
        sources = [row[0] for row in described]
        names = sources if names is None else names
        _refuse_duplicates(names)
        selected = [
            f'{_sql_column(source, row[1], name)} AS "{i}"'
            for i, (source, row, name) in enumerate(zip(sources, described, names, strict=True))
        ]
        query = f"SELECT {', '.join(selected)} FROM {relation}"
        arrays: dict[str, Any] = connection.execute(query).fetchnumpy()
    return Table({name: _from_numpy(name, arrays[str(i)]) for i, name in enumerate(names)})


def _sql_column(source: str, sql_type: str, name: str) -> str:
    """SQL that gives a column as a type which arrives in NumPy as one of Table's."""
    column = '"' + source.replace('"', '""') + '"'
    if sql_type in (
        "BOOLEAN",
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
        "DOUBLE",
        "VARCHAR",
    ):
        return column
    if sql_type in ("FLOAT", "HUGEINT", "UHUGEINT", "BIGNUM") or sql_type.startswith("DECIMAL"):
        return f"CAST({column} AS DOUBLE)"
    if sql_type == "UUID" or sql_type.startswith("ENUM"):
        return f"CAST({column} AS VARCHAR)"
    if sql_type == "DATE" or sql_type.startswith("TIMESTAMP"):
        return f"make_timestamp(epoch_us({column}))"  # of a time with zone: UTC
    if sql_type.startswith("TIME") or sql_type == "INTERVAL":
        return f"CAST(epoch({column}) AS DOUBLE)"
    if sql_type == '"NULL"' or sql_type == "NULL":
        return "CAST(NULL AS DOUBLE)"
    raise DataError(_unusable(name, f"values of type {sql_type}"))


def _sql_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(path: Path) -> str:
    """The path as SQL text, with what duckdb would take for a pattern of file names escaped."""
    return _sql_text(re.sub(r"([*?\[])", r"[\1]", str(path)))


def _read_mapping(source: Mapping[Any, Any]) -> Table:
    names = [str(name) for name in source]
    _refuse_duplicates(names)
    return Table({name: _from_any(name, values) for name, values in zip(names, source.values(), strict=True)})


def _read_array(source: NDArray[Any]) -> Table:
    if source.dtype.names:
        return Table({name: _from_numpy(name, source[name]) for name in source.dtype.names})
    if source.ndim != 2:
        raise DataError(
            f"An array must have 2 axes (rows, columns) to be a table; got shape {source.shape}. "
            "For one column use array.reshape(-1, 1)."
        )
    return Table({f"x{i}": _from_numpy(f"x{i}", source[:, i]) for i in range(source.shape[1])})


def _read_frame(source: Any) -> Table:
    import narwhals as nw

    try:
        frame = nw.from_native(source)
    except nw.exceptions.DuplicateError as error:
        raise DataError(
            f"Column names must differ. {' '.join(str(error).split())}. Rename or drop one."
        ) from None
    except TypeError:
        frame = None
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, nw.DataFrame):
        raise DataError(
            "A table must be a file name, a DataFrame (pandas, polars, Arrow), a mapping of columns or a 2-D "
            f"array; got {type(source).__module__}.{type(source).__qualname__}. Convert it to one of these."
        )
    names = [str(name) for name in frame.columns]
    _refuse_duplicates(names)
    return Table(
        {name: _from_series(name, series) for name, series in zip(names, frame.iter_columns(), strict=True)}
    )


def _from_any(name: str, values: Any) -> NDArray[Any]:
    import narwhals as nw

    if isinstance(values, np.ndarray):
        return _from_numpy(name, values)
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise DataError(
            f"Column {name!r} must be a list, an array or a Series with one value for each row; "
            f"got {values!r}. For a table of one row, wrap each value in a list."
        )
    series = nw.from_native(values, series_only=True, pass_through=True)
    if isinstance(series, nw.Series):
        return _from_series(name, series)
    if hasattr(values, "__array__"):
        return _from_numpy(name, np.asarray(values))
    return _from_objects(name, list(values))


def _from_series(name: str, series: Any) -> NDArray[Any]:
    import narwhals as nw

    dtype = series.dtype
    if (dtype.is_integer() and series.is_null().any()) or dtype.is_float() or dtype.is_decimal():
        return _from_numpy(name, series.cast(nw.Float64()).to_numpy())
    if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if isinstance(dtype, nw.Datetime | nw.Date | nw.Duration) or dtype.is_integer():
        return _from_numpy(name, series.to_numpy())
    if isinstance(dtype, nw.String):
        return _from_objects(name, _listed(series.to_numpy(), series.is_null().to_numpy()))
    if isinstance(dtype, nw.List | nw.Array | nw.Struct | nw.Binary):
        raise DataError(_unusable(name, f"values of type {dtype}"))
    return _from_objects(name, series.to_list())


def _listed(values: NDArray[Any], missing: NDArray[np.bool_]) -> list[Any]:
    items = values.tolist()
    for row in np.flatnonzero(missing).tolist():
        items[row] = None
    return items


def _from_numpy(name: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.ndim != 1:
        raise DataError(
            f"Column {name!r} must have one axis, the rows; got shape {values.shape}. "
            "Make it several columns."
        )
    missing = np.ma.getmaskarray(values)
    kind = values.dtype.kind
    values = np.ma.getdata(values)
    if kind == "O":
        return _from_objects(name, _listed(values, missing))
    if kind == "b":
        return _from_objects(name, _listed(values, missing)) if missing.any() else values.astype(bool)
    if kind in "iu" and not missing.any() and (kind == "i" or values.max(initial=0) < 2**63):
        return values.astype(np.int64)
    if kind in "iuf":
        return np.where(missing, np.nan, values.astype(np.float64))
    if kind == "M":
        return np.where(missing, np.datetime64("NaT"), values).astype("datetime64[us]")
    if kind == "m":
        seconds = values / np.timedelta64(1, "s")
        return np.where(missing, np.nan, seconds)
    if kind in "UT":
        return _from_objects(name, _listed(values, missing))
    raise DataError(_unusable(name, f"values of type {values.dtype}"))


# Python types and what they become; the first row that covers all types of a column wins.
_WHOLE = (int, np.integer)
_NUMBER = (*_WHOLE, float, np.floating, Decimal)
_SCALAR = (*_NUMBER, str, bool, np.bool_, date, time, timedelta, np.datetime64, np.timedelta64, UUID)


def _from_objects(name: str, values: list[Any]) -> NDArray[Any]:
    """A column of Python objects: by the types that occur in it."""
    types = set(map(type, values))
    if not types <= {str, int, bool, type(None)}:
        values = [None if _is_missing(value) else value for value in values]
        types = set(map(type, values))
    has_missing = type(None) in types
    types.discard(type(None))
    if not types:
        return np.full(len(values), np.nan)

    def all_are(*allowed: type) -> bool:
        return all(issubclass(kind, allowed) for kind in types)

    if all_are(str):
        return _texts(values)
    if all_are(bool, np.bool_):
        if has_missing:
            return _texts([None if value is None else str(bool(value)).lower() for value in values])
        return np.array(values, dtype=bool)
    if all_are(*_WHOLE) and not has_missing and all(-(2**63) <= value < 2**63 for value in values):
        return np.array(values, dtype=np.int64)
    if all_are(*_NUMBER, np.bool_):
        return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    if all_are(date, np.datetime64):
        return np.array([_naive(value) for value in values], dtype="datetime64[us]")
    if all_are(time, timedelta, np.timedelta64):
        return np.array([np.nan if value is None else _seconds(value) for value in values], dtype=np.float64)
    if all_are(*_SCALAR):
        return _texts([None if value is None else str(value) for value in values])
    strange = next(value for value in values if value is not None and not isinstance(value, _SCALAR))
    raise DataError(_unusable(name, f"values of type {type(strange).__name__}"))


def _texts(values: list[str | None]) -> NDArray[np.object_]:
    """Texts as an array in which equal ones are one object: far less memory, and faster to look up."""
    shared: dict[str | None, str | None] = {}
    array = np.empty(len(values), dtype=object)
    array[:] = list(map(shared.setdefault, values, values))
    return array


def _is_missing(value: Any) -> bool:
    """None, NaN, NaT, and pandas' NA, which is recognised by name as pandas need not be there."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    may_be_nan = isinstance(value, float | np.floating | Decimal | np.datetime64 | np.timedelta64)
    return may_be_nan and bool(value != value)


def _naive(value: date | np.datetime64 | None) -> date | np.datetime64 | None:
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _seconds(value: time | timedelta | np.timedelta64) -> float:
    if isinstance(value, time):
        return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
    if isinstance(value, timedelta):
        return value.total_seconds()
    return float(value / np.timedelta64(1, "s"))


def _refuse_duplicates(names: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            f"Column names must differ; {listed(repeated)} occurs more than once. Rename or remove one."
        )


def _unusable(name: str, what: str) -> str:
    return (
        f"Column {name!r} holds {what}; a column must hold numbers, booleans, text or dates. "
        "Drop it, or turn it into such columns."
    )
