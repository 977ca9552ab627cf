"""What is built for others: a wheel with the package alone, and an sdist from which all can be made.

The normal run builds both and runs the wheel beside the packages that are here. To install them into
environments that hold nothing else, also with the oldest releases that pyproject.toml allows:

    PACKAGING="python3.11 python3.12" scripts/test -n 0 tests/test_packaging.py
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
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
    src = ROOT / "src"
    return {str(path.relative_to(src)) for path in (src / "multilayer").rglob("*.py")}


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
    for folder in ("docs", "tests", "scripts", "benchmarks"):
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


def test_each_bound_of_a_dependency_says_from_which_release_on() -> None:
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in (each for group in lists for each in group):
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        if name[0] not in ("multilayer", "pandas-stubs", "tzdata"):
            assert re.match(r"[\w-]+>=[\d.]+$", requirement), f"{requirement} has no oldest release"


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
