"""Free text: how it is told from categories, and how it becomes a few numbers. No download, any language."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST_TEXTS = 20  # distinct values below which a column is not taken for free text
FEWEST_WORDS = 3  # of most values of a column of free text
MOST_CHARACTERS = 20_000  # of a text that are read: some 3,000 words
WIDTH = 48  # numbers that a text becomes, at most
N_WORDS, N_PIECES = 8_192, 8_192  # most frequent words and pairs, and pieces of words, that are told apart
SIZES = (3, 4, 5)  # of pieces of words, in characters
FIT_ROWS = 10_000  # texts that the weights and directions are learnt from

MANY_TEXTS = 1_000  # of one call, from which on loading SciPy is worth its time
_LOOKED_AT = 1_000  # texts that decide whether a column is free text
_BATCH = 500_000  # characters that are taken apart at once: some 100 MB
_BITS = 19  # of a hash: half a million words and as many pieces
N_HASHES = 1 << _BITS  # of words, and as many of pieces of words
_SPACE = np.uint64(0)
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 1 << 64)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_WORD = re.compile(r"\w+")
# Scripts without spaces between words, of which two letters make a word: Thai, Lao, Myanmar, Khmer, kana, Han
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def n_words(text: str) -> int:
    """Number of words; in scripts that are written without spaces, two letters count as one.

    >>> n_words("Not bad, really."), n_words("東京都港区")
    (3, 2)
    """
    n_unspaced = len(_UNSPACED.findall(text))
    return len(_WORD.findall(_UNSPACED.sub(" ", text) if n_unspaced else text)) + n_unspaced // 2


def why_text(distinct: Sequence[str], n_present: int) -> str | None:
    """Why a column of these distinct values is free text, in words; None if it is not.

    It is, if at least half of its values are distinct, and half of these have at least three words.

    >>> why_text([f"the room number {i} was clean" for i in range(30)], 40)
    '75 % distinct, 100 % with 3 words or more'
    >>> why_text(["New York City"] * 30, 30)
    """
    if len(distinct) < max(FEWEST_TEXTS, n_present / 2):
        return None
    picked = distinct[:: -(-len(distinct) // _LOOKED_AT)]
    share = sum(n_words(text) >= FEWEST_WORDS for text in picked) / len(picked)
    if len(set(picked)) < len(picked) or share < 0.5:
        return None
    return f"{len(distinct) / n_present:.0%} distinct, {share:.0%} with 3 words or more".replace("%", " %")


@dataclass(frozen=True, eq=False)
class TextVectors:
    """Texts as vectors: their words, pairs of words and pieces of words, weighted, in a few directions.

    x_ij = (1 + log tf_ij) log((1 + n) / (1 + df_j)) + same      words and pieces each scaled to length 1
    vector_i = (x_i V, log(1 + number of words))                  V: first right singular vectors of x
    each number then has mean 0 and deviation 1 over the texts it was learnt on

    Texts are compared without case and in Unicode's NFKC. Words are runs of letters, marks, digits and
    symbols; pieces are 3 to 5 characters of a word and the spaces around it, which suit scripts without
    spaces, too. Both are known by hashes of 19 bits, of which the ones in most texts are kept. Of a text its
    first 20,000 characters are read.

    buckets:    (n_terms,) hashes of the terms, words first; n_word_terms of them are words
    weights:    (n_terms,) inverse document frequency
    projection: (n_terms, width) V
    center, scale: (width + 1,)

    Source:  tf-idf, Spärck Jones 1972; latent semantic analysis, Deerwester et al. 1990; hashing, Weinberger
             et al. 2009, arXiv:0902.2206; randomised SVD, Halko et al. 2011, arXiv:0909.4061

    >>> texts = [f"{meal} was {taste}" for meal in ("soup", "fish") for taste in ("good", "bad", "cold")]
    >>> vectors = TextVectors.fit(texts, 2)
    >>> vectors.transform(["The GOOD soup", ""]).shape
    (2, 3)
    """

    n_word_terms: int
    buckets: NDArray[np.uint32]
    weights: NDArray[np.float32]
    projection: NDArray[np.float32]
    center: Floats
    scale: Floats

    @classmethod
    def fit(cls, texts: Sequence[str], width: int = WIDTH) -> "TextVectors":
        """Learn terms, weights and directions from these texts, or from 10,000 spread evenly among them."""
        sample = [texts[i] for i in np.linspace(0, len(texts) - 1, min(len(texts), FIT_ROWS)).astype(int)]
        frequency = _document_frequency(sample)
        words = _most_frequent(frequency[: 1 << _BITS], N_WORDS)
        pieces = _most_frequent(frequency[1 << _BITS :], N_PIECES)
        buckets = np.concatenate([words, pieces + (1 << _BITS)])
        weights = np.log((1 + len(sample)) / (1 + frequency[buckets])) + 1
        vectors = cls(
            n_word_terms=len(words),
            buckets=buckets.astype(np.uint32),
            weights=weights.astype(np.float32),
            projection=np.zeros((len(buckets), 0), np.float32),
            center=np.zeros(1),
            scale=np.ones(1),
        )
        projection = _directions([vectors._matrix(*each[:3]) for each in vectors._weighted(sample)], width)
        if projection.shape[1]:
            n_numbers = projection.shape[1] + 1
            vectors = replace(
                vectors, projection=projection, center=np.zeros(n_numbers), scale=np.ones(n_numbers)
            )
        raw = vectors.transform(sample)
        spread = raw.std(axis=0)
        return replace(vectors, center=raw.mean(axis=0), scale=np.where(spread > 1e-6, spread, 1.0))

    @property
    def width(self) -> int:
        """Numbers that a text becomes, without the number of words."""
        return self.projection.shape[1]

    def transform(self, texts: Sequence[str]) -> Floats:
        """Vectors of texts (n_texts, width + 1)."""
        parts = [
            np.column_stack([self._projected(values, terms, starts), np.log1p(sizes)])
            for values, terms, starts, sizes in self._weighted(texts)
        ]
        return (np.concatenate([np.zeros((0, self.width + 1)), *parts]) - self.center) / self.scale

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` needs, beside `n_word_terms`."""
        names = ("buckets", "weights", "projection", "center", "scale")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_arrays(cls, n_word_terms: int, arrays: Mapping[str, NDArray[Any]]) -> "TextVectors":
        """The vectors of `arrays`."""
        return cls(n_word_terms, **{name: np.array(array) for name, array in arrays.items()})

    @cached_property
    def _place(self) -> NDArray[np.int16]:
        """Which term a hash is, -1 for none."""
        place = np.full(2 << _BITS, -1, np.int16)
        place[self.buckets] = np.arange(len(self.buckets))
        return place

    def _projected(self, values: Floats, terms: Ints, starts: Ints) -> Floats:
        """X V of each text, term by term in ascending order: sums of another order have other bits.

        SciPy, where it is installed, is ten times as fast, and takes a tenth of a second to load.
        """
        if len(starts) > MANY_TEXTS and find_spec("scipy") is not None:
            return np.asarray(self._matrix(values, terms, starts) @ self.projection, np.float64)
        y = np.zeros((len(starts) - 1, self.width))
        add_up = np.add.reduce if self.width > 1 else _last_of_sums
        for text, (start, stop) in enumerate(pairwise(starts.tolist())):
            if start < stop:
                y[text] = add_up(values[start:stop, None] * self.projection[terms[start:stop]], axis=0)
        return y

    def _matrix(self, values: Floats, terms: Ints, starts: Ints) -> Any:
        """Texts as weighted sparse rows (n_texts, n_terms)."""
        from scipy.sparse import csr_array

        return csr_array((values, terms, starts), shape=(len(starts) - 1, len(self.buckets)))

    def _weighted(self, texts: Sequence[str]) -> Iterator[tuple[Floats, Ints, Ints, Ints]]:
        """Of each batch of texts: weight and number of each term, where the terms of each text start and the
        last ends, and the number of words of each.
        """
        for rows, buckets, sizes in _terms(texts):
            terms = self._place[buckets].astype(np.int64)
            rows, terms = rows[terms >= 0], terms[terms >= 0]
            keys, counts = _counted(rows * max(1, len(self.buckets)) + terms)
            rows, terms = np.divmod(keys, max(1, len(self.buckets)))
            values = (1 + np.log(counts)) * self.weights[terms]
            group = 2 * rows + (terms >= self.n_word_terms)
            length = np.sqrt(np.bincount(group, values**2, 2 * len(sizes)))
            starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(sizes)))])
            yield values / length[group], terms, starts, sizes


