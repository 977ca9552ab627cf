"""Every kind of column from frame to prediction, with pandas and polars alike."""

import datetime as dt
import json
import re
import time as clock
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import multilayer as ml
from multilayer.errors import ConfigError, DataError, SchemaError
from multilayer.table.column import Column
from multilayer.table.encode import Encoder
from multilayer.table.schema import check, infer_schema
from multilayer.table.sources.read import Table, read_table

TINY = {"members": 1, "epochs": 1, "hidden": 4}
N = 40
FILES = Path(__file__).parent / "files"


@pytest.fixture(params=["pandas", "polars"])
def frame(request):
    """A function that makes a frame of columns."""
    if request.param == "pandas":
        return pd.DataFrame
    return lambda columns: pl.DataFrame(columns, strict=False)


def fitted(frame, columns, **options):
    """A model of a target that counts up, after a way through its file."""
    n_rows = len(next(iter(columns.values())))
    model = ml.fit(frame({**columns, "y": list(np.arange(n_rows) * 1.0)}), target="y", **TINY, **options)
    model.save("m.mlp")
    loaded = ml.Model.load("m.mlp")
    x = frame(columns)
    assert np.array_equal(loaded.predict(x), model.predict(x))
    return loaded


def encoded(model, columns):
    """Feature name -> column; and category name -> codes."""
    batch = model.encoder.transform(read_table(columns))
    names = [feature.name for feature in model.encoder.num_features]
    return dict(zip(names, batch.num.T, strict=True)) | dict(
        zip(model.encoder.cat_names, batch.cat.T, strict=True)
    )


def repeated(*values, n=N):
    return [values[i % len(values)] for i in range(n)]


COUNT = [float(i) for i in range(N)]


INFINITE = {"x": [np.inf, -np.inf, *COUNT[2:]], "z": COUNT}


class TestInfinities:
    def test_are_refused_by_default(self, frame):
        with pytest.raises(DataError, match=r"finite; column 'x' holds inf in row 1.*infinite='clip'"):
            ml.fit(frame({**INFINITE, "y": COUNT}), target="y")

    def test_are_clipped_to_the_training_range_also_at_prediction(self, frame):
        model = fitted(frame, INFINITE, infinite="clip")
        assert (model.schema["x"].low, model.schema["x"].high) == (2.0, 39.0)
        assert any("infinities: clipped" in sentence for sentence in model.summary["decisions"])
        assert "infinities clipped" in str(model.schema)
        given = model.predict(frame({"x": [np.inf, -np.inf, None], "z": [1.0, 1.0, 1.0]}))
        same = model.predict(frame({"x": [39.0, 2.0, None], "z": [1.0, 1.0, 1.0]}))
        assert np.array_equal(given, same)

    def test_a_column_without_a_finite_value_is_ignored(self, frame):
        model = fitted(frame, {"x": repeated(np.inf, -np.inf), "z": COUNT}, infinite="clip")
        assert model.schema.ignored == {"x": "no finite value"}

    def test_an_unknown_way_is_refused(self):
        with pytest.raises(ConfigError, match="infinite must be one of 'error', 'clip'; got 'clop'"):
            ml.fit({"x": COUNT, "y": COUNT}, target="y", infinite="clop")


KINDS_AND_VALUES = {
    "number": [1.5, 2.5, 4.0, 8.0],
    "two": [1.0, 3.0],
    "boolean": [True, False],
    "yes": ["yes", "no"],
    "category": ["red", "green", "blue"],
    "date": [dt.datetime(2024, 1, day, day % 24) for day in range(1, 30)],
    "date as text": ["1/31/2024", "2/28/2024", "12/24/2023"],
    "time": [dt.time(8, 15), dt.time(20, 30), dt.time(0, 0, 1)],
    "duration": [dt.timedelta(hours=1), dt.timedelta(days=2), dt.timedelta(minutes=-3)],
    "text": [f"the {a} dog ate {b} bones" for a in ("big", "old", "sad", "red", "mad") for b in range(5)],
}


