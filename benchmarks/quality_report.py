"""What `benchmarks.quality` measured, as a Markdown page and two plots.

python -m benchmarks.quality_report FILE [--commit NAME] [--threads N]

Beside FILE come FILE.md, FILE.png (error against fit time) and FILE_sets.png. Lines of ours are those of one
commit, the last in the file if none is named; a line measured again replaces the one before. A page can be
made of an unfinished run: each figure says on how many sets it stands.

Errors are 1 - AUC, 1 - accuracy, log loss or RMSE, means over the seeds. The relative error of a contestant
on a set is its error over the least on this set, minus one. Over sets, the mean is the geometric one of the
ratios: one set where errors are tiny must not outweigh the others.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scipy.stats import rankdata

from benchmarks.contestants import CONTESTANTS
from benchmarks.quality import is_ours, read_rows
from benchmarks.suite import as_error

TREES = ("catboost", "catboost-80", "lightgbm", "xgboost", "hgb")  # at their defaults
Row = dict[str, Any]


@dataclass
class Cell:
    """A contestant on a set: its lines, one a seed."""

    rows: list[Row] = field(default_factory=list)

    def mean(self, name: str) -> float:
        """Of a figure, over the seeds."""
        return statistics.mean(row[name] for row in self.rows)

    @property
    def processor(self) -> str:
        """Of the machine that it was last measured on."""
        return self.rows[-1]["machine"]["processor"]

    def least(self, name: str) -> float:
        """Of a time, over the seeds on that processor: what else runs on it can only add to it."""
        return min(row[name] for row in self.rows if row["machine"]["processor"] == self.processor)

    @property
    def error(self) -> float:
        """Mean over the seeds of the metric as something to make small."""
        return statistics.mean(as_error(row["metric"], row["score"]) for row in self.rows)

    def __str__(self) -> str:
        values = [row["score"] for row in self.rows]
        digits = 2 if max(map(abs, values)) >= 10 else 4
        mean = f"{statistics.mean(values):.{digits}f}"
        return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def select(rows: Sequence[Row], commit: str | None = None, threads: int | None = None) -> list[Row]:
    """One line for each set, contestant and seed: the last of one commit (or "all") and number of threads."""
    threads = rows[-1]["threads"] if threads is None and rows else threads
    commits = [row["commit"] for row in rows if row["commit"] and row["threads"] == threads]
    commit = commits[-1] if commit is None and commits else commit
    wanted = {*commits, None} if commit == "all" else {commit, None}
    kept = [row for row in rows if row["threads"] == threads and row["commit"] in wanted]
    last = {(row["table"], row["contestant"], row["seed"]): row for row in kept}
    return [row for row in kept if last[row["table"], row["contestant"], row["seed"]] is row]


class Results:
    """Cells by set and contestant, and what can be said of them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.cells: dict[str, dict[str, Cell]] = defaultdict(dict)  # set -> contestant -> cell
        for row in rows:
            if "error" not in row:
                self.cells[row["table"]].setdefault(row["contestant"], Cell()).rows.append(row)
        there = {name for cells in self.cells.values() for name in cells}
        self.names = [name for name in CONTESTANTS if name in there]

    def of(self, name: str) -> dict[str, Cell]:
        """A contestant's cells by set."""
        return {table: cells[name] for table, cells in self.cells.items() if name in cells}

    def relative(self, name: str) -> dict[str, float]:
        """By set: a contestant's error over the least, minus one."""
        return {
            table: cell.error / min(other.error for other in self.cells[table].values()) - 1
            for table, cell in self.of(name).items()
        }

    def comparable(self) -> tuple[list[str], list[str]]:
        """Contestants and sets such that each ran on each: all sets, or with a lone contestant fewer sets."""
        complete = [name for name in self.names if len(self.of(name)) == len(self.cells)]
        if len(complete) > 1:
            return complete, list(self.cells)
        return self.names, [table for table, cells in self.cells.items() if len(cells) == len(self.names)]

    def ranks(self) -> dict[str, float]:
        """Mean rank over the comparable sets; equals share theirs."""
        names, tables = self.comparable()
        ranks = defaultdict(list)
        for table in tables:
            for name, rank in zip(names, rankdata([self.cells[table][n].error for n in names]), strict=True):
                ranks[name].append(float(rank))
        return {name: statistics.mean(values) for name, values in ranks.items()}

    def pairs(self, one: str, other: str) -> list[tuple[Cell, Cell]]:
        """Cells of the sets that both ran on."""
        others = self.of(other)
        return [(cell, others[table]) for table, cell in self.of(one).items() if table in others]


def mean_relative(values: Iterable[float]) -> float:
    """Geometric mean of ratios, each given and returned minus one."""
    return statistics.geometric_mean(1 + value for value in values) - 1


