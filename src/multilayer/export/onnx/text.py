"""Free text in a graph: taken apart into letters, words and pieces, and hashed, as `table.text` does.

The letters of all texts are one long line, as there; `com.microsoft.Tokenizer`, which every build of ONNX
Runtime has, takes texts apart into letters, and all else is of the standard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multilayer.export.onnx.graph import MICROSOFT, ML, Graph
from multilayer.export.onnx.letters import BREAK, MOST_LETTERS, NOTHING, UNKNOWN, letters
from multilayer.table import text as rules
from multilayer.table.text import MOST_CHARACTERS, N_HASHES, SIZES, TextVectors

MANY = 4096  # counts whose logarithms are looked up, so that they are NumPy's to the last bit
_BITS = N_HASHES.bit_length() - 1
_BASE, _MIX = rules._BASE, int(rules._MIX)
_FULL = 1 << 64


@dataclass(frozen=True)
class _Line:
    """The letters of all texts in a line, one break between words.

    codes: int64 (n,), code point plus 1, or BREAK; letters: their large numbers, uint64 (n,)
    row:   int64 (n,), text that each is of; n_texts: how many there are
    unknown: booleans (n_texts,)
    """

    is_break: str
    letters: str
    row: str
    n_texts: str
    unknown: str


def vectors_of_texts(
    graph: Graph,
    texts: str,
    missing: str,
    columns: Sequence[int],
    vectors: Sequence[TextVectors],
) -> str:
    """The numbers of each column of text, side by side, float64; NaN where letters are not known.

    texts:   strings (rows, columns of text and of categories); missing: booleans (rows, columns)
    columns: of texts, one for each of the vectors
    """
    place = graph.constant(list(columns), np.int64)
    texts = graph.add("Gather", texts, place, axis=1)
    missing = graph.add("Gather", missing, place, axis=1)
    line = _line(graph, texts, missing)
    rows, hashes, n_words = _terms(graph, line)
    shape = graph.add("Shape", missing)
    unknown = graph.add("Reshape", line.unknown, shape)
    n_words = graph.add("Reshape", n_words, shape)
    n_rows = graph.add("Gather", shape, graph.constant([0], np.int64))
    parts = []
    for i, each in enumerate(vectors):
        with graph.part(f"text {i}" if len(vectors) > 1 else "text"):
            one = graph.constant([i], np.int64)
            own = graph.add("Equal", _mod(graph, rows, len(vectors)), graph.constant(i, np.int64))
            own_rows = graph.add("Div", _compress(graph, rows, own), graph.constant(len(vectors), np.int64))
            words = graph.add("Gather", n_words, one, axis=1)
            y = _vectors(graph, each, own_rows, _compress(graph, hashes, own), words, n_rows)
            y = graph.add("Where", _column(graph, unknown, i), graph.constant(np.nan), y)
            parts.append(graph.add("Where", _column(graph, missing, i), graph.constant(0.0), y))
    return graph.concat(parts)


# Letters


def _line(graph: Graph, texts: str, missing: str) -> _Line:
    known = letters()
    cells = graph.add(
        "Tokenizer", texts, domain=MICROSOFT, mark=0, mincharnum=1, pad_value=" ", separators=[""]
    )
    cells = _slice(graph, cells, 0, MOST_CHARACTERS, axis=2)
    blank = graph.add("Unsqueeze", graph.cast(missing, np.int64), graph.constant([2], np.int64))
    blank = graph.add("Mul", blank, graph.constant(0, np.int64))
    slots = []
    for i in range(MOST_LETTERS):
        table = {letter: codes[i] for letter, codes in known.becomes.items() if len(codes) > i}
        codes = _look_up(graph, cells, table, BREAK if i == 0 else NOTHING)
        first = blank if i == 0 else graph.add("Add", blank, graph.constant(NOTHING, np.int64))
        codes = graph.add("Concat", first, codes, axis=2)
        slots.append(graph.add("Unsqueeze", codes, graph.constant([3], np.int64)))
    codes = graph.concat(slots, axis=3)  # (rows, columns, letters + 1, slots)
    unknown = _unknown(graph, cells, slots[0], blank)
    shape = graph.add("Shape", codes)
    n_texts = graph.add("ReduceProd", _slice(graph, shape, 0, 2), keepdims=0)
    n_slots = graph.add("ReduceProd", _slice(graph, shape, 2, 4), keepdims=0)
    one_line = graph.constant([-1], np.int64)
    flat = graph.add("Reshape", codes, one_line)
    place = graph.add("Range", graph.constant(0, np.int64), graph.add("Mul", n_texts, n_slots), _one(graph))
    row = graph.add("Div", place, n_slots)
    last = graph.add("Unsqueeze", graph.add("Sub", n_texts, _one(graph)), graph.constant([0], np.int64))
    flat = graph.add("Concat", flat, graph.constant([BREAK], np.int64), axis=0)
    row = graph.add("Concat", row, last, axis=0)
    is_there = graph.add("Not", graph.add("Equal", flat, graph.constant(NOTHING, np.int64)))
    flat, row = _compress(graph, flat, is_there), _compress(graph, row, is_there)
    is_letter = graph.add("Greater", flat, graph.constant(BREAK, np.int64))
    after_letter = graph.add("Concat", graph.constant([True]), _slice(graph, is_letter, 0, -1), axis=0)
    kept = graph.add("Or", is_letter, after_letter)
    flat, row = _compress(graph, flat, kept), _compress(graph, row, kept)
    flat = graph.add("Max", flat, graph.constant(BREAK, np.int64))
    return _Line(
        is_break=graph.add("Equal", flat, graph.constant(BREAK, np.int64)),
        letters=graph.add("Mul", graph.cast(flat, np.uint64), _uint(graph, _MIX)),
        row=row,
        n_texts=n_texts,
        unknown=graph.add("Reshape", unknown, one_line),
    )


def _unknown(graph: Graph, cells: str, first: str, blank: str) -> str:
    """Booleans (rows, columns): see `letters.is_unknown`."""
    known, zero = letters(), graph.constant(0, np.int64)
    found = [graph.cast(graph.add("Equal", first, graph.constant(UNKNOWN, np.int64)), np.int64)]
    found = [graph.add("Squeeze", found[0], graph.constant([3], np.int64))]

    def neighbours(of_before: Mapping[str, int], of_after: Mapping[str, int]) -> tuple[str, str]:
        """Numbers of the letter before, and of each letter; the first is before the first letter's."""
        before = graph.add("Concat", blank, _look_up(graph, cells, of_before, 0), axis=2)
        after = graph.add("Concat", _look_up(graph, cells, of_after, 0), blank, axis=2)
        return before, after

    ends, begins = neighbours(known.ends, known.begins)
    out_of_order = graph.add("And", graph.add("Greater", ends, begins), graph.add("Greater", begins, zero))
    firsts, seconds = neighbours(known.firsts, known.seconds)
    stacked, _ = neighbours(known.stacked, {})
    width = 1 << 21  # of a code point
    pair = graph.add("Add", graph.add("Mul", firsts, graph.constant(width, np.int64)), seconds)
    is_pair = graph.add(
        "LabelEncoder",
        pair,
        domain=ML,
        keys_int64s=[a * width + b for a, b in sorted(known.pairs)],
        values_int64s=[1] * len(known.pairs),
        default_int64=0,
    )
    joins = graph.add("Add", graph.add("Add", ends, stacked), is_pair)
    joins = graph.add("And", graph.add("Greater", joins, zero), graph.add("Greater", seconds, zero))
    found += [graph.cast(out_of_order, np.int64), graph.cast(joins, np.int64)]
    counts = [graph.add("ReduceMax", each, graph.constant([2], np.int64), keepdims=0) for each in found]
    return graph.add("Greater", graph.add("Max", *counts), zero)


