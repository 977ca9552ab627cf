"""`explain`: which columns matter to a model, how, and for a single row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError, DataError, extra, nearest
from multilayer.inspect.effects import Effect, effect_of
from multilayer.inspect.encoded_table import EncodedTable, Outputs, checked_names, drawn
from multilayer.inspect.gradients import expected_gradients
from multilayer.inspect.importance import CORRELATED, correlated_groups, importance, rank_correlations
from multilayer.inspect.interactions import interactions
from multilayer.inspect.result_table import ResultTable
from multilayer.inspect.shapley import coalition_values, shapley_values
from multilayer.model.model import Model

IMPORTANCE_ROWS = 10_000
REPEATS = 3  # shuffles; spread over rows is larger than over shuffles where there are many rows
ROWS = 100  # that are explained one by one
BACKGROUND_ROWS = 50
TOP_COLUMNS = 6  # whose pairs are looked at for interactions

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RowValues:
    """What each column adds to the predictions of single rows.

    base + sum of a row's values = its prediction, up to `error`

    values:  (n_rows, n_columns, n_outputs)
    base:    (n_outputs,) mean prediction of the background
    prediction: (n_rows, n_outputs)
    data:    object (n_rows, n_columns): the cells
    columns: names
    outputs: what each output is: a class, a target, a quantile
    method:  "shapley" or "gradients"
    """

    values: Floats
    base: Floats
    prediction: Floats
    data: NDArray[Any]
    columns: tuple[str, ...]
    outputs: tuple[str, ...]
    method: str

    @property
    def error(self) -> Floats:
        """By how much base and values miss the prediction (completeness), (n_rows, n_outputs)."""
        return self.base + self.values.sum(axis=1) - self.prediction

    def of_row(self, row: int, output: int = -1) -> ResultTable:
        """Columns of one row, what adds or takes most first.

        Args:
            row: its number, from 0.
            output: which output; of two classes there is one, of several the last is the default.
        """
        values = self.values[row, :, output]
        order = np.argsort(-np.abs(values), kind="stable")
        return ResultTable(
            {
                "column": [self.columns[i] for i in order],
                "cell": [self.data[row, i] for i in order],
                "adds": values[order],
            },
            f"{self.outputs[output]}: {self.base[output]:.5g} on average, {self.prediction[row, output]:.5g} "
            "for this row",
        )

    def to_shap(self) -> Any:
        """A `shap.Explanation`, for the plots of shap; of one output without an axis for it.

        Raises:
            MissingExtraError: shap is not installed.
        """
        shap = extra("shap", needed_by="Explanation.rows", install="'multilayer[explain]'")
        one = len(self.outputs) == 1
        base = np.broadcast_to(self.base, self.prediction.shape)
        return shap.Explanation(
            values=self.values[..., 0] if one else self.values,
            base_values=base[:, 0].copy() if one else base.copy(),
            data=self.data,
            feature_names=list(self.columns),
            output_names=self.outputs[0] if one else list(self.outputs),
        )


class Effects(Mapping[str, Effect]):
    """The effect of each column that has one, by name; each is made when it is first asked for."""

    def __init__(self, table: EncodedTable, names: Sequence[str], method: str, seed: int) -> None:
        self._table, self._names, self._method, self._seed = table, tuple(names), method, seed
        self._made: dict[str, Effect | None] = {}

    def _of(self, name: str) -> Effect | None:
        if name not in self._made:
            self._made[name] = effect_of(self._table, name, self._method, self._seed)
        return self._made[name]

    def __getitem__(self, name: str) -> Effect:
        self._table.place_of(name)
        found = self._of(name)
        if found is None:
            raise DataError(
                f"an effect needs a number or a category of at least two values; column {name!r} of these "
                "rows is text, or always the same. Its importance is in `importance`."
            )
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._names and self._of(str(name)) is not None

    def __iter__(self) -> Any:
        return (name for name in self._names if self._of(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Effects({self._method} of {', '.join(self)})"


class Explanation:
    """What `explain` gives: each part is computed when it is first looked at, and then kept.

    Attributes:
        importance: a table with a row a column: mean, spread.
        group_importance: the same of groups of columns that correlate, shuffled together.
        groups: these groups.
        correlation: rank correlations behind them, (n_columns, n_columns), by `columns`.
        effects: column -> `Effect`.
        row_values: `RowValues` of single rows.
        rows: the same as `shap.Explanation`.
        interactions: a table with a row a pair of the most important columns: strength, h.
    """

    def __init__(
        self,
        table: EncodedTable,
        columns: tuple[str, ...],
        *,
        groups: Sequence[Sequence[str]] | None,
        correlated: float,
        repeats: int,
        rows: NDArray[np.int64],
        background: EncodedTable | None,
        method: str,
        n_coalitions: int | None,
        effects: str,
        seed: int,
    ) -> None:
        self.columns, self.seed, self.method = columns, seed, method
        self._table, self._groups, self._correlated, self._repeats = table, groups, correlated, repeats
        self._rows, self._background, self._n_coalitions = rows, background, n_coalitions
        self.effects = Effects(table, columns, effects, seed)

    @property
    def has_target(self) -> bool:
        """Whether the table held the target, so that importance is by how much worse predictions get."""
        return self._table.code is not None

    @cached_property
    def _sample(self) -> EncodedTable:
        table = self._table
        if table.code is not None:
            table.model._told_seen(*table.model._count_seen(table.x, table.code, table.weight))
        return table.take(drawn(len(table), IMPORTANCE_ROWS, self.seed))

    @cached_property
    def importance(self) -> ResultTable:
        """By how much predictions get worse when a column is shuffled; the most important first."""
        groups = [(name,) for name in self.columns]
        return importance(self._sample, groups, repeats=self._repeats, seed=self.seed)

    @cached_property
    def correlation(self) -> Floats:
        """Sizes of rank correlations, of all columns that the model uses."""
        return rank_correlations(self._sample)

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Columns that say much the same, or the groups that were given."""
        if self._groups is not None:
            return tuple(tuple(group) for group in self._groups)
        places = [self._table.place_of(name) for name in self.columns]
        return correlated_groups(self.columns, self.correlation[np.ix_(places, places)], self._correlated)

    @cached_property
    def group_importance(self) -> ResultTable:
        """As `importance`, with all columns of a group shuffled together."""
        if all(len(group) == 1 for group in self.groups):
            return self.importance
        return importance(self._sample, self.groups, repeats=self._repeats, seed=self.seed)

    @cached_property
    def row_values(self) -> RowValues:
        """What each column adds to the prediction of each of the rows."""
        table = self._table.take(self._rows)
        background, weight = self._reference()
        n = len(table) * len(background) * 10 * len(table.names)
        outputs = Outputs(table.model, n)
        base = weight @ outputs(background)
        if self.method == "gradients":
            values = expected_gradients(table, background, weight, outputs, self.seed)
        else:
            game = coalition_values(outputs, table.x, background, weight, table.places)
            values = shapley_values(game, len(table.names), self._n_coalitions, self.seed)
            values = np.moveaxis(values, 0, 1)
        return RowValues(
            values=values,
            base=base,
            prediction=outputs(table.x),
            data=_cells(table),
            columns=table.names,
            outputs=outputs.names,
            method=self.method,
        )

    @property
    def rows(self) -> Any:
        """`row_values` as a `shap.Explanation`.

        Raises:
            MissingExtraError: shap is not installed.
        """
        return self.row_values.to_shap()

    def _reference(self) -> tuple[NDArray[np.float32], Floats]:
        """Rows that columns of unknown value are taken from, and what each counts."""
        source = self._table if self._background is None else self._background
        rows = drawn(len(source), BACKGROUND_ROWS, self.seed + 1)
        known = self._table.model.statistics
        if self._background is None and len(rows) < BACKGROUND_ROWS and known and known.landmarks:
            return known.landmarks.rows, known.landmarks.weight
        return source.x[rows], np.full(len(rows), 1 / len(rows))

    @cached_property
    def interactions(self) -> ResultTable:
        """Of each pair of the six most important columns, what they do together beyond the sum of both."""
        names = list(self.importance["column"])[:TOP_COLUMNS]
        if len(names) < 2:
            return ResultTable({"columns": [], "strength": np.zeros(0), "h": np.zeros(0)})
        return interactions(self._table, names, self.seed)

    def __repr__(self) -> str:
        return f"{self.importance}\nMore: .group_importance, .effects, .rows, .interactions"

    def _repr_html_(self) -> str:
        more = escape("More: .group_importance, .effects, .rows, .interactions")
        return f"{self.importance._repr_html_()}<p>{more}</p>"


