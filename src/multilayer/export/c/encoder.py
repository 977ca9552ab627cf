"""The steps of an encoder in C: a table of what each step is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from multilayer.errors import ConfigError
from multilayer.export.c.source import Constants, comment, number
from multilayer.export.onnx.dates import transitions
from multilayer.export.typed import Input
from multilayer.table import steps
from multilayer.table.column import AS_WRITTEN, DAY_S, Column
from multilayer.table.encode import Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.kind import Coder
from multilayer.table.kinds.time import TIME
from multilayer.table.levels import value_text
from multilayer.table.steps import MISSING, RARE, Chain, Code, Step, Take, Vectors

LAST_DATE = 9_000_000_000_000_000_000  # microseconds that a zone can still be added to


class Cell(NamedTuple):
    """Where a cell of a column is in C.

    x:       double, int64_t or const char *
    written: int64_t of dates that have it
    """

    x: str
    written: str | None = None


Write = Callable[[Any, str, Constants, Cell], tuple[str, str]]


def _double(expression: str) -> tuple[str, str]:
    return "double", expression


def _interpolate(step: steps.Interpolate, v: str, constants: Constants, cell: Cell) -> tuple[str, str]:
    knots, places = constants.long_words(step.knots), constants.long_words(step.places)
    return _double(f"interpolate({v}, {knots}, {places}, {len(step.knots)})")


def _in_zone(step: steps.InZone, v: str, constants: Constants, cell: Cell) -> tuple[str, str]:
    if step.zone == AS_WRITTEN:
        return "int64_t", cell.written or v
    quarters, offsets = transitions(step.zone)
    tables = f"{constants.whole('int64_t', quarters)}, {constants.whole('int64_t', offsets)}"
    return "int64_t", f"m ? {v} : in_zone({v}, {tables}, {len(quarters)})"


def _part(step: steps.Part, v: str, constants: Constants, cell: Cell) -> tuple[str, str]:
    return "double" if step.name == "hour" else "int64_t", f"part_{step.name}({v})"


def _code(step: Code, v: str, constants: Constants, cell: Cell) -> tuple[str, str]:
    codes = {level: i for i, level in enumerate(step.levels, start=RARE + 1)}
    by_value: dict[str, int] = {}
    for level, code in codes.items():
        by_value.setdefault(value_text(level), code)
    tables = []
    for table in (codes, by_value):
        ordered = sorted(table, key=str.encode)
        names = (
            constants.texts(ordered),
            constants.whole("uint16_t", np.array([table[text] for text in ordered])),
        )
        tables.append(f"{', '.join(names)}, {len(ordered)}")
    return "uint32_t", f"code_of({cell.x}, {', '.join(tables)})"


def _pick(step: steps.Pick, v: str, constants: Constants, cell: Cell) -> tuple[str, str]:
    return _double(f"pick({constants.long_words(step.values)}, {len(step.values)}, {v})")


def _bin(step: steps.Bin, v: str, constants: Constants, cell: Cell) -> tuple[str, str]:
    return "uint32_t", f"count_below({v}, {constants.long_words(step.edges)}, {len(step.edges)})"


# What each step is: a type of C and an expression. Vectors and Take are done for a whole column, in `_texts`.
WRITTEN: Mapping[type[Step], Write] = {
    steps.IsMissing: lambda s, v, c, cell: _double("(double)m"),
    steps.Fill: lambda s, v, c, cell: _double(f"m ? {number(s.value)} : {v}"),
    steps.FillDate: lambda s, v, c, cell: ("int64_t", f"m ? 0 : {v}"),
    steps.Tame: lambda s, v, c, cell: _double(f"tame({v})"),
    steps.Constant: lambda s, v, c, cell: _double(number(s.value)),
    steps.Subtract: lambda s, v, c, cell: _double(f"{v} - {number(s.value)}"),
    steps.Multiply: lambda s, v, c, cell: _double(f"(double){v} * {number(s.value)}"),
    steps.Divide: lambda s, v, c, cell: _double(f"{v} / {number(s.value)}"),
    steps.Clip: lambda s, v, c, cell: _double(f"clip({v}, {number(s.low)}, {number(s.high)})"),
    steps.SmoothClip: lambda s, v, c, cell: _double(f"smooth_clip({v}, {number(s.bound)})"),
    steps.Interpolate: _interpolate,
    steps.Days: lambda s, v, c, cell: _double(f"m ? NAN : (double){v} / 86400000000.0"),
    steps.InZone: _in_zone,
    steps.Part: _part,
    steps.Sine: lambda s, v, c, cell: _double(f"sin({v})"),
    steps.Cosine: lambda s, v, c, cell: _double(f"cos({v})"),
    steps.Code: _code,
    steps.Equals: lambda s, v, c, cell: _double(f"(double)({v} == {s.code})"),
    steps.Pick: _pick,
    steps.Bin: _bin,
}


class EncoderSource:
    """The function that encodes a row, line by line.

    lines: of its body, which writes numbers and then codes into x
    """

    def __init__(
        self, encoder: Encoder, inputs: Sequence[Input], fields: Mapping[str, str], constants: Constants
    ) -> None:
        """fields: the name in C of each input, by the input's name."""
        self._constants = constants
        self._inputs, self._fields = inputs, fields
        self.lines: list[str] = []
        coded = sum(len(coder.outputs) for coder in encoder.coders)
        statistics = encoder.target_encoding.statistics if encoder.target_encoding else ()
        self.n_numbers = coded + len(statistics)
        self.n_columns = self.n_numbers + len(encoder.cat_names)
        place, code_place = 0, self.n_numbers
        for coder in encoder.coders:
            if coder.outputs or coder.code is not None:
                self._column(coder, place, code_place)
            place += len(coder.outputs)
            code_place += coder.code is not None
        for i, statistic in enumerate(statistics, start=coded):
            source = statistic.place + (self.n_numbers if statistic.edges is None else 0)
            kind = "uint32_t" if statistic.edges is None else "double"
            self.lines.append(f"    {{ /* {comment(statistic.feature.name)} */")
            self.lines += self._chain(statistic.steps, f"({kind})x[{source}]", Cell("x"), i)
            self.lines.append("    }")

    def _column(self, coder: Coder, place: int, code_place: int) -> None:
        column = coder.column
        field = f"row->{self._field(column.name, written=False)}"
        self.lines.append(f"    {{ /* {comment(column.name)} */")
        if column.infinite == "clip" and column.low is not None and column.high is not None:
            ends = f"{field} > 0 ? {number(column.high)} : {number(column.low)}"
            self.lines.append(f"        const double value = isinf({field}) ? ({ends}) : {field};")
            field = "value"
        cell = Cell(field, self._written(column))
        self.lines += self._missing(coder, cell)
        if any(isinstance(step, Vectors) for _, chain in coder.outputs for step in chain):
            self._texts(coder, cell, place)
        else:
            for i, (feature, chain) in enumerate(coder.outputs, start=place):
                self.lines.append(f"        {{ /* {comment(feature.channel)} */")
                self.lines += [f"    {line}" for line in self._chain(chain, cell.x, cell, i)]
                self.lines.append("        }")
        if coder.code is not None:
            _, expression = _code(coder.code, "", self._constants, cell)
            self.lines.append(f"        x[{code_place}] = (float){expression};")
        self.lines.append("    }")

    def _field(self, column: str, *, written: bool) -> str:
        for each in self._inputs:
            if each.column == column and each.role != "exposure" and (each.role == "written") == written:
                return self._fields[each.name]
        raise KeyError(column)

    def _written(self, column: Column) -> str | None:
        return f"row->{self._field(column.name, written=True)}" if column.zone == AS_WRITTEN else None

    def _missing(self, coder: Coder, cell: Cell) -> list[str]:
        """What is missing, and which values are none of the column."""
        column, kind = coder.column, kind_of(coder.column)
        place = 1 + next(i for i, each in enumerate(self._inputs) if each.column == column.name)
        lines = []
        if not kind.has_numbers:
            missing = f"{cell.x} == NULL || *{cell.x} == 0"
        elif "M" in kind.dtypes:
            missing = f"{cell.x} == INT64_MIN"
            lines = [
                f"        if (!m && ({cell.x} > {LAST_DATE} || {cell.x} < -{LAST_DATE})) return {place};"
            ]
        else:
            missing = f"isnan({cell.x})"
            lines = [f"        if (!m && !({allowed(column, cell.x)})) return {place};"]
        uses = any(_asks_what_is_missing(step) for _, chain in coder.outputs for step in chain)
        if uses or lines:
            lines.insert(0, f"        const int m = {missing};")
        return lines

    def _chain(self, chain: Chain, start: str, cell: Cell, place: int) -> list[str]:
        """One number, in a variable for each step."""
        lines, v = [], start
        for i, step in enumerate(chain):
            kind, expression = WRITTEN[type(step)](step, v, self._constants, cell)
            lines.append(f"        const {kind} v{i} = {expression};")
            v = f"v{i}"
        return [*lines, f"        x[{place}] = (float){v};"]

    def _texts(self, coder: Coder, cell: Cell, place: int) -> None:
        """All numbers of a text from one look at it."""
        constants, lines = self._constants, self.lines
        (vectors, *_) = (s.vectors for _, chain in coder.outputs for s in chain if isinstance(s, Vectors))
        n, width = len(vectors.buckets), vectors.width
        order = np.argsort(vectors.buckets, kind="stable")
        terms = f"{constants.whole('uint32_t', vectors.buckets[order])}, {constants.whole('uint16_t', order)}"
        field = 1 + next(i for i, each in enumerate(self._inputs) if each.column == coder.column.name)
        lines += [
            f"        uint16_t counts[{max(1, n)}];",
            f"        double t[{width + 1}];",
            "        memset(t, 0, sizeof t);",
            "        if (!m) {",
            "            int32_t n_words;",
            "            memset(counts, 0, sizeof counts);",
            f"            n_words = count_terms({cell.x}, {terms}, {n}, counts);",
            f"            if (n_words < 0) return {field};",
            f"            text_vector(counts, n_words, {n}, {vectors.n_word_terms}, {width}, "
            f"{constants.words(vectors.weights)}, {constants.words(vectors.projection)}, "
            f"{constants.long_words(vectors.center)}, {constants.long_words(vectors.scale)}, t);",
            "        }",
        ]
        for i, (_, chain) in enumerate(coder.outputs, start=place):
            takes = [step for step in chain if isinstance(step, Take)]
            rest = tuple(step for step in chain if not isinstance(step, Vectors | Take))
            lines.append("        {")
            start = f"t[{takes[0].place}]" if takes else cell.x
            lines += [f"    {line}" for line in self._chain(rest, start, cell, i)]
            lines.append("        }")


