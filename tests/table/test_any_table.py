"""Whatever table comes: it is learnt from, or refused in our own words. Thousands of random tables at night.

`make nightly` sets the hypothesis profile "nightly".
"""

import datetime as dt
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import multilayer as ml
from multilayer.errors import MultilayerError
from multilayer.table.encode import Encoder
from multilayer.table.schema import check, infer_schema
from multilayer.table.sources.read import read_table

settings.register_profile("nightly")
IS_NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"

EXTREMES = [0.0, -0.0, 5e-324, -2.2e-308, 1e300, -1.7e308, 1.0, 2**53 + 1.0]
WORDS = ["the", "a", "dog", "cat", "ran", "über", "東京", "слово", "🙂", "don't", ""]
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "float": st.floats() | st.sampled_from(EXTREMES),
    "finite": st.floats(-1e6, 1e6),
    "whole": st.integers(-5, 5),
    "big": st.integers(-(2**70), 2**70),
    "bool": st.booleans(),
    "letter": st.sampled_from(["a", "b", "c"]),
    "word": st.text(max_size=6),
    "sentence": st.lists(st.sampled_from(WORDS), min_size=3, max_size=9).map(" ".join),
    "number as text": st.floats(-10, 10).map(str) | st.integers(0, 99).map(str),
    "moment": st.datetimes(),
    "moment with zone": st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)).map(
        lambda moment: moment.replace(tzinfo=dt.UTC)
    ),
    "moment as text": st.datetimes().map(lambda moment: moment.isoformat()),
    "offset as text": st.datetimes().map(lambda moment: moment.isoformat() + "+05:30"),
    "day": st.dates(),
    "day as text": st.dates(dt.date(1900, 1, 1)).map(lambda day: day.strftime("%d.%m.%Y")),
    "time": st.times(),
    "time as text": st.times().map(lambda time: time.strftime("%H:%M")),
    "duration": st.timedeltas(dt.timedelta(days=-10_000), dt.timedelta(days=10_000)),
    "constant": st.just(7),
    "none": st.none(),
    "mixed": st.sampled_from([1, 2.5, "x", True, dt.date(2024, 1, 1), ""]),
}


@dataclass(frozen=True)
class Case:
    """Columns of two tables, their target, and what kind of frame they come in."""

    known: dict[str, list[Any]]
    new: dict[str, list[Any]]
    y: list[Any]
    source: str
    infinite: str


@st.composite
def cases(draw: Any) -> Case:
    names = draw(st.lists(st.text(max_size=8), min_size=1, max_size=5, unique=True))
    names = [name for name in names if name not in ("target", "y")] or ["x"]
    cells = {name: draw(st.sampled_from(list(CELLS))) for name in names}
    n_rows = draw(st.sampled_from([2, 3, 7, 24]))

    def table(n: int) -> dict[str, list[Any]]:
        columns = {}
        for name, cell in cells.items():
            gaps = draw(st.booleans())
            value = st.none() | CELLS[cell] if gaps else CELLS[cell]
            columns[name] = draw(st.lists(value, min_size=n, max_size=n))
        return columns

    y = (
        [["a", "b"][i % 2] for i in range(n_rows)]
        if draw(st.booleans())
        else [i * 1.5 for i in range(n_rows)]
    )
    return Case(
        known=table(n_rows),
        new=table(3),
        y=y,
        source=draw(st.sampled_from(["mapping", "pandas", "categorical", "polars"])),
        infinite=draw(st.sampled_from(["error", "clip"])),
    )


def framed(columns: dict[str, list[Any]], source: str) -> Any:
    """The columns as a frame; what the library itself cannot hold is no case."""
    if source == "mapping":
        return columns
    if source == "polars":
        try:
            return pl.DataFrame([pl.Series(name, values, strict=False) for name, values in columns.items()])
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            assume(False)
    try:
        frame = pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})
        return frame.astype("category") if source == "categorical" else frame
    except (TypeError, ValueError, OverflowError):
        assume(False)


many_cases = settings(
    max_examples=2_000 if IS_NIGHTLY else 200, deadline=None, suppress_health_check=list(HealthCheck)
)


@many_cases
@given(cases())
def test_any_table_is_encoded_or_refused(case: Case) -> None:
    try:
        table = read_table(framed(case.known, case.source))
        schema = infer_schema(table, infinite=case.infinite)
        encoder = Encoder.fit(table, schema)
    except MultilayerError:
        return
    str(schema)
    arrays, rest = encoder.state()
    copy = Encoder.from_state(arrays, json.loads(json.dumps(rest, allow_nan=False)))
    assert copy.schema == schema
    assert_encodes(encoder, copy, table)
    try:
        new = read_table(framed(case.new, case.source))
        check(new, schema)
    except MultilayerError:
        return
    assert_encodes(encoder, copy, new)


def assert_encodes(encoder: Encoder, copy: Encoder, table: Any) -> None:
    batch, again = encoder.transform(table), copy.transform(table)
    assert np.isfinite(batch.num).all()
    assert np.abs(batch.num).max(initial=0) <= 3
    assert ((batch.cat >= 0) & (batch.cat < np.array(encoder.cardinalities, dtype=np.int64))).all()
    assert np.array_equal(batch.num, again.num)
    assert np.array_equal(batch.cat, again.cat)


@pytest.mark.filterwarnings("ignore::multilayer.TableWarning")
@many_cases
@given(cases())
def test_any_table_is_fitted_and_predicted_or_refused(case: Case) -> None:
    known = framed(case.known, case.source)
    try:
        model = ml.fit(known, y=case.y, members=1, epochs=1, hidden=4, infinite=case.infinite)
    except MultilayerError:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.mlp")
        model.save(path)
        loaded = ml.Model.load(path)
    assert_predicts(model, loaded, known)
    new = framed(case.new, case.source)
    try:
        check(read_table(new), model.schema)
    except MultilayerError:
        return
    assert_predicts(model, loaded, new)


def assert_predicts(model: ml.Model, loaded: ml.Model, frame: Any) -> None:
    predict = "predict" if model.classes is None else "predict_proba"
    given_, again = getattr(model, predict)(frame), getattr(loaded, predict)(frame)
    assert np.isfinite(given_).all()
    assert np.array_equal(given_, again)
