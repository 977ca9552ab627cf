"""Reports of all tasks: figures that are right, one file without a network, words that are escaped."""

import json
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import multilayer as ml
from multilayer import ConfigError, OutputError
from multilayer.report.page import findings, page
from multilayer.report.sections import ORDER, SECTIONS
from multilayer.report.subject import subject_of

SMALL: dict[str, Any] = {"members": 8, "epochs": 3, "hidden": 4, "seed": 0}
RNG = np.random.default_rng(0)
N = 240
TABLE = pd.DataFrame(
    {
        "size": RNG.uniform(20, 120, N),
        "<b>zone</b>": RNG.choice(["old", "port", "hills"], N),
        "day": pd.date_range("2024-01-01", periods=N),
        "noise": RNG.normal(size=N),
        "same": 1,
        "note": ["nice flat near the old port", "needs some work but has a view"] * (N // 2),
    }
)
TABLE["rent"] = 300 + 11 * TABLE["size"] + 150 * (TABLE["<b>zone</b>"] == "port") + RNG.normal(0, 30, N)
TARGETS: dict[str, tuple[Any, dict[str, Any]]] = {
    "regression": (TABLE["rent"], {}),
    "binary": (np.where(TABLE["rent"] > 1100, "<dear>", "cheap"), {}),
    "threshold": (np.where(TABLE["rent"] > 1400, "dear", "cheap"), {"threshold": "f1"}),
    "multiclass": (np.digitize(TABLE["rent"], [800, 1200]).astype(str), {}),
    "quantiles": (TABLE["rent"], {"quantiles": (0.1, 0.5, 0.9)}),
    "counts": (RNG.poisson(TABLE["size"] / 20).astype(float), {"objective": "poisson"}),
    "log": (TABLE["rent"], {"objective": "log"}),
}


class Tags(HTMLParser):
    """Tags that were opened and not closed, and all that loads something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        if tag not in ("meta", "link", "rect", "circle", "line", "path", "polyline", "polygon"):
            self.open.append(tag)
        self.loads += [
            v for k, v in given.items() if k in ("src", "href") and not v.startswith(("#", "data:"))
        ]
        if tag in ("h1", "h2"):
            self.headings.append(given.get("id") or tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("rect", "circle", "line", "path", "polyline", "polygon"):
            return
        assert self.open.pop() == tag


def model_of(task: str, **more: Any) -> ml.Model:
    y, settings = TARGETS[task]
    table = TABLE.drop(columns="rent").assign(target=y)
    return ml.fit(table, target="target", **SMALL, **settings, **more)


@pytest.fixture(scope="module")
def regression() -> ml.Model:
    return model_of("regression", baselines=True)


@pytest.mark.parametrize("task", TARGETS)
def test_every_task_has_a_whole_page(task: str) -> None:
    found = findings(subject_of(model_of(task), None, refits=False))
    tags = Tags()
    text = page(found)
    tags.feed(text)

    assert not tags.open and not tags.loads
    assert [f"{name}-title" for name in ORDER] == tags.headings[1:]
    assert set(ORDER) == set(SECTIONS)
    assert "http" not in text.replace("http-equiv", "") and "<b>zone</b>" not in text
    assert json.loads(json.dumps(found, allow_nan=True))["format"] == 1
    assert len(text) < 400_000


def test_figures_are_of_predictions_that_no_network_had_trained_on(regression: ml.Model) -> None:
    subject = subject_of(regression, None, refits=False)

    assert subject.n_rows == N and len(subject.code) == N
    assert subject.score == pytest.approx(regression.score)
    assert (
        regression.evidence is not None
        and "evidence" not in ml.Model.from_bytes(regression.to_bytes()).__dict__
    )


def test_validation_rows_of_all_networks_are_shown_too() -> None:
    model = model_of("regression", validation=0.25)
    subject = subject_of(model, None, refits=False)

    assert len(subject.code) == N // 4
    assert subject.score == pytest.approx(model.score, rel=1e-4)


def test_two_files_are_written_and_agree(regression: ml.Model, tmp_path: Path) -> None:
    found = regression.report(tmp_path / "report.html", refits=False)

    twin = json.loads((tmp_path / "report.json").read_text())
    assert twin["verdict"] == found["verdict"]
    assert escape(found["verdict"]) in (tmp_path / "report.html").read_text()
    assert twin["scores"]["comparison"]["scores"]["linear model"]["rmse"] > 0
    assert 'data-slot="what-if"' in (tmp_path / "report.html").read_text()


def test_a_table_gives_the_scores_of_evaluate(regression: ml.Model, tmp_path: Path) -> None:
    new = TABLE.drop(columns="rent").assign(target=TARGETS["regression"][0]).sample(60, random_state=0)
    new["size"] += 0.01  # rows that it has not seen
    found = regression.report(tmp_path / "r.html", new, refits=False)

    expected = regression.evaluate(new)
    assert found["scores"]["table"]["rmse"] == pytest.approx(expected["rmse"])
    assert found["scores"]["table_constant"]["rmse"] == pytest.approx(expected["baseline_rmse"])
    assert not found["scores"]["is_seen"]


def test_rows_that_were_trained_on_are_told(regression: ml.Model, tmp_path: Path) -> None:
    seen = TABLE.drop(columns="rent").assign(target=TARGETS["regression"][0])
    found = regression.report(tmp_path / "r.html", seen, refits=False)

    assert found["scores"]["is_seen"]
    assert "trained on about 100% of the rows" in found["warnings"]["said"][0]


def test_refits_find_the_column_that_tells_and_what_would_help(regression: ml.Model, tmp_path: Path) -> None:
    found = regression.report(tmp_path / "r.html")

    importance = found["columns"]["importance"]
    assert next(iter(importance)) == "size" and found["columns"]["judged_by"] == "refit"
    assert abs(importance["noise"]["mean"]) < importance["size"]["mean"] / 5
    curve = found["columns"]["curves"]["size"]["outputs"]["target"]["mean"]
    assert curve[-1] > curve[0]
    rows = [point["rows"] for point in found["learning"]["curve"]]
    assert rows == sorted(rows) and set(found["learning"]["halves"]) == {"rows", "columns", "time"}


def test_a_slice_that_goes_worst_is_found() -> None:
    x = RNG.normal(size=400)
    group = RNG.choice(["calm", "wild", "mild"], 400)
    y = 3 * x + RNG.normal(size=400) * np.where(group == "wild", 6.0, 0.1)
    model = ml.fit({"x": x, "group": group, "y": y}, target="y", members=8, epochs=15, seed=0)

    worst = findings(subject_of(model, None, refits=False))["slices"]["worst"]

    assert worst[0]["slice"] == "group is wild" and worst[0]["rows"] == int((group == "wild").sum())
    assert worst[0]["times_the_loss"] > 5
    assert "group is calm" not in [of["slice"] for of in worst]


def test_no_slice_is_found_in_noise() -> None:
    table = {"x": RNG.normal(size=300), "g": RNG.choice(list("abcd"), 300), "y": RNG.normal(size=300)}
    model = ml.fit(table, target="y", members=8, epochs=2, hidden=4)

    assert findings(subject_of(model, None, refits=False))["slices"]["worst"] == []


def test_confusion_counts_every_row() -> None:
    model = model_of("multiclass")
    found = findings(subject_of(model, None, refits=False))["errors"]

    assert np.sum(found["matrix"]) == N
    share = sum(found["matrix"][i][i] for i in range(3)) / N
    assert share == pytest.approx(model.score["accuracy"])


def test_a_column_that_gives_the_target_away_is_warned_of() -> None:
    x = RNG.normal(size=300)
    table = {
        "leak": np.where(x > 0, "a", "b"),
        "other": RNG.normal(size=300),
        "y": np.where(x > 0, "yes", "no"),
    }
    model = ml.fit(table, target="y", members=8, epochs=20, seed=0)

    said = findings(subject_of(model, None, refits=False))["warnings"]["said"]

    assert any("'leak' alone tells nearly all of the target" in one for one in said)


def test_several_targets_have_a_page() -> None:
    table = {
        "x": list(range(120)),
        "y": [i * 2.5 for i in range(120)],
        "z": [i % 7 + 0.5 for i in range(120)],
    }
    numbers = ml.fit(table, target=["y", "z"], **SMALL)
    labels = ml.fit({**table, "y": [0, 1] * 60, "z": [1, 1, 0] * 40}, target=["y", "z"], **SMALL)

    for model in (numbers, labels):
        assert "</html>" in page(findings(subject_of(model, None, refits=False)))


def test_an_exposure_is_no_obstacle(tmp_path: Path) -> None:
    table = {"x": list(range(120)), "km": [1.0, 2.0] * 60, "n": [0.0, 1.0, 2.0] * 40}
    model = ml.fit(table, target="n", objective="poisson", exposure="km", **SMALL)

    assert model.report(tmp_path / "r.html")["learning"]["why_not"].startswith("Models with an exposure")
    assert model.report(tmp_path / "r.html", table, refits=False)["scores"]["table"]


def test_few_rows_have_a_page(tmp_path: Path) -> None:
    model = ml.fit({"x": RNG.normal(size=30), "y": RNG.normal(size=30)}, target="y", **SMALL)

    found = model.report(tmp_path / "r.html")

    assert "too few" in found["learning"]["why_not"]


def test_wrong_places_are_refused(regression: ml.Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"its name ends in .html; got 'report.pdf'"):
        regression.report(tmp_path / "report.pdf")
    with pytest.raises(OutputError):
        regression.report(tmp_path / "nowhere" / "report.html", refits=False)
    with pytest.raises(ConfigError, match=r"a model from a file, or of a streamed table, holds none"):
        ml.Model.from_bytes(regression.to_bytes()).report(tmp_path / "report.html")


def test_the_code_of_a_page_fits_the_same_model(tmp_path: Path) -> None:
    model = model_of("binary", drop=["note"])
    code = findings(subject_of(model, None, refits=False))["made"]["code"]
    TABLE.drop(columns="rent").assign(target=TARGETS["binary"][0]).to_parquet(tmp_path / "table.parquet")
    names: dict[str, Any] = {}

    exec(code.replace("table.csv", str(tmp_path / "table.parquet")), names)

    new = TABLE.drop(columns="rent").head(10)
    assert (names["model"].predict_proba(new) == model.predict_proba(new)).all()


def test_script_and_style_are_small() -> None:
    root = Path(ml.__file__).parent / "report"

    assert len((root / "script.js").read_bytes()) < 20_000
    assert not re.search(r"https?:|@import|url\(", (root / "style.css").read_text())
