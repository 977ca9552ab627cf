"""HTML: one page that predicts in a browser, offline, with a form for what-if questions."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from multilayer.errors import OutputError
from multilayer.export.html.panel import page_html, plain_values
from multilayer.export.parity import Run, Said
from multilayer.export.target import Artefact, Settings, Target
from multilayer.export.typed import Input, Values, inputs_of
from multilayer.model.model import Model
from multilayer.table.sources.read import Table

ONE_ROUNDING = 2.0**-23  # of a sine or logarithm that the browser rounds otherwise than NumPy, in float32


def asking(page: str, inputs: Sequence[Input], shape: tuple[int, ...]) -> Run | None:
    """What asks the page's JavaScript about rows, in Node.js; None where there is none.

    shape: of a row's prediction
    """
    node = shutil.which("node")
    if node is None:
        return None

    def run(values: Values) -> Said:
        with TemporaryDirectory() as folder, as_file(files("multilayer.export.html")) as here:
            place = Path(folder) / "page.html"
            place.write_text(page, "utf-8")
            done = subprocess.run(
                [node, here / "ask.js", here / "reader.js", place],
                input=json.dumps({"columns": plain_values(inputs, values)}),
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise OutputError(
                f"the page must run in Node.js; it says: {done.stderr.strip()[-500:]}. Nothing was written. "
                "Please report this, or take Node.js off the path: the page then checks itself when opened."
            )
        answers = json.loads(done.stdout)
        encoded = np.array([each["encoded"] for each in answers], np.float32)
        prediction = np.array([each["prediction"] for each in answers], np.float64)
        return Said(encoded, prediction.reshape(len(answers), *shape))

    return run


def make(model: Model, settings: Settings, kept: Table) -> Artefact:
    """The page of a model."""
    page = page_html(model, kept)
    inputs = inputs_of(model.encoder, model.exposure)
    shape = model.task.link(np.zeros((1, model.task.n_outputs), np.float32)).shape[1:]
    return Artefact(
        page.encode(),
        inputs,
        asking(page, inputs, shape),
        most_encoder=ONE_ROUNDING,
        notes=("open it in a browser; it checks itself on 12 rows, and needs no network",),
    )


HTML = Target(
    name="html",
    ending=".html",
    what="one page with a form that predicts in a browser, offline",
    takes=frozenset(),
    make=make,
    checked_by="Open it in a browser: "
    "it predicts its own rows when opened, and says below the answer what it found.",
)
