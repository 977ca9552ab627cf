"""What commands read and write: standard input, and outputs that cannot be written."""

import json
import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from multilayer import cli
from tests.cli.command_line import done, flats, refused, run, write_csv


def test_a_dash_is_standard_input(model: Path) -> None:
    write_csv("new.csv", {"size": [50.0, 60.0], "city": ["Bonn", "Kiel"]})
    content = Path("new.csv").read_bytes()

    piped = CliRunner().invoke(cli.app, ["predict", str(model), "-"], input=content)
    assert (piped.exit_code, piped.stdout) == (0, done("predict", model, "new.csv").stdout)
    schema = CliRunner().invoke(cli.app, ["schema", "-", "--json"], input=content)
    assert [column["name"] for column in json.loads(schema.stdout)["columns"]] == ["size", "city"]
    empty = CliRunner().invoke(cli.app, ["predict", str(model), "-"], input=b"")
    assert empty.exit_code == 2 and "standard input is empty" in empty.stderr


@pytest.mark.parametrize(
    ("out", "said"),
    [("nowhere/x.mlp", "nowhere"), ("taken", "folder"), ("flats.csv", "input")],
    ids=["missing folder", "a folder", "the input"],
)
@pytest.mark.parametrize("command", ["fit", "predict"])
def test_output_is_checked_before_the_work(
    out: str, said: str, command: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multilayer.recipe.fit.fit", lambda *_, **__: pytest.fail("trained first"))
    write_csv("flats.csv", flats())
    (tmp_path / "taken").mkdir()
    if command == "predict":
        out = out.replace(".mlp", ".csv").replace("taken", "taken.csv")
        (tmp_path / "taken.csv").mkdir()
    words = ["fit", "flats.csv", "--target", "rent"] if command == "fit" else ["predict", model, "flats.csv"]

    assert said in refused(*words, "--out", out)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_output_that_is_no_file(fitted: Path) -> None:
    os.mkfifo("pipe")
    result = run("fit", fitted / "flats.csv", "--target", "rent", "--out", "pipe")

    assert result.exit_code == 2
    assert Path("pipe").is_fifo()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_may_not_be_written(fitted: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)

    assert "closed" in refused("fit", fitted / "flats.csv", "--target", "rent", "--out", "closed/x.mlp")
