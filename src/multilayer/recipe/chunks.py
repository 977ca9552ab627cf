"""Fits on tables larger than memory: what fits where, and the training rows in chunks."""

import math
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, MultilayerError
from multilayer.machine import free_memory, n_cores
from multilayer.model.model import Model
from multilayer.model.table_model import network_inputs
from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.table.column import Infinite
from multilayer.table.copy_to_disk import Aside, store
from multilayer.table.encode import Batch, Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.on_disk import StoredTable
from multilayer.table.row_weights import wrong_weights
from multilayer.table.schema import Kinds, Schema
from multilayer.table.schema_on_disk import describe
from multilayer.table.sources.names import listed
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.read import Table
from multilayer.table.sources.streamable import Source, is_packed, is_path
from multilayer.table.split import folds
from multilayer.tasks.classification import Classification, loss_weight
from multilayer.tasks.make import guess_kind, make_task
from multilayer.tasks.task import Task

MB = 1_000_000
UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": MB, "GB": 1e9, "TB": 1e12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
BASE_MB = 550  # of a process with PyTorch, DuckDB and the kernels, before it holds any row
LEAST_MB = 750
CELL_BYTES = 50  # that a cell takes in a fit in memory, measured: the table, its encoding, parts of both
SHARE_OF_FREE = 0.5  # of the free memory that a fit may take where nothing is said
MOST_PACKED = 2_000  # bytes of memory that a byte of Parquet may become, without a look inside
VALIDATION_ROWS = 100_000
SAMPLE_ROWS = 200_000  # that scales, quantiles and target statistics are learnt from
CHUNK_ROWS = 500_000  # between two validations, where memory allows
FEWEST_ROWS = 100
PIECE_ROWS = 50_000  # that are raw in memory at a time
ROW_VISITS = 6_000_000  # passes are as many as make up these, at least one
MOST_CLASSES = 10_000


def parse_memory(memory: Any) -> int:
    """Bytes from a number of them or a text such as "1GiB" or "800 MB".

    Raises:
        ConfigError: it is neither, or too little to work with.

    >>> parse_memory("2GiB")
    2147483648
    """
    text = str(memory) if isinstance(memory, str | int | float | np.number) else "?"
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)(?:[eE]\+?(\d+))?\s*([KMGT]?I?B?)\s*", text.upper())
    unit = found[3] + ("B" if found[3] and not found[3].endswith("B") else "") if found else ""
    if found is None or unit not in UNITS:
        raise ConfigError(f"memory must be bytes, or a text such as '2GiB' or '800MB'; got {memory!r}.")
    n_bytes = int(float(found[1]) * 10 ** int(found[2] or 0) * UNITS[unit])
    if n_bytes < LEAST_MB * MB:
        raise ConfigError(
            f"memory must be at least {LEAST_MB} MB, as Python with PyTorch alone takes {BASE_MB}; "
            f"got {memory!r}."
        )
    return n_bytes


@dataclass(frozen=True)
class Budget:
    """How much memory a fit may take in all, and how it is shared out.

    n_bytes: of the whole process
    needed:  what a fit in memory would take
    given:   by the user; else it is a share of the free memory
    source:  the files to stream
    """

    n_bytes: int
    needed: int
    given: bool
    source: Source

    @property
    def room(self) -> int:
        """Bytes for rows."""
        return self.n_bytes - BASE_MB * MB

    @property
    def shuffle_mb(self) -> float:
        """For DuckDB while it shuffles, when no other rows are in memory."""
        return 0.8 * self.room / MB

    @property
    def reading_mb(self) -> float:
        """For DuckDB while networks train."""
        return min(500.0, 0.1 * self.room / MB)

    def sample_rows(self, n_columns: int) -> int:
        """Rows to learn the encoder from."""
        return int(min(SAMPLE_ROWS, max(5_000, 0.3 * self.room / (2 * CELL_BYTES * n_columns))))

    def piece_rows(self, n_columns: int) -> int:
        """Rows that are raw in memory at a time."""
        return int(min(PIECE_ROWS, max(500, 0.1 * self.room / (CELL_BYTES * n_columns))))

    def chunk_rows(self, d_in: int) -> int:
        """Encoded rows that networks train on at a time: two such chunks are in memory, one comes in."""
        bytes_a_row = 2 * (4 * d_in + 12) + d_in + 16 * n_cores() + 4
        return int(min(CHUNK_ROWS, 0.4 * self.room / bytes_a_row))

    def validation_rows(self, d_in: int, d_out: int, n_outputs: int) -> int:
        """Rows to validate on; so many of each row's outputs are kept."""
        bytes_a_row = 8 * d_in + 12 * d_out * (n_outputs + 2) + 16 * n_outputs
        return int(min(VALIDATION_ROWS, 0.2 * self.room / bytes_a_row))

    def sentence(self) -> str:
        """Why the table is streamed, in words."""
        gb = f"{self.n_bytes / 2**30:.2f} GiB"
        allowed = f"the limit is {gb}" if self.given else f"{SHARE_OF_FREE:.0%} of the free memory are {gb}"
        return f"a fit in memory would take about {self.needed / 2**30:.2f} GiB, and {allowed}"


