"""The doctor before training: parameters, modes, rehearsals, and what it leaves alone."""

import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import multilayer as ml
import multilayer.diagnosis.codes
from multilayer.diagnosis.codes import CODES
from multilayer.errors import ConfigError, DataError

PAGES = Path(__file__).parents[2] / "docs" / "doctor"
X = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)


def net(*more: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), *more, nn.ReLU(), nn.Linear(16, 3))


def codes(network: nn.Module, **given: object) -> list[str]:
    return ml.doctor(network, X, Y, loss=nn.CrossEntropyLoss(), **({"rehearse": False} | given)).codes  # type: ignore[arg-type]


def test_every_code_has_its_page_and_every_page_its_code() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} - {"index"} == set(CODES)
    index = (PAGES / "index.md").read_text()
    for code in CODES:
        page = (PAGES / f"{code}.md").read_text()
        assert f"]({code}.md)" in index
        assert "## Faulty" in page and "## Mended" in page


def test_every_code_is_made_somewhere() -> None:
    folder = Path(multilayer.diagnosis.codes.__file__).parent
    made = "".join(path.read_text() for path in folder.glob("*.py") if path.name != "codes.py")
    assert [code for code in CODES if not re.search(rf'"{code}"', made)] == []


def test_parameters_and_modes() -> None:
    network = net()
    optimizer = torch.optim.Adam(network.parameters())
    network[2] = nn.Linear(16, 3)
    assert codes(network, optimizer=optimizer) == ["parameters-not-in-optimizer"]
    assert codes(net(nn.BatchNorm1d(16)).eval()) == ["eval-mode"]
    assert codes(net(nn.BatchNorm1d(16)), batch_size=1) == ["one-row-batches"]
    assert codes(net().requires_grad_(False)) == ["nothing-trains"]
    assert codes(net(), epochs=0)[0] == "never-trained"

    backbone = net()
    backbone[0].requires_grad_(False)
    assert codes(backbone) == []


def test_errors_of_pytorch_name_the_layer() -> None:
    finding = ml.doctor(nn.Sequential(nn.Linear(5, 3)), X, Y, loss=nn.CrossEntropyLoss())[0]

    assert (finding.code, finding.layer) == ("cannot-run", "0")
    assert "takes rows of 5 numbers and gets 4" in finding.message


def test_values_that_are_not_finite_are_placed() -> None:
    x = X.clone()
    x[17, 2] = float("nan")

    finding = ml.doctor(net(), x, Y, loss=nn.CrossEntropyLoss(), rehearse=False)["not-finite"]

    assert (finding.evidence["row"], finding.column) == (17, "2")
    assert len(finding.apply().x) == 199


@pytest.mark.parametrize(
    ("optimizer", "epochs", "code"),
    [
        (lambda p: torch.optim.SGD(p, lr=1e-5), 20, "rate-too-low"),
        (lambda p: torch.optim.Adam(p, lr=3.0), 20, "rate-too-high"),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 1, "too-few-steps"),
    ],
)
def test_rehearsals_name_what_keeps_a_run_from_learning(optimizer: object, epochs: int, code: str) -> None:
    findings = ml.doctor(
        net(),
        X,
        Y,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        epochs=epochs,
        batch_size=50,
        verify=True,
    )

    assert findings[0].code == code
    gain = findings[0].gain
    assert gain is not None and gain["mended"] > gain["as_it_is"] + 0.1


def test_noise_is_no_fault() -> None:
    noise = torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(1))

    findings = ml.doctor(net(), X, noise, loss=nn.CrossEntropyLoss(), epochs=5, batch_size=50)

    assert findings.codes == []


def test_nothing_changes_but_the_result() -> None:
    network = net(nn.BatchNorm1d(16), nn.Dropout(0.5))
    optimizer = torch.optim.Adam(network.parameters())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    torch.manual_seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]

    ml.doctor(network, X, Y, loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=2, batch_size=50)

    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert torch.equal(states[0], torch.get_rng_state()) and (states[1] == np.random.get_state()[1]).all()
    assert all(p.grad is None for p in network.parameters()) and not optimizer.state
    assert not network[0]._forward_hooks and network.training


def test_the_same_is_found_again() -> None:
    given = {"loss": nn.CrossEntropyLoss(), "epochs": 1, "batch_size": 50}

    first, second = (ml.doctor(net(), X, Y, **given).to_json() for _ in range(2))  # type: ignore[arg-type]

    assert json.dumps(first) == json.dumps(second)


def test_what_cannot_be_copied_is_examined_without_training() -> None:
    network = nn.Sequential(*net(), nn.Softmax(1))
    network.lock = threading.Lock()  # type: ignore[assignment]

    finding = ml.doctor(network, X, Y, loss=nn.CrossEntropyLoss(), epochs=1)[0]

    assert finding.code == "probabilities-into-logits"
    with pytest.raises(ConfigError, match="must be such as can be copied"):
        finding.apply()
    assert finding.apply(in_place=True).net(X).shape == (200, 3)


def test_codes_can_be_left_out() -> None:
    network = nn.Sequential(*net(), nn.Softmax(1))

    assert codes(network, ignore="probabilities-into-logits") == []
    with pytest.raises(ConfigError, match="codes of findings; got 'softmax'"):
        codes(network, ignore=("softmax",))


def test_wrong_arguments_are_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"doctor needs an nn\.Module; got str"):
        ml.doctor("net", X, Y, loss="mse")
    with pytest.raises(DataError, match=r"as many rows; got 100, 200"):
        ml.doctor(net(), X, Y[:100], loss="cross_entropy")
    with pytest.raises(ConfigError, match=r"optimizer must be a torch\.optim\.Optimizer"):
        ml.doctor(net(), X, Y, loss="cross_entropy", optimizer="adam")
    finding = ml.doctor(nn.Linear(5, 3), X, Y, loss="cross_entropy")[0]
    with pytest.raises(ConfigError, match="cannot-run has no patch that could be applied"):
        finding.apply()


def test_train_keeps_what_the_first_look_finds(caplog: pytest.LogCaptureFixture) -> None:
    network = nn.Sequential(*net(), nn.Softmax(1))

    history = ml.train(network, X, Y, loss="cross_entropy", epochs=100, engine="autograd")

    assert [one["code"] for one in history.findings] == ["probabilities-into-logits"]
    assert caplog.text.count("probabilities-into-logits") == 1
    assert ml.History.from_dict(history.to_dict()).findings == history.findings
    assert ml.train(net(), X, Y, loss="cross_entropy", epochs=100, engine="autograd").findings == []
