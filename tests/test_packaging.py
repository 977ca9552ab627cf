"""What is built for others: a wheel with the package alone, and an sdist from which all can be made.

The normal run builds both and runs the wheel beside the packages that are here. To install them into
environments that hold nothing else, also with the oldest releases that pyproject.toml allows:

    PACKAGING="python3.11 python3.12" scripts/test -n 0 tests/test_packaging.py
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy
import pytest

import multilayer as ml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = ROOT / "packaging" / "runtime"
PYTHONS = os.environ.get("PACKAGING", "").split()

# What someone does who has just installed it; the folder that it must come from is the first argument.
USE = """
import sys
import numpy as np
import multilayer as ml

assert ml.__file__.startswith(sys.argv[1]), ml.__file__
table = {"x": np.arange(60.0), "zone": ["a", "b", "c"] * 20, "y": np.arange(60.0) * 2}
model = ml.fit(table, target="y", epochs=2, members=2)
model.save("model.mlp")
assert (ml.Model.load("model.mlp").predict(table) == model.predict(table)).all()
with open("table.csv", "w") as file:
    file.write("x,zone,y\\n" + "".join(f"{i},a,{i}\\n" for i in range(60)))
assert ml.Model.load("model.mlp").evaluate("table.csv")["rmse"] > 0
print(ml.__version__)
"""


# What someone does who has installed multilayer-runtime, beside NumPy and nothing else.
SERVE = """
import json
import sys

import multilayer as ml
from multilayer import runtime

assert ml.__file__.startswith(sys.argv[1]), ml.__file__
model = runtime.load("model.mlp")
wanted = json.load(open("wanted.json"))
row = {"x": 3.5, "zone": "b"}
found = [model.predict(row)[0], model.predict([row, {"x": None, "zone": "new"}])[1]]
assert all(abs(a - b) <= 1e-5 * abs(b) for a, b in zip(found, wanted)), (found, wanted)
assert abs(model.predict("table.csv")[0] - wanted[2]) <= 1e-5 * abs(wanted[2])
for asked, said in [
    (lambda: ml.fit, "multilayer.fit needs multilayer; multilayer-runtime is installed"),
    (lambda: ml.Model, "multilayer.Model needs multilayer"),
    (lambda: model.predict("table.parquet"), "needs duckdb to be read, which is not installed"),
]:
    try:
        asked()
    except ml.MissingExtraError as error:
        assert said in str(error), error
    else:
        raise AssertionError(said)
allowed = {"numpy", "multilayer"} | set(sys.stdlib_module_names)
found = {name.partition(".")[0] for name in sys.modules} - allowed
assert not {name for name in found if not name.startswith("_")}, found
"""


@pytest.fixture(scope="module")
def runtime_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of multilayer-runtime, built without a network."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("wheels are built by hatchling: pip install '.[test]'")
    folder = tmp_path_factory.mktemp("runtime")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=RUNTIME)
    return wheel_of(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, tables, and what the model says of some rows."""
    folder = tmp_path_factory.mktemp("served")
    table = {
        "x": [float(i) for i in range(60)],
        "zone": ["a", "b", "c"] * 20,
        "y": [2.0 * i for i in range(60)],
    }
    model = ml.fit(table, target="y", epochs=2, members=2)
    model.save(folder / "model.mlp")
    rows = {"x": [3.5, None, 0.0], "zone": ["b", "new", "a"]}
    (folder / "wanted.json").write_text(json.dumps(model.predict(rows).tolist()))
    (folder / "table.csv").write_text("x,zone,y\n" + "".join(f"{i},a,{i}\n" for i in range(60)))
    (folder / "table.parquet").write_bytes(b"PAR1")
    (folder / "serve.py").write_text(SERVE)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built without a network."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("wheel and sdist are built by hatchling: pip install '.[test]'")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", str(folder), cwd=ROOT)
    return folder


