"""The rows of a table larger than memory: the encoder from a sample, training in chunks of shuffled rows."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError
from multilayer.model.model import marks
from multilayer.model.table_model import network_inputs
from multilayer.recipe.chunks import Budget, Roles, Stream, n_passes, opened
from multilayer.recipe.config import Config
from multilayer.recipe.data import read_target, refuse_a_class_a_row
from multilayer.recipe.networks import NETWORKS, network_config
from multilayer.recipe.plan import Facts, Plan, Rows, class_factors
from multilayer.recipe.split_rows import TARGET_FOLDS
from multilayer.recipe.training_facts import training_facts
from multilayer.recipe.wanted import Wanted
from multilayer.table.cells import distinct_texts
from multilayer.table.copy_to_disk import Aside
from multilayer.table.schema import Schema
from multilayer.table.sketch import Sketch
from multilayer.table.sources.names import column_name
from multilayer.table.sources.read import Table
from multilayer.tasks.make import guess_kind
from multilayer.tasks.task import Task

DEFAULT_SHARE = 0.1  # of the rows, to validate on


class Streamed(Rows):
    """A table on a disk, whose rows come in chunks. Files of its own are there until `stack` is closed."""

    def __init__(self, stream: Stream, wanted: Wanted, stack: ExitStack) -> None:
        self.stream, self.wanted, self.stack = stream, wanted, stack
        self.guess = ""

    @property
    def features(self) -> Table:
        """The columns to learn from, of a sample."""
        return Table({name: self.stream.sample[name] for name in self.stream.features})

    @property
    def n_rows(self) -> int:
        """Rows to train on."""
        return self.stream.n_train

    def task_and_schema(self) -> tuple[Task, Schema]:
        """What target and columns are, of all rows."""
        target, wanted = self.stream.roles.target, self.wanted
        _refuse_text_of_numbers(target, self.stream.sample[target], wanted)
        task, distinct = self.stream.task(wanted.task, **wanted.aims)
        if wanted.guesses_task:
            wanted.declared.check_targets([target], task.kind)
            self.guess = guess_kind(distinct)[1]
        return task, self.stream.schema()

    def adapted(self, config: Config) -> Config:
        """Epochs are passes over the rows, of which many rows need fewer."""
        return replace(config, epochs=n_passes(self.n_rows, config.epochs))

    def plan(self, task: Task, schema: Schema, config: Config, monotone: Mapping[str, int]) -> Plan:
        """Learn the encoder on the sample, encode the rows to validate on, and begin to make chunks."""
        stream, wanted = self.stream, self.wanted
        encoder, batch = stream.encoder(schema, task, TARGET_FOLDS if config.target_statistics else None)
        network = network_config(encoder, batch, task, config, monotone)
        code, weight = stream.class_counts(task)
        factors = class_factors(task, wanted.class_weight, code, weight)
        sample_code = task.encode(stream.sample[stream.roles.target])
        x = network_inputs(batch)
        seen = Sketch.of(marks(encoder, x, sample_code))
        known = training_facts(self.features, encoder, x, stream.weight(stream.sample), stream.n_train)
        del x
        n_outputs = config.members * (config.snapshots + 2)
        valid, chunks = stream.divide(
            encoder, task, batch, config.batch_size, n_outputs, config.epochs, factors
        )
        del batch  # it may be large, and the first chunk comes into memory below
        self.stack.enter_context(chunks)
        return Plan(
            task=task,
            encoder=encoder,
            config=replace(config, epochs=chunks.n_epochs, patience=config.patience * chunks.n_chunks),
            network=network,
            monotone=monotone,
            train=chunks.take(),
            validation=valid.for_loss(factors),
            to_score=valid,
            folds=None,
            all_rows=(code, weight),
            class_factors=factors,
            seen=replace(seen, part=stream.n_sample / stream.n_train),
            facts=Facts(
                target=stream.roles.target,
                guess=self.guess,
                n_train=stream.n_train,
                n_valid=len(valid),
                dropped=stream.roles.dropped,
                **stream.in_words(chunks, len(valid)),
            ),
            known=known,
            next_rows=chunks,
        )


@contextmanager
def streamed(budget: Budget, wanted: Wanted) -> Iterator[Streamed]:
    """The table shuffled on a disk, for the length of the block.

    Raises:
        ConfigError: what only a table in memory can have, or columns with two roles.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(opened(budget, _roles(wanted), wanted.seed))
        yield Streamed(stream, wanted, stack)