@pytest.mark.parametrize("what", KINDS_AND_VALUES)
class TestMissing:
    def test_values_that_are_missing_only_at_prediction(self, frame, what):
        values = KINDS_AND_VALUES[what]
        model = fitted(frame, {"x": repeated(*values), "z": COUNT})
        one = model.predict(frame({"x": [None, values[0]], "z": [1.0, 1.0]}))
        assert np.isfinite(one).all()
        assert np.isfinite(model.predict(frame({"x": [None, None], "z": [1.0, 1.0]}))).all()

    def test_a_constant_or_empty_column_may_hold_anything_at_prediction(self, frame, what):
        values = KINDS_AND_VALUES[what]
        model = fitted(frame, {"x": repeated(values[0]), "none": repeated(None), "z": COUNT})
        assert model.schema.ignored == {"x": "constant", "none": "all missing"}
        assert "left out: x (constant), none (all missing)" in model.summary["decisions"][2]
        kept = model.predict(frame({"x": values[:2], "none": ["now", "here"], "z": [1.0, 2.0]}))
        assert np.array_equal(kept, model.predict(frame({"z": [1.0, 2.0]})))

    def test_a_column_that_is_constant_but_for_missing_values_is_used(self, frame, what):
        values = KINDS_AND_VALUES[what]
        model = fitted(frame, {"x": repeated(values[0], None), "z": COUNT})
        assert "x" in model.schema.names
        assert np.isfinite(model.predict(frame({"x": values[:2], "z": [1.0, 2.0]}))).all()


class TestCategories:
    @pytest.mark.parametrize(
        ("values", "levels"),
        [
            ([1, 2, 3], ("1", "2", "3")),
            ([1.0, 2.5], ("1", "2.5")),
            ([True, False], ("false", "true")),
            ([dt.datetime(2024, 1, 1), dt.datetime(2024, 5, 1)], ("2024-01-01", "2024-05-01")),
            (["a", "b"], ("a", "b")),
        ],
    )
    def test_of_any_type_are_levels_as_text(self, frame, values, levels):
        model = fitted(frame, {"c": repeated(*values), "z": COUNT}, kinds={"c": "category"})
        assert set(model.schema["c"].levels) == set(levels)
        codes = encoded(model, {"c": [*values, None], "z": COUNT[: len(values) + 1]})["c"]
        assert sorted(codes[:-1]) == list(range(2, 2 + len(values)))
        assert codes[-1] == 0
        as_text = [*levels, "never seen"]
        texts = encoded(model, {"c": as_text, "z": COUNT[: len(as_text)]})["c"]
        assert set(texts[:-1]) == set(codes[:-1])
        assert texts[-1] == 1

    def test_mixed_objects_are_text(self):
        model = fitted(pd.DataFrame, {"c": repeated(1, "a", 2.5, None), "z": COUNT})
        assert set(model.schema["c"].levels) == {"1", "a", "2.5"}

    def test_a_pandas_categorical_of_numbers_is_a_category(self):
        model = fitted(pd.DataFrame, {"c": pd.Categorical(repeated(3, 1, 2)), "z": COUNT})
        assert model.schema["c"].kind == "category"
        assert "'c' is read as category (a categorical)" in " ".join(model.summary["decisions"])
        assert np.isfinite(model.predict(pd.DataFrame({"c": [1, 9], "z": [1.0, 2.0]}))).all()

    def test_whole_numbers_stay_numbers_unless_declared(self, frame):
        assert fitted(frame, {"c": repeated(1, 2, 3), "z": COUNT}).schema["c"].kind == "number"

    def test_of_100_000_levels_are_quick(self):
        values = np.array([f"level {i}" for i in range(100_000)] * 2, dtype=object)
        table = Table({"c": values, "z": np.arange(200_000.0)})
        started = clock.process_time()
        encoder = Encoder.fit(table, infer_schema(table, kinds={"c": "category"}))
        batch = encoder.transform(table)
        assert clock.process_time() - started < 10
        assert encoder.cardinalities == (2,)  # once in 10,000 rows: none is frequent enough
        assert (batch.cat == 1).all()


ORDERS = {
    "pandas": lambda: pd.Categorical(
        repeated("small", "medium", "large"), ["small", "medium", "large", "huge"], ordered=True
    ),
    "polars": lambda: pl.Series(
        repeated("small", "medium", "large"), dtype=pl.Enum(["small", "medium", "large", "huge"])
    ),
    "declared": lambda: repeated("small", "medium", "large"),
}


