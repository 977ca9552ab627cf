import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multilayer.tasks.link_steps import (
    BothClasses,
    Clip,
    Exp,
    First,
    OfEach,
    Scale,
    Shift,
    Sigmoid,
    Softmax,
    Sort,
    run_link,
)
from multilayer.tasks.make import OBJECTIVES, make_task

outputs = st.lists(
    st.lists(st.floats(-500, 500, width=32), min_size=4, max_size=4), min_size=1, max_size=6
).map(lambda rows: np.array(rows, np.float32))


@given(outputs)
def test_probabilities_are_positive_and_sum_to_one(x):
    probs = Softmax().run(x)
    assert (probs > 0).all()
    assert np.allclose(probs.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert (probs[np.arange(len(x)), x.argmax(axis=1)] == probs.max(axis=1)).all()
    both = run_link((First(), Sigmoid(), BothClasses()), x)
    assert np.allclose(both.sum(axis=1), 1, rtol=0, atol=1e-12)


@given(outputs)
def test_a_sigmoid_is_a_softmax_of_two(x):
    two = np.stack([np.zeros(len(x), np.float32), np.clip(x[:, 0], -50, 50)], axis=1)
    assert np.allclose(Sigmoid().run(two[:, 1]), Softmax().run(two)[:, 1], rtol=1e-5, atol=0)


@given(outputs)
def test_sorted_outputs_never_cross_and_stay_the_same_numbers(x):
    y = Sort().run(x)
    assert (np.diff(y, axis=1) >= 0).all()
    assert sorted(y.ravel().tolist()) == sorted(x.astype(np.float64).ravel().tolist())


@given(outputs, st.floats(0.1, 10), st.floats(-5, 5))
def test_numbers_are_computed_in_double_precision(x, factor, by):
    y = run_link((First(), Scale(factor), Shift(by), Clip(-20.0, 20.0)), x)
    assert y.dtype == np.float64
    assert y.tolist() == [min(max(float(v) * factor + by, -20.0), 20.0) for v in x[:, 0]]


@given(outputs)
def test_each_target_goes_through_its_own_steps(x):
    y = OfEach(2, ((Sort(), Shift(1.0)), (Sort(), Scale(2.0)))).run(x)
    assert y.shape == (len(x), 2, 2)
    assert np.array_equal(y[:, 0], np.sort(x[:, :2].astype(np.float64), axis=1) + 1)
    assert np.array_equal(y[:, 1], np.sort(x[:, 2:].astype(np.float64), axis=1) * 2)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_link_of_every_objective_is_its_steps(objective):
    y = np.array([1.0, 2.0, 5.0, 9.0])
    task = make_task(y, objective=objective)
    output = np.linspace(-40, 40, 7 * task.n_outputs, dtype=np.float32).reshape(7, -1)
    assert np.array_equal(task.link(output), run_link(task.link_steps, output))
    is_log = any(isinstance(step, Exp) for step in task.link_steps)
    assert is_log == (objective in ("poisson", "gamma", "tweedie", "log"))
    assert task.link_steps[-1] == Clip(1.0, 9.0)
