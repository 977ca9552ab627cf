"""Where it is worst: groups of rows, found, and single rows."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.report import charts
from multilayer.report.subject import Subject, levels_of, numbers_of
from multilayer.report.words import number, outputs_of, paragraph, table
from multilayer.table.sources.names import listed

Facts = dict[str, Any]
PARTS = 5  # of a column of numbers
FEWEST = 30  # rows of a slice
LEAST_SHARE = 0.02
MOST_LEVELS = 20
MOST_COLUMNS = 100
PAIRED = 5  # columns whose slices are crossed
SHOWN = 8
WORST = 10
SHOWN_COLUMNS = 6
LEVEL = 0.01  # of a test that all slices together pass by chance


@dataclass(frozen=True, eq=False)
class Slice:
    """Rows with some values in one or two columns."""

    words: str
    columns: tuple[str, ...]
    is_in: NDArray[np.bool_]


def facts(subject: Subject, before: Mapping[str, Facts]) -> Facts:
    """Slices whose mean loss is above that of all other rows beyond chance, and the rows of the largest loss.

    The test is one-sided, on the standard error of the difference, at 1 % divided by the number of slices
    looked at (Bonferroni).
    """
    ranked = list(before.get("columns", {}).get("importance", {})) or [c.name for c in subject.columns]
    single = list(_single(subject, ranked[:MOST_COLUMNS]))
    most = set(ranked[:PAIRED])
    of_most = [one for one in single if one.columns[0] in most]
    pairs = [
        Slice(f"{a.words} and {b.words}", a.columns + b.columns, a.is_in & b.is_in)
        for i, a in enumerate(of_most)
        for b in of_most[i + 1 :]
        if a.columns != b.columns
    ]
    looked_at = [one for one in (*single, *pairs) if _is_large(one.is_in, len(subject.code))]
    found = [of for one in looked_at if (of := _gap(subject, one)) is not None]
    bound = _normal_quantile(1 - LEVEL / max(1, len(looked_at)))
    telling = sorted((of for of in found if of["z"] > bound), key=lambda of: -of["z"])
    return {
        "looked_at": len(looked_at),
        "all": {"rows": len(subject.code), "score": subject.score.get(subject.model.task.metric)},
        "metric": subject.model.task.metric,
        "worst": _not_nested(telling),
        "rows": _worst_rows(subject, ranked),
    }


def _is_large(is_in: NDArray[np.bool_], n: int) -> bool:
    size = int(is_in.sum())
    return max(FEWEST, LEAST_SHARE * n) <= size <= n - FEWEST


def _single(subject: Subject, names: list[str]) -> Iterator[Slice]:
    for name in names:
        column, values = subject.model.schema[name], subject.rows[name]
        numbers = numbers_of(column, values)
        if numbers is None or len(np.unique(numbers[~np.isnan(numbers)])) <= PARTS:
            levels = levels_of(values).astype(str)
            distinct, counts = np.unique(levels, return_counts=True)
            for level in distinct[np.argsort(-counts, kind="stable")][:MOST_LEVELS]:
                yield Slice(f"{name} is {str(level)[:40]}", (name,), levels == level)
            continue
        there = ~np.isnan(numbers)
        if not there.all():
            yield Slice(f"{name} is missing", (name,), ~there)
        edges = np.unique(np.quantile(numbers[there], np.linspace(0, 1, PARTS + 1)))
        for low, high in itertools.pairwise(edges):
            is_last = high == edges[-1]
            inside = there & (numbers >= low) & ((numbers <= high) if is_last else (numbers < high))
            words = f"{name} from {_shown(column.kind, low)} to {_shown(column.kind, high)}"
            yield Slice(words, (name,), inside)


def _shown(kind: str, value: float) -> str:
    return str(np.datetime64(int(value), "D")) if kind == "date" else number(float(value))


def _gap(subject: Subject, one: Slice) -> Facts | None:
    losses, w, inside = subject.losses, subject.weights, one.is_in
    if w[inside].sum() <= 0 or w[~inside].sum() <= 0:
        return None
    means, errors = [], []
    for part in (inside, ~inside):
        mean = float(np.average(losses[part], weights=w[part]))
        means.append(mean)
        errors.append(float(np.sum((w[part] * (losses[part] - mean)) ** 2)) / float(w[part].sum()) ** 2)
    error = float(np.sqrt(sum(errors)))
    if error == 0:
        return None
    weight = None if subject.weight is None else subject.weight[inside]
    score = subject.model.task.score(subject.code[inside], subject.prediction[inside], weight)
    own = subject.model.task.constant(subject.code[inside], weight)
    same = np.broadcast_to(own, subject.prediction[inside].shape)
    there = subject.model.task.score(subject.code[inside], same, weight)
    return {
        "slice": one.words,
        "columns": list(one.columns),
        "rows": int(inside.sum()),
        "share": float(inside.mean()),
        "score": score.get(subject.model.task.metric),
        "constant_there": there.get(subject.model.task.metric),
        "times_the_loss": means[0] / means[1] if means[1] > 0 else None,
        "z": (means[0] - means[1]) / error,
    }


def _not_nested(found: list[Facts]) -> list[Facts]:
    """Of slices that share a column with a stronger one found before, only those that differ in another."""
    kept: list[Facts] = []
    for one in found:
        same = [other for other in kept if set(other["columns"]) == set(one["columns"])]
        inside = [other for other in kept if other["slice"] in one["slice"]]
        if len(same) < 2 and not inside:
            kept.append(one)
    return kept[:SHOWN]


def _normal_quantile(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)


def _cells(subject: Subject, name: str) -> list[str]:
    """Cells of a column in words, numbers to five digits."""
    column, values = subject.model.schema[name], subject.rows[name]
    if column.kind == "number" and values.dtype.kind == "f":
        return ["(missing)" if value != value else f"{value:.5g}" for value in values.tolist()]
    return [str(level)[:60] for level in levels_of(values)]


def _worst_rows(subject: Subject, ranked: list[str]) -> list[Facts]:
    order = np.argsort(-subject.losses, kind="stable")[:WORST]
    outputs = outputs_of(subject.model, subject.prediction)
    task, code = subject.model.task, subject.code
    names = ranked[:SHOWN_COLUMNS]
    shown = {name: _cells(subject, name) for name in names}
    rows = []
    for i in order.tolist():
        actual = task.classes[int(code[i])] if task.classes else np.atleast_1d(code[i]).tolist()
        said = {key: float(values[i]) for key, values in outputs.items()}
        if task.classes:
            decided = task.decide(subject.prediction[i : i + 1])[0]
            said = {f"probability of {actual}": float(subject.prediction[i, int(code[i])])}
        else:
            decided = None
        rows.append(
            {
                "loss": float(subject.losses[i]),
                "actual": (
                    actual if not isinstance(actual, list) else (actual[0] if len(actual) == 1 else actual)
                ),
                "predicted": None if decided is None else str(decided),
                "outputs": said,
                "columns": {name: shown[name][i] for name in names},
            }
        )
    return rows


def html(found: Facts) -> str:
    """Two tables."""
    parts = []
    if found["worst"]:
        rows = [
            [
                of["slice"],
                f"{of['rows']:,} ({100 * of['share']:.0f} %)",
                number(of["score"]),
                number(of["constant_there"]),
                "–" if of["times_the_loss"] is None else f"{of['times_the_loss']:.2g} ×",
            ]
            for of in found["worst"]
        ]
        header = ["rows where", "rows", found["metric"], "of a constant there", "loss beside other rows"]
        parts.append(table("Groups of rows that go worst", header, rows, sortable=True))
        parts.append(
            paragraph(
                f"All rows: {found['metric']} {number(found['all']['score'])}. {found['looked_at']:,} groups"
                " of one or two columns were looked at; these are worse than other rows beyond what so many"
                " looks find by chance.",
                "note",
            )
        )
    else:
        parts.append(
            paragraph(
                f"Of {found['looked_at']:,} groups of rows, by one or two columns, none is worse than the"
                " others beyond chance."
            )
        )
    if found["rows"]:
        names = list(found["rows"][0]["columns"])
        rows = []
        for i, of in enumerate(found["rows"], start=1):
            said = of["predicted"] if of["predicted"] is not None else _outputs(of["outputs"])
            if of["predicted"] is not None:
                said += f" (its own class {100 * next(iter(of['outputs'].values())):.1f} %)"
            actual = of["actual"]
            shown = listed(list(map(number, actual)), 3) if isinstance(actual, list) else number(actual)
            rows.append([str(i), shown, said, *of["columns"].values()])
        parts.append("<h3>Single rows</h3>")
        parts.append(table("Rows of the largest loss", ["", "actual", "predicted", *names], rows))
        parts.append(paragraph("These are rows of the table: mind who may read this page.", "note"))
    return "".join(parts)


def _outputs(outputs: Mapping[str, float]) -> str:
    if len(outputs) == 1:
        return number(next(iter(outputs.values())))
    return ", ".join(f"{charts.cut(name, 120)} {number(value)}" for name, value in outputs.items())
