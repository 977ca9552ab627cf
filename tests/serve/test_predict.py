"""/predict: the same predictions as the library's, in each format; and what is refused."""

import csv
import json
from io import BytesIO, StringIO

import numpy as np
import pytest

from multilayer import runtime
from multilayer.serve import Application, Limits
from multilayer.serve.bodies import ARROW, CSV, NDJSON
from tests.serve.asking import ROW, ask, predict
from tests.serve.conftest import flats

N_ROWS = 40


@pytest.fixture(scope="module")
def table():
    return {name: cells for name, cells in flats(N_ROWS, seed=1).items() if name not in ("rent", "class")}


@pytest.fixture(scope="module")
def rows(table):
    """As JSON has them, with missing values and levels that were not there at fit."""
    rows = [dict(zip(table, cells, strict=True)) for cells in zip(*map(list, table.values()), strict=True)]
    rows = json.loads(json.dumps(rows, default=lambda value: value.item()))
    for i, name in enumerate(rows[0]):
        rows[i][name] = None
        rows[i + 10][name] = None
    rows[20]["zone"] = "moon"
    rows[21]["size"] = 1e9
    return rows


@pytest.fixture(scope="module")
def wanted(flats_mlp, rows):
    return runtime.load(flats_mlp).predict_columns(rows)


def columns_of(records):
    return {name: [record[name] for record in records] for name in records[0]}


def assert_as(wanted, found):
    assert list(found) == list(wanted)
    for name in wanted:
        assert found[name] == wanted[name].tolist(), name


def test_rows_of_json_are_predicted_to_the_last_bit_as_the_runtime_does(app, rows, wanted):
    assert_as(wanted, columns_of(predict(app, rows).json))


def test_a_row_is_answered_as_beside_others(app, rows):
    together = predict(app, rows).json
    assert [predict(app, row).json for row in rows] == together
    assert [predict(app, [row]).json[0] for row in rows] == together


def test_columns_are_answered_by_columns(app, rows, wanted):
    assert_as(wanted, predict(app, columns_of(rows)).json)


def test_lines_of_json_are_answered_by_lines(app, rows, wanted):
    answered = predict(app, "\n".join(map(json.dumps, rows)).encode(), content_type=NDJSON)

    assert answered.headers["content-type"] == NDJSON
    assert_as(wanted, columns_of([json.loads(line) for line in answered.body.splitlines()]))


def test_csv_is_answered_by_csv(app, rows, wanted):
    file = StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)

    answered = predict(app, file.getvalue().encode(), content_type=CSV)

    found = columns_of(list(csv.DictReader(StringIO(answered.body.decode()))))
    assert found.pop("prediction") == wanted["prediction"].tolist()
    for name, values in found.items():
        assert list(map(float, values)) == wanted[name].tolist()


def test_arrow_is_answered_by_arrow(app, table, flats_mlp):
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.ipc")
    plain = {name: list(cells) for name, cells in table.items()}
    sent = pa.table({**plain, "size": pa.array(table["size"], pa.float64())})
    sink = BytesIO()
    with pa.ipc.new_stream(sink, sent.schema) as stream:
        stream.write_table(sent)

    answered = predict(app, sink.getvalue(), content_type=ARROW)

    found = pa.ipc.open_stream(answered.body).read_all().to_pydict()
    assert_as(runtime.load(flats_mlp).predict_columns(table), found)
    assert predict(app, sink.getvalue()[:-40], content_type=ARROW).status == 400
    assert predict(app, b"no stream", content_type=ARROW).status == 400


