"""What a model file may hold: all of it is checked before anything is built from it.

The checksum recognises a damaged file, not one that was made to harm: indices become addresses in the
kernels, sizes become memory, and a NaN spreads into every prediction.
"""

from typing import Any

import numpy as np

from multilayer.file_values import fits, is_count, need
from multilayer.model.check_encoder import check_encoder
from multilayer.model.check_fields import about, check_fields
from multilayer.model.check_network import check_network
from multilayer.model.check_task import check_task
from multilayer.table.sources.notation import Notation
from multilayer.training.history import History, upgraded

# All that a model file of this format may say; `docs/format.md` says what each is.
NEEDED = ("target", "dropped", "task", "encoder", "network", "n_networks", "histories", "summary")
KEYS = frozenset(
    (
        *NEEDED,
        *("format", "optional", "linear", "weights", "notation", "exposure"),
        *("statistics", "conformal", "verification"),
    )
)
OF_USERS = "x"  # a key that is left to whoever writes a file


def unknown_keys(meta: dict[str, Any]) -> list[str]:
    """Keys that this version does not know, all of which the file calls optional.

    Raises:
        ValueError: one of them is not called so: without it, predictions might be others.
    """
    optional = meta.get("optional", [])
    need(fits(optional, list[str]), "'optional' must be names of keys")
    unknown = sorted(set(meta) - KEYS)
    needed = [name for name in unknown if name not in optional and name != OF_USERS]
    need(
        not needed,
        f"{', '.join(map(repr, needed[:3]))} is not known to this version: update multilayer, "
        "pip install -U multilayer",
    )
    return unknown


def check_meta(meta: dict[str, Any]) -> None:
    """ValueError unless the JSON of a model file is a whole model's, and its parts fit each other."""
    unknown_keys(meta)
    for name in NEEDED:
        need(name in meta, f"{name!r} is absent")
    target, n_networks = meta["target"], meta["n_networks"]
    several = isinstance(target, list)
    need(fits(target, str | list[str]), "'target' must be a name, or several")
    need(fits(meta["dropped"], list[str]), "'dropped' must be names")
    need(fits(meta.get("exposure"), str | None), "'exposure' must be a name")
    need(type(n_networks) is int and n_networks >= 1, "a model has at least one network")
    with about("task"):
        n_outputs = check_task(meta["task"], target)
    with about("encoder"):
        n_num, cardinalities = check_encoder(meta["encoder"])
    names = [column["name"] for column in meta["encoder"]["schema"]["columns"]]
    targets = target if several else [target]
    need(not {*names}.intersection(targets), "the target is among the columns")
    need(
        not {*names}.intersection(meta["dropped"]),
        "a column that is used is dropped, too",
    )
    left_out = {
        *meta["dropped"],
        *meta["encoder"]["schema"].get("ignored", {}),
        *targets,
    }
    need(meta.get("exposure") not in left_out, "the exposure is left out, or the target")
    with about("network"):
        check_network(meta["network"], n_num, cardinalities, n_outputs, meta["task"]["kind"])
    if meta.get("linear") is not None:
        with about("linear network"):
            check_network(meta["linear"], n_num, cardinalities, n_outputs, meta["task"]["kind"])
            need(meta["linear"].get("architecture") == "linear", "it must be of the architecture 'linear'")
        need(n_networks > 1, "a model has at least one network beside a linear one")
    _check_weights(meta.get("weights"), n_networks)
    with about("notation"):
        _check_notation(meta.get("notation", {}))
    need(
        isinstance(meta["histories"], list) and meta["histories"],
        "a model has a history",
    )
    for values in meta["histories"]:
        with about("history"):
            check_fields(History, upgraded(values) if isinstance(values, dict) else values, gaps=True)
    with about("summary"):
        _check_summary(meta["summary"])


def _check_weights(weights: Any, n_networks: int) -> None:
    if weights is None:
        return
    need(
        fits(weights, list[float]) and len(weights) == n_networks,
        "each network needs a weight",
    )
    need(
        min(weights) >= 0 and sum(weights) > 0,
        "networks' weights must not be negative, or all 0",
    )
    need(1e-100 < sum(weights) < 1e100, "networks' weights are too large or too small")


def _check_notation(values: Any) -> None:
    need(isinstance(values, dict), "an object is needed")
    check_fields(Notation, values)
    Notation.declare(
        (),
        values.get("thousands"),
        values.get("decimal", "."),
        values.get("encoding"),
        values.get("header", True),
    )


def _check_summary(summary: Any) -> None:
    need(isinstance(summary, dict), "an object is needed")
    for name in ("score", "baseline"):
        need(
            fits(summary.get(name, {}), dict[str, float], gaps=True),
            f"{name!r} must be numbers by name",
        )
    for name in ("decisions", "details"):
        need(fits(summary.get(name, []), list[str]), f"{name!r} must be texts")
    need(fits(summary.get("findings", []), list[dict[str, Any]]), "'findings' must be objects")
    need(fits(summary.get("target_units", {}), dict[str, str]), "'target_units' must be texts by name")
    need(fits(summary.get("asked", {}), dict[str, Any]), "'asked' must be settings by name")
    _check_comparison(summary.get("comparison") or {})
    for name in ("constant", "class_shares"):
        values = summary.get(name)
        if values is not None:
            need(np.array(values).dtype.kind in "iuf", f"{name!r} must be numbers")


def _check_comparison(values: Any) -> None:
    """ValueError unless these are scores of models on the same rows, as `recipe.baselines` gives them."""
    need(fits(values, dict[str, Any]), "'comparison' must be an object")
    if not values:
        return
    need(is_count(values.get("scored")) and is_count(values.get("fitted_on")), "'comparison' counts rows")
    scores, verdict = values.get("scores"), values.get("verdict")
    need(
        fits(scores, dict[str, dict[str, float]], gaps=True), "scores of a comparison must be numbers by name"
    )
    need("this model" in scores and "constant" in scores, "a comparison lacks the model, or the constant")
    need(fits(verdict, dict[str, str]), "verdicts of a comparison must be words by name")
