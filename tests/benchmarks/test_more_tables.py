"""The further suite: entries that `read_suite` takes, tables without what R adds."""

import json
from pathlib import Path

import pandas as pd

from benchmarks.more_tables import SOURCES, Source, as_table
from benchmarks.suite import read_suite


def test_entries_are_of_the_suite_s_form(tmp_path: Path) -> None:
    (tmp_path / "suite.json").write_text(json.dumps([source.entry() for source in SOURCES]))
    entries = {entry.name: entry for entry in read_suite(tmp_path)}
    assert len(entries) == len(SOURCES)
    caravan, storms, ames = entries["caravan"], entries["storms"], entries["ames"]
    assert (caravan.task, caravan.metric, caravan.positive) == ("binary", "roc_auc", "Yes")
    assert (storms.task, storms.metric, storms.drop) == ("multiclass", "accuracy", ("category",))
    assert (ames.task, ames.metric, ames.log_target) == ("regression", "rmse", True)


def test_a_positive_class_may_be_zero_or_one() -> None:
    assert Source("R/deaths", "death", positive=0).entry()["task"] == "binary"


def test_tables_lose_row_names_and_rows_without_target() -> None:
    frame = pd.DataFrame(
        {
            "rownames": [1, 2, 3],
            "kind": pd.Categorical(["a", "b", "a"]),
            "sold": [True, False, True],
            "price": [1.0, None, 3.0],
        }
    )
    table = as_table(frame, "price")
    assert table.to_dict("list") == {"kind": ["a", "a"], "sold": ["True", "True"], "price": [1.0, 3.0]}
