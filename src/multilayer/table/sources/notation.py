"""How a source writes values, as the user declared it: marks of missing values, thousands and decimals."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError
from multilayer.table.sources.dtype_hints import Note
from multilayer.table.sources.names import column_name, listed, unknown_column
from multilayer.table.sources.plain_text import check_encoding
from multilayer.table.sources.sparse import SparseColumn
from multilayer.table.sources.values import LARGEST_EXACT, Columns, Values

_DECIMALS = (".", ",", "٫")
_THOUSANDS = (",", ".", " ", "'", "’", "_", "\u00a0", "\u202f")


@dataclass(frozen=True)
class Notation:
    """What stands for a missing value, and how numbers are written in text; a model keeps it to predict.

    missing:    marks of a missing value in all columns, as text: "?", "-999"
    missing_in: column name -> marks in this column alone
    thousands:  what separates thousands: the comma of 1,234.5
    decimal:    what separates decimals: the comma of 1.234,5
    encoding:   of text files without a byte-order mark; None is UTF-8
    header:     whether text files begin with the names of their columns
    texts:      columns of text files whose cells stay as they are written: 1.10 is not 1.1. A model does not
        keep them: its schema says which

    A mark that reads as a number stands for the number, in columns of numbers as in text; one that reads as
    an ISO date also for the date.

    >>> notation = Notation.declare(missing=["?", -999], thousands=",")
    >>> columns = {"price": np.array(["1,250", "?"], dtype=object), "rooms": np.array([-999, 3])}
    >>> notation.read(Columns(columns))[0]
    {'price': array([1250.,   nan]), 'rooms': array([nan,  3.])}
    """

    missing: tuple[str, ...] = ()
    missing_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    thousands: str | None = None
    decimal: str = "."
    encoding: str | None = None
    header: bool = True
    texts: frozenset[str] = frozenset()

    @classmethod
    def declare(
        cls,
        missing: Any = (),
        thousands: str | None = None,
        decimal: str = ".",
        encoding: Any = None,
        header: Any = True,
    ) -> "Notation":
        """The notation of what a user passes: one mark, several, or a mapping of columns to either.

        Raises:
            ConfigError: a mark is no text, number or date, a separator or an encoding is none.
        """
        encoding = check_encoding(encoding)
        if not isinstance(header, bool | np.bool_):
            raise ConfigError(f"header must be True or False; got {header!r}. Correct it.")
        if thousands is not None and thousands not in _THOUSANDS:
            raise ConfigError(
                f"thousands must be one of {listed(_THOUSANDS)}; got {thousands!r}. For 1,234 write "
                "thousands=','."
            )
        if decimal not in _DECIMALS:
            raise ConfigError(
                f"decimal must be one of {listed(_DECIMALS)}; got {decimal!r}. For 2,5 write decimal=','."
            )
        if thousands == decimal:
            raise ConfigError(
                f"thousands and decimal must differ; both are {decimal!r}. For 1.234,5 declare both: "
                "thousands='.', decimal=','."
            )
        if isinstance(missing, Mapping):
            of_column = {column_name(name): _marks(marks) for name, marks in missing.items()}
            return cls((), of_column, thousands, decimal, encoding, bool(header))
        return cls(_marks(missing), {}, thousands, decimal, encoding, bool(header))

    @property
    def _has_separators(self) -> bool:
        return self.thousands is not None or self.decimal != "."

    def to_json(self) -> dict[str, Any]:
        """The notation in dicts, lists and texts."""
        lists = {name: list(marks) for name, marks in self.missing_in.items()}
        stored = asdict(replace(self, texts=frozenset())) | {
            "missing": list(self.missing),
            "missing_in": lists,
        }
        del stored["texts"]
        return stored

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Notation":
        """The notation that `to_json` wrote; what is absent is as if it had not been declared."""
        missing_in = {name: tuple(marks) for name, marks in data.get("missing_in", {}).items()}
        return cls(
            tuple(data.get("missing", ())),
            missing_in,
            data.get("thousands"),
            data.get("decimal", "."),
            check_encoding(data.get("encoding")),
            bool(data.get("header", True)),
        )

    def read(
        self,
        columns: Columns,
        numbers: Collection[str] | None = None,
        others: Collection[str] = (),
    ) -> tuple[Columns, list[str]]:
        """The columns with missing marks blanked and numbers read; and what was done, in words.

        Text of a categorical stays text, whatever it looks like.

        numbers: names of columns that are known to hold numbers: in these each text that is a number is read.
            None: a column of text is read as numbers if it is wholly such and a separator occurs in it.
        others: names of columns that are known to hold something else.

        Raises:
            ConfigError: marks are declared for a column that is not there (not where `numbers` is given).
        """
        if numbers is None:
            self.check_names(columns)
        done = Columns(columns, columns.notes, columns.odd)
        blanked, read = [], []
        for name, values in columns.items():
            marks = self.marks_in(name)
            if marks and (without := _without(values, marks)) is not values:
                done[name] = without
                blanked.append(name)
            if marks and (note := columns.notes.get(name)) is not None:
                done.notes[name] = _without_levels(note, marks)
            if self._has_separators and name not in columns.notes and name not in others:
                texts = done[name]
                done[name] = self._numbers(texts, known=None if numbers is None else name in numbers)
                if done[name] is not texts:
                    read.append(name)
        remarks = [f"missing marks in {listed(blanked)}"] if blanked else []
        return done, remarks + ([f"numbers with separators in {listed(read)}"] if read else [])

    def marks_in(self, name: str) -> tuple[str, ...]:
        """What stands for a missing value in this column."""
        return (*self.missing, *self.missing_in.get(name, ()))

    def check_names(self, columns: Collection[str]) -> None:
        """ConfigError if marks are declared for a column that is not among these."""
        for name in self.missing_in:
            if name not in columns:
                raise unknown_column("missing", name, columns)

    def _numbers(self, values: Values, known: bool | None) -> Values:
        """Text as numbers, where all of it is; in a column known to be of numbers, each text that is one."""
        if known is False or isinstance(values, SparseColumn) or values.dtype != object:
            return values
        plain = {text: self._plain(text) for text in set(values.tolist()) if text is not None}
        if any(number is None for number in plain.values()):
            if not known:
                return values
            plain = {text: number or text for text, number in plain.items()}
            return np.array([plain.get(text) for text in values.tolist()], dtype=object)
        if not plain or not (known or any(self._has_mark(text) for text in plain)):
            return values
        numbers = {text: float(number) for text, number in plain.items() if number is not None}
        read = np.array([numbers.get(text, np.nan) for text in values.tolist()], dtype=np.float64)
        if any(number.is_integer() and abs(number) > LARGEST_EXACT for number in numbers.values()):
            return np.array([plain.get(text) for text in values.tolist()], dtype=object)  # every digit
        whole = all(number.is_integer() for number in numbers.values())
        written_whole = whole and not any(self.decimal in text for text in numbers)
        return read.astype(np.int64) if written_whole and not np.isnan(read).any() else read

    def _has_mark(self, text: str) -> bool:
        return (self.thousands or self.decimal) in text or (self.decimal != "." and self.decimal in text)

    def _plain(self, text: str) -> str | None:
        """1.234,5 as 1234.5, or None for what is no number in this notation; 01234 is a code."""
        decimal, group = re.escape(self.decimal), re.escape(self.thousands or "")
        whole = rf"[1-9]\d{{0,2}}(?:{group}\d{{3}})+|[1-9]\d*|0" if group else r"[1-9]\d*|0"
        text = text.strip()
        if not re.fullmatch(rf"[+-]?(?:(?:{whole})(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?", text):
            return None
        return text.replace(self.thousands or "", "").replace(self.decimal, ".")


def _marks(missing: Any) -> tuple[str, ...]:
    if isinstance(missing, str | bytes) or not isinstance(missing, Iterable):
        missing = [missing]
    return tuple(dict.fromkeys(mark for mark in map(_mark, missing) if mark))


def _mark(value: Any) -> str:
    """A mark as text; empty for what is missing anyway."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, date):  # a datetime is one, too
        return value.isoformat()
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    raise ConfigError(
        f"A mark of missing values must be text, a number or a date; got {value!r}. "
        "Pass for example missing=('?', -999), or missing={'age': -1}."
    )


