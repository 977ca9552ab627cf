"""The suite of small tables: whole ones and draws, which everyone gets alike."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.learning_curves import curves, draw
from benchmarks.small_tables import FEW, main
from benchmarks.suite import MOST_TEST, read_suite
from benchmarks.trial import split


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small tables beside draws of a larger one."""
    other, folder = tmp_path_factory.mktemp("other"), tmp_path_factory.mktemp("suite")
    rng = np.random.default_rng(0)
    entries = []
    for name, n in (("few", 300), ("many", 9_000)):
        table = pd.DataFrame(
            {"x": rng.normal(size=n), "kind": rng.choice(["a", "b", "rare"], n, p=[0.6, 0.399, 0.001])}
        )
        table.to_csv(other / f"{name}.csv", index=False)
        entries.append(
            {
                "name": name,
                "file": f"{name}.csv",
                "target": "kind",
                "task": "multiclass",
                "metric": "accuracy",
            }
        )
    (other / "suite.json").write_text(json.dumps(entries))
    main([str(folder), "--more", str(other), "--development", str(other), "--rows", "100,7000"])
    return folder


def test_has_whole_tables_and_draws_where_there_are_enough_rows(suite: Path) -> None:
    entries = {entry.name: entry for entry in read_suite(suite)}
    assert list(entries) == ["diabetes", "iris", "breast_cancer", "wine", "few", "few-100", "many-100"]
    assert all(
        entry.metric == ("rmse" if entry.task == "regression" else "log_loss") for entry in entries.values()
    )
    assert all(
        len(entries[name].read()) < FEW for name in ("diabetes", "iris", "breast_cancer", "wine", "few")
    )


def test_a_draw_is_tested_on_other_rows_of_classes_that_it_has(suite: Path) -> None:
    (entry,) = read_suite(suite, ["many-100"])
    _, (train, valid, test) = split(entry, seed=3)
    assert len(train) + len(valid) <= 100 < MOST_TEST - 100 < len(test) <= MOST_TEST
    assert not {*train.index, *valid.index} & {*test.index}
    assert {*test["kind"]} <= {*train["kind"]}
    _, (again, *_) = split(entry, seed=4)
    assert {*again.index} != {*train.index}


def test_curves_are_means_over_seeds_of_draws_alone() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    rows = [
        {"table": table, "contestant": name, "seed": seed, "metric": "log_loss", "score": score}
        for table, name, seed, score in [
            ("a-100", "ours-80", 0, 0.3), ("a-100", "ours-80", 1, 0.5), ("a-200", "ours-80", 0, 0.2),
            ("a-100", "linear-80", 0, 0.9), ("iris", "ours-80", 0, 0.1), ("a-100", "ours-80", 0, 0.4),
        ]
    ]  # fmt: skip
    found = curves(rows)
    assert found == {"a": {"ours-80": {100: pytest.approx(0.45), 200: 0.2}, "linear-80": {100: 0.9}}}
    draw(figure := Figure(), found)
    assert len(figure.axes[0].lines) == 2
