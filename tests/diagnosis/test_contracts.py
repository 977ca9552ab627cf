"""What the last layer can say, against the loss and the targets."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import multilayer as ml

X = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
CODES = X[:, :3].argmax(1)
TWO = (X[:, :1] > 0).float()
NUMBERS = 3 * X[:, :1] - 2


def net(n: int, *end: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, n), *end)


class Functional(nn.Module):
    """A network whose end is no module."""

    def __init__(self, n: int, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.end = nn.Linear(4, 8), nn.Linear(8, n), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.last(torch.relu(self.first(x))))


FAULTY = {
    "softmax of one": (net(1, nn.Softmax(1)), TWO, nn.BCELoss(), "constant-output"),
    "softmax of one, numbers": (net(1, nn.Softmax(1)), NUMBERS, nn.MSELoss(), "constant-output"),
    "softmax on numbers": (net(2, nn.Softmax(1)), X[:, :2] * 9, nn.MSELoss(), "softmax-on-numbers"),
    "softmax on one column": (net(2, nn.Softmax(1)), NUMBERS, nn.L1Loss(), "softmax-on-numbers"),
    "sigmoid on numbers": (net(1, nn.Sigmoid()), NUMBERS, nn.MSELoss(), "output-out-of-reach"),
    "relu on numbers": (net(1, nn.ReLU()), NUMBERS, nn.HuberLoss(), "output-out-of-reach"),
    "sigmoid and bce on numbers": (net(1, nn.Sigmoid()), NUMBERS, nn.BCELoss(), "output-out-of-reach"),
    "sigmoid and cross-entropy": (net(3, nn.Sigmoid()), CODES, nn.CrossEntropyLoss(), "bounded-logits"),
    "tanh and logits": (net(1, nn.Tanh()), TWO, nn.BCEWithLogitsLoss(), "bounded-logits"),
    "relu and logits": (net(1, nn.ReLU()), TWO, nn.BCEWithLogitsLoss(), "rectified-logits"),
    "relu and two classes": (net(1, nn.ReLU()), TWO, nn.MSELoss(), "rectified-logits"),
    "logits and bce": (net(1), TWO, nn.BCELoss(), "logits-for-probabilities"),
    "logits and nll": (net(3), CODES, nn.NLLLoss(), "logits-for-probabilities"),
    "softmax and nll": (net(3, nn.Softmax(1)), CODES, nn.NLLLoss(), "logits-for-probabilities"),
    "one output": (net(1, nn.Sigmoid()), TWO, nn.CrossEntropyLoss(), "one-output-for-classes"),
    "codes into bce": (net(1), CODES[:, None].float(), nn.BCEWithLogitsLoss(), "labels-out-of-range"),
    "codes from 1": (net(3), CODES + 1, nn.CrossEntropyLoss(), "labels-out-of-range"),
    "two outputs, flat labels": (net(2, nn.Softmax(1)), TWO[:, 0], nn.BCELoss(), "labels-do-not-fit-outputs"),
    "codes as floats": (net(3), CODES.float(), nn.CrossEntropyLoss(), "labels-do-not-fit-outputs"),
    "softmax": (net(3, nn.Softmax(1)), CODES, nn.CrossEntropyLoss(), "probabilities-into-logits"),
    "softmax in forward": (
        Functional(3, lambda z: F.softmax(z, 1)), CODES, nn.CrossEntropyLoss(), "probabilities-into-logits",
    ),
    "softmax in the loss": (
        net(3), CODES, lambda out, y: F.cross_entropy(out.softmax(1), y), "probabilities-into-logits",
    ),
    "sigmoid twice": (net(1, nn.Sigmoid()), TWO, nn.BCEWithLogitsLoss(), "probabilities-into-logits"),
    "flat target": (net(1), NUMBERS[:, 0], nn.MSELoss(), "target-broadcast"),
    "flat target by hand": (net(1), NUMBERS[:, 0], lambda out, y: (out - y).abs().mean(), "target-broadcast"),
    "softmax over rows": (net(3, nn.Softmax(0)), CODES, nn.CrossEntropyLoss(), "softmax-over-rows"),
    "squared error": (net(3, nn.Softmax(1)), torch.eye(3)[CODES], nn.MSELoss(), "squared-error-on-classes"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTY)
def test_the_cause_comes_first_and_its_patch_mends_it(name: str) -> None:
    network, y, loss, code = FAULTY[name]
    before = {key: value.clone() for key, value in network.state_dict().items()}

    findings = ml.doctor(network, X, y, loss=loss, rehearse=False)
    mended = findings.apply()

    assert findings[0].code == code
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert mended.net is not network
    left = ml.doctor(**mended.arguments(), rehearse=False)
    assert not [one for one in left if one.severity != "note"]
    value = mended.loss_of(mended.net(mended.x), mended.y)
    value.backward()
    assert torch.isfinite(value)


HEALTHY = {
    "logits": (net(3), CODES, nn.CrossEntropyLoss()),
    "logarithm of softmax": (net(3, nn.LogSoftmax(1)), CODES, nn.CrossEntropyLoss()),
    "logarithm of softmax and nll": (net(3, nn.LogSoftmax(1)), CODES, nn.NLLLoss()),
    "probabilities": (net(3), torch.eye(3)[CODES], nn.CrossEntropyLoss()),
    "sigmoid": (net(1, nn.Sigmoid()), TWO, nn.BCELoss()),
    "sigmoid in forward": (Functional(1, torch.sigmoid), TWO, nn.BCELoss()),
    "sigmoid in the loss": (net(1), TWO, lambda out, y: F.binary_cross_entropy(out.sigmoid(), y)),
    "softmax of one-hot": (net(2, nn.Softmax(1)), torch.eye(2)[TWO[:, 0].long()], nn.BCELoss()),
    "numbers": (net(1), NUMBERS, nn.MSELoss()),
    "positive numbers": (net(1, nn.Softplus()), NUMBERS.exp(), nn.MSELoss()),
    "numbers within": (net(1, nn.Tanh()), NUMBERS.tanh() * 0.9, nn.MSELoss()),
    "output alone": (net(1), None, lambda out: (1 - out).abs().mean()),
    "counts": (net(1), NUMBERS.exp().round(), nn.PoissonNLLLoss()),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_where_nothing_is_wrong(name: str) -> None:
    network, y, loss = HEALTHY[name]

    assert ml.doctor(network, X, y, loss=loss, rehearse=False).codes == []


def test_apply_in_place_alters_the_network_that_was_given() -> None:
    network = net(3, nn.Softmax(1))

    ml.doctor(network, X, CODES, loss=nn.CrossEntropyLoss(), rehearse=False)[0].apply(in_place=True)

    assert isinstance(network[3], nn.Identity)


def test_the_optimiser_of_a_mended_copy_holds_the_copys_parameters() -> None:
    network = net(1, nn.Sigmoid())
    optimizer = torch.optim.Adam(network.parameters(), lr=0.5)
    y = CODES[:, None].float()

    mended = ml.doctor(network, X, y, loss=nn.BCELoss(), optimizer=optimizer, rehearse=False).apply()

    held = {id(p) for group in mended.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in mended.net.parameters()}
    assert mended.net(X).shape == (200, 3)
    assert mended.optimizer.param_groups[0]["lr"] == 0.5
