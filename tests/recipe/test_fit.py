"""`fit`: each argument does what it says, nothing is learnt from validation rows, bad input is refused."""

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multilayer import ConfigError, DataError, Model, SchemaError, fit
from multilayer.model.file import unpack
from multilayer.model.format import parts_of
from multilayer.model.networks import network_of
from multilayer.nn.networks import NetworkConfig
from multilayer.recipe import summary, wanted
from multilayer.recipe.data import Data
from multilayer.recipe.split_rows import TARGET_FOLDS, Parts, target_folds
from multilayer.recipe.wanted import Wanted
from multilayer.training import pack, run_length
from multilayer.training.loop import Progress, train_pack
from tests.stopwatch import Stopwatch

N_ROWS = 50
FAST: dict[str, Any] = {"members": 1, "hidden": 8, "epochs": 3, "batch_size": 16}


def houses(n_rows: int = N_ROWS) -> dict[str, Any]:
    """A number, a category with gaps, a group, a day that counts up, a class and a price."""
    rng = np.random.default_rng(0)
    size = rng.uniform(20, 200, n_rows).round(1)
    city = rng.choice(np.array(["Oslo", "Rome"], dtype=object), n_rows)
    city[::10] = None
    return {
        "size": size,
        "city": city,
        "street": np.array([f"s{i % 7}" for i in range(n_rows)], dtype=object),
        "day": np.arange(n_rows),
        "sold": np.where(size > 100, "yes", "no").astype(object),
        "price": size * 3 + 50 * (city == "Rome"),
    }


def features(n_rows: int = N_ROWS) -> dict[str, Any]:
    return {name: houses(n_rows)[name] for name in ("size", "city")}


def table(target: str, n_rows: int = N_ROWS) -> dict[str, Any]:
    return features(n_rows) | {target: houses(n_rows)[target]}


def rows_of(columns: dict[str, Any], rows: Any) -> dict[str, Any]:
    return {name: np.asarray(values)[rows] for name, values in columns.items()}


def bytes_without_times(model: Model) -> bytes:
    summary = {name: value for name, value in model.summary.items() if name != "times"}
    return replace(
        model, summary=summary, histories=[replace(h, epoch_time_s=[]) for h in model.histories], dropped=()
    ).to_bytes()


def encoder_state(model: Model) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
    """What the encoder has learnt, without the schema's description of the table."""
    arrays, rest = model.encoder.state()
    return {name: array.tolist() for name, array in arrays.items()}, rest["coders"]


def stop_at(epoch: int, *, by: Callable[[], Any] = lambda: True) -> Callable[[Progress], Any]:
    return lambda progress: by() if progress.epoch == epoch else None


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def priced() -> Model:
    return fit(table("price"), target="price", **FAST)


class TestTask:
    @pytest.mark.parametrize(
        ("y", "kind"),
        [
            (np.array(["a", "b"] * 25, dtype=object), "binary"),
            (np.array([True, False] * 25), "binary"),
            (np.array([7.0, 9.0] * 25), "binary"),
            (np.arange(50) % 3, "multiclass"),
            (np.array(["a", "b", "c", "d", "e"] * 10, dtype=object), "multiclass"),
            (np.arange(50) * 1.5, "regression"),
        ],
    )
    def test_is_guessed_and_the_guess_is_told(self, y: np.ndarray, kind: str) -> None:
        model = fit(features() | {"y": y}, target="y", hidden=8, epochs=1)

        assert model.task.kind == kind
        assert model.summary["decisions"][0].startswith(f"task: {kind}")
        assert "pass task= to choose another" in model.summary["decisions"][0]

    def test_can_be_forced(self) -> None:
        y = np.arange(N_ROWS) % 3
        model = fit(features() | {"y": y}, target="y", task="regression", **FAST)

        assert model.task.kind == "regression"
        assert model.predict(features()).dtype == np.float64
        assert "(as asked)" in model.summary["decisions"][0]

    def test_numbers_can_be_classes(self) -> None:
        model = fit(features() | {"y": np.arange(N_ROWS) % 4 * 10}, target="y", task="multiclass", **FAST)

        assert model.classes == (0, 10, 20, 30)

    def test_refuses_an_unknown_one(self) -> None:
        with pytest.raises(
            ConfigError,
            match=r"task must be one of 'binary', 'multiclass', .*; got 'rank'",
        ):
            fit(table("price"), target="price", task="rank")

    def test_refuses_binary_of_three_classes(self) -> None:
        with pytest.raises(ConfigError, match="task 'binary' needs two classes; the target has 7"):
            fit(features() | {"street": houses()["street"]}, target="street", task="binary")

    def test_refuses_regression_of_text(self) -> None:
        with pytest.raises(DataError, match="regression needs a target of numbers; got text"):
            fit(table("sold"), target="sold", task="regression")

    def test_predictions_stay_inside_the_training_rows(self) -> None:
        held = rows_of(table("price"), slice(40, None)) | {"price": np.full(10, 1e6)}
        model = fit(rows_of(table("price"), slice(40)), target="price", validation=held, **FAST)

        far = model.predict({"size": [-1e9, 1e9], "city": ["Oslo", "Rome"]})

        prices = houses()["price"][:40]
        assert (model.task.low, model.task.high) == (prices.min(), prices.max())
        assert prices.min() <= far.min() <= far.max() <= prices.max()

    def test_units_are_those_of_the_training_rows(self) -> None:
        model = fit(houses(), target="price", time="day", drop=["sold"], **FAST)

        price = houses()["price"][:40]
        assert model.task.center == pytest.approx(price.mean())
        assert model.task.scale == pytest.approx(price.std())


