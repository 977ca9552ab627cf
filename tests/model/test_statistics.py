"""What a model keeps of its rows: distributions, landmarks, and how it stands in a file."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

import multilayer as ml
from multilayer.model.file import digest, unpack
from multilayer.model.statistics import Distribution, Statistics, squared_distances

SMALL: dict[str, Any] = {"members": 2, "epochs": 2, "hidden": 4}


def table(n: int = 200) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    number = rng.normal(size=n)
    number[::10] = np.nan
    return {
        "number": number,
        "city": rng.choice(["Oslo", "Rome", "Bern", "Riga"], n, p=[0.5, 0.3, 0.15, 0.05]).astype(object),
        "flag": rng.random(n) < 0.25,
        "day": (np.datetime64("2024-01-01") + np.arange(n)).astype("datetime64[us]"),
        "words": [f"room {i} was clean and quiet on day {i % 7}" for i in range(n)],
    }


@pytest.fixture(scope="module")
def model() -> ml.Model:
    rows = table()
    return ml.fit(rows | {"y": np.nan_to_num(rows["number"]) * 3 + rows["flag"]}, target="y", **SMALL)


# Distributions


def test_a_quantile_is_the_order_statistic_that_split_conformal_asks_for() -> None:
    scores = np.random.default_rng(1).permutation(99).astype(float)  # 0 to 98

    found = Distribution.of(scores)

    for share in (0.1, 0.5, 0.9, 0.95):  # rank (n + 1) share of 99
        assert found.quantile(share) == round(100 * share) - 1
    assert found.quantile(0.995) == np.inf  # of 99 rows none tells so much


def test_thinning_never_makes_a_quantile_smaller() -> None:
    scores = np.random.default_rng(2).exponential(size=20_000)
    whole, thinned = Distribution.of(scores, most=100_000), Distribution.of(scores)

    assert len(thinned.values) <= 1000
    shares = np.linspace(0.01, 0.999, 300)
    more = np.array([thinned.quantile(s) - whole.quantile(s) for s in shares])
    below = whole.share_below(np.array([thinned.quantile(s) for s in shares]))
    assert (more >= 0).all() and (below - shares < 0.003).all()


def test_equal_weights_are_no_weights_and_a_heavy_row_counts_as_few() -> None:
    values = np.arange(50.0)
    alike, plain = Distribution.of(values, np.full(50, 3.0)), Distribution.of(values)
    assert alike.n == pytest.approx(50) and np.allclose(alike.ranks, plain.ranks)
    assert alike.quantile(0.8) == plain.quantile(0.8)

    heavy = Distribution.of(values, np.r_[1e6, np.ones(49)])
    assert heavy.n < 1.01


def test_share_below_is_that_of_the_rows() -> None:
    found = Distribution.of(np.array([1.0, 2.0, 2.0, 5.0]))

    assert found.share_below(np.array([0.0, 1.0, 2.0, 3.0, 9.0])).tolist() == [0, 0, 0.25, 0.75, 1]


# Of a fit


def test_columns_are_told_as_they_came(model: ml.Model) -> None:
    kept = model.statistics
    assert kept is not None and kept.n_rows == 200
    columns = dict(zip(model.schema.names, kept.columns, strict=True))
    rows = table()

    assert columns["number"].missing == pytest.approx(0.1)
    present = np.sort(rows["number"][~np.isnan(rows["number"])])
    assert columns["number"].values[[0, -1]].tolist() == [present[0], present[-1]]
    middle = columns["number"].shares.searchsorted(0.5)
    assert (present <= columns["number"].values[middle]).mean() == pytest.approx(
        columns["number"].shares[middle]
    )
    shares = [np.mean(rows["city"] == level) for level in model.schema["city"].levels]
    assert columns["city"].shares == pytest.approx(shares)
    assert columns["flag"].values.tolist() == [0, 1]
    assert columns["flag"].shares == pytest.approx([1 - rows["flag"].mean(), 1])
    days = model.schema["day"]
    assert columns["day"].values[[0, -1]].tolist() == [days.low, days.high]
    assert not len(columns["words"].values) and not len(columns["words"].shares)


def test_scores_of_folds_average_to_the_score(model: ml.Model) -> None:
    kept = model.statistics
    assert kept is not None and kept.held_out is not None
    mean_square = np.mean([scores["rmse"] ** 2 for scores in kept.held_out.scores])
    assert np.sqrt(mean_square) == pytest.approx(model.score["rmse"], rel=0.05)
    assert 0 < kept.held_out.spread("rmse") < model.score["rmse"]
    assert np.isnan(kept.held_out.spread("accuracy"))


def test_residuals_are_those_of_held_out_rows() -> None:
    rows = table()
    y = np.nan_to_num(rows["number"]) * 3
    valid = {name: values[:50] for name, values in rows.items()} | {"y": y[:50]}
    train = {name: values[50:] for name, values in rows.items()} | {"y": y[50:]}

    fitted = ml.fit(train, target="y", validation=valid, **SMALL)

    kept = fitted.statistics
    assert kept is not None and kept.held_out is not None and not kept.held_out.folds
    (errors,) = kept.held_out.errors
    assert np.allclose(errors.residuals.values, np.sort(y[:50] - fitted.predict(valid)), atol=1e-5)
    assert errors.absolute.n == 50


def test_no_landmark_is_a_row_and_far_rows_are_far(model: ml.Model) -> None:
    kept = model.statistics
    assert kept is not None and kept.landmarks is not None
    found = kept.landmarks
    x = model._inputs(model._raw(table(), None, "ignore"))

    assert (squared_distances(found.rows, x, found.scale) > 1e-6).all()
    assert found.weight.sum() == pytest.approx(1)
    far = x.copy()
    far[:, : len(found.scale)] = np.where(x[:, : len(found.scale)] > 0, -3, 3)
    assert found.distances(far).min() > found.distance.quantile(0.5)
    rare = found.distances(x) > found.distance.at([0.99])[0]
    assert rare.mean() < 0.05


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({"time": "day"}, "y"),
        ({"groups": "city"}, "y"),
        ({"validation": 0.3}, "y"),
        ({"quantiles": (0.1, 0.5, 0.9)}, "y"),
        ({"objective": "log"}, "y"),
        ({}, ["y", "z"]),
        ({"network": "tabm", "members": 1, "hidden": (4, 4)}, "y"),
    ],
)
def test_every_kind_of_fit_keeps_them(settings: dict[str, Any], target: Any) -> None:
    rows = table(300)
    y = np.abs(np.nan_to_num(rows["number"])) + 1

    fitted = ml.fit(rows | {"y": y, "z": y**2} if target != "y" else rows | {"y": y}, target=target,
                    **SMALL | settings)  # fmt: skip

    kept = fitted.statistics
    assert kept is not None and kept.held_out is not None
    assert len(kept.held_out.errors) == (1 if target == "y" else 2)
    again = ml.Model.from_bytes(fitted.to_bytes())
    assert again.to_bytes() == fitted.to_bytes()


def test_classes_keep_scores_and_diagrams() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=400)
    three = np.digitize(x + rng.normal(size=400) / 2, [-0.5, 0.5])
    fitted = ml.fit({"x": x, "y": np.array(["low", "mid", "top"], object)[three]}, target="y", **SMALL)

    kept = fitted.statistics
    assert kept is not None and kept.held_out is not None
    (errors,) = kept.held_out.errors
    assert [diagram.of for diagram in errors.reliability] == ["the predicted class", "low", "mid", "top"]
    assert errors.lac.n == kept.held_out.n_rows and errors.raps is not None and 1 <= errors.free <= 3
    assert 0 < errors.reliability[0].ece < 1


def test_several_labels_have_errors_each() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=200)
    labels = {"a": x > 0, "b": x + rng.normal(size=200) > 1}
    fitted = ml.fit({"x": x} | labels, target=["a", "b"], **SMALL)

    kept = fitted.statistics
    assert kept is not None and kept.held_out is not None
    assert [errors.reliability[0].of for errors in kept.held_out.errors] == ["True", "True"]


def test_a_streamed_fit_keeps_them(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multilayer.recipe.chunks.CELL_BYTES", 1_000_000)
    monkeypatch.setattr("multilayer.recipe.chunks.CHUNK_ROWS", 1_000)
    rng = np.random.default_rng(5)
    x = rng.normal(size=3_000)
    path = tmp_path / "rows.csv"
    np.savetxt(path, np.c_[x, x * 2], delimiter=",", header="x,y", comments="")

    fitted = ml.fit(str(path), target="y", memory="800MB", batch_size=64, **SMALL)

    kept = fitted.statistics
    assert kept is not None and kept.held_out is not None and not kept.held_out.folds
    assert any("streamed" in decision for decision in fitted.summary["decisions"])
    assert kept.n_rows > 2_500 and len(kept.held_out.scores) == 8


def test_weights_of_rows_count_in_columns() -> None:
    x = np.repeat([0.0, 1.0, 2.0, 5.0], 25)
    weight = np.where(x == 5, 3.0, 1.0)
    fitted = ml.fit({"x": x, "y": x + np.arange(100) / 100}, target="y", sample_weight=weight,
                    validation=0.2, **SMALL)  # fmt: skip

    assert fitted.statistics is not None
    share = fitted.statistics.columns[0].shares
    assert share[2] == pytest.approx(0.5, abs=0.05)


# In files


def test_an_older_file_has_none(model: ml.Model) -> None:
    old = replace(model, statistics=None)

    assert ml.Model.from_bytes(old.to_bytes()).statistics is None


def test_the_file_gives_back_what_it_was(model: ml.Model) -> None:
    kept = model.statistics
    assert kept is not None
    arrays, plan = kept.state()

    again = Statistics.from_state(dict(arrays), json.loads(json.dumps(plan)), model.encoder)

    more, same = again.state()
    assert same == plan
    assert arrays.keys() == more.keys()
    for name in arrays:
        np.testing.assert_array_equal(arrays[name], more[name])


Edit = Callable[[dict[str, Any], dict[str, Any]], Any]


def put(value: Any, *path: Any) -> Edit:
    def edit(plan: dict[str, Any], _: dict[str, Any]) -> None:
        for key in path[:-1]:
            plan = plan[key]
        plan[path[-1]] = value

    return edit


def change(name: str, of: Callable[[Any], Any]) -> Edit:
    def edit(_: dict[str, Any], arrays: dict[str, Any]) -> None:
        arrays[f"statistics.{name}"] = np.asarray(of(arrays[f"statistics.{name}"]))

    return edit


FORGED: dict[str, tuple[Edit, str]] = {
    "no object": (put([], "statistics"), "an object is needed"),
    "a column less": (
        lambda plan, _: plan["statistics"]["columns"].pop(),
        "each column needs its statistics",
    ),
    "a column far outside": (put(10**9, "statistics", "columns", 0, "n_values"), "has no place"),
    "a share of two": (put(2.0, "statistics", "columns", 0, "missing"), "within 0 and 1"),
    "rows of text": (put("many", "statistics", "n_rows"), "not what it must be"),
    "a new field": (put(1, "statistics", "more"), "other fields"),
    "an unknown kind": (put("Other", "statistics", "held_out", "errors", 0, "kind"), "no kind 'Other'"),
    "values that fall": (change("columns.values", lambda a: a[::-1].copy()), "values must rise"),
    "no numbers": (change("landmarks.scale", lambda a: a * np.nan), "must be finite"),
    "another type": (change("landmarks.rows", lambda a: a.astype(np.float64)), "must be finite float32"),
    "codes far outside": (change("landmarks.rows", lambda a: a + 1000), "landmarks are no rows"),
    "landmarks of other rows": (change("landmarks.rows", lambda a: a[:, 1:].copy()), "than rows"),
    "ranks without end": (
        change("held_out.errors.0.absolute.ranks", lambda a: a / 2),
        "ranks must end with n",
    ),
    "an array more": (lambda _, arrays: arrays.update({"statistics.x": np.zeros(1)}), "no statistic '.x'"),
    "arrays without text": (put(None, "statistics"), "does not speak of"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_statistics_are_refused(model: ml.Model, name: str) -> None:
    edit, message = FORGED[name]
    meta, arrays = unpack(model.to_bytes(), "it", "")
    arrays = {key: array.copy() for key, array in arrays.items()}
    edit(meta, arrays)
    text = json.dumps(meta)
    data = bytes(save(arrays | {"sha256": digest(text, arrays)}, {"multilayer": text}))

    with pytest.raises(ml.ModelFileError, match=message):
        ml.Model.from_bytes(data)
