"""`multilayer inspect`, and model files that are not as they should be."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.cli.command_line import done, refused


def test_inspect_shows_columns_network_training_and_score(fitted: Path) -> None:
    text = done("inspect", fitted / "class.mlp").stdout
    facts = json.loads(done("inspect", fitted / "class.mlp", "--json").stdout)

    for part in ("size", "city", "log_loss", "constant", "seed"):
        assert part in text
    details = ("Linear", "engine: ", "History: ")
    assert not any(part in text for part in details)
    verbose = done("inspect", fitted / "class.mlp", "--verbose").stdout
    assert all(part in verbose for part in details)
    assert facts["classes"] == ["cheap", "dear"]
    assert facts["schema"]


def damage_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5])


def damage_emptied(path: Path) -> None:
    path.write_bytes(b"")


def damage_one_weight(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-50] ^= 0x40
    path.write_bytes(content)


def damage_header(path: Path) -> None:
    content = path.read_bytes()
    assert b"class" in content
    path.write_bytes(content.replace(b"cheap", b"cheep"))


def damage_not_ours(path: Path) -> None:
    save_file({"weight": np.zeros(3)}, path, metadata={"format": "pt"})


def damage_table(path: Path) -> None:
    path.write_text("a,b\n1,2\n")


DAMAGES = [value for name, value in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.removeprefix("damage_"))
def test_damaged_model_file(model: Path, fitted: Path, damage: Callable[[Path], None]) -> None:
    damage(model)

    assert "class.mlp" in refused("predict", model, fitted / "flats.csv", "--out", "p.csv")


def test_model_file_of_a_newer_format(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multilayer.model.model import Model

    with monkeypatch.context() as patch:
        patch.setattr("multilayer.model.format.FORMAT", 99)
        Model.load(model).save(model)

    message = refused("inspect", model)

    assert "99" in message
    assert "Update multilayer" in message


def test_missing_model_file(fitted: Path) -> None:
    assert "nowhere.mlp" in refused("inspect", "nowhere.mlp")
