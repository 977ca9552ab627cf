"""Docstrings of this project as reStructuredText, for the reference.

They are written for `help()`: sections such as `Args:` and `Shape:`, formulas in paragraphs of their own,
names in single backticks. Sphinx wants other signs for all of these. `to_rest` turns one into the other.
"""

import re
from collections.abc import Callable, Iterator, Sequence

# Sections of items, one a line, and sections of plain text.
ITEMS = {"Args": "Arguments", "Attributes": "Attributes", "Raises": "Raises"}
PROSE = ("Returns", "Shape", "Units", "Source", "Differs")

_NAMES = r"[A-Za-z_][\w.\[\]]*(?:, (?:[A-Za-z_][\w.\[\]]*|\.\.\.))*"
_ITEM = re.compile(rf"(?P<names>{_NAMES}):(?:\s+(?P<text>.*))?$")
_SECTION = re.compile(rf"(?P<name>{'|'.join((*ITEMS, *PROSE))}):\s*(?P<text>.*)$")
_CHOICE = re.compile(r"(?P<name>\S.*?) {3,}(?P<text>\S.*)$")
_FORMULA = re.compile(r"^[\w^\-, ]+(\([^)]*\))? (-=|=) \S")
_CODE = re.compile(r"`([^`]+)`")

Link = Callable[[str], str | None]  # a name in backticks -> a link to it in reST, or None


def to_rest(lines: Sequence[str], link: Link = lambda name: None) -> list[str]:
    """The lines of a docstring, cleaned of its indentation, in reST."""
    made: list[str] = []
    for paragraph in _paragraphs(lines):
        made += [*_paragraph(paragraph, link), ""]
    return made


def _paragraphs(lines: Sequence[str]) -> Iterator[list[str]]:
    """Lines between blank ones; a section begins a paragraph, also without one before it."""
    found: list[str] = []
    for line in lines:
        if found and (not line.strip() or (_SECTION.match(line) and not found[0].startswith(">>>"))):
            yield found
            found = []
        if line.strip():
            found.append(line.rstrip())
    if found:
        yield found


def _paragraph(lines: list[str], link: Link) -> list[str]:
    first = lines[0]
    if first.lstrip().startswith(">>>"):
        return lines
    if section := _SECTION.match(first):
        name, text = section["name"], section["text"]
        if name in ITEMS:
            return [f":{ITEMS[name]}:", *_indented(_items(_dedented(lines[1:]), link), 4)]
        return [f":{name}: {_inline(' '.join([text, *map(str.strip, lines[1:])]).strip(), link)}"]
    if all(_FORMULA.match(line) or line.startswith(" ") for line in lines) and _FORMULA.match(first):
        return ["::", "", *_indented(lines, 4)]
    if _ITEM.match(first) and all(_ITEM.match(line) or line.startswith(" ") for line in lines):
        return _items(lines, link)
    if any("├" in line or "└" in line for line in lines):
        return ["::", "", *_indented(lines, 4)]
    if first.startswith("- "):
        return [_inline(line, link) for line in lines]
    if first.startswith(" "):
        return ["::", "", *_indented(_dedented(lines), 4)]
    return [_inline(" ".join(map(str.strip, lines)), link)]


def _items(lines: list[str], link: Link) -> list[str]:
    """A definition for each item, and within it one for each line with a wide gap after its first words."""
    made: list[str] = []
    for item in _split(lines):
        match = _ITEM.match(item[0])
        if match is None:  # a line that is no item: text of its own
            made += [_inline(" ".join(map(str.strip, item)), link), ""]
            continue
        names = ", ".join(_code(name.strip(), link) for name in match["names"].split(","))
        text, choices = [match["text"] or ""], []
        for line in map(str.strip, item[1:]):
            if choice := _CHOICE.match(line):
                choices.append([choice["name"], choice["text"]])
            else:
                (choices[-1] if choices else text).append(line)
        made += [names, f"    {_inline(' '.join(text).strip() or '...', link)}", ""]
        for name, *told in choices:
            made += [f"    {_inline(name, link)}", f"        {_inline(' '.join(told), link)}", ""]
    return made


def _split(lines: list[str]) -> Iterator[list[str]]:
    item: list[str] = []
    for line in lines:
        if item and not line.startswith(" "):
            yield item
            item = []
        item.append(line)
    if item:
        yield item


def _inline(text: str, link: Link) -> str:
    """Code in backticks becomes a link, or literal; signs that mean something in reST do not any more."""
    made = ""
    for i, piece in enumerate(_CODE.split(text)):
        if i % 2 == 0:  # between two pieces of code; an escaped blank parts them from words, and is not seen
            behind = "\\ " if i and piece[:1].isalnum() else ""
            made += behind + re.sub(r"([\\*|_])", r"\\\1", piece)
        else:
            made += ("\\ " if made[-1:].isalnum() else "") + _code(piece, link)
    return made


def _code(text: str, link: Link) -> str:
    return link(text) or f"``{text}``"


def _dedented(lines: Sequence[str]) -> list[str]:
    least = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    return [line[least:] for line in lines]


def _indented(lines: Sequence[str], by: int) -> list[str]:
    return [" " * by + line if line else "" for line in lines]
