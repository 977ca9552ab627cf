"""The networks of the literature through `fit`: each learns, says its name, and comes back from its file."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

from multilayer import ConfigError, Model, fit
from multilayer.nn.networks import ARCHITECTURES
from multilayer.recipe.choices import NetworkName
from multilayer.recipe.networks import NETWORKS
from multilayer.recipe.networks.mlp import MLPRecipe
from multilayer.recipe.networks.network import PublishedRecipe, rtdl_batch_size
from multilayer.recipe.networks.realmlp import RealMLPRecipe, _Fading
from multilayer.recipe.networks.tabm import TabMRecipe
from multilayer.table.steps import Feature
from multilayer.tasks.classification import Classification
from multilayer.tasks.regression import Regression
from multilayer.tasks.task import Task
from multilayer.training.pack import Progress
from multilayer.training.snapshots import LastBest

N_ROWS = 300
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"epochs": 8},
    "resnet": {"epochs": 8},
    "realmlp": {"epochs": 12, "hidden": (32, 32)},
    "tabm": {"epochs": 20, "hidden": 32, "batch_size": 32},
}


def table(kind: str, n_rows: int = N_ROWS) -> dict[str, Any]:
    """A curve in one number, a jump for a level, a number with gaps that says nothing."""
    rng = np.random.default_rng(0)
    a, c = rng.normal(size=n_rows), rng.choice(np.array(["x", "y", "z"], object), n_rows)
    noise = rng.normal(size=n_rows)
    noise[::7] = np.nan
    y = np.abs(a) + (c == "x")
    target = {
        "regression": y,
        "binary": np.where(y > 1, "more", "less").astype(object),
        "multiclass": np.digitize(y, [0.6, 1.3]),
    }
    return {"a": a, "c": c, "noise": noise, "y": target[kind]}


@pytest.fixture(
    scope="module", params=[(n, k) for n in SMALL for k in ("regression", "binary", "multiclass")], ids=str
)
def fitted(request: pytest.FixtureRequest) -> tuple[str, str, Model]:
    name, kind = request.param
    return name, kind, fit(table(kind), target="y", network=name, seed=1, **SMALL[name])


def test_learns_says_its_name_and_is_saved(fitted: tuple[str, str, Model], tmp_path: Path) -> None:
    name, kind, model = fitted
    metric = "rmse" if kind == "regression" else "log_loss"
    assert model.score[metric] < 0.9 * model.summary["baseline"][metric]
    assert model.config.architecture == name and model.summary["config"]["network"] == name
    assert f"networks: 1 {name} with" in model.summary["decisions"][-1]
    assert model.summary["rows"] == {"train": 240, "validation": 60}

    model.save(tmp_path / "m.mlp")
    again = Model.load(tmp_path / "m.mlp")
    rows = table(kind)
    assert again.config == model.config
    assert np.array_equal(again.predict(rows), model.predict(rows))
    if kind != "regression":
        assert np.array_equal(again.predict_proba(rows), model.predict_proba(rows))
        assert np.allclose(model.predict_proba(rows).sum(1), 1)


def test_engine_is_told() -> None:
    model = fit(table("regression"), target="y", network="tabm", epochs=1, hidden=4)
    assert model.history.engine == "autograd"
    assert model.history.engine_reason == "the kernels do not know the layer TabM (TabM)."
    plain = fit(table("regression"), target="y", network="resnet", hidden=(8, 8), epochs=500, patience=500)
    assert plain.history.engine == "kernels"


PUBLISHED = [name for name in NETWORKS if name != "default"]


def test_every_published_network_has_an_architecture() -> None:
    assert set(PUBLISHED) == set(ARCHITECTURES) - {"linear"} == set(SMALL)


def test_names_are_those_that_settings_take() -> None:
    assert set(NETWORKS) == set(get_args(NetworkName))
    for name in PUBLISHED:
        recipe = NETWORKS[name]
        assert isinstance(recipe, PublishedRecipe) and recipe.name == name


def test_weights_of_rows_count() -> None:
    rows = table("regression")
    weight = np.where(rows["y"] > 1, 1.0, 1e-3)
    model = fit(rows, target="y", network="tabm", sample_weight=weight, hidden=16, epochs=15, batch_size=32)
    heavy, light = (
        model.evaluate({n: v[mask] for n, v in rows.items()}) for mask in (rows["y"] > 1, rows["y"] <= 1)
    )
    assert heavy["rmse"] < light["rmse"]


def test_several_networks_are_all_in_the_mean() -> None:
    model = fit(table("binary"), target="y", network="mlp", members=3, epochs=2)
    assert len(model.networks) == 3 and model.weights == (1.0, 1.0, 1.0)


def test_unknown_names_and_qualities_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"network must be one of 'default', 'mlp'.*got 'tabn'\. Did you mean 'tabm'"
    ):
        fit(table("binary"), target="y", network="tabn")
    with pytest.raises(
        ConfigError, match="quality='best' is for the default network; 'mlp' is trained as its paper"
    ):
        fit(table("binary"), target="y", network="mlp", quality="best")


FEATURES = [
    Feature("a", "a", "scaled"),
    Feature("a (rank)", "a", "rank"),
    Feature("a (missing)", "a", "missing"),
    Feature("b", "b", "boolean"),
]
REGRESSION, BINARY, MULTI = (
    Regression(),
    Classification(("n", "p"), "object"),
    Classification(("r", "s", "t"), "object"),
)


def test_which_numbers_go_where() -> None:
    assert MLPRecipe().places(FEATURES, REGRESSION) == {"keep": (1, 2, 3), "periodic": ()}
    assert RealMLPRecipe().places(FEATURES, REGRESSION) == {"keep": (0, 2, 3), "periodic": (0,)}
    tabm = TabMRecipe().places(FEATURES, MULTI)
    assert tabm == {"keep": (2, 3), "periodic": (), "piecewise": (1,), "link": "softmax"}
    assert TabMRecipe().places(FEATURES, BINARY)["link"] == "sigmoid"


def test_labels_are_smoothed_towards_all_classes() -> None:
    realmlp = RealMLPRecipe()
    y = realmlp.target(np.array([[0.0], [1.0]], np.float32), BINARY)
    assert y.dtype == np.float32 and y.tolist() == pytest.approx(np.array([[0.05], [0.95]]))
    shares = realmlp.target(np.array([2, 0]), MULTI)
    assert np.allclose(shares, [[0.1 / 3, 0.1 / 3, 0.9 + 0.1 / 3], [0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3]])
    same = np.ones((2, 1), np.float32)
    assert realmlp.target(same, REGRESSION) is same


def as_it_is(member: int, output: Any) -> Any:
    return output


@pytest.mark.parametrize(
    ("task", "y", "output", "wrong"),
    [
        (BINARY, np.array([[0.0], [1.0]], np.float32), np.array([[-1.0], [-1.0]], np.float32), 0.5),
        (MULTI, np.array([2, 1]), np.eye(3, dtype=np.float32)[[2, 1]], 0.0),
        (REGRESSION, np.array([[1.0], [2.0]], np.float32), np.array([[1.0], [4.0]], np.float32), 2.0),
    ],
)
def test_error_that_chooses_the_epoch(task: Task, y: Any, output: Any, wrong: float) -> None:
    keeper = RealMLPRecipe().keeper(task, y, None, as_it_is, 1)
    assert isinstance(keeper, LastBest) and keeper.error(output) == wrong
    first_only = RealMLPRecipe().keeper(task, y, np.array([1.0, 0.0], np.float32), as_it_is, 1)
    assert isinstance(first_only, LastBest) and first_only.error(output) == 0


def test_dropout_and_weight_decay_fade_in_the_second_half() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.2))
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.4)
    fading, seen = _Fading([net], [optimizer]), []
    for epoch in range(1, 9):
        fading(Progress(epoch, 8, 0.0, None, 1.0, 0.0, (net,)))
        seen.append((net[1].p / 0.2, optimizer.param_groups[0]["weight_decay"] / 0.4))
    expected = [1, 1, 1, 1, 0.5 + 0.5 * np.cos(np.pi / 4), 0.5, 0.5 + 0.5 * np.cos(np.pi * 3 / 4), 0]
    assert np.allclose(seen, np.array(expected)[:, None], atol=1e-12)


def test_batches_grow_with_the_table() -> None:
    assert [rtdl_batch_size(n) for n in (100, 10_000, 59_999, 60_000, 200_000)] == [128, 256, 256, 512, 1024]


KINDS_OF_TARGETS = {
    "number": {"y": "number"},
    "logarithm": {"y": "positive", "objective": "log"},
    "two numbers": {"y": "two"},
    "two classes": {"y": "binary"},
    "several classes": {"y": "multi"},
    "quantiles": {"y": "positive", "quantiles": (0.1, 0.9)},
    "counts": {"y": "counts", "objective": "poisson"},
    "amounts": {"y": "positive", "objective": "gamma"},
    "mean without outliers": {"y": "positive", "objective": "huber"},
    "labels": {"y": "labels", "task": "multilabel"},
    "monotone": {"y": "positive", "monotone": {"x": "increasing"}},
}
REFUSED = {"quantiles", "counts", "amounts", "mean without outliers", "labels", "monotone"}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS_OF_TARGETS)
@pytest.mark.parametrize("network", PUBLISHED)
def test_every_kind_of_target_is_learnt_or_refused_in_words(network: str, kind: str, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    targets = {
        "number": x,
        "positive": np.exp(x),
        "two": np.stack([x, -x], axis=1),
        "binary": np.where(x > 0, "yes", "no"),
        "multi": rng.choice(["a", "b", "c"], 60),
        "counts": rng.poisson(2, 60),
        "labels": np.stack([x > 0, x > 1], axis=1).astype(int),
    }
    how = KINDS_OF_TARGETS[kind] | {"network": network, "hidden": (8, 8), "epochs": 2}
    how |= {"sample_weight": np.arange(60) % 3} if weighted else {}
    how["y"] = targets[how["y"]]
    if kind in REFUSED:
        words = r"predicts classes or means, without constraints; got .*\. Leave out network"
        with pytest.raises(ConfigError, match=words):
            fit({"x": x}, **how)
        return
    model = fit({"x": x}, **how)

    assert len(model.predict({"x": x})) == 60
    assert all(np.isfinite(value) for value in model.score.values())