def _look_up(graph: Graph, x: str, table: Mapping[str, int], default: int) -> str:
    table = table or {" ": default}
    return graph.add(
        "LabelEncoder",
        x,
        domain=ML,
        keys_strings=list(table),
        values_int64s=list(table.values()),
        default_int64=default,
    )


# Words, pairs and pieces


def _terms(graph: Graph, line: _Line) -> tuple[str, str, str]:
    """Row and hash of every term, repetitions included, and the number of words of each text."""
    is_letter = graph.add("Not", line.is_break)
    after_break = graph.add("Concat", graph.constant([False]), _slice(graph, line.is_break, 0, -1), axis=0)
    is_start = graph.add("And", is_letter, after_break)
    starts = graph.add("Squeeze", graph.add("NonZero", is_start), graph.constant([0], np.int64))
    words = _words(graph, line.letters, is_start, starts)
    word_row = graph.add("Gather", line.row, starts)
    together = graph.add("Equal", _slice(graph, word_row, 0, -1), _slice(graph, word_row, 1, None))
    pairs = graph.add("Mul", _slice(graph, words, 0, -1), _uint(graph, _MIX))
    pairs = _compress(graph, graph.add("Add", pairs, _slice(graph, words, 1, None)), together)
    pairs = graph.add("BitwiseXor", pairs, _uint(graph, 1))
    rows = [word_row, _compress(graph, _slice(graph, word_row, 0, -1), together)]
    hashes = [_bucket(graph, words), _bucket(graph, pairs)]
    n_breaks = graph.add("CumSum", graph.cast(line.is_break, np.int64), graph.constant(0, np.int64))
    n_breaks = graph.add("Concat", graph.constant([0], np.int64), n_breaks, axis=0)
    piece = line.letters
    for size in range(2, max(SIZES) + 1):
        longer = graph.add("Mul", _slice(graph, piece, 0, -1), _uint(graph, _BASE))
        piece = graph.add("Add", longer, _slice(graph, line.letters, size - 1, None))
        if size not in SIZES:
            continue
        before = _slice(graph, n_breaks, 1, 1 - size)
        is_whole = graph.add("Equal", _slice(graph, n_breaks, size - 1, -1), before)
        rows.append(_compress(graph, _slice(graph, line.row, 1, 2 - size), is_whole))
        found = graph.add("BitwiseXor", _compress(graph, piece, is_whole), _uint(graph, size))
        hashes.append(graph.add("Add", _bucket(graph, found), graph.constant(N_HASHES, np.int64)))
    n_texts = graph.add("Unsqueeze", line.n_texts, graph.constant([0], np.int64))
    ones = graph.cast(graph.add("GreaterOrEqual", word_row, graph.constant(0, np.int64)), np.int64)
    n_words = _sums(graph, n_texts, np.int64, word_row, ones)
    return graph.concat(rows, axis=0), graph.concat(hashes, axis=0), n_words


