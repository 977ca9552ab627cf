"""What a table's columns and rows show before any training: copies of the target, units, orders."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.diagnosis.finding import Finding, Patch, found
from multilayer.table.kinds import kind_of
from multilayer.table.schema import Schema
from multilayer.table.sources.read import Table

Floats = NDArray[np.float64]

# Chosen beforehand; benchmarks/doctor_bench tries them on healthy tables and on planted faults.
COPIED = 0.998  # of the target's variance, or of its labels, that a column alone may tell
RARE = 0.05  # share of a class
REPEATED = 0.05  # share of rows that are there more often than by chance
UNSEEN = 0.1  # chance that a new row has a value of a category that no row had
ORDERED = 0.5  # correlation of the target with that of the row before
FACTOR = 5.0  # between two units of one quantity, at least
SOME = 0.01  # share of the rows that is worth a word
MOST_PAIRS = 30  # columns that are compared in pairs
FEW_OF_A_UNIT = 15  # rows in another unit, at the least: near 0 a few values may lie far apart by chance
FEWEST = 40  # rows, for what counts shares


@dataclass(frozen=True)
class TableScene:
    """A table as the checks see it.

    y:       class codes, or numbers, (n_rows,)
    classes: labels of the codes; empty for numbers
    ordered: whether rows are in the order in which they came
    splits_by_time, groups: what was said of how to split
    """

    features: Table
    y: NDArray[Any]
    classes: tuple[Any, ...]
    schema: Schema
    target: str
    ordered: bool = True
    splits_by_time: bool = False
    groups: bool = False

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return len(self.y)

    @cached_property
    def numbers(self) -> dict[str, Floats]:
        """Columns of quantities, missing values as NaN."""
        return {
            column.name: numbers_of(self.schema, self.features, column.name)
            for column in self.schema.columns
            if kind_of(column).is_quantity
        }

    @cached_property
    def levels(self) -> dict[str, NDArray[Any]]:
        """Columns of categories as codes of their texts, -1 where missing."""
        found_levels = {}
        for column in self.schema.columns:
            if kind_of(column).finds_levels:
                cells = [
                    None if _is_missing(cell) else str(cell) for cell in self.features[column.name].tolist()
                ]
                texts = np.array([cell or "" for cell in cells], dtype=object).astype(str)
                codes = np.unique(texts, return_inverse=True)[1]
                found_levels[column.name] = np.where([cell is None for cell in cells], -1, codes)
        return found_levels


def numbers_of(schema: Schema, table: Table, name: str) -> Floats:
    """A column as numbers."""
    column = schema[name]
    numbers = kind_of(column).numbers
    assert numbers is not None
    values = np.asarray(numbers(column, table[name]), dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _is_missing(cell: Any) -> bool:
    return cell is None or cell != cell


def identifiers(scene: TableScene) -> Iterator[Finding]:
    """Columns that number or name the rows."""
    for name, reason in scene.schema.ignored.items():
        if "identifier" in reason:
            yield found(
                "identifier", f"Column {name!r} has a value of its own in nearly every row; it is left out.",
                severity="note", column=name, patch=_without(name),
            )  # fmt: skip
    for name, values in scene.numbers.items():
        present = values[~np.isnan(values)]
        if len(present) < FEWEST or not bool((present == np.round(present)).all()):
            continue
        if scene.ordered and _counts_up(present) and kind_of(scene.schema[name]).name == "number":
            message = f"Column {name!r} counts the rows up, from {present[0]:g} to {present[-1]:g}."
            yield found("identifier", message, column=name, patch=_without(name))


def _counts_up(values: Floats) -> bool:
    """Whether nearly each number is one more than the number before."""
    steps = np.diff(values)
    return bool((steps > 0).all()) and float((steps == 1).mean()) > 0.9


def _without(name: str) -> Patch:
    return Patch(f"ml.fit(table, target=..., drop=[{name!r}])", lambda settings: _dropped(settings, name))


def _dropped(settings: dict[str, Any], name: str) -> dict[str, Any]:
    return {**settings, "drop": [*settings.get("drop", ()), name]}


def constants(scene: TableScene) -> Iterator[Finding]:
    """Columns that never vary."""
    for name, reason in scene.schema.ignored.items():
        if reason in ("constant", "all missing"):
            yield found("constant-column", f"Column {name!r} is {reason}; it is left out.", column=name,
                        patch=_without(name))  # fmt: skip


def copies(scene: TableScene) -> Iterator[Finding]:
    """Columns that tell the target by themselves."""
    if scene.n_rows < FEWEST:
        return
    guess = _share_of_largest(scene.y) if scene.classes else 0.0
    for name, values in scene.numbers.items():
        told = told_by_neighbours(values, scene.y, bool(scene.classes))
        if told > COPIED and told - guess > 0.02:
            yield _copy(scene, name, told)
    for name, codes in scene.levels.items():
        told = _told_by_level(codes, scene.y, bool(scene.classes))
        if told > COPIED and told - guess > 0.02:
            yield _copy(scene, name, told)


def _copy(scene: TableScene, name: str, told: float) -> Finding:
    what = "of the labels" if scene.classes else "of the variance"
    return found(
        "target-copy",
        f"Column {name!r} alone tells {told:.1%} {what} of {scene.target!r}, from other rows.",
        column=name, told=told, patch=_without(name),
    )  # fmt: skip


def _share_of_largest(codes: NDArray[Any]) -> float:
    return float(np.unique(codes, return_counts=True)[1].max() / len(codes))


def told_by_neighbours(values: Floats, y: NDArray[Any], classes: bool) -> float:
    """What the rows next to it in a column tell of a row: share of labels, or of the variance.

    >>> told_by_neighbours(np.arange(8.0), np.repeat([0, 1], 4), True)
    0.6666666666666666
    """
    present = ~np.isnan(values)
    if present.mean() < 0.5:
        return 0.0
    order = np.argsort(values[present], kind="stable")  # of equal values in the order of the rows
    if len(np.unique(values[present])) < len(order) / 4:
        return _told_by_level(np.unique(values[present], return_inverse=True)[1], y[present], classes)
    target = y[present][order]
    inner, before, after = target[1:-1], target[:-2], target[2:]
    if classes:
        right = (before == inner) & (after == inner)
        return float(right.mean())
    target = target.astype(np.float64)
    rest = np.square(inner - (before + after) / 2).sum() * 2 / 3
    spread = np.square(target - target.mean()).sum()
    return float(1 - rest / spread) if spread > 0 else 0.0


def _told_by_level(codes: NDArray[Any], y: NDArray[Any], classes: bool) -> float:
    """What the other rows of its level tell of a row."""
    n_levels = int(codes.max()) + 2
    counts = np.bincount(codes + 1, minlength=n_levels)
    if (counts > 0).sum() > len(y) / 3:
        return 0.0
    if classes:
        labels = np.unique(y, return_inverse=True)[1]
        table = np.zeros((n_levels, int(labels.max()) + 1))
        np.add.at(table, (codes + 1, labels), 1)
        others = table[codes + 1]
        others[np.arange(len(y)), labels] -= 1
        return float((others.argmax(1) == labels)[others.sum(1) > 0].sum() / len(y))
    y = y.astype(np.float64)
    sums = np.bincount(codes + 1, y, minlength=n_levels)
    others_n = counts[codes + 1] - 1
    mean = np.where(others_n > 0, (sums[codes + 1] - y) / np.maximum(others_n, 1), y.mean())
    spread = np.square(y - y.mean()).sum()
    return float(1 - np.square(y - mean).sum() / spread) if spread > 0 else 0.0


def imbalance(scene: TableScene) -> Iterator[Finding]:
    """Classes with a small share of the rows."""
    if len(scene.classes) < 2 or scene.n_rows < FEWEST:
        return
    counts = np.bincount(scene.y.astype(np.int64), minlength=len(scene.classes))
    rare = int(counts.argmin())
    share = counts[rare] / counts.sum()
    if share < RARE and share < 0.25 / len(scene.classes):
        label = scene.classes[rare]
        yield found(
            "imbalance",
            f"Class {label!r} of {scene.target!r} has {counts[rare]:,} of {scene.n_rows:,} rows "
            f"({share:.1%}): always saying the others is right nearly always.",
            rows=int(counts[rare]), share=float(share),
            patch=Patch(
                "ml.fit(table, target=..., threshold='f1')  # and judge by roc_auc, not by accuracy",
                lambda settings: {**settings, "threshold": "f1"} if len(scene.classes) == 2 else settings,
            ),
        )  # fmt: skip


def few_rows(scene: TableScene) -> Iterator[Finding]:
    """Rows that are hardly more than columns."""
    n_columns = len(scene.schema.columns)
    if scene.n_rows < 2 * n_columns:
        yield found(
            "few-rows", f"The table has {scene.n_rows:,} rows and {n_columns:,} columns to learn from.",
            rows=scene.n_rows, columns=n_columns,
            patch=Patch("# more rows, or only the columns that you know to matter: ml.fit(..., drop=[...])"),
        )  # fmt: skip


def unseen_levels(scene: TableScene) -> Iterator[Finding]:
    """Categories of which many values are there once: as likely as that is a value that nobody has seen.

    The share of rows whose value is there once estimates the chance of a new one (Good 1953).
    """
    for name, codes in scene.levels.items():
        present = codes[codes >= 0]
        if len(present) < FEWEST:
            continue
        counts = np.bincount(present)
        once = float((counts == 1).sum() / len(present))
        if once > UNSEEN:
            yield found(
                "unseen-levels",
                f"{(counts == 1).sum():,} of the {(counts > 0).sum():,} values of {name!r} are there once: "
                f"about {once:.0%} of new rows will have a value that no row has had.",
                column=name, share=once,
                patch=_without(name) if once > 0.5 else Patch(f"# pool the rare values of {name!r}"),
            )  # fmt: skip


def units(scene: TableScene) -> Iterator[Finding]:
    """Columns, and a target, of which some rows are a constant factor away from the others."""
    exchanged = {name for one in swapped(scene) for name in (one.column, one.evidence["other"])}
    for name, values in scene.numbers.items():
        if kind_of(scene.schema[name]).name != "number" or name in exchanged:
            continue
        found_unit = two_units(values)
        if found_unit is not None:
            factor, share = found_unit
            yield found(
                "unit-change",
                f"{share:.0%} of the rows have values of {name!r} about {factor:.3g} times as large as the "
                "others, and spread alike.",
                column=name, factor=factor, share=share,
                patch=Patch(f"# bring {name!r} to one unit: divide the larger values by {factor:.3g}"),
            )  # fmt: skip
    if not scene.classes:
        found_unit = two_units(scene.y.astype(np.float64))
        if found_unit is not None:
            factor, share = found_unit
            yield found(
                "target-unit",
                f"{share:.0%} of the rows have a target about {factor:.3g} times as large as the others, "
                "and spread alike.",
                column=scene.target, factor=factor, share=share,
                patch=Patch(f"# bring the target to one unit: divide the larger values by {factor:.3g}"),
            )  # fmt: skip


def two_units(values: Floats) -> tuple[float, float] | None:
    """The factor between two groups of like spread in a quantity's logarithm, and the smaller one's share.

    None where there is no gap between two groups.

    >>> two_units(np.concatenate([np.linspace(1, 2, 90), np.linspace(1000, 2000, 90)]))
    (1000.0, 0.5)
    """
    positive = np.abs(values[~np.isnan(values) & (values != 0)])
    if len(positive) < FEWEST or len(np.unique(positive)) < 20:
        return None
    logs = np.sort(np.log(positive))
    gaps = np.diff(logs)
    least = max(int(SOME * len(logs)), FEW_OF_A_UNIT)
    inner = gaps[least - 1 : len(gaps) - least + 1]
    if not len(inner):
        return None
    at = int(inner.argmax()) + least
    low, high = logs[:at], logs[at:]
    factor = math.exp(float(np.median(high) - np.median(low)))
    spreads = sorted((float(low.std()), float(high.std())))
    is_gap = gaps[at - 1] > max(5 * np.sort(inner)[-2], 0.5) if len(inner) > 1 else False
    alike = spreads[0] > 0 and spreads[1] < 3 * spreads[0]
    if factor < FACTOR or not is_gap or not alike or min(len(np.unique(low)), len(np.unique(high))) < 5:
        return None
    return round(factor, 6), min(len(low), len(high)) / len(logs)


def swapped(scene: TableScene) -> Iterator[Finding]:
    """Pairs of columns whose values stand in each other's place in some rows."""
    names = [name for name in scene.numbers if _is_spread(scene.numbers[name])][:MOST_PAIRS]
    quantiles = {name: np.nanquantile(scene.numbers[name], [0.2, 0.25, 0.75, 0.8]) for name in names}
    for a, b in itertools.combinations(names, 2):
        of_a, of_b = quantiles[a], quantiles[b]
        if not (of_a[3] < of_b[0] or of_b[3] < of_a[0]):
            continue
        x, y = scene.numbers[a], scene.numbers[b]
        x_in_a, x_in_b, y_in_a, y_in_b = (_beyond(v, of) for v in (x, y) for of in (of_a, of_b))
        strange = np.maximum(x_in_a, y_in_b) > 3
        exchanged = (x_in_b < 1.5) & (y_in_a < 1.5) & strange & (np.minimum(x_in_a, y_in_b) > 1)
        share = float(exchanged.mean())
        if share > SOME:
            yield found(
                "swapped-columns",
                f"In {share:.0%} of the rows {a!r} has a value as {b!r} has elsewhere, and the other "
                "way round.",
                column=a, other=b, share=share, rows=int(exchanged.sum()),
                patch=Patch(f"# exchange {a!r} and {b!r} in these rows, first row {int(exchanged.argmax())}"),
            )  # fmt: skip


