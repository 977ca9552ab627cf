"""Every setting of `fit` and of the estimators meets a wrong value with an error of ours, in three parts."""

import inspect
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from multilayer import ConfigError, MLPClassifier, MLPRegressor, MultilayerError, fit
from multilayer.recipe.arguments import RULES

N = 40
RNG = np.random.default_rng(0)
TABLE: dict[str, Any] = {
    "x": RNG.normal(size=N).tolist(),
    "c": ["a", "b"] * (N // 2),
    "g": [str(i % 9) for i in range(N)],
    "y": RNG.normal(size=N).tolist(),
    "k": ["n", "m"] * (N // 2),
}
FAST: dict[str, Any] = {"members": 1, "hidden": 4, "epochs": 1}
ODD: list[Any] = [
    "abc", "", b"x", 1.5, -1, 0, True, float("nan"), float("inf"), 10**30, 1 + 2j, object(), [], {}, (),
    [None], [1, "a"], [[1, 2], [3]], {"x": ["p", ["q"]]}, {"x": None}, np.array([1.0, 2.0]), print, pd.NA,
]  # fmt: skip
NO_SETTINGS = {"table", "y", "target", "missing"}
SETTINGS = [name for name in inspect.signature(fit).parameters if name not in NO_SETTINGS]
WRONG: dict[str, list[Any]] = {
    "seed": [None, "0", 1.5, -1, float("nan"), True, 2**63, np.float64(1), [0], np.array([1])],
    "members": ["2", 1.5, 0, -1, float("nan"), True, 10**30, np.float32(2), [1]],
    "epochs": ["2", 1.5, 0, float("inf"), True],
    "batch_size": ["auto", 0.5, 0, float("nan"), True],
    "patience": ["2", 1.5, 0, float("inf"), True],
    "n_threads": ["2", 1.5, 0, -1, float("nan"), True],
    "hidden": ["64", 0, 1.5, [64, 0], [64, "a"], [[64]], {64}, True],
    "lr": ["fast", 0, -1, float("nan"), float("inf"), True, [0.1]],
    "weight_decay": ["a", -1, float("nan"), float("inf"), True],
    "time_budget": ["1 min", 0, -1, float("nan"), True, [1]],
    "quality": [None, "Best", 1, ["best"]],
    "network": [None, "tabnet", 1, ["mlp"], np.array(["mlp", "tabm"])],
    "activation": ["relu6", 1, [], torch.nn.ReLU()],
    "device": ["gpu", "", "meta", "hpu", "cuda:77", 1.5, [], True, object()],
    "baselines": [None, 1, "yes", [], np.array([True])],
    "verbose": [0, 2, "yes", [], np.array([True])],
    "callbacks": [1, "abc", print, [1], [None], {"a": print}],
    "quantiles": ["half", [0.5, "a"], [[0.5]], 1.5, 0, [0.9, 0.1], [None], [float("nan")], object()],
    "kinds": ["category", 1, ["x"], {"x": 1}, {"x": ["p", ["q"]]}, {"x": None}, {"x": "numer"}],
    "calibration": [0, -1, 1.5, 7, N, 10**30, float("nan"), True, [1, 2], object(), {"x": [1]}],
    "schema": [1, [], "absent.json", {"x": 1}],
    "sample_weight": [
        [1, 2], ["a"] * N, [-1] * N, [float("nan")] * N, "absent", [[1, 2], [3]], object(), [0] * N,
    ],
    "exposure": [[1, 2], ["a"] * N, [0] * N, "absent", [[1, 2], [3]]],
    "groups": ["absent", 1.5, [1, 2], np.array([1, 2]), {}, True],
    "time": ["absent", 1.5, [1, 2], np.array([1, 2]), {}],
    "task": ["regress", 1, [], np.array(["binary", "regression"])],
    "objective": ["mse", 1, [], {}],
    "threshold": ["auc", 1.5, [], float("nan"), object()],
    "drop": [1, "absent", [["x"]], object(), {"x": 1}],
    "infinite": [None, "drop", 1, []],
    "decimal": [None, 1, ";;"],
    "thousands": [1, ["a"], "ab"],
    "encoding": ["utf-7.5", "", 1, b"utf-8", ["utf-8"], "base64"],
    "header": [None, 1, 0, "no", [], np.array([True])],
    "drop_missing_target": [None, 1, 0, "yes", [], np.array([True])],
    "query": [1, []],
    "class_weight": ["even", 1, [1, 2], {"n": "a"}, {"absent": 2}, {"n": float("nan")}, {"n": -1}],
    "monotone": ["x", 1, ["x"], {"x": "up"}, {"absent": 1}, {"x": 2}, {"c": 1}],
    "validation": [0, 1, -0.5, float("nan"), True, [], object()],
    "memory": ["lots", -1, 0, float("nan"), [], object()],
}  # fmt: skip
OF_CLASSES = {"class_weight", "threshold"}


def test_the_table_of_wrong_values_has_every_setting() -> None:
    assert set(SETTINGS) == set(WRONG)
    assert set(RULES) - {"target"} <= set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_wrong_value_is_refused(name: str) -> None:
    for value in WRONG[name]:
        with pytest.raises(MultilayerError) as caught:
            fit(TABLE, **FAST | {"target": "k" if name in OF_CLASSES else "y", name: value})

        text = str(caught.value)
        assert len(text) < 600, text
        assert len(re.findall(r"[.?!;](?:\s|$)", text)) >= 2, f"{name}={value!r}: {text}"


@pytest.mark.parametrize("name", [*SETTINGS, "target", "missing"])
def test_whatever_comes_is_taken_or_refused_in_words(name: str) -> None:
    for value in ODD:
        try:
            fit(TABLE, **{"target": "k", **FAST, name: value})
        except MultilayerError:
            continue


@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("name", MLPRegressor().get_params())
@pytest.mark.filterwarnings("ignore")
def test_whatever_comes_to_an_estimator_is_taken_or_refused_in_words(make: Any, name: str) -> None:
    X = pd.DataFrame({"x": TABLE["x"], "c": TABLE["c"]})
    y = TABLE["k"] if make is MLPClassifier else TABLE["y"]
    names = make().get_params()
    for value in ODD if name in names else []:
        fast = {"members": 1, "hidden_layer_sizes": 4, "max_iter": 1}
        try:
            make(**fast | {name: value}).fit(X, y)
        except MultilayerError:
            continue


@pytest.mark.parametrize("value", ["abc", 1.5, -1, 2**32, True, [1], float("nan"), np.random.default_rng(0)])
def test_a_random_state_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(
        ConfigError, match="'random_state' parameter of MLPRegressor must be None, an int from 0"
    ):
        MLPRegressor(random_state=value).fit(np.zeros((4, 1)), [1.0, 2.0, 3.0, 4.0])


def test_class_weights_of_an_estimator_name_each_class() -> None:
    for weight in ({"x": 1}, [1, "a"], [None]):
        with pytest.raises(ConfigError, match="Name each class that y holds"):
            MLPClassifier(class_weight=weight).fit(np.zeros((4, 1)), ["a", "b", "a", "b"])


@pytest.mark.parametrize(
    "settings",
    [
        {name: np.int64(2) for name in ("members", "epochs", "batch_size", "patience", "n_threads", "seed")},
        {"hidden": np.array([4, 4])},
        {"hidden": ()},
        {"lr": np.float32(0.01), "weight_decay": np.float64(0), "time_budget": np.int32(600)},
        {"quantiles": np.array([0.1, 0.9])},
        {"quality": np.str_("fast"), "drop": None, "callbacks": None, "kinds": None},
        {"callbacks": (lambda progress: None,), "drop": np.array(["c"])},
        {"device": torch.device("cpu")},
        {"sample_weight": np.ones(N, np.float32), "seed": np.uint8(3)},
    ],
)
def test_numbers_and_arrays_of_numpy_are_taken(settings: dict[str, Any]) -> None:
    model = fit(TABLE, **{"target": "y", **FAST, **settings})

    assert np.isfinite(model.predict(TABLE)).all()
    assert model.to_bytes()
