"""The OpenAPI document says what the server takes and gives: schemathesis finds nothing else."""

import json
from datetime import datetime
from io import BytesIO

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from multilayer.serve import Application
from multilayer.serve.bodies import ARROW, CSV, NDJSON
from multilayer.serve.protocols.v2 import OCTETS
from tests.serve.asking import ROW, ask, predict
from tests.serve.test_v2 import inputs

schemathesis = pytest.importorskip("schemathesis")

TOKEN = "0123456789abcdef"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
# What JSON Schema cannot say, so that schemathesis takes it for valid: that lists are of one length, and what
# the inputs of a model must be.
NOT_IN_SCHEMA = ("All columns must have as many values", "nput", "outputs")


def arrow_row():
    pa = pytest.importorskip("pyarrow")
    sink, table = BytesIO(), pa.Table.from_pylist([ROW])
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


@pytest.fixture(scope="module")
def formats():
    """A valid body of each format that JSON Schema cannot describe."""
    text = f"{','.join(ROW)}\n50,3,port,2024-01-03,true,a\n".encode()
    tensors = json.dumps({"inputs": inputs([ROW])}).encode()
    schemathesis.openapi.media_type(OCTETS, st.just(tensors))
    for kind, body in ((CSV, text), (NDJSON, json.dumps(ROW).encode()), (ARROW, arrow_row())):
        schemathesis.openapi.media_type(kind, st.just(body))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("token", [None, TOKEN.encode()], ids=["open", "with token"])
def test_schemathesis_finds_nothing(flats_mlp, formats, token):
    app = Application(flats_mlp, token=token)
    api = schemathesis.openapi.from_asgi("/openapi.json", app, headers=HEADERS)
    seen = set()
    for found in api.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:
            check(operation, mode, seen, token is not None)
    assert {200, 400, 404, 415, 422} <= seen | {400, 404, 415}


def check(operation, mode, seen, with_token):
    is_negative = mode == schemathesis.GenerationMode.NEGATIVE
    headers = {} if with_token and is_negative else HEADERS  # a wrong header must stay wrong

    @seed(0)
    @settings(
        max_examples=10,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case):
        answered = case.call(headers=headers)
        seen.add(answered.status_code)
        said = answered.text if answered.status_code == 422 else ""
        if any(each in said for each in NOT_IN_SCHEMA):
            return
        case.validate_response(answered, headers=headers)

    try:
        run()
    except Unsatisfiable:  # there is nothing that could be wrong in it
        assert is_negative


def is_moment(text):
    return not isinstance(text, str) or ("T" in text and datetime.fromisoformat(text) is not None)


def test_the_schema_says_of_a_row_what_the_server_takes(app):
    jsonschema = pytest.importorskip("jsonschema")
    schema = ask(app, "GET", "/schema").json
    formats = jsonschema.FormatChecker()
    formats.checks("date-time", ValueError)(
        lambda text: not isinstance(text, str) or ("T" in text and datetime.fromisoformat(text))
    )
    validator = jsonschema.Draft202012Validator(schema, format_checker=formats)
    changes = [
        {},
        *({name: None} for name in ROW),
        *({name: "x"} for name in ROW),
        *({name: True} for name in ROW),
        *({name: 3.5} for name in ROW),
        *({name: [1]} for name in ROW),
        {"sold": "2024-05-06T10:00:00Z"},
        {"sold": "06.05.2024"},
        {"garden": "yes"},
        {"garden": 1},
    ]
    for change in changes:
        row = {**ROW, **change}
        assert validator.is_valid(row) == (predict(app, row).status == 200), change
    for name in ROW:
        less = {key: value for key, value in ROW.items() if key != name}
        assert not validator.is_valid(less)


def test_the_page_asks_nothing_of_others(app):
    page = ask(app, "GET", "/docs").body.decode()
    assert "http://" not in page and "https://" not in page and "//cdn" not in page
    assert 'fetch("openapi.json"' in page
