"""What types say beside the values comes through every source, and through all that is done with a table."""

import datetime as dt
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather

import multilayer as ml
from multilayer.table.sources.dtype_hints import Note
from multilayer.table.sources.read import Table, read_table
from multilayer.table.sources.sparse import SparseColumn

OSLO = ZoneInfo("Europe/Oslo")
TINY: dict[str, Any] = {"members": 1, "hidden": 2, "epochs": 1}
N = 12
COLUMNS: dict[str, list[Any]] = {
    "took": [dt.timedelta(hours=i) for i in range(N)],
    "at": [dt.time(i) for i in range(N)],
    "when": [dt.datetime(2024, 1, 1 + i, tzinfo=OSLO) for i in range(N)],
}
NOTES = {"took": Note("duration"), "at": Note("time"), "when": Note("date", zone="Europe/Oslo")}
SQL = "SELECT to_hours(1) AS took, TIME '08:15' AS at, 'a'::ENUM('b', 'a') AS size FROM range(3)"
SQL_NOTES = {"took": Note("duration"), "at": Note("time"), "size": Note("category")}


def arrow_file() -> str:
    feather.write_feather(pl.DataFrame(COLUMNS).to_arrow(), "t.arrow", compression="uncompressed")
    return "t.arrow"


def parquet() -> str:
    duckdb.sql(SQL).write_parquet("t.parquet")
    return "t.parquet"


