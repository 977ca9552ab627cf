"""The steps of an encoder in SQL: a table of what each is. NULL is missing, and stays so until `Fill`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from multilayer.errors import ConfigError
from multilayer.export.sql.stages import Stages, literal, name, number
from multilayer.table import steps
from multilayer.table.column import AS_WRITTEN, Column
from multilayer.table.encode import Encoder
from multilayer.table.kinds import kind_of
from multilayer.table.kinds.duration import DURATION
from multilayer.table.kinds.time import TIME
from multilayer.table.levels import value_text
from multilayer.table.steps import RARE, Chain, Code, Step

DOUBLE = "DOUBLE PRECISION"
_DAY_US = "86400000000.0"
_DECIMAL = "'-?(0|[1-9][0-9]*)[.][0-9]+'"  # the same to SIMILAR TO of both, where a point alone is not


def _clipped(v: str, low: float, high: float) -> str:
    least, most = number(low), number(high)
    return f"CASE WHEN {v} < {least} THEN {least} WHEN {v} > {most} THEN {most} ELSE {v} END"


def _smooth_clip(step: steps.SmoothClip, v: str, m: str) -> str:
    cut = f"({_clipped(v, -steps.LARGEST_SCALED, steps.LARGEST_SCALED)})"
    bound = number(step.bound)
    return f"{cut} / sqrt(1 + ({cut} / {bound}) * ({cut} / {bound}))"


def _interpolate(step: steps.Interpolate, v: str, m: str) -> str:
    knots, places = step.knots.tolist(), step.places.tolist()

    def between(low: int, high: int) -> str:
        """Where the number of knots that are <= v is known to be from low to high."""
        if low == high:
            if low in (0, len(knots)):
                return number(places[min(low, len(knots) - 1)])
            slope = (places[low] - places[low - 1]) / (knots[low] - knots[low - 1])
            return f"{number(slope)} * ({v} - {number(knots[low - 1])}) + {number(places[low - 1])}"
        middle = (low + high) // 2
        below, above = between(low, middle), between(middle + 1, high)
        return f"CASE WHEN {v} < {number(knots[middle])} THEN {below} ELSE {above} END"

    return f"CASE WHEN {v} IS NULL THEN NULL ELSE {between(0, len(knots))} END"


def _code(step: Code, v: str, m: str) -> str:
    """v: the text; its value, as true for True and 1.5 for 1.50, stands beside it."""
    levels = {level: i for i, level in enumerate(step.levels, start=RARE + 1)}
    alike: dict[str, int] = {}
    for level, code in levels.items():
        alike.setdefault(value_text(level), code)
    exact = " ".join(f"WHEN {literal(level)} THEN {code}" for level, code in levels.items())
    by_value = " ".join(f"WHEN {literal(text)} THEN {code}" for text, code in alike.items())
    other = f"CASE {v}_value {by_value} ELSE {RARE} END" if alike else str(RARE)
    known = f"CASE {v} {exact} ELSE {other} END" if levels else str(RARE)
    return f"CASE WHEN {v} IS NULL OR {v} = '' THEN 0 ELSE {known} END"


def _pick(step: steps.Pick, v: str, m: str) -> str:
    values = step.values.tolist()
    cases = " ".join(f"WHEN {i} THEN {number(value)}" for i, value in enumerate(values[:-1]))
    return f"CASE {v} {cases} ELSE {number(values[-1])} END" if cases else number(values[-1])


def _bin(step: steps.Bin, v: str, m: str) -> str:
    edges = step.edges.tolist()

    def between(low: int, high: int) -> str:
        if low == high:
            return str(low)
        middle = (low + high) // 2
        below, above = between(low, middle), between(middle + 1, high)
        return f"CASE WHEN {v} <= {number(edges[middle])} THEN {below} ELSE {above} END"

    return between(0, len(edges))


def _part(step: steps.Part, v: str, m: str) -> str:
    if step.name == "hour":
        us = _microseconds(v)
        return f"({us} - floor({us} / {_DAY_US}) * {_DAY_US}) / 3600000000.0"
    of = {"month": "month", "monthday": "day", "yearday": "doy", "weekday": "isodow"}[step.name]
    return f"CAST(extract({of} FROM {v}) AS {DOUBLE}) - 1"


def _microseconds(v: str) -> str:
    return f"round(CAST(extract(epoch FROM {v}) AS {DOUBLE}) * 1000000.0)"


# What each step makes of v; m: whether the cell is missing
WRITTEN: Mapping[type[Step], Callable[[Any, str, str], str]] = {
    steps.IsMissing: lambda s, v, m: f"CASE WHEN {m} THEN 1.0 ELSE 0.0 END",
    steps.Fill: lambda s, v, m: f"CASE WHEN {m} THEN {number(s.value)} ELSE {v} END",
    steps.FillDate: lambda s, v, m: v,
    steps.Tame: lambda s, v, m: (
        f"CASE WHEN abs({v}) < 1e-150 THEN 0.0 ELSE {_clipped(v, -steps.LARGEST, steps.LARGEST)} END"
    ),
    steps.Constant: lambda s, v, m: number(s.value),
    steps.Subtract: lambda s, v, m: f"{v} - {number(s.value)}",
    steps.Multiply: lambda s, v, m: f"{v} * {number(s.value)}",
    steps.Divide: lambda s, v, m: f"{v} / {number(s.value)}",
    steps.Clip: lambda s, v, m: _clipped(v, s.low, s.high),
    steps.SmoothClip: _smooth_clip,
    steps.Interpolate: _interpolate,
    steps.Days: lambda s, v, m: f"{_microseconds(v)} / {_DAY_US}",
    steps.InZone: lambda s, v, m: v,
    steps.Part: _part,
    steps.Sine: lambda s, v, m: f"sin({v})",
    steps.Cosine: lambda s, v, m: f"cos({v})",
    steps.Code: _code,
    steps.Equals: lambda s, v, m: f"CASE WHEN {v} = {s.code} THEN 1.0 ELSE 0.0 END",
    steps.Pick: _pick,
    steps.Bin: _bin,
}


def refuse(encoder: Encoder) -> None:
    """Refuse columns that SQL does not surely read as the library does.

    Raises:
        ConfigError: texts, times of day, durations, or dates of a time zone.
    """
    for coder in encoder.coders:
        column, kind = coder.column, kind_of(coder.column)
        is_zoned = "M" in kind.dtypes and column.zone not in (None, "UTC", "Etc/UTC") and _uses_zone(coder)
        if kind.is_free_text or kind in (TIME, DURATION) or column.zone == AS_WRITTEN or is_zoned:
            what = f"dates in the zone {column.zone}" if "M" in kind.dtypes else f"of kind {kind.name}"
            raise ConfigError(
                f"a query takes numbers, categories, booleans and dates without a zone; {column.name!r} is "
                f"{what}. Leave it out of the student (drop=), or export to onnx or c."
            )


def _uses_zone(coder: Any) -> bool:
    return any(isinstance(step, steps.InZone) for _, chain in coder.outputs for step in chain)


def encoded(encoder: Encoder, stages: Stages) -> list[str]:
    """Stages that end in the encoded row: names of its numbers and codes, all of double precision."""
    coders = [coder for coder in encoder.coders if coder.outputs or coder.code is not None]
    raw: dict[str, str] = {}
    for i, coder in enumerate(coders):
        raw[f"r{i}"] = _raw(coder.column)
    stages.add(raw, [])
    values = {
        f"r{i}_value": _value(f"r{i}")
        for i, coder in enumerate(coders)
        if not kind_of(coder.column).has_numbers
    }
    stages.add(values or {"nothing": "0"}, list(raw))
    chains: list[tuple[str, Chain]] = []
    codes: list[tuple[str, Chain]] = []
    for i, coder in enumerate(coders):
        chains += [(f"r{i}", chain) for _, chain in coder.outputs]
        if coder.code is not None:
            codes.append((f"r{i}", (coder.code,)))
    done = _through([*chains, *codes], stages, [*raw, *values])
    numbers, found = done[: len(chains)], done[len(chains) :]
    single = {f"x{i}": _single(column) for i, column in enumerate(numbers)}
    single |= {f"k{i}": f"CAST({column} AS {DOUBLE})" for i, column in enumerate(found)}
    stages.add(single, [])
    statistics = encoder.target_encoding.statistics if encoder.target_encoding else ()
    if statistics:
        starts = [
            (f"k{each.place}" if each.edges is None else f"x{each.place}", each.steps) for each in statistics
        ]
        done = _through(starts, stages, list(single))
        last = {f"x{len(numbers) + i}": _single(column) for i, column in enumerate(done)}
        stages.add(last, list(single))
    n_numbers = len(numbers) + len(statistics)
    return [f"x{i}" for i in range(n_numbers)] + [f"k{i}" for i in range(len(found))]


def _single(column: str) -> str:
    """Rounded to float32, as networks take it."""
    return f"CAST(CAST({column} AS REAL) AS {DOUBLE})"


def _raw(column: Column) -> str:
    kind, given = kind_of(column), name(column.name)
    if not kind.has_numbers:
        return f"CAST({given} AS VARCHAR)"
    if "M" in kind.dtypes:
        return f"CAST({given} AS TIMESTAMP)"
    if kind.is_closed:
        text = f"lower(CAST({given} AS VARCHAR))"
        return (
            f"CASE WHEN {text} IN ('true', 't', 'yes', 'y') THEN 1.0 WHEN {text} IN ('false', 'f', 'no', "
            f"'n') THEN 0.0 ELSE CAST({text} AS {DOUBLE}) END"
        )
    return f"NULLIF(CAST({given} AS {DOUBLE}), CAST('NaN' AS {DOUBLE}))"


def _value(text: str) -> str:
    """One text for texts of the same truth value or decimal number."""
    return (
        f"CASE WHEN lower({text}) IN ('true', 'false') THEN lower({text}) WHEN {text} SIMILAR TO {_DECIMAL} "
        f"THEN rtrim(rtrim({text}, '0'), '.') ELSE {text} END"
    )


def _through(chains: Sequence[tuple[str, Chain]], stages: Stages, carried: list[str]) -> list[str]:
    """A stage for each step of the longest chain; the column that each chain ends in."""
    name_of: dict[tuple[str, tuple[int, ...]], str] = {}
    at = [start for start, _ in chains]
    for depth in range(max((len(chain) for _, chain in chains), default=0)):
        new: dict[str, str] = {}
        for i, (start, chain) in enumerate(chains):
            if depth >= len(chain):
                continue
            key = start, tuple(id(step) for step in chain[: depth + 1])
            if key not in name_of:
                name_of[key] = f"v{len(name_of)}"
                step = chain[depth]
                missing = f"{start} IS NULL"
                new[name_of[key]] = WRITTEN[type(step)](step, at[i], missing)
            at[i] = name_of[key]
        ended = [at[i] for i, (_, chain) in enumerate(chains) if depth >= len(chain)]
        stages.add(new, [*carried, *ended])
    return at


def unknown_steps(encoder: Encoder) -> list[str]:
    """Names of steps that cannot be written."""
    found = (step for coder in encoder.coders for _, chain in coder.outputs for step in chain)
    return sorted({type(step).__name__ for step in found if type(step) not in WRITTEN})
