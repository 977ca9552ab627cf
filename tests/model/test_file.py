"""The bytes of a model file: bounded JSON, arrays inside the file, plain files only; or an error."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from multilayer.errors import ModelFileError
from multilayer.model.file import DEEPEST, digest, parse_json, read_bytes, unpack

ARRAYS: dict[str, Any] = {"b": np.arange(6.0).reshape(2, 3), "a": np.array([1, 2], np.int64)}
TEXT = '{"format": 1, "x": "[{"}'


def signed(text: str, arrays: dict[str, Any] | None = None) -> bytes:
    arrays = ARRAYS if arrays is None else arrays
    return bytes(save(arrays | {"sha256": digest(text, arrays)}, {"multilayer": text}))


def with_header(header: Any, body: bytes) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + body


class TestUnpack:
    def test_gives_text_and_arrays_back(self) -> None:
        meta, arrays = unpack(signed(TEXT), "it", "")

        assert meta == {"format": 1, "x": "[{"}
        assert arrays.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert arrays[name].dtype == array.dtype
            assert np.array_equal(arrays[name], array)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[" * 50_000 + "]" * 50_000, "nested deeper than 32 levels"),
            ('{"format": 1, "x": ' + "9" * 5_000 + "}", "a whole number has 5,000 digits"),
            ('{"format": 1, "x": 1e999}', "a number is too large"),
            ('{"format": 1, "x": NaN}', "NaN is no number"),
            ('{"format": 1, "format": 1}', "the key 'format' stands there twice"),
            ('{"x": {"a": 1, "b": 2, "a": 1}, "format": 1}', "the key 'a' stands there twice"),
            ("[1]", "no JSON object"),
            ("{}", "it has no format number, but None"),
            ('{"format": true}', "it has no format number, but True"),
            ('{"format": "1"}', "it has no format number, but '1'"),
            ('{"format": 0}', "it has no format number, but 0"),
            ('{"format": 1,', "its text cannot be read"),
        ],
    )
    def test_refuses_a_text_however_it_is_signed(self, text: str, message: str) -> None:
        with pytest.raises(ModelFileError, match=message):
            unpack(signed(text), "it", "")

    @pytest.mark.parametrize(
        "text", ['{"format": 99}', '{"a": 1, "format": 99}', '{ "a": [],\n"format" :99}']
    )
    def test_finds_a_newer_format_wherever_it_stands(self, text: str) -> None:
        with pytest.raises(ModelFileError, match="it has format 99; this version reads up to 1"):
            unpack(signed(text), "it", "")

    def test_says_that_a_newer_file_is_newer_although_its_checksum_may_be_made_otherwise(self) -> None:
        data = bytes(save(ARRAYS, {"multilayer": '{"format": 2}'}))

        with pytest.raises(ModelFileError, match="it has format 2"):
            unpack(data, "it", "")

    def test_refuses_half_a_letter(self) -> None:
        header = json.dumps({"__metadata__": {"multilayer": '{"format": 1, "x": "\ud800"}'}})

        with pytest.raises(ModelFileError, match="checksum does not fit"):
            unpack(with_header(header, b""), "it", "")

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "take 4 bytes, and 8 are there"),
            ({"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}, "takes 4 bytes, and has 8"),
            ({"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}, "takes 4,835,703,278,458"),
            ({"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}, "has no shape"),
            ({"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}, "has no shape"),
            ({"dtype": "F32", "shape": [1] * 99, "data_offsets": [0, 8]}, "has no shape"),
            ({"dtype": "O", "shape": [1], "data_offsets": [0, 8]}, "is of the type 'O'"),
            ({"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}, "is of the type"),
            ({"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}, "has no place"),
            ({"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}, "has no place"),
            ({"dtype": "F32", "shape": [2], "data_offsets": [0]}, "has no place"),
            ({"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}, "does not begin where another ends"),
            ({"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "take 16 bytes, and 8 are there"),
            ([], "has no place"),
        ],
    )
    def test_refuses_arrays_outside_of_the_file(self, entry: Any, message: str) -> None:
        with pytest.raises(ModelFileError, match=message):
            unpack(with_header({"a": entry}, bytes(8)), "it", "")

    @pytest.mark.parametrize("header", ["[]", "{", "[" * 99_999, '{"__metadata__": []}', '{"a":1,"a":1}'])
    def test_refuses_other_headers(self, header: str) -> None:
        with pytest.raises(ModelFileError, match="cannot be read as a model"):
            unpack(with_header(header, b""), "it", "")

    def test_believes_no_length_of_a_header(self) -> None:
        with pytest.raises(ModelFileError, match="its header none or more than these"):
            unpack((2**63).to_bytes(8, "little") + b"{}", "it", "")

    def test_arrays_that_lie_over_each_other_are_refused(self) -> None:
        one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}

        with pytest.raises(ModelFileError, match="does not begin where another ends"):
            unpack(with_header({"a": one, "b": one}, bytes(8)), "it", "")


def test_json_is_counted_in_depth_outside_of_texts_alone() -> None:
    deep = "[" * DEEPEST + "]" * DEEPEST

    assert parse_json(json.dumps({"x": "[" * 99 + '\\"' * 9})) == {"x": "[" * 99 + '\\"' * 9}
    parse_json(deep)
    with pytest.raises(ValueError, match="nested deeper"):
        parse_json(f"[{deep}]")
    with pytest.raises(ValueError, match=r"[Uu]nterminated"):
        parse_json('"' + '\\"' * 100_000)  # at once: no letter is looked at twice


def test_lists_and_objects_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multilayer.model.file.MOST_PARTS", 3)

    assert parse_json('[[], {}, "[[[["]') == [[], {}, "[[[["]
    with pytest.raises(ValueError, match="more than 3 lists and objects"):
        parse_json("[[], {}, []]")


class TestReading:
    def test_a_pipe_does_not_hang(self) -> None:
        os.mkfifo("pipe.mlp")

        with pytest.raises(ModelFileError, match=r"must be a plain file; pipe.mlp is a device or a pipe"):
            read_bytes(Path("pipe.mlp"))

    @pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
    def test_an_impossible_name(self, name: str) -> None:
        with pytest.raises(ModelFileError, match="cannot be read as a model"):
            read_bytes(Path(name))

    @pytest.mark.skipif(not Path("/dev/zero").exists(), reason="a system without /dev/zero")
    def test_a_device_without_end(self) -> None:
        with pytest.raises(ModelFileError, match="must be a plain file"):
            read_bytes(Path("/dev/zero"))

    def test_a_file_larger_than_the_memory_is_refused_unread(self) -> None:
        with open("large.mlp", "wb") as file:
            file.truncate(1 << 43)  # takes no disk

        with pytest.raises(ModelFileError, match="it is larger than the memory"):
            read_bytes(Path("large.mlp"))

    def test_a_file_that_is_overwritten_after_it_was_read_is_nothing_to_us(self) -> None:
        """A mapped file that gets shorter would end the process by SIGBUS."""
        code = (
            "import os; from pathlib import Path; from multilayer.model.file import read_bytes, unpack\n"
            "data = read_bytes(Path('m.mlp')); os.truncate('m.mlp', 0)\n"
            "meta, arrays = unpack(data, 'm.mlp', '')\n"
            "print(arrays['big'].sum())"
        )
        Path("m.mlp").write_bytes(signed('{"format": 1}', {"big": np.ones(100_000)}))

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

        assert (done.returncode, done.stdout.strip()) == (0, "100000.0")
