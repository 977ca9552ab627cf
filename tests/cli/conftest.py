"""A table and models of it, for the tests of the commands."""

from pathlib import Path

import pytest

from tests.cli.command_line import done, flats, write_csv


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with flats.csv and the models class.mlp and rent.mlp."""
    path = tmp_path_factory.mktemp("fitted")
    write_csv(path / "flats.csv", flats())
    for target, other in (("class", "rent"), ("rent", "class")):
        done("fit", path / "flats.csv", "--target", target, "--drop", f"id,{other}", "--epochs", 3,
             "--out", path / f"{target}.mlp")  # fmt: skip
    return path


@pytest.fixture
def model(fitted: Path, tmp_path: Path) -> Path:
    """A copy of the classifier, in the test's own folder."""
    path = tmp_path / "class.mlp"
    path.write_bytes((fitted / "class.mlp").read_bytes())
    return path