def _last_of_sums(x: Floats, axis: int) -> Floats:
    """The sum, one by one also where there is one column, which NumPy would sum up in pairs."""
    return np.add.accumulate(x, axis=axis)[-1]


def _most_frequent(frequency: Ints, most: int) -> Ints:
    """Hashes of the terms in most texts, of those that are in two at least."""
    order = np.argsort(-frequency, kind="stable")[:most]
    return order[frequency[order] >= 2]


def _document_frequency(texts: Sequence[str]) -> Ints:
    """In how many texts each hash occurs."""
    n_hashes = 2 << _BITS
    frequency = np.zeros(n_hashes, np.int64)
    for rows, buckets, _ in _terms(texts):
        keys, _ = _counted(rows * n_hashes + buckets)
        frequency += np.bincount(keys % n_hashes, minlength=n_hashes)
    return frequency


def _counted(keys: Ints) -> tuple[Ints, Ints]:
    """Distinct keys in ascending order and how often each occurs; `np.unique` hashes, which is slower."""
    keys = np.sort(keys)
    starts = np.flatnonzero(np.concatenate([[True] * (len(keys) > 0), keys[1:] != keys[:-1]]))
    return keys[starts], np.diff(starts, append=len(keys))


def _directions(batches: Sequence[Any], width: int) -> NDArray[np.float32]:
    """The first right singular vectors (n_terms, width or fewer), by a randomised SVD of a fixed seed.

    batches: the sparse rows, in pieces
    """
    from scipy.sparse import vstack

    matrix = vstack(batches, format="csr")
    if matrix.nnz == 0:
        return np.zeros((matrix.shape[1], 0), np.float32)
    drawn = min(width + 8, *matrix.shape)
    basis = matrix @ np.random.default_rng(0).standard_normal((matrix.shape[1], drawn))
    for _ in range(3):
        basis = matrix.T @ np.linalg.qr(basis)[0]
        basis = matrix @ np.linalg.qr(basis)[0]
    _, sizes, vectors = np.linalg.svd((matrix.T @ np.linalg.qr(basis)[0]).T, full_matrices=False)
    vectors = vectors[:width][sizes[:width] > 1e-6 * sizes[0]]
    signs = np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)])
    return (vectors * signs[:, None]).T.astype(np.float32)