def page(results: Results) -> str:
    """Everything in Markdown."""
    sections = [
        _about(results),
        "## Scores\n\nMean ± standard deviation over the seeds; the best in bold.",
        _table(["set", "metric", *results.names], _scores(results)),
        "## Summary\n\n" + _on_what(results),
        _table(SUMMARY, [_summary(results, name) for name in results.names]),
        *(_against(results, name) for name in results.names if is_ours(name)),
        "## Fit time, seconds, the least over the seeds",
        _table(["set", *results.names], _figures(results, "fit_s", ".1f")),
        "## Predict time of the test rows, seconds, the least over the seeds",
        _table(["set", *results.names], _figures(results, "predict_s", ".2f")),
    ]
    failed = [row for row in results.rows if "error" in row]
    if failed:
        lines = [
            f"- {row['contestant']} on {row['table']}, seed {row['seed']}: {row['error']}" for row in failed
        ]
        sections += ["## Without a result", "\n".join(lines)]
    return "\n\n".join(sections) + "\n"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = "|---" + "|---:" * (len(head) - 1) + "|"
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def _about(results: Results) -> str:
    last = results.rows[-1]
    versions = ", ".join(f"{name} {number}" for name, number in last["machine"]["versions"].items())
    commits = sorted({row["commit"] for row in results.rows if row["commit"]})
    seeds = sorted({row["seed"] for row in results.rows})
    return (
        f"# Quality\n\n{last['date']}, {last['machine']['processor']}, threads: {last['threads']}. "
        f"Seeds {', '.join(map(str, seeds))}; 64 % to fit on, 16 % to validate on, 20 % to test on. "
        f"Ours at commit {', '.join(commits) or '(did not run)'}. {versions}.{_elsewhere(results)}"
    )


def _elsewhere(results: Results) -> str:
    """Whose times are of another processor than the last."""
    here = results.rows[-1]["machine"]["processor"]
    names = [n for n in results.names if any(cell.processor != here for cell in results.of(n).values())]
    return f" Times of {', '.join(names)} are of another processor; ratios leave them out." if names else ""


def _scores(results: Results) -> Iterable[list[str]]:
    for table, cells in results.cells.items():
        least = min(cell.error for cell in cells.values())
        texts = [
            "" if (cell := cells.get(name)) is None else f"**{cell}**" if cell.error == least else str(cell)
            for name in results.names
        ]
        yield [table, next(iter(cells.values())).rows[0]["metric"], *texts]


def _figures(results: Results, figure: str, form: str) -> Iterable[list[str]]:
    for table, cells in results.cells.items():
        yield [table, *(format(cells[n].least(figure), form) if n in cells else "" for n in results.names)]


def _on_what(results: Results) -> str:
    names, tables = results.comparable()
    return (
        f"Ranks are among {len(names)} contestants on {len(tables)} of {len(results.cells)} sets; "
        "other figures are over the sets that a contestant ran on."
    )


SUMMARY = (
    "contestant",
    "sets",
    "mean rank",
    "mean relative error",
    "median",
    "worst",
    "best on",
    "median fit s",
    "median predict s",
    "median peak MB",
    "most peak MB",
)


def _summary(results: Results, name: str) -> list[str]:
    relative, cells = list(results.relative(name).values()), results.of(name).values()
    rank = results.ranks().get(name)
    peaks = [cell.mean("peak_mb") for cell in cells]
    return [
        name,
        str(len(cells)),
        "" if rank is None else f"{rank:.2f}",
        f"{mean_relative(relative):.1%}",
        f"{statistics.median(relative):.1%}",
        f"{max(relative):.1%}",
        str(relative.count(0.0)),
        f"{_median(cells, 'fit_s'):.1f}",
        f"{_median(cells, 'predict_s'):.2f}",
        f"{statistics.median(peaks):.0f}",
        f"{max(peaks):.0f}",
    ]


def _median(cells: Iterable[Cell], figure: str) -> float:
    return statistics.median(cell.least(figure) for cell in cells)


def _against(results: Results, ours: str) -> str:
    """How one of ours stands against each of the others."""
    lines = []
    for name in results.names:
        pairs = results.pairs(ours, name)
        if name == ours or not pairs:
            continue
        wins = sum(a.error < b.error for a, b in pairs)
        ratios = [a.error / b.error - 1 for a, b in pairs]
        times = [a.least("fit_s") / b.least("fit_s") for a, b in pairs if a.processor == b.processor]
        lines.append(
            [
                name,
                f"{wins} of {len(pairs)}",
                f"{mean_relative(ratios):+.1%}",
                f"{max(ratios):+.1%}",
                f"{statistics.median(times):.2f}" if times else "",
                f"{max(times):.2f}" if times else "",
            ]
        )
    head = [
        f"{ours} against",
        "better on",
        "mean error",
        "worst error",
        "fit time, median ratio",
        "worst ratio",
    ]
    return f"## {ours} against each\n\n{_against_trees(results, ours)}\n\n{_table(head, lines)}"


def _against_trees(results: Results, ours: str) -> str:
    won = sets = 0
    for table, cell in results.of(ours).items():
        trees = [results.cells[table][name].error for name in TREES if name in results.cells[table]]
        sets += bool(trees)
        won += bool(trees) and cell.error < min(trees)
    return f"Better than the best of the trees' defaults on {won} of {sets} sets."


