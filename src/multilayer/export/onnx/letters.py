"""What becomes of each letter of a text: Unicode's NFKC and case folding, as tables of single letters.

A graph has no such operator. Of nearly all texts NFKC is that of their letters one by one. Where letters
might be put together or change places, as an e and an acute accent that follows it do, the answer is not
known, and `is_unknown` tells such texts apart. Text that is in NFKC already is known, but for several$
marks on one letter.
"""

import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

MOST_LETTERS = 3  # that one letter becomes; longer ones, such as 18 of one Arabic ligature, are not known
BREAK = 0  # what ends a word
NOTHING = -1  # no letter, as the third of "ss", which ß becomes
UNKNOWN = -2
_JOINING = range(0x1161, 0x11C3)  # Hangul vowels and last consonants


@dataclass(frozen=True, eq=False)
class Letters:
    """Tables from letters to whole numbers.

    becomes:  code points of what it becomes, each plus 1; or `BREAK`. Letters that are not named end a word
    ends:     combining class of the last letter of its NFKC, where that is not 0
    begins:   combining class of the first, where that is not 0
    stacked:  1 where its NFKD ends in a mark: what follows may be put together with its first letter
    firsts:   code point of the last letter of its NFKC, where that may be put together with a letter behind
    seconds:  code point of the first letter of its NFKC, where that may be put together with one before
    pairs:    code points (first, second) that are put together
    """

    becomes: dict[str, tuple[int, ...]]
    ends: dict[str, int]
    begins: dict[str, int]
    stacked: dict[str, int]
    firsts: dict[str, int]
    seconds: dict[str, int]
    pairs: frozenset[tuple[int, int]]


@cache
def letters() -> Letters:
    """The tables of this Python's Unicode."""
    pairs = frozenset(_pairs())
    firsts, seconds = ({pair[i] for pair in pairs} for i in (0, 1))
    found = Letters({}, {}, {}, {}, {}, {}, pairs)
    for code in range(1, sys.maxunicode + 1):
        letter = chr(code)
        if unicodedata.category(letter) in ("Cs", "Cn", "Co"):
            continue
        composed = unicodedata.normalize("NFKC", letter)
        became = _became(letter, composed)
        if became != (BREAK,):
            found.becomes[letter] = became
        classes = {"ends": composed[-1], "begins": composed[0]}
        for name, each in classes.items():
            if combining := unicodedata.combining(each):
                getattr(found, name)[letter] = combining
        if unicodedata.combining(unicodedata.normalize("NFKD", letter)[-1]):
            found.stacked[letter] = 1
        if ord(composed[-1]) in firsts:
            found.firsts[letter] = ord(composed[-1])
        if ord(composed[0]) in seconds:
            found.seconds[letter] = ord(composed[0])
    return found


def _became(letter: str, composed: str) -> tuple[int, ...]:
    if ord(letter) in _JOINING:
        return (UNKNOWN,)
    codes = tuple(
        ord(each) + 1 if unicodedata.category(each)[0] in "LMNS" else BREAK for each in composed.casefold()
    )
    if not any(codes):
        return (BREAK,)
    return codes if len(codes) <= MOST_LETTERS else (UNKNOWN,)


def _pairs() -> Iterator[tuple[int, int]]:
    """Letters that Unicode puts together; Hangul, which is made by arithmetic, is not among them."""
    for code in range(sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and parts[0][0] != "<" and unicodedata.is_normalized("NFC", chr(code)):
            yield int(parts[0], 16), int(parts[1], 16)


def is_unknown(text: str) -> bool:
    r"""Whether it is not sure that a text becomes what its letters become one by one.

    >>> is_unknown("crème brûlée"), is_unknown("cre\u0300me")
    (False, True)
    """
    known = letters()
    if any(known.becomes.get(letter) == (UNKNOWN,) for letter in text):
        return True
    for before, letter in pairwise(text):
        ends, begins = known.ends.get(before, 0), known.begins.get(letter, 0)
        if ends > begins > 0:
            return True
        second = known.seconds.get(letter)
        if second is None:
            continue
        if ends or before in known.stacked or (known.firsts.get(before), second) in known.pairs:
            return True
    return False