def explain(
    model: Model,
    table: Any,
    *,
    query: str | None = None,
    extra: str = "warn",
    columns: Sequence[str] | None = None,
    groups: Sequence[Sequence[str]] | None = None,
    correlated: float = CORRELATED,
    repeats: int = REPEATS,
    rows: int | Sequence[int] = ROWS,
    background: Any = None,
    method: str = "shapley",
    n_coalitions: int | None = None,
    effects: str = "ale",
    seed: int = 0,
) -> Explanation:
    """Which columns matter to a model, how predictions change along them, and what made those of single rows.

    All is said of raw columns, as the table has them. Parts are computed when they are first looked at:

    importance        permutation importance (Breiman 2001): the growth of the loss when a column is shuffled
    group_importance  the same of columns that correlate, together: alone each hides behind the others
    effects           accumulated local effects (Apley, Zhu 2020, arXiv:1612.08468), with the spread of the
                      networks; partial dependence and curves of single rows on request
    rows              Shapley values (Lundberg, Lee 2017, arXiv:1705.07874) of single rows, a raw column a
                      player: exact for up to 8 columns, else from coalitions drawn by their leverage
                      (Musco, Witter 2025, arXiv:2410.01917); or expected gradients (Erion et al. 2021,
                      arXiv:1906.10670)
    interactions      Friedman's H (2008, arXiv:0811.1679) of the six most important columns

    Args:
        model: what `fit` or `Model.load` gave.
        table: rows, anything that `read_table` takes; better such as the model was not trained on. With the
            target, importance is by how much worse predictions get; without, by how much they change.
        query: the rows, where the table is a database, a connection or a file to query.
        extra: what becomes of columns that were not there at fit, as in `Model.predict`.
        columns: that are looked at; None looks at all that the model uses.
        groups: of columns that are shuffled together; None finds those that correlate.
        correlated: rank correlation from which on columns form a group.
        repeats: shuffles of each column.
        rows: how many rows are explained one by one, from the first; or the numbers of those rows, from 0.
        background: a table whose rows stand for columns that are not known; of these, and of the table where
            there is none, 50 are drawn. Of fewer rows, the landmarks of the training rows are taken.
        method: of `rows`: "shapley" or "gradients".
        n_coalitions: that Shapley values look at; None is all for up to 8 columns, else 10 for each column.
        effects: "ale" (accumulated local effects) or "pdp" (partial dependence, with single rows' curves).
        seed: of shuffles and draws: the same seed, the same numbers.

    Raises:
        SchemaError: as `Model.predict`.
        DataError: the table has no rows.
        ConfigError: a setting that is none.

    >>> import multilayer as ml
    >>> x = np.linspace(-1, 1, 120)
    >>> table = {"rising": x, "noise": np.tile([0.0, 1.0, 2.0], 40), "y": 3 * x}
    >>> model = ml.fit(table, target="y", epochs=20, members=2)
    >>> found = explain(model, {name: table[name] for name in ("rising", "noise")})
    >>> found.importance["column"]
    ['rising', 'noise']
    >>> bool(found.effects["rising"].effect[-1, 0] > found.effects["rising"].effect[0, 0])
    True
    """
    _check_choice("method", method, ("shapley", "gradients"))
    _check_choice("effects", effects, ("ale", "pdp"))
    for name, value in (("repeats", repeats), ("n_coalitions", n_coalitions)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f"{name} must be a whole number of at least 1; got {value!r}.")
    if not isinstance(model, Model):
        raise ConfigError(
            f"explain takes a model of ml.fit or Model.load; got {type(model).__name__}. "
            "Of an estimator pass its model_."
        )
    encoded = EncodedTable.of(model, table, query=query, extra=extra)
    if not encoded.names:
        raise DataError("explaining needs columns that the model learnt from; it uses none.")
    behind = None if background is None else EncodedTable.of(model, background, extra=extra)
    for group in groups or ():
        checked_names(encoded, [group] if isinstance(group, str) else group)
    return Explanation(
        encoded,
        checked_names(encoded, columns),
        groups=None if groups is None else [[g] if isinstance(g, str) else list(g) for g in groups],
        correlated=correlated,
        repeats=repeats,
        rows=_row_numbers(rows, len(encoded)),
        background=behind,
        method=method,
        n_coalitions=n_coalitions,
        effects=effects,
        seed=seed,
    )


def _check_choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        words = " or ".join(map(repr, known))
        raise ConfigError(f"{name} must be {words}; got {value!r}.{nearest(str(value), known)}")


def _row_numbers(rows: Any, n: int) -> NDArray[np.int64]:
    """The rows to explain one by one."""
    if isinstance(rows, int | np.integer) and not isinstance(rows, bool):
        if rows < 1:
            raise ConfigError(f"rows must be at least 1; got {rows}.")
        return np.arange(min(int(rows), n))
    numbers = np.asarray(rows)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not len(numbers):
        raise ConfigError(f"rows must be how many, or a list of their numbers, from 0; got {rows!r}.")
    if numbers.min() < 0 or numbers.max() >= n:
        raise ConfigError(f"rows must be numbers from 0 to {n - 1}, as the table has {n} rows; got {rows!r}.")
    return numbers.astype(np.int64)


def _cells(table: EncodedTable) -> NDArray[Any]:
    """The raw cells, object (n_rows, n_columns)."""
    found = np.empty((len(table), len(table.names)), object)
    for i, name in enumerate(table.names):
        found[:, i] = table.table[name].tolist()
    return found
