"""A column of text is what all of its cells are, or all but a few."""

from datetime import date
from typing import Any

import numpy as np
import pytest

from multilayer.table.kinds.date import as_dates
from multilayer.table.schema import infer_schema
from multilayer.table.sources.read import read_table
from multilayer.table.text_kind import are_few, kind_of_texts, sign_marks


def texts(*values: Any) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


KINDS: dict[str, tuple[list[str], str]] = {
    "numbers": ([str(k / 4) for k in range(60)], "number"),
    "with a unit": ([f"{k} kg" for k in range(60)], "number"),
    "dates": ([f"2024-{1 + k % 12:02}-{1 + k % 28:02}" for k in range(60)], "date"),
    "day first": ([f"{1 + k % 28}/{1 + k % 12}/2024" for k in range(60)], "date"),
    "months": ([f"2024-{1 + k % 12:02}" for k in range(60)], "date"),
    "times": ([f"{k % 24:02}:{k:02}" for k in range(60)], "time"),
    "durations": ([f"{k} days 02:00:00" for k in range(60)], "duration"),
    "booleans": (["yes", "no"] * 30, "boolean"),
}


@pytest.mark.parametrize(("cells", "kind"), KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("odd", ["soon", "12 monkeys", "-1-"])
def test_a_few_odd_cells_leave_a_column_what_it_is(cells: list[str], kind: str, odd: str) -> None:
    whole = kind_of_texts("x", texts(*cells))
    found = kind_of_texts("x", texts(odd, *cells[:30], None, odd, *cells[30:]))
    assert (whole.column.kind, whole.odd) == (kind, frozenset())
    assert (found.column.kind, found.odd) == (kind, {odd})
    assert found.column.date_format == whole.column.date_format
    assert found.column.unit == whole.column.unit


@pytest.mark.parametrize(("cells", "kind"), KINDS.values(), ids=KINDS.keys())
def test_of_many_odd_cells_it_is_a_category_and_says_so(cells: list[str], kind: str) -> None:
    found = kind_of_texts("x", texts(*cells, *["soon", "later"] * 5))
    assert found.column.kind in ("category", "text") and not found.odd
    assert str(found.column.reason).endswith(f"{kind}s but for 14% of its cells, such as 'soon'")


def test_cells_that_are_read_in_another_writing_are_not_odd() -> None:
    truths = kind_of_texts("x", texts(*["yes", "no"] * 20, "Y"))
    assert (truths.column.kind, truths.odd) == ("boolean", frozenset())
    dates = kind_of_texts("x", texts(*["13/02/2024"] * 20, "2024-02-14", "soon"))
    assert (dates.column.date_format, dates.odd) == ("%d/%m/%Y", {"soon"})


def test_words_with_a_few_numbers_among_them_are_words() -> None:
    found = kind_of_texts("x", texts(*["red", "blue"] * 20, "3"))
    assert (found.column.kind, found.column.reason) == ("category", None)


def test_digits_that_begin_with_0_make_codes_of_all() -> None:
    found = kind_of_texts("zip", texts(*["94301", "10001"] * 30, "01234"))
    assert found.column.kind == "category"
    assert found.column.reason == "digits such as '01234' begin with 0, as codes do"


def test_how_numbers_are_written_is_said() -> None:
    assert kind_of_texts("x", texts("3 %", "4 %", "5")).column.reason == (
        "in %, so are cells without a unit, such as '5'"
    )
    assert kind_of_texts("x", texts("3", "\u22124")).column.reason == "with signs of its own for minus"
    assert kind_of_texts("x", texts("3", "-4")).column.reason is None


def test_infinity_in_words_is_a_number_as_in_a_file() -> None:
    assert kind_of_texts("x", texts("1", "inf", "-Infinity")).column.kind == "number"


def test_signs_do_not_count() -> None:
    found = kind_of_texts("x", texts("1.5", "?", "-", "?", ".", "2.5"))
    assert (found.column.kind, found.odd) == ("number", frozenset())
    assert kind_of_texts("x", texts("+", "-")).column.kind == "category"


def test_signs_are_values_where_little_else_is_there() -> None:
    assert sign_marks(texts("+", "-", None), None) == set()
    assert sign_marks(texts("a", "b", "-"), None) == {"-"}
    assert sign_marks(texts("a", "b", "-"), ("a", "-")) == set()


def test_few_is_one_in_twenty_and_never_one_of_nine() -> None:
    assert [are_few(1, n) for n in (9, 10, 19)] == [False, True, True]
    assert [are_few(n, 1000) for n in (50, 51)] == [True, False]


def test_dates_of_which_day_and_month_may_change_places_are_said_to() -> None:
    in_doubt = infer_schema({"day": [f"{i % 12 + 1:02}/{i % 11 + 1:02}/2024" for i in range(60)]})["day"]
    assert in_doubt.date_format == "%m/%d/%Y" and "%d/%m/%Y fits as well" in str(in_doubt.reason)
    declared = infer_schema({"day": ["01/02/2024", "03/04/2024"]}, kinds={"day": "date"})["day"]
    assert "%d/%m/%Y fits as well" in str(declared.reason)
    for sure in (["01/31/2024", "02/01/2024"], ["31.12.2024", "1.2.2024"], ["01/01/2024", "02/02/2024"]):
        assert infer_schema({"day": sure})["day"].reason is None


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-05-01 08:00:00 UTC", "2024-05-02 09:30:00 UTC"],
        ["01.05.24", "02.05.24"],
        ["2024.05.01", "2024.05.02"],
        ["01-May-24", "02-May-24"],
        ["2024.05.01 08:00", "2024.05.02 09:30"],
    ],
)
def test_further_ways_to_write_a_date(texts: list[str]) -> None:
    table = read_table({"day": texts})
    column = infer_schema(table)["day"]
    days = as_dates(column, table["day"]).astype("datetime64[D]")
    assert column.kind == "date" and days.tolist() == [date(2024, 5, 1), date(2024, 5, 2)]
