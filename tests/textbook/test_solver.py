"""The textbook algorithm comes out as scikit-learn's: to the bit in NumPy, within rounding in the kernels."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import LabelBinarizer

from multilayer.textbook import solver
from multilayer.textbook.engines import KernelEngine, Optimizer
from multilayer.textbook.network import Textbook, Weights, draw_weights, loss_and_gradient

rng = np.random.default_rng(0)
X = rng.normal(size=(230, 4))  # batches of 50, and a last one of 30
Y = X[:, 0] * 2 + np.sin(X[:, 1])
TARGETS: dict[str, tuple[np.ndarray, str, str]] = {
    "numbers": (Y, "squared_error", "identity"),
    "several numbers": (np.stack([Y, X[:, 2]], 1), "squared_error", "identity"),
    "counts": (rng.poisson(np.exp(0.3 * Y)).astype(float), "poisson", "exp"),
    "two classes": ((Y > 0).astype(int), "log_loss", "logistic"),
    "three classes": (np.digitize(Y, [-1, 1]), "log_loss", "softmax"),
    "several labels": (np.stack([Y > 0, X[:, 2] > 0], 1).astype(int), "log_loss", "logistic"),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"solver": "adam", "activation": "tanh"},
    "adam with a large epsilon, stopping early": {"epsilon": 1e-2, "early_stopping": True, "alpha": 1.0},
    "adam without shuffling": {"shuffle": False, "activation": "logistic"},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.02, "momentum": 0.8, "nesterovs_momentum": False},
    "sgd, invscaling": {
        "solver": "sgd",
        "learning_rate": "invscaling",
        "learning_rate_init": 0.05,
        "power_t": 0.2,
    },
    "sgd, adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.02,
        "tol": 0.05,
        "n_iter_no_change": 1,
    },
    "sgd without momentum": {"solver": "sgd", "momentum": 0.0, "activation": "identity"},
    "lbfgs": {"solver": "lbfgs"},
}


def fitted(
    target: str, settings: dict[str, Any], weight: np.ndarray | None, x: Any = X, one_epoch: int = 0
) -> solver.Run:
    y, loss, out_activation = TARGETS[target]
    coded = LabelBinarizer().fit_transform(y).astype(bool) if loss == "log_loss" else y
    coded = coded if coded.ndim == 2 else coded[:, None]
    textbook = Textbook(hidden=(6, 5), loss=loss, max_iter=12, batch_size=50, **settings)
    random = np.random.RandomState(3)
    weights = draw_weights([4, 6, 5, coded.shape[1]], textbook.activation, random)
    run = solver.Run.start(textbook, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(one_epoch or 1):
            solver.fit(run, textbook, x, coded, weight, out_activation, random, one_epoch=bool(one_epoch))
    return run


def theirs(target: str, settings: dict[str, Any], weight: np.ndarray | None) -> Any:
    y, loss, _ = TARGETS[target]
    known = {"random_state": 3, "hidden_layer_sizes": (6, 5), "max_iter": 12, "batch_size": 50, **settings}
    made = MLPClassifier(**known) if loss == "log_loss" else MLPRegressor(loss=loss, **known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return made.fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("engine", ["NumPy", "kernels"])
def test_is_scikit_learns(
    engine: str, target: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "kernels":
        if settings.get("solver") == "lbfgs":
            pytest.skip("L-BFGS runs in NumPy alone")
        monkeypatch.setattr(solver, "KERNEL_STEPS", 1)
    weighted = settings.get("activation") == "tanh"
    weight = rng.uniform(0.1, 2, len(X)) if weighted else None

    run, expected = fitted(target, settings, weight), theirs(target, settings, weight)

    tolerance = {"rtol": 1e-13, "atol": 1e-14} if engine == "NumPy" else {"rtol": 2e-3, "atol": 2e-5}
    assert engine == run.engine
    assert expected.n_iter_ == run.epochs
    for array, as_expected in zip(run.weights.all, expected.coefs_ + expected.intercepts_, strict=True):
        np.testing.assert_allclose(array, as_expected, **tolerance)
    assert run.loss == pytest.approx(expected.loss_, rel=1e-12 if engine == "NumPy" else 1e-4)
    if settings.get("solver") != "lbfgs":
        np.testing.assert_allclose(run.loss_curve, expected.loss_curve_, rtol=tolerance["rtol"])
        assert expected.t_ == run.t
        assert expected._optimizer.learning_rate == pytest.approx(run.optimizer.learning_rate, rel=1e-12)
    if settings.get("early_stopping"):
        np.testing.assert_allclose(run.validation_scores, expected.validation_scores_, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("solver_name", ["adam", "sgd"])
def test_epochs_one_by_one_go_on_in_either_engine(solver_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Momentum and rates pass from NumPy to the kernels in the middle, and every call brings them back."""
    settings = {"solver": solver_name, "learning_rate_init": 0.02, "power_t": 0.1}
    settings["learning_rate"] = "invscaling"
    in_numpy = fitted("numbers", settings, None, one_epoch=6)
    monkeypatch.setattr(solver, "KERNEL_STEPS", 11)  # of 5 steps an epoch: from the third on

    switched = fitted("numbers", settings, None, one_epoch=6)

    assert (in_numpy.engine, switched.engine) == ("NumPy", "kernels")
    for array, expected in zip(switched.weights.all, in_numpy.weights.all, strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-5)


