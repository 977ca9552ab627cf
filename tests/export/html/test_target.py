"""Pages say what the library says, in Node.js and in a browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import multilayer as ml
from multilayer.export.drawn import drawn_table
from multilayer.export.exported import UNRUN
from multilayer.export.html.document import document
from multilayer.export.html.panel import panel_html
from multilayer.runtime import network_steps
from multilayer.runtime.network_steps import NetworkStep
from multilayer.table.steps import Step
from multilayer.tasks.link_steps import LinkStep
from tests.export.every_kind import TASKS, model_of

NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium")
HERE = Path(network_steps.__file__).parents[1] / "export" / "html"
needs_node = pytest.mark.skipif(NODE is None, reason="there is no Node.js")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@needs_node
@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_column_and_target(task, tmp_path):
    done = model_of(task).export("html", tmp_path / "m.html")
    assert done.parity.n_rows == 2_000  # texts of all letters, too
    assert done.parity.encoder <= 2.0**-23
    assert done.parity.output <= 1e-6


@needs_node
@pytest.mark.parametrize("network", ["realmlp", "resnet", "tabm"])
def test_every_architecture(network, tmp_path):
    done = model_of("several classes", network).export("html", tmp_path / "m.html")
    assert done.parity.output <= 1e-6


@needs_node
def test_every_step_is_there():
    command = f"const r = require({json.dumps(str(HERE / 'reader.js'))}); console.log(JSON.stringify("
    command += "[r.STEPS, r.NETWORK, r.LINK, r.ACTIVATIONS].map((each) => Object.keys(each))))"
    found = subprocess.run([NODE, "-e", command], capture_output=True, text=True, check=True).stdout
    steps, network, link, activations = map(set, json.loads(found))
    assert steps - {"AsWritten"} == _names(Step)
    assert network == _names(NetworkStep)
    assert link == _names(LinkStep)
    assert activations == network_steps.ACTIVATIONS.keys()


def _names(kind):
    return {each.__name__ for each in kind.__subclasses__() if each.__module__ == kind.__module__}


def small():
    rng = np.random.default_rng(0)
    table = {
        "</script><script>alert(1)</script>": rng.normal(size=200),
        "zone": rng.choice(["<b>", "</script>", '"&'], 200).astype(object),
        "day": np.datetime64("2020-01-01", "us") + rng.integers(0, 10**9, 200) * 1_000_000,
    }
    label = np.where(table["zone"] == "<b>", "<i>yes", "no")
    return ml.fit(table | {"y": label}, target="y", members=2, epochs=2, hidden=4, seed=0)


def test_without_node_it_is_said_that_nothing_was_compared(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = small().export("html", tmp_path / "m.html")
    assert done.parity is None
    assert UNRUN in str(done)
    assert json.dumps(done.to_json())


def test_a_page_needs_no_network_and_shows_no_marks_of_a_model(tmp_path):
    page = small().export("html", tmp_path / "m.html").path.read_text()
    assert "default-src 'none'" in page
    assert re.findall(r"(?:src|href)=\"(?!data:)[^\"]*\"|https?://(?!www\.w3\.org)", page) == []
    assert "alert(1)</script>" not in page
    assert page.count("<script") == page.count("</script>") == 6


def test_arrays_that_are_equal_stand_there_once():
    about, letters, _ = document(small())
    assert set(about["pools"]) <= {"f4", "f8", "i8", "u4"}
    assert not set(letters) & set("<>&\"'\\/")


@needs_browser
@pytest.mark.parametrize("width", [1200, 390])
def test_the_form_predicts_in_a_browser(width, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    model = small()
    path = model.export("html", tmp_path / "m.html").path
    said = []
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 844})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector('.ml-panel[data-state="ready"]', timeout=120_000)
        assert float(page.get_attribute(".ml-panel", "data-difference")) <= 1e-6
        page.get_by_label("</script><script>alert(1)</script>", exact=True).fill("0.5")
        page.get_by_label("zone", exact=True).select_option(label="<b>")
        page.get_by_label("day", exact=True).fill("2024-05-01T10:00")
        shown = page.inner_text(".ml-values dl")
        page.locator(".ml-column", has_text="day").get_by_role("checkbox").check()
        without = page.inner_text(".ml-values dl")
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        assert page.locator(".ml-column svg path.ml-curve").count() >= 1
        browser.close()
    assert said == []
    row = {
        "</script><script>alert(1)</script>": [0.5],
        "zone": ["<b>"],
        "day": np.array(["2024-05-01T10:00"], "datetime64[us]"),
    }
    for text, day in ((shown, row["day"]), (without, np.array(["NaT"], "datetime64[us]"))):
        wanted = model.predict_proba(row | {"day": day})[0]
        found = [float(each) for each in re.findall(r"([\d.]+) %", text)]
        assert found == pytest.approx(100 * wanted, abs=0.051)


def test_a_panel_for_another_page():
    model = small()
    panel = panel_html(model, drawn_table(model.encoder, None, 20, 0))
    assert panel.startswith('<section class="ml-panel"')
    assert "<html" not in panel
