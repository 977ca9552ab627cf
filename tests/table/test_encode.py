import csv
import json
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multilayer.errors import DataError, SchemaError
from multilayer.table.encode import Batch, Encoder
from multilayer.table.schema import infer_schema
from multilayer.table.sources.read import read_table
from multilayer.table.sources.values import MISSING_MARKS

floats = st.floats(allow_nan=False, allow_infinity=False)
letters = st.text("abcxyz ,;\"'é-", max_size=4)
words = letters.filter(lambda text: text not in MISSING_MARKS and text == text.strip())
moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
CELLS = {
    "float": floats,
    "int": st.integers(-(2**40), 2**40),
    "few": st.integers(0, 2),
    "two": st.sampled_from([5, 7]),
    "bool": st.booleans(),
    "word": words,
    "moment": moments,
}
few_examples = settings(max_examples=25, deadline=None)  # each holds all kinds of columns


def columns_of(n_rows):
    return st.fixed_dictionaries(
        {name: st.lists(st.none() | cell, min_size=n_rows, max_size=n_rows) for name, cell in CELLS.items()}
    )


tables = st.integers(2, 15).flatmap(columns_of)


def with_row_number(columns):
    """One column that varies for certain, so that every table is usable."""
    return {"row": list(range(len(columns["int"]))), **columns}


def fit(source, kinds=None, rows=None):
    table = read_table(source)
    schema = infer_schema(table, kinds=kinds)
    return Encoder.fit(table if rows is None else table.take(rows), schema)


def encode(source, **options):
    return fit(source, **options).transform(read_table(source))


def assert_equal(batch, other):
    assert batch.num.dtype == np.float32
    assert batch.cat.dtype == np.int64
    assert np.array_equal(batch.num, other.num)
    assert np.array_equal(batch.cat, other.cat)


def by_name(source, **options):
    """Feature name -> encoded column."""
    encoder = fit(source, **options)
    batch = encoder.transform(read_table(source))
    return {feature.name: batch.num[:, i] for i, feature in enumerate(encoder.num_features)}


def reread(encoder):
    """The encoder after its state has been through bytes and JSON."""
    arrays, rest = encoder.state()
    arrays = {name: np.frombuffer(array.tobytes(), dtype=array.dtype) for name, array in arrays.items()}
    return Encoder.from_state(arrays, json.loads(json.dumps(rest)))


@few_examples
@given(tables, tables)
def test_encodings_are_finite_and_bounded_also_for_rows_never_seen(columns, others):
    encoder = fit(with_row_number(columns))
    for source in (columns, others):
        batch = encoder.transform(read_table(with_row_number(source)))
        assert np.isfinite(batch.num).all()
        assert np.abs(batch.num).max(initial=0) <= 3
        assert (batch.cat >= 0).all()
        assert (batch.cat < np.array(encoder.cardinalities, dtype=np.int64)).all()


@few_examples
@given(tables, tables)
def test_state_survives_json_and_bytes_bit_for_bit(columns, others):
    encoder = fit(with_row_number(columns))
    copy = reread(encoder)
    assert copy.schema == encoder.schema
    assert copy.num_features == encoder.num_features
    assert (copy.cat_names, copy.cardinalities) == (encoder.cat_names, encoder.cardinalities)
    for source in (columns, others):
        table = read_table(with_row_number(source))
        assert_equal(copy.transform(table), encoder.transform(table))


def as_text(value):
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


@few_examples
@given(tables)
def test_dict_pandas_polars_and_csv_give_equal_encodings(columns):
    columns = with_row_number(columns)
    expected = encode(columns)
    assert_equal(encode(pd.DataFrame(columns)), expected)
    assert_equal(encode(pl.DataFrame(columns, strict=False)), expected)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([as_text(value) for value in row] for row in zip(*columns.values(), strict=True))
        assert_equal(encode(path), expected)


@few_examples
@given(tables)
def test_rows_are_encoded_one_by_one_as_together(columns):
    columns = with_row_number(columns)
    table = read_table(columns)
    encoder = fit(columns)
    together = encoder.transform(table)
    for row in range(min(table.n_rows, 5)):
        assert_equal(encoder.transform(table.take([row])), together.take([row]))


