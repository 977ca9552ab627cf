"""Charts as SVG text: colours of the page around them where it names them, letters in the colour of its text.

All functions give one `<svg>` with a title, which a screen reader reads. Colours are `--series-1` and so on,
with values that can be seen on white and on black.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 270
CARD = 340  # width of a small chart
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 46
COLOURS = ("#2f7ed8", "#d9772b", "#3a9d5d", "#a05bc0", "#c2455b")
LETTERS_A_PIXEL = 0.135  # of a text of 13 pixels, about

Number = float | int
Numbers = Sequence[Number]


@dataclass(frozen=True)
class Line:
    """A line; low and high: a band around it; dots: marks at its points; dashed: a reference."""

    name: str
    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None
    dots: bool = False
    dashed: bool = False


def colour(place: int) -> str:
    """The colour of a series.

    >>> colour(0)
    'var(--series-1, #2f7ed8)'
    """
    return f"var(--series-{place % len(COLOURS) + 1}, {COLOURS[place % len(COLOURS)]})"


def ticks(low: Number, high: Number, most: int = 6) -> list[float]:
    """Round numbers that span a range.

    >>> ticks(0, 1), ticks(3, 98)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 20.0, 40.0, 60.0, 80.0, 100.0])
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        low, high = (low - 0.5, low + 0.5) if math.isfinite(low) else (0.0, 1.0)
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def short(value: Number) -> str:
    """A number as an axis has it.

    >>> short(1200000), short(0.25), short(-3), short(1e-7)
    ('1.2M', '0.25', '-3', '1e-07')
    """
    size = abs(value)
    for bound, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if bound <= size < 1e12:
            divisor = {"G": 1e9, "M": 1e6, "k": 1e3}[letter]
            return f"{value / divisor:.3g}{letter}"
    return f"{value:.4g}"


class Frame:
    """Axes of a chart: from numbers to places."""

    def __init__(
        self,
        x: tuple[Number, Number],
        y: tuple[Number, Number],
        width: int = WIDTH,
        height: int = HEIGHT,
        *,
        x_names: Sequence[tuple[Number, str]] | None = None,
    ) -> None:
        self.y_ticks = ticks(*y, most=5)
        self.y = (min(self.y_ticks[0], y[0]), max(self.y_ticks[-1], y[1]))
        self.x_ticks = ticks(*x, most=6 if width > CARD else 5) if x_names is None else []
        self.x = (x if x[1] > x[0] else (x[0] - 0.5, x[0] + 0.5)) if x_names is None else x
        self.x_names = x_names
        self.width, self.height = width, height

    def at_x(self, value: Number) -> float:
        """Pixels from the left."""
        low, high = self.x
        return LEFT + (value - low) / (high - low) * (self.width - LEFT - RIGHT)

    def at_y(self, value: Number) -> float:
        """Pixels from the top."""
        low, high = self.y
        return self.height - BOTTOM - (value - low) / (high - low) * (self.height - TOP - BOTTOM)

    def axes(self, x_label: str, y_label: str) -> str:
        """Grid, numbers, names."""
        parts = []
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        for value in self.y_ticks:
            y = self.at_y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" {GRID}/>')
            parts.append(text(LEFT - 6, y + 4, short(value), anchor="end"))
        named = self.x_names
        if named is None:
            inside = [value for value in self.x_ticks if self.x[0] - 1e-12 <= value <= self.x[1] + 1e-12]
            named = [(value, short(value)) for value in inside]
        for value, name in named:
            x = self.at_x(value)
            room = len(name) * 3.8
            anchor = "end" if x + room > self.width else "start" if x - room < 0 else "middle"
            parts.append(
                text(min(x, self.width - 2) if anchor == "end" else x, bottom + 16, name, anchor=anchor)
            )
        parts.append(text((LEFT + right) / 2, self.height - 8, x_label, anchor="middle", strong=True))
        middle = (TOP + bottom) / 2
        parts.append(
            f'<text x="14" y="{middle:.0f}" transform="rotate(-90 14 {middle:.0f})" text-anchor="middle" '
            f'font-size="13" fill="currentColor" opacity="0.8">{escape(y_label)}</text>'
        )
        return "".join(parts)


DASHES = ' stroke-dasharray="5 4"'
GRID = 'stroke="currentColor" stroke-opacity="0.15"'


