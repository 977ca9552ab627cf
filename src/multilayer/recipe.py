"""`fit`: from a raw table to a `Model`. Every door (command line, estimators, Python) goes through here."""

import datetime
import importlib.metadata
import logging
import platform
import time as clock
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.errors import ConfigError, DataError, nearest
from multilayer.model import Model, check_exposure, check_weights, network_inputs, per_unit
from multilayer.nn.networks import NetworkConfig
from multilayer.table.encode import Batch, Encoder, most_varied
from multilayer.table.read import Table, listed, read_table
from multilayer.table.schema import CONVERSIONS, Kind, Schema, infer_schema
from multilayer.table.split import folds, split
from multilayer.training.autograd import forward_in_chunks
from multilayer.training.classification import Classification
from multilayer.training.ensemble import Snapshot, Snapshots, select_greedily
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
QUALITIES: Mapping[str, tuple[float, float]] = {"fast": (0.5, 0.5), "default": (1, 1), "best": (3, 1.5)}

MOST_PERIODIC = 128  # numbers with a periodic embedding: those with the most distinct values
FEWEST_VALUES = 8  # a number with fewer distinct values has no curve to follow
WIDE = 200  # columns of a table from which on BatchNorm does harm
N_FOLDS = 8  # each network validates on one of them
ROWS_A_FOLD = 8  # with fewer, one share of the rows validates all networks
FEWEST_OF_A_CLASS = 100  # with fewer validation rows of one, each network's epochs are chosen by themselves
ESSENCE_MB = 512  # what snapshots may remember of validation rows, all networks together
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

    @classmethod
    def for_shape(
        cls, n_rows: int, n_columns: int = 1, kind: TaskKind = "regression", quality: Quality = "default"
    ) -> "Config":
        """The default for a table of this shape: some 1,500 steps, in batches that grow with the table.

        Small tables take more networks, as chance is larger there; classes take BatchNorm. "fast" trains half
        as many for half as long, "best" three times as many for half as long again.

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
            epochs=round(epochs * more_epochs),
            entries=round(cls.entries * max(1, more_members)),
            batch_size=batch_size,
            norm="batch" if has_classes and n_columns <= WIDE and n_rows >= WIDE else None,
            target_statistics=kind == "binary",
        )


def fit(
    table: Any,
    *,
    target: str | Sequence[str] | None = None,
    y: Any = None,
    task: TaskKind | str | None = None,
    objective: str | None = None,
    quantiles: Sequence[float] | float | None = None,
    drop: Iterable[str] = (),
    kinds: Mapping[str, Kind] | None = None,
    validation: Any = None,
    groups: str | None = None,
    time: str | None = None,
    sample_weight: Any = None,
    class_weight: str | Mapping[Any, Real] | None = None,
    exposure: Any = None,
    threshold: str | Real | None = None,
    quality: str = "default",
    members: Whole | None = None,
    hidden: Whole | Sequence[Whole] | None = None,
    epochs: Whole | None = None,
    batch_size: Whole | None = None,
    lr: Real | None = None,
    patience: Whole | None = None,
    time_budget: Real | None = None,
    seed: Whole = 0,
    device: str | None = None,
    callbacks: Sequence[Callback] = (),
) -> Model:
    """Learn to predict a column of a table from the others. No setting is needed beyond the target.

    Kinds of columns are inferred, the encoder is learnt on the training rows only (with folds these are all
    rows; what it tells a row of the target comes from other folds), networks with embeddings are trained
    side by side, and the epochs of theirs that predict validation rows best together make up the model.
    `model.summary["decisions"]` says in words what was decided.
    Ctrl-C ends training and gives the model of the best epoch so far (`model.summary["interrupted"]`).

    Args:
        table: a file (CSV, Parquet), a pandas, polars or Arrow frame, a mapping of columns, a NumPy matrix.
        target: name of the column to predict, or several names; or pass the values as `y`.
        y: values to predict (n_rows,), or (n_rows, n_targets), where the table does not hold them.
        task: "binary", "multiclass", "regression", or, with several targets of two values each, "multilabel";
            None decides from the target.
        objective: what a regression aims at: "squared_error" (the mean), "absolute_error" (the median),
            "huber" (the mean without outliers), "quantile", "poisson" (the mean of counts), "gamma" (of
            positive amounts), "tweedie" (of amounts that are often 0), "log" (of positive numbers with a long
            tail, through their logarithm); None is "quantile" where there are quantiles, else
            "squared_error".
        quantiles: of the target, ascending, such as (0.1, 0.5, 0.9), for `Model.predict_quantiles`.
        drop: columns to leave out.
        kinds: column name -> "number", "boolean", "category" or "date", where the inferred kind is wrong.
        validation: share of the rows to validate on, or a table with the target, or (with `y`) a pair
            (table, y). None: each network validates on its own share and trains on all others, so that no row
            is lost to validation; with `groups` or `time`, with one network or too few rows, one fifth.
        groups: column whose values must not be on both sides of the split; it is no feature.
        time: column to split by: the latest rows validate.
        sample_weight: weight of each row (n_rows,), or the name of a column, which is then no feature.
        class_weight: "balanced", so that all classes weigh alike, or label -> weight; multiplies the weights
            of rows in the loss and in the choice among epochs, not in the scores. Probabilities lean with it.
        exposure: for the objectives "poisson", "gamma" and "tweedie": how much of it each row's target is
            of, such as years insured: name of a column, or values (n_rows,). What is learnt and scored is the
            target per unit, weighted by the exposure; predictions are for the exposure of their rows, or,
            where it was no column, for one unit.
        threshold: of two classes or several labels: the probability from which on a row is predicted as the
            second class, or the metric by which validation rows choose it: "f1", "balanced_accuracy",
            "accuracy" or "mcc". None predicts the more probable one.
        quality: "fast" takes about a third of the time of "default", "best" some four times as much.
        hidden: width of the hidden layers.
        members, epochs, batch_size, lr, patience: see `Config`.
        time_budget: seconds for the whole fit.
        seed: of split, initial weights, shuffling and dropout: the same seed gives the same model.
        device: where to train, such as "cpu" or "cuda"; None is the CPU.
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
    data = _Data.read(table, target, y, drop, groups, time, sample_weight, exposure)
    task_ = make_task(
        data.y,
        task,
        objective=objective,
        quantiles=quantiles,
        threshold=_plain(threshold),
        weight=data.weight,
    )
    guessed = task is None and objective is None and quantiles is None
    _check_settings(task_, class_weight, exposure is not None)
    schema = infer_schema(data.features, kinds=kinds)
    base = Config.for_shape(data.n_rows, len(schema.columns), task_.kind, _checked_quality(quality))
    config = _config(base, members, hidden, epochs, batch_size, lr, patience)
    parts = _split(data, task_, validation, groups, time, seed, config.members)
    task_ = task_.in_units_of(parts.train.y, parts.train.weight)
    code = task_.encode(parts.train.y)
    encoder, batch = _encode(schema, parts, task_, code, config, seed)
    network = _network_config(encoder, batch, task_, config)
    factors = _class_factors(task_, class_weight, code, parts.train.weight)
    x, weight = network_inputs(batch), _loss_weight(factors, code, parts.train.weight)
    held = (x, code, weight)
    if parts.valid is not None:
        x_valid = network_inputs(encoder.transform(parts.valid.features))
        code_valid = task_.encode(parts.valid.y)
        held = (x_valid, code_valid, _loss_weight(factors, code_valid, parts.valid.weight))
    nets, histories, snapshots = _train(
        network,
        config,
        task_,
        (x, code, weight),
        held,
        parts.folds,
        time_budget=_seconds_left(time_budget, started),
        seed=seed,
        device=device,
        callbacks=callbacks,
    )
    chosen = _choose(nets, snapshots, network, config, task_, held, parts.folds)
    task_, prediction = task_.settle(
        held[1][chosen.rows], chosen.prediction, _validating(parts).weight_of(chosen.rows)
    )
    chosen = replace(chosen, prediction=prediction)
    model = Model(
        data.target,
        task_,
        encoder,
        network,
        chosen.networks,
        histories,
        dropped=data.dropped,
        weights=chosen.weights,
        exposure=data.exposure,
    )
    model.summary = _summary(
        model, data, parts, config, chosen, code, held, factors, guessed, validation, groups, time
    )
    model.summary |= {"seed": seed, "times": _times(started)}
    return model


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
    weight: NDArray[np.float32] | None
    target: str | tuple[str, ...]
    beside: bool = False
    groups: NDArray[np.generic] | None = None
    time: NDArray[np.generic] | None = None
    is_rate: bool = False
    exposure: str | None = None
    dropped: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        return len(self.y)

    @classmethod
    def read(
        cls,
        source: Any,
        target: str | Sequence[str] | None,
        y: Any,
        drop: Iterable[str],
        groups: str | None,
        time: str | None,
        sample_weight: Any,
        exposure: Any,
    ) -> "_Data":
        if (target is None) == (y is None):
            raise ConfigError("fit needs either the name of the target column (target=) or its values (y=).")
        table = read_table(source)
        drop = [drop] if isinstance(drop, str) else list(drop)
        weight_column = sample_weight if isinstance(sample_weight, str) else None
        exposure_column = exposure if isinstance(exposure, str) else None
        roles = (groups, weight_column, exposure_column)
        not_features = [*drop, *(name for name in roles if name is not None)]
        names = _target_names(target)
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
        )
        return (
            data if exposure is None else data.per_unit_of(table[exposure] if exposure_column else exposure)
        )

    def per_unit_of(self, exposure: Any) -> "_Data":
        """Targets per unit of exposure, weighted by it as well."""
        of_rows = check_exposure(exposure, self.n_rows)
        weight = of_rows if self.weight is None else self.weight * of_rows
        return replace(self, y=per_unit(self.y, of_rows), weight=weight.astype(np.float32), is_rate=True)

    def weight_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Weights of these rows."""
        return None if self.weight is None else self.weight[rows]

    def take(self, rows: NDArray[np.int64]) -> "_Data":
        weight = None if self.weight is None else self.weight[rows]
        return replace(self, features=self.features.take(rows), y=self.y[rows], weight=weight)


def _require(table: Table, names: list[str]) -> None:
    for name in names:
        if name not in table.names:
            shown = ", ".join(table.names[:12]) + (", ..." if len(table.names) > 12 else "")
            raise DataError(
                f"the table has no column {name!r}; its columns: {shown}.{nearest(name, table.names)}"
            )


def _target_names(target: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of the targets in the table; none where they come as y."""
    names = (target,) if isinstance(target, str) else tuple(target or ())
    if target is not None and (not names or len(set(names)) < len(names)):
        raise ConfigError(f"target must be a column, or several different ones; got {list(names)}.")
    return names


