"""`multilayer explain`, `drift`, and what `fit` and `predict` say of how sure predictions are."""

import csv
import json
from io import StringIO
from pathlib import Path

import numpy as np

from multilayer import Model
from tests.cli.command_line import ROWS, done, flats, refused, write_csv


def test_explain_shows_columns_and_their_effects(fitted: Path) -> None:
    shown = done("explain", fitted / "rent.mlp", fitted / "flats.csv", "--rows", "1").stdout
    assert "size" in shown and "is lowest at" in shown
    assert "row 1:" in shown and "on average" in shown


def test_explain_gives_all_as_json(fitted: Path) -> None:
    result = done("explain", fitted / "class.mlp", fitted / "flats.csv", "--rows", "2", "--json")
    found = json.loads(result.stdout)
    names = {row["column"] for row in found["importance"]}
    assert set(found["effects"]) <= names
    assert np.array(found["rows"]["values"]).shape == (2, len(found["rows"]["columns"]), 1)
    assert found["of"] == "loss"


def test_drift_names_the_column_that_moved(fitted: Path) -> None:
    rows = flats()
    write_csv("moved.csv", rows | {"size": [size * 3 for size in rows["size"]]})
    found = json.loads(done("drift", fitted / "rent.mlp", "moved.csv", "--json").stdout)["columns"]
    assert found[0]["column"] == "size" and found[0]["moved"]
    assert "columns moved" in done("drift", fitted / "rent.mlp", fitted / "flats.csv").stdout


def test_predict_writes_bounds_sets_and_flags(fitted: Path) -> None:
    out = done("predict", fitted / "rent.mlp", fitted / "flats.csv", "--coverage", "0.8", "--flags").stdout
    rows = list(csv.DictReader(StringIO(out)))
    assert list(rows[0]) == ["prediction", "lower", "upper", "flags"] and len(rows) == ROWS
    assert all(float(row["lower"]) <= float(row["prediction"]) <= float(row["upper"]) for row in rows)

    out = done("predict", fitted / "class.mlp", fitted / "flats.csv", "--coverage", "0.8").stdout
    sets = {row["set"] for row in csv.DictReader(StringIO(out))}
    assert sets <= {"", "cheap", "dear", "cheap dear"} and len(sets) > 1


def test_a_coverage_that_cannot_be_told_is_refused(fitted: Path) -> None:
    message = refused("predict", fitted / "rent.mlp", fitted / "flats.csv", "--coverage", "2")
    assert "between 0 and 1" in message


def test_fit_sets_rows_aside(fitted: Path) -> None:
    done("fit", fitted / "flats.csv", "--target", "rent", "--calibration-rows", "40", "--epochs", "2",
         "--members", "2", "--no-baselines", "--out", "sure.mlp")  # fmt: skip
    model = Model.load("sure.mlp")
    assert model.interval_basis.startswith("exact: split conformal on 40 rows")
    too_many = ("--calibration-rows", "5000", "--out", "b.mlp")
    assert "fewer than there are" in refused("fit", fitted / "flats.csv", "--target", "rent", *too_many)
