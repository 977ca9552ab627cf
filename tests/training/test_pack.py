"""Packs: each member as alone, whatever the threads; interrupts, errors, callbacks."""

import gc
import re
import threading

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from multilayer.errors import ConfigError, DataError
from multilayer.training import loop, pack, run_length
from multilayer.training.kernels.engine import KernelEngine
from multilayer.training.loop import train, train_pack
from multilayer.training.pack import run_together, thread_pool
from tests.stopwatch import Stopwatch


def problem(n: int = 120) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, 4, generator=generator)
    return x, x[:, :1] * x[:, 1:2] + x[:, 2:3]


def network(seed: int, d: int = 8, dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, d), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d, 1))


def weights(net: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_members_come_out_as_train_would_make_them_alone(engine: str, n_threads: int) -> None:
    x, y = problem()
    settings = {
        "loss": "mse",
        "epochs": 4,
        "batch_size": 16,
        "validation": (x[:20], y[:20]),
        "engine": engine,
    }
    nets = [network(i, 4 + i, dropout=0.2) for i in range(5)]
    histories = train_pack(nets, x, y, seeds=[7, 8, 9, 10, 11], n_threads=n_threads, **settings)

    for i, history in enumerate(histories):
        alone = network(i, 4 + i, dropout=0.2)
        expected = train(alone, x, y, seed=7 + i, **settings)
        assert torch.equal(weights(nets[i]), weights(alone))
        assert history.step_loss == expected.step_loss
        assert history.val_loss == expected.val_loss
        assert history.best_epoch == expected.best_epoch
        assert history.engine.startswith(engine)


def test_members_have_their_own_optimisers_and_rows() -> None:
    x, y = problem()
    nets = [network(0), network(0)]
    optimizers = [
        torch.optim.SGD(nets[0].parameters(), lr=0.1),
        torch.optim.Adam(nets[1].parameters(), lr=0.01),
    ]
    rows = [np.arange(0, 60), np.arange(60, 120)]
    histories = train_pack(nets, x, y, loss="mse", optimizer=optimizers, rows=rows, seeds=[0, 0], epochs=3)

    for i, make in enumerate([lambda p: torch.optim.SGD(p, lr=0.1), lambda p: torch.optim.Adam(p, lr=0.01)]):
        alone = network(0)
        train(alone, x[rows[i]], y[rows[i]], loss="mse", optimizer=make, epochs=3)
        assert torch.equal(weights(nets[i]), weights(alone))
        assert len(histories[i].step_loss) == 3


def test_callbacks_are_called_once_an_epoch_and_stop_all() -> None:
    x, y = problem()
    seen = []

    def look(progress):
        seen.append((progress.epoch, len(progress.nets)))
        return progress.epoch == 2

    histories = train_pack([network(0), network(1)], x, y, loss="mse", epochs=9, callbacks=[look])
    assert seen == [(1, 2), (2, 2)]
    assert [h.stopped for h in histories] == ["a callback asked to stop"] * 2


def test_ctrl_c_keeps_what_every_member_reached() -> None:
    x, y = problem()

    def interrupt(progress):
        if progress.epoch == 3:
            raise KeyboardInterrupt

    nets = [network(0), network(1)]
    histories = train_pack(
        nets, x, y, loss="mse", epochs=9, validation=(x, y), callbacks=[interrupt], engine="kernels"
    )
    assert [h.stopped for h in histories] == ["interrupted"] * 2
    assert [h.epochs for h in histories] == [3, 3]
    assert all(h.best_epoch == 1 + int(np.argmin(h.val_loss)) for h in histories)


def test_one_member_that_diverges_does_not_stop_the_others() -> None:
    x, y = problem()
    nets = [network(0), network(1)]
    optimizers = [
        torch.optim.SGD(nets[0].parameters(), lr=1e30),
        torch.optim.SGD(nets[1].parameters(), lr=1e-2),
    ]
    first, second = train_pack(nets, x, y, loss="mse", optimizer=optimizers, epochs=4, batch_size=16)
    assert first.stopped.startswith("diverged")
    assert torch.isfinite(weights(nets[0])).all()
    assert second.stopped == "all epochs done"


def test_a_short_budget_leaves_out_the_last_networks_for_min_epochs_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Stopwatch().replace(monkeypatch, pack, run_length)
    x, y = problem()
    nets = [network(i) for i in range(8)]
    before = [weights(net) for net in nets]
    how = {"batch_size": 30, "epochs": 20, "n_threads": 1, "engine": "autograd"}
    slow_mse = clock.slow(nn.functional.mse_loss, 0.01)  # 40 ms an epoch
    histories = train_pack(nets, x, y, loss=slow_mse, **how, time_budget=0.6, min_epochs=4)

    n = sum(history.epochs > 0 for history in histories)
    assert n == 3  # 4 epochs of 40 ms go 3.75 times into 0.6 s
    assert [history.epochs > 0 for history in histories] == [i < n for i in range(8)]
    assert all(history.epochs >= 4 for history in histories[:n])
    assert clock.now_s == pytest.approx(0.6, abs=0.05)
    assert all(torch.equal(weights(net), old) for net, old in zip(nets[n:], before[n:], strict=True))
    assert {h.stopped for h in histories[n:]} == {
        "left out: the time budget does not suffice for all networks"
    }


def test_a_budget_that_suffices_leaves_out_none() -> None:
    x, y = problem()
    how = {"loss": "mse", "batch_size": 30, "epochs": 6, "engine": "kernels"}
    nets, same = [network(i) for i in range(5)], [network(i) for i in range(5)]
    histories = train_pack(nets, x, y, **how, time_budget=600.0, min_epochs=4)
    train_pack(same, x, y, **how)
    assert [history.epochs for history in histories] == [6] * 5
    assert all(torch.equal(weights(a), weights(b)) for a, b in zip(nets, same, strict=True))


def test_the_first_network_is_trained_however_short_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    slow_mse = Stopwatch().replace(monkeypatch, pack, run_length).slow(nn.functional.mse_loss, 0.01)
    x, y = problem()
    nets = [network(i) for i in range(4)]
    how = {"engine": "autograd", "n_threads": 1, "epochs": 4, "min_epochs": 4}
    histories = train_pack(nets, x, y, loss=slow_mse, **how, time_budget=1e-9)
    assert [len(history.step_loss) > 0 for history in histories] == [True, False, False, False]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"min_epochs": 0}, ConfigError, "min_epochs must be a whole number of at least 1; got 0"),
        ({"seeds": [1]}, ConfigError, "seeds must have length 2, one for each of the networks; got 1"),
        ({"optimizer": [torch.optim.SGD]}, ConfigError, "optimizer must have length 2, one for each"),
        ({"rows": [[0, 1], [0, 999]]}, DataError, "rows must be from 0 to 119; got 0 to 999"),
        ({"rows": [[0, 1], []]}, DataError, "rows must be row numbers"),
    ],
)
def test_refuses_what_does_not_fit_the_members(settings, error, words) -> None:
    x, y = problem()
    with pytest.raises(error, match=words):
        train_pack([network(0), network(1)], x, y, loss="mse", **settings)


