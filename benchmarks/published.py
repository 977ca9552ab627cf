"""Networks of the literature with the settings that their papers tuned for California Housing, on that table.

    python -m benchmarks.published FOLDER [--networks mlp,resnet,tabm] [--seeds 0,1,2]

FOLDER holds suite.json with `california_housing`. Rows are parted as in the papers, 64/16/20, but by seeds of
our own: theirs are one split, ours one a seed. Prints the RMSE of the test rows (in 100,000 dollars), and the
published one. RealMLP has none on this table; `benchmarks.quality` compares it with its authors' code.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import multilayer
from benchmarks.suite import read_suite
from benchmarks.trial import scores, split, timed
from multilayer.recipe.networks import NETWORKS
from multilayer.recipe.networks.mlp import MLPRecipe
from multilayer.recipe.networks.network import NetworkRecipe
from multilayer.recipe.networks.resnet import ResNetRecipe
from multilayer.recipe.networks.tabm import TabMRecipe
from multilayer.table.steps import Feature
from multilayer.tasks.task import Task


@dataclass(frozen=True)
class Published:
    """What a paper reports. rmse: mean of 15 seeds; runs: test RMSE of some of them, in its repository."""

    network: NetworkRecipe
    rmse: float
    runs: tuple[float, ...]
    source: str


class _TunedMLP(MLPRecipe):
    clip_norm = 1.0

    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        tuned = {"hidden": (208, 208), "dropout": 0.1719, "lr": 5.636e-4, "weight_decay": 0.02876}
        return super().settings(n_rows, task) | tuned


class _TunedResNet(ResNetRecipe):
    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        tuned = {"hidden": (168, 501, 501, 501), "dropout": 0.4457, "lr": 1.759e-3, "weight_decay": 9.508e-4}
        return super().settings(n_rows, task) | tuned


class _TunedTabM(TabMRecipe):
    def settings(self, n_rows: int, task: Task) -> dict[str, Any]:
        tuned = {"hidden": (176,) * 4, "dropout": 0.1115, "lr": 7.018e-4, "weight_decay": 0.0}
        return super().settings(n_rows, task) | tuned

    def places(self, features: Sequence[Feature], task: Task) -> dict[str, Any]:
        return super().places(features, task) | {"n_bins": 98, "d_piecewise": 24}


TUNED: Mapping[str, Published] = {
    "mlp": Published(
        _TunedMLP(), 0.4948, (0.4928, 0.4959, 0.4965, 0.4984), "arXiv:2410.24210, exp/mlp/california"
    ),
    "resnet": Published(
        _TunedResNet(), 0.486, (0.4818,), "arXiv:2106.11959, output/california_housing/resnet/tuned"
    ),
    "tabm": Published(
        _TunedTabM(), 0.4293, (0.4259, 0.4344, 0.4345),
        "arXiv:2410.24210, exp/tabm-piecewiselinear/california",
    ),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", default=",".join(TUNED))
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args(arguments)
    (entry,) = read_suite(options.folder, ["california_housing"])
    for name in options.networks.split(","):
        published, errors = TUNED[name], []
        for seed in map(int, options.seeds.split(",")):
            entry, (train, valid, test) = split(entry, seed)
            fit = partial(
                _fit, name, train, target=entry.target, drop=entry.drop, validation=valid, seed=seed
            )
            model, fit_s = timed(fit)
            predicted = model.predict(test.drop(columns=entry.target))
            errors.append(scores(entry, test[entry.target], predicted, None)["rmse"])
            epochs = model.history.epochs
            print(f"{name} seed {seed}: {errors[-1]:.4f}, {epochs} epochs, {fit_s:.0f} s", flush=True)
        print(
            f"{name}: {np.mean(errors):.4f} ± {np.std(errors):.4f}; "
            f"published {published.rmse:.4f}, runs of {published.runs} ({published.source})"
        )


def _fit(name: str, table: Any, **settings: Any) -> multilayer.Model:
    """`multilayer.fit` with the tuned network in the place of the one that it has by that name."""
    untuned = NETWORKS[name]
    NETWORKS[name] = TUNED[name].network
    try:
        return multilayer.fit(table, network=name, **settings)
    finally:
        NETWORKS[name] = untuned


if __name__ == "__main__":
    main()
