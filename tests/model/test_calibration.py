"""Probabilities are corrected where that helps, and left alone where it does not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

import multilayer as ml

SMALL: dict[str, Any] = {"members": 2, "epochs": 8, "hidden": 6}


def rows(n: int, seed: int, n_classes: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    label = np.digitize(
        x + rng.normal(size=n), np.linspace(-0.5, 0.5, n_classes - 1) if n_classes > 2 else [0.0]
    )
    return {"x": x, "y": np.array(["a", "b", "c"], object)[label]}


class Times(nn.Module):
    def __init__(self, net: nn.Module, by: float) -> None:
        super().__init__()
        self.net, self.by = net, by

    def forward(self, x: Any) -> Any:
        return self.net(x) * self.by


@pytest.fixture(scope="module", params=[2, 3])
def model(request: pytest.FixtureRequest) -> ml.Model:
    return ml.fit(rows(600, 0, request.param), target="y", **SMALL)


def test_probabilities_that_are_too_sure_are_mended(model: ml.Model) -> None:
    n_classes = len(model.classes or ())
    loud = replace(model, networks=[Times(net, 4.0) for net in model.networks])
    fresh, test = rows(800, 1, n_classes), rows(2000, 2, n_classes)

    mended = loud.calibrate(fresh)

    assert mended.task.scale == pytest.approx(0.25, rel=0.6)
    assert mended.evaluate(test)["log_loss"] < loud.evaluate(test)["log_loss"] - 0.05
    assert mended.evaluate(test)["log_loss"] < 1.1 * model.evaluate(test)["log_loss"]
    assert "calibration: outputs scaled by" in mended.summary["decisions"][-1]
    assert mended.statistics.held_out.errors[0].reliability[0].ece < 0.1
    assert mended.predict_set(test, 0.9)[1].any()


def test_good_probabilities_stay_as_they_are(model: ml.Model) -> None:
    n_classes = len(model.classes or ())
    once = model.calibrate(rows(3000, 1, n_classes))
    again = once.calibrate(rows(3000, 4, n_classes))
    assert again.task == once.task
    assert "would not help" in again.summary["decisions"][-1]


def test_calibration_is_saved(model: ml.Model) -> None:
    task = replace(model.task, scale=0.5)
    made = replace(model, task=task)
    again = ml.Model.from_bytes(made.to_bytes())
    test = rows(20, 3, len(model.classes or ()))
    np.testing.assert_array_equal(again.predict_proba(test), made.predict_proba(test))
    assert again.task == task and not np.allclose(made.predict_proba(test), model.predict_proba(test))


def test_what_cannot_be_calibrated_is_refused(model: ml.Model) -> None:
    n_classes = len(model.classes or ())
    with pytest.raises(ml.DataError, match="not trained on"):
        model.calibrate(rows(600, 0, n_classes))
    with pytest.raises(ml.DataError, match="at least 50"):
        model.calibrate(rows(20, 1, n_classes))
    numbers = ml.fit({"x": np.arange(90.0), "y": np.arange(90.0)}, target="y", **SMALL)
    with pytest.raises(ml.SchemaError, match="one target of classes"):
        numbers.calibrate({"x": np.arange(90.0), "y": np.arange(90.0)})
