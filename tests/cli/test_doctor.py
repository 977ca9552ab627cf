"""`multilayer doctor`: what it prints, and as JSON."""

import json
from pathlib import Path

from tests.cli.command_line import done, refused


def test_findings_of_a_table_are_printed() -> None:
    rows = [f"{k * 7 % 60},{3 * (k * 7 % 60)}" for k in range(60)]
    Path("t.csv").write_text("size,price\n" + "\n".join(rows) + "\n")

    text = done("doctor", "t.csv", "--target", "price", "--no-fits").stdout
    assert text.startswith("error: a column gives the target away [target-copy]")
    assert "drop=['size']" in text

    found = json.loads(done("doctor", "t.csv", "--target", "price", "--no-fits", "--json").stdout)
    assert [one["code"] for one in found["findings"]] == ["target-copy"]
    left = done("doctor", "t.csv", "--target", "price", "--no-fits", "--ignore", "target-copy").stdout
    assert left == "Nothing found.\n"


def test_a_target_that_is_not_there_is_refused() -> None:
    Path("t.csv").write_text("size,price\n1,2\n3,4\n")

    assert "pirce" in refused("doctor", "t.csv", "--target", "pirce", "--no-fits")
