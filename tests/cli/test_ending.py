"""How a command ends, on full disks, closed pipes and under signals: in one line, and nothing is left."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multilayer import DataError, fit, read_table
from multilayer.output import temporary_folder
from multilayer.table.copy_to_disk import store

N_ROWS = 3_000
STEPS = list(range(N_ROWS))

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a table, and a model of it."""
    folder = tmp_path_factory.mktemp("faults")
    rows = "".join(f"{i % 50},{2 * i}\n" for i in range(N_ROWS))
    (folder / "t.csv").write_text(f"x,y\n{rows}")
    table = {"x": np.arange(60.0), "y": 2 * np.arange(60.0)}
    fit(table, target="y", epochs=1, members=1, hidden=4).save(folder / "m.mlp")
    return folder


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def multilayer(*arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "multilayer", *arguments]
    return subprocess.run(command, text=True, stderr=subprocess.PIPE, **more)


HEARING = """
for each in (signal.SIGHUP, signal.SIGTERM):
    signal.signal(each, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def driven(code: str, *arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    """The command line in a process that was prepared by some code, and hears signals.

    Tests that run under nohup, or in the background of a script, would hand down that signals are ignored.
    """
    script = (
        f"import os, signal, sys\nsys.argv = {['multilayer', *arguments]}\n{HEARING}{textwrap.dedent(code)}"
    )
    script += "\nfrom multilayer import cli\ncli.main()\n"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, **more)


PRINTING = [
    ("predict", "m.mlp", "t.csv"),
    ("predict", "m.mlp", "t.csv", "--json"),
    ("evaluate", "m.mlp", "t.csv"),
    ("inspect", "m.mlp"),
    ("schema", "t.csv", "--json"),
    ("--version",),
]
IDS = [" ".join(arguments) for arguments in PRINTING]


@pytest.mark.parametrize("arguments", PRINTING, ids=IDS)
def test_stdout_on_a_full_disk(arguments: Sequence[str]) -> None:
    with open("/dev/full", "w") as full:
        done = multilayer(*arguments, stdout=full)

    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output could not be written: No space left on device.")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", PRINTING, ids=IDS)
def test_a_reader_that_has_had_enough(arguments: Sequence[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = multilayer(*arguments, stdout=writing)
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("arguments", [PRINTING[0], PRINTING[1], PRINTING[3]])
def test_a_closed_stdout(arguments: Sequence[str]) -> None:
    done = multilayer(*arguments, preexec_fn=lambda: os.close(1))

    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output must be open; it is closed.")


def test_a_full_stderr_changes_no_exit_status() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "multilayer", "inspect", "none.mlp"]
        assert subprocess.run(command, stderr=full).returncode == 2


def limited() -> None:
    """No file may be larger: what a full disk is to the program, as the writing fails."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "m.mlp", "t.csv", "--out", "p.csv"),
        ("predict", "m.mlp", "t.csv", "--out", "p.parquet"),
        ("fit", "t.csv", "--target", "y", "--epochs", "1", "--members", "1", "--out", "new.mlp"),
    ],
    ids=["csv", "parquet", "model"],
)
def test_an_output_on_a_full_disk_leaves_nothing(arguments: Sequence[str]) -> None:
    before = sorted(os.listdir())

    done = multilayer(*arguments, preexec_fn=limited, stdout=subprocess.DEVNULL)

    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "could not be written" in lines[0]
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir()) == before


IN_A_FIT = """
    import multilayer.recipe.fit
    def fit(*arguments, **settings):
        os.kill(os.getpid(), signal.{name})
        while True:
            pass
    multilayer.recipe.fit.fit = fit
"""
WHILE_WRITING = """
    fsync = os.fsync
    def interrupted(descriptor):
        assert any(name.endswith(".tmp") for name in os.listdir())
        os.kill(os.getpid(), signal.{name})
        fsync(descriptor)
    os.fsync = interrupted
"""
WHILE_PREDICTING = """
    import multilayer.model.table_model
    def predict(*arguments, **settings):
        assert any(name.endswith(".tmp") for name in os.listdir())
        os.kill(os.getpid(), signal.{name})
        while True:
            pass
    multilayer.model.table_model.TableModel.predict_columns = predict
"""
FIT = ("fit", "t.csv", "--target", "y", "--out", "new.mlp")
SIGNALS = {"SIGTERM": "SIGTERM", "SIGHUP": "SIGHUP", "SIGINT": "Ctrl-C"}


