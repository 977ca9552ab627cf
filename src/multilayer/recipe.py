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

from multilayer import streaming
from multilayer.errors import ConfigError, DataError, nearest
from multilayer.model import Model, check_weights, network_inputs
from multilayer.nn.networks import NetworkConfig
from multilayer.table.encode import Batch, Encoder, most_varied
from multilayer.table.read import Table, listed, read_table
from multilayer.table.schema import CONVERSIONS, Kind, Schema, infer_schema
from multilayer.table.split import folds, split
from multilayer.table.stream import Aside
from multilayer.training.autograd import forward_in_chunks
from multilayer.training.ensemble import Snapshot, Snapshots, select_greedily
from multilayer.training.history import History
from multilayer.training.loop import Callback, train_pack
from multilayer.training.optim import LeanAdamW
from multilayer.training.task import Kind as TaskKind
from multilayer.training.task import Task, guess_kind

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
    target: str | None = None,
    y: Any = None,
    task: TaskKind | str | None = None,
    drop: Iterable[str] = (),
    kinds: Mapping[str, Kind] | None = None,
    validation: Any = None,
    groups: str | None = None,
    time: str | None = None,
    sample_weight: Any = None,
    quality: str = "default",
    members: Whole | None = None,
    hidden: Whole | Sequence[Whole] | None = None,
    epochs: Whole | None = None,
    batch_size: Whole | None = None,
    lr: Real | None = None,
    patience: Whole | None = None,
    time_budget: Real | None = None,
    memory: Real | str | None = None,
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
        target: name of the column to predict; or pass its values as `y`.
        y: values to predict (n_rows,), where the table does not hold them.
        task: "binary", "multiclass" or "regression"; None decides from the target.
        drop: columns to leave out.
        kinds: column name -> "number", "boolean", "category" or "date", where the inferred kind is wrong.
        validation: share of the rows to validate on, or a table with the target, or (with `y`) a pair
            (table, y). None: each network validates on its own share and trains on all others, so that no row
            is lost to validation; with `groups` or `time`, with one network or too few rows, one fifth.
        groups: column whose values must not be on both sides of the split; it is no feature.
        time: column to split by: the latest rows validate.
        sample_weight: weight of each row (n_rows,), or the name of a column, which is then no feature.
        quality: "fast" takes about a third of the time of "default", "best" some four times as much.
        hidden: width of the hidden layers.
        members, epochs, batch_size, lr, patience: see `Config`.
        time_budget: seconds for the whole fit.
        memory: bytes that the process may take, or a text such as "2GiB"; None is half of what is free. A
            file, folder or pattern (`*.parquet`) of more rows than fit is streamed: shuffled once on the disk
            of temporary files, then trained on in chunks, an epoch each.
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
    if budget := streaming.budget_for(table, memory):
        roles = _roles(target, y, drop, validation, groups, time, sample_weight)
        settings = (_checked_quality(quality), members, hidden, epochs, batch_size, lr, patience)
        return _fit_stream(budget, roles, task, kinds, settings, time_budget, seed, device, callbacks)
    data = _Data.read(table, target, y, drop, groups, time, sample_weight)
    task_ = Task.from_target(data.y, task)
    schema = infer_schema(data.features, kinds=kinds)
    base = Config.for_shape(data.n_rows, len(schema.columns), task_.kind, _checked_quality(quality))
    config = _config(base, members, hidden, epochs, batch_size, lr, patience)
    parts = _split(data, task_, validation, groups, time, seed, config.members)
    task_ = _in_training_units(task_, parts.train.y)
    code = task_.encode(parts.train.y)
    encoder, batch = _encode(schema, parts, task_, code, config, seed)
    network = _network_config(encoder, batch, task_, config)
    x, weight = network_inputs(batch), parts.train.weight
    held = (x, code, weight)
    if parts.valid is not None:
        x_valid = network_inputs(encoder.transform(parts.valid.features))
        held = (x_valid, task_.encode(parts.valid.y), parts.valid.weight)
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
    chosen = _choose(nets, snapshots, config, task_, held, parts.folds)
    model = Model(
        data.target,
        task_,
        encoder,
        network,
        [_restored(network, snapshot.weights) for snapshot in chosen.snapshots],
        histories,
        dropped=data.dropped,
        weights=chosen.weights,
    )
    model.summary = _summary(
        model, data, parts, config, chosen, code, held, task is None, validation, groups, time
    )
    model.summary |= {"seed": seed, "times": _times(started)}
    return model


