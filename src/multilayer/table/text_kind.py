"""What a column of text is: numbers, dates, times, ..., all but for a few odd cells; or words."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.column import AS_WRITTEN, Column
from multilayer.table.convert import BOOLEAN_PAIRS, text_parser
from multilayer.table.dates import (
    DATE_FORMATS,
    ISO,
    date_format,
    date_parser,
    has_offset,
    other_format,
    parse_duration,
    parse_time,
)
from multilayer.table.text import why_text
from multilayer.table.writing import Writing, find_writing, have_points_of_thousands

SIGN_MARKS = frozenset(
    ("-", "?", ".", "--", "---", "..", "...", "–", "—")
)  # for missing, unless they are levels
FEW = 0.05  # of the cells may be odd
FEWEST_CELLS = 10  # of which one may be odd

_NUMBER_SHAPE = re.compile(
    r"\s*[+-]?(((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf(inity)?)\s*", re.ASCII | re.IGNORECASE
)
_CODE_SHAPE = re.compile(r"[+-]?0\d+", re.ASCII)
_DATE_SHAPE = re.compile(r"\d{1,4}[-/. ]\w{1,9}[-/. ]\d{1,4}|[^\W\d]{3,9}\.?[- ]\d{1,4}|\d{4}-\d\d|\d{8}T")
_MANY = 200  # cells that are looked at first
_SOME = 20
_MOST_BOOLEANS = 6  # ways of writing two values: yes, Yes, YES, no, No, NO

Reads = Callable[[str], bool]


@dataclass(frozen=True)
class TextKind:
    """What a column of text is.

    column: its kind, and what belongs to it; nothing is measured yet
    odd:    texts that are not of its kind
    """

    column: Column
    odd: frozenset[str] = frozenset()


def are_few(n_odd: int, n_cells: int) -> bool:
    """Whether so many odd cells are errors among so many, rather than what the column is about.

    >>> are_few(1, 10), are_few(1, 9), are_few(5, 100), are_few(6, 100)
    (True, False, True, False)
    """
    return n_odd <= max(int(FEW * n_cells), int(n_cells >= FEWEST_CELLS))


def kind_of_texts(name: str, values: NDArray[np.object_]) -> TextKind:
    """The kind of a column of text: one that all of its cells are, or else all but a few.

    Marks such as - and ? are left out of account; see `without_marks`.
    """
    counts = Counter(values.tolist())
    counts.pop(None, None)
    texts = [text for text in counts if text not in SIGN_MARKS]
    n_cells = sum(counts[text] for text in texts)
    if not texts:
        return TextKind(Column(name, "category"))
    if (found := _kind_of_all(name, texts)) is not None:
        return TextKind(found)
    sample = _sample([text for text in values.tolist() if text is not None and text not in SIGN_MARKS])
    best, n_odd, odd = None, n_cells, frozenset[str]()
    for column, reads in _candidates(name, sample, texts):
        unread = frozenset(text for text in texts if not reads(text))
        n = sum(counts[text] for text in unread)
        if n < n_odd:
            best, n_odd, odd = column, n, unread
    if best is None or 2 * n_odd >= n_cells:
        return TextKind(_words(name, texts, n_cells))
    codes = best.kind == "number" and any(map(_CODE_SHAPE.fullmatch, odd))
    if are_few(n_odd, n_cells) and not codes:
        return TextKind(_with_reason(best, [text for text in texts if text not in odd]), odd)
    return TextKind(
        _almost(_words(name, texts, n_cells), best, n_odd / n_cells, min(odd, key=texts.index), codes)
    )


def _kind_of_all(name: str, texts: Sequence[str]) -> Column | None:
    """The kind that every text is of, if there is one."""
    if len(texts) <= _MOST_BOOLEANS and {text.strip().lower() for text in texts} in map(set, BOOLEAN_PAIRS):
        return Column(name, "boolean")
    if all(map(_NUMBER_SHAPE.fullmatch, texts)):
        return _numbers(name, texts)
    if found := date_format(texts):
        return _date(Column(name, "date", zone=zone_of_texts(texts, found)), texts, found)
    if all(parse_time(text) is not None for text in texts):
        return Column(name, "time")
    if all(parse_duration(text) is not None for text in texts):
        return Column(name, "duration")
    return None


def _numbers(name: str, texts: Sequence[str]) -> Column:
    """Numbers as everywhere, or with points between thousands."""
    if not have_points_of_thousands(texts):
        return Column(name, "number")
    column = _written(name, Writing("", ".", ","))
    return replace(column, reason="thousands are separated by '.', as all points stand before three digits")


def _date(column: Column, texts: Sequence[str], found: str) -> Column:
    """Dates in a format; where another one fits as well, the reason says so."""
    said = column.reason
    if (other := other_format(texts, found)) is not None:
        doubt = (
            f"dates read as {found}, though {other} fits as well: if they are that, schema.replace("
            f"{column.name!r}, date_format={other!r}) says so"
        )
        said = "; ".join(filter(None, (said, doubt)))
    return replace(column, date_format=found, reason=said)


def _words(name: str, texts: Sequence[str], n_cells: int) -> Column:
    why = why_text(list(texts), n_cells)
    return Column(name, "text", reason=why) if why else Column(name, "category")


def _sample(cells: Sequence[str]) -> list[str]:
    """Some of the cells, from all over the column."""
    return list(islice(cells, 0, None, max(1, len(cells) // _MANY)))


def _candidates(name: str, sample: Sequence[str], texts: Sequence[str]) -> list[tuple[Column, Reads]]:
    """Kinds that most cells of a sample are of."""
    found: list[tuple[Column, Reads]] = []
    if 2 * sum(map(_is_truth, sample)) > len(sample):
        lower = {text.lower() for text in texts}
        if any(lower >= set(pair) for pair in BOOLEAN_PAIRS):
            found.append((Column(name, "boolean"), _is_truth))
    plain = _numbers(name, [text for text in texts if _NUMBER_SHAPE.fullmatch(text)])
    found.append((plain, _reads(_writing_of(plain).read) if plain.thousands else _is_number))
    for each in _date_formats(sample):
        column = Column(name, "date", date_format=each, zone=zone_of_texts(sample, each))
        found.append((column, _reads(date_parser(each, ISO))))
    found.append((Column(name, "time"), _reads(parse_time)))
    found.append((Column(name, "duration"), _reads(parse_duration)))
    if (writing := find_writing(sample)) is not None:
        found.append((_written(name, writing), _reads(writing.read)))
    return [(column, reads) for column, reads in found if 2 * sum(map(reads, sample)) > len(sample)]


def _is_number(text: str) -> bool:
    return _NUMBER_SHAPE.fullmatch(text) is not None


def _is_truth(text: str) -> bool:
    return any(text.lower() in pair for pair in BOOLEAN_PAIRS)


def _reads(parse: Callable[[str], Any]) -> Reads:
    return lambda text: parse(text) is not None


def _date_formats(sample: Sequence[str]) -> list[str]:
    """Formats of dates that most of a sample are in."""
    if 2 * sum(_DATE_SHAPE.match(text) is not None for text in sample) <= len(sample):
        return []
    step = max(1, len(sample) // _SOME)
    formats = [each for each in DATE_FORMATS if _share(each, sample[::step]) > 0.5]
    return [each for each in formats if _share(each, sample) > 0.5]


def _share(date_format: str, texts: Sequence[str]) -> float:
    return sum(map(_reads(date_parser(date_format)), texts)) / len(texts)


def _writing_of(column: Column) -> Writing:
    return Writing(column.unit, column.thousands, column.decimal)


def _written(name: str, writing: Writing) -> Column:
    return Column(name, "number", unit=writing.unit, thousands=writing.thousands, decimal=writing.decimal)


def _with_reason(column: Column, texts: Sequence[str]) -> Column:
    """A column of numbers that are not written as everywhere, and how they are, in words."""
    if column.kind != "number" or all(map(_NUMBER_SHAPE.fullmatch, texts)):
        return column
    writing = _writing_of(column)
    words = [writing.in_words] if writing.in_words else ["with signs of its own for minus"]
    n_bare = sum(writing.unit not in text for text in texts)
    if n_bare:
        words.append(
            f"so are cells without a unit, such as {next(t for t in texts if writing.unit not in t)!r}"
        )
    return replace(column, reason=", ".join(words))


def _almost(words: Column, best: Column, share: float, odd: str, codes: bool) -> Column:
    """A column of words of which most are of another kind, and why it is not of that."""
    if codes:
        why = f"digits such as {odd!r} begin with 0, as codes do"
    else:
        shown = f"{share:.0%}" if share >= 0.01 else "some"
        why = f"{best.kind}s but for {shown} of its cells, such as {odd!r}"
    return replace(words, reason="; ".join(filter(None, (words.reason, why))))


def zone_of_texts(texts: Sequence[str], found: str) -> str | None:
    """`AS_WRITTEN` for dates in a format that name their distance from UTC."""
    return AS_WRITTEN if any(has_offset(text, found, ISO) for text in texts[:_MANY]) else None


def with_writing(column: Column, values: NDArray[np.object_]) -> Column:
    """A column that was declared as numbers or dates, with the way in which its texts write them."""
    texts = [text for text in dict.fromkeys(values.tolist()) if text is not None and text not in SIGN_MARKS]
    if column.kind == "date" and column.date_format is None:
        found = date_format(texts) or kind_of_texts(column.name, values).column.date_format
        zone = column.zone or (zone_of_texts(texts, found) if found else None)
        column = replace(column, zone=zone)
        return replace(column, date_format=None) if found is None else _date(column, texts, found)
    is_plain = all(map(_NUMBER_SHAPE.fullmatch, texts)) and not have_points_of_thousands(texts)
    if column.kind != "number" or is_plain or _writing_of(column).in_words:
        return column
    writing = find_writing(texts)
    if writing is None:
        return column
    reason = "; ".join(filter(None, (column.reason, writing.in_words)))
    return replace(_written(column.name, writing), infinite=column.infinite, reason=reason or None)


def unread_texts(column: Column, values: NDArray[np.object_]) -> frozenset[str]:
    """Texts that are not of the column's kind."""
    texts = [text for text in dict.fromkeys(values.tolist()) if text is not None and text not in SIGN_MARKS]
    parse = text_parser(column, texts)
    return frozenset() if parse is None else frozenset(text for text in texts if parse(text) is None)


def sign_marks(values: NDArray[np.object_], levels: Collection[str] | None) -> frozenset[str]:
    """Signs among a column's texts that stand for a missing value.

    levels: of a category whose levels are known: a sign that is one of them is a value. None: signs are
    values
        where they leave no two others, as + and - in a column of these.

    >>> sign_marks(np.array(["+", "-"], object), None), sign_marks(np.array(["a", "b", "-"], object), None)
    (frozenset(), frozenset({'-'}))
    """
    texts = set(values.tolist()) - {None}
    signs = texts & SIGN_MARKS
    if levels is not None:
        return frozenset(signs.difference(levels))
    return frozenset(signs) if len(texts - signs) > 1 else frozenset()
