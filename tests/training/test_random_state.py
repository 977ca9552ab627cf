import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

import multilayer as ml
from multilayer.training.random_state import RandomState, is_drawing


def drawn() -> tuple[float, float, float]:
    return torch.rand(1).item(), float(np.random.rand()), random.random()


def test_a_state_goes_on_where_it_was_and_the_callers_stay_as_they_were():
    state = RandomState(3)
    with state.in_place():
        first = drawn()
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with state.in_place():
        second = drawn()
    with RandomState(3).in_place():
        assert drawn() == first
        assert drawn() == second
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
    assert before[2] == random.getstate()


def test_the_callers_generators_are_as_before_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), RandomState(0).in_place():
        drawn()
        _ = 1 / 0
    assert torch.equal(before, torch.get_rng_state())


def test_of_torch_alone_leaves_numpy_to_the_caller():
    np.random.seed(0)
    expected = np.random.rand()
    np.random.seed(0)
    with RandomState(1, of_all=False).in_place():
        assert np.random.rand() == expected


def test_threads_take_turns_and_draw_what_each_draws_alone():
    def draw(seed: int) -> list[float]:
        state, values = RandomState(seed), []
        for _ in range(50):
            with state.in_place():
                values.append(drawn()[0])
        return values

    alone = [draw(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draw, range(4))) == alone


def test_set_aside_lets_another_thread_have_its_turn():
    had = threading.Event()

    def other() -> None:
        with RandomState(5).in_place():
            drawn()
        had.set()

    state = RandomState(4)
    with state.in_place():
        first = drawn()
        thread = threading.Thread(target=other)
        thread.start()
        while not state.turn.n_waiting:
            pass
        with state.set_aside():
            assert not is_drawing()
            assert had.wait(timeout=60)
        assert is_drawing()
        second = drawn()
    thread.join()
    with RandomState(4).in_place():
        assert (drawn(), drawn()) == (first, second)


def noisy(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (out + 0.1 * torch.randn_like(out) * float(np.random.rand()) - target).square().mean()


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_runs_with_a_random_loss_give_in_threads_what_each_gives_alone(engine: str) -> None:
    x, y = torch.randn(64, 3), torch.randn(64, 1)

    def train(seed: int) -> torch.Tensor:
        with RandomState(9, of_all=False).in_place():
            net = ml.mlp(3, [8], 1, dropout=0.2)
        ml.train(net, x, y, loss=noisy, epochs=5, batch_size=16, seed=seed, engine=engine)
        return net[0].weight.detach()

    alone = [train(seed) for seed in range(3)]
    assert not torch.equal(alone[0], alone[1])
    before = torch.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(train, range(3)))
    assert all(map(torch.equal, alone, together))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_a_pack_with_a_random_loss_gives_what_each_member_gives_alone(engine: str) -> None:
    x, y = torch.randn(64, 3), torch.randn(64, 1)

    def nets() -> list[nn.Sequential]:
        with RandomState(9, of_all=False).in_place():
            return [ml.mlp(3, [8], 1) for _ in range(3)]

    options = {"loss": noisy, "epochs": 4, "batch_size": 16, "engine": engine}
    together, alone = nets(), nets()
    ml.train_pack(together, x, y, n_threads=2, **options)
    for seed, net in enumerate(alone):
        ml.train(net, x, y, seed=seed, **options)
    for a, b in zip(together, alone, strict=True):
        assert torch.equal(a[0].weight, b[0].weight)


def test_a_loss_may_train_another_pack_itself() -> None:
    x = torch.randn(32, 2)

    def loss(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        inner = [nn.Linear(2, 1), nn.Linear(2, 1)]
        ml.train_pack(inner, x, x[:, :1], loss="mse", epochs=1, n_threads=2, engine="kernels")
        return (out - target).square().mean()

    history = ml.train(nn.Linear(2, 1), x, x[:, :1], loss=loss, epochs=1, batch_size=16)
    assert len(history.step_loss) == 2
