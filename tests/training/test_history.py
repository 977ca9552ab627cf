import json
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from multilayer.errors import MissingExtraError
from multilayer.training.history import History


def two_epochs():
    return History(
        train_loss=[0.5, 0.4],
        val_loss=[0.6, 0.55],
        step_loss=[0.55, 0.45, 0.42, 0.38],
        lr=[0.1, 0.05],
        weight_decay=[0.1, 0.4],
        epoch_time_s=[0.01, 0.02],
        metrics={"accuracy": [0.7, 0.8]},
        engine="autograd",
        best_epoch=2,
        stopped="all epochs done",
    )


def test_frame_has_a_row_an_epoch():
    frame = two_epochs().to_frame()
    assert list(frame.columns) == ["train_loss", "val_loss", "lr", "weight_decay", "epoch_time_s", "accuracy"]
    assert frame.index.name == "epoch"
    assert frame.index.tolist() == [1, 2]
    assert frame["accuracy"].tolist() == [0.7, 0.8]


def test_frame_of_a_run_without_validation_has_no_empty_columns():
    history = History(train_loss=[0.5], lr=[0.1], epoch_time_s=[0.1])
    assert list(history.to_frame().columns) == ["train_loss", "lr", "epoch_time_s"]
    assert History().to_frame().empty


def test_frame_keeps_the_curve_of_a_run_that_broke_off():
    history = two_epochs()
    history.train_loss.append(float("nan"))
    frame = history.to_frame()
    assert frame["val_loss"].tolist()[:2] == [0.6, 0.55]
    assert np.isnan(frame["val_loss"][3])


def test_plot_draws_both_curves_into_the_axes_given():
    ax = Figure().subplots()
    assert two_epochs().plot(ax) is ax
    train, validation, kept = ax.get_lines()
    assert list(train.get_ydata()) == [0.5, 0.4]
    assert list(validation.get_ydata()) == [0.6, 0.55]
    assert list(kept.get_xdata()) == [2, 2]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")


def test_plot_makes_axes_of_its_own():
    ax = History(train_loss=[0.5, 0.4], best_epoch=2).plot()
    assert len(ax.get_lines()) == 1


def test_repr_tells_the_run():
    assert repr(two_epochs()) == (
        "History: 2 epochs, 4 steps, train loss 0.5 -> 0.4, validation loss 0.6 -> 0.55, kept epoch 2, "
        "engine autograd, all epochs done"
    )
    assert repr(History()) == "History: no epochs"


def test_dict_is_json():
    assert History(**json.loads(json.dumps(two_epochs().to_dict()))) == two_epochs()


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_frame"), ("matplotlib.figure", "plot")])
def test_a_missing_package_is_named(package, method, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{method} needs .* not installed: pip install"):
        getattr(two_epochs(), method)()
