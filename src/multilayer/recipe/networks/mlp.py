"""The plain MLP, as published."""

from collections.abc import Sequence
from typing import Any

from multilayer.recipe.networks.network import PublishedRecipe, ranks_alone
from multilayer.table.steps import Feature
from multilayer.tasks.task import Task


class MLPRecipe(PublishedRecipe):
    """Linear, ReLU and dropout, twice; then a Linear. AdamW at a constant rate, the best of epochs.

    Source:  Gorishniy et al. 2021, arXiv:2106.11959, Section 3.1; sizes as in the README of the authors'
             package, batches and patience as in their experiments
    Differs: numbers are ranks from -1 to 1 instead of normal quantiles; categories of many levels get a
             vector of 8; the best epoch is that of the least validation loss; the paper tunes
             everything for each table, this does nothing of it (learning rate 1e-3, weight decay 1e-5)
    """

    name = "mlp"

    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        """Two hidden layers of 384."""
        return {"hidden": (384, 384)}

    def places(self, features: Sequence[Feature], task: Task) -> dict[str, Any]:
        """Ranks, and whatever has none."""
        return ranks_alone(features)
