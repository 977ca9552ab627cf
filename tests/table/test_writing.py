"""Numbers with units, separators and signs of their own are read; codes and ordinals are not."""

import numpy as np
import pytest

from multilayer.table.schema import infer_schema
from multilayer.table.writing import Writing, find_writing, have_points_of_thousands

WAYS: dict[str, tuple[list[str], Writing, list[float]]] = {
    "per cent": (["3 %", "4.5%", "-1 %"], Writing("%"), [3, 4.5, -1]),
    "currency before": (["$3", "$1,250.50", "-$2"], Writing("$", ","), [3, 1250.5, -2]),
    "currency behind": (["3,50 €", "1.234,00 €"], Writing("€", ".", ","), [3.5, 1234]),
    "currency of letters": (["USD 3", "4 USD"], Writing("USD"), [3, 4]),
    "kilograms": (["3 kg", "4kg", "5"], Writing("kg"), [3, 4, 5]),
    "two words": (["3 sq ft", "12 sq ft"], Writing("sq ft"), [3, 12]),
    "square metres": (["42 m2", "1,250 m2"], Writing("m2", ","), [42, 1250]),
    "a density": (["7.9 kg/m3", "2.7 kg/m3"], Writing("kg/m3"), [7.9, 2.7]),
    "an acceleration": (["9.81 m/s2", "-1 m/s2"], Writing("m/s2"), [9.81, -1]),
    "degrees": (["20 °C", "-3 °C"], Writing("°C"), [20, -3]),
    "months as a duration": (["36 months", "60 months"], Writing("months"), [36, 60]),
    "thousands": (["1,234", "12", "1,234,567"], Writing("", ","), [1234, 12, 1234567]),
    "thousands by points": (["1.234.567", "1.234"], Writing("", ".", ","), [1234567, 1234]),
    "thousands by spaces": (["1 234", "1\u00a0234\u202f567"], Writing("", " "), [1234, 1234567]),
    "thousands by apostrophes": (["5'000", "12.5"], Writing("", "'"), [5000, 12.5]),
    "decimal commas": (["2,5", "0,125"], Writing("", "", ","), [2.5, 0.125]),
    "a real minus": (["\u22123", "4"], Writing(), [-3, 4]),
    "accounting": (["(3)", "4", "(1.5)"], Writing(), [-3, 4, -1.5]),
}


@pytest.mark.parametrize(("texts", "writing", "numbers"), WAYS.values(), ids=WAYS.keys())
def test_a_way_of_writing_is_found_and_read(texts: list[str], writing: Writing, numbers: list[float]) -> None:
    assert find_writing(texts) == writing
    assert [writing.read(text) for text in texts][: len(numbers)] == numbers


@pytest.mark.parametrize(
    "texts",
    [
        ["A1", "A2", "A3"],
        ["12A", "13A"],
        ["12A2", "13A2"],
        ["4 B2", "5 B2"],
        ["5th", "6th"],
        ["12 May", "13 May"],
        ["3 kg", "4 lb"],
        ["10:30", "11:45"],
        ["2-3", "4-5"],
        ["010", "020"],
        ["1.2.3", "4.5.6"],
        ["red", "blue"],
        ["$3 %", "$4 %"],
        ["(3", "4)"],
    ],
)
def test_codes_ranges_and_units_that_differ_are_no_numbers(texts: list[str]) -> None:
    assert find_writing(texts) is None


def test_another_unit_or_another_decimal_sign_is_not_read() -> None:
    assert Writing("kg").read("3 g") is None
    assert Writing("", "", ",").read("2.5") is None
    assert Writing("", ",").read("1,23") is None
    assert Writing("", ",").read("0,123") is None


def test_it_says_how_numbers_are_written() -> None:
    assert Writing("kg", ",").in_words == "in kg, thousands are separated by ','"
    assert Writing("", ".", ",").in_words == "thousands are separated by '.', the decimal sign is ','"
    assert Writing().in_words == ""


def test_points_before_three_digits_separate_thousands_where_they_can_mean_nothing_else() -> None:
    assert find_writing(["900", "1.100", "12.350"]) == Writing("", ".", ",")
    assert find_writing(["950 €", "1.200 €"]) == Writing("€", ".", ",")
    assert find_writing(["1.234,5", "12,5"]) == Writing("", ".", ",")
    assert Writing("", ".", ",").read("1.100") == 1100


@pytest.mark.parametrize(
    "texts",
    [
        ["1.100", "2.350"],  # three decimals throughout
        ["2", "1.125", "3.375"],  # eighths
        ["0.900", "1.100", "2"],
        ["1200", "1.100"],
        ["1.10", "900"],
    ],
)
def test_other_points_are_decimal_signs(texts: list[str]) -> None:
    assert not have_points_of_thousands(texts)
    values = np.array([*texts] * 10, dtype=object)
    assert infer_schema({"n": values})["n"].thousands == ""


def test_a_number_without_its_multiple_is_another_number() -> None:
    assert find_writing(["3k", "4k"]) == Writing("k") and find_writing(["3", "4k", "5k"]) is None
    assert Writing("k").read("3k") == 3 and Writing("k").read("3") is None
    assert Writing("kg").read("3") == 3


def test_a_column_left_out_says_what_its_numbers_lack() -> None:
    reason = infer_schema(
        {"x": [0.0, 1.0] * 30, "n": [f"{i}k" if i % 3 == 0 else str(i) for i in range(60)]}
    ).ignored["n"]
    assert reason.startswith("an identifier") and "numbers but for 33% of its cells, such as '0k'" in reason
