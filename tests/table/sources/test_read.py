import gzip
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from multilayer.errors import DataError
from multilayer.table.sources.read import Table, read_table


def same(values, expected) -> bool:
    expected = np.asarray(expected)
    if values.dtype != expected.dtype:
        return False
    if values.dtype == object:
        return values.tolist() == expected.tolist()
    return bool(np.array_equal(values, expected, equal_nan=values.dtype.kind in "fM"))


def texts(*values):
    return np.array(values, dtype=object)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_table_selects_drops_and_takes():
    table = Table({"a": np.arange(3), "b": np.arange(3.0), "c": texts("x", "y", "z")})
    assert table.select(["c", "a"]).names == ("c", "a")
    assert table.drop(["b"]).names == ("a", "c")
    assert table.take([2, 0])["c"].tolist() == ["z", "x"]
    assert table.take([]).n_rows == 0


def test_table_refuses_unknown_columns_with_the_nearest_name():
    table = Table({"price": np.arange(3), "rooms": np.arange(3)})
    for call in (lambda: table["pirce"], lambda: table.select(["pirce"]), lambda: table.drop(["pirce"])):
        with pytest.raises(
            DataError, match=r"no column 'pirce'. Did you mean 'price'\? Its columns: 'price', 'rooms'"
        ):
            call()


def test_table_refuses_unequal_lengths_and_no_columns():
    with pytest.raises(DataError, match="'a' has 2 rows and 'b' has 3"):
        Table({"a": np.arange(2), "b": np.arange(3)})
    with pytest.raises(DataError, match="at least one column"):
        Table({})


def test_a_table_is_returned_as_it_is():
    table = Table({"a": np.arange(2)})
    assert read_table(table) is table


CSV = "n,x,t,b,when\n1,1.5,a,true,2024-01-02\n2,NA,,false,2024-01-03\n3,-1e3,null,,\n"
CSV_COLUMNS = {
    "n": np.array([1, 2, 3]),
    "x": np.array([1.5, np.nan, -1000.0]),
    "t": texts("a", None, None),
    "b": texts("true", "false", None),
    "when": texts("2024-01-02", "2024-01-03", None),
}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(",", "|"),
        lambda text: "\n\n" + text,
        lambda text: text.rstrip("\n"),
    ],
)
def test_csv_dialects_give_the_same_table(tmp_path, change):
    table = read_table(write(tmp_path / "t.csv", change(CSV)))
    assert table.names == tuple(CSV_COLUMNS)
    assert all(same(table[name], CSV_COLUMNS[name]) for name in table.names)


