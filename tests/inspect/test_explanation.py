"""Explanations against closed forms, brute force, shap and captum."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import comb, factorial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import multilayer as ml
from multilayer.inspect.encoded_table import EncodedTable
from multilayer.inspect.gradients import _STEPS, linked
from multilayer.inspect.importance import correlated_groups, rank_correlations
from multilayer.inspect.shapley import coalitions, shapley_values
from multilayer.tasks import link_steps
from multilayer.tasks.regression import Regression

SMALL: dict[str, Any] = {"members": 2, "epochs": 3, "hidden": 6}
N = 240


class Formula(nn.Module):
    """A network whose output is any function of the encoded columns."""

    def __init__(self, of: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.of, self.unused = of, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.of(x)[:, None] + 0 * self.unused


def rows() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    a = rng.normal(size=N)
    return {
        "a": a,
        "b": np.where(rng.random(N) < 0.1, np.nan, a + rng.normal(size=N) / 10),
        "city": rng.choice(["Oslo", "Rome", "Bern"], N).astype(object),
        "flag": rng.random(N) < 0.4,
        "day": (np.datetime64("2024-01-01") + rng.integers(0, 300, N)).astype("datetime64[us]"),
        "words": [f"room {i} was clean and quiet on day {i % 7}" for i in range(N)],
        "y": a * 2 + rng.normal(size=N) / 10,
    }


@pytest.fixture(scope="module")
def model() -> ml.Model:
    return ml.fit(rows(), target="y", **SMALL)


def numbers(n_columns: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    return {f"x{i}": rng.normal(size=N) for i in range(n_columns)}


def of_formula(of: Callable[[Tensor], Tensor], n_columns: int = 3) -> tuple[ml.Model, dict[str, Any]]:
    """A model of numbers that predicts a formula of them, encoded."""
    table = numbers(n_columns)
    fitted = ml.fit(table | {"y": table["x0"]}, target="y", **SMALL)
    made = replace(fitted, networks=[Formula(of)], task=Regression(), weights=None, linear=None)
    return made, table


def scaled(model: ml.Model) -> list[int]:
    """Which encoded column is the scaled number of each raw column."""
    features = model.encoder.num_features
    return [i for i, feature in enumerate(features) if feature.channel == "scaled"]


# Swaps


def test_swapping_encoded_columns_is_swapping_raw_ones(model: ml.Model) -> None:
    table, order = rows(), np.random.default_rng(1).permutation(N)
    encoded = EncodedTable.of(model, table)

    for name, places in zip(encoded.names, encoded.places, strict=True):
        x = encoded.x.copy()
        x[:, places] = encoded.x[np.ix_(order, places)]
        column = [table[name][i] for i in order] if isinstance(table[name], list) else table[name][order]
        np.testing.assert_array_equal(x, EncodedTable.of(model, table | {name: column}).x)
    assert sorted(np.concatenate(encoded.places)) == list(range(encoded.x.shape[1]))


# Importance


def test_importance_is_the_expected_growth_of_the_loss() -> None:
    """Of f = z0 and its own target the loss grows by E (z - z')^2 = 2 var z."""
    made, table = of_formula(lambda x: x[:, 0] * 3)
    place = scaled(made)[0]
    z = 3 * EncodedTable.of(made, table).x[:, place].astype(float)
    assert place == 0

    found = ml.explain(made, table | {"y": z}, repeats=20).importance

    assert found["column"][0] == "x0" and found["mean"][1:].tolist() == [0.0, 0.0]
    assert found["mean"][0] == pytest.approx(2 * z.var(), rel=0.1)
    assert 0 < found["spread"][0] < found["mean"][0]


def test_without_the_target_importance_is_change_and_says_so(model: ml.Model) -> None:
    table = rows()
    del table["y"]
    found = ml.explain(model, table)
    assert not found.has_target
    assert "lacks the target" in str(found.importance)
    assert found.importance["mean"].min() >= 0


def test_correlated_columns_are_shuffled_together(model: ml.Model) -> None:
    found = ml.explain(model, rows())
    assert ("a", "b") in found.groups
    names = found.group_importance["column"]
    assert ["a", "b"] in names and "city" in names
    assert found.correlation[0, 1] > 0.9
    given = ml.explain(model, rows(), groups=[["city", "flag"]])
    assert given.group_importance["column"] == [["city", "flag"]]


def test_rank_correlation_is_spearmans(model: ml.Model) -> None:
    from scipy.stats import spearmanr

    table = {name: values for name, values in rows().items() if name != "y"}
    table["b"] = np.nan_to_num(table["b"])
    encoded = EncodedTable.of(model, table)
    expected = spearmanr(table["a"], table["b"]).statistic
    assert rank_correlations(encoded)[0, 1] == pytest.approx(abs(expected))
    assert correlated_groups(["a"], np.ones((1, 1)), 0.7) == (("a",),)


def test_rows_of_the_fit_are_told_of(model: ml.Model) -> None:
    with pytest.warns(UserWarning, match="trained on"):
        _ = ml.explain(model, rows()).importance


# Effects


def test_effects_of_an_additive_function_are_its_parts() -> None:
    made, table = of_formula(lambda x: x[:, 0] ** 2 + torch.sin(x[:, 0]))
    place = scaled(made)
    z = EncodedTable.of(made, table).x[:, place[0]]

    found = ml.explain(made, table).effects

    curve = found["x0"]
    order = np.argsort(table["x0"])
    at = np.interp(curve.values, table["x0"][order], z[order])
    expected = at**2 + np.sin(at)
    gaps = curve.effect[:, 0] - expected
    assert np.ptp(gaps) < 1e-5  # the same curve, but for a constant
    assert np.abs(found["x1"].effect).max() < 1e-6
    assert (curve.spread == 0).all() and not curve.sparse.any()


def test_partial_dependence_is_the_mean_of_the_rows_curves() -> None:
    made, table = of_formula(lambda x: x[:, 0] * 2)
    found = ml.explain(made, table, effects="pdp").effects["x0"]
    assert found.curves is not None
    np.testing.assert_allclose(found.effect, found.curves.mean(axis=0), atol=1e-6)
    assert np.ptp(found.curves, axis=0).max() < 1e-5  # nothing else plays a part


def test_effects_of_all_kinds(model: ml.Model) -> None:
    found = ml.explain(model, rows()).effects
    assert set(found) == {"a", "b", "city", "flag", "day"}
    assert set(found["city"].values) == {"Oslo", "Rome", "Bern"}
    assert found["day"].values.dtype.kind == "M"
    for effect in found.values():
        assert effect.share.sum() == pytest.approx(1)
        assert effect.size >= 0
    assert found["city"].share @ found["city"].effect == pytest.approx(0, abs=1e-6)
    with pytest.raises(ml.DataError, match="'words' of these rows is text"):
        found["words"]
    with pytest.raises(ml.ConfigError, match="Did you mean 'city'"):
        found["citty"]


def test_partial_dependence_outside_of_the_data_is_marked() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=1000)
    table = {"a": a, "b": a + rng.normal(size=1000) / 3, "y": a}
    fitted = ml.fit(table, target="y", **SMALL)
    found = ml.explain(fitted, table, effects="pdp").effects["a"]
    assert found.sparse[0] and found.sparse[-1] and not found.sparse[len(found.sparse) // 2]


# Shapley values


def brute_force(value: Callable[[Any], Any], n: int) -> np.ndarray:
    phi = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            for chosen in combinations(others, size):
                mask = np.zeros((2, n), bool)
                mask[:, list(chosen)] = True
                mask[1, i] = True
                before, after = value(mask)
                phi[i] += factorial(size) * factorial(n - size - 1) / factorial(n) * (after - before)
    return phi


def random_game(n: int, order: int) -> Callable[[Any], Any]:
    rng = np.random.default_rng(n)
    terms = [(list(c), rng.normal()) for k in range(1, order + 1) for c in combinations(range(n), k)]
    return lambda masks: sum(w * masks[:, c].all(axis=1) for c, w in terms)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_all_coalitions_give_exact_values(n: int) -> None:
    game = random_game(n, min(n, 4))
    np.testing.assert_allclose(shapley_values(game, n), brute_force(game, n), atol=1e-9)


def test_drawn_coalitions_are_exact_for_additive_games_and_close_for_others() -> None:
    worth = np.arange(12.0)
    np.testing.assert_allclose(shapley_values(lambda m: m @ worth, 12), worth, atol=1e-9)

    game = random_game(10, 3)
    exact = brute_force(game, 10)
    errors = [np.abs(shapley_values(game, 10, n) - exact).max() for n in (100, 400, 1022)]
    assert errors[0] < 0.35 * np.abs(exact).max() and errors[2] < 1e-9
    assert errors[1] < errors[0]


@pytest.mark.parametrize(("n", "most"), [(4, 100), (7, 40), (20, 200), (2, 2)])
def test_coalitions_come_in_pairs_of_all_sizes_and_once(n: int, most: int) -> None:
    masks, weight = coalitions(n, most, 0)
    assert len(masks) <= max(most, n) + 1 and (weight > 0).all()
    assert len(np.unique(masks, axis=0)) == len(masks)
    assert {tuple(m) for m in masks} == {tuple(~m) for m in masks}
    assert set(masks.sum(axis=1)) == set(range(1, n))
    if len(masks) == 2**n - 2:
        s = masks.sum(axis=1)
        kernel = [1 / (comb(n, k) * k * (n - k)) for k in s]
        np.testing.assert_allclose(weight, kernel)


def test_values_are_those_of_shaps_exact_explainer(model: ml.Model) -> None:
    shap = pytest.importorskip("shap")
    table = {name: values[:40] for name, values in numbers(5).items()}
    y = table["x0"] * table["x1"] + np.abs(table["x2"])
    fitted = ml.fit(table | {"y": y}, target="y", **SMALL)
    x = np.stack(list(table.values()), axis=1)

    def predict(part: np.ndarray) -> np.ndarray:
        return fitted.predict({name: part[:, i] for i, name in enumerate(table)})

    reference = shap.explainers.Exact(predict, shap.maskers.Independent(x, max_samples=len(x)))(x[:3])
    found = ml.explain(fitted, table, rows=3, background=table).rows

    np.testing.assert_allclose(found.values, reference.values, atol=1e-5)
    np.testing.assert_allclose(found.base_values, reference.base_values, atol=1e-5)
    assert found.feature_names == list(table)


def test_values_of_a_row_sum_to_its_prediction(model: ml.Model) -> None:
    table = rows()
    found = ml.explain(model, table, rows=[3, 7]).row_values
    assert np.abs(found.error).max() < 1e-6
    assert found.prediction[:, 0] == pytest.approx(model.predict(table)[[3, 7]], abs=1e-5)
    assert found.data[0, 0] == table["a"][3]
    assert found.of_row(1)["column"][0] in found.columns


def test_a_single_row_is_explained_against_the_landmarks(model: ml.Model) -> None:
    one = {name: values[:1] for name, values in rows().items()}
    found = ml.explain(model, one).row_values
    assert model.statistics is not None and model.statistics.landmarks is not None
    assert np.abs(found.values).sum() > 0 and np.abs(found.error).max() < 1e-6


@pytest.mark.parametrize("method", ["shapley", "gradients"])
def test_classes_have_values_each(method: str) -> None:
    table = numbers()
    three = np.digitize(table["x0"], [-0.5, 0.5])
    fitted = ml.fit(table | {"y": three}, target="y", task="multiclass", **SMALL)
    found = ml.explain(fitted, table, rows=2, method=method)
    assert found.row_values.values.shape == (2, 3, 3)
    np.testing.assert_allclose(found.row_values.values.sum(axis=2), 0, atol=1e-5)  # probabilities sum to 1
    assert found.rows.output_names == ["0", "1", "2"]


# Expected gradients


def test_gradients_of_a_linear_function_are_its_weights_times_distances() -> None:
    slope = torch.tensor([2.0, -1.0, 0.5])
    made, table = of_formula(lambda x: x[:, [0, 2, 4]] @ slope)
    assert scaled(made) == [0, 2, 4]
    background = {name: values[:1] for name, values in table.items()}
    x, b = EncodedTable.of(made, table).x, EncodedTable.of(made, background).x

    found = ml.explain(
        replace(made, statistics=None), table, rows=4, background=background, method="gradients"
    ).row_values

    expected = (x[:4] - b)[:, [0, 2, 4]] * slope.numpy()
    np.testing.assert_allclose(found.values[..., 0], expected, atol=1e-5)
    assert np.abs(found.error).max() < 1e-5


def test_gradients_are_captums(model: ml.Model) -> None:
    attr = pytest.importorskip("captum.attr")
    made, table = of_formula(lambda x: x[:, 0] * x[:, 2] + torch.tanh(x[:, 4]))
    background = {name: values[:1] for name, values in table.items()}
    x, b = EncodedTable.of(made, table).x, EncodedTable.of(made, background).x

    reference = attr.IntegratedGradients(made.networks[0]).attribute(
        torch.from_numpy(x[:3]), torch.from_numpy(b), target=0, n_steps=200
    )
    found = ml.explain(
        replace(made, statistics=None), table, rows=3, background=background, method="gradients"
    ).row_values

    np.testing.assert_allclose(found.values[..., 0], reference.detach().numpy()[:, [0, 2, 4]], atol=0.01)


def test_gradients_are_complete_with_categories(model: ml.Model) -> None:
    found = ml.explain(model, rows(), rows=3, method="gradients").row_values
    size = np.abs(found.prediction - found.base).max()
    assert np.abs(found.error).max() < 0.15 * size + 0.05


def test_every_link_step_is_known_to_pytorch() -> None:
    known = {cls for cls in vars(link_steps).values() if isinstance(cls, type)
             and issubclass(cls, link_steps.LinkStep) and cls is not link_steps.LinkStep}  # fmt: skip
    assert known == set(_STEPS)
    steps = (link_steps.OfEach(1, ((link_steps.First(), link_steps.Scale(2.0)),) * 2),)
    output = torch.tensor([[1.0, 3.0]])
    assert linked(steps, output).tolist() == link_steps.run_link(steps, output.numpy()).tolist()


# Interactions


def test_only_columns_that_act_together_interact() -> None:
    made, table = of_formula(lambda x: x[:, 0] * x[:, 2] + x[:, 4])
    found = ml.explain(made, table)
    table_of = dict(zip(map(frozenset, found.interactions["columns"]), found.interactions["h"], strict=True))
    assert table_of[frozenset({"x0", "x1"})] > 0.5
    assert table_of[frozenset({"x0", "x2"})] < 1e-3


# Arguments


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "shaply"}, "'shapley' or 'gradients'.*Did you mean 'shapley'"),
        ({"effects": "ice"}, "effects must be"),
        ({"repeats": 0}, "repeats must be a whole number"),
        ({"rows": [9999]}, "numbers from 0 to 239"),
        ({"rows": 0}, "at least 1"),
        ({"columns": ["citty"]}, "Did you mean 'city'"),
        ({"groups": [["a", "z"]]}, "got 'z'"),
    ],
)
def test_wrong_settings_are_refused_in_words(model: ml.Model, settings: Any, message: str) -> None:
    with pytest.raises(ml.ConfigError, match=message):
        ml.explain(model, rows(), **settings)


def test_same_seed_same_numbers(model: ml.Model) -> None:
    a, b = (ml.explain(model, rows(), rows=2, seed=3) for _ in range(2))
    assert str(a.importance) == str(b.importance)
    assert (a.row_values.values == b.row_values.values).all()
    assert "importance" in repr(a) and "<table" in a._repr_html_()


def test_a_model_without_statistics_explains(model: ml.Model) -> None:
    found = ml.explain(replace(model, statistics=None), rows(), rows=2, effects="pdp")
    assert not found.effects["a"].sparse.any()
    assert found.row_values.values.shape == (2, 6, 1)


def test_results_become_frames() -> None:
    from multilayer.inspect.result_table import ResultTable

    table = ResultTable({"column": ["a", "b"], "mean": np.array([1.0, 2.0])}, "a note")
    assert table.to_frame()["mean"].tolist() == [1.0, 2.0]
    with pytest.raises(ml.ConfigError, match="Did you mean 'mean'"):
        table["maen"]
