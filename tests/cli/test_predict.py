"""`multilayer predict` and `evaluate`: what they print, what they write, and how they refuse."""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from tests.cli.command_line import ROWS, disk_with, done, refused, run, write_csv


def test_predict_writes_csv_to_stdout(fitted: Path) -> None:
    result = done("predict", fitted / "class.mlp", fitted / "flats.csv")

    rows = list(csv.DictReader(StringIO(result.stdout)))
    assert list(rows[0]) == ["probability_cheap", "probability_dear", "prediction"]
    assert len(rows) == ROWS
    for row in rows:
        cheap, dear = float(row["probability_cheap"]), float(row["probability_dear"])
        assert cheap + dear == pytest.approx(1)
        assert row["prediction"] == ("dear" if dear > cheap else "cheap")


def test_predict_writes_the_same_to_csv_and_parquet(fitted: Path) -> None:
    done("predict", fitted / "class.mlp", fitted / "flats.csv", "--out", "p.csv")
    result = done("predict", fitted / "class.mlp", fitted / "flats.csv", "--out", "p.parquet", "--json")

    assert json.loads(result.stdout)["n_rows"] == ROWS
    assert Path("p.csv").read_text() == done("predict", fitted / "class.mlp", fitted / "flats.csv").stdout
    with duckdb.connect() as connection:
        as_csv = connection.sql("select * from 'p.csv'").fetchnumpy()
        as_parquet = connection.sql("select * from 'p.parquet'").fetchnumpy()
    assert list(as_csv) == list(as_parquet)
    for name in as_csv:
        np.testing.assert_array_equal(as_csv[name], as_parquet[name])


def test_predict_needs_no_target_and_a_number_has_one_column(fitted: Path) -> None:
    write_csv("new.csv", {"size": [50.0, 60.0], "city": ["Bonn", "Kiel"]})

    lines = done("predict", fitted / "rent.mlp", "new.csv").stdout.splitlines()

    assert lines[0] == "prediction"
    assert [float(line) > 0 for line in lines[1:]] == [True, True]


def test_predict_overwrites_a_file_and_leaves_no_other(fitted: Path, tmp_path: Path) -> None:
    for name in ("p.csv", "p.parquet"):
        (tmp_path / name).write_text("old")

        done("predict", fitted / "class.mlp", fitted / "flats.csv", "--out", name)

        assert (tmp_path / name).stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "p.parquet"]


def test_evaluate_prints_a_table_or_json(fitted: Path) -> None:
    text = done("evaluate", fitted / "rent.mlp", fitted / "flats.csv").stdout
    score = json.loads(done("evaluate", fitted / "rent.mlp", fitted / "flats.csv", "--json").stdout)["score"]

    assert "rmse" in text
    assert "baseline" in text
    assert score["baseline_rmse"] > 0


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"size": [50.0, "big"], "city": ["Bonn", "Kiel"]}, ["'size'", "row 2", "'big'"]),
        ({"size": [50.0]}, ["'city'"]),
        ({"sizes": [50.0], "city": ["Bonn"]}, ["'size'", "'sizes'"]),
        ({"size": ["inf"], "city": ["Bonn"]}, ["'size'", "inf"]),
    ],
    ids=["text for a number", "missing column", "misspelt column", "infinity"],
)
def test_table_that_the_model_was_not_fitted_on(
    model: Path, columns: dict[str, list[Any]], said: list[str]
) -> None:
    write_csv("new.csv", columns)
    Path("p.csv").write_text("old")

    message = refused("predict", model, "new.csv", "--out", "p.csv")

    for part in said:
        assert part in message


def test_an_extra_column_is_a_warning_unless_it_is_refused(model: Path) -> None:
    write_csv("new.csv", {"size": [50.0], "city": ["Bonn"], "floor": [3]})

    result = run("predict", model, "new.csv")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert result.stderr == "warning: Columns that were not there at fit are not used: 'floor'.\n"
    assert run("predict", model, "new.csv", "--extra", "ignore").stderr == ""
    assert "'floor', which this table has" in refused("predict", model, "new.csv", "--extra", "error")


def test_evaluate_without_the_target(model: Path) -> None:
    write_csv("new.csv", {"size": [50.0], "city": ["Bonn"]})

    assert "'class'" in refused("evaluate", model, "new.csv")


def test_predictions_have_one_of_two_endings(fitted: Path) -> None:
    assert ".parquet" in refused("predict", fitted / "class.mlp", fitted / "flats.csv", "--out", "p.xlsx")


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_full_disk_leaves_the_old_predictions(fitted: Path, name: str) -> None:
    Path(name).write_text("old")

    with disk_with(300):
        message = refused("predict", fitted / "class.mlp", fitted / "flats.csv", "--out", name)

    assert name in message
