"""Text in any encoding and with any line ends is read as if it were UTF-8 with line feeds."""

import gc
import gzip
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import multilayer as ml
from multilayer import ConfigError, DataError, read_table
from multilayer.table.sources.notation import Notation
from multilayer.table.sources.plain_text import encoding_of, has_mixed_line_ends, of_stream, unzipped

TEXT = "name,n\nJosé,1\nÅsa,2\n"
TINY: dict[str, Any] = {"epochs": 2, "members": 1, "hidden": 8}


def rows(path: str, **options: Any) -> list[Any]:
    table = read_table(path, **options)
    return [table["name"].tolist(), table["n"].tolist()]


@pytest.fixture(autouse=True)
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The folder of copies, which must be empty at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    gc.collect()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_encodings_that_show_are_found(encoding: str) -> None:
    Path("t.csv").write_bytes(TEXT.encode(encoding))
    assert rows("t.csv") == [["José", "Åsa"], [1, 2]]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "mac-roman"])
def test_others_are_read_when_named(encoding: str) -> None:
    Path("t.csv").write_bytes(TEXT.encode(encoding))
    with pytest.raises(DataError, match=r"must be UTF-8; 't\.csv' holds the byte 0x.*--encoding latin-1"):
        read_table("t.csv")
    assert rows("t.csv", encoding=encoding) == [["José", "Åsa"], [1, 2]]


def test_a_byte_order_mark_goes_before_what_was_named() -> None:
    Path("t.csv").write_bytes(TEXT.encode("utf-16"))
    assert encoding_of(Path("t.csv"), "iso8859-1") == "utf-16"
    assert rows("t.csv", encoding="latin-1")[0] == ["José", "Åsa"]


def test_a_wrong_encoding_is_refused() -> None:
    Path("t.csv").write_text(TEXT)
    with pytest.raises(DataError, match=r"'t\.csv' cannot be read as ascii"):
        read_table("t.csv", encoding="ascii")
    for wrong in ("klingon", 3, "zlib"):
        with pytest.raises(ConfigError, match="encoding must be one that Python knows"):
            Notation.declare(encoding=wrong)


@pytest.mark.parametrize(
    "text",
    [b"name,n\r\na,1\nb,2\n", b"name,n\na,1\r\nb,2\r\n", b"name,n\ra,1\nb,2\r\n", b"name,n\ra,1\rb,2\r"],
)
def test_line_ends_may_be_mixed(text: bytes) -> None:
    Path("t.csv").write_bytes(text)
    assert rows("t.csv") == [["a", "b"], [1, 2]]
    assert has_mixed_line_ends(Path("t.csv")) == (text.count(b"\n") > 0)


def test_a_field_may_hold_a_line_end_and_lines_of_other_lengths_are_still_refused() -> None:
    Path("t.csv").write_bytes(b'name,n\r\n"a\nb",1\r\nc,2\r\n')
    assert rows("t.csv")[0] == ["a\nb", "c"]
    Path("t.csv").write_bytes(b"name,n\r\na,1,3\nc,2\r\n")
    with pytest.raises(DataError, match=r"line 2 of 't\.csv' has 3 and the header 2"):
        read_table("t.csv")


def test_a_model_reads_to_predict_as_it_read_to_learn() -> None:
    lines = [f"{'José' if k % 2 else 'Åsa'},{k},{k % 2}" for k in range(40)]
    Path("t.csv").write_bytes("\n".join(lines).encode("latin-1"))
    model = ml.fit("t.csv", target=2, encoding="latin-1", header=False, **TINY)
    assert (model.schema.names, model.target) == (("0", "1"), "2")
    assert set(model.schema["0"].levels) == {"José", "Åsa"}
    again = ml.Model.from_bytes(model.to_bytes())
    expected = model.predict_proba({"0": ["Åsa", "José"] * 20, "1": range(40)})
    np.testing.assert_array_equal(again.predict_proba("t.csv"), expected)


