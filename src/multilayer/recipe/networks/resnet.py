"""The residual network, as published."""

from collections.abc import Sequence
from typing import Any

from multilayer.recipe.networks.network import PublishedRecipe, ranks_alone
from multilayer.table.steps import Feature
from multilayer.tasks.task import Task


class ResNetRecipe(PublishedRecipe):
    """Two residual blocks with BatchNorm in front; everything else as `MLPRecipe`.

    Source:  Gorishniy et al. 2021, arXiv:2106.11959, Section 3.2; sizes as in the README of the authors'
             package
    Differs: as `MLPRecipe`
    """

    name = "resnet"

    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        """Width 192, hidden layers of 384 inside both blocks, dropout 0.15 there."""
        return {"hidden": (192, 384, 384), "dropout": 0.15}

    def places(self, features: Sequence[Feature], task: Task) -> dict[str, Any]:
        """Ranks, and whatever has none."""
        return ranks_alone(features)