def _columns_of(y: Any, n_rows: int) -> dict[str, NDArray[np.generic]]:
    """The targets that come beside the table: a column, or one for each column of a matrix or frame."""
    if isinstance(y, list | tuple) and y and isinstance(y[0], list | tuple | np.ndarray):
        y = np.asarray(y)
    if isinstance(y, Table | Mapping) or len(getattr(y, "shape", ())) == 2:
        columns = read_table(y).columns
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
    if validation is None and groups is None and time is None and n_networks > 1:
        fold = folds(data.n_rows, N_FOLDS, seed=seed, stratify=stratify)
        if _can_fold(data, fold):
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


def _validating(parts: _Parts) -> _Data:
    """The rows that validation rows are numbered in."""
    return parts.train if parts.valid is None else parts.valid


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
    encoder = Encoder.fit(parts.train.features, schema)
    batch = encoder.transform(parts.train.features)
    if not config.target_statistics or parts.train.n_rows < TARGET_FOLDS:
        return encoder, batch
    fold = folds(parts.train.n_rows, TARGET_FOLDS, seed=seed) if parts.folds is None else parts.folds
    return encoder.learn_target(batch, code.astype(np.float64), parts.train.weight, fold)


def _moments(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """What sorts by time: text that reads as dates or numbers is read, as in 12/31/2023 before 1/1/2024."""
    if values.dtype != object or len(set(values.tolist())) < 2:
        return values
    column = infer_schema(Table({name: values})).columns[0]
    return CONVERSIONS[column.kind](column, values)


def _given_validation(data: _Data, validation: Any) -> _Data:
    names = (data.target,) if isinstance(data.target, str) else data.target
    if data.beside and isinstance(validation, tuple):
        table = read_table(validation[0])
        targets = list(_columns_of(validation[1], table.n_rows).values())
        if len(targets) != len(names):
            raise DataError(f"validation must have {len(names)} targets, as the table; got {len(targets)}.")
    else:
        table = read_table(validation)
        _require(table, list(names))
        targets = [table[name] for name in names]
    _require(table, list(data.features.names))
    y = targets[0] if len(targets) == 1 else side_by_side(dict(zip(names, targets, strict=True)))
    held = replace(data, features=table.select(data.features.names), y=y, weight=None, groups=None, time=None)
    if not data.is_rate:
        return held
    if data.exposure is None:
        raise ConfigError("validation rows of their own need exposure= to be a column of both tables.")
    _require(table, [data.exposure])
    return held.per_unit_of(table[data.exposure])


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


def _network_config(encoder: Encoder, batch: Batch, task: Task, config: Config) -> NetworkConfig:
    curved = [
        (i, feature.column)
        for i, feature in enumerate(encoder.num_features)
        if feature.channel in ("scaled", "rank")
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
    )


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
        callbacks=[snapshots, *callbacks],
    )
    return [net.cpu() for net in nets], histories, snapshots.of or [[] for _ in nets]


