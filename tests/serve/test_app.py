"""Routes, token, limits, counters, and models that take the place of others."""

import asyncio
import json
import os

import numpy as np
import pytest

from multilayer.errors import ConfigError, MissingExtraError, ModelFileError
from multilayer.runtime.model import RuntimeModel
from multilayer.serve import Application, Limits
from multilayer.serve.app import INLINE_BYTES
from multilayer.serve.auth import check_open, token_of
from multilayer.serve.location import address, model_path, more_routes
from multilayer.serve.routes import ROUTES
from tests.serve.asking import ROW, ask, counter, predict
from tests.serve.conftest import fitted

TOKEN = "0123456789abcdef"


def test_the_token_is_asked_for_everywhere_but_for_health(flats_mlp):
    app = Application(flats_mlp, token=TOKEN.encode())
    for route in ROUTES:
        path = route.path.replace("{model}", "flats").replace("{version}", app.model.version)
        for wrong in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": f"Basic {TOKEN}"}):
            answered = ask(app, route.method, path, ROW, **wrong)
            assert (answered.status == 401) == (not route.is_open), route
        assert ask(app, route.method, path, ROW, authorization=f"bearer {TOKEN}").status != 401
    assert predict(app, ROW).headers["www-authenticate"] == "Bearer"


def test_tokens_come_of_a_file_or_a_variable(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    assert token_of(str(path), {"MULTILAYER_TOKEN": "another one than the file's"}) == TOKEN.encode()
    assert token_of(None, {"MULTILAYER_TOKEN": TOKEN}) == TOKEN.encode()
    assert token_of(None, {}) is None
    for wrong in ("short", "with blanks in it, so many", "ü" * 20):
        with pytest.raises(ConfigError, match="at least 16 letters"):
            token_of(None, {"MULTILAYER_TOKEN": wrong})
    with pytest.raises(ConfigError, match="cannot be read"):
        token_of(str(tmp_path / "absent"), {})


def test_others_are_let_in_only_with_a_token_or_when_that_is_said():
    for host in ("127.0.0.1", "localhost", "::1"):
        check_open(host, None, without_token=False)
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
        with pytest.raises(ConfigError, match="must ask for a token"):
            check_open(host, None, without_token=False)
        check_open(host, TOKEN.encode(), without_token=False)
        check_open(host, None, without_token=True)


def test_platforms_say_where_model_port_and_routes_are(tmp_path, flats_mlp):
    assert model_path("a.mlp", {"MULTILAYER_MODEL": "b.mlp"}).name == "a.mlp"
    assert model_path(None, {"MULTILAYER_MODEL": "b.mlp"}).name == "b.mlp"
    with pytest.raises(ConfigError, match="none is named"):
        model_path(None, {}, str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match=r"holds 0 \(none\)"):
        model_path(None, {}, str(tmp_path))
    (tmp_path / "one.mlp").write_bytes(flats_mlp.read_bytes())
    assert model_path(None, {}, str(tmp_path)).name == "one.mlp"
    (tmp_path / "two.mlp").touch()
    with pytest.raises(ConfigError, match=r"holds 2 \(one.mlp, two.mlp\)"):
        model_path(str(tmp_path), {})

    assert address(None, None, {}) == ("127.0.0.1", 8080)
    assert address("::1", 1, {"AIP_HTTP_PORT": "9000"}) == ("::1", 1)
    assert address(None, None, {"AIP_HTTP_PORT": "9000"}) == ("127.0.0.1", 9000)
    with pytest.raises(ConfigError, match="must be a port"):
        address(None, None, {"AIP_HTTP_PORT": "http"})

    aliases = more_routes({"AIP_PREDICT_ROUTE": "/v1/p", "AIP_HEALTH_ROUTE": "/v1/h"})
    app = Application(flats_mlp, aliases=aliases)
    assert ask(app, "POST", "/v1/p", {"instances": [ROW]}).status == 200
    assert ask(app, "GET", "/v1/h").status == 200


def test_other_paths_and_methods_are_refused(app):
    assert ask(app, "GET", "/nothing").status == 404
    answered = ask(app, "PUT", "/predict")
    assert (answered.status, answered.headers["allow"]) == (405, "POST")
    assert ask(app, "POST", "/health").headers["allow"] == "GET, HEAD"
    assert ask(app, "HEAD", "/health").body == b""


def test_a_fault_of_ours_is_answered_and_the_next_request_too(app, monkeypatch):
    monkeypatch.setattr(type(app.model.rows), "predict_row", lambda *a, **k: 1 / 0)
    answered = predict(app, ROW)
    assert (answered.status, answered.json["title"]) == (500, "Internal Server Error")
    assert "division" not in answered.body.decode()
    monkeypatch.undo()
    assert predict(app, ROW).status == 200


# Bodies and limits


SCOPE = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": []}


def sent_in_parts(app, parts, headers=(), before=None):
    """A request whose body comes bit by bit."""

    async def go():
        answers, coming = [], list(parts)

        async def receive():
            if before is not None:
                await before()
            part = coming.pop(0)
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": bool(coming)}

        async def send(message):
            answers.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "query_string": b"",
            "headers": headers,
        }
        await app(scope, receive, send)
        return answers

    return asyncio.run(go())


