"""The steps of an encoder as nodes: a table of what each step is, and columns of one chain side by side.

All is float64 until the end, as in `table.steps`, and comes out to the same bits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.export.onnx.categories import codes_of_texts
from multilayer.export.onnx.dates import MICROSECONDS_A_DAY, Calendar, to_zones
from multilayer.export.onnx.graph import Graph
from multilayer.export.onnx.search import count_below, pick
from multilayer.export.onnx.text import vectors_of_texts
from multilayer.table import steps
from multilayer.table.column import AS_WRITTEN
from multilayer.table.encode import Encoder
from multilayer.table.steps import Chain, Step

Floats = NDArray[np.float64]

QUARTER_TURN = (
    1.57079632673412561417e00,
    6.07710050630396597660e-11,
    2.02226624879595063154e-21,
)  # sum: pi / 2


@dataclass(frozen=True)
class Lanes:
    """Some columns of the table, side by side in one tensor, on their way through the steps.

    tensor:  (rows, sum of widths)
    columns: the table's column that each lane is of, by its place among those of its type
    widths:  numbers of each lane: 1, but for what a text becomes
    """

    tensor: str
    columns: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def starts(self) -> list[int]:
        """The first column of each lane."""
        return [0, *np.cumsum(self.widths).tolist()][:-1]


class Work:
    """Lanes that take one step together, and what the step may ask for.

    written: of dates, what clock and calendar of each text show; None where no column needs them
    starts, total: of the tensor before: where each lane begins, and how many columns there are
    """

    def __init__(self, graph: Graph, lanes: Lanes, taken: Sequence[Any], missing: str, width: int) -> None:
        self.graph, self.lanes, self.steps = graph, lanes, taken
        self.x = lanes.tensor
        self.all_missing, self.n_columns = missing, width
        self.written: str | None = None
        self.starts: list[int] = []
        self.total = 0

    @cached_property
    def missing(self) -> str:
        """Booleans (rows, lanes)."""
        return self.graph.columns(self.all_missing, self.lanes.columns, self.n_columns)

    def each(self, name: str) -> str:
        """A field of each lane's step, float64 (1, columns)."""
        values = [getattr(step, name) for step in self.steps]
        return self.graph.constant(np.repeat(np.array(values, np.float64), self.lanes.widths)[None])

    def op(self, op: str, *inputs: str) -> str:
        """A node."""
        return self.graph.add(op, *inputs)

    def number(self, value: float) -> str:
        """A constant."""
        return self.graph.constant(value, np.float64)


def _fill(work: Work) -> str:
    return work.op("Where", work.missing, work.each("value"), work.x)


def _clipped(work: Work, x: str, low: str, high: str) -> str:
    """Cut off; NaN stays, whatever Clip does in a runtime."""
    x = work.op("Where", work.op("Less", x, low), low, x)
    return work.op("Where", work.op("Greater", x, high), high, x)


def _tame(work: Work) -> str:
    is_small = work.op("Less", work.op("Abs", work.x), work.number(steps.SMALLEST))
    cut = _clipped(work, work.x, work.number(-steps.LARGEST), work.number(steps.LARGEST))
    return work.op("Where", is_small, work.number(0.0), cut)


def _constant(work: Work) -> str:
    nothing = work.op("Where", work.missing, work.number(0.0), work.number(0.0))
    return work.op("Add", nothing, work.each("value"))


def _smooth_clip(work: Work) -> str:
    largest = steps.LARGEST_SCALED
    x = _clipped(work, work.x, work.number(-largest), work.number(largest))
    share = work.op("Div", x, work.each("bound"))
    root = work.op("Sqrt", work.op("Add", work.number(1.0), work.op("Mul", share, share)))
    return work.op("Div", x, root)


def _interpolate(work: Work) -> str:
    """As NumPy: slopes are divided out once, and the last knot has its place exactly."""
    knots = [step.knots for step in work.steps]
    places = [step.places for step in work.steps]
    slopes = [np.diff(y) / np.diff(x) for x, y in zip(knots, places, strict=True)]
    index, _ = count_below(work.graph, work.x, knots, "right")
    slope = pick(work.graph, index, [np.concatenate([[0.0], each, [0.0]]) for each in slopes])
    knot = pick(work.graph, index, [np.append(each[:1], each) for each in knots])
    place = pick(work.graph, index, [np.append(each[:1], each) for each in places])
    return work.op("Add", work.op("Mul", slope, work.op("Sub", work.x, knot)), place)