WRITING = {
    "csv": (WHILE_WRITING, ("predict", "m.mlp", "t.csv", "--out", "p.csv")),
    "parquet": (WHILE_PREDICTING, ("predict", "m.mlp", "t.csv", "--out", "p.parquet")),
}


@pytest.mark.parametrize(
    ("name", "code", "arguments"),
    [*((name, IN_A_FIT, FIT) for name in SIGNALS), *(("SIGTERM", *case) for case in WRITING.values())],
    ids=[*SIGNALS, *WRITING],
)
def test_a_signal_ends_a_command_in_order(name: str, code: str, arguments: Sequence[str]) -> None:
    before = sorted(os.listdir())

    done = driven(code.format(name=name), *arguments)

    assert done.returncode == 128 + signal.Signals[name], done.stderr
    assert done.stderr == f"stopped by {SIGNALS[name]}.\n"
    assert sorted(os.listdir()) == before


EARLY = """
    import typer.main
    find = typer.main.get_command
    def early(app):
        os.kill(os.getpid(), signal.{name})
        return find(app)
    typer.main.get_command = early
"""


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_before_any_command_ends_the_process_as_signals_do(name: str) -> None:
    done = driven(EARLY.format(name=name), *FIT)

    assert (done.returncode, done.stdout, done.stderr) == (-signal.Signals[name], "", "")


