"""Simple models fitted on the same rows, so that a score can be read beside theirs."""

import threading
import time as clock
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.recipe.plan import Plan
from multilayer.recipe.selection import Selected
from multilayer.signals import held_back
from multilayer.tasks.classification import Classification
from multilayer.tasks.multi_target import Multilabel, SeveralNumbers
from multilayer.tasks.task import Task

Floats = NDArray[np.float64]
Predict = Callable[[NDArray[np.float32]], Floats]

MOST_ROWS = 10_000  # that a baseline is fitted on: some 0.2 s of trees on a core
MOST_SCORED = 5_000  # of the rows held out
FEW_ROWS = 2_000  # with fewer, a single part would say little: several are held out, one after the other
SOME_ROWS = 5_000
MOST_CLASSES = 10  # for trees, which are as many in each round
ROUNDS = 100
MOST_COLUMNS = 2_000  # of 0 and 1, that categories become for a linear model
CHANCE = 2.0  # standard errors of a mean difference that count as chance
TELLING = 0.02  # a gain below this share of what is gained over a constant is small, whatever chance says


@dataclass(frozen=True)
class Encoded:
    """How the columns of encoded rows are made up: numbers first, then codes of categories."""

    n_num: int
    cardinalities: tuple[int, ...]


def compare(plan: Plan, selected: Selected, task: Task, seed: int) -> dict[str, Any]:
    """The model, a constant, a linear model and boosted trees on the same rows, held out of all four.

    Baselines are fitted on the rows of the model, on 10,000 of them at most, as the encoder gives them. With
    folds they hold out one fold, of fewer than 5,000 rows two, of fewer than 2,000 four; and all are scored
    on these. What is done depends on the numbers of rows, columns and classes alone, never on time.

    Returns:
        metric: that decides; scored: rows; fitted_on: rows; seconds; scores: name -> metric -> value;
        verdict: name of a baseline -> "better", "alike" or "worse", as the model is beside it; `better` is
        by more than two standard errors of the mean difference of the rows' losses, and by more than 2 % of
        what is gained over the constant. Empty where there is nothing to compare with: several targets.
    """
    if isinstance(task, Multilabel | SeveralNumbers):
        return {}
    started = clock.perf_counter()
    found: dict[str, Any] = {}
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with held_back():
                from threadpoolctl import threadpool_limits
            with threadpool_limits(1, user_api="openmp"):  # of this thread, which ends here
                found.update(_compared(plan, selected, task, seed))
        except BaseException as error:  # noqa: BLE001 (handed to the caller)
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return found | {"seconds": round(clock.perf_counter() - started, 3)}


