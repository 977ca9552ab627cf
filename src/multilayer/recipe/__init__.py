"""`fit`: from a raw table to a `Model`. Every door (command line, estimators, Python) goes through here."""

import time as clock
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer import streaming
from multilayer.errors import MultilayerError
from multilayer.model import Model, marks, network_inputs
from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.arguments import check_arguments, checked_device, no_type_check, plain_numbers
from multilayer.recipe.choice import choose
from multilayer.recipe.config import (
    Config,
    Real,
    Whole,
    base_config,
    check_settings,
    class_factors,
    seconds_left,
    with_network,
    with_settings,
)
from multilayer.recipe.data import (
    TARGET_FOLDS,
    Data,
    Declared,
    Parts,
    Rows,
    rows_by_content,
    split_rows,
    target_folds,
    weight_of,
)
from multilayer.recipe.design import monotone_directions, network_config
from multilayer.recipe.members import train_members, train_published
from multilayer.recipe.streamed import Asked, fit_streamed
from multilayer.recipe.summary import fit_times, summarise, time_sentences
from multilayer.table.encode import Batch, Encoder
from multilayer.table.names import column_name
from multilayer.table.notation import Notation
from multilayer.table.schema import Kinds, Schema
from multilayer.table.sketch import Sketch
from multilayer.training.classification import loss_weight
from multilayer.training.loop import Callback
from multilayer.training.targets import make_task
from multilayer.training.task import Kind as TaskKind
from multilayer.training.task import Task

__all__ = ["fit"]


