"""`fit`: from a raw table to a `Model`. Every door (command line, estimators, Python) goes through here."""

import datetime
import importlib.metadata
import logging
import platform
import time as clock
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.baselines import BASELINES
from multilayer.errors import ConfigError, DataError, MultilayerError, nearest
from multilayer.model import Model, check_exposure, check_weights, network_inputs, per_unit
from multilayer.nn.blocks import make_activation
from multilayer.nn.networks import NetworkConfig
from multilayer.table.column import NUMERIC, Infinite
from multilayer.table.encode import Batch, Encoder, most_varied
from multilayer.table.names import column_name
from multilayer.table.nested import as_at_fit
from multilayer.table.notation import Notation
from multilayer.table.read import Table, listed, read_source, read_table
from multilayer.table.repeats import by_content
from multilayer.table.schema import CONVERSIONS, Kinds, Schema, declared_schema, infer_schema
from multilayer.table.split import check_complete, folds, group_folds, split
from multilayer.training.autograd import forward_in_chunks
from multilayer.training.classification import Classification
from multilayer.training.ensemble import Snapshot, Snapshots, mean_weights, select_greedily
from multilayer.training.history import History
from multilayer.training.loop import Callback, train_pack
from multilayer.training.optim import LeanAdamW
from multilayer.training.predictor import Predictor
from multilayer.training.several import side_by_side
from multilayer.training.targets import guess_kind, make_task
from multilayer.training.task import Kind as TaskKind
from multilayer.training.task import Task

logger = logging.getLogger("multilayer")

Whole = int | np.integer[Any]
Real = float | Whole

Quality = Literal["fast", "default", "best"]
# quality -> networks, and epochs of each, as multiples of the default's
QUALITIES: Mapping[str, tuple[float, float]] = {"fast": (0.25, 1), "default": (1, 1), "best": (3, 1.5)}

MOST_PERIODIC = 128  # numbers with a periodic embedding: those with the most distinct values
FEWEST_VALUES = 8  # a number with fewer distinct values has no curve to follow
MOST_NAMED = 12  # columns in a sentence
WIDE = 200  # columns of a table from which on BatchNorm does harm
N_FOLDS = 8  # each network validates on one of them
ROWS_A_FOLD = 8  # with fewer, one share of the rows validates all networks
FEWEST_OF_A_CLASS = 100  # with fewer validation rows of one, each network's epochs are chosen by themselves
MOST_WRITTEN_OUT = 2**24  # values of a sparse table
MERGED_LOSS = 1.005  # a mean of weights may predict this much worse than the mean of predictions
ESSENCE_MB = 512  # what snapshots may remember of validation rows, all networks together
DIRECTIONS: Mapping[str, int] = {"increasing": 1, "1": 1, "+1": 1, "decreasing": -1, "-1": -1}
ORDERED = ("scaled", "rank", "boolean")  # channels that rise with their column
TARGET_FOLDS = 5  # of the training rows, for target statistics, where the networks have no folds


@dataclass(frozen=True)
class Config:
    """How to train on a table. `for_shape` chooses from the table's shape alone.

    members:      networks, trained side by side from different seeds
    hidden:       widths of the hidden layers
    activation, norm, dropout: as in `mlp`
    epochs:       most passes over the training rows; the cosine schedule ends there
    batch_size:   rows a step
    lr:           peak learning rate of AdamW
    weight_decay: of AdamW, on weight matrices
    patience:     epochs without a better validation loss before training stops
    snapshots:    epochs of each network that may enter the ensemble: those with the lowest validation loss
    entries:      snapshots that make up the ensemble, at most, repetitions counted
    target_statistics: whether columns are also encoded by the target's mean (`TargetStatistics`)
    network:      "default", or a network of the literature with its own training, by name (`BASELINES`)
    """

    members: int = 8
    hidden: tuple[int, ...] = (128, 128)
    activation: str = "relu"
    norm: str | None = None
    dropout: float = 0.0
    epochs: int = 20
    batch_size: int = 256
    lr: float = 1e-2
    weight_decay: float = 0.1
    patience: int = 8
    snapshots: int = 6
    entries: int = 16
    target_statistics: bool = False
    network: str = "default"

    @classmethod
    def for_shape(
        cls, n_rows: int, n_columns: int = 1, kind: TaskKind = "regression", quality: Quality = "default"
    ) -> "Config":
        """The default for a table of this shape: some 1,500 steps, in batches that grow with the table.

        Small tables take more networks, as chance is larger there; classes take BatchNorm, and a second layer
        as wide as the first. "fast" trains a quarter as many, "best" three times as many for half as long
        again.

        >>> config = Config.for_shape(20_000)
        >>> config.batch_size, config.epochs, config.members
        (256, 19, 8)
        """
        sizes = [(2_000, 32), (5_000, 64), (10_000, 128), (60_000, 256), (200_000, 512)]
        batch_size = next((size for limit, size in sizes if n_rows < limit), 1024)
        epochs = int(np.clip(round(1_500 * batch_size / n_rows), 6, 20))
        has_classes = kind != "regression"
        members = 8 if n_rows < 100_000 else 4
        more_members, more_epochs = QUALITIES[quality]
        return cls(
            members=round(members * more_members),
            hidden=(128, 128) if has_classes else (128, 64),
            epochs=round(epochs * more_epochs),
            entries=round(cls.entries * max(1, more_members)),
            batch_size=batch_size,
            norm="batch" if has_classes and n_columns <= WIDE and n_rows >= WIDE else None,
            target_statistics=kind == "binary",
        )