def test_without_pyarrow_arrow_is_refused_with_what_to_install(app, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.ipc", None)

    answered = predict(app, b"", content_type=ARROW)

    assert answered.status == 415
    assert "pip install pyarrow" in answered.json["detail"]


def test_accept_decides_the_format_of_the_answer(app):
    assert predict(app, ROW, accept="text/csv").body.startswith(b"probability_cheap,")
    assert predict(app, ROW, accept="image/png, */*;q=0.1").headers["content-type"] == "application/json"
    assert predict(app, ROW, accept="image/png").status == 406


def test_numbers_are_answered_without_probabilities(rents_mlp):
    (name,) = predict(Application(rents_mlp), ROW).json
    assert name == "prediction"


WRONG = {
    "a word for a number": ({"size": "large"}, "size", "must hold a number"),
    "true for a number": ({"size": True}, "size", "must hold a number"),
    "a list": ({"zone": ["port"]}, "zone", "must hold one value"),
    "a day that is none": ({"sold": "2024-02-30"}, "sold", "must hold a date like"),
    "a date of unclear order": ({"sold": "03/04/2024"}, "sold", "must hold a date like"),
    "a number for a date": ({"sold": 20240103}, "sold", "must hold a date like"),
    "two for a boolean": ({"garden": 2}, "garden", "must hold true or false"),
}


@pytest.mark.parametrize(("cells", "column", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_cell_is_named_by_row_and_column(app, cells, column, message):
    for body, row in (({**ROW, **cells}, 1), ([ROW, ROW, {**ROW, **cells}], 3)):
        answered = predict(app, body)

        assert answered.status == 422
        assert answered.headers["content-type"] == "application/problem+json"
        (error,) = answered.json["errors"]
        assert (error["row"], error["column"]) == (row, column)
        assert message in error["message"]


@pytest.mark.parametrize(("cells", "column", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_row_does_not_spoil_the_others_when_asked(app, cells, column, message):
    good = predict(app, ROW).json
    rows = [ROW, {**ROW, **cells}, ROW]

    found = predict(app, rows, "bad_rows=report").json
    assert [found[0], found[2]] == [good, good]
    assert found[1]["errors"][0]["column"] == column
    assert predict(app, rows[1], "bad_rows=report").json == {"errors": [found[1]["errors"][0] | {"row": 1}]}

    by_columns = predict(app, columns_of(rows), "bad_rows=report").json
    assert by_columns["prediction"] == [good["prediction"], None, good["prediction"]]
    assert by_columns["errors"] == [None, found[1]["errors"], None]


def test_rows_that_are_wrong_throughout_are_all_reported(app):
    rows = [{**ROW, "sold": f"2024-02-3{i % 2}"} for i in range(50)]

    found = predict(app, rows, "bad_rows=report").json

    assert [each["errors"][0]["row"] for each in found] == list(range(1, 51))
    assert predict(app, rows).json["detail"].startswith("Row 1 of 50")


def test_absent_columns_are_named(app):
    row = {name: cell for name, cell in ROW.items() if name not in ("size", "zone")}
    errors = predict(app, row).json["errors"]
    assert [(error["column"], "is absent" in error["message"]) for error in errors] == [
        ("size", True),
        ("zone", True),
    ]
    assert "'size'" in predict(app, b"rooms,zone\n3,port\n", content_type=CSV).json["detail"]


def test_columns_of_which_the_model_knows_nothing_are_passed_over_unless_refused(app, flats_mlp):
    more = {**ROW, "class": "dear", "colour": "red"}
    assert predict(app, more).json == predict(app, ROW).json

    strict = Application(flats_mlp, refuse_extra=True)
    assert predict(strict, {**ROW, "class": "dear"}).status == 200
    for body in (more, [more, more], columns_of([more])):
        refused = predict(strict, body)
        assert refused.status == 422
        assert "colour" in refused.body.decode()


def test_levels_of_several_types_are_each_as_by_itself(tmp_path):
    import multilayer as ml

    table = {"code": ["1", "true", "2.5", "x"] * 20, "y": [0.0, 1.0, 2.0, 3.0] * 20}
    ml.fit(table, target="y", members=2, epochs=2, seed=0).save(tmp_path / "codes.mlp")
    app = Application(tmp_path / "codes.mlp")
    cells = [1, True, 1.0, 2.5, "x", None, 2**60]

    together = predict(app, [{"code": cell} for cell in cells]).json

    assert together == [predict(app, {"code": cell}).json for cell in cells]
    assert together[0] == together[2] != together[1]


def test_lists_that_became_columns_come_as_lists(tmp_path):
    import multilayer as ml

    rng = np.random.default_rng(0)
    table = {"place": rng.normal(size=(60, 2)).tolist(), "y": rng.normal(size=60)}
    model = ml.fit(table, target="y", members=2, epochs=2, seed=0)
    model.save(tmp_path / "places.mlp")
    app = Application(tmp_path / "places.mlp")
    served = runtime.load(tmp_path / "places.mlp")

    rows = [{"place": place} for place in table["place"][:5]]

    found = [each["prediction"] for each in predict(app, rows).json]
    assert found == served.predict(rows).tolist()
    assert predict(app, rows[0]).json["prediction"] == found[0]
    assert predict(app, {"place": [1.0, 2.0, 3.0]}).status == 422
    deep = json.loads("[" * 200 + "1" + "]" * 200)
    assert predict(app, {"place": deep}).status == 400


BROKEN = {
    "nothing": (b"", 400),
    "half": (b'{"size": 1', 400),
    "no text": (b"\xff\xfe\x00", 400),
    "NaN": (b'{"size": NaN}', 400),
    "a number beyond all": (b'{"size": 1e999}', 400),
    "a number": (b"5", 422),
    "no rows": (b"[]", 422),
    "no columns": (b"{}", 422),
    "deep": (b"[" * 100_000, 400),
    "deep in a column that is not used": (b'{"x":' + b'{"a":' * 50_000, 400),
    "columns of two lengths": (json.dumps({**columns_of([ROW, ROW]), "size": [1]}).encode(), 422),
}


@pytest.mark.parametrize(("body", "status"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_table_is_refused(app, body, status):
    answered = predict(app, body)
    assert answered.status == status
    assert answered.json["status"] == status
    assert predict(app, ROW).status == 200


def test_csv_that_is_none_is_refused(app):
    names = ",".join(ROW)
    for body in (b"", b"a,a\n1,2\n", b"\xff\n", f"{names}\n".encode(), b'"a\n'):
        assert predict(app, body, content_type=CSV).status in (400, 422), body
    found = predict(app, f"{names}\n1,2\n".encode(), content_type=CSV).json
    assert found["errors"] == [{"row": 1, "message": found["errors"][0]["message"]}]


def test_more_rows_than_the_limit_are_refused(flats_mlp):
    app = Application(flats_mlp, limits=Limits(rows=2))
    assert predict(app, [ROW, ROW]).status == 200
    for body in ([ROW] * 3, columns_of([ROW] * 3)):
        assert predict(app, body).status == 413


def test_other_formats_are_refused_with_those_that_are_known(app):
    answered = predict(app, b"size=3", content_type="application/x-www-form-urlencoded")
    assert answered.status == 415
    assert "application/json" in answered.json["detail"]
    assert predict(app, ROW, content_type="application/json; charset=latin-1").status == 415
    assert predict(app, ROW, content_encoding="gzip").status == 415


def test_an_exposure_is_a_column_of_each_row(tmp_path):
    import multilayer as ml

    rng = np.random.default_rng(0)
    table = {"x": rng.normal(size=80), "years": rng.uniform(1, 5, 80), "n": rng.poisson(2.0, 80)}
    ml.fit(
        table, target="n", exposure="years", objective="poisson", members=2, epochs=2, seed=0
    ).save(tmp_path / "counts.mlp")  # fmt: skip
    app = Application(tmp_path / "counts.mlp")

    one, two = (predict(app, {"x": 0.5, "years": years}).json["prediction"] for years in (1.0, 2.0))

    assert two == pytest.approx(2 * one)
    assert predict(app, {"x": 0.5}).status == 422
    assert predict(app, [{"x": 0.5, "years": -1.0}]).json["errors"][0]["row"] == 1


def test_quiet_errors_tell_no_names_and_no_values(flats_mlp):
    app = Application(flats_mlp, quiet_errors=True)
    said = predict(app, [ROW, {**ROW, "size": "secret"}])
    assert said.json["errors"] == [{"row": 2}]
    assert "secret" not in said.body.decode() and "size" not in said.body.decode()
    assert "size" not in ask(app, "POST", "/invocations", {"dataframe_records": [{}]}).body.decode()
