"""The command line, run in this process; and a table to run it on."""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from multilayer import cli

ROWS = 120


PROGRAM = [sys.executable, "-c", "from multilayer.cli import main; main()"]


def run(*words: object) -> Any:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def done(*words: object) -> Any:
    """A run that must succeed."""
    result = run(*words)
    assert result.exit_code == 0, result.stderr or result.exception
    return result


def refused(*words: object) -> str:
    """The message of a run that must end in one error, print no result and touch no file."""
    before = files_here()
    result = run(*words)

    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert files_here() == before
    return result.stderr


def files_here() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def write_csv(path: Path | str, columns: dict[str, list[Any]]) -> None:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def flats(n_rows: int = ROWS, seed: int = 0) -> dict[str, list[Any]]:
    """Flats whose rent follows from their size, and which are dear or cheap by it."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(20, 120, n_rows).round(1)
    city = rng.choice(["Bonn", "Kiel"], n_rows)
    rent = (10 * size + 50 * (city == "Bonn")).round(2)
    return {
        "id": list(range(n_rows)),
        "size": size.tolist(),
        "city": city.tolist(),
        "rent": rent.tolist(),
        "class": ["dear" if r > 700 else "cheap" for r in rent],
    }


@contextmanager
def disk_with(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond n_bytes: the system answers a write beyond it as it does on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
