"""The tuned networks stand in for those that `fit` has by their names, for one fit."""

from typing import Any

import numpy as np
import pytest

from benchmarks.published import TUNED, _fit
from multilayer.recipe.networks import NETWORKS


@pytest.mark.parametrize(
    ("name", "hidden", "d_piecewise"),
    [("mlp", [208, 208], 16), ("resnet", [168, 501, 501, 501], 16), ("tabm", [176] * 4, 24)],
)
def test_trains_the_paper_s_network(name: str, hidden: list[int], d_piecewise: int) -> None:
    untuned = NETWORKS[name]
    x = np.random.default_rng(0).normal(size=(60, 2))
    table: dict[str, Any] = {"a": x[:, 0], "b": x[:, 1], "y": x[:, 0] + x[:, 1]}
    model = _fit(name, table, target="y", drop=(), seed=0, epochs=1, validation=0.2)
    assert model.summary["config"]["hidden"] == hidden
    assert model.summary["config"]["network"] == name
    assert model.config.d_piecewise == d_piecewise
    assert NETWORKS[name] is untuned is not TUNED[name].network
