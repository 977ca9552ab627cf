"""The server in processes of its own: what goes wrong around it leaves it standing, and its answers right."""

import json
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import psutil
import pytest

from multilayer import runtime
from multilayer.serve.errors import PROBLEM
from tests.serve.asking import ROW
from tests.serve.conftest import fitted
from tests.serve.running import ask, serving, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class Load:
    """Threads that ask for a row again and again, and keep every answer that is not one of those allowed."""

    def __init__(self, server, allowed, n_threads=4):
        self.server, self.allowed = server, allowed
        self.n_right, self.wrong, self.lost = 0, [], 0
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(n_threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _ask(self):
        connection = self.server.connection()
        while not self._ends.is_set():
            try:
                status, body = ask(connection, "POST", "/predict", ROW)
            except (OSError, HTTPException):  # its worker was killed
                self.lost += 1
                connection.close()
                connection = self.server.connection()
                continue
            if status == 200 and json.loads(body) in self.allowed:
                self.n_right += 1
            else:
                self.wrong.append((status, body))
        connection.close()


def now(server):
    return json.loads(server.ask("POST", "/predict", ROW)[1])


def answer_of(path):
    columns = runtime.load(path).predict_columns([ROW])
    return {name: values.tolist()[0] for name, values in columns.items()}


def test_a_killed_worker_is_replaced_and_no_answer_is_wrong(flats_mlp):
    with serving(flats_mlp, "--workers", 2) as server, Load(server, [answer_of(flats_mlp)]) as load:
        until(lambda: load.n_right > 50)
        for _ in range(3):
            before = server.workers()
            assert len(before) == 2
            os.kill(before[0], signal.SIGKILL)
            until(lambda old=before: len(server.workers()) == 2 and old[0] not in server.workers())
            reached = load.n_right
            until(lambda n=reached: load.n_right > n + 50)
        load.__exit__()
        assert load.wrong == []
        assert load.lost <= 3 * len(load._threads)  # those that the killed worker had
        status, metrics = server.ask("GET", "/metrics")
        counted = 'multilayer_requests_total{route="/predict",status="200"} '
        line = next(each for each in metrics.decode().splitlines() if each.startswith(counted))
        assert load.n_right <= int(line.removeprefix(counted)) <= load.n_right + load.lost


@pytest.mark.parametrize("n_workers", [1, 2])
def test_no_request_is_lost_while_models_take_each_others_place(tmp_path, flats_mlp, n_workers):
    path, other = tmp_path / "flats.mlp", tmp_path / "other.mlp"
    path.write_bytes(flats_mlp.read_bytes())
    fitted(other, seed=1)
    allowed = [answer_of(path), answer_of(other)]
    with serving(path, "--workers", n_workers) as server, Load(server, allowed) as load:
        for model in (other, flats_mlp, other):
            (tmp_path / "new").write_bytes(model.read_bytes())
            os.replace(tmp_path / "new", path)
            wanted = answer_of(model)
            until(lambda w=wanted: all(now(server) == w for _ in range(8)))
        path.write_bytes(b"half a model")
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: sum("stays as it is" in line for line in server.log) >= n_workers)
        until(lambda n=load.n_right: load.n_right > n + 50)
        load.__exit__()
        assert (load.wrong, load.lost) == ([], 0)
        assert now(server) == answer_of(other)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_requests_in_progress_are_answered_before_it_stops(flats_mlp, n_workers):
    rows = [ROW] * 2000
    with serving(flats_mlp, "--workers", n_workers) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.ask, "POST", "/predict", rows)
        in_progress = b"multilayer_requests_in_progress 1"
        until(lambda: asked.done() or in_progress in server.ask("GET", "/metrics")[1])
        status = server.stop()
        assert status == 128 + signal.SIGTERM
        code, body = asked.result()
        assert (code, len(json.loads(body))) == (200, len(rows))
        assert "Traceback" not in "".join(server.log)


def test_workers_end_with_a_parent_that_was_killed(flats_mlp):
    with serving(flats_mlp, "--workers", 2) as server:
        workers = server.workers()
        server.process.kill()
        until(lambda: not any(psutil.pid_exists(pid) for pid in workers))


def request(body, *more, length=None):
    lines = [
        "POST /predict HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(body) if length is None else length}",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


ATTACKS = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a cut request line": b"POST /pre",
    "endless headers": b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 200_000,
    "a cut body": request(b'{"size"', length=5000),
    "a length that lies": request(b"[" * 50, length=10),
    "a length beyond the limit": request(b"x", length=10**12),
    "a length that is none": request(b"x", length="x"),
    "two lengths": request(b"x", "Content-Length: 7"),
    "bad chunks": b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "deep JSON": request(b"[" * 1_000_000),
    "deep objects": request(b'{"a":' * 200_000),
    "a million empty rows": request(b"[" + b"{}," * 999_999 + b"{}]"),
    "a large number": request(b'{"size":' + b"9" * 1_000_000 + b"}"),
    "a large text": request(json.dumps({**ROW, "note": "a" * 5_000_000}).encode()),
    "a thousand columns more": request(json.dumps({f"c{i}": i for i in range(100_000)}).encode()),
    "a path of bytes": b"GET /%ff%00/../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
    "a WebSocket": b"GET /predict HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
}