@no_type_check  # `check_arguments` is the judge of what comes, and says more
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
    encoding: str | None = None,
    header: bool = True,
    drop_missing_target: bool = False,
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
    memory: Real | str | None = None,
    seed: Whole = 0,
    device: str | None = None,
    n_threads: Whole | None = None,
    callbacks: Sequence[Callback] = (),
) -> Model:
    """Learn to predict a column of a table from the others. No setting is needed beyond the target.

    Kinds of columns are inferred, the encoder is learnt on the training rows only (with folds these are all
    rows; what it tells a row of the target comes from other folds), networks with embeddings are trained
    side by side, and averaged over the epochs in which they predict validation rows best together; where
    classes are noisy, some epochs of each are chosen greedily.
    `model.summary["decisions"]` says in words what was decided.
    Ctrl-C ends training and gives the model of the best epochs so far (`model.summary["interrupted"]`).

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
        thousands, decimal: separators of numbers in text: "," and "." of 1,234.5.
        encoding: of text files, such as "latin-1"; UTF-8 and files with a byte-order mark need none.
        header: False for text files without names of columns, which are called 0, 1, 2, ... then. From
            `missing` to here, all is kept in the model, which reads tables to predict in the same way.
        drop_missing_target: leave out rows that have no target, instead of refusing them.
        validation: share of the rows to validate on, or a table with the target, or (with `y`) a pair
            (table, y). None: each network validates on an eighth and trains on all others, so that no row is
            lost to validation; with `time`, with one network or too few rows or groups, one fifth.
        groups: column whose values must not be on both sides of a split; it is no feature. With at least
            eight groups each network validates on an eighth of whole ones.
        time: column to split by: the latest rows validate. Folds would let a network train on rows later
            than those it is judged by, and its score would promise what no forecast can keep.
        sample_weight: weight of each row (n_rows,), or the name of a column, which is then no feature. A
            weight of 2 is the row twice, exactly; of 0, no row; only ratios count, except where whole numbers
            say that few different rows are there many times (`decisions` says so). A `validation` table may
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
        quality: "fast" takes some two fifths of the time of "default", "best" three times as much.
        network: "default", or a network of the literature as its paper trains it: "mlp", "resnet", "realmlp"
            or "tabm" (`PUBLISHED`). These validate on one fifth of the rows.
        hidden: width of the hidden layers.
        members, epochs, batch_size, lr, patience, activation, weight_decay: see `Config`.
        time_budget: seconds for the whole fit, kept to a tenth or so; where they are too short, fewer
            networks train (of the default), which `decisions` says, as it does by how much a fit took longer:
            a first step and the validation rows of "tabm", for one, may take a while.
        memory: bytes that the process may take, or a text such as "2GiB"; None is half of what is free. CSV
            or Parquet files (`*.parquet`, a folder) of more rows than fit are streamed: shuffled once on the
            disk of temporary files, then trained on in chunks, an epoch each. Not so with y=, validation
            rows, several targets, lists in columns, exposure, network, thousands: these need memory. All
            other settings mean the same, except: all networks validate on the same rows, a tenth where
            nothing is said; equal rows are not merged; groups are told apart by a hash; text of `time` is
            numbers or dates such as 2024-05-31; and errors number rows of the shuffled table.
        seed: of split, initial weights, shuffling and dropout: the same seed gives the same model.
        device: where to train, such as "cpu" or "cuda"; None is the CPU.
        n_threads: networks to train at a time; None is as many as there are cores. In a process that was
            forked after PyTorch was loaded each product has one thread, at the same bits.
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
    drop = list(drop) if isinstance(drop, Iterator) else drop
    check_arguments(
        {
            "target": target, "task": task, "objective": objective, "quantiles": quantiles,
            "threshold": threshold, "drop": drop, "kinds": kinds, "schema": schema, "infinite": infinite,
            "query": query, "thousands": thousands, "decimal": decimal, "encoding": encoding,
            "header": header, "drop_missing_target": drop_missing_target, "groups": groups, "time": time,
            "class_weight": class_weight, "monotone": monotone, "quality": quality, "network": network,
            "members": members, "hidden": hidden, "epochs": epochs, "batch_size": batch_size, "lr": lr,
            "patience": patience, "activation": activation, "weight_decay": weight_decay,
            "time_budget": time_budget, "seed": seed, "n_threads": n_threads, "callbacks": callbacks,
        }
    )  # fmt: skip
    seed, device = int(seed), checked_device(device)
    members, hidden, epochs, batch_size = map(plain_numbers, (members, hidden, epochs, batch_size))
    patience, n_threads, quantiles = map(plain_numbers, (patience, n_threads, quantiles))
    lr, weight_decay, time_budget = (
        None if value is None else float(value) for value in (lr, weight_decay, time_budget)
    )
    threshold = threshold if threshold is None or isinstance(threshold, str) else float(threshold)
    drop = () if drop is None else drop
    callbacks = () if callbacks is None else callbacks
    notation = Notation.declare(missing, thousands, decimal, encoding, header)
    groups, time = (None if name is None else column_name(name) for name in (groups, time))
    declared = Declared.of(kinds, schema, infinite)
    aims: dict[str, Any] = {"objective": objective, "quantiles": quantiles, "threshold": threshold}
    if budget := streaming.budget_for(table, memory, replace(notation, texts=declared.as_written), query):
        asked = Asked.of(
            target, y, drop, groups, time, sample_weight, validation, exposure, network, notation, declared,
            drop_missing_target,
            kind=task, aims=aims, class_weight=class_weight, monotone=monotone or {}, quality=quality,
            settings=(members, hidden, epochs, batch_size, lr, patience),
            network_settings=(activation, weight_decay),
        )  # fmt: skip
        return fit_streamed(
            budget, asked, started, time_budget,
            seed=seed, device=device, n_threads=n_threads, callbacks=callbacks,
        )  # fmt: skip
    given = Data.read(
        table, target, y, drop, groups, time, sample_weight, exposure, notation, query, declared
    )
    of_numbers = objective is not None or quantiles is not None
    given = given.with_numbers("regression" if of_numbers else task, drop_missing=bool(drop_missing_target))
    data = given.by_content()
    task_, schema = _task_and_schema(
        given, data, lambda of: make_task(of.y, task, **aims, weight=of.weight), declared.schema_of
    )
    guessed = task is None and objective is None and quantiles is None
    if guessed and not data.beside:
        declared.check_targets(data.targets, task_.kind)
    check_settings(task_, class_weight, exposure is not None)
    directions = monotone_directions(monotone or {}, data, schema, task_)
    del given  # a table from a file need not be in memory twice
    base = base_config(network, quality, data.n_rows, len(schema.columns), task_, directions)
    config = with_settings(base, members, hidden, epochs, batch_size, lr, patience)
    config = with_network(config, activation, weight_decay)
    n_folding = config.members if config.network == "default" else 1
    parts = split_rows(data, task_, validation, groups, time, seed, n_folding)
    if parts.valid is not None and parts.how == "as given":
        parts = replace(parts, valid=parts.valid.as_learnt(schema))
    task_ = task_.in_units_of(parts.train.y, parts.train.weight)
    coded = _code(schema, parts, task_, config, directions, class_weight, seed)
    nets, histories, snapshots = (train_members if config.network == "default" else train_published)(
        coded.network,
        config,
        task_,
        coded.train,
        coded.held,
        parts.folds,
        time_budget=seconds_left(time_budget, started),
        seed=seed,
        device=device,
        n_threads=n_threads,
        callbacks=callbacks,
    )
    by_kernels = histories[0].engine == "kernels"
    chosen = choose(
        nets, histories, snapshots, config, task_, coded.held, parts.folds,
        by_kernels=by_kernels, is_sure=data.is_sure,
    )  # fmt: skip
    task_, prediction = task_.settle(
        coded.to_score[1][chosen.rows], chosen.prediction, weight_of(coded.to_score, chosen.rows)
    )
    chosen = replace(chosen, prediction=prediction)
    model = Model(
        data.target,
        task_,
        coded.encoder,
        coded.network,
        chosen.networks,
        histories,
        dropped=data.dropped,
        weights=chosen.weights,
        notation=notation,
        exposure=data.exposure,
    )
    seen = Sketch.of(marks(coded.encoder, *coded.train[:2]), repeats=parts.train.share_repeated)
    model.summary = summarise(
        model, data, parts, config, chosen, coded.train[1], coded.to_score, coded.factors, guessed, directions
    ) | {
        "seed": seed,
        "trained_on": seen.to_json(),
        "times": fit_times(started),
        "target_units": dict(data.units),
    }
    model.summary["decisions"] += time_sentences(started, time_budget)
    return model


def _task_and_schema(
    given: "Data",
    data: "Data",
    make: Callable[["Data"], Task],
    infer: Callable[["Data"], Schema],
) -> tuple[Task, Schema]:
    """What target and columns are; errors name the rows as they were given."""
    try:
        return make(data), infer(data)
    except MultilayerError:
        make(given)
        infer(given)
        raise


@dataclass(frozen=True)
class _Coded:
    """The rows of a table as networks take them, and what they were encoded by.

    train:    to train on, weights as the loss counts them
    to_score: that networks validate on, with folds the training rows; weights as scores count them
    held:     the same rows, weights as the loss counts them
    factors:  of each class, from class weights
    """

    encoder: Encoder
    network: NetworkConfig
    train: Rows
    to_score: Rows
    held: Rows
    factors: NDArray[np.float64] | None


def _code(
    schema: Schema,
    parts: Parts,
    task: Task,
    config: Config,
    directions: Mapping[str, int],
    class_weight: Any,
    seed: int,
) -> _Coded:
    """Learn the encoder, choose the network's inputs, encode both parts."""
    code = task.encode(parts.train.y)
    encoder, batch = _encode(schema, parts, task, code, config, seed)
    factors = class_factors(task, class_weight, code, parts.train.weight)
    x = network_inputs(batch)
    to_score: Rows = (x, code, parts.train.weight)
    if parts.valid is not None:
        x_valid = network_inputs(encoder.transform(parts.valid.features))
        to_score = rows_by_content(x_valid, task.encode(parts.valid.y), parts.valid.weight)
    return _Coded(
        encoder,
        network_config(encoder, batch, task, config, directions),
        (x, code, loss_weight(factors, code, parts.train.weight)),
        to_score,
        (*to_score[:2], loss_weight(factors, *to_score[1:])),
        factors,
    )


def _encode(
    schema: Schema, parts: Parts, task: Task, code: NDArray[np.generic], config: Config, seed: int
) -> tuple[Encoder, Batch]:
    """The encoder, learnt on the training rows, and what it makes of them."""
    encoder = Encoder.fit(parts.train.features, schema, parts.train.weight)
    batch = encoder.transform(parts.train.features)
    if not config.target_statistics or parts.train.n_rows < TARGET_FOLDS:
        return encoder, batch
    return encoder.learn_target(batch, code.astype(np.float64), parts.train.weight, target_folds(parts, seed))
