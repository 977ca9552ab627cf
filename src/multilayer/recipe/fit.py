"""`fit`: from a raw table to a `Model`. Every door (command line, estimators, Python) goes through here."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from multilayer.model.model import Model
from multilayer.recipe.arguments import no_type_check
from multilayer.recipe.choices import NetworkName, Quality
from multilayer.recipe.config import Real, Whole
from multilayer.recipe.findings import table_findings
from multilayer.recipe.plan import Plan, make_plan
from multilayer.recipe.rows import read_rows
from multilayer.recipe.selection import Selected, select
from multilayer.recipe.summary import summarise
from multilayer.recipe.trained import Trained, train_networks
from multilayer.recipe.wanted import Wanted
from multilayer.table.schema import Kinds, Schema
from multilayer.tasks.task import Kind as TaskKind
from multilayer.training.loop import Callback

__all__ = ["fit"]


@no_type_check  # `check_arguments` is the judge of what comes, and says more
def fit(
    table: Any,
    *,
    target: Hashable | Sequence[Hashable] = None,
    y: Any = None,
    task: TaskKind | None = None,
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
    quality: Quality = "default",
    network: NetworkName = "default",
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
            or "tabm" (`NETWORKS`). These validate on one fifth of the rows.
        hidden: width of the hidden layers.
        members, epochs, batch_size, lr, patience, activation, weight_decay: see `Config`.
        time_budget: seconds for the whole fit, kept to a tenth or so; where they are too short, fewer
            networks train (of the default), which `decisions` says, as it does by how much a fit took longer:
            a first step and the validation rows of "tabm", for one, may take a while.
        memory: bytes that the process may take, or a text such as "2GiB"; None is half of what is free. CSV
            or Parquet files (`*.parquet`, a folder) of more rows than fit are streamed: shuffled once on the
            disk of temporary files, then trained on in chunks, an epoch each. Not so with y=, validation
            rows, several targets, lists in columns, exposure, network, thousands, drop_missing_target, text
            files in another encoding, or a target of numbers written as text: these need memory. All other
            settings mean the same, except: all networks validate on the same rows, a tenth where
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
    wanted = Wanted.make({name: value for name, value in locals().items() if name != "table"})
    with read_rows(table, wanted) as rows:
        plan = make_plan(rows, wanted)
        trained = train_networks(
            plan,
            time_budget=wanted.seconds_to_train(),
            seed=wanted.seed,
            device=wanted.device,
            n_threads=wanted.n_threads,
            callbacks=wanted.callbacks,
        )
        model = assemble(wanted, plan, trained, select(plan, trained))
        model.summary["findings"] = table_findings(rows, plan)
    return model


def assemble(wanted: Wanted, plan: Plan, trained: Trained, selected: Selected) -> Model:
    """The model of the selected networks; their predictions of validation rows settle what is left open."""
    code, weight = plan.to_score.code[selected.rows], plan.to_score.weights_of(selected.rows)
    task, prediction = plan.task.settle(code, selected.prediction, weight)
    selected = replace(selected, prediction=prediction)
    return Model(
        target=plan.facts.target,
        task=task,
        encoder=plan.encoder,
        config=plan.network,
        networks=selected.networks,
        histories=trained.histories,
        summary=summarise(wanted, plan, trained, selected, task),
        dropped=plan.facts.dropped,
        weights=selected.weights,
        notation=wanted.notation,
        exposure=plan.facts.exposure,
    )
