"""The table is found behind what stands before it, and nothing of it is taken for a title."""

import pytest

from multilayer.table.sources.header import find_header

FOUND: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "plain": ("x,y\n1,2\n", 0, ("x", "y")),
    "blank lines": ("\n \nx,y\n1,2\n", 2, ("x", "y")),
    "a separator": ("sep=;\nx;y\n1;2\n", 1, ("x", "y")),
    "a quoted separator": ('"SEP=|"\r\nx|y\r\n1|2\r\n', 1, ("x", "y")),
    "comments": ("# exported\n#by me today\nx,y\n1,2\n", 2, ("x", "y")),
    "a comment as wide as the table": ("# a, b\nx,y\n1,2\n", 1, ("x", "y")),
    "a header with a number sign": ("#x\ty\n1\t2\n", 0, ("#x", "y")),
    "a title": ("Sales of 2024\nx,y\n1,2\n", 1, ("x", "y")),
    "a title among empty fields": ("Sales,,\nx,y,z\n1,2,3\n", 1, ("x", "y", "z")),
    "titles and blank lines": ("Sales of 2024\n\nby region and day\n\nx;y\n1;2\n", 4, ("x", "y")),
    "carriage returns alone": ("Sales of 2024\rx,y\r1,2\r", 1, ("x", "y")),
    "one column": ("total sales\n1\n2\n", 0, ("total sales",)),
    "one column with commas in its text": ("name\nDoe, John\nRoe, Jane\n", 0, ("name",)),
    "an empty first name": (",y\n0,5\n", 0, ("", "y")),
    "names over two lines": ('"a b\nc",d\n1,2\n', 0, ("a b\nc", "d")),
    "lines of several widths": ("Sales of 2024\nx,y\n1,2,3\n", 0, ("Sales of 2024",)),
    "a header alone": ("x,y\n", 0, ("x", "y")),
    "a comment alone": ("# x\n", 0, ("# x",)),
    "a letter of another alphabet": ("x\u2028y,z\n1,2\n", 0, ("x\u2028y", "z")),
}


@pytest.mark.parametrize(("text", "n_skipped", "fields"), FOUND.values(), ids=FOUND.keys())
def test_the_table_is_found(text: str, n_skipped: int, fields: tuple[str, ...]) -> None:
    header = find_header(text, ",;\t|", has_names=True)
    assert (header.n_skipped, header.fields) == (n_skipped, fields)
    said = [line for line in text.splitlines()[:n_skipped] if line.strip() and "sep=" not in line.lower()]
    assert bool(header.remarks) == bool(said)


def test_what_was_left_out_is_said() -> None:
    header = find_header("# a\n# b\n# c\n# d\nx,y\n1,2\n", ",;", has_names=True)
    assert header.remarks == ("before the header, left out: '# a', '# b', '# c' and 1 more lines",)


@pytest.mark.parametrize(
    ("text", "is_odd"), [("5.1,3.5,a\n", True), ("2019,2020\n", False), ("a,b,1.5\n", False), ("1.5\n", True)]
)
def test_names_that_are_numbers_are_said_to_be_odd(text: str, is_odd: bool) -> None:
    assert bool(find_header(text, ",", has_names=True).remarks) == is_odd
    assert not find_header(text, ",", has_names=False).remarks


def test_quotes_may_follow_a_blank_behind_the_separator() -> None:
    header = find_header('"a", "b, c", "y"\n"1", "2", "3"\n', ",;", has_names=True)
    assert header.fields == ("a", "b, c", "y")
