import numpy as np

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
