"""The schema of a table on disk is that of all its rows."""

import pytest

from multilayer.errors import ConfigError, DataError
from multilayer.table.copy_to_disk import store
from multilayer.table.schema import infer_schema
from multilayer.table.schema_on_disk import describe
from multilayer.table.sources.read import read_table
from tests.table.tables_on_disk import described, mixed, write_parquet


def test_the_schema_is_that_of_all_rows() -> None:
    whole, found = infer_schema(read_table(mixed())), described()

    assert found.ignored == whole.ignored
    for expected, column in zip(whole.columns, found.columns, strict=True):
        assert (column.name, column.kind, column.levels) == (expected.name, expected.kind, expected.levels)
        assert (column.n_missing, column.low, column.high) == (
            expected.n_missing,
            expected.low,
            expected.high,
        )
        assert column.n_unique == pytest.approx(expected.n_unique, rel=0.1)
    assert found["due"].reason == "1 odd cell is missing, such as 'soon'"  # which is beyond the sample


def test_a_kind_of_the_users_must_hold_in_nearly_all_rows() -> None:
    path = write_parquet(
        "odd.parquet",
        "SELECT CASE WHEN i > 900 THEN 'soon' ELSE '2024-01-0' || (1 + i % 9) END AS due "
        "FROM range(1000) r(i)",
    )
    with store(path, memory_mb=200) as table:
        with pytest.raises(ConfigError, match="'due' as date; it also holds 'soon'"):
            describe(table, ["due"], table.rows(0, 100), {"due": "date"})
        inferred = describe(table, ["due"], table.rows(0, 1000), None)["due"]
    assert (inferred.kind, inferred.reason) == ("category", "dates but for 10% of its cells, such as 'soon'")


def test_levels_that_only_repeat_beyond_the_sample_make_no_identifier() -> None:
    path = write_parquet(
        "levels.parquet", "SELECT 'k' || (i % 300) AS c, 'k' || i AS id, i / 2 AS n FROM range(1500) r(i)"
    )
    with store(path, memory_mb=200) as table:
        schema = describe(table, ["c", "id", "n"], table.rows(0, 200), None)
    column = schema["c"]
    assert (column.kind, column.n_unique, len(column.levels), column.reason) == ("category", 300, 300, None)
    assert schema.ignored == {"id": "an identifier: nearly every row has a different value"}


def test_odd_cells_and_signs_are_missing_in_every_piece() -> None:
    path = write_parquet(
        "odd.parquet",
        "SELECT CASE WHEN i = 700 THEN 'x' WHEN i > 990 THEN '?' ELSE ' ' || i END AS n, "
        "CASE WHEN i % 3 = 0 THEN '-' ELSE 'ab'[1 + i % 2] END AS c FROM range(1000) r(i)",
    )
    with store(path, memory_mb=200) as table:
        schema = describe(table, ["n", "c"], table.rows(0, 100), None)
        rows = table.rows(0, 1000)
    assert (schema["n"].kind, schema["n"].n_missing, schema["n"].high) == ("number", 10, 990)
    assert schema["n"].reason == "1 odd cell is missing, such as 'x'"
    assert sorted(schema["c"].levels) == ["a", "b"] and schema["c"].n_missing == 334
    assert rows["n"][700] is None and rows["n"][5] == "5" and rows["c"][0] is None


def test_infinite_numbers_are_refused() -> None:
    path = write_parquet(
        "inf.parquet", "SELECT CASE WHEN i = 900 THEN 'inf'::DOUBLE ELSE i END AS x FROM range(1000) r(i)"
    )
    with store(path, memory_mb=200) as table, pytest.raises(DataError, match="'x' holds 1 infinite"):
        describe(table, ["x"], table.rows(0, 100), None)


def test_infinite_numbers_are_clipped_where_asked() -> None:
    path = write_parquet(
        "inf.parquet", "SELECT CASE WHEN i = 900 THEN 'inf'::DOUBLE ELSE i END AS x FROM range(1000) r(i)"
    )
    with store(path, memory_mb=200) as table:
        column = describe(table, ["x"], table.rows(0, 100), None, infinite="clip")["x"]
    assert (column.low, column.high, column.infinite) == (0, 999, "clip")


def test_an_order_must_name_the_levels_of_all_rows() -> None:
    path = write_parquet(
        "o.parquet",
        "SELECT CASE WHEN i = 150 THEN 'XL' WHEN i % 2 THEN 'M' ELSE 'S' END AS x, i FROM range(200) r(i)",
    )
    with store(path, memory_mb=200) as table, pytest.raises(ConfigError, match="holds 'XL'"):
        describe(table, ["x", "i"], table.rows(0, 100), {"x": ["S", "M"]})
