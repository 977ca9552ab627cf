"""Rows are sorted by time, or the time is refused; never by the letters of text."""

import datetime as dt
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

import multilayer as ml
from multilayer import DataError
from multilayer.table.column import Column
from multilayer.table.moments import moments
from multilayer.table.sources.dtype_hints import Note


def texts(*values: Any) -> np.ndarray:
    return np.array(values, dtype=object)


@pytest.mark.parametrize(
    "values",
    [
        ["31/12/2023", "1/1/2024", "2/2/2024"],
        ["9", "10", "100"],
        ["9:15", "10:15", "23:00"],
        ["9 days", "10 days", "100 days"],
        ["Dec 2023", "Jan 2024", "Apr 2024"],
        ["$9", "$10", "$100"],
    ],
)
def test_text_is_sorted_by_what_it_says(values: list[str]) -> None:
    found, _ = moments("t", texts(*values))
    assert np.argsort(found).tolist() == [0, 1, 2]


@pytest.mark.parametrize("values", [["Jan-20", "Feb-20", "Mar-20"], ["red", "blue"], ["yes", "no"]])
def test_text_that_is_no_time_is_refused(values: list[str]) -> None:
    with pytest.raises(DataError, match=f"must hold dates.*row 1 of 't' holds '{values[0]}'.*date_format="):
        moments("t", texts(*values))


@pytest.mark.parametrize("odd", ["unknown", "?", "-"])
def test_one_odd_cell_is_refused_and_named(odd: str) -> None:
    days = [f"{1 + k % 28}/{1 + k // 28}/2024" for k in range(60)]
    with pytest.raises(DataError, match=f"row 61 of 't' holds '{re.escape(odd)}'"):
        moments("t", texts(*days, odd))


def test_a_declared_format_is_read() -> None:
    column = Column("t", "date", date_format="%b-%y")
    found, words = moments("t", texts("Jan-20", "Feb-19"), None, column)
    assert found[0] > found[1] and words == "dates as %b-%y"


def test_an_ordered_category_is_sorted_by_its_order() -> None:
    note = Note("ordered", levels=("early", "middle", "late"))
    found, _ = moments("t", texts("early", "late", "middle"), note)
    assert found.tolist() == [0, 2, 1]


def test_missing_times_are_refused() -> None:
    for values in (texts("1", None), np.array([1.0, np.nan])):
        with pytest.raises(DataError, match="time must have no missing values; row 2 has none"):
            moments("t", values)


class TestInAFit:
    N = 400

    def table(self, write: Any) -> pd.DataFrame:
        """The latest fifth behaves otherwise: an honest split by time scores badly."""
        rng = np.random.default_rng(0)
        k = rng.permutation(self.N)
        a = rng.normal(size=self.N)
        day = [write(dt.date(2020, 1, 1) + dt.timedelta(days=int(each))) for each in k]
        return pd.DataFrame({"a": a, "t": day, "y": np.where(k >= 0.8 * self.N, -a, a)})

    def test_text_of_dates_validates_on_the_latest(self) -> None:
        options: dict[str, Any] = {"target": "y", "time": "t", "epochs": 4, "members": 1, "hidden": 8}
        by_date = ml.fit(self.table(lambda day: day), **options)
        by_text = ml.fit(self.table(lambda day: f"{day:%d/%m/%Y}"), **options)
        assert by_date.score["r2"] < 0 and by_text.score["r2"] < 0
        assert "the latest by 't' (dates as %d/%m/%Y)" in by_text.summary["decisions"][1]

    def test_a_declared_format_and_text_that_is_none(self) -> None:
        table = self.table(lambda day: f"{day:%b-%y}")
        with pytest.raises(DataError, match="time must hold dates"):
            ml.fit(table, target="y", time="t", epochs=1)
        schema = ml.infer_schema(table[["a", "t"]]).replace("t", kind="date", date_format="%b-%y")
        model = ml.fit(table, target="y", time="t", schema=schema, epochs=4, members=1, hidden=8)
        assert model.score["r2"] < 0

    def test_so_many_equal_times_that_the_share_is_another_are_refused(self) -> None:
        table = {"a": range(100), "t": [1] * 20 + [2] * 80, "y": range(100)}
        with pytest.raises(DataError, match="80 of 100 rows would be the latest, where 20% were wanted"):
            ml.fit(table, target="y", time="t", epochs=1)
        ml.fit(table, target="y", time="t", validation=0.7, epochs=1, members=1, hidden=4)
