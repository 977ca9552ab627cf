"""Raw frames pass through scikit-learn's meta-estimators, with the recipe and with the textbook inside."""

import pickle
import warnings
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, StackingClassifier, StackingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, learning_curve
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

from multilayer import ConfigError, DataError, MLPClassifier, MLPRegressor, Model

RECIPE: dict[str, Any] = {"hidden_layer_sizes": 4, "max_iter": 2, "members": 2, "random_state": 0}
TEXTBOOK: dict[str, Any] = {"hidden_layer_sizes": 4, "max_iter": 5, "solver": "adam", "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("settings", [RECIPE, TEXTBOOK], ids=["recipe", "textbook"])


@pytest.fixture(scope="module")
def people() -> tuple[pd.DataFrame, np.ndarray]:
    """64 rows of a number and two columns of text, with gaps."""
    random = np.random.default_rng(0)
    age, city = random.normal(40, 12, 64), random.choice(["Oslo", "Rome"], 64)
    y = (age + 20 * (city == "Rome") > 45).astype(int)
    age[::7] = np.nan
    job = np.where(random.random(64) < 0.2, None, random.choice(["nurse", "cook"], 64))
    return pd.DataFrame({"age": age, "city": city, "job": job}), y


@pytest.fixture(scope="module")
def numbers() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    X = random.normal(size=(64, 3))
    return X, X[:, 0] + 0.5 * X[:, 1]


class TestMetaEstimators:
    @both
    def test_calibration_and_stacking(self, people: Any, settings: Any) -> None:
        frame, y = people
        inner = MLPClassifier(**settings)

        calibrated = CalibratedClassifierCV(inner, cv=2).fit(frame, y)
        stacked = StackingClassifier([("mlp", inner)], LogisticRegression(), cv=2).fit(frame, y)
        numbers = StackingRegressor([("mlp", MLPRegressor(**settings))], Ridge(), cv=2).fit(frame, y)

        np.testing.assert_allclose(calibrated.predict_proba(frame).sum(axis=1), 1)
        assert stacked.predict(frame).shape == numbers.predict(frame).shape == (64,)

    @both
    def test_searches_and_curves(self, people: Any, settings: Any) -> None:
        frame, y = people
        inner = MLPClassifier(**settings)

        search = GridSearchCV(inner, {"alpha": [1e-4, 1.0]}, cv=2).fit(frame, y)
        _, train, _ = learning_curve(inner, frame, y, cv=2, train_sizes=[0.5, 1.0])
        probs = cross_val_predict(inner, frame, y, cv=2, method="predict_proba")

        assert search.best_params_["alpha"] in (1e-4, 1.0)
        assert train.shape == probs.shape == (2, 2) or probs.shape == (64, 2)

    def test_search_in_two_processes(self, numbers: Any) -> None:
        X, y = numbers
        search = GridSearchCV(MLPRegressor(**TEXTBOOK), {"alpha": [1e-4, 1.0]}, cv=2, n_jobs=2)
        with joblib.parallel_config(backend="loky"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            alone = clone(search).set_params(n_jobs=1).fit(X, y)
            side_by_side = search.fit(X, y)

        np.testing.assert_array_equal(alone.predict(X), side_by_side.predict(X))

    @both
    def test_inspection(self, people: Any, settings: Any) -> None:
        frame, y = people
        fitted = MLPClassifier(**settings).fit(frame, y)

        importance = permutation_importance(fitted, frame, y, n_repeats=2, random_state=0)
        dependence = partial_dependence(fitted, frame.fillna({"age": 40.0}), ["age"], grid_resolution=3)

        assert importance.importances_mean.shape == (3,)
        assert dependence["average"].shape == (1, 3)

    @both
    def test_pipeline_of_a_column_transformer_that_gives_pandas(self, people: Any, settings: Any) -> None:
        frame, y = people
        prepared = ColumnTransformer(
            [
                ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
                ("text", OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["city", "job"]),
            ]
        )
        pipeline = make_pipeline(prepared, MLPClassifier(**settings)).set_output(transform="pandas")

        pipeline.fit(frame, y)

        assert pipeline[-1].feature_names_in_[0] == "numbers__age"
        assert pipeline.predict(frame).shape == (64,)

    @both
    def test_wrappers(self, people: Any, numbers: Any, settings: Any) -> None:
        frame, y = people
        X, z = numbers
        regressor, classifier = MLPRegressor(**settings), MLPClassifier(**settings)

        several = MultiOutputRegressor(regressor).fit(X, np.stack([z, -z], axis=1))
        logs = TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp).fit(X, np.exp(z))
        one_each = OneVsRestClassifier(classifier).fit(frame, np.where(frame["city"] == "Oslo", 2, y))
        bags = BaggingClassifier(classifier, n_estimators=2, random_state=0).fit(X, y)

        assert several.predict(X).shape == (64, 2)
        assert logs.predict(X).min() > 0
        assert one_each.predict(frame).shape == bags.predict(X).shape == (64,)

    @both
    def test_metadata_routing(self, people: Any, settings: Any) -> None:
        frame, y = people
        with config_context(enable_metadata_routing=True):
            inner = MLPClassifier(**settings).set_fit_request(sample_weight=True)
            inner.set_score_request(sample_weight=False)
            scores = cross_val_score(inner, frame, y, cv=2, params={"sample_weight": y + 1.0})
            assert inner.set_partial_fit_request(classes=True, sample_weight=False) is inner

        assert np.isfinite(scores).all()


class TestCopies:
    @both
    @pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
    def test_pickle_and_joblib(self, people: Any, settings: Any, kind: type, tmp_path: Any) -> None:
        frame, y = people
        fitted = kind(**settings).fit(frame, y)
        joblib.dump(fitted, tmp_path / "model.joblib")

        for copy in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "model.joblib")):
            np.testing.assert_array_equal(fitted.predict(frame), copy.predict(frame))
            assert fitted.get_params() == copy.get_params()
            assert fitted.model_.summary["decisions"] == copy.model_.summary["decisions"]

    @both
    def test_skops(self, people: Any, settings: Any) -> None:
        frame, y = people
        fitted = MLPClassifier(**settings).fit(frame, y)

        data = skops.io.dumps(fitted)
        untrusted = skops.io.get_untrusted_types(data=data)
        copy = skops.io.loads(data, trusted=untrusted)

        assert all(name.startswith("multilayer.") for name in untrusted)
        np.testing.assert_array_equal(fitted.predict_proba(frame), copy.predict_proba(frame))

    @both
    @pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
    def test_shap(self, numbers: Any, settings: Any) -> None:
        import shap  # which sets colours as matplotlib will not allow for long

        X, y = numbers
        fitted = MLPRegressor(**settings).fit(X, y)

        explained = shap.Explainer(fitted.predict, X[:8], seed=0)(X[:2])

        np.testing.assert_allclose(
            explained.values.sum(axis=1) + explained.base_values, fitted.predict(X[:2]), rtol=1e-3, atol=1e-3
        )

    @both
    @pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
    def test_model_file_predicts_as_the_estimator(self, people: Any, settings: Any, kind: type) -> None:
        frame, y = people
        fitted = kind(**settings).fit(frame, y)

        fitted.model_.save("people.mlp")

        predicted = Model.load("people.mlp").predict(frame)
        np.testing.assert_allclose(predicted, fitted.predict(frame), rtol=1e-5, atol=1e-5)


