"""The steps of an encoder as PyTorch: a table of what each step is."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multilayer.export.onnx.dates import CYCLES_BEFORE, DAYS_A_CYCLE, FIRST, LAST, QUARTER, transitions
from multilayer.export.typed import MISSING_DATE, Input
from multilayer.table import steps
from multilayer.table.column import AS_WRITTEN
from multilayer.table.encode import Encoder
from multilayer.table.steps import Chain, Code, Step

DAY = 86_400_000_000  # microseconds
START_OF_CYCLE = int(np.datetime64("2100-01-01").astype(np.int64)) * 96  # quarter-hours since 1970


class Cells:
    """What the steps of a column begin with, and may ask for.

    x:       float64, int64 microseconds, or int64 codes, (rows,)
    missing: booleans (rows,)
    written: int64, what clock and calendar of a date's text show; None where there are none
    codes:   of a text, by the levels that they count
    """

    def __init__(
        self,
        x: Tensor,
        missing: Tensor,
        written: Tensor | None = None,
        codes: Mapping[tuple[str, ...], Tensor] | None = None,
    ) -> None:
        self.x, self.missing, self.written, self.codes = x, missing, written, codes or {}


def _constant(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(values))


def _tame(step: steps.Tame, x: Tensor, cells: Cells) -> Tensor:
    return torch.where(x.abs() < steps.SMALLEST, 0.0, x.clamp(-steps.LARGEST, steps.LARGEST))


def _smooth_clip(step: steps.SmoothClip, x: Tensor, cells: Cells) -> Tensor:
    x = x.clamp(-steps.LARGEST_SCALED, steps.LARGEST_SCALED)
    share = x / step.bound
    return x / torch.sqrt(1 + share * share)


def _interpolate(step: steps.Interpolate, x: Tensor, cells: Cells) -> Tensor:
    """As NumPy: slopes are divided out once, and the last knot has its place exactly."""
    slopes = np.diff(step.places) / np.diff(step.knots)
    index = torch.searchsorted(_constant(step.knots), x.contiguous(), right=True)
    slope = _constant(np.concatenate([[0.0], slopes, [0.0]]))[index]
    knot = _constant(np.append(step.knots[:1], step.knots))[index]
    place = _constant(np.append(step.places[:1], step.places))[index]
    return slope * (x - knot) + place


def _days(step: steps.Days, x: Tensor, cells: Cells) -> Tensor:
    return torch.where(cells.missing, torch.nan, x.double() / DAY)


def _in_zone(step: steps.InZone, x: Tensor, cells: Cells) -> Tensor:
    if step.zone == AS_WRITTEN:
        return x if cells.written is None else cells.written
    quarters, offsets = transitions(step.zone)
    quarter = torch.div(x, QUARTER, rounding_mode="floor").clamp(FIRST // 900, LAST // 900)
    later = quarter - START_OF_CYCLE
    repeated = torch.remainder(later, DAYS_A_CYCLE * 96) + START_OF_CYCLE
    quarter = torch.where(later < 0, quarter, repeated)
    place = torch.searchsorted(_constant(quarters), quarter.contiguous(), right=True)
    return x + _constant(offsets)[place]


def _floor(x: Tensor, by: int) -> Tensor:
    return torch.div(x, by, rounding_mode="floor")


def _part(step: steps.Part, x: Tensor, cells: Cells) -> Tensor:
    """Source: Hinnant 2013, "chrono-compatible low-level date algorithms" (civil_from_days)."""
    day = _floor(x, DAY)
    if step.name == "hour":
        return (x - day * DAY).double() / 3_600_000_000
    if step.name == "weekday":
        return torch.remainder(day + 3, 7)
    day = torch.remainder(day + 719_468 + CYCLES_BEFORE * DAYS_A_CYCLE, DAYS_A_CYCLE)
    year = _floor(day - _floor(day, 1_460) + _floor(day, 36_524) - _floor(day, 146_096), 365)
    day = day - (365 * year + _floor(year, 4) - _floor(year, 100))  # since 1 March
    month = _floor(5 * day + 2, 153)
    if step.name == "month":
        return torch.remainder(month + 2, 12)
    if step.name == "monthday":
        return day - _floor(153 * month + 2, 5)
    is_leap = ((year % 4 == 0) & (year % 100 != 0)) | (year == 0)
    return torch.where(day < 306, day + 59 + is_leap.long(), day - 306)


def _pick(step: steps.Pick, x: Tensor, cells: Cells) -> Tensor:
    return _constant(step.values)[x.clamp(max=len(step.values) - 1)]


# What each step is; codes of texts come from outside. Vectors and Take are of text, which no tensor holds.
DONE: dict[type[Step], Callable[..., Tensor]] = {
    steps.IsMissing: lambda step, x, cells: cells.missing.double(),
    steps.Fill: lambda step, x, cells: torch.where(cells.missing, step.value, x),
    steps.FillDate: lambda step, x, cells: torch.where(cells.missing, 0, x),
    steps.Tame: _tame,
    steps.Constant: lambda step, x, cells: torch.zeros_like(cells.missing, dtype=torch.float64) + step.value,
    steps.Subtract: lambda step, x, cells: x - step.value,
    steps.Multiply: lambda step, x, cells: x.double() * step.value,
    steps.Divide: lambda step, x, cells: x / step.value,
    steps.Clip: lambda step, x, cells: x.clamp(step.low, step.high),
    steps.SmoothClip: _smooth_clip,
    steps.Interpolate: _interpolate,
    steps.Days: _days,
    steps.InZone: _in_zone,
    steps.Part: _part,
    steps.Sine: lambda step, x, cells: torch.sin(x),
    steps.Cosine: lambda step, x, cells: torch.cos(x),
    steps.Code: lambda step, x, cells: cells.codes[step.levels],
    steps.Equals: lambda step, x, cells: (x == step.code).double(),
    steps.Pick: _pick,
    steps.Bin: lambda step, x, cells: torch.searchsorted(_constant(step.edges), x.contiguous()),
}


class EncoderModule(nn.Module):
    """Typed columns to what networks take.

    Shape:   numbers: float64 (rows, columns); dates, written: int64; codes: int64, a column for each of
             `codes_of`, 0 where it is missing, 1 for what is no level -> float32 (rows, numbers, then codes)
    """

    def __init__(self, encoder: Encoder, inputs: tuple[Input, ...]) -> None:
        super().__init__()
        self._encoder, self._codes = encoder, codes_of(encoder)
        self._places = {role: _places(inputs, role) for role in ("number", "date", "written")}

    def forward(self, numbers: Tensor, dates: Tensor, written: Tensor, codes: Tensor) -> Tensor:
        """Encoded rows."""
        num, cat = [], []
        for coder in self._encoder.coders:
            if not coder.outputs and coder.code is None:
                continue
            cells = self._cells(coder.column.name, numbers, dates, written, codes)
            done: dict[tuple[int, ...], Tensor] = {}
            num += [_run(chain, cells, done) for _, chain in coder.outputs]
            if coder.code is not None:
                cat.append(cells.codes[coder.code.levels])
        first = [each.float() for each in num]
        found = self._encoder.target_encoding
        for statistic in () if found is None else found.statistics:
            source = cat[statistic.place] if statistic.edges is None else first[statistic.place].double()
            cells = Cells(source, torch.zeros_like(source, dtype=torch.bool))
            first.append(_run(statistic.steps, cells, {}).float())
        return torch.stack([*first, *(each.float() for each in cat)], dim=1)

    def _cells(self, name: str, numbers: Tensor, dates: Tensor, written: Tensor, codes: Tensor) -> Cells:
        if name in self._places["number"]:
            x = numbers[:, self._places["number"][name]]
            return Cells(x, x.isnan())
        own = {code.levels: codes[:, i] for i, (column, code) in enumerate(self._codes) if column == name}
        if own:
            x = next(iter(own.values()))
            return Cells(x, x == steps.MISSING, codes=own)
        x = dates[:, self._places["date"][name]]
        place = self._places["written"].get(name)
        return Cells(x, x == MISSING_DATE, None if place is None else written[:, place])


def codes_of(encoder: Encoder) -> list[tuple[str, Code]]:
    """Each column of text with each look-up that it needs; an ordered category has two."""
    found: dict[tuple[str, tuple[str, ...]], Code] = {}
    for coder in encoder.coders:
        own = [step for _, chain in coder.outputs for step in chain if isinstance(step, Code)]
        for code in (*([] if coder.code is None else [coder.code]), *own):
            found.setdefault((coder.column.name, code.levels), code)
    return [(name, code) for (name, _), code in found.items()]


def _places(inputs: tuple[Input, ...], role: str) -> dict[str, int]:
    return {name: i for i, name in enumerate(each.column for each in inputs if each.role == role)}


def _run(chain: Chain, cells: Cells, done: dict[tuple[int, ...], Tensor]) -> Tensor:
    """What several chains begin with is done once."""
    x = cells.x
    key: tuple[int, ...] = ()
    for step in chain:
        key = (*key, id(step))
        if key not in done:
            done[key] = DONE[type(step)](step, x, cells)
        x = done[key]
    return x
