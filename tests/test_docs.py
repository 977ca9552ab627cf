"""Every Python block of README.md and docs/*.md runs, in order, as a reader would type it.

The blocks of one file share their names, and run in an empty folder. A block that starts with >>> is a
doctest: its printed results are compared. A block that cannot run here says why in a comment before it:

    <!-- no test: needs a GPU -->
"""

import doctest
import re
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\S*).*?\n(?P<code>.*?)^(?P=indent)```[ \t]*$", re.M | re.S
)
NO_TEST = re.compile(r"<!--\s*no test: \S.*?-->\s*\Z", re.S)


class Block(NamedTuple):
    code: str
    line: int  # of the file, where the code begins


def python_blocks(text: str) -> list[Block]:
    blocks = []
    for fence in FENCE.finditer(text):
        if fence["language"] in ("python", "py", "pycon") and not NO_TEST.search(text[: fence.start()]):
            code = re.sub(rf"^{fence['indent']}", "", fence["code"], flags=re.M)
            blocks.append(Block(code, text.count("\n", 0, fence.start("code")) + 1))
    return blocks


def run_block(block: Block, names: dict[str, Any], file: str) -> None:
    """Run a block with the names so far; a failure says the file and the line."""
    if block.code.lstrip().startswith(">>>"):
        run_session(block, names, file)
        return
    shifted = "\n" * (block.line - 1) + block.code  # so that a traceback tells the line of the file
    try:
        exec(compile(shifted, file, "exec"), names)
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever the block does
        calls = traceback.extract_tb(error.__traceback__)
        lines = [call.lineno for call in calls if call.filename == file]
        line = lines[-1] if lines else getattr(error, "lineno", block.line)
        details = traceback.format_exc()
        pytest.fail(f"{file}:{line}: {type(error).__name__}: {error}\n\n{details}", pytrace=False)


def run_session(block: Block, names: dict[str, Any], file: str) -> None:
    session = doctest.DocTestParser().get_doctest(block.code, {}, file, file, block.line - 1)
    session.globs = names
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report: list[str] = []
    runner.run(session, out=report.append, clear_globs=False)
    if runner.failures:
        pytest.fail(f"{file}:{block.line}: the session went another way\n\n{''.join(report)}", pytrace=False)


FILES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))] if path.exists()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_run(path: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in python_blocks(path.read_text()):
        run_block(block, names, str(path.relative_to(ROOT)))


def test_readme_opens_with_the_two_commands() -> None:
    opening = (ROOT / "README.md").read_text()[:1500]
    assert "make demo" in opening
    assert "make test" in opening


EXAMPLE = """# Title

```python
a = 1
```

<!-- no test: needs a cluster -->
```python
a = 2
```

```bash
a = 3
```

- item
  ```python
  b = a + 1
  raise ValueError(b)
  ```
"""


def test_marked_and_foreign_blocks_are_left_out() -> None:
    assert python_blocks(EXAMPLE) == [("a = 1\n", 4), ("b = a + 1\nraise ValueError(b)\n", 18)]


def test_a_failure_names_file_and_line() -> None:
    names: dict[str, Any] = {}
    first, second = python_blocks(EXAMPLE)
    run_block(first, names, "page.md")
    with pytest.raises(pytest.fail.Exception, match=r"page.md:19: ValueError: 2"):
        run_block(second, names, "page.md")


def test_a_session_with_another_result_fails() -> None:
    run_block(Block(">>> x\n2\n", 7), {"x": 2}, "page.md")
    with pytest.raises(pytest.fail.Exception, match=r"page.md:7"):
        run_block(Block(">>> x\n3\n", 7), {"x": 2}, "page.md")