def test_a_file_without_names_is_read_as_pandas_reads_it() -> None:
    import pandas as pd

    Path("t.csv").write_text("1,2.5,a\n2,3.5,b\n")
    table = read_table("t.csv", header=False)
    assert table.names == read_table(pd.read_csv("t.csv", header=None)).names == ("0", "1", "2")
    assert table["0"].tolist() == [1, 2]
    with pytest.raises(ConfigError, match="header must be True or False"):
        Notation.declare(header="no")


def test_what_stood_before_the_header_is_a_remark() -> None:
    Path("t.csv").write_text("# exported\nname,n\na,1\n")
    assert read_table("t.csv").remarks == ("before the header, left out: '# exported'",)


def zipped(**entries: str) -> str:
    with zipfile.ZipFile("t.zip", "w") as archive:
        for name, text in entries.items():
            archive.writestr(name.replace("__", "/") + ".csv", text)
    return "t.zip"


def test_a_zip_of_one_table_is_read(copies: Path) -> None:
    assert rows(zipped(inner=TEXT)) == [["José", "Åsa"], [1, 2]]
    copy = unzipped(Path(zipped(folder__inner=TEXT)))
    assert copy.path.name == "inner.csv"


def test_a_packed_file_may_be_of_any_encoding_but_not_be_cut_short() -> None:
    packed = gzip.compress(TEXT.encode("utf-16") * 1_000)
    Path("t.csv.gz").write_bytes(gzip.compress(TEXT.encode("utf-16")))
    assert rows("t.csv.gz") == [["José", "Åsa"], [1, 2]]
    for broken in (packed[:-9], packed[:-8] + bytes(8), packed[:40] + bytes(20) + packed[60:]):
        Path("t.csv.gz").write_bytes(broken)
        with pytest.raises(DataError, match=r"'t\.csv\.gz' cannot be read.*Check the file, or copy it again"):
            read_table("t.csv.gz")


def test_a_packed_file_in_a_zip_must_be_whole_too() -> None:
    packed = gzip.compress(TEXT.encode())
    for inner, is_whole in ((packed, True), (packed[:-8] + bytes(8), False)):
        with zipfile.ZipFile("t.zip", "w") as archive:
            archive.writestr("t.csv.gz", inner)
        if is_whole:
            assert rows("t.zip") == [["José", "Åsa"], [1, 2]]
            continue
        with pytest.raises(DataError, match="CRC check failed"):
            read_table("t.zip")


def test_a_copy_that_a_killed_process_left_is_removed_by_the_next(copies: Path) -> None:
    script = (
        f"import os, tempfile; tempfile.tempdir = {str(copies)!r}; "
        "from multilayer.table.sources.plain_text import Copy; copy = Copy('t.csv'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    (left,) = copies.iterdir()
    read_table(zipped(a=TEXT))
    assert not left.exists()


def test_a_zip_of_several_or_of_none_is_refused() -> None:
    with pytest.raises(DataError, match=r"'t\.zip' holds 2 files \('a\.csv', 'b\.csv'\)"):
        read_table(zipped(a=TEXT, b=TEXT))
    with pytest.raises(DataError, match=r"holds 0 files \(none\)"):
        read_table(zipped())
    Path("t.zip").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"'t\.zip' cannot be unpacked"):
        read_table("t.zip")


def test_a_zip_that_the_disk_has_no_room_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10})()
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"GB unpacked; .* Make room"):
        read_table(zipped(a=TEXT))


@pytest.mark.parametrize(
    ("start", "ending"),
    [(b"a,b\n", ".csv"), (b"PAR1", ".parquet"), (b"\x1f\x8b", ".csv.gz"), (b"{}", ".jsonl")],
)
def test_a_stream_has_the_ending_of_what_it_holds(start: bytes, ending: str) -> None:
    copy = of_stream(io.BytesIO(start + b"rest"))
    assert (copy.path.name, copy.path.read_bytes()) == (f"stdin{ending}", start + b"rest")
    with pytest.raises(DataError, match="standard input is empty"):
        of_stream(io.BytesIO(b"\n"))
