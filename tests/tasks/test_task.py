import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multilayer.errors import ConfigError, DataError
from multilayer.tasks.make import guess_kind, make_task, task_from_json
from multilayer.tasks.regression import Regression


def constantly(task, code):
    """What a model without features predicts, for each row."""
    constant = task.constant(code)
    return np.broadcast_to(constant, (len(code), *constant.shape))


def text(*labels):
    return np.array(labels, dtype=object)


TASKS = [
    make_task(text("no", "yes", "no")),
    make_task(text("a", "b", "c")),
    make_task(np.array([True, False])),
    make_task(np.array([1.0, 2.0, 3.0])),
    make_task(np.array([0.5, 2.5, 4.0])),
]


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (text("no", "yes"), "binary"),
        (text("a", "b", "c"), "multiclass"),
        (np.array([True, False]), "binary"),
        (np.array([3.5, 7.0, 3.5]), "binary"),
        (np.array([0, 1, 2]), "multiclass"),
        (np.array([1.0, 2.0, 3.0]), "multiclass"),
        (np.arange(50), "multiclass"),
        (np.arange(51), "regression"),
        (np.array([0, 1, 3]), "regression"),
        (np.array([2, 3, 4]), "regression"),
        (np.array([0.0, 0.5, 1.0]), "regression"),
    ],
)
def test_kind_is_guessed_from_the_target(y, kind):
    assert guess_kind(y)[0] == kind
    assert make_task(y).kind == kind


def test_a_kind_that_is_given_decides():
    y = np.array([1, 2, 3])
    assert make_task(y, "regression").center == 2
    assert make_task(np.array([2, 4, 9]), "multiclass").classes == (2, 4, 9)
    assert make_task(np.array([4, 9]), "multiclass").kind == "binary"


def test_whole_floats_become_integer_classes():
    classes = make_task(np.array([1.0, 2.0, 1.0])).classes
    assert classes == (1, 2)
    assert all(type(label) is int for label in classes)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("aAß 1", max_size=3), min_size=2).filter(lambda labels: len(set(labels)) > 1))
def test_labels_come_back_as_they_were(labels):
    y = text(*labels)
    task = make_task(y)
    certain = np.eye(len(task.classes))[task.encode(y)]
    assert task.decide(certain).tolist() == labels
    assert task.classes == tuple(sorted(set(labels)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20).filter(lambda v: np.ptp(v) > 1e-3))
def test_numbers_are_standardised_and_come_back(values):
    y = np.array(values)
    task = make_task(y, "regression")
    code = task.encode(y)
    output = task.as_network_target(code)
    assert abs(output.mean()) < 1e-5 and output.std() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(task.link(output), y, atol=1e-6 * np.abs(y).max())


def test_predictions_stay_in_the_range_seen():
    task = make_task(np.array([0.5, 2.5, 4.0]))
    assert task.link(np.array([[-100.0], [100.0]], dtype=np.float32)).tolist() == [0.5, 4.0]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: str(task.classes))
def test_json_round_trip(task):
    assert task_from_json(json.loads(json.dumps(task.to_json()))) == task


def test_json_keeps_open_limits():
    assert task_from_json(json.loads(json.dumps(Regression().to_json()))) == Regression()


def test_network_target_has_the_losses_shape_and_type():
    binary, multiclass, *_, regression = TASKS
    assert [t.loss for t in (binary, multiclass, regression)] == [
        "binary_cross_entropy",
        "cross_entropy",
        "mse",
    ]
    assert [t.n_outputs for t in (binary, multiclass, regression)] == [1, 3, 1]
    assert binary.as_network_target(np.array([0, 1])).tolist() == [[0.0], [1.0]]
    assert regression.as_network_target(np.array([0.5])).dtype == np.float32
    assert multiclass.as_network_target(np.array([0, 2])).shape == (2,)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_probabilities_sum_to_one_however_large_the_logits(scale):
    binary, multiclass, *_ = TASKS
    logits = (np.random.default_rng(0).normal(size=(20, 3)) * scale).astype(np.float32)
    for task, part in [(binary, logits[:, :1]), (multiclass, logits)]:
        probs = task.link(part)
        np.testing.assert_allclose(probs.sum(1), 1)
        assert ((probs >= 0) & (probs <= 1)).all()
    assert binary.link(np.zeros((1, 1), dtype=np.float32)).tolist() == [[0.5, 0.5]]


def test_scores_and_baseline():
    binary, multiclass, *_, regression = TASKS
    code = np.array([0, 1, 0, 0])
    assert binary.constant(code).tolist() == [0.75, 0.25]
    assert set(binary.score(code, constantly(binary, code))) == {"log_loss", "accuracy", "roc_auc"}
    assert set(multiclass.score(code, constantly(multiclass, code))) == {"log_loss", "accuracy"}
    y = np.array([0.5, 2.5, 4.0])
    score = regression.score(regression.encode(y), constantly(regression, y))
    assert score["rmse"] == pytest.approx(y.std())
    assert score["r2"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("y", "kind", "error", "message"),
    [
        (text("a", None, None), None, DataError, r"2 of 3 have none \(first: row 2\)\. Remove"),
        (np.array([1.0, np.nan]), None, DataError, r"1 of 2 have none \(first: row 2\)"),
        (np.array([1.0, np.inf]), None, DataError, r"target must be finite; got inf in row 2"),
        (np.array(["2020-01-01"], dtype="M8[us]"), None, DataError, "labels or numbers; got dates"),
        (text("a", "a"), None, DataError, "at least two classes; all 2 rows hold 'a'"),
        (np.array([2.5, 2.5, 2.5]), None, DataError, "target must vary; all 3 rows hold 2.5"),
        (text("a", "b"), "regression", DataError, r"needs a target of numbers; got text \(first: 'a'\)"),
        (text("a", "b", "c"), "binary", ConfigError, "'binary' needs two classes; the target has 3"),
        (
            text("a", "b"),
            "classification",
            ConfigError,
            "task must be one of binary, .* got 'classification'",
        ),
    ],
)
def test_refuses_a_target(y, kind, error, message):
    with pytest.raises(error, match=message):
        make_task(y, kind)


def test_refuses_a_class_that_was_not_there_at_fit():
    with pytest.raises(DataError, match=r"there at fit \(no, yes\); got maybe\. Remove"):
        TASKS[0].encode(text("no", "maybe"))
