import numpy as np
import pandas as pd

from benchmarks.preparation import Preparation, date_format

TABLE = pd.DataFrame(
    {
        "x[1]": [1.0, None, 3.0, 8.0],
        "day": ["1/31/2024", "2/1/2024", "12/24/2024", None],
        "town": ["Ulm", "Bonn", "Ulm", None],
        "same": ["a", "a", "a", "a"],
        "empty": [None] * 4,
    }
)


def test_formats_of_dates_are_found_and_other_text_is_no_date():
    assert date_format(pd.Series(["1/31/2024", None, "12/1/2024"])) == "%m/%d/%Y"
    assert date_format(pd.Series(["31/1/2024", "12/1/2024"])) == "%d/%m/%Y"
    assert date_format(pd.Series(["20141013T000000"])) == "%Y%m%dT%H%M%S"
    assert date_format(pd.Series(["2013-01-01T10:00:00Z"])) is not None
    for texts in (["Nov", "Dec"], ["2024-01-31", "soon"], ["10A", "2B"], [None]):
        assert date_format(pd.Series(texts, dtype=object)) is None


def test_dates_become_days_month_weekday_and_hour():
    learnt = Preparation(pd.DataFrame({"at": ["2024-02-01T12:00:00", "2024-03-02T06:00:00"]}), "categories")

    features = learnt(pd.DataFrame({"at": ["1970-01-02T12:00:00", "never"]}))

    np.testing.assert_array_equal(features.iloc[0], [1.5, 1, 4, 12])
    assert features.iloc[1].isna().all()


def test_columns_without_information_go_and_names_are_plain():
    features = Preparation(TABLE, "categories")(TABLE)

    assert list(features) == [f"f{i}" for i in range(1 + 3 + 1)]  # these dates have no time of day


def test_each_part_of_a_date_with_gaps_is_filled_once():
    features = Preparation(TABLE[["day"]], "filled")(TABLE)

    assert features.shape == (4, 3 + 3)
    assert features.notna().all(axis=None) and (features.nunique() > 1).all()


def test_unseen_missing_and_rare_levels_are_missing_as_categories():
    learnt = Preparation(TABLE[["town"]], "categories", max_levels=1)

    codes = learnt(pd.DataFrame({"town": ["Ulm", "Bonn", "Rome", None]}))["f0"].cat.codes

    assert list(codes) == [0, -1, -1, -1]


def test_text_stays_text_with_a_word_for_missing():
    features = Preparation(TABLE[["town"]], "text")(pd.DataFrame({"town": ["Rome", None]}))

    assert list(features["f0"]) == ["Rome", "(missing)"]


def test_filled_numbers_are_medians_of_the_training_rows_with_a_column_for_gaps():
    learnt = Preparation(TABLE[["x[1]", "town"]], "filled")

    features = learnt(pd.DataFrame({"x[1]": [None, 100.0], "town": ["Ulm", "Ulm"]}))

    np.testing.assert_array_equal(features[["f0", "f1"]], [[3.0, 1.0], [100.0, 0.0]])
