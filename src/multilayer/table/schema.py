"""What a table holds: the kind of each column and what was seen in it; how to convert one."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, SchemaError, nearest
from multilayer.table.read import Table, listed

Kind = Literal["number", "boolean", "category", "date"]
Dates = NDArray[Any]  # datetime64[us]; beartype does not take NDArray[Any] for a dtype with a unit

MAX_LEVELS = 10_000  # of a category; the rest is pooled as rare
ISO = "ISO 8601"  # stands in date_format beside the strptime patterns below
COMPACT = "%Y%m%d"  # of dates written as whole numbers
_DIGITS = ("%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%m/%d/%y", "%d/%m/%y")
_MONTHS = ("%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p")
DATE_FORMATS = (
    ISO,
    *(day + clock for day in _DIGITS + _MONTHS for clock in _CLOCKS),
)  # of two that fit, the first is taken
BOOLEAN_PAIRS = (("false", "true"), ("f", "t"), ("no", "yes"), ("n", "y"))

_ISO_SHAPE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d.*)?|\d{8}T\d{2,6}(Z|[+-]\d.*)?")
_NUMBER_SHAPE = re.compile(r"\s*[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_ZERO_AND_ONE = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
_TRUTH = _ZERO_AND_ONE | {text: float(i) for pair in BOOLEAN_PAIRS for i, text in enumerate(pair)}
_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class Column:
    """One column of the table that a model is fitted on.

    low, high: smallest and largest value of a number; of a date, in days since 1970-01-01; else None
    levels:    of a category, the values seen often enough to tell apart, most frequent first
    date_format: of dates that came as text: "ISO 8601" or a strptime pattern
    example:   the first value, as text
    """

    name: str
    kind: Kind
    n_missing: int = 0
    n_unique: int = 0
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] = ()
    date_format: str | None = None
    example: str | None = None


@dataclass(frozen=True)
class Schema:
    """The columns that a model uses, in table order, and why it ignores others.

    ignored: name -> "constant" or "all missing"

    >>> schema = infer_schema(Table({"rooms": np.array([3, 4]), "floor": np.array([1, 1])}))
    >>> schema.names, schema["rooms"].high, schema.ignored
    (('rooms',), 4.0, {'floor': 'constant'})
    >>> Schema.from_json(schema.to_json()) == schema
    True
    """

    columns: tuple[Column, ...]
    ignored: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the used columns."""
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise SchemaError(f"The schema has no column {name!r}.{nearest(name, self.names)}")

    def to_json(self) -> dict[str, Any]:
        """The schema in dicts, lists, texts and numbers."""
        return {
            "columns": [asdict(column) | {"levels": list(column.levels)} for column in self.columns],
            "ignored": dict(self.ignored),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Schema":
        """The schema that `to_json` wrote."""
        columns = (Column(**{**column, "levels": tuple(column["levels"])}) for column in data["columns"])
        return cls(tuple(columns), dict(data["ignored"]))

    def __str__(self) -> str:
        rows = [("column", "kind", "missing", "distinct", "range or levels")]
        rows += [
            (c.name, c.kind, str(c.n_missing), str(c.n_unique), _range_or_levels(c)) for c in self.columns
        ]
        rows += [(name, "ignored", "", "", reason) for name, reason in self.ignored.items()]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join(
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}  {e}".rstrip()
            for a, b, c, d, e in rows
        )


def _range_or_levels(column: Column) -> str:
    if column.kind == "category":
        shown = ", ".join(level if len(level) <= 20 else level[:19] + "…" for level in column.levels[:4])
        return shown + (f", … ({len(column.levels)} levels)" if len(column.levels) > 4 else "")
    if column.kind == "boolean" or column.low is None or column.high is None:
        return ""
    if column.kind == "date":
        return " to ".join(_day_text(days) for days in (column.low, column.high))
    return f"{column.low:.6g} to {column.high:.6g}"


def _day_text(days: float) -> str:
    moment = np.datetime64(round(days * _MICROSECONDS_A_DAY), "us")
    return str(moment.astype("datetime64[D]" if days == int(days) else "datetime64[m]")).replace("T", " ")


