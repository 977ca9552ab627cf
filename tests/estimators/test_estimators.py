"""MLPClassifier and MLPRegressor keep scikit-learn's contract and take tables as people have them."""

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from multilayer import ConfigError, DataError, MLPClassifier, MLPRegressor, Model, fit, infer_schema

FAST: dict[str, Any] = {"hidden_layer_sizes": (16,), "max_iter": 4}
LEARNING: dict[str, Any] = FAST | {"max_iter": 10, "batch_size": 64, "learning_rate_init": 0.05}

# Checks round X of estimators that take categories; that calls for longer steps or more of them
THEIRS: list[Any] = [
    MLPClassifier(16, solver="adam", learning_rate_init=0.02, max_iter=100),
    MLPRegressor(16, solver="adam", learning_rate_init=0.02, max_iter=100),
    MLPClassifier(solver="lbfgs", hidden_layer_sizes=16, max_iter=100),
    MLPRegressor(solver="sgd", hidden_layer_sizes=16, learning_rate_init=0.01, max_iter=200),
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Networks this small train faster on one thread, and on a busy machine ten times so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@parametrize_with_checks([MLPClassifier(**LEARNING), MLPRegressor(**LEARNING)])
@pytest.mark.filterwarnings("ignore:Got `batch_size` larger", "ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_contract(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@parametrize_with_checks(THEIRS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_contract_of_its_own_algorithm(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.fixture
def people() -> tuple[pd.DataFrame, np.ndarray]:
    """60 rows of a number, a whole number, a category, text, a boolean and a date, with some gaps."""
    rng = np.random.default_rng(0)
    n_rows = 60
    age = rng.normal(40, 12, n_rows)
    city = rng.choice(["Oslo", "Rome", "Lima"], n_rows)
    y = (age + 20 * (city == "Rome") > 45).astype(int)
    age[::7] = np.nan
    frame = pd.DataFrame(
        {
            "age": age,
            "children": rng.integers(0, 4, n_rows),
            "city": pd.Categorical(city),
            "job": np.where(rng.random(n_rows) < 0.2, None, rng.choice(["nurse", "cook"], n_rows)),
            "member": rng.random(n_rows) < 0.5,
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n_rows), unit="D"),
        }
    )
    frame.loc[3, "city"] = None
    return frame, y


@pytest.fixture
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """80 rows of three numbers; which of two classes a row is in shows in the first number."""
    rng = np.random.default_rng(1)
    y = np.arange(80) % 2
    X = rng.normal(size=(80, 3))
    X[:, 0] += 4 * y
    return X, y


