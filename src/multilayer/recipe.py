"""`fit`: from a raw table to a `Model`. Every door (command line, estimators, Python) goes through here."""

import datetime
import importlib.metadata
import logging
import platform
import time as clock
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.errors import ConfigError, DataError, nearest
from multilayer.model import Model, check_weights, network_inputs
from multilayer.nn.networks import NetworkConfig
from multilayer.table.encode import Encoder
from multilayer.table.read import Table, read_table
from multilayer.table.schema import CONVERSIONS, Kind, infer_schema
from multilayer.table.split import split
from multilayer.training.history import History
from multilayer.training.loop import Callback, train_pack
from multilayer.training.task import Kind as TaskKind
from multilayer.training.task import Task, guess_kind

logger = logging.getLogger("multilayer")

Whole = int | np.integer[Any]
Real = float | Whole

# Encoded numbers; periodic embeddings of more would cost more than the rest of the network.
MOST_PERIODIC = 128


@dataclass(frozen=True)
class Config:
    """How to train on a table. `for_shape` chooses from the table's shape alone.

    members:      networks, trained side by side from different seeds; their predictions are averaged
    hidden:       widths of the hidden layers
    activation, norm, dropout: as in `mlp`
    epochs:       most passes over the training rows; the cosine schedule ends there
    batch_size:   rows a step
    lr:           peak learning rate of AdamW
    weight_decay: of AdamW, on weight matrices
    patience:     epochs without a better validation loss before training stops
    """

    members: int = 4
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "silu"
    norm: str | None = None
    dropout: float = 0.1
    epochs: int = 20
    batch_size: int = 256
    lr: float = 3e-3
    weight_decay: float = 0.03
    patience: int = 16

    @classmethod
    def for_shape(cls, n_rows: int) -> "Config":
        """The default for so many training rows: some 1,500 steps, in batches that grow with the table.

        >>> Config.for_shape(20_000).batch_size, Config.for_shape(20_000).epochs
        (256, 19)
        """
        sizes = [(1_500, 32), (4_000, 64), (8_000, 128), (50_000, 256), (150_000, 512)]
        batch_size = next((size for limit, size in sizes if n_rows < limit), 1024)
        epochs = int(np.clip(round(1_500 * batch_size / n_rows), 12, 60))
        return cls(batch_size=batch_size, epochs=epochs)


def fit(
    table: Any,
    *,
    target: str | None = None,
    y: Any = None,
    task: TaskKind | str | None = None,
    drop: Iterable[str] = (),
    kinds: Mapping[str, Kind] | None = None,
    validation: Any = 0.2,
    groups: str | None = None,
    time: str | None = None,
    sample_weight: Any = None,
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

    Kinds of columns are inferred, the encoder is learnt on the training rows only, a network with embeddings
    is trained with early stopping on the validation rows. `model.summary["decisions"]` says in words what was
    decided.
    Ctrl-C ends training and gives the model of the best epoch so far (`model.summary["interrupted"]`).

    Args:
        table: a file (CSV, Parquet), a pandas, polars or Arrow frame, a mapping of columns, a NumPy matrix.
        target: name of the column to predict; or pass its values as `y`.
        y: values to predict (n_rows,), where the table does not hold them.
        task: "binary", "multiclass" or "regression"; None decides from the target.
        drop: columns to leave out.
        kinds: column name -> "number", "boolean", "category" or "date", where the inferred kind is wrong.
        validation: share of the rows to validate on, or a table with the target, or (with `y`) a pair
            (table, y).
        groups: column whose values must not be on both sides of the split; it is no feature.
        time: column to split by: the latest rows validate.
        sample_weight: weight of each row (n_rows,), or the name of a column, which is then no feature.
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
    data = _Data.read(table, target, y, drop, groups, time, sample_weight)
    task_ = Task.from_target(data.y, task)
    parts = _split(data, task_, validation, groups, time, seed)
    schema = infer_schema(data.features, kinds=kinds)
    encoder = Encoder.fit(parts.train.features, schema)
    config = _config(parts.train.n_rows, members, hidden, epochs, batch_size, lr, patience)
    network = _network_config(encoder, task_, config)
    task_ = _in_training_units(task_, parts.train.y)
    code, valid_code = task_.encode(parts.train.y), task_.encode(parts.valid.y)
    x_valid = network_inputs(encoder.transform(parts.valid.features))
    nets, histories = _train(
        network,
        config,
        task_,
        (network_inputs(encoder.transform(parts.train.features)), code, parts.train.weight),
        (x_valid, valid_code, parts.valid.weight),
        time_budget=_seconds_left(time_budget, started),
        seed=seed,
        device=device,
        callbacks=callbacks,
    )
    model = Model(
        data.target, task_, encoder, network, [n.cpu().eval() for n in nets], histories, dropped=data.dropped
    )
    model.summary = _summary(
        model, data, parts, config, code, valid_code, x_valid, task is None, validation, groups, time
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
    train: _Data
    valid: _Data


def _split(
    data: _Data, task: Task, validation: Any, groups: str | None, time: str | None, seed: int
) -> _Parts:
    if not isinstance(validation, int | float | np.number):
        return _Parts(data, _given_validation(data, validation))
    if groups is not None and time is not None:
        raise ConfigError("split by groups or by time, not by both.")
    by_class = task.kind != "regression" and groups is None and time is None
    moments = None if time is None or data.time is None else _moments(time, data.time)
    stratify = task.encode(data.y) if by_class else None
    rows = split(
        data.n_rows,
        fraction=float(validation),
        seed=seed,
        stratify=stratify,
        groups=data.groups,
        time=moments,
    )
    return _Parts(*(data.take(part) for part in rows))


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
    n_rows: int,
    members: Whole | None,
    hidden: Whole | Sequence[Whole] | None,
    epochs: Whole | None,
    batch_size: Whole | None,
    lr: Real | None,
    patience: Whole | None,
) -> Config:
    base = Config.for_shape(n_rows)
    given: dict[str, Any] = {"members": members, "epochs": epochs, "batch_size": batch_size, "lr": lr}
    given["patience"] = patience
    if hidden is not None:
        widths = (hidden, hidden) if isinstance(hidden, int | np.integer) else hidden
        given["hidden"] = tuple(_plain(width) for width in widths)
    chosen = {name: _plain(value) for name, value in given.items() if value is not None}
    for name in ("members", "epochs", "batch_size", "lr", "patience"):
        _check_positive(name, chosen.get(name))
    return replace(base, **chosen)


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


def _network_config(encoder: Encoder, task: Task, config: Config) -> NetworkConfig:
    curved = [i for i, feature in enumerate(encoder.num_features) if feature.channel in ("scaled", "rank")]
    return NetworkConfig(
        n_num=len(encoder.num_features),
        cardinalities=tuple(encoder.cardinalities),
        periodic=tuple(curved) if len(curved) <= MOST_PERIODIC else (),
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
    valid: Rows,
    *,
    time_budget: float | None,
    seed: int,
    device: str | None,
    callbacks: Sequence[Callback],
) -> tuple[list[nn.Sequential], list[History]]:
    seeds = [seed, *map(int, np.random.SeedSequence(seed).generate_state(config.members - 1))]
    nets = [_build(network, member_seed) for member_seed in seeds]
    x, code, weight = rows
    x_valid, valid_code, valid_weight = valid
    histories = train_pack(
        nets,
        x,
        task.as_network_target(code),
        loss=task.loss,
        optimizer=lambda parameters: _adamw(parameters, config),
        epochs=config.epochs,
        batch_size=config.batch_size,
        validation=(x_valid, task.as_network_target(valid_code), valid_weight),
        schedule="warmup_cosine",
        clip_norm=1.0,
        sample_weight=weight,
        patience=config.patience,
        time_budget=time_budget,
        seeds=seeds,
        device=device,
        callbacks=callbacks,
    )
    return nets, histories


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
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=(0.9, 0.95), fused=True)


