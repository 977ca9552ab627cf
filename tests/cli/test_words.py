"""Words of options that are not as they should be; those that are stand in the examples of the file."""

from tests.cli.command_line import refused


def test_kind_without_its_column() -> None:
    assert "--monotone takes COL=DIRECTION" in refused("fit", "t.csv", "--target", "y", "--monotone", "size")
    assert "--kind takes COL=KIND" in refused("fit", "t.csv", "--target", "y", "--kind", "category")


def test_words_without_their_parts_say_what_to_write() -> None:
    fit = ("fit", "t.csv", "--target", "y")
    assert "Write for example --quantiles 0.1,0.5,0.9" in refused(*fit, "--quantiles", "few")
    assert "--class-weight takes balanced, or LABEL=WEIGHT" in refused(*fit, "--class-weight", "yes=much")
    assert "--missing takes marks for all columns, or COL=MARK" in refused(*fit, "--missing", "?,age=-1")
