"""Files and tables that the tests of streaming share."""

from typing import Any

import duckdb

from multilayer.table.copy_to_disk import store
from multilayer.table.schema_on_disk import describe

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


def described(kinds: Any = None) -> Any:
    with store(mixed(), memory_mb=200, shuffle_seed=5) as table:
        sample = table.rows(0, 600)
        assert "soon" not in sample["due"]
        return describe(table, table.names, sample, kinds)
