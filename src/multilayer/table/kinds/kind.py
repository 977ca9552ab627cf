"""`Kind`: all that there is to know of a kind of column; and what several kinds share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import SchemaError
from multilayer.table.cells import Cells, codes_of
from multilayer.table.column import Column, KindName
from multilayer.table.levels import as_levels, shortest_text
from multilayer.table.sources.dtype_hints import Note
from multilayer.table.steps import Chain, Code, Cosine, Feature, Fill, Outputs, Program, Sine

Floats = NDArray[np.float64]
Weight = NDArray[np.floating[Any]] | None
Arrays = Mapping[str, NDArray[Any]]
Parse = Callable[[str], float | datetime | None]
Reads = Callable[[str], bool]


def no_check(plan: Mapping[str, Any]) -> None:
    """There is nothing in it to be checked."""


def no_check_of_arrays(plan: Mapping[str, Any], arrays: Arrays) -> None:
    """There are none to be checked."""


class Coder(ABC):
    """What turns the cells of one column into encoded numbers, and of a category into a code; frozen."""

    column: Column

    @property
    @abstractmethod
    def outputs(self) -> Outputs:
        """Each number that it gives, a column of `Batch.num`, and the steps that make it of the cells."""

    @property
    def code(self) -> Code | None:
        """Of categories: the step that makes the column of `Batch.cat`."""
        return None

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """What it gives, in order."""
        return tuple(feature for feature, _ in self.outputs)

    @cached_property
    def _program(self) -> Program:
        return Program([chain for _, chain in self.outputs])

    def encode(self, cells: Cells) -> Iterator[NDArray[Any]]:
        """The numbers of each row by these steps: (n_rows,), or several of them (n_rows, width)."""
        return self._program.run(cells)

    def codes(self, cells: Cells) -> NDArray[np.int64]:
        """Of categories: the code of each row (n_rows,)."""
        assert self.code is not None and cells.rows is not None
        return self.code.run(cells.values, cells)[cells.rows]

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain values; "coder" is its name in `Kind.coders`."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its arrays, for a tensor file; "knots" and "places" are written one behind the other for all."""
        return {}


@dataclass(frozen=True)
class Stored:
    """How a coder stands in a model file, and what of it is to be checked, as a file may be made to harm.

    make:         the coder of a column, from what `Coder.to_json` and `Coder.arrays` gave
    n_numbers:    how many numbers it gives but for what its own arrays tell, from its JSON and the number of
                  the column's levels
    check:        ValueError unless its JSON is whole
    has_code:     whether it has "levels" with a code each
    own_arrays:   names of its arrays but for knots and places
    check_arrays: ValueError unless these are what its JSON, already checked, speaks of
    """

    make: Callable[[Column, Mapping[str, Any], Arrays], Coder]
    n_numbers: Callable[[Mapping[str, Any], int], int]
    check: Callable[[Mapping[str, Any]], None]
    has_code: bool = False
    own_arrays: tuple[str, ...] = ()
    check_arrays: Callable[[Mapping[str, Any], Arrays], None] = no_check_of_arrays


@dataclass(frozen=True)
class Learning:
    """How coders learn.

    weight:      of each row; None weighs all alike
    fewest_rows: a number that is the same in all but fewer rows is left out
    text_width:  directions of a column of text
    """

    weight: Weight
    fewest_rows: int
    text_width: int


@dataclass(frozen=True)
class Candidate:
    """What most texts of a column may be.

    reads:    whether a text is of it
    is_plain: whether it is written as everywhere; of candidates that read as many cells, such go first
    """

    column: Column
    reads: Reads
    is_plain: bool = True


