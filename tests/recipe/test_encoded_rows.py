"""Rows as networks take them."""

import numpy as np

from multilayer.recipe.encoded_rows import EncodedRows

X = np.array([[1.0], [2.0], [1.0]], np.float32)
CODE = np.array([0, 1, 0])


def test_equal_rows_weigh_together() -> None:
    x = np.append(np.arange(50), 7).astype(np.float32)[:, None]  # row 7 is there twice
    rows = EncodedRows.by_content(x, np.zeros(51, np.int64), np.append(np.full(50, 2.0), 3.0))

    weight = np.ones(len(rows)) if rows.weight is None else rows.weight
    share = weight[rows.x[:, 0] == 7].sum() / weight.sum()
    assert np.isclose(share, 5 / 103)


def test_the_order_does_not_depend_on_the_order_given() -> None:
    one, other = EncodedRows.by_content(X, CODE, None), EncodedRows.by_content(X[::-1], CODE[::-1], None)
    assert np.array_equal(one.x, other.x) and np.array_equal(one.code, other.code)


def test_class_weights_enter_the_loss() -> None:
    rows = EncodedRows(X, CODE, np.array([1.0, 1.0, 2.0], np.float32))
    weighed = rows.for_loss(np.array([3.0, 5.0]))
    assert weighed.weight is not None and weighed.weight.tolist() == [3.0, 5.0, 6.0]
    assert rows.for_loss(None) == rows or rows.for_loss(None).weight is rows.weight


def test_rows_are_taken_with_their_weights() -> None:
    rows = EncodedRows(X, CODE, np.array([1.0, 2.0, 3.0], np.float32)).take(np.array([2, 1]))
    assert (rows.x[:, 0].tolist(), rows.code.tolist(), len(rows)) == ([1.0, 2.0], [0, 1], 2)
    assert rows.weight is not None and rows.weight.tolist() == [3.0, 2.0]
