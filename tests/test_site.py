"""The documentation site: it builds without a warning and without a network, and leaves nothing out."""

import ast
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import multilayer as ml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
GENERATOR = ("sphinx", "myst_parser", "pydata_sphinx_theme")


# What the pages hold


def fenced(directive: str) -> list[str]:
    """The lines of all fences of one directive in the reference."""
    pages = (page.read_text() for page in sorted((DOCS / "reference").glob("*.md")))
    fences = (re.findall(rf"^```\{{{directive}\}}\n(.*?)^```", page, re.M | re.S) for page in pages)
    return [line.strip() for fence in fences for part in fence for line in part.splitlines() if line.strip()]


def public_names() -> list[str]:
    """`fit`, `nn.TabM`: every name that the package, or a folder of it that says what is public, exports."""
    names = list(ml.__all__)
    for init in sorted(Path(ml.__file__).parent.glob("*/__init__.py")):
        exported = [
            node
            for node in ast.parse(init.read_text()).body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        ]
        folder = importlib.import_module(f"multilayer.{init.parent.name}") if exported else None
        for name in getattr(folder, "__all__", ()):
            if getattr(ml, name, None) is not getattr(folder, name) or init.parent.name == "nn":
                names.append(f"{init.parent.name}.{name}")
    return names


def test_reference_has_every_public_name_once() -> None:
    listed = fenced("api")
    assert len(listed) == len(set(listed))
    assert set(public_names()) <= set(listed)


def test_reference_has_no_public_name_that_is_gone() -> None:
    helpers = {name for name in fenced("api") if "." not in name and name not in ml.__all__}
    assert {"nn.mlp", "fit"} <= set(public_names())
    assert set(fenced("api")) - helpers <= set(public_names())
    for name in helpers:  # classes that public functions take or give
        assert any(f"class {name}" in path.read_text() for path in Path(ml.__file__).parent.rglob("*.py")), (
            name
        )


def commands() -> dict[str, Any]:
    import typer

    from multilayer.cli import app

    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_reference_has_every_command() -> None:
    assert sorted(fenced("command-line")) == sorted(commands())


def command_lines() -> Iterator[tuple[str, str]]:
    """Every line of a bash block that calls the program, and its page."""
    for page in [ROOT / "README.md", *PAGES]:
        for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.M | re.S):
            for line in block.splitlines():
                if called := re.search(r"\bmultilayer ((?!demo\b)[a-z].*)", line.split("  #")[0]):
                    yield str(page.relative_to(ROOT)), called[1]


def test_command_lines_use_commands_and_options_that_exist() -> None:
    known = commands()
    lines = list(command_lines())
    assert len(lines) > 15
    for page, line in lines:
        command = line.split()[0]
        assert command in known, f"{page}: {line}"
        options = {name for param in known[command].params for name in (*param.opts, *param.secondary_opts)}
        for option in re.findall(r"(?<=\s)--[a-z-]+", line):
            assert option in options, f"{page}: {line}"


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub and the site name them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+?)\s*$", text, re.M)
    plain = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} leads to no file"
        if anchor:
            assert anchor in anchors(file), f"{target} leads to no heading"


def test_index_of_decisions_has_each_decision_once() -> None:
    index = (DOCS / "project" / "decisions.md").read_text()
    linked = re.findall(r"\.\./decisions\.md#([^)]+)\)", index)
    assert len(linked) == len(set(linked))
    decisions = re.findall(r"^## (.+?)\s*$", (DOCS / "decisions.md").read_text(), re.M)
    missing = anchors(DOCS / "decisions.md") - {"decisions"} - set(linked)
    assert not missing, (
        f"docs/project/decisions.md lacks a line for {len(missing)} of {len(decisions)} decisions"
    )


def test_papers_that_the_code_cites_are_on_the_page_of_papers() -> None:
    page = (DOCS / "how-it-works" / "papers.md").read_text()
    cited = {
        number
        for path in Path(ml.__file__).parent.rglob("*.py")
        for number in re.findall(r"(?:arXiv:[\d.]*\d|doi:10\.[\w./-]*\w)", path.read_text())
    }
    assert len(cited) > 15
    assert {number for number in cited if number not in page} == set()


