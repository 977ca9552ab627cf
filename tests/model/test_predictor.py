"""Kernels or PyTorch: the same mean of networks, by a rule that is simple to state."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import multilayer as ml
from multilayer.errors import DataError
from multilayer.model import predictor
from multilayer.model.predictor import Predictor
from multilayer.training.kernels import loop as kernels


def network(seed: int, *extra: nn.Module) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, 2), *extra).eval()


def as_double(out: np.ndarray) -> np.ndarray:
    return out.astype(np.float64)


def rows(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, 6)).astype(np.float32)


def by_torch(net: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return net(torch.from_numpy(x)).double().numpy()


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "_are_loaded", lambda: True)


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "_are_loaded", lambda: False)


@pytest.mark.parametrize("n_rows", [0, 1, 2048, 2049, 10_000])
def test_is_the_weighted_mean_of_the_networks(loaded: None, n_rows: int) -> None:
    first, second = network(0), network(1)
    x = rows(n_rows)

    got = Predictor([first, second], as_double, [1.0, 3.0])(x)

    expected = (by_torch(first, x) + 3 * by_torch(second, x)) / 4
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("are_loaded", [True, False])
def test_a_row_does_not_depend_on_those_beside_it(monkeypatch: pytest.MonkeyPatch, are_loaded: bool) -> None:
    monkeypatch.setattr(predictor, "_are_loaded", lambda: are_loaded)
    predict, x = Predictor([network(0), network(1)], as_double), rows(37)

    alone = np.concatenate([predict(row[None]) for row in x])

    np.testing.assert_array_equal(predict(x), alone)


def test_kernels_and_torch_agree_within_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    predict, x = Predictor([network(0), network(1)], as_double), rows(300)

    both = []
    for are_loaded in (False, True, False):
        monkeypatch.setattr(predictor, "_are_loaded", lambda are_loaded=are_loaded: are_loaded)
        both.append(predict(x))

    np.testing.assert_allclose(both[0], both[1], rtol=1e-5, atol=1e-6)
    assert np.array_equal(both[0], both[2])


def test_the_first_call_settles_who_predicts_and_nothing_is_ever_compiled(
    unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "MANY_ROWS", 400)
    for compiled, n_rows, by_kernels in [(True, 400, True), (True, 399, False), (False, 400, False)]:
        monkeypatch.setattr(kernels, "is_compiled", lambda compiled=compiled: compiled)
        predict = Predictor([network(0)], as_double)
        predict(rows(n_rows))
        assert predict._is_by_kernels is by_kernels
        monkeypatch.setattr(predictor, "_are_loaded", lambda: True)  # by something else, in the meantime
        before = predict(rows(1))
        for _ in range(200):
            assert np.array_equal(predict(rows(1)), before)
        assert predict._is_by_kernels is by_kernels
        assert (predict._forwards is not None) is by_kernels
        monkeypatch.setattr(predictor, "_are_loaded", lambda: False)


def test_a_module_that_another_thread_is_importing_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules, "multilayer.training.kernels.loop", ModuleType("multilayer.training.kernels.loop")
    )
    assert not predictor._are_loaded()


FRESH = """
import collections, sys
from concurrent.futures import ThreadPoolExecutor
import multilayer as ml
model = ml.Model.load(sys.argv[1])
with ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(lambda i: float(model.predict([{"x": 3, "c": "a"}])[0]), range(400)))
assert len(set(answers)) == 1, collections.Counter(answers)
assert "multilayer.training.kernels.loop" not in sys.modules
"""


def test_threads_of_a_fresh_process_predict_with_equal_bits(tmp_path: Path) -> None:
    table = {"x": list(range(400)), "c": list("abcd") * 100, "y": [2.0 * k for k in range(400)]}
    ml.fit(table, target="y", quality="fast", epochs=2).save(tmp_path / "m.mlp")
    subprocess.run([sys.executable, "-c", FRESH, str(tmp_path / "m.mlp")], check=True, timeout=120)


def test_same_bits_on_any_number_of_threads(loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    predict, x = Predictor([network(0), network(1)], as_double), rows(9_000)

    results = []
    for n in (1, 2, 5):
        monkeypatch.setattr("multilayer.model.predictor.n_cores", lambda n=n: n)
        results.append(predict(x))

    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize("are_loaded", [False, True])
def test_may_be_called_from_many_threads(are_loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "_are_loaded", lambda: are_loaded)
    predict = Predictor([network(0), network(1)], as_double)
    tables = [rows(1 + 150 * (i % 20)) for i in range(60)]
    threads = torch.get_num_threads()

    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(predict, tables))

    assert all(map(np.array_equal, got, map(predict, tables)))
    assert torch.get_num_threads() == threads


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "unknown layer": lambda: network(0, nn.Softmax(1)),
    "rows mixed": lambda: nn.Sequential(nn.Linear(6, 2), nn.BatchNorm1d(2, track_running_stats=False)),
    "frozen": lambda: network(0).requires_grad_(False),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_networks_go_to_torch(loaded: None, kind: str) -> None:
    net, x = OTHERS[kind]().eval(), rows(5000)

    np.testing.assert_allclose(Predictor([net], as_double)(x), by_torch(net, x), rtol=1e-5, atol=1e-6)


def test_sees_new_weights_in_place_or_in_other_memory(loaded: None) -> None:
    net, x = network(0), rows(4)
    predict = Predictor([net], as_double)
    predict(x)

    for change in (
        lambda: net[3].bias.data.add_(1),
        lambda: setattr(net[3].bias, "data", torch.tensor([7.0, 8.0])),
        lambda: net.load_state_dict(network(5).state_dict()),
    ):
        change()
        np.testing.assert_allclose(predict(x), by_torch(net, x), rtol=1e-5, atol=1e-6)


def test_a_copy_of_what_pytorch_predicts_is_predicted_by_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    predict, x = Predictor([network(0), network(1)], as_double), rows(64)
    monkeypatch.setattr(predictor, "_are_loaded", lambda: False)
    expected = predict(x)
    monkeypatch.setattr(predictor, "_are_loaded", lambda: True)  # as by a fit in the meantime

    for twin in (copy.deepcopy(predict), pickle.loads(pickle.dumps(predict))):
        assert twin.kernels is False
        assert np.array_equal(twin(x), expected)


def test_copies_and_pickles_work_on_their_own(loaded: None) -> None:
    predict, x = Predictor([network(0)], as_double, [2.0]), rows(3)
    expected = predict(x)

    for twin in (copy.deepcopy(predict), pickle.loads(pickle.dumps(predict))):
        predict.networks[0][3].bias.data.add_(1)
        assert np.array_equal(twin(x), expected)


def test_refuses_rows_of_another_width(loaded: None) -> None:
    with pytest.raises(DataError, match=r"takes 6 inputs a row; got \(5,\)"):
        Predictor([network(0)], as_double)(rows(3)[:, :5])