def _is_spread(values: Floats) -> bool:
    present = values[~np.isnan(values)]
    return bool(
        len(present) >= FEWEST
        and len(np.unique(present)) >= 20
        and np.ptp(np.quantile(present, [0.25, 0.75])) > 0
    )


def _beyond(values: Floats, quantiles: Floats) -> Floats:
    """How far values are from a column's middle half, in its lengths."""
    low, high = quantiles[1], quantiles[2]
    away = np.maximum(np.maximum(low - values, values - high), 0)
    return np.where(np.isnan(values), np.inf, away / (high - low))


def order(scene: TableScene) -> Iterator[Finding]:
    """Rows in order of time, as their targets follow one another."""
    if not scene.ordered or scene.splits_by_time or scene.n_rows < 2 * FEWEST:
        return
    dates = [c.name for c in scene.schema.columns if kind_of(c).name == "date"]
    for name in dates:
        when = scene.numbers[name]
        if np.isnan(when).mean() < 0.1:
            in_time = np.argsort(np.nan_to_num(when, nan=np.nanmin(when)), kind="stable")
            follows = _follows(scene.y[in_time], scene.classes)
            if follows > ORDERED:
                yield _in_order(name, follows, f"By {name!r}, the")
                return
    if not dates and not _is_sorted(scene.y):
        follows = _follows(scene.y, scene.classes)
        if follows > ORDERED:
            yield _in_order(None, follows, "In the order of the rows, the")


