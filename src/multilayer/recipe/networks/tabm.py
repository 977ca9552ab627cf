"""TabM: an ensemble inside one network."""

from collections.abc import Sequence
from typing import Any

from multilayer.nn.config import Link
from multilayer.nn.networks import NetworkConfig
from multilayer.nn.tabm import MemberLoss
from multilayer.recipe.networks.network import PublishedRecipe, places_without
from multilayer.table.steps import Feature
from multilayer.tasks.task import Task
from multilayer.training.losses import LOSSES, LossLike
from multilayer.training.optim import LeanAdamW


class TabMRecipe(PublishedRecipe):
    """TabM with piecewise-linear embeddings: 32 networks in one, trained until 16 epochs bring nothing.

    Source:  Gorishniy et al. 2025, arXiv:2410.24210; the packages tabm 0.0.3 and rtdl_num_embeddings 0.0.12
             with the settings of the authors' example (batch 256, AdamW, gradients clipped to norm 1)
    Differs: numbers are ranks from -1 to 1 instead of normal quantiles; 48 bins also where values repeat; a
             column says where a number is missing; all members see the same batches; epochs are judged by the
             log loss of the mean prediction, not by its accuracy
    """

    name = "tabm"
    clip_norm = 1.0
    threads = None  # its matrix products are wide

    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        """As the package has it with embeddings of numbers."""
        return {"hidden": (512, 512), "batch_size": 256, "lr": 2e-3, "weight_decay": 3e-4}

    def places(self, features: Sequence[Feature], task: Task) -> dict[str, Any]:
        """Ranks are embedded; what has no rank (booleans, parts of dates) goes through as it is."""
        ranks = tuple(i for i, feature in enumerate(features) if feature.channel == "rank")
        links: dict[str, Link] = {"binary": "sigmoid", "multiclass": "softmax"}
        return {
            "keep": places_without(features, ("rank", "scaled")),
            "periodic": (),
            "piecewise": ranks,
            "link": links.get(task.kind, "identity"),
        }

    def optimizers(
        self, nets: Sequence[Any], network: NetworkConfig, lr: float, weight_decay: float
    ) -> list[Any]:
        """AdamW on all parameters."""
        return [LeanAdamW(net.parameters(), lr=lr, weight_decay=weight_decay, fused=True) for net in nets]

    def loss(self, task: Task) -> LossLike:
        """The mean of the members' losses."""
        return MemberLoss(LOSSES[str(task.loss)]())
