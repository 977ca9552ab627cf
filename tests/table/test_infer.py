"""Columns that only tell rows apart are left out, or said to."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import multilayer as ml
from multilayer import infer_schema
from multilayer.table.sources.read import read_table

TINY: dict[str, Any] = {"epochs": 2, "members": 1, "hidden": 8}
N = 60
INDEX = "row numbers, as pandas writes its index"


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(size=N), "y": rng.normal(size=N)})


@pytest.mark.parametrize("how", ["in order", "some rows", "shuffled"])
def test_a_written_index_is_left_out_and_both_ways_of_reading_agree(how: str) -> None:
    table = frame()
    if how != "in order":
        table = table.sample(frac=1.0 if how == "shuffled" else 0.7, random_state=0)
    table.to_csv("t.csv")

    of_file = ml.fit("t.csv", target="y", **TINY)
    of_frame = ml.fit(pd.read_csv("t.csv"), target="y", **TINY)

    assert of_file.schema.names == ("a",)
    assert of_file.schema.ignored == of_frame.schema.ignored == {"Unnamed: 0": INDEX}
    assert f"left out: Unnamed: 0 ({INDEX})" in of_file.summary["decisions"][2]
    expected = of_file.predict("t.csv")
    np.testing.assert_array_equal(of_file.predict(pd.read_csv("t.csv")), expected)
    np.testing.assert_array_equal(of_file.predict(table), expected)
    np.testing.assert_array_equal(ml.fit(table, target="y", **TINY).predict("t.csv"), expected)


def test_an_index_in_parquet_is_left_out() -> None:
    table = frame().sample(frac=1, random_state=0)
    table.to_parquet("t.parquet")
    model = ml.fit("t.parquet", target="y", **TINY)
    assert model.schema.ignored == {"__index_level_0__": INDEX}
    np.testing.assert_array_equal(model.predict("t.parquet"), model.predict(pd.read_parquet("t.parquet")))


def test_a_column_without_a_name_that_is_no_index_is_learnt() -> None:
    columns = {"": [0.5, 1.5, 2.5] * 4, "b": range(12)}
    schema = infer_schema(pl.DataFrame(columns))
    assert schema.names == ("Unnamed: 0", "b")
    assert infer_schema({"Unnamed: 0": [3, 3, 4], "b": [1, 2, 3]}).names == ("Unnamed: 0", "b")


def test_codes_that_nearly_all_differ_are_left_out() -> None:
    codes = [f"k{each:04}" for each in range(N)]
    codes[3] = codes[2]
    schema = infer_schema({"code": codes, "z": [k / 2 for k in range(N)]})
    assert schema.ignored == {"code": "an identifier: nearly every row has a different value"}
    assert infer_schema({"code": codes, "z": range(N)}, kinds={"code": "category"})["code"].kind == "category"
    assert infer_schema({"code": codes[:40] + codes[:20], "z": range(N)})["code"].n_unique == 39
    assert infer_schema({"code": codes[:20], "z": range(20)})["code"].n_unique == 19  # too few to say


def test_numbers_that_count_rows_stay_and_are_said_to() -> None:
    rng = np.random.default_rng(0)
    table = {
        "row": rng.permutation(N) + 1000,
        "patient_id": rng.permutation(10_000)[:N],
        "PassengerId": rng.permutation(10_000)[:N],
        "paid": rng.permutation(10_000)[:N],
        "size": rng.normal(size=N),
    }
    schema = infer_schema(table)
    assert schema["row"].reason == (
        "consecutive numbers, like those of an identifier: if it is one, drop=['row'] leaves it out"
    )
    for name in ("patient_id", "PassengerId"):
        assert str(schema[name].reason).startswith("whole numbers, each of them once, like those of an")
    assert schema["paid"].reason is None and schema["size"].reason is None


@pytest.mark.parametrize("first", [2**60, 2**63, 2**70], ids=["int64", "uint64", "beyond"])
@pytest.mark.parametrize("missing", [False, True])
def test_whole_numbers_that_floats_do_not_tell_apart_are_categories(first: int, missing: bool) -> None:
    ids = [first, first + 1, first + 2] * 40 + [None] * missing
    Path("ids.csv").write_text("id,y\n" + "".join(f"{'' if i is None else i},1\n" for i in ids))
    sources: list[Any] = [{"id": ids}, "ids.csv", [{"id": i} for i in ids]]
    if first < 2**64:
        kind = "Int64" if first < 2**63 else "UInt64"
        sources += [
            pd.DataFrame({"id": pd.array(ids, kind)}),
            pl.DataFrame({"id": pl.Series(ids, dtype=getattr(pl, kind))}),
        ]
    for source in sources:
        table = read_table(source)
        column = infer_schema(table.select(["id"]))["id"]
        assert column.kind == "category" and "2^53" in str(column.reason)
        assert set(column.levels) == {str(first + i) for i in range(3)}


def test_large_numbers_that_differ_as_floats_stay_numbers() -> None:
    assert (
        infer_schema({"ns": [1_700_000_000_000_000_000 + 10**9 * i for i in range(99)]})["ns"].kind
        == "number"
    )
