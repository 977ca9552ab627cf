"""Values keep what they are in every container: every digit, no blanks around, one notion of missing."""

import datetime as dt
import enum
import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pytest

import multilayer as ml
from multilayer import DataError, SchemaError, infer_schema, read_table
from multilayer.table.sources.values import from_objects

WIDE = [2**60 + k for k in range(4)]
TINY: dict[str, Any] = {"epochs": 2, "members": 1, "hidden": 8}


def csv(ids: list[int | None]) -> str:
    Path("t.csv").write_text("id,z\n" + "".join(f"{'' if i is None else i},1\n" for i in ids))
    return "t.csv"


def parquet(ids: list[int | None]) -> str:
    pl.DataFrame({"id": ids}, schema={"id": pl.Int64}).write_parquet("t.parquet")
    return "t.parquet"


def feather(ids: list[int | None]) -> str:
    pyarrow.feather.write_feather(pa.table({"id": ids}), "t.arrow", compression="uncompressed")
    return "t.arrow"


def jsonl(ids: list[int | None]) -> str:
    Path("t.jsonl").write_text("".join(json.dumps({"id": each, "z": 1}) + "\n" for each in ids))
    return "t.jsonl"


def sqlite(ids: list[int | None]) -> Any:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (id INTEGER)")
    connection.executemany("INSERT INTO t VALUES (?)", [(each,) for each in ids])
    with connection:
        return read_table(connection, query="SELECT id FROM t ORDER BY rowid")


CONTAINERS: dict[str, Any] = {
    "lists": lambda ids: {"id": ids},
    "with NaN": lambda ids: {"id": [float("nan") if each is None else each for each in ids]},
    "records": lambda ids: [{"id": each} for each in ids],
    "objects": lambda ids: pd.DataFrame({"id": pd.Series(ids, dtype=object)}),
    "Int64": lambda ids: pd.DataFrame({"id": pd.array(ids, dtype="Int64")}),
    "masked": lambda ids: {"id": np.ma.masked_array([e or 0 for e in ids], [e is None for e in ids])},
    "polars": lambda ids: pl.DataFrame({"id": ids}),
    "polars Int128": lambda ids: pl.DataFrame({"id": ids}, schema={"id": pl.Int128}),
    "Decimal": lambda ids: {"id": [None if each is None else Decimal(each) for each in ids]},
    "Arrow": lambda ids: pa.table({"id": ids}),
    "Arrow decimals": lambda ids: pa.table({"id": pa.array(map_decimal(ids), pa.decimal128(20, 0))}),
    "CSV": csv,
    "Parquet": parquet,
    "Feather": feather,
    "JSON lines": jsonl,
    "SQLite": sqlite,
    "DuckDB": lambda ids: duckdb.sql(f"SELECT * FROM (VALUES {', '.join(map(hugeint, ids))}) t(id)"),
}


def hugeint(number: int | None) -> str:
    return f"({'NULL' if number is None else number}::HUGEINT)"


def map_decimal(ids: list[int | None]) -> list[Decimal | None]:
    return [None if each is None else Decimal(each) for each in ids]


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS.keys())
@pytest.mark.parametrize("missing", [[], [None]], ids=["complete", "with a gap"])
def test_whole_numbers_keep_every_digit(container: Any, missing: list[None]) -> None:
    source = container([*missing, *WIDE, *WIDE])
    column = infer_schema(read_table(source).select(["id"]), kinds={"id": "category"})["id"]
    assert sorted(column.levels) == [str(each) for each in WIDE]
    assert column.n_missing == len(missing)


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS.keys())
def test_small_whole_numbers_stay_numbers(container: Any) -> None:
    column = read_table(container([1, 2, None, 4]))["id"]
    assert column.dtype == np.float64 and np.nansum(column) == 7


def test_levels_are_found_with_and_without_a_gap() -> None:
    ids = WIDE * 20
    y = [k % 4 + k / 100 for k in range(80)]
    model = ml.fit({"id": ids}, y=y, kinds={"id": "category"}, **TINY)
    expected = model.predict({"id": WIDE})
    for table in ({"id": [*WIDE, None]}, {"id": [*map(str, WIDE), None]}, pd.DataFrame({"id": [*WIDE, "x"]})):
        np.testing.assert_array_equal(model.predict(table)[:4], expected)


def test_digits_that_were_lost_before_are_said_at_fit_and_refused_at_prediction() -> None:
    promoted = pd.DataFrame({"id": [*WIDE, None] * 20})  # pandas makes floats of it
    column = infer_schema(promoted, kinds={"id": "category"})["id"]
    assert column.reason == (
        "as declared; the last digits of its numbers beyond 2^53 were lost, as they came as floats"
    )
    model = ml.fit({"id": WIDE * 20}, y=np.arange(80) / 2, kinds={"id": "category"}, **TINY)
    with pytest.raises(SchemaError, match=r"'id' held whole numbers beyond 2\^53 .*Int64"):
        model.predict(promoted)