class TestLabels:
    @pytest.mark.parametrize(
        "labels",
        [
            np.array(["no", "yes"]),
            np.array(["no", "yes"], dtype=object),
            np.array([False, True]),
            np.array([-1, 1]),
            np.array([3, 70], dtype=np.int16),
            np.array([0.0, 1.0]),
        ],
        ids=lambda labels: str(labels.dtype),
    )
    def test_come_back_as_they_went_in(self, blobs: Any, labels: np.ndarray) -> None:
        X, code = blobs
        classifier = MLPClassifier(**LEARNING, random_state=0).fit(X, labels[code])

        predicted = classifier.predict(X)

        assert labels.dtype == predicted.dtype == classifier.classes_.dtype
        assert set(labels.tolist()) == set(predicted.tolist())
        assert classifier.score(X, labels[code]) > 0.9

    @pytest.mark.parametrize("wrap", [list, pd.Series, pl.Series, lambda y: pd.Series(pd.Categorical(y))])
    def test_of_any_container(self, blobs: Any, wrap: Callable[[Any], Any]) -> None:
        X, code = blobs
        y = np.array(["a", "b"], dtype=object)[code]

        classifier = MLPClassifier(**FAST, random_state=0).fit(X, wrap(y))

        assert classifier.classes_.tolist() == ["a", "b"]
        assert {"a", "b"} >= set(classifier.predict(X).tolist())

    @pytest.mark.parametrize("dtype", ["boolean", "Int64", "category"])
    def test_of_nullable_dtypes_keep_their_kind(self, blobs: Any, dtype: str) -> None:
        X, code = blobs
        y = pd.Series(code.astype(bool) if dtype == "boolean" else code, dtype=dtype)

        classifier = MLPClassifier(**FAST, random_state=0).fit(X, y)

        assert classifier.classes_.dtype == (bool if dtype == "boolean" else np.int64)

    def test_columns_of_probabilities_follow_classes(self, blobs: Any) -> None:
        X, code = blobs
        y = np.array(["late", "early"])[code]
        classifier = MLPClassifier(**LEARNING, random_state=0).fit(X, y)

        probs = classifier.predict_proba(X)

        assert classifier.classes_.tolist() == ["early", "late"]
        assert probs[y == "early", 0].mean() > 0.8
        np.testing.assert_allclose(np.exp(classifier.predict_log_proba(X)), probs)

    @pytest.mark.parametrize("wrap", [np.asarray, pl.Series, lambda y: pd.Series(y, dtype="string")])
    def test_missing_label_is_refused(self, blobs: Any, wrap: Callable[[Any], Any]) -> None:
        X, code = blobs
        y = np.array(["a", "b"], dtype=object)[code]
        y[5] = None

        with pytest.raises(DataError, match=r"none in 1 row \(first: row 5"):
            MLPClassifier(**FAST).fit(X, wrap(y))

    def test_text_among_numbers_is_refused(self, blobs: Any) -> None:
        X, _ = blobs

        with pytest.raises(DataError, match=r"all be text or all be numbers; got int, str"):
            MLPClassifier(**FAST).fit(X, np.array(["a", 1] * 40, dtype=object))

    def test_one_class_is_refused(self, blobs: Any) -> None:
        X, _ = blobs

        with pytest.raises(DataError, match=r"at least 2 classes; y holds 1 class .* 'only'"):
            MLPClassifier(**FAST).fit(X, ["only"] * len(X))


