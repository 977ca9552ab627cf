"""Tables from strangers: broken, cut short, endless, nested or changing files give one error of ours each."""

import gzip
import json
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multilayer import DataError, read_table
from multilayer.errors import MultilayerError
from multilayer.table.copy_to_disk import store
from multilayer.table.sources import delimited
from multilayer.table.sources.files import Files
from multilayer.table.sources.intact import reading
from multilayer.table.sources.streamable import Source

TEXT = ("a,b,y\n" + "".join(f"{i},{i % 7},{2 * i}\n" for i in range(5_000))).encode()
QUOTED = TEXT.replace(b"y\n", b'"y"\n', 1)  # which DuckDB reads, where TEXT is read without it
READERS: dict[str, tuple[Any, bytes]] = {
    "plain_columns": (delimited, TEXT),
    "relation": (delimited.Delimited, QUOTED),
}
PACKED = gzip.compress(TEXT)
ZST = pa.compress(TEXT, codec="zstd", asbytes=True)


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 255
    return bytes(changed)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cut.csv.gz", PACKED[: len(PACKED) // 2]),
        ("cut_in_the_checksum.csv.gz", PACKED[:-5]),
        ("cut_by_one.csv.gz", PACKED[:-1]),
        ("checksum.csv.gz", flipped(PACKED, -6)),
        ("length.csv.gz", flipped(PACKED, -1)),
        ("middle.csv.gz", flipped(PACKED, len(PACKED) // 2)),
        ("more.csv.gz", PACKED + b"garbage"),
        ("text.csv.gz", TEXT),
        ("cut.csv.zst", ZST[: len(ZST) // 2]),
        ("cut_by_one.csv.zst", ZST[:-1]),
        ("cut.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 9_000)[:-9]),
        ("cut.json.gz", gzip.compress(json.dumps([{"a": i} for i in range(999)]).encode())[:-9]),
    ],
)
def test_a_packed_file_that_is_damaged_is_refused(name: str, data: bytes) -> None:
    Path(name).write_bytes(data)

    with pytest.raises(DataError, match=f"'{name}' cannot be read: ") as caught:
        read_table(name)

    assert "\n" not in str(caught.value)
    if ".csv" in name:
        with pytest.raises(DataError, match=f"'{name}' cannot be read: "), store(name, memory_mb=200):
            pass


def test_packed_files_that_are_whole_are_read() -> None:
    Path("two.csv.gz").write_bytes(gzip.compress(b"a,y\n1,2\n") + gzip.compress(b"3,4\n"))
    Path("whole.csv.zst").write_bytes(ZST)

    assert read_table("two.csv.gz")["y"].tolist() == [2, 4]
    assert read_table("whole.csv.zst").n_rows == 5_000


def test_a_wide_header_is_read() -> None:
    names = [f"gene_{i:012d}" for i in range(9_000)]  # 160,000 letters
    Path("wide.csv").write_text(",".join(names) + "\n" + ",".join(["1"] * len(names)) + "\n")

    assert read_table("wide.csv").names == tuple(names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n1,"' + "x,1\n" * 60_000, "cannot be read as text"),
        ("a,b\n1," + "x" * 3_000_000 + "\n2,y\n", "must be shorter than 2,000,000 letters"),
        ('"a,b\n1,2\n', "cannot be read as text"),
        ('"a,b\n' + "1,2\n" * 60_000, "A name of a column must be shorter than 131,072 letters"),
        ('a,"' + "x" * 150_000 + '"\n1,2\n', "A name of a column must be shorter than 131,072 letters"),
    ],
    ids=["a quote without end", "a field too long", "a header without end", "the same, longer", "a name"],
)
def test_fields_without_an_end_are_one_short_error(text: str, message: str) -> None:
    Path("t.csv").write_text(text)

    with pytest.raises(DataError, match=message) as caught:
        read_table("t.csv")

    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("depth", [500, 100_000])
@pytest.mark.parametrize("name", ["deep.json", "deep.jsonl"])
def test_json_that_is_nested_without_end_is_refused(name: str, depth: int) -> None:
    Path(name).write_text('{"a":' * depth + "1" + "}" * depth + "\n")

    with pytest.raises(DataError, match=r"must not be nested as deeply as 'deep"):
        read_table(name)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet", "jsonl", "arrow", "sqlite"])
def test_a_pipe_or_a_device_is_refused_at_once(ending: str) -> None:
    os.mkfifo(f"pipe.{ending}")
    Path(f"device.{ending}").symlink_to("/dev/zero")

    for name in ("pipe", "device"):
        with pytest.raises(DataError, match=r"must be a plain file; .* is a device or a pipe"):
            read_table(f"{name}.{ending}")


def test_a_link_that_leads_nowhere() -> None:
    Path("gone.csv").symlink_to("nowhere.csv")
    Path("gome.csv").touch()

    with pytest.raises(DataError, match=r"There is no file 'gone.csv'. Did you mean 'gome.csv'\?"):
        read_table("gone.csv")


CHANGES: dict[str, Callable[[Path], Any]] = {
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"7,7,7\n"),
    "shorter": lambda path: os.truncate(path, 20),
    "removed": lambda path: path.unlink(),
    "replaced": lambda path: (Path("new").write_bytes(TEXT), Path("new").rename(path)),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_refused(
    change: str, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("t.csv")
    owner, data = READERS[reader]
    path.write_bytes(data)
    read = getattr(owner, reader)

    def read_then_change(*arguments: Any, **more: Any) -> Any:
        found = read(*arguments, **more)
        CHANGES[change](path)
        return found

    monkeypatch.setattr(owner, reader, read_then_change)

    with pytest.raises(
        DataError, match=r"must stay as it is while it is read; 't.csv' was changed or removed"
    ):
        read_table("t.csv")


def test_the_second_of_two_files_may_not_change_either() -> None:
    for name in ("a.csv", "b.csv"):
        Path(name).write_bytes(TEXT)

    def change() -> None:
        with reading([Path("a.csv"), Path("b.csv")]):
            Path("b.csv").write_bytes(TEXT + b"1,2,3\n")

    with pytest.raises(DataError, match=r"'b.csv' was changed or removed"):
        change()


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), zlib.error("bad"), EOFError("cut"), MemoryError()], ids=repr
)
@pytest.mark.parametrize("reader", READERS)
def test_whatever_goes_wrong_with_a_file_is_one_error(
    error: Exception, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    owner, data = READERS[reader]
    Path("t.csv").write_bytes(data)
    files, source = Files.find("t.csv"), Source.find("t.csv")
    monkeypatch.setattr(owner, reader, fail)

    with pytest.raises(DataError, match=r"'t.csv' cannot be read: "):
        read_table("t.csv")
    monkeypatch.setattr(delimited.Delimited, "relation", fail)
    with pytest.raises(DataError, match=r"'t.csv' cannot be read: "), store(source, memory_mb=200):
        pass
    assert files.kind == "text"


def write_arrow(columns: dict[str, Any], path: str) -> None:
    table = pa.table(columns)
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def texts(offsets: list[int], data: bytes) -> Any:
    places = np.array(offsets, np.int32)
    buffers = [None, pa.py_buffer(places.tobytes()), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers)


def codes(values: list[int]) -> Any:
    buffers = [None, pa.py_buffer(np.array(values, np.int32).tobytes())]
    kind = pa.dictionary(pa.int32(), pa.string())
    return pa.DictionaryArray.from_buffers(kind, len(values), buffers, pa.array(["a", "b"]))


@pytest.mark.parametrize(
    "column",
    [
        texts([0, 2**30, 5], b"hello"),
        texts([0, -5, 5], b"hello"),
        texts([0, 2, 4], b"\xff\xfe\xff\xfe"),
        codes([0, 2**30]),
        codes([0, -3]),
    ],
    ids=["offset far outside", "offset before the start", "no UTF-8", "code far outside", "code below 0"],
)
def test_an_arrow_file_with_places_outside_of_it_is_refused(column: Any) -> None:
    write_arrow({"s": column, "y": [1, 2]}, "t.arrow")

    with pytest.raises(DataError, match=r"'t.arrow' cannot be read as an Arrow file: "):
        read_table("t.arrow")


def test_an_arrow_file_that_gets_shorter_after_it_was_read_is_nothing_to_us() -> None:
    """In a process of its own: one that is mapped ends it."""
    write_arrow({"x": np.arange(500_000.0)}, "t.arrow")
    code = (
        "import os; from multilayer.table.sources.files import _arrow_table; from pathlib import Path\n"
        "table = _arrow_table(Path('t.arrow')); os.truncate('t.arrow', 0)\n"
        "print(table.column('x').to_numpy()[-1])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.returncode, done.stdout.strip()) == (0, "499999.0")


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_files_with_flipped_bits_are_read_or_refused(ending: str) -> None:
    table = {"x": np.arange(50), "s": pa.array(["a", "b"] * 25).dictionary_encode()}
    write_arrow(table, "t.arrow")
    pq.write_table(pa.table(table), "t.parquet")
    data, rng, refused = Path(f"t.{ending}").read_bytes(), random.Random(0), 0
    for _ in range(60):
        Path(f"broken.{ending}").write_bytes(flipped(data, rng.randrange(len(data))))
        try:
            read_table(f"broken.{ending}")
        except MultilayerError:
            refused += 1

    assert refused > 5


def test_a_parquet_file_with_more_rows_than_the_memory_holds_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A value that stands in all rows is written once, however many these are."""
    pq.write_table(pa.table({"x": np.zeros(100_000), "y": np.zeros(100_000)}), "t.parquet")
    assert Path("t.parquet").stat().st_size < 10_000
    monkeypatch.setattr("multilayer.table.sources.files.total_memory", lambda: 1_000_000)

    with pytest.raises(DataError, match=r"must fit into memory; 't.parquet' is said to have 100,000 rows"):
        read_table("t.parquet")
    assert read_table("t.parquet", query="SELECT sum(x) AS s FROM self")["s"].tolist() == [0.0]


@pytest.mark.parametrize("name", ["t.jsonl.gz", "t.json.gz"])
def test_json_without_an_end_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(name).write_bytes(gzip.compress(b'{"x": "' + b"a" * 5_000 + b'"}'))
    assert read_table(name).n_rows == 1
    monkeypatch.setattr("multilayer.table.sources.files.MOST_LETTERS", 1_000)

    with pytest.raises(DataError, match=f"must be shorter than 1,000 letters; '{name}' has a longer one"):
        read_table(name)
