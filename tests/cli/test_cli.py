"""The command line: what it prints, what it writes, and how it refuses."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from multilayer import cli, recipe

ROWS = 120
PROGRAM = [sys.executable, "-c", "from multilayer.cli import main; main()"]


def run(*words: object) -> Any:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def done(*words: object) -> Any:
    """A run that must succeed."""
    result = run(*words)
    assert result.exit_code == 0, result.stderr or result.exception
    return result


def refused(*words: object) -> str:
    """The message of a run that must end in one error, print no result and touch no file."""
    before = files_here()
    result = run(*words)

    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert files_here() == before
    return result.stderr


def files_here() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def write_csv(path: Path | str, columns: dict[str, list[Any]]) -> None:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def flats(n_rows: int = ROWS, seed: int = 0) -> dict[str, list[Any]]:
    """Flats whose rent follows from their size, and which are dear or cheap by it."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(20, 120, n_rows).round(1)
    city = rng.choice(["Bonn", "Kiel"], n_rows)
    rent = (10 * size + 50 * (city == "Bonn")).round(2)
    return {
        "id": list(range(n_rows)),
        "size": size.tolist(),
        "city": city.tolist(),
        "rent": rent.tolist(),
        "class": ["dear" if r > 700 else "cheap" for r in rent],
    }


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with flats.csv and the models class.mlp and rent.mlp."""
    path = tmp_path_factory.mktemp("fitted")
    write_csv(path / "flats.csv", flats())
    for target, other in (("class", "rent"), ("rent", "class")):
        done("fit", path / "flats.csv", "--target", target, "--drop", f"id,{other}", "--epochs", 3,
             "--out", path / f"{target}.mlp")  # fmt: skip
    return path


@pytest.fixture
def model(fitted: Path, tmp_path: Path) -> Path:
    """A copy of the classifier, in the test's own folder."""
    path = tmp_path / "class.mlp"
    path.write_bytes((fitted / "class.mlp").read_bytes())
    return path


def test_fit_prints_score_beside_baseline_and_saves_under_the_tables_name(tmp_path: Path) -> None:
    write_csv("flats.csv", flats())

    result = done("fit", "flats.csv", "--target", "class", "--drop", "id", "--drop", "rent", "--epochs", 2)

    assert (tmp_path / "flats.mlp").stat().st_size > 1000
    assert "log_loss" in result.stdout
    assert "baseline" in result.stdout
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

    monkeypatch.setattr(recipe, "fit", fit)
    words = """fit t.csv --target y --drop 'a, b,"c, d"' --drop e --task multiclass --seed 7 --time-budget 1.5
               --kind zip=category --kind a=b=date --group g --time when --epochs 9 --members 3
               --quality fast --objective quantile --quantiles 0.2,0.8
               --query 'select 1' --missing '?,-9' --missing n/a --thousands . --decimal ,
               --kind size=S<M<L --schema s.json --infinite clip
               --monotone size=increasing --monotone a=b=decreasing --network tabm
               --class-weight 1=5 --exposure e --threshold 0.3 --memory 2GiB --drop-missing-target
               --encoding latin-1 --no-header"""
    result = run(*shlex.split(words))

    assert isinstance(result.exception, Stop)
    came.pop("callbacks")
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
    }


def test_predict_writes_csv_to_stdout(fitted: Path) -> None:
    result = done("predict", fitted / "class.mlp", fitted / "flats.csv")

    rows = list(csv.DictReader(StringIO(result.stdout)))
    assert list(rows[0]) == ["probability_cheap", "probability_dear", "prediction"]
    assert len(rows) == ROWS
    for row in rows:
        cheap, dear = float(row["probability_cheap"]), float(row["probability_dear"])
        assert cheap + dear == pytest.approx(1)
        assert row["prediction"] == ("dear" if dear > cheap else "cheap")


