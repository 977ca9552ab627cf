import pickle

import numpy as np
import pytest

from multilayer.table.levels import as_levels, frequent_levels, level_finder, weighed_levels


def test_a_level_must_occur_twice_and_once_in_ten_thousand_rows():
    counts = {"often": 50, "b": 2, "a": 2, "once": 1}
    assert frequent_levels(counts, 60) == ("often", "a", "b")
    assert frequent_levels(counts, 400_000) == ("often",)
    assert len(frequent_levels({str(i): 5 for i in range(10_050)}, 50_250)) == 10_000


def test_values_of_any_type_are_levels_by_their_shortest_text():
    assert as_levels(np.array([1.0, np.nan, 2.5, 1e300, -0.0])).tolist() == [
        "1",
        None,
        "2.5",
        "1e+300",
        "0",
    ]
    moments = np.array(["2024-01-02", "NaT", "2024-01-02T03:04"], dtype="datetime64[us]")
    assert as_levels(moments).tolist() == ["2024-01-02", None, "2024-01-02T03:04:00"]


def test_a_row_weighs_as_much_as_its_repetitions():
    levels = np.array(["a", "b", None, "b", "c"], object)
    weight = np.array([2.0, 0.5, 1.0, 1.0, 0.5])
    assert weighed_levels(levels, weight) == ({"a": 4, "b": 3, "c": 1}, 10)


@pytest.mark.parametrize(
    ("text", "level"), [("TRUE", "true"), ("2.0", "2"), ("2", "2"), ("02", None), ("2.5", None), ("", None)]
)
def test_a_level_is_found_by_its_value(text, level):
    assert level_finder(["true", "2", "x"])(text) == level


def test_what_finds_a_level_can_be_pickled():
    find = pickle.loads(pickle.dumps(level_finder(["true", "1"])))
    assert (find("True"), find("1.0"), find("x")) == ("true", "1", None)