class TestOrderedCategories:
    @pytest.mark.parametrize("how", ORDERS)
    def test_have_a_place_beside_their_code(self, how):
        make = pl.DataFrame if how == "polars" else pd.DataFrame
        kinds = {"size": ["small", "medium", "large", "huge"]} if how == "declared" else None
        model = fitted(make, {"size": ORDERS[how](), "z": COUNT}, kinds=kinds)
        column = model.schema["size"]
        assert (column.kind, column.levels) == ("ordered", ("small", "medium", "large", "huge"))
        assert "small < medium < large < huge" in str(model.schema)
        seen = encoded(model, {"size": ["large", "small", "medium", "huge", "odd", None], "z": COUNT[:6]})
        assert np.allclose(seen["size (order)"], [1 / 3, -1, -1 / 3, 1, 0, 0], atol=1e-6)
        assert len(set(seen["size"][:3])) == 3
        assert seen["size"][3:].tolist() == [1, 1, 0]
        assert np.isfinite(model.predict(make({"size": ["odd"], "z": [1.0]}))).all()

    def test_of_numbers_may_be_declared_by_name(self, frame):
        model = fitted(frame, {"grade": repeated(10, 9, 2), "z": COUNT}, kinds={"grade": "ordered"})
        assert model.schema["grade"].levels == ("2", "9", "10")

    @pytest.mark.parametrize(
        ("order", "message"),
        [
            (["small"], "needs at least 2 levels"),
            (["small", "small", "large"], "each once"),
            (["small", None, "large"], "none missing"),
            (["small", "large"], "must name every level; column 'size' holds 'medium' in row 2"),
            ("ordered", "Levels of text have no order of their own"),
            (7, "a list of levels in their order; got 7"),
        ],
    )
    def test_refuses_an_order_that_is_none(self, order, message):
        with pytest.raises(ConfigError, match=message):
            infer_schema({"size": ["small", "medium", "large"], "z": [1, 2, 3]}, kinds={"size": order})


class TestDates:
    def test_parts_are_those_of_the_zone_and_distance_is_that_of_utc(self, frame):
        zone = "Europe/Oslo"
        utc = [dt.datetime(2024, 1 + i % 12, 1 + i % 28, i % 24, tzinfo=dt.UTC) for i in range(N)]
        if frame is pd.DataFrame:
            when = pd.Series(pd.to_datetime(utc)).dt.tz_convert(zone)
        else:
            when = pl.Series(utc).dt.convert_time_zone(zone)
        model = fitted(frame, {"when": when, "z": COUNT})
        assert model.schema["when"].zone == zone
        assert "zone Europe/Oslo" in str(model.schema)
        seen = encoded(model, {"when": ["2024-07-01T12:00Z", "2024-01-01T12:00Z"], "z": [1.0, 2.0]})
        hours = np.arctan2(seen["when (hour sin)"], seen["when (hour cos)"]) * 12 / np.pi % 24
        assert np.allclose(hours, [14, 13], atol=1e-3)  # summer time and winter time
        other = encoded(
            model, {"when": ["2024-07-01T05:00-07:00", "2024-01-01T13:00+01:00"], "z": [1.0, 2.0]}
        )
        for name in seen:
            assert np.array_equal(seen[name], other[name])

    def test_text_with_offsets_has_the_parts_that_are_written(self, frame):
        texts = [
            f"2024-03-{1 + i % 28:02}T{i % 24:02}:00:00{'+02:00' if i % 2 else '-07:00'}" for i in range(N)
        ]
        model = fitted(frame, {"when": texts, "z": COUNT})
        assert model.schema["when"].zone == "as written"
        seen = encoded(model, {"when": ["2024-03-05T06:00+02:00", "2024-03-05T06:00-07:00"], "z": [1.0, 2.0]})
        assert np.allclose(seen["when (hour sin)"], 1, atol=1e-6)
        assert seen["when"][1] > seen["when"][0]
        zoned = pd.Series(pd.to_datetime(["2024-03-05T06:00+02:00"] * 2)).dt.tz_convert("Africa/Cairo")
        assert np.allclose(encoded(model, {"when": zoned, "z": [1.0, 2.0]})["when (hour sin)"], 1, atol=1e-6)

    @pytest.mark.parametrize(
        "first", ["1/31/2024 8:15 +0200", "31.12.2023 08:15:30+01:00", "2024-01-31 08:15:00+02"]
    )
    def test_formats_with_an_offset(self, first):
        column = infer_schema({"when": [first, first.replace("15", "16")], "z": [1, 2]})["when"]
        assert (column.kind, column.zone) == ("date", "as written")

    def test_far_beyond_the_training_dates_nothing_explodes(self, frame):
        dates = [dt.datetime(2024, 1, 1) + dt.timedelta(days=i) for i in range(N)]
        model = fitted(frame, {"when": dates, "z": COUNT})
        far = {"when": [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31), dt.datetime(2050, 6, 1)]}
        seen = encoded(model, {**far, "z": [1.0, 2.0, 3.0]})
        assert np.abs(list(seen.values())).max() <= 3
        assert seen["when (rank)"].tolist() == [-1, 1, 1]
        assert np.isfinite(model.predict(frame({**far, "z": [1.0, 2.0, 3.0]}))).all()

    def test_an_unknown_zone_is_refused(self):
        schema = infer_schema({"when": ["2024-01-01", "2024-01-02"], "y": [1, 2]})
        with pytest.raises(ConfigError, match=r"IANA name such as 'Europe/Oslo'.*got 'Mars/North'"):
            ml.fit(
                {"when": ["2024-01-01", "2024-01-02"], "y": [1, 2]},
                target="y",
                schema=schema.replace("when", zone="Mars/North"),
            )


