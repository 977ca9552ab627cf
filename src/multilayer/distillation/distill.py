"""`distill`: a small network learns from what a larger model says."""

import time
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.distillation.distilled import Distilled, Judged
from multilayer.distillation.near_rows import near_rows
from multilayer.distillation.teachers import OfEstimator, OfModel, Teacher
from multilayer.errors import ConfigError, DataError, warn
from multilayer.model.model import Model
from multilayer.recipe.fit import fit
from multilayer.table.encode import Encoder
from multilayer.table.kinds.kind import Coder
from multilayer.table.kinds.number import Number
from multilayer.table.schema import Schema, infer_schema
from multilayer.table.sources.read import Table, read_table
from multilayer.table.split import folds as folds_of
from multilayer.tasks.classification import Classification
from multilayer.tasks.make import make_task
from multilayer.tasks.regression import Quantiles
from multilayer.tasks.task import Task

SOFT = 0.7  # share of the teacher's probability in the label of a training row; the rest is its own label
FOLDS = 4  # of training rows: a teacher for each, which has not seen its rows
TEST = 5  # one row in so many judges
VALIDATION = 8  # by one of so many of the others the students' epochs are chosen
MOST_ROWS = 100_000  # training rows, and rows made of them
FEWEST_ROWS = 100
LEAST_WEIGHT = 1e-3  # of a class in a row: less is left out
MOST_KNOTS = 65  # of a column's rank
TIMED = 15  # predictions of a row

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows without the target, their labels, and these as codes or numbers."""

    table: Table
    y: NDArray[Any]
    code: NDArray[Any]

    def take(self, rows: NDArray[np.int64]) -> "_Rows":
        return _Rows(self.table.take(rows), self.y[rows], self.code[rows])


def distill(
    teacher: Any,
    table: Any,
    *,
    target: Hashable = None,
    hidden: int | tuple[int, ...] = 32,
    augment: int = 5,
    refit: bool = True,
    epochs: int | None = None,
    seed: int = 0,
) -> Distilled:
    """Train one small network to say what a larger model says.

    A fifth of the rows is kept aside, and judges. The others are divided into four folds, and the teacher is
    fitted anew without each of them, so that its probabilities for a row never come from a model that has
    seen the row's label. The student learns from these probabilities, mixed with the labels, and from five
    times as many rows, put together of cells of near rows, which a teacher of all training rows has labelled.
    The same network is trained on the labels alone, beside it: the difference is what the teacher is worth.

    Label of a training row: 0.7 teacher + 0.3 own label; of classes, a row for each with that weight.

    Source:  Bucila et al. 2006, "Model compression"; Hinton et al. 2015, arXiv:1503.02531; Fakoor et al.
             2020, arXiv:2006.14284 (more rows)

    Args:
        teacher: a `Model`; an estimator of scikit-learn or with its methods, such as boosted trees, which
            gets frames of pandas; or anything with `predict_proba` or, of numbers, `predict`.
        table: the rows, with the target: anything that `read_table` takes.
        target: its name; None takes the model's.
        hidden: widths of the student's hidden layers.
        augment: rows made of each training row; up to 100,000 rows in all.
        refit: fit the teacher anew on folds. False asks it as it is: for rows that it was not fitted on, or a
            teacher that cannot be fitted; on rows that it has seen it is too sure, and its score too good.
        epochs: of the students; None as `fit` decides.
        seed: for divisions, rows made, and students.

    Raises:
        ConfigError: a teacher of several targets, quantiles or an exposure; or that has no such method.
        DataError: fewer than 100 rows, or as `fit`.

    >>> import multilayer as ml
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> table = {"a": x[:, 0], "b": x[:, 1], "y": np.where(x[:, 0] * x[:, 1] > 0, "p", "n")}
    >>> model = ml.fit(table, target="y", members=2, epochs=2, seed=0)
    >>> found = ml.distill(model, table, hidden=8, epochs=2, augment=1)
    >>> list(found.judged), found.n_test
    (['teacher', 'student', 'plain student'], 40)
    """
    if isinstance(augment, bool) or not 0 <= augment <= 100:
        raise ConfigError(f"augment must be a whole number from 0 to 100; got {augment!r}.")
    name = _target_name(teacher, target)
    rows, task, schema = _read(teacher, table, name)
    stratify = rows.code if task.classes else None
    part = folds_of(len(rows.y), TEST, seed=seed, stratify=stratify)
    train, test = rows.take(np.flatnonzero(part != 0)), rows.take(np.flatnonzero(part == 0))
    made: Teacher = OfModel(teacher) if isinstance(teacher, Model) else OfEstimator(teacher, task.classes)
    made, soft = _labels(made, train, task, refit=refit, seed=seed)
    student = _Student(task, name, schema, hidden, epochs, seed)
    valid = folds_of(len(train.y), VALIDATION, seed=seed, stratify=train.code if task.classes else None) == 0
    learnt, held = np.flatnonzero(~valid), np.flatnonzero(valid)
    own = _of_codes(task, train.code)
    mixed = SOFT * soft + (1 - SOFT) * own
    times = min(augment, max(0, MOST_ROWS // max(1, len(learnt)) - 1))
    tables, labels = [train.table.take(learnt)], [mixed[learnt]]
    if times:
        encoder = Encoder.fit(tables[0], schema)
        more = near_rows(tables[0], encoder, times, seed)
        tables.append(more)
        labels.append(made.predict(more))
    held_rows = train.table.take(held), own[held]
    fitted = student.fit(_joined(tables), np.concatenate(labels), *held_rows)
    plain = student.fit(tables[0], own[learnt], *held_rows)
    says = made.predict(test.table)
    judged = {
        "teacher": _judged(task, test, says, says, made.n_bytes, made),
        "student": _judged_model(task, test, says, fitted),
        "plain student": _judged_model(task, test, says, plain),
    }
    loss = "log_loss" if task.classes else "rmse"
    n_more = sum(each.n_rows for each in tables[1:])
    return Distilled(fitted, plain, judged, loss, len(train.y), n_more, len(test.y))


def _target_name(teacher: Any, target: Hashable) -> str:
    if isinstance(teacher, Model):
        task = teacher.task
        if len(teacher.targets) > 1 or isinstance(task, Quantiles) or teacher.exposure is not None:
            raise ConfigError(
                "a student has one target, of classes or numbers; this model has several, quantiles or an "
                f"exposure ({task.in_words}). Distil a model of one."
            )
        if target is not None and str(target) != teacher.target:
            raise ConfigError(f"the model predicts {teacher.target!r}; got target={target!r}. Leave it out.")
        return str(teacher.target)
    if target is None:
        raise ConfigError("target must be named, as this teacher does not tell it. Pass target=.")
    return str(target)


def _read(teacher: Any, table: Any, name: str) -> tuple[_Rows, Task, Schema]:
    read = read_table(table)
    if name not in read.names:
        raise DataError(f"the table must hold the target {name!r}; its columns are {', '.join(read.names)}.")
    if read.n_rows < FEWEST_ROWS:
        raise DataError(
            f"distillation needs at least {FEWEST_ROWS} rows, to divide them; got {read.n_rows}. Use fit."
        )
    y = read[name]
    features = read.select([column for column in read.names if column != name])
    if isinstance(teacher, Model):
        schema = teacher.schema
        features = features.select(schema.names)
        task = make_task(y, teacher.task.kind, objective=getattr(teacher.task, "objective", None))
    else:
        schema, task = infer_schema(features), make_task(y)
        features = features.select(schema.names)
    if not (isinstance(task, Classification) or task.kind == "regression"):
        raise ConfigError(f"a student has one target, of classes or numbers; this is {task.in_words}.")
    return _Rows(features, y, task.encode(y)), task, schema


def _labels(teacher: Teacher, train: _Rows, task: Task, *, refit: bool, seed: int) -> tuple[Teacher, Floats]:
    """A teacher that has seen no test rows, and what it says of training rows that it has not seen."""
    if not refit:
        return teacher, teacher.predict(train.table)
    stratify = train.code if task.classes else None
    fold = folds_of(len(train.y), FOLDS, seed=seed, stratify=stratify)
    soft = np.zeros(_of_codes(task, train.code).shape)
    for number in range(FOLDS):
        rest = train.take(np.flatnonzero(fold != number))
        other = teacher.refitted(rest.table, rest.y)
        if other is None:
            warn(
                "This teacher cannot be fitted anew, so it may have seen all rows: its labels are too sure, "
                "and its score here is too good. Distil on rows that it was not fitted on (refit=False)."
            )
            return teacher, teacher.predict(train.table)
        held = np.flatnonzero(fold == number)
        soft[held] = other.predict(train.table.take(held))
    of_all = teacher.refitted(train.table, train.y)
    assert of_all is not None
    return of_all, soft


def _of_codes(task: Task, code: NDArray[Any]) -> Floats:
    """Labels as a teacher gives them: (n_rows, n_classes) of 0 and 1, or numbers (n_rows,)."""
    return np.eye(len(task.classes))[code] if task.classes else np.asarray(code, np.float64)


def _joined(tables: list[Table]) -> Table:
    first = tables[0]
    columns = {name: np.concatenate([each[name] for each in tables]) for name in first.names}
    return replace(first, columns=columns)


@dataclass(frozen=True)
class _Student:
    """How both students are trained."""

    task: Task
    target: str
    schema: Schema
    hidden: int | tuple[int, ...]
    epochs: int | None
    seed: int

    def fit(self, table: Table, labels: Floats, valid: Table, valid_labels: Floats) -> Model:
        """One network, from probabilities or numbers."""
        weight = "weight"
        while weight in (*table.names, self.target):
            weight += "_"
        model = fit(
            self._rows(table, labels, weight),
            target=self.target,
            task=self.task.kind,
            objective=getattr(self.task, "objective", None) if self.task.kind == "regression" else None,
            schema=self.schema,
            sample_weight=weight,
            validation=self._rows(valid, valid_labels, weight),
            members=1,
            hidden=self.hidden,
            epochs=self.epochs,
            seed=self.seed,
            verbose=False,
        )
        return slim(model)

    def _rows(self, table: Table, labels: Floats, weight: str) -> Table:
        """A row for each class that it may be of, with its probability as weight."""
        if not self.task.classes:
            columns = {self.target: labels, weight: np.ones(len(labels))}
            return replace(table, columns={**table.columns, **columns})
        rows, classes = np.nonzero(labels > LEAST_WEIGHT)
        taken = table.take(rows)
        columns = {self.target: _as_column(self.task)[classes], weight: labels[rows, classes]}
        return replace(taken, columns={**taken.columns, **columns})


def _as_column(task: Task) -> NDArray[Any]:
    """The classes in the type of a column."""
    if any(isinstance(label, str) for label in task.classes):
        column = np.empty(len(task.classes), object)
        column[:] = list(task.classes)
        return column
    return np.array(task.classes)


def slim(model: Model) -> Model:
    """The model without what is kept for explanations, with up to 65 knots of each column's rank.

    Its file is a small part of the other's; ranks between knots lie on a line.
    """
    encoder = model.encoder
    coders = [_slim(coder) for coder in encoder.coders]
    return replace(model, encoder=Encoder(encoder.schema, coders, encoder.target_encoding), statistics=None)


def _slim(coder: Coder) -> Coder:
    if isinstance(coder, Number) and len(coder.knots) > MOST_KNOTS:
        kept = np.linspace(0, len(coder.knots) - 1, MOST_KNOTS).round().astype(np.int64)
        return replace(coder, knots=coder.knots[kept], places=coder.places[kept])
    inner = getattr(coder, "number", None)
    whole: Any = coder
    return replace(whole, number=_slim(inner)) if isinstance(inner, Number) else coder


def _judged_model(task: Task, test: _Rows, teacher_says: Floats, model: Model) -> Judged:
    own = OfModel(model)
    return _judged(task, test, own.predict(test.table), teacher_says, own.n_bytes, own)


def _judged(
    task: Task, test: _Rows, says: Floats, teacher_says: Floats, n_bytes: int | None, model: Teacher
) -> Judged:
    return Judged(task.score(test.code, says), _agreement(says, teacher_says), n_bytes, _row_ms(model, test))


def _agreement(says: Floats, teacher_says: Floats) -> float:
    if says.ndim == 2:
        return float((says.argmax(axis=1) == teacher_says.argmax(axis=1)).mean())
    spread = float(teacher_says.var())
    return 1 - float(((says - teacher_says) ** 2).mean()) / spread if spread else float("nan")


def _row_ms(model: Teacher, test: _Rows) -> float:
    """Of processor time, the median."""
    row = test.table.take(np.arange(1))
    model.predict(row)
    found = []
    for _ in range(TIMED):
        start = time.process_time()
        model.predict(row)
        found.append(time.process_time() - start)
    return 1000 * float(np.median(found))
