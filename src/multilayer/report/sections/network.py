"""The model itself: how many networks, drawn, and how they trained."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from multilayer.report import charts
from multilayer.report.subject import Subject
from multilayer.report.words import number, paragraph, table

Facts = dict[str, Any]
MOST_DOTS = 9
MOST_LINES = 8


def facts(subject: Subject, before: Mapping[str, Facts]) -> Facts:
    """Sizes and losses."""
    model = subject.model
    config = model.config
    linear = model.linear
    curves = [
        {"train": list(history.train_loss), "validation": list(history.val_loss)}
        for history in model.histories
    ]
    return {
        "networks": len(model.networks),
        "linear_network": linear is not None,
        "parameters": sum(weights.numel() for net in model.networks for weights in net.parameters()),
        "columns": len(model.schema.names),
        "encoded_numbers": config.n_num,
        "encoded_categories": len(config.cardinalities),
        "hidden": list(config.hidden),
        "outputs": config.d_out,
        "trained": len(model.histories),
        "losses": curves[:MOST_LINES],
        "stopped": model.history.stopped,
    }


def html(found: Facts) -> str:
    """The drawing, the sizes, the losses."""
    layers = [
        ("columns", found["columns"]),
        ("encoded", found["encoded_numbers"] + found["encoded_categories"]),
        *((f"layer {i}", width) for i, width in enumerate(found["hidden"], start=1)),
        ("output", found["outputs"]),
    ]
    n, alone = found["networks"], found["linear_network"]
    mean = (
        "Its prediction is that of one network" if n == 1 else f"Its prediction is the mean of {n} networks"
    )
    also = ", one of which is linear," if alone and n > 1 else ""
    said = (
        f"{mean}{also} with {number(found['parameters'])} parameters in all. Columns become numbers, which"
        " flow through layers of sums and simple functions."
    )
    parts = [paragraph(said), _drawing(layers)]
    rows = [
        ["networks", number(n)],
        ["parameters", number(found["parameters"])],
        ["numbers that columns become", number(found["encoded_numbers"])],
        ["categories that are embedded", number(found["encoded_categories"])],
        ["widths of hidden layers", " × ".join(map(str, found["hidden"])) or "none"],
    ]
    parts.append(table("Sizes", ["", "value"], rows))
    lines = []
    for which in ("train", "validation"):
        runs = [of[which] for of in found["losses"] if of[which]]
        if runs:
            mean_of = [sum(values) / len(values) for values in zip(*runs, strict=False)]
            low = [min(values) for values in zip(*runs, strict=False)]
            high = [max(values) for values in zip(*runs, strict=False)]
            epochs = list(range(1, len(mean_of) + 1))
            several = len(runs) > 1
            lines.append(
                charts.Line(which, epochs, mean_of, low if several else None, high if several else None)
            )
    if lines:
        parts.append(charts.line_chart("Loss after each pass over the rows", lines, "epoch", "loss"))
        if len(found["losses"]) > 1:
            parts.append(
                paragraph(
                    "The line is the mean of the networks, the band goes from the least to the largest.",
                    "note",
                )
            )
    return "".join(parts)


def _drawing(layers: Sequence[tuple[str, int]]) -> str:
    """Layers as columns of dots, as many as there is room for."""
    width, height = charts.WIDTH, 220
    step = (width - 80) / max(1, len(layers) - 1)
    places = []
    for i, (_, n) in enumerate(layers):
        shown = min(n, MOST_DOTS)
        gap = min(22.0, 160.0 / max(1, shown))
        top = 90 - gap * (shown - 1) / 2
        places.append([(40 + i * step, top + gap * k) for k in range(shown)])
    lines = "".join(
        f"M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}"
        for left, right in itertools.pairwise(places)
        for x1, y1 in left
        for x2, y2 in right
    )
    parts = [f'<path d="{lines}" stroke="currentColor" stroke-opacity="0.12" fill="none"/>']
    for i, (name, n) in enumerate(layers):
        parts += [
            f'<circle cx="{x:.0f}" cy="{y:.1f}" r="6" fill="{charts.colour(0)}"/>' for x, y in places[i]
        ]
        x = places[i][0][0] if places[i] else 40 + i * step
        if n > MOST_DOTS:
            parts.append(charts.text(x, 186, "⋮", anchor="middle"))
        parts.append(charts.text(x, 200, name, anchor="middle", strong=True))
        parts.append(charts.text(x, 215, f"{n:,}", anchor="middle"))
    words = ", ".join(f"{name} {n}" for name, n in layers)
    return charts.svg(f"One network: {words}", "".join(parts), width, height)