class TestTimesAndDurations:
    @pytest.mark.parametrize("texts", [["06:00", "18:00:00", "23:59"], ["6:00 AM", "6:00 pm", "11:59 PM"]])
    def test_times_of_day_are_cyclic(self, frame, texts):
        model = fitted(frame, {"at": repeated(*texts), "z": COUNT})
        assert model.schema["at"].kind == "time"
        assert re.search(r"at +time .* 06:00 to 23:59", str(model.schema))
        seen = encoded(model, {"at": [dt.time(6), dt.time(18), dt.time(0), None], "z": COUNT[:4]})
        assert np.allclose(seen["at (day sin)"], [1, -1, 0, 0], atol=1e-6)
        assert np.allclose(seen["at (day cos)"], [0, 0, 1, 0], atol=1e-6)

    @pytest.mark.parametrize("value", [dt.time(8), dt.timedelta(hours=8)])
    def test_among_other_values_are_text(self, value):
        assert infer_schema({"at": [value, 2.5, value], "z": [1, 2, 3]})["at"].kind == "category"

    def test_time_objects_are_times(self, frame):
        values = [dt.time(i % 24, i) for i in range(N)]
        assert fitted(frame, {"at": values, "z": COUNT}).schema["at"].kind == "time"

    @pytest.mark.parametrize("strange", ["24:00", "8:75", "noon"])
    def test_no_time_of_day(self, strange):
        schema = infer_schema({"at": ["08:15", "09:30"], "z": [1, 2]})
        with pytest.raises(SchemaError, match=f"a time of day such as 08:15 .*row 2 holds '{strange}'"):
            check(read_table({"at": ["08:15", strange], "z": [1, 2]}), schema)

    def test_durations_are_numbers_with_a_unit(self, frame):
        hours = [1.5, 26, 30, 480]
        model = fitted(frame, {"took": [dt.timedelta(hours=h) for h in repeated(*hours)], "z": COUNT})
        column = model.schema["took"]
        assert (column.kind, column.low, column.high) == ("duration", 5_400.0, 480 * 3_600.0)
        assert "1.5 h to 20 d" in str(model.schema)
        z = [1.0, 2.0, 3.0]
        frames = [dt.timedelta(hours=26), dt.timedelta(hours=1.5), None]
        texts = ["1 days 02:00:00", "PT1H30M", None]
        expected = encoded(model, {"took": frames, "z": z})
        for other in (texts, [93_600, 5_400, None]):
            for name, values in encoded(model, {"took": other, "z": z}).items():
                assert np.array_equal(values, expected[name])

    def test_text_of_durations(self):
        schema = infer_schema({"took": ["1 days 02:00:00", "0 days 00:00:01.5"], "z": [1, 2]})
        assert (schema["took"].kind, schema["took"].low, schema["took"].high) == ("duration", 1.5, 93_600.0)


PARCELS = {
    "zip": repeated(94301, 10001, 94302),
    "id": list(range(N)),
    "size": repeated("S", "M", "L"),
    "y": COUNT,
}


