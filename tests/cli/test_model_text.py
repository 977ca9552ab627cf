"""A model in words."""

import json
from pathlib import Path

import pytest

from multilayer.cli.model_text import MOST_METRICS, score_table
from multilayer.cli.printing import show
from multilayer.model.model import Model
from tests.cli.command_line import done


def shown(capsys: pytest.CaptureFixture[str], score: dict[str, float]) -> str:
    show(score_table(score))
    return capsys.readouterr().out


def test_a_score_stands_beside_its_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, {"rmse": 12.5, "baseline_rmse": 31_000.0, "r2": 0.5}).splitlines()
    assert [line.split() for line in (lines[0], *lines[2:])] == [
        ["metric", "model", "baseline"],
        ["rmse", "12.5000", "31,000.0"],
        ["r2", "0.5000", "-"],
    ]


def test_of_very_many_targets_the_means_alone_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    few = {"rmse": 1.0} | {f"rmse[{k}]": 1.0 for k in range(MOST_METRICS - 1)}
    assert "rmse[0]" in shown(capsys, few)
    many = few | {"rmse[last]": 1.0}
    assert "rmse[" not in shown(capsys, many)
    assert "rmse" in shown(capsys, many)


def test_json_of_a_model_leaves_out_the_hashes_of_its_rows(fitted: Path) -> None:
    facts = json.loads(done("inspect", fitted / "rent.mlp", "--json").stdout)
    summary = Model.load(fitted / "rent.mlp").summary

    assert facts["summary"].keys() == summary.keys() - {"trained_on"}
    assert "trained_on" in summary
    assert (facts["target"], facts["task"]) == ("rent", "regression")