def fit(
    table: Any,
    *,
    target: Hashable | Sequence[Hashable] = None,
    y: Any = None,
    task: TaskKind | str | None = None,
    objective: str | None = None,
    quantiles: Sequence[float] | float | None = None,
    drop: Iterable[Hashable] = (),
    kinds: Kinds | None = None,
    schema: Schema | str | Path | None = None,
    infinite: str = "error",
    query: str | None = None,
    missing: Any = (),
    thousands: str | None = None,
    decimal: str = ".",
    validation: Any = None,
    groups: Hashable = None,
    time: Hashable = None,
    sample_weight: Any = None,
    class_weight: str | Mapping[Any, Real] | None = None,
    exposure: Any = None,
    threshold: str | Real | None = None,
    monotone: Mapping[str, str | Whole] | None = None,
    quality: str = "default",
    network: str = "default",
    members: Whole | None = None,
    hidden: Whole | Sequence[Whole] | None = None,
    epochs: Whole | None = None,
    batch_size: Whole | None = None,
    lr: Real | None = None,
    patience: Whole | None = None,
    activation: str | None = None,
    weight_decay: Real | None = None,
    time_budget: Real | None = None,
    seed: Whole = 0,
    device: str | None = None,
    n_threads: Whole | None = None,
    callbacks: Sequence[Callback] = (),
) -> Model:
    """Learn to predict a column of a table from the others. No setting is needed beyond the target.

    Kinds of columns are inferred, the encoder is learnt on the training rows only (with folds these are all
    rows; what it tells a row of the target comes from other folds), networks with embeddings are trained
    side by side, and the epochs of theirs that predict validation rows best together make up the model.
    `model.summary["decisions"]` says in words what was decided.
    Ctrl-C ends training and gives the model of the best epoch so far (`model.summary["interrupted"]`).

    Args:
        table: a file or several (CSV, Parquet, JSON, Arrow, a database), a pandas, polars or Arrow frame, a
            mapping of columns, a list of dicts, a NumPy or sparse matrix: anything that `read_table` takes.
        target: name of the column to predict, or a list of names (also of one name that is a tuple); or pass
            the values as `y`.
        y: values to predict (n_rows,), or (n_rows, n_targets), where the table does not hold them.
        task: "binary", "multiclass", "regression", or, with several targets of two values each, "multilabel";
            None decides from the target.
        objective: what a regression aims at: "squared_error" (the mean), "absolute_error" (the median),
            "huber" (the mean without outliers), "quantile", "poisson" (the mean of counts), "gamma" (of
            positive amounts), "tweedie" (of amounts that are often 0), "log" (of positive numbers with a long
            tail, through their logarithm); None is "quantile" where there are quantiles, else
            "squared_error".
        quantiles: of the target, ascending, such as (0.1, 0.5, 0.9), for `Model.predict_quantiles`.
        drop: columns to leave out; they may hold anything.
        kinds: column name -> "number", "boolean", "category", "ordered", "date", "time", "duration" or
            "text", where the inferred kind is wrong; or the levels of an ordered category, lowest first.
        schema: what `ml.infer_schema` gave and you edited, or a JSON file of it: kinds, orders, time zones,
            columns to leave out. Ranges and levels are measured again; `kinds` goes before it.
        infinite: "error" refuses infinite numbers in the table; "clip" takes them for the largest and
            smallest finite number of their column, at prediction too.
        query: SQL that gives the rows, where the table is a database, a connection or a file to query; see
            `read_table`.
        missing: marks of missing values, such as ("?", -999), in all columns; or a mapping of columns to
            marks.
        thousands, decimal: separators of numbers in text: "," and "." of 1,234.5. These and `missing` are
            kept in the model, which reads tables to predict in the same way.
        validation: share of the rows to validate on, or a table with the target, or (with `y`) a pair
            (table, y). None: each network validates on its own share and trains on all others, so that no row
            is lost to validation; with `groups` or `time`, with one network or too few rows, one fifth.
        groups: column whose values must not be on both sides of a split; it is no feature. With at least
            eight groups each network validates on its own share of whole ones.
        time: column to split by: the latest rows validate. Folds would let a network train on rows later
            than those it is judged by, and its score would promise what no forecast can keep.
        sample_weight: weight of each row (n_rows,), or the name of a column, which is then no feature. A
            weight of 2 is the row twice, exactly; of 0, no row; only ratios count. A `validation` table may
            hold the column, too.
        class_weight: "balanced", so that all classes weigh alike, or label -> weight; multiplies the weights
            of rows in the loss and in the choice among epochs, not in the scores. Probabilities lean with it.
        exposure: for the objectives "poisson", "gamma" and "tweedie": how much of it each row's target is
            of, such as years insured: name of a column, or values (n_rows,). What is learnt and scored is the
            target per unit, weighted by the exposure; predictions are for the exposure of their rows, or,
            where it was no column, for one unit.
        threshold: of two classes or several labels: the probability from which on a row is predicted as the
            second class, or the metric by which validation rows choose it: "f1", "balanced_accuracy",
            "accuracy" or "mcc". None predicts the more probable one.
        monotone: column name -> "increasing" (or 1) or "decreasing" (or -1): the prediction, or for two
            classes the probability of the second, never falls (never rises) as that column grows and all
            others stay, wherever that is; up to the rounding of float32, and missing values excepted. For
            numbers, booleans and dates.
        quality: "fast" takes about a quarter of the time of "default", "best" some four times as much.
        network: "default", or a network of the literature as its paper trains it: "mlp", "resnet", "realmlp"
            or "tabm" (`BASELINES`). These validate on one fifth of the rows.
        hidden: width of the hidden layers.
        members, epochs, batch_size, lr, patience, activation, weight_decay: see `Config`.
        time_budget: seconds for the whole fit.
        seed: of split, initial weights, shuffling and dropout: the same seed gives the same model.
        device: where to train, such as "cpu" or "cuda"; None is the CPU.
        n_threads: networks to train at a time; None is as many as there are cores.
        callbacks: called with a `Progress` after each epoch; one that returns True ends training.

    Raises:
        DataError: the table cannot be read, or has no usable column, one row, one class, missing or infinite
            targets.
        ConfigError: an unknown setting, column or task.

    >>> table = {"size": list(range(40)), "price": [2.0 * size for size in range(40)]}
    >>> model = fit(table, target="price", epochs=2)
    >>> sorted(model.score)
    ['mae', 'r2', 'rmse']
    """
    started = clock.perf_counter()
    seed = _checked_seed(seed)
    _check_positive("time_budget", time_budget)
    notation = Notation.declare(missing, thousands, decimal)
    groups, time = (None if name is None else column_name(name) for name in (groups, time))
    declared = _Declared.of(kinds, schema, infinite)
    given = _Data.read(
        table, target, y, drop, groups, time, sample_weight, exposure, notation, query, declared
    )
    data = given.by_content()
    aims = {"objective": objective, "quantiles": quantiles, "threshold": _plain(threshold)}
    task_, schema = _task_and_schema(
        given, data, lambda of: make_task(of.y, task, **aims, weight=of.weight), declared.schema_of
    )
    guessed = task is None and objective is None and quantiles is None
    _check_settings(task_, class_weight, exposure is not None)
    directions = _directions(monotone or {}, data, schema, task_)
    repeats = _repeats_sentence(given, data)
    del given  # a table from a file need not be in memory twice
    base = _base_config(network, quality, data.n_rows, len(schema.columns), task_, directions)
    config = _config(base, members, hidden, epochs, batch_size, lr, patience)
    config = _with_network(config, activation, weight_decay)
    n_folding = config.members if config.network == "default" else 1
    parts = _split(data, task_, validation, groups, time, seed, n_folding)
    task_ = task_.in_units_of(parts.train.y, parts.train.weight)
    code = task_.encode(parts.train.y)
    encoder, batch = _encode(schema, parts, task_, code, config, seed)
    net_config = _network_config(encoder, batch, task_, config, directions)
    factors = _class_factors(task_, class_weight, code, parts.train.weight)
    x, weight = network_inputs(batch), _loss_weight(factors, code, parts.train.weight)
    to_score: Rows = (x, code, parts.train.weight)
    if parts.valid is not None:
        x_valid = network_inputs(encoder.transform(parts.valid.features))
        to_score = _by_content(x_valid, task_.encode(parts.valid.y), parts.valid.weight)
    held = (*to_score[:2], _loss_weight(factors, *to_score[1:]))
    nets, histories, snapshots = (_train if config.network == "default" else _train_baseline)(
        net_config,
        config,
        task_,
        (x, code, weight),
        held,
        parts.folds,
        time_budget=_seconds_left(time_budget, started),
        seed=seed,
        device=device,
        n_threads=n_threads,
        callbacks=callbacks,
    )
    chosen = _choose(nets, snapshots, net_config, config, task_, held, parts.folds)
    task_, prediction = task_.settle(
        to_score[1][chosen.rows], chosen.prediction, _weight_of(to_score, chosen.rows)
    )
    chosen = replace(chosen, prediction=prediction)
    model = Model(
        data.target,
        task_,
        encoder,
        net_config,
        chosen.networks,
        histories,
        dropped=data.dropped,
        weights=chosen.weights,
        notation=notation,
        exposure=data.exposure,
    )
    model.summary = _summary(
        model,
        data,
        repeats,
        parts,
        config,
        chosen,
        code,
        to_score,
        factors,
        guessed,
        validation,
        groups,
        time,
    )
    if directions:
        model.summary["decisions"].append(_monotone_sentence(directions))
    model.summary |= {"seed": seed, "times": _times(started)}
    return model


