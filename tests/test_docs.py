"""Every Python block of README.md and docs/ runs, in order, as a reader would type it.

The blocks of one file share their names, and run in an empty folder. A block that starts with >>> is a
doctest: its printed results are compared. A `text` block right below a Python block is what that one prints
(or an `output` block, whose long lines the site wraps): words are compared, numbers are not, as their last
digits differ among processors; `...` stands for anything.
To write what is printed now into the pages:

    UPDATE_DOCS=1 scripts/test -n 0 tests/test_docs.py

A block that cannot run here says why in a comment before it:

    <!-- no test: needs a GPU -->
"""

import contextlib
import doctest
import io
import os
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


PRINTED = re.compile(r"\n*```(?:text|output)\n(?P<text>.*?)^```[ \t]*$", re.M | re.S)
NUMBER = re.compile(r"[-+]?\d[\d,.]*(e[-+]?\d+)?")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


class Block(NamedTuple):
    code: str
    line: int  # of the file, where the code begins
    printed: str | None = None  # what the page shows below it
    span: tuple[int, int] = (0, 0)  # of that, in the file


def python_blocks(text: str) -> list[Block]:
    blocks = []
    for fence in FENCE.finditer(text):
        if fence["language"] in ("python", "py", "pycon") and not NO_TEST.search(text[: fence.start()]):
            code = re.sub(rf"^{fence['indent']}", "", fence["code"], flags=re.M)
            line = text.count("\n", 0, fence.start("code")) + 1
            below = None if fence["indent"] else PRINTED.match(text, fence.end())
            blocks.append(
                Block(code, line, below["text"], below.span("text")) if below else Block(code, line)
            )
    return blocks


def without_numbers(text: str) -> str:
    """Words alone; signs that frame tables vary with the width of the numbers."""
    return re.sub(r"[-─━=]{2,}", "--", NUMBER.sub("#", text))


def prints_as_shown(shown: str, printed: str) -> bool:
    return doctest.OutputChecker().check_output(without_numbers(shown), without_numbers(printed), FLAGS)


def run_page(text: str, file: str) -> str:
    """Run the blocks of a page, compare what they print; gives the page with what is printed now."""
    names: dict[str, Any] = {"__name__": "__main__"}
    now, end = "", 0
    for block in python_blocks(text):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            run_block(block, names, file)
        if block.printed is None:
            continue
        printed = "\n".join(map(str.rstrip, out.getvalue().splitlines())) + "\n"
        same = prints_as_shown(block.printed, printed)
        if not same and not os.environ.get("UPDATE_DOCS"):
            pytest.fail(
                f"{file}:{block.line}: the page shows\n\n{block.printed}\nand this was printed:\n\n{printed}",
                pytrace=False,
            )
        now += text[end : block.span[0]] + (block.printed if same else printed)
        end = block.span[1]
    return now + text[end:]


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
    runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
    report: list[str] = []
    runner.run(session, out=report.append, clear_globs=False)
    if runner.failures:
        pytest.fail(f"{file}:{block.line}: the session went another way\n\n{''.join(report)}", pytrace=False)


FILES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))] if path.exists()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_run(path: Path) -> None:
    text = path.read_text()
    now = run_page(text, str(path.relative_to(ROOT)))
    if now != text:
        path.write_text(now)


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

PRINTS = """
```python
print("error", 0.25)
print("odd", 2)
```

```output
error 0.26
odd ...
```
"""


def test_marked_and_foreign_blocks_are_left_out() -> None:
    assert python_blocks(EXAMPLE) == [Block("a = 1\n", 4), Block("b = a + 1\nraise ValueError(b)\n", 18)]


def test_a_failure_names_file_and_line() -> None:
    names: dict[str, Any] = {}
    first, second = python_blocks(EXAMPLE)
    run_block(first, names, "page.md")
    with pytest.raises(pytest.fail.Exception, match=r"page.md:19: ValueError: 2"):
        run_block(second, names, "page.md")


def test_what_a_page_shows_is_what_its_block_prints() -> None:
    assert run_page(PRINTS, "page.md") == PRINTS  # other digits and ... are no difference
    with pytest.raises(pytest.fail.Exception, match=r"page.md:3: the page shows"):
        run_page(PRINTS.replace("error 0.26", "loss 0.25"), "page.md")


def test_pages_can_be_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPDATE_DOCS", "1")
    assert run_page(PRINTS.replace("error 0.26\nodd ...", ""), "page.md") == PRINTS.replace(
        "0.26\nodd ...", "0.25\nodd 2"
    )


def test_a_session_with_another_result_fails() -> None:
    run_block(Block(">>> x\n2\n", 7), {"x": 2}, "page.md")
    with pytest.raises(pytest.fail.Exception, match=r"page.md:7"):
        run_block(Block(">>> x\n3\n", 7), {"x": 2}, "page.md")
