"""All that is decided before networks train."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, nearest
from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.config import Config, Whole
from multilayer.recipe.data import Data, require
from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.recipe.networks import NETWORKS
from multilayer.recipe.networks.network import Shape
from multilayer.recipe.training_facts import TrainingFacts
from multilayer.recipe.wanted import Wanted
from multilayer.table.encode import Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.schema import Schema
from multilayer.table.sketch import Sketch
from multilayer.table.sources.read import Table
from multilayer.tasks.classification import Classification
from multilayer.tasks.task import Task

DIRECTIONS: Mapping[str, int] = {"increasing": 1, "1": 1, "+1": 1, "decreasing": -1, "-1": -1}


@dataclass(frozen=True)
class Facts:
    """What a summary tells of the rows, and a model keeps of them.

    target:   name of the target, or of each
    guess:    why the target is of its kind, in words
    remarks:  what was done in reading, in words
    n_train:  rows to train on
    n_valid:  rows to validate on; None with folds, as all rows are
    split:    how rows were divided, in words
    repeats:  what became of equal rows, in words
    memory:   why the table is streamed, in words; nothing where it is not
    dropped:  columns that were left out as asked
    is_rate:  whether the target is per unit of exposure
    exposure: the exposure's column, where it is one
    units:    name of a target of text -> the unit of its numbers
    """

    target: str | tuple[str, ...]
    guess: str
    n_train: int
    n_valid: int | None
    split: str
    repeats: str
    dropped: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    memory: str = ""
    is_rate: bool = False
    exposure: str | None = None
    units: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Plan:
    """What is trained on what, and how.

    network:    the architecture
    monotone:   column name -> 1 or -1, of columns with a constraint
    train:      rows to train on, of a stream the first of its chunks; weights as the loss counts them
    validation: rows to validate on, with folds the training rows; weights as the loss counts them
    to_score:   the same rows; weights as scores count them
    folds:      the fold of each row, which some networks hold out; None: all validate on the same rows
    all_rows:   codes of the target and their weights, whose shares are those of all training rows
    class_factors: what rows of each class weigh in the loss, from class weights
    next_rows:  gives the rows of the next epoch, where the table is streamed
    seen:       which rows were trained on
    held:       rows to validate on, as they came; None where the table is streamed
    known:      what the model keeps of the training rows
    is_sure:    whether the rows say all that there is to learn: no network has learnt too much at the end
    """

    task: Task
    encoder: Encoder
    config: Config
    network: NetworkConfig
    monotone: Mapping[str, int]
    train: EncodedRows
    validation: EncodedRows
    to_score: EncodedRows
    folds: NDArray[np.int64] | None
    all_rows: tuple[NDArray[np.generic], NDArray[np.floating[Any]] | None]
    class_factors: NDArray[np.float64] | None
    seen: Sketch
    facts: Facts
    known: TrainingFacts
    held: Data | None = None
    next_rows: Callable[[], Sequence[Any]] | None = None
    is_sure: bool = False


class Rows(ABC):
    """The rows of a table, in memory (`InMemory`) or streamed from a disk (`Streamed`)."""

    @property
    @abstractmethod
    def features(self) -> Table:
        """The columns to learn from, of all rows or of a sample."""

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Rows, of a stream those to train on."""

    @abstractmethod
    def task_and_schema(self) -> tuple[Task, Schema]:
        """What the target and the columns are."""

    @abstractmethod
    def adapted(self, config: Config) -> Config:
        """The settings of a recipe for as many epochs as these rows want."""

    @abstractmethod
    def plan(self, task: Task, schema: Schema, config: Config, monotone: Mapping[str, int]) -> Plan:
        """Divide and encode the rows."""


def make_plan(rows: Rows, wanted: Wanted) -> Plan:
    """Decide on task, schema, settings; divide and encode the rows.

    Raises:
        DataError: what the target or a column holds cannot be learnt.
        ConfigError: settings that do not go with the task or with each other.
    """
    task, schema = rows.task_and_schema()
    _check_weights_and_exposure(task, wanted)
    monotone = monotone_directions(wanted.monotone, rows.features, schema, task)
    shape = Shape(rows.n_rows, len(schema.columns), task, monotone)
    base = NETWORKS[wanted.network].config(shape, wanted.quality)
    config = wanted.overrides.of(rows.adapted(base))
    return rows.plan(task, schema, config, monotone)


def _check_weights_and_exposure(task: Task, wanted: Wanted) -> None:
    """Refuse class weights and exposures that do not go with the task."""
    if wanted.class_weight is not None and not isinstance(task, Classification):
        raise ConfigError(
            f"class_weight is for one target of classes; the task is {task.kind}. Leave it out."
        )
    if wanted.exposure is not None and not task.takes_exposure:
        raise ConfigError(
            "exposure is for the objectives 'poisson', 'gamma' and 'tweedie'. Choose one of them, or leave "
            "the exposure out."
        )


def class_factors(
    task: Task, class_weight: Any, code: NDArray[np.generic], weight: NDArray[Any] | None
) -> NDArray[np.float64] | None:
    """What the rows of each class weigh beside their own weights; None where all weigh alike."""
    if class_weight is None or not isinstance(task, Classification):
        return None
    return task.class_factors(class_weight, code, weight)


def monotone_directions(
    monotone: Mapping[str, str | Whole], features: Table, schema: Schema, task: Task
) -> dict[str, int]:
    """Column name -> 1 or -1, of the columns that the model uses."""
    require(features, list(monotone))
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
        if name in schema.names and not kind_of(schema[name]).has_numbers:
            raise ConfigError(
                f"monotone needs values with an order: numbers, booleans, dates; {name!r} is of kind "
                f"{schema[name].kind}. Leave it out, or give its levels as numbers."
            )
    return {name: DIRECTIONS[str(way)] for name, way in monotone.items() if name in schema.names}