def budget_for(
    source: Any, memory: Any, notation: Notation | None = None, query: str | None = None
) -> Budget | None:
    """The budget of a fit that has to stream its table; None if the table fits, or is in memory already.

    query: rows to take from the source: these are read into memory, however many they are

    Raises:
        ConfigError: memory is no size.
        DataError: there is no such file; a folder or pattern that stands for no table.
    """
    limit = None if memory is None else parse_memory(memory)
    if not is_path(source) or query is not None:
        return None
    if limit is None:
        free = free_memory()
        limit = None if free is None else max(int(SHARE_OF_FREE * free), LEAST_MB * MB)
    if limit is None or _is_small(source, limit):
        return None
    found = Source.find(source, notation)
    if found is None:
        return None
    needed = BASE_MB * MB + CELL_BYTES * found.n_rows * found.n_columns
    return Budget(limit, needed, memory is not None, found) if needed > limit else None


def _is_small(source: Any, limit: int) -> bool:
    """Whether a single file fits into so much memory without a look inside."""
    if not isinstance(source, str | Path):
        return False
    path = Path(source).expanduser()
    is_dense = path.name.lower().endswith((".parquet", ".pq")) or is_packed(path)
    packed = MOST_PACKED if is_dense else CELL_BYTES
    return path.is_file() and path.stat().st_size * packed < limit - BASE_MB * MB


@dataclass(frozen=True)
class Roles:
    """What columns are for, beside features, and what was declared about the features."""

    target: str
    dropped: tuple[str, ...]
    weight: str | None
    aside: Aside | None
    share: float | None  # of the rows to validate on, as asked
    kinds: Kinds | None = None
    declared: Schema | None = None
    infinite: Infinite = "error"

    @property
    def left_out(self) -> tuple[str, ...]:
        """Columns that the declared schema ignores."""
        return () if self.declared is None else tuple(self.declared.ignored)


