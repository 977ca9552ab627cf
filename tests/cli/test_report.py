"""`multilayer report`, `compare` and `fit --report`: files, words and refusals."""

import json
from pathlib import Path

from tests.cli.command_line import done, refused


def test_fit_writes_a_report_of_held_out_rows(fitted: Path) -> None:
    words = ("fit", fitted / "flats.csv", "--target", "rent", "--members", 2, "--epochs", 2, "--out", "r.mlp")
    result = done(*words, "--report", "r.html")

    assert "Report: r.html" in result.stdout
    twin = json.loads(Path("r.json").read_text())
    assert twin["data"]["source"] == "held out"
    assert twin["scores"]["comparison"]["scores"]["linear model"]
    assert Path("r.html").read_text().startswith("<!doctype html>")


def test_report_of_a_file_and_a_table(fitted: Path) -> None:
    result = done("report", fitted / "class.mlp", fitted / "flats.csv", "--out", "page.html", "--no-refits")

    assert "Written: page.html and page.json" in result.stdout
    assert "was trained on" in result.stdout
    facts = json.loads(
        done("report", fitted / "class.mlp", fitted / "flats.csv", "--no-refits", "--json").stdout
    )
    assert facts["report"] == "report.html" and facts["data"]["source"] == "table"


def test_compare_lists_models_the_best_first(fitted: Path) -> None:
    done("fit", fitted / "flats.csv", "--target", "class", "--members", 2, "--epochs", 1, "--out", "b.mlp")

    text = done("compare", fitted / "class.mlp", "b.mlp", fitted / "flats.csv").stdout
    facts = json.loads(done("compare", fitted / "class.mlp", "b.mlp", fitted / "flats.csv", "--json").stdout)

    assert "best" in text and "constant" in text
    assert {row["model"] for row in facts["models"]} == {str(fitted / "class.mlp"), "b.mlp"}
    losses = [row["scores"]["log_loss"] for row in facts["models"]]
    assert losses == sorted(losses)


def test_wrong_words_are_one_message(fitted: Path) -> None:
    assert "ends in .html" in refused(
        "report", fitted / "class.mlp", fitted / "flats.csv", "--out", "page.pdf"
    )
    assert "at least one model" in refused("compare", fitted / "flats.csv")
