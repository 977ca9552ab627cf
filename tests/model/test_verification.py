"""Rows with predictions in a model file, and keys that a reader does not know."""

import json

import numpy as np
import pytest

import multilayer as ml
from multilayer import runtime
from multilayer.errors import ModelFileError, SchemaError
from multilayer.model.file import digest, unpack
from multilayer.model.verification import MOST_CELLS, N_ROWS, synthetic_rows
from multilayer.table.sources.read import Table
from tests.cli.command_line import done, refused
from tests.table.test_steps import columns_of_every_kind, schema_of

TINY = {"members": 2, "epochs": 1, "hidden": 4, "seed": 0}


@pytest.fixture(scope="module")
def model():
    _, columns = columns_of_every_kind(0)
    y = np.where(np.arange(120) % 2, "yes", "no").astype(object)
    return ml.fit(Table({**columns, "y": y}), target="y", schema=schema_of(columns), **TINY)


def changed(model, change):
    """The file with another JSON or other arrays, its checksum made to fit."""
    from safetensors.numpy import save

    meta, arrays = unpack(model.to_bytes(), "it", "")
    arrays = {name: np.array(array) for name, array in arrays.items()}
    change(meta, arrays)
    text = json.dumps(meta)
    return save(arrays | {"sha256": digest(text, arrays)}, {"multilayer": text})


def test_a_saved_model_verifies_in_both(model):
    data = model.to_bytes()
    for loaded in (ml.Model.from_bytes(data), runtime.RuntimeModel.from_bytes(data)):
        found = loaded.verify()
        assert found.n_rows == N_ROWS
        assert found.encoded == 0.0
        assert found.prediction <= 1e-6


def test_rows_touch_ranges_levels_new_levels_and_gaps(model):
    rows = synthetic_rows(model.encoder)
    for column in model.schema.columns:
        cells = [None if cell != cell else cell for cell in rows[column.name].tolist()]
        assert None in cells, column.name
        assert len(set(cells)) > 2 or column.kind == "boolean", column.name
    number = model.schema["number"]
    assert rows["number"][0] == pytest.approx((number.low + number.high) / 2)
    assert np.nanmin(rows["number"]) < number.low
    assert np.nanmax(rows["number"]) > number.high
    assert "(never seen)" in rows["category"].tolist()
    assert set(rows["ordered"].tolist()) == {"S", "M", "L", None}
    batch = model.encoder.transform(rows)
    told = [feature.name for feature in model.encoder.num_features if feature.channel != "target"]
    spreads = batch.num.std(axis=0)[: len(told)]
    assert [name for name, spread in zip(told, spreads, strict=True) if spread == 0] == []


def test_rows_of_ones_own_stand_in_the_file_if_asked(model, tmp_path):
    _, rows = columns_of_every_kind(5, n_rows=20)
    model.save(tmp_path / "model.mlp", verify_on=rows)
    loaded = runtime.load(tmp_path / "model.mlp")
    found = loaded.verification.rows
    assert len(found["number"]) == N_ROWS
    assert [np.nan if cell is None else cell for cell in found["number"]] == pytest.approx(
        rows["number"][:N_ROWS], nan_ok=True
    )
    assert found["category"] == rows["category"][:N_ROWS].tolist()
    assert loaded.verify().encoded == 0.0
    assert loaded.verification.prediction == pytest.approx(
        model.predict_proba({name: values[:N_ROWS] for name, values in rows.items()}), abs=1e-6
    )
    with pytest.raises(SchemaError, match="which this table lacks"):
        model.save(tmp_path / "model.mlp", verify_on={"number": [1.0]})


def test_a_wide_table_has_fewer_rows():
    rng = np.random.default_rng(0)
    columns = {f"x{i}": rng.normal(size=30) for i in range(MOST_CELLS // 4)}
    encoder = ml.fit(columns | {"y": rng.normal(size=30)}, target="y", quality="fast", **TINY).encoder
    assert synthetic_rows(encoder).n_rows == 4


def test_a_difference_is_an_error_that_says_how_large(model):
    def change(meta, arrays):
        arrays["verification.prediction"] = arrays["verification.prediction"] + 0.01

    loaded = runtime.RuntimeModel.from_bytes(changed(model, change))
    with pytest.raises(ModelFileError, match=r"of 12 rows: .* of a prediction 0\.0\d+ of the largest"):
        loaded.verify()


def test_a_file_of_before_loads_and_says_that_it_has_no_rows(model):
    def change(meta, arrays):
        del meta["verification"], arrays["verification.encoded"], arrays["verification.prediction"]

    loaded = ml.Model.from_bytes(changed(model, change))
    with pytest.raises(ModelFileError, match=r"there are none\. Save it with this version"):
        loaded.verify()


WRONG = {
    "no rows": lambda meta, arrays: meta["verification"].update(rows={}),
    "an absent column": lambda meta, arrays: meta["verification"]["rows"].pop("number"),
    "unequal lengths": lambda meta, arrays: meta["verification"]["rows"].update(number=[1.0]),
    "lists": lambda meta, arrays: meta["verification"]["rows"].update(number=[[1.0]] * 12),
    "more": lambda meta, arrays: meta["verification"].update(more=1),
    "an absent array": lambda meta, arrays: arrays.pop("verification.encoded"),
    "another array": lambda meta, arrays: arrays.update({"verification.more": np.zeros(1)}),
    "another shape": lambda meta, arrays: arrays.update({"verification.prediction": np.zeros((12, 3))}),
    "not finite": lambda meta, arrays: arrays.update({"verification.prediction": np.full((12, 2), np.nan)}),
    "arrays without a key": lambda meta, arrays: meta.pop("verification"),
}


@pytest.mark.parametrize("name", WRONG)
def test_rows_that_are_none_are_refused(model, name):
    data = changed(model, WRONG[name])
    for cls in (ml.Model, runtime.RuntimeModel):
        with pytest.raises(ModelFileError, match="its parts do not make a model"):
            cls.from_bytes(data)


def test_an_unknown_key_is_refused_unless_it_is_called_optional(model):
    wanted = model.predict_proba(synthetic_rows(model.encoder))

    def add(meta, arrays):
        meta["calibration"] = {"slope": 2.0}

    with pytest.raises(ModelFileError, match="'calibration' is not known to this version: update multilayer"):
        runtime.RuntimeModel.from_bytes(changed(model, add))

    def add_optional(meta, arrays):
        meta["calibration"] = {"slope": 2.0}
        meta["optional"].append("calibration")
        arrays["calibration.table"] = np.zeros(3)
        meta["x"] = {"owner": "me", "tags": [1, None]}
        arrays["x.picture"] = np.zeros(2, np.uint8)

    data = changed(model, add_optional)
    for cls in (ml.Model, runtime.RuntimeModel):
        found = cls.from_bytes(data).predict_proba(synthetic_rows(model.encoder))
        assert found == pytest.approx(wanted, abs=1e-6)


def test_the_command_says_how_far_predictions_are(model, tmp_path):
    model.save("good.mlp")
    assert "12 rows: the largest difference of an encoded number is 0" in done("verify", "good.mlp").stdout
    assert json.loads(done("verify", "good.mlp", "--json").stdout)["n_rows"] == 12

    def change(meta, arrays):
        arrays["verification.prediction"] = 1 - arrays["verification.prediction"]

    (tmp_path / "bad.mlp").write_bytes(changed(model, change))
    assert "must predict on every machine what stands in its file" in refused("verify", "bad.mlp")