def _most_snapshots(config: Config, task: Task, n_rows: int) -> int:
    """As many as set, unless what they remember of so many validation rows would not fit into memory."""
    one_of_each = max(1, n_rows * task.essence_width * 8)
    return int(np.clip(ESSENCE_MB * 1_000_000 // one_of_each, 1, config.snapshots))


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
    nets: list[nn.Sequential],
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
        numbers = [np.arange(len(held[1]))] * (config.members if _has_few_of_a_class(task, held[1]) else 1)
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
        restored = [_restored(network, snapshot.weights) for snapshot in kept]
        said = Predictor(restored, task.link, share.tolist())(held[0][rows])
        if not i:
            prediction = np.zeros((len(all_rows), *said.shape[1:]))
        prediction[start : start + len(rows)] += said / shared
        start += len(rows) if fold is not None else 0
        networks += restored
        epochs += [snapshot.epoch for snapshot in kept]
        weights += (share * len(members)).tolist()
    return _Chosen(networks, epochs, tuple(weights), all_rows, prediction)


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


def _as_it_is(net: nn.Sequential, task: Task, x: NDArray[np.float32], code: NDArray[np.generic]) -> Snapshot:
    """A network that was stopped before its first epoch ended."""
    output = forward_in_chunks(net.eval(), torch.from_numpy(x)).numpy()
    return Snapshot(0, 0, np.inf, task.essence(output, code), net.state_dict())


def _restored(network: NetworkConfig, weights: dict[str, torch.Tensor]) -> nn.Sequential:
    net = _build(network, 0)
    net.load_state_dict(weights)
    return net.eval()


def _build(network: NetworkConfig, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network.build()


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
    valid_weight = _validating(parts).weight_of(chosen.rows)
    scores = task.score(valid_code, chosen.prediction, valid_weight)
    constant = task.constant(code, parts.train.weight)
    baseline = task.score(valid_code, np.broadcast_to(constant, chosen.prediction.shape), valid_weight)
    decisions = [
        _task_sentence(data, task, guessed),
        *_aim_sentences(data, task, factors),
        _split_sentence(parts, config, task, validation, groups, time),
        _columns_sentence(model, data),
        _network_sentence(model, config, chosen),
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
    norm = f", {config.norm} norm" if config.norm else ""
    drop = f", dropout {config.dropout}" if config.dropout else ""
    return (
        f"networks: {config.members} of {' x '.join(map(str, config.hidden))}, {config.activation}{norm}"
        f"{drop}; AdamW, lr {config.lr}, batches of {config.batch_size}, {trained} of at most "
        f"{config.epochs} epochs; "
        f"predicts with {len(chosen.networks)} snapshots, of epochs {epochs}; engine {model.history.engine}"
    )


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
        return (
            f"rows: {parts.train.n_rows:,}; each of {config.members} networks validates on its own share of "
            f"1/{N_FOLDS}, drawn {how}, and trains on the others"
        )
    if groups is not None:
        how = f"by groups of {groups!r}"
    if time is not None:
        how = f"the latest by {time!r}"
    if validation is not None and not isinstance(validation, int | float | np.number):
        how = "as given"
    return f"rows: {parts.train.n_rows:,} to train on, {parts.valid.n_rows:,} to validate on, {how}"


def _columns_sentence(model: Model, data: _Data) -> str:
    schema = model.schema
    kinds = [column.kind for column in schema.columns]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    left_out = [f"{name} ({why})" for name, why in schema.ignored.items()]
    left_out += [f"{name} (asked)" for name in data.dropped]
    if unused := model.encoder.unused:
        left_out.append(f"{listed(unused)} (the same in nearly all rows)")
    by_target = sum(feature.channel == "target" for feature in model.encoder.num_features)
    statistics = f"; target statistics of {by_target}" if by_target else ""
    return f"columns: {counts}{statistics}" + (f"; left out: {', '.join(left_out)}" if left_out else "")


def _times(started: float) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"fitted": now, "fit_s": round(clock.perf_counter() - started, 3)}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
