from hypothesis import given
from hypothesis import strategies as st

from multilayer.table.sources.read import read_table
from multilayer.table.sources.values import MISSING_MARKS

letters = st.text("abcxyz ,;\"'é-", max_size=4)
words = letters.filter(lambda text: text not in MISSING_MARKS and text == text.strip())


def test_categories_have_codes_by_frequency_one_for_rare_and_zero_for_missing(fit):
    encoder = fit({"c": ["b", "b", "a", "a", "a", "once", None]})
    batch = encoder.transform(read_table({"c": ["a", "b", "once", "never seen", None, "A"]}))
    assert batch.cat.ravel().tolist() == [2, 3, 1, 1, 0, 1]
    assert (encoder.cat_names, encoder.cardinalities) == (("c",), (4,))


@given(st.lists(words, min_size=2, max_size=20), words)
def test_an_unseen_category_is_code_one(fit, seen, word):
    encoder = fit({"c": [*seen, *seen, "x", "y"]}, kinds={"c": "category"})
    code = encoder.transform(read_table({"c": [word + "!", None]})).cat.ravel().tolist()
    assert code == [1, 0]


def test_a_category_may_be_written_as_number_or_text(fit):
    encoder = fit({"zip": [94301, 10001, 94301, 10001]}, kinds={"zip": "category"})
    for values in ([94301, 1], [94301.0, None], ["94301", "x"]):
        assert encoder.transform(read_table({"zip": values})).cat[0] == 3


def test_levels_are_learnt_from_training_rows_only(fit):
    table = {"c": ["a", "a", "b", "b"], "x": [1, 2, 3, 4]}
    assert fit(table, rows=[0, 1]).transform(read_table(table)).cat.ravel().tolist() == [2, 2, 1, 1]
