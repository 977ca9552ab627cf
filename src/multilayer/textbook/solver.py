"""The textbook algorithm: one plain network as `sklearn.neural_network` trains it, draw for draw.

The same weights are drawn and the same rows shuffled from the same RandomState, so a fit differs from
scikit-learn's by rounding alone.
"""

import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from multilayer.errors import DataError
from multilayer.textbook.engines import KernelEngine, NumpyEngine, Optimizer
from multilayer.textbook.network import Array, Rows, Textbook, Weights, loss_and_gradient
from multilayer.training.history import EngineName

Engine = NumpyEngine | KernelEngine
KERNEL_STEPS = 1_000  # with fewer, loading the kernels would cost more than they save
KERNEL_STEPS_AN_EPOCH = 4  # with fewer, what an epoch costs beside its steps outweighs them
LEAST_RATE = 1e-6  # of learning_rate="adaptive"


@dataclass
class Run:
    """Where training stands; a later call goes on from it.

    steps: of all calls together; t: rows seen; epochs: of the newest call
    """

    weights: Weights
    optimizer: Optimizer | None = None
    loss: float = np.inf
    loss_curve: list[float] = field(default_factory=list)
    best_loss: float | None = np.inf
    validation_scores: list[float] | None = None
    best_validation_score: float | None = None
    best_weights: Weights | None = None
    no_improvement_count: int = 0
    epochs: int = 0
    steps: int = 0
    t: int = 0
    engine: EngineName = "NumPy"

    @classmethod
    def start(cls, settings: Textbook, weights: Weights) -> "Run":
        """Before the first epoch."""
        run = cls(weights)
        if settings.early_stopping:
            run.best_loss, run.validation_scores, run.best_validation_score = None, [], -np.inf
            run.best_weights = weights.copy()
        return run


def fit(
    run: Run,
    settings: Textbook,
    x: Rows,
    y: Array,
    row_weight: Array | None,
    out_activation: str,
    rng: np.random.RandomState,
    *,
    one_epoch: bool = False,
) -> None:
    """Train `run` to the end of the solver, or for one epoch.

    Args:
        x: (n_rows, d_in); y: (n_rows, d_out), classes as 0 and 1; row_weight: (n_rows,) or None.
        out_activation: "identity", "exp", "logistic" or "softmax".
        rng: has drawn the weights; draws validation rows and shuffles.

    Raises:
        DataError: the weights have become infinite; too few validation rows.
    """
    if settings.solver == "lbfgs":
        _fit_lbfgs(run, settings, x, y, row_weight, out_activation)
    else:
        _fit_stochastic(run, settings, x, y, row_weight, out_activation, rng, one_epoch)
    if not all(np.isfinite(w).all() for w in run.weights.all):
        raise DataError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need "
            "to be preprocessed. Scale X, or lower learning_rate_init."
        )


def _fit_stochastic(
    run: Run,
    settings: Textbook,
    x: Rows,
    y: Array,
    row_weight: Array | None,
    out_activation: str,
    rng: np.random.RandomState,
    one_epoch: bool,
) -> None:
    if run.optimizer is None or not one_epoch:
        run.optimizer = Optimizer.start(settings, run.weights)
    held_out: tuple[Rows, Array, Array | None] | None = None
    if settings.early_stopping:
        (x, y, row_weight), held_out = _hold_out(settings, x, y, row_weight, rng)
    n_rows = x.shape[0]
    size = _batch_size(settings, n_rows)
    bounds = np.append(np.arange(0, n_rows, size), n_rows)
    epochs = 1 if one_epoch else settings.max_iter
    kind = _engine_for(run.steps, len(bounds) - 1, epochs, x)
    run.engine = kind.name
    engine = kind(run.weights, run.optimizer, settings, x, y, row_weight, out_activation)
    try:
        _run_epochs(run, settings, engine, bounds, held_out, rng, one_epoch)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    finally:
        engine.close()
    run.weights = engine.weights()
    if settings.early_stopping and run.best_weights is not None:
        run.weights = run.best_weights.copy()