def test_a_body_may_come_in_parts(app):
    text = json.dumps(ROW).encode()
    answers = sent_in_parts(app, [text[:9], b"", text[9:]])
    assert json.loads(answers[1]["body"]) == predict(app, ROW).json


def test_a_client_that_leaves_is_not_answered(app):
    assert sent_in_parts(app, [b'{"size"', None]) == []
    assert app.metrics.in_progress == 0


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(flats_mlp):
    app = Application(flats_mlp, limits=Limits(body_bytes=1000))
    declared = sent_in_parts(app, [], headers=[(b"content-length", b"1001")])
    counted = sent_in_parts(app, [b"x" * 600, b"x" * 600, b"never asked for"])
    for answers in (declared, counted):
        assert answers[0]["status"] == 413
        assert (b"connection", b"close") in answers[0]["headers"]
    assert app.metrics.in_progress == 0


def test_a_body_that_does_not_come_is_not_waited_for(flats_mlp):
    app = Application(flats_mlp, limits=Limits(time_s=0.01))
    never = asyncio.Event
    answers = sent_in_parts(app, [b"{"], before=lambda: never().wait())
    assert answers[0]["status"] == 408


def test_more_requests_at_once_than_the_limit_are_refused(flats_mlp):
    app = Application(flats_mlp, limits=Limits(concurrency=2))

    async def go():
        come = asyncio.Event()
        statuses = []

        async def one():
            async def receive():
                await come.wait()
                return {"type": "http.request", "body": json.dumps(ROW).encode()}

            async def send(message):
                if "status" in message:
                    statuses.append(message["status"])
                    come.set()  # the third is refused while two wait

            await app(dict(SCOPE), receive, send)

        await asyncio.gather(one(), one(), one())
        return statuses

    assert asyncio.run(go()) == [503, 200, 200]


