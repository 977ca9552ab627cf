import pytest
import torch
from torch import nn

from multilayer.errors import DataError
from multilayer.training.losses import (
    make_loss,
)
from multilayer.training.targets import as_loss_target, check_class_codes, check_shapes


def made(loss, has_target=True, has_weight=False):
    return make_loss(loss, has_target=has_target, has_weight=has_weight)


@pytest.mark.parametrize(
    "loss", ["mse", "binary_cross_entropy", "mae", lambda out, y: (out - y).square().mean()]
)
@pytest.mark.parametrize(
    ("out", "target", "advice"),
    [
        (
            (2, 1),
            (2,),
            r"got \(rows, 1\) and \(rows,\), .* Pass y\[:, None\], or end the network with nn.Flatten\(0\)",
        ),
        ((2,), (2, 1), r"got \(rows,\) and \(rows, 1\), .* Pass y\[:, 0\]"),
    ],
)
def test_a_column_against_a_row_is_refused_by_every_loss(loss, out, target, advice):
    with pytest.raises(DataError, match=f"must have the same shape; {advice}"):
        check_shapes(made(loss), torch.zeros(out), torch.zeros(target))


def test_known_losses_refuse_every_broadcast():
    for out, target in [((2, 3), (2, 1)), ((2, 1), (2, 3)), ((2, 3), (2,)), ((2, 3, 1), (2, 3))]:
        with pytest.raises(DataError, match="must have the same shape"):
            check_shapes(made("mse"), torch.zeros(out), torch.zeros(target))


def test_a_custom_loss_may_compare_unequal_shapes():
    """Three quantiles against one number, classes against codes: nobody writes these by accident."""
    loss = made(lambda out, y: (out - y).abs().mean())
    check_shapes(loss, torch.zeros(2, 3), torch.zeros(2, 1))
    check_shapes(loss, torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))
    check_shapes(loss, torch.zeros(2, 3), None)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy", lambda out, y: out.sum()])
def test_lost_rows_are_refused(loss):
    with pytest.raises(DataError, match=r"as many rows as it gets; 2 rows gave an output of shape \(6,\)"):
        check_shapes(made(loss), torch.zeros(6), torch.zeros(2))


def test_cross_entropy_wants_one_axis_of_codes_or_probabilities():
    loss = made("cross_entropy")
    check_shapes(loss, torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))
    check_shapes(loss, torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(DataError, match=r"got \(rows, 3\) and \(rows, 1\)\. Pass y\.reshape\(-1\)"):
        check_shapes(loss, torch.zeros(2, 3), torch.zeros(2, 1, dtype=torch.int64))
    with pytest.raises(
        DataError, match=r"probabilities must have the output's shape \(rows, 3\); got \(rows, 2\)"
    ):
        check_shapes(loss, torch.zeros(2, 3), torch.zeros(2, 2))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([1, 2, 3], r"from 0 to 2, one for each of the network's 3 outputs; got 1 to 3\. Subtract 1"),
        ([0, 1, 5], r"got 0 to 5\. Code the classes 0, 1, 2"),
        ([-1, 0, 1], r"got -1 to 1\. Code the classes 0, 1, 2"),
    ],
)
def test_class_codes_without_an_output_are_refused(codes, message):
    with pytest.raises(DataError, match=message):
        check_class_codes(made("cross_entropy"), torch.tensor(codes), 3)


def test_ignored_codes_pass():
    check_class_codes(made("cross_entropy"), torch.tensor([0, -100, 2]), 3)


def test_targets_take_the_losses_type():
    ints, floats = torch.tensor([0, 1], dtype=torch.int32), torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert as_loss_target(made("cross_entropy"), ints, torch.float32).dtype == torch.int64
    assert as_loss_target(made("binary_cross_entropy"), ints, torch.float32).dtype == torch.float32
    assert as_loss_target(made("mse"), floats, torch.float32).dtype == torch.float32
    own = made(lambda out, y: out.sum())
    assert as_loss_target(own, ints, torch.float32).dtype == torch.int64
    assert as_loss_target(own, floats, torch.float32).dtype == torch.float32
    assert as_loss_target(own, ints.bool(), torch.float32).dtype == torch.bool


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("gamma", [1.0, 0.0], r"GammaLoss expects targets above 0; got 0\. .*TweedieLoss"),
        ("tweedie", [1.0, -2.0], "TweedieLoss expects targets of 0 or above; got -2"),
    ],
)
def test_targets_that_no_such_distribution_has_are_refused(loss, y, message):
    with pytest.raises(DataError, match=message):
        as_loss_target(made(loss), torch.tensor(y)[:, None], torch.float32)


def test_wrong_label_coding_is_refused():
    with pytest.raises(
        DataError, match=r"BCEWithLogitsLoss expects targets from 0 to 1; got values from -1 to 1"
    ):
        as_loss_target(made("binary_cross_entropy"), torch.tensor([-1, 1]), torch.float32)
    with pytest.raises(
        DataError, match=r"class codes as whole numbers \(int64\), from 0 up; got torch\.float64"
    ):
        as_loss_target(made("cross_entropy"), torch.tensor([0.0, 1.0], dtype=torch.float64), torch.float32)


def test_class_probabilities_ignore_no_class():
    loss = make_loss(nn.CrossEntropyLoss(ignore_index=0), has_target=True, has_weight=False)
    with pytest.raises(DataError, match="class probabilities have no class to ignore; got ignore_index=0"):
        as_loss_target(loss, torch.full((4, 2), 0.5), torch.float32)