def text(
    x: Number,
    y: Number,
    words: str,
    *,
    anchor: str = "start",
    strong: bool = False,
    fill: str = "currentColor",
) -> str:
    """A piece of text in a chart."""
    opacity = "0.8" if strong else "0.75"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="13" fill="{fill}" '
        f'opacity="{opacity}">{escape(words)}</text>'
    )


def svg(title: str, body: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    """The drawing, as wide as there is room for, at most as it was made."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}" '
        f'style="width:100%;max-width:{width}px;height:auto" font-family="inherit">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    y_range: tuple[Number, Number] | None = None,
    x_range: tuple[Number, Number] | None = None,
    x_names: Sequence[tuple[Number, str]] | None = None,
    mark_x: tuple[Number, str] | None = None,
    rug: Numbers | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> str:
    """Lines with bands and dots; a legend below where there are several.

    rug: ticks on the x axis, such as where the data lie
    """
    drawn = [line for line in lines if len(line.x)]
    xs = [v for line in drawn for v in line.x if math.isfinite(v)] or [0.0, 1.0]
    parts_y = [part for line in drawn for part in (line.y, line.low or (), line.high or ())]
    ys = [v for part in parts_y for v in part if math.isfinite(v)] or [0.0, 1.0]
    ends = x_range or (min(xs), max(xs))
    frame = Frame(ends, y_range or (min(ys), max(ys)), width, height, x_names=x_names)
    parts = [frame.axes(x_label, y_label)]
    parts += [_drawn(line, frame, colour(i)) for i, line in enumerate(drawn)]
    bottom = frame.height - BOTTOM
    if mark_x is not None:
        x = frame.at_x(mark_x[0])
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="currentColor" '
            'stroke-dasharray="2 3" opacity="0.6"/>'
        )
        left = x > frame.width * 0.7
        parts.append(text(x + (-5 if left else 5), TOP + 10, mark_x[1], anchor="end" if left else "start"))
    for value in rug or ():
        x = frame.at_x(value)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom - 6}" stroke="currentColor" '
            'opacity="0.5"/>'
        )
    return svg(title, "".join(parts), width, height) + legend(drawn)


def _drawn(line: Line, frame: Frame, ink: str) -> str:
    places = [
        (frame.at_x(x), frame.at_y(y))
        for x, y in zip(line.x, line.y, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    parts = []
    if line.low is not None and line.high is not None:
        upper = [f"{frame.at_x(x):.1f},{frame.at_y(y):.1f}" for x, y in zip(line.x, line.high, strict=True)]
        lower = [f"{frame.at_x(x):.1f},{frame.at_y(y):.1f}" for x, y in zip(line.x, line.low, strict=True)]
        around = " ".join([*upper, *reversed(lower)])
        parts.append(f'<polygon points="{around}" fill="{ink}" opacity="0.18"/>')
    places_text = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dash = DASHES if line.dashed else ""
    parts.append(f'<polyline points="{places_text}" fill="none" stroke="{ink}" stroke-width="2"{dash}/>')
    if line.dots:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{ink}"/>' for x, y in places]
    return "".join(parts)


def legend(lines: Sequence[Line]) -> str:
    """What colour is whose; nothing for one line."""
    if len(lines) < 2:
        return ""
    keys = "".join(
        '<span style="margin-right:1.2em"><svg width="22" height="10" aria-hidden="true">'
        f'<line x1="0" x2="22" y1="5" y2="5" stroke="{colour(i)}" stroke-width="3"'
        f"{DASHES if line.dashed else ''}/></svg> {escape(line.name)}</span>"
        for i, line in enumerate(lines)
    )
    return f'<div class="legend" style="font-size:0.85em">{keys}</div>'


def bars(
    title: str,
    names: Sequence[str],
    values: Numbers,
    *,
    spread: Numbers | None = None,
    shown: Sequence[str] | None = None,
    highlight: int | None = None,
    width: int = WIDTH,
) -> str:
    """Horizontal bars from zero, one a row.

    spread:    half-widths of the whiskers
    shown:     what stands behind each bar; the number without it
    highlight: the bar that is not faint; None for all
    """
    row, label_width = 26, min(width * 0.36, max((len(name) for name in names), default=1) * 8 + 16)
    height = row * len(names) + 8
    whiskers = spread or [0.0] * len(values)
    ends = [abs(v) + (w if math.isfinite(w) else 0) for v, w in zip(values, whiskers, strict=True)]
    low = min([0.0, *(v - w for v, w in zip(values, whiskers, strict=True))])
    span = max([*ends, 1e-300]) - low or 1.0
    room = width - label_width - 78

    def at(value: Number) -> float:
        return label_width + (value - low) / span * room

    parts = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        y, middle = 4 + i * row, 4 + i * row + row / 2
        start, end = sorted((at(0.0), at(value)))
        faint = "" if highlight is None or highlight == i else ' opacity="0.55"'
        parts.append(text(label_width - 8, y + 17, cut(name, label_width), anchor="end"))
        parts.append(
            f'<rect x="{start:.1f}" y="{y + 4}" width="{max(end - start, 1):.1f}" height="{row - 9}" rx="2" '
            f'fill="{colour(0)}"{faint}/>'
        )
        if spread and math.isfinite(whiskers[i]) and whiskers[i] > 0:
            x1, x2 = at(value - whiskers[i]), at(value + whiskers[i])
            parts.append(
                f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{middle:.1f}" y2="{middle:.1f}" '
                'stroke="currentColor" stroke-width="1.5" opacity="0.7"/>'
            )
        words = shown[i] if shown is not None else short(value)
        parts.append(text(at(max(0.0, value) + (whiskers[i] if spread else 0.0)) + 8, y + 17, words))
    zero = at(0.0)
    parts.append(
        f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="2" y2="{height - 2}" '
        'stroke="currentColor" opacity="0.4"/>'
    )
    return svg(title, "".join(parts), width, height)


def cut(name: str, width: Number) -> str:
    """A name that fits into so many pixels.

    >>> cut("a_rather_long_name_of_a_column", 80)
    'a_rather…'
    """
    most = max(4, int(width * LETTERS_A_PIXEL) - 1)
    return name if len(name) <= most else name[: most - 1] + "…"


def columns(
    title: str, edges: Numbers, counts: Numbers, x_label: str, *, height: int = 200, y_label: str = "rows"
) -> str:
    """A histogram: edges (k + 1,), counts (k,)."""
    frame = Frame((edges[0], edges[-1]), (0.0, max([*counts, 1e-12])), height=height)
    parts = [frame.axes(x_label, y_label)]
    for i, count in enumerate(counts):
        x1, x2, y = frame.at_x(edges[i]), frame.at_x(edges[i + 1]), frame.at_y(count)
        parts.append(
            f'<rect x="{x1 + 0.5:.1f}" y="{y:.1f}" width="{max(x2 - x1 - 1, 0.5):.1f}" '
            f'height="{frame.at_y(0) - y:.1f}" fill="{colour(0)}"/>'
        )
    return svg(title, "".join(parts), height=height)


def points(
    title: str,
    x: Numbers,
    y: Numbers,
    x_label: str,
    y_label: str,
    *,
    diagonal: bool = False,
    height: int = 320,
) -> str:
    """A cloud of points; diagonal: where both are the same."""
    finite = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    xs, ys = [a for a, _ in finite] or [0.0, 1.0], [b for _, b in finite] or [0.0, 1.0]
    x_range, y_range = (min(xs), max(xs)), (min(ys), max(ys))
    if diagonal:
        x_range = y_range = (min(*x_range, *y_range), max(*x_range, *y_range))
    frame = Frame(x_range, y_range, height=height)
    dots = "".join(f"M{frame.at_x(a):.1f} {frame.at_y(b):.1f}h0" for a, b in finite)
    ink = f'stroke="{colour(0)}" stroke-width="5" stroke-linecap="round" opacity="0.35" fill="none"'
    parts = [frame.axes(x_label, y_label), f'<path d="{dots}" {ink}/>']
    if diagonal:
        low, high = frame.x
        parts.append(
            f'<line x1="{frame.at_x(low):.1f}" y1="{frame.at_y(low):.1f}" x2="{frame.at_x(high):.1f}" '
            f'y2="{frame.at_y(high):.1f}" stroke="currentColor" stroke-dasharray="4 4" opacity="0.6"/>'
        )
    return svg(title, "".join(parts), height=height)


def spark(values: Numbers, width: int = 110, height: int = 26) -> str:
    """A small histogram beside a name: heights alone."""
    largest, step = max([*values, 1e-300]), width / max(1, len(values))
    heights = [max(1.0, value / largest * height) for value in values]
    rects = "".join(
        f'<rect x="{i * step:.1f}" y="{height - tall:.1f}" width="{max(step - 1, 1):.1f}" '
        f'height="{tall:.1f}" fill="{colour(0)}"/>'
        for i, tall in enumerate(heights)
    )
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'<svg {size} aria-hidden="true">{rects}</svg>'
