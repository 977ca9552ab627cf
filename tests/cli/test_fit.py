"""`multilayer fit`: what it prints, what it writes, and how it refuses."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.cli.command_line import PROGRAM, ROWS, disk_with, done, flats, refused, run, write_csv


def test_fit_prints_score_beside_baseline_and_saves_under_the_tables_name(tmp_path: Path) -> None:
    write_csv("flats.csv", flats())

    result = done("fit", "flats.csv", "--target", "class", "--drop", "id", "--drop", "rent", "--epochs", 2)

    assert (tmp_path / "flats.mlp").stat().st_size > 1000
    assert "log_loss" in result.stdout
    assert "constant" in result.stdout and "linear model" in result.stdout
    assert "flats.mlp" in result.stdout
    assert "\x1b" not in result.output
    assert result.stderr == ""


def test_fit_says_what_it_decided(fitted: Path) -> None:
    from multilayer.model.model import Model

    decisions = Model.load(fitted / "class.mlp").summary["decisions"]
    result = done("fit", fitted / "flats.csv", "--target", "class", "--drop", "id,rent", "--epochs", 2)

    assert decisions
    assert result.stdout.startswith(decisions[0])


def test_fit_prints_json_and_nothing_else(fitted: Path) -> None:
    result = done(
        "fit", fitted / "flats.csv", "--target", "rent", "--drop", "id,class", "--epochs", 2, "--json"
    )

    facts = json.loads(result.stdout)
    assert facts["model"] == "flats.mlp"
    assert facts["task"] == "regression"
    assert facts["score"]["rmse"] > 0
    assert result.stderr == ""


def test_what_is_declared_at_fit_holds_for_the_commands_that_follow(tmp_path: Path) -> None:
    rows = "".join(f'"{i + 1},500.5",{i % 7 if i % 5 else "?"},{i + 0.5}\n' for i in range(40))
    Path("raw.csv").write_text("price,rooms,y\n" + rows)
    fit = ("fit", "raw.csv", "--target", "y", "--epochs", 1, "--members", 1, "--out", "m.mlp")

    done(*fit, "--missing", "?,-9", "--thousands", ",")
    facts = json.loads(done("inspect", "m.mlp", "--json").stdout)
    kinds = {column["name"]: (column["kind"], column["n_missing"]) for column in facts["schema"]["columns"]}
    assert kinds == {"price": ("number", 0), "rooms": ("number", 8)}
    assert done("predict", "m.mlp", "raw.csv").stdout.count("\n") == 41
    assert json.loads(done("evaluate", "m.mlp", "raw.csv", "--json").stdout)["score"]["rmse"] > 0

    done(*fit, "--missing", "rooms=?", "--thousands", ",")
    refused = run(*fit, "--missing", "rooms=?,-9")
    assert refused.exit_code == 2
    assert "--missing takes marks for all columns, or COL=MARK throughout" in refused.stderr


def test_a_query_says_which_rows_of_a_database(tmp_path: Path) -> None:
    with duckdb.connect("homes.duckdb") as connection:
        connection.execute("CREATE TABLE homes AS SELECT i AS size, i + 0.5 AS y FROM range(40) t(i)")
    fit = ("fit", "homes.duckdb", "--target", "y", "--epochs", 1, "--members", 1)

    refused = run(*fit)
    assert refused.exit_code == 2
    assert "its tables: 'homes'" in refused.stderr
    done(*fit, "--query", "SELECT * FROM homes WHERE size < 30")
    predicted = done("predict", "homes.mlp", "homes.duckdb", "--query", "SELECT size FROM homes LIMIT 3")
    assert predicted.stdout.count("\n") == 4
    scored = done("evaluate", "homes.mlp", "homes.duckdb", "--query", "FROM homes", "--json")
    assert json.loads(scored.stdout)["score"]["rmse"] > 0


def test_every_setting_reaches_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    came: dict[str, Any] = {}

    class Stop(Exception):
        pass

    def fit(table: str, **settings: Any) -> None:
        came.update(settings, table=table)
        raise Stop

    monkeypatch.setattr("multilayer.recipe.fit.fit", fit)
    words = """fit t.csv --target y --drop 'a, b,"c, d"' --drop e --task multiclass --seed 7 --time-budget 1.5
               --kind zip=category --kind a=b=date --group g --time when --epochs 9 --members 3
               --quality fast --objective quantile --quantiles 0.2,0.8
               --query 'select 1' --missing '?,-9' --missing n/a --thousands . --decimal ,
               --kind size=S<M<L --schema s.json --infinite clip
               --monotone size=increasing --monotone a=b=decreasing --network tabm
               --class-weight 1=5 --exposure e --threshold 0.3 --memory 2GiB --drop-missing-target
               --encoding latin-1 --no-header --calibration-rows 0.2"""
    result = run(*shlex.split(words))

    assert isinstance(result.exception, Stop)
    came.pop("callbacks")
    assert came.pop("baselines") and not came.pop("verbose")
    assert came == {
        "table": "t.csv",
        "target": "y",
        "drop": ["a", "b", "c, d", "e"],
        "task": "multiclass",
        "seed": 7,
        "time_budget": 1.5,
        "kinds": {"zip": "category", "a=b": "date", "size": ["S", "M", "L"]},
        "schema": "s.json",
        "infinite": "clip",
        "groups": "g",
        "time": "when",
        "epochs": 9,
        "members": 3,
        "quality": "fast",
        "objective": "quantile",
        "quantiles": (0.2, 0.8),
        "query": "select 1",
        "missing": ["?", "-9", "n/a"],
        "thousands": ".",
        "decimal": ",",
        "monotone": {"size": "increasing", "a=b": "decreasing"},
        "network": "tabm",
        "class_weight": {"1": 5.0},
        "exposure": "e",
        "threshold": 0.3,
        "memory": "2GiB",
        "drop_missing_target": True,
        "encoding": "latin-1",
        "header": False,
        "calibration": 0.2,
    }


def test_missing_table() -> None:
    assert "nowhere.csv" in refused("fit", "nowhere.csv", "--target", "y")


@pytest.mark.parametrize(
    "content",
    [b"", b"a,y\n", b"\x00\x01\x02\xff\xfe" * 200, b"a,y\n1,2\n1,2,3,4\n"],
    ids=["empty", "header alone", "binary", "ragged"],
)
def test_not_a_table(content: bytes) -> None:
    Path("bad.csv").write_bytes(content)

    assert "bad.csv" in refused("fit", "bad.csv", "--target", "y")


def test_absent_target_suggests_the_nearest_name(fitted: Path) -> None:
    assert "Did you mean 'rent'?" in refused("fit", fitted / "flats.csv", "--target", "rnet")


def test_absent_dropped_column_suggests_the_nearest_name(fitted: Path) -> None:
    assert "Did you mean 'city'?" in refused(
        "fit", fitted / "flats.csv", "--target", "rent", "--drop", "citty"
    )


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (["a"] * ROWS, "class"),
        (["a", "b", ""] * (ROWS // 3), "row 3"),
        ([1.5, 2.5, ""] * (ROWS // 3), "row 3"),
        ([1.5, 2.5, "inf"] * (ROWS // 3), "inf"),
    ],
    ids=["one class", "missing labels", "missing numbers", "infinity"],
)
def test_target_that_cannot_be_learnt(target: list[Any], said: str) -> None:
    write_csv("bad.csv", {"size": flats()["size"], "y": target})

    assert said in refused("fit", "bad.csv", "--target", "y")


def test_no_usable_column() -> None:
    write_csv("bad.csv", {"same": [1] * ROWS, "empty": [""] * ROWS, "y": flats()["rent"]})

    assert "column" in refused("fit", "bad.csv", "--target", "y")


def test_infinity_in_a_column() -> None:
    size = flats()["size"]
    size[16] = "inf"
    write_csv("bad.csv", {"size": size, "y": flats()["rent"]})

    message = refused("fit", "bad.csv", "--target", "y")

    assert "'size'" in message
    assert "17" in message


def test_one_row() -> None:
    write_csv("bad.csv", flats(1))

    assert "row" in refused("fit", "bad.csv", "--target", "rent")


def test_a_target_that_is_not_there_in_a_file_without_names_says_how_to_read_it() -> None:
    Path("t.csv").write_text("5.1,3.5,a\n4.9,3.1,b\n")
    message = refused("fit", "t.csv", "--target", "kind")
    assert "no column 'kind'. Its columns: '5.1', '3.5', 'a'." in message and "--no-header" in message


def test_rows_without_a_target_are_left_out_when_asked() -> None:
    columns = flats()
    columns["rent"][3] = "?"
    write_csv("gaps.csv", columns)

    message = refused("fit", "gaps.csv", "--target", "rent")
    assert "row 4 holds '?'" in message and "--drop-missing-target" in message
    done = run("fit", "gaps.csv", "--target", "rent", "--drop-missing-target", "--epochs", 1, "--members", 1)
    assert "1 row without a target left out" in done.stdout


def test_impossible_kind(fitted: Path) -> None:
    assert "'city'" in refused("fit", fitted / "flats.csv", "--target", "rent", "--kind", "city=number")


def test_full_disk_leaves_the_old_model(fitted: Path, model: Path) -> None:
    words = [
        "fit",
        fitted / "flats.csv",
        "--target",
        "class",
        "--drop",
        "id,rent",
        "--epochs",
        2,
        "--out",
        model,
    ]

    with disk_with(300):
        message = refused(*words)

    assert "class.mlp" in message


def test_ctrl_c_keeps_the_best_model_so_far(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(state: Any) -> None:
        if state.epoch == 2:
            raise KeyboardInterrupt

    @contextmanager
    def progress(_: str, quiet: bool = False) -> Iterator[Callable[[Any], None]]:
        yield ctrl_c

    words = [
        "fit",
        fitted / "flats.csv",
        "--target",
        "class",
        "--drop",
        "id,rent",
        "--out",
        "x.mlp",
        "--json",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["multilayer.cli.fit"], "progress", progress)
        result = run(*words)

    assert result.exit_code == 130
    assert result.stderr.startswith("stopped by Ctrl-C: the best model so far is saved in x.mlp")
    assert json.loads(result.stdout)["summary"]["interrupted"] is True
    done("predict", "x.mlp", fitted / "flats.csv")


def test_ctrl_c_before_training_says_so(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("multilayer.recipe.fit.fit", fit)
    result = run("fit", fitted / "flats.csv", "--target", "rent")

    assert (result.exit_code, result.stdout, result.stderr.strip()) == (130, "", "stopped by Ctrl-C.")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_real_ctrl_c_during_the_progress_bar(tmp_path: Path) -> None:
    import pty

    write_csv("flats.csv", flats(30_000))
    reader, terminal = pty.openpty()
    words = [*PROGRAM, "fit", "flats.csv", "--target", "rent", "--drop", "id,class", "--epochs", "500"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=terminal, env={**os.environ, "TERM": "xterm"}
    ) as child:
        os.close(terminal)
        shown = b""
        while b" of 500" not in shown:
            chunk = read_or_end(reader)
            assert chunk, shown
            shown += chunk
        child.send_signal(signal.SIGINT)
        while chunk := read_or_end(reader):
            shown += chunk
        status = child.wait(timeout=600)
    os.close(reader)

    assert status == 130
    assert b"stopped by Ctrl-C" in shown
    assert b"Traceback" not in shown
    assert (tmp_path / "flats.mlp").exists()


def read_or_end(reader: int) -> bytes:
    try:
        return os.read(reader, 4096)
    except OSError:  # Linux reports the end of a terminal as an error
        return b""


def test_members_are_trained_and_said(fitted: Path) -> None:
    result = done(
        "fit", fitted / "flats.csv", "--target", "rent", "--members", 2, "--epochs", 2, "--out", "two.mlp"
    )

    assert "networks: 2 with" in result.stdout
    facts = json.loads(done("inspect", "two.mlp", "--json").stdout)
    assert facts["model"] == "two.mlp"


def test_quiet_prints_nothing_and_baselines_can_be_left_out(fitted: Path) -> None:
    words = ("fit", fitted / "flats.csv", "--target", "rent", "--members", 2, "--epochs", 2)

    assert done(*words, "--out", "q.mlp", "--quiet").stdout == ""
    plain = done(*words, "--out", "q.mlp", "--no-baselines").stdout
    assert "linear model" not in plain and "constant" in plain
