"""`doctor_table`: what is wrong with a table before a model is fitted to it."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.diagnosis.finding import Finding, Findings, Patch, check_codes, found, with_subject
from multilayer.diagnosis.table_checks import TableScene, check_table, two_units
from multilayer.errors import DataError
from multilayer.recipe.fit import fit
from multilayer.table.schema import Kinds, infer_schema
from multilayer.table.sources.names import column_name, require_columns
from multilayer.table.sources.read import Table, read_table
from multilayer.table.split import folds
from multilayer.tasks.make import make_task

N_FOLDS = 4
MOST_ROWS = 50_000  # that columns are looked at in; a sample in their order
MOST_FITTED = 4_000  # that labels are judged by
FEWEST_FITTED = 100
# Of labels that were flipped at random, no row can be predicted with certainty; see `flipped`.
CERTAIN = 0.95  # of the probability below which 99 % of rows are
TOLD = 0.12  # how much oftener than by a guess models are right
CONTRADICTED = 0.05  # share of the labels
DIFFERENT = 0.25  # largest distance of two cumulative shares, from which on rows are of another kind


@dataclass(frozen=True)
class Fitting:
    """A table and the settings of `ml.fit` for it; what a finding about a table mends."""

    table: Table
    settings: dict[str, Any] = field(default_factory=dict)

    def copied(self) -> "Fitting":
        """The same, with settings of its own."""
        return replace(self, settings=dict(self.settings))


def doctor_table(
    table: Any,
    *,
    target: Hashable,
    kinds: Kinds | None = None,
    time: Hashable = None,
    groups: Hashable = None,
    validation: Any = None,
    fits: bool = True,
    seed: int = 0,
    ignore: Iterable[str] = (),
) -> Findings:
    """Say what is wrong with a table before it is fitted: columns that give the target away, units, copies.

    Identifiers, copies of the target, equal rows on both sides of a split, rows in order of time, columns or
    targets in two units, columns that change places, constant columns, rare classes, categories that hardly
    repeat, too few rows. With `fits`, small models are fitted to parts of the rows, and what they say of the
    others shows labels that were flipped and answers a factor off.

    Args:
        table: anything that `read_table` takes.
        target: name of the column to predict.
        kinds: as in `fit`.
        time, groups: the columns that `fit` would split by; what they see to is no finding then.
        validation: a table of rows to validate on, to compare with.
        fits: fit models for labels, some seconds; without, only columns and rows are looked at.
        seed: of the models' folds.
        ignore: codes that are not to be looked for.

    Returns:
        `Findings`; `apply` gives the table with the settings for `fit` (`Fitting`).

    Raises:
        DataError: the table cannot be read, or lacks the target.
        ConfigError: a code is unknown.

    >>> table = {"size": [float(i * 7 % 60) for i in range(60)], "id": list(range(60))}
    >>> table["price"] = [3 * size + 1 for size in table["size"]]
    >>> doctor_table(table, target="price", fits=False).codes
    ['target-copy', 'identifier']
    """
    codes, name = check_codes(ignore), column_name(target)
    whole = read_table(table)
    require_columns([name], whole.names)
    if len(whole.names) < 2:
        raise DataError(f"A table needs a column beside the target {name!r}; got none.")
    read = _sampled(whole, MOST_ROWS)
    given = {
        key: value
        for key, value in (("kinds", kinds), ("time", time), ("groups", groups))
        if value is not None
    }
    scene = _scene(read, name, given)
    findings = [*check_table(scene)]
    if validation is not None:
        findings += shifted(scene, read_table(validation))
    if fits and scene.n_rows >= FEWEST_FITTED:
        findings += by_fits(scene, read, name, given, seed)
    subject = Fitting(whole, {"target": name, **given})
    kept = [_for_settings(one) for one in findings if one.code not in codes]
    return Findings(with_subject(kept, subject), subject)


def _for_settings(finding: Finding) -> Finding:
    """Patches of settings, as changes of what is fitted."""
    patch = finding.patch
    if patch is None or patch.mend is None:
        return finding
    change = patch.mend

    def mend(fitting: Fitting) -> Fitting:
        return replace(fitting, settings=change(fitting.settings))

    return replace(finding, patch=Patch(patch.lines, mend))


def _sampled(table: Table, n: int) -> Table:
    if table.n_rows <= n:
        return table
    return table.take(np.linspace(0, table.n_rows - 1, n).astype(np.int64))


def _scene(table: Table, target: str, given: dict[str, Any]) -> TableScene:
    features = table.drop([target])
    schema = infer_schema(features, kinds=given.get("kinds"))
    task = make_task(table[target], None)
    code = task.encode(table[target])
    keep = np.ones(table.n_rows, bool) if code.dtype.kind != "f" else ~np.isnan(code)
    if not keep.all():
        features, code = features.take(np.flatnonzero(keep)), code[keep]
    return TableScene(
        features, code, task.classes, schema, target,
        splits_by_time="time" in given, groups="groups" in given,
    )  # fmt: skip


def shifted(scene: TableScene, other: Table) -> Iterator[Finding]:
    """Columns whose values are other ones in the rows to validate on."""
    for name, values in scene.numbers.items():
        if name not in other.names:
            continue
        theirs = np.asarray(other[name])
        if theirs.dtype.kind not in "fiu":
            continue
        a, b = values[~np.isnan(values)], theirs.astype(np.float64)
        b = b[~np.isnan(b)]
        if min(len(a), len(b)) < 30:
            continue
        points = np.sort(np.concatenate([a, b]))
        shares = [np.searchsorted(np.sort(part), points, side="right") / len(part) for part in (a, b)]
        distance = float(np.abs(shares[0] - shares[1]).max())
        if distance > DIFFERENT + 1.63 * np.sqrt(1 / len(a) + 1 / len(b)):
            yield found(
                "shift",
                f"Column {name!r} has median {np.median(a):.3g} in the rows to train on and "
                f"{np.median(b):.3g} in those to validate on (distance of the distributions {distance:.2f}).",
                column=name, distance=distance,
                patch=Patch("# validate on rows like those to come: ml.fit(..., time=...) or validation="),
            )  # fmt: skip


def by_fits(scene: TableScene, table: Table, target: str, given: dict[str, Any], seed: int) -> list[Finding]:
    """What models say of rows that they were not fitted on."""
    rows = np.flatnonzero(_has_target(table, target))
    if len(rows) > MOST_FITTED:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_FITTED).astype(np.int64)]
    used, y = table.take(rows), scene.y[np.isin(np.flatnonzero(_has_target(table, target)), rows)]
    leave = [
        one.column for one in check_table(scene) if one.code in ("target-copy", "identifier") and one.column
    ]
    predicted = out_of_fold(used, target, {**given, "drop": leave}, bool(scene.classes), seed)
    if predicted is None:
        return []
    if scene.classes:
        return list(flipped(predicted, y.astype(np.int64), scene, rows))
    return list(off_by_a_factor(predicted, y.astype(np.float64), scene))


def _has_target(table: Table, target: str) -> NDArray[np.bool_]:
    values = table[target]
    if values.dtype == object:
        return np.array([value is not None and value == value for value in values.tolist()])
    return ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), bool)


def out_of_fold(
    table: Table, target: str, settings: dict[str, Any], classes: bool, seed: int
) -> NDArray[np.float64] | None:
    """Probabilities, or numbers, for each row by a model of the other folds; None where a fit refuses."""
    fold = folds(table.n_rows, N_FOLDS, seed=seed)
    settings = {key: value for key, value in settings.items() if key in ("kinds", "drop")}
    predicted: NDArray[np.float64] | None = None
    for number in range(N_FOLDS):
        try:
            model = fit(
                table.take(np.flatnonzero(fold != number)), target=target, quality="fast", members=4,
                epochs=12, seed=seed, baselines=False, verbose=False, **settings,
            )  # fmt: skip
        except DataError:
            return None
        rest = table.take(np.flatnonzero(fold == number)).drop([target])
        given = model.predict_proba(rest) if classes else model.predict(rest)
        if predicted is None:
            predicted = np.zeros((table.n_rows, *given.shape[1:]))
        if given.shape[1:] != predicted.shape[1:]:
            return None
        predicted[fold == number] = given
    return predicted


def flipped(
    probs: NDArray[np.float64], code: NDArray[np.int64], scene: TableScene, rows: NDArray[np.int64]
) -> Iterator[Finding]:
    """Labels that were changed at random: most rows are told well, and yet none with certainty.

    Where answers are uncertain by nature, some rows are nearer to certain than others. Where labels were
    flipped, all rows have the same chance of a wrong label, so that probabilities crowd below one.
    """
    if probs.shape[1] != len(scene.classes):
        return
    of_label = probs[np.arange(len(code)), code]
    middle, top = np.quantile(probs.max(1), [0.5, 0.99])
    guess, right = np.bincount(code).max() / len(code), float((probs.argmax(1) == code).mean())
    share = float(((probs.argmax(1) != code) & (of_label < 1 - middle + 0.05)).mean())
    if top < CERTAIN and right > guess + TOLD and share > CONTRADICTED and _are_rich(scene):
        worst = rows[np.argsort(of_label, kind="stable")[:5]]
        yield found(
            "flipped-labels",
            f"Models of other rows contradict {share:.0%} of the labels and are right in {right:.0%}, and "
            f"yet are sure of no row (99 % of their highest probabilities are below {top:.2f}): as if "
            "labels had been changed at random.",
            column=scene.target, share=share, certain=float(top), rows=[int(row) for row in worst],
            patch=Patch(f"# look at rows {', '.join(map(str, worst.tolist()))} first"),
        )  # fmt: skip


def _are_rich(scene: TableScene) -> bool:
    """Whether rows differ in what is known of them: of few kinds of rows, none may be certain by nature."""
    return any(len(np.unique(values)) > scene.n_rows / 4 for values in scene.numbers.values())


def off_by_a_factor(
    predicted: NDArray[np.float64], y: NDArray[np.float64], scene: TableScene
) -> Iterator[Finding]:
    """Targets that are a constant factor away from what rows like them have."""
    if any(one.code == "target-unit" for one in check_table(scene)) or y.min() <= 0 or predicted.min() <= 0:
        return
    found_unit = two_units(y / predicted)
    if found_unit is not None:
        factor, share = found_unit
        yield found(
            "target-unit",
            f"{share:.0%} of the targets are about {factor:.3g} times as far from what models of other rows "
            "say as the rest.",
            column=scene.target, factor=factor, share=share,
            patch=Patch(f"# bring the target to one unit: a factor of {factor:.3g}"),
        )  # fmt: skip
