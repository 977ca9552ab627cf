import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import multilayer as ml
from multilayer.errors import ConfigError, DataError
from multilayer.training.datasets import Passes, as_arrays, is_dataset

X, Y = torch.randn(20, 3), torch.randn(20, 1)


class Augmented(Dataset):
    """Each item is noised anew, by NumPy, whenever it is asked for."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i] + float(np.random.rand()), Y[i]


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


def weights(data, **options):
    torch.manual_seed(0)
    net = nn.Linear(3, 1)
    history = ml.train(net, data, loss="mse", epochs=3, **options)
    return net.weight.detach().clone(), history


def test_a_tensor_dataset_trains_as_its_arrays():
    torch.manual_seed(0)
    net = nn.Linear(3, 1)
    ml.train(net, X, Y, loss="mse", epochs=3, batch_size=8)
    trained, _ = weights(TensorDataset(X, Y), batch_size=8)
    assert torch.equal(trained, net.weight)
    shuffled, _ = weights(DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True))
    assert torch.equal(shuffled, net.weight)
    subset, _ = weights(Subset(Subset(TensorDataset(X, Y), range(2, 20)), range(0, 18)), batch_size=8)
    assert not torch.equal(subset, trained)


def test_rows_of_a_subset_of_a_subset():
    found = as_arrays(Subset(Subset(TensorDataset(X, Y), [5, 7, 9]), [2, 0]))
    assert torch.equal(found.x, X[[9, 5]])
    assert torch.equal(found.y, Y[[9, 5]])


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(TensorDataset(X, Y), 8, drop_last=True),
        DataLoader(TensorDataset(X, Y), 19),  # whose last batch is of one row
        DataLoader(TensorDataset(X, Y), sampler=SequentialSampler(range(6)), batch_size=3),
        DataLoader(TensorDataset(X, Y), batch_sampler=BatchSampler(SubsetRandomSampler(range(10)), 5, False)),
        DataLoader(TensorDataset(X, Y), batch_size=None),
        DataLoader(TensorDataset(X, Y), 8, sampler=WeightedRandomSampler(torch.ones(20), 12)),
        DataLoader(TensorDataset(X, Y), 8, collate_fn=lambda items: (torch.stack([x for x, _ in items]),)),
        DataLoader(Augmented(), 8, shuffle=True),
        Augmented(),
        Stream(),
    ],
)
def test_what_is_more_than_arrays_is_passed_through_anew_each_epoch(loader):
    assert is_dataset(loader)
    assert as_arrays(loader) is None


def test_a_loaders_batches_are_trained_as_they_come():
    loader = DataLoader(TensorDataset(X, Y), 8, drop_last=True)
    trained, history = weights(loader)
    torch.manual_seed(0)
    net = nn.Linear(3, 1)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):
        for x, y in loader:
            loss = nn.functional.mse_loss(net(x), y)
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.item())
    assert history.step_loss == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(trained, net.weight.detach())


@pytest.mark.parametrize("engine", ["kernels", "autograd"])
def test_augmentation_is_drawn_anew_from_the_runs_seed(engine):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first, history = weights(Augmented(), batch_size=8, seed=1, engine=engine)
    again, _ = weights(Augmented(), batch_size=8, seed=1, engine=engine)
    other, _ = weights(Augmented(), batch_size=8, seed=2, engine=engine)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(history.step_loss) == 9
    assert np.array_equal(before[0], np.random.get_state()[1])


def test_samplers_of_a_loader_choose_the_rows():
    sampler = BatchSampler(SubsetRandomSampler(range(10)), 5, False)
    seen = []

    def loss(out, target):
        seen.append(target.flatten().tolist())
        return (out - target).square().mean()

    loader = DataLoader(TensorDataset(X, Y), batch_sampler=sampler)
    history = ml.train(nn.Linear(3, 1), loader, loss=loss, epochs=2)
    assert [len(batch) for batch in seen] == [5] * 4
    assert len(history.step_loss) == 4
    assert {value for batch in seen for value in batch} <= set(Y[:10].flatten().tolist())


def test_a_stream_may_give_another_number_of_rows_each_epoch():
    class Shrinking(IterableDataset):
        n = 20

        def __iter__(self):
            yield from zip(X[: self.n], Y[: self.n], strict=True)
            self.n -= 7

    _, history = weights(Shrinking(), batch_size=4)
    assert len(history.step_loss) == 5 + 4 + 2
    assert history.epochs == 3


def test_validates_on_a_dataset_or_loader():
    _, history = weights(TensorDataset(X, Y), validation=DataLoader(TensorDataset(X, Y), 8))
    assert len(history.val_loss) == 3
    _, with_share = weights(DataLoader(TensorDataset(X, Y), 8, shuffle=True), validation=0.2)
    assert len(with_share.val_loss) == 3


def test_more_parts_than_two_are_several_inputs():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, a, b):
            return self.layer(a + b)

    net = Sum()
    ml.train(net, TensorDataset(X, X, Y), loss="mse", epochs=1)
    ml.train(net, DataLoader(TensorDataset(X, X, Y), 8, drop_last=True), loss="mse", epochs=1)


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (DataLoader(Augmented(), 8), {"batch_size": 4}, ConfigError, "makes its own batches; got batch_size"),
        (DataLoader(TensorDataset(X, Y), 8), {"batch_size": 4}, ConfigError, "makes its own batches"),
        (TensorDataset(X, Y), {"y": Y}, ConfigError, "holds its targets"),
        (Augmented(), {"validation": 0.2}, ConfigError, "a share of the rows cannot be held out"),
        (DataLoader(TensorDataset(X[:0], Y[:0]), 8, drop_last=True), {}, DataError, "at least one batch"),
        (DataLoader([{"x": 1.0}], 1), {}, DataError, "got dict. Give the loader a collate_fn"),
    ],
)
def test_refuses_data_that_it_cannot_follow(data, options, error, message):
    with pytest.raises(error, match=message):
        ml.train(nn.Linear(3, 1), data, loss="mse", epochs=1, **options)


def test_refuses_batches_of_unequal_shape():
    ragged = DataLoader([(torch.zeros(2), Y[0]), (torch.zeros(3), Y[0])], 1)
    with pytest.raises(DataError, match="tensors of one shape a row; their inputs do not"):
        Passes(ragged, None, True, 0)()


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield from zip(X, Y, strict=True)


def test_a_stream_without_an_end_gives_as_many_batches_as_there_are_steps():
    net = ml.mlp(3, [4], 1)
    history = ml.train(net, DataLoader(Endless(), batch_size=4), loss="mse", steps=7)
    assert len(history.step_loss) == 7 and history.stopped == "all epochs done"


class Mined(Dataset):
    """Rows that a network changes."""

    def __init__(self, net):
        self.net = net

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i] + self.net(X[i]).detach(), Y[i]


def test_a_dataset_that_asks_the_network_that_trains_on_it_is_refused():
    net, frozen = ml.mlp(3, [4], 1), ml.mlp(3, [4], 1).requires_grad_(False)
    with pytest.raises(ConfigError, match=r"may not call the network .* it called its Sequential"):
        ml.train(net, Mined(net), loss="mse", epochs=2)
    assert not any(module._forward_pre_hooks for module in net.modules())
    assert ml.train(net, Mined(frozen), loss="mse", epochs=2).epochs == 2


@pytest.mark.parametrize("engine", ["autograd", "kernels"])
@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: DataLoader(d, 5), lambda d: Subset(d, range(9))])
def test_a_callback_may_give_a_dataset_other_rows(wrap, engine):
    x, outputs = X.clone(), {}
    for name in ("replaced", "in the loss", "left"):
        data, scale = TensorDataset(x, Y), [1.0]

        def double(progress, data=data, name=name, scale=scale):
            if name == "replaced":
                data.tensors = (data.tensors[0], data.tensors[1] * 2)
            if name == "in the loss":
                scale[0] *= 2

        torch.manual_seed(0)
        net = ml.mlp(3, [4], 1)
        ml.train(
            net,
            wrap(data),
            loss=lambda out, y, scale=scale: (out - y * scale[0]).square().mean(),
            epochs=4,
            shuffle=False,
            callbacks=double,
            engine=engine,
        )
        outputs[name] = ml.predict(net, X)
    assert_close(outputs["replaced"], outputs["in the loss"], atol=1e-6, rtol=0)
    assert (outputs["replaced"] - outputs["left"]).abs().max() > 1e-4
    assert torch.equal(x, X)


def test_a_callback_may_not_change_how_many_rows_there_are():
    data = TensorDataset(X, Y)

    def grow(progress):
        data.tensors = tuple(torch.cat([part, part]) for part in data.tensors)

    with pytest.raises(DataError, match=r"it had 20 rows of shape .3,., and has 40 of .3,. now"):
        ml.train(ml.mlp(3, [4], 1), data, loss="mse", epochs=2, callbacks=grow)
