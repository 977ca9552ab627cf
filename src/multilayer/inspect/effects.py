"""How predictions change along one column: accumulated local effects, partial dependence, single rows.

Source:  Apley, Zhu 2020, arXiv:1612.08468 (ALE); Friedman 2001, doi:10.1214/aos/1013203451 (partial
         dependence); Goldstein et al. 2015, arXiv:1309.6392 (ICE)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.inspect.encoded_table import EncodedTable, Outputs, drawn, explained, output_names
from multilayer.model.members import member_predictions
from multilayer.model.statistics import Landmarks

BINS = 20  # of a number
MOST_LEVELS = 30  # of a category
EFFECT_ROWS = 1000  # of which effects are means
DEPENDENCE_ROWS = 200
FAR = 0.99  # a row farther from the training rows than this share of them is outside of the data
MOSTLY = 0.5  # where more of the rows that a point is the mean of are outside, it tells little

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Effect:
    """The effect of one column on the prediction.

    column:  its name
    method:  "ale": what a change of this column alone does, among rows that are near in it, added up; 0 on
             average. "pdp": the mean prediction if all rows had this value
    values:  (n_points,) values of the column, ascending; levels of a category, in the order of the effect
    effect:  (n_points, n_outputs)
    spread:  (n_points, n_outputs) standard deviation of it over the networks
    share:   (n_points,) share of the rows at the value; of numbers, in the bin that ends with it
    sparse:  (n_points,) where there are too few rows like these to say anything
    outputs: what each output is
    curves:  (n_rows, n_points, n_outputs) of single rows (individual conditional expectation); None of ALE
    """

    column: str
    method: str
    values: NDArray[Any]
    effect: Floats
    spread: Floats
    share: Floats
    sparse: NDArray[np.bool_]
    outputs: tuple[str, ...]
    curves: Floats | None = None

    def __repr__(self) -> str:
        low, high = self.effect[:, -1].min(), self.effect[:, -1].max()
        n = len(self.values)
        return f"Effect({self.method} of {self.column!r}: {n} points, {low:.4g} to {high:.4g})"

    @property
    def size(self) -> float:
        """Standard deviation of the effect over the rows, on average over the outputs."""
        mean = self.share @ self.effect
        return float(np.sqrt(self.share @ (self.effect - mean) ** 2).mean())


@dataclass(frozen=True, eq=False)
class _Points:
    """Where an effect is looked at.

    cells:  what the column holds at each point
    blocks: (n_points, width) as it is encoded there
    place:  the point of each row (of a number: the upper end of its bin), -1 where it has none
    """

    cells: NDArray[Any]
    blocks: NDArray[np.float32]
    place: NDArray[np.int64]
    has_order: bool


def effect_of(table: EncodedTable, name: str, method: str, seed: int) -> Effect | None:
    """The effect of a column; None for texts, and where it holds one value only."""
    most = EFFECT_ROWS if method == "ale" else DEPENDENCE_ROWS
    table = table.take(drawn(len(table), most, seed))
    points = _points(table, name)
    if points is None or len(points.cells) < 2:
        return None
    return (_accumulated if method == "ale" else _dependence)(table, name, points)


def _points(table: EncodedTable, name: str) -> _Points | None:
    """Quantiles that occur of a number, the most frequent levels of a category."""
    block = table.x[:, table.places[table.place_of(name)]]
    numbers, codes = table.numbers(name), table.codes(name)
    if numbers is None and codes is None:
        return None
    if codes is not None:
        counts = np.bincount(codes)
        kept = np.flatnonzero(counts)
        kept = np.sort(kept[np.argsort(-counts[kept], kind="stable")[:MOST_LEVELS]])
        first = np.array([np.flatnonzero(codes == code)[0] for code in kept])
        place = np.full(len(counts), -1)
        place[kept] = np.arange(len(kept))
        words = ("(missing)", "(other)", *table.levels(name))
        labels = np.array([words[code] for code in kept], object)
        order = _by_level(table, name)
        return _Points(labels, block[first], place[codes], order)
    assert numbers is not None
    there = np.flatnonzero(~np.isnan(numbers))
    if not len(there):
        return None
    rising = there[np.argsort(numbers[there], kind="stable")]
    picked = rising[np.linspace(0, len(rising) - 1, min(BINS + 1, len(rising))).round().astype(np.int64)]
    ends, first = np.unique(numbers[picked], return_index=True)
    place = np.searchsorted(ends, numbers)
    place = np.where(np.isnan(numbers), -1, np.minimum(place, len(ends) - 1))
    return _Points(table.table[name][picked[first]], block[picked[first]], place, has_order=True)


def _by_level(table: EncodedTable, name: str) -> bool:
    """Whether a category's codes rise with its levels."""
    return table.model.schema[name].kind == "ordered"


