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
from multilayer.tasks.classification import encode_labels

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
        metrics = {name for name in scores if not name.startswith("baseline_")}
        assert set(numbered.score) == metrics - {"trained_on"}

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
        assert inside.evaluate(features() | numbers())["rmse"] == pytest.approx(
            inside.score["rmse"], rel=1e-5
        )

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

    def test_every_setting_of_targets(self, tmp_path: Path) -> None:
        path, out = tmp_path / "t.csv", tmp_path / "m.mlp"
        pd.DataFrame(insured() | {"sick": np.where(X[:, 0] > 1, "yes", "no")}).to_csv(path, index=False)
        quick = ("--epochs", 2, "--members", 1, "--out", out)
        rates = self.run(
            "fit", path, "--target", "claims", "--objective", "poisson", "--exposure", "years", *quick
        )
        assert "per unit of 'years'" in rates and "poisson_deviance" in rates
        self.run("fit", path, "--target", "u", "--quantiles", "0.2,0.5", *quick)
        assert Model.load(out).quantiles == (0.2, 0.5)
        decided = self.run(
            "fit", path, "--target", "sick", "--class-weight", "yes=3", "--threshold", "f1", *quick
        )
        assert "'no' 1, 'yes' 3" in decided and "the best for f1" in decided

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ("--quantiles 0.1;0.9", "--quantiles takes numbers with commas between them; got '0.1;0.9'"),
            ("--class-weight yes", "--class-weight takes balanced, or LABEL=WEIGHT; got 'yes'"),
            ("--objective poison", "Did you mean 'poisson'?"),
            ("--threshold 7", "a threshold is for classes"),
        ],
    )
    def test_wrong_settings_are_said_in_one_line(self, words: str, message: str, tmp_path: Path) -> None:
        pd.DataFrame(insured()).to_csv(tmp_path / "t.csv", index=False)
        result = CliRunner().invoke(
            app,
            [
                "fit",
                str(tmp_path / "t.csv"),
                "--target",
                "u",
                "--out",
                str(tmp_path / "m.mlp"),
                *words.split(),
            ],
        )
        assert result.exit_code == 2 and message in result.stderr

    def test_several_labels(self, labelled: Model, tmp_path: Path) -> None:
        labelled.save(tmp_path / "m.mlp")
        pd.DataFrame(features()).to_csv(tmp_path / "t.csv", index=False)
        self.run("predict", tmp_path / "m.mlp", tmp_path / "t.csv", "--out", tmp_path / "p.csv")

        table = pd.read_csv(tmp_path / "p.csv")
        assert list(table) == [
            f"{what}_{name}" for what in ("probability", "prediction") for name in ("big", "sold", "odd")
        ]
        np.testing.assert_allclose(
            table["probability_odd"], labelled.predict_proba(features())[:, 2], rtol=1e-5
        )
        assert table["prediction_sold"].tolist() == labelled.predict(features())[:, 1].tolist()


class TestObjectives:
    @pytest.mark.parametrize("objective", ["poisson", "gamma", "tweedie", "log"])
    def test_positive_targets_give_positive_predictions(self, objective: str) -> None:
        mean = 20 * np.exp(X[:, 0])
        drawn = {"poisson": RNG.poisson(mean), "tweedie": RNG.poisson(mean / 40) * 3.5}
        y = drawn.get(objective, mean * RNG.gamma(5, 0.2, N_ROWS))
        model = fit(features(), y=y, objective=objective, **FAST | {"epochs": 10})
        far = {"u": [-50.0, 50.0], "v": [0.0, 0.0]}

        assert (model.predict(features()) > 0).all() and (model.predict(far) > 0).all()
        metric = model.task.metric
        assert model.score[metric] < model.summary["baseline"][metric]
        assert any(objective in said or "logarithm" in said for said in model.summary["decisions"])

    def test_the_logarithm_predicts_means(self) -> None:
        x, noise = np.random.default_rng(0).normal(size=(2, 8 * N_ROWS))
        y = np.exp(x + noise)
        model = fit({"x": x}, y=y, objective="log", **FAST | {"epochs": 10})

        assert model.task.factor == pytest.approx(np.exp(0.5), rel=0.25)  # of a lognormal of spread 1
        assert model.predict({"x": x}).mean() == pytest.approx(y.mean(), rel=0.2)

    def test_quantiles_cover_what_they_say(self, tmp_path: Path) -> None:
        n = 1000
        rng = np.random.default_rng(1)
        x = rng.uniform(-1, 1, n)
        table = {"x": x, "y": x + (1 + x) * rng.normal(size=n)}
        model = fit(table, target="y", quantiles=(0.1, 0.5, 0.9), **FAST | {"epochs": 8, "members": 4})
        model.save(tmp_path / "m.mlp")
        quantiles = Model.load(tmp_path / "m.mlp").predict_quantiles(table)

        assert model.quantiles == (0.1, 0.5, 0.9)
        assert (np.diff(quantiles, axis=1) >= 0).all()
        assert model.score["coverage"] == pytest.approx(0.8, abs=0.07)
        np.testing.assert_array_equal(model.predict(table), quantiles[:, 1])
        width = quantiles[:, 2] - quantiles[:, 0]
        assert width[x > 0.5].mean() > 2 * width[x < -0.5].mean()
        assert list(model.predict_columns(table)) == [
            "quantile_0.1", "quantile_0.5", "quantile_0.9", "prediction"
        ]  # fmt: skip

    def test_quantiles_of_several_targets(self) -> None:
        model = fit(features(), y=np.stack([*numbers().values()], 1), quantiles=(0.2, 0.8), **FAST)

        assert model.predict_quantiles(features()).shape == (N_ROWS, 2, 2)
        np.testing.assert_array_equal(model.predict(features()), model.predict_quantiles(features())[:, :, 0])

    def test_quantiles_need_a_model_of_them(self, numbered: Model) -> None:
        with pytest.raises(SchemaError, match="this one predicts the numbers 'near', 'far'"):
            numbered.predict_quantiles(features())

    def test_the_median_bears_outliers(self) -> None:
        y = X[:, 0].copy()
        y[::10] = 1e6
        for objective in ("absolute_error", "huber"):
            model = fit(features(), y=y, objective=objective, **FAST | {"epochs": 10})
            assert np.median(np.abs(model.predict(features()) - X[:, 0])) < 1


