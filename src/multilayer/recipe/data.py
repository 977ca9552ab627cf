"""What is learnt from: features, target and weights of the same rows, in training and validation rows."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, counted, warn
from multilayer.recipe.declared import Declared
from multilayer.recipe.wanted import Wanted
from multilayer.table.cells import is_missing
from multilayer.table.infer import is_written_index
from multilayer.table.levels import has_lost_digits
from multilayer.table.list_columns import as_at_fit
from multilayer.table.merge_rows import ByContent, by_content
from multilayer.table.moments import moments
from multilayer.table.odd_cells import as_learnt, as_numbers_of_target, without_odd_cells, without_signs
from multilayer.table.row_weights import check_exposure, check_weights
from multilayer.table.schema import Schema
from multilayer.table.sources.dtype_hints import Odd
from multilayer.table.sources.frames import tell_other_order
from multilayer.table.sources.names import column_name, listed, require_columns
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.read import Table, read_source, read_table
from multilayer.table.split import check_complete, folds, group_folds, split
from multilayer.table.writing import Writing
from multilayer.tasks.make import guess_kind
from multilayer.tasks.multi_target import per_unit, side_by_side
from multilayer.tasks.task import Task

N_FOLDS = 8  # each network validates on one of them
ROWS_A_FOLD = 8  # with fewer, one share of the rows validates all networks
TARGET_FOLDS = 5  # of the training rows, for target statistics, where the networks have no folds
FEWEST_IN_TIME = 20  # rows that are worth a split as asked
FEWEST_OF_OWN = 50  # rows of which one can say that each has a label of its own
OWN_CLASSES = 0.8  # labels a row, at most
MOST_WRITTEN_OUT = 2**24  # values of a sparse table


@dataclass(frozen=True)
class Data:
    """Features, target and weights of the same rows.

    y:      (n_rows,); structured, with a field for each, where there are several targets
    target: name of the target, or of each
    beside: whether the targets came beside the table, as `y`
    time_in_words: how text was read as time
    is_rate: whether y and weight are per unit of exposure already
    exposure: the exposure's column, where it is one
    remarks: what was done in reading for the user, in words
    repeats: what became of equal rows, in words
    share_repeated: share of the rows given that are there again
    is_sure: whether the rows say all that there is to learn (`ByContent`)
    odd: name of a target -> cells of it that are missing, as they hold a mark of that or are no numbers
    units: name of a target of text -> the unit of its numbers, where they have one
    """

    features: Table
    y: NDArray[np.generic]
    weight: NDArray[np.floating[Any]] | None
    target: str | tuple[str, ...]
    beside: bool = False
    groups: NDArray[np.generic] | None = None
    time: NDArray[np.generic] | None = None
    time_in_words: str = ""
    is_rate: bool = False
    exposure: str | None = None
    dropped: tuple[str, ...] = ()
    notation: Notation = field(default_factory=Notation)
    weight_column: str | None = None
    declared: Declared = field(default_factory=Declared)
    remarks: tuple[str, ...] = ()
    repeats: str = ""
    share_repeated: float = 0.0
    is_sure: bool = False
    odd: Mapping[str, Odd] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows."""
        return len(self.y)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, also of a single one."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @classmethod
    def read(cls, source: Any, wanted: Wanted) -> "Data":
        """What a table holds of what `fit` was asked for.

        Raises:
            DataError: no such columns, too few rows or columns.
            ConfigError: no target, or a column with two roles.
        """
        target, y, groups, time = wanted.target, wanted.y, wanted.groups, wanted.time
        sample_weight, exposure, dropped = wanted.sample_weight, wanted.exposure, wanted.drop
        notation, declared = wanted.notation, wanted.declared
        if (target is None) == (y is None):
            raise ConfigError("fit needs either the name of the target column (target=) or its values (y=).")
        weight_column = column_name(sample_weight) if isinstance(sample_weight, str) else None
        exposure_column = column_name(exposure) if isinstance(exposure, str) else None
        roles = (groups, weight_column, exposure_column)
        names = _target_names(target)
        declared.check_targets(names)
        unread = {*dropped, *declared.left_out} - {*names, *roles, time}
        tell_other_order(source, {"y": y, "sample_weight": sample_weight, "exposure": exposure})
        reading = replace(notation, texts=declared.as_written)
        table = read_source(source, reading, query=wanted.query, unread=unread, others=declared.not_numbers)
        not_features = [*dropped, *(name for name in roles if name is not None)]
        require(table, [*not_features, *([time] if time is not None else []), *names])
        for name in names:
            if name in not_features:
                raise ConfigError(
                    f"the target {name!r} cannot be dropped, or be groups, weights or exposure."
                )
        targets = {name: table[name] for name in names} if y is None else _columns_of(y, table.n_rows)
        if table.n_rows < 2:
            raise DataError(f"fit needs at least 2 rows; got n_samples = {table.n_rows}. Add rows.")
        if not set(table.names) - {*not_features, *names}:
            raise DataError("fit needs at least one column beside the target; got none. Add or keep columns.")
        weight = table[weight_column] if weight_column else sample_weight
        if groups is not None:
            check_complete("groups", table[groups])
        moment, time_in_words = None, ""
        if time is not None:
            moment, time_in_words = moments(
                time, table[time], table.notes.get(time), declared.columns.get(time)
            )
        features = table.drop(dict.fromkeys([*not_features, *names]))
        data = cls(
            features=without_odd_cells(features, declared.columns),
            y=next(iter(targets.values())) if len(targets) == 1 else side_by_side(targets),
            weight=None if weight is None else check_weights(weight, table.n_rows),
            target=next(iter(targets)) if len(targets) == 1 else tuple(targets),
            beside=y is not None,
            groups=None if groups is None else table[groups],
            time=moment,
            time_in_words=time_in_words,
            exposure=exposure_column,
            dropped=tuple(dict.fromkeys(name for name in not_features if name != exposure_column)),
            notation=notation,
            weight_column=weight_column,
            declared=declared,
            remarks=table.remarks,
            odd={name: table.odd[name] for name in names if name in table.odd},
        )
        if exposure is None:
            return data
        of_rows = table[exposure] if exposure_column else exposure
        return data._with_numbers_read("regression").per_unit_of(of_rows)

    def per_unit_of(self, exposure: Any) -> "Data":
        """Targets per unit of exposure, weighted by it as well."""
        of_rows = check_exposure(exposure, self.n_rows)
        weight = of_rows if self.weight is None else self.weight * of_rows
        return replace(self, y=per_unit(self.y, of_rows), weight=weight, is_rate=True)

    def with_numbers(self, task: str | None, *, drop_missing: bool) -> "Data":
        """Targets of text that is numbers as numbers, if the task is, or would be, a regression.

        task:         as it was asked for; None guesses
        drop_missing: leave rows without a target out

        Raises:
            DataError: a few cells of such a target are no numbers; it names them.
        """
        data = self._with_numbers_read(task)
        if data.odd and not drop_missing:
            name, cells = next(iter(data.odd.items()))
            raise DataError(
                f"Every row needs a target; of {name!r}, {cells.in_words}. Mend the cells, or leave these "
                f"rows "
                "out: drop_missing_target=True (--drop-missing-target)."
            )
        for name, y in data.by_target.items():
            refuse_a_class_a_row(name, y)
        odd = tuple(f"of the target {name!r}, {cells.in_words}" for name, cells in data.odd.items())
        data = replace(data, remarks=(*data.remarks, *odd))
        return data.without_missing_targets() if drop_missing else data

    def _with_numbers_read(self, task: str | None) -> "Data":
        """Targets of text that is numbers as numbers, NaN where it is odd."""
        read = {name: read_target(y, task, beside=self.beside) for name, y in self.by_target.items()}
        columns = {name: one.values for name, one in read.items()}
        odd = {name: one.odd + self.odd.get(name) for name, one in read.items() if one.odd is not None}
        remarks = tuple(f"the target {name!r} holds {one.said}" for name, one in read.items() if one.said)
        return replace(
            self,
            y=side_by_side(columns) if self.y.dtype.names else next(iter(columns.values())),
            odd={**self.odd, **odd},
            units={**self.units, **{name: one.unit for name, one in read.items() if one.unit}},
            remarks=(*self.remarks, *remarks),
        )

    @property
    def by_target(self) -> dict[str, NDArray[Any]]:
        """The values of each target."""
        y: NDArray[Any] = self.y
        return {name: y[name] if y.dtype.names else y for name in self.targets}

    def without_missing_targets(self) -> "Data":
        """Only rows that have every target."""
        missing = np.any([is_missing(y) for y in self.by_target.values()], axis=0)
        if not missing.any():
            return self
        n = int(missing.sum())
        remark = f"{counted(n, 'row')} without a target left out"
        return replace(self.take(np.flatnonzero(~missing)), remarks=(*self.remarks, remark))

    def as_learnt(self, schema: Schema) -> "Data":
        """The rows with cells missing that are not of their column's kind; a warning names them."""
        features, said = as_learnt(self.features, schema.columns)
        if said:
            warn(f"In the rows to validate on, {'; '.join(said)}.")
        return replace(self, features=features)

    def take(self, rows: NDArray[np.int64]) -> "Data":
        """Only these rows, in this order."""
        return replace(
            self,
            features=self.features.take(rows),
            y=self.y[rows],
            weight=None if self.weight is None else self.weight[rows],
            groups=None if self.groups is None else self.groups[rows],
            time=None if self.time is None else self.time[rows],
        )

    def by_content(self) -> "Data":
        """The distinct rows, with the weights of their repetitions, in an order of their own.

        Rows of large sparse tables stay as they are: to compare them, they would have to be written out.
        """
        if self.features.is_sparse and self.n_rows * len(self.features.names) > MOST_WRITTEN_OUT:
            return self
        names = [name for name in self.features.names if name not in self.declared.asked_out]
        names = [name for name in names if not is_written_index(name, self.features[name])] or names
        features = [self.features[name] for name in names]
        y: NDArray[Any] = self.y
        targets = [y] if y.dtype.names is None else [y[name] for name in y.dtype.names]
        more = [values for values in (self.groups, self.time) if values is not None]
        levels = [i for i, name in enumerate(names) if name in self.declared.levels]
        merged = by_content(features, [*targets, *more], self.weight, levels=levels)
        distinct = replace(self.take(merged.rows), weight=_as_float32(merged.weight))
        n_given = self.n_rows if self.weight is None else int((self.weight > 0).sum())
        return replace(
            distinct,
            repeats=_repeats_in_words(self, distinct, merged),
            is_sure=merged.is_sure,
            share_repeated=1.0 if merged.will_repeat else 1 - merged.n_distinct / n_given,
        )