def test_predict_writes_the_same_to_csv_and_parquet(fitted: Path) -> None:
    done("predict", fitted / "class.mlp", fitted / "flats.csv", "--out", "p.csv")
    result = done("predict", fitted / "class.mlp", fitted / "flats.csv", "--out", "p.parquet", "--json")

    assert json.loads(result.stdout)["n_rows"] == ROWS
    assert Path("p.csv").read_text() == done("predict", fitted / "class.mlp", fitted / "flats.csv").stdout
    with duckdb.connect() as connection:
        as_csv = connection.sql("select * from 'p.csv'").fetchnumpy()
        as_parquet = connection.sql("select * from 'p.parquet'").fetchnumpy()
    assert list(as_csv) == list(as_parquet)
    for name in as_csv:
        np.testing.assert_array_equal(as_csv[name], as_parquet[name])


def test_predict_needs_no_target_and_a_number_has_one_column(fitted: Path) -> None:
    write_csv("new.csv", {"size": [50.0, 60.0], "city": ["Bonn", "Kiel"]})

    lines = done("predict", fitted / "rent.mlp", "new.csv").stdout.splitlines()

    assert lines[0] == "prediction"
    assert [float(line) > 0 for line in lines[1:]] == [True, True]


def test_predict_overwrites_a_file_and_leaves_no_other(fitted: Path, tmp_path: Path) -> None:
    for name in ("p.csv", "p.parquet"):
        (tmp_path / name).write_text("old")

        done("predict", fitted / "class.mlp", fitted / "flats.csv", "--out", name)

        assert (tmp_path / name).stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "p.parquet"]


def test_evaluate_prints_a_table_or_json(fitted: Path) -> None:
    text = done("evaluate", fitted / "rent.mlp", fitted / "flats.csv").stdout
    score = json.loads(done("evaluate", fitted / "rent.mlp", fitted / "flats.csv", "--json").stdout)["score"]

    assert "rmse" in text
    assert "baseline" in text
    assert score["baseline_rmse"] > 0


def test_inspect_shows_columns_network_training_and_score(fitted: Path) -> None:
    text = done("inspect", fitted / "class.mlp").stdout
    facts = json.loads(done("inspect", fitted / "class.mlp", "--json").stdout)

    for part in ("size", "city", "Linear", "log_loss", "baseline", "seed"):
        assert part in text
    assert facts["classes"] == ["cheap", "dear"]
    assert facts["schema"]


def test_demo_runs_the_commands_that_it_prints(tmp_path: Path) -> None:
    text = done("demo", "--dir", "show").stdout

    assert "$ multilayer fit show/tumours.csv --target diagnosis --out show/tumours.mlp" in text
    assert "$ multilayer predict show/tumours.mlp show/new_tumours.csv --out show/predictions.csv" in text
    assert len((tmp_path / "show/predictions.csv").read_text().splitlines()) == 1 + 114
    score = json.loads(done("evaluate", "show/tumours.mlp", "show/new_tumours.csv", "--json").stdout)["score"]
    assert score["accuracy"] > 0.9 > score["baseline_accuracy"]


def test_version() -> None:
    from multilayer import __version__

    assert done("--version").stdout == f"multilayer {__version__}\n"


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


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"size": [50.0, "big"], "city": ["Bonn", "Kiel"]}, ["'size'", "row 2", "'big'"]),
        ({"size": [50.0]}, ["'city'"]),
        ({"sizes": [50.0], "city": ["Bonn"]}, ["'size'", "'sizes'"]),
        ({"size": ["inf"], "city": ["Bonn"]}, ["'size'", "inf"]),
    ],
    ids=["text for a number", "missing column", "misspelt column", "infinity"],
)
def test_table_that_the_model_was_not_fitted_on(
    model: Path, columns: dict[str, list[Any]], said: list[str]
) -> None:
    write_csv("new.csv", columns)
    Path("p.csv").write_text("old")

    message = refused("predict", model, "new.csv", "--out", "p.csv")

    for part in said:
        assert part in message