def _task_and_schema(
    given: "_Data",
    data: "_Data",
    make: Callable[["_Data"], Task],
    infer: Callable[["_Data"], Schema],
) -> tuple[Task, Schema]:
    """What target and columns are; errors name the rows as they were given."""
    try:
        return make(data), infer(data)
    except MultilayerError:
        make(given)
        infer(given)
        raise


def _by_content(x: NDArray[np.float32], code: NDArray[np.generic], weight: NDArray[Any] | None) -> "Rows":
    """Encoded rows by their content, as the training rows are."""
    merged = by_content([*x.T], [*(code.T if code.ndim == 2 else [code])], weight)
    return x[merged.rows], code[merged.rows], _as_float32(merged.weight)


def _as_float32(weight: NDArray[np.float64] | None) -> NDArray[np.float32] | None:
    return None if weight is None else weight.astype(np.float32)


@dataclass(frozen=True)
class _Declared:
    """What the user said of columns: kinds by name, an edited schema, what becomes of infinite numbers."""

    kinds: Kinds = field(default_factory=dict)
    schema: Schema | None = None
    infinite: Infinite = "error"

    @classmethod
    def of(cls, kinds: Kinds | None, schema: Schema | str | Path | None, infinite: str) -> "_Declared":
        known: tuple[Infinite, ...] = get_args(Infinite)
        if infinite not in known:
            raise ConfigError(
                f"infinite must be 'error' or 'clip'; got {infinite!r}.{nearest(infinite, known)}"
            )
        kinds = {column_name(name): kind for name, kind in (kinds or {}).items()}
        if schema is not None:
            schema = schema if isinstance(schema, Schema) else Schema.load(schema)
            for name, kind in kinds.items():
                schema = schema.replace(name, kind=kind)
        return cls(kinds, schema, infinite)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Columns that the schema ignores."""
        return () if self.schema is None else tuple(self.schema.ignored)

    @property
    def not_numbers(self) -> set[str]:
        """Columns of which it is known that they are not numbers."""
        columns = () if self.schema is None else self.schema.columns
        kinds = {**self.kinds, **{column.name: column.kind for column in columns}}
        return {name for name, kind in kinds.items() if not isinstance(kind, str) or kind not in NUMERIC}

    def schema_of(self, data: "_Data") -> Schema:
        """The schema of the features: inferred, or as given."""
        if self.schema is None:
            return infer_schema(data.features, kinds=self.kinds, infinite=self.infinite)
        infinite = self.infinite if self.infinite != "error" else None
        beside = (*data.targets, *data.dropped)
        return declared_schema(data.features, self.schema, infinite=infinite, allowed=beside)


@dataclass(frozen=True)
class _Data:
    """Features, target and weights of the same rows.

    y:      (n_rows,); structured, with a field for each, where there are several targets
    target: name of the target, or of each
    beside: whether the targets came beside the table, as `y`
    is_rate: whether y and weight are per unit of exposure already
    exposure: the exposure's column, where it is one
    """

    features: Table
    y: NDArray[np.generic]
    weight: NDArray[np.floating[Any]] | None
    target: str | tuple[str, ...]
    beside: bool = False
    groups: NDArray[np.generic] | None = None
    time: NDArray[np.generic] | None = None
    is_rate: bool = False
    exposure: str | None = None
    dropped: tuple[str, ...] = ()
    notation: Notation = field(default_factory=Notation)
    weight_column: str | None = None
    declared: _Declared = field(default_factory=_Declared)
    remarks: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        return len(self.y)

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,) if isinstance(self.target, str) else self.target

    @classmethod
    def read(
        cls,
        source: Any,
        target: Hashable | Sequence[Hashable],
        y: Any,
        drop: Iterable[Hashable],
        groups: str | None,
        time: str | None,
        sample_weight: Any,
        exposure: Any,
        notation: Notation,
        query: str | None,
        declared: _Declared,
    ) -> "_Data":
        if (target is None) == (y is None):
            raise ConfigError("fit needs either the name of the target column (target=) or its values (y=).")
        dropped = [column_name(name) for name in ([drop] if isinstance(drop, str) else drop)]
        weight_column = column_name(sample_weight) if isinstance(sample_weight, str) else None
        exposure_column = column_name(exposure) if isinstance(exposure, str) else None
        roles = (groups, weight_column, exposure_column)
        names = _target_names(target)
        unread = {*dropped, *declared.left_out} - {*names, *roles, time}
        table = read_source(source, notation, query=query, unread=unread, others=declared.not_numbers)
        not_features = [*dropped, *(name for name in roles if name is not None)]
        _require(table, [*not_features, *([time] if time is not None else []), *names])
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
        for role, column in (("groups", groups), ("time", time)):
            if column is not None:
                check_complete(role, table[column])
        data = cls(
            features=table.drop(dict.fromkeys([*not_features, *names])),
            y=next(iter(targets.values())) if len(targets) == 1 else side_by_side(targets),
            weight=None if weight is None else check_weights(weight, table.n_rows),
            target=next(iter(targets)) if len(targets) == 1 else tuple(targets),
            beside=y is not None,
            groups=None if groups is None else table[groups],
            time=None if time is None else table[time],
            exposure=exposure_column,
            dropped=tuple(dict.fromkeys(name for name in not_features if name != exposure_column)),
            notation=notation,
            weight_column=weight_column,
            declared=declared,
            remarks=table.remarks,
        )
        return (
            data if exposure is None else data.per_unit_of(table[exposure] if exposure_column else exposure)
        )

    def per_unit_of(self, exposure: Any) -> "_Data":
        """Targets per unit of exposure, weighted by it as well."""
        of_rows = check_exposure(exposure, self.n_rows)
        weight = of_rows if self.weight is None else self.weight * of_rows
        return replace(self, y=per_unit(self.y, of_rows), weight=weight, is_rate=True)

    def take(self, rows: NDArray[np.int64]) -> "_Data":
        return replace(
            self,
            features=self.features.take(rows),
            y=self.y[rows],
            weight=None if self.weight is None else self.weight[rows],
            groups=None if self.groups is None else self.groups[rows],
            time=None if self.time is None else self.time[rows],
        )

    def by_content(self) -> "_Data":
        """The distinct rows, with the weights of their repetitions, in an order of their own.

        Rows of large sparse tables stay as they are: to compare them, they would have to be written out.
        """
        if self.features.is_sparse and self.n_rows * len(self.features.names) > MOST_WRITTEN_OUT:
            return self
        features = [self.features[name] for name in self.features.names]
        y: NDArray[Any] = self.y
        targets = [y] if y.dtype.names is None else [y[name] for name in y.dtype.names]
        more = [values for values in (self.groups, self.time) if values is not None]
        merged = by_content(features, [*targets, *more], self.weight)
        return replace(self.take(merged.rows), weight=_as_float32(merged.weight))


def _require(table: Table, names: list[str]) -> None:
    for name in names:
        if name not in table.names:
            shown = ", ".join(table.names[:12]) + (", ..." if len(table.names) > 12 else "")
            raise DataError(
                f"the table has no column {name!r}; its columns: {shown}.{nearest(name, table.names)}"
            )


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
        y = np.asarray(y)
    if isinstance(y, Table | Mapping) or len(getattr(y, "shape", ())) == 2:
        table = read_table(y)
        columns = {name: table[name] for name in table.names}
        if isinstance(y, np.ndarray) and y.dtype.names is None:
            columns = {f"target{i}": column for i, column in enumerate(columns.values())}
    else:
        columns = {"target": _in_own_type(y, read_table({"target": y})["target"])}
    n = len(next(iter(columns.values())))
    if n != n_rows:
        raise DataError(f"y must have as many rows as the table; got {n} and {n_rows}.")
    return columns if len(columns) > 1 or not isinstance(y, np.ndarray) else {"target": columns.popitem()[1]}


def _in_own_type(y: Any, column: NDArray[np.generic]) -> NDArray[np.generic]:
    """The column that a table makes of y; a NumPy array of numbers as it came, for labels to go back so."""
    is_number = isinstance(y, np.ndarray) and (y.dtype.kind in "iu" or y.dtype in (np.float32, np.float64))
    return y if is_number else column


@dataclass(frozen=True)
class _Parts:
    """Training and validation rows; or all rows and the fold of each, with a fold for each network."""

    train: _Data
    valid: _Data | None
    folds: NDArray[np.int64] | None = None


def _split(
    data: _Data,
    task: Task,
    validation: Any,
    groups: str | None,
    time: str | None,
    seed: int,
    n_networks: int,
) -> _Parts:
    if validation is not None and not isinstance(validation, int | float | np.number):
        return _Parts(data, _given_validation(data, validation))
    if groups is not None and time is not None:
        raise ConfigError("split by groups or by time, not by both.")
    by_class = bool(task.classes) and groups is None and time is None
    stratify = task.encode(data.y) if by_class else None
    if validation is None and time is None and n_networks > 1:
        fold = _folds(data, N_FOLDS, seed, stratify)
        if fold is not None and _can_fold(data, fold):
            return _Parts(data, None, fold)
    rows = split(
        data.n_rows,
        fraction=0.2 if validation is None else float(validation),
        seed=seed,
        stratify=stratify,
        groups=data.groups,
        time=None if time is None or data.time is None else _moments(time, data.time),
    )
    return _Parts(data.take(rows[0]), data.take(rows[1]))


def _folds(
    data: _Data, n_folds: int, seed: int, stratify: NDArray[np.generic] | None = None
) -> NDArray[np.int64] | None:
    """Of whole groups, where there are groups: None where these are fewer than folds."""
    if data.groups is None:
        return folds(data.n_rows, n_folds, seed=seed, stratify=stratify)
    n_groups = len(set(data.groups.tolist()))
    return group_folds(data.groups, n_folds, seed=seed) if n_groups >= n_folds else None


def _weight_of(rows: "Rows", numbers: NDArray[np.int64]) -> NDArray[np.float32] | None:
    return None if rows[2] is None else rows[2][numbers]


def _check_settings(task: Task, class_weight: Any, has_exposure: bool) -> None:
    if class_weight is not None and not isinstance(task, Classification):
        raise ConfigError(
            f"class_weight is for one target of classes; the task is {task.kind}. Leave it out."
        )
    if has_exposure and not task.takes_exposure:
        raise ConfigError(
            "exposure is for the objectives 'poisson', 'gamma' and 'tweedie'. Choose one of them, or leave "
            "the exposure out."
        )


def _class_factors(
    task: Task, class_weight: Any, code: NDArray[np.generic], weight: NDArray[np.float32] | None
) -> NDArray[np.float64] | None:
    if class_weight is None or not isinstance(task, Classification):
        return None
    return task.class_factors(class_weight, code, weight)


def _loss_weight(
    factors: NDArray[np.float64] | None, code: NDArray[np.generic], weight: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    """What rows weigh in the loss and in the choice of epochs; scores know nothing of class weights."""
    if factors is None:
        return weight
    return (factors[code] * (1.0 if weight is None else weight)).astype(np.float32)


def _can_fold(data: _Data, fold: NDArray[np.int64]) -> bool:
    """Whether each fold has enough rows, and rows that weigh something."""
    weight = np.ones(data.n_rows) if data.weight is None else data.weight
    return data.n_rows >= ROWS_A_FOLD * N_FOLDS and bool((np.bincount(fold, weight, N_FOLDS) > 0).all())


def _encode(
    schema: Schema, parts: _Parts, task: Task, code: NDArray[np.generic], config: Config, seed: int
) -> tuple[Encoder, Batch]:
    """The encoder, learnt on the training rows, and what it makes of them."""
    encoder = Encoder.fit(parts.train.features, schema, parts.train.weight)
    batch = encoder.transform(parts.train.features)
    if not config.target_statistics or parts.train.n_rows < TARGET_FOLDS:
        return encoder, batch
    return encoder.learn_target(
        batch, code.astype(np.float64), parts.train.weight, _target_folds(parts, seed)
    )


def _target_folds(parts: _Parts, seed: int) -> NDArray[np.int64]:
    """The networks' folds, or else of whole groups where there are at least two, or of rows."""
    if parts.folds is not None:
        return parts.folds
    groups = parts.train.groups
    n_folds = TARGET_FOLDS if groups is None else min(TARGET_FOLDS, len(set(groups.tolist())))
    fold = _folds(parts.train, n_folds, seed) if n_folds > 1 else None
    return folds(parts.train.n_rows, TARGET_FOLDS, seed=seed) if fold is None else fold


