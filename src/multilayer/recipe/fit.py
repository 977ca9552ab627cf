"""`fit`: from a raw table to a `Model`. The command line and the estimators call it, too."""

import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from multilayer.model.model import Model
from multilayer.progress import progress
from multilayer.recipe.arguments import no_type_check
from multilayer.recipe.baselines import compare
from multilayer.recipe.calibration_rows import set_aside
from multilayer.recipe.choices import NetworkName, Quality
from multilayer.recipe.config import Real, Whole
from multilayer.recipe.findings import table_findings
from multilayer.recipe.held_out import evidence_of, statistics
from multilayer.recipe.linear import fit_linear
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

SHOWN_AFTER_S = 2.0  # how far a fit is


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
    calibration: Any = None,
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
    baselines: bool = False,
    verbose: bool | None = None,
) -> Model:
    """Learn to predict a column of a table from the others. Only the target has to be named.

    The kinds of the columns are inferred, an encoder is learnt on the training rows, and several networks are
    trained side by side. The model predicts with their mean, with weights averaged over the epochs in which
    all networks together predict the validation rows best.
    `model.summary["decisions"]` says in words what was decided, and `model.summary["details"]` how the
    networks were built and trained. Ctrl-C ends training and returns the model of the best epochs so far
    (`model.summary["interrupted"]` is then True).

    Args:
        table: a file or several (CSV, Parquet, JSON, Arrow, a database), a pandas, polars or Arrow frame, a
            mapping of columns, a list of dicts, a NumPy or sparse matrix: anything that `read_table` takes.
        target: name of the column to predict, or a list of names (also for one name that is a tuple). Without
            it, pass the values as `y`.
        y: values to predict (n_rows,), or (n_rows, n_targets), if the table does not hold them.
        task: "binary", "multiclass", "regression", or, for several targets of two values each, "multilabel";
            None decides from the target.
        objective: what a regression predicts: "squared_error" (the mean), "absolute_error" (the median),
            "huber" (the mean without outliers), "quantile", "poisson" (the mean of counts), "gamma" (the mean
            of positive amounts), "tweedie" (the mean of amounts that are often 0), "log" (the mean of
            positive numbers with a long tail, learnt on their logarithm). None is "quantile" if quantiles are
            given, else "squared_error".
        quantiles: quantiles of the target to predict, ascending, such as (0.1, 0.5, 0.9); see
            `Model.predict_quantiles`.
        drop: columns to leave out; they may hold anything.
        kinds: column name -> "number", "boolean", "category", "ordered", "date", "time", "duration" or
            "text", for columns whose inferred kind is wrong; or the levels of an ordered category, lowest
            first.
        schema: a schema that `ml.infer_schema` gave and you edited, or its JSON file: kinds, orders, time
            zones, columns to leave out. Ranges and levels are measured again; `kinds` overrides it.
        infinite: "error" refuses infinite numbers in the table; "clip" replaces them by the largest and
            smallest finite number of their column, also at prediction.
        query: SQL that gives the rows, if the table is a database, a connection or a file to query; see
            `read_table`.
        missing: marks of missing values, such as ("?", -999), for all columns; or a mapping of columns to
            marks.
        thousands, decimal: separators of numbers in text: "," and "." in 1,234.5.
        encoding: encoding of text files, such as "latin-1"; UTF-8 and files with a byte-order mark need none.
        header: False for text files without column names; the columns are then called 0, 1, 2, ... The model
            keeps all settings from `missing` to this one, and reads tables to predict by them.
        drop_missing_target: leave out rows that have no target, instead of refusing them.
        validation: share of the rows to validate on, or a table with the target, or (with `y`) a pair
            (table, y). None: each network validates on a different eighth and trains on all other rows, so
            that no row is lost to validation; but with `time`, with one network, or with too few rows or
            groups, all validate on one fifth.
        calibration: rows that are set aside, so that `Model.predict_interval` and `Model.predict_set` are
            exact: a share of the table's rows, a number of them (from 10 on), or a table with the target. See
            `Model.conformalize`. None fits on all rows; intervals are approximate then.
        groups: column whose equal values must stay on one side of a split; it is not used as a feature. With
            at least eight groups, each network validates on an eighth made of whole groups.
        time: column to split by: the latest rows validate all networks. Otherwise a network could train on
            rows later than those that it is judged by, and its score would be better than a forecast can be.
        sample_weight: weight of each row (n_rows,), or the name of a column, which is then not used as a
            feature. A row of weight 2 counts exactly as two rows, a row of weight 0 as none. Only ratios of
            weights matter, except if whole numbers say that few different rows are there many times
            (`decisions` says so). A table in `validation` may hold the column, too.
        class_weight: "balanced", so that all classes weigh alike, or label -> weight. It multiplies the
            weights of rows in training and in the choice among epochs, but not in scores, and shifts
            probabilities.
        exposure: for the objectives "poisson", "gamma" and "tweedie": how much each row covers, such as the
            years insured; the name of a column, or values (n_rows,). The target per unit is learnt and
            scored, weighted by the exposure. Predictions are for the exposure of their rows or, if it was not
            a column, for one unit.
        threshold: for two classes or several labels: the probability from which on the second class is
            predicted, or the metric by which validation rows choose it: "f1", "balanced_accuracy",
            "accuracy" or "mcc". None predicts the more probable class.
        monotone: column name -> "increasing" (or 1) or "decreasing" (or -1): the prediction, or the
            probability of the second of two classes, never falls (never rises) as that column grows and all
            others stay the same, everywhere. This holds up to the rounding of float32, but not for missing
            values. Numbers, booleans and dates can be constrained.
        quality: "fast" takes about two fifths of the time of "default", "best" about three times as long.
        network: "default", or a published network, trained as its paper describes: "mlp", "resnet",
            "realmlp" or "tabm". These validate on one fifth of the rows.
        hidden: widths of the hidden layers; one number is the width of both.
        members, epochs, batch_size, lr, patience, activation, weight_decay: see `Config`.
        time_budget: seconds for the whole fit, kept to about a tenth. If they are too few, the default trains
            fewer networks. `decisions` says so, and by how much a fit took longer; "tabm", for example, may
            need more time for its first step and for the validation rows.
        memory: bytes that the process may take, or a text such as "2GiB"; None is half of the free memory. If
            a CSV or Parquet table (a file, `*.parquet`, a folder) needs more, it is streamed: shuffled once
            in the folder for temporary files, then trained on in chunks, each of which counts as an epoch.
            These need the table in memory: y=, validation rows, several targets, lists in columns, exposure,
            network, thousands, drop_missing_target, text files in another encoding, and a target of numbers
            written as text. All other settings mean the same, except that all networks validate on the same
            rows (by default a tenth), equal rows are not merged, groups are told apart by a hash, a `time`
            column of text must hold numbers or dates such as 2024-05-31, and errors number the rows of the
            shuffled table.
        seed: for the split, initial weights, shuffling and dropout: the same seed gives the same model.
        device: where to train, such as "cpu" or "cuda"; None is the CPU.
        n_threads: number of networks to train at a time; None is the number of cores. In a process that was
            forked after PyTorch was loaded, each matrix product has one thread, and the same result.
        callbacks: functions called with a `Progress` after each epoch; one that returns True ends training.
        baselines: fit a linear model and boosted trees on the same rows, too, and score them beside the
            model: `print(model)` shows it. It takes a second or less after scikit-learn is loaded, changes
            nothing of the model, and is left out where there is a time budget or are several targets.
        verbose: None shows on stderr how far the fit is, if it takes more than two seconds: a bar in a
            terminal, a line in a notebook, a line every 30 s elsewhere. True writes the model's first words
            to stdout as well; False is quiet.

    Raises:
        DataError: the table cannot be read, or has no usable column, only one row or class, or missing or
            infinite targets.
        ConfigError: a setting, column or task is unknown, or settings contradict each other.

    >>> table = {"size": list(range(40)), "price": [2.0 * size for size in range(40)]}
    >>> model = fit(table, target="price", epochs=2)
    >>> sorted(model.score)
    ['mae', 'r2', 'rmse']
    """
    wanted = Wanted.make({name: value for name, value in locals().items() if name != "table"})
    table, wanted, aside = set_aside(table, wanted)
    shown = progress("training", after_s=SHOWN_AFTER_S, quiet=wanted.verbose is False)
    with read_rows(table, wanted) as rows, shown as after_epoch:
        plan = make_plan(rows, wanted)
        linear = fit_linear(plan, wanted.seed)
        trained = train_networks(
            plan,
            time_budget=wanted.seconds_to_train(),
            seed=wanted.seed,
            device=wanted.device,
            n_threads=wanted.n_threads,
            callbacks=[*wanted.callbacks, after_epoch],
        )
        findings = table_findings(rows, plan)
    model = assemble(wanted, plan, trained, select(plan, trained, linear))
    model.summary["findings"] = findings
    if aside is not None:
        model = model.conformalize(aside)
    if wanted.verbose:
        sys.stdout.write(f"{model}\n")
    return model


def assemble(wanted: Wanted, plan: Plan, trained: Trained, selected: Selected) -> Model:
    """The model of the selected networks; their predictions of validation rows settle what is left open."""
    code, weight = plan.to_score.code[selected.rows], plan.to_score.weights_of(selected.rows)
    task, prediction = plan.task.settle(code, selected.prediction, weight)
    selected = replace(selected, prediction=prediction)
    summary = summarise(wanted, plan, trained, selected, task)
    if wanted.baselines and wanted.time_budget is None and not summary["interrupted"]:
        summary["comparison"] = compare(plan, selected, task, wanted.seed)
    model = Model(
        target=plan.facts.target,
        task=task,
        encoder=plan.encoder,
        config=plan.network,
        networks=selected.networks,
        histories=trained.histories,
        summary=summary,
        dropped=plan.facts.dropped,
        weights=selected.weights,
        notation=wanted.notation,
        exposure=plan.facts.exposure,
        statistics=statistics(plan, selected, task, by_kernels=trained.by_kernels),
        linear=None if selected.linear is None else selected.linear.config,
    )
    if (evidence := evidence_of(plan, selected, task)) is not None:
        vars(model)["evidence"] = evidence  # of this process, for `Model.report`; no part of the model
    return model