def _engine_for(
    steps_before: int, steps_an_epoch: int, epochs: int, x: Rows
) -> type[NumpyEngine] | type[KernelEngine]:
    """By what was asked alone, so that the same calls give the same bits in every process."""
    is_long = steps_before + epochs * steps_an_epoch >= KERNEL_STEPS
    if is_long and steps_an_epoch >= KERNEL_STEPS_AN_EPOCH and not hasattr(x, "toarray"):
        return KernelEngine
    return NumpyEngine


def _batch_size(settings: Textbook, n_rows: int) -> int:
    if settings.batch_size is None:
        return min(200, n_rows)
    if settings.batch_size > n_rows:
        warnings.warn(
            f"Got `batch_size` larger than sample size ({settings.batch_size} > {n_rows}). "
            "It is going to be clipped.",
            stacklevel=2,
        )
    return min(settings.batch_size, n_rows)


def _hold_out(
    settings: Textbook,
    x: Rows,
    y: Array,
    row_weight: Array | None,
    rng: np.random.RandomState,
) -> tuple[tuple[Rows, Array, Array | None], tuple[Rows, Array, Array | None]]:
    """Training and validation rows, drawn as scikit-learn draws them: within each of two classes."""
    stratify = y if settings.loss == "log_loss" and y.shape[1] == 1 else None
    arrays = [x, y] if row_weight is None else [x, y, row_weight]
    parts = train_test_split(
        *arrays, random_state=rng, test_size=settings.validation_fraction, stratify=stratify
    )
    if parts[1].shape[0] < 2:
        raise DataError(
            "The validation set is too small. Increase 'validation_fraction' "
            f"({settings.validation_fraction:g} of {x.shape[0]} rows) or the size of your dataset."
        )
    parts += [] if row_weight is not None else [None, None]
    return (parts[0], parts[2], parts[4]), (parts[1], parts[3], parts[5])


def _run_epochs(
    run: Run,
    settings: Textbook,
    engine: Engine,
    bounds: Array,
    held_out: tuple[Rows, Array, Array | None] | None,
    rng: np.random.RandomState,
    one_epoch: bool,
) -> None:
    assert run.optimizer is not None
    n_rows, started = int(bounds[-1]), time.perf_counter()
    order = np.arange(n_rows)
    run.epochs = 0
    while run.epochs < settings.max_iter:
        if settings.shuffle:
            places = np.arange(n_rows)
            rng.shuffle(places)  # of the order before, as sklearn.utils.shuffle does it
            order = order[places]
        run.loss = engine.run_epoch(order, bounds, run.optimizer.learning_rate)
        run.epochs += 1
        run.steps += len(bounds) - 1
        run.t += n_rows
        run.loss_curve.append(run.loss)
        settings.say(f"Iteration {run.epochs}, loss = {run.loss:.8f}")
        _count_no_improvement(run, settings, engine, held_out)
        if settings.solver == "sgd" and settings.learning_rate == "invscaling":
            run.optimizer.learning_rate = float(settings.learning_rate_init) / (run.t + 1) ** settings.power_t
        if run.no_improvement_count > settings.n_iter_no_change:
            if _stops(run, settings):
                return
            run.no_improvement_count = 0
        if one_epoch:
            return
        if settings.time_budget is not None and time.perf_counter() - started > settings.time_budget:
            settings.say(f"The time budget of {settings.time_budget:g} s is used up. Stopping.")
            return
    warnings.warn(
        f"Stochastic Optimizer: Maximum iterations ({settings.max_iter}) reached and the optimization hasn't "
        "converged yet.",
        ConvergenceWarning,
        stacklevel=2,
    )


