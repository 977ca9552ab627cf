"""What each column adds to the prediction of a row: Shapley values, a raw column a player.

v(S) = mean over background rows b of f(columns in S as in the row, all others as in b)
phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S with i) - v(S))

Source:  Lundberg, Lee 2017, arXiv:1705.07874; Musco, Witter 2025, "Provably Accurate Shapley Value Estimation
         via Leverage Score Sampling", arXiv:2410.01917
"""

from collections.abc import Callable
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from multilayer.inspect.encoded_table import in_calls

EXACT_COLUMNS = 8  # up to here all coalitions are looked at
COALITIONS_A_COLUMN = 10  # beyond it, so many are drawn for each column

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Value = Callable[[Mask], Floats]


def shapley_values(value: Value, n_players: int, n_coalitions: int | None = None, seed: int = 0) -> Floats:
    """Shapley values (n_players, ...) of a game.

    Args:
        value: from coalitions (n_coalitions, n_players), True for who is in, to what each is worth
            (n_coalitions, ...).
        n_players: how many there are.
        n_coalitions: to look at, beside none and all; as many as there are, or more, makes the values exact.
            None: all for up to 8 players, else ten for each player.
        seed: of the draw.

    >>> worth = np.array([1.0, 2.0, 4.0])
    >>> shapley_values(lambda coalitions: coalitions @ worth, 3).round(9).tolist()
    [1.0, 2.0, 4.0]
    """
    n = n_players
    if n_coalitions is None:
        n_coalitions = 2**n if n <= EXACT_COLUMNS else COALITIONS_A_COLUMN * n
    ends = value(np.array([[False] * n, [True] * n]))
    whole = ends[1] - ends[0]
    if n == 1:
        return whole[None]
    masks, weight = coalitions(n, n_coalitions, seed)
    worth = value(masks) - ends[0]
    shape = worth.shape[1:]
    return _least_squares(masks, weight, worth.reshape(len(masks), -1), whole.ravel()).reshape(n, *shape)


def coalitions(n: int, most: int, seed: int) -> tuple[Mask, Floats]:
    """Coalitions without none and all, each beside its complement, and their weights in the regression.

    A coalition of s of n has the Shapley kernel's weight w = 1 / (C(n, s) s (n - s)), and leverage
    1 / C(n, s): all sizes are drawn alike often, those that are not all drawn weigh by how few of them were.

    Differs: so many of each size are drawn, without replacement, instead of a binomial number
    """
    sizes = range(1, n // 2 + 1)
    per_size = _per_size({s: _n_pairs(n, s) for s in sizes}, most // 2)
    rng = np.random.default_rng(seed)
    masks, weights = [], []
    for s, k in per_size.items():
        if not k:
            continue
        drawn = _subsets(n, s, k, rng)
        half = np.zeros((len(drawn), n), bool)
        np.put_along_axis(half, drawn, True, axis=1)
        pairs = _n_pairs(n, s)
        w = 1 / (comb(n, s) * s * (n - s)) * pairs / len(drawn)
        masks += [half, ~half]
        weights += [np.full(2 * len(drawn), w)]
    return np.concatenate(masks), np.concatenate(weights)


def _n_pairs(n: int, s: int) -> int:
    """Pairs of a coalition of s and its complement; at half of n both are of one size."""
    return comb(n, s) // (2 if 2 * s == n else 1)


def _per_size(there: dict[int, int], most: int) -> dict[int, int]:
    """How many pairs to draw of each size: alike many, and all of a size that has fewer."""
    most = max(most, len(there))
    drawn = dict.fromkeys(there, 0)
    open_sizes = list(there)
    left = most
    while open_sizes and left >= len(open_sizes):
        share = left // len(open_sizes)
        for s in list(open_sizes):
            more = min(share, there[s] - drawn[s])
            drawn[s] += more
            left -= more
        open_sizes = [s for s in open_sizes if drawn[s] < there[s]]
    return drawn


def _subsets(n: int, s: int, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """So many different subsets of s of n (k, s); of half of n, none beside its complement."""
    is_half = 2 * s == n
    if k >= _n_pairs(n, s):
        found = np.array(list(combinations(range(n), s)), np.int64)
        return found[found[:, 0] == 0] if is_half else found
    picked: dict[tuple[int, ...], None] = {}
    while len(picked) < k:
        subset = tuple(sorted(rng.permutation(n)[:s].tolist()))
        if is_half and 0 not in subset:
            subset = tuple(i for i in range(n) if i not in subset)
        picked.setdefault(subset)
    return np.array(list(picked), np.int64)


def _least_squares(masks: Mask, weight: Floats, worth: Floats, whole: Floats) -> Floats:
    """The phi that fit the coalitions best, and sum to the whole: (n_players, n_games)."""
    z = masks.astype(np.float64)
    last = z[:, -1:]
    root = np.sqrt(weight)[:, None]
    a, b = root * (z[:, :-1] - last), root * (worth - last * whole)
    others = np.linalg.lstsq(a, b, rcond=None)[0]
    return np.concatenate([others, (whole - others.sum(axis=0))[None]])


def coalition_values(
    outputs: Callable[[NDArray[np.float32]], Floats],
    rows: NDArray[np.float32],
    background: NDArray[np.float32],
    weight: Floats,
    places: tuple[NDArray[np.int64], ...],
) -> Value:
    """The game of each of some rows: (n_coalitions, n_rows, n_outputs).

    Args:
        outputs: the model, from encoded rows to (n_rows, n_outputs).
        rows: encoded, to explain.
        background: encoded rows that stand for columns that are not known, (n_background, d_in).
        weight: of each background row; they sum to 1.
        places: encoded columns of each player.
    """
    player = np.zeros(rows.shape[1], np.int64)
    for i, place in enumerate(places):
        player[place] = i

    def value(masks: Mask) -> Floats:
        known = masks[:, player]  # (n_coalitions, d_in)
        n_each = len(masks) * len(background)
        found = []
        for piece in in_calls(len(rows), n_each):
            x = np.where(known[None, :, None], rows[piece, None, None], background)
            said = outputs(x.reshape(-1, rows.shape[1]))
            said = said.reshape(*x.shape[:3], -1)
            found.append(np.tensordot(said, weight, axes=(2, 0)))
        return np.moveaxis(np.concatenate(found), 0, 1)

    return value
