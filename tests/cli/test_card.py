"""`multilayer card` prints or writes the card of a model."""

import json
from pathlib import Path

from tests.cli.command_line import done


def test_a_card_is_printed_or_written(model: Path) -> None:
    printed = done("card", model).stdout
    assert printed.startswith("---\nlibrary_name: multilayer\n")
    assert "README.md" in done("card", model, "--out", "README.md").stdout
    assert Path("README.md").read_text().split() == printed.split()
    found = json.loads(done("card", model, "--json").stdout)
    assert found["card"].startswith("---")