def _in_order(name: str | None, follows: float, start: str) -> Finding:
    lines = (
        f"ml.fit(table, target=..., time={name!r})"
        if name
        else "# add the time as a column, and fit with time="
    )
    mend = None if name is None else (lambda settings: {**settings, "time": name})
    return found(
        "time-order",
        f"{start} target's correlation with that of the row before is {follows:.2f}: rows nearby in time "
        "tell each other's answers.",
        severity="note" if name is None else "warning",
        column=name, correlation=follows, patch=Patch(lines, mend),
    )  # fmt: skip


def _follows(y: NDArray[Any], classes: tuple[Any, ...]) -> float:
    """Correlation with the row before; of several classes, how much oftener than by chance it is the same."""
    if len(classes) > 2:
        shares = np.bincount(y.astype(np.int64)) / len(y)
        by_chance = float(np.square(shares).sum())
        return (float((y[1:] == y[:-1]).mean()) - by_chance) / max(1 - by_chance, 1e-9)
    values = y.astype(np.float64)
    spread = values.std()
    return (
        float(np.mean((values[1:] - values.mean()) * (values[:-1] - values.mean())) / spread**2)
        if spread
        else 0.0
    )


def _is_sorted(y: NDArray[Any]) -> bool:
    """Whether rows are sorted by the target, or in few blocks of it."""
    changes = int((y[1:] != y[:-1]).sum())
    values = y.astype(np.float64)
    return changes < 2 * len(np.unique(y)) + 2 or bool((np.diff(values) >= 0).mean() > 0.99)