YEARS = np.random.default_rng(2).uniform(0.2, 3, N_ROWS)
CLAIMS = np.random.default_rng(3).poisson(YEARS * np.exp(X[:, 0]))


def insured() -> dict[str, Any]:
    return features() | {"years": YEARS, "claims": CLAIMS}


@pytest.fixture(scope="module")
def claims() -> Model:
    return fit(insured(), target="claims", objective="poisson", exposure="years", **FAST)


class TestExposure:
    def test_predictions_grow_with_exposure(self, claims: Model, tmp_path: Path) -> None:
        claims.save(tmp_path / "m.mlp")
        loaded = Model.load(tmp_path / "m.mlp")
        rate = claims.predict(features() | {"years": np.ones(N_ROWS)})

        assert "years" not in claims.schema.names
        np.testing.assert_allclose(loaded.predict(insured()), rate * YEARS)
        np.testing.assert_allclose(loaded.predict_columns(insured())["prediction"], rate * YEARS)

    def test_scores_are_per_unit(self, claims: Model) -> None:
        from sklearn.metrics import mean_poisson_deviance

        rate = claims.predict(features() | {"years": np.ones(N_ROWS)})
        expected = mean_poisson_deviance(CLAIMS / YEARS, rate, sample_weight=YEARS)
        scores = claims.evaluate(insured())
        assert scores["poisson_deviance"] == pytest.approx(expected)
        constant = np.full(N_ROWS, CLAIMS.sum() / YEARS.sum())
        expected = mean_poisson_deviance(CLAIMS / YEARS, constant, sample_weight=YEARS)
        assert scores["baseline_poisson_deviance"] == pytest.approx(expected, rel=1e-5)

    def test_it_is_the_rate_weighted_by_exposure(self, claims: Model) -> None:
        rate = CLAIMS / YEARS
        other = fit(features(), y=rate, sample_weight=YEARS, objective="poisson", **FAST)
        beside = fit(features(), y=CLAIMS, exposure=YEARS, objective="poisson", **FAST)
        ones = features() | {"years": np.ones(N_ROWS)}

        np.testing.assert_allclose(claims.predict(ones), other.predict(features()), rtol=1e-4)
        np.testing.assert_allclose(beside.predict(features()), other.predict(features()), rtol=1e-4)

    def test_new_rows_need_it(self, claims: Model) -> None:
        with pytest.raises(SchemaError, match="for an exposure, in the column 'years'"):
            claims.predict(features())
        with pytest.raises(DataError, match="exposure must be 120 finite numbers above 0"):
            claims.predict(features() | {"years": np.zeros(N_ROWS)})

    @pytest.mark.parametrize("settings", [{}, {"objective": "huber"}, {"task": "multiclass"}])
    def test_only_rates_have_it(self, settings: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="exposure is for the objectives 'poisson'"):
            fit(insured(), target="claims", exposure="years", **settings, **FAST)


class TestClassWeight:
    SICK = np.where(X[:, 0] + NOISE > 1.7, "yes", "no")

    def test_it_leans_the_probabilities_and_not_the_scores(self) -> None:
        plain = fit(features(), y=self.SICK, **FAST)
        balanced = fit(features(), y=self.SICK, class_weight="balanced", **FAST)
        said = next(s for s in balanced.summary["decisions"] if s.startswith("class weights"))

        assert balanced.predict_proba(features())[:, 1].mean() > plain.predict_proba(features())[:, 1].mean()
        assert balanced.summary["class_shares"] == plain.summary["class_shares"]
        assert balanced.summary["baseline"] == plain.summary["baseline"]
        assert "'yes'" in said

    def test_it_is_row_weights(self) -> None:
        y = np.where(X[:, 0] + NOISE > 0.5, "yes", "no")
        options: dict[str, Any] = {"validation": 0.2, **FAST, "hidden": 32, "epochs": 8, "members": 4}
        plain = fit(features(), y=y, **options)
        weighted = fit(features(), y=y, sample_weight=np.where(y == "yes", 4.0, 1.0), **options)
        by_class = fit(features(), y=y, class_weight={"yes": 4}, **options)
        of_plain, p, q = (m.predict_proba(features())[:, 1] for m in (plain, weighted, by_class))
        # target statistics know weights of rows, not of classes: nearly the same
        assert np.corrcoef(p, q)[0, 1] > 0.8
        assert min(p.mean(), q.mean()) > of_plain.mean()

    def test_only_classes_have_it(self) -> None:
        with pytest.raises(ConfigError, match="class_weight is for one target of classes"):
            fit(features(), y=X[:, 0], class_weight="balanced", **FAST)


