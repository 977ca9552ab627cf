import numpy as np

from multilayer.table.column import Column
from multilayer.table.kinds.boolean import as_booleans
from multilayer.table.sources.read import read_table


def test_texts_are_read_as_booleans():
    flags = as_booleans(Column("c", "boolean"), np.array(["Y", "f", "TRUE", "0", "1.0"], dtype=object))
    assert flags.tolist() == [1.0, 0.0, 1.0, 0.0, 1.0]


def test_two_numbers_and_booleans_are_minus_one_and_one(fit, by_name):
    encoded = by_name({"n": [5, 7, None, 7], "b": [True, False, None, True], "t": ["no", "yes", None, "no"]})
    assert encoded["n"].tolist() == [-1, 1, 0, 1]
    assert encoded["b"].tolist() == [1, -1, 0, 1]
    assert encoded["t"].tolist() == [-1, 1, 0, -1]
    beyond = fit({"n": [5, 7, 5]}).transform(read_table({"n": [0, 6, 9]}))
    assert beyond.num.ravel().tolist() == [-1, 0, 1]