def duplicates(scene: TableScene) -> Iterator[Finding]:
    """Equal rows, more than by chance."""
    if not scene.ordered or scene.groups or scene.n_rows < FEWEST:
        return
    columns = [*scene.numbers.values(), *scene.levels.values()]
    skipped = {one.column for one in identifiers(scene)}
    names = [*scene.numbers, *scene.levels]
    columns = [values for name, values in zip(names, columns, strict=True) if name not in skipped]
    if not columns:
        return
    codes = [
        np.unique(np.nan_to_num(values, nan=-1.5e300), return_inverse=True)[1]
        for values in [*columns, scene.y]
    ]
    share = _repeated(codes)
    rng = np.random.default_rng(0)
    by_chance = _repeated([rng.permutation(code) for code in codes])
    if share - by_chance > REPEATED:
        yield found(
            "duplicates-across-folds",
            f"{share:.0%} of the rows equal another one in all columns that count ({by_chance:.0%} "
            "would by chance).",
            share=share, by_chance=by_chance,
            patch=Patch("table = table.drop_duplicates()  # or groups=, so that copies stay together"),
        )  # fmt: skip


def _repeated(codes: list[NDArray[Any]]) -> float:
    """Share of rows that have an equal before them."""
    rows = np.zeros(len(codes[0]), np.int64)
    for code in codes:
        rows = np.unique(np.stack([rows, code], 1), axis=0, return_inverse=True)[1].reshape(-1)
    return 1 - len(np.unique(rows)) / len(rows)


Check = Callable[[TableScene], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    copies,
    duplicates,
    order,
    swapped,
    units,
    identifiers,
    imbalance,
    unseen_levels,
    few_rows,
    constants,
)


# Those that neither need the rows' own order nor all of them, for `ml.fit`
QUICK: tuple[Check, ...] = (copies, swapped, units, imbalance, few_rows, unseen_levels)


def check_table(scene: TableScene, checks: tuple[Check, ...] = CHECKS) -> list[Finding]:
    """What the checks say."""
    return [one for check in checks for one in check(scene)]
