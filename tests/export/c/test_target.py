"""Files of C say what the library says, with every compiler and sanitizer that is here."""

import shutil
import subprocess

import numpy as np
import pytest

import multilayer as ml
from multilayer.errors import ConfigError
from multilayer.export.c.compiler import FLAGS, built
from multilayer.export.c.encoder import WRITTEN
from multilayer.export.c.link import LINK
from multilayer.export.c.network import ACTIVATIONS, NETWORK
from multilayer.runtime import network_steps
from multilayer.runtime.network_steps import NetworkStep
from multilayer.table.sources.read import Table
from multilayer.table.steps import Step, Take, Vectors
from multilayer.tasks.link_steps import LinkStep, OfEach, Softmax
from tests.export.every_kind import TASKS, model_of

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
ROUNDING = 2.0**-23


def flats():
    """A small model, and a row of it."""
    rng = np.random.default_rng(0)
    table = {
        "size": rng.uniform(20, 120, 200),
        "zone": rng.choice(["old town", "3", "true"], 200).astype(object),
        "int": rng.integers(0, 2, 200).astype(bool),
        "built": rng.integers(-20_000, 20_000, 200).astype("datetime64[D]"),
    }
    table["rent"] = 300 + 11 * table["size"] + 150 * (table["zone"] == "3")
    return ml.fit(table, target="rent", members=2, epochs=2, hidden=4, seed=0), table


@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_column_and_target(task, tmp_path):
    done = model_of(task).export("c", tmp_path / "m.c")
    assert done.parity.n_rows + done.parity.unknown == 2_000
    assert done.parity.encoder <= ROUNDING
    assert done.parity.output <= 1e-6


@pytest.mark.parametrize("network", ["realmlp", "resnet", "tabm"])
@pytest.mark.parametrize("task", ["two classes", "several classes"])
def test_every_architecture(network, task, tmp_path):
    if task not in TASKS:
        pytest.skip("there is no such task")
    done = model_of(task, network).export("c", tmp_path / "m.c")
    assert done.parity.output <= 1e-6


@pytest.mark.parametrize("cc", COMPILERS)
@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"),
        ("-O3", "-march=native", "-std=gnu11"),
    ],
    ids=["plain", "sanitized", "fused"],
)
def test_the_file_checks_itself(cc, flags, tmp_path):
    model = model_of("regression")
    path = model.export("c", tmp_path / "m.c").path
    program = built(path.read_text(), tmp_path, *flags, "-DMULTILAYER_VERIFY", cc=cc)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("largest difference on 12 rows: ")


CALLER = """
#include <stdio.h>
int main(void)
{
    multilayer_row row = {55, "port", 1, 0};
    double rent;
    row.built = multilayer_date(1950, 1, 1, 0, 0, 0);
    row.zone = "3.00";
    if (multilayer_predict(&row, &rent)) return 1;
    printf("%.17g\\n", rent);
    row.int_ = 0.5;
    return multilayer_predict(&row, &rent) != 3 || rent == rent;
}
"""


@pytest.mark.parametrize("cc", COMPILERS)
def test_a_caller_of_the_file(cc, tmp_path):
    model, _ = flats()
    path = model.export("c", tmp_path / "m.c").path
    program = built(path.read_text() + CALLER, tmp_path, "-pedantic", cc=cc)
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    row = {
        "size": [55.0],
        "zone": ["3.00"],
        "int": [True],
        "built": np.array(["1950-01-01"], "datetime64[D]"),
    }
    assert float(done.stdout) == pytest.approx(model.predict(row)[0], rel=1e-6)


def test_fast_math_is_refused(tmp_path):
    model, _ = flats()
    path = model.export("c", tmp_path / "m.c").path
    done = subprocess.run(
        ["cc", *FLAGS, "-ffast-math", "-c", path, "-o", tmp_path / "m.o"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "compile without -ffast-math" in done.stderr


def test_names_that_mean_something_in_c(tmp_path):
    x = np.random.default_rng(0).normal(size=(80, 4))
    names = ["*/ int main; /*", "\\", '"; %s??/', "double"]
    table = dict(zip(names, x.T, strict=True)) | {"y": np.where(x[:, 0] > 0, '"??=', "*/")}
    done = ml.fit(table, target="y", members=2, epochs=1, hidden=4).export("c", tmp_path / "m.c")
    assert done.parity.encoder == 0
    assert 'outputs: "??=, */' in done.notes[1] or "outputs: */" in done.notes[1]


def test_levels_with_a_zero_byte_are_refused(tmp_path):
    table = {"a": np.array(["x\0y", "x"] * 40, object), "b": np.arange(80.0), "y": np.arange(80) % 2}
    model = ml.fit(table, target="y", kinds={"a": "category"}, members=2, epochs=1, hidden=4)
    with pytest.raises(ConfigError, match="a string of C ends at a zero byte; levels of 'a' hold one"):
        model.export("c", tmp_path / "m.c")


def test_without_a_compiler_nothing_is_written(tmp_path, monkeypatch):
    model, _ = flats()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ConfigError, match="there is no C compiler here"):
        model.export("c", tmp_path / "m.c")
    assert list(tmp_path.iterdir()) == []


def test_the_file_needs_no_memory_and_no_other_header(tmp_path):
    model = model_of("regression")
    text = model.export("c", tmp_path / "m.c").path.read_text()
    before_check = text.partition("#if defined(MULTILAYER_VERIFY)")[0]
    included = {
        line.split("<")[1].rstrip(">") for line in before_check.splitlines() if line.startswith("#include")
    }
    assert included == {"math.h", "stdint.h", "string.h"}
    assert "malloc" not in before_check


def test_every_step_is_there():
    own = {step for step in Step.__subclasses__() if step.__module__ == Step.__module__}
    assert own - {Vectors, Take} == WRITTEN.keys()
    of_networks = {each for each in NetworkStep.__subclasses__() if each.__module__ == network_steps.__name__}
    assert of_networks - {network_steps.Add, network_steps.Concatenate} == NETWORK.keys()
    of_links = {each for each in LinkStep.__subclasses__() if each.__module__ == LinkStep.__module__}
    assert of_links - {Softmax, OfEach} == LINK.keys()
    assert ACTIVATIONS.keys() == network_steps.ACTIVATIONS.keys()


def test_a_table_of_rows_that_are_given_is_compared_too(tmp_path):
    model, table = flats()
    done = model.export("c", tmp_path / "m.c", rows=Table(table))
    assert done.on_rows.n_rows == 200
    assert done.on_rows.output <= 1e-6
