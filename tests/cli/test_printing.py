"""What stands on stdout: plain, whole, and JSON that every program reads."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from multilayer.cli.printing import show, show_json, text_table
from tests.cli.command_line import PROGRAM


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_behind_stdout(fitted: Path) -> None:
    with Path("/dev/full").open("w") as full:
        words = [*PROGRAM, "predict", str(fitted / "class.mlp"), str(fitted / "flats.csv")]
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert result.returncode == 2
    assert result.stderr.startswith("error: standard output could not be written: No space left")
    assert "Traceback" not in result.stderr


def test_text_is_plain_and_uncut_when_it_is_not_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(text_table(["metric", "[b]x[/b]"], [["m" * 300, "1"]]))

    text = capsys.readouterr().out
    assert "m" * 300 in text
    assert "[b]x[/b]" in text
    assert "\x1b" not in text


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"a": np.float64("nan"), "b": np.arange(2), "c": (float("inf"), np.True_), 1: Path("x")})

    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [0, 1], "c": [None, True], "1": "x"}