class Stream:
    """A shuffled table on disk, and what a fit wants of it. Rows kept aside for validation come first."""

    def __init__(self, table: StoredTable, roles: Roles, budget: Budget, seed: int) -> None:
        self.table, self.roles, self.budget, self.seed = table, roles, budget, seed
        not_features = {roles.target, roles.weight}
        self.features = tuple(name for name in table.names if name not in not_features)
        if not self.features:
            raise DataError("fit needs at least one column beside the target; got none. Add or keep columns.")
        if table.nested:
            raise ConfigError(
                f"Columns of lists or dicts cannot be streamed; the table has {listed(table.nested)}. Leave "
                "them out (drop), make a column of each of their values, or leave memory= out."
            )
        if table.n_rows < FEWEST_ROWS:
            raise DataError(
                f"a table that is streamed needs at least {FEWEST_ROWS} rows that weigh something; "
                f"got {table.n_rows}. Leave memory= out, or give it more."
            )
        most = min(VALIDATION_ROWS, budget.chunk_rows(3 * len(self.features)) // 4)
        share = 0.1 if roles.share is None else roles.share
        self.n_aside = table.n_aside or max(1, min(most, round(share * table.n_rows)))
        self.first = self.n_aside  # of the training rows, and of the sample
        self._check_target_and_weights()
        self.n_sample = min(budget.sample_rows(len(table.names)), self.n_train)
        self.sample = table.rows(self.n_aside, self.n_aside + self.n_sample)

    @property
    def n_train(self) -> int:
        """Rows to train on."""
        return self.table.n_rows - self.first

    def _check_target_and_weights(self) -> None:
        facts = self.table.facts(self.roles.target)
        if facts.n_missing:
            raise DataError(
                f"every row needs a target; {facts.n_missing:,} of {self.table.n_rows:,} have none. "
                "Remove these rows."
            )
        if facts.n_infinite:
            raise DataError(
                f"the target must be finite; {facts.n_infinite:,} of {self.table.n_rows:,} rows hold "
                "infinite numbers. Remove or repair them."
            )
        if self.roles.weight is None:
            return
        facts = self.table.facts(self.roles.weight)
        strange = facts.n_missing or facts.n_infinite
        if self.table.is_text(self.roles.weight) or strange or facts.low < 0 or not facts.high > 0:
            raise wrong_weights(
                self.table.n_rows,
                f"{self.roles.weight!r}, from {facts.low} to {facts.high}, {facts.n_missing:,} missing",
            )

    def task(
        self,
        kind: str | None,
        objective: str | None = None,
        quantiles: Any = None,
        threshold: Any = None,
    ) -> tuple[Task, NDArray[Any]]:
        """The task of all rows, and values of the target that show why it is this one.

        Units of a regression are those of the sample; its range is that of all rows.
        """
        name = self.roles.target
        distinct = self.table.distinct(name, MOST_CLASSES + 1)
        is_number = distinct.dtype.kind in "if"
        if len(distinct) > MOST_CLASSES and (not is_number or kind in ("binary", "multiclass")):
            raise DataError(
                f"the target may have at most {MOST_CLASSES:,} classes; {name!r} has more. "
                "Choose another target, or pool its rare values."
            )
        aims = {"objective": objective, "quantiles": quantiles, "threshold": threshold}
        if kind is None and objective is None and quantiles is None and is_number:
            kind = "regression" if len(distinct) > MOST_CLASSES else guess_kind(distinct)[0]
        aims_at_numbers = kind == "regression" or objective is not None or quantiles is not None
        if not aims_at_numbers or not is_number:
            return make_task(distinct, kind, **aims), distinct
        facts, weight = self.table.facts(name), self.weight(self.sample)
        ends = np.array([facts.low, facts.high], self.sample[name].dtype)
        weight = None if weight is None else np.concatenate([weight, np.zeros(2, np.float32)])
        with _rows_of_sample():
            return make_task(np.concatenate([self.sample[name], ends]), kind, **aims, weight=weight), distinct

    def class_counts(self, task: Task) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
        """Codes of the training target with weights whose shares are those of all rows.

        Of classes one code each; of numbers those of the sample.
        """
        name = self.roles.target
        if not isinstance(task, Classification):
            return task.encode(self.sample[name]), self.weight(self.sample)
        values, n = self.table.counts(name, self.roles.weight)
        return task.encode(values), n.astype(np.float32)

    def schema(self) -> Schema:
        """Of all rows."""
        roles = self.roles
        of_user = (roles.kinds, roles.declared, roles.infinite, (roles.target, *roles.dropped))
        with _rows_of_sample():
            schema = describe(self.table, self.features, self.sample, *of_user)
        self.sample = self.table.rows(self.n_aside, self.n_aside + self.n_sample)  # without odd cells
        if roles.declared is None:
            return schema
        left_out = {name: why for name, why in roles.declared.ignored.items() if name in self.table.left_out}
        return Schema(schema.columns, {**schema.ignored, **left_out})

    def encoder(self, schema: Schema, task: Task, n_folds: int | None) -> tuple[Encoder, Batch]:
        """Learnt on the sample, with levels of all rows; and the sample encoded.

        n_folds: for target statistics, where these are wanted
        """
        features = self.sample.select(self.features)
        encoder = Encoder.fit(features, schema, self.weight(self.sample))
        encoder = encoder.with_levels({c.name: c.levels for c in schema.columns if kind_of(c).finds_levels})
        batch = encoder.transform(features)
        if n_folds is None:
            return encoder, batch
        code = task.encode(self.sample[self.roles.target]).astype(np.float64)
        return encoder.learn_target(
            batch, code, self.weight(self.sample), folds(self.n_sample, n_folds, seed=self.seed)
        )

    def weight(self, table: Table) -> NDArray[np.float32] | None:
        """Weights of these rows."""
        return None if self.roles.weight is None else table[self.roles.weight].astype(np.float32)

    def encoded(
        self, encoder: Encoder, task: Task, start: int, stop: int
    ) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float32] | None]:
        """Rows start to stop - 1 as networks want them: inputs, target codes, weights."""
        table = self.table.rows(start, stop)
        with _rows_of_sample():
            x = network_inputs(encoder.transform(table.select(self.features)))
            return x, task.encode(table[self.roles.target]), self.weight(table)

    def validation(self, encoder: Encoder, task: Task, most: int) -> EncodedRows:
        """The rows that were kept aside, or as many of them as there is room for.

        Of rows drawn at random, the others are trained on.
        """
        size, n = self.budget.piece_rows(len(self.table.names)), min(self.n_aside, most)
        if self.roles.aside is None and self.roles.share is None:
            self.first = n
        parts = [self.encoded(encoder, task, a, min(a + size, n)) for a in range(0, n, size)]
        x, code, weight = zip(*parts, strict=True)
        return EncodedRows(
            np.concatenate(x), np.concatenate(code), None if weight[0] is None else np.concatenate(weight)
        )

    def divide(
        self,
        encoder: Encoder,
        task: Task,
        batch: Batch,
        batch_size: int,
        n_outputs: int,
        n_passes: int,
        factors: NDArray[np.float64] | None = None,
    ) -> tuple[EncodedRows, "Chunks"]:
        """Validation rows and training chunks, as large as memory allows; gives the sample's memory back.

        batch: the sample, encoded
        n_outputs: outputs on the validation rows that are kept at a time
        n_passes: over the training rows
        factors: of each class, from class weights
        """
        d_in = batch.num.shape[1] + batch.cat.shape[1]
        chunk_rows = max(self.budget.chunk_rows(d_in), 2 * batch_size)
        most = min(self.budget.validation_rows(d_in, task.n_outputs, n_outputs), chunk_rows // 4)
        self.table.limit_memory(self.budget.reading_mb)
        valid = self.validation(encoder, task, max(1, most))
        has_statistics = any(feature.channel == "target" for feature in encoder.num_features)
        self.sample = self.sample.take([0])
        sample = batch if has_statistics else None
        return valid, Chunks(self, encoder, task, sample, chunk_rows, n_passes, factors)

    def in_words(self, chunks: "Chunks", n_valid: int) -> dict[str, Any]:
        """How the rows were divided, what became of equal ones, and why the table is streamed."""
        aside = self.roles.aside
        split = "at random"
        if aside is not None:
            split = f"{'by groups of' if aside.by == 'groups' else 'the latest by'} {aside.column!r}"
        unused = self.first - n_valid
        more = f" ({unused:,} more are kept aside and not used)" if unused else ""
        passes = "one pass" if chunks.n_passes == 1 else f"{chunks.n_passes} passes"
        weightless = "" if self.roles.weight is None else "; rows of weight 0 are left out"
        return {
            "split": f"{split}{more}{weightless}",
            "repeats": "; equal rows are not merged, which a fit in memory would do",
            "memory": f"{self.budget.sentence()}, so the table is streamed: its rows are shuffled in a "
            f"temporary file of {self.table.n_bytes / 1e6:,.0f} MB; scales and quantiles come from "
            f"{self.n_sample:,} of them, levels and ranges from all; training makes {passes} over them, in "
            f"chunks of {chunks.n_rows:,} rows, each of which counts as an epoch",
        }


@contextmanager
def _rows_of_sample() -> Iterator[None]:
    """Add to errors that name a row that it is not a row of the file."""
    try:
        yield
    except MultilayerError as error:
        if not re.search(r"\brow \d", str(error)):
            raise
        raise type(error)(f"{error} (Rows are numbered in a shuffled sample of the table.)") from None


@contextmanager
def opened(budget: Budget, roles: Roles, seed: int) -> Iterator[Stream]:
    """The table shuffled on disk for the length of the block."""
    with store(
        budget.source,
        memory_mb=budget.shuffle_mb,
        leave_out={*roles.dropped, *roles.left_out} - {roles.target, roles.weight},
        need=[roles.target, *roles.dropped],
        shuffle_seed=seed,
        aside=roles.aside,
        weight=roles.weight,
        threads=n_cores(),
    ) as table:
        yield Stream(table, roles, budget, seed)


class Chunks:
    """The training rows in chunks of one size, pass after pass; the next is made while one is trained on.

    Each chunk is a random part of the table; from the second pass on, chunks come in random order. Called, it
    gives the next chunk as `train_pack` wants it of `more_rows`. Two buffers are used in turn: a chunk holds
    until the next one is taken.
    """

    def __init__(
        self,
        stream: Stream,
        encoder: Encoder,
        task: Task,
        sample: Batch | None,
        chunk_rows: int,
        n_passes: int,
        factors: NDArray[np.float64] | None = None,
    ) -> None:
        self.stream, self.encoder, self.task, self.factors = stream, encoder, task, factors
        self.sample = None if sample is None else network_inputs(sample)
        n_chunks = math.ceil(stream.n_train / chunk_rows)
        self.n_chunks, self.n_passes = n_chunks, n_passes
        self.n_rows = math.ceil(stream.n_train / n_chunks)
        # Of one size, so that they overlap by less than a row each, and none is left out.
        starts = np.linspace(0, stream.n_train - self.n_rows, n_chunks).round().astype(np.int64)
        rng = np.random.default_rng([stream.seed, 2])
        orders = [np.arange(n_chunks)] + [rng.permutation(n_chunks) for _ in range(n_passes - 1)]
        self.starts = [int(starts[i]) + stream.first for order in orders for i in order]
        self.buffers: list[EncodedRows] = []
        self.stop = Event()
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="chunks")
        self.next: Future[EncodedRows] | None = None
        self.n_given = 0

    @property
    def n_epochs(self) -> int:
        """Chunks of all passes: an epoch of `train_pack` is one chunk."""
        return len(self.starts)

    def take(self) -> EncodedRows:
        """The next chunk; the one after it begins to be made."""
        future = self.next or self.pool.submit(self._make, self.n_given)
        part = future.result()
        self.n_given += 1
        more = self.n_given < self.n_epochs
        self.next = self.pool.submit(self._make, self.n_given) if more else None
        return part

    def __call__(self) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float32] | None]:
        """The next chunk: inputs, targets as the loss wants them, weights."""
        part = self.take()
        return part.x, self.task.as_network_target(part.code), part.weight

    def __enter__(self) -> "Chunks":
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is being made, and make no more."""
        self.stop.set()
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, number: int) -> EncodedRows:
        first = self.starts[number]
        size = self.stream.budget.piece_rows(len(self.stream.table.names))
        for start in range(first, first + self.n_rows, size):
            if self.stop.is_set():
                break
            stop = min(start + size, first + self.n_rows)
            x, code, weight = self.stream.encoded(self.encoder, self.task, start, stop)
            weight = loss_weight(self.factors, code, weight)
            self._out_of_fold(x, start)
            part = self._buffer(number, x, code, weight)
            rows = slice(start - first, stop - first)
            part.x[rows], part.code[rows] = x, code
            if part.weight is not None:
                part.weight[rows] = weight
        return self.buffers[number % 2]

    def _out_of_fold(self, x: NDArray[np.float32], start: int) -> None:
        """Rows of the sample as they were encoded out of their folds: their own target must not tell."""
        if self.sample is None:
            return
        at = start - self.stream.n_aside  # of the first row, in the sample
        known = self.sample[max(at, 0) : max(at + len(x), 0)]
        x[max(-at, 0) :][: len(known)] = known

    def _buffer(self, number: int, x: Any, code: Any, weight: Any) -> EncodedRows:
        if len(self.buffers) <= number % 2:
            kept = None if weight is None else np.empty(self.n_rows, weight.dtype)
            x, code = np.empty((self.n_rows, x.shape[1]), x.dtype), np.empty(self.n_rows, code.dtype)
            self.buffers.append(EncodedRows(x, code, kept))
        return self.buffers[number % 2]


def n_passes(n_train: int, most: int) -> int:
    """Passes over so many training rows: as many as make 6 million visits of rows, at least one.

    >>> [n_passes(n, 6) for n in (500_000, 2_000_000, 10_000_000)]
    [6, 3, 1]
    """
    return max(1, min(most, round(ROW_VISITS / n_train)))


@contextmanager
def in_order(
    model: Model, source: Any, memory: Any, query: str | None = None
) -> Iterator[Iterator[Table] | None]:
    """The pieces of a table larger than memory that a model is for, in the order of its rows; None if it
    fits, or is the result of a query.
    """
    budget = budget_for(source, memory, replace(model.reading, missing_in={}, thousands=None), query)
    if budget is None:
        yield None
        return
    unread = {*model.dropped, *model.schema.ignored} - {*model.targets, model.exposure}
    with store(budget.source, memory_mb=budget.shuffle_mb, leave_out=unread, threads=n_cores()) as table:
        table.limit_memory(budget.reading_mb)
        size = budget.piece_rows(len(table.names))
        with _rows_of_file() as n_before:
            yield (_counted(piece, i * size, n_before) for i, piece in enumerate(table.pieces(size)))


def _counted(piece: Table, first: int, n_before: list[int]) -> Table:
    n_before[0] = first
    return replace(piece, n_before=first)


@contextmanager
def _rows_of_file() -> Iterator[list[int]]:
    """Let errors name rows of the file, not of a piece; yields how many rows are before the newest piece."""
    n_before = [0]
    try:
        yield n_before
    except MultilayerError as error:
        text = re.sub(r"\brow (\d+)", lambda found: f"row {int(found[1]) + n_before[0]}", str(error))
        raise type(error)(text) from None
