"""Queries read and do nothing else, and databases of strangers reach nothing beside themselves."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from multilayer import DataError, read_table
from multilayer.table.sources.database import connect

WRITING = [
    "VACUUM INTO 'copy.db'",
    "ATTACH 'other.db' AS other",
    "DELETE FROM homes",
    "INSERT INTO homes VALUES (9, 9) RETURNING *",
    "WITH old AS (SELECT 1) DELETE FROM homes RETURNING rooms",
    "UPDATE homes SET rooms = 0 RETURNING *",
    "REPLACE INTO homes VALUES (9, 9)",
    "CREATE TABLE more AS SELECT * FROM homes",
    "DROP TABLE homes",
    "PRAGMA user_version = 7",
    "PRAGMA query_only = off",
    "/* SELECT */ -- SELECT\n VACUUM INTO 'copy.db'",
    "BEGIN",
    "",
]


@pytest.fixture
def homes() -> sqlite3.Connection:
    connection = sqlite3.connect("homes.sqlite")
    connection.execute("CREATE TABLE homes (rooms, price)")
    connection.executemany("INSERT INTO homes VALUES (?, ?)", [(i, 2 * i) for i in range(5)])
    connection.execute("CREATE VIRTUAL TABLE notes USING fts5(note)")
    connection.execute("INSERT INTO notes VALUES ('a quiet street')")
    connection.execute("CREATE VIEW large AS SELECT * FROM homes WHERE rooms > 2")
    connection.execute("CREATE VIEW evil AS SELECT load_extension('evil.so')")
    connection.commit()
    return connection


@pytest.mark.parametrize("query", WRITING)
def test_a_query_of_sqlite_changes_nothing(homes: sqlite3.Connection, query: str) -> None:
    before = Path("homes.sqlite").read_bytes()

    for source in ("homes.sqlite", homes):
        with pytest.raises(DataError, match=r"A query must give rows and change nothing|needs a query"):
            read_table(source, query=query)

    assert os.listdir() == ["homes.sqlite"]
    assert Path("homes.sqlite").read_bytes() == before
    assert homes.execute("SELECT count(*), sum(rooms) FROM homes").fetchone() == (5, 10)


@pytest.mark.parametrize(
    ("query", "n_rows"),
    [
        ("SELECT * FROM homes", 5),
        ("-- all\n/* of */ VALUES (1, 2)", 1),
        ("SELECT * FROM large", 2),
        ("SELECT * FROM notes WHERE notes MATCH 'quiet'", 1),
        ("SELECT name FROM pragma_table_info('homes')", 2),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4) SELECT i FROM n", 4),
        ("SELECT rooms, upper('a'), count(*) FROM homes GROUP BY 1", 5),
    ],
)
def test_what_reads_is_read(homes: sqlite3.Connection, query: str, n_rows: int) -> None:
    for source in ("homes.sqlite", homes):
        assert read_table(source, query=query).n_rows == n_rows


def test_a_connection_of_the_user_may_write_again_afterwards(homes: sqlite3.Connection) -> None:
    read_table(homes, query="SELECT * FROM homes")
    homes.execute("DELETE FROM homes")

    assert homes.execute("SELECT count(*) FROM homes").fetchone() == (0,)


def test_an_authorizer_of_the_user_stays(homes: sqlite3.Connection) -> None:
    homes.set_authorizer(lambda action, *_: int(action == sqlite3.SQLITE_PRAGMA))

    assert read_table(homes, query="SELECT * FROM homes").n_rows == 5
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        homes.execute("PRAGMA user_version")


def test_a_view_of_sqlite_loads_no_extension(homes: sqlite3.Connection) -> None:
    with pytest.raises(DataError, match=r"unsafe use of load_extension|gives none|not authorized"):
        read_table("homes.sqlite", query="SELECT * FROM evil")


@pytest.fixture
def of_a_stranger(monkeypatch: pytest.MonkeyPatch) -> str:
    """A DuckDB file whose views and macros look around on the machine that opens it."""
    Path("secret.csv").write_text("word\nswordfish\n")
    monkeypatch.setenv("SECRET_WORD", "swordfish")
    with duckdb.connect("of_a_stranger.duckdb") as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS a, 2 * range AS y FROM range(9)")
        connection.execute("CREATE VIEW csv AS SELECT * FROM 'secret.csv'")
        connection.execute("CREATE VIEW text AS SELECT content FROM read_text('secret.csv')")
        connection.execute("CREATE VIEW listing AS SELECT * FROM glob('*')")
        connection.execute("CREATE MACRO look() AS TABLE SELECT * FROM read_text('secret.csv')")
    return "of_a_stranger.duckdb"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM csv",
        "SELECT * FROM text",
        "SELECT * FROM listing",
        "SELECT * FROM look()",
        "SELECT * FROM 'secret.csv'",
        "SELECT content FROM read_text('/proc/self/environ')",
        "SELECT getenv('SECRET_WORD')",
        "SELECT * FROM sqlite_scan('homes.sqlite', 'homes')",
    ],
)
def test_a_database_of_a_stranger_sees_nothing_beside_itself(of_a_stranger: str, query: str) -> None:
    with pytest.raises(DataError, match=r"failed: ") as caught:
        read_table(of_a_stranger, query=query)

    assert "swordfish" not in str(caught.value)
    assert read_table(of_a_stranger, query="SELECT * FROM t").n_rows == 9


@pytest.mark.parametrize(
    "statement",
    [
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "LOAD httpfs",
        "INSTALL httpfs",
        "ATTACH 'other.duckdb' AS other",
        "COPY t TO 'copy.csv'",
    ],
)
def test_nothing_opens_the_way_out_again(of_a_stranger: str, statement: str) -> None:
    with connect(of_a_stranger) as connection, pytest.raises(duckdb.Error):
        connection.execute(statement)

    assert sorted(os.listdir()) == ["of_a_stranger.duckdb", "secret.csv"]


@pytest.mark.parametrize(
    "query",
    [
        "COPY (PIVOT 't.csv' ON a USING sum(y)) TO 'copy.csv'",
        "CREATE TABLE made AS PIVOT 't.csv' ON a USING sum(y)",
        "COPY (SELECT 1) TO 'copy.csv'",
        "SELECT 1; COPY (SELECT 1) TO 'copy.csv'",
    ],
)
def test_a_query_that_names_its_files_writes_none(query: str) -> None:
    Path("t.csv").write_text("a,y\n1,2\n2,3\n")

    with pytest.raises(DataError, match=r"A query must give rows and change nothing"):
        read_table(None, query=query)

    assert os.listdir() == ["t.csv"]
    assert read_table(None, query="PIVOT 't.csv' ON a USING sum(y)").names == ("1", "2")


def test_no_bar_is_drawn_on_standard_output() -> None:
    asked = "print({}.execute(\"SELECT current_setting('enable_progress_bar')\").fetchone())"
    ours = "from multilayer.table.sources.database import connect; " + asked.format("connect()")
    theirs = "import duckdb; " + asked.format("duckdb.connect()")
    said = [subprocess.check_output([sys.executable, "-c", code], text=True) for code in (ours, theirs)]

    assert said == ["(False,)\n", "(True,)\n"]  # the latter, or the test tells nothing


def test_a_view_of_one_endless_value_is_refused_without_its_memory(homes: sqlite3.Connection) -> None:
    homes.execute("CREATE VIEW endless AS SELECT zeroblob(900000000) AS rooms, 1 AS price")
    homes.commit()

    with pytest.raises(DataError, match="too big"):
        read_table("homes.sqlite", query="SELECT * FROM endless")


def test_a_view_of_endless_rows_is_refused_when_memory_is_used_up(
    homes: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS rooms, i AS price FROM n"
    )
    homes.execute(f"CREATE VIEW endless AS {rows}")
    homes.commit()
    monkeypatch.setattr("multilayer.table.sources.database.total_memory", lambda: 10_000_000)

    with pytest.raises(DataError, match="A table must fit into memory"):
        read_table("homes.sqlite", query="SELECT * FROM endless")
    read = read_table("homes.sqlite", query="SELECT * FROM endless LIMIT 20000")
    assert read["rooms"].tolist() == list(range(1, 20_001))