@dataclass(frozen=True)
class _TargetRead:
    """A target's values, cells of it that are no number, its unit, and what is to be said of it."""

    values: NDArray[Any]
    odd: Odd | None = None
    unit: str = ""
    said: str = ""


def read_target(y: NDArray[Any], task: str | None, *, beside: bool) -> _TargetRead:
    """Text as numbers, if it is, and these are a regression's."""
    found = as_numbers_of_target(y) if task in (None, "regression") else None
    if found is not None:
        numbers, odd, column = found
        present = numbers[~np.isnan(numbers)]
        if task == "regression" or (len(present) and guess_kind(present)[0] == "regression"):
            writing = Writing(column.unit, column.thousands, column.decimal).in_words
            return _TargetRead(numbers, odd, column.unit, f"numbers {writing}" if writing else "")
    if task not in (None, "regression") and has_lost_digits(y):
        said = "numbers beyond 2^53 that came as floats: their last digits were lost"
        return _TargetRead(y, said=said)
    return _TargetRead(y if beside else without_signs(y))


def refuse_a_class_a_row(name: str, y: NDArray[Any]) -> None:
    """DataError for a target of text of which nearly every row is a class of its own."""
    labels = Counter(y.tolist()) if y.dtype == object else Counter()
    labels.pop(None, None)
    n_rows = labels.total()
    if n_rows < FEWEST_OF_OWN or len(labels) <= OWN_CLASSES * n_rows:
        return
    once = next(label for label, count in labels.items() if count == 1)
    raise DataError(
        f"A class is learnt from several rows; of the {n_rows:,} rows of the target {name!r} nearly each "
        f"has a label "
        f"of its own ({len(labels):,} labels, such as {once!r}). Choose another target, pool the labels, "
        f"or, if these "
        "are numbers or dates, make numbers of them."
    )


