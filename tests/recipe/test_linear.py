"""The linear network of a model: what it is, where it is left out, and that a model with it is one model."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from multilayer import Model, fit
from multilayer.model.file import digest, unpack
from multilayer.model.table_model import network_inputs
from multilayer.recipe.linear import KNOTS, between
from multilayer.table.sources.read import read_table

N = 160
SMALL = {"members": 2, "epochs": 2, "hidden": 4}


def table() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    size = rng.normal(size=N)
    size[::11] = np.nan
    return {
        "size": size,
        "age": rng.uniform(0, 9, N),
        "zone": rng.choice(["a", "b", "c"], N).astype(object),
        "street": rng.choice([f"s{i}" for i in range(14)], N).astype(object),
    }


def signal() -> np.ndarray:
    x, rng = table(), np.random.default_rng(1)
    return np.nan_to_num(x["size"]) - 0.3 * x["age"] + (x["zone"] == "b") + 0.1 * rng.normal(size=N)


def targets() -> dict[str, tuple[Any, dict[str, Any]]]:
    y = signal()
    amount = np.exp(y)
    three = np.digitize(y, [-1.5, 0.0])
    return {
        "regression": (y, {}),
        "absolute error": (y, {"objective": "absolute_error"}),
        "huber": (y, {"objective": "huber"}),
        "quantiles": (y, {"quantiles": (0.1, 0.5, 0.9)}),
        "log": (amount, {"objective": "log"}),
        "poisson": (np.round(3 * amount), {"objective": "poisson"}),
        "gamma": (amount, {"objective": "gamma"}),
        "tweedie": (np.where(y > 0, amount, 0.0), {"objective": "tweedie"}),
        "rates": (amount, {"objective": "gamma", "exposure": np.linspace(1, 2, N)}),
        "two classes": (np.where(y > -1, "yes", "no"), {}),
        "two classes that weigh": (
            y > 0,
            {"class_weight": "balanced", "sample_weight": np.linspace(1, 2, N)},
        ),
        "three classes": (three, {"task": "multiclass"}),
        "several numbers": (np.column_stack([y, -y + 1]), {}),
        "several labels": (np.column_stack([y > 0, y > -1]).astype(int), {"task": "multilabel"}),
        "validation rows": (y, {"validation": 0.25}),
    }


def encoded(model: Model) -> np.ndarray:
    return network_inputs(model.encoder.transform(read_table(table())))


def unbent(x: np.ndarray) -> np.ndarray:
    """Straight lines through what the encoder bends, and on beyond the last."""
    sizes = np.array([-x for x in KNOTS[::-1]] + [0.0, *KNOTS])
    bent = sizes / np.sqrt(1 + (sizes / 3) ** 2)
    inside = np.interp(x, bent, sizes)
    slope = (sizes[-1] - sizes[-2]) / (bent[-1] - bent[-2])
    return inside + slope * (np.maximum(x - bent[-1], 0) + np.minimum(x - bent[0], 0))


def by_hand(model: Model, x: np.ndarray) -> np.ndarray:
    """b + W [num[keep], unbent sizes] + sum_c table_c[code_c], with the arrays of the model's file."""
    config, state = model.linear, model.networks[-1].state_dict()
    assert config is not None and config.keep is not None
    arrays = {name: value.numpy().astype(np.float64) for name, value in state.items()}
    numbers = np.hstack([x[:, list(config.keep)], unbent(x[:, list(config.piecewise)].astype(np.float64))])
    out = arrays["1.bias"] + numbers @ arrays["1.weight"][:, : numbers.shape[1]].T
    for i in range(len(config.cardinalities)):
        rows = arrays[f"0.category.tables.{i}.weight"]
        out = out + rows[x[:, config.n_num + i].astype(int)]
    return np.asarray(out, np.float32)


@pytest.fixture(scope="module", params=targets())
def model(request: pytest.FixtureRequest) -> Model:
    y, settings = targets()[request.param]
    return fit(table(), y=y, **SMALL, **settings)


