"""Training and validation rows: given apart, or divided into folds, by groups, by time or at random."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError
from multilayer.recipe.data import Data, require, target_columns
from multilayer.table.list_columns import as_at_fit
from multilayer.table.row_weights import check_weights
from multilayer.table.sources.frames import tell_other_order
from multilayer.table.sources.read import Table, read_source
from multilayer.table.split import folds, group_folds, split
from multilayer.tasks.multi_target import side_by_side
from multilayer.tasks.task import Task

N_FOLDS = 8  # each network validates on one of them
ROWS_A_FOLD = 8  # with fewer, one share of the rows validates all networks
TARGET_FOLDS = 5  # of the training rows, for target statistics, where the networks have no folds
FEWEST_IN_TIME = 20  # rows that are worth a split as asked


@dataclass(frozen=True)
class Parts:
    """Training and validation rows; or all rows and the fold of each, with a fold for each network.

    how: they were divided, in words
    """

    train: Data
    valid: Data | None
    how: str
    folds: NDArray[np.int64] | None = None


def split_rows(
    data: Data,
    task: Task,
    validation: Any,
    groups: str | None,
    time: str | None,
    seed: int,
    n_networks: int,
) -> Parts:
    """As `fit` was asked to validate: on rows of their own, on folds, or on a share of the rows."""
    if validation is not None and not isinstance(validation, int | float | np.number):
        held = _given_validation(data, validation)
        return Parts(data, held.with_numbers(task.kind, drop_missing=False), "as given")
    if groups is not None and time is not None:
        raise ConfigError("split by groups or by time, not by both.")
    by_class = bool(task.classes) and groups is None and time is None
    stratify = task.encode(data.y) if by_class else None
    at_random = "at random within each class" if by_class else "at random"
    if validation is None and time is None and n_networks > 1:
        fold = _folds(data, N_FOLDS, seed, stratify)
        if fold is not None and _can_fold(data, fold):
            how = f"drawn {at_random}" if groups is None else f"made of whole groups of {groups!r}"
            return Parts(data, None, how, fold)
    rows = split(
        data.n_rows,
        fraction=0.2 if validation is None else float(validation),
        seed=seed,
        stratify=stratify,
        groups=data.groups,
        time=None if time is None else data.time,
    )
    if time is not None:
        _refuse_ties(data.n_rows, len(rows[1]), 0.2 if validation is None else float(validation))
    of_groups = at_random if groups is None else f"by groups of {groups!r}"
    read_as = f" ({data.time_in_words})" if data.time_in_words else ""
    how = of_groups if time is None else f"the latest by {time!r}{read_as}"
    return Parts(data.take(rows[0]), data.take(rows[1]), how)


def _refuse_ties(n_rows: int, n_latest: int, share: float) -> None:
    """DataError where so many rows have one time that the latest are far more, or fewer, than wanted."""
    too_many = 2 * n_latest > n_rows and n_latest > 2 * share * n_rows
    if n_rows >= FEWEST_IN_TIME and (too_many or 4 * n_latest < share * n_rows):
        raise DataError(
            f"A split by time keeps equal times together; so many are equal that {n_latest:,} of {n_rows:,} "
            f"rows would be the latest, where {share:.0%} were wanted. Give times that differ more, or the "
            "share of rows to validate on (validation=), or split at random."
        )


def _folds(
    data: Data, n_folds: int, seed: int, stratify: NDArray[np.generic] | None = None
) -> NDArray[np.int64] | None:
    """Of whole groups, where there are groups: None where these are fewer than folds."""
    if data.groups is None:
        return folds(data.n_rows, n_folds, seed=seed, stratify=stratify)
    n_groups = len(set(data.groups.tolist()))
    return group_folds(data.groups, n_folds, seed=seed) if n_groups >= n_folds else None


def _can_fold(data: Data, fold: NDArray[np.int64]) -> bool:
    """Whether each fold has enough rows, and rows that weigh something."""
    weight = np.ones(data.n_rows) if data.weight is None else data.weight
    return data.n_rows >= ROWS_A_FOLD * N_FOLDS and bool((np.bincount(fold, weight, N_FOLDS) > 0).all())


def target_folds(parts: Parts, seed: int) -> NDArray[np.int64]:
    """The networks' folds, or else of whole groups where there are at least two, or of rows."""
    if parts.folds is not None:
        return parts.folds
    groups = parts.train.groups
    n_folds = TARGET_FOLDS if groups is None else min(TARGET_FOLDS, len(set(groups.tolist())))
    fold = _folds(parts.train, n_folds, seed) if n_folds > 1 else None
    return folds(parts.train.n_rows, TARGET_FOLDS, seed=seed) if fold is None else fold


def _given_validation(data: Data, validation: Any) -> Data:
    """A table's weight column counts, if it is there; a pair has no weights."""
    names = data.targets
    weight = None
    if data.beside and isinstance(validation, tuple):
        tell_other_order(validation[0], {"the y of validation": validation[1]})
        table = _read_validation(data, validation[0])
        targets = list(target_columns(validation[1], table.n_rows).values())
        if len(targets) != len(names):
            raise DataError(
                f"validation must have {len(names)} targets, as the table has; got {len(targets)}."
            )
    else:
        table = _read_validation(data, validation)
        require(table, list(names))
        targets = [table[name] for name in names]
        if data.weight_column is not None and data.weight_column in table.names:
            weight = check_weights(table[data.weight_column], table.n_rows)
    require(table, list(data.features.names))
    y = targets[0] if len(targets) == 1 else side_by_side(dict(zip(names, targets, strict=True)))
    held = replace(data, features=table.select(data.features.names), y=y, weight=weight)
    odd = {name: table.odd[name] for name in names if name in table.odd}
    held = replace(held, groups=None, time=None, odd=odd)
    if not data.is_rate:
        return held
    held = held.with_numbers_read("regression")
    if data.exposure is None:
        raise ConfigError("validation rows of their own need exposure= to be a column of both tables.")
    require(table, [data.exposure])
    return held.per_unit_of(table[data.exposure])


def _read_validation(data: Data, source: Any) -> Table:
    """A table to validate on, in the notation of the training rows."""
    declared = data.declared
    unread = {*data.dropped, *declared.left_out} - {data.weight_column}
    columns = data.features.columns.items()
    texts = {name for name, each in columns if isinstance(each, np.ndarray) and each.dtype == object}
    texts |= {name for name, y in data.by_target.items() if y.dtype == object}
    reading = replace(data.notation, texts=declared.as_written | texts)
    table = read_source(source, reading, unread=unread, others=declared.not_numbers)
    return as_at_fit(table, [*data.features.names, *data.dropped, *data.targets])
