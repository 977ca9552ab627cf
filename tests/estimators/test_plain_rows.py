"""X as a matrix of floats: medians for gaps, columns of 0 and 1 for levels, the same at every later call."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from multilayer import MLPRegressor
from multilayer.estimators.plain_rows import PlainRows, medians


def estimator() -> Any:
    return MLPRegressor(solver="adam")


def test_gaps_of_an_array_are_the_medians_of_the_first_call() -> None:
    owner = estimator()
    rows, x = PlainRows.learn(owner, np.array([[1.0, np.nan], [3.0, 4.0], [5.0, 8.0]]))

    assert x[0, 1] == 6
    np.testing.assert_array_equal(
        rows.read(owner, np.array([[9.0, np.nan], [np.nan, 1.0]])), [[9, 6], [0, 1]]
    )


def test_what_was_never_missing_has_no_median() -> None:
    np.testing.assert_array_equal(medians(np.array([[1.0, np.nan], [2.0, np.nan]])), [0, 0])


def test_levels_become_columns() -> None:
    owner = estimator()
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0], "city": ["Oslo", "Rome", "Oslo", "Rome"]})
    rows, x = PlainRows.learn(owner, frame)

    assert rows.encoder is not None and x.shape == (4, 3)
    new = rows.read(owner, pd.DataFrame({"age": [1.0], "city": ["Lima"]}))
    np.testing.assert_array_equal(new, [[1, 0, 0]])
    again = pickle.loads(pickle.dumps(rows))
    np.testing.assert_array_equal(again.read(owner, frame), x)


def test_levels_that_come_later_are_said_where_a_network_learns_from_them() -> None:
    owner = estimator()
    rows, _ = PlainRows.learn(owner, pd.DataFrame({"city": ["Oslo", "Rome"] * 3}))
    with pytest.warns(UserWarning, match="'city' holds new levels now, in 1 row "):
        rows.read(owner, pd.DataFrame({"city": ["Lima", "Rome"]}), learns=True)


def test_a_sparse_matrix_stays_sparse() -> None:
    owner = estimator()
    rows, x = PlainRows.learn(owner, scipy.sparse.csc_matrix(np.eye(3)))
    assert rows == PlainRows()
    assert scipy.sparse.issparse(x) and scipy.sparse.issparse(rows.read(owner, scipy.sparse.eye(3).tocsr()))