class TestEveryTask:
    def test_has_a_share_where_the_truth_is_linear(self, model: Model) -> None:
        assert model.linear is not None and model.weights is not None
        assert len(model.networks) == len(model.weights) == len(model.configs)
        *others, last = [config.architecture for config in model.configs]
        assert {*others} == {"mlp"} and last == "linear"
        assert model.weights[-1] > 0
        (said,) = [words for words in model.summary["decisions"] if words.startswith("linear network: ")]
        share = model.weights[-1] / sum(model.weights)
        assert f"has a share of {share:.0%} in each prediction" in said

    def test_is_a_sum_over_numbers_and_codes(self, model: Model) -> None:
        x = encoded(model)
        with torch.no_grad():
            out = model.networks[-1](torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(out, by_hand(model, x), atol=1e-5)

    def test_predictions_are_the_weighted_mean_of_all_networks(self, model: Model) -> None:
        x = encoded(model)
        with torch.no_grad():
            outs = [net(torch.from_numpy(x)).numpy() for net in model.networks[:-1]] + [by_hand(model, x)]
        mean = np.average([model.task.link(out) for out in outs], axis=0, weights=model.weights)
        np.testing.assert_allclose(model.from_inputs(x), mean, rtol=1e-4, atol=1e-5)

    def test_comes_back_from_its_file(self, model: Model) -> None:
        again = Model.from_bytes(model.to_bytes())
        assert again.configs == model.configs and again.weights == model.weights
        assert np.array_equal(again.from_inputs(encoded(model)), model.from_inputs(encoded(model)))
        assert again.to_bytes() == model.to_bytes()


def test_a_file_that_knows_of_no_linear_network_loads() -> None:
    model = fit(table(), y=signal(), monotone={"age": -1}, **SMALL)
    meta, arrays = unpack(model.to_bytes(), "it", "")
    arrays = {name: array.copy() for name, array in arrays.items()}
    assert meta.pop("linear") is None
    text = json.dumps(meta)
    old = Model.from_bytes(bytes(save(arrays | {"sha256": digest(text, arrays)}, {"multilayer": text})))
    assert old.linear is None
    assert np.array_equal(old.predict(table()), model.predict(table()))


def test_none_beside_monotone_networks() -> None:
    model = fit(table(), y=signal(), monotone={"age": "decreasing"}, **SMALL)
    assert model.linear is None and len(model.networks) == 2


def test_none_beside_networks_of_the_literature() -> None:
    assert fit(table(), y=signal(), network="mlp", epochs=1, hidden=4).linear is None


def test_same_seed_same_bits() -> None:
    first, second = (fit(table(), y=signal(), **SMALL, n_threads=n) for n in (1, 2))
    assert first.linear is not None
    x = encoded(first)
    assert np.array_equal(first.from_inputs(x), second.from_inputs(x))


@pytest.mark.parametrize("size", [0.0, -0.7, 1.3, 5.0, -11.0, 24.0])
def test_bent_sizes_are_unbent(size: float) -> None:
    bent = size / np.sqrt(1 + (size / 3) ** 2)
    assert unbent(np.array([bent]))[0] == pytest.approx(size, rel=0.06)


def test_a_straight_line_is_learnt_to_its_ends() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = x @ [3.0, -1.0, 0.5]
    far = 2.5 * rng.normal(size=(100, 3))
    model = fit(x, y=y, **SMALL)
    truth = np.clip(far @ [3.0, -1.0, 0.5], y.min(), y.max())
    assert np.sqrt(np.mean((model.predict(far) - truth) ** 2)) < 0.12 * y.std()


def test_penalties_are_chosen_between_those_tried() -> None:
    assert between((1.0, 0.1, 0.01), (3.0, 1.0, 2.0)) == pytest.approx(0.1 * 10**-0.17, rel=0.1)
    assert between((1.0, 0.1, 0.01), (1.0, 1.0, 1.0)) == 1.0