def _moments(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """What sorts by time: text that reads as dates or numbers is read, as in 12/31/2023 before 1/1/2024."""
    if values.dtype != object or len(set(values.tolist())) < 2:
        return values
    column = infer_schema(Table({name: values})).columns[0]
    return CONVERSIONS[column.kind](column, values)


def _given_validation(data: _Data, validation: Any) -> _Data:
    """A table's weight column counts, if it is there; a pair has no weights."""
    names = data.targets
    weight = None
    if data.beside and isinstance(validation, tuple):
        table = _read_validation(data, validation[0])
        targets = list(_columns_of(validation[1], table.n_rows).values())
        if len(targets) != len(names):
            raise DataError(f"validation must have {len(names)} targets, as the table; got {len(targets)}.")
    else:
        table = _read_validation(data, validation)
        _require(table, list(names))
        targets = [table[name] for name in names]
        if data.weight_column is not None and data.weight_column in table.names:
            weight = check_weights(table[data.weight_column], table.n_rows)
    _require(table, list(data.features.names))
    y = targets[0] if len(targets) == 1 else side_by_side(dict(zip(names, targets, strict=True)))
    held = replace(data, features=table.select(data.features.names), y=y, weight=weight)
    held = replace(held, groups=None, time=None)
    if not data.is_rate:
        return held
    if data.exposure is None:
        raise ConfigError("validation rows of their own need exposure= to be a column of both tables.")
    _require(table, [data.exposure])
    return held.per_unit_of(table[data.exposure])


def _read_validation(data: _Data, source: Any) -> Table:
    """A table to validate on, in the notation of the training rows."""
    declared = data.declared
    unread = (*data.dropped, *declared.left_out)
    table = read_source(source, data.notation, unread=unread, others=declared.not_numbers)
    return as_at_fit(table, [*data.features.names, *data.dropped, *data.targets])


def _base_config(
    network: str, quality: str, n_rows: int, n_columns: int, task: Task, directions: Mapping[str, int]
) -> Config:
    """The default for a table of this shape, or what a network of the literature asks for."""
    checked = _checked_quality(quality)
    if network == "default":
        return Config.for_shape(n_rows, n_columns, task.kind, checked)
    if network not in BASELINES:
        known = ", ".join(map(repr, ("default", *BASELINES)))
        near = nearest(str(network), ("default", *BASELINES))
        raise ConfigError(f"network must be one of {known}; got {network!r}.{near}")
    if checked != "default":
        raise ConfigError(
            f"quality={quality!r} is for the default network; {network!r} is trained as its paper says. "
            "Leave it out, or set epochs and members."
        )
    if directions or (task.kind == "regression" and task.loss != "mse") or task.kind == "multilabel":
        raise ConfigError(
            f"network={network!r} predicts classes or means, without constraints; the default does the rest. "
            "Leave network out, or monotone, objective, quantiles and several labels."
        )
    return Config(network=network, **BASELINES[network].settings(n_rows, task))


def _config(
    base: Config,
    members: Whole | None,
    hidden: Whole | Sequence[Whole] | None,
    epochs: Whole | None,
    batch_size: Whole | None,
    lr: Real | None,
    patience: Whole | None,
) -> Config:
    given: dict[str, Any] = {"members": members, "epochs": epochs, "batch_size": batch_size, "lr": lr}
    given["patience"] = patience
    if hidden is not None:
        widths = (hidden, hidden) if isinstance(hidden, int | np.integer) else hidden
        given["hidden"] = tuple(_plain(width) for width in widths)
    chosen = {name: _plain(value) for name, value in given.items() if value is not None}
    for name in ("members", "epochs", "batch_size", "lr", "patience"):
        _check_positive(name, chosen.get(name))
    return replace(base, **chosen)


def _with_network(config: Config, activation: str | None, weight_decay: Real | None) -> Config:
    if weight_decay is not None:
        if not weight_decay >= 0:
            raise ConfigError(f"weight_decay must not be negative; got {weight_decay!r}.")
        config = replace(config, weight_decay=float(weight_decay))
    if activation is not None:
        make_activation(activation)  # refuses an unknown name before anything is trained
        config = replace(config, activation=activation)
    return config


def _checked_quality(quality: str) -> Quality:
    if quality not in QUALITIES:
        raise ConfigError(
            f"quality must be 'fast', 'default' or 'best'; got {quality!r}.{nearest(str(quality), QUALITIES)}"
        )
    return quality  # type: ignore[return-value]


def _checked_seed(seed: Whole) -> int:
    if seed < 0:
        raise ConfigError(f"seed must be a whole number of at least 0; got {seed!r}.")
    return int(seed)


def _seconds_left(budget: Real | None, started: float) -> float | None:
    return None if budget is None else max(float(budget) - (clock.perf_counter() - started), 0.01)


def _plain(value: Any) -> Any:
    """A NumPy number as a Python one, which a model file can hold."""
    return value.item() if isinstance(value, np.generic) else value


def _check_positive(name: str, value: Real | None) -> None:
    if value is not None and not value > 0:
        raise ConfigError(f"{name} must be positive; got {value!r}.")


def _directions(
    monotone: Mapping[str, str | Whole], data: _Data, schema: Schema, task: Task
) -> dict[str, int]:
    """Column name -> 1 or -1, of the columns that the model uses."""
    _require(data.features, list(monotone))
    if monotone and task.kind == "multiclass":
        raise ConfigError(
            f"monotone needs a number or two classes to predict; the target has {len(task.classes)} classes, "
            "which have no order. Leave monotone out, or predict one class against the others."
        )
    for name, direction in monotone.items():
        if str(direction) not in DIRECTIONS:
            raise ConfigError(
                f"monotone takes 'increasing' (1) or 'decreasing' (-1); got {direction!r} for {name!r}."
                f"{nearest(str(direction), ('increasing', 'decreasing'))}"
            )
        if name in schema.names and (kind := schema[name].kind) in ("category", "ordered", "text"):
            raise ConfigError(
                f"monotone needs values with an order: numbers, booleans, dates; {name!r} is of kind {kind}. "
                "Leave it out, or give its levels as numbers."
            )
    return {name: DIRECTIONS[str(way)] for name, way in monotone.items() if name in schema.names}


def _network_config(
    encoder: Encoder, batch: Batch, task: Task, config: Config, directions: Mapping[str, int]
) -> NetworkConfig:
    if config.network != "default":
        return NetworkConfig(
            n_num=len(encoder.num_features),
            cardinalities=tuple(encoder.cardinalities),
            hidden=tuple(config.hidden),
            d_out=task.n_outputs,
            activation=config.activation,
            norm=config.norm,
            dropout=config.dropout,
            architecture=config.network,
            **BASELINES[config.network].columns(encoder.num_features, task),
        )
    curved = [
        (i, feature.column)
        for i, feature in enumerate(encoder.num_features)
        if feature.channel in ("scaled", "rank") and feature.column not in directions
    ]
    curved = most_varied(batch.num, curved, MOST_PERIODIC, fewest_values=FEWEST_VALUES)
    return NetworkConfig(
        n_num=len(encoder.num_features),
        cardinalities=tuple(encoder.cardinalities),
        periodic=tuple(place for place, _ in curved),
        hidden=tuple(config.hidden),
        d_out=task.n_outputs,
        activation=config.activation,
        norm=config.norm,
        dropout=config.dropout,
        **_monotone_inputs(encoder, directions),
    )


def _monotone_inputs(encoder: Encoder, directions: Mapping[str, int]) -> dict[str, Any]:
    """Which encoded numbers the output rises and falls with, and which would undo that and stay unused."""
    of_constrained = [
        (place, feature.channel in ORDERED, directions[feature.column])
        for place, feature in enumerate(encoder.num_features)
        if feature.column in directions and feature.channel != "missing"
    ]
    return {
        "rising": tuple(place for place, ordered, way in of_constrained if ordered and way > 0),
        "falling": tuple(place for place, ordered, way in of_constrained if ordered and way < 0),
        "unused": tuple(place for place, ordered, _ in of_constrained if not ordered),
    }


Rows = tuple[NDArray[np.float32], NDArray[np.generic], NDArray[np.float32] | None]


def _train(
    network: NetworkConfig,
    config: Config,
    task: Task,
    rows: Rows,
    held: Rows,
    fold: NDArray[np.int64] | None,
    *,
    time_budget: float | None,
    seed: int,
    device: str | None,
    n_threads: Whole | None,
    callbacks: Sequence[Callback],
) -> tuple[list[nn.Sequential], list[History], list[list[Snapshot]]]:
    """Networks, how they trained, and the snapshots of each; network i holds out fold i % N_FOLDS."""
    seeds = [seed, *map(int, np.random.SeedSequence(seed).generate_state(config.members - 1))]
    nets = [_build(network, member_seed) for member_seed in seeds]
    x, code, weight = rows
    held_code = [
        held[1] if fold is None else held[1][fold == number % N_FOLDS] for number in range(config.members)
    ]
    snapshots = Snapshots(
        _most_snapshots(config, task, sum(map(len, held_code))),
        keep=lambda member, output: task.essence(output, held_code[member]),
    )
    validating: dict[str, Any] = {"validation": (held[0], task.as_network_target(held[1]), held[2])}
    if fold is not None:
        numbers = [number % N_FOLDS for number in range(config.members)]
        validating = {
            "rows": [np.flatnonzero(fold != number) for number in numbers],
            "validation_rows": [np.flatnonzero(fold == number) for number in numbers],
        }
    histories = train_pack(
        nets,
        x,
        task.as_network_target(code),
        loss=task.loss,
        optimizer=lambda parameters: _adamw(parameters, config),
        epochs=config.epochs,
        batch_size=config.batch_size,
        **validating,
        schedule="warmup_cosine",
        clip_norm=1.0,
        sample_weight=weight,
        patience=config.patience,
        time_budget=time_budget,
        seeds=seeds,
        device=device,
        n_threads=None if n_threads is None else int(n_threads),
        callbacks=[snapshots, *callbacks],
    )
    return [net.cpu() for net in nets], histories, snapshots.of or [[] for _ in nets]


def _most_snapshots(config: Config, task: Task, n_rows: int) -> int:
    """As many as set, unless what they remember of so many validation rows would not fit into memory."""
    one_of_each = max(1, n_rows * task.essence_width * 8)
    return int(np.clip(ESSENCE_MB * 1_000_000 // one_of_each, 1, config.snapshots))


def _train_baseline(
    network: NetworkConfig,
    config: Config,
    task: Task,
    rows: Rows,
    held: Rows,
    fold: NDArray[np.int64] | None,
    *,
    time_budget: float | None,
    seed: int,
    device: str | None,
    n_threads: Whole | None,
    callbacks: Sequence[Callback],
) -> tuple[list[nn.Module], list[History], list[list[Snapshot]]]:
    """As `_train`, the way the network's paper has it, without folds: all validate on the same rows."""
    baseline = BASELINES[config.network]
    x, code, weight = rows
    seeds = [seed, *map(int, np.random.SeedSequence(seed).generate_state(config.members - 1))]
    nets = [_build(network, one, lambda net: baseline.start(net, torch.from_numpy(x))) for one in seeds]
    optimizers = [baseline.optimizer(net, config.lr, config.weight_decay) for net in nets]
    y_held = task.as_network_target(held[1])
    keeper = baseline.keeper(task, y_held, held[2])
    histories = train_pack(
        nets,
        x,
        baseline.target(task.as_network_target(code), task),
        loss=baseline.loss(task),
        optimizer=optimizers,
        epochs=config.epochs,
        batch_size=config.batch_size,
        validation=(held[0], y_held, held[2]),
        schedule=baseline.schedule,
        clip_norm=baseline.clip_norm,
        sample_weight=weight,
        patience=config.patience,
        time_budget=time_budget,
        seeds=seeds,
        device=device,
        threads=baseline.threads,
        n_threads=None if n_threads is None else int(n_threads),
        callbacks=[keeper, *baseline.callbacks(nets, optimizers), *callbacks],
    )
    return [net.cpu() for net in nets], histories, keeper.of or [[] for _ in nets]


@dataclass(frozen=True)
class _Chosen:
    """The snapshots that make up the model, their weights, and what they say of validation rows.

    networks: as they were then, after these epochs
    rows: numbers of those rows; in a fold, the networks that did not train on it say it
    """

    networks: list[nn.Module]
    epochs: list[int]
    weights: tuple[float, ...]
    rows: NDArray[np.int64]
    prediction: NDArray[np.float64]


def _choose(
    nets: Sequence[nn.Module],
    snapshots: list[list[Snapshot]],
    network: NetworkConfig,
    config: Config,
    task: Task,
    held: Rows,
    fold: NDArray[np.int64] | None,
) -> _Chosen:
    """Greedy choice among snapshots that were validated on the same rows; each network weighs alike."""
    if fold is not None:
        numbers = _fold_rows(fold, config.members)
    else:
        # A choice among all networks by a few rows of a class would be a matter of chance.
        by_itself = config.network != "default" or _has_few_of_a_class(task, held[1])
        numbers = [np.arange(len(held[1]))] * (config.members if by_itself else 1)
    most = max(1, config.entries // len(numbers))
    networks: list[nn.Module] = []
    epochs: list[int] = []
    weights: list[float] = []
    # Without folds all groups were validated on the same rows, and are of one size: their mean.
    all_rows, shared = (np.concatenate(numbers), 1) if fold is not None else (numbers[0], len(numbers))
    prediction, start = np.zeros(0), 0
    for i, rows in enumerate(numbers):
        candidates = [snapshot for of_one in snapshots[i :: len(numbers)] for snapshot in of_one]
        members = nets[i :: len(numbers)]
        candidates = candidates or [_as_it_is(net, task, held[0][rows], held[1][rows]) for net in members]
        counts = _select(candidates, task, held[1][rows], None if held[2] is None else held[2][rows], most)
        share = counts[counts > 0] / counts.sum()
        kept = [candidate for candidate, count in zip(candidates, counts, strict=True) if count]
        of_rows = (held[0][rows], held[1][rows], None if held[2] is None else held[2][rows])
        merged, merged_share = _one_a_member(kept, share, network, task, of_rows)
        said = Predictor(merged, task.link, merged_share.tolist())(held[0][rows])
        if not i:
            prediction = np.zeros((len(all_rows), *said.shape[1:]))
        prediction[start : start + len(rows)] += said / shared
        start += len(rows) if fold is not None else 0
        networks += merged
        epochs += [snapshot.epoch for snapshot in kept]
        weights += (merged_share * len(members)).tolist()
    return _Chosen(networks, epochs, tuple(weights), all_rows, prediction)


def _one_a_member(
    kept: list[Snapshot], share: NDArray[np.float64], network: NetworkConfig, task: Task, rows: Rows
) -> tuple[list[nn.Module], NDArray[np.float64]]:
    """One network for all snapshots of a member, the mean of their weights, and the share of each.

    Its epochs lie close together as the learning rate falls, so the mean predicts as the snapshots' mean
    does, in a fraction of the time. Where it does not, the snapshots stay apart.

    Source:  Wortsman et al. 2022, "Model soups", arXiv:2203.05482
    """
    separate: list[nn.Module] = [_restored(network, snapshot.weights) for snapshot in kept]
    members = np.array([snapshot.member for snapshot in kept])
    of_member = [np.flatnonzero(members == member) for member in dict.fromkeys(members.tolist())]
    if len(of_member) == len(kept):
        return separate, share
    merged: list[nn.Module] = [
        _restored(network, mean_weights([kept[i].weights for i in places], share[places]))
        for places in of_member
    ]
    merged_share = np.array([share[places].sum() for places in of_member])
    loss, merged_loss = (
        _loss_of_mean(nets, shares, task, rows)
        for nets, shares in ((separate, share), (merged, merged_share))
    )
    return (merged, merged_share) if merged_loss <= MERGED_LOSS * loss else (separate, share)


def _loss_of_mean(nets: list[nn.Module], share: NDArray[np.float64], task: Task, rows: Rows) -> float:
    """Of the mean prediction of the networks, over rows."""
    x, code, weight = rows
    outputs = [forward_in_chunks(net, torch.from_numpy(x)).numpy() for net in nets]
    essences = np.stack([task.essence(output, code) for output in outputs])
    mean = np.einsum("n,n...->...", share, essences)
    return float(np.average(task.row_losses(mean[None], code)[0], weights=weight))


def _has_few_of_a_class(task: Task, code: NDArray[np.generic]) -> bool:
    if not task.classes:
        return False
    return int(np.bincount(code.astype(np.int64), minlength=len(task.classes)).min()) < FEWEST_OF_A_CLASS


def _fold_rows(fold: NDArray[np.int64], n_networks: int) -> list[NDArray[np.int64]]:
    """The rows of each fold that networks validate on: network i on fold i, and again from the first."""
    return [np.flatnonzero(fold == number) for number in range(min(n_networks, N_FOLDS))]


def _select(
    candidates: list[Snapshot],
    task: Task,
    code: NDArray[np.generic],
    weight: NDArray[np.float32] | None,
    most: int,
) -> NDArray[np.int64]:
    """How often each enters, by the loss of the mean prediction."""
    essences = np.stack([candidate.essence for candidate in candidates])
    return select_greedily(essences, lambda means: task.row_losses(means, code), weight, most)


def _as_it_is(net: nn.Module, task: Task, x: NDArray[np.float32], code: NDArray[np.generic]) -> Snapshot:
    """A network that was stopped before its first epoch ended."""
    output = forward_in_chunks(net.eval(), torch.from_numpy(x)).numpy()
    return Snapshot(0, 0, np.inf, task.essence(output, code), net.state_dict())


def _restored(network: NetworkConfig, weights: dict[str, torch.Tensor]) -> nn.Module:
    net = _build(network, 0)
    net.load_state_dict(weights)
    return net.eval()


def _build(network: NetworkConfig, seed: int, start: Callable[[Any], None] | None = None) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = network.build()
        if start is not None:
            start(net)
        return net


def _adamw(parameters: Iterable[nn.Parameter], config: Config) -> torch.optim.Optimizer:
    """AdamW with beta2 0.95 (RealMLP, arXiv:2407.04491); weight decay on matrices alone."""
    every = list(parameters)
    groups = [
        {"params": [p for p in every if p.ndim == 2], "weight_decay": config.weight_decay},
        {"params": [p for p in every if p.ndim != 2], "weight_decay": 0.0},
    ]
    return LeanAdamW([g for g in groups if g["params"]], lr=config.lr, betas=(0.9, 0.95), fused=True)


def _summary(
    model: Model,
    data: _Data,
    repeats: str,
    parts: _Parts,
    config: Config,
    chosen: _Chosen,
    code: NDArray[np.generic],
    held: Rows,
    factors: NDArray[np.float64] | None,
    guessed: bool,
    validation: Any,
    groups: str | None,
    time: str | None,
) -> dict[str, Any]:
    task = model.task
    valid_code = held[1][chosen.rows]
    valid_weight = _weight_of(held, chosen.rows)
    scores = task.score(valid_code, chosen.prediction, valid_weight)
    constant = task.constant(code, parts.train.weight)
    baseline = task.score(valid_code, np.broadcast_to(constant, chosen.prediction.shape), valid_weight)
    reading = [f"read: {'; '.join(data.remarks)}"] if data.remarks else []
    decisions = [
        *reading,
        _task_sentence(data, task, guessed),
        *_aim_sentences(data, task, factors),
        _split_sentence(parts, config, task, validation, groups, time) + repeats,
        _columns_sentence(model, data),
        _network_sentence(model, config, chosen),
        *_kind_sentences(model.schema),
    ]
    return {
        "rows": {"train": parts.train.n_rows, "validation": len(valid_code)},
        "score": scores,
        "baseline": baseline,
        "constant": constant.tolist(),
        "class_shares": constant.tolist() if task.classes else None,
        "decisions": decisions,
        "config": asdict(config) | {"hidden": list(config.hidden)},  # as it comes back from JSON
        "interrupted": any(history.stopped == "interrupted" for history in model.histories),
        "versions": {name: _version(name) for name in ("multilayer", "torch", "numpy")}
        | {"python": platform.python_version()},
    }


def _network_sentence(model: Model, config: Config, chosen: _Chosen) -> str:
    epochs = ", ".join(map(str, chosen.epochs))
    trained = max(history.epochs for history in model.histories)
    name = "" if config.network == "default" else f" {config.network}"
    norm = f", {config.norm} norm" if config.norm else ""
    drop = f", dropout {config.dropout}" if config.dropout else ""
    return (
        f"networks: {config.members}{name} of {' x '.join(map(str, config.hidden))}, "
        f"{config.activation}{norm}{drop}; AdamW, lr {config.lr}, batches of {config.batch_size}, "
        f"{trained} of at most {config.epochs} epochs; "
        f"predicts with {len(chosen.networks)} networks, of epochs {epochs}; engine {model.history.engine}"
    )


def _monotone_sentence(directions: Mapping[str, int]) -> str:
    rising = [name for name, way in directions.items() if way > 0]
    falling = [name for name, way in directions.items() if way < 0]
    ways = [f"never falls with {listed(rising)}"] if rising else []
    ways += [f"never rises with {listed(falling)}"] if falling else []
    return f"monotone: the prediction {' and '.join(ways)}"


def _task_sentence(data: _Data, task: Task, guessed: bool) -> str:
    words = f" {task.extent_in_words()}" if task.extent_in_words() else ""
    targets = repr(data.target) if isinstance(data.target, str) else listed(data.target)
    reason = f" ({guess_kind(data.y)[1]}; pass task= to choose another)" if guessed else " (as asked)"
    return f"task: {task.kind}{words} of {targets}{reason}"


def _aim_sentences(data: _Data, task: Task, factors: NDArray[np.float64] | None) -> list[str]:
    """Objective, exposure, threshold and class weights, where there are any."""
    sentences = [task.aim_in_words()] if task.aim_in_words() else []
    if data.is_rate:
        of = "exposure" if data.exposure is None else repr(data.exposure)
        sentences.append(f"exposure: learnt and scored per unit of {of}, each row weighted by it")
    if factors is not None:
        each = [f"{label!r} {factor:.4g}" for label, factor in zip(task.classes, factors, strict=True)]
        more = f" and {len(each) - 10} more" if len(each) > 10 else ""
        sentences.append(
            f"class weights: {', '.join(each[:10])}{more}; in the loss and the choice of epochs, so that "
            "probabilities lean with them, not in scores"
        )
    return sentences


def _split_sentence(
    parts: _Parts, config: Config, task: Task, validation: Any, groups: str | None, time: str | None
) -> str:
    how = "at random within each class" if task.classes else "at random"
    if parts.valid is None:
        how = f"drawn {how}" if groups is None else f"made of whole groups of {groups!r}"
        return (
            f"rows: {parts.train.n_rows:,}; each of {config.members} networks validates on its own share of "
            f"1/{N_FOLDS}, {how}, and trains on the others"
        )
    if groups is not None:
        how = f"by groups of {groups!r}"
    if time is not None:
        how = f"the latest by {time!r}"
    if validation is not None and not isinstance(validation, int | float | np.number):
        how = "as given"
    return f"rows: {parts.train.n_rows:,} to train on, {parts.valid.n_rows:,} to validate on, {how}"


def _repeats_sentence(given: _Data, data: _Data) -> str:
    """What became of rows that are there several times, or weigh nothing."""
    if given.n_rows == data.n_rows:
        return ""
    n_empty = 0 if given.weight is None else int((given.weight == 0).sum())
    how = "weight" if data.weight is not None else "number"
    left_out = f", {n_empty:,} of weight 0 left out" if n_empty else ""
    return f"; {given.n_rows:,} were given{left_out}; equal ones count by their {how}"


def _columns_sentence(model: Model, data: _Data) -> str:
    schema = model.schema
    kinds = [column.kind for column in schema.columns]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    left_out = [f"{name} ({why})" for name, why in list(schema.ignored.items())[:MOST_NAMED]]
    if len(schema.ignored) > MOST_NAMED:
        left_out.append(f"{len(schema.ignored) - MOST_NAMED} more (constant or missing)")
    left_out += [f"{name} (asked)" for name in data.dropped]
    if unused := model.encoder.unused:
        left_out.append(f"{listed(unused)} (the same in nearly all rows)")
    by_target = sum(feature.channel == "target" for feature in model.encoder.num_features)
    statistics = f"; target statistics of {by_target}" if by_target else ""
    return f"columns: {counts}{statistics}" + (f"; left out: {', '.join(left_out)}" if left_out else "")


def _kind_sentences(schema: Schema) -> list[str]:
    """What was decided of single columns, where it is not plain."""
    told = [(column, column.reason) for column in schema.columns if column.reason]
    kinds = [f"{column.name!r} is {column.kind} ({reason})" for column, reason in told[:MOST_NAMED]]
    if len(told) > MOST_NAMED:
        kinds.append(f"{len(told) - MOST_NAMED} more: print(model.schema)")
    clipped = [column.name for column in schema.columns if column.infinite == "clip"]
    zones = [f"{column.name!r} ({column.zone})" for column in schema.columns if column.zone is not None]
    sentences = {
        "kinds": ", ".join(kinds),
        "infinities": f"clipped to the range of {listed(clipped)}" if clipped else "",
        "time zones, by whose clocks parts of dates are told": ", ".join(zones[:MOST_NAMED]),
    }
    return [f"{what}: {said}" for what, said in sentences.items() if said]


def _times(started: float) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"fitted": now, "fit_s": round(clock.perf_counter() - started, 3)}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