def test_large_bodies_are_predicted_alike_in_a_thread(app):
    rows = [ROW] * (2 * INLINE_BYTES // len(json.dumps(ROW)))
    assert predict(app, rows).json == [predict(app, ROW).json] * len(rows)


def test_limits_must_be_positive():
    with pytest.raises(ConfigError, match="rows must be positive"):
        Limits(rows=0)


def test_without_msgspec_it_says_what_to_install(flats_mlp, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "msgspec", None)
    with pytest.raises(MissingExtraError, match=r"multilayer\[serve\]"):
        Application(flats_mlp)


# Counters


def test_columns_are_counted_alike_row_by_row_and_together(app, flats_mlp):
    rows = [
        ROW,
        {**ROW, "size": None, "zone": "moon", "sold": None},
        {**ROW, "size": 1e6, "rooms": 0, "sold": "1999-01-01", "garden": None},
        {**ROW, "zone": "moon", "note": None},
    ]
    together = Application(flats_mlp)
    predict(together, rows)
    for row in rows:
        predict(app, row)
    wanted = {
        ("missing_total", "size"): 1, ("missing_total", "sold"): 1, ("missing_total", "garden"): 1,
        ("missing_total", "note"): 1, ("missing_total", "zone"): 0, ("unseen_level_total", "zone"): 2,
        ("out_of_range_total", "size"): 1, ("out_of_range_total", "rooms"): 1,
        ("out_of_range_total", "sold"): 1,
    }  # fmt: skip
    for counted in (app, together):
        found = {(name, column): counter(counted, name, column=column) for name, column in wanted}
        assert found == wanted
        assert counter(counted, "rows_total") == 4


def test_requests_are_counted_by_route_and_status(app):
    predict(app, ROW)
    predict(app, b"")
    predict(app, [ROW, {**ROW, "size": "x"}], "bad_rows=report")
    ask(app, "GET", "/nothing")
    assert counter(app, "requests_total", route="/predict", status="200") == 2
    assert counter(app, "requests_total", route="/predict", status="400") == 1
    assert counter(app, "requests_total", route="none", status="404") == 1
    assert counter(app, "request_duration_seconds_count", route="/predict") == 3
    assert counter(app, "refused_rows_total") == 1
    assert counter(app, "model_info", name="flats", sha256=app.model.sha256) == 1


def test_workers_sum_up_their_counters(flats_mlp):
    app = Application(flats_mlp, n_workers=2)
    for worker in (0, 1, 1):
        app.metrics.count_for(worker)
        predict(app, ROW)
    assert counter(app, "rows_total") == 3
    app.metrics.begin()
    app.metrics.count_for(1)  # its process died, and another one took its place
    assert app.metrics.in_progress == 0
    assert counter(app, "rows_total") == 3


# Another model in the same file


def replaced(path, by):
    """As a model is saved: whole or not at all."""
    new = path.with_suffix(".new")
    new.write_bytes(by)
    os.replace(new, path)


@pytest.fixture
def watched(tmp_path, flats_mlp):
    path = tmp_path / "flats.mlp"
    path.write_bytes(flats_mlp.read_bytes())
    return Application(path), path


def test_a_new_model_takes_the_place_of_the_old(watched, tmp_path):
    app, path = watched
    before, old = predict(app, ROW), app.model
    fitted(tmp_path / "other.mlp", seed=1)
    assert not app.watched.has_changed()
    replaced(path, (tmp_path / "other.mlp").read_bytes())
    assert app.watched.has_changed()

    assert app.watched.reload() is True

    after = predict(app, ROW)
    assert after.json != before.json
    assert after.headers["multilayer-model"] != before.headers["multilayer-model"]
    assert old.rows.predict_row(ROW).columns["prediction"] == [before.json["prediction"]]
    assert ask(app, "GET", "/openapi.json").json["info"]["version"] == app.model.version
    assert app.watched.reload() is None  # the same one again


@pytest.mark.parametrize("broken", ["half", "no model", "other columns", "other outputs", "gone"])
def test_a_model_that_will_not_do_leaves_the_old_in_its_place(watched, rents_mlp, broken, tmp_path):
    app, path = watched
    before, whole = predict(app, ROW).json, path.read_bytes()
    if broken == "gone":
        path.unlink()
        assert not app.watched.has_changed()
    elif broken == "other columns":
        rng = np.random.default_rng(0)
        __import__("multilayer").fit(
            {"x": rng.normal(size=60), "class": ["a", "b"] * 30}, target="class", members=1, epochs=1
        ).save(path)
    else:
        others = {"half": whole[: len(whole) // 2], "no model": b"", "other outputs": rents_mlp.read_bytes()}
        replaced(path, others[broken])

    assert app.watched.reload() is False
    assert app.watched.failure
    assert predict(app, ROW).json == before


def test_a_model_that_predicts_otherwise_than_where_it_was_saved_is_not_served(watched, monkeypatch):
    app, path = watched
    before = predict(app, ROW).json
    path.touch()
    monkeypatch.setattr(
        RuntimeModel, "_first_predictor", property(lambda model: lambda x: model._predictor(x) / 2)
    )

    assert app.watched.reload() is False

    assert "what stands in its file" in app.watched.failure
    assert predict(app, ROW).json == before


def test_the_file_must_hold_a_model_at_the_start(tmp_path):
    with pytest.raises(ModelFileError, match="there is none"):
        Application(tmp_path / "absent.mlp")