def _terms(texts: Sequence[str]) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Of each batch of texts: row and hash of every term, repetitions included, and words of each text."""
    start = 0
    while start < len(texts):
        stop, n_characters = start, 0
        batch: list[str] = []
        while stop < len(texts) and (not batch or n_characters < _BATCH):
            batch.append(unicodedata.normalize("NFKC", texts[stop][:MOST_CHARACTERS]).casefold())
            n_characters += len(batch[-1])
            stop += 1
        yield _taken_apart(batch)
        start = stop


def _taken_apart(texts: Sequence[str]) -> tuple[Ints, Ints, Ints]:
    """Row and hash of every term of these texts, and the number of words of each."""
    letters, row = _letters(texts)
    is_space = letters == _SPACE
    starts = np.flatnonzero(is_space[:-1] & ~is_space[1:]) + 1
    ends = np.flatnonzero(~is_space[:-1] & is_space[1:]) + 1
    words, word_row = _spans(letters, starts, ends), row[starts]
    together = word_row[:-1] == word_row[1:]
    pairs = (words[:-1] * _MIX + words[1:])[together] ^ np.uint64(1)
    rows, hashes = [word_row, word_row[:-1][together]], [_bucket(words), _bucket(pairs)]
    n_spaces = np.concatenate([[0], np.cumsum(is_space)])
    piece = letters
    for size in range(
        2, max(SIZES) + 1
    ):  # the hash of a piece, from that of the piece without its last letter
        piece = piece[:-1] * np.uint64(_BASE) + letters[size - 1 :]
        if size in SIZES:  # spaces only at the ends
            n = len(piece)
            at = np.flatnonzero(n_spaces[size - 1 : size - 1 + n] == n_spaces[1 : 1 + n])
            rows.append(row[at + 1])
            hashes.append(_bucket(piece[at] ^ np.uint64(size)) + (1 << _BITS))
    return np.concatenate(rows), np.concatenate(hashes), np.bincount(word_row, minlength=len(texts))


def _letters(texts: Sequence[str]) -> tuple[Hashes, Ints]:
    """All texts as one line of letters, as large numbers, one space around each word; the row of each."""
    joined = " " + " ".join(texts) + " "
    code = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    row = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])
    row = np.concatenate([row, [len(texts) - 1]])
    known, place = np.unique(code, return_inverse=True)
    is_letter = np.array([unicodedata.category(chr(each))[0] in "LMNS" for each in known.tolist()])[place]
    kept = is_letter.copy()
    kept[0] = True
    kept[1:] |= is_letter[:-1]
    letters = np.where(is_letter, (code.astype(np.uint64) + np.uint64(1)) * _MIX, _SPACE)
    return letters[kept], row[kept]


def _spans(letters: Hashes, starts: Ints, ends: Ints) -> Hashes:
    """A hash of letters[start:end] for each start and end, that does not depend on where they stand.

    sum of letter_k base^k, from start to end, times base^-start; all modulo 2^64
    """
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(letters * _powers(_BASE, len(letters)))])
    return (sums[ends] - sums[starts]) * _powers(_INVERSE, len(letters))[starts]


def _powers(base: int, n: int) -> Hashes:
    factors = np.full(n, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors)


def _bucket(hashes: Hashes) -> Ints:
    """The upper bits of a well mixed hash."""
    mixed = (hashes ^ (hashes >> np.uint64(31))) * _MIX
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(_BASE)
    return (mixed >> np.uint64(64 - _BITS)).astype(np.int64)