def _days(work: Work) -> str:
    numbers = work.op("Div", work.graph.cast(work.x, np.float64), work.number(float(MICROSECONDS_A_DAY)))
    return work.op("Where", work.missing, work.number(np.nan), numbers)


def _in_zone(work: Work) -> str:
    zones = [step.zone for step in work.steps]
    n = len(zones)
    as_written = [i for i, zone in enumerate(zones) if zone == AS_WRITTEN]
    others = [i for i in range(n) if i not in as_written]
    parts = []
    if as_written:
        assert work.written is not None
        columns = [work.lanes.columns[i] for i in as_written]
        parts.append(work.graph.columns(work.written, columns, work.n_columns))
    if others:
        x = work.graph.columns(work.x, others, n)
        parts.append(to_zones(work.graph, x, [zones[i] for i in others]))
    order = [*as_written, *others]
    return work.graph.columns(work.graph.concat(parts), np.argsort(order).tolist(), n)


def _part(work: Work) -> str:
    """Of each date that several lanes begin with, the calendar once."""
    by_name: dict[str, list[int]] = {}
    for i, step in enumerate(work.steps):
        by_name.setdefault(step.name, []).append(i)
    calendars: dict[tuple[int, ...], Calendar] = {}
    parts, order = [], []
    for name, places in by_name.items():
        columns = tuple(work.lanes.columns[i] for i in places)
        if columns not in calendars:
            dates = work.graph.columns(work.x, places, len(work.steps))
            calendars[columns] = Calendar(work.graph, dates)
        parts.append(calendars[columns].part(name))
        order += places
    return work.graph.columns(work.graph.concat(parts), np.argsort(order).tolist(), len(order))


def _wave(shift: int) -> Callable[[Work], str]:
    """sin(x + shift pi / 2): of the rest of x beyond whole quarter turns, as the sine of some runtimes is not
    exact around pi, where clocks show noon. The cosine is 1 - 2 sin(x / 2)^2, since ONNX Runtime has none of
    float64 before 1.29; of rests up to pi / 4 that is as exact.

    Source:  Cody & Waite 1980: pi / 2 in three parts, of which the first two have 33 bits
    """

    def wave(work: Work) -> str:
        graph = work.graph
        turns = work.op("Round", work.op("Div", work.x, work.number(np.pi / 2)))
        rest = work.x
        for part in QUARTER_TURN:
            rest = work.op("Sub", rest, work.op("Mul", turns, work.number(part)))
        quarter = graph.add("Add", graph.cast(turns, np.int64), graph.constant(shift, np.int64))
        quarter = graph.add("Mod", quarter, graph.constant(4, np.int64))
        is_odd = graph.add("Equal", graph.add("Mod", quarter, graph.constant(2, np.int64)), _int(graph, 1))
        half = work.op("Sin", work.op("Mul", rest, work.number(0.5)))
        square = work.op("Mul", half, half)
        cosine = work.op("Sub", work.number(1.0), work.op("Add", square, square))
        y = work.op("Where", is_odd, cosine, work.op("Sin", rest))
        is_down = graph.add("Greater", quarter, _int(graph, 1))
        return work.op("Where", is_down, work.op("Neg", y), y)

    return wave


def _int(graph: Graph, value: int) -> str:
    return graph.constant(value, np.int64)


def _equals(work: Work) -> str:
    code = work.graph.constant([[step.code for step in work.steps]], np.int64)
    return work.graph.cast(work.op("Equal", work.x, code), np.float64)


def _take(work: Work) -> str:
    places = [start + step.place for start, step in zip(work.starts, work.steps, strict=True)]
    return work.graph.columns(work.x, places, work.total)