class TestSchemaArgument:
    def edited(self, frame):
        schema = ml.infer_schema(frame(PARCELS))
        assert isinstance(schema, ml.Schema)
        return schema.replace("zip", kind="category").without("id").replace("size", kind=["S", "M", "L"])

    def test_an_edited_schema_decides(self, frame):
        model = ml.fit(frame(PARCELS), target="y", schema=self.edited(frame), **TINY)
        assert [column.kind for column in model.schema.columns] == ["category", "ordered"]
        assert set(model.schema["zip"].levels) == {"94301", "10001", "94302"}
        assert model.schema.ignored == {"id": "left out"}
        without = frame({"zip": [94301], "size": ["S"]})
        assert np.array_equal(
            model.predict(without), model.predict(frame({"id": [7], "zip": [94301], "size": ["S"]}))
        )

    def test_may_be_a_json_file(self, frame):
        Path("s.json").write_text(json.dumps(self.edited(frame).to_json()))
        by_path = ml.fit(frame(PARCELS), target="y", schema="s.json", **TINY)
        by_value = ml.fit(frame(PARCELS), target="y", schema=self.edited(frame), **TINY)
        assert by_path.schema == by_value.schema
        x = frame(PARCELS)
        assert np.array_equal(by_path.predict(x), by_value.predict(x))

    def test_kinds_go_before_it(self, frame):
        model = ml.fit(frame(PARCELS), target="y", schema=self.edited(frame), kinds={"zip": "number"}, **TINY)
        assert model.schema["zip"].kind == "number"

    def test_an_unedited_schema_changes_nothing(self, frame):
        plain = ml.fit(frame(PARCELS), target="y", **TINY)
        given = ml.fit(frame(PARCELS), target="y", schema=ml.infer_schema(frame(PARCELS)), **TINY)
        assert given.schema == plain.schema
        assert np.array_equal(given.predict(frame(PARCELS)), plain.predict(frame(PARCELS)))

    def test_columns_of_the_table_and_the_schema_must_agree(self):
        schema = ml.infer_schema({**PARCELS, "gone": COUNT})
        with pytest.raises(
            SchemaError, match=r"(?s)The schema has the column 'gone'.*The schema lacks .*'new'"
        ):
            ml.fit({**PARCELS, "new": COUNT}, target="y", schema=schema)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("no json", "holds something else"),
            ("[1]", "holds something else"),
            ('{"columns": [{"name": "zip"}]}', "A kind must be one of"),
            ('{"columns": [{"name": "zip", "kind": "catgory"}]}', "Did you mean 'category'"),
            (
                '{"columns": [{"name": "zip", "kind": "number", "colour": 1}]}',
                "'zip' has 'colour'",
            ),
        ],
    )
    def test_refuses_a_file_that_holds_none(self, text, message):
        Path("s.json").write_text(text)
        with pytest.raises(ConfigError, match=message):
            ml.fit(PARCELS, target="y", schema="s.json")

    def test_refuses_an_absent_file(self):
        with pytest.raises(ConfigError, match=r"'nowhere.json' cannot be read"):
            ml.fit(PARCELS, target="y", schema="nowhere.json")

    def test_edits_of_absent_columns_name_the_nearest(self):
        schema = ml.infer_schema(PARCELS)
        with pytest.raises(SchemaError, match="Did you mean 'zip'"):
            schema.replace("zpi", kind="category")
        with pytest.raises(SchemaError, match="Did you mean 'size'"):
            schema.without("siez")

    def test_edits_that_have_no_meaning_are_refused(self):
        schema = ml.infer_schema(PARCELS)
        with pytest.raises(ConfigError, match="zone is for columns of kind date; 'zip' is number"):
            schema.replace("zip", zone="Europe/Oslo")
        with pytest.raises(ConfigError, match="infinite is for columns of kind number or duration"):
            schema.replace("size", infinite="clip")
        assert schema.replace("zip", kind="date", zone="+02:00")["zip"].zone == "+02:00"