def _repeats_in_words(given: Data, data: Data, merged: ByContent) -> str:
    """What became of rows that are there several times, or weigh nothing."""
    if given.n_rows == data.n_rows and not merged.will_repeat:
        return ""
    n_empty = 0 if given.weight is None else int((given.weight == 0).sum())
    how = "weight" if data.weight is not None else "number"
    left_out = f", {n_empty:,} of weight 0 left out" if n_empty else ""
    said = f"; {given.n_rows:,} were given{left_out}; equal ones count by their {how}"
    if not merged.will_repeat:
        return said
    return (
        f"{said}; {merged.n_distinct:,} are different, and so often there that new rows will repeat them: "
        "the score is that of repetitions"
    )


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
            f"rows "
            f"would be the latest, where {share:.0%} were wanted. Give times that differ more, or the share "
            f"of rows "
            "to validate on (validation=), or split at random."
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
        targets = list(_columns_of(validation[1], table.n_rows).values())
        if len(targets) != len(names):
            raise DataError(f"validation must have {len(names)} targets, as the table; got {len(targets)}.")
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
    held = held._with_numbers_read("regression")
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


def require(table: Table, names: list[str]) -> None:
    """Refuse a table without one of these columns."""
    of_header = (remark for remark in table.remarks if "header=" in remark)
    require_columns(names, table.names, *(f"{remark[0].upper()}{remark[1:]}." for remark in of_header))