def _in_training_units(task: Task, y: NDArray[np.generic]) -> Task:
    """A regression's mean, spread and range from the training rows alone, where these vary at all."""
    if task.kind != "regression" or np.ptp(y.astype(float)) == 0:
        return task
    return Task.from_target(y, "regression")


@dataclass(frozen=True)
class _Data:
    """Features, target and weights of the same rows."""

    features: Table
    y: NDArray[np.generic]
    weight: NDArray[np.float32] | None
    target: str
    groups: NDArray[np.generic] | None = None
    time: NDArray[np.generic] | None = None
    dropped: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        return len(self.y)

    @classmethod
    def read(
        cls,
        source: Any,
        target: str | None,
        y: Any,
        drop: Iterable[str],
        groups: str | None,
        time: str | None,
        sample_weight: Any,
    ) -> "_Data":
        if (target is None) == (y is None):
            raise ConfigError("fit needs either the name of the target column (target=) or its values (y=).")
        table = read_table(source)
        drop = [drop] if isinstance(drop, str) else list(drop)
        weight_column = sample_weight if isinstance(sample_weight, str) else None
        not_features = [*drop, *(name for name in (groups, weight_column) if name is not None)]
        _require(table, [*not_features, *(name for name in (time, target) if name is not None)])
        if target in not_features:
            raise ConfigError(f"the target {target!r} cannot be dropped, or be the groups or weights.")
        if y is not None:
            table = _with_target(table, y)
        name = target if target is not None else "__target__"
        if table.n_rows < 2:
            raise DataError(f"fit needs at least 2 rows; got n_samples = {table.n_rows}. Add rows.")
        if not set(table.names) - {*not_features, name}:
            raise DataError("fit needs at least one column beside the target; got none. Add or keep columns.")
        weight = table[weight_column] if weight_column else sample_weight
        return cls(
            features=table.drop([*dict.fromkeys(not_features), name]),
            y=table[name],
            weight=None if weight is None else check_weights(weight, table.n_rows),
            target=target if target is not None else "target",
            groups=None if groups is None else table[groups],
            time=None if time is None else table[time],
            dropped=tuple(dict.fromkeys(not_features)),
        )

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


def _with_target(table: Table, y: Any) -> Table:
    """The table with the values of y as a further column, "__target__"."""
    values = read_table({"y": y})["y"]
    if len(values) != table.n_rows:
        raise DataError(f"y must have as many rows as the table; got {len(values)} and {table.n_rows}.")
    return Table({**table.columns, "__target__": values})


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
    by_class = task.kind != "regression" and groups is None and time is None
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
    if data.target == "target" and isinstance(validation, tuple):
        table, y = validation
        held = _with_target(read_table(table), y)
        _require(held, list(data.features.names))
        return _Data(held.select(data.features.names), held["__target__"], None, "target")
    table = read_table(validation)
    _require(table, [data.target, *data.features.names])
    return _Data(table.select(data.features.names), table[data.target], None, data.target)


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
    more_rows: streaming.Chunks | None = None,
) -> tuple[list[nn.Sequential], list[History], list[list[Snapshot]]]:
    """Networks, how they trained, and the snapshots of each; network i holds out fold i % N_FOLDS."""
    seeds = [seed, *map(int, np.random.SeedSequence(seed).generate_state(config.members - 1))]
    nets = [_build(network, member_seed) for member_seed in seeds]
    x, code, weight = rows
    snapshots = Snapshots(config.snapshots)
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
        more_rows=more_rows,
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


@dataclass(frozen=True)
class _Chosen:
    """The snapshots that make up the model, their weights, and what they say of validation rows.

    rows: numbers of those rows; in a fold, the networks that did not train on it say it
    """

    snapshots: list[Snapshot]
    weights: tuple[float, ...]
    rows: NDArray[np.int64]
    prediction: NDArray[np.float64]


