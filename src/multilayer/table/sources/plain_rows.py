"""Small text files of plain cells, read without DuckDB, whose loading takes longer than they do.

What they hold comes out as DuckDB reads it. A file with a cell of which that is not certain is DuckDB's:
quotes, blanks around a cell, numbers in any but the plainest writing, lines of unequal length.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from multilayer.table.sources.values import COMMON_MARKS, Columns, from_objects, merged

SMALL = 1 << 20  # bytes of a file
_WHOLE = re.compile(r"-?[1-9]\d{0,14}|0", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9]\d{0,14})\.\d{1,18}", re.ASCII)
_MAY_HAVE_POINTS = re.compile(r"-?([1-9]\d{0,2}(\.\d{3})+|\d{1,3})", re.ASCII)  # points between thousands
_WORDS = re.compile(r"[^\W\d_]([\w .:/()&+-]*[\w).])?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?)?", re.ASCII)
_OF_NUMBERS = ("inf", "nan")  # what texts begin with that are numbers


def plain_columns(
    text: str,
    names: Sequence[str],
    delimiter: str,
    *,
    n_before: int,
    marks: Collection[str] = (),
    unread: Collection[str] = (),
    as_text: Collection[str] = (),
) -> Columns | None:
    r"""The columns of a text of delimited fields; None if DuckDB is to read it.

    n_before: lines before the first row, that of the names included
    marks:    what stands for missing values, beside `COMMON_MARKS`
    unread:   columns to leave out: missing values stand in their place
    as_text:  columns whose cells stay as they are written

    >>> plain_columns("city,rooms\nOslo,3\nRome,\n", ["city", "rooms"], ",", n_before=1)
    {'city': array(['Oslo', 'Rome'], dtype=object), 'rooms': array([ 3., nan])}
    """
    if text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")
    if any(sign in text for sign in ('"', "\0", "\r")) or (delimiter == ";" and "," in text):
        return None
    lines = text.removesuffix("\n").split("\n")[n_before:]
    rows = [line.split(delimiter) for line in lines]
    if not rows or any(len(row) != len(names) for row in rows) or "" in lines:
        return None
    missing = frozenset((*COMMON_MARKS, *marks))
    parts = list(_columns(rows, names, missing, unread, frozenset(as_text)))
    return merged(parts) if len(parts) == len(names) else None


def _columns(
    rows: Sequence[Sequence[str]],
    names: Sequence[str],
    missing: frozenset[str],
    unread: Collection[str],
    as_text: frozenset[str],
) -> Iterator[Columns]:
    """Column by column, up to the first that is not plain."""
    for name, texts in zip(names, zip(*rows, strict=True), strict=True):
        cells: list[Any] = [None if text in missing else text for text in texts]
        if name in unread:
            yield Columns.missing(name, len(cells))
            continue
        values = _values([text for text in cells if text is not None], is_text=name in as_text)
        if values is None:
            return
        rest = iter(values)
        yield from_objects(name, [None if text is None else next(rest) for text in cells])


def _values(texts: Sequence[str], *, is_text: bool) -> Sequence[Any] | None:
    """Whole numbers, numbers or texts; None if it is not certain which."""
    if not texts:
        return None
    whole = [_WHOLE.fullmatch(text) is not None for text in texts]
    if all(whole):
        return texts if is_text else list(map(int, texts))
    numbers = [
        is_whole or _DECIMAL.fullmatch(text) is not None for is_whole, text in zip(whole, texts, strict=True)
    ]
    if all(numbers):
        if all(map(_MAY_HAVE_POINTS.fullmatch, texts)):
            return None
        return texts if is_text else list(map(float, texts))
    words = [_is_text(text) for text, is_number in zip(texts, numbers, strict=True) if not is_number]
    return texts if all(words) else None


def _is_text(text: str) -> bool:
    """Whether it is no number, whoever reads it."""
    if _DATE.fullmatch(text):
        return True
    return _WORDS.fullmatch(text) is not None and not text.lower().startswith(_OF_NUMBERS)
