"""Servers of one table beside each other, under wrk: requests, processor time, latencies, errors.

python -m benchmarks.serve TABLE TARGET [--seconds S] [--rounds R] [--rows N ...] [--only NAME ...] [--out F]

multilayer        `multilayer serve`, one process
fastapi-sklearn   FastAPI and pydantic before a scikit-learn pipeline: encoders and an MLPClassifier
fastapi-onnx      FastAPI and pydantic before ONNX Runtime, on the same model, exported
mlflow            `mlflow models serve` on the same model, as `save_mlflow` writes it

Each answers the same rows as JSON. Contestants take turns, round by round, as the machine has other things to
do, too; processor time is that of the server's processes. wrk (github.com/wg/wrk) must be installed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import psutil

import multilayer as ml
from multilayer.serve import save_mlflow

PORT = 8760
CONNECTIONS = 8
LUA = 'wrk.method = "POST"\nwrk.body = [==[{body}]==]\nwrk.headers["Content-Type"] = "application/json"\n'

FASTAPI = """
from typing import Optional
import numpy as np
from fastapi import FastAPI
from pydantic import create_model

TYPES = {types!r}
Row = create_model("Row", **{{f"c{{i}}": (Optional[{{"number": float, "text": str}}[kind]], None)
                             for i, kind in enumerate(TYPES.values())}})
NAMES = list(TYPES)
app = FastAPI()
"""
SKLEARN = (
    FASTAPI
    + """
import joblib, pandas as pd
pipeline = joblib.load({path!r})

@app.post("/predict")
def predict(rows: list[Row]):
    frame = pd.DataFrame([row.model_dump() for row in rows])
    frame.columns = NAMES
    return [dict(zip(map(str, pipeline.classes_), p)) for p in pipeline.predict_proba(frame).tolist()]
"""
)
ONNX = (
    FASTAPI
    + """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession({path!r}, options)
KINDS = {{each.name: each.type for each in session.get_inputs()}}
PLACES = {{name: f"c{{i}}" for i, name in enumerate(NAMES)}}

@app.post("/predict")
def predict(rows: list[Row]):
    feed = {{}}
    for name, kind in KINDS.items():
        cells = [getattr(row, PLACES[name]) for row in rows]
        if kind == "tensor(string)":
            feed[name] = np.array([["" if cell is None else cell] for cell in cells], object)
        else:
            dtype = {{"tensor(double)": np.float64, "tensor(float)": np.float32}}.get(kind, np.int64)
            feed[name] = np.array([[np.nan if cell is None else cell] for cell in cells], dtype)
        feed[name] = feed[name].reshape(SHAPES[name])
    found = zip(session.get_outputs(), session.run(None, feed))
    return {{out.name: np.asarray(values).tolist() for out, values in found}}

