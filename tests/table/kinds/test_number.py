import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multilayer.errors import SchemaError
from multilayer.table.column import Column
from multilayer.table.kinds.boolean import as_booleans
from multilayer.table.kinds.duration import as_durations
from multilayer.table.kinds.number import as_numbers
from multilayer.table.kinds.time import as_times
from multilayer.table.sources.read import read_table

floats = st.floats(allow_nan=False, allow_infinity=False)


def test_texts_are_read_as_numbers():
    column = Column("c", "number")
    assert as_numbers(column, np.array(["1", None, " 2.5"], dtype=object)).tolist()[::2] == [1.0, 2.5]
    column = Column("c", "number", unit="kg", thousands=".", decimal=",")
    assert as_numbers(column, np.array(["1.200,5 kg", "3"], dtype=object)).tolist() == [1200.5, 3.0]


@pytest.mark.parametrize(
    ("read", "kind", "wanted"),
    [
        (as_numbers, "number", "a number"),
        (as_booleans, "boolean", "true or false"),
        (as_times, "time", "a time of day"),
        (as_durations, "duration", "a duration, in seconds"),
    ],
)
def test_dates_are_none_of_these(read, kind, wanted):
    dates = np.array(["2024-01-01"], "datetime64[us]")
    with pytest.raises(SchemaError, match=f"'c' must hold {wanted}.*row 1 holds '2024-01-01'"):
        read(Column("c", kind), dates)


def test_infinities_become_the_limits_where_these_are_known():
    values = np.array([np.inf, -np.inf, 1.0])
    clipped = Column("c", "number", low=0.0, high=5.0, infinite="clip")
    assert as_numbers(clipped, values).tolist() == [5.0, 0.0, 1.0]
    assert as_numbers(Column("c", "number", infinite="clip"), values).tolist() == values.tolist()
    with pytest.raises(SchemaError, match="must be finite; column 'c' holds inf in row 1"):
        as_durations(Column("c", "duration"), values)


@given(st.lists(floats, min_size=3, max_size=50))
def test_scaled_and_rank_keep_the_order_of_numbers(by_name, numbers):
    if len(set(numbers)) < 3:
        return
    order = np.argsort(numbers, kind="stable")
    for name, encoded in by_name({"x": numbers}).items():
        assert (np.diff(encoded[order]) >= 0).all(), name


def test_a_number_is_scaled_by_median_and_interquartile_range_then_clipped(by_name):
    encoded = by_name({"x": [0.0, 1.0, 2.0, 3.0, 4.0, 1e9]}, rows=range(5))
    scaled = (np.array([0, 1, 2, 3, 4, 1e9]) - 2) / 2
    assert np.allclose(encoded["x"], scaled / np.sqrt(1 + (scaled / 3) ** 2))
    assert encoded["x"][-1] == 3.0
    assert np.allclose(encoded["x (rank)"], [-1, -0.5, 0, 0.5, 1, 1])


def test_a_number_that_is_mostly_one_value_is_scaled_by_half_its_range(by_name):
    encoded = by_name({"x": [0.0] * 8 + [10.0, 20.0]})
    scaled = np.array([0, 1, 2])
    assert np.allclose(encoded["x"][-3:], scaled / np.sqrt(1 + (scaled / 3) ** 2))


def test_equal_values_share_their_middle_rank(by_name):
    rank = by_name({"x": [0, 0, 0, 0, 1, 2]})["x (rank)"]
    assert np.allclose(rank, [-0.4] * 4 + [0.6, 1.0])


def test_missing_numbers_are_the_median_with_an_indicator(by_name):
    encoded = by_name({"x": [1.0, 2.0, 3.0, 4.0, 5.0, None]})
    assert list(encoded) == ["x", "x (rank)", "x (missing)"]
    assert [encoded[name][-1] for name in encoded] == [0.0, 0.0, 1.0]
    assert encoded["x (missing)"].tolist() == [0, 0, 0, 0, 0, 1]


def test_a_number_first_missing_at_prediction_is_the_median(fit):
    encoder = fit({"x": [1.0, 2.0, 3.0]})
    assert encoder.transform(read_table({"x": [None]})).num.tolist() == [[0.0, 0.0]]


def test_a_column_constant_among_training_rows_is_zero(by_name):
    encoded = by_name({"x": [4.0, 4.0, 9.0], "y": [1, 2, 3]}, rows=[0, 1])
    assert encoded["x"].tolist() == [0, 0, 0]


def test_a_column_all_missing_among_training_rows_is_encoded(by_name):
    encoded = by_name({"x": [None, None, 9.0, 8.0], "y": [1, 2, 3, 4]}, rows=[0, 1])
    assert encoded["x"].tolist() == [0, 0, 0, 0]
    assert encoded["x (missing)"].tolist() == [1, 1, 0, 0]


def test_many_numbers_keep_at_most_1024_quantiles_and_a_uniform_rank(fit):
    encoder = fit({"x": np.random.default_rng(0).normal(size=20_000) ** 3})
    arrays, _ = encoder.state()
    assert len(arrays["knots"]) == 1024
    rank = encoder.transform(read_table({"x": np.random.default_rng(0).normal(size=20_000) ** 3})).num[:, 1]
    assert np.allclose(np.quantile(rank, [0.1, 0.5, 0.9]), [-0.8, 0, 0.8], atol=0.01)


def test_extreme_numbers_do_not_overflow(by_name):
    numbers = [1e308, -1e308, 5e-324, 0.0, 1e-310, 1.0, -1e300]
    for encoded in by_name({"x": numbers}).values():
        assert np.isfinite(encoded).all()
