"""ONNX Runtime Web, in Node.js, encodes rows to the library's bits and predicts the same."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from multilayer.export.drawn import drawn_table
from multilayer.export.feeds import feeds
from multilayer.export.parity import said_by_model
from tests.export.every_kind import model_of

VERSION = "1.30.0"
TYPES = {"f": "float64", "i": "int64", "O": "string"}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("needs Node.js")
    folder = tmp_path_factory.mktemp("web")
    (folder / "package.json").write_text("{}")
    words = ["npm", "install", "--no-audit", "--no-fund", f"onnxruntime-web@{VERSION}"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return folder


def as_json(feed):
    return {
        name: {
            "type": TYPES[values.dtype.kind],
            "dims": values.shape,
            "data": [
                None if v != v else str(v) if values.dtype.kind == "i" else v for v in values.ravel().tolist()
            ],
        }
        for name, values in feed.items()
    }


def test_the_web_says_what_the_library_says(package, tmp_path):
    model = model_of("two classes")
    done = model.export("onnx", tmp_path / "m.onnx")
    table = drawn_table(model.encoder, None, 60, seed=5)
    proto = onnx.load(done.path)
    inside = next(n.output[0] for n in proto.graph.node if n.output[0].startswith("/encoder/Concat"))
    encoded = [n.output[0] for n in proto.graph.node if n.output[0].startswith("/encoder/Concat")][-1]
    assert inside
    proto.graph.output.append(helper.make_tensor_value_info(encoded, TensorProto.FLOAT, None))
    onnx.save(proto, tmp_path / "insides.onnx")
    (tmp_path / "values.json").write_text(json.dumps(as_json(feeds(done.path, table))))
    run = Path(__file__).parent / "web" / "run.mjs"
    words = ["node", run, package, tmp_path / "insides.onnx", tmp_path / "values.json"]
    ran = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    want = said_by_model(model, table)
    probabilities = np.array(said["probabilities"], float).reshape(60, 2)
    known = ~np.isnan(probabilities).any(axis=1)
    assert known.sum() > 50
    x = np.array(said[encoded], np.float32).reshape(60, -1)
    assert np.array_equal(x[known], want.encoded[known])
    assert np.allclose(probabilities[known], want.prediction[known], rtol=0, atol=1e-6)
    assert [label for label, each in zip(said["label"], known, strict=True) if each] == model.predict(table)[
        known
    ].tolist()