def test_an_extra_column_is_a_warning_unless_it_is_refused(model: Path) -> None:
    write_csv("new.csv", {"size": [50.0], "city": ["Bonn"], "floor": [3]})

    result = run("predict", model, "new.csv")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert result.stderr == "warning: Columns that were not there at fit are not used: 'floor'.\n"
    assert run("predict", model, "new.csv", "--extra", "ignore").stderr == ""
    assert "'floor', which this table has" in refused("predict", model, "new.csv", "--extra", "error")


def test_a_dash_is_standard_input(model: Path) -> None:
    write_csv("new.csv", {"size": [50.0, 60.0], "city": ["Bonn", "Kiel"]})
    content = Path("new.csv").read_bytes()

    piped = CliRunner().invoke(cli.app, ["predict", str(model), "-"], input=content)
    assert (piped.exit_code, piped.stdout) == (0, done("predict", model, "new.csv").stdout)
    schema = CliRunner().invoke(cli.app, ["schema", "-", "--json"], input=content)
    assert [column["name"] for column in json.loads(schema.stdout)["columns"]] == ["size", "city"]
    empty = CliRunner().invoke(cli.app, ["predict", str(model), "-"], input=b"")
    assert empty.exit_code == 2 and "standard input is empty" in empty.stderr


def test_what_stood_before_the_header_is_said() -> None:
    Path("t.csv").write_text("# exported today\nx,y\n" + "".join(f"{k},{k % 7}\n" for k in range(40)))
    assert "read: before the header, left out: '# exported today'" in done("schema", "t.csv").stdout
    fitted = done("fit", "t.csv", "--target", "y", "--epochs", 1, "--members", 1).stdout
    assert fitted.startswith("read: before the header, left out: '# exported today'")


def test_a_target_that_is_not_there_in_a_file_without_names_says_how_to_read_it() -> None:
    Path("t.csv").write_text("5.1,3.5,a\n4.9,3.1,b\n")
    message = refused("fit", "t.csv", "--target", "kind")
    assert "no column 'kind'. Its columns: '5.1', '3.5', 'a'." in message and "--no-header" in message


def test_a_file_of_another_encoding_without_names() -> None:
    lines = [f"{'José' if k % 2 else 'Åsa'};{k};{k / 2}" for k in range(40)]
    Path("t.txt").write_bytes("\n".join(lines).encode("cp1252"))
    reading = ("--encoding", "cp1252", "--no-header")

    shown = done("schema", "t.txt", "--out", "s.json", *reading).stdout
    assert "--encoding cp1252 --no-header" in shown and "Åsa" in shown
    done("fit", "t.txt", "--target", 2, "--epochs", 1, "--members", 1, "--out", "m.mlp", *reading)
    assert len(done("predict", "m.mlp", "t.txt").stdout.splitlines()) == 41


def test_rows_without_a_target_are_left_out_when_asked() -> None:
    columns = flats()
    columns["rent"][3] = "?"
    write_csv("gaps.csv", columns)

    message = refused("fit", "gaps.csv", "--target", "rent")
    assert "row 4 holds '?'" in message and "--drop-missing-target" in message
    done = run("fit", "gaps.csv", "--target", "rent", "--drop-missing-target", "--epochs", 1, "--members", 1)
    assert "1 row without a target left out" in done.stdout


def test_evaluate_without_the_target(model: Path) -> None:
    write_csv("new.csv", {"size": [50.0], "city": ["Bonn"]})

    assert "'class'" in refused("evaluate", model, "new.csv")


@pytest.mark.parametrize(
    "words",
    [
        ["fit"],
        ["fit", "t.csv"],
        ["fit", "t.csv", "--target", "y", "--task", "ranking"],
        ["fit", "t.csv", "--target", "y", "--seed", "-1"],
        ["fit", "t.csv", "--target", "y", "--epochs", "0"],
        ["fitt", "t.csv"],
    ],
    ids=" ".join,
)
def test_wrong_usage(words: list[str]) -> None:
    result = run(*words)

    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert result.stdout == ""