def _words(graph: Graph, large: str, is_start: str, starts: str) -> str:
    """Sum of letter_k base^k over the letters of each word, k from 0; modulo 2^64."""
    zero, one = graph.constant(0, np.int64), _one(graph)
    count = graph.add("CumSum", graph.cast(is_start, np.int64), zero)
    word = graph.add("Max", graph.add("Sub", count, one), zero)  # of letters before the first word: 0, adds 0
    padded = graph.add("Concat", starts, graph.constant([0], np.int64), axis=0)
    n = graph.add("Squeeze", graph.add("Shape", is_start))
    place = graph.add("Range", zero, n, one)
    k = graph.add("Max", graph.add("Sub", place, graph.add("Gather", padded, word)), zero)
    half = 256  # base^k = base^(256 i) base^j
    low = _powers(graph, _BASE, half)
    high = _powers(graph, pow(_BASE, half, _FULL), half)
    power = graph.add(
        "Mul",
        graph.add("Gather", low, _mod(graph, k, half)),
        graph.add("Gather", high, graph.add("Div", k, graph.constant(half, np.int64))),
    )
    n_words = graph.add("Shape", padded)  # one more than there are
    sums = _sums(graph, n_words, np.uint64, word, graph.add("Mul", large, power))
    return _slice(graph, sums, 0, -1)


def _powers(graph: Graph, base: int, n: int) -> str:
    values = [1]
    for _ in range(n - 1):
        values.append(values[-1] * base % _FULL)
    return graph.constant(np.array(values, np.uint64))


def _bucket(graph: Graph, hashes: str) -> str:
    """The upper bits of a well mixed hash, int64."""

    def shifted(x: str, by: int) -> str:
        return graph.add("BitShift", x, _uint(graph, by), direction="RIGHT")

    mixed = graph.add("Mul", graph.add("BitwiseXor", hashes, shifted(hashes, 31)), _uint(graph, _MIX))
    mixed = graph.add("Mul", graph.add("BitwiseXor", mixed, shifted(mixed, 29)), _uint(graph, _BASE))
    return graph.cast(shifted(mixed, 64 - _BITS), np.int64)


# Vectors


