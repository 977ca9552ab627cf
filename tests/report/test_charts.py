"""Charts are well-formed SVG whose marks stand where the numbers say."""

import math
import xml.etree.ElementTree as ET

import pytest

from multilayer.report import charts


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(f"<div>{svg}</div>")


def test_a_line_goes_from_corner_to_corner() -> None:
    root = parsed(charts.line_chart("t", [charts.Line("a", [0, 1], [0, 1])], "x", "y"))
    points = next(root.iter("polyline")).attrib["points"].split()

    assert points[0] == f"{charts.LEFT:.1f},{charts.HEIGHT - charts.BOTTOM:.1f}"
    assert points[-1] == f"{charts.WIDTH - charts.RIGHT:.1f},{charts.TOP:.1f}"


def test_bars_are_as_long_as_their_numbers() -> None:
    rects = list(parsed(charts.bars("t", ["a", "b"], [1.0, 2.0])).iter("rect"))

    assert float(rects[1].attrib["width"]) == pytest.approx(2 * float(rects[0].attrib["width"]), rel=0.01)


def test_negative_bars_go_to_the_left() -> None:
    rects = list(parsed(charts.bars("t", ["a", "b"], [-1.0, 1.0])).iter("rect"))

    end_of_first = float(rects[0].attrib["x"]) + float(rects[0].attrib["width"])
    assert end_of_first == pytest.approx(float(rects[1].attrib["x"]), abs=0.2)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0], [math.nan, 1.0], [1e-300, 1e300], [0.0, 0.0]])
def test_odd_numbers_make_no_broken_chart(values: list[float]) -> None:
    x = list(range(len(values)))
    for drawn in (
        charts.line_chart("t", [charts.Line("a", x, values, dots=True)], "x", "y"),
        charts.points("t", values, values, "x", "y", diagonal=True),
        charts.spark(values or [0.0]),
    ):
        parsed(drawn)
        assert "nan" not in drawn and "inf" not in drawn


def test_names_are_escaped_and_read_by_screen_readers() -> None:
    drawn = charts.bars('<i>"t"</i>', ["<b>"], [1.0])

    assert parsed(drawn)[0].attrib["aria-label"] == '<i>"t"</i>'
    assert next(parsed(drawn).iter("title")).text == '<i>"t"</i>'