class TestFrames:
    @pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
    def test_with_categories_and_gaps(self, people: Any, library: str) -> None:
        frame, y = people
        X = {
            "pandas": lambda f: f,
            "polars": pl.from_pandas,
            "pyarrow": lambda f: pl.from_pandas(f).to_arrow(),
        }[library](frame)

        classifier = MLPClassifier(**FAST, random_state=0).fit(X, y)

        assert list(frame.columns) == classifier.feature_names_in_.tolist()
        assert classifier.n_features_in_ == 6
        assert classifier.predict_proba(X).shape == (60, 2)
        assert np.isfinite(MLPRegressor(**FAST, random_state=0).fit(X, y).predict(X)).all()

    def test_libraries_agree(self, people: Any) -> None:
        frame, y = people
        fitted = MLPClassifier(**FAST, random_state=0).fit(frame, y)

        np.testing.assert_array_equal(
            fitted.predict_proba(frame), fitted.predict_proba(pl.from_pandas(frame))
        )

    def test_unseen_category_and_new_gaps_at_prediction(self, people: Any) -> None:
        frame, y = people
        classifier = MLPClassifier(**FAST, random_state=0).fit(frame, y)
        new = frame.astype({"city": object, "children": float})
        new.loc[0, ["city", "children"]] = ["Paris", np.nan]

        assert np.isfinite(classifier.predict_proba(new)).all()

    def test_other_order_of_columns_is_refused(self, people: Any) -> None:
        frame, y = people
        classifier = MLPClassifier(**FAST).fit(frame, y)

        with pytest.raises(ValueError, match="same order as they were in fit"):
            classifier.predict(frame[frame.columns[::-1]])

    def test_other_names_are_refused(self, people: Any) -> None:
        frame, y = people
        classifier = MLPClassifier(**FAST).fit(frame, y)

        with pytest.raises(
            ValueError, match=r"(?s)unseen at fit time:\n- years.*seen at fit time, yet now missing:\n- age"
        ):
            classifier.predict(frame.rename(columns={"age": "years"}))

    def test_array_after_frame_warns_as_scikit_learn_does(self, blobs: Any) -> None:
        X, y = blobs
        classifier = MLPClassifier(**FAST, random_state=0).fit(pd.DataFrame(X, columns=list("abc")), y)

        with pytest.warns(UserWarning, match="does not have valid feature names"):
            from_array = classifier.predict_proba(X)

        np.testing.assert_array_equal(
            classifier.predict_proba(pd.DataFrame(X, columns=list("abc"))), from_array
        )

    def test_columns_without_text_names_have_no_feature_names(self, blobs: Any) -> None:
        X, y = blobs
        classifier = MLPClassifier(**FAST, random_state=0).fit(pd.DataFrame(X), y)

        assert not hasattr(classifier, "feature_names_in_")
        np.testing.assert_array_equal(classifier.predict_proba(X), classifier.predict_proba(pd.DataFrame(X)))

    def test_column_named_like_the_target(self, blobs: Any) -> None:
        X, y = blobs
        frame = pd.DataFrame(X, columns=["y", "target", "label"])

        assert MLPClassifier(**FAST, random_state=0).fit(frame, y).predict(frame).shape == (80,)

    def test_rows_of_mixed_python_values(self) -> None:
        X = [[1, "red", True], [2, "blue", False], [3, "red", None], [None, "blue", True]] * 10
        y = [1.0, 2.0, 3.0, 4.0] * 10

        assert MLPRegressor(**FAST, random_state=0).fit(np.array(X, dtype=object), y).predict(X).shape == (
            40,
        )

    def test_cells_that_are_no_values_become_text_with_a_warning(self, blobs: Any) -> None:
        X, y = blobs
        X = X.astype(object)
        X[4, 2] = {"a": 1}

        with pytest.warns(DataConversionWarning, match=r"row 4, column 2, a dict"):
            MLPClassifier(**FAST).fit(X, y)

    def test_infinity_is_refused(self, blobs: Any) -> None:
        X, y = blobs
        X[1, 1] = np.inf

        with pytest.raises(ValueError, match="infinity"):
            MLPClassifier(**FAST).fit(X, y)
        with pytest.raises(DataError, match="'b'"):
            MLPClassifier(**FAST).fit(pd.DataFrame(X, columns=list("abc")), y)

    def test_duplicate_names_are_refused(self, blobs: Any) -> None:
        X, y = blobs

        with pytest.raises(DataError, match="'a'"):
            MLPClassifier(**FAST).fit(pd.DataFrame(X, columns=["a", "a", "b"]), y)

    def test_kinds_override_the_guess(self, blobs: Any) -> None:
        X, y = blobs
        X[:, 1] = np.arange(80) % 5
        classifier = MLPClassifier(**FAST, kinds={"x1": "category"}, random_state=0).fit(X, y)

        assert classifier.model_.schema["x1"].kind == "category"


class TestSettings:
    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("hidden_layer_sizes", 0),
            ("hidden_layer_sizes", (8, -1)),
            ("hidden_layer_sizes", "wide"),
            ("batch_size", None),
            ("batch_size", "all"),
            ("learning_rate_init", 0.0),
            ("max_iter", 2.5),
            ("n_iter_no_change", 0),
            ("validation_fraction", 1.0),
            ("quality", "good"),
            ("members", 0),
            ("time_budget", -1),
            ("monotone", "age"),
            ("network", "tabn"),
            ("kinds", ["x0"]),
            ("schema", {}),
            ("infinite", "keep"),
            ("threshold", 1.0),
            ("threshold", "f2"),
        ],
    )
    def test_out_of_range(self, blobs: Any, setting: str, value: object) -> None:
        X, y = blobs

        with pytest.raises(
            ConfigError, match=rf"The '{setting}' parameter of MLPClassifier must be .* Got .* instead"
        ):
            MLPClassifier(**{setting: value}).fit(X, y)

    def test_reach_the_recipe(self, blobs: Any) -> None:
        X, y = blobs
        table = {f"x{i}": X[:, i] for i in range(3)}
        model = fit(table, y=y, task="binary", hidden=(8,), epochs=3, batch_size=20, lr=0.01, seed=5)
        same = MLPClassifier(8, max_iter=3, batch_size=20, learning_rate_init=0.01, random_state=5).fit(X, y)

        np.testing.assert_array_equal(model.predict_proba(table), same.predict_proba(X))

    def test_curve_and_iterations(self, blobs: Any) -> None:
        X, y = blobs
        regressor = MLPRegressor(**FAST, random_state=0).fit(X, y)

        assert 4 == regressor.n_iter_ == len(regressor.loss_curve_)
        assert regressor.loss_ == regressor.loss_curve_[-1]

    def test_patience_stops_before_max_iter(self, blobs: Any) -> None:
        X, _ = blobs
        noise = np.random.default_rng(0).normal(size=80)
        regressor = MLPRegressor(16, max_iter=200, n_iter_no_change=2, random_state=0)

        assert regressor.fit(X, noise).n_iter_ < 200

    def test_verbose_writes_a_line_an_epoch(self, blobs: Any, capsys: pytest.CaptureFixture[str]) -> None:
        X, y = blobs
        MLPClassifier(**FAST, random_state=0).fit(X, y)
        assert not capsys.readouterr().out

        MLPClassifier(**FAST, random_state=0, verbose=True).fit(X, y)

        assert capsys.readouterr().out.count(", loss = ") == 4

    def test_tags(self) -> None:
        tags = get_tags(MLPClassifier()).input_tags

        assert tags.allow_nan and tags.categorical and tags.string and tags.sparse