class TestTarget:
    def test_given_as_values_is_the_same_as_given_by_name(self) -> None:
        by_name = fit(table("price"), target="price", **FAST)
        by_values = fit(features(), y=houses()["price"].tolist(), **FAST)

        assert by_values.target == "target"
        assert np.array_equal(by_values.predict(features()), by_name.predict(features()))

    @pytest.mark.parametrize("wrap", [list, pd.Series, pl.Series, pa.array])
    def test_values_of_any_container(self, wrap: Callable[[Any], Any]) -> None:
        model = fit(features(), y=wrap(houses()["sold"].tolist()), hidden=8, epochs=1)

        assert model.classes == ("no", "yes")

    def test_absent_is_refused_with_the_nearest_name(self) -> None:
        with pytest.raises(DataError, match=r"no column 'pirce'.*Did you mean 'price'\?"):
            fit(table("price"), target="pirce")

    def test_neither_name_nor_values(self) -> None:
        with pytest.raises(ConfigError, match="either the name of the target column"):
            fit(table("price"))

    def test_both_name_and_values(self) -> None:
        with pytest.raises(ConfigError, match="either the name of the target column"):
            fit(table("price"), target="price", y=houses()["price"])

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            ([1.0] * 49, "y must have as many rows as the table; got 49 and 50"),
            (5, "must be a list, an array or a Series"),
            (np.zeros((50, 2)), "at least one label must vary"),
            (np.zeros((50, 2, 2)), "must have one axis"),
            (pd.Series([[1.0, 2.0]] * 50), "one value in each row; it holds 2, .* a matrix or a frame"),
            (["a"] * 50, "at least two classes; all 50 rows hold 'a'"),
            ([3.5] * 50, "the target must vary; all 50 rows hold 3.5"),
            ([None, "b"] * 25, r"25 of 50 have none \(first: row 1\)"),
            ([1.5, float("nan")] * 25, r"25 of 50 have none \(first: row 2\)"),
            ([1.5, 2.5, float("inf"), 3.5, 4.5] * 10, "must be finite; got inf in row 3"),
            ([np.datetime64("2024-01-01"), np.datetime64("2025-01-01")] * 25, "got dates"),
        ],
    )
    def test_refuses_values_that_cannot_be_learnt(self, y: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            fit(features(), y=y)


class TestColumns:
    @pytest.mark.parametrize(
        "drop", ["day", ["day"], ("day", "day"), iter(["day"])], ids=["name", "list", "twice", "iterator"]
    )
    def test_dropped_are_no_features_and_may_be_absent(self, drop: Any) -> None:
        columns = table("price") | {"day": houses()["day"]}
        model = fit(columns, target="price", drop=drop, **FAST)

        assert model.schema.names == ("size", "city")
        assert model.dropped == ("day",)
        assert "day (asked)" in model.summary["decisions"][2]
        assert np.array_equal(model.predict(features()), model.predict(columns))

    def test_drop_refuses_an_unknown_name(self) -> None:
        with pytest.raises(DataError, match=r"no column 'sizes'.*Did you mean 'size'\?"):
            fit(table("price"), target="price", drop=["sizes"])

    @pytest.mark.parametrize("role", ["drop", "groups", "sample_weight"])
    def test_target_has_no_other_role(self, role: str) -> None:
        with pytest.raises(ConfigError, match="'price' cannot be dropped, or be groups, weights or"):
            fit(table("price"), target="price", **{role: "price"})

    @pytest.mark.parametrize("columns", [{"price": houses()["price"]}, {**table("price")}])
    def test_refuses_a_table_without_features(self, columns: dict[str, Any]) -> None:
        with pytest.raises(DataError, match="at least one column beside the target"):
            fit(columns, target="price", drop=[name for name in columns if name != "price"])

    def test_refuses_columns_that_are_all_constant_or_empty(self) -> None:
        columns = {"a": [1] * N_ROWS, "b": [None] * N_ROWS, "price": houses()["price"]}
        with pytest.raises(DataError, match=r"'a' \(constant\), 'b' \(all missing\)"):
            fit(columns, target="price")

    def test_kinds_overrule_what_is_inferred(self) -> None:
        columns = table("price") | {"zip": np.arange(N_ROWS) % 5}

        assert fit(columns, target="price", **FAST).schema["zip"].kind == "number"
        assert (
            fit(columns, target="price", kinds={"zip": "category"}, **FAST).schema["zip"].kind == "category"
        )

    def test_kinds_refuse_an_unknown_column(self) -> None:
        with pytest.raises(ConfigError, match="kinds names the column 'zip'"):
            fit(table("price"), target="price", kinds={"zip": "category"})

    def test_refuses_infinities(self) -> None:
        columns = table("price")
        columns["size"][4] = np.inf
        with pytest.raises(DataError, match="'size' holds inf in row 5"):
            fit(columns, target="price")

    @pytest.mark.parametrize("n_rows", [1])
    def test_refuses_one_row(self, n_rows: int) -> None:
        with pytest.raises(DataError, match="at least 2 rows; got n_samples = 1"):
            fit(table("price", n_rows), target="price")

    @pytest.mark.parametrize("target", ["sold", "price"])
    def test_two_rows_are_enough(self, target: str) -> None:
        columns = {"size": [1.0, 2.0], "sold": ["no", "yes"], "price": [3.5, 4.5]}
        model = fit({name: columns[name] for name in ("size", target)}, target=target, **FAST)

        assert model.summary["rows"] == {"train": 1, "validation": 1}
        assert len(model.predict({"size": [1.5]})) == 1


class TestSources:
    def test_pandas_with_gaps_categories_and_dates(self) -> None:
        frame = pd.DataFrame(houses())
        frame["city"] = frame["city"].astype("category")
        frame["rooms"] = pd.array([1, None, 3, 4, 5] * 10, dtype="Int64")
        frame["lift"] = pd.array([True, False, None, False, True] * 10, dtype="boolean")
        frame["built"] = pd.Timestamp("2000-01-01") + pd.to_timedelta(houses()["day"], unit="D")
        model = fit(frame, target="price", drop=["sold"], **FAST)

        kinds = {column.name: column.kind for column in model.schema.columns}
        assert kinds["city"] == "category"
        assert kinds["rooms"] == "number"
        assert kinds["lift"] == "boolean"
        assert kinds["built"] == "date"
        assert np.isfinite(model.predict(frame)).all()

    def test_all_sources_give_the_same_model(self) -> None:
        columns = table("price")
        frame = pd.DataFrame(columns)
        frame.to_csv("t.csv", index=False)
        frame.to_parquet("t.parquet")
        models = [
            fit(source, target="price", **FAST)
            for source in (columns, frame, pl.from_pandas(frame), pa.table(frame), "t.csv", Path("t.parquet"))
        ]

        assert len({bytes_without_times(model) for model in models}) == 1

    def test_a_matrix(self) -> None:
        x = np.random.default_rng(0).normal(size=(N_ROWS, 3))
        model = fit(x, y=x[:, 0], **FAST)

        assert model.schema.names == ("x0", "x1", "x2")
        assert model.predict(x).shape == (N_ROWS,)

    def test_refuses_a_missing_file(self) -> None:
        with pytest.raises(DataError, match=r"There is no file 'nowhere\.csv'"):
            fit("nowhere.csv", target="price")


class TestValidation:
    def test_share_of_the_rows(self) -> None:
        model = fit(table("price"), target="price", validation=0.3, **FAST)

        assert model.summary["rows"] == {"train": 35, "validation": 15}
        assert "at random" in model.summary["decisions"][1]

    def test_classes_are_on_both_sides_in_proportion(self) -> None:
        y = ["rare"] * 10 + ["common"] * 40
        model = fit(features() | {"y": y}, target="y", **FAST)

        assert model.summary["class_shares"] == [0.8, 0.2]
        assert "within each class" in model.summary["decisions"][1]

    @pytest.mark.parametrize("validation", [0, 0.0, 1, 1.5, np.float32(-0.1)])
    def test_refuses_a_share_that_leaves_nothing(self, validation: Any) -> None:
        with pytest.raises(ConfigError, match="fraction must lie between 0 and 1"):
            fit(table("price"), target="price", validation=validation)

    def test_given_as_a_table(self) -> None:
        held = rows_of(table("price"), slice(40, None))
        model = fit(rows_of(table("price"), slice(40)), target="price", validation=held, **FAST)

        assert model.summary["rows"] == {"train": 40, "validation": 10}
        assert "as given" in model.summary["decisions"][1]
        scores = model.evaluate(held)
        assert scores.pop("trained_on") == 0
        assert model.score == pytest.approx({k: v for k, v in scores.items() if k in model.score})

    def test_given_as_table_and_values(self) -> None:
        first, last = rows_of(table("price"), slice(40)), rows_of(table("price"), slice(40, None))
        by_table = fit(first, target="price", validation=last, **FAST)
        by_pair = fit(
            rows_of(features(), slice(40)),
            y=first["price"],
            validation=(rows_of(features(), slice(40, None)), last["price"]),
            **FAST,
        )

        assert by_pair.score == by_table.score
        assert np.array_equal(by_pair.predict(features()), by_table.predict(features()))

    def test_pair_of_unequal_lengths_is_refused(self) -> None:
        with pytest.raises(DataError, match="y must have as many rows as the table; got 3 and 50"):
            fit(features(), y=houses()["price"], validation=(features(), [1.0, 2.0, 3.0]))

    @pytest.mark.parametrize("name", ["price", "city"])
    def test_table_without_a_column_is_refused(self, name: str) -> None:
        held = {key: values for key, values in table("price").items() if key != name}
        with pytest.raises(DataError, match=f"no column '{name}'"):
            fit(table("price"), target="price", validation=held)

    def test_table_with_text_for_a_number_is_refused(self) -> None:
        held = table("price") | {"size": ["big"] * N_ROWS}
        with pytest.raises(SchemaError, match="'size' must hold a number in every row; row 1 holds 'big'"):
            fit(table("price"), target="price", validation=held)

    def test_score_is_that_of_the_kept_epoch(self) -> None:
        y = np.where(houses()["size"] > 100, "yes", "no")
        model = fit(features(), y=y, members=1, hidden=16, epochs=4, lr=0.05, batch_size=8)

        best = min(model.history.val_loss)
        assert model.history.val_loss[model.history.best_epoch - 1] == best
        assert model.score["log_loss"] == pytest.approx(best, rel=1e-3, abs=1e-4)

    def test_groups_are_on_one_side_only(self) -> None:
        columns = table("price") | {"street": houses()["street"], "also_street": houses()["street"]}
        model = fit(columns, target="price", groups="street", validation=0.3, **FAST)

        # The encoder knows the training rows' streets; if these are all their rows, none is in validation.
        known = encoder_state(model)[1][2]["levels"]
        n_rows = int(np.isin(houses()["street"].astype(str), known).sum())
        assert 0 < len(known) < 7
        assert n_rows == model.summary["rows"]["train"]
        assert model.dropped == ("street",)
        assert "by groups of 'street'" in model.summary["decisions"][1]

    def test_latest_rows_validate(self) -> None:
        shuffled = np.random.default_rng(1).permutation(N_ROWS)
        columns = rows_of({name: houses()[name] for name in ("day", "price")}, shuffled)
        model = fit(columns, target="price", time="day", **FAST)

        assert model.summary["rows"] == {"train": 40, "validation": 10}
        assert encoder_state(model)[0]["knots"] == list(range(40))
        assert "the latest by 'day'" in model.summary["decisions"][1]

    def test_dates_in_text_are_read_before_they_are_sorted(self) -> None:
        days = pd.date_range("2023-11-20", periods=N_ROWS)
        columns = table("price") | {"day": [f"{day.month}/{day.day}/{day.year}" for day in days]}
        model = fit(columns, target="price", time="day", **FAST)

        first = np.datetime64("2023-11-20").astype(int)
        assert model.schema["day"].kind == "date"
        newest = [coder["newest"] for coder in encoder_state(model)[1] if "newest" in coder]
        assert newest == [first + 39]

    def test_time_may_be_dropped(self) -> None:
        model = fit(table("price") | {"day": houses()["day"]}, target="price", time="day", drop="day", **FAST)

        assert model.schema.names == ("size", "city")
        assert "the latest by 'day'" in model.summary["decisions"][1]

    def test_refuses_a_time_that_is_always_the_same(self) -> None:
        with pytest.raises(DataError, match="at least 2 different times"):
            fit(table("price") | {"day": ["2024-01-31"] * N_ROWS}, target="price", time="day")

    def test_groups_and_time_are_exclusive(self) -> None:
        with pytest.raises(ConfigError, match="by groups or by time, not by both"):
            fit(houses(), target="price", groups="street", time="day")

    @pytest.mark.parametrize("role", ["groups", "time", "sample_weight"])
    def test_refuses_an_unknown_column(self, role: str) -> None:
        with pytest.raises(DataError, match="no column 'hour'"):
            fit(table("price"), target="price", **{role: "hour"})


class TestEncoderIsLearntOnTrainingRows:
    def fitted(self, change: Callable[[dict[str, Any]], None]) -> Model:
        columns = {name: houses()[name] for name in ("size", "city", "day", "price")}
        change(columns)
        return fit(columns, target="price", time="day", hidden=8, epochs=1)

    def test_changes_in_validation_rows_leave_it_as_it_is(self) -> None:
        def change(columns: dict[str, Any]) -> None:
            columns["size"][40:44] = [1e9, -1e9, np.nan, 0.0]
            columns["city"][45:] = "Lima"
            columns["price"][40:] = 1e7

        plain, changed = self.fitted(lambda _: None), self.fitted(change)

        assert encoder_state(changed) == encoder_state(plain)
        assert changed.task == plain.task
        assert changed.history.train_loss == plain.history.train_loss

    @pytest.mark.parametrize(("name", "value"), [("size", 1e9), ("size", np.nan), ("city", "Oslo")])
    def test_changes_in_training_rows_do_not(self, name: str, value: Any) -> None:
        def change(columns: dict[str, Any]) -> None:
            columns[name][:20] = value

        assert encoder_state(self.fitted(change)) != encoder_state(self.fitted(lambda _: None))


class TestWeights:
    weight = np.linspace(0, 2, N_ROWS)

    def test_array_and_column_are_the_same(self) -> None:
        by_array = fit(table("price"), target="price", sample_weight=self.weight, **FAST)
        by_column = fit(table("price") | {"w": self.weight}, target="price", sample_weight="w", **FAST)

        assert by_column.schema.names == ("size", "city")
        assert by_column.dropped == ("w",)
        assert by_column.score == by_array.score
        assert np.array_equal(by_column.predict(features()), by_array.predict(features()))

    def test_weights_matter(self, priced: Model) -> None:
        weighted = fit(table("price"), target="price", sample_weight=self.weight, **FAST)

        assert not np.array_equal(weighted.predict(features()), priced.predict(features()))

    def test_rows_of_weight_zero_teach_nothing(self) -> None:
        ignored = np.arange(N_ROWS) % 5 == 0
        y = houses()["sold"]
        flipped = np.where(ignored, np.where(y == "yes", "no", "yes"), y).astype(object)
        models = [
            fit(features(), y=labels, sample_weight=~ignored, validation=(features(), y), **FAST)
            for labels in (y, flipped)
        ]

        assert np.array_equal(models[0].predict_proba(features()), models[1].predict_proba(features()))

    def test_rows_of_weight_zero_do_not_validate(self) -> None:
        columns = table("price") | {"day": houses()["day"], "w": houses()["day"] < 40}
        weighted = fit(columns, target="price", time="day", sample_weight="w", **FAST)
        rows = np.flatnonzero(houses()["day"] < 40)
        kept = fit(rows_of(columns, rows), target="price", time="day", sample_weight="w", **FAST)

        assert np.array_equal(weighted.predict(columns), kept.predict(columns))
        assert weighted.summary["rows"] == {"train": 32, "validation": 8}

    @settings(max_examples=4, deadline=None)
    @given(
        weight=st.lists(st.integers(0, 3), min_size=N_ROWS, max_size=N_ROWS).filter(lambda w: sum(w) > 20),
        seed=st.integers(0, 99),
        exponent=st.integers(-9, 0),  # larger whole numbers would be more repetitions
        target=st.sampled_from(["price", "sold"]),
    )
    def test_two_is_twice_to_the_bit(self, weight: list[int], seed: int, exponent: int, target: str) -> None:
        rng = np.random.default_rng(seed)
        columns = table(target) | {"w": np.array(weight)}
        copies = rng.permutation(np.repeat(np.arange(N_ROWS), weight))
        options = FAST | {"target": target, "members": 2, "sample_weight": "w"}
        shuffled = rows_of(columns, rng.permutation(N_ROWS))
        models = [
            fit(columns, **options),
            fit(rows_of(columns, copies) | {"w": np.ones(len(copies))}, **options),
            fit(rows_of(table(target), copies), **options | {"sample_weight": None}),
            fit(shuffled | {"w": np.ldexp(shuffled["w"].astype(float), exponent)}, **options),
        ]

        assert len({str(model.score) for model in models}) == 1
        assert len({str(model.summary["baseline"]) for model in models}) == 1
        probs = [
            model.predict(features()) if target == "price" else model.predict_proba(features())
            for model in models
        ]
        assert all(np.array_equal(p, probs[0]) for p in probs)

    def test_two_is_twice_in_a_validation_table(self) -> None:
        columns = table("sold") | {"w": np.arange(N_ROWS) % 3}
        copies = np.repeat(np.arange(N_ROWS), columns["w"])
        models = [
            fit(columns, target="sold", sample_weight="w", validation=validation, **FAST)
            for validation in (columns, rows_of(table("sold"), copies[::-1]))
        ]

        assert models[0].score == models[1].score
        assert np.array_equal(models[0].predict_proba(features()), models[1].predict_proba(features()))

    def test_the_kernels_see_the_same_rows(self) -> None:
        columns = table("price", 200) | {"w": np.arange(200) % 4}
        copies = np.repeat(np.arange(200), columns["w"])
        options = FAST | {"target": "price", "batch_size": 4, "epochs": 40}
        weighted = fit(columns, sample_weight="w", **options)
        repeated = fit(rows_of(table("price", 200), copies), **options)

        assert weighted.history.engine == "kernels"
        assert np.array_equal(weighted.predict(features()), repeated.predict(features()))

    def test_rows_that_are_there_twice_are_said(self) -> None:
        columns = table("price")
        model = fit({name: np.tile(values, 2) for name, values in columns.items()}, target="price", **FAST)

        assert (
            "100 were given; equal rows are merged and count by their number" in model.summary["decisions"][1]
        )
        assert np.array_equal(model.predict(columns), fit(columns, target="price", **FAST).predict(columns))

    def test_mean_and_scale_of_the_target_are_weighted(self) -> None:
        columns = table("price") | {"w": np.linspace(1, 1.9, N_ROWS)}  # none is heavy enough to be split
        task = fit(columns, target="price", sample_weight="w", validation=columns, **FAST).task
        mean = np.average(columns["price"], weights=columns["w"])

        assert task.center == pytest.approx(mean, rel=1e-6)
        assert task.scale == pytest.approx(
            np.sqrt(np.average((columns["price"] - mean) ** 2, weights=columns["w"])), rel=1e-6
        )

    def test_baseline_is_weighted(self) -> None:
        w = np.where(houses()["sold"] == "yes", 1.5, 1.0)
        columns = table("sold") | {"w": w}
        model = fit(columns, target="sold", sample_weight="w", validation=columns, **FAST)
        share = float(w[houses()["sold"] == "yes"].sum() / w.sum())

        assert model.summary["class_shares"] == pytest.approx([1 - share, share])
        assert model.summary["baseline"]["log_loss"] == pytest.approx(
            -share * np.log(share) - (1 - share) * np.log(1 - share)
        )

    def test_errors_name_the_row_that_was_given(self) -> None:
        columns = table("price")
        columns["size"][6] = np.inf
        with pytest.raises(DataError, match="in row 7"):
            fit(columns, target="price", **FAST)
        with pytest.raises(DataError, match=r"first: row 3\)"):
            fit(features(), y=[1.0, 2.0, None, *range(N_ROWS - 3)], **FAST)
        with pytest.raises(DataError, match="groups must have no missing values; row 5"):
            streets = houses()["street"]
            streets[4] = None
            fit(table("price") | {"street": streets}, target="price", groups="street", **FAST)

    def test_refuses_a_validation_table_that_weighs_nothing(self) -> None:
        columns = table("price") | {"w": np.ones(N_ROWS)}
        with pytest.raises(DataError, match="not all zero"):
            fit(columns, target="price", validation=columns | {"w": np.zeros(N_ROWS)}, sample_weight="w")

    @pytest.mark.parametrize(
        "weight",
        [
            [1.0] * 49,
            [-1.0] + [1.0] * 49,
            [0.0] * 50,
            [np.nan] + [1.0] * 49,
            [np.inf] + [1.0] * 49,
            np.ones((50, 1)),
            ["heavy"] * 50,
            1.0,
        ],
        ids=str,
    )
    def test_refuses(self, weight: Any) -> None:
        with pytest.raises(DataError, match="sample_weight must be 50 finite numbers, none negative"):
            fit(table("price"), target="price", sample_weight=weight)


class TestGroups:
    def patients(self, n_groups: int, n_rows: int = 160) -> dict[str, Any]:
        """A number that tells the group, and a target that is the group's alone: a coin thrown for each."""
        rng = np.random.default_rng(1)
        group = rng.integers(0, n_groups, n_rows)
        coin = rng.permutation(np.arange(n_groups) % 2)
        return {
            "scan": group + rng.normal(0, 0.01, n_rows),
            "noise": rng.normal(size=n_rows),
            "patient": np.array([f"p{g}" for g in group], dtype=object),
            "ill": np.where(coin[group] == 1, "yes", "no").astype(object),
        }

    def test_each_network_holds_out_whole_groups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: dict[str, Any] = {}

        def watched(nets: Any, x: Any, *args: Any, **settings: Any) -> Any:
            seen.update(settings, x=x)
            return train_pack(nets, x, *args, **settings)

        monkeypatch.setattr("multilayer.recipe.trained.train_pack", watched)
        columns = self.patients(20)
        model = fit(columns, target="ill", groups="patient", hidden=8, epochs=1)

        scans = np.round(seen["x"][:, 0], 4)  # encoded; those of one patient are near
        assert "made of whole groups of 'patient'" in model.summary["decisions"][1]
        assert len(seen["validation_rows"]) == 16
        place = np.argsort(np.argsort(scans, kind="stable"), kind="stable")
        patient = np.sort(columns["scan"]).round()[place]
        for rows, held in zip(seen["rows"], seen["validation_rows"], strict=True):
            assert not set(patient[rows]) & set(patient[held])
            assert 10 <= len(held) <= 30
        assert model.summary["rows"] == {"train": 160, "validation": 160}

    def test_a_feature_that_tells_the_group_promises_less_than_by_rows(self) -> None:
        columns = self.patients(16, 240)
        options: dict[str, Any] = {"target": "ill", "members": 4, "hidden": 32, "epochs": 10, "lr": 0.03}
        by_group = fit(columns, groups="patient", **options)
        by_row = fit(columns, drop="patient", **options)

        assert by_row.score["accuracy"] > 0.9
        assert by_group.score["accuracy"] < by_row.score["accuracy"]
        assert by_group.score["log_loss"] > 3 * by_row.score["log_loss"]

    def test_fewer_groups_than_folds_hold_out_a_share(self) -> None:
        model = fit(self.patients(5), target="ill", groups="patient", hidden=8, epochs=1)

        assert "to validate on, by groups of 'patient'" in model.summary["decisions"][1]

    def test_target_statistics_are_of_other_groups(self) -> None:
        columns = self.patients(20)
        model = fit(columns, target="ill", groups="patient", members=1, hidden=8, epochs=1)

        assert any(feature.channel == "target" for feature in model.encoder.num_features)
        defaults = {
            name: p.default for name, p in inspect.signature(fit).parameters.items() if name != "table"
        }
        data = Data.read(columns, Wanted.make({**defaults, "target": "ill", "groups": "patient"}))
        fold = target_folds(Parts(data, None, ""), 0)
        pairs = {(patient, number) for patient, number in zip(columns["patient"], fold, strict=True)}
        assert len(pairs) == len(set(columns["patient"]))
        assert len(set(fold.tolist())) == TARGET_FOLDS


class TestMonotone:
    def flats(self, seed: int, n_rows: int = 60) -> dict[str, Any]:
        """Numbers, a boolean, a date and a category, with gaps, and a price that follows none of them."""
        rng = np.random.default_rng(seed)
        size = rng.lognormal(4, 1, n_rows)
        size[::9] = np.nan
        return {
            "size": size,
            "age": rng.integers(0, 50, n_rows).astype(float),
            "lift": rng.random(n_rows) < 0.5,
            "sold": np.datetime64("2020-01-01", "us") + rng.integers(0, 10**14, n_rows),
            "city": rng.choice(np.array(["Oslo", "Rome"], dtype=object), n_rows),
            "price": rng.normal(size=n_rows) - 2 * np.nan_to_num(np.log(size)),
        }

    ways = st.dictionaries(
        st.sampled_from(["size", "age", "lift", "sold"]),
        st.sampled_from(["increasing", "decreasing", 1, -1]),
        min_size=1,
    )

    @settings(max_examples=5, deadline=None)
    @given(ways=ways, seed=st.integers(0, 999), binary=st.booleans())
    def test_holds_everywhere(self, ways: dict[str, str | int], seed: int, binary: bool) -> None:
        columns = self.flats(seed)
        if binary:
            columns["price"] = np.where(columns["price"] > np.median(columns["price"]), "dear", "cheap")
        options: dict[str, Any] = {"members": 2, "hidden": 16, "epochs": 4, "lr": 0.05, "seed": seed}
        model = fit(columns, target="price", monotone=ways, **options)
        model = Model(**parts_of(*_saved(model), NetworkConfig, network_of))
        for name, way in ways.items():
            prediction = self.along(model, name, seed)
            steps = np.diff(prediction, axis=1) * (1 if way in ("increasing", 1) else -1)

            assert steps.min() >= -1e-5 * (1 if binary else model.task.scale)

    def along(self, model: Model, name: str, seed: int) -> np.ndarray:
        """Predictions (20 points, 30 values of the column, ascending), extreme ones among them."""
        rng = np.random.default_rng(seed)
        points = rows_of(self.flats(seed + 1), np.repeat(rng.integers(0, 60, 20), 30))
        values = {
            "size": np.sort(np.r_[-1e300, -1e9, -1e-300, 0, 1e-300, 1e9, 1e300, rng.lognormal(4, 2, 23)]),
            "age": np.sort(np.r_[-1e6, 1e6, rng.uniform(-5, 60, 28)]),
            "lift": np.arange(30) >= 15,
            "sold": np.datetime64("1900-01-01", "us") + np.sort(rng.integers(0, 7 * 10**15, 30)),
        }[name]
        points[name] = np.tile(values, 20)
        points.pop("price")
        out = model.predict(points) if model.classes is None else model.predict_proba(points)[:, 1]
        return np.asarray(out, np.float64).reshape(20, 30)

    def test_says_so(self) -> None:
        model = fit(self.flats(0), target="price", monotone={"size": 1, "age": -1, "lift": 1}, **FAST)

        assert model.summary["decisions"][-1] == (
            "monotone: the prediction never falls with 'size', 'lift' and never rises with 'age'"
        )

    def test_trains_in_the_kernels(self) -> None:
        options = FAST | {"batch_size": 4, "epochs": 90}

        assert fit(self.flats(0), target="price", monotone={"age": 1}, **options).history.engine == "kernels"

    def test_a_file_with_other_weights_is_held_to_it(self) -> None:
        model = fit(self.flats(0), target="price", monotone={"age": 1}, **FAST)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for network in model.networks:
                for parameter in network.parameters():
                    parameter.normal_(std=0.3, generator=generator)
        prediction = self.along(Model(**parts_of(*_saved(model), NetworkConfig, network_of)), "age", 0)

        assert np.diff(self.along(model, "age", 0), axis=1).min() < 0
        assert np.diff(prediction, axis=1).min() >= -1e-5 * model.task.scale

    @pytest.mark.parametrize(
        ("monotone", "message"),
        [
            ({"siz": "increasing"}, r"no column 'siz'.*Did you mean 'size'"),
            ({"price": "increasing"}, "no column 'price'"),
            ({"city": "increasing"}, "'city' is of kind category"),
            ({"size": "rising"}, "takes 'increasing' .* got 'rising'"),
            ({"size": 2}, "got 2"),
        ],
    )
    def test_refuses(self, monotone: Any, message: str) -> None:
        with pytest.raises((ConfigError, DataError), match=message):
            fit(self.flats(0), target="price", monotone=monotone, **FAST)

    def test_refuses_several_classes(self) -> None:
        columns = self.flats(0) | {"price": np.array(["a", "b", "c"] * 20, dtype=object)}
        with pytest.raises(ConfigError, match="3 classes, which have no order"):
            fit(columns, target="price", monotone={"size": 1}, **FAST)


def _saved(model: Model) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a file of it holds, read back."""
    return unpack(model.to_bytes(), "it", "")


class TestTraining:
    def test_hidden(self, priced: Model) -> None:
        assert priced.config.hidden == (8, 8)
        assert fit(table("price"), target="price", hidden=[9, 5, 7], epochs=1).config.hidden == (9, 5, 7)
        assert fit(table("price"), target="price", hidden=(), epochs=1).config.hidden == ()

    def test_epochs_and_batch_size(self) -> None:
        model = fit(table("price"), target="price", hidden=8, epochs=4, batch_size=10)

        assert model.history.epochs == 4
        assert len(model.history.step_loss) == 4 * 40 / 10
        assert model.history.stopped == "all epochs done"

    def test_lr_is_the_peak(self) -> None:
        model = fit(table("price"), target="price", hidden=8, epochs=10, batch_size=40, lr=0.004)

        assert 0.0035 < max(model.history.lr) <= 0.004

    def test_patience_stops(self) -> None:
        rng = np.random.default_rng(0)
        model = fit(rng.normal(size=(N_ROWS, 2)), y=rng.normal(size=N_ROWS), epochs=60, patience=2, lr=0.05)

        assert model.history.epochs == model.history.best_epoch + 2
        assert model.history.stopped == "no better validation loss in 2 epochs"

    def test_time_budget_ends_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Stopwatch().replace(monkeypatch, wanted, summary, pack, run_length)
        long = {"epochs": 100_000, "patience": 100_000, "callbacks": [lambda _: clock.advance(0.1)]}
        model = fit(table("price"), target="price", hidden=8, time_budget=1, **long)

        assert model.history.stopped == "the time budget was used up"
        assert model.summary["times"]["fit_s"] == pytest.approx(1.0)

    def test_a_fit_that_takes_longer_than_its_budget_says_by_how_much(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Stopwatch().replace(monkeypatch, wanted, summary, pack, run_length)
        how = {"network": "mlp", "epochs": 2, "time_budget": 2}
        slow = fit(table("price"), target="price", callbacks=[lambda _: clock.advance(5)], **how)
        quick = fit(table("price"), target="price", callbacks=[lambda _: clock.advance(0.5)], **how)

        said = re.match(r"time: (.*) s, (.*) s more than the budget of 2 s", slow.summary["decisions"][-1])
        assert said is not None
        assert float(said[1]) - float(said[2]) == 2
        assert not any(said.startswith("time: ") for said in quick.summary["decisions"])

    def test_a_tiny_time_budget_still_gives_a_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Stopwatch(tick_s=0.01).replace(monkeypatch, pack)
        model = fit(table("price"), target="price", hidden=8, time_budget=1e-6)

        assert np.isfinite(model.predict(features())).all()
        model.save("m.mlp")
        assert Model.load("m.mlp").score == model.score
        assert "networks: 1 (of 12, as time was short) with hidden layers of 8 and 8 units" in "\n".join(
            model.summary["decisions"]
        )

    def test_networks_that_a_time_budget_leaves_out_hold_no_rows(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Stopwatch(tick_s=0.01).replace(monkeypatch, pack)
        rng = np.random.default_rng(0)
        model = fit(rng.normal(size=(400, 2)), y=rng.normal(size=400), time_budget=1e-6)

        assert model.summary["rows"]["validation"] == 50  # the fold of the only network
        assert "rows: 400; the network validates on 1/8 of them" in "\n".join(model.summary["decisions"])

    @pytest.mark.parametrize("name", ["epochs", "batch_size", "lr", "patience", "time_budget"])
    @pytest.mark.parametrize("value", [0, -1])
    def test_refuses_what_is_not_positive(self, name: str, value: int) -> None:
        with pytest.raises(
            ConfigError, match=f"{name} must be (a whole number of at least 1|positive.*); got {value}"
        ):
            fit(table("price"), target="price", **{name: value})

    def test_refuses_a_width_below_one(self) -> None:
        with pytest.raises(ConfigError, match=r"hidden must be a whole number of at least 1, .*; got 0"):
            fit(table("price"), target="price", hidden=0)

    def test_refuses_a_negative_seed(self) -> None:
        with pytest.raises(ConfigError, match="seed must be a whole number of at least 0; got -1"):
            fit(table("price"), target="price", seed=-1)

    def test_numpy_numbers_are_taken_and_saved(self, priced: Model) -> None:
        model = fit(
            table("price"),
            target="price",
            members=np.int64(1),
            hidden=np.int64(8),
            epochs=np.int64(3),
            batch_size=np.int32(16),
            seed=np.int64(0),
        )

        assert bytes_without_times(model) == bytes_without_times(priced)

    def test_same_seed_gives_the_same_file_but_for_times(self) -> None:
        def fitted(seed: int) -> bytes:
            return bytes_without_times(fit(table("sold"), target="sold", seed=seed, **FAST))

        torch.manual_seed(1)
        first = fitted(3)
        torch.manual_seed(2)
        np.random.seed(2)
        assert fitted(3) == first
        assert fitted(4) != first

    def test_callbacks_see_each_epoch(self) -> None:
        seen: list[Progress] = []
        model = fit(table("price"), target="price", callbacks=[seen.append], **FAST)

        assert [progress.epoch for progress in seen] == [1, 2, 3]
        assert [progress.val_loss for progress in seen] == model.history.val_loss

    def test_a_callback_can_stop(self) -> None:
        model = fit(table("price"), target="price", hidden=8, epochs=9, callbacks=[stop_at(2)])

        assert model.history.epochs == 2
        assert model.history.stopped == "a callback asked to stop"
        assert not model.summary["interrupted"]

    @pytest.mark.parametrize("epoch", [1, 2])
    def test_ctrl_c_gives_the_best_model_so_far(self, epoch: int) -> None:
        columns = table("price")
        model = fit(columns, target="price", hidden=8, epochs=9, callbacks=[stop_at(epoch, by=interrupt)])
        stopped = fit(columns, target="price", hidden=8, epochs=9, callbacks=[stop_at(epoch)])

        assert model.summary["interrupted"]
        assert model.history.stopped == "interrupted"
        assert model.history.epochs == epoch
        assert np.array_equal(model.predict(features()), stopped.predict(features()))
        model.save("m.mlp")
        assert Model.load("m.mlp").summary["interrupted"]

    def test_leaves_random_states_and_threads(self) -> None:
        threads, state = torch.get_num_threads(), torch.get_rng_state()
        numpy_state = str(np.random.get_state(legacy=False))

        fit(table("sold"), target="sold", **FAST)

        assert torch.get_num_threads() == threads
        assert torch.equal(torch.get_rng_state(), state)
        assert str(np.random.get_state(legacy=False)) == numpy_state

    def test_leaves_the_table(self) -> None:
        columns = table("price")
        frame = pd.DataFrame(columns)
        before = frame.copy(deep=True)

        fit(frame, target="price", **FAST)
        fit(columns, target="price", **FAST)

        pd.testing.assert_frame_equal(frame, before)
        pd.testing.assert_frame_equal(pd.DataFrame(columns), before)

    def test_learns_what_is_there(self) -> None:
        model = fit(table("price", 200), target="price", hidden=32, epochs=25, batch_size=16, lr=0.01)

        assert model.score["r2"] > 0.8
        assert model.score["rmse"] < 0.5 * model.summary["baseline"]["rmse"]

    def test_members_are_trained_from_different_seeds_and_averaged(self) -> None:
        model = fit(table("price"), target="price", **FAST | {"members": 3})

        assert len(model.histories) == 3
        assert len({history.train_loss[0] for history in model.histories}) == 3
        each = [replace(model, networks=[net], weights=None).predict(features()) for net in model.networks]
        mean = np.average(each, axis=0, weights=model.weights)
        np.testing.assert_allclose(model.predict(features()), mean, rtol=1e-12)

    def test_the_first_member_is_the_network_of_one_member(self, priced: Model) -> None:
        model = fit(table("price"), target="price", validation=0.2, **FAST | {"members": 2})

        assert model.histories[0].train_loss == priced.history.train_loss
        assert model.histories[0].val_loss == priced.history.val_loss

    def test_each_network_validates_on_rows_that_it_did_not_train_on(self) -> None:
        model = fit(table("price", 80), target="price", **FAST | {"members": 5})

        assert model.summary["rows"] == {"train": 80, "validation": 50}
        assert "each of 5 networks validates on 1/8 of them" in model.summary["decisions"][1]
        assert len({round(history.val_loss[0], 9) for history in model.histories}) == 5
        assert model.weights is not None
        n = len(model.networks) - (model.linear is not None)
        assert sum(model.weights[:n]) == pytest.approx(5)  # each fold weighs alike

    def test_few_validation_rows_of_a_class_do_not_choose_among_networks(self) -> None:
        model = fit(table("sold"), target="sold", validation=0.2, **FAST | {"members": 3})

        assert model.weights is not None
        n = len(model.networks) - (model.linear is not None)
        assert n >= 3  # every network is in it, and weighs alike
        assert sum(model.weights[:n]) == pytest.approx(3)

    def test_a_label_tells_nothing_of_its_own_row(self) -> None:
        # The score comes from networks that held the row out: random labels give no more than chance.
        rng = np.random.default_rng(0)
        noise = {"place": rng.permutation(np.arange(600) // 3).astype(str).astype(object)}
        labels = rng.permutation(np.arange(600) % 2)
        model = fit(noise, y=labels, members=4, epochs=8)

        assert abs(model.score["roc_auc"] - 0.5) < 0.1

    def test_target_statistics_of_a_binary_target_are_said_and_stored(self, tmp_path: Path) -> None:
        model = fit(table("sold"), target="sold", **FAST)
        model.save(tmp_path / "m.mlp")

        assert any("told how often" in detail for detail in model.summary["details"])
        again = Model.load(tmp_path / "m.mlp")
        assert np.array_equal(again.predict_proba(features()), model.predict_proba(features()))

    @pytest.mark.parametrize(("quality", "members"), [("fast", 4), ("default", 12), ("best", 36)])
    def test_quality_decides_how_much_is_trained(self, quality: str, members: int) -> None:
        model = fit(table("price", 200), target="price", quality=quality, epochs=1)

        assert len(model.histories) == members

    def test_units_learn_a_slope_but_for_two_classes_and_where_a_direction_is_asked(self) -> None:
        settings: dict[str, Any] = {"members": 1, "epochs": 1}
        numbers = fit(table("price", 200), target="price", **settings)
        rising = fit(table("price", 200), target="price", monotone={"size": "increasing"}, **settings)
        two = fit(table("sold", 200), target="sold", **settings)

        assert [model.config.activation for model in (numbers, rising, two)] == ["prelu", "relu", "relu"]

    def test_refuses_an_unknown_quality(self) -> None:
        with pytest.raises(ConfigError, match="quality must be one of 'fast', 'default', 'best'; got 'bst'"):
            fit(table("price"), target="price", quality="bst")

    def test_a_number_that_hardly_varies_is_left_out(self) -> None:
        columns = table("price", 400) | {"blip": (np.arange(400) == 7).astype(int)}
        model = fit(columns, target="price", **FAST)

        assert "'blip' (the same in nearly all rows)" in model.summary["decisions"][2]
        assert model.encoder.unused == ("blip",)

    def test_summary_says_what_was_decided(self, priced: Model) -> None:
        decisions = priced.summary["decisions"]

        assert decisions[0].startswith("task: regression of 'price'")
        assert decisions[1] == "rows: 40 to train on, 10 to validate on, at random"
        assert decisions[2] == "columns: 1 number, 1 category"
        assert decisions[3] == "networks: 1 with hidden layers of 8 and 8 units"
        assert priced.summary["seed"] == 0
        assert set(priced.summary["versions"]) == {"multilayer", "torch", "numpy", "python"}
        assert set(priced.score) == set(priced.summary["baseline"]) == {"rmse", "mae", "r2"}
