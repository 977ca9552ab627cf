"""A row without a table: the same bits, or left to the table."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import multilayer as ml
from multilayer import runtime
from multilayer.errors import SchemaError
from multilayer.model.table_model import network_inputs
from multilayer.runtime import one_row

N = 200
CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 1e-200, -1e200, 1e150, 3.5, math.nan]),
    st.integers(-(2**64), 2**64),
    st.sampled_from([0, 1, 2, -999, 2**53, 2**53 + 1]),
    st.sampled_from(
        ["", "NA", "?", "-", "a", " a", "A", "b", "1", "1.0", "1.5", "true", "yes", "2024-05-01", "08:15"]
    ),
    st.sampled_from(["new", "3 kg", "1,5", "a few words of text", "inf", "2024-05-01T10:00+02:00"]),
)


def table(seed=0):
    rng = np.random.default_rng(seed)
    number = rng.normal(size=N)
    number[::9] = np.nan
    return {
        "number": number,
        "constant in most": np.where(np.arange(N) < 199, 1.0, 2.0),
        "two": rng.choice([0.0, 1.0], N),
        "whole": rng.integers(0, 50, N),
        "code": [["a", "b", None][i] for i in rng.integers(0, 3, N)],
        "zip": rng.choice([94301, 10001], N),
        "flag": rng.choice([True, False], N),
        "day": np.datetime64("2024-01-01") + rng.integers(0, 300, N).astype("m8[D]"),
        "words": [" ".join(each) for each in rng.choice(["red", "old", "big", "house", "far"], (N, 5))],
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A model of every kind of column, with statistics of the target, and marks of missing numbers."""
    columns = table()
    target = np.where(columns["whole"] > 25, "yes", "no")
    model = ml.fit(
        {**columns, "y": target},
        target="y",
        kinds={"zip": "category", "words": "text"},
        missing={"whole": -999},
        members=2,
        epochs=1,
        hidden=4,
        seed=0,
    )
    assert model.encoder.target_encoding is not None
    path = tmp_path_factory.mktemp("model") / "model.mlp"
    model.save(path)
    return runtime.load(path)


def by_table(served, row):
    return network_inputs(served.encoder.transform(served._read({name: [row[name]] for name in row}, None)))


ROW = {
    "number": 0.5,
    "constant in most": 1.0,
    "two": 1.0,
    "whole": 3,
    "code": "a",
    "zip": 94301,
    "flag": True,
    "day": "2024-03-01",
    "words": "old red house",
}


@pytest.mark.filterwarnings("ignore::multilayer.TableWarning")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(sorted(ROW)), CELLS, max_size=4))
def test_a_row_has_the_bits_that_it_has_in_a_table_or_is_left_to_it(served, changes):
    row = ROW | changes
    found = served._row_encoder.encode(row)
    again = served._row_encoder.encode(row)  # of what is remembered now
    if found is None:
        assert again is None
        return
    assert found.tobytes() == again.tobytes() == by_table(served, row).tobytes()


def test_plain_rows_are_not_left_to_the_table(served):
    rows = [ROW, ROW | {"number": None, "code": None}, ROW | {"number": 3, "zip": 10001, "y": "yes"}]
    for row in rows:
        assert served._row_encoder.encode(row) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"number": math.inf},
        {"number": "0.5"},
        {"number": np.float64(0.5)},
        {"number": 2**53 + 1},
        {"number": True},
        {"code": ["a"]},
        {"flag": 2.0},
        {"more": 1},
        {"y": object()},
        {"day": "no day"},
    ],
)
def test_what_is_not_surely_known_is_left_to_the_table(served, change):
    assert served._row_encoder.encode(ROW | change) is None


def test_a_row_without_a_column_is_left_to_the_table(served):
    row = {name: value for name, value in ROW.items() if name != "zip"}
    assert served._row_encoder.encode(row) is None
    with pytest.raises(SchemaError, match="fitted with the column 'zip'"):
        served.predict(row)


def test_a_declared_mark_is_missing_in_a_row_too(served):
    marked, missing = (served._row_encoder.encode(ROW | {"whole": value}) for value in (-999, None))
    assert marked.tobytes() == missing.tobytes()


def test_zeros_of_both_signs_are_told_apart(served):
    for value in (0.0, -0.0, 0.0):
        row = ROW | {"code": value}
        assert served._row_encoder.encode(row).tobytes() == by_table(served, row).tobytes()


def test_rows_come_in_many_forms(served):
    wanted = served.predict_proba({name: [value] for name, value in ROW.items()})
    for form in (ROW, [ROW], {name: np.array([value]) for name, value in ROW.items()}):
        assert served.predict_proba(form).tobytes() == wanted.tobytes()
    together = served.predict_proba([ROW, ROW | {"number": -2.0}, ROW])
    assert together.shape == (3, 2)
    assert together[0].tobytes() == together[2].tobytes() == wanted[0].tobytes()
    assert served.predict(ROW).shape == (1,)


def test_what_is_remembered_is_bounded(served, monkeypatch):
    monkeypatch.setattr(one_row, "MOST_REMEMBERED", 3)
    encoder = runtime.RuntimeModel.from_bytes(
        ml.fit(
            {"c": list("ab") * 20, "y": [0.0, 1.0] * 20}, target="y", members=1, epochs=1, hidden=2
        ).to_bytes()
    )._row_encoder
    for i in range(20):
        assert encoder.encode({"c": f"new {i}"}) is not None
    assert len(encoder._others[0]._found) == 3


def test_processors_that_round_once_get_what_interp_gives(served, monkeypatch):
    model = runtime.RuntimeModel(**{name: getattr(served, name) for name in served.__dataclass_fields__})
    monkeypatch.setattr(one_row, "adds_up_as_interp", lambda: False)
    assert model._row_encoder.encode(ROW).tobytes() == by_table(served, ROW).tobytes()


def test_threads_may_share_a_model(served):
    rows = [ROW | {"number": i / 7, "code": f"level {i % 5}"} for i in range(60)]
    wanted = [served.predict_proba(row).tobytes() for row in rows]
    fresh = runtime.RuntimeModel(**{name: getattr(served, name) for name in served.__dataclass_fields__})
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: fresh.predict_proba(row).tobytes(), rows * 3))
    assert found == wanted * 3