class TestSettingsOfFit:
    """Those that scikit-learn has no name for: as of `multilayer.fit`."""

    def test_threshold_decides_what_is_predicted(self, blobs: Any) -> None:
        X, y = blobs
        labels = np.where(y > 0, "yes", "no")
        classifier = MLPClassifier(**FAST, threshold=0.3, random_state=0).fit(X, labels)

        likely = classifier.predict_proba(X)[:, 1] >= 0.3
        np.testing.assert_array_equal(classifier.predict(X), np.where(likely, "yes", "no"))
        assert classifier.predict(X).dtype == labels.dtype

    def test_threshold_is_chosen_by_a_metric(self, blobs: Any) -> None:
        X, y = blobs
        classifier = MLPClassifier(**FAST, threshold="f1", random_state=0).fit(X, y)

        chosen = classifier.model_.task.threshold
        np.testing.assert_array_equal(classifier.predict(X) == 1, classifier.predict_proba(X)[:, 1] >= chosen)

    def test_quantiles(self, blobs: Any) -> None:
        X, y = blobs
        regressor = MLPRegressor(**FAST, quantiles=(0.1, 0.5, 0.9), random_state=0).fit(X, y)
        quantiles = regressor.predict_quantiles(X)

        assert quantiles.shape == (80, 3)
        assert (np.diff(quantiles, axis=1) >= 0).all()
        np.testing.assert_array_equal(regressor.predict(X), quantiles[:, 1])
        assert not hasattr(MLPRegressor(), "predict_quantiles")

    def test_quantiles_of_a_target_that_does_not_vary(self, blobs: Any) -> None:
        X, _ = blobs
        regressor = MLPRegressor(**FAST, quantiles=(0.1, 0.9)).fit(X, np.full(80, 3.0))

        np.testing.assert_array_equal(regressor.predict_quantiles(X), np.full((80, 2), 3.0))

    def test_objective(self, blobs: Any) -> None:
        X, _ = blobs
        counts = np.random.default_rng(0).poisson(3, 80)
        regressor = MLPRegressor(**FAST, objective="poisson", random_state=0).fit(X, counts)

        assert regressor.model_.task.objective == "poisson"
        assert (regressor.predict(X) > 0).all()

    @pytest.mark.parametrize("wrap", [np.asarray, lambda X: pd.DataFrame(X, columns=["x0", "x1", "x2"])])
    def test_infinities_are_clipped(self, blobs: Any, wrap: Callable[[Any], Any]) -> None:
        X, y = blobs
        X[1, 1] = np.inf
        classifier = MLPClassifier(**FAST, infinite="clip", random_state=0).fit(wrap(X), y)
        highest = X.copy()
        highest[1, 1] = classifier.model_.schema["x1"].high

        np.testing.assert_array_equal(
            classifier.predict_proba(wrap(X)), classifier.predict_proba(wrap(highest))
        )

    def test_marks_of_missing_values(self, blobs: Any) -> None:
        X, y = blobs
        X[3, 1] = -999
        classifier = MLPClassifier(**FAST, missing=(-999,), random_state=0).fit(X, y)
        gap = X.copy()
        gap[3, 1] = np.nan

        assert classifier.model_.schema["x1"].n_missing == 1
        np.testing.assert_array_equal(classifier.predict_proba(X), classifier.predict_proba(gap))

    def test_edited_schema(self, people: Any) -> None:
        frame, y = people
        schema = infer_schema(frame)
        name = schema.names[0]
        classifier = MLPClassifier(**FAST, schema=schema.without(name), random_state=0).fit(frame, y > 0)

        assert name not in classifier.model_.schema.names

    @pytest.mark.parametrize(
        "setting", [{"threshold": 0.3}, {"missing": (-999,)}, {"infinite": "clip"}, {"schema": "file.json"}]
    )
    def test_are_not_the_textbooks(self, blobs: Any, setting: dict[str, Any]) -> None:
        X, y = blobs

        with pytest.raises(ConfigError, match=f"{next(iter(setting))}=.* belongs to the recipe"):
            MLPClassifier(solver="adam", **setting).fit(X, y)