def test_gzip_and_tsv_and_capital_letters_in_extensions(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    write(tmp_path / "t.TSV", CSV.replace(",", "\t"))
    for name in ("t.csv.gz", "t.TSV"):
        assert same(read_table(str(tmp_path / name))["x"], CSV_COLUMNS["x"])


@pytest.mark.parametrize("marker", ["", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null"])
def test_missing_markers_in_a_text_file(tmp_path, marker):
    table = read_table(write(tmp_path / "t.csv", f"x,t\n1,a\n{marker},{marker}\n3,c\n"))
    assert same(table["x"], [1.0, np.nan, 3.0])
    assert same(table["t"], texts("a", None, "c"))


def test_a_type_holds_for_the_whole_file_and_rows_keep_their_order(tmp_path):
    numbers = [str(i) for i in range(30_000)]
    table = read_table(write(tmp_path / "t.csv", "a,b\n" + "".join(f"{i},{i}\n" for i in numbers) + "1,x\n"))
    assert table["a"].tolist() == [*map(int, numbers), 1]
    assert table["b"].tolist() == [*numbers, "x"]


def test_booleans_and_codes_in_a_text_file_stay_as_written(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "y,zip\nTrue,01234\nFalse,98178\n"))
    assert same(table["y"], texts("True", "False"))
    assert same(table["zip"], texts("01234", "98178"))


def test_decimal_commas_are_numbers_where_semicolons_separate(tmp_path):
    assert same(read_table(write(tmp_path / "t.csv", "a;b\n1;2,5\n3;-4,25\n"))["b"], [2.5, -4.25])
    assert same(read_table(write(tmp_path / "u.csv", "a;b\n1;2.5\n3;-4.25\n"))["b"], [2.5, -4.25])


def test_quoted_fields_and_odd_names(tmp_path):
    text = '"a, b",A,a,,"c ""d"""\n"x, y",1,2,3,"say ""hi""\nthere"\n,4,5,6,\n'
    table = read_table(write(tmp_path / "t.csv", text))
    assert table.names == ("a, b", "A", "a", "Unnamed: 3", 'c "d"')
    assert same(table["a, b"], texts("x, y", None))
    assert same(table['c "d"'], texts('say "hi"\nthere', None))


def test_a_comment_sign_is_text(tmp_path):
    assert read_table(write(tmp_path / "t.csv", "a,b\n#1,2\n#3,4\n"))["a"].tolist() == ["#1", "#3"]


def test_a_file_name_is_not_a_pattern(tmp_path):
    write(tmp_path / "t1.csv", "a\n9\n")
    assert read_table(write(tmp_path / "t[1]?*'.csv", "a\n1\n"))["a"].tolist() == [1]


def test_a_folder_name_does_not_become_a_column(tmp_path):
    folder = tmp_path / "year=2024"
    folder.mkdir()
    pl.DataFrame({"a": [1, 2]}).write_parquet(folder / "t.parquet")
    assert read_table(folder / "t.parquet").names == ("a",)
    assert read_table(write(folder / "t.csv", "a\n1\n")).names == ("a",)


def test_whole_numbers_too_wide_for_a_float_keep_every_digit(tmp_path):
    table = read_table(write(tmp_path / "t.csv", f"a,b\n18446744073709551615,{2**60 + 1}\n1,\n"))
    assert same(table["a"], texts("18446744073709551615", "1"))
    assert same(table["b"], texts("1152921504606846977", None))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\n\n", "holds no text"),
        ("t.csv", b"a,b\n", "at least one row; the table '.*t.csv' has column names and no rows"),
        ("t.csv", b"a,b\n1,2\n3,4,5\n6,7\n", "line 3 of '.*t.csv' has 3 and the header 2, separated by ','"),
        ("t.csv", b"a,b\n1,2\n3\n6,7\n", "line 3 of '.*t.csv' has 1 and the header 2"),
        ("t.csv", b'a,b\n1,"x\n2,z\n', "cannot be read as text with fields separated by ','"),
        ("t.csv", b"a,b,a\n1,2,3\n", "names must differ; 'a' occurs more than once"),
        ("t.csv", "naïve,b\n1,2\n".encode("latin-1"), "must be UTF-8; '.*t.csv' holds the byte 0xef"),
        ("t.csv", b"a,b\n" + b"1,2\n" * 300_000 + b"\xff,3\n", "cannot be read as .*line 300002"),
        ("t.csv", b"\x00\x01\x02" * 100, "is not a table: it holds binary data"),
        ("t.csv.gz", b"a,b\n1,2\n", "cannot be read: Not a gzipped file"),
        (
            "t.csv.gz",
            gzip.compress(b"a,b\n1,2\n" * 100, mtime=0)[:30],
            "cannot be read: Compressed file ended",
        ),
        ("t.parquet", b"not parquet at all", "cannot be read as a Parquet file"),
        ("t.xls", b"PK", r"must end in .csv, .*; got '.*t.xls'"),
    ],
)
def test_refuses_a_file_that_is_no_table(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_refuses_a_missing_file_and_a_folder(tmp_path):
    write(tmp_path / "houses.csv", CSV)
    with pytest.raises(DataError, match=r"no file '.*huoses.csv'. Did you mean 'houses.csv'\?"):
        read_table(tmp_path / "huoses.csv")
    with pytest.raises(DataError, match="no file"):
        read_table(tmp_path / "nowhere" / "houses.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"the folder '.*empty' has none that is a table"):
        read_table(tmp_path / "empty")


RICH = {
    "i": [1, 2, 3],
    "i_none": [1, None, 3],
    "f": [1.5, None, -2.0],
    "b": [True, False, True],
    "b_none": [True, None, False],
    "t": ["x", None, "z"],
    "date": [date(2024, 1, 2), None, date(1969, 12, 31)],
    "moment": [datetime(2024, 1, 2, 3, 4, 5, 6), None, datetime(2024, 1, 2)],
    "span": [timedelta(hours=1), None, timedelta(seconds=-1.5)],
    "clock": [time(1, 2, 3), None, time(0)],
    "dec": [Decimal("1.25"), None, Decimal(3)],
    "nothing": [None, None, None],
}
RICH_COLUMNS = {
    "i": np.array([1, 2, 3]),
    "i_none": np.array([1, np.nan, 3]),
    "f": np.array([1.5, np.nan, -2.0]),
    "b": np.array([True, False, True]),
    "b_none": texts("true", None, "false"),
    "t": texts("x", None, "z"),
    "date": np.array(["2024-01-02", "NaT", "1969-12-31"], dtype="datetime64[us]"),
    "moment": np.array(["2024-01-02T03:04:05.000006", "NaT", "2024-01-02"], dtype="datetime64[us]"),
    "span": np.array([3600, np.nan, -1.5]),
    "clock": np.array([3723.0, np.nan, 0.0]),
    "dec": np.array([1.25, np.nan, 3.0]),
    "nothing": np.full(3, np.nan),
}


def parquet(tmp_path: Path) -> Path:
    # Parquet has no durations: writers store them as integers, in a unit that only they know.
    pl.DataFrame(RICH).drop("span").write_parquet(tmp_path / "rich.parquet")
    return tmp_path / "rich.parquet"


@pytest.mark.parametrize(
    "make",
    [
        lambda _: RICH,
        lambda _: pd.DataFrame(RICH),
        lambda _: pd.DataFrame(RICH).convert_dtypes(),
        lambda _: pd.DataFrame(RICH, dtype=object),
        lambda _: pl.DataFrame(RICH),
        lambda _: pl.LazyFrame(RICH),
        lambda _: pa.table(RICH),
        lambda _: dict(pl.DataFrame(RICH).to_dict()),
        parquet,
    ],
    ids=[
        "dict",
        "pandas",
        "pandas nullable",
        "pandas object",
        "polars",
        "polars lazy",
        "arrow",
        "series",
        "parquet",
    ],
)
def test_sources_give_the_same_columns(tmp_path, make):
    table = read_table(make(tmp_path))
    assert [*table.names] == [name for name in RICH_COLUMNS if name in table.columns]
    assert len(table.names) >= 11
    for name in table.names:
        assert table[name].dtype == RICH_COLUMNS[name].dtype or name == "i", name
        if table[name].dtype == RICH_COLUMNS[name].dtype:
            assert same(table[name], RICH_COLUMNS[name]), name
        else:
            assert same(table[name], RICH_COLUMNS[name].astype(float))


def test_time_zones_become_utc(tmp_path):
    moments = [datetime(2024, 7, 1, 12, tzinfo=UTC), None]
    expected = np.array(["2024-07-01T12", "NaT"], dtype="datetime64[us]")
    polars = pl.DataFrame({"t": moments}).with_columns(pl.col("t").dt.convert_time_zone("America/New_York"))
    polars.write_parquet(tmp_path / "t.parquet")
    pandas = pd.DataFrame({"t": pd.to_datetime(moments).tz_convert("Asia/Tokyo")})
    for source in (polars, pandas, {"t": moments}, tmp_path / "t.parquet"):
        assert same(read_table(source)["t"], expected)


def test_categories_become_text_or_their_numbers(tmp_path):
    pandas = pd.DataFrame(
        {
            "c": pd.Categorical(["b", None, "a"]),
            "n": pd.Categorical([3, 1, 3]),
            "m": pd.Categorical([3, None, 1]),
        }
    )
    polars = pl.DataFrame(
        {"c": pl.Series(["b", None, "a"], dtype=pl.Enum(["a", "b"])), "n": [3, 1, 3], "m": [3, None, 1]}
    )
    polars.write_parquet(tmp_path / "t.parquet")
    for source in (pandas, polars, tmp_path / "t.parquet"):
        table = read_table(source)
        assert same(table["c"], texts("b", None, "a"))
        assert same(table["n"], [3, 1, 3])
        assert same(table["m"], [3.0, np.nan, 1.0])


def test_arrays_of_numpy():
    assert read_table(np.zeros((2, 3))).names == ("x0", "x1", "x2")
    assert same(read_table(np.array([[1, 2]], dtype=np.int8))["x1"], [2])
    structured = np.array([(1, "a"), (2, "b")], dtype=[("n", "i4"), ("t", "U3")])
    assert same(read_table(structured)["n"], [1, 2])
    assert same(read_table(structured)["t"], texts("a", "b"))
    mixed = np.array([[1, "a"], [2.5, None]], dtype=object)
    assert same(read_table(mixed)["x0"], [1.0, 2.5])
    assert same(read_table(mixed)["x1"], texts("a", None))
    masked = np.ma.array([1, 2], mask=[False, True])
    assert same(read_table({"m": masked})["m"], [1.0, np.nan])


@pytest.mark.parametrize(
    "array",
    [np.array([1, 2], dtype=np.uint64), np.array([1, 2], dtype=np.int8), np.array([1, 2], dtype=">i4")],
)
def test_every_integer_becomes_int64(array):
    assert same(read_table({"a": array})["a"], [1, 2])


def test_odd_lists():
    assert same(read_table({"a": [1, 2.5, None]})["a"], [1.0, 2.5, np.nan])
    assert same(read_table({"a": [1, True, "x", None]})["a"], texts("1", "True", "x", None))
    assert same(read_table({"a": ["x", float("nan"), pd.NA, pd.NaT]})["a"], texts("x", None, None, None))
    assert same(read_table({"a": [2**70, 1]})["a"], texts(str(2**70), "1"))
    assert same(read_table({"a": (np.int8(3), 4)})["a"], [3, 4])
    assert same(read_table({"a": range(2)})["a"], [0, 1])
    assert same(read_table({1: [5]})["1"], [5])


def test_reading_does_not_change_or_share_the_source():
    frame = pd.DataFrame({"t": pd.Series(["a", None], dtype=object)})
    read_table(frame)["t"][:] = "changed"
    assert frame["t"].tolist() == ["a", None]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (42, "must be a file name, a DataFrame .*; got builtins.int"),
        ([1, 2], "must be a file name, .*; got a list with a value of type int in place 0"),
        (pd.Series([1, 2]), "must be a file name, .*Series"),
        (np.zeros(3), r"must have 2 axes \(rows, columns\) to be a table; got shape \(3,\)"),
        ({}, "at least one column"),
        (pd.DataFrame(), "at least one column"),
        ({"a": []}, "at least one row"),
        (pd.DataFrame({"a": []}), "at least one row"),
        ({"a": [1, 2], "b": [1]}, "'a' has 2 rows and 'b' has 1"),
        ({"a": 1, "b": 2}, "Column 'a' must be a list.* wrap each value in a list"),
        ({"a": "text"}, "Column 'a' must be a list"),
        ({"a": [[1], 2]}, "Column 'a' holds values of type list beside int"),
        ({"a": [None, {}]}, "Column 'a' holds dicts without keys"),
        ({"a": [1j]}, "Column 'a' holds values of type complex"),
        ({"a": [1j]}, "Column 'a' holds values of type complex"),
        ({"a": np.zeros((2, 2, 2))}, "Column 'a' holds arrays of 2 axes"),
        ({"a": np.zeros(2, dtype=complex)}, "Column 'a' holds values of type complex128"),
        (pl.DataFrame({"a": [[[1]], [[2]]]}), "Column 'a' holds lists within lists"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "names must differ.* 'a' 2 times"),
        (pd.DataFrame([[1, 2]], columns=["1", 1]), "names must differ; '1' occurs"),
        (pa.table([[1], [2]], names=["a", "a"]), "names must differ.* 'a' 2 times"),
    ],
)
def test_refuses_what_is_no_table(source, message):
    with pytest.raises(DataError, match=message):
        read_table(source)


