"""Which rows to train on and which to validate on: at random, by class, by group, or by time."""

import heapq
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multilayer.errors import ConfigError, DataError
from multilayer.table.cells import codes_of

Rows = NDArray[np.int64]


def split(
    n_rows: int,
    *,
    fraction: float = 0.2,
    seed: int = 0,
    stratify: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    time: ArrayLike | None = None,
) -> tuple[Rows, Rows]:
    """Part row numbers 0 .. n_rows - 1 into training and validation rows, both sorted, neither empty.

    fraction: share of the rows for validation.
    stratify: class of each row; both parts get each class in proportion, none is wholly in validation.
    groups: group of each row (patient, household, ...); no group is on both sides, so sizes are approximate.
    time: time of each row; validation rows are all later than training rows (equal times stay together).

    Raises:
        ConfigError: fraction is not between 0 and 1, or more than one of stratify, groups and time is given.
        DataError: fewer than 2 rows, groups or times; an array of another length; a missing group or time.

    >>> train_rows, valid_rows = split(10, fraction=0.3, time=np.arange(10))
    >>> train_rows.tolist(), valid_rows.tolist()
    ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9])
    """
    given = {
        name: values
        for name, values in (("stratify", stratify), ("groups", groups), ("time", time))
        if values is not None
    }
    if len(given) > 1:
        raise ConfigError(
            f"A split follows one of stratify, groups and time; got {' and '.join(given)}. Choose one."
        )
    if not 0 < fraction < 1:
        raise ConfigError(f"The validation fraction must lie between 0 and 1; got {fraction}. Try 0.2.")
    if n_rows < 2:
        raise DataError(
            f"A split needs at least 2 rows, one to train on and one to validate on; got {n_rows}. Add rows."
        )
    n_valid = min(max(round(n_rows * fraction), 1), n_rows - 1)
    rng = np.random.default_rng(seed)
    if stratify is not None:
        is_valid = _stratified(_codes("stratify", stratify, n_rows), n_valid, rng)
    elif groups is not None:
        is_valid = _grouped(_codes("groups", groups, n_rows), n_valid, rng)
    elif time is not None:
        is_valid = _latest(_codes("time", time, n_rows), n_valid)
    else:
        is_valid = np.zeros(n_rows, dtype=bool)
        is_valid[rng.permutation(n_rows)[:n_valid]] = True
    return np.flatnonzero(~is_valid), np.flatnonzero(is_valid)


def _codes(name: str, values: ArrayLike, n_rows: int) -> Rows:
    """Ranks of the distinct values, 0 the smallest (of objects the first): all that a split must know."""
    array = np.asarray(values)
    if array.shape != (n_rows,):
        raise DataError(f"{name} must have one value for each of the {n_rows} rows; got shape {array.shape}.")
    check_complete(name, array)
    if array.dtype == object and name != "time":
        return codes_of(array)[1]  # by first occurrence: groups of mixed types cannot be sorted
    try:
        return np.unique(array, return_inverse=True)[1].astype(np.int64)
    except TypeError:
        raise DataError(f"{name} must hold values that can be sorted; got a mixture. Use one type.") from None


def check_complete(name: str, values: NDArray[Any]) -> None:
    """Refuse missing groups or times, naming the first row without one.

    >>> check_complete("groups", np.array(["a", None], dtype=object))
    Traceback (most recent call last):
    ...
    multilayer.errors.DataError: groups must have no missing values; row 2 has none. ...
    """
    missing = _missing(values)
    if missing.any():
        raise DataError(
            f"{name} must have no missing values; row {int(missing.argmax()) + 1} has none. "
            "Fill it, or leave the row out."
        )


def _missing(array: NDArray[Any]) -> NDArray[np.bool_]:
    if array.dtype == object:
        return np.array([value is None or value != value for value in array.tolist()], dtype=bool)
    return np.isnat(array) if array.dtype.kind in "mM" else array != array


