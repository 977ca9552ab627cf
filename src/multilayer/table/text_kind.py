"""What a column of text is: numbers, dates, times, ..., all but for a few odd cells; or words."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from multilayer.table.cells import distinct_texts
from multilayer.table.column import Column
from multilayer.table.kinds import KINDS, kind_of
from multilayer.table.kinds.kind import Candidate
from multilayer.table.text import why_text

SIGN_MARKS = frozenset(
    ("-", "?", ".", "--", "---", "..", "...", "–", "—")
)  # for missing, unless they are levels
FEW = 0.05  # of the cells may be odd
FEWEST_CELLS = 10  # of which one may be odd

_MANY = 200  # cells that are looked at first


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
    for candidate in _candidates(name, sample, texts):
        unread = frozenset(text for text in texts if not candidate.reads(text))
        n = sum(counts[text] for text in unread)
        if n < n_odd:
            best, n_odd, odd = candidate.column, n, unread
    if best is None or 2 * n_odd >= n_cells:
        return TextKind(_words(name, texts, n_cells))
    codes = kind_of(best).are_codes(tuple(odd))
    if are_few(n_odd, n_cells) and not codes:
        read = [text for text in texts if text not in odd]
        return TextKind(kind_of(best).in_own_writing(best, read), odd)
    return TextKind(
        _almost(_words(name, texts, n_cells), best, n_odd / n_cells, min(odd, key=texts.index), codes)
    )


def _kind_of_all(name: str, texts: Sequence[str]) -> Column | None:
    """The kind that every text is of, if there is one."""
    found = (kind.of_texts(name, texts) for kind in KINDS.values())
    return next((column for column in found if column is not None), None)


def _words(name: str, texts: Sequence[str], n_cells: int) -> Column:
    why = why_text(list(texts), n_cells)
    return Column(name, "text", reason=why) if why else Column(name, "category")


def _sample(cells: Sequence[str]) -> list[str]:
    """Some of the cells, from all over the column."""
    return list(islice(cells, 0, None, max(1, len(cells) // _MANY)))


def _candidates(name: str, sample: Sequence[str], texts: Sequence[str]) -> list[Candidate]:
    """Kinds that most cells of a sample are of; those that are written as everywhere first."""
    found = [each for kind in KINDS.values() for each in kind.candidates(name, sample, texts)]
    found = [each for each in found if 2 * sum(map(each.reads, sample)) > len(sample)]
    return sorted(found, key=lambda candidate: not candidate.is_plain)


def _almost(words: Column, best: Column, share: float, odd: str, codes: bool) -> Column:
    """A column of words of which most are of another kind, and why it is not of that."""
    if codes:
        why = f"digits such as {odd!r} begin with 0, as codes do"
    else:
        shown = f"{share:.0%}" if share >= 0.01 else "some"
        why = f"{best.kind}s but for {shown} of its cells, such as {odd!r}"
    return replace(words, reason="; ".join(filter(None, (words.reason, why))))


def with_writing(column: Column, values: NDArray[np.object_]) -> Column:
    """A column that was declared as numbers or dates, with the way in which its texts write them."""
    return kind_of(column).written(column, _texts(values), lambda: kind_of_texts(column.name, values).column)


def unread_texts(column: Column, values: NDArray[np.object_]) -> frozenset[str]:
    """Texts that are not of the column's kind."""
    parser = kind_of(column).parser
    if parser is None:
        return frozenset()
    texts = _texts(values)
    parse = parser(column, texts)
    return frozenset(text for text in texts if parse(text) is None)


def _texts(values: NDArray[np.object_]) -> list[str]:
    """Distinct texts without signs."""
    return [text for text in distinct_texts(values) if text not in SIGN_MARKS]


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