def run(*command: str, cwd: Path, **more: str) -> str:
    """What a command prints; its end if it fails."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=clean | more)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def wheel_of(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


def sdist_of(built: Path) -> Path:
    (sdist,) = built.glob("*.tar.gz")
    return sdist


def sources() -> set[str]:
    """Files of the package, with the styles, programs of pages and the C that it writes into others."""
    src = ROOT / "src"
    kinds = ("*.py", "*.css", "*.js", "*.c")
    return {str(path.relative_to(src)) for kind in kinds for path in (src / "multilayer").rglob(kind)}


def test_wheel_holds_the_package_alone(built: Path) -> None:
    names = set(zipfile.ZipFile(wheel_of(built)).namelist())
    package = {name for name in names if ".dist-info/" not in name}
    assert package == sources() | {"multilayer/py.typed"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_sdist_holds_what_tests_and_site_are_made_of(built: Path) -> None:
    with tarfile.open(sdist_of(built)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in sources()} <= names
    for needed in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "constraints.txt", "LICENSE"):
        assert needed in names
    for folder in ("docs", "tests", "packaging", "scripts", "benchmarks"):
        files = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True)
        if files.returncode:
            pytest.skip("this is no clone: nothing says which files belong to the project")
        kept = {name for name in files.stdout.splitlines() if not name.endswith(".jsonl")}
        assert kept <= names, sorted(kept - names)[:5]


def test_wheel_of_the_sdist_is_the_wheel(built: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist_of(built)) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again"), cwd=folder)
    again = zipfile.ZipFile(wheel_of(tmp_path / "again"))
    wheel = zipfile.ZipFile(wheel_of(built))
    assert {name: again.read(name) for name in again.namelist()} == {
        name: wheel.read(name) for name in wheel.namelist()
    }


def test_wheel_works_beside_the_packages_that_are_here(built: Path, tmp_path: Path) -> None:
    """As unpacked from the wheel, and not from the clone: a file that the wheel lacks is an error."""
    with zipfile.ZipFile(wheel_of(built)) as wheel:
        wheel.extractall(tmp_path / "installed")
    (tmp_path / "use.py").write_text(USE)
    where = str(tmp_path / "installed")
    version = run(sys.executable, "use.py", where, cwd=tmp_path, PYTHONPATH=where, PYTHONSAFEPATH="1")
    assert version.strip() == PROJECT["version"]
    shown = run(sys.executable, "-m", "multilayer", "--version", cwd=tmp_path, PYTHONPATH=where)
    assert PROJECT["version"] in shown


def test_the_runtime_is_a_part_of_the_package(runtime_wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(runtime_wheel).namelist() if name.endswith(".py")}
    assert names < sources()
    assert {"multilayer/runtime/model.py", "multilayer/table/encode.py", "multilayer/nn/config.py"} <= names
    others = (
        "recipe",
        "estimators",
        "cli",
        "inspect",
        "textbook",
        "training/kernels",
        "nn/blocks",
        "model/model",
    )
    assert not {name for name in names if name.startswith(tuple(f"multilayer/{other}" for other in others))}


def test_the_runtime_works_beside_numpy_alone(runtime_wheel: Path, served: Path, tmp_path: Path) -> None:
    """In a Python that knows of no installed package but NumPy."""
    with zipfile.ZipFile(runtime_wheel) as wheel:
        wheel.extractall(tmp_path / "installed")
    numpy_at = Path(numpy.__file__).parents[1]
    for package in numpy_at.glob("numpy*"):
        (tmp_path / "installed" / package.name).symlink_to(package)
    where = str(tmp_path / "installed")
    run(sys.executable, "-S", "serve.py", where, cwd=served, PYTHONPATH=where, PYTHONSAFEPATH="1")


@pytest.mark.slow
@pytest.mark.skipif(not PYTHONS, reason='takes a package index: PACKAGING="python3.11" asks for it')
@pytest.mark.parametrize("python", PYTHONS or ["python3"])
def test_the_runtime_is_installed_in_less_than_90_mb(
    runtime_wheel: Path, served: Path, tmp_path: Path, python: str
) -> None:
    run(python, "-m", "venv", "--without-pip", "env", cwd=tmp_path)
    own = tmp_path / "env" / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(own),
        "install",
        "--quiet",
        str(runtime_wheel),
        cwd=tmp_path,
    )
    run(str(own), "serve.py", str(tmp_path / "env"), cwd=served)
    n_bytes = sum(path.stat().st_size for path in (tmp_path / "env" / "lib").rglob("*") if path.is_file())
    assert n_bytes < 90e6


def test_each_bound_of_a_dependency_says_from_which_release_on() -> None:
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in (each.split(";")[0] for group in lists for each in group):
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        if name[0] not in ("multilayer", "pandas-stubs", "tzdata"):
            assert re.match(r"[\w-]+(\[\w+\])?>=[\d.]+$", requirement), f"{requirement} has no oldest release"


def oldest() -> list[str]:
    """The core and what reads frames, each at the oldest release that is allowed; torch as it comes."""
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["frames"]]
    pinned = [requirement.split(";")[0].strip().replace(">=", "==") for requirement in wanted]
    return [
        requirement for requirement in pinned if "==" in requirement and not requirement.startswith("torch")
    ]


@pytest.mark.slow
@pytest.mark.skipif(
    not PYTHONS, reason='takes minutes and a package index: PACKAGING="python3.11" asks for it'
)
@pytest.mark.parametrize("python", PYTHONS or ["python3"])
@pytest.mark.parametrize("what", ["wheel", "sdist", "oldest"])
def test_works_in_an_environment_that_holds_nothing_else(
    built: Path, tmp_path: Path, python: str, what: str
) -> None:
    run(python, "-m", "venv", "env", cwd=tmp_path)
    own = str(tmp_path / "env" / "bin" / "python")
    package = str(sdist_of(built) if what == "sdist" else wheel_of(built))
    releases = oldest() if what == "oldest" else ["--constraint", str(ROOT / "constraints.txt")]
    run(own, "-m", "pip", "install", "--quiet", package, *releases, cwd=tmp_path)
    run(own, "-m", "pip", "check", cwd=tmp_path)
    (tmp_path / "use.py").write_text(USE)
    version = run(
        own, "-W", "error::DeprecationWarning:multilayer", "use.py", str(tmp_path / "env"), cwd=tmp_path
    )
    assert version.strip() == PROJECT["version"]
    program = str(tmp_path / "env" / "bin" / "multilayer")
    run(program, "fit", "table.csv", "--target", "y", "--epochs", "2", cwd=tmp_path)
    run(program, "predict", "table.mlp", "table.csv", cwd=tmp_path)
    shutil.rmtree(tmp_path / "env")  # gigabytes
