"""The container's image: its install steps in a bare environment, and what they take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serve.asking import ROW
from tests.serve.running import free_port, until

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
MOST_MB = 105  # with Python on Alpine, of some 45 MB, the image stays under 150


def steps() -> list[str]:
    """The commands of the Dockerfile's first stage."""
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    line = next(line for line in text.splitlines() if line.startswith("RUN python -m venv"))
    return [" ".join(step.split()) for step in line.removeprefix("RUN ").split("&&")]


def test_the_image_has_what_pyproject_says_that_serving_needs():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {each.partition(";")[0].strip() for each in project["optional-dependencies"]["serve"]}
    lines = (DOCKER / "requirements.txt").read_text().splitlines()
    found = {line for line in lines if line and line[0] != "#"}
    assert wanted <= found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the image is one of Linux")
def test_the_install_steps_make_a_small_environment_that_serves(flats_mlp, tmp_path):
    pytest.importorskip("hatchling")
    wheels, to = tmp_path / "wheels", tmp_path / "installed"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheels / "requirements.txt").write_text((DOCKER / "requirements.txt").read_text())
    (tmp_path / "python").symlink_to(sys.executable)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for step in steps():
        command = step.replace("/opt/multilayer", str(to)).replace("/wheels", str(wheels))
        command = command.replace("pip --python", f"{sys.executable} -m pip --python", 1)
        command = command.replace("python -m venv", f"{sys.executable} -m venv", 1)
        done = subprocess.run(command, shell=True, capture_output=True, text=True, env=clean)
        if done.returncode and " -r " in step:
            pytest.skip("the packages cannot be had here")
        assert done.returncode == 0, done.stderr[-2000:]
    size = sum(path.stat().st_size for path in to.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < MOST_MB * 1e6

    port = free_port()
    server = subprocess.Popen(
        [to / "bin" / "multilayer", "serve", "--port", str(port)],
        env={**clean, "MULTILAYER_MODEL": str(flats_mlp)},
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: answers(port))
    finally:
        server.terminate()
        server.wait()


def answers(port: int) -> bool:
    import json
    from contextlib import closing
    from http.client import HTTPConnection

    try:
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("POST", "/predict", json.dumps(ROW))
            return "prediction" in json.loads(connection.getresponse().read())
    except OSError:
        return False