def _stratified(codes: Rows, n_valid: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Largest-remainder shares of each class; every class keeps a row for training."""
    counts = np.bincount(codes)
    ideal = counts * (n_valid / len(codes))
    quota = np.floor(ideal).astype(np.int64)
    limit = counts - 1
    quota = np.minimum(quota, limit)
    by_remainder = np.argsort(-(ideal - quota), kind="stable")
    while (lacking := n_valid - quota.sum()) > 0 and (quota < limit).any():
        open_classes = by_remainder[quota[by_remainder] < limit[by_remainder]][:lacking]
        quota[open_classes] += 1
    if quota.sum() == 0:  # every class has one row: there is nothing to balance
        quota[rng.permutation(len(counts))[:n_valid]] = 1
    shuffled = rng.permutation(len(codes))
    by_class = shuffled[np.argsort(codes[shuffled], kind="stable")]
    place = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)  # of a row within its class
    is_valid = np.zeros(len(codes), dtype=bool)
    is_valid[by_class[place < np.repeat(quota, counts)]] = True
    return is_valid


def _grouped(codes: Rows, n_valid: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Groups in random order, each taken if that brings the number of validation rows nearer to n_valid."""
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        raise DataError(
            "A split by groups needs at least 2 groups, one for each side; all rows are of one. "
            "Split by another column, or at random."
        )
    chosen: list[int] = []
    lacking = n_valid
    order = rng.permutation(len(sizes))
    for group in order.tolist():
        if abs(lacking - sizes[group]) < lacking and len(chosen) < len(sizes) - 1:
            chosen.append(group)
            lacking -= sizes[group]
    if not chosen:
        chosen = [int(sizes.argmin())]
    return np.isin(codes, chosen)


def _latest(codes: Rows, n_valid: int) -> NDArray[np.bool_]:
    """Validation from the change of time that lies nearest to the wanted share."""
    if codes.max() == 0:
        raise DataError(
            "A split by time needs at least 2 different times; all rows have the same. "
            "Split by another column, or at random."
        )
    n_before = np.cumsum(np.bincount(codes))[:-1]  # rows before each change of time
    first = int(np.abs(n_before - (len(codes) - n_valid)).argmin()) + 1
    return codes >= first


def folds(
    n_rows: int, n_folds: int, *, seed: int = 0, stratify: NDArray[np.generic] | None = None
) -> NDArray[np.int64]:
    """The fold of each row, 0 to n_folds - 1: at random, of equal sizes, and within each class alike.

    >>> np.bincount(folds(10, 5))
    array([2, 2, 2, 2, 2])
    """
    order = np.random.default_rng(seed).permutation(n_rows)
    if stratify is not None:
        order = order[np.argsort(stratify[order], kind="stable")]
    fold = np.empty(n_rows, np.int64)
    fold[order] = np.arange(n_rows) % n_folds
    return fold


def group_folds(groups: ArrayLike, n_folds: int, *, seed: int = 0) -> NDArray[np.int64]:
    """The fold of each row, 0 to n_folds - 1: each group is wholly in one, and sizes are as even as may be.

    The largest group first, each goes to the fold with the fewest rows so far; equal ones in random order.

    Source:  Graham 1969, "Bounds on multiprocessing timing anomalies" (longest processing time first)

    Raises:
        DataError: fewer groups than folds, or a missing group.

    >>> group_folds(["a", "a", "a", "b", "b", "c"], 2).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    array = np.asarray(groups)
    codes = _codes("groups", array, len(array))
    sizes = np.bincount(codes)
    if len(sizes) < n_folds:
        raise DataError(
            f"{n_folds} folds need at least as many groups; got {len(sizes)}. Ask for fewer folds."
        )
    order = np.random.default_rng(seed).permutation(len(sizes))
    held = [(0, fold) for fold in range(n_folds)]  # a heap of (rows, fold)
    fold_of = np.empty(len(sizes), np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")].tolist():
        n_rows, fold = held[0]
        fold_of[group] = fold
        heapq.heapreplace(held, (n_rows + int(sizes[group]), fold))
    return fold_of[codes]
