import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multilayer.errors import ConfigError, DataError
from multilayer.table.split import group_folds, split

fractions = st.floats(0.01, 0.99)


def assert_partition(n_rows, parts):
    train_rows, valid_rows = parts
    assert train_rows.dtype == valid_rows.dtype == np.int64
    assert len(train_rows) and len(valid_rows)
    assert (np.diff(train_rows) > 0).all()
    assert (np.diff(valid_rows) > 0).all()
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(n_rows))


@given(st.integers(2, 300), fractions, st.integers(0, 5))
def test_random_parts_have_the_right_size(n_rows, fraction, seed):
    parts = split(n_rows, fraction=fraction, seed=seed)
    assert_partition(n_rows, parts)
    assert abs(len(parts[1]) - n_rows * fraction) <= 1


@given(st.lists(st.integers(0, 6), min_size=2, max_size=300), fractions, st.integers(0, 5))
def test_stratified_parts_hold_every_class_in_proportion(classes, fraction, seed):
    classes = np.array(classes)
    train_rows, valid_rows = split(len(classes), fraction=fraction, seed=seed, stratify=classes)
    assert_partition(len(classes), (train_rows, valid_rows))
    counts = np.bincount(classes)
    kept = np.bincount(classes[train_rows], minlength=len(counts))
    assert (kept[counts >= 2] >= 1).all()
    held = np.bincount(classes[valid_rows], minlength=len(counts))
    wanted = min(max(round(len(classes) * fraction), 1), len(classes) - 1)
    most = (counts[counts > 0] - 1).sum()  # one row of each class stays in training
    assert len(valid_rows) == (min(wanted, most) if most else wanted)
    if fraction <= 0.5 and counts[counts > 0].min() >= 2:
        assert (np.abs(held - counts * fraction) <= 1 + counts / len(classes)).all()


def test_stratified_by_text_of_an_even_table_is_exact():
    classes = np.array(["a"] * 60 + ["b"] * 30 + ["c"] * 10, dtype=object)
    _, valid_rows = split(100, fraction=0.2, stratify=classes)
    assert [int((classes[valid_rows] == name).sum()) for name in "abc"] == [12, 6, 2]


@given(st.lists(st.integers(0, 9), min_size=2, max_size=200), fractions, st.integers(0, 5))
def test_no_group_is_on_both_sides(groups, fraction, seed):
    groups = np.array(groups)
    if len(np.unique(groups)) < 2:
        return
    train_rows, valid_rows = split(len(groups), fraction=fraction, seed=seed, groups=groups)
    assert_partition(len(groups), (train_rows, valid_rows))
    assert not set(groups[train_rows]) & set(groups[valid_rows])


def test_many_groups_come_close_to_the_fraction():
    groups = np.random.default_rng(0).integers(0, 200, 2_000)
    _, valid_rows = split(2_000, fraction=0.2, groups=groups)
    assert abs(len(valid_rows) - 400) <= 10


@given(st.lists(st.integers(0, 50), min_size=2, max_size=200), fractions)
def test_validation_is_strictly_later(times, fraction):
    times = np.array(times)
    if len(np.unique(times)) < 2:
        return
    train_rows, valid_rows = split(len(times), fraction=fraction, time=times)
    assert_partition(len(times), (train_rows, valid_rows))
    assert times[train_rows].max() < times[valid_rows].min()


def test_time_may_be_dates_or_text_in_any_order():
    days = np.array(["2024-03-01", "2024-01-01", "2024-02-01", "2024-04-01"], dtype="datetime64[us]")
    for time in (days, days.astype(str), days.astype(str).astype(object)):
        assert split(4, fraction=0.25, time=time)[1].tolist() == [3]
        assert split(4, fraction=0.5, time=time)[1].tolist() == [0, 3]


def test_a_seed_gives_one_split_and_another_seed_another():
    assert np.array_equal(split(100, seed=3)[1], split(100, seed=3)[1])
    assert not np.array_equal(split(100, seed=3)[1], split(100, seed=4)[1])


@pytest.mark.parametrize(
    ("n_rows", "options", "error", "message"),
    [
        (1, {}, DataError, "at least 2 rows.*got 1"),
        (9, {"fraction": 0.0}, ConfigError, "between 0 and 1; got 0.0"),
        (9, {"fraction": 1.5}, ConfigError, "between 0 and 1; got 1.5"),
        (4, {"groups": [0, 0, 1, 1], "time": [0, 1, 2, 3]}, ConfigError, "one of .*; got groups and time"),
        (
            4,
            {"groups": [0, 0, 1]},
            DataError,
            r"groups must have one value for each of the 4 rows; got shape \(3,\)",
        ),
        (3, {"groups": [7, 7, 7]}, DataError, "at least 2 groups"),
        (3, {"time": [7, 7, 7]}, DataError, "at least 2 different times"),
        (3, {"time": [1.0, float("nan"), 2.0]}, DataError, "time must have no missing values; row 2"),
        (
            3,
            {"groups": np.array(["a", "b", None], dtype=object)},
            DataError,
            "groups must have no missing .*row 3",
        ),
        (
            3,
            {"time": np.array(["a", 1, 2], dtype=object)},
            DataError,
            "time must hold values that can be sorted",
        ),
    ],
)
def test_refuses_what_cannot_be_split(n_rows, options, error, message):
    with pytest.raises(error, match=message):
        split(n_rows, **options)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=200),
    st.integers(2, 8),
    st.integers(0, 9),
)
def test_group_folds_keep_groups_whole_and_sizes_even(groups, n_folds, seed):
    n_groups = len(set(groups))
    if n_groups < n_folds:
        with pytest.raises(DataError, match=f"{n_folds} folds need at least as many groups; got {n_groups}"):
            group_folds(groups, n_folds, seed=seed)
        return
    fold = group_folds(groups, n_folds, seed=seed)
    sizes = np.bincount(fold, minlength=n_folds)

    assert len(set(zip(groups, fold.tolist(), strict=True))) == n_groups
    assert sizes.min() > 0
    assert sizes.max() - sizes.min() <= np.bincount(groups).max()
    assert np.array_equal(fold, group_folds(groups, n_folds, seed=seed))
