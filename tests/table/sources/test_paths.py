"""Names of files are checked before anything heavy is loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from multilayer import DataError, read_table
from multilayer.table.sources.paths import check_source

HEAVY = ("torch", "numpy", "duckdb", "sklearn", "numba", "narwhals")
MAIN = """
import json, sys
sys.argv = ["multilayer", *{words!r}]
from multilayer.cli import main
try:
    main()
except SystemExit as done:
    status = done.code
print(json.dumps([status, [name for name in {heavy!r} if name in sys.modules]]))
"""


def loaded_by(*words: str) -> tuple[int, list[str], str]:
    """Exit status of a command, what it loaded, and what it said."""
    code = MAIN.format(words=words, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    status, loaded = json.loads(done.stdout.splitlines()[-1])
    return status, loaded, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit", "hause.csv", "--target", "y"), "There is no file 'hause.csv'. Did you mean 'house.csv'?"),
        (("fit", "house.csv", "--target", "y", "--schema", "s.json"), "There is no file 's.json'."),
        (("predict", "m.mlp", "house.csv"), "There is no file 'm.mlp'."),
        (("predict", "house.csv", "hause.csv"), "There is no file 'hause.csv'."),
        (("evaluate", "m.mlp", "house.csv"), "There is no file 'm.mlp'."),
        (("inspect", "m.mlp"), "There is no file 'm.mlp'."),
        (("schema", "hause.csv"), "There is no file 'hause.csv'."),
        (("fit", "https://example.org/house.csv", "--target", "y"), "never from the network"),
    ],
)
def test_a_misspelt_name_is_answered_before_anything_is_loaded(words: tuple[str, ...], said: str) -> None:
    Path("house.csv").write_text("x,y\n1,2\n")
    status, loaded, stderr = loaded_by(*words)
    assert (status, loaded) == (2, [])
    assert stderr.startswith("error: ") and said in stderr


@pytest.mark.parametrize(
    "url", ["https://a.org/t.csv", "http://a.org", "s3://b/t.parquet", "file:///tmp/t.csv"]
)
def test_addresses_are_refused_in_words(url: str) -> None:
    for source in (url, [url, "t.csv"], Path(url)):
        with pytest.raises(DataError, match=r"never from the network; got .*Download it"):
            read_table(source)


def test_patterns_and_folders_are_looked_at_later() -> None:
    Path("parts").mkdir()
    check_source("parts")
    check_source("parts/*.csv")
    with pytest.raises(DataError, match=r"There is no file 'part'\. Did you mean 'parts'"):
        check_source("part")


@pytest.mark.parametrize("name", ["", " ", ["t.csv", ""], "a" * 300 + ".csv", "~nobody-of-this-name/t.csv"])
def test_what_cannot_be_a_name_is_refused(name: str | list[str]) -> None:
    with pytest.raises(DataError, match=r"needs the name of a file or a folder|cannot be read"):
        read_table(name)
