"""`multilayer schema`: what it prints and writes, and that `fit` takes it back."""

import json
from pathlib import Path

from tests.cli.command_line import done, refused


def test_what_stood_before_the_header_is_said() -> None:
    Path("t.csv").write_text("# exported today\nx,y\n" + "".join(f"{k},{k % 7}\n" for k in range(40)))
    assert "read: before the header, left out: '# exported today'" in done("schema", "t.csv").stdout
    fitted = done("fit", "t.csv", "--target", "y", "--epochs", 1, "--members", 1).stdout
    assert fitted.startswith("read: before the header, left out: '# exported today'")


def test_a_file_of_another_encoding_without_names() -> None:
    lines = [f"{'José' if k % 2 else 'Åsa'};{k};{k / 2}" for k in range(40)]
    Path("t.txt").write_bytes("\n".join(lines).encode("cp1252"))
    reading = ("--encoding", "cp1252", "--no-header")

    shown = done("schema", "t.txt", "--out", "s.json", *reading).stdout
    assert "--encoding cp1252 --no-header" in shown and "Åsa" in shown
    done("fit", "t.txt", "--target", 2, "--epochs", 1, "--members", 1, "--out", "m.mlp", *reading)
    assert len(done("predict", "m.mlp", "t.txt").stdout.splitlines()) == 41


def test_schema_is_printed_written_edited_and_fitted_on(fitted: Path) -> None:
    table = fitted / "flats.csv"
    text = done("schema", table, "--out", "s.json").stdout
    lines = text.splitlines()
    assert lines[0].split() == ["column", "kind", "missing", "distinct", "range", "or", "levels"]
    assert "city    category        0         2  " in text
    assert lines[-1] == f"Saved in s.json. To use it: multilayer fit {table} --target COL --schema s.json"
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