def infer_schema(table: Table, *, kinds: Mapping[str, str] | None = None) -> Schema:
    """Find the kind of each column: number, boolean, category or date.

    Text that reads wholly as true/false, t/f, yes/no or y/n is boolean, wholly as dates of one format date,
    wholly as numbers is number (but not with leading zeros: "01234" is a code). Other text is category.

    kinds: name -> kind, where the user knows better: zip codes written as numbers are a category.

    Raises:
        ConfigError: kinds names no column or no kind, or a column that cannot be read as the kind.
        DataError: an infinite number, or no column left to learn from.

    >>> table = Table({"zip": np.array([94301, 10001, 94301]),
    ...                "sold": np.array(["yes", "no", "no"], dtype=object)})
    >>> [column.kind for column in infer_schema(table).columns]
    ['number', 'boolean']
    >>> infer_schema(table, kinds={"zip": "category"})["zip"].levels
    ('94301',)
    """
    kinds = kinds or {}
    _check_kinds(table, kinds)
    columns, ignored = [], {}
    for name in table.names:
        column = _describe(name, table[name], cast(Kind | None, kinds.get(name)))
        if column.n_missing == table.n_rows:
            ignored[name] = "all missing"
        elif column.n_unique == 1 and column.n_missing == 0:
            ignored[name] = "constant"
        else:
            columns.append(column)
    if not columns:
        reasons = ", ".join(f"{name!r} ({reason})" for name, reason in list(ignored.items())[:12])
        raise DataError(
            "A model needs at least one column that varies; all columns of this table are ignored: "
            f"{reasons}. Add columns, or more rows."
        )
    return Schema(tuple(columns), ignored)


def _check_kinds(table: Table, kinds: Mapping[str, str]) -> None:
    known = get_args(Kind)
    for name, kind in kinds.items():
        if name not in table.columns:
            raise ConfigError(
                f"kinds names the column {name!r}, which the table does not have."
                f"{nearest(name, table.columns)} Its columns: {listed(table.columns)}."
            )
        if kind not in known:
            raise ConfigError(
                f"A kind must be one of {', '.join(known)}; got {kind!r} for column {name!r}."
                f"{nearest(str(kind), known)}"
            )


def _describe(name: str, values: NDArray[Any], kind: Kind | None) -> Column:
    missing = is_missing(values)
    column = Column(name, "category", n_missing=int(missing.sum()))
    if column.n_missing == len(values):
        return replace(column, kind=kind or "category")
    column = replace(column, example=_shortest_text(values[np.argmin(missing)]))
    inferred, date_format = _infer_kind(values)
    kind = kind or inferred
    column = replace(column, kind=kind, date_format=date_format if kind == "date" else None)
    try:
        return _measure(column, values)
    except SchemaError as error:
        if kind == inferred:
            raise DataError(str(error)) from None
        raise ConfigError(f"kinds declares column {name!r} as {kind}. {error}") from None


def _infer_kind(values: NDArray[Any]) -> tuple[Kind, str | None]:
    if values.dtype == bool:
        return "boolean", None
    if values.dtype.kind in "if":
        return "number", None
    if values.dtype.kind == "M":
        return "date", None
    texts = _distinct_texts(values)
    if len(texts) <= 6 and {text.strip().lower() for text in texts} in map(set, BOOLEAN_PAIRS):
        return "boolean", None
    if all(map(_NUMBER_SHAPE.fullmatch, texts)):
        return "number", None
    date_format = _date_format(texts)
    return ("date", date_format) if date_format else ("category", None)


def _distinct_texts(values: NDArray[np.object_]) -> list[str]:
    return [text for text in dict.fromkeys(values.tolist()) if text is not None]


def _date_format(texts: list[str]) -> str | None:
    """The first format that reads every text, or None."""
    if not texts or not any(map(str.isdigit, texts[0])):
        return None
    for date_format in DATE_FORMATS:
        if all(moment is not None for moment in map(_date_parser(date_format), texts)):
            return date_format
    return None


