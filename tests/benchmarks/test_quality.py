import json
import os
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import multilayer as ml
from benchmarks import quality
from benchmarks.contestants import CONTESTANTS
from benchmarks.suite import read_suite
from benchmarks.trial import Trial, run, split

ENTRIES = [
    {"name": "pets", "target": "kind", "task": "binary", "metric": "roc_auc", "positive": "dog"},
    {"name": "three", "target": "kind", "task": "multiclass", "metric": "log_loss"},
    {"name": "prices", "target": "price", "task": "regression", "metric": "rmse"},
    {
        "name": "big prices",
        "target": "price",
        "task": "regression",
        "metric": "rmse",
        "target_transform": "log1p",
    },
]
SLOW = {"realmlp", "realmlp-ce", "tabm", "tabm-ple"}
OURS_PUBLISHED = {"ours-mlp", "ours-resnet", "ours-realmlp", "ours-tabm"}
ALL_CORES = os.cpu_count() or 1  # so that a trial in this process leaves its affinity alone


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tables of 200 rows that share a number with gaps, a number, a text, a date and an id to drop."""
    folder, rng, n = tmp_path_factory.mktemp("suite"), np.random.default_rng(0), 200
    x, town = rng.normal(size=(n, 2)), rng.choice(["Ulm", "Bonn", "Köln"], n)
    signal = x[:, 0] + (town == "Ulm") + rng.normal(scale=0.3, size=n)
    features = pd.DataFrame({"x[0]": x[:, 0], "x[1]": x[:, 1], "town": town, "id": range(n)})
    features["day"] = pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d")
    features.loc[::9, "x[1]"] = None
    features.loc[::7, "town"] = None
    targets = {
        "pets": np.where(signal > 0.5, "dog", "cat"),
        "three": np.digitize(signal, [0, 1]),
        "prices": signal,
        "big prices": np.exp(signal + 5),
    }
    for entry in ENTRIES:
        values = {entry["target"]: targets[entry["name"]]}
        features.assign(**values).to_csv(folder / f"{entry['name']}.csv", index=False)
    entries = [entry | {"file": f"{entry['name']}.csv", "drop": ["id"]} for entry in ENTRIES]
    (folder / "suite.json").write_text(json.dumps(entries))
    return folder


def test_everyone_gets_the_same_64_16_20_split_by_class(suite: Path):
    (entry,) = read_suite(suite, ["pets"])

    _, parts = split(entry, seed=1)
    _, again = split(entry, seed=1)

    assert [len(part) for part in parts] == [128, 32, 40]
    assert not {*parts[0]["id"]} & {*parts[1]["id"]} and not {*parts[0]["id"]} & {*parts[2]["id"]}
    shares = [(part["kind"] == "dog").mean() for part in parts]
    assert max(shares) - min(shares) < 0.03
    for part, same in zip(parts, again, strict=True):
        pd.testing.assert_frame_equal(part, same)


def test_a_target_scored_on_log1p_is_learnt_on_log1p(suite: Path):
    (entry,) = read_suite(suite, ["big prices"])

    entry, (train, *_) = split(entry, seed=0)

    assert not entry.log_target
    assert train["price"].max() < 10


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CONTESTANTS]
)
@pytest.mark.parametrize("table", ["pets", "three", "prices"])
@pytest.mark.filterwarnings("ignore")  # those of other packages are theirs
def test_each_contestant_learns_something(suite: Path, table: str, name: str):
    if missing := CONTESTANTS[name].missing():
        pytest.skip(f"{', '.join(missing)} is not installed")
    if name in ("ours-fast", "ours-best") and "quality" not in signature(ml.fit).parameters:
        pytest.skip("fit has no qualities yet")

    if name in OURS_PUBLISHED and table != "prices":
        pytest.skip("tests/test_published.py trains them on classes")

    result = run(Trial(str(suite), table, name, seed=0, threads=ALL_CORES))

    assert result["fit_s"] > 0 and result["peak_mb"] >= result["before_mb"] > 0
    assert ("validation" in result) == (not name.endswith("-80"))
    beats_chance = {
        "pets": result["score"] > 0.75,
        "three": result["score"] < 1.09,
        "prices": result["score"] < 1.0,
    }
    assert beats_chance[table], result["score"]


def test_a_run_goes_on_where_it_stopped(suite: Path, capsys: pytest.CaptureFixture[str]):
    command = [str(suite), "--out", "out/quality.jsonl", "--contestants", "hgb", "--tables", "pets"]

    quality.main([*command, "--seeds", "0"])
    quality.main([*command, "--seeds", "0,1"])

    rows = quality.read_rows(Path("out/quality.jsonl"))
    assert [(row["table"], row["contestant"], row["seed"]) for row in rows] == [
        ("pets", "hgb", 0),
        ("pets", "hgb", 1),
    ]
    assert {"roc_auc", "log_loss", "accuracy", "predict_s", "peak_mb", "machine", "date"} <= rows[0].keys()
    assert "pets                 seed 1 hgb" in capsys.readouterr().out


def test_an_error_is_a_line_and_so_is_a_timeout(suite: Path):
    trial = Trial(str(suite), "no such table", "hgb", seed=0, threads=1)

    assert "ValueError" in quality.measure(trial, None)["error"]
    assert quality.measure(trial, 0.01) == {"error": "not done after 0 s"}


def test_lines_of_ours_depend_on_our_sources():
    ours, other = (Trial("folder", "pets", name, 0, 2) for name in ("ours-80", "catboost-80"))

    assert quality.key(ours)["commit"] == quality.commit()
    assert quality.key(other)["commit"] is None


def test_who_is_first_changes_with_the_seed(suite: Path):
    order = [
        (trial.seed, trial.contestant)
        for trial in quality.trials(suite, ["three"], ["hgb", "ours"], [0, 1], threads=2)
    ]

    assert order == [(0, "hgb"), (0, "ours"), (1, "ours"), (1, "hgb")]


def test_an_unknown_contestant_is_refused(suite: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        quality.main([str(suite), "--contestants", "hgbt"])

    assert "unknown contestants hgbt; known: ours" in capsys.readouterr().err