def _colour(name: str) -> str:
    if is_ours(name):
        return "#d1495b"
    return "#2e7d5b" if name.startswith(("catboost", *TREES)) else "#5c6f91"


def draw_time(figure: Any, results: Results) -> None:
    """Mean relative error against median fit time, over the comparable sets."""
    names, tables = results.comparable()
    points = []
    for name in names:
        cells = [results.cells[table][name] for table in tables]
        relative = results.relative(name)
        points.append((_median(cells, "fit_s"), 100 * mean_relative(relative[t] for t in tables), name))
    figure.set_size_inches(8, 5)
    axes = figure.subplots()
    top = _top([error for _, error, _ in points])
    labels = []
    for seconds, error, name in points:
        far = error > top
        place = seconds, min(error, top)
        size, marker = (110 if is_ours(name) else 60), ("^" if far else "o")
        axes.scatter(*place, s=size, marker=marker, color=_colour(name), edgecolor="white", zorder=3)
        labels.append((*place, name, f"{name} ({error:.0f} %)" if far else name))
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.set_ylim(-0.06 * top, 1.12 * top)
    axes.xaxis.set_major_formatter(_short)
    axes.yaxis.set_major_formatter(_short)
    threads = results.rows[-1]["threads"]
    axes.set_xlabel(f"median fit time (s), {threads} thread{'s' * (threads > 1)}, log scale")
    axes.set_ylabel("mean error above the best of each set (%)")
    axes.set_title(f"Error against fit time, {len(tables)} sets: lower left is better", loc="left")
    _bare(axes)
    _label(figure, axes, labels)


def _top(errors: Sequence[float]) -> float:
    """Where the axis ends: at the most, unless that leaves too little room for the others."""
    *others, most = sorted(errors)
    return max(1.3 * others[-1], 1.0) if others and most > 2 * others[-1] else max(most, 1.0)


def _short(value: float, _: int) -> str:
    return f"{value:g}"


def _bare(axes: Any) -> None:
    axes.grid(alpha=0.25, which="both")
    axes.spines[["top", "right"]].set_visible(False)


def _label(figure: Any, axes: Any, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Names right of their points; left or higher where they would cover a point or another name."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # from here on it is known where things are
    point = figure.dpi / 72
    places = [axes.transData.transform((x, y)) for x, y, *_ in points]
    taken = [Bbox([place - 6 * point, place + 6 * point]) for place in places]
    for x, y, name, text in sorted(points, key=lambda each: each[1]):
        note = axes.annotate(text, (x, y), (0, 0), textcoords="offset points", va="center", fontsize=9)
        note.set(color=_colour(name), fontweight="bold" if is_ours(name) else "normal")
        for offset, side in [((8, 0), "left"), ((-8, 0), "right"), *(((8, up), "left") for up in range(60))]:
            note.set(position=offset, ha=side)
            box = note.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


def draw_sets(figure: Any, results: Results) -> None:
    """Each contestant's relative error on each set."""
    tables = list(results.cells)
    figure.set_size_inches(9, 1.2 + 0.42 * len(tables))
    axes = figure.subplots()
    markers = dict(zip(results.names, "osD^vPX<>hp*8dH", strict=False))
    for name in results.names:
        relative = results.relative(name)
        axes.scatter(
            [100 * value for value in relative.values()],
            [tables.index(table) for table in relative],
            s=70 if is_ours(name) else 44,
            marker=markers[name],
            color=_colour(name),
            alpha=0.85,
            edgecolor="white",
            linewidth=0.5,
            label=name,
            zorder=4 if is_ours(name) else 3,
        )
    axes.set_xscale("symlog", linthresh=10)
    ticks = [0, 2, 4, 6, 8, 10, 20, 50, 100, 200, 500, 1000]
    most = max(axes.get_xlim()[1], 10)
    axes.set_xticks([tick for tick in ticks if tick <= most], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlim(-0.4, most)
    axes.xaxis.set_major_formatter(_short)
    axes.set_yticks(range(len(tables)), tables)
    axes.invert_yaxis()
    axes.set_xlabel("error above the best of the set (%), linear up to 10")
    _bare(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)


def save_plot(draw: Callable[[Any, Results], None], results: Results, path: Path) -> None:
    """A picture, if matplotlib is there."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("No plots: matplotlib is not installed.")
        return
    figure = Figure(layout="constrained", dpi=150)
    draw(figure, results)
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the page; write it and the plots."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--commit", help="of the lines of ours; 'all' takes the last line of any commit")
    parser.add_argument("--threads", type=int, help="those of the last line if not given")
    options = parser.parse_args(arguments)
    results = Results(select(read_rows(options.file), options.commit, options.threads))
    if not results.names:
        parser.error(f"no results in {options.file}; python -m benchmarks.quality makes them")
    text = page(results)
    print(text)
    options.file.with_suffix(".md").write_text(text)
    if results.comparable()[1]:
        save_plot(draw_time, results, options.file.with_suffix(".png"))
    else:
        print("No plot of error against fit time: no set that all ran on.")
    save_plot(draw_sets, results, options.file.with_name(f"{options.file.stem}_sets.png"))


if __name__ == "__main__":
    main()