# What each step is. A step that is not here cannot be exported: see `emitted`.
EMITTED: dict[type[Step], Callable[[Work], str]] = {
    steps.IsMissing: lambda work: work.graph.cast(work.missing, np.float64),
    steps.Fill: _fill,
    steps.FillDate: lambda work: work.op("Where", work.missing, work.graph.constant(0, np.int64), work.x),
    steps.Tame: _tame,
    steps.Constant: _constant,
    steps.Subtract: lambda work: work.op("Sub", work.x, work.each("value")),
    steps.Multiply: lambda work: work.op("Mul", work.x, work.each("value")),
    steps.Divide: lambda work: work.op("Div", work.x, work.each("value")),
    steps.Clip: lambda work: _clipped(work, work.x, work.each("low"), work.each("high")),
    steps.SmoothClip: _smooth_clip,
    steps.Interpolate: _interpolate,
    steps.Days: _days,
    steps.InZone: _in_zone,
    steps.Part: _part,
    steps.Sine: _wave(0),
    steps.Cosine: _wave(1),
    steps.Code: lambda work: codes_of_texts(work.graph, work.x, work.lanes.columns, work.steps),
    steps.Equals: _equals,
    steps.Pick: lambda work: pick(work.graph, work.x, [step.values for step in work.steps]),
    steps.Bin: lambda work: count_below(work.graph, work.x, [step.edges for step in work.steps], "left")[0],
    steps.Vectors: lambda work: vectors_of_texts(
        work.graph, work.x, work.all_missing, work.lanes.columns, [step.vectors for step in work.steps]
    ),
    steps.Take: _take,
}


@dataclass(frozen=True)
class _Item:
    """A chain on its way: which output it makes, the lane that it is at, the steps that it has."""

    output: int
    lane: int
    chain: Chain


@dataclass(frozen=True)
class Found:
    """A column of a tensor, and how many it has."""

    tensor: str
    place: int
    width: int


class Chains:
    """Chains of steps for columns of one type, those that begin alike side by side.

    Chains that begin with the same types of steps go through the same nodes, a column each; where they part,
    nodes part.
    """

    def __init__(self, graph: Graph, missing: str, n_columns: int, written: str | None = None) -> None:
        self._graph, self._missing, self._n, self._written = graph, missing, n_columns, written
        self.found: dict[int, Found] = {}  # output -> where it stands

    def run(self, x: str, chains: Mapping[int, tuple[int, Chain]]) -> None:
        """Add the nodes of chains (output -> column, steps); `found` says where each output stands."""
        lanes = Lanes(x, tuple(range(self._n)), (1,) * self._n)
        self._walk(lanes, [_Item(output, *chain) for output, chain in chains.items()], 0)

    def _walk(self, lanes: Lanes, items: Sequence[_Item], depth: int) -> None:
        by_type: dict[type[Step], list[_Item]] = {}
        for item in items:
            if len(item.chain) == depth:
                self.found[item.output] = Found(lanes.tensor, lanes.starts[item.lane], sum(lanes.widths))
            else:
                by_type.setdefault(type(item.chain[depth]), []).append(item)
        for kind, group in by_type.items():
            self._step(lanes, kind, group, depth)

    def _step(self, lanes: Lanes, kind: type[Step], items: Sequence[_Item], depth: int) -> None:
        place: dict[tuple[int, int], int] = {}  # lane before and step -> lane after
        for item in items:
            place.setdefault((item.lane, id(item.chain[depth])), len(place))
        before = [lane for lane, _ in place]
        step_of = {id(item.chain[depth]): item.chain[depth] for item in items}
        taken = [step_of[key] for _, key in place]
        if kind in (steps.Code, steps.Vectors, steps.Take):  # which take the columns that they name
            x = lanes.tensor
        else:
            wide = [lanes.starts[lane] + i for lane in before for i in range(lanes.widths[lane])]
            x = self._graph.columns(lanes.tensor, wide, sum(lanes.widths))
        columns = tuple(lanes.columns[lane] for lane in before)
        widths = tuple(lanes.widths[lane] for lane in before)
        with self._graph.part(kind.__name__):
            work = Work(self._graph, Lanes(x, columns, widths), taken, self._missing, self._n)
            work.written, work.starts = self._written, [lanes.starts[lane] for lane in before]
            work.total = sum(lanes.widths)
            x = EMITTED[kind](work)
        after = Lanes(x, columns, tuple(map(_width_after, taken, widths)))
        moved = [_Item(item.output, place[item.lane, id(item.chain[depth])], item.chain) for item in items]
        self._walk(after, moved, depth + 1)


def _width_after(step: Step, width: int) -> int:
    if isinstance(step, steps.Vectors):
        return step.vectors.width + 1
    return 1 if isinstance(step, steps.Take) else width


@dataclass(frozen=True)
class Inputs:
    """The table's columns as tensors of one type each, and which columns these are.

    numbers: float64 (rows, columns), dates: int64, texts: strings; None where there are no such
    written: int64, beside dates: what clock and calendar of each text show; None where no column needs it
    names:   of the columns of each: "numbers" -> ("age", ...)
    """

    numbers: str | None
    dates: str | None
    texts: str | None
    written: str | None
    names: Mapping[str, tuple[str, ...]]