def _choose(
    nets: list[nn.Sequential],
    snapshots: list[list[Snapshot]],
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
    chosen: list[Snapshot] = []
    weights: list[float] = []
    predictions = []
    for i, rows in enumerate(numbers):
        candidates = [snapshot for of_one in snapshots[i :: len(numbers)] for snapshot in of_one]
        members = nets[i :: len(numbers)]
        candidates = candidates or [_as_it_is(net, held[0][rows]) for net in members]
        counts = _select(candidates, task, held[1][rows], None if held[2] is None else held[2][rows], most)
        share = counts[counts > 0] / counts.sum()
        kept = [candidate for candidate, count in zip(candidates, counts, strict=True) if count]
        predictions.append(_mean(kept, share, task))
        chosen += kept
        weights += (share * len(members)).tolist()
    if fold is None:  # all groups were validated on the same rows, and are of one size
        numbers, predictions = numbers[:1], [np.mean(predictions, axis=0)]
    return _Chosen(chosen, tuple(weights), np.concatenate(numbers), np.concatenate(predictions))


def _has_few_of_a_class(task: Task, code: NDArray[np.generic]) -> bool:
    if task.kind == "regression":
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
    """How often each enters, by log loss of the mean probability or squared error of the mean."""
    if task.kind == "regression":
        truth = code * task.scale + task.center  # type: ignore[operator]
        errors = np.stack([task.values(candidate.output) - truth for candidate in candidates])
        return select_greedily(errors, np.square, weight, most)
    rows = np.arange(len(code))
    of_label = np.stack([task.probs(candidate.output)[rows, code] for candidate in candidates])
    return select_greedily(of_label, lambda p: -np.log(np.maximum(p, 1e-12)), weight, most)


def _mean(snapshots: list[Snapshot], shares: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    return np.einsum("s,s...->...", shares, np.stack([task.link(s.output) for s in snapshots]))


def _as_it_is(net: nn.Sequential, x: NDArray[np.float32]) -> Snapshot:
    """A network that was stopped before its first epoch ended."""
    output = forward_in_chunks(net.eval(), torch.from_numpy(x)).numpy()
    return Snapshot(0, 0, np.inf, output, net.state_dict())


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
    guessed: bool,
    validation: Any,
    groups: str | None,
    time: str | None,
) -> dict[str, Any]:
    task = model.task
    valid_code = held[1][chosen.rows]
    valid_weight = None if held[2] is None else held[2][chosen.rows]
    scores = task.score(valid_code, chosen.prediction, valid_weight)
    baseline = task.score(valid_code, task.baseline(code, len(valid_code)), valid_weight)
    shares = (
        None
        if model.classes is None
        else (np.bincount(code, minlength=len(task.classes)) / len(code)).tolist()
    )
    decisions = [
        _task_sentence(data, task, guessed),
        _split_sentence(parts, config, task, validation, groups, time),
        _columns_sentence(model, data),
        _network_sentence(model, config, chosen),
    ]
    return {
        "rows": {"train": parts.train.n_rows, "validation": len(valid_code)},
        "score": scores,
        "baseline": baseline,
        "class_shares": shares,
        "decisions": decisions,
        "config": asdict(config) | {"hidden": list(config.hidden)},  # as it comes back from JSON
        "interrupted": any(history.stopped == "interrupted" for history in model.histories),
        "versions": {name: _version(name) for name in ("multilayer", "torch", "numpy")}
        | {"python": platform.python_version()},
    }


def _network_sentence(model: Model, config: Config, chosen: _Chosen) -> str:
    epochs = ", ".join(str(snapshot.epoch) for snapshot in chosen.snapshots)
    trained = max(history.epochs for history in model.histories)
    norm = f", {config.norm} norm" if config.norm else ""
    drop = f", dropout {config.dropout}" if config.dropout else ""
    return (
        f"networks: {config.members} of {' x '.join(map(str, config.hidden))}, {config.activation}{norm}"
        f"{drop}; AdamW, lr {config.lr}, batches of {config.batch_size}, {trained} of at most "
        f"{config.epochs} epochs; "
        f"predicts with {len(chosen.snapshots)} snapshots, of epochs {epochs}; engine {model.history.engine}"
    )


def _task_sentence(data: _Data, task: Task, guessed: bool) -> str:
    classes = f" with {len(task.classes)} classes" if task.kind == "multiclass" else ""
    reason = f" ({guess_kind(data.y)[1]}; pass task= to choose another)" if guessed else " (as asked)"
    return f"task: {task.kind}{classes} of {data.target!r}{reason}"


def _split_sentence(
    parts: _Parts, config: Config, task: Task, validation: Any, groups: str | None, time: str | None
) -> str:
    how = "at random" if task.kind == "regression" else "at random within each class"
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


def _roles(
    target: str | None,
    y: Any,
    drop: Iterable[str],
    validation: Any,
    groups: str | None,
    time: str | None,
    sample_weight: Any,
) -> streaming.Roles:
    """The columns' parts in a streamed fit; refuses what it cannot do."""
    dropped = tuple(dict.fromkeys([drop] if isinstance(drop, str) else drop))
    if y is not None or not isinstance(target, str):
        raise ConfigError("a table that is streamed must hold the target; pass its name as target=, not y=.")
    if sample_weight is not None and not isinstance(sample_weight, str):
        raise ConfigError("the weights of a table that is streamed must be a column; pass its name.")
    if groups is not None and time is not None:
        raise ConfigError("split by groups or by time, not by both.")
    if validation is not None and not isinstance(validation, int | float | np.number):
        raise ConfigError("a table that is streamed validates on a share of its rows; pass such as 0.1.")
    if validation is not None and not 0 < validation < 1:
        raise ConfigError(f"The validation fraction must lie between 0 and 1; got {validation}. Try 0.1.")
    not_features = (*dropped, *(name for name in (groups, sample_weight) if name is not None))
    if target in not_features:
        raise ConfigError(f"the target {target!r} cannot be dropped, or be the groups or weights.")
    share = None if validation is None else float(validation)
    aside = None
    if groups is not None:
        aside = Aside("groups", groups, share or 0.1)
    elif time is not None:
        aside = Aside("time", time, share or 0.1)
    return streaming.Roles(target, tuple(dict.fromkeys(not_features)), sample_weight, aside, share)


def _fit_stream(
    budget: streaming.Budget,
    roles: streaming.Roles,
    kind: TaskKind | str | None,
    kinds: Mapping[str, Kind] | None,
    settings: tuple[Any, ...],
    time_budget: Real | None,
    seed: int,
    device: str | None,
    callbacks: Sequence[Callback],
) -> Model:
    """`fit` on a table larger than memory: encoder from a sample, training in chunks of the shuffled rows."""
    started = clock.perf_counter()
    quality, *given = settings
    with streaming.opened(budget, roles, seed) as stream:
        task, distinct = stream.task(kind)
        schema = stream.schema(kinds)
        base = Config.for_shape(stream.n_train, len(schema.columns), task.kind, quality)
        config = _config(replace(base, epochs=streaming.n_passes(stream.n_train, base.epochs)), *given)
        encoder, batch = stream.encoder(schema, task, TARGET_FOLDS if config.target_statistics else None)
        network = _network_config(encoder, batch, task, config)
        code = task.encode(stream.sample[roles.target])
        n_outputs = config.members * (config.snapshots + 2)
        valid, chunks = stream.divide(encoder, task, batch, config.batch_size, n_outputs, config.epochs)
        config = replace(config, epochs=chunks.n_epochs, patience=config.patience * chunks.n_chunks)
        held = (valid.x, valid.code, valid.weight)
        with chunks:
            first = chunks.take()
            nets, histories, snapshots = _train(
                network,
                config,
                task,
                (first.x, first.code, first.weight),
                held,
                None,
                time_budget=_seconds_left(time_budget, started),
                seed=seed,
                device=device,
                callbacks=callbacks,
                more_rows=chunks,
            )
        said = stream.sentences(chunks, len(valid.code))
    chosen = _choose(nets, snapshots, config, task, held, None)
    model = Model(
        roles.target,
        task,
        encoder,
        network,
        [_restored(network, snapshot.weights) for snapshot in chosen.snapshots],
        histories,
        dropped=roles.dropped,
        weights=chosen.weights,
    )
    data = _Data(Table({roles.target: distinct}), distinct, None, roles.target, dropped=roles.dropped)
    model.summary = _summary(
        model, data, _Parts(data, data), config, chosen, code, held, kind is None, None, None, None
    )
    model.summary["rows"] = {"train": stream.n_train, "validation": len(valid.code)}
    model.summary["decisions"][1:2] = said
    model.summary |= {"seed": seed, "times": _times(started)}
    return model