class TestRandomState:
    def test_same_number_same_model(self, people: Any) -> None:
        frame, y = people
        classifier = MLPClassifier(**FAST, random_state=3)

        first = classifier.fit(frame, y).predict_proba(frame)
        again = classifier.fit(frame, y).predict_proba(frame)
        other = clone(classifier).set_params(random_state=4).fit(frame, y).predict_proba(frame)

        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_instance_is_drawn_from(self, blobs: Any) -> None:
        X, y = blobs
        state = np.random.RandomState(7)
        first = MLPClassifier(**FAST, random_state=state).fit(X, y).predict_proba(X)
        second = MLPClassifier(**FAST, random_state=state).fit(X, y).predict_proba(X)
        fresh = MLPClassifier(**FAST, random_state=np.random.RandomState(7)).fit(X, y).predict_proba(X)

        np.testing.assert_array_equal(first, fresh)
        assert not np.array_equal(first, second)

    def test_none_draws_from_numpys_global_state(self, blobs: Any) -> None:
        X, y = blobs
        kept = np.random.get_state()
        np.random.seed(0)
        first = MLPClassifier(**FAST).fit(X, y).predict_proba(X)
        np.random.seed(0)
        again = MLPClassifier(**FAST).fit(X, y).predict_proba(X)
        np.random.set_state(kept)

        np.testing.assert_array_equal(first, again)


class TestWeights:
    def test_of_zero_is_a_row_less(self, blobs: Any) -> None:
        X, y = blobs
        weight = (np.arange(80) % 4 > 0).astype(float)
        kept = weight > 0

        zeros = MLPClassifier(**FAST, random_state=0).fit(X, y, sample_weight=weight)
        without = MLPClassifier(**FAST, random_state=0).fit(X[kept], y[kept], sample_weight=weight[kept])

        np.testing.assert_array_equal(without.predict_proba(X), zeros.predict_proba(X))

    def test_pull_the_prediction(self) -> None:
        X = np.arange(100)[:, None] % 2
        y = np.arange(100) // 2 % 2  # half and half at either X
        up = MLPClassifier(**LEARNING, random_state=0).fit(X, y, sample_weight=np.where(y == 1, 9.0, 1.0))
        down = MLPClassifier(**LEARNING, random_state=0).fit(X, y, sample_weight=np.where(y == 1, 1.0, 9.0))

        assert down.predict_proba(X)[:, 1].max() < 0.3
        assert up.predict_proba(X)[:, 1].min() > 0.7

    @pytest.mark.parametrize(
        ("weight", "rule"),
        [
            (np.zeros(80), "sample_weight must be 80 finite numbers, .* got zeros alone"),
            (-np.ones(80), "none negative and not all zero; got -1.0 in row 0"),
            (np.ones(3), r"got shape \(3,\), .*one weight for each row"),
            (-2.0, "got -2.0 in row 0"),
            (0, "zeros alone"),
            (float("nan"), "got nan in row 0"),
        ],
    )
    def test_that_are_wrong(self, blobs: Any, weight: Any, rule: str) -> None:
        X, y = blobs

        with pytest.raises(DataError, match=rule):
            MLPRegressor(**FAST).fit(X, y, sample_weight=weight)


