"""Rows by what they hold: a weight of 2 is the row twice, and the order of rows tells nothing. NumPy only."""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.table.cells import codes_of

MANY, MOST_TIMES = 50_000, 4  # counts become so many rows at most, or so many times the distinct ones
TOO_FEW = 64  # distinct rows, to hold any of them out as a whole
FEW = 1_000  # rows that fewer distinct ones may be spread to, whose weights are no counts
LIGHTEST = 1e-12  # of the heaviest row; what weighs less could not be told from nothing in float32
SHARED = 0.5  # of the weight, from which on repetitions are further observations
NOISE = 0.05  # of the weight, up to which features tell the target
MANY_EACH = 20  # rows of the same features, that tell how often each target comes with them
OCCASIONAL = 1.25  # rows for each distinct one, up to which repetitions come up by themselves
NEW = 0.25  # share of rows that are there once, up to which new rows will mostly be repetitions
OFTEN = 8  # times that each of few distinct rows is there, on average, to be what new rows will repeat
FEW_VALUES, SHARING = 10, 4  # a number of more values tells rows apart if so many rows do not share each
SENTENCE = 3  # words
ENOUGH = 1_900  # rows to learn few distinct ones from: 30 batches an epoch, as `Config.for_shape` wants them
LARGEST_COUNT = 2.0**31  # a weight beyond is none
TOLERANCE = 1e-6  # how far a quotient of weights may be off by rounding

_Hashes = NDArray[np.uint64]
_LETTERS = re.compile(r"[^\W\d_TZ]")  # but those in 2024-01-31T08:00Z


@dataclass(frozen=True, eq=False)
class ByContent:
    """A table's distinct rows in an order that depends on what they hold alone.

    rows:   numbers of rows of the table; of equal ones one stands for all, and a heavy one stands several
            times
    weight: of each, 1 on average; None where all weigh alike
    n_distinct: how many different ones there are
    will_repeat: whether new rows are expected to repeat these, so that copies may judge what learnt a copy
    is_sure: whether, besides, they say all that there is to learn
    """

    rows: NDArray[np.int64]
    weight: NDArray[np.float64] | None
    n_distinct: int
    will_repeat: bool
    is_sure: bool


def by_content(
    features: Sequence[NDArray[Any]],
    others: Sequence[NDArray[Any]] = (),
    weight: NDArray[np.floating[Any]] | None = None,
    *,
    levels: Collection[int] = (),
) -> ByContent:
    """Merge equal rows, add up their weights, and put them into an order of their own.

    Tables that hold the same rows with the same weights come out alike to the bit, however a row's weight is
    written down: as a weight, as repetitions, or as both; in whichever order; and scaled by any power of two,
    except where whole numbers count repetitions of rows that new ones will repeat, too.

    A merged row is on one side of every split, so that no row is judged by what learnt its copy. But where
    most rows share their features with rows of other targets, as in a table of a few categories, a repetition
    is another observation, and holding out all of one kind would teach the opposite of what it says. So it is
    where repetitions are few, as they come up by themselves: new rows will repeat old ones as often. There,
    and where fewer than 64 rows are distinct (rows that all weigh alike stay as they are), heavy rows are
    spread again: into as many as they count, if all weights are multiples of the lightest, up
    to 50,000 rows or four times the distinct ones; else into pieces of the average weight or, of fewer than
    1,000 rows, into up to 1,000.

    Where rows are there so often that new ones will hardly be others, as in a table of three categories a
    hundred times, or in a grid of levels, each is spread as well: what a network never saw, nothing but its
    own rows can teach it. Numbers that hardly two distinct rows share speak against that: such a table was
    written down several times, and new rows will lie between these.

    Args:
        features: columns, in the dtypes of a `Table`.
        others: target, groups, times: rows that differ in these are different rows.
        weight: of each row, not negative; a row of weight 0 is not there. None weighs all alike.
        levels: places of the features whose values are levels, numbers though they may be.

    >>> merged = by_content([np.arange(99)], weight=np.where(np.arange(99) < 33, 3.0, 1.0))
    >>> len(merged.rows), merged.weight.max().round(2)
    (99, np.float64(1.8))
    >>> twice = by_content([np.tile(np.arange(99), 2)])
    >>> sorted(twice.rows.tolist()) == list(range(99)), twice.weight is None
    (True, True)
    >>> by_content([np.array([7, 3, 7, 3])]).will_repeat
    True
    """
    there = np.arange(len(features[0])) if weight is None else np.flatnonzero(weight)
    w = np.ones(len(there)) if weight is None else _scaled(weight[there])
    own = row_hashes([column[there] for column in features])
    hashes = row_hashes([own, *(column[there] for column in others)]) if others else own
    order = np.argsort(hashes, kind="stable") if weight is None else np.lexsort((w, hashes))
    starts = _starts([column[there] for column in (*features, *others)], hashes, order)
    total = np.add.reduceat(w[order], starts)
    total = np.maximum(total, LIGHTEST * total.max())
    distinct = there[order[starts]]
    counts = _counts(None if weight is None else weight[there], order, starts)
    will_repeat = counts is not None and _will_repeat([c[distinct] for c in features], counts, levels)
    is_sure = counts is not None and will_repeat and _is_sure(own[order[starts]], counts)
    if counts is not None and will_repeat:
        pieces = _copies(counts, is_sure=is_sure)
    elif np.ptp(total) > 0 and (
        len(total) < TOO_FEW or _are_occasional(total) or _shared(own[order[starts]], total) > SHARED
    ):
        pieces = _pieces(total)
    else:
        pieces = np.ones(len(total), np.int64)
    each = _normalised(np.repeat(total / pieces, pieces))
    return ByContent(np.repeat(distinct, pieces), each, len(distinct), will_repeat, is_sure)


