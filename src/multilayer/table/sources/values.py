"""The values of one column, in whatever they come (lists, arrays, Series), as the arrays of a `Table`."""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import DataError, extra
from multilayer.table.sources.dtype_hints import Note, Odd, note_of_dtype, note_of_objects
from multilayer.table.sources.names import column_name, refuse_duplicates, unusable
from multilayer.table.sources.sparse import SparseColumn, of_pandas

Values = NDArray[Any] | SparseColumn

# Texts that stand for a missing value in every column, of a file as of a frame. Signs such as - and ?, which
# may be values, are looked at once the kind of the column is known: see `odd_cells`.
COMMON_MARKS = ("", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null")  # of which nothing is said
MISSING_MARKS = (
    *COMMON_MARKS,
    *("n/a", "<NA>", "#N/A N/A", "#NA", "-NaN", "-nan", "None", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    *("\\N", "(null)", "<NULL>"),  # of databases
    *("#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!"),  # of spreadsheets
    *("0000-00-00", "0000-00-00 00:00:00"),  # of MySQL
)
_MARKS = frozenset(MISSING_MARKS)
_NAMED_MARKS = _MARKS.difference(COMMON_MARKS)
LARGEST_EXACT = 2**53  # beyond it, not every whole number is a float


class Columns(dict[str, Values]):
    """Columns by name; `notes` of those whose type says more than their values; in `odd` which of their
    cells held marks of missing values that not everybody knows.

    Whoever makes others of them has to hand both on; `merged` does.
    """

    def __init__(
        self,
        columns: Mapping[str, Values] | Iterable[tuple[str, Values]] = (),
        notes: Mapping[str, Note] | None = None,
        odd: Mapping[str, Odd] | None = None,
    ) -> None:
        super().__init__(columns)
        self.notes: dict[str, Note] = dict(notes or {})
        self.odd: dict[str, Odd] = dict(odd or {})

    @classmethod
    def missing(cls, name: str, n_rows: int) -> "Columns":
        """One column without any value, which takes no memory."""
        return cls({name: SparseColumn.missing(n_rows)})

    def noted(self, name: str, note: Note | None) -> "Columns":
        """The same columns, with a note on one of them; None leaves the note that is there."""
        if note is None or name not in self:
            return self
        return Columns(self, {**self.notes, name: note}, self.odd)


def from_any(name: str, values: Any) -> Columns:
    """One column of a mapping: a list, an array or a Series. Lists and dicts in it become several columns.

    Raises:
        DataError: it is no sequence of values, or holds what a table cannot hold.

    >>> from_any("rooms", [3, None])
    {'rooms': array([ 3., nan])}
    >>> from_any("size", [{"x": 1, "y": [2, 3]}])
    {'size.x': array([1]), 'size.y[0]': array([2]), 'size.y[1]': array([3])}
    """
    if isinstance(values, np.ndarray):
        return from_numpy(name, values)
    if type(values) in (list, tuple):  # before anything is imported that a single row does not need
        return from_objects(name, list(values))
    if isinstance(values, str | bytes | Mapping | set | frozenset) or not isinstance(values, Iterable):
        raise DataError(
            f"Column {name!r} must be a list, an array or a Series with one value for each row; "
            f"got {reprlib.repr(values)}. For a table of one row, wrap each value in a list."
        )
    import narwhals as nw

    series = nw.from_native(values, series_only=True, pass_through=True)
    if isinstance(series, nw.Series):
        return from_series(name, series)
    if type(values).__module__.split(".")[0] == "pandas":  # an Index, or an array such as a Categorical
        pandas = extra("pandas", needed_by=f"reading column {name!r}", install="pandas")
        return from_series(name, nw.from_native(pandas.Series(values), series_only=True))
    if hasattr(values, "__array__"):
        return from_numpy(name, np.asarray(values))
    return from_objects(name, list(values))


def from_series(name: str, series: Any) -> Columns:
    """One column of a frame, as a narwhals Series."""
    import narwhals as nw

    dtype, native = series.dtype, series.to_native()
    on_numpy = getattr(native, "dtype", None)  # of pandas; other libraries have types of their own
    if isinstance(on_numpy, np.dtype) and on_numpy.kind in "biufmM":
        return from_numpy(name, native.to_numpy())
    if (sparse := of_pandas(native)) is not None:
        return Columns({name: sparse})
    if isinstance(dtype, nw.Float64):
        return from_numpy(name, series.to_numpy())
    if isinstance(dtype, nw.Int128 | nw.UInt128) or dtype.is_decimal():
        return from_objects(name, series.to_list())
    if dtype.is_float():
        return from_numpy(name, series.cast(nw.Float64()).to_numpy())
    if dtype.is_integer() and series.is_null().any():
        return from_objects(name, series.to_list())
    if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
        utc = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return from_numpy(name, utc.to_numpy()).noted(name, note_of_dtype(dtype))
    if isinstance(dtype, nw.Datetime | nw.Date | nw.Duration | nw.List | nw.Array) or dtype.is_integer():
        return from_numpy(name, series.to_numpy())
    if isinstance(dtype, nw.String):
        return from_objects(name, _items(series.to_numpy(), series.is_null().to_numpy()))
    if isinstance(dtype, nw.Struct):
        fields = [(field.name, series.struct.field(field.name)) for field in dtype.fields]
        return _of_fields(name, fields, from_series)
    return from_objects(name, series.to_list()).noted(name, _note_of_series(series))


def _note_of_series(series: Any) -> Note | None:
    """The note of a column's type; pandas tells the order also of categories that are no text."""
    native: Any = getattr(series.to_native(), "dtype", None)
    if type(native).__name__ == "CategoricalDtype":
        ordered = bool(native.ordered)
        return Note("ordered", levels=tuple(native.categories)) if ordered else Note("category")
    return note_of_dtype(series.dtype)


def from_numpy(name: str, values: NDArray[Any]) -> Columns:
    """A NumPy array of any dtype; masked places are missing, fields or a second axis become columns."""
    if values.dtype.names:
        return _of_fields(name, [(field, values[field]) for field in values.dtype.names], from_numpy)
    if values.ndim == 2:
        return _of_places(name, values)
    if values.ndim != 1:
        raise unusable(name, f"arrays of {values.ndim - 1} axes")
    missing = np.ma.getmaskarray(values)
    kind = values.dtype.kind
    values = np.ma.getdata(values)
    if kind == "O":
        return from_objects(name, _items(values, missing))
    if kind == "b":
        if missing.any():
            return from_objects(name, _items(values, missing))
        return Columns({name: values.astype(bool)})
    if kind in "iu" and not missing.any() and (kind == "i" or values.max(initial=0) < 2**63):
        return Columns({name: values.astype(np.int64)})
    if kind in "iu" and _beyond_floats(values[~missing]):
        return Columns(
            {name: _texts([None if cell is None else str(cell) for cell in _items(values, missing)])}
        )
    if kind in "iuf":
        return Columns({name: np.where(missing, np.nan, values.astype(np.float64))})
    if kind == "M":
        dates = np.where(missing, np.datetime64("NaT"), values).astype("datetime64[us]")
        return Columns({name: dates})
    if kind == "m":
        seconds = values / np.timedelta64(1, "s")
        return Columns({name: np.where(missing, np.nan, seconds)}, {name: Note("duration")})
    if kind in "UTS":
        return from_objects(name, _items(values, missing))
    raise unusable(name, f"values of type {values.dtype}")


def _beyond_floats(whole: NDArray[np.integer[Any]]) -> bool:
    """Whether a float could not hold every digit of these whole numbers."""
    return bool(len(whole)) and (int(whole.max()) > LARGEST_EXACT or int(whole.min()) < -LARGEST_EXACT)


def _items(values: NDArray[Any], missing: NDArray[np.bool_]) -> list[Any]:
    items = values.tolist()
    for row in np.flatnonzero(missing).tolist():
        items[row] = None
    return items


# Python types and what they become; the first row that covers all types of a column wins.
_WHOLE = (int, np.integer)
_NUMBER = (*_WHOLE, float, np.floating, Decimal)
_SCALAR = (*_NUMBER, str, bool, np.bool_, date, time, timedelta, np.datetime64, np.timedelta64, UUID)
_LIST = (list, tuple, np.ndarray)


def from_objects(name: str, values: list[Any]) -> Columns:
    """A column of Python objects: by the types that occur in it.

    Whole numbers that neither int64 nor a float can hold, digit by digit, become text.

    >>> from_objects("id", [2**60 + 1, None])["id"]
    array(['1152921504606846977', None], dtype=object)
    """
    types = set(map(type, values))
    if float in types and types <= {float, int, type(None)} and not (int in types and _has_wide(values)):
        return Columns({name: np.array(values, dtype=np.float64)})  # most columns: NumPy takes None for NaN
    if not types <= {str, int, bool, type(None)}:
        values = [None if _is_missing(value) else value for value in values]
        types = set(map(type, values))
    if np.ndarray in types and any(
        isinstance(v, np.ndarray) and not v.ndim for v in values
    ):  # one value each
        values = [value[()] if isinstance(value, np.ndarray) else value for value in values]
        return from_objects(name, values)
    if any(map(_is_level, types)):
        values = [_level_text(value) if _is_level(type(value)) else value for value in values]
        return from_objects(name, values).noted(name, Note("category"))
    if any(issubclass(kind, str) for kind in types):
        tidy = _tidied(values, types)
        if (odd := _odd_marks(values, tidy)) is not None:
            tidied = from_objects(name, tidy)
            return Columns(tidied, tidied.notes, {name: odd} if name in tidied else {})
        values, types = tidy, set(map(type, tidy))
    has_missing = type(None) in types
    types.discard(type(None))
    if not types:
        return Columns({name: np.full(len(values), np.nan)})

    def all_are(*allowed: type) -> bool:
        return all(issubclass(kind, allowed) for kind in types)

    if all_are(*_LIST):
        return _of_lists(name, values)
    if all_are(Mapping):
        return _of_mappings(name, values)
    if all_are(*_SCALAR):
        column = Columns({name: _of_scalars(values, all_are, has_missing)})
        return column.noted(name, note_of_objects(types, values))
    strange = next(value for value in values if value is not None and not isinstance(value, _SCALAR))
    others = "" if len(types) == 1 else f" beside {next(k for k in types if k is not type(strange)).__name__}"
    raise unusable(name, f"values of type {type(strange).__name__}{others}")


def _of_scalars(values: list[Any], all_are: Any, has_missing: bool) -> NDArray[Any]:
    if all_are(str):
        return _texts(values)
    if all_are(bool, np.bool_):
        if has_missing:
            return _texts([None if value is None else str(bool(value)).lower() for value in values])
        return np.array(values, dtype=bool)
    if all_are(*_WHOLE) and not has_missing and all(-(2**63) <= value < 2**63 for value in values):
        return np.array(values, dtype=np.int64)
    if all_are(*_WHOLE, Decimal) and _are_beyond_floats(values):
        return _texts([None if value is None else str(int(value)) for value in values])
    if all_are(*_NUMBER, np.bool_):
        return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    if all_are(date, np.datetime64):
        return np.array([_naive(value) for value in values], dtype="datetime64[us]")
    if all_are(time, timedelta, np.timedelta64):
        return np.array([np.nan if value is None else _seconds(value) for value in values], dtype=np.float64)
    return _texts([None if value is None else str(value) for value in values])


def _texts(values: list[str | None]) -> NDArray[np.object_]:
    """Texts as an array in which equal ones are one object: far less memory, and faster to look up."""
    shared: dict[str | None, str | None] = {}
    array = np.empty(len(values), dtype=object)
    array[:] = list(map(shared.setdefault, values, values))
    return array


def _has_wide(values: Sequence[Any]) -> bool:
    return any(type(value) is int and abs(value) > LARGEST_EXACT for value in values)


def _are_beyond_floats(values: Sequence[Any]) -> bool:
    """Whether they are whole numbers, and a float could not hold every digit of all."""
    numbers = [value for value in values if value is not None]
    return all(value == int(value) for value in numbers) and any(abs(v) > LARGEST_EXACT for v in numbers)


def _tidied(values: list[Any], types: set[type]) -> list[Any]:
    """Text without blanks around it; missing where it is a mark of that."""
    distinct = set(values) if types <= {str, type(None)} else values  # others may have no hash
    tidy = {}
    for text in distinct:
        if isinstance(text, str) and (text != text.strip() or text in _MARKS):
            stripped = text.strip()
            tidy[text] = None if stripped in _MARKS else stripped
    if not tidy:
        return values
    return [tidy.get(value, value) if isinstance(value, str) else value for value in values]


def _odd_marks(values: Sequence[Any], tidy: Sequence[Any]) -> Odd | None:
    """Cells that became missing for a mark that is to be named."""
    if tidy is values:
        return None
    cells = [
        None if text is not None or not isinstance(cell, str) else cell.strip()
        for cell, text in zip(values, tidy, strict=True)
    ]
    return Odd.of(cells, _NAMED_MARKS)


def is_mark(level: Any) -> bool:
    """Whether a level stands for a missing value: it is text, and one of `MISSING_MARKS`.

    >>> is_mark(" NA "), is_mark("N")
    (True, False)
    """
    return isinstance(level, str) and level.strip() in _MARKS


def _is_level(kind: type) -> bool:
    """Whether values of this type are categories by nature: enums, bytes, periods and intervals of pandas."""
    of_pandas = kind.__module__.startswith("pandas") and kind.__name__ in ("Period", "Interval")
    return of_pandas or issubclass(kind, Enum | bytes | bytearray | memoryview)


def _level_text(value: Any) -> str:
    """A category by nature as text: of an enum its value or, if that is neither text nor number, its name."""
    if isinstance(value, Enum):
        return str(value.value if isinstance(value.value, str | int | float) else value.name)
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            return bytes(value).hex()
    return str(value)


def _is_missing(value: Any) -> bool:
    """None, NaN, NaT, and pandas' NA, which is recognised by name as pandas need not be there."""
    if value is None or value is np.ma.masked or type(value).__name__ in ("NAType", "NaTType"):
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


def _of_lists(name: str, values: list[Any]) -> Columns:
    """Lists of numbers, all of one length, as a column for each place; a missing list is missing in each."""
    present = np.array([value is not None for value in values], dtype=bool)
    lists = [value for value in values if value is not None]
    first_of_length: dict[int, int] = {}
    for row, value in zip(np.flatnonzero(present).tolist(), lists, strict=True):
        first_of_length.setdefault(len(value), row)
    if len(first_of_length) > 1:
        (a, row_a), (b, row_b), *_ = first_of_length.items()
        raise DataError(
            f"The lists in a column must all be of one length; {name!r} has {a} numbers in row {row_a + 1} "
            f"and {b} in row {row_b + 1}. Fill or cut them to one length, or make a number of each, such as "
            "its mean."
        )
    matrix = _stacked(name, lists)
    if not present.all():
        given, matrix = matrix, np.full((len(values), matrix.shape[1]), np.nan)
        matrix[present] = given
    return _of_places(name, matrix)


def _stacked(name: str, lists: Sequence[Any]) -> NDArray[Any]:
    """Lists of one length as a matrix of numbers or booleans, NaN where one is missing."""
    try:
        matrix = np.array(lists)
    except ValueError:  # lists within the lists, of several lengths
        matrix = np.array(None)
    if matrix.dtype == object and matrix.ndim == 2:
        cells = [np.nan if _is_missing(cell) else cell for cell in matrix.ravel().tolist()]
        if all(isinstance(cell, (*_NUMBER, np.bool_)) for cell in cells):
            return np.array(list(map(float, cells)), dtype=np.float64).reshape(matrix.shape)
    if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
        holds = "lists within lists" if _is_nested(lists) else "lists of other things than numbers"
        raise unusable(name, holds)
    return matrix


def _is_nested(lists: Sequence[Any]) -> bool:
    return any(isinstance(cell, _LIST) for cells in lists for cell in cells)


def _of_places(name: str, matrix: NDArray[Any]) -> Columns:
    """The columns of a matrix as name[0], name[1], ..."""
    if matrix.shape[1] == 0:
        raise unusable(name, "empty lists")
    return merged(from_numpy(f"{name}[{place}]", matrix[:, place]) for place in range(matrix.shape[1]))


def _of_mappings(name: str, values: list[Any]) -> Columns:
    """Dicts as a column for each key, in the order of their first appearance; an absent key is missing."""
    keys = dict.fromkeys(key for value in values if value is not None for key in value)
    fields = [(key, [None if value is None else value.get(key) for value in values]) for key in keys]
    return _of_fields(name, fields, from_objects)


def _of_fields(name: str, fields: Sequence[tuple[Any, Any]], convert: Any) -> Columns:
    if not fields:
        raise unusable(name, "dicts without keys")
    names = [f"{name}.{column_name(field) or place}" for place, (field, _) in enumerate(fields)]
    return merged(convert(name, values) for name, (_, values) in zip(names, fields, strict=True))


def merged(parts: Iterable[Columns]) -> Columns:
    """The columns of all parts, with their notes; DataError if two have the same name."""
    parts = list(parts)
    pairs = [pair for part in parts for pair in part.items()]
    refuse_duplicates([name for name, _ in pairs])
    notes = {name: note for part in parts for name, note in part.notes.items()}
    return Columns(pairs, notes, {name: odd for part in parts for name, odd in part.odd.items()})


def records(rows: Sequence[Mapping[Any, Any]]) -> dict[Any, list[Any]]:
    """Columns of a list of dicts, one dict a row; an absent key is missing.

    >>> records([{"a": 1}, {"a": 2, "b": 3}])
    {'a': [1, 2], 'b': [None, 3]}
    """
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: [row.get(key) for row in rows] for key in keys}
