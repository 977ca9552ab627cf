"""Scripts of one's own: they run alone, predict what the library predicts, and train what it trained."""

import ast
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import multilayer as ml
from multilayer.errors import ConfigError
from multilayer.export.script import program
from multilayer.nn.blocks import ACTIVATIONS
from multilayer.table.steps import Step, Take, Vectors
from multilayer.tasks.link_steps import LinkStep
from tests.export.every_kind import model_of

N = 240


def table(kind):
    rng = np.random.default_rng(0)
    found = pd.DataFrame(
        {
            "x": rng.normal(size=N).round(3),
            "z": rng.normal(size=N).round(3),
            "when": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 20_000, N), unit="h"),
            "zone": rng.choice(["port", "hills", "3.0", "old, town"], N),
            "new": rng.choice([True, False], N),
            "at": [
                f"{h:02}:{m:02}" for h, m in zip(rng.integers(0, 24, N), rng.integers(0, 60, N), strict=True)
            ],
        }
    )
    found.loc[rng.random(N) < 0.1, ["x", "zone"]] = np.nan
    y = found["x"].fillna(0) * 2 + found["z"] ** 2 + (found["zone"] == "port")
    numbers = {"y": y.round(3)}
    targets = {
        "number": numbers,
        "quantiles": numbers,
        "two": {"y": np.where(y > 1, "yes", "no")},
        "several": {"y": np.array(["p", "q", "r"])[np.digitize(y, [0, 1.5])]},
        "numbers": numbers | {"w": (y + found["z"]).round(3)},
        "labels": {"y": (y > 1).astype(int), "w": (found["z"] > 0).astype(int)},
        "mlp": numbers,
    }
    return found.assign(**targets[kind]), list(targets[kind])


OPTIONS = {
    "quantiles": {"quantiles": (0.1, 0.9)},
    "labels": {"task": "multilabel"},
    "mlp": {"network": "mlp", "members": 1},
}


def run(*words):
    done = subprocess.run(
        [sys.executable, "-I", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["number", "quantiles", "two", "several", "numbers", "labels", "mlp"])
def test_a_script_predicts_and_trains_what_the_library_did(kind, tmp_path):
    frame, targets = table(kind)
    path = tmp_path / "rows.csv"
    frame.to_csv(path, index=False)
    options = {"members": 3, "epochs": 2, "hidden": 8} | OPTIONS.get(kind, {})
    model = ml.fit(path, target=targets if len(targets) > 1 else "y", seed=1, **options)
    done = model.export("script", tmp_path / "own.py", rows=path, train_on=path)
    assert done.on_rows.encoder == 0
    assert done.on_rows.output <= max(1e-6, 4 * done.on_rows.rounding)
    assert any("trained anew" in note for note in done.notes)

    said = pd.read_csv(io.StringIO(run(done.path, "predict", path)))
    want = model.predict_columns(path)
    for name, values in said.items():
        assert np.allclose(values, want[name], rtol=1e-4, atol=1e-4)

    run(done.path, "train", path, tmp_path / "anew.npz")
    with np.load(tmp_path / "anew.npz", allow_pickle=False) as weights:
        for i, net in enumerate(model.networks):
            for name, value in net.state_dict().items():
                own = weights[f"network.{i}.{name}"].reshape(value.shape)
                assert np.allclose(own, value.numpy(), rtol=1e-2, atol=1e-3), (i, name)


def test_a_script_has_every_activation():
    assert program.ACTIVATIONS.keys() == ACTIVATIONS.keys()


def test_a_script_imports_torch_and_numpy_alone(tmp_path):
    frame, _ = table("number")
    model = ml.fit(frame, target="y", members=2, epochs=1, hidden=4)
    source = model.export("script", tmp_path / "own.py").path.read_text()
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    assert found - set(sys.stdlib_module_names) == {"numpy", "torch"}


def test_what_is_not_covered_is_refused(tmp_path):
    frame, _ = table("number")
    model = ml.fit(frame, target="y", members=2, epochs=1, hidden=4)
    with pytest.raises(ConfigError, match="trains on the table that the model was fitted on"):
        model.export("script", tmp_path / "own.py", train_on=frame.head(100))
    with pytest.raises(ConfigError, match=r"column '[a-z]+' is (duration|text)"):
        model_of("regression").export("script", tmp_path / "own.py")
    with pytest.raises(ConfigError, match="train_on is a setting of script"):
        model.export("onnx", tmp_path / "m.onnx", train_on=frame)
    steep = ml.fit(frame, target="y", members=2, epochs=1, hidden=4, monotone={"x": "increasing"})
    with pytest.raises(ConfigError, match="monotone columns"):
        steep.export("script", tmp_path / "own.py")
    assert not Path(tmp_path, "own.py").exists()


def test_every_step_is_there():
    own = {step for step in Step.__subclasses__() if step.__module__ == Step.__module__}
    assert {step.__name__ for step in own - {Vectors, Take}} == program.STEPS.keys()
    links = {each.__name__ for each in LinkStep.__subclasses__() if each.__module__ == LinkStep.__module__}
    assert links == program.LINK.keys()