class TestDifferencesAtPrediction:
    def test_are_named_all_at_once(self, frame):
        columns = {
            "age": repeated(30, 40, 55),
            "city": repeated("Oslo", "Rome"),
            "sold": repeated("yes", "no"),
            "at": repeated("08:15", "09:30", "10:00"),
            "when": repeated("2024-01-31", "2024-02-01"),
            "size": repeated(1.0, 2.5, 3.0),
        }
        model = fitted(frame, columns)
        strange = {
            "age": ["30", "old", "ancient"],
            "sold": ["yes", "no", "perhaps"],
            "at": ["08:15", "25:00", None],
            "when": ["2024-01-31", None, "soon"],
            "sizes": [1.0, 2.0, 3.0],
            "colour": ["red", "red", "red"],
        }
        with pytest.raises(SchemaError) as caught:
            model.predict(frame(strange))
        lines = str(caught.value).splitlines()
        assert len(lines) == 6
        assert "the columns 'city', 'size', which this table lacks. Did you mean 'sizes'?" in lines[0]
        assert "the columns 'sizes', 'colour', which this table has" in lines[1]
        for line, column, row, value in zip(
            lines[2:],
            ("age", "sold", "at", "when"),
            (2, 3, 2, 3),
            ("old", "perhaps", "25:00", "soon"),
            strict=True,
        ):
            assert f"Column '{column}'" in line
            assert f"row {row} holds '{value}'" in line

    def test_many_are_cut_short(self):
        names = [f"c{i}" for i in range(50)]
        schema = infer_schema({name: [1, 2] for name in names})
        with pytest.raises(SchemaError, match=r"(?s)'c29'.*So do 20 more columns"):
            check(read_table({name: ["x", "y"] for name in names}), schema)


class TestManyColumns:
    def test_5000_are_quick_and_print_in_short(self):
        rng = np.random.default_rng(0)
        table = Table({f"x{i}": rng.integers(0, 30, 20).astype(float) for i in range(5_000)})
        started = clock.process_time()
        schema = infer_schema(table)
        check(table, schema)
        batch = Encoder.fit(table, schema).transform(table)
        text = str(schema)
        assert clock.process_time() - started < 20
        assert batch.num.shape == (20, 10_000)
        assert len(text.splitlines()) == 52
        assert text.endswith("4,950 number")


def test_a_printed_schema_reads_well_for_every_kind():
    columns = {name: repeated(*values, n=50) for name, values in KINDS_AND_VALUES.items()}
    columns["ordered"] = repeated("low", "high", n=50)
    columns["same"] = [1] * 50
    schema = infer_schema(columns, kinds={"ordered": ["low", "high"]})
    assert str(schema).splitlines() == [
        "column        kind      missing  distinct  range or levels",
        "number        number          0         4  1.5 to 8",
        "two           number          0         2  1 to 3",
        "boolean       boolean         0         2",
        "yes           boolean         0         2",
        "category      category        0         3  green, red, blue",
        "date          date            0        29  2024-01-01 01:00 to 2024-01-29 05:00",
        "date as text  date            0         3  2023-12-24 to 2024-02-28",
        "time          time            0         3  00:00:01 to 20:30",
        "duration      duration        0         3  -3 min to 2 d",
        "text          text            0        25  6 to 6 words; 50 % distinct, 100 % with 3 words or more",
        "ordered       ordered         0         2  low < high; as declared",
        "same          ignored                      constant",
    ]


def test_a_model_file_of_0_1_0_loads_and_predicts_the_same():
    stored = json.loads((FILES / "model_0_1_0.json").read_text())
    model = ml.Model.load(FILES / "model_0_1_0.safetensors")
    assert [feature.name for feature in model.encoder.num_features] == stored["features"]
    assert np.allclose(model.predict_proba(stored["table"]), stored["probabilities"], rtol=0, atol=1e-6)
    batch = model.encoder.transform(read_table(stored["table"]))
    assert np.allclose(batch.num, stored["num"], rtol=0, atol=1e-6)
    assert batch.cat.tolist() == stored["cat"]


def test_a_column_of_an_old_file_has_the_defaults_of_what_came_later():
    assert Column(name="a", kind="number").zone is None
    assert ml.Schema.from_json({"columns": [{"name": "a", "kind": "number", "levels": []}], "ignored": {}})


@pytest.mark.parametrize("digit", ["¹", "²", "①", "٣"])
def test_digits_that_are_no_figures_are_levels(digit: str) -> None:
    schema = infer_schema({"a": [digit, "x", digit, "x"] * 5, "b": list(range(20))}, kinds={"a": "category"})
    assert set(schema["a"].levels) == {digit, "x"}
