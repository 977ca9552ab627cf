"""A table on disk: the cells as in memory, in an order that a seed fixes, described from all rows."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from multilayer.errors import ConfigError, DataError, OutputError
from multilayer.table import on_disk as stream
from multilayer.table.cells import is_missing
from multilayer.table.on_disk import Aside, Source, describe, store
from multilayer.table.schema import infer_schema
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.read import Table, read_source, read_table

N = 2_000


def write_parquet(path: str, query: str) -> str:
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({query}) TO '{path}'")
    return path


def mixed(path: str = "mixed.parquet") -> str:
    """Numbers with and without gaps, whole ones, text, booleans, dates, NaN; few rows are special."""
    return write_parquet(
        path,
        f"""SELECT i, i * 0.5 AS half, CASE WHEN i % 7 THEN i END AS gaps, i % 3 = 0 AS third,
            CASE WHEN i % 10 THEN 't' || (i % 5) END AS text, DATE '2024-01-01' + i::INT AS day,
            CASE WHEN i % 4 = 0 THEN 'nan'::DOUBLE ELSE i END AS holes,
            CASE WHEN i = {N - 3} THEN 'soon' ELSE '2024-01-0' || (1 + i % 9) END AS due,
            (i // 50)::VARCHAR AS block
            FROM range({N}) r(i)""",
    )


def same_tables(a: Table, b: Table) -> None:
    assert a.names == b.names
    for name in a.names:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name])


def test_without_a_seed_rows_and_types_are_as_in_memory() -> None:
    path = mixed()
    with store(path, memory_mb=200) as table:
        same_tables(table.rows(0, table.n_rows), read_table(path))
        pieces = list(table.pieces(300, ["i"]))
        assert [piece.n_rows for piece in pieces] == [300] * 6 + [200]
        assert np.concatenate([piece["i"] for piece in pieces]).tolist() == list(range(N))


def order(seed: int, threads: int) -> list[int]:
    with store("mixed.parquet", memory_mb=200, shuffle_seed=seed, threads=threads) as table:
        rows = table.rows(0, N)
    np.testing.assert_array_equal(rows["half"], rows["i"] * 0.5)  # rows stay whole
    return list(rows["i"].tolist())


def test_a_seed_shuffles_and_threads_change_nothing() -> None:
    mixed()
    first = order(1, threads=1)

    assert sorted(first) == list(range(N))
    assert abs(np.corrcoef(first, range(N))[0, 1]) < 0.1
    assert order(1, threads=4) == first
    assert order(2, threads=1) != first


def test_the_copy_is_gone_when_the_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    path = mixed()
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), store(path, memory_mb=200) as table:
            assert table.n_bytes > 0 and list((tmp_path / "temporary").glob(".multilayer-*"))
            raise error
        assert not list((tmp_path / "temporary").glob(".multilayer-*"))


@pytest.mark.parametrize("name", ["parts", "parts/*.csv", "parts/b?.csv"])
def test_folders_and_patterns_are_one_table(name: str) -> None:
    Path("parts").mkdir()
    Path("parts/b1.csv").write_text("x,y\n1,2024-01-01\n2,NA\n")
    Path("parts/b2.csv").write_text("x,y\n2.5,u\n")

    source = Source.find(name)
    assert source is not None and len(source.files.paths) == 2 and source.n_columns == 2
    with store(name, memory_mb=200) as table:
        rows = table.rows(0, 3)
    assert rows["x"].tolist() == [1, 2, 2.5]
    assert rows["y"].tolist() == ["2024-01-01", None, "u"]


def test_a_column_that_is_text_in_one_of_the_files_is_text_in_all() -> None:
    Path("1.csv").write_text("a,y\n1.50,1\n2,2\n")
    Path("2.csv").write_text("a,y\nx,3\n,4\n")
    with store(["1.csv", "2.csv"], memory_mb=200) as table:
        assert table.rows(0, 4)["a"].tolist() == ["1.50", "2", "x", None]


def test_files_that_are_not_one_table_are_refused() -> None:
    Path("parts").mkdir()
    with pytest.raises(DataError, match="has none that is a table"):
        Source.find("parts")
    Path("parts/a.csv").write_text("x,y\n1,2\n")
    Path("parts/b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(DataError, match=r"b\.csv.*has others"), store("parts", memory_mb=200):
        pass
    write_parquet("parts/c.parquet", "SELECT 1 AS x")
    with pytest.raises(DataError, match="must be of one kind"):
        Source.find("parts")
    with pytest.raises(DataError, match=r"no file 'absent\.csv'"):
        Source.find("absent.csv")
    assert Source.find({"x": [1]}) is None


def test_too_small_a_disk_is_refused_before_anything_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OutputError, match="TMPDIR"), store(mixed(), memory_mb=200):
        pass


def described(kinds: Any = None) -> Any:
    with store(mixed(), memory_mb=200, shuffle_seed=5) as table:
        sample = table.rows(0, 600)
        assert "soon" not in sample["due"]
        return describe(table, table.names, sample, kinds)


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


def test_notes_blank_text_and_marks_of_missing_values_are_as_in_memory() -> None:
    path = write_parquet(
        "marks.parquet",
        """SELECT CASE i % 4 WHEN 0 THEN -999 ELSE i END AS whole,
           (CASE i % 3 WHEN 0 THEN -999 ELSE i END)::DECIMAL(8, 2) AS money,
           CASE i % 3 WHEN 0 THEN '?' WHEN 1 THEN '  ' ELSE 't' END AS text,
           CASE i % 5 WHEN 0 THEN '-' ELSE 't' END AS dash, TIME '08:00' + INTERVAL (i) SECOND AS clock,
           CASE i % 2 WHEN 0 THEN DATE '1900-01-01' ELSE DATE '2024-05-01' END AS day
           FROM range(60) r(i)""",
    )
    notation = Notation((*Notation.declare(["?", -999, "1900-01-01"]).missing,), {"dash": ("-",)})
    expected = read_source(path, notation)
    with store(Source.find(path, notation), memory_mb=200) as table:
        rows = table.rows(0, 60)
        facts = [table.facts(name).n_missing for name in table.names]
    same_tables(rows, expected)
    assert rows.notes == expected.notes
    assert facts == [int(is_missing(expected[name]).sum()) for name in expected.names]
    assert facts[:4] == [15, 20, 40, 12]


def test_text_files_keep_their_decimal_sign_and_marks() -> None:
    Path("t.csv").write_text("x;y\n2,5;?\n3,5;a\n")
    with store(Source.find("t.csv", Notation.declare("?")), memory_mb=200) as table:
        rows = table.rows(0, 2)
    assert rows["x"].tolist() == [2.5, 3.5] and rows["y"].tolist() == [None, "a"]


def test_an_order_must_name_the_levels_of_all_rows() -> None:
    path = write_parquet(
        "o.parquet",
        "SELECT CASE WHEN i = 150 THEN 'XL' WHEN i % 2 THEN 'M' ELSE 'S' END AS x, i FROM range(200) r(i)",
    )
    with store(path, memory_mb=200) as table, pytest.raises(ConfigError, match="holds 'XL'"):
        describe(table, ["x", "i"], table.rows(0, 100), {"x": ["S", "M"]})


def test_groups_are_whole_on_one_side_and_times_latest() -> None:
    path = mixed()
    with store(path, memory_mb=200, shuffle_seed=1, aside=Aside("groups", "block", 0.2)) as table:
        blocks, n = table.rows(0, N)["block"], table.n_aside
    assert 0.05 * N < n < 0.4 * N
    assert not set(blocks[:n]) & set(blocks[n:])

    with store(path, memory_mb=200, shuffle_seed=1, aside=Aside("time", "day", 0.2)) as table:
        days, n = table.rows(0, N)["day"], table.n_aside
    assert n == pytest.approx(0.2 * N, abs=2)
    assert days[:n].min() > days[n:].max()
    assert not np.array_equal(np.sort(days[n:]), days[n:])  # shuffled behind them


def test_times_of_text_must_read_as_dates() -> None:
    with (
        pytest.raises(DataError, match="'due' holds 'soon'"),
        store(mixed(), memory_mb=200, aside=Aside("time", "due", 0.2)),
    ):
        pass


def test_columns_are_left_out_and_must_be_there() -> None:
    with store(mixed(), memory_mb=200, leave_out=["text", "half"]) as table:
        assert set(read_table("mixed.parquet").names) - set(table.names) == {"text", "half"}
    with (
        pytest.raises(DataError, match=r"no column 'txt'.*'text'"),
        store("mixed.parquet", memory_mb=200, need=["txt"]),
    ):
        pass
