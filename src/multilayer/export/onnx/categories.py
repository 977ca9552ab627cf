"""Levels of categories in a graph: a look-up from text to code."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from multilayer.export.onnx.graph import ML, Graph
from multilayer.table.levels import level_finder, value_text
from multilayer.table.steps import MISSING, RARE, Code

MOST_DECIMALS = 9  # of a number in another writing: 3.000000000 is found where 3 is a level


def codes_of_texts(graph: Graph, texts: str, columns: Sequence[int], codes: Sequence[Code]) -> str:
    """The code of each text, int64 (rows, codes); columns: of `texts`, one for each."""
    parts = []
    for column, code in zip(columns, codes, strict=True):
        x = graph.add("Gather", texts, graph.constant([column], np.int64), axis=1)
        keys = table_of(code)
        parts.append(
            graph.add(
                "LabelEncoder",
                x,
                domain=ML,
                keys_strings=list(keys),
                values_int64s=list(keys.values()),
                default_int64=RARE,
            )
        )
    return graph.concat(parts)


def table_of(code: Code) -> dict[str, int]:
    """The code of each text that is a level, or another writing of one; "" is missing.

    >>> table = table_of(Code(("true", "3")))
    >>> table["TRUE"], table["3.00"], table[""], len(table)
    (2, 3, 0, 27)
    """
    find = level_finder(code.levels)
    place = {level: i for i, level in enumerate(code.levels, start=RARE + 1)}
    found = {"": MISSING}
    for level in code.levels:
        for text in (level, *_other_writings(level)):
            known = find(text)
            if known is not None and _is_text(text):
                found[text] = place[known]
    return found | {"": MISSING}


def _other_writings(level: str) -> Iterator[str]:
    """Texts of the same truth value or decimal number: see `value_text`."""
    value = value_text(level)
    if value in ("true", "false"):
        yield from map("".join, product(*((letter, letter.upper()) for letter in value)))
        return
    whole, _, decimals = value.partition(".")
    for n in range(len(decimals), MOST_DECIMALS + 1):
        text = f"{whole}.{decimals}{'0' * (n - len(decimals))}" if n else value
        if value_text(text) == value:
            yield text


def _is_text(text: str) -> bool:
    """Whether it can be fed at all: half a letter of UTF-16 cannot."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False