SHAPES = {{each.name: (-1, 1) if len(each.shape) == 2 else (-1,) for each in session.get_inputs()}}
"""
)


def main() -> None:
    """Fit, serve by each, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 100])
    parser.add_argument("--only", nargs="*", default=list(CONTESTANTS))
    parser.add_argument("--out", type=Path, default=None, help="a file of lines of JSON")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    table = pd.read_csv(asked.table).dropna(subset=[asked.target])
    table = table.sample(n=min(len(table), 8_000), random_state=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = Prepared(table, asked.target, folder)
        servers: dict[str, Server] = {}
        try:
            for i, each in enumerate(asked.only):
                servers[each] = CONTESTANTS[each](prepared, PORT + i)
            for server in servers.values():
                server.wait(prepared.body(server.renames, 1))
            for n_rows in asked.rows:
                found: dict[str, list[dict[str, Any]]] = {each: [] for each in servers}
                for _ in range(asked.rounds):
                    for each, server in servers.items():
                        body = prepared.body(server.renames, n_rows)
                        found[each].append(server.measure(body, asked.seconds, folder))
                for each, rounds in found.items():
                    line = summed(each, n_rows, rounds)
                    print(in_words(line), flush=True)
                    if asked.out is not None:
                        with asked.out.open("a") as file:
                            file.write(json.dumps(line) + "\n")
        finally:
            for server in servers.values():
                server.stop()


class Prepared:
    """The table, models of it, and the rows that are asked for."""

    def __init__(self, table: pd.DataFrame, target: str, folder: Path) -> None:
        self.folder, self.target = folder, target
        self.x = table.drop(columns=[target])
        self.y = table[target].astype(str)
        self.model_path = folder / "model.mlp"
        self.model = ml.fit(table.assign(**{target: self.y}), target=target, quality="fast", seed=0)
        self.model.save(self.model_path)
        numeric = set(self.x.select_dtypes("number"))
        self.types = {name: "number" if name in numeric else "text" for name in self.x}
        self.records = json.loads(self.x.head(1000).to_json(orient="records"))

    def body(self, renames: bool | str, n_rows: int) -> str:
        """JSON of some rows: as they are, with names that pydantic takes, or as MLflow wants them."""
        rows = self.records[:n_rows]
        if renames is True:
            rows = [{f"c{i}": cell for i, cell in enumerate(row.values())} for row in rows]
        body = {renames: rows} if isinstance(renames, str) else rows
        return json.dumps(body, separators=(",", ":"))


class Server:
    """A process that answers at a port."""

    def __init__(self, command: list[str], port: int, route: str, renames: bool | str, folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.log = (folder / f"{port}.log").open("w")
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=self.log, stderr=self.log, start_new_session=True
        )
        self.port, self.route, self.renames = port, route, renames

    def ask(self, body: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", self.route, body, {"Content-Type": "application/json"})
        answered = connection.getresponse()
        found = answered.status, answered.read()
        connection.close()
        return found

    def wait(self, body: str) -> None:
        """Until it answers a row; another server must not be at its port."""
        for _ in range(600):
            try:
                status, text = self.ask(body)
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
                continue
            if status != 200 or self.process.poll() is not None:
                raise SystemExit(f"{self.route} answers {status}: {text.decode()[:500]}")
            return
        raise SystemExit(f"it does not answer: {Path(self.log.name).read_text()[-2000:]}")

    def cpu_s(self) -> float:
        """Processor time of the process and its children."""
        parent = psutil.Process(self.process.pid)
        times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
        return sum(each.user + each.system for each in times)

    def measure(self, body: str, seconds: int, folder: Path) -> dict[str, Any]:
        """One round of wrk."""
        script = folder / "body.lua"
        script.write_text(LUA.format(body=body))
        self.ask(body)
        before = self.cpu_s()
        url = f"http://127.0.0.1:{self.port}{self.route}"
        command = [
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{seconds}s",
            "--timeout",
            "30s",
            "--latency",
            "-s",
            script,
            url,
        ]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        cpu_s = self.cpu_s() - before
        n = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
        errors = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
        errors += sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
        return {
            "requests_per_s": float(re.search(r"Requests/sec:\s*([\d.]+)", text)[1]),  # type: ignore[index]
            "cpu_us": 1e6 * cpu_s / max(n, 1),
            "p50_ms": milliseconds(text, "50%"),
            "p99_ms": milliseconds(text, "99%"),
            "errors": errors,
            "memory_mb": psutil.Process(self.process.pid).memory_info().rss / 1e6,
        }

    def stop(self) -> None:
        parent = psutil.Process(self.process.pid)
        for each in (*parent.children(recursive=True), parent):
            each.kill()
        self.process.wait()
        self.log.close()


def milliseconds(text: str, which: str) -> float:
    found = re.search(rf"\s{which}\s+([\d.]+)(us|ms|s)", text)
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]  # type: ignore[index]


def summed(name: str, n_rows: int, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over rounds, and all errors."""
    found: dict[str, Any] = {"name": name, "rows": n_rows, "rounds": len(rounds)}
    found |= {key: median(each[key] for each in rounds) for key in rounds[0] if key != "errors"}
    return found | {"errors": sum(each["errors"] for each in rounds)}


def in_words(line: dict[str, Any]) -> str:
    return (
        f"{line['name']:16} {line['rows']:4} rows  {line['requests_per_s']:8.1f} requests/s  "
        f"{line['cpu_us']:8.0f} us of processor  p50 {line['p50_ms']:7.2f} ms  p99 {line['p99_ms']:7.2f} ms  "
        f"{line['errors']} errors  {line['memory_mb']:.0f} MB"
    )


def of_multilayer(prepared: Prepared, port: int) -> Server:
    code = "from multilayer.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", str(prepared.model_path), "--port", str(port)]
    return Server(command, port, "/predict", False, prepared.folder)


def of_fastapi(name: str, code: str, prepared: Prepared, port: int) -> Server:
    (prepared.folder / f"{name}.py").write_text(code)
    command = [sys.executable, "-m", "uvicorn", f"{name}:app", "--port", str(port), "--log-level", "warning"]
    return Server([*command, "--no-access-log"], port, "/predict", True, prepared.folder)


def of_sklearn(prepared: Prepared, port: int) -> Server:
    import joblib
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    encode = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    network = MLPClassifier((128, 128), max_iter=20, random_state=0)
    pipeline = make_pipeline(encode, network).fit(prepared.x, prepared.y)
    path = prepared.folder / "pipeline.joblib"
    joblib.dump(pipeline, path)
    return of_fastapi("with_sklearn", SKLEARN.format(types=prepared.types, path=str(path)), prepared, port)


def of_onnx(prepared: Prepared, port: int) -> Server:
    path = prepared.folder / "model.onnx"
    prepared.model.export("onnx", path)
    return of_fastapi("with_onnx", ONNX.format(types=prepared.types, path=str(path)), prepared, port)


def of_mlflow(prepared: Prepared, port: int) -> Server:
    folder = save_mlflow(prepared.model_path, prepared.folder / "mlflow_model")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local"]
    return Server([*command, "-p", str(port)], port, "/invocations", "dataframe_records", prepared.folder)


CONTESTANTS: dict[str, Callable[[Prepared, int], Server]] = {
    "multilayer": of_multilayer,
    "fastapi-sklearn": of_sklearn,
    "fastapi-onnx": of_onnx,
    "mlflow": of_mlflow,
}

if __name__ == "__main__":
    main()
