"""The program: its version, and what becomes of wrong usage and of errors."""

import ast
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest

from multilayer import cli
from multilayer.recipe.choices import NetworkName, Quality
from tests.cli.command_line import PROGRAM, done, run


def test_version() -> None:
    from multilayer import __version__

    assert done("--version").stdout == f"multilayer {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["fit"],
        ["fit", "t.csv"],
        ["fit", "t.csv", "--target", "y", "--task", "ranking"],
        ["fit", "t.csv", "--target", "y", "--seed", "-1"],
        ["fit", "t.csv", "--target", "y", "--epochs", "0"],
        ["fitt", "t.csv"],
    ],
    ids=" ".join,
)
def test_wrong_usage(words: list[str]) -> None:
    result = run(*words)

    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert result.stdout == ""


def test_a_bug_of_ours_keeps_its_traceback(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("multilayer.recipe.fit.fit", fit)
    result = run("fit", fitted / "flats.csv", "--target", "rent")

    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def test_the_program_ends_with_the_status_and_one_message(fitted: Path) -> None:
    words = [*PROGRAM, "fit", str(fitted / "flats.csv"), "--target", "rent", "--kind", "city=colour"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "colour" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_every_file_of_commands_is_in_the_table_and_in_the_help() -> None:
    """A new command is a file and a line in COMMANDS, and nothing else."""
    shown = done("--help").stdout
    assert all(f" {command} " in shown for command in cli.COMMANDS)

    defined = {
        (path.stem, node.name)
        for path in Path(cli.__file__).parent.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == path.stem
    }
    listed = {(file, command) for command, file in cli.COMMANDS.items()}
    assert defined <= listed
    assert {file for file, _ in listed} == {file for file, _ in defined}


@pytest.mark.parametrize(
    ("option", "choices"), [("--network", NetworkName), ("--quality", Quality)], ids=["network", "quality"]
)
def test_the_choices_of_fit_are_those_of_the_recipe(option: str, choices: Any) -> None:
    result = run("fit", "t.csv", "--target", "y", option, "none")

    assert result.exit_code == 2
    offered = re.findall(r"'(\w+)'", result.stderr.partition("not one of")[2])
    assert tuple(offered) == get_args(choices)
