import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from multilayer.table.cells import Cells, codes_of, distinct_texts, is_missing

texts = st.lists(st.none() | st.sampled_from(["a", "b", "", "1", "1.0"]), max_size=12)


@given(texts)
def test_codes_lead_back_to_the_texts(values):
    column = np.array(values, object)
    place, rows = codes_of(column)
    assert [list(place)[row] for row in rows] == values
    assert list(place) == list(dict.fromkeys(values))
    assert list(place.values()) == list(range(len(place)))


@given(texts)
def test_cells_of_texts_are_each_text_once(values):
    cells = Cells.of_texts(np.array(values, object))
    assert cells.rows is not None
    assert cells.values[cells.rows].tolist() == values
    assert cells.missing.tolist() == [text is None for text in cells.values.tolist()]
    assert distinct_texts(np.array(values, object)) == [t for t in cells.values.tolist() if t is not None]


def test_what_is_missing_depends_on_the_type():
    assert is_missing(np.array([1.0, np.nan])).tolist() == [False, True]
    assert is_missing(np.array(["2024-01-01", "NaT"], "datetime64[us]")).tolist() == [False, True]
    assert is_missing(np.array(["", None], object)).tolist() == [False, True]
    assert is_missing(np.array([1, 2])).tolist() == [False, False]
    assert is_missing(np.array([True])).tolist() == [False]
