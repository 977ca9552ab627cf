"""Error against rows, of everyone, table by table: python -m benchmarks.learning_curves FILE [--out PICTURE]

FILE is what `benchmarks.quality` measured on a suite of draws (`benchmarks.small_tables --rows
100,200,500,1000,2000`), whose names end in the number of rows. Needs matplotlib.
"""

import argparse
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality import is_ours, read_rows
from benchmarks.suite import as_error

Curves = dict[str, dict[str, dict[int, float]]]  # table -> contestant -> rows -> mean error
_DRAW = re.compile(r"(.+)-(\d+)")


def curves(rows: Sequence[dict[str, Any]]) -> Curves:
    """Mean error over the seeds; the last line of a table, contestant and seed counts."""
    last: dict[tuple[str, int, str, int], float] = {}
    for row in rows:
        if (draw := _DRAW.fullmatch(row["table"])) and "error" not in row:
            place = draw[1], int(draw[2]), row["contestant"], row["seed"]
            last[place] = as_error(row["metric"], row["score"])
    errors: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for (table, n, contestant, _), error in last.items():
        errors[table, n, contestant].append(error)
    found: Curves = defaultdict(lambda: defaultdict(dict))
    for (table, n, contestant), values in sorted(errors.items()):
        found[table][contestant][n] = statistics.mean(values)
    return found


def draw(figure: Any, found: Curves) -> None:
    """A panel for each table; ours is drawn thicker."""
    n_columns = min(4, len(found))
    n_rows = -(-len(found) // n_columns)
    figure.set_size_inches(3.4 * n_columns, 2.6 * n_rows + 0.4)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    names = sorted({name for curves in found.values() for name in curves})
    colours = dict(
        zip(names, ("#5c6f91", "#2e7d5b", "#b08a2e", "#7a5195", "#666666", "#2f9ec4"), strict=False)
    )
    for axes, (table, of_table) in zip(panels, found.items(), strict=False):
        for name, points in of_table.items():
            ours = is_ours(name)
            axes.plot(
                list(points),
                list(points.values()),
                marker="o",
                markersize=4 if ours else 3,
                linewidth=2.4 if ours else 1.2,
                color="#d1495b" if ours else colours[name],
                zorder=3 if ours else 2,
                label=name.removesuffix("-80"),
            )
        axes.set_xscale("log")
        axes.set_title(table, loc="left", fontsize=9)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
        ticks = sorted({n for points in of_table.values() for n in points})
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
        axes.set_xticks([], minor=True)
    for axes in panels[len(found) :]:
        axes.axis("off")
    handles = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False
    )
    figure.supxlabel("rows to learn from, log scale", fontsize=9)
    figure.supylabel("log loss or rmse of other rows", fontsize=9)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the picture."""
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(description=__doc__.split(":", 1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    found = curves(read_rows(options.file))
    if not found:
        parser.error(f"no draws in {options.file}; their tables' names end in the number of rows")
    figure = Figure(layout="constrained", dpi=130)
    draw(figure, found)
    figure.savefig(options.out or options.file.with_name(f"{options.file.stem}_curves.png"))


if __name__ == "__main__":
    main()