class TestInUse:
    @pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
    def test_pickle_predicts_the_same_to_the_last_bit(self, people: Any, kind: type) -> None:
        frame, y = people
        estimator = kind(**FAST, random_state=0).fit(frame, y)

        loaded = pickle.loads(pickle.dumps(estimator))

        np.testing.assert_array_equal(estimator.predict(frame), loaded.predict(frame))
        assert estimator.loss_curve_ == loaded.loss_curve_
        if kind is MLPClassifier:
            np.testing.assert_array_equal(estimator.predict_proba(frame), loaded.predict_proba(frame))

    def test_model_file_holds_the_labels(self, people: Any) -> None:
        frame, y = people
        names = np.array(["no", "yes"])[y]
        classifier = MLPClassifier(**FAST, random_state=0).fit(frame, names)

        classifier.model_.save("people.mlp")

        assert classifier.predict(frame).tolist() == Model.load("people.mlp").predict(frame).tolist()

    def test_clone_has_the_settings_and_not_the_fit(self, blobs: Any) -> None:
        X, y = blobs
        fitted = MLPClassifier(**FAST, random_state=0).fit(X, y)

        copy = clone(fitted)

        assert fitted.get_params() == copy.get_params()
        with pytest.raises(NotFittedError):
            copy.predict(X)

    def test_pipeline(self, blobs: Any, people: Any) -> None:
        X, y = blobs
        numbers = make_pipeline(StandardScaler(), MLPClassifier(**LEARNING, random_state=0)).fit(X, y)
        frame, target = people
        raw = make_pipeline(FunctionTransformer(lambda f: f.drop(columns="joined")), MLPRegressor(**FAST))

        assert numbers.score(X, y) > 0.9
        assert raw.fit(frame, target).predict(frame).shape == (60,)

    @pytest.mark.parametrize("convert", [lambda frame: frame, pl.from_pandas], ids=["pandas", "polars"])
    def test_grid_search_over_a_raw_frame(self, people: Any, convert: Callable[[Any], Any]) -> None:
        frame, y = people
        search = GridSearchCV(
            MLPClassifier(**FAST, random_state=0), {"hidden_layer_sizes": [4, (8, 8)]}, cv=2
        )

        search.fit(convert(frame), y)

        assert search.best_params_["hidden_layer_sizes"] in (4, (8, 8))
        assert search.best_score_ > 0

    def test_cross_validation_with_weights(self, people: Any) -> None:
        frame, y = people
        classifier = MLPClassifier(**FAST, random_state=0)

        scores = cross_val_score(
            classifier, frame, y, cv=3, scoring="neg_log_loss", params={"sample_weight": y + 1.0}
        )
        probs = cross_val_predict(classifier, pl.from_pandas(frame), y, cv=2, method="predict_proba")

        assert np.isfinite(scores).all()
        assert probs.shape == (60, 2)

    def test_regression_within_a_transformed_target(self, blobs: Any) -> None:
        X, _ = blobs
        y = np.exp(X[:, 0])
        regressor = TransformedTargetRegressor(
            MLPRegressor(**LEARNING, random_state=0), func=np.log, inverse_func=np.exp
        )

        assert regressor.fit(X, y).score(X, y) > 0.3


def test_monotone_and_network_reach_the_recipe() -> None:
    X = pd.DataFrame({"size": np.linspace(0, 1, 80), "rooms": np.arange(80) % 4})
    y = X["size"] - 0.1 * X["rooms"]
    rising = MLPRegressor(**FAST, members=2, monotone={"size": "increasing"}).fit(X, y)
    assert (np.diff(rising.predict(X.assign(rooms=1))) >= -1e-6).all()
    assert "never falls with 'size'" in rising.model_.summary["decisions"][-2]

    plain = MLPRegressor(hidden_layer_sizes=(8, 8), max_iter=2, network="resnet").fit(X, y)
    assert plain.model_.config.architecture == "resnet"
    with pytest.raises(ConfigError, match="network='resnet' belongs to the recipe, and solver='sgd' asks"):
        MLPRegressor(solver="sgd", network="resnet").fit(X, y)
