import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis.extra import numpy as hnp
from torch import nn

from multilayer.errors import DataError
from multilayer.training.user_arrays import as_inputs, as_numpy, as_parts, as_tensor, check_finite

NUMBERS = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "values",
    [
        NUMBERS,
        np.array(NUMBERS),
        np.array(NUMBERS, dtype=">f4"),
        np.asfortranarray(NUMBERS),
        np.array(NUMBERS[::-1])[::-1],
        torch.tensor(NUMBERS, requires_grad=True),
        pd.DataFrame(NUMBERS, columns=["a", "b"]),
        pd.DataFrame(NUMBERS, columns=["a", "b"]).astype("Int64"),
        pl.DataFrame(NUMBERS, schema=["a", "b"], orient="row"),
    ],
    ids=lambda values: type(values).__module__,
)
def test_everything_that_holds_numbers_becomes_a_tensor(values):
    tensor = as_tensor(values, "x")
    assert not tensor.requires_grad
    assert tensor.tolist() == NUMBERS


@given(hnp.arrays(hnp.integer_dtypes(sizes=(8, 32, 64)) | hnp.floating_dtypes(sizes=(32, 64)), (3, 2)))
def test_values_stay_as_they_are(array):
    np.testing.assert_array_equal(as_tensor(array, "x").numpy(), array)


def test_a_read_only_array_is_copied():
    array = np.ones(3)
    array.flags.writeable = False
    as_tensor(array, "x")[0] = 5
    assert array[0] == 1


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_frame_of_numbers_and_booleans_is_numbers(frame):
    values = frame({"a": [1.5, 2.0], "b": [True, False], "c": [1, 2]})
    assert as_tensor(values, "x").tolist() == [[1.5, 1, 1], [2, 0, 2]]


@pytest.mark.parametrize("series", [pd.Series, pl.Series])
def test_a_series_is_one_axis(series):
    assert as_tensor(series([1, 2]), "y").shape == (2,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pd.DataFrame({"a": [1.0], "b": ["x"]}), r"x must hold numbers; got column 'b' of type"),
        (pl.DataFrame({"a": [1.0], "b": ["x"]}), r"x must hold numbers; got column 'b' of type String"),
        (
            pd.DataFrame({"a": [1.0], "d": pd.to_datetime(["2020-01-01"])}),
            "got column 'd' of type datetime64",
        ),
        (["a", "b"], r"x must hold numbers; got an array of type <U1\. Encode text"),
        ([1.0, None], "got an array of type object"),
        ([], r"x must have at least one row; got shape \(0,\)"),
        (torch.tensor(3.0), r"x must have at least one row; got shape \(\)"),
    ],
    ids=str,
)
def test_refuses(values, message):
    with pytest.raises(DataError, match=message):
        as_tensor(values, "x")


def test_the_first_value_that_is_not_finite_is_named():
    check_finite(torch.tensor([1, 2]), "x")
    check_finite(torch.tensor([1.0, 2.0]), "x")
    with pytest.raises(DataError, match=r"x must be finite; got nan in row 1, column 2 \(counted from 0\)"):
        check_finite(torch.tensor([[0, 0, 0], [0, 0, np.nan], [np.inf, 0, 0]]), "x")
    with pytest.raises(DataError, match=r"y must be finite; got -inf in row 1 \("):
        check_finite(torch.tensor([0, -np.inf]), "y")


def test_input_takes_the_networks_type():
    single, whole = np.array(NUMBERS, dtype=np.float32), np.array([[1, 2]], dtype=np.uint8)
    assert [x.dtype for x in as_inputs(nn.Linear(2, 1), np.array(NUMBERS))] == [torch.float32]
    assert [x.dtype for x in as_inputs(nn.Linear(2, 1).double(), single)] == [torch.float64]
    assert [x.dtype for x in as_inputs(nn.Linear(2, 1), whole)] == [torch.float32]
    assert [x.dtype for x in as_inputs(nn.Linear(2, 1).bfloat16(), whole)] == [torch.bfloat16]


def test_codes_stay_whole_where_they_are_looked_up():
    net = nn.Sequential(nn.Flatten(), nn.Embedding(3, 2))
    assert [x.dtype for x in as_inputs(net, np.array([[1, 2]], dtype=np.uint8))] == [
        torch.int64,
        torch.float32,
    ]
    assert [x.dtype for x in as_inputs(net, np.array([[1.0, 2.0]]))] == [torch.float32]


def test_several_inputs_keep_their_order_and_names():
    net, parts = nn.Linear(2, 1), (np.array(NUMBERS), [1, 2])
    assert [part.dtype for part in as_inputs(net, parts)[0]] == [torch.float32, torch.float32]
    assert list(as_inputs(net, {"b": parts[0], "a": parts[1]})[0]) == ["b", "a"]
    assert as_parts(((1.0, 2.0), (3.0, 4.0)), "x").shape == (2, 2)  # plain numbers are one array


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (({"a": np.ones((2, 1)), "b": np.ones(3)}), "all parts of x must have as many rows; got 2, 3"),
        ((torch.eye(3).to_sparse()), "dense tensor of real numbers; got one of layout torch.sparse_coo"),
        (torch.ones(2, dtype=torch.complex64), "dense tensor of real numbers; .* type torch.complex64"),
        ({"a": np.array(["x"])}, r"x\['a'\] must hold numbers"),
    ],
)
def test_refuses_parts_that_are_no_batch(values, message):
    with pytest.raises(DataError, match=message):
        as_parts(values, "x")


def test_numpy_has_no_bfloat16():
    assert as_numpy(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32
    assert as_numpy(torch.ones(2, dtype=torch.float64)).dtype == np.float64
