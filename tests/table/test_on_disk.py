"""A table on disk: the cells as in memory, in an order that a seed fixes, described from all rows."""

from pathlib import Path

import numpy as np
import pytest

from multilayer.errors import DataError, OutputError
from multilayer.table import copy_to_disk
from multilayer.table.cells import is_missing
from multilayer.table.copy_to_disk import Aside, store
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.read import Table, read_source, read_table
from multilayer.table.sources.streamable import Source
from tests.table.tables_on_disk import N, mixed, write_parquet


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
    monkeypatch.setattr(copy_to_disk.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OutputError, match="TMPDIR"), store(mixed(), memory_mb=200):
        pass


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