def _measure(column: Column, values: NDArray[Any]) -> Column:
    """Fill in what was seen: range, number of distinct values, levels."""
    if column.kind == "category":
        counts = count_levels(as_levels(column, values))
        return replace(column, n_unique=len(counts), levels=frequent_levels(counts, len(values)))
    if column.kind == "boolean":
        return replace(column, n_unique=len(np.unique(_present(as_booleans(column, values)))))
    numbers = as_numbers(column, values) if column.kind == "number" else days(as_dates(column, values))
    distinct = np.unique(_present(numbers))
    return replace(column, n_unique=len(distinct), low=float(distinct[0]), high=float(distinct[-1]))


def _present(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return numbers[~np.isnan(numbers)]


def count_levels(levels: NDArray[np.object_]) -> Counter[str]:
    """How often each level occurs; missing ones are not counted."""
    counts = Counter(levels.tolist())
    counts.pop(None, None)
    return counts


def frequent_levels(counts: Mapping[str, int], n_rows: int) -> tuple[str, ...]:
    """The levels worth a code of their own: most frequent first, equally frequent ones by name.

    A level must occur twice, and once in 10,000 rows; at most 10,000 are kept.
    """
    floor = max(2, n_rows // 10_000)
    kept = sorted((-count, level) for level, count in counts.items() if count >= floor)
    return tuple(level for _, level in kept[:MAX_LEVELS])


def check(table: Table, schema: Schema, *, allowed_extra: Collection[str] = ()) -> None:
    """Refuse a table that a model fitted on this schema cannot use.

    allowed_extra: names that may be there unused, such as the target.

    Raises:
        SchemaError: columns are missing or extra, or a value is not of its kind. It names the columns,
            or the first such row (1: the first data row) and its value.

    >>> schema = infer_schema(Table({"rooms": np.array([3, 4])}))
    >>> check(Table({"romos": np.array([3.0])}), schema)
    Traceback (most recent call last):
    ...
    multilayer.errors.SchemaError: The model was fitted with the column 'rooms', which this table lacks. ...
    """
    known = {*schema.names, *schema.ignored, *allowed_extra}
    extra = [name for name in table.names if name not in known]
    missing = [name for name in schema.names if name not in table.columns]
    if missing:
        many = len(missing) > 1
        hints = "".join(dict.fromkeys(nearest(name, extra) for name in missing[:3]))
        raise SchemaError(
            f"The model was fitted with the column{'s' * many} {listed(missing, 30)}, which this table lacks."
            f"{hints} Add or rename the column{'s' * many}."
        )
    if extra:
        many = len(extra) > 1
        raise SchemaError(
            f"The model was fitted without the column{'s' * many} {listed(extra, 30)}, which this table has. "
            f"Drop {'them' if many else 'it'}, or fit again with {'them' if many else 'it'}."
        )
    for column in schema.columns:
        if column.kind != "category":
            CONVERSIONS[column.kind](column, table[column.name])


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """True where a column of a Table has no value."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "M":
        return np.isnat(values)
    if values.dtype == object:
        return np.array([value is None for value in values.tolist()], dtype=bool)
    return np.zeros(len(values), dtype=bool)


def as_numbers(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The column as float64 (n_rows,), NaN where missing; SchemaError for what is no finite number."""
    if values.dtype == object:
        numbers = _convert_texts(column, values, _parse_number, np.array([np.nan]))
    elif values.dtype.kind == "M":
        raise _mismatch(column, values, 0)
    else:
        numbers = values.astype(np.float64)
    infinite = np.isinf(numbers)
    if infinite.any():
        row = int(infinite.argmax())
        raise SchemaError(
            f"A number must be finite; column {column.name!r} holds {values[row]} in row "
            f"{row + 1}. Replace infinities by missing values or by a limit."
        )
    return numbers


def as_booleans(column: Column, values: NDArray[Any]) -> NDArray[np.float64]:
    """The column as 0 and 1 in float64 (n_rows,), NaN where missing.

    Reads bool, 0 and 1, and true/false, t/f, yes/no, y/n in any case.
    """
    if values.dtype == object:
        return _convert_texts(column, values, _parse_boolean, np.array([np.nan]))
    if values.dtype.kind == "M":
        raise _mismatch(column, values, 0)
    truths = values.astype(np.float64)
    strange = ~(np.isnan(truths) | (truths == 0) | (truths == 1))
    if strange.any():
        raise _mismatch(column, values, int(strange.argmax()))
    return truths


def as_dates(column: Column, values: NDArray[Any]) -> Dates:
    """The column as datetime64[us] (n_rows,), NaT where missing.

    Text is read in the column's date_format or, so that a file written elsewhere also works, as ISO 8601;
    numbers are read as YYYYMMDD.
    """
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]")
    if values.dtype == bool:
        raise _mismatch(column, values, 0)
    if values.dtype != object:
        values, formats = as_levels(column, values), [COMPACT]
    elif column.date_format:
        formats = [column.date_format, ISO]
    else:
        formats = [_date_format(_distinct_texts(values)) or ISO]
    return _convert_texts(column, values, _date_parser(*formats), np.array(["NaT"], dtype="datetime64[us]"))


def as_levels(column: Column, values: NDArray[Any]) -> NDArray[np.object_]:
    """The column as text, object (n_rows,), None where missing; a number as its shortest text: 3, not 3.0."""
    if values.dtype == object:
        return values
    present = ~is_missing(values)
    levels = np.full(len(values), None, dtype=object)
    distinct, codes = np.unique(values[present], return_inverse=True)
    levels[present] = np.array([_shortest_text(value) for value in distinct], dtype=object)[codes]
    return levels


CONVERSIONS: dict[str, Callable[[Column, NDArray[Any]], NDArray[Any]]] = {
    "number": as_numbers,
    "boolean": as_booleans,
    "date": as_dates,
    "category": as_levels,
}


def days(dates: Dates) -> NDArray[np.float64]:
    """Dates as days since 1970-01-01, with the time of day as a fraction; NaN where NaT."""
    numbers = dates.astype(np.int64) / _MICROSECONDS_A_DAY
    numbers[np.isnat(dates)] = np.nan
    return numbers


def _shortest_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, np.datetime64):
        return str(value).removesuffix(".000000").removesuffix("T00:00:00")
    number = float(value)
    if isinstance(value, np.integer) or (number.is_integer() and abs(number) < 1e16):
        return str(int(value))
    return repr(number)