def test_sparse_rows_train_as_dense_ones() -> None:
    sparse = pytest.importorskip("scipy.sparse").csr_array(X)

    dense, thin = fitted("numbers", {}, None), fitted("numbers", {}, None, x=sparse)

    np.testing.assert_allclose(dense.weights.coefs[0], thin.weights.coefs[0], rtol=1e-12)


@pytest.mark.parametrize("target", TARGETS)
def test_gradient_is_that_of_the_loss(target: str) -> None:
    y, loss, out_activation = TARGETS[target]
    coded = LabelBinarizer().fit_transform(y) if loss == "log_loss" else y
    coded = coded[:6] if coded.ndim == 2 else coded[:6, None]
    scale = coded.shape[1] if out_activation == "identity" else 1  # the loss is a mean over outputs
    settings = Textbook(activation="logistic", loss=loss, alpha=0.0)
    weights = draw_weights([4, 3, coded.shape[1]], "logistic", np.random.RandomState(0))
    theta = np.hstack([w.ravel() for w in weights.all])
    shapes = [w.shape for w in weights.all]

    def value(moved: np.ndarray) -> float:
        parts = np.split(moved, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
        arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        moved_weights = Weights(arrays[:2], arrays[2:])
        return loss_and_gradient(moved_weights, X[:6], coded, None, settings, out_activation)[0]

    gradient = np.hstack(
        [g.ravel() for g in loss_and_gradient(weights, X[:6], coded, None, settings, out_activation)[1]]
    )
    steps = 1e-6 * np.eye(len(theta))
    numeric = [scale * (value(theta + step) - value(theta - step)) / 2e-6 for step in steps]

    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-8)


def test_a_batch_that_weighs_nothing_changes_nothing() -> None:
    weight = np.ones(len(X))
    weight[:50] = 0
    settings = {"shuffle": False}

    run = fitted("numbers", settings, weight)

    assert all(np.isfinite(w).all() for w in run.weights.all)


def test_time_budget_ends_a_run() -> None:
    assert fitted("numbers", {"time_budget": 1e-9}, None).epochs == 1


def test_kernels_leave_the_optimiser_where_numpy_can_go_on() -> None:
    y = Y[:, None]
    settings = Textbook(hidden=(3,), batch_size=50)
    weights = draw_weights([4, 3, 1], "relu", np.random.RandomState(0))
    optimizer = Optimizer.start(settings, weights)
    engine = KernelEngine(weights, optimizer, settings, X, y, None, "identity")

    engine.run_epoch(np.arange(230), np.array([0, 50, 100, 150, 200, 230]), 1e-3)
    engine.close()

    assert optimizer.updates == 5
    assert all(np.any(m) for m in optimizer.first)
    assert all((v >= 0).all() and v.any() for v in optimizer.second)
