"""Turns a `Model` into scikit-learn's fitted attributes, and these into a `Model`."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.errors import counted
from multilayer.estimators.plain_rows import plain_encoder
from multilayer.estimators.settings import RECIPE_NAMES
from multilayer.model.model import Model
from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.config import hidden_in_words
from multilayer.table.encode import Encoder
from multilayer.table.sources.read import Table
from multilayer.tasks.classification import Classification
from multilayer.tasks.multi_target import Multilabel, SeveralNumbers
from multilayer.tasks.regression import Regression
from multilayer.tasks.task import Task
from multilayer.training.history import EngineName, History
from multilayer.training.random_state import RandomState


def recipe_attribute(model: Model, name: str) -> Any:
    """One of scikit-learn's fitted attributes, read off a model of the recipe; None where there is none."""
    if name in ("coefs_", "intercepts_", "n_layers_"):
        linears = [module for module in model.networks[0].modules() if isinstance(module, nn.Linear)]
        if name == "n_layers_":
            return len(linears) + 1
        if name == "coefs_":
            return [linear.weight.detach().numpy().T.copy() for linear in linears]
        return [linear.bias.detach().numpy().copy() for linear in linears]
    if name == "n_outputs_":
        return model.task.n_outputs
    if name == "out_activation_":
        return {"regression": "identity", "multiclass": "softmax"}.get(model.task.kind, "logistic")
    if name == "best_loss_":
        return min(model.history.train_loss, default=0.0)
    if name == "best_validation_score_":
        metric = {"regression": "r2", "multilabel": "exact_match"}.get(model.task.kind, "accuracy")
        return model.score.get(metric)
    return None


def textbook_model(
    estimator: Any, encoder: Encoder, *, is_multilabel: bool, reason: str, engine: EngineName
) -> Model:
    """A model of what the textbook trained, made anew at each call.

    Raises:
        AttributeError: a Model cannot hold it: a Poisson loss, a single class.
    """
    task = _task(estimator, is_multilabel)
    activation = estimator.activation or "relu"
    hidden = tuple(w.shape[1] for w in estimator.coefs_[:-1])
    network = _network_config(encoder, hidden, estimator.n_outputs_, activation)
    history = History(
        train_loss=list(vars(estimator).get("loss_curve_", [estimator.loss_])),
        engine=engine,
        best_epoch=estimator.n_iter_,
        stopped="see n_iter_ and max_iter",
    )
    decisions = [
        f"algorithm: scikit-learn's own, as {reason} asks for it",
        "columns: numbers as they come, the median for missing ones, a column of 0 and 1 for each level of a "
        "category",
        f"networks: 1 with {hidden_in_words(hidden)}",
    ]
    details = [
        f"layers: activation {activation}",
        f"training: solver {estimator.solver or 'adam'}, {counted(estimator.n_iter_, 'iteration')}",
        f"engine: {engine}",
    ]
    networks: list[nn.Module] = [_with_weights(network, estimator.coefs_, estimator.intercepts_)]
    summary: dict[str, Any] = {"score": {}, "baseline": {}, "rows": {}, "interrupted": False}
    summary |= {"decisions": decisions, "details": details}
    return Model(_target_names(task), task, encoder, network, networks, [history], summary)


def _task(estimator: Any, is_multilabel: bool) -> Task:
    n = estimator.n_outputs_
    names = tuple(f"target{i}" for i in range(n))
    if estimator.out_activation_ == "exp":
        raise AttributeError(
            "there is no model_ for loss='poisson': a model of numbers has no logarithmic link."
        )
    if estimator.out_activation_ == "identity":
        return Regression() if n == 1 else SeveralNumbers(names, (Regression(),) * n)
    if is_multilabel:
        return Multilabel(names, (Classification((0, 1), "int64"),) * n)
    if len(estimator.classes_) < 2:
        raise AttributeError(
            f"there is no model_ for a single class: y held {estimator.classes_[0]!r} alone."
        )
    dtype = estimator.classes_.dtype
    return Classification(tuple(estimator.classes_.tolist()), "object" if dtype.kind in "UO" else dtype.name)


def _target_names(task: Task) -> str | tuple[str, ...]:
    return task.names if isinstance(task, SeveralNumbers | Multilabel) else "target"


def _network_config(encoder: Encoder, hidden: tuple[int, ...], d_out: int, activation: str) -> NetworkConfig:
    name = RECIPE_NAMES.get(activation, activation)
    return NetworkConfig(len(encoder.num_features), (), (), hidden, d_out, name)


def _with_weights(
    config: NetworkConfig, coefs: list[NDArray[Any]], intercepts: list[NDArray[Any]]
) -> nn.Sequential:
    with RandomState(0, of_all=False).in_place():
        net = config.build()
    linears = [module for module in net if isinstance(module, nn.Linear)]
    for linear, w, b in zip(linears, coefs, intercepts, strict=True):
        linear.weight.data = torch.from_numpy(np.ascontiguousarray(w.T, np.float32))
        linear.bias.data = torch.from_numpy(np.ascontiguousarray(b, np.float32))
    return net.eval()


def constant_model(table: Table, y: NDArray[np.float64]) -> Model:
    """A model for a target that is the same in all rows, and therefore in all predictions.

    y: (n_rows,) or (n_rows, n_targets)
    """
    values = np.atleast_1d(y[0]).astype(float).tolist()
    parts = tuple(Regression(value, 1.0, value, value) for value in values)
    names = tuple(f"target{i}" for i in range(len(parts)))
    task: Task = parts[0] if len(parts) == 1 else SeveralNumbers(names, parts)
    encoder = plain_encoder(table, None)
    network = _network_config(encoder, (), len(parts), "relu")
    zeros = _with_weights(
        network, [np.zeros((len(encoder.num_features), len(parts)))], [np.zeros(len(parts))]
    )
    shown = ", ".join(f"{value:g}" for value in values)
    said = f"target: the same in all {len(y)} rows, {shown}; it is what is predicted"
    summary = {
        "score": {},
        "baseline": {},
        "rows": {"train": len(y)},
        "decisions": [said],
        "interrupted": False,
    }
    return Model(_target_names(task), task, encoder, network, [zeros], [History()], summary)