def _count_no_improvement(
    run: Run, settings: Textbook, engine: Engine, held_out: tuple[Rows, Array, Array | None] | None
) -> None:
    """Epochs since the training loss, or the validation score, last improved by more than tol."""
    if held_out is None:
        best = np.inf if run.best_loss is None else run.best_loss
        run.no_improvement_count = run.no_improvement_count + 1 if run.loss > best - settings.tol else 0
        run.best_loss = min(best, run.loss)
        return
    x, y, weight = held_out
    score = validation_score(y, engine.outputs(x), weight, engine.out_activation)
    if run.validation_scores is None or run.best_validation_score is None:
        run.validation_scores, run.best_validation_score = [], -np.inf
    run.validation_scores.append(score)
    settings.say(f"Validation score: {score:f}")
    is_worse = score < run.best_validation_score + settings.tol
    run.no_improvement_count = run.no_improvement_count + 1 if is_worse else 0
    if score > run.best_validation_score:
        run.best_validation_score = score
        run.best_weights = engine.weights().copy()


def _stops(run: Run, settings: Textbook) -> bool:
    assert run.optimizer is not None
    what = "Validation score" if settings.early_stopping else "Training loss"
    reason = (
        f"{what} did not improve more than tol={settings.tol:f} for {settings.n_iter_no_change} consecutive "
        "epochs."
    )
    if settings.solver != "sgd" or settings.learning_rate != "adaptive":
        settings.say(f"{reason} Stopping.")
        return True
    if run.optimizer.learning_rate <= LEAST_RATE:
        settings.say(f"{reason} Learning rate too small. Stopping.")
        return True
    run.optimizer.learning_rate /= 5.0
    settings.say(f"{reason} Setting learning rate to {run.optimizer.learning_rate:f}")
    return False


def validation_score(y: Array, out: Array, row_weight: Array | None, out_activation: str) -> float:
    """Accuracy of classes (of several labels, all must be right), or R2; NaN where an output is no number.

    >>> validation_score(np.array([[1], [0]]), np.array([[0.9], [0.7]]), None, "logistic")
    0.5
    """
    if out_activation == "softmax":
        return float(np.average(out.argmax(axis=1) == y.argmax(axis=1), weights=row_weight))
    if out_activation == "logistic":
        return float(np.average(((out > 0.5) == (y > 0)).all(axis=1), weights=row_weight))
    if not np.isfinite(out).all():
        return float("nan")
    return float(r2_score(y, out, sample_weight=row_weight))


def _fit_lbfgs(
    run: Run, settings: Textbook, x: Rows, y: Array, row_weight: Array | None, out_activation: str
) -> None:
    shapes = [w.shape for w in run.weights.all]
    ends = np.cumsum([w.size for w in run.weights.all])
    n_layers = len(run.weights.coefs)

    def unpack(theta: Array) -> Weights:
        arrays = [part.reshape(shape) for part, shape in zip(np.split(theta, ends[:-1]), shapes, strict=True)]
        return Weights(arrays[:n_layers], arrays[n_layers:])

    def objective(theta: Array) -> tuple[float, Array]:
        loss, gradients = loss_and_gradient(unpack(theta), x, y, row_weight, settings, out_activation)
        return loss, np.hstack([g.ravel() for g in gradients])

    n_iter = 0

    def tell(intermediate_result: Any) -> None:
        nonlocal n_iter
        n_iter += 1
        settings.say(f"Iteration {n_iter}, loss = {intermediate_result.fun:.8f}")

    found = scipy.optimize.minimize(
        objective,
        np.hstack([w.ravel() for w in run.weights.all]),
        method="L-BFGS-B",
        jac=True,
        callback=tell,
        options={"maxfun": settings.max_fun, "maxiter": settings.max_iter, "gtol": settings.tol},
    )
    if found.status != 0:
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): "
            f"{found.message}. Increase the number of iterations (max_iter) or scale the data.",
            ConvergenceWarning,
            stacklevel=2,
        )
    run.epochs = min(int(found.nit), settings.max_iter)
    run.loss = float(found.fun)
    dtype = run.weights.coefs[0].dtype
    run.weights = unpack(found.x.astype(dtype, copy=False))
