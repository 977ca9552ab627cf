"""A query says what the library says, in DuckDB and in PostgreSQL."""

import csv
import io
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

import multilayer as ml
from multilayer.errors import ConfigError
from multilayer.export.sql.encoder import WRITTEN
from multilayer.table.steps import Step, Take, Vectors
from tests.export.every_kind import model_of

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
N = 300
ROWS = {
    'sa"y': [0.25, None, -3.5, 1e300, 0.0],
    "zone": ["it's", "3.00", None, "TRUE", "never seen"],
    "yes": [True, False, None, True, False],
    "day": ["2024-02-29 23:59:59.999999", None, "1969-12-31 12:00:00", "2000-01-01", "2100-03-01 06:30:00"],
}


def student(target="label"):
    rng = np.random.default_rng(0)
    table = {
        'sa"y': np.where(rng.random(N) < 0.1, np.nan, rng.normal(size=N)),
        "zone": rng.choice(["it's", "3", "true", "x"], N).astype(object),
        "yes": rng.random(N) < 0.5,
        "day": np.datetime64("2020-01-01", "us") + rng.integers(0, 10**9, N) * 1_000_000,
    }
    number = 3 * np.nan_to_num(table['sa"y']) + (table["zone"] == "3") + rng.normal(size=N)
    table["y"] = np.where(number > 1, "p", np.where(number > 0, "q", "n")) if target == "label" else number
    return ml.fit(table, target="y", members=1, hidden=6, epochs=3, validation=0.2, seed=0)


def known():
    """The rows as the library takes them."""
    days = np.array([day.replace(" ", "T") if day else "NaT" for day in ROWS["day"]], "datetime64[us]")
    yes = np.array([np.nan if each is None else float(each) for each in ROWS["yes"]])
    numbers = np.array([np.nan if each is None else each for each in ROWS['sa"y']])
    return {'sa"y': numbers, "zone": np.array(ROWS["zone"], object), "yes": yes, "day": days}


@pytest.mark.parametrize("target", ["label", "number"])
def test_a_query_says_what_the_model_says(target, tmp_path):
    done = student(target).export("sql", tmp_path / "m.sql")
    assert done.parity.n_rows == 2_000
    assert done.parity.output <= 1e-6


@pytest.fixture(scope="module")
def postgres():
    """What runs SQL in a server of its own."""
    if not PROGRAMS or shutil.which("psql") is None:
        pytest.skip("there is no PostgreSQL")
    owner = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    shutil.chown(folder, owner)
    programs, data = PROGRAMS[-1].parent, folder / "data"
    run = {"check": True, "capture_output": True, "text": True, "cwd": folder}
    if os.getuid() == 0:
        run["user"] = owner
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8"], **run
    )
    options = f"-c listen_addresses='' -k {folder} -c fsync=off"
    start = [programs / "pg_ctl", "-D", data, "-w", "-t", "300", "-o", options, "-l", folder / "log", "start"]
    subprocess.run(start, **{**run, "capture_output": False, "stdout": subprocess.DEVNULL})

    def ask(sql: str) -> str:
        command = [
            "psql",
            "-h",
            folder,
            "-U",
            "tester",
            "-d",
            "postgres",
            "-q",
            "--csv",
            "-v",
            "ON_ERROR_STOP=1",
        ]
        return subprocess.run(command, input=sql, check=True, capture_output=True, text=True).stdout

    yield ask
    subprocess.run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **run)
    shutil.rmtree(folder)


@pytest.mark.parametrize("target", ["label", "number"])
def test_the_same_query_in_postgresql(target, postgres, tmp_path):
    model = student(target)
    text = model.export("sql", tmp_path / "m.sql").path.read_text()
    types = ("double precision", "text", "boolean", "timestamp")
    columns = ", ".join(
        f'"{name.replace(chr(34), 2 * chr(34))}" {kind}' for name, kind in zip(ROWS, types, strict=True)
    )
    values = ", ".join("(" + ", ".join(map(_literal, row)) + ")" for row in zip(*ROWS.values(), strict=True))
    said = postgres(
        f"DROP TABLE IF EXISTS rows_to_predict; CREATE TABLE rows_to_predict ({columns}); "
        f"INSERT INTO rows_to_predict VALUES {values}; {text}"
    )
    header, *rows = csv.reader(io.StringIO(said))
    wanted = model.predict_proba(known()) if target == "label" else model.predict(known())[:, None]
    places = [i for i, name in enumerate(header) if name.startswith(("probability of", "prediction of"))]
    found = np.array([[float(row[i]) for i in places] for row in rows])
    assert found == pytest.approx(wanted, rel=2e-6, abs=2e-6)
    assert header[:5] == ["multilayer_row", *ROWS]


def _literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def test_what_is_too_large_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    table = {"a": rng.normal(size=100), "y": rng.normal(size=100)}
    model = ml.fit(table, target="y", members=2, hidden=400, epochs=1)
    with pytest.raises(ConfigError, match=r"of up to 100,000 weights; this model has .* Distil it first"):
        model.export("sql", tmp_path / "m.sql")


def test_columns_that_databases_read_otherwise_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="takes numbers, categories, booleans and dates without a zone"):
        model_of("regression").export("sql", tmp_path / "m.sql")
    assert list(tmp_path.iterdir()) == []


def test_every_step_is_there():
    own = {step for step in Step.__subclasses__() if step.__module__ == Step.__module__}
    assert own - {Vectors, Take} == WRITTEN.keys()
