"""Tables as people have them go through fit, save, load and predict: one case a row, pandas and polars."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import narwhals.stable.v1 as nw_v1
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest
from scipy import sparse

from multilayer import (
    ConfigError,
    DataError,
    MLPRegressor,
    Model,
    SchemaError,
    TableWarning,
    fit,
    infer_schema,
    read_table,
)
from multilayer.model.file import unpack
from multilayer.model.format import parts_of
from multilayer.model.networks import network_of
from multilayer.nn.networks import NetworkConfig
from multilayer.table.sources.notation import Notation

N_ROWS = 20
ROWS = range(N_ROWS)
Y = [i + 0.5 for i in ROWS]
TINY: dict[str, Any] = {"members": 1, "hidden": 2, "epochs": 1, "batch_size": 32}


def gaps(values: list[Any], every: int = 5, gap: Any = None) -> list[Any]:
    return [gap if i % every == 1 else value for i, value in enumerate(values)]


def pandas_column(values: list[Any], dtype: Any = None) -> Callable[[str], Any]:
    return lambda library: pd.Series(values, dtype=dtype) if library == "pandas" else pl.Series(values)


def typed(values: list[Any], pandas: Any, polars: Any) -> Callable[[str], Any]:
    return lambda library: (
        pd.Series(values, dtype=pandas) if library == "pandas" else pl.Series(values, dtype=polars)
    )


def plain(values: list[Any]) -> Callable[[str], Any]:
    return typed(values, None, None)


def frame_of(library: str, columns: dict[Any, Any]) -> Any:
    return pd.DataFrame(columns) if library == "pandas" else pl.DataFrame(columns)


def saved_and_loaded(model: Model, tmp_path: Path) -> Model:
    model.save(tmp_path / "m.mlp")
    return Model.load(tmp_path / "m.mlp")


@dataclass(frozen=True)
class Case:
    """A column "x" beside the target "y": what its columns are called, their kinds and numbers missing."""

    column: Callable[[str], Any]
    names: tuple[str, ...] = ("x",)
    kind: str = "number"
    n_missing: int = 0
    high: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)


WHOLE = list(ROWS)
HALVES = [i / 2 for i in ROWS]
ARROW = pd.ArrowDtype
PL = pl.Float64
E2 = [[float(i), i * i / 7] for i in ROWS]
DICTS = [{"a": i, "b": i % 3 == 0} for i in ROWS]
US = [f"{i * 1234:,}.5" for i in ROWS]  # 1,234.5
DE = [text.translate(str.maketrans(",.", ".,")) for text in US]

CASES: dict[str, Case] = {
    "int8": Case(typed(WHOLE, "int8", pl.Int8), high=19),
    "uint64": Case(typed(WHOLE, "uint64", pl.UInt64), high=19),
    "nullable integers": Case(typed(gaps(WHOLE), "Int64", pl.Int64), n_missing=4, high=19),
    "nullable floats": Case(typed(gaps(HALVES), "Float64", pl.Float64), n_missing=4, high=9.5),
    "nullable booleans": Case(
        typed(gaps([i % 2 == 0 for i in ROWS]), "boolean", pl.Boolean), kind="boolean", n_missing=4
    ),
    "arrow integers": Case(typed(gaps(WHOLE), ARROW(pa.int16()), pl.Int16), n_missing=4, high=19),
    "arrow booleans": Case(
        typed(gaps([i % 2 == 0 for i in ROWS]), ARROW(pa.bool_()), pl.Boolean), kind="boolean", n_missing=4
    ),
    "arrow text": Case(
        typed(gaps(["p", "q"] * 10), ARROW(pa.string()), pl.String), kind="category", n_missing=4
    ),
    "float16": Case(typed(HALVES, "float16", pl.Float16), high=9.5),
    "128 bits": Case(typed(gaps(WHOLE), object, pl.Int128), n_missing=4, high=19),
    "decimals": Case(
        typed([Decimal(i) / 4 for i in ROWS], ARROW(pa.decimal128(10, 2)), pl.Decimal(10, 2)), high=4.75
    ),
    "objects that are decimals": Case(
        typed(gaps([Decimal(i) / 4 for i in ROWS]), object, pl.Decimal(10, 2)), n_missing=4, high=4.75
    ),
    "NaN": Case(plain(gaps(HALVES, gap=float("nan"))), n_missing=4, high=9.5),
    "NA among objects": Case(typed(gaps(WHOLE, gap=None), object, pl.Int64), n_missing=4, high=19),
    "NaT": Case(
        typed(gaps([date(2024, 1, 1 + i) for i in ROWS]), "datetime64[s]", pl.Date), kind="date", n_missing=4
    ),
    "empty text": Case(plain(gaps(["p", "q"] * 10, gap="")), kind="category", n_missing=4),
    "white space": Case(plain(gaps(["p", "q"] * 10, gap=" \t\n ")), kind="category", n_missing=4),
    "blanks among numbers in text": Case(plain(gaps(list(map(str, WHOLE)), gap=" ")), n_missing=4, high=19),
    "a mark": Case(
        plain(gaps(list(map(str, WHOLE)), gap="?")), n_missing=4, high=19, settings={"missing": "?"}
    ),
    "a number as mark": Case(
        plain(gaps(WHOLE, gap=-999)), n_missing=4, high=19, settings={"missing": ("n/a", -999)}
    ),
    "a number in text as mark": Case(
        plain(gaps(list(map(str, HALVES)), gap="-999.0")), n_missing=4, settings={"missing": -999}
    ),
    "a mark in one column": Case(plain(gaps(WHOLE, gap=0)), n_missing=5, settings={"missing": {"x": 0}}),
    "a date as mark": Case(
        typed(gaps([date(2024, 1, 1 + i) for i in ROWS], gap=date(1900, 1, 1)), "datetime64[s]", pl.Date),
        kind="date",
        n_missing=4,
        settings={"missing": "1900-01-01"},
    ),
    "thousands": Case(plain(gaps(US)), n_missing=4, high=23446.5, settings={"thousands": ","}),
    "decimal comma": Case(
        plain(gaps(DE, gap="-")),
        n_missing=4,
        high=23446.5,
        settings={"thousands": ".", "decimal": ",", "missing": "-"},
    ),
    "lists": Case(typed(E2, None, pl.List(pl.Float32)), names=("x[0]", "x[1]"), high=361 / 7),
    "lists with gaps": Case(plain(gaps(E2)), names=("x[0]", "x[1]"), n_missing=4),
    "lists with gaps inside": Case(
        plain([[i, None if i % 5 else i] for i in ROWS]), names=("x[0]", "x[1]"), n_missing=16
    ),
    "arrays": Case(
        lambda library: (
            pd.Series(list(np.array(E2, dtype=np.float32)))
            if library == "pandas"
            else pl.Series(E2, dtype=pl.Array(pl.Float32, 2))
        ),
        names=("x[0]", "x[1]"),
    ),
    "arrow lists": Case(
        typed(gaps(E2), ARROW(pa.list_(pa.float32())), pl.List(pl.Float64)),
        names=("x[0]", "x[1]"),
        n_missing=4,
    ),
    "arrow lists of one size": Case(
        typed(gaps(E2), ARROW(pa.list_(pa.float32(), 2)), pl.Array(pl.Float64, 2)),
        names=("x[0]", "x[1]"),
        n_missing=4,
    ),
    "dicts": Case(plain(DICTS), names=("x.a", "x.b"), kind="boolean"),
    "arrow structs with gaps": Case(
        typed(gaps(DICTS), ARROW(pa.struct({"a": pa.int64(), "b": pa.bool_()})), None),
        names=("x.a", "x.b"),
        kind="boolean",
        n_missing=4,
    ),
    "lists in dicts": Case(plain([{"e": pair} for pair in E2]), names=("x.e[0]", "x.e[1]")),
    "all missing but two": Case(plain([None] * 18 + [1.0, 2.0]), n_missing=18, high=2),
}  # fmt: skip


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_column_goes_through_fit_save_load_and_predict(case: Case, library: str, tmp_path: Path) -> None:
    frame = frame_of(library, {"x": case.column(library), "y": Y})
    model = fit(frame, target="y", **TINY, **case.settings)
    loaded = saved_and_loaded(model, tmp_path)

    assert loaded.schema.names == case.names
    last = loaded.schema[case.names[-1]]
    assert (last.kind, last.n_missing) == (case.kind, case.n_missing)
    assert case.high is None or last.high == pytest.approx(case.high, rel=1e-6)
    predicted = loaded.predict(frame)
    assert np.array_equal(predicted, model.predict(frame))
    for row in (0, 1):  # a gap of most cases is in row 1: alone, it has the dtype of a frame and no value
        np.testing.assert_allclose(loaded.predict(frame[row : row + 1]), predicted[row : row + 1], rtol=1e-5)
    assert loaded.evaluate(frame)["rmse"] > 0


class Stream:
    """What a library of frames that nobody knows offers."""

    def __init__(self, table: pa.Table) -> None:
        self.table, self.schema = table, table.schema

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


X = {"a": HALVES, "b": ["p", "q"] * 10}
XY = X | {"y": Y}
RECORDS = [dict(zip(XY, row, strict=True)) for row in zip(*XY.values(), strict=True)]
STRUCTURED = np.array([(i / 2, "pq"[i % 2], i) for i in ROWS], dtype=[("a", "f2"), ("b", "U1"), ("y", "f8")])

SOURCES: dict[str, Callable[[], Any]] = {
    "mapping": lambda: XY,
    "records": lambda: RECORDS,
    "tuple of records": lambda: tuple(RECORDS),
    "pandas": lambda: pd.DataFrame(XY),
    "polars": lambda: pl.DataFrame(XY),
    "polars lazy": lambda: pl.LazyFrame(XY),
    "arrow table": lambda: pa.table(XY),
    "arrow batch": lambda: pa.RecordBatch.from_pydict(XY),
    "arrow reader": lambda: pa.table(XY).to_reader(),
    "arrow dataset": lambda: pyarrow.dataset.dataset(pa.table(XY)),
    "arrow stream": lambda: Stream(pa.table(XY)),
    "narwhals": lambda: nw.from_native(pl.DataFrame(XY)),
    "narwhals v1": lambda: nw_v1.from_native(pd.DataFrame(XY)),
    "duckdb relation": lambda: duckdb.from_arrow(pa.table(XY)),
    "structured": lambda: STRUCTURED,
    "records of NumPy": lambda: STRUCTURED.view(np.recarray),
    "blanks around names": lambda: pd.DataFrame({f" {name}\t": values for name, values in XY.items()}),
}


@pytest.fixture(scope="module")
def of_mapping() -> Model:
    return fit(XY, target="y", **TINY)


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())
def test_every_source_predicts_alike(make: Callable[[], Any], of_mapping: Model) -> None:
    np.testing.assert_array_equal(of_mapping.predict(make()), of_mapping.predict(XY))


def test_a_lazy_frame_is_said_to_be_collected() -> None:
    model = fit(pl.LazyFrame(XY), target="y", **TINY)
    assert model.summary["decisions"][0] == "read: a lazy frame was collected into memory"


ARRAYS: dict[str, Any] = {
    "int": np.arange(40).reshape(20, 2),
    "object": np.array([[i, f"{i % 2}x"] for i in ROWS], dtype=object),
    "masked": np.ma.masked_equal(np.arange(40.0).reshape(20, 2), 4),
    "matrix": np.matrix(np.arange(40).reshape(20, 2)),
    "text": np.array([[f"{i}", f"{i % 2}x"] for i in ROWS]),
    "dates": np.arange(40).reshape(20, 2).astype("datetime64[D]"),
    "csr": sparse.csr_array(np.arange(40.0).reshape(20, 2)),
    "csc": sparse.csc_matrix(np.arange(40).reshape(20, 2)),
    "entries twice": sparse.coo_array(
        (np.arange(40.0), ([*ROWS, *ROWS], [i % 2 for i in ROWS] * 2)), shape=(20, 2)
    ),
    "entries twice, by column": sparse.csc_array(
        (np.arange(40.0), np.tile(np.repeat(ROWS[:10], 2), 2), [0, 20, 40]), shape=(20, 2)
    ),
    "bool": sparse.csr_array(np.arange(40).reshape(20, 2) % 3 == 0),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_go_through_fit_save_load_and_predict(array: Any, tmp_path: Path) -> None:
    loaded = saved_and_loaded(fit(array, y=Y, **TINY), tmp_path)
    assert loaded.schema.names == ("x0", "x1")
    predicted = loaded.predict(array)
    assert predicted.shape == (N_ROWS,)
    if sparse.issparse(array):
        np.testing.assert_array_equal(predicted, loaded.predict(array.toarray()))
    first = array.tocsr()[:1] if sparse.issparse(array) else array[:1]
    np.testing.assert_allclose(loaded.predict(first), predicted[:1], rtol=1e-5)


def test_sparse_columns_of_pandas_predict_as_dense_ones(tmp_path: Path) -> None:
    dense = np.where(np.arange(60).reshape(20, 3) % 4 == 0, np.arange(60).reshape(20, 3), 0)
    frame = pd.DataFrame.sparse.from_spmatrix(sparse.csr_array(dense), columns=["a", "b", "c"]).assign(y=Y)
    model = saved_and_loaded(fit(frame, target="y", missing=8, **TINY), tmp_path)
    assert model.schema["c"].n_missing == 1
    as_dense = pd.DataFrame(dense, columns=["a", "b", "c"])
    np.testing.assert_array_equal(model.predict(frame), model.predict(as_dense))


NAMES: dict[str, tuple[list[Any], list[str]]] = {
    "empty": (["", "b"], ["Unnamed: 0", "b"]),
    "with spaces, newlines, signs": (["a b\nc", 'ü "{}[x] ÷ 木'], ["a b\nc", 'ü "{}[x] ÷ 木']),
    "blanks around": ([" a", "b\t"], ["a", "b"]),
    "of one letter in both cases": (["A", "a"], ["A", "a"]),
    "numbers": ([0, 1], ["0", "1"]),
    "floats": ([0.0, 1.5], ["0", "1.5"]),
    "dates": (list(pd.date_range("2024", periods=2)), ["2024-01-01 00:00:00", "2024-01-02 00:00:00"]),
    "levels": ([("a", "x"), ("a", "")], ["a.x", "a"]),
    "none": ([None, "b"], ["Unnamed: 0", "b"]),
}


@pytest.mark.parametrize(("names", "expected"), NAMES.values(), ids=NAMES.keys())
def test_odd_names_are_the_same_at_fit_and_prediction(
    names: list[Any], expected: list[str], tmp_path: Path
) -> None:
    frame = pd.DataFrame(np.arange(40.0).reshape(20, 2), columns=pd.Index(names, tupleize_cols=True))
    model = saved_and_loaded(fit(frame, y=Y, kinds={names[1]: "number"}, **TINY), tmp_path)
    assert list(model.schema.names) == expected
    predicted = model.predict(frame)
    if "Unnamed: 0" not in expected:  # a column without a name is known by its place alone
        np.testing.assert_array_equal(predicted, model.predict(frame[frame.columns[::-1]]))
    np.testing.assert_array_equal(
        predicted, model.predict(dict(zip(expected, frame.to_numpy().T, strict=True)))
    )
    if all(isinstance(name, str) for name in names):
        polars = pl.DataFrame(dict(zip(names, frame.to_numpy().T, strict=True)))
        np.testing.assert_array_equal(predicted, model.predict(polars))
        polars.write_parquet("t.parquet")
        np.testing.assert_array_equal(predicted, model.predict("t.parquet"))
        polars.write_csv("t.csv")
        np.testing.assert_array_equal(predicted, model.predict("t.csv"))


def test_a_target_and_dropped_columns_may_have_names_that_are_no_text() -> None:
    frame = pd.DataFrame(np.arange(80.0).reshape(20, 4))
    model = fit(frame, target=3, drop=[1], **TINY)
    assert (model.target, model.schema.names, model.dropped) == ("3", ("0", "2"), ("1",))
    assert len(model.predict(frame)) == N_ROWS


def test_dropped_columns_may_hold_anything() -> None:
    table = {"x": WHOLE, "image": [1j] * N_ROWS, "y": Y}
    with pytest.raises(DataError, match=r"Column 'image' holds values of type complex.*drop=\['image'\]"):
        fit(table, target="y", **TINY)
    model = fit(table, target="y", drop="image", **TINY)
    assert model.schema.names == ("x",)
    assert len(model.predict(table)) == N_ROWS


def test_lists_of_another_length_at_prediction_are_refused() -> None:
    model = fit({"e": E2, "y": Y}, target="y", **TINY)
    with pytest.raises(
        SchemaError, match=r"'e' held lists of 2 numbers .* they have 3 numbers in this table"
    ):
        model.predict({"e": [[1, 2, 3]]})
    with pytest.raises(SchemaError, match=r"'e' held lists or dicts .* it holds neither in this table"):
        model.predict({"e": [3]})
    assert len(model.predict({"e[0]": [1.0], "e[1]": [2]})) == 1
    assert len(model.predict({"e": [None]})) == 1


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_estimators_take_lists_and_blanks_around_names(library: str) -> None:
    frame = frame_of(library, {"e": E2, " a": HALVES})
    regressor = MLPRegressor(max_iter=1, members=1, hidden_layer_sizes=2).fit(frame, Y)
    assert regressor.model_.schema.names == ("e[0]", "e[1]", "a")
    np.testing.assert_array_equal(regressor.predict(frame), regressor.model_.predict(frame))


REFUSED: dict[str, tuple[list[Any], str]] = {
    "ragged": ([[1], [1, 2]], "'x' has 1 numbers in row 1 and 2 in row 2"),
    "nested": ([[[1]], [[2]]], "Column 'x' holds lists within lists"),
    "text": ([["a"], ["b"]], "Column 'x' holds lists of other things than numbers"),
    "empty": ([[], []], "Column 'x' holds empty lists"),
}


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_columns_that_are_no_columns_are_refused(values: list[Any], message: str, library: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(frame_of(library, {"x": values, "y": [1.0, 2.0]}), target="y")


@pytest.mark.parametrize(
    "source",
    [
        pd.DataFrame(np.ones((3, 3)), columns=["a", "a", "y"]),
        pd.DataFrame(np.ones((3, 3)), columns=["a", " a ", "y"]),
        pd.DataFrame(np.ones((3, 3)), columns=[1, "1", "y"]),
        pl.DataFrame({"a": [1], "a ": [2], "y": [1]}),
        {"e": [[1]], "e[0]": [2], "y": [1]},
        "relation",
    ],
)
def test_two_columns_of_one_name_are_refused(source: Any) -> None:
    if isinstance(source, str):
        source = duckdb.sql("SELECT 1 AS a, 2 AS a, 3 AS y")
    with pytest.raises(DataError, match=r"Column names must differ; '.*' occurs more than once"):
        fit(source, target="y")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"missing": object()}, "A mark of missing values must be text, a number or a date"),
        ({"missing": {"q": 1}}, "missing names the column 'q', which the table does not have"),
        ({"thousands": ".."}, r"thousands must be one of .*; got '\.\.'"),
        ({"thousands": "."}, r"thousands and decimal must differ; both are '\.'.*decimal=','"),
        ({"decimal": "x"}, "decimal must be one of"),
        ({"query": "SELECT 1"}, r"query= reads from a database.*got dict. Pass duckdb.sql\(query\)"),
    ],
)
def test_settings_that_are_none_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(XY, target="y", **settings)


def test_one_value_that_is_no_number_is_named_and_not_its_column() -> None:
    model = fit({"x": US, "y": Y}, target="y", thousands=",", **TINY)
    with pytest.raises(SchemaError, match="row 2 holds 'five'"):
        model.predict({"x": ["1,234.5", "five"]})


def test_codes_are_no_numbers_with_thousands() -> None:
    model = fit({"x": HALVES, "zip": ["01,234", "98,178"] * 10, "y": Y}, target="y", thousands=",", **TINY)
    assert model.schema["zip"].kind == "category"


def test_a_target_with_separators_is_a_number() -> None:
    table = {"x": HALVES, "y": DE}
    model = fit(table, target="y", thousands=".", decimal=",", **TINY)
    assert model.task.kind == "regression"
    assert model.evaluate({"x": [1.0, 2.0], "y": ["1.234,5", "7"]})["rmse"] > 0


def test_a_validation_table_is_read_in_the_same_notation() -> None:
    table = {"x": gaps(US, gap="?"), "y": Y}
    model = fit(table, target="y", thousands=",", missing="?", validation=table, **TINY)
    assert model.summary["rows"] == {"train": N_ROWS, "validation": N_ROWS}


def test_a_model_file_that_knows_of_no_notation_loads(of_mapping: Model) -> None:
    meta, arrays = unpack(of_mapping.to_bytes(), "it", "")
    assert meta.pop("notation")["missing"] == []
    loaded = Model(**parts_of(meta, arrays, NetworkConfig, network_of))
    np.testing.assert_array_equal(loaded.predict(XY), of_mapping.predict(XY))


def test_a_notation_survives_json() -> None:
    for missing in (["?", -9], {"a": "?", "b": [0, date(1900, 1, 1)]}):
        notation = Notation.declare(missing, "'", ",")
        assert Notation.from_json(json.loads(json.dumps(notation.to_json()))) == notation


class TestDatabases:
    @pytest.fixture
    def duck(self, tmp_path: Path) -> Path:
        path = tmp_path / "homes.duckdb"
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE TABLE homes AS SELECT i::HUGEINT AS a, [i, i * i]::FLOAT[2] AS e, "
                               "{'k': i % 3} AS d, i + 0.5 AS y FROM range(20) t(i)")  # fmt: skip
        return path

    @pytest.fixture
    def lite(self, tmp_path: Path) -> Path:
        path = tmp_path / "homes.db"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE homes (a REAL, b TEXT, y REAL)")
        connection.executemany("INSERT INTO homes VALUES (?, ?, ?)", [tuple(row.values()) for row in RECORDS])
        connection.commit()
        connection.close()
        return path

    def test_a_file_of_duckdb(self, duck: Path, tmp_path: Path) -> None:
        before = duck.read_bytes()
        model = saved_and_loaded(fit(duck, target="y", query="SELECT * FROM homes", **TINY), tmp_path)
        assert model.schema.names == ("a", "e[0]", "e[1]", "d.k")
        assert len(model.predict(str(duck), query="SELECT a, e, d FROM homes LIMIT 3")) == 3
        assert model.evaluate(duck, query="FROM homes")["rmse"] > 0
        assert duck.read_bytes() == before

    def test_a_file_of_sqlite(self, lite: Path, of_mapping: Model) -> None:
        predicted = of_mapping.predict(lite, query="SELECT a, b FROM homes")
        np.testing.assert_array_equal(predicted, of_mapping.predict(XY))

    def test_connections(self, lite: Path, of_mapping: Model) -> None:
        expected = of_mapping.predict(XY)
        open_lite = sqlite3.connect(lite)
        np.testing.assert_array_equal(of_mapping.predict(open_lite, query="SELECT * FROM homes"), expected)
        open_lite.close()
        with duckdb.connect() as connection:
            connection.register("homes", pa.table(XY))
            np.testing.assert_array_equal(of_mapping.predict(connection, query="FROM homes"), expected)
            np.testing.assert_array_equal(of_mapping.predict(connection.table("homes")), expected)

    @pytest.mark.parametrize("kind", ["duck", "lite"])
    def test_a_missing_query_lists_the_tables(self, kind: str, request: pytest.FixtureRequest) -> None:
        with pytest.raises(
            DataError, match=r"which rows to read; its tables: 'homes'.*SELECT \* FROM \"homes\""
        ):
            fit(request.getfixturevalue(kind), target="y")

    @pytest.mark.parametrize("kind", ["duck", "lite"])
    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("SELECT * FROM home", "The query 'SELECT .* FROM home' failed: .*home"),
            (
                "DROP TABLE homes",
                "'DROP TABLE homes' (failed: .*readonly|gives none)",
            ),
            ("COPY homes TO 'homes.csv'", "COPY homes TO .*(failed|gives none)"),
            ("SELECT * FROM homes WHERE y < 0", "at least one row"),
            ("", "A connection needs a query"),
        ],
    )
    def test_queries_that_fail(
        self, kind: str, query: str, message: str, request: pytest.FixtureRequest
    ) -> None:
        with pytest.raises(DataError, match=message) as caught:
            fit(request.getfixturevalue(kind), target="y", query=query)
        assert "\n" not in str(caught.value)

    def test_a_query_over_files(self, of_mapping: Model) -> None:
        pl.DataFrame(XY).write_parquet("t.parquet")
        pl.DataFrame(XY).write_csv("t.csv")
        expected = of_mapping.predict(XY)[:4]
        query = "SELECT a, b FROM self WHERE y < 4"
        np.testing.assert_array_equal(of_mapping.predict("t.parquet", query=query), expected)
        np.testing.assert_array_equal(of_mapping.predict("t.csv", query=query), expected)
        query = "SELECT a, b FROM 't.parquet' WHERE y < 4"
        np.testing.assert_array_equal(of_mapping.predict(None, query=query), expected)

    def test_a_query_sees_no_variable_of_the_program_and_no_network(self) -> None:
        frame = pd.DataFrame(XY)
        with pytest.raises(DataError, match="failed: Table with name frame does not exist"):
            fit(None, target="y", query="SELECT * FROM frame")
        assert len(frame) == N_ROWS
        with pytest.raises(DataError, match=r"failed: .*httpfs"):
            fit(None, target="y", query="SELECT * FROM 'https://localhost:1/t.csv'")

    def test_a_file_that_is_no_database(self) -> None:
        for content in (b"not a database" * 1000, b"SQLite format 3" * 1000):
            Path("t.duckdb").write_bytes(content)
            with pytest.raises(DataError, match=r"'t.duckdb' cannot be opened as a database of DuckDB or"):
                fit("t.duckdb", target="y", query="FROM t")

    def test_an_engine_of_sqlalchemy_is_sent_to_pandas(self) -> None:
        engine = type("Engine", (), {"__module__": "sqlalchemy.engine.base"})()
        with pytest.raises(
            DataError, match=r"got sqlalchemy.engine.base.Engine. Read it with pandas.read_sql"
        ):
            fit(engine, target="y")


class TestFiles:
    @pytest.mark.parametrize(
        "write",
        [
            lambda path: pl.DataFrame(XY).write_csv(path / "t.csv"),
            lambda path: pd.DataFrame(XY).to_csv(path / "t.csv.gz", index=False),
            lambda path: (path / "t.csv.zst").write_bytes(
                pa.compress(pl.DataFrame(XY).write_csv().encode(), "zstd", asbytes=True)
            ),
            lambda path: pl.DataFrame(XY).write_csv(path / "t.tsv", separator="\t"),
            lambda path: pl.DataFrame(XY).write_csv(path / "t.csv", separator=";"),
            lambda path: pl.DataFrame(XY).write_csv(path / "t.csv", include_bom=True),
            lambda path: pl.DataFrame(XY).write_ndjson(path / "t.jsonl"),
            lambda path: pl.DataFrame(XY).write_ndjson(path / "t.json"),
            lambda path: (path / "t.json").write_text(json.dumps(RECORDS)),
            lambda path: (path / "t.json").write_text(json.dumps(XY)),
            lambda path: pd.DataFrame(XY).to_json(path / "t.ndjson.gz", orient="records", lines=True),
            lambda path: pl.DataFrame(XY).write_parquet(path / "t.parquet"),
            lambda path: pl.DataFrame(XY).write_ipc(path / "t.arrow", compression="zstd"),
            lambda path: pl.DataFrame(XY).write_ipc_stream(path / "t.arrow"),
            lambda path: pd.DataFrame(XY).to_feather(path / "t.feather"),
        ],
    )
    def test_every_format_predicts_alike(self, write: Any, of_mapping: Model, tmp_path: Path) -> None:
        folder = tmp_path / "files"
        folder.mkdir()
        write(folder)
        (path,) = folder.iterdir()
        for source in (path, folder, [str(path)], str(folder / "t.*")):
            np.testing.assert_array_equal(of_mapping.predict(source), of_mapping.predict(XY))

    @pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl", "arrow"])
    def test_several_files_are_one_table(self, ending: str, of_mapping: Model, tmp_path: Path) -> None:
        writers = {"csv": pl.DataFrame.write_csv, "parquet": pl.DataFrame.write_parquet,
                   "jsonl": pl.DataFrame.write_ndjson, "arrow": pl.DataFrame.write_ipc}  # fmt: skip
        folder = tmp_path / "parts"
        (folder / "below").mkdir(parents=True)
        (folder / "_SUCCESS").touch()
        frame = pl.DataFrame(XY)
        writers[ending](frame[:7], folder / f"1.{ending}")
        writers[ending](frame[7:].select("y", "b", "a"), folder / "below" / f"2.{ending}")
        paths = [folder / f"1.{ending}", folder / "below" / f"2.{ending}"]
        for source in (folder, str(folder / "**" / f"*.{ending}"), paths):
            np.testing.assert_array_equal(of_mapping.predict(source), of_mapping.predict(XY))
        model = fit(folder, target="y", **TINY)
        assert "2 files read as one table" in model.summary["decisions"][0]

    def test_folders_of_a_partition_become_columns(self, tmp_path: Path) -> None:
        root = tmp_path / "place=here" / "sales"
        table = pa.table(XY | {"year": [2023, 2024] * 10, "c": ["u", "v"] * 10})
        root.parent.mkdir()
        duckdb.from_arrow(table).write_parquet(str(root), partition_by=["year", "c"])
        model = fit(root, target="y", **TINY)
        assert model.schema.names == ("a", "b", "year", "c")
        assert model.schema["year"].kind == "number"
        assert fit(str(root / "*" / "*" / "*.parquet"), target="y", **TINY).schema == model.schema
        with pytest.raises(SchemaError, match="'year', 'c', which this table lacks"):
            model.predict(next(root.rglob("*.parquet")))

    def test_a_column_that_is_text_in_one_of_the_files_is_text_in_all(self) -> None:
        Path("1.csv").write_text("a,y\n1.50,1\n2,2\n")
        Path("2.csv").write_text("a,y\nx,3\n,4\n2,5\n")
        model = fit("[12].csv", target="y", task="regression", **TINY)
        assert (model.schema["a"].kind, model.schema["a"].n_missing) == ("category", 1)
        assert model.schema["a"].levels == ("2",)

    def test_numbers_in_a_file_are_read_as_declared(self) -> None:
        Path("t.csv").write_text("a;y\n1.234;1,5\n2.000;2,5\n?;3,5\n" + "1;4\n" * 5)
        model = fit("t.csv", target="y", missing="?", thousands=".", decimal=",", **TINY)
        assert (model.schema["a"].high, model.schema["a"].n_missing, model.task.kind) == (
            2000,
            1,
            "regression",
        )
        assert len(model.predict("t.csv")) == 8

    @pytest.mark.parametrize(
        ("files", "source", "message"),
        [
            ({}, "*.csv", "No file fits the pattern '.*csv'"),
            ({"1.csv": b"a\n1\n", "2.parquet": b"x"}, "*", "must be of one kind; the pattern .* '1.csv'"),
            ({"1.csv": b"a\n1\n", "2.csv": b"b\n1\n"}, "*.csv", "the same columns; .* differ in 'a', 'b'"),
            ({"1.csv": b"a\n1\n", "2.csv": b""}, "*.csv", "'.*2.csv' is empty"),
            ({"1.csv": "a\né\n".encode("latin-1")}, "1.csv", "must be UTF-8.*encoding='latin-1'"),
            ({"1.jsonl": b'{"a": 1}\n{"a": \n'}, "1.jsonl", "line 2 of '1.jsonl' is no JSON"),
            ({"1.jsonl": b'{"a": 1}\n[1]\n'}, "1.jsonl", "line 2 of '1.jsonl' is of type list"),
            ({"1.json": b"[1, 2]"}, "1.json", "got a list with a value of type int in place 0"),
            ({"1.json": b"[1, "}, "1.json", "'1.json' cannot be read as JSON"),
            ({"1.arrow": b"no arrow"}, "1.arrow", "'1.arrow' cannot be read as an Arrow file"),
            ({"1.xls": b"PK"}, "1.xls", "read it with pandas.read_excel"),
            ({"1.csv.zst": b"no zstd"}, "1.csv.zst", "'1.csv.zst' cannot be read"),
        ],
    )  # fmt: skip
    def test_files_that_are_no_table(self, files: dict[str, bytes], source: str, message: str) -> None:
        for name, content in files.items():
            Path(name).write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            fit(source, target="y")
        assert "\n" not in str(caught.value)


def _csv(path: str, lines: list[str]) -> str:
    Path(path).write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "codes",
    [
        ["12E3", "45E1", "7A2"],
        ["1.10", "1.1", "2.0.1"],
        ["0x1F", "zz", "1e5"],
        ["1.50", "x", "2.25"],
        ["-07", "b"],
    ],
)
def test_what_a_row_is_read_as_does_not_depend_on_the_others_of_its_file(codes: list[str]) -> None:
    table = _csv("all.csv", ["code,y", *[f"{code},{10 * i}" for i, code in enumerate(codes)] * 30])
    model = fit(table, target="y", task="regression", members=1, hidden=8, epochs=2)
    together = model.predict(table)[: len(codes)]

    alone = [model.predict(_csv("one.csv", ["code", code]))[0] for code in codes]
    assert model.schema["code"].levels and alone == pytest.approx(together, abs=1e-5)
    assert len(set(together)) == len(codes)


def test_labels_are_read_as_at_fit_whatever_rows_there_are() -> None:
    table = _csv("all.csv", ["x,version", *["1,1.10", "2,1.1", "3,2.0.1"] * 20])
    model = fit(table, target="version", members=1, hidden=8, epochs=2)

    some = _csv("some.csv", ["x,version", "1,1.10", "1.5,1.10"])
    assert model.classes is not None
    wanted = model.predict_proba(some)[:, model.classes.index("1.10")]
    assert model.evaluate(some)["log_loss"] == pytest.approx(-np.log(wanted).mean())


def test_levels_that_were_declared_keep_the_digits_of_a_file() -> None:
    versions = ["1.10", "1.1", "1.20", "1.2"]
    table = _csv("versions.csv", ["version,y", *[f"{each},{i}" for i, each in enumerate(versions)] * 20])

    assert set(infer_schema(table, kinds={"version": "category"})["version"].levels) == set(versions)
    declared = fit(table, target="y", kinds={"version": "category"}, members=1, hidden=8, epochs=1)
    assert set(declared.schema["version"].levels) == set(versions)
    held = fit(
        table, target="y", kinds={"version": "category"}, validation=table, members=1, hidden=8, epochs=1
    )
    assert set(held.schema["version"].levels) == set(versions)


def test_levels_of_floats_match_those_that_a_file_wrote_with_more_digits() -> None:
    table = _csv("all.csv", ["size,y", *["1.50,0", "x,10", "2.25,20"] * 30])
    model = fit(table, target="y", task="regression", members=1, hidden=8, epochs=2)

    assert model.predict({"size": [1.5]})[0] == pytest.approx(model.predict(table)[0])


@pytest.mark.parametrize("head", ["size;rent", "size;rent;share"])
def test_points_between_thousands_are_read_as_such_in_files_and_frames(head: str) -> None:
    sizes = range(500, 2500, 10)
    written = [f"{size:,}".replace(",", ".") for size in sizes]
    lines = [";".join([text, text, "0,5"][: head.count(";") + 1]) for text in written]
    table = _csv("rents.csv", [head, *lines])
    model = fit(table, target="rent", members=2, hidden=16, epochs=3)

    assert (model.schema["size"].low, model.schema["size"].high) == (500, 2490)
    assert infer_schema({"size": written})["size"].high == 2490
    assert model.score["rmse"] > 10  # of rents, not of thousandths
    alone = _csv("one.csv", ["size", "1.500"])
    assert (
        model.predict(alone)[0] == model.predict({"size": ["1.500"]})[0] == model.predict({"size": [1500]})[0]
    )


def test_an_odd_cell_does_not_turn_thousands_into_decimals() -> None:
    written = [f"{size:,}".replace(",", ".") for size in range(500, 2500, 10)]
    table = _csv("sizes.csv", ["size;y", *[f"{text};{i}" for i, text in enumerate([*written, "x"])]])

    assert (
        infer_schema(table)["size"].high == 2490
        and infer_schema({"size": [*written, "x"]})["size"].high == 2490
    )


def test_codes_such_as_0x1f_are_levels_in_a_file_as_in_a_frame() -> None:
    codes = ["0x10", "0b11", "16"] * 20
    table = _csv("codes.csv", ["code,y", *[f"{code},{i}" for i, code in enumerate(codes)]])

    for source in (table, {"code": codes, "y": list(range(60))}):
        assert infer_schema(source)["code"].levels == ("0b11", "0x10", "16")


def _misaligned() -> tuple[pd.DataFrame, pd.Series]:
    frame = pd.DataFrame({"x": np.linspace(0, 1, 40)}, index=range(100, 140))
    return frame, (2 * frame["x"]).sort_index(ascending=False)


def test_values_in_another_order_than_the_index_of_their_table_are_told() -> None:
    frame, y = _misaligned()
    rows = frame.assign(y=2 * frame["x"])
    fast: dict[str, Any] = {"epochs": 1, "members": 1, "hidden": 4}
    with pytest.warns(TableWarning, match=", and y has the index of the table in another order"):
        fit(frame, y=y, **fast)
    with pytest.warns(TableWarning, match=", and sample_weight has the index of the table"):
        fit(rows, target="y", sample_weight=y + 1, **fast)
    with pytest.warns(TableWarning, match=", and the y of validation has the index"):
        model = fit(frame, y=y.to_numpy(), validation=(frame, y), **fast)
    model = fit(rows, target="y", **fast)
    with pytest.warns(TableWarning, match=", and sample_weight has the index of the table"):
        model.evaluate(
            pd.DataFrame({"x": [0.11, 0.12], "y": [1, 2]}), sample_weight=pd.Series([1, 2], [1, 0])
        )
    with pytest.warns(TableWarning, match=", and the column 'y' has the index of another column"):
        fit({"x": frame["x"], "y": y}, target="y", **fast)
    with pytest.warns(TableWarning, match=", and y has the index of X"):
        MLPRegressor(max_iter=1).fit(frame, y)


def test_an_index_that_says_nothing_of_order_is_not_told() -> None:
    frame, y = _misaligned()
    for same in (y.loc[frame.index], y.to_numpy(), y.to_list(), y.reset_index(drop=True)):
        fit(frame, y=same, epochs=1, members=1, hidden=4)


def test_json_as_pandas_writes_it_by_default_is_columns() -> None:
    frame = pd.DataFrame({"x": [1.5, None, 3.0], "city": ["Oslo", "Rome", None]}, index=[4, 7, 2])
    frame.to_json("frame.json")
    table = read_table("frame.json")
    assert table.names == ("x", "city") and table["city"].tolist() == ["Oslo", "Rome", None]

    Path("row.json").write_text('{"size": {"x": 1}, "place": {"x": 2}}')
    assert read_table("row.json").names == ("size.x", "place.x")


def test_a_kind_of_the_target_is_refused_and_never_passed_over(tmp_path: Path) -> None:
    table = {"x": [0.0, 1.0, 2.0, 3.5] * 20, "y": [1.0, 2.0, 4.5, 7.0] * 20}
    fast: dict[str, Any] = {"epochs": 1, "members": 1, "hidden": 4}
    with pytest.raises(ConfigError, match=r"the target 'y' was declared as 'category'.*task='multiclass'"):
        fit(table, target="y", kinds={"y": "category"}, **fast)
    edited = infer_schema(table).replace("y", kind="category")
    with pytest.raises(ConfigError, match="the target 'y' was declared as 'category'"):
        fit(table, target="y", schema=edited, **fast)
    assert fit(table, target="y", schema=edited, task="multiclass", **fast).task.kind == "multiclass"
    assert fit(table, target="y", schema=infer_schema(table), **fast).task.kind == "regression"
    words = table | {"y": ["a", "b", "c", "d"] * 20}
    assert fit(words, target="y", schema=infer_schema(words), **fast).task.kind == "multiclass"


def test_names_that_are_numbers_twice_are_said_to_be_no_header() -> None:
    with pytest.raises(DataError, match=r"header=False \(--no-header\)"):
        read_table(_csv("numbers.csv", ["0,1.5,0", "1,2.5,3"]))
    with pytest.raises(DataError, match=r"each\.$"):
        read_table(_csv("names.csv", ["a,b,a", "1,2.5,3"]))


def test_points_between_thousands_are_told_where_there_were_none_at_fit() -> None:
    table = {"size": list(range(500, 2500, 10)), "y": [3.0 * size for size in range(500, 2500, 10)]}
    model = fit(table, target="y", members=1, hidden=8, epochs=2)
    sizes = _csv("sizes.csv", ["size;z", "900;1", "1.100;2", "1.250;3"])
    with pytest.warns(
        TableWarning, match=r"'size' has points between thousands, as in '1.100', which it did not have"
    ):
        found = model.predict(sizes, extra="ignore")
    assert found == pytest.approx(model.predict({"size": [900, 1100, 1250]}))
    assert model.predict({"size": ["1.100", "2.5"]}) == pytest.approx(model.predict({"size": [1.1, 2.5]}))
