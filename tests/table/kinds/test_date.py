import numpy as np
import pytest

from multilayer.table.column import Column
from multilayer.table.dates import days
from multilayer.table.kinds.date import DATE, as_dates, as_days, as_local_dates

TEXTS = np.array(["2024-05-01T23:30+03:00", None, "2024-06-01T01:00-05:00"], object)


def test_moments_are_of_utc_and_the_clock_is_as_written():
    column = Column("c", "date", zone="as written")
    assert as_dates(column, TEXTS).astype(str).tolist()[::2] == [
        "2024-05-01T20:30:00.000000",
        "2024-06-01T06:00:00.000000",
    ]
    local = as_local_dates(column, TEXTS)
    shown = local.astype("M8[m]").astype(str)
    assert shown.tolist() == ["2024-05-01T23:30", "NaT", "2024-06-01T01:00"]
    cells = DATE.cells(column, TEXTS)
    assert cells.written is not None
    assert np.array_equal(cells.written(), local, equal_nan=True)
    assert DATE.cells(column, as_dates(column, TEXTS)).written is None
    assert DATE.cells(Column("c", "date", zone="+01:00"), TEXTS).written is None


def test_days_count_from_1970_with_the_time_of_day():
    moments = np.array(["2024-01-02", "NaT", "1969-12-31T12:00"], dtype="datetime64[us]")
    assert days(moments).tolist()[::2] == [19724, -0.5]
    assert np.isnan(as_days(Column("c", "date"), moments)[1])


def test_dates_are_days_and_cyclic_parts(by_name):
    when = ["2024-01-01 00:00", "2024-04-02 06:00", "2024-07-03 12:00", None]
    encoded = by_name({"when": when})
    parts = ("month", "monthday", "yearday", "weekday", "hour")
    assert list(encoded) == ["when", "when (rank)", "when (missing)"] + [
        f"when ({part} {wave})" for part in parts for wave in ("sin", "cos")
    ]
    assert np.allclose(encoded["when (month sin)"], [0, 1, 0, 0], atol=1e-6)
    assert np.allclose(encoded["when (month cos)"], [1, 0, -1, 0], atol=1e-6)
    assert np.allclose(
        encoded["when (weekday sin)"][:2], [0, np.sin(2 * np.pi / 7)], atol=1e-6
    )  # Monday, Tuesday
    assert np.allclose(encoded["when (hour cos)"], [1, 0, -1, 0], atol=1e-6)


def test_date_parts_that_do_not_vary_are_left_out(fit):
    features = fit({"when": ["2024-01-01", "2024-01-02", "2024-01-10"]}).num_features
    assert [feature.name for feature in features] == [
        "when",
        "when (rank)",
        "when (monthday sin)",
        "when (monthday cos)",
        "when (yearday sin)",
        "when (yearday cos)",
        "when (weekday sin)",
        "when (weekday cos)",
    ]
    assert {feature.column for feature in features} == {"when"}
    assert [feature.channel for feature in features] == ["scaled", "rank", *["date"] * 6]


def test_dates_before_1970_have_right_parts(by_name):
    encoded = by_name({"when": ["1969-12-29 18:00", "1969-12-30", "1970-01-05"]})  # Monday, Tuesday, Monday
    assert np.allclose(encoded["when (weekday sin)"], [0, np.sin(2 * np.pi / 7), 0], atol=1e-6)
    assert np.allclose(encoded["when (hour sin)"], [-1, 0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("texts", "date_format", "first"),
    [
        (["2024-01-31", "1999-12-01"], "ISO 8601", "2024-01-31"),
        (["2013-01-01T10:00:00Z", "2013-06-01T10:00:00Z"], "ISO 8601", "2013-01-01T10"),
        (["2013-01-01 10:30", "2013-06-01 10:31:02.5"], "ISO 8601", "2013-01-01T10:30"),
        (["2013-01-01T10:00:00+02:00", "2013-06-01T10:00:00+02:00"], "ISO 8601", "2013-01-01T08"),
        (["20141013T000000", "20141209T120000"], "ISO 8601", "2014-10-13"),
        (["1/2/2011", "12/31/2012"], "%m/%d/%Y", "2011-01-02"),
        (["01/02/2011", "31/12/2012"], "%d/%m/%Y", "2011-02-01"),
        (["01/02/2011", "03/04/2012"], "%m/%d/%Y", "2011-01-02"),
        (["01/02/2011 5:07", "13/04/2012 23:59"], "%d/%m/%Y %H:%M", "2011-02-01T05:07"),
        (["31.12.2012", "1.2.2013"], "%d.%m.%Y", "2012-12-31"),
        (["2 Jan 2020", "3 Feb 2021"], "%d %b %Y", "2020-01-02"),
        (["Jan 2, 2020", "Feb 3, 2021"], "%b %d, %Y", "2020-01-02"),
    ],
)
def test_text_of_one_date_format_is_a_date(inferred, texts, date_format, first):
    column = inferred([*texts, None])
    assert (column.kind, column.date_format, column.n_missing) == ("date", date_format, 1)
    values = as_dates(column, np.array([*texts, None], dtype=object))
    assert values[0] == np.datetime64(first, "us")
    assert np.isnat(values[-1])


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-01-31", "not a date"],
        ["2024-02-30", "2024-01-01"],
        ["1/2/2011", "2011-01-02"],
        ["20141013T9", "x1"],
    ],
)
def test_text_that_is_not_wholly_dates_is_a_category(inferred, texts):
    assert inferred(texts).kind == "category"