class TestTextbook:
    def test_is_what_a_setting_asks_for(self, numbers: Any) -> None:
        X, y = numbers

        recipe = MLPRegressor(**RECIPE).fit(X, y).model_.summary["decisions"][-1]
        textbook = MLPRegressor(max_iter=2, momentum=0.5).fit(X, y).model_.summary["decisions"][0]

        assert "the recipe" in recipe
        assert "scikit-learn's own, as momentum=0.5 asks for it" in textbook

    def test_raw_frame_is_one_hot_and_filled(self, people: Any) -> None:
        frame, y = people

        fitted = MLPClassifier(**TEXTBOOK).fit(frame, y)
        features = [feature.name for feature in fitted.model_.encoder.num_features]

        assert features[0] == "age"
        assert {"city = Oslo", "city = Rome", "job = cook", "job = nurse"} == set(features[1:])
        assert fitted.coefs_[0].shape == (5, 4)
        new = pd.DataFrame({"age": [np.nan], "city": ["Paris"], "job": [None]})
        assert np.isfinite(fitted.predict_proba(new)).all()

    def test_missing_numbers_of_an_array_become_the_median(self, numbers: Any) -> None:
        X, y = numbers
        gaps = X.copy()
        gaps[::3, 1] = np.nan
        filled = np.where(np.isnan(gaps), np.nanmedian(gaps[:, 1]), gaps)

        np.testing.assert_allclose(
            MLPRegressor(**TEXTBOOK).fit(gaps, y).predict(gaps),
            MLPRegressor(**TEXTBOOK).fit(filled, y).predict(filled),
        )

    def test_settings_of_the_recipe_are_refused(self, numbers: Any) -> None:
        X, y = numbers

        with pytest.raises(ConfigError, match=r"members=3 belongs to the recipe, and solver='sgd'"):
            MLPRegressor(solver="sgd", members=3).fit(X, y)
        with pytest.raises(ConfigError, match="validation_fraction=0 leaves nothing"):
            MLPRegressor(validation_fraction=0.0).fit(X, y)

    def test_partial_fit_after_the_recipe_starts_anew_and_says_so(self, numbers: Any, caplog: Any) -> None:
        X, y = numbers
        after = MLPRegressor(**RECIPE | {"members": None}).fit(X, y).partial_fit(X, y)
        fresh = MLPRegressor(**RECIPE | {"members": None}).partial_fit(X, y)

        assert "starts a new network" in caplog.text
        np.testing.assert_array_equal(fresh.predict(X), after.predict(X))

    def test_attributes_without_an_honest_value_say_why(self, numbers: Any) -> None:
        X, y = numbers
        recipe = MLPRegressor(**RECIPE).fit(X, y)
        lbfgs = MLPRegressor(8, solver="lbfgs", max_iter=3).fit(X, y)

        with pytest.raises(AttributeError, match=r"model_\.history\.val_loss"):
            recipe.validation_scores_  # noqa: B018
        with pytest.raises(AttributeError, match="keeps no record"):
            lbfgs.loss_curve_  # noqa: B018
        assert recipe.n_layers_ == 3
        assert recipe.coefs_[1].shape == (4, 1)
        assert recipe.out_activation_ == lbfgs.out_activation_ == "identity"
        assert recipe.best_loss_ == min(recipe.loss_curve_)

    def test_a_fit_by_the_recipe_forgets_the_textbook(self, numbers: Any) -> None:
        X, y = numbers
        fitted = MLPRegressor(**TEXTBOOK).fit(X, y)

        fitted.set_params(solver=None, members=2).fit(X, y)

        assert "coefs_" not in vars(fitted)
        assert fitted.coefs_[0].shape[0] > 3


