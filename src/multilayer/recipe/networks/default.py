"""The default: many small networks with periodic embeddings, each the mean of its late epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from multilayer.nn.networks import NetworkConfig
from multilayer.recipe.config import Config, Quality
from multilayer.recipe.encoded_rows import EncodedRows
from multilayer.recipe.networks.network import NetworkRecipe, Shape
from multilayer.recipe.weight_decay import NoiseDecay, constant_loss, follows_noise
from multilayer.table.encode import Batch, Encoder, most_varied
from multilayer.tasks.task import Kind, Task
from multilayer.training.optim import LeanAdamW, Muon, hidden_matrices
from multilayer.training.pack import Callback

# task -> networks, and widths of their hidden layers
SIZES: Mapping[Kind, tuple[int, tuple[int, ...]]] = {
    "regression": (12, (96, 64)),
    "binary": (16, (64, 64)),
    "multiclass": (16, (128, 128)),
    "multilabel": (16, (128, 128)),
}
SHARES: Mapping[Quality, float] = {"fast": 0.25, "default": 1, "best": 3}  # networks, against the default's
WIDE = 200  # columns of a table from which on BatchNorm does harm
MUON_RATE = 20  # learning rate of hidden matrices, in Muon's units, as a multiple of AdamW's
NS_STEPS = 3  # of Newton-Schulz, which are most of what Muon costs
MOST_PERIODIC = 128  # numbers with a periodic embedding: those with the most distinct values
FEWEST_VALUES = 8  # a number with fewer distinct values has no curve to follow
ORDERED = ("scaled", "rank", "boolean")  # channels that rise with their column


class DefaultRecipe(NetworkRecipe):
    """Networks trained side by side from different seeds, each on all folds but one.

    Hidden matrices are trained by Muon, all else by AdamW; the noisier the classes, the more weight decay
    (`NoiseDecay`). How each part was chosen stands in docs/log.md.
    """

    schedule = "warmup_cosine"
    clip_norm = 1.0
    has_folds = True
    averages_epochs = True
    may_train_fewer = True
    is_streamed = True
    has_linear = True

    def config(self, shape: Shape, quality: Quality) -> Config:
        """By the table's shape alone."""
        config = default_config(shape.n_rows, shape.n_columns, shape.task.kind, quality)
        return replace(config, activation="relu") if shape.monotone else config  # a slope may turn negative

    def inputs(
        self, encoder: Encoder, batch: Batch, task: Task, monotone: Mapping[str, int]
    ) -> dict[str, Any]:
        """Periodic embeddings of the numbers that vary most, but for those with a constraint."""
        curved = [
            (i, feature.column)
            for i, feature in enumerate(encoder.num_features)
            if feature.channel in ("scaled", "rank") and feature.column not in monotone
        ]
        curved = most_varied(batch.num, curved, MOST_PERIODIC, fewest_values=FEWEST_VALUES)
        return {"periodic": tuple(place for place, _ in curved), **_monotone_inputs(encoder, monotone)}

    def optimizers(
        self, nets: Sequence[Any], network: NetworkConfig, lr: float, weight_decay: float
    ) -> list[Any]:
        """Muon and AdamW, or AdamW alone (`uses_muon`)."""
        with_muon = uses_muon(network)
        return [_optimizer(net, lr, weight_decay, with_muon=with_muon) for net in nets]

    def optimizer_in_words(self, network: NetworkConfig) -> str:
        """As `optimizers` gives them."""
        return "Muon and AdamW" if uses_muon(network) else "AdamW"

    def callbacks(
        self, nets: Sequence[Any], optimizers: Sequence[Any], config: Config, task: Task, rows: EncodedRows
    ) -> list[Callback]:
        """Weight decay that follows the noise, where it does."""
        if not follows_noise(config, task):
            return []
        return [NoiseDecay(optimizers, constant_loss(task, rows))]


def default_config(
    n_rows: int, n_columns: int = 1, kind: Kind = "regression", quality: Quality = "default"
) -> Config:
    """The default for a table of this shape: some 750 steps, in batches that grow with the table.

    Two classes, which are often noisy, take smaller networks than several, which share hidden layers
    (`SIZES`). Large tables take half as many, as chance is smaller there. Classes take BatchNorm; what is not
    two classes takes PReLU, a slope for each unit below 0.
    "fast" trains a quarter of the default's networks, "best" three times as many, in even numbers.

    >>> config = default_config(20_000)
    >>> config.batch_size, config.epochs, config.members
    (512, 19, 12)
    """
    sizes = [(2_000, 64), (5_000, 128), (10_000, 256), (60_000, 512)]
    batch_size = next((size for limit, size in sizes if n_rows < limit), 1024)
    epochs = int(np.clip(round(750 * batch_size / n_rows), 6, 20))
    members, hidden = SIZES[kind]
    share = 1 if n_rows < 100_000 else 0.5
    more = SHARES[quality]
    return Config(
        members=2 * max(1, round(members * share * more / 2)),  # even: many machines have two cores
        hidden=hidden,
        epochs=epochs,
        entries=round(2 * members * max(1, more)),
        batch_size=batch_size,
        activation="relu" if kind == "binary" else "prelu",
        norm="batch" if kind != "regression" and n_columns <= WIDE and n_rows >= WIDE else None,
        target_statistics=kind == "binary",
    )


def uses_muon(network: NetworkConfig) -> bool:
    """Whether Muon trains hidden matrices: where there are some.

    A monotone network is AdamW's as a whole: an orthogonal step would take many weights across their signs.
    """
    return bool(network.hidden) and not (network.rising or network.falling)


def _optimizer(net: nn.Module, lr: float, weight_decay: float, *, with_muon: bool) -> torch.optim.Optimizer:
    """Muon for the matrices of hidden layers, AdamW for all else; weight decay on matrices alone.

    Source:  Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/ (here with three steps of
             Newton-Schulz for five); beta2 of AdamW: Holzmüller et al. 2024, arXiv:2407.04491
    """
    hidden = hidden_matrices(net) if with_muon else []
    rest = [p for p in net.parameters() if all(p is not matrix for matrix in hidden)]
    adamw = {"lr": lr, "betas": (0.9, 0.95)}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if p.ndim == 2], "weight_decay": weight_decay, **adamw},
        {"params": [p for p in rest if p.ndim != 2], "weight_decay": 0.0, **adamw},
    ]
    groups = [group for group in groups if group["params"]]
    if not hidden:
        return LeanAdamW(groups, fused=True)
    groups = [*({"use_muon": False, **group} for group in groups), {"params": hidden}]
    return Muon(groups, lr=MUON_RATE * lr, weight_decay=weight_decay, ns_steps=NS_STEPS)


def _monotone_inputs(encoder: Encoder, monotone: Mapping[str, int]) -> dict[str, Any]:
    """Which encoded numbers the output rises and falls with, and which would undo that and stay unused."""
    constrained = [
        (place, feature.channel in ORDERED, monotone[feature.column])
        for place, feature in enumerate(encoder.num_features)
        if feature.column in monotone and feature.channel != "missing"
    ]
    return {
        "rising": tuple(place for place, ordered, way in constrained if ordered and way > 0),
        "falling": tuple(place for place, ordered, way in constrained if ordered and way < 0),
        "unused": tuple(place for place, ordered, _ in constrained if not ordered),
    }