@dataclass(frozen=True)
class Kind:
    """A kind of column: what its cells are, how it is told, measured, shown and encoded. Each has every slot.

    A new kind is one file of this folder with one object like these, a line in `KINDS`, and its name in
    `KindName`. Functions take a column's values in any type that a `Table` has: what is missing throughout
    comes as float64.

    Attributes:
        name: what users call it.
        plural: several columns of it, in words: "numbers".
        wanted: what each cell must hold, for errors: "a number".
        settings: fields of `Column` that users may set by `Schema.replace`, beside the kind.
        dtypes: NumPy's letters of the arrays that are of the kind, unless a note or the user says otherwise.
        is_numeric: whether cells may be infinite.
        is_closed: whether new rows will hold the values that were there at fit.
        has_levels: whether a `Column` of it has levels.
        has_order: whether these have an order, which a declared column must name.
        may_number_rows: whether whole numbers that differ from row to row may be an identifier.
        may_name_rows: whether values that differ from row to row are an identifier.

        read: a column of a `Table` as the kind has it: float64 with NaN, datetime64[us] in UTC with NaT, or
            texts with None; SchemaError for a value that is not of the kind.
        cells: the same, as the steps of coders take it.
        numbers: the column as float64 (n_rows,), NaN where missing, as ranges count it; None for texts.
        parser: what reads a text, given a column and its distinct texts, and gives None for what is not of
            the kind; None where any text is.
        of_texts: the column, if all of these distinct texts are of the kind, else None.
        candidates: given a name, some of the cells and all distinct texts: what most of them may be.
        are_codes: whether these texts that are not of the kind show that the others are codes, too.
        in_own_writing: the column with a reason, where its texts are not written as everywhere.
        written: a declared column with how its texts write it; given what they would be taken for, too.
        completed: a declared column with what else its values or its note say.
        fits_note: whether values are what a note of this kind says.
        of_note: the column by such a note.

        measure: the column with what was seen: range, number of distinct values, levels.
        show: range or levels and settings, in words.

        fit: the coder of a column, learnt on the values of training rows.
        coders: its coders by their names in model files. Kinds with numbers have "plain" and those with
            levels "levels" for `Encoder.plain`.
    """

    name: KindName
    plural: str
    wanted: str
    settings: frozenset[str]
    dtypes: str
    is_numeric: bool
    is_closed: bool
    has_levels: bool
    has_order: bool
    may_number_rows: bool
    may_name_rows: bool
    read: Callable[[Column, NDArray[Any]], NDArray[Any]]
    cells: Callable[[Column, NDArray[Any]], Cells]
    numbers: Callable[[Column, NDArray[Any]], Floats] | None
    parser: Callable[[Column, Sequence[str]], Parse] | None
    of_texts: Callable[[str, Sequence[str]], Column | None]
    candidates: Callable[[str, Sequence[str], Sequence[str]], Sequence[Candidate]]
    are_codes: Callable[[Sequence[str]], bool]
    in_own_writing: Callable[[Column, Sequence[str]], Column]
    written: Callable[[Column, Sequence[str], Callable[[], Column]], Column]
    completed: Callable[[Column, NDArray[Any], Note | None], Column]
    fits_note: Callable[[Note, NDArray[Any]], bool]
    of_note: Callable[[str, Note], Column]
    measure: Callable[[Column, NDArray[Any]], Column]
    show: Callable[[Column], str]
    fit: Callable[[Column, NDArray[Any], Learning], Coder]
    coders: Mapping[str, Stored]

    @property
    def has_numbers(self) -> bool:
        """Whether cells have an order and distances: numbers, dates, booleans."""
        return self.numbers is not None

    @property
    def finds_levels(self) -> bool:
        """Whether its levels are those that occur, in no order."""
        return self.has_levels and not self.has_order

    @property
    def is_quantity(self) -> bool:
        """Whether cells are more or less: numbers, dates, times, durations."""
        return self.has_numbers and not self.is_closed

    @property
    def is_free_text(self) -> bool:
        """Whether cells are texts of words, and not levels."""
        return not self.has_numbers and not self.has_levels


# What kinds share that have nothing of their own in a slot


def of_no_texts(name: str, texts: Sequence[str]) -> None:
    """Texts are not taken for it."""


def no_candidates(name: str, sample: Sequence[str], texts: Sequence[str]) -> Sequence[Candidate]:
    """Texts are not taken for it."""
    return ()


def no_codes(odd: Sequence[str]) -> bool:
    """Texts do not show that others are codes."""
    return False


def as_everywhere(column: Column, texts: Sequence[str]) -> Column:
    """There is one way to write it."""
    return column


def as_declared(column: Column, texts: Sequence[str], most: Callable[[], Column]) -> Column:
    """Texts say nothing beside."""
    return column


def as_it_is(column: Column, values: NDArray[Any], note: Note | None) -> Column:
    """Values and note say nothing beside."""
    return column


def any_values(note: Note, values: NDArray[Any]) -> bool:
    """Values of any type may be it."""
    return True