class TestTargets:
    @both
    def test_several_labels(self, numbers: Any, settings: Any) -> None:
        X, y = numbers
        labels = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)

        fitted = MLPClassifier(**settings).fit(X, labels)

        assert fitted.predict(X).shape == fitted.predict_proba(X).shape == (64, 2)
        np.testing.assert_array_equal(fitted.predict_proba(X) > 0.5, fitted.predict(X))
        np.testing.assert_allclose(fitted.model_.predict_proba(_table(X)), fitted.predict_proba(X), atol=1e-6)
        assert 0 <= fitted.score(X, labels) <= 1

    @both
    def test_several_numbers(self, numbers: Any, settings: Any) -> None:
        X, y = numbers

        fitted = MLPRegressor(**settings).fit(X, np.stack([y, 10 - y], axis=1))

        assert fitted.predict(X).shape == (64, 2)
        np.testing.assert_allclose(fitted.model_.predict(_table(X)), fitted.predict(X), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("y", [np.full(64, 3.3), np.tile([3.3, -1.0], (64, 1))])
    def test_that_do_not_vary_are_predicted(self, people: Any, y: np.ndarray) -> None:
        frame, _ = people

        fitted = MLPRegressor(**RECIPE).fit(frame, y)

        np.testing.assert_array_equal(fitted.predict(frame), y)
        assert "the same in all 64 rows" in fitted.model_.summary["decisions"][0]

    @both
    @pytest.mark.parametrize("weights", ["balanced", {"rare": 9.0, "often": 1.0}])
    def test_class_weight_is_a_weight_of_rows(self, numbers: Any, settings: Any, weights: Any) -> None:
        X, _ = numbers
        y = np.where(np.arange(64) % 8 == 0, "rare", "often")
        rare, often = (4.0, 64 / 112) if weights == "balanced" else (9.0, 1.0)
        of_rows = np.where(y == "rare", rare, often)

        by_class = MLPClassifier(**settings, class_weight=weights).fit(X, y)
        by_row = MLPClassifier(**settings).fit(X, y, sample_weight=of_rows)

        np.testing.assert_allclose(by_row.predict_proba(X), by_class.predict_proba(X), rtol=1e-5)

    def test_negative_counts_are_refused(self, numbers: Any) -> None:
        X, y = numbers

        with pytest.raises(DataError, match="needs y of at least 0"):
            MLPRegressor(loss="poisson").fit(X, y)

    def test_tags(self) -> None:
        assert get_tags(MLPClassifier()).classifier_tags.multi_label
        assert get_tags(MLPRegressor()).target_tags.multi_output
        assert get_tags(MLPRegressor()).input_tags.sparse


def test_warns_as_scikit_learn_does_when_it_has_not_converged(numbers: Any) -> None:
    X, y = numbers
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match=r"Maximum iterations \(5\) reached"):
            MLPRegressor(**TEXTBOOK).fit(X, y)


def test_threads_do_not_change_the_recipe(numbers: Any) -> None:
    X, y = numbers

    one, two = (MLPRegressor(**RECIPE, n_jobs=n).fit(X, y).predict(X) for n in (1, -1))

    np.testing.assert_array_equal(one, two)


def _table(X: np.ndarray) -> dict[str, np.ndarray]:
    return {f"x{i}": column for i, column in enumerate(X.T)}