def _target_names(target: Hashable | Sequence[Hashable]) -> tuple[str, ...]:
    """Names of the targets in the table; none where they come as y."""
    given = () if target is None else target if isinstance(target, list | tuple) else (target,)
    names = tuple(map(column_name, given))
    if target is not None and (not names or len(set(names)) < len(names)):
        raise ConfigError(f"target must be a column, or several different ones; got {list(names)}.")
    return names


def _columns_of(y: Any, n_rows: int) -> dict[str, NDArray[np.generic]]:
    """The targets that come beside the table: a column, or one for each column of a matrix or frame."""
    if isinstance(y, list | tuple) and y and isinstance(y[0], list | tuple | np.ndarray):
        try:
            y = np.asarray(y)
        except ValueError:
            raise DataError(
                "y must have as many values in each row; its rows are of several lengths. Repair them."
            ) from None
    if len(getattr(y, "shape", ())) > 2:
        raise DataError(f"y must have one axis, or two for several targets; got shape {tuple(y.shape)}.")
    if isinstance(y, Table | Mapping) or len(getattr(y, "shape", ())) == 2:
        table = read_table(y)
        columns = {name: table[name] for name in table.names}
        if isinstance(y, np.ndarray) and y.dtype.names is None:
            columns = {f"target{i}": column for i, column in enumerate(columns.values())}
    else:
        read = read_table({"target": y})
        if read.names != ("target",):
            raise DataError(
                f"y must hold one value in each row; it holds {len(read.names)}, as {listed(read.names)}. "
                "Pass one of them, or for several targets a matrix or a frame."
            )
        columns = {"target": _in_own_type(y, read["target"])}
    n = len(next(iter(columns.values())))
    if n != n_rows:
        raise DataError(f"y must have as many rows as the table; got {n} and {n_rows}.")
    return columns if len(columns) > 1 or not isinstance(y, np.ndarray) else {"target": columns.popitem()[1]}


def _in_own_type(y: Any, column: NDArray[np.generic]) -> NDArray[np.generic]:
    """The column that a table makes of y; numbers in an array, and text, as they came: labels go back so."""
    is_number = isinstance(y, np.ndarray) and (y.dtype.kind in "iu" or y.dtype in (np.float32, np.float64))
    is_number = is_number and column.dtype != object and not np.ma.is_masked(y)
    if is_number or column.dtype != object:
        return y if is_number else column
    given = [y_ if isinstance(y_, str) and y_.strip() else read for y_, read in zip(y, column, strict=True)]
    as_given: NDArray[Any] = np.empty(len(given), dtype=object)
    as_given[:] = given
    return as_given


def _as_float32(weight: NDArray[np.float64] | None) -> NDArray[np.float32] | None:
    return None if weight is None else weight.astype(np.float32)
