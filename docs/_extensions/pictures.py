"""The pictures of the site, drawn as SVG within the page.

    ```{picture} pack
    What the picture shows, for those who do not see it.
    ```

Lines and words take the colour of the page's text, so that they are readable on light and dark ground alike.
"""

import math
from collections.abc import Callable
from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ACCENT = "var(--pst-color-primary)"
OTHER = "var(--pst-color-secondary)"
QUIET = "var(--pst-color-text-muted)"


def text(
    x: float, y: float, words: str, size: int = 14, anchor: str = "middle", colour: str = "currentColor"
) -> str:
    """A line of text; y is its base line."""
    style = f'font-size="{size + 2}" text-anchor="{anchor}" fill="{colour}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'


def box(
    x: float, y: float, width: float, height: float, stroke: str = "currentColor", fill: str = "none"
) -> str:
    """A rectangle with round corners."""
    shape = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"'
    return f'<rect {shape} fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'


def filled(x: float, y: float, width: float, height: float, colour: str, opacity: float = 1.0) -> str:
    """A rectangle without a border."""
    shape = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2"'
    return f'<rect {shape} fill="{colour}" fill-opacity="{opacity:g}"/>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str = "currentColor", dash: str = "none") -> str:
    """A straight line."""
    ends = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
    return f'<line {ends} stroke="{colour}" stroke-width="1.5" stroke-dasharray="{dash}"/>'


def arrow(x1: float, y: float, x2: float) -> str:
    """A level arrow to the right."""
    head = f"{x2:g},{y:g} {x2 - 8:g},{y - 4:g} {x2 - 8:g},{y + 4:g}"
    return line(x1, y, x2 - 7, y) + f'<polygon points="{head}" fill="currentColor"/>'


