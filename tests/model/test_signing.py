"""The signatures that the documentation tells of: those of OpenSSF, on a model file."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import multilayer as ml

pytest.importorskip("model_signing")
PAGE = Path(__file__).parents[2] / "docs" / "shipping.md"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the keys are made by openssl")
def test_a_signature_holds_until_a_byte_changes(tmp_path):
    table = {"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": [0.0, 1.0, 2.0, 3.0] * 10}
    ml.fit(table, target="y", members=1, epochs=1, hidden=2).save(tmp_path / "rents.mlp")
    block = re.search(r"```bash\npip install model-signing pyopenssl\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    *commands, last = block[1].strip().splitlines()
    for command in (*commands, last):
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stderr
    data = bytearray((tmp_path / "rents.mlp").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "rents.mlp").write_bytes(data)
    assert run(last, tmp_path).returncode != 0


def run(command, folder):
    words = command.split()
    if words[0] == "model_signing":
        words = [sys.executable, "-m", *words]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True)
