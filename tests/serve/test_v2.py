"""The Open Inference Protocol, its binary tensors too."""

import json
import struct

import pytest

from tests.serve.asking import ROW, ask, predict

TYPES = {"size": "FP64", "rooms": "INT64", "garden": "BOOL"}


def inputs(rows, columns=False):
    found = []
    for name in rows[0]:
        cells = [row[name] for row in rows]
        shape = [len(rows), 1] if columns else [len(rows)]
        data = [[cell] for cell in cells] if columns else cells
        found.append({"name": name, "shape": shape, "datatype": TYPES.get(name, "BYTES"), "data": data})
    return found


def infer(app, body, **headers):
    return ask(app, "POST", "/v2/models/flats/infer", body, **headers)


def outputs(answered):
    return {each["name"]: each["data"] for each in answered.json["outputs"]}


def test_each_column_is_an_input_and_each_prediction_an_output(app):
    rows = [ROW, {**ROW, "size": None, "zone": "moon"}]
    wanted = predict(app, rows).json

    for body in (inputs(rows), inputs(rows, columns=True)):
        answered = infer(app, {"id": "seven", "inputs": body})
        found = outputs(answered)
        assert answered.json["id"] == "seven"
        assert answered.json["model_version"] == app.model.version
        assert [dict(zip(found, cells, strict=True)) for cells in zip(*found.values(), strict=True)] == wanted


def test_only_the_outputs_that_are_asked_for_are_answered(app):
    body = {"inputs": inputs([ROW]), "outputs": [{"name": "prediction"}]}
    assert list(outputs(infer(app, body))) == ["prediction"]
    assert "prediction" in infer(app, {**body, "outputs": [{"name": "class"}]}).json["error"]


def binary(rows):
    described, data = [], b""
    for each in inputs(rows):
        cells = each.pop("data")
        if each["datatype"] == "BYTES":
            part = b"".join(struct.pack("<I", len(cell.encode())) + cell.encode() for cell in cells)
        else:
            code = {"FP64": "d", "INT64": "q", "BOOL": "?"}[each["datatype"]]
            part = struct.pack(f"<{len(cells)}{code}", *cells)
        described.append({**each, "parameters": {"binary_data_size": len(part)}})
        data += part
    return described, data


def test_tensors_may_be_binary(app):
    described, data = binary([ROW, ROW])
    text = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    wanted = outputs(infer(app, {"inputs": inputs([ROW, ROW])}))

    answered = infer(app, text + data, inference_header_content_length=str(len(text)))

    length = int(answered.headers["inference-header-content-length"])
    rest = answered.body[length:]
    for each in json.loads(answered.body[:length])["outputs"]:
        size = each["parameters"]["binary_data_size"]
        part, rest = rest[:size], rest[size:]
        if each["datatype"] == "FP64":
            assert list(struct.unpack("<2d", part)) == wanted[each["name"]]
        else:
            label = wanted[each["name"]][0].encode()
            assert part == 2 * (struct.pack("<I", len(label)) + label)
    assert not rest


def test_binary_tensors_that_are_cut_or_too_long_are_refused(app):
    described, data = binary([ROW])
    text = json.dumps({"inputs": described}).encode()
    for wrong in (text + data[:-1], text + data + b"x", text):
        answered = infer(app, wrong, inference_header_content_length=str(len(text)))
        assert answered.status == 400
        assert list(answered.json) == ["error"]
    assert infer(app, text + data, inference_header_content_length="x").status == 400
    assert infer(app, text + data, inference_header_content_length=str(10**9)).status == 400
    described[2]["parameters"]["binary_data_size"] -= 1
    text = json.dumps({"inputs": described}).encode()
    assert infer(app, text + data, inference_header_content_length=str(len(text))).status == 400


WRONG = {
    "no inputs": {},
    "inputs that are none": {"inputs": 3},
    "none at all": {"inputs": []},
    "twice the same": {"inputs": [*inputs([ROW]), *inputs([ROW])]},
    "one is absent": {"inputs": inputs([ROW])[1:]},
    "of two axes": {"inputs": [{**inputs([ROW])[0], "shape": [1, 2]}, *inputs([ROW])[1:]]},
    "another type": {"inputs": [{**inputs([ROW])[0], "datatype": "COMPLEX"}, *inputs([ROW])[1:]]},
    "text for numbers": {"inputs": [{**inputs([ROW])[0], "data": ["1"]}, *inputs([ROW])[1:]]},
    "too few": {"inputs": [{**inputs([ROW])[0], "data": []}, *inputs([ROW])[1:]]},
    "a number as id": {"id": 3, "inputs": inputs([ROW])},
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
def test_what_does_not_fit_is_refused_as_clients_expect_it(app, body):
    answered = infer(app, body)
    assert answered.status == 422
    assert isinstance(answered.json["error"], str)


def test_metadata_tells_name_versions_inputs_and_outputs(app):
    for path in ("/v2/models/flats", f"/v2/models/flats/versions/{app.model.version}"):
        found = ask(app, "GET", path).json
        assert (found["name"], found["versions"]) == ("flats", [app.model.version])
        assert {each["name"]: each["datatype"] for each in found["inputs"]} == {
            name: {"FP64": "FP64", "INT64": "FP64", "BOOL": "BOOL"}.get(TYPES.get(name), "BYTES")
            for name in ROW
        }
        assert found["outputs"][-1] == {"name": "prediction", "datatype": "BYTES", "shape": [-1]}
    assert ask(app, "GET", "/v2/models/other").status == 404
    assert ask(app, "GET", "/v2/models/flats/versions/7").status == 404
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/flats/ready"):
        assert ask(app, "GET", path).status == 200