def test_refuses_a_nested_parquet_column(tmp_path):
    pl.DataFrame({"a": [[[1]], [[2]]]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="Column 'a' holds lists within lists"):
        read_table(tmp_path / "t.parquet")


def test_parquet_types_of_databases(tmp_path):
    path = tmp_path / "t.parquet"
    duckdb.sql(
        "SELECT 1::HUGEINT AS h, 'a'::ENUM('a', 'b') AS e, 1.5::FLOAT AS f, 200::UTINYINT AS u, "
        "uuid() AS id, TIMESTAMP_NS '2024-01-01 00:00:01.5' AS ns, NULL AS n"
    ).write_parquet(str(path))
    table = read_table(path)
    assert [str(table[name].dtype) for name in table.names] == [
        "float64",
        "object",
        "float64",
        "int64",
        "object",
        "datetime64[us]",
        "float64",
    ]


def test_a_header_of_more_than_a_million_letters_is_read_to_its_end() -> None:
    names = [f"{i}" + "a" * 120_000 for i in range(12)]
    Path("t.csv").write_text(",".join(names) + "\n" + "1,2,3,4,5,6,7,8,9,10,11,12\n" * 3)

    assert read_table("t.csv").names == tuple(names)


@pytest.mark.parametrize(
    "start", ["", "x,y\n1,2\n", "x,y\n" + "1,2\n" * 300_000], ids=["only", "head", "later"]
)
def test_a_line_without_an_end_is_refused_and_never_held(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("t.csv.gz").write_bytes(gzip.compress((start + "1" * 20_000_000).encode(), 1))
    asked: list[int] = []

    class Watched(TextIOWrapper):
        def readline(self, size: int = -1) -> str:
            asked.append(size)
            return super().readline(size)

        def __next__(self) -> str:
            raise AssertionError("a line of any length may be behind this")

    monkeypatch.setattr("multilayer.table.sources.delimited.TextIOWrapper", Watched)

    with pytest.raises(DataError, match=r"t.csv.gz"):
        read_table("t.csv.gz")
    assert all(0 < size <= 2_000_000 for size in asked)