def _summary(
    model: Model,
    data: _Data,
    parts: _Parts,
    config: Config,
    code: NDArray[np.generic],
    valid_code: NDArray[np.generic],
    x_valid: NDArray[np.float32],
    guessed: bool,
    validation: Any,
    groups: str | None,
    time: str | None,
) -> dict[str, Any]:
    task = model.task
    scores = task.score(valid_code, model.from_inputs(x_valid), parts.valid.weight)
    baseline = task.score(valid_code, task.baseline(code, len(valid_code)), parts.valid.weight)
    shares = (
        None
        if model.classes is None
        else (np.bincount(code, minlength=len(task.classes)) / len(code)).tolist()
    )
    decisions = [
        _task_sentence(data, task, guessed),
        _split_sentence(parts, task, validation, groups, time),
        _columns_sentence(model, data),
        _network_sentence(model, config),
    ]
    return {
        "rows": {"train": parts.train.n_rows, "validation": parts.valid.n_rows},
        "score": scores,
        "baseline": baseline,
        "class_shares": shares,
        "decisions": decisions,
        "config": asdict(config) | {"hidden": list(config.hidden)},  # as it comes back from JSON
        "interrupted": any(history.stopped == "interrupted" for history in model.histories),
        "versions": {name: _version(name) for name in ("multilayer", "torch", "numpy")}
        | {"python": platform.python_version()},
    }


def _network_sentence(model: Model, config: Config) -> str:
    kept = ", ".join(f"{history.best_epoch} of {history.epochs}" for history in model.histories)
    return (
        f"networks: {config.members} of {' x '.join(map(str, config.hidden))}, {config.activation}, "
        f"dropout {config.dropout}; AdamW, lr {config.lr}, batches of {config.batch_size}, at most "
        f"{config.epochs} epochs, patience {config.patience}; kept epochs {kept}; "
        f"engine {model.history.engine}"
    )


def _task_sentence(data: _Data, task: Task, guessed: bool) -> str:
    classes = f" with {len(task.classes)} classes" if task.kind == "multiclass" else ""
    reason = f" ({guess_kind(data.y)[1]}; pass task= to choose another)" if guessed else " (as asked)"
    return f"task: {task.kind}{classes} of {data.target!r}{reason}"


def _split_sentence(parts: _Parts, task: Task, validation: Any, groups: str | None, time: str | None) -> str:
    how = "at random" if task.kind == "regression" else "at random within each class"
    if groups is not None:
        how = f"by groups of {groups!r}"
    if time is not None:
        how = f"the latest by {time!r}"
    if not isinstance(validation, int | float | np.number):
        how = "as given"
    return f"rows: {parts.train.n_rows:,} to train on, {parts.valid.n_rows:,} to validate on, {how}"


def _columns_sentence(model: Model, data: _Data) -> str:
    schema = model.schema
    kinds = [column.kind for column in schema.columns]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    left_out = [f"{name} ({why})" for name, why in schema.ignored.items()] + [
        f"{name} (asked)" for name in data.dropped
    ]
    return f"columns: {counts}" + (f"; left out: {', '.join(left_out)}" if left_out else "")


def _times(started: float) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"fitted": now, "fit_s": round(clock.perf_counter() - started, 3)}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