# Docstrings as reStructuredText


def extension(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / "_extensions" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCSTRING = """Give every number its own cosines, `mlp` after it.

e_f = W_f cos(2 pi x_f)            for each feature f
y = e_f + 1

Shape:   x: (batch, features) -> (batch, d)
Source:  Someone 2022,
         arXiv:1234.5678

Args:
    low: lowest frequency, of *all*,
        in turns.
    high, higher: the other `x`s.
    source: one of
        str or Path   .csv, .tsv;
                      a folder
        frame         pandas

Raises:
    ConfigError: low is not positive.

>>> f(1)
2
"""


def test_docstrings_become_sections_formulas_and_definitions() -> None:
    links = {"mlp": ":py:obj:`mlp <multilayer.mlp>`"}
    made = "\n".join(extension("docstrings").to_rest(DOCSTRING.splitlines(), links.get))
    for part in (
        "cosines, :py:obj:`mlp <multilayer.mlp>` after it.",
        "::\n\n    e_f = W_f cos(2 pi x_f)            for each feature f\n    y = e_f + 1\n",
        ":Shape: x: (batch, features) -> (batch, d)",
        ":Source: Someone 2022, arXiv:1234.5678",
        ":Arguments:\n    ``low``\n        lowest frequency, of \\*all\\*, in turns.",
        "    ``high``, ``higher``\n        the other ``x``\\ s.",
        "    ``source``\n        one of\n\n        str or Path\n            .csv, .tsv; a folder\n",
        "        frame\n            pandas",
        ":Raises:\n    ``ConfigError``",
        ">>> f(1)\n2\n",
    ):
        assert part in made, f"{part!r} is not in\n{made}"


def test_no_text_of_a_docstring_is_lost() -> None:
    """Of every public name: the words that come out are the words that went in."""
    to_rest = extension("docstrings").to_rest
    for name in ml.__all__:
        text = getattr(ml, name).__doc__ or ""
        made = "\n".join(to_rest([line.strip("\n") for line in text.splitlines()]))
        assert words(text) - words(made) - {"Args"} == set(), name


def words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]{3,}", text))


# The site itself


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [name for name in GENERATOR if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"the site is built by {', '.join(missing)}: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")  # so that a page which is written meanwhile is no matter
    for name in ("src", "CONTRIBUTING.md", "CHANGELOG.md"):
        (folder / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "--fail-on-warning",
            "--keep-going",
            "-q",
            "-b",
            "html",
            "docs",
            "site",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_site_builds_without_a_warning_and_has_every_page(site: Path) -> None:
    for page in PAGES:
        assert (site / page.relative_to(DOCS).with_suffix(".html")).exists()


def test_site_documents_every_public_name(site: Path) -> None:
    inventory = zlib.decompress((site / "objects.inv").read_bytes().split(b"zlib.\n", 1)[1]).decode()
    documented = {line.split()[0] for line in inventory.splitlines()}
    assert {f"multilayer.{name}" for name in public_names()} - documented == set()


def test_site_loads_nothing_from_the_net(site: Path) -> None:
    """Links lead elsewhere; scripts, styles, fonts and pictures are here."""
    names = "script|link|img|iframe|source|video|audio|object|embed"
    tags = rf"<(?:{names})\b[^>]*\b(?:src|href|data)=[\"'](?:https?:)?//"
    styles = r"(?:@import|url\()\s*[\"']?(?:https?:)?//"
    for path in site.rglob("*.html"):
        assert re.findall(tags, path.read_text()) == [], path
    for path in site.rglob("*.css"):
        assert re.findall(styles, path.read_text()) == [], path


def test_tables_and_pictures_can_be_scrolled_on_narrow_screens(site: Path) -> None:
    page = (site / "how-it-works" / "pack.html").read_text()
    assert page.count('class="picture" tabindex="0"') == 1
    assert re.search(r'<svg viewBox="0 0 \d+ \d+" role="img" aria-label="[^"]{40,}"', page)
    assert page.count("<table") == page.count("pst-scrollable-table-container")