SOURCES: dict[str, tuple[Callable[[], Any], dict[str, Note]]] = {
    "pandas": (lambda: pd.DataFrame(COLUMNS), NOTES),
    "polars": (lambda: pl.DataFrame(COLUMNS), NOTES),
    "polars, lazy": (lambda: pl.LazyFrame(COLUMNS), NOTES),
    "narwhals": (lambda: nw.from_native(pl.DataFrame(COLUMNS)), NOTES),
    "arrow": (lambda: pl.DataFrame(COLUMNS).to_arrow(), NOTES),
    "arrow file": (arrow_file, NOTES),
    "mapping of lists": (lambda: COLUMNS, NOTES),
    "mapping of series": (lambda: {name: pl.Series(values) for name, values in COLUMNS.items()}, NOTES),
    "mapping of pandas arrays": (
        lambda: {name: pd.Series(values).array for name, values in COLUMNS.items()},
        NOTES,
    ),
    "records": (lambda: pd.DataFrame(COLUMNS).to_dict("records"), NOTES),
    "struct": (
        lambda: pl.DataFrame(COLUMNS).select(pl.struct("took", "at", "when").alias("s")),
        {f"s.{name}": note for name, note in NOTES.items()},
    ),
    "array of objects": (
        lambda: pd.DataFrame(COLUMNS).astype(object).to_numpy(),
        dict(zip(("x0", "x1", "x2"), NOTES.values(), strict=True)),
    ),
    "structured array": (
        lambda: np.array([(np.timedelta64(i, "h"), i) for i in range(3)], dtype="m8[h],i8"),
        {"f0": Note("duration")},
    ),
    "relation": (lambda: duckdb.sql(SQL), SQL_NOTES),
    "parquet": (parquet, {"took": Note("duration"), "at": Note("time")}),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_has_the_notes_of_its_types(source):
    make, notes = SOURCES[source]
    assert read_table(make()).notes == notes


def test_queries_have_them():
    with duckdb.connect() as connection:
        assert read_table(connection, query=SQL).notes == SQL_NOTES
    assert read_table(parquet(), query="SELECT took FROM self").notes == {"took": Note("duration")}


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("library", ["pandas", "pandas array", "polars"])
def test_categoricals(library, ordered):
    levels = ["low", "high"]
    if library == "polars":
        values: Any = pl.Series(levels, dtype=pl.Enum(levels) if ordered else pl.Categorical)
    else:
        values = pd.Categorical(levels, levels, ordered=ordered)
        values = pd.Series(values) if library == "pandas" else values
    note = Note("ordered", levels=("low", "high")) if ordered else Note("category")
    assert read_table({"c": values}).notes == {"c": note}


@pytest.mark.parametrize(
    ("zones", "name"),
    [
        ([dt.UTC], "UTC"),
        ([dt.timezone(dt.timedelta(hours=-3))], "-03:00"),
        ([OSLO, dt.UTC], None),
        ([OSLO, None], None),
        ([dt.timezone(dt.timedelta(seconds=30))], None),
    ],
)
def test_zones_of_objects(zones, name):
    table = read_table({"when": [dt.datetime(2024, 1, 1, tzinfo=zone) for zone in zones]})
    assert table.notes == ({} if name is None else {"when": Note("date", zone=name)})


def test_what_is_done_with_a_table_keeps_notes_and_remarks():
    table = read_table({**COLUMNS, "x": [-9, *range(1, N)]}, missing=[-9])
    assert table.remarks == ("missing marks in 'x'",)
    for other in (table.take([0, 1]), table.select(["took", "x"]), table.drop(["at"]), read_table(table)):
        assert (other.notes["took"], other.remarks) == (Note("duration"), table.remarks)
    renamed = table.rename(["a", "b", "c", "d"])
    assert (renamed.notes["a"], renamed.remarks) == (Note("duration"), table.remarks)


def test_a_sparse_column_beside_them_stays_sparse():
    table = read_table(pd.DataFrame({**COLUMNS, "s": pd.arrays.SparseArray([0.0] * (N - 1) + [1.0])}))
    assert isinstance(table.take([1, 2]).columns["s"], SparseColumn)
    model = ml.fit(table, y=np.arange(N), **TINY)
    assert [column.kind for column in model.schema.columns] == ["duration", "time", "date", "number"]


@pytest.mark.parametrize(
    ("other", "note"),
    [
        (pa.array([3_600_000_000], pa.duration("us")), Note("duration")),
        (pa.array([None], pa.null()), Note("duration")),
        (pa.array([5], pa.int64()), None),
    ],
)
def test_of_several_files_holds_what_all_say(other, note):
    first = pa.table({"took": pa.array([1_000_000], pa.duration("us"))})
    for name, table in (("1.arrow", first), ("2.arrow", pa.table({"took": other}))):
        feather.write_feather(table, name, compression="uncompressed")
    assert read_table(["1.arrow", "2.arrow"]).notes.get("took") == note


def test_marks_of_missing_values_are_no_levels():
    size = pd.Categorical(["S", "?", "L"], ["?", "S", "L"], ordered=True)
    table = read_table({"size": size, "n": [1, 2, 3]}, missing="?")
    assert ml.infer_schema(table)["size"].levels == ("S", "L")


@pytest.mark.parametrize("how", ["declared", "schema", "categorical"])
def test_categories_that_look_like_numbers_with_separators_are_the_same_at_prediction(how):
    codes = ["1,200", "1,300", "1,400"] * 10
    values: Any = pd.Categorical(codes) if how == "categorical" else codes
    table = {"code": values, "y": np.arange(30)}
    options: dict[str, Any] = {"declared": {"kinds": {("code", ""): "category"}}}.get(how, {})
    if how == "schema":
        options = {"schema": ml.infer_schema(table).replace("code", kind="category").without("y")}
    model = ml.fit(table, target="y", thousands=",", **options, **TINY)
    assert model.schema["code"].levels == ("1,200", "1,300", "1,400")
    batch = model.encoder.transform(model._read({"code": codes[:3]}, None))
    assert sorted(batch.cat.ravel().tolist()) == [2, 3, 4]


def test_durations_with_separators_are_read_at_prediction():
    table = {"took": ["1,200", "1,300.5", "900"] * 4, "y": np.arange(N)}
    model = ml.fit(table, target="y", thousands=",", kinds={"took": "duration"}, **TINY)
    assert model.schema["took"].high == 1300.5
    assert model._read({"took": ["1,250", "n/a"]}, None)["took"][0] == 1250


def test_a_column_that_the_schema_leaves_out_may_hold_anything():
    table = {"x": range(N), "z": list(range(N, 0, -1)), "y": list(range(N))}
    schema = ml.infer_schema({**table, "image": ["a", "b"] * 6}).without("image")
    model = ml.fit({**table, "image": [b"png"] * N}, target=["y", "z"], schema=schema, **TINY)
    assert model.schema.names == ("x",)
    assert model.targets == ("y", "z")
    shown = model.predict({"x": [1], "image": [b"png"]})
    assert np.array_equal(shown, model.predict({"x": [1]}))


def test_a_database_and_text_have_none():
    with sqlite3.connect(":memory:") as connection:
        assert read_table(connection, query="SELECT 1 AS x, '08:15' AS at").notes == {}
    Path("t.csv").write_text("at,took\n08:15,1 days 02:00:00\n09:15,0 days 01:00:00\n")
    assert read_table("t.csv").notes == {}
    assert [column.kind for column in ml.infer_schema("t.csv").columns] == ["time", "duration"]
    Path("t.json").write_text(json.dumps([{"at": "08:15"}, {"at": "09:00"}]))
    assert read_table("t.json").notes == {}


def test_an_estimator_without_names_has_them():
    frame = pd.DataFrame({0: pd.to_timedelta(np.arange(N), "h"), 1: np.arange(N)})
    model = ml.MLPRegressor(max_iter=1, hidden_layer_sizes=(2,)).fit(frame, np.arange(N)).model_
    assert model.schema["x0"].kind == "duration"


def test_a_table_made_by_hand_has_none():
    table = Table({"x": np.arange(3)})
    assert (table.notes, table.remarks) == ({}, ())
