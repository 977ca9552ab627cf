"""Model files of every released format: they load, and predict what they predicted when they were made."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import multilayer as ml
from multilayer import runtime
from multilayer.model.file import FORMAT, unpack
from multilayer.runtime.networks import ARCHITECTURES
from multilayer.table.kinds import KINDS

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*/*.mlp"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_predicts_what_it_predicted(path):
    told = json.loads(path.with_suffix(".json").read_text())
    for load in (ml.Model.load, runtime.load):
        model = load(path)
        assert model.verify().prediction <= 2e-6
        found = model.predict_columns(told["rows"], extra="ignore")
        assert list(found) == list(told["predictions"])
        for name, wanted in told["predictions"].items():
            if found[name].dtype.kind == "f":
                size = np.abs(wanted).max()
                assert np.abs(found[name] - np.array(wanted)).max() <= 2e-6 * size, name
            else:
                assert found[name].tolist() == wanted, name


def test_no_file_was_made_again():
    for sums in HERE.glob("*/SHA256SUMS"):
        listed = dict(reversed(line.split()) for line in sums.read_text().splitlines())
        there = {path.name for path in sums.parent.iterdir()} - {"SHA256SUMS"}
        assert there == set(listed)
        for name, digest in listed.items():
            assert hashlib.sha256((sums.parent / name).read_bytes()).hexdigest() == digest, name


def test_files_are_small_and_of_all_that_this_format_can_hold():
    assert all(path.stat().st_size < 100_000 for path in FILES)
    metas = [unpack(path.read_bytes(), path.name, "")[0] for path in FILES]
    assert FORMAT in {meta["format"] for meta in metas}
    architectures = {meta["network"]["architecture"] for meta in metas}
    architectures |= {meta["linear"]["architecture"] for meta in metas if meta["linear"]}
    assert architectures == ARCHITECTURES.keys()
    kinds = {column["kind"] for meta in metas for column in meta["encoder"]["schema"]["columns"]}
    assert kinds == KINDS.keys()
    assert {meta["task"]["kind"] for meta in metas} == {"binary", "multiclass", "multilabel", "regression"}
