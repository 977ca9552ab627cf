"""Plain text files: as DuckDB reads them, or left to it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multilayer.errors import DataError
from multilayer.table.sources import delimited
from multilayer.table.sources.delimited import Delimited
from multilayer.table.sources.plain_rows import plain_columns

MARKS = ["", "NA", "null", "-", "?", "NaN"]
WHOLE = [
    "3",
    "-3",
    "0",
    "-0",
    "007",
    "+1",
    "0x1F",
    "1_000",
    "9007199254740993",
    "123456789012345678901",
    " 3",
]
NUMBERS = ["1.5", "-0.25", "1e3", "1.100", "900", "12.340", "inf", "Infinity", "nan", "0.1234567890123456789"]
TEXTS = ["Oslo", "Rome ", "a b", "information", "true", "é", "x.", "#1", "1,5", "3 kg", "'a'"]
TIMES = ["2024-05-01", "2024-05-01T10:00", "08:15"]
CELLS = st.one_of(
    *map(st.sampled_from, (MARKS, WHOLE, NUMBERS, TEXTS, TIMES)),
    st.integers(-(10**16), 10**16).map(str),
    st.floats(allow_nan=False).map(repr),
    st.decimals(-1000, 1000, places=3).map(str),
    st.text("ab 1.,;e-+\n", max_size=5),
)


def same(found, wanted):
    assert list(found) == list(wanted)
    for name in wanted:
        a, b = (x.dense() if hasattr(x, "dense") else x for x in (found[name], wanted[name]))
        assert a.dtype == b.dtype
        assert a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
    assert found.notes == wanted.notes
    assert found.odd == wanted.odd


def both(path, monkeypatch, **options):
    """What is read of a file without DuckDB, and with it; None for an error."""
    file = Delimited.open(path)
    plain = file._plain(**options)
    with monkeypatch.context() as patched:
        patched.setattr(delimited, "plain_columns", lambda *_, **__: None)
        try:
            return plain, file.read(**options)
        except DataError:
            return plain, None


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=4),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_what_is_plain_is_read_as_by_duckdb(tmp_path, monkeypatch, rows, delimiter, end, ends):
    text = end.join(delimiter.join(row) for row in [["city", "rooms", "day"], *rows]) + end * ends
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    try:
        plain, wanted = both(path, monkeypatch, unread=(), as_text=())
    except DataError:
        return
    if plain is not None:
        assert wanted is not None
        same(plain, wanted)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_plain_file_needs_no_duckdb(tmp_path, monkeypatch, delimiter):
    lines = ["city,rooms,size,day", "Oslo,3,1.5,2024-05-01", ",,,", "Rome,4,2,2024-06-01"]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines).replace(",", delimiter), "utf-8-sig")
    plain, wanted = both(path, monkeypatch, unread=("rooms",), as_text=("size",))
    assert plain is not None
    same(plain, wanted)
    assert plain["size"].tolist() == ["1.5", None, "2"]
    assert np.isnan(plain["rooms"].dense()).all()


NOT_PLAIN = ['"x"', " x", "1e3", "", "inf", "900\n1.100", "007", "1,2", "+1", "x\n\ny"]


@pytest.mark.parametrize("cells", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_duckdb(cells):
    assert plain_columns(f"a\n{cells}\n", ["a"], ",", n_before=1) is None


def test_declared_marks_are_missing():
    found = plain_columns("a,b\n?,x\n3,y\n", ["a", "b"], ",", n_before=1, marks=("?",))
    assert found["a"].tolist()[1] == 3.0
    assert np.isnan(found["a"][0])