def encoded(graph: Graph, encoder: Encoder, inputs: Inputs) -> tuple[str, str | None]:
    """Numbers float32 (rows, n_num), and codes int64 (rows, n_cat) where there are any."""
    chains: list[tuple[str, Chain]] = []
    codes: list[tuple[str, Chain]] = []
    for coder in encoder.coders:
        chains += [(coder.column.name, chain) for _, chain in coder.outputs]
        if coder.code is not None:
            codes.append((coder.column.name, (coder.code,)))
    n_coded = len(chains)
    found = _run_all(graph, [*chains, *codes], inputs)
    cat = _collected(graph, found[n_coded:]) if codes else None
    num = graph.cast(_collected(graph, found[:n_coded]), np.float32) if n_coded else None
    if encoder.target_encoding is not None and encoder.target_encoding.statistics:
        statistics = _statistics(graph, encoder, num, cat)
        num = statistics if num is None else graph.concat([num, statistics])
    if num is None:
        assert cat is not None
        num = graph.columns(graph.cast(cat, np.float32), [], len(codes))
    return num, cat


def _run_all(graph: Graph, chains: Sequence[tuple[str, Chain]], inputs: Inputs) -> list[Found]:
    found: dict[int, Found] = {}
    for kind, is_missing in _MISSING.items():
        x: str | None = getattr(inputs, kind)
        if x is None:
            continue
        names = inputs.names[kind]
        of_kind = {i: (names.index(name), chain) for i, (name, chain) in enumerate(chains) if name in names}
        with graph.part(kind):
            made = Chains(graph, is_missing(graph, x), len(names), inputs.written)
            made.run(x, of_kind)
        found |= made.found
    return [found[i] for i in range(len(chains))]


_MISSING: dict[str, Callable[[Graph, str], str]] = {
    "numbers": lambda graph, x: graph.add("IsNaN", x),
    "dates": lambda graph, x: graph.add("Equal", x, graph.constant(-(2**63), np.int64)),
    "texts": lambda graph, x: graph.cast(_label(graph, x, [""], [1], 0), np.bool_),
}


def _label(graph: Graph, x: str, keys: Sequence[str], values: Sequence[int], default: int) -> str:
    return graph.add(
        "LabelEncoder",
        x,
        domain="ai.onnx.ml",
        keys_strings=list(keys),
        values_int64s=list(values),
        default_int64=default,
    )


def _collected(graph: Graph, found: Sequence[Found]) -> str:
    """These columns of several tensors, in this order."""
    starts: dict[str, int] = {}
    total = 0
    for each in found:
        if each.tensor not in starts:
            starts[each.tensor], total = total, total + each.width
    return graph.columns(graph.concat(list(starts)), [starts[e.tensor] + e.place for e in found], total)


def _statistics(graph: Graph, encoder: Encoder, num: str | None, cat: str | None) -> str:
    """Columns of target statistics, float32."""
    assert encoder.target_encoding is not None
    statistics = encoder.target_encoding.statistics
    found: dict[int, Found] = {}
    for x, is_number in ((num, True), (cat, False)):
        chosen = {i: s for i, s in enumerate(statistics) if (s.edges is not None) == is_number}
        if x is None or not chosen:
            continue
        with graph.part("target"):
            taken = graph.add(
                "Gather", x, graph.constant([s.place for s in chosen.values()], np.int64), axis=1
            )
            if is_number:
                taken = graph.cast(taken, np.float64)
            made = Chains(graph, "", len(chosen))
            made.run(taken, {i: (lane, s.steps) for lane, (i, s) in enumerate(chosen.items())})
            found |= made.found
    return graph.cast(_collected(graph, [found[i] for i in range(len(statistics))]), np.float32)


def unknown_steps(encoder: Encoder) -> list[str]:
    """Names of steps that no nodes are known for."""
    chains: list[Any] = [chain for coder in encoder.coders for _, chain in coder.outputs]
    if encoder.target_encoding is not None:
        chains += [s.steps for s in encoder.target_encoding.statistics]
    return sorted({type(step).__name__ for chain in chains for step in chain if type(step) not in EMITTED})


def needs_letters(encoder: Encoder) -> bool:
    """Whether a graph of it takes texts apart, of which it may not know a letter."""
    return any(
        isinstance(step, steps.Vectors) for c in encoder.coders for _, chain in c.outputs for step in chain
    )
