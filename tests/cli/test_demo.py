"""`multilayer demo`."""

import json
from pathlib import Path

from tests.cli.command_line import done


def test_demo_runs_the_commands_that_it_prints(tmp_path: Path) -> None:
    text = done("demo", "--dir", "show").stdout

    assert "$ multilayer fit show/tumours.csv --target diagnosis --out show/tumours.mlp" in text
    assert "$ multilayer predict show/tumours.mlp show/new_tumours.csv --out show/predictions.csv" in text
    assert len((tmp_path / "show/predictions.csv").read_text().splitlines()) == 1 + 114
    score = json.loads(done("evaluate", "show/tumours.mlp", "show/new_tumours.csv", "--json").stdout)["score"]
    assert score["accuracy"] > 0.9 > score["baseline_accuracy"]
