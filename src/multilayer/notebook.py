"""What a notebook shows of a thing: HTML in the colours of the page around it, light or dark."""

from collections.abc import Sequence
from html import escape

# No colour is set but of lines, as grey with some opacity: letters and ground are the notebook's own.
_LINE = "1px solid rgba(128,128,128,.4)"


def panel(title: str, *parts: str) -> str:
    """A box with a heading; parts are HTML already."""
    return (
        f'<div class="multilayer" style="border:{_LINE};border-radius:6px;padding:.6em 1em;max-width:60em;'
        f'color:inherit;background:transparent">'
        f'<div style="font-weight:600;margin-bottom:.3em">{escape(title)}</div>'
        f"{''.join(parts)}</div>"
    )


def paragraph(words: str) -> str:
    """A sentence or two."""
    return f'<p style="margin:.4em 0;color:inherit">{escape(words)}</p>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, others to the right.

    >>> table(["", "rmse"], [["this model", "1.5"]]).count("<td")
    1
    """
    side = "padding:.15em .8em;border:0;color:inherit;background:transparent;text-align:"
    head = "".join(
        f'<th scope="col" style="{side}{"left" if i == 0 else "right"};border-bottom:{_LINE}">'
        f"{escape(cell)}</th>"
        for i, cell in enumerate(header)
    )
    body = "".join(
        f'<tr style="background:transparent"><th scope="row" style="{side}left;font-weight:normal">'
        f"{escape(row[0])}</th>"
        + "".join(f'<td style="{side}right">{escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<table style="border-collapse:collapse;margin:.4em 0;color:inherit"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def details(summary: str, *parts: str) -> str:
    """What is folded away; parts are HTML already."""
    return (
        f'<details style="margin:.3em 0"><summary style="cursor:pointer">{escape(summary)}</summary>'
        f"{''.join(parts)}</details>"
    )


def plain(words: str) -> str:
    """Text in columns, as it is."""
    return f'<pre style="color:inherit;background:transparent;overflow-x:auto">{escape(words)}</pre>'