def test_kind_without_its_column() -> None:
    assert "--monotone takes COL=DIRECTION" in refused("fit", "t.csv", "--target", "y", "--monotone", "size")
    assert "--kind takes COL=KIND" in refused("fit", "t.csv", "--target", "y", "--kind", "category")


def test_schema_is_printed_written_edited_and_fitted_on(fitted: Path) -> None:
    table = fitted / "flats.csv"
    text = done("schema", table, "--out", "s.json").stdout
    lines = text.splitlines()
    assert lines[0].split() == ["column", "kind", "missing", "distinct", "range", "or", "levels"]
    assert "city    category        0         2  " in text
    assert lines[-1] == f"Saved in s.json. To use it: multilayer fit {table} --schema s.json"
    schema = json.loads(Path("s.json").read_text())
    assert json.loads(done("schema", table, "--json").stdout) == schema
    by_name = {column["name"]: column for column in schema["columns"]}
    by_name["city"]["kind"], by_name["city"]["levels"] = "ordered", ["Kiel", "Bonn"]
    Path("s.json").write_text(json.dumps(schema))
    done("fit", table, "--target", "rent", "--drop", "id", "--epochs", 1, "--members", 1,
         "--schema", "s.json", "--out", "m.mlp")  # fmt: skip
    from multilayer.model.model import Model

    model = Model.load("m.mlp")
    assert (model.schema["city"].kind, model.schema["city"].levels) == ("ordered", ("Kiel", "Bonn"))
    assert "city    ordered " in done("inspect", "m.mlp").stdout


def test_schema_takes_kinds_and_refuses_what_it_cannot_write(fitted: Path) -> None:
    table = fitted / "flats.csv"
    assert "Kiel < Bonn" in done("schema", table, "--kind", "city=Kiel<Bonn").stdout
    assert "Did you mean 'category'" in refused("schema", table, "--kind", "city=catgory")
    assert "folder" in refused("schema", table, "--out", ".")
    assert "nowhere.json" in refused("fit", table, "--target", "rent", "--schema", "nowhere.json")


def test_impossible_kind(fitted: Path) -> None:
    assert "'city'" in refused("fit", fitted / "flats.csv", "--target", "rent", "--kind", "city=number")


def damage_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5])


def damage_emptied(path: Path) -> None:
    path.write_bytes(b"")


def damage_one_weight(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-50] ^= 0x40
    path.write_bytes(content)


def damage_header(path: Path) -> None:
    content = path.read_bytes()
    assert b"class" in content
    path.write_bytes(content.replace(b"cheap", b"cheep"))


def damage_not_ours(path: Path) -> None:
    save_file({"weight": np.zeros(3)}, path, metadata={"format": "pt"})


def damage_table(path: Path) -> None:
    path.write_text("a,b\n1,2\n")


DAMAGES = [value for name, value in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.removeprefix("damage_"))
def test_damaged_model_file(model: Path, fitted: Path, damage: Callable[[Path], None]) -> None:
    damage(model)

    assert "class.mlp" in refused("predict", model, fitted / "flats.csv", "--out", "p.csv")


