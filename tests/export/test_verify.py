"""Exported files hold rows with their predictions, and are checked by them."""

import json

import numpy as np
import onnx
import pytest

import multilayer as ml
from multilayer.errors import ConfigError, ModelFileError
from multilayer.export.targets import TARGETS
from multilayer.export.verify import verify
from tests.cli.command_line import done, refused
from tests.export.every_kind import model_of


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    table = {
        "x": rng.normal(size=90),
        "years": rng.uniform(0.5, 2, 90),
        "n": rng.poisson(2.0, 90),
        "when": (np.datetime64("2024-01-01") + np.arange(90)).astype("M8[us]"),
    }
    return ml.fit(table, target="n", objective="poisson", exposure="years", members=1, epochs=1, hidden=4)


def props(path):
    return {each.key: each.value for each in onnx.load(path).metadata_props}


def changed(path, out, name, change):
    proto = onnx.load(path)
    texts = props(path)
    onnx.helper.set_model_props(proto, texts | {name: change(texts[name])})
    onnx.save(proto, out)
    return out


@pytest.mark.parametrize("inputs", ["columns", "packed"])
@pytest.mark.parametrize("int8", [False, True])
def test_an_onnx_file_predicts_its_own_rows(model, inputs, int8, tmp_path):
    path = model.export("onnx", tmp_path / "m.onnx", inputs=inputs, int8=int8).path
    found = verify(path)
    assert found.n_rows == 12
    assert found.output <= 1e-6


@pytest.mark.parametrize("task", ["several quantiles", "labels", "two classes"])
def test_every_output_is_compared(task, tmp_path):
    path = model_of(task).export("onnx", tmp_path / "m.onnx").path
    assert verify(path).n_rows == 12

    def other(text):
        rows = json.loads(text)
        rows["prediction"] = (np.array(rows["prediction"]) + 0.01).tolist()
        return json.dumps(rows)

    changed(path, tmp_path / "other.onnx", "verification", other)
    with pytest.raises(ModelFileError, match="predictions must be those that stand in"):
        verify(tmp_path / "other.onnx")


def test_rows_are_those_of_the_model_file(tmp_path):
    rows = {"x": np.linspace(0, 1, 40), "y": np.arange(40) % 2}
    ml.fit(rows, target="y", members=1, epochs=1, hidden=4).save(tmp_path / "m.mlp", verify_on=rows)
    again = ml.Model.load(tmp_path / "m.mlp")
    path = again.export("onnx", tmp_path / "m.onnx").path
    assert json.loads(props(path)["verification"])["inputs"]["x"] == rows["x"][:12].tolist()


def test_metadata_name_author_and_licence(model, tmp_path):
    path = model.export("onnx", tmp_path / "m.onnx", author="Ada", license="BSD-3-Clause").path
    assert props(path)["model_author"] == "Ada"
    assert props(path)["model_license"] == "BSD-3-Clause"
    assert "model_author" not in props(model.export("onnx", tmp_path / "m.onnx").path)
    with pytest.raises(ConfigError, match="author is a setting of onnx; got it for sql"):
        model.export("sql", tmp_path / "m.sql", author="Ada")


def test_what_holds_no_rows_is_refused(model, tmp_path):
    path = model.export("onnx", tmp_path / "m.onnx").path
    for text in ("{}", "[]", "no JSON"):
        changed(path, tmp_path / "other.onnx", "verification", lambda _, text=text: text)
        with pytest.raises(ModelFileError, match="must hold rows with their predictions"):
            verify(tmp_path / "other.onnx")
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:-2_000])
    with pytest.raises(ModelFileError):
        verify(tmp_path / "cut.onnx")


def test_on_the_command_line(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = model.export("onnx", tmp_path / "m.onnx").path
    assert "predicts as where it was exported; largest difference on 12 rows" in done("verify", path).stdout
    assert json.loads(done("verify", path, "--json").stdout)["n_rows"] == 12
    for target in TARGETS.values():
        if target.name != "onnx":
            (tmp_path / f"m{target.ending}").write_text("")
            assert target.checked_by in refused("verify", tmp_path / f"m{target.ending}")