def note_of_kind(name: str, note: Note) -> Column:
    """The column of a note that says the kind and the zone."""
    return Column(name, note.kind, zone=note.zone)


def seconds_of_note(note: Note, values: NDArray[Any]) -> bool:
    """What a `Table` holds as seconds."""
    return values.dtype.kind == "f"


# Numbers


def cells_of(read: Callable[[Column, NDArray[Any]], Floats]) -> Callable[[Column, NDArray[Any]], Cells]:
    """The cells of kinds that `read` numbers."""
    return lambda column, values: Cells.of(read(column, values))


def measured(
    numbers: Callable[[Column, NDArray[Any]], Floats],
) -> Callable[[Column, NDArray[Any]], Column]:
    """What measures the finite range, and the distinct values within it."""

    def measure(column: Column, values: NDArray[Any]) -> Column:
        # What is declared says nothing of the range yet: infinities stay as they are for now.
        column = replace(column, low=None, high=None, levels=())
        found = numbers(column, values)
        present = found[~np.isnan(found)]
        finite = present[np.isfinite(present)]
        if not len(finite):
            return column
        distinct = np.unique(np.clip(present, finite.min(), finite.max()))
        return replace(column, n_unique=len(distinct), low=float(distinct[0]), high=float(distinct[-1]))

    return measure


def range_text(column: Column, as_text: Callable[[float], str]) -> str:
    """The range of a column in words, as "1 to 3"; empty where there is none."""
    if column.low is None or column.high is None:
        return ""
    return f"{as_text(column.low)} to {as_text(column.high)}"


def clipped_text(column: Column) -> str:
    """What becomes of infinities, where they are not refused."""
    return "infinities clipped" if column.infinite == "clip" else ""


def joined(*parts: str) -> str:
    """What there is to say, one behind the other."""
    return "; ".join(filter(None, parts))


def waves(angle: Chain) -> Iterator[tuple[str, Chain]]:
    """Sine and cosine of an angle, 0 where missing; by name."""
    yield "sin", (*angle, Sine(), Fill(0.0))
    yield "cos", (*angle, Cosine(), Fill(0.0))


# Texts


def as_texts(column: Column, values: NDArray[Any]) -> NDArray[np.object_]:
    """The column as text, None where missing."""
    return as_levels(values)


def cells_of_texts(column: Column, values: NDArray[Any]) -> Cells:
    """Each text once."""
    return Cells.of_texts(as_levels(values))


def reads(parse: Callable[[str], Any]) -> Reads:
    """Whether a text is what `parse` reads."""
    return lambda text: parse(text) is not None


def converted(
    kind_wants: str,
    column: Column,
    values: NDArray[np.object_],
    parse: Parse,
    missing: NDArray[Any],
) -> NDArray[Any]:
    """Parse each distinct text once; SchemaError with the first row that `parse` refuses (gives None for).

    kind_wants: `Kind.wanted`
    missing: (1,) array of what stands for None; it also sets the dtype of the result.
    """
    place, rows = codes_of(values)
    texts = [text for text in place if text is not None]
    parsed = list(map(parse, texts))
    if None in parsed:
        raise mismatch(kind_wants, column, values, values.tolist().index(texts[parsed.index(None)]))
    found = np.repeat(missing, len(place))
    found[[text is not None for text in place]] = np.array(parsed, dtype=missing.dtype)
    return found[rows]


def allowed(
    kind_wants: str, column: Column, values: NDArray[Any], are: Callable[[Floats], NDArray[np.bool_]]
) -> Floats:
    """Values as numbers; SchemaError with the first that is there and is not what `are` allows.

    kind_wants: `Kind.wanted`
    """
    numbers = values.astype(np.float64)
    strange = ~(np.isnan(numbers) | are(numbers))
    if strange.any():
        raise mismatch(kind_wants, column, values, int(strange.argmax()))
    return numbers


def mismatch(kind_wants: str, column: Column, values: NDArray[Any], row: int) -> SchemaError:
    """The error for a row (from 0) whose value is not of the column's kind."""
    value = shortest_text(values[row])
    wanted = kind_wants + (f" like {column.example!r}" if column.date_format else "")
    return SchemaError(
        f"Column {column.name!r} must hold {wanted} in every row; row {row + 1} holds {value!r}. Mend the "
        "value, leave it empty or name it as a mark of missing values (missing=), or fit again with "
        f"{column.name!r} as a category."
    )