def _asks_what_is_missing(step: Step) -> bool:
    asking = (steps.IsMissing, steps.Fill, steps.FillDate, steps.Days, steps.InZone, Vectors)
    return isinstance(step, asking) and not (isinstance(step, steps.InZone) and step.zone == AS_WRITTEN)


def allowed(column: Column, x: str) -> str:
    """The condition that a number may stand in a column."""
    kind = kind_of(column)
    if kind.is_closed:
        return f"{x} == 0 || {x} == 1"
    if kind is TIME:
        return f"{x} >= 0 && {x} < {DAY_S}"
    return f"!isinf({x})"


def refuse(encoder: Encoder) -> None:
    """Refuse what this cannot do.

    Raises:
        ConfigError: a level with a zero byte, at which strings of C end.
    """
    for coder in encoder.coders:
        levels = (*getattr(coder, "levels", ()), *coder.column.levels)
        if any("\0" in level or any("\ud800" <= each <= "\udfff" for each in level) for level in levels):
            raise ConfigError(
                f"a string of C ends at a zero byte; levels of {coder.column.name!r} hold one, or half a "
                "letter. Replace these levels and fit again, or export to onnx."
            )
        if len(levels) >= 2**16 - RARE - 1:
            raise ConfigError(
                f"a category may have up to 65,000 levels in C; {coder.column.name!r} has {len(levels):,}. "
                "Export to onnx."
            )


assert MISSING == 0 and RARE == 1