def _without(values: Values, marks: tuple[str, ...]) -> Values:
    """The column with its marks made missing; the same object if there are none in it."""
    if isinstance(values, SparseColumn):
        stored, fill = (_clear_numbers(part, marks) for part in (values.values, np.asarray([values.fill])))
        untouched = stored is values.values and fill[0] == values.fill
        return values if untouched else replace(values, values=stored, fill=fill[0])
    if values.dtype == object:
        return _clear_texts(values, marks)
    if values.dtype.kind == "M":
        return _clear_dates(values, marks)
    return _clear_numbers(values, marks)


def _without_levels(note: Note, marks: tuple[str, ...]) -> Note:
    """An order without the levels that are marks of missing values."""
    numbers = {number for number in map(mark_number, marks) if number is not None}
    texts = {level: str(level).strip() for level in note.levels}
    kept = (level for level, text in texts.items() if text not in marks and mark_number(text) not in numbers)
    return replace(note, levels=tuple(kept))


def _clear_numbers(values: NDArray[Any], marks: tuple[str, ...]) -> NDArray[Any]:
    numbers = [number for number in map(mark_number, marks) if number is not None]
    if values.dtype == bool or not numbers:
        return values
    hit = np.isin(values, numbers)
    return np.where(hit, np.nan, values) if hit.any() else values


def _clear_texts(values: NDArray[np.object_], marks: tuple[str, ...]) -> NDArray[np.object_]:
    numbers = {number for number in map(mark_number, marks) if number is not None}
    cells = values.tolist()
    texts = {text for text in set(cells) if text is not None}
    hit = {text for text in texts if text.strip() in marks or (numbers and mark_number(text) in numbers)}
    if not hit:
        return values
    return np.array([None if text in hit else text for text in cells], dtype=object)


def _clear_dates(values: NDArray[Any], marks: tuple[str, ...]) -> NDArray[Any]:
    dates = [moment for moment in map(mark_date, marks) if moment is not None]
    hit = np.isin(values, np.array(dates, dtype="datetime64[us]"))
    return np.where(hit, np.datetime64("NaT"), values) if hit.any() else values


def mark_number(text: str) -> float | None:
    """The number that a mark stands for; None for one that is none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def mark_date(text: str) -> np.datetime64 | None:
    """The date that a mark stands for; None for one that is none."""
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        return None
    try:
        return np.datetime64(text, "us")
    except ValueError:
        return None