def test_refuses_one_optimiser_for_two_and_a_network_that_does_not_fit() -> None:
    x, y = problem()
    nets = [network(0), nn.Linear(4, 2)]
    with pytest.raises(ConfigError, match="one optimizer cannot serve 2 networks"):
        train_pack(nets, x, y, loss="mse", optimizer=torch.optim.SGD(nets[0].parameters(), lr=0.1))
    with pytest.raises(DataError, match="same shape"):
        train_pack(nets, x, y, loss="mse")
    with pytest.raises(ConfigError, match="at least one network"):
        train_pack([], x, y, loss="mse")


def test_an_error_in_one_task_stops_the_others_and_is_raised() -> None:
    stop = threading.Event()

    def fail() -> None:
        raise ZeroDivisionError

    def wait() -> None:
        assert stop.wait(600), "stop was not set"

    for tasks in ([fail, wait], [wait, fail]):
        stop.clear()
        with pytest.raises(ZeroDivisionError), thread_pool(2) as pool:
            run_together(tasks, pool, stop)
        assert stop.is_set()


class Watch(threading.Thread):
    """Looks at the memory of this process every few milliseconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.process, self.done = psutil.Process(), threading.Event()
        self.before = self.most = self.process.memory_info().rss

    def run(self) -> None:
        while not self.done.wait(0.002):
            self.most = max(self.most, self.process.memory_info().rss)


def test_memory_is_told_before_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    x, y = problem(60)
    train(network(0), x, y, loss="mse", engine="kernels", epochs=1, validation=0.5)  # loads the kernels
    x, y = np.ones((150_000, 50)), np.ones((150_000, 1))  # float64: the pack copies them
    nets = [
        nn.Sequential(nn.Linear(50, 700), nn.ReLU(), nn.Linear(700, 700), nn.Linear(700, 1)) for _ in range(8)
    ]

    gc.collect()
    watch = Watch()
    watch.start()
    with caplog.at_level("INFO", logger="multilayer"):
        train_pack(
            nets, x, y, loss="mse", engine="kernels", steps=4, validation=(x[:500], y[:500]), n_threads=2
        )
    watch.done.set()

    told_mb = float(re.search(r"8 networks, 2 at a time, in about (\d+) MB", caplog.text)[1])
    assert 100 < told_mb < 200
    assert 0.5 * told_mb < (watch.most - watch.before) / 1e6 < 1.5 * told_mb


def test_a_waiting_member_has_no_buffers() -> None:
    x, y = problem()
    seen = []
    nets = [network(i) for i in range(3)]
    made = []

    class Recorder(KernelEngine):
        def __init__(self, *args: object, **settings: object) -> None:
            super().__init__(*args, **settings)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "KernelEngine", Recorder)
        train_pack(
            nets,
            x,
            y,
            loss="mse",
            engine="kernels",
            epochs=2,
            callbacks=[lambda progress: seen.append([engine.values.size for engine in made])],
        )

    assert seen == [[0, 0, 0]] * 2
    assert made[0].weight is made[1].weight
