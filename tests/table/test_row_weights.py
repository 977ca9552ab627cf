"""Weights of rows: one rule and one message, whatever holds them."""

from typing import Any

import numpy as np
import pytest

from multilayer import DataError, MLPRegressor, fit, mlp, train
from multilayer.table.row_weights import check_weights

RULE = "sample_weight must be 4 finite numbers, none negative and not all zero; got "
WRONG = {
    "nan": ([1.0, 1.0, np.nan, 1.0], "nan in row 2 (counted from 0)"),
    "infinite": ([1.0, np.inf, 1.0, 1.0], "inf in row 1 (counted from 0)"),
    "negative": ([1.0, 1.0, 1.0, -0.5], "-0.5 in row 3 (counted from 0)"),
    "zeros": ([0.0] * 4, "zeros alone"),
    "too few": ([1.0, 1.0], "shape (2,)"),
    "two columns": ([[1.0]] * 4, "shape (4, 1)"),
}


@pytest.mark.parametrize(("weight", "got"), WRONG.values(), ids=WRONG)
def test_every_door_refuses_the_same_in_the_same_words(weight: list[Any], got: str) -> None:
    x, y = np.arange(8.0).reshape(4, 2), np.arange(4.0)
    doors = {
        "arrays": lambda: check_weights(weight, 4),
        "a table": lambda: fit({"x": x[:, 0], "y": y}, target="y", sample_weight=weight),
        "a network": lambda: train(mlp(2, [2], 1), x, y[:, None], loss="mse", sample_weight=weight),
        "scikit-learn": lambda: MLPRegressor(max_iter=1).fit(x, y, sample_weight=weight),
    }
    for door, call in doors.items():
        with pytest.raises(DataError) as error:
            call()
        assert str(error.value).startswith(RULE + got), door
        assert str(error.value).endswith("Pass one weight for each row; 0 leaves a row out."), door


def test_right_ones_are_numbers_of_float64() -> None:
    for weight in ([0, 1, 2], np.array([0.0, 1, 2], np.float32), np.array([False, True, True])):
        checked = check_weights(weight, 3)
        assert checked.dtype == np.float64
        np.testing.assert_array_equal(checked, np.asarray(weight, float))