IN_AN_IMPORT = """
    import builtins
    load = builtins.__import__
    def interrupted(name, *more):
        if name == "torch" and "torch" not in sys.modules:
            os.kill(os.getpid(), signal.{name})
            loaded = load(name, *more)
            assert loaded.nn.Linear  # as a whole: half of it may end the process, or swallow the signal
            return loaded
        return load(name, *more)
    builtins.__import__ = interrupted
"""
COMMANDS = [
    FIT,
    ("predict", "m.mlp", "t.csv", "--memory", "1GiB"),  # a small file is predicted without PyTorch
    ("evaluate", "m.mlp", "t.csv"),
    ("inspect", "m.mlp"),
    ("warmup",),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_a_signal_while_pytorch_is_loaded_is_heard_when_it_is_whole(arguments: Sequence[str]) -> None:
    code = (
        IN_AN_IMPORT.format(name="SIGTERM")
        + """
    import atexit
    atexit.register(lambda: print("whole" if hasattr(sys.modules["torch"], "nn") else "half"))
    """
    )
    done = driven(code, *arguments)

    assert (done.returncode, done.stdout, done.stderr) == (143, "whole\n", "stopped by SIGTERM.\n")


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_that_a_library_makes_another_error_of_is_a_signal(name: str) -> None:
    code = """
        import multilayer.recipe.fit
        def fit(*arguments, **settings):
            try:
                os.kill(os.getpid(), signal.{name})
            except KeyboardInterrupt as error:  # as Python itself does in __set_name__
                raise RuntimeError("Error calling __set_name__") from error
        multilayer.recipe.fit.fit = fit
    """
    done = driven(code.format(name=name), *FIT)

    assert (done.returncode, done.stderr) == (128 + signal.Signals[name], f"stopped by {SIGNALS[name]}.\n")


def test_a_second_signal_does_not_break_off_the_cleaning_up() -> None:
    code = (
        WHILE_WRITING
        + """
    from pathlib import Path
    unlink = Path.unlink
    def once_more(path, missing_ok=False):
        os.kill(os.getpid(), signal.{name})
        unlink(path, missing_ok=missing_ok)
    Path.unlink = once_more
"""
    )
    before = sorted(os.listdir())

    done = driven(code.format(name="SIGTERM"), "predict", "m.mlp", "t.csv", "--out", "p.csv")

    assert (done.returncode, done.stderr) == (143, "stopped by SIGTERM.\n")
    assert sorted(os.listdir()) == before


def test_a_model_so_far_is_saved_and_the_signal_named(folder: Path) -> None:
    code = """
        import multilayer.training.history, multilayer.recipe.fit as recipe
        fit = recipe.fit
        def interrupted(*arguments, callbacks=(), **settings):
            end = lambda state: os.kill(os.getpid(), signal.SIGTERM) if state.epoch == 2 else None
            return fit(*arguments, callbacks=(*callbacks, end), **settings)
        recipe.fit = interrupted
    """
    done = driven(code, *FIT, "--members", "1", "--epochs", "50")

    assert done.returncode == 143, done.stderr
    assert done.stderr.splitlines()[-1] == "stopped by SIGTERM: the best model so far is saved in new.mlp."
    Path("new.mlp").unlink()


KILLED = """
    import signal, os
    from multilayer.table.copy_to_disk import store
    with store("t.csv", memory_mb=200):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_copy_of_a_table_that_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(KILLED)]
    assert subprocess.run(command, env=environment).returncode == -9
    (left,) = tmp_path.iterdir()
    assert {path.name for path in left.iterdir()} >= {"in use", "rows.duckdb"}

    with temporary_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
        with temporary_folder(tmp_path) as other:  # that of a living process stays
            assert sorted(tmp_path.iterdir()) == sorted([folder, other])

    assert not list(tmp_path.iterdir())


def test_ctrl_c_while_duckdb_reads_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    from multilayer.table.sources import delimited

    def interrupted(*_: Any, **__: Any) -> None:
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr(delimited.Delimited, "relation", interrupted)

    Path("large.csv").write_text("x,y\n" + "1,2\n" * 300_000)  # a small file is read without DuckDB
    with pytest.raises(KeyboardInterrupt):
        read_table("large.csv")
    with pytest.raises(KeyboardInterrupt), store("large.csv", memory_mb=200):
        pass


BROKEN = {
    "cut.csv.gz": "cannot be read",
    "deep.json": "must not be nested",
    "pipe.csv": "is a device or a pipe",
    "broken.arrow": "cannot be read as an Arrow file",
    "broken.sqlite": "cannot be opened as a database",
    "broken.mlp": "cannot be read as a model",
}


def test_every_broken_input_is_one_line() -> None:
    import gzip

    Path("cut.csv.gz").write_bytes(gzip.compress(b"x,y\n1,2\n" * 999)[:-9])
    Path("deep.json").write_text("[" * 99_999)
    os.mkfifo("pipe.csv")
    for name in ("broken.arrow", "broken.sqlite", "broken.mlp"):
        Path(name).write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 9)
    try:
        for name, message in BROKEN.items():
            command = ("inspect", name) if name.endswith(".mlp") else ("schema", name)
            query = ("--query", "SELECT 1") if name.endswith(".sqlite") else ()
            done = multilayer(*command, *query, stdout=subprocess.DEVNULL)
            assert done.returncode == 2, (name, done.stderr)
            assert message in done.stderr, name
            assert done.stderr.count("\n") == 1, (name, done.stderr)
    finally:
        for name in BROKEN:
            Path(name).unlink()
    with pytest.raises(DataError, match="There is no file"):
        read_table("pipe.csv")


def test_a_closed_standard_input_is_one_line() -> None:
    done = multilayer("schema", "-", preexec_fn=lambda: os.close(0), stdout=subprocess.DEVNULL)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "standard input must be open" in done.stderr


TOO_LONG = "a" * 300 + ".csv"
NO_NAMES = {
    "table": ("schema", TOO_LONG),
    "nothing": ("predict", "m.mlp", ""),
    "model": ("inspect", TOO_LONG),
    "output": ("predict", "m.mlp", "t.csv", "--out", TOO_LONG),
}


@pytest.mark.parametrize("arguments", NO_NAMES.values(), ids=NO_NAMES)
def test_a_name_that_no_file_can_have_is_one_line_about_it(arguments: Sequence[str]) -> None:
    done = multilayer(*arguments, stdout=subprocess.DEVNULL)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "standard output" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_of_a_help_text_that_has_had_enough() -> None:
    read, write = os.pipe()
    os.close(read)
    done = multilayer("fit", "--help", stdout=write)
    os.close(write)

    assert (done.returncode, done.stderr) == (141, "")
