"""The Arrow schema within a Parquet file says what Parquet has no type for."""

import base64
import datetime as dt
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

import multilayer as ml
from multilayer import DataError, infer_schema, read_table
from multilayer.table.copy_to_disk import store
from multilayer.table.sources.arrow_schema import ArrowField, arrow_fields
from multilayer.table.sources.dtype_hints import Note

HOURS = [0, 26, 100]
PER_HOUR = {"s": 3_600, "ms": 3_600_000, "us": 3_600_000_000, "ns": 3_600_000_000_000}


def durations(unit: str, hours: list[int | None]) -> pa.Table:
    numbers = [None if hour is None else hour * PER_HOUR[unit] for hour in hours]
    return pa.table({"wait": pa.array(numbers, pa.duration(unit)), "n": range(len(hours))})


@pytest.mark.parametrize("unit", PER_HOUR)
def test_durations_are_seconds_whatever_their_unit(unit: str) -> None:
    pyarrow.parquet.write_table(durations(unit, [*HOURS, None]), "t.parquet")
    table = read_table("t.parquet")
    np.testing.assert_array_equal(table["wait"], [*(3600.0 * hour for hour in HOURS), np.nan])
    assert table.notes["wait"] == Note("duration")
    with store("t.parquet", memory_mb=200) as stored:
        np.testing.assert_array_equal(stored.rows(0, 4)["wait"], table["wait"])
    assert read_table("t.parquet", query="SELECT wait FROM self LIMIT 2")["wait"][1] == 26 * 3600
    Path("t.parquet").rename("n.parquet")
    frame = durations(unit, [*HOURS, None])
    for other in (frame, frame.to_pandas(), pl.from_arrow(frame) if unit != "s" else frame):
        np.testing.assert_array_equal(read_table(other)["wait"], table["wait"])


def test_files_with_other_units_are_refused() -> None:
    for unit in ("ms", "us"):
        pyarrow.parquet.write_table(durations(unit, list(HOURS)), f"{unit}.parquet")
    with pytest.raises(DataError, match=r"in the same units; 'ms\.parquet' and 'us\.parquet' differ"):
        read_table("*.parquet")


def test_the_order_of_ordered_categories_survives() -> None:
    size = ["small", "large", "medium"] * 4
    order = ["small", "medium", "large", "huge"]
    pd.DataFrame({"size": pd.Categorical(size, order, ordered=True), "n": range(12)}).to_parquet("p.parquet")
    pl.DataFrame({"size": pl.Series(size, dtype=pl.Enum(order)), "n": range(12)}).write_parquet("q.parquet")
    for name in ("p.parquet", "q.parquet"):
        assert infer_schema(name)["size"].levels == tuple(order)
        with store(name, memory_mb=200) as table:
            assert table.notes["size"].levels == tuple(order)


def test_unordered_categories_are_categories() -> None:
    codes = ["1", "2", "3"] * 4
    pd.DataFrame({"c": pd.Categorical(codes), "d": codes, "n": range(12)}).to_parquet("p.parquet")
    schema = infer_schema("p.parquet")
    assert (schema["c"].kind, schema["d"].kind) == ("category", "number")
    assert schema["c"] == infer_schema(pd.read_parquet("p.parquet"))["c"]


def test_zones_survive() -> None:
    when = pd.Series([pd.Timestamp("2024-01-31 12:00", tz="Europe/Oslo"), None])
    pd.DataFrame({"when": when, "n": [1, 2]}).to_parquet("p.parquet")
    assert read_table("p.parquet").notes == {"when": Note("date", zone="Europe/Oslo")}
    assert read_table("p.parquet")["when"][0] == np.datetime64("2024-01-31T11:00")


def test_without_pyarrow_an_order_that_is_lost_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    size = pd.Categorical(["small", "large"] * 6, ["small", "large"], ordered=True)
    wait = pd.to_timedelta(range(12), unit="h")
    pd.DataFrame({"size": size, "wait": wait, "n": range(12)}).to_parquet("p.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    table = read_table("p.parquet")
    assert table.remarks == ("the order of 'size' is not known without PyArrow",)
    assert table.notes["size"] == Note("category")
    assert table["wait"][1] == 3600


def test_a_model_predicts_the_same_from_a_frame_and_from_its_file() -> None:
    hours = np.random.default_rng(0).integers(0, 100, 200)
    frame = pd.DataFrame({"wait": pd.to_timedelta(hours, unit="h"), "y": hours / 50})
    frame.to_parquet("t.parquet")
    model = ml.fit(frame, target="y", epochs=2, members=1, hidden=8)
    np.testing.assert_array_equal(model.predict(frame), model.predict("t.parquet"))


def fields_of(schema: pa.Schema) -> dict[str, ArrowField]:
    message = schema.serialize().to_pybytes()
    return arrow_fields(base64.b64encode(message))


def test_every_field_is_read_as_pyarrow_wrote_it() -> None:
    schema = pa.schema(
        [
            ("plain", pa.int64()),
            ("list", pa.list_(pa.duration("s"))),
            *((unit, pa.duration(unit)) for unit in PER_HOUR),
            ("category", pa.dictionary(pa.int8(), pa.string())),
            ("ordered", pa.dictionary(pa.int32(), pa.string(), ordered=True)),
            ("oslo", pa.timestamp("ms", "Europe/Oslo")),
            ("none", pa.timestamp("ms")),
            ("with \u00fc", pa.duration("ns")),
        ]
    )
    expected: dict[str, Any] = {unit: ArrowField(unit) for unit in ("s", "ms", "us", "ns")}
    expected |= {
        "category": ArrowField(is_dictionary=True),
        "ordered": ArrowField(is_dictionary=True, is_ordered=True),
        "oslo": ArrowField(zone="Europe/Oslo"),
        "with \u00fc": ArrowField("ns"),
    }
    assert fields_of(schema) == expected


def test_bytes_that_are_no_schema_say_nothing() -> None:
    message = pa.schema([("a", pa.duration("s"))]).serialize().to_pybytes()
    assert arrow_fields(b"no base64!") == {}
    for cut in range(0, len(message), 7):
        assert arrow_fields(base64.b64encode(message[:cut])) in ({}, {"a": ArrowField("s")})
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(message)
        for place in rng.integers(0, len(broken), 5).tolist():
            broken[place] = int(rng.integers(256))
        assert isinstance(arrow_fields(base64.b64encode(bytes(broken))), dict)


def test_dates_are_the_same_in_every_unit() -> None:
    day = dt.datetime(2024, 1, 31, 12)
    for unit in ("s", "ms", "us", "ns"):
        table = pa.table({"when": pa.array([day], pa.timestamp(unit))})
        pyarrow.parquet.write_table(table, "t.parquet")
        for source in (table, "t.parquet", table.to_pandas()):
            assert read_table(source)["when"][0] == np.datetime64(day, "us")
