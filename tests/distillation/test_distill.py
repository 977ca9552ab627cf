"""A student learns what its teacher says, and is judged on rows that neither saw."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

import multilayer as ml
from multilayer.distillation.distill import slim
from multilayer.distillation.near_rows import near_rows
from multilayer.errors import ConfigError, DataError, TableWarning
from multilayer.table.encode import Encoder
from multilayer.table.schema import infer_schema
from multilayer.table.sources.read import Table

SMALL = {"hidden": 6, "epochs": 2, "augment": 1}


def rows(n=240):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    return {
        "a": x[:, 0],
        "b": np.where(rng.random(n) < 0.1, np.nan, x[:, 1]),
        "c": rng.choice(["u", "v", "w"], n).astype(object),
        "y": np.where(x[:, 0] * 2 + x[:, 2] > 0, "p", "n").astype(object),
    }


class Oracle:
    """Knows the label of a row of `rows` but for a tenth, and remembers what it was asked."""

    classes_ = np.array(["p", "n"], object)

    def __init__(self):
        self.asked = []

    def predict_proba(self, frame):
        self.asked.append(frame)
        p = np.where(frame["a"] > 0, 0.9, 0.1)
        return np.column_stack([p, 1 - p])


def test_a_model_is_fitted_anew_and_its_student_is_smaller():
    model = ml.fit(rows(), target="y", members=8, epochs=2, hidden=32, seed=0)
    found = ml.distill(model, rows(), **SMALL)
    assert list(found.judged) == ["teacher", "student", "plain student"]
    assert found.n_test == 48
    assert found.n_rows == 192
    assert found.n_more == 168
    assert (
        found.judged["student"].n_bytes == len(found.model.to_bytes()) < found.judged["teacher"].n_bytes / 2
    )
    assert found.model.predict_proba(rows()).shape == (240, 2)
    assert "that none of them saw" in str(found)


def test_the_same_seed_gives_the_same_student():
    boosted = HistGradientBoostingRegressor(max_iter=5)
    table = {name: values for name, values in rows().items() if name not in ("c", "y")} | {"z": rows()["a"]}
    first, second = (ml.distill(boosted, table, target="z", seed=3, **SMALL).model for _ in range(2))
    assert first.predict(table).tobytes() == second.predict(table).tobytes()


def test_classes_of_a_teacher_may_stand_in_another_order():
    teacher = Oracle()
    found = ml.distill(teacher, rows(), target="y", refit=False, hidden=6, epochs=12, augment=2)
    assert found.judged["teacher"].score["accuracy"] > 0.75
    assert found.judged["student"].agreement > 0.75
    assert all(list(frame.columns) == ["a", "b", "c"] for frame in teacher.asked)


def test_a_teacher_that_cannot_be_fitted_is_said_to_be_too_sure():
    with pytest.warns(TableWarning, match="cannot be fitted anew, so it may have seen all rows"):
        ml.distill(Oracle(), rows(), target="y", **SMALL)


def test_labels_of_training_rows_come_from_teachers_that_have_not_seen_them():
    class Parrot(HistGradientBoostingClassifier):
        """Says the labels of the rows that it was fitted on, and 0.5 of all others."""

        def fit(self, x, y):
            self.classes_ = np.array(["n", "p"], object)
            self.known_ = dict(zip(x["a"], y, strict=True))
            return self

        def predict_proba(self, x):
            said = [{"n": 0.0, "p": 1.0, None: 0.5}[self.known_.get(a)] for a in x["a"]]
            return np.column_stack([1 - np.array(said), said])

    found = ml.distill(Parrot(), rows(), target="y", **SMALL)
    assert found.judged["teacher"].score["log_loss"] == pytest.approx(np.log(2))  # it has not seen test rows


def test_rows_made_hold_only_cells_of_their_columns():
    table = Table({name: values for name, values in rows().items() if name != "y"})
    more = near_rows(table, Encoder.fit(table, infer_schema(table)), 3, 0)
    assert more.n_rows == 720
    for name in table.names:
        assert set(map(str, more[name].tolist())) <= set(map(str, table[name].tolist()))
    same = np.mean([more["a"][i] == table["a"][i % 240] for i in range(720)])
    assert 0.6 < same < 0.8


def test_slim_models_say_nearly_the_same():
    rng = np.random.default_rng(0)
    table = {"a": rng.normal(size=2_000), "y": rng.normal(size=2_000)}
    model = ml.fit(table, target="y", members=2, epochs=2, hidden=4)
    small = slim(model)
    assert len(small.to_bytes()) < len(model.to_bytes())
    assert np.abs(small.predict(table) - model.predict(table)).max() < 0.1 * model.predict(table).std() + 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": None}, "target must be named"),
        ({"target": "nowhere"}, "must hold the target 'nowhere'"),
        ({"augment": -1}, "augment must be a whole number from 0 to 100"),
    ],
)
def test_what_cannot_be_distilled_is_refused(change, message):
    with pytest.raises((ConfigError, DataError), match=message):
        ml.distill(Oracle(), rows(), **{"target": "y", **SMALL, **change})


def test_few_rows_and_quantiles_are_refused():
    with pytest.raises(DataError, match="at least 100 rows"):
        ml.distill(Oracle(), rows(60), target="y", **SMALL)
    table = {"a": np.arange(120.0), "y": np.arange(120.0)}
    model = ml.fit(table, target="y", quantiles=(0.1, 0.9), members=2, epochs=1, hidden=4)
    with pytest.raises(ConfigError, match="a student has one target"):
        ml.distill(model, table)