def _parse_number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _parse_boolean(text: str) -> float | None:
    return _TRUTH.get(text.strip().lower())


def _parse_iso(text: str) -> datetime | None:
    text = text.strip()
    if not _ISO_SHAPE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _strptime(text: str, date_format: str) -> datetime | None:
    if date_format == COMPACT and len(text) != 8:  # strptime would read 1234 as the year 1234
        return None
    try:
        return datetime.strptime(text.strip(), date_format)
    except ValueError:
        return None


def _date_parser(*date_formats: str) -> Callable[[str], datetime | None]:
    """A function that reads a text in the first of these formats that fits, or gives None."""

    def parse(text: str) -> datetime | None:
        for date_format in date_formats:
            moment = _parse_iso(text) if date_format == ISO else _strptime(text, date_format)
            if moment is not None:
                return moment
        return None

    return parse


def _convert_texts(
    column: Column, values: NDArray[np.object_], parse: Callable[[str], Any], missing: NDArray[Any]
) -> NDArray[Any]:
    """Parse each distinct text once; SchemaError with the first row that `parse` refuses (gives None for).

    missing: (1,) array of what stands for None; it also sets the dtype of the result.
    """
    texts = _distinct_texts(values)
    parsed = list(map(parse, texts))
    if None in parsed:
        raise _mismatch(column, values, values.tolist().index(texts[parsed.index(None)]))
    lookup = np.concatenate([np.array(parsed, dtype=missing.dtype), missing])
    place: dict[str | None, int] = {text: i for i, text in enumerate(texts)}
    place[None] = len(texts)
    return lookup[np.fromiter(map(place.__getitem__, values.tolist()), dtype=np.int64, count=len(values))]


def _mismatch(column: Column, values: NDArray[Any], row: int) -> SchemaError:
    value = values[row] if isinstance(values[row], str) else _shortest_text(values[row])
    wanted = {"number": "a number", "boolean": "true or false", "date": "a date"}.get(column.kind, "text")
    wanted += f" like {column.example!r}" if column.date_format else ""
    return SchemaError(
        f"Column {column.name!r} must hold {wanted} in every row; row {row + 1} holds "
        f"{value!r}. Mend the value or leave it empty, or fit again with {column.name!r} as a category."
    )
