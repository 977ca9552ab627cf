"""`multilayer export`."""

import json
from pathlib import Path

from tests.cli.command_line import done, refused


def test_a_file_is_written_and_what_was_compared_is_told(model: Path, fitted: Path) -> None:
    result = done("export", model, "--to", "onnx", "--out", "m.onnx", "--rows", fitted / "flats.csv")
    assert "largest difference on 2,000 rows: encoder 0, output" in result.stdout
    assert "on the rows given: largest difference on 120 rows" in result.stdout
    assert Path("m.onnx").stat().st_size > 1_000

    told = json.loads(
        done("export", model, "--to", "onnx", "--out", "p.onnx", "--inputs", "packed", "--json").stdout
    )
    assert told["out"] == [str(Path("p.onnx").resolve())]
    assert told["parity"]["encoder"] == 0


def test_what_cannot_be_done_is_refused(model: Path) -> None:
    assert "can be written as onnx, torch" in refused("export", model, "--to", "pmml", "--out", "m.x")
    assert "inputs must be" in refused("export", model, "--to", "onnx", "--out", "m.x", "--inputs", "rows")
    assert "would be lost" in refused("export", model, "--to", "onnx", "--out", model)
    assert "must exist" in refused("export", "absent.mlp", "--to", "onnx", "--out", "m.onnx")