def _roles(wanted: Wanted) -> Roles:
    """What columns are for."""
    target = wanted.target
    target = target[0] if isinstance(target, list | tuple) and len(target) == 1 else target
    _refuse_unstreamed(target, wanted)
    if wanted.groups is not None and wanted.time is not None:
        raise ConfigError("split by groups or by time, not by both.")
    weight = None if wanted.sample_weight is None else column_name(wanted.sample_weight)
    target, not_features = column_name(target), [*wanted.drop, *filter(None, (wanted.groups, weight))]
    wanted.declared.check_targets([target])
    if target in not_features:
        raise ConfigError(f"the target {target!r} cannot be dropped, or be groups or weights.")
    share = None if wanted.validation is None else float(wanted.validation)
    aside = None
    if wanted.groups is not None:
        aside = Aside("groups", wanted.groups, share or DEFAULT_SHARE)
    elif wanted.time is not None:
        aside = Aside("time", wanted.time, share or DEFAULT_SHARE)
    declared = wanted.declared
    columns = tuple(dict.fromkeys(not_features))
    return Roles(target, columns, weight, aside, share, declared.kinds, declared.schema, declared.infinite)


def _refuse_unstreamed(target: Any, wanted: Wanted) -> None:
    """ConfigError for what a table that is streamed cannot have."""
    out = "or leave memory= out and give the table room"
    weight, validation = wanted.sample_weight, wanted.validation
    if wanted.y is not None or target is None:
        raise ConfigError(
            f"a table that is streamed must hold the target; pass its name as target=, not y=, {out}."
        )
    if isinstance(target, list | tuple):
        raise ConfigError(f"a table that is streamed has one target; fit a model for each, {out}.")
    if weight is not None and not isinstance(weight, str):
        raise ConfigError(f"the weights of a table that is streamed must be a column; pass its name, {out}.")
    if validation is not None and not isinstance(validation, int | float | np.number):
        raise ConfigError(
            f"a table that is streamed validates on a share of its rows; pass for example 0.1, {out}."
        )
    if validation is not None and not 0 < validation < 1:
        raise ConfigError(f"The validation fraction must lie between 0 and 1; got {validation}. Try 0.1.")
    if wanted.exposure is not None:
        raise ConfigError(
            f"a table that is streamed has no exposure; predict the rate, weighted by the exposure, {out}."
        )
    if not NETWORKS[wanted.network].is_streamed:
        raise ConfigError(f"network={wanted.network!r} needs its table in memory; take the default, {out}.")
    if wanted.notation.thousands is not None:
        raise ConfigError(
            f"thousands= is not read when a table is streamed; write its numbers without, {out}."
        )
    if wanted.drop_missing_target:
        raise ConfigError(
            "rows without a target are not left out of a table that is streamed; remove them from its files, "
            "or leave memory= out and give the table room."
        )


def _refuse_text_of_numbers(name: str, y: NDArray[Any], wanted: Wanted) -> None:
    """DataError for a target of text that would be numbers in memory, or of which each row is a class."""
    task = "regression" if wanted.aims_at_numbers else wanted.task
    if y.dtype == object and read_target(y, task, beside=False).values.dtype != object:
        raise DataError(
            f"The target of a table that is streamed must be numbers without units, separators or odd cells; "
            f"{name!r} holds text such as {distinct_texts(y)[0]!r}. Write it as numbers, leave memory= out "
            "and give the table room, or say task='multiclass' if they are labels."
        )
    refuse_a_class_a_row(name, y)
