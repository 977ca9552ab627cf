"""What MLflow's scoring server takes; and a model as a folder that MLflow loads."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from multilayer import runtime
from multilayer.errors import ConfigError, OutputError
from multilayer.serve import Application, save_mlflow
from tests.serve.asking import ROW, ask, predict
from tests.serve.conftest import flats


def invoke(app, body, **headers):
    return ask(app, "POST", "/invocations", body, **headers)


def bodies(rows):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {
        "dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]},
        "dataframe_records": rows,
        "instances": rows,
        "inputs": columns,
    }


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "instances", "inputs"])
def test_each_form_gives_the_labels(app, form):
    rows = [ROW, {**ROW, "size": None}]
    wanted = [each["prediction"] for each in predict(app, rows).json]
    assert invoke(app, {form: bodies(rows)[form]}).json == {"predictions": wanted}


def test_params_choose_what_is_predicted(app, rents_mlp):
    row = predict(app, ROW).json
    ask_for = {"instances": [ROW], "params": {"predict_method": "predict_proba"}}
    assert invoke(app, ask_for).json["predictions"] == [list(row.values())[:-1]]
    ask_for["params"]["predict_method"] = "predict_columns"
    assert invoke(app, ask_for).json["predictions"] == [row]
    for method in ("predict_proba", "predict_quantiles", "run"):
        ask_for["params"]["predict_method"] = method
        assert invoke(Application(rents_mlp), ask_for).status == 422


def test_frames_of_pandas_come_as_they_write_themselves(app, flats_mlp):
    frame = pd.DataFrame(flats(20)).drop(columns=["rent", "class"])
    wanted = runtime.load(flats_mlp).predict(frame).tolist()

    split = json.dumps({"dataframe_split": json.loads(frame.to_json(orient="split"))}).encode()
    assert invoke(app, split).json["predictions"] == wanted
    text = frame.to_csv(index=False).encode()
    assert invoke(app, text, content_type="text/csv").json["predictions"] == wanted


WRONG = {
    "nothing": {},
    "two forms": {"inputs": [ROW], "instances": [ROW]},
    "rows of unequal length": {"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}},
    "columns that are none": {"dataframe_split": {"columns": 3, "data": [[1]]}},
    "rows without names": {"instances": [[1, 2]]},
    "columns of unequal length": {"inputs": {"size": [1], "rooms": [1, 2]}},
    "columns that are none either": {"inputs": 3},
    "an absent column": {"dataframe_records": [{"size": 3}]},
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
def test_what_does_not_fit_is_refused_as_clients_expect_it(app, body):
    answered = invoke(app, body)
    assert answered.status == 422
    assert list(answered.json) == ["error_code", "message"]


def test_other_formats_are_refused(app):
    assert invoke(app, b"PAR1", content_type="application/vnd.apache.parquet").status == 415
    assert ask(app, "GET", "/ping").body == b"\n"
    assert ask(app, "GET", "/version").status == 200


@pytest.fixture(scope="module")
def saved(flats_mlp, tmp_path_factory):
    return save_mlflow(flats_mlp, tmp_path_factory.mktemp("mlflow") / "flats")


def test_mlflow_loads_the_folder_without_what_trains(saved, flats_mlp):
    pytest.importorskip("mlflow")
    frame = pd.DataFrame(flats(20)).drop(columns=["rent", "class"])
    frame.to_json("rows.json", orient="records")
    model = runtime.load(flats_mlp)
    code = f"""
import sys
import pandas as pd
from mlflow import pyfunc
model = pyfunc.load_model({str(saved)!r})
frame = pd.read_json("rows.json", orient="records", convert_dates=False)
print(list(model.predict(frame)))
print(model.predict(frame, params={{"predict_method": "predict_proba"}}).tolist())
print(list(model.predict(frame, params={{"predict_method": "predict_columns"}})))
training = ("torch", "numba", "multilayer.recipe", "multilayer.training.loop")
print([name for name in training if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    labels, probabilities, names, loaded = map(eval, done.stdout.splitlines())
    assert labels == model.predict(frame).tolist()
    assert np.array_equal(probabilities, model.predict_proba(frame))
    assert names == list(model.predict_columns(frame))
    assert loaded == []


def test_a_folder_that_holds_something_is_left_alone(saved, flats_mlp):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(OutputError, match="must be new or empty"):
        save_mlflow(flats_mlp, saved)
    assert before == {path.name: path.read_bytes() for path in saved.iterdir()}


def test_what_is_no_method_is_refused(flats_mlp):
    from multilayer.serve.mlflow_model import MlflowModel

    model = MlflowModel(runtime.load(flats_mlp))
    with pytest.raises(ConfigError, match="Did you mean 'predict_proba'"):
        model.predict([ROW], {"predict_method": "predict_prob"})
    with pytest.raises(ConfigError, match="a fitted `Model`"):
        save_mlflow(runtime.load(flats_mlp), "flats")
