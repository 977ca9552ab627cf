"""Where the table begins in a text file: lines before it, what separates its fields, names of its columns."""

import csv
import re
from dataclasses import dataclass
from io import StringIO
from itertools import islice

_MOST_LINES = 40  # that are looked at
_LINE_END = re.compile(r"\r\n|\n|\r")
_SEP_LINE = re.compile(r"sep=(.)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Header:
    """The first line of a table of text.

    n_skipped: lines before it
    delimiter: between its fields
    fields:    of the first line, names or, in a file without a header, values
    remarks:   what was left out before it, and what looks odd, in words
    """

    n_skipped: int
    delimiter: str
    fields: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def find_header(text: str, delimiters: str, *, has_names: bool) -> Header:
    r"""The header in the beginning of a file.

    Before it there may be blank lines, a line such as sep=; that Excel writes, lines that begin with #, and
    titles: lines of one field with several words, or of one field beside empty ones, before lines of several
    fields.

    delimiters: those that may be; the one that cuts the header most often is chosen

    Raises:
        csv.Error: a name is longer than Python's reader takes.

    >>> find_header("sep=;\nx;y\n1;2\n", ",;", has_names=True)
    Header(n_skipped=1, delimiter=';', fields=('x', 'y'), remarks=())
    >>> header = find_header("# exported\nSales of 2024\n\nx,y\n1,2\n", ",;", has_names=True)
    >>> header.fields, header.remarks
    (('x', 'y'), ("before the header, left out: '# exported', 'Sales of 2024'",))
    """
    lines = _LINE_END.split(text, _MOST_LINES)
    start = _after_blank(lines, 0)
    if start < len(lines) and (found := _SEP_LINE.fullmatch(lines[start].strip().strip('"'))):
        start, delimiters = _after_blank(lines, start + 1), found[1]
    left_out = []
    while start < len(lines) - 1 and _is_before(lines, start, delimiters):
        left_out.append(lines[start])
        start = _after_blank(lines, start + 1)
    rest = text[start_of_line(text, start) :]
    cut = {each: _fields(rest, each) for each in delimiters}
    delimiter = max(cut, key=lambda key: len(cut[key]))
    fields = tuple(cut[delimiter])
    return Header(start, delimiter, fields, tuple(_remarks(left_out, fields if has_names else ())))


def _fields(text: str, delimiter: str) -> list[str]:
    """The first line, cut by a delimiter."""
    try:
        return next(csv.reader(StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:  # a field is longer than Python's reader takes: that is no header of this delimiter
        line = text.split("\n", 1)[0]
        if delimiter in line:
            raise
        return [line]


def start_of_line(text: str, n_before: int) -> int:
    """Where a line begins in the text."""
    ends = (found.end() for found in _LINE_END.finditer(text))
    return next(islice(ends, n_before - 1, None)) if n_before else 0


def _after_blank(lines: list[str], start: int) -> int:
    while start < len(lines) and not lines[start].strip():
        start += 1
    return start


def _is_before(lines: list[str], at: int, delimiters: str) -> bool:
    """Whether a line is a comment or a title, and the table begins later."""
    if lines[at].count('"') % 2:  # a quoted name goes on in the next line
        return False
    following = [line for line in lines[at + 1 : -1] or lines[at + 1 :] if line.strip() and line[0] != "#"]
    while following and _is_sentence(following[0], delimiters):  # another title
        following = following[1:]
    rows = {each: _cut(following, each) for each in delimiters}
    delimiter = max(rows, key=lambda key: len(rows[key][0]) if rows[key] else 0)
    fields = next(iter(_cut([lines[at]], delimiter)), [])
    if not rows[delimiter] or not fields:
        return False
    n_fields = len(rows[delimiter][0])
    if lines[at].startswith("#"):  # "#a,b" before "1,2" is a header, "# a, b" a comment
        return lines[at].startswith("# ") or len(fields) != n_fields
    if n_fields < 2 or any(len(row) != n_fields for row in rows[delimiter]):
        return False
    if len(fields) == n_fields > 2 and fields[0].strip() and not any(map(str.strip, fields[1:])):
        return all(map(str.strip, rows[delimiter][0]))
    return _is_sentence(lines[at], delimiters)


def _is_sentence(line: str, delimiters: str) -> bool:
    """Whether it is one field of several words."""
    return " " in line.strip() and all(len(cut) == 1 for each in delimiters for cut in _cut([line], each))


def _cut(lines: list[str], delimiter: str) -> list[list[str]]:
    """Fields of each line."""
    try:
        return [row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row]
    except csv.Error:  # a field of more letters than Python takes
        return []


def _remarks(left_out: list[str], names: tuple[str, ...]) -> list[str]:
    remarks = []
    if left_out:
        shown = ", ".join(repr(line.strip()[:40]) for line in left_out[:3])
        more = f" and {len(left_out) - 3} more lines" if len(left_out) > 3 else ""
        remarks.append(f"before the header, left out: {shown}{more}")
    numbers = [name.strip() for name in names if _NUMBER.fullmatch(name.strip())]
    if len(numbers) >= max(1, len(names) - 1) and any("." in number for number in numbers):
        remarks.append(
            f"the first line was read as column names, though it holds numbers such as {numbers[0]}: if the "
            "file has no header, pass header=False (--no-header)"
        )
    return remarks