def _accumulated(table: EncodedTable, name: str, points: _Points) -> Effect:
    """ALE_k = sum_{j <= k} mean over the rows between points j - 1 and j of f(at j) - f(at j - 1).

    Differs: a category's neighbours in the order of their mean prediction stand for "near", where levels have
             no order of their own; of two neighbouring levels the rows of both count
    """
    model, places = table.model, table.places[table.place_of(name)]
    is_category = table.codes(name) is not None
    if is_category and not points.has_order:
        said = Outputs(model, len(table))(table.x)[:, -1:]
        n_of = np.bincount(points.place[points.place >= 0], minlength=len(points.cells))
        inside = points.place >= 0
        mean = np.bincount(points.place[inside], said[inside, 0], len(points.cells)) / np.maximum(n_of, 1)
        order = np.argsort(mean, kind="stable")
        back = np.argsort(order)
        place = np.where(inside, back[points.place], -1)
        points = _Points(points.cells[order], points.blocks[order], place, has_order=True)
    at = points.place
    n_points = len(points.cells)
    if is_category:  # the rows of either level, moved between the two
        moved = [np.flatnonzero((at == k) | (at == k - 1)) for k in range(1, n_points)]
    else:  # the first bin has both ends: what equals the smallest value lies in it
        at = np.where(at == 0, 1, at)
        moved = [np.flatnonzero(at == k) for k in range(1, n_points)]
    step = np.repeat(np.arange(1, n_points), [len(rows) for rows in moved])
    x = np.concatenate([table.x[rows] for rows in (*moved, *moved)])
    n = len(step)
    x[:n, places], x[n:, places] = points.blocks[step], points.blocks[step - 1]
    by_member = member_predictions(model.networks, model.task.link, x)
    outputs = np.stack([explained(model, said) for said in by_member])
    difference = outputs[:, :n] - outputs[:, n:]
    n_of = np.bincount(step, minlength=n_points)
    into = (step == np.arange(n_points)[:, None]) / np.maximum(n_of, 1)[:, None]
    steps = np.einsum("pn,mnk->mpk", into, difference)
    curve = np.cumsum(steps, axis=1)
    share = np.bincount(points.place[points.place >= 0], minlength=n_points).astype(float)
    share /= share.sum()
    weight = share if is_category else _of_ends(share)
    curve -= (weight @ curve)[:, None]
    effect, spread = _over_members(table, curve)
    sparse = np.bincount(step, minlength=n_points) < 5
    sparse[0] = sparse[1]
    return Effect(name, "ale", points.cells, effect, spread, share, sparse, output_names(model))


def _of_ends(share: Floats) -> Floats:
    """What each end of bins counts in the mean over the rows: those of a bin lie between its ends."""
    share = share.copy()
    share[1] += share[0]
    share[0] = 0
    return (share + np.append(share[1:], 0)) / 2


def _dependence(table: EncodedTable, name: str, points: _Points) -> Effect:
    """The mean, and each row's prediction, with the column at each point."""
    model, places = table.model, table.places[table.place_of(name)]
    n_points = len(points.cells)
    x = np.repeat(table.x[:, None], n_points, axis=1)
    x[:, :, places] = points.blocks
    flat = x.reshape(-1, x.shape[2])
    by_member = member_predictions(model.networks, model.task.link, flat)
    outputs = np.stack([explained(model, said) for said in by_member])
    outputs = outputs.reshape(len(outputs), len(table), n_points, -1)
    w = _member_weights(table)
    effect, spread = _over_members(table, outputs.mean(axis=1))
    share = np.bincount(points.place[points.place >= 0], minlength=n_points) / max(1, len(table))
    known = None if model.statistics is None else model.statistics.landmarks
    return Effect(
        column=name,
        method="pdp",
        values=points.cells,
        effect=effect,
        spread=spread,
        share=share,
        sparse=_outside(known, flat).reshape(len(table), n_points).mean(axis=0) > MOSTLY,
        outputs=output_names(model),
        curves=np.tensordot(w, outputs, 1),
    )


def _outside(landmarks: Landmarks | None, x: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which encoded rows are farther from all training rows than nearly all of these."""
    if landmarks is None:
        return np.zeros(len(x), bool)
    return landmarks.distances(x) > landmarks.distance.at([FAR])[0]


def _member_weights(table: EncodedTable) -> Floats:
    weights = table.model.weights
    w = np.ones(len(table.model.networks)) if weights is None else np.asarray(weights, np.float64)
    return w / w.sum()


def _over_members(table: EncodedTable, curves: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation over the networks."""
    w = _member_weights(table)
    mean = np.tensordot(w, curves, 1)
    return mean, np.sqrt(np.tensordot(w, (curves - mean) ** 2, 1))
