"""A report in Chromium: no error, no request, nothing wider than the screen, no serious fault found by axe.

Needs Debian's chromium, playwright's client, and axe-core (of npm, at $AXE_CORE or in node_modules), and is
skipped without.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import multilayer as ml

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = Path(os.environ.get("AXE_CORE", Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"))
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
WIDTHS = (1280, 390)
THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    table: dict[str, Any] = {f"column_{i}": random.normal(size=200) for i in range(4)}
    table["a rather long name of a column of words"] = random.choice(["one", "two", "three"], 200)
    table["y"] = np.where(table["column_0"] > 0, "yes", "no")
    model = ml.fit(table, target="y", members=8, epochs=2, hidden=4, baselines=True)
    path = tmp_path_factory.mktemp("page") / "report.html"
    model.report(path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(params=[(width, theme) for width in WIDTHS for theme in THEMES], ids=str)
def opened(request: Any, browser: Any, page_file: Path) -> Iterator[tuple[Any, list[str]]]:
    width, theme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, bypass_csp=True
    )
    page, faults = context.new_page(), []
    page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: faults.append(asked.url) if asked.url.startswith("http") else None)
    page.goto(page_file.as_uri())
    yield page, faults
    context.close()


def test_no_error_no_request_nothing_too_wide(opened: tuple[Any, list[str]]) -> None:
    page, faults = opened

    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert not faults and wider <= 0


def test_axe_finds_no_serious_fault(opened: tuple[Any, list[str]]) -> None:
    if not AXE.exists():
        pytest.skip("there is no axe-core")
    page, _ = opened
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run()")["violations"]

    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []


def test_tables_are_sorted_by_a_click_or_a_key(browser: Any, page_file: Path) -> None:
    page = browser.new_page()
    page.goto(page_file.as_uri())
    button = page.locator("#summary table.sortable th button").first
    button.focus()
    page.keyboard.press("Enter")
    falling = page.locator("#summary table.sortable tbody tr th").all_inner_texts()
    page.keyboard.press("Enter")
    rising = page.locator("#summary table.sortable tbody tr th").all_inner_texts()

    assert falling == rising[::-1] and len(rising) == 5
    page.close()


def test_the_theme_button_changes_the_ground(browser: Any, page_file: Path) -> None:
    page = browser.new_page(color_scheme="light")
    page.goto(page_file.as_uri())
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.locator("[data-theme-button]").click()

    assert page.evaluate(ground) != before
    page.close()
