"""What a script has to know to train a model's networks anew: rows, folds, seeds, settings."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.errors import ConfigError
from multilayer.model.model import Model
from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.fit import fit
from multilayer.recipe.networks.default import MUON_RATE, NS_STEPS, uses_muon
from multilayer.recipe.plan import Plan, make_plan
from multilayer.recipe.rows_in_memory import InMemory
from multilayer.recipe.split_rows import N_FOLDS
from multilayer.recipe.trained import network_seeds
from multilayer.recipe.wanted import Wanted
from multilayer.table.sources.read import Table
from multilayer.tasks.regression import Quantiles

LOSSES = ("binary_cross_entropy", "cross_entropy", "mse", "mae")  # that a script has by name
COVERED = ("default", "mlp")


@dataclass(frozen=True)
class Training:
    """How the networks were trained.

    settings: plain values, for the script
    arrays:   order of the rows, fold of each, weights
    """

    settings: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def training_of(model: Model, table: Any, read: Table) -> Training:
    """How a model was trained on a table.

    table: that of the fit; read: the same, as the model reads it

    Raises:
        ConfigError: it was not, or in a way that a script does not cover.
    """
    plan = plan_of(model, table)
    config = plan.config
    loss, quantiles = _loss(model)
    if config.network not in COVERED or plan.next_rows is not None or plan.monotone:
        raise _not_covered("networks other than 'default' and 'mlp', streams and monotone columns")
    if model.exposure is not None or plan.facts.is_rate:
        raise _not_covered("exposures")
    n_linear = model.linear is not None
    n_trained = len(model.networks) - n_linear
    if n_trained != config.members or len(model.histories) != config.members:
        raise _not_covered("models of which a network has a choice of epochs of its own (noisy classes)")
    by_kernels = any(history.engine == "kernels" for history in model.histories)
    if config.dropout and by_kernels:
        raise _not_covered("dropout that compiled kernels drew (a run so long that they trained)")
    is_default = config.network == "default"
    n_groups = 1 if plan.folds is None else min(n_trained, N_FOLDS)
    # a model has its networks by the fold that they hold out
    members = [i for group in range(n_groups) for i in range(group, n_trained, n_groups)]
    settings = {
        "loss": loss,
        "quantiles": quantiles,
        "network": network_json(plan.network),
        "epochs": config.epochs,
        "epochs_run": [history.epochs for history in model.histories],
        "weight_decay": [history.weight_decay for history in model.histories],
        "batch_size": config.batch_size,
        "lr": config.lr,
        "muon": is_default and uses_muon(plan.network),
        "muon_lr": MUON_RATE * config.lr,
        "newton_schulz": NS_STEPS,
        "betas": [0.9, 0.95] if is_default else [0.9, 0.999],
        "decays_all": not is_default,
        "schedule": "warmup_cosine" if is_default else "constant",
        "clip_norm": 1.0 if is_default else None,
        "seeds": network_seeds(model.summary["seed"], config.members),
        "n_folds": 1 if plan.folds is None else N_FOLDS,
        "n_rows": read.n_rows,
        "members": members,
    }
    return Training(settings, _arrays(model, plan, read))


def plan_of(model: Model, table: Any) -> Plan:
    """The plan of a fit, made again.

    Raises:
        ConfigError: the settings are not all known, or it is another table.
    """
    asked: Mapping[str, Any] = model.summary.get("asked") or {}
    unknown = [name for name, value in asked.items() if value is None and name != "schema"]
    if not asked or unknown:
        raise _not_covered(f"fits with settings that no file keeps ({', '.join(unknown) or 'an older file'})")
    defaults = {name: each.default for name, each in inspect.signature(fit).parameters.items()}
    given = {**defaults, **asked, "verbose": False}
    if "schema" in asked:
        given["schema"] = model.schema
    del given["table"]
    wanted = Wanted.make(given)
    if wanted.time_budget is not None or wanted.validation is not None or model.summary["interrupted"]:
        raise _not_covered("time budgets, rows to validate on, interrupted fits")
    plan = make_plan(InMemory(table, wanted), wanted)
    ours, theirs = model.encoder.state()[0], plan.encoder.state()[0]
    if ours.keys() != theirs.keys() or any(not np.array_equal(ours[name], theirs[name]) for name in ours):
        raise ConfigError(
            "a script trains on the table that the model was fitted on; another one was given. Give the "
            "table of the fit as rows."
        )
    return plan


def _not_covered(what: str) -> ConfigError:
    return ConfigError(f"a script does not cover {what}. Export to onnx, or to torch.")


def _loss(model: Model) -> tuple[str, list[float]]:
    loss = model.task.loss
    if isinstance(loss, str) and loss in LOSSES:
        return loss, []
    one: Any = getattr(model.task, "parts", (model.task,))[0]
    if isinstance(one, Quantiles):
        return "quantile", list(one.quantiles)
    raise _not_covered("the objectives huber, poisson, gamma, tweedie and log")


def network_json(config: NetworkConfig) -> dict[str, Any]:
    """The settings that a script's networks have; ConfigError for others."""
    values = config.to_json()
    if values["architecture"] not in ("mlp", "linear") or values["rising"] or values["falling"]:
        raise _not_covered(f"the architecture {values['architecture']!r}, or monotone columns")
    names = ("n_num", "cardinalities", "periodic", "hidden", "d_out", "activation", "norm", "dropout", "keep",
             "n_frequencies", "d_periodic", "piecewise", "n_bins",
             "d_piecewise", "architecture")  # fmt: skip
    return {name: list(v) if isinstance(v := values[name], tuple) else v for name in names}


def _arrays(model: Model, plan: Plan, read: Table) -> dict[str, NDArray[Any]]:
    """Which row of the table each row of the plan is; what rows weigh; the fold that holds each out."""
    n_own = len(plan.encoder.num_features) - len(getattr(plan.encoder.target_encoding, "statistics", ()))
    n_num = len(plan.encoder.num_features)
    batch = plan.encoder.transform(read)
    code, _ = model._codes_and_weights(read, None)
    places = {key: i for i, key in reversed(list(enumerate(_keys(batch.num[:, :n_own], batch.cat, code))))}
    x = plan.train.x
    parts = [(x, plan.train.code, plan.train.weight)]
    folds = plan.folds
    if folds is None:
        held = plan.validation
        parts.append((held.x, held.code, held.weight))
        folds = np.concatenate([np.ones(len(x)), np.zeros(len(held))]).astype(np.int64)
    order = [
        places[key]
        for xs, codes, _ in parts
        for key in _keys(xs[:, :n_own], xs[:, n_num:].astype(np.int64), codes)
    ]
    arrays = {"order": np.array(order, np.int64), "fold": np.asarray(folds, np.int64)}
    weights = [weight for _, _, weight in parts]
    if weights[0] is not None:
        if len(parts) > 1:
            raise _not_covered("weighted or repeated rows with one network")
        arrays["loss_weight"] = np.asarray(weights[0], np.float32)
        own = plan.all_rows[1]
        arrays["row_weight"] = np.asarray(weights[0] if own is None else own, np.float64)
    if len(parts) > 1 and plan.encoder.target_encoding is not None:
        raise _not_covered("target statistics without folds")
    return arrays


def _keys(num: NDArray[Any], cat: NDArray[Any], code: NDArray[Any]) -> list[bytes]:
    """Of each row, what tells it from others."""
    columns = np.column_stack([num, cat.astype(np.float32)]).astype(np.float32) + np.float32(0)
    codes = np.asarray(code, np.float64).reshape(len(code), -1)
    return [a.tobytes() + b.tobytes() for a, b in zip(columns, codes, strict=True)]
