"""`fit` for every kind of target: several numbers, several labels, what a regression aims at."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from typer.testing import CliRunner

from multilayer import ConfigError, DataError, Model, SchemaError, fit
from multilayer.cli import app

N_ROWS = 120
FAST: dict[str, Any] = {"members": 2, "hidden": 8, "epochs": 3, "batch_size": 16, "lr": 0.02}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N_ROWS, 2))
NOISE = RNG.normal(size=N_ROWS)


def features() -> dict[str, Any]:
    return {"u": X[:, 0], "v": X[:, 1]}


def numbers() -> dict[str, Any]:
    """Two targets on very different scales."""
    return {"near": X[:, 0] + 0.1 * NOISE, "far": 1e4 * X[:, 1] + 5e5}


def labels() -> dict[str, Any]:
    """Labels of three types."""
    return {"big": X[:, 0] > 1, "sold": np.where(X[:, 1] > 0, "yes", "no"), "odd": (NOISE > 0).astype(int)}


@pytest.fixture(scope="module")
def numbered() -> Model:
    return fit(features() | numbers(), target=["near", "far"], **FAST)


@pytest.fixture(scope="module")
def labelled() -> Model:
    return fit(features() | labels(), target=["big", "sold", "odd"], **FAST)


class TestSeveralNumbers:
    def test_a_column_each(self, numbered: Model) -> None:
        prediction = numbered.predict(features())

        assert numbered.task.kind == "regression"
        assert numbered.target == numbered.targets == ("near", "far")
        assert prediction.shape == (N_ROWS, 2)
        for i, y in enumerate(numbers().values()):
            assert y.min() <= prediction[:, i].min() and prediction[:, i].max() <= y.max()
            assert np.corrcoef(prediction[:, i], y)[0, 1] > 0.5

    def test_scores_of_each_and_their_mean(self, numbered: Model) -> None:
        scores = numbered.evaluate(features() | numbers())
        prediction = numbered.predict(features())

        for i, (name, y) in enumerate(numbers().items()):
            rmse = np.sqrt(np.mean((prediction[:, i] - y) ** 2))
            assert scores[f"rmse[{name}]"] == pytest.approx(rmse)
            assert scores[f"baseline_rmse[{name}]"] == pytest.approx(y.std(), rel=1e-6)
        assert scores["r2"] == pytest.approx((scores["r2[near]"] + scores["r2[far]"]) / 2)
        assert set(numbered.score) == {name for name in scores if not name.startswith("baseline_")}

    def test_the_file_gives_the_same(self, numbered: Model, tmp_path: Path) -> None:
        numbered.save(tmp_path / "m.mlp")
        loaded = Model.load(tmp_path / "m.mlp")

        np.testing.assert_array_equal(loaded.predict(features()), numbered.predict(features()))
        assert loaded.task == numbered.task and loaded.target == ("near", "far")
        assert loaded.evaluate(features() | numbers()) == numbered.evaluate(features() | numbers())

    @pytest.mark.parametrize(
        "make",
        [lambda c: np.stack([*c.values()], 1), pd.DataFrame, pl.DataFrame, dict],
        ids=["matrix", "pandas", "polars", "dict"],
    )
    def test_values_beside_the_table_are_the_same(self, make: Any, numbered: Model) -> None:
        model = fit(features(), y=make(numbers()), **FAST)

        np.testing.assert_array_equal(model.predict(features()), numbered.predict(features()))

    def test_validation_rows_that_are_given(self) -> None:
        y = np.stack([*numbers().values()], 1)
        beside = fit(features(), y=y, validation=(features(), y), **FAST)
        inside = fit(
            features() | numbers(), target=["near", "far"], validation=features() | numbers(), **FAST
        )

        np.testing.assert_array_equal(beside.predict(features()), inside.predict(features()))
        assert inside.evaluate(features() | numbers())["rmse"] == pytest.approx(inside.score["rmse"])

    def test_one_column_is_one_target(self) -> None:
        y = numbers()["near"]
        one = fit(features(), y=y, **FAST)

        for model in (
            fit(features(), y=y[:, None], **FAST),
            fit(features() | {"y": y}, target=["y"], **FAST),
        ):
            np.testing.assert_array_equal(model.predict(features()), one.predict(features()))

    @pytest.mark.parametrize(
        ("columns", "settings", "error", "message"),
        [
            (numbers() | {"flat": np.ones(N_ROWS) * 7}, {}, DataError, "target 'flat': the target must vary"),
            (numbers() | {"hole": np.where(X[:, 0] > 0, np.nan, 1.0)}, {}, DataError, "target 'hole': every"),
            (numbers() | labels(), {}, DataError, "all of two values each; 'big' holds"),
            (numbers(), {"task": "binary"}, ConfigError, "task 'binary' has one target; got 2"),
            (numbers(), {"task": "multilabel"}, ConfigError, "target 'near': task 'binary' needs"),
        ],
    )
    def test_refuses(self, columns: Any, settings: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            fit(features() | columns, target=list(columns), **settings, **FAST)

    @pytest.mark.parametrize("target", [[], ["near", "near"]])
    def test_refuses_no_or_the_same_target(self, target: Any) -> None:
        with pytest.raises(ConfigError, match="target must be a column, or several different ones"):
            fit(features() | numbers(), target=target, **FAST)

    def test_evaluating_needs_all_targets(self, numbered: Model) -> None:
        with pytest.raises(SchemaError, match="needs the target column 'far'"):
            numbered.evaluate(features() | {"near": numbers()["near"]})


class TestMultilabel:
    def test_labels_come_back_as_they_were(self, labelled: Model) -> None:
        prediction, probs = labelled.predict(features()), labelled.predict_proba(features())

        assert labelled.task.kind == "multilabel"
        assert prediction.shape == probs.shape == (N_ROWS, 3)
        for i, known in enumerate([{False, True}, {"no", "yes"}, {0, 1}]):
            assert set(prediction[:, i].tolist()) <= known
        np.testing.assert_array_equal(prediction[:, 1] == "yes", probs[:, 1] > 0.5)
        assert probs.min() >= 0 and probs.max() <= 1
        assert np.corrcoef(probs[:, 0], labels()["big"])[0, 1] > 0.4

    @pytest.mark.parametrize("dtype", ["int64", "bool", "float64"])
    def test_labels_of_one_type_keep_it(self, dtype: str) -> None:
        y = (X > 0).astype(dtype)
        model = fit(features(), y=y, **FAST)

        assert model.task.kind == "multilabel"
        assert model.predict(features()).dtype == y.dtype
        assert (model.predict(features()) == y).mean() > 0.7

    def test_scores_of_each_label_and_their_mean(self, labelled: Model) -> None:
        table = features() | labels()
        scores = labelled.evaluate(table)
        right = labelled.predict(table) == np.stack([c.astype(object) for c in labels().values()], 1)

        assert scores["accuracy"] == pytest.approx(right.mean())
        assert scores["exact_match"] == pytest.approx(right.all(axis=1).mean())
        assert scores["accuracy[sold]"] == pytest.approx(right[:, 1].mean())
        assert scores["log_loss"] == pytest.approx(
            np.mean([scores[f"log_loss[{name}]"] for name in labels()])
        )
        assert scores["baseline_roc_auc"] == pytest.approx(0.5)

    def test_the_file_gives_the_same(self, labelled: Model, tmp_path: Path) -> None:
        labelled.save(tmp_path / "m.mlp")
        loaded = Model.load(tmp_path / "m.mlp")

        np.testing.assert_array_equal(loaded.predict_proba(features()), labelled.predict_proba(features()))
        np.testing.assert_array_equal(loaded.predict(features()), labelled.predict(features()))

    def test_a_label_that_never_holds_is_no_obstacle(self) -> None:
        y = np.stack([X[:, 0] > 0, np.zeros(N_ROWS, bool)], 1)
        model = fit(features(), y=y, **FAST)

        assert not model.predict(features())[:, 1].any()
        assert np.isnan(model.score["roc_auc[target1]"])
        assert model.score["roc_auc"] == model.score["roc_auc[target0]"]

    def test_one_target_is_not_multilabel(self) -> None:
        with pytest.raises(ConfigError, match="'multilabel' needs several targets"):
            fit(features(), y=X[:, 0] > 0, task="multilabel", **FAST)


class TestCommandLine:
    def run(self, *words: object) -> str:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result.stdout

    def test_several_targets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        pd.DataFrame(features() | numbers()).to_csv("t.csv", index=False)
        self.run(*shlex.split("fit t.csv --target near --target far --epochs 2 --members 1 --out m.mlp"))
        said = self.run("evaluate", "m.mlp", "t.csv")
        self.run("predict", "m.mlp", "t.csv", "--out", "p.csv")

        assert said.startswith("near, far in t.csv") and "rmse[far]" in said
        assert list(pd.read_csv("p.csv")) == ["prediction_near", "prediction_far"]
        assert json.loads(self.run("evaluate", "m.mlp", "t.csv", "--json"))["target"] == ["near", "far"]
        assert "m.mlp predicts near, far" in self.run("inspect", "m.mlp")

    def test_several_labels(self, labelled: Model, tmp_path: Path) -> None:
        labelled.save(tmp_path / "m.mlp")
        pd.DataFrame(features()).to_csv(tmp_path / "t.csv", index=False)
        self.run("predict", tmp_path / "m.mlp", tmp_path / "t.csv", "--out", tmp_path / "p.csv")

        table = pd.read_csv(tmp_path / "p.csv")
        assert list(table) == [
            f"{what}_{name}" for what in ("probability", "prediction") for name in ("big", "sold", "odd")
        ]
        np.testing.assert_allclose(table["probability_odd"], labelled.predict_proba(features())[:, 2])
        assert table["prediction_sold"].tolist() == labelled.predict(features())[:, 1].tolist()
