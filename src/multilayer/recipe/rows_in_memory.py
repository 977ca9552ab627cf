"""The rows of a table that is in memory."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import MultilayerError
from multilayer.model.model import marks
from multilayer.model.table_model import network_inputs
from multilayer.recipe.config import Config
from multilayer.recipe.data import Data
from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.recipe.networks import NETWORKS, network_config
from multilayer.recipe.plan import Facts, Plan, Rows, class_factors
from multilayer.recipe.split_rows import TARGET_FOLDS, Parts, split_rows, target_folds
from multilayer.recipe.training_facts import training_facts
from multilayer.recipe.wanted import Wanted
from multilayer.table.encode import Batch, Encoder
from multilayer.table.schema import Schema
from multilayer.table.sketch import Sketch
from multilayer.table.sources.read import Table
from multilayer.tasks.make import guess_kind, make_task
from multilayer.tasks.task import Task


class InMemory(Rows):
    """A table that is in memory; equal rows are merged.

    Args:
        table: anything that `read_table` takes.
    """

    def __init__(self, table: Any, wanted: Wanted) -> None:
        self.wanted = wanted
        task = "regression" if wanted.aims_at_numbers else wanted.task
        given = Data.read(table, wanted).with_numbers(task, drop_missing=wanted.drop_missing_target)
        self.data = given.by_content()
        self._given: Data | None = given

    @property
    def features(self) -> Table:
        """The columns to learn from."""
        return self.data.features

    @property
    def n_rows(self) -> int:
        """Distinct rows."""
        return self.data.n_rows

    def task_and_schema(self) -> tuple[Task, Schema]:
        """What target and columns are; errors name the rows as they were given."""
        given, self._given = self._given, None  # a table from a file need not be in memory twice
        try:
            task, schema = self._task_of(self.data), self._schema_of(self.data)
        except MultilayerError:
            if given is not None:
                self._task_of(given)
                self._schema_of(given)
            raise
        if self.wanted.guesses_task and not self.data.beside:
            self.wanted.declared.check_targets(self.data.targets, task.kind)
        return task, schema

    def _task_of(self, data: Data) -> Task:
        return make_task(data.y, self.wanted.task, **self.wanted.aims, weight=data.weight)

    def _schema_of(self, data: Data) -> Schema:
        return self.wanted.declared.schema_of(data.features, (*data.targets, *data.dropped))

    def adapted(self, config: Config) -> Config:
        """An epoch is a pass over the rows, as recipes have it."""
        return config

    def plan(self, task: Task, schema: Schema, config: Config, monotone: Mapping[str, int]) -> Plan:
        """Divide the rows, learn the encoder on the training rows, encode all."""
        data, wanted = self.data, self.wanted
        n_folding = config.members if NETWORKS[config.network].has_folds else 1
        parts = split_rows(data, task, wanted.validation, wanted.groups, wanted.time, wanted.seed, n_folding)
        if parts.valid is not None and parts.how == "as given":
            parts = replace(parts, valid=parts.valid.as_learnt(schema))
        task = task.in_units_of(parts.train.y, parts.train.weight)
        code = task.encode(parts.train.y)
        encoder, batch = _encode(schema, parts, code, wanted.seed, with_target=config.target_statistics)
        factors = class_factors(task, wanted.class_weight, code, parts.train.weight)
        train = to_score = EncodedRows(network_inputs(batch), code, parts.train.weight)
        if parts.valid is not None:
            x = network_inputs(encoder.transform(parts.valid.features))
            to_score = EncodedRows.by_content(x, task.encode(parts.valid.y), parts.valid.weight)
        return Plan(
            task=task,
            encoder=encoder,
            config=config,
            network=network_config(encoder, batch, task, config, monotone),
            monotone=monotone,
            train=train.for_loss(factors),
            validation=to_score.for_loss(factors),
            to_score=to_score,
            folds=parts.folds,
            all_rows=(code, parts.train.weight),
            class_factors=factors,
            seen=Sketch.of(marks(encoder, train.x, code), repeats=parts.train.share_repeated),
            facts=_facts(data, parts, guesses=wanted.guesses_task),
            known=training_facts(
                parts.train.features, encoder, train.x, parts.train.weight, parts.train.n_rows
            ),
            held=parts.train if parts.valid is None else parts.valid,
            is_sure=data.is_sure,
        )


def _encode(
    schema: Schema, parts: Parts, code: NDArray[np.generic], seed: int, *, with_target: bool
) -> tuple[Encoder, Batch]:
    """The encoder, learnt on the training rows, and what it makes of them."""
    train = parts.train
    encoder = Encoder.fit(train.features, schema, train.weight)
    batch = encoder.transform(train.features)
    if not with_target or train.n_rows < TARGET_FOLDS:
        return encoder, batch
    return encoder.learn_target(batch, code.astype(np.float64), train.weight, target_folds(parts, seed))


def _facts(data: Data, parts: Parts, *, guesses: bool) -> Facts:
    return Facts(
        target=data.target,
        guess=guess_kind(data.y)[1] if guesses else "",
        n_train=parts.train.n_rows,
        n_valid=None if parts.valid is None else parts.valid.n_rows,
        split=parts.how,
        repeats=parts.train.repeats,
        dropped=data.dropped,
        remarks=data.remarks,
        is_rate=data.is_rate,
        exposure=data.exposure,
        units=dict(data.units),
    )
