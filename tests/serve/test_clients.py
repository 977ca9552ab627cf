"""Clients of the field get right answers from a server in a process of its own."""

import pytest

from multilayer import runtime
from tests.serve.asking import ROW
from tests.serve.running import serving

pytestmark = pytest.mark.slow


def test_the_client_of_triton_gets_the_predictions(flats_mlp):
    client = pytest.importorskip("tritonclient.http")
    check_triton(client, flats_mlp)


def check_triton(client, path):
    import numpy as np

    rows = [ROW, {**ROW, "size": 90.0, "zone": "hills"}]
    wanted = runtime.load(path).predict_columns(rows)
    with serving(path) as server:
        asking = client.InferenceServerClient(f"127.0.0.1:{server.port}")
        assert asking.is_server_live() and asking.is_server_ready() and asking.is_model_ready("flats")
        inputs = []
        for about in asking.get_model_metadata("flats")["inputs"]:
            name, datatype = about["name"], about["datatype"]
            dtype = {"FP64": np.float64, "BOOL": np.bool_}.get(datatype, np.object_)
            one = client.InferInput(name, [2], datatype)
            one.set_data_from_numpy(np.array([row[name] for row in rows], dtype), binary_data=name != "size")
            inputs.append(one)
        for outputs in (None, [client.InferRequestedOutput(name, binary_data=False) for name in wanted]):
            found = asking.infer("flats", inputs, outputs=outputs, request_id="7")
            assert found.get_response()["id"] == "7"
            for name, values in wanted.items():
                got = found.as_numpy(name)
                got = [cell.decode() if isinstance(cell, bytes) else cell for cell in got.tolist()]
                assert got == values.tolist()
        with pytest.raises(Exception, match="absent"):
            asking.infer("flats", inputs[1:])
        asking.close()


def test_mlflow_scores_the_server_by_its_own_client(flats_mlp):
    pandas = pytest.importorskip("pandas")
    scoring = pytest.importorskip("mlflow.pyfunc.scoring_server.client")
    frame = pandas.DataFrame([ROW, {**ROW, "size": 90.0}])
    with serving(flats_mlp) as server:
        client = scoring.ScoringServerClient("127.0.0.1", server.port)
        client.ping()
        found = client.invoke(frame).get_predictions()
    assert found.iloc[:, 0].tolist() == runtime.load(flats_mlp).predict(frame).tolist()