def test_transform_follows_the_schema_not_the_order_of_the_table():
    encoder = fit({"a": [1, 2, 3], "b": ["x", "x", "y"]})
    one = encoder.transform(read_table({"a": [2], "b": ["x"]}))
    assert_equal(encoder.transform(read_table({"b": ["x"], "more": [1], "a": [2]})), one)


def test_errors_name_column_row_and_value():
    encoder = fit({"a": [1, 2, 3], "b": [1, 2, 4]})
    with pytest.raises(SchemaError, match="'a' must hold a number in every row; row 2 holds 'x'"):
        encoder.transform(read_table({"a": [1, "x"], "b": [1, 2]}))
    with pytest.raises(DataError, match="no column 'b'"):
        encoder.transform(read_table({"a": [1, 2]}))
    with pytest.raises(DataError, match="at least one row"):
        Encoder.fit(read_table({"a": [1, 2], "b": [3, 4]}).take([]), encoder.schema)


def test_no_rows_encode_to_no_rows():
    table = read_table({"a": [1, 2, 3], "b": ["x", "x", "y"], "d": ["2024-01-01", "2024-02-01", None]})
    batch = Encoder.fit(table, infer_schema(table)).transform(table.take([]))
    assert (batch.num.shape[0], batch.cat.shape) == (0, (0, 1))


def test_a_batch_takes_rows():
    batch = Batch(np.arange(6, dtype=np.float32).reshape(3, 2), np.arange(3, dtype=np.int64).reshape(3, 1))
    assert batch.n_rows == 3
    assert batch.take([2, 0]).num.tolist() == [[4, 5], [0, 1]]
    assert batch.take([2]).cat.tolist() == [[2]]


class TestWeights:
    numbers = np.array([1.0, 2.0, 4.0, 8.0, 16.0, np.nan])
    weight = np.array([5.0, 1.0, 30.0, 2.0, 1.0, 9.0])

    def encoder(self, values, weight=None):
        table = read_table({"a": values})
        return Encoder.fit(table, infer_schema(table), weight)

    def test_number_is_scaled_and_ranked_as_its_repetitions_are(self):
        repeated = self.encoder(np.repeat(self.numbers, 100 * self.weight.astype(int)))
        weighted = self.encoder(self.numbers, self.weight)
        probe = read_table({"a": [0.0, 1.0, 3.0, 4.0, 6.0, 20.0]})
        expected, got = repeated.transform(probe).num, weighted.transform(probe).num

        np.testing.assert_allclose(got[:, 0], expected[:, 0], rtol=1e-6)  # medians and quartiles are the same
        assert got[3, 0] == self.encoder(self.numbers).transform(probe).num[3, 0] == 0

    def test_many_quantiles_are_those_of_the_repetitions(self):
        rng = np.random.default_rng(0)
        values, weight = rng.normal(size=3_000), rng.integers(1, 4, 3_000)
        repeated, weighted = (
            self.encoder(np.repeat(values, weight)),
            self.encoder(values, weight.astype(float)),
        )
        probe = read_table({"a": np.linspace(-3, 3, 50)})

        np.testing.assert_allclose(weighted.transform(probe).num, repeated.transform(probe).num, atol=4e-3)

    @few_examples
    @given(st.lists(floats, min_size=3, max_size=40, unique=True), st.integers(-20, 20))
    def test_only_ratios_count(self, values, exponent):
        rng = np.random.default_rng(len(values))
        weight = rng.uniform(0.1, 3, len(values))
        table = read_table({"a": values})

        assert_equal(
            self.encoder(values, weight).transform(table),
            self.encoder(values, np.ldexp(weight, exponent)).transform(table),
        )

    def test_a_level_counts_by_its_weight(self):
        values = ["often", "often", "once", "heavy"]
        assert self.encoder(values, np.array([1.0, 1.0, 1.0, 2.0])).transform(
            read_table({"a": values})
        ).cat.ravel().tolist() == [3, 3, 1, 2]
        assert self.encoder(values).transform(read_table({"a": values})).cat.ravel().tolist() == [2, 2, 1, 1]