def test_wide_labels_keep_every_digit() -> None:
    model = ml.fit({"x": range(80), "y": WIDE * 20}, target="y", task="multiclass", **TINY)
    assert model.classes == tuple(WIDE)
    assert set(model.predict({"x": range(80)}).tolist()) <= set(WIDE)
    text = {"x": range(4), "y": [*map(str, WIDE)]}
    assert model.evaluate(text) == model.evaluate({"x": range(4), "y": WIDE})
    with pytest.raises(DataError, match=r"labels were whole numbers beyond 2\^53"):
        model.evaluate(pd.DataFrame({"x": range(4), "y": [float(each) for each in WIDE]}))


def test_numbers_with_separators_keep_every_digit() -> None:
    table = read_table({"a": ["1,152,921,504,606,846,977", "3"]}, thousands=",")
    assert table["a"].tolist() == ["1152921504606846977", "3"]


class Colour(enum.Enum):
    RED = "red"
    BLUE = (0, 0, 255)


class Size(enum.StrEnum):
    S = "small"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


CATEGORIES: dict[str, tuple[Any, list[str | None]]] = {
    "enums": ([Colour.RED, Colour.BLUE, None], ["red", "BLUE", None]),
    "text enums": ([Size.S, "large"], ["small", "large"]),
    "whole enums": ([Level.LOW, Level.HIGH], ["1", "2"]),
    "bytes": ([b"ab", b"\xff\x00", None], ["ab", "ff00", None]),
    "arrays of bytes": (np.array([b"ab", b"c"]), ["ab", "c"]),
    "periods": (pd.Series(pd.period_range("2024-01", periods=2, freq="M")), ["2024-01", "2024-02"]),
    "intervals": (pd.Series(pd.arrays.IntervalArray.from_breaks([0, 1, 2])), ["(0, 1]", "(1, 2]"]),
    "binary": (pl.Series([b"ab", None]), ["ab", None]),
}


@pytest.mark.parametrize(("values", "levels"), CATEGORIES.values(), ids=CATEGORIES.keys())
def test_enums_bytes_periods_and_intervals_are_categories(values: Any, levels: list[str | None]) -> None:
    table = read_table({"c": values, "z": range(len(levels))})
    assert table["c"].tolist() == levels
    assert infer_schema({"c": [*values] * 3, "z": range(3 * len(levels))})["c"].kind == "category"


def test_cut_numbers_are_ordered() -> None:
    column = infer_schema(pd.DataFrame({"i": pd.cut(range(40), 4), "z": range(40)}))["i"]
    assert (column.kind, len(column.levels)) == ("ordered", 4)
    assert column.levels[0].startswith("(-0.0")


def test_a_blob_of_duckdb_is_a_category() -> None:
    relation = duckdb.sql("SELECT 'ab'::BLOB AS b UNION ALL SELECT NULL")
    assert sorted(map(str, read_table(relation)["b"])) == ["None", "ab"]


def test_blanks_around_text_do_not_count() -> None:
    Path("b.csv").write_text('z, c\n1, a\n2,"b "\n3,\u00a0a\n')
    for source in ("b.csv", {"c": [" a", "b ", "\u00a0a"]}, pd.DataFrame({"c": [" a", "b\t", "a\n"]})):
        assert read_table(source)["c"].tolist() == ["a", "b", "a"]
    ordered = pd.Categorical([" lo", "hi"], ["hi", " lo"], ordered=True)
    assert infer_schema({"c": ordered, "z": [1, 2]})["c"].levels == ("hi", "lo")


def test_a_mark_is_no_level_of_an_ordered_category() -> None:
    values = pd.Categorical(["NA", "lo", "hi"] * 4, ["NA", "lo", "hi"], ordered=True)
    column = infer_schema({"c": values, "z": range(12)})["c"]
    assert (column.levels, column.n_missing) == (("lo", "hi"), 4)


def test_marks_that_are_to_be_named_are() -> None:
    columns = from_objects("x", ["a", " n/a ", "", "NA", None, "#REF!"])
    assert columns.odd["x"].first == ((2, "n/a"), (6, "#REF!"))
    assert from_objects("x", ["a", "NA"]).odd == {}


def test_mixed_objects_are_text() -> None:
    assert read_table({"a": [dt.date(2024, 1, 1), "x", 1.5]})["a"].tolist() == ["2024-01-01", "x", "1.5"]


def test_arrays_without_an_axis_are_values() -> None:
    assert from_objects("x", [np.array(1.5), None, 2])["x"].tolist()[::2] == [1.5, 2.0]
    assert from_objects("c", [np.array("a"), "b"])["c"].tolist() == ["a", "b"]
    assert from_objects("d", [np.array("2024-05-01", "datetime64[ns]")])["d"].dtype == "datetime64[us]"
