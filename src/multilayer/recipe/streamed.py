"""`fit` on a table larger than memory: encoder from a sample, training in chunks of the shuffled rows."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer import streaming
from multilayer.errors import ConfigError, DataError
from multilayer.model import Model, marks, network_inputs
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
    read_target,
    refuse_a_class_a_row,
    weight_of,
)
from multilayer.recipe.design import monotone_directions, network_config
from multilayer.recipe.members import train_members
from multilayer.recipe.summary import fit_times, summarise, time_sentences
from multilayer.table.convert import distinct_texts
from multilayer.table.names import column_name
from multilayer.table.notation import Notation
from multilayer.table.read import Table
from multilayer.table.sketch import Sketch
from multilayer.table.stream import Aside
from multilayer.training.classification import loss_weight
from multilayer.training.loop import Callback
from multilayer.training.task import Task

DEFAULT_SHARE = 0.1  # of the rows, to validate on


@dataclass(frozen=True)
class Asked:
    """The arguments of `fit` that a streamed fit takes, checked.

    settings, network_settings: as `with_settings` and `with_network` take them
    """

    roles: streaming.Roles
    declared: Declared
    notation: Notation
    kind: str | None
    aims: Mapping[str, Any]
    class_weight: Any
    monotone: Mapping[str, Any]
    quality: str
    settings: Sequence[Any]
    network_settings: Sequence[Any]

    @classmethod
    def of(
        cls,
        target: Any,
        y: Any,
        drop: Iterable[Hashable],
        groups: str | None,
        time: str | None,
        sample_weight: Any,
        validation: Any,
        exposure: Any,
        network: str,
        notation: Notation,
        declared: Declared,
        drop_missing_target: bool,
        **more: Any,
    ) -> "Asked":
        """From the arguments of `fit`.

        Raises:
            ConfigError: what only a table in memory can have, or columns with two roles.
        """
        target = target[0] if isinstance(target, list | tuple) and len(target) == 1 else target
        _refuse_unstreamed(target, y, sample_weight, validation, exposure, network, notation)
        if drop_missing_target:
            raise ConfigError(
                "rows without a target are not left out of a table that is streamed; remove them from its "
                "files, "
                "or leave memory= out and give the table room."
            )
        if groups is not None and time is not None:
            raise ConfigError("split by groups or by time, not by both.")
        dropped = [column_name(name) for name in ([drop] if isinstance(drop, str) else drop)]
        weight = None if sample_weight is None else column_name(sample_weight)
        target, not_features = column_name(target), [*dropped, *filter(None, (groups, weight))]
        declared.check_targets([target])
        if target in not_features:
            raise ConfigError(f"the target {target!r} cannot be dropped, or be groups or weights.")
        share = None if validation is None else float(validation)
        aside = None
        if groups is not None:
            aside = Aside("groups", groups, share or DEFAULT_SHARE)
        elif time is not None:
            aside = Aside("time", time, share or DEFAULT_SHARE)
        columns = tuple(dict.fromkeys(not_features))
        roles = streaming.Roles(
            target, columns, weight, aside, share, declared.kinds, declared.schema, declared.infinite
        )
        return cls(roles, declared, notation, **more)

    def config(self, n_rows: int, n_columns: int, task: Task, directions: Mapping[str, int]) -> Config:
        """How to train on so many rows: epochs are passes over them."""
        base = base_config("default", self.quality, n_rows, n_columns, task, directions)
        base = replace(base, epochs=streaming.n_passes(n_rows, base.epochs))
        return with_network(with_settings(base, *self.settings), *self.network_settings)


def _refuse_unstreamed(
    target: Any, y: Any, sample_weight: Any, validation: Any, exposure: Any, network: str, notation: Notation
) -> None:
    """ConfigError for what a table that is streamed cannot have."""
    out = "or leave memory= out and give the table room"
    if y is not None or target is None:
        raise ConfigError(
            f"a table that is streamed must hold the target; pass its name as target=, not y=, {out}."
        )
    if isinstance(target, list | tuple):
        raise ConfigError(f"a table that is streamed has one target; fit a model for each, {out}.")
    if sample_weight is not None and not isinstance(sample_weight, str):
        raise ConfigError(f"the weights of a table that is streamed must be a column; pass its name, {out}.")
    if validation is not None and not isinstance(validation, int | float | np.number):
        raise ConfigError(
            f"a table that is streamed validates on a share of its rows; pass such as 0.1, {out}."
        )
    if validation is not None and not 0 < validation < 1:
        raise ConfigError(f"The validation fraction must lie between 0 and 1; got {validation}. Try 0.1.")
    if exposure is not None:
        raise ConfigError(
            f"a table that is streamed has no exposure; predict the rate, weighted by the exposure, {out}."
        )
    if network != "default":
        raise ConfigError(f"network={network!r} needs its table in memory; take the default, {out}.")
    if notation.thousands is not None:
        raise ConfigError(
            f"thousands= is not read when a table is streamed; write its numbers without, {out}."
        )


def fit_streamed(
    budget: streaming.Budget,
    asked: Asked,
    started: float,
    time_budget: Real | None,
    *,
    seed: int,
    device: str | None,
    n_threads: Whole | None,
    callbacks: Sequence[Callback],
) -> Model:
    """`fit`, the rows of which are never all in memory.

    started: as `time.perf_counter` had it
    """
    roles, guessed = asked.roles, asked.kind is None and not any(_aims_at_numbers(asked))
    with streaming.opened(budget, roles, seed) as stream:
        _refuse_text_of_numbers(roles.target, stream.sample[roles.target], asked)
        task, distinct = stream.task(asked.kind, **asked.aims)
        if guessed:
            asked.declared.check_targets([roles.target], task.kind)
        check_settings(task, asked.class_weight, has_exposure=False)
        schema = stream.schema()
        features = Table({name: stream.sample[name] for name in stream.features})
        data = Data(features, stream.sample[roles.target], None, roles.target, dropped=roles.dropped)
        directions = monotone_directions(asked.monotone, data, schema, task)
        config = asked.config(stream.n_train, len(schema.columns), task, directions)
        encoder, batch = stream.encoder(schema, task, TARGET_FOLDS if config.target_statistics else None)
        network = network_config(encoder, batch, task, config, directions)
        code, code_weight = stream.class_counts(task)
        factors = class_factors(task, asked.class_weight, code, code_weight)
        seen = Sketch.of(marks(encoder, network_inputs(batch), task.encode(stream.sample[roles.target])))
        n_outputs = config.members * (config.snapshots + 2)
        valid, chunks = stream.divide(
            encoder, task, batch, config.batch_size, n_outputs, config.epochs, factors
        )
        config = replace(config, epochs=chunks.n_epochs, patience=config.patience * chunks.n_chunks)
        to_score: Rows = (valid.x, valid.code, valid.weight)
        held = (valid.x, valid.code, loss_weight(factors, valid.code, valid.weight))
        del data, features, batch
        with chunks:
            first = chunks.take()
            nets, histories, snapshots = train_members(
                network,
                config,
                task,
                (first.x, first.code, first.weight),
                held,
                None,
                time_budget=seconds_left(time_budget, started),
                seed=seed,
                device=device,
                n_threads=n_threads,
                callbacks=callbacks,
                more_rows=chunks,
            )
        said = stream.sentences(chunks, len(valid.code))
    by_kernels = histories[0].engine == "kernels"
    chosen = choose(nets, histories, snapshots, config, task, held, None, by_kernels=by_kernels)
    task, prediction = task.settle(
        valid.code[chosen.rows], chosen.prediction, weight_of(to_score, chosen.rows)
    )
    chosen = replace(chosen, prediction=prediction)
    model = Model(
        roles.target,
        task,
        encoder,
        network,
        chosen.networks,
        histories,
        dropped=roles.dropped,
        weights=chosen.weights,
        notation=asked.notation,
    )
    shown = Data(Table({roles.target: distinct}), distinct, None, roles.target, dropped=roles.dropped)
    parts = Parts(replace(shown, weight=code_weight), shown, "")
    model.summary = summarise(
        model, shown, parts, config, chosen, code, to_score, factors, guessed, directions
    ) | {"seed": seed, "times": fit_times(started)}
    seen = replace(seen, part=stream.n_sample / stream.n_train)
    model.summary["trained_on"] = seen.to_json()
    model.summary["rows"] = {"train": stream.n_train, "validation": len(valid.code)}
    model.summary["decisions"] = [
        sentence
        for decision in model.summary["decisions"]
        for sentence in (said if decision.startswith("rows: ") else [decision])
    ]
    budget_s = None if time_budget is None else float(time_budget)
    model.summary["decisions"] += time_sentences(started, budget_s)
    return model


def _refuse_text_of_numbers(name: str, y: NDArray[Any], asked: Asked) -> None:
    """DataError for a target of text that would be numbers in memory, or of which each row is a class."""
    task = "regression" if any(_aims_at_numbers(asked)) else asked.kind
    if y.dtype == object and read_target(y, task, beside=False).values.dtype != object:
        raise DataError(
            f"The target of a table that is streamed must be numbers without units, separators or odd cells; "
            f"{name!r} holds text such as {distinct_texts(y)[0]!r}. Write it as numbers, leave memory= out "
            "and give the table room, or say task='multiclass' if they are labels."
        )
    refuse_a_class_a_row(name, y)


def _aims_at_numbers(asked: Asked) -> list[bool]:
    return [asked.aims["objective"] is not None, asked.aims["quantiles"] is not None]