class TestThreshold:
    SICK = TestClassWeight.SICK

    def test_a_metric_chooses_it_on_validation_rows(self, tmp_path: Path) -> None:
        plain = fit(features(), y=self.SICK, **FAST)
        model = fit(features(), y=self.SICK, threshold="f1", **FAST)
        model.save(tmp_path / "m.mlp")
        loaded = Model.load(tmp_path / "m.mlp")
        threshold = loaded.task.threshold
        probs = loaded.predict_proba(features())

        np.testing.assert_array_equal(probs, plain.predict_proba(features()))
        np.testing.assert_array_equal(loaded.predict(features()) == "yes", probs[:, 1] >= threshold)
        assert {"f1", "precision", "recall", "balanced_accuracy"} <= set(loaded.evaluate(
            features() | {"target": self.SICK}))  # fmt: skip
        said = next(s for s in model.summary["decisions"] if s.startswith("threshold"))
        assert f"{threshold:.4g}" in said and "best for f1" in said

    def test_a_number_is_taken(self) -> None:
        model = fit(features(), y=self.SICK, threshold=0.01, **FAST)
        np.testing.assert_array_equal(
            model.predict(features()) == "yes", model.predict_proba(features())[:, 1] >= 0.01
        )

    def test_each_label_has_its_own(self) -> None:
        model = fit(features() | labels(), target=list(labels()), threshold="balanced_accuracy", **FAST)
        thresholds = [part.threshold for part in model.task.parts]

        assert len(set(thresholds)) == 3
        probs = model.predict_proba(features())
        np.testing.assert_array_equal(model.predict(features())[:, 1] == "yes", probs[:, 1] >= thresholds[1])


class TestManyClasses:
    def test_labels_of_any_kind_and_classes_of_one_row(self) -> None:
        y = np.concatenate([np.arange(60).repeat(2) * 37 - 900])[:N_ROWS].astype(np.int64)
        y[0], y[1] = 2**60, -(2**60)
        model = fit(features(), y=y, task="multiclass", **FAST)
        prediction = model.predict(features())

        assert prediction.dtype == np.int64 and set(prediction.tolist()) <= set(y.tolist())
        assert model.predict_proba(features()).shape == (N_ROWS, len(set(y.tolist())))
        assert model.classes[0] == -(2**60) and model.classes[-1] == 2**60

    def test_float_labels_come_back_as_floats(self) -> None:
        y = np.where(X[:, 0] > 0, 2.0, 1.0)
        prediction = fit(features(), y=y, **FAST).predict(features())
        assert prediction.dtype == np.float64 and set(prediction.tolist()) <= {1.0, 2.0}

    @pytest.mark.parametrize("dtype", ["int8", "uint64", "float32"])
    def test_numbers_beside_the_table_keep_their_type(self, dtype: str) -> None:
        y = (X[:, 0] > 0).astype(dtype) + np.dtype(dtype).type(100)
        prediction = fit(features(), y=y, **FAST).predict(features())
        assert prediction.dtype == y.dtype and set(prediction.tolist()) <= {100, 101}


class TestLabelsOfAnotherType:
    @pytest.mark.parametrize(
        ("labels", "came"),
        [
            ((False, True), np.array(["False", "true", "TRUE"], dtype=object)),
            (("False", "True"), np.array([False, True, True])),
            ((1, 2), np.array(["1", "2.0", "2"], dtype=object)),
            (("1", "2"), np.array([1.0, 2.0, 2.0])),
            ((1, 2), np.array([1.0, 2.0, 2.0])),
        ],
    )
    def test_is_the_same_label(self, labels: Any, came: np.ndarray) -> None:
        assert encode_labels(came, labels).tolist() == [0, 1, 1]

    def test_is_refused_where_it_is_another(self) -> None:
        with pytest.raises(DataError, match="got yes"):
            encode_labels(np.array(["yes"], dtype=object), (False, True))
        with pytest.raises(DataError, match="got 01"):
            encode_labels(np.array(["01"], dtype=object), (1, 2))

    def test_the_same_text_goes_first(self) -> None:
        came = np.array(["1.0", "1"], dtype=object)
        assert encode_labels(came, ("1", "1.0")).tolist() == [1, 0]