def test_hostile_requests_leave_it_standing_with_memory_flat(flats_mlp):
    with serving(flats_mlp, "--max-body", 8_000_000) as server:
        wanted = (200, json.dumps(answer_of(flats_mlp), separators=(",", ":")).encode())

        def one_round():
            for data in ATTACKS.values():
                connection = server.raw(b"")
                try:
                    connection.sendall(data)
                    connection.shutdown(1)  # no more comes
                    while connection.recv(65_536):
                        pass
                except OSError:  # it was closed on us, as it should be
                    pass
                connection.close()
                assert server.ask("POST", "/predict", ROW) == wanted

        one_round()
        memory = psutil.Process(server.process.pid).memory_info
        one_round()
        before = memory().rss
        for _ in range(5):
            one_round()
        assert memory().rss - before < 30e6
        assert "Traceback" not in "".join(server.log)


def test_memory_is_flat_over_many_values_that_were_never_seen(flats_mlp):
    with serving(flats_mlp) as server:
        connection = server.connection()
        memory = psutil.Process(server.process.pid).memory_info

        def ask_for(numbers):
            for i in numbers:
                assert ask(connection, "POST", "/predict", {**ROW, "zone": f"new {i}", "size": i})[0] == 200

        ask_for(range(10_500))  # what is remembered of a column ends at 10,000
        before = memory().rss
        ask_for(range(10_500, 13_000))
        assert memory().rss - before < 4e6
        connection.close()


def test_slow_requests_do_not_keep_others_waiting_and_end(flats_mlp):
    with serving(flats_mlp, "--timeout", 1) as server:
        slow = [server.raw(request(b'{"size"', length=5000)) for _ in range(20)]
        assert server.ask("POST", "/predict", ROW)[0] == 200
        for connection in slow:
            assert b" 408 " in connection.recv(65_536).split(b"\r\n")[0]
            connection.close()


def test_more_connections_than_the_limit_are_told_to_wait(flats_mlp):
    with serving(flats_mlp, "--max-requests", 2) as server:
        slow = [server.raw(request(b'{"size"', length=5000)) for _ in range(2)]
        until(lambda: b"requests_in_progress 2" in server.ask("GET", "/metrics")[1])
        assert server.ask("POST", "/predict", ROW)[0] == 503
        assert server.ask("GET", "/health")[0] == 200
        for connection in slow:
            connection.close()
        until(lambda: server.ask("POST", "/predict", ROW)[0] == 200)


def test_many_columns_take_no_more_than_their_share(tmp_path):
    import numpy as np

    import multilayer as ml

    rng = np.random.default_rng(0)
    table = {f"column {i}": rng.normal(size=40) for i in range(600)}
    ml.fit({**table, "y": rng.normal(size=40)}, target="y", members=1, epochs=1, hidden=4).save(
        tmp_path / "wide.mlp"
    )
    row = {name: float(values[0]) for name, values in table.items()}
    with serving(tmp_path / "wide.mlp") as server:
        connection = server.connection()
        assert ask(connection, "POST", "/predict", row)[0] == 200
        process = psutil.Process(server.process.pid)
        before = process.cpu_times().user
        for _ in range(100):
            assert ask(connection, "POST", "/predict", row)[0] == 200
        assert (process.cpu_times().user - before) / 100 < 0.05  # of a processor, not of a clock
        connection.close()


def test_a_token_is_asked_for_and_a_wrong_one_refused(flats_mlp, tmp_path):
    (tmp_path / "token").write_text("0123456789abcdef")
    with serving(flats_mlp, "--host", "0.0.0.0", "--token-file", tmp_path / "token") as server:
        assert server.ask("POST", "/predict", ROW)[0] == 401
        assert server.ask("POST", "/predict", ROW, authorization="Bearer 0123456789abcdeF")[0] == 401
        assert server.ask("POST", "/predict", ROW, authorization="Bearer 0123456789abcdef")[0] == 200
        assert server.ask("GET", "/health")[0] == 200


def test_the_model_may_be_named_in_the_environment(flats_mlp):
    with serving(MULTILAYER_MODEL=str(flats_mlp)) as server:
        assert server.ask("GET", "/v2/models/flats")[0] == 200


def test_the_server_process_loads_neither_torch_nor_numba_nor_duckdb(flats_mlp):
    with serving(flats_mlp) as server:
        assert server.ask("POST", "/predict", ROW)[0] == 200
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        for package in ("torch", "llvmlite", "duckdb", "pyarrow", "scipy", "sklearn"):
            assert f"/site-packages/{package}" not in maps


def test_a_problem_has_its_type(flats_mlp):
    with serving(flats_mlp) as server:
        connection = server.connection()
        connection.request("POST", "/predict", b"{")
        answered = connection.getresponse()
        assert (answered.status, answered.headers["content-type"]) == (400, PROBLEM)
        answered.read()
        connection.close()
