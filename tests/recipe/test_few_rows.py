"""Tables of few distinct rows are learnt: no combination is kept from all networks."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from multilayer import fit

Columns = dict[str, list[Any]]
GRID = list(product(range(6), range(6), range(4)))


def repeated(columns: Columns, n: int) -> Columns:
    return {name: values * n for name, values in columns.items()}


@pytest.mark.parametrize("n", [2, 100])
@pytest.mark.parametrize(
    "columns",
    [
        {"c": ["A", "B", "C"], "y": [10, 20, 30]},
        {"x": [1.5, 4.0], "z": [7, 3], "y": [10.0, -20.0]},
        {"a": [0, 0, 1, 1], "b": [0, 1, 0, 1], "y": [0.0, 1.0, 1.0, 0.0]},
        {"c": [f"level {i}" for i in range(80)], "y": np.sin(np.arange(80.0)).tolist()},
    ],
    ids=["levels", "two rows", "exclusive or", "many levels"],
)
def test_a_mean_of_each_row_is_learnt(columns: Columns, n: int) -> None:
    y = np.array(columns["y"], float)
    model = fit(repeated(columns, n), target="y", task="regression")

    np.testing.assert_allclose(model.predict(columns), y, atol=0.1 * np.std(y))
    assert (
        "new rows will repeat them, too: the score is that of repeated rows" in model.summary["decisions"][1]
    )


@pytest.mark.parametrize("as_text", [True, False])
def test_a_grid_without_noise_is_learnt(as_text: bool) -> None:
    drawn = np.array(GRID)[np.random.default_rng(3).integers(0, len(GRID), 1_500)]
    columns: Columns = {
        f"c{i}": [f"v{v}" if as_text else float(v) for v in drawn[:, i].tolist()] for i in range(3)
    }
    y = np.array(["u", "v", "w"], object)[drawn.sum(1) % 3]
    model = fit(columns | {"y": y}, target="y")

    assert (model.predict(columns) == y).mean() > 0.99


def test_of_noise_the_mean_and_the_share_are_learnt() -> None:
    c = ["A"] * 100 + ["B"] * 100
    y = [9, 11] * 50 + [19, 21] * 50
    share = ["no"] * 80 + ["yes"] * 20 + ["no"] * 50 + ["yes"] * 50

    np.testing.assert_allclose(
        fit({"c": c, "y": y}, target="y").predict({"c": ["A", "B"]}), [10, 20], atol=0.3
    )
    of_yes = fit({"c": c, "y": share}, target="y").predict_proba({"c": ["A", "B"]})[:, 1]
    np.testing.assert_allclose(of_yes, [0.2, 0.5], atol=0.03)


def test_a_weight_is_a_repetition() -> None:
    columns = {"c": ["A", "B", "C"], "y": [10, 20, 30]}
    weighted = fit(columns, target="y", sample_weight=[20, 20, 20])
    repetitions = fit(repeated(columns, 20), target="y")

    assert weighted.predict(columns).tolist() == repetitions.predict(columns).tolist()


def test_of_numbers_that_lie_between_whole_values_are_held_out() -> None:
    x = np.arange(100.0).tolist()
    model = fit(repeated({"x": x, "y": x}, 5), target="y", members=1, epochs=1)

    assert model.summary["rows"]["train"] + model.summary["rows"]["validation"] == 100