def _compared(plan: Plan, selected: Selected, task: Task, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    rows, columns = plan.to_score, Encoded(plan.network.n_num, tuple(plan.network.cardinalities))
    said: dict[str, list[Floats]] = {"this model": [], "constant": []}
    scored: list[NDArray[np.int64]] = []
    n_fitted = 0
    for train, held in _parts(plan, selected, random):
        fitted_on = plan.train if plan.folds is None else rows
        train = _some(train, MOST_ROWS, random)
        held = _some(held, MOST_SCORED, random)
        part, n_fitted = fitted_on.take(train), max(n_fitted, len(train))
        scored.append(held)
        of_rows = rows.take(selected.rows[held])
        said["this model"].append(selected.prediction[held])
        constant = task.constant(part.code, part.weight)
        said["constant"].append(np.broadcast_to(constant, selected.prediction[held].shape))
        for name, fit in BASELINES.items():
            predict = fit(task, part, columns, seed)
            if predict is not None:
                said.setdefault(name, []).append(predict(of_rows.x))
    at = np.concatenate(scored)
    code, weight = rows.code[selected.rows[at]], rows.weights_of(selected.rows[at])
    predictions = {name: np.concatenate(parts) for name, parts in said.items()}
    scores = {name: _rounded(task.score(code, one, weight)) for name, one in predictions.items()}
    losses = {name: task.row_losses(task.essence_of(one, code), code) for name, one in predictions.items()}
    return {
        "metric": task.metric,
        "scored": len(at),
        "fitted_on": n_fitted,
        "scores": scores,
        "verdict": {name: _verdict(losses, name, weight) for name in predictions if name in BASELINES},
    }


def _parts(
    plan: Plan, selected: Selected, random: np.random.Generator
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows to fit on, and places among the selected rows to score on."""
    if plan.folds is None:
        return [(np.arange(len(plan.train)), np.arange(len(selected.rows)))]
    n = len(plan.to_score)
    n_parts = 4 if n < FEW_ROWS else 2 if n < SOME_ROWS else 1
    fold = plan.folds[selected.rows]
    numbers = np.unique(fold)[:n_parts]
    return [(np.flatnonzero(plan.folds != number), np.flatnonzero(fold == number)) for number in numbers]


def _some(rows: NDArray[np.int64], most: int, random: np.random.Generator) -> NDArray[np.int64]:
    return rows if len(rows) <= most else np.sort(random.choice(rows, most, replace=False))


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Six digits, which do not depend on the library that multiplies matrices."""
    return {name: float(f"{value:.6g}") for name, value in scores.items()}


def _verdict(losses: Mapping[str, Floats], name: str, weight: NDArray[Any] | None) -> str:
    """Whether the model is better than a baseline, beyond chance and by an amount that tells."""
    gain = losses[name] - losses["this model"]
    w = np.ones(len(gain)) if weight is None else np.asarray(weight, np.float64)
    mean = float(np.average(gain, weights=w))
    error = float(np.sqrt(np.sum((w * (gain - mean)) ** 2)) / w.sum())
    of_constant = float(np.average(losses["constant"] - losses["this model"], weights=w))
    if abs(mean) <= max(CHANCE * error, TELLING * max(of_constant, 0.0)):
        return "alike"
    return "better" if mean > 0 else "worse"


# ---- a linear model


def linear(task: Task, rows: EncodedRows, columns: Encoded, seed: int) -> Predict | None:
    """A regularised linear model: logistic or ridge regression, or one with the task's own loss.

    None for quantiles, and where categories have too many levels.
    """
    if task.quantile_levels is not None or sum(columns.cardinalities) > MOST_COLUMNS:
        return None
    with held_back():
        from sklearn import linear_model as models

    objective = getattr(task, "objective", "")
    x, weight = _one_hot(rows.x, columns), rows.weight
    if isinstance(task, Classification):
        if len(np.unique(rows.code)) < 2:
            return None
        fitted: Any = models.LogisticRegression(tol=1e-2, max_iter=1000).fit(x, rows.code, weight)
        return lambda new: _of_all_classes(fitted, _one_hot(new, columns), task)
    kinds: Mapping[str, Callable[[], Any]] = {
        "poisson": lambda: models.PoissonRegressor(alpha=1e-3, tol=1e-3, max_iter=1000),
        "gamma": lambda: models.GammaRegressor(alpha=1e-3, tol=1e-3, max_iter=1000),
        "tweedie": lambda: models.TweedieRegressor(
            power=task.to_json().get("power", 1.5), alpha=1e-3, tol=1e-3, max_iter=1000
        ),
    }
    y, back = _target(task, rows.code)
    fitted = kinds.get(objective, lambda: models.Ridge(alpha=1.0))().fit(x, y, weight)
    return lambda new: _inside(task, back(fitted.predict(_one_hot(new, columns))))


def _one_hot(x: NDArray[np.float32], columns: Encoded) -> Any:
    """Numbers as they are, each category as columns of 0 and 1."""
    if not columns.cardinalities:
        return x.astype(np.float64)
    from scipy import sparse

    codes = x[:, columns.n_num :].astype(np.int64)
    starts = np.cumsum([0, *columns.cardinalities])
    places = codes + starts[:-1]
    n = len(x)
    ones = sparse.csr_array(
        (np.ones(places.size), (np.repeat(np.arange(n), codes.shape[1]), places.ravel())),
        shape=(n, int(starts[-1])),
    )
    return sparse.hstack([sparse.csr_array(x[:, : columns.n_num].astype(np.float64)), ones], format="csr")


# ---- trees


def trees(task: Task, rows: EncodedRows, columns: Encoded, seed: int) -> Predict | None:
    """Scikit-learn's HistGradientBoosting with its defaults, 100 rounds; None for more than 10 classes."""
    if len(task.classes) > MOST_CLASSES:
        return None
    with held_back():
        from sklearn import ensemble

    coded = np.array([False] * columns.n_num + [n <= 250 for n in columns.cardinalities])
    settings: dict[str, Any] = {
        "max_iter": ROUNDS,
        "early_stopping": False,
        "random_state": seed % 2**32,
        "categorical_features": coded if coded.any() else None,
    }
    if isinstance(task, Classification):
        if len(np.unique(rows.code)) < 2:
            return None
        fitted: Any = ensemble.HistGradientBoostingClassifier(**settings).fit(rows.x, rows.code, rows.weight)
        return lambda new: _of_all_classes(fitted, new, task)
    y, back = _target(task, rows.code)
    levels = task.quantile_levels
    if levels is not None:
        each = [
            ensemble.HistGradientBoostingRegressor(loss="quantile", quantile=level, **settings).fit(
                rows.x, y, rows.weight
            )
            for level in levels
        ]
        return lambda new: np.sort(np.stack([one.predict(new) for one in each], axis=1), axis=1)
    losses = {
        "absolute_error": "absolute_error",
        "poisson": "poisson",
        "gamma": "gamma",
        "tweedie": "poisson",
    }
    loss = losses.get(getattr(task, "objective", ""), "squared_error")
    one = ensemble.HistGradientBoostingRegressor(loss=loss, **settings).fit(rows.x, y, rows.weight)
    return lambda new: _inside(task, back(one.predict(new)))


# ---- what both share


def _of_all_classes(fitted: Any, x: Any, task: Task) -> Floats:
    """Probabilities of all classes, also of those that were not among the rows to fit on."""
    probs = np.zeros((x.shape[0], len(task.classes)))
    probs[:, fitted.classes_] = fitted.predict_proba(x)
    return probs


def _target(task: Task, code: NDArray[Any]) -> tuple[Floats, Callable[[Floats], Floats]]:
    """The target as a baseline is fitted on it, and the way back."""
    if getattr(task, "objective", "") == "log":
        return np.log(code), np.exp
    return code.astype(np.float64), lambda said: said


def _inside(task: Task, said: Floats) -> Floats:
    """Within the range of the training rows, as the model's own predictions."""
    return np.clip(said, getattr(task, "low", -np.inf), getattr(task, "high", np.inf))


BASELINES: Mapping[str, Callable[[Task, EncodedRows, Encoded, int], Predict | None]] = {
    "linear model": linear,
    "boosted trees": trees,
}
