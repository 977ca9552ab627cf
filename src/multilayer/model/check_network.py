"""What of a model file becomes its networks: checked before anything is built from it."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.file_values import need
from multilayer.model.check_fields import Arrays, check_fields
from multilayer.nn.config import NetworkFields
from multilayer.runtime.networks import ACTIVATION_NAMES, ARCHITECTURES, NORMS

MEMBERS = 32  # of a TabM
LARGEST_WEIGHT = 1e15  # of a network: two in a row of unscaled inputs stay within float32


LARGEST_LOG = 30  # of outputs: float32 goes to 3e38


def check_network(values: Any, n_num: int, cardinalities: Sequence[int], n_outputs: int, kind: str) -> None:
    """ValueError unless a `NetworkConfig` is whole, and fits what comes in (n_num without texts') and out."""
    check_fields(NetworkFields, values)
    architecture = values.get("architecture", "mlp")
    need(architecture in ARCHITECTURES, f"there is no architecture {architecture!r}")
    need(
        values.get("activation", "relu") in ACTIVATION_NAMES,
        f"there is no activation {values.get('activation')!r}",
    )
    need(values.get("norm") in NORMS, f"there is no norm {values.get('norm')!r}")
    need(0 <= values.get("dropout", 0.0) < 1, "'dropout' must be at least 0 and below 1")
    need(
        values["n_num"] >= n_num,
        f"it takes {values['n_num']} numbers, and rows have {n_num}",
    )
    need(
        values["cardinalities"] == list(cardinalities),
        "it takes other categories than rows have",
    )
    need(
        values["d_out"] == n_outputs,
        f"it has {values['d_out']} outputs, and its task {n_outputs}",
    )
    need(
        all(1 <= width < 2**31 for width in values["hidden"]),
        "widths must be at least 1",
    )
    for name in ("n_bins", "n_frequencies", "d_periodic", "d_piecewise"):
        need(1 <= values.get(name, 1) < 2**31, f"{name!r} must be at least 1")
    for name in ("periodic", "piecewise", "keep", "rising", "falling", "unused"):
        places = values.get(name) or []
        need(
            all(0 <= place < values["n_num"] for place in places),
            f"{name!r} must be places of numbers",
        )
        need(len(set(places)) == len(places), f"{name!r} has a place twice")
    if architecture == "tabm":
        link = {"binary": "sigmoid", "multiclass": "softmax"}.get(kind, "identity")
        need(values.get("link", "identity") == link, f"its link must be {link!r}")


def check_sizes(configs: Sequence[NetworkFields], networks: Sequence[Arrays]) -> None:
    """ValueError unless each of these holds enough numbers for a network of its configuration.

    So a network that is built takes no more memory than the file is large, give or take.
    """
    for config, arrays in zip(configs, networks, strict=True):
        needed = least_size(config)
        n = sum(array.size for array in arrays.values())
        need(n >= needed, f"its layers need {needed:,} weights, and {n:,} are there")


def least_size(config: NetworkFields) -> int:
    """Weights that a network has at the least: those of its matrices, and of what embeds numbers."""
    n_periodic, n_piecewise = len(config.periodic), len(config.piecewise)
    kept = config.n_num if config.keep is None else len(config.keep)
    embedded = kept + n_periodic * config.d_periodic + n_piecewise * config.d_piecewise
    if config.architecture == "realmlp":
        embedded = kept + 3 * n_periodic + n_piecewise * config.d_piecewise
    widths = [embedded, *config.hidden, config.d_out]
    if config.architecture == "resnet":
        d, inside = (config.hidden or (0,))[0], config.hidden[1:]
        matrices = embedded * d + 2 * d * sum(inside) + d * config.d_out
    else:
        matrices = sum(a * b for a, b in pairwise(widths))
    if config.architecture == "linear":  # a row for each code, and the weights that add it
        matrices += (sum(config.cardinalities) + len(config.cardinalities) * config.d_out) * config.d_out
    if config.architecture == "tabm":  # of the members: scales, and a head for each
        matrices += MEMBERS * (sum(widths[1:-1]) + (widths[-2] - 1) * config.d_out)
    embedding = n_periodic * config.n_frequencies + n_piecewise * config.n_bins * config.d_piecewise
    return matrices + embedding


def check_state(wanted: Mapping[str, Any], arrays: Arrays, config: NetworkFields) -> None:
    """ValueError unless these are the weights of a network that has tensors like `wanted`."""
    need(
        wanted.keys() == arrays.keys(),
        f"weights are absent, or too many: {_odd(wanted, arrays)}",
    )
    for name, array in arrays.items():
        found = array.dtype.name, array.shape
        shape = tuple(wanted[name].shape) or (1,)  # a file has no arrays without an axis
        of_net = str(wanted[name].dtype).removeprefix("torch."), shape
        need(
            found == of_net,
            f"size mismatch for {name}: {found} in the file, {of_net} needed",
        )
        _check_values(name, array, config)


def may_overflow(networks: Sequence[Arrays]) -> bool:
    """Whether these weights are so large that outputs might be beyond float32; most are far below.

    No output is above the product of what each array multiplies by at most.
    """
    return any(sum(_log_factor(*pair) for pair in arrays.items()) > LARGEST_LOG for arrays in networks)


def _log_factor(name: str, array: NDArray[Any]) -> float:
    """The decimal logarithm of 1 + what an array multiplies by, or adds, at most."""
    if array.dtype.kind != "f" or not array.size:
        return 0.0
    if name.endswith("running_var"):
        return math.log10(1 + 1 / math.sqrt(float(array.min()) + 1e-5))
    sizes = np.abs(array.astype(np.float64))
    adds_up = array.ndim > 1 and not name.endswith((".r", ".s"))  # the latter scale one by one
    return math.log10(1 + float(sizes.reshape(len(sizes), -1).sum(axis=1).max() if adds_up else sizes.max()))


def _check_values(name: str, array: NDArray[Any], config: NetworkFields) -> None:
    need(np.isfinite(array).all(), f"{name} is not finite")
    is_learnt = array.dtype.kind == "f" and "running_" not in name  # the others are what inputs were
    need(not is_learnt or (np.abs(array) < LARGEST_WEIGHT).all(), f"{name} is too large")
    need(
        not name.endswith("running_var") or (array >= 0).all(),
        f"{name} must not be negative",
    )
    if name.endswith("periodic_columns"):
        need(
            array.tolist() == list(config.periodic),
            f"{name} are others than in the text",
        )
    if name.endswith("piecewise.edges"):
        rises = np.diff(array)
        need((rises >= 0).all() and (rises[:, :1] > 0).all(), f"{name} must rise")


def _odd(wanted: Mapping[str, Any], arrays: Arrays) -> str:
    return ", ".join(sorted(wanted.keys() ^ arrays.keys())[:3])