def _vectors(graph: Graph, vectors: TextVectors, rows: str, hashes: str, n_words: str, n_rows: str) -> str:
    """The numbers of one column of text (rows, width + 1); n_words: (rows, 1)."""
    n_terms = max(1, len(vectors.buckets))
    size = graph.constant(n_terms, np.int64)
    term = graph.add(
        "LabelEncoder",
        hashes,
        domain=ML,
        keys_int64s=[*vectors.buckets.tolist(), -1],
        values_int64s=[*range(len(vectors.buckets)), -1],
        default_int64=-1,
    )
    is_known = graph.add("Greater", term, graph.constant(-1, np.int64))
    key = graph.add("Add", graph.add("Mul", rows, size), term)
    more = graph.add("Mul", n_rows, size)  # a term of a row behind the last, so that there always is one
    key = graph.add("Concat", _compress(graph, key, is_known), more, axis=0)
    distinct = graph.add_several("Unique", key, n_outputs=4, sorted=1)
    keys, counts = distinct[0], distinct[3]
    row = graph.add("Div", keys, size)
    term = graph.add("Sub", keys, graph.add("Mul", row, size))
    all_rows = graph.add("Add", n_rows, graph.constant([1], np.int64))
    weights = vectors.weights if len(vectors.weights) else np.ones(1, np.float32)
    weight = graph.cast(graph.add("Gather", graph.constant(weights), term), np.float64)
    value = graph.add("Mul", _log(graph, counts, 0), weight)
    is_piece = graph.cast(
        graph.add("GreaterOrEqual", term, graph.constant(vectors.n_word_terms, np.int64)), np.int64
    )
    group = graph.add("Add", graph.add("Mul", row, graph.constant(2, np.int64)), is_piece)
    n_groups = graph.add("Mul", all_rows, graph.constant(2, np.int64))
    length = graph.add("Sqrt", _sums(graph, n_groups, np.float64, group, graph.add("Mul", value, value)))
    value = graph.add("Div", value, graph.add("Gather", length, group))
    parts = []
    if vectors.width:
        directions = graph.cast(graph.add("Gather", graph.constant(vectors.projection), term), np.float64)
        column = graph.constant([1], np.int64)
        updates = graph.add("Mul", graph.add("Unsqueeze", value, column), directions)
        shape = graph.add("Concat", all_rows, graph.constant([vectors.width], np.int64), axis=0)
        start = _zeros(graph, shape, np.float64)
        index = graph.add("Unsqueeze", row, column)
        parts.append(_slice(graph, graph.add("ScatterND", start, index, updates, reduction="add"), 0, -1))
    parts.append(_log(graph, n_words, 1))
    y = graph.add("Sub", graph.concat(parts), graph.constant(vectors.center[None]))
    return graph.add("Div", y, graph.constant(vectors.scale[None]))


def _log(graph: Graph, counts: str, is_words: int) -> str:
    """1 + log(n) of counts of terms, log(1 + n) of numbers of words: NumPy's, where they are not many."""
    n = np.arange(MANY, dtype=np.int64)
    known = np.log1p(n) if is_words else np.concatenate([[0.0], 1 + np.log(n[1:])])
    few = graph.add(
        "Gather", graph.constant(known), graph.add("Min", counts, graph.constant(MANY - 1, np.int64))
    )
    one, number = graph.constant(1.0), graph.cast(counts, np.float64)
    if is_words:
        many = graph.add("Log", graph.add("Add", number, one))
    else:
        many = graph.add("Add", one, graph.add("Log", number))
    return graph.add("Where", graph.add("Less", counts, graph.constant(MANY, np.int64)), few, many)


# Small things


def _compress(graph: Graph, x: str, kept: str) -> str:
    return graph.add("Compress", x, kept, axis=0)


def _slice(graph: Graph, x: str, start: int, stop: int | None, axis: int = 0) -> str:
    end = np.iinfo(np.int64).max if stop is None else stop
    bounds = (graph.constant([value], np.int64) for value in (start, end, axis))
    return graph.add("Slice", x, *bounds)


def _sums(graph: Graph, shape: str, dtype: type[np.generic], index: str, values: str) -> str:
    """Sums of the values at each index, added up one by one."""
    return graph.add("ScatterElements", _zeros(graph, shape, dtype), index, values, axis=0, reduction="add")


def _zeros(graph: Graph, shape: str, dtype: type[np.generic]) -> str:
    from onnx import numpy_helper

    return graph.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.zeros(1, dtype)))


def _column(graph: Graph, x: str, place: int) -> str:
    return graph.add("Gather", x, graph.constant([place], np.int64), axis=1)


def _mod(graph: Graph, x: str, by: int) -> str:
    return graph.add("Mod", x, graph.constant(by, np.int64))


def _one(graph: Graph) -> str:
    return graph.constant(1, np.int64)


def _uint(graph: Graph, value: int) -> str:
    return graph.constant(value, np.uint64)