def _counts(
    weight: NDArray[np.floating[Any]] | None, order: NDArray[np.int64], starts: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """How often each distinct row is there: weights that are whole numbers count. None where some are not."""
    if weight is None:
        return np.diff(np.append(starts, len(order))).astype(np.float64)
    if weight.max() > LARGEST_COUNT or (weight != np.floor(weight)).any():
        return None
    return np.add.reduceat(weight[order].astype(np.float64), starts)


def _will_repeat(
    features: Sequence[NDArray[Any]], counts: NDArray[np.float64], levels: Collection[int]
) -> bool:
    """Whether new rows are, by and large, repetitions of these distinct ones, which are there so often.

    The chance that the next row is new is the share of rows that are there once; but a table may have been
    written down several times, of which a number tells that hardly two distinct rows share.

    Source:  Good 1953, "The population frequencies of species and the estimation of population parameters"
    """
    if float(counts[counts == 1].sum()) > NEW * float(counts.sum()):
        return False
    if len(counts) < TOO_FEW and float(counts.mean()) >= OFTEN:
        return True
    return not any(_tells_rows_apart(column, place in levels) for place, column in enumerate(features))


def _tells_rows_apart(column: NDArray[Any], has_levels: bool) -> bool:
    """Whether it holds numbers, dates or sentences that hardly two distinct rows share."""
    if has_levels or column.dtype == bool:
        return False
    values = set(column.tolist()) if column.dtype == object else np.unique(column)
    if len(values) <= FEW_VALUES or len(values) * SHARING <= len(column):
        return False
    if column.dtype != object:
        return True
    return sum(map(_is_no_level, values)) > len(values) / 2


def _is_no_level(text: str | None) -> bool:
    """Whether a text is a number, a date or a sentence."""
    return text is not None and (not _LETTERS.search(text) or len(text.split()) >= SENTENCE)


def _is_sure(features: _Hashes, counts: NDArray[np.float64]) -> bool:
    """Whether the rows say all that there is to learn: features tell the target, or how often it comes."""
    each = float(counts.sum()) / len(np.unique(features))
    return each >= MANY_EACH or _shared(features, counts) <= NOISE


def _copies(counts: NDArray[np.float64], *, is_sure: bool) -> NDArray[np.int64]:
    """Into how many rows each is split that new rows will repeat: as many as it is there, if not too many.

    Where they are sure, few rows become more: to learn them takes as many steps as to learn many. Where they
    are not, each is an observation, and no copy of it may judge whether it is learnt by heart.
    """
    n, few = float(counts.sum()), len(counts) < TOO_FEW
    unit = max(1.0, n / (FEW if few else max(len(counts) * MOST_TIMES, MANY)))
    pieces = np.maximum(np.floor(counts / unit + TOLERANCE), 1).astype(np.int64)
    return pieces * max(1, -(-ENOUGH // int(pieces.sum()))) if is_sure else pieces


def _are_occasional(weight: NDArray[np.float64]) -> bool:
    """Whether the weights are counts, and repetitions few beside the distinct rows."""
    lightest = float(weight.min())
    return float(weight.mean()) <= OCCASIONAL * lightest and _are_multiples(weight, lightest)


def _shared(features: _Hashes, weight: NDArray[np.float64]) -> float:
    """Share of the weight that is of distinct rows which share their features with others."""
    _, cell, n_rows = np.unique(features, return_inverse=True, return_counts=True)
    return float(weight[n_rows[cell] > 1].sum()) / float(weight.sum())


def _scaled(weight: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """By the power of two that keeps their sum finite and changes none of their digits."""
    return np.ldexp(weight.astype(np.float64), -int(np.frexp(weight.max())[1]))


def _pieces(weight: NDArray[np.float64]) -> NDArray[np.int64]:
    """Into how many rows each is split."""
    lightest = float(weight.min())
    if _are_multiples(weight, lightest):
        unit, most = lightest, max(len(weight) * MOST_TIMES, MANY)
    else:
        unit, most = _part_of(weight, lightest), max(len(weight), FEW)
    unit = max(unit, float(weight.sum()) / most)
    return np.maximum(np.floor(weight / unit + TOLERANCE), 1).astype(np.int64)


def _part_of(weight: NDArray[np.float64], lightest: float) -> float:
    """The lightest or, of few rows, that whole part of it of which all are multiples, if there is one."""
    parts = range(2, FEW if len(weight) < FEW else 2)
    return next((lightest / n for n in parts if _are_multiples(weight, lightest / n)), lightest)


def _are_multiples(weight: NDArray[np.float64], unit: float) -> bool:
    counts = weight / unit
    return bool((np.abs(counts - counts.round()) <= TOLERANCE * counts).all())


def _normalised(weight: NDArray[np.float64]) -> NDArray[np.float64] | None:
    if np.ptp(weight) <= TOLERANCE * weight.max():
        return None
    return weight / weight.mean()


def _starts(columns: Sequence[NDArray[Any]], hashes: _Hashes, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places in the order, in which equal rows are neighbours, where a row differs from the one before."""
    ordered = hashes[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    alike = np.flatnonzero(~is_first)
    differ = np.zeros(len(alike), dtype=bool)
    for column in columns:  # different rows hardly ever have one hash, but must not be merged for it
        differ |= ~_equal(column[order[alike]], column[order[alike - 1]])
    is_first[alike[differ]] = True
    return np.flatnonzero(is_first)


def _equal(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    same = np.asarray(a == b, dtype=bool)
    return same if a.dtype == object else same | ((a != a) & (b != b))


def row_hashes(columns: Sequence[NDArray[Any]]) -> _Hashes:
    """64 bits for each row (n_rows,), the same in every process and on every machine.

    Missing values are equal to each other, and -0.0 to 0.0.

    >>> first, second, third = row_hashes([np.array([0.0, -0.0, 1.0])])
    >>> first == second, first == third
    (np.True_, np.False_)
    """
    total = np.empty(len(columns[0]), np.uint64)
    readers = [_text_words(column) if column.dtype == object else column for column in columns]
    for start in range(0, len(total), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        total[chunk] = _chunk_hashes([column[chunk] for column in readers])
    return total


_CHUNK = 32_768  # rows at a time: their hashes stay in the processor's cache
_GOLDEN, _ODD = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


def _chunk_hashes(columns: Sequence[NDArray[Any]]) -> _Hashes:
    total = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        total += np.uint64(_GOLDEN)  # the place of a column counts
        total *= np.uint64(_ODD)
        total ^= _mixed(_words(column))
    return _mixed(total)


def _mixed(words: _Hashes) -> _Hashes:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195)."""
    words = words ^ (words >> np.uint64(30))
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def _words(column: NDArray[Any]) -> _Hashes:
    """64 bits for each value: equal for equal values."""
    if column.dtype == np.uint64:
        return column
    if column.dtype.kind == "f":
        numbers = column.astype(np.float64) + 0.0
        numbers[np.isnan(numbers)] = np.nan  # of its many bit patterns, one
        return numbers.view(np.uint64)
    if column.dtype.kind == "M":
        column = column.astype("datetime64[us]")
    return np.ascontiguousarray(column.astype(np.int64)).view(np.uint64)


def _text_words(column: NDArray[np.object_]) -> _Hashes:
    place, rows = codes_of(column)
    return np.frombuffer(b"".join(map(_digest, place)), np.uint64)[rows]


def _digest(text: str | None) -> bytes:
    if text is None:
        return bytes(8)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