def curve(points: list[tuple[float, float]], colour: str, width: float = 1.5, opacity: float = 1.0) -> str:
    """A line through points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style = f'fill="none" stroke="{colour}" stroke-width="{width:g}" stroke-opacity="{opacity:g}"'
    return f'<polyline points="{path}" {style}/>'


def flow() -> str:
    """From a raw table to a prediction, in five stages."""
    stages = [
        ("table", "any source"),
        ("schema", "kind of each column"),
        ("encoder", "numbers and codes"),
        ("pack", "networks trained"),
        ("model", "one file"),
    ]
    made = ""
    for i, (name, what) in enumerate(stages):
        x = 10 + 165 * i
        made += box(x, 20, 138, 62, ACCENT if i in (0, 4) else "currentColor")
        made += text(x + 69, 47, name, 15) + text(x + 69, 68, what, 11, colour=QUIET)
        made += arrow(x + 141, 51, x + 162) if i < 4 else ""
    return _svg(820, 100, made)


def pack() -> str:
    """Eight networks over eight parts of the rows, each with its own part held out, on two threads."""
    made = text(20, 22, "parts of the rows", 13, "start", QUIET)
    for net in range(8):
        y = 34 + 26 * net
        for part in range(8):
            held = part == net
            made += filled(
                20 + 30 * part, y, 26, 18, ACCENT if held else "currentColor", 1.0 if held else 0.18
            )
        made += text(275, y + 14, f"network {net + 1}", 13, "start")
    made += filled(20, 252, 18, 14, "currentColor", 0.18) + text(46, 264, "trained on", 13, "start")
    made += filled(140, 252, 18, 14, ACCENT) + text(166, 264, "held out: judges this network", 13, "start")
    made += text(430, 22, "time", 13, "start", QUIET) + arrow(470, 18, 800)
    for epoch in range(3):
        left = 430 + 125 * epoch
        for thread in range(2):
            for turn in range(4):
                y = 50 + 90 * thread
                made += filled(left + 26 * turn, y, 22, 60, OTHER, 0.75)
                made += text(
                    left + 26 * turn + 11,
                    y + 35,
                    str(2 * turn + thread + 1),
                    13,
                    colour="var(--pst-color-background)",
                )
        made += line(left + 110, 40, left + 110, 210, "currentColor", "5 4")
        made += text(left + 52, 230, f"epoch {epoch + 1}", 13)
    made += text(424, 84, "thread 1", 12, "end", QUIET) + text(424, 174, "thread 2", 12, "end", QUIET)
    made += text(430, 264, "dashed: all wait, and are judged together", 13, "start", QUIET)
    return _svg(820, 280, made)


def averaging() -> str:
    """Losses of single networks on their held-out rows, of all together, and the stretch that is averaged."""
    left, right, top, low, epochs = 60, 560, 30, 240, 20

    def at(epoch: float, loss: float) -> tuple[float, float]:
        return left + (right - left) * epoch / epochs, low - (low - top) * (loss - 0.25) / 0.75

    start, end = at(11.5, 0)[0], at(16.5, 0)[0]
    made = filled(start, top, end - start, low - top, ACCENT, 0.18)
    made += line(left, low, right + 10, low) + line(left, low, left, top - 10)
    for net in range(5):
        wave = [
            0.05 * math.sin(1.9 * e + 2.3 * net) * (1 - e / 24) + 0.006 * (e - 9) * (e > 9)
            for e in range(epochs + 1)
        ]
        points = [at(e, 0.44 + 0.5 * math.exp(-e / 3) + wave[e]) for e in range(epochs + 1)]
        made += curve(points, "currentColor", 1.2, 0.45)
    together = [
        at(e, 0.35 + 0.55 * math.exp(-e / 3.4) + 0.00045 * max(0, e - 14) ** 2) for e in range(epochs + 1)
    ]
    made += curve(together, ACCENT, 3)
    made += text((left + right) / 2, low + 30, "epochs", 13, colour=QUIET)
    middle = (low + top) / 2
    upright = text(30, middle, "loss on held-out rows", 13, colour=QUIET)
    made += f'<g transform="rotate(-90 30 {middle:g})">{upright}</g>'
    made += line(590, 60, 625, 60) + text(635, 65, "one network each", 13, "start")
    made += curve([(590, 95), (625, 95)], ACCENT, 3) + text(635, 100, "all together", 13, "start")
    made += filled(590, 122, 35, 18, ACCENT, 0.18) + text(635, 136, "the stretch: each", 13, "start")
    made += text(635, 154, "network becomes the", 13, "start") + text(
        635, 172, "mean of its weights", 13, "start"
    )
    made += text(635, 190, "over these epochs", 13, "start")
    return _svg(820, 285, made)


def kernels() -> str:
    """A training step as single operations of PyTorch, and as one compiled loop."""
    steps = ["Linear", "ReLU", "Linear", "loss", "back", "back", "back", "Adam"]
    made = text(
        20,
        24,
        "PyTorch: each operation is called from Python, works on all rows of the batch, and returns",
        13,
        "start",
    )
    for i, name in enumerate(steps):
        x = 20 + 98 * i
        made += filled(x, 38, 58, 34, "currentColor", 0.13) + filled(x + 58, 38, 32, 34, OTHER, 0.75)
        made += text(x + 74, 90, name, 12, colour=QUIET)
    made += text(
        20,
        130,
        "kernels: one compiled loop does the whole step, and the next, without coming back",
        13,
        "start",
    )
    for i in range(len(steps)):
        made += filled(20 + 33 * i, 144, 32, 34, OTHER, 0.75)
    for i in range(len(steps)):
        made += filled(20 + 33 * (i + 8), 144, 32, 34, OTHER, 0.45)
    made += text(20 + 33 * 4, 196, "step 1", 12, colour=QUIET) + text(
        20 + 33 * 12, 196, "step 2", 12, colour=QUIET
    )
    made += filled(600, 150, 18, 14, "currentColor", 0.13) + text(
        626, 162, "getting there and back", 13, "start"
    )
    made += filled(600, 174, 18, 14, OTHER, 0.75) + text(626, 186, "arithmetic", 13, "start")
    return _svg(820, 210, made)


def _svg(width: int, height: int, inside: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" font-family="inherit">{inside}</svg>'


DRAWINGS: dict[str, Callable[[], str]] = {
    "flow": flow,
    "pack": pack,
    "averaging": averaging,
    "kernels": kernels,
}


class Picture(SphinxDirective):
    """A drawing by its name, with a description in words."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The drawing as a part of the page."""
        words = escape(" ".join(self.content), quote=True)
        drawn = DRAWINGS[self.arguments[0]]().replace('role="img"', f'role="img" aria-label="{words}"', 1)
        return [nodes.raw("", f'<div class="picture" tabindex="0">{drawn}</div>', format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