def test_model_file_of_a_newer_format(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multilayer.model.model import Model

    with monkeypatch.context() as patch:
        patch.setattr("multilayer.model.format.FORMAT", 99)
        Model.load(model).save(model)

    message = refused("inspect", model)

    assert "99" in message
    assert "Update multilayer" in message


def test_missing_model_file(fitted: Path) -> None:
    assert "nowhere.mlp" in refused("inspect", "nowhere.mlp")


@pytest.mark.parametrize(
    ("out", "said"),
    [("nowhere/x.mlp", "nowhere"), ("taken", "folder"), ("flats.csv", "input")],
    ids=["missing folder", "a folder", "the input"],
)
@pytest.mark.parametrize("command", ["fit", "predict"])
def test_output_is_checked_before_the_work(
    out: str, said: str, command: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "fit", lambda *_, **__: pytest.fail("trained first"))
    write_csv("flats.csv", flats())
    (tmp_path / "taken").mkdir()
    if command == "predict":
        out = out.replace(".mlp", ".csv").replace("taken", "taken.csv")
        (tmp_path / "taken.csv").mkdir()
    words = ["fit", "flats.csv", "--target", "rent"] if command == "fit" else ["predict", model, "flats.csv"]

    assert said in refused(*words, "--out", out)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_output_that_is_no_file(fitted: Path) -> None:
    os.mkfifo("pipe")
    result = run("fit", fitted / "flats.csv", "--target", "rent", "--out", "pipe")

    assert result.exit_code == 2
    assert Path("pipe").is_fifo()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_may_not_be_written(fitted: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)

    assert "closed" in refused("fit", fitted / "flats.csv", "--target", "rent", "--out", "closed/x.mlp")


def test_predictions_have_one_of_two_endings(fitted: Path) -> None:
    assert ".parquet" in refused("predict", fitted / "class.mlp", fitted / "flats.csv", "--out", "p.xlsx")


@contextmanager
def disk_with(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond n_bytes: the system answers a write beyond it as it does on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_full_disk_leaves_the_old_predictions(fitted: Path, name: str) -> None:
    Path(name).write_text("old")

    with disk_with(300):
        message = refused("predict", fitted / "class.mlp", fitted / "flats.csv", "--out", name)

    assert name in message


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_behind_stdout(fitted: Path) -> None:
    with Path("/dev/full").open("w") as full:
        words = [*PROGRAM, "predict", str(fitted / "class.mlp"), str(fitted / "flats.csv")]
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert result.returncode == 2
    assert result.stderr.startswith("error: standard output could not be written: No space left")
    assert "Traceback" not in result.stderr


def test_ctrl_c_keeps_the_best_model_so_far(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(state: Any) -> None:
        if state.epoch == 2:
            raise KeyboardInterrupt

    @contextmanager
    def progress(_: str) -> Iterator[Callable[[Any], None]]:
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
        patch.setattr(cli, "_progress", progress)
        result = run(*words)

    assert result.exit_code == 130
    assert result.stderr.startswith("stopped by Ctrl-C: the best model so far is saved in x.mlp")
    assert json.loads(result.stdout)["summary"]["interrupted"] is True
    done("predict", "x.mlp", fitted / "flats.csv")


def test_ctrl_c_before_training_says_so(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "fit", fit)
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


def test_a_bug_of_ours_keeps_its_traceback(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(recipe, "fit", fit)
    result = run("fit", fitted / "flats.csv", "--target", "rent")

    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def test_the_program_ends_with_the_status_and_one_message(fitted: Path) -> None:
    words = [*PROGRAM, "fit", str(fitted / "flats.csv"), "--target", "rent", "--kind", "city=colour"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "colour" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_text_is_plain_and_uncut_when_it_is_not_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    cli._print(cli._text_table(["metric", "[b]x[/b]"], [["m" * 300, "1"]]))

    text = capsys.readouterr().out
    assert "m" * 300 in text
    assert "[b]x[/b]" in text
    assert "\x1b" not in text


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    cli._print_json({"a": np.float64("nan"), "b": np.arange(2), "c": (float("inf"), np.True_), 1: Path("x")})

    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [0, 1], "c": [None, True], "1": "x"}


def test_members_are_trained_and_said(fitted: Path) -> None:
    result = done(
        "fit", fitted / "flats.csv", "--target", "rent", "--members", 2, "--epochs", 2, "--out", "two.mlp"
    )

    assert "networks: 2 of" in result.stdout
    facts = json.loads(done("inspect", "two.mlp", "--json").stdout)
    assert facts["model"] == "two.mlp"


def test_warmup_says_that_the_kernels_are_compiled() -> None:
    assert "The training kernels are compiled." in done("warmup").stdout
