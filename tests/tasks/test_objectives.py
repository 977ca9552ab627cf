"""What regressions aim at, and how classes are decided: units, losses, links, metrics, each by definition."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.utils.class_weight import compute_class_weight

from multilayer.errors import ConfigError, DataError
from multilayer.tasks import metrics
from multilayer.tasks.classification import THRESHOLD_METRICS, Classification, best_threshold
from multilayer.tasks.make import OBJECTIVES, make_task, task_from_json
from multilayer.tasks.metrics import METRICS, weighted_quantile
from multilayer.tasks.multi_target import side_by_side
from multilayer.training.losses import make_loss

RNG = np.random.default_rng(0)
POSITIVE = np.exp(RNG.normal(size=40)) * 100
LOG_LINK = ["poisson", "gamma", "tweedie"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_is_least_at_the_best_constant(objective: str) -> None:
    """Trained by its loss and brought back by its link, a network without inputs says `constant`."""
    task = make_task(POSITIVE, objective=objective)
    loss = make_loss(task.loss, has_target=True, has_weight=False)
    target = torch.from_numpy(task.as_network_target(POSITIVE)).double()
    out = torch.zeros(1, task.n_outputs, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([out], lr=0.05)
    for step in range(800):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 800)
        optimizer.zero_grad()
        loss(out.expand(len(target), -1), target).backward()
        optimizer.step()

    prediction = task.link(out.detach().float().numpy())[0]
    if objective == "log":
        np.testing.assert_allclose(prediction, np.exp(np.log(POSITIVE).mean()), rtol=1e-3)
    elif objective == "huber":
        assert np.median(POSITIVE) < prediction < POSITIVE.mean()
    else:
        near = 0.1 if objective in ("quantile", "absolute_error") else 1e-3  # between two values all are best
        np.testing.assert_allclose(prediction, task.constant(POSITIVE), rtol=near)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_chooses_among_networks_is_what_trains_them(objective: str) -> None:
    """Differences of row losses are those of the loss, up to one factor."""
    task = make_task(POSITIVE, objective=objective)
    outputs = RNG.normal(size=(3, 40, task.n_outputs)).astype(np.float32) * 0.2
    outputs.sort(axis=2)
    loss = make_loss(task.loss, has_target=True, has_weight=False)
    target = torch.from_numpy(task.as_network_target(POSITIVE))
    trained = np.array([float(loss(torch.from_numpy(o), target)) for o in outputs])
    chosen = np.array([task.row_losses(task.essence(o, POSITIVE), POSITIVE).mean() for o in outputs])

    ratios = np.diff(chosen) / np.diff(trained)
    assert ratios[0] > 0
    np.testing.assert_allclose(ratios, ratios[0], rtol=0.02)  # the range seen at fit cuts some off


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_json_round_trip(objective: str) -> None:
    several = side_by_side({"a": POSITIVE, "b": POSITIVE[::-1] * 3})
    for y in (POSITIVE, several):
        task = make_task(y, objective=objective)
        assert task_from_json(json.loads(json.dumps(task.to_json()))) == task


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "binary", "classes": ["no", "yes"], "center": 0.0, "scale": 1.0, "low": None, "high": None},
        {"kind": "multiclass", "classes": [1, 2, 3], "center": 0.0, "scale": 1.0, "low": None, "high": None},
        {"kind": "regression", "classes": [], "center": 2.0, "scale": 0.5, "low": 1.0, "high": 3.0},
    ],
)
def test_tasks_of_the_first_model_files_are_read(values: dict) -> None:
    task = task_from_json(values)
    assert task.kind == values["kind"]
    assert task.classes == tuple(values["classes"])
    if task.kind == "regression":
        assert task.link(np.array([[0.0], [9.0]], np.float32)).tolist() == [2.0, 3.0]
    else:
        assert task.decide(np.eye(len(task.classes))).tolist() == values["classes"]


@pytest.mark.parametrize(
    ("objective", "bad", "message"),
    [
        ("poisson", -1.0, r"'poisson' needs a target of 0 or above; got -1 in row 3, and 1 such"),
        ("tweedie", -1.0, "of 0 or above"),
        ("gamma", 0.0, "'gamma' needs a target above 0; got 0 in row 3.*tweedie"),
        ("log", 0.0, "above 0"),
    ],
)
def test_targets_out_of_range_are_refused(objective: str, bad: float, message: str) -> None:
    y = POSITIVE.copy()
    y[2] = bad
    with pytest.raises(DataError, match=message):
        make_task(y, objective=objective)
    with pytest.raises(DataError, match=message):
        make_task(POSITIVE, objective=objective).encode(y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "poison"}, r"objective must be one of squared_error, .*Did you mean 'poisson'\?"),
        ({"objective": "gamma", "kind": "binary"}, "objective 'gamma' with task 'binary'"),
        ({"objective": "gamma", "quantiles": [0.5]}, "quantiles are for the objective 'quantile'"),
        ({"quantiles": [0.9, 0.1]}, "between 0 and 1, ascending"),
        ({"quantiles": []}, "at least one"),
        ({"quantiles": 1.5}, "between 0 and 1"),
        ({"threshold": "f1"}, "a threshold is for classes; the task is regression"),
    ],
)
def test_refuses_settings_that_do_not_fit(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_task(POSITIVE, **settings)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3))
def test_quantiles_never_cross_and_stay_in_the_range_seen(output: list[float]) -> None:
    task = make_task(POSITIVE, quantiles=(0.1, 0.5, 0.9))
    quantiles = task.link(np.array([output], np.float32))
    assert (np.diff(quantiles) >= 0).all()
    assert POSITIVE.min() <= quantiles.min() and quantiles.max() <= POSITIVE.max()
    assert task.decide(quantiles) == quantiles[:, 1]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([*LOG_LINK, "log"]), st.floats(-(2.0**99), 2.0**99, width=32))
def test_means_through_a_logarithm_are_positive(objective: str, output: float) -> None:
    y = POSITIVE if objective in ("gamma", "log") else np.concatenate([[0.0], POSITIVE])
    prediction = make_task(y, objective=objective).link(np.array([[output]], np.float32))
    assert 0 < prediction[0] <= POSITIVE.max()


def test_units_are_hardly_moved_by_outliers_where_outliers_shall_not_count() -> None:
    y = np.concatenate([RNG.normal(size=99), [1e9]])
    for objective in ("absolute_error", "huber", "quantile"):
        task = make_task(y, objective=objective)
        assert abs(task.center) < 0.5 and 0.5 < task.scale < 2
    assert make_task(np.array([0.0] * 98 + [5.0, 1.0]), objective="huber").scale > 0  # quartiles are equal


def test_the_logarithm_is_corrected_to_the_mean() -> None:
    task = make_task(POSITIVE, objective="log")
    prediction = np.full(40, np.exp(np.log(POSITIVE).mean()))
    weight = RNG.uniform(0.5, 2, 40)
    settled, corrected = task.settle(POSITIVE, prediction, weight)

    assert settled.factor > 1
    np.testing.assert_allclose(corrected, np.average(POSITIVE, weights=weight))
    np.testing.assert_allclose(settled.link(np.zeros((1, 1), np.float32)), corrected[:1], rtol=1e-6)


def test_poisson_with_an_offset_is_poisson_of_the_rate_weighted_by_exposure() -> None:
    """The same gradient, and losses that differ by a constant: so an exposure needs no kernel of its own."""
    exposure = torch.rand(50, 1, dtype=torch.float64) * 3 + 0.1
    y = torch.poisson(exposure * 2)
    poisson = torch.nn.PoissonNLLLoss(reduction="none")
    gradients, losses = [], []
    for out in (torch.randn(50, 1, dtype=torch.float64),) * 2 + (
        torch.zeros(50, 1, dtype=torch.float64),
    ) * 2:
        o = out.clone().requires_grad_()
        with_offset = len(losses) % 2 == 0
        loss = poisson(o + exposure.log(), y) if with_offset else exposure * poisson(o, y / exposure)
        loss.sum().backward()
        gradients.append(o.grad)
        losses.append(loss.detach())

    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(losses[0] - losses[1], losses[2] - losses[3])


def test_deviances_are_those_of_scikit_learn() -> None:
    y, mean, weight = POSITIVE, RNG.permutation(POSITIVE), RNG.uniform(size=40)
    with_zeros = np.where(RNG.random(40) < 0.5, 0.0, y)
    for ours, theirs, target in [
        (metrics.poisson_deviance, sk.mean_poisson_deviance, with_zeros),
        (metrics.gamma_deviance, sk.mean_gamma_deviance, y),
        (metrics.tweedie_deviance, lambda *a, **k: sk.mean_tweedie_deviance(*a, power=1.5, **k), with_zeros),
    ]:
        assert ours(target, mean, weight) == pytest.approx(theirs(target, mean, sample_weight=weight))


def test_metrics_of_decisions_are_those_of_scikit_learn() -> None:
    y, decided, weight = RNG.integers(0, 2, 40), RNG.integers(0, 2, 40), RNG.uniform(size=40)
    for name in ("accuracy", "balanced_accuracy", "f1", "precision", "recall"):
        theirs = getattr(sk, f"{name}_score")
        assert METRICS[name](y, decided, weight) == pytest.approx(theirs(y, decided, sample_weight=weight))
    quantiles = np.sort(RNG.normal(size=(40, 2)), axis=1)
    each = [
        sk.mean_pinball_loss(y, quantiles[:, i], alpha=(0.2, 0.7)[i], sample_weight=weight) for i in (0, 1)
    ]
    assert metrics.pinball_loss(y, quantiles, weight, quantiles=[0.2, 0.7]) == pytest.approx(np.mean(each))


TASKS = {
    "binary": make_task(np.array([0, 1, 0]), threshold=0.4),
    "multiclass": make_task(np.array([0, 1, 2])),
    **{objective: make_task(POSITIVE, objective=objective) for objective in OBJECTIVES},
    "several": make_task(side_by_side({"a": POSITIVE, "b": -POSITIVE})),
    "multilabel": make_task(side_by_side({"a": np.array([0, 1]), "b": np.array([1, 0])})),
}


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(TASKS)), st.lists(st.integers(0, 3), min_size=9, max_size=9).filter(any), st.data()
)
def test_a_weight_of_n_is_the_row_n_times(name: str, weight: list[int], data: st.DataObject) -> None:
    """In every metric, in what the baseline says, and in the loss that chooses among networks."""
    task = TASKS[name]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    output = rng.normal(size=(9, task.n_outputs)).astype(np.float32)
    code = {
        "binary": lambda: rng.integers(0, 2, 9),
        "multiclass": lambda: rng.integers(0, 3, 9),
        "several": lambda: np.stack([rng.choice(POSITIVE, 9), -rng.choice(POSITIVE, 9)], 1),
        "multilabel": lambda: rng.integers(0, 2, (9, 2)),
    }.get(name, lambda: rng.choice(POSITIVE, 9))()
    prediction, w = task.link(output), np.array(weight, float)
    rows = np.repeat(np.arange(9), weight)

    weighted, repeated = task.score(code, prediction, w), task.score(code[rows], prediction[rows])
    assert weighted == pytest.approx(repeated, nan_ok=True)
    np.testing.assert_allclose(task.constant(code, w), task.constant(code[rows]))
    losses = task.row_losses(task.essence(output, code), code)
    again = task.row_losses(task.essence(output[rows], code[rows]), code[rows])
    assert np.average(losses, weights=w) == pytest.approx(again.mean())


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["int8", "int16", "int32", "int64", "uint8", "float32", "float64", "bool", "object"]),
    st.data(),
)
def test_labels_come_back_as_they_went_in(dtype: str, data: st.DataObject) -> None:
    one = {
        "i": lambda: st.integers(np.iinfo(dtype).min, np.iinfo(dtype).max),
        "u": lambda: st.integers(0, 255),
        "f": lambda: st.floats(allow_nan=False, allow_infinity=False, width=32),
        "b": st.booleans,
        "O": lambda: st.text(max_size=4),
    }[np.dtype(dtype).kind]()
    labels = data.draw(st.lists(one, min_size=2, max_size=12).filter(lambda found: len(set(found)) > 1))
    y = np.array(labels, dtype=dtype)
    task = task_from_json(json.loads(json.dumps(make_task(y, "multiclass").to_json())))
    back = task.decide(np.eye(len(task.classes))[task.encode(y)])

    assert back.dtype == y.dtype
    np.testing.assert_array_equal(back, y)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(THRESHOLD_METRICS)),
    st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=12).filter(
        lambda rows: any(w for _, _, w in rows)
    ),
)
def test_no_threshold_is_better_than_the_best(name: str, rows: list[tuple[bool, int, int]]) -> None:
    code, tenths, weight = (np.array(column) for column in zip(*rows, strict=True))
    code, probs, metric = code.astype(int), tenths / 10, THRESHOLD_METRICS[name]

    def at(threshold: float) -> float:
        decided = probs >= threshold
        cells = [
            (decided & (code == 1)),
            (decided & (code == 0)),
            (~decided & (code == 0)),
            (~decided & (code == 1)),
        ]
        return float(metric(*(np.array([float(weight @ cell)]) for cell in cells))[0])

    best = best_threshold(code, probs, metric, weight.astype(float))
    assert 0 < best < 1
    assert at(best) == pytest.approx(max(at(t) for t in np.arange(0.05, 1.0, 0.1)), abs=1e-9)


def test_class_weights() -> None:
    y = np.array(["a"] * 6 + ["b"] * 3 + ["c"], dtype=object)
    task = make_task(y)
    assert isinstance(task, Classification)
    code = task.encode(y)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=code)
    np.testing.assert_allclose(task.class_factors("balanced", code), expected)
    weight = np.array([1.0] * 9 + [3.0])
    np.testing.assert_allclose(task.class_factors("balanced", code, weight), [2 / 3, 4 / 3, 4 / 3])
    assert task.class_factors({"b": 5}, code).tolist() == [1, 5, 1]
    assert make_task(np.array([1, 2, 2])).class_factors({"2": 3.0}, np.array([0])).tolist() == [1, 3]
    for wrong, message in [
        ("even", "'balanced' or map"),
        ({"d": 1}, "got 'd'"),
        ({"a": -1}, "none negative"),
    ]:
        with pytest.raises(ConfigError, match=message):
            task.class_factors(wrong, code)


@pytest.mark.parametrize(
    ("y", "threshold", "message"),
    [
        ([0, 1], "f2", r"one of accuracy, .*got 'f2'\."),
        ([0, 1], 1.0, r"between 0 and 1; got 1\.0"),
        ([0, 1, 2], 0.5, "a threshold is for two classes; the target has 3"),
    ],
)
def test_refuses_a_threshold(y: list[int], threshold: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_task(np.array(y), threshold=threshold)


def test_weighted_quantiles() -> None:
    y, weight = RNG.normal(size=30), RNG.integers(0, 4, 30)
    for q in (0.01, 0.25, 0.5, 0.9):
        repeated = np.quantile(np.repeat(y, weight), q, method="inverted_cdf")
        assert weighted_quantile(y, [q], weight) == repeated
