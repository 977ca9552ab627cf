import numpy as np
import pytest

from multilayer.errors import SchemaError
from multilayer.table.column import Column
from multilayer.table.kinds.boolean import as_booleans
from multilayer.table.kinds.duration import as_durations
from multilayer.table.kinds.number import as_numbers
from multilayer.table.kinds.time import as_times


def test_texts_are_read_as_numbers():
    column = Column("c", "number")
    assert as_numbers(column, np.array(["1", None, " 2.5"], dtype=object)).tolist()[::2] == [1.0, 2.5]
    column = Column("c", "number", unit="kg", thousands=".", decimal=",")
    assert as_numbers(column, np.array(["1.200,5 kg", "3"], dtype=object)).tolist() == [1200.5, 3.0]


def test_texts_are_read_as_booleans():
    flags = as_booleans(Column("c", "boolean"), np.array(["Y", "f", "TRUE", "0", "1.0"], dtype=object))
    assert flags.tolist() == [1.0, 0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("read", "kind", "wanted"),
    [
        (as_numbers, "number", "a number"),
        (as_booleans, "boolean", "true or false"),
        (as_times, "time", "a time of day"),
        (as_durations, "duration", "a duration, in seconds"),
    ],
)
def test_dates_are_none_of_these(read, kind, wanted):
    dates = np.array(["2024-01-01"], "datetime64[us]")
    with pytest.raises(SchemaError, match=f"'c' must hold {wanted}.*row 1 holds '2024-01-01'"):
        read(Column("c", kind), dates)


def test_infinities_become_the_limits_where_these_are_known():
    values = np.array([np.inf, -np.inf, 1.0])
    clipped = Column("c", "number", low=0.0, high=5.0, infinite="clip")
    assert as_numbers(clipped, values).tolist() == [5.0, 0.0, 1.0]
    assert as_numbers(Column("c", "number", infinite="clip"), values).tolist() == values.tolist()
    with pytest.raises(SchemaError, match="must be finite; column 'c' holds inf in row 1"):
        as_durations(Column("c", "duration"), values)
